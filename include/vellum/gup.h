/* SPDX-License-Identifier: MIT */
/*
 * vellum/gup.h - pin the pages behind addresses, for who accesses them by their frames: devices, host I/O.
 *
 * A pin sees what the process sees, and goes on doing so: a fork gives the child a copy, a pinned private page is
 * not shared, swapped out or moved. Truncation lets a pin keep bytes that are no object's any more.
 * Source: the kernel's core-api/pin_user_pages.rst.
 */
#ifndef VELLUM_GUP_H
#define VELLUM_GUP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vellum_memory;
struct vellum_mm;

enum {
	VELLUM_GUP_WRITE = 1 << 0,	/* the pages are going to be stored to */
	VELLUM_GUP_DUMP = 1 << 2,	/* -EFAULT where nothing is, instead of populating */
	VELLUM_GUP_FORCE = 1 << 3,	/* by the rights that the mapping may have, not those it has: debuggers */
	VELLUM_GUP_NOFAULT = 1 << 5,	/* only what is mapped now */
	VELLUM_GUP_HWPOISON = 1 << 6,	/* -EHWPOISON, where it would be -EFAULT */
	VELLUM_GUP_ANON = 1 << 7,	/* only private anonymous mappings */
	VELLUM_GUP_LONGTERM = 1 << 8,	/* for as long as it likes; pins only */
	VELLUM_GUP_SPLIT_PMD = 1 << 9,	/* huge entries are split first */
	VELLUM_GUP_FAST_ONLY = 1 << 16,	/* without the mmap lock and without faults, or not at all */
};

/**
 * vellum_pin_pages - pin the pages behind a range
 * @addr:  page aligned. @nr: pages, at least 1.
 * @flags: VELLUM_GUP_*.
 * @pfns:  out: the frames; vellum_frame_host() has their bytes.
 * @pinned: out: how many, the first of the range. More than 0 only if the call returns 0.
 *
 * What is pinned for WRITE may be stored to until it is unpinned, with vellum_unpin_pages_dirty(). Without WRITE,
 * a private page that is shared with another process is copied first, as the pin would not see the process's stores
 * otherwise. The zero page is pinned without a count.
 *
 * A long-term pin for WRITE of a shared mapping of an object that has to know of every page that becomes dirty is
 * refused, whatever else is asked: nobody could tell it of stores after it has cleaned the page.
 *
 * Context: first without locks; where that does not do, with the mmap lock for reading, faulting pages in.
 * Return: 0 if at least one page was pinned, else
 *   -VELLUM_EINVAL (flags, alignment); -VELLUM_EFAULT (nothing mapped, no right, device memory, beyond the object's
 *   end, refused as said); -VELLUM_EOPNOTSUPP (LONGTERM of a device's memory that stands for a file);
 *   -VELLUM_EEXIST (a raw frame in a mixed mapping); -VELLUM_ENOMEM; -VELLUM_EHWPOISON; -VELLUM_EINTR;
 *   -VELLUM_EAGAIN (FAST_ONLY, NOFAULT: the first page needs more).
 */
int vellum_pin_pages(struct vellum_mm *mm, uint64_t addr, uint64_t nr, uint32_t flags, uint64_t *pfns,
		     uint64_t *pinned);

/**
 * vellum_get_pages - the same with plain references: for a short look, and no stores that a fork must not part from
 *
 * Given back with vellum_put_pages(). LONGTERM: -VELLUM_EINVAL.
 */
int vellum_get_pages(struct vellum_mm *mm, uint64_t addr, uint64_t nr, uint32_t flags, uint64_t *pfns, uint64_t *got);

/** vellum_unpin_pages - give pins back. Frames as vellum_pin_pages() named them. */
void vellum_unpin_pages(struct vellum_memory *memory, const uint64_t *pfns, uint64_t nr);

/**
 * vellum_unpin_pages_dirty - the pages were stored to
 *
 * Before the pin goes each page is locked, marked as newer than its backing unless it is so already, and trackers
 * of the object, and of the address spaces that map it, are told.
 * Context: takes page locks: not callable with one held.
 */
void vellum_unpin_pages_dirty(struct vellum_memory *memory, const uint64_t *pfns, uint64_t nr);
void vellum_put_pages(struct vellum_memory *memory, const uint64_t *pfns, uint64_t nr);

/** vellum_page_maybe_pinned - 1 if a frame may be pinned; 0: it is not. */
int vellum_page_maybe_pinned(struct vellum_memory *memory, uint64_t pfn);

/**
 * struct vellum_follow_pfnmap - a look at an entry of device memory that holds as long as it is not ended
 * @pfn: frame of the page at the address. @writable: by the entry. @special: it is no page with metadata.
 * @lock, @mm: the core's.
 */
struct vellum_follow_pfnmap {
	uint64_t pfn;
	int writable;
	int special;
	void *lock;
	struct vellum_mm *mm;
};

/**
 * vellum_follow_pfnmap_start - look a raw frame up, and keep its entry from changing until ..._end()
 *
 * Context: takes the mmap lock for reading and a page-table lock, and returns with both held: nothing that takes core
 * locks in between. Works for entries of all sizes.
 * Return: 0; -VELLUM_EINVAL (no mapping of raw frames there, or no entry yet: fault it in and try again):
 *   nothing is held.
 */
int vellum_follow_pfnmap_start(struct vellum_mm *mm, uint64_t addr, struct vellum_follow_pfnmap *look);
void vellum_follow_pfnmap_end(struct vellum_follow_pfnmap *look);

#ifdef __cplusplus
}
#endif
#endif
