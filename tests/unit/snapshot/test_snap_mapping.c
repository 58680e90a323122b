/* SPDX-License-Identifier: MIT */
/* Shared memory in snapshots, page by page: which pages exist, which were copied, and what a branch gets. */
#include "snap_support.h"

#define PAGES 12
#define SIZE (BYTES(PAGES - 1) + 77)	/* the last page is there in part */

static struct snap s;

/* Pages 0 to 3 exist, and page 8, and the last one; page 9 is swapped out. The mapping is mapped from page 2 on. */
static const unsigned there[] = { 0, 1, 2, 3, 8, 9, PAGES - 1 };

static uint64_t value(unsigned page)
{
	return 50 + page;
}

static void put_word(struct vellum_mapping *mapping, unsigned page, uint64_t val)
{
	OK(vellum_mapping_write(mapping, BYTES(page), &val, 8));
}

static uint64_t get_word(struct vellum_mapping *mapping, unsigned page)
{
	uint64_t val;

	OK(vellum_mapping_read(mapping, BYTES(page), &val, 8));
	return val;
}

static int setup(void **state)
{
	(void)state;
	snap_open(&s, &machines[0], 0);
	OK(vellum_mapping_create(s.w->memory, NULL, NULL, PAGES, 0, &s.mappings[0]));
	s.nr_mappings = 1;
	OK(vellum_mapping_set_size(s.mappings[0], SIZE));
	map_object(s.mm, 0, PAGES - 2, RW, VELLUM_MAP_SHARED, s.mappings[0], 2, RW);
	for (unsigned i = 0; i < ARRAY_SIZE(there); i++)
		put_word(s.mappings[0], there[i], value(there[i]));
	load(s.cpu, PAGE(7));
	pageout(s.mm, 7, 1);
	OK(vellum_mapping_add_seals(s.mappings[0], VELLUM_SEAL_FUTURE_WRITE));
	OK(freeze_all(&s, &s.snapshot));
	restore(&s);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	snap_close(&s);
	return 0;
}

/* The mapping is as it was frozen, in all that a program can see. */
static void check_mapping(struct vellum_mapping *mapping)
{
	uint64_t index = 0;

	assert_int_equal(vellum_mapping_size(mapping), SIZE);
	assert_int_equal(vellum_mapping_seals(mapping), VELLUM_SEAL_FUTURE_WRITE);
	for (unsigned i = 0; i < ARRAY_SIZE(there); i++, index++) {
		OK(vellum_mapping_next(mapping, &index));
		assert_int_equal(index, there[i]);
	}
	assert_int_equal(vellum_mapping_next(mapping, &index), -VELLUM_ENOENT);
	for (unsigned i = 0; i < ARRAY_SIZE(there); i++)
		assert_int_equal(get_word(mapping, there[i]), value(there[i]));
}

static void check_after_restore(uint64_t copied)
{
	restore(&s);
	assert_int_equal(snap_info(s.snapshot).copied_shared_pages, copied);
	check_mapping(s.mappings[0]);
	must_verify(&s, s.snapshot);
	check_world(s.w);
	restore(&s);
	assert_int_equal(snap_info(s.snapshot).copied_shared_pages, 0);
}

static void each_changed_page_is_copied_once(void **state)
{
	(void)state;
	check_after_restore(0);
	for (unsigned i = 0; i < PAGES - 2; i++) {
		store(s.cpu, PAGE(i), 9);
		check_after_restore(1);		/* copied, or dropped where none was */
	}
	store(s.cpu, PAGE(0), 1);
	store(s.cpu, PAGE(1), 1);
	store(s.cpu, PAGE(4), 1);
	store(s.cpu, PAGE(9), 1);
	check_after_restore(4);
	load(s.cpu, PAGE(0));
	check_after_restore(0);
}

/* Restored bytes are the only copy: reclaim must write them to swap. */
static void restored_pages_are_swapped_out_and_in(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < PAGES - 2; i++)
			store(s.cpu, PAGE(i), 1000 + round);
		if (round)
			reclaim_all(s.w);
		restore(&s);
		reclaim_all(s.w);
		check_mapping(s.mappings[0]);
		must_verify(&s, s.snapshot);
	}
}

static void sizes_are_restored_with_their_pages(void **state)
{
	static const uint64_t sizes[] = { 0, 1, BYTES(1), BYTES(3) - 1, BYTES(3), BYTES(9), SIZE - 1, SIZE + 1,
					  BYTES(PAGES), BYTES(PAGES) + 1, BYTES(30) };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		uint64_t last = sizes[i] ? (sizes[i] - 1) >> PAGE_SHIFT : 0;

		OK(vellum_mapping_set_size(s.mappings[0], sizes[i]));
		if (sizes[i] && last >= 2 && last < PAGES)
			store(s.cpu, PAGE(last - 2), 3);
		restore(&s);
		check_mapping(s.mappings[0]);
		must_verify(&s, s.snapshot);
		check_world(s.w);
		restore(&s);
		assert_int_equal(snap_info(s.snapshot).copied_shared_pages, 0);
	}
}

/* A branch has the frozen pages, and stores on either side are not seen on the other. */
static void branch_has_its_own_pages(void **state)
{
	struct vellum_mapping *copy;
	struct vellum_mm *mm;

	(void)state;
	store(s.cpu, PAGE(0), 4);
	store(s.cpu, PAGE(3), 4);
	OK(vellum_snapshot_branch(s.snapshot, &mm, &copy));
	check_world(s.w);
	check_mapping(copy);
	assert_int_equal(load(s.cpu, PAGE(0)), 4);
	vellum_soft_load_mm(s.w->cpu[1], mm);
	assert_int_equal(load(s.w->cpu[1], PAGE(1)), value(3));
	store(s.w->cpu[1], PAGE(1), 44);
	assert_int_equal(get_word(copy, 3), 44);
	assert_int_equal(get_word(s.mappings[0], 3), value(3));
	check_after_restore(2);
	assert_int_equal(get_word(copy, 3), 44);
	end_child(mm, s.w->cpu[1]);
	vellum_mapping_put(copy);
}

/* A fast pin could store without a fault, so there is none while shared memory is frozen. */
static void fast_pins_work_again_without_a_snapshot(void **state)
{
	uint64_t pfn, done = 0;
	int err;

	(void)state;
	store(s.cpu, PAGE(0), 1);
	err = vellum_pin_pages(s.mm, PAGE(0), 1, VELLUM_GUP_WRITE | VELLUM_GUP_FAST_ONLY, &pfn, &done);
	assert_true(err || !done);
	thaw(&s);
	OK(vellum_pin_pages(s.mm, PAGE(0), 1, VELLUM_GUP_WRITE | VELLUM_GUP_FAST_ONLY, &pfn, &done));
	assert_int_equal(done, 1);
	vellum_unpin_pages(s.w->memory, &pfn, 1);
}

#define MAPPING_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		MAPPING_TEST(each_changed_page_is_copied_once),
		MAPPING_TEST(restored_pages_are_swapped_out_and_in),
		MAPPING_TEST(sizes_are_restored_with_their_pages),
		MAPPING_TEST(branch_has_its_own_pages),
		MAPPING_TEST(fast_pins_work_again_without_a_snapshot),
	};

	return cmocka_run_group_tests_name("snap_mapping", tests, NULL, NULL);
}
