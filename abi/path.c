/* SPDX-License-Identifier: MIT */
/* abi/path.c - open paths of a program; see path.h. */
#define _GNU_SOURCE
#include "abi/path.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/kernel_fs.h"
#include "abi/proc_files.h"

const char *path_fd_name(int fd, char name[FD_NAME_BYTES])
{
	snprintf(name, FD_NAME_BYTES, "/proc/self/fd/%d", fd);
	return name;
}

int fd_reopen(int host_fd, int flags)
{
	char name[FD_NAME_BYTES];
	int fd = open(path_fd_name(host_fd, name), flags | O_CLOEXEC | O_NOCTTY);

	return fd < 0 ? -errno : fd;
}

/* Skip slashes and "." components. */
static const char *skip_slashes(const char *path)
{
	while (*path == '/' || (path[0] == '.' && path[1] == '/'))
		path++;
	return path;
}

/* If the next component of @path is @name: the rest, which is empty or starts with a slash. Else NULL. */
static const char *skip_component(const char *path, const char *name)
{
	size_t len = strlen(name);

	path = skip_slashes(path);
	return strncmp(path, name, len) || (path[len] && path[len] != '/') ? NULL : path + len;
}

/* Does @path begin with the ID of a thread of the process? *@end: what follows. */
static bool is_own_thread(const struct task *t, const char *path, char **end)
{
	unsigned long id = isdigit((unsigned char)*path) ? strtoul(path, end, 10) : 0;
	const struct task *other;

	if (!id || (**end && **end != '/'))
		return false;
	pthread_mutex_lock(&t->kernel->lock);
	other = task_find(t->kernel, (int)id);
	pthread_mutex_unlock(&t->kernel->lock);
	return other && other->process == t->process;
}

/* What follows "/proc/self", "/proc/thread-self" or "/proc/PID" with the PID of @t. Else NULL. */
static const char *skip_own_directory(const struct task *t, const char *path)
{
	const char *proc = path[0] == '/' ? skip_component(path, "proc") : NULL, *rest, *task;
	char own[16], *end;

	if (!proc)
		return NULL;
	snprintf(own, sizeof(own), "%d", t->process->pid);
	rest = skip_component(proc, "self");
	rest = rest ? rest : skip_component(proc, "thread-self");
	rest = rest ? rest : skip_component(proc, own);
	task = rest ? skip_component(rest, "task") : NULL;
	if (task && *task && is_own_thread(t, skip_slashes(task), &end))
		return end;
	return rest;
}

/* REST of "/proc/self/REST" in any spelling. Else NULL. */
static const char *strip_proc_self(const struct task *t, const char *path)
{
	const char *rest = skip_own_directory(t, path);

	return rest && *rest == '/' ? skip_slashes(rest) : NULL;
}

/* /dev/stdin, /dev/stdout, /dev/stderr and /dev/fd are links to /proc/self/fd: "fd/N" for such a path. Else NULL. */
static const char *standard_stream(const char *path)
{
	static const char *const names[][2] = { { "stdin", "fd/0" }, { "stdout", "fd/1" }, { "stderr", "fd/2" } };
	const char *dev = path[0] == '/' ? skip_component(path, "dev") : NULL, *rest;

	for (size_t i = 0; dev && i < 3; i++) {
		rest = skip_component(dev, names[i][0]);
		if (rest && !*rest)
			return names[i][1];
	}
	rest = dev ? skip_component(dev, "fd") : NULL;
	return rest && *rest == '/' ? rest - 2 : NULL;
}

/* If the path names a file of /proc/self: the name of the file there. Else NULL. */
static const char *strip_own_prefix(const struct task *t, const char *path)
{
	const char *rest = strip_proc_self(t, path);

	return rest ? rest : standard_stream(path);
}

/* If @rest is "fd/N": the host descriptor of descriptor N, or -ENOENT. -1: @rest is another name. */
static int own_descriptor(struct task *t, const char *rest)
{
	const char *digits = skip_component(rest, "fd");
	char *end;
	int host;

	digits = digits ? skip_slashes(digits) : "";
	if (!isdigit((unsigned char)*digits))
		return -1;
	host = fd_host(t, strtoul(digits, &end, 10));
	return *end || host < 0 ? -ENOENT : host;
}

bool path_own_link(const struct task *t, const char *path, char link[PATH_BYTES])
{
	const char *proc = path[0] == '/' ? skip_component(path, "proc") : NULL, *rest;

	rest = proc ? skip_component(proc, "self") : NULL;
	if (rest && !*rest)
		return snprintf(link, PATH_BYTES, "%d", t->process->pid) > 0;
	rest = proc ? skip_component(proc, "thread-self") : NULL;
	if (rest && !*rest)
		return snprintf(link, PATH_BYTES, "%d/task/%d", t->process->pid, t->tid) > 0;
	rest = strip_own_prefix(t, path);
	if (rest && !strcmp(rest, "exe"))
		return snprintf(link, PATH_BYTES, "%s", t->gmm->exe) > 0;
	return false;
}

/* --- opening --- */

/* The directory at which a relative path starts. */
static int start_directory(struct task *t, int64_t dirfd, const char *path)
{
	return (int)dirfd == AT_FDCWD || path[0] == '/' ? t->process->cwd : fd_host(t, (uint32_t)dirfd);
}

