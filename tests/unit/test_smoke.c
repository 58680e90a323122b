/* SPDX-License-Identifier: MIT */
#include "support.h"
static void smoke(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	struct vellum_tracker *t;

	map_at(w->mm, 0, 16, RW, ANON);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 0);
	store(w->cpu[0], PAGE(1), 42);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 42);
	check_world(w);
	assert_int_equal(vellum_track_mm(w->mm, BASE, PAGE(16), VELLUM_TRACK_WP, &t), 0);
	store(w->cpu[0], PAGE(1), 43);
	store(w->cpu[0], PAGE(3), 43);
	load(w->cpu[0], PAGE(2));
	assert_int_equal(collect(t, BASE >> 12), 0xa);
	assert_int_equal(collect(t, BASE >> 12), 0);
	assert_int_equal(vellum_fork(w->mm, &child), 0);
	check_world(w);
	vellum_soft_run(w->cpu[1], child);
	store(w->cpu[1], PAGE(1), 44);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 43);
	store(w->cpu[0], PAGE(1), 45);
	assert_int_equal(load(w->cpu[1], PAGE(1)), 44);
	check_world(w);
	assert_int_equal(collect(t, BASE >> 12), 0x2);
	vellum_soft_run(w->cpu[1], NULL);
	vellum_mm_put(child);
	uint64_t a;
	assert_int_equal(vellum_mremap(w->mm, PAGE(1), 2 * PAGE_SIZE, 20 * PAGE_SIZE, VELLUM_MREMAP_MAYMOVE, &a), 0);
	assert_int_equal(load(w->cpu[0], a), 45);
	check_world(w);
	vellum_tracker_destroy(t);
}
int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test_setup_teardown(smoke, world_setup, world_teardown) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
