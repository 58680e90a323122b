/* SPDX-License-Identifier: MIT */
/* Threads that store, and collections: no store is missed. */
#include "more_support.h"
#include "mm/space/space.h"

#include <pthread.h>
#include <sched.h>

#define PAGES	32
#define WRITERS 2

#ifdef VELLUM_TSAN
#define COLLECTIONS 2000
#define TURNS	    1500
#else
#define COLLECTIONS 10000
#define TURNS	    6000
#endif

/* Hooks without counters, as several threads call them. */
static int fill_with_index(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	((uint64_t *)vmf->page)[0] = vmf->pgoff;
	return 0;
}

static int agree(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx, (void)vmf;
	return 0;
}

static const struct vellum_backing_ops notified_ops = {
	.size = sizeof(notified_ops),
	.fault = fill_with_index,
	.page_mkwrite = agree,
};

static struct vellum_mapping *notified_object(struct world *w, unsigned pages)
{
	struct vellum_mapping *obj;

	OK(vellum_mapping_create(w->memory, &notified_ops, NULL, pages, 0, &obj));
	return obj;
}

/* --- stores and collections --- */

/* Only writer i % WRITERS stores to page i. It increments the first word. */
struct show {
	struct world *w;
	struct vellum_tracker *t[4];
	unsigned nr_trackers;
	uint64_t replica[4][PAGES];
	uint64_t first_page; /* page number of addresses; 0: the trackers report pages of the mapping */
	unsigned backwards;
	uint32_t stop; /* atomic */
};

struct writer {
	struct show *s;
	unsigned nr;
	pthread_t thread;
	uint64_t stores; /* atomic */
};

