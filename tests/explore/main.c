/* SPDX-License-Identifier: MIT */
/*
 * tests/explore/main.c - the explorer's command line.
 *
 * usage: explore SCENARIO|PREFIX*|all|list [BOUND|+MORE] [--most N] [--sc] [--random RUNS] [--seed SEED]
 *                [--replay SCHEDULE]
 *
 * BOUND is the greatest number of preemptions. +MORE adds to each scenario's own bound. At most N of these
 * schedules run, and the output says if there are more. --random runs schedules without a bound. A schedule
 * that fails is printed in the form that --replay takes.
 */
#include "engine.h"

/* Each subject has a file of scenarios. A new subject also needs a line here and one in scenarios.h. */
#include "scenarios.h"

static const struct scenario *const subjects[] = {
	clean_scenarios,
	collect_scenarios,
	cow_scenarios,
	huge_scenarios,
	mremap_scenarios,
	snapshot_scenarios,
	snapshot_share_scenarios,
	split_scenarios,
	swap_scenarios,
	truncate_scenarios,
	uffd_scenarios,
	writeback_scenarios,
	zap_scenarios,
};

static bool matches(const char *pattern, const char *name)
{
	size_t len = strlen(pattern);

	if (!strcmp(pattern, "all"))
		return true;
	return len && pattern[len - 1] == '*' ? !strncmp(pattern, name, len - 1) : !strcmp(pattern, name);
}

static int usage(void)
{
	fprintf(stderr, "usage: explore SCENARIO|PREFIX*|all|list [BOUND|+MORE] [--most N] [--sc] [--random RUNS] "
			"[--seed SEED] [--replay SCHEDULE]\n");
	return 2;
}

static bool parse(int argc, char **argv, struct options *opt)
{
	for (int i = 2; i < argc; i++) {
		if (!strcmp(argv[i], "--sc"))
			opt->sc = true;
		else if (!strcmp(argv[i], "--random") && i + 1 < argc)
			opt->nr_random = strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--most") && i + 1 < argc)
			opt->most = strtoul(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--seed") && i + 1 < argc)
			opt->seed = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--replay") && i + 1 < argc)
			opt->replay = argv[++i];
		else if (argv[i][0] == '+')
			opt->more = (unsigned)strtoul(argv[i] + 1, NULL, 0);
		else if (argv[i][0] >= '0' && argv[i][0] <= '9')
			opt->bound = atoi(argv[i]);
		else
			return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct options opt = { .bound = -1, .seed = 1 };
	int failed = 0, nr = 0;

	if (argc < 2 || !parse(argc, argv, &opt))
		return usage();
	for (size_t i = 0; i < ARRAY_SIZE(subjects); i++)
		for (const struct scenario *s = subjects[i]; s->name; s++) {
			if (!strcmp(argv[1], "list")) {
				printf("%s\n", s->name);
				nr++;
			} else if (matches(argv[1], s->name)) {
				failed |= explore(s, &opt);
				nr++;
			}
		}
	if (!nr)
		fprintf(stderr, "explore: no scenario %s\n", argv[1]);
	return nr ? failed : 2;
}
