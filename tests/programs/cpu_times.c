/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/cpu_times.c - getrusage(2), times(2), wait4(2), clocks and timers of CPU time. It prints relations and
 * errors, never a time. Its output is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "show.h"

#define MS 1000000ll	/* ns */
#define TICK (10 * MS)	/* of times(2) */

/* The kernel's encoding of a clock of a process or thread: clock_getcpuclockid(3) makes such. */
#define CLOCK_OF(id, kind, thread) ((clockid_t)(~(unsigned)(id) << 3 | (kind) | ((thread) ? 4 : 0)))
enum { PROF, VIRTUAL, SCHED, DESCRIPTOR };

static void check(const char *what, int ok)
{
	printf("%s: %s\n", what, ok ? "yes" : "NO");
}

static long long ns_of(const struct timeval *tv)
{
	return tv->tv_sec * 1000 * MS + tv->tv_usec * 1000ll;
}

static long long used(int who)
{
	struct rusage ru;

	getrusage(who, &ru);
	return ns_of(&ru.ru_utime) + ns_of(&ru.ru_stime);
}

static long long now(clockid_t clock)
{
	struct timespec ts;

	if (clock_gettime(clock, &ts))
		return -1;
	return ts.tv_sec * 1000 * MS + ts.tv_nsec;
}

/* Compute until the calling thread has used @ms. */
static void compute(long ms)
{
	long long until = now(CLOCK_THREAD_CPUTIME_ID) + ms * MS;
	volatile unsigned sum = 0;

	do {
		for (unsigned i = 0; i < 10000; i++)
			sum += i;
	} while (now(CLOCK_THREAD_CPUTIME_ID) < until);
}

static void child_of_ms(long ms)
{
	compute(ms);
	_exit(0);
}

/* --- sums --- */

static void own_time(void)
{
	long long before = used(RUSAGE_SELF), clock = now(CLOCK_PROCESS_CPUTIME_ID), again;
	struct rusage ru;
	struct tms tms;

	compute(60);
	check("computing adds to the process", used(RUSAGE_SELF) - before >= 50 * MS);
	again = now(CLOCK_PROCESS_CPUTIME_ID);
	check("and to its clock", again - clock >= 60 * MS);
	before = used(RUSAGE_SELF) + 1000;	/* microseconds are rounded down */
	check("which agrees with getrusage", again <= before && before <= now(CLOCK_PROCESS_CPUTIME_ID) + 1000);
	getrusage(RUSAGE_SELF, &ru);
	check("user time", ns_of(&ru.ru_utime) > 0);
	times(&tms);
	before = (tms.tms_utime + tms.tms_stime + 2) * TICK;	/* each is rounded down */
	check("times agrees", again <= before && before <= now(CLOCK_PROCESS_CPUTIME_ID) + 2 * TICK);
	check("no children yet", !tms.tms_cutime && !tms.tms_cstime && !used(RUSAGE_CHILDREN));
	before = now(CLOCK_PROCESS_CPUTIME_ID);
	usleep(200000);
	check("sleeping adds little", now(CLOCK_PROCESS_CPUTIME_ID) - before < 100 * MS);
	check("the clock does not go back", now(CLOCK_PROCESS_CPUTIME_ID) >= before);
}

static void memory(void)
{
	enum { BYTES = 16 << 20 };
	struct rusage before, after;
	char *p = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	madvise(p, BYTES, MADV_NOHUGEPAGE);
	getrusage(RUSAGE_SELF, &before);
	for (int i = 0; i < BYTES; i += 4096)
		p[i] = 1;
	munmap(p, BYTES);
	getrusage(RUSAGE_SELF, &after);
	check("faults are counted", after.ru_minflt - before.ru_minflt >= 4096);
	check("memory that was unmapped counts in maxrss", after.ru_maxrss >= BYTES / 1024);
}

static void switches(void)
{
	struct rusage before, after;

	getrusage(RUSAGE_THREAD, &before);
	for (int i = 0; i < 5; i++)
		usleep(1000);
	getrusage(RUSAGE_THREAD, &after);
	check("sleeps are voluntary switches", after.ru_nvcsw - before.ru_nvcsw >= 5);
}

/* --- children --- */

static void children(void)
{
	struct rusage ru;
	long long before;
	siginfo_t info;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid)
		child_of_ms(80);
	waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT);
	check("a zombie is not added", used(RUSAGE_CHILDREN) == 0);
	check("but has a clock", now(CLOCK_OF(pid, SCHED, 0)) >= 80 * MS);
	check("waited for", syscall(SYS_waitid, P_PID, pid, &info, WEXITED, &ru) == 0);
	check("waitid returns its time", ns_of(&ru.ru_utime) + ns_of(&ru.ru_stime) >= 70 * MS);
	check("now it is added", used(RUSAGE_CHILDREN) >= 70 * MS);

	pid = fork();
	if (!pid) {
		if (!fork())
			child_of_ms(80);
		wait(NULL);
		_exit(0);
	}
	before = used(RUSAGE_CHILDREN);
	wait4(pid, NULL, 0, &ru);
	check("wait4 returns a grandchild's time", ns_of(&ru.ru_utime) + ns_of(&ru.ru_stime) >= 70 * MS);
	check("which is added", used(RUSAGE_CHILDREN) - before >= 70 * MS);

	signal(SIGCHLD, SIG_IGN);
	before = used(RUSAGE_CHILDREN);
	pid = fork();
	if (!pid)
		child_of_ms(60);
	SHOW(waitpid(pid, NULL, 0));
	check("without a wait, nothing is added", used(RUSAGE_CHILDREN) == before);
	signal(SIGCHLD, SIG_DFL);
}

