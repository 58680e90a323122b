/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/sockets.c - sockets of AF_UNIX and of the loopback device: streams, datagrams, paths, options, wrong
 * arguments, signals. It runs in a directory in which it may make files. Its output is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"

#define PAGE 4096l

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

/* Two pages, of which the second one is not mapped. Return: the end of the first one, far below the stack. */
static char *edge(void)
{
	char *at = mmap((void *)0x10000000000, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED || munmap(at + PAGE, PAGE)) {
		perror("mmap");
		exit(1);
	}
	memset(at, 'e', PAGE);
	return at + PAGE;
}

static void on_signal(int signo)
{
	(void)signo;
}

static void handle(int signo, int flags)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = flags };

	sigaction(signo, &act, NULL);
}

/* --- creation --- */

static void creation(void)
{
	int fds[2], fd;

	OPEN(socket(AF_UNIX, SOCK_STREAM, 0));
	OPEN(socket(AF_UNIX, SOCK_STREAM | 0x100000, 0));
	OPEN(socket(AF_UNIX, 77, 0));
	OPEN(socket(1000, SOCK_STREAM, 0));
	OPEN(socket(-1, SOCK_STREAM, 0));
	OPEN(socket(AF_INET, SOCK_STREAM, 12345));
	OPEN(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
	fd = OPEN(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	printf("flags %x %x\n", fcntl(fd, F_GETFD), fcntl(fd, F_GETFL));
	close(fd);
	SHOW(socketpair(AF_UNIX, SOCK_STREAM, 0, bad));
	SHOW(socketpair(AF_INET, SOCK_STREAM, 0, fds));
	SHOW(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds));
	printf("flags %x %x\n", fcntl(fds[0], F_GETFD), fcntl(fds[1], F_GETFL));
	close_pair(fds);
	fd = open(".", O_RDONLY);
	SHOW(listen(fd, 1));
	SHOW(connect(fd, (struct sockaddr *)&(struct sockaddr_un){ .sun_family = AF_UNIX }, 2));
	SHOW(send(fd, "x", 1, 0));
	SHOW(recv(fd, fds, 1, 0));
	SHOW(accept(fd, NULL, NULL));
	SHOW(shutdown(fd, SHUT_RD));
	SHOW(getsockopt(fd, SOL_SOCKET, SO_TYPE, fds, &(socklen_t){ 4 }));
	SHOW(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, fds, 4));
	close(fd);
	SHOW(listen(-1, 1));
	SHOW(bind(777, NULL, 0));
	SHOW(send(-1, "x", 1, 0));
	SHOW(sendmsg(-1, bad, 0));
	SHOW(accept4(-1, NULL, NULL, 1));
}

/* --- addresses of AF_UNIX --- */

static void show_name(const char *what, const struct sockaddr_un *a, socklen_t len)
{
	const size_t head = offsetof(struct sockaddr_un, sun_path);

	printf("%s: length %u", what, len);
	if (len > head && !a->sun_path[0])
		printf(" abstract %.*s\n", (int)(len - head - 1), a->sun_path + 1);
	else
		printf(" path %.*s\n", len > head ? (int)(len - head) : 0, a->sun_path);
}

static socklen_t name(struct sockaddr_un *a, const char *path)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, path, strlen(path));
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
}

static int bind_to(int type, const char *path)
{
	int fd = socket(AF_UNIX, type, 0);
	struct sockaddr_un a;
	socklen_t len = name(&a, path);

	printf("bind %s: %s\n", path, bind(fd, (struct sockaddr *)&a, len) ? strerrorname_np(errno) : "ok");
	return fd;
}

static int connect_to(int type, const char *path)
{
	int fd = socket(AF_UNIX, type, 0);
	struct sockaddr_un a;
	socklen_t len = name(&a, path);

	printf("connect %s: %s\n", path, connect(fd, (struct sockaddr *)&a, len) ? strerrorname_np(errno) : "ok");
	return fd;
}

static void show_names(int fd)
{
	union { struct sockaddr any; struct sockaddr_un un; struct sockaddr_storage big; } a;
	socklen_t len = sizeof(a);

	memset(&a, 0, sizeof(a));
	printf("getsockname: %d\n", getsockname(fd, &a.any, &len));
	show_name("  own", &a.un, len);
	len = sizeof(a);
	memset(&a, 0, sizeof(a));
	if (getpeername(fd, &a.any, &len))
		printf("getpeername: %s\n", strerrorname_np(errno));
	else
		show_name("  peer", &a.un, len);
}

