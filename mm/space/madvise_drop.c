/* SPDX-License-Identifier: MIT */
/* mm/space/madvise_drop.c - pages of a range are not wanted any more, at once or when memory is short; guards. */
#include "mm/space/madvise.h"
#include "mm/table/pagewalk.h"
#include "mm/swap/swap.h"
#include "mm/uffd/uffd.h"

/* --- FREE --- */

static pte_t aged(pte_t pte)
{
	return pte_mkold(pte_mkclean(pte));
}

/* A page that nobody else has may be dropped from now on, if it is not stored to: its D is the sign. */
static void free_present(struct mm_walk *walk, gva_t addr, pte_t *ptep, pte_t pte)
{
	struct vellum_memory *m = walk->vma->mm->memory;
	struct folio *folio = pte_special(pte) ? NULL : pte_folio(m, pte);

	if (!folio || !(folio_flags(folio) & PG_ANON) || (folio_flags(folio) & PG_SWAPCACHE) ||
	    __atomic_load_n(&folio->count, __ATOMIC_ACQUIRE) != FOLIO_MAPPED)
		return;
	/* Who watches by D learns of the stores before; the bytes may be zeros by the next time. */
	track_change(walk->vma, addr);
	if (must_clear_flush(walk->vma->mm))
		ptep_set(ptep, aged(clear_and_flush(walk->vma->mm, addr, ptep)));
	else
		ptep_update(ptep, aged);
	tlb_change(walk->private, addr, PAGE_SIZE, VELLUM_FLUSH_RIGHTS, pte_pfn(pte));
	folio_clear(folio, PG_DIRTY);
	folio_set(folio, PG_LAZYFREE);
	__atomic_store_n(&m->has_lazyfree, 1, __ATOMIC_RELAXED);
}

static int free_pte(pte_t *ptep, gva_t addr, struct mm_walk *walk)
{
	pte_t pte = ptep_get(ptep);

	if (pte_present(pte)) {
		free_present(walk, addr, ptep, pte);
	} else if (pte_is_genuine_swap(pte) || pte_has_swp_type(pte, SWP_HWPOISON, SWP_HWPOISON) ||
		   (pte_marker_bits(pte) & MARKER_POISON)) {
		ptep_set(ptep, pte_make(0));
		track_change(walk->vma, addr);
		swp_entry_drop(walk->vma->mm, pte);
	}
	return 0;
}

static uint64_t leaf_aged(uint64_t val)
{
	return aged(pte_make(val)).val;		/* the same bits */
}

static bool is_ours_alone(struct folio *first)
{
	for (unsigned i = 0; i < PMD_PAGES; i++)
		if ((folio_flags(&first[i]) & (PG_ANON | PG_SWAPCACHE)) != PG_ANON ||
		    __atomic_load_n(&first[i].count, __ATOMIC_ACQUIRE) != FOLIO_MAPPED)
			return false;
	return true;
}

/* All of a huge page that is the process's own stays one; of others a part is looked at page by page. */
static int free_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	struct tlb_gather *tlb = walk->private;
	struct vellum_memory *m = tlb->mm->memory;
	uint64_t val = entry_load(entry);
	struct folio *first = huge_folio(m, val, shift);

	if (end - start != PMD_SIZE || must_clear_flush(tlb->mm) || !is_ours_alone(first))
		return WALK_SPLIT;
	leaf_update(entry, leaf_aged);
	for (unsigned i = 0; i < PMD_PAGES; i++) {
		track_change(walk->vma, start + ((gva_t)i << PAGE_SHIFT));
		folio_clear(&first[i], PG_DIRTY);
		folio_set(&first[i], PG_LAZYFREE);
	}
	tlb_change(tlb, start, PMD_SIZE, VELLUM_FLUSH_RIGHTS, leaf_pfn(val, shift));
	tlb->batch.all_frames = true;
	__atomic_store_n(&m->has_lazyfree, 1, __ATOMIC_RELAXED);
	return 0;
}

static const struct mm_walk_ops free_walk_ops = { .huge_leaf = free_leaf, .pte = free_pte };

/* --- DONTNEED and FREE --- */

static int check_drop(const struct vma *vma, int advice)
{
	if (vma->flags & VM_PFNMAP)
		return -EINVAL;
	if ((vma->flags & VM_LOCKED) && advice != VELLUM_MADV_DONTNEED_LOCKED)
		return -EINVAL;
	return 0;
}

static bool may_free(const struct vma *vma)
{
	return vma_is_anonymous(vma) && !(vma->flags & VM_MAYSHARE);
}

