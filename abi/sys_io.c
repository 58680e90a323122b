/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_io.c - bytes in and out: read(2), write(2) and kin, and from file to file.
 *
 * Bytes go through a buffer of the host: what the program passes is copied once, and only what
 * arrived is stored (and so dirties its pages). Nothing of the program is held while the host call
 * blocks.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "abi/filemap.h"

#define CHUNK		(128u << 10)
#define MAX_IO		0x7ffff000ull	/* what one call moves at most, as in Linux */

/* A host call that may block: without a CPU, and within reach of a kick. */
void block_begin(struct task *t)
{
	cpu_release(t);
	__atomic_store_n(&t->in_host, true, __ATOMIC_SEQ_CST);
}

void block_end(struct task *t)
{
	__atomic_store_n(&t->in_host, false, __ATOMIC_SEQ_CST);
}

enum direction { IN, OUT };

/* Of anything but a regular file. */
static int64_t blocking_io(struct task *t, int fd, void *buf, size_t len, int64_t offset, enum direction dir)
{
	ssize_t n = -1;
	int err = EINTR;

	block_begin(t);
	if (!signal_pending(t)) {
		if (offset >= 0)
			n = dir == IN ? pread(fd, buf, len, offset) : pwrite(fd, buf, len, offset);
		else
			n = dir == IN ? read(fd, buf, len) : write(fd, buf, len);
		err = errno;
	}
	block_end(t);
	return n >= 0 ? n : -err;
}

/*
 * One host call. Return: bytes, or negative errno (-ERESTARTSYS for a signal). Regular files never keep
 * us waiting long; all else may.
 */
static int64_t host_io(struct task *t, const struct file *file, void *buf, size_t len, int64_t offset,
		       enum direction dir)
{
	int64_t n;

	if (!file->regular)
		n = blocking_io(t, file->fd, buf, len, offset, dir);
	else
		n = dir == IN ? filemap_read(file, buf, len, offset) : filemap_write(file, buf, len, offset);
	return n == -EINTR ? -ERESTARTSYS : n;
}

/* The signal that goes with an error of write(2). */
static void write_failed(struct task *t, int64_t error)
{
	struct sig_info info = { .signo = error == -EPIPE ? SIGPIPE : SIGXFSZ, .code = SI_USER,
				 .pid = t->pid };

	if (error != -EPIPE && error != -EFBIG)
		return;
	pthread_mutex_lock(&t->kernel->lock);
	signal_send(t->kernel, t, &info);
	pthread_mutex_unlock(&t->kernel->lock);
}

/* A list of stretches of the program's memory, and how far it has been worked through. */
struct user_vector {
	const struct iovec *iov;
	size_t nr;
	size_t offset;		/* in iov[0] */
};

/* Copy between @buf and the vector's next @len bytes. Return: how many; less where memory is bad. */
static uint64_t copy_vector(struct task *t, struct user_vector *v, char *buf, uint64_t len, enum direction dir)
{
	uint64_t total = 0;

	while (len && v->nr) {
		uint64_t left = v->iov->iov_len - v->offset, n = left < len ? left : len, done;
		uint64_t addr = (uint64_t)v->iov->iov_base + v->offset;

		if (dir == IN)
			done = user_write_some(t, addr, buf, n);
		else
			done = user_read_some(t, buf, addr, n);
		total += done;
		buf += done;
		len -= done;
		v->offset += done;
		if (done < n)
			break;
		if (v->offset == v->iov->iov_len) {
			v->iov++;
			v->nr--;
			v->offset = 0;
		}
	}
	return total;
}

/* One host call's worth. */
static int64_t move_chunk(struct task *t, const struct file *file, char *buf, struct user_vector *v, size_t len,
			  int64_t offset, enum direction dir)
{
	int64_t n;

	if (dir == IN) {
		n = host_io(t, file, buf, len, offset, IN);
		if (n > 0) {
			uint64_t stored = copy_vector(t, v, buf, (uint64_t)n, IN);

			return stored ? (int64_t)stored : -EFAULT;
		}
		return n;
	}
	len = copy_vector(t, v, buf, len, OUT);
	if (!len)
		return -EFAULT;
	n = host_io(t, file, buf, len, offset, OUT);
	write_failed(t, n);
	return n;
}

/* A second read of a pipe or terminal could wait for what never comes; not so of /dev/zero. */
static bool is_endless(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && major(st.st_rdev) == 1;
}

static int64_t move_vector(struct task *t, const struct file *file, struct user_vector *v, uint64_t len,
			   int64_t offset, enum direction dir)
{
	size_t size = len < CHUNK ? len : CHUNK;
	int64_t done = 0, n = 0;
	bool again = file->regular || dir == OUT || is_endless(file->fd);
	char *buf;

	if (!len)
		return host_io(t, file, NULL, 0, offset, dir);
	buf = malloc(size);
	if (!buf)
		return -ENOMEM;
	do {
		size_t want = len - (uint64_t)done < size ? len - (uint64_t)done : size;

		n = move_chunk(t, file, buf, v, want, offset < 0 ? -1 : offset + done, dir);
		if (n > 0)
			done += n;
		if (n < (int64_t)want)
			break;
	} while (again && (uint64_t)done < len);
	free(buf);
	return done ? done : n;
}

static int64_t move_bytes(struct task *t, uint64_t fd, uint64_t addr, uint64_t len, int64_t offset,
			  enum direction dir)
{
	struct iovec iov = { (void *)addr, len < MAX_IO ? len : MAX_IO };
	struct user_vector v = { .iov = &iov, .nr = 1 };
	const struct file *file = fd_file(t, fd);

