/* SPDX-License-Identifier: MIT */
/*
 * The helpers and mkclean on ranges that start and end anywhere: inside tables, words of the bitmap and leaves. Every
 * page, inside and outside the range, is compared with a model.
 */
#define _GNU_SOURCE
#include "file_support.h"
#include "huge_support.h"

#include <pthread.h>

#define PAGES	 1600
#define WORDS	 (PAGES / 64 + 2)
#define FIRST_AT 500	/* the whole mapping, across tables; no word of the bitmap begins with a table */
#define OTHER_AT 2085	/* pages OTHER_PGOFF to OTHER_PGOFF + OTHER_PAGES, in a second address space */
#define OTHER_PGOFF 130
#define OTHER_PAGES 700

struct twice {
	struct world *w;
	struct vellum_mapping *obj;
	struct vellum_mm *other;
	pte_t before[2][PAGES];	/* of the first and the second VMA, by page of the mapping; 0: not mapped there */
};

static uint64_t place_of(unsigned vma, uint64_t page)
{
	if (vma == 0)
		return PAGE(FIRST_AT + page);
	return page - OTHER_PGOFF < OTHER_PAGES ? PAGE(OTHER_AT + page - OTHER_PGOFF) : 0;
}

static struct vellum_mm *mm_of(const struct twice *t, unsigned vma)
{
	return vma ? t->other : t->w->mm;
}

static pte_t entry_of(const struct twice *t, unsigned vma, uint64_t page)
{
	uint64_t addr = place_of(vma, page);

	return addr ? entry_at(mm_of(t, vma), addr) : pte_make(0);
}

static void begin_twice(struct twice *t, struct world *w)
{
	memset(t, 0, sizeof(*t));
	t->w = w;
	OK(vellum_mapping_create(w->memory, NULL, NULL, PAGES, 0, &t->obj));
	OK(vellum_mm_create(w->memory, &t->other));
	map_object(w->mm, FIRST_AT, PAGES, RW, VELLUM_MAP_SHARED, t->obj, 0, RW);
	map_object(t->other, OTHER_AT, OTHER_PAGES, RW, VELLUM_MAP_SHARED, t->obj, OTHER_PGOFF, RW);
	vellum_soft_load_mm(w->cpu[1], t->other);
}

static void end_twice(struct twice *t)
{
	check_world(t->w);
	end_child(t->other, t->w->cpu[1]);
	vellum_mapping_put(t->obj);
}

/* Store to random pages: sparse, in runs, or to all. */
static void store_randomly(struct twice *t, uint64_t *seed)
{
	unsigned one_in = 1u << random_below(seed, 6);

	for (uint64_t page = 0; page < PAGES; page++)
		for (unsigned vma = 0; vma < 2; vma++)
			if (place_of(vma, page) && !random_below(seed, one_in))
				store(t->w->cpu[vma], place_of(vma, page), page);
	for (uint64_t page = 0; page < PAGES; page++)
		for (unsigned vma = 0; vma < 2; vma++)
			t->before[vma][page] = entry_of(t, vma, page);
}

struct range {
	uint64_t first, nr, pgoff;
};

static const struct range ranges[] = {
	{ 0, PAGES, 0 }, { 1, 63, 0 }, { 5, 64, 3 }, { 63, 65, 1 }, { 100, 700, 37 }, { 12, 1, 12 }, { 12, 1, 11 },
	{ 500, 600, 449 }, { 127, 129, 63 }, { 0, 1, 0 }, { PAGES - 1, 1, 5 }, { 11, 2, 1 }, { 12, 512, 12 },
	{ 12, 575, 0 }, { 2, 1036, 1 }, { 300, 36, 129 }, { 700, 127, 700 }, { 1023, 128, 1000 },
};

static bool in_range(const struct range *r, uint64_t page)
{
	return page >= r->first && page < r->first + r->nr;
}

