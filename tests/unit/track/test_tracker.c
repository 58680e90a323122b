/* SPDX-License-Identifier: MIT */
/* Trackers: each kind of memory, each way to change it, both methods, and several trackers at once. */
#include "more_support.h"

#define CLEAN VELLUM_TRACK_CLEAN
#define WP    VELLUM_TRACK_WP

enum kind { PRIV_ANON, SHARED_ANON, PRIV_FILE, PFN, MKWRITE, NR_KINDS };

struct cell {
	struct world *w;
	enum kind kind;
	enum vellum_track_method method;
	struct counting *c;
	struct vellum_mapping *obj;
	struct vellum_tracker *t;
};

static void map_kind(struct cell *x, unsigned at, unsigned pages, uint32_t extra)
{
	struct vellum_mm *mm = x->w->mm;

	if (x->kind == PRIV_ANON)
		map_at(mm, at, pages, RW, ANON | extra);
	else if (x->kind == SHARED_ANON)
		map_at(mm, at, pages, RW, SHANON | extra);
	else if (x->kind == PRIV_FILE)
		map_object(mm, at, pages, RW, VELLUM_MAP_PRIVATE | extra, x->obj, at, RW);
	else
		map_object(mm, at, pages, RW, VELLUM_MAP_SHARED | extra, x->obj, at, RW);
}

static bool is_private(const struct cell *x)
{
	return x->kind == PRIV_ANON || x->kind == PRIV_FILE;
}

static uint64_t changed(struct cell *x)
{
	uint64_t mask = collect(x->t, BASE >> 12);

	for (unsigned i = 0; i < 64 && x->method == WP; i++) /* INV-TRACK-1, as the set is empty now */
		assert_false(has_w(x->w->mm, PAGE(i)));
	check_world(x->w);
	return mask;
}

static void put(struct cell *x, unsigned page, uint64_t val)
{
	store(x->w->cpu[0], PAGE(page), val);
}

/* --- the rows: 8 pages of a kind are mapped; page 0 is stored to, page 7 loaded from; then tracking starts --- */

static void row_store(struct cell *x)
{
	put(x, 1, 1);
	put(x, 0, 1);
	load(x->w->cpu[0], PAGE(2));
	assert_int_equal(changed(x), 0x3);
	assert_int_equal(changed(x), 0);
	put(x, 7, 1);
	assert_int_equal(changed(x), 0x80);
}

static void row_read_only(struct cell *x)
{
	uint64_t val;

	for (unsigned i = 0; i < 8; i++) {
		load(x->w->cpu[0], PAGE(i));
		OK(vellum_copy_from_user(x->w->mm, &val, PAGE(i), 8, NULL));
	}
	assert_int_equal(changed(x), 0);
}

static void row_store_again(struct cell *x)
{
	for (unsigned round = 0; round < 4; round++) {
		put(x, 1, round);
		put(x, 1, round + 1);
		if (round & 1)
			put(x, 2, round);
		assert_int_equal(changed(x), round & 1 ? 6 : 2);
	}
	assert_int_equal(changed(x), 0);
}

static void row_dontneed(struct cell *x)
{
	if (x->kind == PFN)
		return;
	put(x, 1, 5);
	changed(x);
	dontneed(x->w->mm, 0, 8);
	if (is_private(x))
		assert_int_equal(changed(x) & 3, 3);
	put(x, 2, 5);
	dontneed(x->w->mm, 0, 8); /* removes the entry and its D */
	assert_int_equal(changed(x) & 4, 4);
	load(x->w->cpu[0], PAGE(1));
	assert_int_equal(changed(x), 0);
}

static void row_munmap(struct cell *x)
{
	put(x, 1, 5);
	unmap(x->w->mm, 0, 4);
	assert_int_equal(changed(x) & 2, 2);
	put(x, 5, 5);
	changed(x);
	unmap(x->w->mm, 4, 4);
	if (is_private(x))
		assert_int_equal(changed(x) & 0x20, 0x20);
}

static void row_munmap_mmap(struct cell *x)
{
	put(x, 1, 5);
	unmap(x->w->mm, 0, 8);
	map_kind(x, 0, 8, 0);
	load(x->w->cpu[0], PAGE(1));
	assert_int_equal(changed(x) & 2, 2);
	put(x, 1, 6);
	changed(x);
	map_kind(x, 0, 8, 0); /* MAP_FIXED over it */
	put(x, 3, 1);
	assert_int_equal(changed(x) & 8, 8);
	assert_int_equal(changed(x), 0);
}

