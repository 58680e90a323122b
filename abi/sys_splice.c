/* SPDX-License-Identifier: MIT */
/* abi/sys_splice.c - sendfile(2), copy_file_range(2), splice(2), tee(2), vmsplice(2). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "abi/filemap.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define CHUNK	(128u << 10)	/* bytes of one call at most */

/* --- from file to file --- */

/* Copy through a buffer, as both files may be mapped. @*in_at, @*out_at: -1 is the file position. */
static int64_t copy_between(struct task *t, const struct file *in, int64_t *in_at, const struct file *out,
			    int64_t *out_at, size_t len)
{
	struct bounce b;
	int64_t n, done;

	if (bounce_init(&b, len ? len : 1))
		return -ENOMEM;
	bounce_plain(&b, len);
	n = done = file_io(t, in, &b, len, *in_at, IN);
	if (n > 0) {
		bounce_plain(&b, (size_t)n);
		done = file_io(t, out, &b, (size_t)n, *out_at, OUT);
		signal_write_error(t, out, done, true);
	}
	bounce_fini(&b);
	if (n > 0 && *in_at < 0 && done < n)	/* the next read must return what was not written */
		lseek(in->fd, (done > 0 ? done : 0) - n, SEEK_CUR);
	if (*in_at >= 0 && done > 0)
		*in_at += done;
	if (*out_at >= 0 && done > 0)
		*out_at += done;
	return done;
}

/* A file offset that is passed by pointer; NULL: -1. */
static int read_position(struct task *t, uint64_t addr, int64_t *at)
{
	*at = -1;
	if (!addr)
		return 0;
	if (user_read(t, at, addr, sizeof(*at)))
		return -EFAULT;
	return *at < 0 ? -EINVAL : 0;
}

int64_t sys_sendfile(struct task *t, int out_fd, int in_fd, uint64_t offset_ptr, uint64_t count)
{
	const struct file *out = fd_file(t, out_fd), *in = fd_file(t, in_fd);
	int64_t in_at, out_at = -1, n, more;
	size_t len = count < CHUNK ? count : CHUNK;
	int err;

	if (!out || !in || out->uffd)		/* a userfaultfd is not writable */
		return -EBADF;
	err = read_position(t, offset_ptr, &in_at);
	if (err)
		return err;
	if (!in->regular)		/* Linux requires a file that supports mmap(2) */
		return -EINVAL;
	n = copy_between(t, in, &in_at, out, &out_at, len);
	if (n > 0 && (size_t)n < len && !out->may_block) {	/* a second call gets the error, and sends its signal */
		more = copy_between(t, in, &in_at, out, &out_at, len - (size_t)n);
		n += more > 0 ? more : 0;
	}
	if (n >= 0 && offset_ptr && user_write(t, offset_ptr, &in_at, sizeof(in_at)))
		return -EFAULT;
	return n;
}

int64_t sys_copy_file_range(struct task *t, int in_fd, uint64_t in_offset, int out_fd, uint64_t out_offset,
			    uint64_t len, uint32_t flags)
{
	const struct file *in = fd_file(t, in_fd), *out = fd_file(t, out_fd);
	int64_t in_at, out_at, n;
	int err;

	if (!in || !out)
		return -EBADF;
	if (flags || !in->regular || !out->regular)
		return -EINVAL;
	if (fcntl(out->fd, F_GETFL) & O_APPEND)
		return -EBADF;
	err = read_position(t, in_offset, &in_at);
	if (!err)
		err = read_position(t, out_offset, &out_at);
	if (err)
		return err;
	n = copy_between(t, in, &in_at, out, &out_at, len < CHUNK ? len : CHUNK);
	if (n < 0)
		return n;
	err = in_offset ? user_write(t, in_offset, &in_at, sizeof(in_at)) : 0;
	if (out_offset && user_write(t, out_offset, &out_at, sizeof(out_at)))
		err = -EFAULT;
	return err ? err : n;
}

/* --- pipes --- */

#define SPLICE_FLAGS (SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT)

