/* SPDX-License-Identifier: MIT */
/*
 * bench/snapshot.c - reset a process's memory after each run: by a snapshot, and the ways without one.
 *
 * A run stores to pages that are chosen at random once. The rows "restore" time the restore alone, the rows "cycle" a
 * run and what resets it, since the other ways make the next run pay with faults.
 */
#define _GNU_SOURCE
#include "bench/bench.h"
#include "vellum/access.h"
#include "vellum/backing.h"
#include "vellum/dirty.h"
#include "vellum/mmu.h"
#include "vellum/snapshot.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define ENTRIES 512
#define ENTRY_DIRTY 0x40ull

/* A process of @pages pages, its snapshot, and the pages that a run stores to. */
struct target {
	struct world w;
	struct vellum_snapshot *snapshot;
	uint64_t at, pages;
	uint64_t *dirty;
	unsigned nr_dirty;
	uint64_t value;
};

/* @nr distinct pages, spread over all of them. */
static uint64_t *choose(uint64_t pages, unsigned nr)
{
	uint64_t *chosen = calloc(nr, sizeof(*chosen)), stride = pages / nr;

	must(chosen, "no memory");
	srand(1);
	for (unsigned i = 0; i < nr; i++)
		chosen[i] = i * stride + (uint64_t)rand() % stride;
	return chosen;
}

static void freeze(struct target *t)
{
	struct vellum_mm *mms[] = { t->w.mm };
	struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = 1, .mms = mms, .max_kept_pages = ~0ull };

	must(!vellum_snapshot_create(&args, &t->snapshot), "vellum_snapshot_create");
}

/* @room: frames for what runs store to. */
static void target_open(struct target *t, uint64_t pages, unsigned nr_dirty, uint64_t room)
{
	memset(t, 0, sizeof(*t));
	t->pages = pages;
	t->nr_dirty = nr_dirty;
	t->dirty = choose(pages, nr_dirty);
	world_open(&t->w, pages + room + pages / 256);
	t->at = map_vellum(t->w.mm, pages, ANON);
	store_vellum(t->w.cpu[0], t->at, pages, 1, 7);
}

static void target_close(struct target *t)
{
	vellum_snapshot_destroy(t->snapshot);
	must(!vellum_munmap(t->w.mm, t->at, t->pages * PAGE), "munmap");
	world_close(&t->w);
	free(t->dirty);
}

static void run_on(struct target *t, struct vellum_soft_cpu *cpu)
{
	unsigned bad = 0;

	t->value++;
	for (unsigned i = 0; i < t->nr_dirty; i++)
		bad |= vellum_soft_store64(cpu, t->at + t->dirty[i] * PAGE, 1000 + t->value);
	must(!bad, "a store faulted");
}

static double time_restore(struct target *t)
{
	double start = now_ns();

	must(!vellum_snapshot_restore(t->snapshot), "vellum_snapshot_restore");
	return now_ns() - start;
}

