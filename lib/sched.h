/* SPDX-License-Identifier: MIT */
/*
 * lib/sched.h - the one place where a scheduler can take control.
 *
 * Every access to a live page-table entry, every lock operation, every wait, every TLB operation of the software MMU
 * and every access of its CPUs to memory calls sched_point() first. In a normal build it does nothing. A test build
 * (-DVELLUM_EXPLORE) gives each logical CPU a coroutine and switches between them there, so it can run any
 * interleaving of the real code.
 *
 * A test build also gives each logical CPU a store buffer, as x86 has. A plain store (sched_store) becomes visible to
 * others later, in order. The thread's own loads (sched_load) see it at once. Before a locked instruction
 * (sched_locked) all buffered stores become visible.
 */
#ifndef LIB_SCHED_H
#define LIB_SCHED_H

enum sched_kind {
	SCHED_ENTRY,	/* page-table entry read or changed */
	SCHED_LOCK,	/* lock taken or dropped */
	SCHED_TLB,	/* translation looked up, installed or dropped */
	SCHED_MEMORY,	/* guest memory read or written */
	SCHED_WAIT,	/* waits for another thread */
};

#ifdef VELLUM_EXPLORE
#include <stdbool.h>
#include <stdint.h>

void vellum_explore_point(enum sched_kind kind, const volatile void *where);
void vellum_explore_store(volatile void *where, uint64_t val, unsigned size);
uint64_t vellum_explore_load(const volatile void *where, unsigned size);
void vellum_explore_locked(void);
bool vellum_explore_membarrier(void);		/* the machine has membarrier(2) */
void vellum_explore_fence_all(void);		/* what membarrier(2) does */
#define sched_point(kind, where) vellum_explore_point(kind, where)
#define sched_store(where, val, order) vellum_explore_store(where, (uint64_t)(val), sizeof(*(where)))
#define sched_load(where, order) ((__typeof__(*(where)))vellum_explore_load(where, sizeof(*(where))))
#define sched_locked() vellum_explore_locked()
#else
#define sched_point(kind, where) ((void)0)
#define sched_store(where, val, order) __atomic_store_n(where, val, order)
#define sched_load(where, order) __atomic_load_n(where, order)
#define sched_locked() ((void)0)
#endif

#endif
