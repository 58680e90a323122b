/* SPDX-License-Identifier: MIT */
/* tests/explore/scenarios.h - the tables of scenarios. A scenario without a name ends each. */
#ifndef TESTS_EXPLORE_SCENARIOS_H
#define TESTS_EXPLORE_SCENARIOS_H

#include "scenario.h"

extern const struct scenario clean_scenarios[];		/* the two helpers */
extern const struct scenario collect_scenarios[];	/* trackers, and stores by the embedder */
extern const struct scenario cow_scenarios[];		/* fork and copy-on-write */
extern const struct scenario huge_scenarios[];		/* huge entries */
extern const struct scenario mremap_scenarios[];
extern const struct scenario snapshot_scenarios[];	/* snapshots: CPUs, reclaim, pins, trackers */
extern const struct scenario snapshot_share_scenarios[];	/* snapshots: shared pages, branches */
extern const struct scenario split_scenarios[];		/* accesses that cross a page */
extern const struct scenario swap_scenarios[];		/* swap, pins, migration */
extern const struct scenario truncate_scenarios[];	/* pages are removed from a mapping */
extern const struct scenario uffd_scenarios[];		/* userfaultfd, markers, PAGEMAP_SCAN */
extern const struct scenario writeback_scenarios[];	/* writeback, and reclaim of cached pages */
extern const struct scenario zap_scenarios[];		/* entries are removed: munmap, madvise, unmap by mapping */

#endif
