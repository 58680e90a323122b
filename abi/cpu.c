/* SPDX-License-Identifier: MIT */
/*
 * abi/cpu.c - the pool of the machine's CPUs. A task holds a CPU while its program runs.
 *
 * A released CPU keeps the task's FPU state and address space until another task acquires the CPU. A task that acquires
 * its last CPU again loads nothing. Of the waiting tasks, the one with the highest rank gets a CPU, and of those the one
 * that came first. A CPU is free only if no waiting task may use it.
 */
#define _GNU_SOURCE
#include <sched.h>
#include <stdlib.h>

#include "abi/task.h"

#define STARVED_NS	1000000000ull
#define STARVED_RANK	100	/* above all priorities */

struct waiter {
	struct waiter *next;
	const struct task *task;
	pthread_cond_t cond;
	int cpu;			/* assigned by cpu_release(), or -1 */
	uint64_t since;			/* CLOCK_MONOTONIC, ns */
};

struct cpu_slot {
	bool busy;
	int rank;			/* of the task that holds the CPU */
	struct task *resident;		/* the task whose FPU state the CPU holds */
	struct vellum_mm *mm;		/* active on the CPU */
};

struct cpu_pool {
	struct machine *machine;
	pthread_mutex_t lock;
	/* lock protects: */
	struct cpu_slot slot[VELLUM_MAX_CPUS];
	struct waiter *first, **last;
	unsigned nr_waiting;		/* also read without the lock */
};

struct cpu_pool *pool_create(struct machine *m)
{
	struct cpu_pool *pool = calloc(1, sizeof(*pool));

	if (!pool)
		return NULL;
	pool->machine = m;
	pool->last = &pool->first;
	pthread_mutex_init(&pool->lock, NULL);
	return pool;
}

void pool_destroy(struct cpu_pool *pool)
{
	free(pool);
}

uint64_t cpu_all(const struct kernel *k)
{
	const unsigned n = k->args->machine->nr_cpus;

	return n >= 64 ? ~0ull : (1ull << n) - 1;
}

static bool may_use(const struct task *t, int cpu)
{
	return __atomic_load_n(&t->cpus, __ATOMIC_RELAXED) >> cpu & 1;
}

int task_rank(const struct task *t)
{
	return t->policy.policy == SCHED_IDLE ? -1 : t->policy.priority;
}

/* A CPU that @t may use and no task holds, or -1. Pool lock held. */
static int find_free_cpu(const struct cpu_pool *pool, const struct task *t)
{
	int found = -1;

	if (t->last_cpu >= 0 && may_use(t, t->last_cpu) && !pool->slot[t->last_cpu].busy &&
	    pool->slot[t->last_cpu].resident == t)
		return t->last_cpu;
	for (unsigned i = 0; i < pool->machine->nr_cpus; i++)
		if (may_use(t, (int)i) && !pool->slot[i].busy && (found < 0 || !pool->slot[i].resident))
			found = (int)i;
	return found;
}

/* Pool lock held. */
static void remove_waiter(struct cpu_pool *pool, const struct waiter *w)
{
	struct waiter **at = &pool->first;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	if (!*at)
		pool->last = at;
	__atomic_fetch_sub(&pool->nr_waiting, 1, __ATOMIC_RELAXED);
}

/* Each task runs for a time slice in a while, whatever the others are: a killed one must see that it was. */
static int rank_of(const struct waiter *w, uint64_t now)
{
	return now - w->since > STARVED_NS ? STARVED_RANK : task_rank(w->task);
}

/* The first one of the highest rank that may use @cpu, or NULL. *@rank: the rank. Pool lock held. */
static struct waiter *find_waiter(const struct cpu_pool *pool, int cpu, int *rank)
{
	const uint64_t now = clock_ns(CLOCK_MONOTONIC);
	struct waiter *found = NULL;

	*rank = 0;
	for (struct waiter *w = pool->first; w; w = w->next)
		if (may_use(w->task, cpu) && (!found || rank_of(w, now) > *rank)) {
			found = w;
			*rank = rank_of(w, now);
		}
	return found;
}

/* @t waits: kick the task of the lowest rank below its own that holds a CPU for it. Pool lock held. */
static void kick_lower(struct cpu_pool *pool, const struct task *t)
{
	int lowest = task_rank(t), cpu = -1;

	for (unsigned i = 0; i < pool->machine->nr_cpus; i++)
		if (may_use(t, (int)i) && pool->slot[i].busy && pool->slot[i].rank < lowest) {
			lowest = pool->slot[i].rank;
			cpu = (int)i;
		}
	if (cpu >= 0)
		pool->machine->ops->kick(pool->machine, (unsigned)cpu);
}

