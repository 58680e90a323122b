/* SPDX-License-Identifier: MIT */
/* cli/json.c - the report as JSON (SPEC.md "Report"), and the writing of report files. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/major.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "abi/text.h"
#include "cli/cli.h"

/* Bytes that are not UTF-8 are written as U+FFFD: the file stays valid JSON. */
void json_text(FILE *f, const char *text)
{
	fputc('"', f);
	while (*text) {
		uint32_t c;
		size_t n = utf8_decode(text, &c);

		if (!n)
			fputs("\xef\xbf\xbd", f);
		else if (c == '"' || c == '\\')
			fprintf(f, "\\%c", (int)c);
		else if (c < 0x20)
			fprintf(f, "\\u%04x", (unsigned)c);
		else
			fwrite(text, 1, n, f);
		text += n ? n : 1;
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
	json_text(f, row->name);
	fprintf(f, ",\"offset\":%llu,\"pages\":%llu,\"dirty_pages\":%llu,\"dirty_ranges\":[",
		(unsigned long long)row->offset,
		(unsigned long long)((row->end - row->start) / VELLUM_PAGE_SIZE),
		(unsigned long long)row->dirty_pages);
	for (size_t i = 0; i < row->dirty.nr; i++)
		fprintf(f, "%s[%llu,%llu]", i ? "," : "", (unsigned long long)row->dirty.at[i].first,
			(unsigned long long)row->dirty.at[i].count);
	fprintf(f, "],\"write_faults\":%llu,\"start_ns\":%llu,\"end_ns\":%llu}",
		(unsigned long long)row->write_faults, (unsigned long long)row->start_ns,
		(unsigned long long)row->end_ns);
}

/* {"anon":12,...}. @all: list kinds with a count of 0, too. */
static void json_faults(FILE *f, const uint64_t *faults, bool all)
{
	bool first = true;

	fputc('{', f);
	for (unsigned i = 0; i < NR_FAULT_KINDS; i++) {
		if (!faults[i] && !all)
			continue;
		fprintf(f, "%s\"%s\":%llu", first ? "" : ",", vellum_counter_name((enum vellum_counter)i),
			(unsigned long long)faults[i]);
		first = false;
	}
	fputc('}', f);
}

static void json_collection(FILE *f, const struct collection_record *rec, const char *method)
{
	fprintf(f, "{\"t_ns\":%llu,\"pages\":%llu,\"scan_ns\":%llu,\"cost_ns\":%llu,\"method\":\"%s\"",
		(unsigned long long)rec->t_ns, (unsigned long long)rec->pages,
		(unsigned long long)rec->scan_ns, (unsigned long long)rec->cost_ns, method);
	fprintf(f, ",\"write_faults\":%llu,\"faults\":", (unsigned long long)rec->write_faults);
	json_faults(f, rec->faults, false);
	fputs(",\"ranges\":[", f);
	for (size_t i = 0; i < rec->nr_ranges; i++)
		fprintf(f, "%s[%d,\"0x%llx\",%llu]", i ? "," : "", rec->ranges[i].pid,
			(unsigned long long)rec->ranges[i].addr, (unsigned long long)rec->ranges[i].count);
	fputs("]}", f);
}

static void json_threads(FILE *f, const struct threads *threads)
{
	fputc('[', f);
	for (size_t i = 0; i < threads->nr; i++) {
		fprintf(f, "%s{\"tid\":%d,\"name\":", i ? "," : "", threads->at[i].tid);
		json_text(f, threads->at[i].name);
		fprintf(f, ",\"syscalls\":%llu}", (unsigned long long)threads->at[i].nr_syscalls);
	}
	fputc(']', f);
}

static void json_process(FILE *f, const struct process_record *p)
{
	fprintf(f, "{\"pid\":%d,\"ppid\":%d,\"name\":", p->pid, p->ppid);
	json_text(f, p->name);
	fputs(",\"args\":[", f);
	for (const char *arg = p->args; *arg; arg += strlen(arg) + 1) {
		if (arg != p->args)
			fputc(',', f);
		json_text(f, arg);
	}
	fprintf(f, "],\"start_ns\":%llu,\"end_ns\":%llu,\"faults\":", (unsigned long long)p->start_ns,
		(unsigned long long)p->end_ns);
	json_faults(f, p->counters, true);
	fprintf(f, ",\"tlb_flushes\":%llu,\"rss_pages\":%llu,\"dirty_pages\":%llu,\"threads\":",
		(unsigned long long)p->counters[VELLUM_COUNT_TLB_FLUSHES], (unsigned long long)p->rss_pages,
		(unsigned long long)p->dirty_pages);
	json_threads(f, &p->threads);
	fputc('}', f);
}

static void json_switch(FILE *f, const struct method_switch *sw)
{
	fprintf(f, "{\"t_ns\":%llu,\"pid\":%d,\"addr\":\"0x%llx\",\"pages\":%llu,\"method\":\"%s\"}",
		(unsigned long long)sw->t_ns, sw->pid, (unsigned long long)sw->addr,
		(unsigned long long)sw->pages, sw->wp ? "wp" : "clean");
}

static void json_counters(FILE *f, const struct run_report *r)
{
	fputs("{\"faults\":", f);
	json_faults(f, r->track->counters, true);
	fprintf(f, ",\"tlb_flushes\":%llu,\"exits\":%llu,\"syscalls\":%llu",
		(unsigned long long)r->track->counters[VELLUM_COUNT_TLB_FLUSHES],
		(unsigned long long)r->nr_exits, (unsigned long long)r->result->nr_syscalls);
	fprintf(f, ",\"swapped_out\":%llu,\"swapped_in\":%llu}", (unsigned long long)r->swap->nr_out,
		(unsigned long long)r->swap->nr_in);
}

static void json_all(FILE *f, const struct run_report *r)
{
	fputs("{\"schema\":\"vellum-run/1\",\"program\":[", f);
	for (size_t i = 0; r->opt->argv[i]; i++) {
		if (i)
			fputc(',', f);
		json_text(f, r->opt->argv[i]);
	}
	fputs("],\"exit\":", f);
	json_exit(f, r->result);
	fprintf(f, ",\"machine\":\"%s\",\"track\":\"%s\",\"page_size\":%u,\"run_ns\":%llu,\"interval_ns\":%llu",
		r->machine, track_name(r->opt->track), VELLUM_PAGE_SIZE, (unsigned long long)r->run_ns,
		(unsigned long long)r->opt->interval_ns);
	fputs(",\n\"processes\":[", f);
	for (size_t i = 0; i < r->track->nr_processes; i++) {
		fputs(i ? ",\n" : "\n", f);
		json_process(f, &r->track->processes[i]);
	}
	fputs("],\n\"mappings\":[", f);
	for (size_t i = 0; i < r->track->rows.nr; i++) {
		fputs(i ? ",\n" : "\n", f);
		json_row(f, &r->track->rows.at[i]);
	}
	fputs("],\n\"switches\":[", f);
	for (size_t i = 0; i < r->track->nr_switches; i++) {
		fputs(i ? ",\n" : "\n", f);
		json_switch(f, &r->track->switches[i]);
	}
	fprintf(f, "],\n\"total_collections\":%llu", (unsigned long long)r->track->nr_collections);
	fputs(",\n\"collections\":[", f);
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

static bool is_writable_directory(const char *dir)
{
	struct stat st;

	if (stat(dir, &st))
		return false;
	errno = ENOTDIR;
	return S_ISDIR(st.st_mode) && access(dir, W_OK | X_OK) == 0;
}

/* The standard stream of the program that is the same file, or NULL. A null device mixes nothing. */
static const char *stream_of(const struct stat *st)
{
	struct stat other;

	if (S_ISCHR(st->st_mode) && major(st->st_rdev) == MEM_MAJOR)
		return NULL;
	for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
		if (fstat(fd, &other) == 0 && st->st_dev == other.st_dev && st->st_ino == other.st_ino)
			return fd == STDOUT_FILENO ? "stdout" : "stderr";
	return NULL;
}

/* A report replaces a regular file: output that was written to it would be lost. */
int json_check_writable(const char *path, char *why, size_t size)
{
	char dir[4096];
	struct stat st;

	if (!strcmp(path, "-"))
		return 0;
	if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && stream_of(&st)) {
		snprintf(why, size, "%s: is also the file of the program's output; name another file", path);
		return -1;
	}
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
	if (!in_place(path) && !is_writable_directory(dir)) {
		snprintf(why, size, "%s: %s", path, strerror(errno));
		return -1;
	}
	return 0;
}

/* The number of "fd:N" and "/dev/fd/N". -1: another name; -2: no number. */
static int parse_fd(const char *name)
{
	static const char *const prefixes[] = { "fd:", "/dev/fd/", "/proc/self/fd/" };
	const char *digits = NULL;
	char *end;
	long n;

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
			digits = name + strlen(prefixes[i]);
	if (!digits)
		return -1;
	n = strtol(digits, &end, 10);
	return *end || end == digits || !isdigit((unsigned char)*digits) || n > INT_MAX ? -2 : (int)n;
}

int json_open_fd(const char *name, int *fd)
{
	int n = parse_fd(name), flags;
	const char *stream;
	struct stat st;

	*fd = -1;
	if (n == -1)
		return 0;
	flags = n < 0 ? -1 : fcntl(n, F_GETFL);
	if (flags < 0)
		return fail("--json=%s: no such open descriptor; open it, for example with 3>FILE and --json=fd:3", name);
	if ((flags & O_PATH) || (flags & O_ACCMODE) == O_RDONLY)
		return fail("--json=%s: the descriptor is not open for writing; open it with 3>FILE", name);
	stream = fstat(n, &st) ? NULL : stream_of(&st);
	if (stream)
		return fail("--json=%s: is the file of the program's %s, whose output would be mixed with the report; "
			    "open another file, for example with 3>FILE and --json=fd:3", name, stream);
	*fd = fcntl(n, F_DUPFD_CLOEXEC, 3);
	return *fd < 0 ? fail("--json=%s: %s", name, strerror(errno)) : 0;
}

/* A regular file is written under a temporary name and renamed, so that a reader never finds part of a report. */
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

static int write_to_fd(const struct run_report *r)
{
	FILE *f = fdopen(r->opt->json_fd, "w");
	bool ok = f != NULL;

	if (f) {
		json_all(f, r);
		ok = fflush(f) == 0 && !ferror(f);
		ok &= fclose(f) == 0;
	}
	if (!ok)
		fail("cannot write %s: %s", r->opt->json, strerror(errno));
	return ok ? 0 : -1;
}

int json_write(const struct run_report *r)
{
	if (r->opt->json_fd >= 0)
		return write_to_fd(r);
	return file_write(r->opt->json, json_put, r);
}

int html_report(const struct run_report *r)
{
	char *json = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&json, &len);
	int err = -1;

	if (f) {
		json_all(f, r);
		if (fclose(f) == 0)
			err = html_write(r->opt->html, json, len);
		else
			fail_no_memory("the report");
	} else {
		fail_no_memory("the report");
	}
	free(json);
	return err;
}
