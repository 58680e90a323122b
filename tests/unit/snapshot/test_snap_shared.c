/* SPDX-License-Identifier: MIT */
/* Snapshots of shared memory: bytes, pages that exist, size, seals. */
#include "snap_support.h"

static struct vellum_mapping *memfd(struct snap *s, uint64_t pages, uint64_t filled)
{
	struct vellum_mapping *mapping;

	OK(vellum_mapping_create(s->w->memory, NULL, NULL, pages, 0, &mapping));
	for (uint64_t i = 0; i < filled; i++) {
		uint64_t val = 50 + i;

		OK(vellum_mapping_write(mapping, BYTES(i), &val, 8));
	}
	return mapping;
}

/* The pages that exist, a bit each. */
static uint64_t existing(struct vellum_mapping *mapping)
{
	uint64_t mask = 0;

	for (uint64_t i = 0; !vellum_mapping_next(mapping, &i); i++)
		mask |= 1ull << i;
	return mask;
}

static uint64_t word_in(struct vellum_mapping *mapping, uint64_t page)
{
	uint64_t val = 0;

	OK(vellum_mapping_read(mapping, BYTES(page), &val, 8));
	return val;
}

/* The pages 0 to @filled - 1 have their bytes, and there is no other. */
static void must_be_filled(struct vellum_mapping *mapping, uint64_t filled)
{
	assert_int_equal(existing(mapping), (1ull << filled) - 1);
	for (uint64_t i = 0; i < filled; i++)
		assert_int_equal(word_in(mapping, i), 50 + i);
}

/* --- shared anonymous memory --- */

static void prepare_anon(struct snap *s)
{
	map_at(s->mm, 0, 16, RW, SHANON);
	store_range(s, 0, 8, 100);
	load_range(s, 8, 2);
}

static void run_stores(struct snap *s)
{
	store_range(s, 2 + s->round, 4, 7);
	store_range(s, 10 + s->round, 3, 7);
}

/* Loads create pages, too. */
static void run_loads(struct snap *s)
{
	load_range(s, 4, 8 + s->round);
}

static void run_advice(struct snap *s)
{
	store(s->cpu, PAGE(3), 1);
	dontneed(s->mm, 2, 4);
	if (s->round)
		advise(s, 4, 2, VELLUM_MADV_REMOVE);
	if (s->round == 2)
		store(s->cpu, PAGE(4), 1);
}

static void run_swap(struct snap *s)
{
	if (s->round)
		store_range(s, 0, 4, 7);
	reclaim_all(s->w);
	if (s->round == 2)
		store_range(s, 4, 6, 7);
	restore(s);
	reclaim_all(s->w);
}

static void run_swapoff(struct snap *s)
{
	struct disk *d = &s->sw.disk;

	store_range(s, 0, 4, 5);
	reclaim_all(s->w);
	OK(vellum_swap_remove(s->w->memory, d->area));
	OK(vellum_swap_add(s->w->memory, &disk_ops, d, d->nr, &d->area));
}

static void run_protect(struct snap *s)
{
	store_range(s, 0, 4, 7);
	protect(s->mm, 0, 4, RO);
	if (s->round)
		unmap(s->mm, 2, 8);
	if (s->round == 2)
		map_at(s->mm, 2, 8, RW, SHANON);
}

/* Other memory with the same offsets. */
static void run_replace(struct snap *s)
{
	map_at(s->mm, 0, 16, RW, SHANON);
	store_range(s, 0, 4, 7);
	assert_ptr_not_equal(vma_at(s->mm, PAGE(0))->mapping, vellum_snapshot_mapping(s->snapshot, 0));
}

static void run_move(struct snap *s)
{
	store_range(s, 0, 4, 7);
	move(s, 2, 4, 40, 0);
	store_range(s, 40, 4, 8);
}

/* A userfaultfd adds pages with bytes that no CPU has stored. */
static void prepare_filled(struct snap *s)
{
	prepare_anon(s);
	s->uffd = new_uffd(s->mm, 0);
	OK(vellum_uffd_register(s->uffd, PAGE(0), BYTES(16), VELLUM_UFFD_MISSING, NULL));
}

static void run_fill(struct snap *s)
{
	static const char page[PAGE_SIZE] = { 1, 2, 3 };
	int64_t done;

	OK(vellum_uffd_copy(s->uffd, PAGE(11 + s->round), 0, page, PAGE_SIZE, 0, &done));
	OK(vellum_uffd_zeropage(s->uffd, PAGE(15), PAGE_SIZE, 0, &done));
}

