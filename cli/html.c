/* SPDX-License-Identifier: MIT */
/* cli/html.c - vellum report: checks a JSON report and embeds it in the page of cli/report.html. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

#define SCHEMA		"vellum-run/1"
#define PLACE		"@REPORT@"	/* the page's placeholder for the report */
#define MAX_COUNT	9007199254740992.0	/* 2^53: up to here JavaScript's numbers are exact */
#define HINT		"use a file that vellum run --json wrote"

extern const char html_blob[], html_blob_end[];

/* --- the page --- */

struct page {
	const char *json;
	size_t len;
};

/* JSON has '<' only inside strings. Escaped, it cannot end the script element that the JSON is in. */
static void put_json(FILE *f, const char *json, size_t len)
{
	const char *end = json + len;

	while (json < end) {
		const char *lt = memchr(json, '<', (size_t)(end - json));

		fwrite(json, 1, (size_t)((lt ? lt : end) - json), f);
		if (!lt)
			return;
		fputs("\\u003c", f);
		json = lt + 1;
	}
}

static void put_page(FILE *f, const void *arg)
{
	const struct page *page = arg;
	size_t size = (size_t)(html_blob_end - html_blob);
	const char *place = memmem(html_blob, size, PLACE, strlen(PLACE));
	const char *rest = place + strlen(PLACE);

	fwrite(html_blob, 1, (size_t)(place - html_blob), f);
	put_json(f, page->json, page->len);
	fputc('\n', f);
	fwrite(rest, 1, (size_t)(html_blob_end - rest), f);
}

int html_write(const char *path, const char *json, size_t len)
{
	char *packed = report_pack(json, len);
	int err;

	if (!packed) {
		fail_no_memory("the page");
		return -1;
	}
	err = file_write(path, put_page, &(struct page){ packed, strlen(packed) });
	free(packed);
	return err;
}

/* --- checking a report: SPEC.md "Report" as a table --- */

enum kind { STRING, COUNT, ADDRESS, COUNTS, OBJECT, LIST, TUPLE };

struct shape {
	const char *name;		/* of the member; NULL ends a table */
	enum kind kind;
	const struct shape *of;		/* an object's members; a list's element; a tuple's elements, in order */
	bool optional;			/* older reports lack it */
};

