/* SPDX-License-Identifier: MIT */
/* MADV_COLLAPSE: its errors; huge pages of shared memory; trackers of huge pages. */
#define _GNU_SOURCE
#include "huge_support.h"
#include "vellum/pagemap.h"
#include "vellum/uffd.h"

static int big_setup(void **state)
{
	*state = malloc(sizeof(struct world));
	world_create(*state, 64 << 20);
	return 0;
}

#define BIG_TEST(fn) cmocka_unit_test_setup_teardown(fn, big_setup, world_teardown)

static int collapse(struct world *w, unsigned at, unsigned pages)
{
	int err = vellum_madvise(w->mm, PAGE(at), BYTES(pages), VELLUM_MADV_COLLAPSE);

	check_world(w);
	return err;
}

/* Store to every @step-th page its number + 1. */
static void fill(struct world *w, unsigned step)
{
	map_at(w->mm, 0, HUGE, RW, ANON);
	for (unsigned i = 0; i < HUGE; i += step)
		store(w->cpu[0], PAGE(i), i + 1);
}

static void expect_filled(struct world *w, unsigned step)
{
	for (unsigned i = 0; i < HUGE; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i % step ? 0 : i + 1);
}

static bool is_huge(struct world *w, unsigned page)
{
	return leaf_at(w->mm, PAGE(page), PMD_SHIFT);
}

/* --- success --- */

static void collapse_of_small_pages(void **state)
{
	struct world *w = *state;
	uint64_t val;

	fill(w, 1);
	OK(collapse(w, 0, HUGE));
	val = leaf_at(w->mm, PAGE(0), PMD_SHIFT);
	assert_int_equal(val & (X86_PSE | X86_RW | X86_DIRTY | X86_SOFT_DIRTY),
			 X86_PSE | X86_RW | X86_DIRTY | X86_SOFT_DIRTY);
	assert_int_equal(vellum_mm_rss(w->mm), HUGE);
	for (unsigned i = 0; i < HUGE; i++)
		assert_true(is_own_page(w, leaf_pfn(val, PMD_SHIFT) + i));
	expect_filled(w, 1);
	OK(collapse(w, 0, HUGE));	/* is huge already */
	unmap(w->mm, 17, 1);		/* the table for the split was reserved */
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(18)), 19);
}

/* none entries and the zero page become zeros. One page that is stored to is enough. */
static void collapse_fills_the_rest_with_zeros(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, HUGE, RW, ANON);
	load(w->cpu[0], PAGE(5));
	store(w->cpu[0], PAGE(9), 10);
	OK(collapse(w, 0, HUGE));
	assert_true(is_huge(w, 0));
	for (unsigned i = 0; i < HUGE; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i == 9 ? 10 : 0);
	store(w->cpu[0], PAGE(5), 1);
	check_world(w);
}

/* Pages that are swapped out are swapped in. */
static void collapse_swaps_in(void **state)
{
	struct world *w = *state;
	struct ram_swap swap;

	ram_swap_start(w, &swap, 4096);
	fill(w, 1);
	OK(vellum_madvise(w->mm, PAGE(20), BYTES(40), VELLUM_MADV_PAGEOUT));
	assert_true(pte_is_genuine_swap(entry_at(w->mm, PAGE(30))));
	OK(collapse(w, 0, HUGE));
	assert_true(is_huge(w, 0));
	assert_int_equal(vellum_mm_swapped(w->mm), 0);
	expect_filled(w, 1);
	unmap(w->mm, 0, HUGE);
	ram_swap_stop(w, &swap);
}

/* --- a failed collapse changes no entry --- */

static void expect_refused(struct world *w, int err)
{
	uint64_t was[HUGE];

	for (unsigned i = 0; i < HUGE; i++)
		was[i] = entry_at(w->mm, PAGE(i)).val;
	assert_int_equal(collapse(w, 0, HUGE), err);
	assert_false(is_huge(w, 0));
	for (unsigned i = 0; i < HUGE; i++)
		assert_int_equal((entry_at(w->mm, PAGE(i)).val ^ was[i]) & ~X86_ACCESSED, 0);
}

static void wrong_ranges_are_refused(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, HUGE - 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	assert_int_equal(collapse(w, 0, HUGE - 1), -EINVAL);
	assert_true(collapse(w, 0, HUGE) < 0);		/* a hole at the end */
	unmap(w->mm, 0, HUGE);
	map_at(w->mm, 0, HUGE, RO, ANON);
	load(w->cpu[0], PAGE(0));
	expect_refused(w, -EINVAL);
	map_at(w->mm, 0, HUGE, RW, ANON);
	assert_int_equal(collapse(w, 0, HUGE), -EINVAL);	/* no page */
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(HUGE), VELLUM_MADV_NOHUGEPAGE));
	store(w->cpu[0], PAGE(0), 1);
	expect_refused(w, -EINVAL);
}