static void *keep_counting(void *arg)
{
	struct writer *wr = arg;
	struct vellum_soft_cpu *cpu = wr->s->w->cpu[1 + wr->nr];
	uint64_t seed = 17 + wr->nr, val;

	while (!__atomic_load_n(&wr->s->stop, __ATOMIC_ACQUIRE)) {
		unsigned page = WRITERS * random_below(&seed, PAGES / WRITERS) + wr->nr;

		/* Memory is sufficient: no access may fail. */
		must_in_thread(!vellum_soft_load64(cpu, PAGE(page), &val) &&
			       !vellum_soft_store64(cpu, PAGE(page), val + 1));
		__atomic_fetch_add(&wr->stores, 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

struct feed {
	struct show *s;
	uint64_t *replica;
};

static int feed(void *arg, uint64_t first, uint64_t nr)
{
	static _Thread_local uint64_t page[512];
	struct feed *f = arg;

	for (uint64_t i = first - f->s->first_page; i < first + nr - f->s->first_page; i++) {
		if (i >= PAGES || vellum_peek(f->s->w->mm, PAGE(i), page) != 1)
			continue;
		f->s->backwards += page[0] < f->replica[i];
		f->replica[i] = page[0];
	}
	return 0;
}

static void collect_into(struct show *s, unsigned i)
{
	struct feed f = {s, s->replica[i]};

	OK(vellum_tracker_collect(s->t[i], 0, ~0ull, feed, &f));
}

/* Wait until each writer has stored again, so that no round is without stores. */
static void wait_for_writers(struct writer *writers)
{
	for (unsigned i = 0; i < WRITERS; i++) {
		uint64_t before = __atomic_load_n(&writers[i].stores, __ATOMIC_RELAXED);

		while (__atomic_load_n(&writers[i].stores, __ATOMIC_RELAXED) == before)
			sched_yield();
	}
}

/* @between: operations between two collections. */
static void run_show(struct show *s, void (*between)(struct show *s, unsigned round))
{
	struct writer writers[WRITERS] = {{.s = s}, {.s = s}};

	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i].nr = i;
		vellum_soft_load_mm(s->w->cpu[1 + i], s->w->mm);
		OK(pthread_create(&writers[i].thread, NULL, keep_counting, &writers[i]));
	}
	for (unsigned round = 0; round < COLLECTIONS; round++) {
		if (round % 64 == 0)
			wait_for_writers(writers);
		collect_into(s, round % s->nr_trackers);
		if (between)
			between(s, round);
	}
	__atomic_store_n(&s->stop, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	for (unsigned i = 0; i < s->nr_trackers; i++)
		collect_into(s, i);
	assert_int_equal(s->backwards, 0);
	for (unsigned i = 0; i < s->nr_trackers; i++)
		for (unsigned page = 0; page < PAGES; page++)
			assert_int_equal(s->replica[i][page], load(s->w->cpu[0], PAGE(page)));
	for (unsigned i = 0; i < WRITERS; i++)
		vellum_soft_load_mm(s->w->cpu[1 + i], NULL);
	for (unsigned i = 0; i < s->nr_trackers; i++)
		vellum_tracker_destroy(s->t[i]);
}

static void track(struct show *s, enum vellum_track_method method)
{
	OK(vellum_track_mm(s->w->mm, BASE, PAGE(PAGES), method, &s->t[s->nr_trackers++]));
}

static void no_store_missed_clean(void **state)
{
	struct show s = {.w = *state, .first_page = BASE >> 12};

	map_at(s.w->mm, 0, PAGES, RW, ANON);
	track(&s, VELLUM_TRACK_CLEAN);
	run_show(&s, NULL);
}

static void no_store_missed_wp(void **state)
{
	struct show s = {.w = *state, .first_page = BASE >> 12};

	map_at(s.w->mm, 0, PAGES, RW, ANON);
	track(&s, VELLUM_TRACK_WP);
	run_show(&s, NULL);
}

static void no_store_missed_both(void **state)
{
	struct show s = {.w = *state, .first_page = BASE >> 12};

	map_at(s.w->mm, 0, PAGES, RW, SHANON);
	track(&s, VELLUM_TRACK_WP);
	track(&s, VELLUM_TRACK_CLEAN);
	track(&s, VELLUM_TRACK_CLEAN);
	track(&s, VELLUM_TRACK_WP);
	run_show(&s, NULL);
}

/* The collector forks, too, so that stores copy pages. */
static void fork_sometimes(struct show *s, unsigned round)
{
	struct vellum_mm *child;

	if (round % 50)
		return;
	OK(vellum_fork(s->w->mm, &child));
	vellum_mm_put(child);
}

static void no_store_missed_with_forks(void **state)
{
	struct show s = {.w = *state, .first_page = BASE >> 12};

	map_at(s.w->mm, 0, PAGES, RW, ANON);
	track(&s, VELLUM_TRACK_WP);
	track(&s, VELLUM_TRACK_CLEAN);
	run_show(&s, fork_sometimes);
}

/* Trackers of the mapping, with both helpers, and mprotect of rights that the writers do not use. */
static void helpers_between(struct show *s, unsigned round)
{
	struct vellum_mapping *obj = vma_at(s->w->mm, BASE)->mapping;
	uint64_t bitmap[1] = {0}, start = 0, end = 0;

	if (round % 3 == 0)
		OK(vellum_wp_shared_mapping_range(obj, round % PAGES, 1, NULL));
	else if (round % 3 == 1)
		OK(vellum_clean_record_shared_mapping_range(obj, 0, PAGES, 0, bitmap, &start, &end,
							    NULL));
	else if (round % 30 == 2)
		protect(s->w->mm, 0, PAGES, RW | (round & 1 ? VELLUM_PROT_EXEC : 0));
}

static void no_store_missed_mapping(void **state)
{
	struct show s = {.w = *state};
	struct vellum_mapping *obj = notified_object(s.w, PAGES);

	map_object(s.w->mm, 0, PAGES, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	for (unsigned i = 0; i < PAGES; i++)
		s.replica[0][i] = s.replica[1][i] = i; /* the initial words of the mapping */
	OK(vellum_track_mapping(obj, 0, PAGES, VELLUM_TRACK_WP, &s.t[0]));
	OK(vellum_track_mapping(obj, 0, PAGES, VELLUM_TRACK_CLEAN, &s.t[1]));
	s.nr_trackers = 2;
	run_show(&s, helpers_between);
	vellum_mapping_put(obj);
}

/* A tracker of the mapping, while the VMA is split and merged. */
static void split_between(struct show *s)
{
	protect(s->w->mm, 8, 4, RW | VELLUM_PROT_EXEC);
	protect(s->w->mm, 8, 4, RW);
}

static void *keep_splitting(void *arg)
{
	struct show *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_ACQUIRE))
		split_between(s);
	return NULL;
}

static void no_store_missed_during_splits(void **state)
{
	struct show s = {.w = *state};
	struct vellum_mapping *obj;
	pthread_t thread;

	OK(vellum_mapping_create(s.w->memory, NULL, NULL, PAGES, 0, &obj));
	map_object(s.w->mm, 0, PAGES, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	OK(vellum_track_mapping(obj, 0, PAGES, VELLUM_TRACK_WP, &s.t[0]));
	s.nr_trackers = 1;
	vellum_soft_load_mm(s.w->cpu[1], s.w->mm);
	OK(pthread_create(&thread, NULL, keep_splitting, &s));
	for (unsigned round = 0; round < COLLECTIONS; round++) {
		store(s.w->cpu[1], PAGE(20), round + 1);
		collect_into(&s, 0);
		if (s.replica[0][20] != round + 1)
			s.backwards++; /* a store from before the call is missing */
	}
	__atomic_store_n(&s.stop, 1, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	collect_into(&s, 0);
	vellum_soft_load_mm(s.w->cpu[1], NULL);
	vellum_tracker_destroy(s.t[0]);
	vellum_mapping_put(obj);
	assert_int_equal(s.replica[0][20], COLLECTIONS);
	assert_int_equal(s.backwards, 0);
}

/* --- all operations together --- */

struct mob {
	struct world *w;
	struct vellum_mapping *obj;
	struct vellum_tracker *t[2];
};

static void *use_memory(void *arg)
{
	struct mob *m = arg;
	uint64_t seed = 3;

	for (unsigned i = 0; i < 4 * TURNS; i++) {
		uint64_t addr = PAGE(random_below(&seed, 64));

		if (random_below(&seed, 2))
			try_store(m->w->cpu[1], addr, i);
		else
			try_load(m->w->cpu[1], addr);
	}
	return NULL;
}

static void *change_mappings(void *arg)
{
	struct mob *m = arg;
	uint64_t seed = 4;

	for (unsigned i = 0; i < TURNS; i++) {
		unsigned at = random_below(&seed, 24), pages = 1 + random_below(&seed, 8);

		switch (random_below(&seed, 6)) {
		case 0:
			unmap(m->w->mm, at, pages);
			break;
		case 1:
			map_at(m->w->mm, at, pages, RW, ANON);
			break;
		case 2:
			vellum_mprotect(m->w->mm, PAGE(at), BYTES(pages), i & 1 ? RO : RW);
			break;
		case 3:
			map_object(m->w->mm, 32 + at, pages, RW, VELLUM_MAP_SHARED, m->obj, at, RW);
			break;
		case 4:
			unmap(m->w->mm, 32 + at, pages);
			break;
		default:
			vellum_madvise(m->w->mm, PAGE(at), BYTES(32 + pages), VELLUM_MADV_DONTNEED);
			break;
		}
	}
	return NULL;
}

static void *fork_and_exit(void *arg)
{
	struct mob *m = arg;
	uint64_t seed = 5;

	for (unsigned i = 0; i < TURNS / 10; i++) {
		struct vellum_mm *child;

		if (vellum_fork(m->w->mm, &child))
			continue;
		vellum_soft_load_mm(m->w->cpu[2], child);
		for (unsigned j = 0; j < 20; j++)
			try_store(m->w->cpu[2], PAGE(random_below(&seed, 64)), i);
		vellum_soft_load_mm(m->w->cpu[2], NULL);
		vellum_mm_put(child);
	}
	return NULL;
}

static int nothing(void *arg, uint64_t first, uint64_t nr)
{
	(void)arg, (void)first, (void)nr;
	return 0;
}

static void *run_helpers(void *arg)
{
	struct mob *m = arg;
	uint64_t bitmap[1], start, end, val = 1;

	for (unsigned i = 0; i < TURNS; i++) {
		bitmap[0] = start = end = 0;
		vellum_wp_shared_mapping_range(m->obj, i % 16, 16, NULL);
		vellum_clean_record_shared_mapping_range(m->obj, i % 16, 16, i % 16, bitmap, &start,
							 &end, NULL);
		vellum_tracker_collect(m->t[i & 1], 0, ~0ull, nothing, NULL);
		vellum_copy_to_user(m->w->mm, PAGE(i % 64), &val, 8, NULL);
		if (i % 32 == 0)
			vellum_unmap_mapping_range(m->obj, 0, 32);
	}
	return NULL;
}

static void all_operations_together(void **state)
{
	void *(*const fns[])(void *) = {use_memory, change_mappings, fork_and_exit, run_helpers};
	struct mob m = {.w = *state};
	pthread_t threads[4];

	m.obj = notified_object(m.w, 32);
	vellum_soft_load_mm(m.w->cpu[1], m.w->mm);
	OK(vellum_track_mm(m.w->mm, BASE, PAGE(64), VELLUM_TRACK_CLEAN, &m.t[0]));
	OK(vellum_track_mapping(m.obj, 0, 32, VELLUM_TRACK_WP, &m.t[1]));
	for (unsigned i = 0; i < 4; i++)
		OK(pthread_create(&threads[i], NULL, fns[i], &m));
	for (unsigned i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	check_world(m.w);
	vellum_soft_load_mm(m.w->cpu[1], NULL);
	vellum_tracker_destroy(m.t[0]);
	vellum_tracker_destroy(m.t[1]);
	vellum_mapping_put(m.obj);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(no_store_missed_clean),   WORLD_TEST(no_store_missed_wp),
		WORLD_TEST(no_store_missed_both),    WORLD_TEST(no_store_missed_with_forks),
		WORLD_TEST(no_store_missed_mapping), WORLD_TEST(no_store_missed_during_splits),
		WORLD_TEST(all_operations_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
