/* SPDX-License-Identifier: MIT */
/* mm/frame/rmap.h - reverse mapping: from a page to the entries that map it. */
#ifndef MM_FRAME_RMAP_H
#define MM_FRAME_RMAP_H

#include "mm/mm.h"

/* The VMAs of a family of forks that may map the same anonymous pages. */
struct anon_vma {
	uint32_t refs;		/* atomic: VMAs and folios */
	struct rwlock lock;	/* protects the tree */
	struct tree vmas;	/* intervals of pages */
};

/* Called for a VMA and the address in it at which it may map the folio. 0: continue. */
typedef int (*rmap_fn)(struct folio *folio, struct vma *vma, gva_t addr, void *arg);

struct anon_vma *anon_vma_create(const struct host *host);
void anon_vma_get(struct anon_vma *anon_vma);
void anon_vma_put(struct anon_vma *anon_vma, const struct host *host);

/*
 * Call @fn for every (VMA, address) that may map @folio, until it returns another value than 0, which is returned.
 * The caller holds a reference, and the folio's lock if it is a page of a mapping. The lock of the rmap
 * (i_mmap_lock or anon_vma->lock) is held for reading around each call.
 */
int rmap_walk(struct vellum_memory *m, struct folio *folio, rmap_fn fn, void *arg);

/* The same for an anonymous page of which only the place is known. @folio is passed on to @fn. */
int rmap_walk_anon(struct vellum_memory *m, struct anon_vma *anon_vma, pgoff_t index, struct folio *folio,
		   rmap_fn fn, void *arg);

/* A VMA that maps some of these pages has one of @flags. Takes i_mmap_lock. */
bool is_mapped_with(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last, uint64_t flags);

/* The folio that maps @addr, referenced; NULL: none with metadata. mmap_lock held. Splits a huge leaf. */
struct folio *folio_mapped_at(struct vellum_mm *mm, gva_t addr);

/* The entry that maps the folio at @addr in @vma, with *@ptl held; or NULL. Splits a huge leaf. */
pte_t *rmap_lock_pte(struct vellum_memory *m, const struct folio *folio, struct vma *vma, gva_t addr,
		     struct mutex **ptl);

#endif
