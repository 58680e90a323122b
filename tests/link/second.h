/* SPDX-License-Identifier: MIT */
/* tests/link/second.h - a machine of one CPU, as second_host.c uses it: two files implement it. */
#ifndef TESTS_LINK_SECOND_H
#define TESTS_LINK_SECOND_H

#include "vellum/mmu.h"

struct cpu;

extern const char *const machine_name;
struct cpu *machine_create(void);
void machine_destroy(struct cpu *cpu);
/* What vellum_memory_create() gets as @mmu and @machine. */
const struct vellum_mmu_ops *machine_ops(void);
void *machine_context(struct cpu *cpu);

void cpu_enter(struct cpu *cpu, struct vellum_mm *mm);	/* NULL: leave */
enum vellum_fault_result cpu_load(struct cpu *cpu, uint64_t addr, uint64_t *value);
enum vellum_fault_result cpu_store(struct cpu *cpu, uint64_t addr, uint64_t value);

#endif
