/* SPDX-License-Identifier: MIT */
/* Snapshots and the bits that tell of stores: userfaultfd, soft-dirty, trackers. */
#include "snap_support.h"

/* --- userfaultfd --- */

static void prepare_wp_with(struct snap *s, uint64_t features, uint32_t kind)
{
	map_at(s->mm, 0, 16, RW, kind);
	map_at(s->mm, 16, 16, RW, kind);
	store_range(s, 0, 8, 1);
	s->uffd = register_wp(s->mm, 0, 16, features | VELLUM_UFFD_FEATURE_WP_ASYNC);
	wp(s->uffd, 2, 8);
}

static void prepare_wp(struct snap *s)
{
	prepare_wp_with(s, 0, ANON);
}

static void prepare_wp_unpopulated(struct snap *s)
{
	prepare_wp_with(s, VELLUM_UFFD_FEATURE_WP_UNPOPULATED, ANON);
}

static void prepare_wp_shared(struct snap *s)
{
	prepare_wp_with(s, 0, SHANON);
}

static void run_wp_stores(struct snap *s)
{
	store_range(s, s->round, 12, 50);
}

static void run_wp_changes(struct snap *s)
{
	wp(s->uffd, 0, 2);
	unwp(s->uffd, 4, 2);
	store(s->cpu, PAGE(4), 1);
	if (s->round == 1) {
		dontneed(s->mm, 2, 8);
		load_range(s, 2, 4);
	}
	if (s->round == 2)
		unwp(s->uffd, 0, 16);
}

static void run_wp_swapped(struct snap *s)
{
	reclaim_all(s->w);
	if (s->round)
		load_range(s, 2, 4);
	if (s->round == 2)
		unwp(s->uffd, 2, 4);
}

static void run_unregister(struct snap *s)
{
	OK(vellum_uffd_unregister(s->uffd, PAGE(s->round), BYTES(8)));
	store_range(s, 0, 12, 9);
	if (s->round == 2)
		OK(vellum_uffd_register(s->uffd, PAGE(12), BYTES(8), VELLUM_UFFD_WP, NULL));
}

/* UFFDIO_MOVE brings frozen pages to other places. */
static void prepare_move(struct snap *s)
{
	map_at(s->mm, 0, 32, RW, ANON);
	store_range(s, 0, 8, 1);
	load_range(s, 20, 2);
	pageout(s->mm, 4, 2);
	s->uffd = new_uffd(s->mm, 0);
	OK(vellum_uffd_register(s->uffd, PAGE(16), BYTES(16), VELLUM_UFFD_MISSING, NULL));
}

static void run_uffd_move(struct snap *s)
{
	static const char page[PAGE_SIZE] = { 1, 2, 3 };
	int64_t done;

	store_range(s, 0, 4, 5);
	store_range(s, 4, 2, 5);
	restore(s);	/* the run's own pages, unchanged */
	for (unsigned i = 0; i < 4; i++)
		OK(vellum_uffd_move(s->uffd, PAGE(24 + i), PAGE(i), PAGE_SIZE, 0, &done));
	assert_int_equal(vellum_uffd_move(s->uffd, PAGE(28), PAGE(6), PAGE_SIZE, 0, &done), -EBUSY);	/* a frozen page */
	if (s->round) {
		dontneed(s->mm, 26, 2);
		OK(vellum_uffd_move(s->uffd, PAGE(26), PAGE(24), PAGE_SIZE, 0, &done));
		OK(vellum_uffd_copy(s->uffd, PAGE(24), 0, page, PAGE_SIZE, 0, &done));
	}
}

static void end_uffd(struct snap *s)
{
	vellum_uffd_close(s->uffd);
	vellum_uffd_put(s->uffd);
}

/* A context that was closed during the run is not restored, and protects nothing. */
static void end_closed(struct snap *s)
{
	store_range(s, 0, 12, 9);
	vellum_uffd_close(s->uffd);
	restore(s);
	check_world(s->w);
	must_verify(s, s->snapshot);
	for (const struct vma *vma = vma_at(s->mm, 0); vma; vma = vma_at(s->mm, vma->end)) {
		assert_null(vma->uffd);
		assert_false(vma->flags & VM_UFFD);
	}
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(load(s->cpu, PAGE(i) + 8 * i), 1 + i);
		assert_false(pte_present(entry_at(s->mm, PAGE(i))) && pte_uffd_wp(entry_at(s->mm, PAGE(i))));
	}
	store_range(s, 0, 12, 9);
	restore(s);
	must_verify(s, s->snapshot);
	check_world(s->w);
	vellum_uffd_put(s->uffd);
}

