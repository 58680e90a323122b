/* SPDX-License-Identifier: MIT */
/*
 * mm/table/table_edit.h - change many entries of one last-level table, its page-table lock held.
 *
 * Most of the cost of such a change is one locked instruction for each entry. If the machine can keep its CPUs from
 * walking the tables (mmu_ops->stop_walks), the CPUs set no A or D meanwhile, so plain loads and stores suffice. The
 * walks are stopped at the first change in a table, because most tables need no change. On a machine that needs
 * break-before-make (VELLUM_MMU_CLEAR_FLUSH), each entry is cleared and flushed first.
 */
#ifndef MM_TABLE_TABLE_EDIT_H
#define MM_TABLE_TABLE_EDIT_H

#include "mm/table/tlb.h"

struct table_edit {
	struct vellum_mm *mm;
	struct vellum_flush_batch *batch;	/* collects changed entries; NULL: the caller flushes everything */
	pte_t *ptes;				/* the first entry of the edit */
	gva_t addr;				/* that it maps */
	bool begun, walks_stopped;
	bool clear_flush_each;			/* VELLUM_MMU_CLEAR_FLUSH */
	gva_t flush_start, flush_end;		/* spans the changed entries; empty if start >= end */
	uint64_t nr;				/* entries changed */
};

static inline struct table_edit edit_table(struct vellum_mm *mm, struct vellum_flush_batch *batch,
					   pte_t *ptes, gva_t addr)
{
	return (struct table_edit){ .mm = mm, .batch = batch, .ptes = ptes, .addr = addr, .flush_start = ~0ull };
}

static inline void edit_begin(struct table_edit *ed)
{
	if (!ed->begun) {
		ed->begun = true;
		ed->clear_flush_each = must_clear_flush(ed->mm);
		ed->walks_stopped = !ed->clear_flush_each && walks_stop(ed->mm);
	}
}

/* Apply @change to one entry. @change may run more than once. Return: the old value. */
static inline pte_t edit_entry(const struct table_edit *ed, pte_t *ptep, pte_t (*change)(pte_t))
{
	pte_t old;

	if (!ed->walks_stopped && !ed->clear_flush_each)
		return ptep_update(ptep, change);
	old = ed->clear_flush_each ?
		      clear_and_flush(ed->mm, ed->addr + ((gva_t)(ptep - ed->ptes) << PAGE_SHIFT), ptep) :
		      ptep_get(ptep);
	ptep_set(ptep, change(old));
	return old;
}

/* For edit_entry(): remove W and D. */
static inline pte_t pte_wrprotect_mkclean(pte_t pte)
{
	return pte_mkclean(pte_wrprotect(pte));
}

/*
 * Record changed entries for the flush: bit n of @mask stands for entry @i + n. The calls of an edit come in ascending
 * order of @i, so the last one sets the end of the range.
 */
static inline void edit_add_to_flush(struct table_edit *ed, unsigned i, uint64_t mask)
{
	if (!mask)
		return;
	ed->nr += popcount64(mask);
	ed->flush_start = min_u64(ed->flush_start, ed->addr + ((i + (uint64_t)__builtin_ctzll(mask)) << PAGE_SHIFT));
	ed->flush_end = ed->addr + ((i + 64 - (uint64_t)__builtin_clzll(mask)) << PAGE_SHIFT);
	for (; ed->batch && !ed->batch->all_frames && mask; mask &= mask - 1)
		batch_add_frame(ed->batch, pte_pfn(ptep_get(&ed->ptes[i + (unsigned)__builtin_ctzll(mask)])));
}

static inline void edit_done(struct table_edit *ed)
{
	if (ed->walks_stopped)
		walks_resume(ed->mm);
	if (ed->batch && ed->flush_start < ed->flush_end)
		batch_add(ed->batch, ed->flush_start, ed->flush_end, VELLUM_FLUSH_RIGHTS);
}

/* True if any of the eight entries in a cache line has any of @bits. */
static inline bool line_has(const pte_t *line, uint64_t bits)
{
	typedef uint64_t pair __attribute__((vector_size(16), may_alias));
	const volatile pair *e = (const volatile pair *)line;
	pair any = e[0] | e[1] | e[2] | e[3];

	return (any[0] | any[1]) & bits;
}

/* True if all eight entries in a cache line have all of @bits. */
static inline bool line_has_all(const pte_t *line, uint64_t bits)
{
	typedef uint64_t pair __attribute__((vector_size(16), may_alias));
	const volatile pair *e = (const volatile pair *)line;
	pair all = e[0] & e[1] & e[2] & e[3];

	return (all[0] & all[1] & bits) == bits;
}

/*
 * Apply @change to those of the @nr (at most 64) entries from @i on that are present and have one of @bits. A cache
 * line in which no entry has one of @bits is skipped as a whole. If a CPU sets a bit there meanwhile, the next call
 * finds it. Return: a mask of the changed entries; bit 0 stands for entry @i. @change must not change the frame.
 */
static inline uint64_t edit_entries(struct table_edit *ed, unsigned i, unsigned nr, uint64_t bits,
				    pte_t (*change)(pte_t))
{
	uint64_t changed = 0;

	for (unsigned j = 0; j < nr; j++) {
		pte_t *ptep = &ed->ptes[i + j], pte;

#if !defined(VELLUM_EXPLORE) && !defined(VELLUM_TSAN)	/* both need to see each access */
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
	edit_add_to_flush(ed, i, changed);
	return changed;
}

#endif
