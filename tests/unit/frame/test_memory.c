/* SPDX-License-Identifier: MIT */
/* RAM and device memory: arguments at their borders, blocks of frames, and RAM that goes back to the host. */
#include "more_support.h"
#include "mm/frame/folio.h"

#define RAM    (16ull << 20)
#define CHUNK  512		/* frames in 2 MiB, which are committed and discarded together */
#define CHUNKS (RAM / PMD_SIZE)

/* --- arguments --- */

static int create(struct world *w, struct vellum_memory_args args, struct vellum_memory **out)
{
	args.size = sizeof(args);
	args.host = test_host_ops();
	args.host_ctx = &w->host;
	return vellum_memory_create(&args, out);
}

static void create_checks_sizes(void **state)
{
	struct world *w = *state;
	const struct vellum_memory_args good = { .ram = w->ram, .ram_size = 2 * PMD_SIZE };
	struct vellum_memory *out = NULL;
	struct {
		struct vellum_memory_args args;
		int want;
	} rows[] = {
		{ good, 0 }, { good, -EINVAL }, { good, -EINVAL }, { good, -EINVAL }, { good, -EINVAL }, { good, -EINVAL },
		{ good, -EINVAL }, { good, 0 }, { good, -EINVAL }, { good, 0 }, { good, -EINVAL }, { good, -EINVAL },
		{ good, -EINVAL },
	};

	rows[1].args.ram = NULL;
	rows[2].args.ram = (char *)w->ram + 8;
	rows[3].args.ram_size = PMD_SIZE;
	rows[4].args.ram_size = 2 * PMD_SIZE + PAGE_SIZE;
	rows[5].args.ram_size = (1ull << 43) + PMD_SIZE;
	rows[6].args.reserved = 100;
	rows[7].args.reserved = PMD_SIZE;
	rows[8].args.reserved = PMD_SIZE + PAGE_SIZE;
	rows[9].args.hole_start = 2 * PMD_SIZE;
	rows[10].args.hole_start = 2 * PMD_SIZE + PAGE_SIZE;
	rows[11].args.hole_size = 1;
	rows[12].args.hole_start = 100;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		if (create(w, rows[i].args, &out) != rows[i].want)
			fail_msg("row %u: not %d", i, rows[i].want);
		if (rows[i].want == 0)
			OK(vellum_memory_destroy(out));
	}
	assert_int_equal(create(w, good, NULL), -EINVAL);
	OK(vellum_memory_destroy(NULL));
	rows[5].args.ram_size = 1ull << 43;	/* is allowed, but there is no memory for the folios */
	w->host.fail_at = w->host.nr_allocs + 2;
	assert_int_equal(create(w, rows[5].args, &out), -ENOMEM);
	w->host.fail_at = 0;
}

/* Hooks that the core cannot do without. */
static void create_needs_a_host(void **state)
{
	struct world *w = *state;
	struct vellum_memory_args args = { .size = sizeof(args), .ram = w->ram, .ram_size = 2 * PMD_SIZE,
					   .host_ctx = &w->host };
	struct vellum_memory *out;

	assert_int_equal(vellum_memory_create(&args, &out), -EINVAL);
	for (unsigned i = 0; i <= 5; i++) {
		struct vellum_host_ops ops = *test_host_ops();

		if (i == 0)
			ops.alloc = NULL;
		if (i == 1)
			ops.free = NULL;
		if (i == 2)
			ops.wait = NULL;
		if (i == 3)
			ops.wake = NULL;
		if (i == 4)
			ops.bug = NULL;
		args.host = &ops;
		assert_int_equal(vellum_memory_create(&args, &out), i < 5 ? -EINVAL : 0);
	}
	OK(vellum_memory_destroy(out));
}

/* Each kind of user keeps the memory alive by itself. */
static void destroy_waits_for_users(void **state)
{
	struct world *w = *state;
	struct vellum_memory_args args = { .ram = w->ram, .ram_size = 2 * PMD_SIZE };
	struct vellum_mapping *mapping;
	struct vellum_memory *m;
	struct vellum_mm *mm;

	OK(create(w, args, &m));
	OK(vellum_mm_create(m, &mm));
	assert_int_equal(vellum_memory_destroy(m), -VELLUM_EBUSY);
	vellum_mm_put(mm);
	OK(vellum_mapping_create(m, NULL, NULL, 1, 0, &mapping));
	assert_int_equal(vellum_memory_destroy(m), -VELLUM_EBUSY);
	vellum_mapping_put(mapping);
	OK(vellum_memory_destroy(m));
}

