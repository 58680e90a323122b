/* SPDX-License-Identifier: MIT */
/* madvise(2): each advice and its errors; populate; advice for fork; fault-around. */
#include "file_support.h"

#define HOLE 7 /* page of the layout that is not mapped */

/*
 * Pages 0-3: private anonymous. 4-6: shared anonymous. 7: hole. 8-11: shared file. 12-15: private file. 16-19:
 * shared file, opened read-only. 20-23: mlocked private anonymous. 24-27: device.
 */
struct layout {
	struct file f;
	struct counting *c;
	struct vellum_mapping *pfn;
};

static void lay_out(struct layout *l, struct world *w)
{
	file_create(&l->f, w, 8);
	l->c = new_counting();
	l->pfn = new_pfn_object(w, l->c, 4);
	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 4, 3, RW, SHANON);
	map_shared(w->mm, 8, 4, &l->f, 0);
	map_private(w->mm, 12, 4, &l->f, 0);
	map_object(w->mm, 16, 4, RO, VELLUM_MAP_SHARED, l->f.mapping, 0, RO);
	map_at(w->mm, 20, 4, RW, ANON);
	OK(vellum_mlock(w->mm, PAGE(20), BYTES(4), 0));
	map_object(w->mm, 24, 4, RW, VELLUM_MAP_SHARED, l->pfn, 0, RW);
	for (unsigned i = 0; i < 28; i++)
		if (i != HOLE && !(i >= 16 && i < 20))
			store(w->cpu[0], PAGE(i), 100 + i);
	check_world(w);
}

static void clear_layout(struct layout *l, struct world *w)
{
	check_world(w);
	unmap(w->mm, 0, 64);
	vellum_mapping_put(l->pfn);
	vellum_memory_free_device(w->memory, l->c->first_pfn, 4);
	file_destroy(&l->f);
}

static int advise(struct world *w, unsigned at, unsigned pages, int advice)
{
	int err = vellum_madvise(w->mm, PAGE(at), BYTES(pages), advice);

	check_world(w);
	return err;
}

/* --- errors that do not depend on the kind of memory --- */

static void errors_of_every_advice(void **state)
{
	static const int unknown[] = {-1, 5, 6, 7, 25, 99, 100, 1000};
	struct world *w = *state;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(0), 5);
	for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++)
		assert_int_equal(advise(w, 0, 1, unknown[i]), -EINVAL);
	for (int advice = 0; advice <= VELLUM_MADV_DONTNEED_LOCKED; advice++) {
		if (advice > VELLUM_MADV_DONTNEED && advice < VELLUM_MADV_FREE)
			continue;
		assert_int_equal(vellum_madvise(w->mm, BASE + 1, 4096, advice), -EINVAL);
		assert_int_equal(vellum_madvise(w->mm, BASE, ~0ull, advice), -EINVAL);
		assert_int_equal(vellum_madvise(w->mm, BASE, ~0ull - 8191, advice), -EINVAL);
		OK(vellum_madvise(w->mm, BASE, 0, advice));
		OK(vellum_madvise(w->mm, PAGE(100), 0, advice));
		assert_int_equal(advise(w, 100, 4, advice), -ENOMEM);
	}
	assert_int_equal(load(w->cpu[0], PAGE(0)), 5);
	assert_int_equal(nr_vmas(w->mm), 1);
	OK(vellum_madvise(w->mm, BASE, 1, VELLUM_MADV_DONTNEED)); /* rounded up */
	assert_int_equal(load(w->cpu[0], PAGE(0)), 0);
}