static void row_mremap(struct cell *x)
{
	unsigned from = 0, to = 0;
	uint64_t addr;

	if (x->kind == PFN)
		return;
	put(x, 1, 5);
	if (is_private(x))
		changed(x); /* a move changes the pages at both addresses */
	OK(vellum_mremap(x->w->mm, PAGE(0), BYTES(4), BYTES(5), VELLUM_MREMAP_MAYMOVE, &addr));
	from = (unsigned)collect(x->t, BASE >> 12);
	put(x, 5, 1);
	store(x->w->cpu[0], addr + BYTES(3), 1);
	if (is_private(x))
		assert_int_equal(from & 2, 2);
	to = (unsigned)collect(x->t, addr >> 12);
	assert_int_equal(to & 8, 8);
	store(x->w->cpu[0], addr + BYTES(1), 9);
	assert_int_equal(collect(x->t, addr >> 12), 2);
	assert_false(x->method == WP && has_w(x->w->mm, addr + BYTES(1)));
}

/* A page that was collected before the move is reported at the new address. */
static void row_mremap_new_place(struct cell *x)
{
	uint64_t addr;

	if (x->kind == PFN)
		return;
	put(x, 1, 5);
	if (is_private(x))
		changed(x);
	OK(vellum_mremap(x->w->mm, PAGE(0), BYTES(4), BYTES(5), VELLUM_MREMAP_MAYMOVE, &addr));
	assert_int_equal(collect(x->t, addr >> 12) & 2, 2);
}

static void row_fork(struct cell *x)
{
	struct vellum_mm *child;

	put(x, 1, 5);
	changed(x);
	put(x, 2, 5);
	child = fork_on(x->w->mm, x->w->cpu[1]);
	put(x, 1, 6);
	store(x->w->cpu[1], PAGE(3), 7); /* another address space */
	store(x->w->cpu[1], PAGE(1), 7);
	assert_int_equal(changed(x), 6);
	put(x, 2, 6);
	put(x, 4, 6);
	assert_int_equal(changed(x), 0x14);
	end_child(child, x->w->cpu[1]);
	put(x, 2, 6);
	assert_int_equal(changed(x), 4);
}

static void row_mprotect(struct cell *x)
{
	put(x, 1, 5);
	changed(x);
	protect(x->w->mm, 0, 8, RO);
	assert_int_equal(changed(x), 0);
	protect(x->w->mm, 0, 8, RW);
	assert_int_equal(changed(x), 0);
	put(x, 1, 6);
	protect(x->w->mm, 1, 1, 0);
	protect(x->w->mm, 1, 1, RW);
	put(x, 2, 6);
	protect(x->w->mm, 0, 8, RO);
	assert_int_equal(changed(x), 6);
	protect(x->w->mm, 0, 8, RW);
	put(x, 2, 7);
	assert_int_equal(changed(x), 4);
}

static void row_copy_to_user(struct cell *x)
{
	uint64_t val[2] = {1, 2};

	OK(vellum_copy_to_user(x->w->mm, PAGE(2) - 8, val, 16, NULL));
	assert_int_equal(changed(x), 6);
	OK(vellum_copy_to_user(x->w->mm, PAGE(2), val, 0, NULL));
	assert_int_equal(changed(x), 0);
	OK(vellum_copy_to_user(x->w->mm, PAGE(2), val, 16, NULL));
	assert_int_equal(changed(x), 4);
}

static void row_populate(struct cell *x)
{
	map_kind(x, 16, 8, VELLUM_MAP_POPULATE);
	assert_int_equal(changed(x) & 0xff0000, 0);
	put(x, 17, 1);
	assert_int_equal(changed(x), 0x20000);
}

static void row_unmap_mapping(struct cell *x)
{
	if (!x->obj)
		return;
	put(x, 1, 5);
	vellum_unmap_mapping_range(x->obj, 0, 8);
	assert_int_equal(changed(x) & ~1ull, 2); /* the old D of page 0 may be reported again (wp) */
	put(x, 1, 6);
	assert_int_equal(changed(x), 2);
}

static void row_helpers(struct cell *x)
{
	uint64_t bitmap[1] = {0}, start = 0, end = 0;

	if (!x->obj || is_private(x))
		return;
	put(x, 1, 5);
	OK(vellum_clean_record_shared_mapping_range(x->obj, 0, 64, 0, bitmap, &start, &end, NULL));
	put(x, 2, 5);
	OK(vellum_wp_shared_mapping_range(x->obj, 0, 64, NULL));
	assert_int_equal(changed(x) & ~1ull, 6); /* the tracker reports what the helper cleaned */
	put(x, 2, 6);
	assert_int_equal(changed(x), 4);
}

