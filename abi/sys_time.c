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

/* Negative clocks belong to a process or descriptor of the host, not of the program. */
static bool is_clock(uint64_t clock)
{
	return (clockid_t)clock >= 0;
}

int64_t sys_clock_gettime(struct task *t, int clock, uint64_t tp)
{
	struct timespec ts;

	if (!is_clock(clock))
		return -EINVAL;
	if (clock_gettime(clock, &ts))
		return -errno;
	return user_write(t, tp, &ts, sizeof(ts));
}

int64_t sys_clock_getres(struct task *t, int clock, uint64_t res)
{
	struct timespec ts;

	if (!is_clock(clock))
		return -EINVAL;
	if (clock_getres(clock, &ts))
		return -errno;
	return res ? user_write(t, res, &ts, sizeof(ts)) : 0;
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
	if (!is_clock(clock))
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
	struct tms none = { 0 };

	if (buf && user_write(t, buf, &none, sizeof(none)))
		return -EFAULT;
	return (int64_t)(clock_ns(CLOCK_MONOTONIC) / (NS_PER_SEC / USER_HZ));
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

/* Sleep for @ns. The time now and @ns are below 2^63, so the sum does not wrap. */
static int64_t sleep_for(struct task *t, uint64_t ns, uint64_t rest)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + ns, now;
	struct timespec left;
	int err;

	err = sleep_until(t, until);
	if (err && rest) {
		now = clock_ns(CLOCK_MONOTONIC);
		until = until > now ? until - now : 0;
		left = (struct timespec){ (time_t)(until / NS_PER_SEC), (long)(until % NS_PER_SEC) };
		if (user_write(t, rest, &left, sizeof(left)))
			return -EFAULT;
	}
	return err;
}

int64_t sys_nanosleep(struct task *t, uint64_t duration, uint64_t rem)
{
	struct timespec ts;

	if (user_read(t, &ts, duration, sizeof(ts)))
		return -EFAULT;
	return is_time(&ts) ? sleep_for(t, timespec_ns(&ts), rem) : -EINVAL;
}

int64_t sys_clock_nanosleep(struct task *t, int clock, int flags, uint64_t request, uint64_t remain)
{
	struct timespec ts, now;
	uint64_t until, from;

	if (!is_clock(clock) || clock_gettime(clock, &now))
		return -EINVAL;
	if (user_read(t, &ts, request, sizeof(ts)))
		return -EFAULT;
	if (!is_time(&ts))
		return -EINVAL;
	if (!(flags & TIMER_ABSTIME))
		return sleep_for(t, timespec_ns(&ts), remain);
	until = timespec_ns(&ts);
	from = timespec_ns(&now);
	return until > from ? sleep_for(t, until - from, 0) : 0;
}

/* --- the real-time interval timer --- */

static bool is_timeval(const struct timeval *tv)
{
	return tv->tv_sec >= 0 && tv->tv_usec >= 0 && tv->tv_usec < US_PER_SEC;
}

static uint64_t timeval_ns(const struct timeval *tv)
{
	return timespec_ns(&(struct timespec){ tv->tv_sec, tv->tv_usec * 1000 });
}

static void get_timer(struct task *t, struct itimerval *it)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);
	uint64_t left = t->process->alarm_at > now ? t->process->alarm_at - now : t->process->alarm_at ? 1000 : 0;

	it->it_value = (struct timeval){ (time_t)(left / NS_PER_SEC), (long)(left % NS_PER_SEC / 1000) };
	it->it_interval = (struct timeval){ (time_t)(t->process->alarm_interval / NS_PER_SEC),
					    (long)(t->process->alarm_interval % NS_PER_SEC / 1000) };
}

static void set_timer(struct task *t, uint64_t value, uint64_t interval, struct itimerval *old)
{
	uint64_t now;

	pthread_mutex_lock(&t->kernel->lock);
	get_timer(t, old);
	now = clock_ns(CLOCK_MONOTONIC);
	t->process->alarm_at = !value ? 0 : value < INT64_MAX - now ? now + value : INT64_MAX;
	t->process->alarm_interval = interval;
	pthread_mutex_unlock(&t->kernel->lock);
}

int64_t sys_setitimer(struct task *t, int which, uint64_t value, uint64_t old_value)
{
	struct itimerval new, old;

	if (which != ITIMER_REAL)
		return -EINVAL;
	memset(&new, 0, sizeof(new));		/* NULL stops the timer: setitimer(2) */
	if (value && user_read(t, &new, value, sizeof(new)))
		return -EFAULT;
	if (!is_timeval(&new.it_value) || !is_timeval(&new.it_interval))
		return -EINVAL;
	set_timer(t, timeval_ns(&new.it_value), timeval_ns(&new.it_interval), &old);
	return old_value ? user_write(t, old_value, &old, sizeof(old)) : 0;
}

int64_t sys_getitimer(struct task *t, int which, uint64_t value)
{
	struct itimerval it;

	if (which != ITIMER_REAL)
		return -EINVAL;
	pthread_mutex_lock(&t->kernel->lock);
	get_timer(t, &it);
	pthread_mutex_unlock(&t->kernel->lock);
	return user_write(t, value, &it, sizeof(it));
}

int64_t sys_alarm(struct task *t, uint32_t seconds)
{
	struct itimerval old;

	set_timer(t, (uint64_t)seconds * NS_PER_SEC, 0, &old);
	/* Rounded to seconds, but 1 instead of 0. */
	return old.it_value.tv_sec +
	       (old.it_value.tv_usec >= US_PER_SEC / 2 || (!old.it_value.tv_sec && old.it_value.tv_usec));
}
