/* SPDX-License-Identifier: MIT */
/* cli/repeat.c - vellum repeat: run a program again and again from one snapshot, compare the runs, print the figures. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"

#define EXIT_DIFFERENT 1
#define DEFAULT_RUNS 1000
#define MAX_RUNS 1000000000000ull
#define MAX_SAMPLES (1u << 16)
#define MAX_OUTPUT (64u << 20)	/* bytes of a run that are compared */
#define LINE_NS 500000000	/* between two lines on a terminal */

struct output {			/* of the program, to descriptor 1 or 2 */
	int fd;			/* a file in memory */
	char *first;		/* what the first run wrote */
	off_t base;		/* in the file: what is before was written before the program was frozen */
	size_t len, room;	/* bytes of it; bytes that are allocated for both */
	char *now;
};

/* Times of resets: each one, or every @stride'th. */
struct samples {
	uint64_t ns[MAX_SAMPLES];
	unsigned nr;
	uint64_t stride, seen;
};

struct repeat_run {
	struct abi_repeat want;
	uint64_t wanted, done;		/* runs */
	struct output output[2];
	int status;			/* of the first run: wait4(2) */
	uint64_t nr_different;
	char difference[160];		/* the first one */
	uint64_t pages;			/* of all resets */
	uint64_t nr_resets;
	struct samples samples;
	uint64_t start_ns, end_ns, next_line;
	bool has_line;
};

/* --- figures --- */

static void sample(struct samples *s, uint64_t ns)
{
	if (s->seen++ % s->stride)
		return;
	if (s->nr == MAX_SAMPLES) {
		for (unsigned i = 0; i < MAX_SAMPLES / 2; i++)
			s->ns[i] = s->ns[2 * i];
		s->nr /= 2;
		s->stride *= 2;
	}
	s->ns[s->nr++] = ns;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* In microseconds, of the sorted samples. */
static double quantile(const struct samples *s, double part)
{
	return s->nr ? (double)s->ns[(unsigned)(part * (s->nr - 1))] / 1000 : 0;
}

static double runs_per_second(const struct repeat_run *rr, uint64_t now)
{
	return now > rr->start_ns ? (double)rr->done * 1e9 / (double)(now - rr->start_ns) : 0;
}

static double pages_per_run(const struct repeat_run *rr)
{
	return rr->nr_resets ? (double)rr->pages / (double)rr->nr_resets : 0;
}

static void show_line(struct repeat_run *rr, uint64_t now)
{
	rr->next_line = now + LINE_NS;
	rr->has_line = true;
	fprintf(stderr, "\rvellum: run %llu of %llu, %.0f runs/s, %.1f pages a run\033[K", (unsigned long long)rr->done,
		(unsigned long long)rr->wanted, runs_per_second(rr, now), pages_per_run(rr));
}

static void clear_line(struct repeat_run *rr)
{
	if (rr->has_line)
		fprintf(stderr, "\r\033[K");
	rr->has_line = false;
}

/* --- comparison --- */

static void say_status(int status, char text[32])
{
	if (WIFSIGNALED(status))
		snprintf(text, 32, "signal %d", WTERMSIG(status));
	else
		snprintf(text, 32, "status %d", WEXITSTATUS(status));
}

static void write_all(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno != EINTR)
			return;
		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		}
	}
}

/* Read what the run wrote, at most MAX_OUTPUT bytes, and empty the file. The bytes, or -1: no memory. */
static ssize_t take_output(struct output *o)
{
	struct stat st;
	size_t size;
	ssize_t n;

	if (fstat(o->fd, &st) || st.st_size <= o->base)
		return 0;
	size = st.st_size - o->base < MAX_OUTPUT ? (size_t)(st.st_size - o->base) : MAX_OUTPUT;
	if (size > o->room) {
		char *first = realloc(o->first, size), *now = first ? realloc(o->now, size) : NULL;

		o->first = first ? first : o->first;
		if (!now)
			return -1;
		o->now = now;
		o->room = size;
	}
	n = pread(o->fd, o->now, size, o->base);
	if (ftruncate(o->fd, o->base))
		return -1;
	return n;
}

static void note_difference(struct repeat_run *rr, const char *what)
{
	rr->nr_different++;
	if (!rr->difference[0])
		snprintf(rr->difference, sizeof(rr->difference), "run %llu: %s", (unsigned long long)rr->done, what);
}

