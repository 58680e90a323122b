/* SPDX-License-Identifier: MIT */
/*
 * mm/validate.c - every invariant that can be read off the structures, one function each.
 *
 * No other call may run meanwhile. Tests call it after every operation.
 */
#include "mm/frame/rmap.h"
#include "mm/snapshot/snapshot.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pagewalk.h"
#include "mm/table/pgtable.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

struct validation {
	struct vellum_memory *m;
	uint32_t *mapped;	/* entries found, per frame index */
	uint64_t rss, swapped, others;	/* entries of the current address space; a huge leaf counts its pages */
	const struct frozen_mm *base;	/* of the current address space; NULL: none */
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
	REQUIRE(v, vma->start < vma->end && vma->end <= TASK_SIZE, "INV-VMA-1: a VMA is empty or ends above TASK_SIZE");
	REQUIRE(v, !((vma->start | vma->end) & ~PAGE_MASK), "INV-VMA-1: a VMA is not page aligned");
	REQUIRE(v, !prev || prev->end <= vma->start, "INV-VMA-1: two VMAs overlap");
	REQUIRE(v, vma->gap == vma_compute_gap(vma), "INV-VMA-2: a VMA's gap is wrong");
	REQUIRE(v, vma->map_node.start == vma->pgoff && vma->anon_node.start == vma->pgoff,
		"INV-VMA-3: the start of a VMA's interval is wrong");
	REQUIRE(v, vma->map_node.last == vma_page_index(vma, vma->end - 1) &&
			   vma->anon_node.last == vma->map_node.last,
		"INV-VMA-3: the end of a VMA's interval is wrong");
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
	REQUIRE(v, !vma_is_in_i_mmap(vma) || in_tree(&vma->mapping->i_mmap, &vma->map_node),
		"INV-VMA-3: a VMA is not in its mapping's tree");
	REQUIRE(v, !vma->anon_vma || in_tree(&vma->anon_vma->vmas, &vma->anon_node),
		"INV-VMA-3: a VMA is not in its anon_vma's tree");
}

static void check_folio(struct validation *v, const struct vma *vma, gva_t addr, pte_t pte)
{
	struct folio *folio = pfn_folio(v->m, pte_pfn(pte));
	uint32_t flags = folio_flags(folio);

	v->mapped[folio - v->m->folios]++;
	REQUIRE(v, (flags & PG_USED) && !(flags & PG_TABLE), "INV-MEM-1: an entry maps a free frame or a page table");
	REQUIRE(v, folio->index == vma_page_index(vma, addr), "INV-RMAP-1: a folio's index is not that of its entry");
	if (flags & PG_ANON) {
		REQUIRE(v, folio->anon_vma == vma->anon_vma, "INV-RMAP-1: a folio's anon_vma is not that of the VMA");
		REQUIRE(v, !(vma->flags & VM_MAYSHARE), "a VMA that may be shared maps an anonymous page");
		REQUIRE(v, !pte_write(pte) || (flags & PG_EXCLUSIVE),
			"INV-FAULT-1: a writable entry of an anonymous page that is not exclusive");
		REQUIRE(v, (flags & (PG_EXCLUSIVE | PG_SWAPCACHE)) != (PG_EXCLUSIVE | PG_SWAPCACHE),
			"INV-SWAP-2: a page of the swap cache is exclusive");
		REQUIRE(v, (flags & PG_EXCLUSIVE) || !folio_maybe_pinned(folio),
			"INV-GUP-1: a pinned anonymous page is not exclusive");
	} else {
		REQUIRE(v, folio->mapping == vma->mapping || (!folio->mapping && folio_maybe_pinned(folio)),
			"INV-RMAP-1: a folio's mapping is not that of the VMA");
		REQUIRE(v, !pte_write(pte) || (vma->flags & VM_SHARED),
			"a private VMA maps a page of the mapping writable");
	}
}

/* Bits of a present entry of any size. */
static void check_present(struct validation *v, const struct vma *vma, pte_t pte)
{
	bool shadow_stack = vma->flags & VM_SHADOW_STACK;

	REQUIRE(v, shadow_stack || (pte.val & X86_RW) || !(pte.val & X86_DIRTY),
		"INV-PTE-1: a dirty entry without W (a shadow stack entry) in an ordinary VMA");
	REQUIRE(v, !shadow_stack || !(pte.val & X86_RW), "INV-PTE-1: an entry of a shadow stack has W");
	REQUIRE(v, !pte_write(pte) || (vma->flags & VM_WRITE), "a writable entry in a VMA that is not writable");
	REQUIRE(v, !(vma_uffd_wp(vma) && pte_uffd_wp(pte)) || !pte_write(pte),
		"INV-UFFD-1: a userfaultfd-protected entry is writable");
	REQUIRE(v, !pte_write(pte) || !vma_soft_dirty_enabled(vma) || pte_soft_dirty(pte) || (vma->flags & VM_PFNMAP),
		"INV-PTE-2: a writable entry is not soft-dirty");
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
		REQUIRE(v, vma->anon_vma, "a swap entry in a VMA without an anon_vma");
		return;
	}
	v->others++;
	if (!pte_is_marker(pte))
		return;
	REQUIRE(v, pte_marker_bits(pte), "a marker without a bit");
	REQUIRE(v, !vma_uffd_wp(vma) || pte_marker_bits(pte) != MARKER_UFFD_WP || vma_uses_markers(vma),
		"INV-MARKER-2: a protection marker in a VMA that uses none");
}

