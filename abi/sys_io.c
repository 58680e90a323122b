/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_io.c - read(2), write(2) and their variants.
 *
 * Bytes go through a buffer of the host. What the program passes is copied once. Of a read, only the bytes that arrived
 * are stored, so only their pages become dirty. No page of the program is pinned while the host call blocks.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/major.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "abi/events.h"
#include "abi/filemap.h"
#include "abi/proc.h"
#include "abi/tty.h"
#include "abi/uffd.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define CHUNK		(128u << 10)
/* For O_DIRECT it is greater: the host refuses lengths that are not multiples of the disk's blocks. */
#define DIRECT_CHUNK	(4u << 20)
#define MAX_IO		0x7ffff000ull	/* bytes of one call at most, as in Linux */

void host_call_begin(struct task *t)
{
	cpu_release(t);
	__atomic_store_n(&t->in_host, true, __ATOMIC_SEQ_CST);
}

void host_call_end(struct task *t)
{
	__atomic_store_n(&t->in_host, false, __ATOMIC_SEQ_CST);
}

void signal_self(struct task *t, int signo)
{
	const struct sig_info info = { .signo = signo, .code = SI_USER, .pid = t->process->pid, .uid = (int)getuid() };

	pthread_mutex_lock(&t->kernel->lock);
	signal_send_task(t, &info);
	pthread_mutex_unlock(&t->kernel->lock);
}

static int64_t proc_io(struct task *t, const struct file *file, const struct bounce *b, size_t len, int64_t offset,
		       enum direction dir)
{
	return dir == IN ? proc_file_read(t, file, b->bytes, len, offset) : proc_file_write(t, file, b->bytes, len, offset);
}

/* The CPU is kept for files of a disk, which do not block for long. */
int64_t file_io(struct task *t, const struct file *file, struct bounce *b, size_t len, int64_t offset,
		enum direction dir)
{
	int64_t n = dir == OUT ? rlimit_clip_write(t, file, len, offset) : (int64_t)len, err = 0;

	if (n >= 0 && file->terminal == TERMINAL)
		err = dir == IN ? tty_check_read(t, file) : tty_check_write(t, file);
	if (n < 0 || err)
		return n < 0 ? n : err;
	if ((size_t)n < len)
		bounce_shorten(b, (size_t)n);
	len = (size_t)n;
	n = -EINTR;
	if (file->may_block)
		host_call_begin(t);
	if (!file->may_block || !signal_pending(t))
		n = file->proc ? proc_io(t, file, b, len, offset, dir) : dir == IN ? filemap_read(file, b, offset) :
			filemap_write(file, b, len, offset);
	if (file->may_block)
		host_call_end(t);
	usage_count_io(t, dir == OUT, n);
	if (file->is_stdout && dir == OUT && n > 0)
		__atomic_store_n(&t->kernel->result->wrote_stdout, true, __ATOMIC_RELAXED);
	return n == -EINTR ? -ERESTARTSYS : n;
}

/* False: a socket of messages. Linux discards what does not fit, and sends no SIGPIPE. */
static bool is_stream(int fd)
{
	socklen_t len = sizeof(int);
	int type;

	return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) || type == SOCK_STREAM;
}

void signal_write_error(struct task *t, const struct file *file, int64_t error, bool first)
{
	if (error == -EPIPE && is_stream(file->fd))
		signal_self(t, SIGPIPE);
	else if (error == -EFBIG && first && rlimit_of(t, RLIMIT_FSIZE) != RLIM_INFINITY)
		signal_self(t, SIGXFSZ);
}

/* --- reading --- */

/* The next read must return bytes that were read and not stored. */
static void push_back(struct file *file, const char *bytes, size_t len, int64_t offset)
{
	if (offset < 0 && lseek(file->fd, -(off_t)len, SEEK_CUR) < 0 && is_stream(file->fd))
		file_put_unread(file, bytes, len);
}

/*
 * The host's kernel may have stored more bytes than it returned, if the rest of the buffer was inaccessible. Store
 * these, too. @before: the @accessible bytes of the program's memory before the call.
 */
