/* SPDX-License-Identifier: MIT */
/* userfaultfd: registration, write protection and what keeps it, close. */
#include "uffd_support.h"

#define WRITE_WP (VELLUM_UFFD_FLAG_WRITE | VELLUM_UFFD_FLAG_WP)

/* --- registration --- */

static void T_vma_03_contexts_keep_mappings_apart(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *a = new_uffd(w, 0), *b = new_uffd(w, 0);

	map_at(w->mm, 0, 12, RW, ANON);
	enrol(w, a, 4, 4, MISSING);
	assert_int_equal(nr_vmas(w->mm), 3);
	withdraw(w, a, 4, 4);
	assert_int_equal(nr_vmas(w->mm), 1);
	enrol(w, a, 0, 6, MISSING);
	enrol(w, b, 6, 6, MISSING);
	assert_int_equal(nr_vmas(w->mm), 2); /* the same modes, but other contexts */
	withdraw(w, a, 0, 6);
	withdraw(w, b, 6, 6);
	assert_int_equal(nr_vmas(w->mm), 1);
	enrol(w, a, 0, 6, MISSING);
	enrol(w, a, 6, 6, MISSING);
	assert_int_equal(nr_vmas(w->mm), 1);
	enrol(w, a, 6, 6, WP);
	assert_int_equal(nr_vmas(w->mm), 2);
	vellum_uffd_close(a);
	check_world(w);
	assert_int_equal(nr_vmas(w->mm), 1);
	vellum_uffd_put(a);
	vellum_uffd_put(b);
}

/* A range with gaps can be registered. Registering changes no entry. */
static void register_allows_gaps(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	pte_t before;

	map_at(w->mm, 0, 2, RW, ANON);
	map_at(w->mm, 6, 2, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	before = entry_at(w->mm, PAGE(0));
	enrol(w, u, 0, 16, MISSING | WP);
	assert_int_equal(entry_at(w->mm, PAGE(0)).val, before.val);
	guard_writes(w, u, 0, 16);
	store_waits(w, u, 0, 2);
	withdraw(w, u, 0, 16);
	store_passes(w, u, 7, 3);
	vellum_uffd_put(u);
}

static void T_uffd_14_register_again_replaces(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct job job;

	map_at(w->mm, 0, 2, RW, SHANON);
	enrol(w, u, 0, 2, WP);
	guard_writes(w, u, 0, 2);
	assert_word(w, 0, IS_WP_NONE);
	enrol(w, u, 0, 2, MISSING);
	assert_word(w, 0, IS_WP_NONE); /* stale: the VMA is not registered for WP any more */
	start_store(w, &job, PAGE(0), 5);
	says_fault(u, &job, PAGE(0), VELLUM_UFFD_FLAG_WRITE);
	OK(copy_in(u, 0, 9, 0));
	ends(&job);
	assert_word(w, 0, IS_PAGE);
	says_nothing(u);
	map_at(w->mm, 8, 2, RW, ANON);
	store(w->cpu[0], PAGE(8), 1);
	enrol(w, u, 8, 2, MISSING | WP);
	enrol(w, u, 8, 2, MISSING); /* a range within the VMA: both modes stay */
	guard_writes(w, u, 8, 2);
	store_waits(w, u, 8, 6);
	vellum_uffd_put(u);
}

/* A page that is protected, in a VMA that is not registered for WP any more, is an ordinary read-only page. */
static void without_wp_mode_protection_is_ignored(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);

	map_at(w->mm, 0, 2, RW, ANON);
	map_at(w->mm, 2, 2, RW, SHANON);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), i);
	enrol(w, u, 0, 4, WP);
	guard_writes(w, u, 0, 4);
	enrol(w, u, 0, 4, MISSING);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(load(w->cpu[0], PAGE(i)), i);
		store_passes(w, u, i, 10 + i);
		assert_int_equal(load(w->cpu[0], PAGE(i)), 10 + i);
	}
	vellum_uffd_put(u);
}

