/* SPDX-License-Identifier: MIT */
/*
 * No memory, for userfaultfd, swap, huge pages, pins, guards, scans, devices and moving pages: every allocation fails
 * once, and every number of frames is too few once. Then the same with memory works.
 */
#include <pthread.h>
#include <sched.h>

#include "device_support.h"

enum { MISSING_AT = 64, MOVE_AT = 72, HUGE_AT = 1024, RAW_AT = 2048, FAR_AT = 40960 };

/* 0 to 7: private, 100 + i in page i; 16 to 19: an object, the same; frames of a device above RAM. */
struct stage {
	struct swap_world sw;
	struct world *w;
	struct gpu *gpu;
	struct vellum_mapping *obj, *raw;
	struct counting raw_counts;
	void *raw_bytes;
	struct vma_list before;
	bool swap;
};

static void stage_create(struct stage *s, bool swap)
{
	memset(s, 0, sizeof(*s));
	swap_world_create(&s->sw, 8 << 20, 1024);
	s->w = &s->sw.w;
	if (!swap)
		OK(vellum_swap_remove(s->w->memory, s->sw.disk.area));
	s->gpu = gpu_create(s->w, GPU_PAGES);
	OK(vellum_mapping_create(s->w->memory, NULL, NULL, 512, 0, &s->obj));
	s->raw_bytes = malloc(2 << 20);
	s->raw_counts.first_pfn = 1 << 20;
	OK(vellum_memory_add_device(s->w->memory, s->raw_counts.first_pfn, 512, s->raw_bytes));
	OK(vellum_mapping_create(s->w->memory, &counting_pfn_ops, &s->raw_counts, 512, VELLUM_MAPPING_PFN, &s->raw));
	map_at(s->w->mm, 0, 8, RW, ANON);
	map_object(s->w->mm, 16, 4, RW, VELLUM_MAP_SHARED, s->obj, 0, RW);
	for (unsigned i = 0; i < 20; i++)
		if (i < 8 || i >= 16)
			store(s->w->cpu[0], PAGE(i), 100 + i);
	list_vmas(s->w->mm, &s->before, true);
}

static void stage_destroy(struct stage *s)
{
	check_world(s->w);
	OK(vellum_munmap(s->w->mm, MMAP_MIN_ADDR, VELLUM_TASK_SIZE - MMAP_MIN_ADDR));
	vellum_mapping_put(s->obj);
	vellum_mapping_put(s->raw);
	gpu_destroy(s->gpu);
	swap_world_destroy(&s->sw);
	free(s->raw_bytes);
}

/* The bytes are looked at by their frames: an access could fail. */
static void check_bytes(struct stage *s)
{
	for (unsigned i = 0; i < 20; i++) {
		uint64_t val = 0;

		if (i >= 8 && i < 16)
			continue;
		if (vellum_soft_load64(s->w->cpu[0], PAGE(i), &val) == VELLUM_FAULT_OK)
			assert_int_equal(val, 100 + i);
	}
}

/* Whether it failed for want of memory: in no other way, and not again. */
static bool failed(int err, bool again)
{
	if (err)
		assert_true(err == -ENOMEM || err == -EAGAIN);
	assert_false(again && err);
	return err;
}

static bool oom(enum vellum_fault_result result, bool again)
{
	if (result != VELLUM_FAULT_OK)
		assert_int_equal(result, VELLUM_FAULT_OOM);
	assert_false(again && result);
	return result != VELLUM_FAULT_OK;
}

/* In the middle of a scenario: the validator's own memory does not count. */
static void check_now(struct stage *s)
{
	struct test_host saved = s->w->host;

	s->w->host.fail_at = 0;
	check_world(s->w);
	s->w->host.fail_at = saved.fail_at;
	s->w->host.nr_allocs = saved.nr_allocs;
}

typedef void (*scenario)(struct stage *s, bool again);

static void finish(struct stage *s, scenario run)
{
	struct vma_list now;

	check_world(s->w);
	check_bytes(s);
	run(s, true);
	check_world(s->w);
	for (unsigned i = 0; i < 20; i++)
		if (i < 8 || i >= 16)
			assert_int_equal(load(s->w->cpu[0], PAGE(i)), 100 + i);
	list_vmas(s->w->mm, &now, true);
	assert_true(same_list(&now, &s->before));
	stage_destroy(s);
}

