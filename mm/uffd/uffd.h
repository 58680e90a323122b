/* SPDX-License-Identifier: MIT */
/*
 * mm/uffd/uffd.h - userfaultfd contexts, the faults that wait in them, and markers.
 *
 * Locks: inside uffd->lock only the host's wake() and the embedder's on_activity() are called. memory->uffd_lock
 * protects the link between a context and its address space. Inside it no lock is taken either.
 */
#ifndef MM_UFFD_UFFD_H
#define MM_UFFD_UFFD_H

#include "mm/vma.h"
#include "mm/table/tlb.h"
#include "vellum/uffd.h"

/* Why a fault is reported: the flags of its message except WRITE. */
#define UFFD_REASON_MISSING	0
#define UFFD_REASON_WP		VELLUM_UFFD_FLAG_WP
#define UFFD_REASON_MINOR	VELLUM_UFFD_FLAG_MINOR

/* A fault that waits; on the stack of its thread. */
struct uffd_wait {
	struct uffd_wait *next, *prev;	/* in one of the context's lists; ctx->lock */
	struct vellum_uffd *ctx;	/* queued there, with a reference; NULL: not queued, retry */
	uint64_t flags, address;	/* of the message */
	uint32_t ptid;
	bool read;			/* in ctx->read, else in ctx->pending; ctx->lock */
	uint32_t woken;			/* atomic; what the host waits on */
};

struct uffd_wait_list {
	struct uffd_wait *first, *last;
};

/* An operation on VMAs that waits until the reader has read its message. */
struct uffd_event {
	struct uffd_event *next;
	struct vellum_uffd *ctx;	/* reference */
	struct vellum_uffd_msg msg;	/* fork: has a user reference to the child's context */
	bool queued;			/* ctx->lock */
	uint32_t done;			/* atomic: read or dropped; what the host waits on */
};

struct vellum_uffd {
	struct vellum_memory *memory;
	uint32_t refs;			/* atomic: VMAs, waits, events, and one for all users */
	uint32_t users;			/* atomic: the embedder's references */
	uint32_t flags;			/* VELLUM_UFFD_USER_MODE_ONLY ... */
	uint64_t features;		/* atomic: VELLUM_UFFD_FEATURE_*, once api_done */
	uint32_t api_done;		/* atomic */
	uint32_t released;		/* atomic */
	uint32_t mmap_changing;		/* atomic: events created and not read yet */
	/* memory->uffd_lock protects: */
	struct vellum_mm *mm;		/* no reference; NULL once it is destroyed */
	struct vellum_uffd *next, *prev; /* mm->uffds */
	struct mutex lock;
	/* lock protects: */
	struct uffd_wait_list pending, read;
	struct uffd_event *events;	/* oldest first */
	void (*on_activity)(void *arg);
	void *activity_arg;
	uint32_t activity;		/* atomic: messages so far; what readers wait on */
};

static inline bool uffd_has(const struct vellum_uffd *uffd, uint64_t feature)
{
	return __atomic_load_n(&uffd->features, __ATOMIC_RELAXED) & feature;
}

/* uffd.c: contexts */
int uffd_new(struct vellum_mm *mm, uint32_t flags, struct vellum_uffd **out);
void uffd_ref_get(struct vellum_uffd *uffd);	/* keeps the structure, is no user */
void uffd_ref_put(struct vellum_uffd *uffd);
struct vellum_mm *uffd_get_mm(struct vellum_uffd *uffd);	/* with a reference; NULL: destroyed */
void uffd_detach_mm(struct vellum_mm *mm);		/* detach its contexts */
bool uffd_ready(const struct vellum_uffd *uffd);	/* after the handshake, not closed */
bool uffd_changing(const struct vellum_uffd *uffd);	/* an event is not read yet: fill no pages */
/* Set the VMA's context, or NULL for none; its page_prot follows. mmap_lock held for writing. */
void vma_set_uffd(struct vma *vma, struct vellum_uffd *uffd, uint64_t modes);

