/* SPDX-License-Identifier: MIT */
/* abi/fork.c - fork(2), vfork(2), clone(2), clone3(2), and the host thread of each thread. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "abi/ipc.h"
#include "abi/mempolicy.h"
#include "abi/repeat.h"
#include "abi/pidfd.h"
#include "abi/signals.h"

#define THREAD_STACK (256 << 10)	/* bytes */

/* --- starting --- */

/*
 * Copy the IDs of @parent, and the group signals since begin_fork(), when @p is put into the process table. So no
 * signal to a group misses @p. kernel->lock held.
 */
static int inherit_ids(struct process *p, struct task *creator, uint64_t flags)
{
	struct process *parent = creator->process;

	if (signal_fatal_pending(creator))
		return -ERESTARTNOINTR;		/* @creator dies and never restarts it */
	parent->forking = NULL;
	p->ppid = flags & CLONE_PARENT ? parent->ppid : parent->pid;
	p->parent_tid = flags & CLONE_PARENT ? parent->parent_tid : creator->tid;
	if (flags & CLONE_PARENT)
		p->exit_signal = parent->exit_signal;
	p->pgid = parent->pgid;
	p->sid = parent->sid;
	p->tty = parent->tty;
	signal_send_pending(p, &parent->fork_pending);
	return 0;
}

/* Start the host thread of @t. kernel->lock held: task_main() takes it first, so t->thread is set before the task runs. */
static int start_thread(struct task *t)
{
	pthread_attr_t attr;
	int err;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, THREAD_STACK);
	pthread_attr_setaffinity_np(&attr, sizeof(t->kernel->host_cpus), &t->kernel->host_cpus);
	err = pthread_create(&t->thread, &attr, task_main, t) ? -EAGAIN : 0;
	pthread_attr_destroy(&attr);
	return err;
}

int process_start(struct task *t, struct task *creator, uint64_t flags)
{
	struct process *p = t->process;
	struct kernel *k = t->kernel;
	int err;

	pthread_mutex_lock(&k->lock);
	err = creator ? inherit_ids(p, creator, flags) : 0;
	if (!err)
		err = start_thread(t);
	if (!err) {
		p->next = k->processes;
		k->processes = p;
		k->nr_live++;
	}
	pthread_mutex_unlock(&k->lock);
	return err;
}

void process_discard(struct task *t)
{
	struct process *p = t->process;
	struct kernel *k = t->kernel;

	sharing_leave(t);
	hostfd_release_process();
	if (t->gmm)
		gmm_put(t, t->gmm);
	pthread_mutex_lock(&k->lock);
	task_free(t);
	process_free(p);
	pthread_mutex_unlock(&k->lock);
}

/* --- copying --- */

static void share_mm(struct task *child, const struct task *parent)
{
	__atomic_fetch_add(&parent->gmm->refs, 1, __ATOMIC_RELAXED);
	child->gmm = parent->gmm;
}

static int copy_mm(struct task *child, struct task *parent)
{
	const struct abi_observer *ob = parent->kernel->args->observer;
	struct guest_mm *gmm = parent->gmm, *copy;
	int err;

	copy = gmm_copy(gmm, child->process->pid);
	if (!copy)
		return -ENOMEM;
	mm_gate_close(parent);
	if (ob && ob->before_fork)
		ob->before_fork(ob->arg, gmm);
	err = vellum_fork(gmm->mm, &copy->mm);
	if (err) {
		placements_free(copy->placements);
		free(copy);
		err = -ENOMEM;
	} else {
		child->gmm = copy;
		if (ob && ob->after_fork && ob->after_fork(ob->arg, gmm, copy))
			err = -ENOMEM;
	}
	mm_gate_open(parent);
	shm_vmas_changed(parent->kernel, parent->process->pid);
	return err;
}

