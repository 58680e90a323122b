/* SPDX-License-Identifier: MIT */
/*
 * mm/uffd/wait.c - faults that wait for user space, and the messages about them.
 *
 * A fault queues its message while it holds the mmap lock, and then reads the entry again. The thread that resolves it
 * changes the entry first and wakes afterwards. So either the fault sees the new entry or it is woken. It waits with
 * no lock held, and then retries.
 */
#include "mm/fault/fault.h"
#include "mm/mm.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/uffd/uffd.h"

static void list_add(struct uffd_wait_list *list, struct uffd_wait *w)
{
	w->next = NULL;
	w->prev = list->last;
	if (list->last)
		list->last->next = w;
	else
		list->first = w;
	list->last = w;
}

static void list_del(struct uffd_wait_list *list, struct uffd_wait *w)
{
	if (w->next)
		w->next->prev = w->prev;
	else
		list->last = w->prev;
	if (w->prev)
		w->prev->next = w->next;
	else
		list->first = w->next;
}

/* ctx->lock held. */
static struct uffd_wait_list *list_of(struct vellum_uffd *uffd, const struct uffd_wait *w) HOLDS(&uffd->lock)
{
	return w->read ? &uffd->read : &uffd->pending;
}

/* ctx->lock held. The wait is in no list afterwards. */
static void wake(struct vellum_uffd *uffd, struct uffd_wait *w) HOLDS(&uffd->lock)
{
	const struct host *host = &uffd->memory->host;

	list_del(list_of(uffd, w), w);
	__atomic_store_n(&w->woken, 1, __ATOMIC_RELEASE);
	host->ops->wake(host->ctx, &w->woken);
}

void uffd_activity(struct vellum_uffd *uffd)
{
	const struct host *host = &uffd->memory->host;

	__atomic_fetch_add(&uffd->activity, 1, __ATOMIC_SEQ_CST);
	host->ops->wake(host->ctx, &uffd->activity);
	if (uffd->on_activity)
		uffd->on_activity(uffd->activity_arg);
}

/* --- the fault's side --- */

static uint32_t thread_id(const struct vellum_uffd *uffd)
{
	const struct host *host = &uffd->memory->host;

	if (!uffd_has(uffd, VELLUM_UFFD_FEATURE_THREAD_ID) || !host->ops->thread_id)
		return 0;
	return host->ops->thread_id(host->ctx);
}

static void queue(struct fault *f, struct vellum_uffd *uffd, uint32_t reason)
{
	struct uffd_wait *w = f->wait;

	w->flags = reason | (f->flags & FAULT_WRITE ? VELLUM_UFFD_FLAG_WRITE : 0);
	w->address = uffd_has(uffd, VELLUM_UFFD_FEATURE_EXACT_ADDRESS) ? f->exact : f->addr;
	w->ptid = thread_id(uffd);
	w->read = false;
	__atomic_store_n(&w->woken, 0, __ATOMIC_RELAXED);
	uffd_ref_get(uffd);
	w->ctx = uffd;
	mutex_lock(&uffd->lock, &uffd->memory->host);
	list_add(&uffd->pending, w);
	uffd_activity(uffd);
	mutex_unlock(&uffd->lock, &uffd->memory->host);
}

static void dequeue(struct uffd_wait *w)
{
	struct vellum_uffd *uffd = w->ctx;

	/* The waker holds the lock while it uses @w, which is on our stack. */
	mutex_lock(&uffd->lock, &uffd->memory->host);
	if (!__atomic_load_n(&w->woken, __ATOMIC_ACQUIRE))
		list_del(list_of(uffd, w), w);
	mutex_unlock(&uffd->lock, &uffd->memory->host);
	w->ctx = NULL;
	uffd_ref_put(uffd);
}

