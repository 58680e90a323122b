/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/events.c - epoll(7), eventfd(2), timerfd_create(2), inotify(7), and poll(2) and select(2) over them.
 * It runs in a directory in which it may make files. Its output is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "show.h"

#define PAGE 4096l

static void *volatile bad = (void *)1;	/* volatile: the compiler would find the error */

static void make_pipe(int fds[2])
{
	if (pipe(fds)) {
		perror("pipe");
		exit(1);
	}
}

static void on_signal(int signo)
{
	(void)signo;
}

static void handle(int signo)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

	sigaction(signo, &act, NULL);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* --- epoll --- */

static long add(int ep, int fd, uint32_t events, uint64_t data)
{
	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = events, .data.u64 = data });
}

static long change(int ep, int fd, uint32_t events, uint64_t data)
{
	return epoll_ctl(ep, EPOLL_CTL_MOD, fd, &(struct epoll_event){ .events = events, .data.u64 = data });
}

static int by_data(const void *a, const void *b)
{
	const struct epoll_event *x = a, *y = b;

	return x->data.u64 < y->data.u64 ? -1 : x->data.u64 > y->data.u64;
}

static void show_events(int ep, int max, int timeout)
{
	struct epoll_event ev[8];
	int n = epoll_wait(ep, ev, max, timeout);

	if (n < 0) {
		printf("events: %s\n", strerrorname_np(errno));
		return;
	}
	qsort(ev, (size_t)n, sizeof(ev[0]), by_data);
	printf("events: %d", n);
	for (int i = 0; i < n; i++)
		printf(" %lx=%x", (long)ev[i].data.u64, ev[i].events);
	printf("\n");
}

static void wrong_arguments(void)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int ep = OPEN(epoll_create1(0)), file = open("file", O_RDWR | O_CREAT, 0600), fds[2];

	make_pipe(fds);
	OPEN(epoll_create(0));
	OPEN(epoll_create1(1));
	close(OPEN(epoll_create(1)));
	SHOW(add(ep, file, EPOLLIN, 0));
	SHOW(add(ep, ep, EPOLLIN, 0));
	SHOW(add(ep, -1, EPOLLIN, 0));
	SHOW(add(ep, 1000, EPOLLIN, 0));
	SHOW(add(-1, fds[0], EPOLLIN, 0));
	SHOW(add(fds[0], fds[1], EPOLLIN, 0));
	SHOW(epoll_ctl(ep, EPOLL_CTL_ADD, fds[0], bad));
	SHOW(epoll_ctl(ep, 17, fds[0], &ev));
	SHOW(change(ep, fds[0], EPOLLIN, 0));
	SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, fds[0], bad));
	SHOW(add(ep, fds[0], EPOLLIN, 1));
	SHOW(add(ep, fds[0], EPOLLIN, 1));
	SHOW(add(ep, fds[1], EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 1));
	SHOW(syscall(SYS_epoll_wait, ep, &ev, 0, 0));
	SHOW(syscall(SYS_epoll_wait, ep, &ev, -1, 0));
	SHOW(syscall(SYS_epoll_wait, ep, &ev, INT_MAX, 0));
	SHOW(epoll_wait(ep, bad, 1, 0));
	SHOW(epoll_wait(fds[0], &ev, 1, 0));
	SHOW(epoll_wait(-1, &ev, 1, 0));
	SHOW(write(fds[1], "x", 1));
	SHOW(epoll_wait(ep, bad, 1, 1000));
	SHOW(epoll_wait(ep, (void *)-4096l, 1, 0));
	SHOW(syscall(SYS_epoll_pwait, ep, &ev, 1, 0, &ev, 4l));
	SHOW(syscall(SYS_epoll_pwait, ep, &ev, 1, 0, bad, 8l));
	SHOW(syscall(SYS_epoll_pwait2, ep, &ev, 1, &(struct timespec){ 0, -1 }, NULL, 0l));
	SHOW(syscall(SYS_epoll_pwait2, ep, &ev, 1, bad, NULL, 0l));
	SHOW(syscall(SYS_epoll_pwait2, ep, &ev, 1, &(struct timespec){ 0, 1 }, NULL, 0l));
	close(file);
	close(ep);
	close(fds[0]);
	close(fds[1]);
}

