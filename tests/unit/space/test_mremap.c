/* SPDX-License-Identifier: MIT */
/* mremap(2) with a fixed target: lengths and borders of tables, kinds of entries, what is outside of the ranges. */
#include "swap_support.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"

#define FIXED (VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED)
#define KEPT  (FIXED | VELLUM_MREMAP_DONTUNMAP)
#define MARGIN 2	/* mapped pages on each side of the source and of the target */
#define MOST   6	/* pages of one range */

/* --- each length, at each border --- */

/* The kinds of entries, by page of the source. */
enum kind { STORED, NONE, SWAPPED, ZERO, NR_KINDS };

static enum kind kind_of(unsigned page)
{
	return page % NR_KINDS;
}

struct span {
	unsigned from, to;		/* pages */
	unsigned old_len, new_len;
	pte_t entry[MOST + 2 * MARGIN];	/* of the source, from @from - MARGIN on */
};

static uint64_t source_value(unsigned i)
{
	return 1000 + i;
}

static uint64_t target_value(unsigned i)
{
	return 2000 + i;
}

static void fill_source(struct world *w, struct span *s)
{
	unsigned nr = s->old_len + 2 * MARGIN, at = s->from - MARGIN;

	map_at(w->mm, at, nr, RW, ANON);
	for (unsigned i = 0; i < nr; i++)
		if (kind_of(i) == SWAPPED)
			store(w->cpu[0], PAGE(at + i), source_value(i));
	pageout(w->mm, at, nr);
	for (unsigned i = 0; i < nr; i++) {
		if (kind_of(i) == STORED)
			store(w->cpu[0], PAGE(at + i), source_value(i));
		if (kind_of(i) == ZERO)
			assert_int_equal(load(w->cpu[0], PAGE(at + i)), 0);
	}
}

static void prepare_span(struct world *w, struct span *s)
{
	unsigned nr = s->new_len + 2 * MARGIN;

	fill_source(w, s);
	map_at(w->mm, s->to - MARGIN, nr, RW, ANON);
	for (unsigned i = 0; i < nr; i++)
		store(w->cpu[0], PAGE(s->to - MARGIN + i), target_value(i));
	clear_soft_dirty(w->mm);
	for (unsigned i = 0; i < s->old_len + 2 * MARGIN; i++)
		s->entry[i] = entry_at(w->mm, PAGE(s->from - MARGIN + i));
}

/* Page @i of the source, counted from @from - MARGIN, is at @addr. */
static void check_value(struct world *w, uint64_t addr, unsigned i)
{
	assert_int_equal(load(w->cpu[0], addr),
			 kind_of(i) == STORED || kind_of(i) == SWAPPED ? source_value(i) : 0);
}

/* The entry @now is @was, moved: the same page or slot, and soft-dirty. */
static void check_moved_entry(pte_t now, pte_t was)
{
	assert_int_equal(pte_none(now), pte_none(was));
	if (pte_present(was)) {
		assert_true(pte_present(now));
		assert_int_equal(pte_pfn(now), pte_pfn(was));
		assert_int_equal(pte_write(now), pte_write(was));
		assert_true(pte_soft_dirty(now));
	} else if (!pte_none(was)) {
		assert_int_equal(pte_slot(now), pte_slot(was));
		assert_true(pte_swp_soft_dirty(now));
	}
}

static void check_entries(struct world *w, const struct span *s)
{
	for (unsigned i = 0; i < s->old_len + 2 * MARGIN; i++) {
		bool inside = i >= MARGIN && i < MARGIN + s->old_len;
		pte_t here = entry_at(w->mm, PAGE(s->from - MARGIN + i));

		if (!inside) {
			assert_int_equal(here.val, s->entry[i].val);
			continue;
		}
		assert_int_equal(here.val, 0);
		if (i - MARGIN < s->new_len)
			check_moved_entry(entry_at(w->mm, PAGE(s->to + i - MARGIN)), s->entry[i]);
	}
	for (unsigned i = s->old_len; i < s->new_len; i++)
		assert_int_equal(entry_at(w->mm, PAGE(s->to + i)).val, 0);
}

