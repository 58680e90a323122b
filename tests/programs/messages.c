/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/messages.c - sendmsg(2), recvmsg(2), sendmmsg(2), recvmmsg(2): vectors, control messages, descriptors
 * in messages. It runs in a directory in which it may make files. Its output is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"

static void *volatile bad = (void *)1;	/* volatile: the compiler would find the error */

static void pair(int type, int fds[2])
{
	if (socketpair(AF_UNIX, type, 0, fds)) {
		perror("socketpair");
		exit(1);
	}
}

static void close_pair(const int fds[2])
{
	close(fds[0]);
	close(fds[1]);
}

static int nr_open(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* --- vectors --- */

static void vectors(int type)
{
	char a[4] = "aaaa", b[8] = "bbbbbbbb", c[2];
	struct iovec out[] = { { a, 4 }, { bad, 0 }, { b, 8 } }, in[] = { { c, 1 }, { b, 3 }, { NULL, 0 }, { a, 4 } };
	struct msghdr msg = { .msg_iov = out, .msg_iovlen = 3 };
	int fds[2];

	printf("type %d\n", type);
	pair(type, fds);
	SHOW(sendmsg(fds[0], &msg, 0));
	msg.msg_iov = in;
	msg.msg_iovlen = 4;
	memset(a, '.', 4);
	SHOW(recvmsg(fds[1], &msg, 0));
	printf("%.1s %.3s %.4s flags %x\n", c, b, a, (unsigned)msg.msg_flags);
	msg.msg_iov = out;
	for (size_t n = 0; n < 2; n++) {
		msg.msg_iovlen = n ? IOV_MAX + 1 : 0;
		SHOW(sendmsg(fds[0], &msg, 0));
		SHOW(recvmsg(fds[1], &msg, MSG_DONTWAIT));
	}
	out[1].iov_len = 1;
	msg.msg_iovlen = 3;
	SHOW(sendmsg(fds[0], &msg, 0));
	out[1].iov_len = (size_t)-1;
	SHOW(sendmsg(fds[0], &msg, 0));
	msg.msg_iov = bad;
	SHOW(sendmsg(fds[0], &msg, 0));
	SHOW(sendmsg(fds[0], bad, 0));
	SHOW(recvmsg(fds[0], bad, 0));
	close_pair(fds);
}

static void names_of_messages(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX, .sun_path = "receiver" }, from;
	struct iovec iov = { "text", 4 };
	struct msghdr msg = { .msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = &iov, .msg_iovlen = 1 };
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0), sender = socket(AF_UNIX, SOCK_DGRAM, 0);
	char buf[10];

	SHOW(bind(fd, (struct sockaddr *)&a, sizeof(a)));
	strcpy(from.sun_path, "./sender");
	from.sun_family = AF_UNIX;
	SHOW(bind(sender, (struct sockaddr *)&from, sizeof(from)));
	SHOW(sendmsg(sender, &msg, 0));
	SHOW(sendmsg(sender, &msg, 0));
	msg.msg_namelen = 300;
	SHOW(sendmsg(sender, &msg, 0));
	msg.msg_namelen = (socklen_t)-1;
	SHOW(sendmsg(sender, &msg, 0));
	SHOW(recvmsg(fd, &msg, MSG_DONTWAIT));
	msg.msg_namelen = 5;
	msg.msg_name = bad;
	SHOW(sendmsg(sender, &msg, 0));
	msg.msg_name = &from;
	msg.msg_namelen = sizeof(from);
	memset(&from, 0, sizeof(from));
	iov = (struct iovec){ buf, sizeof(buf) };
	SHOW(recvmsg(fd, &msg, 0));
	printf("from %s length %u\n", from.sun_path, msg.msg_namelen);
	msg.msg_name = NULL;
	msg.msg_namelen = 55;
	SHOW(recvmsg(fd, &msg, 0));
	printf("length %u\n", msg.msg_namelen);
	close(sender);
	close(fd);
}

/* --- descriptors --- */

union control {
	char bytes[4096];
	struct cmsghdr head;
};

