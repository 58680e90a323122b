/* SPDX-License-Identifier: MIT */
/* Huge leaves and their drivers, trackers, pins and lookups of frames. */
#define _GNU_SOURCE
#include "huge_support.h"
#include "vellum/pagemap.h"

/* --- a driver with write notify --- */

static void hook_may_make_a_whole_leaf_writable(void **state)
{
	struct scene *s = scene_with(&notified_device_ops, VELLUM_MAPPING_PFN);
	struct world *w = &s->w;
	unsigned asked;

	(void)state;
	s->d->max_order = s->d->write_order = 9;
	map_device(w->mm, 0, HUGE, s->d, 0);
	load(w->cpu[0], PAGE(3));
	assert_int_equal(leaf_at(w->mm, PAGE(0), PMD_SHIFT) & (X86_PSE | X86_RW | X86_DIRTY), X86_PSE);
	asked = s->d->huge_faults;
	store(w->cpu[0], PAGE(3), 1);
	check_world(w);
	assert_int_equal(s->d->huge_faults, asked + 1);
	assert_int_equal(s->d->mkwrites, 0);
	assert_int_equal(leaf_at(w->mm, PAGE(0), PMD_SHIFT) & (X86_PSE | X86_RW | X86_DIRTY),
			 X86_PSE | X86_RW | X86_DIRTY);
	store(w->cpu[0], PAGE(4), 1);
	assert_int_equal(s->d->huge_faults, asked + 1);
	/* Made read-only and writable again, the leaf stays dirty and needs no notification. */
	protect(w->mm, 0, HUGE, RO);
	protect(w->mm, 0, HUGE, RW);
	store(w->cpu[0], PAGE(4), 1);
	check_world(w);
	unmap(w->mm, 0, HUGE);
	assert_int_equal(s->d->nr_dirt, HUGE);
	end_scene(s);
}

static void hook_may_make_one_page_writable(void **state)
{
	struct scene *s = scene_with(&notified_device_ops, VELLUM_MAPPING_PFN);
	struct world *w = &s->w;

	(void)state;
	s->d->max_order = 9;
	s->d->write_order = 0;
	map_device(w->mm, 0, HUGE, s->d, 0);
	load(w->cpu[0], PAGE(3));
	assert_true(leaf_at(w->mm, PAGE(0), PMD_SHIFT));
	store(w->cpu[0], PAGE(3), 1);
	check_world(w);
	assert_int_equal(s->d->mkwrites, 1);
	assert_int_equal(leaf_at(w->mm, PAGE(0), PMD_SHIFT), 0);
	for (unsigned i = 0; i < HUGE; i++) {
		pte_t pte = entry_at(w->mm, PAGE(i));

		assert_int_equal(pte_pfn(pte), DEVICE_PFN + i);
		assert_int_equal(pte_write(pte), i == 3);
		assert_int_equal(pte_dirty(pte), i == 3);
	}
	unmap(w->mm, 0, HUGE);
	assert_int_equal(s->d->nr_dirt, 1);
	assert_true(dirt_of(s->d, 3));
	end_scene(s);
}

/* A leaf of 1 GiB is split, and one of its parts of 2 MiB becomes writable. */
static void hook_may_make_a_part_of_a_pud_leaf_writable(void **state)
{
	struct scene *s = scene_with(&notified_device_ops, VELLUM_MAPPING_PFN);
	struct world *w = &s->w;

	(void)state;
	s->d->write_order = 9;
	map_device(w->mm, 0, GIANT, s->d, 0);
	load(w->cpu[0], PAGE(3));
	assert_true(leaf_at(w->mm, PAGE(0), PUD_SHIFT));
	store(w->cpu[0], PAGE(3), 1);
	check_world(w);
	assert_true(leaf_at(w->mm, PAGE(0), PMD_SHIFT) & X86_RW);
	assert_int_equal(leaf_at(w->mm, PAGE(HUGE), PMD_SHIFT) & (X86_RW | X86_PSE), X86_PSE);
	unmap(w->mm, 0, GIANT);
	assert_int_equal(s->d->nr_dirt, HUGE);
	end_scene(s);
}