static void end_uffd(struct snap *s)
{
	vellum_uffd_close(s->uffd);
	vellum_uffd_put(s->uffd);
}

/* --- a memfd --- */

static void prepare_twice(struct snap *s)
{
	s->mappings[0] = memfd(s, 12, 6);
	map_object(s->mm, 0, 12, RW, VELLUM_MAP_SHARED, s->mappings[0], 0, RW);
	map_object(s->mm, 20, 8, RW, VELLUM_MAP_SHARED, s->mappings[0], 2, RW);
	load_range(s, 0, 4);
	load_range(s, 20, 2);
}

static void run_twice(struct snap *s)
{
	store_range(s, 1, 4, 7);
	store_range(s, 22, 4, 8);
	if (s->round)
		unmap(s->mm, 0, 12);
	store_range(s, 20, 3, 9);
}

static void prepare_unmapped(struct snap *s)
{
	s->mappings[0] = memfd(s, 12, 6);
	s->mappings[1] = memfd(s, 8, 3);
	s->nr_mappings = 2;
	map_at(s->mm, 0, 1, RW, ANON);
}

static void run_unmapped(struct snap *s)
{
	const uint64_t val = 99;

	for (uint64_t i = 2; i < 9; i++)
		OK(vellum_mapping_write(s->mappings[0], BYTES(i), &val, 8));
	if (s->round) {
		map_object(s->mm, 40, 8, RW, VELLUM_MAP_SHARED, s->mappings[1], 0, RW);
		store_range(s, 41, 4, 1);
	}
	if (s->round == 2)
		OK(vellum_mapping_punch_hole(s->mappings[1], 0, BYTES(2)));
	restore(s);
	must_be_filled(s->mappings[0], 6);
	must_be_filled(s->mappings[1], 3);
	assert_ptr_equal(vellum_snapshot_mapping(s->snapshot, 0), s->mappings[0]);
	assert_ptr_equal(vellum_snapshot_mapping(s->snapshot, 1), s->mappings[1]);
	assert_null(vellum_snapshot_mapping(s->snapshot, 2));
}

/* --- size, holes, seals --- */

static void run_size(struct snap *s)
{
	static const uint64_t sizes[] = { 0, BYTES(3) + 100, BYTES(30) };
	struct vellum_mapping *m = s->mappings[0];
	const uint64_t val = 99;

	store_range(s, 0, 2, 9);
	OK(vellum_mapping_set_size(m, sizes[s->round]));
	if (s->round)
		OK(vellum_mapping_write(m, BYTES(3), &val, 8));
	if (s->round == 1)
		OK(vellum_mapping_set_size(m, BYTES(12)));
	if (s->round == 2)
		OK(vellum_mapping_write(m, BYTES(20), &val, 8));
	restore(s);
	assert_int_equal(vellum_mapping_size(m), BYTES(12));
	must_be_filled(m, 6);
}

/* Part of the last page. What lies beyond the end reads as zeros later. */
static void prepare_odd_size(struct snap *s)
{
	prepare_twice(s);
	OK(vellum_mapping_set_size(s->mappings[0], BYTES(5) + 1000));
	store(s->cpu, PAGE(5) + 3000, 1);	/* it is no part of the memory */
}

static void run_odd_size(struct snap *s)
{
	OK(vellum_mapping_set_size(s->mappings[0], s->round == 1 ? BYTES(5) + 10 : BYTES(12)));
	if (s->round != 1)
		store_range(s, 5, 4, 9);
	if (s->round == 2)
		reclaim_all(s->w);
	restore(s);
	assert_int_equal(vellum_mapping_size(s->mappings[0]), BYTES(5) + 1000);
	must_be_filled(s->mappings[0], 6);
}

static void end_odd_size(struct snap *s)
{
	store(s->cpu, PAGE(5) + 2000, 9);	/* beyond the end, in the last page */
	restore(s);
	thaw(s);
	OK(vellum_mapping_set_size(s->mappings[0], BYTES(12)));
	assert_int_equal(load(s->cpu, PAGE(5) + 2000), 0);
	freeze(s);
}

static void run_holes(struct snap *s)
{
	OK(vellum_mapping_punch_hole(s->mappings[0], BYTES(1) + 10, BYTES(3)));
	if (s->round)
		store(s->cpu, PAGE(2), 1);
	if (s->round == 2)
		OK(vellum_mapping_punch_hole(s->mappings[0], 0, BYTES(12)));
	restore(s);
	must_be_filled(s->mappings[0], 6);
}

static void prepare_sealed(struct snap *s)
{
	prepare_twice(s);
	OK(vellum_mapping_add_seals(s->mappings[0], VELLUM_SEAL_GROW));
}

