/* SPDX-License-Identifier: MIT */
/*
 * abi/futex_pi.c - the commands of futex(2) for locks with priority inheritance.
 *
 * The word has the thread ID of the owner, and FUTEX_WAITERS if a thread may wait: "Priority-inheritance futexes" in
 * futex(2). An unlock gives the lock to the waiting thread of the highest rank, and of those to the one that has
 * waited longest. No priority is lent to the owner.
 *
 * The word is changed by compare-exchange without the bucket's lock, since that may fault and wait. So the waiter that is
 * given a lock is taken out of its bucket first: from then on it waits until it is woken, whatever signal or timeout
 * comes. An owner that finds no waiter frees the lock, and then wakes those that came meanwhile.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <sched.h>

#include "abi/futex.h"

struct pi_wait {
	uint32_t tid;			/* of the thread that waits */
	struct futex_key lock;
	bool on_lock;			/* it is queued at the lock, and not at the futex of FUTEX_WAIT_REQUEUE_PI */
	uint32_t owner;			/* when it was queued at the lock, or the lock was given away; bucket's lock */
	bool is_owner;			/* when it is woken: it has the lock. Else it tries again */
	bool was_requeued;
};

/* kernel->lock is not held. False: it has ended, or is about to, and its locks are given away. */
static bool owner_lives(struct task *t, uint32_t tid)
{
	const struct task *owner;
	bool lives;

	pthread_mutex_lock(&t->kernel->lock);
	owner = task_find(t->kernel, (int)tid);
	lives = owner && !__atomic_load_n(&owner->left_locks, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&t->kernel->lock);
	return lives;
}

/* Queue @w at the lock, if nothing was woken there since the count was @seen. */
static bool queue_at_lock(struct bucket *b, struct waiter *w, uint64_t seen, uint32_t owner)
{
	bool queued;

	pthread_mutex_lock(&b->lock);
	queued = b->nr_wakes == seen;
	if (queued) {
		w->pi->owner = owner;
		w->pi->on_lock = true;
		futex_append(b, w);
	}
	pthread_mutex_unlock(&b->lock);
	return queued;
}

/* One try: as lock_or_queue(), or -ERESTARTNOINTR: the word or the queue has changed. */
static int try_lock_or_queue(struct task *t, uint64_t addr, struct waiter *w, bool may_wait)
{
	struct bucket *b = futex_bucket(t, &w->key);
	uint64_t seen = __atomic_load_n(&b->nr_wakes, __ATOMIC_SEQ_CST);
	uint32_t word, old, owner, died = 0;
	int err;

	if (user_read(t, &word, addr, sizeof(word)))
		return -EFAULT;
	owner = word & FUTEX_TID_MASK;
	if (owner == w->pi->tid)
		return -EDEADLK;
	if (owner && !owner_lives(t, owner)) {
		if (w->pi->owner != owner) {	/* else its end has woken @w */
			if (user_read(t, &old, addr, sizeof(old)))
				return -EFAULT;
			return old == word ? -ESRCH : -ERESTARTNOINTR;	/* it unlocked before it ended */
		}
		died = FUTEX_OWNER_DIED;
		owner = 0;
	}
	old = word;
	if (!owner) {
		err = user_cmpxchg(t, addr, &old, (word & ~FUTEX_TID_MASK) | died | w->pi->tid);
		return err ? err : old == word ? 0 : -ERESTARTNOINTR;
	}
	if (!may_wait)
		return -EAGAIN;
	if (!(word & FUTEX_WAITERS)) {
		err = user_cmpxchg(t, addr, &old, word | FUTEX_WAITERS);
		if (err || old != word)
			return err ? err : -ERESTARTNOINTR;
	}
	return queue_at_lock(b, w, seen, owner) ? 1 : -ERESTARTNOINTR;
}

/* Lock for the thread that waits as @w, or queue it. 0: it is the owner; 1: queued; or a negative errno. */
static int lock_or_queue(struct task *t, uint64_t addr, struct waiter *w, bool may_wait)
{
	int result;

	do {
		result = try_lock_or_queue(t, addr, w, may_wait);
	} while (result == -ERESTARTNOINTR && !signal_fatal_pending(t));
	return result;
}

