/* SPDX-License-Identifier: MIT */
/*
 * mm/object/truncate.c - remove pages from a mapping: truncation, holes, invalidation. Also seals.
 *
 * This order makes removal safe against concurrent faults (SPEC.md "Truncation"). First, invalidate_lock is taken for
 * writing, so no page is added to the cache. Then entries are removed. Then pages are removed from the cache, each
 * with its lock held. Then entries are removed again, because a fault that already had its page may have mapped it.
 */
#include "mm/object/object.h"
#include "mm/swap/swap.h"
#include "mm/table/pgtable.h"
#include "mm/table/tlb.h"
#include "mm/track/hooks.h"
#include "mm/vma.h"

/* @cows: also remove entries of private copies. */
static void unmap_pages(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last, bool cows)
{
	const struct host *host = &mapping->memory->host;

	__atomic_fetch_add(&mapping->unmap_seq, 1, __ATOMIC_SEQ_CST);
	read_lock(&mapping->i_mmap_lock, host);
	for (struct interval *iv = interval_first(&mapping->i_mmap, first, last); iv;
	     iv = interval_next(iv, first, last)) {
		struct vma *vma = container_of(iv, struct vma, map_node);
		gva_t start = vma->start + ((max_u64(first, iv->start) - iv->start) << PAGE_SHIFT);
		gva_t end = vma->start + ((min_u64(last, iv->last) + 1 - iv->start) << PAGE_SHIFT);
		struct tlb_gather tlb;

		notify_start(vma->mm, VELLUM_NOTIFY_CLEAR, start, end);
		tlb_gather_begin(&tlb, vma->mm);
		if (cows && !vma->mm->is_frozen)	/* private copies in a snapshot stay */
			zap_range(&tlb, vma, start, end);
		else
			zap_mapping_range(&tlb, vma, start, end);
		tlb_gather_finish(&tlb);
		notify_finish(vma->mm, VELLUM_NOTIFY_CLEAR, start, end);
	}
	read_unlock(&mapping->i_mmap_lock, host);
}

EXPORT void vellum_unmap_mapping_range(struct vellum_mapping *mapping, uint64_t first, uint64_t nr)
{
	uint64_t last = first + nr - 1;

	if (nr && last >= first)
		unmap_pages(mapping, first, last, false);
}

/* Remove the pages from the cache and from swap. Dirty pages are discarded. */
static void remove_pages(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last)
{
	struct vellum_memory *m = mapping->memory;
	struct folio *folio;

	for (pgoff_t i = first; (folio = mapping_next(mapping, &i, last, false)); i++) {
		mutex_lock(&folio->lock, &m->host);
		if (folio->mapping == mapping) {
			folio_clear(folio, PG_DIRTY);
			mapping_remove(mapping, folio, ~0ull);
		}
		mutex_unlock(&folio->lock, &m->host);
		folio_put(m, folio);
	}
	shmem_drop_swapped(mapping, first, last);
}

void mapping_drop_pages(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last, bool cows)
{
	if (first > last)
		return;
	unmap_pages(mapping, first, last, cows);
	remove_pages(mapping, first, last);
	unmap_pages(mapping, first, last, cows);
	track_mapping_range(mapping, first, last);
}

/* Zero [from, to), which lies in one page, if the page is cached. Else punch() or zero_beyond_end() zeroes them. */
static void zero_in_page(struct vellum_mapping *mapping, uint64_t from, uint64_t to)
{
	static const char zeros[PAGE_SIZE];
	struct vellum_memory *m = mapping->memory;
	struct folio *folio;

	if (from >= to)
		return;
	folio = mapping_find(mapping, from >> PAGE_SHIFT);
	if (folio) {
		mutex_lock(&folio->lock, &m->host);
		if (folio->mapping == mapping) {
			copy_racy((char *)frame_address(m, folio_pfn(m, folio)) + (from & ~PAGE_MASK), zeros,
				  to - from);
			folio_bytes_changed(m, folio);
		}
		mutex_unlock(&folio->lock, &m->host);
		folio_put(m, folio);
	}
	track_mapping_range(mapping, from >> PAGE_SHIFT, from >> PAGE_SHIFT);
}

