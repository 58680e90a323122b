/* SPDX-License-Identifier: MIT */
/* What a freeze leaves: entries of the frozen copy and of the address space, folios, counts, and which notifiers are told. */
#include "snap_support.h"
#include "mm/fault/fault.h"
#include "mm/snapshot/snapshot.h"
#include "mm/swap/swap.h"
#include "mm/table/huge.h"

#define HUGE 512	/* pages in a PMD leaf, and in a table */
#define LIVE (X86_ACCESSED | X86_DIRTY | X86_SAVED_DIRTY | X86_UNCHANGED)

static struct snap s;

static int setup(void **state)
{
	(void)state;
	snap_open(&s, &machines[0], 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	snap_close(&s);
	return 0;
}

#define FROZEN_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

static struct vellum_mm *frozen_mm(void)
{
	return s.snapshot->mms[0].copy;
}

static pte_t live(unsigned at)
{
	return entry_at(s.mm, PAGE(at));
}

static pte_t frozen(unsigned at)
{
	return entry_at(frozen_mm(), PAGE(at));
}

static uint32_t flags_at(unsigned at)
{
	return folio_flags(pte_folio(s.w->memory, live(at)));
}

/* How many entries of the table of @at are UNCHANGED, by the table's own count. */
static uint64_t count_in_table(unsigned at)
{
	struct mutex *ptl;
	const pte_t *ptep = pte_find(s.mm, PAGE(at), &ptl);

	return table_folio(s.w->memory, &ptep->val)->index;
}

/* --- small entries --- */

/* Both map the page read-only. The frozen entry has the other bits of the live one, but none that CPUs set. */
static void check_shared_page(unsigned at, uint64_t count)
{
	assert_true(pte_present(live(at)) && pte_unchanged(live(at)));
	assert_false(pte_write(live(at)));
	assert_int_equal(frozen(at).val, live(at).val & ~(uint64_t)LIVE);
	assert_int_equal(flags_at(at) & (PG_EXCLUSIVE | PG_LAZYFREE | PG_DIRTY), PG_DIRTY);
	assert_int_equal(pte_folio(s.w->memory, live(at))->count, count + FOLIO_ONE_MAPPING);
}

static void private_pages_are_shared_with_the_copy(void **state)
{
	uint64_t counts[8];

	(void)state;
	map_at(s.mm, 0, 8, RW, ANON);
	map_at(s.mm, 8, 4, RW, ANON | VELLUM_MAP_STACK);
	store_range(&s, 0, 8, 5);
	advise(&s, 2, 2, VELLUM_MADV_FREE);
	protect(s.mm, 4, 1, RO);
	protect(s.mm, 5, 1, VELLUM_PROT_NONE);
	load(s.cpu, PAGE(9));
	for (unsigned i = 0; i < 8; i++)
		counts[i] = pte_folio(s.w->memory, live(i))->count;
	freeze(&s);
	for (unsigned i = 0; i < 8; i++)
		check_shared_page(i, counts[i]);
	assert_int_equal(frozen(9).val, live(9).val & ~(uint64_t)LIVE);
	assert_true(pte_special(frozen(9)));
	assert_true(pte_unchanged(live(9)));
	for (unsigned i = 8; i < 12; i++)
		assert_true(i == 9 || (pte_none(frozen(i)) && pte_none(live(i))));
	assert_int_equal(vellum_mm_rss(frozen_mm()), 9);
	assert_int_equal(vellum_mm_swapped(frozen_mm()), 0);
	assert_int_equal(count_in_table(0), 9);
	assert_int_equal(snap_info(s.snapshot).frozen_pages, 9);
	restore_and_check(&s);
}

/* The last line of a table, and a page in the next one. */
static void counts_are_of_one_table(void **state)
{
	(void)state;
	map_at(s.mm, HUGE - 3, 8, RW, ANON);
	store_range(&s, HUGE - 2, 4, 1);
	map_at(s.mm, 2 * HUGE - 1, 3, RW, ANON);
	store_range(&s, 2 * HUGE - 1, 2, 1);
	pageout(s.mm, 2 * HUGE, 1);
	freeze(&s);
	assert_int_equal(count_in_table(0), 2);
	assert_int_equal(count_in_table(HUGE), 3);
	assert_int_equal(count_in_table(2 * HUGE), TABLE_UNCOUNTED);	/* has a swap entry, which has no such bit */
	assert_true(pte_is_genuine_swap(frozen(2 * HUGE)));
	assert_int_equal(pte_slot(frozen(2 * HUGE)), pte_slot(live(2 * HUGE)));
	assert_int_equal(slot_count(s.w->memory, pte_slot(live(2 * HUGE))), 2);
	assert_int_equal(vellum_mm_swapped(frozen_mm()), 1);
	assert_int_equal(vellum_mm_rss(frozen_mm()), 5);
	restore_and_check(&s);
}

/* Of a mapping's own pages there is no entry. Their dirt is not lost: the page is dirty, and a tracker has it. */
static void pages_of_mappings_are_not_frozen(void **state)
{
	struct vellum_tracker *t;

	(void)state;
	file_create(&s.file, s.w, 8);
	map_shared(s.mm, 0, 8, &s.file, 0);
	map_private(s.mm, 8, 8, &s.file, 0);
	OK(vellum_track_mm(s.mm, PAGE(0), PAGE(8), VELLUM_TRACK_CLEAN, &t));
	store(s.cpu, PAGE(1), 1);
	store(s.cpu, PAGE(9), 9);
	load(s.cpu, PAGE(8));
	assert_true(pte_dirty(live(1)));
	freeze(&s);
	assert_false(pte_dirty(live(1)));
	assert_true(flags_at(1) & PG_DIRTY);
	assert_int_equal(nr_dirty(&s.file), 1);
	assert_int_equal(collect(t, PAGE(0) >> PAGE_SHIFT), 2);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(pte_none(frozen(i)), i != 9);
	assert_true(pte_unchanged(live(1)) && pte_unchanged(live(8)) && pte_unchanged(live(9)));
	assert_int_equal(vellum_mm_rss(frozen_mm()), 1);
	vellum_tracker_destroy(t);
	restore_and_check(&s);
}

/* Protection by a userfaultfd is frozen for each kind of page, and for no page without it. */
static void protection_is_frozen(void **state)
{
	(void)state;
	map_at(s.mm, 0, 8, RW, ANON);
	map_at(s.mm, 8, 8, RW, SHANON);
	store_range(&s, 0, 4, 1);
	store_range(&s, 8, 4, 1);
	s.uffd = register_wp(s.mm, 0, 16, VELLUM_UFFD_FEATURE_WP_ASYNC | VELLUM_UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
	wp(s.uffd, 0, 2);
	wp(s.uffd, 8, 2);
	wp(s.uffd, 12, 2);	/* markers */
	freeze(&s);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pte_uffd_wp(frozen(i)), i < 2);
		assert_int_equal(pte_uffd_wp(live(i)), i < 2);
		assert_int_equal(frozen(8 + i).val, i < 2 ? pte_marker(MARKER_UFFD_WP).val : 0);
		assert_int_equal(frozen(12 + i).val, i < 2 ? pte_marker(MARKER_UFFD_WP).val : 0);
	}
	restore_and_check(&s);
	vellum_uffd_close(s.uffd);
	vellum_uffd_put(s.uffd);
}

