/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/pidfds.c - pidfd_open(2), CLONE_PIDFD, pidfd_send_signal(2), pidfd_getfd(2), waitid(2) with P_PIDFD,
 * poll(2) and epoll(7) over them. Its output is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"

#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#define SEND_THREAD  1u		/* PIDFD_SIGNAL_THREAD and so on, which older headers do not have */
#define SEND_PROCESS 2u
#define SEND_GROUP   4u
#define SELF_THREAD  (-10000)
#define SELF_PROCESS (-10001)

static void *volatile bad = (void *)1;	/* volatile: the compiler would find the error */

static int pidfd_of(pid_t pid, unsigned flags)
{
	return (int)syscall(SYS_pidfd_open, pid, flags);
}

static long send(int fd, int signo, siginfo_t *info, unsigned flags)
{
	return syscall(SYS_pidfd_send_signal, fd, signo, info, flags);
}

static long get(int fd, int target, unsigned flags)
{
	return syscall(SYS_pidfd_getfd, fd, target, flags);
}

static void show_poll(const char *what, int fd, int timeout)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDNORM | POLLRDHUP };
	int n = poll(&p, 1, timeout);

	printf("%s: poll %d events %x\n", what, n, p.revents);
}

static void show_epoll(const char *what, int ep, int timeout)
{
	struct epoll_event ev[4];
	int n = epoll_wait(ep, ev, 4, timeout);

	printf("%s: epoll %d", what, n);
	for (int i = 0; i < n; i++)
		printf(" %x", ev[i].events);
	printf("\n");
}

static void show_wait(int fd, int options)
{
	siginfo_t info = { .si_signo = 0 };
	long n = waitid(P_PIDFD, (id_t)fd, &info, options);

	if (n < 0)
		printf("waitid: %s\n", strerrorname_np(errno));
	else
		printf("waitid: signal %d code %d status %d\n", info.si_signo, info.si_code, info.si_status);
}

static pid_t pausing_child(void)
{
	pid_t child = fork();

	while (!child)
		pause();
	return child;
}

/* --- arguments --- */

static int ids[2];

static void *thread(void *arg)
{
	int tid = gettid();

	if (write(ids[1], &tid, sizeof(tid)) != sizeof(tid))
		exit(1);
	while (!*(volatile int *)arg)
		usleep(1000);
	return NULL;
}

static void wrong_opens(void)
{
	int stop = 0, tid = 0;
	pthread_t other;

	if (pipe(ids) || pthread_create(&other, NULL, thread, &stop) || read(ids[0], &tid, sizeof(tid)) != sizeof(tid))
		exit(1);
	SHOW(pidfd_of(tid, 0));
	stop = 1;
	pthread_join(other, NULL);
	close(ids[0]);
	close(ids[1]);
	SHOW(pidfd_of(-1, 0));
	SHOW(pidfd_of(0, 0));
	SHOW(pidfd_of(4194304, 0));
	SHOW(pidfd_of(getpid(), 1));
	SHOW(pidfd_of(getpid(), O_CLOEXEC));
	SHOW(pidfd_of(-1, O_CLOEXEC));
}

static void file_calls(int fd)
{
	char buf[16];
	int ends[2];

	SHOW(fcntl(fd, F_GETFD));
	SHOW(fcntl(fd, F_GETFL));
	SHOW(read(fd, buf, 1));
	SHOW(read(fd, buf, 0));
	SHOW(read(fd, bad, 1));
	SHOW(pread(fd, buf, 1, 0));
	SHOW(write(fd, buf, 1));
	SHOW(pwrite(fd, buf, 1, 0));
	if (pipe(ends))
		exit(1);
	SHOW(splice(fd, NULL, ends[1], NULL, 1, 0));
	SHOW(tee(fd, ends[1], 1, 0));
	close(ends[0]);
	close(ends[1]);
}

/* The directory of a process in /proc serves as well. */
static void directories(void)
{
	int own = open("/proc/self", O_RDONLY | O_DIRECTORY), sub = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
	int top = open("/proc", O_RDONLY | O_DIRECTORY);

	SHOW(send(own, 0, NULL, 0));
	SHOW(send(own, 65, NULL, 0));
	SHOW(send(sub, 0, NULL, 0));
	SHOW(send(top, 0, NULL, 0));
	close(own);
	close(sub);
	close(top);
}

static void wrong_signals(int fd)
{
	siginfo_t info = { .si_signo = SIGUSR1, .si_code = SI_QUEUE };

	directories();
	SHOW(send(fd, 0, NULL, 0));
	SHOW(send(fd, 0, NULL, SEND_THREAD));
	SHOW(send(fd, 0, NULL, SEND_PROCESS));
	SHOW(send(fd, 0, NULL, SEND_GROUP));
	SHOW(send(fd, 0, NULL, 3));
	SHOW(send(fd, 0, NULL, 8));
	SHOW(send(fd, 65, NULL, 0));
	SHOW(send(fd, -1, NULL, 0));
	SHOW(send(0, 0, NULL, 0));
	SHOW(send(-1, 0, NULL, 0));
	SHOW(send(-1, 0, NULL, 8));
	SHOW(send(-1, 0, bad, 0));
	SHOW(send(fd, 0, bad, 0));
	SHOW(send(fd, SIGUSR2, &info, 0));
	info.si_code = SI_USER;
	SHOW(send(fd, SIGUSR1, &info, 0));
	info.si_code = SI_TKILL;
	SHOW(send(fd, SIGUSR1, &info, 0));
	info.si_signo = 65;
	SHOW(send(fd, 65, &info, 0));
	info.si_code = SI_QUEUE;
	SHOW(send(fd, 65, &info, 0));
}

