/* SPDX-License-Identifier: MIT */
/* Trackers at the edges of their ranges: which pages they record, and which entries a collection changes. */
#define _GNU_SOURCE
#include "collected.h"
#include "huge_support.h"

#include "mm/track/hooks.h"

/* --- collections of parts, page by page --- */

struct part {
	unsigned first, end;
};

static const struct part parts[] = {
	{ 0, 1200 }, { 1, 64 }, { 60, 123 }, { 64, 128 }, { 500, 575 }, { 511, 513 }, { 512, 1024 }, { 700, 763 },
	{ 3, 4 }, { 1023, 1100 }, { 100, 1163 }, { 1199, 1200 },
};

static void collect_parts(struct world *w, enum vellum_track_method method)
{
	bool pending[1200] = { false };
	struct vellum_tracker *t;
	pte_t before[1200];
	uint64_t seed = 5;

	map_at(w->mm, 0, 1200, RW, ANON);
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(1200), method, &t));
	for (unsigned round = 0; round < 3 * ARRAY_SIZE(parts); round++) {
		const struct part *p = &parts[round % ARRAY_SIZE(parts)];
		unsigned one_in = 1u << random_below(&seed, 6);
		struct set *s;

		for (unsigned i = 0; i < 1200; i++)
			if (!random_below(&seed, one_in)) {
				store(w->cpu[0], PAGE(i), i);
				pending[i] = true;
			}
		for (unsigned i = 0; i < 1200; i++)
			before[i] = entry_at(w->mm, PAGE(i));
		s = collected(t, BASE_PAGE, p->first, p->end);
		for (unsigned i = 0; i < 1200; i++) {
			bool inside = i >= p->first && i < p->end;
			pte_t wanted = method == CLEAN ? pte_mkclean(before[i]) : pte_wrprotect(before[i]);

			assert_int_equal(s->has[i], inside && pending[i]);
			assert_int_equal(entry_at(w->mm, PAGE(i)).val, inside ? wanted.val : before[i].val);
			pending[i] = pending[i] && !inside;
		}
	}
	vellum_tracker_destroy(t);
	unmap(w->mm, 0, 1200);
}

static void parts_of_a_clean_tracker(void **state)
{
	collect_parts(*state, CLEAN);
}

static void parts_of_a_wp_tracker(void **state)
{
	collect_parts(*state, WP);
}

/* A page that is recorded, but has no W now, stays as it is, and nothing is flushed for it. */
static void recorded_pages_without_w(void **state)
{
	struct world *w = *state;
	pte_t odd = pte_make(swp_entry_pte(SWP_HWPOISON, 1).val | 0x2);	/* soft-dirty, where a present entry has RW */
	struct vellum_tracker *t;
	uint64_t flushes;

	map_at(w->mm, 0, 8, RW, ANON);
	OK(vellum_track_mm(w->mm, BASE, PAGE(8), WP, &t));
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), i);
	dontneed(w->mm, 0, 4);
	load(w->cpu[0], PAGE(1));
	set_entry_at(w->mm, PAGE(2), odd);
	flushes = count_of(w, VELLUM_COUNT_TLB_FLUSHES);
	assert_int_equal(collect(t, BASE_PAGE), 0xf);
	assert_int_equal(count_of(w, VELLUM_COUNT_TLB_FLUSHES), flushes);
	assert_int_equal(entry_at(w->mm, PAGE(2)).val, odd.val);
	set_entry_at(w->mm, PAGE(2), pte_make(0));
	vellum_tracker_destroy(t);
}

/* --- a tracker of a mapping: private VMAs keep D and W --- */

