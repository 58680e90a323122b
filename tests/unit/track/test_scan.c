/* SPDX-License-Identifier: MIT */
/* PAGEMAP_SCAN: categories of pages, and write-protection in the same step. */
#include "uffd_support.h"

#define WPALLOWED VELLUM_PAGE_IS_WPALLOWED
#define WRITTEN   VELLUM_PAGE_IS_WRITTEN
#define IS_FILE   VELLUM_PAGE_IS_FILE
#define PRESENT   VELLUM_PAGE_IS_PRESENT
#define SWAPPED   VELLUM_PAGE_IS_SWAPPED
#define PFNZERO   VELLUM_PAGE_IS_PFNZERO
#define HUGE      VELLUM_PAGE_IS_HUGE
#define SOFTDIRTY VELLUM_PAGE_IS_SOFT_DIRTY
#define GUARD     VELLUM_PAGE_IS_GUARD
#define PROTECT   VELLUM_SCAN_WP_MATCHING
#define MAX_VEC   64

struct scan_call {
	struct vellum_scan_args args;
	struct vellum_page_region vec[MAX_VEC];
	uint64_t nr;
};

/* Prepare a call that reports all pages of @mask. The test may change the arguments before the call. */
static void prepare(struct scan_call *s, unsigned at, unsigned pages, uint64_t flags, uint64_t mask)
{
	memset(s, 0, sizeof(*s));
	s->args = (struct vellum_scan_args){.size = sizeof(s->args),
					    .flags = flags,
					    .start = PAGE(at),
					    .end = PAGE(at) + BYTES(pages),
					    .vec = s->vec,
					    .vec_len = MAX_VEC,
					    .category_mask = mask,
					    .return_mask = mask};
}

static int run(struct world *w, struct scan_call *s)
{
	int err = vellum_pagemap_scan(w->mm, &s->args, &s->nr);

	check_world(w);
	return err;
}

static void scan(struct world *w, struct scan_call *s, unsigned at, unsigned pages, uint64_t flags,
		 uint64_t mask)
{
	prepare(s, at, pages, flags, mask);
	OK(run(w, s));
	assert_int_equal(s->args.walk_end, PAGE(at) + BYTES(pages));
}

static void is_region(const struct scan_call *s, unsigned i, unsigned at, unsigned pages, uint64_t categories)
{
	assert_true(i < s->nr);
	assert_int_equal(s->vec[i].start, PAGE(at));
	assert_int_equal(s->vec[i].end, PAGE(at) + BYTES(pages));
	assert_int_equal(s->vec[i].categories, categories);
}

/* --- the same results as Linux --- */

static void written_is_what_was_stored_since_the_protection(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, ASYNC);
	struct scan_call s;

	map_at(w->mm, 0, 8, RW, ANON);
	enrol(w, u, 0, 8, WP);
	scan(w, &s, 0, 8, 0, WRITTEN); /* no table yet */
	assert_int_equal(s.nr, 1);
	is_region(&s, 0, 0, 8, WRITTEN);
	store(w->cpu[0], PAGE(0), 1);
	scan(w, &s, 0, 8, 0, WRITTEN);
	assert_int_equal(s.nr, 1);
	is_region(&s, 0, 0, 8, WRITTEN);
	scan(w, &s, 0, 8, PROTECT, WRITTEN);
	assert_int_equal(s.nr, 1);
	assert_word(w, 0, IS_WP_PAGE);
	assert_word(w, 1, IS_WP_NONE);
	scan(w, &s, 0, 8, 0, WRITTEN);
	assert_int_equal(s.nr, 0);
	store(w->cpu[0], PAGE(2), 1);
	store(w->cpu[0], PAGE(4), 1);
	scan(w, &s, 0, 8, 0, WRITTEN);
	assert_int_equal(s.nr, 2);
	is_region(&s, 0, 2, 1, WRITTEN);
	is_region(&s, 1, 4, 1, WRITTEN);
	store(w->cpu[0], PAGE(3), 1);
	scan(w, &s, 0, 8, PROTECT, WRITTEN);
	assert_int_equal(s.nr, 1);
	is_region(&s, 0, 2, 3, WRITTEN);
	scan(w, &s, 0, 8, PROTECT, WRITTEN);
	assert_int_equal(s.nr, 0);
	assert_int_equal(load(w->cpu[0], PAGE(5)), 0); /* a load is no store */
	scan(w, &s, 0, 8, 0, WRITTEN);
	assert_int_equal(s.nr, 0);
	vellum_uffd_put(u);
}

