/* SPDX-License-Identifier: MIT */
/*
 * vellum/gup.h - pin or reference the pages behind an address range, for access by frame number: devices, host I/O.
 *
 * A pin and the process access the same page for as long as the pin is held. A fork gives the child a copy. A pinned
 * private page is not shared, swapped out or moved. If the file is truncated, the pin keeps a page that belongs to
 * no mapping.
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
	VELLUM_GUP_WRITE = 1 << 0,	/* the caller stores to the pages */
	VELLUM_GUP_DUMP = 1 << 2,	/* -EFAULT instead of a fault in anonymous memory */
	VELLUM_GUP_FORCE = 1 << 3,	/* by the rights that the VMA may get (VM_MAY*): debuggers */
	VELLUM_GUP_NOFAULT = 1 << 5,	/* only present entries */
	VELLUM_GUP_HWPOISON = 1 << 6,	/* poison is -EHWPOISON instead of -EFAULT */
	VELLUM_GUP_ANON = 1 << 7,	/* only anonymous VMAs; else -EFAULT */
	VELLUM_GUP_LONGTERM = 1 << 8,	/* may be held without limit; pins only */
	VELLUM_GUP_SPLIT_PMD = 1 << 9,	/* split huge leaves first, except raw ones */
	VELLUM_GUP_FAST_ONLY = 1 << 16,	/* no mmap lock and no faults; else -EAGAIN */
};

/**
 * vellum_pin_pages - pin the pages behind a range
 * @addr:  page aligned.
 * @nr:    pages, at least 1.
 * @flags: VELLUM_GUP_*.
 * @pfns:  out: the frames; vellum_frame_host() returns the address of their bytes.
 * @pinned: out: the number of pinned pages, from the first of the range on. More than 0 only if the call returns 0.
 *
 * With WRITE the pages may be stored to until vellum_unpin_pages_dirty() unpins them. Without WRITE, a private page
 * that another process may share is copied first: otherwise the process's next store would go to a copy that the pin
 * does not see. With LONGTERM the same holds for a page of a file in a private VMA. The zero page is pinned without a
 * count.
 *
 * LONGTERM with WRITE is refused for a shared VMA of a mapping whose driver tracks dirty pages: once writeback has
 * cleaned the page, a store by frame number would not be noticed.
 *
 * Context: first without locks. If that fails, with the mmap lock for reading, and pages are faulted in. May wait for
 *   a userfaultfd, with no lock held.
 * Return: 0 if at least one page was pinned, else
 *   -VELLUM_EINVAL (flags, alignment, @nr 0); -VELLUM_EFAULT (no VMA, no right, device memory, beyond the file's end,
 *   beyond user addresses, or refused as above); -VELLUM_EOPNOTSUPP (LONGTERM of a VELLUM_MAPPING_DEVMAP mapping);
 *   -VELLUM_EEXIST (a raw frame in a VELLUM_MAPPING_MIXED mapping); -VELLUM_ENOMEM; -VELLUM_EHWPOISON; -VELLUM_EINTR;
 *   -VELLUM_EAGAIN (FAST_ONLY or NOFAULT: the first page needs more).
 */
int vellum_pin_pages(struct vellum_mm *mm, uint64_t addr, uint64_t nr, uint32_t flags, uint64_t *pfns,
		     uint64_t *pinned);

/**
 * vellum_get_pages - as vellum_pin_pages(), but with plain references
 *
 * For short reads. After a fork the process may get a copy of the page, so stores through a reference may be lost to
 * it. vellum_put_pages() drops the references. LONGTERM is -VELLUM_EINVAL.
 */
int vellum_get_pages(struct vellum_mm *mm, uint64_t addr, uint64_t nr, uint32_t flags, uint64_t *pfns, uint64_t *got);

/** vellum_unpin_pages - unpin pages. @pfns: as vellum_pin_pages() returned them. */
void vellum_unpin_pages(struct vellum_memory *memory, const uint64_t *pfns, uint64_t nr);

/**
 * vellum_unpin_pages_dirty - unpin pages that were stored to
 *
 * Each page is locked and marked dirty, and the trackers of its mapping, and of the address spaces that map it, record
 * it. The machine drops instructions that it decoded from it. Then the page is unpinned.
 * Context: takes page locks: not callable while one is held.
 */
void vellum_unpin_pages_dirty(struct vellum_memory *memory, const uint64_t *pfns, uint64_t nr);
void vellum_put_pages(struct vellum_memory *memory, const uint64_t *pfns, uint64_t nr);

/** vellum_page_maybe_pinned - 1: the frame may be pinned; 0: it is not. */
int vellum_page_maybe_pinned(struct vellum_memory *memory, uint64_t pfn);

/**
 * struct vellum_follow_pfnmap - a present entry of a raw frame, which cannot change until vellum_follow_pfnmap_end()
 * @pfn:      frame of the page at the address.
 * @writable: the entry has W.
 * @special:  the frame has no metadata: it is raw.
 * @lock, @mm: the core's.
 */
struct vellum_follow_pfnmap {
	uint32_t size;		/* sizeof the structure */
	uint64_t pfn;
	int writable;
	int special;
	void *lock;
	struct vellum_mm *mm;
};

/**
 * vellum_follow_pfnmap_start - look up a raw frame, and keep its entry from changing until vellum_follow_pfnmap_end()
 *
 * Works for entries of all sizes.
 * Context: takes the mmap lock for reading and a page-table lock, and returns 0 with both held. The caller must not
 *   call the core until vellum_follow_pfnmap_end().
 * Return: 0; -VELLUM_EINVAL (no VMA of raw frames, or no present entry: fault it in and try again): no lock is held.
 */
int vellum_follow_pfnmap_start(struct vellum_mm *mm, uint64_t addr, struct vellum_follow_pfnmap *look);
void vellum_follow_pfnmap_end(struct vellum_follow_pfnmap *look);

#ifdef __cplusplus
}
#endif
#endif
