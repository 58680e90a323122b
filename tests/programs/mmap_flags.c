/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/mmap_flags.c - mmap, mprotect, mremap, madvise, msync, mlock2, mlockall and mincore with each flag, and
 * each pair of flags, known or not, on memory of each kind; and with wrong arguments in pairs. Prints the results and
 * the VmFlags, which must be the same on the host's kernel.
 *
 * Addresses are printed relative to the window, or by the place that a flag asks for.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE   4096ul
#define WINDOW 0x100200000ul
#define ROOM   (64 * PAGE)
#define AT(page) (WINDOW + (page) * PAGE)
#define ANON   (MAP_PRIVATE | MAP_ANONYMOUS)
#define GIGANTIC(flags) (((flags) & MAP_HUGETLB) && ((flags) >> 26 & 63) == 30)	/* depends on the CPU */

static int memfd, disk, read_only, write_only;

/* The number, or the address in a form that is the same everywhere. */
static const char *shown(long result)
{
	static char text[64];
	unsigned long addr = (unsigned long)result;

	if (result == -1)
		snprintf(text, sizeof(text), "%s", strerrorname_np(errno));
	else if (addr < 0x10000)
		snprintf(text, sizeof(text), "%ld", result);
	else if (addr - WINDOW < ROOM)
		snprintf(text, sizeof(text), "+%#lx", addr - WINDOW);
	else
		snprintf(text, sizeof(text), "%s", addr < 1ul << 31 ? "low" : addr < 1ul << 32 ? "middle" : "high");
	return text;
}

/* Runs of calls with the same result are one line. */
static struct {
	char text[160];
	unsigned long first, last, nr;
} run;

static void end_run(void)
{
	if (run.nr)
		printf("  %#lx to %#lx, %lu: %s\n", run.first, run.last, run.nr, run.text);
	run.nr = 0;
}

static void begin_run(const char *what, unsigned long a, unsigned long b)
{
	end_run();
	printf("%s %#lx %#lx\n", what, a, b);
}

static void say(unsigned long flags, const char *text)
{
	if (run.nr && strcmp(run.text, text)) 
		end_run();
	if (!run.nr) {
		snprintf(run.text, sizeof(run.text), "%s", text);
		run.first = flags;
	}
	run.last = flags;
	run.nr++;
}

/* --- VmFlags --- */

/*
 * Without accounting (ac), soft-dirty (sd: not every kernel has it), KSM (mg), MAP_SYNC (sf: no effect here), and the
 * hint that there are guards (gu).
 */
static bool is_compared(const char *flag)
{
	return !strstr("ac sd mg sf gu", flag);
}

/* The flags of the VMA at @addr. */
static void vm_flags(unsigned long addr, char *out, size_t size)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long start, end;
	char line[512];
	int here = 0;

	*out = 0;
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = start <= addr && addr < end;
		if (!here || strncmp(line, "VmFlags:", 8))
			continue;
		for (char *word = strtok(line + 8, " \n"); word; word = strtok(NULL, " \n"))
			if (is_compared(word))
				snprintf(out + strlen(out), size - strlen(out), " %s", word);
		break;
	}
	if (f)
		fclose(f);
}

/* --- pairs --- */

typedef void (*try_fn)(unsigned long bits, const unsigned long *arg);

static void each_pair(unsigned low, unsigned high, try_fn fn, const unsigned long *arg)
{
	fn(0, arg);
	for (unsigned i = low; i < high; i++)
		for (unsigned k = low; k <= i; k++)
			fn(1ul << i | 1ul << k, arg);
}

static void each_bit(unsigned low, unsigned high, try_fn fn, const unsigned long *arg)
{
	for (unsigned i = low; i < high; i++)
		fn(1ul << i, arg);
}

/* --- the fixture: one VMA of each kind --- */

enum { PRIVATE, SHARED, READ_ONLY, PRIVATE_FILE, DISK, ANON_SHARED, STACK, LOCKED, DROPPABLE, NOWHERE, NR_PLACES };
static const char *const names[NR_PLACES] = { "private", "shared", "read-only", "private file", "file", "shared anonymous",
					      "stack", "locked", "droppable", "nothing" };
#define PLACE(kind) AT(6 * (unsigned)(kind))

static void map(int kind, int prot, int flags, int fd)
{
	if (mmap((void *)PLACE(kind), 4 * PAGE, prot, flags | MAP_FIXED, fd, 0) == MAP_FAILED)
		printf("cannot map %s: %s\n", names[kind], strerror(errno));
	else if (prot & PROT_WRITE)
		*(volatile char *)PLACE(kind) = 1;
}

