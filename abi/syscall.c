/* SPDX-License-Identifier: MIT */
/* abi/syscall.c - dispatch of system calls, --strace, the record of unsupported calls. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>

#include "abi/task.h"
#include "abi/text.h"

#include "syscalls.h"	/* made from syscall.tbl */
#include "syscall_table.h"

#define NR_TABLE   (sizeof(table) / sizeof(table[0]))
#define TRACE_LINE 512	/* bytes of a line of --strace */
#define MAX_ERRNO  4095	/* a result from -MAX_ERRNO to -1 is an error */

/* The commonest system calls that are not supported have a name here; a message gives the number of the others. */
static const char *unsupported_name(unsigned nr)
{
	static const struct {
		unsigned nr;
		const char *name;
	} known[] = {
#define CALL(name) { SYS_##name, #name }
		CALL(shmget), CALL(ptrace), CALL(chroot), CALL(mount), CALL(signalfd4), CALL(userfaultfd),
		CALL(pidfd_send_signal), CALL(clone3), CALL(io_uring_setup),
#undef CALL
	};
	static char other[32];

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].nr == nr)
			return known[i].name;
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
		t->unsupported[nr / 64] |= 1ull << nr % 64;
	}
	return -ENOSYS;
}

static int print_arg(struct task *t, char kind, uint64_t value, char *out, size_t size)
{
	char text[64], quoted[PRINTABLE_BYTES(sizeof(text))];
	int err;

	switch (kind) {
	case 'd': return snprintf(out, size, "%d", (int)value);
	case 'u': return snprintf(out, size, "%u", (uint32_t)value);
	case 'l':
	case 'z': return snprintf(out, size, "%lld", (long long)value);
	case 'o': return snprintf(out, size, "0%o", (uint32_t)value);
	case 'X': return snprintf(out, size, "0x%x", (uint32_t)value);
	case 's':
		err = user_string(t, text, sizeof(text), value);
		text[sizeof(text) - 1] = 0;
		if (!err || err == -ENAMETOOLONG)
			return snprintf(out, size, "\"%s\"%s", printable_quoted(text, quoted, sizeof(quoted)),
					err ? "..." : "");
		/* fall through */
	default: return snprintf(out, size, "0x%llx", (unsigned long long)value);
	}
}

static void trace_enter(struct task *t, uint64_t nr, const uint64_t a[6], char line[TRACE_LINE])
{
	const char *args = nr < NR_TABLE && table[nr].name ? table[nr].args : "xxxxxx";
	size_t used;

	if (nr < NR_TABLE && table[nr].name)
		used = (size_t)snprintf(line, TRACE_LINE, "%s(", table[nr].name);
	else
		used = (size_t)snprintf(line, TRACE_LINE, "syscall_%llu(", (unsigned long long)nr);
	for (size_t i = 0; args[i] && used < TRACE_LINE - 12; i++) {
		if (i)
			used += (size_t)snprintf(line + used, TRACE_LINE - used, ", ");
		used += (size_t)print_arg(t, args[i], a[i], line + used, TRACE_LINE - used);
	}
}

static bool is_restart(int64_t result)
{
	return result == -ERESTARTSYS || result == -ERESTARTNOINTR;
}

static void trace_leave(int pid, const char *line, int64_t result)
{
	if (result < 0 && result >= -MAX_ERRNO)
		fprintf(stderr, "vellum: [%d] %s) = -1 (%s)\n", pid, line,
			is_restart(result) ? "restart" : strerror((int)-result));
	else
		fprintf(stderr, "vellum: [%d] %s) = 0x%llx\n", pid, line, (unsigned long long)result);
}

int64_t syscall_dispatch(struct task *t)
{
	struct vcpu_regs *r = &t->st.regs;
	const uint64_t a[6] = { r->rdi, r->rsi, r->rdx, r->r10, r->r8, r->r9 };
	uint64_t nr = r->rax;
	bool strace = t->kernel->args->strace;
	char line[TRACE_LINE];
	int pid = t->pid;
	int64_t result;

	t->nr_syscalls++;
	t->syscall_nr = -1;
	inspect_syscall(t, nr);
	if (strace)
		trace_enter(t, nr, a, line);
	t->copy_error = 0;
	if (nr < NR_TABLE && table[nr].handler)
		result = table[nr].handler(t, a);
	else
		result = record_unsupported(t, nr);
	if (result == -EFAULT && t->copy_error)	/* handlers return it for every failed copy */
		result = t->copy_error;
	if (strace)
		trace_leave(pid, line, result);
	if (is_restart(result) && nr != SYS_rt_sigreturn)	/* its result is rax of the program */
		t->syscall_nr = (int64_t)nr;
	return result;
}
