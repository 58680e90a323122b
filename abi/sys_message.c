/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_message.c - the send and receive calls of sockets. Bytes go through a buffer of the host: bounce.h. A message
 * is sent and received by one host call, a stream by several.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "abi/bounce.h"
#include "abi/control.h"
#include "abi/sockaddr.h"
#include "abi/socket.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define CHUNK		(128u << 10)	/* of a stream: bytes of one host call */
#define MAX_MESSAGE	(4u << 20)	/* bytes: buffers of the host's sockets are smaller */
#define MAX_IO		0x7ffff000ull	/* bytes of one call at most, as in Linux */

/* Linux ignores other flags. MSG_ZEROCOPY would need the program's own memory; it means nothing without SO_ZEROCOPY. */
#define SEND_FLAGS (MSG_OOB | MSG_DONTROUTE | MSG_DONTWAIT | MSG_EOR | MSG_CONFIRM | MSG_MORE | MSG_FASTOPEN)
#define RECV_FLAGS (MSG_OOB | MSG_PEEK | MSG_TRUNC | MSG_WAITALL | MSG_DONTWAIT | MSG_ERRQUEUE)

struct guest_msghdr {
	uint64_t name;
	uint32_t namelen, pad;
	uint64_t iov, iovlen, control, controllen;
	uint32_t flags, pad2;
};

/* A send or receive call. */
struct transfer {
	struct file *file;
	struct user_vector v;
	uint64_t len;			/* of the vector */
	uint32_t flags;
	struct msghdr host;		/* name and control; then what the host returned */
	bool stream;
};

/* A message of at most CHUNK bytes is one host call for streams, too, so the type is asked for only if it matters. */
static void find_type(struct transfer *x)
{
	x->stream = (x->len > CHUNK || (x->flags & (MSG_TRUNC | MSG_WAITALL)) || file_nr_unread(x->file)) &&
		    socket_option(x->file->fd, SO_TYPE) == SOCK_STREAM;
}

static size_t buffer_size(const struct transfer *x, size_t most)
{
	return !x->len ? 1 : x->len < most ? x->len : most;
}

/* True: an interrupted call goes on. A kick for a blocked signal interrupted it, and no timeout began anew. */
static bool must_go_on(struct task *t, const struct transfer *x, int timeout)
{
	return !signal_pending(t) && !(x->flags & MSG_DONTWAIT) && !socket_has_timeout(x->file->fd, timeout);
}

/* --- sending --- */

static int64_t send_chunk(struct task *t, struct transfer *x, struct bounce *b, size_t want, uint32_t flags)
{
	struct user_vector start = x->v;
	size_t accessible = vector_load(t, &x->v, b->bytes, want);
	int64_t n;

	if (accessible == want) {
		bounce_plain(b, want);
	} else {
		if (bounce_mirror(b, &start, want, accessible))
			return -ENOMEM;
		bounce_scatter(b, accessible);
	}
	x->host.msg_iov = b->iov;
	x->host.msg_iovlen = (size_t)b->nr;
	host_call_begin(t);
	do {
		n = signal_pending(t) ? -EINTR :
					sendmsg(x->file->fd, &x->host, (int)(flags & SEND_FLAGS) | MSG_NOSIGNAL);
		if (n == -1)
			n = -errno;
	} while (n == -EINTR && must_go_on(t, x, SO_SNDTIMEO));
	host_call_end(t);
	x->v = start;
	if (n > 0)
		vector_skip(&x->v, (size_t)n);
	return n;
}

