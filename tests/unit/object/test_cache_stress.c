/* SPDX-License-Identifier: MIT */
/* CPUs store to a file during writeback, truncation, hole punching, reclaim and collections. */
#include "file_support.h"

#include <pthread.h>
#include <sched.h>

#define PAGES  48
#define STABLE 32 /* pages below are never truncated or punched, so stores to them stay */
#define STORES 2  /* threads that store; one of them in a child process */

#ifdef VELLUM_TSAN
#define COLLECTIONS 300
#else
#define COLLECTIONS 1000
#endif

/* Only thread i % STORES stores to the first word of page i. It increments the word. */
struct show {
	struct world *w;
	struct file f;
	struct vellum_tracker *t[3]; /* of the parent's memory, and two of the mapping */
	uint64_t replica[3][PAGES];
	struct vellum_mm *child;
	uint32_t stop;		 /* atomic */
	uint64_t stores[STORES]; /* atomic */
	unsigned backwards;	 /* words that decreased, as seen by the collecting thread */
};

struct worker {
	struct show *s;
	unsigned nr;
	void (*turn)(struct show *s, uint64_t *seed, unsigned i);
	pthread_t thread;
};

static void *work(void *arg)
{
	struct worker *wr = arg;
	uint64_t seed = 1000 + wr->nr;

	for (unsigned i = 0; !__atomic_load_n(&wr->s->stop, __ATOMIC_ACQUIRE); i++)
		wr->turn(wr->s, &seed, i);
	return NULL;
}

/*
 * Pages from STABLE on may be truncated meanwhile, so an access may fail, and a store may be lost. The words of the
 * other pages count up without a gap.
 */
static void store_some(struct show *s, uint64_t *seed, unsigned nr)
{
	struct vellum_soft_cpu *cpu = s->w->cpu[1 + nr];
	unsigned page = STORES * random_below(seed, PAGES / STORES) + nr;
	uint64_t val = 0;

	if (vellum_soft_load64(cpu, PAGE(page), &val) ||
	    vellum_soft_store64(cpu, PAGE(page), val + 1)) {
		must_in_thread(page >= STABLE);
		return;
	}
	__atomic_fetch_add(&s->stores[nr], 1, __ATOMIC_RELAXED);
}

static void store_in_parent(struct show *s, uint64_t *seed, unsigned i)
{
	(void)i;
	store_some(s, seed, 0);
}

static void store_in_child(struct show *s, uint64_t *seed, unsigned i)
{
	(void)i;
	store_some(s, seed, 1);
}

/* Private copies of the file's pages, in the parent. Truncation drops them, too. */
#define PRIVATE_AT 64

static void copy_privately(struct show *s, uint64_t *seed, unsigned i)
{
	unsigned page = PRIVATE_AT + random_below(seed, PAGES);

	if (i % 8 == 0)
		must_in_thread(!vellum_madvise(s->w->mm, PAGE(page), BYTES(1), VELLUM_MADV_DONTNEED));
	else if (i % 3)
		try_load(s->w->cpu[3], PAGE(page));
	else
		must_in_thread(try_store(s->w->cpu[3], PAGE(page), i) == VELLUM_FAULT_OK ||
			       page >= PRIVATE_AT + STABLE);
}

/* write(2) and read(2), of another word than the CPUs'. */
static void write_from_outside(struct show *s, uint64_t *seed, unsigned i)
{
	uint64_t page = random_below(seed, PAGES), val = i, got = 0;
	int err = vellum_mapping_write(s->f.mapping, BYTES(page) + 1024, &val, 8);

	must_in_thread(!err || page >= STABLE);
	err = vellum_mapping_read(s->f.mapping, BYTES(page) + 1024, &got, 8);
	must_in_thread(page >= STABLE || (!err && got == val));
	sched_yield();
}

static void write_back(struct show *s, uint64_t *seed, unsigned i)
{
	switch (i % 4) {
	case 0:
		must_in_thread(!vellum_mapping_writeback(s->f.mapping, random_below(seed, PAGES), 8, NULL));
		break;
	case 1:
		vellum_writeback_step(s->w->memory, random_below(seed, 16));
		break;
	case 2:
		must_in_thread(!vellum_mapping_sync(s->f.mapping, 0, PAGES));
		break;
	default: /* also if no VMA maps the file */
		vellum_msync(s->child, PAGE(random_below(seed, PAGES)), BYTES(20), VELLUM_MS_SYNC);
		break;
	}
}

