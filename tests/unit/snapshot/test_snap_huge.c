/* SPDX-License-Identifier: MIT */
/* Snapshots of huge leaves, of raw frames, and of pages on devices. */
#include "snap_support.h"

#include "mm/table/huge.h"

#define HUGE 512		/* pages in a PMD leaf */

static bool is_huge(struct snap *s, unsigned at)
{
	return huge_lookup(s->mm, PAGE(at), NULL);
}

static void map_huge(struct snap *s)
{
	map_at(s->mm, HUGE, HUGE, RW, ANON);
	advise(s, HUGE, HUGE, VELLUM_MADV_HUGEPAGE);
}

/* --- huge pages --- */

static void prepare_huge(struct snap *s)
{
	map_huge(s);
	store_range(s, HUGE, 8, 1);
	assert_true(is_huge(s, HUGE));
}

static void run_huge_stores(struct snap *s)
{
	store_range(s, HUGE + 2, 4, 7 + s->round);
	store(s->cpu, PAGE(HUGE + 300), 7);
}

static void run_huge_loads(struct snap *s)
{
	load_range(s, HUGE, 100);
}

static void run_huge_dontneed(struct snap *s)
{
	dontneed(s->mm, HUGE, HUGE);
	if (s->round == 1)
		store(s->cpu, PAGE(HUGE + 3), 1);	/* a new leaf */
	if (s->round == 2)
		dontneed(s->mm, HUGE + 8, 8);
}

static void run_huge_split(struct snap *s)
{
	store(s->cpu, PAGE(HUGE), 9);
	if (s->round != 1)
		protect(s->mm, HUGE + 8, 8, RO);
	if (s->round)
		dontneed(s->mm, HUGE + 16, 8);
	if (s->round == 2)
		unmap(s->mm, HUGE, 100);
}

/* A page of the leaf is pinned when the snapshot is made: the leaf is split, and the page copied. */
static void prepare_pinned_huge(struct snap *s)
{
	uint64_t done = 0;

	prepare_huge(s);
	OK(vellum_pin_pages(s->mm, PAGE(HUGE + 3), 1, VELLUM_GUP_WRITE, &s->pfn[0], &done));
	assert_int_equal(done, 1);
}

static void run_pinned_huge(struct snap *s)
{
	uint64_t *words = vellum_frame_host(s->w->memory, s->pfn[0]);

	store_range(s, HUGE + 2, 4, 9);
	words[0] = 9;
	restore(s);
	assert_int_equal(words[0], 0);
	assert_int_equal(pte_pfn(entry_at(s->mm, PAGE(HUGE + 3))), s->pfn[0]);
	words[0] = 9;
}

static void end_pinned_huge(struct snap *s)
{
	vellum_unpin_pages(s->w->memory, s->pfn, 1);
	restore_and_check(s);
}

/* The leaf is split, and no entry of it changes. */
static void run_huge_advice(struct snap *s)
{
	advise(s, HUGE + 8, 8, VELLUM_MADV_DONTDUMP);
	assert_false(is_huge(s, HUGE));
}

static void run_huge_unmap(struct snap *s)
{
	unmap(s->mm, HUGE, HUGE);
	if (s->round == 1)
		map_at(s->mm, HUGE, HUGE, RW, ANON);
	if (s->round == 2) {
		map_huge(s);
		store(s->cpu, PAGE(HUGE + 5), 1);
		assert_true(is_huge(s, HUGE));
	}
}

static void run_huge_move(struct snap *s)
{
	move(s, HUGE, HUGE, 3 * HUGE, 0);
	store(s->cpu, PAGE(3 * HUGE + 1), 1);
	if (s->round)
		move(s, 3 * HUGE, HUGE, HUGE, 0);
}

static void run_huge_reclaim(struct snap *s)
{
	store(s->cpu, PAGE(HUGE + 1), 4);
	reclaim_all(s->w);
	if (s->round)
		store(s->cpu, PAGE(HUGE + 1), 5);
}

static void run_huge_soft_dirty(struct snap *s)
{
	clear_soft_dirty(s->mm);
	if (s->round)
		store(s->cpu, PAGE(HUGE + 1), 5);
}

/* The leaf comes only in the run. */
static void prepare_no_leaf(struct snap *s)
{
	map_huge(s);
}

