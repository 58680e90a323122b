/* SPDX-License-Identifier: MIT */
/*
 * mm/fault/fault_around.c - a load brings its page's cached neighbours along: programs that are started
 * take one fault for 16 pages of their text.
 */
#include "mm/mm.h"

#define AROUND_PAGES	16

/* ptl and the folio's lock are held; the entry is empty. Old and clean: nobody has accessed it. */
static void map_neighbour(struct vma *vma, gva_t addr, pte_t *ptep, struct folio *folio)
{
	pte_t pte = pte_mkold(pte_mk(folio_pfn(vma->mm->memory, folio), vma->page_prot));

	if (pte_write(pte) && wp_tracked(vma, addr))
		pte = pte_wrprotect(pte);
	__atomic_fetch_add(&folio->count, FOLIO_MAPPED, __ATOMIC_RELAXED);
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
	if (mutex_trylock(&folio->lock)) {	/* a page-table lock is held: no waiting for it */
		if (folio->mapping == mapping && (folio_flags(folio) & PG_UPTODATE) &&
		    index < mapping_nr_pages(mapping))
			map_neighbour(vma, addr, ptep, folio);
		mutex_unlock(&folio->lock, &mapping->memory->host);
	}
	folio_put(mapping->memory, folio);
}

void fault_around(struct vma *vma, gva_t addr, pte_t *ptep, struct mutex *ptl)
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
