/* SPDX-License-Identifier: MIT */
/*
 * mm/track/scan.c - PAGEMAP_SCAN: report pages by category, and write-protect them in the same step.
 *
 * INV-SCAN-1: a page is reported as written and is protected under one hold of its page-table lock, within a flush window
 * that closes before the scan returns. A store either happens before the return or makes the page written again. A scan
 * that finds a page protected which another has not flushed yet flushes all of its range.
 */
#include "lib/sized.h"
#include "mm/fault/fault.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pagewalk.h"
#include "mm/table/pgtable.h"
#include "mm/table/table_edit.h"
#include "mm/table/tlb.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"
#include "vellum/pagemap.h"

#define KNOWN_CATEGORIES 0x1ffull
#define SCAN_FULL 1		/* a page that matches did not fit: walk_end is its address */

struct scan {
	struct vellum_scan_args *a;
	struct vellum_mm *mm;
	struct vma *vma;
	uint64_t of_vma;	/* categories that all pages of the VMA have */
	uint64_t nr;		/* regions that are complete or begun */
	uint64_t pages;		/* reported */
	struct vellum_flush_batch batch;
};

/* --- categories --- */

static uint64_t written_unless(bool protected)
{
	return protected ? 0 : VELLUM_PAGE_IS_WRITTEN;
}

static uint64_t categories_of(const struct scan *sc, pte_t pte)
{
	const struct vellum_memory *m = sc->mm->memory;
	uint64_t c = sc->of_vma | written_unless(pte_is_uffd_wp(pte));

	if (pte_none(pte))
		return c;
	if (!pte_present(pte))
		return c | VELLUM_PAGE_IS_SWAPPED |
		       (pte_marker_bits(pte) & MARKER_GUARD ? VELLUM_PAGE_IS_GUARD : 0) |
		       (pte_swp_soft_dirty(pte) && !pte_is_marker(pte) ? VELLUM_PAGE_IS_SOFT_DIRTY : 0) |
		       (pte_is_migration(pte) && !migration_is_anon(m, pte) ? VELLUM_PAGE_IS_FILE : 0);
	c |= VELLUM_PAGE_IS_PRESENT | (pte_soft_dirty(pte) ? VELLUM_PAGE_IS_SOFT_DIRTY : 0);
	if (!pte_special(pte))
		return c | (folio_flags(pte_folio(m, pte)) & PG_ANON ? 0 : VELLUM_PAGE_IS_FILE);
	return c | (pte_pfn(pte) == m->zero_pfn ? VELLUM_PAGE_IS_PFNZERO : 0);
}

static bool matches(const struct scan *sc, uint64_t categories)
{
	const struct vellum_scan_args *a = sc->a;
	uint64_t c = categories ^ a->category_inverted;

	return (c & a->category_mask) == a->category_mask && (!a->category_anyof_mask || (c & a->category_anyof_mask));
}

/* --- the report --- */

/* [start, *end) matches. *@end becomes the end of the part that fits. Return: all of it did. */
static bool report(struct scan *sc, uint64_t categories, gva_t start, gva_t *end)
{
	struct vellum_scan_args *a = sc->a;
	struct vellum_page_region *last = sc->nr ? &a->vec[sc->nr - 1] : NULL;
	uint64_t nr = (*end - start) >> PAGE_SHIFT, fits = nr;
	bool joins;

	if (!a->vec_len)
		return true;
	categories &= a->return_mask;
	joins = last && last->end == start && last->categories == categories;
	if (a->max_pages)
		fits = min_u64(nr, a->max_pages - sc->pages);
	if (!joins && sc->nr == a->vec_len)
		fits = 0;
	*end = start + (fits << PAGE_SHIFT);
	sc->pages += fits;
	if (fits && joins)
		last->end = *end;
	else if (fits)
		a->vec[sc->nr++] = (struct vellum_page_region){ start, *end, categories };
	if (fits == nr)
		return true;
	a->walk_end = *end;
	return false;
}

/* --- protecting --- */

