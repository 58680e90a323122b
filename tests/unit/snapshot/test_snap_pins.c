/* SPDX-License-Identifier: MIT */
/* Snapshots and pins: stores through a pin leave no trace in an entry. */
#include "snap_support.h"

static uint64_t pin_page(struct snap *s, unsigned at, uint32_t flags)
{
	uint64_t pfn = ~0ull, done = 0;

	OK(vellum_pin_pages(s->mm, PAGE(at), 1, flags, &pfn, &done));
	assert_int_equal(done, 1);
	return pfn;
}

static uint64_t *words_of(struct snap *s, unsigned nr)
{
	return vellum_frame_host(s->w->memory, s->pfn[nr]);
}

static void drop_pin(struct snap *s, unsigned nr)
{
	vellum_unpin_pages(s->w->memory, &s->pfn[nr], 1);
}

/* A program's page and a pinned frame must be one. */
static void must_map(struct snap *s, unsigned at, unsigned nr)
{
	assert_int_equal(pte_pfn(entry_at(s->mm, PAGE(at))), s->pfn[nr]);
}

/* --- pinned before the snapshot --- */

static void prepare_pinned(struct snap *s)
{
	prepare_private(s);
	s->pfn[0] = pin_page(s, 2, VELLUM_GUP_WRITE);
	s->pfn[1] = pin_page(s, 20, VELLUM_GUP_WRITE);
	s->pfn[2] = pin_page(s, 5, 0);
}

static void run_pinned(struct snap *s)
{
	words_of(s, 0)[2] = 1;
	words_of(s, 1)[3] = 2;
	if (s->round == 1)
		store_range(s, 4, 3, 9);
	if (s->round == 2)
		reclaim_all(s->w);
	restore(s);
	assert_int_equal(words_of(s, 0)[2], 102);
	assert_int_equal(words_of(s, 1)[3], 0);
	must_map(s, 2, 0);
	must_map(s, 20, 1);
	must_map(s, 5, 2);
	words_of(s, 0)[7] = 1;	/* no CPU has accessed anything since the restore */
}

static void end_pinned(struct snap *s)
{
	words_of(s, 0)[2] = 1;
	drop_pin(s, 0);
	restore_and_check(s);
	words_of(s, 1)[3] = 2;
	drop_pin(s, 1);
	drop_pin(s, 2);
	restore_and_check(s);
	store_range(s, 0, 8, 3);
	s->flags &= ~(unsigned)SCENE_AGAIN;
	restore_and_check(s);
	restore_and_check(s);
}

/* An earlier snapshot has left its marks in the entries. With none in use, a fast pin leaves them there. */
static void prepare_after_another(struct snap *s)
{
	struct vellum_snapshot *earlier;
	uint64_t done = 0;

	prepare_private(s);
	OK(freeze_all(s, &earlier));
	store(s->cpu, PAGE(2), 7);
	OK(vellum_snapshot_restore(earlier));
	vellum_snapshot_destroy(earlier);
	OK(vellum_pin_pages(s->mm, PAGE(2), 1, VELLUM_GUP_WRITE, &s->pfn[0], &done));
	assert_int_equal(done, 1);
}

static void run_after_another(struct snap *s)
{
	words_of(s, 0)[2] = 1;
	restore(s);
	assert_int_equal(words_of(s, 0)[2], 102);
	words_of(s, 0)[3] = 1;
}

static void end_after_another(struct snap *s)
{
	drop_pin(s, 0);
	restore_and_check(s);
}

/* Pinned while the address space has no base, and before a CPU or a call has set A in the entries above. */
static void run_without_base(struct snap *s)
{
	struct vellum_snapshot *inner;

	OK(freeze_all(s, &inner));
	store(s->cpu, PAGE(2), 7);
	OK(vellum_snapshot_restore(inner));
	vellum_snapshot_destroy(inner);
	s->pfn[0] = pin_page(s, 2, VELLUM_GUP_WRITE);
	words_of(s, 0)[2] = 1;
	restore(s);
	assert_int_equal(words_of(s, 0)[2], 102);
	words_of(s, 0)[2] = 1;
	restore(s);
	assert_int_equal(words_of(s, 0)[2], 102);
	drop_pin(s, 0);
}

