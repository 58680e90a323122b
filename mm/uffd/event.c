/* SPDX-License-Identifier: MIT */
/*
 * mm/uffd/event.c - events of userfaultfd: operations on VMAs report themselves to contexts.
 *
 * An event is allocated before the operation changes anything. FORK, REMAP and UNMAP are delivered after the operation,
 * REMOVE is delivered before the pages are zapped. No lock is held during the delivery. The delivering thread waits
 * until the event was read. The wait also ends if the context is closed or the thread is interrupted; an unread message
 * is dropped then. From the allocation to the end of the delivery (mmap_changing), the context's calls that install
 * pages return -EAGAIN: their address may just have become another VMA's.
 */
#include "mm/space/space.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

struct uffd_event *uffd_event_new(struct vellum_uffd *ctx, uint8_t event)
{
	struct uffd_event *ev = host_alloc(&ctx->memory->host, sizeof(*ev));

	if (!ev)
		return NULL;
	uffd_ref_get(ctx);
	ev->ctx = ctx;
	ev->msg.event = event;
	__atomic_fetch_add(&ctx->mmap_changing, 1, __ATOMIC_SEQ_CST);
	return ev;
}

static void end_event(struct uffd_event *ev)
{
	struct vellum_uffd *ctx = ev->ctx;
	struct vellum_memory *m = ctx->memory;

	__atomic_fetch_sub(&ctx->mmap_changing, 1, __ATOMIC_SEQ_CST);
	host_free(&m->host, ev, sizeof(*ev));
	uffd_ref_put(ctx);
}

/* Drop the reference in a message that was not read. */
static void drop_message(struct uffd_event *ev)
{
	if (ev->msg.event == VELLUM_UFFD_EVENT_FORK)
		vellum_uffd_put(ev->msg.arg.fork.child);
}

void uffd_event_cancel(struct uffd_event *ev)
{
	drop_message(ev);
	end_event(ev);
}

/* False: the context is closed. */
static bool enqueue(struct uffd_event *ev)
{
	struct vellum_uffd *ctx = ev->ctx;
	struct uffd_event **at = &ctx->events;
	bool ok;

	mutex_lock(&ctx->lock, &ctx->memory->host);
	ok = !__atomic_load_n(&ctx->released, __ATOMIC_SEQ_CST);
	if (ok) {
		while (*at)
			at = &(*at)->next;
		ev->next = NULL;
		ev->queued = true;
		*at = ev;
		uffd_activity(ctx);
	}
	mutex_unlock(&ctx->lock, &ctx->memory->host);
	return ok;
}

/* Remove the event from its context's queue, if it is still there. */
static void unqueue(struct vellum_uffd *ctx, struct uffd_event *ev) HOLDS(&ctx->lock)
{
	struct uffd_event **at = &ctx->events;

	while (*at && *at != ev)
		at = &(*at)->next;
	if (*at)
		*at = ev->next;
}

static void uffd_event_deliver(struct uffd_event *ev)
{
	struct vellum_uffd *ctx = ev->ctx;
	const struct host *host = &ctx->memory->host;
	bool taken = false;

	if (enqueue(ev)) {
		while (!__atomic_load_n(&ev->done, __ATOMIC_ACQUIRE)) {
			if (host_interrupted(host))
				break;
			host_wait_for_user(host, &ev->done, 0);
		}
		mutex_lock(&ctx->lock, host);	/* the reader has finished with @ev */
		taken = !ev->queued;
		if (!taken)
			unqueue(ctx, ev);
		mutex_unlock(&ctx->lock, host);
	}
	if (!taken)
		drop_message(ev);
	end_event(ev);
}

/* --- events of an operation that holds the mmap lock for writing --- */

static void uffd_event_defer(struct vellum_mm *mm, struct uffd_event *ev)
{
	struct uffd_event **at = &mm->deferred_events;

	while (*at)
		at = &(*at)->next;
	ev->next = NULL;
	*at = ev;
}

void uffd_event_defer_after(struct vellum_mm *mm, struct uffd_event *ev, gva_t target)
{
	struct uffd_event **at = &mm->deferred_events;

	while (*at && (*at)->msg.event == VELLUM_UFFD_EVENT_UNMAP && (*at)->msg.arg.remove.start == target)
		at = &(*at)->next;
	ev->next = *at;
	*at = ev;
}

/* An unmap event for exactly this range and context is deferred already: do not send a second one. */
static bool unmap_is_deferred(const struct vellum_mm *mm, const struct vellum_uffd *ctx, gva_t start, gva_t end)
{
	for (const struct uffd_event *ev = mm->deferred_events; ev; ev = ev->next)
		if (ev->ctx == ctx && ev->msg.event == VELLUM_UFFD_EVENT_UNMAP &&
		    ev->msg.arg.remove.start == start && ev->msg.arg.remove.end == end)
			return true;
	return false;
}

