/* SPDX-License-Identifier: MIT */
/*
 * mm/track/collect.c - a collection: which pages may have changed since the last one.
 *
 * 1. Open a flush window.
 * 2. harvest(): test and clear D in the entries of pages whose changes are found by D.
 * 3. take_set(): detach the set of changed pages from the tracker.
 * 4. auto_decide(): switch the method of chunks (VELLUM_TRACK_AUTO).
 * 5. rearm(): write-protect the entries of the set's pages whose changes are found by faults.
 * 6. Close the window: flush the changed entries.
 * 7. Report the set to the caller.
 *
 * If flush windows are nested, closing one flushes the whole range: another collector may have cleaned an entry of a
 * page in the set and not flushed it yet. Its window is open until that flush. The set is detached before this window
 * closes, so this collection sees the other window.
 */
#include "mm/table/pagewalk.h"
#include "mm/table/pgtable.h"
#include "mm/table/table_edit.h"
#include "mm/table/tlb.h"
#include "mm/track/hooks.h"
#include "lib/page_set.h"
#include "mm/track/tracker.h"
#include "mm/vma.h"

void walk_tracked_range(struct collection *c, uint64_t first, uint64_t last, const struct mm_walk_ops *ops)
{
	struct vellum_tracker *t = c->t;

	if (t->mm)
		walk_page_range(t->mm, first << PAGE_SHIFT, (last + 1) << PAGE_SHIFT, ops, c);
	else
		walk_mapping(t->mapping, first, last - first + 1, ops, c);
}

/*
 * Only shared entries can dirty the mapping's pages. write(), hole punching and truncation report by
 * track_mapping_range().
 */
int test_shared_vma(struct vma *vma, struct mm_walk *walk)
{
	const struct collection *c = walk->private;

	return c->t->mm || vma_shared_maywrite(vma) ? 0 : WALK_SKIP;
}

static void prepare_range(struct vellum_mm *mm, gva_t start, gva_t end)
{
	notify_start(mm, VELLUM_NOTIFY_PROTECTION_PAGE, start, end);
	flush_cache(mm, start, end);
	flush_window_open(mm);
}

static void finish_range(struct vellum_mm *mm, struct vellum_flush_batch *batch, gva_t start, gva_t end)
{
	flush_window_close(mm, batch, start, end);
	notify_finish(mm, VELLUM_NOTIFY_PROTECTION_PAGE, start, end);
}

static int begin_vma(struct mm_walk *walk)
{
	prepare_range(walk->vma->mm, walk->start, walk->end);
	return WALK_SKIP;	/* the entries are not visited */
}

static int end_vma(struct mm_walk *walk)
{
	const struct collection *c = walk->private;
	struct vellum_flush_batch batch = c->batch;	/* with this address space's own range */

	batch.nr_ranges = 0;
	if (c->batch.nr_ranges)
		batch_add(&batch, walk->start, walk->end, c->batch.kinds);
	finish_range(walk->vma->mm, &batch, walk->start, walk->end);
	return WALK_SKIP;
}

static const struct mm_walk_ops begin_ops = { .test_vma = test_shared_vma, .pre_vma = begin_vma };
static const struct mm_walk_ops end_ops = { .test_vma = test_shared_vma, .pre_vma = end_vma };

static void open_window(struct collection *c)
{
	if (c->t->mm)
		prepare_range(c->t->mm, c->first << PAGE_SHIFT, (c->last + 1) << PAGE_SHIFT);
	else
		walk_tracked_range(c, c->first, c->last, &begin_ops);
}

static void close_window(struct collection *c)
{
	if (c->t->mm)
		finish_range(c->t->mm, &c->batch, c->first << PAGE_SHIFT, (c->last + 1) << PAGE_SHIFT);
	else
		walk_tracked_range(c, c->first, c->last, &end_ops);
}

uint64_t tracker_page_index(const struct vellum_tracker *t, const struct vma *vma, gva_t addr)
{
	return t->mm ? addr >> PAGE_SHIFT : vma_page_index(vma, addr);
}

