/* SPDX-License-Identifier: MIT */
/*
 * tests/soak/pressure.c MINUTES [SEED] - several processes with RAM a quarter of what they use. TAP.
 *
 * Each worker has a process, a CPU, and a shadow of every word that it stores: private memory, memory whose stores it finds
 * by PAGEMAP_SCAN, memory that somebody else resolves by userfaultfd, an object that it truncates, and its own words
 * in pages that all share. It stores, loads, forks, swaps out, drops and protects; others call the two helpers on
 * the shared pages and follow them with a tracker. In rounds all stop: then every word is compared, the replica too,
 * and the validator looks at everything. At the end all frames and slots are back.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "host/test.h"
#include "vellum/access.h"
#include "vellum/backing.h"
#include "vellum/dirty.h"
#include "vellum/mm.h"
#include "vellum/pagemap.h"
#include "vellum/soft.h"
#include "vellum/swap_backends.h"
#include "vellum/uffd.h"

#define PAGE	 VELLUM_PAGE_SIZE
#define WORKERS	 4u
#define RAM	 (8ull << 20)
#define SLOTS	 16384u
#define RW	 (VELLUM_PROT_READ | VELLUM_PROT_WRITE)
#define ROUND_OPS 6000u

/* Regions of a process, in pages from BASE on: 1,664 of its own and 1,536 that are shared, 32 MiB altogether. */
#define BASE	 0x100000000ull
#define PRIV	 0u
#define NR_PRIV	 1024u
#define WATCHED	 1024u
#define NR_WATCHED 256u
#define HANDLED	 1280u
#define NR_HANDLED 256u
#define CUT	 1536u
#define NR_CUT	 128u
#define NR_OWN	 1664u
#define SHARED	 2048u
#define NR_SHARED 1536u
#define ADDR(page) (BASE + (uint64_t)(page)*PAGE)

static struct test_host host;
static struct vellum_soft *soft;
static struct vellum_memory *memory;
static struct vellum_mapping *shared;
static struct vellum_tracker *tracker;
static char *replica;			/* of the shared pages, fed by collections alone */
static uint64_t bad_count, op_count;	/* atomic */
static uint32_t round_over, all_over;	/* atomic */

struct worker {
	unsigned id;
	uint64_t rng;
	struct vellum_mm *mm;
	struct vellum_soft_cpu *cpu, *child_cpu;
	struct vellum_uffd *async, *handler;
	struct vellum_mapping *cut;
	unsigned cut_pages;		/* its length now */
	uint64_t own[NR_OWN];		/* the word at the start of each page */
	uint64_t mine[NR_SHARED];	/* word @id of each shared page */
	uint8_t stored[NR_WATCHED];	/* since the last scan */
	pthread_t manager;
};

static struct worker workers[WORKERS];

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static unsigned below(struct worker *w, unsigned n)
{
	return (unsigned)((next_random(&w->rng) >> 20) % n);
}

static void bad(const struct worker *w, const char *what, unsigned page, uint64_t got, uint64_t wanted)
{
	if (__atomic_fetch_add(&bad_count, 1, __ATOMIC_RELAXED) < 8)
		printf("# worker %u, page %u: %s: %#llx, wanted %#llx\n", w ? w->id : 99, page, what,
		       (unsigned long long)got, (unsigned long long)wanted);
}

/* --- one word --- */

static void put(struct worker *w, struct vellum_soft_cpu *cpu, uint64_t addr, uint64_t val, unsigned page)
{
	enum vellum_fault_result r = vellum_soft_store64(cpu, addr, val);

	if (r != VELLUM_FAULT_OK)
		bad(w, "store failed", page, r, 0);
}

static void expect(struct worker *w, struct vellum_soft_cpu *cpu, uint64_t addr, uint64_t wanted, unsigned page)
{
	uint64_t val = 0;
	enum vellum_fault_result r = vellum_soft_load64(cpu, addr, &val);

	if (r != VELLUM_FAULT_OK)
		bad(w, "load failed", page, r, 0);
	else if (val != wanted)
		bad(w, "word", page, val, wanted);
}

static bool exists(const struct worker *w, unsigned page)
{
	return page < CUT || page < CUT + w->cut_pages;
}

static void store_own(struct worker *w, unsigned page)
{
	uint64_t val = next_random(&w->rng) | 1;

	if (!exists(w, page))
		return;
	expect(w, w->cpu, ADDR(page), w->own[page], page);
	put(w, w->cpu, ADDR(page), val, page);
	w->own[page] = val;
	if (page >= WATCHED && page < WATCHED + NR_WATCHED)
		w->stored[page - WATCHED] = 1;
}