int uffd_unmap_prepare(struct vellum_mm *mm, gva_t start, gva_t end)
{
	if (!__atomic_load_n(&mm->uffds, __ATOMIC_RELAXED))
		return 0;	/* no VMA has a context, and the mmap lock keeps any from getting one */
	for (struct vma *vma = find_vma_intersection(mm, start, end); vma && vma->start < end; vma = vma_next(vma)) {
		struct uffd_event *ev;

		if (!vma->uffd || !uffd_has(vma->uffd, VELLUM_UFFD_FEATURE_EVENT_UNMAP) ||
		    unmap_is_deferred(mm, vma->uffd, start, end))
			continue;
		ev = uffd_event_new(vma->uffd, VELLUM_UFFD_EVENT_UNMAP);
		if (!ev)
			return -ENOMEM;
		ev->msg.arg.remove.start = start;
		ev->msg.arg.remove.end = end;
		uffd_event_defer(mm, ev);
	}
	return 0;
}

void uffd_unmap_cancel(struct vellum_mm *mm, gva_t start, gva_t end)
{
	struct uffd_event **at = &mm->deferred_events;

	while (*at) {
		struct uffd_event *ev = *at;

		if (ev->msg.event == VELLUM_UFFD_EVENT_UNMAP && ev->msg.arg.remove.start == start &&
		    ev->msg.arg.remove.end == end) {
			*at = ev->next;
			uffd_event_cancel(ev);
		} else {
			at = &ev->next;
		}
	}
}

void mmap_write_unlock_and_deliver(struct vellum_mm *mm)
{
	struct uffd_event *ev = mm->deferred_events, *next;

	mm->deferred_events = NULL;
	write_unlock(&mm->mmap_lock, mm_host(mm));
	for (; ev; ev = next) {
		next = ev->next;
		uffd_event_deliver(ev);
	}
}

bool uffd_remove_event(struct vma *vma, gva_t start, gva_t end, int *err)
	NO_LOCK_ANALYSIS	/* drops and retakes the lock, which callers reach as mm->mmap_lock */
{
	struct vellum_mm *mm = vma->mm;
	struct uffd_event *ev;

	*err = 0;
	if (!vma->uffd || !uffd_has(vma->uffd, VELLUM_UFFD_FEATURE_EVENT_REMOVE))
		return false;
	ev = uffd_event_new(vma->uffd, VELLUM_UFFD_EVENT_REMOVE);
	if (!ev) {
		*err = -ENOMEM;
		return false;
	}
	ev->msg.arg.remove.start = start;
	ev->msg.arg.remove.end = end;
	read_unlock(&mm->mmap_lock, mm_host(mm));
	uffd_event_deliver(ev);
	read_lock(&mm->mmap_lock, mm_host(mm));
	return true;
}

/* --- fork: the child has contexts of its own, or none --- */

/* The child's context for one of the parent's, created at its first VMA. NULL: no memory. */
static struct vellum_uffd *child_context(struct uffd_fork *uf, struct vellum_uffd *parent)
{
	struct uffd_event *ev, **at = &uf->events;
	struct vellum_uffd *child;

	for (ev = uf->events; ev; ev = ev->next)
		if (ev->ctx == parent)
			return ev->msg.arg.fork.child;
	/*
	 * Allocate the event before the context: undoing uffd_new() would close the context, which takes the child's
	 * mmap_lock, which fork holds: deadlock.
	 */
	ev = uffd_event_new(parent, VELLUM_UFFD_EVENT_FORK);
	if (!ev)
		return NULL;
	if (uffd_new(uf->child, parent->flags, &child)) {
		uffd_event_cancel(ev);
		return NULL;
	}
	child->features = parent->features;
	child->api_done = 1;
	ev->msg.arg.fork.child = child;
	while (*at)
		at = &(*at)->next;
	ev->next = NULL;
	*at = ev;
	return child;
}

int uffd_fork_vma(struct uffd_fork *uf, const struct vma *src, struct vma *copy)
{
	struct vellum_uffd *ctx;

	if (!src->uffd || !uffd_has(src->uffd, VELLUM_UFFD_FEATURE_EVENT_FORK)) {
		vma_set_uffd(copy, NULL, 0);
		return 0;
	}
	ctx = child_context(uf, src->uffd);
	if (!ctx) {
		vma_set_uffd(copy, NULL, 0);
		return -ENOMEM;
	}
	vma_set_uffd(copy, ctx, src->flags & VM_UFFD);
	return 0;
}

void uffd_fork_done(struct uffd_fork *uf)
{
	struct uffd_event *ev = uf->events, *next;

	for (; ev; ev = next) {
		next = ev->next;
		uffd_event_deliver(ev);
	}
}

void uffd_fork_failed(struct uffd_fork *uf)
{
	struct uffd_event *ev = uf->events, *next;

	for (; ev; ev = next) {
		next = ev->next;
		uffd_event_cancel(ev);
	}
}
