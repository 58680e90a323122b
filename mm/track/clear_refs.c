/* SPDX-License-Identifier: MIT */
/* mm/track/clear_refs.c - clear soft-dirty or accessed bits of an address space. */
#include "mm/fault/fault.h"
#include "mm/space/space.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pagewalk.h"
#include "mm/table/pgtable.h"
#include "mm/table/tlb.h"
#include "mm/vma.h"
#include "vellum/pagemap.h"

struct clear_walk {
	int what;
	bool changed;		/* an entry lost W: flush */
};

/* Raw frames are skipped for SOFT_DIRTY only; Linux skips them for each type. */
static bool is_wanted(const struct vma *vma, int what)
{
	if (what == VELLUM_CLEAR_REFS_SOFT_DIRTY)
		return !(vma->flags & VM_PFNMAP);
	if (what == VELLUM_CLEAR_REFS_ANON)
		return vma_is_anonymous(vma);
	return what == VELLUM_CLEAR_REFS_ALL || !vma_is_anonymous(vma);
}

static int test_vma(struct vma *vma, struct mm_walk *walk)
{
	return is_wanted(vma, ((struct clear_walk *)walk->private)->what) ? 0 : WALK_SKIP;
}

/* Remove soft-dirty, and W so that the next store faults and sets it again. */
static pte_t clear_soft_dirty_wrprotect(pte_t pte)
{
	return pte_clear_soft_dirty(pte_wrprotect(pte));
}

/*
 * A store through a pin sets no soft-dirty bit, so a pinned page stays soft-dirty. As in Linux, only if the entry is
 * writable and the VMA is COW.
 */
static bool stays_soft_dirty(const struct vma *vma, pte_t pte)
{
	const struct folio *folio = pte_special(pte) ? NULL : pte_folio(vma->mm->memory, pte);

	return folio && vma_is_cow(vma) && pte_write(pte) &&
	       __atomic_load_n(&vma->mm->has_pinned, __ATOMIC_RELAXED) && folio_maybe_pinned(folio);
}

static void clear_soft_dirty(pte_t *ptep, gva_t addr, struct mm_walk *walk)
{
	struct clear_walk *cw = walk->private;
	pte_t pte = ptep_get(ptep);

	if (pte_is_swp(pte)) {
		/* Without W either: once the entry is present again, a store has to fault and set the bit. */
		if (!pte_is_marker(pte))
			ptep_set(ptep, pte_swp_clear_soft_dirty(swp_wrprotect(walk->vma->mm->memory, pte)));
		return;
	}
	if (!pte_present(pte) || (!pte_write(pte) && !pte_soft_dirty(pte)))
		return;
	if (stays_soft_dirty(walk->vma, pte)) {
		/* It stays writable, so a later store would not fault: set the bit now. */
		ptep_update(ptep, pte_mksoft_dirty);
		return;
	}
	if (must_clear_flush(walk->vma->mm))
		ptep_set(ptep, clear_soft_dirty_wrprotect(clear_and_flush(walk->vma->mm, addr, ptep)));
	else
		cw->changed |= pte_write(ptep_update(ptep, clear_soft_dirty_wrprotect));
}

static int clear_pte(pte_t *ptep, gva_t addr, struct mm_walk *walk)
{
	const struct clear_walk *cw = walk->private;

	if (cw->what == VELLUM_CLEAR_REFS_SOFT_DIRTY)
		clear_soft_dirty(ptep, addr, walk);
	else if (pte_present(ptep_get(ptep)))
		ptep_update(ptep, pte_mkold);
	return 0;
}

static uint64_t leaf_cleared(uint64_t val)
{
	return clear_soft_dirty_wrprotect(pte_make(val)).val;	/* the same bits */
}

static uint64_t leaf_old(uint64_t val)
{
	return val & ~X86_ACCESSED;
}

static int clear_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	struct clear_walk *cw = walk->private;
	uint64_t val = entry_load(entry);

	if (cw->what != VELLUM_CLEAR_REFS_SOFT_DIRTY) {
		leaf_update(entry, leaf_old);
		return 0;
	}
	if (must_clear_flush(walk->vma->mm))
		return WALK_SPLIT;
	if (__atomic_load_n(&walk->vma->mm->has_pinned, __ATOMIC_RELAXED) && !leaf_is_raw(val))
		for (gva_t addr = start; addr < end; addr += PAGE_SIZE)
			if (stays_soft_dirty(walk->vma, leaf_pte(walk->vma->mm->memory, val, shift, addr)))
				return WALK_SPLIT;
	cw->changed |= leaf_write(leaf_update(entry, leaf_cleared));
	return 0;
}

static const struct mm_walk_ops clear_walk_ops = {
	.test_vma = test_vma,
	.huge_leaf = clear_leaf,
	.pte = clear_pte,
};

/* Clear VM_SOFTDIRTY: from here on pte_soft_dirty() decides, and the first store to each page faults. */
static void watch_entries(struct vellum_mm *mm)
{
	for (struct vma *vma = vma_first(mm); vma; vma = vma_next(vma)) {
		if (!(vma->flags & VM_SOFTDIRTY) || !is_wanted(vma, VELLUM_CLEAR_REFS_SOFT_DIRTY))
			continue;
		__atomic_store_n(&vma->flags, vma->flags & ~VM_SOFTDIRTY, __ATOMIC_RELAXED);
		vma_update_prot(vma);
	}
}

EXPORT int vellum_clear_refs(struct vellum_mm *mm, int what)
{
	struct vellum_flush_batch batch = { .size = sizeof(batch) };
	struct clear_walk cw = { .what = what };
	bool soft = what == VELLUM_CLEAR_REFS_SOFT_DIRTY;

	if (what < VELLUM_CLEAR_REFS_ALL || what > VELLUM_CLEAR_REFS_SOFT_DIRTY)
		return -EINVAL;
	write_lock(&mm->mmap_lock, mm_host(mm));
	if (soft) {
		watch_entries(mm);
		notify_start(mm, VELLUM_NOTIFY_SOFT_DIRTY, 0, TASK_SIZE);
		flush_cache(mm, 0, TASK_SIZE);
	}
	flush_window_open(mm);
	walk_page_range(mm, 0, TASK_SIZE, &clear_walk_ops, &cw);
	if (cw.changed) {
		batch.kinds = VELLUM_FLUSH_RIGHTS;
		batch.full = batch.all_frames = true;
	}
	flush_window_close(mm, &batch, 0, TASK_SIZE);
	if (soft)
		notify_finish(mm, VELLUM_NOTIFY_SOFT_DIRTY, 0, TASK_SIZE);
	write_unlock(&mm->mmap_lock, mm_host(mm));
	return 0;
}
