/* SPDX-License-Identifier: MIT */
/* The huge zero page: loads map it, stores replace it, and it goes with the last address space that mapped it. */
#define _GNU_SOURCE
#include "huge_support.h"
#include "more_support.h"
#include "vellum/pagemap.h"
#include "vellum/uffd.h"

static int big_setup(void **state)
{
	*state = malloc(sizeof(struct world));
	world_create(*state, 16 << 20);
	return 0;
}

#define BIG_TEST(fn) cmocka_unit_test_setup_teardown(fn, big_setup, world_teardown)

static uint64_t pmd_at(struct vellum_mm *mm, unsigned page)
{
	return leaf_at(mm, PAGE(page), PMD_SHIFT);
}

static bool is_zero_leaf(struct world *w, struct vellum_mm *mm, unsigned page)
{
	uint64_t val = pmd_at(mm, page);

	return val && leaf_is_huge_zero(w->memory, val);
}

static void map_huge(struct world *w, unsigned at, unsigned pages)
{
	map_at(w->mm, at, pages, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(at), BYTES(pages), VELLUM_MADV_HUGEPAGE));
}

/* 2 MiB at PAGE(0) that were only read. */
static void make_zero(struct world *w)
{
	map_huge(w, 0, HUGE);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 0);
	assert_true(is_zero_leaf(w, w->mm, 0));
}

/* All pages of [first, end) are the small zero page. */
static void expect_small_zeros(struct world *w, struct vellum_mm *mm, unsigned first, unsigned end)
{
	for (unsigned i = first; i < end; i++) {
		pte_t pte = entry_at(mm, PAGE(i));

		assert_true(pte_present(pte) && pte_special(pte) && !pte_write(pte));
		assert_int_equal(pte_pfn(pte), w->memory->zero_pfn);
	}
}

/* --- faults --- */

static void loads_share_one_page(void **state)
{
	struct world *w = *state;
	uint64_t before = free_frames(w), val;

	map_huge(w, 0, 4 * HUGE);
	for (unsigned i = 0; i < 4 * HUGE; i += 100)
		assert_int_equal(load(w->cpu[0], PAGE(i) + 8), 0);
	check_world(w);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(leaf_pfn(pmd_at(w->mm, i * HUGE), PMD_SHIFT), leaf_pfn(pmd_at(w->mm, 0), PMD_SHIFT));
	val = pmd_at(w->mm, 0);
	assert_int_equal(val & (X86_PRESENT | X86_PSE | X86_RW | X86_DIRTY | X86_SPECIAL), X86_PRESENT | X86_PSE | X86_SPECIAL);
	/* The page, and the tables: one on each level, a deposit for each leaf. */
	assert_true(before - free_frames(w) <= HUGE + 2 + 4);
	assert_int_equal(vellum_mm_counter(w->mm, VELLUM_COUNT_FAULT_READ_ZERO), 4);
}

/* A table that exists, even an empty one, keeps the zero page small. So do other advice and a part of 2 MiB. */
static void small_where_no_leaf_fits(void **state)
{
	struct world *w = *state;

	map_huge(w, 0, HUGE + 100);
	store(w->cpu[0], PAGE(HUGE), 1);
	load(w->cpu[0], PAGE(HUGE + 1));
	assert_false(pmd_at(w->mm, HUGE));
	map_at(w->mm, 4 * HUGE, HUGE, RW, ANON);
	load(w->cpu[0], PAGE(4 * HUGE));
	assert_false(pmd_at(w->mm, 4 * HUGE));
	OK(vellum_madvise(w->mm, PAGE(4 * HUGE), BYTES(HUGE), VELLUM_MADV_HUGEPAGE));
	load(w->cpu[0], PAGE(4 * HUGE) + PAGE_SIZE);
	assert_false(pmd_at(w->mm, 4 * HUGE));
	expect_small_zeros(w, w->mm, 4 * HUGE, 4 * HUGE + 2);
	check_world(w);
}

static void store_brings_a_huge_page(void **state)
{
	struct world *w = *state;
	uint64_t rss, val;

	make_zero(w);
	rss = vellum_mm_rss(w->mm);
	store(w->cpu[0], PAGE(9), 9);
	check_world(w);
	val = pmd_at(w->mm, 0);
	assert_int_equal(val & (X86_PSE | X86_RW | X86_DIRTY | X86_SPECIAL), X86_PSE | X86_RW | X86_DIRTY);
	assert_int_equal(vellum_mm_rss(w->mm), rss);
	for (unsigned i = 0; i < HUGE; i++) {
		assert_true(is_own_page(w, leaf_pfn(val, PMD_SHIFT) + i));
		assert_int_equal(load(w->cpu[0], PAGE(i)), i == 9 ? 9 : 0);
	}
}

