/* SPDX-License-Identifier: MIT */
/* Soft-dirty: a page that was stored to since the last clearing is reported. */
#include "gup_support.h"
#include "vellum/pagemap.h"
#include "vellum/uffd.h"

static void clear(struct world *w)
{
	OK(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
	check_world(w);
}

static bool soft_dirty(struct vellum_mm *mm, unsigned page)
{
	uint64_t word;

	OK(vellum_pagemap_read(mm, PAGE(page), 1, 0, &word));
	return word & VELLUM_PM_SOFT_DIRTY;
}

/* Soft-dirty bits of the pages [first, first + 64). */
static uint64_t soft_bits(struct vellum_mm *mm, unsigned first)
{
	uint64_t word[64], mask = 0;

	OK(vellum_pagemap_read(mm, PAGE(first), 64, 0, word));
	for (unsigned i = 0; i < 64; i++)
		mask |= (uint64_t)!!(word[i] & VELLUM_PM_SOFT_DIRTY) << i;
	return mask;
}

static void move_to(struct vellum_mm *mm, unsigned from, unsigned pages, unsigned to)
{
	uint64_t addr = PAGE(to);

	OK(vellum_mremap(mm, PAGE(from), BYTES(pages), BYTES(pages),
			 VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &addr));
}

static void clear_refs_errors(void **state)
{
	struct world *w = *state;

	assert_int_equal(vellum_clear_refs(w->mm, 0), -EINVAL);
	assert_int_equal(vellum_clear_refs(w->mm, 6), -EINVAL);
	assert_int_equal(vellum_clear_refs(w->mm, -1), -EINVAL);
}

/* Clearing 1, 2 and 3: removes A from all pages, private pages, or pages of files. Soft-dirty and D stay. */
static void accessed_bits(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *shm;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 1, 0, &shm));
	map_at(w->mm, 0, 1, RW, ANON);
	map_object(w->mm, 4, 1, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	for (int what = VELLUM_CLEAR_REFS_ALL; what <= VELLUM_CLEAR_REFS_MAPPED; what++) {
		for (unsigned i = 0; i < 8; i += 4) {
			vellum_soft_load_mm(w->cpu[0], NULL);
			vellum_soft_load_mm(w->cpu[0], w->mm);
			store(w->cpu[0], PAGE(i), 1);
			assert_true(pte_young(entry_at(w->mm, PAGE(i))));
		}
		OK(vellum_clear_refs(w->mm, what));
		check_world(w);
		assert_int_equal(pte_young(entry_at(w->mm, PAGE(0))), what == VELLUM_CLEAR_REFS_MAPPED);
		assert_int_equal(pte_young(entry_at(w->mm, PAGE(4))), what == VELLUM_CLEAR_REFS_ANON);
		assert_true(has_d(w->mm, PAGE(0)) && has_w(w->mm, PAGE(0)) && has_d(w->mm, PAGE(4)));
	}
	unmap(w->mm, 4, 1);
	vellum_mapping_put(shm);
}

static void only_stores_set_the_bit(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 32, RW, ANON);
	map_at(w->mm, 32, 32, RW, SHANON);
	for (unsigned i = 0; i < 64; i += 2)
		store(w->cpu[0], PAGE(i), i + 1);
	assert_int_equal(soft_bits(w->mm, 0), ~0ull);	/* a new VMA is soft-dirty as a whole */
	clear(w);
	assert_int_equal(soft_bits(w->mm, 0), 0);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i % 2 ? 0 : i + 1);
	assert_int_equal(soft_bits(w->mm, 0), 0);
	store(w->cpu[0], PAGE(2), 1);
	store(w->cpu[0], PAGE(3), 1);
	store(w->cpu[0], PAGE(40), 1);
	store(w->cpu[0], PAGE(41), 1);
	check_world(w);
	assert_int_equal(soft_bits(w->mm, 0), 12ull | 3ull << 40);
	clear(w);
	store(w->cpu[0], PAGE(40), 1);
	assert_int_equal(soft_bits(w->mm, 0), 1ull << 40);
}

