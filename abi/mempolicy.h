/* SPDX-License-Identifier: MIT */
/*
 * abi/mempolicy.h - memory policies: numa(7). The machine has one node, node 0, so a policy places nothing: it is checked,
 * stored and reported as Linux does on a machine with one node. A thread has a policy, and ranges of an address space.
 */
#ifndef ABI_MEMPOLICY_H
#define ABI_MEMPOLICY_H

#include "abi/task.h"

struct placements;		/* the ranges of an address space with policies of their own */

/* No memory: -ENOMEM, and nothing is changed. A policy with the mode MPOL_DEFAULT removes others. Else 0. */
int placements_set(struct guest_mm *gmm, uint64_t start, uint64_t end, const struct mempolicy *policy);
/* The policy at an address; that of the thread, if there is none. */
struct mempolicy placements_get(struct guest_mm *gmm, uint64_t addr, const struct mempolicy *of_thread);
/* [start, end) is unmapped, or mapped anew. */
void placements_clear(struct guest_mm *gmm, uint64_t start, uint64_t end);
/* mremap(2), to where nothing was mapped. @keep: the old range stays mapped. Without memory, what moved has no policy. */
void placements_move(struct guest_mm *gmm, uint64_t from, uint64_t old_len, uint64_t to, uint64_t new_len,
		     bool keep);
struct placements *placements_copy(struct guest_mm *gmm);	/* NULL: there are none, or no memory */
void placements_restore(struct guest_mm *gmm, const struct placements *was);
void placements_free(struct placements *pl);			/* NULL is allowed */

#endif
