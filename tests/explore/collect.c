/* SPDX-License-Identifier: MIT */
/* tests/explore/collect.c - trackers: a consumer that copies the collected pages has all stores. */
#include "scenarios.h"

#include "vellum/device.h"

static struct vellum_tracker *tracker[2];
static uint64_t replica[2], last;
static struct vellum_mm *child;
static bool by_object;

static int consume(void *arg, uint64_t first, uint64_t nr)
{
	(void)nr;
	if (by_object ? first == 0 : first == PAGE(0) >> PAGE_SHIFT) {
		pause_here();
		*(uint64_t *)arg = by_object ? object_word(0) : raw_word(mm, 0);
	}
	return 0;
}

static void collect(unsigned who)
{
	MUST(vellum_tracker_collect(tracker[who], 0, ~0ull, consume, &replica[who]));
}

static void collector(void)
{
	collect(0);
}

static void second_collector(void)
{
	collect(1);
}

static void storer(void)
{
	store(1, 0, 2);
	store(1, 0, 3);
	last = 3;
}

static void setup_page(uint32_t flags)
{
	tracker[0] = tracker[1] = NULL;
	child = NULL;
	by_object = false;
	last = replica[0] = replica[1] = 1;
	keep_tables();
	if (flags == SHARED)
		new_object(NULL, 1, 0);
	map_pages(mm, 0, 1, RW, flags, flags == SHARED ? object : NULL, 0);
	store(1, 0, 1);
}

static void track(unsigned who, enum vellum_track_method method)
{
	if (by_object)
		MUST(vellum_track_mapping(object, 0, 1, method, &tracker[who]));
	else
		MUST(vellum_track_mm(mm, PAGE(0), PAGE(8), method, &tracker[who]));
}

static void drop_trackers(void)
{
	vellum_tracker_destroy(tracker[0]);
	vellum_tracker_destroy(tracker[1]);
	vellum_mm_put(child);
}

static void setup_clean(void)
{
	setup_page(PRIVATE);
	track(0, VELLUM_TRACK_CLEAN);
	store(1, 0, 1);
}

static void setup_wp(void)
{
	setup_page(PRIVATE);
	track(0, VELLUM_TRACK_WP);
	store(1, 0, 1);
}

static void setup_both(void)
{
	setup_page(PRIVATE);
	track(0, VELLUM_TRACK_CLEAN);
	track(1, VELLUM_TRACK_WP);
	store(1, 0, 1);
}

static void setup_two_clean(void)
{
	setup_page(PRIVATE);
	track(0, VELLUM_TRACK_CLEAN);
	track(1, VELLUM_TRACK_CLEAN);
	store(1, 0, 1);
}

static void setup_object(enum vellum_track_method method)
{
	setup_page(SHARED);
	by_object = true;
	track(0, method);
	store(1, 0, 1);
}

static void setup_object_clean(void)
{
	setup_object(VELLUM_TRACK_CLEAN);
}

static void setup_object_wp(void)
{
	setup_object(VELLUM_TRACK_WP);
}

static const char *replicas_equal(void)
{
	uint64_t word = by_object ? object_word(0) : raw_word(mm, 0);

	for (unsigned i = 0; i < 2; i++) {
		if (!tracker[i])
			continue;
		collect(i);
		if (replica[i] != word)
			return "INV-TRACK: a store reached memory and no collection";
	}
	return NULL;
}

/* The helper removes D too. It notifies trackers, and a collection must wait until the helper has flushed. */
static void helper(void)
{
	uint64_t bitmap = 0, start = 0, end = 0;

	vellum_clean_record_shared_mapping_range(object, 0, 1, 0, &bitmap, &start, &end, NULL);
}

/* --- changes of pages that no CPU makes --- */

static void writer(void)
{
	const uint64_t val = 5;

	MUST(vellum_copy_to_user(mm, PAGE(0), &val, sizeof(val), NULL));
}

/* As futex(2): the first exchange learns the value. */
static void exchanger(void)
{
	uint32_t expected = 0;

	MUST(vellum_cmpxchg_user(mm, PAGE(0), &expected, 5));
	MUST(vellum_cmpxchg_user(mm, PAGE(0), &expected, 5));
}

static void object_writer(void)
{
	const uint64_t val = 5;

	MUST(vellum_mapping_write(object, 0, &val, sizeof(val)));
}

static void unmapper(void)
{
	MUST(vellum_munmap(mm, PAGE(0), PAGE_SIZE));
}

static void try_storer(void)
{
	for (uint64_t val = 2; val < 4 && !try_store(1, 0, val); val++)
		last = val;
}

static void protector(void)
{
	MUST(vellum_mprotect(mm, PAGE(0), PAGE_SIZE, VELLUM_PROT_READ));
}

/* W without D: the next store sets it. */
static void setup_collected(void)
{
	setup_clean();
	collect(0);
	load(1, 0);
}

static void setup_shared_with_child(void)
{
	setup_page(PRIVATE);
	track(0, VELLUM_TRACK_CLEAN);
	MUST(vellum_fork(mm, &child));
	load(1, 0);
}

static void setup_wp_shared_with_child(void)
{
	setup_page(PRIVATE);
	track(0, VELLUM_TRACK_WP);
	MUST(vellum_fork(mm, &child));
	load(1, 0);
}

static void forker(void)
{
	if (vellum_fork(mm, &child))
		violated("fork failed");
}