static void create_refuses_unknown_fields(void **state)
{
	struct world *w = *state;
	struct {
		struct vellum_memory_args args;
		uint64_t more;
	} larger = { .args = { .size = sizeof(larger), .ram = w->ram, .ram_size = 2 * PMD_SIZE,
			       .host = test_host_ops(), .host_ctx = &w->host }, .more = 1 };
	struct vellum_memory *out;

	assert_int_equal(vellum_memory_create(&larger.args, &out), -VELLUM_E2BIG);
	assert_int_equal(vellum_memory_create(&larger.args, NULL), -VELLUM_E2BIG);
	assert_int_equal(vellum_memory_create(NULL, &out), -EINVAL);
	larger.more = 0;
	OK(vellum_memory_create(&larger.args, &out));
	OK(vellum_memory_destroy(out));
}

static void map_count_has_a_largest_value(void **state)
{
	struct world *w = *state;

	assert_int_equal(vellum_set_max_map_count(w->memory, 0), -EINVAL);
	assert_int_equal(vellum_set_max_map_count(w->memory, (1u << 30) + 1), -EINVAL);
	assert_int_equal(vellum_set_max_map_count(w->memory, ~0u), -EINVAL);
	OK(vellum_set_max_map_count(w->memory, 1u << 30));
	OK(vellum_set_max_map_count(w->memory, 1));
	assert_int_equal(w->memory->max_map_count, 1);
	map_at(w->mm, 0, 1, RW, ANON);
	OK(vellum_set_max_map_count(w->memory, 65530));
}

/* --- frame numbers --- */

/* Frames behind the hole have higher numbers than their place in RAM. */
static void hole_has_no_frames(void **state)
{
	struct world *w = *state;
	struct vellum_memory_args args = { .ram = w->ram, .ram_size = 4 * PMD_SIZE, .hole_start = PMD_SIZE,
					   .hole_size = BYTES(100) };
	char *ram = w->ram;
	struct vellum_memory *m;

	OK(create(w, args, &m));
	assert_ptr_equal(vellum_frame_host(m, 0), ram);
	assert_ptr_equal(vellum_frame_host(m, CHUNK - 1), ram + PMD_SIZE - PAGE_SIZE);
	for (unsigned i = 0; i < 100; i++)
		assert_null(vellum_frame_host(m, CHUNK + i));
	assert_ptr_equal(vellum_frame_host(m, CHUNK + 100), ram + PMD_SIZE);
	assert_ptr_equal(vellum_frame_host(m, 4 * CHUNK + 99), ram + 4 * PMD_SIZE - PAGE_SIZE);
	assert_null(vellum_frame_host(m, 4 * CHUNK + 100));
	assert_int_equal(vellum_memory_add_device(m, 4 * CHUNK + 99, 1, ram), -EINVAL);
	OK(vellum_memory_add_device(m, 4 * CHUNK + 100, 1, ram + 8));
	assert_ptr_equal(vellum_frame_host(m, 4 * CHUNK + 100), ram + 8);
	OK(vellum_memory_destroy(m));
}

