/* SPDX-License-Identifier: MIT */
/*
 * machine/soft_cpu.h - the software machine's own structures, for soft.c (translations, flushes) and soft_access.c
 * (accesses).
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
	pthread_mutex_t *locks;		/* per CPU: held while another thread edits its TLB or keeps it from memory */
	pthread_mutex_t bus_lock;	/* held while a CPU keeps all others from memory (split locked access) */
	void (*hook)(void *arg);
	void *hook_arg;
	uint32_t stops;			/* threads that keep CPUs from walking */
	struct hostile *hostile;	/* or NULL */
};

/* Lock by trying and yielding: in the explorer, all CPUs share a thread. */
void soft_lock(pthread_mutex_t *lock);

/* Become busy. Waits while another thread holds the CPU (soft_hold()). vellum_soft_leave() ends this. */
void soft_enter(struct vellum_soft_cpu *cpu);

/*
 * The translation that the CPU has cached or finds by a walk; sets A and D as hardware does. The CPU must be busy.
 * NULL: @error is the page fault's error code; 0: the physical address is not RAM.
 */
const struct vellum_soft_tlbe *soft_translate(struct vellum_soft_cpu *cpu, uint64_t addr,
					      enum vellum_soft_access kind, uint32_t *error);

/* --- the TLB: soft_tlb.c. The CPU is busy or held --- */

/* The cached translation that serves the access to @page. NULL: none, or *@faults is set: it refuses the access. */
struct vellum_soft_tlbe *soft_tlb_look_up(struct vellum_soft_cpu *cpu, uint64_t page, enum vellum_soft_access kind,
					  bool *faults);
struct vellum_soft_tlbe *soft_tlb_fill(struct vellum_soft_cpu *cpu, const struct vellum_soft_tlbe *e);
bool soft_tlb_has(struct vellum_soft_cpu *cpu, uint64_t page);
void soft_tlb_drop_batch(struct vellum_soft_cpu *cpu, const struct vellum_flush_batch *batch);
void soft_tlb_drop_all(struct vellum_soft_cpu *cpu);
bool soft_tlb_size_valid(unsigned pages);
int soft_tlb_create(struct vellum_soft_cpu *cpu, unsigned pages);	/* 0 or -ENOMEM */
void soft_tlb_destroy(struct vellum_soft_cpu *cpu);			/* also after a failed creation */

/* --- accesses: soft_access.c --- */

#define SOFT_MAX_ACCESS 16u	/* bytes */

/* Must other CPUs not access memory meanwhile? SPLIT: if the address is not aligned. */
enum soft_lock_kind { SOFT_LOCK_NEVER, SOFT_LOCK_SPLIT, SOFT_LOCK_ALWAYS };

/* An access of 1, 2, 4, 8 or 16 bytes, as vellum_soft_access_slow(). */
enum vellum_fault_result soft_access(struct vellum_soft_cpu *cpu, uint64_t addr, unsigned size,
				     enum vellum_soft_access kind, vellum_soft_fn fn, void *arg, enum soft_lock_kind lock);

/* --- busy CPUs, and CPUs that another thread holds --- */

/* Between these two calls the CPU is not busy: it uses no translation. The caller's own CPU must not be busy. */
void soft_hold(struct vellum_soft_cpu *cpu);
void soft_release(struct vellum_soft_cpu *cpu);

#endif
