/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/process_calls.c - locks of fcntl(2), waitid(2), stops, priorities and scheduling, splice(2) and tee(2).
 * It runs in a directory in which it may make files. Its output is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/membarrier.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/timex.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "show.h"

/* Fork a child that runs @run, and wait for it. */
static void in_child(void (*run)(int), int arg)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		run(arg);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

/* --- locks --- */

static pid_t parent;

static long lock(int fd, int cmd, short type, off_t start, off_t len)
{
	struct flock fl = { .l_type = type, .l_start = start, .l_len = len };

	return fcntl(fd, cmd, &fl);
}

static void show_owner(int fd, int cmd, short type)
{
	struct flock fl = { .l_type = type };

	if (fcntl(fd, cmd, &fl))
		printf("  owner: %s\n", strerrorname_np(errno));
	else
		printf("  type %d from %ld length %ld of %s\n", fl.l_type, (long)fl.l_start, (long)fl.l_len,
		       fl.l_type == F_UNLCK ? "no process" : fl.l_pid == parent ? "the parent" : fl.l_pid == -1 ? "a description" :
		       "another");
}

static void try_locks(int fd)
{
	SHOW(lock(fd, F_SETLK, F_WRLCK, 0, 10));
	SHOW(lock(fd, F_SETLK, F_RDLCK, 0, 10));
	SHOW(lock(fd, F_SETLK, F_WRLCK, 10, 10));
	SHOW(lock(fd, F_SETLK, F_UNLCK, 0, 0));
	SHOW(lock(fd, F_OFD_SETLK, F_WRLCK, 0, 10));
	show_owner(fd, F_GETLK, F_WRLCK);
	show_owner(fd, F_GETLK, F_RDLCK);
	show_owner(fd, F_OFD_GETLK, F_WRLCK);
}

static void hold(int fd)
{
	SHOW(lock(fd, F_SETLK, F_WRLCK, 100, 10));
}

static void locks(void)
{
	int fd = open("locks", O_RDWR | O_CREAT | O_TRUNC, 0600), other, only;

	parent = getpid();
	SHOW(lock(fd, F_SETLK, F_WRLCK, 0, 10));
	SHOW(lock(fd, F_SETLK, F_WRLCK, 5, 10));	/* its own lock does not conflict */
	in_child(try_locks, fd);			/* on the same description */
	in_child(hold, fd);				/* ends, and leaves no lock */
	SHOW(lock(fd, F_SETLK, F_WRLCK, 100, 10));
	SHOW(lock(fd, F_SETLK, F_RDLCK, 0, 5));
	in_child(try_locks, fd);
	show_owner(fd, F_GETLK, F_WRLCK);
	other = open("locks", O_RDONLY);
	close(other);					/* drops all of the process's locks */
	in_child(try_locks, fd);
	SHOW(lock(fd, F_SETLK, F_WRLCK, 0, 0));
	other = dup(fd);
	close(other);
	in_child(try_locks, fd);
	SHOW(lock(fd, F_SETLK, 77, 0, 0));
	SHOW(lock(fd, F_GETLK, F_UNLCK, 0, 0));
	SHOW(lock(fd, F_SETLK, F_WRLCK, -1, 0));
	SHOW(lock(fd, F_OFD_SETLK, F_WRLCK, 200, 10));
	in_child(try_locks, fd);
	only = open("locks", O_RDONLY);
	SHOW(lock(only, F_SETLK, F_WRLCK, 0, 1));
	SHOW(lock(only, F_SETLK, F_RDLCK, 0, 1));
	only = open("locks", O_WRONLY);
	SHOW(lock(only, F_SETLK, F_RDLCK, 0, 1));
	SHOW(lock(only, F_SETLK, F_WRLCK, 0, 1));
	SHOW(lock(1000, F_SETLK, F_WRLCK, 0, 1));
}

/* --- waitid --- */

static void wait_one(idtype_t type, id_t id, int options)
{
	siginfo_t info = { .si_signo = 77 };
	int result = waitid(type, id, &info, options);

	if (result)
		printf("waitid %d %#x: %s\n", (int)type, options, strerrorname_np(errno));
	else
		printf("waitid %d %#x: signal %d code %d status %d%s\n", (int)type, options, info.si_signo,
		       info.si_pid ? info.si_code : 0, info.si_pid ? info.si_status : 0, info.si_pid ? "" : ", none");
}

