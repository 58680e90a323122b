/* SPDX-License-Identifier: MIT */
/* Calls on 2^46 bytes with three pages: their time depends on the pages and tables, and SIGKILL ends them. */
#include "uffd_support.h"
#include "mm/table/huge.h"

#define LARGE	(1ull << 46)
#define MOST	20000	/* lookups in one call; the range has 2^25 last-level tables */

static uint64_t nr_lookups;

pte_t *__real_pte_lookup(struct vellum_mm *mm, gva_t addr, struct mutex **ptl);
pte_t *__wrap_pte_lookup(struct vellum_mm *mm, gva_t addr, struct mutex **ptl);
bool __real_huge_lookup(struct vellum_mm *mm, gva_t addr, struct leaf *leaf);
bool __wrap_huge_lookup(struct vellum_mm *mm, gva_t addr, struct leaf *leaf);
struct vma *__real_find_vma(const struct vellum_mm *mm, gva_t addr);
struct vma *__wrap_find_vma(const struct vellum_mm *mm, gva_t addr);

/* The call would run too long. It holds locks, so the test cannot fail in an ordinary way. */
static void count_lookup(void)
{
	if (++nr_lookups > MOST) {
		print_error("more than %d lookups in one call\n", MOST);
		_exit(1);
	}
}

pte_t *__wrap_pte_lookup(struct vellum_mm *mm, gva_t addr, struct mutex **ptl)
{
	count_lookup();
	return __real_pte_lookup(mm, addr, ptl);
}

bool __wrap_huge_lookup(struct vellum_mm *mm, gva_t addr, struct leaf *leaf)
{
	count_lookup();
	return __real_huge_lookup(mm, addr, leaf);
}

struct vma *__wrap_find_vma(const struct vellum_mm *mm, gva_t addr)
{
	count_lookup();
	return __real_find_vma(mm, addr);
}

/* Counts the lookups of one call. */
#define CALL(expr) (nr_lookups = 0, (expr))

static void map_large(struct world *w, uint64_t len)
{
	struct vellum_map_args args = { .size = sizeof(args), .addr = BASE, .len = len, .prot = RW,
					.flags = ANON | VELLUM_MAP_FIXED | VELLUM_MAP_NORESERVE };
	uint64_t addr;

	OK(vellum_mmap(w->mm, &args, &addr));
	store(w->cpu[0], BASE, 1);
	store(w->cpu[0], BASE + len / 2, 2);
	store(w->cpu[0], BASE + len - PAGE_SIZE, 3);
}

static void expect_stored(struct world *w, uint64_t start, uint64_t len)
{
	assert_int_equal(load(w->cpu[0], start), 1);
	assert_int_equal(load(w->cpu[0], start + len / 2), 2);
	assert_int_equal(load(w->cpu[0], start + len - PAGE_SIZE), 3);
}

static void advice_takes_time_by_pages(void **state)
{
	static const int keep[] = {
		VELLUM_MADV_NORMAL, VELLUM_MADV_RANDOM, VELLUM_MADV_SEQUENTIAL, VELLUM_MADV_WILLNEED,
		VELLUM_MADV_DONTFORK, VELLUM_MADV_DOFORK, VELLUM_MADV_DONTDUMP, VELLUM_MADV_DODUMP,
		VELLUM_MADV_WIPEONFORK, VELLUM_MADV_KEEPONFORK, VELLUM_MADV_COLD, VELLUM_MADV_PAGEOUT,
		VELLUM_MADV_GUARD_REMOVE, VELLUM_MADV_HUGEPAGE, VELLUM_MADV_NOHUGEPAGE,
	};
	static const int drop[] = { VELLUM_MADV_FREE, VELLUM_MADV_DONTNEED, VELLUM_MADV_DONTNEED_LOCKED };
	struct world *w = *state;

	map_large(w, LARGE);
	for (unsigned i = 0; i < ARRAY_SIZE(keep); i++)
		OK(CALL(vellum_madvise(w->mm, BASE, LARGE, keep[i])));
	check_world(w);
	expect_stored(w, BASE, LARGE);
	for (unsigned i = 0; i < ARRAY_SIZE(drop); i++)
		OK(CALL(vellum_madvise(w->mm, BASE, LARGE, drop[i])));
	assert_int_equal(vellum_mm_rss(w->mm), 0);
	check_world(w);
}

