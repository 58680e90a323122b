/* SPDX-License-Identifier: MIT */
/*
 * lib/radix.h - radix tree from a 64-bit index to a pointer, with 64 slots in a node.
 *
 * Used for the page cache (index to folio), swap slots, and the page sets of trackers. Not locked. NULL means that no
 * value is stored.
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
/* Store @value (not NULL). 0 or -ENOMEM: then no value has changed. */
int radix_set(struct radix *radix, uint64_t index, void *value, const struct host *host);
/* Remove and return the value. Empty nodes are freed. */
void *radix_delete(struct radix *radix, uint64_t index, const struct host *host);
/* The first value at *@index or above; *@index becomes its index. NULL: none. */
void *radix_next(const struct radix *radix, uint64_t *index);
/* Free the nodes. The values belong to the caller. */
void radix_destroy(struct radix *radix, const struct host *host);

#endif
