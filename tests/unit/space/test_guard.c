/* SPDX-License-Identifier: MIT */
/* Guard markers: an access to such a page is SIGSEGV until the guard is removed. */
#include "uffd_support.h"

static int guard(struct world *w, unsigned at, unsigned pages)
{
	int err = vellum_madvise(w->mm, PAGE(at), BYTES(pages), VELLUM_MADV_GUARD_INSTALL);

	check_world(w);
	return err;
}

static int unguard(struct world *w, unsigned at, unsigned pages)
{
	int err = vellum_madvise(w->mm, PAGE(at), BYTES(pages), VELLUM_MADV_GUARD_REMOVE);

	check_world(w);
	return err;
}

static void is_guarded(struct world *w, unsigned page)
{
	uint64_t val = 1;
	uint8_t in = 1;

	assert_word(w, page, IS_GUARD);
	assert_int_equal(try_load(w->cpu[0], PAGE(page)), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(try_store(w->cpu[0], PAGE(page), 1), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(vellum_copy_to_user(w->mm, PAGE(page), &val, 8, NULL), -EFAULT);
	assert_int_equal(vellum_copy_from_user(w->mm, &val, PAGE(page), 8, NULL), -EFAULT);
	OK(vellum_mincore(w->mm, PAGE(page), PAGE_SIZE, &in));
	assert_int_equal(in & 1, 0);
}

static void T_sys_05_guards(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mm *child;

	map_at(w->mm, 0, 8, RW, ANON);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	OK(guard(w, 2, 3));
	assert_int_equal(vellum_mm_rss(w->mm), 5);
	for (unsigned i = 2; i < 5; i++)
		is_guarded(w, i);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 2);
	assert_int_equal(load(w->cpu[0], PAGE(5)), 6);
	assert_int_equal(nr_vmas(w->mm), 1); /* the VMA was not split */
	dontneed(w->mm, 0, 8);
	check_world(w);
	is_guarded(w, 2);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 0);
	child = fork_on(w->mm, w->cpu[2]);
	check_world(w);
	assert_int_equal(word_of_mm(child, 2), IS_GUARD);
	assert_int_equal(try_load(w->cpu[2], PAGE(2)), VELLUM_FAULT_SIGSEGV_MAPERR);
	end_child(child, w->cpu[2]);
	is_guarded(w, 2);
	enrol(w, u, 0, 8, MISSING);
	assert_int_equal(copy_in(u, 2, 5, 0), -EEXIST);
	assert_int_equal(zero_in(u, 2), -EEXIST);
	assert_int_equal(poison_in(u, 2), -EEXIST);
	is_guarded(w, 2);
	withdraw(w, u, 0, 8);
	OK(unguard(w, 2, 1));
	assert_int_equal(load(w->cpu[0], PAGE(2)), 0);
	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(2))), w->memory->zero_pfn);
	store(w->cpu[0], PAGE(2), 3);
	is_guarded(w, 3);
	vellum_uffd_put(u);
}

/* In memory that never had a page or a table. */
static void guards_in_fresh_memory(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;

	map_at(w->mm, 0, 1200, RW, ANON);
	OK(guard(w, 0, 1200)); /* several tables */
	for (unsigned i = 0; i < 1200; i += 100)
		is_guarded(w, i);
	child = fork_on(w->mm, w->cpu[2]);
	check_world(w);
	assert_int_equal(try_store(w->cpu[2], PAGE(1100), 1), VELLUM_FAULT_SIGSEGV_MAPERR);
	end_child(child, w->cpu[2]);
	OK(unguard(w, 600, 100));
	store(w->cpu[0], PAGE(650), 1);
	is_guarded(w, 599);
	is_guarded(w, 700);
	assert_int_equal(vellum_mm_rss(w->mm), 1);
}

