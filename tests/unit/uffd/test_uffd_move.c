/* SPDX-License-Identifier: MIT */
/* userfaultfd: UFFDIO_MOVE of private pages. */
#include "uffd_support.h"

#define HOLES VELLUM_UFFD_MOVE_ALLOW_SRC_HOLES

static void move_pages(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct swap_array *swap = malloc(sizeof(*swap));
	uint64_t pfn, pfn_before;
	struct job job;

	add_swap(w, swap);
	map_at(w->mm, 0, 8, RW, ANON);
	map_at(w->mm, 16, 8, RW, ANON);
	store(w->cpu[0], PAGE(0), 10);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 0); /* the zero page */
	store(w->cpu[0], PAGE(2), 12);
	page_out(w, 2, 1);
	enrol(w, u, 16, 8, MISSING);
	OK(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
	assert_false(is_soft_dirty(w, 0));
	pfn_before = pte_pfn(entry_at(w->mm, PAGE(0)));
	start_load(w, &job, PAGE(16));
	says_fault(u, &job, PAGE(16), 0);
	OK(move_in(u, 16, 0, 3, 0));
	ends(&job);
	assert_int_equal(job.val, 10);
	pfn = pte_pfn(entry_at(w->mm, PAGE(16)));
	assert_int_equal(pfn, pfn_before); /* not copied */
	assert_true(has_w(w->mm, PAGE(16)));
	assert_true(has_d(w->mm, PAGE(16)));
	assert_true(is_soft_dirty(w, 16) && is_soft_dirty(w, 18));
	assert_true(is_zero_page(w, 17));
	assert_true(pte_is_genuine_swap(entry_at(w->mm, PAGE(18))));
	for (unsigned i = 0; i < 3; i++)
		assert_word(w, i, 0);
	assert_int_equal(load(w->cpu[0], PAGE(18)), 12);
	assert_int_equal(load(w->cpu[0], PAGE(17)), 0);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 0);
	store_passes(w, u, 16, 1);
	store_passes(w, u, 17, 1);
	unmap(w->mm, 0, 24);
	vellum_uffd_put(u);
	OK(vellum_swap_remove(w->memory, 0));
	free(swap);
}

static void move_with_holes_or_in_part(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	int64_t done;

	map_at(w->mm, 0, 8, RW, ANON);
	map_at(w->mm, 16, 8, RW, ANON);
	enrol(w, u, 16, 8, MISSING);
	assert_int_equal(move_in(u, 16, 0, 4, 0), -ENOENT); /* no table */
	OK(move_in(u, 16, 0, 4, HOLES));
	store(w->cpu[0], PAGE(0), 10);
	store(w->cpu[0], PAGE(2), 12);
	assert_int_equal(vellum_uffd_move(u, PAGE(16), PAGE(0), BYTES(4), 0, &done), -EAGAIN);
	assert_int_equal(done, BYTES(1));
	check_world(w);
	OK(vellum_uffd_move(u, PAGE(17), PAGE(1), BYTES(3), HOLES, &done));
	assert_int_equal(done, BYTES(3));
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(16)), 10);
	assert_word(w, 17, 0);
	assert_int_equal(load(w->cpu[0], PAGE(18)), 12);
	store(w->cpu[0], PAGE(3), 13);
	assert_int_equal(vellum_uffd_move(u, PAGE(17), PAGE(3), BYTES(2), HOLES, &done), -EAGAIN);
	assert_int_equal(done, BYTES(1)); /* the second page is present already */
	assert_int_equal(move_in(u, 18, 4, 1, HOLES), -EEXIST);
	check_world(w);
	vellum_uffd_put(u);
}

