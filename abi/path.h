/* SPDX-License-Identifier: MIT */
/*
 * abi/path.h - paths of a program, opened so that they cannot lead into Vellum.
 *
 * One host process serves many programs. What /proc/self and /dev/fd mean is the program; no other
 * path may pass a link of procfs into an open descriptor of some process. Of the host kernel's own
 * file systems only what abi/kernel_fs.h lists can be opened.
 */
#ifndef ABI_PATH_H
#define ABI_PATH_H

#include <sys/types.h>

#include "abi/task.h"

#define PATH_BYTES 4096

/* All return a host descriptor of the caller's (O_CLOEXEC), or a negative errno. They may wait: without a CPU. */
/* open(2) as the program asked, but for its umask. */
int path_open(struct task *t, int64_t dirfd, const char *path, int flags, mode_t mode);
/* The object itself, as O_PATH; @flags: AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH. */
int path_object(struct task *t, int64_t dirfd, uint64_t addr, int flags);
/* As path_object(), to change its mode, owner or times. */
int path_to_change(struct task *t, int64_t dirfd, uint64_t addr, int flags);
/* The directory that holds the last component, which is copied to @name. */
int path_parent(struct task *t, int64_t dirfd, uint64_t addr, char name[PATH_BYTES]);

/* What readlink(2) says of /proc/self and /proc/self/exe in any form. False: the path is another. */
bool path_own_link(const struct task *t, const char *path, char link[PATH_BYTES]);
/* A name by which the host finds an open descriptor again. */
#define FD_NAME_BYTES 32
const char *path_fd_name(int fd, char name[FD_NAME_BYTES]);

#endif
