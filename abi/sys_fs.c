/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_fs.c - calls on paths: stat(2), mkdir(2), link(2), unlink(2), chmod(2) and others. They use the rights of
 * Vellum, and the current directory and umask of the process.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/bounce.h"
#include "abi/kernel_fs.h"
#include "abi/path.h"
#include "abi/proc.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define MAX_DIRENT_BYTES 65536	/* of one getdents64(2) */

#define USEC_PER_SEC	1000000
#define NSEC_PER_USEC	1000
#define ERROR_OF(expr) ((expr) ? -errno : 0)

/* Linux checks flags before it looks at the path. */
static bool has_only(uint32_t flags, uint32_t known)
{
	return !(flags & ~known);
}

/* --- stat --- */

static int64_t do_stat(struct task *t, int64_t dirfd, uint64_t path, uint64_t out, int flags)
{
	int fd = path_object(t, dirfd, path, flags);
	struct stat st;
	int err;

	if (fd < 0)
		return fd;
	err = ERROR_OF(fstat(fd, &st));
	if (!err)
		proc_tree_fix_stat(t, fd, &st);
	close(fd);
	return err ? err : user_write(t, out, &st, sizeof(st));
}

int64_t sys_stat(struct task *t, uint64_t path, uint64_t buf)
{
	return do_stat(t, AT_FDCWD, path, buf, 0);
}

int64_t sys_lstat(struct task *t, uint64_t path, uint64_t buf)
{
	return do_stat(t, AT_FDCWD, path, buf, AT_SYMLINK_NOFOLLOW);
}

int64_t sys_newfstatat(struct task *t, int dirfd, uint64_t path, uint64_t buf, uint32_t flags)
{
	if (!has_only(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT))
		return -EINVAL;
	return do_stat(t, dirfd, path, buf, flags);
}

int64_t sys_fstat(struct task *t, int fd, uint64_t buf)
{
	int host_fd = fd_host(t, fd);
	struct stat st;

	if (host_fd < 0)
		return host_fd;
	if (fstat(host_fd, &st))
		return -errno;
	proc_tree_fix_stat(t, host_fd, &st);
	return user_write(t, buf, &st, sizeof(st));
}

