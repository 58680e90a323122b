/* SPDX-License-Identifier: MIT */
/* tests/programs/mempolicies.c - numa(7) on a machine with one node. Its output is the same on the host's kernel. */
#define _GNU_SOURCE
#include <linux/mempolicy.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"

#define PAGE 4096l

static long get(int *mode, unsigned long *mask, unsigned long maxnode, void *addr, unsigned long flags)
{
	return syscall(SYS_get_mempolicy, mode, mask, maxnode, addr, flags);
}

static void show_thread(void)
{
	unsigned long mask[16];
	int mode = -1;

	memset(mask, 0xff, sizeof(mask));
	SHOW(get(&mode, mask, 1024, NULL, 0));
	printf("mode %#x, nodes %lx %lx %lx\n", mode, mask[0], mask[1], mask[15]);
}

/* Each mode with each combination of its flags and some masks, for the thread and for memory. */
static void modes(char *memory)
{
	static const unsigned long masks[] = { 0, 1, 2, 3, 1ul << 63 };
	static const int flags[] = { 0, 1 << 15, 1 << 14, 1 << 13, 3 << 14 };

	for (int mode = -1; mode < 9; mode++)
		for (unsigned f = 0; f < 5; f++)
			for (unsigned m = 0; m < 5; m++) {
				long set = syscall(SYS_set_mempolicy, mode | flags[f], &masks[m], 65ul), bound;
				int got = -1, of_memory = -1, err = errno;
				unsigned long nodes = ~0ul, memory_nodes = ~0ul;

				get(&got, &nodes, 64, NULL, 0);
				bound = syscall(SYS_mbind, memory, 2 * PAGE, mode | flags[f], &masks[m], 65ul, 0);
				printf("%d %#x %lx: %s, mode %#x, nodes %lx; ", mode, flags[f], masks[m],
				       set ? strerrorname_np(err) : "set", got, nodes);
				printf("%s", bound ? strerrorname_np(errno) : "bound");
				get(&of_memory, &memory_nodes, 64, memory + 100, MPOL_F_ADDR);
				printf(", mode %#x, nodes %lx\n", of_memory, memory_nodes);
				syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0ul);
				syscall(SYS_mbind, memory, 2 * PAGE, MPOL_DEFAULT, NULL, 0ul, 0);
			}
}

static void arguments(char *memory)
{
	unsigned long one = 1, many[20] = { 1 }, far[20] = { 1 };
	int mode = -1;

	far[17] = 1;
	SHOW(get(NULL, NULL, 0, NULL, 0));
	SHOW(get(&mode, &one, 0, NULL, 0));
	SHOW(get(&mode, &one, 1, NULL, 0));
	SHOW(get(&mode, &one, 64, memory, 0));
	SHOW(get(&mode, &one, 64, NULL, MPOL_F_ADDR));
	SHOW(get(&mode, NULL, 0, memory, MPOL_F_ADDR | MPOL_F_NODE));
	SHOW(mode);
	SHOW(get(&mode, NULL, 0, NULL, MPOL_F_NODE));
	SHOW(get(&mode, many, 1024, NULL, MPOL_F_MEMS_ALLOWED));
	printf("allowed %lx %lx\n", many[0], many[1]);
	SHOW(get(&mode, many, 1024, memory, MPOL_F_MEMS_ALLOWED | MPOL_F_ADDR));
	SHOW(get(&mode, NULL, 0, NULL, 8));
	SHOW(get((int *)8, NULL, 0, NULL, 0));
	SHOW(get(&mode, (unsigned long *)8, 64, NULL, 0));
	SHOW(syscall(SYS_set_mempolicy, MPOL_INTERLEAVE, &one, 2ul));
	SHOW(get(&mode, NULL, 0, NULL, MPOL_F_NODE));
	SHOW(mode);
	show_thread();
	SHOW(syscall(SYS_set_mempolicy, MPOL_BIND, &one, 1ul));
	SHOW(syscall(SYS_set_mempolicy, MPOL_BIND, many, 1200ul));
	SHOW(syscall(SYS_set_mempolicy, MPOL_BIND, far, 1200ul));
	SHOW(syscall(SYS_set_mempolicy, MPOL_BIND, &one, 1ul << 20));
	SHOW(syscall(SYS_set_mempolicy, MPOL_BIND, 8, 2ul));
	SHOW(syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0ul));
	SHOW(syscall(SYS_mbind, memory + 1, PAGE, MPOL_BIND, &one, 2ul, 0));
	SHOW(syscall(SYS_mbind, memory, 0ul, MPOL_BIND, &one, 2ul, 0));
	SHOW(syscall(SYS_mbind, memory, -2 * PAGE, MPOL_BIND, &one, 2ul, 0));
	SHOW(syscall(SYS_mbind, memory, 1ul, MPOL_BIND, &one, 2ul, 0));
	SHOW(syscall(SYS_mbind, memory, PAGE, MPOL_BIND, &one, 2ul, 0x10));
	SHOW(syscall(SYS_mbind, memory, PAGE, MPOL_BIND, &one, 2ul, MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL));
	SHOW(syscall(SYS_mbind, memory, PAGE, MPOL_LOCAL, NULL, 0x7fful, MPOL_MF_MOVE));
}

static int mode_at(const char *addr)
{
	int mode = -1;

	return get(&mode, NULL, 0, (void *)addr, MPOL_F_ADDR) ? -errno : mode;
}

