/* SPDX-License-Identifier: MIT */
/* bench/main.c - parses options and runs scenarios. */
#define _GNU_SOURCE
#include "bench/bench.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct options options = { .command = "build/vellum", .unchecked = "build/bench/vellum-unchecked",
			   .guests = "build" };

static const struct scenario {
	const char *name;
	void (*run)(void);
} scenarios[] = {
	{ "fault", bench_fault }, { "threads", bench_threads }, { "fork", bench_fork },
	{ "memory", bench_memory }, { "range", bench_range }, { "vmas", bench_vmas },
	{ "shared", bench_shared }, { "track", bench_track }, { "auto", bench_auto },
	{ "tlb", bench_tlb }, { "emulator", bench_emulator },
	{ "uffd", bench_uffd }, { "pin", bench_pin }, { "huge", bench_fork_huge },
	{ "snapshot", bench_snapshot },
	{ "guest", bench_guest }, { "run", bench_run }, { "checks", bench_checks },
	{ "growth", bench_growth },
};
#define NR_SCENARIOS (sizeof(scenarios) / sizeof(scenarios[0]))

static const char help[] =
	"usage: bench [--quick] [--json=FILE] [--vellum=COMMAND] [--unchecked=COMMAND]\n"
	"             [--guests=FOLDER] [--growth=FILE] [ROWS]\n"
	"\n"
	"Times the same work on Vellum and on the host's kernel. ROWS: part of a row's name, which\n"
	"starts with its scenario:";

unsigned amount(unsigned full, unsigned quick)
{
	return options.quick ? quick : full;
}

double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void usage(FILE *to)
{
	fputs(help, to);
	for (unsigned i = 0; i < NR_SCENARIOS; i++)
		fprintf(to, " %s", scenarios[i].name);
	fputc('\n', to);
}

static const char *value_of(const char *arg, const char *option)
{
	size_t len = strlen(option);

	return strncmp(arg, option, len) ? NULL : arg + len;
}

static bool parse(const char *arg)
{
	const char *value;

	if (!strcmp(arg, "--quick"))
		options.quick = true;
	else if ((value = value_of(arg, "--json=")))
		options.json = value;
	else if ((value = value_of(arg, "--vellum=")))
		options.command = value;
	else if ((value = value_of(arg, "--unchecked=")))
		options.unchecked = value;
	else if ((value = value_of(arg, "--guests=")))
		options.guests = value;
	else if ((value = value_of(arg, "--growth=")))
		options.growth = value;
	else if (*arg == '-' || options.filter)
		return false;
	else
		options.filter = arg;
	return true;
}

/* A scenario runs if the filter is part of its name, or starts with its name. */
static bool wanted(const char *name)
{
	return !options.filter || strstr(name, options.filter) ||
	       !strncmp(options.filter, name, strlen(name));
}

int main(int argc, char **argv)
{
	unsigned ran = 0;

	for (int i = 1; i < argc; i++)
		if (!strcmp(argv[i], "--help")) {
			usage(stdout);
			return 0;
		} else if (!parse(argv[i])) {
			usage(stderr);
			return 2;
		}
	for (unsigned i = 0; i < NR_SCENARIOS; i++)
		if (wanted(scenarios[i].name)) {
			fprintf(stderr, "bench: %s\n", scenarios[i].name);
			scenarios[i].run();
			ran++;
		}
	if (!ran) {
		usage(stderr);
		return 2;
	}
	report_table();
	if (options.json)
		report_json(options.json);
	return 0;
}
