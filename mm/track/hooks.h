/* SPDX-License-Identifier: MIT */
/*
 * mm/track/hooks.h - functions that the rest of the core calls when content changes or write permission is granted.
 *
 * No file outside mm/track includes another header of mm/track.
 *
 * Locking: the functions of tracker.c on an entry are called with its page-table lock held, and take trackers->lock
 * and tracker->lock. The functions on a range of a mapping are called without a page-table lock or an rmap lock; the
 * folio's lock and invalidate_lock may be held. They take i_mmap_lock. The mkclean functions also take notifier_lock
 * and page-table locks.
 */
#ifndef MM_TRACK_HOOKS_H
#define MM_TRACK_HOOKS_H

#include "mm/vma.h"

/* --- tracker.c: the page-table lock is held --- */

void track_change(struct vma *vma, gva_t addr);	/* the page's content changed, or its D was propagated */
void track_place(struct vma *vma, gva_t addr);	/* the address has other content; no mapping changed */
void track_grant(struct vma *vma, gva_t addr);	/* W was set in the entry */
void track_pin(struct vma *vma, gva_t addr);	/* the caller may store to the page by its frame, without a trace */
bool wp_tracked(struct vma *vma, gva_t addr);	/* a tracker wants W to be granted through a write fault only */
/*
 * D was removed from the entries from @ptep (for @addr) whose bits are set in @mask. Propagate it to the folios of
 * mappings that are written back, and to all trackers that find pages by D, but not to @except. With @except, also to
 * the dirt() hook: callers of the helpers get a bitmap instead.
 */
void propagate_dirty(struct vma *vma, gva_t addr, const pte_t *ptep, uint64_t mask,
		    const struct vellum_tracker *except);

/* Pages of the mapping changed without an entry. No page-table lock is held. Takes i_mmap_lock. */
void track_mapping_range(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last);
/* The same, but @except, a tracker of the mapping, is not told. */
void track_mapping_range_except(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last,
				const struct vellum_tracker *except);
/* A page was added to shared memory. Its bytes are zeros as before, if no store follows. */
void track_new_page(struct vellum_mapping *mapping, pgoff_t index);
/* Whether a tracker of a mapping counts pages as changed that are pinned for writing, or added. */
void tracker_watch_pages(struct vellum_tracker *tracker, bool on);
/* A collection would find nothing: no page is recorded, and none is found by D. */
bool tracker_is_idle(struct vellum_tracker *tracker);
/* Count a page as changed. */
void tracker_record(struct vellum_tracker *tracker, uint64_t page);

/* --- dirty.c --- */

/*
 * Shared entries of the pages lose W and D; the dirt is propagated to the folios. Flushed on return. Takes
 * i_mmap_lock.
 */
void mkclean_mapping_range(struct vellum_mapping *mapping, pgoff_t first, uint64_t nr);
/* One page. */
void folio_mkclean(struct vellum_mapping *mapping, struct folio *folio) HOLDS(&folio->lock);

static inline bool mm_is_tracked(const struct vellum_mm *mm)
{
	return __atomic_load_n(&mm->trackers.nr, __ATOMIC_SEQ_CST);
}

/* The address space or the mapping has a tracker. Trackers count single pages, so no huge leaf is installed then. */
static inline bool vma_is_tracked(const struct vma *vma)
{
	return mm_is_tracked(vma->mm) ||
	       (vma->mapping && __atomic_load_n(&vma->mapping->trackers.nr, __ATOMIC_SEQ_CST));
}

#endif
