/* SPDX-License-Identifier: MIT */
/* Huge pages of shared memory: which 512 pages can be one, and what a failure leaves. */
#define _GNU_SOURCE
#include "huge_support.h"
#include "mm/object/object.h"

#define BLOCKS 3	/* of 512 pages */

struct shared {
	struct world w;
	struct vellum_mapping *mapping;
	uint64_t large[8];	/* blocks that are in use */
	unsigned nr_large;
};

/* The second VMA is at 4 * HUGE and has no advice. */
static struct shared *shared_create(void)
{
	struct shared *s = calloc(1, sizeof(*s));

	world_create(&s->w, 16 << 20);
	OK(vellum_mapping_create(s->w.memory, NULL, NULL, BLOCKS * HUGE, 0, &s->mapping));
	map_object(s->w.mm, 0, BLOCKS * HUGE, RW, VELLUM_MAP_SHARED, s->mapping, 0, RW);
	map_object(s->w.mm, 4 * HUGE, BLOCKS * HUGE, RW, VELLUM_MAP_SHARED, s->mapping, 0, RW);
	OK(vellum_madvise(s->w.mm, PAGE(0), BYTES(BLOCKS * HUGE), VELLUM_MADV_HUGEPAGE));
	return s;
}

static void shared_destroy(struct shared *s)
{
	check_world(&s->w);
	unmap(s->w.mm, 0, 8 * HUGE);
	vellum_mapping_put(s->mapping);
	for (unsigned i = 0; i < s->nr_large; i++)
		vellum_memory_free_device(s->w.memory, s->large[i], HUGE);
	world_destroy(&s->w);
	free(s);
}

static uint64_t read_word(struct shared *s, unsigned page)
{
	uint64_t val;

	OK(vellum_mapping_read(s->mapping, BYTES(page), &val, 8));
	return val;
}

static bool has_leaf(struct shared *s, unsigned at)
{
	return leaf_at(s->w.mm, PAGE(at), PMD_SHIFT);
}

/* Pages just below and just above the block do not count. A page in it does, and all stay as they are. */
static void hole_becomes_a_huge_page(void **state)
{
	static const struct {
		unsigned page;
		bool leaf;
	} rows[] = { { HUGE - 1, true }, { HUGE, false }, { HUGE + 1, false }, { 2 * HUGE - 1, false }, { 2 * HUGE, true },
		     { 2 * HUGE + 1, true } };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		for (unsigned write = 0; write < 2; write++) {
			struct shared *s = shared_create();
			uint64_t free = free_frames(&s->w);

			store(s->w.cpu[0], PAGE(4 * HUGE + rows[i].page), 77);
			if (write)
				store(s->w.cpu[0], PAGE(HUGE + 9), 5);
			else
				load(s->w.cpu[0], PAGE(HUGE + 9));
			assert_int_equal(has_leaf(s, HUGE), rows[i].leaf);
			check_world(&s->w);
			if (rows[i].leaf) {
				/* 512 pages, and at most two tables for the small page */
				assert_in_range(free - free_frames(&s->w), HUGE + 1, HUGE + 5);
				assert_int_equal(!!(leaf_at(s->w.mm, PAGE(HUGE), PMD_SHIFT) & X86_DIRTY), write);
			}
			assert_int_equal(read_word(s, rows[i].page), 77);
			assert_int_equal(read_word(s, HUGE + 9), write ? 5 : 0);
			for (unsigned p = HUGE; p < 2 * HUGE; p++)
				if (p != rows[i].page && p != HUGE + 9)
					assert_int_equal(load(s->w.cpu[0], PAGE(p)), 0);
			assert_int_equal(load(s->w.cpu[0], PAGE(rows[i].page)), 77);
			shared_destroy(s);
		}
}

/* A block that lies across the end of the mapping has no leaf. */
static void block_must_be_within_the_size(void **state)
{
	for (unsigned less = 0; less < 2; less++) {
		struct shared *s = shared_create();

		(void)state;
		OK(vellum_mapping_set_size(s->mapping, BYTES(2 * HUGE - less)));
		store(s->w.cpu[0], PAGE(HUGE), 1);
		assert_int_equal(has_leaf(s, HUGE), !less);
		assert_int_equal(vellum_madvise(s->w.mm, PAGE(5 * HUGE), BYTES(HUGE), VELLUM_MADV_COLLAPSE),
				 less ? -EINVAL : 0);
		assert_int_equal(has_leaf(s, 5 * HUGE), !less);
		shared_destroy(s);
	}
}

