/* SPDX-License-Identifier: MIT */
/* abi/sys_pidfd.c - pidfd_open(2), pidfd_getfd(2); see pidfd.h. */
#define _GNU_SOURCE
#include "abi/pidfd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "abi/access.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define PIDFD_NONBLOCK ((uint32_t)O_NONBLOCK)	/* of <linux/pidfd.h>, which older systems do not have */

/* --- the life of the process: kernel->lock held --- */

static void close_write_fd(struct pidfd *pidfd)
{
	if (pidfd->write_fd < 0)
		return;
	close(pidfd->write_fd);
	pidfd->write_fd = -1;
	hostfd_release(1);
}

static void make_readable(const struct pidfd *pidfd)
{
	ssize_t n = write(pidfd->write_fd, "", 1);	/* the pipe is empty, so there is room */

	(void)n;
}

void pidfds_exit(struct process *p)
{
	for (struct pidfd *pidfd = p->pidfds; pidfd; pidfd = pidfd->next)
		make_readable(pidfd);
}

void pidfds_reap(struct process *p)
{
	for (struct pidfd *pidfd = p->pidfds; pidfd; pidfd = pidfd->next) {
		pidfd->process = NULL;
		close_write_fd(pidfd);
	}
	p->pidfds = NULL;
}

static void unlink_pidfd(struct pidfd *pidfd)
{
	struct pidfd **at = &pidfd->process->pidfds;

	while (*at != pidfd)
		at = &(*at)->next;
	*at = pidfd->next;
}

void pidfd_put(struct pidfd *pidfd)
{
	struct kernel *k = pidfd ? pidfd->kernel : NULL;

	if (!pidfd)
		return;
	pthread_mutex_lock(&k->lock);
	if (pidfd->process)
		unlink_pidfd(pidfd);
	close_write_fd(pidfd);
	pthread_mutex_unlock(&k->lock);
	free(pidfd);
}

/* --- opening --- */

/* A file without a process. A negative errno: none was made. */
static int make_pidfd(struct task *t, uint32_t flags, struct file **out)
{
	struct pidfd *pidfd;
	int ends[2];

	if (!hostfd_reserve(1))
		return -ENFILE;
	pidfd = calloc(1, sizeof(*pidfd));
	if (!pidfd || pipe2(ends, O_CLOEXEC | (int)(flags & PIDFD_NONBLOCK))) {
		hostfd_release(1);
		free(pidfd);
		return -ENOMEM;
	}
	*pidfd = (struct pidfd){ .kernel = t->kernel, .write_fd = ends[1] };
	*out = file_open(t->kernel, ends[0]);
	if (*out) {
		(*out)->pidfd = pidfd;
		return 0;
	}
	pidfd_put(pidfd);
	return -ENFILE;
}

/* kernel->lock held. */
static void link_pidfd(struct pidfd *pidfd, struct process *p)
{
	pidfd->process = p;
	pidfd->next = p->pidfds;
	p->pidfds = pidfd;
	if (p->state == PROCESS_ZOMBIE)
		make_readable(pidfd);
}

int pidfd_open_process(struct task *t, int pid, uint32_t flags)
{
	struct kernel *k = t->kernel;
	struct process *p;
	struct file *file;
	int err = make_pidfd(t, flags, &file);

	if (err)
		return err;
	pthread_mutex_lock(&k->lock);
	p = process_find(k, pid);
	if (p)
		link_pidfd(file->pidfd, p);
	else
		err = task_find(k, pid) ? -ENOENT : -ESRCH;	/* ENOENT: a thread that is not the first one */
	pthread_mutex_unlock(&k->lock);
	if (!err)
		return fd_install(t, file, 0, true);
	file_put(file);
	return err;
}

int pidfd_open_child(struct task *t, struct process *child)
{
	struct file *file;
	int err = make_pidfd(t, 0, &file);

	if (err)
		return err;
	pthread_mutex_lock(&t->kernel->lock);
	link_pidfd(file->pidfd, child);
	pthread_mutex_unlock(&t->kernel->lock);
	return fd_install(t, file, 0, true);
}

int64_t sys_pidfd_open(struct task *t, int pid, uint32_t flags)
{
	int err;

	if ((flags & ~PIDFD_NONBLOCK) || pid <= 0)
		return -EINVAL;
	err = fd_check_room(t, 1);
	return err ? err : pidfd_open_process(t, pid, flags);
}

struct pidfd *pidfd_get(struct task *t, int fd)
{
	const struct file *file = fd_file(t, (uint64_t)fd);

	return file ? file->pidfd : NULL;
}

/* --- pidfd_getfd(2) --- */

/* The descriptors of a process: of its first thread, while it lives. Referenced. NULL: it ends. kernel->lock held. */
static struct files *files_of(const struct process *p)
{
	struct files *files = NULL;

	for (const struct task *t = p->threads; t; t = t->next)
		if (t->files && (!files || t->tid == p->pid))
			files = t->files;
	if (files)
		files_get(files);
	return files;
}

int64_t sys_pidfd_getfd(struct task *t, int pidfd, int targetfd, uint32_t flags)
{
	struct pidfd *target = pidfd_get(t, pidfd);
	struct files *files = NULL;
	struct process *p;
	struct file *file;
	int err;

	if (flags)
		return -EINVAL;
	if (!target)
		return -EBADF;
	pthread_mutex_lock(&t->kernel->lock);
	p = target->process;
	err = p && p->state != PROCESS_ZOMBIE ? access_check(t, p, ACCESS_REAL) : -ESRCH;
	if (!err)
		files = files_of(p);
	pthread_mutex_unlock(&t->kernel->lock);
	if (err)
		return err;
	if (!files)
		return -ESRCH;
	file = targetfd >= 0 ? files_find(files, (uint64_t)targetfd, NULL) : NULL;
	files_put(files);
	return file ? fd_install(t, file, 0, true) : -EBADF;
}
