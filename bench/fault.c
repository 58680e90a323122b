/* SPDX-License-Identifier: MIT */
/* bench/fault.c - faults on first access and copy-on-write, by one thread and by two. */
#define _GNU_SOURCE
#include "bench/bench.h"
#include "vellum/access.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static const char by_library[] = "software MMU's miss, walk and fault handler";
static const char by_hardware[] = "hardware fault";

static uint64_t count_of(struct world *w, enum vellum_counter counter)
{
	return vellum_mm_counter(w->mm, counter);
}

static double touch_vellum(struct world *w, uint64_t pages)
{
	uint64_t at = map_vellum(w->mm, pages, ANON);
	uint64_t before = count_of(w, VELLUM_COUNT_FAULT_ANON);
	double ns = store_vellum(w->cpu[0], at, pages, 1, 1);

	must(count_of(w, VELLUM_COUNT_FAULT_ANON) - before == pages, "not a fault a page");
	must(!vellum_munmap(w->mm, at, pages * PAGE), "munmap");
	return ns / (double)pages;
}

static double touch_host(uint64_t pages)
{
	char *at = map_host(pages, MAP_PRIVATE);
	uint64_t before = minor_faults();
	double ns = store_host(at, pages, 1, 1);

	must(minor_faults() - before >= pages, "host: not a fault a page");
	unmap_host(at, pages);
	return ns / (double)pages;
}

static void first_touch(struct world *w, uint64_t pages)
{
	struct row *used = row_add("fault.first-touch", "ns/page", by_library, by_hardware);
	struct row *fresh = row_add("fault.first-touch.fresh", "ns/page", by_library, by_hardware);

	row_note(used, "Vellum's RAM was used before: the frame is cleared, as the host clears its own");
	row_note(fresh, "Vellum's RAM was given back to the host: its page faults are in Vellum's figure");
	for (unsigned i = amount(101, 3); i--;) {
		double host = touch_host(pages);

		row_sample(used, touch_vellum(w, pages), host);
		vellum_memory_trim(w->memory);
		row_sample(fresh, touch_vellum(w, pages), host);
	}
}

/* Fork, then time the parent's stores. The child must still have the old bytes. */
static double cow_vellum(struct world *w, uint64_t at, uint64_t pages, uint64_t value)
{
	uint64_t before = count_of(w, VELLUM_COUNT_FAULT_COW), old = 0;
	struct vellum_mm *child;
	double ns;

	store_vellum(w->cpu[0], at, pages, 1, value);
	must(!vellum_fork(w->mm, &child), "vellum_fork");
	ns = store_vellum(w->cpu[0], at, pages, 1, value + 1);
	must(count_of(w, VELLUM_COUNT_FAULT_COW) - before == pages, "not a copy a page");
	must(!vellum_copy_from_user(child, &old, at + (pages - 1) * PAGE, sizeof(old), NULL) && old == value,
	     "the child has its parent's new bytes");
	vellum_mm_put(child);
	return ns / (double)pages;
}

/* Likewise. The child waits until its parent has stored; its exit status is 0 if it still has the old bytes. */
static double cow_host(char *at, uint64_t pages, uint64_t value)
{
	int go[2], status;
	uint64_t before;
	char byte;
	double ns;
	pid_t pid;

	store_host(at, pages, 1, value);
	must(!pipe(go), "pipe");
	pid = fork();
	must(pid >= 0, "fork");
	if (!pid) {
		close(go[1]);
		_exit(read(go[0], &byte, 1) || *(volatile uint64_t *)(at + (pages - 1) * PAGE) != value);
	}
	close(go[0]);
	before = minor_faults();
	ns = store_host(at, pages, 1, value + 1);
	must(minor_faults() - before >= pages, "host: not a fault a page");
	close(go[1]);
	must(waitpid(pid, &status, 0) == pid && !status, "host: the child has its parent's new bytes");
	return ns / (double)pages;
}

static void copy_on_write(struct world *w, uint64_t pages)
{
	struct row *row = row_add("fault.cow", "ns/page", by_library, by_hardware);
	uint64_t at = map_vellum(w->mm, pages, ANON);
	char *host = map_host(pages, MAP_PRIVATE);

	for (unsigned i = amount(101, 3); i--;) {
		double ours = cow_vellum(w, at, pages, 2 * i);

		row_sample(row, ours, cow_host(host, pages, 2 * i));
	}
	unmap_host(host, pages);
	must(!vellum_munmap(w->mm, at, pages * PAGE), "munmap");
}

