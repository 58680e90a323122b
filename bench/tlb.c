/* SPDX-License-Identifier: MIT */
/*
 * bench/tlb.c - an access that hits the software TLB, compared with a plain access: alone, and while another thread
 * removes rights in the same address space, so that translations of this CPU are flushed remotely.
 */
#define _GNU_SOURCE
#include "bench/bench.h"

#include <pthread.h>
#include <sys/mman.h>
#include <time.h>

#define NR_PAGES 32ull
#define STRIDE (PAGE + 64)	/* each access is to another page and another cache line */
#define SPAN (NR_PAGES * PAGE)
#define FLUSH_PAUSE_NS 50000

struct tlb {
	struct world w;
	uint64_t at, flushed;	/* pages of the accesses; page of the flusher */
	char *host, *host_flushed;
	uint64_t accesses;
};

/* --- the loops: both sides compute the same offsets --- */

static double loads_vellum(struct tlb *t)
{
	struct vellum_soft_cpu *cpu = t->w.cpu[0];
	uint64_t value, sum = 0, at = t->at, n = t->accesses;
	unsigned bad = 0;
	double ns = now_ns();

	for (uint64_t i = 0, offset = 0; i < n; i++, offset = (offset + STRIDE) % SPAN) {
		bad |= vellum_soft_load64(cpu, at + offset, &value);
		sum += value;
	}
	ns = now_ns() - ns;
	must(!bad && sum == n, "tlb: loads");
	return ns / (double)n;
}

static double loads_host(struct tlb *t)
{
	uint64_t sum = 0, n = t->accesses;
	const char *at = t->host;
	double ns = now_ns();

	for (uint64_t i = 0, offset = 0; i < n; i++, offset = (offset + STRIDE) % SPAN)
		sum += *(const volatile uint64_t *)(at + offset);
	ns = now_ns() - ns;
	must(sum == n, "tlb: host's loads");
	return ns / (double)n;
}

static double stores_vellum(struct tlb *t)
{
	struct vellum_soft_cpu *cpu = t->w.cpu[0];
	uint64_t at = t->at, n = t->accesses;
	unsigned bad = 0;
	double ns = now_ns();

	for (uint64_t i = 0, offset = 0; i < n; i++, offset = (offset + STRIDE) % SPAN)
		bad |= vellum_soft_store64(cpu, at + offset, 1);
	ns = now_ns() - ns;
	must(!bad, "tlb: stores");
	return ns / (double)n;
}

static double stores_host(struct tlb *t)
{
	uint64_t n = t->accesses;
	char *at = t->host;
	double ns = now_ns();

	for (uint64_t i = 0, offset = 0; i < n; i++, offset = (offset + STRIDE) % SPAN)
		*(volatile uint64_t *)(at + offset) = 1;
	return (now_ns() - ns) / (double)n;
}

/* Each load reads the offset of the next load, from word 1 of a line. The other loops use word 0. */
static double chase_vellum(struct tlb *t)
{
	struct vellum_soft_cpu *cpu = t->w.cpu[0];
	uint64_t at = t->at + 8, n = t->accesses;
	unsigned bad = 0;
	double ns = now_ns();

	for (uint64_t i = 0; i < n; i++)
		bad |= vellum_soft_load64(cpu, at, &at);
	ns = now_ns() - ns;
	must(!bad && at == t->at + 8 + n * STRIDE % SPAN, "tlb: chase");
	return ns / (double)n;
}

static double chase_host(struct tlb *t)
{
	uint64_t at = (uintptr_t)t->host + 8, n = t->accesses;
	double ns = now_ns();

	for (uint64_t i = 0; i < n; i++)
		at = *(volatile uint64_t *)at;
	ns = now_ns() - ns;
	must(at == (uintptr_t)t->host + 8 + n * STRIDE % SPAN, "tlb: host's chase");
	return ns / (double)n;
}

/* The same loads and stores in a batch that pauses after each 16, as an emulator's does after a block. */
static double batch_loads(struct tlb *t)
{
	struct vellum_soft_cpu *cpu = t->w.cpu[0];
	uint64_t value, sum = 0, at = t->at, n = t->accesses;
	unsigned bad = 0;
	double ns = now_ns();

	vellum_soft_batch_begin(cpu);
	for (uint64_t i = 0, offset = 0; i < n; i++, offset = (offset + STRIDE) % SPAN) {
		bad |= vellum_soft_batch_load64(cpu, at + offset, &value);
		sum += value;
		if (i % 16 == 15)
			vellum_soft_batch_pause(cpu);
	}
	vellum_soft_batch_end(cpu);
	ns = now_ns() - ns;
	must(!bad && sum == n, "tlb: loads");
	return ns / (double)n;
}

