/* SPDX-License-Identifier: MIT */
/*
 * mm/tracker.c - trackers: which pages may have changed since the last collection.
 *
 * Each tracker has its own set of changed pages. track_change() and track_grant() are the one
 * hook that sees every creation and removal of D and W that matters, under the page-table lock.
 *
 * INV-TRACK-1: (wp) an entry with W in the watched range has its page in the tracker's set.
 * INV-TRACK-2: (clean) a page changed since the last collection has D in its entry or is in the
 *              set of every tracker that watches it.
 *
 * A collection is, in this order: open a flush window; clean: harvest D, then take the set; wp: take
 * the set, then take W from its pages; close the window, which flushes what we changed, and all
 * that is watched if another's window is open; hand the set out. The set is taken before the
 * window closes so that a page which another collector cleaned and has not flushed yet cannot be in
 * the set unless his window is seen open.
 */
#include "mm/pagewalk.h"

#define LEAF_SHIFT	9			/* a leaf covers what a last-level table covers */
#define LEAF_PAGES	(1u << LEAF_SHIFT)
#define LEAF_WORDS	(LEAF_PAGES / 64)

struct page_set {
	struct radix leaves;	/* page >> LEAF_SHIFT to uint64_t[LEAF_WORDS] */
};

struct vellum_tracker {
	struct vellum_mm *mm;			/* one of these two */
	struct vellum_mapping *mapping;
	uint64_t first, last;			/* pages, inclusive */
	enum vellum_track_method method;
	struct vellum_tracker *next;		/* tracker_list.lock */
	struct mutex collect_lock;
	struct mutex lock;
	/* lock protects: */
	struct page_set changed;
	bool lost;		/* a record could not be kept: everything may have changed */
};

static const struct host *tracker_host(const struct vellum_tracker *t)
{
	return t->mm ? mm_host(t->mm) : &t->mapping->memory->host;
}

/* --- sets of pages --- */

static bool set_add(struct page_set *set, uint64_t page, const struct host *host)
{
	uint64_t *leaf = radix_get(&set->leaves, page >> LEAF_SHIFT);

	if (!leaf) {
		leaf = host_alloc(host, LEAF_WORDS * sizeof(*leaf));
		if (!leaf)
			return false;
		if (radix_set(&set->leaves, page >> LEAF_SHIFT, leaf, host)) {
			host_free(host, leaf, LEAF_WORDS * sizeof(*leaf));
			return false;
		}
	}
	leaf[page % LEAF_PAGES / 64] |= 1ull << page % 64;
	return true;
}

static void set_clear(struct page_set *set, const struct host *host)
{
	uint64_t *leaf;

	for (uint64_t i = 0; (leaf = radix_next(&set->leaves, &i)); i++)
		host_free(host, leaf, LEAF_WORDS * sizeof(*leaf));
	radix_destroy(&set->leaves, host);
}

static bool leaf_has(const uint64_t *leaf, uint64_t page)
{
	return leaf[page % LEAF_PAGES / 64] >> page % 64 & 1;
}

/* The next run of pages in the set from @*page on. Return: its length, 0 if there is none. */
static uint64_t set_next_run(const struct page_set *set, uint64_t *page)
{
	uint64_t index = *page >> LEAF_SHIFT, nr = 0;
	const uint64_t *leaf = radix_next(&set->leaves, &index);

	if (leaf && index != *page >> LEAF_SHIFT)
		*page = index << LEAF_SHIFT;
	while (leaf) {
		uint64_t at = *page + nr;

		if (at >> LEAF_SHIFT != index) {	/* over the end of the leaf */
			uint64_t want = at >> LEAF_SHIFT;

			index = want;
			leaf = radix_next(&set->leaves, &index);
			if (nr && (!leaf || index != want))
				break;
			if (!nr)
				*page = index << LEAF_SHIFT;
		} else if (leaf_has(leaf, at)) {
			nr++;
		} else if (nr) {
			break;
		} else {
			++*page;
		}
	}
	return nr;
}

