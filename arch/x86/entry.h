/* SPDX-License-Identifier: MIT */
/*
 * arch/x86/entry.h - the only accessors of live page-table entries.
 *
 * A CPU may set A and D in an entry at any moment. So every read is one atomic load, and every change of a live entry
 * is one atomic read-modify-write that keeps a bit set in between. The orders are acquire and release, which x86
 * locked instructions have anyway. They pair with the page-table lock, and with the CPU's own locked update of A and
 * D.
 */
#ifndef ARCH_X86_ENTRY_H
#define ARCH_X86_ENTRY_H

#include "arch/x86/pgtable.h"
#include "lib/sched.h"

static inline uint64_t entry_load(const uint64_t *entry)
{
	sched_point(SCHED_ENTRY, entry);
	return sched_load(entry, __ATOMIC_ACQUIRE);
}

/* Only if no CPU can use the old value: it is not present, the table is not linked yet, or walks are stopped. */
static inline void entry_store(uint64_t *entry, uint64_t val)
{
	sched_point(SCHED_ENTRY, entry);
	sched_store(entry, val, __ATOMIC_RELEASE);
}

static inline uint64_t entry_exchange(uint64_t *entry, uint64_t val)
{
	sched_point(SCHED_ENTRY, entry);
	sched_locked();
	return __atomic_exchange_n(entry, val, __ATOMIC_ACQ_REL);
}

/* *@old is updated on failure, so that the caller can loop. */
static inline bool entry_cmpxchg(uint64_t *entry, uint64_t *old, uint64_t val)
{
	sched_point(SCHED_ENTRY, entry);
	sched_locked();
	return __atomic_compare_exchange_n(entry, old, val, false, __ATOMIC_ACQ_REL,
					   __ATOMIC_ACQUIRE);
}

static inline void entry_set_bits(uint64_t *entry, uint64_t bits)
{
	sched_point(SCHED_ENTRY, entry);
	sched_locked();
	__atomic_fetch_or(entry, bits, __ATOMIC_ACQ_REL);
}

static inline void entry_clear_bits(uint64_t *entry, uint64_t bits)
{
	sched_point(SCHED_ENTRY, entry);
	sched_locked();
	__atomic_fetch_and(entry, ~bits, __ATOMIC_ACQ_REL);
}

/*
 * A thread steps down through a table entry to change entries below: set A, as a CPU's walk does. A restore of a
 * snapshot clears it, and looks only below entries that have it.
 */
static inline void entry_touch(uint64_t *entry, uint64_t val)
{
	if (unlikely(!(val & X86_ACCESSED)))
		entry_set_bits(entry, X86_ACCESSED);
}

/* Remove a table or a leaf. A stays, for the next restore of a snapshot. Return: the old value. */
static inline uint64_t entry_remove(uint64_t *entry)
{
	return entry_exchange(entry, X86_ACCESSED);
}

static inline pte_t ptep_get(const pte_t *ptep)
{
	return pte_make(entry_load(&ptep->val));
}

static inline void ptep_set(pte_t *ptep, pte_t pte)
{
	entry_store(&ptep->val, pte.val);
}

/* Clear the entry for the hardware. The returned A and D are final. */
static inline pte_t ptep_get_and_clear(pte_t *ptep)
{
	return pte_make(entry_exchange(&ptep->val, 0));
}

static inline bool ptep_cmpxchg(pte_t *ptep, pte_t *old, pte_t pte)
{
	return entry_cmpxchg(&ptep->val, &old->val, pte.val);
}

/* Apply a pure function to a live entry. Return: the old value. */
static inline pte_t ptep_update(pte_t *ptep, pte_t (*change)(pte_t))
{
	pte_t old = ptep_get(ptep);

	while (!ptep_cmpxchg(ptep, &old, change(old)))
		;
	return old;
}

#endif