/* The second CPU has the old translation. After the first CPU's store it must load the new page. */
static void store_flushes_other_cpus(void **state)
{
	struct world *w = *state;

	make_zero(w);
	vellum_soft_load_mm(w->cpu[1], w->mm);
	assert_int_equal(load(w->cpu[1], PAGE(9)), 0);
	store(w->cpu[0], PAGE(9), 5);
	assert_int_equal(load(w->cpu[1], PAGE(9)), 5);
	vellum_soft_load_mm(w->cpu[1], NULL);
}

/* There is no second block of 2 MiB. */
static void store_without_memory_splits(void **state)
{
	struct world *w = *state;
	uint64_t pfn[8];
	unsigned nr = 0;

	make_zero(w);
	while (nr < 8 && !vellum_memory_alloc_device(w->memory, HUGE, &pfn[nr]))
		nr++;
	store(w->cpu[0], PAGE(9), 9);
	check_world(w);
	assert_false(pmd_at(w->mm, 0));
	expect_small_zeros(w, w->mm, 0, 9);
	expect_small_zeros(w, w->mm, 10, HUGE);
	assert_int_equal(load(w->cpu[0], PAGE(9)), 9);
	/* The first load cannot have the huge zero page either. */
	OK(vellum_munmap(w->mm, PAGE(0), BYTES(HUGE)));
	while (nr)
		vellum_memory_free_device(w->memory, pfn[--nr], HUGE);
}

static void load_without_memory_maps_small(void **state)
{
	struct world *w = *state;
	uint64_t pfn[8];
	unsigned nr = 0;

	map_huge(w, 0, HUGE);
	while (nr < 8 && !vellum_memory_alloc_device(w->memory, HUGE, &pfn[nr]))
		nr++;
	assert_int_equal(load(w->cpu[0], PAGE(3)), 0);
	expect_small_zeros(w, w->mm, 3, 4);
	check_world(w);
	while (nr)
		vellum_memory_free_device(w->memory, pfn[--nr], HUGE);
}

static void store_without_advice_splits(void **state)
{
	struct world *w = *state;

	make_zero(w);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(HUGE), VELLUM_MADV_NOHUGEPAGE));
	assert_true(is_zero_leaf(w, w->mm, 0));
	store(w->cpu[0], PAGE(9), 9);
	check_world(w);
	assert_false(pmd_at(w->mm, 0));
	expect_small_zeros(w, w->mm, 0, 9);
}

/* --- how long it lives --- */

static void goes_with_its_last_address_space(void **state)
{
	struct world *w = *state;
	uint64_t before;
	struct vellum_mm *child;
	pfn_t pfn;

	/* Another address space has it alone, and ends. */
	map_huge(w, 0, 2 * HUGE);
	before = free_frames(w);
	child = fork_on(w->mm, w->cpu[1]);
	load(w->cpu[1], PAGE(0));
	assert_true(is_zero_leaf(w, child, 0));
	end_child(child, w->cpu[1]);
	assert_int_equal(w->memory->huge_zero_pfn, 0);
	assert_int_equal(free_frames(w), before);
	/* The parent keeps it for its child, and the child when the parent has unmapped it. Entries are copied. */
	store(w->cpu[0], PAGE(HUGE), 1);
	load(w->cpu[0], PAGE(0));
	pfn = w->memory->huge_zero_pfn;
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	assert_int_equal(leaf_pfn(pmd_at(child, 0), PMD_SHIFT), pfn);
	assert_int_equal(w->memory->huge_zero_users, 2);
	unmap(w->mm, 0, 2 * HUGE);
	assert_int_equal(load(w->cpu[1], PAGE(5)), 0);
	end_child(child, w->cpu[1]);
	check_world(w);
	assert_int_equal(w->memory->huge_zero_pfn, pfn);
	assert_int_equal(w->memory->huge_zero_users, 1);
	vellum_reclaim(w->memory, 1 << 20);
	assert_int_equal(w->memory->huge_zero_pfn, pfn);
}

