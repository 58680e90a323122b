/* SPDX-License-Identifier: MIT */
/*
 * abi/access.h - rights of a program on the processes of other users: kill(2); ptrace(2), access mode checking. All
 * programs of a run begin with one user, and some change theirs: credentials(7).
 */
#ifndef ABI_ACCESS_H
#define ABI_ACCESS_H

#include <linux/capability.h>

#include "abi/task.h"

enum access_ids {
	ACCESS_REAL,	/* the caller's real IDs count: process_vm_readv(2) and others */
	ACCESS_FILE,	/* those for files: /proc */
};

/* Has the calling thread @cap, CAP_KILL and so on? */
bool has_capability(unsigned cap);
/* Read those of the calling thread. */
void credentials_read(struct credentials *c);
/*
 * After a call that may change the credentials of @t, which is the calling thread: note them. Processes with the same
 * IDs get no access to one that changed its user, as it may have read secrets before.
 */
void credentials_changed(struct task *t);

/* execve(2): the saved IDs become the effective ones. @gmm: the new address space, not in use yet. */
void credentials_exec(struct task *t, struct guest_mm *gmm);

/* The callers of the checks are the thread of @t. kernel->lock held. */

/* May @t send @signo to a thread of @p that has the credentials @c? 0, -EINVAL or -EPERM. */
int access_check_signal(const struct task *t, const struct process *p, const struct credentials *c, int signo);
/* May @t read and change the memory and files of @p? 0 or -EPERM. */
int access_check(const struct task *t, const struct process *p, enum access_ids ids);
/* May @t read and change the limits of @p? 0 or -EPERM. */
int access_check_limits(const struct task *t, const struct process *p);
/* May @t choose the CPUs of @other? 0 or -EPERM. */
int access_check_schedule(const struct task *t, const struct task *other);

#endif
