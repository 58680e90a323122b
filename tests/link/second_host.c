/* SPDX-License-Identifier: MIT */
/*
 * tests/link/second_host.c - a host that is not POSIX: malloc() and free() are all it has. One
 * thread, and every run is like the other, which the log proves. It is compiled as a porter would
 * (sources.mk's core, this file, a machine), runs a workload and prints TAP. docs/porting.md
 * quotes it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/link/second.h"
#include "vellum/backing.h"
#include "vellum/dirty.h"
#include "vellum/host.h"
#include "vellum/mm.h"
#include "vellum/pagemap.h"

#define PAGES	 8
#define RAM_SIZE (8ull << 20)
#define BLOCK	 (2ull << 20)
#define GIANT	 (1ull << 30)
#define DEVICE_PFN (1ull << 18)	/* above RAM, aligned for an entry of 1 GiB */

/* --- the host --- */

struct second_host {
	char *ram;
	uint64_t nr_allocs, fail_at;	/* this allocation fails, counted from 1; 0: none */
	uint64_t live_bytes;
	uint64_t nr_bugs, nr_waits, nr_discards;
	bool committed[RAM_SIZE / BLOCK];
	uint64_t log;			/* all calls and their numbers, folded into one */
};

static void note(struct second_host *host, uint64_t what, uint64_t number)
{
	host->log = (host->log ^ what ^ number) * 0x100000001b3ull;
}

/* malloc() aligns to 16 bytes: take more, and keep what it returned in front of the block. */
static void *second_alloc(void *ctx, size_t size, size_t align)
{
	struct second_host *host = ctx;
	char *block, *ptr;

	note(host, 'a', size);
	if (++host->nr_allocs == host->fail_at)
		return NULL;
	block = malloc(sizeof(block) + align + size);
	if (!block)
		return NULL;
	ptr = block + sizeof(block);
	ptr += -(uintptr_t)ptr & (align - 1);
	memcpy(ptr - sizeof(block), &block, sizeof(block));
	memset(ptr, 0, size);
	host->live_bytes += size;
	return ptr;
}

static void second_free(void *ctx, void *ptr, size_t size)
{
	struct second_host *host = ctx;
	char *block;

	note(host, 'f', size);
	host->live_bytes -= size;
	memcpy(&block, (char *)ptr - sizeof(block), sizeof(block));
	free(block);
}

/* There is one thread: a lock that is taken would never be released. */
static void second_wait(void *ctx, uint32_t *word, uint32_t value)
{
	struct second_host *host = ctx;

	(void)word, (void)value;
	host->nr_waits++;
	puts("Bail out! the only thread waits");
	exit(1);
}

static void second_wake(void *ctx, uint32_t *word)
{
	(void)ctx, (void)word;
}

static int second_commit(void *ctx, uint64_t offset, uint64_t len)
{
	struct second_host *host = ctx;

	note(host, 'c', offset);
	if (host->committed[offset / BLOCK] || len != BLOCK)
		host->nr_bugs++;
	host->committed[offset / BLOCK] = true;
	return 0;
}

static void second_discard(void *ctx, uint64_t offset, uint64_t len)
{
	struct second_host *host = ctx;

	note(host, 'd', offset);
	host->nr_discards++;
	host->committed[offset / BLOCK] = false;
	memset(host->ram + offset, 0, len);	/* a block that is committed again reads as zero */
}

static void second_bug(void *ctx, const char *what, const char *file, int line)
{
	struct second_host *host = ctx;

	printf("# bug: %s (%s:%d)\n", what, file, line);
	host->nr_bugs++;
}

static const struct vellum_host_ops second_host_ops = {
	.size = sizeof(second_host_ops),
	.alloc = second_alloc,
	.free = second_free,
	.wait = second_wait,
	.wake = second_wake,
	.commit = second_commit,
	.discard = second_discard,
	.bug = second_bug,
};

/* --- a world on it --- */