static const struct shape string[] = { { "", STRING, NULL, false }, { .name = NULL } };
static const struct shape exit_shape[] = {
	{ "code", COUNT, NULL, true }, { "signal", COUNT, NULL, true }, { .name = NULL }
};
static const struct shape run_of_pages[] = {
	{ "", COUNT, NULL, false }, { "", COUNT, NULL, false }, { .name = NULL }
};
static const struct shape dirty_range[] = { { "", TUPLE, run_of_pages, false }, { .name = NULL } };
static const struct shape mapping_members[] = {
	{ "pid", COUNT, NULL, false },		{ "start", ADDRESS, NULL, false },
	{ "end", ADDRESS, NULL, false },	{ "prot", STRING, NULL, false },
	{ "name", STRING, NULL, false },	{ "offset", COUNT, NULL, false },
	{ "pages", COUNT, NULL, false },	{ "dirty_pages", COUNT, NULL, false },
	{ "dirty_ranges", LIST, dirty_range, false }, { "write_faults", COUNT, NULL, false },
	{ "start_ns", COUNT, NULL, true },	{ "end_ns", COUNT, NULL, true },
	{ .name = NULL }
};
static const struct shape mapping[] = { { "", OBJECT, mapping_members, false }, { .name = NULL } };
static const struct shape run_of_process[] = {
	{ "", COUNT, NULL, false }, { "", ADDRESS, NULL, false }, { "", COUNT, NULL, false },
	{ .name = NULL }
};
static const struct shape range[] = { { "", TUPLE, run_of_process, false }, { .name = NULL } };
static const struct shape collection_members[] = {
	{ "t_ns", COUNT, NULL, false },		{ "pages", COUNT, NULL, false },
	{ "scan_ns", COUNT, NULL, false },	{ "method", STRING, NULL, false },
	{ "ranges", LIST, range, false },	{ "cost_ns", COUNT, NULL, true },
	{ "write_faults", COUNT, NULL, true },	{ "faults", COUNTS, NULL, true },
	{ .name = NULL }
};
static const struct shape collection[] = {
	{ "", OBJECT, collection_members, false }, { .name = NULL }
};
static const struct shape process_members[] = {
	{ "pid", COUNT, NULL, false },		{ "ppid", COUNT, NULL, false },
	{ "name", STRING, NULL, false },	{ "args", LIST, string, true },
	{ "start_ns", COUNT, NULL, false },
	{ "end_ns", COUNT, NULL, false },	{ "faults", COUNTS, NULL, false },
	{ "tlb_flushes", COUNT, NULL, false },	{ "rss_pages", COUNT, NULL, false },
	{ .name = NULL }
};
static const struct shape process[] = { { "", OBJECT, process_members, false }, { .name = NULL } };
static const struct shape switch_members[] = {
	{ "t_ns", COUNT, NULL, false },		{ "pid", COUNT, NULL, false },
	{ "addr", ADDRESS, NULL, false },	{ "pages", COUNT, NULL, false },
	{ "method", STRING, NULL, false },	{ .name = NULL }
};
static const struct shape switch_shape[] = {
	{ "", OBJECT, switch_members, false }, { .name = NULL }
};
static const struct shape counters[] = {
	{ "faults", COUNTS, NULL, false },	{ "tlb_flushes", COUNT, NULL, false },
	{ "exits", COUNT, NULL, false },	{ "syscalls", COUNT, NULL, false },
	{ .name = NULL }
};
static const struct shape report_members[] = {
	{ "program", LIST, string, false },	{ "exit", OBJECT, exit_shape, false },
	{ "machine", STRING, NULL, false },	{ "track", STRING, NULL, false },
	{ "page_size", COUNT, NULL, false },	{ "mappings", LIST, mapping, false },
	{ "collections", LIST, collection, false }, { "counters", OBJECT, counters, false },
	{ "run_ns", COUNT, NULL, true },	{ "interval_ns", COUNT, NULL, true },
	{ "processes", LIST, process, true },	{ "switches", LIST, switch_shape, true },
	{ "total_collections", COUNT, NULL, true }, { .name = NULL }
};

struct where {			/* the path of a value in the report; @up: what contains it */
	const struct where *up;
	const char *name;	/* of a member; NULL: element @index of a list */
	size_t index;
};

/* At most 80 bytes of @from. fail() escapes unprintable ones. */
static void shorten(char *to, size_t size, const char *from)
{
	snprintf(to, size, "%.80s", from);
}

static void print_where(FILE *f, const struct where *at)
{
	char name[96];

	if (!at)
		return;
	print_where(f, at->up);
	if (!at->name) {
		fprintf(f, "[%zu]", at->index);
		return;
	}
	shorten(name, sizeof(name), at->name);
	fprintf(f, "%s%s", at->up ? "." : "", name);
}

static int wrong(const char *path, const struct where *at, const char *what)
{
	char place[512] = "";
	FILE *f = fmemopen(place, sizeof(place) - 1, "w");

	if (f) {
		print_where(f, at);
		fclose(f);
	}
	fail("%s: %s: %s; " HINT, path, place, what);
	return -1;
}

static bool is_count(const json_t *value)
{
	double n = json_number_value(value);

	return json_is_number(value) && n >= 0 && n <= MAX_COUNT;
}

static bool is_address(const json_t *value)
{
	const char *text = json_string_value(value);
	size_t digits;

	if (!text || strncmp(text, "0x", 2))
		return false;
	digits = strspn(text + 2, "0123456789abcdef");
	return digits && digits <= 16 && !text[2 + digits];
}

