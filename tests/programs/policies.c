/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/policies.c - scheduling policies: the right to set them, what fork(2) keeps, which of two threads runs first.
 * Its output is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "show.h"

struct attr {			/* struct sched_attr of sched_setattr(2) */
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
};

#define FIFO(n) sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ (n) })

static void show_policy(void)
{
	struct sched_param p = { 0 };
	char stat[512], *at;
	FILE *f = fopen("/proc/thread-self/stat", "r");
	int policy = -1, priority = -1, field = 2;
	long shown = 0;

	if (f && fgets(stat, sizeof(stat), f))
		for (at = strrchr(stat, ')'); at; at = strchr(at + 1, ' ')) {
			field++;
			if (field == 19)
				shown = atol(at + 1);
			if (field == 41)
				priority = atoi(at + 1);
			if (field == 42)
				policy = atoi(at + 1);
		}
	if (f)
		fclose(f);
	sched_getparam(0, &p);
	printf("policy %#x, priority %d; in /proc: %ld, %d, %d\n", sched_getscheduler(0), p.sched_priority, shown, priority, policy);
}

static void calls(void)
{
	struct sched_param p = { 5 };
	struct attr attr = { .size = sizeof(attr) }, unknown = { .size = sizeof(attr), .policy = 77 };
	struct timespec ts;

	show_policy();
	SHOW(FIFO(5));
	show_policy();
	SHOW(FIFO(0));
	SHOW(FIFO(100));
	SHOW(sched_setscheduler(0, SCHED_RR, &p));
	show_policy();
	SHOW(sched_rr_get_interval(0, &ts));
	printf("%ld.%09ld\n", (long)ts.tv_sec, ts.tv_nsec);
	p.sched_priority = 7;
	SHOW(sched_setparam(0, &p));
	show_policy();
	p.sched_priority = 0;
	SHOW(sched_setparam(0, &p));
	SHOW(sched_setscheduler(0, SCHED_BATCH | SCHED_RESET_ON_FORK, &p));
	show_policy();
	SHOW(sched_setscheduler(0, SCHED_IDLE, &p));
	show_policy();
	SHOW(sched_setscheduler(0, SCHED_OTHER, &p));
	attr = (struct attr){ .size = sizeof(attr), .policy = SCHED_FIFO, .priority = 3, .flags = 1 };
	SHOW(syscall(SYS_sched_setattr, 0, &attr, 0));
	show_policy();
	memset(&attr, 0xff, sizeof(attr));
	SHOW(syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 0));
	printf("size %u, policy %u, flags %#lx, nice %d, priority %u\n", attr.size, attr.policy, (long)attr.flags, attr.nice,
	       attr.priority);
	attr = (struct attr){ .size = sizeof(attr), .policy = SCHED_OTHER, .nice = 3 };
	SHOW(syscall(SYS_sched_setattr, 0, &attr, 0));
	SHOW(syscall(SYS_getpriority, PRIO_PROCESS, 0));
	SHOW(syscall(SYS_sched_setattr, 0, &attr, 1));
	SHOW(syscall(SYS_sched_setattr, 0, &unknown, 0));
	attr.priority = 4;
	SHOW(syscall(SYS_sched_setattr, 0, &attr, 0));
	attr.size = 20;
	SHOW(syscall(SYS_sched_setattr, 0, &attr, 0));
	printf("the size that it knows: %d\n", attr.size >= 48);
	SHOW(syscall(SYS_sched_getattr, 0, &attr, 40, 0));
	SHOW(syscall(SYS_sched_getattr, 0, &attr, sizeof(attr), 1));
}

static void forks(void)
{
	struct sched_param p = { 0 };

	for (int reset = 0; reset < 2; reset++) {
		p.sched_priority = 9;
		SHOW(sched_setscheduler(0, SCHED_FIFO | (reset ? SCHED_RESET_ON_FORK : 0), &p));
		fflush(stdout);
		if (!fork()) {
			show_policy();
			exit(0);
		}
		wait(NULL);
	}
	p.sched_priority = 0;
	sched_setscheduler(0, SCHED_OTHER, &p);
}