static bool protects(const struct scan *sc)
{
	return sc->a->flags & VELLUM_SCAN_WP_MATCHING;
}

/* ptl held; the entry is written. */
static void protect_entry(struct scan *sc, gva_t addr, pte_t *ptep, pte_t pte)
{
	if (pte_none(pte)) {
		ptep_set(ptep, pte_marker(MARKER_UFFD_WP));
	} else if (pte_is_marker(pte)) {
		return;		/* poison and guards: no store succeeds there */
	} else if (!pte_present(pte)) {
		ptep_set(ptep, pte_swp_mkuffd_wp(swp_wrprotect(sc->mm->memory, pte)));
	} else if (must_clear_flush(sc->mm)) {
		ptep_set(ptep, pte_mkuffd_wp(clear_and_flush(sc->mm, addr, ptep)));
	} else if (pte_write(ptep_update(ptep, pte_mkuffd_wp))) {
		batch_add(&sc->batch, addr, addr + PAGE_SIZE, VELLUM_FLUSH_RIGHTS);
		batch_add_frame(&sc->batch, pte_pfn(pte));
	}
}

/* Only written pages can match, so no protected page does. */
static bool wants_written(const struct scan *sc)
{
	return sc->a->category_mask & ~sc->a->category_inverted & VELLUM_PAGE_IS_WRITTEN;
}

/*
 * If only written pages can match: skip protected entries from @ptep on, by whole cache lines. Return: the address of
 * the first entry that is not skipped.
 */
static gva_t skip_protected(const struct scan *sc, gva_t addr, gva_t end, const pte_t *ptep)
{
	gva_t at = addr;

	(void)sc, (void)end, (void)ptep;
#if !defined(VELLUM_EXPLORE) && !defined(VELLUM_TSAN)	/* these builds check each access */
	if (wants_written(sc))
		while (!((uintptr_t)ptep & 63) && at + 8 * PAGE_SIZE <= end &&
		       line_has_all(ptep, X86_PRESENT | X86_UFFD_WP)) {
			at += 8 * PAGE_SIZE;
			ptep += 8;
		}
#endif
	return at;
}

/* Up to the end of one table. 0, or SCAN_FULL. */
static int scan_table(struct scan *sc, gva_t addr, gva_t end, pte_t *ptep, struct mutex *ptl)
{
	bool all = !sc->a->vec_len && protects(sc);		/* report nothing, protect all */
	bool written = wants_written(sc);
	int full = 0;

	mutex_lock(ptl, mm_host(sc->mm));
	for (; addr < end && !full; addr += PAGE_SIZE, ptep++) {
		gva_t from = skip_protected(sc, addr, end, ptep), next = from + PAGE_SIZE;
		uint64_t c;
		pte_t pte;

		ptep += (from - addr) >> PAGE_SHIFT;
		addr = from;
		if (addr == end)
			break;
		pte = ptep_get(ptep);
		if (written && pte_is_uffd_wp(pte))	/* without reading its folio */
			continue;
		c = categories_of(sc, pte);
		if (!all && !matches(sc, c))
			continue;
		if (!report(sc, c, addr, &next))
			full = SCAN_FULL;
		else if (protects(sc) && (c & VELLUM_PAGE_IS_WRITTEN))
			protect_entry(sc, addr, ptep, pte);
	}
	mutex_unlock(ptl, mm_host(sc->mm));
	return full;
}

/* Categories of pages without a page table. */
static uint64_t categories_of_hole(const struct scan *sc)
{
	return sc->of_vma | (vma_uffd_wp(sc->vma) ? VELLUM_PAGE_IS_WRITTEN : 0);
}

/* Are pages without a page table to be protected? */
static bool protects_holes(const struct scan *sc)
{
	uint64_t c = categories_of_hole(sc);

	return protects(sc) && (c & VELLUM_PAGE_IS_WRITTEN) && (matches(sc, c) || !sc->a->vec_len);
}

/*
 * No table covers [addr, end). If holes are protected, the range is within one table. Return: 0, SCAN_FULL, or a
 * negative error: nothing from @addr on is done.
 */
