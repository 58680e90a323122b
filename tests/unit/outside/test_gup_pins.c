/* SPDX-License-Identifier: MIT */
/* Pinned pages: what happens to their mappings, and unpinning. */
#include "gup_support.h"
#include "vellum/device.h"
#include "vellum/pagemap.h"
#include "vellum/uffd.h"

/* --- a pin for reading of a shared private page --- */

static void T_gup_05_unshare(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t pfn, theirs;
	pte_t pte;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	child = fork_on(w->mm, w->cpu[1]);
	theirs = pte_pfn(entry_at(w->mm, PAGE(0)));
	assert_true(pte_soft_dirty(entry_at(child, PAGE(0))));
	assert_int_equal(try_gup(w, child, PAGE(0), PIN | FAST), -EAGAIN);
	pfn = pin(child, PAGE(0), 0);
	check_world(w);
	pte = entry_at(child, PAGE(0));
	assert_int_not_equal(pfn, theirs);
	assert_int_equal(pte_pfn(pte), pfn);
	assert_true(!pte_write(pte) && !pte_dirty(pte) && pte_young(pte) && pte_soft_dirty(pte));
	assert_true(is_own_page(w, pfn));
	/* The parent's stores do not reach the pinned frame. The child's do, without a copy. */
	store(w->cpu[0], PAGE(0), 2);
	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(0))), theirs);
	assert_int_equal(frame_words(w, pfn)[0], 1);
	store(w->cpu[1], PAGE(0), 3);
	assert_int_equal(frame_words(w, pfn)[0], 3);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 2);
	unpin(w, pfn);
	check_world(w);
	end_child(child, w->cpu[1]);
}

