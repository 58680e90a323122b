/* SPDX-License-Identifier: MIT */
/* tests/programs/futex_pi.c - futex(2): locks with priority inheritance. Its output is the same on the host's kernel. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "show.h"

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif
#define PRIVATE FUTEX_PRIVATE_FLAG

static uint32_t lock, word;

static long call(uint32_t *at, int op, uint32_t val, const void *timeout, uint32_t *at2, uint32_t val3)
{
	return syscall(SYS_futex, at, op, val, timeout, at2, val3);
}

static long pi(uint32_t *at, int op)
{
	return call(at, op, 0, NULL, NULL, 0);
}

static uint32_t load(const uint32_t *at)
{
	return __atomic_load_n(at, __ATOMIC_SEQ_CST);
}

static uint32_t tid(void)
{
	return (uint32_t)syscall(SYS_gettid);
}

/* Whose the lock is, by the thread that asks, and the flags. */
static void show_lock(const char *when)
{
	uint32_t val = load(&lock), owner = val & FUTEX_TID_MASK;

	printf("%s: owner %s%s%s\n", when, !owner ? "none" : owner == tid() ? "this thread" : "another thread",
	       val & FUTEX_WAITERS ? ", waiters" : "", val & FUTEX_OWNER_DIED ? ", died" : "");
}

static struct timespec in(clockid_t clock, long ms)
{
	struct timespec at;

	clock_gettime(clock, &at);
	at.tv_nsec += ms * 1000000;
	at.tv_sec += at.tv_nsec / 1000000000;
	at.tv_nsec %= 1000000000;
	return at;
}

static pthread_t start(void *(*fn)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, fn, arg))
		exit(1);
	return thread;
}

/* --- one thread, and one that holds the lock --- */

static void *try_from_outside(void *arg)
{
	struct timespec soon = in(CLOCK_REALTIME, 20);

	(void)arg;
	SHOW(pi(&lock, FUTEX_TRYLOCK_PI | PRIVATE));
	SHOW(pi(&lock, FUTEX_UNLOCK_PI | PRIVATE));
	SHOW(call(&lock, FUTEX_LOCK_PI | PRIVATE, 0, &soon, NULL, 0));
	soon = in(CLOCK_MONOTONIC, 20);
	SHOW(call(&lock, FUTEX_LOCK_PI2 | PRIVATE, 0, &soon, NULL, 0));
	soon = in(CLOCK_REALTIME, 20);
	SHOW(call(&lock, FUTEX_LOCK_PI2 | FUTEX_CLOCK_REALTIME | PRIVATE, 0, &soon, NULL, 0));
	return NULL;
}

static void errors(void)
{
	struct timespec bad_time = { 0, 1000000000 };
	char *hole = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t no_thread = 0x3ffffffe;

	SHOW(pi(&lock, FUTEX_LOCK_PI | PRIVATE));
	show_lock("locked");
	SHOW(pi(&lock, FUTEX_LOCK_PI | PRIVATE));
	SHOW(pi(&lock, FUTEX_TRYLOCK_PI | PRIVATE));
	pthread_join(start(try_from_outside, NULL), NULL);
	SHOW(pi(&lock, FUTEX_UNLOCK_PI | PRIVATE));
	show_lock("unlocked");
	SHOW(pi(&lock, FUTEX_UNLOCK_PI | PRIVATE));
	SHOW(pi(&lock, FUTEX_TRYLOCK_PI | PRIVATE));
	SHOW(pi(&lock, FUTEX_UNLOCK_PI));
	SHOW(pi(&no_thread, FUTEX_LOCK_PI | PRIVATE));
	SHOW(pi(&no_thread, FUTEX_TRYLOCK_PI | PRIVATE));
	SHOW(pi((uint32_t *)((char *)&lock + 1), FUTEX_LOCK_PI | PRIVATE));
	SHOW(pi((uint32_t *)((char *)&lock + 1), FUTEX_UNLOCK_PI | PRIVATE));
	SHOW(pi((uint32_t *)hole, FUTEX_LOCK_PI | PRIVATE));
	SHOW(pi((uint32_t *)hole, FUTEX_UNLOCK_PI | PRIVATE));
	SHOW(pi(NULL, FUTEX_LOCK_PI));
	SHOW(call(&lock, FUTEX_LOCK_PI | PRIVATE, 0, &bad_time, NULL, 0));
	SHOW(pi(&lock, FUTEX_LOCK_PI | FUTEX_CLOCK_REALTIME | PRIVATE));
	munmap(hole, 4096);
}