static void guards_survive_advice_mprotect_and_mremap(void **state)
{
	struct world *w = *state;
	uint64_t to = PAGE(100);

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	OK(guard(w, 1, 1));
	OK(guard(w, 1, 1)); /* a second time: no change */
	is_guarded(w, 1);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(4), VELLUM_MADV_FREE));
	check_world(w);
	is_guarded(w, 1);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(4), VELLUM_MADV_DONTNEED_LOCKED));
	is_guarded(w, 1);
	protect(w->mm, 0, 4, RO);
	assert_int_equal(try_load(w->cpu[0], PAGE(1)), VELLUM_FAULT_SIGSEGV_MAPERR);
	protect(w->mm, 0, 4, RW);
	is_guarded(w, 1);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(4), VELLUM_MADV_COLD));
	is_guarded(w, 1);
	OK(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
	is_guarded(w, 1);
	OK(vellum_mremap(w->mm, PAGE(0), BYTES(4), BYTES(4),
			 VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &to));
	check_world(w);
	is_guarded(w, 101);
	store(w->cpu[0], PAGE(100), 2);
	store(w->cpu[0], PAGE(102), 2);
	unmap(w->mm, 100, 4);
	map_at(w->mm, 100, 4, RW, ANON);
	check_world(w);
	store(w->cpu[0], PAGE(101), 2); /* munmap removed the guard */
	OK(guard(w, 101, 1));
	map_at(w->mm, 100, 4, RW, ANON); /* MAP_FIXED over it */
	check_world(w);
	store(w->cpu[0], PAGE(101), 2);
}

static void wipeonfork_drops_guards(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	OK(guard(w, 1, 1));
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(4), VELLUM_MADV_WIPEONFORK));
	child = fork_on(w->mm, w->cpu[2]);
	check_world(w);
	store(w->cpu[2], PAGE(1), 5);
	assert_int_equal(load(w->cpu[2], PAGE(0)), 0);
	end_child(child, w->cpu[2]);
	is_guarded(w, 1);
}

/* MADV_GUARD_REMOVE changes no other entry. */
static void remove_changes_no_other_entry(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, VELLUM_UFFD_FEATURE_WP_UNPOPULATED);

	map_at(w->mm, 0, 6, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	OK(guard(w, 1, 1));
	enrol(w, u, 0, 6, MISSING | WP);
	guard_writes(w, u, 0, 4);
	OK(poison_in(u, 4));
	assert_word(w, 1, IS_GUARD); /* userfaultfd does not protect a guard */
	OK(unguard(w, 0, 6));
	assert_word(w, 0, IS_WP_PAGE);
	assert_word(w, 1, 0);
	assert_word(w, 2, IS_WP_NONE);
	assert_word(w, 4, IS_POISON);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
	OK(guard(w, 0, 6)); /* over pages, wp markers and poison */
	for (unsigned i = 0; i < 6; i++)
		is_guarded(w, i);
	says_nothing(u); /* a fault on a guard is no missing fault */
	vellum_uffd_put(u);
}

static void install_over_swap_and_the_zero_page(void **state)
{
	struct world *w = *state;
	struct swap_array *swap = malloc(sizeof(*swap));
	struct vellum_swap_info info;

	add_swap(w, swap);
	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	load(w->cpu[0], PAGE(1));
	page_out(w, 0, 1);
	OK(guard(w, 0, 2));
	is_guarded(w, 0);
	is_guarded(w, 1);
	vellum_swap_info(w->memory, &info);
	assert_int_equal(info.nr_used, 0);
	assert_int_equal(vellum_mm_swapped(w->mm), 0);
	unmap(w->mm, 0, 4);
	OK(vellum_swap_remove(w->memory, 0));
	free(swap);
}

/* --- other calls on a guard --- */

static void gup_populate_and_mlock_fail_on_a_guard(void **state)
{
	struct world *w = *state;
	uint64_t pfns[4], pinned;

	map_at(w->mm, 0, 8, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	OK(guard(w, 1, 1));
	assert_int_equal(vellum_pin_pages(w->mm, PAGE(1), 1, VELLUM_GUP_WRITE, pfns, &pinned), -EFAULT);
	OK(vellum_pin_pages(w->mm, PAGE(0), 3, VELLUM_GUP_WRITE, pfns, &pinned));
	assert_int_equal(pinned, 1);
	vellum_unpin_pages_dirty(w->memory, pfns, 1);
	assert_int_equal(vellum_madvise(w->mm, PAGE(0), BYTES(4), VELLUM_MADV_POPULATE_READ), -EFAULT);
	assert_int_equal(vellum_madvise(w->mm, PAGE(0), BYTES(4), VELLUM_MADV_POPULATE_WRITE), -EFAULT);
	check_world(w);
	assert_int_equal(vellum_mlock(w->mm, PAGE(0), BYTES(4), 0), -ENOMEM);
	check_world(w);
	OK(vellum_munlock(w->mm, PAGE(0), BYTES(4)));
	is_guarded(w, 1);
}

/* A huge page would replace the guard. */
static void no_huge_page_over_a_guard(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 512, 512, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(512), BYTES(512), VELLUM_MADV_HUGEPAGE));
	OK(guard(w, 700, 1));
	store(w->cpu[0], PAGE(512), 1);
	check_world(w);
	assert_int_equal(vellum_mm_rss(w->mm), 1);
	is_guarded(w, 700);
	for (unsigned i = 512; i < 1024; i++)
		if (i != 700)
			store(w->cpu[0], PAGE(i), i);
	assert_true(vellum_madvise(w->mm, PAGE(512), BYTES(512), VELLUM_MADV_COLLAPSE) < 0);
	check_world(w);
	is_guarded(w, 700);
	assert_int_equal(load(w->cpu[0], PAGE(701)), 701);
}

