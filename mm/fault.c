/* SPDX-License-Identifier: MIT */
/*
 * mm/fault.c - page faults: what an access to a missing or too weak entry deserves.
 *
 * Runs with the mmap lock held for reading. An entry is looked at without its lock, decided on,
 * and looked at again under the lock before it is changed; if it is another by then, the fault
 * starts over (FAULT_AGAIN).
 *
 * INV-FAULT-1: an anonymous entry with W maps a folio that is PG_EXCLUSIVE.
 * INV-FAULT-2: W is granted to a write-notified mapping together with D, after mkwrite agreed.
 */
#include "mm/mm.h"

bool vma_permits(const struct vma *vma, uint32_t error)
{
	if (error & VELLUM_FAULT_WRITE)
		return vma->flags & VM_WRITE;
	if (error & VELLUM_FAULT_INSTR)
		return vma->flags & VM_EXEC;
	/* x86 has no write-only and no execute-only rights: any right lets loads through. */
	return vma->flags & VM_ACCESS;
}

int fault_anon_vma(struct vma *vma)
{
	const struct host *host = mm_host(vma->mm);
	struct anon_vma *fresh, *none = NULL;

	if (likely(vma_anon(vma)))
		return 0;
	fresh = anon_vma_create(host);
	if (!fresh)
		return -ENOMEM;
	/*
	 * Linked before it is published, under its own lock, so that no page can be charged to an
	 * anon_vma whose tree lacks this VMA.
	 */
	write_lock(&fresh->lock, host);
	if (__atomic_compare_exchange_n(&vma->anon_vma, &none, fresh, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE)) {
		interval_insert(&fresh->vmas, &vma->anon_node);
		write_unlock(&fresh->lock, host);
	} else {
		write_unlock(&fresh->lock, host);
		anon_vma_put(fresh, host);	/* another fault was first */
	}
	return 0;
}

void prepare_exec(struct vma *vma, struct folio *folio)
{
	const struct vellum_memory *m = vma->mm->memory;

	if (!(vma->flags & VM_EXEC))
		return;
	folio_set(folio, PG_EXECUTED);
	if ((folio_flags(folio) & PG_ICACHE_STALE) && m->mmu && m->mmu->sync_icache) {
		m->mmu->sync_icache(m->machine, folio_pfn(m, folio));
		folio_clear(folio, PG_ICACHE_STALE);	/* after: who sees it clear may run at once */
	}
}

/* The entry for a new own page. A populated page has not been written: clean, and under a wp
 * tracker not writable yet, so that the first store is seen. */
static pte_t anon_entry(struct vma *vma, gva_t addr, pfn_t pfn, unsigned flags)
{
	pte_t pte = pte_mk(pfn, vma->page_prot);

	if (!(vma->flags & VM_WRITE))
		return pte;
	if (!(flags & FAULT_POPULATE))
		return pte_mkwrite(pte_mkdirty(pte));
	return wp_tracked(vma, addr) ? pte : pte_mkwrite(pte);
}

void map_anon_folio(struct vma *vma, gva_t addr, pte_t *ptep, struct folio *folio, unsigned flags)
{
	pte_t pte = anon_entry(vma, addr, folio_pfn(vma->mm->memory, folio), flags);

	folio->anon_vma = vma_anon(vma);
	anon_vma_get(folio->anon_vma);
	folio->index = vma_page_index(vma, addr);
	folio_set(folio, PG_ANON | PG_EXCLUSIVE | PG_UPTODATE | PG_DIRTY);
	__atomic_fetch_add(&folio->count, FOLIO_MAP, __ATOMIC_RELAXED);	/* ref: the allocation's */
	prepare_exec(vma, folio);
	if (pte_write(pte))
		track_grant(vma, addr);
	ptep_set(ptep, pte);
	mm_add_rss(vma->mm, 1);
}

static int do_anonymous_page(struct vma *vma, gva_t addr, pte_t *ptep, struct mutex *ptl,
			     unsigned flags)
{
	struct vellum_memory *m = vma->mm->memory;
	struct folio *folio = NULL;
	bool installed = false;

	if (flags & FAULT_WRITE) {
		if (fault_anon_vma(vma))
			return VELLUM_FAULT_OOM;
		folio = folio_alloc(m, 0);
		if (!folio)
			return VELLUM_FAULT_OOM;
	}
	mutex_lock(ptl, &m->host);
	if (pte_none(ptep_get(ptep))) {
		installed = true;
		if (folio) {
			map_anon_folio(vma, addr, ptep, folio, flags);
		} else {
			ptep_set(ptep, pte_mkspecial(pte_mk(m->zero_pfn, vma->page_prot)));
			mm_add_rss(vma->mm, 1);
		}
	}
	mutex_unlock(ptl, &m->host);
	if (folio && !installed)
		folio_put(m, folio);
	mm_count(vma->mm, folio ? VELLUM_COUNT_FAULT_ANON : VELLUM_COUNT_FAULT_READ_ZERO);
	return VELLUM_FAULT_OK;
}