/* As a file system does: first the cache, then the file. Growth brings zeros. */
static void cut_and_punch(struct show *s, uint64_t *seed, unsigned i)
{
	uint64_t pages = STABLE + random_below(seed, PAGES - STABLE + 1);
	uint64_t at = STABLE + random_below(seed, PAGES - STABLE);

	if (i % 2) {
		must_in_thread(!vellum_mapping_set_size(s->f.mapping, BYTES(pages)));
		memset(s->f.bytes + BYTES(pages), 0, BYTES(PAGES - pages));
		sched_yield();
		must_in_thread(!vellum_mapping_set_size(s->f.mapping, BYTES(PAGES)));
	} else {
		must_in_thread(!vellum_mapping_punch_hole(s->f.mapping, BYTES(at), BYTES(2)));
	}
	sched_yield();
}

static void drop_and_clean(struct show *s, uint64_t *seed, unsigned i)
{
	uint64_t bitmap[1] = {0}, start = 0, end = 0;

	switch (i % 6) {
	case 0:
		vellum_reclaim(s->w->memory, 1 + random_below(seed, 8));
		break;
	case 1:
		must_in_thread(!vellum_clean_record_shared_mapping_range(s->f.mapping, 0, PAGES, 0, bitmap,
							       &start, &end, NULL));
		break;
	case 2:
		must_in_thread(!vellum_wp_shared_mapping_range(s->f.mapping, random_below(seed, PAGES), 4,
						     NULL));
		break;
	case 3:
		vellum_unmap_mapping_range(s->f.mapping, random_below(seed, PAGES), 4);
		break;
	case 4:
		if (i % 32 == 4)
			vellum_mapping_invalidate(s->f.mapping);
		break;
	default:
		vellum_madvise(s->w->mm, PAGE(random_below(seed, PAGES - 8)), BYTES(8),
			       i % 12 == 5 ? VELLUM_MADV_DONTNEED : VELLUM_MADV_WILLNEED);
		break;
	}
}

/* --- collections --- */

struct feed {
	struct show *s;
	uint64_t *replica;
	uint64_t first; /* page number of page 0 */
};

static int feed_page(void *arg, uint64_t first, uint64_t nr)
{
	struct feed *f = arg;

	for (uint64_t i = first - f->first; i < first + nr - f->first && i < PAGES; i++) {
		uint64_t val;

		if (vellum_copy_from_user(f->s->w->mm, &val, PAGE(i), 8, NULL))
			val = 0; /* truncated; zero if the file grows again */
		f->s->backwards += i < STABLE && val < f->replica[i];
		f->replica[i] = val;
	}
	return 0;
}

static void collect_into(struct show *s, unsigned i)
{
	struct feed f = {s, s->replica[i], i ? 0 : BASE >> 12};

	OK(vellum_tracker_collect(s->t[i], 0, ~0ull, feed_page, &f));
}

static void wait_for_stores(struct show *s)
{
	for (unsigned i = 0; i < STORES; i++) {
		uint64_t before = __atomic_load_n(&s->stores[i], __ATOMIC_RELAXED);

		while (__atomic_load_n(&s->stores[i], __ATOMIC_RELAXED) == before)
			sched_yield();
	}
}

static void show_create(struct show *s, struct world *w)
{
	memset(s, 0, sizeof(*s));
	s->w = w;
	file_create(&s->f, w, PAGES);
	memset(s->f.bytes, 0, BYTES(PAGES));
	map_shared(w->mm, 0, PAGES, &s->f, 0);
	s->child = fork_on(w->mm, w->cpu[2]);
	vellum_soft_load_mm(w->cpu[1], w->mm);
	vellum_soft_load_mm(w->cpu[3], w->mm);
	map_private(w->mm, PRIVATE_AT, PAGES, &s->f, 0);
	OK(vellum_track_mm(w->mm, BASE, PAGE(1024), VELLUM_TRACK_AUTO, &s->t[0]));
	OK(vellum_track_mapping(s->f.mapping, 0, 1024, VELLUM_TRACK_AUTO, &s->t[1]));
	OK(vellum_track_mapping(s->f.mapping, 0, PAGES, VELLUM_TRACK_WP, &s->t[2]));
}