static int scan_hole(struct scan *sc, gva_t addr, gva_t end)
{
	uint64_t c = categories_of_hole(sc);
	struct mutex *ptl;
	pte_t *ptep;

	if (!protects_holes(sc))
		return !matches(sc, c) || report(sc, c, addr, &end) ? 0 : SCAN_FULL;
	if (host_killed(mm_host(sc->mm)))
		return -EINTR;
	ptep = pte_alloc(sc->mm, addr, &ptl);
	if (ptep)
		return scan_table(sc, addr, end, ptep, ptl);
	sc->a->walk_end = addr;
	return -ENOMEM;
}

/*
 * A part [addr, end) of a leaf; its lock is held. 0, SCAN_FULL. *@split: the leaf was split, and nothing was reported.
 */
static int scan_leaf_locked(struct scan *sc, const struct leaf *leaf, uint64_t val, gva_t addr, gva_t end, bool *split)
	HOLDS(leaf->lock)
{
	uint64_t c = categories_of(sc, leaf_pte(sc->mm->memory, val, leaf->shift, addr)) | VELLUM_PAGE_IS_HUGE;
	bool whole = end - addr == 1ull << leaf->shift, fits;
	uint64_t nr = sc->nr, pages = sc->pages;
	gva_t stop = end;

	if (!matches(sc, c))
		return 0;
	fits = report(sc, c, addr, &stop);
	if (protects(sc) && (c & VELLUM_PAGE_IS_WRITTEN) && stop > addr) {
		*split = !whole || !fits || leaf->shift != PMD_SHIFT || must_clear_flush(sc->mm);
		if (*split) {
			sc->nr = nr;	/* undo the report: it follows page by page */
			sc->pages = pages;
			if (sc->nr)
				sc->a->vec[sc->nr - 1].end = min_u64(sc->a->vec[sc->nr - 1].end, addr);
			huge_split_locked(sc->mm, leaf->entry, addr, leaf->shift);
			return 0;
		}
		if (leaf_write(leaf_update(leaf->entry, leaf_mkuffd_wp))) {
			batch_add(&sc->batch, addr, end, VELLUM_FLUSH_RIGHTS);
			sc->batch.all_frames = true;
		}
	}
	return fits ? 0 : SCAN_FULL;
}

/* [addr, end) is within 2 MiB. 0, SCAN_FULL, or a negative error. */
static int scan_part(struct scan *sc, gva_t addr, gva_t end)
{
	bool split = true;
	struct mutex *ptl;
	struct leaf leaf;
	uint64_t val;
	pte_t *ptep;
	int err = 0;

	while (split && huge_lock(sc->mm, addr, &leaf, &val)) {
		split = false;
		err = scan_leaf_locked(sc, &leaf, val, addr, end, &split);
		huge_unlock(sc->mm, &leaf);
		if (!split)
			return err;
	}
	ptep = pte_lookup(sc->mm, addr, &ptl);
	return ptep ? scan_table(sc, addr, end, ptep, ptl) : scan_hole(sc, addr, end);
}

/* --- the walk --- */

/* Is the VMA to be scanned? 0; WALK_SKIP: no; or -EPERM */
static int check_vma(struct scan *sc, const struct vma *vma)
{
	const struct vellum_scan_args *a = sc->a;
	bool allowed = vma_uffd_wp(vma) && vma_uffd_wp_async(vma) && vma_uses_markers(vma);
	uint64_t required = a->category_mask & VELLUM_PAGE_IS_WPALLOWED;

	if (!allowed && (a->flags & VELLUM_SCAN_CHECK_WPASYNC))
		return -EPERM;
	if ((!allowed && (a->flags & VELLUM_SCAN_WP_MATCHING)) || (vma->flags & VM_PFNMAP))
		return WALK_SKIP;
	sc->of_vma = (allowed ? VELLUM_PAGE_IS_WPALLOWED : 0) |
		     (vma->flags & VM_SOFTDIRTY ? VELLUM_PAGE_IS_SOFT_DIRTY : 0);
	return ((sc->of_vma ^ a->category_inverted) & required) == required ? 0 : WALK_SKIP;
}

