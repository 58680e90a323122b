/* SPDX-License-Identifier: MIT */
/*
 * mm/populate.c - pages are faulted in before anybody accesses them: MAP_POPULATE, mlock(2),
 * MADV_POPULATE_READ and _WRITE.
 */
#include "mm/mm.h"

/* Populated memory has not been written: but for POPULATE_WRITE the entry is clean. */
static unsigned fault_flags(const struct vma *vma, enum populate_why why)
{
	bool cow = (vma->flags & (VM_SHARED | VM_WRITE)) == VM_WRITE;

	if (why == POPULATE_WRITE)
		return FAULT_WRITE;
	return FAULT_POPULATE | (why == POPULATE_FOR_MMAP && cow ? FAULT_WRITE : 0);
}

static int check_vma(const struct vma *vma, gva_t at, enum populate_why why)
{
	if (!vma || vma->start > at)
		return -ENOMEM;
	if (why == POPULATE_FOR_MMAP)
		return vma->flags & VM_ACCESS ? 0 : -ENOMEM;
	if (vma->flags & VM_PFNMAP)
		return -EINVAL;
	/* The right itself: that W lets loads through too is the machine's doing. */
	return vma->flags & (why == POPULATE_WRITE ? VM_WRITE : VM_READ) ? 0 : -EINVAL;
}

/* The entry allows it already: no fault, so A and D stay; but for writing the page counts as newer. */
static bool is_populated(const struct vma *vma, gva_t at, enum populate_why why)
{
	struct vellum_mm *mm = vma->mm;
	bool write = fault_flags(vma, why) & FAULT_WRITE, there;
	struct mutex *ptl;
	pte_t *ptep = pte_lookup(mm, at, &ptl), pte;

	if (!ptep)
		return false;
	mutex_lock(ptl, mm_host(mm));
	pte = ptep_get(ptep);
	there = (pte.val & X86_PRESENT) && (!write || pte_write(pte));
	if (there && write && !pte_dirty(pte) && !pte_special(pte))
		folio_mark_dirty(pfn_folio(mm->memory, pte_pfn(pte)));
	mutex_unlock(ptl, mm_host(mm));
	return there;
}

/* mmap_lock held for reading. */
static int populate_page(struct vellum_mm *mm, gva_t at, enum populate_why why)
{
	struct vma *vma = find_vma(mm, at);
	int err = check_vma(vma, at, why);

	if (err || is_populated(vma, at, why))
		return err;
	switch (handle_mm_fault(vma, at, fault_flags(vma, why))) {
	case VELLUM_FAULT_OK:
		return 0;
	case VELLUM_FAULT_OOM:
		return -EAGAIN;
	default:
		return -EFAULT;
	}
}

int populate_range(struct vellum_mm *mm, gva_t start, gva_t end, enum populate_why why)
{
	const struct host *host = mm_host(mm);
	unsigned tries = 0;
	gva_t at = start;
	int err = 0;

	read_lock(&mm->mmap_lock, host);
	while (at < end && !err) {
		err = populate_page(mm, at, why);
		if (err == -EAGAIN) {
			read_unlock(&mm->mmap_lock, host);
			if (reclaim_for_retry(mm->memory, &tries))
				err = 0;
			read_lock(&mm->mmap_lock, host);
		} else {
			at += PAGE_SIZE;
			tries = 0;
		}
	}
	read_unlock(&mm->mmap_lock, host);
	return err;
}
