/* SPDX-License-Identifier: MIT */
/*
 * mm/fault/cow.c - a store to a present, read-only entry: reuse the page, copy it, or notify its backing. Also a pin
 * for reading that needs an exclusive page (FAULT_UNSHARE).
 *
 * INV-COW-1: the old page's mapping is dropped only after the old entry is cleared and flushed.
 */
#include "mm/fault/fault.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"
#include "mm/table/pgtable.h"
#include "mm/table/tlb.h"
#include "mm/track/hooks.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

/* A wp bit that is still set here is left over from an ended userfaultfd registration: clear it. */
static pte_t grant_write(pte_t pte)
{
	return pte_mkwrite(pte_mkdirty(pte_mkyoung(pte_clear_uffd_wp(pte))));
}

static pte_t grant_write_shstk(pte_t pte)
{
	return pte_mkwrite_shstk(pte_mkdirty(pte_mkyoung(pte)));
}

/* For a forced store: the VMA's rights have no W, but the library will store to the page. */
static pte_t grant_dirt(pte_t pte)
{
	return pte_mkdirty(pte_mkyoung(pte));
}

/* ptl held: only a CPU can change the entry meanwhile, by setting A. */
static void make_writable(const struct fault *f) HOLDS(f->ptl)
{
	if (!(f->vma->flags & VM_WRITE)) {
		track_change(f->vma, f->addr);
		ptep_update(f->ptep, grant_dirt);
		return;
	}
	track_grant(f->vma, f->addr);
	ptep_update(f->ptep, f->vma->flags & VM_SHADOW_STACK ? grant_write_shstk : grant_write);
}