static void waits(void)
{
	siginfo_t info;
	int status;
	pid_t pid;

	wait_one(P_ALL, 0, WEXITED);
	fflush(stdout);
	pid = fork();
	if (!pid)
		for (;;)
			pause();
	wait_one(P_PID, (id_t)pid, WEXITED | WNOHANG);
	kill(pid, SIGSTOP);
	wait_one(P_PID, (id_t)pid, WSTOPPED | WNOWAIT);
	wait_one(P_ALL, 0, WSTOPPED | WEXITED);
	wait_one(P_ALL, 0, WSTOPPED | WEXITED | WNOHANG);
	kill(pid, SIGCONT);
	wait_one(P_PGID, (id_t)getpgrp(), WCONTINUED);
	wait_one(P_PGID, 0, WCONTINUED | WNOHANG);
	kill(pid, SIGSTOP);
	SHOW(waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status));
	kill(pid, SIGCONT);
	SHOW(waitpid(pid, &status, WCONTINUED) == pid && WIFCONTINUED(status));
	kill(pid, SIGTERM);
	wait_one(P_PID, (id_t)pid, WEXITED | WNOWAIT);
	wait_one(P_PID, (id_t)pid, WEXITED);
	wait_one(P_PID, (id_t)pid, WEXITED);
	pid = fork();
	if (!pid)
		_exit(300);
	SHOW(waitid(P_ALL, 0, NULL, WEXITED));
	wait_one(P_ALL, 0, 0);
	wait_one(P_ALL, 0, WNOHANG);
	wait_one(P_ALL, 0, WEXITED | 0x100);
	wait_one(9, 0, WEXITED);
	wait_one(P_PID, 0, WEXITED);
	SHOW(syscall(SYS_waitid, P_PID, -1, &info, WEXITED, NULL));
}

/* --- scheduling --- */

#define STOPS 3000	/* many, as the window is narrow */

static void answer_forever(int in, int out)
{
	char c;

	while (read(in, &c, 1) == 1 && write(out, &c, 1) == 1)
		;
	_exit(0);
}

