/* SPDX-License-Identifier: MIT */
/* Pins for writing: the page becomes dirty, trackers that watch pages record it, and which files refuse such pins. */
#include "huge_support.h"
#include "mm/track/hooks.h"
#include "vellum/dirty.h"

#define SLOW	 VELLUM_GUP_DUMP	/* has no fast path; without a fault it changes nothing else */
#define LAZYFREE(w, pfn) (page_flags(w, pfn) & PG_LAZYFREE)

/* --- the page becomes dirty --- */

enum dirt { CLEAN, ENTRY_DIRTY };

/* Make the page at @at as it is after writeback, but with W: neither its entry nor its folio is dirty. */
static uint64_t make_clean(struct world *w, unsigned at, enum dirt dirt)
{
	pte_t pte = pte_mkwrite(pte_mkclean(entry_at(w->mm, PAGE(at))));

	set_entry_at(w->mm, PAGE(at), dirt == CLEAN ? pte : pte_mkdirty(pte));
	folio_clear(folio_at(w, at), PG_DIRTY);
	return pte_pfn(pte);
}

/* One pin or reference of page @at, which has @dirt. @marks: it must mark the folio dirty. */
static void take_one(struct world *w, unsigned at, uint32_t flags, enum dirt dirt, bool marks)
{
	uint64_t want = make_clean(w, at, dirt), pfn;
	pte_t pte = entry_at(w->mm, PAGE(at));

	OK(gup_one(w->mm, PAGE(at), flags, &pfn));
	assert_int_equal(pfn, want);
	assert_int_equal(is_dirty_page(w, pfn), marks);
	assert_int_equal(vellum_page_maybe_pinned(w->memory, pfn), (flags & PIN) != 0);
	assert_int_equal(entry_at(w->mm, PAGE(at)).val, pte.val);
	give_one(w->memory, flags, pfn);
	assert_int_equal(is_dirty_page(w, pfn), marks);
	assert_int_equal(vellum_page_maybe_pinned(w->memory, pfn), 0);
}

/*
 * The slow path marks the folio dirty at once if the entry has no D. The fast path, as Linux's, leaves the mark to
 * vellum_unpin_pages_dirty().
 */
static void take_each(struct world *w, unsigned at)
{
	for (unsigned pin = 0; pin < 2; pin++) {
		uint32_t how = pin ? PIN : 0;

		take_one(w, at, how | SLOW | WRITE, CLEAN, true);
		take_one(w, at, how | SLOW | WRITE, ENTRY_DIRTY, false);
		take_one(w, at, how | SLOW, CLEAN, false);
		take_one(w, at, how | FAST | WRITE, CLEAN, false);
		take_one(w, at, how | FAST, CLEAN, false);
	}
}

/* The neighbours of the pinned page stay clean. */
static void pin_for_writing_marks_each_kind_of_page(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *object = new_object(w, c, 4);
	struct file f;

	file_create(&f, w, 4);
	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 4, 4, RW, SHANON);
	map_shared(w->mm, 8, 4, &f, 0);
	map_private(w->mm, 12, 4, &f, 0);
	map_object(w->mm, 16, 4, RW, VELLUM_MAP_SHARED, object, 0, RW);
	for (unsigned at = 0; at < 20; at += 4) {
		for (unsigned i = 0; i < 4; i++)
			store(w->cpu[0], PAGE(at + i), 1);
		for (unsigned i = 0; i < 4; i++)
			make_clean(w, at + i, CLEAN);
		take_each(w, at + 1);
		for (unsigned i = 0; i < 4; i++) {
			if (i != 1)
				assert_false(is_dirty_page(w, pte_pfn(entry_at(w->mm, PAGE(at + i)))));
			store(w->cpu[0], PAGE(at + i), 1);
			folio_mark_dirty(folio_at(w, at + i));
		}
	}
	check_world(w);
	unmap(w->mm, 0, 20);
	vellum_mapping_put(object);
	file_destroy(&f);
}

/* A slow pin after MADV_FREE keeps what is stored through it, even if the page is unpinned as clean. */
static void pin_ends_madv_free(void **state)
{
	struct world *w = *state;
	struct ram_swap swap;
	uint64_t pfn;

	ram_swap_start(w, &swap, 64);
	for (unsigned writes = 0; writes < 2; writes++) {
		map_at(w->mm, 0, 1, RW, ANON);
		store(w->cpu[0], PAGE(0), 1);
		OK(vellum_madvise(w->mm, PAGE(0), BYTES(1), VELLUM_MADV_FREE));
		pfn = pte_pfn(entry_at(w->mm, PAGE(0)));
		assert_true(LAZYFREE(w, pfn) && !is_dirty_page(w, pfn) && !has_d(w->mm, PAGE(0)));
		assert_int_equal(pin(w->mm, PAGE(0), SLOW | (writes ? WRITE : 0)), pfn);
		frame_words(w, pfn)[0] = 2;
		unpin(w, pfn);
		for (unsigned i = 0; i < 4; i++)
			vellum_reclaim(w->memory, 1000);
		check_world(w);
		assert_int_equal(load(w->cpu[0], PAGE(0)), writes ? 2 : 0);
		unmap(w->mm, 0, 1);
	}
	ram_swap_stop(w, &swap);
}

