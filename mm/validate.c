/* SPDX-License-Identifier: MIT */
/*
 * mm/validate.c - every invariant that can be read off the structures, one function each.
 *
 * No other call may run meanwhile. Tests call it after every operation.
 */
#include "mm/frame/rmap.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pagewalk.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

struct validation {
	struct vellum_memory *m;
	uint32_t *mapped;	/* entries found, per frame index */
	uint64_t rss, swapped, others;	/* entries of the current address space; a huge leaf counts its pages */
	struct radix slots;	/* entries and pages that name each slot, as 2 * count + 1 */
	bool no_memory;
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
		REQUIRE(v, (flags & (PG_EXCLUSIVE | PG_SWAPCACHE)) != (PG_EXCLUSIVE | PG_SWAPCACHE),
			"INV-SWAP-2: X in the swap cache");
		REQUIRE(v, (flags & PG_EXCLUSIVE) || !folio_maybe_pinned(folio), "INV-GUP-1: pinned without X");
	} else {
		REQUIRE(v, folio->mapping == vma->mapping || (!folio->mapping && folio_maybe_pinned(folio)),
			"INV-RMAP-1: mapping");
		REQUIRE(v, !pte_write(pte) || (vma->flags & VM_SHARED), "W on a page of the object");
	}
}

/* Bits of a present entry of any size. */
static void check_present(struct validation *v, const struct vma *vma, pte_t pte)
{
	bool shadow_stack = vma->flags & VM_SHADOW_STACK;

	REQUIRE(v, shadow_stack || (pte.val & X86_RW) || !(pte.val & X86_DIRTY), "INV-PTE-1: RW=0 and D=1");
	REQUIRE(v, !shadow_stack || !(pte.val & X86_RW), "INV-PTE-1: RW in a shadow stack");
	REQUIRE(v, !pte_write(pte) || (vma->flags & VM_WRITE), "W beyond the VMA's rights");
	REQUIRE(v, !(vma_uffd_wp(vma) && pte_uffd_wp(pte)) || !pte_write(pte), "INV-UFFD-1: protected, and W");
	REQUIRE(v, !pte_write(pte) || !vma_soft_dirty_enabled(vma) || pte_soft_dirty(pte) || (vma->flags & VM_PFNMAP),
		"INV-PTE-2: W before a store was seen");
}

static void count_slot(struct validation *v, slot_t slot)
{
	uint64_t times = ((uintptr_t)radix_get(&v->slots, slot) >> 1) + 1;

	if (radix_set(&v->slots, slot, (void *)(uintptr_t)(2 * times + 1), &v->m->host))
		v->no_memory = true;
}

static void check_swp(struct validation *v, const struct vma *vma, pte_t pte)
{
	if (pte_is_genuine_swap(pte)) {
		v->swapped++;
		count_slot(v, pte_slot(pte));
		REQUIRE(v, vma->anon_vma, "swapped out where no private page was");
		return;
	}
	v->others++;
	if (!pte_is_marker(pte))
		return;
	REQUIRE(v, pte_marker_bits(pte), "a marker of nothing");
	REQUIRE(v, !vma_uffd_wp(vma) || pte_marker_bits(pte) != MARKER_UFFD_WP || vma_uses_markers(vma),
		"INV-MARKER-2: a marker that no call installed");
}

static int check_pte(pte_t *ptep, gva_t addr, struct mm_walk *walk)
{
	struct validation *v = walk->private;
	pte_t pte = ptep_get(ptep);

	if (pte_none(pte))
		return 0;
	if (!pte_present(pte)) {
		check_swp(v, walk->vma, pte);
		return 0;
	}
	check_present(v, walk->vma, pte);
	v->rss++;
	if (!pte_special(pte)) {
		REQUIRE(v, pfn_is_ram(v->m, pte_pfn(pte)), "entry maps no RAM");
		if (!v->why)
			check_folio(v, walk->vma, addr, pte);
	}
	return 0;
}

