/* SPDX-License-Identifier: MIT */
/* mm/table/huge.c - find, install, split and remove huge leaves; see huge.h. */
#include "mm/space/space.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/table/tlb.h"
#include "mm/track/hooks.h"
#include "mm/vma.h"

/* --- values --- */

pte_t leaf_pte(const struct vellum_memory *m, uint64_t val, unsigned shift, gva_t addr)
{
	pfn_t pfn = leaf_is_huge_zero(m, val) ? m->zero_pfn :
		    leaf_pfn(val, shift) + ((addr & ((1ull << shift) - 1)) >> PAGE_SHIFT);
	uint64_t v = val & ~(X86_PFN_MASK | X86_PSE);

	if (val & X86_PAT_LARGE)
		v |= X86_PAT;
	if (val & X86_DEVMAP)
		v |= X86_SPECIAL;	/* a small raw entry of device memory has both bits */
	return pte_make(x86_with_pfn_bits(v, pfn << PAGE_SHIFT, X86_PFN_MASK));
}

/* The PMD leaf that maps part @i of a PUD leaf. */
static uint64_t pmd_of_pud(uint64_t val, unsigned i)
{
	pfn_t pfn = pud_pfn(pud_make(val)) + i * PMD_PAGES;

	return x86_with_pfn_bits(val & ~(X86_PFN_MASK & PUD_MASK), pfn << PAGE_SHIFT, X86_PFN_MASK & PMD_MASK);
}

pte_t frame_pte(const struct vma *vma, pfn_t pfn)
{
	pte_t pte = pte_mkspecial(pte_mk(pfn, vma->page_prot));

	return vma->mapping->flags & VELLUM_MAPPING_DEVMAP ? pte_mkdevmap(pte) : pte;
}

uint64_t frame_leaf(const struct vma *vma, pfn_t pfn, unsigned shift)
{
	uint64_t kind = vma->mapping->flags & VELLUM_MAPPING_DEVMAP ? X86_DEVMAP : X86_SPECIAL;

	return (shift == PUD_SHIFT ? pud_mk(pfn, vma->page_prot).val : pmd_mk(pfn, vma->page_prot).val) | kind;
}

uint64_t leaf_update(uint64_t *entry, uint64_t (*change)(uint64_t))
{
	uint64_t old = entry_load(entry);

	while (!entry_cmpxchg(entry, &old, change(old)))
		;
	return old;
}

bool leaf_maybe_pinned(const struct vellum_memory *m, uint64_t val, unsigned shift)
{
	for (uint64_t i = 0; i < 1ull << (shift - PAGE_SHIFT); i++)
		if (folio_maybe_pinned(huge_page_folio(m, val, shift, i)))
			return true;
	return false;
}

/* --- looking up --- */

bool huge_lookup(struct vellum_mm *mm, gva_t addr, struct leaf *leaf)
{
	uint64_t *entry = pgd_entry(mm, addr), val = entry_load(entry);
	unsigned shift = PUD_SHIFT;

	if (!(val & X86_PRESENT))
		return false;
	entry_touch(entry, val);
	for (;; shift -= 9) {
		entry = table_of(mm->memory, val) + table_index(addr, shift);
		val = entry_load(entry);
		if (is_huge_leaf(val))
			break;
		if (!(val & X86_PRESENT) || shift == PMD_SHIFT)
			return false;
		entry_touch(entry, val);
	}
	if (leaf)
		*leaf = (struct leaf){ entry, shift, &table_folio(mm->memory, entry)->ptl };
	return true;
}

bool huge_lock(struct vellum_mm *mm, gva_t addr, struct leaf *leaf, uint64_t *val)
{
	while (huge_lookup(mm, addr, leaf)) {
		mutex_lock(leaf->lock, mm_host(mm));
		*val = entry_load(leaf->entry);
		if (is_huge_leaf(*val))
			return true;
		mutex_unlock(leaf->lock, mm_host(mm));	/* split or removed meanwhile */
	}
	return false;
}

/* --- deposits --- */

static void free_deposits(struct vellum_memory *m, struct folio *table)
{
	while (table) {
		struct folio *next = table->deposited;

		table->deposited = NULL;
		folio_put(m, table);
		table = next;
	}
}

/* Allocate a chain of @nr empty tables; NULL: no memory. */
static struct folio *alloc_tables(struct vellum_memory *m, unsigned nr)
{
	struct folio *chain = NULL;

