/* SPDX-License-Identifier: MIT */
/* abi/sys_event.c - eventfd(2), timerfd_create(2), inotify(7), by descriptors of the host. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "abi/path.h"

#include "syscalls.h"	/* made from syscall.tbl */

_Static_assert(EFD_CLOEXEC == O_CLOEXEC && TFD_CLOEXEC == O_CLOEXEC && IN_CLOEXEC == O_CLOEXEC, "one flag for all");

/* Install what a host call returned. */
static int64_t install(struct task *t, int host, uint32_t flags)
{
	return host < 0 ? -errno : fd_install(t, file_open(t->kernel, host), 0, flags & O_CLOEXEC);
}

/* --- eventfd --- */

int64_t sys_eventfd2(struct task *t, uint32_t initval, uint32_t flags)
{
	int err = fd_check_room(t, 1);

	return err ? err : install(t, eventfd(initval, (int)flags | EFD_CLOEXEC), flags);
}

int64_t sys_eventfd(struct task *t, uint32_t initval)
{
	return sys_eventfd2(t, initval, 0);
}

/* --- timerfd --- */

int64_t sys_timerfd_create(struct task *t, int clock, uint32_t flags)
{
	int err = fd_check_room(t, 1);

	return err ? err : install(t, timerfd_create(clock, (int)flags | TFD_CLOEXEC), flags);
}

int64_t sys_timerfd_settime(struct task *t, int fd, int flags, uint64_t new_value, uint64_t old_value)
{
	int host = fd_host(t, (uint64_t)fd);
	struct itimerspec value, old;

	if (user_read(t, &value, new_value, sizeof(value)))
		return -EFAULT;
	if (host < 0)
		return host;
	if (timerfd_settime(host, flags, &value, &old))
		return -errno;
	return old_value ? user_write(t, old_value, &old, sizeof(old)) : 0;
}

int64_t sys_timerfd_gettime(struct task *t, int fd, uint64_t value)
{
	int host = fd_host(t, (uint64_t)fd);
	struct itimerspec now;

	if (host < 0)
		return host;
	return timerfd_gettime(host, &now) ? -errno : user_write(t, value, &now, sizeof(now));
}

/* --- inotify --- */

int64_t sys_inotify_init1(struct task *t, uint32_t flags)
{
	int err = fd_check_room(t, 1);

	return err ? err : install(t, inotify_init1((int)flags | IN_CLOEXEC), flags);
}

int64_t sys_inotify_init(struct task *t)
{
	return sys_inotify_init1(t, 0);
}

int64_t sys_inotify_add_watch(struct task *t, int fd, uint64_t path, uint32_t mask)
{
	int host = fd_host(t, (uint64_t)fd), object, wd;
	char name[FD_NAME_BYTES];

	if (!(mask & (IN_ALL_EVENTS | IN_UNMOUNT | IN_Q_OVERFLOW | IN_IGNORED | IN_ONLYDIR | IN_DONT_FOLLOW |
		      IN_EXCL_UNLINK | IN_MASK_CREATE | IN_MASK_ADD | IN_ISDIR | IN_ONESHOT)))
		return -EINVAL;
	if (host < 0)
		return host;
	object = path_object(t, AT_FDCWD, path, mask & IN_DONT_FOLLOW ? AT_SYMLINK_NOFOLLOW : 0);
	if (object < 0)
		return object;
	wd = inotify_add_watch(host, path_fd_name(object, name), mask & ~(uint32_t)IN_DONT_FOLLOW);
	wd = wd < 0 ? -errno : wd;
	close(object);
	return wd;
}

int64_t sys_inotify_rm_watch(struct task *t, int fd, int wd)
{
	int host = fd_host(t, (uint64_t)fd);

	return host < 0 ? host : inotify_rm_watch(host, wd) ? -errno : 0;
}
