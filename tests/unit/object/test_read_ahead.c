/* SPDX-License-Identifier: MIT */
/* VELLUM_MAPPING_READ_AHEAD: a fault also reads the pages around it. */
#include "file_support.h"
#include "vellum/uffd.h"

#define AROUND 16
#define FLAGS  (VELLUM_MAPPING_WRITEBACK | VELLUM_MAPPING_READ_AHEAD)

static uint64_t hole = ~0ull, bad = ~0ull;	/* pages: a hole; one that cannot be read */

static int has_page(void *ctx, uint64_t pgoff)
{
	(void)ctx;
	return pgoff != hole;
}

static int fault_with_errors(void *ctx, struct vellum_vmf *vmf)
{
	return vmf->pgoff == bad ? VELLUM_VMF_SIGBUS : file_fault(ctx, vmf);
}

static struct file *new_file(struct world *w, struct file *f, uint64_t pages)
{
	struct vellum_backing_ops ops = file_ops;

	hole = bad = ~0ull;
	ops.fault = fault_with_errors;
	ops.has_page = has_page;
	file_create_with(f, w, pages, &ops, FLAGS);
	return f;
}

static bool is_mapped(struct world *w, unsigned page)
{
	return pte_present(entry_at(w->mm, PAGE(page)));
}

static void load_reads_around(void **state)
{
	struct world *w = *state;
	struct file f;

	map_shared(w->mm, 0, 4 * AROUND, new_file(w, &f, 4 * AROUND), 0);
	assert_int_equal(load(w->cpu[0], PAGE(20)), file_initial(20));
	check_world(w);
	assert_int_equal(f.faults, AROUND);
	for (unsigned i = 0; i < 4 * AROUND; i++)
		assert_int_equal(is_mapped(w, i), i / AROUND == 1);
	for (unsigned i = AROUND; i < 2 * AROUND; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), file_initial(i));
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_FILE_READ), 1);
	assert_int_equal(f.mkwrites + nr_dirty(&f), 0);
	unmap(w->mm, 0, 4 * AROUND);
	file_destroy(&f);
}

/* Neither outside the VMA nor behind the file's end. */
static void stays_within_its_bounds(void **state)
{
	struct world *w = *state;
	struct file f;

	map_private(w->mm, 4, 20, new_file(w, &f, 10), 1);
	load(w->cpu[0], PAGE(5));
	assert_int_equal(f.faults, 9);
	assert_int_equal(nr_cached(&f), 9);
	assert_false(is_mapped(w, 13));
	check_world(w);
	unmap(w->mm, 4, 20);
	file_destroy(&f);
	map_private(w->mm, 4, 6, new_file(w, &f, 40), 0);
	load(w->cpu[0], PAGE(5));
	assert_int_equal(f.faults, 6);
	assert_int_equal(nr_cached(&f), 6);
	unmap(w->mm, 4, 6);
	file_destroy(&f);
}

/* A store maps one page, and the others are clean. */
static void stores_read_around(void **state)
{
	struct world *w = *state;
	struct file f;

	map_shared(w->mm, 0, AROUND, new_file(w, &f, 2 * AROUND), 0);
	map_private(w->mm, AROUND, AROUND, &f, AROUND);
	store(w->cpu[0], PAGE(3), 1);
	assert_int_equal(f.faults, AROUND);
	assert_int_equal(nr_dirty(&f), 1);
	store(w->cpu[0], PAGE(AROUND + 5), 1);
	assert_int_equal(f.faults, 2 * AROUND);
	for (unsigned i = 0; i < 2 * AROUND; i++)
		assert_int_equal(is_mapped(w, i), i == 3 || i == AROUND + 5);
	check_world(w);
	unmap(w->mm, 0, 2 * AROUND);
	file_destroy(&f);
}

static void random_advice_reads_one_page(void **state)
{
	struct world *w = *state;
	struct file f;

	map_shared(w->mm, 0, AROUND, new_file(w, &f, AROUND), 0);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(AROUND), VELLUM_MADV_RANDOM));
	load(w->cpu[0], PAGE(1));
	store(w->cpu[0], PAGE(2), 2);
	assert_int_equal(f.faults, 2);
	check_world(w);
	unmap(w->mm, 0, AROUND);
	file_destroy(&f);
}

