/* SPDX-License-Identifier: MIT */
/* tests/unit/fail_sweep.h - makes each allocation of each test fail, one at a time.
 *
 * With VELLUM_FAIL_SWEEP=allocs (or frames) in the environment, the test forks a process for each allocation after
 * the world was made. In that process, this allocation fails, and the rest of the test runs. Then the test itself
 * runs without failures. allocs: one allocation of the host's memory fails. frames: from that frame on, all
 * allocations of frames fail.
 *
 * For a debugger: with VELLUM_FAIL_SWEEP=allocs:27, only that allocation fails, in this process, in the first test.
 *
 * The assertions of a test assume enough memory, so the test may fail. But the process must not crash or hang, and
 * bug() must not be called. If the test fails, the address spaces must be valid, and unmapping all of them must
 * succeed. If it passes, nothing may have leaked. test_oom and similar tests check error codes and unchanged state.
 */
#ifndef TESTS_UNIT_FAIL_SWEEP_H
#define TESTS_UNIT_FAIL_SWEEP_H

struct world;

void fail_sweep_begin(struct world *w);	/* the world was made */
void fail_sweep_by_hand(void);		/* the test writes an entry, perhaps over one that it does not expect */
void fail_sweep_end(struct world *w);	/* the world was destroyed, without a leak */

#endif
