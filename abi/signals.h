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

static inline void clear_pending(struct task *t, uint64_t set)
{
	__atomic_fetch_and(&t->pending, ~set, __ATOMIC_RELEASE);
}

static inline bool default_ignores(int signo)
{
	return signo == SIGCHLD || signo == SIGURG || signo == SIGWINCH || signo == SIGCONT;
}

static inline bool is_ignored(const struct task *t, int signo)
{
	uint64_t handler = t->action[signo].handler;

	return handler == HANDLER_IGNORE || (handler == HANDLER_DEFAULT && default_ignores(signo));
}

static inline bool on_alt_stack(const struct task *t)
{
	return t->alt_size && !t->alt_autodisarm && t->st.regs.rsp > t->alt_sp &&
	       t->st.regs.rsp - t->alt_sp <= t->alt_size;
}

/* As sigaltstack(2) with a new stack: 0 or a negative errno. */
int set_alt_stack(struct task *t, const struct guest_stack *stack);

#endif
