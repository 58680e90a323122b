/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_signalfd.c - signalfd(2).
 *
 * A signalfd is ready if a signal of its set is pending for the thread that asks, or for its process. So its readiness
 * depends on the process, while the host's poll(2) and epoll(7) need a descriptor that is ready or not. The descriptor
 * of the file is a signalfd of the host without signals, which is never ready. poll(2) waits for an eventfd of the
 * thread instead, and each item of an epoll set has an eventfd that is ready as long as such a signal is pending.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "abi/bounce.h"
#include "abi/events.h"
#include "abi/signals.h"

#include "syscalls.h"	/* made from syscall.tbl */

/* An item of an epoll set whose target is a signalfd. kernel->lock protects it. */
struct signal_watch {
	struct kernel *kernel;
	struct signal_watch *next;	/* process->signal_watches */
	struct process *process;	/* that called epoll_ctl(2); NULL: it ended */
	int tid;			/* of the thread that used the epoll set last: signals to it count, too */
	const struct file *file;
	int fd;				/* an eventfd of the host */
	bool raised;			/* it is ready */
};

uint64_t signalfd_set(const struct file *file)
{
	return __atomic_load_n(&file->signal_mask, __ATOMIC_RELAXED);
}

uint64_t signalfd_ready(const struct task *t, const struct file *file)
{
	return pending_in_set(t, signalfd_set(file));
}

/* --- eventfds: kernel->lock held, but for creation --- */

/* The write does not fail: it would only if the counter reached 2^64 - 1. */
static void raise_event(int fd)
{
	const uint64_t one = 1;
	ssize_t n = write(fd, &one, sizeof(one));

	(void)n;
}

static void drain_event(int fd)
{
	uint64_t count;
	ssize_t n = read(fd, &count, sizeof(count));

	(void)n;
}

/* A negative errno: none can be made. */
static int make_event(void)
{
	int fd;

	if (!hostfd_reserve(1))
		return -ENOMEM;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		hostfd_release(1);
	return fd < 0 ? -ENOMEM : fd;
}

/* --- epoll --- */

static uint64_t pending_for(const struct signal_watch *w)
{
	uint64_t set = w->process->pending.set;

	for (const struct task *t = w->process->threads; t; t = t->next)
		if (t->tid == w->tid)
			set |= t->pending.set;
	return set & signalfd_set(w->file);
}

/* @arrived: a signal that was just sent, or 0. It raises the event again, as EPOLLET requires. */
static void update_watch(struct signal_watch *w, int arrived)
{
	bool pending = pending_for(w) != 0;

	if (pending && (!w->raised || (arrived && (signalfd_set(w->file) & sig_bit(arrived)))))
		raise_event(w->fd);
	else if (!pending && w->raised)
		drain_event(w->fd);
	w->raised = pending;
}

struct signal_watch *signal_watch_open(struct task *t, const struct file *file)
{
	struct signal_watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->kernel = t->kernel;
	w->process = t->process;
	w->tid = t->tid;
	w->file = file;
	w->fd = make_event();
	if (w->fd < 0) {
		free(w);
		return NULL;
	}
	pthread_mutex_lock(&t->kernel->lock);
	w->next = t->process->signal_watches;
	t->process->signal_watches = w;
	update_watch(w, 0);
	pthread_mutex_unlock(&t->kernel->lock);
	return w;
}

int signal_watch_fd(const struct signal_watch *w)
{
	return w->fd;
}

void signal_watch_use(struct signal_watch *w, const struct task *t)
{
	pthread_mutex_lock(&w->kernel->lock);
	if (w->process == t->process && w->tid != t->tid) {
		w->tid = t->tid;
		update_watch(w, 0);
	}
	pthread_mutex_unlock(&w->kernel->lock);
}

void signal_watch_close(struct signal_watch *w)
{
	pthread_mutex_lock(&w->kernel->lock);
	if (w->process) {
		struct signal_watch **at = &w->process->signal_watches;

		while (*at != w)
			at = &(*at)->next;
		*at = w->next;
	}
	pthread_mutex_unlock(&w->kernel->lock);
	close(w->fd);
	hostfd_release(1);
	free(w);
}

/* The items stay until their epoll sets are closed. */
void signalfd_leave(struct process *p)
{
	for (struct signal_watch *w = p->signal_watches; w; w = w->next)
		w->process = NULL;
	p->signal_watches = NULL;
}

/* --- poll --- */

int signalfd_begin_poll(struct task *t, uint64_t set)
{
	if (t->wake_fd < 0)
		t->wake_fd = make_event();
	if (t->wake_fd < 0)
		return t->wake_fd;
	pthread_mutex_lock(&t->kernel->lock);
	drain_event(t->wake_fd);
	t->polls_for = set;
	pthread_mutex_unlock(&t->kernel->lock);
	return 0;
}

void signalfd_poll_again(struct task *t)
{
	drain_event(t->wake_fd);
}

void signalfd_end_poll(struct task *t)
{
	pthread_mutex_lock(&t->kernel->lock);
	t->polls_for = 0;
	pthread_mutex_unlock(&t->kernel->lock);
}

void signalfd_notify(struct process *p, int arrived)
{
	if (arrived && p->nr_signal_readers)
		pthread_cond_broadcast(&p->kernel->changed);
	for (struct task *t = p->threads; arrived && t; t = t->next)
		if (t->polls_for & sig_bit(arrived))
			raise_event(t->wake_fd);
	for (struct signal_watch *w = p->signal_watches; w; w = w->next)
		update_watch(w, arrived);
}

