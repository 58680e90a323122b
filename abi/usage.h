/* SPDX-License-Identifier: MIT */
/*
 * abi/usage.h - CPU time, faults and context switches of threads, processes and CPUs: getrusage(2), times(2).
 *
 * User time is the time in which the machine runs the program. System time is the rest of the time for which the thread
 * holds a CPU. A thread that waits for a CPU, or in a host call, uses none.
 */
#ifndef ABI_USAGE_H
#define ABI_USAGE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <time.h>

struct task;
struct process;

enum usage_mode { USAGE_NONE, USAGE_USER, USAGE_SYSTEM };

/* Of a thread or a CPU. One thread changes it at a time; others read it by usage_clock_read(). Every field is atomic. */
struct usage_clock {
	unsigned seq;			/* odd while the rest changes */
	enum usage_mode mode;
	uint64_t since;			/* ns, CLOCK_MONOTONIC: begin of @mode */
	uint64_t user_ns, system_ns;	/* before @since */
};

struct usage {
	uint64_t user_ns, system_ns;
	uint64_t faults;
	uint64_t voluntary, involuntary;	/* context switches */
	uint64_t bytes_read, bytes_written, reads, writes;	/* by system calls */
	uint64_t max_rss;		/* bytes; of several processes: of the greatest */
};

/* The thread of @t begins @mode. It holds a CPU. */
void usage_switch(struct task *t, enum usage_mode mode);
/* For the thread of @t: note how much memory the process has; also count a page fault. */
void usage_note_memory(struct task *t);
void usage_count_fault(struct task *t);
/* For the thread of @t: count a read(2) or write(2) that returned @n. */
void usage_count_io(struct task *t, bool write, int64_t n);
/* The thread's counts are those of @usage again; it runs on no CPU. kernel->lock held. */
void usage_restart(struct task *t, const struct usage *usage);
void usage_clock_read(const struct usage_clock *clock, uint64_t *user_ns, uint64_t *system_ns);

void usage_add(struct usage *sum, const struct usage *more);
/* kernel->lock held, unless @t is the caller's own. */
void usage_of_thread(const struct task *t, struct usage *out);
/* Of the threads that live and those that have ended. kernel->lock held. */
void usage_of_process(const struct process *p, struct usage *out);
uint64_t usage_total_ns(const struct usage *u);
uint64_t usage_ticks(uint64_t ns);	/* as times(2) and /proc count */
/* The time of a process that ITIMER_VIRTUAL (@user_only) or ITIMER_PROF counts. kernel->lock held. */
uint64_t usage_process_ns(const struct process *p, bool user_only);

/* As getrusage(2) and wait4(2) return it. */
void usage_to_rusage(const struct usage *u, struct rusage *out);

/* cpu_clock.c: is @clock a clock of CPU time? It may still be one of no thread or process. */
bool cpu_clock_is(int clock);
/* 0 or -EINVAL. */
int cpu_clock_read(struct task *t, int clock, struct timespec *ts);
int cpu_clock_resolution(struct task *t, int clock, struct timespec *ts);
/* As clock_nanosleep(2). *@left: ns that are left. 0 or a negative errno. */
int cpu_clock_sleep(struct task *t, int clock, bool absolute, uint64_t ns, uint64_t *left);
/* @which: ITIMER_VIRTUAL, ITIMER_PROF. Times in ns. kernel->lock held. */
void cpu_timer_get(struct process *p, int which, uint64_t *value, uint64_t *interval);
void cpu_timer_set(struct process *p, int which, uint64_t value, uint64_t interval);

/* Signals of setitimer(2) and RLIMIT_CPU. kernel->lock held. */
void usage_tick(struct process *p);

#endif
