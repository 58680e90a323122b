/* SPDX-License-Identifier: MIT */
/* bench/dirty.c - dirty tracking: the helpers for shared mappings, and the tracker. */
#define _GNU_SOURCE
#include "bench/bench.h"
#include "vellum/backing.h"
#include "vellum/dirty.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* The host's side of a scenario: memory that the kernel tracks, if it supports that. */
struct host_side {
	char *at;
	uint64_t pages;
	struct wp_async tracked;
	const char *missing;
};

static void host_open(struct host_side *h, uint64_t pages, int flags)
{
	h->pages = pages;
	h->at = map_host(pages, flags);
	store_host(h->at, pages, 1, 1);
	h->missing = wp_async_open(&h->tracked, h->at, pages);
}

static void host_close(struct host_side *h)
{
	if (!h->missing)
		wp_async_close(&h->tracked);
	unmap_host(h->at, h->pages);
}

/* Add a row. If the host lacks the feature, a note says why. */
static struct row *row_with(struct host_side *h, const char *name, const char *vellum_is,
			    const char *host_is)
{
	struct row *row = row_add(name, "ns/page", vellum_is, host_is);

	if (h->missing)
		row_note(row, "host: not available (%s)", h->missing);
	return row;
}

/* The time per page of a collection that arms pages again. It must find @dirty pages. */
static double scan_host(struct host_side *h, uint64_t dirty)
{
	double start = now_ns();
	uint64_t got;

	if (h->missing)
		return NAN;
	got = wp_async_written(&h->tracked, true);
	start = now_ns() - start;
	must(got == dirty, "PAGEMAP_SCAN found %llu pages, not %llu", (unsigned long long)got,
	     (unsigned long long)dirty);
	return start / (double)h->pages;
}

/* --- the helpers, on a shared mapping --- */

struct shared {
	struct world w;
	struct vellum_mapping *mapping;
	uint64_t at, pages;
	uint64_t *bitmap;
	struct host_side host;
};

static void shared_open(struct shared *s)
{
	struct vellum_map_args args = { .size = sizeof(args), .prot = RW, .flags = VELLUM_MAP_SHARED,
					.file_prot = RW };

	s->pages = amount(256, 16) * MIB / PAGE;
	world_open(&s->w, s->pages);
	args.len = s->pages * PAGE;
	must(!vellum_mapping_create(s->w.memory, NULL, NULL, s->pages, 0, &s->mapping), "no mapping");
	args.mapping = s->mapping;
	must(!vellum_mmap(s->w.mm, &args, &s->at), "vellum_mmap");
	store_vellum(s->w.cpu[0], s->at, s->pages, 1, 1);
	s->bitmap = calloc(s->pages / 64, sizeof(*s->bitmap));
	must(s->bitmap, "no memory");
	host_open(&s->host, s->pages, MAP_SHARED);
}

static void shared_close(struct shared *s)
{
	host_close(&s->host);
	free(s->bitmap);
	must(!vellum_munmap(s->w.mm, s->at, s->pages * PAGE), "munmap");
	vellum_mapping_put(s->mapping);
	world_close(&s->w);
}

static double clean_vellum(struct shared *s, uint64_t dirty)
{
	uint64_t start = 0, end = 0, count = 0, set = 0;
	double ns;
	int err;

	memset(s->bitmap, 0, s->pages / 8);
	ns = now_ns();
	err = vellum_clean_record_shared_mapping_range(s->mapping, 0, s->pages, 0, s->bitmap, &start, &end,
						       &count);
	ns = now_ns() - ns;
	for (uint64_t i = 0; i < s->pages / 64; i++)
		set += (uint64_t)__builtin_popcountll(s->bitmap[i]);
	must(!err && count == dirty && set == dirty, "clean-and-record: %llu pages, not %llu",
	     (unsigned long long)set, (unsigned long long)dirty);
	return ns / (double)s->pages;
}

static void bench_clean(struct shared *s)
{
	static const char call[] = "library call vellum_clean_record_shared_mapping_range()";
	static const char ioctl[] = "system call ioctl(PAGEMAP_SCAN, WP_MATCHING)";
	struct row *none = row_with(&s->host, "shared.clean.none", call, ioctl);
	struct row *some = row_with(&s->host, "shared.clean.1%", call, ioctl);
	struct row *all = row_with(&s->host, "shared.clean.all", call, ioctl);
	const struct {
		struct row *row;
		uint64_t step;	/* every such page is dirty; 0: none */
	} c[] = { { none, 0 }, { some, 100 }, { all, 1 } };

	row_goal_ratio(none, 3);
	row_goal_ratio(all, 5);
	clean_vellum(s, s->pages);
	for (unsigned i = amount(25, 2); i--;)
		for (unsigned j = 0; j < 3; j++) {
			uint64_t dirty = c[j].step ? (s->pages + c[j].step - 1) / c[j].step : 0;
			double ours;

			/* Each side runs after its own stores or scan, so that caches are equally warm. */
			if (dirty)
				store_vellum(s->w.cpu[0], s->at, s->pages, c[j].step, i);
			else
				clean_vellum(s, 0);
			ours = clean_vellum(s, dirty);
			if (dirty)
				store_host(s->host.at, s->pages, c[j].step, i);
			else
				scan_host(&s->host, 0);
			row_sample(c[j].row, ours, scan_host(&s->host, dirty));
		}
}