/*
 * A page that becomes writable without a store, while its VMA is not registered for WP, is not protected any more: else it
 * would be protected and writable once the VMA is registered again. INV-UFFD-1.
 */
static void a_page_that_is_made_writable_loses_old_protection(void **state)
{
	struct world *w = *state;
	struct swap_array *swap = malloc(sizeof(*swap));
	struct vellum_uffd *u = new_uffd(w, 0);
	bool huge;

	add_swap(w, swap);
	map_at(w->mm, 0, 2, RW, ANON);
	map_at(w->mm, 512, 512, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(512), BYTES(512), VELLUM_MADV_HUGEPAGE));
	for (unsigned i = 0; i < 2; i++)
		store(w->cpu[0], PAGE(i), i);
	store(w->cpu[0], PAGE(512), 2);
	huge = !entry_at(w->mm, PAGE(512)).val;
	assert_true(huge);
	for (unsigned at = 0; at <= 512; at += 512) {
		unsigned pages = at ? 512 : 2;

		enrol(w, u, at, pages, WP);
		guard_writes(w, u, at, pages);
		enrol(w, u, at, pages, MISSING);
	}
	protect(w->mm, 0, 1, RO);
	protect(w->mm, 0, 1, RW);
	protect(w->mm, 512, 512, RO);
	protect(w->mm, 512, 512, RW);
	page_out(w, 1, 1);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 1);
	for (unsigned at = 0; at <= 512; at += 512)
		enrol(w, u, at, at ? 512 : 2, WP);
	store_passes(w, u, 0, 10);
	store_passes(w, u, 1, 11);
	store_passes(w, u, 512, 12);
	unmap(w->mm, 0, 2);
	unmap(w->mm, 512, 512);
	vellum_uffd_put(u);
	OK(vellum_swap_remove(w->memory, 0));
	free(swap);
}

/* --- protection of missing pages --- */

static void T_uffd_01_none_is_not_protected(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);

	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 0, 4, WP);
	guard_writes(w, u, 0, 4);
	assert_word(w, 0, 0);
	store_passes(w, u, 0, 11);
	assert_word(w, 0, IS_PAGE);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 11);
	/* DONTNEED of private memory drops the protection. */
	guard_writes(w, u, 0, 1);
	assert_word(w, 0, IS_WP_PAGE);
	dontneed(w->mm, 0, 1);
	check_world(w);
	assert_word(w, 0, 0);
	store_passes(w, u, 0, 12);
	vellum_uffd_put(u);
}

static void T_uffd_02_unpopulated_is_protected(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, VELLUM_UFFD_FEATURE_WP_UNPOPULATED);

	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 0, 4, WP);
	guard_writes(w, u, 0, 4);
	assert_word(w, 0, IS_WP_NONE);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 0);
	check_world(w);
	assert_word(w, 0, IS_WP_PAGE);
	store_waits(w, u, 0, 21);
	assert_word(w, 0, IS_PAGE);
	store_waits(w, u, 1, 22); /* directly from the marker */
	/* Private memory: DONTNEED drops markers, too. */
	dontneed(w->mm, 0, 4);
	check_world(w);
	for (unsigned i = 0; i < 4; i++)
		assert_word(w, i, 0);
	guard_writes(w, u, 2, 2);
	resolve(u, 2, 2);
	check_world(w);
	assert_word(w, 2, 0);
	store_passes(w, u, 2, 1);
	vellum_uffd_put(u);
}

/* --- shared memory: the address stays protected --- */

static void T_uffd_03_survives_dontneed(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);

	map_at(w->mm, 0, 4, RW, SHANON);
	store(w->cpu[0], PAGE(1), 31);
	enrol(w, u, 0, 4, WP);
	guard_writes(w, u, 0, 4);
	assert_word(w, 0, IS_WP_NONE);
	assert_word(w, 1, IS_WP_PAGE);
	dontneed(w->mm, 0, 4);
	check_world(w);
	assert_word(w, 1, IS_WP_NONE);
	assert_true(pte_is_marker(entry_at(w->mm, PAGE(1))));
	assert_int_equal(load(w->cpu[0], PAGE(1)), 31);
	check_world(w);
	assert_word(w, 1, IS_WP_PAGE);
	store_waits(w, u, 1, 32);
	store_waits(w, u, 0, 33);
	vellum_uffd_put(u);
}

