/* SPDX-License-Identifier: MIT */
/* bench/world.c - memory on both sides: mapped, stored to, counted. */
#define _GNU_SOURCE
#include "bench/bench.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

static void *counted_alloc(void *host, size_t size, size_t align)
{
	struct counted_host *c = host;
	void *ptr = vellum_host_posix()->alloc(host, size, align);

	if (ptr)
		__atomic_fetch_add(&c->live_bytes, size, __ATOMIC_RELAXED);
	return ptr;
}

static void counted_free(void *host, void *ptr, size_t size)
{
	struct counted_host *c = host;

	__atomic_fetch_sub(&c->live_bytes, size, __ATOMIC_RELAXED);
	vellum_host_posix()->free(host, ptr, size);
}

/* Use all of RAM once, so that no round includes the host's faults on it. */
static void warm(struct world *w)
{
	struct vellum_memory_info info = { .size = sizeof(info) };
	uint64_t at, pages;

	vellum_memory_info(w->memory, &info);
	pages = info.nr_free - info.nr_free / 256 - 64;	/* the rest: tables */
	at = map_vellum(w->mm, pages, ANON);
	store_vellum(w->cpu[0], at, pages, 1, 1);
	must(!vellum_munmap(w->mm, at, pages * PAGE), "munmap");
}

void world_open(struct world *w, uint64_t pages)
{
	/* Also RAM for tables and for the core's reserve, and at least the core's minimum. */
	uint64_t ram = (pages + pages / 64 + 1024 + 511) / 512 * 512 * PAGE;
	static struct vellum_host_ops ops;
	struct vellum_memory_args args = { .size = sizeof(args), .host = &ops };

	ops = *vellum_host_posix();
	ops.alloc = counted_alloc;
	ops.free = counted_free;
	memset(w, 0, sizeof(*w));
	w->host.ram.size = sizeof(w->host.ram);
	must(!vellum_host_ram_create(ram, &w->host.ram) && !vellum_soft_create(4, &w->soft), "no RAM");
	args.host_ctx = &w->host;
	args.mmu = vellum_soft_mmu_ops();
	args.machine = w->soft;
	args.ram = w->host.ram.base;
	args.ram_size = ram;
	must(!vellum_memory_create(&args, &w->memory) && !vellum_mm_create(w->memory, &w->mm),
	     "no memory");
	for (unsigned i = 0; i < 2; i++) {
		w->cpu[i] = vellum_soft_cpu(w->soft, i);
		vellum_soft_load_mm(w->cpu[i], w->mm);
	}
	warm(w);
}

void world_close(struct world *w)
{
	for (unsigned i = 0; i < 2; i++)
		vellum_soft_load_mm(w->cpu[i], NULL);
	vellum_mm_put(w->mm);
	must(!vellum_memory_destroy(w->memory), "something still lives in memory");
	must(!w->host.live_bytes, "the core did not free all");
	vellum_soft_destroy(w->soft);
	vellum_host_ram_destroy(&w->host.ram);
}

uint64_t map_vellum(struct vellum_mm *mm, uint64_t pages, uint32_t flags)
{
	struct vellum_map_args args = { .size = sizeof(args), .len = pages * PAGE, .prot = RW,
					.flags = flags };
	uint64_t at;

	must(!vellum_mmap(mm, &args, &at), "vellum_mmap of %llu pages", (unsigned long long)pages);
	return at;
}

char *map_host(uint64_t pages, int flags)
{
	char *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	must(at != MAP_FAILED, "mmap of %llu pages", (unsigned long long)pages);
	madvise(at, pages * PAGE, MADV_NOHUGEPAGE);	/* fails if the kernel has no huge pages */
	return at;
}

void unmap_host(char *at, uint64_t pages)
{
	must(!munmap(at, pages * PAGE), "munmap");
}

uint64_t minor_faults(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)usage.ru_minflt;
}

double store_vellum(struct vellum_soft_cpu *cpu, uint64_t at, uint64_t pages, uint64_t step,
		    uint64_t value)
{
	double start = now_ns();
	unsigned bad = 0;

	for (uint64_t i = 0; i < pages; i += step)
		bad |= vellum_soft_store64(cpu, at + i * PAGE, value);
	start = now_ns() - start;
	must(!bad, "a store faulted");
	return start;
}

double store_host(char *at, uint64_t pages, uint64_t step, uint64_t value)
{
	double start = now_ns();

	for (uint64_t i = 0; i < pages; i += step)
		*(volatile uint64_t *)(at + i * PAGE) = value;
	return now_ns() - start;
}
