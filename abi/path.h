/* SPDX-License-Identifier: MIT */
/*
 * abi/path.h - open paths of a program. No path may lead to a descriptor or file of Vellum's own process.
 *
 * One process of the host runs all programs. So paths to /proc and /dev/fd are looked up in the run's own /proc
 * (abi/proc.h), and no path of the host may follow a link of procfs to an open descriptor of a process. Of the host
 * kernel's own file systems, only what abi/kernel_fs.h lists can be opened.
 */
#ifndef ABI_PATH_H
#define ABI_PATH_H

#include <sys/types.h>

#include "abi/task.h"

#define PATH_BYTES 4096

/* These return a host descriptor (O_CLOEXEC) or a negative errno. They may block, without a CPU. */
/* open(2) with the arguments of the program. @mode: without the bits of its umask. */
int path_open(struct task *t, int64_t dirfd, const char *path, int flags, mode_t mode);
/* openat2(2): @resolve is RESOLVE_*, which are known to be valid. */
int path_open_how(struct task *t, int64_t dirfd, const char *path, int flags, mode_t mode, uint64_t resolve);
/* Open with O_PATH. @flags: AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH. */
int path_object(struct task *t, int64_t dirfd, uint64_t addr, int flags);
/* As path_object(), to change the mode, owner or times. */
int path_to_change(struct task *t, int64_t dirfd, uint64_t addr, int flags);
/* Open the directory of the last component. The component is copied to @name. */
int path_parent(struct task *t, int64_t dirfd, uint64_t addr, char name[PATH_BYTES]);
/* As path_parent() of a copied path, which is changed. */
int path_parent_of(struct task *t, int64_t dirfd, char *path, char name[PATH_BYTES]);

/* readlink(2) of a host descriptor that O_PATH opened. Return: bytes, or a negative errno. */
int path_link_text(struct task *t, int fd, char link[PATH_BYTES]);
/* The same for a link of /proc by its absolute path, without opening it. -ENOENT: open the path. */
int path_readlink(struct task *t, const char *path, char link[PATH_BYTES]);
/* May a program change the mode, owner or times of a file, or names in a directory? 0 or -EACCES. */
int path_check_change(struct task *t, int fd);
/* A path that opens the file of an open descriptor of the host again. */
#define FD_NAME_BYTES 32
const char *path_fd_name(int fd, char name[FD_NAME_BYTES]);
/* Open the file of a host descriptor again. Return: a host descriptor or a negative errno. May block. */
int fd_reopen(int host_fd, int flags);

#endif
