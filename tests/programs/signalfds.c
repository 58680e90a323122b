/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/signalfds.c - signalfd(2): reads, masks, poll(2), select(2) and epoll(7) over it, with threads and
 * processes. Its output is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "show.h"

static void *volatile bad = (void *)1;	/* volatile: the compiler would find the error */

static sigset_t set_of(int a, int b)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, a);
	if (b)
		sigaddset(&set, b);
	return set;
}

static int make(int a, int b, int flags)
{
	sigset_t set = set_of(a, b);

	return signalfd(-1, &set, flags);
}

static void block(int how, int a, int b)
{
	sigset_t set = set_of(a, b);

	pthread_sigmask(how, &set, NULL);
}

static void send_value(pid_t pid, int signo, int value)
{
	sigqueue(pid, signo, (union sigval){ .sival_int = value });
}

static const char *pid_name(uint32_t pid)
{
	return pid == (uint32_t)getpid() ? "own" : pid == 0 ? "0" : "other";
}

static void show_info(const struct signalfd_siginfo *i)
{
	printf("signal %u errno %d code %d pid %s uid %d fd %d tid %u band %u overrun %u trapno %u status %d int %d ptr %lx"
	       " addr %lx\n", i->ssi_signo, i->ssi_errno, i->ssi_code, pid_name(i->ssi_pid), i->ssi_uid == getuid(), i->ssi_fd,
	       i->ssi_tid, i->ssi_band, i->ssi_overrun, i->ssi_trapno, i->ssi_status, i->ssi_int, (long)i->ssi_ptr,
	       (long)i->ssi_addr);
}

static void show_read(int fd)
{
	struct signalfd_siginfo info[4];
	ssize_t n = read(fd, info, sizeof(info));

	if (n < 0) {
		printf("read: %s\n", strerrorname_np(errno));
		return;
	}
	printf("read: %zd bytes\n", n);
	for (size_t i = 0; i < (size_t)n / sizeof(info[0]); i++)
		show_info(&info[i]);
}

static void show_poll(const char *what, int fd, int timeout)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDNORM | POLLRDHUP };
	int n = poll(&p, 1, timeout);

	printf("%s: poll %d events %x\n", what, n, p.revents);
}

static void show_epoll(const char *what, int ep, int timeout)
{
	struct epoll_event ev[4];
	int n = epoll_wait(ep, ev, 4, timeout);

	printf("%s: epoll %d", what, n);
	for (int i = 0; i < n; i++)
		printf(" %lx=%x", (long)ev[i].data.u64, ev[i].events);
	printf("\n");
}

static long add(int ep, int fd, uint32_t events, uint64_t data)
{
	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = events, .data.u64 = data });
}

static void arguments(void)
{
	sigset_t set = set_of(SIGUSR1, SIGKILL);
	struct signalfd_siginfo info;
	struct stat st;
	int fd;

	SHOW(syscall(SYS_signalfd4, -1, &set, 4l, 0));
	SHOW(syscall(SYS_signalfd4, -1, &set, 16l, 0));
	SHOW(syscall(SYS_signalfd4, -1, bad, 4l, 1));
	SHOW(syscall(SYS_signalfd4, -1, bad, 8l, 1));
	SHOW(syscall(SYS_signalfd4, -1, &set, 8l, 1));
	SHOW(syscall(SYS_signalfd4, 99, &set, 8l, 0));
	SHOW(syscall(SYS_signalfd4, -2, &set, 8l, 0));
	SHOW(syscall(SYS_signalfd4, 0, &set, 8l, 0));
	fd = OPEN((int)syscall(SYS_signalfd, -1, &set, 8l));
	SHOW(syscall(SYS_signalfd4, fd, &set, 8l, SFD_NONBLOCK | SFD_CLOEXEC) == fd);
	SHOW(fcntl(fd, F_GETFL));
	SHOW(fcntl(fd, F_GETFD));
	SHOW(write(fd, &info, sizeof(info)));
	SHOW(write(fd, &info, 0));
	SHOW(read(fd, &info, sizeof(info) - 1));
	SHOW(read(fd, &info, 0));
	SHOW(pread(fd, &info, sizeof(info), 0));
	SHOW(lseek(fd, 0, SEEK_SET));
	SHOW(fstat(fd, &st));
	printf("mode %o\n", st.st_mode);
	close(fd);
	fd = OPEN(make(SIGUSR1, 0, SFD_NONBLOCK | SFD_CLOEXEC));
	SHOW(fcntl(fd, F_GETFL));
	SHOW(fcntl(fd, F_GETFD));
	SHOW(read(fd, &info, sizeof(info)));
	SHOW(read(fd, bad, sizeof(info)));
	block(SIG_BLOCK, SIGUSR1, 0);
	raise(SIGUSR1);
	SHOW(read(fd, bad, sizeof(info)));
	SHOW(read(fd, &info, sizeof(info)));
	SHOW(close(fd));
	SHOW(read(fd, &info, sizeof(info)));
}

