/* SPDX-License-Identifier: MIT */
/* abi/sys_ids.c - who a process is: getpid(2), setpgid(2), setsid(2), credentials(7). */
#define _GNU_SOURCE
#include <errno.h>
#include <unistd.h>

#include "abi/task.h"

SYSCALL(getpid)
{
	(void)a;
	return t->pid;
}

SYSCALL(getppid)
{
	(void)a;
	return t->ppid;
}

static struct task *self_or(struct task *t, uint64_t pid)
{
	return pid == 0 || (int)pid == t->pid ? t : task_find(t->kernel, (int)pid);
}

SYSCALL(getpgid)
{
	struct task *other;
	int64_t pgid;

	pthread_mutex_lock(&t->kernel->lock);
	other = self_or(t, a[0]);
	pgid = other ? other->pgid : -ESRCH;
	pthread_mutex_unlock(&t->kernel->lock);
	return pgid;
}

SYSCALL(getpgrp)
{
	(void)a;
	return t->pgid;
}

SYSCALL(setpgid)
{
	struct task *other;
	int err = 0;

	if ((int)a[1] < 0)
		return -EINVAL;
	pthread_mutex_lock(&t->kernel->lock);
	other = self_or(t, a[0]);
	if (!other || (other != t && other->ppid != t->pid))
		err = -ESRCH;
	else
		other->pgid = a[1] ? (int)a[1] : other->pid;
	pthread_mutex_unlock(&t->kernel->lock);
	return err;
}

SYSCALL(setsid)
{
	(void)a;
	if (t->pgid == t->pid)
		return -EPERM;
	t->pgid = t->sid = t->pid;
	return t->sid;
}

SYSCALL(getsid)
{
	(void)a;
	return t->sid;
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