/* Where small entries are mapped, the huge page is not mapped as a leaf, and its pages are counted right. */
static void table_in_use_keeps_small_entries(void **state)
{
	struct shared *s = shared_create();

	(void)state;
	store(s->w.cpu[0], PAGE(HUGE), 3);
	assert_true(has_leaf(s, HUGE));
	assert_int_equal(load(s->w.cpu[0], PAGE(5 * HUGE)), 3);
	assert_false(has_leaf(s, 5 * HUGE));
	OK(vellum_madvise(s->w.mm, PAGE(4 * HUGE), BYTES(BLOCKS * HUGE), VELLUM_MADV_HUGEPAGE));
	store(s->w.cpu[0], PAGE(5 * HUGE + 1), 4);
	check_world(&s->w);
	assert_false(has_leaf(s, 5 * HUGE));
	assert_int_equal(load(s->w.cpu[0], PAGE(HUGE + 1)), 4);
	for (unsigned i = 0; i < HUGE; i++) {
		struct folio *folio = mapping_find(s->mapping, HUGE + i);

		assert_int_equal(folio->count / FOLIO_ONE_MAPPING, 1 + is_there(s->w.mm, PAGE(5 * HUGE + i)));
		folio_put(s->w.memory, folio);
	}
	/* A collapse removes the small entries, here and there. */
	OK(vellum_madvise(s->w.mm, PAGE(5 * HUGE), BYTES(HUGE), VELLUM_MADV_COLLAPSE));
	assert_true(has_leaf(s, 5 * HUGE));
	check_world(&s->w);
	assert_int_equal(load(s->w.cpu[0], PAGE(5 * HUGE)), 3);
	assert_int_equal(load(s->w.cpu[0], PAGE(HUGE + 1)), 4);
	shared_destroy(s);
}

static void fill_block(struct shared *s, unsigned block)
{
	for (unsigned i = 0; i < HUGE; i += 3)
		store(s->w.cpu[0], PAGE((4 + block) * HUGE + i), 1000 + i);
}

static void check_block(struct shared *s, unsigned block)
{
	for (unsigned i = 0; i < HUGE; i++)
		assert_int_equal(load(s->w.cpu[0], PAGE((4 + block) * HUGE + i)), i % 3 ? 0 : 1000 + i);
}

static int collapse(struct shared *s, unsigned block)
{
	int err = vellum_madvise(s->w.mm, PAGE((4 + block) * HUGE), BYTES(HUGE), VELLUM_MADV_COLLAPSE);

	check_world(&s->w);
	return err;
}

/* Small pages and holes become one block. What fails leaves all bytes, and no page is lost. */
static void collapse_keeps_bytes_and_frames(void **state)
{
	struct shared *s = shared_create();
	uint64_t pfn, done;

	(void)state;
	fill_block(s, 1);
	OK(vellum_pin_pages(s->w.mm, PAGE(5 * HUGE + 300), 1, VELLUM_GUP_WRITE, &pfn, &done));
	assert_int_equal(collapse(s, 1), -VELLUM_EAGAIN);	/* the pinned page stays */
	assert_false(has_leaf(s, 5 * HUGE));
	check_block(s, 1);
	assert_int_equal(pte_pfn(entry_at(s->w.mm, PAGE(5 * HUGE + 300))), pfn);
	vellum_unpin_pages(s->w.memory, &pfn, 1);
	while (!vellum_memory_alloc_device(s->w.memory, HUGE, &s->large[s->nr_large]))
		s->nr_large++;
	assert_int_equal(collapse(s, 1), -VELLUM_EBUSY);	/* no block is free */
	check_block(s, 1);
	s->nr_large--;
	vellum_memory_free_device(s->w.memory, s->large[s->nr_large], HUGE);
	OK(collapse(s, 1));
	assert_true(has_leaf(s, 5 * HUGE));
	check_block(s, 1);
	assert_int_equal(info_of(s->mapping).nr_cached, HUGE);
	OK(collapse(s, 1));		/* it is one already */
	shared_destroy(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hole_becomes_a_huge_page),
		cmocka_unit_test(block_must_be_within_the_size),
		cmocka_unit_test(table_in_use_keeps_small_entries),
		cmocka_unit_test(collapse_keeps_bytes_and_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
