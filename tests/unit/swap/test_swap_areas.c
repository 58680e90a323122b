/* SPDX-License-Identifier: MIT */
/* Several swap areas, and removal of areas with pages in them. */
#include "swap_support.h"

static void areas_fill_one_after_the_other(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	struct disk small[2];

	OK(vellum_swap_remove(w->memory, sw->disk.area));
	disk_create(&small[0], w, 3);
	disk_create(&small[1], w, 4);
	assert_int_not_equal(small[0].area, small[1].area);
	map_at(w->mm, 0, 10, RW, ANON);
	for (unsigned i = 0; i < 10; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	pageout(w->mm, 0, 10);
	check_world(w);
	assert_int_equal(slots_used(w), 7);
	assert_int_equal(small[0].writes, 3);
	assert_int_equal(small[1].writes, 4);
	assert_int_equal(vellum_mm_swapped(w->mm), 7);
	for (unsigned i = 0; i < 10; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i + 1);
	for (unsigned i = 0; i < 2; i++) {
		OK(vellum_swap_remove(w->memory, small[i].area));
		assert_int_equal(vellum_swap_remove(w->memory, small[i].area), -EINVAL);
		disk_destroy(&small[i]);
	}
}

static void too_many_areas(void **state)
{
	struct world *w = *state;
	struct disk d[VELLUM_MAX_SWAP_AREAS];
	struct disk one = { .nr = 1 };
	unsigned n;

	for (n = 0; n < VELLUM_MAX_SWAP_AREAS - 1; n++)
		disk_create(&d[n], w, 1);
	assert_int_equal(vellum_swap_add(w->memory, &disk_ops, &one, 1, NULL), -VELLUM_ENOSPC);
	assert_int_equal(vellum_swap_add(w->memory, &disk_ops, &one, 0, NULL), -EINVAL);
	assert_int_equal(vellum_swap_add(w->memory, NULL, &one, 1, NULL), -EINVAL);
	assert_int_equal(vellum_swap_remove(w->memory, VELLUM_MAX_SWAP_AREAS), -EINVAL);
	while (n) {
		OK(vellum_swap_remove(w->memory, d[--n].area));
		disk_destroy(&d[n]);
	}
}

static void remove_swaps_all_pages_in(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	struct vellum_uffd *uffd;
	struct vellum_mm *child;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 8, 4, RW, SHANON);
	uffd = register_wp(w->mm, 1, 1, VELLUM_UFFD_FEATURE_WP_ASYNC);
	for (unsigned i = 0; i < 12; i++)
		if (i < 4 || i >= 8)
			store(w->cpu[0], PAGE(i), i + 1);
	clear_soft_dirty(w->mm);
	store(w->cpu[0], PAGE(2), 3);
	wp(uffd, 1, 1);
	pageout(w->mm, 0, 4);
	pageout(w->mm, 8, 4);
	child = fork_on(w->mm, w->cpu[1]);
	store(w->cpu[0], PAGE(3), 44);
	OK(vellum_swap_remove(w->memory, sw->disk.area));
	check_world(w);
	assert_int_equal(vellum_mm_swapped(w->mm) + vellum_mm_swapped(child), 0);
	for (unsigned i = 0; i < 4; i++) {
		pte_t pte = entry_at(w->mm, PAGE(i));

		assert_true(pte_present(pte) && is_in(child, PAGE(i)));
		assert_int_equal(pte_soft_dirty(pte), i >= 2);
		assert_int_equal(pte_uffd_wp(pte), i == 1);
		assert_int_equal(!!pte_dirty(pte), i == 3);
	}
	sw->disk.read_err = -VELLUM_EIO;
	for (unsigned i = 0; i < 12; i++)
		if (i < 4 || i >= 8) {
			assert_int_equal(load(w->cpu[0], PAGE(i)), i == 3 ? 44 : i + 1);
			assert_int_equal(load(w->cpu[1], PAGE(i)), i + 1);
		}
	assert_int_equal(reclaim_all(w), 0);
	end_child(child, w->cpu[1]);
	vellum_uffd_put(uffd);
}

