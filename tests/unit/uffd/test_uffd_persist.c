/* SPDX-License-Identifier: MIT */
/* userfaultfd: protection of shared memory stays after its pages are removed. */
#include "uffd_support.h"

/* --- holes, truncation --- */

static void T_uffd_06_holes(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mapping *mapping = new_shmem(w, 4);

	map_object(w->mm, 0, 4, RW, VELLUM_MAP_PRIVATE, mapping, 0, RW);
	map_object(w->mm, 8, 4, RW, VELLUM_MAP_SHARED, mapping, 0, RW);
	store(w->cpu[0], PAGE(1), 61); /* a private copy */
	store(w->cpu[0], PAGE(9), 62);
	enrol(w, u, 0, 12, WP);
	guard_writes(w, u, 0, 12);
	OK(vellum_mapping_punch_hole(mapping, 0, BYTES(2)));
	check_world(w);
	assert_word(w, 1, IS_WP_PAGE);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 61);
	assert_word(w, 9, IS_WP_NONE);
	assert_int_equal(load(w->cpu[0], PAGE(9)), 0);
	assert_word(w, 9, IS_WP_PAGE);
	store_waits(w, u, 1, 63);
	store_waits(w, u, 9, 64);
	unmap(w->mm, 0, 12);
	vellum_mapping_put(mapping);
	vellum_uffd_put(u);
}

static void T_uffd_06_truncation(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mapping *mapping = new_shmem(w, 4);

	map_object(w->mm, 0, 4, RW, VELLUM_MAP_PRIVATE, mapping, 0, RW);
	map_object(w->mm, 8, 4, RW, VELLUM_MAP_SHARED, mapping, 0, RW);
	store(w->cpu[0], PAGE(1), 61);
	store(w->cpu[0], PAGE(9), 62);
	enrol(w, u, 0, 12, WP);
	guard_writes(w, u, 0, 12);
	OK(vellum_mapping_set_size(mapping, 0));
	check_world(w);
	assert_int_equal(try_load(w->cpu[0], PAGE(9)), VELLUM_FAULT_SIGBUS);
	OK(vellum_mapping_set_size(mapping, BYTES(4)));
	check_world(w);
	for (unsigned i = 1; i < 12; i += 8) { /* drops private copies, too; the markers stay */
		assert_word(w, i, IS_WP_NONE);
		assert_int_equal(load(w->cpu[0], PAGE(i)), 0);
		check_world(w);
		assert_word(w, i, IS_WP_PAGE);
		store_waits(w, u, i, 65 + i);
	}
	unmap(w->mm, 0, 12);
	vellum_mapping_put(mapping);
	vellum_uffd_put(u);
}

static void madv_remove_keeps_protection(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);

	map_protected(w, u, 0);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(4), VELLUM_MADV_REMOVE));
	check_world(w);
	assert_word(w, 0, IS_WP_NONE);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 0);
	store_waits(w, u, 0, 2);
	vellum_uffd_put(u);
}

/* --- reclaim, other address spaces, huge pages --- */

static void reclaim_leaves_a_marker(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct swap_array *swap = malloc(sizeof(*swap));

	add_swap(w, swap);
	map_protected(w, u, 0);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(4), VELLUM_MADV_PAGEOUT));
	check_world(w);
	assert_true(pte_is_marker(entry_at(w->mm, PAGE(0))));
	assert_word(w, 0, IS_WP_NONE);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
	check_world(w);
	assert_word(w, 0, IS_WP_PAGE);
	store_waits(w, u, 0, 2);
	unmap(w->mm, 0, 4);
	vellum_uffd_put(u);
	OK(vellum_swap_remove(w->memory, 0));
	free(swap);
}

static void marker_stays_if_another_address_space_faults(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mapping *mapping;
	struct vellum_mm *other;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 4, 0, &mapping));
	OK(vellum_mm_create(w->memory, &other));
	map_object(other, 0, 4, RW, VELLUM_MAP_SHARED, mapping, 0, RW);
	map_object(w->mm, 0, 4, RW, VELLUM_MAP_SHARED, mapping, 0, RW);
	enrol(w, u, 0, 4, WP);
	guard_writes(w, u, 0, 4);
	vellum_soft_load_mm(w->cpu[2], other);
	store(w->cpu[2], PAGE(1), 7);
	assert_word(w, 1, IS_WP_NONE);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 7);
	assert_word(w, 1, IS_WP_PAGE);
	store_waits(w, u, 1, 8);
	assert_int_equal(load(w->cpu[2], PAGE(1)), 8);
	store(w->cpu[2], PAGE(1), 9); /* this address space is not registered */
	end_child(other, w->cpu[2]);
	unmap(w->mm, 0, 4);
	vellum_mapping_put(mapping);
	vellum_uffd_put(u);
}

static void huge_page_of_shared_memory(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);

	map_at(w->mm, 512, 512, RW, SHANON);
	for (unsigned i = 0; i < 512; i++)
		store(w->cpu[0], PAGE(512 + i), i);
	OK(vellum_madvise(w->mm, PAGE(512), BYTES(512), VELLUM_MADV_COLLAPSE));
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(513)), 1);
	assert_int_equal(entry_at(w->mm, PAGE(513)).val, 0); /* no table */
	enrol(w, u, 512, 512, WP);
	guard_writes(w, u, 512, 512);
	for (unsigned i = 0; i < 512; i++) /* small pages that are protected, or wp markers */
		assert_int_equal(word(w, 512 + i) & VELLUM_PM_UFFD_WP, VELLUM_PM_UFFD_WP);
	assert_int_equal(load(w->cpu[0], PAGE(514)), 2);
	check_world(w);
	assert_word(w, 514, IS_WP_PAGE);
	store_waits(w, u, 514, 3);
	store_waits(w, u, 515, 4);
	/* A range with wp markers does not become huge again. */
	vellum_madvise(w->mm, PAGE(512), BYTES(512), VELLUM_MADV_COLLAPSE);
	check_world(w);
	store_waits(w, u, 516, 5);
	unmap(w->mm, 512, 512);
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(T_uffd_06_holes),
		WORLD_TEST(T_uffd_06_truncation),
		WORLD_TEST(madv_remove_keeps_protection),
		WORLD_TEST(reclaim_leaves_a_marker),
		WORLD_TEST(marker_stays_if_another_address_space_faults),
		WORLD_TEST(huge_page_of_shared_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
