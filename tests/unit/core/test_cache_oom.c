/* SPDX-License-Identifier: MIT */
/* Failed allocations: page cache, advice, mlock, mremap, stacks and auto trackers. */
#include "file_support.h"

/*
 * Pages 0-7: private anonymous. 16-31: shared file. 40-43: private file. 1000-1003: a stack. Page i has 100 +
 * i, if it was stored to.
 */
struct stage {
	struct world w;
	struct file f;
	struct vellum_tracker *t;
	struct vma_list before;
};

static void check_bytes(struct stage *s)
{
	struct vellum_soft_cpu *cpu = s->w.cpu[0];

	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(load(cpu, PAGE(i)), 100 + i);
	for (unsigned i = 16; i < 20; i++)
		assert_int_equal(load(cpu, PAGE(i)), 100 + i);
	assert_int_equal(load(cpu, PAGE(41)), 141);
	assert_int_equal(load(cpu, PAGE(1003)), 163);
}

static void stage_create(struct stage *s)
{
	memset(s, 0, sizeof(*s));
	world_create(&s->w, 16 << 20);
	file_create(&s->f, &s->w, 700);
	map_at(s->w.mm, 0, 8, RW, ANON);
	map_shared(s->w.mm, 16, 16, &s->f, 0);
	map_private(s->w.mm, 40, 4, &s->f, 0);
	map_at(s->w.mm, 1000, 4, RW, ANON | VELLUM_MAP_GROWSDOWN);
	for (unsigned i = 0; i < 8; i++)
		store(s->w.cpu[0], PAGE(i), 100 + i);
	for (unsigned i = 16; i < 20; i++)
		store(s->w.cpu[0], PAGE(i), 100 + i);
	store(s->w.cpu[0], PAGE(41), 141);
	store(s->w.cpu[0], PAGE(1003), 163);
	list_vmas(s->w.mm, &s->before, true);
}

static void stage_destroy(struct stage *s)
{
	check_world(&s->w);
	vellum_tracker_destroy(s->t);
	OK(vellum_munmap(s->w.mm, MMAP_MIN_ADDR, VELLUM_TASK_SIZE - MMAP_MIN_ADDR));
	file_destroy(&s->f);
	world_destroy(&s->w);
}

static void unchanged(struct stage *s)
{
	struct vma_list now;

	list_vmas(s->w.mm, &now, true);
	assert_true(same_list(&now, &s->before));
}

/* Fail the first allocation of @run, then the second, and so on, until @run makes fewer. */
static unsigned fail_each(void (*run)(struct stage *s, bool again))
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
		check_bytes(&s);
		run(&s, true); /* all memory is available: must succeed */
		check_world(&s.w);
		check_bytes(&s);
		stage_destroy(&s);
		if (!injected)
			return k - 1;
	}
}

/* Did the call fail? @want is the only error allowed. With @again, none is. */
static bool failed(struct stage *s, int err, int want, bool again)
{
	if (err && (again || err != want))
		fail_msg("error %d, expected %d", err, want);
	if (err)
		unchanged(s);
	return err != 0;
}

static bool may_oom(enum vellum_fault_result result)
{
	if (result != VELLUM_FAULT_OK)
		assert_int_equal(result, VELLUM_FAULT_OOM);
	return result != VELLUM_FAULT_OK;
}

/* --- the page cache --- */

static void run_create(struct stage *s, bool again)
{
	struct vellum_mapping *obj;

	if (!failed(s,
		    vellum_mapping_create(s->w.memory, &file_ops, &s->f, 8,
					  VELLUM_MAPPING_WRITEBACK, &obj),
		    -ENOMEM, again)) {
		vellum_mapping_put(obj);
		s->f.releases = 0;
	}
}

static void run_read_write(struct stage *s, bool again)
{
	uint64_t val = 5;

	for (unsigned page = 8; page < 600; page += 590) { /* the page cache's tree grows */
		bool missed = failed(s, vellum_mapping_write(s->f.mapping, BYTES(page), &val, 8),
				     -ENOMEM, again);
		int err = vellum_mapping_read(s->f.mapping, BYTES(page), &val, 8);

		failed(s, err, -ENOMEM, again);
		if (!err)
			assert_int_equal(val, missed ? file_initial(page) : 5);
		val = 5;
	}
}

static void run_faults(struct stage *s, bool again)
{
	bool oom = false;

	for (unsigned i = 20; i < 32; i++)
		oom |= may_oom(i & 1 ? try_load(s->w.cpu[0], PAGE(i))
				     : try_store(s->w.cpu[0], PAGE(i), i));
	oom |= may_oom(try_store(s->w.cpu[0], PAGE(43), 1));
	assert_false(again && oom);
}