/* The copy keeps uffd-wp, and does not become soft-dirty. */
static void T_gup_05_unshare_keeps_bits(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	struct vellum_uffd *uffd;
	uint64_t mask, pfn, theirs;
	pte_t pte;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	OK(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
	OK(vellum_uffd_create(w->mm, 0, &uffd));
	OK(vellum_uffd_api(uffd, VELLUM_UFFD_API, 0, &mask, &mask));
	OK(vellum_uffd_register(uffd, PAGE(0), BYTES(1), VELLUM_UFFD_WP, &mask));
	OK(vellum_uffd_writeprotect(uffd, PAGE(0), BYTES(1), VELLUM_UFFD_WRITEPROTECT_WP));
	child = fork_on(w->mm, w->cpu[1]);
	theirs = pte_pfn(entry_at(child, PAGE(0)));
	pfn = pin(w->mm, PAGE(0), LONGTERM);
	check_world(w);
	pte = entry_at(w->mm, PAGE(0));
	assert_int_not_equal(pfn, theirs);
	assert_true(pte_uffd_wp(pte) && !pte_write(pte) && !pte_dirty(pte) && !pte_soft_dirty(pte));
	assert_true(is_own_page(w, pfn));
	assert_int_equal(load(w->cpu[1], PAGE(0)), 1);
	unpin(w, pfn);
	end_child(child, w->cpu[1]);
	vellum_uffd_put(uffd);
}

/* The last process with the page becomes its sole owner: no copy, and the entry stays. */
static void unshare_by_the_last_owner_does_not_copy(void **state)
{
	struct world *w = *state;
	uint64_t pfn;
	pte_t pte;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	end_child(fork_on(w->mm, w->cpu[1]), w->cpu[1]);
	pte = entry_at(w->mm, PAGE(0));
	assert_false(is_own_page(w, pte_pfn(pte)));
	pfn = pin(w->mm, PAGE(0), 0);
	assert_int_equal(pfn, pte_pfn(pte));
	assert_int_equal(entry_at(w->mm, PAGE(0)).val, pte.val);
	assert_true(is_own_page(w, pfn));
	unpin(w, pfn);
	check_world(w);
}

/* A file's page in a private VMA: a long-term pin gets a copy, as the process's first store would leave the frame. */
static void longterm_read_of_a_private_file_copies(void **state)
{
	struct world *w = *state;
	uint64_t pfn, shared;
	struct file f;

	file_create(&f, w, 1);
	map_private(w->mm, 0, 1, &f, 0);
	load(w->cpu[0], PAGE(0));
	shared = pte_pfn(entry_at(w->mm, PAGE(0)));
	pfn = pin(w->mm, PAGE(0), 0);
	assert_int_equal(pfn, shared);
	unpin(w, pfn);
	assert_int_equal(try_gup(w, w->mm, PAGE(0), PIN | LONGTERM | FAST), -EAGAIN);
	pfn = pin(w->mm, PAGE(0), LONGTERM);
	assert_int_not_equal(pfn, shared);
	assert_true(is_own_page(w, pfn) && !has_w(w->mm, PAGE(0)) && !has_d(w->mm, PAGE(0)));
	store(w->cpu[0], PAGE(0), 8);
	assert_int_equal(frame_words(w, pfn)[0], 8);
	unpin(w, pfn);
	check_world(w);
	unmap(w->mm, 0, 1);
	file_destroy(&f);
}

/* --- a fast pin while a fork is in progress; without threads --- */

static void T_gup_06_fast_during_fork(void **state)
{
	struct world *w = *state;
	uint64_t pfn[2];

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	group_enter_first(&w->memory->frame_refs, mm_host(w->mm));
	assert_int_equal(gup_one(w->mm, PAGE(0), WRITE | PIN | FAST, pfn), -EAGAIN);
	assert_int_equal(gup_one(w->mm, PAGE(0), WRITE | FAST, pfn), -EAGAIN);
	OK(gup_one(w->mm, PAGE(0), WRITE, pfn));
	OK(gup_one(w->mm, PAGE(0), WRITE | PIN, pfn + 1));
	group_leave_first(&w->memory->frame_refs, mm_host(w->mm));
	give_one(w->memory, 0, pfn[0]);
	give_one(w->memory, PIN, pfn[1]);
	check_world(w);
	OK(try_gup(w, w->mm, PAGE(0), WRITE | PIN | FAST));
}

/* --- unpinning --- */

static void T_gup_08_unpin_dirty(void **state)
{
	struct world *w = *state;
	uint64_t pfn, written;
	struct file f;

	file_create(&f, w, 1);
	map_shared(w->mm, 0, 1, &f, 0);
	pfn = pin(w->mm, PAGE(0), WRITE);
	OK(vellum_mapping_writeback(f.mapping, 0, 1, &written));
	assert_int_equal(nr_dirty(&f), 0);
	assert_false(has_w(w->mm, PAGE(0)));
	frame_words(w, pfn)[0] = 1234;
	unpin_dirty(w, pfn);
	assert_int_equal(nr_dirty(&f), 1);
	OK(vellum_mapping_writeback(f.mapping, 0, 1, &written));
	assert_int_equal(written, 1);
	assert_int_equal(file_word(&f, 0), 1234);
	check_world(w);
	/* A page that is dirty already. */
	store(w->cpu[0], PAGE(0), 5);
	pfn = pin(w->mm, PAGE(0), WRITE);
	unpin_dirty(w, pfn);
	assert_int_equal(vellum_page_maybe_pinned(w->memory, pfn), 0);
	OK(vellum_mapping_sync(f.mapping, 0, 1));
	assert_int_equal(file_word(&f, 0), 5);
	/* A pin for reading leaves the page clean. */
	pfn = pin(w->mm, PAGE(0), 0);
	unpin(w, pfn);
	assert_int_equal(nr_dirty(&f), 0);
	unmap(w->mm, 0, 1);
	file_destroy(&f);
}

/* A pin for writing makes the page dirty at once. */
static void pin_for_writing_makes_dirty(void **state)
{
	struct world *w = *state;
	uint64_t pfn;

	map_at(w->mm, 0, 1, RW, SHANON);
	load(w->cpu[0], PAGE(0));
	assert_true(has_w(w->mm, PAGE(0)) && !has_d(w->mm, PAGE(0)));
	pfn = pin(w->mm, PAGE(0), WRITE | FORCE);
	assert_true(is_dirty_page(w, pfn) || has_d(w->mm, PAGE(0)));
	unpin(w, pfn);
}

/* --- trackers report stores to pinned frames --- */

static void trackers_report_unpin_dirty(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *of_mm, *of_object;
	struct vellum_mapping *shm;
	uint64_t pfn[2];

	OK(vellum_mapping_create(w->memory, NULL, NULL, 4, 0, &shm));
	map_at(w->mm, 0, 4, RW, ANON);
	map_object(w->mm, 8, 4, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	store(w->cpu[0], PAGE(1), 1);
	store(w->cpu[0], PAGE(10), 1);
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(16), VELLUM_TRACK_WP, &of_mm));
	OK(vellum_track_mapping(shm, 0, 4, VELLUM_TRACK_CLEAN, &of_object));
	pfn[0] = pin(w->mm, PAGE(1), WRITE);
	pfn[1] = pin(w->mm, PAGE(10), WRITE);
	collect(of_mm, PAGE(0) >> 12);
	collect(of_object, 0);
	frame_words(w, pfn[0])[0] = 2;
	frame_words(w, pfn[1])[0] = 2;
	vellum_unpin_pages_dirty(w->memory, pfn, 2);
	assert_int_equal(collect(of_mm, PAGE(0) >> 12), 1 << 1 | 1 << 10);
	assert_int_equal(collect(of_object, 0), 1 << 2);
	assert_int_equal(collect(of_mm, PAGE(0) >> 12), 0);
	check_world(w);
	vellum_tracker_destroy(of_mm);
	vellum_tracker_destroy(of_object);
	unmap(w->mm, 0, 16);
	vellum_mapping_put(shm);
}

