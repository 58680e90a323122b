/* SPDX-License-Identifier: MIT */
/* Pins and lookups of raw frames: tables that are missing at each level, leaves of each size, ranges over borders. */
#include "huge_support.h"

#define ALL_OF_PGD (512 * GIANT)	/* pages behind an entry of the top-level table */

static uint64_t *entry_of_level(struct vellum_mm *mm, uint64_t addr, unsigned shift)
{
	uint64_t *entry = &mm->pgd[table_index(addr, PGD_SHIFT)].val;

	for (unsigned at = PUD_SHIFT; at >= shift; at -= 9)
		entry = table_of(mm->memory, entry_load(entry)) + table_index(addr, at);
	return entry;
}

/* --- the fast path --- */

/* Where a table is missing, or an entry is not present, the fast path takes nothing, and does not fault. */
static void fast_path_finds_no_page(void **state)
{
	struct world *w = *state;
	const unsigned next[] = { 1, HUGE, GIANT, ALL_OF_PGD };

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	OK(try_gup(w, w->mm, PAGE(0), FAST | PIN | WRITE));
	for (unsigned i = 0; i < ARRAY_SIZE(next); i++) {
		map_at(w->mm, next[i], 1, RW, ANON);
		for (unsigned flags = 0; flags < 4; flags++)
			assert_int_equal(try_gup(w, w->mm, PAGE(next[i]), FAST | (flags & 1 ? PIN : 0) |
						 (flags & 2 ? WRITE : 0)), -EAGAIN);
	}
	for (unsigned bits = 1; bits < 8; bits++) {
		set_entry_at(w->mm, PAGE(1), pte_marker(bits));
		assert_int_equal(try_gup(w, w->mm, PAGE(1), FAST), -EAGAIN);
	}
	protect(w->mm, 0, 1, VELLUM_PROT_NONE);
	assert_int_equal(try_gup(w, w->mm, PAGE(0), FAST), -EAGAIN);
}

/* An entry of a higher level that is not present is no leaf and no table, whatever its other bits are. */
static void fast_path_checks_each_level(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	for (unsigned shift = PMD_SHIFT; shift <= PGD_SHIFT; shift += 9) {
		uint64_t *entry = entry_of_level(w->mm, PAGE(0), shift), val = entry_load(entry);

		OK(try_gup(w, w->mm, PAGE(0), FAST));
		entry_store(entry, val & ~X86_PRESENT);
		assert_int_equal(gup_one(w->mm, PAGE(0), FAST, &(uint64_t){ 0 }), -EAGAIN);
		entry_store(entry, val);
	}
	OK(try_gup(w, w->mm, PAGE(0), FAST));
}

/* A leaf of 2 MiB: present, invalid as during a split, without rights, without W, raw. */
static void fast_path_checks_huge_leaves(void **state)
{
	struct world *w = *state;
	uint64_t val, pfn;

	map_at(w->mm, HUGE, HUGE, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(HUGE), BYTES(HUGE), VELLUM_MADV_HUGEPAGE));
	store(w->cpu[0], PAGE(HUGE), 1);
	val = leaf_at(w->mm, PAGE(HUGE), PMD_SHIFT);
	for (unsigned i = 0; i < HUGE; i += 73) {
		OK(gup_one(w->mm, PAGE(HUGE + i), FAST | PIN | WRITE, &pfn));
		assert_int_equal(pfn, leaf_pfn(val, PMD_SHIFT) + i);
		unpin(w, pfn);
	}
	set_leaf_at(w->mm, PAGE(HUGE), val & ~X86_PRESENT);
	assert_int_equal(gup_one(w->mm, PAGE(HUGE), FAST, &pfn), -EAGAIN);
	set_leaf_at(w->mm, PAGE(HUGE), leaf_wrprotect(val));
	assert_int_equal(gup_one(w->mm, PAGE(HUGE), FAST | WRITE, &pfn), -EAGAIN);
	OK(gup_one(w->mm, PAGE(HUGE), FAST, &pfn));
	give_one(w->memory, 0, pfn);
	set_leaf_at(w->mm, PAGE(HUGE), val | X86_SPECIAL);
	assert_int_equal(gup_one(w->mm, PAGE(HUGE), FAST, &pfn), -EAGAIN);
	set_leaf_at(w->mm, PAGE(HUGE), val | X86_DEVMAP);
	assert_int_equal(gup_one(w->mm, PAGE(HUGE), FAST, &pfn), -EAGAIN);
	set_leaf_at(w->mm, PAGE(HUGE), val);
	check_world(w);
}