static void store_shared(struct worker *w)
{
	unsigned page = below(w, NR_SHARED);
	uint64_t addr = ADDR(SHARED + page) + 8 * w->id, val = next_random(&w->rng) | 1;

	expect(w, w->cpu, addr, w->mine[page], SHARED + page);
	put(w, w->cpu, addr, val, SHARED + page);
	w->mine[page] = val;
}

/* --- operations --- */

static void advise(struct worker *w, unsigned page, unsigned nr, int advice)
{
	int err = vellum_madvise(w->mm, ADDR(page), (uint64_t)nr * PAGE, advice);

	if (err)
		bad(w, "madvise", page, (uint64_t)(int64_t)err, (uint64_t)advice);
}

static void drop_some(struct worker *w)
{
	unsigned page = PRIV + below(w, NR_PRIV - 16), nr = 1 + below(w, 16);

	advise(w, page, nr, VELLUM_MADV_DONTNEED);
	memset(&w->own[page], 0, nr * sizeof(w->own[0]));
}

/* Pages that may be dropped are either as they were or empty; a store keeps them. */
static void free_some(struct worker *w)
{
	unsigned page = PRIV + below(w, NR_PRIV - 16), nr = 1 + below(w, 16);

	advise(w, page, nr, VELLUM_MADV_FREE);
	for (unsigned i = page; i < page + nr; i++) {
		uint64_t val = 0;

		if (vellum_soft_load64(w->cpu, ADDR(i), &val) || (val && val != w->own[i]))
			bad(w, "freed page", i, val, w->own[i]);
		w->own[i] = val + 2;
		put(w, w->cpu, ADDR(i), w->own[i], i);
	}
}

static void protect_some(struct worker *w)
{
	unsigned page = PRIV + below(w, NR_PRIV - 16), nr = 1 + below(w, 16);
	int err = vellum_mprotect(w->mm, ADDR(page), (uint64_t)nr * PAGE, VELLUM_PROT_READ);

	if (vellum_soft_store64(w->cpu, ADDR(page), 1) != VELLUM_FAULT_SIGSEGV_ACCERR)
		bad(w, "read-only page was stored to", page, 0, 0);
	expect(w, w->cpu, ADDR(page), w->own[page], page);
	err |= vellum_mprotect(w->mm, ADDR(page), (uint64_t)nr * PAGE, RW);
	if (err)
		bad(w, "mprotect", page, (uint64_t)(int64_t)err, 0);
}

/* The child sees what was there when it was made, whatever it and its parent do. */
static void fork_some(struct worker *w)
{
	uint64_t was[WATCHED + NR_WATCHED];
	struct vellum_mm *child;
	int err = vellum_fork(w->mm, &child);

	if (err) {
		bad(w, "fork", 0, (uint64_t)(int64_t)err, 0);
		return;
	}
	memcpy(was, w->own, sizeof(was));
	vellum_soft_load_mm(w->child_cpu, child);
	for (unsigned i = 0; i < 40; i++) {
		unsigned page = below(w, WATCHED + NR_WATCHED);

		store_own(w, below(w, NR_PRIV));
		expect(w, w->child_cpu, ADDR(page), was[page], page);
		was[page] = next_random(&w->rng);
		put(w, w->child_cpu, ADDR(page), was[page], page);
		expect(w, w->child_cpu, ADDR(page), was[page], page);
		expect(w, w->cpu, ADDR(page), w->own[page], page);
	}
	vellum_soft_load_mm(w->child_cpu, NULL);
	vellum_mm_put(child);
}

/* Every page stored to since the last scan is reported, and no page that was not. */
static void scan(struct worker *w)
{
	struct vellum_page_region vec[NR_WATCHED];
	struct vellum_scan_args a = { .size = sizeof(a), .flags = VELLUM_SCAN_WP_MATCHING | VELLUM_SCAN_CHECK_WPASYNC,
				      .start = ADDR(WATCHED), .end = ADDR(WATCHED + NR_WATCHED), .vec = vec,
				      .vec_len = NR_WATCHED, .category_mask = VELLUM_PAGE_IS_WRITTEN,
				      .return_mask = VELLUM_PAGE_IS_WRITTEN };
	uint8_t found[NR_WATCHED] = { 0 };
	uint64_t nr;
	int err = vellum_pagemap_scan(w->mm, &a, &nr);

	if (err || a.walk_end != a.end)
		bad(w, "scan", WATCHED, (uint64_t)(int64_t)err, 0);
	for (uint64_t i = 0; i < nr; i++)
		for (uint64_t at = vec[i].start; at < vec[i].end; at += PAGE)
			found[(at - ADDR(WATCHED)) / PAGE] = 1;
	for (unsigned i = 0; i < NR_WATCHED; i++)
		if (found[i] != w->stored[i])
			bad(w, "written", WATCHED + i, found[i], w->stored[i]);
	memset(w->stored, 0, sizeof(w->stored));
}

