/* SPDX-License-Identifier: MIT */
/* mm/uffd/fork.c - what a fork makes of registered ranges: the child's own contexts, or none. */
#include "mm/uffd/uffd.h"

/* The child's context for one of the parent's, made when it is met first. NULL: no memory. */
static struct vellum_uffd *child_context(struct uffd_fork *uf, struct vellum_uffd *parent)
{
	struct uffd_event *ev, **at = &uf->events;
	struct vellum_uffd *child;

	for (ev = uf->events; ev; ev = ev->next)
		if (ev->ctx == parent)
			return ev->msg.arg.fork.child;
	if (uffd_new(uf->child, parent->flags, &child))
		return NULL;
	child->features = parent->features;
	child->api_done = 1;
	ev = uffd_event_new(parent, VELLUM_UFFD_EVENT_FORK);
	if (!ev) {
		vellum_uffd_put(child);
		return NULL;
	}
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
