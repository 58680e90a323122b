/* SPDX-License-Identifier: MIT */
/* What a machine is told: the exact batches of flushes, and the other hooks. The machine here only records. */
#define _GNU_SOURCE
#include "huge_support.h"

#include "mm/table/tlb.h"
#include "vellum/snapshot.h"

#define BATCHES 16

struct recorder {
	struct world w;
	struct vellum_mmu_ops ops;
	unsigned nr_flush, nr_flush_mm, nr_cache, stops, resumes;
	struct vellum_flush_batch batch[BATCHES];
	uint64_t cache_start, cache_end;
	struct vellum_mm *mm, *active;	/* of the last flush, or the last activation */
	unsigned cpu;
	uint64_t pgd, cpumask;
	bool (*seen_at_flush)(struct recorder *r);
	bool seen;
	struct mutex *lock;	/* of the table that is zapped */
	struct device *d;
};

/* world_remake() passes the software machine as context, so the hooks find their recorder here. */
static struct recorder *recorder;

static void note_flush(struct vellum_mm *mm)
{
	recorder->mm = mm;
	if (recorder->seen_at_flush)
		recorder->seen = recorder->seen_at_flush(recorder);
}

static void record_flush(void *machine, struct vellum_mm *mm, const struct vellum_flush_batch *batch)
{
	(void)machine;
	recorder->batch[recorder->nr_flush++ % BATCHES] = *batch;
	note_flush(mm);
}

static void record_flush_mm(void *machine, struct vellum_mm *mm)
{
	(void)machine;
	recorder->nr_flush_mm++;
	note_flush(mm);
}

static void record_cache(void *machine, struct vellum_mm *mm, uint64_t start, uint64_t end)
{
	(void)machine, (void)mm;
	recorder->nr_cache++;
	recorder->cache_start = start;
	recorder->cache_end = end;
}

static void record_activate(void *machine, unsigned cpu, struct vellum_mm *mm, uint64_t pgd)
{
	(void)machine;
	recorder->cpu = cpu;
	recorder->active = mm;
	recorder->pgd = pgd;
	recorder->cpumask = vellum_mm_cpumask(mm);
}

static void record_deactivate(void *machine, unsigned cpu, struct vellum_mm *mm)
{
	(void)machine;
	recorder->cpu = cpu;
	recorder->active = NULL;
	recorder->cpumask = vellum_mm_cpumask(mm);
}

static void record_stop(void *machine, struct vellum_mm *mm)
{
	(void)machine, (void)mm;
	assert_int_equal(recorder->stops++, recorder->resumes);
}

static void record_resume(void *machine, struct vellum_mm *mm)
{
	(void)machine, (void)mm;
	assert_int_equal(++recorder->resumes, recorder->stops);
}

static const struct vellum_mmu_ops record_ops = {
	.size = sizeof(record_ops), .flush = record_flush, .flush_mm = record_flush_mm,
	.flush_cache_range = record_cache, .activate = record_activate, .deactivate = record_deactivate,
	.stop_walks = record_stop, .resume_walks = record_resume,
};

static int setup(void **state)
{
	struct recorder *r = calloc(1, sizeof(*r));

	recorder = r;
	world_create(&r->w, 32 << 20);
	r->ops = record_ops;
	world_remake(&r->w, &r->ops, test_host_ops());
	vellum_mm_activate(r->w.mm, 5);
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct recorder *r = *state;

	r->seen_at_flush = NULL;
	vellum_mm_deactivate(r->w.mm, 5);
	world_destroy(&r->w);
	if (r->d)
		device_free(r->d);
	free(r);
	return 0;
}

static void forget(struct recorder *r)
{
	r->nr_flush = r->nr_flush_mm = r->nr_cache = r->stops = r->resumes = 0;
	memset(r->batch, 0, sizeof(r->batch));
}

static void access_page(struct recorder *r, unsigned page, uint32_t error)
{
	assert_int_equal(vellum_handle_fault(r->w.mm, PAGE(page), error | VELLUM_FAULT_USER), VELLUM_FAULT_OK);
}