/* Compare with the first run. The first output is shown. False: no memory. */
static bool compare_output(struct repeat_run *rr, int which, bool *differs)
{
	struct output *o = &rr->output[which];
	ssize_t n = take_output(o);

	if (n < 0)
		return false;
	if (rr->done == 1) {
		o->len = (size_t)n;
		if (n)
			memcpy(o->first, o->now, o->len);
		write_all(which + 1, o->first, o->len);
	} else if ((size_t)n != o->len || (n && memcmp(o->first, o->now, o->len))) {
		*differs = true;
	}
	return true;
}

static bool has_ended(void *arg, int status)
{
	struct repeat_run *rr = arg;
	bool differs = false;
	char now[32], before[32], what[128];

	rr->done++;
	for (int i = 0; i < 2; i++)
		if (!compare_output(rr, i, &differs)) {
			clear_line(rr);
			fail_no_memory("the output of the program");
			return false;
		}
	if (rr->done == 1)
		rr->status = status;
	if (status != rr->status) {
		say_status(status, now);
		say_status(rr->status, before);
		snprintf(what, sizeof(what), "%s, and %s in the first run", now, before);
		note_difference(rr, what);
	} else if (differs) {
		note_difference(rr, "other output than in the first run");
	}
	return rr->done < rr->wanted;
}

static bool was_reset(void *arg, const struct abi_reset *reset)
{
	struct repeat_run *rr = arg;

	rr->nr_resets++;
	rr->pages += reset->pages;
	sample(&rr->samples, reset->ns);
	if (rr->next_line && !(rr->done & 15)) {
		uint64_t now = monotonic_ns();

		if (now >= rr->next_line)
			show_line(rr, now);
	}
	return true;
}

/* What was written before the program was frozen is no run's. */
static void show_earlier_output(struct output *o, int fd)
{
	char bytes[4096];
	ssize_t n;

	o->base = lseek(o->fd, 0, SEEK_CUR);
	for (off_t at = 0; at < o->base && (n = pread(o->fd, bytes, sizeof(bytes), at)) > 0; at += n)
		write_all(fd, bytes, (size_t)n);
}

static void is_frozen(void *arg, const char *limits, struct repeat *run)
{
	struct repeat_run *rr = arg;

	(void)run;
	if (limits[0])
		fprintf(stderr, "vellum: a reset does not undo what a run does to: %s\n", limits);
	for (int i = 0; i < 2; i++)
		show_earlier_output(&rr->output[i], i + 1);
	rr->start_ns = monotonic_ns();
	if (isatty(STDERR_FILENO))
		rr->next_line = rr->start_ns + LINE_NS;
}

/* --- the end --- */