/* Another CPU has a translation with W when the bits are cleared. */
static void clearing_flushes_translations(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 2, RW, ANON);
	vellum_soft_load_mm(w->cpu[1], w->mm);
	store(w->cpu[1], PAGE(0), 1);
	clear(w);
	store(w->cpu[1], PAGE(0), 2);
	assert_true(soft_dirty(w->mm, 0));
	vellum_soft_load_mm(w->cpu[1], NULL);
}

static void clearing_keeps_d(void **state)
{
	struct world *w = *state;
	struct file f;

	file_create(&f, w, 2);
	map_shared(w->mm, 0, 2, &f, 0);
	store(w->cpu[0], PAGE(1), 44);
	clear(w);
	assert_true(has_d(w->mm, PAGE(1)) && !has_w(w->mm, PAGE(1)));
	OK(vellum_mapping_sync(f.mapping, 0, 2));
	assert_int_equal(file_word(&f, BYTES(1)), 44);
	store(w->cpu[0], PAGE(1), 45);
	assert_true(soft_dirty(w->mm, 1));
	clear(w);
	unmap(w->mm, 0, 2);
	OK(vellum_mapping_sync(f.mapping, 0, 2));
	assert_int_equal(file_word(&f, BYTES(1)), 45);
	file_destroy(&f);
}

/* Device memory is skipped. */
static void device_memory_is_skipped(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *dev = new_pfn_object(w, c, 1);

	map_object(w->mm, 0, 1, RW, VELLUM_MAP_SHARED, dev, 0, RW);
	store(w->cpu[0], PAGE(0), 1);
	clear(w);
	assert_true(has_w(w->mm, PAGE(0)) && has_d(w->mm, PAGE(0)));
	unmap(w->mm, 0, 1);
	assert_int_equal(c->dirts, 1);
	vellum_mapping_put(dev);
	vellum_memory_free_device(w->memory, c->first_pfn, 1);
}

/* --- mremap and merges --- */

static void mremap_sets_soft_dirty(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(1), 1);
	load(w->cpu[0], PAGE(2));
	clear(w);
	move_to(w->mm, 0, 4, 32);
	check_world(w);
	assert_true(soft_dirty(w->mm, 33));
	assert_true(soft_dirty(w->mm, 34));
	clear(w);
	assert_false(soft_dirty(w->mm, 33));
	store(w->cpu[0], PAGE(33), 2);
	assert_true(soft_dirty(w->mm, 33));
}

/* The range of a whole table, aligned at both addresses. */
static void mremap_of_tables_sets_soft_dirty(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 1024, RW, ANON);
	store(w->cpu[0], PAGE(5), 1);
	store(w->cpu[0], PAGE(600), 1);
	clear(w);
	move_to(w->mm, 0, 1024, 4096);
	check_world(w);
	assert_true(soft_dirty(w->mm, 4096 + 5) && soft_dirty(w->mm, 4096 + 600));
}

/* A merged VMA is soft-dirty as a whole if one of its parts was. */
static void merged_vma_is_soft_dirty_if_a_part_was(void **state)
{
	struct world *w = *state;
	unsigned n;

	map_at(w->mm, 0, 4, RW, ANON);
	clear(w);
	n = nr_vmas(w->mm);
	map_at(w->mm, 4, 4, RW, ANON);		/* mmap: the merged VMA has a new part */
	assert_int_equal(nr_vmas(w->mm), n);
	assert_int_equal(soft_bits(w->mm, 0) & 0xf0, 0xf0);
	clear(w);
	assert_int_equal(soft_bits(w->mm, 0), 0);
	map_at(w->mm, 8, 4, RO, ANON);		/* by mprotect, with the VMA above */
	assert_int_equal(soft_bits(w->mm, 0), 0xf00);
	protect(w->mm, 8, 4, RW);
	assert_int_equal(nr_vmas(w->mm), n);
	check_world(w);
	assert_int_equal(soft_bits(w->mm, 0) & 0xf00, 0xf00);
	clear(w);
	map_at(w->mm, 16, 4, RO, ANON);
	map_at(w->mm, 20, 4, RW, ANON);
	protect(w->mm, 16, 4, RW);
	clear(w);
	map_at(w->mm, 12, 4, RO, ANON);		/* with both neighbours */
	protect(w->mm, 12, 4, RW);
	assert_int_equal(nr_vmas(w->mm), n);
	check_world(w);
	assert_int_equal(soft_bits(w->mm, 0) & 0xf000, 0xf000);
}

