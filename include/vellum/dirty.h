/* SPDX-License-Identifier: MIT */
/*
 * vellum/dirty.h - who wrote where: the two helpers for shared mappings, and the tracker.
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
 * @mapping: the object.
 * @first:   first page index. @nr: pages, at least 1; @first + @nr <= 2^52.
 * @count:   out, may be NULL: entries that were writable and no longer are. A page mapped three
 *           times counts three times. Written on success only.
 *
 * Visited: mappings that are shared and may be made writable. Not visited: private mappings, and
 * shared ones of an object that was opened read-only. Huge entries are skipped, never split. An
 * entry's dirtiness is kept.
 *
 * (c) After return the next store through a visited mapping faults, until something grants W again; of
 * an object with mkwrite hooks, only a hook that was called after this call began can have agreed.
 *
 * Context: takes the mapping's rmap lock for reading and page-table locks, no mmap lock; not
 *          callable from a hook of this mapping. Notifies secondary MMUs; flushes.
 * Return: 0, -VELLUM_EINVAL.
 * Source: SPEC.md "Helpers"; linux-mm list, 2019-10-08.
 */
int vellum_wp_shared_mapping_range(struct vellum_mapping *mapping, uint64_t first, uint64_t nr,
				   uint64_t *count);

/**
 * vellum_clean_record_shared_mapping_range - move dirty bits of a range into a bitmap
 * @mapping, @first, @nr: as vellum_wp_shared_mapping_range().
 * @bitmap_pgoff: page index of bit 0; <= @first.
 * @bitmap: at least @first + @nr - @bitmap_pgoff bits; bit i is word i / 64, bit i % 64. Bits are
 *          only ever set, not atomically: serialize users of one bitmap.
 * @start, @end: in/out, half-open range of set bits, relative to bit 0. In: @start >= @end says
 *          nothing is set yet; else the range grows from there. Out: a range that holds all set
 *          bits; nothing set: (@nr, 0). Where @first > @bitmap_pgoff, *@start may be lower than
 *          the first set bit: the bitmap is the truth, the range a bound.
 * @count:  out, may be NULL: entries cleaned. The same page through two mappings counts twice and
 *          sets one bit. Written on success only.
 *
 * Visited and skipped: as vellum_wp_shared_mapping_range(). Entries stay writable.
 *
 * (a) An entry that was dirty before the call is recorded in @bitmap when it returns, or in the
 *     bitmap of a concurrent call that returns no later, or, if a tracker's collection was on its way,
 *     in the sets of all trackers that watch the page. Of an object that is written back, writeback may have
 *     taken it: the page was then handed to writepage(). Calls on one mapping take turns.
 * (b) A page dirtied after that is recorded, or still dirty, or both.
 * The flush comes after the entries changed and before the return, so nobody acts on @bitmap while
 * a CPU can still store without setting the dirty bit again. Not promised: that nothing is dirty at
 * return, or that the pages' bytes are stable.
 *
 * Context, Return, Source: as vellum_wp_shared_mapping_range().
 */
int vellum_clean_record_shared_mapping_range(struct vellum_mapping *mapping, uint64_t first,
					     uint64_t nr, uint64_t bitmap_pgoff, uint64_t *bitmap,
					     uint64_t *start, uint64_t *end, uint64_t *count);

enum vellum_track_method {
	VELLUM_TRACK_CLEAN = 0,	/* collect and clear dirty bits: no faults, scans tables */
	VELLUM_TRACK_WP = 1,	/* take W away: one fault a page and collection, no scan */
	VELLUM_TRACK_AUTO = 2,	/* for every 512 pages, what costs less there; follows changes */
};

/**
 * vellum_track_mm - watch a range of an address space, private memory included
 * @start, @end: bytes, page aligned, @start < @end <= VELLUM_TASK_SIZE.
 *
 * Tracking starts with this call: the first collection has what changes after it.
 * A store to a shared page through another address space is not seen.
 *
 * Context: takes the mmap lock for reading. The tracker holds a reference to @mm.
 * Return: 0 and *@out, -VELLUM_EINVAL, -VELLUM_ENOMEM.
 */
int vellum_track_mm(struct vellum_mm *mm, uint64_t start, uint64_t end,
		    enum vellum_track_method method, struct vellum_tracker **out);

