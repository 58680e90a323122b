/* SPDX-License-Identifier: MIT */
/*
 * mm/object/object.h - the pages of mappings: the page cache, writeback, shared memory.
 *
 * Locking: callers hold no page-table lock and no rmap lock; mapping_find() is the exception and takes only
 * pages_lock. mapping_get_folio(), mapping_add_page() and shmem_huge_fault() take invalidate_lock for reading, and
 * return without it. The folio that the first two return is locked. folio_write() takes i_mmap_lock and page-table
 * locks, and calls writepage() with the folio's lock held. next_mapping_get() may destroy a mapping, so its caller
 * holds no lock.
 */
#ifndef MM_OBJECT_OBJECT_H
#define MM_OBJECT_OBJECT_H

#include "mm/fault/vm_fault.h"
#include "mm/vma.h"

struct fault;

/* --- mapping.c --- */

/*
 * Find the page in the cache, or read it from the backing. *@out: the folio, locked and with a reference.
 * @holes: a page of zeros is added where there is none. Without it that is AGAIN.
 * DONE, SIGBUS, OOM, AGAIN or NOPAGE.
 */
enum vm_fault mapping_get_folio(struct vellum_mapping *mapping, struct vellum_vmf *vmf, bool holes, struct folio **out)
	TRY_ACQUIRES(false, &(*out)->lock);
/* Read the page into the cache, if it is neither there nor in a hole. False: it could not be read. @mapping has fault(). */
bool mapping_read_ahead(struct vellum_mapping *mapping, struct vellum_vmf *vmf);
struct folio *mapping_find(struct vellum_mapping *mapping, pgoff_t index);	/* with a reference; NULL: not cached */
/*
 * The first cached page with an index from *@index to @last, with a reference; or NULL. *@index: its index.
 * @dirty_or_writeback: skip pages that are neither dirty nor being written.
 */
struct folio *mapping_next(struct vellum_mapping *mapping, pgoff_t *index, pgoff_t last, bool dirty_or_writeback);
/* True if the page is cached or swapped out. */
bool mapping_has(struct vellum_mapping *mapping, pgoff_t index);
/* True also if the page is only in the backing, with has_page(). */
bool mapping_has_page(struct vellum_mapping *mapping, pgoff_t index);
/* Ask page_mkwrite(), for a store through no VMA. 0, -ENOMEM or -ENOSPC. */
int folio_mkwrite(struct vellum_mapping *mapping, struct folio *folio) HOLDS(&folio->lock);
/* Swap the page in if it is swapped out. invalidate_lock held for writing. 0, -ENOMEM or -EIO. */
int mapping_fetch_swapped(struct vellum_mapping *mapping, pgoff_t index) HOLDS(&mapping->invalidate_lock);
/*
 * Add a page with the content @bytes (NULL: zeros) to the cache. *@out: the folio, locked and with a reference.
 * 0; -EEXIST; -ENOMEM; -ENOSPC: page_mkwrite() refused; -EFAULT: beyond the end.
 */
int mapping_add_page(struct vellum_mapping *mapping, pgoff_t index, const void *bytes, struct folio **out)
	TRY_ACQUIRES(false, &(*out)->lock);
/* Iterate over the mappings of a memory: returns the next one, with a reference, and drops @prev's. NULL: the end. */
struct vellum_mapping *next_mapping_get(struct vellum_memory *m, struct vellum_mapping *prev);
/* Remove the page from the cache if its count is at most @max_count. True: removed. The folio's lock is held. */
bool mapping_remove(struct vellum_mapping *mapping, struct folio *folio, uint64_t max_count) HOLDS(&folio->lock);

/* --- mapping_io.c --- */

/* The page at @index, locked and with a reference; it is added if the mapping has none. Reclaims. 0 or a negative error. */
int mapping_get_locked(struct vellum_mapping *mapping, pgoff_t index, struct folio **out)
	TRY_ACQUIRES(false, &(*out)->lock);

/* --- truncate.c --- */

/*
 * Remove the pages [first, last] from the cache, from swap and from all entries. @cows: also entries of private copies.
 */
void mapping_drop_pages(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last, bool cows)
	HOLDS(&mapping->invalidate_lock);
/* Change the size in bytes, whatever the seals say. 0, -ENOMEM or -EIO. */
int mapping_resize(struct vellum_mapping *mapping, uint64_t size) HOLDS(&mapping->invalidate_lock);

/* --- writeback.c --- */

/* Mkclean the page and write it to the backing, if it is dirty. Its lock is held. 0 or writepage()'s error. */
int folio_write(struct vellum_mapping *mapping, struct folio *folio) HOLDS(&folio->lock);
/* A writeback failed that has no caller to return @err to: the next vellum_mapping_sync() returns it. */
static inline void mapping_set_error(struct vellum_mapping *mapping, int err)
{
	__atomic_store_n(&mapping->wb_error, err, __ATOMIC_RELAXED);
}

/* --- shmem.c: pages of shared memory --- */

/* If the 512 pages are physically contiguous, map them by a PMD leaf. Returns as do_huge_fault(). */
enum vm_fault shmem_huge_fault(struct fault *f);
int shmem_collapse(struct vma *vma, gva_t addr);	/* mmap_lock held for writing. 0 or a negative error */

#endif