/* Errors by kind of memory, in the order of the layout. */
static void errors_by_kind(void **state)
{
	enum { N = -ENOMEM, I = -EINVAL, A = -EACCES };
	static const struct {
		int advice, want[7];
	} rows[] = {
		{VELLUM_MADV_NORMAL, {0}},
		{VELLUM_MADV_RANDOM, {0}},
		{VELLUM_MADV_SEQUENTIAL, {0}},
		{VELLUM_MADV_WILLNEED, {0}},
		{VELLUM_MADV_DONTNEED, {0, 0, 0, 0, 0, I, I}},
		{VELLUM_MADV_DONTNEED_LOCKED, {0, 0, 0, 0, 0, 0, I}},
		{VELLUM_MADV_FREE, {0, I, I, I, I, I, I}},
		{VELLUM_MADV_REMOVE, {I, 0, 0, A, A, I, I}},
		{VELLUM_MADV_DONTFORK, {0}},
		{VELLUM_MADV_DOFORK, {0}},
		{VELLUM_MADV_MERGEABLE, {0}},
		{VELLUM_MADV_UNMERGEABLE, {0}},
		{VELLUM_MADV_HUGEPAGE, {0}},
		{VELLUM_MADV_NOHUGEPAGE, {0}},
		{VELLUM_MADV_DONTDUMP, {0}},
		{VELLUM_MADV_WIPEONFORK, {0, I, I, I, I, 0, I}},
		{VELLUM_MADV_KEEPONFORK, {0}},
		{VELLUM_MADV_COLD, {0, 0, 0, 0, 0, I, I}},
		{VELLUM_MADV_PAGEOUT, {0, 0, 0, 0, 0, I, I}},
		{VELLUM_MADV_POPULATE_READ, {0, 0, 0, 0, 0, 0, I}},
		{VELLUM_MADV_POPULATE_WRITE, {0, 0, 0, 0, I, 0, I}},
	};
	static const unsigned at[] = {0, 4, 8, 12, 16, 20, 24};
	struct world *w = *state;
	struct layout l;

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		for (unsigned kind = 0; kind < 7; kind++) {
			int err;

			lay_out(&l, w);
			err = advise(w, at[kind] + 1, 2, rows[i].advice);
			if (err != rows[i].want[kind])
				fail_msg("advice %d, kind %u: %d, not %d", rows[i].advice, kind,
					 err, rows[i].want[kind]);
			for (unsigned p = 0; p < 28 && err; p++) /* an error changes no page */
				if (p != HOLE && (p < 16 || p >= 20))
					assert_int_equal(load(w->cpu[0], PAGE(p)), 100 + p);
			clear_layout(&l, w);
		}
}

/* A hole: the advice is applied to the rest, and the call fails with -ENOMEM. POPULATE stops at the hole. */
static void advice_over_a_hole_is_enomem(void **state)
{
	static const int drops[] = {VELLUM_MADV_DONTNEED, VELLUM_MADV_DONTNEED_LOCKED,
				    VELLUM_MADV_FREE};	/* FREE drops pages only under memory pressure */
	struct world *w = *state;
	struct file f;

	for (unsigned i = 0; i < ARRAY_SIZE(drops); i++) {
		map_at(w->mm, 0, 8, RW, ANON);
		for (unsigned p = 0; p < 8; p++)
			store(w->cpu[0], PAGE(p), p + 1);
		unmap(w->mm, 3, 1);
		assert_int_equal(advise(w, 1, 5, drops[i]), -ENOMEM);
		if (drops[i] == VELLUM_MADV_FREE) {
			assert_int_equal(load(w->cpu[0], PAGE(2)), 3);
			assert_in_range(vellum_reclaim(w->memory, 8), 4, 8);
		}
		assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
		assert_int_equal(load(w->cpu[0], PAGE(2)), 0);
		assert_int_equal(load(w->cpu[0], PAGE(5)), 0);
		assert_int_equal(load(w->cpu[0], PAGE(6)), 7);
		unmap(w->mm, 0, 8);
	}
	file_create(&f, w, 8);
	map_shared(w->mm, 0, 8, &f, 0);
	unmap(w->mm, 3, 1);
	assert_int_equal(advise(w, 0, 8, VELLUM_MADV_WILLNEED), -ENOMEM);
	assert_int_equal(nr_cached(&f), 7);
	assert_int_equal(advise(w, 0, 8, VELLUM_MADV_REMOVE), -ENOMEM);
	assert_int_equal(load(w->cpu[0], PAGE(2)) | load(w->cpu[0], PAGE(7)), 0);
	assert_int_equal(file_word(&f, BYTES(3)), file_initial(3));
	dontneed(w->mm, 0, 3);
	assert_int_equal(advise(w, 1, 5, VELLUM_MADV_POPULATE_READ), -ENOMEM);
	assert_true(is_there(w->mm, PAGE(1)) && is_there(w->mm, PAGE(2)));
	assert_false(is_there(w->mm, PAGE(5)));
	assert_int_equal(advise(w, 1, 7, VELLUM_MADV_DONTFORK), -ENOMEM);
	struct vellum_mm *child = fork_on(w->mm, w->cpu[1]);
	assert_int_equal(try_load(w->cpu[1], PAGE(5)), VELLUM_FAULT_SIGSEGV_MAPERR);
	load(w->cpu[1], PAGE(0));
	end_child(child, w->cpu[1]);
	unmap(w->mm, 0, 8);
	file_destroy(&f);
}

