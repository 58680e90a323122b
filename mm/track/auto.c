/* SPDX-License-Identifier: MIT */
/*
 * mm/track/auto.c - the auto tracker: in each chunk of 512 pages it finds changes by write protection (wp) or by D
 * (clean), whichever costs less.
 *
 * With wp, a collection costs one fault for each changed page of the chunk. With clean, it costs one scan of the
 * chunk's 512 entries. chunk->load is an exponentially decaying average (weight 1/2) of the cost of faults. With clean,
 * a sample is what the faults would have cost. Each sample is capped at four scans, so three idle collections are
 * enough to switch back, however busy the chunk was. Hysteresis: a chunk switches to clean if its load exceeds a scan
 * by a quarter, and to wp if its load is a fifth below a scan. If a switch to wp was a loss, the idle time required
 * before the next one doubles, up to 3 << MAX_PATIENCE collections.
 *
 * INV-AUTO-1: a chunk's method changes first, under t->lock. Then a walk adapts its entries, under their page-table
 *             locks. If a store's fault saw the old method, that walk finds its entry. If it saw the new method, its
 *             entry needs no change.
 */
#include "mm/table/pagewalk.h"
#include "mm/table/table_edit.h"
#include "mm/track/hooks.h"
#include "lib/page_set.h"
#include "mm/track/tracker.h"

bool tracker_uses_dirty_bit(const struct vellum_tracker *t, uint64_t page)
{
	const struct chunk *chunk;

	if (t->method != VELLUM_TRACK_AUTO)
		return t->method == VELLUM_TRACK_CLEAN;
	chunk = radix_get(&t->chunks, page >> CHUNK_SHIFT);
	return chunk && chunk->uses_dirty_bit;
}

/* The chunk's record, created if there is none. NULL: no memory. */
static struct chunk *get_chunk(struct vellum_tracker *t, uint64_t nr)
{
	const struct host *host = tracker_host(t);
	struct chunk *chunk = radix_get(&t->chunks, nr);
	int err;

	if (chunk)
		return chunk;
	chunk = host_alloc(host, sizeof(*chunk));
	if (!chunk)
		return NULL;
	chunk->seen = t->nr_collections;
	mutex_lock(&t->lock, host);
	err = radix_set(&t->chunks, nr, chunk, host);
	mutex_unlock(&t->lock, host);
	if (!err)
		return chunk;
	host_free(host, chunk, sizeof(*chunk));
	return NULL;
}

static void forget_chunk(struct vellum_tracker *t, uint64_t nr)
{
	const struct host *host = tracker_host(t);
	struct chunk *chunk;

	mutex_lock(&t->lock, host);
	chunk = radix_delete(&t->chunks, nr, host);
	mutex_unlock(&t->lock, host);
	host_free(host, chunk, sizeof(*chunk));
}

/* A range of less than one chunk starts with clean: its scan is cheap. t->lock held; no collection has run yet. */
void auto_begin(struct vellum_tracker *t)
{
	const struct host *host = tracker_host(t);

	if (t->last - t->first + 1 >= CHUNK_PAGES)
		return;
	for (uint64_t nr = t->first >> CHUNK_SHIFT; nr <= t->last >> CHUNK_SHIFT; nr++) {
		struct chunk *chunk = host_alloc(host, sizeof(*chunk));

		if (!chunk)
			return;
		*chunk = (struct chunk){ .uses_dirty_bit = true, .load = (uint32_t)min_u64(2 * t->scan_ns, ~0u) };
		if (radix_set(&t->chunks, nr, chunk, host))
			host_free(host, chunk, sizeof(*chunk));
	}
}

void auto_end(struct vellum_tracker *t)
{
	struct chunk *chunk;

	for (uint64_t nr = 0; (chunk = radix_next(&t->chunks, &nr)); nr++)
		host_free(tracker_host(t), chunk, sizeof(*chunk));
	radix_destroy(&t->chunks, tracker_host(t));
}

bool auto_next_dirty_bit_range(const struct vellum_tracker *t, uint64_t *first, uint64_t last, uint64_t *run_last)
{
	uint64_t nr = *first >> CHUNK_SHIFT;
	const struct chunk *chunk = radix_next(&t->chunks, &nr);

	while (chunk && !chunk->uses_dirty_bit) {
		nr++;
		chunk = radix_next(&t->chunks, &nr);
	}
	if (*first > last || !chunk || nr << CHUNK_SHIFT > last)
		return false;
	*first = max_u64(*first, nr << CHUNK_SHIFT);
	do {	/* one run for adjacent chunks */
		*run_last = min_u64(last, (nr << CHUNK_SHIFT) + CHUNK_PAGES - 1);
		chunk = radix_get(&t->chunks, ++nr);
	} while (*run_last < last && chunk && chunk->uses_dirty_bit);
	return true;
}