/* --- read --- */

/* Wait for a signal of the file's set. The signal's number or a negative errno. */
static int take_from(struct task *t, const struct file *file, bool nonblock, struct sig_info *info)
{
	struct kernel *k = t->kernel;
	int signo;

	if (!nonblock)
		cpu_release(t);
	pthread_mutex_lock(&k->lock);
	t->process->nr_signal_readers++;
	for (;;) {
		signo = take_signal(t, signalfd_set(file), info);
		if (signo || nonblock)
			break;
		if (signal_pending(t)) {
			signo = -ERESTARTSYS;
			break;
		}
		pthread_cond_wait(&k->changed, &k->lock);
	}
	t->process->nr_signal_readers--;
	pthread_mutex_unlock(&k->lock);
	return signo ? signo : -EAGAIN;
}

static void fill_info(struct signalfd_siginfo *out, const struct sig_info *info)
{
	*out = (struct signalfd_siginfo){ .ssi_signo = (uint32_t)info->signo, .ssi_code = info->code };
	if (is_fault(info)) {
		out->ssi_addr = info->addr;
	} else if (is_of_file(info)) {
		out->ssi_band = (uint32_t)info->addr;
		out->ssi_fd = info->status;
		return;
	} else if (info->code == SI_TIMER) {
		out->ssi_tid = (uint32_t)info->pid;
		out->ssi_overrun = (uint32_t)info->uid;
		out->ssi_ptr = info->value;
		out->ssi_int = (int32_t)info->value;
	} else if (info->code != SI_KERNEL) {
		out->ssi_pid = (uint32_t)info->pid;
		out->ssi_uid = (uint32_t)info->uid;
		out->ssi_status = info->signo == SIGCHLD ? info->status : 0;
	}
	if (info->code < 0 && info->code != SI_TIMER && info->code != SI_TKILL) {
		out->ssi_ptr = info->value;
		out->ssi_int = (int32_t)info->value;
	}
}

int64_t signalfd_read(struct task *t, const struct file *file, struct user_vector *v, uint64_t len)
{
	bool nonblock = fcntl(file->fd, F_GETFL) & O_NONBLOCK;
	struct signalfd_siginfo out;
	struct sig_info info;
	int64_t done = 0;
	int n = -EINVAL;

	for (; len - (uint64_t)done >= sizeof(out); nonblock = true) {
		n = take_from(t, file, nonblock, &info);
		if (n < 0)
			break;
		fill_info(&out, &info);
		if (vector_store(t, v, &out, sizeof(out)) < sizeof(out)) {	/* the signal is lost, as in Linux */
			n = -EFAULT;
			break;
		}
		done += (int64_t)sizeof(out);
	}
	return done ? done : n;
}

/* --- signalfd(2) --- */

static int64_t make_signalfd(struct task *t, uint64_t mask, uint32_t flags)
{
	int err = fd_check_room(t, 1), host;
	struct file *file;
	sigset_t none;

	if (err)
		return err;
	sigemptyset(&none);
	host = signalfd(-1, &none, (int)flags | SFD_CLOEXEC);
	if (host < 0)
		return -errno;
	file = file_open(t->kernel, host);
	if (file) {
		file->is_signalfd = true;
		file->signal_mask = mask;
	}
	return fd_install(t, file, 0, flags & SFD_CLOEXEC);
}

/* The set of a signalfd changed, so the threads that poll it look again. kernel->lock held. */
static void wake_polls(struct process *p, uint64_t set)
{
	for (struct task *t = p->threads; t; t = t->next)
		if (t->polls_for) {
			t->polls_for |= set;
			raise_event(t->wake_fd);
		}
}

static int64_t change_signalfd(struct task *t, int fd, uint64_t mask)
{
	struct file *file = fd_file(t, (uint64_t)fd);
	struct kernel *k = t->kernel;

	if (!file || !file->is_signalfd)
		return file ? -EINVAL : -EBADF;
	pthread_mutex_lock(&k->lock);
	__atomic_store_n(&file->signal_mask, mask, __ATOMIC_RELAXED);
	for (struct process *p = k->processes; p; p = p->next) {
		for (struct signal_watch *w = p->signal_watches; w; w = w->next)
			if (w->file == file)
				update_watch(w, 0);
		wake_polls(p, mask);
	}
	pthread_cond_broadcast(&k->changed);	/* readers look again */
	pthread_mutex_unlock(&k->lock);
	return fd;
}

int64_t sys_signalfd4(struct task *t, int fd, uint64_t mask, uint64_t sigsetsize, uint32_t flags)
{
	uint64_t set;

	if (sigsetsize != SIGSET_BYTES)
		return -EINVAL;
	if (user_read(t, &set, mask, SIGSET_BYTES))
		return -EFAULT;
	if (flags & ~(uint32_t)(SFD_CLOEXEC | SFD_NONBLOCK))
		return -EINVAL;
	set &= ~(sig_bit(SIGKILL) | sig_bit(SIGSTOP));
	return fd == -1 ? make_signalfd(t, set, flags) : change_signalfd(t, fd, set);
}

int64_t sys_signalfd(struct task *t, int fd, uint64_t mask, uint64_t sigsetsize)
{
	return sys_signalfd4(t, fd, mask, sigsetsize, 0);
}
