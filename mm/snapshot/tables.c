/* SPDX-License-Identifier: MIT */
/*
 * mm/snapshot/tables.c - find the entries that a run changed, in the tables of the run and of its frozen copy.
 *
 * A restore steps down only through entries that have A, which the last restore cleared (INV-SNAP-2). In a last-level
 * table it looks at those cache lines in which an entry has D or lacks UNCHANGED. Their sums are taken with plain loads:
 * no CPU runs meanwhile.
 */
#include "mm/snapshot/snapshot.h"
#include "mm/space/space.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pagewalk.h"
#include "mm/table/pgtable.h"

#define LINE_ENTRIES 8		/* entries in a cache line */
#define NR_LINES (ENTRIES_PER_TABLE / LINE_ENTRIES)

/* The bits that any, and that all, of the entries in a cache line have. */
struct line_sum {
	uint64_t any, all;
};

static inline struct line_sum sum_line(const uint64_t *line)
{
#if defined(VELLUM_EXPLORE) || defined(VELLUM_TSAN)
	struct line_sum sum = { 0, ~0ull };

	for (unsigned i = 0; i < LINE_ENTRIES; i++) {
		uint64_t val = __atomic_load_n(&line[i], __ATOMIC_RELAXED);

		sum.any |= val;
		sum.all &= val;
	}
	return sum;
#else
	typedef uint64_t pair __attribute__((vector_size(16), may_alias));
	const volatile pair *e = (const volatile pair *)line;
	pair a = e[0], b = e[1], c = e[2], d = e[3], any = a | b | c | d, all = a & b & c & d;

	return (struct line_sum){ any[0] | any[1], all[0] & all[1] };
#endif
}

/* A bit for each line of a last-level table in which an entry may have changed. *@nr: entries with UNCHANGED. */
static uint64_t changed_lines(const pte_t *table, uint64_t *nr)
{
	const uint64_t settled = X86_PRESENT | X86_UNCHANGED;
	uint64_t lines = 0;

	*nr = 0;
	for (unsigned i = 0; i < NR_LINES; i++) {
		const pte_t *line = &table[i * LINE_ENTRIES];
		struct line_sum sum = sum_line(&line->val);

		if (!sum.any)
			continue;
		if ((sum.all & settled) == settled) {
			*nr += LINE_ENTRIES;
			if (!(sum.any & (X86_DIRTY | X86_SAVED_DIRTY)))
				continue;
		} else {
			for (unsigned j = 0; j < LINE_ENTRIES; j++)
				*nr += is_counted(line[j]);
		}
		lines |= 1ull << i;
	}
	return lines;
}

/* Restore the entries of one line. *@nr is kept as the number of entries with UNCHANGED. */
static int restore_line(struct restore *rs, gva_t addr, pte_t *ptep, pte_t *frozen, uint64_t *nr)
{
	/* No VMA has what is above TASK_SIZE: the machine's page, which no run changes. */
	for (unsigned i = 0; i < LINE_ENTRIES && addr < TASK_SIZE; i++, addr += PAGE_SIZE) {
		pte_t pte = ptep_get(&ptep[i]);
		int err;

		if (pte_none(pte) ? !frozen || pte_none(ptep_get(&frozen[i])) :
		    !rs->all && pte_present(pte) && pte_unchanged(pte))
			continue;
		err = restore_entry(rs, addr, &ptep[i], frozen ? &frozen[i] : NULL);
		if (err)
			return err;
		*nr -= is_counted(pte);
		pte = ptep_get(&ptep[i]);
		*nr += is_counted(pte);
		rs->uncounted |= !pte_none(pte) && !is_counted(pte);
	}
	return 0;
}

static int restore_lines(struct restore *rs, gva_t base, pte_t *table, pte_t *frozen, uint64_t lines, uint64_t *nr)
{
	int err = 0;

	for (; lines && !err; lines &= lines - 1) {
		unsigned i = (unsigned)__builtin_ctzll(lines) * LINE_ENTRIES;

		err = restore_line(rs, base + ((gva_t)i << PAGE_SHIFT), &table[i], frozen ? &frozen[i] : NULL, nr);
	}
	return err;
}

