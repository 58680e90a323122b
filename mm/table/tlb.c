/* SPDX-License-Identifier: MIT */
/*
 * mm/table/tlb.c - the gather, flush windows, and all flushes.
 *
 * INV-TLB-1: a page or table is freed only after the entry that pointed to it is flushed.
 * INV-TLB-2: if a change is flushed after the page-table lock is dropped, tlb_flush_pending is incremented before the
 *            first entry changes and decremented after the flush. A thread that reads a changed entry with its
 *            page-table lock held, before the flush is done, also reads a count above 0.
 */
#include "mm/mm.h"
#include "mm/table/tlb.h"

void tlb_gather_begin(struct tlb_gather *tlb, struct vellum_mm *mm)
{
	tlb->mm = mm;
	tlb->batch.kinds = 0;
	tlb->batch.nr_ranges = tlb->batch.nr_frames = 0;
	tlb->batch.full = tlb->batch.all_frames = false;
	tlb->nr_pages = tlb->nr_tables = 0;
	flush_window_open(mm);
}

static bool tlb_nested(const struct vellum_mm *mm)
{
	return __atomic_load_n(&mm->tlb_flush_pending, __ATOMIC_SEQ_CST) > 1;
}

bool flush_is_pending(const struct vellum_mm *mm)
{
	return __atomic_load_n(&mm->tlb_flush_pending, __ATOMIC_SEQ_CST) != 0;
}

void batch_add(struct vellum_flush_batch *batch, gva_t start, gva_t end, uint32_t kind)
{
	unsigned n = batch->nr_ranges;

	batch->kinds |= kind;
	if (n && batch->range[n - 1].end == start) {
		batch->range[n - 1].end = end;
	} else if (n && batch->range[n - 1].start <= start && end <= batch->range[n - 1].end) {
		return;
	} else if (n < VELLUM_FLUSH_RANGES) {
		batch->range[n].start = start;
		batch->range[n].end = end;
		batch->nr_ranges++;
	} else {
		batch->full = true;
	}
}

void batch_add_frame(struct vellum_flush_batch *batch, pfn_t pfn)
{
	if (batch->nr_frames < VELLUM_FLUSH_FRAMES)
		batch->frame[batch->nr_frames++] = pfn;
	else
		batch->all_frames = true;
}

void tlb_change(struct tlb_gather *tlb, gva_t addr, uint64_t size, uint32_t kind, pfn_t pfn)
{
	batch_add(&tlb->batch, addr, addr + size, kind);
	batch_add_frame(&tlb->batch, pfn);
}

/* No CPU has translations of the address space: none runs in it, and none kept them when it was deactivated. */
static bool no_cpu_has_translations(const struct vellum_mm *mm)
{
	const struct vellum_mmu_ops *mmu = mm->memory->mmu;

	if (!mmu)
		return true;
	return !(mmu->caps & VELLUM_MMU_SURVIVES_DEACTIVATION) && !vellum_mm_cpumask(mm);
}

void flush_batch(struct vellum_mm *mm, const struct vellum_flush_batch *batch)
{
	const struct vellum_memory *m = mm->memory;

	if (no_cpu_has_translations(mm))
		return;
	mm_count(mm, VELLUM_COUNT_TLB_FLUSHES);
	if (batch->full)
		m->mmu->flush_mm(m->machine, mm);
	else
		m->mmu->flush(m->machine, mm, batch);
}

static bool batch_empty(const struct vellum_flush_batch *batch)
{
	return !batch->nr_ranges && !batch->full && !(batch->kinds & VELLUM_FLUSH_TABLES);
}

static void release_pages(struct tlb_gather *tlb)
{
	struct vellum_memory *m = tlb->mm->memory;

	for (unsigned i = 0; i < tlb->nr_pages; i++)
		folio_put_count(m, tlb->pages[i], FOLIO_ONE_MAPPING);
	for (unsigned i = 0; i < tlb->nr_tables; i++)
		folio_put(m, tlb->tables[i]);
	tlb->nr_pages = tlb->nr_tables = 0;
}

void tlb_flush(struct tlb_gather *tlb)
{
	struct vellum_flush_batch *batch = &tlb->batch;

	if (!batch_empty(batch)) {
		flush_batch(tlb->mm, batch);
		batch->kinds = 0;
		batch->nr_ranges = batch->nr_frames = 0;
		batch->full = batch->all_frames = false;
	}
	release_pages(tlb);
}

void tlb_free_page(struct tlb_gather *tlb, struct folio *folio)
{
	tlb->pages[tlb->nr_pages++] = folio;
	if (tlb->nr_pages == GATHER_PAGES)
		tlb_flush(tlb);
}

