/* SPDX-License-Identifier: MIT */
/* abi/sys_xattr.c - extended attributes: xattr(7), the host's. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdlib.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "abi/path.h"
#include "abi/task.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define NAME_BYTES (XATTR_NAME_MAX + 1)

/* The file of a path or a descriptor, by a name that the host's calls take; an O_PATH descriptor would not do. */
struct subject {
	int fd;			/* to close, or -1 */
	char name[FD_NAME_BYTES];
};

static int by_path(struct task *t, struct subject *s, uint64_t path, int flags, bool change)
{
	s->fd = change ? path_to_change(t, AT_FDCWD, path, flags) : path_object(t, AT_FDCWD, path, flags);
	if (s->fd >= 0)
		path_fd_name(s->fd, s->name);
	return s->fd < 0 ? s->fd : 0;
}

static int by_fd(struct task *t, struct subject *s, int fd)
{
	int host = fd_host(t, (uint32_t)fd);

	s->fd = -1;
	if (host >= 0)
		path_fd_name(host, s->name);
	return host < 0 ? -EBADF : 0;
}

static int64_t finish(struct subject *s, int64_t result)
{
	if (s->fd >= 0)
		close(s->fd);
	return result;
}

static int read_name(struct task *t, char name[NAME_BYTES], uint64_t addr)
{
	int err = user_string(t, name, NAME_BYTES, addr);

	return err == -ENAMETOOLONG || (!err && !name[0]) ? -ERANGE : err;
}

/* @addr of an attribute's name; 0: list the names. */
static int64_t get(struct task *t, const struct subject *s, uint64_t addr, uint64_t value, uint64_t size)
{
	size_t room = size < XATTR_SIZE_MAX ? size : XATTR_SIZE_MAX;
	char name[NAME_BYTES], *buf;
	int64_t n = addr ? read_name(t, name, addr) : 0;

	if (n)
		return n;
	buf = room ? malloc(room) : NULL;
	if (room && !buf)
		return -ENOMEM;
	n = addr ? getxattr(s->name, name, buf, room) : listxattr(s->name, buf, room);
	n = n < 0 ? -errno : n;
	if (n > 0 && room && user_write(t, value, buf, (size_t)n))
		n = -EFAULT;
	free(buf);
	return n;
}

static int64_t set(struct task *t, const struct subject *s, uint64_t addr, uint64_t value, uint64_t size, int flags)
{
	char name[NAME_BYTES], *buf;
	int err = read_name(t, name, addr);

	if (err)
		return err;
	if (size > XATTR_SIZE_MAX)
		return -E2BIG;
	buf = malloc(size + 1);
	if (!buf)
		return -ENOMEM;
	err = user_read(t, buf, value, size);
	if (!err && setxattr(s->name, name, buf, size, flags))
		err = -errno;
	free(buf);
	return err;
}

static int64_t take_away(struct task *t, const struct subject *s, uint64_t addr)
{
	char name[NAME_BYTES];
	int err = read_name(t, name, addr);

	return err ? err : removexattr(s->name, name) ? -errno : 0;
}

/* --- three forms of each call: by path, by path without following a link at its end, by descriptor --- */

int64_t sys_getxattr(struct task *t, uint64_t path, uint64_t name, uint64_t value, uint64_t size)
{
	struct subject s;
	int err = by_path(t, &s, path, 0, false);

	return err ? err : finish(&s, get(t, &s, name, value, size));
}

int64_t sys_lgetxattr(struct task *t, uint64_t path, uint64_t name, uint64_t value, uint64_t size)
{
	struct subject s;
	int err = by_path(t, &s, path, AT_SYMLINK_NOFOLLOW, false);

	return err ? err : finish(&s, get(t, &s, name, value, size));
}

int64_t sys_fgetxattr(struct task *t, int fd, uint64_t name, uint64_t value, uint64_t size)
{
	struct subject s;
	int err = by_fd(t, &s, fd);

	return err ? err : finish(&s, get(t, &s, name, value, size));
}

int64_t sys_listxattr(struct task *t, uint64_t path, uint64_t list, uint64_t size)
{
	struct subject s;
	int err = by_path(t, &s, path, 0, false);

	return err ? err : finish(&s, get(t, &s, 0, list, size));
}

int64_t sys_llistxattr(struct task *t, uint64_t path, uint64_t list, uint64_t size)
{
	struct subject s;
	int err = by_path(t, &s, path, AT_SYMLINK_NOFOLLOW, false);

	return err ? err : finish(&s, get(t, &s, 0, list, size));
}

int64_t sys_flistxattr(struct task *t, int fd, uint64_t list, uint64_t size)
{
	struct subject s;
	int err = by_fd(t, &s, fd);

	return err ? err : finish(&s, get(t, &s, 0, list, size));
}

static bool are_set_flags(int flags)
{
	return !(flags & ~(XATTR_CREATE | XATTR_REPLACE));
}

int64_t sys_setxattr(struct task *t, uint64_t path, uint64_t name, uint64_t value, uint64_t size, int flags)
{
	struct subject s;
	int err = are_set_flags(flags) ? by_path(t, &s, path, 0, true) : -EINVAL;

	return err ? err : finish(&s, set(t, &s, name, value, size, flags));
}

int64_t sys_lsetxattr(struct task *t, uint64_t path, uint64_t name, uint64_t value, uint64_t size, int flags)
{
	struct subject s;
	int err = are_set_flags(flags) ? by_path(t, &s, path, AT_SYMLINK_NOFOLLOW, true) : -EINVAL;

	return err ? err : finish(&s, set(t, &s, name, value, size, flags));
}

int64_t sys_fsetxattr(struct task *t, int fd, uint64_t name, uint64_t value, uint64_t size, int flags)
{
	struct subject s;
	int err = are_set_flags(flags) ? by_fd(t, &s, fd) : -EINVAL;

	return err ? err : finish(&s, set(t, &s, name, value, size, flags));
}

int64_t sys_removexattr(struct task *t, uint64_t path, uint64_t name)
{
	struct subject s;
	int err = by_path(t, &s, path, 0, true);

	return err ? err : finish(&s, take_away(t, &s, name));
}

int64_t sys_lremovexattr(struct task *t, uint64_t path, uint64_t name)
{
	struct subject s;
	int err = by_path(t, &s, path, AT_SYMLINK_NOFOLLOW, true);

	return err ? err : finish(&s, take_away(t, &s, name));
}

int64_t sys_fremovexattr(struct task *t, int fd, uint64_t name)
{
	struct subject s;
	int err = by_fd(t, &s, fd);

	return err ? err : finish(&s, take_away(t, &s, name));
}
