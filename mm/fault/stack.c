/* SPDX-License-Identifier: MIT */
/* mm/fault/stack.c - mappings that grow down when they are accessed below their start. */
#include "mm/mm.h"

static bool may_grow(const struct vma *vma, gva_t addr)
{
	const struct vma *prev = vma_prev(vma);

	if (vma->end - addr > vma->mm->stack_limit || addr < MMAP_MIN_ADDR)
		return false;
	/* A stack that was moved up keeps the indices of its pages, and there is none below 0. */
	if ((vma->start - addr) >> PAGE_SHIFT > vma->pgoff)
		return false;
	if ((vma->flags & VM_LOCKED) && !may_lock(vma->mm, vma->start - addr))
		return false;
	/* A stack that grows over its guard must not reach what others store to. */
	return !prev || (prev->flags & VM_GROWSDOWN ? prev->end <= addr :
			 !(prev->flags & VM_ACCESS) ? prev->end <= addr :
						      addr - prev->end >= STACK_GUARD_GAP && prev->end <= addr);
}

int grow_stack(struct vellum_mm *mm, gva_t addr)
{
	const struct host *host = mm_host(mm);
	struct vma *vma;
	int err = -EFAULT;

	addr &= PAGE_MASK;
	write_lock(&mm->mmap_lock, host);
	vma = find_vma(mm, addr);
	if (vma && vma->start <= addr) {
		err = 0;		/* somebody else was first */
	} else if (vma && (vma->flags & VM_GROWSDOWN) && may_grow(vma, addr)) {
		vma_set_range(vma, addr, vma->end);
		err = 0;
	}
	write_unlock(&mm->mmap_lock, host);
	return err;
}
