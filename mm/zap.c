/* SPDX-License-Identifier: MIT */
/*
 * mm/zap.c - remove entries: dirt goes to the page or the driver, pages go to the gather.
 *
 * INV-ZAP-1: a dirty entry of a shared page is flushed before its page-table lock is dropped, and
 *            its page keeps its mapping count until then: nobody can call the page clean and
 *            unmapped while a CPU can still store to it.
 */
#include "mm/pagewalk.h"

enum zap_why {
	ZAP_UNMAP,	/* the VMA goes too: whatever was there is gone */
	ZAP_DROP,	/* the VMA stays: private memory starts anew, an object's page is still its */
	ZAP_OBJECT,	/* the object takes its own pages back; private copies stay */
};

/* Hand the removed entry's dirt over. @return: flush before the lock is dropped. */
static bool hand_over(struct vma *vma, gva_t addr, pte_t old, struct folio *page, enum zap_why why)
{
	const struct vellum_mapping *mapping = vma->mapping;
	bool anon = page && (folio_flags(page) & PG_ANON);

	if (anon || pte_dirty(old))
		track_change(vma, addr);
	else if (why == ZAP_UNMAP)
		track_place(vma, addr);
	if (anon || !pte_dirty(old))
		return false;
	if (page)
		folio_mark_dirty(page);
	if (mapping && mapping->ops && mapping->ops->dirt)
		mapping->ops->dirt(mapping->ctx, vma_page_index(vma, addr));
	return true;
}

/* One entry; ptl held. @return: as hand_over(). */
static bool zap_pte(struct tlb_gather *tlb, struct vma *vma, gva_t addr, pte_t *ptep, enum zap_why why)
{
	struct vellum_memory *m = vma->mm->memory;
	pte_t old = ptep_get_and_clear(ptep);
	struct folio *page = pte_special(old) ? NULL : pfn_folio(m, pte_pfn(old));
	bool dirty = hand_over(vma, addr, old, page, why);

	tlb_change(tlb, addr, PAGE_SIZE, VELLUM_FLUSH_UNMAP, pte_pfn(old));
	mm_add_rss(vma->mm, -1);
	if (page)
		tlb_free_page(tlb, page);
	return dirty;
}

static bool is_private_copy(const struct vellum_memory *m, pte_t pte)
{
	return !pte_special(pte) && (folio_flags(pfn_folio(m, pte_pfn(pte))) & PG_ANON);
}

static int zap_table(pte_t *ptep, gva_t start, gva_t end, struct mm_walk *walk, enum zap_why why)
{
	struct tlb_gather *tlb = walk->private;
	bool dirty = false;

	for (gva_t addr = start; addr < end; addr += PAGE_SIZE, ptep++) {
		pte_t pte = ptep_get(ptep);

		if (pte_present(pte) && !(why == ZAP_OBJECT && is_private_copy(tlb->mm->memory, pte)))
			dirty |= zap_pte(tlb, walk->vma, addr, ptep, why);
	}
	if (dirty)
		tlb_flush(tlb);		/* INV-ZAP-1 */
	return 0;
}

static int zap_unmapped(pte_t *first, gva_t start, gva_t end, struct mm_walk *walk)
{
	return zap_table(first, start, end, walk, ZAP_UNMAP);
}

static int zap_dropped(pte_t *first, gva_t start, gva_t end, struct mm_walk *walk)
{
	return zap_table(first, start, end, walk, ZAP_DROP);
}

static int zap_objects_pages(pte_t *first, gva_t start, gva_t end, struct mm_walk *walk)
{
	return zap_table(first, start, end, walk, ZAP_OBJECT);
}

/* A raw frame is the driver's, which may use it again as soon as it is unmapped. */
static void flush_pfnmap(struct mm_walk *walk)
{
	if (walk->vma->flags & VM_PFNMAP)
		tlb_flush(walk->private);
}

static const struct mm_walk_ops unmap_walk_ops = { .pte_table = zap_unmapped, .post_vma = flush_pfnmap };
static const struct mm_walk_ops drop_walk_ops = { .pte_table = zap_dropped, .post_vma = flush_pfnmap };
static const struct mm_walk_ops object_walk_ops = { .pte_table = zap_objects_pages, .post_vma = flush_pfnmap };

void unmap_range(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end)
{
	walk_vma_range(vma, start, end, &unmap_walk_ops, tlb);
}

void zap_range(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end)
{
	walk_vma_range(vma, start, end, &drop_walk_ops, tlb);
}

void zap_mapping_range(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end)
{
	walk_vma_range(vma, start, end, &object_walk_ops, tlb);
}
