/* SPDX-License-Identifier: MIT */
/* VELLUM_TRACK_AUTO: it reports exactly the written pages, and chooses the cheaper method for each chunk. */
#include "file_support.h"

#define AUTO  VELLUM_TRACK_AUTO
#define CHUNK 512
#define FIRST (BASE >> 12)

/* --- calls of on_switch --- */

struct switches {
	unsigned nr, to_wp, to_clean;
	enum vellum_track_method now[8]; /* by chunk, from FIRST on, or from page 0 of a mapping */
	uint64_t base, last_first, last_nr;
	bool handed_out; /* a run was reported before a switch */
	bool late;
};

static void note_switch(void *arg, uint64_t first, uint64_t nr, enum vellum_track_method method)
{
	struct switches *s = arg;

	s->nr++;
	*(method == VELLUM_TRACK_WP ? &s->to_wp : &s->to_clean) += 1;
	s->late |= s->handed_out;
	s->last_first = first;
	s->last_nr = nr;
	for (uint64_t c = (first - s->base) / CHUNK; c <= (first + nr - 1 - s->base) / CHUNK; c++)
		if (c < 8)
			s->now[c] = method;
}

/* Collect. Returns the pages, counted from @base. */
#define MAX_PAGES (8 * CHUNK)

struct pages {
	uint64_t base, nr;
	bool has[MAX_PAGES];
	struct switches *s;
};

static int note_pages(void *arg, uint64_t first, uint64_t nr)
{
	struct pages *p = arg;

	if (p->s)
		p->s->handed_out = true;
	for (uint64_t i = first - p->base; i < first - p->base + nr; i++) {
		assert_in_range(i, 0, MAX_PAGES - 1);
		assert_false(p->has[i]);
		p->has[i] = true;
		p->nr++;
	}
	return 0;
}

static struct pages *collect_part(struct vellum_tracker *t, uint64_t base, uint64_t first,
				  uint64_t end, struct switches *s)
{
	static struct pages p;

	memset(&p, 0, sizeof(p));
	p.base = base;
	p.s = s;
	if (s)
		s->handed_out = false;
	OK(vellum_tracker_collect(t, first, end, note_pages, &p));
	return &p;
}

static struct pages *collect_all(struct vellum_tracker *t, struct switches *s)
{
	return collect_part(t, FIRST, 0, ~0ull, s);
}

static struct vellum_tracker *track(struct world *w, unsigned at, unsigned pages,
				    struct switches *s)
{
	struct vellum_tracker *t;

	OK(vellum_track_mm(w->mm, PAGE(at), PAGE(at + pages), AUTO, &t));
	memset(s, 0, sizeof(*s));
	s->base = FIRST;
	for (unsigned i = 0; i < 8; i++)
		s->now[i] = pages < CHUNK ? VELLUM_TRACK_CLEAN : VELLUM_TRACK_WP;
	vellum_tracker_on_switch(t, note_switch, s);
	return t;
}

static void store_range(struct world *w, unsigned at, unsigned pages, uint64_t val)
{
	for (unsigned i = at; i < at + pages; i++)
		store(w->cpu[0], PAGE(i), val);
}

/* --- the first method --- */

static void first_method_depends_on_the_size(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;
	struct switches s;

	map_at(w->mm, 0, 2 * CHUNK, RW, ANON);
	store_range(w, 0, 4, 1);
	for (unsigned pages = 511; pages <= 513; pages++) {
		t = track(w, 0, pages, &s);
		store(w->cpu[0], PAGE(1), 2);
		OK(vellum_tracker_costs(t, 100, 100)); /* one store is no reason to change */
		assert_int_equal(collect_all(t, &s)->nr, 1);
		if (s.nr == 0)
			assert_int_equal(has_w(w->mm, PAGE(1)), pages < 512);
		vellum_tracker_destroy(t);
		check_world(w);
	}
	t = track(w, 0, 512, &s); /* stores from before the tracker do not count */
	assert_int_equal(collect_all(t, &s)->nr, 0);
	vellum_tracker_destroy(t);
}

/* --- the choice follows the stores --- */