static void wrong_waits(int fd)
{
	siginfo_t info;

	SHOW(waitid(P_PIDFD, 0, &info, WEXITED));
	SHOW(waitid(P_PIDFD, (id_t)-1, &info, WEXITED));
	SHOW(waitid(P_PIDFD, 99, &info, WEXITED));
	SHOW(waitid(P_PIDFD, (id_t)fd, &info, 0));
	SHOW(waitid(P_PIDFD, (id_t)fd, &info, WEXITED | 0x100));
}

/* --- the life of a child --- */

static void life(void)
{
	pid_t child = pausing_child();
	int fd = OPEN(pidfd_of(child, 0)), nonblock = OPEN(pidfd_of(child, O_NONBLOCK)), ep = epoll_create1(0), late;

	file_calls(fd);
	wrong_signals(fd);
	wrong_waits(fd);
	SHOW(fcntl(nonblock, F_GETFL));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = EPOLLIN | EPOLLOUT | EPOLLRDNORM }));
	show_poll("running", fd, 0);
	show_epoll("running", ep, 0);
	show_wait(fd, WEXITED | WNOHANG);
	show_wait(nonblock, WEXITED);
	SHOW(send(fd, SIGSTOP, NULL, 0));
	show_wait(fd, WSTOPPED);
	SHOW(send(fd, SIGCONT, NULL, 0));
	show_wait(fd, WCONTINUED);
	SHOW(send(fd, SIGTERM, NULL, SEND_THREAD));
	show_poll("zombie", fd, -1);
	show_epoll("zombie", ep, -1);
	show_poll("zombie, another one", nonblock, 0);
	late = OPEN(pidfd_of(child, 0));
	show_poll("zombie, opened late", late, 0);
	SHOW(send(fd, 0, NULL, 0));
	SHOW(send(fd, SIGKILL, NULL, 0));
	SHOW(get(fd, 0, 0));
	show_wait(fd, WEXITED | WNOWAIT);
	show_wait(nonblock, WEXITED);
	show_poll("reaped", fd, 0);
	show_poll("reaped, opened late", late, 0);
	show_epoll("reaped", ep, 0);
	SHOW(send(fd, 0, NULL, 0));
	SHOW(send(fd, 65, NULL, 0));
	SHOW(get(fd, 0, 0));
	SHOW(get(fd, 0, 1));
	show_wait(fd, WEXITED);
	show_wait(nonblock, WEXITED);
	SHOW(pidfd_of(child, 0));
	close(fd);
	close(nonblock);
	close(late);
	close(ep);
}

/* A parent that ignores SIGCHLD reaps no child. */
static void unwaited(void)
{
	pid_t child;
	int fd;

	signal(SIGCHLD, SIG_IGN);
	child = pausing_child();
	fd = pidfd_of(child, 0);
	SHOW(send(fd, SIGKILL, NULL, 0));
	show_wait(fd, WEXITED);
	show_poll("reaped at its end", fd, -1);
	signal(SIGCHLD, SIG_DFL);
	close(fd);
}

/* Of a process that is not a child, inherited by a child that calls execve(2). */
static void not_a_child(void)
{
	int fd = pidfd_of(getpid(), 0), status;
	char text[16];
	pid_t child;

	show_poll("itself", fd, 0);
	show_wait(fd, WEXITED);
	fcntl(fd, F_SETFD, 0);
	snprintf(text, sizeof(text), "%d", fd);
	fflush(stdout);
	child = fork();
	if (!child) {
		execl("/proc/self/exe", "pidfds", text, NULL);
		_exit(1);
	}
	waitpid(child, &status, 0);
	printf("child: %x\n", status);
	close(fd);
}

/* --- signals with information --- */

static volatile siginfo_t got;

static void on_signal(int signo, siginfo_t *info, void *context)
{
	(void)signo;
	(void)context;
	memcpy((void *)(uintptr_t)&got, info, sizeof(got));
}

