/* SPDX-License-Identifier: MIT */
/* bench/range.c - munmap and mprotect: cost per page, and cost with few and with many VMAs. */
#define _GNU_SOURCE
#include "bench/bench.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* --- cost per page --- */

struct times {
	double protect, unprotect, unmap;
};

static struct times range_vellum(struct world *w, uint64_t pages)
{
	uint64_t at = map_vellum(w->mm, pages, ANON), value;
	double t[4];
	int err;

	store_vellum(w->cpu[0], at, pages, 1, 1);
	t[0] = now_ns();
	err = vellum_mprotect(w->mm, at, pages * PAGE, VELLUM_PROT_READ);
	t[1] = now_ns();
	must(!err && vellum_soft_store64(w->cpu[0], at + (pages - 1) * PAGE, 1) ==
			     VELLUM_FAULT_SIGSEGV_ACCERR,
	     "mprotect did not protect");
	t[1] -= t[0];
	t[0] = now_ns();
	err = vellum_mprotect(w->mm, at, pages * PAGE, RW);
	t[2] = now_ns() - t[0];
	t[0] = now_ns();
	err |= vellum_munmap(w->mm, at, pages * PAGE);
	t[3] = now_ns() - t[0];
	must(!err && vellum_soft_load64(w->cpu[0], at, &value) == VELLUM_FAULT_SIGSEGV_MAPERR,
	     "munmap did not unmap");
	return (struct times){ t[1] / (double)pages, t[2] / (double)pages, t[3] / (double)pages };
}

/* Is the page at @at writable? The kernel tries a store. */
static bool writable(void *at)
{
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	bool yes = read(zero, at, 1) == 1;

	close(zero);
	return yes;
}

static struct times range_host(uint64_t pages)
{
	char *at = map_host(pages, MAP_PRIVATE);
	unsigned char resident;
	double t[4];
	int err;

	store_host(at, pages, 1, 1);
	t[0] = now_ns();
	err = mprotect(at, pages * PAGE, PROT_READ);
	t[1] = now_ns() - t[0];
	must(!err && !writable(at + (pages - 1) * PAGE), "host: mprotect did not protect");
	t[0] = now_ns();
	err = mprotect(at, pages * PAGE, PROT_READ | PROT_WRITE);
	t[2] = now_ns() - t[0];
	t[0] = now_ns();
	err |= munmap(at, pages * PAGE);
	t[3] = now_ns() - t[0];
	must(!err && mincore(at, PAGE, &resident) && errno == ENOMEM, "host: munmap did not unmap");
	return (struct times){ t[1] / (double)pages, t[2] / (double)pages, t[3] / (double)pages };
}

void bench_range(void)
{
	static const char by_mprotect[] = "library call vellum_mprotect()";
	struct row *protect = row_add("range.mprotect.r", "ns/page", by_mprotect,
				      "system call mprotect(2)");
	struct row *unprotect = row_add("range.mprotect.rw", "ns/page", by_mprotect,
					"system call mprotect(2)");
	struct row *unmap = row_add("range.munmap", "ns/page", "library call vellum_munmap()",
				    "system call munmap(2)");
	uint64_t pages = amount(2048, 512);
	struct world w;

	row_note(protect, "of a private range with all pages written; the frames are freed in munmap");
	world_open(&w, pages);
	for (unsigned i = amount(101, 3); i--;) {
		struct times v = range_vellum(&w, pages), h = range_host(pages);

		row_sample(protect, v.protect, h.protect);
		row_sample(unprotect, v.unprotect, h.unprotect);
		row_sample(unmap, v.unmap, h.unmap);
	}
	world_close(&w);
}

/* --- few and many VMAs --- */

#define FEW_VMAS 10
#define MANY_VMAS 100000	/* wanted; fewer if Vellum or the host allows fewer */
#define SPARE_VMAS 64		/* kept free below the limit: for an operation's VMAs and the process's own */
#define OPS 256
#define FIRST_VMA 0x300000000000ull
#define MAX_MAP_COUNT "/proc/sys/vm/max_map_count"

enum { MAP_UNMAP, PROTECT, PROTECT_ONE, COUNT };

/* The address of an operation: pseudo-random, the same in every run; with @one always the middle. */
static uint64_t spot(unsigned op, uint64_t nr, bool one)
{
	return FIRST_VMA + (one ? nr / 2 : op * 2654435761u % nr) * PAGE;
}

/* Neighbours differ, so that their VMAs are not merged. */
static uint32_t prot_of(uint64_t at)
{
	return at / PAGE % 2 ? RW : VELLUM_PROT_READ;
}