struct world {
	struct second_host host;
	void *ram;			/* as malloc() returned it */
	char *device;
	struct cpu *cpu;
	struct vellum_memory *memory;
	struct vellum_mm *mm;
	uint64_t base;			/* of PAGES pages of private memory */
};

static int nr_failed;

#define CHECK(cond, what) check(cond, "ok - " what, "not ok - " what)
static void check(bool good, const char *ok, const char *not_ok)
{
	if (!good)
		nr_failed++;
	printf("%s (%s)\n", good ? ok : not_ok, machine_name);
}

static bool world_create(struct world *w)
{
	struct vellum_memory_args args = { .size = sizeof(args), .host = &second_host_ops,
					   .host_ctx = &w->host, .mmu = machine_ops(),
					   .ram_size = RAM_SIZE };

	w->cpu = machine_create();
	w->ram = malloc(RAM_SIZE + VELLUM_PAGE_SIZE);
	if (!w->cpu || !w->ram)
		return false;
	w->host.ram = (char *)w->ram + (-(uintptr_t)w->ram & (VELLUM_PAGE_SIZE - 1));
	memset(w->host.ram, 0, RAM_SIZE);
	args.ram = w->host.ram;
	args.machine = machine_context(w->cpu);
	return vellum_memory_create(&args, &w->memory) == 0 &&
	       vellum_mm_create(w->memory, &w->mm) == 0;
}

static bool world_destroy(struct world *w)
{
	cpu_enter(w->cpu, NULL);
	vellum_mm_put(w->mm);
	if (vellum_memory_destroy(w->memory))
		return false;
	machine_destroy(w->cpu);
	free(w->ram);
	free(w->device);
	return w->host.live_bytes == 0 && w->host.nr_bugs == 0 && w->host.nr_waits == 0;
}

static bool store(struct world *w, unsigned page, uint64_t value)
{
	return cpu_store(w->cpu, w->base + page * VELLUM_PAGE_SIZE, value) == VELLUM_FAULT_OK;
}

/* What the page's first word holds; ~0 for a fault. */
static uint64_t load(struct world *w, unsigned page)
{
	uint64_t value = ~0ull;

	return cpu_load(w->cpu, w->base + page * VELLUM_PAGE_SIZE, &value) == VELLUM_FAULT_OK ? value : ~0ull;
}

static int map(struct vellum_mm *mm, uint32_t flags, struct vellum_mapping *mapping, uint64_t *addr)
{
	struct vellum_map_args args = { .size = sizeof(args), .len = PAGES * VELLUM_PAGE_SIZE,
					.prot = VELLUM_PROT_READ | VELLUM_PROT_WRITE, .flags = flags,
					.mapping = mapping,
					.file_prot = VELLUM_PROT_READ | VELLUM_PROT_WRITE };

	return vellum_mmap(mm, &args, addr);
}

/* --- the workload --- */

static void private_memory(struct world *w)
{
	bool mapped = map(w->mm, VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS, NULL, &w->base) == 0;

	cpu_enter(w->cpu, w->mm);
	CHECK(mapped && load(w, 2) == 0, "fresh memory is zero");
	CHECK(store(w, 2, 22) && store(w, 3, 33) && load(w, 2) == 22 && load(w, 3) == 33,
	      "stores are there");
	CHECK(cpu_store(w->cpu, w->base - 4096, 1) == VELLUM_FAULT_SIGSEGV_MAPERR,
	      "a store beside the mapping is a fault");
}

struct pages {
	uint64_t first, mask;
};

static int add_run(void *arg, uint64_t first, uint64_t nr)
{
	struct pages *p = arg;

	for (uint64_t i = 0; i < nr; i++)
		p->mask |= 1ull << (first + i - p->first);
	return 0;
}

/* A bit for every page that a collection names. */
static uint64_t collect(struct world *w, struct vellum_tracker *tracker)
{
	struct pages p = { .first = w->base / VELLUM_PAGE_SIZE };

	return vellum_tracker_collect(tracker, 0, ~0ull, add_run, &p) ? ~0ull : p.mask;
}