/* @pmd, @frozen_pmd: the entries that name the tables; @frozen_pmd is 0 if there is no frozen table. */
static int restore_last_level(struct restore *rs, uint64_t pmd, uint64_t frozen_pmd, gva_t base, bool all)
{
	struct vellum_memory *m = rs->mm->memory;
	struct folio *folio = entry_table_folio(m, pmd);
	pte_t *table = (pte_t *)table_of(m, pmd);
	uint64_t lines, nr;
	int err = 0;

	mutex_lock(&folio->ptl, &m->host);
	rs->uncounted = false;
	lines = changed_lines(table, &nr);
	if (all || nr != folio->index)
		lines = ~0ull;
	if (lines && frozen_pmd) {
		struct mutex *lock = &entry_table_folio(m, frozen_pmd)->ptl;

		mutex_lock(lock, &m->host);
		err = restore_lines(rs, base, table, (pte_t *)table_of(m, frozen_pmd), lines, &nr);
		mutex_unlock(lock, &m->host);
	} else if (lines) {
		err = restore_lines(rs, base, table, NULL, lines, &nr);
	}
	folio->index = err || rs->uncounted ? TABLE_UNCOUNTED : nr;
	mutex_unlock(&folio->ptl, &m->host);
	return err;
}

/* --- huge leaves --- */

static void split(struct vellum_mm *mm, uint64_t *entry, gva_t base, unsigned shift)
{
	struct mutex *lock = &table_folio(mm->memory, entry)->ptl;

	mutex_lock(lock, mm_host(mm));
	if (is_huge_leaf(entry_load(entry)))
		huge_split_locked(mm, entry, base, shift);
	mutex_unlock(lock, mm_host(mm));
}

static bool same_leaf(uint64_t a, uint64_t b)
{
	return is_huge_leaf(b) && !((a ^ b) & (X86_PFN_MASK | X86_PRESENT | X86_SOFT_DIRTY | X86_UFFD_WP));
}

enum { BELOW, DONE };	/* what is left to do for an entry: the table below it, or nothing */

/* The run has a huge leaf. BELOW: it is split. */
static int restore_leaf(struct restore *rs, uint64_t *entry, uint64_t val, uint64_t frozen, gva_t base, unsigned shift)
{
	struct vma *vma = restore_vma(rs, base, 1ull << shift, val);
	bool may_have_pins = __atomic_load_n(&rs->mm->has_pinned, __ATOMIC_SEQ_CST);

	if (leaf_is_raw(val) || (vma_flags(vma) & VM_MAYSHARE) || same_leaf(val, frozen))
		return DONE;
	if (!(frozen & (X86_PRESENT | X86_PSE)) && !(may_have_pins && leaf_maybe_pinned(rs->mm->memory, val, shift))) {
		unmap_range(&rs->tlb, vma, base, base + (1ull << shift));
		rs->dropped += 1ull << (shift - PAGE_SHIFT);
		entry_clear_bits(entry, X86_ACCESSED);
		return DONE;
	}
	split(rs->mm, entry, base, shift);
	return BELOW;
}

/*
 * Make sure that both entries name tables, or that only the run's does. DONE; BELOW, and *@val and *@frozen_val are the
 * new values; or -ENOMEM. *@all: every entry below has to be compared.
 */
static int make_alike(struct restore *rs, uint64_t *entry, uint64_t *frozen, gva_t base, unsigned shift, uint64_t *val,
		      uint64_t *frozen_val, bool *all)
{
	struct vellum_memory *m = rs->mm->memory;
	bool frozen_leaf = shift < PGD_SHIFT && is_huge_leaf(*frozen_val);

	if (shift < PGD_SHIFT && is_huge_leaf(*val)) {
		if (restore_leaf(rs, entry, *val, *frozen_val, base, shift) == DONE)
			return DONE;
		*all = true;
	} else if (no_table(m, *val)) {
		if (no_table(m, *frozen_val)) {
			if (*val & X86_ACCESSED)
				entry_clear_bits(entry, X86_ACCESSED);
			return DONE;
		}
		if (frozen_leaf) {
			rs->dropped += 1ull << (shift - PAGE_SHIFT);
			return thaw_leaf(restore_vma(rs, base, 1ull << shift, *frozen_val), rs->copy, base) ? -ENOMEM : DONE;
		}
		if (!table_entry_alloc(rs->mm, base, shift - 9))
			return -ENOMEM;
		*all = true;
	}
	if (frozen_leaf) {
		split(rs->copy, frozen, base, shift);
		*all = true;
	}
	*val = entry_load(entry);
	*frozen_val = frozen ? entry_load(frozen) : 0;
	return BELOW;
}

/* --- the levels above --- */

static int restore_level(struct restore *rs, uint64_t *table, uint64_t *frozen, gva_t base, unsigned shift, bool all);

/* Restore what is below an entry of 1 << @shift bytes at @base. @all: whatever A says. */
static int restore_below(struct restore *rs, uint64_t *entry, uint64_t *frozen, gva_t base, unsigned shift, bool all)
{
	struct vellum_memory *m = rs->mm->memory;
	uint64_t val = entry_load(entry), frozen_val = frozen ? entry_load(frozen) : 0;
	bool pinned = rs->pinned;
	int err;

	err = make_alike(rs, entry, frozen, base, shift, &val, &frozen_val, &all);
	if (err)
		return err == DONE ? 0 : err;
	rs->pinned = false;
	if (no_table(m, frozen_val))
		frozen_val = 0;
	if (shift == PMD_SHIFT)
		err = restore_last_level(rs, val, frozen_val, base, all);
	else
		err = restore_level(rs, table_of(m, val), frozen_val ? table_of(m, frozen_val) : NULL, base, shift - 9,
				    all);
	if (rs->pinned)
		entry_touch(entry, entry_load(entry));	/* a fast pin has not set A */
	else if (!err)
		entry_clear_bits(entry, X86_ACCESSED);
	rs->pinned |= pinned;
	return err;
}

