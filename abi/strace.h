/* SPDX-License-Identifier: MIT */
/*
 * abi/strace.h - print system calls as strace(1) does, for --strace. syscall.tbl names the format of each argument.
 *
 * The line of a call is made in two steps. What the kernel reads is printed when the call is entered: after execve(2),
 * the old memory does not exist. What the kernel stores is printed when the call is left.
 */
#ifndef ABI_STRACE_H
#define ABI_STRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STRACE_LINE 4096	/* PIPE_BUF: a write of one line to a pipe is atomic */

struct task;

struct strace_call {		/* as syscall.tbl describes it */
	const char *name;
	uint8_t args[6], result;	/* enum strace_format; FORMAT_END follows the last argument */
};

struct trace {			/* a call that is being printed */
	struct task *task;
	const struct strace_call *call;
	const uint64_t *arg;
	uint64_t nr;
	int64_t result;		/* valid if @leaving */
	bool leaving;
	bool partly;		/* argument @next was printed as far as possible before the call */
	bool cut;		/* the line was full */
	unsigned next;		/* argument to print next */
	size_t used, limit;	/* bytes of @line */
	char line[STRACE_LINE];
};

/* @call: NULL if the call is not supported. @arg must stay until strace_leave(). exit(2) is written at once. */
void strace_enter(struct trace *tr, struct task *t, uint64_t nr, const uint64_t arg[6], const struct strace_call *call);
/* Write the line to stderr. */
void strace_leave(struct trace *tr, int64_t result);

/* The name of any system call of x86-64; NULL: no call has this number. */
const char *syscall_name(uint64_t nr);

#endif
