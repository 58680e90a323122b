/* SPDX-License-Identifier: MIT */
/*
 * tests/soak/snapshot_threads.c - two address spaces that share frames, each run and restored by a thread of its own,
 * while other threads reclaim pages, collect dirty pages, and pin.
 */
#define _GNU_SOURCE
#include "tests/soak/snapshot.h"

#include <pthread.h>
#include <stdio.h>

#include "vellum/access.h"
#include "vellum/dirty.h"
#include "vellum/gup.h"
#include "vellum/uffd.h"

#define PAGES 2048u
#define NR_TRACKERS 2u

static uint32_t over;		/* atomic */
static uint64_t nr_runs;

struct runner {
	unsigned id;
	uint64_t rng;
	struct vellum_snapshot *snapshot;
};

static uint64_t word_of(uint64_t page)
{
	return page * 0x9e3779b97f4a7c15ull + 1;
}

static uint64_t next(uint64_t *rng, uint64_t n)
{
	*rng ^= *rng << 13;
	*rng ^= *rng >> 7;
	*rng ^= *rng << 17;
	return (*rng >> 20) % n;
}

static void expect(const struct runner *r, uint64_t page, unsigned word, const char *when)
{
	uint64_t val = 0;

	if (vellum_soft_load64(w.cpu[r->id], zone_page(0, page) + 8 * word, &val) || val != (word ? 0 : word_of(page)))
		fail("address space %u, page %llu, word %u is %#llx %s", r->id, (unsigned long long)page, word,
		     (unsigned long long)val, when);
}

static void run_once(struct runner *r)
{
	uint64_t pages[16];
	unsigned nr = 1 + (unsigned)next(&r->rng, 16), word = 1 + (unsigned)next(&r->rng, 511);

	for (unsigned i = 0; i < nr; i++) {
		pages[i] = next(&r->rng, PAGES);
		expect(r, pages[i], 0, "before a store");
		if (vellum_soft_store64(w.cpu[r->id], zone_page(0, pages[i]) + 8 * word, r->rng | 1))
			fail("a store failed");
	}
	if (!next(&r->rng, 8))
		must(vellum_madvise(w.mm[r->id], zone_page(0, pages[0]), PAGE, VELLUM_MADV_DONTNEED), "madvise");
	must(vellum_snapshot_restore(r->snapshot), "vellum_snapshot_restore");
	for (unsigned i = 0; i < nr; i++) {
		expect(r, pages[i], word, "after a restore");
		expect(r, pages[i], 0, "after a restore");
	}
}

static void *run(void *arg)
{
	struct runner *r = arg;

	for (uint64_t i = 0; i < nr_runs; i++)
		run_once(r);
	return NULL;
}

static void *reclaim(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE))
		vellum_reclaim(w.memory, 32);
	return NULL;
}

static int ignore(void *arg, uint64_t first, uint64_t nr)
{
	(void)arg, (void)first, (void)nr;
	return 0;
}

/* Collections take D and W in the middle of runs. */
static void *collect(void *arg)
{
	struct vellum_tracker *trackers[NR_TRACKERS];

	(void)arg;
	for (unsigned i = 0; i < NR_TRACKERS; i++)
		must(vellum_track_mm(w.mm[0], zone_page(0, 0), zone_page(0, PAGES), i ? VELLUM_TRACK_WP : VELLUM_TRACK_CLEAN,
				     &trackers[i]), "vellum_track_mm");
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE))
		for (unsigned i = 0; i < NR_TRACKERS; i++)
			vellum_tracker_collect(trackers[i], 0, ~0ull, ignore, NULL);
	for (unsigned i = 0; i < NR_TRACKERS; i++)
		vellum_tracker_destroy(trackers[i]);
	return NULL;
}

static void *pin(void *arg)
{
	uint64_t rng = 99, pfn, nr;

	(void)arg;
	while (!__atomic_load_n(&over, __ATOMIC_ACQUIRE))
		if (!vellum_pin_pages(w.mm[1], zone_page(0, next(&rng, PAGES)), 1, 0, &pfn, &nr) && nr == 1)
			vellum_unpin_pages(w.memory, &pfn, 1);
	return NULL;
}

static void prepare(struct runner *r)
{
	struct vellum_map_args a = { .size = sizeof(a), .addr = zone_page(0, 0), .len = PAGES * PAGE, .prot = RW,
				     .flags = VELLUM_MAP_FIXED | VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS };
	struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = 1, .max_kept_pages = 512 };
	uint64_t at, val;

	must(vellum_mmap(w.mm[0], &a, &at), "mmap");
	for (uint64_t page = 0; page < PAGES; page++) {
		val = word_of(page);
		must(vellum_copy_to_user(w.mm[0], zone_page(0, page), &val, sizeof(val), NULL), "storing");
	}
	vellum_soft_load_mm(w.cpu[1], NULL);
	vellum_uffd_put(w.missing[1]);
	vellum_uffd_put(w.async[1]);
	vellum_mm_put(w.mm[1]);
	w.missing[1] = w.async[1] = NULL;
	must(vellum_fork(w.mm[0], &w.mm[1]), "fork");
	vellum_soft_load_mm(w.cpu[1], w.mm[1]);
	for (unsigned i = 0; i < NR_MMS; i++) {
		r[i] = (struct runner){ .id = i, .rng = w.rng + i + 1 };
		args.mms = &w.mm[i];
		must(vellum_snapshot_create(&args, &r[i].snapshot), "vellum_snapshot_create");
	}
}

void run_threads(uint64_t runs)
{
	void *(*const others[])(void *) = { reclaim, collect, pin };
	struct runner r[NR_MMS];
	pthread_t runner[NR_MMS], other[3];

	nr_runs = runs;
	prepare(r);
	for (unsigned i = 0; i < 3; i++)
		pthread_create(&other[i], NULL, others[i], NULL);
	for (unsigned i = 0; i < NR_MMS; i++)
		pthread_create(&runner[i], NULL, run, &r[i]);
	for (unsigned i = 0; i < NR_MMS; i++)
		pthread_join(runner[i], NULL);
	__atomic_store_n(&over, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(other[i], NULL);
	for (unsigned i = 0; i < NR_MMS; i++) {
		verify(r[i].snapshot, "at the end");
		vellum_snapshot_destroy(r[i].snapshot);
	}
}
