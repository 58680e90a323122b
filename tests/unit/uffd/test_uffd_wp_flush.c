/* SPDX-License-Identifier: MIT */
/*
 * userfaultfd: what UFFDIO_WRITEPROTECT flushes, notifies and wakes, huge leaves at the borders of its range, and calls
 * that end early. The machine records each flush.
 */
#include "uffd_support.h"
#include "huge_support.h"
#include "vellum/dirty.h"

struct recorder {
	struct world w;
	struct vellum_mmu_ops ops;
	struct vellum_notifier notifier;
	unsigned flushes, starts, finishes, cache_flushes;
	struct vellum_flush_batch batch;	/* the last one */
	uint64_t seen;				/* the entry of the range, while the last flush ran */
	uint64_t start, end, cache_start, cache_end;
};

static struct recorder *recorder;	/* the machine's context is the soft machine's */

static void record_flush(void *machine, struct vellum_mm *mm, const struct vellum_flush_batch *batch)
{
	recorder->flushes++;
	recorder->batch = *batch;
	recorder->seen = entry_at(mm, batch->range[0].start).val;
	vellum_soft_mmu_ops()->flush(machine, mm, batch);
}

static void record_cache_flush(void *machine, struct vellum_mm *mm, uint64_t start, uint64_t end)
{
	(void)machine, (void)mm;
	recorder->cache_flushes++;
	recorder->cache_start = start;
	recorder->cache_end = end;
}

static void record_start(void *ctx, enum vellum_notifier_event event, uint64_t start, uint64_t end)
{
	struct recorder *r = ctx;

	if (event != VELLUM_NOTIFY_PROTECTION_VMA)
		return;
	r->starts++;
	r->start = start;
	r->end = end;
}

static void record_finish(void *ctx, enum vellum_notifier_event event, uint64_t start, uint64_t end)
{
	struct recorder *r = ctx;

	if (event != VELLUM_NOTIFY_PROTECTION_VMA)
		return;
	r->finishes++;
	assert_int_equal(start, r->start);
	assert_int_equal(end, r->end);
}

static struct recorder *create(uint32_t caps)
{
	struct recorder *r = recorder = calloc(1, sizeof(*r));

	world_create(&r->w, 16 << 20);
	r->ops = *vellum_soft_mmu_ops();
	r->ops.caps |= caps;
	r->ops.flush = record_flush;
	r->ops.flush_cache_range = record_cache_flush;
	world_remake(&r->w, &r->ops, test_host_ops());
	vellum_soft_load_mm(r->w.cpu[0], r->w.mm);
	r->notifier = (struct vellum_notifier){ .size = sizeof(r->notifier), .start = record_start,
						.finish = record_finish, .ctx = r };
	OK(vellum_notifier_register(r->w.mm, &r->notifier));
	return r;
}

static void destroy(struct recorder *r)
{
	vellum_notifier_unregister(r->w.mm, &r->notifier);
	world_destroy(&r->w);
	free(r);
}

/* The call protects, or lifts protection, and flushes @flushes times. */
static void change(struct recorder *r, struct vellum_uffd *u, unsigned at, unsigned pages, bool protect, unsigned flushes)
{
	unsigned before = r->flushes, starts = r->starts, caches = r->cache_flushes;

	OK(vellum_uffd_writeprotect(u, PAGE(at), BYTES(pages), protect ? VELLUM_UFFD_WRITEPROTECT_WP : 0));
	assert_int_equal(r->flushes - before, flushes);
	assert_int_equal(r->starts, starts + 1);
	assert_int_equal(r->finishes, r->starts);
	assert_int_equal(r->start, PAGE(at));
	assert_int_equal(r->end, PAGE(at + pages));
	assert_int_equal(r->cache_flushes, caches + 1);
	assert_int_equal(r->cache_start, PAGE(at));
	assert_int_equal(r->cache_end, PAGE(at + pages));
	check_world(&r->w);
}

static void flushed_exactly(const struct recorder *r, unsigned at, unsigned pages)
{
	assert_int_equal(r->batch.kinds, VELLUM_FLUSH_RIGHTS);
	assert_int_equal(r->batch.nr_ranges, 1);
	assert_int_equal(r->batch.range[0].start, PAGE(at));
	assert_int_equal(r->batch.range[0].end, PAGE(at + pages));
}

/* --- flushes --- */

