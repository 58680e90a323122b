/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_timer.c - timers of a process: timer_create(2). The ticker sends their signals, so a timer is as exact as its
 * period. Expirations in between count as overruns.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "abi/task.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define MAX_TIMERS 256	/* of a process */

struct timer {			/* kernel->lock */
	struct timer *next;
	int id;
	clockid_t clock;
	int signo;		/* 0: none is sent */
	int tid;		/* of the thread that gets it; 0: the process */
	uint64_t value;		/* for the handler */
	uint64_t at, interval;	/* ns, CLOCK_MONOTONIC; at 0: disarmed */
	uint64_t overrun;	/* expirations since the last signal was sent, without the one that sent it */
};

static struct timer **find_timer(struct process *p, int id)
{
	struct timer **at = &p->timers;

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

/* kernel->lock held. */
void timers_drop_all(struct process *p)
{
	while (p->timers) {
		struct timer *timer = p->timers;

		p->timers = timer->next;
		free(timer);
	}
	p->nr_timers = 0;
}

/* --- expiry --- */

/* Is the signal of the last expiration not delivered yet? */
static bool is_pending(const struct process *p, const struct task *t, const struct timer *timer)
{
	return signal_has_timer(&p->pending, timer->signo, timer->id) ||
	       (t && signal_has_timer(&t->pending, timer->signo, timer->id));
}

static void expire(struct process *p, struct timer *timer, uint64_t now)
{
	uint64_t times = timer->interval ? (now - timer->at) / timer->interval + 1 : 1;
	struct task *t = timer->tid ? task_find(p->kernel, timer->tid) : NULL;
	struct sig_info info = { .signo = timer->signo, .code = SI_TIMER, .pid = timer->id, .value = timer->value };

	timer->at = timer->interval ? timer->at + times * timer->interval : 0;
	if (!timer->signo || (timer->tid && !t))
		return;
	if (is_pending(p, t, timer)) {
		timer->overrun += times;
		return;
	}
	timer->overrun = times - 1;
	info.uid = timer->overrun < INT32_MAX ? (int)timer->overrun : INT32_MAX;
	if (t)
		signal_send_task(t, &info);
	else
		signal_send(p, &info, false);
}

void timers_tick(struct process *p, uint64_t now)
{
	for (struct timer *timer = p->timers; timer; timer = timer->next)
		if (timer->at && now >= timer->at)
			expire(p, timer, now);
}

/* --- system calls --- */

/* 0 or a negative errno. Without an event: SIGALRM with the timer's ID. */
static int read_event(struct task *t, uint64_t addr, struct timer *timer)
{
	struct {		/* the kernel's struct sigevent */
		uint64_t value;
		int32_t signo, notify, tid, padding[11];
	} event = { .notify = SIGEV_SIGNAL, .signo = SIGALRM };
	const struct task *target;

	if (addr && user_read(t, &event, addr, sizeof(event)))
		return -EFAULT;
	timer->value = event.value;
	if (event.notify == SIGEV_NONE)
		return 0;
	if (event.notify != SIGEV_SIGNAL && event.notify != SIGEV_THREAD && event.notify != SIGEV_THREAD_ID)
		return -EINVAL;
	if (event.signo < 1 || event.signo > NR_SIGNALS)
		return -EINVAL;
	timer->signo = event.signo;
	if (event.notify != SIGEV_THREAD_ID)
		return 0;
	pthread_mutex_lock(&t->kernel->lock);
	target = task_find(t->kernel, event.tid);
	pthread_mutex_unlock(&t->kernel->lock);
	timer->tid = event.tid;
	return target && target->process == t->process ? 0 : -EINVAL;
}

/* kernel->lock held. 0 or -EAGAIN. */
static int add_timer(struct process *p, struct timer *timer, bool has_event)
{
	if (p->nr_timers == MAX_TIMERS)
		return -EAGAIN;
	while (*find_timer(p, p->next_timer))
		p->next_timer = p->next_timer == INT32_MAX ? 0 : p->next_timer + 1;
	timer->id = p->next_timer;
	p->next_timer = p->next_timer == INT32_MAX ? 0 : p->next_timer + 1;
	if (!has_event)
		timer->value = (uint64_t)timer->id;
	timer->next = p->timers;
	p->timers = timer;
	p->nr_timers++;
	return 0;
}

int64_t sys_timer_create(struct task *t, int clock, uint64_t event, uint64_t id)
{
	struct timer *timer;
	int err, number;

	if (clock == CLOCK_PROCESS_CPUTIME_ID || clock == CLOCK_THREAD_CPUTIME_ID)
		return -EOPNOTSUPP;
	if (clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC && clock != CLOCK_BOOTTIME)
		return -EINVAL;
	timer = calloc(1, sizeof(*timer));
	if (!timer)
		return -EAGAIN;
	timer->clock = clock;
	err = read_event(t, event, timer);
	if (!err) {
		pthread_mutex_lock(&t->kernel->lock);
		err = add_timer(t->process, timer, event != 0);
		number = timer->id;	/* another thread may delete the timer from here on */
		pthread_mutex_unlock(&t->kernel->lock);
	}
	if (err) {
		free(timer);
		return err;
	}
	if (user_write(t, id, &number, sizeof(number))) {
		sys_timer_delete(t, number);
		return -EFAULT;
	}
	return 0;
}

int64_t sys_timer_delete(struct task *t, int id)
{
	struct timer **at, *timer;

	pthread_mutex_lock(&t->kernel->lock);
	at = find_timer(t->process, id);
	timer = *at;
	if (timer) {
		*at = timer->next;
		t->process->nr_timers--;
	}
	pthread_mutex_unlock(&t->kernel->lock);
	free(timer);
	return timer ? 0 : -EINVAL;
}

static void get_time(const struct timer *timer, struct itimerspec *out)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	out->it_interval = ns_timespec(timer->interval);
	out->it_value = ns_timespec(!timer->at ? 0 : timer->at > now ? timer->at - now : 1);
}

