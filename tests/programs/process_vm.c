/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/process_vm.c - process_vm_readv(2), process_vm_writev(2), process_madvise(2), vmsplice(2). Its output
 * is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"

#define PAGE 4096l
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif
#define SELF_PROCESS (-10001)

static void *volatile bad = (void *)1;	/* volatile: the compiler would find the error */
static char buf[256 << 10];
static char *area;	/* a page, a read-only page, a hole, a page */

static void map_area(void)
{
	area = mmap((void *)0x200000000, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	memset(area, 'a', 4 * PAGE);
	mprotect(area + PAGE, PAGE, PROT_READ);
	munmap(area + 2 * PAGE, PAGE);
}

static struct iovec piece(const void *base, size_t len)
{
	return (struct iovec){ (void *)(uintptr_t)base, len };
}

#define COPY(how, pid, local, local_nr, remote, remote_nr, flags) \
	SHOW(process_vm_##how(pid, local, local_nr, remote, remote_nr, flags))

static void arguments(pid_t other)
{
	struct iovec l = piece(buf, 100), r = piece(area, 100), wrong = piece(bad, 10), none = piece(buf, 0);
	const pid_t gone = 4194304;

	COPY(readv, other, &l, 1, &r, 1, 0);
	COPY(readv, other, &l, 1, &r, 1, 1);
	COPY(readv, gone, &l, 1, &r, 1, 0);
	COPY(readv, -1, &l, 1, &r, 1, 0);
	COPY(readv, 0, &l, 1, &r, 1, 0);
	COPY(readv, gone, &l, 0, bad, 1, 0);
	COPY(readv, gone, &none, 1, bad, 1, 0);
	COPY(readv, gone, &l, 1, &none, 1, 0);
	COPY(readv, gone, bad, 1, &r, 1, 0);
	COPY(readv, gone, &l, 1, bad, 1, 0);
	COPY(readv, other, &l, 2000, &r, 1, 0);
	COPY(readv, other, &l, 1, &r, 2000, 0);
	COPY(readv, other, &l, 1, &r, 0, 0);
	COPY(readv, other, &wrong, 1, &r, 1, 0);
	COPY(readv, other, &l, 1, &wrong, 1, 0);
	COPY(writev, other, &wrong, 1, &r, 1, 0);
	COPY(writev, other, &l, 1, &wrong, 1, 0);
	wrong.iov_len = (size_t)-1;
	COPY(readv, gone, &wrong, 1, &r, 1, 0);
	COPY(readv, gone, &l, 1, &wrong, 1, 0);
	wrong = piece((void *)-PAGE, 100);
	COPY(readv, gone, &wrong, 1, &r, 1, 0);
	COPY(readv, gone, &l, 1, &wrong, 1, 0);
	COPY(readv, other, &l, 1, &wrong, 1, 0);
}

static void partial(pid_t other)
{
	struct iovec l[2] = { piece(buf, 5), piece(buf + 5, 5000) };
	struct iovec r[3] = { piece(area, 10), piece(area + 2 * PAGE - 2, 10), piece(area + 3 * PAGE, 10) };

	COPY(readv, other, l, 2, r, 3, 0);
	COPY(readv, other, l, 2, r + 2, 1, 0);
	COPY(readv, other, l, 1, r, 3, 0);
	COPY(writev, other, l, 2, r, 3, 0);
	r[0] = piece(area + PAGE - 100, 300);
	COPY(readv, other, l, 2, r, 1, 0);
	COPY(writev, other, l, 2, r + 1, 1, 0);
	l[1] = piece(area + PAGE, 10);		/* read-only */
	COPY(readv, other, l, 2, r, 1, 0);
	COPY(writev, other, l, 2, r, 1, 0);
}

/* --- a child --- */

static int to_child[2], from_child[2];

static void put(int fd)
{
	if (write(fd, "x", 1) != 1)
		exit(1);
}

static void get(int fd)
{
	char byte;

	if (read(fd, &byte, 1) != 1)
		exit(1);
}

/* Its bytes are changed by the parent. */
static void child_main(void)
{
	char *big = mmap((void *)0x300000000, sizeof(buf), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
			 -1, 0);
	unsigned sum = 0;

	memset(area, 'c', PAGE);
	put(from_child[1]);
	get(to_child[0]);
	for (size_t i = 0; i < sizeof(buf); i++)
		sum = sum * 31 + (unsigned char)big[i];
	printf("child: sum %u area %.10s\n", sum, area);
	fflush(stdout);
	put(from_child[1]);
	get(to_child[0]);
	_exit(5);
}

static void madvise_calls(int fd, pid_t child)
{
	struct iovec v[2] = { piece(area, PAGE), piece(area + 2 * PAGE, PAGE) };
	int own = (int)syscall(SYS_pidfd_open, getpid(), 0);

	SHOW(syscall(SYS_process_madvise, own, v, 1l, MADV_COLD, 0));
	SHOW(syscall(SYS_process_madvise, own, v, 1l, MADV_COLD, 1));
	SHOW(syscall(SYS_process_madvise, -1, v, 1l, MADV_COLD, 0));
	SHOW(syscall(SYS_process_madvise, 0, v, 1l, MADV_COLD, 0));
	SHOW(syscall(SYS_process_madvise, 0, v, 2000l, MADV_COLD, 0));
	SHOW(syscall(SYS_process_madvise, 0, bad, 1l, MADV_COLD, 0));
	SHOW(syscall(SYS_process_madvise, own, v, 2l, MADV_WILLNEED, 0));
	SHOW(syscall(SYS_process_madvise, own, v + 1, 1l, MADV_WILLNEED, 0));
	SHOW(syscall(SYS_process_madvise, own, v, 0l, MADV_COLD, 0));
	SHOW(syscall(SYS_process_madvise, own, v, 1l, 99, 0));
	SHOW(syscall(SYS_process_madvise, SELF_PROCESS, v, 1l, MADV_COLD, 0));
	if (geteuid() == 0) {
		SHOW(syscall(SYS_process_madvise, fd, v, 1l, MADV_COLD, 0));
		SHOW(syscall(SYS_process_madvise, fd, v, 2l, MADV_PAGEOUT, 0));
		SHOW(syscall(SYS_process_madvise, fd, v, 1l, MADV_DONTNEED, 0));
	}
	put(to_child[1]);
	waitid(P_PID, (id_t)child, &(siginfo_t){ .si_signo = 0 }, WEXITED | WNOWAIT);
	SHOW(syscall(SYS_process_madvise, fd, v, 1l, MADV_COLD, 0));
	close(own);
}

static void child(void)
{
	struct iovec l = piece(buf, sizeof(buf)), r = piece((void *)0x300000000, sizeof(buf));
	pid_t pid;
	int fd;

	if (pipe(to_child) || pipe(from_child))
		exit(1);
	fflush(stdout);
	pid = fork();
	if (!pid)
		child_main();
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	get(from_child[0]);
	arguments(pid);
	printf("%.10s\n", buf);
	partial(pid);
	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (char)(i * 7 + i / 4096);
	COPY(writev, pid, &l, 1, &r, 1, 0);
	memset(buf, 0, sizeof(buf));
	COPY(readv, pid, &l, 1, &r, 1, 0);
	printf("%d %d\n", buf[1000], buf[200000]);
	l = piece("written", 7);
	r = piece(area + 2, 7);
	COPY(writev, pid, &l, 1, &r, 1, 0);
	put(to_child[1]);
	get(from_child[0]);
	madvise_calls(fd, pid);
	COPY(readv, pid, &l, 1, &r, 1, 0);
	waitpid(pid, NULL, 0);
	COPY(readv, pid, &l, 1, &r, 1, 0);
	close(fd);
}

/* Not of the same user. */
static void rights(void)
{
	struct iovec l = piece(buf, 10), r = piece(area, 10);
	pid_t parent = getpid(), pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		int fd = (int)syscall(SYS_pidfd_open, parent, 0);

		if (syscall(SYS_setresgid, 65534, 65534, 65534) || syscall(SYS_setresuid, 65534, 65534, 65534))
			_exit(1);
		COPY(readv, parent, &l, 1, &r, 1, 0);
		COPY(writev, parent, &l, 1, &r, 1, 0);
		SHOW(syscall(SYS_pidfd_getfd, fd, 0, 0));
		SHOW(syscall(SYS_process_madvise, fd, &r, 1l, MADV_COLD, 0));
		COPY(readv, getpid(), &l, 1, &r, 1, 0);
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

/* --- threads: each changes the memory of a child that runs --- */

static pid_t target;
static volatile int *counters;

static void *writer(void *arg)
{
	int n = (int)(intptr_t)arg;

	for (int i = 1; i <= 300; i++) {
		struct iovec l = piece(&i, sizeof(i)), r = piece((const void *)(uintptr_t)&counters[n * 1024], sizeof(i));

		if (process_vm_writev(target, &l, 1, &r, 1, 0) != sizeof(i))
			return (void *)1;
	}
	return NULL;
}

static void threads(void)
{
	pthread_t thread[2];
	int status = 0;

	counters = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	target = fork();
	if (!target) {
		volatile char *own = mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		while (counters[0] < 300 || counters[1024] < 300) {
			for (int i = 0; i < 64; i++)
				own[i * PAGE]++;
			munmap(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), PAGE);
		}
		_exit(9);
	}
	for (intptr_t i = 0; i < 2; i++)
		pthread_create(&thread[i], NULL, writer, (void *)i);
	for (int i = 0; i < 2; i++) {
		void *failed;

		pthread_join(thread[i], &failed);
		printf("failed %d\n", failed != NULL);
	}
	waitpid(target, &status, 0);
	printf("child: %x, own counters %d %d\n", status, counters[0], counters[1024]);
}

/* --- vmsplice(2) --- */

static void vmsplice_calls(void)
{
	struct iovec v[2] = { piece("ten bytes.", 10), piece("five!", 5) }, wrong = piece(bad, 5), part[2], in[2];
	int ends[2], null = open("/dev/null", O_RDWR);
	char got[64];

	if (pipe(ends))
		exit(1);
	SHOW(vmsplice(ends[1], v, 2, 0));
	SHOW(vmsplice(ends[1], v, 2, 0x100));
	SHOW(vmsplice(ends[1], v, 2, SPLICE_F_GIFT | SPLICE_F_MOVE | SPLICE_F_MORE));
	SHOW(vmsplice(-1, v, 2, 0));
	SHOW(vmsplice(-1, v, 2, 0x100));
	SHOW(vmsplice(-1, bad, 2, 0));
	SHOW(vmsplice(null, v, 2, 0));
	SHOW(vmsplice(ends[1], v, 2000, 0));
	SHOW(vmsplice(ends[1], NULL, 0, 0));
	SHOW(vmsplice(ends[1], bad, 2, 0));
	SHOW(vmsplice(ends[1], &wrong, 1, 0));
	part[0] = piece("abc", 3);
	part[1] = wrong;
	SHOW(vmsplice(ends[1], part, 2, 0));
	SHOW(vmsplice(ends[0], &wrong, 1, 0));
	in[0] = piece(got, 7);
	in[1] = piece(got + 7, 20);
	SHOW(vmsplice(ends[0], in, 2, 0));
	printf("%.27s\n", got);
	SHOW(read(ends[0], got, sizeof(got)));
	SHOW(vmsplice(ends[0], in, 2, SPLICE_F_NONBLOCK));
	in[0] = piece(buf, sizeof(buf));
	SHOW(vmsplice(ends[1], in, 1, SPLICE_F_NONBLOCK) > 0);
	SHOW(vmsplice(ends[1], in, 1, SPLICE_F_NONBLOCK));
	SHOW(read(ends[0], buf, sizeof(buf)) > 0);
	close(ends[1]);
	SHOW(vmsplice(ends[0], in, 1, 0));
	close(ends[0]);
	if (pipe(ends))
		exit(1);
	close(ends[0]);
	signal(SIGPIPE, SIG_IGN);
	SHOW(vmsplice(ends[1], v, 1, 0));
	close(ends[1]);
	close(null);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	map_area();
	arguments(getpid());
	partial(getpid());
	child();
	if (geteuid() == 0)
		rights();
	threads();
	vmsplice_calls();
	return 0;
}