/* Allocation by allocation, until it needs no more. */
static void fail_each_allocation(scenario run)
{
	static struct stage s;
	bool injected = true;

	for (unsigned k = 1; injected; k++) {
		uint64_t base;

		stage_create(&s, true);
		base = s.w->host.nr_allocs;
		s.w->host.fail_at = base + k;
		run(&s, false);
		injected = s.w->host.nr_allocs >= base + k;
		s.w->host.fail_at = 0;
		finish(&s, run);
		assert_true(k < 500);
	}
}

/* Frame by frame: @left of them are there, and nothing can be swapped out. */
static void fail_each_frame(scenario run)
{
	static uint64_t hoard[4096];
	static struct stage s;

	for (unsigned left = 0; left < 14; left++) {
		unsigned n = 0;

		stage_create(&s, false);
		while (vellum_memory_alloc_device(s.w->memory, 1, &hoard[n]) == 0)
			n++;
		for (unsigned i = 0; i < left; i++)
			vellum_memory_free_device(s.w->memory, hoard[--n], 1);
		run(&s, false);
		check_world(s.w);
		while (n)
			vellum_memory_free_device(s.w->memory, hoard[--n], 1);
		finish(&s, run);
	}
}

/* --- userfaultfd --- */

/* NULL: no memory. */
static struct vellum_uffd *try_uffd(struct stage *s, uint64_t features, bool again)
{
	struct vellum_uffd *uffd;
	uint64_t supported, ioctls;

	if (failed(vellum_uffd_create(s->w->mm, VELLUM_UFFD_MAY_FORK, &uffd), again))
		return NULL;
	OK(vellum_uffd_api(uffd, VELLUM_UFFD_API, features, &supported, &ioctls));
	return uffd;
}

static bool try_map(struct stage *s, unsigned at, unsigned pages, bool again)
{
	struct vellum_map_args args = { .size = sizeof(args), .addr = PAGE(at), .len = BYTES(pages), .prot = RW,
					.flags = ANON | VELLUM_MAP_FIXED };
	uint64_t addr;

	return !failed(vellum_mmap(s->w->mm, &args, &addr), again);
}

/* munmap may need memory for a split; of what is mapped as a whole it needs none. */
static void unmap_whole(struct stage *s, unsigned at, unsigned pages)
{
	OK(vellum_munmap(s->w->mm, PAGE(at), BYTES(pages)));
}