static int check_value(const char *path, const struct where *at, const json_t *value,
		       const struct shape *shape);

static int check_counts(const char *path, const struct where *at, json_t *object)
{
	const char *name;
	json_t *value;

	if (!json_is_object(object))
		return wrong(path, at, "is not an object");
	json_object_foreach(object, name, value) {
		const struct where here = { at, name, 0 };

		if (!is_count(value))
			return wrong(path, &here, "is not a count");
	}
	return 0;
}

static int check_object(const char *path, const struct where *at, const json_t *object,
			const struct shape *members)
{
	if (!json_is_object(object))
		return wrong(path, at, "is not an object");
	for (; members->name; members++) {
		const struct where here = { at, members->name, 0 };
		const json_t *value = json_object_get(object, members->name);

		if (!value && !members->optional)
			return wrong(path, &here, "is missing");
		if (value && check_value(path, &here, value, members))
			return -1;
	}
	return 0;
}

static int check_list(const char *path, const struct where *at, const json_t *list,
		      const struct shape *element)
{
	if (!json_is_array(list))
		return wrong(path, at, "is not a list");
	for (size_t i = 0; i < json_array_size(list); i++) {
		const struct where here = { at, NULL, i };

		if (check_value(path, &here, json_array_get(list, i), element))
			return -1;
	}
	return 0;
}

static int check_tuple(const char *path, const struct where *at, const json_t *tuple,
		       const struct shape *elements)
{
	size_t nr = 0;

	for (; elements[nr].name; nr++) {
		const struct where here = { at, NULL, nr };
		const json_t *value = json_array_get(tuple, nr);	/* NULL also if @tuple is not a list */

		if (!value)
			break;
		if (check_value(path, &here, value, &elements[nr]))
			return -1;
	}
	return elements[nr].name || json_array_size(tuple) != nr ?
		       wrong(path, at, "is not a list of the right length") :
		       0;
}

static int check_value(const char *path, const struct where *at, const json_t *value,
		       const struct shape *shape)
{
	switch (shape->kind) {
	case STRING:
		return json_is_string(value) ? 0 : wrong(path, at, "is not a string");
	case COUNT:
		return is_count(value) ? 0 : wrong(path, at, "is not a count");
	case ADDRESS:
		return is_address(value) ? 0 : wrong(path, at, "is not an address like \"0x5fc000\"");
	case COUNTS:
		return check_counts(path, at, (json_t *)(uintptr_t)value);
	case OBJECT:
		return check_object(path, at, value, shape->of);
	case LIST:
		return check_list(path, at, value, shape->of);
	case TUPLE:
		return check_tuple(path, at, value, shape->of);
	}
	return -1;
}

static int check_schema(const char *path, const json_t *report)
{
	const json_t *schema = json_object_get(report, "schema");
	char name[96];

	if (!json_is_string(schema)) {
		fail("%s: not a report: it has no \"schema\"; " HINT, path);
		return -1;
	}
	if (!strcmp(json_string_value(schema), SCHEMA))
		return 0;
	shorten(name, sizeof(name), json_string_value(schema));
	fail("%s: has the schema \"%s\", but this vellum reads \"" SCHEMA "\"; use the vellum that wrote the file",
	     path, name);
	return -1;
}

/* What the page's script relies on: it divides by the page size and by the length of a mapping. */
static int check_sense(const char *path, const json_t *report)
{
	const json_t *mappings = json_object_get(report, "mappings");
	json_int_t page_size = json_integer_value(json_object_get(report, "page_size"));

	if (page_size < 1 || (page_size & (page_size - 1)))
		return wrong(path, &(struct where){ NULL, "page_size", 0 }, "is not a power of two");
	for (size_t i = 0; i < json_array_size(mappings); i++) {
		const json_t *m = json_array_get(mappings, i);
		const struct where list = { NULL, "mappings", 0 }, here = { &list, NULL, i };

		if (strtoull(json_string_value(json_object_get(m, "start")), NULL, 16) >=
		    strtoull(json_string_value(json_object_get(m, "end")), NULL, 16))
			return wrong(path, &here, "ends before it starts");
	}
	return 0;
}

