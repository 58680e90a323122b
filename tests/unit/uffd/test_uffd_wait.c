/* SPDX-License-Identifier: MIT */
/* userfaultfd: faults that wait, faults that do not wait, and wake-ups. */
#include "uffd_support.h"

#include <sched.h>

#define WRITE_WP (VELLUM_UFFD_FLAG_WRITE | VELLUM_UFFD_FLAG_WP)

/* --- interruption --- */

static void signals_interrupt_waits(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_uffd_msg msg;
	struct job job;
	uint32_t got;

	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 0, 4, MISSING);
	for (unsigned read = 0; read < 2; read++) {
		start_load(w, &job, PAGE(0));
		if (read)
			says_fault(u, &job, PAGE(0), 0);
		else
			wait_for_nr(w, u, 1, &job);
		__atomic_store_n(&w->host.interrupted, 1, __ATOMIC_RELEASE);
		ends_with(&job, VELLUM_FAULT_INTERRUPTED);
		assert_int_equal(vellum_uffd_read(u, &msg, 1, true, &got), -EINTR);
		w->host.interrupted = 0;
		assert_int_equal(nr_waiting(w, u), 0);
		says_nothing(u);
	}
	start_load(w, &job, PAGE(0)); /* the retried fault sends its message again */
	says_fault(u, &job, PAGE(0), 0);
	OK(zero_in(u, 0));
	ends(&job);
	vellum_uffd_put(u);
}

static bool waits_for_user(struct world *w, uint64_t before)
{
	for (unsigned i = 0; i < 1000000; i++) {
		if (__atomic_load_n(&w->host.nr_user_waits, __ATOMIC_ACQUIRE) > before)
			return true;
		sched_yield();
	}
	return false;
}

static void *read_one(void *arg)
{
	struct vellum_uffd_msg msg;
	uint32_t got;

	assert_int_equal(vellum_uffd_read(arg, &msg, 1, true, &got), 0);
	return NULL;
}

/* The context gets an event. */
static void *unmap_one(void *arg)
{
	unmap(arg, 1, 1);
	return NULL;
}

/* An emulator gives up its CPU there, and nowhere else. */
static void waits_for_user_space_have_a_hook(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, VELLUM_UFFD_FEATURE_EVENT_UNMAP);
	struct job job;
	pthread_t thread;
	uint64_t before;
	bool waits[3];

	map_at(w->mm, 0, 4, RW, ANON);
	assert_int_equal(w->host.nr_user_waits, 0);
	enrol(w, u, 0, 4, MISSING);
	assert_int_equal(pthread_create(&thread, NULL, read_one, u), 0);
	waits[0] = waits_for_user(w, 0);
	start_load(w, &job, PAGE(0));
	assert_int_equal(pthread_join(thread, NULL), 0);
	before = __atomic_load_n(&w->host.nr_user_waits, __ATOMIC_ACQUIRE);
	waits[1] = waits_for_user(w, before);
	OK(zero_in(u, 0));
	ends(&job);
	before = w->host.nr_user_waits;
	assert_int_equal(pthread_create(&thread, NULL, unmap_one, w->mm), 0);
	waits[2] = waits_for_user(w, before);
	read_one(u);
	assert_int_equal(pthread_join(thread, NULL), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_true(waits[i]);
	vellum_uffd_put(u);
}

static void assert_counts(struct vellum_uffd *u, uint64_t pending, uint64_t total)
{
	uint64_t now, all;

	vellum_uffd_count(u, &now, &all);
	assert_int_equal(now, pending);
	assert_int_equal(all, total);
}

static void waiting_faults_are_counted(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct job job[2];

	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 0, 4, MISSING);
	assert_counts(u, 0, 0);
	start_load(w, &job[0], PAGE(0));
	says_fault(u, &job[0], PAGE(0), 0);
	start_access(w, &job[1], 2, job_load, PAGE(1), 0);
	wait_for_message(u, &job[1]);
	assert_counts(u, 1, 2);
	OK(zero_in(u, 0));
	OK(zero_in(u, 1));
	for (unsigned i = 0; i < 2; i++)
		ends(&job[i]);
	assert_counts(u, 0, 0);
	vellum_uffd_put(u);
}

/* --- faults that do not wait --- */

static void sigbus_instead_of_messages(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, VELLUM_UFFD_FEATURE_SIGBUS);
	struct vellum_mapping *mapping = new_shmem(w, 4);
	uint64_t val = 1;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	map_object(w->mm, 8, 4, RW, VELLUM_MAP_SHARED, mapping, 0, RW);
	enrol(w, u, 0, 4, MISSING | WP);
	enrol(w, u, 8, 4, MINOR);
	guard_writes(w, u, 0, 1);
	assert_int_equal(try_store(w->cpu[0], PAGE(0), 2), VELLUM_FAULT_SIGBUS);
	assert_int_equal(try_load(w->cpu[0], PAGE(1)), VELLUM_FAULT_SIGBUS);
	assert_int_equal(try_store(w->cpu[0], PAGE(1), 2), VELLUM_FAULT_SIGBUS);
	assert_int_equal(try_load(w->cpu[0], PAGE(8)), VELLUM_FAULT_SIGBUS);
	assert_int_equal(vellum_copy_to_user(w->mm, PAGE(1), &val, 8, NULL), -EFAULT);
	says_nothing(u);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
	OK(copy_in(u, 1, 9, 0));
	assert_int_equal(load(w->cpu[0], PAGE(1)), 9);
	check_world(w);
	unmap(w->mm, 0, 12);
	vellum_mapping_put(mapping);
	vellum_uffd_put(u);
}