static void store_uncounted(struct task *t, struct bounce *b, struct user_vector v, const char *before,
			    size_t accessible, size_t counted)
{
	char *after = malloc(accessible);
	size_t first = counted, end = accessible;

	if (!after)
		return;
	bounce_gather(b, after, accessible);
	while (first < end && after[first] == before[first])
		first++;
	while (end > first && after[end - 1] == before[end - 1])
		end--;
	vector_skip(&v, first);
	vector_store(t, &v, after + first, end - first);
	free(after);
}

/* Read into memory of which only the first @accessible bytes are writable. */
static int64_t read_into_part(struct task *t, struct file *file, struct bounce *b, const struct user_vector *v,
			      size_t len, size_t accessible, int64_t offset)
{
	struct user_vector at = *v;
	char *before = malloc(accessible + 1);
	int64_t n = -ENOMEM;

	if (before && bounce_mirror(b, v, len, accessible) == 0) {
		vector_load(t, &at, b->bytes, accessible);
		memcpy(before, b->bytes, accessible);
		bounce_scatter(b, accessible);
		n = file_io(t, file, b, len, offset, IN);
		if (n != -ERESTARTSYS)
			store_uncounted(t, b, *v, before, accessible, n > 0 ? (size_t)n : 0);
	}
	free(before);
	return n;
}

/* One host call: at most @len bytes. */
static int64_t read_chunk(struct task *t, struct file *file, struct bounce *b, struct user_vector *v, size_t len,
			  int64_t offset)
{
	size_t accessible = vector_storable(t, v, len), stored;
	int64_t n = (int64_t)file_read_unread(file, b->bytes, accessible);

	if (n == 0 && !accessible && file_nr_unread(file))
		return -EFAULT;		/* a host call would wait for more bytes */
	if (n == 0) {
		if (file->proc && accessible) {	/* Vellum fills the buffer itself */
			bounce_plain(b, accessible);
			n = file_io(t, file, b, accessible, offset, IN);
		} else if (accessible < len) {
			n = read_into_part(t, file, b, v, len, accessible, offset);
		} else if (!file->direct) {
			bounce_plain(b, len);
			n = file_io(t, file, b, len, offset, IN);
		} else {
			n = bounce_mirror(b, v, len, len);
			n = n ? n : file_io(t, file, b, len, offset, IN);
		}
	}
	if (n <= 0)
		return n;
	stored = vector_store(t, v, b->bytes, (size_t)n);
	if (stored < (size_t)n)
		push_back(file, b->bytes + stored, (size_t)n - stored, offset);
	return stored ? (int64_t)stored : -EFAULT;
}

/* --- writing --- */

/* @b->bytes to the master of a pseudoterminal, in parts that end with control characters. */
static int64_t write_master(struct task *t, struct file *file, struct bounce *b, size_t len, int64_t offset)
{
	char *bytes = b->bytes;
	int64_t done = 0, n = 0;
	size_t part;

	do {
		part = tty_input_part(file, bytes + done, len - (size_t)done);
		b->bytes = bytes + done;
		bounce_plain(b, part);
		n = file_io(t, file, b, part, offset, OUT);
		if (n > 0) {
			tty_input(t, file, bytes + done, (size_t)n);
			done += n;
		}
	} while (n == (int64_t)part && (size_t)done < len);
	b->bytes = bytes;
	return done ? done : n;
}

static int64_t write_chunk(struct task *t, struct file *file, struct bounce *b, struct user_vector *v, size_t len,
			   int64_t offset)
{
	struct user_vector start = *v;
	size_t accessible = vector_load(t, v, b->bytes, len);
	int64_t n;

	if (file->proc && accessible < len)
		return -EFAULT;
	if (accessible == len && file->terminal == PTY_MASTER)
		return write_master(t, file, b, len, offset);
	if (accessible == len && !file->direct) {
		bounce_plain(b, len);
	} else {
		if (bounce_mirror(b, &start, len, accessible))
			return -ENOMEM;
		bounce_scatter(b, accessible);
	}
	n = file_io(t, file, b, len, offset, OUT);
	if (n > 0 && file->terminal == PTY_MASTER)
		tty_input(t, file, b->bytes, (size_t)n);
	return n;
}

/* --- the calls --- */

