/* SPDX-License-Identifier: MIT */
/*
 * Snapshots without memory: each allocation of the host's memory fails once; and calls with few free frames. A failed
 * call leaves nothing behind, and succeeds when it is repeated with memory.
 */
#include "snap_support.h"

static struct vellum_snapshot *outer;
static struct image *outer_image;
static unsigned nr_failed;

/* --- the state before the call --- */

static void prepare_all(struct snap *s)
{
	prepare_private(s);
	protect(s->mm, 24, 4, RO);
	advise(s, 12, 2, VELLUM_MADV_GUARD_INSTALL);
	OK(vellum_mapping_create(s->w->memory, NULL, NULL, 8, 0, &s->mappings[0]));
	map_object(s->mm, 40, 8, RW, VELLUM_MAP_SHARED, s->mappings[0], 0, RW);
	map_object(s->mm, 50, 4, RW, VELLUM_MAP_PRIVATE, s->mappings[0], 4, RW);
	map_at(s->mm, 60, 4, RW, SHANON);
	map_at(s->mm, 1024, 512, RW, ANON);
	advise(s, 1024, 512, VELLUM_MADV_HUGEPAGE);
	store(s->cpu, PAGE(1024), 1);
	store_range(s, 40, 4, 1);
	store_range(s, 50, 2, 1);
	store_range(s, 60, 2, 1);
	s->nr_mappings = 1;
	if (s->sw.disk.area != ~0u)
		pageout(s->mm, 8, 2);
}

static void run_all(struct snap *s)
{
	store_range(s, 0, 10, 1000);
	store_range(s, 20, 2, 1000);
	unmap(s->mm, 2, 2);
	protect(s->mm, 26, 1, RW);
	advise(s, 12, 1, VELLUM_MADV_GUARD_REMOVE);
	store_range(s, 41, 5, 1000);
	store_range(s, 51, 3, 1000);
	OK(vellum_mapping_set_size(s->mappings[0], BYTES(5)));
	unmap(s->mm, 60, 4);
	unmap(s->mm, 1024 + 8, 8);
	dontneed(s->mm, 1024 + 16, 100);
	map_at(s->mm, 100, 4, RW, ANON);
	store_range(s, 100, 4, 1);
}

/* --- calls --- */

struct attempt {
	void (*before)(struct snap *s);
	int (*call)(struct snap *s);		/* repeated until it succeeds */
	void (*after)(struct snap *s);		/* it has succeeded */
};

static void freeze_twice(struct snap *s)
{
	vellum_soft_write_back(s->w->soft);
	outer_image = take_image(s->mm);
	OK(freeze_all(s, &outer));
	store_range(s, 4, 3, 50);
	store_range(s, 42, 1, 50);
	freeze(s);
}

static void drop_outer(struct snap *s)
{
	OK(vellum_snapshot_restore(outer));
	check_image(s, outer_image, s->mm);
	must_verify(s, outer);
	restore(s);
	check_restored(s);
	vellum_snapshot_destroy(outer);
	outer = NULL;
	free(outer_image);
	outer_image = NULL;
}

static int call_create(struct snap *s)
{
	int err = freeze_all(s, &s->snapshot);

	if (err) {
		assert_null(s->snapshot);
		check_image(s, s->images[0], s->mm);
	}
	return err;
}

static void after_create(struct snap *s)
{
	check_restored(s);
	run_all(s);
	restore_and_check(s);
}

static void before_restore(struct snap *s)
{
	freeze_twice(s);
	run_all(s);
}

static int call_restore(struct snap *s)
{
	return vellum_snapshot_restore(s->snapshot);
}

static void after_restore(struct snap *s)
{
	check_restored(s);
	run_all(s);
	restore(s);
	check_restored(s);
	drop_outer(s);
}

/* Back to the older snapshot: all entries are compared. */
static int call_restore_outer(struct snap *s)
{
	(void)s;
	return vellum_snapshot_restore(outer);
}

