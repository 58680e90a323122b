/* SPDX-License-Identifier: MIT */
/*
 * tests/explore/snapshot_share.c - snapshots: what shares pages with an address space during its restore. Branches and
 * snapshots that are made meanwhile.
 */
#include "snapshot.h"

#include "vellum/device.h"

/* --- other address spaces that share frames: a child of the run, a branch --- */

static const uint64_t child_words[PAGES] = { 60, 61, 13, 14 };
static const uint64_t branch_words[PAGES] = { 60, 61, 0, 4 };

static void setup_child(void)
{
	setup_run();
	MUST(vellum_fork(mm, &other_mm));
	run_other_on_cpu_0();
	for (unsigned i = 0; i < PAGES; i++)
		load(0, i);
}

static void setup_branch(void)
{
	setup_run();
	MUST(vellum_snapshot_branch(snapshot, &other_mm, NULL));
	run_other_on_cpu_0();
	for (unsigned i = 0; i < PAGES; i++)
		load(0, i);
}

static void other_storer(void)
{
	store(0, 0, 60);
	store(0, 1, 61);
}

static const char *child_keeps(void)
{
	const char *why = has_words(other_mm, child_words, "a restore changed a child's memory");

	return why ? why : restores_again();
}

static const char *branch_keeps(void)
{
	const char *why = has_words(other_mm, branch_words, "a restore changed a branch's memory");

	return why ? why : restores_again();
}

static void other_unmapper(void)
{
	if (vellum_munmap(other_mm, PAGE(0), PAGES * PAGE_SIZE))
		violated("munmap failed");
}

/* The other address space may be without the pages. */
static void migrate_first(void)
{
	vellum_migrate_page(other_mm, PAGE(0));	/* -EBUSY is possible: another thread holds a reference */
}

static void migrate_second(void)
{
	vellum_migrate_page(other_mm, PAGE(1));
}

static const char *branch_is_frozen(void)
{
	const char *why = has_words(other_mm, frozen_words, "a branch differs from what was frozen");

	return why ? why : restores_again();
}

static const char *child_is_run(void)
{
	const char *why = has_words(other_mm, run_words, "a restore changed a child's memory");

	return why ? why : restores_again();
}

/* A snapshot of the child, restored at the same time. */
static void setup_two_snapshots(void)
{
	setup_child();
	second_snapshot = freeze_of(other_mm);
	other_storer();
}

static void second_restorer(void)
{
	if (vellum_snapshot_restore(second_snapshot))
		violated("a restore failed");
}

static const char *both_restored(void)
{
	const char *why = has_words(other_mm, run_words, "the second restore left other bytes");

	if (!why)
		why = restored(second_snapshot);
	return why ? why : restores_again();
}

/* --- branches --- */

static void brancher(void)
{
	if (vellum_snapshot_branch(snapshot, &other_mm, NULL))
		violated("a branch failed");
}

static void storer(void)
{
	store(1, 0, 70);
	store(1, 1, 71);
	store(1, 2, 72);
}

static const char *branch_is_frozen_later(void)
{
	const char *why = has_words(other_mm, frozen_words, "a branch differs from what was frozen");

	return why ? why : later_stores_found();
}

/* Two snapshots of one address space. It was restored to the first one last. */
static void setup_nested(void)
{
	setup_run();
	second_snapshot = freeze_of(mm);
	store(1, 0, 80);
	store(1, 1, 81);
	MUST(vellum_snapshot_restore(snapshot));
	run_program();
}

static void brancher_of_second(void)
{
	if (vellum_snapshot_branch(second_snapshot, &other_mm, NULL))
		violated("a branch failed");
}

static const char *both_levels(void)
{
	const char *why = has_words(other_mm, run_words, "a branch differs from what was frozen");

	if (!why)
		why = restores_again();
	if (!why && vellum_snapshot_restore(second_snapshot))
		return "a restore to the other snapshot failed";
	if (!why)
		why = restored(second_snapshot);
	return why ? why : later_stores_found();
}

/* --- a snapshot is made --- */

static void freezer(void)
{
	second_snapshot = freeze_of(mm);
}

static void setup_freeze_reclaim(void)
{
	add_swap();
	setup_run();
	restorer();
	aim_at(mm, 1);
}

static const char *second_frozen(void)
{
	const char *why = restored(second_snapshot);

	if (why)
		return why;
	for (unsigned i = 0; i < PAGES; i++)
		if (try_store(1, i, 90 + i))
			return "a store failed after a snapshot was made";
	if (vellum_snapshot_restore(second_snapshot))
		return "the restore failed";
	why = restored(second_snapshot);
	return why ? why : later_stores_found();
}

/* --- shared memory --- */

static uint64_t replica[PAGES];

static void setup_shared(void)
{
	setup_pages(SHARED);
	snapshot = freeze_of(mm);
	run_program();
	MUST(vellum_snapshot_restore(snapshot));
	run_program();
}

