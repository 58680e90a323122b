/* SPDX-License-Identifier: MIT */
/* Snapshots: arguments and errors, what vellum_snapshot_info() tells, each difference that a verification finds. */
#include "snap_support.h"

static struct snap s;

static int setup(void **state)
{
	(void)state;
	snap_open(&s, &machines[0], 0);
	prepare_private(&s);
	map_at(s.mm, 40, 8, RW, SHANON);
	store_range(&s, 40, 4, 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	snap_close(&s);
	return 0;
}

#define ARGS_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

/* --- arguments --- */

static struct vellum_snapshot_args good(void)
{
	return (struct vellum_snapshot_args){ .size = sizeof(struct vellum_snapshot_args), .nr_mms = 1, .mms = s.mms };
}

static void refused_with(const struct vellum_snapshot_args *args, int err)
{
	struct vellum_snapshot *out = (void *)&s;
	uint64_t live = s.w->host.live;

	assert_int_equal(vellum_snapshot_create(args, &out), err);
	assert_ptr_equal(out, &s);
	assert_int_equal(s.w->host.live, live);
	check_world(s.w);
}

static void refused(struct vellum_snapshot_args args)
{
	refused_with(&args, -EINVAL);
}

static void create_checks_address_spaces(void **state) /* T-snap-18 */
{
	struct vellum_mm *twice[] = { s.mm, s.mm }, *none[] = { s.mm, NULL };
	struct vellum_snapshot_args args = good();

	(void)state;
	refused_with(NULL, -EINVAL);
	assert_int_equal(vellum_snapshot_create(&args, NULL), -EINVAL);
	args.nr_mms = 0;
	refused(args);
	args.nr_mms = 65537;
	refused(args);
	args = good();
	args.mms = NULL;
	refused(args);
	args.mms = twice;
	args.nr_mms = 2;
	refused(args);
	args.mms = none;
	refused(args);
}

static void create_checks_mappings(void **state) /* T-snap-18 */
{
	struct counting counts = { .faults = 0 };
	struct vellum_mapping *file = new_object(s.w, &counts, 4), *none = NULL;
	struct vellum_snapshot_args args = good();

	(void)state;
	args.nr_mappings = 1;
	refused(args);
	args.mappings = &none;
	refused(args);
	args.mappings = &file;
	refused(args);
	args.nr_mappings = 65537;
	refused(args);
	vellum_mapping_put(file);
}

static void create_checks_costs(void **state) /* T-snap-18 */
{
	struct vellum_snapshot_args args = good();

	(void)state;
	args.fault_ns = 1;
	refused(args);
	args.fault_ns = 0;
	args.scan_ns = 1;
	refused(args);
	args.fault_ns = 1000;
	OK(vellum_snapshot_create(&args, &s.snapshot));
}

static void one_memory_only(void **state) /* T-snap-18 */
{
	static struct world other;
	struct vellum_snapshot_args args = good();
	struct vellum_mm *mms[2] = { s.mm };
	struct vellum_mapping *shmem;

	(void)state;
	world_create(&other, 4 << 20);
	mms[1] = other.mm;
	args.mms = mms;
	args.nr_mms = 2;
	refused(args);
	OK(vellum_mapping_create(other.memory, NULL, NULL, 4, 0, &shmem));
	args = good();
	args.mappings = &shmem;
	args.nr_mappings = 1;
	refused(args);
	vellum_mapping_put(shmem);
	world_destroy(&other);
}

/* A mapping that is listed and mapped, or listed twice, is frozen once. */
static void mappings_are_frozen_once(void **state) /* T-snap-18 */
{
	struct vellum_mapping *list[2] = { vma_at(s.mm, PAGE(40))->mapping, vma_at(s.mm, PAGE(40))->mapping };
	struct vellum_snapshot_args args = good();

	(void)state;
	args.mappings = list;
	args.nr_mappings = 2;
	OK(vellum_snapshot_create(&args, &s.snapshot));
	assert_int_equal(snap_info(s.snapshot).nr_mappings, 1);
	assert_ptr_equal(vellum_snapshot_mapping(s.snapshot, 0), list[0]);
	assert_null(vellum_snapshot_mapping(s.snapshot, 1));
}

static void sizes_of_structures(void **state) /* T-snap-18 */
{
	static const uint32_t sizes[] = { 0, 4, 12, 20 };
	struct {
		struct vellum_snapshot_args args;
		uint64_t more;
	} next = { .args = good() };
	union {
		struct vellum_snapshot_info info;
		struct vellum_snapshot_difference diff;
		uint32_t size;
	} out;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		next.args.size = sizes[i];
		refused(next.args);
	}
	next.args.size = 4104;
	refused_with(&next.args, -E2BIG);
	next.args.size = sizeof(next);
	next.more = 1;
	refused_with(&next.args, -E2BIG);
	next.more = 0;
	OK(vellum_snapshot_create(&next.args, &s.snapshot));
	thaw(&s);
	next.args.size = 16;	/* a caller that knows only the address spaces */
	OK(vellum_snapshot_create(&next.args, &s.snapshot));
	for (unsigned i = 0; i < 5; i++) {
		const int err = i < 4 ? -EINVAL : -E2BIG;

		out.size = i < 4 ? sizes[i] : 5000;
		assert_int_equal(vellum_snapshot_info(s.snapshot, &out.info), err);
		assert_int_equal(vellum_snapshot_verify(s.snapshot, &out.diff), err);
	}
	out.info = (struct vellum_snapshot_info){ .size = 8, .nr_mappings = 99 };
	OK(vellum_snapshot_info(s.snapshot, &out.info));
	assert_int_equal(out.info.nr_mms, 1);
	assert_int_equal(out.info.nr_mappings, 99);
	assert_int_equal(vellum_snapshot_info(s.snapshot, NULL), -EINVAL);
	assert_int_equal(vellum_snapshot_branch(s.snapshot, NULL, NULL), -EINVAL);
	vellum_snapshot_destroy(NULL);
}

