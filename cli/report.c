/* SPDX-License-Identifier: MIT */
/* cli/report.c - the summary on stderr after a run. */
#include "abi/text.h"
#include "cli/cli.h"

const char *track_name(enum track_mode mode)
{
	static const char *const names[] = { "none", "wp", "clean", "auto" };

	return names[mode];
}

static void print_rows(const struct track_result *res)
{
	uint64_t shown = 0, hidden = res->nr_hidden_rows;

	for (size_t i = 0; i < res->rows.nr; i++) {
		const struct row *row = &res->rows.at[i];
		char name[PRINTABLE_BYTES(sizeof(row->name))];

		if (!row->dirty_pages && !row->write_faults)
			continue;
		if (shown == MAX_SUMMARY_ROWS) {
			hidden++;
			continue;
		}
		if (!shown++)
			fprintf(stderr, "vellum: %4s %-29s %-4s %8s %8s %8s  %s\n", "pid", "mapping", "",
				"pages", "dirtied", "faults", "name");
		fprintf(stderr, "vellum: %4d %014llx-%014llx %s %8llu %8llu %8llu  %s\n", row->pid,
			(unsigned long long)row->start, (unsigned long long)row->end, row->prot,
			(unsigned long long)((row->end - row->start) / VELLUM_PAGE_SIZE),
			(unsigned long long)row->dirty_pages, (unsigned long long)row->write_faults,
			row->name[0] ? printable(row->name, name, sizeof(name)) : "anonymous");
	}
	if (hidden)
		fprintf(stderr, "vellum: and %llu more mappings were written; --json lists them\n",
			(unsigned long long)hidden);
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
