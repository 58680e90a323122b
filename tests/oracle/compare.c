/* SPDX-License-Identifier: MIT */
/*
 * tests/oracle/compare.c LINUX VELLUM NR - compare the outputs of both sides, scenario by scenario. TAP: one line. The
 * diagnostics have the first difference of each scenario that differs, with its operation.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE 4096
#define SHOWN 20	/* most differing scenarios to print */

struct side {
	const char *name;
	FILE *in;
	char line[LINE];	/* the current line */
	char op[LINE];		/* the last operation before that line */
	bool end;
};

static void next(struct side *s)
{
	if (*s->line && *s->line != ' ')
		memcpy(s->op, s->line, LINE);
	s->end = !fgets(s->line, LINE, s->in);
	if (s->end)
		strcpy(s->line, "nothing\n");
}

static bool starts(const char *line)
{
	return strncmp(line, "scenario ", 9) == 0;
}

static bool over(const struct side *s)
{
	return s->end || strcmp(s->line, "end\n") == 0;
}

static void skip_scenario(struct side *s)
{
	while (!over(s) && !starts(s->line))
		next(s);
}

static void show(const struct side *a, const struct side *b)
{
	printf("#   after: %s", a->op);
	printf("#   %s: %s#   %s: %s", a->name, a->line, b->name, b->line);
}

/* Are both at the first line of a scenario with the same seed? */
static bool same_scenario(struct side *a, struct side *b, bool tell)
{
	char first[LINE];

	memcpy(first, a->line, LINE);
	do {
		next(a);
		next(b);
		if (strcmp(a->line, b->line) != 0) {
			if (tell) {
				printf("# %s", first);
				show(a, b);
			}
			skip_scenario(a);
			skip_scenario(b);
			return false;
		}
	} while (!over(a) && !starts(a->line));
	return true;
}

int main(int argc, char **argv)
{
	static struct side a = { .name = "Linux " }, b = { .name = "Vellum" };
	unsigned long want, nr = 0, bad = 0;

	if (argc != 4 || !(a.in = fopen(argv[1], "r")) || !(b.in = fopen(argv[2], "r"))) {
		fprintf(stderr, "usage: compare LINUX VELLUM NR\n");
		return 2;
	}
	want = strtoul(argv[3], NULL, 0);
	next(&a);
	next(&b);
	while (starts(a.line) && strcmp(a.line, b.line) == 0) {
		nr++;
		bad += !same_scenario(&a, &b, bad < SHOWN);
	}
	if (nr != want || strcmp(a.line, "end\n") != 0 || strcmp(b.line, "end\n") != 0) {
		printf("# %lu of %lu scenarios were compared\n", nr, want);
		show(&a, &b);
		bad++;
	}
	printf("%sok - %lu random scenarios are the same on Linux and on Vellum", bad ? "not " : "", want);
	if (bad)
		printf(" (%lu differ)", bad);
	putchar('\n');
	return bad != 0;
}
