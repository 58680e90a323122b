/* SPDX-License-Identifier: MIT */
/* abi/inspect.c - inspection points: system call, signal, exit. */
#define _GNU_SOURCE
#include "abi/task.h"

/* The inspector may block on a full pipe. Other tasks need the CPU meanwhile. */
void inspect_syscall(struct task *t, uint64_t nr)
{
	const struct abi_inspector *in = t->kernel->args->inspector;

	if (!in || !in->at_syscall)
		return;
	cpu_release(t);
	in->at_syscall(in->arg, t->gmm, t->process->pid, nr);
}

void inspect_signal(struct task *t, int signo)
{
	const struct abi_inspector *in = t->kernel->args->inspector;

	if (!in || !in->at_signal)
		return;
	cpu_release(t);
	in->at_signal(in->arg, t->gmm, t->process->pid, signo);
}

void inspect_exit(struct task *t)
{
	const struct abi_inspector *in = t->kernel->args->inspector;

	if (in && in->at_exit)
		in->at_exit(in->arg, t->gmm, t->process->pid);
}
