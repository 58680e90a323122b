/* SPDX-License-Identifier: MIT */
/* Swap of private memory: entries, slots, errors, memory pressure. */
#include "swap_support.h"

/* --- the entry after a swap-in --- */

enum sharing { EXCLUSIVE, SHARED, SOLE };	/* SOLE: shared when swapped out, sole owner when swapped in */

struct swap_case {
	bool soft, wp, store, ro;
	enum sharing sharing;
};

static void go_out(struct swap_world *sw, const struct swap_case *c, struct vellum_mm **child)
{
	struct world *w = &sw->w;
	pte_t pte;

	*child = c->sharing == EXCLUSIVE ? NULL : fork_on(w->mm, w->cpu[1]);
	if (*child)
		reclaim_all(w);
	else
		pageout(w->mm, 0, 1);
	check_world(w);
	pte = entry_at(w->mm, PAGE(0));
	assert_true(pte_is_genuine_swap(pte));
	assert_int_equal(pte_swp_soft_dirty(pte), c->soft);
	assert_int_equal(pte_swp_uffd_wp(pte), c->wp);
	assert_int_equal(pte_swp_exclusive(pte), c->sharing == EXCLUSIVE);
	assert_int_equal(vellum_mm_swapped(w->mm), 1);
	assert_int_equal(slots_used(w), 1);
	assert_int_equal(
		pagemap_word(w->mm, PAGE(0)) >> 55,
		(VELLUM_PM_SWAP | (c->soft ? VELLUM_PM_SOFT_DIRTY : 0) | (c->wp ? VELLUM_PM_UFFD_WP : 0)) >>
			55);
	if (*child)
		assert_true(is_out(*child, PAGE(0)));
	if (c->sharing == SOLE) {
		end_child(*child, w->cpu[1]);
		*child = NULL;
	}
}

static void check_back(struct world *w, const struct swap_case *c)
{
	bool alone = c->sharing != SHARED;
	bool writable = c->store || (!c->ro && alone && !c->wp && c->soft); /* soft-dirty is tracked */
	pte_t pte = entry_at(w->mm, PAGE(0));

	assert_true(pte_present(pte) && pte_young(pte));
	assert_int_equal(!!pte_write(pte), writable);
	assert_int_equal(!!pte_dirty(pte), c->store);
	assert_int_equal(pte_soft_dirty(pte), c->soft || c->store);
	assert_int_equal(pte_uffd_wp(pte), c->wp && !c->store);
	assert_int_equal(has_x(w, PAGE(0)), alone || c->store);
	assert_int_equal(vellum_mm_swapped(w->mm), 0);
	assert_int_equal(slots_used(w), alone ? 0 : 1);
}

static void one_swap_case(struct swap_world *sw, const struct swap_case *c)
{
	struct world *w = &sw->w;
	struct vellum_uffd *uffd;
	struct vellum_mm *child;

	map_at(w->mm, 0, 1, RW, ANON);
	uffd = register_wp(w->mm, 0, 1, VELLUM_UFFD_FEATURE_WP_ASYNC);
	store(w->cpu[0], PAGE(0) + 8, 8);
	clear_soft_dirty(w->mm);
	if (c->soft)
		store(w->cpu[0], PAGE(0) + 8, 9);
	if (c->wp)
		wp(uffd, 0, 1);
	go_out(sw, c, &child);
	if (c->ro)
		protect(w->mm, 0, 1, RO);
	if (c->store)
		store(w->cpu[0], PAGE(0), 1);
	else
		load(w->cpu[0], PAGE(0));
	check_world(w);
	check_back(w, c);
	assert_int_equal(load(w->cpu[0], PAGE(0) + 8), c->soft ? 9 : 8);
	if (child) {
		assert_int_equal(load(w->cpu[1], PAGE(0) + 8), c->soft ? 9 : 8);
		assert_int_equal(load(w->cpu[1], PAGE(0)), 0);
		end_child(child, w->cpu[1]);
	}
	unmap(w->mm, 0, 1);
	vellum_uffd_put(uffd);
	check_world(w);
	assert_int_equal(slots_used(w), 0);
}

