/* SPDX-License-Identifier: MIT */
/*
 * abi/hostfd.c - descriptors of the host that programs use up: counted, so that Vellum always has some left
 * to end with, to write files back and to report; and so that files never keep processes from being born.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>

#include "abi/task.h"

#define RESERVE	    64u		/* Vellum's own */
#define MOST	    65536u	/* each costs the host a kilobyte or so */
#define LEAST	    32u		/* for programs: less is no run */
#define MANY_OPEN   256u	/* a guess, where /proc is not mounted */

/* What a process has at once: its directory, and two that a system call opens. */
#define PER_TASK    3u

static struct pool {
	unsigned limit, used;	/* used: atomic */
} files, tasks;

static unsigned count_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	if (!dir)
		return MANY_OPEN;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

int hostfd_start(char *why, size_t size)
{
	unsigned own = count_open() + RESERVE, all;
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim))
		lim.rlim_cur = 1024;
	if (lim.rlim_cur < own + LEAST) {
		snprintf(why, size, "%llu open files are too few for a run; raise the limit (ulimit -n) to %u or more",
			 (unsigned long long)lim.rlim_cur, own + LEAST);
		return -1;
	}
	all = lim.rlim_cur - own < 2 * MOST ? (unsigned)lim.rlim_cur - own : 2 * MOST;
	tasks = (struct pool){ .limit = all / 2 < PER_TASK * MAX_TASKS ? all / 2 : PER_TASK * MAX_TASKS };
	files = (struct pool){ .limit = all - tasks.limit < MOST ? all - tasks.limit : MOST };
	return 0;
}

static void give(struct pool *pool, unsigned n)
{
	__atomic_fetch_sub(&pool->used, n, __ATOMIC_RELAXED);
}

static bool take(struct pool *pool, unsigned n)
{
	if (__atomic_add_fetch(&pool->used, n, __ATOMIC_RELAXED) <= pool->limit)
		return true;
	give(pool, n);
	return false;
}

bool hostfd_take(unsigned n)
{
	return take(&files, n);
}

void hostfd_give(unsigned n)
{
	give(&files, n);
}

bool hostfd_take_task(void)
{
	return take(&tasks, PER_TASK);
}

void hostfd_give_task(void)
{
	give(&tasks, PER_TASK);
}
