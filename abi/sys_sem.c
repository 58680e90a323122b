/* SPDX-License-Identifier: MIT */
/*
 * abi/sys_sem.c - System V semaphores: semget(2), semop(2), semctl(2). kernel->lock protects them. A call that waits looks
 * its set up again whenever the set changed, as it may have been removed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sem.h>
#include <time.h>

#include "abi/events.h"
#include "abi/ipc.h"

#include "syscalls.h"	/* made from syscall.tbl */

/* Limits of Linux: sysctl kernel.sem. */
#define MAX_VALUE	32767
#define MAX_PER_SET	32000
#define MAX_OPS		500
#define MAX_UNDO	32767
/* Limits of a run, which bound the host's memory. */
#define MAX_SEMS	(1u << 20)
#define MAX_UNDOS	(1u << 14)	/* each operation searches those of its process */
#ifndef SEM_STAT_ANY
#define SEM_STAT_ANY	20
#endif

struct sem {
	int value;
	int pid;		/* of the last change */
};

/* A thread that waits. */
struct sem_waiter {
	struct sem_waiter *next;
	unsigned num;
	bool for_zero;
};

struct sem_set {
	struct ipc_object o;
	int64_t otime, ctime;
	struct sem_waiter *waiters;
	unsigned nr;
	struct sem sems[];
};

/* What the end of the process adds to a semaphore: SEM_UNDO. */
struct sem_undo {
	struct sem_undo *next;
	int id;
	unsigned num;
	int adjust;
};

static struct sem_set *set_of(struct ipc_object *o)
{
	return (struct sem_set *)o;
}

static struct sem_set *find_set(const struct kernel *k, int id)
{
	return set_of(ipc_find(&k->ipc->sem, id));
}

static void wake(struct kernel *k, const struct sem_set *set)
{
	if (set->waiters)
		pthread_cond_broadcast(&k->changed);
}

/* --- undo: kernel->lock held --- */

static struct sem_undo *find_undo(const struct process *p, int id, unsigned num)
{
	struct sem_undo *u = p->sem_undos;

	while (u && (u->id != id || u->num != num))
		u = u->next;
	return u;
}

/* Drop the undos of a semaphore, or of all semaphores of the set if @num is -1. */
static void drop_undos(struct kernel *k, int id, int num)
{
	for (struct process *p = k->processes; p && k->ipc->nr_undos; p = p->next)
		for (struct sem_undo **at = &p->sem_undos; *at;) {
			struct sem_undo *u = *at;

			if (u->id != id || (num >= 0 && u->num != (unsigned)num)) {
				at = &u->next;
				continue;
			}
			*at = u->next;
			free(u);
			k->ipc->nr_undos--;
		}
}

/* Make an undo of 0 for each operation that needs one. 0, -ENOMEM or -ENOSPC. */
static int prepare_undos(struct process *p, int id, const struct sembuf *ops, size_t nr)
{
	struct ipc *ipc = p->kernel->ipc;

	for (size_t i = 0; i < nr; i++) {
		struct sem_undo *u;

		if (!(ops[i].sem_flg & SEM_UNDO) || find_undo(p, id, ops[i].sem_num))
			continue;
		if (ipc->nr_undos == MAX_UNDOS)
			return -ENOSPC;
		u = malloc(sizeof(*u));
		if (!u)
			return -ENOMEM;
		*u = (struct sem_undo){ .next = p->sem_undos, .id = id, .num = ops[i].sem_num };
		p->sem_undos = u;
		ipc->nr_undos++;
	}
	return 0;
}

void sems_exit(struct process *p)
{
	struct kernel *k = p->kernel;

	while (p->sem_undos) {
		struct sem_undo *u = p->sem_undos;
		struct sem_set *set = find_set(k, u->id);

		p->sem_undos = u->next;
		k->ipc->nr_undos--;
		if (set && u->adjust) {
			struct sem *sem = &set->sems[u->num];
			int value = sem->value + u->adjust;

			sem->value = value < 0 ? 0 : value > MAX_VALUE ? MAX_VALUE : value;
			sem->pid = p->pid;
			set->otime = time(NULL);
			wake(k, set);
		}
		free(u);
	}
}

/* --- semget(2) --- */

/* kernel->lock held. The ID or a negative errno. */
static int make_set(struct kernel *k, int32_t key, int nr, int flags)
{
	struct sem_set *set;
	int err;

	if (nr == 0)
		return -EINVAL;
	if (k->ipc->nr_sems + (unsigned)nr > MAX_SEMS)
		return -ENOSPC;
	set = calloc(1, sizeof(*set) + (size_t)nr * sizeof(set->sems[0]));
	if (!set)
		return -ENOMEM;
	err = ipc_add(&k->ipc->sem, &set->o, key, (uint32_t)flags);
	if (err) {
		free(set);
		return err;
	}
	set->nr = (unsigned)nr;
	set->ctime = time(NULL);
	k->ipc->nr_sems += set->nr;
	return set->o.id;
}

