/* SPDX-License-Identifier: MIT */
/*
 * mm/object/writeback.c - write dirty pages to their backing.
 *
 * INV-WB-1: a page is written after its entries lost W and D and were flushed. An earlier store is in the bytes that
 *           are written. A later store calls page_mkwrite and makes entry and page dirty again, so the next writeback
 *           writes it.
 * INV-WB-2: an entry without D is granted W only by a thread that holds the folio lock, so none is while writeback
 *           holds it. mkclean also write-protects entries that are already clean, and flushes the whole range if
 *           another flush window is open: a collector may have cleaned an entry and not flushed it yet.
 * INV-WB-3: the bytes of a page with neither PG_DIRTY nor PG_WRITING were read from the backing or passed to
 *           writepage(), unless the page was truncated. A writeback of a range waits for the lock of pages that
 *           another thread is writing. If that write fails, the page is dirty again, and the waiting writeback writes
 *           it and so gets the error.
 */
#include "mm/object/object.h"
#include "mm/space/space.h"
#include "mm/track/hooks.h"
#include "mm/vma.h"

int folio_write(struct vellum_mapping *mapping, struct folio *folio)
{
	struct vellum_memory *m = mapping->memory;
	uint64_t size = vellum_mapping_size(mapping), offset = folio->index << PAGE_SHIFT;
	int err = 0;

	if (!(folio_flags(folio) & PG_DIRTY) || !mapping->ops || !mapping->ops->writepage)
		return 0;
	folio_mkclean(mapping, folio);	/* entries that were granted W since the whole range was mkcleaned */
	folio_set(folio, PG_WRITING);
	folio_clear(folio, PG_DIRTY);	/* before the bytes are read: a later store sets it again */
	if (offset < size)		/* else the page was truncated and is about to be removed */
		err = mapping->ops->writepage(mapping->ctx, folio->index,
					      frame_address(m, folio_pfn(m, folio)),
					      (uint32_t)min_u64(size - offset, PAGE_SIZE));
	if (err)
		folio_mark_dirty(folio);
	folio_clear(folio, PG_WRITING);
	return err;
}

/* Write dirty pages until *@written is @max. Returns 0 or the first error, after trying all pages. */
static int write_dirty(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last, uint64_t max,
		       uint64_t *written)
{
	struct vellum_memory *m = mapping->memory;
	struct folio *folio;
	int first_err = 0;

	for (pgoff_t i = first; *written < max && (folio = mapping_next(mapping, &i, last, true)); i++) {
		int err = 0;

		mutex_lock(&folio->lock, &m->host);
		if (folio->mapping == mapping && (folio_flags(folio) & PG_DIRTY)) {
			err = folio_write(mapping, folio);
			*written += !err;
		}
		mutex_unlock(&folio->lock, &m->host);
		folio_put(m, folio);
		if (err && !first_err)
			first_err = err;
	}
	return first_err;
}

static bool mapping_can_writeback(const struct vellum_mapping *mapping)
{
	return (mapping->flags & VELLUM_MAPPING_WRITEBACK) && mapping->ops && mapping->ops->writepage;
}

EXPORT int vellum_mapping_writeback(struct vellum_mapping *mapping, uint64_t first, uint64_t nr,
				    uint64_t *written)
{
	uint64_t done = 0;
	int err = 0;

	nr = min_u64(nr, MAX_MAPPING_PAGES - min_u64(first, MAX_MAPPING_PAGES));
	if (nr && mapping_can_writeback(mapping)) {
		mkclean_mapping_range(mapping, first, nr);
		err = write_dirty(mapping, first, first + nr - 1, ~0ull, &done);
	}
	if (written)
		*written = done;
	return err;
}

/* A shared VMA with VM_MAYWRITE maps the mapping. */
static bool mapping_writably_mapped(struct vellum_mapping *mapping)
{
	const struct host *host = &mapping->memory->host;
	bool found = false;

	read_lock(&mapping->i_mmap_lock, host);
	for (struct interval *iv = interval_first(&mapping->i_mmap, 0, ~0ull); iv && !found;
	     iv = interval_next(iv, 0, ~0ull))
		found = vma_shared_maywrite(container_of(iv, struct vma, map_node));
	read_unlock(&mapping->i_mmap_lock, host);
	return found;
}