static double batch_stores(struct tlb *t)
{
	struct vellum_soft_cpu *cpu = t->w.cpu[0];
	uint64_t at = t->at, n = t->accesses;
	unsigned bad = 0;
	double ns = now_ns();

	vellum_soft_batch_begin(cpu);
	for (uint64_t i = 0, offset = 0; i < n; i++, offset = (offset + STRIDE) % SPAN) {
		bad |= vellum_soft_batch_store64(cpu, at + offset, 1);
		if (i % 16 == 15)
			vellum_soft_batch_pause(cpu);
	}
	vellum_soft_batch_end(cpu);
	ns = now_ns() - ns;
	must(!bad, "tlb: stores");
	return ns / (double)n;
}

static void prepare(struct tlb *t)
{
	t->accesses = amount(1 << 18, 1 << 14);
	world_open(&t->w, NR_PAGES + 1);
	t->at = map_vellum(t->w.mm, NR_PAGES, ANON);
	t->flushed = map_vellum(t->w.mm, 1, ANON);
	t->host = map_host(NR_PAGES, MAP_PRIVATE);
	t->host_flushed = map_host(1, MAP_PRIVATE);
	for (uint64_t offset = 0; offset < SPAN; offset += 64) {
		uint64_t next = (offset + STRIDE) % SPAN + 8;

		must(!vellum_soft_store64(t->w.cpu[0], t->at + offset, 1) &&
			     !vellum_soft_store64(t->w.cpu[0], t->at + offset + 8, t->at + next),
		     "tlb: stores");
		*(volatile uint64_t *)(t->host + offset) = 1;
		*(volatile uint64_t *)(t->host + offset + 8) = (uintptr_t)t->host + next;
	}
}

/* --- the flusher --- */

struct flusher {
	struct tlb *tlb;
	bool host, stop;
	unsigned long flushes;
	pthread_t thread;
};

/* Store, remove W, restore it. Two CPUs run the address space, so this flushes the other CPU's TLB too. */
static bool flush_once(struct flusher *f)
{
	struct tlb *t = f->tlb;

	if (f->host) {
		*(volatile char *)t->host_flushed = 1;
		return !mprotect(t->host_flushed, PAGE, PROT_READ) &&
		       !mprotect(t->host_flushed, PAGE, PROT_READ | PROT_WRITE);
	}
	return !vellum_soft_store64(t->w.cpu[1], t->flushed, 1) &&
	       !vellum_mprotect(t->w.mm, t->flushed, PAGE, VELLUM_PROT_READ) &&
	       !vellum_mprotect(t->w.mm, t->flushed, PAGE, RW);
}

static void *flush(void *arg)
{
	struct timespec pause = { 0, FLUSH_PAUSE_NS };
	struct flusher *f = arg;

	while (!__atomic_load_n(&f->stop, __ATOMIC_RELAXED)) {
		must(flush_once(f), "tlb: flush");
		__atomic_fetch_add(&f->flushes, 1, __ATOMIC_RELAXED);
		nanosleep(&pause, NULL);
	}
	return NULL;
}

typedef double loop_fn(struct tlb *t);

/* Run a loop while the flusher flushes. The flusher starts first. */
static double with_flushes(struct tlb *t, bool host, loop_fn *loop, double *per_ms)
{
	uint64_t before = vellum_mm_counter(t->w.mm, VELLUM_COUNT_TLB_FLUSHES);
	struct flusher f = { .tlb = t, .host = host };
	unsigned long flushes;
	double ns;

	must(!pthread_create(&f.thread, NULL, flush, &f), "pthread_create");
	while (!__atomic_load_n(&f.flushes, __ATOMIC_RELAXED))
		;
	flushes = __atomic_load_n(&f.flushes, __ATOMIC_RELAXED);
	ns = loop(t);
	flushes = __atomic_load_n(&f.flushes, __ATOMIC_RELAXED) - flushes;
	__atomic_store_n(&f.stop, true, __ATOMIC_RELAXED);
	pthread_join(f.thread, NULL);
	must(host || vellum_mm_counter(t->w.mm, VELLUM_COUNT_TLB_FLUSHES) - before >= f.flushes,
	     "tlb: rights were taken away without a flush");
	*per_ms = (double)flushes / (ns * (double)t->accesses / 1e6);
	return ns;
}