/* --- the hook --- */

static void record(struct vellum_tracker *t, uint64_t page)
{
	const struct host *host = tracker_host(t);

	mutex_lock(&t->lock, host);
	if (!set_add(&t->changed, page, host))
		t->lost = true;
	mutex_unlock(&t->lock, host);
}

static void record_in(struct tracker_list *list, const struct host *host, uint64_t page, bool wp_only)
{
	if (likely(!__atomic_load_n(&list->nr, __ATOMIC_ACQUIRE)))
		return;
	read_lock(&list->lock, host);
	for (struct vellum_tracker *t = list->first; t; t = t->next)
		if (page >= t->first && page <= t->last && (!wp_only || t->method == VELLUM_TRACK_WP))
			record(t, page);
	read_unlock(&list->lock, host);
}

/* The address holds something else now, though no object changed: it was unmapped, or moved here. */
void track_place(struct vma *vma, gva_t addr)
{
	record_in(&vma->mm->trackers, mm_host(vma->mm), addr >> PAGE_SHIFT, false);
}

static void tell_trackers(struct vma *vma, gva_t addr, bool wp_only)
{
	const struct host *host = mm_host(vma->mm);

	record_in(&vma->mm->trackers, host, addr >> PAGE_SHIFT, wp_only);
	if (vma_flags(vma) & VM_SHARED)
		record_in(&vma->mapping->trackers, host, vma_page_index(vma, addr), wp_only);
}

void track_change(struct vma *vma, gva_t addr)
{
	tell_trackers(vma, addr, false);
}

void track_grant(struct vma *vma, gva_t addr)
{
	tell_trackers(vma, addr, true);
}

static bool list_has_wp(struct tracker_list *list, const struct host *host, uint64_t first,
			uint64_t last)
{
	bool found = false;

	if (likely(!__atomic_load_n(&list->nr, __ATOMIC_ACQUIRE)))
		return false;
	read_lock(&list->lock, host);
	for (const struct vellum_tracker *t = list->first; t && !found; t = t->next)
		found = t->method == VELLUM_TRACK_WP && first <= t->last && t->first <= last;
	read_unlock(&list->lock, host);
	return found;
}

bool vma_wp_tracked(struct vma *vma)
{
	const struct host *host = mm_host(vma->mm);

	if (list_has_wp(&vma->mm->trackers, host, vma->start >> PAGE_SHIFT,
			(vma->end - 1) >> PAGE_SHIFT))
		return true;
	return (vma_flags(vma) & VM_SHARED) &&
	       list_has_wp(&vma->mapping->trackers, host, vma->pgoff,
			   vma_page_index(vma, vma->end - 1));
}

/* --- a collection --- */

/* collect_lock held, and the mmap lock (mm) or rmap lock (mapping) for reading. */
struct collection {
	struct vellum_tracker *t;
	uint64_t first, last;		/* this part of the watched range, inclusive */
	bool everything;		/* a record was lost */
	struct page_set taken;
	struct vellum_flush_batch batch; /* what this collection changed; of an mm only its ranges count */
};

/* Walk what maps pages [first, last] of the watched range. */
static void for_each_part(struct collection *c, uint64_t first, uint64_t last,
			  const struct mm_walk_ops *ops)
{
	struct vellum_tracker *t = c->t;

	if (t->mm)
		walk_page_range(t->mm, first << PAGE_SHIFT, (last + 1) << PAGE_SHIFT, ops, c);
	else
		walk_mapping(t->mapping, first, last - first + 1, ops, c);
}

/* An object's content changes only through shared mappings of it. */
static int part_of_object(struct vma *vma, struct mm_walk *walk)
{
	const struct collection *c = walk->private;

	return c->t->mm || vma_shared_maywrite(vma) ? 0 : WALK_SKIP;
}

