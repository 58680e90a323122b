/* SPDX-License-Identifier: MIT */
/* mm/uffd/wp.c - UFFDIO_WRITEPROTECT: protect a range, or remove its protection, entry by entry. */
#include "mm/fault/fault.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/table/tlb.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

struct wp_change {
	struct tlb_gather *tlb;
	struct vma *vma;
	bool protect;
};

/* ptl held. */
static void change_not_present(const struct wp_change *wc, pte_t *ptep, pte_t pte)
{
	ptl_assert_held(wc->vma->mm->memory, ptep);
	if (pte_none(pte)) {
		if (wc->protect && vma_uses_markers(wc->vma))
			ptep_set(ptep, pte_marker(MARKER_UFFD_WP));
	} else if (pte_is_marker(pte)) {
		if (!wc->protect && pte_marker_bits(pte) == MARKER_UFFD_WP)
			ptep_set(ptep, pte_make(0));	/* poison and guards stay */
	} else {
		ptep_set(ptep, wc->protect ? pte_swp_mkuffd_wp(swp_wrprotect(wc->vma->mm->memory, pte)) :
					    pte_swp_clear_uffd_wp(pte));
	}
}

static pte_t changed(const struct wp_change *wc, gva_t addr, pte_t old)
{
	pte_t new = wc->protect ? pte_mkuffd_wp(old) : pte_clear_uffd_wp(old);

	/* A VMA that mremap() unregistered gets W by a fault. */
	if (!wc->protect && vma_uffd_wp(wc->vma) && pte_uffd_wp(old) && can_make_writable(wc->vma, addr, new))
		new = maybe_mkwrite(wc->vma, new);
	return new;
}

/* ptl held. Only protecting takes rights away. */
static void change_present(const struct wp_change *wc, gva_t addr, pte_t *ptep, pte_t old)
{
	struct vellum_mm *mm = wc->vma->mm;
	pte_t new;

	ptl_assert_held(mm->memory, ptep);
	do {
		new = changed(wc, addr, old);
		if (new.val == old.val)
			return;
		if (pte_write(old) && must_clear_flush(mm)) {
			ptep_set(ptep, changed(wc, addr, clear_and_flush(mm, addr, ptep)));
			return;
		}
	} while (!ptep_cmpxchg(ptep, &old, new));
	if (pte_write(old))
		tlb_change(wc->tlb, addr, PAGE_SIZE, VELLUM_FLUSH_RIGHTS, pte_pfn(old));
}

/* A range within one table, which exists. */
static void change_table(const struct wp_change *wc, gva_t addr, gva_t end, pte_t *ptep, struct mutex *ptl)
{
	mutex_lock(ptl, mm_host(wc->vma->mm));
	for (; addr < end; addr += PAGE_SIZE, ptep++) {
		pte_t pte = ptep_get(ptep);

		if (pte_present(pte))
			change_present(wc, addr, ptep, pte);
		else
			change_not_present(wc, ptep, pte);
	}
	mutex_unlock(ptl, mm_host(wc->vma->mm));
}

/* Change a whole leaf of private memory. False: it was split, or there is none: its small entries are to be changed. */
static bool change_leaf(const struct wp_change *wc, gva_t addr, gva_t end)
{
	struct vellum_mm *mm = wc->vma->mm;
	struct leaf leaf;
	uint64_t val;
	bool whole;

	if (!huge_lock(mm, addr, &leaf, &val))
		return false;
	whole = leaf.shift == PMD_SHIFT && leaf_start(addr, PMD_SHIFT) == addr && end - addr >= PMD_SIZE &&
		!must_clear_flush(mm) && !leaf_is_raw(val) &&
		(folio_flags(huge_folio(mm->memory, val, PMD_SHIFT)) & PG_ANON);
	if (whole) {
		leaf_update(leaf.entry, wc->protect ? leaf_mkuffd_wp : leaf_clear_uffd_wp);
		if (wc->protect && leaf_write(val)) {
			tlb_change(wc->tlb, addr, PMD_SIZE, VELLUM_FLUSH_RIGHTS, leaf_pfn(val, PMD_SHIFT));
			wc->tlb->batch.all_frames = true;
		}
	} else {
		huge_split_locked(mm, leaf.entry, addr, leaf.shift);
	}
	huge_unlock(mm, &leaf);
	return whole;
}

