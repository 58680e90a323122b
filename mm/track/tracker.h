/* SPDX-License-Identifier: MIT */
/* mm/track/tracker.h - a tracker, for the files that make it up. */
#ifndef MM_TRACK_TRACKER_H
#define MM_TRACK_TRACKER_H

#include "mm/table/pagewalk.h"
#include "mm/table/tlb.h"
#include "mm/track/hooks.h"
#include "mm/track/page_set.h"

/*
 * What VELLUM_TRACK_AUTO knows of 512 pages. A chunk without one is wp, and nothing was stored there
 * for long. Collections are told by their numbers.
 */
struct chunk {
	bool clean;		/* else wp */
	uint8_t patience;	/* it goes to wp after 3 << patience idle collections */
	uint32_t load;		/* what wp costs a collection here, ns; a decaying average */
	uint64_t seen;		/* the collection that @load is of */
	uint64_t busy;		/* the last one that wp would have cost more in than a look */
};

struct vellum_tracker {
	struct vellum_mm *mm;			/* one of these two */
	struct vellum_mapping *mapping;
	uint64_t first, last;			/* pages, inclusive */
	enum vellum_track_method method;
	struct vellum_tracker *next;		/* tracker_list.lock */
	struct mutex collect_lock;
	/* collect_lock protects: */
	uint64_t nr_collections;
	uint64_t fault_ns, scan_ns;		/* of a fault; of looking at 512 entries */
	vellum_switch_fn on_switch;
	void *switch_arg;
	struct mutex lock;
	/* lock protects: */
	struct page_set changed;
	bool lost;		/* a record could not be kept: everything may have changed */
	struct radix chunks;	/* page >> LEAF_SHIFT to struct chunk; written with collect_lock too */
};

/* One collection; collect_lock held, and the mmap lock (mm) or rmap lock (mapping) for reading. */
struct collection {
	struct vellum_tracker *t;
	uint64_t first, last;		/* this part of the watched range, inclusive */
	bool everything;		/* a record was lost */
	struct page_set taken;
	struct radix switched;		/* chunk number to &to_wp or &to_clean, to be told */
	struct vellum_flush_batch batch; /* what this collection changed; of an mm only its ranges count */
};

static inline const struct host *tracker_host(const struct vellum_tracker *t)
{
	return t->mm ? mm_host(t->mm) : &t->mapping->memory->host;
}

/* tracker.c */
void tracker_record(struct vellum_tracker *t, uint64_t page);
/* Pages from @page on, a bit each. */
void tracker_record_mask(struct vellum_tracker *t, uint64_t page, uint64_t mask);

/* collect.c */
uint64_t watched_page(const struct vellum_tracker *t, const struct vma *vma, gva_t addr);
/* Walk what maps pages [first, last] of the watched range. */
void for_each_part(struct collection *c, uint64_t first, uint64_t last, const struct mm_walk_ops *ops);
int part_of_object(struct vma *vma, struct mm_walk *walk);

/* track_auto.c */
/* Its pages are found by their D; else by write faults. t->lock or collect_lock held. */
bool tracker_is_clean(const struct vellum_tracker *t, uint64_t page);
void auto_begin(struct vellum_tracker *t);		/* the methods to start with */
/* The next run of pages of [*first, last] that are found by D. False: none. */
bool auto_next_clean(const struct vellum_tracker *t, uint64_t *first, uint64_t last, uint64_t *run_last);
void auto_decide(struct collection *c);			/* after the set was taken, before it is re-armed */
void auto_tell(struct collection *c);			/* of the switches; no lock but collect_lock held */
void auto_end(struct vellum_tracker *t);

#endif
