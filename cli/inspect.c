/* SPDX-License-Identifier: MIT */
/* cli/inspect.c - --inspect: when a snapshot of an address space is made, and where it is written. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

struct inspect {
	const struct run_options *opt;
	struct abi_inspector inspector;
	struct host host;			/* allocates for calls[] */
	pthread_mutex_t count_lock;
	struct radix calls[MAX_INSPECTIONS];	/* process number to its count of the call */
	pthread_mutex_t write_lock;		/* one snapshot is written at a time; held while write(2) blocks */
	int fd[MAX_INSPECTIONS];
	bool failed;				/* write_lock */
};

/* --- the option --- */

static int parse_signal(const char *arg, const char *name, struct inspection *ins)
{
	const char *plain = strncmp(name, "SIG", 3) ? name : name + 3;

	ins->at = AT_SIGNAL;
	for (ins->number = 1; ins->number < NSIG; ins->number++) {
		const char *known = sigabbrev_np(ins->number);

		if (known && !strcmp(known, plain))
			return 0;
	}
	return fail("--inspect=%s: unknown signal: %s; write for example --inspect=signal:SEGV", arg, name);
}

static int parse_syscall(const char *arg, char *name, struct inspection *ins)
{
	char *colon = strchr(name, ':'), *end = NULL;

	ins->at = AT_SYSCALL;
	ins->nth = 1;
	if (colon) {
		*colon = 0;
		ins->nth = strtoull(colon + 1, &end, 10);
		if (*end || ins->nth < 1 || colon[1] < '0' || colon[1] > '9')
			return fail("--inspect=%s: not a number of a call, counted from 1; write for example "
				    "--inspect=syscall:write:3", arg);
	}
	ins->number = abi_syscall_number(name);
	return ins->number >= 0 ? 0 :
	       fail("--inspect=%s: unknown system call: %s; vellum syscalls lists them", arg, name);
}

static int parse_when(const char *arg, struct inspection *ins)
{
	char when[sizeof(ins->when)];

	snprintf(when, sizeof(when), "%s", ins->when);
	if (!strncmp(when, "signal:", 7))
		return parse_signal(arg, when + 7, ins);
	if (!strncmp(when, "syscall:", 8))
		return parse_syscall(arg, when + 8, ins);
	ins->at = AT_EXIT;
	return !strcmp(when, "exit") ? 0 :
	       fail("--inspect=%s: unknown moment; use exit, signal:NAME or syscall:NAME[:N]", arg);
}

int inspect_parse(const char *arg, struct run_options *o)
{
	size_t len = strcspn(arg, ",");
	const char *rest = arg + len;
	struct inspection *ins = &o->inspections[o->nr_inspections];

	if (o->nr_inspections == MAX_INSPECTIONS)
		return fail("--inspect=%s: too many; use --inspect at most %d times", arg, MAX_INSPECTIONS);
	snprintf(ins->when, sizeof(ins->when), "%.*s", (int)len, arg);
	if (parse_when(arg, ins))
		return EXIT_VELLUM;
	if (!strcmp(rest, ",text") || !strncmp(rest, ",text,", 6) || !strcmp(rest, ",json") ||
	    !strncmp(rest, ",json,", 6)) {
		ins->json = rest[1] == 'j';
		rest += 5;
	}
	if (*rest && !rest[1])
		return fail("--inspect=%s: nothing after the comma; name a file, or - for stdout", arg);
	ins->file = *rest ? rest + 1 : NULL;
	o->nr_inspections++;
	return 0;
}

/* --- snapshots --- */

/* Write all bytes. Another process may have made a pipe or a terminal non-blocking: then wait for room. */
static bool write_all(int fd, const char *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno == EAGAIN)
			poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, -1);
		else if (n < 0 && errno != EINTR)
			return false;
		if (n < 0)
			continue;
		buf += n;
		len -= (size_t)n;
	}
	return true;
}

static const char *output_name(const char *file)
{
	return !file ? "stderr" : strcmp(file, "-") ? file : "stdout";
}

static void put_snapshot(struct inspect *in, unsigned i, const char *buf, size_t len)
{
	const char *file = in->opt->inspections[i].file;

	pthread_mutex_lock(&in->write_lock);
	if (!write_all(in->fd[i], buf, len)) {
		if (!in->failed)
			fail("cannot write the output of --inspect to %s: %s", output_name(file), strerror(errno));
		in->failed = true;
	}
	pthread_mutex_unlock(&in->write_lock);
}

