/* SPDX-License-Identifier: MIT */
/* mm/table/notifier.c - notify secondary MMUs before and after entries lose rights or are removed. */
#include "lib/sized.h"
#include "mm/mm.h"
#include "mm/table/pgtable.h"

/* A registered notifier: a copy, at the size known here. */
struct notifier {
	struct notifier *next;
	const struct vellum_notifier *given;	/* names it to vellum_notifier_unregister() */
	struct vellum_notifier ops;
};

static bool none_registered(const struct vellum_mm *mm)
{
	return !__atomic_load_n(&mm->notifiers, __ATOMIC_ACQUIRE);
}

void notify_start(struct vellum_mm *mm, enum vellum_notifier_event event, gva_t start, gva_t end)
{
	if (none_registered(mm))
		return;
	read_lock(&mm->notifier_lock, mm_host(mm));
	for (struct notifier *n = mm->notifiers; n; n = n->next)
		n->ops.start(n->ops.ctx, event, start, end);
	read_unlock(&mm->notifier_lock, mm_host(mm));
}

void notify_finish(struct vellum_mm *mm, enum vellum_notifier_event event, gva_t start, gva_t end)
{
	if (none_registered(mm))
		return;
	read_lock(&mm->notifier_lock, mm_host(mm));
	for (struct notifier *n = mm->notifiers; n; n = n->next)
		n->ops.finish(n->ops.ctx, event, start, end);
	read_unlock(&mm->notifier_lock, mm_host(mm));
}

void notify_release(struct vellum_mm *mm)
{
	while (mm->notifiers) {
		struct notifier *n = mm->notifiers;

		if (n->ops.release)
			n->ops.release(n->ops.ctx);
		mm->notifiers = n->next;
		host_free(mm_host(mm), n, sizeof(*n));
	}
}

/*
 * Operations that hold the mmap lock call finish() only for notifiers whose start() they called, because registering
 * takes the mmap lock for writing. Operations by mapping hold a mapping's lock instead. A notifier that is registered
 * during such an operation may get finish() without start(), and must accept that.
 */
EXPORT int vellum_notifier_register(struct vellum_mm *mm, const struct vellum_notifier *notifier)
{
	struct vellum_notifier ops;
	struct notifier *n;
	int err = notifier ? FROM_CALLER(&ops, notifier) : -EINVAL;

	if (err)
		return err;
	if (!ops.start || !ops.finish)
		return -EINVAL;
	n = host_alloc(mm_host(mm), sizeof(*n));
	if (!n)
		return -ENOMEM;
	n->given = notifier;
	n->ops = ops;
	write_lock(&mm->mmap_lock, mm_host(mm));
	write_lock(&mm->notifier_lock, mm_host(mm));
	n->next = mm->notifiers;
	__atomic_store_n(&mm->notifiers, n, __ATOMIC_RELEASE);
	write_unlock(&mm->notifier_lock, mm_host(mm));
	write_unlock(&mm->mmap_lock, mm_host(mm));
	return 0;
}

EXPORT void vellum_notifier_unregister(struct vellum_mm *mm, const struct vellum_notifier *notifier)
{
	struct notifier *found = NULL;

	write_lock(&mm->mmap_lock, mm_host(mm));
	write_lock(&mm->notifier_lock, mm_host(mm));
	for (struct notifier **at = &mm->notifiers; *at && !found; at = &(*at)->next)
		if ((*at)->given == notifier) {
			found = *at;
			__atomic_store_n(at, found->next, __ATOMIC_RELEASE);
			break;
		}
	write_unlock(&mm->notifier_lock, mm_host(mm));
	write_unlock(&mm->mmap_lock, mm_host(mm));
	if (found)
		host_free(mm_host(mm), found, sizeof(*found));
}
