/* SPDX-License-Identifier: MIT */
/* tests/guest/layout.c - mappings that come, go, grow and move: munmap, mremap, brk, stack. */
#include "guest.h"

static void again_at_the_same_place(void)
{
	char *m = map_private(SLOT(0), 8);

	store(m, "1+1");
	unmap(m, 8);
	map_private(m, 8);
	check(look(m, "1+1") == 0, "a new mapping is zero");
	store(m, "2+1");
	expect(1, m, "rw-p", "1+1");
	expect(1, m, "rw-p", "2+1");

	/* With collections in between. */
	m = map_private(SLOT(1), 8);
	store(m, "0+2,7+1");
	sleep_ms(4);
	unmap(m, 8);
	sleep_ms(4);
	map_private(m, 6);
	sleep_ms(4);
	store(m, "0+1,5+1");
	expect(1, m, "rw-p", "0+2,7+1");
	expect(1, m, "rw-p", "0+1,5+1");

	/* Over an existing one, without munmap. */
	m = map_private(SLOT(2), 8);
	store(m, "3+1");
	map_shared(m, 8);
	check(look(m, "3+1") == 0, "a new mapping is zero");
	store(m, "5+1");
	expect(1, m, "rw-p", "3+1");
	expect(1, m, "rw-s", "5+1");

	/* And gone at the end. */
	m = map_private(SLOT(3), 8);
	store(m, "6+2");
	look(m, "0+2");
	unmap(m, 8);
	expect(1, m, "rw-p", "6+2");
}

static void part_unmapped(void)
{
	char *m = map_private(SLOT(4), 12);

	store(m, "0+1,5+1,11+1");
	unmap(m + 4 * PAGE, 4);
	store(m, "1+1,9+1");
	expect(1, m, "rw-p", "0+2");
	expect(1, m + 4 * PAGE, "rw-p", "1+1");
	expect(1, m + 8 * PAGE, "rw-p", "1+1,3+1");

	/* Something else in the hole. */
	m = map_private(SLOT(5), 12);
	store(m, "0+1,5+1,11+1");
	map_at(m + 4 * PAGE, 4, PROT_READ, MAP_PRIVATE | MAP_ANON, -1);
	check(look(m, "5+1") == 0, "a new mapping is zero");
	expect(1, m, "rw-p", "0+1");
	expect(1, m + 4 * PAGE, "rw-p", "1+1");
	expect(1, m + 4 * PAGE, "r--p", "-");
	expect(1, m + 8 * PAGE, "rw-p", "3+1");
}

static char *remap(char *from, unsigned long old_pages, unsigned long new_pages, int flags,
		   char *to)
{
	return (char *)SYS(NR_mremap, from, old_pages * PAGE, new_pages * PAGE, flags, to);
}

static void resized(void)
{
	char *m = map_private(SLOT(6), 8);

	store(m, "1+1,3+1");
	check(remap(m, 8, 16, 0, 0) == m, "mremap grows in place");
	store(m, "10+1");
	look(m, "12+2");
	expect(1, m, "rw-p", "1+1,3+1,10+1");

	m = map_private(SLOT(7), 8);
	store(m, "1+1,6+1");
	check(remap(m, 8, 4, 0, 0) == m, "mremap shrinks");
	expect(1, m, "rw-p", "1+1");
	expect(1, m + 4 * PAGE, "rw-p", "2+1");
}

static void moved(void)
{
	char *m = map_private(SLOT(8), 8);
	char *to = SLOT(9);
	unsigned char value;

	store(m, "0+1,2+1");
	look(m, "4+1");
	value = look(m, "2+1");
	check(remap(m, 8, 16, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to, "mremap moves");
	check(look(to, "2+1") == value, "content after mremap");
	store(to, "12+1");
	/* What moved was populated by stores; the rest of the new place wasn't. */
	expect(1, to, "rw-p", "0+1,2+1,12+1");
	maybe(1, m, "rw-p", "0+1,2+1");

	/* With collections in between, and onto a mapping that has pages of its own. */
	m = map_private(SLOT(10), 8);
	to = map_shared(SLOT(11), 8);
	store(to, "6+1");
	store(m, "1+1,3+2");
	sleep_ms(4);
	check(remap(m, 8, 8, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to, "mremap moves");
	sleep_ms(4);
	store(to, "4+1,7+1");
	expect(1, to, "rw-s", "6+1");
	expect(1, to, "rw-p", "1+1,3+2,7+1");
	maybe(1, m, "rw-p", "1+1,3+2");

	/* Where Vellum wants it: something is in the way. */
	m = map_private(SLOT(12), 4);
	map_at(m + 4 * PAGE, 1, PROT_READ, MAP_PRIVATE | MAP_ANON, -1);
	store(m, "2+1");
	to = remap(m, 4, 64, MREMAP_MAYMOVE, 0);
	check((long)to > 0 && to != m, "mremap finds a place");
	store(to, "40+2");
	look(to, "50+2");
	expect(1, to, "rw-p", "2+1,40+2");
	expect(1, m + 4 * PAGE, "r--p", "-");
	maybe(1, m, "rw-p", "2+1");

	/* What moved away is a change only where it went. */
	m = map_private(m, 4);
	look(m, "2+1");
	expect(1, m, "rw-p", "-");
}

static void set_brk(char *to)
{
	check(SYS(NR_brk, to) == (long)to, "brk");
}

static void heap(void)
{
	char *base = (char *)((SYS(NR_brk, 0) + PAGE - 1) & -PAGE);

	set_brk(base + 16 * PAGE);
	store(base, "0+1,3+1,7+1,14+2");
	look(base, "1+1,9+1");
	sleep_ms(3);
	set_brk(base + 4 * PAGE + 1); /* five pages stay */
	sleep_ms(3);
	set_brk(base + 12 * PAGE);
	check(look(base, "7+1") == 0 && look(base, "3+1") != 0, "content after brk");
	store(base, "5+1,7+1");
	set_brk(base + 40 * PAGE);
	store(base, "30+2");
	/* A page that was cut off is in the report once or twice: the union is what we know. */
	window(1, "[heap]", base, 40, "0+1,3+1,5+1,7+1,14+2,30+2");
}

static void push_below(char *top)
{
	__asm__ volatile("mov %%rsp, %%rbx\n\t"
			 "mov %0, %%rsp\n\t"
			 "pushq $1\n\t"
			 "mov %%rbx, %%rsp"
			 :
			 : "r"(top)
			 : "rbx", "memory");
}

/* Pages count down from the one with argc in it; the window starts 300 pages below that. */
static void stack(void)
{
	char *lo = (char *)((unsigned long)loader_stack & -PAGE) - 300 * PAGE;
	int fds[2];

	*(volatile long *)loader_stack += 1; /* the loader wrote this page; now we do */
	look(lo, "260+1,295+2");
	store(lo, "100+1,299+1");
	sleep_ms(3);
	push_below(lo + 201 * PAGE);
	store(lo, "50+2,299+1");

	check(SYS(NR_pipe2, fds, 0) == 0, "pipe2");
	check(SYS(NR_write, fds[1], "stack", 5) == 5, "write");
	check(SYS(NR_read, fds[0], lo + 10 * PAGE, 5) == 5, "read into the stack");
	window(1, "[stack]", lo, 301, "10+1,50+2,100+1,200+1,299+2");
}

int guest_main(int argc, char **argv, char **envp)
{
	(void)argc;
	(void)argv;
	(void)envp;
	again_at_the_same_place();
	part_unmapped();
	resized();
	moved();
	heap();
	stack();
	put("DONE\n");
	return 0;
}