/* False: another thread has taken it from its bucket, and has woken it now. */
static bool withdraw(struct waiter *w)
{
	for (;;) {
		bool woken = __atomic_load_n(&w->woken, __ATOMIC_ACQUIRE);

		if (futex_leave_bucket(w))	/* takes the bucket's lock, after which the waker is done with @w */
			return true;
		if (woken)
			return false;
		sched_yield();
	}
}

/* Sleep. 0: woken, and no thread uses @w any more. Else -ETIMEDOUT or -EINTR, and it is in no bucket. */
static int sleep_in_bucket(struct task *t, struct waiter *w, const struct futex_timeout *timeout)
{
	int err = futex_sleep(t, &w->woken, timeout);

	return withdraw(w) ? err : 0;
}

/* Wait until the lock is owned. @queued: @w is queued already. 0 or a negative errno. */
static int wait_for_lock(struct task *t, uint64_t addr, struct waiter *w, const struct futex_timeout *timeout, bool queued)
{
	for (;;) {
		int result = queued ? 1 : lock_or_queue(t, addr, w, true);

		if (result == 1)
			result = sleep_in_bucket(t, w, timeout);
		else
			return result;
		if (result || w->pi->is_owner)
			return result;
		__atomic_store_n(&w->woken, 0, __ATOMIC_RELAXED);
		queued = false;
	}
}

static void begin(struct task *t)
{
	__atomic_fetch_add(&t->kernel->futexes->nr_pi, 1, __ATOMIC_SEQ_CST);
}

static void end(struct task *t)
{
	__atomic_fetch_sub(&t->kernel->futexes->nr_pi, 1, __ATOMIC_SEQ_CST);
}

int64_t futex_lock_pi(struct task *t, uint64_t addr, int op, uint64_t timeout_addr)
{
	const int command = op & FUTEX_CMD_MASK;
	struct pi_wait pi = { .tid = (uint32_t)t->tid };
	struct waiter w = { .bitset = FUTEX_BITSET_MATCH_ANY, .rank = task_rank(t), .pi = &pi };
	struct vellum_mapping *mapping;
	struct futex_timeout timeout = { .set = false };
	int err;

	if (command == FUTEX_LOCK_PI)		/* for historical reasons */
		op |= FUTEX_CLOCK_REALTIME;
	err = command == FUTEX_TRYLOCK_PI ? 0 : futex_read_timeout(t, timeout_addr, op, &timeout);
	if (!err)
		err = futex_key_get(t, addr, op & FUTEX_PRIVATE_FLAG, &w.key, &mapping);
	if (err)
		return err;
	pi.lock = w.key;
	begin(t);
	if (command == FUTEX_TRYLOCK_PI)
		err = lock_or_queue(t, addr, &w, false);
	else
		err = wait_for_lock(t, addr, &w, &timeout, false);
	end(t);
	vellum_mapping_put(mapping);
	return err == -EINTR ? -ERESTARTNOINTR : err;
}

/* --- unlock --- */

static bool waits_for_lock(const struct waiter *w, const struct futex_key *lock)
{
	return w->pi && w->pi->on_lock && futex_same_key(&w->key, lock);
}

/* Take the first waiter for the lock out of the bucket. NULL: there is none. */
static struct waiter *take_waiter(struct bucket *b, const struct futex_key *lock)
{
	struct waiter **at, *w;

	pthread_mutex_lock(&b->lock);
	for (at = &b->first; *at && !waits_for_lock(*at, lock); at = &(*at)->next)
		;
	w = *at;
	if (w)
		*at = w->next;
	pthread_mutex_unlock(&b->lock);
	return w;
}

/*
 * The lock has a new owner, or is free (@w NULL: then wake those that came meanwhile, as each may have missed the flag that
 * says so). Threads that read the old word and are not queued yet read it again, because of the count.
 */
