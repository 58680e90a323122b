/* SPDX-License-Identifier: MIT */
/*
 * mm/track/dirty.c - the two helpers for shared mappings: write-protect; clean and record. And mkclean for writeback,
 * which removes both W and D.
 *
 * INV-DIRTY-1: D leaves an entry and its bit enters the bitmap under one hold of the page-table lock. No path does the
 *              first without the second.
 * INV-DIRTY-2: when the caller can read the bitmap, no TLB holds a translation cached before its entry was cleaned. A
 *              later store sets D again.
 */
#include "mm/fault/fault.h"
#include "mm/table/huge.h"
#include "mm/table/pagewalk.h"
#include "mm/table/pgtable.h"
#include "mm/table/table_edit.h"
#include "mm/table/tlb.h"
#include "mm/track/hooks.h"
#include "mm/vma.h"

struct wp_walk {
	uint64_t total;			/* entries changed, of all VMAs */
	struct vellum_flush_batch batch; /* of this VMA */
	/* clean and record only: */
	pgoff_t bitmap_pgoff;
	uint64_t *bitmap;
	uint64_t bit_start, bit_end;
};

/*
 * MAYWRITE and not WRITE: a VMA that was made read-only may still have dirty entries. The flags are read once, without
 * the mmap lock.
 */
static int wp_test_vma(struct vma *vma, struct mm_walk *walk)
{
	(void)walk;
	return vma_shared_maywrite(vma) ? 0 : WALK_SKIP;
}

static int wp_pre_vma(struct mm_walk *walk)
{
	struct wp_walk *ww = walk->private;

	ww->batch = (struct vellum_flush_batch){ .size = sizeof(struct vellum_flush_batch) };
	notify_start(walk->vma->mm, VELLUM_NOTIFY_PROTECTION_PAGE, walk->start, walk->end);
	flush_cache(walk->vma->mm, walk->start, walk->end);
	flush_window_open(walk->vma->mm);
	return 0;
}

/* Until this flush CPUs may store through old translations, without a fault and without setting D. */
static void wp_post_vma(struct mm_walk *walk)
{
	struct wp_walk *ww = walk->private;

	flush_window_close(walk->vma->mm, &ww->batch, walk->start, walk->end);
	notify_finish(walk->vma->mm, VELLUM_NOTIFY_PROTECTION_PAGE, walk->start, walk->end);
}

/* A migration entry keeps W and D of the entry that it replaces, and gives them back. ptl held. */
static bool any_migrating(const struct mm_walk *walk)
{
	return unlikely(__atomic_load_n(&walk->vma->mm->memory->nr_migrating, __ATOMIC_SEQ_CST));
}

static void wp_migrating(struct wp_walk *ww, pte_t *ptep, unsigned nr, struct mm_walk *walk)
{
	for (unsigned i = 0; i < nr; i++) {
		pte_t pte = ptep_get(&ptep[i]);

		if (!pte_has_swp_type(pte, SWP_MIGRATION_WRITE, SWP_MIGRATION_WRITE))
			continue;
		ptep_set(&ptep[i], swp_wrprotect(walk->vma->mm->memory, pte));
		ww->total++;
	}
}

static int wp_table(pte_t *ptep, gva_t start, gva_t end, struct mm_walk *walk)
{
	struct wp_walk *ww = walk->private;
	struct table_edit ed = edit_table(walk->vma->mm, &ww->batch, ptep, start);
	unsigned nr = (unsigned)((end - start) >> PAGE_SHIFT);

	for (unsigned i = 0; i < nr; i += 64)
		edit_entries(&ed, i, (unsigned)min_u64(nr - i, 64), X86_RW, pte_wrprotect);
	edit_done(&ed);
	ww->total += ed.nr;
	if (any_migrating(walk))
		wp_migrating(ww, ptep, nr, walk);
	return 0;
}

/* Record @mask in the bitmap from bit @bit on. */
static void record_bits(struct wp_walk *ww, uint64_t bit, uint64_t mask)
{
	unsigned shift = bit % 64;

	if (!mask)
		return;
	ww->bitmap[bit / 64] |= mask << shift;
	if (shift && mask >> (64 - shift))
		ww->bitmap[bit / 64 + 1] |= mask >> (64 - shift);
	ww->bit_start = min_u64(ww->bit_start, bit + (uint64_t)__builtin_ctzll(mask));
	ww->bit_end = max_u64(ww->bit_end, bit + 64 - (uint64_t)__builtin_clzll(mask));
}

static void clean_migrating(struct wp_walk *ww, pte_t *ptep, gva_t start, unsigned nr, struct mm_walk *walk)
{
	uint64_t bit = vma_page_index(walk->vma, start) - ww->bitmap_pgoff;

	for (unsigned i = 0; i < nr; i++) {
		pte_t pte = ptep_get(&ptep[i]);

		if (!pte_is_migration(pte) || !(pte_swp_offset(pte) & MIGRATION_DIRTY))
			continue;
		ptep_set(&ptep[i], pte_migration_mkclean(pte));	/* trackers have recorded it, and the folio is dirty */
		record_bits(ww, bit + i, 1);
		ww->total++;
	}
}

