/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_fs.c - names in the file system: open(2), stat(2), and what creates, links and removes.
 * With the caller's rights, from the program's own directory and with its own umask.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/path.h"

#define NO_ERRNO(expr) ((expr) ? -errno : 0)

static int64_t do_open(struct task *t, int64_t dirfd, uint64_t addr, int flags, mode_t mode)
{
	struct host_path hp;
	int err = path_get(t, dirfd, addr, &hp), fd;

	if (err)
		return err;
	if (!hp.path[0])
		return -ENOENT;
	cpu_release(t);		/* a FIFO waits for its other end */
	__atomic_store_n(&t->in_host, true, __ATOMIC_SEQ_CST);
	fd = signal_pending(t) ? -1 :
				 openat(hp.dir, hp.path, flags | O_CLOEXEC | O_NOCTTY, mode & ~t->umask);
	err = fd < 0 && signal_pending(t) ? EINTR : errno;
	__atomic_store_n(&t->in_host, false, __ATOMIC_SEQ_CST);
	if (fd < 0)
		return err == EINTR ? -ERESTARTSYS : -err;
	err = path_check_opened(fd);
	if (err) {
		close(fd);
		return err;
	}
	return fd_install(t, file_open(fd), 0, flags & O_CLOEXEC);
}

SYSCALL(open)
{
	return do_open(t, AT_FDCWD, a[0], (int)a[1], (mode_t)a[2]);
}

SYSCALL(openat)
{
	return do_open(t, (int)a[0], a[1], (int)a[2], (mode_t)a[3]);
}

SYSCALL(creat)
{
	return do_open(t, AT_FDCWD, a[0], O_CREAT | O_WRONLY | O_TRUNC, (mode_t)a[1]);
}

/* --- stat --- */

static int64_t do_stat(struct task *t, int64_t dirfd, uint64_t path, uint64_t out, int flags)
{
	struct host_path hp;
	struct stat st;
	int err = path_get(t, dirfd, path, &hp);

	if (err)
		return err;
	/* A translated link must be followed: it stands for the thing itself. */
	if (!strncmp(hp.path, "/proc/self/fd/", 14))
		flags &= ~AT_SYMLINK_NOFOLLOW;
	if (fstatat(hp.dir, hp.path, &st, flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)))
		return -errno;
	return user_write(t, out, &st, sizeof(st));
}

SYSCALL(stat)
{
	return do_stat(t, AT_FDCWD, a[0], a[1], 0);
}

SYSCALL(lstat)
{
	return do_stat(t, AT_FDCWD, a[0], a[1], AT_SYMLINK_NOFOLLOW);
}

SYSCALL(newfstatat)
{
	return do_stat(t, (int)a[0], a[1], a[2], (int)a[3]);
}

SYSCALL(fstat)
{
	int fd = fd_host(t, a[0]);
	struct stat st;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st))
		return -errno;
	return user_write(t, a[1], &st, sizeof(st));
}

SYSCALL(statx)
{
	struct host_path hp;
	struct statx stx;
	int err = path_get(t, (int)a[0], a[1], &hp);

	if (err)
		return err;
	if (statx(hp.dir, hp.path, (int)a[2], (unsigned)a[3], &stx))
		return -errno;
	return user_write(t, a[4], &stx, sizeof(stx));
}

SYSCALL(statfs)
{
	struct host_path hp;
	struct statfs fs;
	int err = path_get(t, AT_FDCWD, a[0], &hp), fd;

	if (err)
		return err;
	fd = openat(hp.dir, hp.path, O_PATH | O_CLOEXEC);
	if (fd < 0 || fstatfs(fd, &fs))
		err = -errno;
	if (fd >= 0)
		close(fd);
	return err ? err : user_write(t, a[1], &fs, sizeof(fs));
}

SYSCALL(fstatfs)
{
	int fd = fd_host(t, a[0]);
	struct statfs fs;

	if (fd < 0)
		return fd;
	return fstatfs(fd, &fs) ? -errno : user_write(t, a[1], &fs, sizeof(fs));
}

static int64_t do_access(struct task *t, int64_t dirfd, uint64_t addr, uint64_t mode, uint64_t flags)
{
	struct host_path hp;
	int err = path_get(t, dirfd, addr, &hp);

	return err ? err : NO_ERRNO(faccessat(hp.dir, hp.path, (int)mode, (int)flags));
}

SYSCALL(access)
{
	return do_access(t, AT_FDCWD, a[0], a[1], 0);
}

SYSCALL(faccessat)
{
	return do_access(t, (int)a[0], a[1], a[2], 0);
}

SYSCALL(faccessat2)
{
	return do_access(t, (int)a[0], a[1], a[2], a[3]);
}