static void run_new_leaf(struct snap *s)
{
	store(s->cpu, PAGE(HUGE + 7 + s->round), 1);
	assert_true(s->round || is_huge(s, HUGE));	/* a split in an earlier run leaves a table */
	if (s->round)
		dontneed(s->mm, HUGE + 16, 8);
}

static bool is_zero_leaf(struct snap *s, unsigned at)
{
	struct leaf leaf;

	return huge_lookup(s->mm, PAGE(at), &leaf) && leaf_is_huge_zero(s->w->memory, entry_load(leaf.entry));
}

/* The huge zero page: the frozen copy has small entries. */
static void prepare_zero_leaf(struct snap *s)
{
	map_huge(s);
	load(s->cpu, PAGE(HUGE));
	assert_true(is_zero_leaf(s, HUGE));
}

static void run_zero_leaf(struct snap *s)
{
	assert_false(is_huge(s, HUGE));
	store(s->cpu, PAGE(HUGE + 7 + s->round), 1);
	if (s->round)
		dontneed(s->mm, HUGE, HUGE);
}

/* The huge zero page comes in the run: where nothing was, and where pages were. */
static void run_new_zero_leaf(struct snap *s)
{
	unmap(s->mm, HUGE, HUGE);
	map_huge(s);
	load(s->cpu, PAGE(HUGE + 3));
	assert_true(is_zero_leaf(s, HUGE));
	if (s->round == 1)
		store(s->cpu, PAGE(HUGE + 5), 5);
	if (s->round == 2)
		dontneed(s->mm, HUGE + 16, 8);
}

static void run_only_load(struct snap *s)
{
	load(s->cpu, PAGE(HUGE + 3));
	assert_true(s->round || is_zero_leaf(s, HUGE));
}

/* A leaf in what were two VMAs. */
static void prepare_halves(struct snap *s)
{
	map_huge(s);
	advise(s, HUGE, 100, VELLUM_MADV_DONTDUMP);
}

static void run_join(struct snap *s)
{
	advise(s, HUGE, 100, VELLUM_MADV_DODUMP);
	store(s->cpu, PAGE(HUGE + 7), 1);
	assert_true(s->round || is_huge(s, HUGE));
}

static void prepare_small(struct snap *s)
{
	map_at(s->mm, HUGE, HUGE, RW, ANON);
	store_range(s, HUGE, 40, 1);
	pageout(s->mm, HUGE + 16, 8);
}

static void run_collapse(struct snap *s)
{
	store_range(s, HUGE, 1, 7);
	assert_int_equal(vellum_madvise(s->mm, PAGE(HUGE), BYTES(HUGE), VELLUM_MADV_COLLAPSE), -EAGAIN);
	store_range(s, HUGE, 40, 7);	/* frozen pages have two mappings */
	advise(s, HUGE, HUGE, VELLUM_MADV_COLLAPSE);
	assert_true(is_huge(s, HUGE));
	if (s->round)
		store_range(s, HUGE + 30, 30, 8);
	if (s->round == 2)
		dontneed(s->mm, HUGE + 16, 24);
}

/* The leaf is new, and one of its pages is pinned: as without a leaf, the page is cleared and stays where it is. */
static void run_pin_leaf(struct snap *s)
{
	uint64_t pfn, done = 0;

	store_range(s, HUGE, 8, 7);
	assert_true(s->round || is_huge(s, HUGE));	/* a split in an earlier run leaves a table */
	OK(vellum_pin_pages(s->mm, PAGE(HUGE + 3), 1, VELLUM_GUP_WRITE, &pfn, &done));
	restore(s);
	assert_int_equal(pte_pfn(entry_at(s->mm, PAGE(HUGE + 3))), pfn);
	assert_int_equal(load(s->cpu, PAGE(HUGE + 3) + 24), 0);
	((uint64_t *)vellum_frame_host(s->w->memory, pfn))[9] = 1;
	restore(s);
	assert_int_equal(load(s->cpu, PAGE(HUGE + 3) + 72), 0);
	vellum_unpin_pages(s->w->memory, &pfn, 1);
}

