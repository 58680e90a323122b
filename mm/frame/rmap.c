/* SPDX-License-Identifier: MIT */
/*
 * mm/frame/rmap.c - find the entries that map a page.
 *
 * The entries of a mapping's folio are found through mapping->i_mmap, those of an anonymous folio through
 * folio->anon_vma. A VMA and its copies in forked children share one anon_vma. That is simpler than Linux's chains of
 * anon_vmas, but a walk also visits VMAs that do not map the folio. Callbacks must check that the entry maps the folio.
 *
 * INV-RMAP-1: rmap_walk() finds every present entry of a folio: the entry's VMA is in the tree of the folio's anon_vma
 *             or mapping, and the folio's index is vma_page_index() at the entry's address.
 */
#include "mm/fault/fault.h"
#include "mm/frame/rmap.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/vma.h"

struct anon_vma *anon_vma_create(const struct host *host)
{
	struct anon_vma *anon_vma = host_alloc(host, sizeof(*anon_vma));

	if (!anon_vma)
		return NULL;
	anon_vma->refs = 1;
	anon_vma->vmas = (struct tree)INTERVAL_TREE_INIT;
	return anon_vma;
}

void anon_vma_get(struct anon_vma *anon_vma)
{
	__atomic_fetch_add(&anon_vma->refs, 1, __ATOMIC_RELAXED);
}

void anon_vma_put(struct anon_vma *anon_vma, const struct host *host)
{
	if (__atomic_sub_fetch(&anon_vma->refs, 1, __ATOMIC_ACQ_REL) == 0)
		host_free(host, anon_vma, sizeof(*anon_vma));
}

int rmap_walk_anon(struct vellum_memory *m, struct anon_vma *anon_vma, pgoff_t index, struct folio *folio,
		   rmap_fn fn, void *arg)
{
	int err = 0;

	read_lock(&anon_vma->lock, &m->host);
	for (struct interval *iv = interval_first(&anon_vma->vmas, index, index); iv && !err;
	     iv = interval_next(iv, index, index)) {
		struct vma *vma = container_of(iv, struct vma, anon_node);

		err = fn(folio, vma, vma->start + ((index - iv->start) << PAGE_SHIFT), arg);
	}
	read_unlock(&anon_vma->lock, &m->host);
	return err;
}

static int rmap_walk_mapping(struct vellum_memory *m, struct folio *folio, rmap_fn fn, void *arg)
{
	struct vellum_mapping *mapping = folio->mapping;
	pgoff_t index = folio->index;
	int err = 0;

	if (!mapping)
		return 0;
	read_lock(&mapping->i_mmap_lock, &m->host);
	for (struct interval *iv = interval_first(&mapping->i_mmap, index, index); iv && !err;
	     iv = interval_next(iv, index, index)) {
		struct vma *vma = container_of(iv, struct vma, map_node);

		err = fn(folio, vma, vma->start + ((index - iv->start) << PAGE_SHIFT), arg);
	}
	read_unlock(&mapping->i_mmap_lock, &m->host);
	return err;
}

int rmap_walk(struct vellum_memory *m, struct folio *folio, rmap_fn fn, void *arg)
{
	return folio_flags(folio) & PG_ANON ? rmap_walk_anon(m, folio->anon_vma, folio->index, folio, fn, arg) :
					      rmap_walk_mapping(m, folio, fn, arg);
}

bool mapping_has_vma_flags(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last, uint64_t flags)
{
	const struct host *host = &mapping->memory->host;
	bool found = false;

	read_lock(&mapping->i_mmap_lock, host);
	for (struct interval *iv = interval_first(&mapping->i_mmap, first, last); iv && !found;
	     iv = interval_next(iv, first, last))
		found = vma_flags(container_of(iv, struct vma, map_node)) & flags;
	read_unlock(&mapping->i_mmap_lock, host);
	return found;
}

struct folio *folio_mapped_at(struct vellum_mm *mm, gva_t addr)
{
	struct folio *folio = NULL;
	struct mutex *ptl;
	pte_t *ptep;

	huge_split_range(mm, addr, addr + PAGE_SIZE);
	ptep = pte_lookup(mm, addr, &ptl);
	if (!ptep)
		return NULL;
	mutex_lock(ptl, mm_host(mm));
	if (pte_present(ptep_get(ptep)))
		folio = normal_folio(mm->memory, ptep_get(ptep));
	if (folio)
		folio_get(folio);
	mutex_unlock(ptl, mm_host(mm));
	return folio;
}

pte_t *rmap_lock_pte(struct vellum_memory *m, const struct folio *folio, struct vma *vma, gva_t addr,
		     struct mutex **ptl)
{
	pte_t *ptep, pte;

	if (huge_lookup(vma->mm, addr, NULL))
		huge_split_range(vma->mm, addr, addr + PAGE_SIZE);
	ptep = pte_lookup(vma->mm, addr, ptl);
	if (!ptep)
		return NULL;
	mutex_lock(*ptl, &m->host);
	pte = ptep_get(ptep);
	if (pte_present(pte) && !pte_special(pte) && pte_pfn(pte) == folio_pfn(m, folio))
		return ptep;
	mutex_unlock(*ptl, &m->host);
	return NULL;
}