static void T_pte_01_swap_in_bits(void **state)
{
	for (unsigned i = 0; i < 48; i++) {
		struct swap_case c = { i & 1, i & 2, i & 4, i & 8, (enum sharing)(i / 16) };

		if (!(c.store && c.ro))
			one_swap_case(*state, &c);
	}
}

/* If soft-dirty is not tracked, a load grants W, too. Only a store sets D. */
static void T_pte_01_swap_in_untracked(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(1), 2);
	pageout(w->mm, 0, 2);
	load(w->cpu[0], PAGE(0));
	store(w->cpu[0], PAGE(1), 3);
	check_world(w);
	assert_true(has_w(w->mm, PAGE(0)) && !has_d(w->mm, PAGE(0)));
	assert_true(has_w(w->mm, PAGE(1)) && has_d(w->mm, PAGE(1)));
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_SWAP), 2);
}

static void only_bytes_that_changed_are_written(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	struct vellum_swap_info info = { .size = sizeof(info) };

	map_at(w->mm, 0, 4, RW, ANON);
	load(w->cpu[0], PAGE(3));	/* the zero page is not swapped out */
	for (unsigned i = 0; i < 3; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	pageout(w->mm, 0, 4);
	vellum_swap_info(w->memory, &info);
	assert_int_equal(info.nr_slots, DISK_SLOTS);
	assert_int_equal(info.nr_used, 3);
	assert_int_equal(info.nr_out, 3);
	assert_int_equal(info.nr_in, 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i < 3 ? i + 1 : 0);
	vellum_swap_info(w->memory, &info);
	assert_int_equal(info.nr_in, 3);
	assert_int_equal(info.nr_used, 0);
	check_world(w);
}

/* --- which pages are swapped out --- */

static void second_chance(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 16, RW, ANON);
	for (unsigned i = 0; i < 16; i++)
		store(w->cpu[0], PAGE(i), i);
	OK(vellum_madvise(w->mm, PAGE(4), BYTES(8), VELLUM_MADV_COLD));
	for (unsigned i = 0; i < 16; i++) {
		pte_t pte = entry_at(w->mm, PAGE(i));

		assert_int_equal(pte_young(pte), i < 4 || i >= 12);
		assert_true(pte_dirty(pte) && pte_write(pte));
	}
	assert_int_equal(vellum_reclaim(w->memory, 8), 8);
	check_world(w);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(is_out(w->mm, PAGE(i)), i >= 4 && i < 12);
	assert_true(vellum_reclaim(w->memory, 100) >= 8);	/* the second round skips no page */
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i);
}

static void pageout_leaves_shared_pages(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(0), 5);
	child = fork_on(w->mm, w->cpu[1]);
	store(w->cpu[0], PAGE(1), 6);
	pageout(w->mm, 0, 2);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(2), VELLUM_MADV_COLD));
	assert_true(is_in(w->mm, PAGE(0)) && is_in(child, PAGE(0)));
	assert_true(pte_young(entry_at(w->mm, PAGE(0))));
	assert_true(is_out(w->mm, PAGE(1)));
	check_world(w);
	end_child(child, w->cpu[1]);
}

static void mlocked_pages_stay(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;

	map_at(w->mm, 0, 4, RW, ANON);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), i);
	pageout(w->mm, 0, 2);
	child = fork_on(w->mm, w->cpu[1]);
	OK(vellum_mlock(w->mm, PAGE(1), BYTES(2), 0));
	assert_true(is_in(w->mm, PAGE(1)));	/* it was swapped out before */
	assert_int_equal(vellum_madvise(w->mm, PAGE(1), BYTES(1), VELLUM_MADV_PAGEOUT), -EINVAL);
	reclaim_all(w);
	assert_true(is_out(w->mm, PAGE(0)) && is_out(w->mm, PAGE(3)));
	assert_true(is_in(w->mm, PAGE(1)) && is_in(w->mm, PAGE(2)));
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(load(w->cpu[1], PAGE(i)), i);
	OK(vellum_munlockall(w->mm));
	reclaim_all(w);
	assert_true(is_out(w->mm, PAGE(1)) && is_out(child, PAGE(2)));
	end_child(child, w->cpu[1]);
}

