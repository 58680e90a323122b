/* SPDX-License-Identifier: MIT */
/*
 * bench/bench.h - what the benchmarks share.
 *
 * A row is one piece of work that is done on Vellum and on the host's kernel in turns, a round each,
 * so that whatever else the machine does meets both. A scenario prepares both sides and fills rows.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "vellum/host.h"
#include "vellum/mm.h"
#include "vellum/soft.h"

#define PAGE VELLUM_PAGE_SIZE
#define MIB (1ull << 20)
#define RW (VELLUM_PROT_READ | VELLUM_PROT_WRITE)
#define ANON (VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS)

/* --- main.c --- */

struct options {
	bool quick;		/* few rounds of little work: does it all work? */
	const char *filter;	/* rows to show: part of their name */
	const char *json;
	const char *command;	/* the vellum command */
	const char *unchecked;	/* it without the checks of exposed tables */
	const char *guests;	/* folder of the guest programs */
};
extern struct options options;

/* How much to do: the second with --quick. */
unsigned amount(unsigned full, unsigned quick);
double now_ns(void);

/* Each fills the rows whose names start with its own. */
void bench_fault(void);
void bench_fork(void);
void bench_range(void);
void bench_vmas(void);
void bench_shared(void);
void bench_track(void);
void bench_auto(void);
void bench_tlb(void);
void bench_threads(void);
void bench_memory(void);
void bench_uffd(void);
void bench_pin(void);
void bench_fork_huge(void);
void bench_guest(void);
void bench_run(void);
void bench_checks(void);

/* --- report.c --- */

struct row;

/*
 * Name: scenario.what. The two "is" say by what each side does it: a library call, a system call, a
 * fault. A smaller value is always the better one.
 */
struct row *row_add(const char *name, const char *unit, const char *vellum_is, const char *host_is);
/* One round; NAN for a host that can't. */
void row_sample(struct row *row, double vellum, double host);
/* Goals: the host's value is at least so many times ours; ours is at most so much. */
void row_goal_ratio(struct row *row, double at_least);
void row_goal_value(struct row *row, double at_most);
/* A line below the row; a second note is added to it. */
void row_note(struct row *row, const char *format, ...) __attribute__((format(printf, 2, 3)));

void report_table(void);
void report_json(const char *path);

/* What was measured is not the work that was to be done: the run ends with status 1. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define must(what, ...) ((what) ? (void)0 : die(__VA_ARGS__))

/* --- world.c: both sides of memory --- */

/* The POSIX host, with what the core allocates counted. */
struct counted_host {
	struct vellum_host_ram ram;	/* first: the POSIX hooks want it */
	uint64_t live_bytes;
};

struct world {
	struct counted_host host;
	struct vellum_soft *soft;
	struct vellum_memory *memory;
	struct vellum_mm *mm;
	struct vellum_soft_cpu *cpu[2];	/* both run mm */
};

/* Room for so many @pages and their tables; all RAM was used before, as in a program that has run. */
void world_open(struct world *w, uint64_t pages);
void world_close(struct world *w);

uint64_t map_vellum(struct vellum_mm *mm, uint64_t pages, uint32_t flags);
char *map_host(uint64_t pages, int flags);	/* MAP_*; without huge pages */
void unmap_host(char *at, uint64_t pages);
uint64_t minor_faults(void);	/* of this process */

/* Store @value to every @step-th page, the first one included; return how long it took. */
double store_vellum(struct vellum_soft_cpu *cpu, uint64_t at, uint64_t pages, uint64_t step,
		    uint64_t value);
double store_host(char *at, uint64_t pages, uint64_t step, uint64_t value);

/* --- helper.c: host sides that want an address space of their own --- */

struct answer {
	bool done;
	double ns[2];
};

struct helper {
	int pid, to, from;
};

/* Fork now: the helper has what its parent has mapped by then. @serve does command by command. */
void helper_start(struct helper *h, void (*serve)(void *arg, int command, struct answer *a),
		  void *arg);
/* Ends the run if the command wasn't done. */
struct answer helper_ask(struct helper *h, int command);
void helper_stop(struct helper *h);

/* --- wp_async.c: the host's dirty tracking, userfaultfd and PAGEMAP_SCAN --- */

struct wp_async {
	int uffd, pagemap;
	char *at;
	uint64_t pages;
	void *regions;
};

/* Why it isn't there, or NULL. The range is armed after it. */
const char *wp_async_open(struct wp_async *w, char *at, uint64_t pages);
void wp_async_close(struct wp_async *w);
/* How many pages were written since they were armed; @arm: and arm these again. */
uint64_t wp_async_written(struct wp_async *w, bool arm);
/* Write-protect all of it. */
void wp_async_protect(struct wp_async *w);

#endif