static void device_ranges_do_not_overlap(void **state)
{
	static const struct {
		uint64_t first, nr;
		int want;
	} rows[] = {
		{ 8000, 10, 0 }, { 8000, 10, -EINVAL }, { 7999, 2, -EINVAL }, { 8009, 1, -EINVAL }, { 8009, 5, -EINVAL },
		{ 8003, 2, -EINVAL }, { 7000, 5000, -EINVAL }, { 8010, 3, 0 }, { 7995, 5, 0 }, { 7994, 2, -EINVAL },
		{ 4095, 1, -EINVAL }, { 4096, 1, 0 }, { 5000, 0, -EINVAL }, { ~0ull, 1, -EINVAL }, { ~0ull - 3, 8, -EINVAL },
		{ MAX_PFN - 4, 5, -EINVAL }, { MAX_PFN - 4, 4, 0 },
	};
	struct world *w = *state;
	static char bytes[12 * PAGE_SIZE];

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		if (vellum_memory_add_device(w->memory, rows[i].first, rows[i].nr, bytes + i % 8) != rows[i].want)
			fail_msg("row %u: not %d", i, rows[i].want);
	assert_int_equal(vellum_memory_add_device(w->memory, 6000, 1, NULL), -EINVAL);
	w->host.fail_at = w->host.nr_allocs + 1;
	assert_int_equal(vellum_memory_add_device(w->memory, 6000, 1, bytes), -ENOMEM);
	w->host.fail_at = 0;
	assert_ptr_equal(vellum_frame_host(w->memory, 8000), bytes);
	assert_ptr_equal(vellum_frame_host(w->memory, 8009), bytes + BYTES(9));
	assert_ptr_equal(vellum_frame_host(w->memory, 8010), bytes + 7);
	assert_ptr_equal(vellum_frame_host(w->memory, 7999), bytes + BYTES(4));
	assert_null(vellum_frame_host(w->memory, 7994));
	assert_null(vellum_frame_host(w->memory, 8013));
	assert_null(vellum_frame_host(w->memory, 6000));
}

/* --- blocks --- */

static void device_frames_are_whole_blocks(void **state)
{
	struct world *w = *state;
	uint64_t pfn = 77, before = free_frames(w);

	assert_int_equal(vellum_memory_alloc_device(w->memory, 0, &pfn), -EINVAL);
	assert_int_equal(vellum_memory_alloc_device(w->memory, CHUNK + 1, &pfn), -EINVAL);
	assert_int_equal(vellum_memory_alloc_device(w->memory, 1, NULL), -EINVAL);
	assert_int_equal(pfn, 77);
	for (unsigned nr = 1; nr <= CHUNK; nr = nr < 10 ? nr + 1 : nr * 2 - 3) {
		unsigned whole = 1;

		while (whole < nr)
			whole *= 2;
		OK(vellum_memory_alloc_device(w->memory, nr, &pfn));
		assert_int_equal(pfn % whole, 0);
		assert_int_equal(free_frames(w), before - whole);
		for (unsigned i = 0; i < whole; i++)
			assert_true(folio_flags(pfn_folio(w->memory, pfn + i)) & PG_DEVICE);
		vellum_memory_free_device(w->memory, pfn, nr);
		assert_int_equal(free_frames(w), before);
		check_world(w);
	}
	vellum_memory_free_device(w->memory, pfn, 1);		/* is free */
	vellum_memory_free_device(w->memory, 1 << 20, 1);	/* no RAM */
	assert_int_equal(w->host.bugs, 2);
	w->host.bugs = 0;
}

static unsigned count_large_blocks(struct world *w, uint64_t *pfn)
{
	unsigned nr = 0;

	while (nr < CHUNKS && !vellum_memory_alloc_device(w->memory, CHUNK, &pfn[nr]))
		nr++;
	for (unsigned i = 0; i < nr; i++)
		vellum_memory_free_device(w->memory, pfn[i], CHUNK);
	return nr;
}

/* Freed in any order, blocks of all sizes merge to the largest ones again. */
static void free_blocks_merge(void **state)
{
	static uint64_t pfn[4096];
	struct world *w = *state;
	uint64_t seed = 5, before = free_frames(w);
	unsigned large = count_large_blocks(w, pfn), nr = 0;

	assert_int_equal(large, CHUNKS - 1);	/* the first one is in use in part */
	while (!vellum_memory_alloc_device(w->memory, 1ull << random_below(&seed, nr % 7 + 1), &pfn[nr]))
		nr++;
	while (!vellum_memory_alloc_device(w->memory, 1, &pfn[nr]))
		nr++;
	assert_int_equal(free_frames(w), 0);
	for (; nr; nr--) {
		unsigned i = random_below(&seed, nr);

		vellum_memory_free_device(w->memory, pfn[i], 1);
		pfn[i] = pfn[nr - 1];
		if (nr % 64 == 0)
			check_world(w);
	}
	assert_int_equal(free_frames(w), before);
	assert_int_equal(count_large_blocks(w, pfn), large);
}

