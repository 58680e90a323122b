/* SPDX-License-Identifier: MIT */
/* abi/sys_wait.c - wait4(2) and waitid(2). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "abi/pidfd.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define ANY_KIND ((int)(__WALL | __WNOTHREAD | __WCLONE))

struct wait {
	idtype_t type;
	int id;			/* P_PID, P_PGID */
	const struct pidfd *pidfd;	/* P_PIDFD */
	bool nonblock;		/* instead of waiting: EAGAIN */
	int options;		/* as of waitid(2) */
	int pid;		/* result: 0 if no child has changed */
	int status;		/* result: as wait4(2) returns it */
	uint32_t user;		/* result: of the child */
	struct usage used;	/* result: by the child and those that it waited for */
};

/* The siginfo_t of waitid(2) on x86-64. */
struct child_info {
	int32_t signo, err, code, pad, pid, uid, status;
};

static bool is_waited_for(const struct process *p, const struct process *child, const struct wait *w)
{
	if (child->ppid != p->pid)
		return false;
	if ((w->options & __WCLONE) && !(w->options & __WALL) && child->exit_signal == SIGCHLD)
		return false;
	if (!(w->options & (int)(__WCLONE | __WALL)) && child->exit_signal != SIGCHLD)
		return false;
	if (w->type == P_PIDFD)
		return w->pidfd->process == child;
	return w->type == P_ALL || (w->type == P_PID ? child->pid == w->id : child->pgid == w->id);
}

/* Did @child change in a way that @w waits for? Then fill in the result. kernel->lock held. */
static bool take_change(struct process *child, struct wait *w)
{
	if (child->state == PROCESS_ZOMBIE) {
		if (!(w->options & WEXITED))
			return false;
		w->status = child->exit_status;
	} else if (child->job_change == HAS_STOPPED && (w->options & WSTOPPED)) {
		w->status = W_STOPCODE(child->stop_signal);
	} else if (child->job_change == HAS_CONTINUED && (w->options & WCONTINUED)) {
		w->status = __W_CONTINUED;
	} else {
		return false;
	}
	w->pid = child->pid;
	w->user = child->credentials.user.real;
	usage_of_process(child, &w->used);
	usage_add(&w->used, &child->children);
	if (!(w->options & WNOWAIT))
		child->job_change = NOT_CHANGED;
	return true;
}

/* Find a child that has changed, and free it if it is a zombie. kernel->lock held. True: the wait is over. */
static bool find_change(struct task *t, struct wait *w, int *err)
{
	bool any = false;

	*err = 0;
	for (struct process **at = &t->kernel->processes; *at; at = &(*at)->next) {
		struct process *child = *at;

		if (!is_waited_for(t->process, child, w))
			continue;
		any = true;
		if (!take_change(child, w))
			continue;
		if (child->state == PROCESS_ZOMBIE && !(w->options & WNOWAIT)) {
			*at = child->next;
			usage_add(&t->process->children, &w->used);
			process_free(child);
		}
		return true;
	}
	if (!any)
		*err = -ECHILD;
	return !any || (w->options & WNOHANG);
}

/* 0 or a negative errno. */
static int wait_for_child(struct task *t, struct wait *w)
{
	struct kernel *k = t->kernel;
	bool over;
	int err;

	pthread_mutex_lock(&k->lock);
	over = find_change(t, w, &err);
	pthread_mutex_unlock(&k->lock);
	if (over)
		return err;
	if (w->nonblock)
		return -EAGAIN;
	cpu_release(t);
	pthread_mutex_lock(&k->lock);
	while (!find_change(t, w, &err)) {
		if (signal_pending(t)) {
			err = -ERESTARTSYS;
			break;
		}
		pthread_cond_wait(&k->changed, &k->lock);
	}
	pthread_mutex_unlock(&k->lock);
	return err;
}

static int write_usage(struct task *t, const struct wait *w, uint64_t addr)
{
	struct rusage out;

	usage_to_rusage(&w->used, &out);
	return addr ? user_write(t, addr, &out, sizeof(out)) : 0;
}

int64_t sys_wait4(struct task *t, int pid, uint64_t wstatus, int options, uint64_t rusage)
{
	struct wait w = { .type = pid == -1 ? P_ALL : pid > 0 ? P_PID : P_PGID, .options = options | WEXITED };
	int err;

	if (options & ~(WNOHANG | WUNTRACED | WCONTINUED | ANY_KIND))
		return -EINVAL;
	if (pid == INT_MIN)	/* -INT_MIN is not a group */
		return -ESRCH;
	w.id = pid > 0 ? pid : pid ? -pid : t->process->pgid;
	err = wait_for_child(t, &w);
	if (err || !w.pid)
		return err;
	if ((wstatus && user_write(t, wstatus, &w.status, sizeof(w.status))) || write_usage(t, &w, rusage))
		return -EFAULT;
	return w.pid;
}

static struct child_info describe(const struct wait *w)
{
	struct child_info info = { .signo = SIGCHLD, .pid = w->pid, .uid = (int32_t)w->user };

	if (WIFCONTINUED(w->status))
		info.code = CLD_CONTINUED, info.status = SIGCONT;
	else if (WIFSTOPPED(w->status))
		info.code = CLD_STOPPED, info.status = WSTOPSIG(w->status);
	else if (WIFSIGNALED(w->status))
		info.code = WCOREDUMP(w->status) ? CLD_DUMPED : CLD_KILLED, info.status = WTERMSIG(w->status);
	else
		info.code = CLD_EXITED, info.status = WEXITSTATUS(w->status);
	return info;
}

static int parse_pidfd(struct task *t, int fd, struct wait *w)
{
	const struct file *file = fd < 0 ? NULL : fd_file(t, (uint64_t)fd);

	if (fd < 0)
		return -EINVAL;
	if (!file || !file->pidfd)
		return -EBADF;
	w->pidfd = file->pidfd;
	w->nonblock = fcntl(file->fd, F_GETFL) & O_NONBLOCK;
	return 0;
}

/* 0 or a negative errno. */
static int parse_id(struct task *t, int which, int id, struct wait *w)
{
	int err = 0;

	switch (which) {
	case P_ALL:
		break;
	case P_PID:
		if (id <= 0)
			return -EINVAL;
		break;
	case P_PGID:
		if (id < 0)
			return -EINVAL;
		break;
	case P_PIDFD:
		err = parse_pidfd(t, id, w);
		break;
	default:
		return -EINVAL;
	}
	w->type = (idtype_t)which;
	w->id = which == P_PGID && !id ? t->process->pgid : id;
	return err;
}

int64_t sys_waitid(struct task *t, int which, int id, uint64_t info, int options, uint64_t rusage)
{
	struct wait w = { .options = options };
	struct child_info child = { .signo = 0 };
	int err;

	if (options & ~(WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | ANY_KIND))
		return -EINVAL;
	if (!(options & (WEXITED | WSTOPPED | WCONTINUED)))
		return -EINVAL;
	err = parse_id(t, which, id, &w);
	if (!err)
		err = wait_for_child(t, &w);
	if (err)
		return err;
	if (w.pid) {
		child = describe(&w);
		if (write_usage(t, &w, rusage))
			return -EFAULT;
	}
	return info ? user_write(t, info, &child, sizeof(child)) : 0;
}
