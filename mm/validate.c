/* SPDX-License-Identifier: MIT */
/*
 * mm/validate.c - every invariant that can be read off the structures, one function each.
 *
 * Nothing else may run meanwhile. Tests call it after every operation.
 */
#include "mm/pagewalk.h"

struct validation {
	struct vellum_memory *m;
	uint32_t *mapped;	/* entries found, per frame index */
	uint64_t rss;		/* of the current address space */
	const char *why;
};

#define REQUIRE(v, cond, what)                  \
	do {                                    \
		if (!(cond) && !(v)->why)       \
			(v)->why = (what);      \
	} while (0)

static void check_vma(struct validation *v, const struct vma *vma, const struct vma *prev)
{
	REQUIRE(v, vma->start < vma->end && vma->end <= TASK_SIZE, "INV-VMA-1: bounds");
	REQUIRE(v, !((vma->start | vma->end) & ~PAGE_MASK), "INV-VMA-1: alignment");
	REQUIRE(v, !prev || prev->end <= vma->start, "INV-VMA-1: overlap");
	REQUIRE(v, vma->gap == vma_gap_below(vma), "INV-VMA-2: gap");
	REQUIRE(v, vma->map_node.start == vma->pgoff && vma->anon_node.start == vma->pgoff,
		"INV-VMA-3: interval start");
	REQUIRE(v, vma->map_node.last == vma_page_index(vma, vma->end - 1) &&
			   vma->anon_node.last == vma->map_node.last,
		"INV-VMA-3: interval end");
}

static bool in_tree(const struct tree *tree, const struct interval *iv)
{
	struct interval *at = interval_first(tree, iv->start, iv->last);

	while (at && at != iv)
		at = interval_next(at, iv->start, iv->last);
	return at == iv;
}

static void check_linked(struct validation *v, const struct vma *vma)
{
	REQUIRE(v, !vma->mapping || in_tree(&vma->mapping->i_mmap, &vma->map_node),
		"INV-VMA-3: not in its mapping's tree");
	REQUIRE(v, !vma->anon_vma || in_tree(&vma->anon_vma->vmas, &vma->anon_node),
		"INV-VMA-3: not in its anon_vma's tree");
}

static void check_folio(struct validation *v, const struct vma *vma, gva_t addr, pte_t pte)
{
	struct folio *folio = pfn_folio(v->m, pte_pfn(pte));
	uint32_t flags = folio_flags(folio);

	v->mapped[folio - v->m->folios]++;
	REQUIRE(v, (flags & PG_USED) && !(flags & PG_TABLE), "INV-MEM-1: entry maps a free frame");
	REQUIRE(v, folio->index == vma_page_index(vma, addr), "INV-RMAP-1: index");
	if (flags & PG_ANON) {
		REQUIRE(v, folio->anon_vma == vma->anon_vma, "INV-RMAP-1: anon_vma");
		REQUIRE(v, !(vma->flags & VM_MAYSHARE), "private page in a shared mapping");
		REQUIRE(v, !pte_write(pte) || (flags & PG_EXCLUSIVE), "INV-FAULT-1: W without X");
	} else {
		REQUIRE(v, folio->mapping == vma->mapping, "INV-RMAP-1: mapping");
		REQUIRE(v, !pte_write(pte) || (vma->flags & VM_SHARED), "W on a page of the object");
	}
}

static int check_pte(pte_t *ptep, gva_t addr, struct mm_walk *walk)
{
	struct validation *v = walk->private;
	pte_t pte = ptep_get(ptep);

	if (pte_none(pte))
		return 0;
	REQUIRE(v, pte_present(pte), "entry neither none nor present");
	REQUIRE(v, pte_write(pte) || !(pte.val & X86_DIRTY), "INV-PTE-1: RW=0 and D=1");
	REQUIRE(v, !pte_write(pte) || (walk->vma->flags & VM_WRITE), "W beyond the VMA's rights");
	v->rss++;
	if (!pte_special(pte)) {
		REQUIRE(v, pfn_is_ram(v->m, pte_pfn(pte)), "entry maps no RAM");
		if (!v->why)
			check_folio(v, walk->vma, addr, pte);
	}
	return 0;
}

static const struct mm_walk_ops check_walk_ops = { .pte = check_pte };

/* Entries outside any VMA: every table is walked, and its entries must have been seen. */
static uint64_t entries_below(const struct vellum_memory *m, const uint64_t *table, unsigned nr,
			      unsigned shift)
{
	uint64_t found = 0;

	for (unsigned i = 0; i < nr; i++) {
		uint64_t val = entry_load(&table[i]);

		if (shift == PAGE_SHIFT)
			found += !pte_none(pte_make(val));
		else if (val & X86_PRESENT)
			found += entries_below(m, table_of(m, val), ENTRIES_PER_TABLE, shift - 9);
	}
	return found;
}

static void check_mm(struct validation *v, struct vellum_mm *mm)
{
	const struct vma *prev = NULL;
	uint32_t nr = 0;

	v->rss = 0;
	for (struct vma *vma = vma_first(mm); vma; vma = vma_next(vma)) {
		check_vma(v, vma, prev);
		check_linked(v, vma);
		if (v->why)
			return;
		walk_vma_range(vma, vma->start, vma->end, &check_walk_ops, v);
		prev = vma;
		nr++;
	}
	REQUIRE(v, nr == mm->nr_vmas, "INV-VMA-1: count");
	REQUIRE(v, v->rss == vellum_mm_rss(mm), "rss is not the number of entries");
	REQUIRE(v, v->rss == entries_below(v->m, &mm->pgd[0].val, USER_PGD_ENTRIES, PGD_SHIFT),
		"entry outside any VMA");
	REQUIRE(v, mm->tlb_flush_pending == 0, "INV-TLB-2: window left open");
}

static void check_counts(struct validation *v)
{
	uint64_t free_frames = 0;

	for (uint64_t i = 0; i < v->m->nr_frames; i++) {
		const struct folio *folio = &v->m->folios[i];

		if (!(folio_flags(folio) & PG_USED)) {
			free_frames++;
			REQUIRE(v, !v->mapped[i], "INV-MEM-1: free frame is mapped");
		} else if (folio->count) {
			REQUIRE(v, folio->count / FOLIO_MAP == v->mapped[i], "mapping count");
			REQUIRE(v, (uint32_t)folio->count >= v->mapped[i], "mapping without reference");
		}
	}
	REQUIRE(v, free_frames == v->m->nr_free, "INV-MEM-1: free count");
}

EXPORT int vellum_validate(struct vellum_memory *memory, const char **why)
{
	struct vellum_memory *m = memory;
	struct validation v = { .m = m };

	v.mapped = host_alloc(&m->host, m->nr_frames * sizeof(*v.mapped));
	if (!v.mapped)
		return -ENOMEM;
	for (struct vellum_mm *mm = m->mms; mm && !v.why; mm = mm->next)
		check_mm(&v, mm);
	if (!v.why)
		check_counts(&v);
	host_free(&m->host, v.mapped, m->nr_frames * sizeof(*v.mapped));
	if (why)
		*why = v.why;
	return v.why ? -EFAULT : 0;
}
