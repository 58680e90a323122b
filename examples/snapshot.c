/* SPDX-License-Identifier: MIT */
/* snapshot.c - reset an address space after each run, as a fuzzer does; and run a branch of the frozen state. */
#include <stdio.h>
#include <stdlib.h>
#include <vellum/host.h>
#include <vellum/mm.h>
#include <vellum/snapshot.h>
#include <vellum/soft.h>

#define TRY(call) ((call) ? exit(1) : (void)0)

static uint64_t load(struct vellum_soft_cpu *cpu, uint64_t addr)
{
	uint64_t val;

	TRY(vellum_soft_load64(cpu, addr, &val));
	return val;
}

int main(void)
{
	struct vellum_host_ram ram = { .size = sizeof(ram) };
	struct vellum_map_args map = { .size = sizeof(map), .len = 1 << 20, .prot = VELLUM_PROT_READ | VELLUM_PROT_WRITE,
				       .flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS };
	struct vellum_snapshot_info info = { .size = sizeof(info) };
	struct vellum_soft *soft;
	struct vellum_memory *memory;
	struct vellum_mm *mm, *branch;
	struct vellum_snapshot *snapshot;
	uint64_t addr, bad = 0;

	TRY(vellum_host_ram_create(64 << 20, &ram) || vellum_soft_create(1, &soft));
	TRY(vellum_memory_create(&(struct vellum_memory_args){ .size = sizeof(struct vellum_memory_args),
		.host = vellum_host_posix(), .mmu = vellum_soft_mmu_ops(), .machine = soft,
		.ram = ram.base, .ram_size = ram.len }, &memory));
	TRY(vellum_mm_create(memory, &mm) || vellum_mmap(mm, &map, &addr));
	struct vellum_soft_cpu *cpu = vellum_soft_cpu(soft, 0);
	vellum_soft_load_mm(cpu, mm);
	TRY(vellum_soft_store64(cpu, addr, 42));
	TRY(vellum_snapshot_create(&(struct vellum_snapshot_args){ .size = sizeof(struct vellum_snapshot_args),
		.nr_mms = 1, .mms = &mm }, &snapshot));
	for (uint64_t run = 0; run < 1000; run++) {		/* page 0 and page 1 + run % 4 */
		TRY(vellum_soft_store64(cpu, addr, 43 + run));
		TRY(vellum_soft_store64(cpu, addr + (1 + run % 4) * VELLUM_PAGE_SIZE, run + 1));
		TRY(vellum_snapshot_restore(snapshot) || vellum_snapshot_info(snapshot, &info));
		bad += info.copied_pages != 2 || load(cpu, addr) != 42 || load(cpu, addr + VELLUM_PAGE_SIZE) != 0;
	}
	printf("# word 0 is %llu after %llu restores; the last copied %llu pages\n", (long long)load(cpu, addr),
	       (long long)info.nr_restores, (long long)info.copied_pages);
	TRY(vellum_snapshot_branch(snapshot, &branch, NULL));
	vellum_soft_load_mm(cpu, branch);
	TRY(load(cpu, addr) != 42 || vellum_soft_store64(cpu, addr, 43));
	vellum_soft_load_mm(cpu, mm);				/* a store in the branch does not change the original */
	bad += load(cpu, addr) != 42 || vellum_snapshot_verify(snapshot, NULL);
	vellum_soft_load_mm(cpu, NULL);
	vellum_snapshot_destroy(snapshot), vellum_mm_put(branch), vellum_mm_put(mm), vellum_memory_destroy(memory);
	vellum_soft_destroy(soft), vellum_host_ram_destroy(&ram);
	return bad != 0;
}
