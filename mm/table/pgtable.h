/* SPDX-License-Identifier: MIT */
/*
 * mm/table/pgtable.h - page tables: find, allocate and free tables; remove entries; call notifiers.
 *
 * Locking: the caller holds the mmap lock, or an rmap lock (i_mmap_lock, anon_vma->lock) of a VMA that overlaps the
 * table, so that the table stays. A function that allocates tables needs the mmap lock. unmap_range() and
 * free_page_tables() need it held for writing. The functions of zap.c take page-table locks and locks that come after
 * them in the lock order (mm/mm.h). The functions of notifier.c take notifier_lock, and are called without a
 * page-table lock.
 */
#ifndef MM_TABLE_PGTABLE_H
#define MM_TABLE_PGTABLE_H

#include "mm/table/tlb.h"

/* The index of a last-level table's folio if it is no count of entries (INV-SNAP-3 in mm/snapshot/snapshot.h). */
#define TABLE_UNCOUNTED (~0ull)

/* --- pgtable.c --- */

uint64_t *pgd_entry(struct vellum_mm *mm, gva_t addr);
/* The last-level entry for @addr. *@ptl: the lock of its table, not taken. NULL: no table covers @addr. */
pte_t *pte_lookup(struct vellum_mm *mm, gva_t addr, struct mutex **ptl);
/* The same, for a caller that changes no entry: a restore of a snapshot need not look at the table. */
const pte_t *pte_find(struct vellum_mm *mm, gva_t addr, struct mutex **ptl);
/* As pte_lookup(), and allocate missing tables. NULL: no memory, or a huge leaf maps @addr. */
pte_t *pte_alloc(struct vellum_mm *mm, gva_t addr, struct mutex **ptl);
/* The first address in [addr, end) that a last-level table or a huge leaf covers; @end: none. mmap_lock held. */
gva_t skip_absent_tables(struct vellum_mm *mm, gva_t addr, gva_t end);
/* The entry for @addr in the table whose entries cover 1 << @shift bytes. Allocates tables. NULL as for pte_alloc(). */
uint64_t *table_entry_alloc(struct vellum_mm *mm, gva_t addr, unsigned shift);
/*
 * [start, end) was unmapped, and there is no VMA in [floor, ceiling). Free the tables that overlap [start, end) and
 * lie within [floor, ceiling).
 */
void free_page_tables(struct tlb_gather *tlb, gva_t start, gva_t end, gva_t floor, gva_t ceiling);

/* --- zap.c: remove entries --- */

/* The VMA is about to be removed too: markers are also removed. */
void unmap_range(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end);
/* The same for one entry, whose page-table lock is held. */
void zap_one(struct tlb_gather *tlb, struct vma *vma, gva_t addr, pte_t *ptep);
/* The VMA stays: entries with userfaultfd write protection leave a marker if the VMA has a mapping. */
void zap_range(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end);
/* As zap_range(), but only entries that map the mapping's own pages: private copies stay. */
void zap_mapping_range(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end);

/* --- notifier.c --- */

void notify_start(struct vellum_mm *mm, enum vellum_notifier_event event, gva_t start, gva_t end);
void notify_finish(struct vellum_mm *mm, enum vellum_notifier_event event, gva_t start, gva_t end);
void notify_release(struct vellum_mm *mm);

#endif
