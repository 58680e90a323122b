/* SPDX-License-Identifier: MIT */
/* Which kept pages a restore drops, page by page, and the numbers of leaves that it drops. */
#include "snap_support.h"
#include "mm/snapshot/snapshot.h"
#include "mm/table/huge.h"

#define HUGE   512
#define FROZEN 24	/* pages with a frozen page; 8 more have none */
#define PAGES  32

static struct snap s;

static uint64_t count_in_table(void)
{
	struct mutex *ptl;
	const pte_t *ptep = pte_find(s.mm, PAGE(0), &ptl);

	return table_folio(s.w->memory, &ptep->val)->index;
}

/* A bit for each page that is kept: not the frozen page, and not missing. */
static uint64_t kept_mask(void)
{
	uint64_t mask = 0;

	for (unsigned i = 0; i < PAGES; i++) {
		pte_t now = entry_at(s.mm, PAGE(i)), then = entry_at(s.snapshot->mms[0].copy, PAGE(i));

		if (!pte_none(now) && (pte_none(then) || pte_pfn(now) != pte_pfn(then)))
			mask |= 1ull << i;
	}
	return mask;
}

/* Run: store to the pages of one mask, load those of the other. Then restore: what is kept and dropped? */
static void run(uint64_t stored, uint64_t loaded, uint64_t kept, unsigned dropped)
{
	for (unsigned i = 0; i < PAGES; i++) {
		if (stored >> i & 1)
			store(s.cpu, PAGE(i), 7);
		if (loaded >> i & 1)
			load(s.cpu, PAGE(i));
	}
	restore(&s);
	assert_int_equal(kept_mask(), kept);
	assert_int_equal(snap_info(s.snapshot).kept_pages, __builtin_popcountll(kept));
	assert_int_equal(snap_info(s.snapshot).copied_pages, __builtin_popcountll(stored));
	assert_int_equal(snap_info(s.snapshot).dropped_pages, dropped);
	assert_int_equal(count_in_table(), FROZEN + __builtin_popcountll(kept >> FROZEN));
	for (unsigned i = 0; i < FROZEN; i++)
		assert_true(pte_unchanged(entry_at(s.mm, PAGE(i))));
	check_world(s.w);
}

static uint64_t pages(unsigned first, unsigned last)
{
	return (2ull << last) - (1ull << first);
}

/* At most 8 are kept. Beyond that they are reduced to 6, those first that were not used since the last time. */
static void least_used_pages_are_dropped(void **state)
{
	struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = 1, .max_kept_pages = 8 };

	(void)state;
	snap_open(&s, &machines[0], 0);
	map_at(s.mm, 0, PAGES, RW, ANON);
	store_range(&s, 0, FROZEN, 100);
	take_images(&s);
	args.mms = s.mms;
	OK(vellum_snapshot_create(&args, &s.snapshot));
	run(0, 0, 0, 0);
	run(pages(0, 7), 0, pages(0, 7), 0);		/* as many as may be kept */
	run(pages(8, 8), 0, pages(3, 8), 3);		/* all were used: the first ones go */
	run(pages(10, 12), pages(3, 4), pages(3, 4) | pages(8, 8) | pages(10, 12), 3);	/* 5 to 7 were not used */
	run(pages(30, 31) | pages(13, 13), 0, pages(10, 13) | pages(30, 31), 3);
	run(pages(14, 16), pages(10, 13), pages(10, 16), 2);	/* there were only two unused ones, and had no page before */
	check_restored(&s);
	snap_close(&s);
}

static void leaves_count_as_all_their_pages(void **state)
{
	struct vellum_snapshot_info info;

	(void)state;
	snap_open(&s, &machines[0], 0);
	map_at(s.mm, HUGE, 2 * HUGE, RW, ANON);
	advise(&s, HUGE, 2 * HUGE, VELLUM_MADV_HUGEPAGE);
	store(s.cpu, PAGE(HUGE + 3), 3);
	freeze(&s);
	restore(&s);
	store(s.cpu, PAGE(2 * HUGE + 5), 5);		/* a leaf where nothing was */
	assert_true(huge_lookup(s.mm, PAGE(2 * HUGE), NULL));
	restore(&s);
	info = snap_info(s.snapshot);
	assert_int_equal(info.dropped_pages, HUGE);
	assert_int_equal(info.copied_pages, 0);
	assert_false(huge_lookup(s.mm, PAGE(2 * HUGE), NULL));
	assert_int_equal(vellum_mm_rss(s.mm), HUGE);
	dontneed(s.mm, HUGE, HUGE);			/* nothing where a leaf was */
	restore(&s);
	assert_int_equal(snap_info(s.snapshot).dropped_pages, HUGE);
	assert_true(huge_lookup(s.mm, PAGE(HUGE), NULL));
	assert_int_equal(vellum_mm_rss(s.mm), HUGE);
	load(s.cpu, PAGE(HUGE + 3));			/* the frozen leaf itself */
	restore(&s);
	assert_int_equal(snap_info(s.snapshot).dropped_pages, 0);
	assert_true(huge_lookup(s.mm, PAGE(HUGE), NULL));
	check_restored(&s);
	snap_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(least_used_pages_are_dropped),
		cmocka_unit_test(leaves_count_as_all_their_pages),
	};

	return cmocka_run_group_tests_name("snap_counts", tests, NULL, NULL);
}
