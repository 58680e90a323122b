/* SPDX-License-Identifier: MIT */
/* abi/access.h - the right of a process to look into another one: ptrace(2), access mode checking. */
#ifndef ABI_ACCESS_H
#define ABI_ACCESS_H

#include "abi/task.h"

/* May @t read and change the memory and files of @p? 0 or -EPERM. kernel->lock held. */
int access_check(const struct task *t, const struct process *p);

#endif