static void busy_chunks_are_cleaned_idle_ones_protected(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;
	struct switches s;

	map_at(w->mm, 0, CHUNK, RW, ANON);
	for (unsigned busy = 1; busy < 40; busy += 6) {
		uint64_t faults;
		unsigned rounds = 0;

		t = track(w, 0, CHUNK, &s);
		for (unsigned i = 0; i < busy + 2; i++) {
			store_range(w, 0, CHUNK, i);
			assert_int_equal(collect_all(t, &s)->nr, CHUNK);
			check_world(w);
		}
		assert_int_equal(s.now[0], VELLUM_TRACK_CLEAN);
		assert_int_equal(s.last_first, FIRST);
		assert_int_equal(s.last_nr, CHUNK);
		faults = count_of(w, VELLUM_COUNT_FAULT_REUSE);
		store_range(w, 0, CHUNK, 99);
		assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_REUSE), faults); /* no fault */
		assert_int_equal(collect_all(t, &s)->nr, CHUNK);
		while (s.now[0] == VELLUM_TRACK_CLEAN) {
			assert_int_equal(collect_all(t, &s)->nr, 0);
			assert_in_range(++rounds, 1, 3);
		}
		check_world(w);
		for (unsigned i = 0; i < CHUNK; i++)
			assert_false(has_w(w->mm, PAGE(i)));
		assert_int_equal(collect_all(t, &s)->nr, 0);
		assert_false(s.late);
		assert_int_equal(s.to_wp, s.to_clean);
		vellum_tracker_destroy(t);
	}
}

/*
 * If a chunk is busy again soon after each change to wp, the tracker waits longer before each next change. When
 * the chunk stays idle, the tracker changes at last.
 */
static void frequent_changes_become_rare(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;
	struct switches s;
	unsigned idle = 0;

	map_at(w->mm, 0, CHUNK, RW, ANON);
	t = track(w, 0, CHUNK, &s);
	for (unsigned round = 0; round < 400; round++) {
		if (round % 10 < 3)
			store_range(w, 0, CHUNK, round);
		assert_int_equal(collect_all(t, &s)->nr, round % 10 < 3 ? CHUNK : 0);
	}
	assert_in_range(s.to_wp, 1, 2);
	assert_int_equal(s.now[0], VELLUM_TRACK_CLEAN);
	for (; s.now[0] == VELLUM_TRACK_CLEAN; idle++)
		collect_all(t, &s);
	assert_in_range(idle, 4, 3 << 3);
	vellum_tracker_destroy(t);
}

/* Stores before a collection that changes the method are reported once, in that collection. */
static void stores_around_a_switch(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;
	struct switches s;

	map_at(w->mm, 0, 2 * CHUNK, RW, SHANON);
	t = track(w, 0, 2 * CHUNK, &s);
	for (unsigned round = 0; round < 30; round++) {
		unsigned n = round % 6 < 3 ? CHUNK : round % 6 == 3;
		struct pages *p;

		store_range(w, 3, n, round);
		p = collect_all(t, &s);
		assert_int_equal(p->nr, n);
		for (unsigned i = 3; i < 3 + n; i++)
			assert_true(p->has[i]);
		store(w->cpu[0], PAGE(7), round);
		p = collect_all(t, &s);
		assert_int_equal(p->nr, 1);
		assert_true(p->has[7]);
		check_world(w);
	}
	assert_true(s.nr > 4);
	vellum_tracker_destroy(t);
}

