/* SPDX-License-Identifier: MIT */
/* What a restore costs: pages that runs have stored to stay mapped, up to a limit; code that was executed. */
#include "snap_support.h"

/* --- faults --- */

/* The second run of stores takes no fault, and only what a run stored to is copied. */
static void run_again(struct snap *s)
{
	uint64_t before;

	store_range(s, 0, 8, 1);
	store_range(s, 20, 2, 1);
	restore(s);
	before = faults_of(s->mm);
	store_range(s, 0, 8, 2);
	store_range(s, 20, 2, 2);
	if (!s->machine->hostile)
		assert_int_equal(faults_of(s->mm), before);
	restore(s);
	assert_int_equal(snap_info(s->snapshot).copied_pages, 10);
	assert_int_equal(snap_info(s->snapshot).dropped_pages, 0);
	store(s->cpu, PAGE(3), 1);
	restore(s);
	assert_int_equal(snap_info(s->snapshot).copied_pages, 1);
	restore(s);
	assert_int_equal(snap_info(s->snapshot).copied_pages, 0);
}

static void run_shared_again(struct snap *s)
{
	store_range(s, 0, 8, 1);
	restore(s);
	assert_int_equal(snap_info(s->snapshot).copied_shared_pages, 8);
	store_range(s, 2, 1, 1);
	restore(s);
	assert_int_equal(snap_info(s->snapshot).copied_shared_pages, 1);
	assert_true(is_in(s->mm, PAGE(2)));
}

static void prepare_shared(struct snap *s)
{
	map_at(s->mm, 0, 16, RW, SHANON);
	store_range(s, 0, 16, 1);
}

/* --- pages that run after run changes --- */

static void prepare_pages(struct snap *s)
{
	map_at(s->mm, 0, 16, RW, ANON);
	store_range(s, 0, 16, 1);
}

static bool is_dirty(const struct snap *s, unsigned page)
{
	return pte_dirty(entry_at(s->mm, PAGE(page)));
}

/* A page that two runs change stays dirty and writable, until a run does not change it. */
static void changed_pages_stay_dirty(struct snap *s)
{
	for (unsigned run = 0; run < 4; run++) {
		store_range(s, 0, 3, 2 + run);
		restore(s);
		assert_int_equal(snap_info(s->snapshot).copied_pages, 3);
		for (unsigned i = 0; i < 4 && run; i++)
			assert_int_equal(is_dirty(s, i), i < 3);
	}
	store(s->cpu, PAGE(1), 9);
	restore(s);
	assert_int_equal(snap_info(s->snapshot).copied_pages, 1);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(is_dirty(s, i), i == 1);
	restore(s);
	assert_int_equal(snap_info(s->snapshot).copied_pages, 0);
	assert_false(is_dirty(s, 1));
	restore(s);
	store_range(s, 0, 3, 9);
	restore(s);
	assert_int_equal(snap_info(s->snapshot).copied_pages, 3);
}

/* A difference in any byte is one. */
static void each_byte_is_compared(struct snap *s)
{
	static const unsigned at[] = { 0, 1, 63, 64, 2047, 2048, 4032, 4095 };
	char byte = 0x77;

	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		store(s->cpu, PAGE(5), i);
		restore(s);
		assert_int_equal(vellum_copy_to_user(s->mm, PAGE(5) + at[i], &byte, 1, NULL), 0);
		restore(s);
		assert_int_equal(snap_info(s->snapshot).copied_pages, 1);
		check_restored(s);
	}
}

/* Collectors report what a run changed, so no D may be left from the run before. */
static void tracked_pages_become_clean(struct snap *s)
{
	struct vellum_tracker *tracker = NULL;

	OK(vellum_track_mm(s->mm, PAGE(0), PAGE(16), VELLUM_TRACK_CLEAN, &tracker));
	for (unsigned run = 0; run < 3; run++) {
		store_range(s, 0, 3, 2 + run);
		restore(s);
		assert_false(is_dirty(s, 0));
	}
	vellum_tracker_destroy(tracker);
}

/* --- the limit --- */

#define MAX_KEPT 32

static void prepare_limited(struct snap *s)
{
	struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = 1, .mms = s->mms, .max_kept_pages = MAX_KEPT };

	map_at(s->mm, 0, 1024, RW, ANON);
	store_range(s, 0, 512, 1);
	take_images(s);
	OK(vellum_snapshot_create(&args, &s->snapshot));
}

/* Hot pages are stored to in each run, others once. */
static void limited_run(struct snap *s, unsigned i)
{
	store_range(s, 0, 8, i);
	store_range(s, 8 + 10 * i % 1000, 10, i);
	restore(s);
}

static void kept_pages_are_bounded(void **state) /* T-snap-16 */
{
	static struct snap s;
	uint64_t at_first, least = ~0ull, faults;

	(void)state;
	snap_open(&s, &machines[0], 0);
	prepare_limited(&s);
	at_first = free_frames(s.w);
	for (unsigned i = 0; i < 300; i++) {
		limited_run(&s, i);
		assert_in_range(snap_info(s.snapshot).kept_pages, 0, MAX_KEPT);
		least = free_frames(s.w) < least ? free_frames(s.w) : least;
	}
	assert_in_range(at_first - least, 8, MAX_KEPT + 4);	/* and tables */
	check_restored(&s);
	limited_run(&s, 300);
	faults = faults_of(s.mm);
	store_range(&s, 0, 8, 5);
	assert_int_equal(faults_of(s.mm), faults);	/* hot pages have stayed */
	restore_and_check(&s);
	snap_close(&s);
}

