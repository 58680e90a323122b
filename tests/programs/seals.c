/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/seals.c - mseal(2) and PR_SET_MDWE: each call that they change, on memory of each kind;
 * remap_file_pages(2), protection keys, process_mrelease(2). The output is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"

#define PAGE 4096ul
#define WINDOW ((char *)0x100200000ul)
#define AT(page) (WINDOW + (page) * PAGE)
#define MSEAL 462
#define PROCESS_MRELEASE 448
#define SET_MDWE 65
#define GET_MDWE 66
#define GUARD_INSTALL 102
#define GUARD_REMOVE 103

static int file;

/* STORED: as PRIVATE_FILE, with pages of its own */
enum kind { ANON, SHARED, PRIVATE_FILE, SHARED_FILE, STORED, NR_KINDS };

/* Four pages at AT(4), of which the middle two are sealed; and nothing around them. */
static void map_kind(enum kind kind, int prot, bool seal)
{
	static const int flags[] = { MAP_PRIVATE | MAP_ANONYMOUS, MAP_SHARED | MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED,
				     MAP_PRIVATE };

	if (mmap(AT(4), 4 * PAGE, kind == STORED ? PROT_WRITE : prot, MAP_FIXED | flags[kind],
		 kind < PRIVATE_FILE ? -1 : file, 0) == MAP_FAILED)
		abort();
	if (kind == STORED) {
		memset(AT(4), 1, 4 * PAGE);
		if (mprotect(AT(4), 4 * PAGE, prot))
			abort();
	}
	if (seal && syscall(MSEAL, AT(5), 2 * PAGE, 0))
		printf("no seal\n");
}

/* Print which pages are mapped, and the flags that mseal and MADV_* set. */
static void print_maps(void)
{
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "r");
	bool inside = false;

	while (fgets(line, sizeof(line), f)) {
		unsigned long start, end;
		char rights[5];

		if (sscanf(line, "%lx-%lx %4s", &start, &end, rights) == 3) {
			inside = start >= (uintptr_t)WINDOW && start < (uintptr_t)AT(64);
			if (inside)
				printf("   %lu to %lu %s", (start - (uintptr_t)WINDOW) / PAGE,
				       (end - (uintptr_t)WINDOW) / PAGE, rights);
		} else if (inside && !strncmp(line, "VmFlags:", 8)) {
			printf("%s%s%s\n", strstr(line, " sl") ? " sealed" : "", strstr(line, " dc") ? " dontfork" : "",
			       strstr(line, " wf") ? " wipeonfork" : "");
		}
	}
	fclose(f);
}

/* Run @call in a child, which alone has the seal. */
#define IN_CHILD(...) do { \
	fflush(stdout); \
	if (!fork()) { \
		__VA_ARGS__; \
		fflush(stdout); \
		_exit(0); \
	} \
	wait(NULL); \
} while (0)

static void try_calls(enum kind kind, int prot)
{
	static const int advice[] = { MADV_DONTNEED, MADV_FREE, MADV_DONTNEED_LOCKED, MADV_DONTFORK, MADV_WIPEONFORK,
				      MADV_DOFORK, MADV_KEEPONFORK, MADV_DONTDUMP, MADV_WILLNEED, MADV_COLD,
				      MADV_REMOVE, MADV_RANDOM, GUARD_INSTALL, GUARD_REMOVE };
	/* Guards are for anonymous memory only. */
	size_t nr = sizeof(advice) / sizeof(advice[0]) - (kind == ANON ? 0 : 2);

	printf("kind %d, rights %d\n", kind, prot);
	IN_CHILD(map_kind(kind, prot, true);
		 SHOW(munmap(AT(0), 8 * PAGE)); print_maps());
	IN_CHILD(map_kind(kind, prot, true);
		 SHOW(munmap(AT(4), PAGE)); SHOW(munmap(AT(6), PAGE)); print_maps());
	IN_CHILD(map_kind(kind, prot, true);
		 SHOW(mprotect(AT(4), 4 * PAGE, PROT_READ)); print_maps());
	IN_CHILD(map_kind(kind, prot, true);
		 SHOW(mprotect(AT(5), PAGE, prot)); SHOW(mprotect(AT(4), PAGE, PROT_NONE)));
	IN_CHILD(map_kind(kind, prot, true);
		 SHOW(mlock(AT(4), 4 * PAGE)); SHOW(munlock(AT(4), 4 * PAGE)); print_maps());
	for (size_t i = 0; i < nr; i++)
		IN_CHILD(map_kind(kind, prot, true);
			 printf("%d ", advice[i]); SHOW(madvise(AT(4), 4 * PAGE, advice[i]));
			 print_maps());
}

static long remap(unsigned from, unsigned pages, unsigned now, int flags, unsigned to)
{
	char *result = mremap(AT(from), pages * PAGE, now * PAGE, flags, AT(to));

	return result == MAP_FAILED ? -1 : (flags & MREMAP_FIXED) || result == AT(from) ? result - WINDOW : 1;
}

