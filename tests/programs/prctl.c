/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/prctl.c - prctl(2): attributes, orphans, the parent's death. The output is the same on the host's
 * kernel.
 */
#define _GNU_SOURCE
#include <linux/prctl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"

static long call(int option, unsigned long a, unsigned long b)
{
	return syscall(SYS_prctl, option, a, b, 0, 0);
}

static unsigned long address(void *p)
{
	return (unsigned long)p;
}

static void attributes(void)
{
	char name[16] = "";
	int value = -1;

	SHOW(call(PR_SET_NAME, address((void *)"a name that is too long"), 0));
	SHOW(call(PR_GET_NAME, address(name), 0));
	puts(name);
	SHOW(call(PR_SET_NAME, 1, 0));
	SHOW(call(PR_GET_NAME, 1, 0));
	SHOW(call(PR_GET_DUMPABLE, 0, 0));
	SHOW(call(PR_SET_DUMPABLE, 2, 0));
	SHOW(call(PR_SET_DUMPABLE, 0, 0));
	SHOW(call(PR_GET_DUMPABLE, 0, 0));
	SHOW(call(PR_SET_DUMPABLE, 1, 0));
	SHOW(call(PR_SET_PDEATHSIG, 65, 0));
	SHOW(call(PR_SET_PDEATHSIG, -1ul, 0));
	SHOW(call(PR_SET_PDEATHSIG, SIGUSR1, 0));
	SHOW(call(PR_GET_PDEATHSIG, address(&value), 0));
	SHOW(value);
	SHOW(call(PR_GET_PDEATHSIG, 1, 0));
	SHOW(call(PR_GET_NO_NEW_PRIVS, 0, 0));
	SHOW(call(PR_SET_NO_NEW_PRIVS, 0, 0));
	SHOW(call(PR_SET_NO_NEW_PRIVS, 1, 1));
	SHOW(call(PR_SET_NO_NEW_PRIVS, 1, 0));
	SHOW(call(PR_GET_NO_NEW_PRIVS, 0, 0));
	SHOW(call(PR_GET_TSC, address(&value), 0));
	SHOW(value);
	SHOW(call(PR_SET_TSC, 7, 0));
	SHOW(call(PR_GET_TIMING, 0, 0));
	SHOW(call(PR_SET_TIMING, 1, 0));
	SHOW(call(PR_GET_SECCOMP, 0, 0));
	SHOW(call(PR_SET_KEEPCAPS, 2, 0));
	SHOW(call(PR_GET_KEEPCAPS, 0, 0));
	SHOW(call(PR_CAPBSET_READ, 1000, 0));
	SHOW(call(PR_SET_TIMERSLACK, 77777, 0));
	SHOW(call(PR_GET_TIMERSLACK, 0, 0));
	SHOW(call(12345, 0, 0));
}

/* What a child has of it. */
static void inherited(void)
{
	int value = -1, status;

	fflush(stdout);
	if (!fork()) {
		SHOW(call(PR_GET_NO_NEW_PRIVS, 0, 0));
		SHOW(call(PR_GET_TIMERSLACK, 0, 0));
		SHOW(call(PR_GET_PDEATHSIG, address(&value), 0));
		SHOW(value);
		SHOW(call(PR_GET_CHILD_SUBREAPER, address(&value), 0));
		SHOW(value);
		fflush(stdout);
		_exit(0);
	}
	wait(&status);
}

/* --- orphans --- */

static void *end_thread(void *arg)
{
	syscall(SYS_exit, 0);
	return arg;
}

static void *make_orphan(void *arg)
{
	const int *pipes = arg;
	sigset_t set;
	char byte = 0;
	int signo;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (fork() == 0) {
		call(PR_SET_PDEATHSIG, SIGUSR1, 0);
		(void)!write(pipes[1], &byte, 1);
		sigwait(&set, &signo);
		byte = (char)signo;
		(void)!write(pipes[3], &byte, 1);
		_exit(7);
	}
	(void)!read(pipes[0], &byte, 1);	/* the signal is set */
	return NULL;
}

/* The thread, or the process, that made a process ends. The orphan belongs to this process then. */
static void parent_dies(bool thread)
{
	int pipes[4], status;
	char byte = 0;
	pthread_t t;
	pid_t pid;

	if (pipe(pipes) || pipe(pipes + 2))
		exit(1);
	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (thread) {
			pthread_create(&t, NULL, make_orphan, pipes);
			pthread_join(t, NULL);
			(void)!read(pipes[2], &byte, 1);
			_exit(byte);
		}
		pthread_create(&t, NULL, end_thread, NULL);
		pthread_join(t, NULL);
		make_orphan(pipes);
		_exit(0);
	}
	SHOW(waitpid(pid, &status, 0) == pid);
	if (!thread)
		(void)!read(pipes[2], &byte, 1);
	SHOW(thread ? WEXITSTATUS(status) : byte);
	SHOW(wait(&status) > 0 && WEXITSTATUS(status));
	SHOW(wait(&status));
}

/* Leave a zombie behind. */
static void make_zombie(void)
{
	siginfo_t info;

	if (fork() == 0)
		_exit(9);
	waitid(P_ALL, 0, &info, WEXITED | WNOWAIT);
	_exit(0);
}

/* A zombie whose parent ends is new to this process, which may be one that does not wait for children. */
static void adopt_zombie(bool ignore)
{
	siginfo_t info = { .si_pid = 0 };
	sigset_t set;
	pid_t pid;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGCHLD, ignore ? SIG_IGN : SIG_DFL);
	fflush(stdout);
	pid = fork();
	if (!pid)
		make_zombie();
	if (!ignore) {
		SHOW(sigwaitinfo(&set, &info));		/* the first of two: of the zombie */
		SHOW(info.si_pid != pid);
		SHOW(info.si_status);
		SHOW(waitpid(info.si_pid, NULL, 0) == info.si_pid);
		SHOW(waitpid(pid, NULL, 0) == pid);
	}
	SHOW(wait(NULL));
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

int main(void)
{
	int value = -1;

	attributes();
	call(PR_SET_PDEATHSIG, 0, 0);
	SHOW(call(PR_SET_CHILD_SUBREAPER, 5, 0));
	SHOW(call(PR_GET_CHILD_SUBREAPER, address(&value), 0));
	SHOW(value);
	inherited();
	parent_dies(false);
	parent_dies(true);
	adopt_zombie(false);
	adopt_zombie(true);
	return 0;
}
