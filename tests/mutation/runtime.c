/* SPDX-License-Identifier: MIT */
/*
 * tests/mutation/runtime.c - reads which mutant is active, and maps the record of the sites that were reached.
 *
 * The record is a shared mapping of a file, so it has the sites that children reached, and loses nothing if the process
 * aborts.
 *
 * VELLUM_MUTANT=N       the mutant that is active
 * VELLUM_REACHED=FILE   the record; it exists and has a byte for each site
 * VELLUM_TEST=NAME      of a program of unit tests: run this test only
 * VELLUM_MEMORY=MIB     the limit of the address space
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/mutation/runtime.h"

unsigned vellum_mutant;
unsigned char *vellum_reached;

extern void cmocka_set_test_filter(const char *pattern) __attribute__((weak));

static void give_up(const char *what)
{
	perror(what);
	_exit(125);
}

static void map_record(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;
	void *map;

	if (fd < 0 || fstat(fd, &st))
		give_up(path);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		give_up(path);
	close(fd);
	vellum_reached = map;
}

static void limit_memory(unsigned long mib)
{
	struct rlimit limit = { .rlim_cur = mib << 20, .rlim_max = mib << 20 };

	if (setrlimit(RLIMIT_AS, &limit))
		give_up("setrlimit");
}

__attribute__((constructor(101))) static void read_environment(void)
{
	const char *mutant = getenv("VELLUM_MUTANT"), *reached = getenv("VELLUM_REACHED");
	const char *test = getenv("VELLUM_TEST"), *memory = getenv("VELLUM_MEMORY");

	if (memory)
		limit_memory(strtoul(memory, NULL, 10));
	if (reached)
		map_record(reached);
	if (test && cmocka_set_test_filter)
		cmocka_set_test_filter(test);
	if (mutant)
		vellum_mutant = (unsigned)strtoul(mutant, NULL, 10);
}
