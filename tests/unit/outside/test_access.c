/* SPDX-License-Identifier: MIT */
/* Copies, lookups and populate by the embedder. */
#include "more_support.h"

static void copy_to_and_from(void **state)
{
	struct world *w = *state;
	static char in[3 * 4096], out[3 * 4096];
	uint64_t done = 0;

	map_at(w->mm, 0, 8, RW, ANON);
	for (unsigned i = 0; i < sizeof(in); i++)
		in[i] = (char)(i * 7);
	OK(vellum_copy_to_user(w->mm, PAGE(1) + 100, in, sizeof(in), &done));
	assert_int_equal(done, sizeof(in));
	for (unsigned i = 0; i < 8; i++) /* exactly the pages that were written */
		assert_int_equal(has_d(w->mm, PAGE(i)), i >= 1 && i <= 4);
	OK(vellum_copy_from_user(w->mm, out, PAGE(1) + 100, sizeof(out), &done));
	assert_memory_equal(in, out, sizeof(in));
	OK(vellum_copy_from_user(w->mm, out, PAGE(6), 10, NULL));
	assert_int_equal(out[0], 0);
	assert_false(has_d(w->mm, PAGE(6)));
	OK(vellum_copy_to_user(w->mm, PAGE(7), in, 0, &done));
	assert_int_equal(done, 0);
	assert_true(pte_none(entry_at(w->mm, PAGE(7))));
}

static void cmpxchg_user(void **state)
{
	struct world *w = *state;
	uint32_t value = 7, expected = 0;

	map_at(w->mm, 0, 1, RW, ANON);
	map_at(w->mm, 1, 1, RO, ANON);
	OK(vellum_cmpxchg_user(w->mm, PAGE(0) + 8, &expected, 7));	/* of a page that was not present */
	assert_int_equal(expected, 0);
	assert_true(has_d(w->mm, PAGE(0)));
	OK(vellum_cmpxchg_user(w->mm, PAGE(0) + 8, &expected, 9));
	assert_int_equal(expected, 7);					/* not stored */
	OK(vellum_cmpxchg_user(w->mm, PAGE(0) + 8, &expected, 9));
	OK(vellum_copy_from_user(w->mm, &value, PAGE(0) + 8, sizeof(value), NULL));
	assert_int_equal(value, 9);
	assert_int_equal(vellum_cmpxchg_user(w->mm, PAGE(0) + 9, &expected, 9), -EINVAL);
	assert_int_equal(vellum_cmpxchg_user(w->mm, PAGE(1), &expected, 9), -EFAULT);
	assert_int_equal(vellum_cmpxchg_user(w->mm, PAGE(2), &expected, 9), -EFAULT);
	assert_int_equal(vellum_cmpxchg_user(w->mm, VELLUM_TASK_SIZE, &expected, 9), -EFAULT);
}

static const struct {
	uint64_t addr, len, done; /* the hole is page 4; page 8 is read-only, page 12 no access */
	bool write;
	int want;
} copies[] = {
	{PAGE(3) + 4000, 200, 96, true, -EFAULT},
	{PAGE(3) + 4000, 200, 96, false, -EFAULT},
	{PAGE(2), 3 * 4096, 8192, true, -EFAULT},
	{PAGE(4), 1, 0, true, -EFAULT},
	{PAGE(7), 4097, 4096, true, -EFAULT},
	{PAGE(7), 4097, 4097, false, 0},
	{PAGE(12), 1, 0, false, -EFAULT},
	{VELLUM_TASK_SIZE, 1, 0, true, -EFAULT},
	{VELLUM_TASK_SIZE - 4096, 8192, 4096, true, -EFAULT},
	{~0ull - 5, 4, 0, true, -EFAULT},
	{~0ull - 5, 40, 0, false, -EFAULT},
};

static void partial_copies(void **state)
{
	static char buf[3 * 4096 + 200];
	struct world *w = *state;
	struct vellum_map_args top = {.size = sizeof(top),
				      .addr = VELLUM_TASK_SIZE - 4096,
				      .len = 4096,
				      .prot = RW,
				      .flags = ANON | VELLUM_MAP_FIXED};
	uint64_t done, addr;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 5, 3, RW, ANON);
	map_at(w->mm, 8, 1, RO, ANON);
	map_at(w->mm, 12, 1, 0, ANON);
	OK(vellum_mmap(w->mm, &top, &addr));
	for (unsigned i = 0; i < ARRAY_SIZE(copies); i++) {
		int err;

		done = 77;
		err = copies[i].write ? vellum_copy_to_user(w->mm, copies[i].addr, buf,
							    copies[i].len, &done)
				      : vellum_copy_from_user(w->mm, buf, copies[i].addr,
							      copies[i].len, &done);
		if (err != copies[i].want || done != copies[i].done)
			fail_msg("row %u: %d, %d bytes", i, err, (int)done);
		check_world(w);
	}
	assert_false(has_d(w->mm, PAGE(8)));
}

