/* SPDX-License-Identifier: MIT */
/* abi/sys_time.c - clocks, sleep, alarms. The vDSO reads most clocks without a system call. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <time.h>

#include "abi/task.h"

#include "syscalls.h"	/* made from syscall.tbl */

int64_t sys_clock_gettime(struct task *t, int clock, uint64_t tp)
{
	struct timespec ts;
	int err;

	if (cpu_clock_is(clock))
		err = cpu_clock_read(t, clock, &ts);
	else
		err = clock < 0 ? -EINVAL : clock_gettime(clock, &ts) ? -errno : 0;
	return err ? err : user_write(t, tp, &ts, sizeof(ts));
}

int64_t sys_clock_getres(struct task *t, int clock, uint64_t res)
{
	struct timespec ts;
	int err;

	if (cpu_clock_is(clock))
		err = cpu_clock_resolution(t, clock, &ts);
	else
		err = clock < 0 ? -EINVAL : clock_getres(clock, &ts) ? -errno : 0;
	return err || !res ? err : user_write(t, res, &ts, sizeof(ts));
}

int64_t sys_gettimeofday(struct task *t, uint64_t tv, uint64_t tz)
{
	struct timeval now;

	gettimeofday(&now, NULL);
	return tv ? user_write(t, tv, &now, sizeof(now)) : 0;
}

/* --- setting: programs are not granted the host's clock --- */

int64_t sys_clock_settime(struct task *t, int clock, uint64_t tp)
{
	struct timespec ts;

	if (clock != CLOCK_REALTIME)
		return -EINVAL;
	if (user_read(t, &ts, tp, sizeof(ts)))
		return -EFAULT;
	return is_time(&ts) ? -EPERM : -EINVAL;
}

int64_t sys_settimeofday(struct task *t, uint64_t tv, uint64_t tz)
{
	struct timeval now;
	struct timezone zone;

	if ((tv && user_read(t, &now, tv, sizeof(now))) || (tz && user_read(t, &zone, tz, sizeof(zone))))
		return -EFAULT;
	return tv && (now.tv_usec < 0 || now.tv_usec >= 1000000 || now.tv_sec < 0) ? -EINVAL : -EPERM;
}

int64_t sys_clock_adjtime(struct task *t, int clock, uint64_t tx)
{
	struct timex timex;
	int state;

	if (user_read(t, &timex, tx, sizeof(timex)))
		return -EFAULT;
	if (clock < 0)
		return -EINVAL;
	if (timex.modes)
		return -EPERM;
	state = clock_adjtime(clock, &timex);
	if (state < 0)
		return -errno;
	return user_write(t, tx, &timex, sizeof(timex)) ? -EFAULT : state;
}

int64_t sys_adjtimex(struct task *t, uint64_t tx)
{
	return sys_clock_adjtime(t, CLOCK_REALTIME, tx);
}

int64_t sys_time(struct task *t, uint64_t tloc)
{
	time_t now = time(NULL);

	if (tloc && user_write(t, tloc, &now, sizeof(now)))
		return -EFAULT;
	return now;
}

int64_t sys_times(struct task *t, uint64_t buf)
{
	struct usage self, children;
	struct tms out;

	pthread_mutex_lock(&t->kernel->lock);
	usage_of_process(t->process, &self);
	children = t->process->children;
	pthread_mutex_unlock(&t->kernel->lock);
	out = (struct tms){ (clock_t)usage_ticks(self.user_ns), (clock_t)usage_ticks(self.system_ns),
			    (clock_t)usage_ticks(children.user_ns), (clock_t)usage_ticks(children.system_ns) };
	if (buf && user_write(t, buf, &out, sizeof(out)))
		return -EFAULT;
	return (int64_t)usage_ticks(clock_ns(CLOCK_MONOTONIC));
}

/* Sleep until @until on CLOCK_MONOTONIC, or until a signal is pending. Return: 0 or -EINTR. */
static int sleep_until(struct task *t, uint64_t until)
{
	struct kernel *k = t->kernel;
	uint64_t now;
	int err;

	cpu_release(t);
	pthread_mutex_lock(&k->lock);
	while (!signal_pending(t) && (now = clock_ns(CLOCK_MONOTONIC)) < until)
		kernel_wait(k, until - now);
	err = signal_pending(t) && clock_ns(CLOCK_MONOTONIC) < until ? -EINTR : 0;
	pthread_mutex_unlock(&k->lock);
	return err;
}

#define US_PER_SEC 1000000
#define MAX_SECONDS (INT64_MAX / NS_PER_SEC)	/* longer times become INT64_MAX ns, as in Linux */

bool is_time(const struct timespec *ts)
{
	return ts->tv_sec >= 0 && ts->tv_nsec >= 0 && ts->tv_nsec < NS_PER_SEC;
}

uint64_t timespec_ns(const struct timespec *ts)
{
	return ts->tv_sec < MAX_SECONDS ? (uint64_t)ts->tv_sec * NS_PER_SEC + (uint64_t)ts->tv_nsec : INT64_MAX;
}

struct timespec ns_timespec(uint64_t ns)
{
	return (struct timespec){ (time_t)(ns / NS_PER_SEC), (long)(ns % NS_PER_SEC) };
}

/* A sleep was interrupted: store the time that is left, unless @rest is 0. */
static int interrupted(struct task *t, uint64_t ns, uint64_t rest)
{
	const struct timespec left = ns_timespec(ns);

	return rest && user_write(t, rest, &left, sizeof(left)) ? -EFAULT : -EINTR;
}

