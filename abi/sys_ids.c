/* SPDX-License-Identifier: MIT */
/* abi/sys_ids.c - the ids of a process: getpid(2), setpgid(2), setsid(2), credentials(7). */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

#include "abi/task.h"

SYSCALL(getpid)
{
	(void)a;
	return t->pid;
}

/* @pid's, 0 meaning @t. kernel->lock held. */
static struct task *self_or(struct task *t, uint64_t pid)
{
	return (int)pid == 0 || (int)pid == t->pid ? t : task_find(t->kernel, (int)pid);
}

/* Others change these of ours, too. */
static int64_t read_id(struct task *t, uint64_t pid, size_t offset)
{
	const struct task *other;
	int64_t id;

	pthread_mutex_lock(&t->kernel->lock);
	other = self_or(t, pid);
	id = other ? *(const int *)((const char *)other + offset) : -ESRCH;
	pthread_mutex_unlock(&t->kernel->lock);
	return id;
}

SYSCALL(getppid)
{
	(void)a;
	return read_id(t, 0, offsetof(struct task, ppid));
}

SYSCALL(getpgid)
{
	return read_id(t, a[0], offsetof(struct task, pgid));
}

SYSCALL(getpgrp)
{
	(void)a;
	return read_id(t, 0, offsetof(struct task, pgid));
}

SYSCALL(getsid)
{
	return read_id(t, a[0], offsetof(struct task, sid));
}

/* kernel->lock held. */
static bool has_group(const struct kernel *k, int pgid, int sid)
{
	const struct task *t = k->tasks;

	while (t && (t->pgid != pgid || (sid && t->sid != sid)))
		t = t->next;
	return t != NULL;
}

/* Of itself or a child that has not executed a program yet, within the session. kernel->lock held. */
static int set_group(struct task *t, uint64_t pid, int pgid)
{
	struct task *other = self_or(t, pid);

	if (!other || (other != t && other->ppid != t->pid))
		return -ESRCH;
	if (other != t && other->sid != t->sid)
		return -EPERM;
	if (other != t && other->has_execed)
		return -EACCES;
	if (other->sid == other->pid)
		return -EPERM;
	if (pgid && pgid != other->pid && !has_group(t->kernel, pgid, t->sid))
		return -EPERM;
	other->pgid = pgid ? pgid : other->pid;
	return 0;
}

SYSCALL(setpgid)
{
	int err;

	if ((int)a[1] < 0)
		return -EINVAL;
	pthread_mutex_lock(&t->kernel->lock);
	err = set_group(t, a[0], (int)a[1]);
	pthread_mutex_unlock(&t->kernel->lock);
	return err;
}

SYSCALL(setsid)
{
	int64_t sid = -EPERM;

	(void)a;
	pthread_mutex_lock(&t->kernel->lock);
	if (!has_group(t->kernel, t->pid, 0))
		sid = t->pgid = t->sid = t->pid;
	pthread_mutex_unlock(&t->kernel->lock);
	return sid;
}

SYSCALL(getuid)
{
	(void)t, (void)a;
	return getuid();
}

SYSCALL(geteuid)
{
	(void)t, (void)a;
	return geteuid();
}

SYSCALL(getgid)
{
	(void)t, (void)a;
	return getgid();
}

SYSCALL(getegid)
{
	(void)t, (void)a;
	return getegid();
}

SYSCALL(getgroups)
{
	gid_t groups[256];
	int n = getgroups(256, groups);

	if (n < 0)
		return -errno;
	if (a[0] == 0)
		return n;
	if ((int)a[0] < n)
		return -EINVAL;
	return user_write(t, a[1], groups, (size_t)n * sizeof(gid_t)) ? -EFAULT : n;
}