/* --- the lock is given away --- */

static int order[8], nr_order;

static void *take_in_turn(void *arg)
{
	if (pi(&lock, FUTEX_LOCK_PI | PRIVATE))
		printf("lock: %s\n", strerrorname_np(errno));
	if ((load(&lock) & FUTEX_TID_MASK) != tid())
		printf("not the owner\n");
	order[nr_order++] = (int)(intptr_t)arg;
	pi(&lock, FUTEX_UNLOCK_PI | PRIVATE);
	return NULL;
}

static void in_turn(void)
{
	pthread_t thread[4];

	lock = nr_order = 0;
	pi(&lock, FUTEX_LOCK_PI | PRIVATE);
	for (intptr_t i = 0; i < 4; i++) {
		thread[i] = start(take_in_turn, (void *)i);
		usleep(20000);
	}
	show_lock("with waiters");
	SHOW(pi(&lock, FUTEX_UNLOCK_PI | PRIVATE));
	for (unsigned i = 0; i < 4; i++)
		pthread_join(thread[i], NULL);
	printf("in turn: %d %d %d %d\n", order[0], order[1], order[2], order[3]);
	show_lock("at the end");
}

static pthread_mutex_t *mutex;
static long *sum;

static void *add(void *arg)
{
	for (int i = 0; i < 3000; i++) {
		pthread_mutex_lock(mutex);
		*sum += 1;
		pthread_mutex_unlock(mutex);
	}
	return arg;
}

/* Threads of two processes. */
static void many(void)
{
	pthread_mutexattr_t attr;
	pthread_t thread[3];
	pid_t child;

	mutex = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	sum = (long *)(mutex + 1);
	pthread_mutexattr_init(&attr);
	SHOW(pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT));
	SHOW(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED));
	SHOW(pthread_mutex_init(mutex, &attr));
	fflush(stdout);
	child = fork();
	for (int i = 0; i < 3; i++)
		thread[i] = start(add, NULL);
	for (int i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	if (!child)
		_exit(0);
	waitpid(child, NULL, 0);
	printf("sum: %ld\n", *sum);
}

/* --- the owner ends --- */

static void *lock_and_end(void *arg)
{
	pthread_mutex_lock(arg);
	usleep(50000);
	return NULL;
}

static void *lock_word_and_end(void *arg)
{
	pi(arg, FUTEX_LOCK_PI | PRIVATE);
	usleep(50000);
	return NULL;
}

static void owner_ends(void)
{
	pthread_mutexattr_t attr;
	pthread_mutex_t robust;
	pthread_t thread;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
	pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
	pthread_mutex_init(&robust, &attr);
	for (int waits = 0; waits < 2; waits++) {
		thread = start(lock_and_end, &robust);
		usleep(waits ? 20000 : 120000);
		printf("robust: %s\n", strerrorname_np(pthread_mutex_lock(&robust)));
		SHOW(pthread_mutex_consistent(&robust));
		SHOW(pthread_mutex_unlock(&robust));
		pthread_join(thread, NULL);
	}
	lock = 0;
	thread = start(lock_word_and_end, &lock);
	usleep(20000);
	SHOW(pi(&lock, FUTEX_LOCK_PI | PRIVATE));
	show_lock("inherited");
	SHOW(pi(&lock, FUTEX_UNLOCK_PI | PRIVATE));
	pthread_join(thread, NULL);
	pthread_join(start(lock_word_and_end, &lock), NULL);
	SHOW(pi(&lock, FUTEX_LOCK_PI | PRIVATE));
}

/* --- signals --- */

static volatile int signals;

