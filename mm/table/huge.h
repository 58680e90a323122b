/* SPDX-License-Identifier: MIT */
/*
 * mm/table/huge.h - huge leaves: PMD or PUD entries that map memory.
 *
 * A PMD leaf that is not raw maps 512 folios. Each of them counts its own mapping and reference, so a split changes no
 * folio.
 *
 * Locking: the ptl of the table that contains a leaf protects the leaf and the table's deposits. huge_removed() and
 * huge_split_locked() need it held. The functions that find a leaf by its address take it. Their callers hold the
 * mmap lock or an rmap lock of the VMA, and no ptl of the address space. huge_install() and huge_free_table() need
 * the mmap lock.
 *
 * INV-HUGE-1: for every leaf, the table that contains it keeps the tables that a split needs (deposits: one table for
 * a PMD leaf; one with 512 deposits of its own for a PUD leaf). So a split cannot fail.
 * INV-HUGE-2: no CPU has a huge and a small translation of one address: before a leaf's entry becomes a table, it is
 * made invalid and flushed.
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

/* The entry is a huge leaf. Also true while a split or a move has made the leaf invalid (INV-HUGE-2). */
static inline bool is_huge_leaf(uint64_t val)
{
	return val & X86_PSE;
}

static inline bool leaf_write(uint64_t val)
{
	return x86_writable(val);
}

static inline uint64_t leaf_wrprotect(uint64_t val)
{
	return pmd_wrprotect(pmd_make(val)).val;	/* the same bits in a PUD */
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

/* The first frame that a leaf maps. */
static inline pfn_t leaf_pfn(uint64_t val, unsigned shift)
{
	return shift == PUD_SHIFT ? pud_pfn(pud_make(val)) : pmd_pfn(pmd_make(val));
}

/* The leaf maps raw frames, which have no folios. */
static inline bool leaf_is_raw(uint64_t val)
{
	return val & (X86_SPECIAL | X86_DEVMAP);
}

/* The leaf maps the huge zero page. It is raw, never has W, and each of its small parts is the zero page. */
static inline bool leaf_is_huge_zero(const struct vellum_memory *m, uint64_t val)
{
	pfn_t zero = __atomic_load_n(&m->huge_zero_pfn, __ATOMIC_RELAXED);

	return (val & X86_SPECIAL) && zero && pmd_pfn(pmd_make(val)) == zero;	/* frame 0 is a driver's */
}

/* The first frame of the huge zero page, which the address space now keeps; 0: no memory. Takes memory->lock. */
pfn_t huge_zero_get(struct vellum_mm *mm);
/* Keep the huge zero page for the address space. False: there is none. Takes memory->lock. */
bool huge_zero_keep(struct vellum_mm *mm);
/* The address space, which has no entries any more, is destroyed. */
void huge_zero_put(struct vellum_mm *mm);

/* The folio of the table that contains @entry. */
static inline struct folio *table_folio(const struct vellum_memory *m, const uint64_t *entry)
{
	return &m->folios[((uintptr_t)entry - (uintptr_t)m->ram) >> PAGE_SHIFT];
}

/* The page-table lock of the table that contains the entry is held. */
static inline void ptl_assert_held(const struct vellum_memory *m, const void *entry)
{
	(void)m, (void)entry;
	assert_locked(mutex_is_locked(&table_folio(m, entry)->ptl));
}

/* The small entry that maps the page at @addr as the leaf @val does. */
pte_t leaf_pte(const struct vellum_memory *m, uint64_t val, unsigned shift, gva_t addr);

/* A page of the leaf, which is not raw, may be pinned. */
bool leaf_maybe_pinned(const struct vellum_memory *m, uint64_t val, unsigned shift);

/* Find the huge leaf that maps @addr. @leaf may be NULL. Takes no lock, so the leaf may change meanwhile. */
bool huge_lookup(struct vellum_mm *mm, gva_t addr, struct leaf *leaf);
/* The same, and lock it. *@val: the leaf's value, read with the lock held. False: no huge leaf maps @addr. */
bool huge_lock(struct vellum_mm *mm, gva_t addr, struct leaf *leaf, uint64_t *val) TRY_ACQUIRES(true, leaf->lock);
static inline void huge_unlock(struct vellum_mm *mm, const struct leaf *leaf) RELEASES(leaf->lock)
{
	mutex_unlock(leaf->lock, mm_host(mm));
}
/* Apply @change atomically to a leaf that CPUs may use. @change may run more than once. Return: the old value. */
uint64_t leaf_update(uint64_t *entry, uint64_t (*change)(uint64_t));

/*
 * Install the leaf @val in an empty entry, for @addr aligned to 1 << @shift. 0; -ENOMEM; -EBUSY: a table or leaf is
 * there. @prepare, which may be NULL, is called with the lock held, before the leaf is visible. If it does not return
 * 0, no leaf is installed and its value is returned.
 */
int huge_install(struct vellum_mm *mm, gva_t addr, unsigned shift, uint64_t val, int (*prepare)(void *arg), void *arg);
/* Free the deposits of a leaf that was at @entry. The leaf is already cleared; its lock is held. */
void huge_removed(struct vellum_memory *m, uint64_t *entry, unsigned shift);
/*
 * Report to trackers that the leaf at @start has W (track_grant()). Call it after the leaf is installed: a tracker
 * that starts meanwhile then either finds the leaf or is found here.
 */
void huge_track(struct vma *vma, gva_t start, unsigned shift);
/* Flush the leaf and replace it by a table of entries of the next smaller size. Its lock is held. */
void huge_split_locked(struct vellum_mm *mm, uint64_t *entry, gva_t addr, unsigned shift);
/* Split leaves until none crosses @addr. The mmap lock or an rmap lock of the VMA is held. */
void huge_split_at(struct vellum_mm *mm, gva_t addr);
/* Split all leaves in [start, end). */
void huge_split_range(struct vellum_mm *mm, gva_t start, gva_t end);

/* Free the last-level table for @addr if it is empty. True: there is no table now. mmap_lock held for writing. */
bool huge_free_table(struct vma *vma, gva_t addr);
/* The entry or leaf that maps a raw frame with the VMA's protection. */
pte_t frame_pte(const struct vma *vma, pfn_t pfn);
uint64_t frame_leaf(const struct vma *vma, pfn_t pfn, unsigned shift);

#endif
