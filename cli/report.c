/* SPDX-License-Identifier: MIT */
/* cli/report.c - the summary for people, and the JSON of SPEC.md "Report". */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"

#define MAX_SUMMARY_ROWS 40

const char *track_name(enum track_mode mode)
{
	return mode == TRACK_WP ? "wp" : mode == TRACK_CLEAN ? "clean" : "none";
}

/* --- JSON --- */

/* Bytes that are not UTF-8 are written as U+FFFD: the file stays valid JSON. */
static size_t utf8_length(const unsigned char *s)
{
	size_t n = *s < 0x80 ? 1 : (*s & 0xe0) == 0xc0 ? 2 : (*s & 0xf0) == 0xe0 ? 3 :
		   (*s & 0xf8) == 0xf0		       ? 4 : 0;

	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

static void json_string(FILE *f, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	fputc('"', f);
	while (*s) {
		size_t n = utf8_length(s);

		if (*s == '"' || *s == '\\')
			fprintf(f, "\\%c", *s);
		else if (*s < 0x20)
			fprintf(f, "\\u%04x", *s);
		else if (n)
			fwrite(s, 1, n, f);
		else
			fputs("\xef\xbf\xbd", f);
		s += n ? n : 1;
	}
	fputc('"', f);
}

static void json_exit(FILE *f, const struct abi_result *result)
{
	if (result->signal)
		fprintf(f, "{\"signal\":%d}", result->signal);
	else
		fprintf(f, "{\"code\":%d}", result->code);
}

static void json_row(FILE *f, const struct row *row)
{
	fprintf(f, "{\"pid\":%d,\"start\":\"0x%llx\",\"end\":\"0x%llx\",\"prot\":\"%s\",\"name\":", row->pid,
		(unsigned long long)row->start, (unsigned long long)row->end, row->prot);
	json_string(f, row->name);
	fprintf(f, ",\"offset\":%llu,\"pages\":%llu,\"dirty_pages\":%llu,\"dirty_ranges\":[",
		(unsigned long long)row->offset,
		(unsigned long long)((row->end - row->start) / VELLUM_PAGE_SIZE),
		(unsigned long long)row->dirty_pages);
	for (size_t i = 0; i < row->dirty.nr; i++)
		fprintf(f, "%s[%llu,%llu]", i ? "," : "", (unsigned long long)row->dirty.at[i].first,
			(unsigned long long)row->dirty.at[i].count);
	fprintf(f, "],\"write_faults\":%llu}", (unsigned long long)row->write_faults);
}

static void json_collection(FILE *f, const struct collection_record *rec, const char *method)
{
	fprintf(f, "{\"t_ns\":%llu,\"pages\":%llu,\"scan_ns\":%llu,\"method\":\"%s\",\"ranges\":[",
		(unsigned long long)rec->t_ns, (unsigned long long)rec->pages,
		(unsigned long long)rec->scan_ns, method);
	for (size_t i = 0; i < rec->nr_ranges; i++)
		fprintf(f, "%s[%d,\"0x%llx\",%llu]", i ? "," : "", rec->ranges[i].pid,
			(unsigned long long)rec->ranges[i].addr, (unsigned long long)rec->ranges[i].count);
	fputs("]}", f);
}

static void json_counters(FILE *f, const struct run_report *r)
{
	const uint64_t *c = r->track->counters;

	fputs("{\"faults\":{", f);
	for (unsigned i = 0; i < VELLUM_COUNT_TLB_FLUSHES; i++)
		fprintf(f, "%s\"%s\":%llu", i ? "," : "", vellum_counter_name((enum vellum_counter)i),
			(unsigned long long)c[i]);
	fprintf(f, "},\"tlb_flushes\":%llu,\"exits\":%llu,\"syscalls\":%llu}",
		(unsigned long long)c[VELLUM_COUNT_TLB_FLUSHES], (unsigned long long)r->nr_exits,
		(unsigned long long)r->result->nr_syscalls);
}

static void json_all(FILE *f, const struct run_report *r)
{
	fputs("{\"schema\":\"vellum-run/1\",\"program\":[", f);
	for (size_t i = 0; r->opt->argv[i]; i++) {
		if (i)
			fputc(',', f);
		json_string(f, r->opt->argv[i]);
	}
	fputs("],\"exit\":", f);
	json_exit(f, r->result);
	fprintf(f, ",\"machine\":\"%s\",\"track\":\"%s\",\"page_size\":%u,\n\"mappings\":[", r->machine,
		track_name(r->opt->track), VELLUM_PAGE_SIZE);
	for (size_t i = 0; i < r->track->rows.nr; i++) {
		fputs(i ? ",\n" : "\n", f);
		json_row(f, &r->track->rows.at[i]);
	}
	fputs("],\n\"collections\":[", f);
	for (size_t i = 0; i < r->track->nr_records; i++) {
		fputs(i ? ",\n" : "\n", f);
		json_collection(f, &r->track->records[i], track_name(r->opt->track));
	}
	fputs("],\n\"counters\":", f);
	json_counters(f, r);
	fputs("}\n", f);
}

/* A file that is not a regular one (/dev/stderr, a FIFO) is written in place. */
static bool in_place(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && !S_ISREG(st.st_mode);
}

static void directory_of(const char *path, char dir[4096])
{
	const char *slash = strrchr(path, '/');

	snprintf(dir, 4096, "%.*s", slash ? (int)(slash - path) : 1, slash ? path : ".");
	if (slash == path)
		snprintf(dir, 4096, "/");
}

int json_check(const char *path, char *why, size_t size)
{
	char dir[4096];
	struct stat st;

	if (!strcmp(path, "-"))
		return 0;
	directory_of(path, dir);
	if (stat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode)) {
			snprintf(why, size, "%s: is a directory", path);
			return -1;
		}
		if (access(path, W_OK)) {
			snprintf(why, size, "%s: %s", path, strerror(errno));
			return -1;
		}
	}
	if (!in_place(path) && access(dir, W_OK | X_OK)) {
		snprintf(why, size, "%s: %s", path, strerror(errno));
		return -1;
	}
	return 0;
}

