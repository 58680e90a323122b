/* SPDX-License-Identifier: MIT */
/*
 * mm/track/tracker.c - create and destroy trackers; the hooks that record changes in them.
 *
 * Each tracker has its own set of changed pages. track_change(), track_grant(), propagate_dirty() and the other hooks
 * are called for every creation and removal of D and W that matters, under the page-table lock.
 *
 * INV-TRACK-1: (pages found by faults) an entry with W has its page in the tracker's set.
 * INV-TRACK-2: (pages found by D) a page changed since the last collection has D in its entry or is in the set of
 *              every tracker that finds it by D.
 */
#include "mm/table/exposed.h"
#include "mm/track/hooks.h"
#include "lib/page_set.h"
#include "mm/track/tracker.h"
#include "mm/vma.h"

/* --- the hooks --- */

enum record_what {
	RECORD_CHANGE,		/* for all trackers of the page */
	RECORD_GRANT,		/* W was granted: for trackers that find the page by faults */
	RECORD_CLEANED,		/* D was removed: for trackers that find the page by D */
	RECORD_PIN,		/* the page was pinned for writing: for trackers that watch pages */
};

static void add_page(struct vellum_tracker *t, uint64_t page)
{
	if (!page_set_add(&t->changed, page, tracker_host(t)))
		t->overflowed = true;
}

void tracker_record(struct vellum_tracker *t, uint64_t page)
{
	mutex_lock(&t->lock, tracker_host(t));
	add_page(t, page);
	mutex_unlock(&t->lock, tracker_host(t));
}

void tracker_record_mask(struct vellum_tracker *t, uint64_t page, uint64_t mask)
{
	if (!mask)
		return;
	mutex_lock(&t->lock, tracker_host(t));
	if (!page_set_add_mask(&t->changed, page, mask, tracker_host(t)))
		t->overflowed = true;
	mutex_unlock(&t->lock, tracker_host(t));
}

/* t->lock held. */
static bool wants(const struct vellum_tracker *t, uint64_t page, enum record_what what)
{
	if (what == RECORD_PIN)
		return t->watches_pages;
	return what == RECORD_CHANGE || tracker_uses_dirty_bit(t, page) == (what == RECORD_CLEANED);
}

static void record(struct vellum_tracker *t, uint64_t page, enum record_what what)
{
	mutex_lock(&t->lock, tracker_host(t));
	if (wants(t, page, what))
		add_page(t, page);
	mutex_unlock(&t->lock, tracker_host(t));
}

static void record_in(struct tracker_list *list, const struct host *host, uint64_t page,
		      enum record_what what, const struct vellum_tracker *except)
{
	if (likely(!__atomic_load_n(&list->nr, __ATOMIC_ACQUIRE)))
		return;
	read_lock(&list->lock, host);
	for (struct vellum_tracker *t = list->first; t; t = t->next)
		if (page >= t->first && page <= t->last && t != except)
			record(t, page, what);
	read_unlock(&list->lock, host);
}

/* The address has other content, though no mapping changed: it was unmapped, or pages moved here. */
void track_place(struct vma *vma, gva_t addr)
{
	record_in(&vma->mm->trackers, mm_host(vma->mm), addr >> PAGE_SHIFT, RECORD_CHANGE, NULL);
}

static void record_in_trackers(struct vma *vma, gva_t addr, enum record_what what,
			       const struct vellum_tracker *except)
{
	const struct host *host = mm_host(vma->mm);

	record_in(&vma->mm->trackers, host, addr >> PAGE_SHIFT, what, except);
	if (vma_flags(vma) & VM_SHARED)
		record_in(&vma->mapping->trackers, host, vma_page_index(vma, addr), what, except);
}

void track_change(struct vma *vma, gva_t addr)
{
	record_in_trackers(vma, addr, RECORD_CHANGE, NULL);
}

void track_grant(struct vma *vma, gva_t addr)
{
	record_in_trackers(vma, addr, RECORD_GRANT, NULL);
}

void track_pin(struct vma *vma, gva_t addr)
{
	record_in_trackers(vma, addr, RECORD_PIN, NULL);
}

void track_new_page(struct vellum_mapping *mapping, pgoff_t index)
{
	const struct host *host = &mapping->memory->host;

	if (likely(!__atomic_load_n(&mapping->trackers.nr, __ATOMIC_ACQUIRE)))
		return;
	read_lock(&mapping->trackers.lock, host);
	for (struct vellum_tracker *t = mapping->trackers.first; t; t = t->next) {
		mutex_lock(&t->lock, host);
		if (t->watches_pages && index >= t->first && index <= t->last)
			add_page(t, index);
		mutex_unlock(&t->lock, host);
	}
	read_unlock(&mapping->trackers.lock, host);
}

