/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/sigio.c - signals that tell that a file is ready: O_ASYNC, F_SETOWN, F_SETSIG, FIOASYNC. The output is the
 * same on the host's kernel.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"

static sigset_t waited;

/* Wait for a signal of a file, and print what it says. */
static void wait_for_signal(int fd)
{
	struct timespec limit = { 10, 0 };
	siginfo_t info;
	int signo = sigtimedwait(&waited, &info, &limit);

	if (signo < 0)
		printf("no signal\n");
	else
		printf("signal %d code %d %s band %#lx %s\n", signo, info.si_code, info.si_code == SI_KERNEL ? "" : "of a file",
		       info.si_code == SI_KERNEL ? 0 : (long)info.si_band,
		       info.si_code != SI_KERNEL && info.si_fd == fd ? "its descriptor" : "");
}

static void none_pending(void)
{
	struct timespec limit = { 0, 50000000 };
	siginfo_t info;

	SHOW(sigtimedwait(&waited, &info, &limit));
}

static void arguments(int fd)
{
	struct f_owner_ex owner = { 99, 1 };
	int on = 1;

	SHOW(fcntl(fd, F_GETOWN));
	SHOW(fcntl(fd, F_GETSIG));
	SHOW(fcntl(fd, F_SETOWN, 1 << 29));
	SHOW(fcntl(fd, F_SETOWN, -(1 << 29)));
	SHOW(fcntl(fd, F_SETSIG, 65));
	SHOW(fcntl(fd, F_SETSIG, -1));
	SHOW(syscall(SYS_fcntl, fd, F_SETOWN_EX, &owner));
	SHOW(syscall(SYS_fcntl, fd, F_SETOWN_EX, 1l));
	SHOW(syscall(SYS_fcntl, fd, F_GETOWN_EX, 1l));
	SHOW(syscall(SYS_ioctl, fd, FIOASYNC, 1l));
	SHOW(ioctl(1000, FIOASYNC, &on));
	SHOW(fcntl(fd, F_SETOWN, getpid()));
	SHOW(fcntl(fd, F_GETOWN) == getpid());
	SHOW(syscall(SYS_fcntl, fd, F_GETOWN_EX, &owner) == 0 && owner.type == F_OWNER_PID && owner.pid == getpid());
	SHOW(fcntl(fd, F_SETOWN, -getpgid(0)));
	SHOW(syscall(SYS_fcntl, fd, F_GETOWN_EX, &owner) == 0 && owner.type == F_OWNER_PGRP && owner.pid == getpgid(0));
	SHOW(fcntl(fd, F_SETOWN, 0));
	SHOW(fcntl(fd, F_GETOWN));
}

static void regular_file(void)
{
	int fd = open("file", O_RDWR | O_CREAT, 0600), on = 1;

	SHOW(ioctl(fd, FIOASYNC, &on));
	SHOW(fcntl(fd, F_SETFL, O_ASYNC));
	SHOW(fcntl(fd, F_GETFL) & O_ASYNC);
	close(fd);
}

static void ready(const int p[2], int signo)
{
	char byte = 'x';

	SHOW(fcntl(p[0], F_SETOWN, getpid()));
	SHOW(fcntl(p[0], F_SETSIG, signo));
	SHOW(fcntl(p[0], F_GETSIG) == signo);
	SHOW(fcntl(p[0], F_SETFL, O_ASYNC | O_NONBLOCK));
	SHOW(fcntl(p[0], F_GETFL) & (O_ASYNC | O_NONBLOCK));
	SHOW(write(p[1], &byte, 1));
	wait_for_signal(p[0]);
	SHOW(read(p[0], &byte, 1));
	SHOW(fcntl(p[0], F_SETFL, O_NONBLOCK));
	SHOW(write(p[1], &byte, 1));
	none_pending();
	SHOW(read(p[0], &byte, 1));
}

/* The child writes; the signal goes to its parent, to its group, or to a thread. */
static void from_child(const int s[2], int type)
{
	struct f_owner_ex owner = { type, type == F_OWNER_PGRP ? getpgid(0) : getpid() };
	int on = 1, status;

	SHOW(syscall(SYS_fcntl, s[0], F_SETOWN_EX, &owner));
	SHOW(fcntl(s[0], F_SETSIG, 0));
	SHOW(ioctl(s[0], FIOASYNC, &on));
	fflush(stdout);
	if (!fork()) {
		(void)!write(s[1], "y", 1);
		_exit(0);
	}
	wait_for_signal(s[0]);
	wait(&status);
	on = 0;
	SHOW(ioctl(s[0], FIOASYNC, &on));
	SHOW(read(s[0], &status, 4));
}

int main(void)
{
	int p[2], s[2];

	sigemptyset(&waited);
	sigaddset(&waited, SIGIO);
	sigaddset(&waited, SIGUSR1);
	sigaddset(&waited, SIGCHLD);
	sigaddset(&waited, SIGRTMIN + 3);
	sigprocmask(SIG_BLOCK, &waited, NULL);
	setpgid(0, 0);		/* the first process of a run leads its group already */
	if (pipe(p) || socketpair(AF_UNIX, SOCK_STREAM, 0, s))
		return 1;
	arguments(p[0]);
	regular_file();
	ready(p, 0);
	ready(p, SIGIO);
	ready(p, SIGUSR1);
	ready(s, SIGRTMIN + 3);
	ready(s, SIGCHLD);
	sigdelset(&waited, SIGCHLD);
	from_child(s, F_OWNER_PID);
	from_child(s, F_OWNER_PGRP);
	from_child(s, F_OWNER_TID);
	return 0;
}