/* The middle: splits, and merges again. A failed one changes nothing. */
static void run_register(struct stage *s, bool again)
{
	struct vellum_uffd *uffd = try_uffd(s, 0, again);
	unsigned vmas = nr_vmas(s->w->mm);
	uint64_t ioctls;

	if (!uffd)
		return;
	if (failed(vellum_uffd_register(uffd, PAGE(2), BYTES(2), VELLUM_UFFD_MISSING | VELLUM_UFFD_WP, &ioctls), again)) {
		assert_int_equal(vellum_uffd_unregister(uffd, PAGE(3), BYTES(1)), 0);	/* nothing is registered */
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
	if (uffd && !failed(vellum_uffd_register(uffd, PAGE(MISSING_AT), BYTES(6), VELLUM_UFFD_MISSING, &ioctls), again)) {
		memset(bytes, 7, sizeof(bytes));
		if (failed(vellum_uffd_copy(uffd, PAGE(MISSING_AT), 0, bytes, BYTES(2), 0, &done), again))
			assert_true(done == -ENOMEM || done == 4096);
		if (failed(vellum_uffd_copy(uffd, PAGE(MISSING_AT + 2), PAGE(0), NULL, BYTES(1), 0, &done), again))
			assert_int_equal(done, -ENOMEM);
		failed(vellum_uffd_zeropage(uffd, PAGE(MISSING_AT + 3), BYTES(1), 0, &done), again);
		failed(vellum_uffd_poison(uffd, PAGE(MISSING_AT + 4), BYTES(1), 0, &done), again);
	}
	check_now(s);
	if (uffd)
		vellum_uffd_put(uffd);
	unmap_whole(s, MISSING_AT, 6);
}

/* Markers need tables where none are. */
static void run_writeprotect(struct stage *s, bool again)
{
	struct vellum_uffd *uffd;
	uint64_t ioctls;

	if (!try_map(s, FAR_AT, 1200, again))
		return;
	uffd = try_uffd(s, VELLUM_UFFD_FEATURE_WP_UNPOPULATED, again);
	if (uffd && !failed(vellum_uffd_register(uffd, PAGE(FAR_AT), BYTES(1200), VELLUM_UFFD_WP, &ioctls), again)) {
		failed(vellum_uffd_writeprotect(uffd, PAGE(FAR_AT), BYTES(1200), VELLUM_UFFD_WRITEPROTECT_WP), again);
		check_now(s);
		failed(vellum_uffd_writeprotect(uffd, PAGE(FAR_AT), BYTES(1200), 0), again);
	}
	if (uffd)
		vellum_uffd_put(uffd);
	unmap_whole(s, FAR_AT, 1200);
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
		    !failed(vellum_uffd_register(uffd, PAGE(MISSING_AT), BYTES(2), VELLUM_UFFD_MISSING, &ioctls), again)) {
			bool bad = failed(vellum_uffd_move(uffd, PAGE(MISSING_AT), PAGE(FAR_AT), BYTES(2), 0, &done), again);

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
		unmap_whole(s, FAR_AT, 2);
	}
	unmap_whole(s, MISSING_AT, 2);
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

/* Fork, move and unmap, each with an event. */
static void events(struct stage *s, struct vellum_uffd *uffd, bool again)
{
	struct reader r = { .uffd = uffd };
	struct vellum_mm *child;
	pthread_t thread;
	uint64_t to = PAGE(MOVE_AT);

	assert_int_equal(pthread_create(&thread, NULL, read_events, &r), 0);
	if (!failed(vellum_fork(s->w->mm, &child), again))
		vellum_mm_put(child);
	failed(vellum_mremap(s->w->mm, PAGE(MISSING_AT), BYTES(2), BYTES(2), VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED,
			     &to), again);
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
	unmap_whole(s, MISSING_AT, 12);
}

/* --- swap --- */

static void run_swap(struct stage *s, bool again)
{
	struct vellum_mm *child = NULL;

	pageout(s->w->mm, 0, 8);
	pageout(s->w->mm, 16, 4);
	check_now(s);
	if (!failed(vellum_fork(s->w->mm, &child), again)) {
		vellum_soft_run(s->w->cpu[1], child);
		oom(try_load(s->w->cpu[1], PAGE(0)), again);
		oom(try_store(s->w->cpu[1], PAGE(1), 1), again);
		check_now(s);
		end_child(child, s->w->cpu[1]);
	}
	for (unsigned i = 0; i < 20; i++)
		if (i < 8 || i >= 16)
			oom(try_store(s->w->cpu[0], PAGE(i), 100 + i), again);
}

static void run_swap_areas(struct stage *s, bool again)
{
	struct disk d = { .nr = 2000, .bad_slot = ~0ull };

	d.bytes = malloc(BYTES(d.nr));
	d.full = calloc(d.nr, 1);
	pageout(s->w->mm, 0, 4);
	if (!failed(vellum_swap_add(s->w->memory, &disk_ops, &d, d.nr, &d.area), again)) {
		pageout(s->w->mm, 4, 4);
		check_now(s);
		if (failed(vellum_swap_remove(s->w->memory, d.area), again)) {
			s->w->host.fail_at = 0;
			OK(vellum_swap_remove(s->w->memory, d.area));
		}
	}
	check_now(s);
	disk_destroy(&d);
}

/* --- huge pages --- */

static bool is_huge_err(int err)
{
	return !err || err == -ENOMEM || err == -EAGAIN || err == -VELLUM_EBUSY;
}

static void run_huge_fault(struct stage *s, bool again)
{
	if (!try_map(s, HUGE_AT, 512, again))
		return;
	failed(vellum_madvise(s->w->mm, PAGE(HUGE_AT), BYTES(512), VELLUM_MADV_HUGEPAGE), again);
	if (!oom(try_store(s->w->cpu[0], PAGE(HUGE_AT + 9), 9), again)) {
		/* Pieces: by rights, by unmapping, by advice. */
		failed(vellum_mprotect(s->w->mm, PAGE(HUGE_AT + 9), BYTES(1), RO), again);
		check_now(s);
		failed(vellum_munmap(s->w->mm, PAGE(HUGE_AT + 100), BYTES(1)), again);
		check_now(s);
		assert_int_equal(load(s->w->cpu[0], PAGE(HUGE_AT + 9)), 9);
	}
	unmap_whole(s, HUGE_AT, 512);
}

static void run_collapse(struct stage *s, bool again)
{
	unsigned stored = 0;
	int err;

	if (!try_map(s, HUGE_AT, 512, again))
		return;
	failed(vellum_madvise(s->w->mm, PAGE(HUGE_AT), BYTES(512), VELLUM_MADV_NOHUGEPAGE), again);
	while (stored < 8 && !oom(try_store(s->w->cpu[0], PAGE(HUGE_AT + stored), stored), again))
		stored++;
	failed(vellum_madvise(s->w->mm, PAGE(HUGE_AT), BYTES(512), VELLUM_MADV_HUGEPAGE), again);
	err = vellum_madvise(s->w->mm, PAGE(HUGE_AT), BYTES(512), VELLUM_MADV_COLLAPSE);
	assert_true(is_huge_err(err) || (err == -EINVAL && !stored));
	assert_false(again && err);
	check_now(s);
	for (unsigned i = 0; i < stored; i++)
		assert_int_equal(load(s->w->cpu[0], PAGE(HUGE_AT + i)), i);
	unmap_whole(s, HUGE_AT, 512);
}

/* @pages frames of the device at once: 512 of them make one huge entry. */
static void insert_raw(struct stage *s, unsigned pages, bool again)
{
	struct vellum_map_args args = { .size = sizeof(args), .addr = PAGE(RAW_AT), .len = BYTES(512), .prot = RW,
					.flags = VELLUM_MAP_SHARED | VELLUM_MAP_FIXED, .mapping = s->raw, .file_prot = RW };
	uint64_t addr;

	if (failed(vellum_mmap(s->w->mm, &args, &addr), again))
		return;
	if (!failed(vellum_remap_pfn_range(s->w->mm, addr, s->raw_counts.first_pfn, BYTES(pages)), again)) {
		oom(try_store(s->w->cpu[0], addr, 3), again);
		failed(vellum_mprotect(s->w->mm, addr + BYTES(1), BYTES(1), RO), again);
	}
	check_now(s);
	unmap_whole(s, RAW_AT, 512);
}

static void run_raw_huge(struct stage *s, bool again)
{
	insert_raw(s, 512, again);
}

static void run_raw_small(struct stage *s, bool again)
{
	insert_raw(s, 5, again);
}

/* --- pins, guards, scans --- */

static void run_pins(struct stage *s, bool again)
{
	struct vellum_mm *child;
	uint64_t pfns[8], n = 0;

	if (failed(vellum_fork(s->w->mm, &child), again))
		return;
	if (!failed(vellum_pin_pages(s->w->mm, PAGE(0), 4, 0, pfns, &n), again))
		vellum_unpin_pages(s->w->memory, pfns, n);
	assert_true(!again || n == 4);
	check_now(s);
	if (!failed(vellum_pin_pages(s->w->mm, PAGE(4), 4, VELLUM_GUP_WRITE, pfns, &n), again)) {
		struct vellum_mm *second;

		if (!failed(vellum_fork(s->w->mm, &second), again))	/* copies what is pinned */
			vellum_mm_put(second);
		check_now(s);
		vellum_unpin_pages(s->w->memory, pfns, n);
	}
	vellum_mm_put(child);
}

static void run_guards(struct stage *s, bool again)
{
	int err;

	if (!try_map(s, FAR_AT, 1200, again))
		return;
	err = vellum_madvise(s->w->mm, PAGE(FAR_AT), BYTES(1200), VELLUM_MADV_GUARD_INSTALL);
	failed(err, again);
	check_now(s);
	if (!err)
		assert_int_not_equal(try_load(s->w->cpu[0], PAGE(FAR_AT + 700)), VELLUM_FAULT_OK);
	failed(vellum_madvise(s->w->mm, PAGE(FAR_AT), BYTES(1200), VELLUM_MADV_GUARD_REMOVE), again);
	oom(try_load(s->w->cpu[0], PAGE(FAR_AT + 700)), again);
	unmap_whole(s, FAR_AT, 1200);
}

static void scan_wp(struct stage *s, bool again)
{
	struct vellum_page_region vec[4];
	struct vellum_scan_args args = { .size = sizeof(args),
					 .flags = VELLUM_SCAN_WP_MATCHING | VELLUM_SCAN_CHECK_WPASYNC,
					 .start = PAGE(FAR_AT), .end = PAGE(FAR_AT + 1200), .vec = vec, .vec_len = 4,
					 .category_mask = VELLUM_PAGE_IS_WRITTEN, .return_mask = VELLUM_PAGE_IS_WRITTEN };
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
	if (uffd && !failed(vellum_uffd_register(uffd, PAGE(FAR_AT), BYTES(1200), VELLUM_UFFD_WP, &ioctls), again)) {
		oom(try_store(s->w->cpu[0], PAGE(FAR_AT), 1), again);
		scan_wp(s, again);
		check_now(s);
	}
	if (uffd)
		vellum_uffd_put(uffd);
	unmap_whole(s, FAR_AT, 1200);
}

/* --- devices and moving pages, shadow stacks --- */

static void run_device(struct stage *s, bool again)
{
	struct vellum_device *dev;
	uint64_t pfn;

	if (!failed(vellum_device_create(s->w->memory, &gpu_ops, s->gpu, 4, &dev), again))
		OK(vellum_device_destroy(dev));
	to_gpu(s->gpu, s->w->mm, 0, 4);
	check_now(s);
	for (unsigned i = 0; i < 4; i++)
		oom(try_load(s->w->cpu[0], PAGE(i)), again);
	failed(vellum_device_make_exclusive(s->gpu->dev, s->w->mm, PAGE(5), &pfn), again);
	check_now(s);
	oom(try_load(s->w->cpu[0], PAGE(5)), again);
}

static void run_migrate(struct stage *s, bool again)
{
	for (unsigned i = 0; i < 20; i++)
		if (i < 8 || i >= 16)
			failed(vellum_migrate_page(s->w->mm, PAGE(i)), again);
}

static void run_shadow_stack(struct stage *s, bool again)
{
	uint64_t addr = PAGE(FAR_AT), val;

	if (failed(vellum_map_shadow_stack(s->w->mm, &addr, BYTES(2)), again))
		return;
	if (!oom(vellum_soft_shstk_store64(s->w->cpu[0], addr, 5), again)) {
		OK(vellum_soft_shstk_load64(s->w->cpu[0], addr, &val));
		assert_int_equal(val, 5);
	}
	unmap_whole(s, FAR_AT, 2);
}

#define OOM_TEST(name)                            \
	static void oom_##name(void **state)      \
	{                                         \
		(void)state;                      \
		fail_each_allocation(run_##name); \
		fail_each_frame(run_##name);      \
	}
OOM_TEST(register)
OOM_TEST(fill)
OOM_TEST(writeprotect)
OOM_TEST(move)
OOM_TEST(events)
OOM_TEST(swap)
OOM_TEST(swap_areas)
OOM_TEST(huge_fault)
OOM_TEST(collapse)
OOM_TEST(raw_huge)
OOM_TEST(raw_small)
OOM_TEST(pins)
OOM_TEST(guards)
OOM_TEST(scan)
OOM_TEST(device)
OOM_TEST(migrate)
OOM_TEST(shadow_stack)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(oom_register),
		cmocka_unit_test(oom_fill),
		cmocka_unit_test(oom_writeprotect),
		cmocka_unit_test(oom_move),
		cmocka_unit_test(oom_events),
		cmocka_unit_test(oom_swap),
		cmocka_unit_test(oom_swap_areas),
		cmocka_unit_test(oom_huge_fault),
		cmocka_unit_test(oom_collapse),
		cmocka_unit_test(oom_raw_huge),
		cmocka_unit_test(oom_raw_small),
		cmocka_unit_test(oom_pins),
		cmocka_unit_test(oom_guards),
		cmocka_unit_test(oom_scan),
		cmocka_unit_test(oom_device),
		cmocka_unit_test(oom_migrate),
		cmocka_unit_test(oom_shadow_stack),
	};

	return cmocka_run_group_tests_name("oom_more", tests, NULL, NULL);
}
