/* SPDX-License-Identifier: MIT */
/* abi/sys_futex.c - futex(2), futex_waitv(2). How waiters sleep, and which locks there are: futex.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "abi/futex.h"
#include "vellum/pagemap.h"

#include "syscalls.h"	/* made from syscall.tbl */

struct futexes *futexes_create(void)
{
	struct futexes *f = calloc(1, sizeof(*f));

	for (unsigned i = 0; f && i < NR_FUTEX_BUCKETS; i++)
		pthread_mutex_init(&f->bucket[i].lock, NULL);
	return f;
}

void futexes_destroy(struct futexes *f)
{
	free(f);
}

/* --- keys and buckets --- */

int futex_key_get(struct task *t, uint64_t addr, bool private, struct futex_key *key, struct vellum_mapping **mapping)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	*mapping = NULL;
	if (addr % FUTEX_WORD)
		return -EINVAL;
	if (addr >= VELLUM_TASK_SIZE)
		return -EFAULT;
	*key = (struct futex_key){ .space = t->gmm, .offset = addr };
	if (private)
		return 0;
	if (vellum_vma_next(t->gmm->mm, addr, &info) || info.start > addr)
		return -EFAULT;
	if (info.shared && info.mapping) {
		vellum_mapping_get(info.mapping);
		*mapping = info.mapping;
		*key = (struct futex_key){ .space = info.mapping,
					   .offset = info.pgoff * VELLUM_PAGE_SIZE + (addr - info.start) };
	}
	return 0;
}

struct bucket *futex_bucket(const struct task *t, const struct futex_key *key)
{
	uint64_t hash = ((uint64_t)key->space >> 4 ^ key->offset >> 2) * 0x9e3779b97f4a7c15ull;

	return &t->kernel->futexes->bucket[hash >> 56];
}

static void lock_both(struct bucket *a, struct bucket *b)
{
	pthread_mutex_lock(a < b ? &a->lock : &b->lock);
	if (a != b)
		pthread_mutex_lock(a < b ? &b->lock : &a->lock);
}

static void unlock_both(struct bucket *a, struct bucket *b)
{
	pthread_mutex_unlock(&a->lock);
	if (a != b)
		pthread_mutex_unlock(&b->lock);
}

void futex_append(struct bucket *b, struct waiter *w)
{
	struct waiter **end = &b->first;

	while (*end && (*end)->rank >= w->rank)
		end = &(*end)->next;
	w->next = *end;
	__atomic_store_n(&w->bucket, b, __ATOMIC_RELEASE);
	*end = w;
}

bool futex_leave_bucket(struct waiter *w)
{
	struct bucket *b;
	struct waiter **at;
	bool found;

	for (;;) {
		b = __atomic_load_n(&w->bucket, __ATOMIC_ACQUIRE);
		pthread_mutex_lock(&b->lock);
		if (b == w->bucket)
			break;
		pthread_mutex_unlock(&b->lock);
	}
	for (at = &b->first; *at && *at != w; at = &(*at)->next)
		;
	found = *at == w;
	if (found)
		*at = w->next;
	pthread_mutex_unlock(&b->lock);
	return found;
}

/* --- waking --- */

