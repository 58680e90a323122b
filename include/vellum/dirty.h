/* SPDX-License-Identifier: MIT */
/*
 * vellum/dirty.h - dirty tracking: two helpers for shared mappings, and trackers. Also notifiers for secondary MMUs.
 */
#ifndef VELLUM_DIRTY_H
#define VELLUM_DIRTY_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vellum_mapping;
struct vellum_mm;
struct vellum_tracker;

/**
 * vellum_wp_shared_mapping_range - write-protect a range of a mapping, in every process
 * @mapping: the mapping.
 * @first:   first page index.
 * @nr:      pages, at least 1; @first + @nr <= 2^52.
 * @count:   out, may be NULL: entries that were writable and no longer are. A page mapped three times counts three
 *           times. Written on success only.
 *
 * Visited: VMAs that are shared and may be made writable. Not visited: private VMAs, and shared VMAs of a file that
 * was opened read-only or that is sealed against writing. A huge leaf of raw frames is skipped. Any other huge leaf is
 * split, and its pages count one by one. The dirtiness of an entry is kept.
 *
 * (c) After return, the next store through a visited VMA faults until W is granted again. If the mapping has mkwrite
 * hooks, W is granted only after such a hook was called, and that call began after this one did.
 *
 * Context: takes the mapping's rmap lock for reading, and page-table locks; no mmap lock. Not callable from a hook of
 *          this mapping. Calls notifiers, and flushes.
 * Return: 0; -VELLUM_EINVAL.
 * Source: SPEC.md "Helpers"; linux-mm list, 2019-10-08.
 */
int vellum_wp_shared_mapping_range(struct vellum_mapping *mapping, uint64_t first, uint64_t nr,
				   uint64_t *count);

/**
 * vellum_clean_record_shared_mapping_range - move dirty bits of a range into a bitmap
 * @mapping, @first, @nr: as vellum_wp_shared_mapping_range().
 * @bitmap_pgoff: page index of bit 0; <= @first.
 * @bitmap: at least @first + @nr - @bitmap_pgoff bits; bit i is word i / 64, bit i % 64. Bits are only set, and not
 *          atomically: callers that share a bitmap must serialize.
 * @start, @end: in and out: the half-open range of set bits, relative to bit 0. In: @start >= @end means that no bit
 *          is set yet; otherwise the range grows from there. Out: a range that holds all set bits; (@nr, 0) if none is
 *          set. Where @first > @bitmap_pgoff, *@start may be lower than the first set bit.
 * @count:  out, may be NULL: entries cleaned. A page that two VMAs map dirty counts twice and sets one bit. Written on
 *          success only.
 *
 * Visited, skipped and split: as vellum_wp_shared_mapping_range(). Entries stay writable. Dirt is also propagated to
 * the pages of a mapping that is written back, and to trackers; the dirt() hook is not called, since the caller gets
 * the bitmap.
 *
 * (a) If an entry was dirty before the call, its page is recorded when the call returns: in @bitmap; or in the bitmap
 *     of a concurrent call that returns no later; or, if a tracker's collection was running, in the sets of all
 *     trackers that watch the page. If the mapping is written back, writeback may have cleaned the entry instead: the
 *     page was then passed to writepage(). Calls for one mapping run one after the other.
 * (b) A page dirtied after that is recorded, or still dirty, or both.
 * The flush happens after the entries change and before the return. So when the caller reads @bitmap, no CPU can store
 * without setting the dirty bit again. Not promised: that no entry is dirty at return, or that the pages' bytes are
 * stable.
 *
 * Context, Return, Source: as vellum_wp_shared_mapping_range(). Also takes the mapping's collect lock.
 */
int vellum_clean_record_shared_mapping_range(struct vellum_mapping *mapping, uint64_t first,
					     uint64_t nr, uint64_t bitmap_pgoff, uint64_t *bitmap,
					     uint64_t *start, uint64_t *end, uint64_t *count);

enum vellum_track_method {
	VELLUM_TRACK_CLEAN = 0,	/* collect and clear D: no faults, scans tables */
	VELLUM_TRACK_WP = 1,	/* write-protect: a fault per page and collection, no scan */
	VELLUM_TRACK_AUTO = 2,	/* the cheaper of both, for each 512 pages */
};

/**
 * vellum_track_mm - track changes in a range of an address space, private memory included
 * @start, @end: bytes, page aligned, @start < @end <= VELLUM_TASK_SIZE.
 *
 * Tracking starts with this call: the first collection has the pages that change after it. A store to a shared page
 * through another address space is not seen. The call splits the huge leaves of the range, of raw frames too. While
 * the address space has a tracker, no fault or remap installs a huge leaf in it.
 *
 * Context: takes the mmap lock for reading, and flushes. The tracker holds a reference to @mm.
 * Return: 0 and *@out; -VELLUM_EINVAL; -VELLUM_ENOMEM.
 */
int vellum_track_mm(struct vellum_mm *mm, uint64_t start, uint64_t end,
		    enum vellum_track_method method, struct vellum_tracker **out);

/**
 * vellum_track_mapping - track changes in a range of a mapping, through all shared VMAs of all processes
 * @first: page index.
 * @nr:    pages, at least 1; @first + @nr <= 2^52.
 *
 * Private VMAs are not tracked: stores there do not reach the mapping. Huge leaves: as vellum_track_mm(), in all VMAs
 * of the mapping.
 *
 * Context: takes the mapping's rmap lock for reading, and flushes. The tracker holds a reference to @mapping.
 * Return: 0 and *@out; -VELLUM_EINVAL; -VELLUM_ENOMEM.
 */
