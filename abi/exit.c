/* SPDX-License-Identifier: MIT */
/* abi/exit.c - _exit(2): release what a thread or process has, notify the parent, give children to process 1. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi/ipc.h"
#include "abi/jobs.h"
#include "abi/repeat.h"
#include "abi/signals.h"
#include "abi/text.h"
#include "abi/tty.h"

void task_wake_vfork_parent(struct task *t)
{
	struct process *p = t->process;

	pthread_mutex_lock(&t->kernel->lock);
	if (p->vfork_parent)
		p->vfork_parent->vfork_done = true;
	p->vfork_parent = NULL;
	pthread_cond_broadcast(&t->kernel->changed);
	pthread_mutex_unlock(&t->kernel->lock);
}

static bool ignores_children(const struct process *parent)
{
	return parent->sighand->action[SIGCHLD].handler == HANDLER_IGNORE ||
	       (parent->sighand->action[SIGCHLD].flags & SA_NOCLDWAIT);
}

/* Signal the parent of the zombie @p. True: the parent does not wait, so the zombie is freed. kernel->lock held. */
static bool notify_parent(struct kernel *k, const struct process *p)
{
	struct process *parent = process_find(k, p->ppid);
	struct sig_info info = { .signo = p->exit_signal, .pid = p->pid, .uid = (int)p->credentials.user.real };
	const bool freed = !parent || parent->state == PROCESS_ZOMBIE ||
			   (p->exit_signal == SIGCHLD && ignores_children(parent));

	if (!parent || !p->exit_signal)
		return freed;
	info.code = WIFSIGNALED(p->exit_status) ? CLD_KILLED : CLD_EXITED;
	info.status = WIFSIGNALED(p->exit_status) ? WTERMSIG(p->exit_status) : WEXITSTATUS(p->exit_status);
	signal_send(parent, &info, false);
	return freed;
}

/* The new parent for children of @p: the nearest ancestor that adopts orphans, or process 1. kernel->lock held. */
static int find_adopter(struct kernel *k, const struct process *p)
{
	const struct process *above = p->pid == 1 ? NULL : process_find(k, p->ppid);

	while (above && above->pid != 1 && !(above->adopts_orphans && above->state != PROCESS_ZOMBIE))
		above = process_find(k, above->ppid);
	return above ? above->pid : p->pid == 1 ? 0 : 1;
}

/* Give the children another parent, which zombies are new to. If process 1 exits, there is none. kernel->lock held. */
static void reparent_children(struct kernel *k, const struct process *p)
{
	const int adopter = find_adopter(k, p);
	struct process *next;

	for (struct process *c = k->processes; c; c = next) {
		next = c->next;
		if (c->ppid != p->pid)
			continue;
		c->ppid = c->parent_tid = adopter;
		c->exit_signal = SIGCHLD;	/* the other one was for the parent that asked for it */
		if (c->pgid != p->pgid && c->sid == p->sid)
			jobs_left(k, c->pgid);
		if (c->state == PROCESS_ZOMBIE && notify_parent(k, c)) {
			process_unlink(k, c);
			process_free(c);
		}
	}
}

/* As in a PID namespace, all processes are killed when process 1 exits. kernel->lock held. */
static void end_run(struct kernel *k, const struct process *first)
{
	const struct sig_info info = { .signo = SIGKILL, .code = SI_KERNEL };

	k->first_exited = true;
	k->result->code = WIFEXITED(first->exit_status) ? WEXITSTATUS(first->exit_status) : -1;
	k->result->signal = WIFSIGNALED(first->exit_status) ? WTERMSIG(first->exit_status) : 0;
	if (k->ended_by) {
		k->result->code = -1;
		k->result->signal = k->ended_by;
	}
	for (struct process *p = k->processes; p; p = p->next)
		if (p != first)
			signal_send(p, &info, true);
}

/* True: the program ended in a way that a missing system call may explain. kernel->lock held. */
static bool has_failed(const struct kernel *k, int status)
{
	if (k->first_exited || k->dying)
		return false;		/* the run ends, and ends the program */
	switch (WIFSIGNALED(status) ? WTERMSIG(status) : 0) {
	case 0:	      return WEXITSTATUS(status) != 0;
	case SIGABRT: case SIGSEGV: case SIGBUS: case SIGILL: case SIGFPE: case SIGTRAP: case SIGSYS: return true;
	default:      return false;	/* another process sent it */
	}
}