/* --- what is read --- */

static timer_t start_timer(void)
{
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN + 3, .sigev_value.sival_int = 77 };
	struct itimerspec when = { .it_value.tv_nsec = 1000000 };
	timer_t timer;

	timer_create(CLOCK_MONOTONIC, &ev, &timer);
	timer_settime(timer, 0, &when, NULL);
	return timer;
}

static void children(void)
{
	int fd;
	pid_t child;

	block(SIG_BLOCK, SIGCHLD, 0);
	fd = make(SIGCHLD, 0, 0);
	child = fork();
	if (!child)
		_exit(7);
	show_read(fd);
	waitpid(child, NULL, 0);
	child = fork();
	while (!child)
		pause();
	kill(child, SIGSTOP);
	show_read(fd);
	kill(child, SIGCONT);
	show_read(fd);
	kill(child, SIGKILL);
	show_read(fd);
	waitpid(child, NULL, 0);
	close(fd);
}

static void contents(void)
{
	struct signalfd_siginfo info[3];
	struct iovec iov[3] = { { info, 100 }, { (char *)info + 100, 28 }, { info + 1, 130 } };
	struct itimerval interval = { .it_value.tv_usec = 1000 };
	int fd = make(SIGUSR1, SIGUSR2, SFD_NONBLOCK), rt = make(SIGRTMIN, SIGRTMIN + 3, 0);
	timer_t timer;

	block(SIG_BLOCK, SIGUSR1, SIGUSR2);
	block(SIG_BLOCK, SIGRTMIN, SIGRTMIN + 3);
	kill(getpid(), SIGUSR2);
	kill(getpid(), SIGUSR2);
	raise(SIGUSR1);
	show_read(fd);
	show_read(fd);
	send_value(getpid(), SIGUSR1, -5);
	show_read(fd);
	for (int i = 0; i < 6; i++)
		send_value(getpid(), SIGRTMIN, i);
	show_read(rt);
	show_read(rt);
	timer = start_timer();
	show_read(rt);
	timer_delete(timer);
	block(SIG_BLOCK, SIGALRM, 0);
	close(rt);
	rt = make(SIGALRM, 0, 0);
	setitimer(ITIMER_REAL, &interval, NULL);
	show_read(rt);
	kill(getpid(), SIGUSR1);
	raise(SIGUSR2);
	SHOW(readv(fd, iov, 3));
	show_info(&info[0]);
	show_info(&info[1]);
	SHOW(readv(fd, iov, 3));
	SHOW(readv(fd, iov, 1));
	children();
	close(fd);
	close(rt);
}

static void masks(void)
{
	sigset_t other = set_of(SIGUSR2, 0), pending;
	int fd = make(SIGUSR1, 0, SFD_NONBLOCK), copy = dup(fd);

	raise(SIGUSR2);
	show_poll("not in the mask", fd, 0);
	SHOW(signalfd(fd, &other, 0) == fd);
	show_poll("in the mask", fd, 0);
	show_poll("in the mask, by a copy", copy, 0);
	sigpending(&pending);
	SHOW(sigismember(&pending, SIGUSR2));
	show_read(copy);
	sigpending(&pending);
	SHOW(sigismember(&pending, SIGUSR2));
	show_poll("read", fd, 0);
	close(fd);
	close(copy);
}

/* --- waiting --- */

static volatile sig_atomic_t handled;

static void on_signal(int signo)
{
	(void)signo;
	handled++;
}

/* A child that sends @signo to its parent when that waits. */
static pid_t sender(int signo)
{
	pid_t parent = getpid(), child = fork();

	if (child)
		return child;
	usleep(30000);
	kill(parent, signo);
	_exit(0);
}