/* --- pins --- */

/* Only the page that is pinned and exclusive is copied. It stays writable where it is. */
static void only_pinned_pages_are_copied(void **state)
{
	struct vellum_mm *child;
	uint64_t done, pfn;

	(void)state;
	map_at(s.mm, 0, 8, RW, ANON);
	store_range(&s, 0, 6, 3);
	OK(vellum_pin_pages(s.mm, PAGE(1), 1, VELLUM_GUP_WRITE, &s.pfn[0], &done));
	pfn = pte_pfn(live(1));
	freeze(&s);
	assert_int_equal(pte_pfn(live(1)), pfn);
	assert_true(pte_write(live(1)));
	assert_false(pte_unchanged(live(1)));
	assert_int_not_equal(pte_pfn(frozen(1)), pfn);
	assert_false(pte_write(frozen(1)));
	assert_int_equal(frozen(1).val & LIVE, 0);
	for (unsigned i = 0; i < 6; i++)
		if (i != 1) {
			assert_int_equal(pte_pfn(frozen(i)), pte_pfn(live(i)));
			assert_false(pte_write(live(i)));
		}
	assert_int_equal(vellum_mm_rss(frozen_mm()), 6);
	check_restored(&s);
	vellum_unpin_pages(s.w->memory, s.pfn, 1);
	thaw(&s);
	/* A page that a child maps too is not exclusive. The pin is for reading. */
	child = fork_on(s.mm, s.w->cpu[1]);
	OK(vellum_get_pages(s.mm, PAGE(2), 1, 0, &s.pfn[0], &done));
	OK(freeze_all(&s, &s.snapshot));
	assert_int_equal(pte_pfn(frozen(2)), pte_pfn(live(2)));
	vellum_put_pages(s.w->memory, s.pfn, 1);
	end_child(child, s.w->cpu[1]);
}

