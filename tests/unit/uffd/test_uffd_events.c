/* SPDX-License-Identifier: MIT */
/* userfaultfd: protection after mremap, fork and munmap, and their events. */
#include "uffd_support.h"

#define EV_FORK   VELLUM_UFFD_FEATURE_EVENT_FORK
#define EV_REMAP  VELLUM_UFFD_FEATURE_EVENT_REMAP
#define EV_REMOVE VELLUM_UFFD_FEATURE_EVENT_REMOVE
#define EV_UNMAP  VELLUM_UFFD_FEATURE_EVENT_UNMAP

static void until_told(struct vellum_uffd *u, const struct job *job)
{
	wait_for_message(u, job);
	assert_false(is_over(job)); /* waits for the reader */
}

/* --- mremap --- */

static void T_uffd_11_moved_without_the_event(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	uint64_t to = PAGE(100);

	map_protected(w, u, 0);
	OK(vellum_mremap(w->mm, PAGE(0), BYTES(4), BYTES(4),
			 VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &to));
	check_world(w);
	assert_int_equal(word(w, 100) & VELLUM_PM_UFFD_WP, 0);
	assert_word(w, 101, 0);
	for (unsigned i = 0; i < 4; i++)
		store_passes(w, u, 100 + i, 111);
	assert_int_equal(vellum_uffd_writeprotect(u, PAGE(100), BYTES(4), VELLUM_UFFD_WRITEPROTECT_WP),
			 -ENOENT);
	vellum_uffd_put(u);
}

/* A move of whole tables drops the protection, too. */
static void T_uffd_11_tables_moved_without_the_event(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, VELLUM_UFFD_FEATURE_WP_UNPOPULATED);
	uint64_t to = PAGE(2048);

	map_at(w->mm, 512, 1024, RW, ANON);
	for (unsigned i = 512; i < 1536; i += 7)
		store(w->cpu[0], PAGE(i), i);
	enrol(w, u, 512, 1024, WP);
	guard_writes(w, u, 512, 1024);
	OK(vellum_mremap(w->mm, PAGE(512), BYTES(1024), BYTES(1024),
			 VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &to));
	check_world(w);
	for (unsigned i = 0; i < 1024; i++)
		assert_word(w, 2048 + i, i % 7 ? 0 : IS_PAGE);
	store_passes(w, u, 2048, 1);
	store_passes(w, u, 2049, 1);
	vellum_uffd_put(u);
}

/* No frame for the second table at the new address: the pages are moved back, and keep their protection. */
static void failed_mremap_keeps_protection(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	uint64_t *hoard = calloc(w->memory->nr_frames, 8), n = 0, to = PAGE(2048);
	unsigned failed = 0;
	int err = -ENOMEM;

	map_at(w->mm, 512, 1024, RW, ANON);
	store(w->cpu[0], PAGE(512), 1);
	store(w->cpu[0], PAGE(1024), 2);
	enrol(w, u, 512, 1024, WP);
	guard_writes(w, u, 512, 1024);
	while (!vellum_memory_alloc_device(w->memory, 1, &hoard[n]))
		n++;
	for (; err; failed++) {
		err = vellum_mremap(w->mm, PAGE(512), BYTES(1024), BYTES(1024),
				    VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &to);
		check_world(w);
		if (!err)
			break;
		assert_int_equal(err, -ENOMEM);
		assert_word(w, 512, IS_WP_PAGE);
		assert_word(w, 1024, IS_WP_PAGE);
		assert_true(n);
		vellum_memory_free_device(w->memory, hoard[--n], 1);
	}
	assert_true(failed >= 2);	/* once without any table, and once with the first */
	assert_word(w, 2048, IS_PAGE);
	while (n)
		vellum_memory_free_device(w->memory, hoard[--n], 1);
	free(hoard);
	vellum_uffd_put(u);
}

static void says_remap(struct vellum_uffd *u, const struct job *job, unsigned from, unsigned to,
		       unsigned pages)
{
	struct vellum_uffd_msg msg = message(u, job);

	assert_int_equal(msg.event, VELLUM_UFFD_EVENT_REMAP);
	assert_int_equal(msg.arg.remap.from, PAGE(from));
	assert_int_equal(msg.arg.remap.to, PAGE(to));
	assert_int_equal(msg.arg.remap.len, BYTES(pages));
}