/* What every new thread has from the one that made it. */
static void copy_task(struct task *child, struct task *parent, const struct clone_request *rq)
{
	cpu_save_fpu(parent);
	child->st = parent->st;
	child->st.regs.rax = 0;
	if (rq->stack)
		child->st.regs.rsp = rq->stack;
	if (rq->flags & CLONE_SETTLS)
		child->st.fs_base = rq->tls;
	child->personality = parent->personality;
	child->cpus = parent->cpus;
	policy_fork(child, parent);
	child->mempolicy = parent->mempolicy;
	task_get_comm(parent, child->comm);
	child->blocked = parent->blocked;
	if (!(rq->flags & CLONE_VM) || (rq->flags & CLONE_VFORK)) {
		child->alt_sp = parent->alt_sp;
		child->alt_size = parent->alt_size;
		child->alt_autodisarm = parent->alt_autodisarm;
	}
}

static void copy_process(struct process *child, struct process *parent, const struct clone_request *rq)
{
	child->exit_signal = rq->exit_signal;
	pthread_mutex_lock(&parent->kernel->lock);
	memcpy(child->rlimits, parent->rlimits, sizeof(child->rlimits));
	child->oom_score_adj = parent->oom_score_adj;
	child->oom_score_adj_min = parent->oom_score_adj_min;
	pthread_mutex_unlock(&parent->kernel->lock);
}

/* The child's own memory is written to; an error is ignored, as in Linux. */
static void store_tids(struct task *child, struct task *parent, const struct clone_request *rq)
{
	const uint32_t tid = (uint32_t)child->tid;

	if (rq->flags & CLONE_PARENT_SETTID)
		user_write(parent, rq->parent_tid, &tid, sizeof(tid));
	if (rq->flags & CLONE_CHILD_SETTID)
		user_write(child, rq->child_tid, &tid, sizeof(tid));
	if (rq->flags & CLONE_CHILD_CLEARTID)
		child->clear_child_tid = rq->child_tid;
}

/* --- vfork --- */

/* Sleep until the child has called execve(2) or exited, or until a signal kills the parent. */
static void wait_vfork(struct task *parent)
{
	struct kernel *k = parent->kernel;

	cpu_release(parent);
	pthread_mutex_lock(&k->lock);
	while (!parent->vfork_done && !signal_fatal_pending(parent))
		pthread_cond_wait(&k->changed, &k->lock);
	for (struct process *p = k->processes; p; p = p->next)
		if (p->vfork_parent == parent)
			p->vfork_parent = NULL;
	pthread_mutex_unlock(&k->lock);
}

/* --- processes --- */

#define NO_PIDFD INT_MAX

/* A pending signal is delivered before the fork, so that only the parent gets it. Takes kernel->lock. */
static int begin_fork(struct task *parent)
{
	int err = 0;

	pthread_mutex_lock(&parent->kernel->lock);
	if (signal_pending(parent) || parent->process->forking)
		err = -ERESTARTNOINTR;
	if (!err)
		parent->process->forking = parent;
	pthread_mutex_unlock(&parent->kernel->lock);
	return err;
}

/* If no child was started. Takes kernel->lock. Afterwards, another thread may be forking. */
static void end_fork(struct task *parent)
{
	struct process *p = parent->process;

	pthread_mutex_lock(&parent->kernel->lock);
	if (p->forking == parent) {
		p->forking = NULL;
		signal_drop_pending(&p->fork_pending);
	}
	pthread_mutex_unlock(&parent->kernel->lock);
}

/* For CLONE_PIDFD: open a descriptor of the child, which does not inherit it. NO_PIDFD: not asked for. */
static int open_child_pidfd(struct task *child, struct task *parent, const struct clone_request *rq)
{
	int fd;

	if (!(rq->flags & CLONE_PIDFD))
		return NO_PIDFD;
	fd = pidfd_open_child(parent, child->process);
	if (fd >= 0 && user_write(parent, rq->pidfd, &fd, sizeof(fd))) {
		fd_close(parent, fd);
		return -EFAULT;
	}
	return fd;
}

