/* SPDX-License-Identifier: MIT */
/*
 * mm/space/populate.c - fault pages in before an access: MAP_POPULATE, mlock(2), MADV_POPULATE_READ and
 * MADV_POPULATE_WRITE.
 */
#include "mm/fault/fault.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

static bool for_mmap(enum populate_why why)
{
	return why == POPULATE_FOR_MMAP || why == POPULATE_FOR_MPROTECT;
}

/* FAULT_POPULATE, so that the entry is clean, except for POPULATE_WRITE. */
static unsigned fault_flags(const struct vma *vma, enum populate_why why)
{
	bool cow = (vma->flags & (VM_SHARED | VM_WRITE)) == VM_WRITE;

	if (why == POPULATE_WRITE)
		return FAULT_WRITE;
	return FAULT_POPULATE | (for_mmap(why) && cow ? FAULT_WRITE : 0);
}

static int check_vma(const struct vma *vma, gva_t at, enum populate_why why)
{
	if (!vma || vma->start > at)
		return -ENOMEM;
	if (for_mmap(why))
		return vma->flags & VM_ACCESS ? 0 : -ENOMEM;
	if (vma->flags & VM_PFNMAP)
		return -EINVAL;
	/* Check for VM_READ itself, although on x86 VM_WRITE alone allows loads too. */
	return vma->flags & (why == POPULATE_WRITE ? VM_WRITE : VM_READ) ? 0 : -EINVAL;
}

/* If the entry allows the access, no fault is needed and A and D stay. For writing, the page is marked dirty. */
static bool entry_allows(struct vellum_memory *m, pte_t pte, bool write)
{
	if (!(pte.val & X86_PRESENT) || (write && !pte_write(pte)))
		return false;
	if (write && !pte_dirty(pte) && !pte_special(pte))
		folio_mark_dirty(pte_folio(m, pte));
	return true;
}

static bool is_populated(const struct vma *vma, gva_t at, enum populate_why why)
{
	struct vellum_mm *mm = vma->mm;
	bool write = fault_flags(vma, why) & FAULT_WRITE, there;
	struct mutex *ptl;
	pte_t *ptep = pte_lookup(mm, at, &ptl);
	struct leaf leaf;
	uint64_t val;

	if (ptep) {
		mutex_lock(ptl, mm_host(mm));
		there = entry_allows(mm->memory, ptep_get(ptep), write);
		mutex_unlock(ptl, mm_host(mm));
		return there;
	}
	if (!huge_lock(mm, at, &leaf, &val))
		return false;
	there = entry_allows(mm->memory, leaf_pte(mm->memory, val, leaf.shift, at), write);
	huge_unlock(mm, &leaf);
	return there;
}

/* True if the page was installed over a wp marker, so that a store still faults: try again. */
static bool is_protected(const struct vma *vma, gva_t at)
{
	struct mutex *ptl;
	pte_t *ptep = vma_uffd_wp(vma) ? pte_lookup(vma->mm, at, &ptl) : NULL;
	pte_t pte;

	if (!ptep)
		return false;
	mutex_lock(ptl, mm_host(vma->mm));
	pte = ptep_get(ptep);
	mutex_unlock(ptl, mm_host(vma->mm));
	return pte_present(pte) && pte_uffd_wp(pte);
}

/* mmap_lock held for reading. An error of check_vma(), or 0 and the fault's result in *@fault. */
static int populate_page(struct vellum_mm *mm, gva_t at, enum populate_why why, struct uffd_wait *wait,
			 enum vm_fault *fault) HOLDS_SHARED(&mm->mmap_lock)
{
	struct vma *vma = find_vma(mm, at);
	int err = check_vma(vma, at, why);

	*fault = VM_FAULT_DONE;
	if (err || is_populated(vma, at, why))
		return err;
	*fault = handle_mm_fault(vma, at, fault_flags(vma, why), wait);
	if (*fault == VM_FAULT_DONE && (fault_flags(vma, why) & FAULT_WRITE) && is_protected(vma, at))
		*fault = VM_FAULT_WAIT;
	return 0;
}

/* Call without the mmap lock: may sleep, waiting for a userfaultfd or for reclaim. 0 to retry, or the error. */
static int wait_or_reclaim(struct vellum_mm *mm, enum vm_fault fault, struct uffd_wait *wait, unsigned *tries)
	EXCLUDES(&mm->mmap_lock)
{
	if (fault == VM_FAULT_WAIT)
		return uffd_wait_resolved(wait, mm_host(mm)) ? 0 : -EINTR;
	return reclaim_for_retry(mm->memory, tries) ? 0 : -EAGAIN;
}

int populate_range(struct vellum_mm *mm, gva_t start, gva_t end, enum populate_why why)
{
	const struct host *host = mm_host(mm);
	struct uffd_wait wait = { .ctx = NULL };
	enum vm_fault fault;
	unsigned tries = 0;
	gva_t at = start;
	int err = 0;

	read_lock(&mm->mmap_lock, host);
	while (at < end && !err) {
		if (host_killed(host)) {
			err = -EINTR;
			break;
		}
		err = populate_page(mm, at, why, why == POPULATE_FOR_MPROTECT ? NULL : &wait, &fault);
		if (!err && (fault == VM_FAULT_OOM || fault == VM_FAULT_WAIT)) {
			read_unlock(&mm->mmap_lock, host);
			err = wait_or_reclaim(mm, fault, &wait, &tries);
			read_lock(&mm->mmap_lock, host);
		} else {
			if (!err)
				err = vm_fault_errno(fault, fault == VM_FAULT_HWPOISON && !for_mmap(why) ?
								    -EHWPOISON : -EFAULT);
			at += PAGE_SIZE;
			tries = 0;
		}
	}
	read_unlock(&mm->mmap_lock, host);
	return err;
}
