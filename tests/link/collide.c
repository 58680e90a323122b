/* SPDX-License-Identifier: MIT */
/*
 * A user of libvellum that happens to have names any memory manager would use inside. Neither
 * side may get the other's. mmap(), a store and fork() are enough to need all of these inside.
 */
#include <stdio.h>
#include <vellum/access.h>
#include <vellum/errno.h>
#include <vellum/host.h>
#include <vellum/mm.h>

struct vma {
	int ours;
};

static int calls;

int helper(int x);
int pte_wrprotect(int pte);
struct vma *find_vma(struct vma *all, int ours);

int helper(int x)
{
	calls++;
	return x + 1;
}

int pte_wrprotect(int pte)
{
	return helper(pte);
}

struct vma *find_vma(struct vma *all, int ours)
{
	while (all->ours != ours)
		all += pte_wrprotect(0);
	return all;
}

/* Returns 0 or the number of the call that failed. */
static int use_library(void)
{
	struct vellum_host_ram ram = { .size = sizeof(ram) };
	struct vellum_memory_args args = {.size = sizeof(args), .host = vellum_host_posix()};
	struct vellum_map_args map = {.size = sizeof(map),
				      .len = 16 * VELLUM_PAGE_SIZE,
				      .prot = VELLUM_PROT_READ | VELLUM_PROT_WRITE,
				      .flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS};
	struct vellum_memory *memory;
	struct vellum_mm *mm, *child;
	uint64_t addr;
	int stored = 42, seen = 0;

	if (vellum_host_ram_create(8 << 20, &ram))
		return 1;
	args.host_ctx = &ram;
	args.ram = ram.base;
	args.ram_size = ram.len;
	if (vellum_memory_create(&args, &memory))
		return 2;
	if (vellum_mm_create(memory, &mm))
		return 3;
	if (vellum_mmap(mm, &map, &addr))
		return 4;
	if (vellum_copy_to_user(mm, addr, &stored, sizeof(stored), NULL))
		return 5;
	if (vellum_fork(mm, &child))
		return 6;
	if (vellum_copy_from_user(child, &seen, addr, sizeof(seen), NULL) || seen != stored)
		return 7;
	vellum_mm_put(child);
	vellum_mm_put(mm);
	if (vellum_memory_destroy(memory))
		return 8;
	vellum_host_ram_destroy(&ram);
	return 0;
}

int main(void)
{
	struct vma all[] = {{1}, {2}, {3}};
	const char *text = vellum_strerror(-VELLUM_EINVAL);
	int failed = use_library();

	if (failed) {
		fprintf(stderr, "call %d into the library failed\n", failed);
		return 1;
	}
	if (!text || !*text) {
		fprintf(stderr, "vellum_strerror: no text\n");
		return 1;
	}
	if (calls) {
		fprintf(stderr, "the library called the program's helper\n");
		return 1;
	}
	if (find_vma(all, 3) != &all[2] || calls != 2) {
		fprintf(stderr, "the program got the library's functions\n");
		return 1;
	}
	return 0;
}