static void put_fds(struct msghdr *msg, union control *c, const int *fds, size_t nr)
{
	msg->msg_control = c->bytes;
	msg->msg_controllen = CMSG_SPACE(nr * sizeof(int));
	c->head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS,
				    .cmsg_len = CMSG_LEN(nr * sizeof(int)) };
	memcpy(CMSG_DATA(&c->head), fds, nr * sizeof(int));
}

static long send_fds(int to, const int *fds, size_t nr)
{
	struct iovec iov = { "f", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control c;

	memset(&c, 0, sizeof(c));
	put_fds(&msg, &c, fds, nr);
	return sendmsg(to, &msg, 0);
}

/* Print what a message has. Return: the last descriptor; the others are closed. */
static int receive_fds(int from, size_t controllen, int flags)
{
	union control c;
	char buf[16];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.bytes, .msg_controllen = controllen };
	int last = -1, before = nr_open();
	long n;

	memset(&c, 'c', sizeof(c));
	n = recvmsg(from, &msg, flags);
	if (n < 0) {
		printf("recvmsg: %s\n", strerrorname_np(errno));
		return -1;
	}
	printf("recvmsg %zu, %x: %ld bytes, flags %x, control %zu, %d descriptors\n", controllen, (unsigned)flags, n,
	       (unsigned)msg.msg_flags, msg.msg_controllen, nr_open() - before);
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&msg); h; h = CMSG_NXTHDR(&msg, h)) {
		size_t nr = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		printf("  level %d type %d length %zu\n", h->cmsg_level, h->cmsg_type, h->cmsg_len);
		for (size_t i = 0; h->cmsg_type == SCM_RIGHTS && i < nr; i++) {
			if (last >= 0)
				close(last);
			memcpy(&last, CMSG_DATA(h) + i * sizeof(int), sizeof(int));
		}
	}
	if (last >= 0)
		printf("  cloexec %d\n", fcntl(last, F_GETFD));
	return last;
}

static void rights(int type)
{
	int fds[2], pipes[2], many[300], fd, before;
	char buf[10];

	printf("type %d\n", type);
	pair(type, fds);
	if (pipe(pipes))
		return;
	before = nr_open();
	SHOW(send_fds(fds[0], &pipes[1], 1));
	fd = receive_fds(fds[1], sizeof(union control), 0);
	SHOW(write(fd, "through", 7));
	SHOW(read(pipes[0], buf, 10));
	close(fd);
	SHOW(send_fds(fds[0], pipes, 2));
	fd = receive_fds(fds[1], CMSG_SPACE(2 * sizeof(int)), MSG_CMSG_CLOEXEC | MSG_PEEK);
	close(fd);
	close(receive_fds(fds[1], CMSG_SPACE(2 * sizeof(int)), MSG_CMSG_CLOEXEC));
	/* too little room */
	for (size_t len = 0; len <= CMSG_LEN(4 * sizeof(int)); len += 4) {
		many[0] = many[1] = many[2] = pipes[0];
		send_fds(fds[0], many, 3);
		fd = receive_fds(fds[1], len, 0);
		if (fd >= 0)
			close(fd);
	}
	/* numbers that are no descriptors */
	many[0] = pipes[0];
	many[1] = -1;
	SHOW(send_fds(fds[0], many, 2));
	many[1] = 1000;
	SHOW(send_fds(fds[0], many, 2));
	many[1] = INT_MAX;
	SHOW(send_fds(fds[0], many, 2));
	SHOW(send_fds(fds[0], many, 0));
	receive_fds(fds[1], sizeof(union control), MSG_DONTWAIT);
	for (int i = 0; i < 300; i++)
		many[i] = pipes[0];
	SHOW(send_fds(fds[0], many, 254));
	SHOW(send_fds(fds[0], many, 253));
	close(receive_fds(fds[1], sizeof(union control), 0));
	/* read(2) and recv(2) drop them */
	SHOW(send_fds(fds[0], many, 3));
	SHOW(read(fds[1], buf, 10));
	SHOW(send_fds(fds[0], many, 3));
	SHOW(recv(fds[1], buf, 10, 0));
	printf("left open %d\n", nr_open() - before);
	close(pipes[1]);
	SHOW(fcntl(pipes[0], F_SETFL, O_NONBLOCK));
	SHOW(read(pipes[0], buf, 1));		/* 0: nothing holds the write end */
	close(pipes[0]);
	close_pair(fds);
}

