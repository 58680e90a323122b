/* SPDX-License-Identifier: MIT */
/* Snapshots of private mappings: their pages come from a file, or from shared memory that may shrink. */
#include "snap_support.h"

/* Pages 0 and 1 were stored to, 2 and 3 loaded; of 4 to 7 there is no entry. */
static void prepare_file(struct snap *s)
{
	file_create(&s->file, s->w, 16);
	map_private(s->mm, 0, 12, &s->file, 2);
	advise(s, 0, 12, VELLUM_MADV_RANDOM);
	store_range(s, 0, 2, 100);
	load_range(s, 2, 2);
}

static void run_stores(struct snap *s)
{
	store_range(s, 0, 6, 7 + s->round);
	load_range(s, 6, 2);
}

static void run_loads(struct snap *s)
{
	load_range(s, 0, 8);
}

static void run_dontneed(struct snap *s)
{
	store_range(s, 1, 4, 7);
	dontneed(s->mm, 0, 8);
	if (s->round)
		store_range(s, 1, 2, 7);
}

/* The file's pages are no longer cached when they are needed. */
static void run_uncached(struct snap *s)
{
	store_range(s, 0, 6, 7);
	reclaim_all(s->w);
	if (s->round)
		store_range(s, 0, 3, 7);
}

static void run_protect(struct snap *s)
{
	protect(s->mm, 0, 4, RO);
	protect(s->mm, 4, 4, VELLUM_PROT_NONE);
	if (s->round) {
		protect(s->mm, 2, 6, RW);
		store_range(s, 2, 6, 7);
	}
}

static void run_remap(struct snap *s)
{
	unmap(s->mm, 0, 4);
	if (s->round == 0)
		return;
	map_private(s->mm, 0, 4, &s->file, s->round == 1 ? 2 : 0);
	store_range(s, 0, 2, 9);
	load_range(s, 2, 2);
}

static void run_shared_instead(struct snap *s)
{
	map_shared(s->mm, 2, 2, &s->file, 4);
	load_range(s, 2, 2);
}

/* The same range of a file twice. One has private pages, and moves over the other. */
static void prepare_file_twice(struct snap *s)
{
	file_create(&s->file, s->w, 16);
	map_private(s->mm, 0, 8, &s->file, 2);
	map_private(s->mm, 20, 8, &s->file, 2);
	load_range(s, 0, 8);
	store_range(s, 20, 8, 100);
	assert_null(vma_at(s->mm, PAGE(0))->anon_vma);
}

static void run_move_over(struct snap *s)
{
	store_range(s, 22, 2, 5);
	restore(s);
	move(s, 20, 8, 0, 0);
	if (s->round)
		map_private(s->mm, 20, 8, &s->file, 2);
}

/* A shared mapping of a file: its bytes are not restored, its VMAs are. */
static void prepare_shared_file(struct snap *s)
{
	file_create(&s->file, s->w, 16);
	map_shared(s->mm, 0, 8, &s->file, 0);
	store_range(s, 0, 2, 100);
	load_range(s, 2, 2);
}

static void run_shared_file(struct snap *s)
{
	load_range(s, 0, 6);
	protect(s->mm, 2, 2, RO);
	if (s->round)
		unmap(s->mm, 0, 4);
}

static void end_shared_file(struct snap *s)
{
	store(s->cpu, PAGE(1), 77);
	restore(s);
	assert_int_equal(load(s->cpu, PAGE(1)), 77);
	must_verify(s, s->snapshot);
	OK(vellum_mapping_sync(s->file.mapping, 0, ~0ull));
	assert_int_equal(file_word(&s->file, BYTES(1)), 77);
}

/* A store that a restore finds still dirty must reach the file. */
static void run_shared_dirt(struct snap *s)
{
	store(s->cpu, PAGE(1), 77 + s->round);
	restore(s);
	OK(vellum_mapping_sync(s->file.mapping, 0, ~0ull));
	assert_int_equal(file_word(&s->file, BYTES(1)), 77 + s->round);
	store(s->cpu, PAGE(1), 77 + s->round);
	OK(vellum_mapping_sync(s->file.mapping, 0, ~0ull));
	free(s->images[0]);
	s->images[0] = take_image(s->mm);
}

/* --- private mappings of shared memory --- */

static void prepare_memfd(struct snap *s)
{
	OK(vellum_mapping_create(s->w->memory, NULL, NULL, 12, 0, &s->mappings[0]));
	for (uint64_t i = 0; i < 8; i++) {
		uint64_t val = 50 + i;

		OK(vellum_mapping_write(s->mappings[0], BYTES(i), &val, 8));
	}
	map_object(s->mm, 0, 12, RW, VELLUM_MAP_PRIVATE, s->mappings[0], 0, RW);
	map_object(s->mm, 20, 12, RW, VELLUM_MAP_SHARED, s->mappings[0], 0, RW);
	store_range(s, 0, 2, 100);
	load_range(s, 2, 2);
	load_range(s, 9, 1);
	store_range(s, 22, 2, 200);
}

