/* SPDX-License-Identifier: MIT */
/*
 * tests/explore/explore.h - run the real core under every interleaving within a bound.
 *
 * Logical CPUs are coroutines; a switch is possible at each point that lib/sched.h names. Schedules
 * are enumerated depth first up to a number of preemptions; each runs in a world made anew, so a
 * schedule is a list of choices that can be replayed.
 */
#ifndef TESTS_EXPLORE_H
#define TESTS_EXPLORE_H

#include "mm/mm.h"
#include "vellum/soft.h"

#define MAX_THREADS 3
#define BASE 0x100000000ull

struct scenario {
	const char *name;
	unsigned nr_threads;
	void (*setup)(void);
	void (*thread[MAX_THREADS])(void);
	/* After every step, while threads are anywhere: NULL, or what is violated. */
	const char *(*check_step)(void);
	/* After the last one ended. */
	const char *(*check_end)(void);
	void (*teardown)(void);
	bool stops_walks;	/* the machine can: else the core needs locked instructions */
};

/* The world that setup() finds: a software machine with two CPUs and an empty address space. */
extern struct vellum_memory *memory;
extern struct vellum_mm *mm;
extern struct vellum_soft_cpu *cpu[2];

/* All schedules with at most @preemptions. Return: 0, or 1 with the failing trace printed. */
int explore(const struct scenario *s, unsigned preemptions);

#endif