static void drop_part(struct vma *vma, gva_t start, gva_t end, int advice)
{
	struct vellum_mm *mm = vma->mm;
	struct tlb_gather tlb;

	notify_start(mm, VELLUM_NOTIFY_CLEAR, start, end);
	tlb_begin(&tlb, mm);
	if (advice == VELLUM_MADV_FREE)
		walk_vma_range(vma, start, end, &free_walk_ops, &tlb);
	else
		zap_range(&tlb, vma, start, end);
	tlb_finish(&tlb);
	notify_finish(mm, VELLUM_NOTIFY_CLEAR, start, end);
}

/* mmap_lock held for reading; dropped while somebody who wants to know is told. *@next: up to there it is done. */
static int drop_vma(struct vma *vma, gva_t start, gva_t end, int advice, gva_t *next)
{
	struct vellum_mm *mm = vma->mm;
	int err = check_drop(vma, advice);

	if (!err && uffd_remove(vma, start, end, &err)) {
		vma = find_vma(mm, start);	/* it may be another by now, or none */
		if (!vma || vma->start > start)
			return -ENOMEM;
		end = min_u64(end, vma->end);
		err = check_drop(vma, advice);
	}
	if (!err && advice == VELLUM_MADV_FREE && !may_free(vma))
		err = -EINVAL;
	if (!err)
		drop_part(vma, start, end, advice);
	*next = end;
	return err;
}

int madvise_drop(struct vellum_mm *mm, gva_t start, gva_t end, int advice)
{
	int err;

	read_lock(&mm->mmap_lock, mm_host(mm));
	err = advise_each(mm, start, end, advice, drop_vma);
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return err;
}

/* --- guards --- */

/* ptl held; the entry is none, or one that a guard takes the place of. */
static int guard_table(struct vma *vma, gva_t start, gva_t end, bool install)
{
	struct vellum_mm *mm = vma->mm;
	struct mutex *ptl;
	pte_t *ptep = install ? pte_alloc(mm, start, &ptl) : pte_lookup(mm, start, &ptl);
	int err = 0;

	if (!ptep)
		return install ? -EAGAIN : 0;
	mutex_lock(ptl, mm_host(mm));
	for (gva_t addr = start; addr < end; addr += PAGE_SIZE, ptep++) {
		pte_t pte = ptep_get(ptep);

		if (!install && (pte_marker_bits(pte) & MARKER_GUARD))
			ptep_set(ptep, pte_make(0));
		else if (install && pte_none_or_wp_marker(pte))
			ptep_set(ptep, pte_marker(MARKER_GUARD));
		else if (install && !(pte_marker_bits(pte) & MARKER_GUARD))
			err = -EAGAIN;		/* cannot be: no fault runs */
	}
	mutex_unlock(ptl, mm_host(mm));
	return err;
}

static int guard_part(struct vma *vma, gva_t start, gva_t end, bool install)
{
	int err = 0;

	if (install)
		drop_part(vma, start, end, VELLUM_MADV_DONTNEED);
	for (gva_t next; start < end && !err; start = next) {
		if (!install)
			start = skip_absent_tables(vma->mm, start, end);
		next = min_u64((start & PMD_MASK) + PMD_SIZE, end);
		if (start == end)
			break;
		if (install && host_killed(mm_host(vma->mm)))
			err = -EINTR;
		else if (install && huge_lookup(vma->mm, start, NULL))
			err = -EAGAIN;
		else
			err = guard_table(vma, start, next, install);
	}
	return err;
}

static bool may_guard(const struct vma *vma, bool install)
{
	if (!vma_is_anonymous(vma) || (vma->flags & (VM_MAYSHARE | VM_SPECIAL)) || !(vma->flags & VM_MAYWRITE))
		return false;
	return !install || !(vma->flags & VM_LOCKED);
}

static int guard_vma(struct vma *vma, gva_t start, gva_t end, int advice, gva_t *next)
{
	bool install = advice == VELLUM_MADV_GUARD_INSTALL;

	(void)next;
	if (!may_guard(vma, install))
		return -EINVAL;
	if (install && fault_anon_vma(vma))	/* so that a fork copies its entries */
		return -EAGAIN;
	return guard_part(vma, start, end, install);
}

int madvise_guard(struct vellum_mm *mm, gva_t start, gva_t end, int advice)
{
	unsigned tries = 0;
	int err;

	do {
		write_lock(&mm->mmap_lock, mm_host(mm));	/* so that no fault is quicker */
		err = advise_each(mm, start, end, advice, guard_vma);
		mmap_write_unlock(mm);
	} while (err == -EAGAIN && reclaim_for_retry(mm->memory, &tries));
	return err;
}