static void prepare_range(struct vellum_mm *mm, gva_t start, gva_t end)
{
	const struct vellum_memory *m = mm->memory;

	notify_start(mm, VELLUM_NOTIFY_PROTECTION_PAGE, start, end);
	if (m->mmu && m->mmu->flush_cache_range)
		m->mmu->flush_cache_range(m->machine, mm, start, end);
	flush_window_open(mm);
}

static void finish_range(struct vellum_mm *mm, struct vellum_flush_batch *batch, gva_t start, gva_t end)
{
	flush_window_close(mm, batch, start, end);
	notify_finish(mm, VELLUM_NOTIFY_PROTECTION_PAGE, start, end);
}

static int open_part(struct mm_walk *walk)
{
	prepare_range(walk->vma->mm, walk->start, walk->end);
	return WALK_SKIP;	/* only the VMA is wanted, not its entries */
}

static int close_part(struct mm_walk *walk)
{
	const struct collection *c = walk->private;
	struct vellum_flush_batch batch = c->batch;	/* each address space, its own addresses */

	batch.nr_ranges = 0;
	if (c->batch.nr_ranges)
		batch_add(&batch, walk->start, walk->end, c->batch.kinds);
	finish_range(walk->vma->mm, &batch, walk->start, walk->end);
	return WALK_SKIP;
}

static const struct mm_walk_ops open_ops = { .test_vma = part_of_object, .pre_vma = open_part };
static const struct mm_walk_ops close_ops = { .test_vma = part_of_object, .pre_vma = close_part };

static void open_window(struct collection *c)
{
	if (c->t->mm)
		prepare_range(c->t->mm, c->first << PAGE_SHIFT, (c->last + 1) << PAGE_SHIFT);
	else
		for_each_part(c, c->first, c->last, &open_ops);
}

static void close_window(struct collection *c)
{
	if (c->t->mm)
		finish_range(c->t->mm, &c->batch, c->first << PAGE_SHIFT, (c->last + 1) << PAGE_SHIFT);
	else
		for_each_part(c, c->first, c->last, &close_ops);
}

static void note_changed(struct collection *c, gva_t addr, pte_t old)
{
	batch_add(&c->batch, addr, addr + PAGE_SIZE, VELLUM_FLUSH_RIGHTS);
	batch_add_frame(&c->batch, pte_pfn(old));
}

/* clean: D moves from the entries to the sets of all who watch the page. ptl held. */
static int harvest_table(pte_t *ptep, gva_t start, gva_t end, struct mm_walk *walk)
{
	const struct vellum_memory *m = walk->vma->mm->memory;

	for (gva_t addr = start; addr < end; addr += PAGE_SIZE, ptep++) {
		pte_t pte = ptep_get(ptep);

		if (!pte_present(pte) || !pte_dirty(pte))
			continue;
		/* The dirt may be all that says the folio is newer than its backing. */
		if (!pte_special(pte))
			folio_mark_dirty(pfn_folio(m, pte_pfn(pte)));
		track_change(walk->vma, addr);
		ptep_update(ptep, pte_mkclean);
		note_changed(walk->private, addr, pte);
	}
	return 0;
}

static const struct mm_walk_ops harvest_ops = {
	.test_vma = part_of_object,
	.pte_table = harvest_table,
};

static uint64_t watched_page(const struct collection *c, const struct vma *vma, gva_t addr)
{
	return c->t->mm ? addr >> PAGE_SHIFT : vma_page_index(vma, addr);
}

/* wp: pages of the taken set lose W; D stays for whoever wants it. ptl held. */
static int rearm_table(pte_t *ptep, gva_t start, gva_t end, struct mm_walk *walk)
{
	struct collection *c = walk->private;

	for (gva_t addr = start; addr < end; addr += PAGE_SIZE, ptep++) {
		uint64_t page = watched_page(c, walk->vma, addr);
		const uint64_t *leaf = radix_get(&c->taken.leaves, page >> LEAF_SHIFT);
		pte_t pte = ptep_get(ptep);

		if (!pte_present(pte) || !pte_write(pte))
			continue;
		if (!c->everything && !(leaf && leaf_has(leaf, page)))
			continue;
		ptep_update(ptep, pte_wrprotect);
		note_changed(c, addr, pte);
	}
	return 0;
}