int vellum_track_mapping(struct vellum_mapping *mapping, uint64_t first, uint64_t nr,
			 enum vellum_track_method method, struct vellum_tracker **out);

/** vellum_tracker_destroy - stop tracking; NULL is allowed. No collection of the tracker may be running. */
void vellum_tracker_destroy(struct vellum_tracker *tracker);

/**
 * vellum_tracker_costs - set the costs that VELLUM_TRACK_AUTO compares; other methods ignore them
 * @fault_ns: nanoseconds of a write fault, from the program's instruction to its next.
 * @scan_ns:  nanoseconds to scan 512 entries.
 *
 * Both are 1 to 10^9. The defaults are those of the software MMU.
 * Context: waits for a running collection.
 * Return: 0; -VELLUM_EINVAL.
 */
int vellum_tracker_costs(struct vellum_tracker *tracker, uint64_t fault_ns, uint64_t scan_ns);

/**
 * typedef vellum_switch_fn - pages [@first, @first + @nr) now use @method (VELLUM_TRACK_WP or _CLEAN)
 *
 * vellum_tracker_collect() calls the function before it hands out pages, with the tracker's collect lock held. If
 * there was no memory to note a switch, the function is not called for it.
 *
 * With VELLUM_TRACK_AUTO a range of at least 512 pages starts with WP, a smaller one with CLEAN. After dense stores
 * the next collection switches 512 pages to CLEAN. Three idle collections switch them back to WP. If scanning during
 * such a pause would have been cheaper than the faults after it, the next switch to WP waits for twice the pause.
 */
typedef void (*vellum_switch_fn)(void *arg, uint64_t first, uint64_t nr, enum vellum_track_method method);
void vellum_tracker_on_switch(struct vellum_tracker *tracker, vellum_switch_fn fn, void *arg);

/**
 * typedef vellum_collect_fn - receive one run of pages of a collection
 * @first: page number: address / 4096, or index in the mapping. Runs are in ascending order.
 * @nr:    pages.
 *
 * Return: 0 to continue. Any other value ends the hand-out, and vellum_tracker_collect() returns it. This run and
 *         those not yet handed out stay for the next collection.
 */
typedef int (*vellum_collect_fn)(void *arg, uint64_t first, uint64_t nr);

/**
 * vellum_tracker_collect - hand out the pages whose content may have changed since the last collection
 * @first_page, @end_page: collect only pages [@first_page, @end_page) of the tracked range, in the numbers that @fn
 *                         gets. 0, ~0: all.
 *
 * Every page that changed before the call is handed out: by a store, by the system on the program's behalf, by
 * DONTNEED, munmap or mremap (the new place). A page that was only read is not. Pages outside [@first_page, @end_page)
 * stay for a later collection. @fn may get pages where nothing is mapped any more. If there was no memory to record a
 * change, the whole of [@first_page, @end_page) is handed out.
 * Entries are clean or write-protected again, and flushed, before the first call of @fn. So if @fn reads a page and
 * misses a later store, the next collection has the page.
 *
 * Context: takes the mmap lock (of an address space) or the rmap lock (of a mapping) for reading, and page-table
 * locks.
 *          @fn is called with none of them, but with the tracker's collect lock: one collection of a tracker runs at
 *          a time.
 * Return: 0; -VELLUM_EINVAL (no @fn, or @first_page >= @end_page); or what @fn returned.
 */
int vellum_tracker_collect(struct vellum_tracker *tracker, uint64_t first_page, uint64_t end_page,
			   vellum_collect_fn fn, void *arg);

/* --- secondary MMUs --- */

enum vellum_notifier_event {
	VELLUM_NOTIFY_UNMAP = 0,
	VELLUM_NOTIFY_CLEAR = 1,
	VELLUM_NOTIFY_PROTECTION_VMA = 2,
	VELLUM_NOTIFY_PROTECTION_PAGE = 3,
	VELLUM_NOTIFY_SOFT_DIRTY = 4,
	VELLUM_NOTIFY_RELEASE = 5,
	VELLUM_NOTIFY_MIGRATE = 6,
	VELLUM_NOTIFY_EXCLUSIVE = 7,
};

/**
 * struct vellum_notifier - notifies a secondary MMU of changes to an address space
 * @size:  sizeof(struct vellum_notifier).
 * @start: entries of [start, end) are about to lose rights or their page. From this call until the matching @finish
 *         the secondary MMU must not create a translation in the range. Called without page-table locks; other core
 *         locks may be held, so it must not call into the core.
 * @finish: the entries have changed and are flushed. May be called without its @start, if the notifier was registered
 *         in between.
 * @release: optional. The address space is being destroyed.
 * @ctx:   passed to the three functions.
 */
struct vellum_notifier {
	uint32_t size;		/* sizeof the structure */
	void (*start)(void *ctx, enum vellum_notifier_event event, uint64_t start, uint64_t end);
	void (*finish)(void *ctx, enum vellum_notifier_event event, uint64_t start, uint64_t end);
	void (*release)(void *ctx);
	void *ctx;
};

/**
 * vellum_notifier_register - add a notifier
 * @notifier: copied; @start and @finish are required. Its address names it to vellum_notifier_unregister(), so it must
 *            stay the same object until then. The end of the address space unregisters it, after @release.
 *
 * Context: takes the mmap lock for writing.
 * Return: 0; -VELLUM_EINVAL; -VELLUM_E2BIG (fields that this version does not know are not 0); -VELLUM_ENOMEM.
 */
int vellum_notifier_register(struct vellum_mm *mm, const struct vellum_notifier *notifier);
void vellum_notifier_unregister(struct vellum_mm *mm, const struct vellum_notifier *notifier);

#ifdef __cplusplus
}
#endif
#endif
