/* SPDX-License-Identifier: MIT */
/*
 * mm/fault/file.c - a fault on an empty entry, or a wp marker, of a VMA that has a mapping.
 *
 * W is granted as INV-FAULT-2 (fault.c) and INV-WB-2 (mm/object/writeback.c) say: together with D, after page_mkwrite()
 * succeeded, and with the folio's lock held.
 */
#include "mm/fault/fault.h"
#include "mm/object/object.h"
#include "mm/table/huge.h"
#include "mm/track/hooks.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

/* --- read-ahead: a fault also reads neighbours of its page. Fault-around: a load also maps those that are cached --- */

#define AROUND_PAGES	16

/* The page has to be read, and others are to be read with it. */
static bool reads_around(const struct vma *vma, pgoff_t index)
{
	return (vma->mapping->flags & VELLUM_MAPPING_READ_AHEAD) && !(vma->flags & (VM_RAND_READ | VM_UFFD)) &&
	       !mapping_has(vma->mapping, index);
}

/*
 * Read the pages of the mapping around @index that are not cached and in the VMA. Holes stay holes. An error ends it, and is
 * ignored: an access to that page meets it again.
 */
static void read_around(struct vma *vma, pgoff_t index)
{
	struct vellum_mapping *mapping = vma->mapping;
	struct vellum_vmf vmf = { .size = sizeof(vmf), .mm = vma->mm };
	pgoff_t first = vma_page_index(vma, vma->start), last = vma_page_index(vma, vma->end - 1);
	pgoff_t start = index & ~(pgoff_t)(AROUND_PAGES - 1);

	last = min_u64(last, start + AROUND_PAGES - 1);
	for (vmf.pgoff = max_u64(start, first); vmf.pgoff <= last; vmf.pgoff++) {
		vmf.address = vma->start + ((vmf.pgoff - first) << PAGE_SHIFT);
		if (!mapping_has(mapping, vmf.pgoff) && !mapping_read_ahead(mapping, &vmf))
			return;
	}
}

/* Install an entry with A and D clear: no access is pending. ptl and the folio's lock are held; the entry is empty. */
static void map_neighbour(struct vma *vma, gva_t addr, pte_t *ptep, struct folio *folio)
{
	pte_t pte = pte_mkold(pte_mk(folio_pfn(vma->mm->memory, folio), vma->page_prot));

	ptl_assert_held(vma->mm->memory, ptep);
	mutex_assert_held(&folio->lock);
	if (pte_write(pte) && wp_tracked(vma, addr))
		pte = pte_wrprotect(pte);
	__atomic_fetch_add(&folio->count, FOLIO_ONE_MAPPING, __ATOMIC_RELAXED);
	prepare_exec(vma, folio);
	ptep_set(ptep, pte);
	mm_add_rss(vma->mm, 1);
}

static void try_neighbour(struct vma *vma, gva_t addr, pte_t *ptep)
{
	struct vellum_mapping *mapping = vma->mapping;
	pgoff_t index = vma_page_index(vma, addr);
	struct folio *folio = mapping_find(mapping, index);

	if (!folio)
		return;
	if (mutex_trylock(&folio->lock)) {	/* ptl is held, which comes after folio->lock: must not wait */
		if (folio->mapping == mapping && (folio_flags(folio) & PG_UPTODATE) &&
		    index < mapping_nr_pages(mapping))
			map_neighbour(vma, addr, ptep, folio);
		mutex_unlock(&folio->lock, &mapping->memory->host);
	}
	folio_put(mapping->memory, folio);
}

static void fault_around(struct vma *vma, gva_t addr, pte_t *ptep, struct mutex *ptl)
{
	const gva_t size = AROUND_PAGES * PAGE_SIZE;
	gva_t start = max_u64(addr & ~(size - 1), vma->start);
	gva_t end = min_u64((addr & ~(size - 1)) + size, vma->end);

	if (vma->flags & (VM_RAND_READ | VM_UFFD_WP | VM_UFFD_MINOR))
		return;
	mutex_lock(ptl, mm_host(vma->mm));
	for (gva_t at = start; at < end; at += PAGE_SIZE) {
		pte_t *p = ptep + ((int64_t)(at - addr) >> PAGE_SHIFT);

		if (pte_none(ptep_get(p)))
			try_neighbour(vma, at, p);
	}
	mutex_unlock(ptl, mm_host(vma->mm));
}