/* --- rows --- */

static void bench_loop(struct tlb *t, const char *what, loop_fn *vellum, loop_fn *host)
{
	static const char inlined[] = "inline hit path of the software TLB", plain[] = "plain access";
	struct row *alone, *flushed;
	double v_rate = 0, h_rate = 0;
	char name[48];

	snprintf(name, sizeof(name), "tlb.%s", what);
	alone = row_add(name, "ns", inlined, plain);
	snprintf(name, sizeof(name), "tlb.%s.flushes", what);
	flushed = row_add(name, "ns", inlined, plain);
	row_goal_ratio(alone, 1 / 3.0);
	row_goal_ratio(flushed, 1 / 3.0);
	vellum(t);
	host(t);
	for (unsigned i = amount(101, 3); i--;) {
		double ours = vellum(t);

		row_sample(alone, ours, host(t));
		ours = with_flushes(t, false, vellum, &v_rate);
		row_sample(flushed, ours, with_flushes(t, true, host, &h_rate));
	}
	row_note(flushed, "another thread takes W away meanwhile (last round: %.1f and %.1f times a ms)", v_rate,
		 h_rate);
}

/* --- reach: loads of 8 bytes at random --- */

static uint64_t next_random(uint64_t *state)
{
	*state = *state * 6364136223846793005ull + 1442695040888963407ull;
	return *state >> 33;
}

static double random_vellum(struct vellum_soft_cpu *cpu, uint64_t at, uint64_t bytes, uint64_t n)
{
	uint64_t state = 1, value, sum = 0;
	unsigned bad = 0;
	double ns = now_ns();

	for (uint64_t i = 0; i < n; i++) {
		bad |= vellum_soft_load64(cpu, at + (next_random(&state) & (bytes / 8 - 1)) * 8, &value);
		sum += value;
	}
	ns = now_ns() - ns;
	must(!bad && !sum, "tlb: random loads");
	return ns / (double)n;
}

static double random_host(const char *at, uint64_t bytes, uint64_t n)
{
	uint64_t state = 1, sum = 0;
	double ns = now_ns();

	for (uint64_t i = 0; i < n; i++)
		sum += *(const volatile uint64_t *)(at + (next_random(&state) & (bytes / 8 - 1)) * 8);
	ns = now_ns() - ns;
	must(!sum, "tlb: the host's random loads");
	return ns / (double)n;
}

static void bench_reach(uint64_t mib, double goal)
{
	uint64_t pages = mib * MIB / PAGE, n = amount(1 << 20, 1 << 14), at;
	struct world w;
	struct row *row;
	char name[48], *host;

	snprintf(name, sizeof(name), "tlb.random.%lluMiB", (unsigned long long)mib);
	row = row_add(name, "ns", "vellum_soft_load64() at random", "plain load");
	row_goal_ratio(row, 1 / goal);
	world_open(&w, pages);
	at = map_vellum(w.mm, pages, ANON);
	host = map_host(pages, MAP_PRIVATE);
	store_vellum(w.cpu[0], at, pages, 1, 0);
	store_host(host, pages, 1, 0);
	random_vellum(w.cpu[0], at, mib * MIB, n);
	for (unsigned i = amount(15, 2); i--;) {
		double ours = random_vellum(w.cpu[0], at, mib * MIB, n);

		row_sample(row, ours, random_host(host, mib * MIB, n));
	}
	unmap_host(host, pages);
	world_close(&w);
}

void bench_tlb(void)
{
	struct tlb t;

	prepare(&t);
	bench_loop(&t, "load", loads_vellum, loads_host);
	bench_loop(&t, "chase", chase_vellum, chase_host);
	bench_loop(&t, "store", stores_vellum, stores_host);
	bench_loop(&t, "batch.load", batch_loads, loads_host);
	bench_loop(&t, "batch.store", batch_stores, stores_host);
	unmap_host(t.host, NR_PAGES);
	unmap_host(t.host_flushed, 1);
	world_close(&t.w);
	bench_reach(4, 2);
	bench_reach(32, 6);
}
