/* SPDX-License-Identifier: MIT */
/* Huge pages of private and shared memory: fault, split, collapse, fork, userfaultfd. */
#define _GNU_SOURCE
#include "huge_support.h"
#include "vellum/pagemap.h"
#include "vellum/uffd.h"

#include <pthread.h>

static int big_setup(void **state)
{
	*state = malloc(sizeof(struct world));
	world_create(*state, 64 << 20);
	return 0;
}

#define BIG_TEST(fn) cmocka_unit_test_setup_teardown(fn, big_setup, world_teardown)

static void advise(struct vellum_mm *mm, unsigned at, unsigned pages, int advice)
{
	OK(vellum_madvise(mm, PAGE(at), BYTES(pages), advice));
}

static void map_huge(struct world *w, unsigned pages)
{
	map_at(w->mm, 0, pages, RW, ANON);
	advise(w->mm, 0, pages, VELLUM_MADV_HUGEPAGE);
}

static uint64_t pmd_at(struct vellum_mm *mm, unsigned page)
{
	return leaf_at(mm, PAGE(page), PMD_SHIFT);
}

/* A huge page in which one page is stored to. Returns its leaf. */
static uint64_t make_huge(struct world *w)
{
	map_huge(w, HUGE);
	store(w->cpu[0], PAGE(7), 7);
	assert_true(pmd_at(w->mm, 0));
	return pmd_at(w->mm, 0);
}

static uint64_t pagemap_of(struct vellum_mm *mm, unsigned page)
{
	uint64_t word;

	OK(vellum_pagemap_read(mm, PAGE(page), 1, 0, &word));
	return word;
}

/* Each page's frame may be executed from now on, so the machine must be told when its bytes change. */
static void mprotect_exec_prepares_each_page(void **state)
{
	struct world *w = *state;
	uint64_t val = make_huge(w);

	OK(vellum_mprotect(w->mm, PAGE(0), BYTES(HUGE), VELLUM_PROT_READ | VELLUM_PROT_EXEC));
	for (unsigned i = 0; i < HUGE; i++)
		assert_true(folio_flags(pfn_folio(w->memory, leaf_pfn(val, PMD_SHIFT) + i)) & PG_EXECUTED);
	check_world(w);
}

/* --- faults --- */

static void store_allocates_a_huge_page(void **state)
{
	struct world *w = *state;
	uint64_t val;

	map_huge(w, 2 * HUGE);
	load(w->cpu[0], PAGE(3 + HUGE));
	store(w->cpu[0], PAGE(3) + 16, 5);
	check_world(w);
	val = pmd_at(w->mm, 0);
	assert_int_equal(val & (X86_PSE | X86_RW | X86_DIRTY | X86_ACCESSED | X86_SPECIAL),
			 X86_PSE | X86_RW | X86_DIRTY | X86_ACCESSED);
	for (unsigned i = 0; i < HUGE; i++) {
		assert_true(is_own_page(w, leaf_pfn(val, PMD_SHIFT) + i));
		assert_int_equal(load(w->cpu[0], PAGE(i) + 16), i == 3 ? 5 : 0);
	}
	/* Without the advice, or if the VMA is not aligned: small pages. */
	map_at(w->mm, 4 * HUGE, HUGE, RW, ANON);
	store(w->cpu[0], PAGE(4 * HUGE), 1);
	map_at(w->mm, 6 * HUGE + 1, HUGE, RW, ANON);
	advise(w->mm, 6 * HUGE + 1, HUGE, VELLUM_MADV_HUGEPAGE);
	store(w->cpu[0], PAGE(6 * HUGE + 1), 1);
	assert_false(pmd_at(w->mm, 4 * HUGE) || pmd_at(w->mm, 6 * HUGE + 1));
	advise(w->mm, 4 * HUGE, HUGE, VELLUM_MADV_NOHUGEPAGE);
	check_world(w);
}

/* --- splits --- */

