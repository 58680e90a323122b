/* SPDX-License-Identifier: MIT */
/*
 * cli/track.c - one tracker per address space of a run; collections at an interval and wherever
 * something is about to vanish; the replica that --verify feeds from nothing else.
 *
 * track->lock protects all of it. It is taken by the collecting thread and by processes that are in a
 * system call, never while the program runs.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "vellum/access.h"
#include "vellum/backing.h"

#define PAGE		VELLUM_PAGE_SIZE
#define ALL_PAGES	(VELLUM_TASK_SIZE / PAGE)
#define WORD_BITS	64
#define RETRIES		1000	/* of a comparison with memory that others store to meanwhile */

struct mm_track {		/* of one address space */
	struct mm_track *next;
	struct track *track;
	struct guest_mm *gmm;
	struct vellum_tracker *tracker;
	struct radix dirty;		/* page / WORD_BITS to uint64_t: changed since it started */
	struct replica replica;		/* private pages */
	struct rows losing;		/* mappings that may be about to go */
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
	uint64_t t0;
	pthread_t thread;
	bool running, stop;
	pthread_cond_t wake;
};

static void *grow(void *array, size_t nr, size_t *max, size_t size)
{
	void *more;

	if (nr < *max)
		return array;
	*max = *max ? 2 * *max : 16;
	more = realloc(array, *max * size);
	if (!more) {
		fail("out of memory for the report");
		exit(EXIT_VELLUM);
	}
	return more;
}

static void add_range(struct ranges *r, uint64_t first, uint64_t count)
{
	if (r->nr && r->at[r->nr - 1].first + r->at[r->nr - 1].count == first) {
		r->at[r->nr - 1].count += count;
		return;
	}
	r->at = grow(r->at, r->nr, &r->max, sizeof(*r->at));
	r->at[r->nr++] = (struct range){ first, count };
}

/* --- pages that changed --- */

static void mark_dirty(struct mm_track *mt, uint64_t page)
{
	uint64_t *word = radix_get(&mt->dirty, page / WORD_BITS);

	if (!word) {
		word = calloc(1, sizeof(*word));
		if (!word || radix_set(&mt->dirty, page / WORD_BITS, word, cli_host())) {
			fail("out of memory for the report");
			exit(EXIT_VELLUM);
		}
	}
	*word |= 1ull << page % WORD_BITS;
}

static void forget_dirty(struct mm_track *mt, uint64_t first, uint64_t end)
{
	uint64_t *word;

	for (uint64_t i = first / WORD_BITS;
	     (word = radix_next(&mt->dirty, &i)) && i <= (end - 1) / WORD_BITS; i++)
		for (unsigned bit = 0; bit < WORD_BITS; bit++)
			if (i * WORD_BITS + bit >= first && i * WORD_BITS + bit < end)
				*word &= ~(1ull << bit);
}

static void dirty_ranges(const struct mm_track *mt, uint64_t first, uint64_t end, struct ranges *out)
{
	const uint64_t *word;

	for (uint64_t i = first / WORD_BITS;
	     (word = radix_next(&mt->dirty, &i)) && i <= (end - 1) / WORD_BITS; i++)
		for (unsigned bit = 0; bit < WORD_BITS; bit++) {
			uint64_t page = i * WORD_BITS + bit;

			if ((*word >> bit & 1) && page >= first && page < end)
				add_range(out, page - first, 1);
		}
}

static void clear_dirty(struct mm_track *mt)
{
	uint64_t *word;

	for (uint64_t i = 0; (word = radix_next(&mt->dirty, &i)); i++)
		free(word);
	radix_destroy(&mt->dirty, cli_host());
}

/* --- the replica --- */

static struct object *find_object(struct track *track, struct vellum_mapping *mapping)
{
	struct object *o = track->objects;

	while (o && o->mapping != mapping)
		o = o->next;
	if (o)
		return o;
	o = calloc(1, sizeof(*o));
	if (!o) {
		fail("out of memory for the replica of --verify");
		exit(EXIT_VELLUM);
	}
	vellum_mapping_get(mapping);
	o->mapping = mapping;
	o->next = track->objects;
	track->objects = o;
	return o;
}

static bool is_shared(const struct vellum_vma_info *info)
{
	return info->shared && info->mapping;
}