/* --- switching methods --- */

/*
 * Remove W and D. If a store has set D since harvest(), the next collection reports the page. Without D, a later switch
 * to clean does not report the same store again.
 */
static int switch_to_wp_table(pte_t *ptep, gva_t start, gva_t end, struct mm_walk *walk)
{
	struct collection *c = walk->private;
	struct table_edit ed = edit_table(walk->vma->mm, &c->batch, ptep, start);
	unsigned nr = (unsigned)((end - start) >> PAGE_SHIFT);

	for (unsigned i = 0; i < nr; i++) {
		pte_t pte = ptep_get(&ptep[i]);
		gva_t addr = start + ((gva_t)i << PAGE_SHIFT);

		if (!pte_present(pte) || (!pte_write(pte) && !pte_dirty(pte)))
			continue;
		edit_begin(&ed);
		pte = edit_entry(&ed, &ptep[i], pte_wrprotect_mkclean);
		edit_add_to_flush(&ed, i, 1);
		if (!pte_dirty(pte))
			continue;
		propagate_dirty(walk->vma, addr, &ptep[i], 1, c->t);
		tracker_record(c->t, tracker_page_index(c->t, walk->vma, addr));
	}
	edit_done(&ed);
	return 0;
}

/*
 * Clear D, keep W. An entry with D and W that is not in c->taken was written after take_set(): record it; all others
 * are already reported.
 */
static int switch_to_clean_table(pte_t *ptep, gva_t start, gva_t end, struct mm_walk *walk)
{
	struct collection *c = walk->private;
	struct table_edit ed = edit_table(walk->vma->mm, &c->batch, ptep, start);
	uint64_t page = tracker_page_index(c->t, walk->vma, start);
	unsigned nr = (unsigned)((end - start) >> PAGE_SHIFT);

	for (unsigned i = 0; i < nr; i += 64) {
		uint64_t mask = harvest_entries(c, &ed, walk->vma, i, nr - i < 64 ? nr - i : 64);

		for (mask &= ~page_set_mask(&c->taken, page + i); mask; mask &= mask - 1) {
			unsigned j = i + (unsigned)__builtin_ctzll(mask);

			if (pte_write(ptep_get(&ptep[j])))
				tracker_record(c->t, page + j);
		}
	}
	edit_done(&ed);
	return 0;
}

/*
 * No .huge_leaf: the first collection, which switches nothing, splits all leaves of the range, and no fault installs
 * one while vma_is_tracked(). If mremap() moves a leaf here, harvest() splits it before a switch to wp. In a switch to
 * clean it keeps D, so its pages are reported once more.
 */
static const struct mm_walk_ops switch_to_wp_ops = {
	.test_vma = test_shared_vma,
	.pte_table = switch_to_wp_table,
};

static const struct mm_walk_ops switch_to_clean_ops = {
	.test_vma = test_shared_vma,
	.pte_table = switch_to_clean_table,
};

/* For on_switch. If there is no memory, the switch is not reported. */
static void note_switch(struct collection *c, uint64_t nr, enum vellum_track_method method)
{
	uintptr_t value = (uintptr_t)method + 1;	/* not 0: a radix tree stores no NULL */

	if (c->t->on_switch)
		(void)!radix_set(&c->switched, nr, (void *)value, tracker_host(c->t));
}

/* INV-AUTO-1. [first, last]: the tracked pages of the chunk. */
static void switch_method(struct collection *c, struct chunk *chunk, uint64_t nr, uint64_t first, uint64_t last)
{
	struct vellum_tracker *t = c->t;

	mutex_lock(&t->lock, tracker_host(t));
	chunk->uses_dirty_bit = !chunk->uses_dirty_bit;
	mutex_unlock(&t->lock, tracker_host(t));
	walk_tracked_range(c, first, last, chunk->uses_dirty_bit ? &switch_to_clean_ops : &switch_to_wp_ops);
	note_switch(c, nr, chunk->uses_dirty_bit ? VELLUM_TRACK_CLEAN : VELLUM_TRACK_WP);
}

