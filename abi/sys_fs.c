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
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/filemap.h"
#include "abi/path.h"

#define NO_ERRNO(expr) ((expr) ? -errno : 0)

/* Opening a FIFO waits for its other end: without a CPU, and within reach of a signal. */
static int64_t do_open(struct task *t, int64_t dirfd, uint64_t addr, int flags, mode_t mode)
{
	char path[PATH_BYTES];
	int err = user_string(t, path, sizeof(path), addr), fd;
	struct file *file;

	if (err)
		return err;
	if (!path[0])
		return -ENOENT;
	err = fd_room(t, 1);	/* before the file is made or emptied */
	if (err)
		return err;
	cpu_release(t);
	__atomic_store_n(&t->in_host, true, __ATOMIC_SEQ_CST);
	fd = path_open(t, dirfd, path, flags | O_NOCTTY, mode & ~t->umask);
	__atomic_store_n(&t->in_host, false, __ATOMIC_SEQ_CST);
	if (fd < 0)
		return fd == -EINTR ? -ERESTARTSYS : fd;
	file = file_open(fd);
	if (file)
		filemap_opened(file, flags & O_TRUNC);
	return fd_install(t, file, 0, flags & O_CLOEXEC);
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
	int fd = path_object(t, dirfd, path, flags);
	struct stat st;
	int err;

	if (fd < 0)
		return fd;
	err = NO_ERRNO(fstat(fd, &st));
	close(fd);
	return err ? err : user_write(t, out, &st, sizeof(st));
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
	if (a[3] & ~(uint64_t)(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT))
		return -EINVAL;
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
	int fd = path_object(t, (int)a[0], a[1], (int)a[2]), err;
	struct statx stx;

	if (fd < 0)
		return fd;
	err = NO_ERRNO(statx(fd, "", AT_EMPTY_PATH | ((int)a[2] & AT_STATX_SYNC_TYPE), (unsigned)a[3], &stx));
	close(fd);
	return err ? err : user_write(t, a[4], &stx, sizeof(stx));
}