/* An entry may name a frame that is being freed: no reference can be taken. */
static void fast_path_leaves_free_frames(void **state)
{
	struct world *w = *state;
	pte_t pte;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(1), 1);
	pte = entry_at(w->mm, PAGE(1));
	dontneed(w->mm, 1, 1);
	set_entry_at(w->mm, PAGE(1), pte);
	assert_int_equal(gup_one(w->mm, PAGE(1), FAST, &(uint64_t){ 0 }), -EAGAIN);
	assert_int_equal(gup_one(w->mm, PAGE(1), FAST | PIN | WRITE, &(uint64_t){ 0 }), -EAGAIN);
	set_entry_at(w->mm, PAGE(1), pte_make(0));
}

/* Flags that only the slow path can honour. */
static void slow_flags_have_no_fast_path(void **state)
{
	static const uint32_t slow[] = { FORCE, VELLUM_GUP_ANON, VELLUM_GUP_SPLIT_PMD, VELLUM_GUP_DUMP };
	struct world *w = *state;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	for (unsigned i = 0; i < ARRAY_SIZE(slow); i++) {
		assert_int_equal(try_gup(w, w->mm, PAGE(0), FAST | slow[i]), -EAGAIN);
		OK(try_gup(w, w->mm, PAGE(0), slow[i]));
	}
	OK(try_gup(w, w->mm, PAGE(0), FAST | VELLUM_GUP_NOFAULT | VELLUM_GUP_HWPOISON));
}

/* --- ranges --- */

/* Pages before and after a border of tables of each level; some are present already. The frames come in order. */
static void ranges_over_borders(void **state)
{
	static const unsigned borders[] = { HUGE, GIANT, ALL_OF_PGD - 4 * GIANT };
	struct world *w = *state;
	uint64_t pfn[8], nr;

	for (unsigned i = 0; i < ARRAY_SIZE(borders); i++)
		for (unsigned present = 0; present < 9; present++) {
			unsigned at = borders[i] - 4;

			map_at(w->mm, at, 8, RW, ANON);
			for (unsigned page = 0; page < present; page++)
				store(w->cpu[0], PAGE(at + page), page);
			memset(pfn, 0xff, sizeof(pfn));
			if (present) {
				OK(vellum_pin_pages(w->mm, PAGE(at), 8, WRITE | FAST, pfn, &nr));
				assert_int_equal(nr, present);
				vellum_unpin_pages(w->memory, pfn, nr);
			}
			OK(vellum_pin_pages(w->mm, PAGE(at), 8, WRITE, pfn, &nr));
			assert_int_equal(nr, 8);
			for (unsigned page = 0; page < 8; page++)
				assert_int_equal(pfn[page], pte_pfn(entry_at(w->mm, PAGE(at + page))));
			vellum_unpin_pages(w->memory, pfn, nr);
			check_world(w);
			unmap(w->mm, at, 8);
		}
}

