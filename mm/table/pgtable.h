/* SPDX-License-Identifier: MIT */
/* mm/table/pgtable.h - page tables: find, allocate and free them, remove entries, notifiers. */
#ifndef MM_TABLE_PGTABLE_H
#define MM_TABLE_PGTABLE_H

#include "mm/table/tlb.h"

/* --- pgtable.c --- */

uint64_t *pgd_entry(struct vellum_mm *mm, gva_t addr);
pte_t *pte_lookup(struct vellum_mm *mm, gva_t addr, struct mutex **ptl);	/* NULL: no table; not locked */
pte_t *pte_alloc(struct vellum_mm *mm, gva_t addr, struct mutex **ptl);	/* NULL: no memory, or a huge leaf */
/* The first address in [addr, end) that a last-level table or a huge leaf covers; @end: none. mmap_lock held. */
gva_t skip_absent_tables(struct vellum_mm *mm, gva_t addr, gva_t end);
/* The entry for @addr in a table of entries of 1 << @shift bytes each, tables allocated as required; NULL as above. */
uint64_t *table_entry_alloc(struct vellum_mm *mm, gva_t addr, unsigned shift);
/* [start, end) was unmapped and no VMA is left in [floor, ceiling): free the tables that cover nothing else. */
void free_page_tables(struct tlb_gather *tlb, gva_t start, gva_t end, gva_t floor, gva_t ceiling);

/* --- zap.c: remove entries. The VMA goes too (unmap), or stays (zap) --- */

void unmap_range(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end);
void zap_range(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end);
/* Only entries that map the mapping's own pages; private copies stay. */
void zap_mapping_range(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end);

/* --- notifier.c --- */

void notify_start(struct vellum_mm *mm, enum vellum_notifier_event event, gva_t start, gva_t end);
void notify_finish(struct vellum_mm *mm, enum vellum_notifier_event event, gva_t start, gva_t end);
void notify_release(struct vellum_mm *mm);

#endif