static void remove_of_one_area_leaves_the_other(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	static struct disk second;

	OK(vellum_swap_remove(w->memory, sw->disk.area));
	disk_destroy(&sw->disk);
	disk_create(&sw->disk, w, 4);
	disk_create(&second, w, 100);
	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 8, 4, RW, SHANON);
	for (unsigned i = 0; i < 4; i++) {
		store(w->cpu[0], PAGE(i), i + 1);
		store(w->cpu[0], PAGE(8 + i), i + 9);
	}
	pageout(w->mm, 0, 2);
	pageout(w->mm, 8, 2);	/* the first area is full */
	pageout(w->mm, 2, 2);
	pageout(w->mm, 10, 2);
	assert_int_equal(second.writes, 4);
	OK(vellum_swap_remove(w->memory, sw->disk.area));
	check_world(w);
	assert_int_equal(second.reads, 0);
	assert_int_equal(slots_used(w), 4);
	assert_true(is_in(w->mm, PAGE(1)) && is_out(w->mm, PAGE(2)));
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(load(w->cpu[0], PAGE(i)), i + 1);
		assert_int_equal(load(w->cpu[0], PAGE(8 + i)), i + 9);
	}
	OK(vellum_swap_remove(w->memory, second.area));
	disk_destroy(&second);
}

static void unreadable_pages_become_poison(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	struct vellum_mm *child;

	map_at(w->mm, 0, 3, RW, ANON);
	for (unsigned i = 0; i < 3; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	pageout(w->mm, 0, 3);
	child = fork_on(w->mm, w->cpu[1]);
	sw->disk.read_err = -VELLUM_EIO;
	sw->disk.bad_slot = pte_swp_offset(entry_at(w->mm, PAGE(1)));
	OK(vellum_swap_remove(w->memory, sw->disk.area));
	check_world(w);
	assert_int_equal(pte_marker_bits(entry_at(w->mm, PAGE(1))), MARKER_POISON);
	assert_int_equal(pte_marker_bits(entry_at(child, PAGE(1))), MARKER_POISON);
	assert_int_equal(try_load(w->cpu[0], PAGE(1)), VELLUM_FAULT_HWPOISON);
	assert_int_equal(try_store(w->cpu[1], PAGE(1), 1), VELLUM_FAULT_HWPOISON);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
	assert_int_equal(load(w->cpu[1], PAGE(2)), 3);
	dontneed(w->mm, 1, 1);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 0);
	assert_int_equal(vellum_mm_swapped(w->mm), 0);
	check_world(w);
	end_child(child, w->cpu[1]);
}

/* A page that could not be written is only in RAM, though its entries name a slot. */
static void remove_after_write_errors(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(1), 2);
	sw->disk.write_err = -VELLUM_EIO;
	pageout(w->mm, 0, 2);
	OK(vellum_swap_remove(w->memory, sw->disk.area));
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 2);
	assert_int_equal(sw->disk.reads, 0);
}

/*
 * The area has more pages than RAM has free frames: the pages that were swapped in stay, and the area stays in
 * use.
 */
static void remove_without_free_frames_fails(void **state)
{
	enum { PAGES = 1200 };
	static struct swap_world sw;
	struct world *w = &sw.w;

	(void)state;
	swap_world_create(&sw, 4 << 20, 2000);
	map_at(w->mm, 0, PAGES, RW, ANON | VELLUM_MAP_NORESERVE);
	for (unsigned i = 0; i < PAGES; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	assert_int_equal(vellum_swap_remove(w->memory, sw.disk.area), -ENOMEM);
	check_world(w);
	assert_int_equal(vellum_mm_rss(w->mm) + vellum_mm_swapped(w->mm), PAGES);
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i + 1);	/* pages are swapped out to it again */
	dontneed(w->mm, 600, 600);
	OK(vellum_swap_remove(w->memory, sw.disk.area));
	check_world(w);
	assert_int_equal(vellum_mm_swapped(w->mm), 0);
	for (unsigned i = 0; i < 600; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i + 1);
	swap_world_destroy(&sw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWAP_TEST(areas_fill_one_after_the_other),
		SWAP_TEST(too_many_areas),
		SWAP_TEST(remove_swaps_all_pages_in),
		SWAP_TEST(remove_of_one_area_leaves_the_other),
		SWAP_TEST(unreadable_pages_become_poison),
		SWAP_TEST(remove_after_write_errors),
		cmocka_unit_test(remove_without_free_frames_fails),
	};

	return cmocka_run_group_tests_name("swap_areas", tests, NULL, NULL);
}
