/* SPDX-License-Identifier: MIT */
/*
 * mm/object/shmem.c - shared memory: mappings without a backing, whose pages are swapped out instead of written back.
 *
 * mapping->pages has the pages in RAM. mapping->swapped has the slots of the pages that are swapped out. pages_lock
 * protects both.
 *
 * INV-SHMEM-1: a page has an entry in at most one of the two. A page without an entry reads as zeros.
 */
#include "mm/fault/fault.h"
#include "mm/frame/rmap.h"
#include "mm/object/object.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/huge.h"
#include "mm/track/hooks.h"
#include "mm/vma.h"

slot_t shmem_slot(struct vellum_mapping *mapping, pgoff_t index)
{
	return (uintptr_t)radix_get(&mapping->swapped, index) >> 1;
}

/* pages_lock held. */
static int set_slot(struct vellum_mapping *mapping, pgoff_t index, slot_t slot) HOLDS(&mapping->pages_lock)
{
	return radix_set(&mapping->swapped, index, (void *)(uintptr_t)(2 * slot + 1), &mapping->memory->host);
}

/*
 * Replace the page by its slot in the cache. The page is unmapped and written to the slot. False: another thread has a
 * reference by now, or there is no memory.
 */
static bool replace_by_slot(struct vellum_mapping *mapping, struct folio *folio, slot_t slot)
{
	struct vellum_memory *m = mapping->memory;
	bool ok;

	mutex_lock(&mapping->pages_lock, &m->host);
	ok = __atomic_load_n(&folio->count, __ATOMIC_ACQUIRE) == 2 * FOLIO_REF &&
	     !set_slot(mapping, folio->index, slot);
	if (ok) {
		radix_delete(&mapping->pages, folio->index, &m->host);
		__atomic_store_n(&folio->mapping, NULL, __ATOMIC_RELAXED);
	}
	mutex_unlock(&mapping->pages_lock, &m->host);
	return ok;
}

bool shmem_swap_out(struct vellum_mapping *mapping, struct folio *folio)
{
	struct vellum_memory *m = mapping->memory;
	slot_t slot;

	if (mapping_has_vma_flags(mapping, folio->index, folio->index, VM_LOCKED))
		return false;
	slot = slot_alloc(m);
	if (!slot)
		return false;
	vellum_unmap_mapping_range(mapping, folio->index, 1);	/* protected entries leave wp markers */
	if (!slot_write(m, slot, folio) && replace_by_slot(mapping, folio, slot)) {
		folio_put(m, folio);	/* the cache's reference */
		return true;
	}
	slot_put(m, slot);
	return false;
}

int shmem_swap_in(struct vellum_mapping *mapping, struct folio *folio)
{
	struct vellum_memory *m = mapping->memory;
	slot_t slot;

	mutex_lock(&mapping->pages_lock, &m->host);
	slot = shmem_slot(mapping, folio->index);
	mutex_unlock(&mapping->pages_lock, &m->host);
	if (!slot)
		return 0;
	if (slot_read(m, slot, folio))
		return -EIO;
	mutex_lock(&mapping->pages_lock, &m->host);
	radix_delete(&mapping->swapped, folio->index, &m->host);
	mutex_unlock(&mapping->pages_lock, &m->host);
	slot_put(m, slot);
	return 1;
}

void shmem_drop_swapped(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last)
{
	struct vellum_memory *m = mapping->memory;
	void *value;

	mutex_lock(&mapping->pages_lock, &m->host);
	for (uint64_t i = first; (value = radix_next(&mapping->swapped, &i)) && i <= last; i++) {
		radix_delete(&mapping->swapped, i, &m->host);
		mutex_unlock(&mapping->pages_lock, &m->host);
		slot_put(m, (uintptr_t)value >> 1);
		mutex_lock(&mapping->pages_lock, &m->host);
	}
	mutex_unlock(&mapping->pages_lock, &m->host);
}

EXPORT int vellum_mapping_next(struct vellum_mapping *mapping, uint64_t *index)
{
	const struct host *host = &mapping->memory->host;
	uint64_t in = *index, out = *index;
	bool cached, swapped;

	mutex_lock(&mapping->pages_lock, host);
	cached = radix_next(&mapping->pages, &in);
	swapped = radix_next(&mapping->swapped, &out);
	mutex_unlock(&mapping->pages_lock, host);
	if (!cached && !swapped)
		return -ENOENT;
	*index = cached && (!swapped || in < out) ? in : out;
	return 0;
}

