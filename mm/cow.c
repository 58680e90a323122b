/* SPDX-License-Identifier: MIT */
/*
 * mm/cow.c - a store to a present, read-only entry: reuse, copy, or tell the owner of the page.
 *
 * INV-COW-1: the old page loses its mapping only after no CPU can reach it through the old entry.
 */
#include "mm/mm.h"

/* The entry's folio; NULL: the zero page or a raw frame. */
static struct folio *normal_folio(const struct vellum_memory *m, pte_t pte)
{
	return pte_special(pte) ? NULL : pfn_folio(m, pte_pfn(pte));
}

static pte_t grant_write(pte_t pte)
{
	return pte_mkwrite(pte_mkdirty(pte_mkyoung(pte)));
}

/* ptl held. The CPU may set A meanwhile, nothing else can change. */
static void make_writable(struct vma *vma, gva_t addr, pte_t *ptep)
{
	track_grant(vma, addr);
	ptep_update(ptep, grant_write);
}

/* An anonymous page that nobody else can reach. */
static bool can_reuse(struct folio *folio)
{
	if (!(folio_flags(folio) & PG_ANON))
		return false;
	if (folio_flags(folio) & PG_EXCLUSIVE)
		return true;
	return __atomic_load_n(&folio->count, __ATOMIC_ACQUIRE) == FOLIO_MAPPED;
}

static void copy_contents(struct vellum_memory *m, struct folio *to, pfn_t from)
{
	void *dst = frame_address(m, folio_pfn(m, to));
	void *src = from == m->zero_pfn ? NULL : pfn_host(m, from);

	sched_point(SCHED_MEMORY, src);
	if (src)
		copy_racy(dst, src, PAGE_SIZE);
	else
		memset(dst, 0, PAGE_SIZE);
}

/* Replace the entry by one for @copy. ptl held. */
static void switch_to_copy(struct vma *vma, gva_t addr, pte_t *ptep, pte_t old, struct folio *copy,
			   unsigned flags)
{
	/* No CPU may have old and new frame at once: clear, flush, then set. */
	ptep_get_and_clear(ptep);
	flush_page(vma->mm, addr, VELLUM_FLUSH_UNMAP, pte_pfn(old));
	/* What was stored before is in the copy: only what was clean stays clean. */
	map_anon_folio(vma, addr, ptep, copy, pte_dirty(old) ? 0 : flags);
	mm_add_rss(vma->mm, -1);	/* one entry replaced another */
}

static int copy_page(struct vma *vma, gva_t addr, pte_t *ptep, pte_t old, struct mutex *ptl, unsigned flags)
{
	struct vellum_memory *m = vma->mm->memory;
	struct folio *page = normal_folio(m, old), *copy;
	bool same;

	if (page)
		folio_get(page);
	mutex_unlock(ptl, &m->host);
	copy = fault_anon_vma(vma) ? NULL : folio_alloc_raw(m);
	if (copy) {
		copy_contents(m, copy, pte_pfn(old));
		notify_start(vma->mm, VELLUM_NOTIFY_CLEAR, addr, addr + PAGE_SIZE);
		mutex_lock(ptl, &m->host);
		same = pte_mkyoung(ptep_get(ptep)).val == pte_mkyoung(old).val;
		if (same)
			switch_to_copy(vma, addr, ptep, old, copy, flags);
		mutex_unlock(ptl, &m->host);
		notify_finish(vma->mm, VELLUM_NOTIFY_CLEAR, addr, addr + PAGE_SIZE);
		if (!same)
			folio_put(m, copy);
		else if (page)
			folio_drop(m, page, FOLIO_MAPPED);
		mm_count(vma->mm, VELLUM_COUNT_FAULT_COW);
	}
	if (page)
		folio_put(m, page);
	if (!copy)
		return VELLUM_FAULT_OOM;
	return same ? VELLUM_FAULT_OK : FAULT_AGAIN;
}

/* Shared mapping, and somebody wants to know before the page becomes writable. */
static int notify_then_write(struct vma *vma, gva_t addr, pte_t *ptep, pte_t old, struct mutex *ptl)
{
	struct vellum_memory *m = vma->mm->memory;
	struct folio *page = normal_folio(m, old);
	uint32_t seq = __atomic_load_n(&vma->mapping->wp_seq, __ATOMIC_ACQUIRE);
	int result = FAULT_AGAIN;

	if (page)
		folio_get(page);
	mutex_unlock(ptl, &m->host);
	if (page)
		mutex_lock(&page->lock, &m->host);
	if (!page || page->mapping == vma->mapping)
		result = notify_mkwrite(vma, addr, page, pte_pfn(old));
	if (!result) {
		mutex_lock(ptl, &m->host);
		if (pte_mkyoung(ptep_get(ptep)).val == pte_mkyoung(old).val &&
		    seq == __atomic_load_n(&vma->mapping->wp_seq, __ATOMIC_ACQUIRE))
			make_writable(vma, addr, ptep);
		else
			result = FAULT_AGAIN;
		mutex_unlock(ptl, &m->host);
		if (!result && page)
			folio_mark_dirty(page);
	}
	if (page) {
		mutex_unlock(&page->lock, &m->host);
		folio_put(m, page);
	}
	return result;
}

static int wp_shared(struct vma *vma, gva_t addr, pte_t *ptep, pte_t pte, struct mutex *ptl)
{
	struct folio *page = normal_folio(vma->mm->memory, pte);
	int result = VELLUM_FAULT_OK;

	mm_count(vma->mm, VELLUM_COUNT_FAULT_NOTIFY);
	if (vma_needs_dirty_tracking(vma))
		return notify_then_write(vma, addr, ptep, pte, ptl);
	make_writable(vma, addr, ptep);
	if (page)
		folio_mark_dirty(page);
	mutex_unlock(ptl, mm_host(vma->mm));
	return result;
}

int do_wp_page(struct vma *vma, gva_t addr, pte_t *ptep, pte_t pte, struct mutex *ptl, unsigned flags)
{
	struct folio *page = normal_folio(vma->mm->memory, pte);

	if (vma->flags & (VM_SHARED | VM_MAYSHARE))
		return wp_shared(vma, addr, ptep, pte, ptl);
	if (page && can_reuse(page)) {
		if (flags & FAULT_POPULATE) {	/* it is our own already; the store will say so */
			mutex_unlock(ptl, mm_host(vma->mm));
			return VELLUM_FAULT_OK;
		}
		folio_set(page, PG_EXCLUSIVE);
		make_writable(vma, addr, ptep);
		mutex_unlock(ptl, mm_host(vma->mm));
		mm_count(vma->mm, VELLUM_COUNT_FAULT_REUSE);
		return VELLUM_FAULT_OK;
	}
	return copy_page(vma, addr, ptep, pte, ptl, flags);
}
