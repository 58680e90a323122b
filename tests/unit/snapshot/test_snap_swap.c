/* SPDX-License-Identifier: MIT */
/* Snapshots and swap: which of the run's page and the frozen one is in RAM. */
#include "snap_support.h"

static void prepare_swapped(struct snap *s)
{
	prepare_private(s);
	pageout(s->mm, 0, 8);
	for (unsigned i = 0; i < 8; i++)
		assert_true(is_out(s->mm, PAGE(i)));
}

static void prepare_swapped_twice(struct snap *s)
{
	prepare_swapped(s);
	load_range(s, 0, 4);	/* in RAM and in the swap cache */
}

/* The run's own pages are swapped out. The frozen ones may be too. */
static void run_out(struct snap *s)
{
	store_range(s, 0, 4, 5);
	pageout(s->mm, 0, 8);
	if (s->round == 1)
		load_range(s, 0, 2);
	if (s->round == 2)
		store_range(s, 0, 6, 5);
}

static void run_both_out(struct snap *s)
{
	store_range(s, 0, 4, 5);
	reclaim_all(s->w);
	if (s->round)
		load_range(s, 1, 6);
	if (s->round == 2)
		store_range(s, 2, 2, 6);
}

static void run_frozen_out(struct snap *s)
{
	store_range(s, 0, 4, 5);
	reclaim_all(s->w);
	store_range(s, 0, 4, 6);
}

static void run_in(struct snap *s)
{
	load_range(s, 0, 8);
	if (s->round)
		store_range(s, 2, 4, 3);
	if (s->round == 2)
		dontneed(s->mm, 0, 3);
}

/* Between two restores only reclaim works. */
static void run_reclaim(struct snap *s)
{
	store_range(s, 0, 4, 5);
	restore(s);
	reclaim_all(s->w);
	check_restored(s);
	restore(s);
	reclaim_all(s->w);
	restore(s);
}

static void run_reclaim_and_load(struct snap *s)
{
	reclaim_all(s->w);
	load_range(s, 0, 16);
	restore(s);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(load(s->cpu, PAGE(i) + 8 * i), 100 + i);
	store_range(s, 0, 16, 6);
	restore(s);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(load(s->cpu, PAGE(i) + 8 * i), 100 + i);
}

/* MADV_FREE before the snapshot: what was still there is frozen. */
static void prepare_freed(struct snap *s)
{
	prepare_private(s);
	advise(s, 0, 8, VELLUM_MADV_FREE);
	map_at(s->mm, 512, 512, RW, ANON);
	advise(s, 512, 512, VELLUM_MADV_HUGEPAGE);
	store(s->cpu, PAGE(600), 6);
	advise(s, 512, 512, VELLUM_MADV_FREE);
}

static void run_reclaim_freed(struct snap *s)
{
	reclaim_all(s->w);
	if (s->round)
		load_range(s, 0, 4);
	if (s->round == 2)
		store_range(s, 2, 4, 5);
}

/* swapoff brings in frozen pages, too, and those of runs. */
static void run_swapoff(struct snap *s)
{
	struct disk *d = &s->sw.disk;

	store_range(s, 0, 4, 5);
	reclaim_all(s->w);
	if (s->round)
		store_range(s, 2, 4, 5);
	OK(vellum_swap_remove(s->w->memory, d->area));
	assert_int_equal(vellum_mm_swapped(s->mm), 0);
	OK(vellum_swap_add(s->w->memory, &disk_ops, d, d->nr, &d->area));
}

/* The device fails: a restore that needs the bytes says so, and succeeds when it is repeated. */
static void run_bad_disk(struct snap *s)
{
	uint64_t pfn;
	uint64_t done;

	store_range(s, 0, 4, 5);
	OK(vellum_pin_pages(s->mm, PAGE(1), 1, VELLUM_GUP_WRITE, &pfn, &done));
	reclaim_all(s->w);
	s->sw.disk.read_err = -EIO;
	assert_int_equal(vellum_snapshot_restore(s->snapshot), -EIO);
	check_world(s->w);
	assert_int_equal(vellum_snapshot_verify(s->snapshot, NULL), -EIO);
	s->sw.disk.read_err = 0;
	restore(s);
	assert_int_equal(((uint64_t *)vellum_frame_host(s->w->memory, pfn))[1], 101);
	vellum_unpin_pages(s->w->memory, &pfn, 1);
}

/* Reclaim finds frozen pages by their anon_vma, and a full disk does no harm. */
static void run_full_disk(struct snap *s)
{
	store_range(s, 0, 16, 5);
	s->sw.disk.write_err = -EIO;
	reclaim_all(s->w);
	s->sw.disk.write_err = 0;
	reclaim_all(s->w);
}

/* A range larger than RAM: runs and the frozen pages need swap. */
static void prepare_large(struct snap *s)
{
	map_at(s->mm, 0, 3000, RW, ANON);
	store_range(s, 0, 3000, 1);
}

static void run_large(struct snap *s)
{
	store_range(s, 500 * s->round, 2000, 77);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE("T-snap-06 the run's pages are out", prepare_private, run_out),
		SCENE("T-snap-06 both are out", prepare_private, run_both_out),
		SCENE("T-snap-06 the frozen pages are out", prepare_private, run_frozen_out),
		SCENE("T-snap-06 out in the snapshot", prepare_swapped, run_in),
		SCENE("T-snap-06 out in the snapshot, and again", prepare_swapped, run_both_out),
		SCENE("T-snap-06 in the swap cache in the snapshot", prepare_swapped_twice, run_both_out),
		SCENE("T-snap-06 in the swap cache, then stored to", prepare_swapped_twice, run_in),
		SCENE("T-snap-06 reclaim between restores", prepare_private, run_reclaim),
		SCENE("T-snap-06 reclaim between restores, out before", prepare_swapped, run_reclaim),
		SCENE("T-snap-06 reclaim, and loads of all", prepare_private, run_reclaim_and_load),
		SCENE("T-snap-06 freed by MADV_FREE before the snapshot", prepare_freed, run_reclaim_freed),
		SCENE("T-snap-06 swapoff", prepare_private, run_swapoff),
		SCENE("T-snap-06 swapoff of what was out before", prepare_swapped, run_swapoff),
		SCENE_WITH("T-snap-06 errors of the disk", prepare_private, run_bad_disk, NULL, SCENE_NO_VCACHE | SCENE_AGAIN),
		SCENE("T-snap-06 a disk that is full", prepare_private, run_full_disk),
		SCENE_WITH("T-snap-06 more than RAM", prepare_large, run_large, NULL, SCENE_PLAIN | SCENE_AGAIN),
	};

	return cmocka_run_group_tests_name("snap_swap", tests, NULL, NULL);
}