static bool is_pipe(const struct file *file)
{
	struct stat st;

	return fstat(file->fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

static bool may_access(const struct file *file, enum direction dir)
{
	int flags = fcntl(file->fd, F_GETFL), mode = flags & O_ACCMODE;

	return !(flags & O_PATH) && mode != (dir == IN ? O_WRONLY : O_RDONLY);
}

/* The host moves the bytes. @*at: -1 is the file position. */
static int64_t host_splice(struct task *t, const struct file *in, int64_t *in_at, const struct file *out,
			   int64_t *out_at, size_t len, unsigned flags)
{
	int64_t n;

	host_call_begin(t);
	if (in->regular)	/* what programs stored through mappings */
		filemap_writeback(in);
	n = splice(in->fd, *in_at < 0 ? NULL : in_at, out->fd, *out_at < 0 ? NULL : out_at, len, flags);
	n = n < 0 ? -errno : n;
	host_call_end(t);
	if (n == -EPIPE)
		signal_self(t, SIGPIPE);
	return n == -EINTR ? -ERESTARTSYS : n;
}

/* Take what is in the pipe now, or wait for the first bytes. Return: bytes, 0 at the end, or a negative errno. */
static int64_t read_pipe(struct task *t, struct file *in, struct bounce *b, size_t len, unsigned flags)
{
	struct pollfd ready = { .fd = in->fd, .events = POLLIN };
	int64_t n = (int64_t)file_read_unread(in, b->bytes, len);

	if (n)
		return n;
	if ((flags & SPLICE_F_NONBLOCK) && poll(&ready, 1, 0) == 0)
		return -EAGAIN;
	bounce_plain(b, len);
	return file_io(t, in, b, len, -1, IN);
}

/* From a pipe to a file that may be mapped. The next read of the pipe returns what could not be written. */
static int64_t pipe_to_file(struct task *t, struct file *in, const struct file *out, int64_t *out_at, size_t len,
			    unsigned flags)
{
	struct bounce b;
	int64_t n, done;

	if (bounce_init(&b, len))
		return -ENOMEM;
	n = done = read_pipe(t, in, &b, len, flags);
	if (n > 0) {
		bounce_plain(&b, (size_t)n);
		done = file_io(t, out, &b, (size_t)n, *out_at, OUT);
		signal_write_error(t, out, done, true);
	}
	if (n > 0 && done < n) {
		int64_t written = done > 0 ? done : 0;

		file_put_unread(in, b.bytes + written, (size_t)(n - written));
	}
	bounce_fini(&b);
	if (*out_at >= 0 && done > 0)
		*out_at += done;
	return done;
}

/* Linux checks in this order. 0 or a negative errno. */
static int check_splice(const struct file *in, uint64_t in_offset, const struct file *out, uint64_t out_offset)
{
	if (!may_access(in, IN) || !may_access(out, OUT) || out->uffd)
		return -EBADF;
	if (in->uffd || in->pidfd || out->pidfd)		/* a pipe of the host, but not for the program */
		return -EINVAL;
	if ((is_pipe(in) && in_offset) || (is_pipe(out) && out_offset))
		return -ESPIPE;
	if (!is_pipe(in) && !is_pipe(out))
		return -EINVAL;
	return !is_pipe(out) && (fcntl(out->fd, F_GETFL) & O_APPEND) ? -EINVAL : 0;
}

int64_t sys_splice(struct task *t, int in_fd, uint64_t in_offset, int out_fd, uint64_t out_offset, uint64_t len,
		   uint32_t flags)
{
	struct file *in = fd_file(t, in_fd), *out = fd_file(t, out_fd);
	int64_t in_at, out_at, n;
	int err;

	if (!len)
		return 0;
	if (flags & ~SPLICE_FLAGS)
		return -EINVAL;
	if (!in || !out)
		return -EBADF;
	err = check_splice(in, in_offset, out, out_offset);
	if (!err)
		err = read_position(t, out_offset, &out_at);
	if (!err)
		err = read_position(t, in_offset, &in_at);
	if (err)
		return err;
	if (out->regular || file_nr_unread(in))
		n = pipe_to_file(t, in, out, &out_at, len < CHUNK ? len : CHUNK, flags);
	else
		n = host_splice(t, in, &in_at, out, &out_at, len, flags);
	if (n < 0)
		return n;
	if (out_offset && user_write(t, out_offset, &out_at, sizeof(out_at)))
		return -EFAULT;
	return in_offset && user_write(t, in_offset, &in_at, sizeof(in_at)) ? -EFAULT : n;
}

int64_t sys_tee(struct task *t, int in_fd, int out_fd, uint64_t len, uint32_t flags)
{
	const struct file *in = fd_file(t, in_fd), *out = fd_file(t, out_fd);
	int64_t n;

	if (flags & ~SPLICE_FLAGS)
		return -EINVAL;
	if (!len)
		return 0;
	if (!in || !out)
		return -EBADF;
	if (in->pidfd || out->pidfd)
		return -EINVAL;
	host_call_begin(t);
	n = tee(in->fd, out->fd, len, flags);
	n = n < 0 ? -errno : n;
	host_call_end(t);
	if (n == -EPIPE)
		signal_self(t, SIGPIPE);
	return n == -EINTR ? -ERESTARTSYS : n;
}

/* --- vmsplice(2): the bytes are copied --- */

/* Write as many bytes as there is room for now. Wait for room for the first one, unless SPLICE_F_NONBLOCK is set. */
static int64_t fill_pipe(struct task *t, int fd, char *bytes, size_t len, unsigned flags)
{
	const struct iovec iov = { bytes, len };
	struct pollfd room = { .fd = fd, .events = POLLOUT };
	bool nonblock = (flags & SPLICE_F_NONBLOCK) || (fcntl(fd, F_GETFL) & O_NONBLOCK);
	ssize_t n;

	do {
		if (signal_pending(t))
			return -ERESTARTSYS;
		if (!nonblock)
			poll(&room, 1, -1);
		n = pwritev2(fd, &iov, 1, -1, RWF_NOWAIT);
	} while (n < 0 && (errno == EINTR || (errno == EAGAIN && !nonblock)));
	return n < 0 ? -errno : n;
}

static int64_t memory_to_pipe(struct task *t, const struct file *pipe, struct user_vector *v, size_t len,
			      unsigned flags)
{
	char *bytes;
	int64_t n;

	len = len < CHUNK ? len : CHUNK;
	bytes = malloc(len);
	if (!bytes)
		return -ENOMEM;
	len = vector_load(t, v, bytes, len);
	n = -EFAULT;
	if (len) {
		host_call_begin(t);
		n = fill_pipe(t, pipe->fd, bytes, len, flags);
		host_call_end(t);
	}
	free(bytes);
	if (n == -EPIPE)
		signal_self(t, SIGPIPE);
	return n;
}

int64_t sys_vmsplice(struct task *t, int fd, uint64_t iov, uint64_t iovcnt, uint32_t flags)
{
	struct file *pipe = fd_file(t, fd);
	struct pollfd ready = { .events = POLLIN };
	struct iovec vector[IOV_MAX];
	struct user_vector v = { .iov = vector, .nr = iovcnt };
	uint64_t len;
	int err;

	if (flags & ~SPLICE_FLAGS)
		return -EINVAL;
	if (!pipe || pipe->pidfd || !is_pipe(pipe))
		return -EBADF;
	err = user_vector_read(t, vector, iov, iovcnt, &len);
	if (err || !len)
		return err;
	if (may_access(pipe, OUT))
		return memory_to_pipe(t, pipe, &v, len, flags);
	if (!may_access(pipe, IN))
		return -EBADF;
	ready.fd = pipe->fd;
	if ((flags & SPLICE_F_NONBLOCK) && !file_nr_unread(pipe) && poll(&ready, 1, 0) == 0)
		return -EAGAIN;
	return sys_readv(t, fd, iov, iovcnt);
}