bool mapping_has(struct vellum_mapping *mapping, pgoff_t index)
{
	const struct host *host = &mapping->memory->host;
	bool has;

	mutex_lock(&mapping->pages_lock, host);
	has = radix_get(&mapping->pages, index) || radix_get(&mapping->swapped, index);
	mutex_unlock(&mapping->pages_lock, host);
	return has;
}

/* --- huge pages: 512 pages of a mapping that are one aligned block of RAM --- */

/* The first folio of the huge page at @first; NULL: the 512 pages are none. pages_lock held. */
static struct folio *huge_page_at(struct vellum_mapping *mapping, pgoff_t first) HOLDS(&mapping->pages_lock)
{
	const struct vellum_memory *m = mapping->memory;
	struct folio *head = radix_get(&mapping->pages, first);

	if (!head || (folio_pfn(m, head) & (PMD_PAGES - 1)) ||
	    (uint64_t)(head - m->folios) + PMD_PAGES > m->nr_frames ||
	    folio_pfn(m, head + PMD_PAGES - 1) != folio_pfn(m, head) + PMD_PAGES - 1)
		return NULL;
	for (unsigned i = 0; i < PMD_PAGES; i++)
		if (radix_get(&mapping->pages, first + i) != &head[i] || !folio_is_uptodate(&head[i]))
			return NULL;
	return head;
}

/* None of the 512 pages is cached or swapped out. pages_lock held. */
static bool is_hole(const struct vellum_mapping *mapping, pgoff_t first) HOLDS(&mapping->pages_lock)
{
	uint64_t in = first, out = first;

	return (!radix_next(&mapping->pages, &in) || in >= first + PMD_PAGES) &&
	       (!radix_next(&mapping->swapped, &out) || out >= first + PMD_PAGES);
}

/* Add a new huge page to the cache. 0, or -ENOMEM and nothing is added. pages_lock held. */
static int add_huge_page(struct vellum_mapping *mapping, pgoff_t first, struct folio *head)
	HOLDS(&mapping->pages_lock)
{
	const struct host *host = &mapping->memory->host;

	for (unsigned i = 0; i < PMD_PAGES; i++)
		if (radix_set(&mapping->pages, first + i, &head[i], host)) {
			while (i--)
				radix_delete(&mapping->pages, first + i, host);
			return -ENOMEM;
		}
	folio_split_block(head);
	for (unsigned i = 0; i < PMD_PAGES; i++) {
		head[i].mapping = mapping;
		head[i].index = first + i;
		folio_set(&head[i], PG_UPTODATE | PG_DIRTY);
	}
	return 0;
}

/* The huge page at @first, with a FOLIO_ONE_MAPPING on each page. Fills a hole of shared memory with a new one. NULL: none. */
static struct folio *get_huge_page(struct vellum_mapping *mapping, pgoff_t first)
{
	struct vellum_memory *m = mapping->memory;
	struct folio *fresh = NULL, *head;

	mutex_lock(&mapping->pages_lock, &m->host);
	head = huge_page_at(mapping, first);
	if (!head && mapping_is_shmem(mapping) && is_hole(mapping, first)) {
		fresh = folio_alloc(m, MAX_ORDER);
		head = fresh && !add_huge_page(mapping, first, fresh) ? fresh : NULL;
	}
	for (unsigned i = 0; head && i < PMD_PAGES; i++)
		__atomic_fetch_add(&head[i].count, FOLIO_ONE_MAPPING, __ATOMIC_RELAXED);
	mutex_unlock(&mapping->pages_lock, &m->host);
	if (fresh && !head)
		folio_put(m, fresh);
	return head;
}

/* Map the huge page at @first. invalidate_lock held for reading, so the pages stay in the cache. */
static enum vm_fault map_huge_page(struct fault *f, pgoff_t first)
{
	struct vma *vma = f->vma;
	struct vellum_memory *m = fault_memory(f);
	bool write = (f->flags & FAULT_WRITE) && !(f->flags & FAULT_POPULATE);
	struct folio *head = get_huge_page(vma->mapping, first);
	pmd_t pmd;

	if (!head)
		return VM_FAULT_FALLBACK;
	pmd = pmd_mk(folio_pfn(m, head), vma->page_prot);
	if (write)
		pmd = pmd_mkwrite(pmd_mkdirty(pmd));
	if (!huge_install(vma->mm, leaf_start(f->addr, PMD_SHIFT), PMD_SHIFT, pmd.val, NULL, NULL)) {
		if (write)
			huge_track(vma, leaf_start(f->addr, PMD_SHIFT), PMD_SHIFT);
		mm_count(vma->mm, VELLUM_COUNT_FAULT_HUGE);
		return VM_FAULT_DONE;
	}
	for (unsigned i = 0; i < PMD_PAGES; i++)
		folio_put_count(m, &head[i], FOLIO_ONE_MAPPING);
	return VM_FAULT_FALLBACK;
}

