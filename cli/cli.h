/* SPDX-License-Identifier: MIT */
/* cli/cli.h - the parts of the command. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdio.h>

#include "abi/abi.h"
#include "lib/radix.h"
#include "vellum/dirty.h"
#include "vellum/swap.h"

#define EXIT_VELLUM 125		/* Vellum's own failure, as env(1) and timeout(1) have it */

enum track_mode { TRACK_NONE, TRACK_WP, TRACK_CLEAN, TRACK_AUTO };

struct swap_options {
	uint64_t size;			/* bytes, a page's multiple; 0: no swap */
	bool zstd;			/* in memory, compressed; else in a file */
	const char *path;		/* file or folder; NULL: a folder for temporary files */
};

#define MAX_INSPECTIONS 16

struct inspection {			/* one --inspect */
	enum { AT_EXIT, AT_SIGNAL, AT_SYSCALL } at;
	int number;			/* of the signal or the system call */
	uint64_t nth;			/* call of a process */
	bool json;
	char when[80];			/* as it was asked for */
	const char *file;		/* NULL: stderr; "-": stdout */
};

struct run_options {
	enum track_mode track;
	uint64_t interval_ns;
	bool verify, strace, no_isolation;
	const char *json;		/* NULL: none; "-": stdout */
	const char *html;		/* NULL: none */
	uint64_t fault_ns, scan_ns;	/* what the machine says a fault costs, and a look at a table */
	uint64_t ram;
	unsigned cpus;
	struct swap_options swap;
	struct inspection inspections[MAX_INSPECTIONS];
	unsigned nr_inspections;
	char **argv;			/* the program's */
};

int print_help(void);	/* 0 */
int cmd_run(int argc, char **argv);
int cmd_report(int argc, char **argv);

/* One line on stderr, "vellum: ..."; returns EXIT_VELLUM. */
int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

bool parse_size(const char *text, uint64_t *bytes);	/* with a unit or without; false: it is none */

const char *track_name(enum track_mode mode);
uint64_t monotonic_ns(void);

/* --- replica.c: what memory should hold, from collections alone --- */

struct replica_page;

struct replica {		/* page number (or index in an object) to contents */
	struct radix pages;
};

void replica_store(struct replica *r, uint64_t page, const void *bytes);
void replica_drop(struct replica *r, uint64_t page);
const void *replica_get(const struct replica *r, uint64_t page);	/* NULL: as it was at first */
bool replica_next(const struct replica *r, uint64_t *page);	/* the first at *@page or above */
void replica_clone(struct replica *to, const struct replica *from);
void replica_clear(struct replica *r);
const struct host *cli_host(void);

/* --- track.c: trackers of all address spaces of a run --- */

struct range {
	uint64_t first, count;	/* pages */
};

struct ranges {
	struct range *at;
	size_t nr, max;
};

struct row {			/* one mapping as it stood at its end */
	int pid;
	uint64_t start, end, offset, write_faults, dirty_pages;
	uint64_t start_ns, end_ns;	/* from its process' start; when it ended */
	char prot[5];
	char name[ABI_MAX_NAME];
	struct ranges dirty;	/* from the mapping's start */
};

struct rows {
	struct row *at;
	size_t nr, max;
};

#define NR_FAULT_KINDS VELLUM_COUNT_TLB_FLUSHES	/* the counters before it are of faults */

struct collection_record {
	uint64_t t_ns, pages, scan_ns, cost_ns;
	uint64_t write_faults, faults[NR_FAULT_KINDS];	/* since the last one that is listed */
	struct {
		int pid;
		uint64_t addr, count;
	} *ranges;
	size_t nr_ranges, max_ranges;
};

struct process_record {		/* one address space of a program */
	int pid, ppid;
	char *name;
	uint64_t start_ns, end_ns, rss_pages;
	uint64_t counters[VELLUM_NR_COUNTERS];
};

struct method_switch {
	uint64_t t_ns;
	int pid;
	uint64_t addr, pages;
	bool wp;		/* from now on; else clean */
};

#define MAX_SUMMARY_ROWS 40

struct track_result {
	struct rows rows;
	uint64_t nr_hidden_rows;	/* written mappings that are not among them */
	struct process_record *processes;
	size_t nr_processes, max_processes;
	struct method_switch *switches;
	size_t nr_switches, max_switches;
	uint64_t total_switches;
	struct collection_record *records;
	size_t nr_records, max_records;
	uint64_t nr_collections, nr_pages, scan_ns;	/* all, also those without a record */
	uint64_t counters[VELLUM_NR_COUNTERS];
	uint64_t nr_differences;
};

struct track;

struct track *track_create(const struct run_options *opt);
const struct abi_observer *track_observer(struct track *track);
void track_start(struct track *track);		/* collect at the interval from now on */
void track_stop(struct track *track);
void track_abandon(struct track *track);	/* nothing changes any more; locks that are held stay so */
const struct track_result *track_get_result(struct track *track);
void track_destroy(struct track *track);

/* --- json.c, report.c --- */

struct run_report {
	const struct run_options *opt;
	const struct abi_result *result;
	const struct track_result *track;
	const char *machine;
	const struct vellum_swap_info *swap;
	uint64_t nr_exits;
	uint64_t run_ns;
};

void json_text(FILE *f, const char *text);

int json_check(const char *path, char *why, size_t size);	/* can it be written? before the run */
int json_write(const struct run_report *report);		/* 0 or -1 with a line said */
int html_report(const struct run_report *report);		/* the same */
void print_summary(const struct run_report *report);

/* What put() prints becomes the file; "-" is stdout. 0 or -1 with a line said. */
int file_write(const char *path, void (*put)(FILE *f, const void *arg), const void *arg);

/* --- swap.c: --swap --- */

struct swap_area;

int swap_parse(const char *arg, struct swap_options *o);	/* 0, or EXIT_VELLUM with a line said */
struct swap_area *swap_area_create(const struct swap_options *o, struct vellum_memory *memory);	/* or NULL */
void swap_area_destroy(struct swap_area *swap);	/* after the memory */

/* --- inspect.c: --inspect; inspect_show.c: how an address space is shown --- */

struct inspect;

int inspect_parse(const char *arg, struct run_options *o);	/* 0, or EXIT_VELLUM with a line said */
struct inspect *inspect_create(const struct run_options *o);	/* NULL: the same */
const struct abi_inspector *inspect_inspector(const struct inspect *inspect);
bool inspect_failed(const struct inspect *inspect);	/* something could not be written; it was said */
void inspect_destroy(struct inspect *inspect);

/* @prefix: of every line of the text. false: out of memory. */
bool inspect_show(FILE *f, const struct inspection *ins, const char *prefix, const struct guest_mm *gmm,
		  int pid);

/* --- html.c --- */

/* A page from a report as json_write() makes it, which is not checked. 0 or -1 with a line said. */
int html_write(const char *path, const char *json, size_t len);

#endif
