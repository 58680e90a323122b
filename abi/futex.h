/* SPDX-License-Identifier: MIT */
/*
 * abi/futex.h - the waiters of futexes, for sys_futex.c and futex_pi.c.
 *
 * A futex of shared memory is named by its mapping and offset, any other one by its address space and address. A waiter
 * sleeps in a futex of the host.
 *
 * The word is read without a lock, as that may fault and wait. Each wake counts up in its bucket: if the count has changed
 * since before the read, the word is read again. So no wake is missed between the read and the wait.
 *
 * Locks: a bucket's lock is a leaf, but for the lock of a second bucket, the one at the higher address. A
 * thread that wakes a waiter holds the lock of its bucket, and the waiter takes that lock before it returns, so it is there
 * meanwhile.
 */
#ifndef ABI_FUTEX_H
#define ABI_FUTEX_H

#include "abi/task.h"
#include "vellum/backing.h"

#define NR_FUTEX_BUCKETS 256
#define FUTEX_WORD	 sizeof(uint32_t)

struct futex_key {
	const void *space;		/* the mapping or address space */
	uint64_t offset;		/* in bytes */
};

struct bucket;
struct pi_wait;

struct waiter {
	struct waiter *next;
	struct futex_key key;
	struct bucket *bucket;		/* changed by requeue, with the locks of both buckets held, and by futex_pi.c */
	uint32_t bitset;
	int rank;			/* of the thread that waits: task_rank() */
	uint32_t woken;			/* atomic; the host's futex, if @sleeps_on is NULL */
	uint32_t *sleeps_on;		/* of futex_waitv(2): the host's futex of all waiters of the call */
	struct pi_wait *pi;		/* futex_pi.c; NULL: it waits for no lock */
};

struct bucket {
	pthread_mutex_t lock;
	struct waiter *first;		/* by rank, and then in the order of waiting */
	uint64_t nr_wakes;		/* atomic: also read without the lock */
};

struct futexes {
	struct bucket bucket[NR_FUTEX_BUCKETS];
	uint32_t nr_pi;			/* atomic: calls that may wait for a lock */
};

struct futex_timeout {
	struct timespec at;		/* absolute */
	bool real;			/* CLOCK_REALTIME; else CLOCK_MONOTONIC */
	bool set;
};

/* --- sys_futex.c --- */

/* 0, -EINVAL or -EFAULT. *@mapping: referenced, or NULL. */
int futex_key_get(struct task *t, uint64_t addr, bool private, struct futex_key *key, struct vellum_mapping **mapping);
static inline bool futex_same_key(const struct futex_key *a, const struct futex_key *b)
{
	return a->space == b->space && a->offset == b->offset;
}
struct bucket *futex_bucket(const struct task *t, const struct futex_key *key);
/* Queue the waiter. The bucket's lock is held. */
void futex_append(struct bucket *b, struct waiter *w);
/* Remove the waiter from its bucket. False: it is in none, as it was woken, or is about to be queued elsewhere. */
bool futex_leave_bucket(struct waiter *w);
/* The lock of its bucket is held, and it is not in the bucket. */
void futex_wake_waiter(struct waiter *w);
/* 0 or a negative errno. @op: of futex(2); FUTEX_WAIT has a relative time. */
int futex_read_timeout(struct task *t, uint64_t addr, int op, struct futex_timeout *timeout);
/* Sleep until *@woken is set. 0, -ETIMEDOUT, -EINTR. */
int futex_sleep(struct task *t, const uint32_t *woken, const struct futex_timeout *timeout);
/* Queue @w if the word has the value @val. 0, -EAGAIN or -EFAULT. */
int futex_queue(struct task *t, struct waiter *w, uint64_t addr, uint32_t val);

/* --- futex_pi.c: commands of futex(2), which return what it does, or a negative errno --- */

/* FUTEX_LOCK_PI, FUTEX_LOCK_PI2, FUTEX_TRYLOCK_PI */
int64_t futex_lock_pi(struct task *t, uint64_t addr, int op, uint64_t timeout_addr);
int64_t futex_unlock_pi(struct task *t, uint64_t addr, bool private);
int64_t futex_wait_requeue_pi(struct task *t, uint64_t addr, int op, uint32_t val, uint64_t timeout_addr,
			      uint64_t lock_addr);
int64_t futex_cmp_requeue_pi(struct task *t, uint64_t addr, bool private, int nr_wake, int nr_requeue,
			     uint64_t lock_addr, uint32_t val);
/* @t ends, or leaves its memory: those that wait for its locks get them. Its robust locks were marked before. */
void futex_leave_pi(struct task *t);

#endif