/* First store to a page of a private mapping: the process gets its own copy at once. */
static int do_cow_fault(struct vma *vma, gva_t addr, pte_t *ptep, struct mutex *ptl,
			struct folio *page, unsigned flags)
{
	struct vellum_memory *m = vma->mm->memory;
	struct folio *copy;
	bool installed = false;

	if (fault_anon_vma(vma))
		return VELLUM_FAULT_OOM;
	copy = folio_alloc_raw(m);
	if (!copy)
		return VELLUM_FAULT_OOM;
	copy_racy(frame_address(m, folio_pfn(m, copy)), frame_address(m, folio_pfn(m, page)), PAGE_SIZE);
	mutex_lock(ptl, &m->host);
	if (pte_none(ptep_get(ptep))) {
		map_anon_folio(vma, addr, ptep, copy, flags);
		installed = true;
	}
	mutex_unlock(ptl, &m->host);
	if (!installed)
		folio_put(m, copy);
	mm_count(vma->mm, VELLUM_COUNT_FAULT_FILE_COW);
	return VELLUM_FAULT_OK;
}

/* Map a page of the object itself. */
static int map_file_page(struct vma *vma, gva_t addr, pte_t *ptep, struct mutex *ptl,
			 struct folio *page, unsigned flags)
{
	struct vellum_memory *m = vma->mm->memory;
	bool write = (flags & FAULT_WRITE) && !(flags & FAULT_POPULATE);
	pfn_t pfn = folio_pfn(m, page);
	pte_t pte = pte_mk(pfn, vma->page_prot);
	uint32_t seq = __atomic_load_n(&vma->mapping->wp_seq, __ATOMIC_ACQUIRE);

	if (write) {
		int result = notify_mkwrite(vma, addr, page, pfn);

		if (result)
			return result;
		pte = pte_mkwrite(pte_mkdirty(pte));
	}
	mutex_lock(ptl, &m->host);
	if (write && seq != __atomic_load_n(&vma->mapping->wp_seq, __ATOMIC_ACQUIRE)) {
		mutex_unlock(ptl, &m->host);
		return FAULT_AGAIN;
	}
	if (pte_none(ptep_get(ptep))) {
		if (write)
			track_grant(vma, addr);
		else if (pte_write(pte) && wp_tracked(vma, addr))
			pte = pte_wrprotect(pte);
		__atomic_fetch_add(&page->count, FOLIO_MAPPED, __ATOMIC_RELAXED);
		prepare_exec(vma, page);
		ptep_set(ptep, pte);
		mm_add_rss(vma->mm, 1);
		if (write)
			folio_mark_dirty(page);	/* entry first, folio second: under the folio's lock */
	}
	mutex_unlock(ptl, &m->host);
	mm_count(vma->mm, write ? VELLUM_COUNT_FAULT_SHARED : VELLUM_COUNT_FAULT_FILE_READ);
	return VELLUM_FAULT_OK;
}

/* A frame without a folio: read-only at first; the store's fault then asks pfn_mkwrite. */
static int map_pfn(struct vma *vma, gva_t addr, pte_t *ptep, struct mutex *ptl, struct vellum_vmf *vmf)
{
	struct vellum_memory *m = vma->mm->memory;
	const struct vellum_mapping *mapping = vma->mapping;
	uint32_t seq = __atomic_load_n(&mapping->unmap_seq, __ATOMIC_SEQ_CST);
	int code = mapping->ops->fault(mapping->ctx, vmf);
	pte_t pte;

	if (code == VELLUM_VMF_NOPAGE)
		return FAULT_NOPAGE;
	if (code != VELLUM_VMF_OK)
		return code == VELLUM_VMF_OOM ? VELLUM_FAULT_OOM : VELLUM_FAULT_SIGBUS;
	pte = pte_mkspecial(pte_mk(vmf->pfn, vma->page_prot));
	mutex_lock(ptl, &m->host);
	if (__atomic_load_n(&mapping->unmap_seq, __ATOMIC_SEQ_CST) != seq) {
		mutex_unlock(ptl, &m->host);	/* the driver may have taken the frame back meanwhile */
		return FAULT_AGAIN;
	}
	if (pte_none(ptep_get(ptep))) {
		if (pte_write(pte) && wp_tracked(vma, addr))
			pte = pte_wrprotect(pte);
		ptep_set(ptep, pte);
		mm_add_rss(vma->mm, 1);
	}
	mutex_unlock(ptl, &m->host);
	mm_count(vma->mm, VELLUM_COUNT_FAULT_FILE_READ);
	return VELLUM_FAULT_OK;
}