/* A child that is stopped and continued at once runs, and answers. */
static void stops(void)
{
	int to[2], from[2], nr = 0;
	struct pollfd answer;
	pid_t pid;
	char c = 0;

	SHOW(pipe(to) || pipe(from));
	pid = fork();
	if (pid == 0)
		answer_forever(to[0], from[1]);
	answer = (struct pollfd){ .fd = from[0], .events = POLLIN };
	while (nr < STOPS && !kill(pid, SIGSTOP) && !kill(pid, SIGCONT) && write(to[1], &c, 1) == 1 &&
	       poll(&answer, 1, 10000) == 1 && read(from[0], &c, 1) == 1)
		nr++;
	printf("stopped and continued: %d\n", nr);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void scheduling(void)
{
	struct __user_cap_header_struct head = { .version = 77 };
	struct __user_cap_data_struct caps[2];
	struct sched_param param = { .sched_priority = 9 };
	unsigned cpu = 99, node = 99;
	uint64_t mask[16] = { 0 };
	struct timespec slice;
	struct timex timex = { .modes = 0 };

	SHOW(syscall(SYS_getpriority, PRIO_PROCESS, 0));
	SHOW(setpriority(PRIO_PROCESS, 0, 4));
	SHOW(syscall(SYS_getpriority, PRIO_PROCESS, 0));
	SHOW(syscall(SYS_getpriority, PRIO_PROCESS, getpid()));
	SHOW(syscall(SYS_getpriority, 3, 0));
	SHOW(setpriority(PRIO_PROCESS, 1 << 29, 4));
	SHOW(setpriority(PRIO_PROCESS, 0, 100));
	SHOW(syscall(SYS_getpriority, PRIO_PROCESS, 0));
	SHOW(sched_getscheduler(0));
	SHOW(sched_getscheduler(-1));
	SHOW(sched_getparam(0, &param));
	SHOW(param.sched_priority);
	SHOW(sched_setscheduler(0, SCHED_OTHER, &param));
	param.sched_priority = 1;
	SHOW(sched_setscheduler(0, SCHED_OTHER, &param));
	SHOW(sched_setscheduler(0, 99, &param));
	SHOW(sched_get_priority_max(SCHED_FIFO));
	SHOW(sched_get_priority_min(99));
	SHOW(syscall(SYS_sched_setaffinity, 0, sizeof(mask), mask));
	SHOW(syscall(SYS_sched_getaffinity, 0, 3, mask));
	SHOW(sched_rr_get_interval(0, &slice));
	SHOW(clock_settime(CLOCK_MONOTONIC, &slice));
	SHOW(syscall(SYS_clock_settime, CLOCK_REALTIME, 1));
	SHOW(syscall(SYS_clock_settime, 99, 1));
	SHOW(syscall(SYS_settimeofday, 1, NULL));
	SHOW(adjtimex(&timex) >= 0 && timex.tick > 0);
	SHOW(syscall(SYS_adjtimex, 1));
	SHOW(syscall(SYS_clock_adjtime, 99, &timex));
	SHOW(sched_rr_get_interval(-1, &slice));
	SHOW(sched_rr_get_interval(1 << 30, &slice));
	SHOW(syscall(SYS_getcpu, &cpu, &node, NULL) == 0 && cpu < 1024 && node < 1024);
	SHOW(syscall(SYS_getcpu, NULL, NULL, NULL));
	SHOW(personality(0xffffffff) & ~ADDR_NO_RANDOMIZE);
	SHOW(personality(ADDR_NO_RANDOMIZE) & ~ADDR_NO_RANDOMIZE);
	SHOW(personality(0xffffffff) == ADDR_NO_RANDOMIZE);
	SHOW(syscall(SYS_capget, &head, NULL));
	SHOW(head.version);
	SHOW(syscall(SYS_capget, &head, caps));
	SHOW(syscall(SYS_capset, &head, caps));
	head.pid = -1;
	SHOW(syscall(SYS_capget, &head, caps));
}

/* --- splice, tee --- */

static void show_text(const char *what, const char *text, ssize_t n)
{
	printf("%s: %.*s\n", what, n > 0 ? (int)n : 0, text);
}

static void splices(void)
{
	int p[2], q[2], fd = open("spliced", O_RDWR | O_CREAT | O_TRUNC, 0600), append = open("spliced", O_WRONLY | O_APPEND);
	loff_t at = 3, zero = 0, negative = -1;
	char text[100], *map;
	struct iovec iov = { text, 5 };

	if (pipe(p) || pipe(q))
		return;
	SHOW(write(p[1], "hello world", 11));
	SHOW(splice(p[0], NULL, fd, &at, 5, 0));
	SHOW(at);
	show_text("file", text, pread(fd, text, sizeof(text), 3));
	SHOW(tee(p[0], q[1], 4, 0));
	show_text("second pipe", text, read(q[0], text, sizeof(text)));
	SHOW(splice(p[0], NULL, q[1], NULL, 3, 0));
	show_text("second pipe", text, read(q[0], text, sizeof(text)));
	show_text("first pipe", text, read(p[0], text, sizeof(text)));
	map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	memcpy(map, "ABC", 3);				/* a store through a mapping */
	SHOW(splice(fd, &zero, p[1], NULL, 100, 0));
	SHOW(zero);
	show_text("from the mapped file", text, read(p[0], text, sizeof(text)));
	SHOW(write(p[1], "xyz", 3));
	SHOW(lseek(fd, 0, SEEK_SET));
	SHOW(splice(p[0], NULL, fd, NULL, 100, 0));
	show_text("in the mapping", map, 8);
	SHOW(lseek(fd, 0, SEEK_CUR));
	SHOW(splice(p[0], NULL, fd, NULL, 100, SPLICE_F_NONBLOCK));
	SHOW(splice(fd, NULL, fd, NULL, 1, 0));
	SHOW(splice(p[0], &zero, fd, NULL, 1, 0));
	SHOW(splice(fd, &negative, p[1], NULL, 1, 0));
	SHOW(splice(p[1], NULL, fd, NULL, 1, 0));
	SHOW(splice(p[0], NULL, append, NULL, 1, 0));
	SHOW(splice(fd, NULL, p[1], NULL, 1, 0x100));
	SHOW(splice(1000, NULL, p[1], NULL, 1, 0));
	SHOW(splice(1000, NULL, p[1], NULL, 0, 0));
	SHOW(tee(fd, p[1], 1, 0));
	SHOW(tee(p[0], q[1], 1, SPLICE_F_NONBLOCK));
	SHOW(preadv2(fd, &iov, 1, 0, 0));
	SHOW(preadv2(fd, &iov, 1, -1, 0));
	SHOW(preadv2(fd, &iov, 1, -2, 0));
	SHOW(preadv2(fd, &iov, 1, 0, RWF_HIPRI));
	SHOW(preadv2(fd, &iov, 1, 0, 1 << 30));
	SHOW(pwritev2(fd, &iov, 1, 0, RWF_SYNC | RWF_DSYNC));
	SHOW(pwritev2(fd, &iov, 1, -1, 0));
}

/* --- checks that come before the path is looked at --- */

static void checks(void)
{
	struct timespec omit[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT } };
	struct itimerval timer = { .it_value = { 100, 0 } };
	struct rusage usage;
	struct statx stx;
	struct stat st;

	SHOW(syscall(SYS_newfstatat, AT_FDCWD, "missing", &st, 0x10));
	SHOW(syscall(SYS_statx, AT_FDCWD, "missing", 0x10, 0, &stx));
	SHOW(syscall(SYS_statx, AT_FDCWD, "missing", AT_STATX_SYNC_TYPE, 0, &stx));
	SHOW(syscall(SYS_statx, AT_FDCWD, "missing", 0, 1u << 31, &stx));
	SHOW(access("missing", 8));
	SHOW(syscall(SYS_faccessat, AT_FDCWD, "missing", 9));
	SHOW(syscall(SYS_faccessat2, AT_FDCWD, "missing", 0, 0x10));
	SHOW(linkat(AT_FDCWD, "missing", AT_FDCWD, "other", 0x10));
	SHOW(unlinkat(AT_FDCWD, "missing", 0x10));
	SHOW(syscall(SYS_renameat2, 1000, "missing", AT_FDCWD, "other", 0x10));
	SHOW(syscall(SYS_renameat2, AT_FDCWD, "missing", AT_FDCWD, "other", RENAME_EXCHANGE | RENAME_NOREPLACE));
	SHOW(fchownat(AT_FDCWD, "missing", 0, 0, 0x10));
	SHOW(utimensat(AT_FDCWD, "missing", NULL, 0x10));
	SHOW(utimensat(AT_FDCWD, "missing", omit, 0x10));
	SHOW(syscall(SYS_utimensat, 1000, NULL, NULL, AT_SYMLINK_NOFOLLOW));
	SHOW(setxattr("missing", "user.a", "b", 1, 0x10));
	SHOW(fsetxattr(1000, "user.a", "b", 1, 0x10));
	SHOW(flock(1000, 0));
	SHOW(flock(1000, LOCK_SH));
	SHOW(syscall(SYS_getrusage, 99, &usage));
	SHOW(syscall(SYS_setitimer, ITIMER_REAL, &timer, NULL));
	SHOW(syscall(SYS_setitimer, ITIMER_REAL, NULL, &timer));
	SHOW(timer.it_value.tv_sec > 90 && timer.it_value.tv_sec <= 100);
	SHOW(alarm(0));
}

