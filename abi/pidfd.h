/* SPDX-License-Identifier: MIT */
/*
 * abi/pidfd.h - descriptors that refer to a process of the run: pidfd_open(2).
 *
 * The host's descriptor is the reading end of a pipe. A byte in it makes it readable when the process ends, and closing
 * the writing end adds POLLHUP when the process is reaped, as a pidfd of Linux.
 */
#ifndef ABI_PIDFD_H
#define ABI_PIDFD_H

#include "abi/task.h"

/* In place of a descriptor: PIDFD_SELF_THREAD and PIDFD_SELF_THREAD_GROUP of <linux/pidfd.h>. */
#define PIDFD_OWN_THREAD	(-10000)
#define PIDFD_OWN_PROCESS	(-10001)

struct pidfd {
	struct kernel *kernel;
	struct process *process;	/* kernel->lock; NULL: it was reaped */
	struct pidfd *next;		/* process->pidfds; kernel->lock */
	int write_fd;			/* kernel->lock; -1: closed */
};

/* Open a descriptor of process @pid, a zombie or not. A descriptor of @t, or a negative errno. */
int pidfd_open_process(struct task *t, int pid, uint32_t flags);
/* For clone(2): open a descriptor of a process that is not in the process table yet. */
int pidfd_open_child(struct task *t, struct process *child);
/* The pidfd of a descriptor, valid until the end of the system call. NULL: EBADF. */
struct pidfd *pidfd_get(struct task *t, int fd);

#endif