static void pages_shared_after_fork(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t pfn;

	fill(w, 1);
	child = fork_on(w->mm, w->cpu[1]);
	OK(gup_one(child, PAGE(9), 0, &pfn));	/* of a page that both map */
	expect_refused(w, -EAGAIN);
	give_one(w->memory, 0, pfn);
	pfn = pin(child, PAGE(7), 0);		/* gets the child a page of its own */
	OK(collapse(w, 0, HUGE));		/* all others are shared */
	assert_true(is_huge(w, 0));
	expect_filled(w, 1);
	store(w->cpu[0], PAGE(3), 77);
	store(w->cpu[1], PAGE(4), 88);
	assert_int_equal(load(w->cpu[1], PAGE(3)), 4);
	assert_int_equal(load(w->cpu[0], PAGE(4)), 5);
	check_world(w);
	unpin(w, pfn);
	end_child(child, w->cpu[1]);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 77);
	check_world(w);
}

static void pinned_page_is_refused(void **state)
{
	struct world *w = *state;
	uint64_t pfn;

	fill(w, 1);
	pfn = pin(w->mm, PAGE(100), WRITE);
	expect_refused(w, -EAGAIN);
	frame_words(w, pfn)[0] = 5;
	assert_int_equal(load(w->cpu[0], PAGE(100)), 5);
	unpin_dirty(w, pfn);
	OK(gup_one(w->mm, PAGE(100), 0, &pfn));
	expect_refused(w, -EAGAIN);
	give_one(w->memory, 0, pfn);
	OK(collapse(w, 0, HUGE));
	assert_int_equal(load(w->cpu[0], PAGE(100)), 5);
}

static void markers_are_refused(void **state)
{
	struct world *w = *state;

	fill(w, 1);
	OK(vellum_madvise(w->mm, PAGE(3), BYTES(1), VELLUM_MADV_GUARD_INSTALL));
	expect_refused(w, -EINVAL);
	OK(vellum_madvise(w->mm, PAGE(3), BYTES(1), VELLUM_MADV_GUARD_REMOVE));
	set_entry_at(w->mm, PAGE(3), pte_marker(MARKER_POISON));
	expect_refused(w, -EINVAL);
	dontneed(w->mm, 3, 1);
	OK(collapse(w, 0, HUGE));
}

static void none_entries_are_refused_with_uffd(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *uffd;
	uint64_t mask;

	fill(w, 1);
	OK(vellum_uffd_create(w->mm, 0, &uffd));
	OK(vellum_uffd_api(uffd, VELLUM_UFFD_API, VELLUM_UFFD_FEATURE_WP_UNPOPULATED, &mask, &mask));
	OK(vellum_uffd_register(uffd, PAGE(0), BYTES(HUGE), VELLUM_UFFD_WP, &mask));
	OK(vellum_uffd_writeprotect(uffd, PAGE(3), BYTES(1), VELLUM_UFFD_WRITEPROTECT_WP));
	expect_refused(w, -EINVAL);
	dontneed(w->mm, 3, 1);
	OK(vellum_uffd_writeprotect(uffd, PAGE(3), BYTES(1), VELLUM_UFFD_WRITEPROTECT_WP));
	expect_refused(w, -EINVAL);		/* a marker */
	OK(vellum_uffd_writeprotect(uffd, PAGE(3), BYTES(1), 0));
	assert_int_equal(entry_at(w->mm, PAGE(3)).val, 0);
	expect_refused(w, -EBUSY);		/* a none entry */
	load(w->cpu[0], PAGE(3));
	expect_refused(w, -EBUSY);		/* the zero page */
	store(w->cpu[0], PAGE(3), 4);
	OK(collapse(w, 0, HUGE));
	expect_filled(w, 1);
	vellum_uffd_put(uffd);
}

/* Without a free block of 2 MiB: -EBUSY, and no entry changes. */
static void without_memory_refused(void **state)
{
	struct world *w = *state;
	uint64_t *hoard = calloc(w->memory->nr_frames, 8), n = 0;

	fill(w, 1);
	while (!vellum_memory_alloc_device(w->memory, 1, &hoard[n]))
		n++;
	for (unsigned i = 0; i < 100; i++)
		vellum_memory_free_device(w->memory, hoard[--n], 1);
	expect_refused(w, -EBUSY);
	while (n)
		vellum_memory_free_device(w->memory, hoard[--n], 1);
	OK(collapse(w, 0, HUGE));
	expect_filled(w, 1);
	free(hoard);
}

/* --- shared memory --- */