static void T_uffd_11_moved_with_the_event(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, EV_REMAP);
	struct job job;

	map_protected(w, u, 0);
	start_move(w, &job, 0, 4, 100, 0);
	until_told(u, &job);
	assert_word(w, 100, IS_WP_PAGE); /* the event comes after the move */
	says_remap(u, &job, 0, 100, 4);
	ends(&job);
	assert_word(w, 101, IS_WP_NONE);
	store_waits(w, u, 100, 112);
	store_waits(w, u, 101, 113);
	says_nothing(u);
	vellum_uffd_put(u);
}

/* The event has the old length. Then an event for the unmapped old range. */
static void mremap_sends_remap_and_unmap(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, EV_REMAP | EV_UNMAP);
	struct job job;

	map_protected(w, u, 0);
	job = (struct job){.addr = PAGE(0),
			   .len = BYTES(4),
			   .val = BYTES(6),
			   .to = PAGE(100),
			   .advice = VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED};
	start(w, &job, job_mremap);
	says_remap(u, &job, 0, 100, 4);
	says_range(u, &job, VELLUM_UFFD_EVENT_UNMAP, 0, 4);
	ends(&job);
	says_nothing(u);
	assert_word(w, 100, IS_WP_PAGE);
	vellum_uffd_put(u);
}

static void mremap_dontunmap_sends_remap(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, EV_REMAP | EV_UNMAP);
	struct job job;

	map_protected(w, u, 0);
	start_move(w, &job, 0, 4, 100, VELLUM_MREMAP_DONTUNMAP);
	says_remap(u, &job, 0, 100, 4);
	ends(&job);
	says_nothing(u);
	store_waits(w, u, 100, 1);
	guard_writes(w, u, 0, 4); /* still registered */
	assert_word(w, 0, IS_WP_NONE);
	store_waits(w, u, 0, 2);
	vellum_uffd_put(u);
}

static void mremap_that_shrinks_sends_unmap(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, EV_REMAP | EV_UNMAP);
	struct job job;

	map_protected(w, u, 0);
	job = (struct job){.addr = PAGE(0), .len = BYTES(4), .val = BYTES(1)};
	start(w, &job, job_mremap);
	says_range(u, &job, VELLUM_UFFD_EVENT_UNMAP, 1, 3);
	ends(&job);
	says_nothing(u);
	store_waits(w, u, 0, 1);
	vellum_uffd_put(u);
}

/* --- fork --- */

static void T_uffd_12_fork_without_the_event(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mm *child;

	map_protected(w, u, 0);
	map_at(w->mm, 8, 4, RW, ANON);
	store(w->cpu[0], PAGE(8), 8);
	enrol(w, u, 8, 4, WP);
	guard_writes(w, u, 8, 4);
	child = fork_on(w->mm, w->cpu[2]);
	check_world(w);
	assert_int_equal(entry_at(child, PAGE(0)).val, 0);
	assert_int_equal(entry_at(child, PAGE(1)).val, 0);
	assert_int_equal(word_of_mm(child, 8), IS_PAGE);
	assert_word(w, 0, IS_WP_PAGE);
	assert_word(w, 1, IS_WP_NONE);
	assert_word(w, 8, IS_WP_PAGE);
	store(w->cpu[2], PAGE(0), 2);
	store(w->cpu[2], PAGE(1), 3);
	store(w->cpu[2], PAGE(8), 4);
	says_nothing(u);
	check_world(w);
	end_child(child, w->cpu[2]);
	assert_int_equal(load(w->cpu[0], PAGE(8)), 8);
	store_waits(w, u, 8, 5);
	store_waits(w, u, 0, 6);
	vellum_uffd_put(u);
}

static struct vellum_uffd *says_fork(struct vellum_uffd *u, const struct job *job)
{
	struct vellum_uffd_msg msg = message(u, job);

	assert_int_equal(msg.event, VELLUM_UFFD_EVENT_FORK);
	assert_non_null(msg.arg.fork.child);
	assert_ptr_not_equal(msg.arg.fork.child, u);
	return msg.arg.fork.child;
}

