/* SPDX-License-Identifier: MIT */
/* lib/lock.c - mutex and reader/writer lock; see lock.h. */
#include "lib/lock.h"

#ifdef __clang__	/* here the locks are made of atomic words, which the analysis does not know */
#pragma clang diagnostic ignored "-Wthread-safety-analysis"
#endif

#define SPINS 100	/* most holders change a few entries: cheaper to spin than to sleep */

static bool try_change(uint32_t *word, uint32_t from, uint32_t to)
{
	sched_locked();
	return __atomic_compare_exchange_n(word, &from, to, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static void sleep_on(uint32_t *word, uint32_t value, const struct host *host)
{
	host->ops->wait(host->ctx, word, value);
}

void mutex_lock(struct mutex *lock, const struct host *host)
{
	sched_point(SCHED_LOCK, lock);
	for (int i = 0; i < SPINS; i++) {
		/* A load first leaves the cache line with the holder. */
		if (!__atomic_load_n(&lock->word, __ATOMIC_RELAXED) && try_change(&lock->word, 0, 1))
			return;
		cpu_relax();
	}
	sched_locked();
	while (__atomic_exchange_n(&lock->word, 2, __ATOMIC_ACQUIRE) != 0)
		sleep_on(&lock->word, 2, host);
}

bool mutex_trylock(struct mutex *lock)
{
	sched_point(SCHED_LOCK, lock);
	return try_change(&lock->word, 0, 1);
}

void mutex_unlock(struct mutex *lock, const struct host *host)
{
	sched_locked();
	mutex_assert_held(lock);
	if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) == 2)
		host->ops->wake(host->ctx, &lock->word);
	sched_point(SCHED_LOCK, lock);
}

void mutex_lock_both(struct mutex *a, struct mutex *b, const struct host *host)
{
	mutex_lock(a < b ? a : b, host);
	if (a != b)
		mutex_lock(a < b ? b : a, host);
}

void mutex_unlock_both(struct mutex *a, struct mutex *b, const struct host *host)
{
	if (a != b)
		mutex_unlock(b, host);
	mutex_unlock(a, host);
}

void read_lock(struct rwlock *lock, const struct host *host)
{
	sched_point(SCHED_LOCK, lock);
	for (;;) {
		uint32_t old = __atomic_load_n(&lock->word, __ATOMIC_RELAXED);

		if (!(old & (RW_WRITER | RW_PENDING))) {
			if (try_change(&lock->word, old, old + 1))
				return;
		} else if ((old & RW_SLEEPERS) || try_change(&lock->word, old, old | RW_SLEEPERS)) {
			sleep_on(&lock->word, old | RW_SLEEPERS, host);
		}
	}
}

static void wake_sleepers(struct rwlock *lock, const struct host *host)
{
	__atomic_fetch_and(&lock->word, ~(RW_SLEEPERS | RW_PENDING), __ATOMIC_RELAXED);
	host->ops->wake(host->ctx, &lock->word);
}

void read_unlock(struct rwlock *lock, const struct host *host)
{
	uint32_t now;

	sched_locked();
	rwlock_assert_held(lock);
	now = __atomic_sub_fetch(&lock->word, 1, __ATOMIC_RELEASE);

	if (!(now & RW_READERS) && (now & RW_SLEEPERS))
		wake_sleepers(lock, host);
	sched_point(SCHED_LOCK, lock);
}

void write_lock(struct rwlock *lock, const struct host *host)
{
	const uint32_t waiting = RW_SLEEPERS | RW_PENDING;

	sched_point(SCHED_LOCK, lock);
	for (;;) {
		uint32_t old = __atomic_load_n(&lock->word, __ATOMIC_RELAXED);

		if (!(old & (RW_WRITER | RW_READERS))) {
			/* Other pending writers set RW_PENDING again when they wake. */
			if (try_change(&lock->word, old, (old & RW_SLEEPERS) | RW_WRITER))
				return;
		} else if ((old & waiting) == waiting ||
			   try_change(&lock->word, old, old | waiting)) {
			sleep_on(&lock->word, old | waiting, host);
		}
	}
}

void write_unlock(struct rwlock *lock, const struct host *host)
{
	uint32_t old;

	sched_locked();
	rwlock_assert_write_held(lock);
	old = __atomic_fetch_and(&lock->word, ~RW_WRITER, __ATOMIC_RELEASE);
	if (old & RW_SLEEPERS)
		wake_sleepers(lock, host);
	sched_point(SCHED_LOCK, lock);
}

#define GROUP_FIRST	1u
#define GROUP_SECOND	(1u << 16)
#define GROUP_SLEEPERS	(1u << 31)
#define GROUP_FIRST_MASK (GROUP_SECOND - 1)
#define GROUP_SECOND_MASK (~GROUP_FIRST_MASK & ~GROUP_SLEEPERS)

/* Join the group that @one counts, once the group of @others is empty. */
static void group_enter(struct group_lock *lock, uint32_t one, uint32_t others, const struct host *host)
{
	sched_point(SCHED_LOCK, lock);
	for (;;) {
		uint32_t old = __atomic_load_n(&lock->word, __ATOMIC_RELAXED);

		if (!(old & others)) {
			if (try_change(&lock->word, old, old + one))
				return;
		} else if ((old & GROUP_SLEEPERS) || try_change(&lock->word, old, old | GROUP_SLEEPERS)) {
			sleep_on(&lock->word, old | GROUP_SLEEPERS, host);
		}
	}
}

static void group_leave(struct group_lock *lock, uint32_t one, uint32_t mine, const struct host *host)
{
	uint32_t now;

	sched_locked();
	assert_locked(__atomic_load_n(&lock->word, __ATOMIC_RELAXED) & mine);
	now = __atomic_sub_fetch(&lock->word, one, __ATOMIC_RELEASE);
	if ((now & GROUP_SLEEPERS) && !(now & mine)) {
		__atomic_fetch_and(&lock->word, ~GROUP_SLEEPERS, __ATOMIC_RELAXED);
		host->ops->wake(host->ctx, &lock->word);
	}
	sched_point(SCHED_LOCK, lock);
}

void group_enter_first(struct group_lock *lock, const struct host *host)
{
	group_enter(lock, GROUP_FIRST, GROUP_SECOND_MASK, host);
}

void group_leave_first(struct group_lock *lock, const struct host *host)
{
	group_leave(lock, GROUP_FIRST, GROUP_FIRST_MASK, host);
}

void group_enter_second(struct group_lock *lock, const struct host *host)
{
	group_enter(lock, GROUP_SECOND, GROUP_FIRST_MASK, host);
}

bool group_try_enter_second(struct group_lock *lock)
{
	uint32_t old = __atomic_load_n(&lock->word, __ATOMIC_RELAXED);

	sched_point(SCHED_LOCK, lock);
	while (!(old & GROUP_FIRST_MASK)) {
		if (try_change(&lock->word, old, old + GROUP_SECOND))
			return true;
		old = __atomic_load_n(&lock->word, __ATOMIC_RELAXED);
	}
	return false;
}

void group_leave_second(struct group_lock *lock, const struct host *host)
{
	group_leave(lock, GROUP_SECOND, GROUP_SECOND_MASK, host);
}
