/* SPDX-License-Identifier: MIT */
/*
 * mm/table/pagewalk.h - the generic page walker, by address range and by mapping.
 *
 * Each operation has a const table of callbacks. All callbacks are optional. What a callback returns:
 *
 *   0			continue
 *   WALK_SKIP		skip the VMA			test_vma, pre_vma
 *   WALK_SPLIT		split the leaf, walk its parts	huge_leaf
 *   WALK_STOP		end the walk			all but post_vma, which returns nothing
 *   negative error	end the walk			all but post_vma
 *
 * The walk returns the value that ended it, or 0.
 *
 * Locking: see the functions for the lock that keeps the tables. The walker takes the page-table lock of one table at
 * a time. The callbacks huge_leaf, pte_table and pte run with it held, the others without.
 */
#ifndef MM_TABLE_PAGEWALK_H
#define MM_TABLE_PAGEWALK_H

#include "mm/table/huge.h"

#define WALK_SKIP 1
#define WALK_SPLIT 2
#define WALK_STOP 3

struct mm_walk {
	const struct mm_walk_ops *ops;
	void *private;
	struct vma *vma;
	gva_t start, end;	/* the part of the VMA that is walked */
};

struct mm_walk_ops {
	/* Decide on a VMA before anything in it is walked. walk->start and walk->end are clipped to the VMA. */
	int (*test_vma)(struct vma *vma, struct mm_walk *walk);
	/*
	 * Before and after the walk of a VMA. post_vma runs if pre_vma returned 0, also if another callback ended the
	 * walk. No page-table lock is held.
	 */
	int (*pre_vma)(struct mm_walk *walk);
	void (*post_vma)(struct mm_walk *walk);
	/*
	 * The part [start, end) of a huge leaf of 1 << @shift bytes; its lock is held. On WALK_SPLIT the walker splits
	 * the leaf and walks the smaller entries. Without this callback, leaves are skipped and not split.
	 */
	int (*huge_leaf)(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk);
	/* The entries of one last-level table for [start, end), @first being the first; the table's lock is held. */
	int (*pte_table)(pte_t *first, gva_t start, gva_t end, struct mm_walk *walk);
	/* One entry of a last-level table, which may be empty; the table's lock is held. Runs after pte_table. */
	int (*pte)(pte_t *ptep, gva_t addr, struct mm_walk *walk);
	/* Neither a table nor a leaf covers [start, end) of the VMA. No page-table lock is held. */
	int (*hole)(gva_t start, gva_t end, struct mm_walk *walk);
	bool reads;	/* the callbacks change no entry: a restore of a snapshot need not look at the tables */
};

/*
 * Walk the VMAs of @mm that overlap [start, end), in ascending order. The mmap lock is held. Return: 0, or the value
 * of the callback that ended the walk.
 */
int walk_page_range(struct vellum_mm *mm, gva_t start, gva_t end, const struct mm_walk_ops *ops,
		    void *private);
/* Walk a part of one VMA, without test_vma. The mmap lock or an rmap lock of the VMA is held. */
int walk_vma_range(struct vma *vma, gva_t start, gva_t end, const struct mm_walk_ops *ops,
		   void *private);
/*
 * Walk every VMA that maps some of the pages [first, first + nr) of @mapping, clipped to them. The caller holds
 * mapping->i_mmap_lock. It need not hold an mmap lock.
 */
int walk_mapping(struct vellum_mapping *mapping, pgoff_t first, uint64_t nr,
		 const struct mm_walk_ops *ops, void *private);

#endif