/* Pool lock held; dropped during the wait. */
static void wait_for_cpu(struct cpu_pool *pool, struct task *t)
{
	struct waiter w = { .task = t, .cpu = -1, .since = clock_ns(CLOCK_MONOTONIC) };

	pthread_cond_init(&w.cond, NULL);
	*pool->last = &w;
	pool->last = &w.next;
	__atomic_fetch_add(&pool->nr_waiting, 1, __ATOMIC_RELAXED);
	kick_lower(pool, t);
	while (w.cpu < 0) {
		pthread_cond_wait(&w.cond, &pool->lock);
		if (w.cpu >= 0)
			break;
		w.cpu = find_free_cpu(pool, t);		/* cpu_set_affinity() has woken it */
		if (w.cpu >= 0)
			remove_waiter(pool, &w);
	}
	pthread_cond_destroy(&w.cond);
	t->cpu = w.cpu;
}

/* Save the FPU state that the CPU holds to the task that it belongs to. Pool lock held. */
static void save_resident_fpu(struct cpu_pool *pool, unsigned cpu)
{
	struct task *resident = pool->slot[cpu].resident;

	if (!resident)
		return;
	if (pool->machine->ops->save_fpu(pool->machine, cpu, &resident->st))
		resident->lost = true;
	resident->last_cpu = -1;
	pool->slot[cpu].resident = NULL;
}

/* Prepare the CPU, which the task holds, for the task's FPU state and address space. Pool lock held. */
static void load_task(struct cpu_pool *pool, struct task *t)
{
	struct cpu_slot *slot = &pool->slot[t->cpu];

	if (slot->resident != t) {
		/* If @t may not use its last CPU any more, that CPU may still hold the state. */
		if (t->last_cpu >= 0)
			save_resident_fpu(pool, (unsigned)t->last_cpu);
		save_resident_fpu(pool, (unsigned)t->cpu);
		slot->resident = t;
		t->last_cpu = t->cpu;
		t->load |= VCPU_LOAD_FPU | VCPU_LOAD_SEGMENTS;
	}
	if (slot->mm != t->gmm->mm) {
		if (slot->mm)
			vellum_mm_deactivate(slot->mm, (unsigned)t->cpu);
		slot->mm = t->gmm->mm;
		vellum_mm_activate(slot->mm, (unsigned)t->cpu);
	}
}

void cpu_acquire(struct task *t)
{
	struct cpu_pool *pool = t->kernel->pool;

	if (t->cpu >= 0 && (mm_gate_is_closed(t) || !may_use(t, t->cpu)))
		cpu_release(t);
	/* Without the lock: only the task that holds a CPU changes mm and resident of its slot. */
	if (t->cpu >= 0 && pool->slot[t->cpu].mm == t->gmm->mm && pool->slot[t->cpu].resident == t)
		return;
	__atomic_store_n(&t->waits_for_cpu, true, __ATOMIC_RELAXED);
	mm_gate_enter(t);
	pthread_mutex_lock(&pool->lock);
	if (t->cpu < 0)
		t->cpu = find_free_cpu(pool, t);	/* no waiter may use it: cpu_release() would have assigned it */
	if (t->cpu < 0)
		wait_for_cpu(pool, t);
	__atomic_store_n(&t->waits_for_cpu, false, __ATOMIC_RELAXED);
	__atomic_store_n(&t->last_cpu_used, t->cpu, __ATOMIC_RELAXED);
	pool->slot[t->cpu].busy = true;
	if (pool->slot[t->cpu].rank != STARVED_RANK)
		pool->slot[t->cpu].rank = task_rank(t);
	load_task(pool, t);
	pthread_mutex_unlock(&pool->lock);
	usage_switch(t, USAGE_SYSTEM);
}

static void give_up_cpu(struct task *t)
{
	struct cpu_pool *pool = t->kernel->pool;
	struct waiter *w;
	int rank;

	usage_switch(t, USAGE_NONE);
	pthread_mutex_lock(&pool->lock);
	w = pool->first ? find_waiter(pool, t->cpu, &rank) : NULL;
	if (w) {
		remove_waiter(pool, w);
		/* Not left to the waiter: this task may acquire another CPU before the waiter runs. */
		save_resident_fpu(pool, (unsigned)t->cpu);
		w->cpu = t->cpu;	/* stays busy */
		pool->slot[t->cpu].rank = rank;
		pthread_cond_signal(&w->cond);
	} else {
		pool->slot[t->cpu].busy = false;
		pool->slot[t->cpu].rank = 0;
	}
	t->cpu = -1;
	pthread_mutex_unlock(&pool->lock);
	mm_gate_leave(t);
}