/* A range of 2 MiB without a table is -EINVAL, as there is no page to collapse. */
static void collapse_takes_time_by_tables(void **state)
{
	struct world *w = *state;

	map_large(w, LARGE);
	OK(vellum_madvise(w->mm, BASE, LARGE, VELLUM_MADV_HUGEPAGE));
	assert_int_equal(CALL(vellum_madvise(w->mm, BASE + LARGE / 2 + PMD_SIZE, LARGE / 4, VELLUM_MADV_COLLAPSE)),
			 -EINVAL);
	assert_int_equal(CALL(vellum_madvise(w->mm, BASE, LARGE, VELLUM_MADV_COLLAPSE)), -EINVAL);
	assert_int_equal(vellum_mm_rss(w->mm), 3 * PMD_PAGES);	/* ranges with pages are huge now */
	expect_stored(w, BASE, LARGE);
	check_world(w);
}

static void mprotect_and_mlock_take_time_by_pages(void **state)
{
	struct world *w = *state;

	map_large(w, LARGE);
	OK(CALL(vellum_mprotect(w->mm, BASE, LARGE, RO)));
	OK(CALL(vellum_mprotect(w->mm, BASE, LARGE, RW)));
	OK(CALL(vellum_mlock(w->mm, BASE, LARGE, VELLUM_MLOCK_ONFAULT)));
	OK(CALL(vellum_munlock(w->mm, BASE, LARGE)));
	OK(CALL(vellum_mlockall(w->mm, VELLUM_MCL_CURRENT | VELLUM_MCL_ONFAULT)));
	OK(CALL(vellum_munlockall(w->mm)));
	OK(CALL(vellum_msync(w->mm, BASE, LARGE, VELLUM_MS_SYNC)));
	expect_stored(w, BASE, LARGE);
	check_world(w);
}

static int count_entry(void *arg, const struct vellum_entry *entry)
{
	(void)entry;
	return ++*(int *)arg < 0;
}

static void pagemap_and_scan_take_time_by_pages(void **state)
{
	struct world *w = *state;
	uint64_t pages = 1 << 20, nr, in_core = 0;
	uint8_t *vec = malloc(pages);
	struct vellum_page_region vec_region[4];
	struct vellum_scan_args scan = { .size = sizeof(scan), .start = BASE, .end = BASE + LARGE, .vec = vec_region,
					 .vec_len = 4, .category_mask = VELLUM_PAGE_IS_PRESENT,
					 .return_mask = VELLUM_PAGE_IS_PRESENT };
	struct vellum_vma_info info;
	struct vellum_vma_usage usage;
	int entries = 0;

	map_large(w, LARGE);
	OK(CALL(vellum_mincore(w->mm, BASE + LARGE / 2 - BYTES(pages / 2), BYTES(pages), vec)));
	for (uint64_t i = 0; i < pages; i++)
		in_core += vec[i];
	assert_int_equal(in_core, 1);
	assert_int_equal(vec[pages / 2], 1);
	OK(CALL(vellum_pagemap_scan(w->mm, &scan, &nr)));
	assert_int_equal(nr, 3);
	assert_int_equal(vec_region[1].start, BASE + LARGE / 2);
	scan.category_mask = 0, scan.return_mask = 0;	/* all pages match: one region */
	OK(CALL(vellum_pagemap_scan(w->mm, &scan, &nr)));
	assert_int_equal(nr, 1);
	assert_int_equal(vec_region[0].start, BASE);
	assert_int_equal(vec_region[0].end, BASE + LARGE);
	OK(CALL(vellum_vma_usage(w->mm, BASE, &info, &usage)));
	assert_int_equal(usage.rss, BYTES(3));
	OK(CALL(vellum_walk_entries(w->mm, BASE, BASE + LARGE, count_entry, &entries)));
	assert_int_equal(entries, 3);
	OK(CALL(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY)));
	free(vec);
}

static void mremap_and_fork_take_time_by_pages(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t to = BASE + LARGE / 2;

	map_large(w, LARGE / 4);
	OK(CALL(vellum_mremap(w->mm, BASE, LARGE / 4, LARGE / 4, VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &to)));
	expect_stored(w, to, LARGE / 4);
	OK(CALL(vellum_fork(w->mm, &child)));
	vellum_mm_put(child);
	OK(CALL(vellum_munmap(w->mm, to, LARGE / 4)));
	check_world(w);
}