static void vmas_without_userfaultfd_are_not_protected(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0); /* not asynchronous */
	struct scan_call s;

	map_at(w->mm, 0, 8, RW, ANON);
	scan(w, &s, 0, 8, 0, WRITTEN); /* no table: nothing is written */
	assert_int_equal(s.nr, 0);
	scan(w, &s, 0, 8, PROTECT, WRITTEN);
	assert_int_equal(s.nr, 0);
	store(w->cpu[0], PAGE(3), 1);
	scan(w, &s, 0, 8, 0, WRITTEN); /* a table, in which no entry is protected: all pages are written */
	assert_int_equal(s.nr, 1);
	is_region(&s, 0, 0, 8, WRITTEN);
	scan(w, &s, 0, 8, PROTECT, WRITTEN); /* skipped */
	assert_int_equal(s.nr, 0);
	assert_word(w, 3, IS_PAGE);
	prepare(&s, 0, 8, VELLUM_SCAN_CHECK_WPASYNC, WRITTEN);
	assert_int_equal(run(w, &s), -EPERM);
	enrol(w, u, 0, 8, WP);
	prepare(&s, 0, 8, VELLUM_SCAN_CHECK_WPASYNC | PROTECT, WRITTEN);
	assert_int_equal(run(w, &s), -EPERM);
	scan(w, &s, 0, 8, 0, WPALLOWED);
	assert_int_equal(s.nr, 0);
	vellum_uffd_put(u);
}

static void scan_of_a_file(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, ASYNC);
	struct scan_call s;
	struct file f;

	file_create(&f, w, 8);
	map_shared(w->mm, 0, 8, &f, 0);
	enrol(w, u, 0, 8, WP);
	scan(w, &s, 0, 8, PROTECT | VELLUM_SCAN_CHECK_WPASYNC, WRITTEN);
	is_region(&s, 0, 0, 8, WRITTEN);
	store(w->cpu[0], PAGE(2), 1);
	OK(vellum_mapping_writeback(f.mapping, 0, 8, NULL));
	check_world(w);
	scan(w, &s, 0, 8, PROTECT, WRITTEN);
	assert_int_equal(s.nr, 1);
	is_region(&s, 0, 2, 1, WRITTEN);
	vellum_reclaim(w->memory, 8);
	check_world(w);
	scan(w, &s, 0, 8, PROTECT, WRITTEN); /* reclaimed: not written since */
	assert_int_equal(s.nr, 0);
	unmap(w->mm, 0, 8);
	vellum_uffd_put(u);
	file_destroy(&f);
}

/* Adjacent pages of the same categories are one region, across VMAs. */
static void regions_coalesce(void **state)
{
	struct world *w = *state;
	struct scan_call s;

	map_at(w->mm, 0, 2, RW, ANON);
	map_at(w->mm, 2, 2, RO, ANON);
	map_at(w->mm, 4, 2, RW, SHANON);
	for (unsigned i = 0; i < 6; i++)
		if (i < 2 || i > 3)
			store(w->cpu[0], PAGE(i), 1);
		else
			load(w->cpu[0], PAGE(i));
	scan(w, &s, 0, 6, 0, PRESENT);
	assert_int_equal(s.nr, 1);
	is_region(&s, 0, 0, 6, PRESENT);
	prepare(&s, 0, 6, 0, PRESENT);
	s.args.return_mask = IS_FILE | PFNZERO;
	OK(run(w, &s));
	assert_int_equal(s.nr, 3);
	is_region(&s, 0, 0, 2, 0);
	is_region(&s, 1, 2, 2, PFNZERO);
	is_region(&s, 2, 4, 2, IS_FILE);
}

/* --- stores while a CPU scans --- */

#define NR_PAGES  32
#define NR_STORES 4000

static void job_store_all_over(struct job *job)
{
	uint64_t seed = 12345;

	for (unsigned i = 1; i <= NR_STORES && !job->result; i++)
		job->result = (int)vellum_soft_store64(job->cpu, PAGE(random_below(&seed, NR_PAGES - 1)), i);
}

/* Scan for written pages, and look at their contents. */
static void take(struct world *w, struct scan_call *s, unsigned *reports, uint64_t *seen)
{
	prepare(s, 0, NR_PAGES, PROTECT, WRITTEN);
	OK(vellum_pagemap_scan(w->mm, &s->args, &s->nr)); /* other threads run, so no check_world() */
	for (uint64_t i = 0; i < s->nr; i++) {
		for (uint64_t addr = s->vec[i].start; addr < s->vec[i].end; addr += PAGE_SIZE) {
			reports[(addr - BASE) / PAGE_SIZE]++;
			seen[(addr - BASE) / PAGE_SIZE] = load(w->cpu[0], addr);
		}
	}
}

