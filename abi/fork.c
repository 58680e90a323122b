/* SPDX-License-Identifier: MIT */
/* abi/fork.c - processes are born: fork(2) and its kin, and the thread of the host that each one is. */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "abi/task.h"

/* The task is complete: from here on others see it, and it runs. */
int task_start(struct task *t)
{
	struct kernel *k = t->kernel;
	pthread_attr_t attr;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 256 << 10);
	pthread_mutex_lock(&k->lock);	/* it waits for this before its first step: thread is set by then */
	err = pthread_create(&t->thread, &attr, task_main, t);
	if (!err) {
		t->next = k->tasks;
		k->tasks = t;
		k->nr_live++;
	}
	pthread_mutex_unlock(&k->lock);
	pthread_attr_destroy(&attr);
	return err ? -EAGAIN : 0;
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

/* 0 or negative errno. */
static int copy_task(struct task *child, struct task *parent)
{
	cpu_save_fpu(parent);
	child->st = parent->st;
	child->st.regs.rax = 0;
	child->ppid = parent->pid;
	child->pgid = parent->pgid;
	child->sid = parent->sid;
	child->umask = parent->umask;
	memcpy(child->comm, parent->comm, sizeof(child->comm));
	child->blocked = parent->blocked;
	memcpy(child->action, parent->action, sizeof(child->action));
	child->alt_sp = parent->alt_sp;
	child->alt_size = parent->alt_size;
	return fds_fork(child, parent);
}

/* It never ran and nobody has seen it. */
void task_abandon(struct task *t)
{
	fds_close_all(t);
	if (t->gmm)
		gmm_put(t, t->gmm);
	free(t);
}

static void wait_vfork(struct task *parent)
{
	struct kernel *k = parent->kernel;

	cpu_release(parent);
	pthread_mutex_lock(&k->lock);
	while (!parent->vfork_done)
		pthread_cond_wait(&k->changed, &k->lock);
	pthread_mutex_unlock(&k->lock);
}

int task_fork(struct task *parent, uint64_t flags, uint64_t stack, uint64_t child_tid)
{
	struct task *child = task_create(parent->kernel);
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
		err = task_start(child);
	}
	if (err) {
		task_abandon(child);
		return err;
	}
	if (flags & CLONE_VFORK)
		wait_vfork(parent);
	return pid;
}
