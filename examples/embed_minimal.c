/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <vellum/dirty.h>
#include <vellum/host.h>
#include <vellum/mm.h>
#include <vellum/soft.h>

static int print_run(void *sum, uint64_t first, uint64_t nr)
{
	*(uint64_t *)sum += nr;
	return printf("# dirty: %d page(s) from %#llx000\n", (int)nr, (long long)first) < 0;
}

int main(void)
{
	struct vellum_host_ram ram;
	struct vellum_soft *soft;
	struct vellum_memory *mem;
	struct vellum_mm *mm;
	struct vellum_tracker *tracker;
	uint64_t at, len = 64 * VELLUM_PAGE_SIZE, sum = 0;

	if (vellum_host_ram_create(16 << 20, &ram) || vellum_soft_create(1, &soft))
		return 1;
	struct vellum_memory_args args = { .size = sizeof(args), .ram = ram.base, .ram_size = ram.size,
		.host = vellum_host_posix(), .host_ctx = &ram, .mmu = vellum_soft_mmu_ops(), .machine = soft };
	struct vellum_map_args map = { .size = sizeof(map), .len = len,
		.prot = VELLUM_PROT_READ | VELLUM_PROT_WRITE,
		.flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS };
	if (vellum_memory_create(&args, &mem) || vellum_mm_create(mem, &mm) ||
	    vellum_mmap(mm, &map, &at) || vellum_track_mm(mm, at, at + len, VELLUM_TRACK_CLEAN, &tracker))
		return 1;
	vellum_soft_run(vellum_soft_cpu(soft, 0), mm);
	vellum_soft_store64(vellum_soft_cpu(soft, 0), at + 3 * VELLUM_PAGE_SIZE, 42);
	vellum_soft_store64(vellum_soft_cpu(soft, 0), at + 9 * VELLUM_PAGE_SIZE, 43);
	vellum_tracker_collect(tracker, 0, ~0ull, print_run, &sum);	/* pages 3 and 9 of 64 */
	vellum_tracker_destroy(tracker);
	vellum_soft_run(vellum_soft_cpu(soft, 0), NULL);
	vellum_mm_put(mm);
	int bad = sum != 2 || vellum_memory_destroy(mem);
	vellum_soft_destroy(soft);
	vellum_host_ram_destroy(&ram);
	return printf("%sok - embed_minimal found the pages stored to\n", bad ? "not " : "") < 0 || bad;
}