/* --- one fault --- */

/* The first access to a page of a private mapping is a store: map a copy at once. */
static enum vm_fault do_cow_fault(struct fault *f, struct folio *page)
{
	struct vellum_memory *m = fault_memory(f);
	struct folio *copy;
	bool installed = false;

	if (anon_vma_prepare(f->vma))
		return VM_FAULT_OOM;
	copy = folio_alloc_raw(m);
	if (!copy)
		return VM_FAULT_OOM;
	copy_racy(frame_address(m, folio_pfn(m, copy)), frame_address(m, folio_pfn(m, page)), PAGE_SIZE);
	mutex_lock(f->ptl, &m->host);
	if (fault_is_same(f)) {
		map_anon_folio(f->vma, f->addr, f->ptep, copy,
			       fault_keep_wp(f, anon_copy_entry(f, folio_pfn(m, copy))));
		installed = true;
	}
	mutex_unlock(f->ptl, &m->host);
	if (!installed)
		folio_put(m, copy);
	mm_count(f->vma->mm, VELLUM_COUNT_FAULT_FILE_COW);
	return VM_FAULT_DONE;
}

/*
 * Map the mapping's own page. If the entry is a wp marker, a store is handled as a load: the new entry is
 * write-protected, so the store faults again and is reported to the userfaultfd.
 */
static enum vm_fault map_file_page(struct fault *f, struct folio *page)
{
	struct vma *vma = f->vma;
	struct vellum_memory *m = fault_memory(f);
	bool write = (f->flags & FAULT_WRITE) && !(f->flags & FAULT_POPULATE) && pte_none(f->orig);
	pfn_t pfn = folio_pfn(m, page);
	pte_t pte = fault_keep_wp(f, pte_mk(pfn, vma->page_prot));
	uint32_t seq = __atomic_load_n(&vma->mapping->wp_seq, __ATOMIC_ACQUIRE);

	if (write) {
		enum vm_fault result = notify_mkwrite(vma, f->addr, page, pfn);

		if (result != VM_FAULT_DONE)
			return result;
		pte = maybe_mkwrite(vma, pte_mkdirty(pte));
	}
	mutex_lock(f->ptl, &m->host);
	if (write && seq != __atomic_load_n(&vma->mapping->wp_seq, __ATOMIC_ACQUIRE)) {
		mutex_unlock(f->ptl, &m->host);
		return VM_FAULT_AGAIN;
	}
	if (fault_is_same(f)) {
		if (write)
			track_grant(vma, f->addr);
		else if (pte_write(pte) && wp_tracked(vma, f->addr))
			pte = pte_wrprotect(pte);
		__atomic_fetch_add(&page->count, FOLIO_ONE_MAPPING, __ATOMIC_RELAXED);
		prepare_exec(vma, page);
		ptep_set(f->ptep, pte);
		mm_add_rss(vma->mm, 1);
		if (write)
			folio_mark_dirty(page);
	}
	mutex_unlock(f->ptl, &m->host);
	mm_count(vma->mm, write ? VELLUM_COUNT_FAULT_SHARED : VELLUM_COUNT_FAULT_FILE_READ);
	return VM_FAULT_DONE;
}

/* Map a raw frame. page_prot has no W if a store has to call pfn_mkwrite() first. */
static enum vm_fault install_pfn(struct fault *f, pfn_t pfn, uint32_t seq)
{
	struct vma *vma = f->vma;
	const struct vellum_mapping *mapping = vma->mapping;
	struct vellum_memory *m = fault_memory(f);
	pte_t pte = frame_pte(vma, pfn);