/* Migration takes the entry's W and D into a migration entry, and gives them back: a collection meanwhile sees neither. */
static void migrator(void)
{
	vellum_migrate_page(mm, PAGE(0));	/* -EBUSY is possible: another thread holds a reference */
}

static void collect_and_store(void)
{
	collect(0);
	store(0, 0, 5);
	last = 5;
}

static void collect_twice_and_store(void)
{
	collect(0);
	store(0, 0, 5);
	collect(0);
	store(0, 0, 6);
	last = 6;
}

const struct scenario collect_scenarios[] = {
	{ .name = "tracker_wp_vs_migration", .bound = 2, .setup = setup_wp,
	  .thread = { THREAD(migrator), THREAD(collect_and_store) },
	  .check_end = replicas_equal, .teardown = drop_trackers },
	{ .name = "tracker_clean_vs_migration", .bound = 2, .setup = setup_clean,
	  .thread = { THREAD(migrator), THREAD(collect_twice_and_store) },
	  .check_end = replicas_equal, .teardown = drop_trackers },
	{ .name = "object_wp_vs_migration", .bound = 2, .setup = setup_object_wp,
	  .thread = { THREAD(migrator), THREAD(collect_and_store) },
	  .check_end = replicas_equal, .teardown = drop_trackers },
	{ .name = "tracker_clean_vs_store", .bound = 3, .setup = setup_clean,
	  .thread = { THREAD(collector), THREAD(storer) },
	  .check_end = replicas_equal, .teardown = drop_trackers },
	{ .name = "tracker_clean_vs_store_stopped", .machine = STOPS_WALKS | MEMBARRIER, .setup = setup_clean,
	  .thread = { THREAD(collector), THREAD(storer) }, .check_end = replicas_equal, .teardown = drop_trackers,
	  .bound = 1 },
	{ .name = "tracker_wp_vs_store", .bound = 3, .setup = setup_wp,
	  .thread = { THREAD(collector), THREAD(storer) },
	  .check_end = replicas_equal, .teardown = drop_trackers },
	{ .name = "tracker_wp_vs_store_stopped", .machine = STOPS_WALKS, .setup = setup_wp,
	  .thread = { THREAD(collector), THREAD(storer) }, .check_end = replicas_equal, .teardown = drop_trackers },
	{ .name = "tracker_object_clean_vs_store", .setup = setup_object_clean,
	  .thread = { THREAD(collector), THREAD(storer) }, .check_end = replicas_equal, .teardown = drop_trackers },
	{ .name = "tracker_object_wp_vs_store", .setup = setup_object_wp,
	  .thread = { THREAD(collector), THREAD(storer) }, .check_end = replicas_equal, .teardown = drop_trackers },
	{ .name = "trackers_vs_store", .setup = setup_both, .bound = 1,
	  .thread = { THREAD(collector), THREAD(second_collector), THREAD(storer) },
	  .check_end = replicas_equal, .teardown = drop_trackers },
	{ .name = "trackers_clean_vs_store", .setup = setup_two_clean, .bound = 1,
	  .thread = { THREAD(collector), THREAD(second_collector), THREAD(storer) },
	  .check_end = replicas_equal, .teardown = drop_trackers },
	{ .name = "tracker_vs_helper_vs_store", .setup = setup_object_clean, .bound = 1,
	  .thread = { THREAD(helper), THREAD(collector), THREAD(storer) },
	  .check_end = replicas_equal, .teardown = drop_trackers },
	{ .name = "tracker_clean_vs_copy", .setup = setup_clean, .thread = { THREAD(collector), THREAD(writer) },
	  .check_end = replicas_equal, .teardown = drop_trackers },
	{ .name = "tracker_clean_vs_cmpxchg", .setup = setup_clean,
	  .thread = { THREAD(collector), THREAD(exchanger) }, .check_end = replicas_equal,
	  .teardown = drop_trackers },
	{ .name = "tracker_wp_vs_copy", .setup = setup_wp, .thread = { THREAD(collector), THREAD(writer) },
	  .check_end = replicas_equal, .teardown = drop_trackers },
	{ .name = "tracker_clean_vs_mprotect", .bound = 3, .setup = setup_collected,
	  .thread = { THREAD(protector), THREAD(try_storer) }, .check_end = replicas_equal,
	  .teardown = drop_trackers },
	{ .name = "tracker_object_vs_write", .setup = setup_object_clean,
	  .thread = { THREAD(collector), THREAD(object_writer) }, .check_end = replicas_equal,
	  .teardown = drop_trackers },
	{ .name = "tracker_object_vs_munmap_vs_store", .setup = setup_object_clean, .bound = 1,
	  .thread = { THREAD(collector), THREAD(unmapper), THREAD(try_storer) }, .check_end = replicas_equal,
	  .teardown = drop_trackers },
	{ .name = "tracker_clean_vs_cow", .setup = setup_shared_with_child,
	  .thread = { THREAD(collector), THREAD(storer) }, .check_end = replicas_equal, .teardown = drop_trackers },
	{ .name = "tracker_wp_vs_cow", .setup = setup_wp_shared_with_child,
	  .thread = { THREAD(collector), THREAD(storer) }, .check_end = replicas_equal, .teardown = drop_trackers },
	{ .name = "tracker_wp_vs_fork_vs_store", .setup = setup_wp, .bound = 1,
	  .thread = { THREAD(collector), THREAD(forker), THREAD(storer) }, .check_end = replicas_equal,
	  .teardown = drop_trackers },
	{ .name = NULL },
};
