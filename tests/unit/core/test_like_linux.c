/* SPDX-License-Identifier: MIT */
/* Differences from the host's kernel that tests/diff found. */
#include "more_support.h"

static int map_hint(struct world *w, uint64_t hint, uint32_t flags, uint64_t *addr)
{
	struct vellum_map_args args = {
		.size = sizeof(args), .addr = hint, .len = 4096, .prot = RW, .flags = flags};

	return vellum_mmap(w->mm, &args, addr);
}

static bool core(struct world *w, unsigned page)
{
	uint8_t vec;

	OK(vellum_mincore(w->mm, PAGE(page), 4096, &vec));
	return vec;
}

static void T_sys_01_hints_are_rounded_down(void **state)
{
	struct world *w = *state;
	uint64_t addr;

	OK(map_hint(w, PAGE(5) + 4095, ANON, &addr));
	assert_int_equal(addr, PAGE(5));
}

static void T_sys_01_hints_keep_clear_of_stacks(void **state)
{
	struct world *w = *state;
	uint64_t addr;

	map_at(w->mm, 1000, 4, RW, ANON | VELLUM_MAP_GROWSDOWN);
	OK(map_hint(w, PAGE(1000 - 256), ANON, &addr));
	assert_int_not_equal(addr, PAGE(1000 - 256));
	OK(map_hint(w, PAGE(1000 - 257), ANON, &addr));
	assert_int_equal(addr, PAGE(1000 - 257));
	OK(map_hint(w, PAGE(1004), ANON, &addr));
	assert_int_equal(addr, PAGE(1004));
}

static void T_sys_01_mprotect_up_to_the_end_of_addresses(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 4, RW, ANON);
	assert_int_equal(vellum_mprotect(w->mm, PAGE(2), 1ull << 47, RO), -ENOMEM);
	check_world(w);
	assert_int_equal(try_store(w->cpu[0], PAGE(3), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	store(w->cpu[0], PAGE(1), 1);
}

static void T_sys_04_populate_read_needs_prot_read(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 2, VELLUM_PROT_WRITE, ANON);
	assert_int_equal(vellum_madvise(w->mm, PAGE(0), BYTES(2), VELLUM_MADV_POPULATE_READ), -EINVAL);
	assert_int_equal(vellum_madvise(w->mm, PAGE(0), BYTES(4), VELLUM_MADV_POPULATE_READ), -EINVAL);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(2), VELLUM_MADV_POPULATE_WRITE));
	assert_int_equal(load(w->cpu[0], PAGE(0)), 0); /* x86 cannot have a page that is writable and not readable */
}

/* After mlock, a store needs no new page, even if zeros were loaded, or if a child shares the page. */
static void mlock_copies_shared_pages(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = new_object(w, c, 4);
	struct vellum_mm *child;
	uint64_t cows;

	map_at(w->mm, 0, 4, RW, ANON);
	map_object(w->mm, 4, 4, RW, VELLUM_MAP_PRIVATE, obj, 0, RW);
	load(w->cpu[0], PAGE(0));
	store(w->cpu[0], PAGE(1), 7);
	load(w->cpu[0], PAGE(4));
	child = fork_on(w->mm, w->cpu[1]);
	OK(vellum_mlock(w->mm, PAGE(0), BYTES(8), 0));
	check_world(w);
	cows = count_of(w, VELLUM_COUNT_FAULT_COW) + count_of(w, VELLUM_COUNT_FAULT_ANON);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(has_d(w->mm, PAGE(i)), i == 1); /* only page 1 was stored to */
		store(w->cpu[0], PAGE(i), 100 + i);
	}
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_COW) + count_of(w, VELLUM_COUNT_FAULT_ANON), cows);
	assert_int_equal(load(w->cpu[1], PAGE(1)), 7);
	/* The second mlock copies no page. */
	OK(vellum_mlock(w->mm, PAGE(0), BYTES(8), 0));
	check_world(w);
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_COW) + count_of(w, VELLUM_COUNT_FAULT_ANON), cows);
	end_child(child, w->cpu[1]);
	unmap(w->mm, 0, 8);
	vellum_mapping_put(obj);
}

static void mlocked_memory_is_faulted_in_when_it_becomes_writable(void **state)
{
	struct world *w = *state;

	OK(vellum_mlockall(w->mm, VELLUM_MCL_FUTURE));
	map_at(w->mm, 0, 4, 0, ANON);
	map_at(w->mm, 8, 4, 0, SHANON);
	protect(w->mm, 0, 2, RO);
	assert_false(core(w, 0));
	protect(w->mm, 0, 1, RW);
	protect(w->mm, 8, 4, RW);
	check_world(w);
	assert_true(core(w, 0));
	assert_false(core(w, 1) || core(w, 8)); /* still read-only; shared */
	assert_int_equal(vellum_mprotect(w->mm, PAGE(3), BYTES(2), RW), -ENOMEM);
	assert_true(core(w, 3)); /* the part before the hole, too */
	OK(vellum_mlockall(w->mm, VELLUM_MCL_FUTURE | VELLUM_MCL_ONFAULT));
	map_at(w->mm, 16, 4, 0, ANON);
	protect(w->mm, 16, 4, RW);
	assert_false(core(w, 16));
}

static void mcl_onfault_overrides_map_locked(void **state)
{
	struct world *w = *state;

	OK(vellum_mlockall(w->mm, VELLUM_MCL_FUTURE | VELLUM_MCL_ONFAULT));
	map_at(w->mm, 0, 1, RW, ANON | VELLUM_MAP_LOCKED);
	map_at(w->mm, 1, 1, RW, ANON | VELLUM_MAP_POPULATE);
	assert_false(core(w, 0) || core(w, 1));
	OK(vellum_munlockall(w->mm));
	map_at(w->mm, 2, 1, RW, ANON | VELLUM_MAP_LOCKED);
	assert_true(core(w, 2));
}