static void T_uffd_12_fork_with_the_event(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, EV_FORK), *theirs;
	struct job job, child_store;

	map_protected(w, u, 0);
	start_fork(w, &job);
	until_told(u, &job);
	theirs = says_fork(u, &job);
	ends(&job);
	assert_int_equal(word_of_mm(job.child, 0), IS_WP_PAGE);
	assert_int_equal(word_of_mm(job.child, 1), IS_WP_NONE);
	for (unsigned i = 0; i < 2; i++) {
		child_store = (struct job){.cpu = w->cpu[2], .addr = PAGE(i), .val = 120 + i};
		vellum_soft_load_mm(w->cpu[2], job.child);
		start(w, &child_store, job_store);
		says_fault(theirs, &child_store, PAGE(i), VELLUM_UFFD_FLAG_WRITE | VELLUM_UFFD_FLAG_WP);
		says_nothing(u);
		resolve(theirs, i, 1);
		ends(&child_store);
		assert_word(w, i, i ? IS_WP_NONE : IS_WP_PAGE); /* the parent's protection stays */
	}
	end_child(job.child, w->cpu[2]);
	vellum_uffd_put(theirs);
	store_waits(w, u, 0, 122);
	vellum_uffd_put(u);
}

/* Private memory, missing pages: the child's faults go to the child's context. */
static void child_inherits_all_modes(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, EV_FORK), *theirs;
	struct job job, child_load;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	enrol(w, u, 0, 4, MISSING | WP);
	guard_writes(w, u, 0, 1);
	start_fork(w, &job);
	theirs = says_fork(u, &job);
	ends(&job);
	assert_int_equal(word_of_mm(job.child, 0), IS_WP_PAGE);
	child_load = (struct job){.cpu = w->cpu[2], .addr = PAGE(1)};
	vellum_soft_load_mm(w->cpu[2], job.child);
	start(w, &child_load, job_load);
	says_fault(theirs, &child_load, PAGE(1), 0);
	OK(copy_in(theirs, 1, 77, 0));
	ends(&child_load);
	assert_int_equal(child_load.val, 77);
	assert_word(w, 1, 0);
	end_child(job.child, w->cpu[2]);
	check_world(w);
	assert_int_equal(zero_in(theirs, 2), -ESRCH);
	vellum_uffd_put(theirs);
	vellum_uffd_put(u);
}

/* If no reader takes the message, the child's ranges are not registered. */
static void child_is_not_registered_if_its_event_is_dropped(void **state)
{
	struct world *w = *state;

	for (unsigned closes = 0; closes < 2; closes++) {
		struct vellum_uffd *u = new_uffd(w, EV_FORK);
		struct job job;

		map_protected(w, u, 0);
		start_fork(w, &job);
		until_told(u, &job);
		if (closes)
			vellum_uffd_close(u);
		else
			__atomic_store_n(&w->host.interrupted, 1, __ATOMIC_RELEASE);
		ends(&job);
		w->host.interrupted = 0;
		vellum_soft_load_mm(w->cpu[2], job.child);
		assert_int_equal(word_of_mm(job.child, 0) & VELLUM_PM_UFFD_WP, 0);
		store(w->cpu[2], PAGE(0), 1);
		store(w->cpu[2], PAGE(1), 1);
		check_world(w);
		end_child(job.child, w->cpu[2]);
		vellum_uffd_put(u);
		unmap(w->mm, 0, 4);
	}
}

/* --- REMOVE --- */

static void T_uffd_16_remove_event_comes_first(void **state)
{
	static const int advices[] = {VELLUM_MADV_DONTNEED, VELLUM_MADV_DONTNEED_LOCKED, VELLUM_MADV_REMOVE};
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, EV_REMOVE);

	map_at(w->mm, 0, 8, RW, SHANON);
	enrol(w, u, 2, 4, WP);
	for (unsigned i = 0; i < 3; i++) {
		struct job job;

		store(w->cpu[0], PAGE(3), 160 + i);
		start_madvise(w, &job, 2, 3, advices[i]);
		until_told(u, &job);
		assert_word(w, 3, IS_PAGE);
		assert_int_equal(load(w->cpu[0], PAGE(3)), 160 + i);
		says_range(u, &job, VELLUM_UFFD_EVENT_REMOVE, 2, 3);
		ends(&job);
		assert_word(w, 3, 0);
		says_nothing(u);
	}
	vellum_uffd_put(u);
}