static void child_stores_apart(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;

	map_huge(w, 0, 2 * HUGE);
	store(w->cpu[0], PAGE(HUGE), 1);	/* a child gets entries of memory that was stored to */
	load(w->cpu[0], PAGE(3));
	child = fork_on(w->mm, w->cpu[1]);
	assert_true(is_zero_leaf(w, child, 0));
	store(w->cpu[1], PAGE(4), 4);
	check_world(w);
	assert_true(is_zero_leaf(w, w->mm, 0) && !is_zero_leaf(w, child, 0) && pmd_at(child, 0));
	assert_int_equal(load(w->cpu[0], PAGE(4)), 0);
	store(w->cpu[0], PAGE(4), 5);
	assert_int_equal(load(w->cpu[1], PAGE(4)), 4);
	end_child(child, w->cpu[1]);
}

/* --- pins and accesses from outside --- */

static void pins(void **state)
{
	struct world *w = *state;
	uint64_t pfn[4], nr;

	make_zero(w);
	OK(vellum_pin_pages(w->mm, PAGE(6), 4, 0, pfn, &nr));
	assert_int_equal(nr, 4);
	vellum_unpin_pages(w->memory, pfn, nr);
	check_world(w);
	/* A reference for reading: the zero page, which needs none. The leaf stays. */
	unmap(w->mm, 0, HUGE);
	make_zero(w);
	OK(vellum_get_pages(w->mm, PAGE(6), 1, 0, pfn, &nr));
	assert_int_equal(pfn[0], w->memory->zero_pfn);
	vellum_put_pages(w->memory, pfn, nr);
	assert_true(is_zero_leaf(w, w->mm, 0));
	/* For writing: a page of the address space's own. */
	OK(vellum_pin_pages(w->mm, PAGE(6), 1, VELLUM_GUP_WRITE, pfn, &nr));
	assert_true(pfn[0] != w->memory->zero_pfn && !is_zero_leaf(w, w->mm, 0));
	frame_words(w, pfn[0])[0] = 6;
	assert_int_equal(load(w->cpu[0], PAGE(6)), 6);
	vellum_unpin_pages_dirty(w->memory, pfn, 1);
	check_world(w);
}

/* A forced store to read-only memory makes a page of its own, and lets the program store nowhere. */
static void expect_forced_store(struct world *w)
{
	uint64_t pfn, nr;

	OK(vellum_pin_pages(w->mm, PAGE(3), 1, VELLUM_GUP_WRITE | VELLUM_GUP_FORCE, &pfn, &nr));
	frame_words(w, pfn)[1] = 33;
	vellum_unpin_pages_dirty(w->memory, &pfn, 1);
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(3) + 8), 33);
	assert_int_equal(try_store(w->cpu[0], PAGE(3), 7), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(try_store(w->cpu[0], PAGE(7), 7), VELLUM_FAULT_SIGSEGV_ACCERR);
}

