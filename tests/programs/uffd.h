/* SPDX-License-Identifier: MIT */
/* tests/programs/uffd.h - what the programs about userfaultfd(2) share: contexts, ioctls and messages, and their printing. */
#ifndef TESTS_PROGRAMS_UFFD_H
#define TESTS_PROGRAMS_UFFD_H

#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "show.h"

#define PAGE 4096ul
#define NR_PAGES 16
/* Features of hugetlbfs, which not every kernel has. */
#define HUGETLB_FEATURES (UFFD_FEATURE_MISSING_HUGETLBFS | UFFD_FEATURE_MINOR_HUGETLBFS)

/* Of Linux 6.6 to 6.8, which older headers do not have. */
#define FEATURE_POISON	 (1 << 14)
#define FEATURE_WP_ASYNC (1 << 15)
#define FEATURE_MOVE	 (1 << 16)
#define IOC_MOVE	 _IOWR(UFFDIO, 0x05, struct move)
#define IOC_POISON	 _IOWR(UFFDIO, 0x08, struct poison)

struct move {
	uint64_t to, from, len, mode;
	int64_t moved;
};

struct poison {
	uint64_t start, len, mode;
	int64_t poisoned;
};

static char *mem;		/* NR_PAGES pages */
static char page[PAGE] __attribute__((aligned(4096)));

static inline int uffd(unsigned flags)
{
	return (int)syscall(SYS_userfaultfd, flags);
}

/* A context with a handshake; messages are read without waiting. */
static inline int ready_uffd(unsigned flags, uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = uffd(flags | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0 || ioctl(fd, UFFDIO_API, &api)) {
		perror("userfaultfd");
		exit(1);
	}
	return fd;
}

static inline char *map_pages(int flags)
{
	char *p = mmap(NULL, NR_PAGES * PAGE, PROT_READ | PROT_WRITE, flags | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		exit(1);
	return p;
}

static inline long enrol(int fd, char *at, unsigned long pages, uint64_t mode)
{
	struct uffdio_register r = { { (uint64_t)at, pages * PAGE }, mode, 0 };
	int n = ioctl(fd, UFFDIO_REGISTER, &r);

	if (n)
		printf("register: %s\n", strerrorname_np(errno));
	else
		printf("register: ioctls %llx\n", (unsigned long long)r.ioctls);
	return n;
}

static inline void show_copy(int fd, char *at, char *from, unsigned long len, uint64_t mode)
{
	struct uffdio_copy c = { (uint64_t)at, (uint64_t)from, len, mode, 77 };
	int n = ioctl(fd, UFFDIO_COPY, &c);

	printf("copy: %s, copied %lld\n", n ? strerrorname_np(errno) : "0", (long long)c.copy);
}

static inline void fill(int fd, char *at, int byte)
{
	memset(page, byte, PAGE);
	show_copy(fd, at, page, PAGE, 0);
}

static inline void show_protect(int fd, char *at, unsigned long pages, uint64_t mode)
{
	struct uffdio_writeprotect w = { { (uint64_t)at, pages * PAGE }, mode };
	int n = ioctl(fd, UFFDIO_WRITEPROTECT, &w);

	printf("writeprotect %llx: %s\n", (unsigned long long)mode, n ? strerrorname_np(errno) : "0");
}

static inline void wait_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (poll(&p, 1, 10000) != 1)
		printf("poll: no message\n");
}

/* Addresses are shown from the start of @mem. */
static inline struct uffd_msg next_message(int fd)
{
	struct uffd_msg msg = { .event = 0 };

	wait_readable(fd);
	if (read(fd, &msg, sizeof(msg)) != (ssize_t)sizeof(msg)) {
		printf("read: %s\n", strerrorname_np(errno));
		return msg;
	}
	switch (msg.event) {
	case UFFD_EVENT_PAGEFAULT:
		printf("fault at %llx flags %llx\n", (unsigned long long)msg.arg.pagefault.address - (uint64_t)mem,
		       (unsigned long long)msg.arg.pagefault.flags);
		break;
	case UFFD_EVENT_FORK:
		printf("fork: %s\n", (int)msg.arg.fork.ufd >= 0 ? "a descriptor" : "none");
		break;
	case UFFD_EVENT_REMAP:
		printf("remap from %llx len %llx\n", (unsigned long long)msg.arg.remap.from - (uint64_t)mem,
		       (unsigned long long)msg.arg.remap.len);
		break;
	default:
		printf("event %x from %llx to %llx\n", msg.event, (unsigned long long)msg.arg.remove.start - (uint64_t)mem,
		       (unsigned long long)msg.arg.remove.end - (uint64_t)mem);
	}
	return msg;
}

static inline void show_poll(const char *what, int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDNORM };
	struct timeval at_once = { 0, 0 };
	fd_set in, out;
	int n = poll(&p, 1, 0);

	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(fd, &in);
	FD_SET(fd, &out);
	printf("%s: poll %d events %x", what, n, p.revents);
	n = select(fd + 1, &in, &out, NULL, &at_once);
	printf(" select %d in %d out %d\n", n, FD_ISSET(fd, &in) != 0, FD_ISSET(fd, &out) != 0);
}

struct access {
	pthread_t thread;
	char *at;
	int store;		/* a byte, or -1: load */
	int seen;
	int tid;
};

static inline void *access_thread(void *arg)
{
	struct access *a = arg;

	a->tid = (int)syscall(SYS_gettid);
	if (a->store >= 0)
		*(volatile char *)a->at = (char)a->store;
	a->seen = *(volatile char *)a->at;
	return NULL;
}

static inline void begin(struct access *a, char *at, int store)
{
	*a = (struct access){ .at = at, .store = store };
	if (pthread_create(&a->thread, NULL, access_thread, a))
		exit(1);
}

static inline void end(struct access *a)
{
	pthread_join(a->thread, NULL);
	printf("access: %d\n", a->seen);
}

struct call {
	pthread_t thread;
	int fd;
	ssize_t n;
	int err;
};

static inline void *read_into_memory(void *arg)
{
	struct call *c = arg;

	c->n = read(c->fd, mem + 10, 5);
	c->err = errno;
	return NULL;
}

#endif