static void bind_paths(void)
{
	static const char *const paths[] = { "here", "sub/in", "here", "missing/x", "sub", "file", "sub/", "new/", ".",
					     "/" };
	struct sockaddr_un a;
	struct stat st;
	int fd;

	mkdir("sub", 0700);
	close(open("file", O_CREAT | O_WRONLY, 0600));
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		fd = bind_to(SOCK_STREAM, paths[i]);
		show_names(fd);
		close(fd);
	}
	umask(027);
	close(bind_to(SOCK_DGRAM, "masked"));
	printf("mode %o\n", stat("masked", &st) ? 0 : st.st_mode);
	fd = bind_to(SOCK_DGRAM, "twice");
	name(&a, "again");
	SHOW(bind(fd, (struct sockaddr *)&a, sizeof(a)));
	printf("again: %d\n", access("again", F_OK));
	close(fd);
	SHOW(connect_to(SOCK_STREAM, "here") < 0);
	SHOW(connect_to(SOCK_STREAM, "absent") < 0);
	SHOW(connect_to(SOCK_STREAM, "file") < 0);
	SHOW(connect_to(SOCK_STREAM, "sub") < 0);
	SHOW(connect_to(SOCK_STREAM, "masked") < 0);
	SHOW(connect_to(SOCK_DGRAM, "file/x") < 0);
}

static void servers(const char *path)
{
	int listener = bind_to(SOCK_STREAM, path), fd, accepted;
	struct sockaddr_un a;
	socklen_t len = sizeof(a);

	SHOW(connect_to(SOCK_STREAM, path) < 0);
	SHOW(listen(listener, 5));
	fd = connect_to(SOCK_STREAM, path);
	accepted = OPEN(accept(listener, (struct sockaddr *)&a, &len));
	show_name("accepted", &a, len);
	show_names(fd);
	show_names(accepted);
	close(accepted);
	close(fd);
	fd = bind_to(SOCK_STREAM, "client");
	SHOW(connect(fd, (struct sockaddr *)&a, name(&a, path)));
	len = sizeof(a);
	accepted = OPEN(accept4(listener, (struct sockaddr *)&a, &len, SOCK_CLOEXEC));
	show_name("accepted", &a, len);
	printf("flags %x\n", fcntl(accepted, F_GETFD));
	close(listener);
	show_names(fd);
	show_names(accepted);
	SHOW(connect_to(SOCK_STREAM, path) < 0);
	unlink("client");
	close(accepted);
	close(fd);
}

static void paths(void)
{
	char longest[109], path[200], dir[100];
	struct sockaddr_un a;
	int fd;

	bind_paths();
	servers("listener");
	servers("./sub/../sub/listener");
	if (!getcwd(dir, sizeof(dir)))
		return;
	snprintf(path, sizeof(path), "%s/absolute", dir);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	name(&a, path);
	SHOW(bind(fd, (struct sockaddr *)&a, sizeof(a)));
	SHOW(listen(fd, 1));
	printf("%d\n", symlink("absolute", "link"));
	SHOW(connect_to(SOCK_STREAM, "link") < 0);
	close(bind_to(SOCK_STREAM, "link"));
	close(fd);
	/* 108 bytes, without a NUL */
	memset(longest, '/', sizeof(longest));
	memcpy(longest, "sub", 3);
	memcpy(longest + 107, "z", 2);
	fd = bind_to(SOCK_DGRAM, longest);
	show_names(fd);
	SHOW(connect_to(SOCK_DGRAM, longest) < 0);
	printf("%d\n", access("sub/z", F_OK));
	close(fd);
}

