/* SPDX-License-Identifier: MIT */
/* abi/signals.h - signal sets, handlers and the alternate stack, for signal.c, sys_signal.c and exit.c. */
#ifndef ABI_SIGNALS_H
#define ABI_SIGNALS_H

#include "abi/task.h"

#define HANDLER_DEFAULT 0
#define HANDLER_IGNORE	1

/* Flags of sigaltstack(2), without the signs of <signal.h>. */
#define ALT_ONSTACK	((uint32_t)SS_ONSTACK)
#define ALT_DISABLE	((uint32_t)SS_DISABLE)
#define ALT_AUTODISARM	(1u << 31)	/* SS_AUTODISARM of <linux/signal.h> */
#define MIN_ALT_STACK	2048u		/* bytes: MINSIGSTKSZ of <asm/signal.h> */

struct guest_stack {
	uint64_t sp;
	uint32_t flags, pad;
	uint64_t size;
};

static inline uint64_t sig_bit(int signo)
{
	return 1ull << (signo - 1);
}

static inline bool default_ignores(int signo)
{
	return signo == SIGCHLD || signo == SIGURG || signo == SIGWINCH || signo == SIGCONT;
}

static inline uint64_t handler_of(const struct process *p, int signo)
{
	return __atomic_load_n(&p->sighand->action[signo].handler, __ATOMIC_RELAXED);
}

static inline bool is_ignored(const struct process *p, int signo)
{
	uint64_t handler = handler_of(p, signo);

	return handler == HANDLER_IGNORE || (handler == HANDLER_DEFAULT && default_ignores(signo));
}

static inline bool on_alt_stack(const struct task *t)
{
	return t->alt_size && !t->alt_autodisarm && t->st.regs.rsp > t->alt_sp &&
	       t->st.regs.rsp - t->alt_sp <= t->alt_size;
}

/* Remove signals of @set that are pending for the process or one of its threads. kernel->lock held. */
void discard_signals(struct process *p, uint64_t set);
/* Remove a pending signal of @set of the thread or its process, the most urgent one. kernel->lock held. 0: none. */
int take_signal(struct task *t, uint64_t set, struct sig_info *info);
/* Write siginfo_t of a signal. 0 or -EFAULT. */
int write_siginfo(struct task *t, uint64_t addr, const struct sig_info *info);

/* The signals of @set that are pending for the thread or its process. */
static inline uint64_t pending_in_set(const struct task *t, uint64_t set)
{
	return (__atomic_load_n(&t->pending.set, __ATOMIC_ACQUIRE) |
		__atomic_load_n(&t->process->pending.set, __ATOMIC_ACQUIRE)) & set;
}

/* An instruction of the program caused the signal. */
static inline bool is_fault(const struct sig_info *info)
{
	return info->code > 0 && (info->signo == SIGSEGV || info->signo == SIGBUS || info->signo == SIGFPE ||
				  info->signo == SIGILL || info->signo == SIGTRAP);
}

/* Has the signal codes of its own, from 1 on? */
static inline bool has_own_codes(int signo)
{
	return signo == SIGCHLD || signo == SIGSYS || is_fault(&(struct sig_info){ .signo = signo, .code = 1 });
}

/* It tells that a file is ready (async.c): addr is the band, status the descriptor. */
static inline bool is_of_file(const struct sig_info *info)
{
	return info->code == SI_SIGIO || (!has_own_codes(info->signo) && info->code >= POLL_IN && info->code <= POLL_HUP);
}

/* signal_frame.c: enter a handler, with its frame on the stack. 0 or -EFAULT. */
int signal_push_frame(struct task *t, const struct sig_action *act, const struct sig_info *info);
void disable_alt_stack(struct task *t);
/* As sigaltstack(2) with a new stack: 0 or a negative errno. */
int set_alt_stack(struct task *t, const struct guest_stack *stack);

#endif