/* Seals that the run added do not keep the restore from putting the size back. */
static void run_seals(struct snap *s)
{
	if (s->round)
		OK(vellum_mapping_set_size(s->mappings[0], BYTES(2)));
	OK(vellum_mapping_add_seals(s->mappings[0], VELLUM_SEAL_SHRINK | VELLUM_SEAL_SEAL));
	store_range(s, 0, 2, 2);
	restore(s);
	assert_int_equal(vellum_mapping_seals(s->mappings[0]), VELLUM_SEAL_GROW);
	must_be_filled(s->mappings[0], 6);
}

static void prepare_empty(struct snap *s)
{
	prepare_twice(s);
	OK(vellum_mapping_set_size(s->mappings[0], 0));
}

static void run_empty(struct snap *s)
{
	OK(vellum_mapping_set_size(s->mappings[0], BYTES(8)));
	store_range(s, 0, 4, 1);
	restore(s);
	assert_int_equal(vellum_mapping_size(s->mappings[0]), 0);
	assert_int_equal(existing(s->mappings[0]), 0);
}

/* --- other trackers of the mapping --- */

static void prepare_tracked(struct snap *s)
{
	prepare_twice(s);
	OK(vellum_track_mapping(s->mappings[0], 0, 12, VELLUM_TRACK_WP, &s->tracker));
	collect(s->tracker, 0);
}

static void run_tracked(struct snap *s)
{
	restore(s);
	collect(s->tracker, 0);
	store_range(s, 2, 2, 5);
	if (s->round != 1)
		assert_int_equal(collect(s->tracker, 0), 0xc);
	if (s->round == 2)
		OK(vellum_wp_shared_mapping_range(s->mappings[0], 0, 12, NULL));
	restore(s);
	assert_int_equal(collect(s->tracker, 0) & 0xc, 0xc);
}

static void run_cleaned(struct snap *s)
{
	uint64_t bitmap[1] = { 0 }, first = 12, end = 0;

	store_range(s, 2, 2, 5);
	vellum_clean_record_shared_mapping_range(s->mappings[0], 0, 12, 0, bitmap, &first, &end, NULL);
}

static void end_tracked(struct snap *s)
{
	vellum_tracker_destroy(s->tracker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE("T-snap-09 stores to shared anonymous memory", prepare_anon, run_stores),
		SCENE("T-snap-09 loads", prepare_anon, run_loads),
		SCENE_WITH("T-snap-09 pages that a userfaultfd adds", prepare_filled, run_fill, end_uffd, 0),
		SCENE("T-snap-09 MADV_DONTNEED and REMOVE", prepare_anon, run_advice),
		SCENE_WITH("T-snap-09 swap", prepare_anon, run_swap, NULL, SCENE_AGAIN),
		SCENE_WITH("T-snap-09 swapoff", prepare_anon, run_swapoff, NULL, SCENE_AGAIN),
		SCENE_WITH("T-snap-09 mprotect, munmap, other memory", prepare_anon, run_protect, NULL, SCENE_AGAIN),
		SCENE_WITH("T-snap-09 other memory at the same place", prepare_anon, run_replace, NULL, SCENE_AGAIN),
		SCENE_WITH("T-snap-09 mremap", prepare_anon, run_move, NULL, SCENE_AGAIN),
		SCENE_WITH("T-snap-09 a memfd that is mapped twice", prepare_twice, run_twice, NULL, SCENE_AGAIN),
		SCENE_WITH("T-snap-09 memfds that are not mapped", prepare_unmapped, run_unmapped, NULL, SCENE_AGAIN),
		SCENE_WITH("T-snap-10 the size", prepare_twice, run_size, NULL, SCENE_AGAIN),
		SCENE_WITH("T-snap-10 a size within a page", prepare_odd_size, run_odd_size, end_odd_size, SCENE_AGAIN),
		SCENE_WITH("T-snap-10 holes", prepare_twice, run_holes, NULL, SCENE_AGAIN),
		SCENE_WITH("T-snap-10 seals", prepare_sealed, run_seals, NULL, SCENE_AGAIN),
		SCENE_WITH("T-snap-10 no byte", prepare_empty, run_empty, NULL, SCENE_AGAIN),
		SCENE_WITH("T-snap-05 a tracker of shared memory", prepare_tracked, run_tracked, end_tracked, SCENE_AGAIN),
		SCENE_WITH("T-snap-05 clean-and-record", prepare_twice, run_cleaned, NULL, SCENE_AGAIN),
	};

	return cmocka_run_group_tests_name("snap_shared", tests, NULL, NULL);
}