static void user_mode_only_refuses_other_accesses(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = uffd_with(w, VELLUM_UFFD_USER_MODE_ONLY, 0);
	uint64_t val = 1, pfn, pinned;
	struct job job;

	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 0, 4, MISSING);
	assert_int_equal(vellum_copy_to_user(w->mm, PAGE(0), &val, 8, NULL), -EFAULT);
	assert_int_equal(vellum_copy_from_user(w->mm, &val, PAGE(0), 8, NULL), -EFAULT);
	assert_int_equal(vellum_pin_pages(w->mm, PAGE(0), 1, VELLUM_GUP_WRITE, &pfn, &pinned), -EFAULT);
	says_nothing(u);
	start_store(w, &job, PAGE(0), 3);
	says_fault(u, &job, PAGE(0), VELLUM_UFFD_FLAG_WRITE);
	OK(zero_in(u, 0));
	ends(&job);
	vellum_uffd_put(u);
}

/* An access on behalf of the program waits, as the program's own access would. */
static void accesses_for_the_program_wait(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct job job = {.addr = PAGE(0) + 8, .val = 44};
	uint64_t pfn, pinned;

	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 0, 4, MISSING | WP);
	assert_int_equal(vellum_pin_pages(w->mm, PAGE(0), 1, VELLUM_GUP_NOFAULT, &pfn, &pinned), -EAGAIN);
	says_nothing(u);
	start(w, &job, job_copy_to);
	says_fault(u, &job, PAGE(0), VELLUM_UFFD_FLAG_WRITE);
	OK(copy_in(u, 0, 1, VELLUM_UFFD_COPY_WP));
	says_fault(u, &job, PAGE(0), WRITE_WP);
	resolve(u, 0, 1);
	ends(&job);
	assert_int_equal(load(w->cpu[0], PAGE(0) + 8), 44);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
	vellum_uffd_put(u);
}

static void job_pin(struct job *job)
{
	uint64_t pinned;

	job->result = vellum_pin_pages(job->mm, job->addr, 1, VELLUM_GUP_WRITE, &job->to, &pinned);
}

static void pins_for_writing_wait(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct job job = {.addr = PAGE(0)};

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	enrol(w, u, 0, 4, WP);
	guard_writes(w, u, 0, 4);
	start(w, &job, job_pin);
	says_fault(u, &job, PAGE(0), WRITE_WP);
	assert_word(w, 0, IS_WP_PAGE);
	resolve(u, 0, 1);
	ends(&job);
	vellum_unpin_pages_dirty(w->memory, &job.to, 1);
	vellum_uffd_put(u);
}

/* The page is unmapped while the pin waits, so the pin fails. */
static void pins_end_if_the_page_is_unmapped(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct job job = {.addr = PAGE(1)};

	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 0, 4, MISSING);
	start(w, &job, job_pin);
	says_fault(u, &job, PAGE(1), VELLUM_UFFD_FLAG_WRITE);
	unmap(w->mm, 1, 1);
	OK(vellum_uffd_wake(u, PAGE(0), BYTES(4)));
	ends_with(&job, -EFAULT);
	vellum_uffd_put(u);
}

/* A pin for reading unshares the page. The copy keeps the protection. */
static void unsharing_keeps_protection(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mm *child;
	uint64_t pfn, pinned;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	enrol(w, u, 0, 4, WP);
	child = fork_on(w->mm, w->cpu[2]);
	guard_writes(w, u, 0, 4);
	OK(vellum_pin_pages(w->mm, PAGE(0), 1, 0, &pfn, &pinned));
	check_world(w);
	says_nothing(u);
	assert_word(w, 0, IS_WP_PAGE);
	store(w->cpu[2], PAGE(0), 2);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
	store_waits(w, u, 0, 3);
	/* The pin and the process use the same frame. */
	assert_int_equal(*(uint64_t *)vellum_frame_host(w->memory, pfn), 3);
	vellum_unpin_pages(w->memory, &pfn, 1);
	end_child(child, w->cpu[2]);
	vellum_uffd_put(u);
}

/* --- wake-ups --- */