/* True: a second host call does not block. For a pipe or terminal it might, though the first one returned bytes. */
static bool can_read_on(const struct file *file)
{
	struct stat st;

	if (!file->may_block)
		return true;
	return fstat(file->fd, &st) == 0 && ((S_ISREG(st.st_mode) && st.st_size > 0) ||
					     (S_ISCHR(st.st_mode) && major(st.st_rdev) == MEM_MAJOR));
}

static int64_t transfer_vector(struct task *t, struct file *file, struct user_vector *v, uint64_t len, int64_t offset,
			       enum direction dir, int flags)
{
	size_t most = file->direct ? DIRECT_CHUNK : CHUNK, size = len < most ? len : most;
	bool again = len > size && (dir == OUT || can_read_on(file));
	int64_t done = 0, n = 0;
	struct bounce b;

	if (file->is_signalfd && dir == IN && offset < 0)
		return signalfd_read(t, file, v, len);
	if (file->uffd)
		return uffd_read(t, file, v, len);
	if (offset >= 0 && len > (uint64_t)(INT64_MAX - offset))	/* ESPIPE comes first */
		return lseek(file->fd, 0, SEEK_CUR) < 0 ? -errno : -EINVAL;
	if (bounce_init(&b, size))
		return -ENOMEM;
	b.flags = flags;
	do {
		size_t want = len - (uint64_t)done < size ? len - (uint64_t)done : size;
		int64_t at = offset < 0 ? -1 : offset + done;

		n = dir == IN ? read_chunk(t, file, &b, v, want, at) : write_chunk(t, file, &b, v, want, at);
		if (n > 0)
			done += n;
		if (n < (int64_t)want)
			break;
	} while (again && (uint64_t)done < len);
	bounce_fini(&b);
	if (dir == OUT)
		signal_write_error(t, file, n, done == 0);
	return done ? done : n;
}

/* For a length of 0: the host call checks the descriptor. */
static int64_t transfer_nothing(struct task *t, const struct file *file, int64_t offset, enum direction dir,
				int flags)
{
	struct bounce b = { .nr = 1, .flags = flags };

	if (file->uffd)
		return -EINVAL;
	b.iov = &b.plain;
	return file_io(t, file, &b, 0, offset, dir);
}

/* @error: of a bad address or length. EBADF comes first. */
static int64_t argument_error(const struct file *file, enum direction dir, int64_t error)
{
	int flags = fcntl(file->fd, F_GETFL), mode = flags & O_ACCMODE;

	return (flags & O_PATH) || (dir == IN ? mode == O_WRONLY : mode == O_RDONLY) ? -EBADF : error;
}

static bool is_user_range(uint64_t addr, uint64_t len)
{
	return addr <= VELLUM_TASK_SIZE && len <= VELLUM_TASK_SIZE - addr;
}

static int64_t transfer_bytes(struct task *t, uint64_t fd, uint64_t addr, uint64_t len, int64_t offset,
			      enum direction dir)
{
	struct iovec iov = { (void *)addr, len < MAX_IO ? len : MAX_IO };
	struct user_vector v = { .iov = &iov, .nr = 1 };
	struct file *file = fd_file(t, fd);

	if (!file)
		return -EBADF;
	if (file->pidfd)
		return -EINVAL;
	if (file->uffd && (dir == OUT || offset >= 0))
		return dir == OUT ? -EBADF : -ESPIPE;
	if (!is_user_range(addr, len))
		return argument_error(file, dir, -EFAULT);
	return len ? transfer_vector(t, file, &v, iov.iov_len, offset, dir, 0) :
		     transfer_nothing(t, file, offset, dir, 0);
}

int64_t sys_read(struct task *t, int fd, uint64_t buf, uint64_t count)
{
	return transfer_bytes(t, fd, buf, count, -1, IN);
}

int64_t sys_write(struct task *t, int fd, uint64_t buf, uint64_t count)
{
	return transfer_bytes(t, fd, buf, count, -1, OUT);
}

int64_t sys_pread64(struct task *t, int fd, uint64_t buf, uint64_t count, int64_t offset)
{
	return offset < 0 ? -EINVAL : transfer_bytes(t, fd, buf, count, offset, IN);
}

int64_t sys_pwrite64(struct task *t, int fd, uint64_t buf, uint64_t count, int64_t offset)
{
	return offset < 0 ? -EINVAL : transfer_bytes(t, fd, buf, count, offset, OUT);
}