/* Calls that free pages must not fail. */
static void run_takes_away(struct stage *s, bool again)
{
	uint64_t val = 9;

	(void)again;
	OK(vellum_mapping_set_size(s->f.mapping, BYTES(20) + 5));
	OK(vellum_mapping_set_size(s->f.mapping, BYTES(700)));
	OK(vellum_mapping_punch_hole(s->f.mapping, BYTES(5) + 8, BYTES(2)));
	OK(vellum_mapping_writeback(s->f.mapping, 0, 700, NULL));
	OK(vellum_mapping_sync(s->f.mapping, 0, 700));
	OK(vellum_msync(s->w.mm, PAGE(16), BYTES(16), VELLUM_MS_SYNC));
	vellum_mapping_update(s->f.mapping, BYTES(600), &val, 8);
	vellum_mapping_invalidate(s->f.mapping);
	vellum_writeback_step(s->w.memory, 0);
	vellum_reclaim(s->w.memory, 2);
	OK(vellum_mapping_add_seals(s->f.mapping, VELLUM_SEAL_SHRINK * again));
}

/* --- advice and mlock, which split VMAs --- */

static void run_advice(struct stage *s, bool again)
{
	static const int advice[] = {VELLUM_MADV_DONTFORK, VELLUM_MADV_RANDOM,
				     VELLUM_MADV_WIPEONFORK, VELLUM_MADV_DONTDUMP};

	for (unsigned i = 0; i < ARRAY_SIZE(advice); i++)
		failed(s, vellum_madvise(s->w.mm, PAGE(2 * i), BYTES(1), advice[i]), -EAGAIN,
		       again);
}

static void run_populate(struct stage *s, bool again)
{
	failed(s, vellum_madvise(s->w.mm, PAGE(16), BYTES(16), VELLUM_MADV_POPULATE_READ), -EAGAIN,
	       again);
	failed(s, vellum_madvise(s->w.mm, PAGE(40), BYTES(4), VELLUM_MADV_POPULATE_WRITE), -EAGAIN,
	       again);
	OK(vellum_madvise(s->w.mm, PAGE(16), BYTES(16), VELLUM_MADV_WILLNEED));
}

/* -ENOMEM: the VMA could not be split. -EAGAIN: pages could not be faulted in. */
static void run_mlock(struct stage *s, bool again)
{
	for (unsigned at = 18; at <= 42; at += 24) {
		int err = vellum_mlock(s->w.mm, PAGE(at), BYTES(1), 0);

		assert_true(!err || (!again && (err == -ENOMEM || err == -EAGAIN)));
		err = vellum_munlock(s->w.mm, PAGE(at), BYTES(1));
		assert_true(!err || (!again && err == -ENOMEM));
	}
	OK(vellum_mlockall(s->w.mm, VELLUM_MCL_CURRENT));
	OK(vellum_munlockall(s->w.mm));
}

/* --- mremap, stacks and fork --- */

static void run_dontunmap(struct stage *s, bool again)
{
	uint64_t addr = PAGE(3000);
	bool missed = failed(
		s,
		vellum_mremap(s->w.mm, PAGE(2), BYTES(4), BYTES(4),
			      VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_DONTUNMAP | VELLUM_MREMAP_FIXED,
			      &addr),
		-ENOMEM, again);

	if (missed)
		return;
	s->w.host.fail_at = 0;
	for (unsigned i = 2; i < 6; i++) {
		assert_int_equal(load(s->w.cpu[0], PAGE(i)), 0);
		assert_int_equal(load(s->w.cpu[0], PAGE(3000 + i - 2)), 100 + i);
		store(s->w.cpu[0], PAGE(i), 100 + i); /* restore */
	}
	OK(vellum_munmap(s->w.mm, addr, BYTES(4)));
}

static void run_duplicate(struct stage *s, bool again)
{
	uint64_t addr;

	if (failed(s, vellum_mremap(s->w.mm, PAGE(17), 0, BYTES(3), VELLUM_MREMAP_MAYMOVE, &addr),
		   -ENOMEM, again))
		return;
	if (!may_oom(try_load(s->w.cpu[0], addr)))
		assert_int_equal(load(s->w.cpu[0], addr), 117);
	OK(vellum_munmap(s->w.mm, addr, BYTES(3)));
}

static void run_stack(struct stage *s, bool again)
{
	bool oom = may_oom(try_store(s->w.cpu[0], PAGE(1000) - 8, 1));

	assert_false(again && oom);
	s->before.nr = 0;
	list_vmas(s->w.mm, &s->before, true); /* the stack has grown, even if the fault failed */
}

static void run_fork_flags(struct stage *s, bool again)
{
	struct vellum_mm *child;

	OK(vellum_madvise(s->w.mm, PAGE(0), BYTES(8), VELLUM_MADV_WIPEONFORK)); /* no split */
	if (failed(s, vellum_fork(s->w.mm, &child), -ENOMEM, again))
		return;
	vellum_soft_load_mm(s->w.cpu[1], child);
	if (!may_oom(try_store(s->w.cpu[1], PAGE(3), 1)))
		assert_int_equal(load(s->w.cpu[1], PAGE(3)), 1);
	end_child(child, s->w.cpu[1]);
}

/* --- auto trackers: an allocation fails, and no store is missed --- */

static int note_pages(void *arg, uint64_t first, uint64_t nr)
{
	bool *has = arg;

	for (uint64_t i = first - (BASE >> 12); i < first - (BASE >> 12) + nr; i++)
		if (i < 8)
			has[i] = true;
	return 0;
}

