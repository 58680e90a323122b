/* SPDX-License-Identifier: MIT */
/* abi/strace_structs.c - structures for --strace, printed as strace(1) does: some fields, then "...". */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include "abi/strace_print.h"
#include "abi/task.h"

#define STRING_POINTERS	64		/* of argv or envp, read at a time */
#define MAX_STRINGS	65536		/* counted in envp */
#define MAX_DIRENTS	65536		/* counted in a result of getdents64(2) */
#define CPU_BYTES	128		/* shown of a CPU mask */
#define DIRENT_RECLEN	16		/* offset of a directory entry's length */

/* Define the function that prints a structure: one that the call reads, and one that it stores. */
#define STRUCTURE(name, print) \
	bool print_##name(struct trace *tr, unsigned i) \
	{ \
		print(tr, tr->arg[i]); \
		return true; \
	}
#define STRUCTURE_OUT(name, print) \
	bool print_##name(struct trace *tr, unsigned i) \
	{ \
		if (tr->leaving && !text_if_no_result(tr, tr->arg[i])) \
			print(tr, tr->arg[i]); \
		return false; \
	}

/* --- arrays of strings, and vectors --- */

static void text_argument(struct trace *tr, const void *element, void *arg)
{
	(void)arg;
	text_string(tr, *(const uint64_t *)element, SHOWN_BYTES);
}

/* Count the pointers before NULL. @terminated: false if memory that cannot be read precedes NULL. */
static uint64_t count_strings(struct trace *tr, uint64_t addr, bool *terminated)
{
	uint64_t pointers[STRING_POINTERS], n = 0;

	for (*terminated = true; n < MAX_STRINGS;) {
		size_t have = peek(tr, pointers, addr + n * 8, sizeof(pointers)) / 8;

		for (size_t i = 0; i < have; i++, n++)
			if (!pointers[i])
				return n;
		if (have < STRING_POINTERS)
			break;
	}
	*terminated = false;
	return n;
}

bool print_argv(struct trace *tr, unsigned i)
{
	bool terminated;
	uint64_t nr = count_strings(tr, tr->arg[i], &terminated);

	/* The element that cannot be read is printed as such. */
	text_array(tr, tr->arg[i], terminated ? nr : nr + 1, 8, text_argument, NULL);
	return true;
}

bool print_envp(struct trace *tr, unsigned i)
{
	bool terminated;
	uint64_t nr = count_strings(tr, tr->arg[i], &terminated);

	text_address(tr, tr->arg[i]);
	if (terminated || nr)
		text(tr, " /* %llu var%s%s */", (unsigned long long)nr, nr == 1 ? "" : "s",
		     terminated ? "" : ", unterminated");
	return true;
}

/* @arg: the bytes that the call stored; NULL: it reads the buffers. */
static void text_iovec(struct trace *tr, const void *element, void *arg)
{
	const uint64_t *iov = element, base = iov[0], len = iov[1];
	uint64_t *left = arg, shown = len;

	text(tr, "{iov_base=");
	if (left) {
		shown = len < *left ? len : *left;
		*left -= shown;
	}
	text_buffer(tr, base, shown);
	text(tr, ", iov_len=%llu}", (unsigned long long)len);
}

bool print_iov(struct trace *tr, unsigned i)
{
	text_array(tr, tr->arg[i], tr->arg[i + 1], sizeof(struct iovec), text_iovec, NULL);
	return true;
}

static void text_iovec_address(struct trace *tr, const void *element, void *arg)
{
	const uint64_t *iov = element;

	(void)arg;
	text(tr, "{iov_base=");
	text_address(tr, iov[0]);
	text(tr, ", iov_len=%llu}", (unsigned long long)iov[1]);
}

/* Buffers of another process. */
bool print_iov_other(struct trace *tr, unsigned i)
{
	text_array(tr, tr->arg[i], tr->arg[i + 1], sizeof(struct iovec), text_iovec_address, NULL);
	return true;
}

bool print_iov_out(struct trace *tr, unsigned i)
{
	uint64_t left = (uint64_t)tr->result;

	if (!tr->leaving)
		return false;
	text_array(tr, tr->arg[i], tr->arg[i + 1], sizeof(struct iovec),
		   tr->result < 0 ? text_iovec_address : text_iovec, &left);
	return true;
}