/* A page that is cached already is no reason to read others. */
static void cached_page_reads_none(void **state)
{
	struct world *w = *state;
	struct file f;
	uint64_t word;

	map_shared(w->mm, 0, AROUND, new_file(w, &f, AROUND), 0);
	OK(vellum_mapping_read(f.mapping, BYTES(3), &word, sizeof(word)));
	load(w->cpu[0], PAGE(3));
	assert_int_equal(f.faults, 1);
	unmap(w->mm, 0, AROUND);
	file_destroy(&f);
}

static void holes_and_errors(void **state)
{
	struct world *w = *state;
	struct file f;

	map_shared(w->mm, 0, AROUND, new_file(w, &f, AROUND), 0);
	hole = 2;
	bad = 9;
	load(w->cpu[0], PAGE(4));
	check_world(w);
	for (unsigned i = 0; i < AROUND; i++)
		assert_int_equal(is_mapped(w, i), i < bad && i != hole);
	assert_int_equal(try_load(w->cpu[0], PAGE(9)), VELLUM_FAULT_SIGBUS);
	assert_int_equal(load(w->cpu[0], PAGE(10)), file_initial(10));
	unmap(w->mm, 0, AROUND);
	file_destroy(&f);
}

static bool is_cached(const struct file *f, uint64_t page)
{
	uint64_t index = page;

	return vellum_mapping_next_cached(f->mapping, &index) && index == page;
}

static void willneed_leaves_holes(void **state)
{
	struct world *w = *state;
	struct file f;

	map_shared(w->mm, 0, AROUND, new_file(w, &f, AROUND), 0);
	hole = 5;
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(AROUND), VELLUM_MADV_WILLNEED));
	for (unsigned i = 0; i < AROUND; i++)
		assert_int_equal(is_cached(&f, i), i != hole);
	unmap(w->mm, 0, AROUND);
	file_destroy(&f);
}

/* A missing page of the range is the userfaultfd's. */
static void userfaultfd_keeps_its_holes(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *uffd;
	uint64_t mask;
	struct file f;

	map_shared(w->mm, 0, AROUND, new_file(w, &f, AROUND), 0);
	hole = 5;
	OK(vellum_uffd_create(w->mm, 0, &uffd));
	OK(vellum_uffd_api(uffd, VELLUM_UFFD_API, VELLUM_UFFD_FEATURE_SIGBUS, &mask, &mask));
	OK(vellum_uffd_register(uffd, PAGE(0), BYTES(AROUND), VELLUM_UFFD_MISSING, &mask));
	load(w->cpu[0], PAGE(4));
	assert_int_equal(try_load(w->cpu[0], PAGE(5)), VELLUM_FAULT_SIGBUS);
	vellum_uffd_put(uffd);
	unmap(w->mm, 0, AROUND);
	file_destroy(&f);
}

static void only_where_it_can_be(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *mapping;
	struct counting c = { .faults = 0 };

	assert_int_equal(vellum_mapping_create(w->memory, NULL, NULL, 4, VELLUM_MAPPING_READ_AHEAD, &mapping), -EINVAL);
	assert_int_equal(vellum_mapping_create(w->memory, &counting_pfn_ops, &c, 4,
					       VELLUM_MAPPING_READ_AHEAD | VELLUM_MAPPING_PFN, &mapping), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(load_reads_around),
		WORLD_TEST(stays_within_its_bounds),
		WORLD_TEST(stores_read_around),
		WORLD_TEST(random_advice_reads_one_page),
		WORLD_TEST(cached_page_reads_none),
		WORLD_TEST(holes_and_errors),
		WORLD_TEST(willneed_leaves_holes),
		WORLD_TEST(userfaultfd_keeps_its_holes),
		WORLD_TEST(only_where_it_can_be),
	};

	return cmocka_run_group_tests_name("read_ahead", tests, NULL, NULL);
}
