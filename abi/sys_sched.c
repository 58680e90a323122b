/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_sched.c - nice values, affinity, getcpu(2), capabilities(7), personality(2).
 *
 * Nice values and capabilities belong to threads of the host, as credentials do: each thread is one, which the raw
 * calls change alone. The host's kernel decides what is allowed. The CPUs are the machine's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/access.h"

#include "syscalls.h"	/* made from syscall.tbl */

/* Is @t one of the threads that getpriority(2) and setpriority(2) of @self with @which and @who are about? */
static bool is_meant(const struct task *self, const struct task *t, int which, int who)
{
	switch (which) {
	case PRIO_PROCESS: return t->tid == (who ? who : self->tid);
	case PRIO_PGRP:	   return t->process->pgid == (who ? who : self->process->pgid);
	default:	   return t->credentials.user.real == (who ? (uint32_t)who : self->credentials.user.real);
	}
}

static bool is_which(int which)
{
	return which == PRIO_PROCESS || which == PRIO_PGRP || which == PRIO_USER;
}

/* As the kernel's call, the result is 20 minus the nice value. */
int64_t sys_getpriority(struct task *t, int which, int who)
{
	int64_t best = -ESRCH, n;

	if (!is_which(which))
		return -EINVAL;
	pthread_mutex_lock(&t->kernel->lock);
	for (const struct process *p = t->kernel->processes; p; p = p->next)
		for (const struct task *other = p->threads; other; other = other->next) {
			if (!is_meant(t, other, which, who) || !other->host_tid)
				continue;
			n = syscall(SYS_getpriority, PRIO_PROCESS, other->host_tid);
			best = n > best ? n : best;
		}
	pthread_mutex_unlock(&t->kernel->lock);
	return best;
}

int host_set_nice(struct task *other, int nice)
{
	__atomic_store_n(&other->kernel->attributes_changed, true, __ATOMIC_RELAXED);
	return syscall(SYS_setpriority, PRIO_PROCESS, other->host_tid, nice) ? -errno : 0;
}

int64_t sys_setpriority(struct task *t, int which, int who, int nice)
{
	int64_t err = -ESRCH;
	int failed;

	if (!is_which(which))
		return -EINVAL;
	pthread_mutex_lock(&t->kernel->lock);
	for (const struct process *p = t->kernel->processes; p; p = p->next)
		for (struct task *other = p->threads; other; other = other->next) {
			if (!is_meant(t, other, which, who) || !other->host_tid)
				continue;
			failed = host_set_nice(other, nice);
			if (failed || err == -ESRCH)
				err = failed;
		}
	pthread_mutex_unlock(&t->kernel->lock);
	return err;
}

/* --- CPUs --- */

int64_t sys_sched_getaffinity(struct task *t, int pid, uint32_t len, uint64_t mask)
{
	const struct task *other;
	uint64_t cpus = 0;

	if (len < sizeof(cpus) || len % sizeof(cpus))
		return -EINVAL;
	pthread_mutex_lock(&t->kernel->lock);
	other = pid ? task_find(t->kernel, pid) : t;
	if (other)
		cpus = other->cpus;
	pthread_mutex_unlock(&t->kernel->lock);
	if (!other)
		return -ESRCH;
	return user_write(t, mask, &cpus, sizeof(cpus)) ? -EFAULT : (int64_t)sizeof(cpus);
}

/* A thread moves when it next enters its program. */
int64_t sys_sched_setaffinity(struct task *t, int pid, uint32_t len, uint64_t mask)
{
	struct task *other;
	uint64_t cpus = 0;
	int err;

	if (user_read(t, &cpus, mask, len < sizeof(cpus) ? len : sizeof(cpus)))
		return -EFAULT;
	cpus &= cpu_all(t->kernel);
	pthread_mutex_lock(&t->kernel->lock);
	other = pid ? task_find(t->kernel, pid) : t;
	err = other ? access_check_schedule(t, other) : -ESRCH;
	if (!err && !cpus)
		err = -EINVAL;
	if (!err)
		cpu_set_affinity(other, cpus);
	pthread_mutex_unlock(&t->kernel->lock);
	return err;
}

int64_t sys_getcpu(struct task *t, uint64_t cpu, uint64_t node, uint64_t unused)
{
	const uint32_t own = t->cpu < 0 ? 0 : (uint32_t)t->cpu, node_of_cpu = 0;

	if (cpu && user_write(t, cpu, &own, sizeof(own)))
		return -EFAULT;
	return node ? user_write(t, node, &node_of_cpu, sizeof(node_of_cpu)) : 0;
}

/* --- capabilities --- */

/* Copy the header, and change its PID to the host's thread. 0 or a negative errno. */
static int read_cap_header(struct task *t, uint64_t addr, struct __user_cap_header_struct *header)
{
	const struct task *other;
	int err = 0;

	if (user_read(t, header, addr, sizeof(*header)))
		return -EFAULT;
	if (header->pid < 0)
		return -EINVAL;
	pthread_mutex_lock(&t->kernel->lock);
	other = header->pid ? task_find(t->kernel, header->pid) : t;
	if (other)
		header->pid = other == t ? 0 : other->host_tid;
	else
		err = -ESRCH;
	pthread_mutex_unlock(&t->kernel->lock);
	return err;
}

/* The words of data for a version: those of version 1 are half as many. */
static size_t cap_bytes(const struct __user_cap_header_struct *header)
{
	return sizeof(struct __user_cap_data_struct) *
	       (header->version == _LINUX_CAPABILITY_VERSION_1 ? _LINUX_CAPABILITY_U32S_1 : _LINUX_CAPABILITY_U32S_3);
}

int64_t sys_capget(struct task *t, uint64_t header, uint64_t data)
{
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3];
	struct __user_cap_header_struct head;
	int err = read_cap_header(t, header, &head);
	uint32_t version = head.version;

	if (err)
		return err;
	err = syscall(SYS_capget, &head, data ? caps : NULL) ? -errno : 0;
	/* The kernel replaces a version that it does not know. */
	if (head.version != version && user_write(t, header, &head.version, sizeof(head.version)))
		return -EFAULT;
	return err || !data ? err : user_write(t, data, caps, cap_bytes(&head));
}

int64_t sys_capset(struct task *t, uint64_t header, uint64_t data)
{
	struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = { { .effective = 0 } };
	struct __user_cap_header_struct head;
	int err = read_cap_header(t, header, &head);

	if (err)
		return err;
	if (user_read(t, caps, data, cap_bytes(&head)))
		return -EFAULT;
	err = syscall(SYS_capset, &head, caps) ? -errno : 0;
	credentials_changed(t);
	return err;
}

/* --- personality(2) --- */

/* Addresses are never random. No other personality is supported. */
int64_t sys_personality(struct task *t, uint32_t persona)
{
	const uint32_t old = t->personality;

	if (persona == 0xffffffff)
		return old;
	if (persona & ~(uint32_t)ADDR_NO_RANDOMIZE)
		return -EINVAL;
	__atomic_store_n(&t->personality, persona, __ATOMIC_RELAXED);
	return old;
}
