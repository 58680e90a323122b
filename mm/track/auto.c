/* SPDX-License-Identifier: MIT */
/*
 * mm/track/auto.c - the tracker that chooses: in each chunk of 512 pages, changes are found by faults or by D,
 * whichever costs less there.
 *
 * By faults, a chunk costs one fault for each changed page, and nothing when it is idle. By D, it costs one scan of
 * its 512 entries in every collection. The cost of faults in the chunk, real or computed, is kept as an average that
 * halves in every collection. A chunk switches if that average is a quarter more, or a fifth less, than the scan. It
 * is clipped to four scans, so that three idle collections are enough to switch back, however busy the chunk was. A
 * chunk that is busy again after a pause has paid one fault for each page because it had switched. If scanning during
 * the pause would have cost less, the next switch waits for twice that pause.
 *
 * INV-AUTO-1: a chunk's method changes first, under t->lock. Then a walk adapts its entries, under their page-table
 * locks.
 *             If a store's fault saw the old method, that walk finds its entry. If it saw the new method, its entry
 *             needs no change.
 */
#include "mm/table/pagewalk.h"
#include "mm/table/table_edit.h"
#include "mm/track/hooks.h"
#include "mm/track/page_set.h"
#include "mm/track/tracker.h"

static const char to_wp, to_clean;	/* values of collection.switched */

