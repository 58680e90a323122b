/* SPDX-License-Identifier: MIT */
/* abi/usage.c - CPU time, faults and context switches; see usage.h. */
#define _GNU_SOURCE
#include "abi/usage.h"

#include <string.h>

#include "abi/task.h"

#define LOAD(x) __atomic_load_n(&(x), __ATOMIC_RELAXED)
#define STORE(x, value) __atomic_store_n(&(x), value, __ATOMIC_RELAXED)
#define BYTES_PER_KIB 1024

/* --- clocks --- */

/* A reader that sees one of the stores also sees the odd number before it. */
static void clock_switch(struct usage_clock *clock, enum usage_mode mode, uint64_t now)
{
	uint64_t passed = now - clock->since;

	STORE(clock->seq, clock->seq + 1);
	if (clock->mode == USAGE_USER)
		__atomic_store_n(&clock->user_ns, clock->user_ns + passed, __ATOMIC_RELEASE);
	else if (clock->mode == USAGE_SYSTEM)
		__atomic_store_n(&clock->system_ns, clock->system_ns + passed, __ATOMIC_RELEASE);
	__atomic_store_n(&clock->mode, mode, __ATOMIC_RELEASE);
	__atomic_store_n(&clock->since, now, __ATOMIC_RELEASE);
	__atomic_store_n(&clock->seq, clock->seq + 1, __ATOMIC_RELEASE);
}

void usage_switch(struct task *t, enum usage_mode mode)
{
	uint64_t now = clock_ns(CLOCK_MONOTONIC);

	clock_switch(&t->clock, mode, now);
	clock_switch(&t->kernel->cpu_clocks[t->cpu], mode, now);
}

void usage_clock_read(const struct usage_clock *clock, uint64_t *user_ns, uint64_t *system_ns)
{
	enum usage_mode mode;
	uint64_t since, now;
	unsigned seq;

	do {
		seq = __atomic_load_n(&clock->seq, __ATOMIC_ACQUIRE);
		mode = __atomic_load_n(&clock->mode, __ATOMIC_ACQUIRE);
		since = __atomic_load_n(&clock->since, __ATOMIC_ACQUIRE);
		*user_ns = __atomic_load_n(&clock->user_ns, __ATOMIC_ACQUIRE);
		*system_ns = __atomic_load_n(&clock->system_ns, __ATOMIC_ACQUIRE);
		now = clock_ns(CLOCK_MONOTONIC);
	} while ((seq & 1) || LOAD(clock->seq) != seq);
	now = now > since ? now - since : 0;
	if (mode == USAGE_USER)
		*user_ns += now;
	else if (mode == USAGE_SYSTEM)
		*system_ns += now;
}

/* --- sums --- */

void usage_restart(struct task *t, const struct usage *usage)
{
	struct usage_clock *clock = &t->clock;

	STORE(clock->seq, clock->seq + 1);
	__atomic_store_n(&clock->user_ns, usage->user_ns, __ATOMIC_RELEASE);
	__atomic_store_n(&clock->system_ns, usage->system_ns, __ATOMIC_RELEASE);
	__atomic_store_n(&clock->seq, clock->seq + 1, __ATOMIC_RELEASE);
	STORE(t->faults, usage->faults);
	STORE(t->voluntary, usage->voluntary);
	STORE(t->involuntary, usage->involuntary);
	STORE(t->bytes_read, usage->bytes_read);
	STORE(t->bytes_written, usage->bytes_written);
	STORE(t->reads, usage->reads);
	STORE(t->writes, usage->writes);
}

void usage_note_memory(struct task *t)
{
	uint64_t rss = vellum_mm_rss(t->gmm->mm) * VELLUM_PAGE_SIZE;
	struct process *p = t->process;

	if (rss > LOAD(p->max_rss))	/* another thread may note less at the same time: the next fault corrects that */
		STORE(p->max_rss, rss);
}

void usage_count_fault(struct task *t)
{
	STORE(t->faults, t->faults + 1);
	usage_note_memory(t);
}