static void abstract(void)
{
	union { struct sockaddr any; struct sockaddr_un un; } a, b;
	int listener = socket(AF_UNIX, SOCK_STREAM, 0), fd = socket(AF_UNIX, SOCK_STREAM, 0);
	socklen_t len = sizeof(a);

	memset(&a, 0, sizeof(a));
	a.un.sun_family = AF_UNIX;
	SHOW(bind(listener, &a.any, sizeof(sa_family_t)));	/* the kernel chooses a name */
	SHOW(getsockname(listener, &a.any, &len));
	printf("length %u abstract %d\n", len, a.un.sun_path[0] == 0);
	SHOW(listen(listener, 1));
	SHOW(connect(fd, &a.any, len));
	len = sizeof(b);
	SHOW(getpeername(fd, &b.any, &len));
	printf("same %d\n", len == 8 && !memcmp(&a, &b, len));
	close(fd);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	SHOW(connect(fd, &a.any, 2));
	SHOW(connect(fd, &a.any, 1));
	SHOW(connect(fd, &a.any, 111));
	SHOW(connect(fd, &a.any, 129));
	SHOW(connect(fd, &a.any, (socklen_t)-1));
	SHOW(connect(fd, bad, 20));
	a.un.sun_family = AF_INET;
	SHOW(connect(fd, &a.any, 20));
	SHOW(bind(fd, &a.any, 20));
	a.un.sun_family = AF_UNIX;
	strcpy(a.un.sun_path, "x");
	close(fd);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	SHOW(connect(fd, &a.any, 20));
	SHOW(bind(fd, &a.any, 20));
	close(fd);
	close(listener);
}

/* Lengths and addresses for what the kernel returns. */
static void returned_names(void)
{
	union { struct sockaddr any; struct sockaddr_un un; char bytes[sizeof(struct sockaddr_un)]; } a;
	int fd = bind_to(SOCK_DGRAM, "returned");
	socklen_t len = 5;

	memset(&a, 'r', sizeof(a));
	SHOW(getsockname(fd, &a.any, &len));
	printf("length %u, %.6s\n", len, a.bytes + 2);
	len = (socklen_t)-1;
	SHOW(getsockname(fd, &a.any, &len));
	SHOW(getsockname(fd, &a.any, bad));
	len = 20;
	SHOW(getsockname(fd, bad, &len));
	len = 0;
	SHOW(getsockname(fd, bad, &len));
	SHOW(getpeername(fd, &a.any, &len));
	close(fd);
}

/* --- datagrams --- */

static void receive_from(int fd, int flags)
{
	struct sockaddr_un a;
	socklen_t len = sizeof(a);
	char buf[8];
	ssize_t n;

	memset(buf, '.', sizeof(buf));
	n = recvfrom(fd, buf, sizeof(buf), flags, (struct sockaddr *)&a, &len);
	if (n < 0) {
		printf("recvfrom %x: %s\n", flags, strerrorname_np(errno));
		return;
	}
	printf("recvfrom %x: %zd %.8s\n", flags, n, buf);
	show_name("  from", &a, len);
}

static void datagrams(void)
{
	int one = bind_to(SOCK_DGRAM, "one"), two = bind_to(SOCK_DGRAM, "sub/two");
	int none = socket(AF_UNIX, SOCK_DGRAM, 0);
	union { struct sockaddr any; struct sockaddr_un un; } to;
	socklen_t len = name(&to.un, "one");

	SHOW(sendto(two, "to one", 6, 0, &to.any, len));
	SHOW(sendto(none, "", 0, 0, &to.any, len));
	SHOW(sendto(none, "longer than eight", 17, 0, &to.any, len));
	SHOW(sendto(two, "longer than eight", 17, 0, &to.any, len));
	receive_from(one, MSG_PEEK);
	receive_from(one, MSG_PEEK | MSG_TRUNC);
	receive_from(one, 0);
	receive_from(one, 0);
	receive_from(one, MSG_TRUNC);
	receive_from(one, 0);
	receive_from(one, MSG_DONTWAIT);
	SHOW(sendto(none, "x", 1, 0, &to.any, name(&to.un, "absent")));
	SHOW(sendto(none, "x", 1, 0, &to.any, name(&to.un, "file")));
	SHOW(sendto(none, "x", 1, 0, bad, 10));
	SHOW(sendto(none, "x", 1, 0, &to.any, 300));
	SHOW(send(none, "x", 1, 0));
	SHOW(sendto(two, bad, 1, 0, &to.any, name(&to.un, "one")));
	SHOW(send(two, (void *)-1l, 10, 0));
	SHOW(connect(two, &to.any, name(&to.un, "one")));
	SHOW(send(two, "closed", 6, 0));
	close(two);
	receive_from(one, 0);		/* the name of a closed socket */
	SHOW(connect(none, &to.any, name(&to.un, "one")));
	close(one);
	SHOW(send(none, "x", 1, 0));
	close(none);
}

