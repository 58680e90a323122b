/* SPDX-License-Identifier: MIT */
/* Failed allocations: each allocation of the core fails once, and frames run out at each point. */
#include "more_support.h"

/* Checks that a call succeeded, or failed with -ENOMEM. */
static bool may_fail(int err)
{
	if (err)
		assert_int_equal(err, -ENOMEM);
	return err;
}

static bool may_oom(enum vellum_fault_result result)
{
	if (result != VELLUM_FAULT_OK)
		assert_int_equal(result, VELLUM_FAULT_OOM);
	return result != VELLUM_FAULT_OK;
}

/* The setup of a scenario. */
struct stage {
	struct world w;
	struct counting *c;
	struct vellum_mapping *obj;
	struct vellum_tracker *t;
	struct vma_list before;
};

/* Pages 0 to 7: private, stored to. 8: read-only. 16 to 23: a mapping, page 17 stored to. */
static void stage_create(struct stage *s)
{
	memset(s, 0, sizeof(*s));
	world_create(&s->w, 16 << 20);
	s->c = new_counting();
	s->obj = new_object(&s->w, s->c, 4096);
	map_at(s->w.mm, 0, 8, RW, ANON);
	map_at(s->w.mm, 8, 1, RO, ANON);
	map_object(s->w.mm, 16, 8, RW, VELLUM_MAP_SHARED, s->obj, 0, RW);
	for (unsigned i = 0; i < 8; i++)
		store(s->w.cpu[0], PAGE(i), 100 + i);
	store(s->w.cpu[0], PAGE(17), 117);
	load(s->w.cpu[0], PAGE(18));
	list_vmas(s->w.mm, &s->before, true);
}

static void stage_check_bytes(struct stage *s)
{
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(load(s->w.cpu[0], PAGE(i)), 100 + i);
	assert_int_equal(load(s->w.cpu[0], PAGE(17)), 117);
	assert_int_equal(load(s->w.cpu[0], PAGE(18)), 2);
}

/* After a failed call, VMAs and bytes are unchanged. */
static void stage_unchanged(struct stage *s)
{
	struct vma_list now;

	list_vmas(s->w.mm, &now, true);
	assert_true(same_list(&now, &s->before));
	stage_check_bytes(s);
}

static void stage_destroy(struct stage *s)
{
	check_world(&s->w);
	if (s->t)
		vellum_tracker_destroy(s->t);
	OK(vellum_munmap(s->w.mm, MMAP_MIN_ADDR, VELLUM_TASK_SIZE - MMAP_MIN_ADDR));
	vellum_mapping_put(s->obj);
	world_destroy(&s->w);
}

/* Fail the first allocation of @run, then the second, and so on, until @run makes fewer. */
static unsigned fail_each(void (*run)(struct stage *s, bool injected))
{
	static struct stage s;

	for (unsigned k = 1;; k++) {
		uint64_t base;
		bool injected;

		stage_create(&s);
		base = s.w.host.nr_allocs;
		s.w.host.fail_at = base + k;
		run(&s, false);
		injected = s.w.host.nr_allocs >= base + k;
		s.w.host.fail_at = 0;
		check_world(&s.w);
		run(&s, true); /* all memory is available: must succeed */
		stage_destroy(&s);
		if (!injected)
			return k - 1;
	}
}

/* --- scenarios; with @again, no allocation fails --- */

static void check_result(struct stage *s, bool again, bool failed)
{
	assert_false(again && failed);
	if (failed)
		stage_unchanged(s);
}

static void run_mmap(struct stage *s, bool again)
{
	static const uint32_t flags[] = {ANON, SHANON, VELLUM_MAP_SHARED, VELLUM_MAP_PRIVATE};

	for (unsigned i = 0; i < 4; i++) {
		struct vellum_map_args args = {.size = sizeof(args),
					       .len = BYTES(4),
					       .prot = RW,
					       .flags = flags[i],
					       .mapping = s->obj,
					       .file_prot = RW};
		uint64_t addr;
		bool failed = may_fail(vellum_mmap(s->w.mm, &args, &addr));

		check_result(s, again, failed);
		if (!failed)
			OK(vellum_munmap(s->w.mm, addr, BYTES(4)));
	}
}