/* What the helper must have done to the entries of one page. Return: the number of entries that were dirty. */
static unsigned check_cleaned(const struct twice *t, const struct range *r, uint64_t page)
{
	unsigned dirty = 0;

	for (unsigned vma = 0; vma < 2; vma++) {
		pte_t old = t->before[vma][page], now = entry_of(t, vma, page);

		dirty += pte_dirty(old);
		assert_int_equal(now.val, in_range(r, page) ? pte_mkclean(old).val : old.val);
	}
	return in_range(r, page) ? dirty : 0;
}

static void clean_and_compare(struct twice *t, const struct range *r, uint64_t filler)
{
	uint64_t bitmap[WORDS], wanted[WORDS], start = 0, end = 0, first_bit = r->nr, end_bit = 0, count, entries = 0;

	memset(bitmap, filler ? 0xff : 0, sizeof(bitmap));
	memcpy(wanted, bitmap, sizeof(wanted));
	OK(vellum_clean_record_shared_mapping_range(t->obj, r->first, r->nr, r->pgoff, bitmap, &start, &end, &count));
	for (uint64_t page = 0; page < PAGES; page++) {
		unsigned dirty = check_cleaned(t, r, page);
		uint64_t bit = page - r->pgoff;

		if (!dirty)
			continue;
		wanted[bit / 64] |= 1ull << bit % 64;
		first_bit = bit < first_bit ? bit : first_bit;
		end_bit = bit + 1;
		entries += dirty;
	}
	assert_memory_equal(bitmap, wanted, sizeof(bitmap));
	assert_int_equal(start, first_bit);
	assert_int_equal(end, end_bit);
	assert_int_equal(count, entries);
}

static void each_bit_of_each_range(void **state)
{
	struct twice t;
	uint64_t seed = 77;

	begin_twice(&t, *state);
	for (unsigned i = 0; i < 3 * ARRAY_SIZE(ranges); i++) {
		store_randomly(&t, &seed);
		clean_and_compare(&t, &ranges[i % ARRAY_SIZE(ranges)], i % 3 == 2);
	}
	end_twice(&t);
}

/* The same ranges of the other helper: W goes inside the range only, and D stays as the saved bit. */
static void each_entry_of_each_range_loses_w(void **state)
{
	struct twice t;
	uint64_t seed = 78, count, entries;

	begin_twice(&t, *state);
	for (unsigned i = 0; i < 2 * ARRAY_SIZE(ranges); i++) {
		const struct range *r = &ranges[i % ARRAY_SIZE(ranges)];

		store_randomly(&t, &seed);
		OK(vellum_wp_shared_mapping_range(t.obj, r->first, r->nr, &count));
		entries = 0;
		for (uint64_t page = 0; page < PAGES; page++)
			for (unsigned vma = 0; vma < 2; vma++) {
				pte_t old = t.before[vma][page], now = entry_of(&t, vma, page);

				assert_int_equal(now.val, in_range(r, page) ? pte_wrprotect(old).val : old.val);
				entries += in_range(r, page) && pte_present(old) && pte_write(old);
			}
		assert_int_equal(count, entries);
	}
	end_twice(&t);
}

/* Lines of eight entries without D are skipped as a whole, but not beyond the end of the range. */
static void the_entry_behind_a_skipped_line(void **state)
{
	struct twice t;
	uint64_t bitmap[WORDS] = { 0 }, start = 0, end = 0, count;

	begin_twice(&t, *state);
	for (unsigned i = 0; i < 40; i++) {
		unsigned nr = 1 + i / 2, dirty = 4 + nr + i % 2;	/* page 4 is the first of a line */

		store(t.w->cpu[0], place_of(0, dirty), nr);
		OK(vellum_clean_record_shared_mapping_range(t.obj, 4, nr, 0, bitmap, &start, &end, &count));
		assert_int_equal(count, 0);
		assert_true(has_d(t.w->mm, place_of(0, dirty)));
		OK(vellum_clean_record_shared_mapping_range(t.obj, 4, nr + 2, 0, bitmap, &start, &end, &count));
		assert_int_equal(count, 1);
	}
	end_twice(&t);
}