static void forced_store_to_zeros(void **state)
{
	struct world *w = *state;

	make_zero(w);
	OK(vellum_mprotect(w->mm, PAGE(0), BYTES(HUGE), RO));
	assert_true(is_zero_leaf(w, w->mm, 0));
	OK(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
	expect_forced_store(w);
}

static void forced_store_to_empty_memory(void **state)
{
	struct world *w = *state;

	map_huge(w, 0, HUGE);
	OK(vellum_mprotect(w->mm, PAGE(0), BYTES(HUGE), RO));
	OK(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
	expect_forced_store(w);
}

/* Without soft-dirty, the page that it makes is huge, as in Linux. */
static void forced_store_makes_a_huge_page(void **state)
{
	struct world *w = *state;

	map_huge(w, 0, HUGE);
	OK(vellum_mprotect(w->mm, PAGE(0), BYTES(HUGE), RO));
	expect_forced_store(w);
	assert_true(pmd_at(w->mm, 0) && !is_zero_leaf(w, w->mm, 0));
	assert_false(pmd_at(w->mm, 0) & X86_RW);
}

/* The huge page is the process's alone again, but a forced store must not make all of it writable. */
static void forced_store_after_a_fork(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;

	map_huge(w, 0, HUGE);
	store(w->cpu[0], PAGE(3), 1);
	OK(vellum_mprotect(w->mm, PAGE(0), BYTES(HUGE), RO));
	child = fork_on(w->mm, w->cpu[1]);
	end_child(child, w->cpu[1]);
	expect_forced_store(w);
}

/* --- what changes the entry --- */

/* Its frames would be executed, and are freed some day. The small zero page is not. */
static void executable_parts_are_small(void **state)
{
	struct world *w = *state;

	make_zero(w);
	OK(vellum_mprotect(w->mm, PAGE(0), BYTES(HUGE), VELLUM_PROT_READ | VELLUM_PROT_EXEC));
	check_world(w);
	assert_false(pmd_at(w->mm, 0));
	expect_small_zeros(w, w->mm, 0, HUGE);
}

/* Without a huge zero page, frame 0 is not one: a driver may map the embedder's reserved RAM. */
static void frame_0_is_a_drivers(void **state)
{
	struct world *w = *state;

	assert_int_equal(w->memory->huge_zero_pfn, 0);
	assert_false(leaf_is_huge_zero(w->memory, pmd_mk(0, X86_PRESENT).val | X86_SPECIAL));
	make_zero(w);
	assert_false(leaf_is_huge_zero(w->memory, pmd_mk(0, X86_PRESENT).val | X86_SPECIAL));
}

static void parts_split(void **state)
{
	struct world *w = *state;

	make_zero(w);
	dontneed(w->mm, 10, 1);
	check_world(w);
	expect_small_zeros(w, w->mm, 0, 10);
	expect_small_zeros(w, w->mm, 11, HUGE);
	assert_true(pte_none(entry_at(w->mm, PAGE(10))));
	unmap(w->mm, 0, HUGE);
	make_zero(w);
	OK(vellum_mprotect(w->mm, PAGE(4), BYTES(4), RO));
	check_world(w);
	expect_small_zeros(w, w->mm, 0, HUGE);
	assert_int_equal(try_store(w->cpu[0], PAGE(4), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	store(w->cpu[0], PAGE(3), 1);
}

static void whole_is_kept(void **state)
{
	struct world *w = *state;
	uint64_t to = PAGE(4 * HUGE);

	make_zero(w);
	OK(vellum_mprotect(w->mm, PAGE(0), BYTES(HUGE), RO));
	assert_true(is_zero_leaf(w, w->mm, 0));
	OK(vellum_mprotect(w->mm, PAGE(0), BYTES(HUGE), RW));
	assert_false(pmd_at(w->mm, 0) & X86_RW);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(HUGE), VELLUM_MADV_FREE));
	OK(vellum_madvise(w->mm, PAGE(5), BYTES(5), VELLUM_MADV_FREE));
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(HUGE), VELLUM_MADV_PAGEOUT));
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(HUGE), VELLUM_MADV_COLLAPSE));
	OK(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
	check_world(w);
	assert_true(is_zero_leaf(w, w->mm, 0));
	OK(vellum_mremap(w->mm, PAGE(0), BYTES(HUGE), BYTES(HUGE), VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &to));
	assert_true(is_zero_leaf(w, w->mm, 4 * HUGE));
	check_world(w);
	store(w->cpu[0], PAGE(4 * HUGE + 8), 8);
	assert_int_equal(load(w->cpu[0], PAGE(4 * HUGE + 8)), 8);
	dontneed(w->mm, 4 * HUGE, HUGE);
	check_world(w);
	assert_false(pmd_at(w->mm, 4 * HUGE));
}

static void what_is_seen(void **state)
{
	struct world *w = *state;
	struct vellum_page_region region[4];
	struct vellum_scan_args args = { .size = sizeof(args), .start = PAGE(0), .end = PAGE(HUGE), .vec = region,
					 .vec_len = 4, .category_mask = VELLUM_PAGE_IS_PRESENT,
					 .return_mask = VELLUM_PAGE_IS_PRESENT | VELLUM_PAGE_IS_PFNZERO | VELLUM_PAGE_IS_HUGE |
							VELLUM_PAGE_IS_FILE | VELLUM_PAGE_IS_SWAPPED };
	uint64_t word[2], nr;
	uint8_t vec[HUGE];

	make_zero(w);
	OK(vellum_pagemap_read(w->mm, PAGE(7), 2, VELLUM_PAGEMAP_PFNS, word));
	assert_true(word[0] & VELLUM_PM_PRESENT && !(word[0] & VELLUM_PM_SWAP));
	OK(vellum_pagemap_scan(w->mm, &args, &nr));
	assert_int_equal(nr, 1);
	assert_int_equal(region[0].start, PAGE(0));
	assert_int_equal(region[0].end, PAGE(HUGE));
	assert_int_equal(region[0].categories, VELLUM_PAGE_IS_PRESENT | VELLUM_PAGE_IS_PFNZERO | VELLUM_PAGE_IS_HUGE);
	OK(vellum_mincore(w->mm, PAGE(0), BYTES(HUGE), vec));
	for (unsigned i = 0; i < HUGE; i++)
		assert_int_equal(vec[i], 1);
}

/* --- userfaultfd --- */