/* A range ends where a VMA refuses, where none is, and at the end of user addresses. */
static void ranges_end_at_the_first_refusal(void **state)
{
	struct world *w = *state;
	const struct vellum_map_args last = { .size = sizeof(last), .addr = VELLUM_TASK_SIZE - 2 * PAGE_SIZE,
					      .len = 2 * PAGE_SIZE, .prot = RW, .flags = ANON | VELLUM_MAP_FIXED };
	uint64_t pfn[16], nr, addr;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 4, 4, RW, SHANON);
	map_at(w->mm, 8, 2, RO, ANON);
	map_at(w->mm, 11, 2, RW, ANON);
	OK(vellum_pin_pages(w->mm, PAGE(2), 14, WRITE, pfn, &nr));
	assert_int_equal(nr, 6);
	vellum_unpin_pages(w->memory, pfn, nr);
	OK(vellum_pin_pages(w->mm, PAGE(2), 14, 0, pfn, &nr));
	assert_int_equal(nr, 8);
	vellum_unpin_pages(w->memory, pfn, nr);
	OK(vellum_get_pages(w->mm, PAGE(3), 13, VELLUM_GUP_ANON, pfn, &nr));
	assert_int_equal(nr, 1);
	vellum_put_pages(w->memory, pfn, nr);
	assert_int_equal(vellum_pin_pages(w->mm, PAGE(10), 2, 0, pfn, &nr), -EFAULT);
	assert_int_equal(nr, 0);
	nr = 7;
	assert_int_equal(vellum_pin_pages(w->mm, VELLUM_TASK_SIZE - PAGE_SIZE, 2, 0, pfn, &nr), -EFAULT);
	assert_int_equal(nr, 0);
	OK(vellum_mmap(w->mm, &last, &addr));
	OK(vellum_pin_pages(w->mm, VELLUM_TASK_SIZE - 2 * PAGE_SIZE, 2, WRITE, pfn, &nr));
	assert_int_equal(nr, 2);
	vellum_unpin_pages(w->memory, pfn, nr);
	assert_int_equal(vellum_pin_pages(w->mm, VELLUM_TASK_SIZE - 2 * PAGE_SIZE, 3, WRITE, pfn, &nr), -EFAULT);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(vellum_pin_pages(w->mm, VELLUM_TASK_SIZE + BYTES(i), 1, FAST, pfn, &nr), -EFAULT);
	assert_int_equal(vellum_pin_pages(w->mm, PAGE(0), 1, WRITE, pfn, NULL), -EINVAL);
	check_world(w);
}

/* The address space remembers pins, but not references. */
static void pins_are_remembered(void **state)
{
	struct world *w = *state;
	uint64_t pfn, nr;

	map_at(w->mm, 0, 1, RW, ANON);
	OK(try_gup(w, w->mm, PAGE(0), WRITE));
	assert_int_equal(vellum_pin_pages(w->mm, PAGE(0) + 1, 1, 0, &pfn, &nr), -EINVAL);
	assert_int_equal(w->mm->has_pinned, 0);
	OK(try_gup(w, w->mm, PAGE(0), PIN));
	assert_int_equal(w->mm->has_pinned, 1);
}

/* --- leaves of raw frames --- */

static void expect_frame(struct vellum_mm *mm, uint64_t addr, uint64_t pfn, bool writable)
{
	struct vellum_follow_pfnmap look = { .size = sizeof(look) };

	OK(vellum_follow_pfnmap_start(mm, addr, &look));
	assert_int_equal(look.pfn, pfn);
	assert_int_equal(look.writable != 0, writable);
	assert_true(look.special);
	assert_ptr_equal(look.mm, mm);
	assert_true(mutex_is_locked(look.lock));
	vellum_follow_pfnmap_end(&look);
}

static void expect_no_frame(struct vellum_mm *mm, uint64_t addr)
{
	struct vellum_follow_pfnmap look = { .size = sizeof(look) };

	assert_int_equal(vellum_follow_pfnmap_start(mm, addr, &look), -EINVAL);
}

/* Small, 2 MiB and 1 GiB. A failed lookup holds no lock: the VMAs can be changed afterwards. */
static void lookups_in_leaves_of_each_size(void **state)
{
	struct scene *s = scene_with(&device_ops, VELLUM_MAPPING_PFN);
	struct vellum_mm *mm = s->w.mm;
	struct vellum_follow_pfnmap look = { .size = sizeof(look) - 1 };

	(void)state;
	map_device(mm, 0, GIANT + HUGE, s->d, 0);
	map_device(mm, 2 * GIANT, 3, s->d, 7);
	expect_no_frame(mm, PAGE(5));
	expect_no_frame(mm, PAGE(2 * GIANT));
	store(s->w.cpu[0], PAGE(0), 1);
	store(s->w.cpu[0], PAGE(GIANT), 1);
	store(s->w.cpu[0], PAGE(2 * GIANT + 1), 1);
	assert_true(leaf_at(mm, PAGE(0), PUD_SHIFT) && leaf_at(mm, PAGE(GIANT), PMD_SHIFT));
	expect_frame(mm, PAGE(0), DEVICE_PFN, true);
	expect_frame(mm, PAGE(HUGE + 3) + 4095, DEVICE_PFN + HUGE + 3, true);
	expect_frame(mm, PAGE(GIANT - 1) + 4095, DEVICE_PFN + GIANT - 1, true);
	expect_frame(mm, PAGE(GIANT), DEVICE_PFN + GIANT, true);
	expect_frame(mm, PAGE(GIANT + HUGE) - 1, DEVICE_PFN + GIANT + HUGE - 1, true);
	expect_frame(mm, PAGE(2 * GIANT + 1), DEVICE_PFN + 8, true);
	protect(mm, 0, GIANT + HUGE, RO);
	expect_frame(mm, PAGE(1), DEVICE_PFN + 1, false);
	expect_frame(mm, PAGE(GIANT + 1), DEVICE_PFN + GIANT + 1, false);
	expect_no_frame(mm, PAGE(2 * GIANT));
	expect_no_frame(mm, PAGE(2 * GIANT + 2));
	expect_no_frame(mm, PAGE(GIANT + HUGE));
	expect_no_frame(mm, PAGE(0) - 1);
	for (uint64_t addr = VELLUM_TASK_SIZE; addr >= VELLUM_TASK_SIZE; addr += 1ull << 45)
		expect_no_frame(mm, addr);
	expect_no_frame(mm, ~0ull);
	assert_int_equal(vellum_follow_pfnmap_start(mm, PAGE(1), &look), -EINVAL);
	unmap(mm, 2 * GIANT, 3);
	expect_no_frame(mm, PAGE(2 * GIANT + 1));
	end_scene(s);
}

