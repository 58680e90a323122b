/* SPDX-License-Identifier: MIT */
/* cli/cli.h - the parts of the command. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdio.h>

#include "abi/abi.h"
#include "lib/radix.h"
#include "vellum/dirty.h"
#include "vellum/swap.h"

#define EXIT_VELLUM 125		/* Vellum's own failure; env(1) and timeout(1) use the same */

enum track_mode { TRACK_NONE, TRACK_WP, TRACK_CLEAN, TRACK_AUTO };

struct swap_options {
	uint64_t size;			/* bytes, a multiple of the page size; 0: no swap */
	bool zstd;			/* in compressed memory; else in a file */
	const char *path;		/* file or directory; NULL: $TMPDIR or /var/tmp */
};

#define MAX_INSPECTIONS 16

struct inspection {			/* one --inspect */
	enum { AT_EXIT, AT_SIGNAL, AT_SYSCALL } at;
	int number;			/* signal or system call number */
	uint64_t nth;			/* AT_SYSCALL: before the nth such call of each process */
	bool json;
	char when[80];			/* WHEN, as the option gave it */
	const char *file;		/* NULL: stderr; "-": stdout */
};

struct run_options {
	enum track_mode track;
	uint64_t interval_ns;
	bool verify, strace, no_isolation;
	const char *json;		/* NULL: none; "-": stdout */
	int json_fd;			/* of a descriptor that the caller opened; -1: json is a file */
	const char *html;		/* NULL: none */
	uint64_t fault_ns, scan_ns;	/* costs: of a write fault, from the machine; of reading one page table */
	uint64_t ram;
	unsigned cpus;
	struct swap_options swap;
	struct inspection inspections[MAX_INSPECTIONS];
	unsigned nr_inspections;
	const struct abi_repeat *repeat;	/* NULL: run the program once */
	char **argv;			/* of the program */
	enum machine_coverage covers;	/* what the machine counts */
	struct machine *machine;	/* set by run_command() before the program is loaded */
	bool ran;			/* set by run_command(): the program was started */
};

/* Of getopt_long(3) */
enum { OPT_MACHINE = 256, OPT_TRACK, OPT_INTERVAL, OPT_VERIFY, OPT_JSON, OPT_REPORT, OPT_RAM, OPT_CPUS,
       OPT_STRACE, OPT_SWAP, OPT_INSPECT, OPT_NO_ISOLATION, OPT_CHECK, OPT_AT, OPT_COVERAGE };