static void show(struct inspect *in, unsigned i, const struct guest_mm *gmm, int pid)
{
	const struct inspection *ins = &in->opt->inspections[i];
	char *buf = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&buf, &len);
	bool shown = f && inspect_show(f, ins, ins->file ? "" : "vellum: ", gmm, pid);

	/* Complete in memory first, so that snapshots of two processes do not mix. */
	if (f && fclose(f) == 0 && shown) {
		put_snapshot(in, i, buf, len);
	} else {
		fail("the host has no memory for the output of --inspect of process %d; free some", pid);
		pthread_mutex_lock(&in->write_lock);
		in->failed = true;
		pthread_mutex_unlock(&in->write_lock);
	}
	free(buf);
}

static void at_signal(void *arg, const struct guest_mm *gmm, int pid, int signo)
{
	struct inspect *in = arg;

	for (unsigned i = 0; i < in->opt->nr_inspections; i++)
		if (in->opt->inspections[i].at == AT_SIGNAL && in->opt->inspections[i].number == signo)
			show(in, i, gmm, pid);
}

/* Count this call of the process. Return: its number, from 1. */
static uint64_t count_call(struct inspect *in, unsigned i, int pid)
{
	uint64_t nr;

	pthread_mutex_lock(&in->count_lock);
	nr = (uint64_t)(uintptr_t)radix_get(&in->calls[i], (uint64_t)pid) + 1;
	if (radix_set(&in->calls[i], (uint64_t)pid, (void *)(uintptr_t)nr, &in->host)) {
		fail_no_memory("--inspect");
		exit(EXIT_VELLUM);
	}
	pthread_mutex_unlock(&in->count_lock);
	return nr;
}

static void at_syscall(void *arg, const struct guest_mm *gmm, int pid, uint64_t nr)
{
	struct inspect *in = arg;

	for (unsigned i = 0; i < in->opt->nr_inspections; i++) {
		const struct inspection *ins = &in->opt->inspections[i];

		if (ins->at == AT_SYSCALL && (uint64_t)ins->number == nr && count_call(in, i, pid) == ins->nth)
			show(in, i, gmm, pid);
	}
}

static void at_exit(void *arg, const struct guest_mm *gmm, int pid)
{
	struct inspect *in = arg;

	for (unsigned i = 0; i < in->opt->nr_inspections; i++)
		if (in->opt->inspections[i].at == AT_EXIT)
			show(in, i, gmm, pid);
	pthread_mutex_lock(&in->count_lock);
	for (unsigned i = 0; i < in->opt->nr_inspections; i++)
		radix_delete(&in->calls[i], (uint64_t)pid, &in->host);
	pthread_mutex_unlock(&in->count_lock);
}

/* --- the run --- */

/* Always a new descriptor, which the caller closes. O_APPEND: two options may name the same file. */
static int open_output(const char *file)
{
	if (!file)
		return fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	if (!strcmp(file, "-"))
		return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	return open(file, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
}

static bool open_outputs(struct inspect *in)
{
	for (unsigned i = 0; i < in->opt->nr_inspections; i++) {
		const char *file = in->opt->inspections[i].file;

		in->fd[i] = open_output(file);
		if (in->fd[i] < 0) {
			fail("cannot write the output of --inspect to %s: %s", output_name(file), strerror(errno));
			return false;
		}
	}
	return true;
}

struct inspect *inspect_create(const struct run_options *o)
{
	struct inspect *in = calloc(1, sizeof(*in));

	if (!in) {
		fail_no_memory("--inspect");
		return NULL;
	}
	in->opt = o;
	in->host.ops = vellum_host_posix();
	pthread_mutex_init(&in->count_lock, NULL);
	pthread_mutex_init(&in->write_lock, NULL);
	in->inspector.arg = in;
	for (unsigned i = 0; i < o->nr_inspections; i++) {
		in->fd[i] = -1;
		in->inspector.at_exit = at_exit;
		if (o->inspections[i].at == AT_SIGNAL)
			in->inspector.at_signal = at_signal;
		if (o->inspections[i].at == AT_SYSCALL)
			in->inspector.at_syscall = at_syscall;
	}
	if (open_outputs(in))
		return in;
	inspect_destroy(in);
	return NULL;
}

const struct abi_inspector *inspect_inspector(const struct inspect *in)
{
	return &in->inspector;
}

bool inspect_failed(const struct inspect *in)
{
	return in->failed;
}

void inspect_destroy(struct inspect *in)
{
	for (unsigned i = 0; i < in->opt->nr_inspections; i++) {
		if (in->fd[i] >= 0)
			close(in->fd[i]);
		radix_destroy(&in->calls[i], &in->host);
	}
	pthread_mutex_destroy(&in->count_lock);
	pthread_mutex_destroy(&in->write_lock);
	free(in);
}
