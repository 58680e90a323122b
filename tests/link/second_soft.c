/* SPDX-License-Identifier: MIT */
/* tests/link/second_soft.c - the library's software machine behind second.h. */
#include "tests/link/second.h"

#include <stdlib.h>

#include "vellum/soft.h"

struct cpu {
	struct vellum_soft *soft;
};

const char *const machine_name = "machine/soft.c";

struct cpu *machine_create(void)
{
	struct cpu *cpu = malloc(sizeof(*cpu));

	if (cpu && vellum_soft_create(1, &cpu->soft)) {
		free(cpu);
		cpu = NULL;
	}
	return cpu;
}

void machine_destroy(struct cpu *cpu)
{
	vellum_soft_destroy(cpu->soft);
	free(cpu);
}

const struct vellum_mmu_ops *machine_ops(void)
{
	return vellum_soft_mmu_ops();
}

void *machine_context(struct cpu *cpu)
{
	return cpu->soft;
}

void cpu_enter(struct cpu *cpu, struct vellum_mm *mm)
{
	vellum_soft_load_mm(vellum_soft_cpu(cpu->soft, 0), mm);
}

enum vellum_fault_result cpu_load(struct cpu *cpu, uint64_t addr, uint64_t *value)
{
	return vellum_soft_load64(vellum_soft_cpu(cpu->soft, 0), addr, value);
}

enum vellum_fault_result cpu_store(struct cpu *cpu, uint64_t addr, uint64_t value)
{
	return vellum_soft_store64(vellum_soft_cpu(cpu->soft, 0), addr, value);
}
