/* SPDX-License-Identifier: MIT */
/*
 * abi/kernel_fs.h - what a program may open of the host kernel's own file systems (procfs, sysfs, debugfs and
 * their like), and of the devices that are the host's memory.
 *
 * Two lists of what is allowed: file systems by type, and in procfs files by name. What is on neither list cannot be
 * opened by any path, so a process or thread of the host that the lists do not name is out of reach. Nothing in these
 * file systems can be written.
 */
#ifndef ABI_KERNEL_FS_H
#define ABI_KERNEL_FS_H

#include <stdbool.h>
#include <stddef.h>

/* May a program have the host descriptor @fd, opened with @flags? 0, -ENOENT or -EACCES. */
int kernel_fs_check(int fd, int flags);
/* May a program change what @fd is: its mode, owner, times; names, if it is a directory? 0 or -EACCES. */
int kernel_fs_check_change(int fd);
/* Take the names that a program cannot open out of what getdents64(2) read from @fd. Return: bytes left. */
long kernel_fs_filter_names(int fd, char *buf, long bytes);

#endif