/* Huge pages of shared memory. A frozen mapping has a tracker, so no new ones are made. */
static void prepare_shared_huge(struct snap *s)
{
	OK(vellum_mapping_create(s->w->memory, NULL, NULL, 2 * HUGE, 0, &s->mappings[0]));
	map_object(s->mm, HUGE, 2 * HUGE, RW, VELLUM_MAP_SHARED, s->mappings[0], 0, RW);
	advise(s, HUGE, 2 * HUGE, VELLUM_MADV_HUGEPAGE);
	store_range(s, HUGE, 8, 1);
	assert_true(is_huge(s, HUGE));
}

static void run_shared_huge(struct snap *s)
{
	store_range(s, HUGE + 4, 8, 7);
	store_range(s, 2 * HUGE, 3, 7);
	assert_int_equal(vellum_madvise(s->mm, PAGE(2 * HUGE), BYTES(HUGE), VELLUM_MADV_COLLAPSE), -EINVAL);
	if (s->round == 2)
		dontneed(s->mm, HUGE, HUGE);
}

/* --- raw frames --- */

#define RAW_PFN (4ull << 18)	/* above RAM, aligned for PUD leaves */

static struct counting raw_counts;

static void prepare_raw(struct snap *s)
{
	raw_counts = (struct counting){ .faults = 0 };
	s->mappings[0] = new_pfn_object(s->w, &raw_counts, 16);
	map_object(s->mm, 0, 8, RW, VELLUM_MAP_SHARED, s->mappings[0], 0, RW);
	map_object(s->mm, 20, 8, RO, VELLUM_MAP_PRIVATE, s->mappings[0], 0, RO);
	map_at(s->mm, 8, 8, RW, ANON);
	load_range(s, 0, 2);
	load_range(s, 20, 2);
	store_range(s, 8, 2, 1);
}

static void run_raw(struct snap *s)
{
	load_range(s, 0, 4);
	load_range(s, 20, 4);
	protect(s->mm, 2, 2, RO);
	store_range(s, 9, 2, 2);
	if (s->round)
		unmap(s->mm, 0, 4);
	if (s->round == 2)
		vellum_unmap_mapping_range(s->mappings[0], 0, 16);
}

static void end_raw(struct snap *s)
{
	load_range(s, 0, 4);
	restore(s);
	assert_int_equal(pte_pfn(entry_at(s->mm, PAGE(1))), raw_counts.first_pfn + 1);
	thaw(s);
	OK(vellum_munmap(s->mm, PAGE(0), BYTES(32)));
	vellum_memory_free_device(s->w->memory, raw_counts.first_pfn, 16);
	freeze(s);
}

/* Frames that were mapped by number, up to a PUD leaf. A fault cannot bring them back, so the frozen copy has them. */
static void prepare_remap(struct snap *s)
{
	struct vellum_map_args args = { .size = sizeof(args), .len = BYTES(2 * HUGE), .prot = RW, .addr = PAGE(HUGE),
					.flags = VELLUM_MAP_SHARED | VELLUM_MAP_FIXED, .file_prot = RW };
	uint64_t addr;

	raw_counts = (struct counting){ .first_pfn = RAW_PFN };
	s->bytes = calloc(2 * HUGE, PAGE_SIZE);
	OK(vellum_memory_add_device(s->w->memory, RAW_PFN, 2 * HUGE, s->bytes));
	OK(vellum_mapping_create(s->w->memory, &counting_pfn_ops, &raw_counts, 2 * HUGE, VELLUM_MAPPING_PFN, &s->mappings[0]));
	args.mapping = s->mappings[0];
	OK(vellum_mmap(s->mm, &args, &addr));
	OK(vellum_remap_pfn_range(s->mm, addr, RAW_PFN, BYTES(2 * HUGE)));
	assert_true(is_huge(s, HUGE));
}

static void run_remap(struct snap *s)
{
	load_range(s, HUGE, 8);
	if (s->round == 0)
		unmap(s->mm, HUGE, 2 * HUGE);
	if (s->round == 1)
		unmap(s->mm, HUGE + 8, 8);
	if (s->round == 2)
		vellum_unmap_mapping_range(s->mappings[0], 0, 2 * HUGE);
	restore(s);
	for (unsigned i = 0; i < 2 * HUGE; i += 100) {
		uint64_t val = i;

		memcpy((char *)s->bytes + BYTES(i), &val, 8);
		assert_int_equal(load(s->cpu, PAGE(HUGE + i)), i);
	}
	free(s->images[0]);
	s->images[0] = take_image(s->mm);	/* the device's bytes changed */
	restore(s);
}

