/* SPDX-License-Identifier: MIT */
/* The page walker: which callbacks it calls, in which order, and what ends the walk. */
#include "mm/table/pagewalk.h"
#include "more_support.h"

#define FAR (PMD_SIZE / PAGE_SIZE)	/* pages to the next last-level table */

struct call {
	char what;		/* t test, ( pre, ) post, l huge leaf, e entry, h hole */
	uint64_t start, end;	/* page numbers from BASE */
};

struct log {
	struct call call[64];
	unsigned nr;
	int answer;		/* the return value of callback @at for page (or VMA at) @page */
	char at;
	uint64_t page;
};

static int note(struct mm_walk *walk, char what, gva_t start, gva_t end)
{
	struct log *log = walk->private;

	if (log->nr == ARRAY_SIZE(log->call))	/* no assertion here: locks are held */
		return -ENOSPC;
	log->call[log->nr++] = (struct call){ what, (start - BASE) / PAGE_SIZE, (end - BASE) / PAGE_SIZE };
	return what == log->at && (start - BASE) / PAGE_SIZE == log->page ? log->answer : 0;
}

static int note_test(struct vma *vma, struct mm_walk *walk)
{
	assert_ptr_equal(vma, walk->vma);
	return note(walk, 't', walk->start, walk->end);
}

static int note_pre(struct mm_walk *walk)
{
	return note(walk, '(', walk->start, walk->end);
}

static void note_post(struct mm_walk *walk)
{
	note(walk, ')', walk->start, walk->end);
}

static int note_pte(pte_t *ptep, gva_t addr, struct mm_walk *walk)
{
	struct mutex *ptl;

	assert_ptr_equal(ptep, pte_lookup(walk->vma->mm, addr, &ptl));
	assert_true(mutex_is_locked(ptl));
	return note(walk, 'e', addr, addr + PAGE_SIZE);
}

static int note_hole(gva_t start, gva_t end, struct mm_walk *walk)
{
	return note(walk, 'h', start, end);
}


static int note_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	(void)entry;
	assert_int_equal(shift, PMD_SHIFT);
	return note(walk, 'l', start, end);
}

static const struct mm_walk_ops note_ops = {
	.test_vma = note_test, .pre_vma = note_pre, .post_vma = note_post,
	.huge_leaf = note_leaf, .pte = note_pte, .hole = note_hole,
};

static int walk_pages(struct world *w, uint64_t first, uint64_t end, struct log *log)
{
	int err;

	read_lock(&w->mm->mmap_lock, &w->memory->host);
	err = walk_page_range(w->mm, PAGE(first), PAGE(end), &note_ops, log);
	read_unlock(&w->mm->mmap_lock, &w->memory->host);
	return err;
}

static void expect_calls(const struct log *log, const struct call *want, unsigned nr)
{
	for (unsigned i = 0; i < nr && i < log->nr; i++) {
		assert_int_equal(log->call[i].what, want[i].what);
		assert_int_equal(log->call[i].start, want[i].start);
		assert_int_equal(log->call[i].end, want[i].end);
	}
	assert_int_equal(log->nr, nr);
}

#define EXPECT(log, ...)                                                              \
	do {                                                                          \
		const struct call want[] = { __VA_ARGS__ };                           \
		expect_calls(log, want, ARRAY_SIZE(want));                            \
	} while (0)

/* Two VMAs with a gap between them. Only the second half of the second has a table. */
static void two_mappings(struct world *w)
{
	map_at(w->mm, 0, 3, RW, ANON);
	store(w->cpu[0], PAGE(1), 1);
	map_at(w->mm, FAR - 2, 4, RW, ANON);
	unmap(w->mm, 3, 1);
	store(w->cpu[0], PAGE(FAR), 1);
}

/*
 * Pages are visited in ascending order, none entries too. A part without a table is one hole. All calls are
 * clipped to the range.
 */
static void T_walk_01_order_and_holes(void **state)
{
	struct world *w = *state;
	struct log log = { .at = 0 };

	two_mappings(w);
	assert_int_equal(walk_pages(w, 1, FAR + 1, &log), 0);
	EXPECT(&log, { 't', 1, 3 }, { '(', 1, 3 }, { 'e', 1, 2 }, { 'e', 2, 3 }, { ')', 1, 3 },
	       { 't', FAR - 2, FAR + 1 }, { '(', FAR - 2, FAR + 1 }, { 'e', FAR - 2, FAR - 1 },
	       { 'e', FAR - 1, FAR }, { 'e', FAR, FAR + 1 }, { ')', FAR - 2, FAR + 1 });
	unmap(w->mm, 0, 3);
	log.nr = 0;
	assert_int_equal(walk_pages(w, 3, FAR - 2, &log), 0);
	assert_int_equal(log.nr, 0);
	map_at(w->mm, 4 * FAR - 1, 2, RW, ANON);
	assert_int_equal(walk_pages(w, 4 * FAR - 1, 4 * FAR + 1, &log), 0);
	EXPECT(&log, { 't', 4 * FAR - 1, 4 * FAR + 1 }, { '(', 4 * FAR - 1, 4 * FAR + 1 },
	       { 'h', 4 * FAR - 1, 4 * FAR }, { 'h', 4 * FAR, 4 * FAR + 1 }, { ')', 4 * FAR - 1, 4 * FAR + 1 });
}