static void after_restore_outer(struct snap *s)
{
	check_image(s, outer_image, s->mm);
	drop_outer(s);
}

static void before_branch(struct snap *s)
{
	freeze(s);
	run_all(s);
}

static int call_branch(struct snap *s)
{
	struct vellum_mm *mm;
	int err = vellum_snapshot_branch(s->snapshot, &mm, NULL);

	if (!err)
		vellum_mm_put(mm);
	return err;
}

static void after_branch(struct snap *s)
{
	restore(s);
	check_restored(s);
}

static int call_verify(struct snap *s)
{
	int found = vellum_snapshot_verify(s->snapshot, NULL);

	return found < 0 ? found : 0;
}

/* --- failures --- */

static void finish(struct snap *s, const struct attempt *attempt, int err)
{
	nr_failed += err != 0;
	if (err) {
		assert_int_equal(err, -ENOMEM);
		check_world(s->w);
		OK(attempt->call(s));
	}
	check_world(s->w);
	attempt->after(s);
	snap_close(s);
}

static void begin(struct snap *s, const struct attempt *attempt, bool swap)
{
	snap_open(s, &machines[0], SCENE_AGAIN);
	if (!swap) {
		OK(vellum_swap_remove(s->w->memory, s->sw.disk.area));
		s->sw.disk.area = ~0u;
	}
	prepare_all(s);
	if (attempt->before)
		attempt->before(s);
	else
		take_images(s);
}

/* With swap, reclaim frees pages, and the call succeeds at its second try. */
static void fail_allocations(const struct attempt *attempt, bool swap)
{
	static struct snap s;
	bool injected = true;

	for (unsigned k = 1; injected; k++) {
		uint64_t base;
		int err;

		begin(&s, attempt, swap);
		base = s.w->host.nr_allocs;
		s.w->host.fail_at = base + k;
		err = attempt->call(&s);
		injected = s.w->host.nr_allocs >= base + k;
		s.w->host.fail_at = 0;
		finish(&s, attempt, err);
		assert_true(k < 1000);
	}
}

/* With 0 to 39 free frames, and no swap. */
static void fail_frames(const struct attempt *attempt)
{
	static uint64_t hoard[4096];
	static struct snap s;

	for (unsigned left = 0; left < 40; left++) {
		unsigned n = 0;
		int err;

		begin(&s, attempt, false);
		while (vellum_memory_alloc_device(s.w->memory, 1, &hoard[n]) == 0)
			n++;
		for (unsigned i = 0; i < left && n; i++)
			vellum_memory_free_device(s.w->memory, hoard[--n], 1);
		err = attempt->call(&s);
		check_world(s.w);
		while (n)
			vellum_memory_free_device(s.w->memory, hoard[--n], 1);
		finish(&s, attempt, err);
	}
}

static void oom(void **state)
{
	const struct attempt *attempt = *state;

	fail_allocations(attempt, true);
	nr_failed = 0;
	fail_allocations(attempt, false);
	assert_true(nr_failed > 0);
	nr_failed = 0;
	fail_frames(attempt);
	assert_true(nr_failed > 0 || attempt->call == call_verify);
}

#define OOM(name, ...) { name, oom, NULL, NULL, &(struct attempt){ __VA_ARGS__ } }

int main(void)
{
	const struct CMUnitTest tests[] = {
		OOM("T-snap-21 create", NULL, call_create, after_create),
		OOM("T-snap-21 restore", before_restore, call_restore, after_restore),
		OOM("T-snap-21 restore to an older snapshot", before_restore, call_restore_outer, after_restore_outer),
		OOM("T-snap-21 branch", before_branch, call_branch, after_branch),
		OOM("T-snap-21 verify", before_branch, call_verify, after_branch),
	};

	return cmocka_run_group_tests_name("snap_oom", tests, NULL, NULL);
}