static void triggers(void)
{
	int ep = epoll_create1(EPOLL_CLOEXEC), fds[2], sockets[2];
	char buf[10];

	printf("cloexec %d\n", fcntl(ep, F_GETFD));
	make_pipe(fds);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets))
		return;
	SHOW(add(ep, fds[0], EPOLLIN, 0x1122334455667788));
	SHOW(add(ep, sockets[0], EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP, 2));
	show_events(ep, 8, 0);
	show_events(ep, 8, 0);
	SHOW(write(fds[1], "ab", 2));
	SHOW(write(sockets[1], "ab", 2));
	show_events(ep, 8, 0);
	show_events(ep, 8, 0);
	SHOW(read(fds[0], buf, 1));
	SHOW(read(sockets[0], buf, 1));
	show_events(ep, 8, 0);
	SHOW(change(ep, fds[0], EPOLLIN | EPOLLONESHOT, 3));
	show_events(ep, 8, 0);
	show_events(ep, 8, 0);
	SHOW(change(ep, fds[0], EPOLLIN | EPOLLONESHOT, 4));
	show_events(ep, 1, 0);
	SHOW(change(ep, fds[0], EPOLLIN, 5));
	SHOW(change(ep, sockets[0], EPOLLIN, 6));
	show_events(ep, 1, 0);
	show_events(ep, 8, 0);
	close(sockets[1]);
	close(fds[1]);
	show_events(ep, 8, 0);
	SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, fds[0], NULL));
	close(sockets[0]);
	show_events(ep, 8, 0);
	close(fds[0]);
	close(ep);
}

/* Copies of a descriptor are items of their own, and an item lives as long as the open file. */
static void copies(void)
{
	int ep = epoll_create1(0), fds[2], copy, other[2];

	make_pipe(fds);
	copy = dup(fds[0]);
	SHOW(write(fds[1], "x", 1));
	SHOW(add(ep, fds[0], EPOLLIN, 1));
	SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, copy, NULL));
	SHOW(change(ep, copy, EPOLLIN, 7));
	SHOW(add(ep, copy, EPOLLIN, 2));
	SHOW(add(ep, copy, EPOLLIN, 3));
	show_events(ep, 8, 0);
	SHOW(change(ep, copy, EPOLLIN, 4));
	show_events(ep, 8, 0);
	SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, fds[0], NULL));
	show_events(ep, 8, 0);
	SHOW(add(ep, fds[0], EPOLLIN, 5));
	close(fds[0]);
	show_events(ep, 8, 0);		/* the open file is not closed */
	SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, copy, NULL));
	show_events(ep, 8, 0);
	make_pipe(other);
	printf("same number %d\n", other[0] == fds[0]);
	SHOW(write(other[1], "x", 1));
	SHOW(add(ep, other[0], EPOLLIN, 6));
	show_events(ep, 8, 0);
	close(copy);
	show_events(ep, 8, 0);
	SHOW(write(fds[1], "x", 1));	/* nothing of the pipe is left open for reading */
	close(other[0]);
	show_events(ep, 8, 0);
	close(other[1]);
	close(fds[1]);
	close(ep);
}

static void forked(void)
{
	int ep = epoll_create1(0), fds[2], nested = epoll_create1(0);

	make_pipe(fds);
	SHOW(add(ep, fds[0], EPOLLIN, 1));
	SHOW(add(nested, ep, EPOLLIN, 2));
	SHOW(add(ep, nested, EPOLLIN, 3));
	show_events(nested, 8, 0);
	fflush(stdout);
	if (!fork()) {
		close(fds[0]);
		usleep(100000);
		if (write(fds[1], "x", 1) != 1)
			perror("write");
		_exit(0);
	}
	show_events(nested, 8, -1);
	show_events(ep, 8, 5000);
	SHOW(poll(&(struct pollfd){ .fd = ep, .events = POLLIN }, 1, 0));
	wait(NULL);
	close(fds[0]);
	close(fds[1]);
	show_events(ep, 8, 0);
	close(ep);
	show_events(nested, 8, 0);
	close(nested);
}