static void move_errors(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0), *other = new_uffd(w, 0);
	int64_t done;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(3), 1);
	map_at(w->mm, 8, 4, RW, ANON);
	map_at(w->mm, 16, 4, RW, SHANON);
	map_at(w->mm, 24, 4, RO, ANON);
	map_at(w->mm, 32, 4, RW | VELLUM_PROT_EXEC, ANON);
	map_at(w->mm, 40, 4, RW, ANON);
	map_at(w->mm, 48, 4, RW, ANON);
	enrol(w, u, 8, 4, MISSING);
	enrol(w, u, 16, 4, MISSING);
	enrol(w, u, 24, 4, MISSING);
	enrol(w, u, 32, 4, MISSING);
	enrol(w, other, 40, 4, MISSING);
	OK(vellum_mlock(w->mm, PAGE(48), BYTES(4), VELLUM_MLOCK_ONFAULT));
	store(w->cpu[0], PAGE(48), 1);
	assert_int_equal(vellum_uffd_move(u, PAGE(8), PAGE(0), PAGE_SIZE, 4, &done), -EINVAL);
	assert_int_equal(move_in(u, 1, 0, 1, 0), -EINVAL);  /* not registered */
	assert_int_equal(move_in(u, 16, 0, 1, 0), -EINVAL); /* shared */
	assert_int_equal(move_in(u, 8, 16, 1, 0), -EINVAL);
	assert_int_equal(move_in(u, 24, 0, 1, 0), -EINVAL); /* not writable */
	assert_int_equal(move_in(u, 8, 24, 1, HOLES), -EINVAL);
	assert_int_equal(move_in(u, 32, 0, 1, 0), -EINVAL); /* other rights */
	assert_int_equal(move_in(u, 40, 0, 1, 0), -EINVAL); /* of another context */
	assert_int_equal(move_in(u, 8, 48, 1, 0), -EINVAL); /* mlocked, and not mlocked */
	assert_int_equal(move_in(u, 8, 3, 2, 0), -EINVAL);  /* beyond the VMA */
	assert_int_equal(move_in(u, 11, 0, 2, HOLES), -EINVAL);
	assert_int_equal(move_in(u, 8, 100, 1, HOLES), -ENOENT); /* no VMA */
	assert_int_equal(move_in(u, 100, 0, 1, HOLES), -ENOENT);
	check_world(w);
	OK(move_in(u, 8, 0, 1, 0));
	map_at(w->mm, 56, 4, RW, ANON);
	OK(vellum_mlock(w->mm, PAGE(56), BYTES(4), 0));
	enrol(w, u, 56, 4, MISSING);
	assert_int_equal(move_in(u, 56, 48, 1, 0), -EEXIST); /* both are mlocked, one of them on fault */
	vellum_uffd_put(u);
	vellum_uffd_put(other);
}

/* Pages that cannot move: shared with a child, pinned, poisoned. */
static void shared_and_pinned_pages_do_not_move(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mm *child;
	uint64_t pfn, pinned;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 8, 8, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	enrol(w, u, 8, 8, MISSING);
	child = fork_on(w->mm, w->cpu[2]);
	assert_int_equal(move_in(u, 8, 0, 1, 0), -EBUSY);
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
	assert_int_equal(load(w->cpu[2], PAGE(0)), 1);
	end_child(child, w->cpu[2]);
	store(w->cpu[0], PAGE(0), 2);
	OK(vellum_pin_pages(w->mm, PAGE(0), 1, VELLUM_GUP_WRITE, &pfn, &pinned));
	assert_int_equal(move_in(u, 8, 0, 1, 0), -EBUSY);
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 2);
	vellum_unpin_pages_dirty(w->memory, &pfn, 1);
	OK(move_in(u, 8, 0, 1, 0));
	OK(poison_in(u, 12));
	assert_int_equal(move_in(u, 9, 12, 1, 0), -EFAULT);
	assert_int_equal(move_in(u, 9, 12, 1, HOLES), -EFAULT);
	check_world(w);
	vellum_uffd_put(u);
}

/* The moved page is not protected, as protection belongs to the address. */
static void move_drops_protection(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);

	map_at(w->mm, 0, 8, RW, ANON);
	enrol(w, u, 0, 8, MISSING | WP);
	OK(copy_in(u, 0, 5, VELLUM_UFFD_COPY_WP));
	OK(move_in(u, 4, 0, 1, 0));
	check_world(w);
	assert_word(w, 4, IS_PAGE);
	store_passes(w, u, 4, 6);
	vellum_uffd_put(u);
}

static void move_of_a_huge_page(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);

	map_at(w->mm, 512, 512, RW, ANON);
	map_at(w->mm, 2048, 512, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(512), BYTES(512), VELLUM_MADV_HUGEPAGE));
	store(w->cpu[0], PAGE(512), 1);
	store(w->cpu[0], PAGE(700), 2);
	assert_int_equal(vellum_mm_rss(w->mm), 512);
	enrol(w, u, 2048, 512, MISSING);
	OK(move_in(u, 2048, 512, 256, 0));
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(2048)), 1);
	assert_int_equal(load(w->cpu[0], PAGE(2048 + 700 - 512)), 2);
	assert_int_equal(load(w->cpu[0], PAGE(512)), 0);
	assert_int_equal(load(w->cpu[0], PAGE(1023)), 0);
	store_passes(w, u, 2048, 3);
	check_world(w);
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(move_pages),
		WORLD_TEST(move_with_holes_or_in_part),
		WORLD_TEST(move_errors),
		WORLD_TEST(shared_and_pinned_pages_do_not_move),
		WORLD_TEST(move_drops_protection),
		WORLD_TEST(move_of_a_huge_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