/* The fault is not resolved yet. Entries are read without their lock. */
static bool must_wait(const struct fault *f, uint32_t reason)
{
	struct mutex *ptl;
	struct leaf leaf;
	const pte_t *ptep;
	pte_t pte;

	if (huge_lookup(f->vma->mm, f->addr, &leaf))
		return reason == UFFD_REASON_WP && !leaf_write(entry_load(leaf.entry));
	ptep = pte_lookup(f->vma->mm, f->addr, &ptl);
	pte = ptep ? ptep_get(ptep) : pte_make(0);
	if (pte_none_or_wp_marker(pte))
		return true;
	return reason == UFFD_REASON_WP && pte_present(pte) && !pte_write(pte);
}

enum vm_fault uffd_fault(struct fault *f, uint32_t reason)
{
	struct vellum_uffd *uffd = f->vma->uffd;

	if (!uffd || uffd_has(uffd, VELLUM_UFFD_FEATURE_SIGBUS))
		return VM_FAULT_SIGBUS;
	if (!f->wait || (!(f->flags & FAULT_USER) && (uffd->flags & VELLUM_UFFD_USER_MODE_ONLY)))
		return VM_FAULT_SIGBUS;
	/* vellum_uffd_close() first unregisters this VMA, which needs the mmap lock, and then wakes all faults. */
	queue(f, uffd, reason);
	if (must_wait(f, reason))
		mm_count(f->vma->mm, VELLUM_COUNT_FAULT_UFFD);
	else
		dequeue(f->wait);	/* resolved already: retry at once */
	return VM_FAULT_WAIT;
}

#define SPINS 200	/* often the fault is resolved soon: cheaper to spin than to sleep */

static void spin_while(const uint32_t *word, uint32_t value)
{
	for (int i = 0; i < SPINS && __atomic_load_n(word, __ATOMIC_RELAXED) == value; i++)
		cpu_relax();
}

bool uffd_wait_resolved(struct uffd_wait *wait, const struct host *host)
{
	if (!wait->ctx)
		return true;
	spin_while(&wait->woken, 0);
	while (!__atomic_load_n(&wait->woken, __ATOMIC_ACQUIRE)) {
		if (host_interrupted(host)) {
			dequeue(wait);
			return false;
		}
		host_wait_for_user(host, &wait->woken, 0);
	}
	dequeue(wait);
	return true;
}

/* --- waking --- */

static void wake_list(struct vellum_uffd *uffd, struct uffd_wait_list *list, gva_t start, gva_t end)
	HOLDS(&uffd->lock)
{
	struct uffd_wait *next;

	for (struct uffd_wait *w = list->first; w; w = next) {
		next = w->next;
		if (w->address >= start && w->address < end)
			wake(uffd, w);
	}
}

void uffd_wake_range(struct vellum_uffd *uffd, gva_t start, gva_t end)
{
	mutex_lock(&uffd->lock, &uffd->memory->host);
	wake_list(uffd, &uffd->pending, start, end);
	wake_list(uffd, &uffd->read, start, end);
	mutex_unlock(&uffd->lock, &uffd->memory->host);
}

EXPORT int vellum_uffd_wake(struct vellum_uffd *uffd, uint64_t start, uint64_t len)
{
	if (!uffd_ready(uffd) || ((start | len) & ~PAGE_MASK) || !is_user_range(start, len))
		return -EINVAL;
	uffd_wake_range(uffd, start, start + len);
	return 0;
}

/* --- the reader's side --- */

/* ctx->lock held. */
static void take_fault_message(struct vellum_uffd *uffd, struct vellum_uffd_msg *msg) HOLDS(&uffd->lock)
{
	struct uffd_wait *w = uffd->pending.first;

	*msg = (struct vellum_uffd_msg){ .event = VELLUM_UFFD_EVENT_PAGEFAULT };
	msg->arg.pagefault.flags = w->flags;
	msg->arg.pagefault.address = w->address;
	msg->arg.pagefault.ptid = w->ptid;
	list_del(&uffd->pending, w);
	w->read = true;
	list_add(&uffd->read, w);
}

/* Of the event at @at. ctx->lock held. Wakes the thread that waits for the event to be read. */
static void take_event_message(struct vellum_uffd *uffd, struct uffd_event **at, struct vellum_uffd_msg *msg)
	HOLDS(&uffd->lock)
{
	const struct host *host = &uffd->memory->host;
	struct uffd_event *ev = *at;

	*at = ev->next;
	ev->queued = false;
	*msg = ev->msg;
	__atomic_store_n(&ev->done, 1, __ATOMIC_RELEASE);
	host->ops->wake(host->ctx, &ev->done);
}

