/* SPDX-License-Identifier: MIT */
/* abi/syscall.c - dispatch of system calls, the record of unsupported calls. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "abi/strace.h"
#include "abi/strace_formats.h"
#include "abi/repeat.h"
#include "abi/task.h"

#include "syscalls.h"	/* made from syscall.tbl */
#include "syscall_table.h"

#define NR_TABLE (sizeof(table) / sizeof(table[0]))

/* The same buffer for all that have no name: the caller prints one after the other. */
static const char *unsupported_name(unsigned nr)
{
	const char *name = syscall_name(nr);
	static char other[32];

	if (name)
		return name;
	if (nr == ABI_MAX_SYSCALL)
		return "a number that no kernel has";
	snprintf(other, sizeof(other), "number %u", nr);
	return other;
}

const char *abi_unsupported(const struct abi_result *result, unsigned i)
{
	for (unsigned nr = 0; nr <= ABI_MAX_SYSCALL; nr++)
		if (result->unsupported[nr / 64] >> nr % 64 & 1 && i-- == 0)
			return unsupported_name(nr);
	return NULL;
}

const char *abi_supported(unsigned i)
{
	for (size_t nr = 0; nr < NR_TABLE; nr++)
		if (table[nr].name && i-- == 0)
			return table[nr].name;
	return NULL;
}

int abi_syscall_number(const char *name)
{
	for (size_t nr = 0; nr < NR_TABLE; nr++)
		if (table[nr].name && !strcmp(table[nr].name, name))
			return (int)nr;
	return -1;
}

static int64_t record_unsupported(struct task *t, uint64_t nr)
{
	/* glibc makes this call at every start and does not need it. */
	if (nr != SYS_rseq) {
		nr = nr < ABI_MAX_SYSCALL ? nr : ABI_MAX_SYSCALL;
		__atomic_fetch_or(&t->process->unsupported[nr / 64], 1ull << nr % 64, __ATOMIC_RELAXED);
	}
	return -ENOSYS;
}

static bool is_restart(int64_t result)
{
	return result == -ERESTARTSYS || result == -ERESTARTNOINTR || result == -ERESTARTNOHAND;
}

int64_t syscall_dispatch(struct task *t)
{
	struct vcpu_regs *r = &t->st.regs;
	const uint64_t a[6] = { r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9 };
	uint64_t nr = r->rax;
	bool strace = t->kernel->args->strace;
	struct trace trace;
	int64_t result;

	repeat_at_syscall(t);
	t->nr_syscalls++;
	t->syscall_nr = -1;
	inspect_syscall(t, nr);
	if (strace)
		strace_enter(&trace, t, nr, a, nr < NR_TABLE && table[nr].name ? &table[nr].strace : NULL);
	t->copy_error = 0;
	if (nr < NR_TABLE && table[nr].handler)
		result = table[nr].handler(t, a);
	else
		result = record_unsupported(t, nr);
	if (result == -EFAULT && t->copy_error)	/* handlers return it for every failed copy */
		result = t->copy_error;
	if (result == -EINTR && nr != SYS_rt_sigreturn && signal_only_parks(t))	/* it found nothing, and starts again */
		result = -ERESTARTNOINTR;
	fds_put_held(t);
	if (strace)
		strace_leave(&trace, result);
	if (is_restart(result) && nr != SYS_rt_sigreturn)	/* its result is rax of the program */
		t->syscall_nr = (int64_t)nr;
	return result;
}