/* --- vellum_snapshot_info() --- */

static void info_tells_of_the_last_restore(void **state) /* T-snap-19 */
{
	struct vellum_snapshot_info info;

	(void)state;
	pageout(s.mm, 0, 4);
	freeze(&s);
	info = snap_info(s.snapshot);
	assert_int_equal(info.size, sizeof(info));
	assert_int_equal(info.nr_mms, 1);
	assert_int_equal(info.nr_mappings, 1);
	assert_int_equal(info.frozen_pages, 20);	/* 4 are out, and the zero page has 4 entries */
	assert_int_equal(info.shared_pages, 4);
	assert_int_equal(info.kept_pages + info.nr_restores + info.copied_pages + info.dropped_pages, 0);
	store_range(&s, 4, 2, 9);
	store_range(&s, 24, 3, 9);
	dontneed(s.mm, 8, 3);
	store_range(&s, 42, 1, 9);
	restore(&s);
	info = snap_info(s.snapshot);
	assert_int_equal(info.nr_restores, 1);
	assert_int_equal(info.copied_pages, 5);
	assert_int_equal(info.dropped_pages, 3);
	assert_int_equal(info.copied_shared_pages, 1);
	assert_int_equal(info.kept_pages, 5);
	restore(&s);
	info = snap_info(s.snapshot);
	assert_int_equal(info.nr_restores, 2);
	assert_int_equal(info.copied_pages + info.dropped_pages + info.copied_shared_pages, 0);
	check_restored(&s);
}

/* --- what a verification finds --- */

static void differs_by(enum vellum_snapshot_what what, uint64_t index, uint64_t address)
{
	struct vellum_snapshot_difference diff = { .size = sizeof(diff) };

	assert_int_equal(vellum_snapshot_verify(s.snapshot, &diff), 1);
	assert_int_equal(diff.what, what);
	assert_int_equal(diff.index, index);
	assert_int_equal(diff.address, address);
	assert_int_equal(vellum_snapshot_verify(s.snapshot, NULL), 1);
}