/* What is no longer mapped where it was pinned stays with the pin. */
static void run_unmap_pinned(struct snap *s)
{
	if (s->round == 0)
		dontneed(s->mm, 2, 1);
	if (s->round == 1)
		unmap(s->mm, 20, 1);
	words_of(s, 0)[2] = words_of(s, 1)[3] = 77;
	restore(s);
	assert_int_not_equal(pte_pfn(entry_at(s->mm, PAGE(2))), s->pfn[0]);
	assert_int_equal(words_of(s, 0)[2], 77);
}

static void end_unmapped_pins(struct snap *s)
{
	for (unsigned i = 0; i < 3; i++)
		drop_pin(s, i);
	restore_and_check(s);
}

/* --- pinned during the run --- */

static void pin_in_run(struct snap *s, uint32_t flags)
{
	s->pfn[0] = pin_page(s, 2, flags | VELLUM_GUP_WRITE);	/* a frozen page: copied for the pin */
	s->pfn[1] = pin_page(s, 16, flags | VELLUM_GUP_WRITE);
	s->pfn[2] = pin_page(s, 24, flags | VELLUM_GUP_WRITE);	/* nothing frozen */
	s->pfn[3] = pin_page(s, 7, flags);
}

static void check_pins(struct snap *s)
{
	static const unsigned at[] = { 2, 16, 24, 7 };
	const uint64_t want[] = { 102, 0, 0, 107 };

	for (unsigned i = 0; i < 4; i++)
		words_of(s, i)[at[i]] = 9;
	restore(s);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(words_of(s, i)[at[i]], want[i]);
		must_map(s, at[i], i);
	}
}

static void run_pins(struct snap *s)
{
	store_range(s, 6, 2, 3);
	pin_in_run(s, 0);
	check_pins(s);
	check_pins(s);	/* pinned for longer than a run */
	words_of(s, 0)[0] = 1;
	for (unsigned i = 0; i < 4; i++)
		drop_pin(s, i);
}

/* The page was exclusive and unchanged, so a fast pin needs no fault. */
static void run_pin_kept_page(struct snap *s)
{
	store(s->cpu, PAGE(3), 1);
	restore(s);
	s->pfn[0] = pin_page(s, 3, VELLUM_GUP_WRITE | (s->round == 1 ? VELLUM_GUP_LONGTERM : 0));
	words_of(s, 0)[3] = 5;
	if (s->round == 2) {
		drop_pin(s, 0);	/* before the restore */
		restore(s);
		assert_int_equal(load(s->cpu, PAGE(3) + 24), 103);
		return;
	}
	restore(s);
	assert_int_equal(words_of(s, 0)[3], 103);
	words_of(s, 0)[4] = 5;
	restore(s);
	assert_int_equal(words_of(s, 0)[4], 0);
	drop_pin(s, 0);
}

static void run_fast_pin(struct snap *s)
{
	uint64_t pfn, done = 0;
	int err;

	store(s->cpu, PAGE(3), 1);
	restore(s);
	err = vellum_pin_pages(s->mm, PAGE(3), 1, VELLUM_GUP_WRITE | VELLUM_GUP_FAST_ONLY, &pfn, &done);
	if (!err && done == 1) {
		s->pfn[0] = pfn;
		words_of(s, 0)[3] = 5;
		restore(s);
		assert_int_equal(words_of(s, 0)[3], 103);
		drop_pin(s, 0);
	}
}

/* The frozen bytes have to be read from swap while the page is pinned. */
static void run_pin_swapped(struct snap *s)
{
	store(s->cpu, PAGE(2), 1);
	s->pfn[0] = pin_page(s, 2, VELLUM_GUP_WRITE);
	reclaim_all(s->w);
	words_of(s, 0)[2] = 1;
	restore(s);
	assert_int_equal(words_of(s, 0)[2], 102);
	must_map(s, 2, 0);
	drop_pin(s, 0);
}

static void prepare_out(struct snap *s)
{
	prepare_private(s);
	pageout(s->mm, 0, 8);
}

/* A plain reference is no pin. */
static void run_reference(struct snap *s)
{
	uint64_t pfn, done;

	OK(vellum_get_pages(s->mm, PAGE(2), 1, VELLUM_GUP_WRITE, &pfn, &done));
	((uint64_t *)vellum_frame_host(s->w->memory, pfn))[2] = 1;
	store(s->cpu, PAGE(2), 1);
	vellum_put_pages(s->w->memory, &pfn, 1);
}