static void build(void)
{
	munmap((void *)WINDOW, ROOM);
	map(PRIVATE, 3, ANON, -1);
	map(SHARED, 3, MAP_SHARED, memfd);
	map(READ_ONLY, 1, MAP_SHARED, read_only);
	map(PRIVATE_FILE, 3, MAP_PRIVATE, read_only);
	map(DISK, 3, MAP_SHARED, disk);
	map(ANON_SHARED, 3, MAP_SHARED | MAP_ANONYMOUS, -1);
	map(STACK, 3, ANON | MAP_GROWSDOWN, -1);
	map(LOCKED, 3, ANON | MAP_LOCKED, -1);
	map(DROPPABLE, 3, 8 | MAP_ANONYMOUS, -1);
}

/* --- mmap: arg: type and other flags, prot, descriptor, offset --- */

static void try_mmap(unsigned long bits, const unsigned long *arg)
{
	unsigned long flags = arg[0] | bits;
	char text[160], vm[100] = "";
	long addr;

	if (GIGANTIC(flags) || ((flags & MAP_HUGETLB) && (flags & MAP_NORESERVE)))
		return;		/* with NORESERVE, a kernel maps it although it has no huge page */
	munmap((void *)WINDOW, ROOM);
	addr = syscall(SYS_mmap, AT(8), PAGE, arg[1], flags, (int)arg[2], arg[3]);
	snprintf(text, sizeof(text), "%s", shown(addr));
	if (addr != -1) {
		if (!(bits & (bits - 1)) && (arg[1] & ~7ul) == 0)
			vm_flags((unsigned long)addr, vm, sizeof(vm));
		munmap((void *)addr, PAGE);
	}
	snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s", vm);
	say(flags, text);
}

static void try_mmap_prot(unsigned long bits, const unsigned long *arg)
{
	const unsigned long with[] = { arg[0], bits, arg[2], arg[3] };

	try_mmap(0, with);
}

static void test_mmap(void)
{
	for (unsigned long type = 0; type < 16; type++)
		for (unsigned i = 0; i < 4; i++) {
			const int fds[] = { -1, memfd, disk, -1 };
			const unsigned long arg[] = { type | (i == 0 ? MAP_ANONYMOUS : 0), 3, (unsigned)fds[i], 0 };
			bool usual = type == 1 || type == 2 || type == 3 || type == 8;

			begin_run(i == 0 ? "mmap anonymous" : i == 3 ? "mmap bad fd" : i == 2 ? "mmap file" : "mmap memfd",
				  type, 0);
			if (usual && i < 3)
				each_pair(4, 32, try_mmap, arg);
			else
				each_bit(4, 32, try_mmap, arg);
			each_bit(32, 64, try_mmap, arg);
			begin_run("mmap prot", arg[0], 0);
			if (usual && i < 2) {
				each_pair(0, 32, try_mmap_prot, arg);
				each_bit(32, 64, try_mmap_prot, arg);
			}
		}
	begin_run("mmap hugetlb sizes", 0, 0);
	for (unsigned long size = 0; size < 64; size++) {
		const unsigned long arg[] = { ANON | MAP_HUGETLB, 3, -1ul, 0 };

		try_mmap(size << 26, arg);
	}
}

/* Each argument has a right value and some wrong ones; up to two are wrong. */
static void test_wrong_mmap(void)
{
	const unsigned long choice[6][10] = {
		{ PLACE(PRIVATE) + PAGE, PLACE(PRIVATE) + 5, PLACE(NOWHERE), PLACE(NOWHERE) + 5, 0, 0x7fffffffe000,
		  0x7ffffffff001, ~0xffful, 0x7ffffffff000, 1 },
		{ PAGE, 0, 1, 1ul << 47, ~0ul, ~0xffful, 1ul << 63, 1ul << 62, 2 * PAGE, PAGE },
		{ 1, 3, 0, 2, 4, 8, 3, 7, 1, 1 },
		{ 0x12, 2, 0x100002, 0x11, 0x13, 0x10, 0x200013, 0x32, 0x111, 0x112 },
		{ 0, 1, 2, 3, 4, 5, 0, 0, 0, 0 },
		{ 0, 5, 1ul << 63, ~0xffful, 1ul << 62, 0x7ffffffffffff000, PAGE, 0, 0, 0 },
	};
	const int fds[] = { memfd, disk, read_only, write_only, -1, 99 };

	begin_run("mmap with two wrong arguments", 0, 0);
	for (unsigned i = 0; i < 6; i++)
		for (unsigned k = 0; k <= i; k++)
			for (unsigned v = 0; v < 100; v++) {
				unsigned long a[6];
				long addr;

				for (unsigned n = 0; n < 6; n++)
					a[n] = choice[n][n == i ? v / 10 : n == k ? v % 10 : 0];
				if ((a[3] & (MAP_FIXED | MAP_FIXED_NOREPLACE)) && a[0] < 0x10000)
					continue;	/* depends on the user */
				build();
				addr = syscall(SYS_mmap, a[0], a[1], a[2], a[3], fds[a[4]], a[5]);
				say(i << 20 | k << 16 | v, shown(addr));
				if (addr != -1 && (unsigned long)addr - WINDOW >= ROOM)
					munmap((void *)addr, a[1]);
			}
}

