/* SPDX-License-Identifier: MIT */
/* Failed allocations: userfaultfd. */
#include <pthread.h>
#include <sched.h>

#include "oom_support.h"

/* Registering the middle splits the VMA, unregistering merges it. A failed call changes nothing. */
static void run_register(struct stage *s, bool again)
{
	struct vellum_uffd *uffd = try_uffd(s, 0, again);
	unsigned vmas = nr_vmas(s->w->mm);
	uint64_t ioctls;

	if (!uffd)
		return;
	if (failed(vellum_uffd_register(uffd, PAGE(2), BYTES(2), VELLUM_UFFD_MISSING | VELLUM_UFFD_WP,
					&ioctls),
		   again)) {
		assert_int_equal(vellum_uffd_unregister(uffd, PAGE(3), BYTES(1)),
				 0); /* not registered */
		assert_in_range(nr_vmas(s->w->mm), vmas, vmas + 2);
	} else {
		failed(vellum_uffd_unregister(uffd, PAGE(3), BYTES(1)), again);
	}
	check_now(s);
	vellum_uffd_put(uffd);
}

static void run_fill(struct stage *s, bool again)
{
	static uint8_t bytes[4 * 4096];
	struct vellum_uffd *uffd;
	uint64_t ioctls;
	int64_t done;

	if (!try_map(s, MISSING_AT, 6, again))
		return;
	uffd = try_uffd(s, 0, again);
	if (uffd &&
	    !failed(vellum_uffd_register(uffd, PAGE(MISSING_AT), BYTES(6), VELLUM_UFFD_MISSING, &ioctls),
		    again)) {
		memset(bytes, 7, sizeof(bytes));
		if (failed(vellum_uffd_copy(uffd, PAGE(MISSING_AT), 0, bytes, BYTES(2), 0, &done), again))
			assert_true(done == -ENOMEM || done == 4096);
		if (failed(vellum_uffd_copy(uffd, PAGE(MISSING_AT + 2), PAGE(0), NULL, BYTES(1), 0, &done),
			   again))
			assert_int_equal(done, -ENOMEM);
		failed(vellum_uffd_zeropage(uffd, PAGE(MISSING_AT + 3), BYTES(1), 0, &done), again);
		failed(vellum_uffd_poison(uffd, PAGE(MISSING_AT + 4), BYTES(1), 0, &done), again);
	}
	check_now(s);
	if (uffd)
		vellum_uffd_put(uffd);
	unmap(s->w->mm, MISSING_AT, 6);
}

/* The mapping has its first pages, but they are not mapped here. The others are holes. */
static void fill_shared(struct stage *s, struct vellum_uffd *uffd, bool again)
{
	static uint8_t bytes[2 * 4096];
	int64_t done;

	memset(bytes, 7, sizeof(bytes));
	if (failed(vellum_uffd_copy(uffd, PAGE(FAR_AT + 200), 0, bytes, BYTES(2), VELLUM_UFFD_COPY_WP, &done), again))
		assert_true(done == -ENOMEM || done == 4096);
	failed(vellum_uffd_zeropage(uffd, PAGE(FAR_AT + 400), BYTES(1), 0, &done), again);
	failed(vellum_uffd_continue(uffd, PAGE(FAR_AT), BYTES(2), 0, &done), again);
	failed(vellum_uffd_poison(uffd, PAGE(FAR_AT + 7), BYTES(1), 0, &done), again);
	check_now(s);
}

static void run_fill_shared(struct stage *s, bool again)
{
	struct vellum_uffd *uffd;
	uint64_t ioctls;

	if (!try_map_object(s, FAR_AT, 512, VELLUM_MAP_SHARED, s->obj, 0, again))
		return;
	uffd = try_uffd(s, 0, again);
	if (uffd && !failed(vellum_uffd_register(uffd, PAGE(FAR_AT), BYTES(512),
						 VELLUM_UFFD_MISSING | VELLUM_UFFD_MINOR | VELLUM_UFFD_WP, &ioctls),
			    again))
		fill_shared(s, uffd, again);
	if (uffd)
		vellum_uffd_put(uffd);
	unmap(s->w->mm, FAR_AT, 512);
	OK(vellum_mapping_punch_hole(s->obj, BYTES(200), BYTES(300)));
}

/* Markers need tables. */
static void run_writeprotect(struct stage *s, bool again)
{
	struct vellum_uffd *uffd;
	uint64_t ioctls;

	if (!try_map(s, FAR_AT, 1200, again))
		return;
	uffd = try_uffd(s, VELLUM_UFFD_FEATURE_WP_UNPOPULATED, again);
	if (uffd &&
	    !failed(vellum_uffd_register(uffd, PAGE(FAR_AT), BYTES(1200), VELLUM_UFFD_WP, &ioctls), again)) {
		failed(vellum_uffd_writeprotect(uffd, PAGE(FAR_AT), BYTES(1200), VELLUM_UFFD_WRITEPROTECT_WP),
		       again);
		check_now(s);
		failed(vellum_uffd_writeprotect(uffd, PAGE(FAR_AT), BYTES(1200), 0), again);
	}
	if (uffd)
		vellum_uffd_put(uffd);
	unmap(s->w->mm, FAR_AT, 1200);
}