/* --- private file pages --- */

static void prepare_file(struct snap *s)
{
	file_create(&s->file, s->w, 8);
	map_private(s->mm, 0, 8, &s->file, 0);
	store(s->cpu, PAGE(0), 100);
	load_range(s, 1, 2);
}

/* The page of the file has to be read again: it is no longer cached. */
static void run_pin_file(struct snap *s)
{
	s->pfn[0] = pin_page(s, 0, VELLUM_GUP_WRITE);
	s->pfn[1] = pin_page(s, 1, VELLUM_GUP_WRITE);
	s->pfn[2] = pin_page(s, 5, VELLUM_GUP_WRITE);
	for (unsigned i = 0; i < 3; i++)
		words_of(s, i)[0] = 9;
	if (s->round)
		reclaim_all(s->w);
	restore(s);
	assert_int_equal(words_of(s, 0)[0], 100);
	assert_int_equal(words_of(s, 1)[0], file_initial(1));
	assert_int_equal(words_of(s, 2)[0], file_initial(5));
	for (unsigned i = 0; i < 3; i++)
		drop_pin(s, i);
}

/* --- shared pages --- */

static void prepare_shared(struct snap *s)
{
	map_at(s->mm, 0, 16, RW, SHANON);
	store_range(s, 0, 8, 1);
	s->pfn[0] = pin_page(s, 2, VELLUM_GUP_WRITE);
	s->pfn[1] = pin_page(s, 10, VELLUM_GUP_WRITE);
}

static void run_shared(struct snap *s)
{
	uint64_t pfn = pin_page(s, 4, VELLUM_GUP_WRITE);

	words_of(s, 0)[2] = 9;
	words_of(s, 1)[10] = 9;
	((uint64_t *)vellum_frame_host(s->w->memory, pfn))[4] = 9;
	restore(s);
	assert_int_equal(words_of(s, 0)[2], 3);
	assert_int_equal(words_of(s, 1)[10], 0);
	assert_int_equal(load(s->cpu, PAGE(4) + 32), 5);
	words_of(s, 0)[2] = 10;
	((uint64_t *)vellum_frame_host(s->w->memory, pfn))[4] = 10;
	restore(s);
	assert_int_equal(words_of(s, 0)[2], 3);
	assert_int_equal(load(s->cpu, PAGE(4) + 32), 5);
	words_of(s, 0)[2] = 10;
	((uint64_t *)vellum_frame_host(s->w->memory, pfn))[4] = 10;
	vellum_unpin_pages(s->w->memory, &pfn, 1);
}

static void end_shared(struct snap *s)
{
	words_of(s, 0)[2] = 9;
	drop_pin(s, 0);
	drop_pin(s, 1);
	restore_and_check(s);
	s->flags &= ~(unsigned)SCENE_AGAIN;
	restore_and_check(s);
}

/* The process that pins is not frozen, only the shared memory is. */
static struct vellum_mm *other;

static void prepare_other(struct snap *s)
{
	OK(vellum_mm_create(s->w->memory, &other));
	vellum_soft_load_mm(s->w->cpu[1], other);
	OK(vellum_mapping_create(s->w->memory, NULL, NULL, 8, 0, &s->mappings[0]));
	s->nr_mappings = 1;
	map_object(other, 0, 8, RW, VELLUM_MAP_SHARED, s->mappings[0], 0, RW);
	for (unsigned i = 0; i < 4; i++)
		store(s->w->cpu[1], PAGE(i), 100 + i);
}

static void run_other(struct snap *s)
{
	uint64_t done = 0;

	store(s->w->cpu[1], PAGE(3), 1);
	restore(s);
	assert_int_equal(load(s->w->cpu[1], PAGE(3)), 103);
	OK(vellum_pin_pages(other, PAGE(3), 1, VELLUM_GUP_WRITE, &s->pfn[0], &done));
	words_of(s, 0)[0] = 5;
	restore(s);
	assert_int_equal(words_of(s, 0)[0], 103);
	drop_pin(s, 0);
}

static void end_other(struct snap *s)
{
	vellum_soft_load_mm(s->w->cpu[1], NULL);
	vellum_mm_put(other);
}

/* --- private copies of raw frames --- */

static uint64_t raw_pfn;