static void cut_object(struct worker *w)
{
	unsigned pages = 1 + below(w, NR_CUT);
	int err = vellum_mapping_set_size(w->cut, (uint64_t)pages * PAGE);

	if (err)
		bad(w, "set_size", pages, (uint64_t)(int64_t)err, 0);
	for (unsigned i = pages; i < w->cut_pages; i++)
		w->own[CUT + i] = 0;
	w->cut_pages = pages;
	if (pages < NR_CUT && vellum_soft_store64(w->cpu, ADDR(CUT + pages), 1) != VELLUM_FAULT_SIGBUS)
		bad(w, "store beyond the end", CUT + pages, 0, 0);
}

/* What is protected waits for the manager at the next store; what is dropped, at the next access. */
static void hand_over(struct worker *w)
{
	unsigned page = HANDLED + below(w, NR_HANDLED - 16), nr = 1 + below(w, 16);

	if (below(w, 2)) {
		int err = vellum_uffd_writeprotect(w->handler, ADDR(page), (uint64_t)nr * PAGE,
						   VELLUM_UFFD_WRITEPROTECT_WP);

		if (err)
			bad(w, "protecting failed", page, (uint64_t)err, 0);
		return;
	}
	advise(w, page, nr, VELLUM_MADV_DONTNEED);
	for (unsigned i = page; i < page + nr; i++)
		w->own[i] = ADDR(i) ^ 0x5a5a;	/* what the manager puts in */
}

static void *manage(void *arg)
{
	struct worker *w = arg;
	struct vellum_uffd_msg msg;
	uint32_t got;
	uint64_t page[PAGE / 8] = { 0 };
	int64_t done;

	while (!__atomic_load_n(&all_over, __ATOMIC_ACQUIRE)) {
		if (vellum_uffd_read(w->handler, &msg, 1, false, &got)) {
			sched_yield();
			continue;
		}
		page[0] = msg.arg.pagefault.address ^ 0x5a5a;
		if (msg.arg.pagefault.flags & VELLUM_UFFD_FLAG_WP)
			vellum_uffd_writeprotect(w->handler, msg.arg.pagefault.address, PAGE, 0);
		else if (vellum_uffd_copy(w->handler, msg.arg.pagefault.address, 0, page, PAGE, 0, &done))
			vellum_uffd_wake(w->handler, msg.arg.pagefault.address, PAGE);
	}
	return NULL;
}

static void one_op(struct worker *w)
{
	unsigned r = below(w, 1000);

	__atomic_fetch_add(&op_count, 1, __ATOMIC_RELAXED);
	if (r < 500)
		store_own(w, below(w, NR_OWN));
	else if (r < 900)
		store_shared(w);
	else if (r < 930)
		advise(w, PRIV + below(w, NR_OWN - 32 - PRIV), 1 + below(w, 32), VELLUM_MADV_PAGEOUT);
	else if (r < 945)
		drop_some(w);
	else if (r < 955)
		protect_some(w);
	else if (r < 965)
		hand_over(w);
	else if (r < 975)
		scan(w);
	else if (r < 980)
		cut_object(w);
	else if (r < 990)
		free_some(w);
	else if (r < 994)
		fork_some(w);
	else
		advise(w, PRIV + below(w, NR_OWN - 32), 1 + below(w, 32), VELLUM_MADV_COLD);
}

static void *work(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < ROUND_OPS; i++)
		one_op(w);
	return NULL;
}

/* --- the shared pages --- */

static int copy_run(void *arg, uint64_t first, uint64_t nr)
{
	(void)arg;
	for (uint64_t i = first; i < first + nr; i++)
		if (vellum_mapping_read(shared, i * PAGE, replica + i * PAGE, PAGE))
			bad(NULL, "reading the object", (unsigned)i, 0, 0);
	return 0;
}

