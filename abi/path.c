/* SPDX-License-Identifier: MIT */
/* abi/path.c - open paths of a program; see path.h. */
#define _GNU_SOURCE
#include "abi/path.h"

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
#include "abi/proc.h"

#define MAX_LINKS 40	/* that a path may follow, as in Linux */

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

/* --- opening --- */

/* The directory at which a relative path starts. */
static int start_directory(struct task *t, int64_t dirfd, const char *path)
{
	return (int)dirfd == AT_FDCWD || path[0] == '/' ? t->fs->cwd : fd_host(t, (uint32_t)dirfd);
}

/* Many paths do not exist: find out with one call whether a link or ".." could have led from another directory. */
static bool has_links(int dir, const char *path)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_SYMLINKS };
	int fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how)), err = errno;

	if (fd >= 0)
		close(fd);
	return (fd < 0 && err == ELOOP) || strstr(path, "..");
}

/*
 * *@hidden: the path may lead to a file of the host's procfs that programs must not see, and may mean one of the run's
 * /proc, by links or in an unusual spelling.
 */
static int open_checked(struct task *t, int dir, const char *path, uint64_t flags, mode_t mode, uint64_t resolve,
			bool *hidden)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = resolve | RESOLVE_NO_MAGICLINKS };
	char in_tree[PATH_BYTES];
	int fd, err;

	if (flags & (O_CREAT | __O_TMPFILE))
		how.mode = mode & ALLPERMS;
	host_call_begin(t);			/* open of a FIFO may block, and so may a network file system */
	fd = (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
	err = fd < 0 ? -errno : 0;
	host_call_end(t);
	*hidden = err == -ELOOP || ((err == -ENOENT || err == -EACCES) && has_links(dir, path));
	if (err)
		return err == -EINTR ? -ERESTARTSYS : err;
	err = kernel_fs_check(fd, (int)flags);
	*hidden = err == -ENOENT;
	if (!err && proc_tree_has(t->kernel, fd, in_tree))	/* by its name on the host */
		err = -ENOENT;
	if (err)
		close(fd);
	return err ? err : fd;
}

/* Open the file of a host descriptor again, with the rights that @flags needs. */
static int reopen_checked(struct task *t, int host, int flags)
{
	int fd, err;

	if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
		return -EEXIST;
	host_call_begin(t);
	fd = fd_reopen(host, flags & ~O_CREAT);
	host_call_end(t);
	if (fd < 0)
		return fd == -EINTR ? -ERESTARTSYS : fd;
	err = kernel_fs_check(fd, flags);
	if (err)
		close(fd);
	return err ? err : fd;
}

/* --- paths that lead to /proc --- */

/* Add a component. False: no room. */
static bool append(char path[PATH_BYTES], const char *name, size_t len)
{
	size_t n = strlen(path);

	if (n + len + 2 > PATH_BYTES)
		return false;
	path[n] = '/';
	memcpy(path + n + 1, name, len);
	path[n + 1 + len] = 0;
	return true;
}

static void remove_last(char path[PATH_BYTES])
{
	char *slash = strrchr(path, '/');

	if (slash)
		*slash = 0;
}

/* Follow the link @at, if it is one: its text comes before what is @left. False: too long. */
static bool follow_link(char at[PATH_BYTES], char left[PATH_BYTES], unsigned *nr_links)
{
	char link[2 * PATH_BYTES];
	ssize_t n = readlink(at, link, PATH_BYTES - 1);

	if (n <= 0)
		return true;
	if (++*nr_links > MAX_LINKS || (size_t)n + strlen(left) + 2 > PATH_BYTES)
		return false;
	snprintf(link + n, sizeof(link) - (size_t)n, "/%s", left);
	if (link[0] == '/')
		at[0] = 0;
	else
		remove_last(at);
	memcpy(left, link, strlen(link) + 1);
	return true;
}