static uint64_t add_ns(uint64_t a, uint64_t b)
{
	return b < INT64_MAX - a ? a + b : INT64_MAX;
}

/* When it expires first, on CLOCK_MONOTONIC. */
static uint64_t first_expiry(const struct timer *timer, uint64_t value, bool absolute)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC), from = absolute ? clock_ns(timer->clock) : 0;

	return add_ns(now, value > from ? value - from : 0);
}

static int set_time(struct process *p, int id, bool absolute, const struct itimerspec *new, struct itimerspec *old)
{
	struct timer *timer = *find_timer(p, id);
	uint64_t value = timespec_ns(&new->it_value);

	if (!timer)
		return -EINVAL;
	get_time(timer, old);
	timer->at = value ? first_expiry(timer, value, absolute) : 0;
	timer->interval = value ? timespec_ns(&new->it_interval) : 0;
	timer->overrun = 0;
	return 0;
}

int64_t sys_timer_settime(struct task *t, int id, int flags, uint64_t new_value, uint64_t old_value)
{
	struct itimerspec new, old;
	int err;

	if (!new_value)
		return -EINVAL;
	if (user_read(t, &new, new_value, sizeof(new)))
		return -EFAULT;
	if (!is_time(&new.it_value) || !is_time(&new.it_interval))
		return -EINVAL;
	pthread_mutex_lock(&t->kernel->lock);
	err = set_time(t->process, id, flags & TIMER_ABSTIME, &new, &old);
	pthread_mutex_unlock(&t->kernel->lock);
	return err || !old_value ? err : user_write(t, old_value, &old, sizeof(old));
}

int64_t sys_timer_gettime(struct task *t, int id, uint64_t value)
{
	struct itimerspec it;
	const struct timer *timer;

	pthread_mutex_lock(&t->kernel->lock);
	timer = *find_timer(t->process, id);
	if (timer)
		get_time(timer, &it);
	pthread_mutex_unlock(&t->kernel->lock);
	return timer ? user_write(t, value, &it, sizeof(it)) : -EINVAL;
}

int64_t sys_timer_getoverrun(struct task *t, int id)
{
	const struct timer *timer;
	int64_t n = -EINVAL;

	pthread_mutex_lock(&t->kernel->lock);
	timer = *find_timer(t->process, id);
	if (timer)
		n = timer->overrun < INT32_MAX ? (int64_t)timer->overrun : INT32_MAX;
	pthread_mutex_unlock(&t->kernel->lock);
	return n;
}