static int write_figures(const struct repeat_run *rr, const char *path)
{
	char status[32];
	json_t *figures;
	int err;

	say_status(rr->status, status);
	figures = json_pack("{s:I, s:I, s:s, s:s, s:f, s:f, s:f, s:f, s:f}", "runs", (json_int_t)rr->done, "different",
			    (json_int_t)rr->nr_different, "first_difference", rr->difference, "end", status,
			    "seconds", (double)(rr->end_ns - rr->start_ns) / 1e9, "runs_per_second",
			    runs_per_second(rr, rr->end_ns), "pages_per_run", pages_per_run(rr), "reset_us_median",
			    quantile(&rr->samples, 0.5), "reset_us_99_percent", quantile(&rr->samples, 0.99));
	err = figures ? json_dump_file(figures, path, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : -1;
	json_decref(figures);
	return err ? fail("cannot write %s: %s", path, strerror(errno)) : 0;
}

static void print_figures(const struct repeat_run *rr)
{
	char status[32];

	say_status(rr->status, status);
	fprintf(stderr, "vellum: %llu runs, %s, %.0f runs/s; pages a run: %.1f; reset: median %.1f us, 99 %% %.1f us\n",
		(unsigned long long)rr->done, status, runs_per_second(rr, rr->end_ns), pages_per_run(rr),
		quantile(&rr->samples, 0.5), quantile(&rr->samples, 0.99));
	if (rr->nr_different)
		fprintf(stderr, "vellum: %llu runs differ from the first one; %s\n", (unsigned long long)rr->nr_different,
			rr->difference);
	else
		fprintf(stderr, "vellum: all runs are alike%s\n", rr->want.verify_every ? ", and memory after resets is as it was" : "");
}

/* --- options --- */

static bool parse_count(const char *text, uint64_t *n)
{
	char *end;

	errno = 0;
	*n = strtoull(text, &end, 10);
	return !errno && end != text && !*end && text[0] != '-' && *n >= 1 && *n <= MAX_RUNS;
}

int repeat_parse_place(const char *text, struct abi_repeat *want)
{
	char *end;

	if (!strcmp(text, "first-read")) {
		want->place = ABI_PLACE_FIRST_READ;
	} else if (!strncmp(text, "0x", 2)) {
		want->place = ABI_PLACE_ADDRESS;
		want->address = strtoull(text, &end, 16);
		if (*end || !want->address)
			return fail("--at=%s: not an address; write for example --at=0x1139", text);
	} else if (!text[0]) {
		return fail("--at=: write a function, 0xADDRESS or first-read");
	} else {
		want->place = ABI_PLACE_FUNCTION;
		want->function = text;
	}
	return 0;
}

static const struct option long_options[] = {
	{ "json", required_argument, NULL, OPT_JSON }, { "ram", required_argument, NULL, OPT_RAM },
	{ "cpus", required_argument, NULL, OPT_CPUS }, { "swap", required_argument, NULL, OPT_SWAP },
	{ "no-isolation", no_argument, NULL, OPT_NO_ISOLATION }, { "check", optional_argument, NULL, OPT_CHECK },
	{ "at", required_argument, NULL, OPT_AT }, { NULL, 0, NULL, 0 },
};

static int take_option(int opt, const char *arg, struct repeat_run *rr, struct run_options *o, const char **json)
{
	switch (opt) {
	case 'n':
		return parse_count(arg, &rr->wanted) ? 0 : fail("-n %s: not a number of runs", arg);
	case OPT_CHECK:
		rr->want.verify_every = 1;
		return !arg || parse_count(arg, &rr->want.verify_every) ? 0 : fail("--check=%s: not a number of resets", arg);
	case OPT_AT:
		return repeat_parse_place(arg, &rr->want);
	case OPT_JSON:
		*json = arg;
		return 0;
	default:
		return run_take_option(opt, arg, o);
	}
}

static int parse_options(int argc, char **argv, struct repeat_run *rr, struct run_options *o, const char **json)
{
	int opt, err;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, "+:n:", long_options, NULL)) != -1) {
		if (opt == '?' || opt == ':')
			return fail("%s: %s; see vellum --help", argv[optind - 1],
				    opt == ':' ? "needs a value" : "unknown option");
		err = take_option(opt, optarg, rr, o, json);
		if (err)
			return err;
	}
	if (optind >= argc)
		return fail("no program to run; see vellum --help");
	o->argv = &argv[optind];
	return 0;
}

static int repeat(struct repeat_run *rr, struct run_options *o, const char *json)
{
	int status;

	for (int i = 0; i < 2; i++) {
		rr->output[i].fd = rr->want.output[i] = memfd_create(i ? "stderr" : "stdout", MFD_CLOEXEC);
		if (rr->output[i].fd < 0)
			return fail("cannot make a file for the program's output: %s", strerror(errno));
	}
	o->repeat = &rr->want;
	status = run_command(o);
	rr->end_ns = monotonic_ns();
	clear_line(rr);
	if (!rr->done)
		return !o->ran || status == EXIT_VELLUM ? status :
		       rr->start_ns ? fail("no run has ended") :
		       fail("the program ended before it was at the place to freeze it; name an earlier one with --at");
	qsort(rr->samples.ns, rr->samples.nr, sizeof(rr->samples.ns[0]), by_size);
	print_figures(rr);
	if (json && write_figures(rr, json))
		return EXIT_VELLUM;
	return status == EXIT_VELLUM ? EXIT_VELLUM : rr->nr_different ? EXIT_DIFFERENT : 0;
}

int cmd_repeat(int argc, char **argv)
{
	struct repeat_run *rr = calloc(1, sizeof(*rr));
	const char *json = NULL;
	struct run_options o;
	int status;

	if (!rr)
		return fail_no_memory("the figures of the runs");
	rr->want = (struct abi_repeat){ .arg = rr, .place = ABI_PLACE_FUNCTION, .function = "main", .frozen = is_frozen,
					.ended = has_ended, .was_reset = was_reset };
	rr->wanted = DEFAULT_RUNS;
	rr->samples.stride = 1;
	run_defaults(&o);
	status = parse_options(argc, argv, rr, &o, &json);
	if (!status)
		status = repeat(rr, &o, json);
	for (int i = 0; i < 2; i++) {
		free(rr->output[i].first);
		free(rr->output[i].now);
	}
	free(rr);
	return status;
}
