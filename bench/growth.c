/* SPDX-License-Identifier: MIT */
/*
 * bench/growth.c - how cost grows with the size of the memory, the number of mappings and the number of threads, on both
 * sides: lines for tools/growth-plot.awk.
 */
#define _GNU_SOURCE
#include "bench/bench.h"
#include "vellum/dirty.h"
#include "vellum/snapshot.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS	 amount(5, 1)
#define MAX_ROUNDS 5
#define DIRTY	 64u		/* pages that are stored to before a collection or a restore */
#define FIRST	 (1ull << 32)	/* address of the first of many mappings */
#define HOST_MAPPINGS 60000u	/* vm.max_map_count is 65,530 */

/* One point of a curve: the medians of both sides. */
struct point {
	double ours[MAX_ROUNDS], host[MAX_ROUNDS];
	unsigned nr;
};

static FILE *out;

static void add(struct point *p, double ours, double host)
{
	p->ours[p->nr] = ours;
	p->host[p->nr++] = host;
}

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, unsigned nr)
{
	qsort(values, nr, sizeof(*values), by_value);
	return values[nr / 2];
}

static void print(const char *axis, const char *what, uint64_t at, struct point *p)
{
	const double ours = median(p->ours, p->nr), host = median(p->host, p->nr);

	fprintf(out, "%s %s %llu %.1f ", axis, what, (unsigned long long)at, ours);
	fprintf(out, host > 0 ? "%.1f\n" : "-\n", host);
	p->nr = 0;
}

/* --- against the size --- */

struct sized {
	struct world w;
	uint64_t pages, at;
	char *host;
	struct wp_async armed;
	struct vellum_tracker *tracker;
	struct vellum_snapshot *snapshot;
};

static double host_fork(char *at, uint64_t pages, uint64_t stores)
{
	const double start = now_ns();
	const pid_t pid = fork();
	int status;

	if (!pid) {
		for (uint64_t i = 0; i < stores; i++)
			*(volatile char *)(at + i * (pages / stores) * PAGE) = 1;
		_exit(0);
	}
	must(pid > 0 && waitpid(pid, &status, 0) == pid && status == 0, "growth: fork(2)");
	return now_ns() - start;
}

static double fork_ours(struct vellum_mm *mm)
{
	const double start = now_ns();
	struct vellum_mm *child;

	must(!vellum_fork(mm, &child), "growth: vellum_fork");
	vellum_mm_put(child);
	return now_ns() - start;
}

static int count_pages(void *arg, uint64_t first, uint64_t nr)
{
	(void)first;
	*(uint64_t *)arg += nr;
	return 0;
}

static double collect_ours(struct sized *s)
{
	uint64_t count = 0;
	double ns;

	store_vellum(s->w.cpu[0], s->at, s->pages, s->pages / DIRTY, 3);
	ns = now_ns();
	must(!vellum_tracker_collect(s->tracker, 0, ~0ull, count_pages, &count), "growth: collect");
	ns = now_ns() - ns;
	must(count == DIRTY, "growth: %llu pages are dirty", (unsigned long long)count);
	return ns;
}

static double collect_host(struct sized *s)
{
	double ns;

	store_host(s->host, s->pages, s->pages / DIRTY, 3);
	ns = now_ns();
	must(wp_async_written(&s->armed, true) == DIRTY, "growth: PAGEMAP_SCAN");
	return now_ns() - ns;
}

static double protect_ours(struct sized *s)
{
	const double start = now_ns();

	must(!vellum_mprotect(s->w.mm, s->at, s->pages * PAGE, VELLUM_PROT_READ) &&
		     !vellum_mprotect(s->w.mm, s->at, s->pages * PAGE, RW), "growth: mprotect");
	return now_ns() - start;
}

static double protect_host(struct sized *s)
{
	const double start = now_ns();

	must(!mprotect(s->host, s->pages * PAGE, PROT_READ) && !mprotect(s->host, s->pages * PAGE, PROT_READ | PROT_WRITE),
	     "growth: mprotect(2)");
	return now_ns() - start;
}

static double restore_ours(struct sized *s)
{
	double ns;

	store_vellum(s->w.cpu[0], s->at, s->pages, s->pages / DIRTY, 9);
	ns = now_ns();
	must(!vellum_snapshot_restore(s->snapshot), "growth: restore");
	return now_ns() - ns;
}

static void touch_size(struct sized *s)
{
	struct point p = { .nr = 0 };

	for (unsigned i = 0; i < ROUNDS; i++) {
		const uint64_t at = map_vellum(s->w.mm, s->pages, ANON);
		char *host = map_host(s->pages, MAP_PRIVATE);

		add(&p, store_vellum(s->w.cpu[0], at, s->pages, 1, 1), store_host(host, s->pages, 1, 1));
		must(!vellum_munmap(s->w.mm, at, s->pages * PAGE), "munmap");
		unmap_host(host, s->pages);
	}
	print("MiB", "touch", s->pages * PAGE / MIB, &p);
}