/* --- RAM that goes back to the host --- */

static struct {
	char *ram;
	unsigned commits[CHUNKS], discards[CHUNKS], bad;
} given;

static int note_commit(void *host, uint64_t offset, uint64_t len)
{
	(void)host;
	given.commits[offset / PMD_SIZE]++;
	given.bad += offset % PMD_SIZE || len != PMD_SIZE;
	return 0;
}

static void note_discard(void *host, uint64_t offset, uint64_t len)
{
	(void)host;
	given.discards[offset / PMD_SIZE]++;
	given.bad += offset % PMD_SIZE || len != PMD_SIZE;
	memset(given.ram + offset, 0, len);
}

static bool is_free_chunk(struct world *w, unsigned chunk)
{
	for (unsigned i = 0; i < CHUNK; i++)
		if (folio_flags(&w->memory->folios[chunk * CHUNK + i]) & PG_USED)
			return false;
	return true;
}

static void fill(struct world *w, unsigned pages, uint64_t val)
{
	for (unsigned i = 0; i < pages; i++) {
		store(w->cpu[0], PAGE(i) + 8, val);
		assert_int_equal(load(w->cpu[0], PAGE(i)), 0);
		store(w->cpu[0], PAGE(i), val);
	}
}

/* Exactly the chunks that are free and committed are discarded, once. */
static void check_trim(struct world *w)
{
	bool want[CHUNKS];

	memset(given.discards, 0, sizeof(given.discards));
	for (unsigned i = 0; i < CHUNKS; i++)
		want[i] = w->memory->committed[i] && is_free_chunk(w, i);
	vellum_memory_trim(w->memory);
	vellum_memory_trim(w->memory);
	for (unsigned i = 0; i < CHUNKS; i++) {
		assert_int_equal(given.discards[i], want[i]);
		if (!want[i])
			continue;
		assert_int_equal(w->memory->committed[i], 0);
		for (unsigned f = 0; f < CHUNK; f++)
			assert_int_equal(folio_flags(&w->memory->folios[i * CHUNK + f]) & PG_NEEDS_ZERO, 0);
	}
	check_world(w);
}

static void trim_returns_free_chunks(void **state)
{
	struct vellum_host_ops host = *test_host_ops();
	unsigned discarded = 0;
	struct world w;

	(void)state;
	host.commit = note_commit;
	host.discard = note_discard;
	world_create(&w, RAM);
	vellum_memory_trim(w.memory);		/* a host without the hook */
	memset(&given, 0, sizeof(given));
	given.ram = w.ram;
	world_remake(&w, vellum_soft_mmu_ops(), &host);
	vellum_soft_load_mm(w.cpu[0], w.mm);
	check_trim(&w);
	map_at(w.mm, 0, 2500, RW, ANON);
	fill(&w, 2500, 1);
	check_trim(&w);				/* all is in use */
	unmap(w.mm, 0, 1200);
	check_trim(&w);
	for (unsigned i = 0; i < CHUNKS; i++)
		discarded += given.discards[i];
	assert_in_range(discarded, 1, 2);
	for (unsigned i = 1200; i < 2500; i++)
		assert_int_equal(load(w.cpu[0], PAGE(i)), 1);
	map_at(w.mm, 0, 1200, RW, ANON);
	fill(&w, 1200, 2);			/* new pages are zero, and their RAM is committed again */
	for (unsigned i = 0; i < CHUNKS; i++)
		assert_int_equal(given.commits[i], !!w.memory->committed[i] + given.discards[i]);
	assert_int_equal(given.bad, 0);
	unmap(w.mm, 0, 2500);
	check_trim(&w);
	world_destroy(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(create_checks_sizes),
		WORLD_TEST(create_needs_a_host),
		WORLD_TEST(create_refuses_unknown_fields),
		WORLD_TEST(destroy_waits_for_users),
		WORLD_TEST(map_count_has_a_largest_value),
		WORLD_TEST(hole_has_no_frames),
		WORLD_TEST(device_ranges_do_not_overlap),
		WORLD_TEST(device_frames_are_whole_blocks),
		WORLD_TEST(free_blocks_merge),
		cmocka_unit_test(trim_returns_free_chunks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
