/* SPDX-License-Identifier: MIT */
/* abi/sys_file.c - fcntl(2), ioctl(2), flock(2), ftruncate(2), fallocate(2), fsync(2), sync(2). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "abi/async.h"
#include "abi/filemap.h"
#include "abi/proc.h"
#include "abi/socket.h"
#include "abi/tty.h"
#include "abi/uffd.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define KERNEL_TERMIOS_BYTES 36	/* struct termios of <asm/termbits.h>, shorter than that of <termios.h> */
#define MAX_PIPE (1u << 20)	/* bytes; the buffer is memory of the host */

/* @result: of a host call that a kick may have interrupted. */
static int64_t restart_if_interrupted(int64_t result)
{
	return result == -EINTR ? -ERESTARTSYS : result;
}

/* The host's descriptors of pidfds are read-only pipes, those of userfaultfds eventfds. */
unsigned file_shown_flags(const struct file *file, unsigned flags)
{
	return file->pidfd ? flags | O_RDWR : file->uffd ? flags & ~(unsigned)O_ACCMODE : flags;
}

static int64_t set_flags(struct file *file, int fd, int flags)
{
	const int now = fcntl(file->fd, F_GETFL);

	if (fcntl(file->fd, F_SETFL, (flags & (O_APPEND | O_NONBLOCK | O_NOATIME | O_DIRECT)) | (now & O_ASYNC)) < 0)
		return -errno;
	file_update_flags(file);
	if ((flags ^ now) & O_ASYNC)
		async_enable(file, fd, flags & O_ASYNC);	/* as Linux: no error for a file that sends no signals */
	return 0;
}

int64_t sys_fcntl(struct task *t, int fd, int cmd, uint64_t arg)
{
	int host_fd = fd_host(t, fd), n;

	if (host_fd < 0)
		return host_fd;
	switch (cmd) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return fd_dup(t, fd, (int)arg, cmd == F_DUPFD_CLOEXEC);
	case F_GETFD:
		return fd_cloexec(t, fd) ? FD_CLOEXEC : 0;
	case F_SETFD:
		fd_set_cloexec(t, fd, arg & FD_CLOEXEC);
		return 0;
	case F_GETFL:
		n = fcntl(host_fd, F_GETFL);
		return n < 0 ? -errno : (int)file_shown_flags(fd_file(t, fd), (unsigned)n);
	case F_SETFL:
		return set_flags(fd_file(t, fd), fd, (int)arg);
	case F_SETOWN:
	case F_GETOWN:
	case F_SETOWN_EX:
	case F_GETOWN_EX:
	case F_SETSIG:
	case F_GETSIG:
		return async_call(t, fd_file(t, fd), cmd, arg);
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_GETLK:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
		return lock_call(t, fd_file(t, fd), cmd, arg);
	case F_ADD_SEALS:
		return filemap_add_seals(fd_file(t, fd), (unsigned)arg);
	case F_SETPIPE_SZ:
		if (arg > MAX_PIPE)	/* as for an unprivileged caller: pipe(7), pipe-max-size */
			return -EPERM;
		/* fall through */
	case F_GET_SEALS:
	case F_GETPIPE_SZ:
		n = fcntl(host_fd, cmd, (int)arg);
		return n < 0 ? -errno : n;
	default:
		return -EINVAL;
	}
}

/* It looks at memory of programs, which may wait. */
static int64_t proc_call(struct task *t, const struct file *file, uint32_t request, uint64_t arg)
{
	int64_t result;

	host_call_begin(t);
	result = proc_file_ioctl(t, file, request, arg);
	host_call_end(t);
	return result;
}

static bool sets_terminal(uint32_t request)
{
	return request == TCSETS || request == TCSETSW || request == TCSETSF;
}

/* Requests whose argument is a number. -ENOTTY: another request, or no terminal. */
static int64_t terminal_command(struct task *t, const struct file *file, uint32_t request, uint64_t arg)
{
	static const uint32_t commands[] = { TCSBRK, TCSBRKP, TCXONC, TCFLSH, TIOCEXCL, TIOCNXCL };
	int64_t result;
	size_t i = 0;

	while (i < sizeof(commands) / sizeof(commands[0]) && commands[i] != request)
		i++;
	if (i == sizeof(commands) / sizeof(commands[0]) || file->terminal == NO_TERMINAL)
		return -ENOTTY;
	result = request == TIOCEXCL || request == TIOCNXCL ? 0 : tty_check_change(t, file);
	if (result)
		return result;
	host_call_begin(t);
	result = ioctl(file->fd, request, (int)arg) ? -errno : 0;
	host_call_end(t);
	return restart_if_interrupted(result);
}

