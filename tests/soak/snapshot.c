/* SPDX-License-Identifier: MIT */
/*
 * tests/soak/snapshot.c random OPERATIONS [SEED] | resets N [SEED] | threads N [SEED] - snapshots under random operations.
 * TAP.
 *
 * random: two address spaces and shared memory; up to three snapshots, each made at some time and restored in any order.
 * In between come random operations of the whole library. After each restore vellum_snapshot_verify() must find nothing,
 * and often an image, taken through other calls of the library when the snapshot was made, is compared too.
 *
 * resets: one snapshot and N runs that store to random pages. After each, the pages of the run are compared; all memory
 * every 1,000th time. Neither frames nor the host's memory may become fewer.
 *
 * threads: N runs of each of two address spaces, with other threads (snapshot_threads.c).
 */
#define _GNU_SOURCE
#include "tests/soak/snapshot.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "vellum/access.h"
#include "vellum/dirty.h"
#include "vellum/swap_backends.h"
#include "vellum/uffd.h"

#define RAM	 (40ull << 20)
#define SLOTS	 16384u
#define MAX_LEVELS 3u
#define RESET_PAGES 2048u

struct world w;
static uint64_t seed, at_operation;
static struct vellum_swap_file *swap_file;
static void *ram;

void fail(const char *format, ...)
{
	va_list args;

	printf("not ok - snapshot: ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf(" (seed %llu, operation %llu)\n", (unsigned long long)seed, (unsigned long long)at_operation);
	fflush(stdout);
	abort();
}

void must(int err, const char *what)
{
	if (err)
		fail("%s: %s", what, vellum_strerror(err));
}

uint64_t any64(void)
{
	w.rng ^= w.rng << 13;
	w.rng ^= w.rng >> 7;
	w.rng ^= w.rng << 17;
	return w.rng * 0x2545f4914f6cdd1dull;
}

uint64_t below(uint64_t n)
{
	return (any64() >> 20) % n;
}

/* The zones need tables of their own at every level. */
uint64_t zone_page(unsigned zone, uint64_t page)
{
	static const uint64_t start[] = { 0x100000000ull, 0x100000000ull + (3ull << 30), 0x7f0000000000ull,
					  0x110000000ull, 0x20000000ull };

	return start[zone] + page * PAGE;
}

/* --- the world --- */

static int file_fault(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	memset(vmf->page, (int)vmf->pgoff + 1, PAGE);
	return VELLUM_VMF_OK;
}

static const struct vellum_backing_ops file_ops = { .size = sizeof(file_ops), .fault = file_fault };

static struct vellum_uffd *new_uffd(struct vellum_mm *mm, uint64_t features)
{
	struct vellum_uffd *uffd;

	must(vellum_uffd_create(mm, 0, &uffd), "uffd");
	must(vellum_uffd_api(uffd, VELLUM_UFFD_API, features, NULL, NULL), "api");
	return uffd;
}

static void create_mm(unsigned i)
{
	must(vellum_mm_create(w.memory, &w.mm[i]), "mm");
	vellum_set_brk(w.mm[i], zone_page(NR_ZONES, 0));
	w.cpu[i] = vellum_soft_cpu(w.soft, i);
	vellum_soft_load_mm(w.cpu[i], w.mm[i]);
	/* Faults that user space would have to resolve fail instead: one thread makes all calls. */
	w.missing[i] = new_uffd(w.mm[i], VELLUM_UFFD_FEATURE_SIGBUS | VELLUM_UFFD_FEATURE_MISSING_SHMEM |
						 VELLUM_UFFD_FEATURE_WP_HUGETLBFS_SHMEM | VELLUM_UFFD_FEATURE_POISON |
						 VELLUM_UFFD_FEATURE_MOVE | VELLUM_UFFD_FEATURE_WP_UNPOPULATED);
	w.async[i] = new_uffd(w.mm[i], VELLUM_UFFD_FEATURE_SIGBUS | VELLUM_UFFD_FEATURE_WP_ASYNC |
					       VELLUM_UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
}

static void world_create(void)
{
	struct vellum_memory_args args = { .size = sizeof(args), .host = test_host_ops(), .host_ctx = &w.host,
					   .mmu = vellum_soft_mmu_ops(), .ram_size = RAM };

	ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	args.ram = ram;
	must(vellum_soft_create(NR_MMS + 1, &w.soft), "machine");
	args.machine = w.soft;
	must(vellum_memory_create(&args, &w.memory), "memory");
	must(vellum_swap_file_create(NULL, SLOTS, &swap_file), "swap file");
	must(vellum_swap_add(w.memory, vellum_swap_file_ops(), swap_file, SLOTS, NULL), "swap area");
	must(vellum_mapping_create(w.memory, &file_ops, NULL, FILE_PAGES, 0, &w.file), "file");
	for (unsigned i = 0; i < NR_SHARED; i++)
		must(vellum_mapping_create(w.memory, NULL, NULL, SHARED_PAGES, 0, &w.shared[i]), "shared memory");
	for (unsigned i = 0; i < NR_MMS; i++)
		create_mm(i);
	device_begin();
}

static void world_destroy(void)
{
	struct vellum_memory_info info = { .size = sizeof(info) };
	struct vellum_swap_info swap = { .size = sizeof(swap) };

	release_pins();
	end_children();
	vellum_tracker_destroy(w.tracker);
	for (unsigned i = 0; i < NR_MMS; i++) {
		vellum_soft_load_mm(w.cpu[i], NULL);
		vellum_uffd_put(w.missing[i]);
		vellum_uffd_put(w.async[i]);
		vellum_mm_put(w.mm[i]);
	}
	for (unsigned i = 0; i < NR_SHARED; i++)
		vellum_mapping_put(w.shared[i]);
	vellum_mapping_put(w.file);
	device_end();
	vellum_memory_info(w.memory, &info);
	vellum_swap_info(w.memory, &swap);
	if (info.nr_free != info.nr_frames - 2 || swap.nr_used)
		fail("frames or slots are left: %llu of %llu frames free, %llu slots used", (unsigned long long)info.nr_free,
		     (unsigned long long)info.nr_frames, (unsigned long long)swap.nr_used);
	must(vellum_memory_destroy(w.memory), "destroying the memory");
	vellum_soft_destroy(w.soft);
	vellum_swap_file_destroy(swap_file);
	munmap(ram, RAM);
	if (w.host.live || w.host.bugs)
		fail("%llu allocations are left, %llu bugs", (unsigned long long)w.host.live, (unsigned long long)w.host.bugs);
}

static void validate(void)
{
	const char *why = NULL;

	if (vellum_validate(w.memory, &why))
		fail("validator: %s", why ? why : "no memory");
}

/* --- random --- */

struct level {
	struct vellum_snapshot *snapshot;
	struct image *image;
};

static struct level levels[MAX_LEVELS];
static uint64_t nr_restores, nr_images;

static struct vellum_snapshot *freeze(void)
{
	struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = NR_MMS, .mms = w.mm, .mappings = w.shared,
					     .nr_mappings = NR_SHARED, .max_kept_pages = one_in(3) ? 1 + below(64) : 0 };
	struct vellum_snapshot *snapshot;

	must(vellum_snapshot_create(&args, &snapshot), "vellum_snapshot_create");
	return snapshot;
}

void verify(struct vellum_snapshot *snapshot, const char *when)
{
	struct vellum_snapshot_difference diff = { .size = sizeof(diff) };
	int err = vellum_snapshot_verify(snapshot, &diff);

	if (err)
		fail("%s: vellum_snapshot_verify() returned %d: kind %u, index %llu, %#llx", when, err, diff.what,
		     (unsigned long long)diff.index, (unsigned long long)diff.address);
}

static void compare_image(const struct level *level)
{
	struct image *is = image_take();
	const char *what = image_differs(level->image, is);

	if (what)
		fail("%s", what);
	image_free(is);
	nr_images++;
}

static void restore(unsigned i)
{
	if (w.trace)
		fprintf(stderr, "# restore %u\n", i);
	must(vellum_snapshot_restore(levels[i].snapshot), "vellum_snapshot_restore");
	nr_restores++;
	verify(levels[i].snapshot, "after a restore");
	check_children();
	if (one_in(4))
		compare_image(&levels[i]);
	if (one_in(4) || w.trace)
		validate();
}

static void create(unsigned i)
{
	if (w.trace)
		fprintf(stderr, "# create %u\n", i);
	levels[i].image = image_take();
	levels[i].snapshot = freeze();
	verify(levels[i].snapshot, "a new snapshot");
	if (one_in(4)) {
		compare_image(&levels[i]);
		validate();
	}
}

static void destroy(unsigned i)
{
	if (w.trace)
		fprintf(stderr, "# destroy %u\n", i);
	vellum_snapshot_destroy(levels[i].snapshot);
	image_free(levels[i].image);
	levels[i].snapshot = NULL;
}

/* Run in the branches, as if they were the frozen address spaces; that changes nothing for these. */
static void branch(unsigned i)
{
	struct vellum_mapping *mappings[NR_SHARED];
	struct vellum_mm *mms[NR_MMS];
	struct vellum_vma_info vma = { .size = sizeof(vma) };
	struct vellum_soft_cpu *cpu = vellum_soft_cpu(w.soft, NR_MMS);

	if (w.trace)
		fprintf(stderr, "# branch %u\n", i);
	must(vellum_snapshot_branch(levels[i].snapshot, mms, mappings), "vellum_snapshot_branch");
	for (unsigned m = 0; m < NR_MMS; m++) {
		vellum_soft_load_mm(cpu, mms[m]);
		for (uint64_t at = 0; !vellum_vma_next(mms[m], at, &vma); at = vma.end)
			vellum_soft_store64(cpu, vma.start + below((vma.end - vma.start) / PAGE) * PAGE, any64());
		vellum_soft_load_mm(cpu, NULL);
	}
	if (one_in(4))
		validate();
	for (unsigned m = 0; m < NR_MMS; m++)
		vellum_mm_put(mms[m]);
	for (unsigned m = 0; m < NR_SHARED; m++)
		vellum_mapping_put(mappings[m]);
}

static void change_levels(void)
{
	unsigned i = (unsigned)below(MAX_LEVELS);

	if (!levels[i].snapshot)
		create(i);
	else if (one_in(12))
		destroy(i);
	else if (one_in(8))
		branch(i);
	else
		restore(i);
}

static void restore_latest(void)
{
	static unsigned latest;

	if (one_in(6) || !levels[latest].snapshot) {
		change_levels();
		latest = (unsigned)below(MAX_LEVELS);
	} else {
		restore(latest);
	}
}

static void run_random(uint64_t operations)
{
	world_create();
	for (at_operation = 0; at_operation < operations; restore_latest())
		for (uint64_t n = 1 + below(one_in(4) ? 60 : 8); n; n--, at_operation++)
			random_operation();
	for (unsigned i = 0; i < MAX_LEVELS; i++)
		if (levels[i].snapshot)
			destroy(i);
	validate();
	world_destroy();
	printf("ok - snapshot: %llu random operations, %llu restores, %llu images compared, seed %llu\n",
	       (unsigned long long)operations, (unsigned long long)nr_restores, (unsigned long long)nr_images,
	       (unsigned long long)seed);
}

/* --- resets --- */

static uint64_t word_of(uint64_t page)
{
	return page * 0x9e3779b97f4a7c15ull + 1;
}

/* Every word of the page is as it was when the snapshot was made. */
static void compare_page(uint64_t page)
{
	const uint64_t wanted = word_of(page);
	uint64_t buf[PAGE / 8];

	if (vellum_peek(w.mm[0], zone_page(0, page), buf) != 1)
		fail("page %llu is gone", (unsigned long long)page);
	for (unsigned i = 0; i < PAGE / 8; i++)
		if (buf[i] != wanted)
			fail("word %u of page %llu is %#llx after a reset", i, (unsigned long long)page,
			     (unsigned long long)buf[i]);
}

static void prepare_resets(void)
{
	struct vellum_map_args a = { .size = sizeof(a), .addr = zone_page(0, 0), .len = RESET_PAGES * PAGE, .prot = RW,
				     .flags = VELLUM_MAP_FIXED | VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS };
	uint64_t buf[PAGE / 8], at;

	must(vellum_mmap(w.mm[0], &a, &at), "mmap");
	for (uint64_t page = 0; page < RESET_PAGES; page++) {
		for (unsigned i = 0; i < PAGE / 8; i++)
			buf[i] = word_of(page);
		must(vellum_copy_to_user(w.mm[0], zone_page(0, page), buf, PAGE, NULL), "storing");
	}
}

static void run_once(uint64_t *pages, unsigned nr)
{
	struct vellum_map_args a = { .size = sizeof(a), .addr = zone_page(1, 0), .len = 16 * PAGE, .prot = RW,
				     .flags = VELLUM_MAP_FIXED | VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS };
	uint64_t at;

	for (unsigned i = 0; i < nr; i++) {
		pages[i] = below(RESET_PAGES);
		if (vellum_soft_store64(w.cpu[0], zone_page(0, pages[i]) + 8 * below(512), any64()))
			fail("a store failed");
	}
	if (one_in(16)) {
		must(vellum_mmap(w.mm[0], &a, &at), "mmap");
		vellum_soft_store64(w.cpu[0], at + below(16) * PAGE, 1);
	}
	if (one_in(64))
		must(vellum_munmap(w.mm[0], zone_page(0, pages[0]), PAGE), "munmap");
	if (one_in(64))
		vellum_brk(w.mm[0], zone_page(NR_ZONES, 1 + below(32)));
	if (one_in(4096))
		vellum_reclaim(w.memory, 32);
}

static void run_resets(uint64_t nr)
{
	struct vellum_memory_info info = { .size = sizeof(info) };
	uint64_t pages[RESET_PAGES], least_free = ~0ull, live = 0;
	struct vellum_snapshot *snapshot;
	unsigned nr_pages;

	world_create();
	prepare_resets();
	snapshot = freeze();
	for (at_operation = 1; at_operation <= nr; at_operation++) {
		nr_pages = (unsigned)(one_in(1000) ? RESET_PAGES : 1 + below(24));
		run_once(pages, nr_pages);
		must(vellum_snapshot_restore(snapshot), "vellum_snapshot_restore");
		for (unsigned i = 0; i < nr_pages; i++)
			compare_page(pages[i]);
		if (at_operation % 1000)
			continue;
		verify(snapshot, "after a reset");
		vellum_memory_info(w.memory, &info);
		if (at_operation <= 20000) {	/* by then every page has been kept once */
			least_free = info.nr_free < least_free ? info.nr_free : least_free;
			live = w.host.live_bytes > live ? w.host.live_bytes : live;
		} else if (info.nr_free + 64 < least_free || w.host.live_bytes > live + 65536) {
			fail("it grows: %llu frames free, %llu bytes", (unsigned long long)info.nr_free,
			     (unsigned long long)w.host.live_bytes);
		}
	}
	validate();
	vellum_snapshot_destroy(snapshot);
	world_destroy();
	printf("ok - snapshot: %llu resets, seed %llu\n", (unsigned long long)nr, (unsigned long long)seed);
}

int main(int argc, char **argv)
{
	uint64_t nr = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	seed = argc > 3 ? strtoull(argv[3], NULL, 0) : (uint64_t)time(NULL);
	w.rng = seed * 0x9e3779b97f4a7c15ull + 1;
	w.trace = getenv("TRACE") != NULL;
	if (argc > 2 && !strcmp(argv[1], "random")) {
		run_random(nr);
	} else if (argc > 2 && !strcmp(argv[1], "resets")) {
		run_resets(nr);
	} else if (argc > 2 && !strcmp(argv[1], "threads")) {
		world_create();
		run_threads(nr);
		validate();
		world_destroy();
		printf("ok - snapshot: %llu runs of two threads, seed %llu\n", (unsigned long long)nr, (unsigned long long)seed);
	} else {
		fprintf(stderr, "usage: snapshot random OPERATIONS [SEED] | resets N [SEED] | threads N [SEED]\n");
		return 2;
	}
	return 0;
}
