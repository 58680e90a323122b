/* SPDX-License-Identifier: MIT */
/* bench/report.c - rows, their statistics, the table and the JSON. */
#define _GNU_SOURCE
#include "bench/bench.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MAX_ROWS 128
#define MAX_ROUNDS 128

enum { VELLUM, HOST, RATIO, NR_SERIES };

struct row {
	const char *unit, *is[2];
	char name[48], note[240];
	double series[NR_SERIES][MAX_ROUNDS];
	unsigned nr;
	double goal_ratio, goal_value;	/* 0: none */
};

struct stats {
	double median, q1, q3;
};

static struct row rows[MAX_ROWS];
static unsigned nr_rows;

void die(const char *format, ...)
{
	va_list args;

	fflush(stdout);
	fputs("bench: FAIL: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

struct row *row_add(const char *name, const char *unit, const char *vellum_is, const char *host_is)
{
	struct row *row = &rows[nr_rows];

	must(nr_rows++ < MAX_ROWS, "too many rows");
	snprintf(row->name, sizeof(row->name), "%s", name);
	row->unit = unit;
	row->is[VELLUM] = vellum_is;
	row->is[HOST] = host_is;
	return row;
}

void row_sample(struct row *row, double vellum, double host)
{
	must(row->nr < MAX_ROUNDS, "%s: too many rounds", row->name);
	row->series[VELLUM][row->nr] = vellum;
	row->series[HOST][row->nr] = host;
	row->series[RATIO][row->nr++] = host / vellum;
}

void row_goal_ratio(struct row *row, double at_least)
{
	row->goal_ratio = at_least;
}

void row_goal_value(struct row *row, double at_most)
{
	row->goal_value = at_most;
}

void row_note(struct row *row, const char *format, ...)
{
	size_t len = strlen(row->note);
	va_list args;

	if (len && len + 2 < sizeof(row->note))
		len += (size_t)sprintf(row->note + len, "; ");
	va_start(args, format);
	vsnprintf(row->note + len, sizeof(row->note) - len, format, args);
	va_end(args);
}

/* --- statistics --- */

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Interpolates between two neighbouring values. */
static double quantile(const double *sorted, unsigned nr, double q)
{
	double at = q * (nr - 1);
	unsigned below = (unsigned)at;

	if (below + 1 >= nr)
		return sorted[nr - 1];
	return sorted[below] + (at - below) * (sorted[below + 1] - sorted[below]);
}

static struct stats stats_of(const struct row *row, unsigned series)
{
	double sorted[MAX_ROUNDS];

	if (!row->nr || isnan(row->series[series][0]))
		return (struct stats){ NAN, NAN, NAN };
	memcpy(sorted, row->series[series], row->nr * sizeof(*sorted));
	qsort(sorted, row->nr, sizeof(*sorted), compare);
	return (struct stats){ quantile(sorted, row->nr, 0.5), quantile(sorted, row->nr, 0.25),
			       quantile(sorted, row->nr, 0.75) };
}

static bool has_goal(const struct row *row)
{
	return row->goal_ratio || row->goal_value;
}

static const char *goal_text(const struct row *row, const char *met, const char *missed,
			     const char *unknown)
{
	double ratio = stats_of(row, RATIO).median;

	if (row->goal_ratio)
		return isnan(ratio) ? unknown : ratio >= row->goal_ratio ? met : missed;
	return stats_of(row, VELLUM).median <= row->goal_value ? met : missed;
}

static bool shown(const struct row *row)
{
	return row->nr && (!options.filter || strstr(row->name, options.filter));
}

/* --- table --- */

static const char *number(char *buf, size_t size, double n)
{
	double abs = fabs(n);

	if (isnan(n))
		snprintf(buf, size, "-");
	else
		snprintf(buf, size, "%.*f", abs >= 100 ? 0 : abs >= 10 ? 1 : abs >= 0.1 ? 2 : 4, n);
	return buf;
}

/* Half the interquartile range, in percent of the median. */
static const char *spread(char *buf, size_t size, struct stats s)
{
	if (isnan(s.median) || !s.median)
		snprintf(buf, size, "-");
	else
		snprintf(buf, size, "%.0f%%", 50 * (s.q3 - s.q1) / s.median);
	return buf;
}

static void print_sides(const struct row *row)
{
	printf("\n  Vellum: %s; host: %s\n", row->is[VELLUM], row->is[HOST]);
}

static void print_row(const struct row *row)
{
	struct stats v = stats_of(row, VELLUM), h = stats_of(row, HOST), r = stats_of(row, RATIO);
	char b[7][32], goal[32] = "", range[80];

	if (row->goal_ratio)
		snprintf(goal, sizeof(goal), "ratio >= %.2g", row->goal_ratio);
	else if (row->goal_value)
		snprintf(goal, sizeof(goal), "ours <= %g", row->goal_value);
	snprintf(range, sizeof(range), "%s..%s", number(b[5], sizeof(b[5]), r.q1),
		 number(b[6], sizeof(b[6]), r.q3));
	printf("%-27s %-8s %9s %5s %9s %5s %8s %14s  %-13s %s\n", row->name, row->unit,
	       number(b[0], sizeof(b[0]), v.median), spread(b[1], sizeof(b[1]), v),
	       number(b[2], sizeof(b[2]), h.median), spread(b[3], sizeof(b[3]), h),
	       number(b[4], sizeof(b[4]), r.median), isnan(r.median) ? "-" : range, goal,
	       has_goal(row) ? goal_text(row, "met", "missed", "?") : "");
	if (row->note[0])
		printf("    %s\n", row->note);
}

void report_table(void)
{
	const struct row *last = NULL;

	printf("Medians, with half of the interquartile range. Ratio: host / Vellum in the same round, and its "
	       "quartiles; above 1:\nVellum takes less.\n\n");
	printf("%-27s %-8s %9s %5s %9s %5s %8s %14s  %s\n", "row", "unit", "Vellum", "+-", "host", "+-",
	       "ratio", "q1..q3", "goal");
	for (const struct row *row = rows; row < rows + nr_rows; row++) {
		if (!shown(row))
			continue;
		if (!last || strcmp(last->is[VELLUM], row->is[VELLUM]) ||
		    strcmp(last->is[HOST], row->is[HOST]))
			print_sides(row);
		print_row(row);
		last = row;
	}
}

/* --- JSON --- */

static void put_string(FILE *f, const char *s)
{
	fputc('"', f);
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			fputc('\\', f);
		if ((unsigned char)*s >= ' ')
			fputc(*s, f);
	}
	fputc('"', f);
}

static void put_field(FILE *f, const char *name, const char *value)
{
	fprintf(f, "\"%s\": ", name);
	put_string(f, value);
}

static void put_stats(FILE *f, struct stats s)
{
	if (isnan(s.median))
		fprintf(f, "\"median\": null, \"q1\": null, \"q3\": null");
	else
		fprintf(f, "\"median\": %.9g, \"q1\": %.9g, \"q3\": %.9g", s.median, s.q1, s.q3);
}

static void put_side(FILE *f, const char *name, const struct row *row, unsigned side)
{
	fprintf(f, ",\n     \"%s\": {", name);
	put_field(f, "is", row->is[side]);
	fprintf(f, ", ");
	put_stats(f, stats_of(row, side));
	fprintf(f, "}");
}

static void put_row(FILE *f, const struct row *row)
{
	fprintf(f, "    {");
	put_field(f, "name", row->name);
	fprintf(f, ", ");
	put_field(f, "unit", row->unit);
	fprintf(f, ", \"rounds\": %u", row->nr);
	put_side(f, "vellum", row, VELLUM);
	put_side(f, "host", row, HOST);
	fprintf(f, ",\n     \"ratio\": {");
	put_stats(f, stats_of(row, RATIO));
	fprintf(f, "}");
	if (row->goal_ratio)
		fprintf(f, ", \"goal\": {\"ratio_at_least\": %g", row->goal_ratio);
	else if (row->goal_value)
		fprintf(f, ", \"goal\": {\"vellum_at_most\": %g", row->goal_value);
	if (has_goal(row))
		fprintf(f, ", \"met\": %s}", goal_text(row, "true", "false", "null"));
	if (row->note[0]) {
		fprintf(f, ",\n     ");
		put_field(f, "note", row->note);
	}
	fprintf(f, "}");
}

void report_json(const char *path)
{
	FILE *f = fopen(path, "w");
	struct utsname host;
	bool any = false;

	must(f, "%s: cannot be written", path);
	uname(&host);
	fprintf(f, "{\"quick\": %s, \"cpus\": %ld, ", options.quick ? "true" : "false",
		sysconf(_SC_NPROCESSORS_ONLN));
	put_field(f, "kernel", host.release);
	fprintf(f, ", ");
	put_field(f, "compiler", __VERSION__);
	fprintf(f, ",\n \"rows\": [\n");
	for (const struct row *row = rows; row < rows + nr_rows; row++)
		if (shown(row)) {
			fputs(any ? ",\n" : "", f);
			put_row(f, row);
			any = true;
		}
	fprintf(f, "\n]}\n");
	must(!fclose(f), "%s: cannot be written", path);
	printf("\n%s\n", path);
}
