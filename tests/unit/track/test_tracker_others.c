/* SPDX-License-Identifier: MIT */
/* What a collection propagates to other trackers, folios and drivers; pins and new pages; idle trackers; arguments. */
#define _GNU_SOURCE
#include "collected.h"
#include "huge_support.h"

#include "mm/track/hooks.h"

/* --- several trackers --- */

/* A collection takes D of 64 entries at a time. Another tracker may begin or end at any of these. */
static void a_collection_propagates_to_neighbours(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *all, *last, *first, *none;

	map_at(w->mm, 0, 256, RW, ANON);
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(256), CLEAN, &all));
	OK(vellum_track_mm(w->mm, PAGE(127), PAGE(256), CLEAN, &last));
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(65), CLEAN, &first));
	OK(vellum_track_mm(w->mm, PAGE(300), PAGE(400), CLEAN, &none));
	for (unsigned i = 63; i < 66; i++)
		store(w->cpu[0], PAGE(i), 1);
	for (unsigned i = 126; i < 129; i++)
		store(w->cpu[0], PAGE(i), 1);
	assert_int_equal(collected(all, BASE_PAGE, 0, 256)->calls, 2);
	for (unsigned i = 0; i < 256; i++)
		assert_false(has_d(w->mm, PAGE(i)));
	assert_int_equal(collect(first, BASE_PAGE + 63), 3);
	assert_int_equal(collect(last, BASE_PAGE + 126), 6);
	assert_int_equal(collect(none, BASE_PAGE), 0);
	vellum_tracker_destroy(last);	/* not in the order of their creation */
	vellum_tracker_destroy(all);
	store(w->cpu[0], PAGE(64), 2);
	dontneed(w->mm, 64, 1);
	assert_int_equal(collect(first, BASE_PAGE + 63), 2);
	vellum_tracker_destroy(none);
	store(w->cpu[0], PAGE(1), 2);
	assert_int_equal(collect(first, BASE_PAGE), 2);
	vellum_tracker_destroy(first);
	assert_false(vma_is_tracked(vma_at(w->mm, PAGE(0))));
}

/* The only other tracker has one page of the 64: the first, the last, or one beside them. */
static void a_neighbour_of_one_page(void **state)
{
	static const unsigned at[] = { 63, 64, 100, 127, 128 };
	struct world *w = *state;

	map_at(w->mm, 0, 256, RW, ANON);
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		struct vellum_tracker *all, *one;

		OK(vellum_track_mm(w->mm, PAGE(0), PAGE(256), CLEAN, &all));
		OK(vellum_track_mm(w->mm, PAGE(at[i]), PAGE(at[i] + 1), CLEAN, &one));
		for (unsigned page = 60; page < 130; page++)
			store(w->cpu[0], PAGE(page), 1);
		collected(all, BASE_PAGE, 64, 128);
		assert_int_equal(has_d(w->mm, PAGE(at[i])), at[i] < 64 || at[i] > 127);
		assert_int_equal(collect(one, BASE_PAGE + at[i]), 1);
		vellum_tracker_destroy(one);
		vellum_tracker_destroy(all);
	}
}

/* --- where dirt goes --- */

static void dirt_of_a_written_back_mapping_reaches_folios(void **state)
{
	struct world *w = *state;

	for (unsigned writeback = 0; writeback < 2; writeback++) {
		uint64_t bitmap = 0, start = 0, end = 0;
		struct vellum_tracker *t;
		struct file f;

		file_create_with(&f, w, 4, &file_ops, writeback ? VELLUM_MAPPING_WRITEBACK : 0);
		map_shared(w->mm, 0, 4, &f, 0);
		for (unsigned i = 0; i < 2; i++) {
			store(w->cpu[0], PAGE(i), 1);
			folio_clear(folio_at(w, i), PG_DIRTY);
		}
		OK(vellum_track_mm(w->mm, PAGE(1), PAGE(2), CLEAN, &t));
		store(w->cpu[0], PAGE(1), 2);
		folio_clear(folio_at(w, 1), PG_DIRTY);
		OK(vellum_clean_record_shared_mapping_range(f.mapping, 1, 3, 0, &bitmap, &start, &end, NULL));
		assert_int_equal(!!(folio_flags(folio_at(w, 0)) & PG_DIRTY), 0);
		assert_int_equal(!!(folio_flags(folio_at(w, 1)) & PG_DIRTY), writeback);
		assert_int_equal(collect(t, BASE_PAGE), 2);
		vellum_tracker_destroy(t);
		unmap(w->mm, 0, 4);
		file_destroy(&f);
	}
}

static int raw_fault(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	if (vmf->pgoff % 2)
		return VELLUM_VMF_FALLBACK;
	vmf->pfn = DEVICE_PFN + vmf->pgoff;
	return VELLUM_VMF_OK;
}

