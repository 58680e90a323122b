/* SPDX-License-Identifier: MIT */
/* userfaultfd: contexts and their references, and exactly which VMAs registering and unregistering change. */
#include "uffd_support.h"

/* --- contexts --- */

static void context_stays_until_the_last_user(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0), *none = NULL;

	assert_int_equal(vellum_uffd_create(NULL, 0, &none), -EINVAL);
	assert_int_equal(vellum_uffd_create(w->mm, 0, NULL), -EINVAL);
	assert_null(none);
	map_at(w->mm, 0, 4, RW, ANON);
	vellum_uffd_get(u);
	vellum_uffd_put(u);
	enrol(w, u, 0, 4, MISSING);	/* not closed */
	assert_ptr_equal(vma_at(w->mm, PAGE(0))->uffd, u);
	vellum_uffd_put(u);
	assert_null(vma_at(w->mm, PAGE(0))->uffd);
}

/* All contexts of an address space are detached when it ends, in whatever order they were created and closed. */
static void contexts_of_one_address_space(void **state)
{
	struct world *w = *state;

	for (unsigned closed = 0; closed < 8; closed++) {
		struct vellum_uffd *u[3];
		struct vellum_mm *mm;

		OK(vellum_mm_create(w->memory, &mm));
		for (unsigned i = 0; i < 3; i++) {
			OK(vellum_uffd_create(mm, 0, &u[i]));
			OK(vellum_uffd_api(u[i], VELLUM_UFFD_API, 0, NULL, NULL));
		}
		for (unsigned i = 0; i < 3; i++)
			if (closed >> i & 1)
				vellum_uffd_put(u[i]);
			else
				assert_true(vellum_uffd_is_for(u[i], mm));
		vellum_mm_put(mm);
		for (unsigned i = 0; i < 3; i++) {
			if (closed >> i & 1)
				continue;
			assert_false(vellum_uffd_is_for(u[i], mm));
			assert_int_equal(vellum_uffd_register(u[i], PAGE(0), BYTES(1), MISSING, NULL), -ENOMEM);
			assert_int_equal(vellum_uffd_unregister(u[i], PAGE(0), BYTES(1)), -ENOMEM);
			assert_int_equal(vellum_uffd_writeprotect(u[i], PAGE(0), BYTES(1), 0), -ESRCH);
			assert_int_equal(zero_in(u[i], 0), -ESRCH);
			assert_int_equal(move_in(u[i], 0, 1, 1, 0), -ESRCH);
			vellum_uffd_put(u[i]);
		}
	}
}

/* A call that fails leaves its results alone. */
static void failed_calls_return_nothing(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0), *fresh;
	uint64_t features = 7, ioctls = 8;

	map_at(w->mm, 0, 4, RW, ANON);
	assert_int_equal(vellum_uffd_api(u, VELLUM_UFFD_API, 0, &features, &ioctls), -EINVAL);
	assert_int_equal(vellum_uffd_register(u, PAGE(8), BYTES(1), MISSING, &ioctls), -EINVAL);
	assert_int_equal(features, 7);
	assert_int_equal(ioctls, 8);
	OK(vellum_uffd_create(w->mm, 0, &fresh));
	vellum_uffd_close(fresh);
	assert_int_equal(vellum_uffd_api(fresh, VELLUM_UFFD_API, 0, NULL, NULL), -EINVAL);
	vellum_uffd_close(u);
	assert_int_equal(vellum_uffd_register(u, PAGE(0), BYTES(1), MISSING, NULL), -EINVAL);
	assert_int_equal(vellum_uffd_unregister(u, PAGE(0), BYTES(1)), -EINVAL);
	assert_null(vma_at(w->mm, PAGE(0))->uffd);
	vellum_uffd_put(fresh);
	vellum_uffd_put(u);
}

/* --- ranges --- */

/* The VMAs before and behind the range may be of any kind. */
static void neighbours_do_not_matter(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0), *other = new_uffd(w, 0);
	struct file f;

	file_create(&f, w, 4);
	map_shared(w->mm, 0, 4, &f, 0);
	map_at(w->mm, 4, 8, RW, ANON);
	map_shared(w->mm, 12, 4, &f, 0);
	enrol(w, other, 4, 2, MISSING);
	enrol(w, other, 10, 2, MISSING);
	enrol(w, u, 6, 4, MISSING | WP);
	assert_int_equal(nr_vmas(w->mm), 5);
	for (unsigned i = 4; i < 12; i++)
		assert_ptr_equal(vma_at(w->mm, PAGE(i))->uffd, i >= 6 && i < 10 ? u : other);
	withdraw(w, u, 6, 4);
	for (unsigned i = 4; i < 12; i++)
		assert_ptr_equal(vma_at(w->mm, PAGE(i))->uffd, i >= 6 && i < 10 ? NULL : other);
	enrol(w, u, 7, 1, MISSING);
	vellum_uffd_close(other);
	for (unsigned i = 4; i < 12; i++)
		assert_ptr_equal(vma_at(w->mm, PAGE(i))->uffd, i == 7 ? u : NULL);
	check_world(w);
	unmap(w->mm, 0, 16);
	file_destroy(&f);
	vellum_uffd_put(u);
	vellum_uffd_put(other);
}

