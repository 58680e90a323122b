/* SPDX-License-Identifier: MIT */
/* tests/explore/cow.c - fork and copy-on-write: each process keeps its stores and sees none of the other. */
#include "scenarios.h"

static struct vellum_mm *child;
static bool stored, forked;
static uint64_t child_word;

static void drop_child(void)
{
	vellum_mm_put(child);
}

/* A private page with 1 in its first two words, cached by both CPUs. */
static void setup_page(void)
{
	child = NULL;
	stored = forked = false;
	map_pages(mm, 0, 1, RW, PRIVATE, NULL, 0);
	store(0, 0, 1);
	MUST(vellum_soft_store64(cpu[0], PAGE(0) + 8, 1));
	store(1, 0, 1);
}

/* The same, shared with a child. */
static void setup_shared(void)
{
	setup_page();
	MUST(vellum_fork(mm, &child));
	load(0, 0);
	load(1, 0);
}

static const char *child_kept(void)
{
	return child && raw_word(child, 0) != 1 ? "the child sees what its parent stored" : NULL;
}

/* --- T-tlb-02: after a copy no CPU reads the old page --- */

static void setup_four_cpus(void)
{
	setup_shared();
	load(2, 0);
	load(3, 0);
}

static void copier(void)
{
	store_and_fence(0, 0, 2);
	stored = true;
}

static void read_from(unsigned c, int times)
{
	uint64_t before = 0;

	for (int i = 0; i < times; i++) {
		bool must_see = stored;
		uint64_t val = load(c, 0);

		if ((must_see && val != 2) || val < before)
			violated("T-tlb-02: a CPU reads the page of before the copy");
		before = val;
	}
}

static void reader(void)
{
	read_from(1, 3);
}

static void reader_on_2(void)
{
	read_from(2, 2);
}

static void reader_on_3(void)
{
	read_from(3, 2);
}

/* Another CPU stores to the copy as soon as its entry is installed. */
static void setup_three_cpus(void)
{
	setup_shared();
	load(2, 0);
}

static void copier_of_first(void)
{
	store(0, 0, 2);
}

static void second_on_2(void)
{
	if (vellum_soft_store64(cpu[2], PAGE(0) + 8, 3))
		violated("a store failed");
	vellum_explore_point(SCHED_TLB, &cpu[2]->busy);
	vellum_explore_locked();
	stored = true;
}

static void reader_of_second(void)
{
	for (int i = 0; i < 2; i++) {
		bool must_see = stored;
		uint64_t val = 0;

		if (vellum_soft_load64(cpu[1], PAGE(0) + 8, &val) || (must_see && val != 3))
			violated("INV-COW-1: one CPU uses the copy while another still reads the old page");
	}
}

/* --- two CPUs store to the page concurrently --- */

static void store_word(unsigned c, unsigned word, uint64_t val)
{
	if (vellum_soft_store64(cpu[c], PAGE(0) + 8 * word, val))
		violated("a store failed");
}

static void first_word(void)
{
	store_word(0, 0, 2);
}

static void second_word(void)
{
	store_word(1, 1, 3);
}

static const char *both_words(void)
{
	const uint64_t *words = raw_bytes(mm, 0);

	if (!words || words[0] != 2 || words[1] != 3)
		return "one CPU's copy of the page took the place of another's";
	return child_kept();
}

static void setup_nothing(void)
{
	child = NULL;
	map_pages(mm, 0, 1, RW, PRIVATE, NULL, 0);
}

static void setup_private_file(void)
{
	child = NULL;
	new_object(NULL, 1, 0);
	map_pages(mm, 0, 1, RW, PRIVATE, object, 0);
}

/* --- the page is dropped while it is copied --- */

static void dropper(void)
{
	vellum_madvise(mm, PAGE(0), PAGE_SIZE, VELLUM_MADV_DONTNEED);
}

static const char *nothing_comes_back(void)
{
	const uint64_t *words = raw_bytes(mm, 0);

	if (words && words[0] == 2 && words[1] != 0)
		return "bytes that were dropped came back with a copy";
	return child_kept();
}

/* --- both sides of a fork store --- */

static void setup_two_sides(void)
{
	setup_shared();
	vellum_soft_load_mm(cpu[1], child);
	if (load(1, 0) != 1)
		abort();
}

static void run_no_child(void)
{
	vellum_soft_load_mm(cpu[1], NULL);
	drop_child();
}

static const char *own_words(void)
{
	const uint64_t *of_parent = raw_bytes(mm, 0), *of_child = raw_bytes(child, 0);

	if (of_parent[0] != 2 || of_parent[1] != 1 || of_child[0] != 1 || of_child[1] != 3)
		return "a store went to the other side of a fork";
	return NULL;
}

