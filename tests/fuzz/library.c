/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/library.c [--seed S] [--calls N] [--every K] [--trace] - random hostile calls of the public library. TAP.
 *
 * One thread makes N calls in a world of a few address spaces, mappings, CPUs, trackers, userfaultfd contexts, swap
 * areas and devices. Hooks refuse, and allocations fail. The validator runs every K calls. Every 20,000 calls, and at
 * the end, everything is released: then all frames must be free, and no allocation of the host's memory may be left.
 * The same seed makes the same calls.
 */
#define _GNU_SOURCE
#include "tests/fuzz/library.h"

#include <stdarg.h>
#include <sys/mman.h>

#define WORLD_CALLS 20000u	/* after so many calls, everything is released, and a new world made */

struct fuzz f;

static uint64_t seed = 1, nr_calls = 100000, every = 100, at_call;
static bool trace;
static char last_call[256];

/* --- messages --- */

void calling(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(last_call, sizeof(last_call), format, args);
	va_end(args);
	if (trace)
		fprintf(stderr, "# %llu: %s\n", (unsigned long long)at_call, last_call);
}

void wrong(const char *format, ...)
{
	va_list args;

	printf("not ok - fuzz library: ");
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf(" (--seed %llu, call %llu: %s)\n", (unsigned long long)seed, (unsigned long long)at_call, last_call);
	exit(1);
}

int result(int err)
{
	if (err > 0 || !strcmp(vellum_strerror(err), "unknown error"))
		wrong("the result %d is no error number of the library", err);
	if (trace)
		fprintf(stderr, "#   = %d\n", err);
	return err;
}

/* --- numbers --- */

uint64_t any64(void)
{
	f.rng ^= f.rng << 13;
	f.rng ^= f.rng >> 7;
	f.rng ^= f.rng << 17;
	return f.rng * 0x2545f4914f6cdd1dull;
}

uint64_t below(uint64_t n)
{
	return (any64() >> 16) % n;
}

static uint64_t odd_number(void)
{
	static const uint64_t edges[] = { 0, 1, PAGE - 1, PAGE, VELLUM_TASK_SIZE, 1ull << 47, 1ull << 52, 1ull << 63,
					  1ull << 32, 2ull << 20, 1ull << 30, 65536 };

	switch (below(4)) {
	case 0:
		return any64();
	case 1:
		return any64() >> below(64);
	default:
		return edges[below(sizeof(edges) / sizeof(*edges))] + below(3) * PAGE - PAGE + (below(3) - 1);
	}
}

/* An address at the edge of a VMA, or in it. */
static uint64_t near_a_mapping(struct vellum_mm *mm)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	if (vellum_vma_next(mm, BASE + below(WINDOW) * PAGE, &info))
		return BASE;
	switch (below(4)) {
	case 0:
		return info.start;
	case 1:
		return info.end - PAGE;
	case 2:
		return info.end;
	default:
		return info.start + below((info.end - info.start) / PAGE) * PAGE;
	}
}

uint64_t any_addr(struct vellum_mm *mm)
{
	uint64_t addr = BASE + below(WINDOW) * PAGE;

	if (mm && one_in(2))
		addr = near_a_mapping(mm);
	else if (one_in(6))
		addr = BASE + below(WINDOW / 512) * (2 << 20);
	if (one_in(20))
		addr += below(PAGE);
	return one_in(40) ? odd_number() : addr;
}

uint64_t few_pages(void)
{
	if (one_in(12))
		return 1 + below(MANY);
	return 1 + below(one_in(3) ? 64 : 8);
}

uint64_t any_len(void)
{
	if (one_in(40))
		return odd_number();
	if (one_in(16))
		return below(3 * PAGE);
	return one_in(10) ? (1 + below(3)) * (2 << 20) : few_pages() * PAGE;
}

uint64_t any_index(void)
{
	return one_in(40) ? odd_number() : below(one_in(2) ? 64 : MANY);
}

uint32_t any_flags(uint32_t known)
{
	uint32_t flags = (uint32_t)any64() & (uint32_t)any64();

	return one_in(30) ? flags : flags & known;
}

/* --- handles --- */

#define PICK(list) list[below(sizeof(list) / sizeof(*list))]

struct vellum_mm *any_mm(void)
{
	struct vellum_mm *mm = PICK(f.mm);

	return mm ? mm : f.mm[0];
}

struct vellum_mapping *any_object(void)
{
	return PICK(f.object);
}

struct vellum_uffd *any_uffd(void)
{
	return PICK(f.uffd);
}

struct vellum_tracker *any_tracker(void)
{
	return PICK(f.tracker);
}

struct vellum_soft_cpu *any_cpu(void)
{
	unsigned i = (unsigned)below(NR_CPUS);

	return f.on[i] ? vellum_soft_cpu(f.soft, i) : NULL;
}

/* --- the world --- */

static void must(int err, const char *what)
{
	if (err)
		wrong("%s: %d", what, err);
}