static void T_uffd_16_madv_free_sends_remove(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, EV_REMOVE);
	struct job job;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	enrol(w, u, 0, 4, MISSING);
	start_madvise(w, &job, 0, 4, VELLUM_MADV_FREE);
	until_told(u, &job);
	assert_true(has_d(w->mm, PAGE(0)));
	says_range(u, &job, VELLUM_UFFD_EVENT_REMOVE, 0, 4);
	ends(&job);
	assert_false(has_d(w->mm, PAGE(0)));
	start_madvise(w, &job, 0, 4, VELLUM_MADV_DONTNEED);
	says_range(u, &job, VELLUM_UFFD_EVENT_REMOVE, 0, 4);
	ends(&job);
	start_load(w, &job, PAGE(0));
	says_fault(u, &job, PAGE(0), 0);
	OK(zero_in(u, 0));
	ends(&job);
	vellum_uffd_put(u);
}

/* One event for the part of each VMA of the context. */
static void remove_over_several_mappings(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, EV_REMOVE);
	struct job job;

	map_at(w->mm, 0, 12, RW, ANON);
	for (unsigned i = 0; i < 12; i++)
		store(w->cpu[0], PAGE(i), 1);
	enrol(w, u, 0, 4, WP);
	enrol(w, u, 8, 4, WP);
	start_madvise(w, &job, 2, 8, VELLUM_MADV_DONTNEED);
	says_range(u, &job, VELLUM_UFFD_EVENT_REMOVE, 2, 2);
	says_range(u, &job, VELLUM_UFFD_EVENT_REMOVE, 8, 2);
	ends(&job);
	says_nothing(u);
	for (unsigned i = 0; i < 12; i++)
		assert_word(w, i, i < 2 || i >= 10 ? IS_PAGE : 0);
	vellum_uffd_put(u);
}

/* While the event is pending, the VMA is unmapped, or a part of it. */
static void vma_is_unmapped_while_the_event_is_pending(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, EV_REMOVE);
	struct job job;

	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 0, 4, MISSING);
	start_madvise(w, &job, 0, 4, VELLUM_MADV_DONTNEED);
	until_told(u, &job);
	unmap(w->mm, 0, 4);
	says_range(u, &job, VELLUM_UFFD_EVENT_REMOVE, 0, 4);
	ends_with(&job, -ENOMEM);
	map_at(w->mm, 0, 4, RW, ANON);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), 1);
	enrol(w, u, 0, 4, MISSING);
	start_madvise(w, &job, 0, 4, VELLUM_MADV_DONTNEED);
	until_told(u, &job);
	unmap(w->mm, 2, 2);
	says_range(u, &job, VELLUM_UFFD_EVENT_REMOVE, 0, 4);
	ends_with(&job, -ENOMEM); /* done for the part that is still mapped; the rest is a hole */
	assert_word(w, 0, 0);
	assert_word(w, 1, 0);
	vellum_uffd_put(u);
}

/* --- UNMAP --- */

/* Each context gets exactly one message, in any order. */
static void says_unmap_to_both(struct vellum_uffd *const u[2], const struct job *job, unsigned at,
			       unsigned pages)
{
	unsigned told = 0;

	while (told != 3) {
		for (unsigned i = 0; i < 2; i++) {
			if (vellum_uffd_poll(u[i]) != 1)
				continue;
			assert_false(told & 1u << i);
			says_range(u[i], job, VELLUM_UFFD_EVENT_UNMAP, at, pages);
			told |= 1u << i;
		}
		if (is_over(job) && told != 3)
			fail_msg("the job ended after messages %u", told);
		sched_yield();
	}
}

static void job_map_over(struct job *job)
{
	struct vellum_map_args args = {.size = sizeof(args),
				       .addr = job->addr,
				       .len = job->len,
				       .prot = RW,
				       .flags = ANON | VELLUM_MAP_FIXED};

	job->result = vellum_mmap(job->mm, &args, &job->to);
}