static void shared_memory_collapses(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *shm;
	uint64_t before;

	OK(vellum_mapping_create(w->memory, NULL, NULL, HUGE, 0, &shm));
	map_object(w->mm, 0, HUGE, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	map_object(w->mm, 2 * HUGE, HUGE, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	map_object(w->mm, 4 * HUGE, HUGE, RW, VELLUM_MAP_PRIVATE, shm, 0, RW);
	for (unsigned i = 0; i < HUGE; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	load(w->cpu[0], PAGE(2 * HUGE));
	store(w->cpu[0], PAGE(4 * HUGE + 9), 77);
	OK(collapse(w, 0, HUGE));
	expect_filled(w, 1);
	store(w->cpu[0], PAGE(2 * HUGE + 3), 55);
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 55);
	assert_int_equal(load(w->cpu[0], PAGE(4 * HUGE + 3)), 55);
	assert_int_equal(load(w->cpu[0], PAGE(4 * HUGE + 9)), 77);
	before = free_frames(w);
	OK(vellum_mapping_set_size(shm, BYTES(HUGE / 2)));
	check_world(w);
	assert_true(free_frames(w) >= before + HUGE / 2);
	assert_int_equal(load(w->cpu[0], PAGE(HUGE / 2 - 1)), HUGE / 2);
	assert_int_equal(try_load(w->cpu[0], PAGE(HUGE / 2)), VELLUM_FAULT_SIGBUS);
	OK(vellum_mapping_punch_hole(shm, BYTES(2), BYTES(2)));
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 0);
	unmap(w->mm, 0, 8 * HUGE);
	vellum_mapping_put(shm);
}

/* D that only the huge entry has is propagated to the folio when the entry is removed. */
static void shared_huge_dirt_is_not_lost(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *shm;
	struct vellum_mm *child;
	uint64_t pfn;

	OK(vellum_mapping_create(w->memory, NULL, NULL, HUGE, 0, &shm));
	map_object(w->mm, 0, HUGE, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	for (unsigned i = 0; i < HUGE; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	OK(collapse(w, 0, HUGE));
	store(w->cpu[0], PAGE(5), 66);
	pfn = pin(w->mm, PAGE(5), WRITE | LONGTERM);
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	assert_int_equal(load(w->cpu[1], PAGE(5)), 66);
	store(w->cpu[1], PAGE(5), 67);
	assert_int_equal(frame_words(w, pfn)[0], 67);
	unmap(w->mm, 5, 1);
	check_world(w);
	assert_int_equal(load(w->cpu[1], PAGE(5)), 67);
	end_child(child, w->cpu[1]);
	unmap(w->mm, 0, HUGE);
	assert_true(is_dirty_page(w, pfn));
	unpin(w, pfn);
	map_object(w->mm, 0, HUGE, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	assert_int_equal(load(w->cpu[0], PAGE(5)), 67);
	assert_int_equal(load(w->cpu[0], PAGE(6)), 7);
	check_world(w);
	unmap(w->mm, 0, HUGE);
	vellum_mapping_put(shm);
}

/* --- trackers --- */

static int mark(void *arg, uint64_t first, uint64_t nr)
{
	uint8_t *seen = arg;

	for (uint64_t i = first; i < first + nr; i++)
		seen[i - (BASE >> 12)] = 1;
	return 0;
}

static void expect_collected(struct vellum_tracker *t, unsigned a, unsigned b)
{
	uint8_t seen[HUGE] = { 0 };

	OK(vellum_tracker_collect(t, 0, ~0ull, mark, seen));
	for (unsigned i = 0; i < HUGE; i++)
		assert_int_equal(seen[i], i == a || i == b);
}

static void trackers_split_huge_pages(void **state)
{
	static const enum vellum_track_method methods[] = { VELLUM_TRACK_CLEAN, VELLUM_TRACK_WP, VELLUM_TRACK_AUTO };
	struct world *w = *state;
	struct vellum_tracker *t;

	for (unsigned i = 0; i < ARRAY_SIZE(methods); i++) {
		map_at(w->mm, 0, HUGE, RW, ANON);
		OK(vellum_madvise(w->mm, PAGE(0), BYTES(HUGE), VELLUM_MADV_HUGEPAGE));
		store(w->cpu[0], PAGE(1), 1);
		assert_true(is_huge(w, 0));
		OK(vellum_track_mm(w->mm, PAGE(0), PAGE(HUGE), methods[i], &t));
		check_world(w);
		store(w->cpu[0], PAGE(1), 2);
		store(w->cpu[0], PAGE(300), 2);
		load(w->cpu[0], PAGE(5));
		expect_collected(t, 1, 300);
		expect_collected(t, HUGE, HUGE);
		store(w->cpu[0], PAGE(300), 3);
		expect_collected(t, 300, HUGE);
		check_world(w);
		assert_int_equal(collapse(w, 0, HUGE), -EINVAL);
		vellum_tracker_destroy(t);
		unmap(w->mm, 0, HUGE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BIG_TEST(collapse_of_small_pages),
		BIG_TEST(collapse_fills_the_rest_with_zeros),
		BIG_TEST(collapse_swaps_in),
		BIG_TEST(wrong_ranges_are_refused),
		BIG_TEST(pages_shared_after_fork),
		BIG_TEST(pinned_page_is_refused),
		BIG_TEST(markers_are_refused),
		BIG_TEST(none_entries_are_refused_with_uffd),
		BIG_TEST(without_memory_refused),
		BIG_TEST(shared_memory_collapses),
		BIG_TEST(shared_huge_dirt_is_not_lost),
		BIG_TEST(trackers_split_huge_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