static void mlock_up_to_the_end_of_addresses(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 4, RW, ANON);
	assert_int_equal(vellum_mlock(w->mm, PAGE(2), 1ull << 47, VELLUM_MLOCK_ONFAULT), -ENOMEM);
	check_world(w);
	assert_int_equal(vellum_madvise(w->mm, PAGE(3), 4096, VELLUM_MADV_DONTNEED), -EINVAL);
	OK(vellum_madvise(w->mm, PAGE(1), 4096, VELLUM_MADV_DONTNEED));
	assert_int_equal(vellum_munlock(w->mm, PAGE(2), 1ull << 47), -ENOMEM);
	OK(vellum_madvise(w->mm, PAGE(3), 4096, VELLUM_MADV_DONTNEED));
}

static void mlock_of_length_0_within_a_page(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 1, RW, ANON);
	OK(vellum_mlock(w->mm, PAGE(0) + 1, 0, 0));
	assert_true(core(w, 0));
	assert_int_equal(vellum_mlock(w->mm, PAGE(1) + 1, 0, 0), -ENOMEM);
	OK(vellum_mlock(w->mm, PAGE(1), 0, 0));
}

/* Only ASYNC without INVALIDATE ends at the first hole. */
static void T_sys_06_msync_invalidate_continues_after_a_hole(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 4, 4, RW, ANON);
	OK(vellum_mlock(w->mm, PAGE(6), BYTES(2), 0));
	assert_int_equal(vellum_msync(w->mm, PAGE(0), BYTES(8), VELLUM_MS_ASYNC), -ENOMEM);
	assert_int_equal(vellum_msync(w->mm, PAGE(0), BYTES(8), VELLUM_MS_ASYNC | VELLUM_MS_INVALIDATE), -EBUSY);
}

static void T_vma_01_moved_vma_without_pages_merges(void **state)
{
	struct world *w = *state;
	uint64_t addr = PAGE(4);

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 20, 4, RW, ANON);
	load(w->cpu[0], PAGE(20)); /* the zero page is not a page of the VMA */
	OK(vellum_mremap(w->mm, PAGE(20), BYTES(4), BYTES(4), 3, &addr));
	check_world(w);
	assert_int_equal(nr_vmas(w->mm), 1);
	map_at(w->mm, 20, 4, RW, ANON);
	store(w->cpu[0], PAGE(20), 5);
	addr = PAGE(8);
	OK(vellum_mremap(w->mm, PAGE(20), BYTES(4), BYTES(4), 3, &addr));
	check_world(w);
	assert_int_equal(nr_vmas(w->mm), 2);
	assert_int_equal(load(w->cpu[0], PAGE(8)), 5);
	/* DONTUNMAP: the moved VMA merges, too. */
	map_at(w->mm, 40, 4, RW, ANON);
	addr = PAGE(44);
	OK(vellum_mremap(w->mm, PAGE(40), BYTES(4), BYTES(4), 7, &addr));
	check_world(w);
	assert_int_equal(nr_vmas(w->mm), 3);
}

/* If the entry allows the access, populate causes no fault, and sets neither A nor D. */
static void populate_leaves_entries_alone(void **state)
{
	struct world *w = *state;
	static const int advice[] = { VELLUM_MADV_POPULATE_READ, VELLUM_MADV_POPULATE_WRITE };

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	set_entry_at(w->mm, PAGE(0), pte_mkold(pte_mkclean(entry_at(w->mm, PAGE(0)))));
	for (unsigned i = 0; i < ARRAY_SIZE(advice); i++) {
		OK(vellum_madvise(w->mm, PAGE(0), BYTES(1), advice[i]));
		assert_false(pte_young(entry_at(w->mm, PAGE(0))) || pte_dirty(entry_at(w->mm, PAGE(0))));
		assert_true(pte_write(entry_at(w->mm, PAGE(0))));
	}
}

/* vellum_copy_to_user() sets A and D, as a CPU does. Only a fault sets soft-dirty. */
static void copy_to_user_sets_a_and_d(void **state)
{
	struct world *w = *state;
	pte_t pte;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	set_entry_at(w->mm, PAGE(0), pte_clear_soft_dirty(pte_mkold(pte_mkclean(entry_at(w->mm, PAGE(0))))));
	OK(vellum_copy_to_user(w->mm, PAGE(0), "x", 1, NULL));
	pte = entry_at(w->mm, PAGE(0));
	assert_true(pte_young(pte) && pte_dirty(pte) && !pte_soft_dirty(pte));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(populate_leaves_entries_alone),
		WORLD_TEST(copy_to_user_sets_a_and_d),
		WORLD_TEST(T_sys_01_hints_are_rounded_down),
		WORLD_TEST(T_sys_01_hints_keep_clear_of_stacks),
		WORLD_TEST(T_sys_01_mprotect_up_to_the_end_of_addresses),
		WORLD_TEST(T_sys_04_populate_read_needs_prot_read),
		WORLD_TEST(mlock_copies_shared_pages),
		WORLD_TEST(mlocked_memory_is_faulted_in_when_it_becomes_writable),
		WORLD_TEST(mcl_onfault_overrides_map_locked),
		WORLD_TEST(mlock_up_to_the_end_of_addresses),
		WORLD_TEST(mlock_of_length_0_within_a_page),
		WORLD_TEST(T_sys_06_msync_invalidate_continues_after_a_hole),
		WORLD_TEST(T_vma_01_moved_vma_without_pages_merges),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