/* The bitmap ends with the word of the last bit, and nothing behind it can be accessed. */
static void the_bitmap_ends_with_the_range(void **state)
{
	char *bytes = mmap(NULL, 2 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t *bitmap = (uint64_t *)(bytes + PAGE_SIZE) - 1, start = 0, end = 0;
	struct twice t;

	begin_twice(&t, *state);
	munmap(bytes + PAGE_SIZE, PAGE_SIZE);
	for (unsigned first = 0; first < 64; first++) {
		for (unsigned i = first; i < 64; i++)
			store(t.w->cpu[0], place_of(0, 300 + i), i);
		*bitmap = 0;
		OK(vellum_clean_record_shared_mapping_range(t.obj, 300 + first, 64 - first, 300, bitmap, &start,
							    &end, NULL));
		assert_int_equal(*bitmap, ~0ull << first);
	}
	munmap(bytes, PAGE_SIZE);
	end_twice(&t);
}

/* --- dirt goes to the right pages and addresses --- */

static int note_pages(void *arg, uint64_t first, uint64_t nr)
{
	bool *changed = arg;

	for (uint64_t i = 0; i < nr; i++) {
		assert_in_range(first + i, (PAGE(FIRST_AT) >> 12), (PAGE(FIRST_AT + PAGES) >> 12) - 1);
		changed[first + i - (PAGE(FIRST_AT) >> 12)] = true;
	}
	return 0;
}

/* A tracker finds what a helper cleaned, and each folio of a cleaned entry is dirty, no other. */
static void dirt_is_propagated_page_by_page(void **state)
{
	static bool changed[PAGES];
	struct vellum_tracker *tracker;
	struct twice t;
	uint64_t seed = 79;

	begin_twice(&t, *state);
	map_at(t.w->mm, 0, 1, RW, ANON);
	store(t.w->cpu[0], PAGE(0), 1);
	OK(vellum_madvise(t.w->mm, PAGE(0), PAGE_SIZE, VELLUM_MADV_FREE)); /* from here on, D goes to folios, too */
	OK(vellum_track_mm(t.w->mm, PAGE(FIRST_AT - 100), PAGE(FIRST_AT + PAGES + 100), VELLUM_TRACK_CLEAN, &tracker));
	for (unsigned i = 0; i < ARRAY_SIZE(ranges); i++) {
		uint64_t bitmap[WORDS] = { 0 }, start = 0, end = 0;
		const struct range *r = &ranges[i];

		store_randomly(&t, &seed);
		for (uint64_t page = 0; page < PAGES; page++)
			if (t.before[0][page].val)
				folio_clear(pte_folio(t.w->memory, t.before[0][page]), PG_DIRTY);
		OK(vellum_clean_record_shared_mapping_range(t.obj, r->first, r->nr, r->pgoff, bitmap, &start,
							    &end, NULL));
		for (uint64_t page = 0; page < PAGES; page++) {
			bool dirty = pte_dirty(t.before[0][page]) || pte_dirty(t.before[1][page]);

			if (t.before[0][page].val)
				assert_int_equal(!!(folio_flags(pte_folio(t.w->memory, t.before[0][page])) & PG_DIRTY),
						 in_range(r, page) && dirty);
		}
		memset(changed, 0, sizeof(changed));
		OK(vellum_tracker_collect(tracker, 0, ~0ull, note_pages, changed));
		for (uint64_t page = 0; page < PAGES; page++)
			assert_int_equal(changed[page], pte_dirty(t.before[0][page]));
	}
	vellum_tracker_destroy(tracker);
	end_twice(&t);
}

/* --- bounds that the caller passes --- */

static void one_bit_that_is_set_already(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj;
	uint64_t bitmap = 0, start = 3, end = 4, count = 0;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 16, 0, &obj));
	map_object(w->mm, 0, 16, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	OK(vellum_clean_record_shared_mapping_range(obj, 0, 16, 0, &bitmap, &start, &end, &count));
	assert_int_equal(start, 3);
	assert_int_equal(end, 4);
	store(w->cpu[0], PAGE(9), 1);
	OK(vellum_clean_record_shared_mapping_range(obj, 0, 16, 0, &bitmap, &start, &end, &count));
	assert_int_equal(start, 3);
	assert_int_equal(end, 10);
	vellum_mapping_put(obj);
}

