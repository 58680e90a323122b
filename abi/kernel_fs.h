/* SPDX-License-Identifier: MIT */
/*
 * abi/kernel_fs.h - which files a program may open in the host kernel's own file systems (procfs, sysfs, debugfs and
 * others), and among the devices that are the host's memory.
 *
 * There are two lists of what is allowed: file systems by type, and files of procfs by name. What is on neither list
 * cannot be opened by any path. So a program cannot open the files of a process or thread of the host. Nothing in these
 * file systems can be written.
 */
#ifndef ABI_KERNEL_FS_H
#define ABI_KERNEL_FS_H

#include <stdbool.h>
#include <stddef.h>

/* Check whether a program may use the host descriptor @fd, opened with @flags. 0, -ENOENT or -EACCES. */
int kernel_fs_check(int fd, int flags);
/* May a program open the host's /proc/@name? */
bool kernel_fs_has_proc_name(const char *name);
/* Check whether a program may change the mode, owner or times of @fd, or names in a directory @fd. 0 or -EACCES. */
int kernel_fs_check_change(int fd);
/* Remove names that a program cannot open from what getdents64(2) read from @fd. Return: bytes left. */
long kernel_fs_filter_names(int fd, char *buf, long bytes);

#endif