static void pinned_pages_stay(void **state)
{
	struct world *w = *state;
	uint64_t pfns[2], pinned;

	map_at(w->mm, 0, 4, RW, ANON);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	pageout(w->mm, 0, 1);
	OK(vellum_pin_pages(w->mm, PAGE(0), 2, VELLUM_GUP_WRITE, pfns, &pinned));
	assert_int_equal(pinned, 2);
	pageout(w->mm, 0, 4);
	reclaim_all(w);
	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(0))), pfns[0]);
	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(1))), pfns[1]);
	assert_true(has_x(w, PAGE(0)) && has_w(w->mm, PAGE(1)));
	assert_true(is_out(w->mm, PAGE(2)) && is_out(w->mm, PAGE(3)));
	assert_int_equal(slots_used(w), 2);
	vellum_unpin_pages_dirty(w->memory, pfns, 2);
	pageout(w->mm, 0, 4);
	assert_int_equal(slots_used(w), 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i + 1);
}

/* --- fork --- */

static void T_fork_07_swapped(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *uffd;
	struct vellum_mm *child;
	pte_t parents, childs;

	map_at(w->mm, 0, 4, RW, ANON);
	uffd = register_wp(w->mm, 1, 1, VELLUM_UFFD_FEATURE_WP_ASYNC);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), i + 10);
	clear_soft_dirty(w->mm);
	store(w->cpu[0], PAGE(1), 11);
	wp(uffd, 1, 1);
	pageout(w->mm, 0, 4);
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	for (unsigned i = 0; i < 4; i++) {
		parents = entry_at(w->mm, PAGE(i));
		childs = entry_at(child, PAGE(i));
		assert_true(pte_is_genuine_swap(parents) && pte_is_genuine_swap(childs));
		assert_int_equal(pte_swp_offset(parents), pte_swp_offset(childs));
		assert_false(pte_swp_exclusive(parents) || pte_swp_exclusive(childs));
		assert_int_equal(pte_swp_soft_dirty(parents), i == 1);
		assert_int_equal(pte_swp_soft_dirty(childs), i == 1);
		assert_int_equal(pte_swp_uffd_wp(parents), i == 1);
		assert_false(pte_swp_uffd_wp(childs));	/* the child has no context */
	}
	assert_int_equal(slots_used(w), 4);
	assert_int_equal(vellum_mm_swapped(child), 4);
	assert_int_equal(load(w->cpu[1], PAGE(0)), 10);	/* the child first, with a load */
	assert_false(has_w(child, PAGE(0)));
	store(w->cpu[1], PAGE(1), 21);			/* the child first, with a store */
	store(w->cpu[0], PAGE(2), 32);			/* the parent first */
	store(w->cpu[0], PAGE(0), 30);
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 11);
	assert_int_equal(load(w->cpu[1], PAGE(2)), 12);
	assert_int_equal(load(w->cpu[1], PAGE(0)), 10);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 30);
	assert_int_equal(slots_used(w), 1);		/* page 3 is still swapped out in both */
	assert_int_equal(load(w->cpu[0], PAGE(3)), 13);
	assert_int_equal(load(w->cpu[1], PAGE(3)), 13);
	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(3))), pte_pfn(entry_at(child, PAGE(3))));
	assert_int_equal(slots_used(w), 0);
	check_world(w);
	end_child(child, w->cpu[1]);
	vellum_uffd_put(uffd);
}

