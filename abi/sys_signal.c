/* SPDX-License-Identifier: MIT */
/* abi/sys_signal.c - sigaction(2), sigprocmask(2), sigsuspend(2), sigaltstack(2), kill(2). */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>

#include "abi/signals.h"

#include "syscalls.h"	/* made from syscall.tbl */

int64_t sys_rt_sigaction(struct task *t, int signo, uint64_t act, uint64_t oldact, uint64_t sigsetsize)
{
	struct sig_action new;

	if (signo < 1 || signo > NR_SIGNALS || sigsetsize != SIGSET_BYTES)
		return -EINVAL;
	if (act && (signo == SIGKILL || signo == SIGSTOP))
		return -EINVAL;
	if (act && user_read(t, &new, act, sizeof(new)))
		return -EFAULT;
	if (oldact && user_write(t, oldact, &t->action[signo], sizeof(new)))
		return -EFAULT;
	if (act) {
		pthread_mutex_lock(&t->kernel->lock);
		t->action[signo] = new;
		if (is_ignored(t, signo))
			clear_pending(t, sig_bit(signo));
		pthread_mutex_unlock(&t->kernel->lock);
	}
	return 0;
}

int64_t sys_rt_sigprocmask(struct task *t, int how, uint64_t set, uint64_t oldset, uint64_t sigsetsize)
{
	uint64_t mask, old = t->blocked;

	if (sigsetsize != SIGSET_BYTES)
		return -EINVAL;
	if (set) {
		if (user_read(t, &mask, set, SIGSET_BYTES))
			return -EFAULT;
		switch (how) {
		case SIG_BLOCK: mask |= old; break;
		case SIG_UNBLOCK: mask = old & ~mask; break;
		case SIG_SETMASK: break;
		default: return -EINVAL;
		}
	}
	if (oldset && user_write(t, oldset, &old, SIGSET_BYTES))
		return -EFAULT;
	if (set)
		signal_set_blocked(t, mask);
	return 0;
}

int64_t sys_rt_sigpending(struct task *t, uint64_t set, uint64_t sigsetsize)
{
	uint64_t pending = __atomic_load_n(&t->pending, __ATOMIC_ACQUIRE) & t->blocked;

	return sigsetsize > SIGSET_BYTES ? -EINVAL : user_write(t, set, &pending, sigsetsize);
}

/* Sleep until a signal is pending that is not blocked. */
static int64_t wait_for_signal(struct task *t)
{
	cpu_release(t);
	pthread_mutex_lock(&t->kernel->lock);
	while (!signal_pending(t))
		pthread_cond_wait(&t->kernel->changed, &t->kernel->lock);
	pthread_mutex_unlock(&t->kernel->lock);
	return -EINTR;
}

int64_t sys_rt_sigsuspend(struct task *t, uint64_t set, uint64_t sigsetsize)
{
	uint64_t mask;

	if (sigsetsize != SIGSET_BYTES)
		return -EINVAL;
	if (user_read(t, &mask, set, SIGSET_BYTES))
		return -EFAULT;
	t->saved_blocked = t->blocked;
	t->restore_blocked = true;
	signal_set_blocked(t, mask);
	return wait_for_signal(t);
}

int64_t sys_pause(struct task *t)
{
	return wait_for_signal(t);
}

int64_t sys_rt_sigreturn(struct task *t)
{
	return signal_return(t);
}

int64_t sys_sigaltstack(struct task *t, uint64_t stack, uint64_t old_stack)
{
	struct guest_stack new, old = { .sp = t->alt_sp, .size = t->alt_size };

	int err;

	old.flags = (!t->alt_size ? ALT_DISABLE : on_alt_stack(t) ? ALT_ONSTACK : 0) |
		    (t->alt_autodisarm ? ALT_AUTODISARM : 0);
	if (stack) {
		if (user_read(t, &new, stack, sizeof(new)))
			return -EFAULT;
		err = set_alt_stack(t, &new);
		if (err)
			return err;
	}
	return old_stack ? user_write(t, old_stack, &old, sizeof(old)) : 0;
}

/* --- kill(2) --- */

static int64_t kill_matching(struct task *t, int pid, int signo)
{
	struct kernel *k = t->kernel;
	struct sig_info info = { .signo = signo, .code = SI_USER, .pid = t->pid };
	bool found = false;

	if (pid == INT_MIN)	/* -INT_MIN is not a group */
		return -ESRCH;
	pthread_mutex_lock(&k->lock);
	for (struct task *other = k->tasks; other; other = other->next) {
		bool match = pid > 0 ? other->pid == pid :
			     pid == 0 ? other->pgid == t->pgid :
			     pid == -1 ? other->pid != t->pid && other->pid != 1 : other->pgid == -pid;

		if (!match)
			continue;
		found = true;
		if (signo)
			signal_send_group(k, other, &info);
	}
	pthread_mutex_unlock(&k->lock);
	return found ? 0 : -ESRCH;
}

int64_t sys_kill(struct task *t, int pid, int signo)
{
	if (signo < 0 || signo > NR_SIGNALS)
		return -EINVAL;
	return kill_matching(t, pid, signo);
}

int64_t sys_tkill(struct task *t, int tid, int signo)
{
	if (signo < 0 || signo > NR_SIGNALS || tid <= 0)
		return -EINVAL;
	return kill_matching(t, tid, signo);
}

int64_t sys_tgkill(struct task *t, int tgid, int tid, int signo)
{
	if (signo < 0 || signo > NR_SIGNALS || tgid <= 0 || tid <= 0)
		return -EINVAL;
	return tgid == tid ? kill_matching(t, tid, signo) : -ESRCH;
}
