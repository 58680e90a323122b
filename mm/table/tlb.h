/* SPDX-License-Identifier: MIT */
/*
 * mm/table/tlb.h - TLB flushes: the gather, and flush windows.
 *
 * Between a change of entries and its flush the address space's flush window is open (mm->tlb_flush_pending): CPUs
 * may still use the old translations.
 */
#ifndef MM_TABLE_TLB_H
#define MM_TABLE_TLB_H

#include "mm/mm.h"

/* --- the gather: what was unmapped and is not flushed yet --- */

#define GATHER_PAGES 128

struct tlb_gather {
	struct vellum_mm *mm;
	struct vellum_flush_batch batch;
	unsigned nr_pages;
	unsigned nr_tables;
	struct folio *pages[GATHER_PAGES];	/* a mapping's count each, dropped after the flush */
	struct folio *tables[GATHER_PAGES];
};

void tlb_begin(struct tlb_gather *tlb, struct vellum_mm *mm);
void tlb_change(struct tlb_gather *tlb, gva_t addr, uint64_t size, uint32_t kind, pfn_t pfn);
void tlb_free_page(struct tlb_gather *tlb, struct folio *folio);
void tlb_free_table(struct tlb_gather *tlb, struct folio *folio);
void tlb_flush(struct tlb_gather *tlb);		/* flush now; the gather stays open */
void tlb_finish(struct tlb_gather *tlb);

/* --- flushes --- */

void flush_page(struct vellum_mm *mm, gva_t addr, uint32_t kind, pfn_t pfn);
void batch_add(struct vellum_flush_batch *batch, gva_t start, gva_t end, uint32_t kind);
void batch_add_frame(struct vellum_flush_batch *batch, pfn_t pfn);
void flush_batch(struct vellum_mm *mm, const struct vellum_flush_batch *batch);
bool flush_is_pending(const struct vellum_mm *mm);	/* another thread's flush window is open */
/* A window without a gather: for code that changes entries but frees nothing. */
void flush_window_open(struct vellum_mm *mm);
void flush_window_close(struct vellum_mm *mm, struct vellum_flush_batch *batch, gva_t start, gva_t end);

/* --- what a machine may want besides --- */

/* Virtually indexed caches: write back before entries become read-only or clean whose pages are then read by frame. */
void flush_cache(struct vellum_mm *mm, gva_t start, gva_t end);
/* The machine wants an entry cleared and flushed before its rights are lowered (VELLUM_MMU_CLEAR_FLUSH). */
bool must_clear_flush(const struct vellum_mm *mm);
/* The page-table lock is held: a fault that finds the entry empty waits for it, and then finds the new value. */
pte_t clear_and_flush(struct vellum_mm *mm, gva_t addr, pte_t *ptep);
/* Keep CPUs from walking the tables for a moment. False: this machine can't. */
bool walks_stop(struct vellum_mm *mm);
void walks_resume(struct vellum_mm *mm);

#endif