void tlb_free_table(struct tlb_gather *tlb, struct folio *folio)
{
	tlb->batch.kinds |= VELLUM_FLUSH_TABLES;
	tlb->batch.full = true;
	tlb->tables[tlb->nr_tables++] = folio;
	if (tlb->nr_tables == GATHER_PAGES)
		tlb_flush(tlb);
}

void flush_window_open(struct vellum_mm *mm)
{
	__atomic_fetch_add(&mm->tlb_flush_pending, 1, __ATOMIC_SEQ_CST);
}

static void pending_done(struct vellum_mm *mm)
{
	__atomic_fetch_sub(&mm->tlb_flush_pending, 1, __ATOMIC_SEQ_CST);
}

void tlb_gather_finish(struct tlb_gather *tlb)
{
	/* Entries that this thread skipped may have been changed by another thread that has not flushed them yet. */
	if (tlb_nested(tlb->mm))
		tlb->batch.full = true;
	tlb_flush(tlb);
	pending_done(tlb->mm);
}

void flush_window_close(struct vellum_mm *mm, struct vellum_flush_batch *batch, gva_t start, gva_t end)
{
	if (tlb_nested(mm)) {
		batch_add(batch, start, end, VELLUM_FLUSH_RIGHTS);
		batch->all_frames = true;
	}
	if (!batch_empty(batch))
		flush_batch(mm, batch);
	pending_done(mm);
}

void flush_page(struct vellum_mm *mm, gva_t addr, uint32_t kind, pfn_t pfn)
{
	struct vellum_flush_batch batch = { .size = sizeof(batch), .nr_frames = 1 };

	batch.frame[0] = pfn;
	batch_add(&batch, addr, addr + PAGE_SIZE, kind);
	flush_batch(mm, &batch);
}

void flush_cache(struct vellum_mm *mm, gva_t start, gva_t end)
{
	const struct vellum_memory *m = mm->memory;

	if (m->mmu && m->mmu->flush_cache_range)
		m->mmu->flush_cache_range(m->machine, mm, start, end);
}

bool must_clear_flush(const struct vellum_mm *mm)
{
	const struct vellum_mmu_ops *mmu = mm->memory->mmu;

	return mmu && (mmu->caps & VELLUM_MMU_CLEAR_FLUSH);
}

pte_t clear_and_flush(struct vellum_mm *mm, gva_t addr, pte_t *ptep)
{
	pte_t old = ptep_get_and_clear(ptep);

	flush_page(mm, addr, VELLUM_FLUSH_RIGHTS, pte_pfn(old));
	return old;
}

bool walks_stop(struct vellum_mm *mm)
{
	const struct vellum_mmu_ops *mmu = mm->memory->mmu;

	if (!mmu)
		return true;		/* no CPU walks the tables */
	if (!mmu->stop_walks)
		return false;
	mmu->stop_walks(mm->memory->machine, mm);
	return true;
}

void walks_resume(struct vellum_mm *mm)
{
	const struct vellum_mmu_ops *mmu = mm->memory->mmu;

	if (mmu)
		mmu->resume_walks(mm->memory->machine, mm);
}

/* --- which CPUs run in an address space --- */

EXPORT void vellum_mm_activate(struct vellum_mm *mm, unsigned cpu)
{
	const struct vellum_memory *m = mm->memory;

	__atomic_fetch_or(&mm->cpumask, 1ull << cpu, __ATOMIC_SEQ_CST);
	if (m->mmu && m->mmu->activate)
		m->mmu->activate(m->machine, cpu, mm, mm->pgd_pfn);
}

EXPORT void vellum_mm_deactivate(struct vellum_mm *mm, unsigned cpu)
{
	const struct vellum_memory *m = mm->memory;

	if (m->mmu && m->mmu->deactivate)
		m->mmu->deactivate(m->machine, cpu, mm);
	__atomic_fetch_and(&mm->cpumask, ~(1ull << cpu), __ATOMIC_SEQ_CST);
}

EXPORT uint64_t vellum_mm_cpumask(const struct vellum_mm *mm)
{
	return __atomic_load_n(&mm->cpumask, __ATOMIC_SEQ_CST);
}

EXPORT uint64_t vellum_mm_pgd(const struct vellum_mm *mm)
{
	return mm->pgd_pfn;
}

EXPORT void *vellum_mm_machine_page(const struct vellum_mm *mm)
{
	return mm->machine_page ? frame_address(mm->memory, folio_pfn(mm->memory, mm->machine_page)) : NULL;
}

EXPORT struct vellum_memory *vellum_mm_memory(const struct vellum_mm *mm)
{
	return mm->memory;
}