static struct vellum_uffd *watched_pages(struct world *w, struct scan_call *s)
{
	struct vellum_uffd *u = new_uffd(w, ASYNC);

	map_at(w->mm, 0, NR_PAGES / 2, RW, ANON);
	map_at(w->mm, NR_PAGES / 2, NR_PAGES / 2, RW, SHANON);
	enrol(w, u, 0, NR_PAGES, WP);
	scan(w, s, 0, NR_PAGES, PROTECT, WRITTEN);
	return u;
}

/* A store that has passed the fault but is not done may be reported, and again when it is done. */
static void T_scan_01_no_store_is_missed(void **state)
{
	struct world *w = *state;
	unsigned reports[NR_PAGES] = {0};
	uint64_t seen[NR_PAGES] = {0}; /* by the last report */
	struct scan_call s;
	struct vellum_uffd *u = watched_pages(w, &s);
	struct job job;

	start_access(w, &job, 1, job_store_all_over, 0, 0);
	while (!is_over(&job))
		take(w, &s, reports, seen);
	ends(&job);
	take(w, &s, reports, seen);
	for (unsigned i = 0; i < NR_PAGES; i++) {
		assert_int_equal(seen[i], load(w->cpu[0], PAGE(i)));
		assert_int_equal(!reports[i], i == NR_PAGES - 1);
	}
	scan(w, &s, 0, NR_PAGES, 0, WRITTEN);
	assert_int_equal(s.nr, 0);
	vellum_uffd_put(u);
}

static void T_scan_01_no_store_is_reported_twice(void **state)
{
	struct world *w = *state;
	uint64_t seen[NR_PAGES], seed = 77;
	struct scan_call s;
	struct vellum_uffd *u = watched_pages(w, &s);

	vellum_soft_load_mm(w->cpu[1], w->mm);
	for (unsigned round = 0; round < 100; round++) {
		unsigned reports[NR_PAGES] = {0}, stores[NR_PAGES] = {0};

		for (unsigned i = 0; i < round % 9; i++) {
			unsigned page = random_below(&seed, NR_PAGES);

			store(w->cpu[i % 2], PAGE(page), round);
			stores[page] = 1;
		}
		take(w, &s, reports, seen);
		check_world(w);
		assert_memory_equal(reports, stores, sizeof(reports));
	}
	vellum_uffd_put(u);
}

/* --- limits --- */

static void T_scan_02_limits(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, ASYNC);
	struct scan_call s;

	map_at(w->mm, 0, 8, RW, ANON);
	enrol(w, u, 0, 8, WP);
	scan(w, &s, 0, 8, PROTECT, WRITTEN);
	for (unsigned vec = 0; vec < 2; vec++) {
		store(w->cpu[0], PAGE(0), 1);
		store(w->cpu[0], PAGE(5), 1);
		prepare(&s, 0, 8, PROTECT, WRITTEN);
		s.args.max_pages = vec ? 0 : 1;
		s.args.vec_len = vec ? 1 : MAX_VEC;
		OK(run(w, &s));
		assert_int_equal(s.nr, 1);
		is_region(&s, 0, 0, 1, WRITTEN);
		assert_int_equal(s.args.walk_end, PAGE(5));
		assert_word(w, 5, IS_PAGE); /* neither reported nor protected */
		prepare(&s, 5, 3, PROTECT, WRITTEN);
		OK(run(w, &s));
		assert_int_equal(s.nr, 1);
		is_region(&s, 0, 5, 1, WRITTEN);
		assert_int_equal(s.args.walk_end, PAGE(8));
		assert_word(w, 5, IS_WP_PAGE);
	}
	vellum_uffd_put(u);
}