static void finish_handover(struct bucket *b, const struct futex_key *lock, struct waiter *w, bool is_owner)
{
	struct waiter **at, *other;

	pthread_mutex_lock(&b->lock);
	__atomic_fetch_add(&b->nr_wakes, 1, __ATOMIC_SEQ_CST);
	for (at = &b->first; (other = *at);) {
		bool waits = waits_for_lock(other, lock);

		if (waits && !w) {
			*at = other->next;
			futex_wake_waiter(other);
			continue;
		}
		if (waits && is_owner)
			other->pi->owner = w->pi->tid;
		at = &other->next;
	}
	if (w) {
		w->pi->is_owner = is_owner;
		futex_wake_waiter(w);
	}
	pthread_mutex_unlock(&b->lock);
}

/* The word has @tid as its owner: store @next there. 0, or a negative errno. */
static int replace_owner(struct task *t, uint64_t addr, uint32_t next)
{
	uint32_t word, seen;
	int err;

	if (user_read(t, &seen, addr, sizeof(seen)))
		return -EFAULT;
	do {
		word = seen;
		if ((word & FUTEX_TID_MASK) != (uint32_t)t->tid)
			return -EPERM;
		err = user_cmpxchg(t, addr, &seen, next);
	} while (!err && seen != word);
	return err;
}

int64_t futex_unlock_pi(struct task *t, uint64_t addr, bool private)
{
	struct vellum_mapping *mapping;
	struct futex_key lock;
	struct waiter *w;
	struct bucket *b;
	uint32_t word;
	int err;

	if (user_read(t, &word, addr, sizeof(word)))
		return -EFAULT;
	if ((word & FUTEX_TID_MASK) != (uint32_t)t->tid)
		return -EPERM;
	err = futex_key_get(t, addr, private, &lock, &mapping);
	if (err)
		return err;
	b = futex_bucket(t, &lock);
	w = take_waiter(b, &lock);
	err = replace_owner(t, addr, w ? w->pi->tid | FUTEX_WAITERS : 0);
	finish_handover(b, &lock, w, !err);
	vellum_mapping_put(mapping);
	return err;
}

/* Wake those that wait for locks of @t in one bucket. They find that the owner has ended. */
static void wake_heirs(const struct task *t, struct bucket *b)
{
	struct waiter **at, *w;

	pthread_mutex_lock(&b->lock);
	__atomic_fetch_add(&b->nr_wakes, 1, __ATOMIC_SEQ_CST);
	for (at = &b->first; (w = *at);) {
		if (!w->pi || !w->pi->on_lock || w->pi->owner != (uint32_t)t->tid) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		futex_wake_waiter(w);
	}
	pthread_mutex_unlock(&b->lock);
}

void futex_leave_pi(struct task *t)
{
	struct futexes *f = t->kernel->futexes;

	__atomic_store_n(&t->left_locks, true, __ATOMIC_SEQ_CST);
	/* A call that begins after this look finds @left_locks. */
	for (unsigned i = 0; i < NR_FUTEX_BUCKETS && __atomic_load_n(&f->nr_pi, __ATOMIC_SEQ_CST); i++)
		wake_heirs(t, &f->bucket[i]);
}

/* --- condition variables: FUTEX_WAIT_REQUEUE_PI, FUTEX_CMP_REQUEUE_PI --- */

static int wait_requeue(struct task *t, struct waiter *w, uint64_t addr, uint32_t val,
			const struct futex_timeout *timeout, uint64_t lock_addr)
{
	int err = futex_queue(t, w, addr, val);

	if (!err)
		err = wait_for_lock(t, lock_addr, w, timeout, true);
	if (err == -EINTR)
		err = w->pi->was_requeued ? -EAGAIN : -ERESTARTNOINTR;
	return err;
}