static void run_row(struct world *w, void (*row)(struct cell *x), enum kind kind,
		    enum vellum_track_method method)
{
	struct cell x = {.w = w, .kind = kind, .method = method, .c = new_counting()};

	if (kind == PFN)
		x.obj = new_pfn_object(w, x.c, 64);
	else if (kind == PRIV_FILE || kind == MKWRITE)
		x.obj = new_object(w, x.c, 64);
	map_kind(&x, 0, 8, 0);
	map_at(w->mm, 8, 1, RO, ANON); /* prevents growth in place */
	put(&x, 0, 99);
	load(w->cpu[0], PAGE(7));
	OK(vellum_track_mm(w->mm, MMAP_MIN_ADDR, VELLUM_TASK_SIZE, method, &x.t));
	assert_int_equal(changed(&x), 0);
	row(&x);
	check_world(w);
	vellum_tracker_destroy(x.t);
	OK(vellum_munmap(w->mm, MMAP_MIN_ADDR, VELLUM_TASK_SIZE - MMAP_MIN_ADDR));
	vellum_mapping_put(x.obj);
	if (kind == PFN)
		vellum_memory_free_device(w->memory, x.c->first_pfn, 64);
}

static void all_kinds(struct world *w, void (*row)(struct cell *x))
{
	for (enum kind kind = 0; kind < NR_KINDS; kind++) {
		run_row(w, row, kind, CLEAN);
		run_row(w, row, kind, WP);
	}
}