static void T_uffd_04_survives_swap_and_dontneed(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mapping *mapping = new_shmem(w, 4);
	struct swap_array *swap = malloc(sizeof(*swap));

	add_swap(w, swap);
	map_object(w->mm, 0, 4, RW, VELLUM_MAP_PRIVATE, mapping, 0, RW);
	enrol(w, u, 0, 4, WP);
	store(w->cpu[0], PAGE(1), 41);
	store(w->cpu[0], PAGE(2), 42);
	guard_writes(w, u, 0, 4);
	assert_word(w, 1, IS_WP_PAGE);
	page_out(w, 1, 2);
	assert_true(pte_swp_uffd_wp(entry_at(w->mm, PAGE(1))));
	assert_word(w, 1, IS_WP_NONE);
	store_waits(w, u, 2, 43); /* swapped in, and still protected */
	dontneed(w->mm, 1, 1);
	check_world(w);
	assert_true(pte_is_marker(entry_at(w->mm, PAGE(1))));
	assert_word(w, 1, IS_WP_NONE);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 101);
	check_world(w);
	assert_word(w, 1, IS_WP_PAGE);
	store_waits(w, u, 1, 44);
	unmap(w->mm, 0, 4);
	vellum_mapping_put(mapping);
	vellum_uffd_put(u);
	check_world(w);
	OK(vellum_swap_remove(w->memory, 0));
	free(swap);
}

static void T_uffd_05_ends_with_the_mapping(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mapping *mapping = new_shmem(w, 4);

	map_at(w->mm, 8, 1, RW, ANON);	/* the tables stay, so entries left in them would be found */
	map_object(w->mm, 0, 4, RW, VELLUM_MAP_SHARED, mapping, 0, RW);
	store(w->cpu[0], PAGE(0), 1);
	for (unsigned over = 0; over < 2; over++) {
		enrol(w, u, 0, 4, WP);
		guard_writes(w, u, 0, 4);
		assert_word(w, 0, IS_WP_PAGE);
		assert_word(w, 1, over ? IS_WP_PAGE : IS_WP_NONE);
		if (!over)
			unmap(w->mm, 0, 4);
		map_object(w->mm, 0, 4, RW, VELLUM_MAP_SHARED, mapping, 0, RW);
		check_world(w);
		for (unsigned i = 0; i < 4; i++) {
			assert_word(w, i, 0);
			store_passes(w, u, i, 51);
		}
	}
	unmap(w->mm, 0, 4);
	vellum_mapping_put(mapping);
	vellum_uffd_put(u);
}

static void T_uffd_07_marker_and_missing_fault(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct job job;

	map_at(w->mm, 0, 4, RW, SHANON);
	enrol(w, u, 0, 4, MISSING | WP);
	guard_writes(w, u, 0, 4);
	assert_word(w, 0, IS_WP_NONE);
	start_store(w, &job, PAGE(0), 71);
	says_fault(u, &job, PAGE(0), VELLUM_UFFD_FLAG_WRITE); /* the missing fault comes first */
	OK(copy_in(u, 0, 70, VELLUM_UFFD_COPY_WP));
	says_fault(u, &job, PAGE(0), WRITE_WP);
	assert_word(w, 0, IS_WP_PAGE);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 70);
	resolve(u, 0, 1);
	ends(&job);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 71);
	OK(copy_in(u, 1, 72, 0)); /* replaces the marker, without protection */
	check_world(w);
	assert_word(w, 1, IS_PAGE);
	store_passes(w, u, 1, 73);
	vellum_uffd_put(u);
}