static int failing_huge_fault(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	return vmf->order == 9 ? VELLUM_VMF_SIGBUS : VELLUM_VMF_FALLBACK;
}

static int crooked_huge_fault(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	vmf->pfn = DEVICE_PFN + 1;
	return VELLUM_VMF_OK;
}

static void wrong_answers_of_huge_fault(void **state)
{
	struct vellum_backing_ops ops = device_ops;
	struct scene *s;

	(void)state;
	ops.huge_fault = failing_huge_fault;
	s = scene_with(&ops, VELLUM_MAPPING_PFN);
	map_device(s->w.mm, 0, HUGE, s->d, 0);
	assert_int_equal(try_load(s->w.cpu[0], PAGE(0)), VELLUM_FAULT_SIGBUS);
	end_scene(s);
	ops.huge_fault = crooked_huge_fault;
	s = scene_with(&ops, VELLUM_MAPPING_PFN);
	map_device(s->w.mm, 0, HUGE, s->d, 0);
	store(s->w.cpu[0], PAGE(5), 1);		/* the hook's frame is not aligned: falls back to small pages */
	assert_int_equal(leaf_at(s->w.mm, PAGE(0), PMD_SHIFT), 0);
	assert_int_equal(pte_pfn(entry_at(s->w.mm, PAGE(5))), DEVICE_PFN + 5);
	end_scene(s);
}

/* --- mixed mappings: frames that stand for pages of a file --- */

static void devmap_leaves(void **state)
{
	struct vellum_backing_ops ops = device_ops;
	struct vellum_mm *child;
	struct scene *s;
	struct world *w;
	uint64_t val;

	(void)state;
	ops.pfn_fault = device_fault;
	s = scene_with(&ops, VELLUM_MAPPING_MIXED | VELLUM_MAPPING_DEVMAP);
	w = &s->w;
	s->d->max_order = 9;
	map_device(w->mm, 0, HUGE, s->d, 0);
	store(w->cpu[0], PAGE(1), 5);
	val = leaf_at(w->mm, PAGE(0), PMD_SHIFT);
	assert_true(val & X86_DEVMAP && !(val & X86_SPECIAL) && val & X86_DIRTY);
	assert_int_equal(try_gup(w, w->mm, PAGE(1), PIN | LONGTERM), -EOPNOTSUPP);
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	assert_int_equal(leaf_at(w->mm, PAGE(0), PMD_SHIFT), val);
	assert_false(pte_present(page_entry(child, PAGE(1))));
	assert_int_equal(load(w->cpu[1], PAGE(1)), 5);
	end_child(child, w->cpu[1]);
	protect(w->mm, 9, 1, RO);
	check_world(w);
	for (unsigned i = 0; i < HUGE; i++) {
		pte_t pte = entry_at(w->mm, PAGE(i));

		assert_true(pte_devmap(pte) && pte_special(pte) && pte_dirty(pte));
		assert_int_equal(pte_write(pte), i != 9);
	}
	unmap(w->mm, 0, HUGE);
	assert_int_equal(s->d->nr_dirt, HUGE);
	end_scene(s);
}

/* --- trackers --- */

static int mark(void *arg, uint64_t first, uint64_t nr)
{
	uint8_t *seen = arg;

	for (uint64_t i = first; i < first + nr; i++)
		seen[i] = 1;
	return 0;
}