static int do_file_page(struct vma *vma, gva_t addr, pte_t *ptep, struct mutex *ptl, unsigned flags)
{
	struct vellum_memory *m = vma->mm->memory;
	struct vellum_vmf vmf = {
		.size = sizeof(vmf),
		.write = (flags & FAULT_WRITE) != 0,
		.mm = vma->mm,
		.address = addr,
		.pgoff = vma_page_index(vma, addr),
	};
	struct folio *page;
	int result;

	if (vma->flags & VM_PFNMAP) {
		if (vmf.pgoff >= mapping_nr_pages(vma->mapping))
			return VELLUM_FAULT_SIGBUS;
		return map_pfn(vma, addr, ptep, ptl, &vmf);
	}
	result = mapping_get_folio(vma->mapping, &vmf, &page);
	if (result)
		return result;
	if ((flags & FAULT_WRITE) && !(vma->flags & VM_MAYSHARE))
		result = do_cow_fault(vma, addr, ptep, ptl, page, flags);
	else
		result = map_file_page(vma, addr, ptep, ptl, page, flags);
	mutex_unlock(&page->lock, &m->host);
	folio_put(m, page);
	if (result == VELLUM_FAULT_OK && !(flags & FAULT_WRITE))
		fault_around(vma, addr, ptep, ptl);
	return result;
}

/* The entry allows the access by now: another CPU's fault, or a stale translation. */
static void spurious(struct vma *vma, pte_t *ptep, unsigned flags)
{
	pte_t old = ptep_get(ptep), new;

	do {
		if (!pte_present(old))
			return;
		new = pte_mkyoung(old);
		if ((flags & FAULT_WRITE) && pte_write(old) && !(flags & FAULT_POPULATE))
			new = pte_mkdirty(new);
	} while (new.val != old.val && !ptep_cmpxchg(ptep, &old, new));
	mm_count(vma->mm, VELLUM_COUNT_FAULT_SPURIOUS);
}

static int handle_pte_fault(struct vma *vma, gva_t addr, unsigned flags)
{
	const struct host *host = mm_host(vma->mm);
	struct mutex *ptl;
	pte_t *ptep = pte_alloc(vma->mm, addr, &ptl);
	pte_t pte;

	if (!ptep)
		return VELLUM_FAULT_OOM;
	pte = ptep_get(ptep);
	if (pte_none(pte))
		return vma_is_anonymous(vma) ? do_anonymous_page(vma, addr, ptep, ptl, flags) :
					       do_file_page(vma, addr, ptep, ptl, flags);
	if (!pte_present(pte))
		return VELLUM_FAULT_SIGBUS;
	mutex_lock(ptl, host);
	pte = ptep_get(ptep);
	if (!pte_present(pte)) {
		mutex_unlock(ptl, host);
		return FAULT_AGAIN;
	}
	if ((flags & FAULT_WRITE) && !pte_write(pte))
		return do_wp_page(vma, addr, ptep, pte, ptl, flags);
	spurious(vma, ptep, flags);
	mutex_unlock(ptl, host);
	return VELLUM_FAULT_OK;
}

/* A hook that answered NOPAGE has not granted the access: the CPU comes again, without our locks. */
enum vellum_fault_result handle_mm_fault(struct vma *vma, gva_t addr, unsigned flags)
{
	int result;

	if ((flags & FAULT_WRITE) && !(flags & FAULT_POPULATE))
		__atomic_fetch_add(&vma->write_faults, 1, __ATOMIC_RELAXED);
	do {
		result = handle_pte_fault(vma, addr & PAGE_MASK, flags);
	} while (result == FAULT_AGAIN);
	return result == FAULT_NOPAGE ? VELLUM_FAULT_OK : (enum vellum_fault_result)result;
}

/* Once, with the mmap lock held for reading. *@grow: a stack below that has to grow first. */
static enum vellum_fault_result fault_locked(struct vellum_mm *mm, gva_t addr, uint32_t error, bool *grow)
{
	enum vellum_fault_result result;
	struct vma *vma;

	read_lock(&mm->mmap_lock, mm_host(mm));
	vma = find_vma(mm, addr);
	*grow = vma && vma->start > addr && (vma->flags & VM_GROWSDOWN);
	if (!vma || vma->start > addr)
		result = VELLUM_FAULT_SIGSEGV_MAPERR;
	else if (!vma_permits(vma, error) || (error & VELLUM_FAULT_SHSTK))
		result = VELLUM_FAULT_SIGSEGV_ACCERR;
	else
		result = handle_mm_fault(vma, addr, error & VELLUM_FAULT_WRITE ? FAULT_WRITE : 0);
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return result;
}

EXPORT enum vellum_fault_result vellum_handle_fault(struct vellum_mm *mm, uint64_t addr,
						    uint32_t error)
{
	enum vellum_fault_result result;
	unsigned tries = 0;
	bool again, grow;

	do {
		result = fault_locked(mm, addr, error, &grow);
		again = (grow && !grow_stack(mm, addr)) ||
			(result == VELLUM_FAULT_OOM && reclaim_for_retry(mm->memory, &tries));
	} while (again);
	if (result != VELLUM_FAULT_OK)
		mm_count(mm, VELLUM_COUNT_FAULT_ERROR);
	return result;
}