/* --- contents of the pages afterwards --- */

static void dontneed_drops_pages(void **state)
{
	struct world *w = *state;
	struct layout l;

	lay_out(&l, w);
	OK(advise(w, 0, 2, VELLUM_MADV_DONTNEED));
	OK(advise(w, 2, 2, VELLUM_MADV_FREE));
	assert_int_equal(load(w->cpu[0], PAGE(3)), 103);
	vellum_reclaim(w->memory, 64);
	OK(advise(w, 4, 3, VELLUM_MADV_DONTNEED));
	OK(advise(w, 8, 8, VELLUM_MADV_DONTNEED));
	OK(advise(w, 20, 2, VELLUM_MADV_DONTNEED_LOCKED));
	for (unsigned i = 0; i < 24; i++)
		assert_false(i < 22 && is_there(w->mm, PAGE(i)));
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), 0);
	for (unsigned i = 4; i < 12; i++)
		if (i != HOLE)
			assert_int_equal(load(w->cpu[0], PAGE(i)), 100 + i);
	for (unsigned i = 12; i < 16; i++) /* the file's pages, with the stores through the shared VMA */
		assert_int_equal(load(w->cpu[0], PAGE(i)), 100 + i - 4);
	assert_int_equal(load(w->cpu[0], PAGE(20)), 0);
	assert_int_equal(load(w->cpu[0], PAGE(22)), 122);
	OK(advise(w, 5, 1, VELLUM_MADV_REMOVE));
	OK(advise(w, 9, 2, VELLUM_MADV_REMOVE));
	assert_int_equal(load(w->cpu[0], PAGE(5)), 0);
	assert_int_equal(load(w->cpu[0], PAGE(6)), 106);
	assert_int_equal(load(w->cpu[0], PAGE(9)), 0);
	assert_int_equal(load(w->cpu[0], PAGE(13)), 0);
	assert_int_equal(l.f.punch_offset, BYTES(1));
	assert_int_equal(l.f.punch_len, BYTES(2));
	clear_layout(&l, w);
}

static void remove_punches_a_hole(void **state)
{
	struct vellum_backing_ops ops = file_ops;
	struct world *w = *state;
	struct file f;

	ops.punch = NULL;
	file_create_with(&f, w, 4, &ops, VELLUM_MAPPING_WRITEBACK);
	map_shared(w->mm, 0, 4, &f, 0);
	assert_int_equal(advise(w, 0, 4, VELLUM_MADV_REMOVE), -VELLUM_EOPNOTSUPP);
	unmap(w->mm, 0, 4);
	file_destroy(&f);
	file_create(&f, w, 4);
	map_shared(w->mm, 0, 4, &f, 0);
	OK(vellum_mapping_add_seals(f.mapping, VELLUM_SEAL_FUTURE_WRITE));
	assert_int_equal(advise(w, 0, 4, VELLUM_MADV_REMOVE), -EPERM);
	unmap(w->mm, 0, 4);
	file_destroy(&f);
}

