/* SPDX-License-Identifier: MIT */
/* abi/fd.c - descriptor tables: each descriptor of a process refers to a descriptor of the host. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/magic.h>
#include <linux/major.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "abi/async.h"
#include "abi/filemap.h"
#include "abi/memfd.h"
#include "abi/proc.h"
#include "abi/tty.h"

#include "syscalls.h"	/* made from syscall.tbl */

/* A file system whose calls do not wait for a server or another process. */
static bool is_local(int host_fd)
{
	static const long local[] = { EXT4_SUPER_MAGIC, TMPFS_MAGIC, OVERLAYFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
				      F2FS_SUPER_MAGIC, SQUASHFS_MAGIC, ISOFS_SUPER_MAGIC, RAMFS_MAGIC, XFS_SUPER_MAGIC,
				      HUGETLBFS_MAGIC };
	struct statfs fs;

	if (fstatfs(host_fd, &fs))
		return false;
	for (size_t i = 0; i < sizeof(local) / sizeof(local[0]); i++)
		if ((long)fs.f_type == local[i])
			return true;
	return false;
}

void file_update_flags(struct file *file)
{
	int flags = fcntl(file->fd, F_GETFL);
	struct stat st;

	file->direct = flags >= 0 && (flags & O_DIRECT) && fstat(file->fd, &st) == 0 &&
		       (S_ISREG(st.st_mode) || S_ISBLK(st.st_mode));
}

struct file *file_open(struct kernel *k, int host_fd)
{
	struct file *file = NULL;
	struct stat st;
	int err = ENFILE;

	if (hostfd_reserve(1)) {
		file = calloc(1, sizeof(*file));
		err = ENOMEM;
		if (!file)
			hostfd_release(1);
	}
	if (!file) {
		close(host_fd);
		errno = err;
		return NULL;
	}
	file->kernel = k;
	file->refs = 1;
	file->fd = host_fd;
	file->may_block = true;
	if (fstat(host_fd, &st) == 0) {
		file->regular = S_ISREG(st.st_mode);
		file->may_block = !file->regular || !is_local(host_fd);
		file->dev = st.st_dev;
		file->ino = st.st_ino;
		if (S_ISCHR(st.st_mode) && major(st.st_rdev) != MEM_MAJOR)
			file->terminal = tty_type(host_fd);
		file->memfd = memfd_get(filemaps_memfds(k->filemaps), st.st_dev, st.st_ino);
		file->proc = proc_file_attach(k, host_fd, &st);
		file->may_block |= file->proc != NULL;
	}
	file_update_flags(file);
	return file;
}

void file_get(struct file *file)
{
	__atomic_fetch_add(&file->refs, 1, __ATOMIC_RELAXED);
}

void file_put(struct file *file)
{
	if (__atomic_sub_fetch(&file->refs, 1, __ATOMIC_ACQ_REL) == 0) {
		epoll_forget(file);
		async_forget(file);
		pidfd_put(file->pidfd);
		uffd_put(file->uffd);
		if (file->terminal == PTY_MASTER)
			tty_close_master(file);
		else
			close(file->fd);
		memfd_put(file->memfd);
		proc_file_free(file->proc);
		free(file->unread);
		hostfd_release(1);
		free(file);
	}
}

/* --- bytes that the next read(2) returns first --- */

struct unread {
	size_t len;
	char bytes[];
};

/* The new bytes come before older ones. They are lost if there is no memory. */
void file_put_unread(struct file *file, const void *bytes, size_t len)
{
	struct unread *old, *u;

	pthread_mutex_lock(&file->kernel->unread_lock);
	old = file->unread;
	u = malloc(sizeof(*u) + len + (old ? old->len : 0));
	if (u) {
		u->len = len + (old ? old->len : 0);
		memcpy(u->bytes, bytes, len);
		if (old)
			memcpy(u->bytes + len, old->bytes, old->len);
		__atomic_store_n(&file->unread, u, __ATOMIC_RELEASE);
		free(old);
	}
	pthread_mutex_unlock(&file->kernel->unread_lock);
}