static struct vellum_mm *make_vellum(struct world *w, uint64_t wanted, uint64_t *nr)
{
	struct vellum_map_args args = { .size = sizeof(args), .len = PAGE,
					.flags = ANON | VELLUM_MAP_FIXED };
	struct vellum_mm *mm;
	uint64_t at;

	vellum_set_max_map_count(w->memory, (uint32_t)wanted + SPARE_VMAS);
	must(!vellum_mm_create(w->memory, &mm), "no address space");
	for (*nr = 0; *nr < wanted; ++*nr) {
		args.addr = FIRST_VMA + *nr * PAGE;
		args.prot = prot_of(args.addr);
		if (vellum_mmap(mm, &args, &at))
			break;
	}
	return mm;
}

static double map_unmap_vellum(struct vellum_mm *mm)
{
	struct vellum_map_args args = { .size = sizeof(args), .len = PAGE, .flags = ANON };
	double start = now_ns();
	uint64_t at;
	int err = 0;

	for (unsigned i = 0; i < OPS; i++) {
		err |= vellum_mmap(mm, &args, &at);
		err |= vellum_munmap(mm, at, PAGE);
	}
	start = now_ns() - start;
	must(!err, "vmas: mmap and munmap");
	return start / OPS;
}

/* Two calls per operation: remove rights, and restore them. */
static double protect_vellum(struct vellum_mm *mm, uint64_t nr, bool one)
{
	double start = now_ns();
	int err = 0;

	for (unsigned i = 0; i < OPS; i++) {
		uint64_t at = spot(i, nr, one);

		err |= vellum_mprotect(mm, at, PAGE, VELLUM_PROT_NONE);
		err |= vellum_mprotect(mm, at, PAGE, prot_of(at));
	}
	start = now_ns() - start;
	must(!err, "vmas: mprotect");
	return start / (2 * OPS);
}

static uint64_t count_vellum(struct vellum_mm *mm)
{
	struct vellum_vma_info info = { .size = sizeof(info) };
	uint64_t nr = 0;

	while (!vellum_vma_next(mm, info.end, &info))
		nr++;
	return nr;
}

struct host_side {
	uint64_t nr;
	bool mapped;
};

static bool make_host(uint64_t nr)
{
	for (uint64_t at = FIRST_VMA; at < FIRST_VMA + nr * PAGE; at += PAGE)
		if (mmap((void *)at, PAGE, (int)prot_of(at),
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0) != (void *)at)
			return false;
	return true;
}

static bool map_unmap_host(double *ns)
{
	double start = now_ns();
	bool good = true;

	for (unsigned i = 0; i < OPS; i++) {
		void *at = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		good &= at != MAP_FAILED && !munmap(at, PAGE);
	}
	*ns = (now_ns() - start) / OPS;
	return good;
}

static bool protect_host(uint64_t nr, bool one, double *ns)
{
	double start = now_ns();
	int err = 0;

	for (unsigned i = 0; i < OPS; i++) {
		uint64_t at = spot(i, nr, one);

		err |= mprotect((void *)at, PAGE, PROT_NONE);
		err |= mprotect((void *)at, PAGE, (int)prot_of(at));
	}
	*ns = (now_ns() - start) / (2 * OPS);
	return !err;
}

static bool count_host(uint64_t nr)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512];
	uint64_t lines = 0;

	while (f && fgets(line, sizeof(line), f))
		lines++;
	if (f)
		fclose(f);
	return lines >= nr;
}

static void serve(void *arg, int command, struct answer *a)
{
	struct host_side *s = arg;

	if (!s->mapped && !(s->mapped = make_host(s->nr)))
		return;
	a->done = command == MAP_UNMAP ? map_unmap_host(a->ns) :
		  command == COUNT     ? count_host(s->nr) :
					 protect_host(s->nr, command == PROTECT_ONE, a->ns);
}

/* --- the host's limit --- */

static char old_limit[24];

static bool write_limit(const char *text)
{
	int fd = open(MAX_MAP_COUNT, O_WRONLY | O_CLOEXEC);
	bool good = fd >= 0 && write(fd, text, strlen(text)) > 0;

	if (fd >= 0)
		close(fd);
	return good;
}

static void restore_limit(void)
{
	if (old_limit[0])
		write_limit(old_limit);
	old_limit[0] = 0;
}

static void restore_and_end(int sig)
{
	restore_limit();
	signal(sig, SIG_DFL);
	raise(sig);
}