static void run_map_fixed(struct stage *s, bool again)
{
	struct vellum_map_args args = {.size = sizeof(args),
				       .addr = PAGE(2),
				       .len = BYTES(2),
				       .prot = RO,
				       .flags = SHANON | VELLUM_MAP_FIXED};
	struct vellum_vma_info info;
	uint64_t addr;

	/* After a failure, the old VMA may be unmapped. Nothing else may change. */
	assert_false(may_fail(vellum_mmap(s->w.mm, &args, &addr)) && again);
	assert_int_equal(load(s->w.cpu[0], PAGE(1)), 101);
	assert_int_equal(load(s->w.cpu[0], PAGE(4)), 104);
	OK(vellum_vma_next(s->w.mm, PAGE(4), &info));
	assert_int_equal(info.end, PAGE(8));
}

static void run_fault(struct stage *s, bool again)
{
	struct vellum_map_args args = {.size = sizeof(args),
				       .addr = PAGE(5000),
				       .len = BYTES(4),
				       .prot = RW,
				       .flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_FIXED,
				       .mapping = s->obj,
				       .pgoff = 100,
				       .file_prot = RW};
	uint64_t addr;
	bool failed = may_fail(vellum_mmap(s->w.mm, &args, &addr));

	if (!failed) {
		failed |= may_oom(try_load(s->w.cpu[0], PAGE(5000)));
		failed |= may_oom(try_store(s->w.cpu[0], PAGE(5001), 1));
		failed |= may_oom(try_store(s->w.cpu[0], PAGE(5000), 1));
	}
	failed |= may_oom(try_store(s->w.cpu[0], PAGE(20), 4));
	failed |= may_oom(try_load(s->w.cpu[0], PAGE(9 - 1)));
	assert_false(again && failed);
	stage_check_bytes(s);
}

static void run_shared_anon(struct stage *s, bool again)
{
	struct vellum_map_args args = {.size = sizeof(args),
				       .addr = PAGE(6000),
				       .len = BYTES(4096),
				       .prot = RW,
				       .flags = SHANON | VELLUM_MAP_FIXED};
	uint64_t addr;
	bool failed = may_fail(vellum_mmap(s->w.mm, &args, &addr));

	for (unsigned i = 0; i < 4096 && !failed; i += 63) /* the mapping's tree of pages grows */
		failed |= may_oom(try_store(s->w.cpu[0], PAGE(6000 + i), i));
	assert_false(again && failed);
	stage_check_bytes(s);
}

static void run_fork(struct stage *s, bool again)
{
	struct vellum_mm *child = NULL;
	bool failed = may_fail(vellum_fork(s->w.mm, &child));

	check_result(s, again, failed);
	if (failed)
		return;
	vellum_soft_load_mm(s->w.cpu[1], child);
	assert_int_equal(load(s->w.cpu[1], PAGE(3)), 103);
	may_oom(try_store(s->w.cpu[1], PAGE(3), 1));
	stage_check_bytes(s);
	end_child(child, s->w.cpu[1]);
}

