/* SPDX-License-Identifier: MIT */
/* abi/sys_robust.c - robust mutexes: get_robust_list(2), set_robust_list(2). */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>

#include "abi/futex.h"

#include "syscalls.h"	/* made from syscall.tbl */

#define MAX_ROBUST 2048		/* entries of a list; a program may have linked it to a circle */

int64_t sys_set_robust_list(struct task *t, uint64_t head, uint64_t len)
{
	if (len != sizeof(struct robust_list_head))
		return -EINVAL;
	t->robust_list = head;
	return 0;
}

int64_t sys_get_robust_list(struct task *t, int pid, uint64_t head, uint64_t len)
{
	const uint64_t size = sizeof(struct robust_list_head);
	const struct task *other;
	uint64_t list = 0;

	pthread_mutex_lock(&t->kernel->lock);
	other = pid ? task_find(t->kernel, pid) : t;
	if (other)
		list = other->robust_list;
	pthread_mutex_unlock(&t->kernel->lock);
	if (!other)
		return -ESRCH;
	return user_write(t, len, &size, sizeof(size)) || user_write(t, head, &list, sizeof(list)) ? -EFAULT : 0;
}

/*
 * The owner @t of the mutex at @addr has ended: mark it, and wake a waiter. @pi: futex_leave_pi() will. @pending: it may
 * not have locked it yet.
 */
static void release_robust(struct task *t, uint64_t addr, bool pi, bool pending)
{
	uint32_t word, seen;

	if (addr % sizeof(seen) || user_read(t, &seen, addr, sizeof(seen)))
		return;
	do {
		word = seen;
		if (pending && !pi && !word) {		/* unlocked, but the wake was not sent any more */
			futex_wake(t, addr, 1);
			return;
		}
		if ((word & FUTEX_TID_MASK) != (uint32_t)t->tid)
			return;
		if (user_cmpxchg(t, addr, &seen, (word & FUTEX_WAITERS) | FUTEX_OWNER_DIED))
			return;
	} while (seen != word);
	if (!pi && (word & FUTEX_WAITERS))
		futex_wake(t, addr, 1);
}

/* Bit 0 of a link: the mutex has priority inheritance. */
static void release_linked(struct task *t, uint64_t link, uint64_t offset, bool pending)
{
	release_robust(t, (link & ~1ull) + offset, link & 1, pending);
}

static void release_list(struct task *t)
{
	struct { uint64_t next, offset, pending; } head;
	uint64_t link, next;

	if (!t->robust_list || user_read(t, &head, t->robust_list, sizeof(head)))
		return;
	link = head.next;
	for (unsigned i = 0; i < MAX_ROBUST && (link & ~1ull) && (link & ~1ull) != t->robust_list; i++) {
		bool last = user_read(t, &next, link & ~1ull, sizeof(next));

		if ((link & ~1ull) != (head.pending & ~1ull))
			release_linked(t, link, head.offset, false);
		if (last)
			break;
		link = next;
	}
	if (head.pending & ~1ull)
		release_linked(t, head.pending, head.offset, true);
	t->robust_list = 0;
}

void futex_leave(struct task *t)
{
	release_list(t);
	futex_leave_pi(t);
}
