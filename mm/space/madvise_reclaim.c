/* SPDX-License-Identifier: MIT */
/* mm/space/madvise_reclaim.c - MADV_COLD and MADV_PAGEOUT: pages of a range look unused, or leave RAM now. */
#include "mm/space/madvise.h"
#include "mm/table/pagewalk.h"
#include "mm/swap/swap.h"

#define BATCH 64

/* Pages to be taken out of RAM, referenced, a few at a time: no lock of an entry may be held meanwhile. */
struct pageout {
	struct folio *folio[BATCH];
	unsigned nr;
	bool cold;		/* only A is taken away */
	gva_t stopped;		/* the batch is full: go on here */
};

/* Somebody else maps it as well. */
static bool is_shared(const struct folio *folio)
{
	return __atomic_load_n(&folio->count, __ATOMIC_ACQUIRE) >> 32 > 1;
}

static int take_pte(pte_t *ptep, gva_t addr, struct mm_walk *walk)
{
	struct pageout *po = walk->private;
	struct vellum_memory *m = walk->vma->mm->memory;
	pte_t pte = ptep_get(ptep);
	struct folio *folio;

	if (!pte_present(pte) || pte_special(pte))
		return 0;
	folio = pte_folio(m, pte);
	if (is_shared(folio))
		return 0;
	ptep_update(ptep, pte_mkold);
	if (po->cold)
		return 0;
	if (po->nr == BATCH) {
		po->stopped = addr;
		return WALK_STOP;
	}
	folio_get(folio);
	po->folio[po->nr++] = folio;
	return 0;
}

static int take_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	(void)start, (void)end, (void)shift, (void)walk;
	return leaf_is_raw(entry_load(entry)) ? 0 : WALK_SPLIT;
}

static const struct mm_walk_ops take_walk_ops = { .huge_leaf = take_leaf, .pte = take_pte };

/* A page of a file's cache is written and dropped, others are swapped out. */
static void put_out(struct vellum_memory *m, struct folio *folio)
{
	struct vellum_mapping *mapping = NULL;

	if (!(folio_flags(folio) & (PG_ANON | PG_SWAPCACHE))) {
		mutex_lock(&folio->lock, &m->host);
		mapping = folio->mapping && !mapping_is_shmem(folio->mapping) ? folio->mapping : NULL;
		if (mapping)
			reclaim_cached(mapping, folio);
		mutex_unlock(&folio->lock, &m->host);
	}
	if (!mapping)
		reclaim_folio(m, folio, true);
	folio_put(m, folio);
}

static int reclaim_vma(struct vma *vma, gva_t start, gva_t end, int advice, gva_t *next)
{
	struct pageout po = { .cold = advice == VELLUM_MADV_COLD };

	(void)next;
	if (vma->flags & (VM_LOCKED | VM_PFNMAP))
		return -EINVAL;
	while (start < end) {
		if (host_killed(mm_host(vma->mm)))
			return -EINTR;
		po.nr = 0;
		po.stopped = end;
		walk_vma_range(vma, start, end, &take_walk_ops, &po);
		for (unsigned i = 0; i < po.nr; i++)
			put_out(vma->mm->memory, po.folio[i]);
		start = po.stopped;
	}
	return 0;
}

int madvise_reclaim(struct vellum_mm *mm, gva_t start, gva_t end, int advice)
{
	int err;

	read_lock(&mm->mmap_lock, mm_host(mm));
	err = advise_each(mm, start, end, advice, reclaim_vma);
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return err;
}
