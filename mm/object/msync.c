/* SPDX-License-Identifier: MIT */
/* mm/object/msync.c - msync(2): what a process stored through its mappings goes to their objects. */
#include "mm/mm.h"

/* One VMA's share of the range. */
struct sync_part {
	struct vellum_mapping *mapping;	/* referenced; NULL: nothing to write there */
	pgoff_t first;
	uint64_t nr;
	gva_t end;
	bool hole;			/* before it */
};

/* The VMA at @start or after. -ENOMEM: there is none below @end. */
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
	if (addr + size < addr || !user_range(addr, size))
		return -ENOMEM;
	for (gva_t at = addr; at < addr + size && !err;) {
		struct sync_part part;

		err = next_part(mm, at, addr + size, flags, &part);
		if (err)
			break;
		hole |= part.hole;
		if (hole && flags == VELLUM_MS_ASYNC)	/* nothing to do behind it either */
			err = -ENOMEM;
		else if (part.mapping && (flags & VELLUM_MS_SYNC))
			err = vellum_mapping_sync(part.mapping, part.first, part.nr);
		vellum_mapping_put(part.mapping);
		at = part.end;
	}
	return err ? err : hole ? -ENOMEM : 0;
}