/* The protected pages are swapped out in the snapshot, and again, in the same slots, when the context is closed. */
static void prepare_wp_out(struct snap *s)
{
	prepare_wp(s);
	pageout(s->mm, 2, 6);
}

static void end_closed_out(struct snap *s)
{
	vellum_uffd_close(s->uffd);
	restore(s);
	check_world(s->w);
	for (unsigned i = 2; i < 8; i++)
		assert_false(pte_is_uffd_wp(entry_at(s->mm, PAGE(i))));
	must_verify(s, s->snapshot);
	check_world(s->w);
	vellum_uffd_put(s->uffd);
}

/*
 * Another process migrates a page of shared memory meanwhile. Its migration entry in the frozen VMA has the protection.
 * A migration keeps one reference per page, so the entries that this test exchanges take the mapping's count along.
 */
static pte_t begin_migration(struct snap *s, unsigned at)
{
	pte_t old = entry_at(s->mm, PAGE(at));
	struct folio *folio = pfn_folio(s->w->memory, pte_pfn(old));

	assert_true(pte_present(old) && pte_uffd_wp(old));
	set_entry_at(s->mm, PAGE(at), pte_swp_mkuffd_wp(swp_entry_pte(SWP_MIGRATION_READ, pte_pfn(old))));
	folio_get(folio);
	__atomic_fetch_sub(&folio->count, FOLIO_ONE_MAPPING, __ATOMIC_RELAXED);
	mm_add_rss(s->mm, -1);
	return old;
}

static void end_migration(struct snap *s, unsigned at, pte_t old)
{
	struct folio *folio = pfn_folio(s->w->memory, pte_pfn(old));

	if (!pte_none(entry_at(s->mm, PAGE(at)))) {
		set_entry_at(s->mm, PAGE(at), old);
		__atomic_fetch_add(&folio->count, FOLIO_ONE_MAPPING, __ATOMIC_RELAXED);
		mm_add_rss(s->mm, 1);
	}
	folio_put(s->w->memory, folio);
}

static void migration_hides_no_protection(void **state) /* T-snap-03 */
{
	static struct snap s;
	pte_t old;

	(void)state;
	snap_open(&s, &machines[0], 0);
	prepare_wp_shared(&s);
	old = begin_migration(&s, 2);
	OK(freeze_all(&s, &s.snapshot));
	end_migration(&s, 2, old);
	restore(&s);
	assert_true(pte_uffd_wp(entry_at(s.mm, PAGE(2))));
	wp(s.uffd, 0, 1);
	old = begin_migration(&s, 0);
	restore(&s);
	assert_false(pte_is_uffd_wp(entry_at(s.mm, PAGE(0))));
	end_migration(&s, 0, old);
	check_world(s.w);
	must_verify(&s, s.snapshot);
	vellum_uffd_put(s.uffd);
	snap_close(&s);
}

/* What was missing is missing again: a context without a reader lets the test see it by vellum_uffd_copy(). */
static void prepare_missing(struct snap *s)
{
	map_at(s->mm, 0, 16, RW, ANON);
	store_range(s, 0, 4, 1);
	s->uffd = new_uffd(s->mm, 0);
	OK(vellum_uffd_register(s->uffd, PAGE(0), BYTES(16), VELLUM_UFFD_MISSING, NULL));
}

static void run_missing(struct snap *s)
{
	static const char page[PAGE_SIZE] = { 1, 2, 3 };
	int64_t done;

	for (unsigned i = 4; i < 12; i++)
		OK(i % 2 ? vellum_uffd_copy(s->uffd, PAGE(i), 0, page, PAGE_SIZE, 0, &done) :
			   vellum_uffd_zeropage(s->uffd, PAGE(i), PAGE_SIZE, 0, &done));
	store_range(s, 2, 8, 3);
	if (s->round)
		OK(vellum_uffd_poison(s->uffd, PAGE(14), PAGE_SIZE, 0, &done));
	if (s->round == 2)
		dontneed(s->mm, 0, 2);
}

static void check_missing(struct snap *s)
{
	for (unsigned i = 4; i < 16; i++)
		assert_true(pte_none(entry_at(s->mm, PAGE(i))));
	end_uffd(s);
}