static int check_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	struct validation *v = walk->private;
	uint64_t val = entry_load(entry);

	REQUIRE(v, end - start == 1ull << shift, "a huge leaf of two mappings");
	REQUIRE(v, !leaf_is_raw(val) || !vma_is_cow(walk->vma) || !leaf_write(val),
		"INV-HUGE-3: W in a private raw leaf");
	v->rss += (end - start) >> PAGE_SHIFT;
	for (gva_t addr = start; addr < end && !v->why; addr += PAGE_SIZE) {
		pte_t pte = leaf_pte(val, shift, addr);

		check_present(v, walk->vma, pte);
		if (leaf_is_raw(val))
			break;
		check_folio(v, walk->vma, addr, pte);
	}
	return 0;
}

static const struct mm_walk_ops check_walk_ops = { .huge_leaf = check_leaf, .pte = check_pte };

/* The tables that huge leaves keep for their split. */
static void check_deposits(struct validation *v, const uint64_t *table, unsigned shift)
{
	const struct folio *at = table_folio(v->m, table)->deposited;
	uint64_t leaves = 0, kept = 0;

	for (unsigned i = 0; i < ENTRIES_PER_TABLE; i++)
		leaves += is_huge_leaf(entry_load(&table[i]));
	for (; at && kept <= leaves * (ENTRIES_PER_TABLE + 1); at = at->deposited)
		kept++;
	REQUIRE(v, kept == leaves * (shift == PMD_SHIFT ? 1 : ENTRIES_PER_TABLE + 1), "INV-HUGE-1: deposits");
}

/* Count all entries in all tables: the walks of VMAs must have found each of them. */
static uint64_t entries_below(struct validation *v, const uint64_t *table, unsigned nr, unsigned shift)
{
	uint64_t found = 0;

	if (shift == PMD_SHIFT || shift == PUD_SHIFT)
		check_deposits(v, table, shift);
	for (unsigned i = 0; i < nr; i++) {
		uint64_t val = entry_load(&table[i]);

		if (shift == PAGE_SHIFT)
			found += !pte_none(pte_make(val));
		else if (shift < PGD_SHIFT && is_huge_leaf(val))
			found += 1ull << (shift - PAGE_SHIFT);
		else if (val & X86_PRESENT)
			found += entries_below(v, table_of(v->m, val), ENTRIES_PER_TABLE, shift - 9);
	}
	return found;
}

static void check_mm(struct validation *v, struct vellum_mm *mm)
{
	const struct vma *prev = NULL;
	uint32_t nr = 0;

	v->rss = v->swapped = v->others = 0;
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
	REQUIRE(v, v->swapped == vellum_mm_swapped(mm), "swapped is not the number of entries");
	v->others += mm->machine_page != NULL;
	REQUIRE(v, v->rss + v->swapped + v->others == entries_below(v, &mm->pgd[0].val, USER_PGD_ENTRIES, PGD_SHIFT),
		"entry outside any VMA");
	REQUIRE(v, !mm->kept_events, "an event that was not delivered");
	REQUIRE(v, !v->m->frame_refs.word, "a fork, or a pin, that did not end");
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

static void count_slots_of(struct validation *v, const struct vellum_mapping *mapping)
{
	const void *value;

	for (uint64_t i = 0; (value = radix_next(&mapping->swapped, &i)); i++) {
		count_slot(v, (uintptr_t)value >> 1);
		REQUIRE(v, !radix_get(&mapping->pages, i), "INV-SHMEM-1: a page that is in and out");
	}
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
	for (const struct vellum_mapping *mapping = m->mappings; mapping && !v.why; mapping = mapping->next)
		count_slots_of(&v, mapping);
	if (!v.why && !v.no_memory)
		v.why = swap_check(m, &v.slots);
	radix_destroy(&v.slots, &m->host);
	host_free(&m->host, v.mapped, m->nr_frames * sizeof(*v.mapped));
	if (why)
		*why = v.why;
	return v.why ? -EFAULT : v.no_memory ? -ENOMEM : 0;
}
