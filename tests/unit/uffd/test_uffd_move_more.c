/* SPDX-License-Identifier: MIT */
/* userfaultfd: which VMAs UFFDIO_MOVE accepts, missing tables, trackers, and stale translations. */
#include "uffd_support.h"
#include "huge_support.h"
#include "vellum/dirty.h"

#define HOLES VELLUM_UFFD_MOVE_ALLOW_SRC_HOLES
#define AT    (3 * HUGE)	/* in another table than page 0 */

/* Both VMAs are private anonymous memory with the same rights, which include stores. */
static void both_vmas_must_be_alike(void **state)
{
	const struct { uint32_t prot, flags; bool mapped; } kinds[] = {
		{ RW, ANON, false }, { RO, ANON, false }, { VELLUM_PROT_WRITE, ANON, false },
		{ RW | VELLUM_PROT_EXEC, ANON, false }, { RW, VELLUM_MAP_PRIVATE, true }, { RW, VELLUM_MAP_SHARED, true },
	};
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mapping *shm = new_shmem(w, 4);
	uint64_t stack = PAGE(40);

	OK(vellum_map_shadow_stack(w->mm, &stack, BYTES(2)));
	for (unsigned from = 0; from < ARRAY_SIZE(kinds); from++)
		for (unsigned to = 0; to < ARRAY_SIZE(kinds); to++) {
			bool fits = from == to && !kinds[from].mapped && kinds[from].prot != RO;

			map_object(w->mm, 0, 4, kinds[from].prot, kinds[from].flags, kinds[from].mapped ? shm : NULL, 0, RW);
			map_object(w->mm, AT, 4, kinds[to].prot, kinds[to].flags, kinds[to].mapped ? shm : NULL, 0, RW);
			enrol(w, u, AT, 4, MISSING);
			assert_int_equal(move_in(u, AT, 0, 1, HOLES), fits ? 0 : -EINVAL);
			assert_int_equal(move_in(u, AT, 40, 1, HOLES), -EINVAL);
			unmap(w->mm, 0, 4);
			unmap(w->mm, AT, 4);
		}
	vellum_mapping_put(shm);
	vellum_uffd_put(u);
}

/* No table at the source is a hole; a huge page at the target is a page; no frame for the target's table. */
static void tables_at_source_and_target(void **state)
{
	static uint64_t hoard[4096];
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	unsigned n = 0;
	uint64_t leaf;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, AT, 4, RW, ANON);
	map_at(w->mm, HUGE, HUGE, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(HUGE), BYTES(HUGE), VELLUM_MADV_HUGEPAGE));
	store(w->cpu[0], PAGE(HUGE), 1);
	leaf = leaf_at(w->mm, PAGE(HUGE), PMD_SHIFT);
	enrol(w, u, AT, 4, MISSING);
	enrol(w, u, HUGE, HUGE, MISSING);
	assert_int_equal(move_in(u, AT, 0, 1, 0), -ENOENT);
	OK(move_in(u, AT, 0, 4, HOLES));
	store(w->cpu[0], PAGE(0), 5);
	assert_int_equal(move_in(u, HUGE + 3, 0, 1, 0), -EEXIST);
	assert_int_equal(leaf_at(w->mm, PAGE(HUGE), PMD_SHIFT), leaf);
	unmap(w->mm, AT, 4);
	map_at(w->mm, AT, 4, RW, ANON);
	enrol(w, u, AT, 4, MISSING);
	while (vellum_memory_alloc_device(w->memory, 1, &hoard[n]) == 0)
		n++;
	assert_int_equal(move_in(u, AT, 0, 1, 0), -ENOMEM);
	while (n)
		vellum_memory_free_device(w->memory, hoard[--n], 1);
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 5);
	OK(move_in(u, AT, 0, 1, 0));
	assert_int_equal(load(w->cpu[0], PAGE(AT)), 5);
	vellum_uffd_put(u);
}

/* Pages, the zero page and swapped pages: both addresses have other content. Nothing else is recorded. */
static void moves_are_tracked(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct swap_array *swap = malloc(sizeof(*swap));
	struct vellum_tracker *t[2];

	add_swap(w, swap);
	map_at(w->mm, 0, 8, RW, ANON);
	map_at(w->mm, 16, 8, RW, ANON);
	enrol(w, u, 16, 8, MISSING);
	store(w->cpu[0], PAGE(1), 1);
	load(w->cpu[0], PAGE(2));
	store(w->cpu[0], PAGE(3), 3);
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(32), VELLUM_TRACK_WP, &t[0]));
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(32), VELLUM_TRACK_CLEAN, &t[1]));
	page_out(w, 3, 1);
	for (unsigned i = 1; i < 5; i++) {
		for (unsigned j = 0; j < 2; j++)
			collect(t[j], PAGE(0) >> 12);
		OK(move_in(u, 16 + i, i, 1, HOLES));
		for (unsigned j = 0; j < 2; j++)
			assert_int_equal(collect(t[j], PAGE(0) >> 12), i < 4 ? 1u << i | 1u << (16 + i) : 0);
		check_world(w);
	}
	vellum_tracker_destroy(t[0]);
	vellum_tracker_destroy(t[1]);
	unmap(w->mm, 0, 24);
	vellum_uffd_put(u);
	OK(vellum_swap_remove(w->memory, 0));
	free(swap);
}

/* A CPU that has the old address cached must fault there after the move. */
static void stale_translations_are_flushed(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct job job;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 8, 4, RW, ANON);
	enrol(w, u, 0, 4, MISSING);
	enrol(w, u, 8, 4, MISSING);
	OK(copy_in(u, 0, 5, 0));
	OK(zero_in(u, 1));
	vellum_soft_load_mm(w->cpu[1], w->mm);
	for (unsigned i = 0; i < 2; i++) {
		load(w->cpu[1], PAGE(i));
		OK(move_in(u, 8 + i, i, 1, 0));
		job = (struct job){ .cpu = w->cpu[1], .addr = PAGE(i), .val = 9 };
		start(w, &job, job_load);
		says_fault(u, &job, PAGE(i), 0);
		OK(copy_in(u, i, 7, 0));
		ends(&job);
		assert_int_equal(job.val, 7);
		assert_int_equal(load(w->cpu[0], PAGE(8 + i)), i ? 0 : 5);
	}
	vellum_uffd_put(u);
}

/* A swapped page that a child shares does not move. */
static void shared_swap_entries_do_not_move(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct swap_array *swap = malloc(sizeof(*swap));
	struct vellum_mm *child;

	add_swap(w, swap);
	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 8, 4, RW, ANON);
	enrol(w, u, 8, 4, MISSING);
	store(w->cpu[0], PAGE(0), 5);
	page_out(w, 0, 1);
	child = fork_on(w->mm, w->cpu[2]);
	assert_int_equal(move_in(u, 8, 0, 1, 0), -EBUSY);
	assert_true(pte_is_genuine_swap(entry_at(w->mm, PAGE(0))));
	assert_int_equal(entry_at(w->mm, PAGE(8)).val, 0);
	check_world(w);
	end_child(child, w->cpu[2]);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 5);
	unmap(w->mm, 0, 12);
	vellum_uffd_put(u);
	OK(vellum_swap_remove(w->memory, 0));
	free(swap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(both_vmas_must_be_alike),
		WORLD_TEST(tables_at_source_and_target),
		WORLD_TEST(moves_are_tracked),
		WORLD_TEST(stale_translations_are_flushed),
		WORLD_TEST(shared_swap_entries_do_not_move),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
