/* SPDX-License-Identifier: MIT */
/*
 * bench/bench.h - shared by all benchmarks.
 *
 * A row measures one piece of work on Vellum and on the host's kernel. Rounds alternate between the two sides, so that
 * other load on the machine affects both. A scenario prepares both sides and fills rows.
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
	bool quick;		/* few rounds of little work: only tests that the benchmarks run */
	const char *filter;	/* rows to show: part of their name */
	const char *json;
	const char *command;	/* the vellum command */
	const char *unchecked;	/* the command, built without the checks of exposed tables */
	const char *guests;	/* folder of the guest programs */
	const char *growth;	/* file for the points of bench/growth.c; NULL: stdout */
};
extern struct options options;

/* The amount of work: @quick with --quick, else @full. */
unsigned amount(unsigned full, unsigned quick);
double now_ns(void);

/* Each fills the rows whose names start with the scenario's name. */
void bench_fault(void);
void bench_fork(void);
void bench_range(void);
void bench_vmas(void);
void bench_shared(void);
void bench_track(void);
void bench_auto(void);
void bench_tlb(void);
void bench_emulator(void);
void bench_threads(void);
void bench_memory(void);
void bench_uffd(void);
void bench_pin(void);
void bench_fork_huge(void);
void bench_snapshot(void);
void bench_guest(void);
void bench_run(void);
void bench_checks(void);
void bench_growth(void);	/* no rows: points of curves */

/* --- report.c --- */

struct row;

/*
 * @name: scenario.what. @vellum_is, @host_is: how each side does the work (library call, system call, fault). In
 * every row, a smaller value is better.
 */
struct row *row_add(const char *name, const char *unit, const char *vellum_is, const char *host_is);
/* Add one round. @host is NAN if the host lacks the feature. */
void row_sample(struct row *row, double vellum, double host);
/* Goals: the host's value is at least @at_least times Vellum's; Vellum's value is at most @at_most. */
void row_goal_ratio(struct row *row, double at_least);
void row_goal_value(struct row *row, double at_most);
/* Print a note below the row. Further notes are appended to the first. */
void row_note(struct row *row, const char *format, ...) __attribute__((format(printf, 2, 3)));

void report_table(void);
void report_json(const char *path);

/* Exit with status 1: the work was not done as the scenario intends, so its time means nothing. */
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
#define must(what, ...) ((what) ? (void)0 : die(__VA_ARGS__))

/* --- world.c: memory on both sides --- */

/* The POSIX host; counts what the core allocates. */
struct counted_host {
	struct vellum_host_ram ram;	/* must be first: the POSIX hooks' context */
	uint64_t live_bytes;
};

struct world {
	struct counted_host host;
	struct vellum_soft *soft;
	struct vellum_memory *memory;
	struct vellum_mm *mm;
	struct vellum_soft_cpu *cpu[2];	/* both run mm */
};

/* Create memory for @pages pages and their tables. All of its RAM has been used once, as after a program ran. */
void world_open(struct world *w, uint64_t pages);
void world_close(struct world *w);

uint64_t map_vellum(struct vellum_mm *mm, uint64_t pages, uint32_t flags);
char *map_host(uint64_t pages, int flags);	/* MAP_*; without huge pages */
void unmap_host(char *at, uint64_t pages);
uint64_t minor_faults(void);	/* of this process */

/* Store @value to every @step-th page, from the first on. Return: the time in ns. */
double store_vellum(struct vellum_soft_cpu *cpu, uint64_t at, uint64_t pages, uint64_t step,
		    uint64_t value);
double store_host(char *at, uint64_t pages, uint64_t step, uint64_t value);

/* --- helper.c: processes for host sides that need a separate address space --- */

struct answer {
	bool done;
	double ns[2];
};

struct helper {
	int pid, to, from;
};

/* Fork a helper, with a copy of this process's memory. It calls @serve for each command. */
void helper_start(struct helper *h, void (*serve)(void *arg, int command, struct answer *a),
		  void *arg);
/* Send a command and wait. Ends the run if the helper did not do it. */
struct answer helper_ask(struct helper *h, int command);
void helper_stop(struct helper *h);

/* --- wp_async.c: the host's dirty tracking, userfaultfd and PAGEMAP_SCAN --- */

struct wp_async {
	int uffd, pagemap;
	char *at;
	uint64_t pages;
	void *regions;
};

/* Set up tracking and arm the range. Return: NULL, or why the host lacks the feature. */
const char *wp_async_open(struct wp_async *w, char *at, uint64_t pages);
void wp_async_close(struct wp_async *w);
/* Count the pages written since they were armed. @arm: arm them again. */
uint64_t wp_async_written(struct wp_async *w, bool arm);
/* Write-protect the whole range. */
void wp_async_protect(struct wp_async *w);

#endif