static void T_vma_05_munmap_one_page(void **state)
{
	struct world *w = *state;
	uint64_t pfn = leaf_pfn(make_huge(w), PMD_SHIFT), before = free_frames(w);

	unmap(w->mm, 100, 1);
	check_world(w);
	assert_int_equal(free_frames(w), before + 1);
	for (unsigned i = 0; i < HUGE; i++) {
		pte_t pte = entry_at(w->mm, PAGE(i));

		if (i == 100)
			continue;
		assert_int_equal(pte_pfn(pte), pfn + i);
		assert_true(pte_write(pte) && pte_dirty(pte) && pte_soft_dirty(pte) && is_own_page(w, pfn + i));
	}
	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(100))), 0);
	assert_int_equal(load(w->cpu[0], PAGE(7)), 7);
}

/*
 * A split of a leaf with W and D, without soft-dirty: the store may be later than the last clearing, so the
 * small entries are soft-dirty.
 */
static void T_pte_06_split_sets_soft_dirty(void **state)
{
	struct world *w = *state;
	uint64_t val = make_huge(w);

	OK(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
	check_world(w);
	val = pmd_at(w->mm, 0);
	assert_false(val & (X86_SOFT_DIRTY | X86_RW));
	assert_true(val & X86_SAVED_DIRTY);
	set_leaf_at(w->mm, PAGE(0), pmd_mkwrite(pmd_make(val)).val);
	huge_split_range(w->mm, PAGE(0), PAGE(1));
	for (unsigned i = 0; i < HUGE; i++) {
		pte_t pte = entry_at(w->mm, PAGE(i));

		assert_true(pte_write(pte) && pte_dirty(pte) && pte_soft_dirty(pte));
	}
	check_world(w);
}

/* --- fork --- */

static void pmd_cow_after_fork(void **state)
{
	struct world *w = *state;
	uint64_t pfn = leaf_pfn(make_huge(w), PMD_SHIFT), val;
	struct vellum_mm *child = fork_on(w->mm, w->cpu[1]);

	check_world(w);
	for (unsigned i = 0; i < 2; i++) {
		val = pmd_at(i ? child : w->mm, 0);
		assert_int_equal(val & (X86_PSE | X86_RW | X86_DIRTY | X86_SAVED_DIRTY), X86_PSE | X86_SAVED_DIRTY);
		assert_int_equal(leaf_pfn(val, PMD_SHIFT), pfn);
	}
	assert_false(pmd_at(child, 0) & X86_ACCESSED);
	assert_false(page_flags(w, pfn + 7) & PG_EXCLUSIVE);
	/* One page is copied. The rest is still shared. */
	store(w->cpu[1], PAGE(7), 8);
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(7)), 7);
	assert_int_equal(load(w->cpu[1], PAGE(7)), 8);
	assert_int_not_equal(pte_pfn(entry_at(child, PAGE(7))), pfn + 7);
	assert_int_equal(pte_pfn(entry_at(child, PAGE(8))), pfn + 8);
	assert_false(pte_write(entry_at(child, PAGE(8))));
	end_child(child, w->cpu[1]);
	check_world(w);
	/* A sole owner reuses the whole page. */
	store(w->cpu[0], PAGE(9), 1);
	check_world(w);
	assert_int_equal(pte_pfn(page_entry(w->mm, PAGE(9))), pfn + 9);
	assert_true(pmd_at(w->mm, 0) & X86_RW);
}

static void T_fork_06_pinned_huge_page(void **state)
{
	struct world *w = *state;
	uint64_t pfn;
	struct vellum_mm *child;

	make_huge(w);
	pfn = pin(w->mm, PAGE(7), WRITE);
	assert_int_equal(pfn, pte_pfn(page_entry(w->mm, PAGE(7))));
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	assert_false(pmd_at(w->mm, 0));
	assert_true(has_w(w->mm, PAGE(7)) && is_own_page(w, pfn));
	assert_true(has_w(child, PAGE(7)));
	assert_int_not_equal(pte_pfn(entry_at(child, PAGE(7))), pfn);
	store(w->cpu[0], PAGE(7), 9);
	assert_int_equal(frame_words(w, pfn)[0], 9);
	assert_int_equal(load(w->cpu[1], PAGE(7)), 7);
	assert_int_equal(pte_pfn(page_entry(child, PAGE(8))), pfn + 1);
	unpin(w, pfn);
	end_child(child, w->cpu[1]);
}