int64_t sys_semget(struct task *t, int key, int nr, int flags)
{
	struct kernel *k = t->kernel;
	struct ipc_object *o;
	int result;

	if (nr < 0 || nr > MAX_PER_SET)
		return -EINVAL;
	pthread_mutex_lock(&k->lock);
	o = ipc_get(&k->ipc->sem, key, flags, &result);
	if (o && !result && (unsigned)nr > set_of(o)->nr)
		result = -EINVAL;
	if (o && !result)
		result = ipc_check_access(o, (uint32_t)flags);
	if (!result)
		result = o ? o->id : make_set(k, key, nr, flags);
	pthread_mutex_unlock(&k->lock);
	return result;
}

/* --- semop(2): kernel->lock held --- */

/* Take the first @nr operations back. */
static void revert(struct process *p, struct sem_set *set, const struct sembuf *ops, size_t nr)
{
	while (nr--) {
		set->sems[ops[nr].sem_num].value -= ops[nr].sem_op;
		if (ops[nr].sem_flg & SEM_UNDO)
			find_undo(p, set->o.id, ops[nr].sem_num)->adjust += ops[nr].sem_op;
	}
}

/* 0, -EAGAIN: it must wait, or -ERANGE. */
static int apply_one(const struct process *p, struct sem_set *set, const struct sembuf *op)
{
	struct sem *sem = &set->sems[op->sem_num];
	int value = sem->value + op->sem_op, adjust;
	struct sem_undo *u;

	if (op->sem_op ? value < 0 : sem->value)
		return -EAGAIN;
	if (value > MAX_VALUE)
		return -ERANGE;
	if (op->sem_flg & SEM_UNDO) {
		u = find_undo(p, set->o.id, op->sem_num);
		adjust = u->adjust - op->sem_op;
		if (adjust < -MAX_UNDO - 1 || adjust > MAX_UNDO)
			return -ERANGE;
		u->adjust = adjust;
	}
	sem->value = value;
	return 0;
}

/* All operations or none. *@failed: the one that failed. */
static int apply(struct process *p, struct sem_set *set, const struct sembuf *ops, size_t nr, size_t *failed)
{
	for (size_t i = 0; i < nr; i++) {
		int err = apply_one(p, set, &ops[i]);

		if (err) {
			revert(p, set, ops, i);
			*failed = i;
			return err;
		}
	}
	for (size_t i = 0; i < nr; i++)
		set->sems[ops[i].sem_num].pid = p->pid;
	set->otime = time(NULL);
	wake(p->kernel, set);
	return 0;
}

/* Sleep for @ns at most until something changed. The set, or NULL: it was removed. */
static struct sem_set *wait_for_change(struct kernel *k, struct sem_set *set, const struct sembuf *op, uint64_t ns)
{
	struct sem_waiter w = { .next = set->waiters, .num = op->sem_num, .for_zero = !op->sem_op };
	struct sem_waiter **at;
	int id = set->o.id;

	set->waiters = &w;
	if (ns == NEVER)
		pthread_cond_wait(&k->changed, &k->lock);
	else
		kernel_wait(k, ns);
	set = find_set(k, id);
	if (!set)
		return NULL;
	for (at = &set->waiters; *at != &w;)
		at = &(*at)->next;
	*at = w.next;
	return set;
}

static int64_t operate(struct task *t, struct sem_set *set, const struct sembuf *ops, size_t nr, uint64_t deadline)
{
	struct process *p = t->process;
	size_t failed = 0;
	int err = 0;

	for (size_t i = 0; i < nr && !err; i++)
		err = ops[i].sem_num >= set->nr ? -EFBIG : 0;
	for (failed = 0; failed < nr && !ops[failed].sem_op;)
		failed++;
	if (!err)
		err = ipc_check_access(&set->o, failed == nr ? MAY_READ : MAY_WRITE);
	for (;;) {
		uint64_t now;

		if (!err)	/* again after a wait: SETVAL drops undos */
			err = prepare_undos(p, set->o.id, ops, nr);
		if (!err)
			err = apply(p, set, ops, nr, &failed);
		if (err != -EAGAIN || (ops[failed].sem_flg & IPC_NOWAIT))
			return err;
		now = clock_ns(CLOCK_MONOTONIC);
		if (now >= deadline)
			return -EAGAIN;
		if (signal_pending(t))
			return -EINTR;
		set = wait_for_change(t->kernel, set, &ops[failed], deadline == NEVER ? NEVER : deadline - now);
		if (!set)
			return -EIDRM;
		err = 0;
	}
}