static long map(unsigned at, unsigned pages, int prot, int flags)
{
	char *result = mmap(AT(at), pages * PAGE, prot, flags | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return result == MAP_FAILED ? -1 : result - WINDOW;
}

static void remaps(void)
{
	const int move = MREMAP_MAYMOVE, fixed = move | MREMAP_FIXED, keep = move | MREMAP_DONTUNMAP;
	const int rw = PROT_READ | PROT_WRITE;

	IN_CHILD(map_kind(ANON, rw, true);
		 SHOW(remap(5, 2, 1, 0, 0)); SHOW(remap(5, 2, 2, 0, 0)); print_maps());
	IN_CHILD(map_kind(ANON, rw, true);
		 SHOW(remap(5, 2, 4, 0, 0)); SHOW(remap(5, 2, 4, move, 0)); print_maps());
	IN_CHILD(map_kind(ANON, rw, true);
		 SHOW(remap(5, 2, 2, fixed, 16)); SHOW(remap(4, 1, 1, fixed, 6)); print_maps());
	IN_CHILD(map_kind(ANON, rw, true);
		 SHOW(remap(5, 2, 2, keep, 16)); print_maps());
	IN_CHILD(map_kind(ANON, rw, true);
		 SHOW(remap(4, 2, 1, 0, 0)); SHOW(remap(4, 1, 2, 0, 0)); print_maps());
	IN_CHILD(map_kind(ANON, rw, true);
		 SHOW(map(20, 2, rw, MAP_FIXED)); SHOW(remap(5, 1, 1, fixed, 20)); print_maps());
	IN_CHILD(map_kind(SHARED, rw, true); SHOW(remap(5, 0, 1, move, 0)); print_maps());
	IN_CHILD(map_kind(ANON, rw, true);
		 SHOW(map(3, 3, rw, MAP_FIXED)); SHOW(map(5, 1, rw, MAP_FIXED_NOREPLACE));
		 SHOW(map(4, 1, rw, MAP_FIXED)); print_maps());
	IN_CHILD(map_kind(ANON, rw, true);
		 IN_CHILD(SHOW(munmap(AT(5), PAGE)); print_maps()));
}

static void arguments(void)
{
	map_kind(ANON, PROT_READ, false);
	SHOW(syscall(MSEAL, AT(4), PAGE, 1));
	SHOW(syscall(MSEAL, AT(4) + 1, PAGE, 0));
	SHOW(syscall(MSEAL, AT(4), 0, 0));
	SHOW(syscall(MSEAL, AT(40), 0, 0));
	SHOW(syscall(MSEAL, AT(4), ~0ul, 0));
	SHOW(syscall(MSEAL, AT(4), ~0ul - PAGE, 0));
	SHOW(syscall(MSEAL, AT(3), 2 * PAGE, 0));
	SHOW(syscall(MSEAL, AT(7), 2 * PAGE, 0));
	SHOW(syscall(MSEAL, ~0ul << 20, PAGE, 0));
	print_maps();
	IN_CHILD(SHOW(syscall(MSEAL, AT(4), 1, 0)); SHOW(syscall(MSEAL, AT(4), 2 * PAGE, 0)); print_maps());
	IN_CHILD(char *top = sbrk(0); sbrk(4 * PAGE); SHOW(syscall(MSEAL, (uintptr_t)(top + PAGE) & -PAGE, PAGE, 0));
		 SHOW(brk(top)); SHOW((char *)sbrk(0) - top));
}

static long mdwe(int option, unsigned long flags)
{
	return syscall(SYS_prctl, option, flags, 0, 0, 0);
}

static void exec_rights(void)
{
	const int rw = PROT_READ | PROT_WRITE, rx = PROT_READ | PROT_EXEC, all = rw | PROT_EXEC;

	SHOW(map(8, 1, all, MAP_FIXED));
	SHOW(map(9, 1, rx, MAP_FIXED));
	SHOW(map(10, 1, rw, MAP_FIXED));
	SHOW(mprotect(AT(8), PAGE, all));
	SHOW(mprotect(AT(9), PAGE, rx));
	SHOW(mprotect(AT(10), PAGE, rx));
	SHOW(mprotect(AT(9), PAGE, rw));
	SHOW(mprotect(AT(9), PAGE, rx));
	SHOW(mprotect(AT(8), PAGE, rx));
	print_maps();
}

static void mdwe_flags(void)
{
	SHOW(mdwe(GET_MDWE, 0));
	SHOW(mdwe(SET_MDWE, 2));
	SHOW(mdwe(SET_MDWE, 4));
	SHOW(mdwe(SET_MDWE, 1ul << 32));
	SHOW(mdwe(SET_MDWE, 0));
	SHOW(mdwe(GET_MDWE, 1));
	for (unsigned long flags = 1; flags <= 3; flags += 2) {
		IN_CHILD(map(8, 1, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_FIXED); SHOW(mdwe(SET_MDWE, flags));
			 SHOW(mdwe(GET_MDWE, 0)); exec_rights(); SHOW(mdwe(SET_MDWE, 0)); SHOW(mdwe(SET_MDWE, 1));
			 SHOW(mdwe(SET_MDWE, 3)); IN_CHILD(SHOW(mdwe(GET_MDWE, 0)); exec_rights()));
	}
}

static long remap_pages(int page, int pages, int prot, unsigned long from, int flags)
{
	return remap_file_pages(AT(page), pages * PAGE, prot, from, flags);
}

static void show_pages(void)
{
	for (int i = 4; i < 8; i++)
		printf("%c", *AT(i) ? *AT(i) : '0');
	printf("\n");
}

static void pages_in_another_order(void)
{
	for (int i = 0; i < 8; i++)
		if (pwrite(file, &(char){ 'a' + i }, 1, i * PAGE) != 1)
			abort();
	map_kind(SHARED_FILE, PROT_READ | PROT_WRITE, false);
	SHOW(remap_pages(4, 1, 0, 7, 0));
	SHOW(remap_pages(5, 2, 0, 0, MAP_NONBLOCK));
	show_pages();
	*AT(5) = 'X';
	SHOW(remap_pages(7, 1, 0, 0, 0));
	show_pages();
	print_maps();
	SHOW(remap_pages(4, 1, PROT_READ, 0, 0));
	SHOW(remap_pages(4, 0, 0, 0, 0));
	SHOW(remap_pages(4, 1, 0, ~0ul, 0));
	SHOW(remap_pages(7, 2, 0, 0, 0));
	SHOW(remap_pages(20, 1, 0, 0, 0));
	SHOW(remap_file_pages(AT(4) + 5, PAGE + 5, 0, 2, 0));
	show_pages();
	map_kind(SHARED_FILE, PROT_READ, false);
	SHOW(remap_pages(4, 2, 0, 4, 0));
	show_pages();
	print_maps();
	map_kind(PRIVATE_FILE, PROT_READ, false);
	SHOW(remap_pages(4, 1, 0, 1, 0));
	map_kind(ANON, PROT_READ, false);
	SHOW(remap_pages(4, 1, 0, 1, 0));
	map_kind(SHARED, PROT_READ | PROT_WRITE, false);
	*AT(6) = 's';
	SHOW(remap_pages(4, 1, 0, 2, 0));
	show_pages();
	IN_CHILD(map_kind(SHARED_FILE, PROT_READ, true);
		 SHOW(remap_pages(4, 1, 0, 1, 0)); SHOW(remap_pages(5, 1, 0, 0, 0)));
}

static void keys(void)
{
	map_kind(ANON, PROT_READ | PROT_WRITE, false);
	SHOW(syscall(SYS_pkey_alloc, 1, 0));
	SHOW(syscall(SYS_pkey_alloc, 0, 4));
	SHOW(syscall(SYS_pkey_free, 0));
	SHOW(syscall(SYS_pkey_free, -1));
	SHOW(syscall(SYS_pkey_mprotect, AT(4), PAGE, PROT_READ, -1));
	SHOW(syscall(SYS_pkey_mprotect, AT(4) + 1, PAGE, PROT_READ, -1));
	SHOW(syscall(SYS_pkey_mprotect, AT(4), PAGE, PROT_READ, 16));
	SHOW(syscall(SYS_pkey_mprotect, AT(4), PAGE, PROT_READ, -2));
	print_maps();
}

static void releases(void)
{
	int pid = fork(), pidfd;

	if (!pid) {
		for (;;)
			pause();
	}
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	SHOW(syscall(PROCESS_MRELEASE, pidfd, 1));
	SHOW(syscall(PROCESS_MRELEASE, -1, 0));
	SHOW(syscall(PROCESS_MRELEASE, 0, 0));
	SHOW(syscall(PROCESS_MRELEASE, pidfd, 0));
	kill(pid, SIGKILL);
	waitid(P_PID, (id_t)pid, &(siginfo_t){ 0 }, WEXITED | WNOWAIT);
	SHOW(syscall(PROCESS_MRELEASE, pidfd, 0));
	waitpid(pid, NULL, 0);
	SHOW(syscall(PROCESS_MRELEASE, pidfd, 0));
}

int main(void)
{
	file = open("sealed", O_RDWR | O_CREAT, 0600);
	if (file < 0 || ftruncate(file, 8 * PAGE))
		return 1;
	arguments();
	for (enum kind kind = ANON; kind < NR_KINDS; kind++) {
		try_calls(kind, PROT_READ);
		try_calls(kind, PROT_READ | PROT_WRITE);
		try_calls(kind, PROT_NONE);
	}
	remaps();
	pages_in_another_order();
	mdwe_flags();
	keys();
	releases();
	return 0;
}