/* The device's frames must be unmapped, and the memory destroyed, before the bytes go. */
static void end_remap(struct snap *s)
{
	thaw(s);
	OK(vellum_munmap(s->mm, PAGE(HUGE), BYTES(2 * HUGE)));
	freeze(s);
}

/* --- pages on a device --- */

static void prepare_gpu(struct snap *s)
{
	s->gpu = gpu_create(s->w, GPU_PAGES);
	prepare_private(s);
	assert_int_equal(to_gpu(s->gpu, s->mm, 4, 4), 4);
	load(s->cpu, PAGE(4) + 32);
	make_exclusive(s->gpu, s->mm, 10);
}

static void run_gpu(struct snap *s)
{
	store_range(s, 0, 3, 7);
	vellum_device_migrate(s->gpu->dev, s->mm, PAGE(0), 4, &s->nr);
	if (s->round == 1)
		store_range(s, 1, 8, 8);
	make_exclusive(s->gpu, s->mm, 9);
	if (s->round == 2)
		dontneed(s->mm, 5, 1);
}

/* Images cannot be taken of pages on the device, so loads compare. */
static void check_gpu(struct snap *s)
{
	struct vellum_snapshot_difference diff = { .size = sizeof(diff) };

	run_gpu(s);
	store(s->cpu, PAGE(5) + 8, 1);		/* the frozen page is on the device still */
	assert_int_equal(vellum_snapshot_verify(s->snapshot, &diff), 1);
	assert_int_equal(diff.what, VELLUM_SNAPSHOT_BYTES);
	restore(s);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(load(s->cpu, PAGE(i) + 8 * i), 100 + i);
	OK(vellum_munmap(s->mm, PAGE(0), BYTES(32)));
	thaw(s);
	freeze(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE("T-snap-14 stores to a huge page", prepare_huge, run_huge_stores),
		SCENE("T-snap-14 loads", prepare_huge, run_huge_loads),
		SCENE("T-snap-14 MADV_DONTNEED", prepare_huge, run_huge_dontneed),
		SCENE("T-snap-14 splits", prepare_huge, run_huge_split),
		SCENE("T-snap-14 advice for a part", prepare_huge, run_huge_advice),
		SCENE_WITH("T-snap-14 a pinned part", prepare_pinned_huge, run_pinned_huge, end_pinned_huge,
			   SCENE_AGAIN | SCENE_NO_VCACHE),
		SCENE("T-snap-14 munmap", prepare_huge, run_huge_unmap),
		SCENE("T-snap-14 mremap", prepare_huge, run_huge_move),
		SCENE("T-snap-14 reclaim", prepare_huge, run_huge_reclaim),
		SCENE("T-snap-14 soft-dirty", prepare_huge, run_huge_soft_dirty),
		SCENE("T-snap-14 a huge page only in the run", prepare_no_leaf, run_new_leaf),
		SCENE_WITH("T-snap-14 the same, with a pinned page", prepare_no_leaf, run_pin_leaf, NULL,
			   SCENE_AGAIN | SCENE_NO_VCACHE),
		SCENE("T-snap-14 the huge zero page", prepare_zero_leaf, run_zero_leaf),
		SCENE("T-snap-14 the huge zero page only in the run", prepare_no_leaf, run_only_load),
		SCENE("T-snap-14 the huge zero page instead of a huge page", prepare_huge, run_new_zero_leaf),
		SCENE("T-snap-14 a huge page across two VMAs", prepare_halves, run_join),
		SCENE("T-snap-14 MADV_COLLAPSE", prepare_small, run_collapse),
		SCENE_WITH("T-snap-14 huge pages of shared memory", prepare_shared_huge, run_shared_huge, NULL, SCENE_AGAIN),
		SCENE_WITH("T-snap-15 raw frames by faults", prepare_raw, run_raw, end_raw, SCENE_AGAIN),
		SCENE_WITH("T-snap-15 raw frames by number", prepare_remap, run_remap, end_remap, SCENE_AGAIN | SCENE_NO_VCACHE),
		SCENE_WITH("T-snap-15 pages on a device", prepare_gpu, run_gpu, check_gpu, SCENE_AGAIN),
	};

	return cmocka_run_group_tests_name("snap_huge", tests, NULL, NULL);
}