static int scan_range(struct scan *sc, gva_t start, gva_t end)
{
	int err = 0;

	for (sc->vma = find_vma_intersection(sc->mm, start, end); sc->vma && sc->vma->start < end && !err;
	     sc->vma = vma_next(sc->vma)) {
		gva_t stop = min_u64(sc->vma->end, end), next;

		err = check_vma(sc, sc->vma);
		if (err == WALK_SKIP) {
			err = 0;
			continue;
		}
		for (gva_t addr = max_u64(sc->vma->start, start); addr < stop && !err; addr = next) {
			next = protects_holes(sc) ? addr : skip_absent_tables(sc->mm, addr, stop);
			if (next > addr) {
				err = scan_hole(sc, addr, next);
				continue;
			}
			next = min_u64((addr & PMD_MASK) + PMD_SIZE, stop);
			err = scan_part(sc, addr, next);
		}
	}
	return err;
}

/* With the mmap lock, so that no fork copies an entry before its flush. */
static int scan_locked(struct scan *sc, struct vellum_mm *mm, gva_t start, gva_t end) HOLDS_SHARED(&mm->mmap_lock)
{
	int err;

	if (!protects(sc))
		return scan_range(sc, start, end);
	sc->batch = (struct vellum_flush_batch){ .size = sizeof(sc->batch) };
	flush_window_open(mm);
	err = scan_range(sc, start, end);
	flush_window_close(mm, &sc->batch, start, end);
	return err;
}

/* Bytes of the arguments up to the field that the call writes. */
#define WALK_END_END (__builtin_offsetof(struct vellum_scan_args, walk_end) + sizeof(uint64_t))

static int check_args(const struct vellum_scan_args *a)
{
	if ((a->flags & ~(uint64_t)(VELLUM_SCAN_WP_MATCHING | VELLUM_SCAN_CHECK_WPASYNC)) ||
	    ((a->category_inverted | a->category_mask | a->category_anyof_mask | a->return_mask) & ~KNOWN_CATEGORIES) ||
	    (a->start & ~PAGE_MASK))
		return -EINVAL;
	if (a->end < a->start || a->end > TASK_SIZE)
		return -EFAULT;
	return !a->vec && a->vec_len ? -EINVAL : 0;
}

static int scan_checked(struct vellum_mm *mm, struct vellum_scan_args *args, uint64_t *nr)
{
	struct scan sc = { .a = args, .mm = mm };
	unsigned tries = 0;
	gva_t end;
	int err;

	end = page_align_up(args->end);
	args->walk_end = end;
	if (args->start == end)
		return 0;
	if (protects(&sc)) {
		notify_start(mm, VELLUM_NOTIFY_PROTECTION_VMA, args->start, end);
		flush_cache(mm, args->start, end);
	}
	args->walk_end = args->start;
	do {
		gva_t from = args->walk_end;

		args->walk_end = end;
		read_lock(&mm->mmap_lock, mm_host(mm));
		err = scan_locked(&sc, mm, from, end);
		read_unlock(&mm->mmap_lock, mm_host(mm));
	} while (err == -ENOMEM && reclaim_for_retry(mm->memory, &tries));
	if (protects(&sc))
		notify_finish(mm, VELLUM_NOTIFY_PROTECTION_VMA, args->start, end);
	*nr = sc.nr;
	/* Without memory, the regions found so far are a success. */
	return err < 0 && !(err == -ENOMEM && sc.nr) ? err : 0;
}

EXPORT int vellum_pagemap_scan(struct vellum_mm *mm, struct vellum_scan_args *given, uint64_t *nr)
{
	struct vellum_scan_args args;
	int err = FROM_CALLER(&args, given);

	*nr = 0;
	if (!err && given->size < WALK_END_END)
		err = -EINVAL;		/* no room for the result */
	if (!err)
		err = check_args(&args);
	if (err)
		return err;
	err = scan_checked(mm, &args, nr);
	given->walk_end = args.walk_end;
	return err;
}