static int64_t do_readlink(struct task *t, int64_t dirfd, uint64_t addr, uint64_t buf, uint64_t size)
{
	char link[PATH_BYTES], path[PATH_BYTES];
	struct host_path hp;
	int err = path_get(t, dirfd, addr, &hp);
	ssize_t n;

	if (err)
		return err;
	if ((int64_t)size <= 0)
		return -EINVAL;
	n = readlinkat(hp.dir, hp.path, link, sizeof(link));
	if (n < 0) {
		err = errno;
		/* /proc/self/exe was translated to the program's own path, which is no link. */
		if (err != EINVAL || user_string(t, path, sizeof(path), addr) || !strstr(path, "/exe"))
			return -err;
		n = (ssize_t)strlen(hp.path);
		memcpy(link, hp.path, (size_t)n);
	}
	if ((uint64_t)n > size)
		n = (ssize_t)size;
	return user_write(t, buf, link, (uint64_t)n) ? -EFAULT : n;
}

SYSCALL(readlink)
{
	return do_readlink(t, AT_FDCWD, a[0], a[1], a[2]);
}

SYSCALL(readlinkat)
{
	return do_readlink(t, (int)a[0], a[1], a[2], a[3]);
}

SYSCALL(getdents64)
{
	int fd = fd_host(t, a[0]);
	size_t size = a[2] < 65536 ? a[2] : 65536;
	char *buf;
	long n;

	if (fd < 0)
		return fd;
	buf = malloc(size ? size : 1);
	if (!buf)
		return -ENOMEM;
	n = syscall(SYS_getdents64, fd, buf, size);
	if (n < 0)
		n = -errno;
	else if (user_write(t, a[1], buf, (uint64_t)n))
		n = -EFAULT;
	free(buf);
	return n;
}

/* --- the current directory --- */

SYSCALL(getcwd)
{
	char link[64], path[PATH_BYTES];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", t->cwd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n < 0)
		return -errno;
	path[n++] = 0;
	if ((uint64_t)n > a[1])
		return -ERANGE;
	return user_write(t, a[0], path, (uint64_t)n) ? -EFAULT : n;
}

static int64_t enter_directory(struct task *t, int fd)
{
	if (fd < 0)
		return -errno;
	if (faccessat(fd, ".", X_OK, AT_EACCESS)) {
		int err = errno;

		close(fd);
		return -err;
	}
	close(t->cwd);
	t->cwd = fd;
	return 0;
}

SYSCALL(chdir)
{
	struct host_path hp;
	int err = path_get(t, AT_FDCWD, a[0], &hp);

	return err ? err : enter_directory(t, openat(hp.dir, hp.path, O_PATH | O_DIRECTORY | O_CLOEXEC));
}