/* Move D from the entries to the sets of all trackers that find changes by it. ptl held. */
static int harvest_table(pte_t *ptep, gva_t start, gva_t end, struct mm_walk *walk)
{
	struct collection *c = walk->private;
	struct table_edit ed = edit_table(walk->vma->mm, &c->batch, ptep, start);
	uint64_t page = tracker_page_index(c->t, walk->vma, start);
	unsigned nr = (unsigned)((end - start) >> PAGE_SHIFT);

	ptl_assert_held(walk->vma->mm->memory, ptep);
	for (unsigned i = 0; i < nr; i += 64)
		tracker_record_mask(c->t, page + i,
				    harvest_entries(c, &ed, walk->vma, i, (unsigned)min_u64(nr - i, 64)));
	edit_done(&ed);
	return 0;
}

/* Pages are tracked one by one. */
static int split_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	(void)entry, (void)start, (void)end, (void)shift, (void)walk;
	return WALK_SPLIT;
}

static const struct mm_walk_ops harvest_ops = {
	.test_vma = test_shared_vma,
	.huge_leaf = split_leaf,
	.pte_table = harvest_table,
};

/*
 * Among up to 64 entries from @i on, write-protect those whose pages are in the taken set and whose changes are found
 * by faults. D stays: other trackers and writeback may need it.
 */
static void rearm_entries(struct collection *c, struct table_edit *ed, uint64_t page, unsigned i, unsigned nr)
{
	uint64_t wanted = c->report_all ? ~0ull : page_set_mask(&c->taken, page + i), changed = 0;

	for (unsigned j = 0; wanted && j < nr; j++) {
		pte_t pte = ptep_get(&ed->ptes[i + j]);

		if (!(wanted >> j & 1) || !pte_present(pte) || !pte_write(pte) ||
		    tracker_uses_dirty_bit(c->t, page + i + j))
			continue;
		edit_begin(ed);
		edit_entry(ed, &ed->ptes[i + j], pte_wrprotect);
		changed |= 1ull << j;
	}
	edit_add_to_flush(ed, i, changed);
}

/* ptl held. */
static int rearm_table(pte_t *ptep, gva_t start, gva_t end, struct mm_walk *walk)
{
	struct collection *c = walk->private;
	struct table_edit ed = edit_table(walk->vma->mm, &c->batch, ptep, start);
	unsigned nr = (unsigned)((end - start) >> PAGE_SHIFT);

	ptl_assert_held(walk->vma->mm->memory, ptep);
	for (unsigned i = 0; i < nr; i += 64)
		rearm_entries(c, &ed, tracker_page_index(c->t, walk->vma, start), i, (unsigned)min_u64(nr - i, 64));
	edit_done(&ed);
	return 0;
}

static const struct mm_walk_ops rearm_ops = {
	.test_vma = test_shared_vma,
	.huge_leaf = split_leaf,
	.pte_table = rearm_table,
};

/* Harvest D of all pages whose changes are found by it. */
static void harvest(struct collection *c)
{
	uint64_t first = c->first, last;

	if (c->t->method == VELLUM_TRACK_CLEAN)
		walk_tracked_range(c, c->first, c->last, &harvest_ops);
	if (c->t->method != VELLUM_TRACK_AUTO)
		return;
	for (; auto_next_dirty_bit_range(c->t, &first, c->last, &last); first = last + 1)
		walk_tracked_range(c, first, last, &harvest_ops);
}

/* Visits only the tables that hold a page of the set; with report_all, all tables. */
static void rearm(struct collection *c)
{
	if (c->t->method == VELLUM_TRACK_CLEAN)
		return;
	if (c->report_all) {
		walk_tracked_range(c, c->first, c->last, &rearm_ops);
		return;
	}
	for (uint64_t i = 0; radix_next(&c->taken.chunks, &i); i++)
		if (!tracker_uses_dirty_bit(c->t, i << CHUNK_SHIFT))
			walk_tracked_range(c, max_u64(i << CHUNK_SHIFT, c->first),
				      min_u64((i << CHUNK_SHIFT) + CHUNK_PAGES - 1, c->last), &rearm_ops);
}

