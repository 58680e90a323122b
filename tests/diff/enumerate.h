/* SPDX-License-Identifier: MIT */
/* tests/diff/enumerate.h - the enumerating pass, as a list of episodes. */
#ifndef TESTS_DIFF_ENUMERATE_H
#define TESTS_DIFF_ENUMERATE_H

#include "tests/diff/diff.h"
#include "vellum/uffd.h"

#define PLAN_EPISODES 256u

struct plan {
	unsigned nr, room, nr_episodes;
	struct op *op;
	unsigned first[PLAN_EPISODES];	/* the first operation of each episode */
};

void plan_all(struct plan *p);		/* the caller frees p->op */

#endif
