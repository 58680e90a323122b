/* SPDX-License-Identifier: MIT */
/* mm/object/remap.c - map a range of raw frames for a driver, with the largest entries that fit. */
#include "mm/space/space.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/table/tlb.h"
#include "mm/track/hooks.h"
#include "mm/vma.h"

/* The size of the largest entry that can map the start of the range, as a shift. */
static unsigned best_shift(const struct vma *vma, gva_t addr, pfn_t pfn, uint64_t len)
{
	bool small = vma_is_cow(vma) || vma_is_tracked(vma);

	for (unsigned shift = PUD_SHIFT; shift > PAGE_SHIFT && !small; shift -= 9)
		if (!((addr | pfn << PAGE_SHIFT) & ((1ull << shift) - 1)) && len >= 1ull << shift)
			return shift;
	return PAGE_SHIFT;
}

static int map_small(struct vma *vma, gva_t addr, pfn_t pfn)
{
	const struct host *host = mm_host(vma->mm);
	struct mutex *ptl;
	pte_t *ptep = pte_alloc(vma->mm, addr, &ptl), pte = frame_pte(vma, pfn);
	int err = 0;

	if (!ptep)
		return huge_lookup(vma->mm, addr, NULL) ? -EBUSY : -ENOMEM;
	mutex_lock(ptl, host);
	if (pte_none(ptep_get(ptep))) {
		if (pte_write(pte) && wp_tracked(vma, addr))
			pte = pte_wrprotect(pte);
		ptep_set(ptep, pte);
		mm_add_rss(vma->mm, 1);
	} else {
		err = -EBUSY;
	}
	mutex_unlock(ptl, host);
	return err;
}

/* Map one entry at @at, as large as fits. *@size: the bytes that it maps. */
static int map_one(struct vma *vma, gva_t at, pfn_t pfn, uint64_t len, uint64_t *size)
{
	unsigned shift = best_shift(vma, at, pfn, len);
	int err;

	*size = 1ull << shift;
	if (shift == PAGE_SHIFT)
		return map_small(vma, at, pfn);
	err = huge_install(vma->mm, at, shift, frame_leaf(vma, pfn, shift), NULL, NULL);
	if (!err && leaf_write(frame_leaf(vma, pfn, shift)))
		huge_track(vma, at, shift);
	if (err == -EBUSY && !huge_lookup(vma->mm, at, NULL)) {
		*size = PAGE_SIZE;	/* there is a table, which may be empty */
		err = map_small(vma, at, pfn);
	}
	return err;
}

/* If the call fails, the driver may reuse its frames, so no entry may still map them. */
static void unmap_again(struct vma *vma, gva_t start, gva_t end)
{
	struct tlb_gather tlb;

	if (start == end)
		return;
	notify_start(vma->mm, VELLUM_NOTIFY_CLEAR, start, end);
	tlb_gather_begin(&tlb, vma->mm);
	zap_range(&tlb, vma, start, end);
	tlb_gather_finish(&tlb);
	notify_finish(vma->mm, VELLUM_NOTIFY_CLEAR, start, end);
}

static int remap_locked(struct vellum_mm *mm, gva_t addr, pfn_t pfn, uint64_t len) HOLDS_SHARED(&mm->mmap_lock)
{
	struct vma *vma = find_vma_intersection(mm, addr, addr + 1);

	if (!vma || vma->start > addr || vma->end - addr < len || !(vma->flags & VM_PFNMAP))
		return -EINVAL;
	if (vma_is_cow(vma) && (vma->start != addr || vma->end != addr + len))
		return -EINVAL;
	for (uint64_t done = 0, size; done < len; done += size) {
		int err = map_one(vma, addr + done, pfn + (done >> PAGE_SHIFT), len - done, &size);

		if (err) {
			unmap_again(vma, addr, addr + done);
			return err;
		}
	}
	return 0;
}

EXPORT int vellum_remap_pfn_range(struct vellum_mm *mm, uint64_t addr, uint64_t pfn, uint64_t len)
{
	int err;

	if (((addr | len) & ~PAGE_MASK) || !is_user_range(addr, len) || pfn + (len >> PAGE_SHIFT) > MAX_PFN)
		return -EINVAL;
	read_lock(&mm->mmap_lock, mm_host(mm));
	err = remap_locked(mm, addr, pfn, len);
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return err;
}
