/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <vellum/dirty.h>
#include <vellum/host.h>
#include <vellum/mm.h>
#include <vellum/soft.h>

static int print_run(void *arg, uint64_t page, uint64_t nr)
{
	return printf("# changed: %d page(s) at 0x%llx\n", *(int *)arg = (int)nr, (long long)page << 12) < 0;
}
int main(void)
{
	struct vellum_host_ram ram = { .size = sizeof(ram) }; struct vellum_soft *soft; struct vellum_memory *memory; int n = 0;
	struct vellum_mm *mm; struct vellum_tracker *tracker; uint64_t addr;
	struct vellum_map_args map = { .size = sizeof(map), .len = 1 << 20, .prot = 3 /* RW */,
				       .flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS };
	if (vellum_host_ram_create(64 << 20, &ram) || vellum_soft_create(1, &soft) ||
	    vellum_memory_create(&(struct vellum_memory_args){ .size = sizeof(struct vellum_memory_args),
		.host = vellum_host_posix(), .mmu = vellum_soft_mmu_ops(), .machine = soft,
		.ram = ram.base, .ram_size = ram.len }, &memory) ||
	    vellum_mm_create(memory, &mm) || vellum_mmap(mm, &map, &addr) ||
	    vellum_track_mm(mm, 0, VELLUM_TASK_SIZE, VELLUM_TRACK_CLEAN, &tracker))
		return 1;
	vellum_soft_load_mm(vellum_soft_cpu(soft, 0), mm);		/* the emulator's CPU enters it, and stores */
	vellum_soft_store64(vellum_soft_cpu(soft, 0), addr + 5 * VELLUM_PAGE_SIZE, 42);
	vellum_tracker_collect(tracker, 0, ~0ull, print_run, &n);
	vellum_soft_load_mm(vellum_soft_cpu(soft, 0), NULL);
	vellum_tracker_destroy(tracker), vellum_mm_put(mm), vellum_memory_destroy(memory), vellum_soft_destroy(soft);
	return n != 1;
}
