/* SPDX-License-Identifier: MIT */
/*
 * lib/sched.h - the one place where a scheduler can take control.
 *
 * Every access to a live page-table entry, every lock operation, every wait and every TLB
 * operation of the software MMU passes sched_point() first. In a normal build it is nothing. A
 * test build (-DVELLUM_EXPLORE) gives each logical CPU a coroutine and switches between them
 * there, so that it can run any interleaving of the real code.
 */
#ifndef LIB_SCHED_H
#define LIB_SCHED_H

enum sched_kind {
	SCHED_ENTRY,	/* page-table entry read or changed */
	SCHED_LOCK,	/* lock taken or dropped */
	SCHED_TLB,	/* translation looked up, installed or dropped */
	SCHED_MEMORY,	/* guest memory read or written */
	SCHED_WAIT,	/* cannot go on until somebody else has */
};

#ifdef VELLUM_EXPLORE
void vellum_explore_point(enum sched_kind kind, const volatile void *where);
#define sched_point(kind, where) vellum_explore_point(kind, where)
#else
#define sched_point(kind, where) ((void)0)
#endif

#endif