static void T_fork_07_markers_and_advice(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *uffd;
	struct vellum_mm *child;
	uint64_t ioctls;
	int64_t done;

	map_at(w->mm, 0, 8, RW, ANON);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), i);
	dontneed(w->mm, 0, 2);
	uffd = new_uffd(w->mm, 0);
	OK(vellum_uffd_register(uffd, PAGE(0), BYTES(1), VELLUM_UFFD_MISSING, &ioctls));
	OK(vellum_uffd_poison(uffd, PAGE(0), BYTES(1), 0, &done));
	OK(vellum_madvise(w->mm, PAGE(1), BYTES(1), VELLUM_MADV_GUARD_INSTALL));
	pageout(w->mm, 2, 6);
	OK(vellum_madvise(w->mm, PAGE(2), BYTES(2), VELLUM_MADV_DONTFORK));
	OK(vellum_madvise(w->mm, PAGE(4), BYTES(2), VELLUM_MADV_WIPEONFORK));
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	assert_int_equal(vellum_mm_swapped(w->mm), 6);
	assert_int_equal(vellum_mm_swapped(child), 2);
	assert_int_equal(pte_marker_bits(entry_at(w->mm, PAGE(0))), MARKER_POISON);
	assert_int_equal(pte_marker_bits(entry_at(child, PAGE(0))), MARKER_POISON);
	assert_int_equal(try_load(w->cpu[1], PAGE(0)), VELLUM_FAULT_HWPOISON);
	assert_int_equal(pte_marker_bits(entry_at(child, PAGE(1))), MARKER_GUARD);
	assert_in_range(try_load(w->cpu[1], PAGE(1)), VELLUM_FAULT_SIGSEGV_MAPERR,
			VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(try_load(w->cpu[1], PAGE(2)), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(load(w->cpu[1], PAGE(4)), 0);
	store(w->cpu[1], PAGE(5), 1);
	for (unsigned i = 2; i < 8; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i);
	assert_int_equal(load(w->cpu[1], PAGE(7)), 7);
	end_child(child, w->cpu[1]);
	vellum_uffd_put(uffd);
}

/* The same in a VMA that never had a page: fork copies the markers. */
static void T_fork_07_poison_alone(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *uffd;
	enum vellum_fault_result result;
	struct vellum_mm *child;
	uint64_t ioctls;
	int64_t done;

	map_at(w->mm, 0, 1, RW, ANON);
	uffd = new_uffd(w->mm, 0);
	OK(vellum_uffd_register(uffd, PAGE(0), BYTES(1), VELLUM_UFFD_MISSING, &ioctls));
	OK(vellum_uffd_poison(uffd, PAGE(0), BYTES(1), 0, &done));
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	assert_int_equal(try_load(w->cpu[0], PAGE(0)), VELLUM_FAULT_HWPOISON);
	result = try_load(w->cpu[1], PAGE(0));
	end_child(child, w->cpu[1]);
	vellum_uffd_put(uffd);
	assert_int_equal(result, VELLUM_FAULT_HWPOISON);
}

/* Several processes, and a page that is swapped out again and again: counts of slots and bytes must be right. */
static void T_fork_07_family(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child[3];

	map_at(w->mm, 0, 3, RW, ANON);
	for (unsigned i = 0; i < 3; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	for (unsigned i = 0; i < 3; i++) {
		reclaim_all(w);
		child[i] = fork_on(w->mm, w->cpu[i + 1]);
		assert_int_equal(load(w->cpu[i + 1], PAGE(i)), i + 1);
	}
	reclaim_all(w);
	assert_int_equal(slots_used(w), 3);
	for (unsigned i = 0; i < 3; i++)
		store(w->cpu[i + 1], PAGE(i), 100 + i);
	check_world(w);
	reclaim_all(w);
	assert_int_equal(slots_used(w), 6);
	end_child(child[2], w->cpu[3]);
	assert_int_equal(slots_used(w), 5);
	for (unsigned i = 0; i < 2; i++)
		for (unsigned j = 0; j < 3; j++)
			assert_int_equal(load(w->cpu[i + 1], PAGE(j)), i == j ? 100 + i : j + 1);
	for (unsigned j = 0; j < 3; j++)
		assert_int_equal(load(w->cpu[0], PAGE(j)), j + 1);
	check_world(w);
	end_child(child[0], w->cpu[1]);
	end_child(child[1], w->cpu[2]);
}

/* --- errors --- */

static void write_errors_lose_nothing(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	struct vellum_mm *child;

	map_at(w->mm, 0, 4, RW, ANON);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	child = fork_on(w->mm, w->cpu[1]);
	store(w->cpu[1], PAGE(3), 40);
	sw->disk.write_err = -VELLUM_EIO;
	pageout(w->mm, 0, 4);
	assert_int_equal(reclaim_all(w), 0);
	assert_true(sw->disk.writes > 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i + 1);
	store(w->cpu[0], PAGE(0), 50);
	assert_int_equal(load(w->cpu[1], PAGE(0)), 1);
	assert_int_equal(sw->disk.reads, 0);
	check_world(w);
	sw->disk.write_err = 0;
	reclaim_all(w);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(load(w->cpu[0], PAGE(i)), i ? i + 1 : 50);
		assert_int_equal(load(w->cpu[1], PAGE(i)), i < 3 ? i + 1 : 40);
	}
	check_world(w);
	end_child(child, w->cpu[1]);
}

static void read_errors_are_sigbus(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	uint64_t val, nr;
	pte_t before;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(1), 2);
	pageout(w->mm, 0, 2);
	before = entry_at(w->mm, PAGE(0));
	sw->disk.read_err = -VELLUM_EIO;
	sw->disk.bad_slot = pte_swp_offset(before);
	nr = free_frames(w);
	assert_int_equal(try_load(w->cpu[0], PAGE(0)), VELLUM_FAULT_SIGBUS);
	assert_int_equal(try_store(w->cpu[0], PAGE(0), 9), VELLUM_FAULT_SIGBUS);
	assert_int_equal(vellum_copy_from_user(w->mm, &val, PAGE(0), 8, NULL), -EFAULT);
	check_world(w);
	assert_int_equal(entry_at(w->mm, PAGE(0)).val, before.val);
	assert_int_equal(free_frames(w), nr);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 2);
	sw->disk.read_err = 0;
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
}

