/* SPDX-License-Identifier: MIT */
/*
 * cli/track.h - what track.c, rows.c and verify.c share.
 *
 * track->lock protects all of it. The collecting thread takes it, and so do the threads of processes while they
 * execute a system call.
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
	struct radix dirty;		/* page / WORD_BITS to uint64_t, a bit per page: changed since it started */
	struct replica replica;		/* private pages */
	struct rows losing;		/* VMAs of the range that is being unmapped */
	int ppid;
	uint64_t dirty_pages, write_faults;	/* of the mappings that have ended */
	uint64_t start_ns, rss_pages;	/* start, since the run began; RSS at exit */
	struct threads threads;		/* that have left it; empty without a report file */
	bool started;			/* the loader has finished: the program makes all changes from now on */
};

struct object {			/* a shared mapping (vellum_mapping) and its replica */
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
	uint64_t listed_faults[NR_FAULT_KINDS];	/* up to the last collection with a record */
	uint64_t t0;
	pthread_t thread;
	bool running, stop;
	pthread_cond_t wake;
};

void *grow(void *array, size_t nr, size_t *max, size_t size);	/* room for one more element; exits if out of memory */

/* track.c */
bool keeps_records(const struct track *track);	/* for the JSON or HTML report */
void collect_everything(struct track *track);

/* rows.c: pages that changed, and the report's rows, one per VMA */
void mark_dirty(struct mm_track *mt, uint64_t first, uint64_t end);
void forget_dirty(struct mm_track *mt, uint64_t first, uint64_t end);
void clear_dirty(struct mm_track *mt);
/* Append a row for each VMA that overlaps [start, end), as it is now. */
void list_rows(const struct mm_track *mt, uint64_t start, uint64_t end, struct rows *rows);
/* [start, end) of the listed VMAs was unmapped: add that part of each to the report. Empties @rows. */
void finish_rows(struct mm_track *mt, struct rows *rows, uint64_t start, uint64_t end);

/* verify.c: the replica that --verify updates from collections alone */
/* Collected pages [first, end): copy those that are mapped now into the replica, drop the others from it. */
void update_replica(struct mm_track *mt, uint64_t first, uint64_t end);
/* After fork(2), before the child runs: a copy without what the child does not have. */
void replica_of_child(struct mm_track *child, const struct mm_track *parent);
/* A shared file was mapped in [start, end): copy its contents into the replica, before any store. */
void verify_mapped(struct mm_track *mt, uint64_t start, uint64_t end);
void verify_mm(struct mm_track *mt);
void forget_objects(struct track *track);

#endif