/* --- pins --- */

static void pins_of_a_huge_page(void **state)
{
	struct world *w = *state;
	uint64_t pfn[HUGE], nr, first = leaf_pfn(make_huge(w), PMD_SHIFT);

	OK(vellum_pin_pages(w->mm, PAGE(0), HUGE, WRITE | FAST, pfn, &nr));
	assert_int_equal(nr, HUGE);
	for (unsigned i = 0; i < HUGE; i++)
		assert_int_equal(pfn[i], first + i);
	vellum_unpin_pages(w->memory, pfn, HUGE);
	OK(vellum_pin_pages(w->mm, PAGE(0), HUGE, WRITE, pfn, &nr));
	assert_int_equal(nr, HUGE);
	unmap(w->mm, 0, HUGE / 2);
	check_world(w);
	frame_words(w, pfn[1])[0] = 1;
	vellum_unpin_pages_dirty(w->memory, pfn, HUGE);
	check_world(w);
	pfn[0] = pin(w->mm, PAGE(HUGE - 1), WRITE | VELLUM_GUP_SPLIT_PMD);
	assert_false(pmd_at(w->mm, HUGE - 1));
	unpin(w, pfn[0]);
}

static void pin_with_split_pmd_splits(void **state)
{
	struct world *w = *state;
	uint64_t pfn = leaf_pfn(make_huge(w), PMD_SHIFT);

	OK(try_gup(w, w->mm, PAGE(3), WRITE | PIN));
	assert_true(pmd_at(w->mm, 0));
	OK(try_gup(w, w->mm, PAGE(3), WRITE | PIN | VELLUM_GUP_SPLIT_PMD));
	assert_false(pmd_at(w->mm, 0));
	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(3))), pfn + 3);
	assert_true(has_w(w->mm, PAGE(3)) && has_d(w->mm, PAGE(3)));
}

/* --- userfaultfd --- */

static struct vellum_uffd *watch(struct world *w, unsigned pages, uint64_t features)
{
	struct vellum_uffd *uffd;
	uint64_t mask;

	OK(vellum_uffd_create(w->mm, 0, &uffd));
	OK(vellum_uffd_api(uffd, VELLUM_UFFD_API, features, &mask, &mask));
	OK(vellum_uffd_register(uffd, PAGE(0), BYTES(pages), VELLUM_UFFD_WP, &mask));
	return uffd;
}

static void protect_wp(struct vellum_uffd *uffd, unsigned at, unsigned pages, bool on)
{
	OK(vellum_uffd_writeprotect(uffd, PAGE(at), BYTES(pages), on ? VELLUM_UFFD_WRITEPROTECT_WP : 0));
}

static void T_uffd_08_async_of_a_pmd(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *uffd;

	make_huge(w);
	uffd = watch(w, HUGE, VELLUM_UFFD_FEATURE_WP_ASYNC | VELLUM_UFFD_FEATURE_WP_UNPOPULATED);
	protect_wp(uffd, 0, HUGE, true);
	check_world(w);
	assert_true(pmd_at(w->mm, 0) & X86_UFFD_WP);
	assert_false(pmd_at(w->mm, 0) & X86_RW);
	store(w->cpu[0], PAGE(9), 9);
	check_world(w);
	assert_false(pmd_at(w->mm, 0));
	for (unsigned i = 0; i < HUGE; i++) {
		assert_int_equal(!!(pagemap_of(w->mm, i) & VELLUM_PM_UFFD_WP), i != 9);
		assert_int_equal(has_w(w->mm, PAGE(i)), i == 9);
	}
	assert_int_equal(vellum_uffd_poll(uffd), 0);
	assert_int_equal(load(w->cpu[0], PAGE(7)), 7);
	vellum_uffd_put(uffd);
}