/* --- snapshots --- */

/* The page @now of an earlier run has the bytes of the frozen entry @then. Pages of files are not compared: they may change. */
static bool has_frozen_bytes(const struct validation *v, const struct vma *vma, pte_t now, pte_t then)
{
	const char *bytes = pte_host(v->m, now);

	if (pte_present(then))
		return !memcmp(bytes, pte_host(v->m, then), PAGE_SIZE);
	if (!pte_none_or_wp_marker(then))
		return pte_is_genuine_swap(then);
	return !vma_is_anonymous(vma) || !memcmp(bytes, frame_address(v->m, v->m->zero_pfn), PAGE_SIZE);
}

/* INV-SNAP-1, of an entry with UNCHANGED and without D in a private VMA. */
static void check_unchanged(struct validation *v, const struct vma *vma, gva_t addr, pte_t pte)
{
	struct mutex *ptl;
	const pte_t *frozen = pte_lookup(v->base->copy, addr, &ptl);
	pte_t then = frozen ? ptep_get(frozen) : pte_make(0);
	const struct folio *folio = pfn_folio(v->m, pte_pfn(pte));

	REQUIRE(v, !vma_uffd_wp(vma) || pte_uffd_wp(pte) == pte_is_uffd_wp(then),
		"INV-SNAP-1: an unchanged entry has another uffd-wp bit than the frozen one");
	REQUIRE(v, !vma_soft_dirty_enabled(vma) || !pte_present(then) || pte_soft_dirty(pte) == pte_soft_dirty(then),
		"INV-SNAP-1: an unchanged entry has another soft-dirty bit than the frozen one");
	if (pte_special(pte) || !(folio_flags(folio) & PG_ANON) || (pte_present(then) && pte_pfn(then) == pte_pfn(pte)))
		return;
	REQUIRE(v, has_frozen_bytes(v, vma, pte, then), "INV-SNAP-1: an unchanged page has other bytes than the frozen one");
}

/* An entry of a frozen copy: only swap-in makes one writable, and the page is then exclusive (check_folio()). */
static void check_frozen(struct validation *v, pte_t pte)
{
	REQUIRE(v, !(pte.val & X86_UNCHANGED), "an entry of a frozen copy is marked as unchanged");
	REQUIRE(v, pte_special(pte) || (folio_flags(pfn_folio(v->m, pte_pfn(pte))) & PG_ANON),
		"a frozen copy maps a page of a mapping");
}

/*
 * INV-SNAP-2 and 3, of the last-level table @table. @touched: all entries above have A. Raw frames are the driver's: a
 * restore leaves them as they are.
 */
static void check_marks(struct validation *v, const uint64_t *table, bool touched)
{
	uint64_t unchanged = 0;

	for (unsigned i = 0; i < ENTRIES_PER_TABLE; i++) {
		pte_t pte = pte_make(entry_load(&table[i]));

		if (!pte_present(pte))
			continue;
		unchanged += !!(pte.val & X86_UNCHANGED);
		REQUIRE(v, touched || pte_special(pte) || pte_unchanged(pte),
			"INV-SNAP-2: an entry changed, and an entry above it does not have A");
	}
	REQUIRE(v, unchanged <= table_folio(v->m, table)->index,
		"INV-SNAP-3: more entries are unchanged than after the last restore");
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
		REQUIRE(v, pfn_is_ram(v->m, pte_pfn(pte)), "an entry that is not raw maps a frame that is not RAM");
		if (!v->why)
			check_folio(v, walk->vma, addr, pte);
	}
	if (walk->vma->mm->is_frozen)
		check_frozen(v, pte);
	else if (v->base && pte_unchanged(pte) && !(walk->vma->flags & VM_MAYSHARE))
		check_unchanged(v, walk->vma, addr, pte);
	return 0;
}

static int check_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	struct validation *v = walk->private;
	uint64_t val = entry_load(entry);

	REQUIRE(v, end - start == 1ull << shift, "a huge leaf extends beyond its VMA");
	REQUIRE(v, !leaf_is_raw(val) || !vma_is_cow(walk->vma) || !leaf_write(val),
		"INV-HUGE-3: a raw leaf in a private VMA is writable");
	REQUIRE(v, !leaf_is_raw(val) || !vma_is_anonymous(walk->vma) || leaf_is_huge_zero(v->m, val),
		"INV-HUGE-4: a raw leaf of anonymous memory that is not the huge zero page");
	REQUIRE(v, !leaf_is_huge_zero(v->m, val) || (walk->vma->mm->keeps_huge_zero && !walk->vma->mm->is_frozen),
		"INV-HUGE-4: an address space that does not keep the huge zero page maps it");
	v->rss += (end - start) >> PAGE_SHIFT;
	for (gva_t addr = start; addr < end && !v->why; addr += PAGE_SIZE) {
		pte_t pte = leaf_pte(v->m, val, shift, addr);

		check_present(v, walk->vma, pte);
		if (leaf_is_raw(val))
			break;
		check_folio(v, walk->vma, addr, pte);
	}
	return 0;
}

