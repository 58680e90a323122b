/* SPDX-License-Identifier: MIT */
/* abi/path.c - paths of a program; see path.h. */
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

const char *path_fd_name(int fd, char name[FD_NAME_BYTES])
{
	snprintf(name, FD_NAME_BYTES, "/proc/self/fd/%d", fd);
	return name;
}

/* Past slashes and "." components. */
static const char *skip_slashes(const char *path)
{
	while (*path == '/' || (path[0] == '.' && path[1] == '/'))
		path++;
	return path;
}

/* The next component of @path is @name: what follows it, which is nothing or starts with a slash; else NULL. */
static const char *skip_component(const char *path, const char *name)
{
	size_t len = strlen(name);

	path = skip_slashes(path);
	return strncmp(path, name, len) || (path[len] && path[len] != '/') ? NULL : path + len;
}

/* What follows "/proc/self", "/proc/thread-self" or "/proc/PID" with the program's own number; else NULL. */
static const char *skip_own_directory(const struct task *t, const char *path)
{
	const char *proc = path[0] == '/' ? skip_component(path, "proc") : NULL, *rest, *task;
	char own[16];

	if (!proc)
		return NULL;
	snprintf(own, sizeof(own), "%d", t->pid);
	rest = skip_component(proc, "self");
	rest = rest ? rest : skip_component(proc, "thread-self");
	rest = rest ? rest : skip_component(proc, own);
	task = rest ? skip_component(rest, "task") : NULL;
	task = task ? skip_component(task, own) : NULL;		/* its only thread */
	return task ? task : rest;
}

/* "/proc/self/REST", or what means the same: REST, else NULL. */
static const char *strip_proc_self(const struct task *t, const char *path)
{
	const char *rest = skip_own_directory(t, path);

	return rest && *rest == '/' ? skip_slashes(rest) : NULL;
}

/* /dev/stdin and its like are links into /proc/self/fd. */
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

/* A path that means the program: what of it, or NULL for an ordinary path. */
static const char *strip_own_prefix(const struct task *t, const char *path)
{
	const char *rest = strip_proc_self(t, path);

	return rest ? rest : standard_stream(path);
}

/* The descriptor that "fd/N" names: the host's; -ENOENT: none. -1: it is another name. */
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

/* What readlink(2) says of a link that means the program. False: it is no such link, or one of the host's. */
bool path_own_link(const struct task *t, const char *path, char link[PATH_BYTES])
{
	const char *proc = path[0] == '/' ? skip_component(path, "proc") : NULL, *rest;

	rest = proc ? skip_component(proc, "self") : NULL;
	if (rest && !*rest)
		return snprintf(link, PATH_BYTES, "%d", t->pid) > 0;
	rest = proc ? skip_component(proc, "thread-self") : NULL;
	if (rest && !*rest)
		return snprintf(link, PATH_BYTES, "%d/task/%d", t->pid, t->pid) > 0;
	rest = strip_own_prefix(t, path);
	if (rest && !strcmp(rest, "exe"))
		return snprintf(link, PATH_BYTES, "%s", t->gmm->exe) > 0;
	return false;
}

/* --- opening --- */

/* Where a relative path starts. */
static int start_directory(struct task *t, int64_t dirfd, const char *path)
{
	return (int)dirfd == AT_FDCWD || path[0] == '/' ? t->cwd : fd_host(t, (uint32_t)dirfd);
}

static int open_checked(struct task *t, int dir, const char *path, uint64_t flags, mode_t mode)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };
	int fd, err;

	if (dir < 0)
		return -EBADF;
	if (flags & (O_CREAT | __O_TMPFILE))
		how.mode = mode & ALLPERMS;
	host_call_begin(t);			/* a FIFO waits for its other end, a path may lead through a server's files */
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

/* The object behind a descriptor of the host, opened anew: with rights that the descriptor may not have. */
static int reopen(struct task *t, int host, int flags, mode_t mode)
{
	char link[FD_NAME_BYTES];
	int fd, err;

	host_call_begin(t);
	fd = open(path_fd_name(host, link), flags | O_CLOEXEC, mode);
	err = fd < 0 ? -errno : 0;
	host_call_end(t);
	if (err)
		return err == -EINTR ? -ERESTARTSYS : err;
	err = kernel_fs_check(fd, flags);
	if (err)
		close(fd);
	return err ? err : fd;
}

/* What the program's own procfs file stands for; of the rest, the host's list tells which are the same for it. */
static int open_own_file(struct task *t, const char *rest, int flags, mode_t mode)
{
	char path[PATH_BYTES + 16];
	int host = own_descriptor(t, rest);

	if (host == -ENOENT)
		return -ENOENT;
	if (host >= 0)
		return reopen(t, host, flags, mode);
	if (!strcmp(rest, "exe"))
		return open_checked(t, t->cwd, t->gmm->exe, (uint64_t)flags, mode);
	if (!strcmp(rest, "cwd"))
		return reopen(t, t->cwd, flags, mode);
	snprintf(path, sizeof(path), "/proc/self/%s", rest);
	return open_checked(t, t->cwd, path, (uint64_t)flags, mode);
}

int path_open(struct task *t, int64_t dirfd, const char *path, int flags, mode_t mode)
{
	/* openat2(2) refuses what open(2) ignores. */
	const int known = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK |
			  O_DSYNC | O_DIRECT | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_SYNC |
			  O_PATH | O_TMPFILE;
	const char *rest = strip_own_prefix(t, path);

	if (flags & O_PATH)
		flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW;
	flags &= known;
	if (rest)
		return open_own_file(t, rest, flags & ~O_NOFOLLOW, mode);
	return open_checked(t, start_directory(t, dirfd, path), path, (uint64_t)(unsigned)flags, mode);
}

int path_object(struct task *t, int64_t dirfd, uint64_t addr, int flags)
{
	char path[PATH_BYTES];
	int err = user_string(t, path, sizeof(path), addr), fd;

	if (err)
		return err;
	if (!path[0] && (flags & AT_EMPTY_PATH)) {
		fd = (int)dirfd == AT_FDCWD ? t->cwd : fd_host(t, (uint32_t)dirfd);
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
	int err = user_string(t, path, sizeof(path), addr), dir;
	size_t end, at;

	if (err)
		return err;
	if (!path[0])
		return -ENOENT;
	if (strip_own_prefix(t, path))
		return -EACCES;
	end = strlen(path);
	while (end > 1 && path[end - 1] == '/')		/* they stay with the name: "must be a directory" */
		end--;
	for (at = end; at && path[at - 1] != '/';)
		at--;
	snprintf(name, PATH_BYTES, "%s", path[at] ? path + at : ".");
	path[at] = 0;
	dir = open_checked(t, start_directory(t, dirfd, path), path[0] ? path : ".", O_PATH | O_DIRECTORY, 0);
	err = dir < 0 ? 0 : kernel_fs_check_change(dir);
	if (err)
		close(dir);
	return err ? err : dir;
}
