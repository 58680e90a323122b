/* SPDX-License-Identifier: MIT */
/* abi/sys_socket.c - socket(2), bind(2), connect(2), listen(2), accept(2), shutdown(2), getsockname(2) and the like. */
#define _GNU_SOURCE
#include "abi/socket.h"

#include <errno.h>
#include <linux/netlink.h>
#include <unistd.h>

#include "abi/sockaddr.h"

#include "syscalls.h"	/* made from syscall.tbl */

int socket_option(int socket, int option)
{
	socklen_t len = sizeof(int);
	int value;

	return getsockopt(socket, SOL_SOCKET, option, &value, &len) ? -errno : value;
}

bool socket_has_timeout(int socket, int timeout)
{
	struct timeval tv = { 0, 0 };
	socklen_t len = sizeof(tv);

	return getsockopt(socket, SOL_SOCKET, timeout, &tv, &len) == 0 && (tv.tv_sec || tv.tv_usec);
}

int64_t socket_interrupted(struct task *t, int socket, int timeout)
{
	return signal_pending(t) && socket_has_timeout(socket, timeout) ? -EINTR : -ERESTARTSYS;
}

/* --- creation --- */

/*
 * AF_XDP needs memory of the program. Messages of other netlink protocols may contain descriptors, which would be those
 * of Vellum.
 */
static int check_family(int family, int protocol)
{
	if (family == AF_XDP)
		return -EAFNOSUPPORT;
	if (family == AF_NETLINK && protocol != NETLINK_ROUTE && protocol != NETLINK_SOCK_DIAG &&
	    protocol != NETLINK_KOBJECT_UEVENT)
		return -EPROTONOSUPPORT;
	return 0;
}

int64_t sys_socket(struct task *t, int family, int type, int protocol)
{
	int err = check_family(family, protocol), host;

	if (!err)
		err = fd_check_room(t, 1);
	if (err)
		return err;
	host = socket(family, type | SOCK_CLOEXEC, protocol);
	return host < 0 ? -errno : fd_install(t, file_open(t->kernel, host), 0, type & SOCK_CLOEXEC);
}

int64_t sys_socketpair(struct task *t, int family, int type, int protocol, uint64_t fds)
{
	int err = check_family(family, protocol), host[2], guest[2];

	if (!err)
		err = fd_check_room(t, 2);
	if (err)
		return err;
	if (socketpair(family, type | SOCK_CLOEXEC, protocol, host))
		return -errno;
	for (int i = 0; i < 2; i++)
		guest[i] = fd_install(t, file_open(t->kernel, host[i]), 0, type & SOCK_CLOEXEC);
	if (guest[0] >= 0 && guest[1] >= 0 && user_write(t, fds, guest, sizeof(guest)) == 0)
		return 0;
	for (int i = 0; i < 2; i++)
		if (guest[i] >= 0)
			sys_close(t, guest[i]);
	return guest[0] < 0 ? guest[0] : guest[1] < 0 ? guest[1] : -EFAULT;
}

/* --- connections --- */

int64_t sys_bind(struct task *t, int fd, uint64_t addr, uint32_t len)
{
	int host = fd_host(t, (uint64_t)fd);
	struct host_addr a;
	int64_t err;

	if (host < 0)
		return host;
	err = sockaddr_read(t, &a, addr, (int)len);
	if (!err)
		err = sockaddr_bind(t, host, &a);
	sockaddr_fini(&a);
	return err;
}

/* A restarted call finds the host's socket connecting, and waits on: connect(2) of Linux is restarted alike. */
int64_t sys_connect(struct task *t, int fd, uint64_t addr, uint32_t len)
{
	int host = fd_host(t, (uint64_t)fd), err;
	struct host_addr a;

	if (host < 0)
		return host;
	err = sockaddr_read(t, &a, addr, (int)len);
	if (!err)
		err = sockaddr_reach(t, host, &a);
	if (!err) {
		host_call_begin(t);
		err = signal_pending(t) ? -EINTR : connect(host, &a.any, a.len) ? -errno : 0;
		host_call_end(t);
	}
	sockaddr_fini(&a);
	return err == -EINTR ? socket_interrupted(t, host, SO_SNDTIMEO) : err;
}

int64_t sys_listen(struct task *t, int fd, int backlog)
{
	int host = fd_host(t, (uint64_t)fd);

	return host < 0 ? host : listen(host, backlog) ? -errno : 0;
}

int64_t sys_accept4(struct task *t, int fd, uint64_t addr, uint64_t len, int flags)
{
	int host = fd_host(t, (uint64_t)fd), accepted, guest, err;
	struct host_addr a;

	if (host < 0)
		return host;
	if (flags & ~(SOCK_CLOEXEC | SOCK_NONBLOCK))
		return -EINVAL;
	err = fd_check_room(t, 1);
	if (err)
		return err;
	sockaddr_expect(&a);
	host_call_begin(t);
	accepted = signal_pending(t) ? -EINTR : accept4(host, &a.any, &a.len, flags | SOCK_CLOEXEC);
	if (accepted == -1)
		accepted = -errno;
	host_call_end(t);
	if (accepted < 0)
		return accepted == -EINTR ? socket_interrupted(t, host, SO_RCVTIMEO) : accepted;
	guest = fd_install(t, file_open(t->kernel, accepted), 0, flags & SOCK_CLOEXEC);
	if (guest < 0 || !addr)
		return guest;
	sockaddr_from_host(&a);
	err = sockaddr_write(t, &a, addr, len);
	if (err)
		sys_close(t, guest);
	return err ? err : guest;
}

int64_t sys_accept(struct task *t, int fd, uint64_t addr, uint64_t len)
{
	return sys_accept4(t, fd, addr, len, 0);
}

int64_t sys_shutdown(struct task *t, int fd, int how)
{
	int host = fd_host(t, (uint64_t)fd);

	return host < 0 ? host : shutdown(host, how) ? -errno : 0;
}

/* --- names --- */

static int64_t get_name(struct task *t, int fd, uint64_t addr, uint64_t len,
			int (*get)(int, struct sockaddr *, socklen_t *))
{
	int host = fd_host(t, (uint64_t)fd);
	struct host_addr a;

	if (host < 0)
		return host;
	sockaddr_expect(&a);
	if (get(host, &a.any, &a.len))
		return -errno;
	sockaddr_from_host(&a);
	return sockaddr_write(t, &a, addr, len);
}

static int own_name(int fd, struct sockaddr *addr, socklen_t *len)
{
	return getsockname(fd, addr, len);
}

static int peer_name(int fd, struct sockaddr *addr, socklen_t *len)
{
	return getpeername(fd, addr, len);
}

int64_t sys_getsockname(struct task *t, int fd, uint64_t addr, uint64_t len)
{
	return get_name(t, fd, addr, len, own_name);
}

int64_t sys_getpeername(struct task *t, int fd, uint64_t addr, uint64_t len)
{
	return get_name(t, fd, addr, len, peer_name);
}