static void each_chunk_has_its_method(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;
	struct switches s;
	struct pages *p;

	map_at(w->mm, 0, 4 * CHUNK, RW, ANON);
	t = track(w, 0, 4 * CHUNK, &s);
	OK(vellum_tracker_costs(t, 100, 1000));
	for (unsigned round = 0; round < 6; round++) {
		store_range(w, CHUNK, CHUNK, round);
		store(w->cpu[0], PAGE(2 * CHUNK + 5), round);
		store_range(w, 3 * CHUNK + 100, 200, round);
		p = collect_all(t, &s);
		assert_int_equal(p->nr, CHUNK + 1 + 200);
		assert_true(p->has[CHUNK] && p->has[2 * CHUNK - 1] && p->has[2 * CHUNK + 5]);
		check_world(w);
	}
	assert_int_equal(s.now[0], VELLUM_TRACK_WP);
	assert_int_equal(s.now[1], VELLUM_TRACK_CLEAN);
	assert_int_equal(s.now[2], VELLUM_TRACK_WP);
	assert_int_equal(s.now[3], VELLUM_TRACK_CLEAN);
	assert_true(has_w(w->mm, PAGE(CHUNK)));
	assert_false(has_w(w->mm, PAGE(2 * CHUNK + 5)));
	for (unsigned round = 0; round < 3; round++)
		collect_all(t, &s);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(s.now[i], VELLUM_TRACK_WP);
	vellum_tracker_destroy(t);
}

/* --- costs --- */

static enum vellum_track_method chosen(struct world *w, uint64_t fault_ns, uint64_t scan_ns,
				       unsigned pages)
{
	struct vellum_tracker *t;
	struct switches s;

	t = track(w, 0, CHUNK, &s);
	OK(vellum_tracker_costs(t, fault_ns, scan_ns));
	for (unsigned round = 0; round < 8; round++) {
		store_range(w, 0, pages, round);
		assert_int_equal(collect_all(t, &s)->nr, pages);
	}
	check_world(w);
	vellum_tracker_destroy(t);
	return s.now[0];
}

static void costs_decide_the_method(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;
	struct switches s;

	map_at(w->mm, 0, CHUNK, RW, ANON);
	assert_int_equal(chosen(w, 10000, 100, 1), VELLUM_TRACK_CLEAN);
	assert_int_equal(chosen(w, 10, 100, 1), VELLUM_TRACK_WP);
	assert_int_equal(chosen(w, 1, 1000000000, CHUNK), VELLUM_TRACK_WP);
	assert_int_equal(chosen(w, 1000000000, 1, 1), VELLUM_TRACK_CLEAN);
	assert_int_equal(chosen(w, 100, 1000, 5), VELLUM_TRACK_WP);
	assert_int_equal(chosen(w, 100, 1000, 20), VELLUM_TRACK_CLEAN);
	t = track(w, 0, CHUNK, &s);
	assert_int_equal(vellum_tracker_costs(t, 0, 1), -EINVAL);
	assert_int_equal(vellum_tracker_costs(t, 1, 0), -EINVAL);
	assert_int_equal(vellum_tracker_costs(t, 1000000001, 1), -EINVAL);
	assert_int_equal(vellum_tracker_costs(t, 1, 1000000001), -EINVAL);
	vellum_tracker_destroy(t);
	OK(vellum_track_mm(w->mm, BASE, PAGE(CHUNK), VELLUM_TRACK_WP, &t));
	OK(vellum_tracker_costs(t, 1000000000, 1)); /* no effect: there is no store */
	store_range(w, 0, CHUNK, 1);
	assert_int_equal(collect_all(t, NULL)->nr, CHUNK);
	assert_false(has_w(w->mm, BASE));
	vellum_tracker_destroy(t);
}

/* --- collections of a part of the range; ranges that end within a chunk --- */

static void partial_collections(void **state)
{
	static bool pending[4 * CHUNK];
	struct world *w = *state;
	struct vellum_tracker *t;
	uint64_t seed = 7;
	struct switches s;

	memset(pending, 0, sizeof(pending));
	map_at(w->mm, 0, 4 * CHUNK, RW, ANON);
	t = track(w, 100, 3 * CHUNK, &s); /* four chunks, two of them in part */
	OK(vellum_tracker_costs(t, 100, 500));
	for (unsigned round = 0; round < 600; round++) {
		unsigned at = 100 + random_below(&seed, 3 * CHUNK), n = random_below(&seed, 3) * 40;
		unsigned first = random_below(&seed, 4 * CHUNK), end;
		struct pages *p;

		for (unsigned i = at; i <= at + n && i < 100 + 3 * CHUNK; i++) {
			store(w->cpu[0], PAGE(i), round);
			pending[i] = true;
		}
		end = first + 1 + random_below(&seed, 2 * CHUNK);
		if (random_below(&seed, 3) == 0) {
			first = 0;
			end = 4 * CHUNK;
		}
		p = collect_part(t, FIRST, FIRST + first, FIRST + end, &s);
		for (unsigned i = 0; i < 4 * CHUNK; i++) {
			bool want = pending[i] && i >= first && i < end;

			if (p->has[i] != want)
				fail_msg("round %u: page %u is %d", round, i, p->has[i]);
			if (want)
				pending[i] = false;
		}
		check_world(w);
	}
	assert_true(s.to_clean > 1 && s.to_wp > 1);
	vellum_tracker_destroy(t);
}

