/* SPDX-License-Identifier: MIT */
/* cli/report.c - the summary on stderr after a run. */
#include <stdlib.h>
#include <string.h>

#include "abi/text.h"
#include "cli/cli.h"

#define COMMAND_WIDTH 72	/* bytes of a command line in the summary, with the NUL */

const char *track_name(enum track_mode mode)
{
	static const char *const names[] = { "none", "wp", "clean", "auto" };

	return names[mode];
}

/* The most dirtied first. */
static int compare_rows(const void *a, const void *b)
{
	const struct row *x = *(const struct row *const *)a, *y = *(const struct row *const *)b;

	if (x->dirty_pages != y->dirty_pages)
		return x->dirty_pages < y->dirty_pages ? 1 : -1;
	return x < y ? -1 : x > y;
}

static int compare_processes(const void *a, const void *b)
{
	const struct process_record *x = *(const struct process_record *const *)a;
	const struct process_record *y = *(const struct process_record *const *)b;

	if (x->dirty_pages != y->dirty_pages)
		return x->dirty_pages < y->dirty_pages ? 1 : -1;
	return x < y ? -1 : x > y;
}

/* The arguments, printable and cut to the width of a line. */
static const char *command_text(const struct process_record *p, char text[PRINTABLE_BYTES(COMMAND_WIDTH)])
{
	char words[COMMAND_WIDTH] = "";
	size_t n = 0;

	for (const char *at = p->args; n < sizeof(words) - 1 && (*at || (n && at[1])); at++)
		words[n++] = *at ? *at : ' ';
	if (n == sizeof(words) - 1)
		memcpy(words + n - 3, "...", 3);
	return printable(words, text, PRINTABLE_BYTES(COMMAND_WIDTH));
}

static void print_processes(const struct track_result *res)
{
	const struct process_record **sorted = calloc(res->nr_processes + 1, sizeof(*sorted));
	uint64_t hidden = res->nr_hidden_processes;
	size_t nr = 0;

	for (size_t i = 0; sorted && i < res->nr_processes; i++)
		if (res->processes[i].dirty_pages || res->processes[i].write_faults)
			sorted[nr++] = &res->processes[i];
	if (nr) {
		qsort(sorted, nr, sizeof(*sorted), compare_processes);
		fprintf(stderr, "vellum: %4s %8s %8s  %s\n", "pid", "dirtied", "faults", "command");
	}
	for (size_t i = 0; i < nr && i < MAX_SUMMARY_PROCESSES; i++) {
		char text[PRINTABLE_BYTES(COMMAND_WIDTH)];

		fprintf(stderr, "vellum: %4d %8llu %8llu  %s\n", sorted[i]->pid,
			(unsigned long long)sorted[i]->dirty_pages, (unsigned long long)sorted[i]->write_faults,
			command_text(sorted[i], text));
	}
	hidden += nr > MAX_SUMMARY_PROCESSES ? nr - MAX_SUMMARY_PROCESSES : 0;
	if (hidden)
		fprintf(stderr, "vellum: and %llu more processes or programs wrote to memory; --json lists them\n",
			(unsigned long long)hidden);
	free(sorted);
}

static void print_row(const struct row *row)
{
	char name[PRINTABLE_BYTES(sizeof(row->name))];

	fprintf(stderr, "vellum: %4d %014llx-%014llx %s %8llu %8llu %8llu  %s\n", row->pid,
		(unsigned long long)row->start, (unsigned long long)row->end, row->prot,
		(unsigned long long)((row->end - row->start) / VELLUM_PAGE_SIZE),
		(unsigned long long)row->dirty_pages, (unsigned long long)row->write_faults,
		row->name[0] ? printable(row->name, name, sizeof(name)) : "anonymous");
}

static void print_rows(const struct track_result *res)
{
	const struct row **sorted = calloc(res->rows.nr + 1, sizeof(*sorted));
	uint64_t hidden = res->nr_hidden_rows;
	size_t nr = 0;

	for (size_t i = 0; sorted && i < res->rows.nr; i++)
		if (res->rows.at[i].dirty_pages || res->rows.at[i].write_faults)
			sorted[nr++] = &res->rows.at[i];
	if (nr) {
		qsort(sorted, nr, sizeof(*sorted), compare_rows);
		fprintf(stderr, "vellum: %4s %-29s %-4s %8s %8s %8s  %s\n", "pid", "mapping", "",
			"pages", "dirtied", "faults", "name");
	}
	for (size_t i = 0; i < nr && i < MAX_SUMMARY_ROWS; i++)
		print_row(sorted[i]);
	hidden += nr > MAX_SUMMARY_ROWS ? nr - MAX_SUMMARY_ROWS : 0;
	if (hidden)
		fprintf(stderr, "vellum: and %llu more mappings were written; --json lists them\n",
			(unsigned long long)hidden);
	free(sorted);
}

static void print_faults(const struct run_report *r)
{
	const char *separator = " ";

	fprintf(stderr, "vellum: faults:");
	for (unsigned i = 0; i < VELLUM_COUNT_TLB_FLUSHES; i++) {
		if (!r->track->counters[i])
			continue;
		fprintf(stderr, "%s%s %llu", separator, vellum_counter_name((enum vellum_counter)i),
			(unsigned long long)r->track->counters[i]);
		separator = ", ";
	}
	fprintf(stderr, "%sTLB flushes %llu, exits %llu, system calls %llu\n", separator,
		(unsigned long long)r->track->counters[VELLUM_COUNT_TLB_FLUSHES],
		(unsigned long long)r->nr_exits, (unsigned long long)r->result->nr_syscalls);
}

static void print_unsupported(const struct abi_result *result)
{
	const char *name = abi_unsupported(result, 0);

	if (!name)
		return;
	fprintf(stderr, "vellum: a program failed after system calls that are not supported: %s", name);
	for (unsigned i = 1; (name = abi_unsupported(result, i)); i++)
		fprintf(stderr, ", %s", name);
	fprintf(stderr, "; --strace shows them\n");
}

void print_summary(const struct run_report *r)
{
	const struct track_result *res = r->track;

	print_unsupported(r->result);
	if (r->opt->swap.size)
		fprintf(stderr, "vellum: swap: %llu pages out, %llu in\n", (unsigned long long)r->swap->nr_out,
			(unsigned long long)r->swap->nr_in);
	if (r->opt->track == TRACK_NONE)
		return;
	print_processes(res);
	print_rows(res);
	print_faults(r);
	fprintf(stderr,
		"vellum: tracked by %s every %g ms for %.2f s: %llu collections, %llu pages, %.1f ms scanning (%.1f %%)\n",
		track_name(r->opt->track), (double)r->opt->interval_ns / 1e6, (double)r->run_ns / 1e9,
		(unsigned long long)res->nr_collections, (unsigned long long)res->nr_pages,
		(double)res->scan_ns / 1e6, 100.0 * (double)res->scan_ns / (double)(r->run_ns ? r->run_ns : 1));
	if (r->opt->verify && !res->nr_differences)
		fprintf(stderr, "vellum: verified: the replica made from the collections equals memory\n");
}