static int64_t do_semop(struct task *t, int id, uint64_t addr, uint64_t nr, const struct timespec *timeout)
{
	struct kernel *k = t->kernel;
	struct sembuf ops[MAX_OPS];
	struct sem_set *set;
	int64_t result;

	if (nr < 1)
		return -EINVAL;
	if (nr > MAX_OPS)
		return -E2BIG;
	if (user_read(t, ops, addr, nr * sizeof(ops[0])))
		return -EFAULT;
	if (timeout && !is_time(timeout))
		return -EINVAL;
	cpu_release(t);
	pthread_mutex_lock(&k->lock);
	set = find_set(k, id);
	result = set ? operate(t, set, ops, nr, wait_deadline(timeout)) : -EINVAL;
	pthread_mutex_unlock(&k->lock);
	return result;
}

int64_t sys_semop(struct task *t, int semid, uint64_t sops, uint32_t nr)
{
	return do_semop(t, semid, sops, nr, NULL);
}

int64_t sys_semtimedop(struct task *t, int semid, uint64_t sops, uint32_t nr, uint64_t timeout)
{
	struct timespec ts;

	if (timeout && user_read(t, &ts, timeout, sizeof(ts)))
		return -EFAULT;
	return do_semop(t, semid, sops, nr, timeout ? &ts : NULL);
}

/* --- semctl(2) --- */

static int64_t get_status(struct task *t, int id, int cmd, uint64_t addr)
{
	const struct ipc_table *table = &t->kernel->ipc->sem;
	struct semid_ds status = { .sem_otime = 0 };
	const struct sem_set *set;
	int64_t result = -EINVAL;

	pthread_mutex_lock(&t->kernel->lock);
	set = set_of(cmd == IPC_STAT ? ipc_find(table, id) : ipc_at(table, id));
	if (set)
		result = cmd == SEM_STAT_ANY ? 0 : ipc_check_access(&set->o, MAY_READ);
	if (!result) {
		ipc_fill_perm(&status.sem_perm, &set->o);
		status.sem_otime = set->otime;
		status.sem_ctime = set->ctime;
		status.sem_nsems = set->nr;
		result = cmd == IPC_STAT ? 0 : set->o.id;
	}
	pthread_mutex_unlock(&t->kernel->lock);
	return result >= 0 && user_write(t, addr, &status, sizeof(status)) ? -EFAULT : result;
}

static int64_t get_info(struct task *t, int cmd, uint64_t addr)
{
	struct seminfo info = { .semmap = MAX_SEMS, .semmni = IPC_MAX_OBJECTS, .semmns = MAX_SEMS, .semmnu = MAX_SEMS,
				.semmsl = MAX_PER_SET, .semopm = MAX_OPS, .semume = MAX_OPS, .semusz = 20,
				.semvmx = MAX_VALUE, .semaem = MAX_UNDO };
	int max;

	pthread_mutex_lock(&t->kernel->lock);
	if (cmd == SEM_INFO) {
		info.semusz = (int)t->kernel->ipc->sem.nr;
		info.semaem = (int)t->kernel->ipc->nr_sems;
	}
	max = ipc_max_index(&t->kernel->ipc->sem);
	pthread_mutex_unlock(&t->kernel->lock);
	return user_write(t, addr, &info, sizeof(info)) ? -EFAULT : max;
}

static int count_waiters(const struct sem_set *set, unsigned num, bool for_zero)
{
	int n = 0;

	for (const struct sem_waiter *w = set->waiters; w; w = w->next)
		n += w->num == num && w->for_zero == for_zero;
	return n;
}

/* kernel->lock held. */
static int get_one(const struct sem_set *set, int num, int cmd)
{
	int err = ipc_check_access(&set->o, MAY_READ);

	if (err)
		return err;
	if (num < 0 || (unsigned)num >= set->nr)
		return -EINVAL;
	switch (cmd) {
	case GETVAL:  return set->sems[num].value;
	case GETPID:  return set->sems[num].pid;
	case GETNCNT: return count_waiters(set, (unsigned)num, false);
	default:      return count_waiters(set, (unsigned)num, true);
	}
}

/* kernel->lock held. */
static void set_one(struct task *t, struct sem_set *set, unsigned num, int value)
{
	set->sems[num] = (struct sem){ .value = value, .pid = t->process->pid };
	drop_undos(t->kernel, set->o.id, (int)num);
	set->ctime = time(NULL);
	wake(t->kernel, set);
}

static int64_t get_or_set_one(struct task *t, int id, int num, int cmd, int value)
{
	struct sem_set *set;
	int result = -EINVAL;

	if (cmd == SETVAL && (value < 0 || value > MAX_VALUE))
		return -ERANGE;
	pthread_mutex_lock(&t->kernel->lock);
	set = find_set(t->kernel, id);
	if (set && cmd != SETVAL) {
		result = get_one(set, num, cmd);
	} else if (set && num >= 0 && (unsigned)num < set->nr) {
		result = ipc_check_access(&set->o, MAY_WRITE);
		if (!result)
			set_one(t, set, (unsigned)num, value);
	}
	pthread_mutex_unlock(&t->kernel->lock);
	return result;
}