	if (!file)
		return -EBADF;
	if (addr >= VELLUM_TASK_SIZE || len > VELLUM_TASK_SIZE - addr)
		return -EFAULT;
	return move_vector(t, file, &v, iov.iov_len, offset, dir);
}

SYSCALL(read)
{
	return move_bytes(t, a[0], a[1], a[2], -1, IN);
}

SYSCALL(write)
{
	return move_bytes(t, a[0], a[1], a[2], -1, OUT);
}

SYSCALL(pread64)
{
	return (int64_t)a[3] < 0 ? -EINVAL : move_bytes(t, a[0], a[1], a[2], (int64_t)a[3], IN);
}

SYSCALL(pwrite64)
{
	return (int64_t)a[3] < 0 ? -EINVAL : move_bytes(t, a[0], a[1], a[2], (int64_t)a[3], OUT);
}

static int64_t vector_call(struct task *t, const uint64_t a[6], int64_t offset, enum direction dir)
{
	const struct file *file = fd_file(t, a[0]);
	struct iovec iov[IOV_MAX];
	struct user_vector v = { .iov = iov, .nr = a[2] };
	uint64_t len = 0;

	if (a[2] > IOV_MAX)
		return -EINVAL;
	if (!file)
		return -EBADF;
	if (user_read(t, iov, a[1], a[2] * sizeof(iov[0])))
		return -EFAULT;
	for (uint64_t i = 0; i < a[2]; i++) {
		if (iov[i].iov_len > INT64_MAX - len)
			return -EINVAL;
		len += iov[i].iov_len;
	}
	return move_vector(t, file, &v, len < MAX_IO ? len : MAX_IO, offset, dir);
}

SYSCALL(readv)
{
	return vector_call(t, a, -1, IN);
}

SYSCALL(writev)
{
	return vector_call(t, a, -1, OUT);
}

SYSCALL(preadv)
{
	return (int64_t)a[3] < 0 ? -EINVAL : vector_call(t, a, (int64_t)a[3], IN);
}

SYSCALL(pwritev)
{
	return (int64_t)a[3] < 0 ? -EINVAL : vector_call(t, a, (int64_t)a[3], OUT);
}

SYSCALL(lseek)
{
	int fd = fd_host(t, a[0]);
	off_t at = fd < 0 ? -1 : lseek(fd, (off_t)a[1], (int)a[2]);

	return fd < 0 ? fd : at < 0 ? -errno : at;
}

/* --- from file to file --- */

/* Through a buffer: either file may be mapped. @*in_at, @*out_at: -1 is the file's own position. */
static int64_t copy_between(struct task *t, const struct file *in, int64_t *in_at, const struct file *out,
			    int64_t *out_at, size_t len)
{
	char *buf = malloc(len);
	int64_t n, done;

	if (!buf)
		return -ENOMEM;
	n = host_io(t, in, buf, len, *in_at, IN);
	done = n > 0 ? host_io(t, out, buf, (size_t)n, *out_at, OUT) : n;
	free(buf);
	if (n > 0)
		write_failed(t, done);
	if (n > 0 && *in_at < 0 && done < n)	/* what was read and not written is still to come */
		lseek(in->fd, (done > 0 ? done : 0) - n, SEEK_CUR);
	if (*in_at >= 0 && done > 0)
		*in_at += done;
	if (*out_at >= 0 && done > 0)
		*out_at += done;
	return done;
}

/* A file position that is passed by pointer; NULL: -1. */
static int read_position(struct task *t, uint64_t addr, int64_t *at)
{
	*at = -1;
	if (!addr)
		return 0;
	if (user_read(t, at, addr, sizeof(*at)))
		return -EFAULT;
	return *at < 0 ? -EINVAL : 0;
}

SYSCALL(sendfile)
{
	const struct file *out = fd_file(t, a[0]), *in = fd_file(t, a[1]);
	int64_t in_at, out_at = -1, n;
	int err;

	if (!out || !in)
		return -EBADF;
	err = read_position(t, a[2], &in_at);
	if (err)
		return err;
	if (!in->regular)		/* what can be mapped; a pipe cannot be read from twice */
		return -EINVAL;
	n = copy_between(t, in, &in_at, out, &out_at, a[3] < CHUNK ? a[3] : CHUNK);
	if (n >= 0 && a[2] && user_write(t, a[2], &in_at, sizeof(in_at)))
		return -EFAULT;
	return n;
}

SYSCALL(copy_file_range)
{
	const struct file *in = fd_file(t, a[0]), *out = fd_file(t, a[2]);
	int64_t in_at, out_at, n;
	int err;

	if (!in || !out)
		return -EBADF;
	if (a[5] || !in->regular || !out->regular)
		return -EINVAL;
	if (fcntl(out->fd, F_GETFL) & O_APPEND)
		return -EBADF;
	err = read_position(t, a[1], &in_at);
	if (!err)
		err = read_position(t, a[3], &out_at);
	if (err)
		return err;
	n = copy_between(t, in, &in_at, out, &out_at, a[4] < CHUNK ? a[4] : CHUNK);
	if (n >= 0 && ((a[1] && user_write(t, a[1], &in_at, sizeof(in_at))) ||
		       (a[3] && user_write(t, a[3], &out_at, sizeof(out_at)))))
		return -EFAULT;
	return n;
}
