/* SPDX-License-Identifier: MIT */
/*
 * lib/radix.h - radix tree from a 64-bit index to a pointer, 64 slots a node.
 *
 * Serves the page cache (index to folio) and the trackers (index to a word of page bits). Not
 * locked; NULL is "nothing there".
 */
#ifndef LIB_RADIX_H
#define LIB_RADIX_H

#include "lib/host.h"

struct radix_node;

struct radix {
	struct radix_node *root;
	unsigned levels;	/* 0: empty */
};

void *radix_get(const struct radix *radix, uint64_t index);
/* Store @value (not NULL). 0 or -ENOMEM; on failure nothing visible has changed. */
int radix_set(struct radix *radix, uint64_t index, void *value, const struct host *host);
/* Remove and return what is there; empty nodes are freed. */
void *radix_delete(struct radix *radix, uint64_t index, const struct host *host);
/* The first value at *@index or above; *@index becomes its index. NULL: no more. */
void *radix_next(const struct radix *radix, uint64_t *index);
/* Free the nodes; the values are the caller's. */
void radix_destroy(struct radix *radix, const struct host *host);

#endif