static void *follow(void *arg)
{
	uint64_t bitmap[NR_SHARED / 64 + 1], rng = 7, n = 0;

	(void)arg;
	while (!__atomic_load_n(&round_over, __ATOMIC_ACQUIRE)) {
		uint64_t first = next_random(&rng) % NR_SHARED, nr = 1 + next_random(&rng) % (NR_SHARED - first);
		uint64_t start = 0, end = 0;

		memset(bitmap, 0, sizeof(bitmap));
		if (++n % 3)
			vellum_clean_record_shared_mapping_range(shared, first, nr, first, bitmap, &start, &end, NULL);
		else
			vellum_wp_shared_mapping_range(shared, first, nr, NULL);
		if (n % 2)
			vellum_tracker_collect(tracker, 0, ~0ull, copy_run, NULL);
		usleep(500);
	}
	return NULL;
}

/* --- rounds --- */

static void compare(struct worker *w)
{
	for (unsigned i = 0; i < NR_OWN; i++)
		if (exists(w, i))
			expect(w, w->cpu, ADDR(i), w->own[i], i);
	for (unsigned i = 0; i < NR_SHARED; i++)
		expect(w, w->cpu, ADDR(SHARED + i) + 8 * w->id, w->mine[i], SHARED + i);
}

static void compare_replica(void)
{
	char page[PAGE];

	vellum_tracker_collect(tracker, 0, ~0ull, copy_run, NULL);
	for (unsigned i = 0; i < NR_SHARED; i++) {
		vellum_mapping_read(shared, (uint64_t)i * PAGE, page, PAGE);
		if (memcmp(page, replica + (uint64_t)i * PAGE, PAGE))
			bad(NULL, "replica", SHARED + i, 0, 0);
	}
}

static void validate(void)
{
	const char *why = NULL;

	if (vellum_validate(memory, &why)) {
		printf("# validator: %s\n", why ? why : "no memory");
		__atomic_fetch_add(&bad_count, 1, __ATOMIC_RELAXED);
	}
}

static void run_round(void)
{
	pthread_t thread[WORKERS], follower;

	__atomic_store_n(&round_over, 0, __ATOMIC_RELEASE);
	pthread_create(&follower, NULL, follow, NULL);
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_create(&thread[i], NULL, work, &workers[i]);
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(thread[i], NULL);
	__atomic_store_n(&round_over, 1, __ATOMIC_RELEASE);
	pthread_join(follower, NULL);
	validate();
	for (unsigned i = 0; i < WORKERS; i++)
		compare(&workers[i]);
	compare_replica();
	validate();
}

/* --- the world --- */

static void must(int err, const char *what)
{
	if (!err)
		return;
	printf("not ok - pressure: %s: %s\n", what, vellum_strerror(err));
	exit(1);
}

static void map(struct vellum_mm *mm, unsigned page, unsigned nr, struct vellum_mapping *object)
{
	struct vellum_map_args a = { .size = sizeof(a), .addr = ADDR(page), .len = (uint64_t)nr * PAGE, .prot = RW,
				     .flags = VELLUM_MAP_FIXED | (object ? VELLUM_MAP_SHARED :
							VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS),
				     .mapping = object, .file_prot = RW };
	uint64_t addr;

	must(vellum_mmap(mm, &a, &addr), "mmap");
}

static void start_worker(struct worker *w, unsigned id, uint64_t seed)
{
	uint64_t wp = VELLUM_UFFD_WP, missing = VELLUM_UFFD_MISSING | VELLUM_UFFD_WP;

	memset(w, 0, sizeof(*w));
	w->id = id;
	w->rng = seed * 977 + id + 1;
	w->cpu = vellum_soft_cpu(soft, id);
	w->child_cpu = vellum_soft_cpu(soft, WORKERS + id);
	must(vellum_mm_create(memory, &w->mm), "mm");
	must(vellum_mapping_create(memory, NULL, NULL, NR_CUT, 0, &w->cut), "object");
	w->cut_pages = NR_CUT;
	map(w->mm, PRIV, NR_PRIV, NULL);
	map(w->mm, WATCHED, NR_WATCHED, NULL);
	map(w->mm, HANDLED, NR_HANDLED, NULL);
	map(w->mm, CUT, NR_CUT, w->cut);
	map(w->mm, SHARED, NR_SHARED, shared);
	must(vellum_uffd_create(w->mm, 0, &w->async), "uffd");
	must(vellum_uffd_api(w->async, VELLUM_UFFD_API, VELLUM_UFFD_FEATURE_WP_ASYNC, NULL, NULL), "api");
	must(vellum_uffd_register(w->async, ADDR(WATCHED), (uint64_t)NR_WATCHED * PAGE, wp, NULL), "register");
	must(vellum_uffd_create(w->mm, 0, &w->handler), "uffd");
	must(vellum_uffd_api(w->handler, VELLUM_UFFD_API, 0, NULL, NULL), "api");
	must(vellum_uffd_register(w->handler, ADDR(HANDLED), (uint64_t)NR_HANDLED * PAGE, missing, NULL), "register");
	for (unsigned i = 0; i < NR_HANDLED; i++)
		w->own[HANDLED + i] = ADDR(HANDLED + i) ^ 0x5a5a;
	memset(w->stored, 1, sizeof(w->stored));	/* what was never protected counts as written */
	vellum_soft_load_mm(w->cpu, w->mm);
	pthread_create(&w->manager, NULL, manage, w);
}