static void uffd_takes_time_by_pages(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *uffd;
	uint64_t mask;

	map_large(w, LARGE);
	OK(vellum_uffd_create(w->mm, 0, &uffd));
	OK(vellum_uffd_api(uffd, VELLUM_UFFD_API, 0, &mask, &mask));
	OK(vellum_uffd_register(uffd, BASE, LARGE, WP, &mask));
	OK(CALL(vellum_uffd_writeprotect(uffd, BASE, LARGE, VELLUM_UFFD_WRITEPROTECT_WP)));
	OK(CALL(vellum_uffd_writeprotect(uffd, BASE, LARGE, 0)));
	OK(CALL(vellum_uffd_unregister(uffd, BASE, LARGE)));
	vellum_uffd_put(uffd);
	expect_stored(w, BASE, LARGE);
}

/* --- SIGKILL --- */

/* The process is killed at the @nth check. The call returned @err, and faulted in at most @pages. */
static void expect_killed(struct world *w, uint64_t nth, int err, uint64_t pages)
{
	assert_int_equal(err, -EINTR);
	assert_in_range(w->host.nr_asked, nth, nth + 4);
	assert_in_range(vellum_mm_rss(w->mm), 0, pages);
	check_world(w);
	OK(vellum_madvise(w->mm, BASE, LARGE, VELLUM_MADV_DONTNEED_LOCKED));
	w->host.kill_at = 0;
}

#define KILL_AT(w, nth) (nr_lookups = 0, (w)->host.nr_asked = 0, (w)->host.kill_at = (nth))

static void sigkill_ends_the_call(void **state)
{
	struct world *w = *state;

	map_large(w, LARGE);
	KILL_AT(w, 20);
	expect_killed(w, 20, vellum_madvise(w->mm, BASE, LARGE, VELLUM_MADV_POPULATE_WRITE), 22);
	KILL_AT(w, 20);
	expect_killed(w, 20, vellum_madvise(w->mm, BASE, LARGE, VELLUM_MADV_POPULATE_READ), 22);
	KILL_AT(w, 20);
	expect_killed(w, 20, vellum_mlock(w->mm, BASE, LARGE, 0), 22);
	OK(vellum_munlock(w->mm, BASE, LARGE));
	KILL_AT(w, 3);
	expect_killed(w, 3, vellum_madvise(w->mm, BASE, LARGE, VELLUM_MADV_GUARD_INSTALL), 3);
	OK(vellum_madvise(w->mm, BASE, LARGE, VELLUM_MADV_GUARD_REMOVE));
	store(w->cpu[0], BASE, 1);
	KILL_AT(w, 1);
	expect_killed(w, 1, vellum_madvise(w->mm, BASE, LARGE, VELLUM_MADV_PAGEOUT), 1);
	KILL_AT(w, 1);
	expect_killed(w, 1, vellum_madvise(w->mm, BASE, LARGE, VELLUM_MADV_COLLAPSE), 1);
}

/* Other signals do not interrupt the call. */
static void other_signals_do_not_end_the_call(void **state)
{
	struct world *w = *state;

	map_large(w, LARGE);
	w->host.interrupted = VELLUM_INTERRUPTED;
	OK(vellum_madvise(w->mm, BASE, BYTES(64), VELLUM_MADV_POPULATE_WRITE));
	OK(vellum_mlock(w->mm, BASE, BYTES(128), 0));
	OK(vellum_munlock(w->mm, BASE, BYTES(128)));
	OK(vellum_madvise(w->mm, BASE, BYTES(64), VELLUM_MADV_GUARD_INSTALL));
	w->host.interrupted = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(advice_takes_time_by_pages),
		WORLD_TEST(collapse_takes_time_by_tables),
		WORLD_TEST(mprotect_and_mlock_take_time_by_pages),
		WORLD_TEST(pagemap_and_scan_take_time_by_pages),
		WORLD_TEST(mremap_and_fork_take_time_by_pages),
		WORLD_TEST(uffd_takes_time_by_pages),
		WORLD_TEST(sigkill_ends_the_call),
		WORLD_TEST(other_signals_do_not_end_the_call),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