#define MATRIX_ROW(row)                                                                            \
	static void matrix_##row(void **state)                                                     \
	{                                                                                          \
		all_kinds(*state, row_##row);                                                      \
	}
MATRIX_ROW(store)
MATRIX_ROW(read_only)
MATRIX_ROW(store_again)
MATRIX_ROW(dontneed)
MATRIX_ROW(munmap)
MATRIX_ROW(munmap_mmap)
MATRIX_ROW(mremap)
MATRIX_ROW(mremap_new_place)
MATRIX_ROW(fork)
MATRIX_ROW(mprotect)
MATRIX_ROW(copy_to_user)
MATRIX_ROW(populate)
MATRIX_ROW(unmap_mapping)
MATRIX_ROW(helpers)

/* "Every page changed ... by munmap" includes a shared page that was collected and not stored to since. */
static unsigned collected_then(struct world *w, bool move)
{
	unsigned missed = 0;

	for (unsigned method = 0; method < 2; method++) {
		struct vellum_tracker *t;
		uint64_t addr = BASE;

		map_at(w->mm, 0, 4, RW, SHANON);
		map_at(w->mm, 4, 1, RO, ANON);
		OK(vellum_track_mm(w->mm, MMAP_MIN_ADDR, VELLUM_TASK_SIZE, method, &t));
		store(w->cpu[0], PAGE(1), 5);
		collect(t, BASE >> 12);
		if (move)
			OK(vellum_mremap(w->mm, BASE, BYTES(4), BYTES(6), 1, &addr));
		else
			unmap(w->mm, 0, 4);
		missed += !(collect(t, addr >> 12) & 2);
		vellum_tracker_destroy(t);
		OK(vellum_munmap(w->mm, MMAP_MIN_ADDR, VELLUM_TASK_SIZE - MMAP_MIN_ADDR));
	}
	return missed;
}

static void munmap_of_a_collected_shared_page(void **state)
{
	assert_int_equal(collected_then(*state, false), 0);
}

static void mremap_of_a_collected_shared_page(void **state)
{
	assert_int_equal(collected_then(*state, true), 0);
}

/* --- trackers of a mapping --- */

static void tracker_of_a_mapping_reports_all_processes(void **state)
{
	struct world *w = *state;

	for (unsigned method = 0; method < 2; method++) {
		struct counting *c = new_counting();
		struct vellum_mapping *obj = new_object(w, c, 32);
		struct vellum_tracker *t;
		struct vellum_mm *child;

		map_object(w->mm, 0, 16, RW, VELLUM_MAP_SHARED, obj, 8, RW);
		map_object(w->mm, 32, 8, RW, VELLUM_MAP_PRIVATE, obj, 8, RW);
		store(w->cpu[0], PAGE(0), 1);
		OK(vellum_track_mapping(obj, 4, 16, method, &t));
		child = fork_on(w->mm, w->cpu[1]);
		assert_int_equal(collect(t, 0), 0);
		store(w->cpu[0], PAGE(1), 1);  /* page 9 */
		store(w->cpu[1], PAGE(2), 1);  /* page 10, in another process */
		store(w->cpu[0], PAGE(15), 1); /* page 23: not tracked */
		store(w->cpu[0], PAGE(33), 1); /* a private copy */
		assert_int_equal(collect(t, 0), 3 << 9);
		assert_int_equal(collect(t, 0), 0);
		store(w->cpu[1], PAGE(1), 1);
		OK(vellum_munmap(child, BASE, BYTES(16)));
		store(w->cpu[0], PAGE(0), 2);
		/* wp leaves D in the entry, so unmapping reports the page again */
		assert_int_equal(collect(t, 0) & (method == WP ? ~(1ull << 10) : ~0ull), 3 << 8);
		end_child(child, w->cpu[1]);
		vellum_tracker_destroy(t);
		unmap(w->mm, 0, 64);
		vellum_mapping_put(obj);
	}
}

/* A tracker holds a reference to its mapping. */
static void tracker_keeps_its_mapping(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = new_object(w, c, 8);
	struct vellum_tracker *t, *u;
	struct vellum_mm *child;

	map_object(w->mm, 0, 8, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	child = fork_on(w->mm, w->cpu[1]);
	OK(vellum_track_mapping(obj, 0, 8, WP, &t));
	OK(vellum_track_mm(child, BASE, PAGE(8), CLEAN, &u));
	store(w->cpu[1], PAGE(1), 1);
	vellum_mapping_put(obj);
	end_child(child, w->cpu[1]);
	unmap(w->mm, 0, 8);
	assert_int_equal(c->releases, 0);
	assert_int_equal(collect(t, 0), 2);
	assert_int_equal(collect(u, BASE >> 12), 2);
	vellum_tracker_destroy(t);
	vellum_tracker_destroy(u);
	vellum_tracker_destroy(NULL);
	assert_int_equal(c->releases, 1);
}

/* --- several trackers --- */

/* clean trackers report exactly the pages. A harvest of a clean tracker may report a page to a wp tracker again. */
static void collections_miss_no_store_of_other_trackers(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj;
	struct vellum_tracker *t[6];
	uint64_t pending[6] = {0}, seed = 99;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 32, 0, &obj));
	map_object(w->mm, 0, 32, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	for (unsigned i = 0; i < 4; i++)
		OK(vellum_track_mm(w->mm, BASE, PAGE(32), i & 1, &t[i]));
	OK(vellum_track_mapping(obj, 0, 32, CLEAN, &t[4]));
	OK(vellum_track_mapping(obj, 0, 32, WP, &t[5]));
	for (unsigned i = 0; i < 6; i++) /* creating a tracker harvests for the earlier ones */
		collect(t[i], i < 4 ? BASE >> 12 : 0);
	for (unsigned round = 0; round < 3000; round++) {
		unsigned page = random_below(&seed, 32), i = random_below(&seed, 6);

		store(w->cpu[0], PAGE(page), round);
		for (unsigned j = 0; j < 6; j++)
			pending[j] |= 1ull << page;
		if (random_below(&seed, 3))
			continue;
		uint64_t got = collect(t[i], i < 4 ? BASE >> 12 : 0);

		assert_int_equal(i & 1 ? got & pending[i] : got, pending[i]);
		pending[i] = 0;
	}
	for (unsigned i = 0; i < 6; i++)
		vellum_tracker_destroy(t[i]);
	store(w->cpu[0], PAGE(1), 1);
	vellum_mapping_put(obj);
}

/* --- arguments of collect --- */

static int nothing(void *arg, uint64_t first, uint64_t nr)
{
	(void)arg, (void)first, (void)nr;
	return 0;
}

static void wrong_arguments(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj;
	struct vellum_tracker *t;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 8, 0, &obj));
	assert_int_equal(vellum_track_mm(w->mm, BASE + 1, PAGE(1), WP, &t), -EINVAL);
	assert_int_equal(vellum_track_mm(w->mm, BASE, PAGE(1) + 1, WP, &t), -EINVAL);
	assert_int_equal(vellum_track_mm(w->mm, BASE, BASE, WP, &t), -EINVAL);
	assert_int_equal(vellum_track_mm(w->mm, BASE, VELLUM_TASK_SIZE + 4096, WP, &t), -EINVAL);
	assert_int_equal(vellum_track_mm(w->mm, BASE, PAGE(1), 3, &t), -EINVAL);
	assert_int_equal(vellum_track_mapping(obj, 0, 0, WP, &t), -EINVAL);
	assert_int_equal(vellum_track_mapping(obj, ~0ull, 2, WP, &t), -EINVAL);
	assert_int_equal(vellum_track_mapping(obj, 0, 8, 7, &t), -EINVAL);
	OK(vellum_track_mm(w->mm, BASE, PAGE(1), WP, &t));
	assert_int_equal(vellum_tracker_collect(t, 5, 5, nothing, NULL), -EINVAL);
	assert_int_equal(vellum_tracker_collect(t, 0, ~0ull, NULL, NULL), -EINVAL);
	OK(vellum_tracker_collect(t, 0, 5, nothing, NULL)); /* outside the range */
	vellum_tracker_destroy(t);
	vellum_mapping_put(obj);
}

