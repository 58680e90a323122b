/* SPDX-License-Identifier: MIT */
/*
 * mm/space/space.h - find and change the VMAs of an address space.
 *
 * Locking: the caller holds mm->mmap_lock, for writing if the function changes a VMA, unless a comment here says
 * otherwise. A function that changes the range of a VMA takes the rmap locks, which the caller must not hold.
 */
#ifndef MM_SPACE_SPACE_H
#define MM_SPACE_SPACE_H

#include "mm/vma.h"

/* --- vma.c: the tree of VMAs. Changes no page-table entry, except that leaves that cross a new border are split --- */

struct vma *find_vma(const struct vellum_mm *mm, gva_t addr);	/* the first VMA with end > addr */
struct vma *find_vma_intersection(const struct vellum_mm *mm, gva_t start, gva_t end);
struct vma *vma_first(const struct vellum_mm *mm);
struct vma *vma_next(const struct vma *vma);
struct vma *vma_prev(const struct vma *vma);
struct vma *vma_alloc(struct vellum_mm *mm, gva_t start, gva_t end, uint64_t flags,
		      struct vellum_mapping *mapping, pgoff_t pgoff);
void vma_free(struct vma *vma);
void vma_insert(struct vma *vma);
void vma_remove(struct vma *vma);		/* from mm->vmas and the rmap trees */
void vma_lock_rmaps(struct vma *vma);		/* the rmap locks: i_mmap_lock and anon_vma->lock, for writing */
void vma_unlock_rmaps(struct vma *vma);
void vma_set_range(struct vma *vma, gva_t start, gva_t end);	/* also moves pgoff along with start */
/*
 * Extend a VMA over [start, end), where no VMA is but those that come after it and differ from it in their range and
 * flags only: they are absorbed.
 */
void vma_cover(struct vma *vma, gva_t start, gva_t end);
/* If only one of two VMAs has an anon_vma, give it to the other too. They may be of two address spaces. */
void vma_share_anon(struct vma *low, struct vma *high);
struct vma *vma_merge(struct vma *vma);		/* with neighbours that can merge; returns the resulting VMA */
/* Split the VMAs that cross @start or @end. 0 or -ENOMEM. */
int vma_split_range(struct vellum_mm *mm, gva_t start, gva_t end) HOLDS(&mm->mmap_lock);
/*
 * Set the flags of the part [start, end) of a VMA, splitting and merging as needed. Only for flags that entries do not
 * depend on. Returns the VMA that contains the part afterwards; NULL: no memory, or too many VMAs.
 */
struct vma *vma_change_flags(struct vma *vma, gva_t start, gva_t end, uint64_t flags);
/* The highest free range of @len bytes within [low, high), or 0. Keeps out of the guard gap of a stack above. */
gva_t find_gap(const struct vellum_mm *mm, uint64_t len, gva_t low, gva_t high);
/* The range at @hint is free, and not in the guard gap of a stack above. (In mmap.c.) */
bool hint_is_free(const struct vellum_mm *mm, gva_t hint, uint64_t len);
bool vma_is_in_i_mmap(const struct vma *vma);	/* whether the VMA is found by its mapping: not in a frozen copy */
uint64_t vma_compute_gap(const struct vma *vma);	/* bytes between the previous VMA's end and this one's start */
void vma_update_prot(struct vma *vma);		/* compute page_prot from the flags and the mapping */
void vma_describe(const struct vma *vma, struct vellum_vma_info *info);	/* for callers of the library */

/* The two questions about writes through a VMA (SPEC.md "Write notify"). */
/* The dirty state of the VMA's pages must be tracked: the backing has page_mkwrite() or pfn_mkwrite(), or writeback. */
bool vma_needs_dirty_tracking(const struct vma *vma);
/* True if @prot, the VMA's full protection, must lose W so that the first store to a page faults. */
bool vma_wants_writenotify(const struct vma *vma, uint64_t prot);

/* --- mmap.c, mprotect.c, mlock.c, collapse.c --- */

/*
 * 0, -ENOMEM, or -EPERM: a VMA is sealed. mmap_lock held for writing. The caller unlocks it with
 * mmap_write_unlock_and_deliver(), which delivers the userfaultfd events of the unmap.
 */
int do_munmap(struct vellum_mm *mm, gva_t start, uint64_t len) HOLDS(&mm->mmap_lock);
/* Unmap [start, end), whose borders no VMA crosses and in which at least one lies. Sends no events. */
void unmap_vmas(struct vellum_mm *mm, gva_t start, gva_t end) HOLDS(&mm->mmap_lock);
/* True if @pte, at @addr, may get W without a fault (SPEC.md "When W may be granted"). ptl held. */
bool can_make_writable(struct vma *vma, gva_t addr, pte_t pte);
bool may_lock(const struct vellum_mm *mm, uint64_t len);	/* RLIMIT_MEMLOCK allows @len more locked bytes */
int madvise_collapse(struct vellum_mm *mm, gva_t start, gva_t end) EXCLUDES(&mm->mmap_lock);	/* takes mmap_lock */

/* PR_SET_MDWE forbids a VMA with the flags @old to get the flags @new. A new VMA has its own rights before. */
bool mdwe_forbids(const struct vellum_mm *mm, uint64_t old, uint64_t new);

/* --- mseal.c --- */

bool range_is_sealed(const struct vellum_mm *mm, gva_t start, gva_t end);
/* The advice would change what a sealed VMA's pages read as, for a caller that may not store to them. */
bool seal_forbids_advice(const struct vma *vma, int advice);

/* --- fork.c --- */

/*
 * Copy the entry @src, which is neither none nor present, to the empty entry @dst of @child, and count what it names
 * once more. @cow: the VMA is COW, so neither may say that the page is exclusive. @keep_wp: the child keeps the
 * userfaultfd protection. Both page-table locks are held.
 */
void share_swp_entry(struct vellum_mm *child, pte_t *src, pte_t *dst, bool cow, bool keep_wp);

/* --- populate.c: fault pages in before an access. Call without locks; may wait for a userfaultfd --- */

enum populate_why {
	POPULATE_FOR_MPROTECT,	/* as FOR_MMAP, but fails instead of waiting for a userfaultfd */
	POPULATE_FOR_MMAP,	/* also for mlock: breaks COW of private writable mappings, as a store would */
	POPULATE_READ,
	POPULATE_WRITE,
};

/*
 * 0; -ENOMEM: a hole, or (for mmap) no rights; -EINVAL (READ and WRITE): the right is missing, or device memory;
 * -EHWPOISON (READ and WRITE): a poisoned page; -EFAULT: the fault failed otherwise; -EAGAIN: no frames; -EINTR: a
 * fatal signal is pending.
 */
int populate_range(struct vellum_mm *mm, gva_t start, gva_t end, enum populate_why why) EXCLUDES(&mm->mmap_lock);

/* mlockall(MCL_FUTURE) without MCL_ONFAULT: new VMAs are populated. */
static inline bool wants_populate(const struct vellum_mm *mm)
{
	return (__atomic_load_n(&mm->def_flags, __ATOMIC_RELAXED) & (VM_LOCKED | VM_LOCKONFAULT)) == VM_LOCKED;
}

#endif