static void put(struct recorder *r, unsigned page)
{
	access_page(r, page, VELLUM_FAULT_WRITE);
}

/* --- the batch --- */

static void expect_range(const struct vellum_flush_batch *b, unsigned i, uint64_t start, uint64_t end)
{
	assert_int_equal(b->range[i].start, start);
	assert_int_equal(b->range[i].end, end);
}

static void ranges_are_joined_and_listed(void **state)
{
	struct vellum_flush_batch b = { .size = sizeof(b) };

	(void)state;
	batch_add(&b, PAGE(10), PAGE(12), VELLUM_FLUSH_RIGHTS);
	batch_add(&b, PAGE(12), PAGE(14), VELLUM_FLUSH_UNMAP);		/* joined */
	assert_int_equal(b.kinds, VELLUM_FLUSH_RIGHTS | VELLUM_FLUSH_UNMAP);
	batch_add(&b, PAGE(10), PAGE(11), VELLUM_FLUSH_RIGHTS);		/* inside, at the start */
	batch_add(&b, PAGE(13), PAGE(14), VELLUM_FLUSH_RIGHTS);		/* inside, at the end */
	batch_add(&b, PAGE(10), PAGE(14), VELLUM_FLUSH_RIGHTS);		/* the same */
	batch_add(&b, PAGE(11), PAGE(12), VELLUM_FLUSH_RIGHTS);		/* in the middle */
	assert_int_equal(b.nr_ranges, 1);
	expect_range(&b, 0, PAGE(10), PAGE(14));
	batch_add(&b, PAGE(9), PAGE(11), VELLUM_FLUSH_RIGHTS);		/* begins before */
	assert_int_equal(b.nr_ranges, 2);
	expect_range(&b, 1, PAGE(9), PAGE(11));
	batch_add(&b, PAGE(10), PAGE(12), VELLUM_FLUSH_RIGHTS);		/* ends behind */
	assert_int_equal(b.nr_ranges, 3);
	batch_add(&b, PAGE(10) - 1, PAGE(12), VELLUM_FLUSH_RIGHTS);	/* by one byte */
	batch_add(&b, PAGE(10) - 1, PAGE(12) + 1, VELLUM_FLUSH_RIGHTS);
	assert_int_equal(b.nr_ranges, 5);
	for (unsigned i = 5; i < VELLUM_FLUSH_RANGES; i++)
		batch_add(&b, PAGE(100 + 2 * i), PAGE(101 + 2 * i), VELLUM_FLUSH_RIGHTS);
	assert_int_equal(b.nr_ranges, VELLUM_FLUSH_RANGES);
	expect_range(&b, 0, PAGE(10), PAGE(14));
	expect_range(&b, VELLUM_FLUSH_RANGES - 1, PAGE(114), PAGE(115));
	batch_add(&b, PAGE(115), PAGE(116), VELLUM_FLUSH_RIGHTS);	/* the last can still grow */
	assert_false(b.full);
	batch_add(&b, PAGE(200), PAGE(201), VELLUM_FLUSH_RIGHTS);
	assert_true(b.full);
	assert_int_equal(b.nr_ranges, VELLUM_FLUSH_RANGES);
	assert_int_equal(b.nr_frames, 0);
}

static void frames_are_listed(void **state)
{
	struct vellum_flush_batch b = { .size = sizeof(b) };

	(void)state;
	for (unsigned i = 0; i < VELLUM_FLUSH_FRAMES; i++)
		batch_add_frame(&b, 1000 + i);
	assert_int_equal(b.nr_frames, VELLUM_FLUSH_FRAMES);
	assert_false(b.all_frames);
	for (unsigned i = 0; i < VELLUM_FLUSH_FRAMES; i++)
		assert_int_equal(b.frame[i], 1000 + i);
	batch_add_frame(&b, 7);
	assert_true(b.all_frames);
	assert_int_equal(b.nr_frames, VELLUM_FLUSH_FRAMES);
}