/* --- the time that is left --- */

static void time_left(void)
{
	struct timespec half = { 0, 500000000 }, none = { 0, 1000000 }, poll_half = { 0, 500000000 };
	struct timeval tv = { 0, 500000 };
	struct pollfd ready;
	fd_set set;
	int p[2];

	if (pipe(p) || write(p[1], "x", 1) != 1)
		return;
	FD_ZERO(&set);
	FD_SET(p[0], &set);
	SHOW(syscall(SYS_select, p[0] + 1, &set, NULL, NULL, &tv));
	SHOW(tv.tv_sec == 0 && tv.tv_usec > 100000 && tv.tv_usec < 500000);
	SHOW(syscall(SYS_pselect6, p[0] + 1, &set, NULL, NULL, &half, NULL));
	SHOW(half.tv_sec == 0 && half.tv_nsec > 100000000 && half.tv_nsec < 500000000);
	ready = (struct pollfd){ .fd = p[0], .events = POLLIN };
	SHOW(syscall(SYS_ppoll, &ready, 1, &poll_half, NULL, 8));
	SHOW(poll_half.tv_nsec > 100000000 && poll_half.tv_nsec < 500000000);
	SHOW(syscall(SYS_ppoll, NULL, 0, &none, NULL, 8));
	SHOW(none.tv_sec + none.tv_nsec);
}

static long barrier(int cmd, unsigned flags)
{
	return syscall(SYS_membarrier, cmd, flags, 0);
}

static void barriers(void)
{
	int pid;

	for (int cmd = 1; cmd <= 1 << 6; cmd <<= 1) {
		SHOW(barrier(cmd, 0));
		SHOW(barrier(1 << 9, 0));	/* GET_REGISTRATIONS */
		SHOW(barrier(cmd, 1));
	}
	SHOW(barrier(3, 0));
	SHOW(barrier(1 << 10, 0));
	SHOW(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0));
	SHOW(barrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0));
	fflush(stdout);
	pid = fork();
	if (!pid) {
		SHOW(barrier(1 << 9, 0));
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

int main(void)
{
	time_left();
	checks();
	locks();
	waits();
	stops();
	scheduling();
	splices();
	barriers();
	return 0;
}