/* If mprotect splits a VMA and merges it again, no page becomes soft-dirty, and stores are still noticed. */
static void mprotect_and_back_sets_no_bit(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 8, RW, ANON);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), 1);
	clear(w);
	protect(w->mm, 2, 2, RO);
	protect(w->mm, 2, 2, RW);
	check_world(w);
	assert_int_equal(soft_bits(w->mm, 0), 0);
	for (unsigned i = 0; i < 8; i++)
		assert_false(has_w(w->mm, PAGE(i)));
	store(w->cpu[0], PAGE(3), 2);
	assert_int_equal(soft_bits(w->mm, 0), 8);
	/* A soft-dirty page needs no write notify, so it gets W back. */
	protect(w->mm, 2, 2, RO);
	protect(w->mm, 2, 2, RW);
	assert_true(has_w(w->mm, PAGE(3)) && !has_w(w->mm, PAGE(2)));
	check_world(w);
}

/* Shared memory: after mprotect to read-only and back, a dirty page whose bit was cleared must not have W. */
static void mprotect_of_shared_memory(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 4, RW, SHANON);
	store(w->cpu[0], PAGE(0), 1);
	load(w->cpu[0], PAGE(1));
	clear(w);
	protect(w->mm, 0, 4, RO);
	protect(w->mm, 0, 4, RW);
	check_world(w);
	store(w->cpu[0], PAGE(0), 2);
	store(w->cpu[0], PAGE(1), 2);
	assert_int_equal(soft_bits(w->mm, 0), 3);
}

/* --- swap, fork, pins --- */

static void swap_keeps_the_bit(void **state)
{
	struct world *w = *state;
	struct ram_swap swap;

	ram_swap_start(w, &swap, 64);
	map_at(w->mm, 0, 4, RW, ANON);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	clear(w);
	store(w->cpu[0], PAGE(1), 9);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(4), VELLUM_MADV_PAGEOUT));
	check_world(w);
	assert_true(pte_is_genuine_swap(entry_at(w->mm, PAGE(0))) && pte_is_genuine_swap(entry_at(w->mm, PAGE(1))));
	assert_int_equal(soft_bits(w->mm, 0), 2);
	load(w->cpu[0], PAGE(0));
	load(w->cpu[0], PAGE(1));
	assert_int_equal(soft_bits(w->mm, 0), 2);
	store(w->cpu[0], PAGE(0), 5);
	store(w->cpu[0], PAGE(2), 5);		/* a store swaps in */
	assert_int_equal(soft_bits(w->mm, 0), 7);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(4), VELLUM_MADV_PAGEOUT));
	clear(w);
	assert_int_equal(soft_bits(w->mm, 0), 0);
	move_to(w->mm, 0, 4, 32);		/* swap entries move, too */
	assert_int_equal(soft_bits(w->mm, 32), 15);
	check_world(w);
	unmap(w->mm, 32, 4);
	ram_swap_stop(w, &swap);
}