/* The tracker and the snapshot would find each other's changes: one after the other. */
static void track_size(struct sized *s)
{
	struct point p = { .nr = 0 };
	const bool has_host = !wp_async_open(&s->armed, s->host, s->pages);

	must(!vellum_track_mm(s->w.mm, s->at, s->at + s->pages * PAGE, VELLUM_TRACK_AUTO, &s->tracker), "growth: tracker");
	collect_ours(s);
	for (unsigned i = 0; i < ROUNDS; i++)
		add(&p, collect_ours(s), has_host ? collect_host(s) : 0);
	print("MiB", "collect", s->pages * PAGE / MIB, &p);
	vellum_tracker_destroy(s->tracker);
	if (has_host)
		wp_async_close(&s->armed);
}

static void by_size(uint64_t mib)
{
	struct sized s = { .pages = mib * MIB / PAGE };
	struct vellum_mm *mms[1];
	struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = 1, .mms = mms };
	struct point p = { .nr = 0 };

	world_open(&s.w, 2 * s.pages + 1024);
	touch_size(&s);
	s.at = map_vellum(s.w.mm, s.pages, ANON);
	s.host = map_host(s.pages, MAP_PRIVATE);
	store_vellum(s.w.cpu[0], s.at, s.pages, 1, 1);
	store_host(s.host, s.pages, 1, 1);
	for (unsigned i = 0; i < ROUNDS; i++)
		add(&p, fork_ours(s.w.mm), host_fork(s.host, s.pages, 0));
	print("MiB", "fork", mib, &p);
	store_vellum(s.w.cpu[0], s.at, s.pages, 1, 1);
	store_host(s.host, s.pages, 1, 1);
	for (unsigned i = 0; i < ROUNDS; i++)
		add(&p, protect_ours(&s), protect_host(&s));
	print("MiB", "mprotect", mib, &p);
	track_size(&s);
	mms[0] = s.w.mm;
	must(!vellum_snapshot_create(&args, &s.snapshot), "growth: snapshot");
	restore_ours(&s);
	for (unsigned i = 0; i < ROUNDS; i++)
		add(&p, restore_ours(&s), host_fork(s.host, s.pages, DIRTY));
	print("MiB", "restore", mib, &p);
	vellum_snapshot_destroy(s.snapshot);
	unmap_host(s.host, s.pages);
	world_close(&s.w);
}

/* --- against the number of mappings: pages, each a mapping of its own, by turns readable and not --- */

static void make_ours(struct vellum_mm *mm, unsigned nr)
{
	struct vellum_map_args args = { .size = sizeof(args), .len = PAGE, .flags = ANON | VELLUM_MAP_FIXED };
	uint64_t at;

	for (unsigned i = 0; i < nr; i++) {
		args.addr = FIRST + i * PAGE;
		args.prot = i & 1 ? VELLUM_PROT_READ : VELLUM_PROT_NONE;
		must(!vellum_mmap(mm, &args, &at), "growth: mmap");
	}
}