/* The copy for a pin is clean. Trackers report the stores to the old page. */
static void trackers_report_the_page_that_was_unshared(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;
	struct vellum_mm *child;
	uint64_t pfn;

	map_at(w->mm, 0, 1, RW, ANON);
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(1), VELLUM_TRACK_CLEAN, &t));
	store(w->cpu[0], PAGE(0), 1);
	child = fork_on(w->mm, w->cpu[1]);
	pfn = pin(w->mm, PAGE(0), 0);
	assert_false(has_d(w->mm, PAGE(0)));
	assert_int_equal(collect(t, PAGE(0) >> 12), 1);
	unpin(w, pfn);
	end_child(child, w->cpu[1]);
	vellum_tracker_destroy(t);
}

/* --- fork --- */

static void T_fork_06_pinned(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t pfn;
	pte_t pte;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(1), 1);
	pfn = pin(w->mm, PAGE(0), WRITE);
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	assert_true(has_w(w->mm, PAGE(0)) && is_own_page(w, pfn));
	assert_false(has_w(w->mm, PAGE(1)));
	pte = entry_at(child, PAGE(0));
	assert_int_not_equal(pte_pfn(pte), pfn);
	assert_true(pte_write(pte) && pte_dirty(pte) && pte_young(pte) && pte_soft_dirty(pte));
	assert_true(is_own_page(w, pte_pfn(pte)));
	assert_int_equal(pte_pfn(entry_at(child, PAGE(1))), pte_pfn(entry_at(w->mm, PAGE(1))));
	store(w->cpu[0], PAGE(0), 7);
	assert_int_equal(frame_words(w, pfn)[0], 7);
	assert_int_equal(load(w->cpu[1], PAGE(0)), 1);
	unpin(w, pfn);
	end_child(child, w->cpu[1]);
}