static void exiter(void)
{
	struct vellum_mm *gone = child;

	child = NULL;
	vellum_mm_put(gone);
}

static const char *word_is_2(void)
{
	return raw_word(mm, 0) == 2 ? NULL : "a store was lost";
}

/* --- T-fork-08: when fork returns, no CPU of the parent can store without a fault --- */

static void forker(void)
{
	if (vellum_fork(mm, &child))
		violated("fork failed");
	child_word = raw_word(child, 0);
	forked = true;
	pause_here();
	pause_here();
}

static void storer(void)
{
	store(1, 0, 2);
	store(1, 0, 3);
}

/* The same, and the child runs at once. */
static void forker_and_child(void)
{
	if (vellum_fork(mm, &child))
		violated("fork failed");
	vellum_soft_load_mm(cpu[2], child);
	child_word = load(2, 0);
	if (load(2, 0) != child_word)
		violated("T-fork-08: the child reads what its parent stored after fork");
}

static void stop_and_drop_child(void)
{
	vellum_soft_load_mm(cpu[2], NULL);
	drop_child();
}

static const char *child_stays(void)
{
	if (forked && raw_word(child, 0) != child_word)
		return "T-fork-08: the parent stored to the child's page after fork";
	return NULL;
}

static const char *word_is_3(void)
{
	return raw_word(mm, 0) == 3 ? NULL : "a store was lost";
}

const struct scenario cow_scenarios[] = {
	{ .name = "cow_vs_load", .setup = setup_shared, .thread = { THREAD(copier), THREAD(reader) },
	  .check_end = child_kept, .teardown = drop_child },
	{ .name = "cow_vs_load_membarrier", .machine = MEMBARRIER | STOPS_WALKS, .setup = setup_shared,
	  .thread = { THREAD(copier), THREAD(reader) }, .check_end = child_kept, .teardown = drop_child },
	{ .name = "cow_vs_three_loads", .nr_cpus = 4, .setup = setup_four_cpus, .bound = 1,
	  .thread = { THREAD(copier), THREAD(reader), THREAD(reader_on_2), THREAD(reader_on_3) },
	  .check_end = child_kept, .teardown = drop_child },
	{ .name = "cow_vs_store_vs_load", .nr_cpus = 3, .setup = setup_three_cpus, .bound = 1,
	  .thread = { THREAD(copier_of_first), THREAD(second_on_2), THREAD(reader_of_second) },
	  .check_end = child_kept, .teardown = drop_child },
	{ .name = "cow_vs_cow", .setup = setup_shared, .thread = { THREAD(first_word), THREAD(second_word) },
	  .check_end = both_words, .teardown = drop_child },
	{ .name = "cow_vs_drop", .setup = setup_shared, .thread = { THREAD(first_word), THREAD(dropper) },
	  .check_end = nothing_comes_back, .teardown = drop_child },
	{ .name = "cow_vs_cow_vs_drop", .setup = setup_shared, .bound = 1,
	  .thread = { THREAD(first_word), THREAD(second_word), THREAD(dropper) },
	  .teardown = drop_child },
	{ .name = "cow_both_sides", .setup = setup_two_sides,
	  .thread = { THREAD(first_word), THREAD(second_word) }, .check_end = own_words,
	  .teardown = run_no_child },
	{ .name = "cow_vs_exit", .setup = setup_shared, .thread = { THREAD(copier), THREAD(exiter) },
	  .check_end = word_is_2, .bound = 1 },
	{ .name = "fork_vs_store", .bound = 3, .setup = setup_page, .thread = { THREAD(forker), THREAD(storer) },
	  .check_step = child_stays, .check_end = word_is_3, .teardown = drop_child },
	{ .name = "fork_vs_store_stopped", .machine = STOPS_WALKS, .setup = setup_page,
	  .thread = { THREAD(forker), THREAD(storer) }, .check_step = child_stays, .check_end = word_is_3,
	  .teardown = drop_child },
	{ .name = "fork_vs_store_vs_child", .nr_cpus = 3, .setup = setup_page,
	  .thread = { THREAD(forker_and_child), THREAD(storer) }, .check_end = word_is_3,
	  .teardown = stop_and_drop_child },
	{ .name = "anon_vs_anon", .setup = setup_nothing, .thread = { THREAD(first_word), THREAD(second_word) },
	  .check_end = both_words },
	{ .name = "file_cow_vs_file_cow", .setup = setup_private_file,
	  .thread = { THREAD(first_word), THREAD(second_word) }, .check_end = both_words },
	{ .name = NULL },
};
