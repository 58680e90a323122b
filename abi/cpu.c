/* SPDX-License-Identifier: MIT */
/*
 * abi/cpu.c - the pool of the machine's CPUs. A task holds a CPU while its program runs.
 *
 * A released CPU keeps the task's FPU state and address space until another task acquires the CPU. A task that acquires
 * its last CPU again loads nothing. Waiting tasks get a CPU in the order in which they came.
 */
#define _GNU_SOURCE
#include <stdlib.h>

#include "abi/task.h"

struct waiter {
	struct waiter *next;
	pthread_cond_t cond;
	int cpu;			/* assigned by cpu_release(), or -1 */
};

struct cpu_slot {
	bool busy;
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

static int find_free_cpu(const struct cpu_pool *pool, const struct task *t)
{
	int found = -1;

	if (t->last_cpu >= 0 && !pool->slot[t->last_cpu].busy && pool->slot[t->last_cpu].resident == t)
		return t->last_cpu;
	for (unsigned i = 0; i < pool->machine->nr_cpus; i++)
		if (!pool->slot[i].busy && (found < 0 || !pool->slot[i].resident))
			found = (int)i;
	return found;
}

static void wait_for_cpu(struct cpu_pool *pool, struct task *t)
{
	struct waiter w = { .cpu = -1 };

	pthread_cond_init(&w.cond, NULL);
	*pool->last = &w;
	pool->last = &w.next;
	__atomic_fetch_add(&pool->nr_waiting, 1, __ATOMIC_RELAXED);
	while (w.cpu < 0)
		pthread_cond_wait(&w.cond, &pool->lock);
	__atomic_fetch_sub(&pool->nr_waiting, 1, __ATOMIC_RELAXED);
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

	if (t->cpu >= 0 && mm_gate_is_closed(t))
		cpu_release(t);
	/* Without the lock: only the task that holds a CPU changes mm and resident of its slot. */
	if (t->cpu >= 0 && pool->slot[t->cpu].mm == t->gmm->mm && pool->slot[t->cpu].resident == t)
		return;
	__atomic_store_n(&t->waits_for_cpu, true, __ATOMIC_RELAXED);
	mm_gate_enter(t);
	pthread_mutex_lock(&pool->lock);
	if (t->cpu < 0)
		t->cpu = pool->first ? -1 : find_free_cpu(pool, t);
	if (t->cpu < 0)
		wait_for_cpu(pool, t);
	__atomic_store_n(&t->waits_for_cpu, false, __ATOMIC_RELAXED);
	__atomic_store_n(&t->last_cpu_used, t->cpu, __ATOMIC_RELAXED);
	pool->slot[t->cpu].busy = true;
	load_task(pool, t);
	pthread_mutex_unlock(&pool->lock);
	usage_switch(t, USAGE_SYSTEM);
}

static void give_up_cpu(struct task *t)
{
	struct cpu_pool *pool = t->kernel->pool;
	struct waiter *w;

	usage_switch(t, USAGE_NONE);
	pthread_mutex_lock(&pool->lock);
	w = pool->first;
	if (w) {
		pool->first = w->next;
		if (!pool->first)
			pool->last = &pool->first;
		/* Not left to the waiter: this task may acquire another CPU before the waiter runs. */
		save_resident_fpu(pool, (unsigned)t->cpu);
		w->cpu = t->cpu;	/* stays busy */
		pthread_cond_signal(&w->cond);
	} else {
		pool->slot[t->cpu].busy = false;
	}
	t->cpu = -1;
	pthread_mutex_unlock(&pool->lock);
	mm_gate_leave(t);
}

void cpu_release(struct task *t)
{
	if (t->cpu < 0)
		return;
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
