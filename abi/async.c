/* SPDX-License-Identifier: MIT */
/* abi/async.c - signals that tell that a file is ready; see async.h. */
#define _GNU_SOURCE
#include "abi/async.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "abi/signals.h"

struct async {
	struct async *next;		/* kernel->asyncs */
	int host_fd;
	int fd;				/* of the program, as it was when O_ASYNC was set */
	struct f_owner_ex owner;	/* pid 0: none */
	struct id_set user;		/* of the program that set the owner: what it may signal (fcntl(2)) */
	int signo;			/* 0: SIGIO, without a descriptor */
};

/* The file's state, made at the first use. async_lock held. NULL: no memory. */
static struct async *state_of(struct file *file)
{
	struct async *a = file->async;

	if (a)
		return a;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->host_fd = file->fd;
	a->next = file->kernel->asyncs;
	file->kernel->asyncs = a;
	file->async = a;
	return a;
}

void async_forget(struct file *file)
{
	struct kernel *k = file->kernel;
	struct async **at = &k->asyncs;

	if (!file->async)
		return;
	pthread_mutex_lock(&k->async_lock);
	while (*at != file->async)
		at = &(*at)->next;
	*at = file->async->next;
	pthread_mutex_unlock(&k->async_lock);
	free(file->async);
}

int async_enable(struct file *file, int fd, bool on)
{
	struct kernel *k = file->kernel;
	const struct async *a = NULL;
	int value = on;

	pthread_mutex_lock(&k->async_lock);
	if (on) {
		a = state_of(file);
		if (a)
			file->async->fd = fd;
	}
	pthread_mutex_unlock(&k->async_lock);
	if (on && !a)
		return -ENOMEM;
	if (on && (fcntl(file->fd, F_SETSIG, ASYNC_SIGNAL) || fcntl(file->fd, F_SETOWN, getpid())))
		return -errno;
	return ioctl(file->fd, FIOASYNC, &value) ? -errno : 0;
}

/* --- receivers and signals --- */

static bool exists(struct kernel *k, const struct f_owner_ex *owner)
{
	bool found = !owner->pid;

	pthread_mutex_lock(&k->lock);
	for (const struct process *p = k->processes; p && !found; p = p->next)
		found = owner->type == F_OWNER_PGRP ? p->pgid == owner->pid : owner->type == F_OWNER_PID && p->pid == owner->pid;
	if (owner->type == F_OWNER_TID && !found)
		found = task_find(k, owner->pid) != NULL;
	pthread_mutex_unlock(&k->lock);
	return found;
}

static int64_t set_owner(struct task *t, struct file *file, const struct f_owner_ex *owner)
{
	struct kernel *k = t->kernel;
	struct async *a;

	if (!exists(k, owner))
		return -ESRCH;
	pthread_mutex_lock(&k->async_lock);
	a = state_of(file);
	if (a) {
		a->owner = *owner;
		a->user = t->credentials.user;
	}
	pthread_mutex_unlock(&k->async_lock);
	return a ? 0 : -ENOMEM;
}

static int64_t set_signal(struct file *file, uint64_t signo)
{
	struct kernel *k = file->kernel;
	struct async *a;

	if (signo > NR_SIGNALS)
		return -EINVAL;
	pthread_mutex_lock(&k->async_lock);
	a = state_of(file);
	if (a)
		a->signo = (int)signo;
	pthread_mutex_unlock(&k->async_lock);
	return a ? 0 : -ENOMEM;
}

/* @owner: of fcntl(2), as one number. */
static int64_t set_owner_number(struct task *t, struct file *file, int owner)
{
	struct f_owner_ex ex = { .type = owner < 0 ? F_OWNER_PGRP : F_OWNER_PID, .pid = owner < 0 ? -owner : owner };

	return owner == INT_MIN ? -EINVAL : set_owner(t, file, &ex);
}

static int64_t set_owner_ex(struct task *t, struct file *file, uint64_t addr)
{
	struct f_owner_ex owner;

	if (user_read(t, &owner, addr, sizeof(owner)))
		return -EFAULT;
	if (owner.type != F_OWNER_TID && owner.type != F_OWNER_PID && owner.type != F_OWNER_PGRP)
		return -EINVAL;
	return set_owner(t, file, &owner);
}

int64_t async_call(struct task *t, struct file *file, int cmd, uint64_t arg)
{
	struct async now = { .owner = { .type = F_OWNER_PID } };

	pthread_mutex_lock(&t->kernel->async_lock);
	if (file->async)
		now = *file->async;
	pthread_mutex_unlock(&t->kernel->async_lock);
	switch (cmd) {
	case F_SETOWN:	  return set_owner_number(t, file, (int)arg);
	case F_GETOWN:	  return now.owner.type == F_OWNER_PGRP ? -now.owner.pid : now.owner.pid;
	case F_SETOWN_EX: return set_owner_ex(t, file, arg);
	case F_GETOWN_EX: return user_write(t, arg, &now.owner, sizeof(now.owner));
	case F_SETSIG:	  return set_signal(file, arg);
	default:	  return now.signo;
	}
}

/* --- sending --- */

static bool may_signal(const struct async *a, const struct credentials *c)
{
	const struct id_set *from = &a->user, *to = &c->user;

	return from->effective == 0 || from->effective == to->real || from->effective == to->saved || from->real == to->real ||
	       from->real == to->saved;
}

/* kernel->lock held. */
static void send(struct kernel *k, const struct async *a, const siginfo_t *from)
{
	struct sig_info info = { .signo = a->signo ? a->signo : SIGIO, .code = SI_KERNEL };
	struct task *thread;

	if (a->signo && from->si_signo == ASYNC_SIGNAL) {
		info.code = has_own_codes(a->signo) ? SI_SIGIO : from->si_code;
		info.addr = (uint64_t)from->si_band;
		info.status = a->fd;
	}
	if (a->owner.type == F_OWNER_TID) {
		thread = task_find(k, a->owner.pid);
		if (thread && may_signal(a, &thread->credentials))
			signal_send_task(thread, &info);
		return;
	}
	for (struct process *p = k->processes; p; p = p->next)
		if ((a->owner.type == F_OWNER_PGRP ? p->pgid == a->owner.pid : p->pid == a->owner.pid) &&
		    may_signal(a, &p->credentials))
			signal_send(p, &info, a->owner.type == F_OWNER_PGRP);
}

/* A SIGIO has no descriptor: all owners get theirs, and look. */
void async_arrived(struct kernel *k, const siginfo_t *from)
{
	pthread_mutex_lock(&k->async_lock);
	for (const struct async *a = k->asyncs; a; a = a->next)
		if (a->owner.pid && (from->si_signo == SIGIO || a->host_fd == from->si_fd))
			send(k, a, from);
	pthread_mutex_unlock(&k->async_lock);
}