static void ranges(char *memory)
{
	unsigned long one = 1;
	char *moved;

	syscall(SYS_mbind, memory, 8 * PAGE, MPOL_BIND, &one, 2ul, 0);
	syscall(SYS_mbind, memory + 2 * PAGE, 2 * PAGE, MPOL_INTERLEAVE, &one, 2ul, 0);
	syscall(SYS_mbind, memory + 5 * PAGE, PAGE, MPOL_DEFAULT, NULL, 0ul, 0);
	for (int i = 0; i < 9; i++)
		printf("%d ", mode_at(memory + i * PAGE));
	munmap(memory + 6 * PAGE, PAGE);
	printf("unmapped %d, ", mode_at(memory + 6 * PAGE));
	SHOW(syscall(SYS_mbind, memory, 8 * PAGE, MPOL_BIND, &one, 2ul, 0));
	SHOW(syscall(SYS_mbind, memory + 4 * PAGE, 4 * PAGE, MPOL_DEFAULT, NULL, 0ul, 0));
	mmap(memory + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	for (int i = 0; i < 4; i++)
		printf("%d ", mode_at(memory + i * PAGE));
	moved = mremap(memory + 2 * PAGE, PAGE, 3 * PAGE, MREMAP_MAYMOVE);
	printf("moved: %d %d\n", mode_at(moved), mode_at(memory + 2 * PAGE));
	fflush(stdout);
	if (!fork()) {
		printf("in a child: %d %d\n", mode_at(memory + 3 * PAGE), mode_at(memory + PAGE));
		syscall(SYS_mbind, memory + 3 * PAGE, PAGE, MPOL_LOCAL, NULL, 0ul, 0);
		exit(0);
	}
	wait(NULL);
	printf("not changed by a child: %d\n", mode_at(memory + 3 * PAGE));
}

/* What shrinks, grows and moves again and again, over what is bound already. */
static void resizes(char *memory)
{
	unsigned long one = 1;
	char *at = NULL, *moved;

	for (int i = 0; i < 6; i++) {
		at = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		syscall(SYS_mbind, at, 16 * PAGE, i & 1 ? MPOL_BIND : MPOL_INTERLEAVE, &one, 2ul, 0);
		mremap(at, 16 * PAGE, (6 - i) * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, memory);
		munmap(memory + 2 * PAGE, PAGE);
		for (int k = 0; k < 8; k++)
			printf("%d ", mode_at(memory + k * PAGE));
		printf("\n");
	}
	at = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	syscall(SYS_mbind, at, 16 * PAGE, MPOL_BIND, &one, 2ul, 0);
	mremap(at, 16 * PAGE, 4 * PAGE, 0);
	at = mremap(at, 4 * PAGE, 12 * PAGE, MREMAP_MAYMOVE);
	printf("grown: %d %d\n", mode_at(at), mode_at(at + 11 * PAGE));
	moved = mremap(at, 12 * PAGE, 12 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP, NULL);
	printf("moved and kept: %d %d\n", mode_at(moved), mode_at(at));
	at = sbrk(8 * PAGE);
	at += -(unsigned long)at % PAGE;
	syscall(SYS_mbind, at, 4 * PAGE, MPOL_BIND, &one, 2ul, 0);
	sbrk(-8 * PAGE);
	sbrk(8 * PAGE);
	printf("the heap: %d\n", mode_at(at));
}

static void moves(void)
{
	char *memory = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void *pages[5] = { memory, memory + PAGE + 5, memory + 2 * PAGE, (void *)0x1000, memory + 3 * PAGE };
	int status[5] = { 77, 77, 77, 77, 77 }, nodes[5] = { 0, 0, 0, 0, 0 };
	unsigned long one = 1, two = 2, both = 3;

	memory[0] = memory[PAGE] = 1;
	*(volatile char *)(memory + 3 * PAGE);		/* the zero page */
	SHOW(syscall(SYS_move_pages, 0, 5ul, pages, NULL, status, 0));
	printf("%d %d %d %d %d\n", status[0], status[1], status[2], status[3], status[4]);
	SHOW(syscall(SYS_move_pages, 0, 2ul, pages, nodes, status, MPOL_MF_MOVE));
	nodes[0] = 3;
	SHOW(syscall(SYS_move_pages, 0, 2ul, pages, nodes, status, MPOL_MF_MOVE));
	SHOW(syscall(SYS_move_pages, 0, 2ul, pages, NULL, status, 1));
	SHOW(syscall(SYS_move_pages, 1 << 29, 2ul, pages, NULL, status, 0));
	SHOW(syscall(SYS_move_pages, 0, 2ul, 8, NULL, status, 0));
	SHOW(syscall(SYS_move_pages, 0, 0ul, NULL, NULL, NULL, 0));
	SHOW(syscall(SYS_migrate_pages, 0, 2ul, &one, &one));
	SHOW(syscall(SYS_migrate_pages, 0, 3ul, &one, &two));
	SHOW(syscall(SYS_migrate_pages, 0, 3ul, &one, &both));
	SHOW(syscall(SYS_migrate_pages, 1 << 29, 3ul, &one, &one));
}

int main(void)
{
	char *memory = mmap(NULL, 10 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	show_thread();
	modes(memory);
	arguments(memory);
	ranges(memory);
	resizes(mmap(NULL, 32 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	moves();
	return 0;
}
