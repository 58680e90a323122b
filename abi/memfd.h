/* SPDX-License-Identifier: MIT */
/*
 * abi/memfd.h - how much memory of the host files of memfd_create(2) hold: it is neither --ram nor swap.
 *
 * All of a run together hold at most as much as RAM. What would make one larger reserves first, and settles
 * afterwards by what the file has. A file is known by device and inode as long as a descriptor or a mapping has it.
 */
#ifndef ABI_MEMFD_H
#define ABI_MEMFD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct memfd;

void memfd_start(uint64_t limit);	/* bytes */

/* For a new one, with a reference. NULL: no memory. */
struct memfd *memfd_new(int fd);
/* With a reference; NULL: it is none. */
struct memfd *memfd_get(dev_t dev, ino_t ino);
void memfd_put(struct memfd *m);

/* Around what may add @more bytes to the file; @m may be NULL. False: no room, and nothing to settle. */
bool memfd_reserve(struct memfd *m, uint64_t more);
void memfd_settle(struct memfd *m, int fd, uint64_t more);

#endif