/* A tracker splits the leaves of its range. */
static void tracker_of_mapping(enum vellum_track_method method)
{
	struct scene *s = scene_with(&device_ops, VELLUM_MAPPING_PFN);
	uint8_t seen[HUGE] = { 0 };
	struct world *w = &s->w;
	struct vellum_tracker *t;

	s->d->max_order = 9;
	map_device(w->mm, 0, HUGE, s->d, 0);
	store(w->cpu[0], PAGE(1), 5);
	OK(vellum_track_mapping(s->d->mapping, 0, HUGE, method, &t));
	check_world(w);
	store(w->cpu[0], PAGE(1), 6);
	store(w->cpu[0], PAGE(400), 6);
	OK(vellum_tracker_collect(t, 0, ~0ull, mark, seen));
	for (unsigned i = 0; i < HUGE; i++)
		assert_int_equal(seen[i], i == 1 || i == 400);
	memset(seen, 0, sizeof(seen));
	store(w->cpu[0], PAGE(400), 7);
	OK(vellum_tracker_collect(t, 0, ~0ull, mark, seen));
	for (unsigned i = 0; i < HUGE; i++)
		assert_int_equal(seen[i], i == 400);
	/* While the tracker exists, only small entries are installed. */
	unmap(w->mm, 0, HUGE);
	map_device(w->mm, 0, HUGE, s->d, 0);
	store(w->cpu[0], PAGE(2), 1);
	assert_int_equal(leaf_at(w->mm, PAGE(0), PMD_SHIFT), 0);
	OK(vellum_remap_pfn_range(w->mm, PAGE(8), DEVICE_PFN + 8, BYTES(8)));
	check_world(w);
	vellum_tracker_destroy(t);
	end_scene(s);
}

static void trackers_of_a_mapping_split_leaves(void **state)
{
	(void)state;
	tracker_of_mapping(VELLUM_TRACK_CLEAN);
	tracker_of_mapping(VELLUM_TRACK_WP);
	tracker_of_mapping(VELLUM_TRACK_AUTO);
}

/* The tracker does not report stores from before it existed. So dirt() must be called for them, or D must stay. */
static void arming_keeps_dirt(enum vellum_track_method method, uint32_t order)
{
	struct scene *s = scene_with(&device_ops, VELLUM_MAPPING_PFN);
	struct world *w = &s->w;
	struct vellum_tracker *t;

	s->d->max_order = order;
	map_device(w->mm, 0, HUGE, s->d, 0);
	store(w->cpu[0], PAGE(1), 5);
	assert_true(pte_dirty(page_entry(w->mm, PAGE(1))));
	OK(vellum_track_mapping(s->d->mapping, 0, HUGE, method, &t));
	check_world(w);
	assert_true(dirt_of(s->d, 1) || pte_dirty(page_entry(w->mm, PAGE(1))));
	vellum_tracker_destroy(t);
	end_scene(s);
}

static void wp_tracker_keeps_dirt(void **state)
{
	(void)state;
	arming_keeps_dirt(VELLUM_TRACK_WP, 0);
	arming_keeps_dirt(VELLUM_TRACK_WP, 9);
}

static void clean_tracker_keeps_dirt(void **state)
{
	(void)state;
	arming_keeps_dirt(VELLUM_TRACK_CLEAN, 0);
}

static void clean_tracker_keeps_dirt_of_leaves(void **state)
{
	(void)state;
	arming_keeps_dirt(VELLUM_TRACK_CLEAN, 9);
}

/* --- lookups of frames --- */

static void pins_of_raw_leaves_fail_and_follow_pfnmap_works(void **state)
{
	struct scene *s = scene_with(&device_ops, VELLUM_MAPPING_PFN);
	struct vellum_follow_pfnmap look;
	struct world *w = &s->w;

	(void)state;
	map_device(w->mm, 0, GIANT, s->d, 0);
	store(w->cpu[0], PAGE(0), 1);
	assert_true(leaf_at(w->mm, PAGE(0), PUD_SHIFT));
	assert_int_equal(try_gup(w, w->mm, PAGE(77), WRITE), -EFAULT);
	assert_int_equal(try_gup(w, w->mm, PAGE(77), WRITE | FAST), -EAGAIN);
	OK(vellum_follow_pfnmap_start(w->mm, PAGE(77777) + 9, &look));
	assert_int_equal(look.pfn, DEVICE_PFN + 77777);
	assert_true(look.writable && look.special);
	vellum_follow_pfnmap_end(&look);
	unmap(w->mm, 0, 1);
	protect(w->mm, HUGE, HUGE, RO);
	OK(vellum_follow_pfnmap_start(w->mm, PAGE(HUGE + 7), &look));
	assert_int_equal(look.pfn, DEVICE_PFN + HUGE + 7);
	assert_false(look.writable);
	vellum_follow_pfnmap_end(&look);
	assert_int_equal(vellum_follow_pfnmap_start(w->mm, PAGE(0), &look), -EINVAL);
	end_scene(s);
}