static void ranges_at_the_limit(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj;
	uint64_t bitmap = 0, start = 0, end = 0, count = 7;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 16, 0, &obj));
	OK(vellum_wp_shared_mapping_range(obj, (1ull << 52) - 1, 1, &count));
	assert_int_equal(count, 0);
	assert_int_equal(vellum_wp_shared_mapping_range(obj, (1ull << 52) - 1, 2, &count), -EINVAL);
	OK(vellum_clean_record_shared_mapping_range(obj, 8, 1, 8, &bitmap, &start, &end, &count));
	assert_int_equal(vellum_clean_record_shared_mapping_range(obj, 8, 1, 9, &bitmap, &start, &end, &count),
			 -EINVAL);
	vellum_mapping_put(obj);
}

/* --- migration entries keep W and D, so the helpers take them there --- */

#define NR_MOVING 6

/* Replace the entries of PAGE(first) and the pages behind it by migration entries, as if these pages moved. */
static void begin_moving(struct world *w, unsigned first, pte_t *saved)
{
	const struct {
		unsigned type;
		uint64_t flags;
	} kinds[NR_MOVING] = {
		{ SWP_MIGRATION_WRITE, MIGRATION_DIRTY | MIGRATION_YOUNG }, { SWP_MIGRATION_WRITE, 0 },
		{ SWP_MIGRATION_READ, MIGRATION_DIRTY }, { SWP_MIGRATION_READ, MIGRATION_YOUNG },
		{ SWP_MIGRATION_WRITE, MIGRATION_DIRTY }, { SWP_MIGRATION_WRITE, MIGRATION_YOUNG },
	};

	w->memory->nr_migrating++;
	for (unsigned i = 0; i < NR_MOVING; i++) {
		saved[i] = entry_at(w->mm, PAGE(first + i));
		set_entry_at(w->mm, PAGE(first + i), swp_entry_pte(kinds[i].type, pte_pfn(saved[i]) | kinds[i].flags));
	}
}

static void end_moving(struct world *w, unsigned first, const pte_t *saved)
{
	for (unsigned i = 0; i < NR_MOVING; i++)
		set_entry_at(w->mm, PAGE(first + i), saved[i]);
	w->memory->nr_migrating--;
}

