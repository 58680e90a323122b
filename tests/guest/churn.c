/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/churn.c - the same few steps many times, so that collections fall between any two.
 *
 * What goes away has pages that were only read beside those that were stored to: a collection that
 * comes while it goes must not take the ones for the others.
 */
#include "guest.h"

#define ROUNDS 60
#define CHILDREN 20

static void map_and_unmap(char *(*map)(char *, unsigned long), char *addr, const char *prot)
{
	char *m = map(addr, 64);

	look(m, "0+40");
	store(m, "50+1");
	unmap(m, 64);
	expect(1, m, prot, "50+1");
}

/* Moves pages, of which two are stored to, and lets them go at the new place. */
static void move_and_unmap(char *addr, char *to)
{
	char *m = map_private(addr, 64);

	look(m, "0+40");
	store(m, "3+1,50+1");
	check((char *)SYS(NR_mremap, m, 64 * PAGE, 64 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to)
	      == to, "mremap moves");
	unmap(to, 64);
	maybe(1, m, "rw-p", "3+1,50+1");
	expect(1, to, "rw-p", "3+1,50+1");
}

/* Read pages are dropped, a stored one stays stored: one mapping through all rounds. */
static void drop_read_pages(char *m)
{
	look(m, "0+40");
	store(m, "50+1");
	drop(m, 0, 40);
}

static void grow_and_shrink(char *base)
{
	check(SYS(NR_brk, base + 64 * PAGE) == (long)(base + 64 * PAGE), "brk");
	look(base, "0+40");
	store(base, "50+1");
	check(SYS(NR_brk, base) == (long)base, "brk");
}

static void fork_child(int pid, char *kept, char *unmapped)
{
	long child;

	flush_text();
	child = SYS(NR_fork, 0);
	check(child >= 0, "fork");
	if (child == 0) {
		look(kept, "0+8");
		look(unmapped, "0+8");
		unmap(unmapped, 8);
		store(kept, "6+1");
		expect(pid, kept, "rw-p", "6+1");
		expect(pid, unmapped, "rw-p", "-");
		leave(0);
	}
	store(kept, "2+1"); /* while the child has it, too */
	wait_for(child, (int *)0);
}

static void all_rounds(void)
{
	char *dropped = map_private(SLOT(5), 64);
	char *base = (char *)((SYS(NR_brk, 0) + PAGE - 1) & -PAGE);

	for (int round = 0; round < ROUNDS; round++) {
		map_and_unmap(map_private, SLOT(0), "rw-p");
		map_and_unmap(map_shared, SLOT(1), "rw-s");
		move_and_unmap(SLOT(2), SLOT(3));
		drop_read_pages(dropped);
		grow_and_shrink(base);
	}
	unmap(dropped, 64);
	expect(1, dropped, "rw-p", "50+1");
	window(1, "[heap]", base, 64, "50+1");
}

static void all_children(void)
{
	char *kept = map_private(SLOT(6), 8);
	char *unmapped = map_private(SLOT(7), 8);

	store(kept, "0+3");
	store(unmapped, "0+4");
	for (int pid = 2; pid < 2 + CHILDREN; pid++)
		fork_child(pid, kept, unmapped);
	expect(1, kept, "rw-p", "0+3");
	expect(1, unmapped, "rw-p", "0+4");
}

int guest_main(int argc, char **argv, char **envp)
{
	(void)argc;
	(void)argv;
	(void)envp;
	all_rounds();
	all_children();
	put("DONE\n");
	return 0;
}
