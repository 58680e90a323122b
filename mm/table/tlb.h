/* SPDX-License-Identifier: MIT */
/*
 * mm/table/tlb.h - TLB flushes: the gather (Linux: mmu_gather), and flush windows.
 *
 * Changes whose flush comes after the page-table lock is dropped run inside a flush window of the address space. The
 * window is open from before the first change until after the flush (mm->tlb_flush_pending counts open windows). While
 * it is open, CPUs may still use old translations. A caller that flushes with the page-table lock still held, as those
 * of flush_page() do, needs no window.
 *
 * Locking: a flush may be called with any lock held (mm/mm.h). Freeing a page takes memory->lock, freeing a table
 * also enters memory->frame_refs. The entries themselves are protected by ptl, which the functions that change an
 * entry need held.
 */
#ifndef MM_TABLE_TLB_H
#define MM_TABLE_TLB_H

#include "mm/mm.h"

/* --- the gather: pages and tables that are unmapped, and are freed after the next flush --- */

#define GATHER_PAGES 128

struct tlb_gather {
	struct vellum_mm *mm;
	struct vellum_flush_batch batch;
	unsigned nr_pages;
	unsigned nr_tables;
	struct folio *pages[GATHER_PAGES];	/* each with a FOLIO_ONE_MAPPING, which is dropped after the flush */
	struct folio *tables[GATHER_PAGES];
};

/* tlb_gather_begin() opens a flush window, tlb_gather_finish() flushes and closes it. */
void tlb_gather_begin(struct tlb_gather *tlb, struct vellum_mm *mm);
/* Add a changed range to the next flush. @kind: VELLUM_FLUSH_*. @pfn: the frame that the entry mapped. */
void tlb_change(struct tlb_gather *tlb, gva_t addr, uint64_t size, uint32_t kind, pfn_t pfn);
/* These two flush if the gather is full. */
void tlb_free_page(struct tlb_gather *tlb, struct folio *folio);
void tlb_free_table(struct tlb_gather *tlb, struct folio *folio);
void tlb_flush(struct tlb_gather *tlb);		/* flush, then free the pages and tables; the window stays open */
void tlb_gather_finish(struct tlb_gather *tlb);

/* --- flushes --- */

void flush_page(struct vellum_mm *mm, gva_t addr, uint32_t kind, pfn_t pfn);
void batch_add(struct vellum_flush_batch *batch, gva_t start, gva_t end, uint32_t kind);
void batch_add_frame(struct vellum_flush_batch *batch, pfn_t pfn);
void flush_batch(struct vellum_mm *mm, const struct vellum_flush_batch *batch);
bool flush_is_pending(const struct vellum_mm *mm);	/* a flush window is open */
/*
 * A flush window without a gather, for code that changes entries but frees nothing. [start, end) is the range that the
 * caller walked. If another window is open, close flushes all of it: the caller may have skipped an entry that another
 * thread has changed but not flushed yet.
 */
void flush_window_open(struct vellum_mm *mm);
void flush_window_close(struct vellum_mm *mm, struct vellum_flush_batch *batch, gva_t start, gva_t end);

/* --- optional needs and abilities of a machine --- */

/*
 * For virtually indexed caches: write the range back before its entries lose W or D, if the pages are then read by
 * frame.
 */
void flush_cache(struct vellum_mm *mm, gva_t start, gva_t end);
/* Break-before-make: the machine needs an entry cleared and flushed before it loses rights (VELLUM_MMU_CLEAR_FLUSH). */
bool must_clear_flush(const struct vellum_mm *mm);
/* As Linux's ptep_clear_flush(); returns the old value. The caller installs the new entry before it drops ptl. */
pte_t clear_and_flush(struct vellum_mm *mm, gva_t addr, pte_t *ptep);
/* Keep CPUs from walking the tables until walks_resume(). False: this machine cannot. */
bool walks_stop(struct vellum_mm *mm);
void walks_resume(struct vellum_mm *mm);

#endif