EXPORT int vellum_mapping_writeback_unmapped(struct vellum_mapping *mapping)
{
	int err;

	if (!__atomic_load_n(&mapping->maybe_dirty, __ATOMIC_ACQUIRE) || mapping_writably_mapped(mapping))
		return 0;
	/* Before the writeback: a page whose write fails becomes dirty again, which sets maybe_dirty. */
	__atomic_store_n(&mapping->maybe_dirty, 0, __ATOMIC_RELEASE);
	err = vellum_mapping_writeback(mapping, 0, ~0ull, NULL);
	if (err)
		mapping_set_error(mapping, err);
	return err;
}

EXPORT int vellum_mapping_sync(struct vellum_mapping *mapping, uint64_t first, uint64_t nr)
{
	int err = vellum_mapping_writeback(mapping, first, nr, NULL), old;

	if (!err && mapping->ops && mapping->ops->sync)
		err = mapping->ops->sync(mapping->ctx);
	old = __atomic_exchange_n(&mapping->wb_error, 0, __ATOMIC_RELAXED);
	return err ? err : old;
}

EXPORT uint64_t vellum_writeback_step(struct vellum_memory *memory, uint64_t max)
{
	struct vellum_mapping *mapping = NULL;
	uint64_t written = 0;
	int err;

	while ((mapping = next_mapping_get(memory, mapping))) {
		if (max && written >= max)
			continue;	/* only for next_mapping_get() to drop the reference */
		if (!mapping_can_writeback(mapping) ||
		    !__atomic_exchange_n(&mapping->maybe_dirty, 0, __ATOMIC_ACQ_REL))
			continue;
		mkclean_mapping_range(mapping, 0, MAX_MAPPING_PAGES);
		err = write_dirty(mapping, 0, ~0ull, max ? max : ~0ull, &written);
		if (err)
			mapping_set_error(mapping, err);
		/* Pages are left, because of an error or @max: set the hint again for the next step. */
		if (err || (max && written >= max))
			__atomic_store_n(&mapping->maybe_dirty, 1, __ATOMIC_RELEASE);
	}
	return written;
}

/* --- msync(2) --- */

/* The part of the range in one VMA. */
struct sync_part {
	struct vellum_mapping *mapping;	/* referenced; NULL: nothing to write there */
	pgoff_t first;
	uint64_t nr;
	gva_t end;
	bool hole;			/* there is a hole before this part */
};

/* The part in the VMA at @start, or in the next one. -ENOMEM: there is none below @end. Takes mmap_lock. */
static int next_part(struct vellum_mm *mm, gva_t start, gva_t end, int flags, struct sync_part *part)
{
	struct vma *vma;
	int err = 0;

	*part = (struct sync_part){ .end = end };
	read_lock(&mm->mmap_lock, mm_host(mm));
	vma = find_vma(mm, start);
	if (!vma || vma->start >= end) {
		err = -ENOMEM;
	} else if ((flags & VELLUM_MS_INVALIDATE) && (vma->flags & VM_LOCKED)) {
		err = -EBUSY;
	} else {
		part->hole = vma->start > start;
		start = max_u64(start, vma->start);
		part->end = min_u64(vma->end, end);
		if ((vma->flags & VM_SHARED) && vma->mapping && !(vma->flags & VM_PFNMAP)) {
			part->mapping = vma->mapping;
			vellum_mapping_get(part->mapping);
			part->first = vma_page_index(vma, start);
			part->nr = (part->end - start) >> PAGE_SHIFT;
		}
	}
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return err;
}

EXPORT int vellum_msync(struct vellum_mm *mm, uint64_t addr, uint64_t len, int flags)
{
	const int known = VELLUM_MS_ASYNC | VELLUM_MS_INVALIDATE | VELLUM_MS_SYNC;
	uint64_t size = page_align_up(len);
	bool hole = false;
	int err = 0;

	if ((flags & ~known) || (addr & ~PAGE_MASK) ||
	    ((flags & VELLUM_MS_ASYNC) && (flags & VELLUM_MS_SYNC)))
		return -EINVAL;
	if (!size)		/* as in Linux, also for a length that rounds up to 2^64 */
		return 0;
	if (addr + size < addr)
		return -ENOMEM;
	for (gva_t at = addr; at < addr + size && !err;) {
		struct sync_part part;

		err = next_part(mm, at, addr + size, flags, &part);
		if (err)
			break;
		hole |= part.hole;
		if (hole && flags == VELLUM_MS_ASYNC)	/* ASYNC writes nothing, so stop here */
			err = -ENOMEM;
		else if (part.mapping && (flags & VELLUM_MS_SYNC))
			err = vellum_mapping_sync(part.mapping, part.first, part.nr);
		vellum_mapping_put(part.mapping);
		at = part.end;
	}
	return err ? err : hole ? -ENOMEM : 0;
}