static void userfaultfd_protection_splits(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *uffd;
	uint64_t mask;

	make_zero(w);
	OK(vellum_uffd_create(w->mm, 0, &uffd));
	OK(vellum_uffd_api(uffd, VELLUM_UFFD_API, VELLUM_UFFD_FEATURE_WP_ASYNC | VELLUM_UFFD_FEATURE_WP_UNPOPULATED, &mask,
			   &mask));
	OK(vellum_uffd_register(uffd, PAGE(0), BYTES(HUGE), VELLUM_UFFD_WP, &mask));
	OK(vellum_uffd_writeprotect(uffd, PAGE(0), BYTES(HUGE), VELLUM_UFFD_WRITEPROTECT_WP));
	check_world(w);
	assert_false(pmd_at(w->mm, 0));
	for (unsigned i = 0; i < HUGE; i++)
		assert_true(pte_uffd_wp(entry_at(w->mm, PAGE(i))));
	store(w->cpu[0], PAGE(9), 9);
	check_world(w);
	for (unsigned i = 0; i < HUGE; i++)
		assert_int_equal(pte_uffd_wp(entry_at(w->mm, PAGE(i))), i != 9);
	vellum_uffd_put(uffd);
}

/* A load of missing memory is the userfaultfd's. */
static void userfaultfd_gets_missing_loads(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *uffd;
	uint64_t mask;

	map_huge(w, 0, HUGE);
	OK(vellum_uffd_create(w->mm, 0, &uffd));
	OK(vellum_uffd_api(uffd, VELLUM_UFFD_API, VELLUM_UFFD_FEATURE_SIGBUS, &mask, &mask));
	OK(vellum_uffd_register(uffd, PAGE(0), BYTES(HUGE), VELLUM_UFFD_MISSING, &mask));
	assert_int_equal(try_load(w->cpu[0], PAGE(3)), VELLUM_FAULT_SIGBUS);
	check_world(w);
	assert_false(pmd_at(w->mm, 0));
	vellum_uffd_put(uffd);
	load(w->cpu[0], PAGE(HUGE - 1));
	check_world(w);
}

/* The scan protects the leaf as a whole. A store then unprotects one page, and the others stay protected. */
static void scan_protects_the_leaf(void **state)
{
	struct world *w = *state;
	struct vellum_scan_args args = { .size = sizeof(args), .start = PAGE(0), .end = PAGE(HUGE),
					 .flags = VELLUM_SCAN_WP_MATCHING, .category_mask = VELLUM_PAGE_IS_WRITTEN };
	struct vellum_uffd *uffd;
	uint64_t mask, nr;

	make_zero(w);
	OK(vellum_uffd_create(w->mm, 0, &uffd));
	OK(vellum_uffd_api(uffd, VELLUM_UFFD_API, VELLUM_UFFD_FEATURE_WP_ASYNC | VELLUM_UFFD_FEATURE_WP_UNPOPULATED, &mask,
			   &mask));
	OK(vellum_uffd_register(uffd, PAGE(0), BYTES(HUGE), VELLUM_UFFD_WP, &mask));
	OK(vellum_pagemap_scan(w->mm, &args, &nr));
	check_world(w);
	assert_true(pmd_at(w->mm, 0) & X86_UFFD_WP);
	store(w->cpu[0], PAGE(9), 9);
	check_world(w);
	assert_false(pmd_at(w->mm, 0));
	for (unsigned i = 0; i < HUGE; i++)
		assert_int_equal(pte_uffd_wp(entry_at(w->mm, PAGE(i))), i != 9);
	assert_int_equal(load(w->cpu[0], PAGE(9)), 9);
	vellum_uffd_put(uffd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BIG_TEST(loads_share_one_page),
		BIG_TEST(small_where_no_leaf_fits),
		BIG_TEST(store_brings_a_huge_page),
		BIG_TEST(store_flushes_other_cpus),
		BIG_TEST(store_without_memory_splits),
		BIG_TEST(load_without_memory_maps_small),
		BIG_TEST(store_without_advice_splits),
		BIG_TEST(goes_with_its_last_address_space),
		BIG_TEST(child_stores_apart),
		BIG_TEST(pins),
		BIG_TEST(forced_store_to_zeros),
		BIG_TEST(forced_store_to_empty_memory),
		BIG_TEST(forced_store_makes_a_huge_page),
		BIG_TEST(forced_store_after_a_fork),
		BIG_TEST(executable_parts_are_small),
		BIG_TEST(frame_0_is_a_drivers),
		BIG_TEST(parts_split),
		BIG_TEST(whole_is_kept),
		BIG_TEST(what_is_seen),
		BIG_TEST(userfaultfd_protection_splits),
		BIG_TEST(userfaultfd_gets_missing_loads),
		BIG_TEST(scan_protects_the_leaf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
