/* SPDX-License-Identifier: MIT */
/*
 * abi/vdso/vdso.c - vdso(7): read clocks without a system call. It is a shared object that is mapped into every
 * program.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

#include "vvar.h"

#define NS_PER_SEC 1000000000u

extern const char __ehdr_start[] __attribute__((visibility("hidden")));

struct timeval_pair {
	int64_t sec, usec;
};

static const volatile struct vvar *vvar(void)
{
	uintptr_t start = (uintptr_t)__ehdr_start;

	__asm__("" : "+r"(start));	/* the compiler must not assume that nothing lies below the symbol */
	return (const volatile struct vvar *)(start - VVAR_BYTES);
}

static uint64_t rdtsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi) : : "memory");
	return (uint64_t)hi << 32 | lo;
}

/* CLOCK_MONOTONIC and CLOCK_REALTIME in ns. Return: 0 if the page is not valid. */
static int read_clocks(uint64_t *mono, uint64_t *real)
{
	const volatile struct vvar *v = vvar();
	uint32_t seq;

	do {
		uint64_t ticks;

		seq = v->seq;
		if (!v->valid)
			return 0;
		__asm__ volatile("" : : : "memory");
		ticks = rdtsc() - v->tsc;
		if ((int64_t)ticks < 0)
			ticks = 0;
		*mono = v->mono_ns + (uint64_t)((unsigned __int128)ticks * v->mult >> 32);
		*real = *mono + (uint64_t)v->real_offset_ns;
		__asm__ volatile("" : : : "memory");
	} while ((seq & 1) || seq != v->seq);
	return 1;
}

static long kernel_call(long nr, long a, long b)
{
	long result;

	__asm__ volatile("syscall" : "=a"(result) : "a"(nr), "D"(a), "S"(b) : "rcx", "r11", "memory");
	return result;
}

int __vdso_clock_gettime(int clock, struct timespec *ts);
int __vdso_clock_gettime(int clock, struct timespec *ts)
{
	uint64_t mono, real;
	int wants_real = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE;

	if (!wants_real && clock != CLOCK_MONOTONIC && clock != CLOCK_MONOTONIC_COARSE &&
	    clock != CLOCK_MONOTONIC_RAW && clock != CLOCK_BOOTTIME)
		return (int)kernel_call(SYS_clock_gettime, clock, (long)ts);
	if (clock == CLOCK_MONOTONIC_RAW || clock == CLOCK_BOOTTIME || !read_clocks(&mono, &real))
		return (int)kernel_call(SYS_clock_gettime, clock, (long)ts);
	if (wants_real)
		mono = real;
	ts->tv_sec = (time_t)(mono / NS_PER_SEC);
	ts->tv_nsec = (long)(mono % NS_PER_SEC);
	return 0;
}

int __vdso_gettimeofday(struct timeval_pair *tv, void *tz);
int __vdso_gettimeofday(struct timeval_pair *tv, void *tz)
{
	uint64_t mono, real;

	if (tz || !tv || !read_clocks(&mono, &real))
		return (int)kernel_call(SYS_gettimeofday, (long)tv, (long)tz);
	tv->sec = (int64_t)(real / NS_PER_SEC);
	tv->usec = (int64_t)(real % NS_PER_SEC / 1000);
	return 0;
}

int64_t __vdso_time(int64_t *out);
int64_t __vdso_time(int64_t *out)
{
	uint64_t mono, real;

	if (!read_clocks(&mono, &real))
		return kernel_call(SYS_time, (long)out, 0);
	if (out)
		*out = (int64_t)(real / NS_PER_SEC);
	return (int64_t)(real / NS_PER_SEC);
}

/* Without a fast way: Linux has these, too, so callers look for them. */
int __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused);
int __vdso_getcpu(unsigned *cpu, unsigned *node, void *unused)
{
	(void)unused;
	return (int)kernel_call(SYS_getcpu, (long)cpu, (long)node);
}

int __vdso_clock_getres(int clock, struct timespec *res);
int __vdso_clock_getres(int clock, struct timespec *res)
{
	return (int)kernel_call(SYS_clock_getres, clock, (long)res);
}

/* The second names that vdso(7) lists. */
#define ALSO_NAMED(name) __asm__(".weak " #name "; .set " #name ", __vdso_" #name)

ALSO_NAMED(clock_gettime);
ALSO_NAMED(gettimeofday);
ALSO_NAMED(time);
ALSO_NAMED(getcpu);
ALSO_NAMED(clock_getres);
