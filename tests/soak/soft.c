/* SPDX-License-Identifier: MIT */
/*
 * tests/soak/soft.c MINUTES [SEED] - address spaces made, used by several threads at once, compared
 * with a replica that is fed from collections alone, and destroyed; over and over. Every cycle has to leave the
 * host's memory and RAM as it found them. TAP.
 *
 * Two CPUs store and load; one thread changes mappings, forks, writes back and drops pages; one
 * collects by a tracker of the cycle's method. At the end of a cycle everybody stops: then the replica
 * must equal memory, the file its mapping, and every invariant hold.
 */
#define _GNU_SOURCE
#include <pthread.h>
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
#include "vellum/soft.h"

#define PAGE	 VELLUM_PAGE_SIZE
#define RAM	 (64ull << 20)
#define BASE	 0x100000000ull
#define ANON_PAGES 1500u	/* [BASE, ...): private; then what is shared, then the file */
#define OBJ_PAGES 600u
#define NR_PAGES (ANON_PAGES + 2 * OBJ_PAGES)
#define RW	 (VELLUM_PROT_READ | VELLUM_PROT_WRITE)
#define CYCLE_MS 400

static struct test_host host;
static struct vellum_soft *soft;
static struct vellum_memory *memory;
static struct vellum_soft_cpu *cpu[2];

struct cycle {
	uint64_t seed;
	struct vellum_mm *mm;
	struct vellum_mapping *object, *file;
	struct vellum_tracker *tracker;
	char *disk;			/* the file's bytes */
	char *replica;			/* [NR_PAGES][PAGE] */
	uint32_t stop;			/* atomic */
	uint64_t nr_stores, nr_collected;	/* atomic */
	uint64_t bad;			/* atomic */
};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static bool stopped(const struct cycle *c)
{
	return __atomic_load_n(&c->stop, __ATOMIC_ACQUIRE);
}

static void bad(struct cycle *c, const char *what)
{
	if (__atomic_fetch_add(&c->bad, 1, __ATOMIC_RELAXED) < 5)
		printf("# seed %llu: %s\n", (unsigned long long)c->seed, what);
}

/* --- the file --- */

static int disk_fault(void *ctx, struct vellum_vmf *vmf)
{
	const struct cycle *c = ctx;

	memcpy(vmf->page, c->disk + vmf->pgoff * PAGE, PAGE);
	return VELLUM_VMF_OK;
}