/* Move the pages of one chunk that are in [c->first, c->last] to c->taken; the rest stays. False: no memory. */
static bool take_chunk(struct collection *c, uint64_t base, uint64_t *bits, const struct host *host)
{
	bool ok = true;

	for (uint64_t page = max_u64(base, c->first);
	     page <= min_u64(base + CHUNK_PAGES - 1, c->last) && ok; page++)
		if (page_set_chunk_has(bits, page)) {
			ok = page_set_add(&c->taken, page, host);
			if (ok)
				bits[page % CHUNK_PAGES / 64] &= ~(1ull << page % 64);
		}
	return ok;
}

/* Take the set, or its part in [first, last]. */
static void take_set(struct collection *c)
{
	struct vellum_tracker *t = c->t;
	const struct host *host = tracker_host(t);
	uint64_t *bits;

	mutex_lock(&t->lock, host);
	if (c->first == t->first && c->last == t->last) {
		c->taken = t->changed;
		c->report_all = t->overflowed;
		t->changed = (struct page_set){ .chunks = { .root = NULL } };
		t->overflowed = false;
	} else {
		c->report_all = t->overflowed;	/* overflowed stays set for the rest of the range */
		for (uint64_t i = c->first >> CHUNK_SHIFT;
		     (bits = radix_next(&t->changed.chunks, &i)) && i <= c->last >> CHUNK_SHIFT; i++)
			if (!take_chunk(c, i << CHUNK_SHIFT, bits, host)) {
				t->overflowed = c->report_all = true;
				break;
			}
	}
	mutex_unlock(&t->lock, host);
}

static void collect_pages(struct collection *c)
{
	struct vellum_tracker *t = c->t;
	const struct host *host = tracker_host(t);
	struct rwlock *lock = t->mm ? &t->mm->mmap_lock : &t->mapping->i_mmap_lock;

	read_lock(lock, host);
	open_window(c);
	t->nr_collections++;
	harvest(c);
	take_set(c);
	if (t->method == VELLUM_TRACK_AUTO)
		auto_decide(c);
	rearm(c);
	close_window(c);
	read_unlock(lock, host);
}

/* @fn ended the report at @page: leave the rest to the next collection. */
static void put_back(struct collection *c, uint64_t page)
{
	uint64_t nr;

	for (; (nr = page_set_next_run(&c->taken, &page)); page += nr)
		for (uint64_t i = 0; i < nr; i++)
			tracker_record(c->t, page + i);
}

static int report(struct collection *c, vellum_collect_fn fn, void *arg)
{
	uint64_t page = 0, nr;
	int err = 0;

	if (c->report_all) {
		err = fn(arg, c->first, c->last - c->first + 1);
		if (err) {
			mutex_lock(&c->t->lock, tracker_host(c->t));
			c->t->overflowed = true;
			mutex_unlock(&c->t->lock, tracker_host(c->t));
		}
		return err;
	}
	for (; (nr = page_set_next_run(&c->taken, &page)); page += nr) {
		err = fn(arg, page, nr);
		if (err) {
			put_back(c, page);
			break;
		}
	}
	return err;
}

EXPORT int vellum_tracker_collect(struct vellum_tracker *tracker, uint64_t first_page, uint64_t end_page,
				  vellum_collect_fn fn, void *arg)
{
	const struct host *host = tracker_host(tracker);
	struct collection c = { .t = tracker, .first = tracker->first, .last = tracker->last };
	int err;

	if (!fn || first_page >= end_page)
		return -EINVAL;
	c.first = max_u64(c.first, first_page);
	c.last = min_u64(c.last, end_page - 1);
	if (c.first > c.last)
		return 0;
	mutex_lock(&tracker->collect_lock, host);
	collect_pages(&c);
	auto_report_switches(&c);
	err = report(&c, fn, arg);
	page_set_clear(&c.taken, host);
	mutex_unlock(&tracker->collect_lock, host);
	return err;
}