/* Beside the file, then renamed: nobody finds half a report. */
int file_write(const char *path, void (*put)(FILE *f, const void *arg), const void *arg)
{
	char temp[4160];
	bool direct = !strcmp(path, "-") || in_place(path), ok;
	FILE *f;
	int fd;

	snprintf(temp, sizeof(temp), "%s", path);
	if (!strcmp(path, "-")) {
		f = stdout;
	} else if (direct) {
		f = fopen(path, "we");
	} else {
		snprintf(temp, sizeof(temp), "%s.XXXXXX", path);
		fd = mkstemp(temp);
		f = fd < 0 ? NULL : fdopen(fd, "w");
	}
	if (!f) {
		fail("cannot write %s: %s", path, strerror(errno));
		return -1;
	}
	put(f, arg);
	ok = fflush(f) == 0 && !ferror(f);
	if (f != stdout)
		ok &= fclose(f) == 0;
	if (!direct) {
		chmod(temp, 0644);
		ok = ok && rename(temp, path) == 0;
	}
	if (!ok) {
		fail("cannot write %s: %s", path, strerror(errno));
		if (!direct)
			unlink(temp);
		return -1;
	}
	return 0;
}

static void json_put(FILE *f, const void *report)
{
	json_all(f, report);
}

int json_write(const struct run_report *r)
{
	return file_write(r->opt->json, json_put, r);
}

/* --- summary --- */

static void print_rows(const struct track_result *res)
{
	size_t shown = 0, hidden = 0;

	for (size_t i = 0; i < res->rows.nr; i++) {
		const struct row *row = &res->rows.at[i];

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
			row->name[0] ? row->name : "anonymous");
	}
	if (hidden)
		fprintf(stderr, "vellum: and %zu more mappings that were written: see --json\n", hidden);
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

void print_summary(const struct run_report *r)
{
	const struct track_result *res = r->track;
	const char *missing;

	for (unsigned i = 0; (missing = abi_unsupported(i)); i++)
		fprintf(stderr, "vellum: unsupported system call: %s\n", missing);
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