/* A limit within a run of pages, with and without a table. */
static void limits_inside_a_region(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, ASYNC);
	struct scan_call s;

	map_at(w->mm, 0, 8, RW, ANON);
	enrol(w, u, 0, 8, WP);
	for (unsigned protects = 0; protects < 2; protects++) {
		prepare(&s, 0, 8, protects ? PROTECT : 0, WRITTEN);
		s.args.max_pages = 3;
		OK(run(w, &s));
		assert_int_equal(s.nr, 1);
		is_region(&s, 0, 0, 3, WRITTEN);
		assert_int_equal(s.args.walk_end, PAGE(3));
	}
	assert_word(w, 2, IS_WP_NONE);
	assert_word(w, 3, 0);
	prepare(&s, 3, 5, 0, WRITTEN);
	s.args.vec_len = 1;
	s.args.max_pages = 5; /* exactly enough */
	OK(run(w, &s));
	is_region(&s, 0, 3, 5, WRITTEN);
	assert_int_equal(s.args.walk_end, PAGE(8));
	vellum_uffd_put(u);
}

/* --- huge pages --- */

static void T_scan_03_half_a_huge_page(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = huge_world(w);
	struct scan_call s;

	prepare(&s, 512, 512, 0, WRITTEN);
	s.args.return_mask = WRITTEN | HUGE;
	OK(run(w, &s));
	assert_int_equal(s.nr, 1);
	is_region(&s, 0, 512, 512, WRITTEN | HUGE);
	scan(w, &s, 512, 256, PROTECT, WRITTEN);
	assert_int_equal(s.nr, 1);
	is_region(&s, 0, 512, 256, WRITTEN);
	for (unsigned i = 0; i < 512; i++)
		assert_word(w, 512 + i, i < 256 ? IS_WP_PAGE : IS_PAGE);
	scan(w, &s, 512, 512, 0, HUGE);
	assert_int_equal(s.nr, 0);
	scan(w, &s, 512, 512, 0, WRITTEN);
	is_region(&s, 0, 768, 256, WRITTEN);
	store(w->cpu[0], PAGE(520), 2);
	scan(w, &s, 512, 256, 0, WRITTEN);
	is_region(&s, 0, 520, 1, WRITTEN);
	vellum_uffd_put(u);
}

static void whole_huge_page_is_not_split(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = huge_world(w);
	struct scan_call s;

	scan(w, &s, 512, 512, PROTECT, WRITTEN);
	is_region(&s, 0, 512, 512, WRITTEN);
	scan(w, &s, 512, 512, 0, HUGE);
	is_region(&s, 0, 512, 512, HUGE);
	scan(w, &s, 512, 512, 0, WRITTEN);
	assert_int_equal(s.nr, 0);
	store(w->cpu[0], PAGE(600), 1);
	scan(w, &s, 512, 512, PROTECT, WRITTEN);
	assert_int_equal(s.nr, 1);
	is_region(&s, 0, 600, 1, WRITTEN);
	vellum_uffd_put(u);
}

/*
 * The huge page is larger than the limit, so it is split, and no page matches. As in Linux, the walk ends at
 * the limit.
 */
static void huge_page_beyond_the_limit_is_split(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = huge_world(w);
	struct scan_call s;

	prepare(&s, 512, 512, PROTECT, HUGE | WRITTEN);
	s.args.max_pages = 1;
	OK(run(w, &s));
	assert_int_equal(s.nr, 0);
	assert_in_range(s.args.walk_end, PAGE(513), PAGE(1024)); /* a caller that loops makes progress */
	assert_word(w, 512, IS_PAGE);
	scan(w, &s, 513, 511, PROTECT, HUGE | WRITTEN);
	assert_int_equal(s.nr, 0);
	vellum_uffd_put(u);
}

/* --- errors --- */