static void willneed_caches(void **state)
{
	struct world *w = *state;
	struct file f;

	file_create(&f, w, 8);
	map_shared(w->mm, 0, 16, &f, 2);
	OK(advise(w, 1, 3, VELLUM_MADV_WILLNEED));
	assert_int_equal(nr_cached(&f), 3);
	assert_int_equal(vellum_mm_rss(w->mm), 0);
	OK(advise(w, 0, 16, VELLUM_MADV_WILLNEED)); /* beyond the end: no error */
	assert_int_equal(nr_cached(&f), 6);
	f.fault_code = VELLUM_VMF_SIGBUS;
	vellum_mapping_invalidate(f.mapping);
	OK(advise(w, 0, 8, VELLUM_MADV_WILLNEED)); /* WILLNEED reports no read error; the access will */
	assert_int_equal(try_load(w->cpu[0], PAGE(0)), VELLUM_FAULT_SIGBUS);
	unmap(w->mm, 0, 16);
	file_destroy(&f);
}

/* --- populate --- */

static void T_sys_04_populate_faults_all_pages_in(void **state)
{
	struct world *w = *state;
	struct file f;

	file_create(&f, w, 8);
	map_shared(w->mm, 0, 10, &f, 0);
	OK(advise(w, 0, 4, VELLUM_MADV_POPULATE_READ));
	for (unsigned i = 0; i < 4; i++)
		assert_true(is_there(w->mm, PAGE(i)) && !has_w(w->mm, PAGE(i)));
	assert_int_equal(f.mkwrites, 0);
	OK(advise(w, 2, 4, VELLUM_MADV_POPULATE_WRITE));
	assert_int_equal(f.mkwrites, 4);
	for (unsigned i = 2; i < 6; i++)
		assert_true(has_w(w->mm, PAGE(i)));
	assert_int_equal(advise(w, 6, 4, VELLUM_MADV_POPULATE_READ), -EFAULT);
	assert_true(is_there(w->mm, PAGE(7)));
	assert_int_equal(advise(w, 8, 1, VELLUM_MADV_POPULATE_WRITE), -EFAULT);
	f.mkwrite_code = VELLUM_VMF_SIGBUS;
	assert_int_equal(advise(w, 0, 1, VELLUM_MADV_POPULATE_WRITE), -EFAULT);
	f.mkwrite_code = 0;
	protect(w->mm, 0, 4, RO);
	assert_int_equal(advise(w, 0, 4, VELLUM_MADV_POPULATE_WRITE), -EINVAL);
	protect(w->mm, 0, 4, VELLUM_PROT_NONE);
	assert_int_equal(advise(w, 0, 4, VELLUM_MADV_POPULATE_READ), -EINVAL);
	unmap(w->mm, 0, 10);
	file_destroy(&f);
	/* Private: a load maps the file's page, a store copies it. */
	map_at(w->mm, 0, 8, RW, ANON);
	OK(advise(w, 0, 8, VELLUM_MADV_POPULATE_READ));
	assert_int_equal(vellum_mm_rss(w->mm), 8);
	assert_false(has_w(w->mm, PAGE(0)));
	uint64_t frames = free_frames(w);
	OK(advise(w, 0, 8, VELLUM_MADV_POPULATE_WRITE));
	assert_int_equal(free_frames(w), frames - 8);
	uint64_t faults =
		count_of(w, VELLUM_COUNT_FAULT_ANON) + count_of(w, VELLUM_COUNT_FAULT_COW);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), 1);
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_ANON) + count_of(w, VELLUM_COUNT_FAULT_COW),
			 faults);
	unmap(w->mm, 0, 8);
}