static int page_fault(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx, (void)vmf;
	return VELLUM_VMF_OK;
}

static void note_dirt(void *ctx, uint64_t pgoff)
{
	__atomic_fetch_or((uint64_t *)ctx, 1ull << pgoff, __ATOMIC_RELAXED);
}

/*
 * Raw frames beyond RAM at even pages, others' pages at odd ones. A tracker reports the dirt of raw frames to dirt(),
 * if there is this hook. MADV_FREE somewhere makes it look at folios, which raw frames do not have. Writeback leaves raw
 * frames alone.
 */
static void dirt_of_raw_frames_reaches_the_driver(void **state)
{
	const struct vellum_backing_ops with = { .size = sizeof(with), .fault = page_fault, .pfn_fault = raw_fault,
						 .dirt = note_dirt };
	struct vellum_backing_ops without = with;

	(void)state;
	without.dirt = NULL;
	for (unsigned hook = 0; hook < 2; hook++) {
		void *host = mmap(NULL, BYTES(8), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		struct vellum_mapping *obj;
		struct vellum_tracker *t;
		struct world w;
		uint64_t dirt = 0;

		world_create(&w, 16 << 20);
		OK(vellum_memory_add_device(w.memory, DEVICE_PFN, 8, host));
		OK(vellum_mapping_create(w.memory, hook ? &with : &without, &dirt, 8, VELLUM_MAPPING_MIXED, &obj));
		map_object(w.mm, 0, 8, RW, VELLUM_MAP_SHARED, obj, 0, RW);
		map_at(w.mm, 8, 1, RW, ANON);
		store(w.cpu[0], PAGE(8), 1);
		OK(vellum_madvise(w.mm, PAGE(8), PAGE_SIZE, VELLUM_MADV_FREE));
		OK(vellum_track_mm(w.mm, BASE, PAGE(8), CLEAN, &t));
		for (unsigned i = 1; i < 7; i++)
			store(w.cpu[0], PAGE(i), i);
		assert_int_equal(collect(t, BASE_PAGE), 0x7e);
		assert_int_equal(dirt, hook ? 0x54 : 0);
		vellum_tracker_destroy(t);
		store(w.cpu[0], PAGE(2), 5);
		vellum_mapping_invalidate(obj);
		assert_true(has_w(w.mm, PAGE(2)) && has_d(w.mm, PAGE(2)));
		unmap(w.mm, 0, 9);
		vellum_mapping_put(obj);
		world_destroy(&w);
		munmap(host, BYTES(8));
	}
}

/* --- trackers that watch pages: pins, and new pages --- */

static void watched_pages(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *watching, *other;
	struct vellum_mapping *obj;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 16, 0, &obj));
	map_object(w->mm, 0, 16, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	OK(vellum_track_mapping(obj, 3, 5, WP, &watching));
	OK(vellum_track_mapping(obj, 0, 16, WP, &other));
	tracker_watch_pages(watching, true);
	for (unsigned i = 0; i < 16; i++)
		load(w->cpu[0], PAGE(i));
	assert_int_equal(collect(watching, 0), 0xf8);
	assert_int_equal(collect(other, 0), 0);
	for (unsigned i = 0; i < 16; i++)
		store(w->cpu[0], PAGE(i), i);
	collect(watching, 0);
	collect(other, 0);
	for (unsigned i = 2; i < 10; i++)
		unpin(w, pin(w->mm, PAGE(i), WRITE));
	for (unsigned i = 0; i < 16; i++)
		assert_true(i < 3 || i > 7 || !has_w(w->mm, PAGE(i)) || !tracker_is_idle(watching));
	assert_int_equal(collect(watching, 0), 0xf8);
	collect(other, 0);
	tracker_watch_pages(watching, false);
	unmap(w->mm, 0, 16);
	collect(watching, 0);
	collect(other, 0);
	OK(vellum_mapping_punch_hole(obj, 0, BYTES(16)));
	collect(watching, 0);
	map_object(w->mm, 0, 16, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	load(w->cpu[0], PAGE(4));	/* a new page, but no tracker watches pages */
	assert_int_equal(collect(watching, 0), 0);
	vellum_tracker_destroy(watching);
	vellum_tracker_destroy(other);
	vellum_mapping_put(obj);
}

/* Only a tracker that watches pages has one that is pinned for writing, while its entry keeps W. */
static void pins_of_writable_pages(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 8, 0, &obj));
	map_object(w->mm, 0, 8, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	w->memory->nr_frozen_mappings++;	/* as snapshots do: no pin may take the path that notifies no tracker */
	for (unsigned watches = 0; watches < 2; watches++) {
		struct vellum_tracker *t;

		OK(vellum_track_mapping(obj, 2, 4, CLEAN, &t));
		tracker_watch_pages(t, watches);
		for (unsigned i = 0; i < 8; i++)
			store(w->cpu[0], PAGE(i), i);
		collect(t, 0);
		for (unsigned i = 0; i < 8; i++) {
			uint64_t pfn = pin(w->mm, PAGE(i), WRITE);

			set_entry_at(w->mm, PAGE(i), pte_mkclean(entry_at(w->mm, PAGE(i))));
			unpin(w, pfn);
		}
		assert_int_equal(collect(t, 0), watches ? 0x3c : 0);
		vellum_tracker_destroy(t);
	}
	w->memory->nr_frozen_mappings--;
	vellum_mapping_put(obj);
}