/* --- leaves --- */

static uint64_t leaf_of(struct vellum_mm *mm, unsigned at)
{
	struct leaf leaf;

	return huge_lookup(mm, PAGE(at), &leaf) ? entry_load(leaf.entry) : 0;
}

static void leaves_stay_leaves(void **state)
{
	uint64_t done, val;

	(void)state;
	map_at(s.mm, 0, 8, RW, ANON);
	store_range(&s, 0, 2, 1);
	OK(vellum_pin_pages(s.mm, PAGE(1), 1, VELLUM_GUP_WRITE, &s.pfn[0], &done));	/* no page of a leaf */
	map_at(s.mm, HUGE, 2 * HUGE, RW, ANON);
	map_at(s.mm, 3 * HUGE, HUGE, RW, SHANON);
	advise(&s, HUGE, 3 * HUGE, VELLUM_MADV_HUGEPAGE);
	store(s.cpu, PAGE(HUGE + 3), 3);
	load(s.cpu, PAGE(2 * HUGE));
	store(s.cpu, PAGE(3 * HUGE), 4);
	val = leaf_of(s.mm, HUGE);
	assert_true((val & X86_RW) && leaf_is_huge_zero(s.w->memory, leaf_of(s.mm, 2 * HUGE)) && leaf_of(s.mm, 3 * HUGE));
	freeze(&s);
	assert_int_equal(leaf_of(frozen_mm(), HUGE) & (X86_PFN_MASK | X86_PRESENT | X86_PSE | X86_RW | LIVE),
			 val & (X86_PFN_MASK | X86_PRESENT | X86_PSE));
	assert_int_equal(leaf_of(s.mm, HUGE) & (X86_PFN_MASK | X86_PSE | X86_RW), val & (X86_PFN_MASK | X86_PSE));
	for (unsigned i = 0; i < HUGE; i++) {
		const struct folio *folio = huge_page_folio(s.w->memory, val, PMD_SHIFT, i);

		assert_int_equal(folio_flags(folio) & (PG_EXCLUSIVE | PG_DIRTY), PG_DIRTY);
		assert_int_equal(folio->count / FOLIO_ONE_MAPPING, 2);
	}
	assert_int_equal(leaf_of(s.mm, 2 * HUGE), 0);		/* zeros are compared one by one */
	assert_true(pte_special(frozen(2 * HUGE)));
	assert_int_equal(leaf_of(frozen_mm(), 3 * HUGE), 0);	/* the mapping's */
	assert_true(pte_none(frozen(3 * HUGE)));
	assert_int_equal(vellum_mm_rss(frozen_mm()), 2 + 2 * HUGE);
	check_restored(&s);
	vellum_unpin_pages(s.w->memory, s.pfn, 1);
}

/* --- limits --- */

static void check_limits(const struct vellum_mm *mm, uint64_t n)
{
	assert_int_equal(mm->brk_start, n << 20);
	assert_int_equal(mm->brk, (n << 20) + 5);
	assert_int_equal(mm->mmap_min_addr, n << 12);
	assert_int_equal(mm->mmap_top, n << 30);
	assert_int_equal(mm->memlock_limit, n << 13);
	assert_int_equal(mm->stack_limit, n << 14);
	assert_int_equal(mm->mdwe, n % 2);
	assert_int_equal(mm->def_flags, n % 2 ? VM_LOCKED : 0);
}

static void set_limits(struct vellum_mm *mm, uint64_t n)
{
	mm->brk_start = n << 20;
	mm->brk = (n << 20) + 5;
	mm->mmap_min_addr = n << 12;
	mm->mmap_top = n << 30;
	mm->memlock_limit = n << 13;
	mm->stack_limit = n << 14;
	mm->mdwe = n % 2;
	mm->def_flags = n % 2 ? VM_LOCKED : 0;
}