/* Read-only during the fork: the child's copy has no W either. A plain reference does not cause a copy. */
static void T_fork_06_read_only_and_references(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t pfn, ref;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(1), 1);
	protect(w->mm, 0, 2, RO);
	pfn = pin(w->mm, PAGE(0), 0);
	OK(gup_one(w->mm, PAGE(1), 0, &ref));
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	assert_int_not_equal(pte_pfn(entry_at(child, PAGE(0))), pfn);
	assert_false(has_w(child, PAGE(0)));
	assert_int_equal(pte_pfn(entry_at(child, PAGE(1))), ref);
	protect(w->mm, 0, 1, RW);
	store(w->cpu[0], PAGE(0), 3);
	assert_int_equal(frame_words(w, pfn)[0], 3);
	assert_int_equal(load(w->cpu[1], PAGE(0)), 1);
	unpin(w, pfn);
	give_one(w->memory, 0, ref);
	end_child(child, w->cpu[1]);
}

/* No frame for the child's copy: fork fails, and the parent is unchanged. */
static void T_fork_06_no_memory(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t *hoard = calloc(w->memory->nr_frames, 8), n = 0, pfn;
	unsigned nr[2] = { 0, 0 };
	int err;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	pfn = pin(w->mm, PAGE(0), WRITE);
	while (!vellum_memory_alloc_device(w->memory, 1, &hoard[n]))
		n++;
	for (unsigned give = 0; give < 8; give++) {
		for (unsigned i = 0; i < give; i++)
			vellum_memory_free_device(w->memory, hoard[--n], 1);
		err = vellum_fork(w->mm, &child);
		if (err)
			assert_int_equal(err, -ENOMEM);
		else
			vellum_mm_put(child);
		nr[!err]++;
		check_world(w);
		assert_true(is_own_page(w, pfn));
		store(w->cpu[0], PAGE(0), give);
		assert_int_equal(frame_words(w, pfn)[0], give);
	}
	assert_true(nr[0] && nr[1]);
	while (n)
		vellum_memory_free_device(w->memory, hoard[--n], 1);
	unpin(w, pfn);
	free(hoard);
}

/* --- operations on pinned pages --- */

static void pinned_frame_outlives_truncation(void **state)
{
	struct world *w = *state;
	uint64_t pfn, other;
	struct file f;

	file_create(&f, w, 2);
	map_shared(w->mm, 0, 2, &f, 0);
	pfn = pin(w->mm, PAGE(1), WRITE);
	OK(vellum_mapping_set_size(f.mapping, PAGE_SIZE));
	check_world(w);
	assert_int_equal(try_load(w->cpu[0], PAGE(1)), VELLUM_FAULT_SIGBUS);
	frame_words(w, pfn)[0] = 42;	/* the bytes of no page, but the frame is not reused either */
	OK(vellum_mapping_set_size(f.mapping, 2 * PAGE_SIZE));
	load(w->cpu[0], PAGE(1));
	other = pte_pfn(entry_at(w->mm, PAGE(1)));
	assert_int_not_equal(other, pfn);
	assert_int_not_equal(load(w->cpu[0], PAGE(1)), 42);
	unpin_dirty(w, pfn);
	check_world(w);
	assert_int_equal(nr_dirty(&f), 0);
	unmap(w->mm, 0, 2);
	file_destroy(&f);
}

static void pinned_frame_outlives_munmap(void **state)
{
	struct world *w = *state;
	uint64_t pfn, before = free_frames(w);

	map_at(w->mm, 0, 1, RW, ANON);
	pfn = pin(w->mm, PAGE(0), WRITE);
	unmap(w->mm, 0, 1);
	check_world(w);
	map_at(w->mm, 0, 64, RW, ANON);
	for (unsigned i = 0; i < 64; i++) {
		store(w->cpu[0], PAGE(i), 1);
		assert_int_not_equal(pte_pfn(entry_at(w->mm, PAGE(i))), pfn);
	}
	unmap(w->mm, 0, 64);
	assert_true(free_frames(w) < before);
	unpin_dirty(w, pfn);
	check_world(w);
	assert_true(free_frames(w) >= before - 1);	/* a table may stay */
}