/* wait.c: waiting and waking; messages */
void uffd_wake_range(struct vellum_uffd *uffd, gva_t start, gva_t end);
/* Wait until the fault is resolved; no lock is held. True: retry the fault. False: the host interrupted the wait. */
bool uffd_wait_resolved(struct uffd_wait *wait, const struct host *host);
void uffd_activity(struct vellum_uffd *uffd) HOLDS(&uffd->lock);		/* wake the readers; ctx->lock held */
void uffd_drop_waits(struct vellum_uffd *uffd);		/* closed: wake all faults, drop all events */

/* event.c: operations on VMAs send events, and wait for the reader */
/* A new event for a context that wants it. From here on mmap_changing is not 0. NULL: no memory. */
struct uffd_event *uffd_event_new(struct vellum_uffd *ctx, uint8_t event);
void uffd_event_cancel(struct uffd_event *ev);
/*
 * [start, end) is about to be unmapped: allocate an event for each context there that wants it, and defer it to
 * mmap_write_unlock_and_deliver(). 0 or -ENOMEM. mmap_lock held for writing.
 */
int uffd_unmap_prepare(struct vellum_mm *mm, gva_t start, gva_t end) HOLDS(&mm->mmap_lock);
/* The range is not unmapped, because the operation failed: cancel its deferred events. mmap_lock held for writing. */
void uffd_unmap_cancel(struct vellum_mm *mm, gva_t start, gva_t end) HOLDS(&mm->mmap_lock);
/* Defer an event. It is delivered after the UNMAP events for a range that starts at @target, and before all others. */
void uffd_event_defer_after(struct vellum_mm *mm, struct uffd_event *ev, gva_t target);
/* Drop mmap_lock, held for writing; then deliver the deferred events. Waits for their readers. */
void mmap_write_unlock_and_deliver(struct vellum_mm *mm) RELEASES(&mm->mmap_lock);
/*
 * A range is about to lose its pages. True: an event was delivered, and mmap_lock (for reading) was dropped meanwhile,
 * so the VMA may be gone. May wait for the reader.
 */
bool uffd_remove_event(struct vma *vma, gva_t start, gva_t end, int *err);

/* event.c: the child's contexts */
struct uffd_fork {
	struct vellum_mm *child;
	struct uffd_event *events;	/* one for each context of the parent that wants forks */
};
/* Set the context and modes of @copy, the child's copy of @src. 0 or -ENOMEM */
int uffd_fork_vma(struct uffd_fork *uf, const struct vma *src, struct vma *copy);
void uffd_fork_done(struct uffd_fork *uf);		/* deliver; no lock held */
void uffd_fork_failed(struct uffd_fork *uf);

/* wp.c */
/*
 * Write-protect a part of one VMA, or remove the protection. 0; -ENOMEM or -EINTR: a part has changed. mmap_lock held.
 */
int uffd_wp_vma(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end, bool protect);

/* Markers protect entries that are none in this VMA. */
static inline bool vma_uses_markers(const struct vma *vma)
{
	return vma_uffd_wp(vma) &&
	       (vma->mapping || (vma->uffd && uffd_has(vma->uffd, VELLUM_UFFD_FEATURE_WP_UNPOPULATED)));
}

/* Its context resolves write-protect faults by itself; the entries record which pages were written. */
static inline bool vma_uffd_wp_async(const struct vma *vma)
{
	return vma->uffd && uffd_has(vma->uffd, VELLUM_UFFD_FEATURE_WP_ASYNC);
}

/*
 * INV-MARKER-1: if an entry of mapping-backed memory is protected by userfaultfd, in any form (present, swapped out,
 * device-private), and is removed while its VMA stays, it leaves a marker under the same hold of the page-table lock.
 * Only an entry that is none by now is overwritten.
 *
 * @old: the entry's old value. Return: a marker was installed.
 */
static inline bool keep_wp_as_marker(const struct vma *vma, pte_t *ptep, pte_t old)
{
	if (!vma->mapping || !vma_uffd_wp(vma) || !pte_is_uffd_wp(old) || !pte_none(ptep_get(ptep)))
		return false;
	ptep_set(ptep, pte_marker(MARKER_UFFD_WP));
	return true;
}

#endif
