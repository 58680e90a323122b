/* SPDX-License-Identifier: MIT */
/*
 * tests/unit/snapshot/test_snapshot_marks.c - the marks that a restore leaves: for the next restore, which looks at too
 * much if there are too many, and for reclaim.
 */
#include "support.h"
#include "vellum/snapshot.h"
#include "vellum/swap.h"

#define PAGES 8

static struct vellum_snapshot *freeze(struct world *w)
{
	struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = 1, .mms = &w->mm };
	struct vellum_snapshot *snapshot = NULL;

	map_at(w->mm, 0, PAGES, RW, ANON);
	for (unsigned i = 0; i < PAGES; i++)
		store(w->cpu[0], PAGE(i), 1 + i);
	assert_int_equal(vellum_snapshot_create(&args, &snapshot), 0);
	return snapshot;
}

static void run(struct world *w, uint64_t word)
{
	for (unsigned i = 0; i < PAGES; i++)
		store(w->cpu[0], PAGE(i), word + i);
}

static uint64_t copied_pages(struct vellum_snapshot *snapshot)
{
	struct vellum_snapshot_info info = { .size = sizeof(info) };

	assert_int_equal(vellum_snapshot_info(snapshot, &info), 0);
	return info.copied_pages;
}

/* A of the entries above PAGE(0), a bit for each level. */
static unsigned touched(struct world *w)
{
	const uint64_t *table = &w->mm->pgd[0].val;
	unsigned bits = 0;

	for (unsigned shift = PGD_SHIFT; shift > PAGE_SHIFT; shift -= 9) {
		uint64_t val = table[table_index(PAGE(0), shift)];

		bits = bits << 1 | !!(val & X86_ACCESSED);
		table = table_of(w->memory, val);
	}
	return bits;
}

/* Else each restore would look at all tables. */
static void restore_clears_a_above(void **state)
{
	struct world *w = *state;
	struct vellum_snapshot *snapshot = freeze(w);

	assert_int_equal(touched(w), 0);
	run(w, 10);
	assert_int_equal(touched(w), 7);
	assert_int_equal(vellum_snapshot_restore(snapshot), 0);
	assert_int_equal(touched(w), 0);
	assert_int_equal(vellum_snapshot_restore(snapshot), 0);
	assert_int_equal(touched(w), 0);
	vellum_snapshot_destroy(snapshot);
}

/* Else each restore would copy the pages of all earlier runs. */
static void restore_clears_d(void **state)
{
	struct world *w = *state;
	struct vellum_snapshot *snapshot = freeze(w);

	run(w, 10);
	assert_int_equal(vellum_snapshot_restore(snapshot), 0);
	assert_int_equal(copied_pages(snapshot), PAGES);
	store(w->cpu[0], PAGE(3), 30);
	assert_int_equal(vellum_snapshot_restore(snapshot), 0);
	assert_int_equal(copied_pages(snapshot), 1);
	assert_int_equal(vellum_snapshot_restore(snapshot), 0);
	assert_int_equal(copied_pages(snapshot), 0);
	vellum_snapshot_destroy(snapshot);
}

/* After MADV_FREE, reclaim drops a page that was not stored to. The restore has stored to it. */
static void freed_pages_stay_after_a_restore(void **state)
{
	struct world *w = *state;
	struct vellum_snapshot *snapshot = freeze(w);

	run(w, 10);
	assert_int_equal(vellum_snapshot_restore(snapshot), 0);
	run(w, 20);
	assert_int_equal(vellum_madvise(w->mm, PAGE(0), PAGES * PAGE_SIZE, VELLUM_MADV_FREE), 0);
	assert_int_equal(vellum_snapshot_restore(snapshot), 0);
	vellum_reclaim(w->memory, 1000);
	for (unsigned i = 0; i < PAGES; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), 1 + i);
	vellum_snapshot_destroy(snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(restore_clears_a_above, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(restore_clears_d, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(freed_pages_stay_after_a_restore, world_setup, world_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