/* --- other operations --- */

static void T_uffd_10_mprotect_keeps_protection(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 4, 4, RW, SHANON);
	enrol(w, u, 0, 8, WP);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(4), 1);
	guard_writes(w, u, 0, 8);
	protect(w->mm, 0, 8, RO);
	check_world(w);
	assert_int_equal(try_store(w->cpu[0], PAGE(0), 2), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(try_store(w->cpu[0], PAGE(4), 2), VELLUM_FAULT_SIGSEGV_ACCERR);
	says_nothing(u);
	protect(w->mm, 0, 8, RW);
	check_world(w);
	assert_word(w, 0, IS_WP_PAGE);
	assert_word(w, 4, IS_WP_PAGE);
	assert_word(w, 5, IS_WP_NONE);
	store_waits(w, u, 0, 3);
	store_waits(w, u, 4, 4);
	store_waits(w, u, 5, 5);
	vellum_uffd_put(u);
}

/* MADV_FREE keeps the protection of pages that it keeps. */
static void madv_free_keeps_protection(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, VELLUM_UFFD_FEATURE_WP_UNPOPULATED);

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	enrol(w, u, 0, 2, WP);
	guard_writes(w, u, 0, 2);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(2), VELLUM_MADV_FREE));
	check_world(w);
	assert_word(w, 0, IS_WP_PAGE);
	assert_word(w, 1, IS_WP_NONE);
	store_waits(w, u, 0, 2);
	vellum_uffd_put(u);
}

/* Soft-dirty and uffd-wp are separate bits. */
static void soft_dirty_and_protection_are_separate(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	uint64_t bits;

	map_at(w->mm, 0, 2, RW, ANON);
	enrol(w, u, 0, 2, WP);
	store(w->cpu[0], PAGE(0), 1);
	guard_writes(w, u, 0, 2);
	OK(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
	check_world(w);
	assert_word(w, 0, IS_WP_PAGE);
	store_waits(w, u, 0, 2);
	OK(vellum_pagemap_read(w->mm, PAGE(0), 1, 0, &bits));
	assert_int_equal(bits & VELLUM_PM_SOFT_DIRTY, VELLUM_PM_SOFT_DIRTY);
	guard_writes(w, u, 0, 2);
	OK(vellum_pagemap_read(w->mm, PAGE(0), 1, 0, &bits));
	assert_int_equal(bits & VELLUM_PM_SOFT_DIRTY, VELLUM_PM_SOFT_DIRTY);
	vellum_uffd_put(u);
}

/* --- close and unregister --- */

static void T_uffd_15_close_wakes_all_threads(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct job read, unread;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 8, 4, RW, SHANON);
	store(w->cpu[0], PAGE(1), 1);
	store(w->cpu[0], PAGE(9), 1);
	enrol(w, u, 0, 12, WP);
	guard_writes(w, u, 0, 12);
	start_store(w, &read, PAGE(1), 2);
	says_fault(u, &read, PAGE(1), WRITE_WP);
	start_access(w, &unread, 2, job_store, PAGE(9), 3);
	while (vellum_uffd_poll(u) != 1)
		sched_yield();
	assert_int_equal(nr_waiting(w, u), 2);
	vellum_uffd_close(u);
	assert_int_equal(pthread_join(unread.thread, NULL), 0);
	ends(&read);
	assert_int_equal(unread.result, VELLUM_FAULT_OK);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 2);
	assert_int_equal(load(w->cpu[0], PAGE(9)), 3);
	for (unsigned i = 8; i < 12; i++)
		assert_word(w, i, i == 9 ? IS_PAGE : 0);
	assert_word(w, 1, IS_PAGE);
	store(w->cpu[0], PAGE(10), 4);
	assert_int_equal(vellum_uffd_poll(u), -EINVAL);
	assert_int_equal(vellum_uffd_register(u, PAGE(0), BYTES(4), WP, NULL), -EINVAL);
	assert_int_equal(vellum_uffd_wake(u, PAGE(0), BYTES(4)), -EINVAL);
	vellum_uffd_put(u);
}