static int64_t send_all(struct task *t, struct transfer *x)
{
	int64_t done = 0, n;
	struct bounce b;

	find_type(x);
	if (!x->stream && x->len > MAX_MESSAGE)
		return -EMSGSIZE;
	if (bounce_init(&b, buffer_size(x, x->stream ? CHUNK : MAX_MESSAGE)))
		return -ENOMEM;
	do {
		uint64_t left = x->len - (uint64_t)done, want = left < b.size ? left : b.size;
		bool last = want == left;

		n = send_chunk(t, x, &b, want, last ? x->flags : x->flags & ~(uint32_t)(MSG_OOB | MSG_EOR));
		x->host.msg_control = NULL;
		x->host.msg_controllen = 0;
		if (n > 0)
			done += n;
		if (n <= 0 || (n < (int64_t)want && !must_go_on(t, x, SO_SNDTIMEO)))
			break;
	} while ((uint64_t)done < x->len);
	bounce_fini(&b);
	if (done)
		return done;
	if (n == -EPIPE && !(x->flags & MSG_NOSIGNAL) && socket_option(x->file->fd, SO_TYPE) == SOCK_STREAM)
		signal_self(t, SIGPIPE);
	return n == -EINTR ? socket_interrupted(t, x->file->fd, SO_SNDTIMEO) : n;
}

/* --- receiving --- */

/* False: the host counts bytes that it drops, tcp(7). */
static bool stores_bytes(const struct transfer *x)
{
	return !(x->flags & MSG_TRUNC) || !x->stream || socket_option(x->file->fd, SO_DOMAIN) == AF_UNIX;
}

static int64_t receive_chunk(struct task *t, struct transfer *x, struct bounce *b, size_t want, uint32_t flags)
{
	size_t accessible = vector_storable(t, &x->v, want), filled, stored;
	int64_t n;

	if (accessible == want)
		bounce_plain(b, want);
	else if (bounce_mirror(b, &x->v, want, accessible))
		return -ENOMEM;
	if (flags & MSG_TRUNC)
		memset(b->bytes, 0, want);
	x->host.msg_iov = b->iov;
	x->host.msg_iovlen = (size_t)b->nr;
	host_call_begin(t);
	do {
		n = signal_pending(t) ? -EINTR :
					recvmsg(x->file->fd, &x->host, (int)(flags & RECV_FLAGS) | MSG_CMSG_CLOEXEC);
		if (n == -1)
			n = -errno;
	} while (n == -EINTR && must_go_on(t, x, SO_RCVTIMEO));
	host_call_end(t);
	if (n <= 0 || !stores_bytes(x))
		return n;
	filled = (uint64_t)n < accessible ? (size_t)n : accessible;
	bounce_gather(b, b->bytes, filled);
	stored = vector_store(t, &x->v, b->bytes, filled);
	if (stored == filled)
		return n;
	if (!(flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE)) && socket_option(x->file->fd, SO_TYPE) == SOCK_STREAM)
		file_put_unread(x->file, b->bytes + stored, filled - stored);
	return stored ? (int64_t)stored : -EFAULT;
}

/* Bytes that file_put_unread() kept come first. Return: bytes, 0 if there are none, or -EFAULT. */
static int64_t receive_unread(struct task *t, struct transfer *x, struct bounce *b)
{
	size_t len = x->len < b->size ? x->len : b->size, n, stored;

	if (!file_nr_unread(x->file) || !len || (x->flags & (MSG_OOB | MSG_ERRQUEUE)))
		return 0;
	n = file_read_unread(x->file, b->bytes, len);
	stored = vector_store(t, &x->v, b->bytes, n);
	if (x->flags & MSG_PEEK)
		file_put_unread(x->file, b->bytes, n);
	else if (stored < n)
		file_put_unread(x->file, b->bytes + stored, n - stored);
	if (!stored && n)
		return -EFAULT;
	x->host.msg_namelen = 0;
	x->host.msg_controllen = 0;
	x->host.msg_flags = 0;
	return (int64_t)stored;
}

/* The flags of the next host call for the same stream, or -1: the call returns what it has. */
static int64_t next_receive(struct task *t, const struct transfer *x, bool full)
{
	if (!x->stream || (x->flags & (MSG_PEEK | MSG_OOB | MSG_ERRQUEUE)) || x->host.msg_control)
		return -1;
	if (x->flags & MSG_WAITALL)
		return full || must_go_on(t, x, SO_RCVTIMEO) ? (int64_t)x->flags : -1;
	/* A stream of AF_UNIX has borders at its control messages. */
	return full && socket_option(x->file->fd, SO_DOMAIN) != AF_UNIX ? (int64_t)(x->flags | MSG_DONTWAIT) : -1;
}