static int check_report(const char *path, const char *json, size_t len)
{
	json_error_t err;
	char text[96];
	json_t *report = json_loadb(json, len, 0, &err);
	int bad;

	if (!report) {
		shorten(text, sizeof(text), err.text);
		fail("%s: is not JSON: line %d, column %d: %s; " HINT, path, err.line, err.column, text);
		return -1;
	}
	bad = check_schema(path, report) || check_object(path, NULL, report, report_members) ||
	      check_sense(path, report);
	json_decref(report);
	return bad ? -1 : 0;
}

/* --- the command --- */

struct report_options {
	const char *in, *out;
};

static int take_file(struct report_options *o, const char *name)
{
	if (o->in)
		return fail("report: %s: a second file after %s; name one file at a time", name, o->in);
	o->in = name;
	return 0;
}

static int parse_report_options(int argc, char **argv, struct report_options *o)
{
	static const struct option longs[] = {
		{ "output", required_argument, NULL, 'o' }, { NULL, 0, NULL, 0 }
	};
	int opt, err = 0;

	opterr = 0;
	/* '-': arguments in any order, even with POSIXLY_CORRECT. */
	while (!err && (opt = getopt_long(argc, argv, "-:o:", longs, NULL)) != -1) {
		if (opt == 1)
			err = take_file(o, optarg);
		else if (opt == 'o')
			o->out = optarg;
		else
			return fail("report: %s: %s; see vellum --help", argv[optind - 1],
				    opt == ':' ? "needs a value" : "unknown option");
	}
	while (!err && optind < argc)
		err = take_file(o, argv[optind++]);
	if (err)
		return err;
	if (!o->in)
		return fail("report: no file to read; write vellum report FILE.json -o FILE.html");
	if (!o->out || !o->out[0])
		return fail("report: no file to write; add -o FILE.html");
	return 0;
}

/* Read a whole file. NULL: after printing an error. */
static char *read_all(FILE *f, const char *name, size_t *len)
{
	size_t max = 1 << 16;
	char *text = malloc(max), *more;

	*len = 0;
	while (text && (*len += fread(text + *len, 1, max - *len, f)) == max) {
		more = realloc(text, max *= 2);
		if (!more)
			free(text);
		text = more;
	}
	if (!text || ferror(f)) {
		fail("cannot read %s: %s", name, strerror(text ? errno : ENOMEM));
		free(text);
		return NULL;
	}
	return text;
}

static bool same_file(FILE *f, const char *path)
{
	struct stat in, out;

	return fstat(fileno(f), &in) == 0 && S_ISREG(in.st_mode) && stat(path, &out) == 0 &&
	       in.st_dev == out.st_dev && in.st_ino == out.st_ino;
}

static int make_page(FILE *f, const char *name, const char *out)
{
	char why[4352], *json;
	size_t len;
	int err;

	if (same_file(f, out))
		return fail("%s: is the report itself; name another file after -o", out);
	if (json_check_writable(out, why, sizeof(why)))
		return fail("cannot write the page: %s", why);
	json = read_all(f, name, &len);
	if (!json)
		return EXIT_VELLUM;
	err = check_report(name, json, len) || html_write(out, json, len);
	free(json);
	return err ? EXIT_VELLUM : 0;
}

int cmd_report(int argc, char **argv)
{
	struct report_options o = { .in = NULL };
	int status = parse_report_options(argc, argv, &o);
	FILE *f;

	if (status)
		return status;
	if (!strcmp(o.in, "-"))
		return make_page(stdin, "stdin", o.out);
	f = fopen(o.in, "re");
	if (!f)
		return fail("cannot read %s: %s", o.in, strerror(errno));
	status = make_page(f, o.in, o.out);
	fclose(f);
	return status;
}
