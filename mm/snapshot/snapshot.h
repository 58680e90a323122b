/* SPDX-License-Identifier: MIT */
/*
 * mm/snapshot/snapshot.h - snapshots: frozen copies of address spaces and of shared memory.
 *
 * The frozen copy of an address space is an address space of its own, with its own VMAs and tables. It maps the frozen
 * private pages, read-only, as the child of a fork would; so the reverse map, reclaim, migration and validation find
 * them. Of shared VMAs and of the mappings' own pages it has no entries but markers, raw frames, and wp markers for
 * pages that are protected by a userfaultfd. Its VMAs are not in their mappings' trees, unless the mapping has raw
 * frames: truncation must not remove frozen private pages.
 *
 * A frozen mapping is a copy of its pages in a second mapping, and a tracker that tells which pages changed.
 *
 * How a restore finds what changed:
 *
 * INV-SNAP-1: in an address space with a base, a present small entry with UNCHANGED and without D has the bytes, the
 *             soft-dirty bit and the uffd-wp bit of the base. The library removes UNCHANGED, or the entry, when it
 *             changes one of these (arch/x86/pgtable.h).
 * INV-SNAP-2: if an entry changed since the last restore, all table entries above it have A. CPUs set A when they walk,
 *             the library with entry_touch(). An entry above a table that was freed keeps A.
 * INV-SNAP-3: the folio of a last-level table has as its index how many entries had UNCHANGED after the last restore.
 *             If fewer have it now, some were removed, and all entries of the table are compared. The index of a new
 *             table, and of one that was left with other entries, is TABLE_UNCOUNTED: the removal of swap entries and
 *             markers changes no count.
 *
 * Pages that may be pinned for writing never get UNCHANGED, and the entries above them have A. The entry of a page that
 * run after run changes keeps D, and the entries above it A (entry.c): each restore compares its bytes.
 *
 * Locking: snapshot->lock is outside of all locks of mm/mm.h. The functions on an address space hold its mmap_lock for
 * writing, and inside it that of the frozen copy. Where two page-table locks are held, the frozen copy's is the inner
 * one.
 */
#ifndef MM_SNAPSHOT_SNAPSHOT_H
#define MM_SNAPSHOT_SNAPSHOT_H

#include "mm/mapping.h"
#include "mm/table/tlb.h"
#include "lib/page_set.h"
#include "vellum/snapshot.h"

/* In one snapshot. */
#define MAX_FROZEN_MMS 1024
#define MAX_FROZEN_MAPPINGS 65536

struct frozen_mm {
	struct vellum_mm *mm;		/* with a reference */
	struct vellum_mm *copy;		/* the frozen copy */
	uint64_t nr_kept;		/* about: pages of runs that restores kept; mm->mmap_lock */
	struct page_set restored;	/* by the last restore; snapshot->lock */
	bool all_restored;		/* the set does not tell: compare all */
};

struct frozen_mapping {
	struct vellum_mapping *mapping;	/* with a reference */
	struct vellum_mapping *copy;	/* its pages when it was frozen */
	struct vellum_tracker *tracker;	/* pages that changed since the last restore */
	uint64_t size;			/* bytes */
	uint32_t seals;
	bool restored;			/* the last restore put a page back; snapshot->lock */
};

struct vellum_snapshot {
	struct vellum_memory *memory;
	unsigned nr_mms, nr_mappings;
	unsigned max_mappings;		/* of the array */
	struct frozen_mm *mms;
	struct frozen_mapping *mappings;
	struct radix by_mapping;	/* from a mapping to its index */
	uint64_t max_kept;
	bool notes_restored;
	struct mutex lock;
	/* lock protects: */
	uint64_t nr_restores;
	uint64_t copied, dropped, copied_shared;	/* of the last restore */
};

/* A restore of one address space. */
struct restore {
	struct frozen_mm *frozen;
	struct vellum_mm *mm, *copy;
	struct tlb_gather tlb;
	struct vma *vma;	/* the last one that an entry was in */
	bool notes;		/* note in frozen->restored what is put back */
	bool all;		/* the entries' UNCHANGED does not refer to this snapshot: compare all */
	bool uncounted;		/* the current table has entries without UNCHANGED */
	bool again;		/* the next restore has to look at an entry below the current table entry */
	gva_t missing;		/* with -EAGAIN: the page that bring_in() is for */
	uint64_t copied, dropped;
};