/* Frames that store a file are pages of the file: lookups of raw frames refuse them. */
static void lookups_refuse_devmap_frames(void **state)
{
	struct scene *s = scene_with(&device_ops, VELLUM_MAPPING_PFN | VELLUM_MAPPING_DEVMAP);

	(void)state;
	map_device(s->w.mm, 0, GIANT + HUGE, s->d, 0);
	store(s->w.cpu[0], PAGE(0), 1);
	store(s->w.cpu[0], PAGE(GIANT), 1);
	expect_no_frame(s->w.mm, PAGE(9));
	expect_no_frame(s->w.mm, PAGE(GIANT + 9));
	assert_int_equal(try_gup(&s->w, s->w.mm, PAGE(9), PIN), -EEXIST);
	assert_int_equal(vellum_page_maybe_pinned(s->w.memory, DEVICE_PFN), 0);
	assert_int_equal(vellum_page_maybe_pinned(s->w.memory, 1ull << 40), 0);
	end_scene(s);
}

/* Raw leaves of a mixed mapping cannot be pinned, and SPLIT_PMD does not split them. */
static void raw_leaves_are_not_pinned(void **state)
{
	static const uint32_t flags[] = { 0, PIN, WRITE, WRITE | PIN, VELLUM_GUP_SPLIT_PMD, WRITE | VELLUM_GUP_SPLIT_PMD };
	struct vellum_backing_ops ops = device_ops;
	struct scene *s;

	(void)state;
	ops.pfn_fault = device_fault;
	s = scene_with(&ops, VELLUM_MAPPING_MIXED);
	map_device(s->w.mm, 0, GIANT + HUGE, s->d, 0);
	store(s->w.cpu[0], PAGE(0), 1);
	store(s->w.cpu[0], PAGE(GIANT), 1);
	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		assert_int_equal(try_gup(&s->w, s->w.mm, PAGE(9), flags[i]), -EEXIST);
		assert_int_equal(try_gup(&s->w, s->w.mm, PAGE(GIANT + 9), flags[i]), -EEXIST);
		assert_int_equal(try_gup(&s->w, s->w.mm, PAGE(9), flags[i] | FAST), -EAGAIN);
	}
	assert_true(leaf_at(s->w.mm, PAGE(0), PUD_SHIFT) && leaf_at(s->w.mm, PAGE(GIANT), PMD_SHIFT));
	end_scene(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(fast_path_finds_no_page),
		WORLD_TEST(fast_path_checks_each_level),
		WORLD_TEST(fast_path_checks_huge_leaves),
		WORLD_TEST(fast_path_leaves_free_frames),
		WORLD_TEST(slow_flags_have_no_fast_path),
		WORLD_TEST(ranges_over_borders),
		WORLD_TEST(ranges_end_at_the_first_refusal),
		WORLD_TEST(pins_are_remembered),
		cmocka_unit_test(lookups_in_leaves_of_each_size),
		cmocka_unit_test(lookups_refuse_devmap_frames),
		cmocka_unit_test(raw_leaves_are_not_pinned),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
