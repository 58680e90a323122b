/* SPDX-License-Identifier: MIT */
/*
 * tests/explore/engine.h - run the threads of a scenario under every schedule within a bound.
 *
 * Actors are the threads and their store buffers. A step of a store buffer makes its oldest store visible.
 * By default, the actor that ran last runs on; if it cannot, the first actor that can. A schedule is a list of
 * switches, which are exceptions from this. Each switch happens after a number of steps of the actor that ran
 * before. So a schedule can be replayed, and a switch can be left out to test whether it matters.
 */
#ifndef TESTS_EXPLORE_ENGINE_H
#define TESTS_EXPLORE_ENGINE_H

#include "scenario.h"

#define MAX_ACTORS (2 * MAX_THREADS)
#define MAX_STEPS 20000
#define MAX_SWITCHES 512

struct sched_switch {
	int from;		/* actor, or -1: no actor has run yet */
	unsigned after;		/* steps of that actor so far */
	int to;
};

struct schedule {
	unsigned nr;
	struct sched_switch at[MAX_SWITCHES];
};

struct options {
	int bound;		/* preemptions; < 0: the scenario's bound plus @more */
	unsigned more;
	unsigned long most;	/* most schedules of a scenario; 0: all */
	bool sc;		/* no store buffers */
	unsigned long nr_random;
	uint64_t seed;
	const char *replay;	/* a schedule in its printed form */
};

/* explore.c. Return: 0, or 1 with the failing trace printed. */
int explore(const struct scenario *s, const struct options *opt);
const char *run_schedule(const struct schedule *schedule, bool traced);
const char *actor_name(int actor);
extern const struct scenario *scenario;
extern int running;		/* the running thread; -1: the scheduler, setup, or a check */
extern bool buffers_on;

/* world.c */
void make_world(void);
void drop_world(void);
void abandon_world(void);	/* without destroying it, as threads stopped in the middle of calls */
const char *check_world_step(void);
const char *check_world_end(void);
const char *check_access(enum sched_kind kind, const volatile void *where);

/* buffers.c */
struct pending {
	volatile void *where;
	uint64_t val;
	unsigned size;
};
void buffers_clear(void);
bool buffer_empty(int thread);
const struct pending *buffer_oldest(int thread);
void buffer_drain_one(int thread);

/* trace.c */
void name_place(char *out, size_t len, enum sched_kind kind, const volatile void *where);
void trace_begin(void);
void trace_step(int actor, enum sched_kind kind, const volatile void *where);
void trace_stuck(int actor, enum sched_kind kind, const volatile void *where);
void trace_end(void);
void schedule_print(const struct schedule *s);
bool schedule_parse(const char *text, struct schedule *out);

#endif
