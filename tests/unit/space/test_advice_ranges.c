/* SPDX-License-Identifier: MIT */
/* madvise(2) on each range of two VMAs with a hole between them, across the border of a page table: page by page. */
#include "swap_support.h"

#define FIRST 505	/* page 512 is the first one of another table */
#define HOLE  (FIRST + 11)
#define NEXT  (FIRST + 13)
#define END   (FIRST + 20)

static bool is_mapped(unsigned page)
{
	return page < HOLE || page >= NEXT;
}

static void map_pages(struct world *w, bool filled)
{
	map_at(w->mm, FIRST, HOLE - FIRST, RW, ANON);
	map_at(w->mm, NEXT, END - NEXT, RW, ANON);
	for (unsigned i = FIRST; filled && i < END; i++)
		if (is_mapped(i))
			store(w->cpu[0], PAGE(i), i);
}

struct advice_case {
	int advice;
	bool filled;		/* the pages are there before */
	bool (*done)(struct world *w, unsigned page);	/* it was given for this page */
	bool stops;		/* at the hole */
};

static bool is_dropped(struct world *w, unsigned page)
{
	return pte_none(entry_at(w->mm, PAGE(page)));
}

static bool is_lazyfree(struct world *w, unsigned page)
{
	bool lazy = page_flags(w, PAGE(page)) & PG_LAZYFREE, dirty = pte_dirty(entry_at(w->mm, PAGE(page)));

	assert_int_equal(lazy, !dirty);
	return lazy;
}

static bool is_old(struct world *w, unsigned page)
{
	return !pte_young(entry_at(w->mm, PAGE(page)));
}

static bool is_paged_out(struct world *w, unsigned page)
{
	bool out = is_out(w->mm, PAGE(page));

	assert_int_equal(out, !is_in(w->mm, PAGE(page)));
	return out;
}

static bool is_guarded(struct world *w, unsigned page)
{
	return entry_at(w->mm, PAGE(page)).val == pte_marker(MARKER_GUARD).val;
}

static bool is_writable(struct world *w, unsigned page)
{
	return has_w(w->mm, PAGE(page));
}

static bool is_readable(struct world *w, unsigned page)
{
	return is_in(w->mm, PAGE(page)) && !has_w(w->mm, PAGE(page));
}

static bool is_not_forked(struct world *w, unsigned page)
{
	return vma_at(w->mm, PAGE(page))->flags & VM_DONTCOPY;
}

static bool is_random(struct world *w, unsigned page)
{
	return vma_at(w->mm, PAGE(page))->flags & VM_RAND_READ;
}

static const struct advice_case cases[] = {
	{ VELLUM_MADV_DONTNEED, true, is_dropped, false },
	{ VELLUM_MADV_DONTNEED_LOCKED, true, is_dropped, false },
	{ VELLUM_MADV_FREE, true, is_lazyfree, false },
	{ VELLUM_MADV_COLD, true, is_old, false },
	{ VELLUM_MADV_PAGEOUT, true, is_paged_out, false },
	{ VELLUM_MADV_GUARD_INSTALL, true, is_guarded, false },
	{ VELLUM_MADV_GUARD_INSTALL, false, is_guarded, false },
	{ VELLUM_MADV_POPULATE_WRITE, false, is_writable, true },
	{ VELLUM_MADV_POPULATE_READ, false, is_readable, true },
	{ VELLUM_MADV_DONTFORK, false, is_not_forked, false },
	{ VELLUM_MADV_RANDOM, true, is_random, false },
};

static void one_range(struct world *w, const struct advice_case *c, unsigned first, unsigned last)
{
	bool hole = first < NEXT && last >= HOLE;

	map_pages(w, c->filled);
	assert_int_equal(vellum_madvise(w->mm, PAGE(first), BYTES(last - first) + 1, c->advice), hole ? -ENOMEM : 0);
	check_world(w);
	for (unsigned i = FIRST; i < END; i++) {
		bool inside = i >= first && i <= last && !(c->stops && first < NEXT && i >= HOLE);

		if (is_mapped(i) && c->done(w, i) != inside)
			fail_msg("advice %d, pages %u to %u: page %u", c->advice, first, last, i);
	}
	for (unsigned i = FIRST; i < END; i++) {
		bool guarded = is_mapped(i) && is_guarded(w, i);

		if (is_mapped(i) && guarded)
			assert_int_equal(try_load(w->cpu[0], PAGE(i)), VELLUM_FAULT_SIGSEGV_MAPERR);
		else if (is_mapped(i))
			assert_int_equal(load(w->cpu[0], PAGE(i)), c->filled && !(c->done == is_dropped && i >= first &&
									       i <= last) ? i : 0);
	}
	unmap(w->mm, FIRST, END - FIRST);
}

static void advice_is_for_its_range_only(void **state)
{
	struct swap_world *sw = *state;

	for (unsigned c = 0; c < ARRAY_SIZE(cases); c++)
		for (unsigned first = FIRST; first < END; first++)
			for (unsigned last = first; last < END; last++)
				one_range(&sw->w, &cases[c], first, last);
}

/* Guards are removed where they are, and nothing else. */
static void guards_are_removed_in_their_range_only(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;

	for (unsigned first = FIRST; first < END; first++)
		for (unsigned last = first; last < END; last++) {
			map_pages(w, true);
			for (unsigned i = FIRST; i < END; i++)
				if (is_mapped(i) && i % 2)
					OK(vellum_madvise(w->mm, PAGE(i), BYTES(1), VELLUM_MADV_GUARD_INSTALL));
			assert_int_equal(vellum_madvise(w->mm, PAGE(first), BYTES(last - first + 1), VELLUM_MADV_GUARD_REMOVE),
					 first < NEXT && last >= HOLE ? -ENOMEM : 0);
			for (unsigned i = FIRST; i < END; i++) {
				if (!is_mapped(i))
					continue;
				assert_int_equal(is_guarded(w, i), i % 2 && (i < first || i > last));
				if (i % 2 == 0)
					assert_int_equal(load(w->cpu[0], PAGE(i)), i);
			}
			check_world(w);
			unmap(w->mm, FIRST, END - FIRST);
		}
}

/* More pages than one batch has, with pages between that stay. */
static void pageout_of_many_pages(void **state)
{
	static const unsigned sizes[] = { 63, 64, 65, 128, 129, 300 };
	struct swap_world *sw = *state;
	struct world *w = &sw->w;

	for (unsigned n = 0; n < ARRAY_SIZE(sizes); n++) {
		map_at(w->mm, 400, sizes[n] + 2, RW, ANON);
		for (unsigned i = 400; i < 402 + sizes[n]; i++)
			if (i % 50 == 7)
				load(w->cpu[0], PAGE(i));	/* the zero page */
			else
				store(w->cpu[0], PAGE(i), i);
		pageout(w->mm, 401, sizes[n]);
		check_world(w);
		for (unsigned i = 400; i < 402 + sizes[n]; i++)
			assert_int_equal(is_out(w->mm, PAGE(i)), i > 400 && i <= 400 + sizes[n] && i % 50 != 7);
		for (unsigned i = 400; i < 402 + sizes[n]; i++)
			assert_int_equal(load(w->cpu[0], PAGE(i)), i % 50 == 7 ? 0 : i);
		unmap(w->mm, 400, sizes[n] + 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWAP_TEST(advice_is_for_its_range_only),
		SWAP_TEST(guards_are_removed_in_their_range_only),
		SWAP_TEST(pageout_of_many_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