/* Only entries that lose W are flushed, all at once. */
static void protection_flushes_what_lost_w(void **state)
{
	struct recorder *r = create(0);
	struct world *w = &r->w;
	struct vellum_uffd *u = new_uffd(w, 0);
	pfn_t pfn;

	(void)state;
	map_at(w->mm, 0, 8, RW, ANON);
	for (unsigned i = 0; i < 8; i++)
		if (i < 3)
			load(w->cpu[0], PAGE(i));
		else
			store(w->cpu[0], PAGE(i), i);
	enrol(w, u, 0, 8, WP);
	pfn = pte_pfn(entry_at(w->mm, PAGE(4)));
	change(r, u, 0, 3, true, 0);
	change(r, u, 1, 4, true, 1);
	flushed_exactly(r, 3, 2);
	assert_int_equal(r->batch.nr_frames, 2);
	assert_int_equal(r->batch.frame[1], pfn);
	assert_false(r->batch.all_frames);
	change(r, u, 0, 5, true, 0);
	change(r, u, 0, 8, false, 0);
	change(r, u, 5, 3, false, 0);	/* W, and not protected */
	assert_true(has_w(w->mm, PAGE(4)) && has_w(w->mm, PAGE(7)) && !has_w(w->mm, PAGE(2)));
	vellum_uffd_put(u);
	destroy(r);
}

/* Where CPUs write entries back, each entry is empty while it is flushed, and keeps its D. */
static void entries_are_cleared_first_if_cpus_write_back(void **state)
{
	struct recorder *r = create(VELLUM_MMU_CLEAR_FLUSH);
	struct world *w = &r->w;
	struct vellum_uffd *u = new_uffd(w, 0);
	pte_t pte;

	(void)state;
	map_at(w->mm, 0, 4, RW, ANON);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), i);
	enrol(w, u, 0, 4, WP);
	pte = entry_at(w->mm, PAGE(1));
	change(r, u, 1, 1, true, 1);
	assert_int_equal(r->seen, 0);
	assert_int_equal(r->batch.range[0].start, PAGE(1));
	assert_int_equal(r->batch.range[0].end, PAGE(2));
	assert_int_equal(entry_at(w->mm, PAGE(1)).val, pte_mkuffd_wp(pte).val);
	assert_true(has_d(w->mm, PAGE(1)));
	change(r, u, 1, 1, true, 0);
	change(r, u, 0, 4, true, 3);
	change(r, u, 0, 4, false, 0);
	assert_int_equal(entry_at(w->mm, PAGE(1)).val, pte.val);
	vellum_uffd_put(u);
	destroy(r);
}

/* --- huge leaves --- */

static void map_huge(struct world *w, unsigned at, unsigned leaves)
{
	map_at(w->mm, at, leaves * HUGE, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(at), BYTES(leaves * HUGE), VELLUM_MADV_HUGEPAGE));
	for (unsigned i = 0; i < leaves; i++) {
		store(w->cpu[0], PAGE(at + i * HUGE), 1);
		assert_true(leaf_at(w->mm, PAGE(at + i * HUGE), PMD_SHIFT));
	}
}

static void whole_leaves_are_flushed_once(void **state)
{
	struct recorder *r = create(0);
	struct world *w = &r->w;
	struct vellum_uffd *u = new_uffd(w, 0);
	uint64_t leaf;

	(void)state;
	map_huge(w, HUGE, 2);
	enrol(w, u, HUGE, 2 * HUGE, WP);
	leaf = leaf_at(w->mm, PAGE(HUGE), PMD_SHIFT);
	change(r, u, HUGE, HUGE, true, 1);
	flushed_exactly(r, HUGE, HUGE);
	assert_true(r->batch.all_frames);
	assert_int_equal(leaf_at(w->mm, PAGE(HUGE), PMD_SHIFT), leaf_mkuffd_wp(leaf));
	change(r, u, HUGE, HUGE, true, 0);
	change(r, u, HUGE, HUGE, false, 0);
	assert_int_equal(leaf_at(w->mm, PAGE(HUGE), PMD_SHIFT), leaf_wrprotect(leaf));
	store(w->cpu[0], PAGE(HUGE), 1);
	assert_int_equal(leaf_at(w->mm, PAGE(HUGE), PMD_SHIFT), leaf);
	change(r, u, HUGE, 2 * HUGE, false, 0);	/* W, and not protected */
	assert_int_equal(leaf_at(w->mm, PAGE(HUGE), PMD_SHIFT), leaf);
	vellum_uffd_put(u);
	destroy(r);
}