/* The number of semaphores, or a negative errno: the caller may not access the set as @mode says. */
static int count_sems(struct task *t, int id, uint32_t mode)
{
	const struct sem_set *set;
	int result = -EINVAL;

	pthread_mutex_lock(&t->kernel->lock);
	set = find_set(t->kernel, id);
	if (set)
		result = ipc_check_access(&set->o, mode);
	if (!result)
		result = (int)set->nr;
	pthread_mutex_unlock(&t->kernel->lock);
	return result;
}

/* Copy all @nr values. kernel->lock is not held. -EIDRM: the set was removed meanwhile. */
static int copy_values(struct task *t, int id, unsigned nr, uint16_t *values, bool set_them)
{
	struct sem_set *set;

	pthread_mutex_lock(&t->kernel->lock);
	set = find_set(t->kernel, id);
	if (set && set->nr != nr)	/* another one got the ID */
		set = NULL;
	for (unsigned i = 0; set && i < set->nr; i++) {
		if (set_them)
			set->sems[i] = (struct sem){ .value = values[i], .pid = t->process->pid };
		else
			values[i] = (uint16_t)set->sems[i].value;
	}
	if (set && set_them) {
		drop_undos(t->kernel, id, -1);
		set->ctime = time(NULL);
		wake(t->kernel, set);
	}
	pthread_mutex_unlock(&t->kernel->lock);
	return set ? 0 : -EIDRM;
}

static int64_t get_or_set_all(struct task *t, int id, int cmd, uint64_t addr)
{
	int nr = count_sems(t, id, cmd == SETALL ? MAY_WRITE : MAY_READ), err = 0;
	uint16_t *values;

	if (nr < 0)
		return nr;
	values = calloc((size_t)nr, sizeof(*values));
	if (!values)
		return -ENOMEM;
	if (cmd == SETALL && user_read(t, values, addr, (size_t)nr * sizeof(*values)))
		err = -EFAULT;
	for (int i = 0; i < nr && cmd == SETALL && !err; i++)
		err = values[i] > MAX_VALUE ? -ERANGE : 0;
	if (!err)
		err = copy_values(t, id, (unsigned)nr, values, cmd == SETALL);
	if (!err && cmd == GETALL && user_write(t, addr, values, (size_t)nr * sizeof(*values)))
		err = -EFAULT;
	free(values);
	return err;
}

/* kernel->lock held. */
static int remove_set(struct kernel *k, struct sem_set *set)
{
	int err = ipc_check_owner(&set->o);

	if (err)
		return err;
	drop_undos(k, set->o.id, -1);
	ipc_remove(&k->ipc->sem, &set->o);
	k->ipc->nr_sems -= set->nr;
	wake(k, set);
	free(set);
	return 0;
}

static int64_t change(struct task *t, int id, int cmd, uint64_t addr)
{
	struct semid_ds new;
	struct sem_set *set;
	int err = -EINVAL;

	if (cmd == IPC_SET && user_read(t, &new, addr, sizeof(new)))
		return -EFAULT;
	pthread_mutex_lock(&t->kernel->lock);
	set = find_set(t->kernel, id);
	if (set && cmd == IPC_SET) {
		err = ipc_set_perm(&set->o, &new.sem_perm);
		set->ctime = err ? set->ctime : time(NULL);
	} else if (set) {
		err = remove_set(t->kernel, set);
	}
	pthread_mutex_unlock(&t->kernel->lock);
	return err;
}

int64_t sys_semctl(struct task *t, int semid, int semnum, int cmd, uint64_t arg)
{
	if (semid < 0)
		return -EINVAL;
	switch (cmd) {
	case IPC_INFO: case SEM_INFO: return get_info(t, cmd, arg);
	case IPC_STAT: case SEM_STAT: case SEM_STAT_ANY: return get_status(t, semid, cmd, arg);
	case GETALL: case SETALL: return get_or_set_all(t, semid, cmd, arg);
	case GETVAL: case GETPID: case GETNCNT: case GETZCNT: return get_or_set_one(t, semid, semnum, cmd, 0);
	case SETVAL: return get_or_set_one(t, semid, semnum, cmd, (int)arg);
	case IPC_SET: case IPC_RMID: return change(t, semid, cmd, arg);
	default: return -EINVAL;
	}
}

void sems_destroy_all(struct ipc *ipc)
{
	for (int i = 0; i < IPC_MAX_OBJECTS; i++)
		free(set_of(ipc->sem.at[i]));
}