/* The replica that a page of a mapping belongs to, and its number there. */
static struct replica *replica_of(struct mm_track *mt, const struct vellum_vma_info *info, uint64_t page,
				  uint64_t *index)
{
	*index = page;
	if (!is_shared(info))
		return &mt->replica;
	*index = info->pgoff + page - info->start / PAGE;
	return &find_object(mt->track, info->mapping)->replica;
}

static void update_page(struct mm_track *mt, const struct vellum_vma_info *info, uint64_t page)
{
	char bytes[PAGE];
	uint64_t index;
	struct replica *r = replica_of(mt, info, page, &index);
	int found = vellum_peek(mt->gmm->mm, page * PAGE, bytes);

	if (is_shared(info))
		replica_drop(&mt->replica, page);	/* what was private here before */
	if (found == 1) {
		replica_store(r, index, bytes);
	} else if (is_shared(info)) {
		abi_absent_page(info, page * PAGE, bytes);
		replica_store(r, index, bytes);
	} else {
		replica_drop(r, index);		/* as it was at first */
	}
}

/* A run of collected pages: what is mapped there now is copied, what is not is dropped. */
static void update_replica(struct mm_track *mt, uint64_t first, uint64_t end)
{
	struct vellum_vma_info info = { .end = 0 };

	for (uint64_t page = first; page < end; page++) {
		bool mapped = true;

		if (page * PAGE >= info.end)
			mapped = vellum_vma_next(mt->gmm->mm, page * PAGE, &info) == 0;
		if (!mapped)
			info = (struct vellum_vma_info){ .start = ~0ull, .end = ~0ull };
		if (page * PAGE >= info.start)
			update_page(mt, &info, page);
		else
			replica_drop(&mt->replica, page);
	}
}

/* --- collecting --- */

struct hand_out {
	struct mm_track *mt;
	struct collection_record *record;
	bool count;			/* these are changes, not just pages that went away */
	uint64_t scan_end;
};

static int take_run(void *arg, uint64_t first, uint64_t nr)
{
	struct hand_out *h = arg;
	struct collection_record *rec = h->record;
	struct vellum_vma_info info;

	if (!h->scan_end)
		h->scan_end = monotonic_ns();
	/* A lost record names the whole range: only what is mapped can have changed. */
	for (uint64_t at = first; at < first + nr;) {
		uint64_t from, to;

		if (nr > 1ull << 24) {
			if (vellum_vma_next(h->mt->gmm->mm, at * PAGE, &info))
				break;
			from = info.start / PAGE > at ? info.start / PAGE : at;
			to = info.end / PAGE < first + nr ? info.end / PAGE : first + nr;
		} else {
			from = at;
			to = first + nr;
		}
		if (h->count) {
			for (uint64_t page = from; page < to; page++)
				mark_dirty(h->mt, page);
			rec->pages += to - from;
			rec->ranges = grow(rec->ranges, rec->nr_ranges, &rec->max_ranges,
					   sizeof(*rec->ranges));
			rec->ranges[rec->nr_ranges].pid = h->mt->gmm->pid;
			rec->ranges[rec->nr_ranges].addr = from * PAGE;
			rec->ranges[rec->nr_ranges++].count = to - from;
		}
		if (h->mt->track->opt->verify)
			update_replica(h->mt, from, to);
		at = to;
	}
	return 0;
}

/* One address space's part of a collection. lock held. */
static void collect_mm(struct mm_track *mt, uint64_t first, uint64_t end, bool count,
		       struct collection_record *rec)
{
	struct hand_out h = { .mt = mt, .record = rec, .count = count };
	uint64_t start = monotonic_ns();

	vellum_tracker_collect(mt->tracker, first, end, take_run, &h);
	rec->scan_ns += (h.scan_end ? h.scan_end : monotonic_ns()) - start;
}

static void keep_record(struct track *track, struct collection_record *rec, uint64_t start)
{
	struct track_result *res = &track->result;

	res->nr_collections++;
	res->nr_pages += rec->pages;
	res->scan_ns += rec->scan_ns;
	rec->t_ns = start - track->t0;
	if (!rec->pages || !track->opt->json) {
		free(rec->ranges);
		return;
	}
	res->records = grow(res->records, res->nr_records, &res->max_records, sizeof(*res->records));
	res->records[res->nr_records++] = *rec;
}