/* --- calls on a range: arg: number of the call, address, length --- */

static void try_range(unsigned long bits, const unsigned long *arg)
{
	if (arg[0] == SYS_madvise && (bits == 100 || bits == 101))
		return;		/* HWPOISON and SOFT_OFFLINE harm the host */
	say(bits, shown(syscall((long)arg[0], arg[1], arg[2], bits)));
}

static void test_ranges(void)
{
	static const struct {
		const char *name;
		long nr;
	} calls[] = { { "mprotect", SYS_mprotect }, { "msync", SYS_msync }, { "mlock2", SYS_mlock2 } };
	static const unsigned long lens[] = { 0, 1, PAGE, 4 * PAGE, 5 * PAGE, 7 * PAGE, ~0ul, ~0xffful, 1ul << 63 };
	char vm[100];

	for (unsigned c = 0; c < 3; c++)
		for (int kind = 0; kind < NR_PLACES; kind++) {
			const unsigned long arg[] = { (unsigned long)calls[c].nr, PLACE(kind) + PAGE, PAGE };
			const unsigned long odd[] = { (unsigned long)calls[c].nr, PLACE(kind) + 1, PAGE };

			build();
			begin_run(calls[c].name, (unsigned long)kind, 0);
			each_pair(0, 32, try_range, arg);
			each_bit(32, 64, try_range, arg);
			each_bit(0, 32, try_range, odd);
			for (unsigned l = 0; l < 9; l++)
				for (unsigned long bits = 0; bits < 8; bits++) {
					const unsigned long some[] = { arg[0], PLACE(kind) + (bits & 1 ? 5 : 0), lens[l] };

					if (calls[c].nr == SYS_mprotect && lens[l] > ROOM)
						continue;
					try_range(bits >> 1, some);
				}
			vm_flags(PLACE(kind) + PAGE, vm, sizeof(vm));
			say(0, vm);
		}
}

static void test_growing(void)
{
	const int grows[] = { 0, PROT_GROWSDOWN, PROT_GROWSUP, PROT_GROWSDOWN | PROT_GROWSUP };
	const unsigned long from[] = { PLACE(STACK) - PAGE, PLACE(STACK), PLACE(STACK) + PAGE, PLACE(STACK) + 4 * PAGE,
				       PLACE(PRIVATE), PLACE(NOWHERE), PLACE(STACK) + 5 };

	begin_run("mprotect growing", 0, 0);
	for (unsigned i = 0; i < 4; i++)
		for (unsigned k = 0; k < 7; k++)
			for (unsigned long len = 0; len < 4; len++) {
				char vm[100];

				build();
				errno = 0;
				say(i << 8 | k << 4 | (unsigned)len,
				    shown(mprotect((void *)from[k], len * PAGE, 1 | grows[i])));
				vm_flags(PLACE(STACK), vm, sizeof(vm));
				say(i << 8 | k << 4 | (unsigned)len, vm);
			}
}

static void test_madvise(void)
{
	for (int kind = 0; kind < NR_PLACES; kind++)
		for (unsigned wrong = 0; wrong < 6; wrong++) {
			const unsigned long args[6][2] = {
				{ PLACE(kind) + PAGE, PAGE }, { PLACE(kind) + 5, PAGE }, { PLACE(kind) + PAGE, 0 },
				{ PLACE(kind) + PAGE, 7 * PAGE }, { PLACE(kind) + PAGE, ~0xffful }, { PLACE(kind), 1 },
			};
			const unsigned long arg[] = { SYS_madvise, args[wrong][0], args[wrong][1] };
			char vm[100];

			begin_run("madvise", (unsigned long)kind, wrong);
			for (unsigned long advice = 0; advice < 128; advice++) {
				if (!wrong || advice == 0 || advice == 30)
					build();
				if (wrong == 3 && (advice == 102 || advice == 103))
					continue;	/* guards in files: docs/differences.md */
				if (kind != PRIVATE && kind != STACK && kind != LOCKED && kind != DROPPABLE &&
				    kind != NOWHERE && (advice == 102 || advice == 103))
					continue;
				try_range(advice, arg);
				if (wrong)
					continue;
				vm_flags(PLACE(kind) + PAGE, vm, sizeof(vm));
				say(advice, vm);
			}
			each_bit(7, 64, try_range, arg);
		}
}