/* --- files --- */

static void text_stat(struct trace *tr, uint64_t addr)
{
	struct stat st;

	if (!fetch(tr, &st, addr, sizeof(st))) {
		text_address(tr, addr);
		return;
	}
	text(tr, "{st_mode=");
	text_mode(tr, st.st_mode);
	if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode))
		text(tr, ", st_rdev=makedev(%#x, %#x), ...}", major(st.st_rdev), minor(st.st_rdev));
	else
		text(tr, ", st_size=%lld, ...}", (long long)st.st_size);
}
STRUCTURE_OUT(stat, text_stat)

static void text_statx(struct trace *tr, uint64_t addr)
{
	struct statx st;

	if (!fetch(tr, &st, addr, sizeof(st))) {
		text_address(tr, addr);
		return;
	}
	text(tr, "{stx_mask=");
	text_flags(tr, &strace_names[FORMAT_statx_mask], st.stx_mask);
	text(tr, ", stx_attributes=");
	text_flags(tr, &strace_names[FORMAT_statx_attr], st.stx_attributes);
	text(tr, ", stx_mode=");
	text_mode(tr, st.stx_mode);
	text(tr, ", stx_size=%llu, ...}", (unsigned long long)st.stx_size);
}
STRUCTURE_OUT(statx, text_statx)

bool print_dirents(struct trace *tr, unsigned i)
{
	uint64_t at = 0, nr = 0;
	uint16_t reclen;

	if (!tr->leaving)
		return false;
	text_address(tr, tr->arg[i]);
	if (tr->result < 0)
		return true;
	for (; at < (uint64_t)tr->result && nr < MAX_DIRENTS; at += reclen, nr++)
		if (!fetch(tr, &reclen, tr->arg[i] + at + DIRENT_RECLEN, sizeof(reclen)) || !reclen)
			break;
	text(tr, " /* %llu entries */", (unsigned long long)nr);
	return true;
}

static void text_int(struct trace *tr, const void *element, void *arg)
{
	(void)arg;
	text(tr, "%d", *(const int *)element);
}

static void text_unsigned(struct trace *tr, const void *element, void *arg)
{
	(void)arg;
	text(tr, "%u", *(const uint32_t *)element);
}

static void text_long(struct trace *tr, const void *element, void *arg)
{
	(void)arg;
	text(tr, "%lld", *(const long long *)element);
}

bool print_fds_out(struct trace *tr, unsigned i)
{
	if (!tr->leaving)
		return false;
	if (!text_if_no_result(tr, tr->arg[i]))
		text_array(tr, tr->arg[i], 2, sizeof(int), text_int, NULL);
	return true;
}

bool print_int_out(struct trace *tr, unsigned i)
{
	if (!tr->leaving)
		return false;
	if (!text_if_no_result(tr, tr->arg[i]))
		text_array(tr, tr->arg[i], 1, sizeof(int), text_int, NULL);
	return true;
}

bool print_gids(struct trace *tr, unsigned i)
{
	text_array(tr, tr->arg[i], (uint32_t)tr->arg[i - 1], sizeof(uint32_t), text_unsigned, NULL);
	return true;
}

bool print_gids_out(struct trace *tr, unsigned i)
{
	if (!tr->leaving)
		return false;
	if (text_if_no_result(tr, tr->arg[i]))
		return true;
	text_array(tr, tr->arg[i], tr->arg[i - 1] ? (uint64_t)tr->result : 0, sizeof(uint32_t), text_unsigned, NULL);
	return true;
}

bool print_offset(struct trace *tr, unsigned i)
{
	text_array(tr, tr->arg[i], 1, 8, text_long, NULL);
	return true;
}

/* sendfile(2) stores the new offset. */
bool print_offset_moved(struct trace *tr, unsigned i)
{
	if (!tr->leaving) {
		print_offset(tr, i);
		return !tr->arg[i];
	}
	if (tr->result >= 0) {
		text(tr, " => ");
		print_offset(tr, i);
	}
	return true;
}

/* --- times --- */

static void text_timespec_value(struct trace *tr, const struct timespec *ts)
{
	text(tr, "{tv_sec=%lld, tv_nsec=%lld}", (long long)ts->tv_sec, (long long)ts->tv_nsec);
}