static void equal(void)
{
	struct vellum_snapshot_difference diff = { .size = sizeof(diff), .what = 99, .address = 99 };

	OK(vellum_snapshot_verify(s.snapshot, &diff));
	assert_int_equal(diff.what, VELLUM_SNAPSHOT_EQUAL);
	assert_int_equal(diff.address, 0);
	OK(vellum_snapshot_verify(s.snapshot, NULL));
}

static char *bytes_at(unsigned at)
{
	return vellum_frame_host(s.w->memory, pte_pfn(entry_at(s.mm, PAGE(at))));
}

/* The last byte of a page that a run has stored to, changed without a trace. */
static void verify_finds_bytes(void **state) /* T-snap-20 */
{
	static const unsigned at[] = { 3, 25 };

	(void)state;
	freeze(&s);
	equal();
	store_range(&s, 3, 1, 9);
	store_range(&s, 25, 1, 9);
	restore(&s);
	equal();
	for (unsigned i = 0; i < 2; i++) {
		bytes_at(at[i])[PAGE_SIZE - 1]++;
		differs_by(VELLUM_SNAPSHOT_BYTES, 0, PAGE(at[i]));
		bytes_at(at[i])[PAGE_SIZE - 1]--;
		equal();
	}
	dontneed(s.mm, 5, 1);
	differs_by(VELLUM_SNAPSHOT_BYTES, 0, PAGE(5));
	restore(&s);
	store(s.cpu, PAGE(31), 1);
	differs_by(VELLUM_SNAPSHOT_BYTES, 0, PAGE(31));
}

static void verify_finds_entries(void **state) /* T-snap-20 */
{
	pte_t pte;

	(void)state;
	clear_soft_dirty(s.mm);
	s.uffd = register_wp(s.mm, 0, 16, VELLUM_UFFD_FEATURE_WP_ASYNC);
	freeze(&s);
	pte = entry_at(s.mm, PAGE(2));
	set_entry_at(s.mm, PAGE(2), pte_mksoft_dirty(pte));
	differs_by(VELLUM_SNAPSHOT_ENTRY, 0, PAGE(2));
	set_entry_at(s.mm, PAGE(2), pte_mkuffd_wp(pte));
	differs_by(VELLUM_SNAPSHOT_ENTRY, 0, PAGE(2));
	set_entry_at(s.mm, PAGE(2), pte);
	equal();
	set_entry_at(s.mm, PAGE(28), pte_marker(MARKER_GUARD));
	differs_by(VELLUM_SNAPSHOT_ENTRY, 0, PAGE(28));
	set_entry_at(s.mm, PAGE(28), pte_marker(MARKER_POISON));
	differs_by(VELLUM_SNAPSHOT_ENTRY, 0, PAGE(28));
	set_entry_at(s.mm, PAGE(28), pte_make(0));
	equal();
	vellum_uffd_close(s.uffd);
	vellum_uffd_put(s.uffd);
	restore(&s);
	equal();
}

static void verify_finds_vmas(void **state) /* T-snap-20 */
{
	struct vma *vma;

	(void)state;
	freeze(&s);
	vma = vma_at(s.mm, PAGE(0));
	vma->flags ^= VM_DONTDUMP;
	differs_by(VELLUM_SNAPSHOT_VMA, 0, PAGE(0));
	vma->flags ^= VM_DONTDUMP;
	vma->pgoff++;
	differs_by(VELLUM_SNAPSHOT_VMA, 0, PAGE(0));
	vma->pgoff--;
	equal();
	map_at(s.mm, 60, 1, RW, ANON);
	differs_by(VELLUM_SNAPSHOT_VMA, 0, PAGE(60));
	restore(&s);
	map_at(s.mm, 34, 1, RW, ANON);
	differs_by(VELLUM_SNAPSHOT_VMA, 0, PAGE(34));
	restore(&s);
	unmap(s.mm, 40, 8);
	differs_by(VELLUM_SNAPSHOT_VMA, 0, PAGE(40));
	restore(&s);
	unmap(s.mm, 4, 1);
	differs_by(VELLUM_SNAPSHOT_VMA, 0, PAGE(0));
	restore(&s);
	equal();
}