static int64_t receive_all(struct task *t, struct transfer *x)
{
	int64_t done, n, next = x->flags;
	struct msghdr first;
	struct bounce b;

	find_type(x);
	if (bounce_init(&b, buffer_size(x, x->stream && !(x->flags & (MSG_PEEK | MSG_WAITALL)) ? CHUNK : MAX_MESSAGE)))
		return -ENOMEM;
	done = n = receive_unread(t, x, &b);
	first = x->host;
	if (n > 0 && !(x->flags & MSG_WAITALL))
		next = -1;
	while (n >= 0 && next >= 0 && ((uint64_t)done < x->len || !done)) {
		uint64_t left = x->len - (uint64_t)done, want = left < b.size ? left : b.size;

		n = receive_chunk(t, x, &b, want, (uint32_t)next);
		if (!done)
			first = x->host;
		x->host.msg_name = NULL;
		x->host.msg_namelen = 0;
		if (n <= 0)
			break;
		done += n;
		next = next_receive(t, x, n == (int64_t)want);
	}
	bounce_fini(&b);
	x->host = first;
	if (done > 0)
		return done;
	return n == -EINTR ? socket_interrupted(t, x->file->fd, SO_RCVTIMEO) : n;
}

/* --- sendto(2), recvfrom(2) --- */

/* Linux cuts the length first. */
static int one_segment(struct transfer *x, struct iovec *iov, uint64_t buf, uint64_t size)
{
	size = size < MAX_IO ? size : MAX_IO;
	if (buf > VELLUM_TASK_SIZE || size > VELLUM_TASK_SIZE - buf)
		return -EFAULT;
	*iov = (struct iovec){ (void *)buf, size };
	x->v = (struct user_vector){ .iov = iov, .nr = 1 };
	x->len = size;
	return 0;
}

/* Only datagrams have addresses: another socket of AF_UNIX refuses the path unseen, or ignores it. */
static int find_receiver(struct task *t, struct transfer *x, struct host_addr *a)
{
	if (socket_option(x->file->fd, SO_TYPE) == SOCK_DGRAM) {
		int err = sockaddr_reach(t, x->file->fd, a);

		if (err)
			return err;
	} else if (a->any.sa_family == AF_UNIX) {
		a->un.sun_path[0] = 0;
	}
	x->host.msg_name = &a->any;
	x->host.msg_namelen = a->len;
	return 0;
}

int64_t sys_sendto(struct task *t, int fd, uint64_t buf, uint64_t size, uint32_t flags, uint64_t addr, uint32_t len)
{
	struct transfer x = { .flags = flags };
	struct host_addr a = { .fd = -1 };
	struct iovec iov;
	int64_t n = one_segment(&x, &iov, buf, size);

	if (n)
		return n;
	x.file = fd_file(t, (uint64_t)fd);
	if (!x.file)
		return -EBADF;
	if (addr)
		n = sockaddr_read(t, &a, addr, (int)len);
	if (addr && !n)
		n = find_receiver(t, &x, &a);
	if (!n)
		n = send_all(t, &x);
	sockaddr_fini(&a);
	return n;
}

int64_t sys_recvfrom(struct task *t, int fd, uint64_t buf, uint64_t size, uint32_t flags, uint64_t addr, uint64_t len)
{
	struct transfer x = { .flags = flags };
	struct host_addr a;
	struct iovec iov;
	int64_t n = one_segment(&x, &iov, buf, size), err;

	if (n)
		return n;
	x.file = fd_file(t, (uint64_t)fd);
	if (!x.file)
		return -EBADF;
	sockaddr_expect(&a);
	if (addr) {
		x.host.msg_name = &a.any;
		x.host.msg_namelen = a.len;
	}
	n = receive_all(t, &x);
	if (n < 0 || !addr)
		return n;
	a.len = x.host.msg_namelen;
	sockaddr_from_host(&a);
	err = sockaddr_write(t, &a, addr, len);
	return err ? err : n;
}

