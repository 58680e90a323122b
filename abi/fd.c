/* SPDX-License-Identifier: MIT */
/* abi/fd.c - descriptors of a process: its own numbers for descriptors of the host. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/task.h"

struct file *file_open(int host_fd)
{
	struct file *file = NULL;
	struct stat st;
	int err = ENFILE;

	if (hostfd_take(1)) {
		file = calloc(1, sizeof(*file));
		err = ENOMEM;
		if (!file)
			hostfd_give(1);
	}
	if (!file) {
		close(host_fd);
		errno = err;
		return NULL;
	}
	file->refs = 1;
	file->fd = host_fd;
	if (fstat(host_fd, &st) == 0) {
		file->regular = S_ISREG(st.st_mode);
		file->dev = st.st_dev;
		file->ino = st.st_ino;
	}
	return file;
}

static void file_get(struct file *file)
{
	__atomic_fetch_add(&file->refs, 1, __ATOMIC_RELAXED);
}

void file_put(struct file *file)
{
	if (__atomic_sub_fetch(&file->refs, 1, __ATOMIC_ACQ_REL) == 0) {
		close(file->fd);
		hostfd_give(1);
		free(file);
	}
}

/* RLIMIT_NOFILE; what is open beyond it stays so. */
static int fd_limit(const struct task *t)
{
	return (int)rlimit_of(t, RLIMIT_NOFILE);
}

int fd_room(struct task *t, unsigned nr)
{
	unsigned numbers = 0;

	for (int fd = 0; fd < fd_limit(t) && numbers < nr; fd++)
		numbers += !t->fds[fd].file;
	if (numbers < nr)
		return -EMFILE;
	if (!hostfd_take(nr))
		return -ENFILE;
	hostfd_give(nr);
	return 0;
}

/* The lowest free number from @from on. Takes over the reference, also on failure. */
int fd_install(struct task *t, struct file *file, int from, bool cloexec)
{
	if (!file)
		return -errno;
	for (int fd = from; fd >= 0 && fd < fd_limit(t); fd++)
		if (!t->fds[fd].file) {
			t->fds[fd].file = file;
			t->fds[fd].cloexec = cloexec;
			return fd;
		}
	file_put(file);
	return -EMFILE;
}

int fd_host(struct task *t, uint64_t fd)
{
	return fd < MAX_FDS && t->fds[fd].file ? t->fds[fd].file->fd : -EBADF;
}

struct file *fd_file(struct task *t, uint64_t fd)
{
	return fd < MAX_FDS ? t->fds[fd].file : NULL;
}

/* The directory is a descriptor of its own. 0 or negative errno. */
int fds_fork(struct task *child, const struct task *parent)
{
	child->cwd = fcntl(parent->cwd, F_DUPFD_CLOEXEC, 0);
	if (child->cwd < 0)
		return -errno;
	for (int fd = 0; fd < MAX_FDS; fd++) {
		child->fds[fd] = parent->fds[fd];
		if (child->fds[fd].file)
			file_get(child->fds[fd].file);
	}
	return 0;
}

static void close_fd(struct task *t, int fd)
{
	struct file *file = t->fds[fd].file;

	t->fds[fd].file = NULL;
	if (file)
		file_put(file);
}

void fds_exec(struct task *t)
{
	for (int fd = 0; fd < MAX_FDS; fd++)
		if (t->fds[fd].cloexec)
			close_fd(t, fd);
}

void fds_close_all(struct task *t)
{
	for (int fd = 0; fd < MAX_FDS; fd++)
		close_fd(t, fd);
	if (t->cwd >= 0)
		close(t->cwd);
	t->cwd = -1;
	hostfd_give_task();
}

SYSCALL(close)
{
	if (fd_host(t, a[0]) < 0)
		return -EBADF;
	close_fd(t, (int)a[0]);
	return 0;
}

static int64_t dup_to(struct task *t, uint64_t from, uint64_t to, bool cloexec)
{
	struct file *file;

	if (fd_host(t, from) < 0 || to >= (uint64_t)fd_limit(t))
		return -EBADF;
	file = t->fds[from].file;
	file_get(file);
	close_fd(t, (int)to);
	t->fds[to].file = file;
	t->fds[to].cloexec = cloexec;
	return (int64_t)to;
}

int64_t fd_dup(struct task *t, uint64_t fd, int from, bool cloexec)
{
	if (fd_host(t, fd) < 0)
		return -EBADF;
	if (from < 0 || from >= fd_limit(t))
		return -EINVAL;
	file_get(t->fds[fd].file);
	return fd_install(t, t->fds[fd].file, from, cloexec);
}

SYSCALL(dup)
{
	return fd_dup(t, a[0], 0, false);
}

SYSCALL(dup2)
{
	if (a[0] == a[1])
		return fd_host(t, a[0]) < 0 ? -EBADF : (int64_t)a[1];
	return dup_to(t, a[0], a[1], false);
}

#define O_CLOEXEC_BIT 02000000

SYSCALL(dup3)
{
	if (a[0] == a[1] || (a[2] & ~(uint64_t)O_CLOEXEC_BIT))
		return -EINVAL;
	return dup_to(t, a[0], a[1], a[2] & O_CLOEXEC_BIT);
}