static void check_bytes(struct world *w, const struct span *s, uint32_t flags)
{
	for (unsigned i = 0; i < s->new_len; i++)
		if (i < s->old_len)
			check_value(w, PAGE(s->to + i), MARGIN + i);
		else
			assert_int_equal(load(w->cpu[0], PAGE(s->to + i)), 0);
	for (unsigned i = 0; i < s->old_len; i++)
		if (flags & VELLUM_MREMAP_DONTUNMAP)
			assert_int_equal(load(w->cpu[0], PAGE(s->from + i)), 0);
		else
			assert_int_equal(try_load(w->cpu[0], PAGE(s->from + i)), VELLUM_FAULT_SIGSEGV_MAPERR);
	for (unsigned i = 0; i < MARGIN; i++) {
		unsigned high = MARGIN + s->old_len + i, above = MARGIN + s->new_len + i;

		check_value(w, PAGE(s->from - MARGIN + i), i);
		check_value(w, PAGE(s->from + s->old_len + i), high);
		assert_int_equal(load(w->cpu[0], PAGE(s->to - MARGIN + i)), target_value(i));
		assert_int_equal(load(w->cpu[0], PAGE(s->to + s->new_len + i)), target_value(above));
	}
}

/* Pages and swap entries that the address space has, as its tables say. */
static void check_counts(struct world *w, const struct span *s)
{
	uint64_t rss = 0, swapped = 0;

	for (unsigned i = 0; i < MOST + 2 * MARGIN; i++)
		for (unsigned j = 0; j < 2; j++) {
			pte_t pte = entry_at(w->mm, PAGE((j ? s->to : s->from) - MARGIN + i));

			rss += pte_present(pte);
			swapped += pte_is_genuine_swap(pte);
		}
	assert_int_equal(vellum_mm_rss(w->mm), rss);
	assert_int_equal(vellum_mm_swapped(w->mm), swapped);
}

static void move_span(struct world *w, struct span *s, uint32_t flags)
{
	uint64_t addr = PAGE(s->to);

	prepare_span(w, s);
	OK(vellum_mremap(w->mm, PAGE(s->from), BYTES(s->old_len), BYTES(s->new_len), flags, &addr));
	assert_int_equal(addr, PAGE(s->to));
	check_world(w);
	check_entries(w, s);
	check_counts(w, s);
	check_bytes(w, s, flags);
	check_world(w);
	unmap(w->mm, s->from - MARGIN, MOST + 2 * MARGIN);
	unmap(w->mm, s->to - MARGIN, MOST + 2 * MARGIN);
	assert_int_equal(nr_vmas(w->mm), 0);
}

/* Ranges begin, end or lie across borders of last-level tables, of PMD tables and of PUD tables. */
static void fixed_target_takes_each_length(void **state)
{
	static const unsigned from[] = { 512 - 3, 512, 1 << 18, (1 << 18) - 2 }, to[] = { 2048, 2048 - 1, (2 << 18) - 4 };
	static const unsigned lengths[][2] = { { 1, 1 }, { 6, 6 }, { 6, 2 }, { 5, 1 }, { 2, 6 }, { 1, 5 }, { 3, 4 } };
	struct swap_world *sw = *state;

	for (unsigned f = 0; f < ARRAY_SIZE(from); f++)
		for (unsigned t = 0; t < ARRAY_SIZE(to); t++)
			for (unsigned l = 0; l < ARRAY_SIZE(lengths); l++) {
				struct span s = { .from = from[f], .to = to[t], .old_len = lengths[l][0],
						  .new_len = lengths[l][1] };

				move_span(&sw->w, &s, FIXED);
				s.new_len = s.old_len;
				move_span(&sw->w, &s, KEPT);
			}
}

/* --- where the target may be --- */

static int remap_to(struct world *w, uint64_t old, uint64_t old_len, uint64_t new_len, uint32_t flags, uint64_t to)
{
	return vellum_mremap(w->mm, old, old_len, new_len, flags, &to);
}

static void target_may_touch_the_source_but_not_overlap_it(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;

	map_at(w->mm, 10, 8, RW, ANON);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(10 + i), i + 1);
	assert_int_equal(remap_to(w, PAGE(12), BYTES(4), BYTES(4), FIXED, PAGE(9)), -EINVAL);
	assert_int_equal(remap_to(w, PAGE(12), BYTES(4), BYTES(4), FIXED, PAGE(15)), -EINVAL);
	assert_int_equal(remap_to(w, PAGE(12), BYTES(2), BYTES(5), FIXED, PAGE(8)), -EINVAL);
	assert_int_equal(remap_to(w, PAGE(12), BYTES(4), BYTES(4), FIXED, PAGE(20) + 1), -EINVAL);
	assert_int_equal(remap_to(w, PAGE(12), BYTES(4), BYTES(4), FIXED | 8, PAGE(20)), -EINVAL);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(load(w->cpu[0], PAGE(10 + i)), i + 1);
	OK(remap_to(w, PAGE(12), BYTES(2), BYTES(2), FIXED, PAGE(10)));		/* over what is just below */
	OK(remap_to(w, PAGE(10), BYTES(2), BYTES(2), FIXED, PAGE(12)));		/* to just above, which is free */
	OK(remap_to(w, PAGE(12), BYTES(2), BYTES(2), FIXED, PAGE(14)));		/* over what is just above */
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(load(w->cpu[0], PAGE(14 + i)), i < 2 ? i + 3 : i + 5);
	assert_int_equal(try_load(w->cpu[0], PAGE(13)), VELLUM_FAULT_SIGSEGV_MAPERR);
}