static struct world *huge_anon(unsigned at)
{
	struct world *w = malloc(sizeof(*w));

	world_create(w, 16 << 20);
	map_at(w->mm, at, HUGE, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(at), BYTES(HUGE), VELLUM_MADV_HUGEPAGE));
	store(w->cpu[0], PAGE(at), 1);
	assert_true(leaf_at(w->mm, PAGE(at), PMD_SHIFT));
	return w;
}

/* Only the pages that are pinned become dirty. Without SPLIT_PMD, the leaf stays. */
static void pages_of_a_huge_page(void **state)
{
	static const uint32_t how[] = { FAST, SLOW, VELLUM_GUP_SPLIT_PMD };
	struct world *w = huge_anon(HUGE);
	uint64_t pfn[HUGE], nr, first = leaf_pfn(leaf_at(w->mm, PAGE(HUGE), PMD_SHIFT), PMD_SHIFT);

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(how); i++)
		for (unsigned writes = 0; writes < 2; writes++) {
			OK(vellum_madvise(w->mm, PAGE(HUGE), BYTES(HUGE), VELLUM_MADV_FREE));
			OK(vellum_pin_pages(w->mm, PAGE(HUGE + 510), 2, how[i] | (writes ? WRITE : 0), pfn, &nr));
			assert_int_equal(nr, 2);
			for (unsigned page = 0; page < HUGE; page++) {
				assert_int_equal(is_dirty_page(w, first + page), writes && how[i] != FAST && page >= 510);
				assert_int_equal(vellum_page_maybe_pinned(w->memory, first + page), page >= 510);
			}
			assert_int_equal(pfn[0], first + 510);
			assert_int_equal(pfn[1], first + 511);
			vellum_unpin_pages(w->memory, pfn, 2);
			assert_int_equal(leaf_at(w->mm, PAGE(HUGE), PMD_SHIFT) != 0, how[i] != VELLUM_GUP_SPLIT_PMD);
			check_world(w);
			if (how[i] == VELLUM_GUP_SPLIT_PMD)
				break;	/* there is no leaf any more */
		}
	world_destroy(w);
	free(w);
}

/* --- trackers --- */

/* Trackers that watch pages record slow pins for writing, since the stores leave no trace. Others do not. */
static void watching_trackers_record_pins(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *of_mm, *of_object;
	struct vellum_mapping *shm;
	uint64_t pfn;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 4, 0, &shm));
	map_at(w->mm, 0, 4, RW, ANON);
	map_object(w->mm, 8, 4, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(16), VELLUM_TRACK_CLEAN, &of_mm));
	OK(vellum_track_mapping(shm, 0, 4, VELLUM_TRACK_CLEAN, &of_object));
	for (unsigned i = 0; i < 4; i++) {
		store(w->cpu[0], PAGE(i), 1);
		store(w->cpu[0], PAGE(8 + i), 1);
	}
	for (unsigned on = 0; on < 2; on++) {
		tracker_watch_pages(of_mm, on);
		tracker_watch_pages(of_object, on);
		for (unsigned writes = 0; writes < 2; writes++) {
			uint32_t flags = SLOW | PIN | (writes ? WRITE : 0);

			collect(of_mm, PAGE(0) >> 12);
			collect(of_object, 0);
			for (unsigned at = 1; at < 12; at += 9) {
				OK(gup_one(w->mm, PAGE(at), flags, &pfn));
				give_one(w->memory, PIN, pfn);
			}
			assert_int_equal(collect(of_mm, PAGE(0) >> 12), on && writes ? 1 << 1 | 1 << 10 : 0);
			assert_int_equal(collect(of_object, 0), on && writes ? 1 << 2 : 0);
		}
	}
	check_world(w);
	vellum_tracker_destroy(of_mm);
	vellum_tracker_destroy(of_object);
	unmap(w->mm, 0, 12);
	vellum_mapping_put(shm);
}

/* While a snapshot watches, the slow path has to take pins for writing: of mappings, or of the whole address space. */
static void snapshots_need_the_slow_path(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 1, RW, ANON);
	map_at(w->mm, 1, 1, RW, SHANON);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(1), 1);
	w->memory->nr_frozen_mappings++;
	OK(try_gup(w, w->mm, PAGE(0), FAST | PIN | WRITE));
	OK(try_gup(w, w->mm, PAGE(1), FAST | PIN));
	for (unsigned pin = 0; pin < 2; pin++) {
		assert_int_equal(try_gup(w, w->mm, PAGE(1), FAST | (pin ? PIN : 0) | WRITE), -EAGAIN);
		OK(try_gup(w, w->mm, PAGE(1), (pin ? PIN : 0) | WRITE));
	}
	w->memory->nr_frozen_mappings--;
	OK(try_gup(w, w->mm, PAGE(1), FAST | PIN | WRITE));
}