static void try_mremap(unsigned long bits, const unsigned long *arg)
{
	char text[160], vm[100];
	long addr;

	build();
	addr = syscall(SYS_mremap, arg[0], arg[1], arg[2], bits, arg[3]);
	snprintf(text, sizeof(text), "%s", shown(addr));
	if (addr != -1) {
		vm_flags((unsigned long)addr, vm, sizeof(vm));
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s", vm);
		if ((unsigned long)addr - WINDOW >= ROOM)
			munmap((void *)addr, arg[2]);
	}
	vm_flags(arg[0], vm, sizeof(vm));
	snprintf(text + strlen(text), sizeof(text) - strlen(text), " |%s", vm);
	say(bits, text);
}

static void test_mremap(void)
{
	static const unsigned long lens[] = { 0, 1, 2 * PAGE, 4 * PAGE, 6 * PAGE, 1ul << 47, ~0ul };
	const unsigned long to[] = { PLACE(NOWHERE), PLACE(NOWHERE) + 5, PLACE(SHARED) + PAGE, PLACE(PRIVATE),
				     0x7ffffffff000, 0, ~0xffful };
	const unsigned long full[] = { PLACE(PRIVATE), 2 * PAGE, 2 * PAGE, PLACE(NOWHERE) };

	begin_run("mremap", 0, 0);
	each_pair(0, 8, try_mremap, full);
	each_bit(8, 64, try_mremap, full);
	for (int kind = 0; kind < NR_PLACES; kind++)
		for (unsigned l = 0; l < 7; l++)
			for (unsigned n = 0; n < 7; n++)
				for (unsigned t = 0; t < 7; t++) {
					const unsigned long arg[] = { PLACE(kind) + (t == 6 ? 5 : 0), lens[l], lens[n], to[t] };

					if (kind == PRIVATE ? t && (l != 2 || n != 2) && (l > 1 || n) :
							      t || l > 3 || n > 3 || (l & n & 1))
						continue;
					begin_run("mremap", (unsigned long)kind, l << 8 | n << 4 | t);
					for (unsigned long flags = 0; flags < 9; flags++)
						/* Not: low targets (depends on the user), several VMAs. */
						if (!(flags & 2) || (to[t] >= 0x10000 && (l != 4 || n != 4)))
							try_mremap(flags, arg);
				}
}

static void try_mlockall(unsigned long bits, const unsigned long *arg)
{
	char vm[100];

	(void)arg;
	say(bits, shown(syscall(SYS_mlockall, bits)));
	vm_flags(PLACE(PRIVATE), vm, sizeof(vm));
	say(bits, vm);
	munlockall();
}

static void test_mlockall(void)
{
	build();
	begin_run("mlockall", 0, 0);
	each_pair(0, 8, try_mlockall, NULL);
	each_bit(8, 64, try_mlockall, NULL);
	for (int flags = MCL_FUTURE; flags < 8; flags += MCL_ONFAULT)
		for (unsigned long type = 0; type < 16; type++) {
			const unsigned long arg[] = { type | MAP_ANONYMOUS, 3, -1ul, 0 }, file[] = { type, 3, (unsigned)memfd, 0 };

			mlockall(flags);
			begin_run("mmap in the future", (unsigned)flags, type);
			each_bit(4, 32, try_mmap, arg);
			each_bit(4, 32, try_mmap, file);
			munlockall();
		}
}

static void test_mincore(void)
{
	static const unsigned long lens[] = { 0, 1, 2 * PAGE, 7 * PAGE, ~0ul, ~0xffful, 1ul << 63, 1ul << 47 };
	unsigned char vec[64], *const vecs[] = { vec, NULL, (unsigned char *)~0xffful };

	build();
	begin_run("mincore", 0, 0);
	for (int kind = 0; kind < NR_PLACES; kind++)
		for (unsigned l = 0; l < 8; l++)
			for (unsigned v = 0; v < 3; v++)
				for (unsigned odd = 0; odd < 2; odd++)
					say((unsigned long)kind << 16 | l << 8 | v << 4 | odd,
					    shown(syscall(SYS_mincore, PLACE(kind) + odd, lens[l], vecs[v])));
}

static int file_of(const char *dir)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/mmap-flags-XXXXXX", dir);
	fd = mkstemp(path);
	read_only = open(path, O_RDONLY);
	write_only = open(path, O_WRONLY);
	unlink(path);
	return fd;
}

int main(void)
{
	memfd = memfd_create("flags", 0);
	disk = file_of("/var/tmp");
	if (ftruncate(memfd, 16 * PAGE) || ftruncate(disk, 16 * PAGE) || read_only < 0)
		return 1;
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	test_mmap();
	test_wrong_mmap();
	test_ranges();
	test_growing();
	test_madvise();
	test_mremap();
	test_mlockall();
	test_mincore();
	end_run();
	return 0;
}