static void target_ends_below_the_end_of_addresses(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	uint64_t top = VELLUM_TASK_SIZE, min = 16 * PAGE_SIZE;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(1), 11);
	assert_int_equal(remap_to(w, BASE, BYTES(2), BYTES(2), FIXED, top - BYTES(1)), -EINVAL);
	assert_int_equal(remap_to(w, BASE, BYTES(2), BYTES(2), FIXED, top), -EINVAL);
	assert_int_equal(remap_to(w, BASE, BYTES(2), BYTES(2), FIXED, ~0ull << PAGE_SHIFT), -EINVAL);
	assert_int_equal(remap_to(w, BASE, BYTES(2), top + 1, VELLUM_MREMAP_MAYMOVE, 0), -EINVAL);
	assert_int_equal(remap_to(w, BASE, BYTES(2), ~0ull, VELLUM_MREMAP_MAYMOVE, 0), -EINVAL);
	assert_int_equal(remap_to(w, BASE, BYTES(2), top, VELLUM_MREMAP_MAYMOVE, 0), -ENOMEM);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 11);
	OK(remap_to(w, BASE, BYTES(2), BYTES(3), FIXED, top - BYTES(3)));
	assert_int_equal(load(w->cpu[0], top - BYTES(2)), 11);
	assert_int_equal(load(w->cpu[0], top - BYTES(1)), 0);
	/* There it cannot grow in place. */
	assert_int_equal(remap_to(w, top - BYTES(3), BYTES(3), BYTES(4), 0, 0), -ENOMEM);
	vellum_set_mmap_min_addr(w->mm, min);
	assert_int_equal(remap_to(w, top - BYTES(3), BYTES(3), BYTES(3), FIXED, min - BYTES(1)), -EPERM);
	OK(remap_to(w, top - BYTES(3), BYTES(3), BYTES(3), FIXED, min));
	assert_int_equal(load(w->cpu[0], min + BYTES(1)), 11);
	OK(remap_to(w, min, BYTES(3), BYTES(2), FIXED, top - BYTES(5)));
	OK(remap_to(w, top - BYTES(5), BYTES(2), BYTES(5), 0, 0));	/* up to the last page */
	assert_int_equal(load(w->cpu[0], top - BYTES(4)), 11);
	assert_int_equal(load(w->cpu[0], top - BYTES(1)), 0);
}

/* Growth in place needs a gap, and the whole growth must fit. */
static void growth_in_place_fills_the_gap_exactly(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	uint64_t addr = 1;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 7, 1, RO, ANON);
	store(w->cpu[0], PAGE(3), 3);
	assert_int_equal(vellum_mremap(w->mm, BASE, BYTES(4), BYTES(8), 0, &addr), -ENOMEM);
	assert_int_equal(vellum_mremap(w->mm, BASE, BYTES(3), BYTES(4), 0, &addr), -ENOMEM);	/* not the VMA's end */
	assert_int_equal(addr, 1);
	OK(vellum_mremap(w->mm, BASE, BYTES(4), BYTES(7), 0, &addr));
	assert_int_equal(addr, BASE);
	assert_int_equal(vma_at(w->mm, BASE)->end, PAGE(7));
	/* The index of the last page must not wrap. No page exists, so no tree has the VMA's index yet. */
	map_at(w->mm, 20, 4, RW, ANON);
	vma_at(w->mm, PAGE(20))->pgoff = ~0ull - 5;
	assert_int_equal(vellum_mremap(w->mm, PAGE(22), BYTES(2), BYTES(4), 0, &addr), -EINVAL);
	vma_at(w->mm, PAGE(20))->pgoff = PAGE(20) >> PAGE_SHIFT;
	OK(vellum_mremap(w->mm, PAGE(22), BYTES(2), BYTES(4), 0, &addr));
	assert_int_equal(vma_at(w->mm, PAGE(20))->end, PAGE(26));
}

/* --- the VMA that stays --- */