void tracker_watch_pages(struct vellum_tracker *tracker, bool on)
{
	mutex_lock(&tracker->lock, tracker_host(tracker));
	tracker->watches_pages = on;
	mutex_unlock(&tracker->lock, tracker_host(tracker));
}

bool tracker_is_idle(struct vellum_tracker *tracker)
{
	uint64_t first = tracker->first, last;
	bool idle;

	mutex_lock(&tracker->lock, tracker_host(tracker));
	idle = !tracker->changed.chunks.root && !tracker->overflowed && tracker->method != VELLUM_TRACK_CLEAN &&
	       !(tracker->method == VELLUM_TRACK_AUTO &&
		 auto_next_dirty_bit_range(tracker, &first, tracker->last, &last));
	mutex_unlock(&tracker->lock, tracker_host(tracker));
	return idle;
}

/*
 * A tracker other than @except has one of the 64 pages from @page on. A new tracker's first collection waits for the
 * page-table lock.
 */
static bool has_other(struct tracker_list *list, const struct host *host, uint64_t page,
		      const struct vellum_tracker *except)
{
	bool found = false;

	if (likely(!__atomic_load_n(&list->nr, __ATOMIC_ACQUIRE)))
		return false;
	read_lock(&list->lock, host);
	for (const struct vellum_tracker *t = list->first; t && !found; t = t->next)
		found = t != except && page <= t->last && t->first <= page + 63;
	read_unlock(&list->lock, host);
	return found;
}

static bool others_watch(struct vma *vma, gva_t addr, const struct vellum_tracker *except)
{
	const struct host *host = mm_host(vma->mm);

	return has_other(&vma->mm->trackers, host, addr >> PAGE_SHIFT, except) ||
	       (vma->mapping && has_other(&vma->mapping->trackers, host, vma_page_index(vma, addr), except));
}

void propagate_dirty(struct vma *vma, gva_t addr, const pte_t *ptep, uint64_t mask,
		    const struct vellum_tracker *except)
{
	struct vellum_memory *m = vma->mm->memory;
	/* After MADV_FREE, reclaim would drop a page that is not marked dirty. */
	bool dirt = vma_is_shared_writeback(vma) || __atomic_load_n(&m->has_lazyfree, __ATOMIC_RELAXED);
	bool watched = mask && others_watch(vma, addr, except);
	const struct vellum_backing_ops *ops = except && vma->mapping ? vma->mapping->ops : NULL;
	bool raw = ops && ops->dirt;	/* callers of the helpers get the bitmap instead */

	for (; (dirt || watched || raw) && mask; mask &= mask - 1) {
		unsigned i = (unsigned)__builtin_ctzll(mask);

		pte_t pte = ptep_get(&ptep[i]);

		if (dirt && !pte_special(pte))
			folio_mark_dirty(pte_folio(m, pte));
		if (raw && pte_special(pte))
			ops->dirt(vma->mapping->ctx, vma_page_index(vma, addr) + i);
		if (watched)
			record_in_trackers(vma, addr + ((uint64_t)i << PAGE_SHIFT), RECORD_CLEANED, except);
	}
}

/* A record of more pages than this would take gigabytes: the tracker overflows instead. */
#define MAX_RECORDED (1ull << 28)

/* Record the pages of [first, last] that @t tracks, 64 at a time. */
static void record_pages(struct vellum_tracker *t, uint64_t first, uint64_t last)
{
	first = max_u64(first, t->first);
	last = min_u64(last, t->last);
	if (first <= last && last - first >= MAX_RECORDED) {
		mutex_lock(&t->lock, tracker_host(t));
		t->overflowed = true;
		mutex_unlock(&t->lock, tracker_host(t));
		return;
	}
	for (uint64_t page = first; page <= last; page += 64) {
		uint64_t nr = min_u64(last - page + 1, 64);

		tracker_record_mask(t, page, nr < 64 ? (1ull << nr) - 1 : ~0ull);
	}
}

/* Pages [first, last] of the mapping changed: record them in the trackers of the VMA's address space. */
static void record_range(struct vma *vma, pgoff_t first, pgoff_t last)
{
	const struct interval *iv = &vma->map_node;

	if (likely(!__atomic_load_n(&vma->mm->trackers.nr, __ATOMIC_ACQUIRE)))
		return;
	first = (vma->start >> PAGE_SHIFT) + max_u64(first, iv->start) - iv->start;
	last = (vma->start >> PAGE_SHIFT) + min_u64(last, iv->last) - iv->start;
	read_lock(&vma->mm->trackers.lock, mm_host(vma->mm));
	for (struct vellum_tracker *t = vma->mm->trackers.first; t; t = t->next)
		record_pages(t, first, last);
	read_unlock(&vma->mm->trackers.lock, mm_host(vma->mm));
}

