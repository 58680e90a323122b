/* SPDX-License-Identifier: MIT */
/* tests/programs/show.h - print calls with their results, for programs whose output is compared with the host's. */
#ifndef TESTS_PROGRAMS_SHOW_H
#define TESTS_PROGRAMS_SHOW_H

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Print the call and its result. */
#define SHOW(call) show(#call, (long)(call))

static inline long show(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerrorname_np(errno));
	else
		printf("%s: %ld\n", what, result);
	return result;
}

/* Descriptors differ between runs. */
#define OPEN(call) opened(#call, call)

static inline int opened(const char *what, int fd)
{
	printf("%s: %s\n", what, fd < 0 ? strerrorname_np(errno) : "opened");
	return fd;
}

#endif