static void fork_keeps_the_bit(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;

	map_at(w->mm, 0, 4, RW, ANON);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), 1);
	clear(w);
	store(w->cpu[0], PAGE(1), 2);
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	assert_int_equal(soft_bits(w->mm, 0), 2);
	assert_int_equal(soft_bits(child, 0), 2);
	store(w->cpu[1], PAGE(2), 3);
	store(w->cpu[0], PAGE(3), 3);
	assert_int_equal(soft_bits(child, 0), 6);
	assert_int_equal(soft_bits(w->mm, 0), 10);
	end_child(child, w->cpu[1]);
	store(w->cpu[0], PAGE(0), 3);		/* reused, not copied; still a store */
	assert_int_equal(soft_bits(w->mm, 0), 11);
}

static void pinned_pages_stay_soft_dirty(void **state)
{
	struct world *w = *state;
	uint64_t pfn;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(1), 1);
	pfn = pin(w->mm, PAGE(0), WRITE);
	clear(w);
	assert_int_equal(soft_bits(w->mm, 0), 1);
	assert_true(has_w(w->mm, PAGE(0)));
	unpin_dirty(w, pfn);
	clear(w);
	assert_int_equal(soft_bits(w->mm, 0), 0);
	/* A pin for writing after the clearing counts as a store. */
	pfn = pin(w->mm, PAGE(1), WRITE);
	assert_int_equal(soft_bits(w->mm, 0), 2);
	unpin(w, pfn);
}

/*
 * The page has W without the bit, as it is in a VMA that is soft-dirty as a whole. A pinned page keeps W, so
 * clearing must set its bit.
 */
static void clearing_sets_the_bit_of_a_pinned_page(void **state)
{
	struct world *w = *state;
	uint64_t pfn;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	clear(w);
	map_at(w->mm, 1, 1, RW, ANON);
	assert_int_equal(nr_vmas(w->mm), 1);
	protect(w->mm, 0, 2, RO);
	protect(w->mm, 0, 2, RW);
	assert_true(has_w(w->mm, PAGE(0)) && !pte_soft_dirty(entry_at(w->mm, PAGE(0))));
	pfn = pin(w->mm, PAGE(0), 0);
	clear(w);
	check_world(w);
	assert_int_equal(soft_bits(w->mm, 0), 1);
	unpin(w, pfn);
	clear(w);
	check_world(w);
	assert_int_equal(soft_bits(w->mm, 0), 0);
}

/* --- userfaultfd and trackers at the same time --- */

static void bits_with_uffd_wp(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *uffd;
	uint64_t mask;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 4, 4, RW, SHANON);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), 1);
	OK(vellum_uffd_create(w->mm, 0, &uffd));
	OK(vellum_uffd_api(uffd, VELLUM_UFFD_API, VELLUM_UFFD_FEATURE_WP_ASYNC | VELLUM_UFFD_FEATURE_WP_UNPOPULATED,
			   &mask, &mask));
	OK(vellum_uffd_register(uffd, PAGE(0), BYTES(8), VELLUM_UFFD_WP, &mask));
	OK(vellum_uffd_writeprotect(uffd, PAGE(0), BYTES(8), VELLUM_UFFD_WRITEPROTECT_WP));
	clear(w);
	for (unsigned i = 0; i < 8; i++)
		assert_true(pte_uffd_wp(entry_at(w->mm, PAGE(i))));
	store(w->cpu[0], PAGE(1), 2);		/* the fault resolves it */
	store(w->cpu[0], PAGE(5), 2);
	OK(vellum_uffd_writeprotect(uffd, PAGE(2), BYTES(1), 0));	/* resolved by the ioctl */
	OK(vellum_uffd_writeprotect(uffd, PAGE(6), BYTES(1), 0));
	check_world(w);
	assert_int_equal(soft_bits(w->mm, 0), 0x22);
	store(w->cpu[0], PAGE(2), 2);
	store(w->cpu[0], PAGE(6), 2);
	assert_int_equal(soft_bits(w->mm, 0), 0x66);
	/* Write-protecting a page does not clear its bit. */
	OK(vellum_uffd_writeprotect(uffd, PAGE(0), BYTES(8), VELLUM_UFFD_WRITEPROTECT_WP));
	assert_int_equal(soft_bits(w->mm, 0), 0x66);
	vellum_uffd_put(uffd);
	check_world(w);
	clear(w);
	store(w->cpu[0], PAGE(0), 3);
	assert_int_equal(soft_bits(w->mm, 0), 1);
}