bool tracker_is_clean(const struct vellum_tracker *t, uint64_t page)
{
	const struct chunk *chunk;

	if (t->method != VELLUM_TRACK_AUTO)
		return t->method == VELLUM_TRACK_CLEAN;
	chunk = radix_get(&t->chunks, page >> LEAF_SHIFT);
	return chunk && chunk->clean;
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

/* A small range is cheap to scan, whatever is stored there. t->lock held; no collection has run yet. */
void auto_begin(struct vellum_tracker *t)
{
	const struct host *host = tracker_host(t);

	if (t->last - t->first + 1 >= LEAF_PAGES)
		return;
	for (uint64_t nr = t->first >> LEAF_SHIFT; nr <= t->last >> LEAF_SHIFT; nr++) {
		struct chunk *chunk = host_alloc(host, sizeof(*chunk));

		if (!chunk)
			return;
		*chunk = (struct chunk){ .clean = true, .load = (uint32_t)min_u64(2 * t->scan_ns, ~0u) };
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

bool auto_next_clean(const struct vellum_tracker *t, uint64_t *first, uint64_t last, uint64_t *run_last)
{
	uint64_t nr = *first >> LEAF_SHIFT;
	const struct chunk *chunk = radix_next(&t->chunks, &nr);

	while (chunk && !chunk->clean) {
		nr++;
		chunk = radix_next(&t->chunks, &nr);
	}
	if (*first > last || !chunk || nr << LEAF_SHIFT > last)
		return false;
	*first = max_u64(*first, nr << LEAF_SHIFT);
	do {	/* one walk for neighbours */
		*run_last = min_u64(last, (nr << LEAF_SHIFT) + LEAF_PAGES - 1);
		chunk = radix_get(&t->chunks, ++nr);
	} while (*run_last < last && chunk && chunk->clean);
	return true;
}

/* --- changing over --- */

/*
 * From D to faults: remove W. If a store has set D since the harvest, the page belongs to the next collection. D is
 * removed too, so that it is not reported twice.
 */
static int protect_table(pte_t *ptep, gva_t start, gva_t end, struct mm_walk *walk)
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
		tracker_record(c->t, watched_page(c->t, walk->vma, addr));
	}
	edit_done(&ed);
	return 0;
}

/*
 * From faults to D: remove D, keep W. If the page is in the taken set or was read-only, its D reports nothing new. If it has W
 * and is not in the set, it was stored to since the set was taken.
 */
static int release_table(pte_t *ptep, gva_t start, gva_t end, struct mm_walk *walk)
{
	struct collection *c = walk->private;
	struct table_edit ed = edit_table(walk->vma->mm, &c->batch, ptep, start);
	uint64_t page = watched_page(c->t, walk->vma, start);
	unsigned nr = (unsigned)((end - start) >> PAGE_SHIFT);

	for (unsigned i = 0; i < nr; i += 64) {
		uint64_t mask = edit_entries(&ed, i, nr - i < 64 ? nr - i : 64,
					     X86_DIRTY | X86_SAVED_DIRTY, pte_mkclean);
		uint64_t unknown = mask & ~page_set_mask(&c->taken, page + i);

		propagate_dirty(walk->vma, start + ((gva_t)i << PAGE_SHIFT), ptep + i, mask, c->t);
		for (; unknown; unknown &= unknown - 1) {
			unsigned j = i + (unsigned)__builtin_ctzll(unknown);

			if (pte_write(ptep_get(&ptep[j])))
				tracker_record(c->t, page + j);
		}
	}
	edit_done(&ed);
	return 0;
}

static const struct mm_walk_ops protect_ops = { .test_vma = test_shared_vma, .pte_table = protect_table };
static const struct mm_walk_ops release_ops = { .test_vma = test_shared_vma, .pte_table = release_table };

/* For on_switch. If there is no memory, the switch is not reported. */
static void note_switch(struct collection *c, uint64_t nr, const char *way)
{
	if (c->t->on_switch)
		(void)!radix_set(&c->switched, nr, (void *)(uintptr_t)way, tracker_host(c->t));
}

/* INV-AUTO-1. [first, last]: the tracked pages of the chunk. */
static void change_over(struct collection *c, struct chunk *chunk, uint64_t nr, uint64_t first, uint64_t last)
{
	struct vellum_tracker *t = c->t;

	mutex_lock(&t->lock, tracker_host(t));
	chunk->clean = !chunk->clean;
	mutex_unlock(&t->lock, tracker_host(t));
	for_each_part(c, first, last, chunk->clean ? &release_ops : &protect_ops);
	note_switch(c, nr, chunk->clean ? &to_clean : &to_wp);
}

/* --- deciding --- */

#define MAX_PATIENCE	14
#define FORGET_AFTER	(1u << MAX_PATIENCE)	/* collections */

/*
 * The chunk is busy again, after @gap collections; @n pages changed. If their faults cost, or would have cost, more
 * than scans in all that time, the next switch to wp waits for twice as long.
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
	uint64_t first = max_u64(nr << LEAF_SHIFT, t->first);
	uint64_t last = min_u64((nr << LEAF_SHIFT) + LEAF_PAGES - 1, t->last);
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
	if (chunk->clean ? is_idle(t, chunk, load) : 4 * load > 5 * t->scan_ns)
		change_over(c, chunk, nr, first, last);
}

void auto_decide(struct collection *c)
{
	const struct vellum_tracker *t = c->t;
	const uint64_t *leaf;
	const struct chunk *chunk;

	if (c->everything)
		return;
	for (uint64_t nr = 0; (leaf = radix_next(&c->taken.leaves, &nr)); nr++)
		decide_chunk(c, nr, page_set_count(leaf));
	/* Idle chunks that are scanned, and records of wp chunks that were idle for long. */
	for (uint64_t nr = c->first >> LEAF_SHIFT;
	     (chunk = radix_next(&t->chunks, &nr)) && nr <= c->last >> LEAF_SHIFT; nr++) {
		if (radix_get(&c->taken.leaves, nr))
			continue;
		if (chunk->clean)
			decide_chunk(c, nr, 0);
		else if (t->nr_collections - chunk->seen > FORGET_AFTER)
			forget_chunk(c->t, nr);
	}
}

void auto_report_switches(struct collection *c)
{
	struct vellum_tracker *t = c->t;
	const char *way;

	for (uint64_t nr = 0; (way = radix_next(&c->switched, &nr)); nr++) {
		uint64_t first = max_u64(nr << LEAF_SHIFT, t->first);
		uint64_t last = min_u64((nr << LEAF_SHIFT) + LEAF_PAGES - 1, t->last);

		t->on_switch(t->switch_arg, first, last - first + 1,
			     way == &to_wp ? VELLUM_TRACK_WP : VELLUM_TRACK_CLEAN);
	}
	radix_destroy(&c->switched, tracker_host(t));
}
