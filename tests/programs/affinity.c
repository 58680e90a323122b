/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/affinity.c - sched_setaffinity(2): threads that change their own CPU and that of others while they
 * compute keep their registers and run where they may. The output is the same on the host's kernel, with any number of
 * CPUs.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"

#define NR_THREADS 5	/* more than the CPUs that they share */
#define MOVES	   100

static cpu_set_t all;
static int cpus[CPU_SETSIZE], nr_cpus;

static void only(cpu_set_t *set, int cpu)
{
	CPU_ZERO(set);
	CPU_SET(cpu, set);
}

/* Steps of a linear congruence in floating point, exact. */
static double compute(double x, int steps)
{
	while (steps--) {
		x = x * 17 + 3;
		x -= (double)(int64_t)(x / 1021) * 1021;
	}
	return x;
}

static void *move_about(void *arg)
{
	uintptr_t nr = (uintptr_t)arg, wrong = 0;
	double x = (double)nr, once = (double)nr;
	cpu_set_t set;

	for (uintptr_t i = 0; i < MOVES; i++) {
		int cpu = cpus[(i + nr) % (uintptr_t)nr_cpus];

		only(&set, cpu);
		wrong += sched_setaffinity(0, sizeof(set), &set) != 0;
		wrong += sched_getcpu() != cpu;
		x = compute(x, 500);
		wrong += sched_getcpu() != cpu;
	}
	once = compute(once, MOVES * 500);
	return (void *)(wrong + (x != once));
}

static void *compute_long(void *arg)
{
	volatile double one = 1;	/* so that the compiler does not compute once */

	return compute(one, 300000) == compute(one, 300000) ? arg : NULL;
}

/* Another thread is moved while it computes. */
static void move_another(void)
{
	pthread_t t;
	void *done = NULL;
	cpu_set_t set;

	pthread_create(&t, NULL, compute_long, &done);
	for (int i = 0; i < MOVES; i++) {
		only(&set, cpus[i % nr_cpus]);
		pthread_setaffinity_np(t, sizeof(set), &set);
		usleep(100);
	}
	pthread_join(t, &done);
	SHOW(done != NULL);
}

/* The only CPU of Cpus_allowed_list in /proc, or -1. */
static int allowed_cpu(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256], end;
	int cpu = -1;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Cpus_allowed_list: %d%c", &cpu, &end) == 2 && end != '\n')
			cpu = -1;
	if (f)
		fclose(f);
	return cpu;
}

static void inherited(void)
{
	cpu_set_t set;
	int status;

	only(&set, cpus[nr_cpus - 1]);
	SHOW(sched_setaffinity(0, sizeof(set), &set));
	SHOW(allowed_cpu() == cpus[nr_cpus - 1]);
	fflush(stdout);
	if (!fork()) {
		CPU_ZERO(&set);
		sched_getaffinity(0, sizeof(set), &set);
		_exit(CPU_COUNT(&set) == 1 && CPU_ISSET(cpus[nr_cpus - 1], &set) && sched_getcpu() == cpus[nr_cpus - 1]);
	}
	wait(&status);
	SHOW(WEXITSTATUS(status));
	SHOW(sched_setaffinity(0, sizeof(all), &all));
}

int main(void)
{
	pthread_t t[NR_THREADS];
	uintptr_t wrong = 0;
	cpu_set_t set;
	void *result;

	SHOW(sched_getaffinity(0, sizeof(all), &all));
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &all))
			cpus[nr_cpus++] = i;
	if (nr_cpus > 2)
		nr_cpus = 2;
	CPU_ZERO(&set);
	SHOW(sched_setaffinity(0, sizeof(set), &set));
	SHOW(sched_setaffinity(1 << 30, sizeof(all), &all));
	SHOW(sched_getaffinity(1 << 30, sizeof(all), &set));
	SHOW(syscall(SYS_sched_setaffinity, 0, sizeof(all), 1) < 0);
	for (uintptr_t i = 0; i < NR_THREADS; i++)
		pthread_create(&t[i], NULL, move_about, (void *)i);
	for (int i = 0; i < NR_THREADS; i++) {
		pthread_join(t[i], &result);
		wrong += (uintptr_t)result;
	}
	printf("wrong: %lu\n", (unsigned long)wrong);
	move_another();
	inherited();
	return 0;
}
