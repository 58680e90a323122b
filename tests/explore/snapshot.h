/* SPDX-License-Identifier: MIT */
/*
 * tests/explore/snapshot.h - the world of the scenarios of snapshots.
 *
 * Each scenario ends restored. Its check compares memory with the frozen words, stores to every page, restores again,
 * and compares again: so a store that the next restore cannot find is noticed too.
 */
#ifndef TESTS_EXPLORE_SNAPSHOT_H
#define TESTS_EXPLORE_SNAPSHOT_H

#include "scenarios.h"

#include "mm/snapshot/snapshot.h"

#define PAGES 4

/* When the snapshot is made. Page 2 is missing then. A run changes pages 0, 2 and 3. */
extern const uint64_t frozen_words[PAGES], run_words[PAGES];

extern struct vellum_snapshot *snapshot, *second_snapshot;
extern struct vellum_mm *other_mm;	/* a child or a branch; NULL: none */
extern struct vellum_tracker *snapshot_tracker;
extern uint64_t snapshot_pin, nr_snapshot_pins;

/* @pages of @flags at PAGE(0), with the frozen words, and no snapshot yet. */
void setup_pages(uint32_t flags);
struct vellum_snapshot *freeze_of(struct vellum_mm *of);
void run_program(void);
/* The first run after the snapshot was made: each page that it changes is copied. A restore compares all entries. */
void setup_first_run(void);
/* A later run: its pages are kept ones. A restore goes by D. */
void setup_run(void);
void run_other_on_cpu_0(void);
void end_snapshots(void);

void restorer(void);		/* a thread that restores @snapshot */

/* For checks. NULL, or what is violated. */
const char *has_words(struct vellum_mm *of, const uint64_t *words, const char *what);
const char *restored(struct vellum_snapshot *s);
/* Restored to @snapshot now, and again after more stores. */
const char *restores_again(void);
/* The same for a world that a program changed since the last restore. */
const char *later_stores_found(void);

/* @collect brings @replica_words up to date: they equal memory, also after more stores. */
const char *replica_equals(void (*collect)(void), const uint64_t *replica_words);

/* The next call of reclaim takes the page that @of maps: the clock's hand is before it, and its entry has no A. */
void aim_at(struct vellum_mm *of, unsigned page);
void reclaimer(void);		/* a thread that reclaims a page */

#define RESTORE(n, depth, set, end_check, ...) \
	{ .name = n, .bound = depth, .setup = set, .thread = { THREAD(restorer), __VA_ARGS__ }, \
	  .check_end = end_check, .teardown = end_snapshots }

#endif