int user_vector_read(struct task *t, struct iovec *iov, uint64_t addr, uint64_t nr, uint64_t *len)
{
	*len = 0;
	if (nr > IOV_MAX)
		return -EINVAL;
	if (user_read(t, iov, addr, nr * sizeof(iov[0])))
		return -EFAULT;
	for (uint64_t i = 0; i < nr; i++)
		if ((int64_t)iov[i].iov_len < 0)
			return -EINVAL;
	for (uint64_t i = 0; i < nr; i++) {
		if (!is_user_range((uint64_t)iov[i].iov_base, iov[i].iov_len))
			return -EFAULT;
		if (iov[i].iov_len > MAX_IO - *len)
			iov[i].iov_len = MAX_IO - *len;
		*len += iov[i].iov_len;
	}
	return 0;
}

static int64_t vector_call(struct task *t, int fd, uint64_t addr, uint64_t nr, int64_t offset, enum direction dir,
			   int flags)
{
	struct file *file = fd_file(t, fd);
	struct iovec iov[IOV_MAX];
	struct user_vector v = { .iov = iov, .nr = nr };
	uint64_t len;
	int err;

	if (!file)
		return -EBADF;
	if (file->pidfd)
		return -EINVAL;
	if (file->uffd && (dir == OUT || offset >= 0))
		return dir == OUT ? -EBADF : -ESPIPE;
	err = user_vector_read(t, iov, addr, nr, &len);
	if (err)
		return argument_error(file, dir, err);
	return len ? transfer_vector(t, file, &v, len, offset, dir, flags) :
		     transfer_nothing(t, file, offset, dir, flags);
}

int64_t sys_readv(struct task *t, int fd, uint64_t iov, uint64_t iovcnt)
{
	return vector_call(t, fd, iov, iovcnt, -1, IN, 0);
}

int64_t sys_writev(struct task *t, int fd, uint64_t iov, uint64_t iovcnt)
{
	return vector_call(t, fd, iov, iovcnt, -1, OUT, 0);
}

int64_t sys_preadv(struct task *t, int fd, uint64_t iov, uint64_t iovcnt, int64_t offset, int64_t offset_high)
{
	return offset < 0 ? -EINVAL : vector_call(t, fd, iov, iovcnt, offset, IN, 0);
}

int64_t sys_pwritev(struct task *t, int fd, uint64_t iov, uint64_t iovcnt, int64_t offset,
		    int64_t offset_high)
{
	return offset < 0 ? -EINVAL : vector_call(t, fd, iov, iovcnt, offset, OUT, 0);
}

/*
 * preadv2(2), pwritev2(2). RWF_APPEND and the flags that are not here fail as on a file system without them, and callers
 * have a way without them.
 */
static int64_t flagged_call(struct task *t, int fd, uint64_t iov, uint64_t iovcnt, int64_t offset, uint32_t flags,
			    enum direction dir)
{
	const uint32_t known = RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT;

	if (offset < -1)
		return -EINVAL;
	return flags & ~known ? -EOPNOTSUPP : vector_call(t, fd, iov, iovcnt, offset, dir, (int)flags);
}

int64_t sys_preadv2(struct task *t, int fd, uint64_t iov, uint64_t iovcnt, int64_t offset, int64_t offset_high,
		    uint32_t flags)
{
	return flagged_call(t, fd, iov, iovcnt, offset, flags, IN);
}

int64_t sys_pwritev2(struct task *t, int fd, uint64_t iov, uint64_t iovcnt, int64_t offset, int64_t offset_high,
		     uint32_t flags)
{
	return flagged_call(t, fd, iov, iovcnt, offset, flags, OUT);
}

int64_t sys_lseek(struct task *t, int fd, int64_t offset, int whence)
{
	const struct file *file = fd_file(t, fd);
	off_t at;

	if (!file)
		return -EBADF;
	if (file->proc && proc_file_is_dir(file->proc))
		return proc_file_seek(file, offset, whence);
	if (whence == SEEK_DATA || whence == SEEK_HOLE)
		filemap_writeback(file);	/* an error: the hole is still there */
	at = lseek(file->fd, offset, whence);
	return at < 0 ? -errno : at;
}