static void T_scan_04_errors(void **state)
{
	struct world *w = *state;
	struct scan_call s;
	uint64_t *masks[] = {&s.args.category_inverted, &s.args.category_mask, &s.args.category_anyof_mask,
			     &s.args.return_mask};

	map_at(w->mm, 0, 8, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	prepare(&s, 0, 8, 0, WRITTEN);
	s.args.size = 3;
	assert_int_equal(run(w, &s), -EINVAL);
	prepare(&s, 0, 8, 4, WRITTEN);
	assert_int_equal(run(w, &s), -EINVAL);
	for (unsigned i = 0; i < 4; i++) {
		prepare(&s, 0, 8, 0, WRITTEN);
		*masks[i] |= 1 << 9;
		assert_int_equal(run(w, &s), -EINVAL);
	}
	prepare(&s, 0, 8, 0, WRITTEN);
	s.args.start += 8;
	assert_int_equal(run(w, &s), -EINVAL);
	prepare(&s, 0, 8, 0, WRITTEN);
	s.args.vec = NULL;
	assert_int_equal(run(w, &s), -EINVAL);
	prepare(&s, 8, 8, 0, WRITTEN);
	s.args.end = PAGE(0);
	assert_int_equal(run(w, &s), -EFAULT);
	prepare(&s, 0, 8, 0, WRITTEN);
	s.args.end = ~0ull;
	assert_int_equal(run(w, &s), -EFAULT);
	prepare(&s, 0, 8, VELLUM_SCAN_CHECK_WPASYNC, WRITTEN);
	assert_int_equal(run(w, &s), -EPERM);
	scan(w, &s, 3, 0, 0, WRITTEN); /* no category asked for, no page reported */
	assert_int_equal(s.nr, 0);
	prepare(&s, 0, 8, 0, WRITTEN);
	s.args.end = PAGE(1) + 5; /* rounded up */
	OK(run(w, &s));
	assert_int_equal(s.args.walk_end, PAGE(2));
	is_region(&s, 0, 0, 2, WRITTEN);
}

/* --- the masks --- */

#define NR_KINDS 7

/* The pages: none, zero page, private, shared, protected, swapped, stored to since soft-dirty was cleared. */
static struct vellum_uffd *page_of_each_kind(struct world *w, struct swap_array *swap, uint64_t *categories)
{
	static const uint64_t kinds[NR_KINDS] = {
		WPALLOWED | WRITTEN,
		WPALLOWED | WRITTEN | PRESENT | PFNZERO,
		WPALLOWED | WRITTEN | PRESENT,
		WPALLOWED | WRITTEN | PRESENT | IS_FILE,
		WPALLOWED | PRESENT,
		WPALLOWED | WRITTEN | SWAPPED,
		WPALLOWED | WRITTEN | PRESENT | SOFTDIRTY,
	};
	struct vellum_uffd *u = new_uffd(w, ASYNC);

	add_swap(w, swap);
	map_at(w->mm, 0, NR_KINDS, RW, ANON);
	map_at(w->mm, 3, 1, RW, SHANON);
	load(w->cpu[0], PAGE(1));
	for (unsigned i = 2; i < 6; i++)
		store(w->cpu[0], PAGE(i), 1);
	enrol(w, u, 0, NR_KINDS, WP);
	page_out(w, 5, 1);
	guard_writes(w, u, 4, 1);
	OK(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
	store(w->cpu[0], PAGE(6), 1);
	check_world(w);
	memcpy(categories, kinds, sizeof(kinds));
	return u;
}

/* The regions by the definition, computed page by page from the categories @c. */
static uint64_t expected(const struct vellum_scan_args *a, const uint64_t *c, struct vellum_page_region *out)
{
	uint64_t nr = 0;

	for (unsigned i = 0; i < NR_KINDS; i++) {
		uint64_t turned = c[i] ^ a->category_inverted, told = c[i] & a->return_mask;

		if ((turned & a->category_mask) != a->category_mask)
			continue;
		if (a->category_anyof_mask && !(turned & a->category_anyof_mask))
			continue;
		if (nr && out[nr - 1].end == PAGE(i) && out[nr - 1].categories == told)
			out[nr - 1].end += PAGE_SIZE;
		else
			out[nr++] = (struct vellum_page_region){PAGE(i), PAGE(i + 1), told};
	}
	return nr;
}

static void T_scan_05_logic(void **state)
{
	struct world *w = *state;
	struct swap_array *swap = malloc(sizeof(*swap));
	uint64_t categories[NR_KINDS], seed = 99;
	struct vellum_uffd *u = page_of_each_kind(w, swap, categories);
	struct vellum_page_region want[NR_KINDS];
	struct scan_call s;

	for (unsigned round = 0; round < 3000; round++) {
		uint64_t nr;

		prepare(&s, 0, NR_KINDS, 0, 0);
		s.args.category_inverted = round ? random_below(&seed, 256) : 0;
		/* Few bits, so that pages match; in the first rounds all. */
		s.args.category_mask = round ? random_below(&seed, 256) & random_below(&seed, 256) : 0;
		s.args.category_anyof_mask = round % 2 ? random_below(&seed, 256) : 0;
		s.args.return_mask = round ? random_below(&seed, 256) : 255;
		nr = expected(&s.args, categories, want);
		OK(vellum_pagemap_scan(w->mm, &s.args, &s.nr));
		assert_int_equal(s.nr, nr);
		assert_memory_equal(s.vec, want, nr * sizeof(*want));
	}
	check_world(w);
	unmap(w->mm, 0, NR_KINDS);
	vellum_uffd_put(u);
	OK(vellum_swap_remove(w->memory, 0));
	free(swap);
}

/* A scan without a vector protects pages. */
static void T_scan_06_without_a_vector(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, ASYNC);
	struct scan_call s;

	map_at(w->mm, 0, 8, RW, ANON);
	map_at(w->mm, 8, 8, RW, SHANON);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(9), 1);
	enrol(w, u, 0, 16, WP);
	prepare(&s, 0, 16, 0, WRITTEN);
	s.args.vec = NULL;
	s.args.vec_len = 0;
	OK(run(w, &s)); /* without PROTECT, the call does nothing */
	assert_int_equal(s.nr, 0);
	assert_word(w, 0, IS_PAGE);
	prepare(&s, 0, 16, PROTECT, SWAPPED);
	s.args.vec = NULL;
	s.args.vec_len = 0;
	OK(run(w, &s));
	assert_int_equal(s.nr, 0);
	assert_int_equal(s.args.walk_end, PAGE(16));
	for (unsigned i = 0; i < 16; i++)
		assert_word(w, i, i == 0 || i == 9 ? IS_WP_PAGE : IS_WP_NONE);
	store_passes(w, u, 1, 1);
	scan(w, &s, 0, 16, 0, WRITTEN);
	assert_int_equal(s.nr, 1);
	is_region(&s, 0, 1, 1, WRITTEN);
	vellum_uffd_put(u);
}

