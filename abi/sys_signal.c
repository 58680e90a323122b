/* SPDX-License-Identifier: MIT */
/* abi/sys_signal.c - sigaction(2), sigprocmask(2) and kin; kill(2). */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>

#include "abi/signals.h"

SYSCALL(rt_sigaction)
{
	int signo = (int)a[0];
	struct sig_action new;

	if (signo < 1 || signo > NR_SIGNALS || a[3] != 8)
		return -EINVAL;
	if (a[1] && (signo == SIGKILL || signo == SIGSTOP))
		return -EINVAL;
	if (a[1] && user_read(t, &new, a[1], sizeof(new)))
		return -EFAULT;
	if (a[2] && user_write(t, a[2], &t->action[signo], sizeof(new)))
		return -EFAULT;
	if (a[1]) {
		pthread_mutex_lock(&t->kernel->lock);
		t->action[signo] = new;
		if (is_ignored(t, signo))
			drop_pending(t, bit(signo));
		pthread_mutex_unlock(&t->kernel->lock);
	}
	return 0;
}

SYSCALL(rt_sigprocmask)
{
	uint64_t set, old = t->blocked;

	if (a[3] != 8)
		return -EINVAL;
	if (a[1]) {
		if (user_read(t, &set, a[1], 8))
			return -EFAULT;
		switch (a[0]) {
		case SIG_BLOCK: set = old | set; break;
		case SIG_UNBLOCK: set = old & ~set; break;
		case SIG_SETMASK: break;
		default: return -EINVAL;
		}
	}
	if (a[2] && user_write(t, a[2], &old, 8))
		return -EFAULT;
	if (a[1])
		signal_set_blocked(t, set);
	return 0;
}

SYSCALL(rt_sigpending)
{
	uint64_t set = __atomic_load_n(&t->pending, __ATOMIC_ACQUIRE) & t->blocked;

	return a[1] > 8 ? -EINVAL : user_write(t, a[0], &set, a[1]);
}

/* Sleep until a signal comes that is not blocked. */
static int64_t wait_for_signal(struct task *t)
{
	cpu_release(t);
	pthread_mutex_lock(&t->kernel->lock);
	while (!signal_pending(t))
		pthread_cond_wait(&t->kernel->changed, &t->kernel->lock);
	pthread_mutex_unlock(&t->kernel->lock);
	return -EINTR;
}

SYSCALL(rt_sigsuspend)
{
	uint64_t set;

	if (a[1] != 8)
		return -EINVAL;
	if (user_read(t, &set, a[0], 8))
		return -EFAULT;
	t->saved_blocked = t->blocked;
	t->restore_blocked = true;
	signal_set_blocked(t, set);
	return wait_for_signal(t);
}

SYSCALL(pause)
{
	(void)a;
	return wait_for_signal(t);
}

SYSCALL(rt_sigreturn)
{
	(void)a;
	return signal_return(t);
}

SYSCALL(sigaltstack)
{
	struct guest_stack new, old = { .sp = t->alt_sp, .size = t->alt_size };

	old.flags = !t->alt_size ? ALT_DISABLE : on_alt_stack(t) ? ALT_ONSTACK : 0;
	if (a[0]) {
		if (user_read(t, &new, a[0], sizeof(new)))
			return -EFAULT;
		if (on_alt_stack(t))
			return -EPERM;
		if (new.flags & ~(ALT_DISABLE | ALT_ONSTACK))
			return -EINVAL;
		if (!(new.flags & ALT_DISABLE) && new.size < 2048)
			return -ENOMEM;
	}
	if (a[1] && user_write(t, a[1], &old, sizeof(old)))
		return -EFAULT;
	if (a[0]) {
		t->alt_sp = new.flags & ALT_DISABLE ? 0 : new.sp;
		t->alt_size = new.flags & ALT_DISABLE ? 0 : new.size;
	}
	return 0;
}

/* --- kill(2) --- */

static int64_t kill_matching(struct task *t, int pid, int signo)
{
	struct kernel *k = t->kernel;
	struct sig_info info = { .signo = signo, .code = SI_USER, .pid = t->pid };
	bool found = false;

	if (pid == INT_MIN)	/* no group has that number */
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
			signal_send_many(k, other, &info);
	}
	pthread_mutex_unlock(&k->lock);
	return found ? 0 : -ESRCH;
}

SYSCALL(kill)
{
	if (a[1] > NR_SIGNALS)
		return -EINVAL;
	return kill_matching(t, (int)a[0], (int)a[1]);
}

SYSCALL(tkill)
{
	if (a[1] > NR_SIGNALS || (int)a[0] <= 0)
		return -EINVAL;
	return kill_matching(t, (int)a[0], (int)a[1]);
}

SYSCALL(tgkill)
{
	if (a[2] > NR_SIGNALS || (int)a[0] <= 0 || (int)a[1] <= 0)
		return -EINVAL;
	return a[0] == a[1] ? kill_matching(t, (int)a[1], (int)a[2]) : -ESRCH;
}