/* --- deciding --- */

#define MAX_PATIENCE	14
#define FORGET_AFTER	(1u << MAX_PATIENCE)	/* collections */

/*
 * The chunk is busy again after @gap collections; @n pages changed. If their faults cost, or would have cost, more than
 * @gap scans, a switch to wp is a loss: require twice that idle time before the next one.
 */
static void learn_patience(const struct vellum_tracker *t, struct chunk *chunk, uint64_t gap, uint64_t n)
{
	if (gap * t->scan_ns >= n * t->fault_ns) {
		chunk->patience = 0;
		return;
	}
	while (chunk->patience < MAX_PATIENCE && 3ull << chunk->patience < 2 * gap)
		chunk->patience++;
}

static void note_busy(const struct vellum_tracker *t, struct chunk *chunk, uint64_t n)
{
	uint64_t gap = t->nr_collections - chunk->busy;

	if (chunk->busy && gap > 1)
		learn_patience(t, chunk, gap, n);
	chunk->busy = t->nr_collections;
}

/* @n pages of the chunk changed. Return: the new average. */
static uint64_t new_load(const struct vellum_tracker *t, const struct chunk *chunk, uint64_t n)
{
	uint64_t load = chunk ? chunk->load : 0;
	uint64_t idle = chunk ? t->nr_collections - chunk->seen - 1 : 0;

	load = idle < 64 ? load >> idle : 0;
	return (load + min_u64(n * t->fault_ns, 4 * t->scan_ns)) / 2;
}

static bool is_idle(const struct vellum_tracker *t, const struct chunk *chunk, uint64_t load)
{
	return 5 * load < 4 * t->scan_ns && t->nr_collections - chunk->busy >= 3ull << chunk->patience;
}

static void decide_chunk(struct collection *c, uint64_t nr, uint64_t n)
{
	struct vellum_tracker *t = c->t;
	uint64_t first = max_u64(nr << CHUNK_SHIFT, t->first);
	uint64_t last = min_u64((nr << CHUNK_SHIFT) + CHUNK_PAGES - 1, t->last);
	struct chunk *chunk = radix_get(&t->chunks, nr);
	uint64_t load = new_load(t, chunk, n);

	if (first < c->first || last > c->last)
		return;		/* decide on whole chunks only */
	if (!chunk && load)
		chunk = get_chunk(t, nr);
	if (!chunk)
		return;
	chunk->load = (uint32_t)min_u64(load, ~0u);
	chunk->seen = t->nr_collections;
	if (n * t->fault_ns > t->scan_ns)
		note_busy(t, chunk, n);
	if (chunk->uses_dirty_bit ? is_idle(t, chunk, load) : 4 * load > 5 * t->scan_ns)
		switch_method(c, chunk, nr, first, last);
}

void auto_decide(struct collection *c)
{
	const struct vellum_tracker *t = c->t;
	const uint64_t *bits;
	const struct chunk *chunk;

	if (c->report_all)
		return;
	for (uint64_t nr = 0; (bits = radix_next(&c->taken.chunks, &nr)); nr++)
		decide_chunk(c, nr, page_set_chunk_count(bits));
	/* Idle chunks: decide on those with clean, forget those with wp that were idle for long. */
	for (uint64_t nr = c->first >> CHUNK_SHIFT;
	     (chunk = radix_next(&t->chunks, &nr)) && nr <= c->last >> CHUNK_SHIFT; nr++) {
		if (radix_get(&c->taken.chunks, nr))
			continue;
		if (chunk->uses_dirty_bit)
			decide_chunk(c, nr, 0);
		else if (t->nr_collections - chunk->seen > FORGET_AFTER)
			forget_chunk(c->t, nr);
	}
}

void auto_report_switches(struct collection *c)
{
	struct vellum_tracker *t = c->t;
	void *value;

	for (uint64_t nr = 0; (value = radix_next(&c->switched, &nr)); nr++) {
		uint64_t first = max_u64(nr << CHUNK_SHIFT, t->first);
		uint64_t last = min_u64((nr << CHUNK_SHIFT) + CHUNK_PAGES - 1, t->last);

		t->on_switch(t->switch_arg, first, last - first + 1,
			     (enum vellum_track_method)((uintptr_t)value - 1));
	}
	radix_destroy(&c->switched, tracker_host(t));
}