/* --- soft-dirty --- */

static void prepare_soft_dirty(struct snap *s)
{
	prepare_private(s);
	clear_soft_dirty(s->mm);
	store_range(s, 0, 4, 7);
	store_range(s, 16, 1, 7);
	pageout(s->mm, 2, 1);
	pageout(s->mm, 6, 1);
}

static void run_soft_dirty(struct snap *s)
{
	store_range(s, 2, 8, 8);
	store_range(s, 17, 8, 8);
}

static void run_clear(struct snap *s)
{
	if (s->round)
		store_range(s, 2, 8, 8);
	clear_soft_dirty(s->mm);
	if (s->round == 2)
		store_range(s, 4, 2, 8);
}

/* The new memory makes all of the VMA soft-dirty, so stores set no bits. */
static void run_merge(struct snap *s)
{
	map_at(s->mm, 32, 8, RW, ANON);
	store_range(s, 4, 4, 8);
	store_range(s, 20, 14, 8);
}

static void run_clear_only(struct snap *s)
{
	OK(vellum_clear_refs(s->mm, 1));
	clear_soft_dirty(s->mm);
	reclaim_all(s->w);
}

/* The zero page's entry is soft-dirty: mremap() moved it. */
static void prepare_moved_zeros(struct snap *s)
{
	prepare_private(s);
	clear_soft_dirty(s->mm);
	move(s, 16, 4, 40, 0);
	map_at(s->mm, 44, 4, RW, ANON);
	vma_at(s->mm, PAGE(40))->flags &= ~VM_SOFTDIRTY;
	assert_true(pte_soft_dirty(entry_at(s->mm, PAGE(40))));
}

static void run_moved_zeros(struct snap *s)
{
	dontneed(s->mm, 40, 2);
	store_range(s, 42, 1, 5);
}

/* mremap() sets soft-dirty in entries of the file's own pages, too. */
static void prepare_moved_file(struct snap *s)
{
	file_create(&s->file, s->w, 16);
	map_private(s->mm, 0, 16, &s->file, 0);
	load_range(s, 0, 16);
	store_range(s, 0, 2, 1);
	move(s, 0, 8, 32, 0);
	clear_soft_dirty(s->mm);
	move(s, 32, 8, 48, 0);
	map_at(s->mm, 56, 8, RW, ANON);
	load_range(s, 56, 8);
	vma_at(s->mm, PAGE(48))->flags &= ~VM_SOFTDIRTY;
	assert_true(pte_soft_dirty(entry_at(s->mm, PAGE(52))));
}

static void run_moved_file(struct snap *s)
{
	store_range(s, 50, 6, 4);
	load_range(s, 8, 4);
	if (s->round)
		clear_soft_dirty(s->mm);
}

/* --- trackers --- */

static void track_with(struct snap *s, enum vellum_track_method method)
{
	prepare_private(s);
	OK(vellum_track_mm(s->mm, PAGE(0), PAGE(64), method, &s->tracker));
	collect(s->tracker, PAGE(0) >> PAGE_SHIFT);
}

static void prepare_track_wp(struct snap *s)
{
	track_with(s, VELLUM_TRACK_WP);
}

static void prepare_track_clean(struct snap *s)
{
	track_with(s, VELLUM_TRACK_CLEAN);
}

static void prepare_track_auto(struct snap *s)
{
	track_with(s, VELLUM_TRACK_AUTO);
}

/* A collection takes D. The restore has to find the page nevertheless, and the tracker hears of its restored bytes. */
static void run_tracked(struct snap *s)
{
	uint64_t mask;

	collect(s->tracker, PAGE(0) >> PAGE_SHIFT);
	store_range(s, 2, 3, 8);
	store_range(s, 20, 2, 8);
	if (s->round != 1)
		assert_int_equal(collect(s->tracker, PAGE(0) >> PAGE_SHIFT) & 0x30001c, 0x30001c);
	if (s->round == 2)
		store(s->cpu, PAGE(3), 1);
	restore(s);
	mask = collect(s->tracker, PAGE(0) >> PAGE_SHIFT);
	assert_int_equal(mask & 0x30001c, 0x30001c);
	restore(s);
	assert_int_equal(collect(s->tracker, PAGE(0) >> PAGE_SHIFT), 0);
	store(s->cpu, PAGE(4), 8);
	assert_int_equal(collect(s->tracker, PAGE(0) >> PAGE_SHIFT), 1 << 4);
}