/* --- sendmsg(2), recvmsg(2) --- */

/* Copy and check the header and the vector. */
static int read_header(struct task *t, uint64_t addr, struct guest_msghdr *head, struct iovec *iov, struct transfer *x)
{
	if (user_read(t, head, addr, sizeof(*head)))
		return -EFAULT;
	if (!head->name)
		head->namelen = 0;
	if ((int)head->namelen < 0)
		return -EINVAL;
	if (head->namelen > sizeof(struct sockaddr_storage))
		head->namelen = sizeof(struct sockaddr_storage);
	if (head->iovlen > IOV_MAX)
		return -EMSGSIZE;
	x->v = (struct user_vector){ .iov = iov, .nr = head->iovlen };
	return user_vector_read(t, iov, head->iov, head->iovlen, &x->len);
}

static int64_t send_message(struct task *t, struct file *file, uint64_t msg, uint32_t flags)
{
	struct transfer x = { .file = file, .flags = flags };
	struct host_addr a = { .fd = -1 };
	struct iovec iov[IOV_MAX];
	struct guest_msghdr head;
	struct control control;
	int64_t n = read_header(t, msg, &head, iov, &x);

	if (n)
		return n;
	if (head.namelen)
		n = sockaddr_read(t, &a, head.name, (int)head.namelen);
	if (n)
		return n;
	if (head.namelen)
		n = find_receiver(t, &x, &a);
	if (!n) {
		n = control_load(t, &control, head.control, head.controllen);
		x.host.msg_control = control.bytes;
		x.host.msg_controllen = control.len;
		n = n ? n : send_all(t, &x);
		control_fini(&control, n >= 0);
	}
	sockaddr_fini(&a);
	return n;
}

/* Copy to the program what recvmsg(2) returns beside the bytes. */
static int64_t write_header(struct task *t, uint64_t msg, const struct guest_msghdr *head, struct transfer *x,
			    struct host_addr *a, struct control *control)
{
	const uint64_t len_addr = msg + offsetof(struct guest_msghdr, namelen);
	uint64_t used;
	uint32_t flags;
	int err = 0;

	control->result = x->host;
	used = control_store(t, control, head->control, head->controllen, x->flags);
	if (head->name) {
		a->len = x->host.msg_namelen;
		sockaddr_from_host(a);
		err = sockaddr_write(t, a, head->name, len_addr);
	}
	flags = ((uint32_t)control->result.msg_flags & ~(uint32_t)MSG_CMSG_CLOEXEC) | (x->flags & MSG_CMSG_CLOEXEC);
	if (!err)
		err = user_write(t, msg + offsetof(struct guest_msghdr, flags), &flags, sizeof(flags));
	if (!err)
		err = user_write(t, msg + offsetof(struct guest_msghdr, controllen), &used, sizeof(used));
	return err;
}

static int64_t receive_message(struct task *t, struct file *file, uint64_t msg, uint32_t flags)
{
	struct transfer x = { .file = file, .flags = flags };
	struct iovec iov[IOV_MAX];
	struct guest_msghdr head;
	struct control control;
	struct host_addr a;
	int64_t n = read_header(t, msg, &head, iov, &x), err;

	if (n)
		return n;
	sockaddr_expect(&a);
	if (head.name) {
		x.host.msg_name = &a.any;
		x.host.msg_namelen = a.len;
	}
	if (!head.control)
		head.controllen = 0;
	n = control_expect(&control, head.controllen,
			   head.controllen && socket_option(file->fd, SO_DOMAIN) == AF_UNIX);
	x.host.msg_control = control.bytes;
	x.host.msg_controllen = control.bytes ? control.len : 0;
	n = n ? n : receive_all(t, &x);
	if (n >= 0) {
		err = write_header(t, msg, &head, &x, &a, &control);
		n = err ? err : n;
	}
	control_fini(&control, false);
	return n;
}

