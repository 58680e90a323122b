/* SPDX-License-Identifier: MIT */
/*
 * mm/track/tracker.h - trackers, for the files of mm/track.
 *
 * Locking: a collection holds the tracker's collect_lock. Inside it, collect_pages() holds the mmap lock (tracker of
 * an address space) or i_mmap_lock (tracker of a mapping) for reading, and takes page-table locks and tracker->lock.
 * The functions on a struct collection are called so, except auto_report_switches(), which holds collect_lock only.
 * tracker->lock protects what the hooks change; the hooks hold the page-table lock outside it.
 */
#ifndef MM_TRACK_TRACKER_H
#define MM_TRACK_TRACKER_H

#include "mm/table/pagewalk.h"
#include "mm/table/table_edit.h"
#include "mm/table/tlb.h"
#include "mm/track/hooks.h"
#include "lib/page_set.h"

/*
 * What VELLUM_TRACK_AUTO knows of 512 pages. A chunk without a record uses wp, and had no store for a long time. Times
 * are numbers of collections.
 */
struct chunk {
	bool uses_dirty_bit;	/* VELLUM_TRACK_CLEAN; else VELLUM_TRACK_WP */
	uint8_t patience;	/* 3 << patience idle collections switch it to wp */
	uint32_t load;		/* ns that wp costs in a collection; a decaying average */
	uint64_t seen;		/* the collection at which load was computed */
	uint64_t busy;		/* the last collection in which faults cost more than a scan */
};


struct vellum_tracker {
	struct vellum_mm *mm;			/* this or mapping is set */
	struct vellum_mapping *mapping;
	uint64_t first, last;			/* pages, inclusive */
	enum vellum_track_method method;
	struct vellum_tracker *next;		/* tracker_list.lock */
	struct mutex collect_lock;
	/* collect_lock protects: */
	uint64_t nr_collections;
	uint64_t fault_ns, scan_ns;		/* of a write fault; of a scan of 512 entries */
	vellum_switch_fn on_switch;
	void *switch_arg;
	struct mutex lock;
	/* lock protects: */
	struct page_set changed;
	bool watches_pages;	/* a page that is pinned for writing, or added, counts as changed */
	bool overflowed;	/* no memory for a record: every page may have changed */
	struct radix chunks;	/* page >> CHUNK_SHIFT to struct chunk; written with collect_lock too */
};

/* One collection. collect_lock is held, and the mmap lock (mm) or i_mmap_lock (mapping) for reading. */
struct collection {
	struct vellum_tracker *t;
	uint64_t first, last;		/* the part of the tracked range, inclusive */
	bool report_all;		/* the tracker overflowed: all pages count as changed */
	struct page_set taken;
	struct radix switched;		/* chunk number to its new method + 1, for on_switch */
	struct vellum_flush_batch batch; /* changes; its ranges are used for an mm only */
};

static inline const struct host *tracker_host(const struct vellum_tracker *t)
{
	return t->mm ? mm_host(t->mm) : &t->mapping->memory->host;
}

/* tracker.c */
/* Pages @page to @page + 63, a bit each in @mask. */
void tracker_record_mask(struct vellum_tracker *t, uint64_t page, uint64_t mask);

/* collect.c */
/* The number of the page at @addr, as the tracker counts pages. */
uint64_t tracker_page_index(const struct vellum_tracker *t, const struct vma *vma, gva_t addr);
/* Walk the entries of pages [first, last] of the tracked range. */
void walk_tracked_range(struct collection *c, uint64_t first, uint64_t last, const struct mm_walk_ops *ops);
int test_shared_vma(struct vma *vma, struct mm_walk *walk);
/*
 * Remove D from those of @nr (at most 64) entries from @i on that have it, and propagate it to all but c->t. Return: a
 * mask of these entries. ptl held. Inline, because most calls find no D: the loop over the entries is their whole cost.
 */
static inline uint64_t harvest_entries(const struct collection *c, struct table_edit *ed, struct vma *vma, unsigned i,
				       unsigned nr)
{
	uint64_t mask = edit_entries(ed, i, nr, X86_DIRTY | X86_SAVED_DIRTY, pte_mkclean);

	if (mask)
		propagate_dirty(vma, ed->addr + ((gva_t)i << PAGE_SHIFT), ed->ptes + i, mask, c->t);
	return mask;
}

/* auto.c */
/* The page's changes are found by D; else by write faults. t->lock or collect_lock held. */
bool tracker_uses_dirty_bit(const struct vellum_tracker *t, uint64_t page);
void auto_begin(struct vellum_tracker *t) HOLDS(&t->lock);		/* set the first methods */
/* The next run of pages in [*first, last] whose changes are found by D. False: none. */
bool auto_next_dirty_bit_range(const struct vellum_tracker *t, uint64_t *first, uint64_t last, uint64_t *run_last);
void auto_decide(struct collection *c);			/* switch methods; after take_set(), before rearm() */
void auto_report_switches(struct collection *c);			/* call on_switch; no lock but collect_lock is held */
void auto_end(struct vellum_tracker *t);

#endif