static void run_tracked_unmap(struct snap *s)
{
	collect(s->tracker, PAGE(0) >> PAGE_SHIFT);
	unmap(s->mm, 0, 4);
	dontneed(s->mm, 4, 2);
	collect(s->tracker, PAGE(0) >> PAGE_SHIFT);
	restore(s);
	assert_int_equal(collect(s->tracker, PAGE(0) >> PAGE_SHIFT) & 0x3f, 0x3f);
}

static void end_tracked(struct snap *s)
{
	vellum_tracker_destroy(s->tracker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_WITH("T-snap-03 stores to protected pages", prepare_wp, run_wp_stores, end_uffd, 0),
		SCENE_WITH("T-snap-03 stores to protected pages and markers", prepare_wp_unpopulated, run_wp_stores, end_uffd, 0),
		SCENE_WITH("T-snap-03 stores to protected shared memory", prepare_wp_shared, run_wp_stores, end_uffd, SCENE_AGAIN),
		SCENE_WITH("T-snap-03 protected and unprotected", prepare_wp, run_wp_changes, end_uffd, 0),
		SCENE_WITH("T-snap-03 the same with markers", prepare_wp_unpopulated, run_wp_changes, end_uffd, 0),
		SCENE_WITH("T-snap-03 the same in shared memory", prepare_wp_shared, run_wp_changes, end_uffd, SCENE_AGAIN),
		SCENE_WITH("T-snap-03 protected pages swapped out", prepare_wp, run_wp_swapped, end_uffd, 0),
		SCENE_WITH("T-snap-03 the same in shared memory", prepare_wp_shared, run_wp_swapped, end_uffd, SCENE_AGAIN),
		SCENE_WITH("T-snap-03 unregistered", prepare_wp_unpopulated, run_unregister, end_uffd, 0),
		SCENE_WITH("T-snap-03 unregistered shared memory", prepare_wp_shared, run_unregister, end_uffd, SCENE_AGAIN),
		SCENE_WITH("T-snap-03 the context is closed", prepare_wp_unpopulated, run_wp_stores, end_closed, 0),
		SCENE_WITH("T-snap-03 the context of shared memory is closed", prepare_wp_shared, run_wp_stores, end_closed,
			   SCENE_AGAIN),
		SCENE_WITH("T-snap-03 the context of pages that are out is closed", prepare_wp_out, run_wp_swapped, end_closed_out,
			   SCENE_AGAIN),
		cmocka_unit_test(migration_hides_no_protection),
		SCENE_WITH("T-snap-03 missing pages are missing again", prepare_missing, run_missing, check_missing, 0),
		SCENE_WITH("T-snap-03 pages are moved", prepare_move, run_uffd_move, end_uffd, 0),
		SCENE("T-snap-04 soft-dirty bits", prepare_soft_dirty, run_soft_dirty),
		SCENE("T-snap-04 soft-dirty bits are cleared", prepare_soft_dirty, run_clear),
		SCENE("T-snap-04 soft-dirty bits are cleared for the first time", prepare_private, run_clear),
		SCENE("T-snap-04 soft-dirty bits of moved entries", prepare_moved_file, run_moved_file),
		SCENE("T-snap-04 soft-dirty zeros", prepare_moved_zeros, run_moved_zeros),
		SCENE("T-snap-04 new memory beside", prepare_soft_dirty, run_merge),
		SCENE("T-snap-04 clear_refs alone", prepare_soft_dirty, run_clear_only),
		SCENE_WITH("T-snap-05 a tracker by write protection", prepare_track_wp, run_tracked, end_tracked, 0),
		SCENE_WITH("T-snap-05 a tracker by cleaning", prepare_track_clean, run_tracked, end_tracked, 0),
		SCENE_WITH("T-snap-05 a tracker by both", prepare_track_auto, run_tracked, end_tracked, 0),
		SCENE_WITH("T-snap-05 a tracker hears of unmapped pages", prepare_track_wp, run_tracked_unmap, end_tracked, 0),
		SCENE_WITH("T-snap-05 the same by cleaning", prepare_track_clean, run_tracked_unmap, end_tracked, 0),
	};

	return cmocka_run_group_tests_name("snap_marks", tests, NULL, NULL);
}
