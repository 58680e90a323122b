/* SPDX-License-Identifier: MIT */
/* bench/pins.c - pinning and unpinning of pages; fork of huge pages. */
#define _GNU_SOURCE
#include "bench/bench.h"
#include "vellum/gup.h"

#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- pins --- */

/* On the host, io_uring pins the pages of a registered buffer long-term. */
static double host_pin(int ring, char *at, uint64_t pages)
{
	struct iovec iov = { at, pages * PAGE };
	double start = now_ns();

	if (ring < 0 || syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, &iov, 1) ||
	    syscall(SYS_io_uring_register, ring, IORING_UNREGISTER_BUFFERS, NULL, 0))
		return NAN;
	return now_ns() - start;
}

static double vellum_pin(struct world *w, uint64_t at, uint64_t pages, uint64_t *pfns)
{
	const uint32_t flags = VELLUM_GUP_WRITE | VELLUM_GUP_LONGTERM;
	double start = now_ns();
	uint64_t nr;

	must(!vellum_pin_pages(w->mm, at, pages, flags, pfns, &nr) && nr == pages, "vellum_pin_pages");
	vellum_unpin_pages(w->memory, pfns, nr);
	return now_ns() - start;
}

void bench_pin(void)
{
	struct row *row = row_add("pin.longterm", "ns/page", "vellum_pin_pages(), vellum_unpin_pages()",
				  "io_uring: register and unregister a buffer");
	uint64_t at, pages = amount(16, 2) * MIB / PAGE, *pfns = calloc(pages, sizeof(*pfns));
	struct io_uring_params params = { .flags = 0 };
	int ring = (int)syscall(SYS_io_uring_setup, 1, &params);
	char *host = map_host(pages, MAP_PRIVATE);
	struct world w;

	must(pfns, "no memory");
	memset(pfns, 0, pages * sizeof(*pfns));
	world_open(&w, pages);
	at = map_vellum(w.mm, pages, ANON);
	store_vellum(w.cpu[0], at, pages, 1, 1);
	store_host(host, pages, 1, 1);
	row_note(row, "%llu MiB of private memory, for writing%s", (unsigned long long)(pages * PAGE / MIB),
		 ring < 0 ? "; the host has no io_uring" : "");
	for (unsigned i = 0; i < amount(15, 2); i++)
		row_sample(row, vellum_pin(&w, at, pages, pfns) / (double)pages,
			   host_pin(ring, host, pages) / (double)pages);
	world_close(&w);
	unmap_host(host, pages);
	free(pfns);
	if (ring >= 0)
		close(ring);
}

/* --- fork of huge pages --- */

#define HUGE (2 * MIB)

static char *map_host_huge(uint64_t bytes)
{
	char *at = mmap(NULL, bytes + HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	must(at != MAP_FAILED, "mmap");
	at += -(uintptr_t)at & (HUGE - 1);
	madvise(at, bytes, MADV_HUGEPAGE);
	memset(at, 1, bytes);
	return at;
}

/* The time includes what fork(2) takes without the memory, which is small here. */
static double host_fork(void)
{
	double start = now_ns(), ns;
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	ns = now_ns() - start;
	must(pid > 0 && waitpid(pid, NULL, 0) == pid, "fork");
	return ns;
}

static uint64_t map_vellum_huge(struct world *w, uint64_t bytes)
{
	uint64_t at = map_vellum(w->mm, (bytes + HUGE) / PAGE, ANON);

	at += -at & (HUGE - 1);
	must(!vellum_madvise(w->mm, at, bytes, VELLUM_MADV_HUGEPAGE), "MADV_HUGEPAGE");
	store_vellum(w->cpu[0], at, bytes / PAGE, 1, 1);
	must(vellum_mm_counter(w->mm, VELLUM_COUNT_FAULT_HUGE) >= bytes / HUGE / 2, "no huge pages");
	return at;
}

void bench_fork_huge(void)
{
	struct row *row = row_add("huge.fork", "us/GiB", "vellum_fork(), 2 MiB pages", "fork(2), 2 MiB pages");
	uint64_t at, bytes = amount(512, 8) * MIB;
	char *host = map_host_huge(bytes);
	double gib = (double)bytes / (1024.0 * MIB);
	struct world w;

	world_open(&w, 2 * bytes / PAGE);
	at = map_vellum_huge(&w, bytes);
	row_note(row, "%llu MiB", (unsigned long long)(bytes / MIB));
	for (unsigned i = 0; i < amount(15, 2); i++) {
		struct vellum_mm *child;
		double ns = now_ns();

		must(!vellum_fork(w.mm, &child), "vellum_fork");
		ns = now_ns() - ns;
		vellum_mm_put(child);
		store_vellum(w.cpu[0], at, bytes / PAGE, HUGE / PAGE, i);
		memset(host, (int)i, bytes);
		row_sample(row, ns / 1e3 / gib, host_fork() / 1e3 / gib);
	}
	world_close(&w);
	munmap(host, bytes);
}
