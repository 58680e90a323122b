/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_open.c - open(2), truncate(2), memfd_create(2).
 *
 * O_TRUNC is not passed to the host, which would truncate a file while its pages are written back. The file is opened
 * without O_TRUNC and truncated under its locks, after the checks that Linux makes for O_TRUNC.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/filemap.h"
#include "abi/memfd.h"
#include "abi/path.h"
#include "abi/proc.h"
#include "abi/tty.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define KERNEL_O_LARGEFILE 0100000	/* glibc's O_LARGEFILE is 0 */
#define MEMFD_NOEXEC_SEAL 8u	/* of <linux/memfd.h>, since Linux 6.3, as MFD_EXEC */
#define MEMFD_EXEC 0x10u
#define MFD_HUGE_SIZES (63u << 26)	/* MFD_HUGE_2MB and the like */
#define MFD_NAME_BYTES 250	/* with the NUL: memfd_create(2) */

/* O_TRUNC with O_RDONLY: Linux requires the right to write to the file. */
static int truncate_unwritable(const struct file *file)
{
	struct file writable = *file;
	int err;

	writable.fd = fd_reopen(file->fd, O_WRONLY);
	if (writable.fd < 0)
		return writable.fd;
	err = filemap_truncate(&writable, 0);
	close(writable.fd);
	return err;
}

/* Do what O_TRUNC does, for a file that was opened without it. */
static int truncate_file(const struct file *file, int flags)
{
	int access = flags & O_ACCMODE;
	char name[FD_NAME_BYTES];
	struct stat st;

	if (file->regular)
		return access == O_WRONLY || access == O_RDWR ? filemap_truncate(file, 0) :
								truncate_unwritable(file);
	if (fstat(file->fd, &st) == 0 && S_ISDIR(st.st_mode))
		return -EISDIR;
	/* Linux does not truncate other files, but it checks the right to write. */
	return faccessat(AT_FDCWD, path_fd_name(file->fd, name), W_OK, AT_EACCESS) ? -errno : 0;
}

/*
 * As path_open(). *@created: the call created the file, so that O_TRUNC does not require the right to write to it.
 * Valid only if the file is to be truncated and opened for reading.
 */
static int open_file(struct task *t, int64_t dirfd, const char *path, int flags, mode_t mode, uint64_t resolve,
		     bool *created)
{
	const int asked = flags & (O_CREAT | O_EXCL | O_TRUNC | O_ACCMODE);
	int fd;

	if (asked == (O_CREAT | O_TRUNC | O_RDONLY)) {
		fd = path_open_how(t, dirfd, path, (flags | O_EXCL) & ~O_TRUNC, mode, resolve);
		*created = fd >= 0;
		if (fd != -EEXIST)
			return fd;
	}
	*created = (flags & O_CREAT) && (flags & O_EXCL);
	return path_open_how(t, dirfd, path, flags & ~O_TRUNC, mode, resolve);
}

/* Make a struct file for @fd, which is consumed. *@out has no descriptor yet. 0 or a negative errno. */
static int make_file(struct task *t, int fd, int flags, bool created, struct file **out)
{
	struct file *file = file_open(t->kernel, fd);
	int err = 0;

	if (!file)
		return errno == ENFILE ? -ENFILE : -ENOMEM;
	if (file->proc)
		err = proc_file_check(t, file);
	else if ((flags & O_TRUNC) && !created)
		err = truncate_file(file, flags);
	if (err) {
		file_put(file);
		return err;
	}
	filemap_revalidate_file(file);
	*out = file;
	return 0;
}

static int64_t do_open(struct task *t, int64_t dirfd, uint64_t addr, int flags, mode_t mode, uint64_t resolve)
{
	char path[PATH_BYTES];
	int err = user_string(t, path, sizeof(path), addr), fd;
	struct file *file;
	bool created;

	if (err)
		return err;
	if (!path[0])
		return -ENOENT;
	err = fd_check_room(t, 1);		/* before the file is created or truncated */
	if (err)
		return err;
	if (flags & O_PATH)
		flags &= ~(O_TRUNC | O_CREAT);
	fd = open_file(t, dirfd, path, flags | O_NOCTTY, mode & ~t->fs->umask, resolve, &created);
	fd = tty_open_own(t, fd, dirfd, path, flags);
	if (fd < 0)
		return fd;
	host_call_begin(t);
	err = make_file(t, fd, flags, created, &file);
	host_call_end(t);
	if (err)
		return err == -EINTR ? -ERESTARTSYS : err;
	tty_opened(t, file, flags);
	return fd_install(t, file, 0, flags & O_CLOEXEC);
}