/* POPULATE_READ replaces no page and makes no page dirty. */
static void populate_read_changes_nothing(void **state)
{
	struct world *w = *state;

	for (unsigned method = 0; method < 3; method++) {
		struct vellum_tracker *t;
		struct file f;

		file_create(&f, w, 8);
		map_shared(w->mm, 0, 8, &f, 0);
		map_at(w->mm, 8, 8, RW, ANON);
		store(w->cpu[0], PAGE(9), 5);
		OK(vellum_track_mm(w->mm, BASE, PAGE(16), method, &t));
		OK(advise(w, 0, 16, VELLUM_MADV_POPULATE_READ));
		assert_int_equal(collect(t, BASE >> 12), 0);
		assert_int_equal(load(w->cpu[0], PAGE(9)), 5);
		store(w->cpu[0], PAGE(3), 1);
		store(w->cpu[0], PAGE(9), 1);
		assert_int_equal(collect(t, BASE >> 12), 0x208);
		vellum_tracker_destroy(t);
		unmap(w->mm, 0, 16);
		file_destroy(&f);
	}
}

/* --- fork --- */

static void T_fork_07_dontfork(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child, *grandchild;

	map_at(w->mm, 0, 8, RW, ANON);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	OK(advise(w, 2, 3, VELLUM_MADV_DONTFORK));
	assert_int_equal(nr_vmas(w->mm), 3);
	OK(advise(w, 4, 1, VELLUM_MADV_DOFORK));
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	assert_int_equal(load(w->cpu[1], PAGE(1)), 2);
	assert_int_equal(try_load(w->cpu[1], PAGE(2)), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(try_store(w->cpu[1], PAGE(3), 1), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(load(w->cpu[1], PAGE(4)), 5);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 4);
	store(w->cpu[0], PAGE(3), 44); /* the child does not share it, so no copy */
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_COW), 0);
	grandchild = fork_on(child, w->cpu[2]);
	assert_int_equal(load(w->cpu[2], PAGE(7)), 8);
	end_child(grandchild, w->cpu[2]);
	end_child(child, w->cpu[1]);
	OK(advise(w, 0, 8, VELLUM_MADV_DOFORK));
	assert_int_equal(nr_vmas(w->mm), 1);
	child = fork_on(w->mm, w->cpu[1]);
	assert_int_equal(load(w->cpu[1], PAGE(3)), 44);
	end_child(child, w->cpu[1]);
}

static void T_fork_07_wipeonfork(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child, *grandchild;

	map_at(w->mm, 0, 8, RW, ANON);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	OK(advise(w, 2, 4, VELLUM_MADV_WIPEONFORK));
	OK(advise(w, 5, 1, VELLUM_MADV_KEEPONFORK));
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(load(w->cpu[1], PAGE(i)), i >= 2 && i < 5 ? 0 : i + 1);
		assert_int_equal(load(w->cpu[0], PAGE(i)), i + 1);
	}
	store(w->cpu[1], PAGE(2), 22);
	store(w->cpu[1], PAGE(6), 66);
	grandchild = fork_on(child, w->cpu[2]); /* the grandchild inherits the advice */
	check_world(w);
	assert_int_equal(load(w->cpu[2], PAGE(2)), 0);
	assert_int_equal(load(w->cpu[2], PAGE(6)), 66);
	store(w->cpu[2], PAGE(2), 1);
	assert_int_equal(load(w->cpu[1], PAGE(2)), 22);
	end_child(grandchild, w->cpu[2]);
	end_child(child, w->cpu[1]);
}

/* --- fault-around --- */

