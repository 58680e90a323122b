/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/parked.c - a program for `vellum repeat --at=place` with threads that wait in different calls when it is
 * frozen. After each reset they wait again, and what is sent to them arrives. "main": frozen in the first thread; "other":
 * in another one, while the first one joins it; "all": in whichever comes first; "forks": with a child; "apart": a thread
 * has descriptors of its own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { COND, READ, POLL, EPOLL, SLEEP, WAIT_SIGNAL, SUSPEND, COMPUTE, NR };

static const char *const names[NR] = { "cond", "read", "poll", "epoll", "sleep", "sigwait", "suspend", "compute" };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int work, pipes[3][2];
static volatile int go;
static pthread_t threads[NR];
static pid_t tids[NR];
static char results[NR][64];
static sem_t started;
static __thread int own = 5;	/* of each thread, and not the same after a run */

static void handler(int signo)
{
	(void)signo;
}

static int wait_in(int kind)
{
	const struct timespec long_time = { 1000, 0 };
	struct pollfd p = { .fd = pipes[1][0], .events = POLLIN };
	struct epoll_event event = { .events = EPOLLIN };
	sigset_t set;
	char c = 0;
	int epoll, n;

	sigemptyset(&set);
	switch (kind) {
	case COND:
		pthread_mutex_lock(&mutex);
		while (!work)
			pthread_cond_wait(&cond, &mutex);
		pthread_mutex_unlock(&mutex);
		return work;
	case READ:
		return read(pipes[0][0], &c, 1) == 1 ? c : -errno;
	case POLL:
		return poll(&p, 1, 1000000) == 1 ? p.revents : -errno;
	case EPOLL:
		epoll = epoll_create1(0);
		epoll_ctl(epoll, EPOLL_CTL_ADD, pipes[2][0], &event);
		n = epoll_wait(epoll, &event, 1, -1);
		close(epoll);
		return n == 1 ? 1 : -errno;
	case SLEEP:		/* until a signal */
		return nanosleep(&long_time, NULL) ? errno == EINTR : 0;
	case WAIT_SIGNAL:
		sigaddset(&set, SIGUSR2);
		return sigtimedwait(&set, NULL, &long_time);
	case SUSPEND:
		return sigsuspend(&set) == -1 && errno == EINTR;
	default:
		while (!go)
			sched_yield();
		return go;
	}
}

static void *thread(void *arg)
{
	const int kind = (int)(long)arg;
	sigset_t was;

	tids[kind] = gettid();
	sem_post(&started);
	snprintf(results[kind], sizeof(results[kind]), "%s %d own %d", names[kind], wait_in(kind), own++);
	pthread_sigmask(SIG_SETMASK, NULL, &was);
	if (sigismember(&was, SIGUSR1) != (kind == SUSPEND || kind == WAIT_SIGNAL) || gettid() != tids[kind])
		strcat(results[kind], " mask or tid");
	return NULL;
}

static void start(int kind)
{
	sigset_t set, was;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	if (kind == SUSPEND || kind == WAIT_SIGNAL)
		pthread_sigmask(SIG_BLOCK, &set, &was);
	if (pthread_create(&threads[kind], NULL, thread, (void *)(long)kind))
		exit(2);
	if (kind == SUSPEND || kind == WAIT_SIGNAL)
		pthread_sigmask(SIG_SETMASK, &was, NULL);
	sem_wait(&started);
}

int place(int x);
__attribute__((noinline)) int place(int x)
{
	__asm__ volatile("" : "+r"(x));
	return x;
}

static void *nothing(void *arg)
{
	return arg;
}

/* What only one thread does: send something to each of the others, and join them. */
static void *run(void *arg)
{
	const struct timespec moment = { 0, 30000000 };
	pthread_t new;

	nanosleep(&moment, NULL);	/* the others wait now, in most cases */
	place(1);
	if (pthread_create(&new, NULL, nothing, NULL) || pthread_join(new, NULL))
		exit(6);
	pthread_mutex_lock(&mutex);
	work = 7;
	pthread_cond_signal(&cond);
	pthread_mutex_unlock(&mutex);
	for (int i = 0; i < 3; i++)
		if (write(pipes[i][1], "x", 1) != 1)
			exit(3);
	go = 9;
	for (int i = 0; i < NR; i++) {
		/* a thread may have to make its call again first: a signal in a handler before it would be lost */
		while ((i == SLEEP || i == SUSPEND) && pthread_tryjoin_np(threads[i], NULL) == EBUSY) {
			pthread_kill(threads[i], SIGUSR1);
			sched_yield();
		}
		if (i == WAIT_SIGNAL)
			pthread_kill(threads[i], SIGUSR2);
		if (i != SLEEP && i != SUSPEND)
			pthread_join(threads[i], NULL);
		printf("%s\n", results[i]);
	}
	for (int i = 0; i < 3; i++)	/* the thread that polls does not read */
		if (i && read(pipes[i][0], results[0], 1) != 1)
			exit(4);
	return arg;
}

static void *stays(void *arg)
{
	if (arg && unshare(CLONE_FILES))
		exit(5);
	sem_post(&started);
	pause();
	return NULL;
}

/* The threads come to the place at once. Those that are not frozen there come to it again in each run. */
static void *comes(void *arg)
{
	sem_wait(&started);
	*(int *)arg += place(1);
	return NULL;
}

static int all(void)
{
	pthread_t others[NR];
	int counts[NR] = { 0 }, sum = 0;

	for (int i = 0; i < NR; i++)
		if (pthread_create(&others[i], NULL, comes, &counts[i]))
			return 2;
	for (int i = 0; i < NR; i++)
		sem_post(&started);
	for (int i = 0; i < NR; i++) {
		pthread_join(others[i], NULL);
		sum += counts[i];
	}
	printf("%d threads came to the place\n", sum);
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "main";
	pthread_t other;

	sem_init(&started, 0, 0);
	signal(SIGUSR1, handler);
	if (!strcmp(mode, "all"))
		return all();
	if (!strcmp(mode, "forks") || !strcmp(mode, "apart")) {
		if (mode[0] == 'f' && !fork())
			pause();
		if (pthread_create(&other, NULL, stays, mode[0] == 'a' ? argv : NULL))
			return 2;
		sem_wait(&started);
		return place(0);
	}
	for (int i = 0; i < 3; i++)
		if (pipe(pipes[i]))
			return 1;
	for (int i = 0; i < NR; i++)
		start(i);
	if (strcmp(mode, "other"))
		return run(NULL) != NULL;
	if (pthread_create(&other, NULL, run, NULL))
		return 2;
	return pthread_join(other, NULL);
}
