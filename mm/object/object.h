/* SPDX-License-Identifier: MIT */
/* mm/object/object.h - the pages of mappings: the page cache, writeback, shared memory. */
#ifndef MM_OBJECT_OBJECT_H
#define MM_OBJECT_OBJECT_H

#include "mm/vma.h"

struct fault;

/* --- mapping.c --- */

/* The page, read from the backing if it is not cached: locked and referenced. 0 or enum vellum_fault_result. */
int mapping_get_folio(struct vellum_mapping *mapping, struct vellum_vmf *vmf, struct folio **out);
struct folio *mapping_find(struct vellum_mapping *mapping, pgoff_t index);	/* referenced, or NULL */
/* The first cached page (@dirty: the first dirty one) from *@index to @last, referenced; or NULL. *@index: its index. */
struct folio *mapping_next(struct vellum_mapping *mapping, pgoff_t *index, pgoff_t last, bool dirty);
/* The mapping has the page, in RAM or swapped out. */
bool mapping_has(struct vellum_mapping *mapping, pgoff_t index);
/* Read the page from swap, if it is there. invalidate_lock held for writing. 0, -ENOMEM or -EIO. */
int mapping_fetch_swapped(struct vellum_mapping *mapping, pgoff_t index);
/* A new page with these bytes (NULL: zeros), locked and referenced. 0; -EEXIST; -ENOMEM; -EFAULT: beyond the end. */
int mapping_add_page(struct vellum_mapping *mapping, pgoff_t index, const void *bytes, struct folio **out);
/* Iterates over all mappings of a memory: returns the next one, referenced, and drops @prev's reference. NULL: end. */
struct vellum_mapping *mapping_after(struct vellum_memory *m, struct vellum_mapping *prev);
/* Remove the page from the cache if @wanted references are all that it has. Its lock is held. */
bool mapping_remove(struct vellum_mapping *mapping, struct folio *folio, uint64_t wanted);

/* --- writeback.c --- */

int folio_write(struct vellum_mapping *mapping, struct folio *folio);	/* if dirty; its lock is held */

/* --- shmem.c: pages of shared memory --- */

/* 2 MiB of the mapping in one block of RAM, as one leaf. As do_huge_fault(). */
int shmem_huge_fault(struct fault *f);
int shmem_collapse(struct vma *vma, gva_t addr);	/* mmap_lock held for writing. 0 or a negative error */

#endif