size_t file_read_unread(struct file *file, void *bytes, size_t len)
{
	struct unread *u;
	size_t n = 0;

	if (!__atomic_load_n(&file->unread, __ATOMIC_ACQUIRE))
		return 0;
	pthread_mutex_lock(&file->kernel->unread_lock);
	u = file->unread;
	if (u) {
		n = u->len < len ? u->len : len;
		memcpy(bytes, u->bytes, n);
		u->len -= n;
		memmove(u->bytes, u->bytes + n, u->len);
		if (!u->len) {
			__atomic_store_n(&file->unread, NULL, __ATOMIC_RELEASE);
			free(u);
		}
	}
	pthread_mutex_unlock(&file->kernel->unread_lock);
	return n;
}

size_t file_nr_unread(const struct file *file)
{
	size_t n = 0;

	if (!__atomic_load_n(&file->unread, __ATOMIC_ACQUIRE))
		return 0;
	pthread_mutex_lock(&file->kernel->unread_lock);
	if (file->unread)
		n = file->unread->len;
	pthread_mutex_unlock(&file->kernel->unread_lock);
	return n;
}

/* --- the table --- */

/* RLIMIT_NOFILE is a limit of new descriptors. Greater open ones stay open. */
static int fd_limit(const struct task *t)
{
	return (int)rlimit_of(t, RLIMIT_NOFILE);
}

int fd_check_room(struct task *t, unsigned nr)
{
	struct files *files = t->files;
	unsigned numbers = 0;

	pthread_mutex_lock(&files->lock);
	for (int fd = 0; fd < fd_limit(t) && numbers < nr; fd++)
		numbers += !files->fds[fd].file;
	pthread_mutex_unlock(&files->lock);
	if (numbers < nr)
		return -EMFILE;
	if (!hostfd_reserve(nr))
		return -ENFILE;
	hostfd_release(nr);
	return 0;
}

/* Install @file at the lowest free descriptor not below @from. Consumes the reference, also on failure. */
int fd_install(struct task *t, struct file *file, int from, bool cloexec)
{
	struct files *files = t->files;

	if (!file)
		return -errno;
	pthread_mutex_lock(&files->lock);
	for (int fd = from; fd >= 0 && fd < fd_limit(t); fd++)
		if (!files->fds[fd].file) {
			files->fds[fd] = (struct fd_entry){ .file = file, .cloexec = cloexec };
			files->changed = true;
			pthread_mutex_unlock(&files->lock);
			return fd;
		}
	pthread_mutex_unlock(&files->lock);
	file_put(file);
	return -EMFILE;
}

/* Make room for another reference in t->held. */
static bool reserve_held(struct task *t)
{
	unsigned max = t->max_held ? 2 * t->max_held : 8;
	struct file **more;

	if (t->nr_held < t->max_held)
		return true;
	more = realloc(t->held, max * sizeof(*more));
	if (!more)
		return false;
	t->held = more;
	t->max_held = max;
	return true;
}

/* Called by a thread that uses @files: is it the only one? */
static bool files_are_mine(const struct files *files)
{
	return __atomic_load_n(&files->users, __ATOMIC_ACQUIRE) == 1;
}

/* A reset puts back the offset and flags of the file. */
static void note_use(struct file *file)
{
	if (!__atomic_load_n(&file->used, __ATOMIC_RELAXED))
		__atomic_store_n(&file->used, true, __ATOMIC_RELAXED);
}

struct file *files_find(struct files *files, uint64_t fd, bool *cloexec)
{
	struct file *file;

	if (fd >= MAX_FDS)
		return NULL;
	pthread_mutex_lock(&files->lock);
	file = files->fds[fd].file;
	if (file) {
		note_use(file);
		file_get(file);
	}
	if (cloexec)
		*cloexec = files->fds[fd].cloexec;
	pthread_mutex_unlock(&files->lock);
	return file;
}

/* Another thread may close the descriptor meanwhile. So the task holds a reference until the end of the system call. */
struct file *fd_file(struct task *t, uint64_t fd)
{
	struct files *files = t->files;
	struct file *file;

	if (fd >= MAX_FDS)
		return NULL;
	if (files_are_mine(files)) {
		file = files->fds[fd].file;
		if (file)
			note_use(file);
		return file;
	}
	if (!reserve_held(t))
		task_out_of_memory(t);
	file = files_find(files, fd, NULL);
	if (file)
		t->held[t->nr_held++] = file;
	return file;
}

void fds_put_held(struct task *t)
{
	while (t->nr_held)
		file_put(t->held[--t->nr_held]);
}