/* RAM and the swap area are full: the access fails, and no page is lost. */
static void full_areas_are_oom(void **state)
{
	enum { PAGES = 2000, SLOTS = 300 };
	static struct swap_world sw;
	struct world *w = &sw.w;
	unsigned n = 0;
	enum vellum_fault_result result = VELLUM_FAULT_OK;

	(void)state;
	swap_world_create(&sw, 4 << 20, SLOTS);
	map_at(w->mm, 0, PAGES, RW, ANON | VELLUM_MAP_NORESERVE);
	while (n < PAGES && (result = try_store(w->cpu[0], PAGE(n), n + 1)) == VELLUM_FAULT_OK)
		n++;
	assert_int_equal(result, VELLUM_FAULT_OOM);
	assert_true(n > 1024 && n < 1024 + SLOTS);
	check_world(w);
	assert_int_equal(slots_used(w), SLOTS);
	assert_int_equal(try_load(w->cpu[0], PAGE(n)), VELLUM_FAULT_OK); /* the zero page needs no frame */
	/* 40 pages fewer, so that swapped pages and pages in RAM can change places. */
	dontneed(w->mm, (int)n - 40, 40);
	for (unsigned i = 0; i < n - 40; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i + 1);
	check_world(w);
	swap_world_destroy(&sw);
}

/* A move needs page tables where it goes. Pages are swapped out for these. */
static void mremap_reclaims_for_tables(void **state)
{
	static uint64_t hoard[4096];
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	uint64_t addr = PAGE(0) + (1ull << 42);
	unsigned n = 0;

	map_at(w->mm, 0, 64, RW, ANON);
	for (unsigned i = 0; i < 64; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	while (!vellum_memory_alloc_device(w->memory, 1, &hoard[n]))
		n++;
	assert_int_equal(free_frames(w), 0);
	OK(vellum_mremap(w->mm, PAGE(0), BYTES(64), BYTES(64), VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &addr));
	check_world(w);
	assert_true(vellum_mm_swapped(w->mm) > 0);
	while (n)
		vellum_memory_free_device(w->memory, hoard[--n], 1);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(load(w->cpu[0], addr + BYTES(i)), i + 1);
	OK(vellum_munmap(w->mm, addr, BYTES(64)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWAP_TEST(T_pte_01_swap_in_bits),
		SWAP_TEST(T_pte_01_swap_in_untracked),
		SWAP_TEST(only_bytes_that_changed_are_written),
		SWAP_TEST(second_chance),
		SWAP_TEST(pageout_leaves_shared_pages),
		SWAP_TEST(mlocked_pages_stay),
		SWAP_TEST(pinned_pages_stay),
		SWAP_TEST(T_fork_07_swapped),
		SWAP_TEST(T_fork_07_markers_and_advice),
		SWAP_TEST(T_fork_07_poison_alone),
		SWAP_TEST(T_fork_07_family),
		SWAP_TEST(write_errors_lose_nothing),
		SWAP_TEST(read_errors_are_sigbus),
		SWAP_TEST(mremap_reclaims_for_tables),
		cmocka_unit_test(full_areas_are_oom),
	};

	return cmocka_run_group_tests_name("swap", tests, NULL, NULL);
}