/* A range that begins or ends inside a leaf splits it. The leaves next to the range stay. */
static void ranges_inside_leaves(void **state)
{
	static const struct { unsigned first, end; bool stays[3]; } cases[] = {
		{ 0, 3 * HUGE, { true, true, true } },
		{ 1, 2 * HUGE, { false, true, true } },
		{ 1, 2 * HUGE + 1, { false, true, false } },
		{ HUGE - 1, HUGE + 1, { false, false, true } },
		{ HUGE, HUGE + 1, { true, false, true } },
		{ HUGE, 2 * HUGE - 1, { true, false, true } },
		{ HUGE + 1, 3 * HUGE, { true, false, true } },
		{ HUGE, 2 * HUGE, { true, true, true } },
	};

	(void)state;
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		unsigned first = HUGE + cases[i / 2].first, end = HUGE + cases[i / 2].end;
		struct recorder *r = create(i & 1 ? VELLUM_MMU_CLEAR_FLUSH : 0);
		struct vellum_uffd *u = new_uffd(&r->w, 0);

		map_huge(&r->w, HUGE, 3);
		enrol(&r->w, u, HUGE, 3 * HUGE, WP);
		guard_writes(&r->w, u, first, end - first);
		for (unsigned page = HUGE; page < 4 * HUGE; page++)
			assert_word(&r->w, page, page >= first && page < end ? IS_WP_PAGE : IS_PAGE);
		for (unsigned leaf = 0; leaf < 3; leaf++) {
			bool outside = HUGE * (leaf + 2) <= first || HUGE * (leaf + 1) >= end;

			assert_int_equal(leaf_at(r->w.mm, PAGE(HUGE * (leaf + 1)), PMD_SHIFT) != 0,
					 i & 1 ? outside : cases[i / 2].stays[leaf]);
		}
		resolve(u, first, end - first);
		for (unsigned page = HUGE; page < 4 * HUGE; page++)
			assert_word(&r->w, page, IS_PAGE);
		vellum_uffd_put(u);
		destroy(r);
	}
}

/* Where there is no table, lifting creates none, and does not touch the leaf behind the range. */
static void lifting_where_there_is_no_table(void **state)
{
	struct recorder *r = create(0);
	struct world *w = &r->w;
	struct vellum_uffd *u = new_uffd(w, VELLUM_UFFD_FEATURE_WP_UNPOPULATED);
	struct mutex *ptl;

	(void)state;
	map_huge(w, 4 * HUGE, 1);
	map_at(w->mm, HUGE, 3 * HUGE, RW, ANON);
	enrol(w, u, HUGE, 3 * HUGE, WP);
	change(r, u, HUGE, 3 * HUGE, false, 0);
	for (unsigned i = 1; i < 4; i++)
		assert_null(pte_lookup(w->mm, PAGE(i * HUGE), &ptl));
	assert_true(leaf_at(w->mm, PAGE(4 * HUGE), PMD_SHIFT));
	vellum_uffd_put(u);
	destroy(r);
}

/* Leaves of frames that store a file are raw: they are split, down to pages that are protected one by one. */
static void raw_leaves_are_split(void **state)
{
	struct scene *s = scene_with(&device_ops, VELLUM_MAPPING_PFN | VELLUM_MAPPING_DEVMAP);
	struct vellum_uffd *u = new_uffd(&s->w, ASYNC);

	(void)state;
	map_device(s->w.mm, 0, GIANT + HUGE, s->d, 0);
	store(s->w.cpu[0], PAGE(0), 1);
	store(s->w.cpu[0], PAGE(GIANT), 1);
	enrol(&s->w, u, 0, GIANT + HUGE, WP);
	guard_writes(&s->w, u, GIANT, HUGE);
	guard_writes(&s->w, u, HUGE, HUGE);
	for (unsigned i = 0; i < HUGE; i++) {
		assert_int_equal(pte_pfn(entry_at(s->w.mm, PAGE(GIANT + i))), DEVICE_PFN + GIANT + i);
		assert_true(pte_uffd_wp(entry_at(s->w.mm, PAGE(GIANT + i))));
		assert_true(pte_uffd_wp(entry_at(s->w.mm, PAGE(HUGE + i))));
	}
	assert_true(leaf_at(s->w.mm, PAGE(2 * HUGE), PMD_SHIFT) && leaf_at(s->w.mm, PAGE(0), PMD_SHIFT));
	vellum_uffd_put(u);
	end_scene(s);
}