	while (nr--) {
		struct folio *table = folio_alloc(m, 0);

		if (!table) {
			free_deposits(m, chain);
			return NULL;
		}
		folio_set(table, PG_TABLE);
		table->index = TABLE_UNCOUNTED;
		table->deposited = chain;
		chain = table;
	}
	return chain;
}

/* The tables that INV-HUGE-1 deposits for one leaf (Linux: pgtable_trans_huge_deposit(), _withdraw()). */
struct deposit {
	struct folio *table;	/* replaces the leaf in a split */
	struct folio *below;	/* for a PUD leaf: the deposits of the 512 PMD leaves in that table; else NULL */
};

static int deposit_alloc(struct vellum_memory *m, unsigned shift, struct deposit *dep)
{
	dep->below = NULL;
	dep->table = alloc_tables(m, 1);
	if (!dep->table)
		return -ENOMEM;
	if (shift == PMD_SHIFT)
		return 0;
	dep->below = alloc_tables(m, ENTRIES_PER_TABLE);
	if (dep->below)
		return 0;
	free_deposits(m, dep->table);
	return -ENOMEM;
}

/*
 * The folio of a table has one list for the deposits of all its leaves. A PMD table's list has one table for each leaf.
 * A PUD table's list has 513 tables for each leaf: a PMD table, then the 512 deposits of that table. The ptl of @in
 * protects the list and is held.
 */
static void deposit_add(struct folio *in, const struct deposit *dep)
{
	struct folio *last = dep->table;

	last->deposited = dep->below;
	while (last->deposited)
		last = last->deposited;
	last->deposited = in->deposited;
	in->deposited = dep->table;
}

/* Remove the deposit of one leaf from the list. The deposits of all leaves are alike. The ptl of @in is held. */
static struct deposit deposit_withdraw(const struct vellum_memory *m, struct folio *in, unsigned shift)
{
	unsigned nr = shift == PMD_SHIFT ? 1 : 1 + ENTRIES_PER_TABLE;
	struct deposit dep = { .table = in->deposited };
	struct folio *last = dep.table;

	while (last && --nr)
		last = last->deposited;
	if (unlikely(!last))
		entry_forged(m, 0, "a leaf for which no table was deposited");
	in->deposited = last->deposited;
	last->deposited = NULL;
	dep.below = dep.table->deposited;
	dep.table->deposited = NULL;
	return dep;
}

void huge_removed(struct vellum_memory *m, uint64_t *entry, unsigned shift)
{
	struct deposit dep;

	ptl_assert_held(m, entry);
	dep = deposit_withdraw(m, table_folio(m, entry), shift);
	free_deposits(m, dep.below);
	free_deposits(m, dep.table);
}

/* --- installing --- */

int huge_install(struct vellum_mm *mm, gva_t addr, unsigned shift, uint64_t val, int (*prepare)(void *arg), void *arg)
{
	struct vellum_memory *m = mm->memory;
	uint64_t *entry = table_entry_alloc(mm, addr, shift);
	struct mutex *lock;
	struct deposit dep;
	uint64_t none;
	int err;

	if (!entry)
		return huge_lookup(mm, addr, NULL) ? -EBUSY : -ENOMEM;
	err = deposit_alloc(m, shift, &dep);
	if (err)
		return err;
	if (leaf_is_huge_zero(m, val))
		huge_zero_keep(mm);
	lock = &table_folio(m, entry)->ptl;
	mutex_lock(lock, &m->host);
	none = entry_load(entry);
	if (none & (X86_PRESENT | X86_PSE | X86_PROTNONE))
		err = -EBUSY;
	else if (prepare)
		err = prepare(arg);
	if (!err) {
		/* Faults install lower tables by compare-exchange, without ptl: the entry may have changed. */
		if (entry_cmpxchg(entry, &none, val))
			deposit_add(table_folio(m, entry), &dep);
		else
			err = -EBUSY;
	}
	mutex_unlock(lock, &m->host);
	if (err) {
		free_deposits(m, dep.below);
		free_deposits(m, dep.table);
	} else {
		mm_add_rss(mm, 1ll << (shift - PAGE_SHIFT));
	}
	return err;
}