static void without_rights(void)
{
	struct sched_param none = { 0 }, two = { 2 }, four = { 4 };
	struct rlimit limit = { 3, 3 };

	fflush(stdout);
	if (fork()) {
		wait(NULL);
		return;
	}
	FIFO(2);
	if (setuid(1000))
		exit(1);
	SHOW(sched_setscheduler(0, SCHED_FIFO, &four));
	SHOW(sched_setscheduler(0, SCHED_FIFO, &two));
	SHOW(sched_setscheduler(0, SCHED_RR, &two));
	SHOW(sched_setscheduler(0, SCHED_OTHER, &none));
	SHOW(sched_setscheduler(0, SCHED_FIFO, &two));
	SHOW(sched_setscheduler(0, SCHED_IDLE, &none));
	SHOW(sched_setscheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, &none));
	SHOW(sched_setscheduler(0, SCHED_OTHER, &none));
	SHOW(setrlimit(RLIMIT_RTPRIO, &limit));
	exit(0);
}

static void with_a_limit(void)
{
	struct sched_param two = { 2 }, four = { 4 };
	struct rlimit limit = { 3, 3 };

	fflush(stdout);
	if (fork()) {
		wait(NULL);
		return;
	}
	if (setrlimit(RLIMIT_RTPRIO, &limit) || setuid(1000))
		exit(1);
	SHOW(sched_setscheduler(0, SCHED_FIFO, &four));
	SHOW(sched_setscheduler(0, SCHED_RR, &two));
	exit(0);
}

/* --- which thread runs first: all on one CPU --- */

static volatile int order[4], nr;
static pthread_mutex_t held = PTHREAD_MUTEX_INITIALIZER;

static void *takes(void *arg)
{
	struct sched_param p = { (int)(intptr_t)arg };

	sched_setscheduler(0, SCHED_FIFO, &p);
	pthread_mutex_lock(&held);
	order[nr++] = p.sched_priority;
	pthread_mutex_unlock(&held);
	return NULL;
}

/* Threads that wait for a futex are woken by priority. */
static void wakes(void)
{
	static const int priorities[] = { 10, 30, 20 };
	pthread_t threads[3];
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	FIFO(50);
	pthread_mutex_lock(&held);
	for (int i = 0; i < 3; i++) {
		pthread_create(&threads[i], NULL, takes, (void *)(intptr_t)priorities[i]);
		usleep(50000);		/* it waits for the lock before the next one does */
	}
	pthread_mutex_unlock(&held);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	printf("woken: %d %d %d\n", order[0], order[1], order[2]);
}

static volatile int stop;
static volatile long low_count;

static void *counts(void *arg)
{
	struct sched_param p = { 0 };

	(void)arg;
	sched_setscheduler(0, SCHED_OTHER, &p);
	while (!stop)
		low_count++;
	return NULL;
}

static void compute(long ms)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while ((now.tv_sec - start.tv_sec) * 1000 + (now.tv_nsec - start.tv_nsec) / 1000000 < ms);
}

/* A real-time thread keeps the CPU until it sleeps, and takes it back when it wakes. */
static void keeps_the_cpu(void)
{
	pthread_t other;
	long before, after, later;

	FIFO(20);
	pthread_create(&other, NULL, counts, NULL);
	usleep(50000);			/* the other one runs */
	before = low_count;
	compute(100);
	after = low_count;
	compute(2500);			/* after a while, each thread runs a little */
	later = low_count;
	printf("it ran while the other slept: %d, while the other computed: %d, for long: %d\n", before > 0, after > before,
	       later > after);
	stop = 1;
	pthread_join(other, NULL);
}

int main(void)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	if (FIFO(1)) {
		puts("no right to a real-time policy");
		return 0;
	}
	sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){ 0 });
	calls();
	forks();
	without_rights();
	with_a_limit();
	wakes();
	keeps_the_cpu();
	return 0;
}
