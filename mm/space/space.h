/* SPDX-License-Identifier: MIT */
/*
 * mm/space/space.h - find and change the VMAs of an address space.
 *
 * Each function needs mm->mmap_lock held, for writing if it changes a VMA, unless its comment says otherwise.
 */
#ifndef MM_SPACE_SPACE_H
#define MM_SPACE_SPACE_H

#include "mm/vma.h"

/* --- vma.c: the tree of VMAs; no page-table entry is touched --- */

struct vma *find_vma(const struct vellum_mm *mm, gva_t addr);	/* the first VMA with end > addr */
struct vma *find_vma_intersection(const struct vellum_mm *mm, gva_t start, gva_t end);
struct vma *vma_first(const struct vellum_mm *mm);
struct vma *vma_next(const struct vma *vma);
struct vma *vma_prev(const struct vma *vma);
struct vma *vma_alloc(struct vellum_mm *mm, gva_t start, gva_t end, uint64_t flags,
		      struct vellum_mapping *mapping, pgoff_t pgoff);
void vma_free(struct vma *vma);
void vma_insert(struct vma *vma);
void vma_remove(struct vma *vma);		/* from all trees */
void vma_lock_rmaps(struct vma *vma);		/* the mapping's and the anon_vma's lock, for writing */
void vma_unlock_rmaps(struct vma *vma);
void vma_set_range(struct vma *vma, gva_t start, gva_t end);	/* pgoff follows start */
struct vma *vma_merge(struct vma *vma);		/* with its neighbours; returns the merged VMA */
int vma_isolate(struct vellum_mm *mm, gva_t start, gva_t end);	/* split VMAs at both addresses */
/* Change flags that no entry depends on, of the part [start, end) of a VMA. Returns that part's VMA, or NULL. */
struct vma *vma_change_flags(struct vma *vma, gva_t start, gva_t end, uint64_t flags);
gva_t find_gap(const struct vellum_mm *mm, uint64_t len, gva_t low, gva_t high); /* 0: none */
uint64_t vma_gap_below(const struct vma *vma);
void vma_update_prot(struct vma *vma);		/* page_prot follows flags */
void vma_describe(const struct vma *vma, struct vellum_vma_info *info);	/* for callers of the library */

/* The two questions about writes through a VMA (SPEC.md "Write notify"). */
/* Must the backing, a driver or a tracker learn of every page that becomes dirty through the VMA? */
bool vma_needs_dirty_tracking(const struct vma *vma);
/* Must @prot, the VMA's full protection, lose W so that the first store to a page faults? */
bool vma_wants_writenotify(const struct vma *vma, uint64_t prot);

/* --- mmap.c, mprotect.c, mlock.c, collapse.c --- */

/* mmap_lock held for writing. The caller unlocks with mmap_write_unlock_and_deliver(), which delivers userfaultfd events. */
int do_munmap(struct vellum_mm *mm, gva_t start, uint64_t len);
bool can_make_writable(struct vma *vma, gva_t addr, pte_t pte);
bool may_lock(const struct vellum_mm *mm, uint64_t len);	/* RLIMIT_MEMLOCK allows @len more bytes */
int madvise_collapse(struct vellum_mm *mm, gva_t start, gva_t end);	/* takes mmap_lock */

/* --- populate.c: fault pages in before an access; no lock held --- */

enum populate_why {
	POPULATE_FOR_MPROTECT,	/* as FOR_MMAP, but without waiting: a userfaultfd ends it */
	POPULATE_FOR_MMAP,	/* and mlock: a store's fault where private pages would be copied */
	POPULATE_READ,
	POPULATE_WRITE,
};

/*
 * 0; -ENOMEM: a hole; -EINVAL: rights (READ, WRITE), device memory; -EFAULT: SIGBUS; -EAGAIN: no frames; -EINTR: a
 * fatal signal is pending.
 */
int populate_range(struct vellum_mm *mm, gva_t start, gva_t end, enum populate_why why);

static inline bool wants_populate(const struct vellum_mm *mm)
{
	return (__atomic_load_n(&mm->def_flags, __ATOMIC_RELAXED) & (VM_LOCKED | VM_LOCKONFAULT)) == VM_LOCKED;
}

#endif