static double wp_vellum(struct shared *s)
{
	uint64_t count = 0;
	double ns = now_ns();
	int err = vellum_wp_shared_mapping_range(s->mapping, 0, s->pages, &count);

	ns = now_ns() - ns;
	must(!err && count == s->pages, "wp: %llu pages", (unsigned long long)count);
	return ns / (double)s->pages;
}

static double wp_host(struct host_side *h)
{
	double ns = now_ns();

	if (h->missing)
		return NAN;
	wp_async_protect(&h->tracked);
	ns = now_ns() - ns;
	must(wp_async_written(&h->tracked, false) == 0, "UFFDIO_WRITEPROTECT left pages writable");
	return ns / (double)h->pages;
}

static void bench_wp(struct shared *s)
{
	struct row *wp = row_with(&s->host, "shared.wp", "library call vellum_wp_shared_mapping_range()",
				  "system call ioctl(UFFDIO_WRITEPROTECT)");
	struct row *store = row_with(&s->host, "shared.wp.store",
				     "software MMU's miss, walk and fault handler", "hardware fault");

	row_note(wp, "all pages writable");
	row_note(store, "first store to a page after it");
	for (unsigned i = amount(25, 2); i--;) {
		double ours, theirs, n = (double)s->pages;
		uint64_t before;

		store_vellum(s->w.cpu[0], s->at, s->pages, 1, i);
		store_host(s->host.at, s->pages, 1, i);
		ours = wp_vellum(s);
		theirs = wp_host(&s->host);
		row_sample(wp, ours, theirs);
		before = vellum_mm_counter(s->w.mm, VELLUM_COUNT_FAULT_NOTIFY);
		ours = store_vellum(s->w.cpu[0], s->at, s->pages, 1, i) / n;
		must(vellum_mm_counter(s->w.mm, VELLUM_COUNT_FAULT_NOTIFY) - before == s->pages,
		     "wp: a store did not fault");
		theirs = store_host(s->host.at, s->pages, 1, i) / n;
		row_sample(store, ours, s->host.missing ? NAN : theirs);
	}
}

void bench_shared(void)
{
	struct shared s;

	shared_open(&s);
	bench_clean(&s);
	bench_wp(&s);
	shared_close(&s);
}

/* --- the tracker, on private memory --- */

struct tracked {
	uint64_t at, pages;
	struct vellum_tracker *tracker;
	struct row *store, *collect, *idle;
};

static int add_pages(void *arg, uint64_t first, uint64_t nr)
{
	(void)first;
	*(uint64_t *)arg += nr;
	return 0;
}

static double collect_vellum(struct tracked *t, uint64_t dirty)
{
	uint64_t got = 0;
	double ns = now_ns();
	int err = vellum_tracker_collect(t->tracker, 0, ~0ull, add_pages, &got);

	ns = now_ns() - ns;
	must(!err && got == dirty, "tracker: %llu pages, not %llu", (unsigned long long)got,
	     (unsigned long long)dirty);
	return ns / (double)t->pages;
}

static void tracked_open(struct tracked *t, struct world *w, struct host_side *h, const char *method,
			 enum vellum_track_method how)
{
	static const char ioctl[] = "system call ioctl(PAGEMAP_SCAN, WP_MATCHING)";
	static const char call[] = "library call vellum_tracker_collect()";
	char name[48];

	t->pages = h->pages;
	t->at = map_vellum(w->mm, t->pages, ANON);
	store_vellum(w->cpu[0], t->at, t->pages, 1, 1);
	must(!vellum_track_mm(w->mm, t->at, t->at + t->pages * PAGE, how, &t->tracker), "no tracker");
	snprintf(name, sizeof(name), "track.%s.store", method);
	t->store = row_with(h, name, how == VELLUM_TRACK_WP ? "software MMU's miss, walk and fault handler" :
							      "software MMU's miss and walk (no fault)",
			    "hardware fault (userfaultfd WP_ASYNC)");
	row_note(t->store, "first store to a page after it was armed");
	snprintf(name, sizeof(name), "track.%s.collect.all", method);
	t->collect = row_with(h, name, call, ioctl);
	snprintf(name, sizeof(name), "track.%s.collect.none", method);
	t->idle = row_with(h, name, call, ioctl);
}

static void tracked_round(struct tracked *t, struct world *w, struct host_side *h, uint64_t value)
{
	double n = (double)t->pages;
	double ours = store_vellum(w->cpu[0], t->at, t->pages, 1, value) / n;
	double theirs = store_host(h->at, h->pages, 1, value) / n;

	row_sample(t->store, ours, h->missing ? NAN : theirs);
	ours = collect_vellum(t, t->pages);
	row_sample(t->collect, ours, scan_host(h, t->pages));
	ours = collect_vellum(t, 0);
	row_sample(t->idle, ours, scan_host(h, 0));
}

void bench_track(void)
{
	uint64_t pages = amount(16384, 512);
	struct tracked t[2];
	struct host_side h;
	struct world w;

	world_open(&w, 2 * pages);
	host_open(&h, pages, MAP_PRIVATE);
	tracked_open(&t[0], &w, &h, "clean", VELLUM_TRACK_CLEAN);
	tracked_open(&t[1], &w, &h, "wp", VELLUM_TRACK_WP);
	for (unsigned i = amount(25, 2); i--;)
		for (unsigned j = 0; j < 2; j++)
			tracked_round(&t[j], &w, &h, i);
	for (unsigned j = 0; j < 2; j++)
		vellum_tracker_destroy(t[j].tracker);
	host_close(&h);
	world_close(&w);
}