static bool table_is_empty(const uint64_t *table)
{
	for (unsigned i = 0; i < ENTRIES_PER_TABLE; i++)
		if (!pte_none(pte_make(entry_load(&table[i]))))
			return false;
	return true;
}

bool huge_free_table(struct vma *vma, gva_t addr)
{
	struct vellum_mm *mm = vma->mm;
	struct vellum_memory *m = mm->memory;
	uint64_t *pmd = table_entry_alloc(mm, addr, PMD_SHIFT), val = pmd ? entry_load(pmd) : 0;
	struct folio *table = val & X86_PRESENT ? entry_table_folio(m, val) : NULL;
	struct tlb_gather tlb;
	bool empty;

	if (!table)
		return true;
	vma_lock_rmaps(vma);	/* rmap walks hold only i_mmap_lock or anon_vma->lock */
	mutex_lock(&table->ptl, &m->host);
	empty = table_is_empty(table_of(m, val));
	if (empty)
		entry_remove(pmd);
	mutex_unlock(&table->ptl, &m->host);
	if (empty) {
		tlb_gather_begin(&tlb, mm);
		tlb_free_table(&tlb, table);
		tlb_gather_finish(&tlb);
	}
	vma_unlock_rmaps(vma);
	return empty;
}

/* --- splitting --- */

static void fill_ptes(const struct vellum_memory *m, uint64_t *table, uint64_t val)
{
	for (unsigned i = 0; i < ENTRIES_PER_TABLE; i++) {
		pte_t pte = leaf_pte(m, val, PMD_SHIFT, (gva_t)i << PAGE_SHIFT);

		/*
		 * clear_refs clears the leaf as a whole and never saw these entries. So a dirty one counts as
		 * soft-dirty, which at worst reports too often.
		 */
		if (pte_dirty(pte) && !pte_special(pte))
			pte = pte_mksoft_dirty(pte);
		entry_store(&table[i], pte.val);
	}
}

void huge_split_locked(struct vellum_mm *mm, uint64_t *entry, gva_t addr, unsigned shift)
{
	struct vellum_memory *m = mm->memory;
	struct vellum_flush_batch batch = { .size = sizeof(batch), .all_frames = true };
	gva_t start = leaf_start(addr, shift);
	struct deposit dep;
	uint64_t *table, val;

	ptl_assert_held(m, entry);
	dep = deposit_withdraw(m, table_folio(m, entry), shift);
	table = frame_address(m, folio_pfn(m, dep.table));
	val = entry_exchange(entry, X86_PSE);	/* an invalid leaf: INV-HUGE-2 */
	batch_add(&batch, start, start + (1ull << shift), VELLUM_FLUSH_UNMAP);
	flush_batch(mm, &batch);
	if (shift == PMD_SHIFT) {
		fill_ptes(m, table, val);
	} else {
		for (unsigned i = 0; i < ENTRIES_PER_TABLE; i++)
			entry_store(&table[i], pmd_of_pud(val, i));
		dep.table->deposited = dep.below;
	}
	entry_store(entry, x86_mk_table(folio_pfn(m, dep.table)));
}

void huge_track(struct vma *vma, gva_t start, unsigned shift)
{
	if (!vma_is_tracked(vma))
		return;
	for (gva_t at = start; at < start + (1ull << shift); at += PAGE_SIZE)
		track_grant(vma, at);
}

void huge_split_at(struct vellum_mm *mm, gva_t addr)
{
	struct leaf leaf;
	uint64_t val;

	/* A PUD leaf is split into PMD leaves first. One of them may still cross @addr. */
	while (addr < TASK_SIZE && huge_lookup(mm, addr, &leaf) && leaf_start(addr, leaf.shift) != addr) {
		if (!huge_lock(mm, addr, &leaf, &val))
			return;
		if (leaf_start(addr, leaf.shift) != addr)
			huge_split_locked(mm, leaf.entry, addr, leaf.shift);
		huge_unlock(mm, &leaf);
	}
}

void huge_split_range(struct vellum_mm *mm, gva_t start, gva_t end)
{
	struct leaf leaf;
	uint64_t val;

	for (gva_t addr = start; addr < end; addr = leaf_start(addr, PMD_SHIFT) + PMD_SIZE)
		while (huge_lock(mm, addr, &leaf, &val)) {
			huge_split_locked(mm, leaf.entry, addr, leaf.shift);
			huge_unlock(mm, &leaf);
		}
}