static void verify_finds_limits(void **state) /* T-snap-20 */
{
	uint64_t *const limits[] = { &s.mm->brk_start, &s.mm->brk, &s.mm->mmap_top, &s.mm->memlock_limit, &s.mm->stack_limit,
				     &s.mm->def_flags };

	(void)state;
	freeze(&s);
	for (unsigned i = 0; i < 6; i++) {
		*limits[i] ^= 0x1000;
		differs_by(VELLUM_SNAPSHOT_LIMITS, 0, 0);
		*limits[i] ^= 0x1000;
		equal();
		*limits[i] ^= 0x1000;
		restore(&s);
		equal();
	}
}

static void verify_finds_shared_differences(void **state) /* T-snap-20 */
{
	struct vellum_mapping *shared = vma_at(s.mm, PAGE(40))->mapping;

	(void)state;
	OK(vellum_mapping_create(s.w->memory, NULL, NULL, 3, 0, &s.mappings[0]));
	s.nr_mappings = 1;
	freeze(&s);
	assert_ptr_equal(vellum_snapshot_mapping(s.snapshot, 1), s.mappings[0]);
	bytes_at(42)[PAGE_SIZE - 1]++;
	differs_by(VELLUM_SNAPSHOT_SHARED_BYTES, 0, 2);
	bytes_at(42)[PAGE_SIZE - 1]--;
	equal();
	load(s.cpu, PAGE(46));	/* a page of zeros more */
	differs_by(VELLUM_SNAPSHOT_SHARED_BYTES, 0, 6);
	restore(&s);
	equal();
	OK(vellum_mapping_punch_hole(shared, 0, PAGE_SIZE));
	differs_by(VELLUM_SNAPSHOT_SHARED_BYTES, 0, 0);
	restore(&s);
	OK(vellum_mapping_punch_hole(shared, BYTES(3), PAGE_SIZE));
	differs_by(VELLUM_SNAPSHOT_SHARED_BYTES, 0, 3);
	restore(&s);
	OK(vellum_mapping_set_size(s.mappings[0], 100));
	differs_by(VELLUM_SNAPSHOT_SHARED_SIZE, 1, 0);
	restore(&s);
	OK(vellum_mapping_add_seals(s.mappings[0], VELLUM_SEAL_SHRINK));
	differs_by(VELLUM_SNAPSHOT_SHARED_SIZE, 1, 0);
	restore(&s);
	equal();
}

/* The second of two address spaces. */
static void verify_tells_which_address_space(void **state) /* T-snap-20 */
{
	(void)state;
	s.mms[1] = fork_on(s.mm, s.w->cpu[1]);
	s.nr_mms = 2;
	freeze(&s);
	equal();
	store(s.w->cpu[1], PAGE(3), 1);
	differs_by(VELLUM_SNAPSHOT_BYTES, 1, PAGE(3));
	restore(&s);
	equal();
}

/* --- the pages that the last restore put back --- */

static void restored_differs_by(enum vellum_snapshot_what what, uint64_t address)
{
	struct vellum_snapshot_difference diff = { .size = sizeof(diff), .what = 99 };

	assert_int_equal(vellum_snapshot_verify_restored(s.snapshot, &diff), what != VELLUM_SNAPSHOT_EQUAL);
	assert_int_equal(diff.what, what);
	assert_int_equal(diff.address, address);
}

static void freeze_with(uint64_t flags)
{
	const struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = 1, .mms = s.mms, .flags = flags,
						   .max_kept_pages = 8 };

	take_images(&s);
	OK(vellum_snapshot_create(&args, &s.snapshot));
}