static void signals(void)
{
	struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };
	siginfo_t info = { .si_signo = SIGUSR1, .si_code = SI_QUEUE, .si_value.sival_int = 5 };
	int fd = pidfd_of(getpid(), 0);
	unsigned flags[] = { 0, SEND_THREAD, SEND_PROCESS, SEND_GROUP };

	setpgid(0, 0);		/* fails for the leader of a session, whose group it is already */
	sigaction(SIGUSR1, &act, NULL);
	for (int i = 0; i < 4; i++) {
		SHOW(send(fd, SIGUSR1, NULL, flags[i]));
		printf("code %d own PID %d\n", got.si_code, got.si_pid == getpid());
		SHOW(send(fd, SIGUSR1, &info, flags[i]));
		printf("code %d value %d\n", got.si_code, got.si_value.sival_int);
	}
	SHOW(send(SELF_THREAD, SIGUSR1, NULL, 0));
	printf("code %d\n", got.si_code);
	SHOW(send(SELF_PROCESS, SIGUSR1, NULL, 0));
	printf("code %d\n", got.si_code);
	info.si_code = SI_USER;
	SHOW(send(fd, SIGUSR1, &info, 0));
	SHOW(send(SELF_PROCESS, SIGUSR1, &info, 0));
	SHOW(send(-10002, SIGUSR1, NULL, 0));
	close(fd);
}

/* --- descriptors of another process --- */

static void descriptors(void)
{
	int ready[2], ends[2], fd, copy;
	pid_t child;
	char buf[8] = "";

	if (pipe(ready))
		exit(1);
	child = fork();
	if (!child) {
		if (pipe(ends) || dup2(ends[1], 50) != 50 || write(ready[1], "x", 1) != 1)
			_exit(1);
		while (read(ends[0], buf, 1) != 1)
			;
		_exit(buf[0]);
	}
	fd = pidfd_of(child, 0);
	if (read(ready[0], buf, 1) != 1)
		exit(1);
	SHOW(get(fd, 50, 1));
	SHOW(get(0, 50, 0));
	SHOW(get(-1, 50, 1));
	SHOW(get(fd, 51, 0));
	SHOW(get(fd, -1, 0));
	SHOW(get(fd, 100000, 0));
	copy = OPEN((int)get(fd, 50, 0));
	SHOW(fcntl(copy, F_GETFD));
	SHOW(write(copy, "\7", 1));
	show_wait(fd, WEXITED);
	close(copy);
	close(fd);
	close(ready[0]);
	close(ready[1]);
}

/* --- CLONE_PIDFD --- */

static long clone3_with(uint64_t flags, int *fd, int *tid)
{
	struct clone_args args = { .flags = flags, .pidfd = (uintptr_t)fd, .parent_tid = (uintptr_t)tid,
				   .exit_signal = SIGCHLD };

	return syscall(SYS_clone3, &args, sizeof(args));
}

/* The child does not have the descriptor. */
static void exit_without(int fd)
{
	_exit(fcntl(fd, F_GETFD) < 0 && errno == EBADF ? 3 : 4);
}

static void clones(void)
{
	int fd = -1, tid = -1, lowest = dup(0);
	long pid;

	close(lowest);
	SHOW(syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, 0l, &fd, 0l, 0l));
	SHOW(syscall(SYS_clone, CLONE_PIDFD | CLONE_DETACHED | SIGCHLD, 0l, &fd, 0l, 0l));
	SHOW(syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0l, bad, 0l, 0l));
	SHOW(clone3_with(CLONE_PIDFD, bad, NULL));
	SHOW(clone3_with(CLONE_PIDFD | CLONE_PARENT_SETTID, &fd, &fd));
	SHOW(wait(NULL));
	printf("fd %d\n", fd);
	pid = syscall(SYS_clone, CLONE_PIDFD | SIGCHLD, 0l, &fd, 0l, 0l);
	if (!pid)
		exit_without(lowest);
	printf("lowest %d\n", fd == lowest);
	SHOW(fcntl(fd, F_GETFD));
	show_wait(fd, WEXITED);
	close(fd);
	pid = clone3_with(CLONE_PIDFD | CLONE_PARENT_SETTID, &fd, &tid);
	if (!pid)
		exit_without(lowest);
	printf("lowest %d, TID %d\n", fd == lowest, tid == pid);
	show_wait(fd, WEXITED);
	close(fd);
}

/* execve(2) makes the exit signal SIGCHLD. */
static void exit_signals(void)
{
	struct sigaction act = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO };

	sigaction(SIGUSR2, &act, NULL);
	sigaction(SIGCHLD, &act, NULL);
	for (int exec = 0; exec < 2; exec++) {
		int fd = -1;
		long pid = syscall(SYS_clone, CLONE_PIDFD | SIGUSR2, 0l, &fd, 0l, 0l);

		if (!pid) {
			if (exec)
				execl("/bin/true", "true", NULL);
			_exit(0);
		}
		show_poll("child", fd, -1);
		show_wait(fd, WEXITED);
		show_wait(fd, WEXITED | __WALL);
		printf("signal %d code %d\n", got.si_signo, got.si_code);
		close(fd);
	}
	signal(SIGUSR2, SIG_DFL);
	signal(SIGCHLD, SIG_DFL);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1) {
		show_poll("parent", atoi(argv[1]), 0);
		show_wait(atoi(argv[1]), WEXITED);
		SHOW(send(atoi(argv[1]), 0, NULL, 0));
		return 0;
	}
	wrong_opens();
	life();
	unwaited();
	not_a_child();
	signals();
	descriptors();
	clones();
	exit_signals();
	return 0;
}