/* A pinned page is neither swapped out nor dropped nor migrated. Other pages are. */
static void pinned_page_is_not_reclaimed(void **state)
{
	struct world *w = *state;
	struct ram_swap swap;
	uint64_t pfn[3];
	struct file f;

	ram_swap_start(w, &swap, 64);
	file_create(&f, w, 2);
	map_at(w->mm, 0, 2, RW, ANON);
	map_at(w->mm, 4, 1, RW, SHANON);
	map_shared(w->mm, 8, 2, &f, 0);
	for (unsigned i = 0; i < 2; i++) {
		store(w->cpu[0], PAGE(i), i + 1);
		load(w->cpu[0], PAGE(8 + i));
	}
	pfn[0] = pin(w->mm, PAGE(0), WRITE);
	pfn[1] = pin(w->mm, PAGE(4), WRITE);
	pfn[2] = pin(w->mm, PAGE(8), 0);
	for (unsigned i = 0; i < 4; i++) {
		vellum_reclaim(w->memory, 1000);
		check_world(w);
	}
	assert_int_equal(vellum_madvise(w->mm, PAGE(0), BYTES(2), VELLUM_MADV_PAGEOUT), 0);
	check_world(w);
	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(0))), pfn[0]);
	assert_true(pte_present(entry_at(w->mm, PAGE(0))) && is_own_page(w, pfn[0]));
	assert_true(pte_is_genuine_swap(entry_at(w->mm, PAGE(1))));
	assert_int_equal(vellum_migrate_page(w->mm, PAGE(0)), -EBUSY);
	check_world(w);
	store(w->cpu[0], PAGE(0), 11);
	store(w->cpu[0], PAGE(4), 12);
	load(w->cpu[0], PAGE(8));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(4 * i))), pfn[i]);
	assert_int_equal(frame_words(w, pfn[0])[0], 11);
	assert_int_equal(frame_words(w, pfn[1])[0], 12);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 2);
	vellum_unpin_pages(w->memory, pfn, 3);
	check_world(w);
	OK(vellum_migrate_page(w->mm, PAGE(0)));
	assert_int_equal(load(w->cpu[0], PAGE(0)), 11);
	unmap(w->mm, 0, 16);
	file_destroy(&f);
	ram_swap_stop(w, &swap);
}

/* After mprotect, the pin stays, and the page still belongs to the process. */
static void mprotect_keeps_the_pinned_page(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t pfn;

	map_at(w->mm, 0, 1, RW, ANON);
	pfn = pin(w->mm, PAGE(0), WRITE);
	protect(w->mm, 0, 1, RO);
	check_world(w);
	frame_words(w, pfn)[0] = 5;
	assert_int_equal(load(w->cpu[0], PAGE(0)), 5);
	child = fork_on(w->mm, w->cpu[1]);	/* read-only, and still pinned */
	assert_int_not_equal(pte_pfn(entry_at(child, PAGE(0))), pfn);
	protect(w->mm, 0, 1, VELLUM_PROT_NONE);
	check_world(w);
	protect(w->mm, 0, 1, RW);
	store(w->cpu[0], PAGE(0), 6);
	assert_int_equal(frame_words(w, pfn)[0], 6);
	assert_int_equal(load(w->cpu[1], PAGE(0)), 5);
	unpin_dirty(w, pfn);
	check_world(w);
	end_child(child, w->cpu[1]);
}

