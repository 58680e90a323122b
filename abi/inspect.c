/* SPDX-License-Identifier: MIT */
/* abi/inspect.c - a process gets somewhere: the inspector, if there is one, looks at its address space. */
#include "abi/task.h"

/* It may write to a pipe that nobody empties for a while: others need the CPU. */
void inspect_syscall(struct task *t, uint64_t nr)
{
	const struct abi_inspector *in = t->kernel->args->inspector;

	if (!in || !in->at_syscall)
		return;
	cpu_release(t);
	in->at_syscall(in->arg, t->gmm, t->pid, nr);
}

void inspect_signal(struct task *t, int signo)
{
	const struct abi_inspector *in = t->kernel->args->inspector;

	if (!in || !in->at_signal)
		return;
	cpu_release(t);
	in->at_signal(in->arg, t->gmm, t->pid, signo);
}

void inspect_exit(struct task *t)
{
	const struct abi_inspector *in = t->kernel->args->inspector;

	if (in && in->at_exit)
		in->at_exit(in->arg, t->gmm, t->pid);
}
