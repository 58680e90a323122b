/* SPDX-License-Identifier: MIT */
/*
 * mm/table/zap.c - remove entries: propagate their dirt to the page or the driver, and add their pages to the gather.
 *
 * INV-ZAP-1: a dirty entry of a shared page is flushed before its page-table lock is dropped, and its page keeps its
 *            mapping count until then. So no thread finds the page clean and unmapped while a CPU can still store to
 *            it.
 */
#include "mm/fault/fault.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pagewalk.h"
#include "mm/table/pgtable.h"
#include "mm/table/tlb.h"
#include "mm/track/hooks.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

enum zap_why {
	ZAP_UNMAP,	/* the VMA is removed too: zap all entries, markers included */
	ZAP_DROP,	/* the VMA stays: zap all entries, private copies too (Linux: even_cows) */
	ZAP_MAPPING,	/* the VMA stays: zap only entries that map the mapping's own pages */
};

/* Propagate dirt to the page and the driver. */
static void mark_page_dirty(struct vma *vma, gva_t addr, struct folio *page)
{
	const struct vellum_mapping *mapping = vma->mapping;

	if (page)
		folio_mark_dirty(page);
	if (mapping && mapping->ops && mapping->ops->dirt)
		mapping->ops->dirt(mapping->ctx, vma_page_index(vma, addr));
}

/* Propagate a removed entry's dirt, and notify trackers. Return: flush before ptl is dropped (INV-ZAP-1). */
static inline bool propagate_removed(struct vma *vma, gva_t addr, pte_t old, struct folio *page, enum zap_why why)
{
	bool anon = page && (folio_flags(page) & PG_ANON);

	if (anon || pte_dirty(old))
		track_change(vma, addr);
	else if (why == ZAP_UNMAP)
		track_place(vma, addr);
	if (anon || !pte_dirty(old))
		return false;
	mark_page_dirty(vma, addr, page);
	return true;
}

/* Zap one present entry; ptl held. Return: as propagate_removed(). */
static bool zap_pte(struct tlb_gather *tlb, struct vma *vma, gva_t addr, pte_t *ptep, enum zap_why why)
{
	struct vellum_memory *m = vma->mm->memory;
	pte_t old = ptep_get_and_clear(ptep);
	struct folio *page = pte_special(old) ? NULL : pte_folio(m, old);
	bool dirty = propagate_removed(vma, addr, old, page, why);

	ptl_assert_held(m, ptep);
	if (why != ZAP_UNMAP)
		keep_wp_as_marker(vma, ptep, old);
	tlb_change(tlb, addr, PAGE_SIZE, VELLUM_FLUSH_UNMAP, pte_pfn(old));
	mm_add_rss(vma->mm, -1);
	if (page)
		tlb_free_page(tlb, page);
	return dirty;
}

/*
 * If the VMA stays, guard markers stay. Poison belongs to a private page, so it stays unless private pages are zapped.
 * A wp marker stays unless the VMA is anonymous.
 */
static bool marker_stays(const struct vma *vma, pte_t pte, enum zap_why why)
{
	unsigned bits = pte_marker_bits(pte);

	if (why == ZAP_UNMAP)
		return false;
	if (bits & MARKER_GUARD)
		return true;
	if (bits & MARKER_POISON)
		return why == ZAP_MAPPING;
	return !vma_is_anonymous(vma);
}

/* Zap an entry that is neither none nor present; ptl held. */
static void zap_swp(struct vma *vma, gva_t addr, pte_t *ptep, pte_t pte, enum zap_why why)
{
	ptl_assert_held(vma->mm->memory, ptep);
	if (unlikely(vma->mm->memory->exposed))
		check_swp_entry(vma->mm->memory, pte);
	if (pte_is_marker(pte)) {
		if (!marker_stays(vma, pte, why))
			ptep_set(ptep, pte_make(0));
		return;
	}
	/* All other such entries name private pages, except migration entries of a mapping's pages. */
	if (why == ZAP_MAPPING && !(pte_is_migration(pte) && !migration_is_anon(vma->mm->memory, pte)))
		return;
	ptep_set(ptep, pte_make(0));
	track_change(vma, addr);
	if (why != ZAP_UNMAP)
		keep_wp_as_marker(vma, ptep, pte);
	swp_entry_drop(vma->mm, pte);
}

static int zap_table(pte_t *ptep, gva_t start, gva_t end, struct mm_walk *walk, enum zap_why why)
{
	struct tlb_gather *tlb = walk->private;
	bool dirty = false;

	for (gva_t addr = start; addr < end; addr += PAGE_SIZE, ptep++) {
		pte_t pte = ptep_get(ptep);

		if (unlikely(!pte_present(pte))) {
			if (!pte_none(pte))
				zap_swp(walk->vma, addr, ptep, pte, why);
		} else if (!(why == ZAP_MAPPING && pte_is_anon(tlb->mm->memory, pte))) {
			dirty |= zap_pte(tlb, walk->vma, addr, ptep, why);
		}
	}
	if (dirty)
		tlb_flush(tlb);		/* INV-ZAP-1 */
	return 0;
}

