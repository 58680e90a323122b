/* SPDX-License-Identifier: MIT */
/* lib/host.h - the host's hooks as the core calls them. */
#ifndef LIB_HOST_H
#define LIB_HOST_H

#include "lib/types.h"
#include "vellum/host.h"

struct host {
	const struct vellum_host_ops *ops;
	void *ctx;
};

static inline void *host_alloc(const struct host *host, size_t size)
{
	return host->ops->alloc(host->ctx, size, 64);
}

static inline bool host_interrupted(const struct host *host)
{
	return host->ops->interrupted && host->ops->interrupted(host->ctx);
}

/* Sleep in a wait for user space, with no lock held. May return at any time. */
static inline void host_wait_for_user(const struct host *host, uint32_t *word, uint32_t value)
{
	if (host->ops->wait_for_user)
		host->ops->wait_for_user(host->ctx, word, value);
	else
		host->ops->wait(host->ctx, word, value);
}

/* The process is about to end, so a long call may stop. */
static inline bool host_killed(const struct host *host)
{
	return host->ops->interrupted && host->ops->interrupted(host->ctx) == VELLUM_KILLED;
}

static inline void host_free(const struct host *host, void *ptr, size_t size)
{
	if (ptr)
		host->ops->free(host->ctx, ptr, size);
}

#define host_bug(host, what) ((host)->ops->bug((host)->ctx, what, __FILE__, __LINE__))
#define host_bug_on(host, cond)                       \
	do {                                          \
		if (unlikely(cond))                   \
			host_bug(host, #cond);        \
	} while (0)

#endif