/* Each page that a run changed is looked at, and no other. */
static void verify_looks_at_restored_pages(void **state) /* T-snap-20 */
{
	const unsigned at[] = { 3, 25, 26 };

	(void)state;
	freeze_with(VELLUM_SNAPSHOT_NOTES_RESTORED);
	dontneed(s.mm, 5, 1);
	restored_differs_by(VELLUM_SNAPSHOT_BYTES, PAGE(5));	/* nothing was restored yet: all is compared */
	restore(&s);
	restored_differs_by(VELLUM_SNAPSHOT_EQUAL, 0);
	store_range(&s, 3, 1, 9);
	store_range(&s, 25, 2, 9);
	restore(&s);
	restored_differs_by(VELLUM_SNAPSHOT_EQUAL, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++) {
		bytes_at(at[i])[PAGE_SIZE - 1]++;
		restored_differs_by(VELLUM_SNAPSHOT_BYTES, PAGE(at[i]));
		bytes_at(at[i])[PAGE_SIZE - 1]--;
	}
	dontneed(s.mm, 5, 1);
	restored_differs_by(VELLUM_SNAPSHOT_EQUAL, 0);
	differs_by(VELLUM_SNAPSHOT_BYTES, 0, PAGE(5));
	restore(&s);
	bytes_at(25)[0]++;		/* of the restore before the last one */
	restored_differs_by(VELLUM_SNAPSHOT_EQUAL, 0);
	differs_by(VELLUM_SNAPSHOT_BYTES, 0, PAGE(25));
	bytes_at(25)[0]--;
	equal();
}

static void verify_looks_at_dropped_pages_and_mappings(void **state) /* T-snap-20 */
{
	(void)state;
	freeze_with(VELLUM_SNAPSHOT_NOTES_RESTORED);
	store_range(&s, 24, 8, 9);
	restore(&s);
	assert_int_equal(snap_info(s.snapshot).dropped_pages, 0);
	store_range(&s, 3, 3, 9);	/* more than are kept: of the 11, the first 5 are dropped */
	restore(&s);
	assert_int_equal(snap_info(s.snapshot).dropped_pages, 5);
	restored_differs_by(VELLUM_SNAPSHOT_EQUAL, 0);
	store(s.cpu, PAGE(24), 1);	/* this run did not change it, and its page was dropped */
	restored_differs_by(VELLUM_SNAPSHOT_BYTES, PAGE(24));
	store(s.cpu, PAGE(27), 1);
	restore(&s);
	OK(vellum_munmap(s.mm, PAGE(28), BYTES(1)));
	restored_differs_by(VELLUM_SNAPSHOT_VMA, PAGE(0));
	restore(&s);
	store_range(&s, 42, 1, 9);
	restore(&s);
	bytes_at(42)[7]++;
	restored_differs_by(VELLUM_SNAPSHOT_SHARED_BYTES, 2);
	bytes_at(42)[7]--;
	restored_differs_by(VELLUM_SNAPSHOT_EQUAL, 0);
}

static void verify_without_notes_compares_all(void **state) /* T-snap-20 */
{
	const struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = 1, .mms = s.mms,
						   .flags = VELLUM_SNAPSHOT_NOTES_RESTORED | 2 };
	struct vellum_snapshot *out;

	(void)state;
	assert_int_equal(vellum_snapshot_create(&args, &out), -EINVAL);
	freeze_with(0);
	store_range(&s, 3, 1, 9);
	restore(&s);
	dontneed(s.mm, 5, 1);
	restored_differs_by(VELLUM_SNAPSHOT_BYTES, PAGE(5));
	restore(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ARGS_TEST(create_checks_address_spaces),
		ARGS_TEST(create_checks_mappings),
		ARGS_TEST(create_checks_costs),
		ARGS_TEST(one_memory_only),
		ARGS_TEST(mappings_are_frozen_once),
		ARGS_TEST(sizes_of_structures),
		ARGS_TEST(info_tells_of_the_last_restore),
		ARGS_TEST(verify_finds_bytes),
		ARGS_TEST(verify_finds_entries),
		ARGS_TEST(verify_finds_vmas),
		ARGS_TEST(verify_finds_limits),
		ARGS_TEST(verify_finds_shared_differences),
		ARGS_TEST(verify_tells_which_address_space),
		ARGS_TEST(verify_looks_at_restored_pages),
		ARGS_TEST(verify_looks_at_dropped_pages_and_mappings),
		ARGS_TEST(verify_without_notes_compares_all),
	};

	return cmocka_run_group_tests_name("snap_args", tests, NULL, NULL);
}