static void run_mprotect(struct stage *s, bool again)
{
	int err = vellum_mprotect(s->w.mm, PAGE(3), BYTES(2), RO); /* splits at both ends */

	check_result(s, again, may_fail(err));
	if (!err)
		assert_int_equal(try_store(s->w.cpu[0], PAGE(3), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	s->w.host.fail_at = 0; /* restore */
	protect(s->w.mm, 0, 8, RW);
	stage_check_bytes(s);
}

static void run_munmap(struct stage *s, bool again)
{
	bool failed = may_fail(vellum_munmap(s->w.mm, PAGE(3), BYTES(2)));

	check_result(s, again, failed);
	if (failed)
		return;
	assert_int_equal(try_load(s->w.cpu[0], PAGE(3)), VELLUM_FAULT_SIGSEGV_MAPERR);
	s->w.host.fail_at = 0; /* restore */
	map_at(s->w.mm, 3, 2, RW, ANON);
	store(s->w.cpu[0], PAGE(3), 103);
	store(s->w.cpu[0], PAGE(4), 104);
}

static void run_mremap(struct stage *s, bool again)
{
	uint64_t addr;
	bool failed = may_fail(
		vellum_mremap(s->w.mm, PAGE(2), BYTES(4), BYTES(8), VELLUM_MREMAP_MAYMOVE, &addr));

	check_result(s, again, failed);
	if (failed)
		return;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(load(s->w.cpu[0], addr + BYTES(i)), 102 + i);
	s->w.host.fail_at = 0; /* restore */
	OK(vellum_munmap(s->w.mm, addr, BYTES(8)));
	map_at(s->w.mm, 2, 4, RW, ANON);
	for (unsigned i = 2; i < 6; i++)
		store(s->w.cpu[0], PAGE(i), 100 + i);
}

static void run_brk(struct stage *s, bool again)
{
	unmap(s->w.mm, 40, 4);
	vellum_set_brk(s->w.mm, PAGE(40));
	assert_in_range(vellum_brk(s->w.mm, PAGE(44)), PAGE(40) + (again ? 4096 : 0), PAGE(44));
	stage_check_bytes(s);
}

static void run_objects(struct stage *s, bool again)
{
	struct vellum_mapping *obj;
	static char bytes[4096];
	uint64_t pfn = 0;
	bool failed = may_fail(vellum_mapping_create(s->w.memory, NULL, NULL, 8, 0, &obj));

	if (!failed)
		vellum_mapping_put(obj);
	if (!again)
		may_fail(vellum_memory_add_device(s->w.memory, 1 << 20, 1, bytes));
	if (!may_fail(vellum_memory_alloc_device(s->w.memory, 3, &pfn)))
		vellum_memory_free_device(s->w.memory, pfn, 3);
	assert_false(again && failed);
}

/* --- trackers: if recording fails, all pages are reported --- */

static int note_pages(void *arg, uint64_t first, uint64_t nr)
{
	uint64_t *mask = arg;

	for (uint64_t i = first; i < first + nr && i - (BASE >> 12) < 64; i++)
		*mask |= 1ull << (i - (BASE >> 12));
	return 0;
}

static int break_off(void *arg, uint64_t first, uint64_t nr)
{
	(void)first, (void)nr;
	return ++*(unsigned *)arg == 2 ? 5 : 0;
}

static void run_tracker(struct stage *s, bool again, enum vellum_track_method method)
{
	uint64_t mask = 0;
	unsigned calls = 0;
	bool all;
	int err;

	if (!s->t && may_fail(vellum_track_mm(s->w.mm, BASE, PAGE(64), method, &s->t)))
		s->t = NULL;
	assert_true(s->t || !again);
	store(s->w.cpu[0], PAGE(1), 101);
	store(s->w.cpu[0], PAGE(3), 103);
	store(s->w.cpu[0], PAGE(5), 105);
	if (!s->t)
		return;
	err = vellum_tracker_collect(s->t, 0, ~0ull, break_off, &calls);
	assert_true(err == 0 || err == 5);
	all = err == 0; /* recording failed: one run with all pages */
	store(s->w.cpu[0], PAGE(7), 107);
	err = vellum_tracker_collect(s->t, (BASE >> 12) + 2, (BASE >> 12) + 6, note_pages, &mask);
	assert_int_equal(err, 0);
	assert_true(all || mask & 1 << 5);
	OK(vellum_tracker_collect(s->t, 0, ~0ull, note_pages, &mask));
	assert_true(mask & 1 << 7);
	mask = 0;
	store(s->w.cpu[0], PAGE(1), 101);
	OK(vellum_tracker_collect(s->t, 0, ~0ull, note_pages, &mask));
	assert_true(mask & 1 << 1);
	for (unsigned i = 0; i < 8 && again && method == VELLUM_TRACK_WP; i++)
		assert_false(has_w(s->w.mm, PAGE(i)));
}

static void run_clean_tracker(struct stage *s, bool again)
{
	run_tracker(s, again, VELLUM_TRACK_CLEAN);
}

static void run_wp_tracker(struct stage *s, bool again)
{
	run_tracker(s, again, VELLUM_TRACK_WP);
}

#define OOM_TEST(what, at_least)                                                                   \
	static void oom_##what(void **state)                                                       \
	{                                                                                          \
		(void)state;                                                                       \
		assert_in_range(fail_each(run_##what), at_least, 10000);                           \
	}
OOM_TEST(mmap, 5)
OOM_TEST(map_fixed, 2)
OOM_TEST(fault, 2)
OOM_TEST(shared_anon, 3)
OOM_TEST(fork, 4)
OOM_TEST(mprotect, 2)
OOM_TEST(munmap, 2)
OOM_TEST(mremap, 3)
OOM_TEST(brk, 1)
OOM_TEST(objects, 2)
OOM_TEST(clean_tracker, 2)
OOM_TEST(wp_tracker, 2)

/* A call that fails has not even split a VMA. */
static void failed_munmap_leaves_no_split(void **state)
{
	static struct stage s;
	struct vma_list before, after;
	int err;

	(void)state;
	stage_create(&s);
	list_vmas(s.w.mm, &before, false);
	s.w.host.fail_at = s.w.host.nr_allocs + 2; /* the second of two splits */
	err = vellum_munmap(s.w.mm, PAGE(3), BYTES(2));
	s.w.host.fail_at = 0;
	list_vmas(s.w.mm, &after, false);
	stage_destroy(&s);
	assert_int_equal(err, -ENOMEM);
	assert_true(same_list(&before, &after));
}

/* --- creation --- */

static void failed_create_changes_nothing(void **state)
{
	static char ram[4 << 20] __attribute__((aligned(4096)));
	struct test_host host = {.nr_allocs = 0};
	struct vellum_memory_args args = {.size = sizeof(args),
					  .host = test_host_ops(),
					  .host_ctx = &host,
					  .ram = ram,
					  .ram_size = sizeof(ram)};
	struct vellum_memory *memory;
	struct vellum_mm *mm;
	unsigned failures = 0;

	(void)state;
	for (unsigned k = 1; k < 20; k++) {
		host.fail_at = host.nr_allocs + k;
		if (may_fail(vellum_memory_create(&args, &memory))) {
			assert_int_equal(host.live, 0);
			failures++;
			continue;
		}
		if (!may_fail(vellum_mm_create(memory, &mm)))
			vellum_mm_put(mm);
		else
			failures++;
		host.fail_at = 0;
		assert_int_equal(vellum_validate(memory, NULL), 0);
		host.fail_at = host.nr_allocs + 1;
		assert_int_equal(vellum_validate(memory, NULL), -ENOMEM);
		OK(vellum_memory_destroy(memory));
		assert_int_equal(host.live_bytes, 0);
	}
	assert_int_equal(failures, 4);
	args.ram_size = 2 << 20;
	assert_int_equal(vellum_memory_create(&args, &memory), -EINVAL);
	args.ram_size = (4 << 20) + 4096;
	assert_int_equal(vellum_memory_create(&args, &memory), -EINVAL);
	args.ram_size = 4 << 20;
	args.reserved = 100;
	assert_int_equal(vellum_memory_create(&args, &memory), -EINVAL);
	assert_int_equal(host.bugs, 0);
}

/* --- the host does not back RAM --- */

static void failed_commit_is_out_of_memory(void **state)
{
	struct world *w = *state;
	unsigned got = 0;

	map_at(w->mm, 0, 4096, RW, ANON);
	store(w->cpu[0], BASE, 1);
	w->host.fail_commits = 1;
	while (got < 4096 && try_store(w->cpu[0], PAGE(got), got) == VELLUM_FAULT_OK)
		got++;
	assert_in_range(got, 1, 1023);
	assert_int_equal(try_store(w->cpu[0], PAGE(got), 1), VELLUM_FAULT_OOM);
	check_world(w);
	w->host.fail_commits = 0;
	for (unsigned i = 0; i < 2000; i++)
		store(w->cpu[0], PAGE(i), i);
	for (unsigned i = 0; i < 2000; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i);
}

/* --- frames run out --- */

/* Allocate all frames except @left. release_frames() frees them. */
static uint64_t hoard[4096];
static unsigned hoarded;

static void hoard_frames(struct world *w, unsigned left)
{
	hoarded = 0;
	while (vellum_memory_alloc_device(w->memory, 1, &hoard[hoarded]) == 0)
		hoarded++;
	while (left--)
		vellum_memory_free_device(w->memory, hoard[--hoarded], 1);
}

static void release_frames(struct world *w)
{
	while (hoarded)
		vellum_memory_free_device(w->memory, hoard[--hoarded], 1);
}

static void failed_fork_changes_nothing(void **state)
{
	static struct stage s;
	unsigned failed = 0;

	(void)state;
	stage_create(&s);
	for (unsigned left = 0; left < 8; left++) {
		struct vellum_mm *child;

		hoard_frames(&s.w, left);
		if (!may_fail(vellum_fork(s.w.mm, &child)))
			vellum_mm_put(child);
		else
			failed++;
		assert_int_equal(free_frames(&s.w), left);
		check_world(&s.w);
		stage_unchanged(&s);
		for (unsigned i = 0; i < 8; i++) /* the only owner: no copy needed */
			store(s.w.cpu[0], PAGE(i), 100 + i);
		release_frames(&s.w);
	}
	assert_int_equal(failed, 4); /* the PGD and the three tables below */
	stage_destroy(&s);
}

/* If a move fails halfway, it is undone. */
static void failed_mremap_is_undone(void **state)
{
	struct world *w = *state;
	unsigned failed = 0;
	uint64_t addr = 0;

	map_at(w->mm, 100, 1400, RW, ANON);
	map_at(w->mm, 1500, 1, RO, ANON);
	for (unsigned i = 100; i < 1500; i += 20)
		store(w->cpu[0], PAGE(i), i);
	for (unsigned left = 0; left < 8; left++) {
		hoard_frames(w, left);
		if (!may_fail(vellum_mremap(w->mm, PAGE(100), BYTES(1400), BYTES(1402),
					    VELLUM_MREMAP_MAYMOVE, &addr)))
			break;
		failed++;
		check_world(w);
		assert_int_equal(nr_vmas(w->mm), 2);
		for (unsigned i = 100; i < 1500; i += 20)
			assert_int_equal(load(w->cpu[0], PAGE(i)), i);
		release_frames(w);
	}
	release_frames(w);
	assert_in_range(failed, 3, 7);
	for (unsigned i = 100; i < 1500; i += 20)
		assert_int_equal(load(w->cpu[0], addr + BYTES(i - 100)), i);
}

static void operations_without_free_frames(void **state)
{
	struct world *w = *state;
	struct vellum_mm *mm;
	uint64_t pfn;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], BASE, 1);
	hoard_frames(w, 0);
	assert_int_equal(vellum_mm_create(w->memory, &mm), -ENOMEM);
	assert_int_equal(vellum_memory_alloc_device(w->memory, 1, &pfn), -ENOMEM);
	assert_int_equal(try_store(w->cpu[0], PAGE(1), 1), VELLUM_FAULT_OOM);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 0); /* the zero page needs no frame */
	assert_int_equal(try_store(w->cpu[0], PAGE(1), 1), VELLUM_FAULT_OOM);
	assert_int_equal(vellum_memory_alloc_device(w->memory, 0, &pfn), -EINVAL);
	assert_int_equal(vellum_memory_alloc_device(w->memory, 513, &pfn), -EINVAL);
	release_frames(w);
	store(w->cpu[0], PAGE(1), 1);
	assert_int_equal(load(w->cpu[0], BASE), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(oom_mmap),
		cmocka_unit_test(oom_map_fixed),
		cmocka_unit_test(oom_fault),
		cmocka_unit_test(oom_shared_anon),
		cmocka_unit_test(oom_fork),
		cmocka_unit_test(oom_mprotect),
		cmocka_unit_test(oom_munmap),
		cmocka_unit_test(oom_mremap),
		cmocka_unit_test(oom_brk),
		cmocka_unit_test(oom_objects),
		cmocka_unit_test(oom_clean_tracker),
		cmocka_unit_test(oom_wp_tracker),
		cmocka_unit_test(failed_munmap_leaves_no_split),
		cmocka_unit_test(failed_create_changes_nothing),
		WORLD_TEST(failed_commit_is_out_of_memory),
		cmocka_unit_test(failed_fork_changes_nothing),
		WORLD_TEST(failed_mremap_is_undone),
		WORLD_TEST(operations_without_free_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