/* Pages 8 to 13 move; 7 and 14 are dirty and stay. The ranges end inside. */
static void helpers_change_migration_entries(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj;
	uint64_t bitmap = 0, start = 0, end = 0, count;
	pte_t saved[NR_MOVING], was[16];

	OK(vellum_mapping_create(w->memory, NULL, NULL, 16, 0, &obj));
	map_object(w->mm, 0, 16, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	for (unsigned i = 0; i < 16; i++)
		store(w->cpu[0], PAGE(i), i);
	begin_moving(w, 8, saved);
	for (unsigned i = 0; i < 16; i++)
		was[i] = entry_at(w->mm, PAGE(i));
	OK(vellum_clean_record_shared_mapping_range(obj, 7, 5, 3, &bitmap, &start, &end, &count));
	assert_int_equal(bitmap, 1 << 4 | 1 << 5 | 1 << 7);	/* pages 7, 8 and 10 */
	assert_int_equal(count, 3);
	assert_int_equal(start, 4);
	assert_int_equal(end, 8);
	for (unsigned i = 0; i < 16; i++) {
		pte_t wanted = i == 7 ? pte_mkclean(was[i]) : was[i];

		if (i == 8 || i == 10)
			wanted = pte_migration_mkclean(was[i]);
		assert_int_equal(entry_at(w->mm, PAGE(i)).val, wanted.val);
		was[i] = wanted;
	}
	OK(vellum_wp_shared_mapping_range(obj, 7, 6, &count));
	assert_int_equal(count, 4);	/* all but 10 and 11, which had no W */
	for (unsigned i = 0; i < 16; i++) {
		pte_t wanted = was[i];

		if (i == 7)
			wanted = pte_wrprotect(wanted);
		else if (i == 8 || i == 9 || i == 12)
			wanted = pte_swp_with_type(wanted, SWP_MIGRATION_READ);
		assert_int_equal(entry_at(w->mm, PAGE(i)).val, wanted.val);
	}
	end_moving(w, 8, saved);
	vellum_mapping_put(obj);
}

/* --- huge leaves --- */

/* Shared memory with MADV_HUGEPAGE has leaves of folios. The helpers split these and visit their pages. */
static void leaves_of_shared_memory_are_split(void **state)
{
	for (unsigned helper = 0; helper < 2; helper++) {
		uint64_t bitmap[HUGE / 64] = { 0 }, start = 0, end = 0, count;
		struct world w;

		(void)state;
		world_create(&w, 32 << 20);
		map_at(w.mm, 0, HUGE, RW, SHANON);
		OK(vellum_madvise(w.mm, PAGE(0), BYTES(HUGE), VELLUM_MADV_HUGEPAGE));
		store(w.cpu[0], PAGE(3), 1);
		assert_true(leaf_at(w.mm, PAGE(0), PMD_SHIFT) & X86_DIRTY);
		if (helper)
			OK(vellum_wp_shared_mapping_range(vma_at(w.mm, PAGE(0))->mapping, 60, 100, &count));
		else
			OK(vellum_clean_record_shared_mapping_range(vma_at(w.mm, PAGE(0))->mapping, 60, 100, 0, bitmap,
								    &start, &end, &count));
		assert_int_equal(leaf_at(w.mm, PAGE(0), PMD_SHIFT), 0);
		assert_int_equal(count, 100);
		for (unsigned i = 0; i < HUGE; i++) {
			bool inside = i >= 60 && i < 160;

			assert_int_equal(has_w(w.mm, PAGE(i)), !(helper && inside));
			assert_int_equal(has_d(w.mm, PAGE(i)), helper || !inside);
			assert_int_equal(bitmap[i / 64] >> i % 64 & 1, !helper && inside);
		}
		unmap(w.mm, 0, HUGE);
		world_destroy(&w);
	}
}

/* --- mkclean --- */

/* Writeback takes W and D of exactly the range. A page without D is not marked dirty, nor reported to a tracker. */
static void writeback_cleans_its_range(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;
	struct file f;
	uint64_t bitmap = 0, start = 0, end = 0, written;

	file_create(&f, w, 32);
	map_shared(w->mm, 0, 32, &f, 0);
	for (unsigned i = 0; i < 32; i++)
		store(w->cpu[0], PAGE(i), i);
	OK(vellum_clean_record_shared_mapping_range(f.mapping, 0, 12, 0, &bitmap, &start, &end, NULL));
	OK(vellum_track_mm(w->mm, BASE, PAGE(32), VELLUM_TRACK_CLEAN, &t));
	store(w->cpu[0], PAGE(9), 1);
	store(w->cpu[0], PAGE(20), 1);
	store(w->cpu[0], PAGE(30), 1);
	OK(vellum_mapping_writeback(f.mapping, 5, 20, &written));
	assert_int_equal(written, 20);
	for (unsigned i = 0; i < 32; i++) {
		assert_int_equal(has_w(w->mm, PAGE(i)), i < 5 || i >= 25);
		assert_int_equal(has_d(w->mm, PAGE(i)), i == 30);
	}
	assert_int_equal(collect(t, BASE >> 12), 1ull << 9 | 1ull << 20 | 1ull << 30);
	vellum_tracker_destroy(t);
	unmap(w->mm, 0, 32);
	file_destroy(&f);
}

/* A second writeback finds neither W nor D, so it flushes nothing. */
static void writeback_of_clean_entries_does_not_flush(void **state)
{
	struct world *w = *state;
	uint64_t flushes;
	struct file f;

	file_create(&f, w, 8);
	map_shared(w->mm, 0, 8, &f, 0);
	for (unsigned i = 0; i < 8; i++)
		i % 2 ? store(w->cpu[0], PAGE(i), i) : (void)load(w->cpu[0], PAGE(i));
	flushes = count_of(w, VELLUM_COUNT_TLB_FLUSHES);
	OK(vellum_mapping_writeback(f.mapping, 0, 8, NULL));
	assert_int_equal(count_of(w, VELLUM_COUNT_TLB_FLUSHES), flushes + 1);
	OK(vellum_mapping_writeback(f.mapping, 0, 8, NULL));
	assert_int_equal(count_of(w, VELLUM_COUNT_TLB_FLUSHES), flushes + 1);
	unmap(w->mm, 0, 8);
	file_destroy(&f);
}

/* --- a hook that runs while writeback begins is asked again --- */

struct asked {
	struct vellum_mapping *mapping;
	unsigned mkwrites;
};

static void *write_back_thread(void *arg)
{
	must_in_thread(!vellum_mapping_writeback(((struct asked *)arg)->mapping, 0, 8, NULL));
	return NULL;
}

static int mkwrite_during_writeback(void *ctx, struct vellum_vmf *vmf)
{
	struct asked *a = ctx;
	pthread_t thread;

	(void)vmf;
	if (a->mkwrites++)
		return VELLUM_VMF_OK;
	OK(pthread_create(&thread, NULL, write_back_thread, a));
	OK(pthread_join(thread, NULL));
	return VELLUM_VMF_OK;
}

static int zero_fault(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx, (void)vmf;
	return VELLUM_VMF_OK;
}

static int write_nothing(void *ctx, uint64_t pgoff, const void *page, uint32_t len)
{
	(void)ctx, (void)pgoff, (void)page, (void)len;
	return 0;
}

static void writeback_makes_a_running_fault_ask_again(void **state)
{
	static const struct vellum_backing_ops ops = { .size = sizeof(ops), .fault = zero_fault,
						       .page_mkwrite = mkwrite_during_writeback,
						       .writepage = write_nothing };
	struct world *w = *state;
	struct asked a = { .mkwrites = 0 };

	for (unsigned loaded = 0; loaded < 2; loaded++) {
		a.mkwrites = 0;
		OK(vellum_mapping_create(w->memory, &ops, &a, 8, VELLUM_MAPPING_WRITEBACK, &a.mapping));
		map_object(w->mm, 0, 8, RW, VELLUM_MAP_SHARED, a.mapping, 0, RW);
		if (loaded)
			load(w->cpu[0], PAGE(1));
		store(w->cpu[0], PAGE(1), 1);
		assert_int_equal(a.mkwrites, 2);
		assert_true(has_w(w->mm, PAGE(1)) && has_d(w->mm, PAGE(1)));
		unmap(w->mm, 0, 8);
		vellum_mapping_put(a.mapping);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(each_bit_of_each_range),
		WORLD_TEST(each_entry_of_each_range_loses_w),
		WORLD_TEST(the_entry_behind_a_skipped_line),
		WORLD_TEST(the_bitmap_ends_with_the_range),
		WORLD_TEST(dirt_is_propagated_page_by_page),
		WORLD_TEST(one_bit_that_is_set_already),
		WORLD_TEST(ranges_at_the_limit),
		WORLD_TEST(helpers_change_migration_entries),
		cmocka_unit_test(leaves_of_shared_memory_are_split),
		WORLD_TEST(writeback_cleans_its_range),
		WORLD_TEST(writeback_of_clean_entries_does_not_flush),
		WORLD_TEST(writeback_makes_a_running_fault_ask_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
