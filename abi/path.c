/* SPDX-License-Identifier: MIT */
/* abi/path.c - paths of a program; see path.h. */
#define _GNU_SOURCE
#include "abi/path.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

const char *path_fd_name(int fd, char name[FD_NAME_BYTES])
{
	snprintf(name, FD_NAME_BYTES, "/proc/self/fd/%d", fd);
	return name;
}

/* "/proc/self/REST", or "/proc/PID/REST" with the program's own number: REST, else NULL. */
static const char *proc_self_rest(const struct task *t, const char *path)
{
	char own[32];
	size_t n;

	if (!strncmp(path, "/proc/self/", 11))
		return path + 11;
	snprintf(own, sizeof(own), "/proc/%d/", t->pid);
	n = strlen(own);
	return strncmp(path, own, n) ? NULL : path + n;
}

/* /dev/stdin and its like are links into /proc/self/fd. */
static const char *standard_stream(const char *path)
{
	static const char *const names[][2] = { { "/dev/stdin", "fd/0" }, { "/dev/stdout", "fd/1" },
						{ "/dev/stderr", "fd/2" } };

	for (size_t i = 0; i < 3; i++)
		if (!strcmp(path, names[i][0]))
			return names[i][1];
	return strncmp(path, "/dev/fd/", 8) ? NULL : path + 5;
}

/* A path that means the program: what of it, or NULL for an ordinary path. */
static const char *own_rest(const struct task *t, const char *path)
{
	const char *rest = proc_self_rest(t, path);

	return rest ? rest : standard_stream(path);
}

bool path_is_exe(const struct task *t, const char *path)
{
	const char *rest = own_rest(t, path);

	return rest && !strcmp(rest, "exe");
}

/* --- doors to Vellum --- */

/* A component of a procfs path: is it a number of ours, a thread's of ours, or QEMU's? */
static bool is_ours(const struct task *t, const char *component)
{
	char task[64];
	int len = (int)strcspn(component, "/");

	if (!isdigit((unsigned char)*component))
		return false;
	if (atoi(component) == t->kernel->args->machine->child_pid)
		return true;
	snprintf(task, sizeof(task), "/proc/self/task/%.*s", len, component);
	return access(task, F_OK) == 0;
}

static int check_opened(const struct task *t, int fd)
{
	char link[FD_NAME_BYTES], name[512];
	struct statfs fs;
	ssize_t n;

	if (fstatfs(fd, &fs) || fs.f_type != PROC_SUPER_MAGIC)
		return 0;
	n = readlink(path_fd_name(fd, link), name, sizeof(name) - 1);
	if (n < 0)
		return -EACCES;
	name[n] = 0;
	for (const char *at = strchr(name, '/'); at; at = strchr(at + 1, '/'))
		/* Nobody's memory either. */
		if (is_ours(t, at + 1) || !strcmp(at, "/mem"))
			return -EACCES;
	return 0;
}

/* --- opening --- */

/* Where a relative path starts. */
static int start_of(struct task *t, int64_t dirfd, const char *path)
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
		how.mode = mode & 07777;
	block_begin(t);			/* a FIFO waits for its other end, a path may lead through a server's files */
	fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
	err = fd < 0 ? -errno : 0;
	block_end(t);
	if (err)
		return err == -EINTR ? -ERESTARTSYS : err;
	err = check_opened(t, fd);
	if (err)
		close(fd);
	return err ? err : fd;
}

/* What the program's own procfs file stands for. */
static int open_own(struct task *t, const char *rest, int flags, mode_t mode)
{
	char link[FD_NAME_BYTES], *end;
	int host, fd, err;

	if (!strcmp(rest, "exe"))
		return open_checked(t, t->cwd, t->gmm->exe, (uint64_t)flags, mode);
	if (!strcmp(rest, "cwd"))
		host = t->cwd;
	else if (!strncmp(rest, "fd/", 3) && isdigit((unsigned char)rest[3]))
		host = fd_host(t, strtoul(rest + 3, &end, 10));
	else
		return -ENOENT;
	if (host < 0 || (rest[0] == 'f' && *end))
		return -ENOENT;
	block_begin(t);
	fd = open(path_fd_name(host, link), flags | O_CLOEXEC, mode);
	err = fd < 0 ? -errno : 0;
	block_end(t);
	if (err)
		return err == -EINTR ? -ERESTARTSYS : err;
	return fd;
}

int path_open(struct task *t, int64_t dirfd, const char *path, int flags, mode_t mode)
{
	/* openat2(2) refuses what open(2) ignores. */
	const int known = O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK |
			  O_DSYNC | O_DIRECT | O_LARGEFILE | O_DIRECTORY | O_NOFOLLOW | O_NOATIME | O_SYNC |
			  O_PATH | O_TMPFILE;
	const char *rest = own_rest(t, path);

	if (flags & O_PATH)
		flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW;
	flags &= known;
	if (rest)
		return open_own(t, rest, flags & ~O_NOFOLLOW, mode);
	return open_checked(t, start_of(t, dirfd, path), path, (uint64_t)(unsigned)flags, mode);
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

int path_parent(struct task *t, int64_t dirfd, uint64_t addr, char name[PATH_BYTES])
{
	char path[PATH_BYTES];
	int err = user_string(t, path, sizeof(path), addr);
	size_t end, at;

	if (err)
		return err;
	if (!path[0])
		return -ENOENT;
	if (own_rest(t, path))
		return -EACCES;
	end = strlen(path);
	while (end > 1 && path[end - 1] == '/')		/* they stay with the name: "must be a directory" */
		end--;
	for (at = end; at && path[at - 1] != '/';)
		at--;
	snprintf(name, PATH_BYTES, "%s", path[at] ? path + at : ".");
	path[at] = 0;
	return open_checked(t, start_of(t, dirfd, path), path[0] ? path : ".", O_PATH | O_DIRECTORY, 0);
}