/* The table of the receiver is full. */
static void full_table(void)
{
	struct rlimit old, limit;
	int fds[2], three[3] = { 0, 0, 0 }, fd, before;

	pair(SOCK_DGRAM, fds);
	getrlimit(RLIMIT_NOFILE, &old);
	before = nr_open();
	limit = old;
	limit.rlim_cur = (rlim_t)before + 2;
	SHOW(send_fds(fds[0], three, 3));
	SHOW(send_fds(fds[0], three, 3));
	SHOW(setrlimit(RLIMIT_NOFILE, &limit));
	fd = receive_fds(fds[1], sizeof(union control), 0);
	limit.rlim_cur = (rlim_t)nr_open();
	SHOW(setrlimit(RLIMIT_NOFILE, &limit));
	receive_fds(fds[1], sizeof(union control), 0);
	SHOW(dup(0));
	SHOW(socket(AF_UNIX, SOCK_STREAM, 0));
	SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, three));
	setrlimit(RLIMIT_NOFILE, &old);
	close(fd);
	printf("left open %d\n", nr_open() - before);
	close_pair(fds);
}

/* A descriptor is in a message when its last other copy is closed. */
static void in_flight(void)
{
	int fds[2], other[2], fd, memory = memfd_create("flight", 0);
	char buf[10] = "";

	pair(SOCK_STREAM, fds);
	pair(SOCK_STREAM, other);
	SHOW(send_fds(fds[0], &other[0], 1));
	close(other[0]);
	SHOW(send(other[1], "kept", 4, 0));
	fd = receive_fds(fds[1], sizeof(union control), 0);
	SHOW(read(fd, buf, 10));
	printf("%s\n", buf);
	close(fd);
	SHOW(read(other[1], buf, 1));
	close(other[1]);
	SHOW(write(memory, "in memory", 9));
	SHOW(send_fds(fds[0], &memory, 1));
	close(memory);
	fd = receive_fds(fds[1], sizeof(union control), 0);
	SHOW(pread(fd, buf, 9, 0));
	printf("%s\n", buf);
	SHOW(ftruncate(fd, 1 << 20));
	SHOW(lseek(fd, 0, SEEK_CUR));
	/* itself, through a child */
	SHOW(send_fds(fds[0], &fds[0], 1));
	fflush(stdout);
	if (!fork()) {
		fd = receive_fds(fds[1], sizeof(union control), 0);
		SHOW(send(fd, "from the child", 14, 0));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	memset(buf, 0, sizeof(buf));
	SHOW(recv(fds[1], buf, 9, 0));
	printf("%s\n", buf);
	close(fd);
	close_pair(fds);
}

/* Messages of descriptors are borders in a stream. */
static void borders(void)
{
	int fds[2], zero = 0;
	char buf[32];

	pair(SOCK_STREAM, fds);
	SHOW(send(fds[0], "before", 6, 0));
	SHOW(send_fds(fds[0], &zero, 1));
	SHOW(send(fds[0], "after", 5, 0));
	SHOW(recv(fds[1], buf, sizeof(buf), 0));
	close(receive_fds(fds[1], sizeof(union control), 0));
	SHOW(send_fds(fds[0], &zero, 1));
	SHOW(recv(fds[1], buf, sizeof(buf), MSG_DONTWAIT));
	SHOW(recv(fds[1], buf, sizeof(buf), MSG_DONTWAIT));
	SHOW(recv(fds[1], buf, sizeof(buf), MSG_DONTWAIT));
	close_pair(fds);
}

/* --- other control messages --- */

static void wrong_control(void)
{
	struct iovec iov = { "w", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control c;
	int fds[2], zero = 0;

	pair(SOCK_DGRAM, fds);
	memset(&c, 0, sizeof(c));
	put_fds(&msg, &c, &zero, 1);
	c.head.cmsg_len = 0;
	SHOW(sendmsg(fds[0], &msg, 0));
	c.head.cmsg_len = 15;
	SHOW(sendmsg(fds[0], &msg, 0));
	c.head.cmsg_len = CMSG_LEN(4) + 100;
	SHOW(sendmsg(fds[0], &msg, 0));
	c.head.cmsg_len = (size_t)-1;
	SHOW(sendmsg(fds[0], &msg, 0));
	c.head.cmsg_len = CMSG_LEN(3);
	SHOW(sendmsg(fds[0], &msg, 0));
	c.head.cmsg_len = CMSG_LEN(4);
	c.head.cmsg_type = 77;
	SHOW(sendmsg(fds[0], &msg, 0));
	c.head.cmsg_type = SCM_CREDENTIALS;
	SHOW(sendmsg(fds[0], &msg, 0));
	c.head.cmsg_type = SCM_RIGHTS;
	msg.msg_controllen = (size_t)-1;
	SHOW(sendmsg(fds[0], &msg, 0));
	msg.msg_controllen = 1 << 20;
	SHOW(sendmsg(fds[0], &msg, 0));
	msg.msg_controllen = 10;
	SHOW(sendmsg(fds[0], &msg, 0));
	msg.msg_controllen = 24;
	msg.msg_control = bad;
	SHOW(sendmsg(fds[0], &msg, 0));
	msg.msg_control = NULL;
	SHOW(sendmsg(fds[0], &msg, 0));
	/* two lists of descriptors in one message */
	memset(&c, 0, sizeof(c));
	put_fds(&msg, &c, &zero, 1);
	memcpy(c.bytes + CMSG_SPACE(4), c.bytes, CMSG_SPACE(4));
	msg.msg_controllen = 2 * CMSG_SPACE(4);
	while (recv(fds[1], &c.bytes[200], 1, MSG_DONTWAIT) >= 0)
		;
	SHOW(sendmsg(fds[0], &msg, 0));
	close(receive_fds(fds[1], sizeof(union control), 0));
	/* nowhere to store them */
	SHOW(send_fds(fds[0], &zero, 1));
	msg.msg_control = bad;
	msg.msg_controllen = 24;
	iov.iov_base = &c;
	zero = nr_open();
	SHOW(recvmsg(fds[1], &msg, 0));
	printf("flags %x control %zu, %d descriptors\n", (unsigned)msg.msg_flags, msg.msg_controllen, nr_open() - zero);
	close_pair(fds);
}

static long send_credentials(int fd, pid_t pid, uid_t uid)
{
	struct ucred cred = { pid, uid, getgid() };
	struct iovec iov = { "c", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	union control c;

	memset(&c, 0, sizeof(c));
	msg.msg_control = c.bytes;
	msg.msg_controllen = CMSG_SPACE(sizeof(cred));
	c.head = (struct cmsghdr){ .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_CREDENTIALS,
				    .cmsg_len = CMSG_LEN(sizeof(cred)) };
	memcpy(CMSG_DATA(&c.head), &cred, sizeof(cred));
	return sendmsg(fd, &msg, 0);
}

static void credentials(void)
{
	int fds[2], one = 1;
	union control c;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.bytes, .msg_controllen = sizeof(c) };
	struct ucred cred;

	pair(SOCK_STREAM, fds);
	SHOW(setsockopt(fds[1], SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)));
	SHOW(send(fds[0], "x", 1, 0));
	SHOW(recvmsg(fds[1], &msg, 0));
	memcpy(&cred, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(cred));
	printf("type %d uid %d gid %d\n", CMSG_FIRSTHDR(&msg)->cmsg_type, cred.uid == getuid(), cred.gid == getgid());
	SHOW(send_credentials(fds[0], getpid(), getuid()));
	msg.msg_controllen = CMSG_LEN(sizeof(cred)) - 1;
	SHOW(recvmsg(fds[1], &msg, 0));
	printf("flags %x control %zu\n", (unsigned)msg.msg_flags, msg.msg_controllen);
	SHOW(send_fds(fds[0], fds, 2));
	close(receive_fds(fds[1], sizeof(c), 0));
	SHOW(send_fds(fds[0], fds, 2));
	receive_fds(fds[1], CMSG_SPACE(sizeof(cred)) + 8, 0);
	close_pair(fds);
}

static void packet_info(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), one = 1;
	socklen_t len = sizeof(a);

	SHOW(bind(fd, (struct sockaddr *)&a, len));
	getsockname(fd, (struct sockaddr *)&a, &len);
	SHOW(setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, 4));
	SHOW(setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &one, 4));
	SHOW(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMP, &one, 4));
	for (int i = 0; i < 3; i++)
		SHOW(sendto(fd, "x", 1, 0, (struct sockaddr *)&a, len));
	receive_fds(fd, sizeof(union control), 0);
	receive_fds(fd, 40, 0);
	receive_fds(fd, 0, 0);
	close(fd);
}

