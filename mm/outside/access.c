/* SPDX-License-Identifier: MIT */
/*
 * mm/outside/access.c - read and write a program's memory from outside its CPUs.
 *
 * The bytes of a page are copied while its page-table lock is held, after A or D is set. If a collector cleans D
 * before, D is set again; if it cleans D after, the bytes are there. It can never clean D and hand out the page
 * without the bytes.
 */
#include "mm/fault/fault.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

/* The bits that a CPU's store sets. Faults set soft-dirty, not these. The same bits in entries of all sizes. */
static uint64_t stored_to(uint64_t val)
{
	return val | X86_ACCESSED | X86_DIRTY;
}

static uint64_t loaded_from(uint64_t val)
{
	return val | X86_ACCESSED;
}

struct access {
	struct vellum_mm *mm;
	char *buf;
	bool write;
	uint32_t *expected;	/* not NULL: compare with it and exchange, instead of copying */
	uint32_t desired;
	struct uffd_wait wait;	/* for a userfaultfd to resolve a fault */
	bool waits;
};

/* Copy within the page that the locked @entry maps. As try_copy(). */
static int copy_mapped(const struct access *ac, uint64_t *entry, pte_t pte, gva_t addr, uint64_t n)
{
	struct vellum_memory *m = ac->mm->memory;
	char *page;

	if (!(pte.val & X86_PRESENT) || (ac->write && !(pte.val & X86_RW)))
		return -EAGAIN;
	page = pte_host(m, pte);
	if (!page)
		return -EFAULT;
	leaf_update(entry, ac->write ? stored_to : loaded_from);
	sched_point(SCHED_MEMORY, page);
	if (ac->expected)
		__atomic_compare_exchange_n((uint32_t *)(page + (addr & ~PAGE_MASK)), ac->expected, ac->desired, false,
					    __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	else if (ac->write)
		copy_racy(page + (addr & ~PAGE_MASK), ac->buf, n);
	else
		copy_racy(ac->buf, page + (addr & ~PAGE_MASK), n);
	if (ac->write && !pte_special(pte))
		folio_bytes_changed(m, pte_folio(m, pte));
	return 0;
}

/* Copy within one page. 0; -EAGAIN: the entry does not allow it yet; -EFAULT: no bytes are there. */
static int try_copy(const struct access *ac, gva_t addr, uint64_t n)
{
	struct mutex *ptl;
	pte_t *ptep = pte_lookup(ac->mm, addr, &ptl);
	struct leaf leaf;
	uint64_t val;
	int err;

	if (ptep) {
		mutex_lock(ptl, mm_host(ac->mm));
		err = copy_mapped(ac, &ptep->val, ptep_get(ptep), addr, n);
		mutex_unlock(ptl, mm_host(ac->mm));
		return err;
	}
	if (!huge_lock(ac->mm, addr, &leaf, &val))
		return -EAGAIN;
	err = copy_mapped(ac, leaf.entry, leaf_pte(ac->mm->memory, val, leaf.shift, addr), addr, n);
	huge_unlock(ac->mm, &leaf);
	return err;
}

/* mmap_lock held for reading. -EAGAIN: a stack must grow, or the fault must wait, both without the lock. */
static int fault_in(struct access *ac, gva_t addr) HOLDS_SHARED(&ac->mm->mmap_lock)
{
	struct vma *vma = find_vma(ac->mm, addr);
	enum vm_fault result;

	ac->waits = false;
	if (vma && vma->start > addr && (vma->flags & VM_GROWSDOWN))
		return -EAGAIN;
	if (!vma || vma->start > addr || !vma_permits(vma, ac->write ? VELLUM_FAULT_WRITE : 0))
		return -EFAULT;
	result = handle_mm_fault(vma, addr, ac->write ? FAULT_WRITE : 0, &ac->wait);
	ac->waits = result == VM_FAULT_WAIT;
	return ac->waits ? -EAGAIN : vm_fault_errno(result, -EFAULT);
}

/* Wait, grow the stack or reclaim, without the mmap lock. 0: retry; or the error. */
static int wait_or_reclaim(struct access *ac, gva_t addr, int err, unsigned *tries)
{
	if (ac->waits)
		return uffd_wait_resolved(&ac->wait, mm_host(ac->mm)) ? 0 : -EINTR;
	if (err == -EAGAIN)
		return grow_stack(ac->mm, addr);
	if (err == -ENOMEM && reclaim_for_retry(ac->mm->memory, tries))
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
			/* Drop the lock: a driver's NOPAGE may last until another thread has unmapped something. */
			read_unlock(&ac->mm->mmap_lock, mm_host(ac->mm));
			err = wait_or_reclaim(ac, addr, err, &tries);
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

EXPORT int vellum_cmpxchg_user(struct vellum_mm *mm, uint64_t addr, uint32_t *expected, uint32_t desired)
{
	struct access ac = { .mm = mm, .buf = (char *)expected, .write = true, .expected = expected, .desired = desired };

	return addr % sizeof(*expected) ? -EINVAL : copy_user(&ac, addr, sizeof(*expected), NULL);
}

/* Is the page a guard, or poisoned? */
static bool is_forbidden(struct vellum_mm *mm, gva_t addr)
{
	struct mutex *ptl;
	const pte_t *ptep = pte_find(mm, addr, &ptl);
	pte_t pte;

	if (!ptep)
		return false;
	mutex_lock(ptl, mm_host(mm));
	pte = ptep_get(ptep);
	mutex_unlock(ptl, mm_host(mm));
	return (pte_marker_bits(pte) & (MARKER_GUARD | MARKER_POISON)) ||
	       pte_has_swp_type(pte, SWP_HWPOISON, SWP_HWPOISON);
}

/* mmap_lock held for reading. 1; 0; -EAGAIN: a stack must grow first, without the lock. */
static int page_storable(struct vellum_mm *mm, gva_t addr) HOLDS_SHARED(&mm->mmap_lock)
{
	struct vma *vma = find_vma(mm, addr);

	if (!vma)
		return 0;
	if (vma->start > addr)
		return vma->flags & VM_GROWSDOWN ? -EAGAIN : 0;
	if (!vma_permits(vma, VELLUM_FAULT_WRITE))
		return 0;
	if (vma->mapping && vma_page_index(vma, addr) >= mapping_nr_pages(vma->mapping))
		return 0;
	return !is_forbidden(mm, addr);
}

EXPORT uint64_t vellum_storable(struct vellum_mm *mm, uint64_t addr, uint64_t len)
{
	uint64_t end, at = addr;

	if (addr >= TASK_SIZE)
		return 0;
	end = addr + min_u64(len, TASK_SIZE - addr);
	read_lock(&mm->mmap_lock, mm_host(mm));
	while (at < end) {
		int storable = page_storable(mm, at);

		if (storable == -EAGAIN) {
			read_unlock(&mm->mmap_lock, mm_host(mm));
			storable = grow_stack(mm, at) ? 0 : -EAGAIN;
			read_lock(&mm->mmap_lock, mm_host(mm));
		}
		if (!storable)
			break;
		if (storable > 0)
			at = (at & PAGE_MASK) + PAGE_SIZE;
	}
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return min_u64(at, end) - addr;
}

/* Copy the page that @pte maps; its lock is held. 1; 0: there is none; -EAGAIN: it is not in RAM. */
static int peek_page(struct vellum_memory *m, pte_t pte, void *buf)
{
	const void *page = pte_present(pte) ? pte_host(m, pte) : NULL;

	if (page)
		copy_racy(buf, page, PAGE_SIZE);
	return page ? 1 : pte_is_swp(pte) && !pte_is_marker(pte) ? -EAGAIN : 0;
}

/* Swap a page in and copy it, without mapping it. 1, -EBUSY, -ENOMEM, -EIO; -EAGAIN: the slot is free or reused. */
static int peek_swapped(struct vellum_memory *m, pte_t pte, void *buf)
{
	struct folio *folio;
	int err;

	if (!pte_is_genuine_swap(pte))
		return -EBUSY;
	err = swap_in(m, pte_slot(pte), &folio);
	if (err)
		return err;
	copy_racy(buf, frame_address(m, folio_pfn(m, folio)), PAGE_SIZE);
	anon_folio_unlock_and_free_swap(m, folio);
	folio_put(m, folio);
	return 1;
}

/* As vellum_peek(); mmap_lock held for reading. *@seen: with -EAGAIN, the entry. */
static int peek(struct vellum_mm *mm, gva_t addr, void *buf, pte_t *seen) HOLDS_SHARED(&mm->mmap_lock)
{
	struct mutex *ptl;
	const pte_t *ptep = pte_find(mm, addr, &ptl);
	struct leaf leaf;
	uint64_t val;
	int found;

	if (ptep) {
		mutex_lock(ptl, mm_host(mm));
		*seen = ptep_get(ptep);
		found = peek_page(mm->memory, *seen, buf);
		mutex_unlock(ptl, mm_host(mm));
		return found;
	}
	if (!huge_lock(mm, addr, &leaf, &val))
		return 0;
	found = peek_page(mm->memory, leaf_pte(mm->memory, val, leaf.shift, addr), buf);
	huge_unlock(mm, &leaf);
	return found;
}

/* Is the entry still the one whose bytes were read? */
static bool still_is(struct vellum_mm *mm, gva_t addr, pte_t seen)
{
	struct mutex *ptl;
	const pte_t *ptep = pte_find(mm, addr, &ptl);

	return ptep && ptep_get(ptep).val == seen.val;
}

EXPORT int vellum_peek(struct vellum_mm *mm, uint64_t addr, void *buf)
{
	unsigned tries = 0;
	int found;

	if (addr & ~PAGE_MASK)
		return -EFAULT;
	do {
		pte_t seen = pte_make(0);

		found = -EFAULT;
		read_lock(&mm->mmap_lock, mm_host(mm));
		if (addr < TASK_SIZE && find_vma_intersection(mm, addr, addr + 1))
			found = peek(mm, addr, buf, &seen);
		if (found == -EAGAIN) {
			found = peek_swapped(mm->memory, seen, buf);
			if (found == 1 && !still_is(mm, addr, seen))
				found = -EAGAIN;
		}
		read_unlock(&mm->mmap_lock, mm_host(mm));
	} while (found == -EAGAIN || (found == -ENOMEM && reclaim_for_retry(mm->memory, &tries)));
	return found;
}
