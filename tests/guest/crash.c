/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/crash.c HOW [ARG] - ends in the way that it is told to.
 *
 *   segv   stores to an address that isn't mapped        readonly  stores to a read-only page
 *   jump   runs at an address that isn't mapped          ill       runs an undefined instruction
 *   fpe    divides by zero                               spin      says "ready" and runs for ever
 *   fork   says "ready" and runs for ever, with a child that does too
 *   stack  calls itself without end                      bus FILE  stores behind a mapped file's end
 *   hog MIB  stores to each page of so many megabytes; status 3 if mmap refuses
 */
#include "guest.h"

static int same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

static int hog(const char *megabytes)
{
	unsigned long nr_pages = parse_number(&megabytes) * 256;
	long m = SYS(NR_mmap, 0, nr_pages * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1, 0);

	if (m < 0) {
		put("no memory\n");
		return 3;
	}
	for (unsigned long page = 0; page < nr_pages; page++)
		store_page((char *)m, page);
	put("done\n");
	return 0;
}

__attribute__((noreturn)) static void spin(void)
{
	put("ready\n");
	flush_text();
	for (;;)
		burn(1000);
}

/* On the stack that the system made, so that it is the system that says where it ends. */
static void overflow_stack(void)
{
	__asm__ volatile("mov %0, %%rsp\n\t"
			 "1: call 1b"
			 :
			 : "r"(loader_stack)
			 : "memory");
}

static void store_behind_end(const char *path)
{
	int fd = (int)SYS(NR_open, path, 0, 0);
	char *m = map_at(SLOT(0), 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);

	store(m, "0+1,4095+1");
}

int guest_main(int argc, char **argv, char **envp)
{
	const char *how = argc > 1 ? argv[1] : "";

	(void)envp;
	if (same(how, "segv"))
		*(volatile char *)16 = 1;
	if (same(how, "readonly"))
		*map_at(SLOT(0), 1, PROT_READ, MAP_PRIVATE | MAP_ANON, -1) = 1;
	if (same(how, "jump"))
		((void (*)(void))16)();
	if (same(how, "ill"))
		__asm__ volatile("ud2");
	if (same(how, "fpe"))
		__asm__ volatile("xor %%edx, %%edx\n\tmov $1, %%eax\n\txor %%ecx, %%ecx\n\tdiv %%ecx"
				 :
				 :
				 : "eax", "ecx", "edx");
	if (same(how, "stack"))
		overflow_stack();
	if (same(how, "bus") && argc == 3)
		store_behind_end(argv[2]);
	if (same(how, "fork"))
		SYS(NR_fork, 0);
	if (same(how, "spin") || same(how, "fork"))
		spin();
	if (same(how, "hog") && argc == 3)
		return hog(argv[2]);
	check(0, "unknown way to end");
	return 1;
}
