/* SPDX-License-Identifier: MIT */
/*
 * mm/frame/rmap.h - reverse mapping: find the entries that map a page.
 *
 * Locking: a walk takes i_mmap_lock or anon_vma->lock for reading and holds it during the callbacks, which take the
 * page-table lock with rmap_lock_pte(). The caller holds no rmap lock and no page-table lock. An rmap lock keeps the
 * VMAs in the tree, their ranges and their page tables, so the callbacks need no mmap lock.
 */
#ifndef MM_FRAME_RMAP_H
#define MM_FRAME_RMAP_H

#include "mm/mm.h"

/* The VMAs that may map the same anonymous pages, in a process and all that were forked from it. */
struct anon_vma {
	uint32_t refs;		/* atomic: VMAs and folios */
	struct rwlock lock;	/* protects the tree */
	struct tree vmas;	/* interval tree of vma->anon_node */
};

/* @addr: where @vma may map @folio. Return: 0 to continue the walk; another value ends it. */
typedef int (*rmap_fn)(struct folio *folio, struct vma *vma, gva_t addr, void *arg);

struct anon_vma *anon_vma_create(const struct host *host);
void anon_vma_get(struct anon_vma *anon_vma);
void anon_vma_put(struct anon_vma *anon_vma, const struct host *host);

/*
 * Call @fn for every VMA and address that may map @folio, until @fn returns another value than 0. Returns that value,
 * or 0. The caller holds a reference, and also folio->lock if the folio is a mapping's. The walk holds i_mmap_lock or
 * anon_vma->lock for reading while it calls @fn.
 */
int rmap_walk(struct vellum_memory *m, struct folio *folio, rmap_fn fn, void *arg);

/* The same for the anonymous page at @index of @anon_vma. @folio is only passed on to @fn. */
int rmap_walk_anon(struct vellum_memory *m, struct anon_vma *anon_vma, pgoff_t index, struct folio *folio,
		   rmap_fn fn, void *arg);

/* True: a VMA that maps any of the pages @first to @last of the mapping has one of @flags. Takes i_mmap_lock. */
bool mapping_has_vma_flags(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last, uint64_t flags);

/* The folio mapped at @addr, with a reference; NULL: none, or a raw frame. mmap_lock held. Splits a huge leaf. */
struct folio *folio_mapped_at(struct vellum_mm *mm, gva_t addr) HOLDS_SHARED(&mm->mmap_lock);

/* Returns the entry at @addr in @vma with *@ptl held if it maps @folio, else NULL. Splits a huge leaf. */
pte_t *rmap_lock_pte(struct vellum_memory *m, const struct folio *folio, struct vma *vma, gva_t addr,
		     struct mutex **ptl) TRY_ACQUIRES(true, *ptl);

#endif
