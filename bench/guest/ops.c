/* SPDX-License-Identifier: MIT */
/* bench/guest/ops.c - measures, inside a program, a system call and a first access; prints a line each, in ns. */
#include "guest.h"

#define NR_getppid 110
#define CLOCK_MONOTONIC 1
#define CALLS 20000
#define PAGES 4096ul

static long now(void)
{
	struct timespec t;

	check(SYS(NR_clock_gettime, CLOCK_MONOTONIC, &t) == 0, "clock_gettime");
	return t.sec * 1000000000 + t.nsec;
}

/* Compute in picoseconds: there are no fractions here. */
static void put_result(const char *name, long ns, long nr)
{
	put(name);
	put_number((unsigned long)ns * 1000 / (unsigned long)nr, 10);
	put("\n");
}

int guest_main(int argc, char **argv, char **envp)
{
	long start, parent = SYS(NR_getppid, 0);
	int same = 1;
	char *m;

	(void)argc;
	(void)argv;
	(void)envp;
	start = now();
	for (int i = 0; i < CALLS; i++)
		same &= SYS(NR_getppid, 0) == parent;
	put_result("getppid ", now() - start, CALLS);
	check(same, "getppid");

	m = map_private(SLOT(0), PAGES);
	start = now();
	for (unsigned long i = 0; i < PAGES; i++)
		((volatile char *)m)[i * PAGE] = 1;
	put_result("touch ", now() - start, PAGES);
	unmap(m, PAGES);
	return 0;
}
