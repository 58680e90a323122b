/* SPDX-License-Identifier: MIT */
/*
 * lib/lock.h - sleeping locks of one word each, on the host's wait() and wake().
 *
 * One word, because the metadata of every frame has a lock. All-zero is unlocked.
 */
#ifndef LIB_LOCK_H
#define LIB_LOCK_H

#include "lib/annotate.h"
#include "lib/host.h"
#include "lib/sched.h"

struct CAPABILITY("mutex") mutex {
	uint32_t word;	/* 0 free; 1 locked; 2 locked, and a thread may sleep */
};

struct CAPABILITY("rwlock") rwlock {
	uint32_t word;	/* RW_* flags and the number of readers */
};

/*
 * Two groups of threads that exclude each other. Threads of one group do not exclude each other. The one group lock is
 * memory->frame_refs (mm/frame/folio.h). First group: forks, MADV_COLLAPSE, frees of page tables. Second group: fast
 * pins and reclaim's clock hand.
 */
struct group_lock {
	uint32_t word;	/* bits 0-15: members of the first group; bits 16-30: of the second; bit 31: a thread sleeps */
};

void mutex_lock(struct mutex *lock, const struct host *host) ACQUIRES(lock);
bool mutex_trylock(struct mutex *lock) TRY_ACQUIRES(true, lock);
void mutex_unlock(struct mutex *lock, const struct host *host) RELEASES(lock);
/* Two mutexes of one kind, in the order of their addresses. They may be the same. */
void mutex_lock_both(struct mutex *a, struct mutex *b, const struct host *host) ACQUIRES(a, b);
void mutex_unlock_both(struct mutex *a, struct mutex *b, const struct host *host) RELEASES(a, b);
void read_lock(struct rwlock *lock, const struct host *host) ACQUIRES_SHARED(lock);
void read_unlock(struct rwlock *lock, const struct host *host) RELEASES_SHARED(lock);
void write_lock(struct rwlock *lock, const struct host *host) ACQUIRES(lock);
void write_unlock(struct rwlock *lock, const struct host *host) RELEASES(lock);

void group_enter_first(struct group_lock *lock, const struct host *host);	/* waits for the second to leave */
void group_leave_first(struct group_lock *lock, const struct host *host);
bool group_try_enter_second(struct group_lock *lock);	/* false: the first group has members */
void group_enter_second(struct group_lock *lock, const struct host *host);	/* waits for the first to leave */
void group_leave_second(struct group_lock *lock, const struct host *host);

/* Tells the processor that the thread spins. Nothing on other processors than x86. */
static inline void cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#endif
}

static inline bool mutex_is_locked(const struct mutex *lock)
{
	return __atomic_load_n(&lock->word, __ATOMIC_RELAXED) != 0;
}

/* The word of a rwlock; the low bits count readers. */
#define RW_WRITER	(1u << 31)
#define RW_SLEEPERS	(1u << 30)	/* a thread waits in the host */
#define RW_PENDING	(1u << 29)	/* a writer waits: new readers wait, so that writers do not starve */
#define RW_READERS	(RW_PENDING - 1)

/* True if a thread holds the lock for writing, or (if @write is false) if any thread holds it. */
static inline bool rwlock_is_locked(const struct rwlock *lock, bool write)
{
	return __atomic_load_n(&lock->word, __ATOMIC_RELAXED) & (write ? RW_WRITER : RW_WRITER | RW_READERS);
}

/*
 * A function that reads or changes what a lock protects may say so with one of these. Test builds (VELLUM_ASSERT_LOCKS)
 * end the process if no thread holds the lock; other builds check nothing. So do the functions that unlock.
 */
#ifdef VELLUM_ASSERT_LOCKS
#define assert_locked(condition) do { if (!(condition)) __builtin_trap(); } while (0)
#else
#define assert_locked(condition) do { } while (0)
#endif

static inline void mutex_assert_held(const struct mutex *lock) ASSERTS_HELD(lock)
{
	(void)lock;
	assert_locked(mutex_is_locked(lock));
}

static inline void rwlock_assert_held(const struct rwlock *lock) ASSERTS_HELD_SHARED(lock)
{
	(void)lock;
	assert_locked(rwlock_is_locked(lock, false));
}

static inline void rwlock_assert_write_held(const struct rwlock *lock) ASSERTS_HELD(lock)
{
	(void)lock;
	assert_locked(rwlock_is_locked(lock, true));
}

#endif
