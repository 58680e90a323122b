/* SPDX-License-Identifier: MIT */
/*
 * mm/table/huge.h - huge leaves: a PMD or PUD entry that maps memory itself.
 *
 * A leaf is protected by the page-table lock of the table that it is in (ptl of that frame). A PMD leaf of
 * memory with folios maps 512 of them, each with a count and a reference of its own: a split changes no
 * metadata.
 *
 * INV-HUGE-1: for every leaf its table keeps what a split needs (deposits: for a PMD one table, for a PUD one
 * with 512 deposits of its own), so a split cannot fail.
 * INV-HUGE-2: a huge and a small translation of an address never live together: an entry that becomes a table
 * is invalid in between, and flushed.
 */
#ifndef MM_TABLE_HUGE_H
#define MM_TABLE_HUGE_H

#include "mm/mm.h"
#include "mm/table/exposed.h"

#define PMD_PAGES (PMD_SIZE >> PAGE_SHIFT)

struct leaf {
	uint64_t *entry;
	unsigned shift;		/* PMD_SHIFT or PUD_SHIFT */
	struct mutex *lock;
};

/* A present huge leaf, one under invalidation included. */
static inline bool is_huge_leaf(uint64_t val)
{
	return val & X86_PSE;
}

static inline bool leaf_write(uint64_t val)
{
	return x86_writable(val);
}

static inline uint64_t leaf_mkuffd_wp(uint64_t val)
{
	return pmd_mkuffd_wp(pmd_make(val)).val;
}

static inline uint64_t leaf_clear_uffd_wp(uint64_t val)
{
	return pmd_clear_uffd_wp(pmd_make(val)).val;
}

static inline gva_t leaf_start(gva_t addr, unsigned shift)
{
	return addr & ~((1ull << shift) - 1);
}

/* The first frame. */
static inline pfn_t leaf_pfn(uint64_t val, unsigned shift)
{
	return shift == PUD_SHIFT ? pud_pfn(pud_make(val)) : pmd_pfn(pmd_make(val));
}

/* Raw frames, or a device's: no folios behind it. */
static inline bool leaf_is_raw(uint64_t val)
{
	return val & (X86_SPECIAL | X86_DEVMAP);
}

/* The table that @entry is in. */
static inline struct folio *table_folio(const struct vellum_memory *m, const uint64_t *entry)
{
	return &m->folios[((uintptr_t)entry - (uintptr_t)m->ram) >> PAGE_SHIFT];
}

/* What one page of the leaf would have as an entry of its own. */
pte_t leaf_pte(uint64_t val, unsigned shift, gva_t addr);

/* The huge leaf that maps @addr; @leaf may be NULL. Not locked: look again under its lock. */
bool huge_lookup(struct vellum_mm *mm, gva_t addr, struct leaf *leaf);
/* The same, locked, and still a leaf; *@val is what it is. */
bool huge_lock(struct vellum_mm *mm, gva_t addr, struct leaf *leaf, uint64_t *val);
static inline void huge_unlock(struct vellum_mm *mm, const struct leaf *leaf)
{
	mutex_unlock(leaf->lock, mm_host(mm));
}
/* Apply a pure function to a live leaf. Return: the value it was applied to. */
uint64_t leaf_update(uint64_t *entry, uint64_t (*change)(uint64_t));

/*
 * Put a leaf where nothing is, for @addr aligned to 1 << @shift. 0; -ENOMEM; -EBUSY: a table or leaf is there.
 * @prepare: called with the lock held, before the leaf is visible; may be NULL; not 0: not put, that is returned.
 */
int huge_install(struct vellum_mm *mm, gva_t addr, unsigned shift, uint64_t val, int (*prepare)(void *arg), void *arg);
/* Cleared already; its lock is held: the deposits go. */
void huge_removed(struct vellum_memory *m, uint64_t *entry, unsigned shift);
/*
 * The leaf at @start can be stored to: those who track it hear. After it was put there: a tracker that came
 * meanwhile has either found the leaf or is seen here.
 */
void huge_track(struct vma *vma, gva_t start, unsigned shift);
/* Its lock is held. It becomes a table of leaves of the next lower size, and is flushed. */
void huge_split_locked(struct vellum_mm *mm, uint64_t *entry, gva_t addr, unsigned shift);
/* No leaf crosses @addr afterwards; mmap lock or an rmap lock of the VMA held. */
void huge_split_at(struct vellum_mm *mm, gva_t addr);
/* No leaf is left in [start, end). */
void huge_split_range(struct vellum_mm *mm, gva_t start, gva_t end);

/* If the last-level table for @addr is empty it goes, so that a leaf can come. mmap_lock held for writing. */
bool huge_free_table(struct vma *vma, gva_t addr);
/* A raw frame's entry by the VMA's protection. */
pte_t frame_pte(const struct vma *vma, pfn_t pfn);
uint64_t frame_leaf(const struct vma *vma, pfn_t pfn, unsigned shift);

#endif
