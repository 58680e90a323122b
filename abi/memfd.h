/* SPDX-License-Identifier: MIT */
/*
 * abi/memfd.h - accounting of the host's memory that files of memfd_create(2) use. It is neither --ram nor swap.
 *
 * All such files of a run together use at most as much memory as --ram and --swap together. A call that may enlarge a file reserves memory
 * first, and settles the account afterwards by the blocks that the file has. The account is found by device and inode,
 * and exists as long as a descriptor or a mapping refers to the file.
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
	struct memfd *first;		/* also compared with NULL without the lock */
	uint64_t used, limit;		/* bytes; used: by all files, and reserved */
};

void memfds_init(struct memfds *memfds, uint64_t limit);	/* bytes */
void memfds_destroy(struct memfds *memfds);		/* no descriptor or mapping may refer to an account */

/* An account for a new file, with a reference. NULL: no memory. */
struct memfd *memfd_new(struct memfds *memfds, int fd);
/* The account of a file, with a reference. NULL: the file has none. */
struct memfd *memfd_get(struct memfds *memfds, dev_t dev, ino_t ino);
void memfd_put(struct memfd *m);
/*
 * A message contains a descriptor of the file, or a message that did was received. Without a receiver the account
 * exists until the run ends: the host does not tell when it drops a message. @m may be NULL.
 */
void memfd_sent(struct memfd *m);
void memfd_received(struct memfd *m);

/*
 * Before and after a call that may add @more bytes to the file; @m may be NULL. False: the limit is reached, and
 * nothing was reserved.
 */
bool memfd_reserve(struct memfd *m, uint64_t more);
void memfd_settle(struct memfd *m, int fd, uint64_t more);

#endif