static void ignore_switch(void *arg, uint64_t first, uint64_t nr, enum vellum_track_method method)
{
	(void)arg, (void)first, (void)nr, (void)method;
}

static void track_rounds(struct stage *s, bool again, unsigned pages)
{
	if (!s->t &&
	    failed(s, vellum_track_mm(s->w.mm, BASE, PAGE(pages), VELLUM_TRACK_AUTO, &s->t),
		   -ENOMEM, again)) {
		s->t = NULL;
		return;
	}
	vellum_tracker_on_switch(s->t, ignore_switch, s);
	OK(vellum_tracker_costs(s->t, 1000, 1000));
	for (unsigned round = 0; round < 24; round++) {
		bool has[8] = {false}, want[8] = {false};

		for (unsigned i = 0; i < 8; i++) {
			want[i] = round % 8 < 4 || (round % 8 == 7 && i == 3);
			if (want[i])
				store(s->w.cpu[0], PAGE(i), 100 + i);
		}
		OK(vellum_tracker_collect(s->t, 0, ~0ull, note_pages, has));
		for (unsigned i = 0; i < 8; i++)
			assert_true(has[i] || !want[i]);
		for (unsigned i = 0; i < 8 && again && round; i++)
			assert_int_equal(has[i], want[i]);
		if (again)
			check_world(&s->w);
	}
}

static void run_auto(struct stage *s, bool again)
{
	track_rounds(s, again, 2048);
}

static void run_small_auto(struct stage *s, bool again)
{
	track_rounds(s, again, 16);
}

#define OOM_TEST(what, at_least)                                                                   \
	static void oom_##what(void **state)                                                       \
	{                                                                                          \
		(void)state;                                                                       \
		assert_in_range(fail_each(run_##what), at_least, 10000);                           \
	}
OOM_TEST(create, 1)
OOM_TEST(read_write, 1)
OOM_TEST(faults, 0)
OOM_TEST(takes_away, 0)
OOM_TEST(advice, 4)
OOM_TEST(populate, 0)
OOM_TEST(mlock, 2)
OOM_TEST(dontunmap, 3)
OOM_TEST(duplicate, 1)
OOM_TEST(stack, 0)
OOM_TEST(fork_flags, 2)
OOM_TEST(auto, 3)
OOM_TEST(small_auto, 3)

/* --- no free frames, and no page can be reclaimed --- */

static void without_free_frames(void **state)
{
	static uint64_t hoard[4096];
	static struct stage s;
	uint64_t val = 1, addr = PAGE(3000);
	unsigned n = 0;

	(void)state;
	stage_create(&s);
	OK(vellum_mlock(s.w.mm, PAGE(16), BYTES(4), 0));
	vellum_reclaim(s.w.memory, 100);
	while (vellum_memory_alloc_device(s.w.memory, 1, &hoard[n]) == 0)
		n++;
	assert_int_equal(vellum_mapping_read(s.f.mapping, BYTES(50), &val, 8), -ENOMEM);
	assert_int_equal(vellum_mapping_write(s.f.mapping, BYTES(50), &val, 8), -ENOMEM);
	assert_int_equal(vellum_madvise(s.w.mm, PAGE(20), BYTES(4), VELLUM_MADV_POPULATE_READ),
			 -EAGAIN);
	OK(vellum_madvise(s.w.mm, PAGE(20), BYTES(4), VELLUM_MADV_WILLNEED));
	assert_int_equal(vellum_mlock(s.w.mm, PAGE(20), BYTES(1), 0), -EAGAIN);
	assert_int_equal(try_load(s.w.cpu[0], PAGE(24)), VELLUM_FAULT_OOM);
	assert_int_equal(try_store(s.w.cpu[0], PAGE(999), 1), VELLUM_FAULT_OOM);
	assert_int_equal(vellum_copy_to_user(s.w.mm, PAGE(24), &val, 8, NULL), -ENOMEM);
	assert_int_equal(
		vellum_mremap(s.w.mm, PAGE(2), BYTES(4), BYTES(4),
			      VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_DONTUNMAP | VELLUM_MREMAP_FIXED,
			      &addr),
		-ENOMEM);
	check_world(&s.w);
	check_bytes(&s);
	while (n)
		vellum_memory_free_device(s.w.memory, hoard[--n], 1);
	load(s.w.cpu[0], PAGE(24));
	stage_destroy(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(oom_create),	  cmocka_unit_test(oom_read_write),
		cmocka_unit_test(oom_faults),	  cmocka_unit_test(oom_takes_away),
		cmocka_unit_test(oom_advice),	  cmocka_unit_test(oom_populate),
		cmocka_unit_test(oom_mlock),	  cmocka_unit_test(oom_dontunmap),
		cmocka_unit_test(oom_duplicate),  cmocka_unit_test(oom_stack),
		cmocka_unit_test(oom_fork_flags), cmocka_unit_test(oom_auto),
		cmocka_unit_test(oom_small_auto), cmocka_unit_test(without_free_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
