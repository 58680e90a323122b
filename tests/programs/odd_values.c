/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/odd_values.c - system calls with values at which sums and signs overflow, and flags that a signal's
 * frame must not set. Prints their results, which must be the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define FLAG_NT 0x4000ul
#define FLAG_ID 0x200000ul

static void say(const char *what, long result)
{
	printf("%s: %ld %s\n", what, result, result < 0 ? strerror(errno) : "");
}

static void ignore(int signo)
{
	(void)signo;
}

static void test_numbers_of_processes(void)
{
	say("kill INT_MIN", kill(INT_MIN, 0));
	say("kill with signal -1", kill(getpid(), -1));
	say("kill with signal INT_MIN", kill(getpid(), INT_MIN));
	say("tkill with signal -1", syscall(SYS_tkill, getpid(), -1));
	say("tgkill with signal -1", syscall(SYS_tgkill, getpid(), getpid(), -1));
	say("mlock2 with flags -1", syscall(SYS_mlock2, 0x10000, 4096, -1));
	say("mlockall with flags -1", syscall(SYS_mlockall, -1));
	say("dup2 of the same, upper bits set", syscall(SYS_dup2, 1 | 1l << 32, 1));
	say("readlink into -1 bytes", syscall(SYS_readlink, "/proc/self/exe", "", -1));
	say("getgroups of -1", syscall(SYS_getgroups, -1, NULL));
	say("wait4 INT_MIN", wait4(INT_MIN, NULL, WNOHANG, NULL));
}

/* Sleep until a time in 400 years. A signal interrupts it. */
static void test_absolute_sleep(void)
{
	const struct timespec odd = { 1, -1 }, far = { 13835058055, 0 };
	const struct itimerval soon = { { 0, 0 }, { 0, 50000 } };
	struct sigaction act = { .sa_handler = ignore };

	sigaction(SIGALRM, &act, NULL);
	say("sleep until a negative part", syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &odd, NULL));
	setitimer(ITIMER_REAL, &soon, NULL);
	say("sleep until far", syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, &far, NULL));
}

static void test_timers(void)
{
	struct itimerval odd = { { 0, 1000000 }, { 1000, 0 } }, far = { { 0, 0 }, { 18446744074, 0 } }, left;

	say("timer with an interval that is none", syscall(SYS_setitimer, ITIMER_REAL, &odd, NULL));
	say("timer in 585 years", syscall(SYS_setitimer, ITIMER_REAL, &far, NULL));
	getitimer(ITIMER_REAL, &left);
	say("that is far", left.it_value.tv_sec > 1000000);
	syscall(SYS_alarm, 0);
	say("alarm of 2^32 seconds", syscall(SYS_alarm, 1ul << 32));
	say("is none", syscall(SYS_alarm, 0));
}

static void test_select(void)
{
	struct timeval tv = { INT64_MAX, 5000000 };

	say("select for too long", syscall(SYS_select, 0, NULL, NULL, NULL, &tv));
}

static void set_flags(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)signo, (void)info;
	uc->uc_mcontext.gregs[REG_EFL] |= (greg_t)(FLAG_NT | FLAG_ID);
}

static void test_flags_of_a_frame(void)
{
	struct sigaction act = { .sa_sigaction = set_flags, .sa_flags = SA_SIGINFO };
	unsigned long flags;

	sigaction(SIGUSR1, &act, NULL);
	kill(getpid(), SIGUSR1);
	__asm__ volatile("pushfq\n\tpopq %0" : "=r"(flags));
	say("flags that a frame may not set", (long)(flags & (FLAG_NT | FLAG_ID)));
}

int main(void)
{
	test_numbers_of_processes();
	test_absolute_sleep();
	test_timers();
	test_select();
	test_flags_of_a_frame();
	return 0;
}