/* Each limit by itself: a restore puts it back, a verification finds it, and a branch has it. */
static void limits_are_restored(void **state)
{
	struct vellum_snapshot_difference diff = { .size = sizeof(diff) };
	struct vellum_mm *branch;

	(void)state;
	prepare_private(&s);
	set_limits(s.mm, 5);
	OK(freeze_all(&s, &s.snapshot));
	set_limits(s.mm, 6);
	restore(&s);
	check_limits(s.mm, 5);
	OK(vellum_snapshot_branch(s.snapshot, &branch, NULL));
	check_limits(branch, 5);
	vellum_mm_put(branch);
	for (unsigned i = 0; i < 8; i++) {
		s.mm->brk_start = i == 0 ? 6 << 20 : 5 << 20;
		s.mm->brk = i == 1 ? 6 << 20 : (5 << 20) + 5;
		s.mm->mmap_min_addr = i == 2 ? 6 << 12 : 5 << 12;
		s.mm->mmap_top = i == 3 ? 6ull << 30 : 5ull << 30;
		s.mm->memlock_limit = i == 4 ? 6 << 13 : 5 << 13;
		s.mm->stack_limit = i == 5 ? 6 << 14 : 5 << 14;
		s.mm->mdwe = i == 6 ? 0 : 1;
		s.mm->def_flags = i == 7 ? 0 : VM_LOCKED;
		assert_int_equal(vellum_snapshot_verify(s.snapshot, &diff), 1);
		assert_int_equal(diff.what, VELLUM_SNAPSHOT_LIMITS);
	}
	restore(&s);
	check_limits(s.mm, 5);
	s.mm->mdwe = 0;
}

/* --- flushes and notifiers --- */

static struct {
	unsigned starts[8], finishes[8];
	unsigned partial;	/* not of the whole address space */
} seen;

static void note_start(void *ctx, enum vellum_notifier_event event, uint64_t start, uint64_t end)
{
	(void)ctx;
	seen.starts[event % 8]++;
	seen.partial += start != 0 || end != VELLUM_TASK_SIZE;
}

static void note_finish(void *ctx, enum vellum_notifier_event event, uint64_t start, uint64_t end)
{
	(void)ctx;
	seen.finishes[event % 8]++;
	seen.partial += start != 0 || end != VELLUM_TASK_SIZE;
}

/* A freeze takes rights from all entries, and a restore may remove any. */
static void the_whole_address_space_is_notified(void **state)
{
	struct vellum_notifier n = { .size = sizeof(n), .start = note_start, .finish = note_finish };

	(void)state;
	prepare_private(&s);
	OK(vellum_notifier_register(s.mm, &n));
	memset(&seen, 0, sizeof(seen));
	OK(freeze_all(&s, &s.snapshot));
	assert_int_equal(seen.starts[VELLUM_NOTIFY_PROTECTION_PAGE], 1);
	assert_int_equal(seen.finishes[VELLUM_NOTIFY_PROTECTION_PAGE], 1);
	assert_int_equal(seen.starts[VELLUM_NOTIFY_CLEAR], 0);
	restore(&s);
	assert_int_equal(seen.starts[VELLUM_NOTIFY_CLEAR], 1);
	assert_int_equal(seen.finishes[VELLUM_NOTIFY_CLEAR], 1);
	assert_int_equal(seen.starts[VELLUM_NOTIFY_PROTECTION_PAGE], 1);
	assert_int_equal(seen.partial, 0);
	vellum_notifier_unregister(s.mm, &n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		FROZEN_TEST(private_pages_are_shared_with_the_copy),
		FROZEN_TEST(counts_are_of_one_table),
		FROZEN_TEST(pages_of_mappings_are_not_frozen),
		FROZEN_TEST(protection_is_frozen),
		FROZEN_TEST(only_pinned_pages_are_copied),
		FROZEN_TEST(leaves_stay_leaves),
		FROZEN_TEST(limits_are_restored),
		FROZEN_TEST(the_whole_address_space_is_notified),
	};

	return cmocka_run_group_tests_name("snap_frozen", tests, NULL, NULL);
}