static char *make_host(unsigned nr)
{
	char *at = mmap(NULL, nr * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	must(at != MAP_FAILED, "growth: mmap(2)");
	for (unsigned i = 1; i < nr; i += 2)
		must(!mprotect(at + i * PAGE, PAGE, PROT_READ), "growth: mprotect(2)");
	return at;
}

/* Map and unmap one page, @times times. */
static double map_ours(struct vellum_mm *mm, unsigned times)
{
	const double start = now_ns();

	for (unsigned i = 0; i < times; i++) {
		const uint64_t at = map_vellum(mm, 1, ANON);

		must(!vellum_munmap(mm, at, PAGE), "munmap");
	}
	return (now_ns() - start) / times;
}

static double map_theirs(unsigned times)
{
	const double start = now_ns();

	for (unsigned i = 0; i < times; i++) {
		void *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		must(at != MAP_FAILED && !munmap(at, PAGE), "growth: mmap(2)");
	}
	return (now_ns() - start) / times;
}

/* A page at random: writable, and back. @mm NULL: the host. */
static double protect_random(struct vellum_mm *mm, char *host, unsigned nr, unsigned times)
{
	uint64_t seed = 1;
	const double start = now_ns();

	for (unsigned i = 0; i < times; i++) {
		const uint64_t page = (seed = seed * 6364136223846793005ull + 1) >> 33;
		const uint64_t at = (page % (nr / 2)) * 2 * PAGE;
		bool ok;

		if (mm)
			ok = !vellum_mprotect(mm, FIRST + at, PAGE, RW) &&
			     !vellum_mprotect(mm, FIRST + at, PAGE, VELLUM_PROT_NONE);
		else
			ok = !mprotect(host + at, PAGE, PROT_READ | PROT_WRITE) && !mprotect(host + at, PAGE, PROT_NONE);
		must(ok, "growth: mprotect");
	}
	return (now_ns() - start) / (2 * times);
}

static void by_mappings(unsigned nr)
{
	const unsigned times = amount(20000, 100);
	const bool has_host = nr <= HOST_MAPPINGS;
	char *host = has_host ? make_host(nr) : NULL;
	struct point p = { .nr = 0 };
	struct world w;

	world_open(&w, 4096);
	must(!vellum_set_max_map_count(w.memory, 1u << 30), "growth: map count");
	make_ours(w.mm, nr);
	for (unsigned i = 0; i < ROUNDS; i++)
		add(&p, map_ours(w.mm, times), has_host ? map_theirs(times) : 0);
	print("mappings", "mmap", nr, &p);
	for (unsigned i = 0; i < ROUNDS; i++)
		add(&p, protect_random(w.mm, NULL, nr, times), has_host ? protect_random(NULL, host, nr, times) : 0);
	print("mappings", "mprotect", nr, &p);
	for (unsigned i = 0; i < ROUNDS; i++)
		add(&p, fork_ours(w.mm), has_host ? host_fork(NULL, 0, 0) : 0);
	print("mappings", "fork", nr, &p);
	if (has_host)
		must(!munmap(host, nr * PAGE), "munmap");
	world_close(&w);
}

/* --- against the number of threads --- */

struct toucher {
	struct vellum_soft_cpu *cpu;	/* NULL: the host */
	pthread_barrier_t *start;
	pthread_t thread;
	uint64_t at, pages;
	char *host;
};

static void *touch(void *arg)
{
	const struct toucher *t = arg;

	pthread_barrier_wait(t->start);
	if (t->cpu)
		store_vellum(t->cpu, t->at, t->pages, 1, 1);
	else
		store_host(t->host, t->pages, 1, 1);
	return NULL;
}

/* ns a page. */
static double touch_by(struct world *w, struct vellum_soft_cpu **cpus, unsigned nr, uint64_t pages)
{
	struct toucher t[4];
	pthread_barrier_t start;
	double ns;

	pthread_barrier_init(&start, NULL, nr + 1);
	for (unsigned i = 0; i < nr; i++) {
		t[i] = (struct toucher){ .cpu = w ? cpus[i] : NULL, .start = &start, .pages = pages,
					 .at = w ? map_vellum(w->mm, pages, ANON) : 0,
					 .host = w ? NULL : map_host(pages, MAP_PRIVATE) };
		must(!pthread_create(&t[i].thread, NULL, touch, &t[i]), "no thread");
	}
	ns = now_ns();
	pthread_barrier_wait(&start);
	for (unsigned i = 0; i < nr; i++)
		pthread_join(t[i].thread, NULL);
	ns = now_ns() - ns;
	for (unsigned i = 0; i < nr; i++) {
		if (w)
			must(!vellum_munmap(w->mm, t[i].at, pages * PAGE), "munmap");
		else
			unmap_host(t[i].host, pages);
	}
	pthread_barrier_destroy(&start);
	return ns / (double)(nr * pages);
}

static void by_threads(void)
{
	const uint64_t pages = amount(16384, 256);
	struct point p = { .nr = 0 };
	struct vellum_soft_cpu *cpus[4];
	struct world w;

	world_open(&w, 4 * pages + 1024);
	for (unsigned i = 0; i < 4; i++) {
		cpus[i] = i < 2 ? w.cpu[i] : vellum_soft_cpu(w.soft, i);
		if (i >= 2)
			vellum_soft_load_mm(cpus[i], w.mm);
	}
	for (unsigned nr = 1; nr <= 4; nr++) {
		for (unsigned i = 0; i < ROUNDS; i++)
			add(&p, touch_by(&w, cpus, nr, pages), touch_by(NULL, NULL, nr, pages));
		print("threads", "touch", nr, &p);
	}
	vellum_soft_load_mm(cpus[2], NULL);
	vellum_soft_load_mm(cpus[3], NULL);
	world_close(&w);
}

void bench_growth(void)
{
	out = options.growth ? fopen(options.growth, "w") : stdout;
	must(out, "cannot write %s", options.growth);
	for (uint64_t mib = 1; mib <= amount(2048, 4); mib *= options.quick || mib >= 1024 ? 2 : 4)
		by_size(mib);
	for (unsigned nr = 10; nr <= amount(1000000, 100); nr *= 10)
		by_mappings(nr);
	by_threads();
	if (options.growth)
		must(!fclose(out), "cannot write %s", options.growth);
}