static int clean_record_table(pte_t *ptep, gva_t start, gva_t end, struct mm_walk *walk)
{
	struct wp_walk *ww = walk->private;
	struct table_edit ed = edit_table(walk->vma->mm, &ww->batch, ptep, start);
	uint64_t bit = vma_page_index(walk->vma, start) - ww->bitmap_pgoff;
	unsigned nr = (unsigned)((end - start) >> PAGE_SHIFT);

	for (unsigned i = 0; i < nr; i += 64) {
		uint64_t mask = edit_entries(&ed, i, (unsigned)min_u64(nr - i, 64),
					     X86_DIRTY | X86_SAVED_DIRTY, pte_mkclean);

		record_bits(ww, bit + i, mask);
		propagate_dirty(walk->vma, start + ((uint64_t)i << PAGE_SHIFT), ptep + i, mask, NULL);
	}
	edit_done(&ed);
	ww->total += ed.nr;
	if (any_migrating(walk))
		clean_migrating(ww, ptep, start, nr, walk);
	return 0;
}

/* For writeback. Raw frames are skipped: there is no page to write. */
static int clean_for_io_table(pte_t *ptep, gva_t start, gva_t end, struct mm_walk *walk)
{
	struct wp_walk *ww = walk->private;
	struct table_edit ed = edit_table(walk->vma->mm, &ww->batch, ptep, start);
	unsigned nr = (unsigned)((end - start) >> PAGE_SHIFT);

	for (unsigned i = 0; i < nr; i++) {
		pte_t pte = ptep_get(&ptep[i]);

		if (!pte_present(pte) || pte_special(pte) || (!pte_dirty(pte) && !pte_write(pte)))
			continue;
		edit_begin(&ed);
		pte = edit_entry(&ed, &ptep[i], pte_wrprotect_mkclean);
		edit_add_to_flush(&ed, i, 1);
		if (pte_dirty(pte))
			propagate_dirty(walk->vma, start + ((uint64_t)i << PAGE_SHIFT), &ptep[i], 1, NULL);
	}
	edit_done(&ed);
	return 0;
}

/*
 * A leaf of raw frames is skipped: a driver that wants its frames tracked maps them by small entries. A leaf of
 * managed pages is split, so no dirty page is missed.
 */
static int split_managed(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	(void)start, (void)end, (void)shift, (void)walk;
	return leaf_is_raw(entry_load(entry)) ? 0 : WALK_SPLIT;
}

static const struct mm_walk_ops wp_walk_ops = {
	.test_vma = wp_test_vma,
	.pre_vma = wp_pre_vma,
	.post_vma = wp_post_vma,
	.huge_leaf = split_managed,
	.pte_table = wp_table,
};

static const struct mm_walk_ops clean_walk_ops = {
	.test_vma = wp_test_vma,
	.pre_vma = wp_pre_vma,
	.post_vma = wp_post_vma,
	.huge_leaf = split_managed,
	.pte_table = clean_record_table,
};

static const struct mm_walk_ops clean_for_io_ops = {
	.test_vma = wp_test_vma,
	.pre_vma = wp_pre_vma,
	.post_vma = wp_post_vma,
	.huge_leaf = split_managed,
	.pte_table = clean_for_io_table,
};

static bool range_valid(const struct vellum_mapping *mapping, uint64_t first, uint64_t nr)
{
	return mapping && first + nr > first && first + nr <= MAX_MAPPING_PAGES;
}

static void walk_shared(struct vellum_mapping *mapping, uint64_t first, uint64_t nr,
			const struct mm_walk_ops *ops, struct wp_walk *ww)
{
	read_lock(&mapping->i_mmap_lock, &mapping->memory->host);
	walk_mapping(mapping, first, nr, ops, ww);
	read_unlock(&mapping->i_mmap_lock, &mapping->memory->host);
}

void mkclean_mapping_range(struct vellum_mapping *mapping, pgoff_t first, uint64_t nr)
{
	struct wp_walk ww = { .total = 0 };

	__atomic_fetch_add(&mapping->wp_seq, 1, __ATOMIC_SEQ_CST);
	walk_shared(mapping, first, nr, &clean_for_io_ops, &ww);
}

void folio_mkclean(struct vellum_mapping *mapping, struct folio *folio)
{
	struct wp_walk ww = { .total = 0 };

	mutex_assert_held(&folio->lock);
	walk_shared(mapping, folio->index, 1, &clean_for_io_ops, &ww);
}

EXPORT int vellum_wp_shared_mapping_range(struct vellum_mapping *mapping, uint64_t first, uint64_t nr,
					  uint64_t *count)
{
	struct wp_walk ww = { .total = 0 };

	if (!range_valid(mapping, first, nr))
		return -EINVAL;
	__atomic_fetch_add(&mapping->wp_seq, 1, __ATOMIC_SEQ_CST);
	walk_shared(mapping, first, nr, &wp_walk_ops, &ww);
	if (count)
		*count = ww.total;
	return 0;
}

EXPORT int vellum_clean_record_shared_mapping_range(struct vellum_mapping *mapping, uint64_t first,
						    uint64_t nr, uint64_t bitmap_pgoff,
						    uint64_t *bitmap, uint64_t *start,
						    uint64_t *end, uint64_t *count)
{
	struct wp_walk ww = { .bitmap_pgoff = bitmap_pgoff, .bitmap = bitmap };

	if (!range_valid(mapping, first, nr) || bitmap_pgoff > first || !bitmap || !start || !end)
		return -EINVAL;
	ww.bit_start = *start >= *end ? nr : *start;
	ww.bit_end = *start >= *end ? 0 : *end;
	/* A call that finds an entry clean must not return before the call that cleaned it. */
	mutex_lock(&mapping->collect_lock, &mapping->memory->host);
	walk_shared(mapping, first, nr, &clean_walk_ops, &ww);
	mutex_unlock(&mapping->collect_lock, &mapping->memory->host);
	*start = ww.bit_start;
	*end = ww.bit_end;
	if (count)
		*count = ww.total;
	return 0;
}