static void private_vmas_of_a_tracked_mapping(void **state)
{
	struct world *w = *state;

	for (unsigned method = 0; method < 2; method++) {
		struct vellum_mapping *obj = new_object(w, new_counting(), 8);
		struct vellum_tracker *t;
		pte_t private;

		map_object(w->mm, 0, 8, RW, VELLUM_MAP_SHARED, obj, 0, RW);
		map_object(w->mm, 16, 8, RW, VELLUM_MAP_PRIVATE, obj, 0, RW);
		OK(vellum_track_mapping(obj, 2, 4, method, &t));
		for (unsigned i = 0; i < 8; i++)
			store(w->cpu[0], PAGE(i), i);
		store(w->cpu[0], PAGE(19), 1);
		private = entry_at(w->mm, PAGE(19));
		assert_int_equal(collect(t, 0), 0x3c);
		assert_int_equal(entry_at(w->mm, PAGE(19)).val, private.val);
		for (unsigned i = 0; i < 8; i++) {
			bool tracked = i >= 2 && i < 6;

			assert_int_equal(has_w(w->mm, PAGE(i)), !(tracked && method == WP));
			assert_int_equal(has_d(w->mm, PAGE(i)), !(tracked && method == CLEAN));
		}
		vellum_tracker_destroy(t);
		unmap(w->mm, 0, 24);
		vellum_mapping_put(obj);
	}
}

/* --- notifiers --- */

struct note {
	unsigned starts, finishes, wrong;
	uint64_t start, end;
};

static void on_start(void *ctx, enum vellum_notifier_event event, uint64_t start, uint64_t end)
{
	struct note *n = ctx;

	n->starts++;
	n->wrong += event != VELLUM_NOTIFY_PROTECTION_PAGE || start != n->start || end != n->end;
}

static void on_finish(void *ctx, enum vellum_notifier_event event, uint64_t start, uint64_t end)
{
	struct note *n = ctx;

	n->wrong += event != VELLUM_NOTIFY_PROTECTION_PAGE || start != n->start || end != n->end;
	n->wrong += ++n->finishes != n->starts;
}

static void collections_notify(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = new_object(w, new_counting(), 16);
	struct note n = { .starts = 0 };
	struct vellum_notifier notifier = { .size = sizeof(notifier), .start = on_start, .finish = on_finish,
					    .ctx = &n };
	struct vellum_tracker *t[2];

	map_object(w->mm, 4, 12, RW, VELLUM_MAP_SHARED, obj, 4, RW);
	OK(vellum_track_mm(w->mm, PAGE(5), PAGE(9), WP, &t[0]));
	OK(vellum_track_mapping(obj, 2, 7, CLEAN, &t[1]));
	OK(vellum_notifier_register(w->mm, &notifier));
	n.start = PAGE(5);
	n.end = PAGE(9);
	collect(t[0], BASE_PAGE);
	assert_int_equal(n.starts, 1);
	n.start = PAGE(4);	/* the part of the range that the VMA maps */
	collect(t[1], 0);
	assert_int_equal(n.starts, 2);
	assert_int_equal(n.finishes, 2);
	assert_int_equal(n.wrong, 0);
	vellum_notifier_unregister(w->mm, &notifier);
	vellum_tracker_destroy(t[0]);
	vellum_tracker_destroy(t[1]);
	vellum_mapping_put(obj);
}

/* --- W is withheld from exactly the tracked pages --- */

static void mprotect_grants_w_beside_the_range(void **state)
{
	struct world *w = *state;

	for (unsigned of_mapping = 0; of_mapping < 2; of_mapping++)
		for (unsigned method = 0; method < 2; method++) {
			struct vellum_mapping *obj = new_object(w, new_counting(), 8);
			struct vellum_tracker *t;

			map_object(w->mm, 0, 8, RW, of_mapping ? VELLUM_MAP_SHARED : VELLUM_MAP_PRIVATE, obj, 0, RW);
			for (unsigned i = 0; i < 8; i++)
				store(w->cpu[0], PAGE(i), i);
			if (of_mapping)
				OK(vellum_track_mapping(obj, 2, 4, method, &t));
			else
				OK(vellum_track_mm(w->mm, PAGE(2), PAGE(6), method, &t));
			protect(w->mm, 0, 8, RO);
			protect(w->mm, 0, 8, RW);
			for (unsigned i = 0; i < 8; i++)
				if (i < 2 || i > 5 || method == WP)
					assert_int_equal(has_w(w->mm, PAGE(i)), i < 2 || i > 5);
			vellum_tracker_destroy(t);
			unmap(w->mm, 0, 8);
			vellum_mapping_put(obj);
		}
}