/* Requests of terminals, and byte counts. Others are not passed to the host: they could contain pointers. */
int64_t sys_ioctl(struct task *t, int fd, uint32_t request, uint64_t arg)
{
	static const struct {
		unsigned long request;
		size_t size;
		bool in;
	} known[] = {
		{ TCGETS, KERNEL_TERMIOS_BYTES, false }, { TCSETS, KERNEL_TERMIOS_BYTES, true },
		{ TCSETSW, KERNEL_TERMIOS_BYTES, true }, { TCSETSF, KERNEL_TERMIOS_BYTES, true },
		{ TIOCGWINSZ, sizeof(struct winsize), false }, { FIONREAD, sizeof(int), false },
		{ FIONBIO, sizeof(int), true }, { FIOASYNC, sizeof(int), true }, { TIOCOUTQ, sizeof(int), false },
		{ TIOCGPTN, sizeof(unsigned), false }, { TIOCSPTLCK, sizeof(int), true },
		{ TIOCGPTLCK, sizeof(int), false }, { TIOCPKT, sizeof(int), true }, { TIOCGPKT, sizeof(int), false },
	};
	struct file *file = fd_file(t, fd);
	_Alignas(8) char buf[64];
	int64_t result;
	int host_fd;

	if (!file)
		return -EBADF;
	if (request == FIOCLEX || request == FIONCLEX) {
		fd_set_cloexec(t, fd, request == FIOCLEX);
		return 0;
	}
	host_fd = file->fd;
	if (uffd_ioctl(t, file, request, arg, &result) || tty_ioctl(t, file, request, arg, &result))
		return result;
	result = terminal_command(t, file, request, arg);
	if (result != -ENOTTY)
		return result;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (known[i].request != request)
			continue;
		if (known[i].in && user_read(t, buf, arg, known[i].size))
			return -EFAULT;
		if (request == FIOASYNC)
			return async_enable(file, fd, *(int *)buf);
		result = sets_terminal(request) ? tty_check_change(t, file) : 0;
		if (result)
			return result;
		host_call_begin(t);		/* some requests block until all output is sent */
		result = ioctl(host_fd, known[i].request, buf) ? -errno : 0;
		host_call_end(t);
		if (result)
			return restart_if_interrupted(result);
		if (request == FIONREAD)
			*(int *)buf += (int)file_nr_unread(file);
		return known[i].in ? 0 : user_write(t, arg, buf, known[i].size);
	}
	if (fd_file(t, fd)->proc)
		return proc_call(t, fd_file(t, fd), request, arg);
	return socket_ioctl(t, host_fd, request, arg);
}

int64_t sys_flock(struct task *t, int fd, int operation)
{
	int host_fd = fd_host(t, fd), n, err;
	int kind = operation & ~LOCK_NB;

	if (kind != LOCK_SH && kind != LOCK_EX && kind != LOCK_UN)
		return -EINVAL;
	if (host_fd < 0)
		return host_fd;
	host_call_begin(t);
	n = flock(host_fd, operation);
	err = errno;
	host_call_end(t);
	return n == 0 ? 0 : restart_if_interrupted(-err);
}

static int64_t do_fsync(struct task *t, int fd, bool data_only)
{
	const struct file *file = fd_file(t, fd);
	int err;

	if (!file)
		return -EBADF;
	host_call_begin(t);
	err = filemap_fsync(file, data_only);
	host_call_end(t);
	return restart_if_interrupted(err);
}

int64_t sys_fsync(struct task *t, int fd)
{
	return do_fsync(t, fd, false);
}

int64_t sys_fdatasync(struct task *t, int fd)
{
	return do_fsync(t, fd, true);
}

int64_t sys_sync(struct task *t)
{
	host_call_begin(t);
	filemaps_sync(t->kernel->filemaps);
	sync();
	host_call_end(t);
	return 0;
}

int64_t sys_syncfs(struct task *t, int fd)
{
	int host_fd = fd_host(t, fd), err;

	if (host_fd < 0)
		return host_fd;
	host_call_begin(t);
	filemaps_sync(t->kernel->filemaps);
	err = syncfs(host_fd) ? -errno : 0;
	host_call_end(t);
	return restart_if_interrupted(err);
}

int64_t sys_ftruncate(struct task *t, int fd, int64_t length)
{
	const struct file *file = fd_file(t, fd);
	int err;

	if (!file)
		return -EBADF;
	err = rlimit_check_size(t, file, length);
	if (err)
		return err;
	host_call_begin(t);
	err = filemap_truncate(file, length);
	host_call_end(t);
	return restart_if_interrupted(err);
}

int64_t sys_fallocate(struct task *t, int fd, uint32_t mode, int64_t offset, int64_t len)
{
	const struct file *file = fd_file(t, fd);
	int err = 0;

	if (!file)
		return -EBADF;
	if (!(mode & (FALLOC_FL_KEEP_SIZE | FALLOC_FL_COLLAPSE_RANGE)) && offset >= 0 && len > 0)
		err = rlimit_check_size(t, file, offset > INT64_MAX - len ? INT64_MAX : (int64_t)(offset + len));
	if (err)
		return err;
	host_call_begin(t);
	err = filemap_fallocate(file, mode, offset, len);
	host_call_end(t);
	return restart_if_interrupted(err);
}

int64_t sys_readahead(struct task *t, int fd, int64_t offset, uint64_t count)
{
	const struct file *file = fd_file(t, fd);

	if (!file)
		return -EBADF;
	return file->regular ? 0 : -EINVAL;	/* only advice */
}

int64_t sys_fadvise64(struct task *t, int fd, int64_t offset, uint64_t len, int advice)
{
	return fd_host(t, fd) < 0 ? -EBADF : 0;
}
