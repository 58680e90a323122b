/* SPDX-License-Identifier: MIT */
/*
 * abi/gate.c - the gate of an address space; see task.h. What the observer does before and after an unmap or a fork are two
 * steps: no store of another thread may come between them, as it would belong to neither.
 */
#define _GNU_SOURCE
#include <time.h>

#include "abi/task.h"

#define KICK_AGAIN_NS 1000000	/* a kick just before a CPU enters the program has no effect */

static bool has_gate(const struct task *t)
{
	return t->gmm && t->gmm->observer_data;
}

void mm_gate_init(struct guest_mm *gmm)
{
	pthread_mutex_init(&gmm->gate_lock, NULL);
	pthread_cond_init(&gmm->gate_changed, NULL);
	gmm->nr_inside = 0;
	gmm->closed_by = NULL;
}

bool mm_gate_is_closed(const struct task *t)
{
	const struct task *by = __atomic_load_n(&t->gmm->closed_by, __ATOMIC_ACQUIRE);

	return by && by != t;
}

bool mm_gate_is_mine(const struct task *t)
{
	return t->gmm && __atomic_load_n(&t->gmm->closed_by, __ATOMIC_ACQUIRE) == t;
}

static void pass(struct guest_mm *gmm, const struct task *t)
{
	pthread_mutex_lock(&gmm->gate_lock);
	while (gmm->closed_by && gmm->closed_by != t)
		pthread_cond_wait(&gmm->gate_changed, &gmm->gate_lock);
	gmm->nr_inside++;
	pthread_mutex_unlock(&gmm->gate_lock);
}

static void leave(struct guest_mm *gmm)
{
	pthread_mutex_lock(&gmm->gate_lock);
	gmm->nr_inside--;
	pthread_cond_broadcast(&gmm->gate_changed);
	pthread_mutex_unlock(&gmm->gate_lock);
}

void gmm_gate_enter(struct guest_mm *gmm, struct task *t)
{
	pass(gmm, t);
	t->other_gmm = gmm;
}

void gmm_gate_leave(struct guest_mm *gmm, struct task *t)
{
	t->other_gmm = NULL;
	leave(gmm);
}

void mm_gate_enter(struct task *t)
{
	if (t->inside || !has_gate(t))
		return;
	pass(t->gmm, t);
	t->inside = true;
}

void mm_gate_leave(struct task *t)
{
	if (!t->inside)
		return;
	leave(t->gmm);
	t->inside = false;
}

/* Let the threads that run the program leave it. gate_lock held. */
static void wait_until_empty(struct task *t, struct guest_mm *gmm)
{
	while (gmm->nr_inside) {
		uint64_t until = clock_ns(CLOCK_REALTIME) + KICK_AGAIN_NS;
		struct timespec ts = ns_timespec(until);

		pthread_mutex_unlock(&gmm->gate_lock);
		pool_kick_all(t->kernel->pool);
		pthread_mutex_lock(&gmm->gate_lock);
		if (gmm->nr_inside)
			pthread_cond_timedwait(&gmm->gate_changed, &gmm->gate_lock, &ts);
	}
}

void mm_gate_close(struct task *t)
{
	struct guest_mm *gmm = t->gmm;

	if (!has_gate(t))
		return;
	cpu_release(t);
	pthread_mutex_lock(&gmm->gate_lock);
	while (gmm->closed_by)
		pthread_cond_wait(&gmm->gate_changed, &gmm->gate_lock);
	__atomic_store_n(&gmm->closed_by, t, __ATOMIC_RELEASE);
	wait_until_empty(t, gmm);
	pthread_mutex_unlock(&gmm->gate_lock);
}

void mm_gate_open(struct task *t)
{
	struct guest_mm *gmm = t->gmm;

	pthread_mutex_lock(&gmm->gate_lock);
	if (gmm->closed_by == t) {
		__atomic_store_n(&gmm->closed_by, NULL, __ATOMIC_RELEASE);
		pthread_cond_broadcast(&gmm->gate_changed);
	}
	pthread_mutex_unlock(&gmm->gate_lock);
	if (t->took_events)
		uffds_wait_until_read(t);
	t->took_events = false;
}