/* Most programs do without a call that is not supported: it is named only if the program fails. kernel->lock held. */
static void report_unsupported(const struct process *p)
{
	struct abi_result *result = p->kernel->result;

	for (size_t i = 0; i < ABI_UNSUPPORTED_WORDS && has_failed(p->kernel, p->exit_status); i++)
		result->unsupported[i] |= p->unsupported[i];
}

/* @t ends: clear its TID in the program's memory, and wake the threads that wait there. */
static void leave_memory(struct task *t)
{
	uint32_t zero = 0;

	futex_leave(t);
	if (t->clear_child_tid && !user_write(t, t->clear_child_tid, &zero, sizeof(zero)))
		futex_wake(t, t->clear_child_tid, 1);
}

/*
 * PR_SET_PDEATHSIG of prctl(2): tell the children that @t has made. Another thread of the process takes its place. @t is
 * not in the list any more. kernel->lock held.
 */
static void signal_parent_death(const struct task *t)
{
	const struct process *p = t->process;
	struct kernel *k = t->kernel;

	for (struct process *c = k->processes; c; c = c->next) {
		if (c->ppid != p->pid || c->parent_tid != t->tid)
			continue;
		for (const struct task *thread = c->threads; thread; thread = thread->next) {
			int signo = __atomic_load_n(&thread->parent_death_signal, __ATOMIC_RELAXED);

			if (signo)
				signal_send(c, &(struct sig_info){ .signo = signo, .code = SI_USER, .pid = p->pid,
								   .uid = (int)getuid() }, false);
		}
		c->parent_tid = p->threads ? p->threads->tid : 0;
	}
}

/* kernel->lock held. */
static void unlink_thread(struct task *t)
{
	struct process *p = t->process;
	struct task **at = &p->threads;
	struct usage used;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	p->nr_leaving--;
	__atomic_store_n(&p->nr_threads, p->nr_threads - 1, __ATOMIC_RELEASE);
	signal_parent_death(t);
	usage_of_thread(t, &used);
	usage_add(&p->ended, &used);
	memcpy(p->comm, t->comm, sizeof(p->comm));
	thread_uncount(t);
	if (t->woken && p->threads)
		signal_leave(t);
	pthread_cond_broadcast(&t->kernel->changed);
}

/* The last thread has ended. Return: true if no zombie remains. kernel->lock held. */
static bool end_process(struct process *p)
{
	struct kernel *k = p->kernel;
	bool freed;

	p->state = PROCESS_ZOMBIE;
	k->result->nr_syscalls += p->nr_syscalls;
	usage_add(&k->ended, &p->ended);
	report_unsupported(p);
	if (p->pid == 1)
		end_run(k, p);
	sems_exit(p);
	pidfds_exit(p);
	tty_leave_session(p);
	reparent_children(k, p);
	jobs_left(k, p->pgid);
	freed = notify_parent(k, p);
	if (!--k->nr_live)
		pthread_cond_broadcast(&k->all_ended);
	pthread_cond_broadcast(&k->changed);
	return freed;
}

/*
 * Is @t the last thread? Then it waits until the others have left the memory and the kernel, so that the process does
 * not seem to have ended before its memory has. The status of a process that no thread ends as a whole is that of its
 * last thread.
 */
static bool begin_exit(struct task *t, int status)
{
	struct process *p = t->process;
	struct kernel *k = t->kernel;
	bool last;

	pthread_mutex_lock(&k->lock);
	if (repeat_has(p) && !p->exiting)
		p->exit_status = status;	/* of the last thread, which says it last */
	last = ++p->nr_leaving == p->nr_threads && !repeat_has(p);
	if (last && !p->exiting)
		p->exit_status = status;
	if (last)
		__atomic_store_n(&p->exiting, true, __ATOMIC_RELAXED);
	while (last && p->nr_threads > 1)
		pthread_cond_wait(&k->changed, &k->lock);
	pthread_mutex_unlock(&k->lock);
	return last;
}

