/* SPDX-License-Identifier: MIT */
/*
 * abi/control.h - control messages of sendmsg(2) and recvmsg(2): cmsg(3). What a program passes is parsed, checked and
 * built anew: descriptors of the program become descriptors of the host. What the host returns is translated back.
 */
#ifndef ABI_CONTROL_H
#define ABI_CONTROL_H

#include <sys/socket.h>

#include "abi/task.h"

#define MAX_SENT_FDS 253u	/* of one message: unix(7), SCM_MAX_FD */

struct control {
	char *bytes;		/* for the host call; NULL: none */
	size_t len;
	struct memfd *memfds[MAX_SENT_FDS];	/* memfd_sent() was called */
	unsigned nr_memfds;
	unsigned reserved;	/* descriptors of the host that the receive call may make */
	struct msghdr result;	/* of the host call that received */
	bool storable;		/* the program's buffer is writable */
};

/* Copy and check what the program passes to sendmsg(2). 0 or a negative errno. Call control_fini() in any case. */
int control_load(struct task *t, struct control *c, uint64_t addr, uint64_t len);
/* Prepare to receive into @len bytes of the program. 0 or -ENOMEM. */
int control_expect(struct control *c, uint64_t len, bool may_have_fds);
/*
 * Store what the host returned in c->result to @len bytes at @addr, and install descriptors. Return: bytes of the
 * program's buffer that are used. Adds MSG_CTRUNC to c->result.msg_flags.
 */
size_t control_store(struct task *t, struct control *c, uint64_t addr, uint64_t len, uint32_t flags);
/* @sent: a message with this control data was sent. */
void control_fini(struct control *c, bool sent);

#endif
