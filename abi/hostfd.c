/* SPDX-License-Identifier: MIT */
/*
 * abi/hostfd.c - count the descriptors of the host that programs use. Some are reserved for Vellum, which needs them to
 * write files back and to report. Files are counted apart from processes and their current directories, so that open
 * files never make fork(2) fail.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>

#include "abi/task.h"

#define OWN_FDS		64u	/* reserved for Vellum */
#define MAX_POOL	65536u	/* each costs the host about a kilobyte */
#define MIN_FOR_PROGRAMS 32u	/* a run does not start with less */
#define ASSUMED_OPEN	256u	/* at start, if /proc is not mounted */

#define PER_PROCESS	2u	/* what a system call opens */
#define PER_TASK	(PER_PROCESS + 1)	/* and a current directory, which threads may have of their own */

static struct pool {
	unsigned limit, used;	/* used: atomic */
} files, tasks;

static unsigned count_open(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	if (!dir)
		return ASSUMED_OPEN;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

int hostfd_init(char *why, size_t size)
{
	unsigned own = count_open() + OWN_FDS, all;
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim))
		lim.rlim_cur = 1024;
	if (lim.rlim_cur < own + MIN_FOR_PROGRAMS) {
		snprintf(why, size, "the limit of open files is %llu, too low for a run; raise it with ulimit -n %u",
			 (unsigned long long)lim.rlim_cur, own + MIN_FOR_PROGRAMS);
		return -1;
	}
	all = lim.rlim_cur - own < 2 * MAX_POOL ? (unsigned)lim.rlim_cur - own : 2 * MAX_POOL;
	tasks = (struct pool){ .limit = all / 2 < PER_TASK * MAX_TASKS ? all / 2 : PER_TASK * MAX_TASKS };
	files = (struct pool){ .limit = all - tasks.limit < MAX_POOL ? all - tasks.limit : MAX_POOL };
	return 0;
}

static void release(struct pool *pool, unsigned n)
{
	__atomic_fetch_sub(&pool->used, n, __ATOMIC_RELAXED);
}

static bool reserve(struct pool *pool, unsigned n)
{
	if (__atomic_add_fetch(&pool->used, n, __ATOMIC_RELAXED) <= pool->limit)
		return true;
	release(pool, n);
	return false;
}

bool hostfd_reserve(unsigned n)
{
	return reserve(&files, n);
}

void hostfd_release(unsigned n)
{
	release(&files, n);
}

bool hostfd_reserve_process(void)
{
	return reserve(&tasks, PER_PROCESS);
}

void hostfd_release_process(void)
{
	release(&tasks, PER_PROCESS);
}

bool hostfd_reserve_directory(void)
{
	return reserve(&tasks, 1);
}

void hostfd_release_directory(void)
{
	release(&tasks, 1);
}