struct runs {
	unsigned nr, stop_at; /* the run that returns 7; 0: none */
	uint64_t mask, last;
};

static int note_run(void *arg, uint64_t first, uint64_t nr)
{
	struct runs *r = arg;

	assert_true(nr > 0 && (!r->nr || first > r->last)); /* ascending, and not adjacent */
	r->last = first + nr;
	for (uint64_t i = first - (BASE >> 12); i < first + nr - (BASE >> 12) && i < 64; i++)
		r->mask |= 1ull << i;
	return ++r->nr == r->stop_at ? 7 : 0;
}

static void collections_of_a_part(void **state)
{
	struct world *w = *state;
	const uint64_t base = BASE >> 12;

	for (unsigned method = 0; method < 2; method++) {
		struct vellum_tracker *t;
		struct runs r = {.nr = 0};

		map_at(w->mm, 0, 64, RW, ANON);
		OK(vellum_track_mm(w->mm, BASE, PAGE(64), method, &t));
		for (unsigned i = 0; i < 64; i++)
			if (i % 4 != 3)
				store(w->cpu[0], PAGE(i), 1);
		OK(vellum_tracker_collect(t, base + 10, base + 20, note_run, &r));
		assert_int_equal(r.mask, 0x77777777ull & 0xffc00);
		assert_int_equal(r.nr, 3);
		store(w->cpu[0], PAGE(12), 2);
		store(w->cpu[0], PAGE(11), 2);
		assert_int_equal(collect(t, base), (0x7777777777777777ull & ~0xffc00ull) | 0x1800);
		assert_int_equal(collect(t, base), 0);
		vellum_tracker_destroy(t);
		unmap(w->mm, 0, 64);
	}
}

static void callback_may_end_a_collection(void **state)
{
	struct world *w = *state;

	for (unsigned method = 0; method < 2; method++)
		for (unsigned stop = 1; stop < 5; stop++) {
			struct vellum_tracker *t;
			struct runs r = {.stop_at = stop}, rest = {.nr = 0};

			map_at(w->mm, 0, 64, RW, ANON);
			OK(vellum_track_mm(w->mm, BASE, PAGE(64), method, &t));
			for (unsigned i = 0; i < 16; i++)
				if (i % 4 != 3)
					store(w->cpu[0], PAGE(i), 1);
			assert_int_equal(vellum_tracker_collect(t, 0, ~0ull, note_run, &r), 7);
			assert_int_equal(r.nr, stop);
			OK(vellum_tracker_collect(t, 0, ~0ull, note_run, &rest));
			assert_int_equal(r.mask | rest.mask, 0x7777);
			assert_int_equal(rest.mask & (0x7777 << (4 * stop)),
					 (0x7777 << (4 * stop)) & 0x7777);
			assert_int_equal(collect(t, BASE >> 12), 0);
			vellum_tracker_destroy(t);
			unmap(w->mm, 0, 64);
		}
}