static void stream_with_address(void)
{
	union { struct sockaddr any; struct sockaddr_un un; } to;
	socklen_t len = name(&to.un, "absent");
	int fds[2], none = socket(AF_UNIX, SOCK_STREAM, 0);
	char byte;

	pair(SOCK_STREAM, fds);
	SHOW(sendto(fds[0], "x", 1, 0, &to.any, len));
	SHOW(sendto(none, "x", 1, MSG_NOSIGNAL, &to.any, len));
	close_pair(fds);
	pair(SOCK_SEQPACKET, fds);
	SHOW(sendto(fds[0], "x", 1, 0, &to.any, len));
	SHOW(recv(fds[1], &byte, 1, 0));
	close_pair(fds);
	close(none);
}

/* --- streams --- */

static unsigned checksum(const char *bytes, size_t len)
{
	unsigned sum = 0;

	for (size_t i = 0; i < len; i++)
		sum = sum * 31 + (unsigned char)bytes[i];
	return sum;
}

/* A child sends as much as the parent receives. */
static void large(const int fds[2], size_t size)
{
	char *bytes = malloc(size);
	size_t have = 0;
	ssize_t n;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)(i * 7 + i / 1000);
	fflush(stdout);
	if (!fork()) {
		close(fds[1]);
		SHOW(send(fds[0], bytes, size, 0));
		SHOW(recv(fds[0], bytes, size, MSG_WAITALL));
		printf("child has %u\n", checksum(bytes, size));
		fflush(stdout);
		_exit(0);
	}
	close(fds[0]);
	memset(bytes, 0, size);
	while (have < size && (n = recv(fds[1], bytes + have, size - have, 0)) > 0)
		have += (size_t)n;
	printf("received %zu, %u\n", have, checksum(bytes, have));
	SHOW(send(fds[1], bytes, size, 0));
	wait(NULL);		/* the child's output is first */
	close(fds[1]);
	free(bytes);
}

static int listen_inet(struct sockaddr_in *a)
{
	socklen_t len = sizeof(*a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	*a = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	if (fd < 0 || bind(fd, (struct sockaddr *)a, len) || listen(fd, 5) ||
	    getsockname(fd, (struct sockaddr *)a, &len)) {
		perror("listen");
		exit(1);
	}
	return fd;
}

static void tcp_pair(int fds[2])
{
	struct sockaddr_in a;
	int listener = listen_inet(&a);

	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(fds[0], (struct sockaddr *)&a, sizeof(a))) {
		perror("connect");
		exit(1);
	}
	fds[1] = accept(listener, NULL, NULL);
	close(listener);
}

static void inet(void)
{
	struct sockaddr_in a, b, c;
	socklen_t len = sizeof(b);
	int listener = listen_inet(&a), fd = socket(AF_INET, SOCK_STREAM, 0), accepted;

	SHOW(connect(fd, (struct sockaddr *)&a, sizeof(a)));
	accepted = OPEN(accept(listener, (struct sockaddr *)&b, &len));
	printf("length %u\n", len);
	SHOW(getsockname(fd, (struct sockaddr *)&c, &len));
	printf("same %d\n", !memcmp(&b, &c, sizeof(b)));
	SHOW(getpeername(fd, (struct sockaddr *)&c, &len));
	printf("same %d\n", !memcmp(&a, &c, sizeof(a)));
	SHOW(connect(fd, (struct sockaddr *)&a, sizeof(a)));
	close(listener);
	SHOW(send(fd, "urgent", 6, MSG_OOB));
	SHOW(poll(&(struct pollfd){ .fd = accepted, .events = POLLPRI }, 1, 1000));
	SHOW(recv(accepted, &b, 6, MSG_OOB));
	SHOW(recv(accepted, &b, 6, 0));
	SHOW(shutdown(fd, SHUT_WR));
	SHOW(shutdown(fd, 7));
	SHOW(recv(accepted, &b, 6, 0));
	SHOW(send(fd, "x", 1, MSG_NOSIGNAL));
	close(fd);
	close(accepted);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	SHOW(connect(fd, (struct sockaddr *)&a, sizeof(a)));
	close(fd);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	listener = listen_inet(&a);
	printf("nonblocking connect: %d\n", !connect(fd, (struct sockaddr *)&a, sizeof(a)) || errno == EINPROGRESS);
	SHOW(poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 1000));
	len = sizeof(int);
	SHOW(getsockopt(fd, SOL_SOCKET, SO_ERROR, &b, &len));
	close(fd);
	close(listener);
}

