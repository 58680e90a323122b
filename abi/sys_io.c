/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_io.c - bytes in and out: read(2), write(2) and kin, ioctl, fcntl, and what is done to whole files.
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
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <termios.h>
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
	int64_t n = dir == OUT ? rlimit_write(t, file, len, offset) : (int64_t)len;

	if (n < 0)
		return n;
	len = (size_t)n;
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

/* --- descriptors' properties --- */

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
		return err == EINTR ? -ERESTARTSYS : -err;
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
		n = fcntl(fd, F_SETFL, (int)a[2] & (O_APPEND | O_NONBLOCK | O_NOATIME));
		return n < 0 ? -errno : n;
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
		return file_lock(t, fd, (int)a[1], a[2]);
	case F_ADD_SEALS:
		return filemap_add_seals(fd_file(t, a[0]), (unsigned)a[2]);
	case F_GET_SEALS:
	case F_SETPIPE_SZ:
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
	char buf[64];

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
		if (ioctl(fd, known[i].request, buf))
			return -errno;
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
	return n == 0 ? 0 : err == EINTR ? -ERESTARTSYS : -err;
}

SYSCALL(fsync)
{
	const struct file *file = fd_file(t, a[0]);

	return file ? filemap_fsync(file, false) : -EBADF;
}

SYSCALL(fdatasync)
{
	const struct file *file = fd_file(t, a[0]);

	return file ? filemap_fsync(file, true) : -EBADF;
}

SYSCALL(sync)
{
	(void)t, (void)a;
	filemap_sync_all();
	sync();
	return 0;
}

SYSCALL(syncfs)
{
	int fd = fd_host(t, a[0]);

	if (fd < 0)
		return fd;
	filemap_sync_all();
	return syncfs(fd) ? -errno : 0;
}

SYSCALL(ftruncate)
{
	const struct file *file = fd_file(t, a[0]);
	int err = file ? rlimit_size(t, file, (off_t)a[1]) : -EBADF;

	return err ? err : filemap_truncate(file, (off_t)a[1]);
}

SYSCALL(fallocate)
{
	const struct file *file = fd_file(t, a[0]);
	int err = 0;

	if (!file)
		return -EBADF;
	if (!(a[1] & (FALLOC_FL_KEEP_SIZE | FALLOC_FL_COLLAPSE_RANGE)) && (int64_t)a[2] >= 0 && (int64_t)a[3] > 0)
		err = rlimit_size(t, file, a[2] > INT64_MAX - a[3] ? INT64_MAX : (int64_t)(a[2] + a[3]));
	return err ? err : filemap_fallocate(file, (int)a[1], (off_t)a[2], (off_t)a[3]);
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