static void expect_batch(const struct recorder *r, unsigned i, uint32_t kinds, uint64_t start, uint64_t end, pfn_t pfn)
{
	const struct vellum_flush_batch *b = &r->batch[i];

	assert_int_equal(b->kinds, kinds);
	assert_false(b->full || b->all_frames);
	assert_int_equal(b->nr_ranges, 1);
	expect_range(b, 0, start, end);
	assert_int_equal(b->nr_frames, 1);
	assert_int_equal(b->frame[0], pfn);
}

/* Nothing of a flush is left in the next one of the same gather. */
static void a_gather_starts_empty_after_each_flush(void **state)
{
	struct recorder *r = *state;
	struct tlb_gather tlb;

	memset(&tlb, 0xff, sizeof(tlb));
	forget(r);
	assert_false(flush_is_pending(r->w.mm));
	tlb_gather_begin(&tlb, r->w.mm);
	assert_true(flush_is_pending(r->w.mm));
	tlb_change(&tlb, PAGE(3), PAGE_SIZE, VELLUM_FLUSH_UNMAP, 77);
	tlb_flush(&tlb);
	expect_batch(r, 0, VELLUM_FLUSH_UNMAP, PAGE(3), PAGE(4), 77);
	tlb_flush(&tlb);	/* nothing changed since */
	assert_int_equal(r->nr_flush, 1);
	for (unsigned i = 0; i <= VELLUM_FLUSH_RANGES; i++)
		tlb_change(&tlb, PAGE(2 * i), PAGE_SIZE, VELLUM_FLUSH_UNMAP, i);
	tlb.batch.all_frames = true;
	tlb_flush(&tlb);
	assert_int_equal(r->nr_flush_mm, 1);
	tlb_change(&tlb, PAGE(5), PMD_SIZE, VELLUM_FLUSH_RIGHTS, 78);
	tlb_gather_finish(&tlb);
	assert_int_equal(r->nr_flush, 2);
	assert_int_equal(r->nr_flush_mm, 1);
	expect_batch(r, 1, VELLUM_FLUSH_RIGHTS, PAGE(5), PAGE(5) + PMD_SIZE, 78);
	assert_ptr_equal(r->mm, r->w.mm);
	assert_false(flush_is_pending(r->w.mm));
}

static void a_nested_window_flushes_what_was_walked(void **state)
{
	struct vellum_flush_batch b = { .size = sizeof(b) };
	struct recorder *r = *state;
	struct tlb_gather tlb;

	forget(r);
	flush_window_open(r->w.mm);
	flush_window_close(r->w.mm, &b, PAGE(1), PAGE(9));	/* alone, and nothing changed */
	assert_int_equal(r->nr_flush + r->nr_flush_mm, 0);
	flush_window_open(r->w.mm);
	flush_window_open(r->w.mm);
	flush_window_close(r->w.mm, &b, PAGE(1), PAGE(9));
	assert_int_equal(r->nr_flush, 1);
	assert_int_equal(r->batch[0].kinds, VELLUM_FLUSH_RIGHTS);
	assert_true(r->batch[0].all_frames);
	expect_range(&r->batch[0], 0, PAGE(1), PAGE(9));
	tlb_gather_begin(&tlb, r->w.mm);
	tlb_gather_finish(&tlb);
	assert_int_equal(r->nr_flush_mm, 1);
	b = (struct vellum_flush_batch){ .size = sizeof(b) };
	flush_window_close(r->w.mm, &b, PAGE(1), PAGE(9));
	assert_int_equal(r->nr_flush + r->nr_flush_mm, 2);
	assert_false(flush_is_pending(r->w.mm));
	flush_page(r->w.mm, PAGE(8), VELLUM_FLUSH_ACCESSED, 99);
	expect_batch(r, 1, VELLUM_FLUSH_ACCESSED, PAGE(8), PAGE(9), 99);
}

/* --- batches of operations --- */

static struct vellum_mapping *map_shared_object(struct recorder *r, unsigned pages)
{
	struct vellum_mapping *obj;

