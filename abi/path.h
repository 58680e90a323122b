/* SPDX-License-Identifier: MIT */
/* abi/path.h - paths of a program, made safe to hand to the host. */
#ifndef ABI_PATH_H
#define ABI_PATH_H

#include "abi/task.h"

#define PATH_BYTES 4096

/*
 * A path as system calls of the host take it: a descriptor to start from, and a string. What
 * /proc/self means is the program, not Vellum: the parts of it that programs need are translated,
 * the rest is refused.
 */
struct host_path {
	int dir;
	char path[PATH_BYTES + 64];
};

/* Copy the path at @addr, relative to the program's @dirfd. 0 or negative errno. */
int path_get(struct task *t, int64_t dirfd, uint64_t addr, struct host_path *hp);
/* The same as one string for the host. */
int path_for_host(struct task *t, const char *path, char *host, size_t size);
/* A descriptor just opened: is it a door to Vellum's own insides? 0 or -EACCES. */
int path_check_opened(int fd);

#endif