int64_t futex_wait_requeue_pi(struct task *t, uint64_t addr, int op, uint32_t val, uint64_t timeout_addr,
			      uint64_t lock_addr)
{
	struct pi_wait pi = { .tid = (uint32_t)t->tid };
	struct waiter w = { .bitset = FUTEX_BITSET_MATCH_ANY, .rank = task_rank(t), .pi = &pi };
	struct vellum_mapping *mapping, *lock_mapping = NULL;
	struct futex_timeout timeout;
	int err;

	if (addr == lock_addr)
		return -EINVAL;
	err = futex_read_timeout(t, timeout_addr, op, &timeout);
	if (!err)
		err = futex_key_get(t, addr, op & FUTEX_PRIVATE_FLAG, &w.key, &mapping);
	if (err)
		return err;
	err = futex_key_get(t, lock_addr, op & FUTEX_PRIVATE_FLAG, &pi.lock, &lock_mapping);
	if (!err && futex_same_key(&w.key, &pi.lock))
		err = -EINVAL;
	if (!err) {
		begin(t);
		err = wait_requeue(t, &w, addr, val, &timeout, lock_addr);
		end(t);
	}
	vellum_mapping_put(mapping);
	vellum_mapping_put(lock_mapping);
	return err;
}

/* Take the first waiter at @key out of its bucket. 0: *@out, or NULL: there is none; -EINVAL: it waits for other things. */
static int take_for_lock(struct bucket *b, const struct futex_key *key, const struct futex_key *lock, struct waiter **out)
{
	struct waiter **at, *w;
	int err = 0;

	pthread_mutex_lock(&b->lock);
	for (at = &b->first; *at && !futex_same_key(&(*at)->key, key); at = &(*at)->next)
		;
	w = *at;
	if (w && (!w->pi || w->pi->on_lock || !futex_same_key(&w->pi->lock, lock)))
		err = -EINVAL;
	else if (w)
		*at = w->next;
	pthread_mutex_unlock(&b->lock);
	*out = err ? NULL : w;
	return err;
}

/* Give @w, which is in no bucket, the lock, or queue it there. 0 or a negative errno, which @w will find, too. */
static int move_to_lock(struct task *t, uint64_t lock_addr, struct waiter *w, const struct futex_key *lock)
{
	struct bucket *b = w->bucket;
	int result;

	w->key = *lock;
	w->pi->was_requeued = true;
	result = lock_or_queue(t, lock_addr, w, true);
	if (result == 1)
		return 0;
	pthread_mutex_lock(&b->lock);
	w->pi->is_owner = !result;
	futex_wake_waiter(w);
	pthread_mutex_unlock(&b->lock);
	return result;
}

static int64_t requeue_all(struct task *t, const struct futex_key *key, const struct futex_key *lock, uint64_t lock_addr,
			   uint32_t max)
{
	struct waiter *w;
	uint32_t n = 0;
	int err = 0;

	while (n < max && !err) {
		err = take_for_lock(futex_bucket(t, key), key, lock, &w);
		if (err || !w)
			break;
		err = move_to_lock(t, lock_addr, w, lock);
		n += !err;
	}
	return err ? err : (int64_t)n;
}

int64_t futex_cmp_requeue_pi(struct task *t, uint64_t addr, bool private, int nr_wake, int nr_requeue,
			     uint64_t lock_addr, uint32_t val)
{
	struct vellum_mapping *mapping, *lock_mapping = NULL;
	struct futex_key key, lock;
	uint32_t word;
	int64_t n;

	if (nr_wake < 0 || nr_requeue < 0 || addr == lock_addr || nr_wake != 1)
		return -EINVAL;
	n = futex_key_get(t, addr, private, &key, &mapping);
	if (n)
		return n;
	n = futex_key_get(t, lock_addr, private, &lock, &lock_mapping);
	if (!n && futex_same_key(&key, &lock))
		n = -EINVAL;
	if (!n && user_read(t, &word, addr, sizeof(word)))
		n = -EFAULT;
	if (!n && word != val)
		n = -EAGAIN;
	if (!n) {
		begin(t);
		n = requeue_all(t, &key, &lock, lock_addr, 1u + (uint32_t)nr_requeue);
		end(t);
	}
	vellum_mapping_put(mapping);
	vellum_mapping_put(lock_mapping);
	return n;
}