/* on_switch reports only pages of the tracker's range. */
static void on_switch_is_clipped_to_the_range(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;
	struct switches s;

	map_at(w->mm, 0, 2 * CHUNK, RW, ANON);
	t = track(w, 300, CHUNK + 10, &s);
	for (unsigned round = 0; round < 4; round++) {
		store_range(w, 0, 512, round);
		assert_int_equal(collect_all(t, &s)->nr, 212);
	}
	assert_int_equal(s.nr, 1);
	assert_int_equal(s.last_first, FIRST + 300);
	assert_int_equal(s.last_nr, 212);
	vellum_tracker_on_switch(t, NULL, NULL);
	for (unsigned round = 0; round < 4; round++)
		collect_all(t, NULL);
	assert_int_equal(s.nr, 1);
	assert_false(has_w(w->mm, PAGE(300)));
	vellum_tracker_destroy(t);
	/* A range smaller than a chunk changes its method, too. */
	t = track(w, 0, 8, &s);
	for (unsigned round = 0; round < 4; round++)
		assert_int_equal(collect_all(t, &s)->nr, 0);
	assert_int_equal(s.to_wp, 1);
	assert_int_equal(s.last_nr, 8);
	vellum_tracker_destroy(t);
}

/* --- trackers of a mapping --- */

static void auto_tracker_of_a_mapping(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;
	struct vellum_mm *child;
	struct switches s = {.base = 0};
	struct pages *p;
	struct file f;

	file_create(&f, w, 3 * CHUNK);
	map_shared(w->mm, 0, 3 * CHUNK, &f, 0);
	map_shared(w->mm, 4096, CHUNK, &f, CHUNK); /* a second VMA of the middle */
	child = fork_on(w->mm, w->cpu[1]);
	OK(vellum_track_mapping(f.mapping, 0, 3 * CHUNK, AUTO, &t));
	vellum_tracker_on_switch(t, note_switch, &s);
	OK(vellum_tracker_costs(t, 100, 1000));
	for (unsigned round = 0; round < 5; round++) {
		for (unsigned i = 0; i < CHUNK; i += 2) {
			store(w->cpu[1], PAGE(CHUNK + i), round);
			store(w->cpu[0], PAGE(4096 + i + 1), round);
		}
		store(w->cpu[1], PAGE(9), round);
		p = collect_part(t, 0, 0, ~0ull, &s);
		assert_int_equal(p->nr, CHUNK + 1);
		assert_true(p->has[9] && p->has[CHUNK] && p->has[2 * CHUNK - 1]);
		if (round & 1)
			assert_int_equal(vellum_writeback_step(w->memory, 0), CHUNK + 1);
		check_world(w);
	}
	assert_int_equal(s.now[1], VELLUM_TRACK_CLEAN);
	assert_int_equal(s.to_clean, 1);
	assert_int_equal(s.last_first, CHUNK);
	end_child(child, w->cpu[1]); /* unmapping propagates D to the set */
	for (unsigned round = 0; round < 3; round++)
		collect_part(t, 0, 0, ~0ull, &s);
	assert_int_equal(s.now[1], VELLUM_TRACK_WP);
	for (unsigned i = 0; i < CHUNK; i++)
		assert_false(has_w(w->mm, PAGE(CHUNK + i)) || has_w(w->mm, PAGE(4096 + i)));
	store(w->cpu[0], PAGE(4096), 1);
	p = collect_part(t, 0, 0, ~0ull, &s);
	assert_true(p->nr == 1 && p->has[CHUNK]);
	vellum_tracker_destroy(t);
	unmap(w->mm, 0, 8192);
	file_destroy(&f);
}