/* A child sends a signal, and later writes. */
static void start_child(int signo, int fd)
{
	fflush(stdout);
	if (fork())
		return;
	usleep(150000);
	kill(getppid(), signo);
	usleep(150000);
	if (write(fd, "x", 1) != 1)
		perror("write");
	_exit(0);
}

static void interrupted(void)
{
	int ep = epoll_create1(0), fds[2];
	struct epoll_event ev;
	sigset_t usr1, none;
	double start;

	make_pipe(fds);
	add(ep, fds[0], EPOLLIN, 1);
	handle(SIGUSR1);
	start_child(SIGUSR1, fds[1]);
	show_events(ep, 1, -1);
	wait(NULL);
	show_events(ep, 1, -1);
	SHOW(read(fds[0], &ev, 1));
	sigemptyset(&none);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	start_child(SIGUSR1, fds[1]);
	SHOW(epoll_pwait(ep, &ev, 1, -1, &usr1));	/* the signal waits */
	wait(NULL);
	SHOW(read(fds[0], &ev, 1));
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	start_child(SIGUSR1, fds[1]);
	SHOW(epoll_pwait(ep, &ev, 1, -1, &none));
	wait(NULL);
	SHOW(read(fds[0], &ev, 1));
	start_child(SIGUSR1, fds[1]);
	SHOW(epoll_pwait2(ep, &ev, 1, &(struct timespec){ 100, 0 }, &none));
	wait(NULL);
	raise(SIGUSR1);
	SHOW(epoll_pwait(ep, &ev, 1, -1, &none));	/* events first */
	SHOW(read(fds[0], &ev, 1));
	SHOW(epoll_pwait(ep, &ev, 1, 0, &none));
	sigprocmask(SIG_UNBLOCK, &usr1, NULL);
	signal(SIGUSR1, SIG_IGN);
	start = now();
	show_events(ep, 1, 100);
	printf("waited %d\n", now() - start > 0.09);
	close(fds[0]);
	close(fds[1]);
	close(ep);
}

/* The buffer ends in a page that is not mapped: no event is lost. */
static void short_buffer(void)
{
	char *at = mmap((void *)0x10000000000, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct epoll_event *ev;
	int ep = epoll_create1(0), fds[2];

	munmap(at + PAGE, PAGE);
	make_pipe(fds);
	add(ep, fds[0], EPOLLIN | EPOLLET, 1);
	add(ep, fds[1], EPOLLOUT | EPOLLET, 2);
	SHOW(write(fds[1], "x", 1));
	ev = (struct epoll_event *)(at + PAGE);
	SHOW(epoll_wait(ep, ev, 2, 0));
	SHOW(epoll_wait(ep, ev - 1, 2, 0));
	SHOW(epoll_wait(ep, ev - 1, 2, 0));
	close(fds[0]);
	close(fds[1]);
	close(ep);
}

/* --- eventfd --- */

static void eventfds(void)
{
	uint64_t value = 5;
	int fd = OPEN(eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC)), semaphore = OPEN(eventfd(2, EFD_SEMAPHORE));
	int sockets[2], blocking = OPEN((int)syscall(SYS_eventfd, 0));

	OPEN(eventfd(0, 12345));
	printf("flags %x %x\n", fcntl(fd, F_GETFD), fcntl(fd, F_GETFL));
	SHOW(write(fd, &value, 8));
	SHOW(write(fd, &value, 7));
	SHOW(write(fd, bad, 8));
	value = ~0ull;
	SHOW(write(fd, &value, 8));
	value = ~0ull - 1;
	SHOW(write(fd, &value, 8));
	SHOW(read(fd, &value, 4));
	SHOW(read(fd, &value, 8));
	printf("value %ld\n", (long)value);
	SHOW(read(fd, &value, 8));
	for (int i = 0; i < 2; i++) {
		SHOW(read(semaphore, &value, 8));
		printf("value %ld\n", (long)value);
	}
	SHOW(poll(&(struct pollfd){ .fd = semaphore, .events = POLLIN | POLLOUT }, 1, 0));
	fflush(stdout);
	if (!fork()) {
		usleep(100000);
		value = 77;
		SHOW(write(blocking, &value, 8));
		fflush(stdout);
		_exit(0);
	}
	SHOW(read(blocking, &value, 8));
	printf("value %ld\n", (long)value);
	wait(NULL);
	SHOW(lseek(fd, 0, SEEK_SET));
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) == 0) {	/* over a mixture */
		struct pollfd all[4] = { { fd, POLLIN, 0 }, { semaphore, POLLIN, 0 }, { sockets[0], POLLIN, 0 },
					 { blocking, POLLOUT, 0 } };
		fd_set set;

		SHOW(write(sockets[1], "x", 1));
		SHOW(poll(all, 4, -1));
		printf("%x %x %x %x\n", all[0].revents, all[1].revents, all[2].revents, all[3].revents);
		FD_ZERO(&set);
		FD_SET(sockets[0], &set);
		FD_SET(fd, &set);
		SHOW(select(FD_SETSIZE, &set, NULL, NULL, NULL));
		printf("%d %d\n", FD_ISSET(sockets[0], &set) != 0, FD_ISSET(fd, &set) != 0);
		close(sockets[0]);
		close(sockets[1]);
	}
	close(fd);
	close(semaphore);
	close(blocking);
}

