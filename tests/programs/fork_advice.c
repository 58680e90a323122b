/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/fork_advice.c - memory that a child gets as zeros, or not at all: madvise(2) before
 * fork(2). The output is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"

#define PAGE  4096
#define PAGES 8

static char *map(int flags)
{
	char *p = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);

	if (p == MAP_FAILED)
		exit(1);
	memset(p, 'p', PAGES * PAGE);
	return p;
}

static long count(const char *p, char what)
{
	long n = 0;

	for (int i = 0; i < PAGES * PAGE; i++)
		n += p[i] == what;
	return n;
}

/* What a child finds. */
static void look(const char *wiped, char *absent, const char *plain)
{
	SHOW(count(wiped, 0));
	SHOW(count(plain, 'p'));
	SHOW(madvise(absent, PAGES * PAGE, MADV_NORMAL));
	SHOW(mmap(absent, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE | MAP_FIXED, -1, 0) == absent);
	SHOW(count(absent, 0));
	fflush(stdout);
}

static void child(char *wiped, char *absent, const char *plain)
{
	int status;

	look(wiped, absent, plain);
	SHOW(madvise(wiped, PAGES * PAGE, MADV_KEEPONFORK));
	SHOW(madvise(absent, PAGES * PAGE, MADV_DONTFORK));
	memset(wiped, 'p', PAGES / 2 * PAGE);	/* the other half stays as the fork left it */
	absent[PAGE] = 1;
	fflush(stdout);
	if (!fork()) {
		look(wiped, absent, plain);
		_exit(0);
	}
	wait(&status);
	SHOW(absent[PAGE]);
	fflush(stdout);
	_exit(0);
}

int main(void)
{
	char *wiped = map(MAP_PRIVATE), *absent = map(MAP_PRIVATE), *plain = map(MAP_PRIVATE);
	int status;

	SHOW(madvise(wiped, PAGES * PAGE, MADV_WIPEONFORK));
	SHOW(madvise(absent, PAGES * PAGE, MADV_DONTFORK));
	fflush(stdout);
	if (!fork())
		child(wiped, absent, plain);
	wait(&status);
	SHOW(count(wiped, 'p'));
	SHOW(count(absent, 'p'));
	return 0;
}