SYSCALL(fchdir)
{
	int fd = fd_host(t, a[0]);

	return fd < 0 ? fd : enter_directory(t, openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

SYSCALL(umask)
{
	mode_t old = t->umask;

	t->umask = (mode_t)a[0] & 0777;
	return old;
}

/* --- names made and removed --- */

static int64_t do_mkdir(struct task *t, int64_t dirfd, uint64_t addr, uint64_t mode)
{
	struct host_path hp;
	int err = path_get(t, dirfd, addr, &hp);

	return err ? err : NO_ERRNO(mkdirat(hp.dir, hp.path, (mode_t)mode & ~t->umask));
}

SYSCALL(mkdir)
{
	return do_mkdir(t, AT_FDCWD, a[0], a[1]);
}

SYSCALL(mkdirat)
{
	return do_mkdir(t, (int)a[0], a[1], a[2]);
}

static int64_t do_mknod(struct task *t, int64_t dirfd, uint64_t addr, uint64_t mode, uint64_t dev)
{
	struct host_path hp;
	int err = path_get(t, dirfd, addr, &hp);

	return err ? err : NO_ERRNO(mknodat(hp.dir, hp.path, (mode_t)mode & ~t->umask, dev));
}

SYSCALL(mknod)
{
	return do_mknod(t, AT_FDCWD, a[0], a[1], a[2]);
}

SYSCALL(mknodat)
{
	return do_mknod(t, (int)a[0], a[1], a[2], a[3]);
}

static int64_t do_unlink(struct task *t, int64_t dirfd, uint64_t addr, uint64_t flags)
{
	struct host_path hp;
	int err = path_get(t, dirfd, addr, &hp);

	return err ? err : NO_ERRNO(unlinkat(hp.dir, hp.path, (int)flags));
}

SYSCALL(unlink)
{
	return do_unlink(t, AT_FDCWD, a[0], 0);
}

SYSCALL(rmdir)
{
	return do_unlink(t, AT_FDCWD, a[0], AT_REMOVEDIR);
}

SYSCALL(unlinkat)
{
	return do_unlink(t, (int)a[0], a[1], a[2]);
}

static int64_t do_rename(struct task *t, int64_t from_dir, uint64_t from, int64_t to_dir, uint64_t to,
			 uint64_t flags)
{
	struct host_path a, b;
	int err = path_get(t, from_dir, from, &a);

	if (!err)
		err = path_get(t, to_dir, to, &b);
	return err ? err : NO_ERRNO(renameat2(a.dir, a.path, b.dir, b.path, (unsigned)flags));
}

SYSCALL(rename)
{
	return do_rename(t, AT_FDCWD, a[0], AT_FDCWD, a[1], 0);
}

SYSCALL(renameat)
{
	return do_rename(t, (int)a[0], a[1], (int)a[2], a[3], 0);
}

SYSCALL(renameat2)
{
	return do_rename(t, (int)a[0], a[1], (int)a[2], a[3], a[4]);
}

static int64_t do_link(struct task *t, int64_t from_dir, uint64_t from, int64_t to_dir, uint64_t to,
		       uint64_t flags)
{
	struct host_path a, b;
	int err = path_get(t, from_dir, from, &a);

	if (!err)
		err = path_get(t, to_dir, to, &b);
	return err ? err : NO_ERRNO(linkat(a.dir, a.path, b.dir, b.path, (int)flags));
}

SYSCALL(link)
{
	return do_link(t, AT_FDCWD, a[0], AT_FDCWD, a[1], 0);
}

SYSCALL(linkat)
{
	return do_link(t, (int)a[0], a[1], (int)a[2], a[3], a[4]);
}

static int64_t do_symlink(struct task *t, uint64_t target, int64_t dirfd, uint64_t addr)
{
	char text[PATH_BYTES];
	struct host_path hp;
	int err = user_string(t, text, sizeof(text), target);

	if (!err)
		err = path_get(t, dirfd, addr, &hp);
	return err ? err : NO_ERRNO(symlinkat(text, hp.dir, hp.path));
}

SYSCALL(symlink)
{
	return do_symlink(t, a[0], AT_FDCWD, a[1]);
}

SYSCALL(symlinkat)
{
	return do_symlink(t, a[0], (int)a[1], a[2]);
}

/* --- attributes --- */

static int64_t do_chmod(struct task *t, int64_t dirfd, uint64_t addr, uint64_t mode)
{
	struct host_path hp;
	int err = path_get(t, dirfd, addr, &hp);

	return err ? err : NO_ERRNO(fchmodat(hp.dir, hp.path, (mode_t)mode, 0));
}

SYSCALL(chmod)
{
	return do_chmod(t, AT_FDCWD, a[0], a[1]);
}

SYSCALL(fchmodat)
{
	return do_chmod(t, (int)a[0], a[1], a[2]);
}

SYSCALL(fchmod)
{
	int fd = fd_host(t, a[0]);

	return fd < 0 ? fd : NO_ERRNO(fchmod(fd, (mode_t)a[1]));
}

static int64_t do_chown(struct task *t, int64_t dirfd, uint64_t addr, uint64_t uid, uint64_t gid, int flags)
{
	struct host_path hp;
	int err = path_get(t, dirfd, addr, &hp);

	return err ? err : NO_ERRNO(fchownat(hp.dir, hp.path, (uid_t)uid, (gid_t)gid, flags));
}

SYSCALL(chown)
{
	return do_chown(t, AT_FDCWD, a[0], a[1], a[2], 0);
}

SYSCALL(lchown)
{
	return do_chown(t, AT_FDCWD, a[0], a[1], a[2], AT_SYMLINK_NOFOLLOW);
}

SYSCALL(fchownat)
{
	return do_chown(t, (int)a[0], a[1], a[2], a[3], (int)a[4]);
}

SYSCALL(fchown)
{
	int fd = fd_host(t, a[0]);

	return fd < 0 ? fd : NO_ERRNO(fchown(fd, (uid_t)a[1], (gid_t)a[2]));
}

SYSCALL(utimensat)
{
	struct timespec ts[2];
	struct host_path hp;
	int err;

	if (a[2] && user_read(t, ts, a[2], sizeof(ts)))
		return -EFAULT;
	if (!a[1]) {
		int fd = fd_host(t, (uint32_t)a[0]);

		return fd < 0 ? fd : NO_ERRNO(futimens(fd, a[2] ? ts : NULL));
	}
	err = path_get(t, (int)a[0], a[1], &hp);
	return err ? err : NO_ERRNO(utimensat(hp.dir, hp.path, a[2] ? ts : NULL, (int)a[3]));
}

SYSCALL(truncate)
{
	struct host_path hp;
	int err = path_get(t, AT_FDCWD, a[0], &hp), fd;

	if (err)
		return err;
	fd = openat(hp.dir, hp.path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = NO_ERRNO(ftruncate(fd, (off_t)a[1]));
	close(fd);
	return err;
}
