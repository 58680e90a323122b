/* SPDX-License-Identifier: MIT */
/* abi/host.c - the hooks of the host for the memory of programs: signals, and waits for user space. */
#define _GNU_SOURCE
#include "abi/task.h"

static int interrupted_hook(void *host)
{
	struct task *t = task_current();

	(void)host;
	if (!t)
		return 0;
	if (t->must_not_wait || signal_fatal_pending(t))
		return VELLUM_KILLED;
	if (t->gives_up) {
		t->gives_up = false;
		return VELLUM_INTERRUPTED;
	}
	return t->interruptible && signal_pending(t) ? VELLUM_INTERRUPTED : 0;
}

/*
 * The thread has closed the gate, so no reader can run. If it waits until an event is read, it keeps the event for the
 * reader. The wait for a fault's resolution fails. A reader outside may have read the event: then the word has changed.
 */
static void wait_at_closed_gate(struct task *t, const uint32_t *word, uint32_t value)
{
	if (uffds_take_event(t, word))
		t->took_events = true;
	else
		t->gives_up = __atomic_load_n(word, __ATOMIC_ACQUIRE) == value;
}

/* Other threads run the program meanwhile. No lock held. */
static void wait_for_user_hook(void *host, uint32_t *word, uint32_t value)
{
	struct task *t = task_current();
	bool inside = t && t->inside, in_host = t && t->in_host;
	struct guest_mm *other = t ? t->other_gmm : NULL;

	if (t && mm_gate_is_mine(t)) {
		wait_at_closed_gate(t, word, value);
		return;
	}
	if (t)
		host_call_begin(t);
	if (other)
		gmm_gate_leave(other, t);
	vellum_host_posix()->wait(host, word, value);
	if (!t)
		return;
	__atomic_store_n(&t->in_host, in_host, __ATOMIC_SEQ_CST);
	if (other)
		gmm_gate_enter(other, t);
	if (inside)
		mm_gate_enter(t);
}

static uint32_t thread_id_hook(void *host)
{
	const struct task *t = task_current();

	(void)host;
	return t ? (uint32_t)t->tid : 0;
}

const struct vellum_host_ops *abi_host(void)
{
	static struct vellum_host_ops ops;

	ops = *vellum_host_posix();
	ops.interrupted = interrupted_hook;
	ops.wait_for_user = wait_for_user_hook;
	ops.thread_id = thread_id_hook;
	return &ops;
}