	OK(vellum_mapping_create(r->w.memory, NULL, NULL, pages, 0, &obj));
	map_object(r->w.mm, 0, pages, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	return obj;
}

/* From the first to the last changed page of each table, with the frames of the changed entries. */
static void helpers_and_collections_flush_what_they_changed(void **state)
{
	static const unsigned dirty[] = { 3, 70, 130, 131, 600, 700 };
	struct recorder *r = *state;
	struct vellum_mapping *obj = map_shared_object(r, 1024);
	uint64_t bitmap[16], start = 0, end = 0;
	struct vellum_tracker *t;

	OK(vellum_track_mm(r->w.mm, BASE, PAGE(1024), VELLUM_TRACK_CLEAN, &t));
	for (unsigned how = 0; how < 3; how++) {
		const struct vellum_flush_batch *b = &r->batch[0];

		for (unsigned i = 0; i < ARRAY_SIZE(dirty); i++)
			put(r, dirty[i]);
		forget(r);
		if (how == 0)
			OK(vellum_clean_record_shared_mapping_range(obj, 0, 1024, 0, bitmap, &start, &end, NULL));
		else if (how == 1)
			OK(vellum_wp_shared_mapping_range(obj, 0, 1024, NULL));
		else
			collect(t, 0);
		assert_int_equal(r->nr_flush, 1);
		assert_int_equal(r->nr_flush_mm, 0);
		assert_int_equal(b->kinds, VELLUM_FLUSH_RIGHTS);
		assert_int_equal(b->nr_ranges, 2);
		expect_range(b, 0, PAGE(3), PAGE(132));
		expect_range(b, 1, PAGE(600), PAGE(701));
		assert_false(b->all_frames);
		assert_int_equal(b->nr_frames, ARRAY_SIZE(dirty));
		for (unsigned i = 0; i < ARRAY_SIZE(dirty); i++)
			assert_int_equal(b->frame[i], pte_pfn(entry_at(r->w.mm, PAGE(dirty[i]))));
		assert_int_equal(r->nr_cache, 1);
		assert_int_equal(r->cache_start, BASE);
		assert_int_equal(r->cache_end, PAGE(1024));
		assert_int_equal(r->stops, 2);	/* once for each table with a change */
	}
	forget(r);
	collect(t, 0);
	assert_int_equal(r->nr_flush + r->nr_flush_mm + r->stops, 0);
	vellum_tracker_destroy(t);
	vellum_mapping_put(obj);
}

/* A mapping in two address spaces: each gets its own range, and nothing is flushed if nothing changed. */
static void collections_of_a_mapping_flush_each_address_space(void **state)
{
	struct recorder *r = *state;
	struct vellum_mapping *obj = map_shared_object(r, 32);
	struct vellum_tracker *t;
	struct vellum_mm *other;

	OK(vellum_mm_create(r->w.memory, &other));
	vellum_mm_activate(other, 6);
	map_object(other, 100, 8, RW, VELLUM_MAP_SHARED, obj, 8, RW);
	OK(vellum_track_mapping(obj, 4, 16, VELLUM_TRACK_CLEAN, &t));
	put(r, 5);
	put(r, 30);	/* not tracked */
	forget(r);
	assert_int_equal(collect(t, 0), 1 << 5);
	assert_int_equal(r->nr_flush, 2);
	assert_int_equal(r->nr_flush_mm, 0);
	for (unsigned i = 0; i < 2; i++) {
		const struct vellum_flush_batch *b = &r->batch[i];
		bool theirs = b->range[0].start >= PAGE(100);

		assert_int_equal(b->kinds, VELLUM_FLUSH_RIGHTS);
		assert_int_equal(b->nr_ranges, 1);
		expect_range(b, 0, PAGE(theirs ? 100 : 4), PAGE(theirs ? 108 : 20));
	}
	forget(r);
	assert_int_equal(collect(t, 0), 0);
	assert_int_equal(r->nr_flush + r->nr_flush_mm, 0);
	assert_int_equal(r->nr_cache, 2);
	vellum_tracker_destroy(t);
	vellum_mm_deactivate(other, 6);
	vellum_mm_put(other);
	vellum_mapping_put(obj);
}

/* Writeback stops the walks too, if an entry has W or D. */
static void writeback_stops_walks(void **state)
{
	struct recorder *r = *state;
	struct file f;

	file_create(&f, &r->w, 8);
	map_shared(r->w.mm, 0, 8, &f, 0);
	put(r, 2);
	put(r, 5);
	access_page(r, 7, 0);
	forget(r);
	OK(vellum_mapping_writeback(f.mapping, 0, 8, NULL));
	assert_int_equal(r->stops, 1);
	assert_int_equal(r->nr_flush, 1);
	expect_range(&r->batch[0], 0, PAGE(2), PAGE(6));
	forget(r);
	OK(vellum_mapping_writeback(f.mapping, 0, 8, NULL));
	assert_int_equal(r->stops + r->nr_flush, 0);
	unmap(r->w.mm, 0, 8);
	file_destroy(&f);
}

static void unmapping_frees_tables_after_flush_mm(void **state)
{
	struct recorder *r = *state;

	map_at(r->w.mm, 0, 600, RW, ANON);
	map_at(r->w.mm, 1000, 1, RW, ANON);
	put(r, 3);
	put(r, 5);
	forget(r);
	dontneed(r->w.mm, 0, 600);
	assert_int_equal(r->nr_flush, 1);
	assert_int_equal(r->batch[0].kinds, VELLUM_FLUSH_UNMAP);
	assert_int_equal(r->batch[0].nr_ranges, 2);
	assert_int_equal(r->batch[0].nr_frames, 2);
	forget(r);
	unmap(r->w.mm, 0, 600);	/* no entry is left, but tables are */
	assert_int_equal(r->nr_flush, 0);
	assert_int_equal(r->nr_flush_mm, 1);
}

/* More tables than a gather has room for. */
static void many_tables_are_freed_in_parts(void **state)
{
	const unsigned tables = 300;
	struct recorder *r = *state;
	uint64_t frames = free_frames(&r->w);

	map_at(r->w.mm, 0, tables * HUGE, RO, ANON | VELLUM_MAP_NORESERVE);
	for (unsigned i = 0; i < tables; i++)
		access_page(r, i * HUGE + i, 0);
	forget(r);
	unmap(r->w.mm, 0, tables * HUGE);
	assert_int_equal(r->nr_flush_mm, 3);
	assert_int_equal(free_frames(&r->w), frames);
}

/* --- zaps flush dirty shared entries before the page-table lock is dropped --- */

static bool lock_is_held(struct recorder *r)
{
	return mutex_is_locked(r->lock);
}

/* The zap of [0, @pages) of the mapping must flush with the lock of the entry or leaf at PAGE(0) held, or not. */
static void expect_flush_under_lock(struct recorder *r, unsigned pages, bool held)
{
	struct leaf leaf;

	if (huge_lookup(r->w.mm, PAGE(0), &leaf))
		r->lock = leaf.lock;
	else
		pte_lookup(r->w.mm, PAGE(0), &r->lock);
	forget(r);
	r->seen = !held;
	r->seen_at_flush = lock_is_held;
	vellum_unmap_mapping_range(vma_at(r->w.mm, PAGE(0))->mapping, 0, pages);
	r->seen_at_flush = NULL;
	assert_int_equal(r->nr_flush + r->nr_flush_mm, 1);
	assert_int_equal(r->seen, held);
}

/* One dirty entry suffices, the first or the last of its table. Clean entries wait for the end of the gather. */
static void a_dirty_entry_among_clean_ones_is_flushed_at_once(void **state)
{
	struct recorder *r = *state;
	struct vellum_mapping *obj = map_shared_object(r, 8);

	for (int dirty = -1; dirty < 8; dirty++) {
		for (int i = 0; i < 8; i++)
			access_page(r, (unsigned)i, i == dirty ? VELLUM_FAULT_WRITE : 0);
		expect_flush_under_lock(r, 8, dirty >= 0);
	}
	vellum_mapping_put(obj);
}

/* A leaf of raw frames. One of folios fills the gather, so it is flushed at once in any case. */
static void a_dirty_leaf_is_flushed_at_once(void **state)
{
	struct recorder *r = *state;
	struct device *d = device_create(&r->w, HUGE, &device_ops, VELLUM_MAPPING_PFN);

	map_device(r->w.mm, 0, HUGE, d, 0);
	for (unsigned dirty = 0; dirty < 2; dirty++) {
		put(r, 0);
		if (dirty)	/* as the store of a CPU does */
			set_leaf_at(r->w.mm, PAGE(0), leaf_at(r->w.mm, PAGE(0), PMD_SHIFT) | X86_DIRTY);
		expect_flush_under_lock(r, HUGE, dirty);
		assert_int_equal(r->batch[0].kinds, VELLUM_FLUSH_UNMAP);
		assert_true(r->batch[0].all_frames);
		assert_int_equal(r->batch[0].nr_ranges, 1);
		expect_range(&r->batch[0], 0, PAGE(0), PAGE(HUGE));
		assert_int_equal(d->nr_dirt, dirty * HUGE);
	}
	unmap(r->w.mm, 0, HUGE);
	vellum_mapping_put(d->mapping);
	r->d = d;
}

/* The folios of a dirty shared leaf become dirty; those of a clean one stay as they are. */
static void dirt_of_a_shared_leaf_reaches_its_folios(void **state)
{
	struct recorder *r = *state;
	struct folio *first;

	map_at(r->w.mm, 0, HUGE, RW, SHANON);
	OK(vellum_madvise(r->w.mm, PAGE(0), BYTES(HUGE), VELLUM_MADV_HUGEPAGE));
	for (unsigned dirty = 0; dirty < 2; dirty++) {
		access_page(r, 0, dirty ? VELLUM_FAULT_WRITE : 0);
		first = pfn_folio(r->w.memory, leaf_pfn(leaf_at(r->w.mm, PAGE(0), PMD_SHIFT), PMD_SHIFT));
		for (unsigned i = 0; i < HUGE; i++)
			folio_clear(&first[i], PG_DIRTY);
		dontneed(r->w.mm, 0, HUGE);
		for (unsigned i = 0; i < HUGE; i++)
			assert_int_equal(!!(folio_flags(&first[i]) & PG_DIRTY), dirty);
	}
}

/* --- hooks that a machine may leave out, and machines without CPUs --- */

/* Each operation that calls the machine. */
static void work(struct recorder *r)
{
	struct vellum_mapping *obj = map_shared_object(r, 16);
	uint64_t bitmap = 0, start = 0, end = 0, count;
	struct vellum_mm *child;

	map_at(r->w.mm, 32, 16, RW, ANON);
	put(r, 3);
	put(r, 34);
	OK(vellum_clean_record_shared_mapping_range(obj, 0, 16, 0, &bitmap, &start, &end, &count));
	assert_int_equal(bitmap, 1 << 3);
	OK(vellum_wp_shared_mapping_range(obj, 0, 16, &count));
	assert_int_equal(count, 1);
	OK(vellum_fork(r->w.mm, &child));
	assert_false(has_w(r->w.mm, PAGE(34)));
	vellum_mm_put(child);
	put(r, 34);
	protect(r->w.mm, 32, 16, RO);
	assert_false(has_w(r->w.mm, PAGE(34)));
	unmap(r->w.mm, 0, 48);
	vellum_mapping_put(obj);
	check_world(&r->w);
}

static void a_memory_without_a_machine(void **state)
{
	struct recorder *r = *state;

	vellum_mm_deactivate(r->w.mm, 5);
	world_remake(&r->w, NULL, test_host_ops());
	vellum_mm_activate(r->w.mm, 5);
	forget(r);
	work(r);
	assert_true(walks_stop(r->w.mm));
	walks_resume(r->w.mm);
	assert_false(must_clear_flush(r->w.mm));
	flush_page(r->w.mm, PAGE(0), VELLUM_FLUSH_RIGHTS, 1);
	assert_int_equal(vellum_mm_counter(r->w.mm, VELLUM_COUNT_TLB_FLUSHES), 0);
	assert_int_equal(r->nr_flush + r->nr_flush_mm + r->nr_cache + r->stops, 0);
}

static void a_machine_with_the_required_hooks_only(void **state)
{
	struct recorder *r = *state;

	vellum_mm_deactivate(r->w.mm, 5);
	r->ops = (struct vellum_mmu_ops){ .size = sizeof(r->ops), .flush = record_flush, .flush_mm = record_flush_mm };
	world_remake(&r->w, &r->ops, test_host_ops());
	vellum_mm_activate(r->w.mm, 5);
	forget(r);
	assert_false(walks_stop(r->w.mm));
	work(r);
	assert_true(r->nr_flush >= 2 && r->nr_flush_mm >= 1);
	assert_int_equal(r->nr_cache + r->stops, 0);
}

/* Clear and flush instead of stopping walks: each entry is flushed alone, with its frame. */
static void clear_and_flush_stops_no_walks(void **state)
{
	struct recorder *r = *state;
	struct vellum_mapping *obj;

	vellum_mm_deactivate(r->w.mm, 5);
	r->ops.caps = VELLUM_MMU_CLEAR_FLUSH;
	world_remake(&r->w, &r->ops, test_host_ops());
	vellum_mm_activate(r->w.mm, 5);
	obj = map_shared_object(r, 16);
	put(r, 3);
	put(r, 9);
	forget(r);
	OK(vellum_wp_shared_mapping_range(obj, 0, 16, NULL));
	assert_int_equal(r->stops, 0);
	assert_int_equal(r->nr_flush, 3);
	expect_batch(r, 0, VELLUM_FLUSH_RIGHTS, PAGE(3), PAGE(4), pte_pfn(entry_at(r->w.mm, PAGE(3))));
	expect_batch(r, 1, VELLUM_FLUSH_RIGHTS, PAGE(9), PAGE(10), pte_pfn(entry_at(r->w.mm, PAGE(9))));
	expect_range(&r->batch[2], 0, PAGE(3), PAGE(10));
	vellum_mapping_put(obj);
}

/* --- which CPUs --- */

static void activation_is_reported(void **state)
{
	struct recorder *r = *state;
	struct vellum_mm *other;

	OK(vellum_mm_create(r->w.memory, &other));
	vellum_mm_activate(other, 63);
	assert_int_equal(r->cpu, 63);
	assert_ptr_equal(r->active, other);
	assert_int_equal(r->pgd, vellum_mm_pgd(other));
	assert_int_equal(r->cpumask, 1ull << 63);	/* the CPU is in the mask already, and still */
	vellum_mm_activate(other, 0);
	assert_int_equal(vellum_mm_cpumask(other), 1ull << 63 | 1);
	vellum_mm_deactivate(other, 63);
	assert_int_equal(r->cpu, 63);
	assert_null(r->active);
	assert_int_equal(r->cpumask, 1ull << 63 | 1);
	vellum_mm_deactivate(other, 0);
	assert_int_equal(vellum_mm_cpumask(other), 0);
	assert_int_equal(vellum_mm_cpumask(r->w.mm), 1 << 5);
	vellum_mm_put(other);
	assert_null(vellum_mm_machine_page(r->w.mm));
}

/* Translations that survive deactivation are flushed although no CPU is active. */
static void idle_address_spaces(void **state)
{
	struct recorder *r = *state;

	for (unsigned survives = 0; survives < 2; survives++) {
		vellum_mm_deactivate(r->w.mm, 5);
		r->ops.caps = survives ? VELLUM_MMU_SURVIVES_DEACTIVATION : 0;
		world_remake(&r->w, &r->ops, test_host_ops());
		map_at(r->w.mm, 0, 8, RW, ANON);
		put(r, 1);
		forget(r);
		dontneed(r->w.mm, 0, 8);
		assert_int_equal(r->nr_flush, survives);
		assert_int_equal(vellum_mm_counter(r->w.mm, VELLUM_COUNT_TLB_FLUSHES), survives);
		unmap(r->w.mm, 0, 8);
		assert_int_equal(r->nr_flush_mm, survives);
		vellum_mm_activate(r->w.mm, 5);
	}
}

/* --- snapshots --- */

static void put_word(struct recorder *r, unsigned page, uint64_t val)
{
	assert_int_equal(vellum_copy_to_user(r->w.mm, PAGE(page), &val, 8, NULL), 0);
}

static void restore_of(struct recorder *r, struct vellum_snapshot *snapshot)
{
	forget(r);
	OK(vellum_snapshot_restore(snapshot));
	assert_int_equal(r->nr_flush_mm, 0);
}

static void expect_restore(const struct recorder *r, uint32_t kinds, unsigned nr_ranges)
{
	assert_int_equal(r->nr_flush, 1);
	assert_int_equal(r->batch[0].kinds, kinds);
	assert_int_equal(r->batch[0].nr_ranges, nr_ranges);
	assert_true(r->batch[0].all_frames);
}

/* What a restore changed, and that tables lost A; nothing if pages stay dirty. */
static void a_restore_flushes_what_it_changed(void **state)
{
	struct recorder *r = *state;
	struct vellum_mm *const mms[] = { r->w.mm };
	struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = 1, .mms = mms };
	struct vellum_snapshot *snapshot = NULL;