/* The last entry that the walk reported, and how many. */
static int count_leaf(void *arg, const struct vellum_entry *entry)
{
	struct vellum_entry *last = arg;

	last->count++;
	last->len = entry->len;
	last->pfn = entry->pfn;
	last->kind = entry->kind;
	last->flags = entry->flags;
	return 0;
}

static void clear_refs_leaves_raw_leaves_alone(void **state)
{
	struct scene *s = scene_with(&device_ops, VELLUM_MAPPING_PFN);
	struct vellum_entry last = { .count = 0 };
	struct world *w = &s->w;
	uint64_t word, val;

	(void)state;
	map_device(w->mm, 0, GIANT, s->d, 0);
	store(w->cpu[0], PAGE(0), 1);
	val = leaf_at(w->mm, PAGE(0), PUD_SHIFT);
	OK(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
	assert_int_equal(leaf_at(w->mm, PAGE(0), PUD_SHIFT), val);
	check_world(w);
	OK(vellum_walk_entries(w->mm, PAGE(0), PAGE(GIANT), count_leaf, &last));
	assert_int_equal(last.count, 1);
	assert_int_equal(last.len, PUD_SIZE);
	assert_int_equal(last.pfn, DEVICE_PFN);
	assert_int_equal(last.kind, VELLUM_ENTRY_RAW);
	assert_true(last.flags & VELLUM_ENTRY_WRITABLE && last.flags & VELLUM_ENTRY_DIRTY);
	OK(vellum_pagemap_read(w->mm, PAGE(1234), 1, VELLUM_PAGEMAP_PFNS, &word));
	assert_int_equal(word & ((1ull << 55) - 1), DEVICE_PFN + 1234);
	assert_true(word & VELLUM_PM_PRESENT);
	end_scene(s);
}

/*
 * Without memory for the table that a split will need, the fault installs small entries or fails. It never
 * splits halfway.
 */
static void without_memory_no_leaf_is_split_halfway(void **state)
{
	struct scene *s = scene_with(&device_ops, VELLUM_MAPPING_PFN);
	struct world *w = &s->w;
	uint64_t *hoard = calloc(w->memory->nr_frames, 8), n = 0;

	(void)state;
	map_device(w->mm, 0, GIANT, s->d, 0);
	while (!vellum_memory_alloc_device(w->memory, 1, &hoard[n]))
		n++;
	for (unsigned i = 0; i < 40; i++) {
		enum vellum_fault_result result = try_store(w->cpu[0], PAGE(1), 1);

		assert_true(result == VELLUM_FAULT_OK || result == VELLUM_FAULT_OOM);
		check_world(w);
		vellum_memory_free_device(w->memory, hoard[--n], 1);
	}
	while (n)
		vellum_memory_free_device(w->memory, hoard[--n], 1);
	store(w->cpu[0], PAGE(1), 1);
	free(hoard);
	end_scene(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hook_may_make_a_whole_leaf_writable),
		cmocka_unit_test(hook_may_make_one_page_writable),
		cmocka_unit_test(hook_may_make_a_part_of_a_pud_leaf_writable),
		cmocka_unit_test(wrong_answers_of_huge_fault),
		cmocka_unit_test(devmap_leaves),
		cmocka_unit_test(trackers_of_a_mapping_split_leaves),
		cmocka_unit_test(wp_tracker_keeps_dirt),
		cmocka_unit_test(clean_tracker_keeps_dirt),
		cmocka_unit_test(clean_tracker_keeps_dirt_of_leaves),
		cmocka_unit_test(pins_of_raw_leaves_fail_and_follow_pfnmap_works),
		cmocka_unit_test(clear_refs_leaves_raw_leaves_alone),
		cmocka_unit_test(without_memory_no_leaf_is_split_halfway),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