static void make_world(void)
{
	struct vellum_memory_args args = { .size = sizeof(args), .host = test_host_ops(), .host_ctx = &f.host,
					   .mmu = vellum_soft_mmu_ops(), .ram_size = RAM };
	uint64_t rng = f.rng;

	memset(&f, 0, sizeof(f));
	f.rng = rng;
	f.host.interrupted = 1;		/* a fault that would wait returns: no other thread could resolve it */
	f.ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	f.raw = mmap(NULL, RAW_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (f.ram == MAP_FAILED || f.raw == MAP_FAILED)
		wrong("no memory");
	must(vellum_soft_create(NR_CPUS, &f.soft), "vellum_soft_create");
	args.machine = f.soft;
	args.ram = f.ram;
	must(vellum_memory_create(&args, &f.memory), "vellum_memory_create");
	must(vellum_memory_add_device(f.memory, RAW_PFN, RAW_PAGES, f.raw), "vellum_memory_add_device");
	for (unsigned i = 0; i < 2; i++)
		must(vellum_mm_create(f.memory, &f.mm[i]), "vellum_mm_create");
	for (unsigned i = 0; i < NR_CPUS; i++) {
		f.on[i] = f.mm[i % 2];
		vellum_soft_load_mm(vellum_soft_cpu(f.soft, i), f.on[i]);
	}
}

static void check_world(void)
{
	const char *why = "?";
	uint64_t fail_at = f.host.fail_at, nr_allocs = f.host.nr_allocs;
	int err;

	f.host.fail_at = 0;		/* the validator allocates */
	err = vellum_validate(f.memory, &why);
	f.host.fail_at = fail_at;
	f.host.nr_allocs = nr_allocs;
	if (err)
		wrong("the validator says %d: %s", err, why);
	if (f.open_notifications)
		wrong("a notifier was told of a start without its end");
}

void drop_mm(unsigned i)
{
	for (unsigned c = 0; c < NR_CPUS; c++)
		if (f.on[c] == f.mm[i]) {
			vellum_soft_load_mm(vellum_soft_cpu(f.soft, c), NULL);
			f.on[c] = NULL;
		}
	for (unsigned n = 0; n < NR_NOTIFIERS; n++)
		if (f.notifier[n].mm == f.mm[i]) {
			vellum_notifier_unregister(f.mm[i], &f.notifier[n].notifier);
			f.notifier[n].mm = NULL;
		}
	vellum_mm_put(f.mm[i]);
	f.mm[i] = NULL;
}

/* Release everything, in random order. */
static void end_world(void)
{
	struct vellum_memory_info info = { .size = sizeof(info) };

	f.host.fail_at = 0;
	calling("giving everything back");
	if (one_in(2))
		give_back_objects();
	for (unsigned i = 0; i < NR_MMS; i++)
		if (f.mm[i])
			drop_mm(i);
	for (unsigned i = 0; i < NR_UFFDS; i++)
		if (f.uffd[i])
			drop_uffd(i);
	give_back_objects();
	give_back_pages();
	vellum_memory_info(f.memory, &info);
	if (info.nr_free != info.nr_frames - 2)	/* the reserved frame and the zero page */
		wrong("%llu of %llu frames are free at the end", (unsigned long long)info.nr_free,
		      (unsigned long long)info.nr_frames);
	check_world();
	must(vellum_memory_destroy(f.memory), "vellum_memory_destroy");
	vellum_soft_destroy(f.soft);
	if (f.host.live || f.host.live_bytes)
		wrong("%llu allocations are left", (unsigned long long)f.host.live);
	munmap(f.ram, RAM);
	munmap(f.raw, RAW_PAGES * PAGE);
}

/* --- calls --- */

static void one_call(void)
{
	static const struct op *const groups[] = { map_ops, object_ops, page_ops, uffd_ops };
	unsigned total = 0;
	uint64_t at;

	for (unsigned g = 0; g < 4; g++)
		for (const struct op *op = groups[g]; op->weight; op++)
			total += op->weight;
	at = below(total);
	for (unsigned g = 0; g < 4; g++)
		for (const struct op *op = groups[g]; op->weight; op++) {
			if (at < op->weight) {
				op->run();
				return;
			}
			at -= op->weight;
		}
}

/* Sometimes make one of the next host allocations fail, or all commits for a while. */
static void adversity(void)
{
	if (one_in(50))
		f.host.fail_at = one_in(2) ? 0 : f.host.nr_allocs + 1 + below(20);
	if (one_in(2000))
		f.host.fail_commits = one_in(4);
}

static void options(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--trace"))
			trace = true;
		else if (i + 1 < argc && !strcmp(argv[i], "--seed"))
			seed = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--calls"))
			nr_calls = strtoull(argv[++i], NULL, 0);
		else if (i + 1 < argc && !strcmp(argv[i], "--every"))
			every = strtoull(argv[++i], NULL, 0);
		else
			exit(fprintf(stderr, "usage: library [--seed S] [--calls N] [--every K] [--trace]\n") < 0 ? 1 : 2);
	}
	if (!every)
		every = 1;
}

int main(int argc, char **argv)
{
	options(argc, argv);
	f.rng = (seed + 1) * 0x9e3779b97f4a7c15ull;
	for (unsigned i = 0; i < 8; i++)
		any64();
	for (at_call = 0; at_call < nr_calls; at_call++) {
		if (at_call % WORLD_CALLS == 0)
			make_world();
		adversity();
		one_call();
		if (f.host.bugs)
			wrong("bug(): %s", f.host.last_bug);
		if (at_call % every == 0)
			check_world();
		if (at_call % WORLD_CALLS == WORLD_CALLS - 1 || at_call == nr_calls - 1)
			end_world();
	}
	printf("ok - fuzz library: %llu calls, seed %llu\n", (unsigned long long)nr_calls, (unsigned long long)seed);
	return 0;
}