static void run_memfd(struct snap *s)
{
	store_range(s, 1, 6, 7);
	store_range(s, 20, 4, 8);
	if (s->round)
		store_range(s, 9, 3, 7);
	if (s->round == 2)
		reclaim_all(s->w);
}

/* A page of the private VMA that had no copy shows what is stored to the mapping, in each run. */
static void run_without_copy(struct snap *s)
{
	store(s->cpu, PAGE(25), 9);
	assert_int_equal(load(s->cpu, PAGE(5)), 9);
	store(s->cpu, PAGE(5), 7);
	assert_int_equal(load(s->cpu, PAGE(25)), 9);
}

/* Truncation removes private copies too. They were frozen, and come back. */
static void run_truncate(struct snap *s)
{
	store_range(s, 0, 3, 7);
	OK(vellum_mapping_set_size(s->mappings[0], s->round == 1 ? BYTES(1) + 100 : 0));
	assert_int_equal(try_load(s->cpu, PAGE(5)), VELLUM_FAULT_SIGBUS);
	if (s->round == 2) {
		OK(vellum_mapping_set_size(s->mappings[0], BYTES(20)));
		store_range(s, 0, 12, 9);
	}
}

static void run_punch(struct snap *s)
{
	OK(vellum_mapping_punch_hole(s->mappings[0], BYTES(1), BYTES(4)));
	load_range(s, 0, 5);
	if (s->round)
		store_range(s, 2, 1, 9);
}

/* --- a file of which some pages are raw frames --- */

static uint64_t raw_pfn;

static int raw_frame(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	vmf->pfn = raw_pfn + vmf->pgoff;
	return vmf->pgoff % 2 ? VELLUM_VMF_OK : VELLUM_VMF_FALLBACK;
}

static void prepare_mixed(struct snap *s)
{
	struct vellum_backing_ops ops = file_ops;

	OK(vellum_memory_alloc_device(s->w->memory, 8, &raw_pfn));
	ops.pfn_fault = raw_frame;
	file_create_with(&s->file, s->w, 8, &ops, VELLUM_MAPPING_MIXED);
	map_private(s->mm, 0, 8, &s->file, 0);
	store_range(s, 0, 4, 100);
	load_range(s, 4, 1);
}

/* The private copies in the frozen copy must outlive the truncation. */
static void run_truncate_mixed(struct snap *s)
{
	store_range(s, 1, 2, 7);
	OK(vellum_mapping_set_size(s->file.mapping, s->round == 1 ? BYTES(1) : 0));
	OK(vellum_mapping_set_size(s->file.mapping, BYTES(8)));
	if (s->round == 2)
		store_range(s, 0, 5, 7);
}

static void end_mixed(struct snap *s)
{
	thaw(s);
	OK(vellum_munmap(s->mm, PAGE(0), BYTES(8)));
	vellum_memory_free_device(s->w->memory, raw_pfn, 8);
	freeze(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE("T-snap-08 loads of a file", prepare_file, run_loads),
		SCENE("T-snap-08 stores to private pages of a file", prepare_file, run_stores),
		SCENE("T-snap-08 MADV_DONTNEED", prepare_file, run_dontneed),
		SCENE("T-snap-08 pages that are no longer cached", prepare_file, run_uncached),
		SCENE("T-snap-08 mprotect", prepare_file, run_protect),
		SCENE("T-snap-08 another range of the file", prepare_file, run_remap),
		SCENE("T-snap-08 the same range from elsewhere", prepare_file_twice, run_move_over),
		SCENE("T-snap-08 a shared mapping instead", prepare_file, run_shared_instead),
		SCENE_WITH("T-snap-08 shared mappings of files", prepare_shared_file, run_shared_file, end_shared_file,
			   SCENE_NO_VCACHE),
		SCENE_WITH("T-snap-08 stores to a shared file", prepare_shared_file, run_shared_dirt, NULL, SCENE_NO_VCACHE),
		SCENE_WITH("T-snap-08 a file with raw frames is truncated", prepare_mixed, run_truncate_mixed, end_mixed, SCENE_AGAIN),
		SCENE_WITH("T-snap-08 private mappings of shared memory", prepare_memfd, run_memfd, NULL, SCENE_AGAIN),
		SCENE_WITH("T-snap-08 the same, without a copy", prepare_memfd, run_without_copy, NULL, SCENE_AGAIN),
		SCENE_WITH("T-snap-08 the same, and truncation", prepare_memfd, run_truncate, NULL, SCENE_AGAIN),
		SCENE_WITH("T-snap-08 the same, and holes", prepare_memfd, run_punch, NULL, SCENE_AGAIN),
	};

	return cmocka_run_group_tests_name("snap_file", tests, NULL, NULL);
}