/* Closing one context keeps the registrations and the protection of others. */
static void closing_keeps_other_contexts(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0), *other = new_uffd(w, 0);

	map_at(w->mm, 0, 8, RW, ANON);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), i);
	enrol(w, u, 0, 4, WP);
	enrol(w, other, 4, 4, WP);
	guard_writes(w, u, 0, 4);
	guard_writes(w, other, 4, 4);
	vellum_uffd_put(u);
	for (unsigned i = 0; i < 8; i++)
		assert_word(w, i, i < 4 ? IS_PAGE : IS_WP_PAGE);
	store_waits(w, other, 5, 9);
	vellum_uffd_put(other);
}

/* An ordinary file can be unregistered only if it is registered, even in a context that could register it. */
static void unregistering_checks_each_vma(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, ASYNC);
	struct file f;

	file_create(&f, w, 8);
	map_shared(w->mm, 0, 4, &f, 0);
	map_private(w->mm, 4, 4, &f, 4);
	assert_int_equal(vellum_uffd_unregister(u, PAGE(0), BYTES(8)), -EINVAL);
	enrol(w, u, 0, 4, WP);
	assert_int_equal(vellum_uffd_unregister(u, PAGE(0), BYTES(8)), -EINVAL);
	assert_ptr_equal(vma_at(w->mm, PAGE(0))->uffd, u);
	withdraw(w, u, 0, 4);
	assert_null(vma_at(w->mm, PAGE(0))->uffd);
	unmap(w->mm, 0, 8);
	file_destroy(&f);
	vellum_uffd_put(u);
}

/* What an ended registration for WP has left is not touched, as it protects nothing. */
static void stale_protection_stays(void **state)
{
	struct world *w = *state;

	for (unsigned close = 0; close < 2; close++) {
		struct vellum_uffd *u = new_uffd(w, 0);
		pte_t pte;

		map_at(w->mm, 0, 4, RW, ANON);
		store(w->cpu[0], PAGE(1), 1);
		enrol(w, u, 0, 4, WP);
		guard_writes(w, u, 0, 4);
		OK(vellum_uffd_register(u, PAGE(0), BYTES(4), MISSING, NULL));
		pte = entry_at(w->mm, PAGE(1));
		assert_true(pte_uffd_wp(pte));
		if (close)
			vellum_uffd_close(u);
		else
			withdraw(w, u, 0, 4);
		assert_int_equal(entry_at(w->mm, PAGE(1)).val, pte.val);
		check_world(w);
		vellum_uffd_put(u);
		unmap(w->mm, 0, 4);
	}
}

/* No memory for a split: nothing is unregistered, and no thread is woken. */
static void failed_unregistering_changes_nothing(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct job job;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 4, 4, RW | VELLUM_PROT_EXEC, ANON);
	enrol(w, u, 0, 8, MISSING);
	start_load(w, &job, PAGE(1));
	says_fault(u, &job, PAGE(1), 0);
	w->host.fail_at = w->host.nr_allocs + 1;
	assert_int_equal(vellum_uffd_unregister(u, PAGE(1), BYTES(7)), -ENOMEM);
	w->host.fail_at = 0;
	assert_int_equal(nr_waiting(w, u), 1);
	for (unsigned i = 0; i < 8; i++)
		assert_ptr_equal(vma_at(w->mm, PAGE(i))->uffd, u);
	OK(vellum_uffd_unregister(u, PAGE(1), BYTES(7)));
	ends(&job);
	for (unsigned i = 0; i < 8; i++)
		assert_ptr_equal(vma_at(w->mm, PAGE(i))->uffd, i ? NULL : u);
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(context_stays_until_the_last_user),
		WORLD_TEST(contexts_of_one_address_space),
		WORLD_TEST(failed_calls_return_nothing),
		WORLD_TEST(neighbours_do_not_matter),
		WORLD_TEST(closing_keeps_other_contexts),
		WORLD_TEST(unregistering_checks_each_vma),
		WORLD_TEST(stale_protection_stays),
		WORLD_TEST(failed_unregistering_changes_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