static void collect_range(struct mm_track *mt, uint64_t start, uint64_t end, bool count)
{
	struct collection_record rec = { .pages = 0 };
	uint64_t t = monotonic_ns();

	if (!mt->tracker)
		return;
	collect_mm(mt, start / PAGE, end / PAGE, count, &rec);
	keep_record(mt->track, &rec, t);
}

static void collect_everything(struct track *track)
{
	struct collection_record rec = { .pages = 0 };
	uint64_t t = monotonic_ns();

	for (struct mm_track *mt = track->mms; mt; mt = mt->next)
		collect_mm(mt, 0, ALL_PAGES, mt->started, &rec);
	keep_record(track, &rec, t);
}

/* --- comparing --- */

/* Memory and replica of one page. */
static bool page_equal(struct mm_track *mt, const struct vellum_vma_info *info, uint64_t page)
{
	char actual[PAGE], initial[PAGE];
	uint64_t index;
	const struct replica *r = replica_of(mt, info, page, &index);
	const void *expected = replica_get(r, index);
	int found = vellum_peek(mt->gmm->mm, page * PAGE, actual);

	if (found != 1 && !expected && !is_shared(info))
		return true;		/* never touched */
	if (found != 1)
		abi_absent_page(info, page * PAGE, actual);
	if (!expected) {
		abi_initial_page(info, page * PAGE, initial);
		expected = initial;
	}
	return memcmp(actual, expected, PAGE) == 0;
}

/* Shared pages may be stored to by others now: a difference counts if a collection can't mend it. */
static bool settles(struct mm_track *mt, const struct vellum_vma_info *info, uint64_t page)
{
	for (int i = 0; is_shared(info) && i < RETRIES; i++) {
		collect_everything(mt->track);
		if (page_equal(mt, info, page))
			return true;
	}
	return false;
}

static void verify_mm(struct mm_track *mt)
{
	struct track_result *res = &mt->track->result;
	struct vellum_vma_info info;
	char name[ABI_MAX_NAME];

	for (uint64_t at = 0; vellum_vma_next(mt->gmm->mm, at, &info) == 0; at = info.end)
		for (uint64_t page = info.start / PAGE; page < info.end / PAGE; page++) {
			if (info.device || page_equal(mt, &info, page) || settles(mt, &info, page))
				continue;
			if (res->nr_differences++ > 10)
				return;
			abi_mapping_name(mt->gmm, &info, name);
			fail("verify: pid %d: page at 0x%llx (%s, page %llu) differs from the replica",
			     mt->gmm->pid, (unsigned long long)(page * PAGE), name[0] ? name : "anonymous",
			     (unsigned long long)(page - info.start / PAGE));
		}
}

/* --- rows of the report --- */

static struct row row_of(const struct mm_track *mt, const struct vellum_vma_info *info)
{
	struct row row = { .pid = mt->gmm->pid, .start = info->start, .end = info->end,
			   .offset = info->mapping ? info->pgoff * PAGE : 0,
			   .write_faults = info->write_faults };

	row.prot[0] = info->prot & VELLUM_PROT_READ ? 'r' : '-';
	row.prot[1] = info->prot & VELLUM_PROT_WRITE ? 'w' : '-';
	row.prot[2] = info->prot & VELLUM_PROT_EXEC ? 'x' : '-';
	row.prot[3] = info->shared ? 's' : 'p';
	abi_mapping_name(mt->gmm, info, row.name);
	return row;
}

static void push_row(struct rows *rows, const struct row *row)
{
	rows->at = grow(rows->at, rows->nr, &rows->max, sizeof(*rows->at));
	rows->at[rows->nr++] = *row;
}

/* The mapping ends here: what changed in it is final. */
static void finish_row(struct mm_track *mt, struct row row)
{
	dirty_ranges(mt, row.start / PAGE, row.end / PAGE, &row.dirty);
	for (size_t i = 0; i < row.dirty.nr; i++)
		row.dirty_pages += row.dirty.at[i].count;
	push_row(&mt->track->result.rows, &row);
}

/* The mappings that meet [start, end), as they stand. */
static void list_rows(const struct mm_track *mt, uint64_t start, uint64_t end, struct rows *rows)
{
	struct vellum_vma_info info;

	for (uint64_t at = start; vellum_vma_next(mt->gmm->mm, at, &info) == 0 && info.start < end;
	     at = info.end) {
		struct row row = row_of(mt, &info);

		push_row(rows, &row);
	}
}

