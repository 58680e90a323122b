/* SPDX-License-Identifier: MIT */
/* MADV_COLLAPSE of a file in memory: its pages are written back, and a userfaultfd may wait for its holes. */
#define _GNU_SOURCE
#include "file_support.h"
#include "huge_support.h"
#include "uffd_support.h"

#define FILE_RAM (64 << 20)

static uint64_t hole;		/* has_page() finds none here; ~0: everywhere */

static int has_page(void *ctx, uint64_t pgoff)
{
	(void)ctx;
	return pgoff != hole;
}

static int big_setup(void **state)
{
	*state = malloc(sizeof(struct world));
	world_create(*state, FILE_RAM);
	hole = ~0ull;
	return 0;
}

#define BIG_TEST(fn) cmocka_unit_test_setup_teardown(fn, big_setup, world_teardown)

/* Shared at page 0. */
static void new_file(struct world *w, struct file *file)
{
	struct vellum_backing_ops ops = file_ops;

	ops.has_page = has_page;
	file_create_with(file, w, HUGE, &ops, VELLUM_MAPPING_WRITEBACK);
	map_shared(w->mm, 0, HUGE, file, 0);
}

static int collapse(struct world *w)
{
	int err = vellum_madvise(w->mm, PAGE(0), BYTES(HUGE), VELLUM_MADV_COLLAPSE);

	check_world(w);
	return err;
}

static uint64_t leaf(struct world *w)
{
	return leaf_at(w->mm, PAGE(0), PMD_SHIFT);
}

static void drop_file(struct world *w, struct file *file)
{
	unmap(w->mm, 0, HUGE);
	file_destroy(file);
}

/* Dirty pages stay dirty, others clean; what is not cached is read. A store makes small entries and a dirty page. */
static void dirt_survives(void **state)
{
	struct world *w = *state;
	struct file file;

	new_file(w, &file);
	for (unsigned i = 0; i < HUGE; i += 2)
		store(w->cpu[0], PAGE(i), 1000 + i);
	OK(collapse(w));
	assert_int_equal(file.writes, 0);
	assert_int_equal(leaf(w) & (X86_PSE | X86_RW | X86_DIRTY), X86_PSE);
	for (unsigned i = 0; i < HUGE; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i % 2 ? file_initial(i) : 1000 + i);
	assert_true(leaf(w) & X86_PSE);
	store(w->cpu[0], PAGE(7), 77);
	assert_false(leaf(w) & X86_PSE);
	check_world(w);
	OK(vellum_msync(w->mm, PAGE(0), BYTES(HUGE), VELLUM_MS_SYNC));
	assert_int_equal(file.writes, HUGE / 2 + 1);
	for (unsigned i = 0; i < HUGE; i++)
		assert_int_equal(file_word(&file, BYTES(i)), i == 7 ? 77 : i % 2 ? file_initial(i) : 1000 + i);
	OK(collapse(w));
	OK(vellum_msync(w->mm, PAGE(0), BYTES(HUGE), VELLUM_MS_SYNC));
	assert_int_equal(file.writes, HUGE / 2 + 1);
	drop_file(w, &file);
}

static void other_mappings_lose_their_entries(void **state)
{
	struct world *w = *state;
	struct file file;

	new_file(w, &file);
	map_shared(w->mm, 2 * HUGE, HUGE, &file, 0);
	for (unsigned i = 0; i < HUGE; i++)
		store(w->cpu[0], PAGE(2 * HUGE + i), i + 1);
	OK(collapse(w));
	store(w->cpu[0], PAGE(2 * HUGE + 3), 55);
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 55);
	assert_int_equal(load(w->cpu[0], PAGE(4)), 5);
	OK(vellum_mapping_punch_hole(file.mapping, BYTES(2), BYTES(2)));
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(4)), 5);
	unmap(w->mm, 2 * HUGE, HUGE);
	drop_file(w, &file);
}

static void userfaultfd_decides(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct file file;

	new_file(w, &file);
	for (unsigned i = 0; i < HUGE; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	enrol(w, u, 0, HUGE, VELLUM_UFFD_WP);
	assert_int_equal(collapse(w), -EBUSY);
	withdraw(w, u, 0, HUGE);
	enrol(w, u, 0, HUGE, VELLUM_UFFD_MINOR);
	OK(vellum_mapping_punch_hole(file.mapping, BYTES(9), BYTES(1)));
	hole = 9;
	assert_int_equal(collapse(w), -EBUSY);
	hole = ~0ull;
	OK(collapse(w));
	assert_true(leaf(w) & X86_PSE);
	assert_int_equal(load(w->cpu[0], PAGE(8)), 9);	/* no fault for the reader */
	drop_file(w, &file);
	vellum_uffd_put(u);
}

static void refusals(void **state)
{
	struct world *w = *state;
	struct file file, plain;
	uint64_t pfn;

	new_file(w, &file);
	store(w->cpu[0], PAGE(3), 33);
	pfn = pin(w->mm, PAGE(3), 0);
	assert_int_equal(collapse(w), -EAGAIN);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 33);
	unpin(w, pfn);
	OK(vellum_mapping_punch_hole(file.mapping, BYTES(5), BYTES(1)));
	file.fault_code = VELLUM_VMF_SIGBUS;
	assert_int_equal(collapse(w), -EAGAIN);
	file.fault_code = 0;
	OK(collapse(w));
	drop_file(w, &file);
	file_create(&plain, w, HUGE);			/* not in memory */
	map_shared(w->mm, 0, HUGE, &plain, 0);
	assert_int_equal(collapse(w), -EINVAL);
	drop_file(w, &plain);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BIG_TEST(dirt_survives),
		BIG_TEST(other_mappings_lose_their_entries),
		BIG_TEST(userfaultfd_decides),
		BIG_TEST(refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