/* Sleep for @ns. The time now and @ns are below 2^63, so the sum does not wrap. */
static int64_t sleep_for(struct task *t, uint64_t ns, uint64_t rest)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + ns, now;

	if (!sleep_until(t, until))
		return 0;
	now = clock_ns(CLOCK_MONOTONIC);
	return interrupted(t, until > now ? until - now : 0, rest);
}

int64_t sys_nanosleep(struct task *t, uint64_t duration, uint64_t rem)
{
	struct timespec ts;

	if (user_read(t, &ts, duration, sizeof(ts)))
		return -EFAULT;
	return is_time(&ts) ? sleep_for(t, timespec_ns(&ts), rem) : -EINVAL;
}

static int64_t sleep_by_cpu_clock(struct task *t, int clock, bool absolute, uint64_t ns, uint64_t rest)
{
	uint64_t left;
	int err = cpu_clock_sleep(t, clock, absolute, ns, &left);

	return err == -EINTR ? interrupted(t, left, absolute ? 0 : rest) : err;
}

int64_t sys_clock_nanosleep(struct task *t, int clock, int flags, uint64_t request, uint64_t remain)
{
	bool of_cpu = cpu_clock_is(clock), absolute = flags & TIMER_ABSTIME;
	struct timespec ts, now;
	uint64_t until, from;

	if (!of_cpu && (clock < 0 || clock_gettime(clock, &now)))
		return clock < 0 ? -EOPNOTSUPP : -EINVAL;	/* negative: of a device */
	if (user_read(t, &ts, request, sizeof(ts)))
		return -EFAULT;
	if (!is_time(&ts))
		return -EINVAL;
	if (of_cpu)
		return sleep_by_cpu_clock(t, clock, absolute, timespec_ns(&ts), remain);
	if (!absolute)
		return sleep_for(t, timespec_ns(&ts), remain);
	until = timespec_ns(&ts);
	from = timespec_ns(&now);
	return until > from ? sleep_for(t, until - from, 0) : 0;
}

/* --- interval timers --- */

static bool is_timeval(const struct timeval *tv)
{
	return tv->tv_sec >= 0 && tv->tv_usec >= 0 && tv->tv_usec < US_PER_SEC;
}

static uint64_t timeval_ns(const struct timeval *tv)
{
	return timespec_ns(&(struct timespec){ tv->tv_sec, tv->tv_usec * NS_PER_US });
}

struct timeval ns_timeval(uint64_t ns)
{
	return (struct timeval){ (time_t)(ns / NS_PER_SEC), (suseconds_t)(ns % NS_PER_SEC / NS_PER_US) };
}

/* kernel->lock held. */
static struct itimerval get_timer(struct process *p, int which)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC), interval = p->alarm_interval;
	uint64_t left = p->alarm_at > now ? p->alarm_at - now : p->alarm_at ? 1000 : 0;

	if (which != ITIMER_REAL)
		cpu_timer_get(p, which, &left, &interval);
	return (struct itimerval){ .it_value = ns_timeval(left), .it_interval = ns_timeval(interval) };
}

/* The old value is returned. */
static struct itimerval set_timer(struct process *p, int which, uint64_t value, uint64_t interval)
{
	struct itimerval old;
	uint64_t now;

	pthread_mutex_lock(&p->kernel->lock);
	old = get_timer(p, which);
	if (which == ITIMER_REAL) {
		now = clock_ns(CLOCK_MONOTONIC);
		p->alarm_at = !value ? 0 : value < INT64_MAX - now ? now + value : INT64_MAX;
		p->alarm_interval = interval;
	} else {
		cpu_timer_set(p, which, value, interval);
	}
	pthread_mutex_unlock(&p->kernel->lock);
	return old;
}

static bool is_timer(int which)
{
	return which == ITIMER_REAL || which == ITIMER_VIRTUAL || which == ITIMER_PROF;
}

int64_t sys_setitimer(struct task *t, int which, uint64_t value, uint64_t old_value)
{
	struct itimerval new, old;

	memset(&new, 0, sizeof(new));		/* NULL stops the timer: setitimer(2) */
	if (value && user_read(t, &new, value, sizeof(new)))
		return -EFAULT;
	if (!is_timer(which) || !is_timeval(&new.it_value) || !is_timeval(&new.it_interval))
		return -EINVAL;
	old = set_timer(t->process, which, timeval_ns(&new.it_value), timeval_ns(&new.it_interval));
	return old_value ? user_write(t, old_value, &old, sizeof(old)) : 0;
}

int64_t sys_getitimer(struct task *t, int which, uint64_t value)
{
	struct itimerval it;

	if (!is_timer(which))
		return -EINVAL;
	pthread_mutex_lock(&t->kernel->lock);
	it = get_timer(t->process, which);
	pthread_mutex_unlock(&t->kernel->lock);
	return user_write(t, value, &it, sizeof(it));
}

int64_t sys_alarm(struct task *t, uint32_t seconds)
{
	struct itimerval old = set_timer(t->process, ITIMER_REAL, (uint64_t)seconds * NS_PER_SEC, 0);

	/* Rounded to seconds, but 1 instead of 0. */
	return old.it_value.tv_sec +
	       (old.it_value.tv_usec >= US_PER_SEC / 2 || (!old.it_value.tv_sec && old.it_value.tv_usec));
}
