/* SPDX-License-Identifier: MIT */
/* tests/unit/collected.h - what a collection hands out, as an exact set of more than 64 pages. */
#ifndef TESTS_UNIT_COLLECTED_H
#define TESTS_UNIT_COLLECTED_H

#include "more_support.h"

#define CLEAN VELLUM_TRACK_CLEAN
#define WP    VELLUM_TRACK_WP
#define BASE_PAGE (BASE >> 12)

#define MAX_PAGES 2048

struct set {
	uint64_t base;		/* the number of page 0 */
	bool has[MAX_PAGES];
	unsigned calls;
	int answer;
};

static inline int add_run(void *arg, uint64_t first, uint64_t nr)
{
	struct set *s = arg;

	s->calls++;
	for (uint64_t i = first - s->base; i < first - s->base + nr; i++) {
		assert_in_range(i, 0, MAX_PAGES - 1);
		s->has[i] = true;
	}
	return s->answer;
}

static inline struct set *collected(struct vellum_tracker *t, uint64_t base, uint64_t first, uint64_t end)
{
	static struct set s;

	memset(&s, 0, sizeof(s));
	s.base = base;
	OK(vellum_tracker_collect(t, base + first, base + end, add_run, &s));
	return &s;
}

#endif