static void waits(void)
{
	struct sigaction act = { .sa_handler = on_signal };
	int fd = make(SIGUSR1, 0, 0), ep = epoll_create1(0), other = make(SIGUSR2, 0, 0), event = eventfd(0, 0);
	fd_set readable, writable;
	pid_t child;

	block(SIG_UNBLOCK, SIGCHLD, 0);
	child = sender(SIGUSR1);
	show_read(fd);
	waitpid(child, NULL, 0);
	child = sender(SIGUSR1);
	show_poll("sent while polling", fd, -1);
	show_read(fd);
	waitpid(child, NULL, 0);
	FD_ZERO(&readable);
	FD_SET(fd, &readable);
	FD_SET(other, &readable);
	FD_SET(event, &readable);
	writable = readable;
	FD_CLR(event, &writable);
	child = sender(SIGUSR2);
	SHOW(select(event + 1, &readable, &writable, NULL, NULL));
	SHOW(FD_ISSET(fd, &readable));
	SHOW(FD_ISSET(other, &readable));
	waitpid(child, NULL, 0);
	show_read(other);
	SHOW(add(ep, fd, EPOLLIN | EPOLLOUT, 1));
	SHOW(add(ep, event, EPOLLIN, 2));
	child = sender(SIGUSR1);
	show_epoll("sent while waiting", ep, -1);
	waitpid(child, NULL, 0);
	show_read(fd);
	act.sa_flags = 0;
	sigaction(SIGHUP, &act, NULL);
	child = sender(SIGHUP);
	show_read(fd);
	waitpid(child, NULL, 0);
	act.sa_flags = SA_RESTART;
	sigaction(SIGHUP, &act, NULL);
	if (!(child = fork())) {
		usleep(30000);
		kill(getppid(), SIGHUP);
		usleep(30000);
		kill(getppid(), SIGUSR1);
		_exit(0);
	}
	show_read(fd);
	waitpid(child, NULL, 0);
	printf("handled %d\n", (int)handled);
	close(fd);
	close(ep);
	close(other);
	close(event);
}

/* --- epoll --- */

static void triggers(void)
{
	int fd = make(SIGUSR1, SIGUSR2, SFD_NONBLOCK), ep = epoll_create1(0), outer = epoll_create1(0);
	struct epoll_event ev = { .events = EPOLLIN | EPOLLONESHOT, .data.u64 = 3 };

	raise(SIGUSR1);
	SHOW(add(ep, fd, EPOLLIN, 1));
	SHOW(add(ep, fd, EPOLLIN, 1));
	SHOW(add(outer, ep, EPOLLIN, 2));
	show_epoll("level", ep, 0);
	show_epoll("level again", ep, 0);
	show_epoll("nested", outer, 0);
	show_poll("nested", outer, 0);
	show_read(fd);
	show_epoll("read", ep, 0);
	show_epoll("nested, read", outer, 0);
	ev.events = EPOLLIN | EPOLLET;
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev));
	raise(SIGUSR1);
	show_epoll("edge", ep, 0);
	show_epoll("edge again", ep, 0);
	raise(SIGUSR2);
	show_epoll("edge of another signal", ep, 0);
	show_read(fd);
	ev.events = EPOLLIN | EPOLLONESHOT;
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev));
	raise(SIGUSR1);
	show_epoll("once", ep, 0);
	show_epoll("once again", ep, 0);
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev));
	show_epoll("armed", ep, 0);
	show_read(fd);
	SHOW(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL));
	SHOW(epoll_ctl(ep, EPOLL_CTL_MOD, fd, &ev));
	SHOW(add(ep, fd, EPOLLIN, 4));
	close(fd);
	raise(SIGUSR1);
	show_epoll("closed", ep, 0);
	close(ep);
	close(outer);
	signal(SIGUSR1, SIG_IGN);	/* drops what is pending */
	signal(SIGUSR1, SIG_DFL);
}

static void discarded(void)
{
	int fd = make(SIGUSR1, 0, SFD_NONBLOCK), ep = epoll_create1(0);

	add(ep, fd, EPOLLIN, 1);
	kill(getpid(), SIGUSR1);
	show_epoll("pending", ep, 0);
	signal(SIGUSR1, SIG_IGN);
	show_epoll("discarded", ep, 0);
	show_poll("discarded", fd, 0);
	signal(SIGUSR1, SIG_DFL);
	kill(getpid(), SIGUSR1);
	show_epoll("pending again", ep, 0);
	show_read(fd);
	close(fd);
	close(ep);
}

/* --- processes and threads --- */