static void storable_counts_bytes_that_can_be_stored_to(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = new_object(w, c, 3);

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 5, 3, RW, ANON);
	map_at(w->mm, 8, 1, RO, ANON);
	map_at(w->mm, 12, 1, 0, ANON);
	map_object(w->mm, 16, 6, RW, VELLUM_MAP_SHARED, obj, 0, RW); /* half of it beyond the end */
	map_object(w->mm, 24, 6, RW, VELLUM_MAP_PRIVATE, obj, 0, RW);
	map_at(w->mm, 32, 8, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(35), 4096, VELLUM_MADV_GUARD_INSTALL));
	for (unsigned i = 0; i < ARRAY_SIZE(copies); i++)
		if (copies[i].write && copies[i].addr < PAGE(100))
			assert_int_equal(vellum_storable(w->mm, copies[i].addr, copies[i].len), copies[i].done);
	assert_int_equal(vellum_storable(w->mm, PAGE(17) + 1, 1 << 20), 2 * 4096 - 1);
	assert_int_equal(vellum_storable(w->mm, PAGE(24), 1 << 20), 3 * 4096);
	assert_int_equal(vellum_storable(w->mm, PAGE(32) + 5, 1 << 20), 3 * 4096 - 5);
	assert_int_equal(vellum_storable(w->mm, PAGE(36), 3), 3);
	assert_int_equal(vellum_storable(w->mm, PAGE(35), 3), 0);
	assert_int_equal(vellum_storable(w->mm, PAGE(36), 0), 0);
	assert_int_equal(vellum_storable(w->mm, VELLUM_TASK_SIZE, 1), 0);
	assert_int_equal(vellum_storable(w->mm, ~0ull - 5, 40), 0);
	/* The call faults in no page. */
	assert_int_equal(vellum_mm_rss(w->mm), 0);
	assert_int_equal(c->faults, 0);
	check_world(w);
	vellum_mapping_put(obj);
}

static void copy_to_user_breaks_cow(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = map_new(w, c, 4, RW, VELLUM_MAP_SHARED);
	struct vellum_mm *child;
	uint64_t val = 5;

	map_at(w->mm, 8, 2, RW, ANON);
	store(w->cpu[0], PAGE(8), 1);
	child = fork_on(w->mm, w->cpu[1]);
	OK(vellum_copy_to_user(child, PAGE(8), &val, 8, NULL));
	assert_int_equal(load(w->cpu[0], PAGE(8)), 1);
	assert_int_equal(load(w->cpu[1], PAGE(8)), 5);
	OK(vellum_copy_to_user(child, PAGE(2), &val, 8, NULL));
	assert_int_equal(c->mkwrites, 1);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 5);
	end_child(child, w->cpu[1]);
	vellum_mapping_put(obj);
}

static void peek_touches_nothing(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = map_new(w, c, 4, RW, VELLUM_MAP_PRIVATE);
	static uint64_t page[512];

	map_at(w->mm, 8, 4, RW, ANON);
	assert_int_equal(vellum_peek(w->mm, PAGE(8), page), 0);
	assert_int_equal(vellum_peek(w->mm, PAGE(1), page), 0);
	assert_int_equal(c->faults, 0);
	assert_int_equal(vellum_peek(w->mm, PAGE(6), page), -EFAULT);
	assert_int_equal(vellum_peek(w->mm, PAGE(8) + 8, page), -EFAULT);
	assert_int_equal(vellum_peek(w->mm, VELLUM_TASK_SIZE, page), -EFAULT);
	assert_int_equal(vellum_mm_rss(w->mm), 0);
	store(w->cpu[0], PAGE(9), 3);
	set_entry_at(w->mm, PAGE(9), pte_mkold(pte_mkclean(entry_at(w->mm, PAGE(9)))));
	assert_int_equal(vellum_peek(w->mm, PAGE(9), page), 1);
	assert_int_equal(page[0], 3);
	assert_false(pte_young(entry_at(w->mm, PAGE(9))));
	assert_false(has_d(w->mm, PAGE(9)));
	protect(w->mm, 8, 4, 0);
	page[0] = 0;
	assert_int_equal(vellum_peek(w->mm, PAGE(9), page), 1); /* rights do not matter */
	assert_int_equal(page[0], 3);
	vellum_mapping_put(obj);
}

static void populate_and_map_populate_fault_in(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = new_object(w, c, 4);

	map_at(w->mm, 0, 4, RW, ANON | VELLUM_MAP_POPULATE);
	map_object(w->mm, 8, 4, RW, VELLUM_MAP_SHARED | VELLUM_MAP_POPULATE, obj, 0, RW);
	map_object(w->mm, 16, 4, RW, VELLUM_MAP_PRIVATE | VELLUM_MAP_POPULATE, obj, 0, RW);
	map_at(w->mm, 24, 4, RO, ANON | VELLUM_MAP_POPULATE);
	map_at(w->mm, 32, 4, 0, ANON | VELLUM_MAP_POPULATE);
	map_object(w->mm, 40, 8, RW, VELLUM_MAP_PRIVATE | VELLUM_MAP_POPULATE, obj, 2, RW); /* half beyond */
	assert_int_equal(vellum_mm_rss(w->mm), 18);
	assert_int_equal(c->mkwrites, 0);
	assert_int_equal(c->faults, 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_false(has_d(w->mm, PAGE(i))); /* no store */
		assert_true(has_w(w->mm, PAGE(i)));
		assert_true(folio_flags(folio_at(w, 16 + i)) & PG_ANON);
		assert_int_equal(load(w->cpu[0], PAGE(16 + i)), i);
		assert_int_equal(load(w->cpu[0], PAGE(8 + i)), i);
	}
	store(w->cpu[0], PAGE(1), 1);
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_COW), 0);
	check_world(w);
	vellum_mapping_put(obj);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(copy_to_and_from),
		WORLD_TEST(cmpxchg_user),
		WORLD_TEST(partial_copies),
		WORLD_TEST(storable_counts_bytes_that_can_be_stored_to),
		WORLD_TEST(copy_to_user_breaks_cow),
		WORLD_TEST(peek_touches_nothing),
		WORLD_TEST(populate_and_map_populate_fault_in),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