void zap_one(struct tlb_gather *tlb, struct vma *vma, gva_t addr, pte_t *ptep)
{
	struct mm_walk walk = { .private = tlb, .vma = vma };

	zap_table(ptep, addr, addr + PAGE_SIZE, &walk, ZAP_UNMAP);
}

static int zap_unmap_table(pte_t *first, gva_t start, gva_t end, struct mm_walk *walk)
{
	return zap_table(first, start, end, walk, ZAP_UNMAP);
}

static int zap_drop_table(pte_t *first, gva_t start, gva_t end, struct mm_walk *walk)
{
	return zap_table(first, start, end, walk, ZAP_DROP);
}

static int zap_mapping_table(pte_t *first, gva_t start, gva_t end, struct mm_walk *walk)
{
	return zap_table(first, start, end, walk, ZAP_MAPPING);
}

/* --- huge leaves: zapped as a whole if the range covers them, else split --- */

/* Propagate the dirt of a removed leaf @val. Return: flush before the leaf's lock is dropped (INV-ZAP-1). */
static bool propagate_removed_leaf(struct tlb_gather *tlb, struct vma *vma, gva_t start, unsigned shift, uint64_t val,
				   enum zap_why why)
{
	struct vellum_memory *m = vma->mm->memory;
	uint64_t nr = 1ull << (shift - PAGE_SHIFT);
	bool dirty = false;

	for (uint64_t i = 0; i < nr; i++) {
		gva_t addr = start + (i << PAGE_SHIFT);
		struct folio *page = leaf_is_raw(val) ? NULL : huge_page_folio(m, val, shift, i);

		dirty |= propagate_removed(vma, addr, leaf_pte(m, val, shift, addr), page, why);
	}
	tlb_change(tlb, start, 1ull << shift, VELLUM_FLUSH_UNMAP, leaf_pfn(val, shift));
	tlb->batch.all_frames = true;
	return dirty;
}

static int zap_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk, enum zap_why why)
{
	struct tlb_gather *tlb = walk->private;
	struct vellum_memory *m = tlb->mm->memory;
	uint64_t val = entry_load(entry), nr = 1ull << (shift - PAGE_SHIFT);

	if (why == ZAP_MAPPING && !leaf_is_raw(val) && (folio_flags(huge_folio(m, val, shift)) & PG_ANON))
		return 0;
	if (end - start != 1ull << shift)
		return WALK_SPLIT;
	val = entry_remove(entry);
	huge_removed(m, entry, shift);
	mm_add_rss(tlb->mm, -(int64_t)nr);
	if (propagate_removed_leaf(tlb, walk->vma, start, shift, val, why))
		tlb_flush(tlb);		/* INV-ZAP-1 */
	for (uint64_t i = 0; i < nr && !leaf_is_raw(val); i++)
		tlb_free_page(tlb, huge_page_folio(m, val, shift, i));
	return 0;
}

static int zap_unmap_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	return zap_leaf(entry, start, end, shift, walk, ZAP_UNMAP);
}

static int zap_drop_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	return zap_leaf(entry, start, end, shift, walk, ZAP_DROP);
}

static int zap_mapping_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	return zap_leaf(entry, start, end, shift, walk, ZAP_MAPPING);
}

/* A driver may reuse a raw frame as soon as it is unmapped, so the flush must not wait for the gather. */
static void flush_pfnmap(struct mm_walk *walk)
{
	if (walk->vma->mapping && (walk->vma->mapping->flags & MAPPING_RAW))
		tlb_flush(walk->private);
}

static const struct mm_walk_ops zap_unmap_ops = {
	.huge_leaf = zap_unmap_leaf, .pte_table = zap_unmap_table, .post_vma = flush_pfnmap };
static const struct mm_walk_ops zap_drop_ops = {
	.huge_leaf = zap_drop_leaf, .pte_table = zap_drop_table, .post_vma = flush_pfnmap };
static const struct mm_walk_ops zap_mapping_ops = {
	.huge_leaf = zap_mapping_leaf, .pte_table = zap_mapping_table, .post_vma = flush_pfnmap };

void unmap_range(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end)
{
	walk_vma_range(vma, start, end, &zap_unmap_ops, tlb);
}

void zap_range(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end)
{
	walk_vma_range(vma, start, end, &zap_drop_ops, tlb);
}

void zap_mapping_range(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end)
{
	walk_vma_range(vma, start, end, &zap_mapping_ops, tlb);
}
