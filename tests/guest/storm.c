/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/storm.c - stores without a pause to a few pages, for a while: whatever a tracker
 * does wrong with stale translations shows as a page that differs from the replica.
 */
#include "guest.h"

#define NR_PAGES 16
#define ROUNDS	 60000000

int guest_main(int argc, char **argv, char **envp)
{
	volatile long *m = (volatile long *)map_private(SLOT(0), NR_PAGES);

	(void)argc, (void)argv, (void)envp;

	for (long round = 0; round < ROUNDS; round++)
		m[round % NR_PAGES * (PAGE / 8)] = round;
	return 0;
}