static void udp(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, from;
	int fd = socket(AF_INET, SOCK_DGRAM, 0), other = socket(AF_INET, SOCK_DGRAM, 0);
	static char large[70000];
	socklen_t len = sizeof(a);

	SHOW(bind(fd, (struct sockaddr *)&a, len));
	getsockname(fd, (struct sockaddr *)&a, &len);
	SHOW(sendto(other, large, 60000, 0, (struct sockaddr *)&a, len));
	SHOW(sendto(other, large, 70000, 0, (struct sockaddr *)&a, len));
	SHOW(recvfrom(fd, large, 10, MSG_TRUNC | MSG_PEEK, (struct sockaddr *)&from, &len));
	printf("length %u port %d\n", len, from.sin_port != 0);
	SHOW(recvfrom(fd, large, sizeof(large), 0, NULL, NULL));
	SHOW(recv(fd, large, 1, MSG_DONTWAIT));
	SHOW(send(other, large, 1, 0));
	SHOW(connect(other, (struct sockaddr *)&a, len));
	SHOW(send(other, large, 1, 0));
	SHOW(recvfrom(fd, bad, 1, 0, NULL, NULL));
	SHOW(recvfrom(fd, large, 1, MSG_DONTWAIT, NULL, NULL));
	close(fd);
	SHOW(send(other, large, 1, 0));
	usleep(20000);
	SHOW(send(other, large, 1, 0));		/* ICMP told that the port is closed */
	close(other);
}

static void streams(void)
{
	static const size_t sizes[] = { 100, 128 << 10, (128 << 10) + 1, 3 << 20 };
	int fds[2];

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		pair(SOCK_STREAM, fds);
		large(fds, sizes[i]);
		tcp_pair(fds);
		large(fds, sizes[i]);
	}
}

static void truncated_stream(void)
{
	char buf[8] = ".......";
	int fds[2];

	tcp_pair(fds);
	SHOW(send(fds[0], "dropped and kept", 16, 0));
	SHOW(recv(fds[1], buf, 7, MSG_PEEK));
	printf("%s\n", buf);
	memset(buf, '.', 7);
	SHOW(recv(fds[1], buf, 7, MSG_TRUNC));
	printf("%s\n", buf);
	SHOW(recv(fds[1], buf, 7, 0));
	printf("%s\n", buf);
	close_pair(fds);
	pair(SOCK_STREAM, fds);
	SHOW(send(fds[0], "not dropped", 11, 0));
	memset(buf, '.', 7);
	SHOW(recv(fds[1], buf, 7, MSG_TRUNC));
	printf("%s\n", buf);
	close_pair(fds);
}

/* --- inaccessible memory --- */

static void faults(int type)
{
	char *end = edge();
	int fds[2];

	printf("type %d\n", type);
	pair(type, fds);
	SHOW(send(fds[0], end - 10, 20, 0));
	SHOW(send(fds[0], end, 1, 0));
	SHOW(send(fds[0], "0123456789", 10, 0));
	SHOW(recv(fds[1], end, 10, MSG_DONTWAIT));
	SHOW(recv(fds[1], end - 4, 10, MSG_DONTWAIT));
	SHOW(recv(fds[1], end - 20, 20, MSG_DONTWAIT));
	SHOW(recv(fds[1], (void *)(1l << 47), 20, MSG_DONTWAIT));
	SHOW(recv(fds[1], end - 20, (size_t)-1, MSG_DONTWAIT));
	SHOW(send(fds[0], end - 20, (size_t)1 << 40, MSG_DONTWAIT));
	close_pair(fds);
	munmap(end - PAGE, PAGE);
}

/* --- options --- */

static void show_option(int fd, int level, int option)
{
	int value = 0;
	socklen_t len = sizeof(value);

	if (getsockopt(fd, level, option, &value, &len))
		printf("option %d %d: %s\n", level, option, strerrorname_np(errno));
	else
		printf("option %d %d: %d, length %u\n", level, option, value, len);
}

