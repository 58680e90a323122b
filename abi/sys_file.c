/* SPDX-License-Identifier: MIT */
/* abi/sys_file.c - fcntl(2), ioctl(2), locks, and what is done to whole files: sizes, fsync(2), sync(2). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "abi/filemap.h"

#define MAX_PIPE (1u << 20)	/* bytes of the host's memory */

/* Of a host call that a kick may have ended. */
static int64_t restarts(int64_t result)
{
	return result == -EINTR ? -ERESTARTSYS : result;
}

static int64_t file_lock(struct task *t, int fd, int cmd, uint64_t addr)
{
	/* Open-file-description locks: the host's per-process ones would be all programs'. */
	const int host_cmd = cmd == F_GETLK ? F_OFD_GETLK : cmd == F_SETLK ? F_OFD_SETLK : F_OFD_SETLKW;
	struct flock fl;
	int n, err;

	if (user_read(t, &fl, addr, sizeof(fl)))
		return -EFAULT;
	fl.l_pid = 0;
	block_begin(t);
	n = fcntl(fd, host_cmd, &fl);
	err = errno;
	block_end(t);
	if (n)
		return restarts(-err);
	return cmd == F_GETLK ? user_write(t, addr, &fl, sizeof(fl)) : 0;
}

SYSCALL(fcntl)
{
	int fd = fd_host(t, a[0]), n;

	if (fd < 0)
		return fd;
	switch (a[1]) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return fd_dup(t, a[0], (int)a[2], a[1] == F_DUPFD_CLOEXEC);
	case F_GETFD:
		return t->fds[a[0]].cloexec ? FD_CLOEXEC : 0;
	case F_SETFD:
		t->fds[a[0]].cloexec = a[2] & FD_CLOEXEC;
		return 0;
	case F_GETFL:
		n = fcntl(fd, F_GETFL);
		return n < 0 ? -errno : n;
	case F_SETFL:
		n = fcntl(fd, F_SETFL, (int)a[2] & (O_APPEND | O_NONBLOCK | O_NOATIME | O_DIRECT));
		if (n < 0)
			return -errno;
		file_flags_changed(fd_file(t, a[0]));
		return 0;
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
		return file_lock(t, fd, (int)a[1], a[2]);
	case F_ADD_SEALS:
		return filemap_add_seals(fd_file(t, a[0]), (unsigned)a[2]);
	case F_SETPIPE_SZ:
		if (a[2] > MAX_PIPE)	/* as for a caller without privileges: pipe(7), pipe-max-size */
			return -EPERM;
		/* fall through */
	case F_GET_SEALS:
	case F_GETPIPE_SZ:
		n = fcntl(fd, (int)a[1], (int)a[2]);
		return n < 0 ? -errno : n;
	default:
		return -EINVAL;
	}
}

/* Terminals and counts; a request that we don't know could pass pointers. */
SYSCALL(ioctl)
{
	static const struct {
		unsigned long request;
		size_t size;
		bool in;
	} known[] = {
		{ TCGETS, 36, false }, { TCSETS, 36, true }, { TCSETSW, 36, true }, { TCSETSF, 36, true },
		{ TIOCGWINSZ, 8, false }, { FIONREAD, 4, false }, { FIONBIO, 4, true },
	};
	int fd = fd_host(t, a[0]), value;
	_Alignas(8) char buf[64];

	if (fd < 0)
		return fd;
	if (a[1] == TIOCGPGRP) {
		value = t->pgid;
		return isatty(fd) ? user_write(t, a[2], &value, 4) : -ENOTTY;
	}
	if (a[1] == TIOCSPGRP)
		return isatty(fd) ? 0 : -ENOTTY;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].request != a[1])
			continue;
		if (known[i].in && user_read(t, buf, a[2], known[i].size))
			return -EFAULT;
		block_begin(t);		/* some wait until all is sent */
		value = ioctl(fd, known[i].request, buf) ? -errno : 0;
		block_end(t);
		if (value)
			return restarts(value);
		if (a[1] == FIONREAD)
			*(int *)buf += (int)file_nr_unread(fd_file(t, a[0]));
		return known[i].in ? 0 : user_write(t, a[2], buf, known[i].size);
	}
	return -ENOTTY;
}

SYSCALL(flock)
{
	int fd = fd_host(t, a[0]), n, err;

	if (fd < 0)
		return fd;
	block_begin(t);
	n = flock(fd, (int)a[1]);
	err = errno;
	block_end(t);
	return n == 0 ? 0 : restarts(-err);
}

static int64_t do_fsync(struct task *t, uint64_t fd, bool data_only)
{
	const struct file *file = fd_file(t, fd);
	int err;

	if (!file)
		return -EBADF;
	block_begin(t);
	err = filemap_fsync(file, data_only);
	block_end(t);
	return restarts(err);
}

SYSCALL(fsync)
{
	return do_fsync(t, a[0], false);
}

SYSCALL(fdatasync)
{
	return do_fsync(t, a[0], true);
}

SYSCALL(sync)
{
	(void)a;
	block_begin(t);
	filemap_sync_all();
	sync();
	block_end(t);
	return 0;
}

SYSCALL(syncfs)
{
	int fd = fd_host(t, a[0]), err;

	if (fd < 0)
		return fd;
	block_begin(t);
	filemap_sync_all();
	err = syncfs(fd) ? -errno : 0;
	block_end(t);
	return restarts(err);
}

SYSCALL(ftruncate)
{
	const struct file *file = fd_file(t, a[0]);
	int err;

	if (!file)
		return -EBADF;
	err = rlimit_size(t, file, (off_t)a[1]);
	if (err)
		return err;
	block_begin(t);
	err = filemap_truncate(file, (off_t)a[1]);
	block_end(t);
	return restarts(err);
}

SYSCALL(fallocate)
{
	const struct file *file = fd_file(t, a[0]);
	int err = 0;

	if (!file)
		return -EBADF;
	if (!(a[1] & (FALLOC_FL_KEEP_SIZE | FALLOC_FL_COLLAPSE_RANGE)) && (int64_t)a[2] >= 0 && (int64_t)a[3] > 0)
		err = rlimit_size(t, file, a[2] > INT64_MAX - a[3] ? INT64_MAX : (int64_t)(a[2] + a[3]));
	if (err)
		return err;
	block_begin(t);
	err = filemap_fallocate(file, (int)a[1], (off_t)a[2], (off_t)a[3]);
	block_end(t);
	return restarts(err);
}

SYSCALL(readahead)
{
	const struct file *file = fd_file(t, a[0]);

	if (!file)
		return -EBADF;
	return file->regular ? 0 : -EINVAL;	/* advice: the host reads ahead by itself */
}

SYSCALL(fadvise64)
{
	return fd_host(t, a[0]) < 0 ? -EBADF : 0;
}