struct resolver {
	struct vellum_uffd *uffd;
	unsigned at, pages;
	unsigned events;
	struct vellum_uffd_msg msg;
};

/* The fault waits in the main thread. This thread reads the message and resolves it. */
static void *resolve(void *arg)
{
	struct resolver *r = arg;
	uint32_t got = 0;

	if (!vellum_uffd_read(r->uffd, &r->msg, 1, true, &got) && got) {
		r->events++;
		vellum_uffd_writeprotect(r->uffd, PAGE(r->at), BYTES(r->pages), 0);
	}
	return NULL;
}

/* A store, with a thread that resolves faults. Returns the number of messages. */
static unsigned store_with_reader(struct world *w, struct resolver *r, unsigned page)
{
	pthread_t thread;

	r->events = 0;
	OK(pthread_create(&thread, NULL, resolve, r));
	store(w->cpu[0], PAGE(page), 1);
	pthread_join(thread, NULL);
	assert_int_equal(vellum_uffd_poll(r->uffd), 0);
	return r->events;
}

static void sync_wp_of_a_pmd(void **state)
{
	struct world *w = *state;
	struct resolver r = { .at = 0, .pages = HUGE };

	make_huge(w);
	r.uffd = watch(w, HUGE, 0);
	protect_wp(r.uffd, 0, HUGE, true);
	assert_true(pmd_at(w->mm, 0) & X86_UFFD_WP);
	assert_int_equal(store_with_reader(w, &r, 5), 1);
	check_world(w);
	assert_int_equal(r.msg.event, VELLUM_UFFD_EVENT_PAGEFAULT);
	assert_int_equal(r.msg.arg.pagefault.flags, VELLUM_UFFD_FLAG_WRITE | VELLUM_UFFD_FLAG_WP);
	assert_int_equal(r.msg.arg.pagefault.address, PAGE(5));
	assert_true(pmd_at(w->mm, 0) & X86_RW);
	assert_false(pmd_at(w->mm, 0) & X86_UFFD_WP);
	/* Resolving a part splits the leaf. The rest stays protected. */
	protect_wp(r.uffd, 0, HUGE, true);
	r.at = 5;
	r.pages = 1;
	assert_int_equal(store_with_reader(w, &r, 5), 1);
	check_world(w);
	for (unsigned i = 0; i < HUGE; i++)
		assert_int_equal(pte_uffd_wp(page_entry(w->mm, PAGE(i))), i != 5);
	/* Protecting a part splits the leaf, too. */
	protect_wp(r.uffd, 0, HUGE, false);
	check_world(w);
	vellum_uffd_put(r.uffd);
}

static void wp_of_a_part_splits(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *uffd;
	uint64_t pfn = leaf_pfn(make_huge(w), PMD_SHIFT);

	uffd = watch(w, HUGE, 0);
	protect_wp(uffd, 0, 10, true);
	check_world(w);
	assert_false(pmd_at(w->mm, 0));
	for (unsigned i = 0; i < HUGE; i++) {
		pte_t pte = entry_at(w->mm, PAGE(i));

		assert_int_equal(pte_uffd_wp(pte), i < 10);
		assert_int_equal(pte_write(pte), i >= 10);
		assert_true(pte_dirty(pte) && pte_pfn(pte) == pfn + i);
	}
	vellum_uffd_put(uffd);
}

/* --- advice --- */

