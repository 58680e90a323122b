/* SPDX-License-Identifier: MIT */
/*
 * cli/track.c - one tracker for each address space of a run. A thread collects from all of them at an interval. The
 * observer's callbacks collect from one: when its program starts, before it forks, before and after an unmap, and at
 * its end.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/track.h"
#include "vellum/pagemap.h"

static void no_memory(void)
{
	fail_no_memory("the report");
	exit(EXIT_VELLUM);
}

void *grow(void *array, size_t nr, size_t *max, size_t size)
{
	void *more;

	if (nr < *max)
		return array;
	*max = *max ? 2 * *max : 16;
	more = realloc(array, *max * size);
	if (!more)
		no_memory();
	return more;
}

/* --- collecting --- */

struct collect_arg {
	struct mm_track *mt;
	struct collection_record *record;
	bool count;			/* record the pages as changes; false: only update the replica */
	uint64_t scan_end;
};

/* Pages [first, end) changed. */
static void record_run(struct collect_arg *h, uint64_t first, uint64_t end)
{
	struct collection_record *rec = h->record;

	mark_dirty(h->mt, first, end);
	rec->pages += end - first;
	rec->ranges = grow(rec->ranges, rec->nr_ranges, &rec->max_ranges, sizeof(*rec->ranges));
	rec->ranges[rec->nr_ranges].pid = h->mt->gmm->pid;
	rec->ranges[rec->nr_ranges].addr = first * PAGE;
	rec->ranges[rec->nr_ranges++].count = end - first;
}

static int record_entry(void *arg, const struct vellum_entry *entry)
{
	record_run(arg, entry->start / PAGE, (entry->start + entry->len) / PAGE);
	return 0;
}

#define MAX_RUN (1ull << 24)	/* pages; a tracker that overflowed reports its whole range as one run */

static int on_run(void *arg, uint64_t first, uint64_t nr)
{
	struct collect_arg *h = arg;

	if (!h->scan_end)
		h->scan_end = monotonic_ns();
	if (h->count && nr <= MAX_RUN)
		record_run(h, first, first + nr);
	else if (h->count)	/* only pages with an entry: the others were never touched, or were dropped */
		vellum_walk_entries(h->mt->gmm->mm, first * PAGE, (first + nr) * PAGE, record_entry, h);
	if (h->mt->track->opt->verify)
		update_replica(h->mt, first, first + nr);
	return 0;
}

/* Collect from one address space, as part of a collection. lock held. */
static void collect_mm(struct mm_track *mt, uint64_t first, uint64_t end, bool count,
		       struct collection_record *rec)
{
	struct collect_arg h = { .mt = mt, .record = rec, .count = count };
	uint64_t start = monotonic_ns();

	vellum_tracker_collect(mt->tracker, first, end, on_run, &h);
	rec->scan_ns += (h.scan_end ? h.scan_end : monotonic_ns()) - start;
}

bool keeps_records(const struct track *track)
{
	return track->opt->json || track->opt->html;
}

/* Faults of all processes up to now. */
static uint64_t count_faults(const struct track *track, enum vellum_counter kind)
{
	uint64_t sum = track->result.counters[kind];

	for (const struct mm_track *mt = track->mms; mt; mt = mt->next)
		sum += vellum_mm_counter(mt->gmm->mm, kind);
	return sum;
}

static bool is_write_fault(unsigned kind)
{
	return kind == VELLUM_COUNT_FAULT_ANON || kind == VELLUM_COUNT_FAULT_COW ||
	       kind == VELLUM_COUNT_FAULT_REUSE || kind == VELLUM_COUNT_FAULT_FILE_COW ||
	       kind == VELLUM_COUNT_FAULT_SHARED || kind == VELLUM_COUNT_FAULT_NOTIFY;
}

/*
 * Count the faults since the last collection with a record. The cost is an estimate: the scan, and all REUSE and NOTIFY
 * faults (stores to present, read-only pages), of which some would have occurred without a tracker. A fault costs what
 * the machine says.
 */
static void add_faults(struct track *track, struct collection_record *rec)
{
	for (unsigned i = 0; i < NR_FAULT_KINDS; i++) {
		uint64_t now = count_faults(track, (enum vellum_counter)i);

		rec->faults[i] = now - track->listed_faults[i];
		track->listed_faults[i] = now;
		if (is_write_fault(i))
			rec->write_faults += rec->faults[i];
	}
	rec->cost_ns = rec->scan_ns + track->opt->fault_ns * (rec->faults[VELLUM_COUNT_FAULT_REUSE] +
							      rec->faults[VELLUM_COUNT_FAULT_NOTIFY]);
}