static void tracking(struct world *w, enum vellum_track_method method)
{
	struct vellum_tracker *t;

	if (vellum_track_mm(w->mm, w->base, w->base + PAGES * VELLUM_PAGE_SIZE, method, &t)) {
		CHECK(false, "a tracker");
		return;
	}
	collect(w, t);
	(void)load(w, 4);
	store(w, 1, 1), store(w, 5, 5), store(w, 6, 6);
	CHECK(collect(w, t) == 0x62, "the pages stored to are found, and no others");
	(void)load(w, 5);	/* a translation to read by is none to store by */
	store(w, 5, 55);
	CHECK(collect(w, t) == 0x20, "a store after a collection is in the next");
	CHECK(collect(w, t) == 0, "nothing changed, nothing found");
	vellum_tracker_destroy(t);
}

static void forks(struct world *w)
{
	uint64_t copied = vellum_mm_counter(w->mm, VELLUM_COUNT_FAULT_COW);
	struct vellum_mm *child;

	store(w, 3, 33);	/* the parent's CPU knows it may store there */
	if (vellum_fork(w->mm, &child)) {
		CHECK(false, "fork");
		return;
	}
	store(w, 3, 34);
	cpu_enter(w->cpu, child);
	CHECK(load(w, 3) == 33, "the child does not see the parent's store");
	store(w, 2, 23);
	cpu_enter(w->cpu, w->mm);
	CHECK(load(w, 2) == 22 && load(w, 3) == 34, "nor the parent the child's");
	CHECK(vellum_mm_counter(w->mm, VELLUM_COUNT_FAULT_COW) == copied + 1 &&
	      vellum_mm_counter(child, VELLUM_COUNT_FAULT_COW) == 1, "each store copied one page");
	vellum_mm_put(child);
}

/* Fork with the first, second, ... allocation failing, until none does. */
static void forks_without_memory(struct world *w)
{
	struct vellum_mm *child = NULL;
	bool valid = true;
	unsigned k = 0;
	int err;

	do {
		w->host.fail_at = w->host.nr_allocs + ++k;
		err = vellum_fork(w->mm, &child);
		w->host.fail_at = 0;
		valid = valid && vellum_validate(w->memory, NULL) == 0 && load(w, 3) == 34;
	} while (err == -VELLUM_ENOMEM && k < 1000);
	CHECK(err == 0 && k > 1 && valid, "a fork that gets no memory changes nothing");
	if (err == 0)
		vellum_mm_put(child);
}

static int numbered_page(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	*(uint64_t *)vmf->page = 100 + vmf->pgoff;
	return VELLUM_VMF_OK;
}

static void objects(struct world *w)
{
	static const struct vellum_backing_ops ops = { .size = sizeof(ops), .fault = numbered_page };
	uint64_t private_base = w->base, bitmap = 0, start = 0, end = 0, word = 0;
	struct vellum_mapping *object;

	if (vellum_mapping_create(w->memory, &ops, NULL, PAGES, 0, &object) ||
	    map(w->mm, VELLUM_MAP_SHARED, object, &w->base)) {
		CHECK(false, "an object");
		return;
	}
	CHECK(load(w, 7) == 107, "an object's page comes from its driver");
	store(w, 1, 1), store(w, 4, 4);
	vellum_clean_record_shared_mapping_range(object, 0, PAGES, 0, &bitmap, &start, &end, NULL);
	CHECK(bitmap == 0x12 && start <= 1 && end == 5, "its dirty pages are recorded");
	bitmap = 0;
	store(w, 4, 44);
	vellum_clean_record_shared_mapping_range(object, 0, PAGES, 0, &bitmap, &start, &end, NULL);
	CHECK(bitmap == 0x10, "a store after that is recorded the next time");
	vellum_mapping_read(object, 4 * VELLUM_PAGE_SIZE, &word, sizeof(word));
	CHECK(word == 44, "the object has what was stored");
	vellum_munmap(w->mm, w->base, PAGES * VELLUM_PAGE_SIZE);
	vellum_mapping_put(object);
	w->base = private_base;
}