static void text_timeval_value(struct trace *tr, const struct timeval *tv)
{
	text(tr, "{tv_sec=%lld, tv_usec=%lld}", (long long)tv->tv_sec, (long long)tv->tv_usec);
}

void text_timespec(struct trace *tr, uint64_t addr)
{
	struct timespec ts;

	if (addr && fetch(tr, &ts, addr, sizeof(ts)))
		text_timespec_value(tr, &ts);
	else
		text_address(tr, addr);
}

void text_timeval(struct trace *tr, uint64_t addr)
{
	struct timeval tv;

	if (addr && fetch(tr, &tv, addr, sizeof(tv)))
		text_timeval_value(tr, &tv);
	else
		text_address(tr, addr);
}

static void text_itimerval(struct trace *tr, uint64_t addr)
{
	struct itimerval it;

	if (!addr || !fetch(tr, &it, addr, sizeof(it))) {
		text_address(tr, addr);
		return;
	}
	text(tr, "{it_interval=");
	text_timeval_value(tr, &it.it_interval);
	text(tr, ", it_value=");
	text_timeval_value(tr, &it.it_value);
	text(tr, "}");
}

static void text_rlimit_value(struct trace *tr, uint64_t value)
{
	if (value == UINT64_MAX)
		text(tr, "RLIM64_INFINITY");
	else if (value > 1024 && value % 1024 == 0)
		text(tr, "%llu*1024", (unsigned long long)value / 1024);
	else
		text(tr, "%llu", (unsigned long long)value);
}

static void text_limit(struct trace *tr, uint64_t addr)
{
	uint64_t limit[2];

	if (!addr || !fetch(tr, limit, addr, sizeof(limit))) {
		text_address(tr, addr);
		return;
	}
	text(tr, "{rlim_cur=");
	text_rlimit_value(tr, limit[0]);
	text(tr, ", rlim_max=");
	text_rlimit_value(tr, limit[1]);
	text(tr, "}");
}

static void text_rusage(struct trace *tr, uint64_t addr)
{
	struct rusage usage;

	if (!addr || !fetch(tr, &usage, addr, sizeof(usage))) {
		text_address(tr, addr);
		return;
	}
	text(tr, "{ru_utime=");
	text_timeval_value(tr, &usage.ru_utime);
	text(tr, ", ru_stime=");
	text_timeval_value(tr, &usage.ru_stime);
	text(tr, ", ...}");
}

STRUCTURE(timespec, text_timespec)
STRUCTURE_OUT(timespec_out, text_timespec)
STRUCTURE(timeval, text_timeval)
STRUCTURE_OUT(timeval_out, text_timeval)
STRUCTURE(itimerval, text_itimerval)
STRUCTURE_OUT(itimerval_out, text_itimerval)
STRUCTURE(limit, text_limit)
STRUCTURE_OUT(limit_out, text_limit)
STRUCTURE_OUT(rusage, text_rusage)

/* The time that a sleep had left. It is stored only if a signal ended the sleep. */
bool print_timespec_left(struct trace *tr, unsigned i)
{
	if (!tr->leaving)
		return false;
	if (tr->result == -EINTR || tr->result == -ERESTARTSYS || tr->result == -ERESTARTNOINTR)
		text_timespec(tr, tr->arg[i]);
	else
		text_address(tr, tr->arg[i]);
	return true;
}

static void text_file_time(struct trace *tr, const void *element, void *arg)
{
	const struct timespec *ts = element;

	(void)arg;
	if (ts->tv_nsec == UTIME_NOW)
		text(tr, "UTIME_NOW");
	else if (ts->tv_nsec == UTIME_OMIT)
		text(tr, "UTIME_OMIT");
	else
		text_timespec_value(tr, ts);
}

bool print_timespecs(struct trace *tr, unsigned i)
{
	text_array(tr, tr->arg[i], 2, sizeof(struct timespec), text_file_time, NULL);
	return true;
}

static void text_element_timeval(struct trace *tr, const void *element, void *arg)
{
	(void)arg;
	text_timeval_value(tr, element);
}

bool print_timevals(struct trace *tr, unsigned i)
{
	text_array(tr, tr->arg[i], 2, sizeof(struct timeval), text_element_timeval, NULL);
	return true;
}