static void guards_are_a_category(void **state)
{
	struct world *w = *state;
	struct scan_call s;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(3), 1);
	OK(vellum_madvise(w->mm, PAGE(1), BYTES(2), VELLUM_MADV_GUARD_INSTALL));
	scan(w, &s, 0, 4, 0, GUARD);
	assert_int_equal(s.nr, 1);
	is_region(&s, 0, 1, 2, GUARD);
	prepare(&s, 0, 4, 0, GUARD);
	s.args.category_inverted = GUARD;	/* all that is no guard */
	s.args.return_mask = PRESENT | SWAPPED | GUARD;
	OK(run(w, &s));
	assert_int_equal(s.nr, 2);
	is_region(&s, 0, 0, 1, 0);
	is_region(&s, 1, 3, 1, PRESENT);
	OK(vellum_madvise(w->mm, PAGE(1), BYTES(1), VELLUM_MADV_GUARD_REMOVE));
	scan(w, &s, 0, 4, 0, GUARD | SWAPPED);
	assert_int_equal(s.nr, 1);
	is_region(&s, 0, 2, 1, GUARD | SWAPPED);
}

/* Poison and guards are neither present nor written. */
static void poison_and_guards_are_not_protected(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, ASYNC);
	struct scan_call s;

	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 0, 4, WP);
	OK(poison_in(u, 0));
	OK(vellum_madvise(w->mm, PAGE(1), BYTES(1), VELLUM_MADV_GUARD_INSTALL));
	guard_writes(w, u, 2, 1);
	scan(w, &s, 0, 4, 0, SWAPPED);
	assert_int_equal(s.nr, 1);
	is_region(&s, 0, 0, 3, SWAPPED);
	prepare(&s, 0, 4, PROTECT, 0);
	s.args.vec = NULL;
	s.args.vec_len = 0;
	OK(run(w, &s));
	assert_word(w, 1, IS_GUARD);
	assert_int_equal(try_load(w->cpu[0], PAGE(0)), VELLUM_FAULT_HWPOISON);
	assert_int_equal(try_load(w->cpu[0], PAGE(1)), VELLUM_FAULT_SIGSEGV_MAPERR);
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(written_is_what_was_stored_since_the_protection),
		WORLD_TEST(vmas_without_userfaultfd_are_not_protected),
		WORLD_TEST(scan_of_a_file),
		WORLD_TEST(regions_coalesce),
		WORLD_TEST(T_scan_01_no_store_is_missed),
		WORLD_TEST(T_scan_01_no_store_is_reported_twice),
		WORLD_TEST(T_scan_02_limits),
		WORLD_TEST(limits_inside_a_region),
		WORLD_TEST(T_scan_03_half_a_huge_page),
		WORLD_TEST(whole_huge_page_is_not_split),
		WORLD_TEST(huge_page_beyond_the_limit_is_split),
		WORLD_TEST(T_scan_04_errors),
		WORLD_TEST(T_scan_05_logic),
		WORLD_TEST(T_scan_06_without_a_vector),
		WORLD_TEST(guards_are_a_category),
		WORLD_TEST(poison_and_guards_are_not_protected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
