/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/swapped.c MIB - a working set of so many megabytes, for a RAM that is smaller.
 *
 * Half of it is private and half shared memory. Every page has its own contents, which are looked at again
 * when all have them; then a child stores to every second page, and both look.
 */
#include "guest.h"

static unsigned long nr_pages;

static unsigned long *word_of(char *base, unsigned long page)
{
	return (unsigned long *)(base + page * PAGE + page * 8 % PAGE);
}

static void fill(char *base, unsigned long step, unsigned long value)
{
	for (unsigned long page = 0; page < nr_pages; page += step)
		*word_of(base, page) = value + page;
}

/* Every page has @value and its number, but each second one, from the first, @even and its number. */
static void look_at(char *base, unsigned long value, unsigned long even)
{
	for (unsigned long page = 0; page < nr_pages; page++)
		check(*word_of(base, page) == (page & 1 ? value : even) + page, "contents");
}

int guest_main(int argc, char **argv, char **envp)
{
	const char *mib = argc == 2 ? argv[1] : "";
	char *private, *shared;
	long child;

	(void)envp;
	nr_pages = parse_number(&mib) * 128;
	private = map_at(SLOT(0), nr_pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1);
	shared = map_shared(WIDE_SLOT, nr_pages);
	fill(private, 1, 1ul << 32);
	fill(shared, 1, 2ul << 32);
	look_at(private, 1ul << 32, 1ul << 32);
	look_at(shared, 2ul << 32, 2ul << 32);
	child = SYS(NR_fork, 0);
	check(child >= 0, "fork");
	if (child == 0) {
		fill(private, 2, 3ul << 32);
		fill(shared, 2, 4ul << 32);
		look_at(private, 1ul << 32, 3ul << 32);
		leave(0);
	}
	wait_for(child, (int *)0);
	look_at(private, 1ul << 32, 1ul << 32);
	look_at(shared, 2ul << 32, 4ul << 32);
	put("DONE\n");
	return 0;
}