static void install_splits_a_huge_page(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 512, 512, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(512), BYTES(512), VELLUM_MADV_HUGEPAGE));
	store(w->cpu[0], PAGE(600), 1);
	assert_int_equal(vellum_mm_rss(w->mm), 512);
	OK(guard(w, 700, 2));
	assert_int_equal(vellum_mm_rss(w->mm), 510);
	is_guarded(w, 700);
	is_guarded(w, 701);
	assert_int_equal(load(w->cpu[0], PAGE(600)), 1);
	assert_int_equal(load(w->cpu[0], PAGE(702)), 0);
	OK(unguard(w, 512, 512));
	store(w->cpu[0], PAGE(700), 1);
	check_world(w);
}

static void guard_errors(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *mapping = new_shmem(w, 4);
	struct counting device;
	struct vellum_mapping *pfns;

	memset(&device, 0, sizeof(device));
	pfns = new_pfn_object(w, &device, 4);
	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 6, 4, RO, ANON);
	map_at(w->mm, 16, 4, RW, SHANON);
	map_object(w->mm, 24, 4, RW, VELLUM_MAP_PRIVATE, mapping, 0, RW);
	map_object(w->mm, 32, 4, RW, VELLUM_MAP_SHARED, pfns, 0, RW);
	for (unsigned at = 16; at <= 32; at += 8) {
		assert_int_equal(guard(w, at, 1), -EINVAL);
		assert_int_equal(unguard(w, at, 1), -EINVAL);
	}
	assert_int_equal(vellum_madvise(w->mm, PAGE(0) + 8, BYTES(1), VELLUM_MADV_GUARD_INSTALL), -EINVAL);
	OK(guard(w, 0, 0));
	assert_int_equal(guard(w, 50, 1), -ENOMEM);
	assert_int_equal(guard(w, 0, 10), -ENOMEM); /* a hole: the rest gets guards */
	is_guarded(w, 3);
	assert_int_equal(try_load(w->cpu[0], PAGE(6)), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(unguard(w, 0, 10), -ENOMEM);
	store(w->cpu[0], PAGE(3), 1);
	load(w->cpu[0], PAGE(6));
	OK(guard(w, 0, 1));
	OK(vellum_mlock(w->mm, PAGE(0), BYTES(4), VELLUM_MLOCK_ONFAULT));
	assert_int_equal(guard(w, 2, 1), -EINVAL); /* mlocked */
	OK(unguard(w, 0, 1));			   /* removing is allowed */
	store(w->cpu[0], PAGE(0), 1);
	unmap(w->mm, 0, 64);
	vellum_memory_free_device(w->memory, device.first_pfn, 4);
	vellum_mapping_put(pfns);
	vellum_mapping_put(mapping);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(T_sys_05_guards),
		WORLD_TEST(guards_in_fresh_memory),
		WORLD_TEST(guards_survive_advice_mprotect_and_mremap),
		WORLD_TEST(wipeonfork_drops_guards),
		WORLD_TEST(remove_changes_no_other_entry),
		WORLD_TEST(install_over_swap_and_the_zero_page),
		WORLD_TEST(gup_populate_and_mlock_fail_on_a_guard),
		WORLD_TEST(no_huge_page_over_a_guard),
		WORLD_TEST(install_splits_a_huge_page),
		WORLD_TEST(guard_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