/* Resolve a path of the host in the way of the kernel. True: it leads to /proc. @out: what follows. */
static bool resolves_to_proc(int dir, const char *path, bool follow, char out[PATH_BYTES])
{
	char at[PATH_BYTES] = "", link[FD_NAME_BYTES];
	unsigned nr_links = 0;
	ssize_t n;
	size_t len;

	n = path[0] == '/' ? 0 : readlink(path_fd_name(dir, link), at, sizeof(at) - 1);
	at[n > 0 ? n : 0] = 0;
	snprintf(out, PATH_BYTES, "%s", path);
	for (;;) {
		memmove(out, out + strspn(out, "/"), strlen(out + strspn(out, "/")) + 1);
		len = strcspn(out, "/");
		if (!len)
			return false;
		if (len == 2 && !strncmp(out, "..", 2))
			remove_last(at);
		else if ((len != 1 || out[0] != '.') && !append(at, out, len))
			return false;
		memmove(out, out + len, strlen(out + len) + 1);
		if (!strcmp(at, "/proc"))
			return true;
		if ((out[0] || follow) && !follow_link(at, out, &nr_links))
			return false;
	}
}

/* If the path begins in /proc by its text or its directory: what follows there. @buf: room. Else NULL. */
static const char *path_in_proc(struct task *t, int dir, const char *path, int flags, char buf[PATH_BYTES])
{
	char start[PATH_BYTES];

	if (path[0] == '/')
		return proc_strip(path, !(flags & O_NOFOLLOW), buf);
	if (!path[0] || !proc_tree_has(t->kernel, dir, start))
		return NULL;
	snprintf(buf, PATH_BYTES, "%s", start);
	return append(buf, path, strlen(path)) ? buf : NULL;
}

/* State of open_from(): a path, and the directory at which it begins. */
struct opening {
	struct task *t;
	int dir, own_dir;		/* own_dir: a descriptor to be closed, or -1 */
	int flags;
	mode_t mode;
	uint64_t resolve;		/* of openat2(2) */
	char path[PATH_BYTES], buf[PATH_BYTES];
	struct proc_node node;
};

/* Continue at the target of the link that the node is. False: the end is reached, and *@fd is the result. */
static bool jump(struct opening *o, int *fd)
{
	int target = proc_jump(o->t, &o->node, o->path);

	*fd = target;
	if (target < 0)
		return false;
	if (o->path[0]) {
		*fd = -ENAMETOOLONG;
		return !o->node.rest[0] || append(o->path, o->node.rest, strlen(o->node.rest));
	}
	if (o->own_dir >= 0)
		close(o->own_dir);
	o->dir = o->own_dir = target;
	memcpy(o->path, o->node.rest, sizeof(o->path));
	if (o->path[0])
		return true;
	*fd = reopen_checked(o->t, target, o->flags & ~O_NOFOLLOW);
	return false;
}

/* Does o->resolve forbid a path that leads to @in_proc? 0 or a negative errno. */
static int check_resolve(const struct opening *o, const char *in_proc)
{
	if (o->path[0] == '/' && (o->resolve & (RESOLVE_BENEATH | RESOLVE_NO_XDEV)))
		return -EXDEV;
	if ((o->resolve & RESOLVE_NO_SYMLINKS) && (!strncmp(in_proc, "/self", 5) || !strncmp(in_proc, "/thread-self", 12)))
		return -ELOOP;
	return 0;
}

/* Does o->resolve forbid where the path leads? 0 or a negative errno. */
static int check_place(const struct opening *o)
{
	if (o->node.place == PROC_TREE || o->node.place == PROC_HOST)
		return 0;
	if (o->resolve & RESOLVE_BENEATH)
		return -EXDEV;
	return o->resolve & (RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS) ? -ELOOP : 0;
}

/* Open the path, or resolve a part of it. False: the end is reached, and *@fd is the result. */
static bool step(struct opening *o, int *fd)
{
	const char *in_proc = o->resolve & RESOLVE_IN_ROOT ? NULL : path_in_proc(o->t, o->dir, o->path, o->flags, o->buf);
	bool hidden;

	if (!in_proc) {
		*fd = open_checked(o->t, o->dir, o->path, (unsigned)o->flags, o->mode, o->resolve, &hidden);
		if (*fd >= 0 || !hidden || (o->resolve & RESOLVE_IN_ROOT) ||
		    !resolves_to_proc(o->dir, o->path, !(o->flags & O_NOFOLLOW), o->buf))
			return false;
		in_proc = o->buf;
	}
	*fd = check_resolve(o, in_proc);
	if (*fd == 0)
		*fd = proc_walk(o->t, in_proc, !(o->flags & O_NOFOLLOW), &o->node);
	if (*fd >= 0)
		*fd = check_place(o);
	if (*fd < 0)
		return false;
	switch (o->node.place) {
	case PROC_TREE:
		*fd = proc_tree_open(o->t, &o->node, o->flags);
		return false;
	case PROC_HOST:
		*fd = open_checked(o->t, o->t->fs->cwd, o->node.rest, (unsigned)o->flags, o->mode, 0,
				   &hidden);
		return false;
	case PROC_OUTSIDE:
		memcpy(o->path, o->node.rest, sizeof(o->path));
		return true;
	default:
		return jump(o, fd);
	}
}