static void text_time(struct trace *tr, uint64_t addr)
{
	text_array(tr, addr, 1, 8, text_long, NULL);
}
STRUCTURE_OUT(time_out, text_time)

static void text_timezone(struct trace *tr, uint64_t addr)
{
	int tz[2];

	if (addr && fetch(tr, tz, addr, sizeof(tz)))
		text(tr, "{tz_minuteswest=%d, tz_dsttime=%d}", tz[0], tz[1]);
	else
		text_address(tr, addr);
}
STRUCTURE_OUT(timezone_out, text_timezone)

/* --- memory --- */

static void text_residence(struct trace *tr, const void *element, void *arg)
{
	(void)arg;
	text(tr, "%d", *(const unsigned char *)element & 1);
}

bool print_mincore(struct trace *tr, unsigned i)
{
	if (tr->leaving && !text_if_no_result(tr, tr->arg[i]))
		text_array(tr, tr->arg[i], (tr->arg[1] + VELLUM_PAGE_SIZE - 1) / VELLUM_PAGE_SIZE, 1, text_residence,
			   NULL);
	return false;
}

/* --- processes --- */

/* wait4(2) with WNOHANG stores neither the status nor the usage if it returns 0. */
static bool nothing_waited_for(struct trace *tr, uint64_t addr)
{
	if (tr->result > 0)
		return text_if_no_result(tr, addr);
	text_address(tr, addr);
	return true;
}

bool print_rusage_wait(struct trace *tr, unsigned i)
{
	if (tr->leaving && !nothing_waited_for(tr, tr->arg[i]))
		text_rusage(tr, tr->arg[i]);
	return false;
}

bool print_wstatus(struct trace *tr, unsigned i)
{
	int status;

	if (!tr->leaving)
		return false;
	if (nothing_waited_for(tr, tr->arg[i]))
		return true;
	if (!fetch(tr, &status, tr->arg[i], sizeof(status))) {
		text_address(tr, tr->arg[i]);
	} else if (WIFEXITED(status)) {
		text(tr, "[{WIFEXITED(s) && WEXITSTATUS(s) == %d}]", WEXITSTATUS(status));
	} else if (WIFCONTINUED(status)) {
		text(tr, "[{WIFCONTINUED(s)}]");
	} else if (WIFSTOPPED(status)) {
		text(tr, "[{WIFSTOPPED(s) && WSTOPSIG(s) == ");
		text_signal(tr, WSTOPSIG(status));
		text(tr, "}]");
	} else {
		text(tr, "[{WIFSIGNALED(s) && WTERMSIG(s) == ");
		text_signal(tr, WTERMSIG(status));
		text(tr, WCOREDUMP(status) ? " && WCOREDUMP(s)}]" : "}]");
	}
	return true;
}

static void text_uname(struct trace *tr, uint64_t addr)
{
	struct utsname name;

	if (!fetch(tr, &name, addr, sizeof(name))) {
		text_address(tr, addr);
		return;
	}
	text(tr, "{sysname=");
	text_quoted(tr, name.sysname, strnlen(name.sysname, sizeof(name.sysname)), false);
	text(tr, ", nodename=");
	text_quoted(tr, name.nodename, strnlen(name.nodename, sizeof(name.nodename)), false);
	text(tr, ", ...}");
}
STRUCTURE_OUT(uname, text_uname)

bool print_cpus(struct trace *tr, unsigned i)
{
	uint64_t n = tr->result < CPU_BYTES ? (uint64_t)tr->result : CPU_BYTES;
	unsigned char mask[CPU_BYTES];
	const char *separator = "";

	if (!tr->leaving)
		return false;
	if (text_if_no_result(tr, tr->arg[i]))
		return true;
	if (!fetch(tr, mask, tr->arg[i], n)) {
		text_address(tr, tr->arg[i]);
		return true;
	}
	text(tr, "[");
	for (unsigned cpu = 0; cpu < n * 8; cpu++) {
		if (!(mask[cpu / 8] >> cpu % 8 & 1))
			continue;
		text(tr, "%s%u", separator, cpu);
		separator = " ";
	}
	text(tr, "]");
	return true;
}
