/* SPDX-License-Identifier: MIT */
/*
 * bench/auto.c - the tracker that chooses its method (auto), compared with wp and clean: cost of stores and
 * collection together. Both sides are Vellum's; the "host" column is the other method.
 */
#include "bench/bench.h"
#include "vellum/dirty.h"

#define NR_METHODS 3
#define WARM_UP 6		/* rounds in which auto chooses its method */
#define WORTH (1 / 1.15)	/* auto may cost at most 15 % more than the better method */

static const enum vellum_track_method methods[NR_METHODS] = { VELLUM_TRACK_AUTO, VELLUM_TRACK_WP,
							      VELLUM_TRACK_CLEAN };

/* Pages stored to in each round: every @step-th page of the dense part, every @sparse_step-th of the sparse part. */
struct pattern {
	const char *name;
	uint64_t dense, step;		/* pages */
	uint64_t sparse, sparse_step;	/* pages; 0: none */
	double goal;
};

struct writer {
	uint64_t at;
	struct vellum_tracker *tracker;
};

static int count_pages(void *arg, uint64_t first, uint64_t nr)
{
	(void)first;
	*(uint64_t *)arg += nr;
	return 0;
}

static uint64_t divide_up(uint64_t a, uint64_t b)
{
	return (a + b - 1) / b;
}

/* One round of one writer, ns. */
static double run_writer(struct world *w, const struct writer *wr, const struct pattern *p, uint64_t value)
{
	uint64_t want = divide_up(p->dense, p->step), got = 0;
	double ns = store_vellum(w->cpu[0], wr->at, p->dense, p->step, value), start;

	if (p->sparse) {
		ns += store_vellum(w->cpu[0], wr->at + p->dense * PAGE, p->sparse, p->sparse_step, value);
		want += divide_up(p->sparse, p->sparse_step);
	}
	start = now_ns();
	must(!vellum_tracker_collect(wr->tracker, 0, ~0ull, count_pages, &got), "auto: collection");
	ns += now_ns() - start;
	must(got == want, "auto: %llu pages, not %llu", (unsigned long long)got, (unsigned long long)want);
	return ns;
}

static void open_writer(struct world *w, struct writer *wr, uint64_t pages, enum vellum_track_method method)
{
	wr->at = map_vellum(w->mm, pages, ANON);
	store_vellum(w->cpu[0], wr->at, pages, 1, 1);
	must(!vellum_track_mm(w->mm, wr->at, wr->at + pages * PAGE, method, &wr->tracker), "no tracker");
}

static struct row *row_against(const struct pattern *p, const char *method)
{
	char name[64];
	struct row *row;

	snprintf(name, sizeof(name), "auto.%s/%s", p->name, method);
	row = row_add(name, "us", "--track=auto, stores and collection", "the other method, the same work");
	row_goal_ratio(row, p->goal);
	return row;
}

static void run_pattern(const struct pattern *p)
{
	struct row *wp = row_against(p, "wp"), *clean = row_against(p, "clean");
	uint64_t pages = p->dense + p->sparse;
	struct writer wr[NR_METHODS];
	struct world w;

	world_open(&w, NR_METHODS * pages);
	for (unsigned i = 0; i < NR_METHODS; i++)
		open_writer(&w, &wr[i], pages, methods[i]);
	for (unsigned round = 0; round < WARM_UP + amount(25, 2); round++) {
		double us[NR_METHODS];

		for (unsigned i = 0; i < NR_METHODS; i++)
			us[i] = run_writer(&w, &wr[i], p, round + 2) / 1000;
		if (round < WARM_UP)
			continue;
		row_sample(wp, us[0], us[1]);
		row_sample(clean, us[0], us[2]);
	}
	for (unsigned i = 0; i < NR_METHODS; i++)
		vellum_tracker_destroy(wr[i].tracker);
	world_close(&w);
}

void bench_auto(void)
{
	uint64_t pages = amount(65536, 2048);
	const struct pattern patterns[] = {
		{ "1%", pages, 100, 0, 0, WORTH },
		{ "10%", pages, 10, 0, 0, WORTH },
		{ "50%", pages, 2, 0, 0, WORTH },
		{ "100%", pages, 1, 0, 0, WORTH },
		/* A heap that is stored to everywhere, and a large VMA with few stores. */
		{ "dense+sparse", pages / 32, 1, 3 * pages, pages, 1 },
	};

	for (unsigned i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++)
		run_pattern(&patterns[i]);
}