static void options(void)
{
	struct sock_fprog program = { 0, NULL };
	struct { int pid; uid_t uid; gid_t gid; } cred = { 0 };
	struct timeval tv = { 1, 500000 };
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1, fds[2];
	socklen_t len = sizeof(one);

	SHOW(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, 4));
	SHOW(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, 3));
	SHOW(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, bad, 4));
	SHOW(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, (socklen_t)-1));
	SHOW(setsockopt(fd, SOL_SOCKET, 12345, &one, 4));
	SHOW(setsockopt(fd, 12345, 1, &one, 4));
	SHOW(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, 4));
	SHOW(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)));
	SHOW(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) < 0);
	show_option(fd, SOL_SOCKET, SO_REUSEADDR);
	show_option(fd, SOL_SOCKET, SO_TYPE);
	show_option(fd, SOL_SOCKET, SO_DOMAIN);
	show_option(fd, SOL_SOCKET, SO_PROTOCOL);
	show_option(fd, SOL_SOCKET, SO_ACCEPTCONN);
	show_option(fd, SOL_SOCKET, 12345);
	show_option(fd, IPPROTO_TCP, TCP_NODELAY);
	SHOW(getsockopt(fd, SOL_SOCKET, SO_TYPE, bad, &len));
	SHOW(getsockopt(fd, SOL_SOCKET, SO_TYPE, &one, bad));
	len = (socklen_t)-1;
	SHOW(getsockopt(fd, SOL_SOCKET, SO_TYPE, &one, &len));
	len = 2;
	SHOW(getsockopt(fd, SOL_SOCKET, SO_TYPE, &one, &len));
	printf("length %u\n", len);
	len = sizeof(tv);
	memset(&tv, 0, sizeof(tv));
	SHOW(getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, &len));
	printf("%ld.%06ld, length %u\n", tv.tv_sec, tv.tv_usec, len);
	close(fd);
	pair(SOCK_STREAM, fds);
	len = sizeof(cred);
	SHOW(getsockopt(fds[0], SOL_SOCKET, SO_PEERCRED, &cred, &len));
	printf("uid %d gid %d length %u\n", cred.uid == geteuid(), cred.gid == getegid(), len);
	SHOW(setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ 0, 30000 }, sizeof(tv)));
	SHOW(recv(fds[0], &one, 1, 0));
	SHOW(read(fds[0], &one, 1));
	close_pair(fds);
}

static void ioctls(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	struct ifconf conf = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM, 0), value = -1, fds[2];

	SHOW(ioctl(fd, SIOCGIFINDEX, &ifr));
	SHOW(ioctl(fd, SIOCGIFFLAGS, &ifr));
	printf("loopback %d\n", (ifr.ifr_flags & IFF_LOOPBACK) != 0);
	SHOW(ioctl(fd, SIOCGIFMTU, bad));
	strcpy(ifr.ifr_name, "absent0");
	SHOW(ioctl(fd, SIOCGIFINDEX, &ifr));
	SHOW(ioctl(fd, SIOCGIFCONF, &conf));
	printf("some %d\n", conf.ifc_len > 0);
	conf.ifc_buf = malloc((size_t)conf.ifc_len);
	SHOW(ioctl(fd, SIOCGIFCONF, &conf));
	printf("first %s\n", conf.ifc_req->ifr_name);
	conf.ifc_buf = bad;
	SHOW(ioctl(fd, SIOCGIFCONF, &conf));
	SHOW(ioctl(0, SIOCGIFINDEX, &ifr) < 0);
	close(fd);
	tcp_pair(fds);
	SHOW(send(fds[0], "twelve bytes", 12, 0));
	SHOW(poll(&(struct pollfd){ .fd = fds[1], .events = POLLIN }, 1, 1000));
	SHOW(ioctl(fds[1], FIONREAD, &value));
	printf("unread %d\n", value);
	SHOW(ioctl(fds[1], SIOCATMARK, &value));
	printf("at mark %d\n", value);
	SHOW(ioctl(fds[1], SIOCOUTQ, &value));
	printf("unsent %d\n", value);
	close_pair(fds);
}

/* --- signals --- */

static void broken(int type)
{
	int fds[2];

	printf("type %d\n", type);
	fflush(stdout);
	for (int i = 0; i < 4; i++) {
		int status;

		if (!fork()) {
			pair(type, fds);
			close(fds[1]);
			if (i == 0)
				SHOW(send(fds[0], "x", 1, 0));
			else if (i == 1)
				SHOW(send(fds[0], "x", 1, MSG_NOSIGNAL));
			else if (i == 2)
				SHOW(write(fds[0], "x", 1));
			else
				SHOW(sendfile(fds[0], open("file", O_RDONLY), NULL, 10));
			fflush(stdout);
			_exit(0);
		}
		wait(&status);
		printf("status %x\n", status);
		fflush(stdout);
	}
}

