/* SPDX-License-Identifier: MIT */
/* abi/proc_files.h - files of /proc/self that Vellum writes itself, because the host's would describe Vellum. */
#ifndef ABI_PROC_FILES_H
#define ABI_PROC_FILES_H

#include "abi/task.h"

/*
 * Open /proc/self/@name of @t: a host descriptor with the text as it is now, open for reading. -ENOENT: Vellum has no
 * such file; -EACCES: @flags asks to write.
 */
int proc_files_open(struct task *t, const char *name, int flags);

#endif