int uffd_wp_vma(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end, bool protect)
{
	const struct wp_change wc = { tlb, vma, protect };
	bool alloc = protect && vma_uses_markers(vma);
	gva_t next;

	for (gva_t addr = start; addr < end; addr = next) {
		struct mutex *ptl;
		pte_t *ptep;
		bool done;

		if (!alloc)
			addr = skip_absent_tables(vma->mm, addr, end);
		else if (host_killed(mm_host(vma->mm)))
			return -EINTR;
		next = min_u64((addr & PMD_MASK) + PMD_SIZE, end);
		if (addr == end)
			break;
		done = false;
		while (!done && huge_lookup(vma->mm, addr, NULL))
			done = change_leaf(&wc, addr, end);
		if (done)
			continue;
		ptep = alloc ? pte_alloc(vma->mm, addr, &ptl) : pte_lookup(vma->mm, addr, &ptl);
		if (ptep)
			change_table(&wc, addr, next, ptep, ptl);
		else if (alloc && huge_lookup(vma->mm, addr, NULL))
			next = addr;	/* a huge leaf was installed meanwhile: retry */
		else if (alloc)
			return -ENOMEM;
	}
	return 0;
}

/* mmap_lock held for reading. */
static int protect_range(struct vellum_mm *mm, gva_t start, gva_t end, bool protect) HOLDS_SHARED(&mm->mmap_lock)
{
	struct vma *vma = find_vma_intersection(mm, start, end);
	struct tlb_gather tlb;
	int err = vma ? 0 : -ENOENT;

	notify_start(mm, VELLUM_NOTIFY_PROTECTION_VMA, start, end);
	flush_cache(mm, start, end);
	tlb_gather_begin(&tlb, mm);
	for (; vma && vma->start < end && !err; vma = vma_next(vma)) {
		if (!vma_uffd_wp(vma))
			err = -ENOENT;
		else
			err = uffd_wp_vma(&tlb, vma, max_u64(start, vma->start), min_u64(end, vma->end), protect);
	}
	tlb_gather_finish(&tlb);
	notify_finish(mm, VELLUM_NOTIFY_PROTECTION_VMA, start, end);
	return err;
}

EXPORT int vellum_uffd_writeprotect(struct vellum_uffd *uffd, uint64_t start, uint64_t len, uint64_t mode)
{
	bool protect = mode & VELLUM_UFFD_WRITEPROTECT_WP;
	unsigned tries = 0;
	struct vellum_mm *mm;
	int err;

	if (!uffd_ready(uffd) || ((start | len) & ~PAGE_MASK) || !is_user_range(start, len) ||
	    (mode & ~(uint64_t)(VELLUM_UFFD_WRITEPROTECT_WP | VELLUM_UFFD_WRITEPROTECT_DONTWAKE)) ||
	    (protect && (mode & VELLUM_UFFD_WRITEPROTECT_DONTWAKE)))
		return -EINVAL;
	mm = uffd_get_mm(uffd);
	if (!mm)
		return -ESRCH;
	do {
		read_lock(&mm->mmap_lock, mm_host(mm));
		err = uffd_changing(uffd) ? -EAGAIN : protect_range(mm, start, start + len, protect);
		read_unlock(&mm->mmap_lock, mm_host(mm));
	} while (err == -ENOMEM && reclaim_for_retry(mm->memory, &tries));
	vellum_mm_put(mm);
	if (!err && !protect && !(mode & VELLUM_UFFD_WRITEPROTECT_DONTWAKE))
		uffd_wake_range(uffd, start, start + len);
	return err;
}