static void keep_record(struct track *track, struct collection_record *rec, uint64_t start)
{
	struct track_result *res = &track->result;

	res->nr_collections++;
	res->nr_pages += rec->pages;
	res->scan_ns += rec->scan_ns;
	rec->t_ns = start - track->t0;
	if (!rec->pages || !keeps_records(track)) {
		free(rec->ranges);
		return;
	}
	add_faults(track, rec);
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

void collect_everything(struct track *track)
{
	struct collection_record rec = { .pages = 0 };
	uint64_t t = monotonic_ns();

	for (struct mm_track *mt = track->mms; mt; mt = mt->next)
		collect_mm(mt, 0, ALL_PAGES, mt->started, &rec);
	keep_record(track, &rec, t);
}

/* --- the observer's callbacks --- */

static bool tracking(const struct track *track)
{
	return track->opt->track != TRACK_NONE;
}

/* A range's method changed. track->lock held: called during a collection, and by start_tracker(). */
static void on_switch(void *arg, uint64_t first, uint64_t nr, enum vellum_track_method method)
{
	struct mm_track *mt = arg;
	struct track_result *res = &mt->track->result;
	struct method_switch sw = { .t_ns = monotonic_ns() - mt->track->t0, .pid = mt->gmm->pid,
				    .addr = first * PAGE, .pages = nr, .wp = method == VELLUM_TRACK_WP };
	struct method_switch *last = res->nr_switches ? &res->switches[res->nr_switches - 1] : NULL;

	res->total_switches++;
	if (!keeps_records(mt->track))
		return;
	if (last && last->pid == sw.pid && last->wp == sw.wp && last->addr + last->pages * PAGE == sw.addr &&
	    sw.t_ns - last->t_ns < 1000000) {	/* adjacent, and within 1 ms: one record */
		last->pages += nr;
		return;
	}
	res->switches = grow(res->switches, res->nr_switches, &res->max_switches, sizeof(sw));
	res->switches[res->nr_switches++] = sw;
}

static int start_tracker(struct mm_track *mt)
{
	static const enum vellum_track_method methods[] = { [TRACK_WP] = VELLUM_TRACK_WP,
							    [TRACK_CLEAN] = VELLUM_TRACK_CLEAN,
							    [TRACK_AUTO] = VELLUM_TRACK_AUTO };
	const struct run_options *opt = mt->track->opt;

	if (vellum_track_mm(mt->gmm->mm, 0, VELLUM_TASK_SIZE, methods[opt->track], &mt->tracker))
		return -1;
	if (opt->track != TRACK_AUTO)
		return 0;
	vellum_tracker_costs(mt->tracker, opt->fault_ns, opt->scan_ns);
	vellum_tracker_on_switch(mt->tracker, on_switch, mt);
	on_switch(mt, 0, ALL_PAGES, VELLUM_TRACK_WP);	/* the initial method */
	return 0;
}

/* The parent of a process that already has an address space (execve); else 0. on_after_fork() sets a child's. */
static int parent_of(const struct track *track, int pid)
{
	for (const struct mm_track *mt = track->mms; mt; mt = mt->next)
		if (mt->gmm->pid == pid)
			return mt->ppid;
	return 0;
}

/* lock held. NULL: out of memory. */
static struct mm_track *watch(struct track *track, struct guest_mm *gmm)
{
	struct mm_track *mt = calloc(1, sizeof(*mt));

	if (!mt)
		return NULL;
	mt->track = track;
	mt->gmm = gmm;
	mt->start_ns = monotonic_ns() - track->t0;
	mt->ppid = parent_of(track, gmm->pid);
	if (tracking(track) && start_tracker(mt)) {
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

/* The loader's stores belong in the replica, but the program did not make them. */
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

/* The child starts with a copy of its parent's memory, and so of its parent's replica. */
static int on_after_fork(void *arg, struct guest_mm *parent, struct guest_mm *child)
{
	struct track *track = arg;
	const struct mm_track *from = parent->observer_data;
	struct mm_track *mt;

	pthread_mutex_lock(&track->lock);
	mt = watch(track, child);
	if (mt) {
		mt->started = true;
		mt->ppid = parent->pid;
	}
	if (mt && track->opt->verify)
		replica_of_child(mt, from);
	pthread_mutex_unlock(&track->lock);
	return mt ? 0 : -1;
}

/*
 * The lock is held until the range is unmapped: a collection in between would report the unmapped pages as changes
 * by the program.
 */
static void on_before_unmap(void *arg, struct guest_mm *gmm, uint64_t start, uint64_t end)
{
	struct mm_track *mt = gmm->observer_data;
	struct track *track = arg;

	pthread_mutex_lock(&track->lock);	/* until on_after_unmap() */
	collect_range(mt, start, end, true);
	list_rows(mt, start, end, &mt->losing);
}

/* An empty range: nothing was unmapped. Releases the lock that on_before_unmap() took. */
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

static void on_mapped(void *arg, struct guest_mm *gmm, uint64_t start, uint64_t end)
{
	struct track *track = arg;

	if (!track->opt->verify)
		return;
	pthread_mutex_lock(&track->lock);
	verify_mapped(gmm->observer_data, start, end);
	pthread_mutex_unlock(&track->lock);
}

/* Without a report file, keep only the records that the summary prints. NULL: not this one. */
static struct process_record *new_process_record(struct mm_track *mt)
{
	struct track_result *res = &mt->track->result;
	struct process_record *least = NULL;

	if (!keeps_records(mt->track) && !mt->dirty_pages && !mt->write_faults)
		return NULL;
	if (keeps_records(mt->track) || res->nr_processes < MAX_SUMMARY_PROCESSES) {
		res->processes = grow(res->processes, res->nr_processes, &res->max_processes, sizeof(*res->processes));
		return &res->processes[res->nr_processes++];
	}
	res->nr_hidden_processes++;
	for (size_t i = 0; i < res->nr_processes; i++)
		if (!least || res->processes[i].dirty_pages < least->dirty_pages)
			least = &res->processes[i];
	if (mt->dirty_pages <= least->dirty_pages)
		return NULL;
	free(least->name);
	return least;
}

static void add_process(struct mm_track *mt)
{
	struct process_record *p = mt->gmm->loaded ? new_process_record(mt) : NULL;

	if (!p)
		return;
	*p = (struct process_record){ .pid = mt->gmm->pid, .ppid = mt->ppid, .start_ns = mt->start_ns,
				      .end_ns = monotonic_ns() - mt->track->t0, .rss_pages = mt->rss_pages,
				      .dirty_pages = mt->dirty_pages, .write_faults = mt->write_faults,
				      .threads = mt->threads };
	mt->threads = (struct threads){ .nr = 0 };
	memcpy(p->args, mt->gmm->args, sizeof(p->args));
	p->name = strdup(mt->gmm->exe);
	if (!p->name)
		no_memory();
	for (unsigned i = 0; i < VELLUM_NR_COUNTERS; i++)
		p->counters[i] = vellum_mm_counter(mt->gmm->mm, (enum vellum_counter)i);
}

static void unwatch(struct mm_track *mt)
{
	struct mm_track **at = &mt->track->mms;

	add_process(mt);
	while (*at != mt)
		at = &(*at)->next;
	*at = mt->next;
	for (unsigned i = 0; i < VELLUM_NR_COUNTERS; i++)
		mt->track->result.counters[i] += vellum_mm_counter(mt->gmm->mm, (enum vellum_counter)i);
	vellum_tracker_destroy(mt->tracker);
	clear_dirty(mt);
	replica_clear(&mt->replica);
	free(mt->threads.at);
	mt->gmm->observer_data = NULL;
	free(mt);
}

/* A run may last for days, so this is only for a report file. */
static void on_thread_end(void *arg, struct guest_mm *gmm, int tid, const char *name, uint64_t nr_syscalls)
{
	struct mm_track *mt = gmm->observer_data;
	struct threads *threads = &mt->threads;
	struct track *track = arg;
	struct thread_record *thread;

	if (!keeps_records(track))
		return;
	pthread_mutex_lock(&track->lock);
	threads->at = grow(threads->at, threads->nr, &threads->max, sizeof(*threads->at));
	thread = &threads->at[threads->nr++];
	*thread = (struct thread_record){ .tid = tid, .nr_syscalls = nr_syscalls };
	snprintf(thread->name, sizeof(thread->name), "%s", name);
	pthread_mutex_unlock(&track->lock);
}

static void on_end(void *arg, struct guest_mm *gmm)
{
	struct track *track = arg;
	struct mm_track *mt = gmm->observer_data;

	pthread_mutex_lock(&track->lock);
	mt->rss_pages = vellum_mm_rss(gmm->mm);
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
						 on_before_unmap, on_after_unmap, on_mapped, on_thread_end, on_end };
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

/*
 * Take the lock and keep it, so that no thread changes the result. If the lock is not free within 2 s, the thread that
 * holds it is stuck, and does not change the result either.
 */
void track_abandon(struct track *track)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 2;
	pthread_mutex_timedlock(&track->lock, &until);
}

const struct track_result *track_get_result(struct track *track)
{
	return &track->result;
}

void track_destroy(struct track *track)
{
	struct track_result *res = &track->result;

	forget_objects(track);
	for (size_t i = 0; i < res->rows.nr; i++)
		free(res->rows.at[i].dirty.at);
	for (size_t i = 0; i < res->nr_records; i++)
		free(res->records[i].ranges);
	free(res->rows.at);
	free(res->records);
	for (size_t i = 0; i < res->nr_processes; i++) {
		free(res->processes[i].name);
		free(res->processes[i].threads.at);
	}
	free(res->processes);
	free(res->switches);
	free(track);
}