void bench_fault(void)
{
	uint64_t pages = amount(1024, 512);
	struct world w;

	world_open(&w, 2 * pages);
	first_touch(&w, pages);
	copy_on_write(&w, pages);
	world_close(&w);
}

/* --- two threads --- */

/* Start both threads at once. They spin, as a wake-up takes as long as a hundred faults. */
static void meet(unsigned *waiting)
{
	__atomic_fetch_sub(waiting, 1, __ATOMIC_ACQ_REL);
	while (__atomic_load_n(waiting, __ATOMIC_ACQUIRE))
		sched_yield();
}

/* Run this thread on the @i-th allowed CPU: the scheduler would often leave both threads on one CPU. */
static void pin(const cpu_set_t *all, unsigned i)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		if (CPU_ISSET(cpu, all) && i-- == 0)
			CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);	/* fails if there is no such CPU */
}

struct toucher {
	struct world *world;	/* NULL: the host */
	const cpu_set_t *cpus;
	unsigned *before, *after, cpu;
	uint64_t pages;
	double from, to;	/* out */
};

static void *touch(void *arg)
{
	struct toucher *t = arg;
	uint64_t at = t->world ? map_vellum(t->world->mm, t->pages, ANON) : 0;
	char *host = t->world ? NULL : map_host(t->pages, MAP_PRIVATE);

	pin(t->cpus, t->cpu);
	meet(t->before);
	t->from = now_ns();
	if (t->world)
		store_vellum(t->world->cpu[t->cpu], at, t->pages, 1, 1);
	else
		store_host(host, t->pages, 1, 1);
	t->to = now_ns();
	meet(t->after);
	if (t->world)
		must(!vellum_munmap(t->world->mm, at, t->pages * PAGE), "munmap");
	else
		unmap_host(host, t->pages);
	return NULL;
}

/* Time from the first thread's start to the last thread's end, divided by the pages of all threads. */
static double touch_by(struct world *w, unsigned nr_threads, uint64_t pages, const cpu_set_t *cpus)
{
	unsigned start = nr_threads, end = nr_threads;
	struct toucher t[2] = { { w, cpus, &start, &end, 0, pages, 0, 0 },
				{ w, cpus, &start, &end, 1, pages, 0, 0 } };
	uint64_t before = w ? count_of(w, VELLUM_COUNT_FAULT_ANON) : minor_faults();
	uint64_t faults;
	pthread_t other;

	must(nr_threads < 2 || !pthread_create(&other, NULL, touch, &t[1]), "pthread_create");
	touch(&t[0]);
	if (nr_threads == 2)
		pthread_join(other, NULL);
	else
		t[1].from = t[0].from, t[1].to = t[0].to;
	faults = (w ? count_of(w, VELLUM_COUNT_FAULT_ANON) : minor_faults()) - before;
	must(faults >= nr_threads * pages, "threads: not a fault a page");
	return (fmax(t[0].to, t[1].to) - fmin(t[0].from, t[1].from)) / (double)(nr_threads * pages);
}

void bench_threads(void)
{
	struct row *one = row_add("threads.1", "ns/page", by_library, by_hardware);
	struct row *two = row_add("threads.2", "ns/page", by_library, by_hardware);
	struct row *scaling = row_add("threads.2/1", "x", by_library, by_hardware);
	uint64_t pages = amount(1024, 512);
	struct world w;
	cpu_set_t cpus;

	must(!sched_getaffinity(0, sizeof(cpus), &cpus), "sched_getaffinity");
	row_note(one, "first touch in regions of one address space; time by page of all threads together");
	row_note(scaling, "0.5 would be perfect, 1 no gain; %d CPUs", CPU_COUNT(&cpus));
	world_open(&w, 2 * pages);
	for (unsigned i = amount(101, 3); i--;) {
		double v1 = touch_by(&w, 1, pages, &cpus), h1 = touch_by(NULL, 1, pages, &cpus);
		double v2 = touch_by(&w, 2, pages, &cpus), h2 = touch_by(NULL, 2, pages, &cpus);

		row_sample(one, v1, h1);
		row_sample(two, v2, h2);
		row_sample(scaling, v2 / v1, h2 / h1);
	}
	sched_setaffinity(0, sizeof(cpus), &cpus);
	world_close(&w);
}