/* --- exact reports, with stores only --- */

static void store_somewhere(struct world *w, uint64_t *seed, bool *pending, uint64_t val)
{
	unsigned n = 1u << random_below(seed, 9), at = random_below(seed, 2 * CHUNK);

	for (unsigned i = at; i < at + n && i < 2 * CHUNK; i++) {
		store(w->cpu[0], PAGE(i), val);
		pending[i] = true;
	}
}

static void reports_are_exact_over_all_switches(void **state)
{
	static bool pending[2 * CHUNK];
	struct world *w = *state;
	struct vellum_tracker *t;
	struct switches s;
	uint64_t seed = 4711;

	memset(pending, 0, sizeof(pending));
	map_at(w->mm, 0, 2 * CHUNK, RW, ANON);
	t = track(w, 0, 2 * CHUNK, &s);
	for (unsigned round = 0; round < 1000; round++) {
		struct pages *p;

		store_somewhere(w, &seed, pending, round);
		if (random_below(&seed, 16) == 0)
			OK(vellum_tracker_costs(t, 1 + random_below(&seed, 1000), 3000));
		p = collect_all(t, &s);
		for (unsigned i = 0; i < 2 * CHUNK; i++)
			if (pending[i] != p->has[i])
				fail_msg("round %u: page %u is %d", round, i, p->has[i]);
		memset(pending, 0, sizeof(pending));
		check_world(w);
	}
	assert_true(s.to_wp > 5 && s.to_clean > 5);
	vellum_tracker_destroy(t);
}

/* Trackers of all methods collect between each other's collections: each reports all written pages. */
static void several_trackers_miss_no_store(void **state)
{
	static bool pending[4][2 * CHUNK], stored[2 * CHUNK];
	struct world *w = *state;
	struct vellum_tracker *t[4];
	struct switches s[2];
	uint64_t seed = 815;

	memset(pending, 0, sizeof(pending));
	map_at(w->mm, 0, 2 * CHUNK, RW, SHANON);
	for (unsigned i = 0; i < 2; i++) {
		t[i] = track(w, 0, 2 * CHUNK, &s[i]);
		OK(vellum_track_mm(w->mm, BASE, PAGE(2 * CHUNK), i, &t[2 + i]));
	}
	for (unsigned round = 0; round < 1500; round++) {
		unsigned which = random_below(&seed, 4);
		struct pages *p;

		memset(stored, 0, sizeof(stored));
		store_somewhere(w, &seed, stored, round);
		for (unsigned i = 0; i < 4; i++)
			for (unsigned page = 0; page < 2 * CHUNK; page++)
				pending[i][page] |= stored[page];
		if (random_below(&seed, 8) == 0)
			OK(vellum_tracker_costs(t[which], 1 + random_below(&seed, 1000), 3000));
		p = collect_all(t[which], which < 2 ? &s[which] : NULL);
		for (unsigned i = 0; i < 2 * CHUNK; i++)
			if (pending[which][i] && !p->has[i])
				fail_msg("round %u: tracker %u did not report page %u", round,
					 which, i);
		memset(pending[which], 0, sizeof(pending[which]));
		check_world(w);
	}
	assert_true(s[0].to_wp > 2 && s[1].to_clean > 2);
	for (unsigned i = 0; i < 4; i++)
		vellum_tracker_destroy(t[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(first_method_depends_on_the_size),
		WORLD_TEST(busy_chunks_are_cleaned_idle_ones_protected),
		WORLD_TEST(frequent_changes_become_rare),
		WORLD_TEST(stores_around_a_switch),
		WORLD_TEST(each_chunk_has_its_method),
		WORLD_TEST(costs_decide_the_method),
		WORLD_TEST(partial_collections),
		WORLD_TEST(on_switch_is_clipped_to_the_range),
		WORLD_TEST(auto_tracker_of_a_mapping),
		WORLD_TEST(reports_are_exact_over_all_switches),
		WORLD_TEST(several_trackers_miss_no_store),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