static void count_signal(int signo)
{
	(void)signo;
	signals++;
}

static void interrupted(void)
{
	struct sigaction action = { .sa_handler = count_signal };	/* no SA_RESTART */
	pthread_t thread;

	sigaction(SIGUSR1, &action, NULL);
	lock = nr_order = 0;
	pi(&lock, FUTEX_LOCK_PI | PRIVATE);
	thread = start(take_in_turn, NULL);
	usleep(20000);
	pthread_kill(thread, SIGUSR1);
	while (!signals)
		usleep(1000);
	pi(&lock, FUTEX_UNLOCK_PI | PRIVATE);
	pthread_join(thread, NULL);
	printf("signals: %d, locked: %d\n", signals, nr_order);
}

/* --- requeue --- */

static void *wait_requeue(void *arg)
{
	struct timespec soon = in(CLOCK_MONOTONIC, 50);
	long n = call(&word, FUTEX_WAIT_REQUEUE_PI | PRIVATE, 7, arg ? NULL : &soon, &lock, 0);

	if (n)
		printf("wait_requeue_pi: %s\n", strerrorname_np(errno));
	else if ((load(&lock) & FUTEX_TID_MASK) != tid())
		printf("not the owner\n");
	else
		order[__atomic_fetch_add(&nr_order, 1, __ATOMIC_SEQ_CST)] = (int)(intptr_t)arg;
	if (!n)
		pi(&lock, FUTEX_UNLOCK_PI | PRIVATE);
	return NULL;
}

static void requeue(int owned)
{
	pthread_t thread[3];

	lock = nr_order = 0;
	word = 7;
	if (owned)
		pi(&lock, FUTEX_LOCK_PI | PRIVATE);
	for (intptr_t i = 0; i < 3; i++) {
		thread[i] = start(wait_requeue, (void *)(i + 1));
		usleep(20000);
	}
	SHOW(call(&word, FUTEX_WAKE | PRIVATE, 1, NULL, NULL, 0));
	SHOW(call(&word, FUTEX_CMP_REQUEUE | PRIVATE, 1, (void *)1ul, &lock, 7));
	SHOW(call(&word, FUTEX_CMP_REQUEUE_PI | PRIVATE, 1, (void *)1ul, (uint32_t *)order, 7));
	SHOW(call(&word, FUTEX_CMP_REQUEUE_PI | PRIVATE, 1, (void *)(long)INT_MAX, &lock, 8));
	SHOW(call(&word, FUTEX_CMP_REQUEUE_PI | PRIVATE, 2, (void *)(long)INT_MAX, &lock, 7));
	SHOW(call(&word, FUTEX_CMP_REQUEUE_PI | PRIVATE, 1, (void *)(long)INT_MAX, &lock, 7));
	if (owned) {
		show_lock("requeued");
		SHOW(pi(&lock, FUTEX_UNLOCK_PI | PRIVATE));
	}
	for (unsigned i = 0; i < 3; i++)
		pthread_join(thread[i], NULL);
	printf("in turn: %d %d %d\n", order[0], order[1], order[2]);
	show_lock("at the end");
}

static void requeue_errors(void)
{
	word = 7;
	lock = 0;
	SHOW(call(&word, FUTEX_WAIT_REQUEUE_PI | PRIVATE, 8, NULL, &lock, 0));
	SHOW(call(&word, FUTEX_WAIT_REQUEUE_PI | PRIVATE, 7, NULL, &word, 0));
	SHOW(call(&word, FUTEX_CMP_REQUEUE_PI | PRIVATE, 1, NULL, &word, 7));
	SHOW(call(&word, FUTEX_CMP_REQUEUE_PI | PRIVATE, 1, (void *)-1l, &lock, 7));
	SHOW(call(&word, FUTEX_CMP_REQUEUE_PI | PRIVATE, 1, NULL, &lock, 7));
	pthread_join(start(wait_requeue, NULL), NULL);
}

int main(void)
{
	errors();
	in_turn();
	many();
	owner_ends();
	interrupted();
	requeue(0);
	requeue(1);
	requeue_errors();
	return 0;
}