static void end_worker(struct worker *w)
{
	pthread_join(w->manager, NULL);
	vellum_soft_load_mm(w->cpu, NULL);
	vellum_uffd_put(w->async);
	vellum_uffd_put(w->handler);
	vellum_mm_put(w->mm);
	vellum_mapping_put(w->cut);
}

static void create(void *ram, struct vellum_swap_file **area)
{
	struct vellum_memory_args args = { .size = sizeof(args), .host = test_host_ops(), .host_ctx = &host,
					   .mmu = vellum_soft_mmu_ops(), .ram = ram, .ram_size = RAM };

	must(vellum_soft_create(2 * WORKERS, &soft), "machine");
	args.machine = soft;
	must(vellum_memory_create(&args, &memory), "memory");
	must(vellum_swap_file_create(NULL, SLOTS, area), "swap file");
	must(vellum_swap_add(memory, vellum_swap_file_ops(), *area, SLOTS, NULL), "swap area");
	must(vellum_mapping_create(memory, NULL, NULL, NR_SHARED, 0, &shared), "object");
	must(vellum_track_mapping(shared, 0, NR_SHARED, VELLUM_TRACK_AUTO, &tracker), "tracker");
	replica = calloc(NR_SHARED, PAGE);
}

/* Everything is gone: frames, slots, the host's memory. */
static void check_gone(struct vellum_swap_info *swap)
{
	struct vellum_memory_info info = { .size = sizeof(info) };

	vellum_memory_info(memory, &info);
	vellum_swap_info(memory, swap);
	if (info.nr_free != info.nr_frames - 2)
		bad(NULL, "frames left", 0, info.nr_free, info.nr_frames - 2);
	if (swap->nr_used)
		bad(NULL, "slots left", 0, swap->nr_used, 0);
	must(vellum_memory_destroy(memory), "destroying the memory");
	vellum_soft_destroy(soft);
	if (host.live || host.bugs)
		bad(NULL, "the host's memory, and bugs", 0, host.live, host.bugs);
}

int main(int argc, char **argv)
{
	double minutes = argc > 1 ? atof(argv[1]) : 10;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 0) : (uint64_t)time(NULL), rounds = 0;
	time_t end = time(NULL) + (time_t)(minutes * 60);
	void *ram = NULL;
	struct vellum_swap_file *area;
	struct vellum_swap_info swap = { .size = sizeof(swap) };

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (posix_memalign(&ram, 1 << 21, RAM))
		return 1;
	memset(ram, 0, RAM);
	create(ram, &area);
	for (unsigned i = 0; i < WORKERS; i++)
		start_worker(&workers[i], i, seed);
	do {
		run_round();
		rounds++;
	} while (time(NULL) < end && !bad_count);
	__atomic_store_n(&all_over, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < WORKERS; i++)
		end_worker(&workers[i]);
	vellum_tracker_destroy(tracker);
	vellum_mapping_put(shared);
	check_gone(&swap);
	if (!swap.nr_out || !swap.nr_in)
		bad(NULL, "nothing was swapped", 0, swap.nr_out, swap.nr_in);
	vellum_swap_file_destroy(area);
	free(replica);
	free(ram);
	printf("%s - pressure: %llu rounds, %llu operations, %llu pages out and %llu in, seed %llu\n",
	       bad_count ? "not ok" : "ok", (unsigned long long)rounds, (unsigned long long)op_count,
	       (unsigned long long)swap.nr_out, (unsigned long long)swap.nr_in, (unsigned long long)seed);
	return bad_count != 0;
}
