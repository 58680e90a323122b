/* SPDX-License-Identifier: MIT */
/* mm/table/notifier.c - notify secondary MMUs before and after entries lose rights or are removed. */
#include "mm/mm.h"
#include "mm/table/pgtable.h"

static bool none_registered(const struct vellum_mm *mm)
{
	return !__atomic_load_n(&mm->notifiers, __ATOMIC_ACQUIRE);
}

void notify_start(struct vellum_mm *mm, enum vellum_notifier_event event, gva_t start, gva_t end)
{
	if (none_registered(mm))
		return;
	read_lock(&mm->notifier_lock, mm_host(mm));
	for (struct vellum_notifier *n = mm->notifiers; n; n = n->next)
		n->start(n->ctx, event, start, end);
	read_unlock(&mm->notifier_lock, mm_host(mm));
}

void notify_finish(struct vellum_mm *mm, enum vellum_notifier_event event, gva_t start, gva_t end)
{
	if (none_registered(mm))
		return;
	read_lock(&mm->notifier_lock, mm_host(mm));
	for (struct vellum_notifier *n = mm->notifiers; n; n = n->next)
		n->finish(n->ctx, event, start, end);
	read_unlock(&mm->notifier_lock, mm_host(mm));
}

void notify_release(struct vellum_mm *mm)
{
	for (struct vellum_notifier *n = mm->notifiers; n; n = n->next)
		if (n->release)
			n->release(n->ctx);
}

/*
 * Operations that hold the mmap lock call finish() only for notifiers whose start() they called, because registering
 * takes the mmap lock for writing. Operations by mapping hold a mapping's lock instead. A notifier that is registered
 * during such an operation may get finish() without start(), and must accept that.
 */
EXPORT void vellum_notifier_register(struct vellum_mm *mm, struct vellum_notifier *notifier)
{
	write_lock(&mm->mmap_lock, mm_host(mm));
	write_lock(&mm->notifier_lock, mm_host(mm));
	notifier->next = mm->notifiers;
	__atomic_store_n(&mm->notifiers, notifier, __ATOMIC_RELEASE);
	write_unlock(&mm->notifier_lock, mm_host(mm));
	write_unlock(&mm->mmap_lock, mm_host(mm));
}

EXPORT void vellum_notifier_unregister(struct vellum_mm *mm, struct vellum_notifier *notifier)
{
	write_lock(&mm->mmap_lock, mm_host(mm));
	write_lock(&mm->notifier_lock, mm_host(mm));
	for (struct vellum_notifier **at = &mm->notifiers; *at; at = &(*at)->next)
		if (*at == notifier) {
			__atomic_store_n(at, notifier->next, __ATOMIC_RELEASE);
			break;
		}
	write_unlock(&mm->notifier_lock, mm_host(mm));
	write_unlock(&mm->mmap_lock, mm_host(mm));
}
