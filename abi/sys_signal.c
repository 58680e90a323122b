/* SPDX-License-Identifier: MIT */
/* abi/sys_signal.c - sigaction(2), sigprocmask(2), sigsuspend(2), sigaltstack(2), kill(2), sigtimedwait(2). */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <time.h>
#include <unistd.h>

#include "abi/access.h"
#include "abi/pidfd.h"
#include "abi/proc.h"
#include "abi/signals.h"

#include "syscalls.h"	/* made from syscall.tbl */

int64_t sys_rt_sigaction(struct task *t, int signo, uint64_t act, uint64_t oldact, uint64_t sigsetsize)
{
	struct process *p = t->process;
	struct sig_action new, old;

	if (signo < 1 || signo > NR_SIGNALS || sigsetsize != SIGSET_BYTES)
		return -EINVAL;
	if (act && (signo == SIGKILL || signo == SIGSTOP))
		return -EINVAL;
	if (act && user_read(t, &new, act, sizeof(new)))
		return -EFAULT;
	pthread_mutex_lock(&t->kernel->lock);
	old = p->sighand->action[signo];
	if (act) {
		p->sighand->action[signo] = new;
		if (is_ignored(p, signo))
			discard_signals(p, sig_bit(signo));
	}
	pthread_mutex_unlock(&t->kernel->lock);
	return oldact ? user_write(t, oldact, &old, sizeof(old)) : 0;
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
	uint64_t pending = (__atomic_load_n(&t->pending.set, __ATOMIC_ACQUIRE) |
			    __atomic_load_n(&t->process->pending.set, __ATOMIC_ACQUIRE)) & t->blocked;

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
	return -ERESTARTNOHAND;
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

/* --- kill(2) and its kin --- */

/* Check the right, and send. Signal 0: only check. kernel->lock held. */
static int send_to_process(struct task *t, struct process *p, const struct sig_info *info, bool group)
{
	int err = access_check_signal(t, p, &p->credentials, info->signo);

	return err || !info->signo ? err : signal_send(p, info, group);
}

/* The result is that of the last process, unless one gets the signal. kernel->lock held. */
static int send_to_group(struct task *t, int pgid, const struct sig_info *info)
{
	bool sent = false;
	int err = -ESRCH;

	for (struct process *p = t->kernel->processes; p; p = p->next) {
		if (p->pgid != pgid)
			continue;
		err = send_to_process(t, p, info, true);
		sent |= !err;
	}
	return sent ? 0 : err;
}

/* To all processes but the first and the caller's. A missing right is no error, as in Linux. kernel->lock held. */
static int send_to_all(struct task *t, const struct sig_info *info)
{
	int err = -ESRCH, result;

	for (struct process *p = t->kernel->processes; p; p = p->next) {
		if (p == t->process || p->pid == 1)
			continue;
		result = send_to_process(t, p, info, true);
		err = result == -EPERM ? 0 : result;
	}
	return err;
}

/* As kill(2) for @pid. */
static int64_t send_to_pid(struct task *t, int pid, const struct sig_info *info)
{
	struct process *p;
	int err;

	if (pid == INT_MIN)	/* -INT_MIN is not a group */
		return -ESRCH;
	pthread_mutex_lock(&t->kernel->lock);
	if (pid > 0) {
		p = process_find(t->kernel, pid);
		err = p ? send_to_process(t, p, info, false) : -ESRCH;
	} else {
		err = pid == -1 ? send_to_all(t, info) : send_to_group(t, pid ? -pid : t->process->pgid, info);
	}
	pthread_mutex_unlock(&t->kernel->lock);
	return err;
}

/* @tgid 0: of any process. */
static int64_t send_to_thread(struct task *t, int tgid, int tid, const struct sig_info *info)
{
	struct task *other;
	int err;

	pthread_mutex_lock(&t->kernel->lock);
	other = task_find(t->kernel, tid);
	if (!other || (tgid && other->process->pid != tgid))
		err = -ESRCH;
	else
		err = access_check_signal(t, other->process, &other->credentials, info->signo);
	if (!err && info->signo)
		err = signal_send_task(other, info);
	pthread_mutex_unlock(&t->kernel->lock);
	return err;
}

static struct sig_info sent_by(const struct task *t, int signo, int code)
{
	return (struct sig_info){ .signo = signo, .code = code, .pid = t->process->pid, .uid = (int)getuid() };
}

int64_t sys_kill(struct task *t, int pid, int signo)
{
	const struct sig_info info = sent_by(t, signo, SI_USER);

	return send_to_pid(t, pid, &info);
}

int64_t sys_tkill(struct task *t, int tid, int signo)
{
	const struct sig_info info = sent_by(t, signo, SI_TKILL);

	return tid <= 0 ? -EINVAL : send_to_thread(t, 0, tid, &info);
}

int64_t sys_tgkill(struct task *t, int tgid, int tid, int signo)
{
	const struct sig_info info = sent_by(t, signo, SI_TKILL);

	return tgid <= 0 || tid <= 0 ? -EINVAL : send_to_thread(t, tgid, tid, &info);
}

/* A siginfo_t of the program. 0 or -EFAULT. */
static int copy_siginfo(struct task *t, uint64_t addr, struct sig_info *info)
{
	struct {
		int32_t signo, err, code, pad, pid, uid;
		uint64_t value;
	} in;

	if (user_read(t, &in, addr, sizeof(in)))
		return -EFAULT;
	*info = (struct sig_info){ .signo = in.signo, .code = in.code, .pid = in.pid, .uid = in.uid, .value = in.value };
	return 0;
}

/* What the kernel sends itself cannot be forged, but to oneself. */
static bool is_forged(const struct sig_info *info)
{
	return info->code >= 0 || info->code == SI_TKILL;
}

static int read_siginfo(struct task *t, int target, int signo, uint64_t addr, struct sig_info *info)
{
	if (copy_siginfo(t, addr, info))
		return -EFAULT;
	info->signo = signo;
	return is_forged(info) && target != t->process->pid ? -EPERM : 0;
}

int64_t sys_rt_sigqueueinfo(struct task *t, int pid, int signo, uint64_t uinfo)
{
	struct sig_info info;
	int err = read_siginfo(t, pid, signo, uinfo, &info);

	return err ? err : pid <= 0 ? -ESRCH : send_to_pid(t, pid, &info);
}

int64_t sys_rt_tgsigqueueinfo(struct task *t, int tgid, int tid, int signo, uint64_t uinfo)
{
	struct sig_info info;
	int err;

	if (tgid <= 0 || tid <= 0)
		return -EINVAL;
	err = read_siginfo(t, tgid, signo, uinfo, &info);
	return err ? err : send_to_thread(t, tgid, tid, &info);
}

/* --- pidfd_send_signal(2) --- */

/* Of <linux/pidfd.h>, which older systems have without these. */
#define SIGNAL_THREAD		(1u << 0)
#define SIGNAL_THREAD_GROUP	(1u << 1)
#define SIGNAL_PROCESS_GROUP	(1u << 2)

/* Send to the process, its first thread, or the group with its PID. kernel->lock held. */
static int send_to_target(struct task *t, struct process *target, struct task *thread, uint32_t flags,
			  const struct sig_info *info)
{
	int err;

	if (flags & SIGNAL_PROCESS_GROUP)
		return send_to_group(t, target->pid, info);
	if (!(flags & SIGNAL_THREAD))
		return send_to_process(t, target, info, false);
	err = access_check_signal(t, target, thread ? &thread->credentials : &target->credentials, info->signo);
	return err || !info->signo || !thread ? err : signal_send_task(thread, info);	/* no thread: a zombie */
}

static struct task *first_thread(const struct process *p)
{
	struct task *t = p ? p->threads : NULL;

	while (t && t->tid != p->pid)
		t = t->next;
	return t;
}

int64_t sys_pidfd_send_signal(struct task *t, int pidfd, int signo, uint64_t info, uint32_t flags)
{
	bool self = pidfd == PIDFD_OWN_THREAD || pidfd == PIDFD_OWN_PROCESS;
	const struct pidfd *fd = self ? NULL : pidfd_get(t, pidfd);
	const int pid = self || fd ? 0 : proc_directory_pid(t, pidfd);	/* such a directory serves as well */
	struct sig_info sent;
	struct process *target;
	int err = 0;

	if (flags != 0 && flags != SIGNAL_THREAD && flags != SIGNAL_THREAD_GROUP && flags != SIGNAL_PROCESS_GROUP)
		return -EINVAL;
	if (!fd && !self && !pid)
		return -EBADF;
	if (pidfd == PIDFD_OWN_THREAD && !flags)
		flags = SIGNAL_THREAD;
	sent = sent_by(t, signo, flags & SIGNAL_THREAD ? SI_TKILL : SI_USER);
	if (info && copy_siginfo(t, info, &sent))
		return -EFAULT;
	if (sent.signo != signo)
		return -EINVAL;
	pthread_mutex_lock(&t->kernel->lock);
	target = self ? t->process : fd ? fd->process : process_find(t->kernel, pid);
	if (info && is_forged(&sent) && target != t->process)
		err = -EPERM;
	else if (!target)
		err = -ESRCH;
	else
		err = send_to_target(t, target, pidfd == PIDFD_OWN_THREAD ? t : first_thread(target), flags, &sent);
	pthread_mutex_unlock(&t->kernel->lock);
	return err;
}

/* --- sigtimedwait(2) --- */

/* Wait for a signal of @set. @until: ns of CLOCK_MONOTONIC. The signal's number, -EAGAIN or -EINTR. */
static int wait_for_set(struct task *t, uint64_t set, uint64_t until, struct sig_info *info)
{
	struct kernel *k = t->kernel;
	int signo;

	cpu_release(t);
	pthread_mutex_lock(&k->lock);
	t->waits_for = set;
	for (;;) {
		uint64_t now = clock_ns(CLOCK_MONOTONIC);

		signo = take_signal(t, set, info);
		if (signo)
			break;
		if (signal_pending(t) || now >= until) {
			signo = now >= until ? -EAGAIN : -EINTR;
			break;
		}
		kernel_wait(k, until - now);
	}
	t->waits_for = 0;
	pthread_mutex_unlock(&k->lock);
	return signo;
}

int64_t sys_rt_sigtimedwait(struct task *t, uint64_t set, uint64_t info, uint64_t timeout, uint64_t sigsetsize)
{
	uint64_t mask, until = UINT64_MAX;
	struct sig_info found;
	struct timespec ts;
	int signo;

	if (sigsetsize != SIGSET_BYTES)
		return -EINVAL;
	if (user_read(t, &mask, set, SIGSET_BYTES) || (timeout && user_read(t, &ts, timeout, sizeof(ts))))
		return -EFAULT;
	if (timeout) {
		if (!is_time(&ts))
			return -EINVAL;
		until = clock_ns(CLOCK_MONOTONIC) + timespec_ns(&ts);
	}
	signo = wait_for_set(t, mask & ~(sig_bit(SIGKILL) | sig_bit(SIGSTOP)), until, &found);
	if (signo > 0 && info && write_siginfo(t, info, &found))
		return -EFAULT;
	return signo;
}