enum vm_fault shmem_huge_fault(struct fault *f)
{
	struct vma *vma = f->vma;
	struct vellum_mapping *mapping = vma->mapping;
	gva_t start = leaf_start(f->addr, PMD_SHIFT);
	bool write = f->flags & FAULT_WRITE;
	enum vm_fault result = VM_FAULT_FALLBACK;
	pgoff_t first;

	if ((vma->flags & (VM_HUGEPAGE | VM_NOHUGEPAGE | VM_EXEC)) != VM_HUGEPAGE || vma->uffd ||
	    start < vma->start || vma->end - start < PMD_SIZE || (write && !(vma->flags & VM_SHARED)) ||
	    vma_needs_dirty_tracking(vma) || vma_is_tracked(vma))
		return VM_FAULT_FALLBACK;
	first = vma_page_index(vma, start);
	if (first & (PMD_PAGES - 1))
		return VM_FAULT_FALLBACK;
	read_lock(&mapping->invalidate_lock, mm_host(vma->mm));
	if (first + PMD_PAGES <= mapping_nr_pages(mapping))
		result = map_huge_page(f, first);
	read_unlock(&mapping->invalidate_lock, mm_host(vma->mm));
	return result;
}

/* --- MADV_COLLAPSE --- */

/* A page of shared memory is its only copy, and stays dirty. One of a file is as dirty as the page that it replaces. */
static void fill_page(struct vellum_mapping *mapping, pgoff_t index, const struct folio *from, struct folio *to)
{
	to->mapping = mapping;
	to->index = index;
	folio_set(to, PG_UPTODATE);
	if (mapping_is_shmem(mapping))
		folio_set(to, PG_DIRTY);
	else if (folio_flags(from) & PG_DIRTY)
		folio_mark_dirty(to);
}

/* As replace_page(). @from: the cached page, locked and with a reference; NULL: none. */
static bool exchange_page(struct vellum_mapping *mapping, pgoff_t index, struct folio *from, struct folio *to)
{
	struct vellum_memory *m = mapping->memory;
	bool ok = true;

	mutex_lock(&mapping->pages_lock, &m->host);
	if (from)
		ok = __atomic_load_n(&from->count, __ATOMIC_SEQ_CST) == 2 * FOLIO_REF;
	if (ok && from)
		copy_racy(frame_address(m, folio_pfn(m, to)), frame_address(m, folio_pfn(m, from)), PAGE_SIZE);
	ok = ok && !radix_set(&mapping->pages, index, to, &m->host);
	if (ok) {
		fill_page(mapping, index, from, to);
		if (from)
			__atomic_store_n(&from->mapping, NULL, __ATOMIC_RELAXED);
	}
	mutex_unlock(&mapping->pages_lock, &m->host);
	if (ok && from)
		folio_put(m, from);	/* the cache's reference */
	return ok;
}

/*
 * Replace the cached page at @index, if any, by @to, a page of the new huge page. False: the old page has other
 * references (a pin), is not filled, or there is no memory; or a page of a file is not cached any more.
 */
static bool replace_page(struct vellum_mapping *mapping, pgoff_t index, struct folio *to)
{
	struct vellum_memory *m = mapping->memory;
	struct folio *from = mapping_find(mapping, index);
	bool ok;

	if (!from)
		return mapping_is_shmem(mapping) && exchange_page(mapping, index, NULL, to);
	mutex_lock(&from->lock, &m->host);	/* waits for reclaim and writeback */
	ok = from->mapping == mapping && folio_is_uptodate(from) && exchange_page(mapping, index, from, to);
	mutex_unlock(&from->lock, &m->host);
	folio_put(m, from);
	return ok;
}

