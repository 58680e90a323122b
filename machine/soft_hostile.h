/* SPDX-License-Identifier: MIT */
/* machine/soft_hostile.h - the caches of CPUs in hostile mode (vellum_soft_set_hostile()). */
#ifndef MACHINE_SOFT_HOSTILE_H
#define MACHINE_SOFT_HOSTILE_H

#include "vellum/soft.h"

struct hostile;

int hostile_create(unsigned nr_cpus, uint32_t flags, struct hostile **out);
void hostile_destroy(struct hostile *h);	/* NULL is fine */
/* Is any of these VELLUM_SOFT_* set? @h NULL: none is. */
bool hostile_is(const struct hostile *h, uint32_t flags);

/* --- caches of one CPU, which must be busy or held (soft_hold()), as for its TLB --- */

struct vellum_soft_tlbe *hostile_find(struct hostile *h, unsigned cpu, uint64_t page);	/* with any rights; or NULL */
struct vellum_soft_tlbe *hostile_fill(struct hostile *h, unsigned cpu, const struct vellum_soft_tlbe *e);
uint64_t *hostile_table(struct hostile *h, unsigned cpu, uint64_t addr);	/* the last-level table, or NULL */
void hostile_keep_table(struct hostile *h, unsigned cpu, uint64_t addr, uint64_t *table);
void hostile_drop(struct hostile *h, unsigned cpu, const struct vellum_flush_batch *batch); /* NULL: all */
void hostile_fault(struct hostile *h, unsigned cpu, uint64_t addr);	/* a fault drops the translation of @addr */

/* --- the caches for data; any thread may call these --- */

/* Call @fn on the bytes that the CPU sees at @addr. @host: the page in memory. */
void hostile_access(struct hostile *h, const struct vellum_soft_cpu *cpu, uint64_t addr, char *host,
		    bool write, vellum_soft_fn fn, void *arg);
void hostile_flush_cache(struct hostile *h, const struct vellum_mm *mm, uint64_t start, uint64_t end);
/* CPUs have flushed the batch; NULL: everything of @mm. */
void hostile_flushed(struct hostile *h, const struct vellum_mm *mm, const struct vellum_flush_batch *batch);
void hostile_write_back(struct hostile *h, const struct vellum_soft_cpu *cpu);	/* NULL: all CPUs */

#endif