int print_help(void);	/* 0 */
int cmd_run(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_repeat(int argc, char **argv);
int cmd_fuzz(int argc, char **argv);

/* --at: 0, or EXIT_VELLUM after printing an error. */
int repeat_parse_place(const char *text, struct abi_repeat *want);

#define PROGRAM_PATH_BYTES 4096
/* Search PATH for a name without a slash. */
bool run_find_program(const char *name, char path[PROGRAM_PATH_BYTES]);
void run_defaults(struct run_options *o);
int run_take_option(int opt, const char *arg, struct run_options *o);	/* 0, or EXIT_VELLUM after printing an error */
/*
 * Run the program as the options say. Return: the program's exit status, or a shell's for a program that cannot be run,
 * or EXIT_VELLUM after printing an error.
 */
int run_command(struct run_options *o);

/* One line on stderr, "vellum: ..."; returns EXIT_VELLUM. */
int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
int fail_no_memory(const char *what);	/* of the host, for @what */

bool parse_size(const char *text, uint64_t *bytes);	/* K, M, G or no unit; false: not a size */

const char *track_name(enum track_mode mode);
uint64_t monotonic_ns(void);

/* --- replica.c: the contents of memory, rebuilt from collections alone --- */

struct replica_page;

struct replica {		/* page number (or index in a mapping) to contents */
	struct radix pages;
};

void replica_store(struct replica *r, uint64_t page, const void *bytes);
void replica_drop(struct replica *r, uint64_t page);
const void *replica_get(const struct replica *r, uint64_t page);	/* NULL: as it was when it was mapped */
bool replica_next(const struct replica *r, uint64_t *page);	/* the first page from *@page on; false: none */
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

struct row {			/* one VMA, as it was when it was unmapped */
	int pid;
	uint64_t start, end, offset, write_faults, dirty_pages;
	uint64_t start_ns, end_ns;	/* since the run began: start of the process; end of the VMA */
	char prot[5];
	char name[ABI_MAX_NAME];
	struct ranges dirty;	/* page 0: the VMA's start */
};

struct rows {
	struct row *at;
	size_t nr, max;
};

#define NR_FAULT_KINDS VELLUM_COUNT_TLB_FLUSHES	/* the counters before this one count faults */

struct collection_record {
	uint64_t t_ns, pages, scan_ns, cost_ns;
	uint64_t write_faults, faults[NR_FAULT_KINDS];	/* since the last collection with a record */
	struct {
		int pid;
		uint64_t addr, count;
	} *ranges;
	size_t nr_ranges, max_ranges;
};

struct thread_record {		/* a thread that has left an address space */
	int tid;
	char name[ABI_THREAD_NAME_BYTES];
	uint64_t nr_syscalls;
};

struct threads {
	struct thread_record *at;
	size_t nr, max;
};

struct process_record {		/* one address space of a program */
	int pid, ppid;
	char *name;
	char args[ABI_MAX_ARGS];	/* as in struct guest_mm */
	uint64_t dirty_pages, write_faults;	/* of all its mappings */
	uint64_t start_ns, end_ns, rss_pages;
	struct threads threads;		/* empty without a report file */
	uint64_t counters[VELLUM_NR_COUNTERS];
};

struct method_switch {
	uint64_t t_ns;
	int pid;
	uint64_t addr, pages;
	bool wp;		/* new method: wp, else clean */
};

#define MAX_SUMMARY_ROWS 40
#define MAX_SUMMARY_PROCESSES 20

struct track_result {
	struct rows rows;
	uint64_t nr_hidden_rows;	/* written VMAs without a row */
	struct process_record *processes;
	size_t nr_processes, max_processes;
	uint64_t nr_hidden_processes;	/* without a record, that wrote to memory */
	struct method_switch *switches;
	size_t nr_switches, max_switches;
	uint64_t total_switches;
	struct collection_record *records;
	size_t nr_records, max_records;
	uint64_t nr_collections, nr_pages, scan_ns;	/* of all collections, also those without a record */
	uint64_t counters[VELLUM_NR_COUNTERS];
	uint64_t nr_differences;
};

struct track;

struct track *track_create(const struct run_options *opt);
const struct abi_observer *track_observer(struct track *track);
void track_start(struct track *track);		/* start the thread that collects at the interval */
void track_stop(struct track *track);
void track_abandon(struct track *track);	/* keep the lock, so that the result stays as it is */
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

/*
 * Is @name "fd:N" or "/dev/fd/N"? Then *@fd is a copy of that descriptor, which no program inside sees. Else -1. Return: 0,
 * or EXIT_VELLUM after printing an error.
 */
int json_open_fd(const char *name, int *fd);
int json_check_writable(const char *path, char *why, size_t size);	/* can @path be written? 0, or -1 and @why */
int json_write(const struct run_report *report);		/* 0, or -1 after printing an error */
int html_report(const struct run_report *report);		/* 0, or -1 after printing an error */
void print_summary(const struct run_report *report);

/* Replace the file @path by what put() prints; "-": print to stdout. 0, or -1 after printing an error. */
int file_write(const char *path, void (*put)(FILE *f, const void *arg), const void *arg);

/* --- swap.c: --swap --- */

struct swap_area;

int swap_parse(const char *arg, struct swap_options *o);	/* 0, or EXIT_VELLUM after printing an error */
/* NULL: after printing an error. */
struct swap_area *swap_area_create(const struct swap_options *o, struct vellum_memory *memory);
void swap_area_destroy(struct swap_area *swap);	/* destroy the memory first */

/* --- inspect.c: --inspect; inspect_show.c: prints an address space --- */

struct inspect;

int inspect_parse(const char *arg, struct run_options *o);	/* 0, or EXIT_VELLUM after printing an error */
struct inspect *inspect_create(const struct run_options *o);	/* NULL: after printing an error */
const struct abi_inspector *inspect_inspector(const struct inspect *inspect);
bool inspect_failed(const struct inspect *inspect);	/* an output could not be written; the error was printed */
void inspect_destroy(struct inspect *inspect);

/* @prefix: precedes every line of text output. false: out of memory. */
bool inspect_show(FILE *f, const struct inspection *ins, const char *prefix, const struct guest_mm *gmm,
		  int pid);

/* --- pack.c --- */

/* The short form of a report for its page, to be freed. NULL: no memory. */
char *report_pack(const char *text, size_t len);

/* --- html.c --- */

/* Write the HTML page of a report in JSON. @json is not checked. 0, or -1 after printing an error. */
int html_write(const char *path, const char *json, size_t len);

#endif