/* Others take references to the memory of a thread that is in its process. */
static void drop_gmm(struct task *t)
{
	struct guest_mm *gmm = t->gmm;

	pthread_mutex_lock(&t->kernel->lock);
	t->gmm = NULL;
	pthread_mutex_unlock(&t->kernel->lock);
	gmm_put(t, gmm);
}

/* The frozen thread of a repeated program outlives its process's threads. Returns if the process is to end. */
static void end_frozen(struct task *t, int status)
{
	struct process *p = t->process;
	struct kernel *k = t->kernel;

	pthread_mutex_lock(&k->lock);
	if (!p->exiting)
		p->exit_status = status;
	p->nr_leaving++;
	unlink_thread(t);
	while (p->nr_threads) {
		if (p->exiting)		/* another process may keep a thread from ending */
			repeat_kill_others(t);
		pthread_cond_wait(&k->changed, &k->lock);
	}
	pthread_mutex_unlock(&k->lock);
	repeat_end_run(t);
}

void task_exit(struct task *t, int status)
{
	struct process *p = t->process;
	struct kernel *k = t->kernel;
	bool last;

	t->must_not_wait = true;
	cpu_release(t);
	fds_put_held(t);
	leave_memory(t);
	usage_note_memory(t);
	if (repeat_is_frozen(t))
		end_frozen(t, status);
	last = begin_exit(t, status);
	sharing_leave(t);
	if (last) {
		hostfd_release_process();
		inspect_exit(t);
	}
	task_end_in_memory(t);
	drop_gmm(t);
	if (last)
		task_wake_vfork_parent(t);
	pool_drop_task(k->pool, t);
	/* When the lock is released, the process may be gone, and with the last one the kernel. */
	pthread_mutex_lock(&k->lock);
	unlink_thread(t);
	task_free(t);
	if (last && end_process(p)) {
		process_unlink(k, p);
		process_free(p);
	}
	pthread_mutex_unlock(&k->lock);
	task_exit_thread();
}

void process_exit(struct task *t, int status)
{
	struct process *p = t->process;

	pthread_mutex_lock(&t->kernel->lock);
	if (!p->exiting) {
		p->exit_status = status;
		__atomic_store_n(&p->exiting, true, __ATOMIC_RELAXED);
		signal_wake_all(p);
	}
	pthread_mutex_unlock(&t->kernel->lock);
	task_exit(t, status);
}

/* @t becomes the first thread. kernel->lock held. */
static void take_first_place(struct task *t)
{
	const int old = t->tid;

	if (old != t->process->pid)
		t->kernel->nr_tasks--;		/* it is counted with the process now */
	t->tid = t->process->pid;
	t->process->credentials = t->credentials;
	for (struct process *c = t->kernel->processes; c; c = c->next)
		if (c->ppid == t->process->pid && c->parent_tid == old)
			c->parent_tid = t->tid;
}

bool process_become_single(struct task *t)
{
	struct process *p = t->process;
	struct kernel *k = t->kernel;
	bool ok;

	if (is_single(p) && t->tid == p->pid)
		return true;
	cpu_release(t);
	pthread_mutex_lock(&k->lock);
	ok = !p->exiting && !p->survivor;
	if (ok) {
		__atomic_store_n(&p->survivor, t, __ATOMIC_RELAXED);
		signal_wake_all(p);
		while (p->nr_threads > 1 && !p->exiting && !k->dying)
			pthread_cond_wait(&k->changed, &k->lock);
		ok = p->nr_threads == 1;
		__atomic_store_n(&p->survivor, NULL, __ATOMIC_RELAXED);
		if (ok)
			take_first_place(t);
	}
	pthread_mutex_unlock(&k->lock);
	return ok;
}

void task_out_of_memory(struct task *t)
{
	char name[PRINTABLE_BYTES(sizeof(t->comm))];

	fprintf(stderr, "vellum: out of memory: process %d (%s) killed; run with more --ram or --swap\n",
		t->process->pid, printable(t->comm, name, sizeof(name)));
	inspect_signal(t, SIGKILL);
	process_exit(t, SIGKILL);
}