/*
 * Zero the part of a page that lies in the hole. A writeback between punch() and this may have written the old bytes
 * to the backing again, so the page is marked dirty.
 */
static void punch_in_page(struct vellum_mapping *mapping, uint64_t from, uint64_t to)
{
	struct folio *folio;

	if (from >= to)
		return;
	zero_in_page(mapping, from, to);
	folio = mapping_find(mapping, from >> PAGE_SHIFT);
	if (!folio)
		return;
	folio_mark_dirty(folio);
	folio_put(mapping->memory, folio);
}

static void shrink(struct vellum_mapping *mapping, uint64_t size) HOLDS(&mapping->invalidate_lock)
{
	pgoff_t end = mapping_nr_pages(mapping);

	__atomic_store_n(&mapping->size, size, __ATOMIC_SEQ_CST);
	if (end)
		mapping_drop_pages(mapping, page_align_up(size) >> PAGE_SHIFT, end - 1, true);
	if (size & ~PAGE_MASK)	/* if this fails, zero_beyond_end() zeroes the rest when the page is swapped in */
		mapping_fetch_swapped(mapping, size >> PAGE_SHIFT);
	zero_in_page(mapping, size, page_align_up(size));
}

/*
 * Bytes that were stored beyond the end in the last page are zeroed. The page is mkcleaned first, so that a store to
 * bytes that are now within the size calls mkwrite again.
 */
static int extend(struct vellum_mapping *mapping, uint64_t size) HOLDS(&mapping->invalidate_lock)
{
	uint64_t old = vellum_mapping_size(mapping);
	int err = old & ~PAGE_MASK ? mapping_fetch_swapped(mapping, old >> PAGE_SHIFT) : 0;

	if (err)
		return err;

	if ((mapping->flags & VELLUM_MAPPING_WRITEBACK) && (old & ~PAGE_MASK))
		mkclean_mapping_range(mapping, old >> PAGE_SHIFT, 1);
	zero_in_page(mapping, old, page_align_up(old));
	__atomic_store_n(&mapping->size, size, __ATOMIC_SEQ_CST);
	return 0;
}

int mapping_resize(struct vellum_mapping *mapping, uint64_t size)
{
	uint64_t old = vellum_mapping_size(mapping);

	if (size < old)
		shrink(mapping, size);
	return size > old ? extend(mapping, size) : 0;
}

EXPORT int vellum_mapping_set_size(struct vellum_mapping *mapping, uint64_t size)
{
	const struct host *host = &mapping->memory->host;
	uint32_t seals;
	uint64_t old;
	int err;

	if (size > MAX_MAPPING_BYTES || (mapping->flags & VELLUM_MAPPING_PFN))
		return -EINVAL;
	write_lock(&mapping->invalidate_lock, host);
	old = vellum_mapping_size(mapping);
	seals = vellum_mapping_seals(mapping);
	if ((size < old && (seals & VELLUM_SEAL_SHRINK)) || (size > old && (seals & VELLUM_SEAL_GROW)))
		err = -EPERM;
	else
		err = mapping_resize(mapping, size);
	write_unlock(&mapping->invalidate_lock, host);
	return err;
}

static int punch(struct vellum_mapping *mapping, uint64_t offset, uint64_t end) HOLDS(&mapping->invalidate_lock)
{
	const struct vellum_backing_ops *ops = mapping->ops;
	uint64_t first = page_align_up(offset), last = end & PAGE_MASK;
	int err;

	/* Write the pages first: if punch() fails, no stored byte must be lost. */
	err = ops && ops->punch ? vellum_mapping_writeback(mapping, offset >> PAGE_SHIFT,
							    ((end - 1) >> PAGE_SHIFT) -
								    (offset >> PAGE_SHIFT) + 1, NULL) : 0;
	if (!err && (offset & ~PAGE_MASK))
		err = mapping_fetch_swapped(mapping, offset >> PAGE_SHIFT);
	if (!err && (end & ~PAGE_MASK))
		err = mapping_fetch_swapped(mapping, end >> PAGE_SHIFT);
	if (err)
		return err;
	if (first < last)
		mapping_drop_pages(mapping, first >> PAGE_SHIFT, (last >> PAGE_SHIFT) - 1, false);
	err = ops && ops->punch ? ops->punch(mapping->ctx, offset, end - offset) : 0;
	if (err)
		return err;
	/* Report again: a collection before punch() may have been followed by a read of the old bytes. */
	if (first < last && ops && ops->punch)
		track_mapping_range(mapping, first >> PAGE_SHIFT, (last >> PAGE_SHIFT) - 1);
	if (first > last) {		/* within one page */
		punch_in_page(mapping, offset, end);
	} else {
		punch_in_page(mapping, offset, first);
		punch_in_page(mapping, last, end);
	}
	return 0;
}