/* --- timerfd --- */

static void timers(void)
{
	struct itimerspec value = { .it_value = { 0, 50000000 } }, old;
	int fd = OPEN(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC)), ep = epoll_create1(0);
	uint64_t ticks = 0;
	double start = now();

	OPEN(timerfd_create(12345, 0));
	OPEN(timerfd_create(CLOCK_REALTIME, 1));
	SHOW(timerfd_settime(fd, 0, &value, NULL));
	SHOW(timerfd_gettime(fd, &old));
	printf("armed %d\n", old.it_value.tv_nsec > 0);
	SHOW(read(fd, &ticks, 8));
	printf("ticks %ld, waited %d\n", (long)ticks, now() - start > 0.049);
	SHOW(read(fd, &ticks, 7));
	add(ep, fd, EPOLLIN, 9);
	value.it_value = (struct timespec){ 0, 1 };
	value.it_interval = (struct timespec){ 0, 10000000 };
	SHOW(timerfd_settime(fd, TFD_TIMER_ABSTIME, &value, &old));
	printf("was %ld.%ld\n", (long)old.it_value.tv_sec, old.it_value.tv_nsec);
	show_events(ep, 1, 1000);
	usleep(50000);
	SHOW(read(fd, &ticks, 8));
	printf("several %d\n", ticks > 3);
	value.it_value = (struct timespec){ 0, 0 };
	SHOW(timerfd_settime(fd, 0, &value, &old));
	printf("interval %ld\n", old.it_interval.tv_nsec);
	SHOW(fcntl(fd, F_SETFL, O_NONBLOCK));
	SHOW(read(fd, &ticks, 8));
	SHOW(write(fd, &ticks, 8));
	value.it_value.tv_nsec = -1;
	SHOW(timerfd_settime(fd, 0, &value, NULL));
	SHOW(timerfd_settime(fd, 77, &value, NULL));
	SHOW(timerfd_settime(fd, 0, bad, NULL));
	value.it_value = (struct timespec){ 100, 0 };
	SHOW(timerfd_settime(fd, 0, &value, bad));
	SHOW(timerfd_gettime(fd, bad));
	SHOW(timerfd_gettime(ep, &old));
	SHOW(timerfd_settime(-1, 0, &value, NULL));
	close(fd);
	close(ep);
}

/* --- inotify --- */

static void show_inotify(int fd)
{
	_Alignas(8) char buf[4096];
	ssize_t n = read(fd, buf, sizeof(buf));
	const struct inotify_event *ev;

	if (n < 0)
		printf("inotify: %s\n", strerrorname_np(errno));
	for (ssize_t at = 0; at < n; at += (ssize_t)(sizeof(*ev) + ev->len)) {
		ev = (const struct inotify_event *)(buf + at);
		printf("  %d: %x %s\n", ev->wd, ev->mask, ev->len ? ev->name : "");
	}
}