/* One tracker by faults suffices, wherever it stands among others. */
static void mprotect_looks_at_all_trackers(void **state)
{
	struct world *w = *state;

	for (unsigned by_faults = 0; by_faults < 4; by_faults++) {	/* 3: none */
		struct vellum_tracker *t[3];

		map_at(w->mm, 0, 4, RW, ANON);
		store(w->cpu[0], PAGE(1), 1);
		for (unsigned i = 0; i < 3; i++)
			OK(vellum_track_mm(w->mm, PAGE(0), PAGE(4), i == by_faults ? WP : CLEAN, &t[i]));
		store(w->cpu[0], PAGE(1), 2);
		protect(w->mm, 0, 4, RO);
		protect(w->mm, 0, 4, RW);
		assert_int_equal(has_w(w->mm, PAGE(1)), by_faults == 3);
		for (unsigned i = 0; i < 3; i++)
			vellum_tracker_destroy(t[i]);
		unmap(w->mm, 0, 4);
	}
}

/* --- changes of a mapping without an entry --- */

/* As write(2) and holes report it: trackers see the part that is in their ranges. */
static void changes_of_a_mapping_are_recorded_to_the_page(void **state)
{
	static const unsigned lengths[] = { 1, 2, 63, 64, 65, 127, 128, 129, 300 };
	struct world *w = *state;
	struct vellum_tracker *of_mm, *of_mapping;
	struct vellum_mapping *obj;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 600, 0, &obj));
	map_object(w->mm, 1000, 400, RW, VELLUM_MAP_SHARED, obj, 100, RW);
	OK(vellum_track_mm(w->mm, PAGE(1050), PAGE(1350), WP, &of_mm));
	OK(vellum_track_mapping(obj, 150, 200, WP, &of_mapping));
	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++)
		for (unsigned first = 0; first + lengths[i] <= 600; first += i % 2 ? 149 : 50) {
			unsigned last = first + lengths[i] - 1;
			struct set *s;

			track_mapping_range(obj, first, last);
			s = collected(of_mapping, 0, 0, MAX_PAGES);
			for (unsigned page = 0; page < 600; page++)
				assert_int_equal(s->has[page],
						 page >= first && page <= last && page >= 150 && page < 350);
			s = collected(of_mm, BASE_PAGE, 0, MAX_PAGES);
			for (unsigned page = 0; page < 600; page++)
				assert_int_equal(s->has[page + 900],
						 page >= first && page <= last && page >= 150 && page < 450);
		}
	vellum_tracker_destroy(of_mm);
	vellum_tracker_destroy(of_mapping);
	vellum_mapping_put(obj);
}

/* A record of 2^28 pages or more would take too much memory: all pages count as changed instead. */
static void a_record_of_too_many_pages_overflows(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj;
	struct vellum_tracker *t;
	struct set s = { .answer = 7 };
	uint64_t live;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 16, 0, &obj));
	OK(vellum_track_mapping(obj, 0, (1ull << 28) + 1, WP, &t));
	live = w->host.live;
	track_mapping_range(obj, 0, ~0ull);
	assert_int_equal(w->host.live, live);
	OK(vellum_tracker_collect(t, 20, 30, add_run, &(struct set){ .base = 0 }));
	assert_int_equal(vellum_tracker_collect(t, 5, 9, add_run, &s), 7);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(s.has[i], i >= 5 && i < 9);
	vellum_tracker_destroy(t);
	OK(vellum_track_mapping(obj, 1ull << 28, 64, WP, &t));	/* few pages, at high indices, fit into a record */
	track_mapping_range(obj, (1ull << 28) + 3, (1ull << 28) + 4);
	assert_int_equal(collect(t, 1ull << 28), 0x18);
	vellum_tracker_destroy(t);
	vellum_mapping_put(obj);
}

/* --- reports of all pages --- */