static int consume(void *arg, uint64_t first, uint64_t nr)
{
	(void)arg;
	for (uint64_t i = first; i < first + nr && i < PAGES; i++) {
		pause_here();
		replica[i] = object_bytes((unsigned)i) ? object_word((unsigned)i) : 0;
	}
	return 0;
}

static void collector(void)
{
	MUST(vellum_tracker_collect(snapshot_tracker, 0, ~0ull, consume, NULL));
}

static void setup_shared_tracked(enum vellum_track_method method)
{
	setup_shared();
	MUST(vellum_track_mapping(object, 0, PAGES, method, &snapshot_tracker));
	restorer();
	memcpy(replica, frozen_words, sizeof(replica));
	run_program();
}

static void setup_shared_tracked_wp(void)
{
	setup_shared_tracked(VELLUM_TRACK_WP);
}

static void setup_shared_tracked_clean(void)
{
	setup_shared_tracked(VELLUM_TRACK_CLEAN);
}

static const char *replica_and_frozen_equal(void)
{
	const char *why = replica_equals(collector, replica);

	return why ? why : later_stores_found();
}

static uint64_t clean_and_record(void)
{
	uint64_t bitmap = 0, start = 0, end = 0;

	vellum_clean_record_shared_mapping_range(object, 0, PAGES, 0, &bitmap, &start, &end, NULL);
	return bitmap;
}

static void helper(void)
{
	clean_and_record();
}

static void protector(void)
{
	vellum_wp_shared_mapping_range(object, 0, PAGES, NULL);
}

static const char *next_store_in_bitmap(void)
{
	const char *why = restored(snapshot);

	if (why)
		return why;
	clean_and_record();
	if (try_store(1, 3, 50))
		return "a store failed after a restore";
	return clean_and_record() & 8 ? later_stores_found() : "a store after a restore is not in the helper's bitmap";
}

static void setup_shared_swap(void)
{
	add_swap();
	setup_shared();
	aim_at(mm, 0);
}

/* A child, which the snapshot does not have, maps the pages. */
static void setup_shared_child(void)
{
	setup_shared();
	MUST(vellum_fork(mm, &other_mm));
	run_other_on_cpu_0();
	store(0, 3, 55);
}

static const char *child_stores_found(void)
{
	const char *why = has_words(other_mm, frozen_words, "a restore left another process other shared memory");

	if (!why && vellum_soft_store64(cpu[0], PAGE(3), 56))
		return "a store failed after a restore";
	return why ? why : later_stores_found();
}

const struct scenario snapshot_share_scenarios[] = {
	RESTORE("restore_vs_child", 1, setup_child, child_keeps, THREAD(other_storer)),
	RESTORE("restore_vs_child_exit", 2, setup_child, restores_again, THREAD(other_unmapper)),
	RESTORE("restore_vs_branch_store", 1, setup_branch, branch_keeps, THREAD(other_storer)),
	RESTORE("restore_vs_migration_of_run", 1, setup_child, child_is_run, THREAD(migrate_first)),
	RESTORE("restore_vs_migration_of_frozen", 2, setup_branch, branch_is_frozen, THREAD(migrate_first)),
	RESTORE("restore_vs_migration_of_shared", 1, setup_branch, branch_is_frozen, THREAD(migrate_second)),
	RESTORE("restore_vs_restore_of_child", 1, setup_two_snapshots, both_restored, THREAD(second_restorer)),
	RESTORE("restore_vs_branch_of_another", 1, setup_nested, both_levels, THREAD(brancher_of_second)),
	RESTORE("restore_vs_object_tracker_wp", 1, setup_shared_tracked_wp, replica_and_frozen_equal,
		THREAD(collector)),
	RESTORE("restore_vs_object_tracker_clean", 1, setup_shared_tracked_clean, replica_and_frozen_equal,
		THREAD(collector)),
	RESTORE("restore_vs_helper", 1, setup_shared, next_store_in_bitmap, THREAD(helper)),
	RESTORE("restore_vs_wp_helper", 1, setup_shared, next_store_in_bitmap, THREAD(protector)),
	RESTORE("restore_vs_reclaim_of_object", 1, setup_shared_swap, restores_again, THREAD(reclaimer)),
	RESTORE("restore_vs_migration_of_object", 1, setup_shared_child, child_stores_found, THREAD(migrate_first)),
	{ .name = "branch_vs_store", .setup = setup_run, .thread = { THREAD(brancher), THREAD(storer) },
	  .check_end = branch_is_frozen_later, .teardown = end_snapshots },
	{ .name = "snapshot_vs_reclaim", .bound = 1, .setup = setup_freeze_reclaim, .check_end = second_frozen,
	  .thread = { THREAD(freezer), THREAD(reclaimer) }, .teardown = end_snapshots },
	{ .name = NULL },
};