static void watches(void)
{
	int fd = OPEN(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)), made;
	char byte;

	OPEN(inotify_init1(1));
	close(OPEN(inotify_init()));
	mkdir("dir", 0700);
	printf("%d\n", symlink("dir", "link"));
	SHOW(inotify_add_watch(fd, "dir", IN_CREATE | IN_DELETE | IN_MOVE | IN_MODIFY | IN_CLOSE_WRITE));
	SHOW(inotify_add_watch(fd, "link", IN_CREATE));		/* the same object */
	SHOW(inotify_add_watch(fd, "dir", IN_MASK_ADD | IN_DELETE | IN_MOVE | IN_MODIFY | IN_CLOSE_WRITE));
	SHOW(inotify_add_watch(fd, "dir", IN_MASK_CREATE | IN_DELETE));
	SHOW(inotify_add_watch(fd, "link", IN_DONT_FOLLOW | IN_DELETE_SELF | IN_ATTRIB));
	SHOW(inotify_add_watch(fd, "link", IN_DONT_FOLLOW | IN_ONLYDIR | IN_ATTRIB));
	SHOW(inotify_add_watch(fd, "absent", IN_CREATE));
	SHOW(inotify_add_watch(fd, "dir", 0));
	SHOW(inotify_add_watch(fd, bad, IN_CREATE));
	SHOW(inotify_add_watch(fd, "", IN_CREATE));
	SHOW(inotify_add_watch(-1, "dir", IN_CREATE));
	SHOW(inotify_add_watch(0, "dir", IN_CREATE) < 0);
	show_inotify(fd);
	made = open("dir/new", O_CREAT | O_WRONLY, 0600);
	SHOW(write(made, "some", 4));
	close(made);
	SHOW(inotify_add_watch(fd, "dir/new", IN_ONLYDIR | IN_MODIFY));
	SHOW(rename("dir/new", "dir/newer"));
	SHOW(unlink("dir/newer"));
	SHOW(poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 1000));
	SHOW(read(fd, &byte, 1));
	show_inotify(fd);
	SHOW(unlink("link"));
	show_inotify(fd);
	SHOW(inotify_rm_watch(fd, 77));
	SHOW(inotify_rm_watch(fd, 1));
	SHOW(inotify_rm_watch(0, 1) < 0);
	show_inotify(fd);
	close(fd);
}

static volatile sig_atomic_t nr_signals;

static void count_signal(int signo)
{
	(void)signo;
	nr_signals++;
}

/* A signal is pending that the calls unblock. If a descriptor is ready, they return it, and the signal stays pending. */
static void pending_signal(void)
{
	struct sigaction act = { .sa_handler = count_signal };
	const struct timespec none = { 0, 0 };
	sigset_t blocked, empty;
	struct pollfd p;
	int fds[2];
	fd_set set;

	make_pipe(fds);
	p = (struct pollfd){ .fd = fds[0], .events = POLLIN };
	sigemptyset(&empty);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	sigaction(SIGUSR1, &act, NULL);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	for (int ready = 1; ready >= 0; ready--) {
		if (ready && write(fds[1], "x", 1) != 1)
			exit(1);
		raise(SIGUSR1);
		SHOW(ppoll(&p, 1, NULL, &empty));
		SHOW(nr_signals);
		FD_ZERO(&set);
		FD_SET(fds[0], &set);
		raise(SIGUSR1);
		SHOW(pselect(fds[0] + 1, &set, NULL, NULL, NULL, &empty));
		SHOW(nr_signals);
		if (ready && read(fds[0], &(char){ 0 }, 1) != 1)
			exit(1);
		raise(SIGUSR1);
		SHOW(ppoll(&p, 1, &none, &empty));
		SHOW(nr_signals);
	}
	sigprocmask(SIG_UNBLOCK, &blocked, NULL);
	SHOW(nr_signals);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	close_range(3, ~0u, 0);		/* what a caller left open */
	signal(SIGPIPE, SIG_IGN);
	wrong_arguments();
	triggers();
	copies();
	forked();
	interrupted();
	short_buffer();
	eventfds();
	timers();
	watches();
	pending_signal();
	return 0;
}
