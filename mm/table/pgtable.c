/* SPDX-License-Identifier: MIT */
/*
 * mm/table/pgtable.c - page tables: look up, allocate, free.
 *
 * The first fault that needs a table installs it with a compare-exchange. A table is unlinked only with the mmap lock
 * held for writing, and only if no VMA in the rmap trees overlaps it or the rmap locks of the one that does are held
 * for writing. So a thread that holds the mmap lock, or an rmap lock of a VMA that overlaps a table, may use the table.
 */
#include "mm/mm.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/table/tlb.h"

uint64_t *pgd_entry(struct vellum_mm *mm, gva_t addr)
{
	uint64_t *entry = &mm->pgd[table_index(addr, PGD_SHIFT)].val, val;

	if (unlikely(mm->memory->exposed)) {
		val = entry_load(entry);
		if ((val & ~(X86_ACCESSED | X86_DIRTY)) && (val & (X86_PRESENT | X86_PSE)) != X86_PRESENT)
			entry_forged(mm->memory, val, "an entry of the top level that is no table");
	}
	return entry;
}

/* The entry of the next lower level for @addr, or NULL if there is no table. @touch: mark the way (entry_touch()). */
static inline uint64_t *step_down(const struct vellum_memory *m, uint64_t *entry, gva_t addr, unsigned shift, bool touch)
{
	uint64_t val = entry_load(entry);

	if (no_table(m, val) || !(val & X86_PRESENT) || (val & X86_PSE))
		return NULL;
	if (touch)
		entry_touch(entry, val);
	return table_of(m, val) + table_index(addr, shift);
}

static struct mutex *table_lock(const struct vellum_memory *m, uint64_t pmd)
{
	return &entry_table_folio(m, pmd)->ptl;
}

static inline pte_t *lookup(struct vellum_mm *mm, gva_t addr, struct mutex **ptl, bool touch)
{
	uint64_t *pud = step_down(mm->memory, pgd_entry(mm, addr), addr, PUD_SHIFT, touch);
	uint64_t *pmd = pud ? step_down(mm->memory, pud, addr, PMD_SHIFT, touch) : NULL;
	uint64_t val = pmd ? entry_load(pmd) : 0;

	if (no_table(mm->memory, val) || !(val & X86_PRESENT) || (val & X86_PSE))
		return NULL;
	if (touch)
		entry_touch(pmd, val);
	*ptl = table_lock(mm->memory, val);
	return (pte_t *)table_of(mm->memory, val) + table_index(addr, PAGE_SHIFT);
}

pte_t *pte_lookup(struct vellum_mm *mm, gva_t addr, struct mutex **ptl)
{
	return lookup(mm, addr, ptl, true);
}

const pte_t *pte_find(struct vellum_mm *mm, gva_t addr, struct mutex **ptl)
{
	return lookup(mm, addr, ptl, false);
}

/* As step_down(), but allocate the table if it is missing. NULL: no memory, or a huge leaf. */
static uint64_t *step_down_alloc(struct vellum_memory *m, uint64_t *entry, gva_t addr, unsigned shift)
{
	uint64_t none = entry_load(entry);
	struct folio *table;

	if (no_table(m, none)) {
		table = folio_alloc(m, 0);
		if (!table)
			return NULL;
		folio_set(table, PG_TABLE);
		table->index = TABLE_UNCOUNTED;
		if (!entry_cmpxchg(entry, &none, x86_mk_table(folio_pfn(m, table))))
			folio_put(m, table);	/* another thread installed one */
	}
	return step_down(m, entry, addr, shift, true);
}

/* 0: a last-level table or a leaf covers @addr. Else the bytes that the empty entry above the missing table covers. */
static uint64_t absent_at(struct vellum_mm *mm, gva_t addr)
{
	uint64_t *entry = pgd_entry(mm, addr);

	for (unsigned shift = PGD_SHIFT;; shift -= 9) {
		uint64_t val = entry_load(entry);

		if (shift < PGD_SHIFT && is_huge_leaf(val))
			return 0;
		if (no_table(mm->memory, val) || !(val & X86_PRESENT))
			return 1ull << shift;
		if (shift == PMD_SHIFT)
			return 0;
		entry = &table_of(mm->memory, val)[table_index(addr, shift - 9)];
	}
}

gva_t skip_absent_tables(struct vellum_mm *mm, gva_t addr, gva_t end)
{
	uint64_t size;

	while (addr < end && (size = absent_at(mm, addr)))
		addr = (addr & ~(size - 1)) + size;
	return min_u64(addr, end);
}

uint64_t *table_entry_alloc(struct vellum_mm *mm, gva_t addr, unsigned shift)
{
	uint64_t *entry = pgd_entry(mm, addr);

	for (unsigned at = PUD_SHIFT; entry && at >= shift; at -= 9)
		entry = step_down_alloc(mm->memory, entry, addr, at);
	return entry;
}

pte_t *pte_alloc(struct vellum_mm *mm, gva_t addr, struct mutex **ptl)
{
	pte_t *ptep = pte_lookup(mm, addr, ptl);

	if (likely(ptep))
		return ptep;
	if (!table_entry_alloc(mm, addr, PAGE_SHIFT))
		return NULL;
	return pte_lookup(mm, addr, ptl);
}

/* Arguments of free_page_tables(). */
struct free_walk {
	struct tlb_gather *tlb;
	gva_t start, end;	/* the unmapped range */
	gva_t floor, ceiling;	/* there is no VMA in [floor, ceiling) */
};

/*
 * Free the tables below @entry, then the table that @entry points to if no VMA needs it. That table covers addresses
 * from @base on, with entries of 1 << @shift bytes. If it is freed, all tables below it are freed, also those outside
 * [start, end) that earlier calls had to keep.
 */
static void free_below(const struct free_walk *fw, uint64_t *entry, gva_t base, unsigned shift)
{
	const uint64_t step = 1ull << shift, size = step * ENTRIES_PER_TABLE;
	bool unused = base >= fw->floor && base + size <= fw->ceiling;
	gva_t from = unused ? base : max_u64(base, fw->start & ~(step - 1));
	gva_t to = unused ? base + size : min_u64(base + size, fw->end);
	uint64_t val = entry_load(entry);
	uint64_t *table;

	if (no_table(fw->tlb->mm->memory, val) || !(val & X86_PRESENT) || (val & X86_PSE))
		return;
	table = table_of(fw->tlb->mm->memory, val);
	for (gva_t addr = from; shift > PAGE_SHIFT && addr < to; addr += step)
		free_below(fw, &table[table_index(addr, shift)], addr, shift - 9);
	if (unused) {
		entry_remove(entry);
		tlb_free_table(fw->tlb, entry_table_folio(fw->tlb->mm->memory, val));
	}
}

void free_page_tables(struct tlb_gather *tlb, gva_t start, gva_t end, gva_t floor, gva_t ceiling)
{
	const struct free_walk fw = { tlb, start, end, floor, ceiling };

	for (gva_t base = start & PGD_MASK; base < end; base += PGD_SIZE)
		free_below(&fw, pgd_entry(tlb->mm, base), base, PUD_SHIFT);
}