static int make_process(struct task *parent, const struct clone_request *rq)
{
	struct task *child = process_create(parent->kernel, rlimit_nproc(parent));
	int err, pid, pidfd = NO_PIDFD;

	if (!child)
		return -errno;
	pid = child->tid;
	copy_task(child, parent, rq);
	copy_process(child->process, parent->process, rq);
	err = sharing_clone(child, parent, rq->flags);
	if (!err) {
		pidfd = open_child_pidfd(child, parent, rq);
		err = pidfd < 0 ? pidfd : 0;
	}
	if (!err && (rq->flags & CLONE_VM))
		share_mm(child, parent);
	else if (!err)
		err = copy_mm(child, parent);
	if (!err) {
		store_tids(child, parent, rq);
		if (rq->flags & CLONE_VFORK) {
			parent->vfork_done = false;
			child->process->vfork_parent = parent;
		}
		err = process_start(child, parent, rq->flags);
	}
	if (err) {
		if (pidfd >= 0 && pidfd != NO_PIDFD)
			fd_close(parent, pidfd);
		process_discard(child);
		return err;
	}
	return pid;
}

static int64_t clone_process(struct task *parent, const struct clone_request *rq)
{
	int pid = begin_fork(parent);

	if (pid)
		return pid;
	pid = make_process(parent, rq);
	end_fork(parent);
	if (pid > 0 && (rq->flags & CLONE_VFORK))
		wait_vfork(parent);
	return pid;
}

/* --- threads --- */

int thread_start(struct task *t)
{
	struct process *p = t->process;

	if (start_thread(t))
		return -EAGAIN;
	t->next = p->threads;
	p->threads = t;
	__atomic_store_n(&p->nr_threads, p->nr_threads + 1, __ATOMIC_RELEASE);
	return 0;
}

void thread_discard(struct task *t)
{
	pthread_mutex_lock(&t->kernel->lock);
	thread_uncount(t);
	pthread_mutex_unlock(&t->kernel->lock);
	sharing_leave(t);
	if (t->gmm)
		gmm_put(t, t->gmm);
	task_free(t);
}

static int64_t clone_thread(struct task *parent, const struct clone_request *rq)
{
	struct task *t = thread_create(parent->process, rlimit_nproc(parent));
	struct kernel *k = parent->kernel;
	int64_t result;

	if (!t)
		return -errno;
	copy_task(t, parent, rq);
	share_mm(t, parent);
	result = sharing_clone(t, parent, rq->flags);
	if (!result) {
		store_tids(t, parent, rq);
		result = t->tid;
	}
	pthread_mutex_lock(&k->lock);
	if (result > 0 && signal_fatal_pending(parent))
		result = -ERESTARTNOINTR;	/* @parent dies and never restarts it */
	else if (result > 0 && thread_start(t))
		result = -EAGAIN;
	pthread_mutex_unlock(&k->lock);
	if (result < 0)
		thread_discard(t);
	return result;
}

int64_t task_clone(struct task *parent, const struct clone_request *rq)
{
	/* Without effect: CLONE_IO, as there is no I/O scheduler; CLONE_PTRACE, as no thread is traced. */
	const uint64_t known = CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_VM | CLONE_THREAD | CLONE_VFORK | CLONE_SETTLS |
			       CLONE_PARENT | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | CLONE_SYSVSEM |
			       CLONE_DETACHED | CLONE_CLEAR_SIGHAND | CLONE_PIDFD | CLONE_IO | CLONE_PTRACE | CLONE_UNTRACED;
	const uint64_t flags = rq->flags;

	if (((flags & CLONE_THREAD) && !(flags & CLONE_SIGHAND)) || ((flags & CLONE_SIGHAND) && !(flags & CLONE_VM)) ||
	    ((flags & CLONE_SIGHAND) && (flags & CLONE_CLEAR_SIGHAND)))
		return -EINVAL;
	if ((flags & CLONE_SETTLS) && rq->tls >= VELLUM_TASK_SIZE)
		return -EPERM;
	if (flags & ~known)
		return -ENOSYS;
	if (flags & CLONE_THREAD)
		return flags & (CLONE_PIDFD | CLONE_VFORK) ? -ENOSYS : clone_thread(parent, rq);
	if ((flags & CLONE_PARENT) && parent->process->pid == 1)
		return -EINVAL;
	if (!(flags & CLONE_VM) && repeat_takes_fork(parent)) {
		if (flags & CLONE_CHILD_CLEARTID)
			parent->clear_child_tid = rq->child_tid;
		return 0;
	}
	return clone_process(parent, rq);
}