void cpu_release(struct task *t)
{
	if (t->cpu < 0) {
		mm_gate_leave(t);	/* a wait for a userfaultfd has released the CPU */
		return;
	}
	__atomic_store_n(&t->voluntary, t->voluntary + 1, __ATOMIC_RELAXED);
	give_up_cpu(t);
}

void cpu_preempt(struct task *t)
{
	__atomic_store_n(&t->involuntary, t->involuntary + 1, __ATOMIC_RELAXED);
	give_up_cpu(t);
}

bool cpu_has_waiters(struct cpu_pool *pool)
{
	return __atomic_load_n(&pool->nr_waiting, __ATOMIC_RELAXED) != 0;
}

bool cpu_must_yield(struct task *t)
{
	struct cpu_pool *pool = t->kernel->pool;
	struct cpu_slot *slot;
	bool must;
	int rank;

	if (!cpu_has_waiters(pool))
		return false;
	pthread_mutex_lock(&pool->lock);
	slot = &pool->slot[t->cpu];
	must = find_waiter(pool, t->cpu, &rank) && slot->rank != STARVED_RANK &&
	       (rank > slot->rank || (rank == slot->rank && t->policy.policy != SCHED_FIFO));
	slot->rank = task_rank(t);	/* a starved task keeps the CPU until the next tick */
	pthread_mutex_unlock(&pool->lock);
	return must;
}

void cpu_set_policy(struct task *t, const struct task_policy *policy)
{
	struct cpu_pool *pool = t->kernel->pool;

	pthread_mutex_lock(&pool->lock);
	t->policy = *policy;
	for (struct waiter *w = pool->first; w; w = w->next)
		if (w->task == t)
			kick_lower(pool, t);
	if (t->cpu >= 0) {
		pool->slot[t->cpu].rank = task_rank(t);
		pool->machine->ops->kick(pool->machine, (unsigned)t->cpu);
	}
	pthread_mutex_unlock(&pool->lock);
}

/* No CPU holds the state afterwards, so the task may change st.fpu. */
void cpu_save_fpu(struct task *t)
{
	struct cpu_pool *pool = t->kernel->pool;

	pthread_mutex_lock(&pool->lock);
	if (t->last_cpu >= 0 && pool->slot[t->last_cpu].resident == t)
		save_resident_fpu(pool, (unsigned)t->last_cpu);
	pthread_mutex_unlock(&pool->lock);
}

void cpu_kick(struct task *t)
{
	struct cpu_pool *pool = t->kernel->pool;

	pthread_mutex_lock(&pool->lock);
	if (t->cpu >= 0)
		pool->machine->ops->kick(pool->machine, (unsigned)t->cpu);
	pthread_mutex_unlock(&pool->lock);
}

void cpu_set_affinity(struct task *t, uint64_t cpus)
{
	struct cpu_pool *pool = t->kernel->pool;

	pthread_mutex_lock(&pool->lock);
	__atomic_store_n(&t->cpus, cpus, __ATOMIC_RELAXED);
	for (struct waiter *w = pool->first; w; w = w->next)
		if (w->task == t)
			pthread_cond_signal(&w->cond);
	if (t->cpu >= 0)
		pool->machine->ops->kick(pool->machine, (unsigned)t->cpu);
	pthread_mutex_unlock(&pool->lock);
}

bool cpu_must_move(struct task *t)
{
	struct cpu_pool *pool = t->kernel->pool;
	bool must;

	if (__atomic_load_n(&t->cpus, __ATOMIC_RELAXED) == cpu_all(t->kernel))
		return false;
	pthread_mutex_lock(&pool->lock);
	must = t->cpu >= 0 && !may_use(t, t->cpu);
	pthread_mutex_unlock(&pool->lock);
	return must;
}

void pool_drop_task(struct cpu_pool *pool, struct task *t)
{
	pthread_mutex_lock(&pool->lock);
	for (unsigned i = 0; i < pool->machine->nr_cpus; i++)
		if (pool->slot[i].resident == t)
			pool->slot[i].resident = NULL;
	pthread_mutex_unlock(&pool->lock);
}

/* For an address space without tasks. No CPU may use its tables when they are freed. */
void pool_drop_mm(struct cpu_pool *pool, struct vellum_mm *mm)
{
	pthread_mutex_lock(&pool->lock);
	for (unsigned i = 0; i < pool->machine->nr_cpus; i++)
		if (pool->slot[i].mm == mm) {
			vellum_mm_deactivate(mm, i);
			pool->slot[i].mm = NULL;
		}
	pthread_mutex_unlock(&pool->lock);
}

void pool_kick_all(struct cpu_pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	for (unsigned i = 0; i < pool->machine->nr_cpus; i++)
		if (pool->slot[i].busy)
			pool->machine->ops->kick(pool->machine, i);
	pthread_mutex_unlock(&pool->lock);
}