	map_at(r->w.mm, 0, 8, RW, ANON);
	put_word(r, 1, 1);
	put_word(r, 2, 1);
	OK(vellum_snapshot_create(&args, &snapshot));
	for (unsigned i = 2; i < 5; i++) {
		put_word(r, 1, i);
		restore_of(r, snapshot);
		if (i > 2) {
			assert_int_equal(r->nr_flush, 0);
			continue;
		}
		expect_restore(r, VELLUM_FLUSH_RIGHTS | VELLUM_FLUSH_TABLES, 1);
		expect_range(&r->batch[0], 0, PAGE(1), PAGE(2));
		assert_int_equal(r->batch[0].frame[0], pte_pfn(entry_at(r->w.mm, PAGE(1))));
	}
	restore_of(r, snapshot);
	expect_restore(r, VELLUM_FLUSH_RIGHTS | VELLUM_FLUSH_TABLES, 1);
	expect_range(&r->batch[0], 0, PAGE(1), PAGE(2));
	restore_of(r, snapshot);
	assert_int_equal(r->nr_flush, 0);
	access_page(r, 1, 0);
	restore_of(r, snapshot);
	expect_restore(r, VELLUM_FLUSH_TABLES, 0);
	vellum_snapshot_destroy(snapshot);
}

/* Pages that are dropped fill a gather: the flush after them is of all. */
static void dropped_pages_end_with_a_full_flush(void **state)
{
	struct recorder *r = *state;
	struct vellum_mm *const mms[] = { r->w.mm };
	struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = 1, .mms = mms, .max_kept_pages = 64 };
	struct vellum_snapshot *snapshot = NULL;

	map_at(r->w.mm, 0, 1024, RW, ANON);
	OK(vellum_snapshot_create(&args, &snapshot));
	for (unsigned i = 0; i < 700; i++)
		put_word(r, i, 1);
	forget(r);
	OK(vellum_snapshot_restore(snapshot));
	assert_true(r->nr_flush > 1);
	assert_int_equal(r->nr_flush_mm, 1);
	vellum_snapshot_destroy(snapshot);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_are_joined_and_listed),
		cmocka_unit_test(frames_are_listed),
		TEST(a_gather_starts_empty_after_each_flush),
		TEST(a_nested_window_flushes_what_was_walked),
		TEST(helpers_and_collections_flush_what_they_changed),
		TEST(collections_of_a_mapping_flush_each_address_space),
		TEST(writeback_stops_walks),
		TEST(unmapping_frees_tables_after_flush_mm),
		TEST(many_tables_are_freed_in_parts),
		TEST(a_dirty_entry_among_clean_ones_is_flushed_at_once),
		TEST(a_dirty_leaf_is_flushed_at_once),
		TEST(dirt_of_a_shared_leaf_reaches_its_folios),
		TEST(a_memory_without_a_machine),
		TEST(a_machine_with_the_required_hooks_only),
		TEST(clear_and_flush_stops_no_walks),
		TEST(activation_is_reported),
		TEST(idle_address_spaces),
		TEST(a_restore_flushes_what_it_changed),
		TEST(dropped_pages_end_with_a_full_flush),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