void futex_wake_waiter(struct waiter *w)
{
	uint32_t *word = w->sleeps_on ? w->sleeps_on : &w->woken;

	__atomic_store_n(&w->woken, 1, __ATOMIC_RELEASE);
	__atomic_store_n(word, 1, __ATOMIC_RELEASE);
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* The bucket's lock is held. Return: the waiters that were woken; or -EINVAL: the next one waits for a lock. */
static int64_t wake_in(struct bucket *b, const struct futex_key *key, unsigned max, uint32_t bitset)
{
	struct waiter **at = &b->first, *w;
	unsigned n = 0;

	__atomic_fetch_add(&b->nr_wakes, 1, __ATOMIC_SEQ_CST);
	while ((w = *at) && n < max) {
		if (!futex_same_key(&w->key, key) || !(w->bitset & bitset)) {
			at = &w->next;
			continue;
		}
		if (w->pi)
			return -EINVAL;
		*at = w->next;
		futex_wake_waiter(w);
		n++;
	}
	return n;
}

/* The count, or a negative errno. */
static int64_t wake(struct task *t, uint64_t addr, bool private, unsigned max, uint32_t bitset)
{
	struct vellum_mapping *mapping;
	struct futex_key key;
	struct bucket *b;
	int64_t n;

	if (!bitset)
		return -EINVAL;
	n = futex_key_get(t, addr, private, &key, &mapping);
	if (n)
		return n;
	b = futex_bucket(t, &key);
	pthread_mutex_lock(&b->lock);
	n = wake_in(b, &key, max, bitset);
	pthread_mutex_unlock(&b->lock);
	vellum_mapping_put(mapping);
	return n;
}

unsigned futex_wake(struct task *t, uint64_t addr, unsigned max)
{
	int64_t n = wake(t, addr, false, max, FUTEX_BITSET_MATCH_ANY);

	return n > 0 ? (unsigned)n : 0;
}

/* --- waiting --- */

int futex_read_timeout(struct task *t, uint64_t addr, int op, struct futex_timeout *timeout)
{
	uint64_t ns;

	*timeout = (struct futex_timeout){ .real = op & FUTEX_CLOCK_REALTIME, .set = addr != 0 };
	if (!addr)
		return 0;
	if (user_read(t, &timeout->at, addr, sizeof(timeout->at)))
		return -EFAULT;
	if (!is_time(&timeout->at))
		return -EINVAL;
	if ((op & FUTEX_CMD_MASK) == FUTEX_WAIT) {
		timeout->real = false;
		ns = clock_ns(CLOCK_MONOTONIC) + timespec_ns(&timeout->at);
		timeout->at = ns_timespec(ns);
	}
	return 0;
}

int futex_sleep(struct task *t, const uint32_t *woken, const struct futex_timeout *timeout)
{
	int op = FUTEX_WAIT_BITSET_PRIVATE | (timeout->real ? FUTEX_CLOCK_REALTIME : 0), err = 0;

	host_call_begin(t);
	while (!__atomic_load_n(woken, __ATOMIC_ACQUIRE) && !err) {
		if (signal_pending(t))
			err = -EINTR;
		else if (syscall(SYS_futex, woken, op, 0, timeout->set ? &timeout->at : NULL, NULL,
				 FUTEX_BITSET_MATCH_ANY) && errno == ETIMEDOUT)
			err = -ETIMEDOUT;
	}
	host_call_end(t);
	return err;
}

int futex_queue(struct task *t, struct waiter *w, uint64_t addr, uint32_t val)
{
	struct bucket *b = futex_bucket(t, &w->key);
	uint64_t seen;
	uint32_t word;
	bool queued;

	do {
		seen = __atomic_load_n(&b->nr_wakes, __ATOMIC_SEQ_CST);
		if (user_read(t, &word, addr, sizeof(word)))
			return -EFAULT;
		if (word != val)
			return -EAGAIN;
		pthread_mutex_lock(&b->lock);
		queued = b->nr_wakes == seen;
		if (queued)
			futex_append(b, w);
		pthread_mutex_unlock(&b->lock);
	} while (!queued);
	return 0;
}

static int64_t wait(struct task *t, uint64_t addr, int op, uint32_t val, uint64_t timeout_addr, uint32_t bitset)
{
	struct waiter w = { .bitset = bitset, .rank = task_rank(t) };
	struct vellum_mapping *mapping;
	struct futex_timeout timeout;
	int err;

	if (!bitset)
		return -EINVAL;
	err = futex_read_timeout(t, timeout_addr, op, &timeout);
	if (!err)
		err = futex_key_get(t, addr, op & FUTEX_PRIVATE_FLAG, &w.key, &mapping);
	if (err)
		return err;
	err = futex_queue(t, &w, addr, val);
	if (!err) {
		err = futex_sleep(t, &w.woken, &timeout);
		if (!futex_leave_bucket(&w))
			err = 0;		/* woken, whatever came besides */
	}
	vellum_mapping_put(mapping);
	/* A wait with a time cannot be restarted: it would begin anew. */
	return err == -EINTR && !timeout.set ? -ERESTARTSYS : err;
}

/* --- futex_waitv(2) --- */

#define MAX_WAITV	128
#define WAITV_SIZE	2u		/* FUTEX_32: words of 32 bits */

/* struct futex_waitv of <linux/futex.h>, which older systems do not have */
struct waitv {
	uint64_t val, addr;
	uint32_t flags, reserved;
};

struct vector {
	struct waitv given[MAX_WAITV];
	struct waiter waiter[MAX_WAITV];
	struct vellum_mapping *mapping[MAX_WAITV];
	unsigned nr;
	uint32_t woken;			/* atomic; the host's futex */
};

/* 0 or a negative errno. */
static int get_keys(struct task *t, struct vector *v)
{
	int err = 0;

	for (unsigned i = 0; i < v->nr; i++)
		if ((v->given[i].flags & ~FUTEX_PRIVATE_FLAG) != WAITV_SIZE || v->given[i].reserved ||
		    v->given[i].val >> 32)
			return -EINVAL;
	for (unsigned i = 0; i < v->nr && !err; i++) {
		v->waiter[i].bitset = FUTEX_BITSET_MATCH_ANY;
		v->waiter[i].sleeps_on = &v->woken;
		v->waiter[i].rank = task_rank(t);
		err = futex_key_get(t, v->given[i].addr, v->given[i].flags & FUTEX_PRIVATE_FLAG, &v->waiter[i].key,
			      &v->mapping[i]);
	}
	return err;
}

/* The index of a word that was woken, or a negative errno. */
static int64_t wait_for_vector(struct task *t, struct vector *v, const struct futex_timeout *timeout)
{
	unsigned nr = 0;
	int64_t result = 0;

	while (nr < v->nr && !(result = futex_queue(t, &v->waiter[nr], v->given[nr].addr, (uint32_t)v->given[nr].val)))
		nr++;
	if (!result)
		result = futex_sleep(t, &v->woken, timeout);
	for (unsigned i = 0; i < nr; i++)
		if (!futex_leave_bucket(&v->waiter[i]))
			result = i;		/* woken, whatever came besides */
	return result == -EINTR ? -ERESTARTSYS : result;
}

int64_t sys_futex_waitv(struct task *t, uint64_t waiters, uint32_t nr, uint32_t flags, uint64_t timeout_addr, int clock)
{
	struct futex_timeout timeout;
	struct vector *v;
	int64_t result;

	if (flags || !nr || nr > MAX_WAITV || !waiters)
		return -EINVAL;
	if (timeout_addr && clock != CLOCK_REALTIME && clock != CLOCK_MONOTONIC)
		return -EINVAL;
	result = futex_read_timeout(t, timeout_addr, clock == CLOCK_REALTIME ? FUTEX_WAIT_BITSET | FUTEX_CLOCK_REALTIME :
			      FUTEX_WAIT_BITSET, &timeout);
	if (result)
		return result;
	v = calloc(1, sizeof(*v));
	if (!v)
		return -ENOMEM;
	v->nr = nr;
	result = user_read(t, v->given, waiters, nr * sizeof(v->given[0]));
	if (!result)
		result = get_keys(t, v);
	if (!result)
		result = wait_for_vector(t, v, &timeout);
	for (unsigned i = 0; i < nr; i++)
		vellum_mapping_put(v->mapping[i]);
	free(v);
	return result;
}

/* --- requeue, wake-op --- */

/* Wake @nr_wake waiters and let @nr_requeue others wait at @to. Return: how many of both. */
static int64_t requeue_locked(struct bucket *from_bucket, const struct futex_key *from, struct bucket *to_bucket,
			      const struct futex_key *to, unsigned nr_wake, unsigned nr_requeue)
{
	int64_t woken = wake_in(from_bucket, from, nr_wake, FUTEX_BITSET_MATCH_ANY);
	struct waiter **at = &from_bucket->first, *w, *last = NULL;
	unsigned moved = 0;

	if (woken < 0)
		return woken;

	__atomic_fetch_add(&to_bucket->nr_wakes, 1, __ATOMIC_SEQ_CST);
	while ((w = *at) && moved < nr_requeue && w != last) {
		if (!futex_same_key(&w->key, from)) {
			at = &w->next;
			continue;
		}
		if (w->pi)
			return -EINVAL;
		*at = w->next;
		w->key = *to;
		futex_append(to_bucket, w);
		last = last ? last : w;		/* in one bucket the moved ones are behind the others */
		moved++;
	}
	return woken + moved;
}

static int64_t requeue(struct task *t, uint64_t addr, int op, int nr_wake, int nr_requeue, uint64_t addr2,
		       const uint32_t *expected)
{
	struct vellum_mapping *mapping, *mapping2;
	struct futex_key key, key2;
	struct bucket *b, *b2;
	uint32_t word;
	int64_t n;

	if (nr_wake < 0 || nr_requeue < 0)
		return -EINVAL;
	n = futex_key_get(t, addr, op & FUTEX_PRIVATE_FLAG, &key, &mapping);
	if (n)
		return n;
	n = futex_key_get(t, addr2, op & FUTEX_PRIVATE_FLAG, &key2, &mapping2);
	if (!n && expected && user_read(t, &word, addr, sizeof(word)))
		n = -EFAULT;
	if (!n && expected && word != *expected)
		n = -EAGAIN;
	if (!n) {
		b = futex_bucket(t, &key);
		b2 = futex_bucket(t, &key2);
		lock_both(b, b2);
		n = requeue_locked(b, &key, b2, &key2, (unsigned)nr_wake, (unsigned)nr_requeue);
		unlock_both(b, b2);
	}
	vellum_mapping_put(mapping);
	vellum_mapping_put(mapping2);
	return n;
}

static int32_t sign_extend12(uint32_t value)
{
	return (int32_t)(value << 20) >> 20;
}

/* Apply the operation that @code describes to the word at @addr. *@old: the value before. 0 or a negative errno. */
static int apply(struct task *t, uint64_t addr, uint32_t code, uint32_t *old)
{
	uint32_t arg = (uint32_t)sign_extend12(code >> 12 & 0xfff), op = code >> 28, seen, new;
	int err;

	if (op & FUTEX_OP_OPARG_SHIFT)
		arg = 1u << (arg & 31);
	if (user_read(t, &seen, addr, sizeof(seen)))
		return -EFAULT;
	do {
		*old = seen;
		switch (op & ~(uint32_t)FUTEX_OP_OPARG_SHIFT) {
		case FUTEX_OP_SET:  new = arg; break;
		case FUTEX_OP_ADD:  new = seen + arg; break;
		case FUTEX_OP_OR:   new = seen | arg; break;
		case FUTEX_OP_ANDN: new = seen & ~arg; break;
		case FUTEX_OP_XOR:  new = seen ^ arg; break;
		default:	    return -ENOSYS;
		}
		err = user_cmpxchg(t, addr, &seen, new);
	} while (!err && seen != *old);
	return err;
}

/* 1, 0, or -ENOSYS. */
static int compare(uint32_t code, uint32_t value)
{
	int32_t old = (int32_t)value, arg = sign_extend12(code & 0xfff);

	switch (code >> 24 & 0xf) {
	case FUTEX_OP_CMP_EQ: return old == arg;
	case FUTEX_OP_CMP_NE: return old != arg;
	case FUTEX_OP_CMP_LT: return old < arg;
	case FUTEX_OP_CMP_LE: return old <= arg;
	case FUTEX_OP_CMP_GT: return old > arg;
	case FUTEX_OP_CMP_GE: return old >= arg;
	default:	      return -ENOSYS;
	}
}

static int64_t wake_op(struct task *t, uint64_t addr, int op, uint32_t nr_wake, uint32_t nr_wake2, uint64_t addr2,
		       uint32_t code)
{
	bool private = op & FUTEX_PRIVATE_FLAG;
	struct vellum_mapping *mapping;
	struct futex_key key;
	int64_t n, more = 0;
	uint32_t old;
	int err = futex_key_get(t, addr2, private, &key, &mapping), also;

	if (err)
		return err;
	vellum_mapping_put(mapping);
	err = futex_key_get(t, addr, private, &key, &mapping);
	if (err)
		return err;
	vellum_mapping_put(mapping);
	err = apply(t, addr2, code, &old);
	also = compare(code, old);
	if (err || also < 0)
		return err ? err : also;
	n = wake(t, addr, private, nr_wake, FUTEX_BITSET_MATCH_ANY);
	if (n >= 0 && also)
		more = wake(t, addr2, private, nr_wake2, FUTEX_BITSET_MATCH_ANY);
	return n < 0 ? n : more < 0 ? more : n + more;
}

int64_t sys_futex(struct task *t, uint64_t uaddr, int op, uint32_t val, uint64_t timeout, uint64_t uaddr2,
		  uint32_t val3)
{
	const int command = op & FUTEX_CMD_MASK;
	const bool private = op & FUTEX_PRIVATE_FLAG;

	if ((op & FUTEX_CLOCK_REALTIME) && command != FUTEX_WAIT_BITSET && command != FUTEX_WAIT &&
	    command != FUTEX_WAIT_REQUEUE_PI && command != FUTEX_LOCK_PI2)
		return -ENOSYS;
	switch (command) {
	case FUTEX_WAIT:	return wait(t, uaddr, op, val, timeout, FUTEX_BITSET_MATCH_ANY);
	case FUTEX_WAIT_BITSET: return wait(t, uaddr, op, val, timeout, val3);
	case FUTEX_WAKE:	return wake(t, uaddr, private, val, FUTEX_BITSET_MATCH_ANY);
	case FUTEX_WAKE_BITSET: return wake(t, uaddr, private, val, val3);
	case FUTEX_REQUEUE:	return requeue(t, uaddr, op, (int)val, (int)timeout, uaddr2, NULL);
	case FUTEX_CMP_REQUEUE: return requeue(t, uaddr, op, (int)val, (int)timeout, uaddr2, &val3);
	case FUTEX_WAKE_OP:	return wake_op(t, uaddr, op, val, (uint32_t)timeout, uaddr2, val3);
	case FUTEX_LOCK_PI:
	case FUTEX_LOCK_PI2:
	case FUTEX_TRYLOCK_PI:	return futex_lock_pi(t, uaddr, op, timeout);
	case FUTEX_UNLOCK_PI:	return futex_unlock_pi(t, uaddr, private);
	case FUTEX_WAIT_REQUEUE_PI:
		return futex_wait_requeue_pi(t, uaddr, op, val, timeout, uaddr2);
	case FUTEX_CMP_REQUEUE_PI:
		return futex_cmp_requeue_pi(t, uaddr, private, (int)val, (int)timeout, uaddr2, val3);
	default:		return -ENOSYS;
	}
}