/* The entry counts for INV-SNAP-3. */
static inline bool is_counted(pte_t pte)
{
	return pte_present(pte) && (pte.val & X86_UNCHANGED);
}

/* --- freeze.c: from an address space to its frozen copy, and back --- */

/* Create frozen->copy. mm->base becomes @frozen. 0 or -ENOMEM. */
int freeze_mm(struct frozen_mm *frozen) EXCLUDES(&frozen->mm->mmap_lock);
/*
 * Give the empty entry @dst of @vma what the entry @src of the frozen copy has. Both are locked.
 */
void thaw_entry(struct vma *vma, pte_t *dst, pte_t *src);
/* The same for the huge leaf at @addr of @copy, if there still is one. 0 or -ENOMEM. No page-table lock is held. */
int thaw_leaf(struct vma *vma, struct vellum_mm *copy, gva_t addr);
/* A new address space with the content of the frozen copy. 0 or -ENOMEM. */
int thaw_mm(const struct vellum_snapshot *snapshot, struct vellum_mm *copy, struct vellum_mapping **mappings,
	    struct vellum_mm **out);
/* A VMA for @mm with the range and anon_vma of @vma, inserted. NULL: no memory. */
struct vma *vma_like(struct vellum_mm *mm, const struct vma *vma, uint64_t flags, struct vellum_mapping *mapping,
		     struct vellum_uffd *uffd);
/* The fields of an address space that are neither VMAs nor entries. Both are locked for writing. */
void copy_limits(struct vellum_mm *to, const struct vellum_mm *from);
/* The flags of a frozen VMA, and the userfaultfd context if it still exists, for a VMA that is restored. */
uint64_t thawed_flags(const struct vma *frozen, const struct vellum_mm *mm, struct vellum_uffd **uffd);
/* Remove D from an entry of a page, and tell the page and trackers. ptl held. */
void take_dirt(struct vma *vma, gva_t addr, pte_t *ptep);

/* --- snapshot.c --- */

int snapshot_index(const struct vellum_snapshot *s, const struct vellum_mapping *mapping);	/* -1: it is not frozen */

/* --- vmas.c --- */

/* Make the VMAs those of the frozen copy. Entries that may not stay are removed. 0 or -ENOMEM. */
int restore_vmas(struct vellum_mm *mm, struct vellum_mm *copy) HOLDS(&mm->mmap_lock);

/* --- tables.c --- */


/* Restore all entries. 0, -ENOMEM; -EAGAIN: bring in rs->missing and call again. */
int restore_tables(struct restore *rs);
/* Drop pages of runs, first those that have not been used lately, until at most @max are kept. */
void drop_kept(struct restore *rs, uint64_t max);

/* --- entry.c --- */

/*
 * Restore one entry. @frozen: the frozen copy's; NULL: there is none. Both are locked. 0; -EAGAIN: the page's frozen
 * bytes are not in RAM, or the frozen page is being migrated.
 */
int restore_entry(struct restore *rs, gva_t addr, pte_t *ptep, pte_t *frozen);
/* Remove what is mapped, and map the frozen page again. Both entries are locked. */
void replace_entry(struct restore *rs, gva_t addr, pte_t *ptep, pte_t *frozen);
/* The VMA that contains [@addr, @addr + @size), which @entry maps. If there is none, @entry is forged. */
struct vma *restore_vma(struct restore *rs, gva_t addr, uint64_t size, uint64_t entry);
/* Read the frozen bytes of a page into RAM, or wait for its migration. No page-table lock is held. 0 or an error. */
int bring_in(struct restore *rs, gva_t addr);

/* --- shared.c: shared memory --- */

/* Freeze frozen->mapping. 0 or a negative error. */
int freeze_mapping(struct frozen_mapping *frozen, uint64_t fault_ns, uint64_t scan_ns);
int restore_mapping(struct frozen_mapping *frozen, uint64_t *nr_copied);
int thaw_mapping(const struct frozen_mapping *frozen, struct vellum_mapping **out);
void forget_mapping(struct frozen_mapping *frozen);
/* 0; 1: *@diff says what differs; or a negative error. @buf: two pages. */
int verify_mapping(const struct frozen_mapping *frozen, char *buf, struct vellum_snapshot_difference *diff);

#endif