int64_t sys_open(struct task *t, uint64_t path, uint32_t flags, uint32_t mode)
{
	return do_open(t, AT_FDCWD, path, flags, mode, 0);
}

int64_t sys_openat(struct task *t, int dirfd, uint64_t path, uint32_t flags, uint32_t mode)
{
	return do_open(t, dirfd, path, flags, mode, 0);
}

int64_t sys_creat(struct task *t, uint64_t path, uint32_t mode)
{
	return do_open(t, AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode, 0);
}

/* openat2(2) refuses what open(2) ignores. 0 or a negative errno. */
static int check_how(const struct open_how *how)
{
	const uint64_t flags = how->flags, path_flags = O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	const uint64_t known = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_DSYNC |
			       O_ASYNC | O_DIRECT | KERNEL_O_LARGEFILE | O_NOATIME | O_SYNC | O_TMPFILE | path_flags;
	const uint64_t resolve = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH |
				 RESOLVE_IN_ROOT | RESOLVE_CACHED;
	bool makes = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;

	if ((flags & ~known) || (how->resolve & ~resolve) || ((flags & O_PATH) && (flags & ~path_flags)))
		return -EINVAL;
	if ((how->resolve & RESOLVE_BENEATH) && (how->resolve & RESOLVE_IN_ROOT))
		return -EINVAL;
	if (makes ? how->mode & ~(uint64_t)ALLPERMS : how->mode)
		return -EINVAL;
	if ((flags & O_CREAT) && (flags & O_DIRECTORY))
		return -EINVAL;
	if ((flags & O_TMPFILE & ~O_DIRECTORY) && ((flags & O_TMPFILE) != O_TMPFILE || (flags & O_ACCMODE) == O_RDONLY))
		return -EINVAL;
	if ((how->resolve & RESOLVE_CACHED) && (flags & (O_TRUNC | O_CREAT | (O_TMPFILE & ~O_DIRECTORY))))
		return -EAGAIN;
	return 0;
}

int64_t sys_openat2(struct task *t, int dirfd, uint64_t path, uint64_t how_addr, uint64_t size)
{
	struct open_how how;
	int err;

	if (size < sizeof(how))
		return -EINVAL;
	if (size > VELLUM_PAGE_SIZE)
		return -E2BIG;
	err = user_read_sized(t, &how, sizeof(how), how_addr, size);
	if (!err)
		err = check_how(&how);
	return err ? err : do_open(t, dirfd, path, (int)how.flags, (mode_t)how.mode, how.resolve);
}

int64_t sys_memfd_create(struct task *t, uint64_t name, uint32_t flags)
{
	char text[MFD_NAME_BYTES];
	int err = user_string(t, text, sizeof(text), name), fd;
	struct memfd *account;

	if (err)
		return err == -ENAMETOOLONG ? -EINVAL : err;
	if (flags & ~((flags & MFD_HUGETLB ? MFD_HUGE_SIZES : 0) | MFD_HUGETLB | MFD_CLOEXEC | MFD_ALLOW_SEALING | MEMFD_NOEXEC_SEAL | MEMFD_EXEC))
		return -EINVAL;
	err = fd_check_room(t, 1);
	if (err)
		return err;
	fd = memfd_create(text, flags | MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	account = memfd_new(filemaps_memfds(t->kernel->filemaps), fd);
	if (!account) {
		close(fd);
		return -ENOMEM;
	}
	fd = fd_install(t, file_open(t->kernel, fd), 0, flags & MFD_CLOEXEC);
	memfd_put(account);		/* struct file has its own reference */
	return fd;
}

/* Open a regular file for writing. Other files are not opened: that could block, or have an effect on a device. */
static int open_to_truncate(struct task *t, uint64_t path)
{
	int object = path_object(t, AT_FDCWD, path, 0), fd;
	struct stat st;

	if (object < 0)
		return object;
	if (fstat(object, &st))
		fd = -errno;
	else if (!S_ISREG(st.st_mode))
		fd = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	else
		fd = fd_reopen(object, O_WRONLY);
	close(object);
	return fd;
}

int64_t sys_truncate(struct task *t, uint64_t path, int64_t length)
{
	struct file *file;
	int err, fd;

	if (length < 0)
		return -EINVAL;
	fd = open_to_truncate(t, path);
	if (fd < 0)
		return fd;
	file = file_open(t->kernel, fd);
	if (!file)
		return -errno;
	err = rlimit_check_size(t, file, length);
	host_call_begin(t);
	if (!err)
		err = filemap_truncate(file, length);
	host_call_end(t);
	file_put(file);
	return err == -EINTR ? -ERESTARTSYS : err;
}
