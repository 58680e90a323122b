/* SPDX-License-Identifier: MIT */
/* mm/table/pagewalk.c - the generic page walker; see pagewalk.h. */
#include "mm/space/space.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pagewalk.h"
#include "mm/table/pgtable.h"
#include "mm/vma.h"

static gva_t level_end(gva_t addr, gva_t end, unsigned shift)
{
	const uint64_t size = 1ull << shift;

	return min_u64((addr & ~(size - 1)) + size, end);
}

static int walk_ptes(pte_t *ptep, gva_t start, gva_t end, struct mm_walk *walk)
{
	int err = 0;

	for (; start < end && !err; start += PAGE_SIZE, ptep++)
		err = walk->ops->pte(ptep, start, walk);
	return err;
}

static int walk_last_level(uint64_t pmd, gva_t start, gva_t end, struct mm_walk *walk)
{
	struct vellum_memory *m = walk->vma->mm->memory;
	struct mutex *ptl = &entry_table_folio(m, pmd)->ptl;
	pte_t *first = (pte_t *)table_of(m, pmd) + table_index(start, PAGE_SHIFT);
	int err = 0;

	mutex_lock(ptl, &m->host);
	if (walk->ops->pte_table)
		err = walk->ops->pte_table(first, start, end, walk);
	if (!err && walk->ops->pte)
		err = walk_ptes(first, start, end, walk);
	mutex_unlock(ptl, &m->host);
	return err;
}

#define WALK_AGAIN (WALK_STOP + 1)	/* internal: the entry has changed, read it again */

/* Returns the callback's value, or WALK_AGAIN if the entry was split or is no leaf any more. */
static int walk_huge_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	struct vellum_mm *mm = walk->vma->mm;
	struct mutex *lock = &table_folio(mm->memory, entry)->ptl;
	int err = WALK_AGAIN;

	if (!walk->ops->huge_leaf)
		return 0;
	mutex_lock(lock, mm_host(mm));
	if (is_huge_leaf(entry_load(entry))) {
		err = walk->ops->huge_leaf(entry, start, end, shift, walk);
		if (err == WALK_SPLIT) {
			huge_split_locked(mm, entry, start, shift);
			err = WALK_AGAIN;
		}
	}
	mutex_unlock(lock, mm_host(mm));
	return err;
}

/* @entry covers 1 << @shift bytes; [start, end) lies within. */
static int walk_level(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	uint64_t val = entry_load(entry), *table;
	unsigned below = shift - 9;
	int err = 0;

	while (shift < PGD_SHIFT && is_huge_leaf(val)) {
		err = walk_huge_leaf(entry, start, end, shift, walk);
		if (err != WALK_AGAIN)
			return err;
		val = entry_load(entry);
		err = 0;
	}
	if (no_table(walk->vma->mm->memory, val) || !(val & X86_PRESENT))
		return walk->ops->hole ? walk->ops->hole(start, end, walk) : 0;
	if (!walk->ops->reads)
		entry_touch(entry, val);
	if (shift == PMD_SHIFT)
		return walk_last_level(val, start, end, walk);
	table = table_of(walk->vma->mm->memory, val);
	for (gva_t next; start < end && !err; start = next) {
		next = level_end(start, end, below);
		err = walk_level(&table[table_index(start, below)], start, next, below, walk);
	}
	return err;
}

static int walk_vma(struct mm_walk *walk)
{
	int err = walk->ops->pre_vma ? walk->ops->pre_vma(walk) : 0;

	if (err)
		return err == WALK_SKIP ? 0 : err;
	for (gva_t next, at = walk->start; at < walk->end && !err; at = next) {
		next = level_end(at, walk->end, PGD_SHIFT);
		err = walk_level(pgd_entry(walk->vma->mm, at), at, next, PGD_SHIFT, walk);
	}
	if (walk->ops->post_vma)
		walk->ops->post_vma(walk);
	return err;
}

/* As walk_vma(), unless test_vma skips the VMA. */
static int walk_wanted_vma(struct mm_walk *walk)
{
	int err = walk->ops->test_vma ? walk->ops->test_vma(walk->vma, walk) : 0;

	if (err == WALK_SKIP)
		return 0;
	return err ? err : walk_vma(walk);
}

int walk_page_range(struct vellum_mm *mm, gva_t start, gva_t end, const struct mm_walk_ops *ops,
		    void *private)
{
	struct mm_walk walk = { .ops = ops, .private = private };
	int err = 0;

	for (walk.vma = find_vma_intersection(mm, start, end);
	     walk.vma && walk.vma->start < end && !err; walk.vma = vma_next(walk.vma)) {
		walk.start = max_u64(start, walk.vma->start);
		walk.end = min_u64(end, walk.vma->end);
		err = walk_wanted_vma(&walk);
	}
	return err;
}

int walk_vma_range(struct vma *vma, gva_t start, gva_t end, const struct mm_walk_ops *ops,
		   void *private)
{
	struct mm_walk walk = { .ops = ops, .private = private, .vma = vma, .start = start, .end = end };

	return walk_vma(&walk);
}

int walk_mapping(struct vellum_mapping *mapping, pgoff_t first, uint64_t nr,
		 const struct mm_walk_ops *ops, void *private)
{
	struct mm_walk walk = { .ops = ops, .private = private };
	pgoff_t last = first + nr - 1;
	int err = 0;

	for (struct interval *iv = interval_first(&mapping->i_mmap, first, last); iv && !err;
	     iv = interval_next(iv, first, last)) {
		walk.vma = container_of(iv, struct vma, map_node);
		walk.start = walk.vma->start + ((max_u64(first, iv->start) - iv->start) << PAGE_SHIFT);
		walk.end = walk.vma->start + ((min_u64(last, iv->last) + 1 - iv->start) << PAGE_SHIFT);
		err = walk_wanted_vma(&walk);
	}
	return err;
}
