/* SPDX-License-Identifier: MIT */
/*
 * mm/table/table_edit.h - change many entries of one last-level table, its page-table lock held.
 *
 * A locked instruction for every entry is most of what such a change costs. Where the machine can
 * keep its CPUs from walking for a moment (mmu_ops->stop_walks), nobody else touches the entries
 * meanwhile, and plain loads and stores do. It is asked at the first change of a table only: most tables
 * have none. A machine that has to forget an entry before its rights are lowered (VELLUM_MMU_CLEAR_FLUSH) gets
 * that here, entry by entry.
 */
#ifndef MM_TABLE_TABLE_EDIT_H
#define MM_TABLE_TABLE_EDIT_H

#include "mm/table/tlb.h"

struct table_edit {
	struct vellum_mm *mm;
	struct vellum_flush_batch *batch;	/* gets what changed; NULL: the caller flushes everything */
	pte_t *table;				/* the first entry that is looked at, */
	gva_t start;				/* and its address */
	bool begun, walks_stopped;
	bool clear_flush_each;			/* this machine wants each entry cleared and flushed first */
	gva_t first, end;			/* changed; empty: first >= end */
	uint64_t nr;				/* entries changed */
};

static inline struct table_edit edit_table(struct vellum_mm *mm, struct vellum_flush_batch *batch,
					   pte_t *table, gva_t start)
{
	return (struct table_edit){ .mm = mm, .batch = batch, .table = table, .start = start, .first = ~0ull };
}

static inline void edit_begin(struct table_edit *ed)
{
	if (!ed->begun) {
		ed->begun = true;
		ed->clear_flush_each = must_clear_flush(ed->mm);
		ed->walks_stopped = !ed->clear_flush_each && walks_stop(ed->mm);
	}
}

/* Apply a pure function to one entry. Return: the value it was applied to. */
static inline pte_t edit_entry(const struct table_edit *ed, pte_t *ptep, pte_t (*change)(pte_t))
{
	pte_t old;

	if (!ed->walks_stopped && !ed->clear_flush_each)
		return ptep_update(ptep, change);
	old = ed->clear_flush_each ?
		      clear_and_flush(ed->mm, ed->start + ((gva_t)(ptep - ed->table) << PAGE_SHIFT), ptep) :
		      ptep_get(ptep);
	ptep_set(ptep, change(old));
	return old;
}

/* For edit_entry(): W and D go. */
static inline pte_t protected_and_clean(pte_t pte)
{
	return pte_mkclean(pte_wrprotect(pte));
}

/* Entries @i and up, a bit each in @mask, have been changed. */
static inline void edit_note(struct table_edit *ed, unsigned i, uint64_t mask)
{
	if (!mask)
		return;
	ed->nr += popcount64(mask);
	ed->first = min_u64(ed->first, ed->start + ((i + (uint64_t)__builtin_ctzll(mask)) << PAGE_SHIFT));
	ed->end = ed->start + ((i + 64 - (uint64_t)__builtin_clzll(mask)) << PAGE_SHIFT);
	for (; ed->batch && !ed->batch->all_frames && mask; mask &= mask - 1)
		batch_add_frame(ed->batch, pte_pfn(ptep_get(&ed->table[i + (unsigned)__builtin_ctzll(mask)])));
}

static inline void edit_done(struct table_edit *ed)
{
	if (ed->walks_stopped)
		walks_resume(ed->mm);
	if (ed->batch && ed->first < ed->end)
		batch_add(ed->batch, ed->first, ed->end, VELLUM_FLUSH_RIGHTS);
}

/* Does one of the eight entries in a cache line have one of @bits? */
static inline bool line_has(const pte_t *line, uint64_t bits)
{
	typedef uint64_t pair __attribute__((vector_size(16), may_alias));
	const volatile pair *e = (const volatile pair *)line;
	pair any = e[0] | e[1] | e[2] | e[3];

	return (any[0] | any[1]) & bits;
}

/* Do all eight have all of @bits? */
static inline bool line_has_all(const pte_t *line, uint64_t bits)
{
	typedef uint64_t pair __attribute__((vector_size(16), may_alias));
	const volatile pair *e = (const volatile pair *)line;
	pair all = e[0] & e[1] & e[2] & e[3];

	return (all[0] & all[1] & bits) == bits;
}

/*
 * Apply @change to the present entries with one of @bits among up to 64 from @i on. Cache lines without one
 * are passed over at a glance; a CPU may set a bit there behind us: it is found next time.
 * Return: those that were changed, bit 0 being entry @i; all of them still have their frame.
 */
static inline uint64_t edit_entries(struct table_edit *ed, unsigned i, unsigned nr, uint64_t bits,
				    pte_t (*change)(pte_t))
{
	uint64_t changed = 0;

	for (unsigned j = 0; j < nr; j++) {
		pte_t *ptep = &ed->table[i + j], pte;

#if !defined(VELLUM_EXPLORE) && !defined(VELLUM_TSAN)	/* they want every access of its own */
		while (!((uintptr_t)ptep & 63) && j + 8 <= nr && !line_has(ptep, bits)) {
			j += 8;
			ptep += 8;
		}
		if (j == nr)
			break;
#endif
		pte = ptep_get(ptep);
		if (!(pte.val & bits) || !pte_present(pte))
			continue;
		edit_begin(ed);
		edit_entry(ed, ptep, change);
		changed |= 1ull << j;
	}
	edit_note(ed, i, changed);
	return changed;
}

#endif