/* The listed mappings lost [start, end): that part of them is final. */
static void finish_rows(struct mm_track *mt, struct rows *rows, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < rows->nr; i++) {
		struct row row = rows->at[i];
		uint64_t cut = row.start < start ? start - row.start : 0;

		if (start == end || row.end <= start || row.start >= end)
			continue;
		row.start += cut;
		if (cut && (row.offset || row.name[0] == '/'))
			row.offset += cut;
		if (cut)
			row.write_faults = 0;	/* they stay with the part that stays */
		if (row.end > end)
			row.end = end;
		finish_row(mt, row);
	}
	free(rows->at);
	*rows = (struct rows){ .nr = 0 };
}

/* --- what the observer is told --- */

static bool tracking(const struct track *track)
{
	return track->opt->track != TRACK_NONE;
}

/* lock held. NULL: no memory. */
static struct mm_track *watch(struct track *track, struct guest_mm *gmm)
{
	struct mm_track *mt = calloc(1, sizeof(*mt));
	enum vellum_track_method method =
		track->opt->track == TRACK_WP ? VELLUM_TRACK_WP : VELLUM_TRACK_CLEAN;

	if (!mt)
		return NULL;
	mt->track = track;
	mt->gmm = gmm;
	if (tracking(track) && vellum_track_mm(gmm->mm, 0, VELLUM_TASK_SIZE, method, &mt->tracker)) {
		free(mt);
		return NULL;
	}
	gmm->observer_data = mt;
	mt->next = track->mms;
	track->mms = mt;
	return mt;
}

static int on_new(void *arg, struct guest_mm *gmm)
{
	struct track *track = arg;
	bool ok;

	pthread_mutex_lock(&track->lock);
	ok = watch(track, gmm) != NULL;
	pthread_mutex_unlock(&track->lock);
	return ok ? 0 : -1;
}

/* What the loader wrote belongs in the replica, but is no change by the program. */
static void on_start(void *arg, struct guest_mm *gmm)
{
	struct mm_track *mt = gmm->observer_data;
	struct track *track = arg;

	pthread_mutex_lock(&track->lock);
	collect_range(mt, 0, VELLUM_TASK_SIZE, false);
	mt->started = true;
	pthread_mutex_unlock(&track->lock);
}

static void on_before_fork(void *arg, struct guest_mm *parent)
{
	struct track *track = arg;

	pthread_mutex_lock(&track->lock);
	collect_range(parent->observer_data, 0, VELLUM_TASK_SIZE, true);
	pthread_mutex_unlock(&track->lock);
}

/* The child starts with its parent's memory, so with its parent's replica. */
static int on_after_fork(void *arg, struct guest_mm *parent, struct guest_mm *child)
{
	struct track *track = arg;
	const struct mm_track *from = parent->observer_data;
	struct mm_track *mt;

	pthread_mutex_lock(&track->lock);
	mt = watch(track, child);
	if (mt)
		mt->started = true;
	if (mt && track->opt->verify)
		replica_clone(&mt->replica, &from->replica);
	pthread_mutex_unlock(&track->lock);
	return mt ? 0 : -1;
}

/*
 * The lock stays taken while the range goes: a collection in between would take what vanishes for
 * changes by the program.
 */
static void on_before_unmap(void *arg, struct guest_mm *gmm, uint64_t start, uint64_t end)
{
	struct mm_track *mt = gmm->observer_data;
	struct track *track = arg;

	pthread_mutex_lock(&track->lock);	/* until on_after_unmap() */
	collect_range(mt, start, end, true);
	list_rows(mt, start, end, &mt->losing);
}

/* An empty range: nothing was unmapped after all. The lock is held since on_before_unmap(). */
static void on_after_unmap(void *arg, struct guest_mm *gmm, uint64_t start, uint64_t end)
{
	struct mm_track *mt = gmm->observer_data;
	struct track *track = arg;

	finish_rows(mt, &mt->losing, start, end);
	if (start < end) {
		collect_range(mt, start, end, false);
		forget_dirty(mt, start / PAGE, end / PAGE);
	}
	pthread_mutex_unlock(&track->lock);
}