SYSCALL(statfs)
{
	int fd = path_object(t, AT_FDCWD, a[0], 0), err;
	struct statfs fs;

	if (fd < 0)
		return fd;
	err = NO_ERRNO(fstatfs(fd, &fs));
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

static int64_t do_access(struct task *t, int64_t dirfd, uint64_t addr, uint64_t mode, int flags)
{
	int fd = path_object(t, dirfd, addr, flags), err;
	char name[FD_NAME_BYTES];

	if (fd < 0)
		return fd;
	err = NO_ERRNO(faccessat(AT_FDCWD, path_fd_name(fd, name), (int)mode, flags & AT_EACCESS));
	close(fd);
	return err;
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
	return do_access(t, (int)a[0], a[1], a[2], (int)a[3]);
}

static int64_t do_readlink(struct task *t, int64_t dirfd, uint64_t addr, uint64_t buf, uint64_t size)
{
	char link[PATH_BYTES], path[PATH_BYTES];
	int err = user_string(t, path, sizeof(path), addr), fd;
	ssize_t n;

	if (err)
		return err;
	if ((int64_t)size <= 0)
		return -EINVAL;
	if (path_is_exe(t, path)) {
		n = snprintf(link, sizeof(link), "%s", t->gmm->exe);
	} else {
		fd = path_object(t, dirfd, addr, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH);
		if (fd < 0)
			return fd;
		n = readlinkat(fd, "", link, sizeof(link));
		err = errno == ENOENT ? EINVAL : errno;	/* not a link: what Linux says of a path */
		close(fd);
		if (n < 0)
			return -err;
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
	int err;

	if (fd < 0)
		return fd;
	err = NO_ERRNO(faccessat(fd, ".", X_OK, AT_EACCESS));
	if (err) {
		close(fd);
		return err;
	}
	close(t->cwd);
	t->cwd = fd;
	return 0;
}

SYSCALL(chdir)
{
	char path[PATH_BYTES];
	int err = user_string(t, path, sizeof(path), a[0]);

	return err ? err : enter_directory(t, path_open(t, AT_FDCWD, path, O_PATH | O_DIRECTORY, 0));
}

SYSCALL(fchdir)
{
	int fd = fd_host(t, a[0]);

	if (fd < 0)
		return fd;
	fd = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return enter_directory(t, fd < 0 ? -errno : fd);
}

SYSCALL(umask)
{
	mode_t old = t->umask;

	t->umask = (mode_t)a[0] & 0777;
	return old;
}

/* --- names made and removed: always in a directory that was opened safely --- */

static int64_t do_mkdir(struct task *t, int64_t dirfd, uint64_t addr, uint64_t mode)
{
	char name[PATH_BYTES];
	int dir = path_parent(t, dirfd, addr, name), err;

	if (dir < 0)
		return dir;
	err = NO_ERRNO(mkdirat(dir, name, (mode_t)mode & ~t->umask));
	close(dir);
	return err;
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
	char name[PATH_BYTES];
	int dir = path_parent(t, dirfd, addr, name), err;

	if (dir < 0)
		return dir;
	err = NO_ERRNO(mknodat(dir, name, (mode_t)mode & ~t->umask, dev));
	close(dir);
	return err;
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
	char name[PATH_BYTES];
	int dir = path_parent(t, dirfd, addr, name), err;

	if (dir < 0)
		return dir;
	err = NO_ERRNO(unlinkat(dir, name, (int)flags));
	close(dir);
	return err;
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
	char old[PATH_BYTES], new[PATH_BYTES];
	int a = path_parent(t, from_dir, from, old), b, err;

	if (a < 0)
		return a;
	b = path_parent(t, to_dir, to, new);
	err = b < 0 ? b : NO_ERRNO(renameat2(a, old, b, new, (unsigned)flags));
	close(a);
	if (b >= 0)
		close(b);
	return err;
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
	int follow = flags & AT_SYMLINK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW;
	int object = path_object(t, from_dir, from, follow), dir, err;
	char name[PATH_BYTES], link[FD_NAME_BYTES];

	if (object < 0)
		return object;
	dir = path_parent(t, to_dir, to, name);
	err = dir < 0 ? dir : NO_ERRNO(linkat(AT_FDCWD, path_fd_name(object, link), dir, name,
					      AT_SYMLINK_FOLLOW));
	close(object);
	if (dir >= 0)
		close(dir);
	return err;
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
	char text[PATH_BYTES], name[PATH_BYTES];
	int err = user_string(t, text, sizeof(text), target), dir;

	if (err)
		return err;
	dir = path_parent(t, dirfd, addr, name);
	if (dir < 0)
		return dir;
	err = NO_ERRNO(symlinkat(text, dir, name));
	close(dir);
	return err;
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
	int fd = path_object(t, dirfd, addr, 0), err;
	char name[FD_NAME_BYTES];

	if (fd < 0)
		return fd;
	err = NO_ERRNO(chmod(path_fd_name(fd, name), (mode_t)mode));
	close(fd);
	return err;
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
	int fd = path_object(t, dirfd, addr, flags), err;

	if (fd < 0)
		return fd;
	err = NO_ERRNO(fchownat(fd, "", (uid_t)uid, (gid_t)gid, AT_EMPTY_PATH));
	close(fd);
	return err;
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
	char name[FD_NAME_BYTES];
	int fd, err;

	if (a[2] && user_read(t, ts, a[2], sizeof(ts)))
		return -EFAULT;
	if (!a[1]) {
		fd = fd_host(t, (uint32_t)a[0]);
		return fd < 0 ? fd : NO_ERRNO(futimens(fd, a[2] ? ts : NULL));
	}
	fd = path_object(t, (int)a[0], a[1], (int)a[3]);
	if (fd < 0)
		return fd;
	if (a[3] & AT_SYMLINK_NOFOLLOW)
		err = NO_ERRNO(utimensat(fd, "", a[2] ? ts : NULL, AT_EMPTY_PATH));
	else
		err = NO_ERRNO(utimensat(AT_FDCWD, path_fd_name(fd, name), a[2] ? ts : NULL, 0));
	close(fd);
	return err;
}

SYSCALL(truncate)
{
	char path[PATH_BYTES];
	int err = user_string(t, path, sizeof(path), a[0]), fd;
	struct file *file;

	if (err)
		return err;
	fd = path_open(t, AT_FDCWD, path, O_WRONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return fd == -ENXIO ? -EINVAL : fd;
	file = file_open(fd);
	if (!file)
		return -errno;
	err = file->regular ? rlimit_size(t, file, (off_t)a[1]) : -EINVAL;
	if (!err)
		err = filemap_truncate(file, (off_t)a[1]);
	file_put(file);
	return err;
}

SYSCALL(memfd_create)
{
	char name[250];
	int err = user_string(t, name, sizeof(name), a[0]), fd;

	if (err)
		return err == -ENAMETOOLONG ? -EINVAL : err;
	if (a[1] & ~(uint64_t)(MFD_CLOEXEC | MFD_ALLOW_SEALING))
		return -EINVAL;
	err = fd_room(t, 1);
	if (err)
		return err;
	fd = memfd_create(name, (unsigned)a[1] | MFD_CLOEXEC);
	return fd < 0 ? -errno : fd_install(t, file_open(fd), 0, a[1] & MFD_CLOEXEC);
}