/* --- calls that end early --- */

/* A signal that ends the process, or no frame for a table: nothing beyond the first table has changed. */
static void protecting_none_may_fail(void **state)
{
	static uint64_t hoard[4096];
	struct recorder *r = create(0);
	struct world *w = &r->w;
	struct vellum_uffd *u = new_uffd(w, VELLUM_UFFD_FEATURE_WP_UNPOPULATED);
	unsigned n = 0;

	(void)state;
	map_at(w->mm, HUGE, 3 * HUGE, RW, ANON);
	store(w->cpu[0], PAGE(HUGE), 1);
	enrol(w, u, HUGE, 3 * HUGE, WP);
	w->host.interrupted = VELLUM_KILLED;
	assert_int_equal(vellum_uffd_writeprotect(u, PAGE(HUGE), BYTES(3 * HUGE), VELLUM_UFFD_WRITEPROTECT_WP), -EINTR);
	assert_word(w, HUGE, IS_PAGE);
	resolve(u, HUGE, 3 * HUGE);
	w->host.interrupted = 0;
	while (vellum_memory_alloc_device(w->memory, 1, &hoard[n]) == 0)
		n++;
	assert_int_equal(vellum_uffd_writeprotect(u, PAGE(HUGE), BYTES(3 * HUGE), VELLUM_UFFD_WRITEPROTECT_WP), -ENOMEM);
	assert_word(w, HUGE, IS_WP_PAGE);
	assert_word(w, 2 * HUGE - 1, IS_WP_NONE);
	assert_word(w, 2 * HUGE, 0);
	while (n)
		vellum_memory_free_device(w->memory, hoard[--n], 1);
	guard_writes(w, u, HUGE, 3 * HUGE);
	assert_word(w, 4 * HUGE - 1, IS_WP_NONE);
	vellum_uffd_put(u);
	destroy(r);
}

/* If all frames hold clean pages of a file, one of them becomes the table. */
static void protecting_none_reclaims_for_tables(void **state)
{
	static uint64_t hoard[4096];
	struct recorder *r = create(0);
	struct world *w = &r->w;
	struct vellum_uffd *u = new_uffd(w, VELLUM_UFFD_FEATURE_WP_UNPOPULATED);
	struct file f;
	unsigned n = 0;
	uint64_t val;

	(void)state;
	file_create(&f, w, 64);
	map_at(w->mm, HUGE, 1, RW, ANON);
	enrol(w, u, HUGE, 1, WP);
	for (unsigned i = 0; i < 64; i++)
		OK(vellum_mapping_read(f.mapping, BYTES(i), &val, 8));
	while (free_frames(w))
		OK(vellum_memory_alloc_device(w->memory, 1, &hoard[n++]));
	assert_int_equal(nr_cached(&f), 64);
	guard_writes(w, u, HUGE, 1);
	assert_word(w, HUGE, IS_WP_NONE);
	assert_true(nr_cached(&f) < 64);
	while (n)
		vellum_memory_free_device(w->memory, hoard[--n], 1);
	vellum_uffd_put(u);
	file_destroy(&f);
	destroy(r);
}

/* If the call fails at the end of its range, it wakes no thread, also where protection is gone. */
static void failed_lifting_wakes_no_thread(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct job job;

	map_at(w->mm, 0, 8, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	enrol(w, u, 0, 4, WP);
	guard_writes(w, u, 0, 4);
	start_store(w, &job, PAGE(0), 2);
	says_fault(u, &job, PAGE(0), VELLUM_UFFD_FLAG_WRITE | VELLUM_UFFD_FLAG_WP);
	assert_int_equal(vellum_uffd_writeprotect(u, PAGE(0), BYTES(8), 0), -ENOENT);
	assert_int_equal(nr_waiting(w, u), 1);
	OK(vellum_uffd_wake(u, PAGE(0), BYTES(1)));
	ends(&job);
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(protection_flushes_what_lost_w),
		cmocka_unit_test(entries_are_cleared_first_if_cpus_write_back),
		cmocka_unit_test(whole_leaves_are_flushed_once),
		cmocka_unit_test(ranges_inside_leaves),
		cmocka_unit_test(lifting_where_there_is_no_table),
		cmocka_unit_test(raw_leaves_are_split),
		cmocka_unit_test(protecting_none_may_fail),
		cmocka_unit_test(protecting_none_reclaims_for_tables),
		WORLD_TEST(failed_lifting_wakes_no_thread),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