static int open_checked(struct task *t, int dir, const char *path, uint64_t flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = resolve | RESOLVE_NO_MAGICLINKS };
	int fd, err;

	if (dir < 0)
		return -EBADF;
	if (flags & (O_CREAT | __O_TMPFILE))
		how.mode = mode & ALLPERMS;
	host_call_begin(t);			/* open of a FIFO may block, and so may a network file system */
	fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
	err = fd < 0 ? -errno : 0;
	host_call_end(t);
	if (err)
		return err == -EINTR ? -ERESTARTSYS : err;
	err = kernel_fs_check(fd, (int)flags);
	if (err)
		close(fd);
	return err ? err : fd;
}

/* Open the file of a host descriptor again, with the rights that @flags needs. */
static int reopen_checked(struct task *t, int host, int flags)
{
	int fd, err;

	host_call_begin(t);
	fd = fd_reopen(host, flags);
	host_call_end(t);
	if (fd < 0)
		return fd == -EINTR ? -ERESTARTSYS : fd;
	err = kernel_fs_check(fd, flags);
	if (err)
		close(fd);
	return err ? err : fd;
}

/* Open /proc/self/@rest of @t. kernel_fs_check() allows files of Vellum's that are the same for the program. */
static int open_own_file(struct task *t, const char *rest, int flags, mode_t mode)
{
	char path[PATH_BYTES + 16];
	int host = own_descriptor(t, rest), fd;

	if (host == -ENOENT)
		return -ENOENT;
	if (host >= 0)
		return reopen_checked(t, host, flags);
	fd = proc_files_open(t, rest, flags);
	if (fd != -ENOENT)
		return fd;
	if (!strcmp(rest, "exe"))
		return open_checked(t, t->process->cwd, t->gmm->exe, (uint64_t)flags, mode, 0);
	if (!strcmp(rest, "cwd"))
		return reopen_checked(t, t->process->cwd, flags);
	snprintf(path, sizeof(path), "/proc/self/%s", rest);
	return open_checked(t, t->process->cwd, path, (uint64_t)flags, mode, 0);
}

/* What forbids the translated path "/proc/self/@rest", or one that leads there: 0 or a negative errno. */
static int check_resolve(const char *rest, uint64_t resolve)
{
	if (resolve & (RESOLVE_BENEATH | RESOLVE_NO_XDEV))
		return -EXDEV;
	if (resolve & RESOLVE_NO_SYMLINKS)
		return -ELOOP;		/* /proc/self is a link */
	if ((resolve & RESOLVE_NO_MAGICLINKS) && (skip_component(rest, "fd") || !strcmp(rest, "exe") || !strcmp(rest, "cwd")))
		return -ELOOP;
	return 0;
}

int path_open(struct task *t, int64_t dirfd, const char *path, int flags, mode_t mode)
{
	return path_open_how(t, dirfd, path, flags, mode, 0);
}

int path_open_how(struct task *t, int64_t dirfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	/* open(2) ignores unknown flags; openat2(2) would fail. */
	const int known = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK |
			  O_DSYNC | O_DIRECT | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_SYNC |
			  O_PATH | O_TMPFILE;
	const char *rest = resolve & RESOLVE_IN_ROOT ? NULL : strip_own_prefix(t, path);
	int err = rest ? check_resolve(rest, resolve) : 0;

	if (err)
		return err;
	if (flags & O_PATH)
		flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW;
	flags &= known;
	if (rest)
		return open_own_file(t, rest, flags & ~O_NOFOLLOW, mode);
	return open_checked(t, start_directory(t, dirfd, path), path, (uint64_t)(unsigned)flags, mode, resolve);
}

int path_object(struct task *t, int64_t dirfd, uint64_t addr, int flags)
{
	char path[PATH_BYTES];
	int err = user_string(t, path, sizeof(path), addr), fd;

	if (err)
		return err;
	if (!path[0] && (flags & AT_EMPTY_PATH)) {
		fd = (int)dirfd == AT_FDCWD ? t->process->cwd : fd_host(t, (uint32_t)dirfd);
		fd = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 0);
		return fd < 0 ? -EBADF : fd;
	}
	return path_open(t, dirfd, path, O_PATH | (flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0), 0);
}

int path_to_change(struct task *t, int64_t dirfd, uint64_t addr, int flags)
{
	int fd = path_object(t, dirfd, addr, flags), err = fd < 0 ? fd : kernel_fs_check_change(fd);

	if (err && fd >= 0)
		close(fd);
	return err ? err : fd;
}

int path_parent(struct task *t, int64_t dirfd, uint64_t addr, char name[PATH_BYTES])
{
	char path[PATH_BYTES];
	int err = user_string(t, path, sizeof(path), addr);

	return err ? err : path_parent_of(t, dirfd, path, name);
}

int path_parent_of(struct task *t, int64_t dirfd, char *path, char name[PATH_BYTES])
{
	size_t end, at;
	int dir, err;

	if (!path[0])
		return -ENOENT;
	if (strip_own_prefix(t, path))
		return -EACCES;
	end = strlen(path);
	while (end > 1 && path[end - 1] == '/')		/* trailing slashes stay in @name: it must be a directory */
		end--;
	for (at = end; at && path[at - 1] != '/';)
		at--;
	snprintf(name, PATH_BYTES, "%s", path[at] ? path + at : ".");
	path[at] = 0;
	dir = open_checked(t, start_directory(t, dirfd, path), path[0] ? path : ".", O_PATH | O_DIRECTORY, 0,
			   0);
	err = dir < 0 ? 0 : kernel_fs_check_change(dir);
	if (err)
		close(dir);
	return err ? err : dir;
}
