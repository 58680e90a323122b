/* SPDX-License-Identifier: MIT */
/*
 * mm/table/pagewalk.h - the one page walker, by address range and by mapping.
 *
 * A const table of callbacks per operation; callbacks may be shared between tables. All are
 * optional. They return 0 to go on, WALK_SKIP (test_vma, pre_vma) to pass over a VMA, WALK_STOP to
 * end the walk, which returns it, or a negative error.
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
	/* Walk this VMA? Bounds are clipped. */
	int (*test_vma)(struct vma *vma, struct mm_walk *walk);
	/* Around a VMA's walk; post runs if pre returned 0. No page-table lock held. */
	int (*pre_vma)(struct mm_walk *walk);
	void (*post_vma)(struct mm_walk *walk);
	/*
	 * The part [start, end) of a huge leaf of 1 << @shift bytes; its lock is held. 0: done with it; WALK_SPLIT: go
	 * on below it, with smaller entries. Without the callback it is skipped, never split.
	 */
	int (*huge_leaf)(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk);
	/* The entries of one last-level table for [start, end); its lock is held. */
	int (*pte_table)(pte_t *first, gva_t start, gva_t end, struct mm_walk *walk);
	/* Every entry of an existing table, empty ones included; its lock is held. */
	int (*pte)(pte_t *ptep, gva_t addr, struct mm_walk *walk);
	/* No table covers [start, end) of the VMA. */
	int (*hole)(gva_t start, gva_t end, struct mm_walk *walk);
};

/*
 * VMAs of @mm that meet [start, end), ascending; the mmap lock is held. Return: 0, or what a
 * callback returned.
 */
int walk_page_range(struct vellum_mm *mm, gva_t start, gva_t end, const struct mm_walk_ops *ops,
		    void *private);
/* Part of one VMA; test_vma is not asked. The mmap lock or the rmap lock of the VMA is held. */
int walk_vma_range(struct vma *vma, gva_t start, gva_t end, const struct mm_walk_ops *ops,
		   void *private);
/*
 * Every VMA that maps pages [first, first + nr) of the object, clipped; the caller holds
 * mapping->i_mmap_lock and no mmap lock. A skipped VMA does not end the walk.
 */
int walk_mapping(struct vellum_mapping *mapping, pgoff_t first, uint64_t nr,
		 const struct mm_walk_ops *ops, void *private);

#endif
