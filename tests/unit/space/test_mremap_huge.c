/* SPDX-License-Identifier: MIT */
/* mremap(2) of huge leaves: which are moved as a whole, and what trackers hear of them. */
#define _GNU_SOURCE
#include "huge_support.h"
#include "vellum/dirty.h"

static int move_fixed(struct world *w, unsigned from, unsigned pages, unsigned to)
{
	uint64_t addr = PAGE(to);

	return vellum_mremap(w->mm, PAGE(from), BYTES(pages), BYTES(pages), VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED,
			     &addr);
}

static int count_pages(void *arg, uint64_t first, uint64_t nr)
{
	(void)first;
	*(uint64_t *)arg += nr;
	return 0;
}

static uint64_t nr_collected(struct vellum_tracker *t, uint64_t first, uint64_t nr)
{
	uint64_t sum = 0;

	OK(vellum_tracker_collect(t, first, first + nr, count_pages, &sum));
	return sum;
}

/* A leaf that comes from outside of a tracked range: each of its pages is reported, and so are stores from then on. */
static void leaf_moves_into_a_tracked_range(enum vellum_track_method method)
{
	struct vellum_tracker *t;
	struct world w;
	uint64_t first = PAGE(4 * HUGE) >> PAGE_SHIFT;

	world_create(&w, 16 << 20);
	map_at(w.mm, HUGE, HUGE, RW, ANON);
	OK(vellum_madvise(w.mm, PAGE(HUGE), BYTES(HUGE), VELLUM_MADV_HUGEPAGE));
	store(w.cpu[0], PAGE(HUGE + 3), 3);
	assert_true(leaf_at(w.mm, PAGE(HUGE), PMD_SHIFT));
	OK(vellum_track_mm(w.mm, PAGE(3 * HUGE), PAGE(6 * HUGE), method, &t));
	assert_int_equal(nr_collected(t, 0, ~0ull), 0);
	OK(move_fixed(&w, HUGE, HUGE, 4 * HUGE));
	check_world(&w);
	assert_int_equal(nr_collected(t, first, HUGE), HUGE);
	nr_collected(t, 0, ~0ull);	/* AUTO may report D of the leaf once more */
	assert_int_equal(nr_collected(t, 0, ~0ull), 0);
	store(w.cpu[0], PAGE(4 * HUGE + 100), 100);
	assert_int_equal(load(w.cpu[0], PAGE(4 * HUGE + 3)), 3);
	assert_true(nr_collected(t, first + 100, 1) == 1);
	OK(move_fixed(&w, 4 * HUGE, HUGE, 8 * HUGE));
	assert_int_equal(nr_collected(t, first, HUGE), HUGE);	/* the old place has other bytes now */
	vellum_tracker_destroy(t);
	unmap(w.mm, 8 * HUGE, HUGE);
	world_destroy(&w);
}

static void leaf_is_tracked_at_its_new_place(void **state)
{
	(void)state;
	leaf_moves_into_a_tracked_range(VELLUM_TRACK_WP);
	leaf_moves_into_a_tracked_range(VELLUM_TRACK_CLEAN);
	leaf_moves_into_a_tracked_range(VELLUM_TRACK_AUTO);
}

/* A leaf moves as a whole if source, target and length are those of leaves. Its pages are there in any case. */
static void leaf_is_split_unless_all_of_it_fits(void **state)
{
	static const struct {
		unsigned from, to, pages;
		bool whole;
	} rows[] = {
		{ HUGE, 4 * HUGE, HUGE, true }, { HUGE, 4 * HUGE, HUGE - 1, false }, { HUGE, 4 * HUGE + 1, HUGE, false },
		{ HUGE + 1, 4 * HUGE + 1, HUGE - 1, false }, { HUGE, 4 * HUGE, HUGE + 2, true },
		{ HUGE - 2, 4 * HUGE - 2, HUGE + 3, true }, { HUGE - 1, 4 * HUGE - 2, HUGE + 1, false },
	};
	struct world w;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		world_create(&w, 16 << 20);
		map_at(w.mm, HUGE - 4, HUGE + 8, RW, ANON);
		OK(vellum_madvise(w.mm, PAGE(HUGE), BYTES(HUGE), VELLUM_MADV_HUGEPAGE));
		OK(vellum_madvise(w.mm, PAGE(HUGE - 4), BYTES(HUGE + 8), VELLUM_MADV_HUGEPAGE));
		for (unsigned p = HUGE - 4; p < 2 * HUGE + 4; p++)
			store(w.cpu[0], PAGE(p), p);
		assert_true(leaf_at(w.mm, PAGE(HUGE), PMD_SHIFT));
		OK(move_fixed(&w, rows[i].from, rows[i].pages, rows[i].to));
		check_world(&w);
		assert_int_equal(!!leaf_at(w.mm, PAGE(4 * HUGE), PMD_SHIFT), rows[i].whole);
		assert_int_equal(vellum_mm_rss(w.mm), HUGE + 8);
		for (unsigned p = HUGE - 4; p < 2 * HUGE + 4; p++) {
			bool moved = p >= rows[i].from && p < rows[i].from + rows[i].pages;

			assert_int_equal(load(w.cpu[0], PAGE(moved ? rows[i].to + p - rows[i].from : p)), p);
			if (moved)
				assert_true(pte_none(page_entry(w.mm, PAGE(p))));
		}
		OK(vellum_munmap(w.mm, PAGE(0), BYTES(8 * HUGE)));
		world_destroy(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(leaf_is_tracked_at_its_new_place),
		cmocka_unit_test(leaf_is_split_unless_all_of_it_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