int64_t sys_sendmsg(struct task *t, int fd, uint64_t msg, uint32_t flags)
{
	struct file *file = fd_file(t, (uint64_t)fd);

	return file ? send_message(t, file, msg, flags) : -EBADF;
}

int64_t sys_recvmsg(struct task *t, int fd, uint64_t msg, uint32_t flags)
{
	struct file *file = fd_file(t, (uint64_t)fd);

	return file ? receive_message(t, file, msg, flags) : -EBADF;
}

/* --- sendmmsg(2), recvmmsg(2) --- */

#define MMSG_BYTES	64u	/* struct mmsghdr */
#define MMSG_LEN_OFFSET 56u

/* The result of a call of which @done messages succeeded. */
static int64_t messages_done(uint32_t done, int64_t error)
{
	return done ? (int64_t)done : error;
}

int64_t sys_sendmmsg(struct task *t, int fd, uint64_t msgs, uint32_t nr, uint32_t flags)
{
	struct file *file = fd_file(t, (uint64_t)fd);
	uint32_t done = 0, sent;
	int64_t n = 0;

	if (!file)
		return -EBADF;
	for (nr = nr < IOV_MAX ? nr : IOV_MAX; done < nr; done++) {
		uint64_t at = msgs + (uint64_t)done * MMSG_BYTES;

		n = send_message(t, file, at, flags);
		sent = (uint32_t)n;
		if (n >= 0)
			n = user_write(t, at + MMSG_LEN_OFFSET, &sent, sizeof(sent));
		if (n < 0)
			break;
	}
	return messages_done(done, n);
}

/* The timeout is checked only after a message, as in Linux: recvmmsg(2). */
static int64_t receive_messages(struct task *t, struct file *file, uint64_t msgs, uint32_t nr, uint32_t flags,
				uint64_t until)
{
	uint32_t done = 0, received, each = flags & ~(uint32_t)MSG_WAITFORONE;
	int64_t n = 0;

	while (done < nr) {
		uint64_t at = msgs + (uint64_t)done * MMSG_BYTES;

		n = receive_message(t, file, at, each);
		received = (uint32_t)n;
		if (n >= 0)
			n = user_write(t, at + MMSG_LEN_OFFSET, &received, sizeof(received));
		if (n < 0)
			break;
		done++;
		if (flags & MSG_WAITFORONE)
			each |= MSG_DONTWAIT;
		if (clock_ns(CLOCK_MONOTONIC) >= until)
			break;
	}
	return messages_done(done, n);
}

int64_t sys_recvmmsg(struct task *t, int fd, uint64_t msgs, uint32_t nr, uint32_t flags, uint64_t timeout)
{
	struct file *file = fd_file(t, (uint64_t)fd);
	uint64_t until = ~0ull, now = clock_ns(CLOCK_MONOTONIC);
	struct timespec ts;
	int64_t n;

	if (timeout) {
		if (user_read(t, &ts, timeout, sizeof(ts)))
			return -EFAULT;
		if (ts.tv_sec < 0 || ts.tv_nsec < 0 || ts.tv_nsec >= NS_PER_SEC)
			return -EINVAL;
		if (ts.tv_sec < INT_MAX)
			until = now + (uint64_t)ts.tv_sec * NS_PER_SEC + (uint64_t)ts.tv_nsec;
	}
	if (!file)
		return -EBADF;
	n = receive_messages(t, file, msgs, nr < IOV_MAX ? nr : IOV_MAX, flags, until);
	if (timeout && until != ~0ull && n > 0) {
		now = clock_ns(CLOCK_MONOTONIC);
		now = until > now ? until - now : 0;
		ts = ns_timespec(now);
		if (user_write(t, timeout, &ts, sizeof(ts)))
			return -EFAULT;
	}
	return n;
}
