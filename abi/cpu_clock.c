/* SPDX-License-Identifier: MIT */
/*
 * abi/cpu_clock.c - clocks of CPU time: CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID, those of clock_getcpuclockid(3)
 * and pthread_getcpuclockid(3); sleeping by them; ITIMER_VIRTUAL and ITIMER_PROF.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/time.h>

#include "abi/task.h"

/* A negative clock: the complement of a PID or TID, 0 for the caller's, above these bits. */
#define ID_SHIFT	3
#define THREAD_BIT	4
#define KIND_MASK	3

enum kind { PROF, VIRTUAL, SCHED, DESCRIPTOR };	/* DESCRIPTOR: of a device, not of CPU time */

#define POLL_NS		5000000	/* of a sleep by a clock that other threads advance */

struct cpu_clock {
	bool of_thread;
	enum kind kind;
	int id;			/* 0: of the caller */
};

bool cpu_clock_is(int clock)
{
	return clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID ||
	       (clock < 0 && ((clock & KIND_MASK) != DESCRIPTOR || (clock & THREAD_BIT)));
}

static struct cpu_clock parse(int clock)
{
	if (clock >= 0)
		return (struct cpu_clock){ .of_thread = clock == CLOCK_THREAD_CPUTIME_ID, .kind = SCHED };
	return (struct cpu_clock){ .of_thread = clock & THREAD_BIT, .kind = (enum kind)(clock & KIND_MASK),
				   .id = ~(clock >> ID_SHIFT) };
}

/* A thread of the caller's own process. kernel->lock held. */
static int read_thread(struct task *t, int id, struct usage *out)
{
	const struct task *other = id ? task_find(t->kernel, id) : t;

	if (!other || other->process != t->process)
		return -EINVAL;
	usage_of_thread(other, out);
	return 0;
}

/* Any process. To read the clock, the caller's own TID will do. kernel->lock held. */
static int read_process(struct task *t, int id, bool to_read, struct usage *out)
{
	const struct process *p = !id || (to_read && id == t->tid) ? t->process : process_find(t->kernel, id);

	if (!p)
		return -EINVAL;
	usage_of_process(p, out);
	return 0;
}

/* @to_read: the caller wants the time, and not only to know whether the clock exists. kernel->lock held. */
static int read_clock(struct task *t, int clock, bool to_read, uint64_t *ns)
{
	const struct cpu_clock c = parse(clock);
	struct usage u = { 0 };
	int err;

	*ns = 0;
	if (c.kind == DESCRIPTOR)
		return -EINVAL;
	err = c.of_thread ? read_thread(t, c.id, &u) : read_process(t, c.id, to_read, &u);
	*ns = c.kind == VIRTUAL ? u.user_ns : usage_total_ns(&u);
	return err;
}

int cpu_clock_read(struct task *t, int clock, struct timespec *ts)
{
	uint64_t ns;
	int err;

	pthread_mutex_lock(&t->kernel->lock);
	err = read_clock(t, clock, true, &ns);
	pthread_mutex_unlock(&t->kernel->lock);
	*ts = ns_timespec(ns);
	return err;
}

int cpu_clock_resolution(struct task *t, int clock, struct timespec *ts)
{
	clockid_t own = clock < 0 ? (clockid_t)(~0u << ID_SHIFT) | (clock & (THREAD_BIT | KIND_MASK)) : clock;
	uint64_t ns;
	int err;

	pthread_mutex_lock(&t->kernel->lock);
	err = read_clock(t, clock, false, &ns);
	pthread_mutex_unlock(&t->kernel->lock);
	return err ? err : clock_getres(own, ts) ? -errno : 0;
}

int cpu_clock_sleep(struct task *t, int clock, bool absolute, uint64_t ns, uint64_t *left)
{
	const struct cpu_clock c = parse(clock);
	struct kernel *k = t->kernel;
	uint64_t now, until;
	int err;

	if (clock == CLOCK_THREAD_CPUTIME_ID)
		return -EOPNOTSUPP;
	if (c.of_thread && (!c.id || c.id == t->tid))	/* it does not advance while its thread sleeps */
		return -EINVAL;
	cpu_release(t);
	pthread_mutex_lock(&k->lock);
	err = read_clock(t, clock, false, &now);
	until = absolute ? ns : now + ns;
	while (!err && now < until && !signal_pending(t)) {
		kernel_wait(k, POLL_NS);
		if (read_clock(t, clock, false, &now))	/* the process has ended */
			now = until;
	}
	*left = now < until ? until - now : 0;
	pthread_mutex_unlock(&k->lock);
	return err ? err : *left ? -EINTR : 0;
}

/* --- interval timers --- */

static uint64_t time_left(const struct cpu_timer *timer, uint64_t now)
{
	return !timer->at ? 0 : timer->at > now ? timer->at - now : NS_PER_US;	/* 0 would mean disarmed */
}

/* kernel->lock held. */
void cpu_timer_get(struct process *p, int which, uint64_t *value, uint64_t *interval)
{
	const struct cpu_timer *timer = which == ITIMER_VIRTUAL ? &p->virtual_timer : &p->prof_timer;

	*value = time_left(timer, usage_process_ns(p, which == ITIMER_VIRTUAL));
	*interval = timer->interval;
}

/* kernel->lock held. @value and the time now are below 2^63. */
void cpu_timer_set(struct process *p, int which, uint64_t value, uint64_t interval)
{
	struct cpu_timer *timer = which == ITIMER_VIRTUAL ? &p->virtual_timer : &p->prof_timer;

	timer->at = value ? usage_process_ns(p, which == ITIMER_VIRTUAL) + value : 0;
	timer->interval = interval;
}