EXPORT int vellum_mapping_punch_hole(struct vellum_mapping *mapping, uint64_t offset, uint64_t len)
{
	const struct host *host = &mapping->memory->host;
	uint64_t size = vellum_mapping_size(mapping), end;
	int err = 0;

	if (!len || offset + len < offset || (mapping->flags & VELLUM_MAPPING_PFN))
		return -EINVAL;
	if (vellum_mapping_seals(mapping) & (VELLUM_SEAL_WRITE | VELLUM_SEAL_FUTURE_WRITE))
		return -EPERM;
	if (mapping->ops && (mapping->ops->fault || mapping->ops->writepage) && !mapping->ops->punch)
		return -EOPNOTSUPP;
	end = min_u64(offset + len, page_align_up(size));
	write_lock(&mapping->invalidate_lock, host);
	if (offset < end)
		err = punch(mapping, offset, end);
	write_unlock(&mapping->invalidate_lock, host);
	return err;
}

EXPORT void vellum_mapping_invalidate(struct vellum_mapping *mapping)
{
	struct vellum_memory *m = mapping->memory;
	struct folio *folio;

	if (mapping->flags & VELLUM_MAPPING_PFN)
		return;
	write_lock(&mapping->invalidate_lock, &m->host);
	mkclean_mapping_range(mapping, 0, MAX_MAPPING_PAGES);
	for (pgoff_t i = 0; (folio = mapping_next(mapping, &i, ~0ull, false)); i++) {
		mutex_lock(&folio->lock, &m->host);
		if (folio->mapping == mapping && !(folio_flags(folio) & PG_DIRTY)) {
			/* While the folio is locked no fault maps it. A store before the unmap has made it dirty. */
			unmap_pages(mapping, i, i, false);
			if (!(folio_flags(folio) & PG_DIRTY))
				mapping_remove(mapping, folio, ~0ull);
			track_mapping_range(mapping, i, i);
		}
		mutex_unlock(&folio->lock, &m->host);
		folio_put(m, folio);
	}
	track_mapping_range(mapping, 0, ~0ull);	/* also pages that are not cached: a later access reads other bytes */
	write_unlock(&mapping->invalidate_lock, &m->host);
}

/* --- seals --- */

static bool maybe_written(struct vellum_mapping *mapping)
{
	for (struct interval *iv = interval_first(&mapping->i_mmap, 0, ~0ull); iv;
	     iv = interval_next(iv, 0, ~0ull))
		if (vma_shared_maywrite(container_of(iv, struct vma, map_node)))
			return true;
	return false;
}

EXPORT int vellum_mapping_add_seals(struct vellum_mapping *mapping, uint32_t seals)
{
	const uint32_t known = VELLUM_SEAL_SEAL | VELLUM_SEAL_SHRINK | VELLUM_SEAL_GROW |
			       VELLUM_SEAL_WRITE | VELLUM_SEAL_FUTURE_WRITE;
	const struct host *host = &mapping->memory->host;
	int err = 0;

	if (seals & ~known)
		return -EINVAL;
	write_lock(&mapping->i_mmap_lock, host);	/* mmap inserts its VMA under it, then reads seals */
	if (vellum_mapping_seals(mapping) & VELLUM_SEAL_SEAL)
		err = -EPERM;
	else if ((seals & VELLUM_SEAL_WRITE) && maybe_written(mapping))
		err = -EBUSY;
	else
		__atomic_fetch_or(&mapping->seals, seals, __ATOMIC_SEQ_CST);
	write_unlock(&mapping->i_mmap_lock, host);
	return err;
}

EXPORT uint32_t vellum_mapping_seals(const struct vellum_mapping *mapping)
{
	return __atomic_load_n(&mapping->seals, __ATOMIC_SEQ_CST);
}