/* A length of 0 makes a second VMA of the same pages, and moves none. */
static void length_of_zero_maps_shared_pages_again(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	uint64_t rss;

	map_at(w->mm, 0, 8, RW, SHANON);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	rss = vellum_mm_rss(w->mm);
	assert_int_equal(remap_to(w, PAGE(2), 0, BYTES(4), VELLUM_MREMAP_FIXED, PAGE(20)), -EINVAL);
	OK(remap_to(w, PAGE(2), 0, BYTES(4), FIXED, PAGE(20)));
	assert_int_equal(vellum_mm_rss(w->mm), rss);
	assert_int_equal(nr_vmas(w->mm), 2);
	assert_int_equal(vma_at(w->mm, PAGE(20))->pgoff, 2);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(20 + i), load(w->cpu[0], PAGE(20 + i)) + 100);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i + 1 + (i >= 2 && i < 6 ? 100 : 0));
	/* Private memory has nothing that a second VMA could share. */
	map_at(w->mm, 40, 2, RW, ANON);
	assert_int_equal(remap_to(w, PAGE(40), 0, BYTES(2), FIXED, PAGE(50)), -EINVAL);
	assert_int_equal(nr_vmas(w->mm), 3);
}

/* With DONTUNMAP, a free target is a hint, the lock moves with the pages, and shared pages stay where they were too. */
static void dontunmap_leaves_an_unlocked_vma(void **state)
{
	const uint32_t flags = VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_DONTUNMAP;
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	uint64_t addr = PAGE(20);

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 30, 1, RW, ANON);
	store(w->cpu[0], PAGE(1), 1);
	OK(vellum_mlock(w->mm, PAGE(0), BYTES(4), VELLUM_MLOCK_ONFAULT));
	OK(vellum_mremap(w->mm, PAGE(0), BYTES(4), BYTES(4), flags, &addr));
	assert_int_equal(addr, PAGE(20));
	assert_int_equal(vma_at(w->mm, PAGE(0))->flags & (VM_LOCKED | VM_LOCKONFAULT), 0);
	assert_int_equal(vma_at(w->mm, PAGE(20))->flags & (VM_LOCKED | VM_LOCKONFAULT), VM_LOCKED | VM_LOCKONFAULT);
	assert_int_equal(load(w->cpu[0], PAGE(21)), 1);
	assert_int_equal(entry_at(w->mm, PAGE(1)).val, 0);
	addr = PAGE(30);
	OK(vellum_mremap(w->mm, PAGE(20), BYTES(4), BYTES(4), flags, &addr));	/* the hint is taken */
	assert_int_not_equal(addr, PAGE(30));
	assert_int_equal(load(w->cpu[0], addr + BYTES(1)), 1);
	assert_int_equal(remap_to(w, PAGE(0), BYTES(4), BYTES(4), VELLUM_MREMAP_DONTUNMAP, 0), -EINVAL);
	assert_int_equal(remap_to(w, PAGE(0), BYTES(4), BYTES(3), flags, 0), -EINVAL);
	map_at(w->mm, 50, 2, RW, SHANON);
	store(w->cpu[0], PAGE(50), 50);
	OK(remap_to(w, PAGE(50), BYTES(2), BYTES(2), KEPT, PAGE(60)));
	assert_int_equal(load(w->cpu[0], PAGE(50)), 50);
	store(w->cpu[0], PAGE(60), 60);
	assert_int_equal(load(w->cpu[0], PAGE(50)), 60);
}

/* --- failures --- */

/* Each allocation of a move from the middle of a VMA fails once: all is as before, or all has moved. */
static void failed_move_changes_nothing(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	unsigned failures = 0;

	for (unsigned k = 1;; k++) {
		bool failed;

		map_at(w->mm, 0, 12, RW, ANON);
		for (unsigned i = 0; i < 12; i++)
			store(w->cpu[0], PAGE(i), i + 1);
		w->host.fail_at = w->host.nr_allocs + k;
		failed = remap_to(w, PAGE(4), BYTES(4), BYTES(4), FIXED, PAGE(5000)) != 0;
		failures += failed;
		w->host.fail_at = 0;
		check_world(w);
		assert_int_equal(nr_vmas(w->mm), failed ? 1 : 3);
		for (unsigned i = 0; i < 12; i++)
			assert_int_equal(load(w->cpu[0], !failed && i / 4 == 1 ? PAGE(4996 + i) : PAGE(i)), i + 1);
		unmap(w->mm, 0, 12);
		unmap(w->mm, 5000, 4);
		if (!failed)
			break;
	}
	assert_int_equal(failures, 3);	/* two splits and the new VMA */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWAP_TEST(fixed_target_takes_each_length),
		SWAP_TEST(target_may_touch_the_source_but_not_overlap_it),
		SWAP_TEST(target_ends_below_the_end_of_addresses),
		SWAP_TEST(growth_in_place_fills_the_gap_exactly),
		SWAP_TEST(length_of_zero_maps_shared_pages_again),
		SWAP_TEST(dontunmap_leaves_an_unlocked_vma),
		SWAP_TEST(failed_move_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
