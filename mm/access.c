/* SPDX-License-Identifier: MIT */
/*
 * mm/access.c - a program's memory read and written from outside.
 *
 * The bytes of a page are copied while its page-table lock is held and after A or D is set, so a
 * collector either comes before (and D is new) or after (and the bytes are there): there is no
 * moment at which it could clean D and hand the page out without them.
 */
#include "mm/mm.h"

/* What a CPU's store leaves: no soft-dirty, which faults set. */
static pte_t stored_to(pte_t pte)
{
	return pte_make(pte.val | X86_ACCESSED | X86_DIRTY);
}

struct access {
	struct vellum_mm *mm;
	char *buf;
	bool write;
};

/* Copy within one page. 0; -EAGAIN: the entry does not allow it yet; -EFAULT: no bytes are there. */
static int try_copy(const struct access *ac, gva_t addr, uint64_t n)
{
	struct vellum_memory *m = ac->mm->memory;
	struct mutex *ptl;
	pte_t *ptep = pte_lookup(ac->mm, addr, &ptl);
	int err = -EAGAIN;
	pte_t pte;

	if (!ptep)
		return -EAGAIN;
	mutex_lock(ptl, &m->host);
	pte = ptep_get(ptep);
	if ((pte.val & X86_PRESENT) && (!ac->write || pte_write(pte))) {
		char *page = pfn_host(m, pte_pfn(pte));

		err = page ? 0 : -EFAULT;
		if (page)
			ptep_update(ptep, ac->write ? stored_to : pte_mkyoung);
		sched_point(SCHED_MEMORY, page);
		if (page && ac->write)
			copy_racy(page + (addr & ~PAGE_MASK), ac->buf, n);
		else if (page)
			copy_racy(ac->buf, page + (addr & ~PAGE_MASK), n);
		if (page && ac->write && !pte_special(pte))
			folio_bytes_changed(m, pfn_folio(m, pte_pfn(pte)));
	}
	mutex_unlock(ptl, &m->host);
	return err;
}

/* mmap_lock held for reading. -EAGAIN: a stack has to grow first. */
static int fault_in(const struct access *ac, gva_t addr)
{
	struct vma *vma = find_vma(ac->mm, addr);
	enum vellum_fault_result result;

	if (vma && vma->start > addr && (vma->flags & VM_GROWSDOWN))
		return -EAGAIN;
	if (!vma || vma->start > addr || !vma_permits(vma, ac->write ? VELLUM_FAULT_WRITE : 0))
		return -EFAULT;
	result = handle_mm_fault(vma, addr, ac->write ? FAULT_WRITE : 0);
	if (result == VELLUM_FAULT_OOM)
		return -ENOMEM;
	return result == VELLUM_FAULT_OK ? 0 : -EFAULT;
}

/* What stood in the way, without the mmap lock: 0 to try again, or the error. */
static int mend(struct vellum_mm *mm, gva_t addr, int err, unsigned *tries)
{
	if (err == -EAGAIN)
		return grow_stack(mm, addr);
	if (err == -ENOMEM && reclaim_for_retry(mm->memory, tries))
		return 0;
	return err;
}

static int copy_user(struct access *ac, gva_t addr, uint64_t len, uint64_t *done)
{
	uint64_t start_len = len;
	int err = 0;

	if (addr >= TASK_SIZE || len > TASK_SIZE - addr)
		len = addr >= TASK_SIZE ? 0 : TASK_SIZE - addr;
	read_lock(&ac->mm->mmap_lock, mm_host(ac->mm));
	uint64_t left = len;

	while (left) {
		uint64_t n = min_u64(left, PAGE_SIZE - (addr & ~PAGE_MASK));
		unsigned tries = 0;

		while ((err = try_copy(ac, addr, n)) == -EAGAIN) {
			err = fault_in(ac, addr);
			/* Unlocked: a hook may have put us off until somebody has unmapped something. */
			read_unlock(&ac->mm->mmap_lock, mm_host(ac->mm));
			err = mend(ac->mm, addr, err, &tries);
			read_lock(&ac->mm->mmap_lock, mm_host(ac->mm));
			if (err)
				break;
		}
		if (err)
			break;
		addr += n;
		ac->buf += n;
		left -= n;
	}
	read_unlock(&ac->mm->mmap_lock, mm_host(ac->mm));
	if (done)
		*done = len - left;
	return err ? err : (len < start_len ? -EFAULT : 0);
}

EXPORT int vellum_copy_to_user(struct vellum_mm *mm, uint64_t addr, const void *buf, uint64_t len,
			       uint64_t *done)
{
	struct access ac = { .mm = mm, .buf = (char *)(uintptr_t)buf, .write = true };

	return copy_user(&ac, addr, len, done);
}

EXPORT int vellum_copy_from_user(struct vellum_mm *mm, void *buf, uint64_t addr, uint64_t len,
				 uint64_t *done)
{
	struct access ac = { .mm = mm, .buf = buf, .write = false };

	return copy_user(&ac, addr, len, done);
}

EXPORT int vellum_peek(struct vellum_mm *mm, uint64_t addr, void *buf)
{
	struct vellum_memory *m = mm->memory;
	struct mutex *ptl;
	pte_t *ptep;
	int found = 0;

	if (addr & ~PAGE_MASK)
		return -EFAULT;
	read_lock(&mm->mmap_lock, &m->host);
	ptep = addr < TASK_SIZE ? pte_lookup(mm, addr, &ptl) : NULL;
	if (!find_vma_intersection(mm, addr, addr + 1)) {
		found = -EFAULT;
	} else if (ptep) {
		mutex_lock(ptl, &m->host);
		pte_t pte = ptep_get(ptep);
		const void *page = pte_present(pte) ? pfn_host(m, pte_pfn(pte)) : NULL;

		if (page) {
			copy_racy(buf, page, PAGE_SIZE);
			found = 1;
		}
		mutex_unlock(ptl, &m->host);
	}
	read_unlock(&mm->mmap_lock, &m->host);
	return found;
}
