/* SPDX-License-Identifier: MIT */
/* abi/control.c - control messages of sendmsg(2) and recvmsg(2); see control.h. */
#define _GNU_SOURCE
#include "abi/control.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi/memfd.h"
#include "abi/path.h"

#define MAX_CONTROL	16384u	/* bytes; Linux: the sysctl optmem_max */
#define HEAD		CMSG_LEN(0)

/* Of <linux/socket.h>, <asm/socket.h> and <linux/in6.h>. */
#define SCM_PIDFD_TYPE	4
#define SCM_TXTIME_TYPE	61

/* --- sending --- */

static bool may_send(int level, int type)
{
	static const struct { int level, type; } plain[] = {	/* values without pointers or numbers of the host */
		{ SOL_SOCKET, SO_MARK }, { SOL_SOCKET, SO_TIMESTAMPING }, { SOL_SOCKET, SCM_TXTIME_TYPE },
		{ IPPROTO_IP, IP_PKTINFO }, { IPPROTO_IP, IP_TTL }, { IPPROTO_IP, IP_TOS }, { IPPROTO_IP, IP_RETOPTS },
		{ IPPROTO_IPV6, IPV6_PKTINFO }, { IPPROTO_IPV6, IPV6_HOPLIMIT }, { IPPROTO_IPV6, IPV6_TCLASS },
		{ IPPROTO_IPV6, IPV6_HOPOPTS }, { IPPROTO_IPV6, IPV6_DSTOPTS }, { IPPROTO_IPV6, IPV6_RTHDR },
		{ IPPROTO_IPV6, IPV6_RTHDRDSTOPTS }, { IPPROTO_IPV6, IPV6_DONTFRAG }, { IPPROTO_UDP, UDP_SEGMENT },
	};

	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		if (plain[i].level == level && plain[i].type == type)
			return true;
	return false;
}

/* Replace descriptors of the program by those of the host. */
static int load_fds(struct task *t, struct control *c, int *fds, size_t nr, size_t *total)
{
	*total += nr;
	if (*total > MAX_SENT_FDS)
		return -EINVAL;
	for (size_t i = 0; i < nr; i++) {
		const struct file *file = fds[i] < 0 ? NULL : fd_file(t, (uint64_t)fds[i]);

		if (!file)
			return -EBADF;
		fds[i] = file->fd;
		if (file->memfd) {
			memfd_sent(file->memfd);
			c->memfds[c->nr_memfds++] = file->memfd;
		}
	}
	return 0;
}

/* The program's own PID becomes the host's. The host checks the other IDs. */
static int load_credentials(const struct task *t, struct ucred *cred)
{
	if (cred->pid != t->process->pid)
		return -EPERM;
	cred->pid = getpid();
	return 0;
}

static int load_message(struct task *t, struct control *c, const struct cmsghdr *head, char *data, size_t *nr_fds)
{
	size_t len = head->cmsg_len - HEAD;

	if (head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS)
		return load_fds(t, c, (int *)data, len / sizeof(int), nr_fds);
	if (head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_CREDENTIALS)
		return len == sizeof(struct ucred) ? load_credentials(t, (struct ucred *)data) : -EINVAL;
	return may_send(head->cmsg_level, head->cmsg_type) ? 0 : -EINVAL;
}

int control_load(struct task *t, struct control *c, uint64_t addr, uint64_t len)
{
	size_t nr_fds = 0;
	int err = 0;

	memset(c, 0, sizeof(*c));
	if (!len)
		return 0;
	if (len > MAX_CONTROL)
		return -ENOBUFS;
	c->bytes = calloc(1, CMSG_ALIGN(len));
	if (!c->bytes)
		return -ENOMEM;
	c->len = len;
	if (user_read(t, c->bytes, addr, len))
		return -EFAULT;
	/* Too few bytes for a header end the list, as in Linux. */
	for (size_t at = 0; !err && at < len && len - at >= sizeof(struct cmsghdr);) {
		struct cmsghdr *head = (struct cmsghdr *)(c->bytes + at);

		if (head->cmsg_len < HEAD || head->cmsg_len > len - at)
			return -EINVAL;
		err = load_message(t, c, head, c->bytes + at + HEAD, &nr_fds);
		at += CMSG_ALIGN(head->cmsg_len);
	}
	return err;
}