/* No memory for a record: the whole part is reported, and again if the callback refuses it. */
static void an_overflow_is_reported_until_it_is_taken(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;
	struct set s = { .base = BASE_PAGE, .answer = 7 };

	map_at(w->mm, 0, 16, RW, ANON);
	OK(vellum_track_mm(w->mm, BASE, PAGE(16), WP, &t));
	store(w->cpu[0], PAGE(1), 1);
	collect(t, BASE_PAGE);
	w->host.fail_at = w->host.nr_allocs + 1;
	dontneed(w->mm, 1, 1);
	w->host.fail_at = 0;
	assert_int_equal(vellum_tracker_collect(t, BASE_PAGE + 16, BASE_PAGE + 20, add_run, &s), 0);	/* beside it */
	assert_int_equal(vellum_tracker_collect(t, BASE_PAGE - 4, BASE_PAGE, add_run, &s), 0);
	assert_int_equal(s.calls, 0);
	assert_false(tracker_is_idle(t));
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(vellum_tracker_collect(t, 0, ~0ull, add_run, &s), 7);
	assert_int_equal(s.calls, 2);
	assert_int_equal(collect(t, BASE_PAGE), 0xffff);
	assert_int_equal(collect(t, BASE_PAGE), 0);
	vellum_tracker_destroy(t);
}

/*
 * While the tracker overflows, a collection of a part takes W from all pages of this part, and from no other. Pages
 * that are found by D keep W.
 */
static void parts_after_an_overflow(void **state)
{
	struct world *w = *state;

	for (enum vellum_track_method method = WP; method <= VELLUM_TRACK_AUTO; method++) {
		struct vellum_tracker *t;

		map_at(w->mm, 0, 1200, RW, ANON);
		OK(vellum_track_mm(w->mm, BASE, PAGE(1200), method, &t));
		for (unsigned round = 0; round < 2; round++) {	/* AUTO uses D after this */
			for (unsigned i = 0; i < 1200; i++)
				store(w->cpu[0], PAGE(i), i);
			collected(t, BASE_PAGE, 0, 1200);
		}
		w->host.fail_at = w->host.nr_allocs + 1;
		dontneed(w->mm, 1199, 1);
		w->host.fail_at = 0;
		for (unsigned p = 1; p < ARRAY_SIZE(parts); p++) {
			struct set *s;

			for (unsigned i = 0; i < 1199; i++)
				store(w->cpu[0], PAGE(i), i);
			s = collected(t, BASE_PAGE, parts[p].first, parts[p].end);
			for (unsigned i = 0; i < 1199; i++) {
				bool inside = i >= parts[p].first && i < parts[p].end;

				assert_int_equal(s->has[i], inside);
				assert_int_equal(has_w(w->mm, PAGE(i)), method == VELLUM_TRACK_AUTO || !inside);
			}
		}
		vellum_tracker_destroy(t);
		unmap(w->mm, 0, 1200);
	}
}

/* No memory for the set of a part: the whole part is reported at once. */
static void no_memory_for_the_set_of_a_part(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;
	struct set s = { .base = BASE_PAGE };

	map_at(w->mm, 0, 1024, RW, ANON);
	OK(vellum_track_mm(w->mm, BASE, PAGE(1024), WP, &t));
	store(w->cpu[0], PAGE(3), 1);
	store(w->cpu[0], PAGE(5), 1);
	store(w->cpu[0], PAGE(600), 1);
	w->host.fail_at = w->host.nr_allocs + 1;
	OK(vellum_tracker_collect(t, BASE_PAGE, BASE_PAGE + 8, add_run, &s));
	w->host.fail_at = 0;
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(s.has[i], i < 8);
	vellum_tracker_destroy(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(parts_of_a_clean_tracker),
		WORLD_TEST(parts_of_a_wp_tracker),
		WORLD_TEST(recorded_pages_without_w),
		WORLD_TEST(private_vmas_of_a_tracked_mapping),
		WORLD_TEST(collections_notify),
		WORLD_TEST(mprotect_grants_w_beside_the_range),
		WORLD_TEST(mprotect_looks_at_all_trackers),
		WORLD_TEST(changes_of_a_mapping_are_recorded_to_the_page),
		WORLD_TEST(a_record_of_too_many_pages_overflows),
		WORLD_TEST(an_overflow_is_reported_until_it_is_taken),
		WORLD_TEST(parts_after_an_overflow),
		WORLD_TEST(no_memory_for_the_set_of_a_part),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