/* Make the 512 pages at @first a huge page. The lock keeps faults from adding pages, and from filling any. */
static int make_huge_page(struct vellum_mapping *mapping, pgoff_t first) HOLDS(&mapping->invalidate_lock)
{
	struct vellum_memory *m = mapping->memory;
	struct folio *head;
	int err = 0;

	mutex_lock(&mapping->pages_lock, &m->host);
	head = huge_page_at(mapping, first);
	mutex_unlock(&mapping->pages_lock, &m->host);
	if (head) {		/* a leaf of it was split */
		vellum_unmap_mapping_range(mapping, first, PMD_PAGES);
		return 0;
	}
	for (unsigned i = 0; i < PMD_PAGES && !err; i++)
		err = mapping_fetch_swapped(mapping, first + i);
	if (err)
		return -EAGAIN;
	head = folio_alloc(m, MAX_ORDER);
	if (!head)
		return -EBUSY;
	folio_split_block(head);
	vellum_unmap_mapping_range(mapping, first, PMD_PAGES);
	for (unsigned i = 0; i < PMD_PAGES; i++)
		if (!replace_page(mapping, first + i, &head[i])) {
			while (i < PMD_PAGES)
				folio_put(m, &head[i++]);	/* pages before @i stay cached as small pages */
			return -EAGAIN;
		}
	return 0;
}

/* Read a page of a file in memory, if it is not cached. 0 or -EAGAIN. */
static int read_page(struct vellum_mapping *mapping, pgoff_t index)
{
	struct vellum_vmf vmf = { .size = sizeof(vmf), .pgoff = index };
	struct folio *folio;

	if (mapping_get_folio(mapping, &vmf, true, &folio))
		return -EAGAIN;
	mutex_unlock(&folio->lock, &mapping->memory->host);
	folio_put(mapping->memory, folio);
	return 0;
}

static int read_pages(struct vellum_mapping *mapping, pgoff_t first)
{
	int err = 0;

	for (unsigned i = 0; i < PMD_PAGES && !err; i++)
		err = host_killed(&mapping->memory->host) ? -EINTR : read_page(mapping, first + i);
	return err;
}

/*
 * A userfaultfd that is registered for a part of the pages must get a fault for each hole, so holes must stay. A leaf
 * cannot keep the protection of one page.
 */
static bool uffd_forbids(struct vellum_mapping *mapping, pgoff_t first)
{
	if (!mapping_has_vma_flags(mapping, first, first + PMD_PAGES - 1, VM_UFFD))
		return false;
	if (mapping_has_vma_flags(mapping, first, first + PMD_PAGES - 1, VM_UFFD_WP))
		return true;
	for (unsigned i = 0; i < PMD_PAGES; i++)
		if (!mapping_has_page(mapping, first + i))
			return true;
	return false;
}

/* Map the huge page with a leaf. make_huge_page() has unmapped the small entries. */
static int map_collapsed(struct vma *vma, gva_t addr)
{
	struct vellum_mapping *mapping = vma->mapping;
	struct vellum_memory *m = mapping->memory;
	struct folio *head;
	int err;

	if (!huge_free_table(vma, addr))
		return -EAGAIN;
	head = get_huge_page(mapping, vma_page_index(vma, addr));
	if (!head)
		return -EAGAIN;
	err = huge_install(vma->mm, addr, PMD_SHIFT, pmd_mk(folio_pfn(m, head), vma->page_prot).val, NULL, NULL);
	for (unsigned i = 0; err && i < PMD_PAGES; i++)
		folio_put_count(m, &head[i], FOLIO_ONE_MAPPING);
	return err ? -EAGAIN : 0;
}

/* The lock keeps the pages from being removed, but for clean ones of a file, and from growing beyond the end. */
static int collapse_cached(struct vellum_mapping *mapping, struct vma *vma, gva_t addr, pgoff_t first)
	HOLDS(&mapping->invalidate_lock)
{
	int err;

	if (first + PMD_PAGES > mapping_nr_pages(mapping))
		return -EINVAL;
	if (uffd_forbids(mapping, first))
		return -EBUSY;
	err = make_huge_page(mapping, first);
	return err ? err : map_collapsed(vma, addr);
}

int shmem_collapse(struct vma *vma, gva_t addr)
{
	struct vellum_mapping *mapping = vma->mapping;
	pgoff_t first = vma_page_index(vma, addr);
	int err;

	if ((first & (PMD_PAGES - 1)) || first + PMD_PAGES > mapping_nr_pages(mapping) ||
	    (mapping_is_shmem(mapping) && vma_needs_dirty_tracking(vma)))
		return -EINVAL;
	if (huge_lookup(vma->mm, addr, NULL))
		return 0;
	if (uffd_forbids(mapping, first))	/* before holes are read */
		return -EBUSY;
	err = mapping_is_shmem(mapping) ? 0 : read_pages(mapping, first);
	if (err)
		return err;
	write_lock(&mapping->invalidate_lock, mm_host(vma->mm));
	err = collapse_cached(mapping, vma, addr, first);
	write_unlock(&mapping->invalidate_lock, mm_host(vma->mm));
	return err;
}