/**
 * vellum_track_mapping - watch a range of a mapping, through every process that maps it shared
 * @first: page index. @nr: pages, at least 1.
 *
 * Private mappings of it are not watched: stores there don't reach the object.
 */
int vellum_track_mapping(struct vellum_mapping *mapping, uint64_t first, uint64_t nr,
			 enum vellum_track_method method, struct vellum_tracker **out);

/** vellum_tracker_destroy - stop watching; NULL is fine. No collection of it may be on its way. */
void vellum_tracker_destroy(struct vellum_tracker *tracker);

/**
 * vellum_tracker_costs - what VELLUM_TRACK_AUTO weighs; for other methods without effect
 * @fault_ns: a write fault, in nanoseconds from the program's instruction to its next. @scan_ns: a look
 *            at 512 entries. Both 1 to 10^9. Until the call: figures of the software MMU.
 *
 * Return: 0, -VELLUM_EINVAL.
 */
int vellum_tracker_costs(struct vellum_tracker *tracker, uint64_t fault_ns, uint64_t scan_ns);

/**
 * typedef vellum_switch_fn - a run of pages changed over to @method (VELLUM_TRACK_WP or _CLEAN)
 *
 * Called by vellum_tracker_collect() before it hands out pages, with the tracker's collect lock held.
 * With VELLUM_TRACK_AUTO a range of at least 512 pages begins with wp, a smaller one with clean. Dense stores
 * make 512 pages clean in the next collection, three idle collections make them wp; after a pause that would
 * have been cheaper to look through, they are given twice its length.
 */
typedef void (*vellum_switch_fn)(void *arg, uint64_t first, uint64_t nr, enum vellum_track_method method);
void vellum_tracker_on_switch(struct vellum_tracker *tracker, vellum_switch_fn fn, void *arg);

/**
 * typedef vellum_collect_fn - one run of pages of a collection
 * @first: page number: address / 4096, or index in the mapping. @nr: pages. Ascending.
 *
 * Return: 0 to go on; anything else ends the collection's hand-out (what was not handed out is
 *         put back for the next one) and is returned by vellum_tracker_collect().
 */
typedef int (*vellum_collect_fn)(void *arg, uint64_t first, uint64_t nr);

/**
 * vellum_tracker_collect - the pages whose content may have changed since the last collection
 * @start, @end: only this part of the watched range, in pages as @fn gets them; 0, ~0: all of it.
 *
 * Every page changed before the call is handed out: by a store, by the system on the program's
 * behalf, by DONTNEED, munmap, mremap (the new place). A page that was only read is not.
 * Re-armed and flushed before the first call of @fn, so a store that @fn's reading misses is in
 * the next collection. @fn may be told of pages where nothing is mapped any more. If a record could not
 * be kept for want of memory, the next collection names the whole range, not fewer pages.
 *
 * Context: takes the mmap lock (of an address space) or rmap lock (of a mapping) for reading, and
 *          page-table locks; @fn is called with none of them, but with the tracker's collect
 *          lock: one collection of a tracker at a time.
 * Return: 0, -VELLUM_EINVAL, or what @fn returned.
 */
int vellum_tracker_collect(struct vellum_tracker *tracker, uint64_t start, uint64_t end,
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
 * struct vellum_notifier - told of changes to an address space, for a secondary MMU
 * @start: entries of [start, end) are about to lose rights or their page. From here to the
 *         matching @finish the secondary must make no translation in the range. Outside
 *         page-table locks; must not call into the core.
 * @finish: after the flush.
 * @release: the address space ends. Optional.
 * @ctx:   passed to them. @next: the core's.
 */
struct vellum_notifier {
	void (*start)(void *ctx, enum vellum_notifier_event event, uint64_t start, uint64_t end);
	void (*finish)(void *ctx, enum vellum_notifier_event event, uint64_t start, uint64_t end);
	void (*release)(void *ctx);
	void *ctx;
	struct vellum_notifier *next;
};

/** vellum_notifier_register - @notifier stays the caller's and must live until unregistered. */
void vellum_notifier_register(struct vellum_mm *mm, struct vellum_notifier *notifier);
void vellum_notifier_unregister(struct vellum_mm *mm, struct vellum_notifier *notifier);

#ifdef __cplusplus
}
#endif
#endif
