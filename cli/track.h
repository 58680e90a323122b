/* SPDX-License-Identifier: MIT */
/*
 * cli/track.h - what track.c, rows.c and verify.c share.
 *
 * track->lock protects all of it. It is taken by the collecting thread and by processes that are in a
 * system call, never while the program runs.
 */
#ifndef CLI_TRACK_H
#define CLI_TRACK_H

#include <pthread.h>

#include "cli/cli.h"

#define PAGE		VELLUM_PAGE_SIZE
#define ALL_PAGES	(VELLUM_TASK_SIZE / PAGE)

struct mm_track {		/* of one address space */
	struct mm_track *next;
	struct track *track;
	struct guest_mm *gmm;
	struct vellum_tracker *tracker;
	struct radix dirty;		/* page / WORD_BITS to uint64_t: changed since it started */
	struct replica replica;		/* private pages */
	struct rows losing;		/* mappings that may be about to go */
	int ppid;
	uint64_t start_ns, rss_pages;	/* since the run began; at its end */
	bool started;			/* what changes now is the program's doing */
};

struct object {			/* a shared object's replica */
	struct object *next;
	struct vellum_mapping *mapping;
	struct replica replica;
};

struct track {
	const struct run_options *opt;
	struct abi_observer observer;
	pthread_mutex_t lock;
	struct mm_track *mms;
	struct object *objects;
	struct track_result result;
	uint64_t listed_faults[NR_FAULT_KINDS];	/* up to the last collection that is listed */
	uint64_t t0;
	pthread_t thread;
	bool running, stop;
	pthread_cond_t wake;
};

void *grow(void *array, size_t nr, size_t *max, size_t size);	/* room for one more, or exit */

/* track.c */
bool keeps_records(const struct track *track);	/* is there a report that tells of everything? */
void collect_everything(struct track *track);

/* rows.c: pages that changed, and the mappings of the report */
void mark_dirty(struct mm_track *mt, uint64_t first, uint64_t end);
void forget_dirty(struct mm_track *mt, uint64_t first, uint64_t end);
void clear_dirty(struct mm_track *mt);
/* The mappings that meet [start, end), as they stand. */
void list_rows(const struct mm_track *mt, uint64_t start, uint64_t end, struct rows *rows);
/* The listed mappings lost [start, end): that part of them is final. */
void finish_rows(struct mm_track *mt, struct rows *rows, uint64_t start, uint64_t end);

/* verify.c: the replica that --verify feeds from collections alone */
/* A run of collected pages: what is mapped there now is copied, what is not is dropped. */
void update_replica(struct mm_track *mt, uint64_t first, uint64_t end);
/* Shared pages of a file that appear in [start, end): what they hold before anybody stores there. */
void verify_mapped(struct mm_track *mt, uint64_t start, uint64_t end);
void verify_mm(struct mm_track *mt);
void forget_objects(struct track *track);

#endif
