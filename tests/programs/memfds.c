/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/memfds.c MIB - files of memfd_create(2) have at most MIB together, filled by write(2), fallocate(2)
 * and stores. After close(2) the space can be used again. Prints one line for each of these calls.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB	(1ul << 20)
#define MAX	4096

static sigjmp_buf back;
static int fds[MAX];
static char bytes[MIB];

static void on_bus(int signo)
{
	siglongjmp(back, signo);
}

static int open_next(int n)
{
	fds[n] = memfd_create("bound", 0);
	return fds[n];
}

static void report(const char *how, unsigned long mib, unsigned long limit, int err)
{
	printf("%s: %s, %s\n", how, mib <= limit && mib + 4 >= limit ? "up to the limit" : "not the limit",
	       err ? strerrorname_np(err) : "no error");
	if (mib > limit || mib + 4 < limit)
		printf("  %lu MiB of %lu\n", mib, limit);
}

static void close_all(int n)
{
	while (n--)
		close(fds[n]);
}

/* One file a MiB, and one that grows. */
static void by_write(unsigned long limit)
{
	int n = 0, err = 0;

	while (n < MAX && !err && open_next(n) >= 0)
		err = write(fds[n++], bytes, MIB) < 0 ? errno : 0;
	report("write", (unsigned long)n - 1, limit, err);
	close_all(n);
}

static void by_fallocate(unsigned long limit)
{
	unsigned long mib = 0;
	int err = 0;

	open_next(0);
	for (; mib < MAX && !err; mib++)
		err = fallocate(fds[0], 0, (off_t)(mib * MIB), MIB) ? errno : 0;
	report("fallocate", mib - 1, limit, err);
	/* After a truncation, the space can be used again. */
	printf("after a truncation: %d\n", ftruncate(fds[0], 0) == 0 && fallocate(fds[0], 0, 0, MIB) == 0);
	close_all(1);
}

static void by_store(unsigned long limit)
{
	const unsigned long size = (limit + 16) * MIB;
	static volatile unsigned long at;
	char *map;

	ftruncate(open_next(0), (off_t)size);	/* sparse: uses no space */
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0], 0);
	signal(SIGBUS, on_bus);
	if (!sigsetjmp(back, 1))
		for (at = 0; at < size; at += 4096)
			map[at] = 1;
	report("stores", at / MIB, limit, at < size ? EFAULT : 0);
	munmap(map, size);
	close_all(1);
}

int main(int argc, char **argv)
{
	unsigned long limit = argc > 1 ? strtoul(argv[1], NULL, 10) : 64;

	memset(bytes, 'm', sizeof(bytes));
	by_write(limit);
	by_fallocate(limit);
	by_store(limit);
	by_write(limit);
	return 0;
}