static void idle_trackers(void **state)
{
	struct world *w = *state;

	for (enum vellum_track_method method = CLEAN; method <= VELLUM_TRACK_AUTO; method++) {
		unsigned pages = method == VELLUM_TRACK_AUTO ? 1024 : 8;
		struct vellum_tracker *t;

		map_at(w->mm, 0, 1024, RW, ANON);
		OK(vellum_track_mm(w->mm, PAGE(0), PAGE(pages), method, &t));
		assert_int_equal(tracker_is_idle(t), method != CLEAN);	/* AUTO starts with faults */
		store(w->cpu[0], PAGE(3), 1);
		assert_false(tracker_is_idle(t));
		assert_int_equal(collect(t, BASE_PAGE), 8);
		assert_int_equal(tracker_is_idle(t), method != CLEAN);
		for (unsigned i = 0; i < pages; i++)
			store(w->cpu[0], PAGE(i), 1);
		collect(t, BASE_PAGE);
		assert_int_equal(tracker_is_idle(t), method == WP);	/* AUTO now uses D */
		vellum_tracker_destroy(t);
		unmap(w->mm, 0, 1024);
	}
}

/* The collection that switches AUTO to D takes D for another tracker, and does not find the same stores again. */
static void a_switch_is_no_change(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t, *other;

	map_at(w->mm, 0, 1024, RW, ANON);
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(1024), VELLUM_TRACK_AUTO, &t));
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(1024), CLEAN, &other));
	collected(t, BASE_PAGE, 0, 1024);
	for (unsigned i = 0; i < 1024; i++)
		store(w->cpu[0], PAGE(i), 1);
	assert_int_equal(collected(t, BASE_PAGE, 0, 1024)->calls, 1);
	for (unsigned i = 0; i < 1024; i++)
		assert_true(has_w(w->mm, PAGE(i)) && !has_d(w->mm, PAGE(i)));
	assert_int_equal(collected(t, BASE_PAGE, 0, 1024)->calls, 0);
	assert_int_equal(collected(other, BASE_PAGE, 0, 1024)->calls, 1);
	vellum_tracker_destroy(t);
	vellum_tracker_destroy(other);
}

static void limits_of_arguments(void **state)
{
	const uint64_t max = 1ull << 52;
	struct world *w = *state;
	struct vellum_mapping *obj;
	struct vellum_tracker *t;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 8, 0, &obj));
	assert_int_equal(vellum_track_mm(NULL, BASE, PAGE(1), WP, &t), -EINVAL);
	assert_int_equal(vellum_track_mm(w->mm, BASE, PAGE(1), WP, NULL), -EINVAL);
	assert_int_equal(vellum_track_mapping(NULL, 0, 1, WP, &t), -EINVAL);
	assert_int_equal(vellum_track_mapping(obj, 0, 1, WP, NULL), -EINVAL);
	assert_int_equal(vellum_track_mapping(obj, 0, max + 1, CLEAN, &t), -EINVAL);
	assert_int_equal(vellum_track_mapping(obj, max, 1, CLEAN, &t), -EINVAL);
	assert_int_equal(vellum_track_mapping(obj, max - 1, 2, CLEAN, &t), -EINVAL);
	OK(vellum_track_mapping(obj, max - 1, 1, CLEAN, &t));
	vellum_tracker_destroy(t);
	OK(vellum_track_mapping(obj, 4, max - 4, CLEAN, &t));
	vellum_tracker_destroy(t);
	OK(vellum_track_mm(w->mm, TASK_SIZE - PAGE_SIZE, TASK_SIZE, WP, &t));
	vellum_tracker_destroy(t);
	vellum_mapping_put(obj);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(a_collection_propagates_to_neighbours),
		WORLD_TEST(a_neighbour_of_one_page),
		WORLD_TEST(dirt_of_a_written_back_mapping_reaches_folios),
		cmocka_unit_test(dirt_of_raw_frames_reaches_the_driver),
		WORLD_TEST(watched_pages),
		WORLD_TEST(pins_of_writable_pages),
		WORLD_TEST(idle_trackers),
		WORLD_TEST(a_switch_is_no_change),
		WORLD_TEST(limits_of_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
