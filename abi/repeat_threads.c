/* SPDX-License-Identifier: MIT */
/*
 * abi/repeat_threads.c - the other threads of a process that is frozen: they park between two instructions, leaving their
 * system calls as for a signal. Each run begins with new threads in their place, which make those calls again. See repeat.h.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "abi/repeat.h"
#include "abi/text.h"

#define PARK_NS (10ull * NS_PER_SEC)	/* to wait for threads that do not leave their system calls */

struct parked {
	unsigned nr;
	struct {
		struct task task;
		struct usage usage;
		int nice;
	} threads[];
};

/* One that runs, or NULL. kernel->lock held. */
static const struct task *find_running(const struct task *freezer)
{
	const struct task *t = freezer->process->threads;

	while (t && (t == freezer || t->parked))
		t = t->next;
	return t;
}

/* One that does not share with @freezer what a frozen thread must, or NULL. kernel->lock held. */
static const struct task *find_stranger(const struct task *freezer)
{
	const struct task *t = freezer->process->threads;

	while (t && t->files == freezer->files && t->fs == freezer->fs &&
	       !memcmp(&t->credentials, &freezer->credentials, sizeof(t->credentials)))
		t = t->next;
	return t;
}

static void say(char *why, size_t size, const struct task *t, const char *what)
{
	char name[PRINTABLE_BYTES(sizeof(t->comm))];

	snprintf(why, size, "thread %d (%s) of the program %s where it is to be frozen; name another place with --at", t->tid,
		 printable(t->comm, name, sizeof(name)), what);
}

bool threads_park(struct task *t, char *why, size_t size)
{
	const uint64_t until = clock_ns(CLOCK_MONOTONIC) + PARK_NS;
	struct process *p = t->process;
	struct kernel *k = t->kernel;
	const struct task *other;
	uint64_t now;
	bool ends;

	why[0] = 0;
	pthread_mutex_lock(&k->lock);
	__atomic_store_n(&p->freezer, t, __ATOMIC_RELAXED);
	signal_wake_all(p);
	while ((other = find_running(t)) && (now = clock_ns(CLOCK_MONOTONIC)) < until && !signal_fatal_pending(t))
		kernel_wait(k, until - now);
	ends = signal_fatal_pending(t);
	if (!ends && other)
		say(why, size, other, "does not leave its system call");
	else if (!ends && (other = find_stranger(t)))
		say(why, size, other, "has descriptors, a directory or user IDs of its own");
	pthread_mutex_unlock(&k->lock);
	return !ends && !why[0];
}

void threads_go_on(struct task *t)
{
	pthread_mutex_lock(&t->kernel->lock);
	__atomic_store_n(&t->process->freezer, NULL, __ATOMIC_RELAXED);
	pthread_cond_broadcast(&t->kernel->changed);
	pthread_mutex_unlock(&t->kernel->lock);
}

struct parked *threads_save(const struct task *t)
{
	struct kernel *k = t->kernel;
	struct parked *parked;

	pthread_mutex_lock(&k->lock);
	parked = calloc(1, sizeof(*parked) + t->process->nr_threads * sizeof(parked->threads[0]));
	for (const struct task *other = t->process->threads; parked && other; other = other->next) {
		if (other == t)
			continue;
		parked->threads[parked->nr].task = *other;
		parked->threads[parked->nr].nice = getpriority(PRIO_PROCESS, (id_t)other->host_tid);
		usage_of_thread(other, &parked->threads[parked->nr++].usage);
	}
	pthread_mutex_unlock(&k->lock);
	return parked;
}

/* 0 or a negative errno. */
static int start_again(struct task *frozen, const struct task *was, const struct usage *usage, int nice)
{
	struct kernel *k = frozen->kernel;
	struct task *t = thread_create_again(frozen->process, was->tid);
	int err;

	if (!t)
		return -ENOMEM;
	__atomic_fetch_add(&frozen->gmm->refs, 1, __ATOMIC_RELAXED);
	t->gmm = frozen->gmm;
	err = sharing_clone(t, frozen, CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_FILES | CLONE_FS);
	if (!err) {
		pthread_mutex_lock(&k->lock);
		image_restore_task(was, t);
		t->start_ns = was->start_ns;
		t->sets_nice = true;
		t->start_nice = nice;
		usage_restart(t, usage);
		err = thread_start(t);
		pthread_mutex_unlock(&k->lock);
	}
	if (err)
		thread_discard(t);
	return err;
}

int threads_start_again(const struct parked *parked, struct task *t)
{
	int err = 0;

	for (unsigned i = parked->nr; i-- > 0 && !err;)		/* the list of a process begins with its newest thread */
		err = start_again(t, &parked->threads[i].task, &parked->threads[i].usage, parked->threads[i].nice);
	return err;
}