/* A leaf is visited once. Its callback may end the walk, or have it split and walked as a table. */
static void huge_leaves_are_visited_once(void **state)
{
	struct world *w = *state;
	struct log log = { .at = 0 }, stops = { .at = 'l', .page = FAR, .answer = WALK_STOP };
	struct log splits = { .at = 'l', .page = FAR, .answer = WALK_SPLIT };

	map_at(w->mm, FAR, 2 * FAR, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(FAR), BYTES(2 * FAR), VELLUM_MADV_HUGEPAGE));
	store(w->cpu[0], PAGE(FAR), 1);
	store(w->cpu[0], PAGE(2 * FAR), 1);
	assert_int_equal(walk_pages(w, FAR, 2 * FAR + 1, &log), 0);
	EXPECT(&log, { 't', FAR, 2 * FAR + 1 }, { '(', FAR, 2 * FAR + 1 }, { 'l', FAR, 2 * FAR },
	       { 'l', 2 * FAR, 2 * FAR + 1 }, { ')', FAR, 2 * FAR + 1 });
	assert_int_equal(walk_pages(w, FAR, 2 * FAR + 1, &stops), WALK_STOP);
	EXPECT(&stops, { 't', FAR, 2 * FAR + 1 }, { '(', FAR, 2 * FAR + 1 }, { 'l', FAR, 2 * FAR },
	       { ')', FAR, 2 * FAR + 1 });
	assert_int_equal(walk_pages(w, FAR, FAR + 2, &splits), 0);
	EXPECT(&splits, { 't', FAR, FAR + 2 }, { '(', FAR, FAR + 2 }, { 'l', FAR, FAR + 2 }, { 'e', FAR, FAR + 1 },
	       { 'e', FAR + 1, FAR + 2 }, { ')', FAR, FAR + 2 });
}

/*
 * A non-zero return value of a callback ends the walk with that value. post is called if pre was. A skipped VMA
 * does not end the walk.
 */
static void T_walk_03_codes(void **state)
{
	struct world *w = *state;
	struct log stops = { .at = 'e', .page = 1, .answer = 5 }, fails = { .at = 'e', .page = 0, .answer = -EIO };
	struct log skips = { .at = 't', .page = 0, .answer = WALK_SKIP };
	struct log no_pre = { .at = '(', .page = 0, .answer = -EIO }, test = { .at = 't', .page = 0, .answer = -EIO };

	two_mappings(w);
	assert_int_equal(walk_pages(w, 0, FAR + 2, &stops), 5);
	EXPECT(&stops, { 't', 0, 3 }, { '(', 0, 3 }, { 'e', 0, 1 }, { 'e', 1, 2 }, { ')', 0, 3 });
	assert_int_equal(walk_pages(w, 0, FAR + 2, &fails), -EIO);
	EXPECT(&fails, { 't', 0, 3 }, { '(', 0, 3 }, { 'e', 0, 1 }, { ')', 0, 3 });
	assert_int_equal(walk_pages(w, 0, FAR - 1, &skips), 0);
	EXPECT(&skips, { 't', 0, 3 }, { 't', FAR - 2, FAR - 1 }, { '(', FAR - 2, FAR - 1 },
	       { 'e', FAR - 2, FAR - 1 }, { ')', FAR - 2, FAR - 1 });
	assert_int_equal(walk_pages(w, 0, FAR, &no_pre), -EIO);
	EXPECT(&no_pre, { 't', 0, 3 }, { '(', 0, 3 });
	assert_int_equal(walk_pages(w, 0, FAR, &test), -EIO);
	EXPECT(&test, { 't', 0, 3 });
}

static int sum_pages(pte_t *ptep, gva_t addr, struct mm_walk *walk)
{
	uint64_t *seen = walk->private;

	(void)ptep;
	assert_true(addr >= walk->start && addr < walk->end);
	seen[vma_page_index(walk->vma, addr)]++;
	return 0;
}

static int is_shared(struct vma *vma, struct mm_walk *walk)
{
	(void)walk;
	return vma->flags & VM_SHARED ? 0 : WALK_SKIP;
}

/* Two processes whose VMAs overlap in the mapping, and a private VMA between them that is skipped. */
static void T_walk_04_by_mapping(void **state)
{
	static const struct mm_walk_ops ops = { .test_vma = is_shared, .pte = sum_pages };
	struct world *w = *state;
	struct counting c = { .faults = 0 };
	struct vellum_mapping *obj = new_object(w, &c, 16);
	struct vellum_mm *other;
	uint64_t seen[16] = { 0 };

	OK(vellum_mm_create(w->memory, &other));
	map_object(w->mm, 0, 8, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	map_object(w->mm, 32, 4, RW, VELLUM_MAP_PRIVATE, obj, 3, RW);
	map_object(other, 0, 8, RW, VELLUM_MAP_SHARED, obj, 4, RW);
	vellum_soft_load_mm(w->cpu[1], other);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(32), 1);
	store(w->cpu[1], PAGE(0), 1);
	read_lock(&obj->i_mmap_lock, &w->memory->host);
	assert_int_equal(walk_mapping(obj, 2, 8, &ops, seen), 0);
	read_unlock(&obj->i_mmap_lock, &w->memory->host);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(seen[i], (i >= 2 && i < 8) + (i >= 4 && i < 10));
	vellum_soft_load_mm(w->cpu[1], NULL);
	vellum_mm_put(other);
	unmap(w->mm, 0, 36);
	vellum_mapping_put(obj);
	assert_int_equal(c.releases, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(T_walk_01_order_and_holes),
		WORLD_TEST(huge_leaves_are_visited_once),
		WORLD_TEST(T_walk_03_codes),
		WORLD_TEST(T_walk_04_by_mapping),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