/* Interrupt the call of the parent after a while, then do what it waits for. */
static pid_t start_child(const int fds[2], const struct sockaddr_in *to)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	usleep(150000);
	kill(getppid(), SIGUSR1);
	usleep(150000);
	if (to) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);

		connect(fd, (const struct sockaddr *)to, sizeof(*to));
	} else if (write(fds[1], "late", 4) < 0) {
		perror("write");
	}
	_exit(0);
}

static void interrupted(int flags)
{
	char buf[10];
	struct iovec iov = { buf, 10 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct sockaddr_in a;
	int fds[2], listener;

	printf("handler with %x\n", flags);
	handle(SIGUSR1, flags);
	for (int i = 0; i < 4; i++) {
		pair(SOCK_STREAM, fds);
		if (i == 2)
			setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ 100, 0 },
				   sizeof(struct timeval));
		fflush(stdout);
		start_child(fds, NULL);
		if (i == 3)
			SHOW(recvmsg(fds[0], &msg, 0));
		else
			SHOW(recv(fds[0], buf, i == 1 ? 4 : 10, i == 1 ? MSG_WAITALL : 0));
		wait(NULL);
		close_pair(fds);
	}
	listener = listen_inet(&a);
	fflush(stdout);
	start_child(NULL, &a);
	OPEN(accept(listener, NULL, NULL));
	wait(NULL);
	close(listener);
}

/* A blocked signal interrupts nothing. */
static void blocked_signal(void)
{
	static const size_t sizes[] = { 4, 100000, 3 << 20 };
	static char bytes[3 << 20];
	size_t have = 0;
	sigset_t set;
	int fds[2];

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		pair(SOCK_STREAM, fds);
		setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &(int){ 4096 }, sizeof(int));
		fflush(stdout);
		if (!fork()) {
			SHOW(send(fds[1], bytes, sizes[i] / 2, 0));
			for (int n = 0; n < 3; n++) {
				usleep(50000);
				kill(getppid(), SIGUSR1);
			}
			SHOW(send(fds[1], bytes, sizes[i] / 2, 0));
			close(fds[0]);
			for (int n = 0; n < 3; n++) {
				usleep(50000);
				kill(getppid(), SIGUSR1);
			}
			for (ssize_t n; (n = recv(fds[1], bytes, sizeof(bytes), 0)) > 0; have += (size_t)n)
				;
			printf("child received %zu\n", have);
			fflush(stdout);
			_exit(0);
		}
		close(fds[1]);
		SHOW(recv(fds[0], bytes, sizes[i], MSG_WAITALL));
		SHOW(send(fds[0], bytes, sizes[i], 0));
		close(fds[0]);
		wait(NULL);
	}
	sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* The listener's queue is full, so connect(2) waits. */
static void interrupted_connect(int flags)
{
	int listener = bind_to(SOCK_STREAM, "full"), fd = socket(AF_UNIX, SOCK_STREAM, 0);
	union { struct sockaddr any; struct sockaddr_un un; } a;
	socklen_t len = name(&a.un, "full");
	pid_t pid;

	handle(SIGUSR1, flags);
	listen(listener, 0);
	connect_to(SOCK_STREAM, "full");
	fflush(stdout);
	pid = fork();
	if (!pid) {
		usleep(150000);
		kill(getppid(), SIGUSR1);
		usleep(150000);
		accept(listener, NULL, NULL);
		usleep(150000);
		_exit(0);
	}
	SHOW(connect(fd, &a.any, len));
	wait(NULL);
	close(fd);
	close(listener);
	unlink("full");
}

int main(void)
{
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	creation();
	paths();
	abstract();
	returned_names();
	datagrams();
	stream_with_address();
	streams();
	truncated_stream();
	inet();
	udp();
	faults(SOCK_STREAM);
	faults(SOCK_DGRAM);
	faults(SOCK_SEQPACKET);
	options();
	ioctls();
	broken(SOCK_STREAM);
	broken(SOCK_DGRAM);
	broken(SOCK_SEQPACKET);
	interrupted(0);
	interrupted(SA_RESTART);
	blocked_signal();
	interrupted_connect(0);
	interrupted_connect(SA_RESTART);
	return 0;
}