static void bits_with_trackers(void **state)
{
	static const enum vellum_track_method methods[] = { VELLUM_TRACK_CLEAN, VELLUM_TRACK_WP };
	struct world *w = *state;
	struct vellum_tracker *t;

	map_at(w->mm, 0, 8, RW, ANON);
	map_at(w->mm, 8, 8, RW, SHANON);
	for (unsigned i = 0; i < 16; i++)
		store(w->cpu[0], PAGE(i), 1);
	for (unsigned m = 0; m < ARRAY_SIZE(methods); m++) {
		OK(vellum_track_mm(w->mm, PAGE(0), PAGE(16), methods[m], &t));
		store(w->cpu[0], PAGE(1), 2);
		store(w->cpu[0], PAGE(9), 2);
		clear(w);				/* the tracker still reports its pages */
		assert_int_equal(collect(t, PAGE(0) >> 12), 0x202);
		assert_int_equal(soft_bits(w->mm, 0), 0);
		store(w->cpu[0], PAGE(2), 2);
		store(w->cpu[0], PAGE(10), 2);
		assert_int_equal(collect(t, PAGE(0) >> 12), 0x404);	/* collecting clears no bit */
		assert_int_equal(soft_bits(w->mm, 0), 0x404);
		clear(w);
		store(w->cpu[0], PAGE(2), 3);
		store(w->cpu[0], PAGE(10), 3);
		assert_int_equal(soft_bits(w->mm, 0), 0x404);
		assert_int_equal(collect(t, PAGE(0) >> 12), 0x404);
		vellum_tracker_destroy(t);
		check_world(w);
	}
}

/* The helpers remove W and D from shared entries. The next stores still set soft-dirty. */
static void bits_with_the_shared_mapping_helpers(void **state)
{
	struct world *w = *state;
	uint64_t bitmap = 0, start = 0, end = 0, count;
	struct vellum_mapping *shm;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 4, 0, &shm));
	map_object(w->mm, 0, 4, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	store(w->cpu[0], PAGE(0), 1);
	clear(w);
	OK(vellum_clean_record_shared_mapping_range(shm, 0, 4, 0, &bitmap, &start, &end, &count));
	assert_int_equal(bitmap, 1);
	store(w->cpu[0], PAGE(0), 2);
	assert_int_equal(soft_bits(w->mm, 0), 1);
	OK(vellum_wp_shared_mapping_range(shm, 0, 4, &count));
	assert_int_equal(count, 1);
	assert_int_equal(soft_bits(w->mm, 0), 1);
	check_world(w);
	unmap(w->mm, 0, 4);
	vellum_mapping_put(shm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(clear_refs_errors),
		WORLD_TEST(accessed_bits),
		WORLD_TEST(only_stores_set_the_bit),
		WORLD_TEST(clearing_flushes_translations),
		WORLD_TEST(clearing_keeps_d),
		WORLD_TEST(device_memory_is_skipped),
		WORLD_TEST(mremap_sets_soft_dirty),
		WORLD_TEST(mremap_of_tables_sets_soft_dirty),
		WORLD_TEST(merged_vma_is_soft_dirty_if_a_part_was),
		WORLD_TEST(mprotect_and_back_sets_no_bit),
		WORLD_TEST(mprotect_of_shared_memory),
		WORLD_TEST(swap_keeps_the_bit),
		WORLD_TEST(fork_keeps_the_bit),
		WORLD_TEST(pinned_pages_stay_soft_dirty),
		WORLD_TEST(clearing_sets_the_bit_of_a_pinned_page),
		WORLD_TEST(bits_with_uffd_wp),
		WORLD_TEST(bits_with_trackers),
		WORLD_TEST(bits_with_the_shared_mapping_helpers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
