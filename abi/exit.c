/* SPDX-License-Identifier: MIT */
/* abi/exit.c - _exit(2): release the resources of a process, notify its parent, give its children to process 1. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "abi/signals.h"
#include "abi/text.h"

void task_wake_vfork_parent(struct task *t)
{
	pthread_mutex_lock(&t->kernel->lock);
	if (t->vfork_parent)
		t->vfork_parent->vfork_done = true;
	t->vfork_parent = NULL;
	pthread_cond_broadcast(&t->kernel->changed);
	pthread_mutex_unlock(&t->kernel->lock);
}

/* Make process 1 the parent of the children. If process 1 exits, free zombies. kernel->lock held. */
static void reparent_children(struct kernel *k, const struct task *t)
{
	struct task *next;

	for (struct task *c = k->tasks; c; c = next) {
		next = c->next;
		if (c->ppid != t->pid)
			continue;
		c->ppid = t->pid == 1 ? 0 : 1;
		if (c->state == TASK_ZOMBIE && c->ppid == 0) {
			task_unlink(k, c);
			task_free(c);
		}
	}
}

static bool parent_ignores_children(const struct task *parent)
{
	return parent->action[SIGCHLD].handler == HANDLER_IGNORE ||
	       (parent->action[SIGCHLD].flags & SA_NOCLDWAIT);
}

static void notify_parent(struct kernel *k, struct task *t, bool *reaped)
{
	struct task *parent = task_find(k, t->ppid);
	struct sig_info info = { .signo = SIGCHLD, .pid = t->pid };

	*reaped = !parent || parent->state == TASK_ZOMBIE || parent_ignores_children(parent);
	if (!parent)
		return;
	info.code = WIFSIGNALED(t->exit_status) ? CLD_KILLED : CLD_EXITED;
	info.status = WIFSIGNALED(t->exit_status) ? WTERMSIG(t->exit_status) : WEXITSTATUS(t->exit_status);
	signal_send(k, parent, &info);
}

/* As in a PID namespace, all processes are killed when process 1 exits. kernel->lock held. */
static void end_run(struct kernel *k, const struct task *first)
{
	const struct sig_info info = { .signo = SIGKILL, .code = SI_KERNEL };

	k->first_exited = true;
	k->result->code = WIFEXITED(first->exit_status) ? WEXITSTATUS(first->exit_status) : -1;
	k->result->signal = WIFSIGNALED(first->exit_status) ? WTERMSIG(first->exit_status) : 0;
	if (k->ended_by) {
		k->result->code = -1;
		k->result->signal = k->ended_by;
	}
	for (struct task *t = k->tasks; t; t = t->next)
		if (t != first)
			signal_send_group(k, t, &info);
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
static void report_unsupported(const struct task *t, int status)
{
	struct abi_result *result = t->kernel->result;

	for (size_t i = 0; i < ABI_UNSUPPORTED_WORDS && has_failed(t->kernel, status); i++)
		result->unsupported[i] |= t->unsupported[i];
}

void task_exit(struct task *t, int status)
{
	struct kernel *k = t->kernel;
	uint32_t zero = 0;
	bool reaped;

	cpu_release(t);
	if (t->clear_child_tid)
		user_write(t, t->clear_child_tid, &zero, sizeof(zero));
	fds_close_all(t);
	inspect_exit(t);
	gmm_put(t, t->gmm);
	task_wake_vfork_parent(t);
	pool_drop_task(k->pool, t);
	pthread_mutex_lock(&k->lock);
	t->exit_status = status;
	t->state = TASK_ZOMBIE;
	k->result->nr_syscalls += t->nr_syscalls;
	report_unsupported(t, status);
	if (t->pid == 1)
		end_run(k, t);
	reparent_children(k, t);
	notify_parent(k, t, &reaped);
	if (reaped) {
		task_unlink(k, t);
		task_free(t);
	}
	k->nr_live--;
	pthread_cond_broadcast(&k->changed);
	pthread_mutex_unlock(&k->lock);
	task_exit_thread();
}

void task_out_of_memory(struct task *t)
{
	char name[PRINTABLE_BYTES(sizeof(t->comm))];

	fprintf(stderr, "vellum: out of memory: process %d (%s) killed; run with more --ram or --swap\n",
		t->pid, printable(t->comm, name, sizeof(name)));
	inspect_signal(t, SIGKILL);
	task_exit(t, SIGKILL);
}