/* Protection and wp markers are removed. Poison and bytes stay. */
static void unregister_and_close(void **state)
{
	struct world *w = *state;

	for (unsigned closes = 0; closes < 2; closes++) {
		struct vellum_uffd *u = new_uffd(w, 0);

		map_at(w->mm, 0, 4, RW, SHANON);
		store(w->cpu[0], PAGE(0), 1);
		enrol(w, u, 0, 4, MISSING | WP);
		OK(poison_in(u, 1));
		guard_writes(w, u, 0, 4);
		assert_word(w, 2, IS_WP_NONE);
		if (closes)
			vellum_uffd_close(u);
		else
			OK(vellum_uffd_unregister(u, PAGE(0), BYTES(8)));
		check_world(w);
		assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
		assert_word(w, 0, IS_PAGE);
		assert_word(w, 1, IS_POISON);
		assert_word(w, 2, 0);
		assert_int_equal(try_load(w->cpu[0], PAGE(1)), VELLUM_FAULT_HWPOISON);
		store(w->cpu[0], PAGE(0), 2);
		store(w->cpu[0], PAGE(2), 3);
		check_world(w);
		vellum_uffd_put(u);
		unmap(w->mm, 0, 4);
	}
}

/* The address space is destroyed before the context. */
static void context_outlives_its_address_space(void **state)
{
	struct world *w = *state;
	struct vellum_mm *mm;
	struct vellum_uffd *u;
	int64_t done = 0;
	char page[PAGE_SIZE] = {0};

	OK(vellum_mm_create(w->memory, &mm));
	OK(vellum_uffd_create(mm, 0, &u));
	OK(vellum_uffd_api(u, VELLUM_UFFD_API, 0, NULL, NULL));
	map_at(mm, 0, 4, RW, ANON);
	OK(vellum_uffd_register(u, PAGE(0), BYTES(4), MISSING, NULL));
	vellum_mm_put(mm);
	check_world(w);
	assert_int_equal(vellum_uffd_register(u, PAGE(0), BYTES(4), MISSING, NULL), -ENOMEM);
	assert_int_equal(vellum_uffd_copy(u, PAGE(0), 0, page, PAGE_SIZE, 0, &done), -ESRCH);
	assert_int_equal(done, -ESRCH);
	assert_int_equal(vellum_uffd_zeropage(u, PAGE(0), PAGE_SIZE, 0, &done), -ESRCH);
	assert_int_equal(vellum_uffd_move(u, PAGE(0), PAGE(1), PAGE_SIZE, 0, &done), -ESRCH);
	assert_int_equal(vellum_uffd_writeprotect(u, PAGE(0), PAGE_SIZE, 0), -ESRCH);
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(T_vma_03_contexts_keep_mappings_apart),
		WORLD_TEST(register_allows_gaps),
		WORLD_TEST(T_uffd_14_register_again_replaces),
		WORLD_TEST(without_wp_mode_protection_is_ignored),
		WORLD_TEST(a_page_that_is_made_writable_loses_old_protection),
		WORLD_TEST(T_uffd_01_none_is_not_protected),
		WORLD_TEST(T_uffd_02_unpopulated_is_protected),
		WORLD_TEST(T_uffd_03_survives_dontneed),
		WORLD_TEST(T_uffd_04_survives_swap_and_dontneed),
		WORLD_TEST(T_uffd_05_ends_with_the_mapping),
		WORLD_TEST(T_uffd_07_marker_and_missing_fault),
		WORLD_TEST(T_uffd_10_mprotect_keeps_protection),
		WORLD_TEST(madv_free_keeps_protection),
		WORLD_TEST(soft_dirty_and_protection_are_separate),
		WORLD_TEST(T_uffd_15_close_wakes_all_threads),
		WORLD_TEST(unregister_and_close),
		WORLD_TEST(context_outlives_its_address_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
