/* SPDX-License-Identifier: MIT */
/* Sets of page numbers, compared with an array. */
#include "more_support.h"

#include "lib/page_set.h"

#define FIRST 1000000	/* the pages of the test; no chunk begins here */
#define PAGES 4096

struct model {
	struct page_set set;
	bool has[PAGES + 64];
};

static uint64_t model_mask(const struct model *m, uint64_t page)
{
	uint64_t mask = 0;

	for (unsigned i = 0; i < 64; i++)
		mask |= (uint64_t)m->has[page - FIRST + i] << i;
	return mask;
}

/* The first run from @page on. Return: its length; 0: none. */
static uint64_t model_run(const struct model *m, uint64_t *page)
{
	uint64_t nr = 0;

	while (*page < FIRST + PAGES && !m->has[*page - FIRST])
		++*page;
	while (*page + nr < FIRST + PAGES && m->has[*page + nr - FIRST])
		nr++;
	return nr;
}

static void compare(const struct model *m, uint64_t *seed)
{
	for (uint64_t page = FIRST; page < FIRST + PAGES; page += 1 + random_below(seed, 40)) {
		uint64_t ours = page, theirs = page, nr = page_set_next_run(&m->set, &theirs);

		assert_int_equal(page_set_mask(&m->set, page), model_mask(m, page));
		assert_int_equal(nr, model_run(m, &ours));
		if (nr)
			assert_int_equal(theirs, ours);
	}
}

static void random_masks_and_runs(void **state)
{
	struct world *w = *state;
	const struct host *host = &w->memory->host;
	uint64_t seed = 11;

	for (unsigned round = 0; round < 60; round++) {
		struct model m = { .set = { .chunks = { .root = NULL } } };
		unsigned nr = 1u << random_below(&seed, 9);

		for (unsigned i = 0; i < nr; i++) {
			uint64_t at = random_below(&seed, PAGES - 64), mask = random_u64(&seed);

			if (random_below(&seed, 3) == 0)
				mask = ~0ull;
			else if (random_below(&seed, 2))
				mask &= random_u64(&seed) & random_u64(&seed);
			if (random_below(&seed, 4) == 0) {
				assert_true(page_set_add(&m.set, FIRST + at, host));
				m.has[at] = true;
				continue;
			}
			assert_true(page_set_add_mask(&m.set, FIRST + at, mask, host));
			for (unsigned j = 0; j < 64; j++)
				m.has[at + j] |= mask >> j & 1;
		}
		compare(&m, &seed);
		page_set_clear(&m.set, host);
		assert_null(m.set.chunks.root);
	}
}

/* Runs that end and begin with chunks, with and without a chunk between them. */
static void runs_at_the_borders_of_chunks(void **state)
{
	static const unsigned at[] = { 0, 511, 512, 1023, 1535, 1536, 2047, 2560, 3583, 4000 };
	struct world *w = *state;
	const struct host *host = &w->memory->host;
	uint64_t seed = 12;

	for (unsigned subset = 1; subset < 1u << ARRAY_SIZE(at); subset++) {
		struct model m = { .set = { .chunks = { .root = NULL } } };

		for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
			if (subset >> i & 1) {
				uint64_t page = (FIRST + 511) / 512 * 512 + at[i] - 512;

				if (page < FIRST || page >= FIRST + PAGES)
					continue;
				assert_true(page_set_add(&m.set, page, host));
				m.has[page - FIRST] = true;
			}
		compare(&m, &seed);
		page_set_clear(&m.set, host);
	}
}

/* A mask makes only the chunks that it has pages of. */
static void chunks_without_pages_are_not_made(void **state)
{
	struct world *w = *state;
	const struct host *host = &w->memory->host;
	struct page_set set = { .chunks = { .root = NULL } };
	uint64_t page = 511, i = 0;

	assert_true(page_set_add_mask(&set, 511, 2, host));	/* page 512 */
	assert_null(radix_get(&set.chunks, 0));
	assert_non_null(radix_get(&set.chunks, 1));
	assert_int_equal(page_set_next_run(&set, &page), 1);
	assert_int_equal(page, 512);
	assert_true(page_set_add_mask(&set, 2 * 512 + 511, 1, host));
	assert_non_null(radix_get(&set.chunks, 2));
	assert_null(radix_get(&set.chunks, 3));
	assert_true(page_set_add_mask(&set, 5 * 512 + 448, 1ull << 63, host));
	assert_int_equal(page_set_chunk_count(radix_get(&set.chunks, 5)), 1);	/* the last bit */
	assert_true(page_set_add_mask(&set, 7 * 512, 0, host));
	i = 6;
	assert_null(radix_next(&set.chunks, &i));
	page_set_clear(&set, host);
}

/* Each allocation fails once. Nothing leaks, and pages that were in the set stay. */
static void no_memory_for_a_chunk(void **state)
{
	struct world *w = *state;
	const struct host *host = &w->memory->host;

	for (unsigned kind = 0; kind < 2; kind++) {
		struct page_set set = { .chunks = { .root = NULL } };
		unsigned failures = 0;
		bool ok;

		assert_true(page_set_add(&set, 3, host));
		do {
			uint64_t page = 0;

			w->host.fail_at = w->host.nr_allocs + failures + 1;
			ok = kind ? page_set_add_mask(&set, (1ull << 30) + 500, ~0ull, host) :
				    page_set_add(&set, 1ull << 30, host);
			w->host.fail_at = 0;
			failures += !ok;
			assert_int_equal(page_set_next_run(&set, &page), 1);
			assert_int_equal(page, 3);
		} while (!ok);
		assert_true(failures >= (kind ? 3 : 2));
		assert_int_equal(page_set_mask(&set, (1ull << 30) + 500), kind ? ~0ull : 0);
		page_set_clear(&set, host);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(random_masks_and_runs),
		WORLD_TEST(runs_at_the_borders_of_chunks),
		WORLD_TEST(chunks_without_pages_are_not_made),
		WORLD_TEST(no_memory_for_a_chunk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