/* A child reads its own signals, and its parent's do not make the descriptor ready. */
static void processes(void)
{
	int fd = make(SIGUSR1, 0, SFD_NONBLOCK);
	pid_t child;

	raise(SIGUSR1);
	fflush(stdout);
	child = fork();
	if (!child) {
		show_poll("child", fd, 0);
		show_read(fd);
		raise(SIGUSR1);
		show_poll("child, raised", fd, 0);
		show_read(fd);
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, NULL, 0);
	show_poll("parent", fd, 0);
	show_read(fd);
	child = fork();
	if (!child) {
		char text[16];

		snprintf(text, sizeof(text), "%d", fd);
		raise(SIGUSR1);		/* stays pending */
		execl("/proc/self/exe", "signalfds", text, NULL);
		_exit(1);
	}
	waitpid(child, NULL, 0);
	close(fd);
}

static int to_thread[2], from_thread[2];

static char wait_byte(int fd)
{
	char byte = 0;

	return read(fd, &byte, 1) == 1 ? byte : 0;
}

static void put_byte(int fd)
{
	if (write(fd, "x", 1) != 1)
		exit(1);
}

/* Signals of another thread. The two take turns. */
static void *other_thread(void *arg)
{
	int fd = *(int *)arg;

	raise(SIGUSR1);			/* to this thread */
	show_poll("thread, own signal", fd, 0);
	put_byte(from_thread[1]);
	wait_byte(to_thread[0]);
	show_read(fd);
	show_poll("thread, read", fd, 0);
	put_byte(from_thread[1]);
	wait_byte(to_thread[0]);
	show_read(fd);			/* of the process */
	put_byte(from_thread[1]);
	return NULL;
}

static void threads(void)
{
	int fd = make(SIGUSR1, SIGUSR2, SFD_NONBLOCK);
	pthread_t thread;

	if (pipe(to_thread) || pipe(from_thread) || pthread_create(&thread, NULL, other_thread, &fd))
		exit(1);
	wait_byte(from_thread[0]);
	show_poll("another thread's signal", fd, 20);
	show_read(fd);
	put_byte(to_thread[1]);
	wait_byte(from_thread[0]);
	kill(getpid(), SIGUSR2);
	show_poll("the process's signal", fd, 0);
	put_byte(to_thread[1]);
	wait_byte(from_thread[0]);
	show_poll("read by a thread", fd, 0);
	pthread_join(thread, NULL);
	close(fd);
}

static void *send_to_process(void *arg)
{
	for (int i = 0; i < 200; i++) {
		while (sigqueue(getpid(), SIGRTMIN, (union sigval){ .sival_int = i }))
			usleep(1000);
		if (i % 50 == 0)
			usleep(1000);
	}
	return arg;
}

static void *read_signals(void *arg)
{
	int *fd = arg, ep = epoll_create1(0);
	struct signalfd_siginfo info;
	struct epoll_event ev;
	long sum = 0;

	add(ep, fd[0], EPOLLIN, 1);
	add(ep, fd[1], EPOLLIN, 2);
	while (epoll_wait(ep, &ev, 1, -1) == 1 && ev.data.u64 == 1)
		while (read(fd[0], &info, sizeof(info)) == sizeof(info)) {
			sum += info.ssi_int;
			if (__atomic_add_fetch(&fd[2], 1, __ATOMIC_RELAXED) == 400)
				put_byte(fd[3]);
		}
	close(ep);
	return (void *)sum;
}

/* Two threads send, two read: each signal is read once. */
static void many(void)
{
	int stop[2], fd[4] = { make(SIGRTMIN, 0, SFD_NONBLOCK) };
	pthread_t thread[4];
	void *sum;
	long all = 0;

	if (pipe(stop))
		exit(1);
	fd[1] = stop[0];
	fd[3] = stop[1];
	for (int i = 0; i < 4; i++)
		pthread_create(&thread[i], NULL, i < 2 ? read_signals : send_to_process, fd);
	for (int i = 3; i >= 0; i--) {
		pthread_join(thread[i], &sum);
		all += i < 2 ? (long)sum : 0;
	}
	printf("%d signals, sum %ld\n", fd[2], all);
	close(fd[0]);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1) {
		show_poll("after execve", atoi(argv[1]), 0);
		show_read(atoi(argv[1]));
		return 0;
	}
	arguments();
	contents();
	masks();
	waits();
	triggers();
	discarded();
	processes();
	threads();
	many();
	return 0;
}