/* --- several messages --- */

static void several(void)
{
	static char text[4][8] = { "one", "two", "three", "four" }, got[4][8];
	struct mmsghdr out[4], in[4];
	struct iovec iov[4], into[4];
	struct timespec ts = { 0, 0 };
	int fds[2];

	memset(out, 0, sizeof(out));
	memset(in, 0, sizeof(in));
	for (int i = 0; i < 4; i++) {
		iov[i] = (struct iovec){ text[i], strlen(text[i]) };
		into[i] = (struct iovec){ got[i], 4 };
		out[i].msg_hdr = (struct msghdr){ .msg_iov = &iov[i], .msg_iovlen = 1 };
		in[i].msg_hdr = (struct msghdr){ .msg_iov = &into[i], .msg_iovlen = 1 };
	}
	pair(SOCK_DGRAM, fds);
	SHOW(sendmmsg(fds[0], out, 4, 0));
	SHOW(recvmmsg(fds[1], in, 2, 0, NULL));
	SHOW(recvmmsg(fds[1], in + 2, 2, MSG_WAITFORONE, NULL));
	for (int i = 0; i < 4; i++)
		printf("%u %u %.4s %x\n", out[i].msg_len, in[i].msg_len, got[i], (unsigned)in[i].msg_hdr.msg_flags);
	SHOW(recvmmsg(fds[1], in, 2, MSG_DONTWAIT, NULL));
	SHOW(sendmmsg(fds[0], out, 2, 0));
	SHOW(recvmmsg(fds[1], in, 4, MSG_WAITFORONE, NULL));
	SHOW(sendmmsg(fds[0], out, 2, 0));
	SHOW(recvmmsg(fds[1], in, 4, MSG_DONTWAIT, NULL));
	SHOW(sendmmsg(fds[0], out, 2, 0));
	SHOW(recvmmsg(fds[1], in, 4, 0, &ts));		/* ends after the first one */
	ts.tv_nsec = -1;
	SHOW(recvmmsg(fds[1], in, 4, 0, &ts));
	SHOW(recvmmsg(fds[1], in, 4, 0, bad));
	SHOW(sendmmsg(fds[0], out, 0, 0));
	SHOW(sendmmsg(fds[0], bad, 1, 0));
	SHOW(recvmmsg(fds[1], bad, 1, MSG_DONTWAIT, NULL));
	iov[1].iov_base = bad;
	SHOW(sendmmsg(fds[0], out, 4, 0));
	SHOW(sendmmsg(fds[0], out + 1, 3, 0));
	SHOW(sendmmsg(-1, out, 1, 0));
	SHOW(recvmmsg(-1, out, 1, 0, NULL));
	close_pair(fds);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	close_range(3, ~0u, 0);		/* what a caller left open */
	vectors(SOCK_STREAM);
	vectors(SOCK_DGRAM);
	names_of_messages();
	rights(SOCK_STREAM);
	rights(SOCK_DGRAM);
	rights(SOCK_SEQPACKET);
	full_table();
	in_flight();
	borders();
	wrong_control();
	credentials();
	packet_info();
	several();
	return 0;
}