/* The bytes of pages changed without a trace in an entry. */
void track_mapping_range(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last)
{
	track_mapping_range_except(mapping, first, last, NULL);
}

void track_mapping_range_except(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last,
				const struct vellum_tracker *except)
{
	const struct host *host = &mapping->memory->host;

	read_lock(&mapping->i_mmap_lock, host);
	for (struct interval *iv = interval_first(&mapping->i_mmap, first, last); iv;
	     iv = interval_next(iv, first, last))
		record_range(container_of(iv, struct vma, map_node), first, last);
	read_unlock(&mapping->i_mmap_lock, host);
	if (likely(!__atomic_load_n(&mapping->trackers.nr, __ATOMIC_ACQUIRE)))
		return;
	read_lock(&mapping->trackers.lock, host);
	for (struct vellum_tracker *t = mapping->trackers.first; t; t = t->next)
		if (t != except)
			record_pages(t, first, last);
	read_unlock(&mapping->trackers.lock, host);
}

/* --- may W be granted without a fault? --- */

static bool list_has_wp(struct tracker_list *list, const struct host *host, uint64_t page)
{
	bool found = false;

	if (likely(!__atomic_load_n(&list->nr, __ATOMIC_ACQUIRE)))
		return false;
	read_lock(&list->lock, host);
	for (struct vellum_tracker *t = list->first; t && !found; t = t->next) {
		if (page < t->first || page > t->last)
			continue;
		mutex_lock(&t->lock, host);
		found = !tracker_uses_dirty_bit(t, page);
		mutex_unlock(&t->lock, host);
	}
	read_unlock(&list->lock, host);
	return found;
}

bool wp_tracked(struct vma *vma, gva_t addr)
{
	const struct host *host = mm_host(vma->mm);

	return list_has_wp(&vma->mm->trackers, host, addr >> PAGE_SHIFT) ||
	       ((vma_flags(vma) & VM_SHARED) &&
		list_has_wp(&vma->mapping->trackers, host, vma_page_index(vma, addr)));
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

/* The first collection: pages that were dirty or writable before are no change. */
static void arm(struct vellum_tracker *t)
{
	mutex_lock(&t->lock, tracker_host(t));
	t->overflowed = t->method != VELLUM_TRACK_CLEAN;	/* write-protect all entries, not only recorded pages */
	if (t->method == VELLUM_TRACK_AUTO)
		auto_begin(t);
	mutex_unlock(&t->lock, tracker_host(t));
	vellum_tracker_collect(t, 0, ~0ull, ignore_run, NULL);
}

/* Measured on the software MMU. Only the embedder knows what a fault costs on its machine. */
#define DEFAULT_FAULT_NS	250
#define DEFAULT_SCAN_NS		150

static int add_tracker(const struct vellum_tracker *wanted, const struct host *host,
		       struct vellum_tracker **out)
{
	struct vellum_tracker *t;
	struct tracker_list *list;

	if ((unsigned)wanted->method > VELLUM_TRACK_AUTO)
		return -EINVAL;
	t = host_alloc(host, sizeof(*t));
	if (!t)
		return -ENOMEM;
	*t = *wanted;
	t->fault_ns = DEFAULT_FAULT_NS;
	t->scan_ns = DEFAULT_SCAN_NS;
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
	if (!mapping || !out || !nr || first + nr < first || first + nr > MAX_MAPPING_PAGES)
		return -EINVAL;
	return add_tracker(&(struct vellum_tracker){ .mapping = mapping,
						     .first = first,
						     .last = first + nr - 1,
						     .method = method },
			   &mapping->memory->host, out);
}

EXPORT int vellum_tracker_costs(struct vellum_tracker *tracker, uint64_t fault_ns, uint64_t scan_ns)
{
	if (!fault_ns || !scan_ns || fault_ns > 1000000000u || scan_ns > 1000000000u)
		return -EINVAL;
	mutex_lock(&tracker->collect_lock, tracker_host(tracker));
	tracker->fault_ns = fault_ns;
	tracker->scan_ns = scan_ns;
	mutex_unlock(&tracker->collect_lock, tracker_host(tracker));
	return 0;
}

EXPORT void vellum_tracker_on_switch(struct vellum_tracker *tracker, vellum_switch_fn fn, void *arg)
{
	mutex_lock(&tracker->collect_lock, tracker_host(tracker));
	tracker->on_switch = fn;
	tracker->switch_arg = arg;
	mutex_unlock(&tracker->collect_lock, tracker_host(tracker));
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
	page_set_clear(&tracker->changed, host);
	auto_end(tracker);
	if (tracker->mm)
		vellum_mm_put(tracker->mm);
	else
		vellum_mapping_put(tracker->mapping);
	host_free(host, tracker, sizeof(*tracker));
}
