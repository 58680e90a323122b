/* SPDX-License-Identifier: MIT */
/* abi/fork.c - fork(2), vfork(2), clone(2), and the host thread of each process. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "abi/task.h"

#define THREAD_STACK (256 << 10)	/* bytes */

/*
 * Copy the IDs of @parent, and the group signals since begin_fork(), when @t is put into the process table. So no
 * signal to a group misses @t. kernel->lock held.
 */
static int inherit_ids(struct task *t, struct task *parent)
{
	struct kernel *k = t->kernel;

	parent->forking = false;
	if (signal_fatal_pending(parent))
		return -ERESTARTNOINTR;		/* @parent dies and never restarts it */
	t->ppid = parent->pid;
	t->pgid = parent->pgid;
	t->sid = parent->sid;
	for (int signo = 1; signo <= NR_SIGNALS; signo++)
		if (parent->fork_pending >> (signo - 1) & 1)
			signal_send(k, t, &parent->info[signo]);
	return 0;
}

int task_start(struct task *t, struct task *parent)
{
	struct kernel *k = t->kernel;
	pthread_attr_t attr;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, THREAD_STACK);
	pthread_mutex_lock(&k->lock);	/* task_main() takes it first, so t->thread is set before the task runs */
	err = parent ? inherit_ids(t, parent) : 0;
	if (!err && pthread_create(&t->thread, &attr, task_main, t))
		err = -EAGAIN;
	if (!err) {
		t->next = k->tasks;
		k->tasks = t;
		k->nr_live++;
	}
	pthread_mutex_unlock(&k->lock);
	pthread_attr_destroy(&attr);
	return err;
}

static int copy_mm(struct task *child, struct task *parent, bool share)
{
	const struct abi_observer *ob = parent->kernel->args->observer;
	struct guest_mm *gmm = parent->gmm, *copy;
	int err;

	if (share) {
		__atomic_fetch_add(&gmm->refs, 1, __ATOMIC_RELAXED);
		child->gmm = gmm;
		return 0;
	}
	copy = malloc(sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	*copy = *gmm;
	copy->refs = 1;
	copy->pid = child->pid;
	copy->observer_data = NULL;
	if (ob && ob->before_fork)
		ob->before_fork(ob->arg, gmm);
	err = vellum_fork(gmm->mm, &copy->mm);
	if (err) {
		free(copy);
		return -ENOMEM;
	}
	child->gmm = copy;
	if (ob && ob->after_fork && ob->after_fork(ob->arg, gmm, copy))
		return -ENOMEM;
	return 0;
}

/* 0 or a negative errno. */
static int copy_task(struct task *child, struct task *parent)
{
	cpu_save_fpu(parent);
	child->st = parent->st;
	child->st.regs.rax = 0;
	child->umask = parent->umask;
	child->personality = parent->personality;
	memcpy(child->comm, parent->comm, sizeof(child->comm));
	pthread_mutex_lock(&parent->kernel->lock);
	memcpy(child->rlimits, parent->rlimits, sizeof(child->rlimits));
	pthread_mutex_unlock(&parent->kernel->lock);
	child->blocked = parent->blocked;
	memcpy(child->action, parent->action, sizeof(child->action));
	child->alt_sp = parent->alt_sp;
	child->alt_size = parent->alt_size;
	child->alt_autodisarm = parent->alt_autodisarm;
	return fds_fork(child, parent);
}

void task_discard(struct task *t)
{
	struct kernel *k = t->kernel;

	fds_close_all(t);
	if (t->gmm)
		gmm_put(t, t->gmm);
	pthread_mutex_lock(&k->lock);
	task_free(t);
	pthread_mutex_unlock(&k->lock);
}

/* Sleep until the child has called execve(2) or exited, or until a signal kills the parent. */
static void wait_vfork(struct task *parent)
{
	struct kernel *k = parent->kernel;

	cpu_release(parent);
	pthread_mutex_lock(&k->lock);
	while (!parent->vfork_done && !signal_fatal_pending(parent))
		pthread_cond_wait(&k->changed, &k->lock);
	for (struct task *t = k->tasks; t; t = t->next)
		if (t->vfork_parent == parent)
			t->vfork_parent = NULL;
	pthread_mutex_unlock(&k->lock);
}

/* A pending signal is delivered before the fork, so that only the parent gets it. Takes kernel->lock. */
static int begin_fork(struct task *parent)
{
	int err = 0;

	pthread_mutex_lock(&parent->kernel->lock);
	if (signal_pending(parent))
		err = -ERESTARTNOINTR;
	parent->forking = !err;
	parent->fork_pending = 0;
	pthread_mutex_unlock(&parent->kernel->lock);
	return err;
}

static void end_fork(struct task *parent)
{
	pthread_mutex_lock(&parent->kernel->lock);
	parent->forking = false;
	pthread_mutex_unlock(&parent->kernel->lock);
}

static int make_child(struct task *parent, uint64_t flags, uint64_t stack, uint64_t child_tid)
{
	struct task *child = task_create(parent->kernel, rlimit_nproc(parent));
	uint32_t tid;
	int err, pid;

	if (!child)
		return -errno;
	pid = child->pid;
	tid = (uint32_t)pid;
	err = copy_task(child, parent);
	if (stack)
		child->st.regs.rsp = stack;
	if (!err)
		err = copy_mm(child, parent, flags & CLONE_VM);
	if (!err) {
		if (flags & CLONE_CHILD_SETTID)
			user_write(child, child_tid, &tid, sizeof(tid));
		if (flags & CLONE_CHILD_CLEARTID)
			child->clear_child_tid = child_tid;
		if (flags & CLONE_VFORK) {
			parent->vfork_done = false;
			child->vfork_parent = parent;
		}
		err = task_start(child, parent);
	}
	if (err) {
		task_discard(child);
		return err;
	}
	return pid;
}

int task_fork(struct task *parent, uint64_t flags, uint64_t stack, uint64_t child_tid)
{
	int pid = begin_fork(parent);

	if (pid)
		return pid;
	pid = make_child(parent, flags, stack, child_tid);
	end_fork(parent);
	if (pid > 0 && (flags & CLONE_VFORK))
		wait_vfork(parent);
	return pid;
}