static void dontneed_and_free_of_a_part_split(void **state)
{
	struct world *w = *state;
	uint64_t before = free_frames(w), after;
	struct ram_swap swap;

	ram_swap_start(w, &swap, 4096);
	make_huge(w);
	for (unsigned i = 0; i < HUGE; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	after = free_frames(w);
	assert_true(before - after >= HUGE);
	dontneed(w->mm, 10, 100);
	check_world(w);
	assert_int_equal(free_frames(w), after + 100);
	assert_false(pmd_at(w->mm, 0));
	advise(w->mm, 200, 100, VELLUM_MADV_FREE);
	check_world(w);
	for (unsigned i = 0; i < HUGE; i++) {
		bool gone = i >= 10 && i < 110, freed = i >= 200 && i < 300;

		if (!gone)
			assert_int_equal(pte_dirty(entry_at(w->mm, PAGE(i))), !freed);
		assert_int_equal(load(w->cpu[0], PAGE(i)), gone ? 0 : i + 1);
	}
	store(w->cpu[0], PAGE(250), 5);
	for (unsigned i = 0; i < 8; i++)
		vellum_reclaim(w->memory, HUGE);
	check_world(w);
	for (unsigned i = 0; i < HUGE; i++) {
		bool gone = (i >= 10 && i < 110) || (i >= 200 && i < 300);

		assert_int_equal(load(w->cpu[0], PAGE(i)), i == 250 ? 5 : gone ? 0 : i + 1);
	}
	unmap(w->mm, 0, HUGE);
	ram_swap_stop(w, &swap);
}

/* MADV_FREE of the whole page does not split it. A store then needs no fault, and the page stays. */
static void free_of_a_whole_page_does_not_split(void **state)
{
	struct world *w = *state;
	uint64_t val;

	make_huge(w);
	advise(w->mm, 0, HUGE, VELLUM_MADV_FREE);
	check_world(w);
	val = pmd_at(w->mm, 0);
	assert_int_equal(val & (X86_PSE | X86_RW | X86_DIRTY | X86_SAVED_DIRTY | X86_ACCESSED), X86_PSE | X86_RW);
	store(w->cpu[0], PAGE(3), 3);
	assert_true(pmd_at(w->mm, 0) & X86_DIRTY);
	assert_int_equal(load(w->cpu[0], PAGE(7)), 7);
}

static void dontneed_of_a_whole_page_frees_it(void **state)
{
	struct world *w = *state;
	uint64_t before = free_frames(w);

	make_huge(w);
	dontneed(w->mm, 0, HUGE);
	check_world(w);
	assert_true(free_frames(w) + 3 >= before);	/* the tables may stay allocated */
	assert_int_equal(vellum_mm_rss(w->mm), 0);
	assert_int_equal(load(w->cpu[0], PAGE(7)), 0);
}

/* A huge page is swapped out page by page, and swapped in. */
static void reclaim_of_a_huge_page(void **state)
{
	struct world *w = *state;
	struct ram_swap swap;

	ram_swap_start(w, &swap, 4096);
	map_huge(w, HUGE);
	for (unsigned i = 0; i < HUGE; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	assert_true(pmd_at(w->mm, 0));
	for (unsigned i = 0; i < 16 && vellum_mm_swapped(w->mm) < HUGE; i++) {
		vellum_reclaim(w->memory, HUGE);
		check_world(w);
	}
	assert_true(vellum_mm_swapped(w->mm) > 0);
	for (unsigned i = 0; i < HUGE; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i + 1);
	check_world(w);
	unmap(w->mm, 0, HUGE);
	ram_swap_stop(w, &swap);
}

/* Shared memory with MADV_HUGEPAGE: one leaf in each VMA. It is swapped out, and swapped in as small pages. */
static void shared_huge_pages(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *shm;
	struct vellum_mm *child;
	struct ram_swap swap;

	ram_swap_start(w, &swap, 4096);
	OK(vellum_mapping_create(w->memory, NULL, NULL, HUGE, 0, &shm));
	map_object(w->mm, 0, HUGE, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	map_object(w->mm, 2 * HUGE, HUGE, RW, VELLUM_MAP_PRIVATE, shm, 0, RW);
	advise(w->mm, 0, HUGE, VELLUM_MADV_HUGEPAGE);
	advise(w->mm, 2 * HUGE, HUGE, VELLUM_MADV_HUGEPAGE);
	for (unsigned i = 0; i < HUGE; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	assert_true(pmd_at(w->mm, 0) & X86_RW);
	assert_int_equal(load(w->cpu[0], PAGE(2 * HUGE + 9)), 10);
	assert_false(pmd_at(w->mm, 2 * HUGE) & X86_RW);
	check_world(w);
	store(w->cpu[0], PAGE(2 * HUGE + 9), 99);	/* a private store copies one page */
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(9)), 10);
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	assert_int_equal(load(w->cpu[1], PAGE(2 * HUGE + 9)), 99);
	store(w->cpu[1], PAGE(10), 77);
	assert_int_equal(load(w->cpu[0], PAGE(10)), 77);
	for (unsigned i = 0; i < 16; i++) {
		vellum_reclaim(w->memory, 2 * HUGE);
		check_world(w);
	}
	for (unsigned i = 0; i < HUGE; i++) {
		assert_int_equal(load(w->cpu[0], PAGE(i)), i == 10 ? 77 : i + 1);
		assert_int_equal(load(w->cpu[0], PAGE(2 * HUGE + i)), i == 9 ? 99 : i == 10 ? 77 : i + 1);
	}
	end_child(child, w->cpu[1]);
	unmap(w->mm, 0, 4 * HUGE);
	vellum_mapping_put(shm);
	ram_swap_stop(w, &swap);
}

static void mprotect_and_mremap(void **state)
{
	struct world *w = *state;
	uint64_t pfn = leaf_pfn(make_huge(w), PMD_SHIFT), to = PAGE(GIANT);

	protect(w->mm, 0, HUGE, RO);
	check_world(w);
	assert_int_equal(pmd_at(w->mm, 0) & (X86_RW | X86_DIRTY | X86_SAVED_DIRTY), X86_SAVED_DIRTY);
	assert_int_equal(try_store(w->cpu[0], PAGE(0), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	protect(w->mm, 0, HUGE, RW);
	assert_int_equal(pmd_at(w->mm, 0) & (X86_RW | X86_DIRTY | X86_SAVED_DIRTY), X86_RW | X86_DIRTY);
	check_world(w);
	OK(vellum_mremap(w->mm, PAGE(0), BYTES(HUGE), BYTES(HUGE), VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &to));
	check_world(w);
	assert_int_equal(leaf_pfn(pmd_at(w->mm, GIANT), PMD_SHIFT), pfn);
	assert_int_equal(load(w->cpu[0], PAGE(GIANT + 7)), 7);
	protect(w->mm, GIANT + 5, 1, RO);
	check_world(w);
	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(GIANT + 6))), pfn + 6);
	assert_true(has_w(w->mm, PAGE(GIANT + 6)) && !has_w(w->mm, PAGE(GIANT + 5)));
	store(w->cpu[0], PAGE(GIANT + 6), 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BIG_TEST(store_allocates_a_huge_page),
		BIG_TEST(mprotect_exec_prepares_each_page),
		BIG_TEST(T_vma_05_munmap_one_page),
		BIG_TEST(T_pte_06_split_sets_soft_dirty),
		BIG_TEST(pmd_cow_after_fork),
		BIG_TEST(T_fork_06_pinned_huge_page),
		BIG_TEST(pins_of_a_huge_page),
		BIG_TEST(pin_with_split_pmd_splits),
		BIG_TEST(T_uffd_08_async_of_a_pmd),
		BIG_TEST(sync_wp_of_a_pmd),
		BIG_TEST(wp_of_a_part_splits),
		BIG_TEST(dontneed_and_free_of_a_part_split),
		BIG_TEST(free_of_a_whole_page_does_not_split),
		BIG_TEST(dontneed_of_a_whole_page_frees_it),
		BIG_TEST(reclaim_of_a_huge_page),
		BIG_TEST(shared_huge_pages),
		BIG_TEST(mprotect_and_mremap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