/* Raise the host's limit of VMAs to @wanted until the benchmark ends, if allowed. Return: the limit in force. */
static uint64_t raise_limit(uint64_t wanted)
{
	FILE *f = fopen(MAX_MAP_COUNT, "r");
	char text[24];
	unsigned long is;

	must(f && fgets(text, sizeof(text), f), MAX_MAP_COUNT);
	fclose(f);
	is = strtoul(text, NULL, 10);
	if (is >= wanted)
		return wanted;
	memcpy(old_limit, text, sizeof(text));
	atexit(restore_limit);
	signal(SIGINT, restore_and_end);
	signal(SIGTERM, restore_and_end);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)wanted);
	if (write_limit(text))
		return wanted;
	old_limit[0] = 0;
	return is;
}

/* --- rows --- */

struct vma_rows {
	struct row *few, *many, *growth;
};

static struct vma_rows rows_for(const char *what, const char *vellum_is, const char *host_is)
{
	struct vma_rows r;
	char name[48];

	snprintf(name, sizeof(name), "vmas.%s.few", what);
	r.few = row_add(name, "ns/op", vellum_is, host_is);
	snprintf(name, sizeof(name), "vmas.%s.many", what);
	r.many = row_add(name, "ns/op", vellum_is, host_is);
	snprintf(name, sizeof(name), "vmas.%s.many/few", what);
	r.growth = row_add(name, "x", vellum_is, host_is);
	row_goal_value(r.growth, 2);
	return r;
}

static void sample(struct vma_rows *r, const double v[2], const double h[2])
{
	row_sample(r->few, v[0], h[0]);
	row_sample(r->many, v[1], h[1]);
	row_sample(r->growth, v[1] / v[0], h[1] / h[0]);
}

/* Index 0: few, 1: many. */
struct sides {
	struct vellum_mm *mm[2];
	uint64_t nr[2];
	struct helper host[2];
	struct host_side side[2];
};

/* @r: indexed by command. */
static void measure(struct sides *s, struct vma_rows r[COUNT])
{
	for (int command = 0; command < COUNT; command++) {
		double v[2], h[2];

		for (unsigned i = 0; i < 2; i++) {
			v[i] = command == MAP_UNMAP ?
				       map_unmap_vellum(s->mm[i]) :
				       protect_vellum(s->mm[i], s->nr[i], command == PROTECT_ONE);
			h[i] = helper_ask(&s->host[i], command).ns[0];
		}
		sample(&r[command], v, h);
	}
}

/* Make as many VMAs as both sides allow, then unmap SPARE_VMAS of them. */
static void make_sides(struct world *w, struct sides *s)
{
	uint64_t allowed, wanted = amount(MANY_VMAS, 2000);

	s->mm[0] = make_vellum(w, FEW_VMAS, &s->nr[0]);
	s->mm[1] = make_vellum(w, wanted, &s->nr[1]);
	allowed = raise_limit(s->nr[1] + SPARE_VMAS) - SPARE_VMAS;
	s->nr[1] -= SPARE_VMAS;
	if (s->nr[1] > allowed)
		s->nr[1] = allowed;
	must(!vellum_munmap(s->mm[1], FIRST_VMA + s->nr[1] * PAGE, wanted * PAGE), "munmap");
	for (unsigned i = 0; i < 2; i++) {
		s->side[i] = (struct host_side){ s->nr[i], false };
		helper_start(&s->host[i], serve, &s->side[i]);
	}
}

void bench_vmas(void)
{
	static const char by_mprotect[] = "library call vellum_mprotect()";
	struct vma_rows rows[COUNT] = {
		rows_for("mmap+munmap", "library calls vellum_mmap() and vellum_munmap()",
			 "system calls mmap(2) and munmap(2)"),
		rows_for("mprotect", by_mprotect, "system call mprotect(2)"),
		rows_for("mprotect-one", by_mprotect, "system call mprotect(2)"),
	};
	struct sides s;
	struct world w;

	world_open(&w, 512);
	make_sides(&w, &s);
	row_note(rows[MAP_UNMAP].few, "one page, placed by the system; %llu mappings (host: and the program's own)",
		 (unsigned long long)s.nr[0]);
	row_note(rows[MAP_UNMAP].many, "%llu mappings (wanted: %u)", (unsigned long long)s.nr[1],
		 amount(MANY_VMAS, 2000));
	row_note(rows[PROTECT].few, "a page that is a mapping of its own, another one each time");
	row_note(rows[PROTECT_ONE].few, "always the same page");
	for (unsigned i = amount(101, 3); i--;)
		measure(&s, rows);
	for (unsigned i = 0; i < 2; i++) {
		helper_ask(&s.host[i], COUNT);
		must(count_vellum(s.mm[i]) == s.nr[i], "vmas: other mappings than there should be");
		helper_stop(&s.host[i]);
		vellum_mm_put(s.mm[i]);
	}
	restore_limit();
	world_close(&w);
}
