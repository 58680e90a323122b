/* SPDX-License-Identifier: MIT */
/* bench/fork.c - fork of a large address space; memory used for the metadata of mapped pages. */
#define _GNU_SOURCE
#include "bench/bench.h"
#include "vellum/access.h"
#include "vellum/mmu.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* Commands for the host's side. */
enum { TOUCH, FORK };

struct host_side {
	uint64_t pages, value;
	char *at;	/* NULL: not mapped yet */
};

/* Measure fork(2), and from then until the child was reaped. */
static bool host_fork(struct host_side *s, double ns[2])
{
	volatile uint64_t *last = (uint64_t *)(s->at + (s->pages - 1) * PAGE);
	double start = now_ns();
	pid_t pid = fork();
	int status;

	if (!pid)
		_exit(*last != s->value);
	ns[0] = now_ns() - start;
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return false;
	ns[1] = now_ns() - start - ns[0];
	return status == 0;
}

static void serve(void *arg, int command, struct answer *a)
{
	struct host_side *s = arg;

	if (!s->at)
		s->at = map_host(s->pages, MAP_PRIVATE);
	if (command == TOUCH) {
		a->ns[0] = store_host(s->at, s->pages, 1, ++s->value);
		a->done = true;
	} else {
		a->done = host_fork(s, a->ns);
	}
}

static void vellum_side(struct world *w, uint64_t at, uint64_t pages, uint64_t value, double ns[2])
{
	struct vellum_mm *child;
	double start = now_ns();
	uint64_t seen = 0;

	must(!vellum_fork(w->mm, &child), "vellum_fork");
	ns[0] = now_ns() - start;
	must(vellum_mm_rss(child) == pages, "fork: the child has not all pages");
	must(!vellum_copy_from_user(child, &seen, at + (pages - 1) * PAGE, sizeof(seen), NULL) &&
		     seen == value,
	     "fork: the child has other bytes");
	start = now_ns();
	vellum_mm_put(child);
	ns[1] = now_ns() - start;
}

void bench_fork(void)
{
	static const char call[] = "library call vellum_fork()", put[] = "library call vellum_mm_put()";
	struct row *written = row_add("fork.written", "ns/page", call, "system call fork(2)");
	struct row *again = row_add("fork.again", "ns/page", call, "system call fork(2)");
	struct row *gone = row_add("fork.put", "ns/page", put, "the child's start, exit and wait4(2)");
	struct host_side side = { .pages = amount(1024, 64) * MIB / PAGE };
	uint64_t at, pages = side.pages;
	struct helper host;
	struct world w;

	helper_start(&host, serve, &side);
	world_open(&w, pages);
	at = map_vellum(w.mm, pages, ANON);
	row_goal_ratio(written, 5);
	row_note(written, "%llu MiB mapped; all pages written since the last fork",
		 (unsigned long long)(pages * PAGE / MIB));
	row_note(again, "none written since the last fork");
	for (unsigned i = 1; i <= amount(15, 2); i++) {
		double v[2], v2[2], n = (double)pages;
		struct answer h, h2;

		store_vellum(w.cpu[0], at, pages, 1, i);
		vellum_side(&w, at, pages, i, v);
		helper_ask(&host, TOUCH);
		h = helper_ask(&host, FORK);
		vellum_side(&w, at, pages, i, v2);
		h2 = helper_ask(&host, FORK);
		row_sample(written, v[0] / n, h.ns[0] / n);
		row_sample(again, v2[0] / n, h2.ns[0] / n);
		row_sample(gone, v[1] / n, h.ns[1] / n);
	}
	world_close(&w);
	helper_stop(&host);
}

/* --- metadata --- */

/* The size of this process's page tables. */
static double page_table_bytes(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	unsigned long kib = 0;
	char line[256];

	must(f, "/proc/self/status");
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmPTE: %lu kB", &kib) == 1)
			break;
	fclose(f);
	return (double)kib * 1024;
}

/* ns to create @gib GiB of memory and one address space. *@faults: page faults of the host. */
static double time_start(uint64_t gib, uint64_t *faults)
{
	struct vellum_host_ram ram = { .size = sizeof(ram) };
	struct vellum_memory_args args = { .size = sizeof(args), .host = vellum_host_posix(), .ram_size = gib << 30 };
	struct vellum_memory *memory;
	struct vellum_mm *mm;
	double start, ns;

	must(!vellum_host_ram_create(args.ram_size, &ram), "no RAM");
	args.ram = ram.base;
	args.host_ctx = &ram;
	*faults = minor_faults();
	start = now_ns();
	must(!vellum_memory_create(&args, &memory) && !vellum_mm_create(memory, &mm), "no memory");
	ns = now_ns() - start;
	*faults = minor_faults() - *faults;
	vellum_mm_put(mm);
	must(!vellum_memory_destroy(memory), "something still lives in memory");
	vellum_host_ram_destroy(&ram);
	return ns;
}

static void bench_start(void)
{
	struct row *row = row_add("memory.start", "us", "memory of 256 GiB", "memory of 1 GiB");
	uint64_t large = 0, small = 0;

	for (unsigned i = 0; i < amount(15, 5); i++) {
		const double ns = time_start(256, &large);

		row_sample(row, ns / 1e3, time_start(1, &small) / 1e3);
	}
	row_goal_ratio(row, 0.5);
	row_note(row, "both Vellum's; page faults of the host: %llu and %llu", (unsigned long long)large, (unsigned long long)small);
}

void bench_memory(void)
{
	struct row *row = row_add("memory.metadata", "KiB/GiB",
				  "frame metadata, tables, host allocations (counted)",
				  "VmPTE + 64 bytes a page (estimate)");
	uint64_t at, host_before, table_frames, pages = amount(1024, 64) * MIB / PAGE;
	double ours, theirs = page_table_bytes(), per_gib = 1024.0 * MIB / PAGE / (double)pages / 1024;
	struct vellum_memory_info before = { .size = sizeof(before) }, after = before;
	struct world w;
	char *host;

	host = map_host(pages, MAP_PRIVATE);
	store_host(host, pages, 1, 1);
	theirs = page_table_bytes() - theirs + 64 * (double)pages;
	unmap_host(host, pages);

	world_open(&w, pages);
	vellum_memory_info(w.memory, &before);
	host_before = w.host.live_bytes;
	at = map_vellum(w.mm, pages, ANON);
	store_vellum(w.cpu[0], at, pages, 1, 1);
	vellum_memory_info(w.memory, &after);
	must(vellum_mm_rss(w.mm) == pages, "memory: not all pages are there");
	table_frames = before.nr_free - after.nr_free - pages;
	ours = (double)(before.frame_metadata * pages + table_frames * (PAGE + before.frame_metadata) +
			w.host.live_bytes - host_before);
	world_close(&w);
	row_sample(row, ours * per_gib, theirs * per_gib);
	row_note(row, "Vellum: %llu bytes a frame, %llu table frames; one private mapping, all touched",
		 (unsigned long long)before.frame_metadata, (unsigned long long)table_frames);
	bench_start();
}