	mutex_lock(f->ptl, &m->host);
	if (__atomic_load_n(&mapping->unmap_seq, __ATOMIC_SEQ_CST) != seq) {
		mutex_unlock(f->ptl, &m->host);	/* the driver may have unmapped the frame to reuse it */
		return VM_FAULT_AGAIN;
	}
	if (fault_is_same(f)) {
		if (pte_write(pte) && wp_tracked(vma, f->addr))
			pte = pte_wrprotect(pte);
		ptep_set(f->ptep, fault_keep_wp(f, pte));
		mm_add_rss(vma->mm, 1);
	}
	mutex_unlock(f->ptl, &m->host);
	mm_count(vma->mm, VELLUM_COUNT_FAULT_FILE_READ);
	return VM_FAULT_DONE;
}

/* Ask the driver for the raw frame, and map it. FALLBACK: the page is the mapping's own. */
static enum vm_fault map_pfn(struct fault *f, struct vellum_vmf *vmf)
{
	const struct vellum_mapping *mapping = f->vma->mapping;
	uint32_t seq = __atomic_load_n(&mapping->unmap_seq, __ATOMIC_SEQ_CST);
	bool mixed = mapping->flags & VELLUM_MAPPING_MIXED;
	int code = (mixed ? mapping->ops->pfn_fault : mapping->ops->fault)(mapping->ctx, vmf);

	if (code == VELLUM_VMF_OK)
		return install_pfn(f, vmf->pfn, seq);
	if (code == VELLUM_VMF_FALLBACK && mixed)
		return VM_FAULT_FALLBACK;
	return vm_fault_of_pfn_hook(code);
}

/* The VMA is registered with a userfaultfd for this kind of fault, missing or minor. *@reason: UFFD_REASON_*. */
static bool should_report(const struct fault *f, pgoff_t index, uint32_t *reason)
{
	struct vellum_mapping *mapping = f->vma->mapping;

	if (!(f->vma->flags & (VM_UFFD_MISSING | VM_UFFD_MINOR)) || index >= mapping_nr_pages(mapping))
		return false;
	if (mapping_has_page(mapping, index)) {
		*reason = UFFD_REASON_MINOR;
		return f->vma->flags & VM_UFFD_MINOR;
	}
	*reason = UFFD_REASON_MISSING;
	return f->vma->flags & VM_UFFD_MISSING;
}

static enum vm_fault do_cached_page(struct fault *f, struct vellum_vmf *vmf)
{
	struct vellum_memory *m = fault_memory(f);
	bool around = reads_around(f->vma, vmf->pgoff);
	enum vm_fault result;
	struct folio *page;
	uint32_t reason;

	if (should_report(f, vmf->pgoff, &reason))
		return uffd_fault(f, reason);
	/* Since should_report() looked, the page may have been removed. Then it is to be reported. */
	result = mapping_get_folio(f->vma->mapping, vmf, !(f->vma->flags & VM_UFFD_MISSING), &page);
	if (result)
		return result;
	if ((f->flags & FAULT_WRITE) && !(f->vma->flags & VM_MAYSHARE))
		result = do_cow_fault(f, page);
	else
		result = map_file_page(f, page);
	mutex_unlock(&page->lock, &m->host);
	folio_put(m, page);
	if (around && (result == VM_FAULT_DONE || result == VM_FAULT_AGAIN))
		read_around(f->vma, vmf->pgoff);
	if (result == VM_FAULT_DONE && !(f->flags & FAULT_WRITE))
		fault_around(f->vma, f->addr, f->ptep, f->ptl);
	return result;
}

enum vm_fault do_file_page(struct fault *f)
{
	struct vma *vma = f->vma;
	struct vellum_vmf vmf = {
		.size = sizeof(vmf),
		.write = (f->flags & FAULT_WRITE) != 0,
		.mm = vma->mm,
		.address = f->addr,
		.pgoff = vma_page_index(vma, f->addr),
	};
	enum vm_fault result;

	if (vma->mapping->flags & (VELLUM_MAPPING_PFN | VELLUM_MAPPING_MIXED)) {
		if (vmf.pgoff >= mapping_nr_pages(vma->mapping))
			return VM_FAULT_SIGBUS;
		result = map_pfn(f, &vmf);
		if (result != VM_FAULT_FALLBACK)
			return result;
	}
	return do_cached_page(f, &vmf);
}