static const struct mm_walk_ops check_walk_ops = { .huge_leaf = check_leaf, .pte = check_pte, .reads = true };

/* The tables that huge leaves keep for their split. */
static void check_deposits(struct validation *v, const uint64_t *table, unsigned shift)
{
	const struct folio *at = table_folio(v->m, table)->deposited;
	uint64_t leaves = 0, kept = 0;

	for (unsigned i = 0; i < ENTRIES_PER_TABLE; i++)
		leaves += is_huge_leaf(entry_load(&table[i]));
	for (; at && kept <= leaves * (ENTRIES_PER_TABLE + 1); at = at->deposited)
		kept++;
	REQUIRE(v, kept == leaves * (shift == PMD_SHIFT ? 1 : ENTRIES_PER_TABLE + 1),
		"INV-HUGE-1: the number of deposited tables is wrong");
}

/* Count all entries in all tables: the walks of VMAs must have found each of them. */
static uint64_t entries_below(struct validation *v, const uint64_t *table, unsigned nr, unsigned shift, bool touched)
{
	uint64_t found = 0;

	if (shift == PMD_SHIFT || shift == PUD_SHIFT)
		check_deposits(v, table, shift);
	if (shift == PAGE_SHIFT && v->base)
		check_marks(v, table, touched);
	for (unsigned i = 0; i < nr; i++) {
		uint64_t val = entry_load(&table[i]);

		if (shift == PAGE_SHIFT)
			found += !pte_none(pte_make(val));
		else if (shift < PGD_SHIFT && is_huge_leaf(val))
			found += 1ull << (shift - PAGE_SHIFT);
		else if (val & X86_PRESENT)
			found += entries_below(v, table_of(v->m, val), ENTRIES_PER_TABLE, shift - 9,
					       touched && (val & X86_ACCESSED));
	}
	return found;
}

static void check_mm(struct validation *v, struct vellum_mm *mm)
{
	const struct vma *prev = NULL;
	uint32_t nr = 0;

	v->rss = v->swapped = v->others = 0;
	v->base = mm->base;
	for (struct vma *vma = vma_first(mm); vma; vma = vma_next(vma)) {
		check_vma(v, vma, prev);
		check_linked(v, vma);
		if (v->why)
			return;
		walk_vma_range(vma, vma->start, vma->end, &check_walk_ops, v);
		prev = vma;
		nr++;
	}
	REQUIRE(v, nr == mm->nr_vmas, "INV-VMA-1: the number of VMAs is wrong");
	REQUIRE(v, v->rss == vellum_mm_rss(mm), "rss is not the number of present entries");
	REQUIRE(v, v->swapped == vellum_mm_swapped(mm),
		"the counter of swapped pages is not the number of swap entries");
	v->others += mm->machine_page != NULL;
	REQUIRE(v, v->rss + v->swapped + v->others == entries_below(v, &mm->pgd[0].val, USER_PGD_ENTRIES, PGD_SHIFT, true),
		"an entry is in no VMA");
	REQUIRE(v, !mm->deferred_events, "a userfaultfd event was not delivered");
	REQUIRE(v, !v->m->frame_refs.word, "a fork or a pin has not ended");
	REQUIRE(v, mm->tlb_flush_pending == 0, "INV-TLB-2: a flush window is open");
}

static void check_counts(struct validation *v)
{
	uint64_t free_frames = 0;

	for (uint64_t i = 0; i < v->m->nr_frames; i++) {
		const struct folio *folio = &v->m->folios[i];

		if (!(folio_flags(folio) & PG_USED)) {
			free_frames++;
			REQUIRE(v, !v->mapped[i], "INV-MEM-1: a free frame is mapped");
		} else if (folio->count) {
			REQUIRE(v, folio->count / FOLIO_MAP == v->mapped[i],
				"a folio's mapping count is not the number of its entries");
			REQUIRE(v, (uint32_t)folio->count >= v->mapped[i],
				"a folio has fewer references than mappings");
		}
	}
	REQUIRE(v, free_frames == v->m->nr_free, "INV-MEM-1: the number of free frames is wrong");
}

static void count_slots_of(struct validation *v, const struct vellum_mapping *mapping)
{
	const void *value;

	for (uint64_t i = 0; (value = radix_next(&mapping->swapped, &i)); i++) {
		count_slot(v, (uintptr_t)value >> 1);
		REQUIRE(v, !radix_get(&mapping->pages, i), "INV-SHMEM-1: a page is cached and swapped out");
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