static const struct mm_walk_ops rearm_ops = {
	.test_vma = part_of_object,
	.pte_table = rearm_table,
};

/* Only the tables that hold a page of the set. */
static void rearm(struct collection *c)
{
	if (c->everything) {
		for_each_part(c, c->first, c->last, &rearm_ops);
		return;
	}
	for (uint64_t i = 0; radix_next(&c->taken.leaves, &i); i++)
		for_each_part(c, max_u64(i << LEAF_SHIFT, c->first),
			      min_u64((i << LEAF_SHIFT) + LEAF_PAGES - 1, c->last), &rearm_ops);
}

/* Move the part of a leaf that is collected; the rest stays. Return: it could be moved. */
static bool take_leaf(struct collection *c, uint64_t base, uint64_t *leaf, const struct host *host)
{
	bool ok = true;

	for (uint64_t page = max_u64(base, c->first);
	     page <= min_u64(base + LEAF_PAGES - 1, c->last) && ok; page++)
		if (leaf_has(leaf, page)) {
			ok = set_add(&c->taken, page, host);
			if (ok)
				leaf[page % LEAF_PAGES / 64] &= ~(1ull << page % 64);
		}
	return ok;
}

/* Take the set, or the part of it in [first, last]. */
static void take_set(struct collection *c)
{
	struct vellum_tracker *t = c->t;
	const struct host *host = tracker_host(t);
	uint64_t *leaf;

	mutex_lock(&t->lock, host);
	if (c->first == t->first && c->last == t->last) {
		c->taken = t->changed;
		c->everything = t->lost;
		t->changed = (struct page_set){ .leaves = { .root = NULL } };
		t->lost = false;
	} else {
		c->everything = t->lost;	/* and lost stays: other parts need it too */
		for (uint64_t i = c->first >> LEAF_SHIFT;
		     (leaf = radix_next(&t->changed.leaves, &i)) && i <= c->last >> LEAF_SHIFT; i++)
			if (!take_leaf(c, i << LEAF_SHIFT, leaf, host)) {
				t->lost = c->everything = true;
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
	if (t->method == VELLUM_TRACK_CLEAN)
		for_each_part(c, c->first, c->last, &harvest_ops);
	take_set(c);
	if (t->method == VELLUM_TRACK_WP)
		rearm(c);
	close_window(c);
	read_unlock(lock, host);
}

/* The hand-out was broken off at @page: what is left counts for the next collection. */
static void put_back(struct collection *c, uint64_t page)
{
	uint64_t nr;

	for (; (nr = set_next_run(&c->taken, &page)); page += nr)
		for (uint64_t i = 0; i < nr; i++)
			record(c->t, page + i);
}

static int hand_out(struct collection *c, vellum_collect_fn fn, void *arg)
{
	uint64_t page = 0, nr;
	int err = 0;

	if (c->everything) {
		err = fn(arg, c->first, c->last - c->first + 1);
		if (err) {
			mutex_lock(&c->t->lock, tracker_host(c->t));
			c->t->lost = true;
			mutex_unlock(&c->t->lock, tracker_host(c->t));
		}
		return err;
	}
	for (; (nr = set_next_run(&c->taken, &page)); page += nr) {
		err = fn(arg, page, nr);
		if (err) {
			put_back(c, page);
			break;
		}
	}
	return err;
}

EXPORT int vellum_tracker_collect(struct vellum_tracker *tracker, uint64_t start, uint64_t end,
				  vellum_collect_fn fn, void *arg)
{
	const struct host *host = tracker_host(tracker);
	struct collection c = { .t = tracker, .first = tracker->first, .last = tracker->last };
	int err;

	if (!fn || start >= end)
		return -EINVAL;
	c.first = max_u64(c.first, start);
	c.last = min_u64(c.last, end - 1);
	if (c.first > c.last)
		return 0;
	mutex_lock(&tracker->collect_lock, host);
	collect_pages(&c);
	err = hand_out(&c, fn, arg);
	set_clear(&c.taken, host);
	mutex_unlock(&tracker->collect_lock, host);
	return err;
}

/* --- create and destroy --- */

static struct tracker_list *list_of(struct vellum_tracker *t)
{
	return t->mm ? &t->mm->trackers : &t->mapping->trackers;
}

static int ignore_run(void *arg, uint64_t first, uint64_t nr)
{
	(void)arg, (void)first, (void)nr;
	return 0;
}

/* Start from a clean slate: what was dirty or writable before is no change. */
static void arm(struct vellum_tracker *t)
{
	mutex_lock(&t->lock, tracker_host(t));
	t->lost = t->method == VELLUM_TRACK_WP;		/* every W goes, not just recorded ones */
	mutex_unlock(&t->lock, tracker_host(t));
	vellum_tracker_collect(t, 0, ~0ull, ignore_run, NULL);
}

static int add_tracker(const struct vellum_tracker *wanted, const struct host *host,
		       struct vellum_tracker **out)
{
	struct vellum_tracker *t;
	struct tracker_list *list;

	if (wanted->method != VELLUM_TRACK_CLEAN && wanted->method != VELLUM_TRACK_WP)
		return -EINVAL;
	t = host_alloc(host, sizeof(*t));
	if (!t)
		return -ENOMEM;
	*t = *wanted;
	list = list_of(t);
	write_lock(&list->lock, host);
	t->next = list->first;
	list->first = t;
	__atomic_fetch_add(&list->nr, 1, __ATOMIC_RELEASE);
	write_unlock(&list->lock, host);
	if (t->mm)
		vellum_mm_get(t->mm);
	else
		vellum_mapping_get(t->mapping);
	arm(t);
	*out = t;
	return 0;
}

EXPORT int vellum_track_mm(struct vellum_mm *mm, uint64_t start, uint64_t end,
			   enum vellum_track_method method, struct vellum_tracker **out)
{
	if (!mm || !out || start >= end || end > TASK_SIZE || ((start | end) & ~PAGE_MASK))
		return -EINVAL;
	return add_tracker(&(struct vellum_tracker){ .mm = mm,
						     .first = start >> PAGE_SHIFT,
						     .last = (end >> PAGE_SHIFT) - 1,
						     .method = method },
			   mm_host(mm), out);
}

EXPORT int vellum_track_mapping(struct vellum_mapping *mapping, uint64_t first, uint64_t nr,
				enum vellum_track_method method, struct vellum_tracker **out)
{
	if (!mapping || !out || !nr || first + nr < first || first + nr > 1ull << 52)
		return -EINVAL;
	return add_tracker(&(struct vellum_tracker){ .mapping = mapping,
						     .first = first,
						     .last = first + nr - 1,
						     .method = method },
			   &mapping->memory->host, out);
}

EXPORT void vellum_tracker_destroy(struct vellum_tracker *tracker)
{
	struct tracker_list *list;
	const struct host *host;

	if (!tracker)
		return;
	host = tracker_host(tracker);
	list = list_of(tracker);
	write_lock(&list->lock, host);
	for (struct vellum_tracker **at = &list->first; *at; at = &(*at)->next)
		if (*at == tracker) {
			*at = tracker->next;
			break;
		}
	__atomic_fetch_sub(&list->nr, 1, __ATOMIC_RELEASE);
	write_unlock(&list->lock, host);
	set_clear(&tracker->changed, host);
	if (tracker->mm)
		vellum_mm_put(tracker->mm);
	else
		vellum_mapping_put(tracker->mapping);
	host_free(host, tracker, sizeof(*tracker));
}
