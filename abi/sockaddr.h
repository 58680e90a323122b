/* SPDX-License-Identifier: MIT */
/*
 * abi/sockaddr.h - socket addresses of programs.
 *
 * A path of an AF_UNIX socket is resolved as each other path of the program: the host gets a name of a descriptor in
 * its place. A list of bound names translates back what the host returns as the address of a socket.
 */
#ifndef ABI_SOCKADDR_H
#define ABI_SOCKADDR_H

#include <sys/socket.h>
#include <sys/un.h>

#include "abi/task.h"

struct host_addr {
	union {
		struct sockaddr any;
		struct sockaddr_un un;
		struct sockaddr_storage storage;
	};
	socklen_t len;
	int fd;			/* of the host, to which a path refers; -1: none */
};

/* Copy an address of the program. 0, -EINVAL or -EFAULT. Call sockaddr_fini() also after a failure. */
int sockaddr_read(struct task *t, struct host_addr *a, uint64_t addr, int len);
/* For connect(2) and the send calls: resolve a path. 0 or a negative errno. May block. */
int sockaddr_reach(struct task *t, int socket, struct host_addr *a);
/* bind(2). 0 or a negative errno. May block. */
int64_t sockaddr_bind(struct task *t, int socket, struct host_addr *a);
void sockaddr_fini(struct host_addr *a);

/* Prepare for a host call that returns an address. */
void sockaddr_expect(struct host_addr *a);
/* Replace the host's path by the name to which the program bound the socket. */
void sockaddr_from_host(struct host_addr *a);
/* Copy to the program, with the length: accept(2). 0, -EINVAL or -EFAULT. */
int sockaddr_write(struct task *t, const struct host_addr *a, uint64_t addr, uint64_t len_addr);

#endif