/* True if the page is anonymous and this entry's mapping is its only reference, or it is already exclusive. */
static bool can_reuse(struct vellum_memory *m, struct folio *folio)
{
	if (!(folio_flags(folio) & PG_ANON))
		return false;
	if (folio_flags(folio) & PG_EXCLUSIVE)
		return true;
	if (folio_flags(folio) & PG_SWAPCACHE)
		swap_cache_trydrop(m, folio);
	return __atomic_load_n(&folio->count, __ATOMIC_ACQUIRE) == FOLIO_ONE_MAPPING;
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

/* The entry for the copy. The copy contains earlier stores, so its entry is clean only if the old one was. */
static pte_t entry_of_copy(const struct fault *f, pfn_t pfn)
{
	struct fault copy_fault = *f;
	pte_t pte;

	if (!(f->flags & FAULT_UNSHARE)) {
		if (pte_dirty(f->orig))
			copy_fault.flags &= ~(unsigned)FAULT_POPULATE;
		return anon_copy_entry(&copy_fault, pfn);
	}
	pte = pte_mkyoung(pte_mk(pfn, f->vma->page_prot));
	if (pte_soft_dirty(f->orig))
		pte = pte_mksoft_dirty(pte);
	return pte_uffd_wp(f->orig) ? pte_mkuffd_wp(pte) : pte;
}

/* Replace the entry by one for @copy. ptl held. */
static void switch_to_copy(const struct fault *f, struct folio *copy) HOLDS(f->ptl)
{
	struct vma *vma = f->vma;

	/* Clear, flush, then set: the CPUs must not use the old and the new frame at the same time. */
	ptep_get_and_clear(f->ptep);
	flush_page(vma->mm, f->addr, VELLUM_FLUSH_UNMAP, pte_pfn(f->orig));
	if ((f->flags & FAULT_UNSHARE) && pte_dirty(f->orig))
		track_change(vma, f->addr);	/* the new entry is clean, so the old D is reported here */
	map_anon_folio(vma, f->addr, f->ptep, copy, entry_of_copy(f, folio_pfn(fault_memory(f), copy)));
	mm_add_rss(vma->mm, -1);	/* map_anon_folio() counted the new entry, but it replaced one */
}

/* Map a copy of the page. Called with ptl held. */
static enum vm_fault copy_page_and_unlock(struct fault *f) RELEASES(f->ptl)
{
	struct vellum_memory *m = fault_memory(f);
	struct vellum_mm *mm = f->vma->mm;
	struct folio *page = normal_folio(m, f->orig), *copy;
	bool same;

	if (page)
		folio_get(page);
	mutex_unlock(f->ptl, &m->host);
	copy = anon_vma_prepare(f->vma) ? NULL : folio_alloc_raw(m);
	if (copy) {
		if (unlikely(m->exposed) && pte_special(f->orig))
			check_raw_entry(m, pte_pfn(f->orig), f->orig.val);
		copy_contents(m, copy, pte_pfn(f->orig));
		notify_start(mm, VELLUM_NOTIFY_CLEAR, f->addr, f->addr + PAGE_SIZE);
		mutex_lock(f->ptl, &m->host);
		same = fault_is_same(f);
		if (same)
			switch_to_copy(f, copy);
		mutex_unlock(f->ptl, &m->host);
		notify_finish(mm, VELLUM_NOTIFY_CLEAR, f->addr, f->addr + PAGE_SIZE);
		if (!same)
			folio_put(m, copy);
		else if (page)
			folio_put_count(m, page, FOLIO_ONE_MAPPING);
		mm_count(mm, VELLUM_COUNT_FAULT_COW);
	}
	if (page)
		folio_put(m, page);
	if (!copy)
		return VM_FAULT_OOM;
	return same ? VM_FAULT_DONE : VM_FAULT_AGAIN;
}

/* Notify the backing, then set W if neither the entry nor the mapping's protection changed. The folio is locked. */
static enum vm_fault notify_then_write(struct fault *f, struct folio *page, uint32_t seq) EXCLUDES(f->ptl)
{
	const struct host *host = mm_host(f->vma->mm);
	enum vm_fault result = notify_mkwrite(f->vma, f->addr, page, pte_pfn(f->orig));

	if (result != VM_FAULT_DONE)
		return result;
	mutex_lock(f->ptl, host);
	if (fault_is_same(f) && seq == __atomic_load_n(&f->vma->mapping->wp_seq, __ATOMIC_ACQUIRE))
		make_writable(f);
	else
		result = VM_FAULT_AGAIN;
	mutex_unlock(f->ptl, host);
	return result;
}

/* A shared mapping whose backing is notified before a page becomes writable. Called with ptl held. */
static enum vm_fault notify_then_write_and_unlock(struct fault *f) RELEASES(f->ptl)
{
	struct vellum_memory *m = fault_memory(f);
	struct folio *page = normal_folio(m, f->orig);
	uint32_t seq = __atomic_load_n(&f->vma->mapping->wp_seq, __ATOMIC_ACQUIRE);
	enum vm_fault result = VM_FAULT_AGAIN;

	if (!page) {
		mutex_unlock(f->ptl, &m->host);
		return notify_then_write(f, NULL, seq);
	}
	folio_get(page);
	mutex_unlock(f->ptl, &m->host);
	mutex_lock(&page->lock, &m->host);
	if (page->mapping == f->vma->mapping)
		result = notify_then_write(f, page, seq);
	if (result == VM_FAULT_DONE)
		folio_mark_dirty(page);
	mutex_unlock(&page->lock, &m->host);
	folio_put(m, page);
	return result;
}

static enum vm_fault wp_shared_and_unlock(struct fault *f) RELEASES(f->ptl)
{
	struct folio *page = normal_folio(fault_memory(f), f->orig);

	mm_count(f->vma->mm, VELLUM_COUNT_FAULT_NOTIFY);
	if (vma_needs_dirty_tracking(f->vma))
		return notify_then_write_and_unlock(f);
	make_writable(f);
	if (page)
		folio_mark_dirty(page);
	mutex_unlock(f->ptl, mm_host(f->vma->mm));
	return VM_FAULT_DONE;
}

/* A page that can_reuse() allows. Called with ptl held. */
static enum vm_fault reuse_page_and_unlock(struct fault *f, struct folio *page) RELEASES(f->ptl)
{
	/* Populating and unsharing store nothing, so they grant no W: a later store faults and gets it. */
	bool store = (f->flags & FAULT_WRITE) && !(f->flags & FAULT_POPULATE);

	if (store || (f->flags & FAULT_UNSHARE))
		folio_set(page, PG_EXCLUSIVE);
	if (store)
		make_writable(f);
	mutex_unlock(f->ptl, mm_host(f->vma->mm));
	if (store)
		mm_count(f->vma->mm, VELLUM_COUNT_FAULT_REUSE);
	return VM_FAULT_DONE;
}

/* A store through an entry that an asynchronous userfaultfd protects: no message, only the bit. ptl held. */
static void unprotect_async(struct fault *f) HOLDS(f->ptl)
{
	ptep_update(f->ptep, pte_clear_uffd_wp);	/* no flush: W is unchanged */
	f->orig = ptep_get(f->ptep);
}

enum vm_fault do_wp_page_and_unlock(struct fault *f)
{
	struct vellum_memory *m = fault_memory(f);
	struct folio *page = normal_folio(m, f->orig);
	struct vma *vma = f->vma;

	if (vma_uffd_wp(vma) && (f->flags & FAULT_WRITE)) {
		if (pte_uffd_wp(f->orig) && !vma_uffd_wp_async(vma)) {
			mutex_unlock(f->ptl, &m->host);
			return uffd_fault(f, UFFD_REASON_WP);
		}
		if (pte_uffd_wp(f->orig))
			unprotect_async(f);
		/* The thread that protected the page may not have flushed yet: a CPU could store during the copy. */
		if (flush_is_pending(vma->mm))
			flush_page(vma->mm, f->addr, VELLUM_FLUSH_RIGHTS, pte_pfn(f->orig));
	}
	if (vma->flags & (VM_SHARED | VM_MAYSHARE))
		return wp_shared_and_unlock(f);
	if (page && can_reuse(m, page))
		return reuse_page_and_unlock(f, page);
	return copy_page_and_unlock(f);
}
