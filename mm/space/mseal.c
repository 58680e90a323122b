/* SPDX-License-Identifier: MIT */
/*
 * mm/space/mseal.c - seal VMAs against changes (mseal(2)).
 *
 * The calls that a seal blocks ask here, each where it has found the VMAs and before it changes the first one.
 */
#include "mm/space/space.h"

bool range_is_sealed(const struct vellum_mm *mm, gva_t start, gva_t end)
{
	const struct vma *vma = find_vma_intersection(mm, start, end);

	for (; vma && vma->start < end; vma = vma_next(vma))
		if (vma->flags & VM_SEALED)
			return true;
	return false;
}

/* The advice replaces contents without a store. */
static bool discards(int advice)
{
	switch (advice) {
	case VELLUM_MADV_DONTNEED:
	case VELLUM_MADV_DONTNEED_LOCKED:
	case VELLUM_MADV_FREE:
	case VELLUM_MADV_DONTFORK:
	case VELLUM_MADV_WIPEONFORK:
	case VELLUM_MADV_GUARD_INSTALL:
		return true;
	default:
		return false;
	}
}

bool seal_forbids_advice(const struct vma *vma, int advice)
{
	return (vma_flags(vma) & (VM_SEALED | VM_WRITE)) == VM_SEALED && vma_is_anonymous(vma) && discards(advice);
}

static bool has_hole(const struct vellum_mm *mm, gva_t start, gva_t end)
{
	const struct vma *vma = find_vma(mm, start);

	for (; vma && vma->start <= start; vma = vma_next(vma)) {
		if (vma->end >= end)
			return false;
		start = vma->end;
	}
	return true;
}

/* mmap_lock held for writing. */
static int seal_range(struct vellum_mm *mm, gva_t start, gva_t end) HOLDS(&mm->mmap_lock)
{
	if (has_hole(mm, start, end))
		return -ENOMEM;
	while (start < end) {
		struct vma *vma = find_vma(mm, start);
		gva_t next = min_u64(vma->end, end);

		if (!vma_change_flags(vma, start, next, vma->flags | VM_SEALED))
			return -ENOMEM;
		start = next;
	}
	return 0;
}

EXPORT int vellum_mseal(struct vellum_mm *mm, uint64_t addr, uint64_t len, uint64_t flags)
{
	uint64_t size = page_align_up(len);
	int err;

	if (flags || (addr & ~PAGE_MASK) || (len && !size) || addr + size < addr)
		return -EINVAL;
	if (!size)
		return 0;
	write_lock(&mm->mmap_lock, mm_host(mm));
	err = seal_range(mm, addr, addr + size);
	write_unlock(&mm->mmap_lock, mm_host(mm));
	return err;
}
