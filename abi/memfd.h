/* SPDX-License-Identifier: MIT */
/*
 * abi/memfd.h - how much memory of the host files of memfd_create(2) hold: it is neither --ram nor swap.
 *
 * All of a run together hold at most as much as RAM. What would make one larger reserves first, and settles
 * afterwards by what the file has. A file is known by device and inode as long as a descriptor or a mapping has it.
 */
#ifndef ABI_MEMFD_H
#define ABI_MEMFD_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct memfd;

/* The accounts of all files of a run. */
struct memfds {
	pthread_mutex_t lock;		/* a leaf; protects what follows */
	struct memfd *first;		/* also read without the lock: NULL or not */
	uint64_t used, limit;		/* bytes; used: held by all files, and reserved */
};

void memfds_init(struct memfds *memfds, uint64_t limit);	/* bytes */
void memfds_destroy(struct memfds *memfds);		/* every account was put */

/* An account for a new file, with a reference. NULL: no memory. */
struct memfd *memfd_new(struct memfds *memfds, int fd);
/* The account of a file, with a reference. NULL: the file has none. */
struct memfd *memfd_get(struct memfds *memfds, dev_t dev, ino_t ino);
void memfd_put(struct memfd *m);

/* Around what may add @more bytes to the file; @m may be NULL. False: no room, and nothing to settle. */
bool memfd_reserve(struct memfd *m, uint64_t more);
void memfd_settle(struct memfd *m, int fd, uint64_t more);

#endif
