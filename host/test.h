/* SPDX-License-Identifier: MIT */
/* host/test.h - a deterministic host for tests: counts calls, fails the nth allocation, finds leaks. */
#ifndef HOST_TEST_H
#define HOST_TEST_H

#include "vellum/host.h"

struct test_host {
	uint64_t nr_allocs;	/* so far */
	uint64_t fail_at;	/* number of the allocation that fails, from 1; 0: none */
	uint64_t fail_commits;	/* not 0: commits fail */
	uint64_t live;		/* allocations not freed */
	uint64_t live_bytes;
	uint64_t bugs;		/* calls of bug() */
	const char *last_bug;
	uint64_t interrupted;	/* what interrupted() returns: VELLUM_INTERRUPTED, VELLUM_KILLED */
	uint64_t nr_asked;	/* calls of interrupted() */
	uint64_t nr_user_waits;	/* calls of wait_for_user() */
	uint64_t kill_at;	/* from this call on, interrupted() returns VELLUM_KILLED; 0: never */
};

const struct vellum_host_ops *test_host_ops(void);

#endif