/* A run and its restore. Return: the time of the restore in us. */
static double run_and_restore(void *arg)
{
	struct target *t = arg;

	run_on(t, t->w.cpu[0]);
	return time_restore(t) / 1000;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* The median of several times, one after the other: between rounds, other work fills the host's caches. */
static double median_of(double (*once)(void *arg), void *arg)
{
	double us[65];
	unsigned nr = amount(65, 3);

	for (unsigned i = 0; i < nr; i++)
		us[i] = once(arg);
	qsort(us, nr, sizeof(*us), by_value);
	return us[nr / 2];
}

static double median_restore(struct target *t)
{
	return median_of(run_and_restore, t);
}

static void must_be_restored(struct target *t)
{
	struct vellum_snapshot_difference diff = { .size = sizeof(diff) };

	must(!vellum_snapshot_verify(t->snapshot, &diff), "the restore missed something at %llx",
	     (unsigned long long)diff.address);
}

/* --- the floor: find the dirty entries in an array as large as the tables, and copy their pages --- */

struct floor {
	uint64_t *tables;
	char *run, *frozen;
	uint64_t pages;
	const uint64_t *dirty;
	unsigned nr_dirty;
};

static void floor_open(struct floor *f, const struct target *t)
{
	uint64_t pages = t->pages;

	f->pages = pages;
	f->dirty = t->dirty;
	f->nr_dirty = t->nr_dirty;
	f->tables = aligned_alloc(PAGE, pages * sizeof(*f->tables));
	f->run = aligned_alloc(PAGE, pages * PAGE);
	f->frozen = aligned_alloc(PAGE, pages * PAGE);
	must(f->tables && f->run && f->frozen, "no memory");
	for (uint64_t i = 0; i < pages; i++)
		f->tables[i] = 1;
	memset(f->run, 1, pages * PAGE);
	memset(f->frozen, 2, pages * PAGE);
}

static void floor_close(struct floor *f)
{
	free(f->tables);
	free(f->run);
	free(f->frozen);
}

static unsigned floor_line(struct floor *f, uint64_t first)
{
	unsigned found = 0;

	for (uint64_t i = first; i < first + 8; i++)
		if (f->tables[i] & ENTRY_DIRTY) {
			memcpy(f->run + i * PAGE, f->frozen + i * PAGE, PAGE);
			f->tables[i] &= ~ENTRY_DIRTY;
			found++;
		}
	return found;
}

static double time_floor(void *arg)
{
	struct floor *f = arg;
	unsigned found = 0;
	double start;

	for (unsigned i = 0; i < f->nr_dirty; i++) {
		f->tables[f->dirty[i]] |= ENTRY_DIRTY;
		f->run[f->dirty[i] * PAGE] = 3;
	}
	start = now_ns();
	for (uint64_t i = 0; i < f->pages; i += 8) {
		const volatile uint64_t *e = &f->tables[i];

		if ((e[0] | e[1] | e[2] | e[3] | e[4] | e[5] | e[6] | e[7]) & ENTRY_DIRTY)
			found += floor_line(f, i);
	}
	start = now_ns() - start;
	must(found == f->nr_dirty, "the floor found %u of %u pages", found, f->nr_dirty);
	return start / 1000;
}

/* --- rows --- */

struct restores {
	struct target t64, big_run, t8, gib;	/* big_run: as t64, but a run once stored to all pages */
	struct floor floor;
};

static void restores_open(struct restores *r)
{
	uint64_t pages = 64 * MIB / PAGE;

	target_open(&r->t64, pages, 64, 1024);
	target_open(&r->big_run, pages, 64, pages);
	target_open(&r->t8, pages, 8, 1024);
	target_open(&r->gib, amount(1024, 64) * MIB / PAGE, 8, 1024);
	floor_open(&r->floor, &r->t64);
	freeze(&r->t64);
	freeze(&r->big_run);
	freeze(&r->t8);
	freeze(&r->gib);
	store_vellum(r->big_run.w.cpu[0], r->big_run.at, pages, 1, 9);
	time_restore(&r->big_run);
}

static void restores_close(struct restores *r)
{
	struct target *targets[] = { &r->gib, &r->t8, &r->big_run, &r->t64 };

	floor_close(&r->floor);
	for (unsigned i = 0; i < 4; i++) {
		must_be_restored(targets[i]);
		target_close(targets[i]);
	}
}

static void bench_restores(void)
{
	static const char call[] = "library call vellum_snapshot_restore()";
	struct row *least = row_add("snapshot.restore.64of64M", "us", call, "a loop that finds and copies them in arrays");
	struct row *after = row_add("snapshot.restore.bigrun", "us", call, "the same without that run");
	struct row *large = row_add("snapshot.restore.8of1G", "us", call, "the same, of 64 MiB");
	struct restores r;

	restores_open(&r);
	row_goal_ratio(least, 1 / 2.2);
	row_goal_ratio(after, 1 / 1.2);
	row_goal_ratio(large, 0.5);
	row_note(least, "a run stored to 64 of 16,384 pages, two in each table");
	row_note(after, "as above, after one run that stored to all pages");
	row_note(large, "a run stored to 8 pages of 1 GiB");
	for (unsigned i = 0; i < amount(25, 2); i++) {
		double us = median_restore(&r.t64);

		row_sample(least, us, median_of(time_floor, &r.floor));
		row_sample(after, median_restore(&r.big_run), us);
		us = median_restore(&r.t8);
		row_sample(large, median_restore(&r.gib), us);
	}
	restores_close(&r);
}

/* What a snapshot costs, beside a fork, which does about the same once. */
static void bench_create(void)
{
	struct row *row = row_add("snapshot.create", "us", "library call vellum_snapshot_create()", "library call vellum_fork()");
	struct vellum_mm *child;
	struct target t;
	double start, us;

	target_open(&t, 64 * MIB / PAGE, 64, 64 * MIB / PAGE);
	row_note(row, "64 MiB, all of it written");
	for (unsigned i = 0; i < amount(15, 2); i++) {
		store_vellum(t.w.cpu[0], t.at, t.pages, 1, i);
		start = now_ns();
		must(!vellum_fork(t.w.mm, &child), "vellum_fork");
		us = (now_ns() - start) / 1000;
		vellum_mm_put(child);
		store_vellum(t.w.cpu[0], t.at, t.pages, 1, i + 1);
		start = now_ns();
		freeze(&t);
		row_sample(row, (now_ns() - start) / 1000, us);
		vellum_snapshot_destroy(t.snapshot);
		t.snapshot = NULL;
	}
	target_close(&t);
}

/* --- the ways without a snapshot --- */

struct host_side {
	char *at, *file;
	uint64_t pages, *dirty, value;
	unsigned nr_dirty;
};

enum { FORK, DONTNEED };

static void host_run(struct host_side *s, char *at)
{
	s->value++;
	for (unsigned i = 0; i < s->nr_dirty; i++)
		*(volatile uint64_t *)(at + s->dirty[i] * PAGE) = 1000 + s->value;
}

static bool host_fork(struct host_side *s)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		host_run(s, s->at);
		_exit(0);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static void host_prepare(struct host_side *s)
{
	int fd = memfd_create("bench", 0);

	s->at = map_host(s->pages, MAP_PRIVATE);
	store_host(s->at, s->pages, 1, 7);
	must(fd >= 0 && write(fd, s->at, s->pages * PAGE) == (ssize_t)(s->pages * PAGE), "memfd");
	s->file = mmap(NULL, s->pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	must(s->file != MAP_FAILED, "mmap of a memfd");
	close(fd);
}

static void serve(void *arg, int command, struct answer *a)
{
	struct host_side *s = arg;
	double start;

	if (!s->at)
		host_prepare(s);
	start = now_ns();
	a->done = true;
	if (command == FORK) {
		a->done = host_fork(s);
	} else {
		host_run(s, s->file);
		a->done = !madvise(s->file, s->pages * PAGE, MADV_DONTNEED);
	}
	a->ns[0] = now_ns() - start;
}

struct cycles {
	struct helper host;
	struct host_side side;
	struct target t, other;		/* with a snapshot, and without */
	struct vellum_tracker *tracker;	/* of the other */
	struct vellum_mapping *mapping;
	uint64_t file;			/* where the other maps it, private */
	char *frozen;
};

static double cycle_restore(void *arg)
{
	struct cycles *c = arg;
	double start = now_ns();

	run_on(&c->t, c->t.w.cpu[0]);
	must(!vellum_snapshot_restore(c->t.snapshot), "vellum_snapshot_restore");
	return (now_ns() - start) / 1000;
}

static double cycle_fork(void *arg)
{
	struct target *t = &((struct cycles *)arg)->other;
	double start = now_ns();
	struct vellum_mm *child;

	must(!vellum_fork(t->w.mm, &child), "vellum_fork");
	vellum_soft_load_mm(t->w.cpu[1], child);
	run_on(t, t->w.cpu[1]);
	vellum_soft_load_mm(t->w.cpu[1], t->w.mm);
	vellum_mm_put(child);
	return (now_ns() - start) / 1000;
}

static int copy_back(void *arg, uint64_t first, uint64_t nr)
{
	const struct cycles *c = arg;

	return vellum_copy_to_user(c->other.w.mm, first * PAGE, c->frozen + (first * PAGE - c->other.at), nr * PAGE, NULL);
}

/* The copies are dirt again: the next collection reports their pages once more. */
static double cycle_tracker(void *arg)
{
	struct cycles *c = arg;
	double start = now_ns();

	run_on(&c->other, c->other.w.cpu[0]);
	must(!vellum_tracker_collect(c->tracker, 0, ~0ull, copy_back, c), "vellum_tracker_collect");
	return (now_ns() - start) / 1000;
}

static double cycle_dontneed(void *arg)
{
	struct cycles *c = arg;
	struct target *t = &c->other;
	double start = now_ns();
	uint64_t at = t->at;

	t->at = c->file;
	run_on(t, t->w.cpu[0]);
	t->at = at;
	must(!vellum_madvise(t->w.mm, c->file, t->pages * PAGE, VELLUM_MADV_DONTNEED), "madvise");
	return (now_ns() - start) / 1000;
}

static double host_cycle_fork(void *arg)
{
	return helper_ask(&((struct cycles *)arg)->host, FORK).ns[0] / 1000;
}

static double host_cycle_dontneed(void *arg)
{
	return helper_ask(&((struct cycles *)arg)->host, DONTNEED).ns[0] / 1000;
}

/* A private mapping of shared memory with the content of the target. */
static uint64_t map_private(struct target *t, struct vellum_mapping **mapping)
{
	struct vellum_map_args args = { .size = sizeof(args), .len = t->pages * PAGE, .prot = RW,
					.flags = VELLUM_MAP_PRIVATE, .file_prot = RW };
	uint64_t at, seven = 7;

	must(!vellum_mapping_create(t->w.memory, NULL, NULL, t->pages, 0, mapping), "vellum_mapping_create");
	for (uint64_t i = 0; i < t->pages; i++)
		must(!vellum_mapping_write(*mapping, i * PAGE, &seven, sizeof(seven)), "vellum_mapping_write");
	args.mapping = *mapping;
	must(!vellum_mmap(t->w.mm, &args, &at), "mmap");
	return at;
}

static void cycles_open(struct cycles *c)
{
	uint64_t pages = 64 * MIB / PAGE;

	memset(c, 0, sizeof(*c));
	c->side = (struct host_side){ .pages = pages, .nr_dirty = 64, .dirty = choose(pages, 64) };
	helper_start(&c->host, serve, &c->side);
	target_open(&c->t, pages, 64, 1024);
	target_open(&c->other, pages, 64, 3 * pages);
	c->frozen = calloc(pages, PAGE);
	must(c->frozen && !vellum_copy_from_user(c->t.w.mm, c->frozen, c->t.at, pages * PAGE, NULL), "no memory");
	c->file = map_private(&c->other, &c->mapping);
	must(!vellum_track_mm(c->other.w.mm, c->other.at, c->other.at + pages * PAGE, VELLUM_TRACK_AUTO, &c->tracker),
	     "no tracker");
	freeze(&c->t);
}

static void cycles_close(struct cycles *c)
{
	must_be_restored(&c->t);
	vellum_tracker_destroy(c->tracker);
	must(!vellum_munmap(c->other.w.mm, c->file, c->other.pages * PAGE), "munmap");
	vellum_mapping_put(c->mapping);
	target_close(&c->other);
	target_close(&c->t);
	helper_stop(&c->host);
	free(c->frozen);
	free(c->side.dirty);
}

static void bench_cycles(void)
{
	static const char by_host[] = "fork(2), 64 stores, exit and wait4(2)";
	struct row *restore = row_add("snapshot.cycle.restore", "us", "64 stores, vellum_snapshot_restore()", by_host);
	struct row *forked = row_add("snapshot.cycle.fork", "us", "vellum_fork(), 64 stores, vellum_mm_put()", by_host);
	struct row *tracked = row_add("snapshot.cycle.tracker", "us", "64 stores, a collection, copies", by_host);
	struct row *dropped = row_add("snapshot.cycle.dontneed", "us", "64 stores, MADV_DONTNEED",
				      "64 stores, MADV_DONTNEED");
	struct cycles c;

	cycles_open(&c);
	row_note(restore, "a run that stores to 64 pages of 64 MiB, and its reset");
	for (unsigned i = 0; i < amount(9, 2); i++) {
		double by_fork = median_of(host_cycle_fork, &c);

		row_sample(restore, median_of(cycle_restore, &c), by_fork);
		row_sample(tracked, median_of(cycle_tracker, &c), by_fork);
		row_sample(forked, median_of(cycle_fork, &c), by_fork);
		row_sample(dropped, median_of(cycle_dontneed, &c), median_of(host_cycle_dontneed, &c));
	}
	cycles_close(&c);
}

void bench_snapshot(void)
{
	bench_restores();
	bench_create();
	bench_cycles();
}