static void T_uffd_16_one_unmap_event_per_context(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u[2] = {new_uffd(w, EV_UNMAP), new_uffd(w, EV_UNMAP)};

	for (unsigned over = 0; over < 2; over++) {
		struct job job = {.addr = PAGE(0), .len = BYTES(20)};

		map_at(w->mm, 2, 4, RW, ANON);
		map_at(w->mm, 8, 8, RW, ANON);
		store(w->cpu[0], PAGE(2), 1);
		enrol(w, u[0], 2, 4, MISSING);
		enrol(w, u[0], 8, 2, MISSING);
		enrol(w, u[1], 12, 2, MISSING);
		start(w, &job, over ? job_map_over : job_munmap);
		says_unmap_to_both(u, &job, 0, 20);
		ends(&job);
		assert_word(w, 2, 0);
		says_nothing(u[0]);
		says_nothing(u[1]);
	}
	vellum_uffd_put(u[0]);
	vellum_uffd_put(u[1]);
}

/* The event comes after the unmap, so the reader may map there again. */
static void unmap_event_comes_afterwards(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, EV_UNMAP);
	struct job job;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	enrol(w, u, 0, 4, MISSING);
	start_munmap(w, &job, 0, 4);
	until_told(u, &job);
	assert_int_equal(nr_vmas(w->mm), 0);
	map_at(w->mm, 0, 4, RW, ANON);
	says_range(u, &job, VELLUM_UFFD_EVENT_UNMAP, 0, 4);
	ends(&job);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 0);
	vellum_uffd_put(u);
}

/* Destroying an address space sends no event. */
static void exit_sends_no_event(void **state)
{
	struct world *w = *state;
	struct vellum_mm *mm;
	struct vellum_uffd *u;

	OK(vellum_mm_create(w->memory, &mm));
	OK(vellum_uffd_create(mm, 0, &u));
	OK(vellum_uffd_api(u, VELLUM_UFFD_API, EV_UNMAP | EV_REMOVE | EV_REMAP, NULL, NULL));
	map_at(mm, 0, 4, RW, SHANON);
	OK(vellum_uffd_register(u, PAGE(0), BYTES(4), MISSING | WP, NULL));
	OK(vellum_uffd_writeprotect(u, PAGE(0), BYTES(4), VELLUM_UFFD_WRITEPROTECT_WP));
	vellum_mm_put(mm);
	says_nothing(u);
	check_world(w);
	vellum_uffd_put(u);
}

/* --- pending events --- */

static void T_uffd_13_ioctls_are_eagain_while_an_event_is_pending(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, EV_REMOVE);
	struct job job;
	int64_t done = 0;

	map_at(w->mm, 0, 8, RW, ANON);
	store(w->cpu[0], PAGE(6), 1);
	enrol(w, u, 0, 8, MISSING | WP);
	start_madvise(w, &job, 0, 4, VELLUM_MADV_DONTNEED);
	until_told(u, &job);
	assert_int_equal(copy_in(u, 5, 1, 0), -EAGAIN); /* at any address; also checks the result */
	assert_int_equal(vellum_uffd_zeropage(u, PAGE(5), PAGE_SIZE, 0, &done), -EAGAIN);
	assert_int_equal(done, -EAGAIN);
	done = 0;
	assert_int_equal(vellum_uffd_poison(u, PAGE(5), PAGE_SIZE, 0, &done), -EAGAIN);
	assert_int_equal(done, -EAGAIN);
	done = 0;
	assert_int_equal(vellum_uffd_continue(u, PAGE(5), PAGE_SIZE, 0, &done), -EAGAIN);
	assert_int_equal(done, -EAGAIN);
	done = 0;
	assert_int_equal(vellum_uffd_move(u, PAGE(5), PAGE(6), PAGE_SIZE, 0, &done), -EAGAIN);
	assert_int_equal(done, -EAGAIN);
	assert_int_equal(vellum_uffd_writeprotect(u, PAGE(5), PAGE_SIZE, VELLUM_UFFD_WRITEPROTECT_WP),
			 -EAGAIN);
	assert_word(w, 5, 0);
	says_range(u, &job, VELLUM_UFFD_EVENT_REMOVE, 0, 4);
	ends(&job);
	OK(copy_in(u, 5, 1, 0));
	assert_int_equal(load(w->cpu[0], PAGE(5)), 1);
	check_world(w);
	vellum_uffd_put(u);
}

