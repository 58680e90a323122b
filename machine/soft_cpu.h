/* SPDX-License-Identifier: MIT */
/*
 * machine/soft_cpu.h - the software machine's own structures: soft.c (translations, flushes) and soft_access.c
 * (what CPUs do by them).
 */
#ifndef MACHINE_SOFT_CPU_H
#define MACHINE_SOFT_CPU_H

#include <pthread.h>

#include "machine/soft_hostile.h"

#define EXPORT __attribute__((visibility("default")))

/* Lock order: bus_lock, locks[]. */
struct vellum_soft {
	unsigned nr_cpus;
	struct vellum_soft_cpu *cpus;
	pthread_mutex_t *locks;		/* per CPU: its TLB is edited, or it is kept from memory */
	pthread_mutex_t bus_lock;	/* for whom all CPUs but one are kept from memory */
	void (*hook)(void *arg);
	void *hook_arg;
	uint32_t stops;			/* threads that keep CPUs from walking */
	struct hostile *hostile;	/* or NULL */
};

/* Tried rather than waited for: the explorer's CPUs share a thread. */
void soft_lock(pthread_mutex_t *lock);

/* Become busy, after any thread that holds the CPU has released it. vellum_soft_leave() ends it. */
void soft_enter(struct vellum_soft_cpu *cpu);

/*
 * What the CPU, which is busy, has cached or finds by a walk, with A and D set as silicon does. NULL: @error says
 * why not; 0: nothing answers there.
 */
const struct vellum_soft_tlbe *soft_translate(struct vellum_soft_cpu *cpu, uint64_t addr,
					      enum vellum_soft_access kind, uint32_t *error);

/* Between these two the CPU is not busy: it uses no translation. The caller's own CPU must not be busy. */
void soft_hold(struct vellum_soft_cpu *cpu);
void soft_release(struct vellum_soft_cpu *cpu);

#endif