int64_t sys_statx(struct task *t, int dirfd, uint64_t path, uint32_t flags, uint32_t mask, uint64_t buf)
{
	const uint32_t known = AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_SYNC_TYPE;
	struct statx stx;
	int fd, err;

	if (!has_only(flags, known) || (flags & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE || (mask & STATX__RESERVED))
		return -EINVAL;
	fd = path_object(t, dirfd, path, (int)flags);
	if (fd < 0)
		return fd;
	err = ERROR_OF(statx(fd, "", AT_EMPTY_PATH | (flags & AT_STATX_SYNC_TYPE), mask, &stx));
	if (!err)
		proc_tree_fix_statx(t, fd, &stx);
	close(fd);
	return err ? err : user_write(t, buf, &stx, sizeof(stx));
}

static int do_fstatfs(struct task *t, int fd, struct statfs *fs)
{
	char path[PATH_BYTES];

	return ERROR_OF(proc_tree_has(t->kernel, fd, path) ? statfs("/proc", fs) : fstatfs(fd, fs));
}

int64_t sys_statfs(struct task *t, uint64_t path, uint64_t buf)
{
	int fd = path_object(t, AT_FDCWD, path, 0), err;
	struct statfs fs;

	if (fd < 0)
		return fd;
	err = do_fstatfs(t, fd, &fs);
	close(fd);
	return err ? err : user_write(t, buf, &fs, sizeof(fs));
}

int64_t sys_fstatfs(struct task *t, int fd, uint64_t buf)
{
	int host_fd = fd_host(t, fd), err;
	struct statfs fs;

	if (host_fd < 0)
		return host_fd;
	err = do_fstatfs(t, host_fd, &fs);
	return err ? err : user_write(t, buf, &fs, sizeof(fs));
}

static int64_t do_access(struct task *t, int64_t dirfd, uint64_t addr, uint64_t mode, int flags)
{
	char name[FD_NAME_BYTES];
	int fd, err;

	if (mode & ~(uint64_t)(R_OK | W_OK | X_OK))
		return -EINVAL;
	fd = path_object(t, dirfd, addr, flags);
	if (fd < 0)
		return fd;
	err = mode ? kernel_fs_check(fd, mode & W_OK ? O_RDWR : O_RDONLY) : 0;
	if (!err)
		err = proc_tree_check(t, fd, (int)mode);
	if (!err)
		err = ERROR_OF(faccessat(AT_FDCWD, path_fd_name(fd, name), (int)mode, flags & AT_EACCESS));
	close(fd);
	return err;
}

int64_t sys_access(struct task *t, uint64_t path, int mode)
{
	return do_access(t, AT_FDCWD, path, (uint32_t)mode, 0);
}

int64_t sys_faccessat(struct task *t, int dirfd, uint64_t path, int mode)
{
	return do_access(t, dirfd, path, (uint32_t)mode, 0);
}

int64_t sys_faccessat2(struct task *t, int dirfd, uint64_t path, int mode, uint32_t flags)
{
	if (!has_only(flags, AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	return do_access(t, dirfd, path, (uint32_t)mode, (int)flags);
}

static int64_t do_readlink(struct task *t, int64_t dirfd, uint64_t addr, uint64_t buf, uint64_t size)
{
	char link[PATH_BYTES], path[PATH_BYTES];
	int err = user_string(t, path, sizeof(path), addr), fd, n;

	if (err)
		return err;
	if ((int)size <= 0)
		return -EINVAL;
	n = path_readlink(t, path, link);
	if (n == -ENOENT) {
		fd = path_object(t, dirfd, addr, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH);
		if (fd < 0)
			return fd;
		n = path_link_text(t, fd, link);
		close(fd);
	}
	if (n < 0)
		return n;
	if ((uint64_t)n > size)
		n = (int)size;
	return user_write(t, buf, link, (uint64_t)n) ? -EFAULT : n;
}

int64_t sys_readlink(struct task *t, uint64_t path, uint64_t buf, int size)
{
	return do_readlink(t, AT_FDCWD, path, buf, size);
}

int64_t sys_readlinkat(struct task *t, int dirfd, uint64_t path, uint64_t buf, int size)
{
	return do_readlink(t, dirfd, path, buf, size);
}

/*
 * Set the directory's position behind the last entry that lies in the first @stored bytes as a whole. Return: bytes of
 * the entries before it, or -EFAULT if there is none.
 */
static long keep_whole_entries(int fd, const char *buf, size_t stored, off_t start)
{
	const struct dirent64 *d;
	size_t done = 0;

	for (; done + offsetof(struct dirent64, d_type) <= stored; done += d->d_reclen) {
		d = (const struct dirent64 *)(buf + done);
		if (done + d->d_reclen > stored)
			break;
		start = d->d_off;
	}
	lseek(fd, start, SEEK_SET);
	return done ? (long)done : -EFAULT;
}

static long read_directory(struct task *t, int fd, const struct iovec *iov, struct bounce *b)
{
	struct user_vector v = { .iov = iov, .nr = 1 };
	size_t size = iov->iov_len, accessible = vector_storable(t, &v, size), stored;
	off_t start = lseek(fd, 0, SEEK_CUR);
	long n, err = 0;

	if (accessible < size && bounce_mirror(b, &v, size, accessible))
		return -ENOMEM;
	if (accessible == size)
		bounce_plain(b, size);
	do {
		host_call_begin(t);
		n = syscall(SYS_getdents64, fd, b->iov->iov_base, size);
		err = n < 0 ? -errno : 0;
		host_call_end(t);
		if (n <= 0)
			return err;
		bounce_gather(b, b->bytes, (size_t)n);
		n = kernel_fs_filter_names(fd, b->bytes, n);
	} while (!n);		/* 0 would mean the end of the directory */
	stored = vector_store(t, &v, b->bytes, (size_t)n);
	return stored < (size_t)n ? keep_whole_entries(fd, b->bytes, stored, start) : n;
}

int64_t sys_getdents64(struct task *t, int fd, uint64_t dirp, uint32_t count)
{
	struct iovec iov = { (void *)dirp, count < MAX_DIRENT_BYTES ? count : MAX_DIRENT_BYTES };
	const struct file *file = fd_file(t, fd);
	struct bounce b;
	long n;

	if (!file)
		return -EBADF;
	if (file->proc && proc_file_is_dir(file->proc)) {
		host_call_begin(t);
		n = proc_file_list(t, file, dirp, count);
		host_call_end(t);
		return n;
	}
	if (bounce_init(&b, iov.iov_len + 1))
		return -ENOMEM;
	n = read_directory(t, file->fd, &iov, &b);
	bounce_fini(&b);
	return n == -EINTR ? -ERESTARTSYS : n;
}

/* --- the current directory --- */

int64_t sys_getcwd(struct task *t, uint64_t buf, uint64_t size)
{
	char link[FD_NAME_BYTES], path[PATH_BYTES];
	ssize_t n = readlink(path_fd_name(t->fs->cwd, link), path, sizeof(path) - 1);
	if (n < 0)
		return -errno;
	path[n] = 0;
	proc_tree_rename(t->kernel, path);
	n = (ssize_t)strlen(path) + 1;
	if ((uint64_t)n > size)
		return -ERANGE;
	return user_write(t, buf, path, (uint64_t)n) ? -EFAULT : n;
}

static int64_t set_cwd(struct task *t, int fd)
{
	int err;

	if (fd < 0)
		return fd;
	err = ERROR_OF(faccessat(fd, ".", X_OK, AT_EACCESS));
	if (err) {
		close(fd);
		return err;
	}
	err = dup3(fd, t->fs->cwd, O_CLOEXEC) < 0 ? -errno : 0;	/* another thread may use the number now */
	__atomic_store_n(&t->fs->moved, true, __ATOMIC_RELAXED);
	close(fd);
	return err;
}

int64_t sys_chdir(struct task *t, uint64_t path)
{
	char name[PATH_BYTES];
	int err = user_string(t, name, sizeof(name), path);

	return err ? err : set_cwd(t, path_open(t, AT_FDCWD, name, O_PATH | O_DIRECTORY, 0));
}

int64_t sys_fchdir(struct task *t, int fd)
{
	int host_fd = fd_host(t, fd);

	if (host_fd < 0)
		return host_fd;
	host_fd = openat(host_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return set_cwd(t, host_fd < 0 ? -errno : host_fd);
}

int64_t sys_umask(struct task *t, uint32_t mask)
{
	return __atomic_exchange_n(&t->fs->umask, mask & ACCESSPERMS, __ATOMIC_RELAXED);
}

/* --- create and remove names, in a directory that path_parent() opened --- */

static int64_t do_mkdir(struct task *t, int64_t dirfd, uint64_t addr, uint64_t mode)
{
	char name[PATH_BYTES];
	int dir = path_parent(t, dirfd, addr, name), err;

	if (dir < 0)
		return dir;
	err = ERROR_OF(mkdirat(dir, name, (mode_t)mode & ~t->fs->umask));
	close(dir);
	return err;
}

int64_t sys_mkdir(struct task *t, uint64_t path, uint32_t mode)
{
	return do_mkdir(t, AT_FDCWD, path, mode);
}

int64_t sys_mkdirat(struct task *t, int dirfd, uint64_t path, uint32_t mode)
{
	return do_mkdir(t, dirfd, path, mode);
}

static int64_t do_mknod(struct task *t, int64_t dirfd, uint64_t addr, uint64_t mode, uint64_t dev)
{
	char name[PATH_BYTES];
	int dir = path_parent(t, dirfd, addr, name), err;

	if (dir < 0)
		return dir;
	err = ERROR_OF(mknodat(dir, name, (mode_t)mode & ~t->fs->umask, dev));
	close(dir);
	return err;
}

int64_t sys_mknod(struct task *t, uint64_t path, uint32_t mode, uint32_t dev)
{
	return do_mknod(t, AT_FDCWD, path, mode, dev);
}

int64_t sys_mknodat(struct task *t, int dirfd, uint64_t path, uint32_t mode, uint32_t dev)
{
	return do_mknod(t, dirfd, path, mode, dev);
}

static int64_t do_unlink(struct task *t, int64_t dirfd, uint64_t addr, uint64_t flags)
{
	char name[PATH_BYTES];
	int dir = path_parent(t, dirfd, addr, name), err;

	if (dir < 0)
		return dir;
	err = ERROR_OF(unlinkat(dir, name, (int)flags));
	close(dir);
	return err;
}

int64_t sys_unlink(struct task *t, uint64_t path)
{
	return do_unlink(t, AT_FDCWD, path, 0);
}

int64_t sys_rmdir(struct task *t, uint64_t path)
{
	return do_unlink(t, AT_FDCWD, path, AT_REMOVEDIR);
}

int64_t sys_unlinkat(struct task *t, int dirfd, uint64_t path, uint32_t flags)
{
	return has_only(flags, AT_REMOVEDIR) ? do_unlink(t, dirfd, path, flags) : -EINVAL;
}

static int64_t do_rename(struct task *t, int64_t from_dir, uint64_t from, int64_t to_dir, uint64_t to,
			 uint64_t flags)
{
	char old[PATH_BYTES], new[PATH_BYTES];
	int a = path_parent(t, from_dir, from, old), b, err;

	if (a < 0)
		return a;
	b = path_parent(t, to_dir, to, new);
	err = b < 0 ? b : ERROR_OF(renameat2(a, old, b, new, (unsigned)flags));
	close(a);
	if (b >= 0)
		close(b);
	return err;
}

int64_t sys_rename(struct task *t, uint64_t oldpath, uint64_t newpath)
{
	return do_rename(t, AT_FDCWD, oldpath, AT_FDCWD, newpath, 0);
}

int64_t sys_renameat(struct task *t, int olddirfd, uint64_t oldpath, int newdirfd, uint64_t newpath)
{
	return do_rename(t, olddirfd, oldpath, newdirfd, newpath, 0);
}

int64_t sys_renameat2(struct task *t, int olddirfd, uint64_t oldpath, int newdirfd, uint64_t newpath,
		      uint32_t flags)
{
	if (!has_only(flags, RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT) ||
	    ((flags & RENAME_EXCHANGE) && flags != RENAME_EXCHANGE))
		return -EINVAL;
	return do_rename(t, olddirfd, oldpath, newdirfd, newpath, flags);
}

static int64_t do_link(struct task *t, int64_t from_dir, uint64_t from, int64_t to_dir, uint64_t to,
		       uint64_t flags)
{
	int follow = (flags & AT_SYMLINK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW) | (int)(flags & AT_EMPTY_PATH);
	int object = path_object(t, from_dir, from, follow), dir, err;
	char name[PATH_BYTES], link[FD_NAME_BYTES];

	if (object < 0)
		return object;
	dir = path_parent(t, to_dir, to, name);
	err = dir < 0 ? dir : ERROR_OF(linkat(AT_FDCWD, path_fd_name(object, link), dir, name,
					      AT_SYMLINK_FOLLOW));
	close(object);
	if (dir >= 0)
		close(dir);
	return err;
}

int64_t sys_link(struct task *t, uint64_t oldpath, uint64_t newpath)
{
	return do_link(t, AT_FDCWD, oldpath, AT_FDCWD, newpath, 0);
}

int64_t sys_linkat(struct task *t, int olddirfd, uint64_t oldpath, int newdirfd, uint64_t newpath,
		   uint32_t flags)
{
	if (!has_only(flags, AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	return do_link(t, olddirfd, oldpath, newdirfd, newpath, flags);
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
	err = ERROR_OF(symlinkat(text, dir, name));
	close(dir);
	return err;
}

int64_t sys_symlink(struct task *t, uint64_t target, uint64_t linkpath)
{
	return do_symlink(t, target, AT_FDCWD, linkpath);
}

int64_t sys_symlinkat(struct task *t, uint64_t target, int newdirfd, uint64_t linkpath)
{
	return do_symlink(t, target, newdirfd, linkpath);
}

/* --- attributes --- */

/* The host descriptor of descriptor @number, if the program may change the mode, owner and times of the file. */
static int fd_to_change(struct task *t, uint64_t number)
{
	int fd = fd_host(t, number), err = fd < 0 ? fd : path_check_change(t, fd);

	return err ? err : fd;
}

static int64_t do_chmod(struct task *t, int64_t dirfd, uint64_t addr, uint64_t mode)
{
	int fd = path_to_change(t, dirfd, addr, 0), err;
	char name[FD_NAME_BYTES];

	if (fd < 0)
		return fd;
	err = ERROR_OF(chmod(path_fd_name(fd, name), (mode_t)mode));
	close(fd);
	return err;
}

int64_t sys_chmod(struct task *t, uint64_t path, uint32_t mode)
{
	return do_chmod(t, AT_FDCWD, path, mode);
}

int64_t sys_fchmodat(struct task *t, int dirfd, uint64_t path, uint32_t mode)
{
	return do_chmod(t, dirfd, path, mode);
}

int64_t sys_fchmod(struct task *t, int fd, uint32_t mode)
{
	int host_fd = fd_to_change(t, fd);

	return host_fd < 0 ? host_fd : ERROR_OF(fchmod(host_fd, mode));
}

static int64_t do_chown(struct task *t, int64_t dirfd, uint64_t addr, uint64_t uid, uint64_t gid, int flags)
{
	int fd = path_to_change(t, dirfd, addr, flags), err;

	if (fd < 0)
		return fd;
	err = ERROR_OF(fchownat(fd, "", (uid_t)uid, (gid_t)gid, AT_EMPTY_PATH));
	close(fd);
	return err;
}

int64_t sys_chown(struct task *t, uint64_t path, uint32_t owner, uint32_t group)
{
	return do_chown(t, AT_FDCWD, path, owner, group, 0);
}

int64_t sys_lchown(struct task *t, uint64_t path, uint32_t owner, uint32_t group)
{
	return do_chown(t, AT_FDCWD, path, owner, group, AT_SYMLINK_NOFOLLOW);
}

int64_t sys_fchownat(struct task *t, int dirfd, uint64_t path, uint32_t owner, uint32_t group, uint32_t flags)
{
	if (!has_only(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	return do_chown(t, dirfd, path, owner, group, (int)flags);
}

int64_t sys_fchown(struct task *t, int fd, uint32_t owner, uint32_t group)
{
	int host_fd = fd_to_change(t, fd);

	return host_fd < 0 ? host_fd : ERROR_OF(fchown(host_fd, owner, group));
}

int64_t sys_utimensat(struct task *t, int dirfd, uint64_t path, uint64_t times, uint32_t flags)
{
	struct timespec ts[2];
	char name[FD_NAME_BYTES];
	int fd, err;

	if (times && user_read(t, ts, times, sizeof(ts)))
		return -EFAULT;
	if (times && ts[0].tv_nsec == UTIME_OMIT && ts[1].tv_nsec == UTIME_OMIT)
		return 0;
	if (!has_only(flags, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) || (!path && flags))
		return -EINVAL;
	if (!path) {
		fd = fd_to_change(t, (uint32_t)dirfd);
		return fd < 0 ? fd : ERROR_OF(futimens(fd, times ? ts : NULL));
	}
	fd = path_to_change(t, dirfd, path, flags);
	if (fd < 0)
		return fd;
	if (flags & AT_SYMLINK_NOFOLLOW)
		err = ERROR_OF(utimensat(fd, "", times ? ts : NULL, AT_EMPTY_PATH));
	else
		err = ERROR_OF(utimensat(AT_FDCWD, path_fd_name(fd, name), times ? ts : NULL, 0));
	close(fd);
	return err;
}

int64_t sys_utimes(struct task *t, uint64_t path, uint64_t times)
{
	struct timeval tv[2];
	struct timespec ts[2];
	char name[FD_NAME_BYTES];
	int fd, err;

	if (times && user_read(t, tv, times, sizeof(tv)))
		return -EFAULT;
	for (unsigned i = 0; times && i < 2; i++) {
		if (tv[i].tv_usec < 0 || tv[i].tv_usec >= USEC_PER_SEC)
			return -EINVAL;
		ts[i] = (struct timespec){ tv[i].tv_sec, tv[i].tv_usec * NSEC_PER_USEC };
	}
	fd = path_to_change(t, AT_FDCWD, path, 0);
	if (fd < 0)
		return fd;
	err = ERROR_OF(utimensat(AT_FDCWD, path_fd_name(fd, name), times ? ts : NULL, 0));
	close(fd);
	return err;
}
