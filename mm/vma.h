/* SPDX-License-Identifier: MIT */
/*
 * mm/vma.h - VMAs, the ranges of an address space.
 *
 * Locking: start, end and pgoff change with mm->mmap_lock held for writing, and with the locks of the rmap trees that
 * the VMA is in (i_mmap_lock, anon_vma->lock) held for writing. Either lock suffices to read them. The flags change
 * atomically with mmap_lock held for writing, and may be read without a lock. mmap_lock protects the other fields,
 * unless their comments say otherwise. Rmap walks read page_prot with the page-table lock held: mprotect changes it
 * before it walks the entries.
 */
#ifndef MM_VMA_H
#define MM_VMA_H

#include "mm/mapping.h"

struct anon_vma;

#define VM_READ		0x1ull
#define VM_WRITE	0x2ull
#define VM_EXEC		0x4ull
#define VM_ACCESS	(VM_READ | VM_WRITE | VM_EXEC)
#define VM_SHARED	0x8ull
#define VM_MAYREAD	0x10ull
#define VM_MAYWRITE	0x20ull
#define VM_MAYEXEC	0x40ull
#define VM_MAYSHARE	0x80ull
#define VM_GROWSDOWN	0x100ull
#define VM_UFFD_MISSING	0x200ull
#define VM_PFNMAP	0x400ull
#define VM_UFFD_WP	0x1000ull
#define VM_LOCKED	0x2000ull
#define VM_IO		0x4000ull
#define VM_SEQ_READ	0x8000ull
#define VM_RAND_READ	0x10000ull
#define VM_DONTCOPY	0x20000ull
#define VM_DONTEXPAND	0x40000ull
#define VM_LOCKONFAULT	0x80000ull
#define VM_NORESERVE	0x200000ull
#define VM_WIPEONFORK	0x2000000ull
#define VM_DONTDUMP	0x4000000ull
#define VM_SOFTDIRTY	0x8000000ull	/* every page counts as soft-dirty, whatever its entry says */
#define VM_MIXEDMAP	0x10000000ull
#define VM_HUGEPAGE	0x20000000ull
#define VM_NOHUGEPAGE	0x40000000ull
#define VM_SHADOW_STACK	(1ull << 37)
#define VM_UFFD_MINOR	(1ull << 38)
#define VM_DROPPABLE	(1ull << 40)
#define VM_SEALED	(1ull << 42)	/* mseal(2) */
#define VM_UFFD		(VM_UFFD_MISSING | VM_UFFD_WP | VM_UFFD_MINOR)
#define VM_SPECIAL	(VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP)

struct vma {
	struct tree_node node;	/* in mm->vmas, by start */
	gva_t start, end;
	uint64_t gap;		/* vma_compute_gap(), kept for max_gap */
	uint64_t max_gap;	/* largest gap in the subtree */
	struct vellum_mm *mm;
	uint64_t flags;		/* VM_*; atomic */
	uint64_t page_prot;	/* protection bits of a new entry; without W if a first store has to fault */
	struct vellum_mapping *mapping;	/* NULL: private anonymous */
	pgoff_t pgoff;
	struct anon_vma *anon_vma;	/* atomic pointer, set once; NULL: the VMA has had no anonymous page yet */
	struct interval map_node;	/* in mapping->i_mmap, in pages */
	struct interval anon_node;	/* in anon_vma->vmas, in pages */
	uint64_t write_faults;		/* atomic */
	struct vellum_uffd *uffd;	/* context that the VMA is registered with, referenced; or NULL */
};

static inline uint64_t vma_flags(const struct vma *vma)
{
	return __atomic_load_n(&vma->flags, __ATOMIC_RELAXED);
}

static inline bool vma_is_cow(const struct vma *vma)
{
	return (vma_flags(vma) & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE;
}

static inline bool vma_shared_maywrite(const struct vma *vma)
{
	return (vma_flags(vma) & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE);
}

/*
 * Writes to a VMA without VM_SOFTDIRTY set the soft-dirty bits of its entries. With VM_SOFTDIRTY, every page counts as
 * soft-dirty, so no write has to fault. Clearing all soft-dirty bits (mm/track/clear_refs.c) removes VM_SOFTDIRTY.
 */
static inline bool vma_soft_dirty_enabled(const struct vma *vma)
{
	return !(vma_flags(vma) & VM_SOFTDIRTY);
}

static inline bool vma_uffd_wp(const struct vma *vma)
{
	return vma_flags(vma) & VM_UFFD_WP;
}

static inline bool vma_is_anonymous(const struct vma *vma)
{
	return !vma->mapping;
}

static inline pgoff_t vma_page_index(const struct vma *vma, gva_t addr)
{
	return vma->pgoff + ((addr - vma->start) >> PAGE_SHIFT);
}

static inline struct anon_vma *vma_anon(const struct vma *vma)
{
	return __atomic_load_n(&vma->anon_vma, __ATOMIC_ACQUIRE);
}

/* A shared VMA of a mapping with writeback: when D is removed from an entry, the folio is marked dirty. */
static inline bool vma_is_shared_writeback(const struct vma *vma)
{
	return (vma_flags(vma) & VM_SHARED) && (vma->mapping->flags & VELLUM_MAPPING_WRITEBACK);
}

#endif