static uint32_t take_messages(struct vellum_uffd *uffd, struct vellum_uffd_msg *msg, uint32_t nr)
{
	uint32_t got = 0;

	mutex_lock(&uffd->lock, &uffd->memory->host);
	while (got < nr && uffd->pending.first)
		take_fault_message(uffd, &msg[got++]);
	while (got < nr && uffd->events)
		take_event_message(uffd, &uffd->events, &msg[got++]);
	mutex_unlock(&uffd->lock, &uffd->memory->host);
	return got;
}

EXPORT int vellum_uffd_read(struct vellum_uffd *uffd, struct vellum_uffd_msg *msg, uint32_t nr, bool wait,
			    uint32_t *got)
{
	const struct host *host = &uffd->memory->host;

	if (!nr)
		return -EINVAL;
	for (;;) {
		uint32_t seen = __atomic_load_n(&uffd->activity, __ATOMIC_SEQ_CST);

		if (!uffd_ready(uffd))
			return -EINVAL;
		*got = take_messages(uffd, msg, nr);
		if (*got)
			return 0;
		if (!wait)
			return -EAGAIN;
		if (host_interrupted(host))
			return -EINTR;
		spin_while(&uffd->activity, seen);
		host_wait_for_user(host, &uffd->activity, seen);
	}
}

EXPORT int vellum_uffd_take_event(struct vellum_uffd *uffd, const uint32_t *word, struct vellum_uffd_msg *msg)
{
	struct uffd_event **at = &uffd->events;
	bool found;

	mutex_lock(&uffd->lock, &uffd->memory->host);
	while (*at && &(*at)->done != word)
		at = &(*at)->next;
	found = *at;
	if (found)
		take_event_message(uffd, at, msg);
	mutex_unlock(&uffd->lock, &uffd->memory->host);
	return found ? 0 : -ENOENT;
}

EXPORT int vellum_uffd_poll(struct vellum_uffd *uffd)
{
	int ready;

	if (!uffd_ready(uffd))
		return -EINVAL;
	mutex_lock(&uffd->lock, &uffd->memory->host);
	ready = uffd->pending.first || uffd->events;
	mutex_unlock(&uffd->lock, &uffd->memory->host);
	return ready;
}

static uint64_t list_len(const struct uffd_wait_list *list)
{
	uint64_t len = 0;

	for (const struct uffd_wait *w = list->first; w; w = w->next)
		len++;
	return len;
}

EXPORT void vellum_uffd_count(struct vellum_uffd *uffd, uint64_t *pending, uint64_t *total)
{
	mutex_lock(&uffd->lock, &uffd->memory->host);
	*pending = list_len(&uffd->pending);
	*total = *pending + list_len(&uffd->read);
	mutex_unlock(&uffd->lock, &uffd->memory->host);
}

EXPORT void vellum_uffd_on_activity(struct vellum_uffd *uffd, void (*fn)(void *arg), void *arg)
{
	mutex_lock(&uffd->lock, &uffd->memory->host);
	uffd->on_activity = fn;
	uffd->activity_arg = arg;
	mutex_unlock(&uffd->lock, &uffd->memory->host);
}

void uffd_drop_waits(struct vellum_uffd *uffd)
{
	const struct host *host = &uffd->memory->host;

	mutex_lock(&uffd->lock, host);
	wake_list(uffd, &uffd->pending, 0, ~0ull);
	wake_list(uffd, &uffd->read, 0, ~0ull);
	while (uffd->events) {
		struct uffd_event *ev = uffd->events;

		uffd->events = ev->next;	/* queued stays set: its message was not read */
		__atomic_store_n(&ev->done, 1, __ATOMIC_RELEASE);
		host->ops->wake(host->ctx, &ev->done);
	}
	uffd_activity(uffd);
	mutex_unlock(&uffd->lock, host);
}
