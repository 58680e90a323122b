/* SPDX-License-Identifier: MIT */
/*
 * abi/async.h - signals that tell that a file is ready: O_ASYNC, F_SETOWN and F_SETSIG of fcntl(2).
 *
 * The host sends Vellum a signal with its own descriptor, and Vellum sends the program the one it asked for.
 */
#ifndef ABI_ASYNC_H
#define ABI_ASYNC_H

#include <signal.h>

#include "abi/task.h"

/* What the host sends to Vellum; SIGIO without a descriptor, if too many are pending. Blocked in every thread. */
#define ASYNC_SIGNAL SIGRTMIN

/* F_SETOWN, F_GETOWN, F_SETOWN_EX, F_GETOWN_EX, F_SETSIG and F_GETSIG of fcntl(2). The result, or a negative errno. */
int64_t async_call(struct task *t, struct file *file, int cmd, uint64_t arg);
/* O_ASYNC of descriptor @fd. 0 or a negative errno. */
int async_enable(struct file *file, int fd, bool on);
void async_forget(struct file *file);			/* before it is freed */
/* A signal has come from the host. kernel->lock held. */
void async_arrived(struct kernel *k, const siginfo_t *from);

#endif