/* A signal interrupts the wait for a reader. The operation is still done. */
static void signals_interrupt_waits_for_a_reader(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, EV_UNMAP | EV_REMOVE);
	struct job job;

	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 0, 4, MISSING);
	start_munmap(w, &job, 0, 4);
	until_told(u, &job);
	__atomic_store_n(&w->host.interrupted, 1, __ATOMIC_RELEASE);
	ends(&job);
	w->host.interrupted = 0;
	says_nothing(u);
	assert_int_equal(nr_vmas(w->mm), 0);
	vellum_uffd_put(u);
}

static void close_drops_events(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, EV_REMOVE);
	struct job job;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	enrol(w, u, 0, 4, MISSING);
	start_madvise(w, &job, 0, 4, VELLUM_MADV_DONTNEED);
	until_told(u, &job);
	vellum_uffd_close(u);
	ends(&job);
	assert_word(w, 0, 0);
	store(w->cpu[0], PAGE(0), 2);
	vellum_uffd_put(u);
}

static bool has_event(struct vellum_uffd *u)
{
	bool has;

	mutex_lock(&u->lock, &u->memory->host);
	has = u->events;
	mutex_unlock(&u->lock, &u->memory->host);
	return has;
}

/* The event of one sender is taken, not that of another, nor a fault. */
static void event_is_taken_for_its_sender(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, EV_REMAP), *other = new_uffd(w, EV_REMAP);
	struct vellum_uffd_msg msg;
	uint32_t unrelated = 0;
	struct job fault, job;

	map_at(w->mm, 0, 8, RW, ANON);
	enrol(w, u, 0, 8, MISSING);
	start_load(w, &fault, PAGE(0));
	wait_for_message(u, &fault);
	start_move(w, &job, 4, 4, 100, 0);
	while (!has_event(u))
		sched_yield();
	assert_int_equal(vellum_uffd_take_event(u, &unrelated, &msg), -ENOENT);
	assert_int_equal(vellum_uffd_take_event(other, &u->events->done, &msg), -ENOENT);
	OK(vellum_uffd_take_event(u, &u->events->done, &msg));
	ends(&job);
	assert_int_equal(msg.event, VELLUM_UFFD_EVENT_REMAP);
	assert_int_equal(msg.arg.remap.from, PAGE(4));
	says_fault(u, &fault, PAGE(0), 0);
	says_nothing(u);
	OK(zero_in(u, 0));
	ends(&fault);
	vellum_uffd_put(other);
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(T_uffd_11_moved_without_the_event),
		WORLD_TEST(T_uffd_11_tables_moved_without_the_event),
		WORLD_TEST(failed_mremap_keeps_protection),
		WORLD_TEST(T_uffd_11_moved_with_the_event),
		WORLD_TEST(mremap_sends_remap_and_unmap),
		WORLD_TEST(mremap_dontunmap_sends_remap),
		WORLD_TEST(mremap_that_shrinks_sends_unmap),
		WORLD_TEST(T_uffd_12_fork_without_the_event),
		WORLD_TEST(T_uffd_12_fork_with_the_event),
		WORLD_TEST(child_inherits_all_modes),
		WORLD_TEST(child_is_not_registered_if_its_event_is_dropped),
		WORLD_TEST(T_uffd_16_remove_event_comes_first),
		WORLD_TEST(T_uffd_16_madv_free_sends_remove),
		WORLD_TEST(remove_over_several_mappings),
		WORLD_TEST(vma_is_unmapped_while_the_event_is_pending),
		WORLD_TEST(T_uffd_16_one_unmap_event_per_context),
		WORLD_TEST(unmap_event_comes_afterwards),
		WORLD_TEST(exit_sends_no_event),
		WORLD_TEST(T_uffd_13_ioctls_are_eagain_while_an_event_is_pending),
		WORLD_TEST(signals_interrupt_waits_for_a_reader),
		WORLD_TEST(close_drops_events),
		WORLD_TEST(event_is_taken_for_its_sender),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