static int device_page(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	vmf->pfn = DEVICE_PFN + vmf->pgoff;
	return VELLUM_VMF_OK;
}

/* The sizes of entries that are there, and of those that are dirty, as one number each: sizes are powers of two. */
struct sizes {
	uint64_t all, dirty;
};

static int add_size(void *arg, const struct vellum_entry *entry)
{
	struct sizes *s = arg;

	s->all |= entry->len;
	s->dirty |= entry->flags & VELLUM_ENTRY_DIRTY ? entry->len : 0;
	return 0;
}

static struct sizes sizes_of(struct world *w, uint64_t addr, uint64_t len)
{
	struct sizes s = { 0, 0 };

	vellum_walk_entries(w->mm, addr, addr + len, add_size, &s);
	return s;
}

/* A device's frames in an entry of 1 GiB and one of 2 MiB; only what is stored to takes the host's memory. */
static void huge_entries(struct world *w)
{
	static const struct vellum_backing_ops ops = { .size = sizeof(ops), .fault = device_page };
	struct vellum_map_args args = { .size = sizeof(args), .addr = 4 * GIANT, .len = GIANT + BLOCK, .prot = 3,
					.flags = VELLUM_MAP_SHARED | VELLUM_MAP_FIXED, .file_prot = 3 };
	uint64_t at = args.addr, big = at + 77 * 4096 + 8, small = at + GIANT + 99 * 4096, value = 0, second = 0;
	struct sizes s;

	w->device = malloc(args.len);
	if (!w->device || vellum_memory_add_device(w->memory, DEVICE_PFN, args.len / 4096, w->device) ||
	    vellum_mapping_create(w->memory, &ops, NULL, args.len / 4096, VELLUM_MAPPING_PFN, &args.mapping) ||
	    vellum_mmap(w->mm, &args, &at) || vellum_remap_pfn_range(w->mm, at, DEVICE_PFN, args.len)) {
		CHECK(false, "a device's memory");
		return;
	}
	memset(w->device + (big - at), 7, 8);
	CHECK(!cpu_load(w->cpu, big, &value) && value == 0x0707070707070707, "a load through an entry of 1 GiB");
	s = sizes_of(w, at, args.len);
	CHECK(s.all == (GIANT | BLOCK) && s.dirty == 0, "huge entries that were loaded from are clean");
	CHECK(!cpu_store(w->cpu, big, 1) && !cpu_store(w->cpu, small, 2), "stores through huge entries");
	memcpy(&value, w->device + (big - at), 8);
	memcpy(&second, w->device + (small - at), 8);
	CHECK(value == 1 && second == 2, "they reach the frames that they are for");
	s = sizes_of(w, at, args.len);
	CHECK(s.dirty == (GIANT | BLOCK), "and make the entries dirty");
	vellum_munmap(w->mm, at, args.len);
	CHECK(cpu_load(w->cpu, big, &value) == VELLUM_FAULT_SIGSEGV_MAPERR, "unmapped huge entries are forgotten");
	vellum_mapping_put(args.mapping);
}

/* Of private memory, whose entry splits when a page of it goes. */
static void huge_pages(struct world *w)
{
	struct vellum_map_args args = { .size = sizeof(args), .addr = 4 * GIANT, .len = BLOCK, .prot = 3,
					.flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS | VELLUM_MAP_FIXED };
	uint64_t at = args.addr, value = 0;
	bool mapped = !vellum_mmap(w->mm, &args, &at) && !vellum_madvise(w->mm, at, BLOCK, VELLUM_MADV_HUGEPAGE);

	CHECK(mapped && !cpu_store(w->cpu, at + 5 * 4096, 5) && sizes_of(w, at, BLOCK).all == BLOCK,
	      "a first store brings a huge page in");
	CHECK(!vellum_madvise(w->mm, at + 4 * 4096, 4096, VELLUM_MADV_DONTNEED) &&
	      !cpu_load(w->cpu, at + 5 * 4096, &value) && value == 5 && !cpu_load(w->cpu, at + 4 * 4096, &value) &&
	      value == 0, "and its pages stay when it is split");
	vellum_munmap(w->mm, at, BLOCK);
}

