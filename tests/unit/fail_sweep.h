/* SPDX-License-Identifier: MIT */
/* tests/unit/fail_sweep.h - each allocation of each test made to fail, one at a time.
 *
 * With VELLUM_FAIL_SWEEP=allocs (or frames) in the environment, a process of its own goes through the rest of the
 * test for the first allocation after the world was made, for the second, and so on; then the test runs as it is.
 * allocs: one allocation of the host's memory fails. frames: from that frame on there are none.
 *
 * For a debugger: VELLUM_FAIL_SWEEP=allocs:27 has only that one fail, in this process, in the first test.
 *
 * What the test then says of results and bytes was written for enough memory, so it may fail. Never may the process
 * crash or hang, nor bug() be called; where it failed, the address spaces must be valid, and be emptied; where it did
 * not, nothing may have leaked. test_oom and its like look at the error codes and at what must not have changed.
 */
#ifndef TESTS_UNIT_FAIL_SWEEP_H
#define TESTS_UNIT_FAIL_SWEEP_H

struct world;

void fail_sweep_begin(struct world *w);	/* the world is there */
void fail_sweep_by_hand(void);		/* the test writes an entry: that there are others may be its own doing */
void fail_sweep_end(struct world *w);	/* it was destroyed, without a leak */

#endif