/* --- threads --- */

static pthread_barrier_t barrier;

static void *compute_thread(void *arg)
{
	struct rusage ru;

	compute(150);
	getrusage(RUSAGE_THREAD, &ru);
	*(long long *)arg = ns_of(&ru.ru_utime) + ns_of(&ru.ru_stime);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void threads(void)
{
	long long process = now(CLOCK_PROCESS_CPUTIME_ID), own = now(CLOCK_THREAD_CPUTIME_ID), its;
	clockid_t clock;
	pthread_t t;

	pthread_barrier_init(&barrier, NULL, 2);
	pthread_create(&t, NULL, compute_thread, &its);
	SHOW(pthread_getcpuclockid(t, &clock));
	pthread_barrier_wait(&barrier);
	check("a thread's time is its own", its >= 140 * MS && now(CLOCK_THREAD_CPUTIME_ID) - own < its);
	check("its clock", now(clock) >= 150 * MS);
	check("the process has both", now(CLOCK_PROCESS_CPUTIME_ID) - process >= 150 * MS);
	pthread_barrier_wait(&barrier);
	pthread_join(t, NULL);
	check("also after its end", now(CLOCK_PROCESS_CPUTIME_ID) - process >= 150 * MS);
}

/* --- clocks --- */

static void show_clock(const char *what, clockid_t clock)
{
	struct timespec ts, zero = { 0 };

	printf("%s:\n", what);
	SHOW(syscall(SYS_clock_gettime, clock, &ts));
	SHOW(syscall(SYS_clock_getres, clock, &ts));
	SHOW(syscall(SYS_clock_nanosleep, clock, TIMER_ABSTIME, &zero, NULL));
}

static void *clocks_of_thread(void *arg)
{
	pid_t tid = gettid();

	for (int kind = PROF; kind <= DESCRIPTOR; kind++) {
		printf("kind %d of a TID\n", kind);
		show_clock("as a process", CLOCK_OF(tid, kind, 0));
		show_clock("as a thread", CLOCK_OF(tid, kind, 1));
	}
	*(pid_t *)arg = tid;
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	return NULL;
}

static void clocks(void)
{
	pid_t pid, tid;
	pthread_t t;

	show_clock("process", CLOCK_PROCESS_CPUTIME_ID);
	show_clock("thread", CLOCK_THREAD_CPUTIME_ID);
	for (int kind = PROF; kind <= DESCRIPTOR; kind++)
		for (int thread = 0; thread < 2; thread++) {
			printf("kind %d, thread %d\n", kind, thread);
			show_clock("own", CLOCK_OF(0, kind, thread));
			show_clock("by PID", CLOCK_OF(getpid(), kind, thread));
			show_clock("of no process", CLOCK_OF(4000000, kind, thread));
		}
	fflush(stdout);
	pid = fork();
	if (!pid)
		pause();
	show_clock("of a child", CLOCK_OF(pid, SCHED, 0));
	show_clock("of a child's thread", CLOCK_OF(pid, SCHED, 1));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	show_clock("of what was a child", CLOCK_OF(pid, SCHED, 0));
	pthread_create(&t, NULL, clocks_of_thread, &tid);
	pthread_barrier_wait(&barrier);
	show_clock("another thread's", CLOCK_OF(tid, SCHED, 1));
	show_clock("another thread's, as a process", CLOCK_OF(tid, SCHED, 0));
	pthread_barrier_wait(&barrier);
	pthread_join(t, NULL);
}

/* --- signals --- */

static volatile sig_atomic_t nr_signals;

static void count(int signo)
{
	(void)signo;
	nr_signals++;
}

static void timer(int which, int signo)
{
	struct itimerval it = { { 0, 10000 }, { 0, 60000 } }, left = { 0 };
	long long before = now(CLOCK_PROCESS_CPUTIME_ID);

	nr_signals = 0;
	signal(signo, count);
	SHOW(setitimer(which, &it, NULL));
	usleep(100000);
	check("no signal while it sleeps", nr_signals == 0);
	while (nr_signals < 3)
		compute(1);
	check("the process used CPU time", now(CLOCK_PROCESS_CPUTIME_ID) - before >= 10 * MS);
	SHOW(getitimer(which, &left));
	check("interval", left.it_interval.tv_usec == 10000);
	memset(&it, 0, sizeof(it));
	SHOW(setitimer(which, &it, &left));
	check("it was armed", left.it_value.tv_usec > 0);
	SHOW(getitimer(which, &left));
	check("it is disarmed", !left.it_value.tv_sec && !left.it_value.tv_usec);
}

static void limit(void)
{
	struct rlimit lim = { 1, 2 };
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		signal(SIGXCPU, count);
		nr_signals = 0;
		setrlimit(RLIMIT_CPU, &lim);
		while (!nr_signals)
			compute(1);
		_exit(used(RUSAGE_SELF) >= 500 * MS ? 3 : 4);
	}
	waitpid(pid, &status, 0);
	printf("SIGXCPU: %#x\n", (unsigned)status);
}

int main(void)
{
	own_time();
	memory();
	switches();
	children();
	threads();
	clocks();
	timer(ITIMER_PROF, SIGPROF);
	timer(ITIMER_VIRTUAL, SIGVTALRM);
	limit();
	SHOW(getrusage(2, NULL));
	SHOW(setitimer(3, NULL, NULL));
	SHOW(getitimer(-1, NULL));
	return 0;
}