/* Frames that follow one another in addresses need not do so in RAM. */
static void across_pages(struct world *w)
{
	uint64_t value = 0, border = w->base + 3 * 4096;

	CHECK(!cpu_store(w->cpu, border - 4, 0x1122334455667788) && !cpu_load(w->cpu, border - 4, &value) &&
	      value == 0x1122334455667788 && !cpu_load(w->cpu, border, &value) && (uint32_t)value == 0x11223344,
	      "an access may cross a page");
	border = w->base + PAGES * 4096;
	value = ~0ull;
	CHECK(cpu_store(w->cpu, border - 4, 0) != VELLUM_FAULT_OK && !cpu_load(w->cpu, border - 8, &value) && value == 0 &&
	      store(w, 3, 33), "but not to where nothing is mapped");
}

static void memory_comes_back(struct world *w)
{
	struct vellum_memory_info before = { .size = sizeof(before) }, after = before;

	vellum_memory_info(w->memory, &before);
	map(w->mm, VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS, NULL, &w->base);
	for (unsigned i = 0; i < PAGES; i++)
		store(w, i, ~0ull);
	vellum_munmap(w->mm, w->base, PAGES * VELLUM_PAGE_SIZE);
	vellum_memory_info(w->memory, &after);
	CHECK(before.nr_free == after.nr_free, "frames come back");
	vellum_memory_trim(w->memory);
	map(w->mm, VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS, NULL, &w->base);
	CHECK(load(w, 0) == 0 && store(w, 1, 1) && load(w, 1) == 1, "and are zero the next time");
}

/* More than 2 MiB, so that whole blocks are free afterwards. */
static void blocks_come_back(struct world *w)
{
	struct vellum_map_args args = { .size = sizeof(args), .len = 2 * BLOCK,
					.prot = VELLUM_PROT_READ | VELLUM_PROT_WRITE,
					.flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS };
	bool zero = true;

	for (int round = 0; round < 2; round++) {
		if (vellum_mmap(w->mm, &args, &w->base)) {
			zero = false;
			break;
		}
		for (uint64_t a = w->base; a < w->base + args.len; a += VELLUM_PAGE_SIZE) {
			uint64_t first = 1;	/* the second round stores beside it */

			cpu_store(w->cpu, a + 8u * (unsigned)round, ~0ull);
			cpu_load(w->cpu, a, &first);
			zero = zero && first == (round ? 0 : ~0ull);
		}
		vellum_munmap(w->mm, w->base, args.len);
		vellum_memory_trim(w->memory);
	}
	CHECK(zero && w->host.nr_discards > 0, "discarded blocks are zero when committed again");
}

static uint64_t run(void)
{
	static struct world w;

	memset(&w, 0, sizeof(w));
	if (!world_create(&w)) {
		CHECK(false, "a world");
		return 0;
	}
	private_memory(&w);
	tracking(&w, VELLUM_TRACK_CLEAN);
	tracking(&w, VELLUM_TRACK_WP);
	forks(&w);
	forks_without_memory(&w);
	objects(&w);
	across_pages(&w);
	huge_entries(&w);
	huge_pages(&w);
	memory_comes_back(&w);
	blocks_come_back(&w);
	CHECK(vellum_validate(w.memory, NULL) == 0, "every invariant holds");
	CHECK(world_destroy(&w), "all is freed, nobody waited, no bug");
	return w.host.log;
}

int main(void)
{
	uint64_t log = run();

	CHECK(run() == log, "a second run makes the same calls of the host");
	return nr_failed != 0;
}