void control_fini(struct control *c, bool sent)
{
	for (unsigned i = 0; i < c->nr_memfds && !sent; i++)
		memfd_received(c->memfds[i]);
	if (c->reserved)
		hostfd_release(c->reserved);
	free(c->bytes);
	c->bytes = NULL;
	c->reserved = c->nr_memfds = 0;
}

/* --- receiving --- */

/* The host's buffer is as long as the program's, so the host truncates as for the program. */
int control_expect(struct control *c, uint64_t len, bool may_have_fds)
{
	memset(c, 0, sizeof(*c));
	if (len < sizeof(struct cmsghdr))
		return 0;
	c->len = len < MAX_CONTROL ? len : MAX_CONTROL;
	c->reserved = !may_have_fds ? 0 : c->len - HEAD > MAX_SENT_FDS * sizeof(int) ? MAX_SENT_FDS :
		      (unsigned)((c->len - HEAD) / sizeof(int));
	while (c->reserved && !hostfd_reserve(c->reserved)) {
		c->reserved /= 2;
		c->len = HEAD + c->reserved * sizeof(int);
	}
	c->bytes = calloc(1, CMSG_ALIGN(c->len));
	return c->bytes ? 0 : -ENOMEM;
}

/* Install a descriptor that the host received. */
static int receive_fd(struct task *t, int host, uint32_t flags)
{
	struct file *file = file_open(t->kernel, host);

	__atomic_store_n(&t->kernel->received_files, true, __ATOMIC_RELAXED);
	if (file && !(flags & MSG_PEEK))
		memfd_received(file->memfd);
	return fd_install(t, file, 0, flags & MSG_CMSG_CLOEXEC);
}

/* Install descriptors up to the first failure, and close the others. Return: how many are installed. */
static size_t receive_fds(struct task *t, const struct control *c, int *fds, size_t nr, uint32_t flags)
{
	bool failed = !c->storable;	/* install none that the program cannot find */
	size_t done = 0;
	int fd;

	for (size_t i = 0; i < nr; i++) {
		if (failed) {
			close(fds[i]);
			continue;
		}
		fd = receive_fd(t, fds[i], flags);
		failed = fd < 0;
		if (!failed)
			fds[done++] = fd;
	}
	return done;
}

/* Translate a message. Return: bytes of its data that the program gets, or -1: it gets no such message. */
static long translate(struct task *t, struct control *c, const struct cmsghdr *head, char *data, uint32_t flags)
{
	size_t len = head->cmsg_len - HEAD, nr = len / sizeof(int), done;
	struct ucred *cred = (struct ucred *)data;

	if (head->cmsg_level != SOL_SOCKET)
		return (long)len;
	if (head->cmsg_type == SCM_RIGHTS) {
		done = receive_fds(t, c, (int *)data, nr, flags);
		if (done < nr)
			c->result.msg_flags |= MSG_CTRUNC;
		return done ? (long)(done * sizeof(int)) : -1;
	}
	if (head->cmsg_type == SCM_PIDFD_TYPE) {	/* of a socket that Vellum inherited */
		if (nr)
			close(*(int *)data);
		return -1;
	}
	/* As the PID of a process in another PID namespace. */
	if (head->cmsg_type == SCM_CREDENTIALS && len >= sizeof(cred->pid))
		cred->pid = 0;
	return (long)len;
}

size_t control_store(struct task *t, struct control *c, uint64_t addr, uint64_t len, uint32_t flags)
{
	size_t have = c->bytes ? c->result.msg_controllen : 0;
	uint64_t out = 0;

	c->storable = have && vellum_storable(t->gmm->mm, addr, have) == have;
	if (c->reserved)
		hostfd_release(c->reserved);
	c->reserved = 0;
	for (size_t at = 0; at < have && have - at >= sizeof(struct cmsghdr);) {
		struct cmsghdr *head = (struct cmsghdr *)(c->bytes + at);
		size_t whole = head->cmsg_len;
		long kept;

		if (whole < HEAD || whole > have - at)
			break;
		kept = translate(t, c, head, c->bytes + at + HEAD, flags);
		if (kept >= 0) {
			head->cmsg_len = HEAD + (size_t)kept;
			c->storable = c->storable && user_write(t, addr + out, head, head->cmsg_len) == 0;
			out += c->storable ? CMSG_ALIGN(head->cmsg_len) : 0;
		}
		at += CMSG_ALIGN(whole);
	}
	return out < len ? out : len;
}