/* A load also maps the cached pages around it, clean and not accessed. It replaces no entry. */
static void fault_around_maps_neighbours(void **state)
{
	struct world *w = *state;
	unsigned mapped = 0;
	uint64_t val;
	struct file f;

	file_create(&f, w, 64);
	map_private(w->mm, 0, 64, &f, 0);
	for (unsigned i = 0; i < 32; i++)
		if (i != 5)
			OK(vellum_mapping_read(f.mapping, BYTES(i), &val, 8));
	store(w->cpu[0], PAGE(3), 33); /* a store faults in only its page */
	assert_int_equal(vellum_mm_rss(w->mm), 1);
	f.faults = 0;
	assert_int_equal(load(w->cpu[0], PAGE(4)), file_initial(4));
	check_world(w);
	assert_int_equal(f.faults, 0);
	for (unsigned i = 0; i < 64; i++) {
		pte_t pte = entry_at(w->mm, PAGE(i));

		if (!pte_present(pte) || i == 3 || i == 4)
			continue;
		mapped++;
		assert_false(pte_write(pte) || pte_dirty(pte) || pte_young(pte));
		assert_in_range(i, 0, 15); /* the aligned block of 16 pages around it */
	}
	assert_int_equal(mapped, 13);
	assert_false(is_there(w->mm, PAGE(5))); /* not cached, so not read */
	assert_int_equal(load(w->cpu[0], PAGE(3)), 33);
	val = count_of(w, VELLUM_COUNT_FAULT_FILE_READ);
	for (unsigned i = 6; i < 16; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), file_initial(i));
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_FILE_READ), val);
	unmap(w->mm, 0, 64);
	map_private(w->mm, 0, 64, &f, 0);
	OK(advise(w, 0, 64, VELLUM_MADV_RANDOM));
	load(w->cpu[0], PAGE(4));
	assert_int_equal(vellum_mm_rss(w->mm), 1);
	OK(advise(w, 0, 64, VELLUM_MADV_NORMAL));
	load(w->cpu[0], PAGE(20));
	assert_int_equal(vellum_mm_rss(w->mm), 17);
	unmap(w->mm, 0, 64);
	file_destroy(&f);
}

/* Fault-around stops at the VMA's borders and at the file's end. A later store to a mapped neighbour is noticed. */
static void fault_around_keeps_to_its_bounds(void **state)
{
	struct world *w = *state;
	uint64_t val;

	for (unsigned method = 0; method < 3; method++) {
		struct vellum_tracker *t, *u;
		struct file f;

		file_create(&f, w, 32);
		for (unsigned i = 0; i < 32; i++)
			OK(vellum_mapping_read(f.mapping, BYTES(i), &val, 8));
		OK(vellum_mapping_set_size(f.mapping, BYTES(10)));
		map_object(w->mm, 2, 14, RW, VELLUM_MAP_SHARED, f.mapping, 2, RW);
		map_at(w->mm, 0, 2, RW, ANON);
		OK(vellum_track_mm(w->mm, BASE, PAGE(16), method, &t));
		OK(vellum_track_mapping(f.mapping, 0, 32, method, &u));
		load(w->cpu[0], PAGE(4));
		check_world(w);
		assert_int_equal(vellum_mm_rss(w->mm), 8);
		for (unsigned i = 2; i < 10; i++)
			assert_true(is_there(w->mm, PAGE(i)) && !has_w(w->mm, PAGE(i)));
		assert_int_equal(collect(t, BASE >> 12), 0);
		store(w->cpu[0], PAGE(7), 7);
		assert_int_equal(f.mkwrites, 1);
		assert_int_equal(collect(t, BASE >> 12), 0x80);
		assert_int_equal(collect(u, 0), 0x80);
		vellum_tracker_destroy(t);
		vellum_tracker_destroy(u);
		unmap(w->mm, 0, 16);
		file_destroy(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(errors_of_every_advice),
		WORLD_TEST(errors_by_kind),
		WORLD_TEST(advice_over_a_hole_is_enomem),
		WORLD_TEST(dontneed_drops_pages),
		WORLD_TEST(remove_punches_a_hole),
		WORLD_TEST(willneed_caches),
		WORLD_TEST(T_sys_04_populate_faults_all_pages_in),
		WORLD_TEST(populate_read_changes_nothing),
		WORLD_TEST(T_fork_07_dontfork),
		WORLD_TEST(T_fork_07_wipeonfork),
		WORLD_TEST(fault_around_maps_neighbours),
		WORLD_TEST(fault_around_keeps_to_its_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
