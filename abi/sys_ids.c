/* SPDX-License-Identifier: MIT */
/* abi/sys_ids.c - IDs of a process: getpid(2), setpgid(2), setsid(2), credentials(7). */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/access.h"
#include "abi/jobs.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define MAX_GROUPS 256

int64_t sys_getpid(struct task *t)
{
	return t->process->pid;
}

int64_t sys_gettid(struct task *t)
{
	return t->tid;
}

/* The process with @pid; 0 is that of @t. kernel->lock held. */
static struct process *find_or_self(struct task *t, int pid)
{
	return pid == 0 ? t->process : process_find(t->kernel, pid);
}

/* Read an ID under the lock, as other processes change it, too. */
static int64_t read_id(struct task *t, int pid, size_t offset)
{
	const struct process *other;
	int64_t id;

	pthread_mutex_lock(&t->kernel->lock);
	other = find_or_self(t, pid);
	id = other ? *(const int *)((const char *)other + offset) : -ESRCH;
	pthread_mutex_unlock(&t->kernel->lock);
	return id;
}

int64_t sys_getppid(struct task *t)
{
	return read_id(t, 0, offsetof(struct process, ppid));
}

int64_t sys_getpgid(struct task *t, int pid)
{
	return read_id(t, pid, offsetof(struct process, pgid));
}

int64_t sys_getpgrp(struct task *t)
{
	return read_id(t, 0, offsetof(struct process, pgid));
}

int64_t sys_getsid(struct task *t, int pid)
{
	return read_id(t, pid, offsetof(struct process, sid));
}

/* For the process itself, or a child that has not called execve(2), in the same session. kernel->lock held. */
static int set_group(struct task *t, int pid, int pgid)
{
	struct process *other = find_or_self(t, pid), *p = t->process;

	if (!other || (other != p && other->ppid != p->pid))
		return -ESRCH;
	if (other != p && other->sid != p->sid)
		return -EPERM;
	if (other != p && other->has_execed)
		return -EACCES;
	if (other->sid == other->pid)
		return -EPERM;
	if (pgid && pgid != other->pid && !group_exists(t->kernel, pgid, p->sid))
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
	struct process *p = t->process;
	int64_t sid = -EPERM;

	pthread_mutex_lock(&t->kernel->lock);
	if (!group_exists(t->kernel, p->pid, 0)) {
		sid = p->pgid = p->sid = p->pid;
		p->tty = NULL;
	}
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

/*
 * Credentials belong to a thread of the host. The raw calls change those of the task's own thread; the C library's would
 * change all of Vellum. A child's thread is started by its parent's, and inherits them.
 */
#define RAW_ID_CALL(name, params, ...)                                      \
	int64_t sys_##name params                                           \
	{                                                                   \
		int err = syscall(SYS_##name, __VA_ARGS__) ? -errno : 0;    \
                                                                            \
		credentials_changed(t);                                     \
		return err;                                                 \
	}

RAW_ID_CALL(setuid, (struct task *t, uint32_t uid), uid)
RAW_ID_CALL(setgid, (struct task *t, uint32_t gid), gid)
RAW_ID_CALL(setreuid, (struct task *t, uint32_t ruid, uint32_t euid), ruid, euid)
RAW_ID_CALL(setregid, (struct task *t, uint32_t rgid, uint32_t egid), rgid, egid)
RAW_ID_CALL(setresuid, (struct task *t, uint32_t ruid, uint32_t euid, uint32_t suid), ruid, euid, suid)
RAW_ID_CALL(setresgid, (struct task *t, uint32_t rgid, uint32_t egid, uint32_t sgid), rgid, egid, sgid)

int64_t sys_setfsuid(struct task *t, uint32_t uid)
{
	long old = syscall(SYS_setfsuid, uid);		/* there is no error */

	credentials_changed(t);
	return old;
}

int64_t sys_setfsgid(struct task *t, uint32_t gid)
{
	long old = syscall(SYS_setfsgid, gid);

	credentials_changed(t);
	return old;
}

int64_t sys_setgroups(struct task *t, int size, uint64_t list)
{
	gid_t groups[MAX_GROUPS];

	if (size < 0 || size > MAX_GROUPS)
		return -EINVAL;
	if (user_read(t, groups, list, (size_t)size * sizeof(gid_t)))
		return -EFAULT;
	return syscall(SYS_setgroups, size, groups) ? -errno : 0;
}

static int64_t write_ids(struct task *t, const uint32_t id[3], const uint64_t addr[3])
{
	for (unsigned i = 0; i < 3; i++)
		if (user_write(t, addr[i], &id[i], sizeof(id[i])))
			return -EFAULT;
	return 0;
}

int64_t sys_getresuid(struct task *t, uint64_t ruid, uint64_t euid, uint64_t suid)
{
	uint32_t id[3];

	return getresuid(&id[0], &id[1], &id[2]) ? -errno : write_ids(t, id, (const uint64_t[]){ ruid, euid, suid });
}

int64_t sys_getresgid(struct task *t, uint64_t rgid, uint64_t egid, uint64_t sgid)
{
	uint32_t id[3];

	return getresgid(&id[0], &id[1], &id[2]) ? -errno : write_ids(t, id, (const uint64_t[]){ rgid, egid, sgid });
}