/* Open a path that begins at the host directory @dir, if it is relative. */
static int open_from(struct task *t, int dir, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct opening o;		/* its paths are not cleared: that would cost more than most calls */
	unsigned steps = 0;
	int fd;

	if (dir < 0)
		return -EBADF;
	o.t = t;
	o.dir = dir;
	o.own_dir = -1;
	o.flags = flags;
	o.mode = mode;
	o.resolve = resolve;
	snprintf(o.path, sizeof(o.path), "%s", path);
	while (step(&o, &fd))
		if (++steps > MAX_LINKS) {
			fd = -ELOOP;
			break;
		}
	if (o.own_dir >= 0)
		close(o.own_dir);
	return fd;
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

	if (flags & O_PATH)
		flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW;
	return open_from(t, start_directory(t, dirfd, path), path, flags & known, mode, resolve);
}

int path_link_text(struct task *t, int fd, char link[PATH_BYTES])
{
	char path[PATH_BYTES];
	struct proc_node node;
	ssize_t n;
	int err;

	if (proc_tree_has(t->kernel, fd, path)) {
		err = proc_walk(t, path, false, &node);
		return err ? err : proc_link_text(t, &node, link);
	}
	n = readlinkat(fd, "", link, PATH_BYTES);
	if (n < 0)
		return errno == ENOENT ? -EINVAL : -errno;	/* not a link: readlink(2) of a path returns EINVAL */
	return (int)n;
}

int path_readlink(struct task *t, const char *path, char link[PATH_BYTES])
{
	struct proc_node node;
	char buf[PATH_BYTES];
	const char *in_proc = path[0] == '/' ? proc_strip(path, false, buf) : NULL;

	if (!in_proc || proc_walk(t, in_proc, false, &node) || node.place != PROC_TREE)
		return -ENOENT;
	return proc_link_text(t, &node, link);
}

int path_check_change(struct task *t, int fd)
{
	char path[PATH_BYTES];

	return proc_tree_has(t->kernel, fd, path) ? -EACCES : kernel_fs_check_change(fd);
}

int path_object(struct task *t, int64_t dirfd, uint64_t addr, int flags)
{
	char path[PATH_BYTES];
	int err = user_string(t, path, sizeof(path), addr), fd;

	if (err)
		return err;
	if (!path[0] && (flags & AT_EMPTY_PATH)) {
		fd = (int)dirfd == AT_FDCWD ? t->fs->cwd : fd_host(t, (uint32_t)dirfd);
		fd = fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 0);
		return fd < 0 ? -EBADF : fd;
	}
	return path_open(t, dirfd, path, O_PATH | (flags & AT_SYMLINK_NOFOLLOW ? O_NOFOLLOW : 0), 0);
}

int path_to_change(struct task *t, int64_t dirfd, uint64_t addr, int flags)
{
	int fd = path_object(t, dirfd, addr, flags), err = fd < 0 ? fd : path_check_change(t, fd);

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
	end = strlen(path);
	while (end > 1 && path[end - 1] == '/')		/* trailing slashes stay in @name: it must be a directory */
		end--;
	for (at = end; at && path[at - 1] != '/';)
		at--;
	snprintf(name, PATH_BYTES, "%s", path[at] ? path + at : ".");
	path[at] = 0;
	dir = open_from(t, start_directory(t, dirfd, path), path[0] ? path : ".", O_PATH | O_DIRECTORY, 0, 0);
	err = dir < 0 ? 0 : path_check_change(t, dir);
	if (err)
		close(dir);
	return err ? err : dir;
}
