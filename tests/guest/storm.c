/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/storm.c - stores without a pause to a few pages, for about a second: whatever a tracker
 * does wrong with stale translations shows as a page that differs from the replica.
 */
#include "guest.h"

#define NR_PAGES 16
#define ROUNDS	 6000000

int main(void)
{
	volatile long *m = (volatile long *)anon(SLOT(0), NR_PAGES);

	for (long round = 0; round < ROUNDS; round++)
		m[round % NR_PAGES * (PAGE / 8)] = round;
	return 0;
}