/* Runs that cross the borders of the leaves of the set, and runs far apart. */
static void runs_are_joined(void **state)
{
	struct world *w = *state;

	for (unsigned method = 0; method < 2; method++) {
		static const unsigned at[] = {0, 500, 511, 512, 1030, 1535, 1536, 1537};
		struct vellum_tracker *t;

		map_at(w->mm, 0, 2048, RW, ANON);
		OK(vellum_track_mm(w->mm, BASE, PAGE(2048), method, &t));
		for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
			store(w->cpu[0], PAGE(at[i]), 1);
		for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
			assert_int_equal(vellum_tracker_collect(t, (BASE >> 12) + at[i],
								(BASE >> 12) + at[i] + 1, note_run,
								&(struct runs){.stop_at = 1}),
					 7);
		assert_int_equal(collect(t, (BASE >> 12) + 500), 0x1801);
		for (unsigned i = 0; i < 2048; i++)
			store(w->cpu[0], PAGE(i), 2);
		struct runs all = {.nr = 0};
		OK(vellum_tracker_collect(t, 0, ~0ull, note_run, &all));
		assert_int_equal(all.nr, 1);
		assert_int_equal(all.last, (BASE >> 12) + 2048);
		vellum_tracker_destroy(t);
		unmap(w->mm, 0, 2048);
	}
}

/* --- failed allocations in the set --- */

static void after_a_failed_recording_all_pages_are_reported(void **state)
{
	struct world *w = *state;

	for (unsigned method = 0; method < 2; method++) {
		struct vellum_tracker *t;

		map_at(w->mm, 0, 16, RW, ANON);
		for (unsigned i = 0; i < 16; i++)
			store(w->cpu[0], PAGE(i), 1);
		OK(vellum_track_mm(w->mm, BASE, PAGE(16), method, &t));
		store(w->cpu[0], PAGE(1), 1);
		dontneed(w->mm, 1, 1);
		collect(t, BASE >> 12);
		w->host.fail_at = w->host.nr_allocs + 1;
		dontneed(w->mm, 2, 1); /* recording the page fails */
		w->host.fail_at = 0;
		store(w->cpu[0], PAGE(3), 1);
		assert_int_equal(collect(t, BASE >> 12), 0xffff);
		assert_int_equal(collect(t, BASE >> 12), 0);
		for (unsigned i = 0; i < 16; i++)
			assert_false(method == WP && has_w(w->mm, PAGE(i)));
		store(w->cpu[0], PAGE(4), 1);
		assert_int_equal(collect(t, BASE >> 12), 0x10);
		vellum_tracker_destroy(t);
		unmap(w->mm, 0, 16);
	}
}

/* After a failed recording, a part is collected. Entries of the other part lost W, too, so they must be flushed. */
static void after_a_failed_recording_a_part_is_collected(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj;
	struct vellum_tracker *t;
	uint64_t first, then;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 8, 0, &obj));
	map_object(w->mm, 0, 8, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	OK(vellum_track_mapping(obj, 0, 8, WP, &t));
	store(w->cpu[0], PAGE(1), 1);
	collect(t, 0);
	load(w->cpu[0], PAGE(6));
	w->host.fail_at = w->host.nr_allocs + 1;
	store(w->cpu[0], PAGE(6), 1);
	w->host.fail_at = 0;
	OK(vellum_tracker_collect(t, 0, 2, nothing, NULL));
	first = collect(t, 0);
	store(w->cpu[0], PAGE(6), 2);
	then = collect(t, 0);
	vellum_tracker_destroy(t);
	vellum_mapping_put(obj);
	assert_int_equal(first, 0xff);
	assert_int_equal(then, 1 << 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(matrix_store),
		WORLD_TEST(matrix_read_only),
		WORLD_TEST(matrix_store_again),
		WORLD_TEST(matrix_dontneed),
		WORLD_TEST(matrix_munmap),
		WORLD_TEST(matrix_munmap_mmap),
		WORLD_TEST(matrix_mremap),
		WORLD_TEST(matrix_mremap_new_place),
		WORLD_TEST(matrix_fork),
		WORLD_TEST(matrix_mprotect),
		WORLD_TEST(matrix_copy_to_user),
		WORLD_TEST(matrix_populate),
		WORLD_TEST(matrix_unmap_mapping),
		WORLD_TEST(matrix_helpers),
		WORLD_TEST(munmap_of_a_collected_shared_page),
		WORLD_TEST(mremap_of_a_collected_shared_page),
		WORLD_TEST(tracker_of_a_mapping_reports_all_processes),
		WORLD_TEST(tracker_keeps_its_mapping),
		WORLD_TEST(collections_miss_no_store_of_other_trackers),
		WORLD_TEST(wrong_arguments),
		WORLD_TEST(collections_of_a_part),
		WORLD_TEST(callback_may_end_a_collection),
		WORLD_TEST(runs_are_joined),
		WORLD_TEST(after_a_failed_recording_all_pages_are_reported),
		WORLD_TEST(after_a_failed_recording_a_part_is_collected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