static void run_move(struct stage *s, bool again)
{
	struct vellum_uffd *uffd;
	uint64_t ioctls, val;
	int64_t done;

	if (!try_map(s, MISSING_AT, 2, again))
		return;
	if (try_map(s, FAR_AT, 2, again)) {
		uffd = try_uffd(s, 0, again);
		if (uffd && !oom(try_store(s->w->cpu[0], PAGE(FAR_AT), 5), again) &&
		    !oom(try_store(s->w->cpu[0], PAGE(FAR_AT + 1), 6), again) &&
		    !failed(vellum_uffd_register(uffd, PAGE(MISSING_AT), BYTES(2), VELLUM_UFFD_MISSING,
						 &ioctls),
			    again)) {
			bool bad = failed(
				vellum_uffd_move(uffd, PAGE(MISSING_AT), PAGE(FAR_AT), BYTES(2), 0, &done),
				again);

			check_now(s);
			if (!bad || done > 0) {
				OK(vellum_soft_load64(s->w->cpu[0], PAGE(MISSING_AT), &val));
				assert_int_equal(val, 5);
			} else {
				assert_int_equal(load(s->w->cpu[0], PAGE(FAR_AT)), 5);
			}
		}
		if (uffd)
			vellum_uffd_put(uffd);
		unmap(s->w->mm, FAR_AT, 2);
	}
	unmap(s->w->mm, MISSING_AT, 2);
}

struct reader {
	struct vellum_uffd *uffd, *child;
	unsigned stop;
};

static void *read_events(void *arg)
{
	struct reader *r = arg;
	struct vellum_uffd_msg msg;
	uint32_t got;

	while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE)) {
		if (vellum_uffd_read(r->uffd, &msg, 1, false, &got))
			sched_yield();
		else if (msg.event == VELLUM_UFFD_EVENT_FORK)
			r->child = msg.arg.fork.child;
	}
	return NULL;
}

/* fork, mremap, madvise and munmap, each with an event. */
static void events(struct stage *s, struct vellum_uffd *uffd, bool again)
{
	struct reader r = { .uffd = uffd };
	struct vellum_mm *child;
	pthread_t thread;
	uint64_t to = PAGE(MOVE_AT);
	bool moved;

	assert_int_equal(pthread_create(&thread, NULL, read_events, &r), 0);
	if (!failed(vellum_fork(s->w->mm, &child), again))
		vellum_mm_put(child);
	moved = !failed(vellum_mremap(s->w->mm, PAGE(MISSING_AT), BYTES(2), BYTES(2),
				      VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &to), again);
	failed(vellum_madvise(s->w->mm, PAGE(moved ? MOVE_AT : MISSING_AT), BYTES(1),
			      VELLUM_MADV_DONTNEED), again);
	failed(vellum_munmap(s->w->mm, PAGE(MISSING_AT), BYTES(12)), again);
	__atomic_store_n(&r.stop, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	if (r.child)
		vellum_uffd_put(r.child);
	check_now(s);
}

static void run_events(struct stage *s, bool again)
{
	const uint64_t features = VELLUM_UFFD_FEATURE_EVENT_FORK | VELLUM_UFFD_FEATURE_EVENT_REMAP |
				  VELLUM_UFFD_FEATURE_EVENT_REMOVE | VELLUM_UFFD_FEATURE_EVENT_UNMAP;
	struct vellum_uffd *uffd;
	uint64_t ioctls;

	if (!try_map(s, MISSING_AT, 4, again))
		return;
	oom(try_store(s->w->cpu[0], PAGE(MISSING_AT), 1), again);
	uffd = try_uffd(s, features, again);
	if (uffd && !failed(vellum_uffd_register(uffd, PAGE(MISSING_AT), BYTES(4),
						 VELLUM_UFFD_MISSING | VELLUM_UFFD_WP, &ioctls), again))
		events(s, uffd, again);
	if (uffd)
		vellum_uffd_put(uffd);
	unmap(s->w->mm, MISSING_AT, 12);
}

static void scan_wp(struct stage *s, bool again)
{
	struct vellum_page_region vec[4];
	struct vellum_scan_args args = {.size = sizeof(args),
					.flags = VELLUM_SCAN_WP_MATCHING | VELLUM_SCAN_CHECK_WPASYNC,
					.start = PAGE(FAR_AT),
					.end = PAGE(FAR_AT + 1200),
					.vec = vec,
					.vec_len = 4,
					.category_mask = VELLUM_PAGE_IS_WRITTEN,
					.return_mask = VELLUM_PAGE_IS_WRITTEN};
	uint64_t nr = 0;

	if (failed(vellum_pagemap_scan(s->w->mm, &args, &nr), again))
		return;
	assert_true(args.walk_end > args.start && args.walk_end <= args.end);
	assert_true(!again || args.walk_end == args.end);
}

static void run_scan(struct stage *s, bool again)
{
	struct vellum_uffd *uffd;
	uint64_t ioctls;

	if (!try_map(s, FAR_AT, 1200, again))
		return;
	uffd = try_uffd(s, VELLUM_UFFD_FEATURE_WP_ASYNC | VELLUM_UFFD_FEATURE_WP_UNPOPULATED, again);
	if (uffd &&
	    !failed(vellum_uffd_register(uffd, PAGE(FAR_AT), BYTES(1200), VELLUM_UFFD_WP, &ioctls), again)) {
		oom(try_store(s->w->cpu[0], PAGE(FAR_AT), 1), again);
		scan_wp(s, again);
		check_now(s);
	}
	if (uffd)
		vellum_uffd_put(uffd);
	unmap(s->w->mm, FAR_AT, 1200);
}

OOM_TEST(register)
OOM_TEST(fill)
OOM_TEST(fill_shared)
OOM_TEST(writeprotect)
OOM_TEST(move)
OOM_TEST(events)
OOM_TEST(scan)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(oom_register),
		cmocka_unit_test(oom_fill),
		cmocka_unit_test(oom_fill_shared),
		cmocka_unit_test(oom_writeprotect),
		cmocka_unit_test(oom_move),
		cmocka_unit_test(oom_events),
		cmocka_unit_test(oom_scan),
	};

	return cmocka_run_group_tests_name("oom_uffd", tests, NULL, NULL);
}