int fd_host(struct task *t, uint64_t fd)
{
	const struct file *file = fd_file(t, fd);

	return file ? file->fd : -EBADF;
}

/* Set a descriptor; NULL: close it. Return: what it was, for drop_file(). */
static struct file *replace_fd(struct files *files, int fd, struct file *file, bool cloexec)
{
	struct file *old;

	pthread_mutex_lock(&files->lock);
	old = files->fds[fd].file;
	files->fds[fd] = (struct fd_entry){ .file = file, .cloexec = cloexec };
	files->changed = true;
	pthread_mutex_unlock(&files->lock);
	return old;
}

/* The descriptor of @file was closed. */
static void drop_file(struct files *files, struct file *file)
{
	if (!file)
		return;
	locks_drop(files, file);
	file_put(file);
}

void fds_close_on_exec(struct task *t)
{
	struct files *files = t->files;

	for (int fd = 0; fd < MAX_FDS; fd++)
		if (files->fds[fd].cloexec)
			drop_file(files, replace_fd(files, fd, NULL, false));
}

void fds_close_all(struct files *files)
{
	for (int fd = 0; fd < MAX_FDS; fd++)
		drop_file(files, replace_fd(files, fd, NULL, false));
	locks_drop_all(files);
}

/* close(2) of some files blocks until their data is sent. */
int fd_close(struct task *t, int fd)
{
	struct file *file = (uint32_t)fd < MAX_FDS ? replace_fd(t->files, fd, NULL, false) : NULL;
	bool may_block;

	if (!file)
		return -EBADF;
	may_block = file->may_block;
	if (may_block)
		host_call_begin(t);
	drop_file(t->files, file);
	if (may_block)
		host_call_end(t);
	return 0;
}

int64_t sys_close(struct task *t, int fd)
{
	return fd_close(t, fd);
}

static int64_t dup_to(struct task *t, uint64_t from, uint64_t to, bool cloexec)
{
	struct file *file = fd_file(t, from);

	if (!file || to >= (uint64_t)fd_limit(t))
		return -EBADF;
	file_get(file);
	drop_file(t->files, replace_fd(t->files, (int)to, file, cloexec));
	return (int64_t)to;
}

int64_t fd_dup(struct task *t, uint64_t fd, int from, bool cloexec)
{
	struct file *file = fd_file(t, fd);

	if (!file)
		return -EBADF;
	if (from < 0 || from >= fd_limit(t))
		return -EINVAL;
	file_get(file);
	return fd_install(t, file, from, cloexec);
}

bool fd_cloexec(struct task *t, int fd)
{
	return t->files->fds[fd].cloexec;
}

void fd_set_cloexec(struct task *t, int fd, bool cloexec)
{
	struct files *files = t->files;

	pthread_mutex_lock(&files->lock);
	files->fds[fd].cloexec = cloexec && files->fds[fd].file;
	files->changed = true;
	pthread_mutex_unlock(&files->lock);
}

int64_t sys_dup(struct task *t, int oldfd)
{
	return fd_dup(t, oldfd, 0, false);
}

int64_t sys_dup2(struct task *t, int oldfd, int newfd)
{
	if (oldfd == newfd)
		return fd_host(t, oldfd) < 0 ? -EBADF : newfd;
	return dup_to(t, oldfd, newfd, false);
}

int64_t sys_dup3(struct task *t, int oldfd, int newfd, uint32_t flags)
{
	if (oldfd == newfd || (flags & ~(uint32_t)O_CLOEXEC))
		return -EINVAL;
	return dup_to(t, oldfd, newfd, flags & O_CLOEXEC);
}

int64_t sys_close_range(struct task *t, uint32_t first, uint32_t last, uint32_t flags)
{
	int err;

	if ((flags & ~(uint32_t)(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC)) || first > last)
		return -EINVAL;
	err = flags & CLOSE_RANGE_UNSHARE ? sharing_unshare(t, CLONE_FILES) : 0;
	if (err)
		return err;
	for (uint64_t fd = first; fd <= last && fd < MAX_FDS; fd++) {
		if (flags & CLOSE_RANGE_CLOEXEC)
			fd_set_cloexec(t, (int)fd, true);
		else
			sys_close(t, (int)fd);
	}
	return 0;
}