/* One run stores to more pages than may be kept. */
static void more_than_the_limit_at_once(void **state) /* T-snap-16 */
{
	static struct snap s;

	(void)state;
	for (unsigned i = 0; i < NR_MACHINES; i++) {
		snap_open(&s, &machines[i], 0);
		prepare_limited(&s);
		for (s.round = 0; s.round < 4; s.round++) {
			store_range(&s, 50 * s.round, 600, 9);
			if (s.round == 2)
				reclaim_all(s.w);
			restore_and_check(&s);
			assert_in_range(snap_info(s.snapshot).kept_pages, 0, MAX_KEPT);
		}
		snap_close(&s);
	}
}

/* Pages that are dropped map frozen pages that are swapped out, and markers. The next run removes these. */
static void dropped_pages_leave_swap_entries(void **state) /* T-snap-16 */
{
	static struct snap s;

	(void)state;
	snap_open(&s, &machines[0], 0);
	prepare_limited(&s);
	for (s.round = 0; s.round < 4; s.round++) {
		store_range(&s, 0, 256, 9);
		restore(&s);
		reclaim_all(s.w);
		store_range(&s, 0, 256, 9);
		restore(&s);
		dontneed(s.mm, 8 * s.round, 240);
		restore_and_check(&s);
	}
	snap_close(&s);
}

static void reclaim_takes_kept_pages(void **state) /* T-snap-16 */
{
	static struct snap s;

	(void)state;
	snap_open(&s, &machines[0], 0);
	prepare_private(&s);
	freeze(&s);
	store_range(&s, 0, 16, 9);
	restore(&s);
	assert_int_equal(snap_info(s.snapshot).kept_pages, 16);
	assert_int_equal(snap_info(s.snapshot).frozen_pages, 16 + 4);	/* the zero page has entries, too */
	reclaim_all(s.w);
	restore_and_check(&s);
	snap_close(&s);
}

/* --- executed pages --- */

static unsigned synced;
static uint64_t synced_pfn;

static void count_sync(void *machine, uint64_t pfn)
{
	(void)machine;
	synced++;
	synced_pfn = pfn;
}

static void fetch(struct snap *s, unsigned at)
{
	uint64_t val;

	assert_int_equal(vellum_soft_fetch(s->cpu, PAGE(at), &val, 8), VELLUM_FAULT_OK);
}

static void open_with_sync(struct snap *s)
{
	snap_open(s, &machines[0], 0);
	s->ops = *vellum_soft_mmu_ops();
	s->ops.sync_icache = count_sync;
	OK(vellum_swap_remove(s->w->memory, s->sw.disk.area));
	disk_destroy(&s->sw.disk);
	world_remake(s->w, &s->ops, test_host_ops());
	vellum_soft_load_mm(s->cpu, s->w->mm);
	disk_create(&s->sw.disk, s->w, DISK_SLOTS);
	s->mm = s->mms[0] = s->w->mm;
}

/* The machine hears of each executed page whose bytes a restore puts back in place. */
static void executed_pages_are_synced(void **state) /* T-snap-17 */
{
	static struct snap s;

	(void)state;
	open_with_sync(&s);
	map_at(s.mm, 0, 8, RW | VELLUM_PROT_EXEC, ANON);
	map_at(s.mm, 8, 8, RW | VELLUM_PROT_EXEC, SHANON);
	store_range(&s, 0, 16, 1);
	freeze(&s);
	for (s.round = 0; s.round < ROUNDS; s.round++) {
		store(s.cpu, PAGE(2), 3);
		store(s.cpu, PAGE(3), 3);
		store(s.cpu, PAGE(10), 3);
		fetch(&s, 2);
		fetch(&s, 10);
		synced = 0;
		synced_pfn = 0;
		restore(&s);
		assert_in_range(synced, 2, 3);
		store(s.cpu, PAGE(2), 3);
		fetch(&s, 2);
		synced = 0;
		restore(&s);
		assert_int_equal(synced, 1);
		assert_int_equal(synced_pfn, pte_pfn(entry_at(s.mm, PAGE(2))));
		restore_and_check(&s);
	}
	snap_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE("T-snap-16 the next run takes no faults", prepare_private, run_again),
		SCENE("T-snap-16 the same of shared memory", prepare_shared, run_shared_again),
		SCENE("T-snap-16 pages that run after run changes", prepare_pages, changed_pages_stay_dirty),
		SCENE("T-snap-16 each byte is compared", prepare_pages, each_byte_is_compared),
		SCENE("T-snap-16 tracked pages become clean", prepare_pages, tracked_pages_become_clean),
		cmocka_unit_test(kept_pages_are_bounded),
		cmocka_unit_test(more_than_the_limit_at_once),
		cmocka_unit_test(dropped_pages_leave_swap_entries),
		cmocka_unit_test(reclaim_takes_kept_pages),
		cmocka_unit_test(executed_pages_are_synced),
	};

	return cmocka_run_group_tests_name("snap_kept", tests, NULL, NULL);
}