/* After a last sync, the file has the bytes of memory. */
static void show_compare(struct show *s)
{
	for (unsigned i = 0; i < 3; i++)
		collect_into(s, i);
	check_world(s->w);
	OK(vellum_mapping_sync(s->f.mapping, 0, PAGES));
	assert_int_equal(nr_dirty(&s->f), 0);
	for (unsigned i = 0; i < PAGES; i++) {
		uint64_t val = load(s->w->cpu[0], PAGE(i));

		assert_false(has_w(s->w->mm, PAGE(i)) || has_w(s->child, PAGE(i)));
		assert_int_equal(file_word(&s->f, BYTES(i)), val);
		assert_int_equal(load(s->w->cpu[2], PAGE(i)), val);
		assert_int_equal(file_word(&s->f, BYTES(i) + 1024),
				 load(s->w->cpu[0], PAGE(i) + 1024));
		assert_int_equal(s->replica[1][i], val);
		assert_int_equal(s->replica[2][i], val);
		if (i % STORES == 0) /* the child's stores are not in the parent's tracker */
			assert_int_equal(s->replica[0][i], val);
	}
	assert_int_equal(s->backwards, 0);
}

static void show_destroy(struct show *s)
{
	for (unsigned i = 0; i < 3; i++)
		vellum_tracker_destroy(s->t[i]);
	vellum_soft_load_mm(s->w->cpu[1], NULL);
	vellum_soft_load_mm(s->w->cpu[3], NULL);
	end_child(s->child, s->w->cpu[2]);
	unmap(s->w->mm, 0, PRIVATE_AT + PAGES);
	file_destroy(&s->f);
}

static void run_show(struct world *w, unsigned nr, const struct worker *workers)
{
	static struct show s;
	struct worker wr[8];

	show_create(&s, w);
	for (unsigned i = 0; i < nr; i++) {
		wr[i] = workers[i];
		wr[i].s = &s;
		wr[i].nr = i;
		OK(pthread_create(&wr[i].thread, NULL, work, &wr[i]));
	}
	for (unsigned round = 0; round < COLLECTIONS; round++) {
		if (round % 64 == 0)
			wait_for_stores(&s);
		if (round % 200 == 100) /* the auto tracker's choice changes during the test */
			for (unsigned i = 0; i < 2; i++)
				OK(vellum_tracker_costs(s.t[i], 1000, 1000 + 5000 * (round & 1)));
		collect_into(&s, round % 3);
	}
	__atomic_store_n(&s.stop, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < nr; i++)
		pthread_join(wr[i].thread, NULL);
	show_compare(&s);
	show_destroy(&s);
}

static void stores_and_writeback(void **state)
{
	static const struct worker workers[] = {{.turn = store_in_parent},
						{.turn = store_in_child},
						{.turn = write_back},
						{.turn = write_from_outside}};

	run_show(*state, ARRAY_SIZE(workers), workers);
}

static void stores_and_truncation(void **state)
{
	static const struct worker workers[] = {{.turn = store_in_parent},
						{.turn = store_in_child},
						{.turn = cut_and_punch},
						{.turn = copy_privately}};

	run_show(*state, ARRAY_SIZE(workers), workers);
}

static void stores_and_reclaim(void **state)
{
	static const struct worker workers[] = {
		{.turn = store_in_parent}, {.turn = store_in_child}, {.turn = drop_and_clean}};

	run_show(*state, ARRAY_SIZE(workers), workers);
}

static void all_operations_together(void **state)
{
	static const struct worker workers[] = {
		{.turn = store_in_parent},   {.turn = store_in_child}, {.turn = write_back},
		{.turn = cut_and_punch},     {.turn = drop_and_clean}, {.turn = copy_privately},
		{.turn = write_from_outside}};

	run_show(*state, ARRAY_SIZE(workers), workers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(stores_and_writeback),
		WORLD_TEST(stores_and_truncation),
		WORLD_TEST(stores_and_reclaim),
		WORLD_TEST(all_operations_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
