/* SPDX-License-Identifier: MIT */
/* fork of protected memory whose child has a context of its own (VELLUM_UFFD_FEATURE_EVENT_FORK). */
#include "uffd_support.h"

#include "mm/table/huge.h"
#include "vellum/gup.h"

#define HUGE 512

/* Fork, and read the message that the fork waits for. Return: the child's context. */
static struct vellum_uffd *fork_with_event(struct world *w, struct vellum_uffd *u, struct vellum_mm **child)
{
	struct vellum_uffd_msg msg;
	struct job job;

	start_fork(w, &job);
	msg = message(u, &job);
	assert_int_equal(msg.event, VELLUM_UFFD_EVENT_FORK);
	ends(&job);
	*child = job.child;
	return msg.arg.fork.child;
}

static uint64_t leaf_at(struct vellum_mm *mm, uint64_t addr)
{
	struct leaf leaf;

	return huge_lookup(mm, addr, &leaf) ? entry_load(leaf.entry) : 0;
}

/* A pinned page is copied, and the copy is protected if and only if the page is. */
static void a_copy_of_a_pinned_page_keeps_its_protection(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, VELLUM_UFFD_FEATURE_EVENT_FORK), *theirs;
	struct vellum_mm *child;
	uint64_t pfns[2], got;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(1), 1);
	store(w->cpu[0], PAGE(2), 2);
	OK(vellum_pin_pages(w->mm, PAGE(1), 2, VELLUM_GUP_WRITE, pfns, &got));
	enrol(w, u, 0, 4, WP);
	guard_writes(w, u, 1, 1);
	theirs = fork_with_event(w, u, &child);
	for (unsigned i = 1; i < 3; i++) {
		pte_t pte = entry_at(child, PAGE(i));

		assert_int_not_equal(pte_pfn(pte), pfns[i - 1]);
		assert_int_equal(pte_uffd_wp(pte), i == 1);
		assert_int_equal(pte_write(pte), i == 2);
		assert_int_equal(pte_uffd_wp(entry_at(w->mm, PAGE(i))), i == 1);
	}
	vellum_unpin_pages(w->memory, pfns, 2);
	vellum_uffd_put(theirs);
	vellum_mm_put(child);
	vellum_uffd_put(u);
}

/* Without a context of the child, its copy is not protected. */
static void a_copy_without_a_context_is_not_protected(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mm *child;
	uint64_t pfn, got;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(1), 1);
	OK(vellum_pin_pages(w->mm, PAGE(1), 1, VELLUM_GUP_WRITE, &pfn, &got));
	enrol(w, u, 0, 4, WP);
	guard_writes(w, u, 1, 1);
	OK(vellum_fork(w->mm, &child));
	assert_false(pte_uffd_wp(entry_at(child, PAGE(1))));
	assert_true(pte_write(entry_at(child, PAGE(1))));
	assert_int_equal(vma_at(child, PAGE(1))->flags & VM_UFFD, 0);
	vellum_unpin_pages(w->memory, &pfn, 1);
	vellum_mm_put(child);
	vellum_uffd_put(u);
}

/* A protected leaf is copied with its protection. */
static void a_leaf_keeps_its_protection(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, VELLUM_UFFD_FEATURE_EVENT_FORK), *theirs;
	struct vellum_mm *child;
	uint64_t val;

	map_at(w->mm, HUGE, HUGE, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(HUGE), BYTES(HUGE), VELLUM_MADV_HUGEPAGE));
	store(w->cpu[0], PAGE(HUGE), 1);
	enrol(w, u, HUGE, HUGE, WP);
	guard_writes(w, u, HUGE, HUGE);
	val = leaf_at(w->mm, PAGE(HUGE));
	assert_true(val & X86_UFFD_WP);
	theirs = fork_with_event(w, u, &child);
	assert_int_equal(leaf_at(w->mm, PAGE(HUGE)), val);
	assert_int_equal(leaf_at(child, PAGE(HUGE)), val & ~X86_ACCESSED);
	vellum_uffd_put(theirs);
	vellum_mm_put(child);
	vellum_uffd_put(u);
}

/* A leaf of shared memory is not copied: the child's faults map the pages again. Entries of a protected VMA are. */
static void a_leaf_of_shared_memory_is_not_copied(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, VELLUM_UFFD_FEATURE_EVENT_FORK), *theirs;
	struct vellum_mm *child;

	map_at(w->mm, HUGE, 2 * HUGE, RW, SHANON);
	OK(vellum_madvise(w->mm, PAGE(HUGE), BYTES(2 * HUGE), VELLUM_MADV_HUGEPAGE));
	store(w->cpu[0], PAGE(HUGE), 1);
	store(w->cpu[0], PAGE(2 * HUGE), 2);
	enrol(w, u, HUGE, 2 * HUGE, WP);
	guard_writes(w, u, 2 * HUGE + 3, 1);
	theirs = fork_with_event(w, u, &child);
	assert_int_equal(leaf_at(child, PAGE(HUGE)), 0);
	assert_true(pte_uffd_wp(entry_at(child, PAGE(2 * HUGE + 3))));
	vellum_uffd_put(theirs);
	vellum_mm_put(child);
	vellum_uffd_put(u);
}

/* Each allocation fails once: the fork fails and leaves no event, and no context of the child. */
static void no_memory_for_the_child_s_context(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, VELLUM_UFFD_FEATURE_EVENT_FORK);
	struct vellum_uffd_msg msg;
	unsigned failures = 0;
	struct job job;

	for (unsigned i = 0; i < 4; i++) {
		map_at(w->mm, 8 * i, 4, RW, ANON);
		store(w->cpu[0], PAGE(8 * i), i);
		enrol(w, u, 8 * i, 4, WP);
	}
	for (;;) {
		uint32_t got = 0;

		w->host.fail_at = w->host.nr_allocs + failures + 1;
		start_fork(w, &job);
		while (!is_over(&job) && vellum_uffd_poll(u) != 1)
			sched_yield();
		w->host.fail_at = 0;
		if (vellum_uffd_poll(u) == 1) {
			OK(vellum_uffd_read(u, &msg, 1, true, &got));
			break;
		}
		ends_with(&job, -ENOMEM);
		says_nothing(u);
		failures++;
	}
	ends(&job);
	assert_true(failures >= 6);
	for (unsigned i = 0; i < 4; i++)
		assert_ptr_equal(vma_at(job.child, PAGE(8 * i))->uffd, msg.arg.fork.child);
	vellum_uffd_put(msg.arg.fork.child);
	vellum_mm_put(job.child);
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(a_copy_of_a_pinned_page_keeps_its_protection),
		WORLD_TEST(a_copy_without_a_context_is_not_protected),
		WORLD_TEST(a_leaf_keeps_its_protection),
		WORLD_TEST(a_leaf_of_shared_memory_is_not_copied),
		WORLD_TEST(no_memory_for_the_child_s_context),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