static int no_page(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx, (void)vmf;
	return VELLUM_VMF_SIGBUS;
}

static int raw_frame(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	vmf->pfn = raw_pfn + vmf->pgoff;
	return VELLUM_VMF_OK;
}

static const struct vellum_backing_ops raw_ops = { .size = sizeof(raw_ops), .fault = no_page, .pfn_fault = raw_frame };

static void prepare_raw(struct snap *s)
{
	OK(vellum_memory_alloc_device(s->w->memory, 8, &raw_pfn));
	OK(vellum_mapping_create(s->w->memory, &raw_ops, NULL, 8, VELLUM_MAPPING_MIXED, &s->mappings[0]));
	map_object(s->mm, 0, 8, RW, VELLUM_MAP_PRIVATE, s->mappings[0], 0, RW);
	store_range(s, 0, 1, 100);
}

/* A raw frame is the driver's: no bytes of it are copied to the page, which stays with the pin. */
static void run_pin_raw(struct snap *s)
{
	store_range(s, 0, 6, 1);
	s->pfn[0] = pin_page(s, 0, VELLUM_GUP_WRITE);
	s->pfn[1] = pin_page(s, 5, VELLUM_GUP_WRITE);
	restore(s);
	must_map(s, 0, 0);
	assert_int_equal(words_of(s, 0)[0], 100);
	assert_true(pte_none(entry_at(s->mm, PAGE(5))));
	drop_pin(s, 0);
	drop_pin(s, 1);
}

static void end_raw(struct snap *s)
{
	thaw(s);
	OK(vellum_munmap(s->mm, PAGE(0), BYTES(8)));
	vellum_memory_free_device(s->w->memory, raw_pfn, 8);
	freeze(s);
}

/* The page exists only since the run, and is pinned when the restore drops it. */
static void run_pin_new_shared(struct snap *s)
{
	s->pfn[0] = pin_page(s, 12, VELLUM_GUP_WRITE);
	words_of(s, 0)[12] = 9;
	restore(s);
	words_of(s, 0)[12] = 9;
	restore(s);
	drop_pin(s, 0);
}

static void prepare_new_shared(struct snap *s)
{
	map_at(s->mm, 0, 16, RW, SHANON);
	store_range(s, 0, 8, 1);
}

int main(void)
{
	const unsigned flags = SCENE_AGAIN | SCENE_NO_VCACHE;
	const struct CMUnitTest tests[] = {
		SCENE_WITH("T-snap-07 pinned before the snapshot", prepare_pinned, run_pinned, end_pinned, flags),
		SCENE_WITH("T-snap-07 pinned before, then unmapped", prepare_pinned, run_unmap_pinned, end_unmapped_pins, flags),
		SCENE_WITH("T-snap-07 pinned between two snapshots", prepare_after_another, run_after_another, end_after_another,
			   flags),
		SCENE_WITH("T-snap-07 pinned without a base", prepare_private, run_without_base, NULL, flags),
		SCENE_WITH("T-snap-07 pinned in the run", prepare_private, run_pins, NULL, flags),
		SCENE_WITH("T-snap-07 a kept page is pinned", prepare_private, run_pin_kept_page, NULL, flags),
		SCENE_WITH("T-snap-07 a fast pin", prepare_private, run_fast_pin, NULL, flags),
		SCENE_WITH("T-snap-07 pinned, and the frozen page is out", prepare_private, run_pin_swapped, NULL, flags),
		SCENE_WITH("T-snap-07 pinned, and was out in the snapshot", prepare_out, run_pin_swapped, NULL, flags),
		SCENE_WITH("T-snap-07 a reference", prepare_private, run_reference, NULL, flags),
		SCENE_WITH("T-snap-07 pinned private pages of a file", prepare_file, run_pin_file, NULL, flags),
		SCENE_WITH("T-snap-07 pinned shared pages", prepare_shared, run_shared, end_shared, flags),
		SCENE_WITH("T-snap-07 a process that is not frozen pins", prepare_other, run_other, end_other, flags),
		SCENE_WITH("T-snap-07 pinned copies of raw frames", prepare_raw, run_pin_raw, end_raw, flags),
		SCENE_WITH("T-snap-07 a pinned shared page is new", prepare_new_shared, run_pin_new_shared, NULL, flags),
	};

	return cmocka_run_group_tests_name("snap_pins", tests, NULL, NULL);
}