static int restore_level(struct restore *rs, uint64_t *table, uint64_t *frozen, gva_t base, unsigned shift, bool all)
{
	unsigned nr = shift == PGD_SHIFT ? USER_PGD_ENTRIES : ENTRIES_PER_TABLE;
	int err = 0;

	for (unsigned i = 0; i < nr && !err; i++) {
		if (!all) {
			while (i % LINE_ENTRIES == 0 && i < nr && !(sum_line(&table[i]).any & (X86_ACCESSED | X86_PSE)))
				i += LINE_ENTRIES;
			if (i == nr)
				break;
			if (!(entry_load(&table[i]) & (X86_ACCESSED | X86_PSE)))
				continue;
		}
		err = restore_below(rs, &table[i], frozen ? &frozen[i] : NULL, base + ((gva_t)i << shift), shift, all);
	}
	return err;
}

int restore_tables(struct restore *rs)
{
	return restore_level(rs, &rs->mm->pgd[0].val, &rs->copy->pgd[0].val, 0, PGD_SHIFT, rs->all);
}

/* --- pages of earlier runs --- */

struct drop_walk {
	struct restore *rs;
	bool used_too;		/* also pages with A: used since the last walk */
	uint64_t nr;		/* kept pages that were found and not dropped */
	uint64_t excess;	/* pages still to drop */
};

static bool is_kept(const struct vellum_memory *m, pte_t pte)
{
	const struct folio *folio;

	if (!is_counted(pte) || pte_special(pte))
		return false;
	folio = pte_folio(m, pte);
	return (folio_flags(folio) & (PG_ANON | PG_EXCLUSIVE)) == (PG_ANON | PG_EXCLUSIVE) && !folio_maybe_pinned(folio);
}

/* False: the frozen page is being migrated, so its entry cannot be copied. */
static bool drop_entry(struct restore *rs, gva_t addr, pte_t *ptep)
{
	const struct host *host = mm_host(rs->mm);
	struct folio *table = table_folio(rs->mm->memory, &ptep->val);
	struct mutex *ptl;
	pte_t *frozen = pte_lookup(rs->copy, addr, &ptl);
	bool moving = false;

	if (frozen) {
		mutex_lock(ptl, host);
		moving = pte_is_migration(ptep_get(frozen));
		if (!moving)
			replace_entry(rs, addr, ptep, frozen);
		mutex_unlock(ptl, host);
	} else {
		replace_entry(rs, addr, ptep, NULL);
	}
	if (pte_none(ptep_get(ptep)))
		table->index--;		/* TABLE_UNCOUNTED stays above all counts */
	else if (!is_counted(ptep_get(ptep)))
		table->index = TABLE_UNCOUNTED;
	return !moving;
}

static int drop_in_table(pte_t *ptep, gva_t start, gva_t end, struct mm_walk *walk)
{
	struct drop_walk *dw = walk->private;

	for (; start < end; start += PAGE_SIZE, ptep++) {
		pte_t pte = ptep_get(ptep);

		if (!is_kept(dw->rs->mm->memory, pte))
			continue;
		if (dw->excess && (dw->used_too || !pte_young(pte)) && drop_entry(dw->rs, start, ptep)) {
			dw->excess--;
			continue;
		}
		ptep_update(ptep, pte_mkold);
		dw->nr++;
	}
	return 0;
}

/* The walk sets no A (.reads): the entries that it changes are as the restore wants them. */
static const struct mm_walk_ops drop_ops = { .pte_table = drop_in_table, .reads = true };

void drop_kept(struct restore *rs, uint64_t max)
{
	struct drop_walk dw = { .rs = rs };
	uint64_t target = max - max / 4;	/* so that not every restore has to walk all tables */

	dw.excess = rs->frozen->nr_kept - min_u64(rs->frozen->nr_kept, target);
	walk_page_range(rs->mm, 0, TASK_SIZE, &drop_ops, &dw);
	if (dw.nr > max) {
		dw = (struct drop_walk){ .rs = rs, .used_too = true, .excess = dw.nr - target };
		walk_page_range(rs->mm, 0, TASK_SIZE, &drop_ops, &dw);
	}
	rs->frozen->nr_kept = dw.nr;
}