static int disk_write(void *ctx, uint64_t pgoff, const void *page, uint32_t len)
{
	const struct cycle *c = ctx;
	const uint64_t *from = page;
	uint64_t *to = (uint64_t *)(c->disk + pgoff * PAGE);

	/* CPUs may store meanwhile: word by word, as a device would. */
	for (uint32_t i = 0; i < len / 8; i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
	return 0;
}

static const struct vellum_backing_ops disk_ops = { .size = sizeof(disk_ops), .fault = disk_fault,
						    .writepage = disk_write };

/* --- the threads --- */

struct cpu_thread {
	struct cycle *c;
	unsigned id;
};

/* Faults are part of it: mappings come and go. */
static void *cpu_main(void *arg)
{
	const struct cpu_thread *t = arg;
	struct cycle *c = t->c;
	uint64_t state = c->seed * 2 + t->id + 1, n = 0, val;

	vellum_soft_load_mm(cpu[t->id], c->mm);
	while (!stopped(c)) {
		uint64_t r = next_random(&state);
		/* Half of it in a few pages: some are hot. */
		uint64_t page = r & 1 ? r >> 8 & 63 : (r >> 8) % NR_PAGES;
		uint64_t addr = BASE + page * PAGE + (r >> 40 & 511) * 8;

		if (r & 6)
			n += vellum_soft_store64(cpu[t->id], addr, r) == VELLUM_FAULT_OK;
		else
			vellum_soft_load64(cpu[t->id], addr, &val);
	}
	vellum_soft_load_mm(cpu[t->id], NULL);
	__atomic_fetch_add(&c->nr_stores, n, __ATOMIC_RELAXED);
	return NULL;
}

/* A page that is in no table is the object's, or zero. */
static void current_bytes(struct cycle *c, uint64_t i, char *buf)
{
	int found = vellum_peek(c->mm, BASE + i * PAGE, buf);

	if (found == 1)
		return;
	memset(buf, 0, PAGE);
	if (i >= ANON_PAGES && found == 0)
		vellum_mapping_read(i < ANON_PAGES + OBJ_PAGES ? c->object : c->file,
				    (i - ANON_PAGES) % OBJ_PAGES * PAGE, buf, PAGE);
}

static int copy_run(void *arg, uint64_t first, uint64_t nr)
{
	struct cycle *c = arg;

	__atomic_fetch_add(&c->nr_collected, nr, __ATOMIC_RELAXED);
	for (uint64_t page = first; page < first + nr; page++)
		if (page - BASE / PAGE < NR_PAGES)
			current_bytes(c, page - BASE / PAGE, c->replica + (page * PAGE - BASE));
	return 0;
}

static void *collector_main(void *arg)
{
	struct cycle *c = arg;

	while (!stopped(c)) {
		vellum_tracker_collect(c->tracker, 0, ~0ull, copy_run, c);
		usleep(500);
	}
	return NULL;
}

static void map(struct cycle *c, uint64_t page, uint64_t nr, struct vellum_mapping *mapping, uint64_t pgoff)
{
	struct vellum_map_args args = { .size = sizeof(args), .addr = BASE + page * PAGE, .len = nr * PAGE,
					.prot = RW, .mapping = mapping, .pgoff = pgoff, .file_prot = RW,
					.flags = VELLUM_MAP_FIXED };
	uint64_t addr;

	args.flags |= mapping ? VELLUM_MAP_SHARED : VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS;
	if (vellum_mmap(c->mm, &args, &addr))
		bad(c, "mmap");
}

static void fork_once(struct cycle *c)
{
	struct vellum_mm *child;

	if (vellum_fork(c->mm, &child) == 0)
		vellum_mm_put(child);
}

/* Something at a random part of the private memory, or to the file. */
static void operate(struct cycle *c, uint64_t r)
{
	uint64_t page = (r >> 8) % ANON_PAGES, nr = 1 + (r >> 24) % 200, addr = BASE + page * PAGE;
	static uint64_t bitmap[OBJ_PAGES / 64 + 1];
	uint64_t start = 0, end = 0;

	nr = nr > ANON_PAGES - page ? ANON_PAGES - page : nr;
	switch (r % 10) {
	case 0:
		vellum_mprotect(c->mm, addr, nr * PAGE, r >> 32 & 1 ? RW : VELLUM_PROT_READ);
		break;
	case 1:
		vellum_munmap(c->mm, addr, nr * PAGE);
		break;
	case 2:
	case 3:
		map(c, page, nr, NULL, 0);
		break;
	case 4:
		vellum_madvise(c->mm, addr, nr * PAGE, VELLUM_MADV_DONTNEED);
		break;
	case 5:
		fork_once(c);
		break;
	case 6:
		vellum_mapping_writeback(c->file, 0, OBJ_PAGES, NULL);
		break;
	case 7:
		vellum_reclaim(memory, 50);
		break;
	case 8:
		vellum_clean_record_shared_mapping_range(c->object, 0, OBJ_PAGES, 0, bitmap, &start, &end, NULL);
		break;
	default:
		vellum_wp_shared_mapping_range(c->file, r % OBJ_PAGES, 1, NULL);
		break;
	}
}

static void *operator_main(void *arg)
{
	struct cycle *c = arg;
	uint64_t state = c->seed ^ 0x9e3779b97f4a7c15ull;

	while (!stopped(c)) {
		operate(c, next_random(&state));
		usleep(200);
	}
	return NULL;
}

/* --- a cycle --- */

static void compare(struct cycle *c)
{
	char buf[PAGE];
	const char *why;

	vellum_tracker_collect(c->tracker, 0, ~0ull, copy_run, c);
	for (uint64_t i = 0; i < NR_PAGES; i++) {
		current_bytes(c, i, buf);
		if (memcmp(c->replica + i * PAGE, buf, PAGE))
			bad(c, "the replica differs from memory");
	}
	if (vellum_mapping_sync(c->file, 0, OBJ_PAGES))
		bad(c, "sync");
	for (uint64_t i = 0; i < OBJ_PAGES; i++) {
		current_bytes(c, ANON_PAGES + OBJ_PAGES + i, buf);
		if (memcmp(c->disk + i * PAGE, buf, PAGE))
			bad(c, "the file differs from its mapping");
	}
	if (vellum_validate(memory, &why))
		bad(c, why);
}

static void open_cycle(struct cycle *c)
{
	static const enum vellum_track_method methods[] = { VELLUM_TRACK_AUTO, VELLUM_TRACK_WP,
							    VELLUM_TRACK_CLEAN };

	c->disk = calloc(OBJ_PAGES, PAGE);
	c->replica = calloc(NR_PAGES, PAGE);
	if (!c->disk || !c->replica || vellum_mm_create(memory, &c->mm) ||
	    vellum_mapping_create(memory, NULL, NULL, OBJ_PAGES, 0, &c->object) ||
	    vellum_mapping_create(memory, &disk_ops, c, OBJ_PAGES, VELLUM_MAPPING_WRITEBACK, &c->file))
		abort();
	map(c, 0, ANON_PAGES, NULL, 0);
	map(c, ANON_PAGES, OBJ_PAGES, c->object, 0);
	map(c, ANON_PAGES + OBJ_PAGES, OBJ_PAGES, c->file, 0);
	if (vellum_track_mm(c->mm, BASE, BASE + (uint64_t)NR_PAGES * PAGE, methods[c->seed % 3], &c->tracker))
		abort();
}

static void close_cycle(struct cycle *c)
{
	vellum_tracker_destroy(c->tracker);
	vellum_mm_put(c->mm);
	vellum_mapping_put(c->object);
	vellum_mapping_put(c->file);
	free(c->disk);
	free(c->replica);
}

static void run_cycle(struct cycle *c)
{
	struct cpu_thread t[2] = { { c, 0 }, { c, 1 } };
	pthread_t thread[4];

	open_cycle(c);
	pthread_create(&thread[0], NULL, cpu_main, &t[0]);
	pthread_create(&thread[1], NULL, cpu_main, &t[1]);
	pthread_create(&thread[2], NULL, collector_main, c);
	pthread_create(&thread[3], NULL, operator_main, c);
	usleep(CYCLE_MS * 1000);
	__atomic_store_n(&c->stop, 1, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	compare(c);
	close_cycle(c);
}

static uint64_t free_frames(void)
{
	struct vellum_memory_info info = { .size = sizeof(info) };

	vellum_memory_info(memory, &info);
	return info.nr_free;
}

static void open_machine(void)
{
	struct vellum_memory_args args = { .size = sizeof(args), .host = test_host_ops(), .host_ctx = &host,
					   .mmu = vellum_soft_mmu_ops(), .ram_size = RAM };

	if (vellum_soft_create(2, &soft) || posix_memalign(&args.ram, PAGE, RAM))
		abort();
	memset(args.ram, 0, RAM);
	args.machine = soft;
	if (vellum_memory_create(&args, &memory))
		abort();
	for (unsigned i = 0; i < 2; i++)
		cpu[i] = vellum_soft_cpu(soft, i);
}

int main(int argc, char **argv)
{
	double minutes = argc > 1 ? atof(argv[1]) : 0.05;
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1, live, frames;
	uint64_t cycles = 0, stores = 0, collected = 0, wrong = 0;
	time_t end = time(NULL) + (time_t)(minutes * 60);

	open_machine();
	live = host.live_bytes;
	frames = free_frames();
	do {
		struct cycle c = { .seed = seed++ };

		run_cycle(&c);
		wrong += c.bad;
		if (host.live_bytes != live || free_frames() != frames) {
			printf("# seed %llu: %lld bytes of the host and %lld frames were not given back\n",
			       (unsigned long long)c.seed, (long long)(host.live_bytes - live),
			       (long long)(frames - free_frames()));
			wrong++;
		}
		stores += c.nr_stores;
		collected += c.nr_collected;
		cycles++;
	} while (time(NULL) < end && wrong < 20);
	printf("%s - soft soak: %llu cycles, %llu stores, %llu pages collected, %llu wrong\n",
	       wrong || host.bugs || !stores || !collected ? "not ok" : "ok", (unsigned long long)cycles,
	       (unsigned long long)stores, (unsigned long long)collected, (unsigned long long)wrong);
	return wrong || host.bugs || !stores || !collected;
}
