/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/forge.c PID SEED [LEVEL] - write a forged entry into the page tables of a run, as a program could that
 * broke out of ring 3. It writes through the memory file that QEMU's process PID has open, and prints what it wrote.
 * Status 3: the run has ended.
 *
 * LEVEL 0 (last-level tables) to 3; without it, any level. The entry is of any kind (table, leaf, swap, migration,
 * device, marker), and names a frame in RAM, at its end, or far beyond.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/x86/pgtable.h"
#include "machine/qemu_layout.h"

#define GONE	3
#define MAX_PGD 64

static uint64_t *ram;
static uint64_t nr_frames, state;

static uint64_t next(uint64_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return below ? state % below : state;
}

static int map_ram(const char *pid)
{
	char dir[64], path[400], link[256];
	const struct dirent *d;
	struct stat st;
	DIR *fds;
	int fd = -1;

	snprintf(dir, sizeof(dir), "/proc/%s/fd", pid);
	fds = opendir(dir);
	while (fds && fd < 0 && (d = readdir(fds))) {
		ssize_t n;

		snprintf(path, sizeof(path), "%s/%s", dir, d->d_name);
		n = readlink(path, link, sizeof(link) - 1);
		link[n > 0 ? n : 0] = 0;
		if (strstr(link, "vellum-ram"))
			fd = open(path, O_RDWR | O_CLOEXEC);
	}
	if (fds)
		closedir(fds);
	if (fd < 0 || fstat(fd, &st))
		return -1;
	nr_frames = (uint64_t)st.st_size >> PAGE_SHIFT;
	ram = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return ram == MAP_FAILED ? -1 : 0;
}

/* Find a top-level table: its last entry is the one that the machine sets. 0: none. */
static uint64_t find_pgd(void)
{
	const uint64_t last = HIGH_PDPT | (X86_TABLE & ~X86_USER);
	uint64_t found[MAX_PGD], nr = 0;

	for (uint64_t i = 1; i < nr_frames && nr < MAX_PGD; i++)
		if ((ram[i * 512 + 511] | X86_ACCESSED | X86_DIRTY) == last && i * PAGE_SIZE > TEST_ADDR + 0x10000)
			found[nr++] = i;
	return nr ? found[next(nr)] : 0;
}

/* An entry of the table that is not empty. @present: one that points to a table. -1: none. */
static int pick(uint64_t table, unsigned nr, int present)
{
	unsigned start = (unsigned)next(nr);

	for (unsigned i = 0; i < nr; i++) {
		uint64_t v = ram[table * 512 + (start + i) % nr];

		if (!present ? v != 0 : (v & X86_PRESENT) && !(v & X86_PSE) && x86_table_pfn(v) < nr_frames)
			return (int)((start + i) % nr);
	}
	return -1;
}

static uint64_t frame(uint64_t own)
{
	switch (next(6)) {
	case 0: return own;
	case 1: return nr_frames;
	case 2: return nr_frames - 1;
	case 3: return X86_PFN_MASK >> PAGE_SHIFT;
	case 4: return next(1 << 10);
	default: return next(nr_frames);
	}
}

static uint64_t forged(uint64_t own)
{
	const uint64_t bits = X86_PRESENT | X86_RW | X86_USER | X86_ACCESSED | X86_DIRTY;
	uint64_t f = frame(own);

	switch (next(6)) {
	case 0: return f << PAGE_SHIFT | bits;
	case 1: return f << PAGE_SHIFT | bits | X86_PSE;
	case 2: return f << PAGE_SHIFT | bits | X86_SPECIAL;
	case 3: return next(0);
	case 4: return f << PAGE_SHIFT | X86_PROTNONE;
	default: return swp_entry_pte((unsigned)next(32), f).val;
	}
}

int main(int argc, char **argv)
{
	uint64_t table, *entry;
	int level, at = -1;

	if (argc < 3 || map_ram(argv[1]))
		return GONE;
	state = strtoull(argv[2], NULL, 10) * 0x9e3779b97f4a7c15ull + 88172645463325252ull;
	level = argc > 3 ? atoi(argv[3]) : (int)next(4);
	table = find_pgd();
	if (!table)
		return GONE;
	for (int l = 3; l > level; l--) {
		at = pick(table, l == 3 ? 256 : 512, 1);
		if (at < 0)
			return GONE;
		table = x86_table_pfn(ram[table * 512 + (unsigned)at]);
	}
	at = pick(table, level == 3 ? 256 : 512, 0);
	if (at < 0)
		return GONE;
	entry = &ram[table * 512 + (unsigned)at];
	printf("level %d, entry %d: 0x%lx", level, at, *entry);
	__atomic_store_n(entry, forged(table), __ATOMIC_SEQ_CST);
	printf(" is now 0x%lx\n", *entry);
	return 0;
}