/* MADV_FREE of a pinned page loses no store to the frame. */
static void pinned_page_is_not_lazily_freed(void **state)
{
	struct world *w = *state;
	struct ram_swap swap;
	uint64_t pfn;

	ram_swap_start(w, &swap, 64);
	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	pfn = pin(w->mm, PAGE(0), WRITE);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(1), VELLUM_MADV_FREE));
	frame_words(w, pfn)[0] = 9;
	vellum_reclaim(w->memory, 1000);
	check_world(w);
	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(0))), pfn);
	unpin_dirty(w, pfn);
	vellum_reclaim(w->memory, 1000);
	vellum_reclaim(w->memory, 1000);
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 9);
	unmap(w->mm, 0, 1);
	ram_swap_stop(w, &swap);
}

/* Several pins of a page are counted. */
static void pins_are_counted(void **state)
{
	struct world *w = *state;
	uint64_t pfn = 0;

	map_at(w->mm, 0, 1, RW, ANON);
	for (unsigned i = 0; i < 100; i++)
		pfn = pin(w->mm, PAGE(0), WRITE);
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(vellum_page_maybe_pinned(w->memory, pfn), 1);
		unpin(w, pfn);
	}
	assert_int_equal(vellum_page_maybe_pinned(w->memory, pfn), 0);
	check_world(w);
}

/* --- lookups of raw frames --- */

static void follow_pfnmap_returns_frame_and_rights(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *dev = new_pfn_object(w, c, 2);
	struct vellum_follow_pfnmap look;

	map_object(w->mm, 0, 2, RW, VELLUM_MAP_SHARED, dev, 0, RW);
	map_at(w->mm, 4, 1, RW, ANON);
	store(w->cpu[0], PAGE(4), 1);
	assert_int_equal(vellum_follow_pfnmap_start(w->mm, PAGE(4), &look), -EINVAL);
	assert_int_equal(vellum_follow_pfnmap_start(w->mm, PAGE(0), &look), -EINVAL);
	assert_int_equal(vellum_follow_pfnmap_start(w->mm, PAGE(8), &look), -EINVAL);
	assert_int_equal(vellum_follow_pfnmap_start(w->mm, ~0ull << 12, &look), -EINVAL);
	load(w->cpu[0], PAGE(0));
	store(w->cpu[0], PAGE(1), 1);
	for (unsigned i = 0; i < 2; i++) {
		OK(vellum_follow_pfnmap_start(w->mm, PAGE(i) + 24, &look));
		assert_int_equal(look.pfn, c->first_pfn + i);
		assert_int_equal(look.writable, i);
		assert_true(look.special);
		vellum_follow_pfnmap_end(&look);
	}
	check_world(w);
	unmap(w->mm, 0, 2);
	assert_int_equal(vellum_follow_pfnmap_start(w->mm, PAGE(0), &look), -EINVAL);
	vellum_mapping_put(dev);
	vellum_memory_free_device(w->memory, c->first_pfn, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(T_gup_05_unshare),
		WORLD_TEST(T_gup_05_unshare_keeps_bits),
		WORLD_TEST(unshare_by_the_last_owner_does_not_copy),
		WORLD_TEST(longterm_read_of_a_private_file_copies),
		WORLD_TEST(T_gup_06_fast_during_fork),
		WORLD_TEST(T_gup_08_unpin_dirty),
		WORLD_TEST(pin_for_writing_makes_dirty),
		WORLD_TEST(trackers_report_unpin_dirty),
		WORLD_TEST(trackers_report_the_page_that_was_unshared),
		WORLD_TEST(T_fork_06_pinned),
		WORLD_TEST(T_fork_06_read_only_and_references),
		WORLD_TEST(T_fork_06_no_memory),
		WORLD_TEST(pinned_frame_outlives_truncation),
		WORLD_TEST(pinned_frame_outlives_munmap),
		WORLD_TEST(pinned_page_is_not_reclaimed),
		WORLD_TEST(mprotect_keeps_the_pinned_page),
		WORLD_TEST(pinned_page_is_not_lazily_freed),
		WORLD_TEST(pins_are_counted),
		WORLD_TEST(follow_pfnmap_returns_frame_and_rights),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