void usage_count_io(struct task *t, bool write, int64_t n)
{
	uint64_t *calls = write ? &t->writes : &t->reads, *bytes = write ? &t->bytes_written : &t->bytes_read;

	STORE(*calls, *calls + 1);
	if (n > 0)
		STORE(*bytes, *bytes + (uint64_t)n);
}

void usage_add(struct usage *sum, const struct usage *more)
{
	sum->user_ns += more->user_ns;
	sum->system_ns += more->system_ns;
	sum->faults += more->faults;
	sum->voluntary += more->voluntary;
	sum->involuntary += more->involuntary;
	sum->bytes_read += more->bytes_read;
	sum->bytes_written += more->bytes_written;
	sum->reads += more->reads;
	sum->writes += more->writes;
	if (more->max_rss > sum->max_rss)
		sum->max_rss = more->max_rss;
}

void usage_of_thread(const struct task *t, struct usage *out)
{
	usage_clock_read(&t->clock, &out->user_ns, &out->system_ns);
	out->faults = LOAD(t->faults);
	out->voluntary = LOAD(t->voluntary);
	out->involuntary = LOAD(t->involuntary);
	out->bytes_read = LOAD(t->bytes_read);
	out->bytes_written = LOAD(t->bytes_written);
	out->reads = LOAD(t->reads);
	out->writes = LOAD(t->writes);
	out->max_rss = LOAD(t->process->max_rss);
}

void usage_of_process(const struct process *p, struct usage *out)
{
	struct usage one;

	*out = p->ended;
	out->max_rss = LOAD(p->max_rss);
	for (const struct task *t = p->threads; t; t = t->next) {
		usage_of_thread(t, &one);
		usage_add(out, &one);
	}
}

uint64_t usage_total_ns(const struct usage *u)
{
	return u->user_ns + u->system_ns;
}

uint64_t usage_process_ns(const struct process *p, bool user_only)
{
	struct usage u;

	usage_of_process(p, &u);
	return user_only ? u.user_ns : usage_total_ns(&u);
}

void usage_to_rusage(const struct usage *u, struct rusage *out)
{
	memset(out, 0, sizeof(*out));
	out->ru_utime = ns_timeval(u->user_ns);
	out->ru_stime = ns_timeval(u->system_ns);
	out->ru_maxrss = (long)(u->max_rss / BYTES_PER_KIB);
	out->ru_minflt = (long)u->faults;
	out->ru_nvcsw = (long)u->voluntary;
	out->ru_nivcsw = (long)u->involuntary;
}

uint64_t usage_ticks(uint64_t ns)
{
	return ns / (NS_PER_SEC / USER_HZ);
}

/* --- signals --- */

static void tick_timer(struct process *p, struct cpu_timer *timer, bool user_only, int signo)
{
	uint64_t now;

	if (!timer->at)
		return;
	now = usage_process_ns(p, user_only);
	if (now < timer->at)
		return;
	signal_send(p, &(struct sig_info){ .signo = signo, .code = SI_KERNEL }, false);
	timer->at = timer->interval ? now + timer->interval : 0;
}

/* SIGXCPU at the soft limit and each second after it, SIGKILL at the hard limit. */
static void tick_limit(struct process *p)
{
	const struct rlimit *limit = &p->rlimits[RLIMIT_CPU];
	uint64_t seconds;

	if (limit->rlim_cur == RLIM_INFINITY && limit->rlim_max == RLIM_INFINITY)
		return;
	seconds = usage_process_ns(p, false) / NS_PER_SEC;
	if (seconds >= limit->rlim_max) {
		signal_send(p, &(struct sig_info){ .signo = SIGKILL, .code = SI_KERNEL }, false);
	} else if (seconds >= limit->rlim_cur && seconds >= p->next_xcpu) {
		p->next_xcpu = seconds + 1;
		signal_send(p, &(struct sig_info){ .signo = SIGXCPU, .code = SI_KERNEL }, false);
	}
}

void usage_tick(struct process *p)
{
	tick_timer(p, &p->virtual_timer, true, SIGVTALRM);
	tick_timer(p, &p->prof_timer, false, SIGPROF);
	tick_limit(p);
}