/* --- which files refuse --- */

static int no_pfn(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx, (void)vmf;
	return VELLUM_VMF_FALLBACK;
}

struct backing {
	bool faults, page_mkwrite, pfn_mkwrite;
	uint32_t flags;
	bool tracked;	/* shared: stores have to be noticed */
	bool fast;	/* the fast path may take a long-term pin for writing of its cached pages */
};

static const struct backing backings[] = {
	{ false, false, false, 0, false, true },
	{ false, true, false, 0, true, false },
	{ false, false, true, 0, true, false },
	{ true, false, false, 0, false, false },
	{ true, true, false, 0, true, false },
	{ true, false, true, 0, true, false },
	{ false, false, false, VELLUM_MAPPING_WRITEBACK, true, false },
	{ true, false, false, VELLUM_MAPPING_WRITEBACK, true, false },
	{ true, true, true, VELLUM_MAPPING_WRITEBACK, true, false },
	{ false, false, false, VELLUM_MAPPING_MIXED, false, false },
	{ true, true, false, VELLUM_MAPPING_MIXED, true, false },
	{ false, false, false, VELLUM_MAPPING_READ_FIRST, false, true },
};

/* The answer to an access of a page that the process has written to, if its VMA allows stores. */
static int answer(const struct backing *b, bool shared, bool writable, uint32_t flags)
{
	bool refused = b->tracked && shared && writable && (flags & PIN) && (flags & LONGTERM) && (flags & WRITE);

	if (refused)
		return -EFAULT;
	if ((flags & WRITE) && !writable)
		return (flags & FORCE) && !shared ? 0 : -EFAULT;
	return 0;
}

static void ask(struct world *w, const struct backing *b, bool shared, bool writable, uint32_t flags)
{
	int want = answer(b, shared, writable, flags), fast;

	assert_int_equal(try_gup(w, w->mm, PAGE(1), flags), want);
	fast = try_gup(w, w->mm, PAGE(1), flags | FAST);
	if (fast != -EAGAIN)
		assert_int_equal(fast, want);
	if (shared && writable && (flags & (WRITE | LONGTERM)) == (WRITE | LONGTERM))
		assert_int_equal(fast, b->fast && !(flags & FORCE) ? 0 : -EAGAIN);
	else if (shared && writable && (flags & WRITE) && !(flags & FORCE))
		OK(fast);
}

static void ask_all(struct world *w, const struct backing *b, struct vellum_mapping *mapping)
{
	for (unsigned how = 0; how < 8; how++) {
		bool shared = how & 1, writable = !(how & 2);
		uint32_t force = how & 4 ? FORCE : 0;

		map_object(w->mm, 0, 3, RW, shared ? VELLUM_MAP_SHARED : VELLUM_MAP_PRIVATE, mapping, 0, RW);
		store(w->cpu[0], PAGE(1), 1);
		if (!writable)
			protect(w->mm, 0, 3, RO);
		ask(w, b, shared, writable, force | WRITE);
		ask(w, b, shared, writable, force | PIN | WRITE);
		ask(w, b, shared, writable, force | PIN | WRITE | LONGTERM);
		ask(w, b, shared, writable, force | PIN | LONGTERM);
		unmap(w->mm, 0, 3);
	}
}

static void longterm_writes_of_tracked_files_are_refused(void **state)
{
	struct world *w = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(backings); i++) {
		const struct backing *b = &backings[i];
		struct vellum_backing_ops ops = counting_ops;
		struct counting *c = new_counting();
		struct vellum_mapping *mapping;

		ops.fault = b->faults ? counting_ops.fault : NULL;
		ops.page_mkwrite = b->page_mkwrite ? counting_ops.page_mkwrite : NULL;
		ops.pfn_mkwrite = b->pfn_mkwrite ? counting_ops.page_mkwrite : NULL;
		ops.pfn_fault = b->flags & VELLUM_MAPPING_MIXED ? no_pfn : NULL;
		OK(vellum_mapping_create(w->memory, &ops, c, 3, b->flags, &mapping));
		ask_all(w, b, mapping);
		vellum_mapping_put(mapping);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(pin_for_writing_marks_each_kind_of_page),
		WORLD_TEST(pin_ends_madv_free),
		cmocka_unit_test(pages_of_a_huge_page),
		WORLD_TEST(watching_trackers_record_pins),
		WORLD_TEST(snapshots_need_the_slow_path),
		WORLD_TEST(longterm_writes_of_tracked_files_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
