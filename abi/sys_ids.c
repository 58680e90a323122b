/* SPDX-License-Identifier: MIT */
/* abi/sys_ids.c - IDs of a process: getpid(2), setpgid(2), setsid(2), credentials(7). */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

#include "abi/task.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define MAX_GROUPS 256

int64_t sys_getpid(struct task *t)
{
	return t->pid;
}

/* The task with @pid; 0 is @t. kernel->lock held. */
static struct task *find_or_self(struct task *t, uint64_t pid)
{
	return (int)pid == 0 || (int)pid == t->pid ? t : task_find(t->kernel, (int)pid);
}

/* Read an ID under the lock, as other processes change it, too. */
static int64_t read_id(struct task *t, uint64_t pid, size_t offset)
{
	const struct task *other;
	int64_t id;

	pthread_mutex_lock(&t->kernel->lock);
	other = find_or_self(t, pid);
	id = other ? *(const int *)((const char *)other + offset) : -ESRCH;
	pthread_mutex_unlock(&t->kernel->lock);
	return id;
}

int64_t sys_getppid(struct task *t)
{
	return read_id(t, 0, offsetof(struct task, ppid));
}

int64_t sys_getpgid(struct task *t, int pid)
{
	return read_id(t, pid, offsetof(struct task, pgid));
}

int64_t sys_getpgrp(struct task *t)
{
	return read_id(t, 0, offsetof(struct task, pgid));
}

int64_t sys_getsid(struct task *t, int pid)
{
	return read_id(t, pid, offsetof(struct task, sid));
}

/* True: a process in group @pgid exists, and in session @sid if that is not 0. kernel->lock held. */
static bool group_exists(const struct kernel *k, int pgid, int sid)
{
	const struct task *t = k->tasks;

	while (t && (t->pgid != pgid || (sid && t->sid != sid)))
		t = t->next;
	return t != NULL;
}

/* For @t itself, or a child that has not called execve(2), in the same session. kernel->lock held. */
static int set_group(struct task *t, uint64_t pid, int pgid)
{
	struct task *other = find_or_self(t, pid);

	if (!other || (other != t && other->ppid != t->pid))
		return -ESRCH;
	if (other != t && other->sid != t->sid)
		return -EPERM;
	if (other != t && other->has_execed)
		return -EACCES;
	if (other->sid == other->pid)
		return -EPERM;
	if (pgid && pgid != other->pid && !group_exists(t->kernel, pgid, t->sid))
		return -EPERM;
	other->pgid = pgid ? pgid : other->pid;
	return 0;
}

int64_t sys_setpgid(struct task *t, int pid, int pgid)
{
	int err;

	if (pgid < 0)
		return -EINVAL;
	pthread_mutex_lock(&t->kernel->lock);
	err = set_group(t, pid, pgid);
	pthread_mutex_unlock(&t->kernel->lock);
	return err;
}

int64_t sys_setsid(struct task *t)
{
	int64_t sid = -EPERM;

	pthread_mutex_lock(&t->kernel->lock);
	if (!group_exists(t->kernel, t->pid, 0))
		sid = t->pgid = t->sid = t->pid;
	pthread_mutex_unlock(&t->kernel->lock);
	return sid;
}

int64_t sys_getuid(struct task *t)
{
	return getuid();
}

int64_t sys_geteuid(struct task *t)
{
	return geteuid();
}

int64_t sys_getgid(struct task *t)
{
	return getgid();
}

int64_t sys_getegid(struct task *t)
{
	return getegid();
}

int64_t sys_getgroups(struct task *t, int size, uint64_t list)
{
	gid_t groups[MAX_GROUPS];
	int n = getgroups(MAX_GROUPS, groups);

	if (n < 0)
		return -errno;
	if (size == 0)
		return n;
	if (size < n)
		return -EINVAL;
	return user_write(t, list, groups, (size_t)n * sizeof(gid_t)) ? -EFAULT : n;
}
