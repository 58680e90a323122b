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

/* The page at @addr has been put back. */
static void note_restored(struct restore *rs, gva_t addr)
{
	if (rs->notes && !page_set_add(&rs->frozen->restored, addr >> PAGE_SHIFT, mm_host(rs->mm)))
		rs->frozen->all_restored = true;
}

/* Restore the entries of one line. *@nr is kept as the number of entries with UNCHANGED. */
static int restore_line(struct restore *rs, gva_t addr, pte_t *ptep, pte_t *frozen, uint64_t *nr)
{
	/* No VMA has what is above TASK_SIZE: the machine's page, which no run changes. */
	for (unsigned i = 0; i < LINE_ENTRIES && addr < TASK_SIZE; i++, addr += PAGE_SIZE) {
		pte_t pte = ptep_get(&ptep[i]), was;
		int err;

		if (pte_none(pte) ? !frozen || pte_none(ptep_get(&frozen[i])) :
		    !rs->all && pte_present(pte) && pte_unchanged(pte))
			continue;
		err = restore_entry(rs, addr, &ptep[i], frozen ? &frozen[i] : NULL);
		if (err)
			return err;
		note_restored(rs, addr);
		was = pte;
		pte = ptep_get(&ptep[i]);
		if (pte_present(was) && was.val != pte.val)
			tlb_change(&rs->tlb, addr, PAGE_SIZE, VELLUM_FLUSH_RIGHTS, pte_pfn(was));
		*nr += is_counted(pte) - is_counted(was);
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

/* --- the levels above --- */

/* An entry above the last level, and its counterpart in the frozen copy. */
struct spot {
	uint64_t *entry, *frozen;	/* @frozen NULL: no frozen table covers it */
	gva_t base;			/* the first address that it covers */
	unsigned shift;			/* it covers 1 << @shift bytes */
	bool all;			/* all below has to be compared, whatever A says */
	uint64_t val, frozen_val;	/* the values of the two; 0 without a counterpart */
};

static void read_spot(struct spot *s)
{
	s->val = entry_load(s->entry);
	s->frozen_val = s->frozen ? entry_load(s->frozen) : 0;
}

static bool leaf_at(const struct spot *s, uint64_t val)
{
	return s->shift < PGD_SHIFT && is_huge_leaf(val);
}

static void split(struct vellum_mm *mm, const struct spot *s, uint64_t *entry)
{
	struct mutex *lock = &table_folio(mm->memory, entry)->ptl;

	mutex_lock(lock, mm_host(mm));
	if (is_huge_leaf(entry_load(entry)))
		huge_split_locked(mm, entry, s->base, s->shift);
	mutex_unlock(lock, mm_host(mm));
}

static bool same_leaf(uint64_t a, uint64_t b)
{
	return is_huge_leaf(b) && !((a ^ b) & (X86_PFN_MASK | X86_PRESENT | X86_SOFT_DIRTY | X86_UFFD_WP));
}

/* No entry below has to be looked at by the next restore, unless a CPU walks to it. */
static void clear_touched(struct restore *rs, uint64_t *entry, uint64_t val)
{
	if (!(val & X86_ACCESSED))
		return;
	entry_clear_bits(entry, X86_ACCESSED);
	rs->tlb.batch.kinds |= VELLUM_FLUSH_TABLES;
	rs->tlb.batch.all_frames = true;
}

enum { BELOW, DONE };	/* what is left to do for an entry: the table below it, or nothing */

/* The run has a huge leaf. BELOW: it is split. */
static int restore_leaf(struct restore *rs, const struct spot *s)
{
	struct vma *vma = restore_vma(rs, s->base, 1ull << s->shift, s->val);
	const struct vellum_memory *m = rs->mm->memory;
	bool is_zero = leaf_is_huge_zero(m, s->val);
	bool may_have_pins = !is_zero && __atomic_load_n(&rs->mm->has_pinned, __ATOMIC_SEQ_CST);

	if ((leaf_is_raw(s->val) && !is_zero) || (vma_flags(vma) & VM_MAYSHARE) || same_leaf(s->val, s->frozen_val))
		return DONE;
	if (!(s->frozen_val & (X86_PRESENT | X86_PSE)) &&
	    !(may_have_pins && leaf_maybe_pinned(m, s->val, s->shift))) {
		unmap_range(&rs->tlb, vma, s->base, s->base + (1ull << s->shift));
		rs->dropped += 1ull << (s->shift - PAGE_SHIFT);
		clear_touched(rs, s->entry, entry_load(s->entry));
		return DONE;
	}
	split(rs->mm, s, s->entry);
	return BELOW;
}

/* The run has nothing there. BELOW: it has a table now. */
static int restore_empty(struct restore *rs, const struct spot *s)
{
	if (no_table(rs->mm->memory, s->frozen_val)) {
		clear_touched(rs, s->entry, s->val);
		return DONE;
	}
	if (leaf_at(s, s->frozen_val)) {
		rs->dropped += 1ull << (s->shift - PAGE_SHIFT);
		return thaw_leaf(restore_vma(rs, s->base, 1ull << s->shift, s->frozen_val), rs->copy, s->base) ?
			       -ENOMEM : DONE;
	}
	return table_entry_alloc(rs->mm, s->base, s->shift - 9) ? BELOW : -ENOMEM;
}

/* Make sure that both entries name tables, or that only the run's does. BELOW: they do; DONE; or -ENOMEM. */
static int make_alike(struct restore *rs, struct spot *s)
{
	int left = BELOW;

	rs->frozen->all_restored |= leaf_at(s, s->val) || leaf_at(s, s->frozen_val);
	if (leaf_at(s, s->val))
		left = restore_leaf(rs, s);
	else if (no_table(rs->mm->memory, s->val))
		left = restore_empty(rs, s);
	else if (!leaf_at(s, s->frozen_val))
		return BELOW;
	if (left != BELOW)
		return left;
	if (leaf_at(s, s->frozen_val))
		split(rs->copy, s, s->frozen);
	s->all = true;		/* the run's table, or the frozen one, is new */
	read_spot(s);
	return BELOW;
}

static int restore_level(struct restore *rs, uint64_t *table, uint64_t *frozen, gva_t base, unsigned shift, bool all);

/* Restore what is below an entry. */
static int restore_below(struct restore *rs, struct spot *s)
{
	struct vellum_memory *m = rs->mm->memory;
	bool again = rs->again;
	int err;

	read_spot(s);
	err = make_alike(rs, s);
	if (err)
		return err == DONE ? 0 : err;
	rs->again = false;
	if (no_table(m, s->frozen_val))
		s->frozen_val = 0;
	if (s->shift == PMD_SHIFT)
		err = restore_last_level(rs, s->val, s->frozen_val, s->base, s->all);
	else
		err = restore_level(rs, table_of(m, s->val), s->frozen_val ? table_of(m, s->frozen_val) : NULL, s->base,
				    s->shift - 9, s->all);
	if (rs->again)
		entry_touch(s->entry, entry_load(s->entry));	/* a fast pin has not set A */
	else if (!err)
		clear_touched(rs, s->entry, entry_load(s->entry));
	rs->again |= again;
	return err;
}

/* All entries of a table, each of 1 << @shift bytes. @all: whatever A says. */
static int restore_level(struct restore *rs, uint64_t *table, uint64_t *frozen, gva_t base, unsigned shift, bool all)
{
	unsigned nr = shift == PGD_SHIFT ? USER_PGD_ENTRIES : ENTRIES_PER_TABLE;
	int err = 0;

	for (unsigned i = 0; i < nr && !err; i++) {
		struct spot s = { .entry = &table[i], .frozen = frozen ? &frozen[i] : NULL,
				  .base = base + ((gva_t)i << shift), .shift = shift, .all = all };

		if (!all && i % LINE_ENTRIES == 0 && !(sum_line(&table[i]).any & (X86_ACCESSED | X86_PSE)))
			i += LINE_ENTRIES - 1;
		else if (all || (entry_load(&table[i]) & (X86_ACCESSED | X86_PSE)))
			err = restore_below(rs, &s);
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
		if (!moving) {
			replace_entry(rs, addr, ptep, frozen);
			note_restored(rs, addr);
		}
		mutex_unlock(ptl, host);
	} else {
		replace_entry(rs, addr, ptep, NULL);
		note_restored(rs, addr);
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
	rs->tlb.batch.full = true;		/* or pages that the next runs use would not get A again */
}