static void failures_and_dontwake_wake_no_thread(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct job job;

	map_at(w->mm, 0, 8, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	enrol(w, u, 0, 8, MISSING | WP);
	start_load(w, &job, PAGE(1));
	says_fault(u, &job, PAGE(1), 0);
	OK(copy_in(u, 1, 5, VELLUM_UFFD_COPY_DONTWAKE));
	assert_int_equal(nr_waiting(w, u), 1);
	assert_int_equal(copy_in(u, 1, 6, 0), -EEXIST);
	assert_int_equal(zero_in(u, 1), -EEXIST);
	assert_int_equal(poison_in(u, 1), -EEXIST);
	assert_int_equal(move_in(u, 1, 0, 1, 0), -EEXIST);
	OK(vellum_uffd_writeprotect(u, PAGE(1), BYTES(1), VELLUM_UFFD_WRITEPROTECT_WP));
	OK(vellum_uffd_writeprotect(u, PAGE(1), BYTES(1), VELLUM_UFFD_WRITEPROTECT_DONTWAKE));
	OK(vellum_uffd_wake(u, PAGE(0), BYTES(1)));
	OK(vellum_uffd_wake(u, PAGE(2), BYTES(6)));
	OK(copy_in(u, 2, 6, 0)); /* for the next page */
	assert_int_equal(nr_waiting(w, u), 1);
	assert_false(is_over(&job));
	OK(vellum_uffd_wake(u, PAGE(1), BYTES(1)));
	assert_int_equal(nr_waiting(w, u), 0);
	ends(&job);
	assert_int_equal(job.val, 5);
	vellum_uffd_put(u);
}

/* A thread that was woken too early waits again, and its message is sent again. */
static void thread_woken_too_early_waits_again(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct job job;

	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 0, 4, MISSING);
	start_store(w, &job, PAGE(1), 5);
	says_fault(u, &job, PAGE(1), VELLUM_UFFD_FLAG_WRITE);
	for (unsigned i = 0; i < 3; i++) {
		OK(vellum_uffd_wake(u, PAGE(0), BYTES(4)));
		says_fault(u, &job, PAGE(1), VELLUM_UFFD_FLAG_WRITE);
	}
	wait_for_nr(w, u, 1, &job);
	OK(zero_in(u, 1));
	ends(&job);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 5);
	/* If its fault is woken, an unread message is dropped. */
	start_load(w, &job, PAGE(2));
	wait_for_nr(w, u, 1, &job);
	OK(zero_in(u, 2));
	ends(&job);
	says_nothing(u);
	vellum_uffd_put(u);
}

/* In each mode. */
static void unregistering_wakes_all(void **state)
{
	static const uint64_t modes[] = {MISSING, WP, MINOR};
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mapping *mapping = new_shmem(w, 4);
	struct job job;

	for (unsigned i = 0; i < 3; i++) {
		if (modes[i] == MISSING)
			map_at(w->mm, 0, 4, RW, SHANON);
		else
			map_object(w->mm, 0, 4, RW, VELLUM_MAP_SHARED, mapping, 0, RW);
		enrol(w, u, 0, 4, modes[i]);
		if (modes[i] == WP)
			guard_writes(w, u, 0, 4);
		start_store(w, &job, PAGE(1), i);
		message(u, &job);
		OK(vellum_uffd_unregister(u, PAGE(1), BYTES(1)));
		assert_int_equal(nr_waiting(w, u), 0);
		ends(&job);
		assert_int_equal(load(w->cpu[0], PAGE(1)), i);
	}
	unmap(w->mm, 0, 4);
	vellum_mapping_put(mapping);
	vellum_uffd_put(u);
}

/* Two threads wait for one page. */
static void copy_wakes_all_waiters_of_a_page(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct job job[2];

	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 0, 4, MISSING);
	for (unsigned i = 0; i < 2; i++) {
		start_access(w, &job[i], 1 + i, job_load, PAGE(3), 0);
		wait_for_nr(w, u, 1 + i, &job[i]);
	}
	OK(copy_in(u, 3, 33, 0));
	assert_int_equal(nr_waiting(w, u), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_join(job[i].thread, NULL), 0);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(job[i].result, VELLUM_FAULT_OK);
		assert_int_equal(job[i].val, 33);
	}
	check_world(w);
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(signals_interrupt_waits),
		WORLD_TEST(waits_for_user_space_have_a_hook),
		WORLD_TEST(waiting_faults_are_counted),
		WORLD_TEST(sigbus_instead_of_messages),
		WORLD_TEST(user_mode_only_refuses_other_accesses),
		WORLD_TEST(accesses_for_the_program_wait),
		WORLD_TEST(pins_for_writing_wait),
		WORLD_TEST(pins_end_if_the_page_is_unmapped),
		WORLD_TEST(unsharing_keeps_protection),
		WORLD_TEST(failures_and_dontwake_wake_no_thread),
		WORLD_TEST(thread_woken_too_early_waits_again),
		WORLD_TEST(unregistering_wakes_all),
		WORLD_TEST(copy_wakes_all_waiters_of_a_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
