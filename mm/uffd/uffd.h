/* SPDX-License-Identifier: MIT */
/*
 * mm/uffd/uffd.h - userfaultfd contexts, who waits in them, and markers.
 *
 * Locks: uffd->lock is a leaf but for host waits and the embedder's on_activity. memory->uffd_lock protects which
 * address space a context is of: a leaf too.
 */
#ifndef MM_UFFD_UFFD_H
#define MM_UFFD_UFFD_H

#include "mm/vma.h"
#include "mm/table/tlb.h"
#include "vellum/uffd.h"

/* Why a fault is reported; the flags of its message but for WRITE. */
#define UFFD_REASON_MISSING	0
#define UFFD_REASON_WP		VELLUM_UFFD_FLAG_WP
#define UFFD_REASON_MINOR	VELLUM_UFFD_FLAG_MINOR

/* A fault that waits, on its thread's stack. */
struct uffd_wait {
	struct uffd_wait *next, *prev;	/* in one of the context's lists; ctx->lock */
	struct vellum_uffd *ctx;	/* queued there, with a reference; NULL: only to be tried again */
	uint64_t flags, address;	/* of the message */
	uint32_t ptid;
	bool read;			/* which list; ctx->lock */
	uint32_t woken;			/* atomic; what the host waits on */
};

struct uffd_wait_list {
	struct uffd_wait *first, *last;
};

/* Something that an operation on mappings did, and whose reader it waits for. */
struct uffd_event {
	struct uffd_event *next;
	struct vellum_uffd *ctx;	/* reference */
	struct vellum_uffd_msg msg;	/* of a fork: the child's context, with a user's reference */
	bool queued;			/* ctx->lock */
	uint32_t done;			/* atomic: read, or dropped; what the host waits on */
};

struct vellum_uffd {
	struct vellum_memory *memory;
	uint32_t refs;			/* atomic: VMAs, waits, events, and one for all users */
	uint32_t users;			/* atomic: the embedder's references */
	uint32_t flags;			/* VELLUM_UFFD_USER_MODE_ONLY ... */
	uint64_t features;		/* atomic: VELLUM_UFFD_FEATURE_*, once api_done */
	uint32_t api_done;		/* atomic */
	uint32_t released;		/* atomic */
	uint32_t mmap_changing;		/* atomic: events on their way */
	/* memory->uffd_lock protects: */
	struct vellum_mm *mm;		/* NULL once it is gone; no reference */
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
void uffd_ref_get(struct vellum_uffd *uffd);	/* the structure's, not a user's */
void uffd_ref_put(struct vellum_uffd *uffd);
struct vellum_mm *uffd_get_mm(struct vellum_uffd *uffd);	/* a reference; NULL: gone */
void uffd_mm_gone(struct vellum_mm *mm);		/* its contexts are of no address space */
bool uffd_ready(const struct vellum_uffd *uffd);	/* after the handshake, not closed */
bool uffd_changing(const struct vellum_uffd *uffd);	/* populating has to be put off */
/* Another context for the VMA, or none; its protection bits follow. mmap_lock held for writing. */
void vma_set_uffd(struct vma *vma, struct vellum_uffd *uffd, uint64_t modes);

/* uffd_fault.c: waiting and waking; messages */
void uffd_wake_range(struct vellum_uffd *uffd, gva_t start, gva_t end);
/* No lock held: wait until it is resolved. True: try again. False: the host breaks the wait off. */
bool uffd_wait_over(struct uffd_wait *wait, const struct host *host);
void uffd_activity(struct vellum_uffd *uffd);		/* ctx->lock held: readers look again */
void uffd_drop_waits(struct vellum_uffd *uffd);		/* it is closed: nobody waits, no event stays */

/* uffd_event.c: operations on mappings tell, and wait for the reader */
/* A new event, of a context that wants it (mmap_changing is up from here on). NULL: no memory. */
struct uffd_event *uffd_event_new(struct vellum_uffd *ctx, uint8_t event);
void uffd_event_cancel(struct uffd_event *ev);
/* [start, end) is to be unmapped: an event for each context there that wants one, kept in the address space. */
int uffd_unmap_prepare(struct vellum_mm *mm, gva_t start, gva_t end);
void uffd_unmap_forget(struct vellum_mm *mm, gva_t start, gva_t end);	/* it is not to be after all */
/* Delivered after those of an unmapping at @target, before others. */
void uffd_event_keep_after(struct vellum_mm *mm, struct uffd_event *ev, gva_t target);
/* Unlock a mmap_lock that was held for writing; then deliver what was kept. */
void mmap_write_unlock_and_deliver(struct vellum_mm *mm);
/* A range is about to lose its pages. True: somebody was told, mmap_lock (for reading) was dropped meanwhile. */
bool uffd_remove(struct vma *vma, gva_t start, gva_t end, int *err);

/* uffd_fork.c: the child's contexts */
struct uffd_fork {
	struct vellum_mm *child;
	struct uffd_event *events;	/* one for each context of the parent that wants forks */
};
/* The context and modes that the copy of @src has. 0 or -ENOMEM */
int uffd_fork_vma(struct uffd_fork *uf, const struct vma *src, struct vma *copy);
void uffd_fork_done(struct uffd_fork *uf);		/* no lock held: tell */
void uffd_fork_failed(struct uffd_fork *uf);

/* uffd_wp.c */
/* Protect or resolve a part of one VMA. 0 or -ENOMEM (a part is protected). mmap_lock held. */
int uffd_wp_vma(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end, bool protect);

/* Whether a promise for memory that is not there can be kept in the VMA: markers. */
static inline bool vma_uses_markers(const struct vma *vma)
{
	return vma_uffd_wp(vma) &&
	       (vma->mapping || (vma->uffd && uffd_has(vma->uffd, VELLUM_UFFD_FEATURE_WP_UNPOPULATED)));
}

/* Its context resolves write-protect faults by itself, and keeps count by the entries. */
static inline bool vma_uffd_wp_async(const struct vma *vma)
{
	return vma->uffd && uffd_has(vma->uffd, VELLUM_UFFD_FEATURE_WP_ASYNC);
}

/*
 * INV-MARKER-1: an entry of object-backed memory that was protected by userfaultfd, in any form (present,
 * swapped out, device-private), and is lost while its VMA stays, leaves a marker under the same hold of the
 * page-table lock. Only an entry that has become none is overwritten.
 *
 * @old: what the entry was. Return: a marker was put.
 */
static inline bool keep_wp_as_marker(const struct vma *vma, pte_t *ptep, pte_t old)
{
	if (!vma->mapping || !vma_uffd_wp(vma) || !pte_is_uffd_wp(old) || !pte_none(ptep_get(ptep)))
		return false;
	ptep_set(ptep, pte_marker(MARKER_UFFD_WP));
	return true;
}

#endif