static void unwatch(struct mm_track *mt)
{
	struct mm_track **at = &mt->track->mms;

	while (*at != mt)
		at = &(*at)->next;
	*at = mt->next;
	for (unsigned i = 0; i < VELLUM_NR_COUNTERS; i++)
		mt->track->result.counters[i] += vellum_mm_counter(mt->gmm->mm, (enum vellum_counter)i);
	vellum_tracker_destroy(mt->tracker);
	clear_dirty(mt);
	replica_clear(&mt->replica);
	mt->gmm->observer_data = NULL;
	free(mt);
}

static void on_end(void *arg, struct guest_mm *gmm)
{
	struct track *track = arg;
	struct mm_track *mt = gmm->observer_data;

	pthread_mutex_lock(&track->lock);
	if (gmm->loaded) {
		collect_range(mt, 0, VELLUM_TASK_SIZE, true);
		if (track->opt->verify)
			verify_mm(mt);
		list_rows(mt, 0, VELLUM_TASK_SIZE, &mt->losing);
		finish_rows(mt, &mt->losing, 0, VELLUM_TASK_SIZE);
	}
	unwatch(mt);
	pthread_mutex_unlock(&track->lock);
}

/* --- the collecting thread --- */

static void live_line(struct track *track, uint64_t now, uint64_t *next)
{
	unsigned nr = 0;

	if (now < *next)
		return;
	*next = now + 200000000u;
	for (const struct mm_track *mt = track->mms; mt; mt = mt->next)
		nr++;
	fprintf(stderr, "\r\033[Kvellum: %.1f s, %u address spaces, %llu collections, %llu pages changed\r",
		(double)(now - track->t0) / 1e9, nr, (unsigned long long)track->result.nr_collections,
		(unsigned long long)track->result.nr_pages);
}

static void *collect_thread(void *arg)
{
	struct track *track = arg;
	bool live = isatty(STDERR_FILENO);
	uint64_t next_line = track->t0 + 500000000u;

	pthread_mutex_lock(&track->lock);
	while (!track->stop) {
		uint64_t wake = monotonic_ns() + track->opt->interval_ns;
		struct timespec ts = { (time_t)(wake / 1000000000u), (long)(wake % 1000000000u) };

		pthread_cond_timedwait(&track->wake, &track->lock, &ts);
		if (track->stop)
			break;
		collect_everything(track);
		if (live)
			live_line(track, monotonic_ns(), &next_line);
	}
	pthread_mutex_unlock(&track->lock);
	if (live)
		fprintf(stderr, "\r\033[K");
	return NULL;
}

struct track *track_create(const struct run_options *opt)
{
	struct track *track = calloc(1, sizeof(*track));
	pthread_condattr_t attr;

	if (!track)
		return NULL;
	track->opt = opt;
	track->observer = (struct abi_observer){ track, on_new, on_start, on_before_fork, on_after_fork,
						 on_before_unmap, on_after_unmap, on_end };
	pthread_mutex_init(&track->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&track->wake, &attr);
	pthread_condattr_destroy(&attr);
	track->t0 = monotonic_ns();
	return track;
}

const struct abi_observer *track_observer(struct track *track)
{
	return &track->observer;
}

void track_start(struct track *track)
{
	if (tracking(track))
		track->running = pthread_create(&track->thread, NULL, collect_thread, track) == 0;
}

void track_stop(struct track *track)
{
	if (!track->running)
		return;
	pthread_mutex_lock(&track->lock);
	track->stop = true;
	pthread_cond_signal(&track->wake);
	pthread_mutex_unlock(&track->lock);
	pthread_join(track->thread, NULL);
	track->running = false;
}

const struct track_result *track_get_result(struct track *track)
{
	return &track->result;
}

void track_destroy(struct track *track)
{
	struct track_result *res = &track->result;

	while (track->objects) {
		struct object *o = track->objects;

		track->objects = o->next;
		replica_clear(&o->replica);
		vellum_mapping_put(o->mapping);
		free(o);
	}
	for (size_t i = 0; i < res->rows.nr; i++)
		free(res->rows.at[i].dirty.at);
	for (size_t i = 0; i < res->nr_records; i++)
		free(res->records[i].ranges);
	free(res->rows.at);
	free(res->records);
	free(track);
}
