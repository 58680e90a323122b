/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_socket.c - calls on sockets. Programs get no sockets in this version, but they ask whether a descriptor is one:
 * bash looks whether its stdin is, and takes any answer but ENOTSOCK for a login over the network.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/stat.h>

#include "abi/task.h"

#include "syscalls.h"	/* made from syscall.tbl */

static int64_t not_a_socket(struct task *t, int fd)
{
	int host = fd_host(t, (uint32_t)fd);
	struct stat st;

	if (host < 0)
		return -EBADF;
	return fstat(host, &st) == 0 && S_ISSOCK(st.st_mode) ? -EOPNOTSUPP : -ENOTSOCK;
}

#define SOCKET_CALL(name, ...)                                    \
	int64_t sys_##name(struct task *t, int fd, __VA_ARGS__)   \
	{                                                         \
		return not_a_socket(t, fd);                       \
	}

SOCKET_CALL(connect, uint64_t addr, uint32_t len)
SOCKET_CALL(accept, uint64_t addr, uint64_t len)
SOCKET_CALL(accept4, uint64_t addr, uint64_t len, int flags)
SOCKET_CALL(sendto, uint64_t buf, uint64_t size, uint32_t flags, uint64_t addr, uint32_t len)
SOCKET_CALL(recvfrom, uint64_t buf, uint64_t size, uint32_t flags, uint64_t addr, uint64_t len)
SOCKET_CALL(sendmsg, uint64_t msg, uint32_t flags)
SOCKET_CALL(recvmsg, uint64_t msg, uint32_t flags)
SOCKET_CALL(shutdown, int how)
SOCKET_CALL(bind, uint64_t addr, uint32_t len)
SOCKET_CALL(listen, int backlog)
SOCKET_CALL(getsockname, uint64_t addr, uint64_t len)
SOCKET_CALL(getpeername, uint64_t addr, uint64_t len)
SOCKET_CALL(setsockopt, int level, int name, uint64_t value, uint32_t len)
SOCKET_CALL(getsockopt, int level, int name, uint64_t value, uint64_t len)
