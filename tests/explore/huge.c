/* SPDX-License-Identifier: MIT */
/* tests/explore/huge.c - huge leaves are split, protected, removed, copied and made while CPUs cache them. */
#define _GNU_SOURCE
#include <sys/mman.h>

#include "mm/table/huge.h"
#include "scenarios.h"
#include "vellum/gup.h"

#define HUGE PMD_PAGES
#define DEVICE_PFN (4ull << 18)		/* above RAM, aligned */

static uint64_t last;		/* value of the newest completed store */
static uint64_t dirt;		/* calls of dirt() for page 0 */
static char *device;
static struct vellum_mm *child;

/* Stores fail when the page is unmapped or protected. */
static void storer(void)
{
	for (uint64_t val = 2; val < 4 && !try_store(1, 0, val); val++)
		last = val;
}

static void one_store(void)
{
	if (!try_store(1, 0, 2))
		last = 2;
}

static bool is_huge(struct vellum_mm *of)
{
	struct leaf leaf;

	return huge_lookup(of, PAGE(0), &leaf);
}

static bool is_dirty(struct vellum_mm *of)
{
	struct leaf leaf;

	if (huge_lookup(of, PAGE(0), &leaf))
		return pte_dirty(leaf_pte(memory, entry_load(leaf.entry), leaf.shift, PAGE(0)));
	return pte_dirty(pte_make(raw_entry(of, 0)));
}

static void drop_child(void)
{
	vellum_mm_put(child);
	child = NULL;
}

/* --- raw frames --- */

static void note_dirt(void *ctx, uint64_t pgoff)
{
	(void)ctx;
	dirt += pgoff == 0;
}

static int frame_fault(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	vmf->pfn = DEVICE_PFN + vmf->pgoff;
	return VELLUM_VMF_OK;
}

static const struct vellum_backing_ops device_ops = { .size = sizeof(device_ops), .fault = frame_fault,
						      .dirt = note_dirt };

static void setup_leaf(void)
{
	last = dirt = 0;
	child = NULL;
	if (!device)
		device = mmap(NULL, PMD_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(device, 0, PAGE_SIZE);
	MUST(vellum_memory_add_device(memory, DEVICE_PFN, HUGE, device));
	new_object(&device_ops, HUGE, VELLUM_MAPPING_PFN);
	map_pages(mm, 0, HUGE, RW, SHARED, object, 0);
	map_pages(mm, HUGE, 1, RW, PRIVATE, NULL, 0);	/* the table of the leaf stays: freeing it takes many steps */
	MUST(vellum_remap_pfn_range(mm, PAGE(0), DEVICE_PFN, PMD_SIZE));
	if (!is_huge(mm))
		explore_broken("no huge entry");
}

/* The CPU has loaded from the leaf: cached, and not dirty. */
static void setup_loaded_leaf(void)
{
	setup_leaf();
	load(1, 0);
}

static void splitter(void)
{
	MUST(vellum_mprotect(mm, PAGE(4), PAGE_SIZE, VELLUM_PROT_READ));
}

/* Call this after the call that forbids stores has returned: the word must not change. */
static void word_stays(void)
{
	const volatile uint64_t *word = (const void *)device;
	uint64_t seen = *word;

	pause_here();
	pause_here();
	if (*word != seen)
		violated("a store after the call that forbids it");
}

static void protector(void)
{
	MUST(vellum_mprotect(mm, PAGE(0), PMD_SIZE, VELLUM_PROT_READ));
	word_stays();
}

static void unmapper(void)
{
	MUST(vellum_munmap(mm, PAGE(0), PMD_SIZE));
	word_stays();
}

static void forker(void)
{
	MUST(vellum_fork(mm, &child));
}

static const char *split_keeps_dirt(void)
{
	if (is_huge(mm))
		return "it is not split";
	return last && !is_dirty(mm) ? "INV-HUGE: a store through a split entry left no D" : NULL;
}

static const char *leaf_keeps_dirt(void)
{
	return last && !is_dirty(mm) ? "a store left no D" : NULL;
}

static const char *dirt_was_told(void)
{
	return last && !dirt ? "dirt of a huge entry was removed and not told of" : NULL;
}

/* --- private memory --- */

static void setup_own(bool huge)
{
	last = 1;
	child = NULL;
	map_pages(mm, 0, HUGE, RW, PRIVATE, NULL, 0);
	map_pages(mm, HUGE, 1, RW, PRIVATE, NULL, 0);
	if (huge)
		MUST(vellum_madvise(mm, PAGE(0), PMD_SIZE, VELLUM_MADV_HUGEPAGE));
	store(1, 0, 1);
	if (is_huge(mm) != huge)
		explore_broken("a huge page, or none");
}

static void setup_huge(void)
{
	setup_own(true);
}

static void setup_small(void)
{
	setup_own(false);
}

static void collapser(void)
{
	int err = vellum_madvise(mm, PAGE(0), PMD_SIZE, VELLUM_MADV_COLLAPSE);

	if (err && err != -EAGAIN && err != -EBUSY && err != -ENOMEM)
		violated("MADV_COLLAPSE failed");
}

static uint64_t pfn, nr_pinned;

static void fast_pinner(void)
{
	nr_pinned = 0;
	vellum_pin_pages(mm, PAGE(0), 1, VELLUM_GUP_WRITE | VELLUM_GUP_FAST_ONLY, &pfn, &nr_pinned);
}

static const char *nothing_lost(void)
{
	return load(0, 0) == last ? NULL : "a store was lost";
}

static const char *pin_sees(void)
{
	bool ok = true;

	if (nr_pinned) {
		store(1, 0, 99);
		ok = *(const uint64_t *)vellum_frame_host(memory, pfn) == 99;
		vellum_unpin_pages(memory, &pfn, nr_pinned);
	}
	return ok ? NULL : "INV-GUP-1: the process stores to another page than the pinned one";
}

/* --- a file in memory --- */

static uint64_t on_disk;	/* the first word of page 0 */

static int file_read(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	*(uint64_t *)vmf->page = vmf->pgoff ? 0 : on_disk;
	return VELLUM_VMF_OK;
}

static int file_write(void *ctx, uint64_t pgoff, const void *page, uint32_t len)
{
	(void)ctx, (void)len;
	pause_here();
	if (!pgoff)
		on_disk = *(const uint64_t *)page;
	return 0;
}

static int file_has_page(void *ctx, uint64_t pgoff)
{
	(void)ctx, (void)pgoff;
	return 1;
}

static const struct vellum_backing_ops memory_file_ops = {
	.size = sizeof(memory_file_ops), .fault = file_read, .writepage = file_write, .has_page = file_has_page,
};

static void setup_file(void)
{
	last = 1;
	on_disk = 0;
	new_object(&memory_file_ops, HUGE, VELLUM_MAPPING_WRITEBACK);
	map_pages(mm, 0, HUGE, RW, SHARED, object, 0);
	store(1, 0, 1);
}

static void writer(void)
{
	MUST(vellum_msync(mm, PAGE(0), PAGE_SIZE, VELLUM_MS_SYNC));
}

static const char *is_written(void)
{
	writer();
	return on_disk == last && load(0, 0) == last ? NULL : "a store was lost";
}

/* The child's word is one that the parent had, and does not change. */
static const char *child_is_apart(void)
{
	uint64_t before, after;

	vellum_soft_load_mm(cpu[0], child);
	before = load(0, 0);
	store(1, 0, 50);
	after = load(0, 0);
	vellum_soft_load_mm(cpu[0], mm);
	if (before < 1 || before > last || before != after)
		return "the child sees what its parent stored";
	return load(1, 0) == 50 ? NULL : "a store was lost";
}

/* --- the huge zero page --- */

static bool stored[2];	/* by CPU 0 and 1, each to a word of its own */

static void setup_zero(void)
{
	last = 0;
	stored[0] = stored[1] = false;
	child = NULL;
	map_pages(mm, 0, HUGE, RW, PRIVATE, NULL, 0);
	map_pages(mm, HUGE, 1, RW, PRIVATE, NULL, 0);
	MUST(vellum_madvise(mm, PAGE(0), PMD_SIZE, VELLUM_MADV_HUGEPAGE));
	load(0, 0);
	load(1, 0);
	if (!is_huge(mm))
		explore_broken("no leaf");
}

static void zero_storer_0(void)
{
	MUST(vellum_soft_store64(cpu[0], PAGE(0) + 8, 1));
	vellum_explore_point(SCHED_TLB, &cpu[0]->busy);
	vellum_explore_locked();
	stored[0] = true;
}

static void zero_storer_1(void)
{
	MUST(vellum_soft_store64(cpu[1], PAGE(0) + 16, 1));
	vellum_explore_point(SCHED_TLB, &cpu[1]->busy);
	vellum_explore_locked();
	stored[1] = true;
}

/* A load after a store that has completed sees it: no CPU has a translation of the zero page any more. */
static void zero_loader(void)
{
	for (unsigned i = 0; i < 2; i++) {
		bool must_see = stored[0];
		uint64_t val;

		if (vellum_soft_load64(cpu[1], PAGE(0) + 8, &val) || (must_see && !val))
			violated("a load from the huge zero page after a store");
		pause_here();
	}
}

static void zero_splitter(void)
{
	MUST(vellum_madvise(mm, PAGE(4), PAGE_SIZE, VELLUM_MADV_DONTNEED));
}

static const char *zeros_and_stores(void)
{
	uint64_t words[3];

	for (unsigned i = 0; i < 3; i++)
		MUST(vellum_soft_load64(cpu[0], PAGE(0) + 8 * i, &words[i]));
	if (words[0] || words[1] != stored[0] || words[2] != stored[1])
		return "a store was lost, or changed the huge zero page";
	return load(0, 5) ? "a page is not zero" : NULL;
}

/* Two address spaces, and neither has the huge zero page. */
static void setup_two_spaces(void)
{
	map_pages(mm, 0, HUGE, RW, PRIVATE, NULL, 0);
	MUST(vellum_madvise(mm, PAGE(0), PMD_SIZE, VELLUM_MADV_HUGEPAGE));
	MUST(vellum_fork(mm, &child));
	vellum_soft_load_mm(cpu[1], child);
}

static void first_loader(void)
{
	load(0, 0);
}

static void second_loader(void)
{
	load(1, 0);
	vellum_soft_load_mm(cpu[1], NULL);
	drop_child();
}

static const char *one_zero_page(void)
{
	struct vellum_memory_info info = { .size = sizeof(info) };

	vellum_memory_info(memory, &info);
	if (memory->huge_zero_users != 1)
		return "the huge zero page is counted wrongly";
	return info.nr_frames - info.nr_free < 2 * HUGE ? NULL : "a second huge zero page was not freed";
}

#define RAM (12ull << 20)

const struct scenario huge_scenarios[] = {
	{ .name = "huge_split_vs_store", .bound = 1, .setup = setup_loaded_leaf,
	  .thread = { THREAD(splitter), THREAD(storer) }, .check_end = split_keeps_dirt },
	{ .name = "huge_protect_vs_store", .setup = setup_leaf, .thread = { THREAD(protector), THREAD(storer) },
	  .check_end = leaf_keeps_dirt },
	{ .name = "huge_unmap_vs_store", .setup = setup_loaded_leaf, .thread = { THREAD(unmapper), THREAD(storer) },
	  .check_end = dirt_was_told },
	{ .name = "huge_fork_vs_store", .setup = setup_loaded_leaf, .thread = { THREAD(forker), THREAD(storer) },
	  .check_end = leaf_keeps_dirt, .teardown = drop_child },
	{ .name = "huge_own_split_vs_store", .ram = RAM, .bound = 1, .setup = setup_huge,
	  .thread = { THREAD(splitter), THREAD(one_store) }, .check_end = nothing_lost },
	{ .name = "huge_own_fork_vs_store", .ram = RAM, .bound = 1, .setup = setup_huge,
	  .thread = { THREAD(forker), THREAD(one_store) }, .check_end = child_is_apart, .teardown = drop_child },
	{ .name = "huge_collapse_vs_store", .ram = RAM, .bound = 1, .setup = setup_small,
	  .thread = { THREAD(collapser), THREAD(one_store) }, .check_end = nothing_lost },
	{ .name = "huge_collapse_vs_pin_fast", .ram = RAM, .bound = 1, .setup = setup_small,
	  .thread = { THREAD(collapser), THREAD(fast_pinner) }, .check_end = pin_sees },
	{ .name = "huge_collapse_file_vs_store", .ram = RAM, .bound = 1, .random = 300, .setup = setup_file,
	  .thread = { THREAD(collapser), THREAD(one_store), THREAD(writer) }, .check_end = is_written },
	{ .name = "huge_zero_two_stores", .ram = RAM, .setup = setup_zero,
	  .thread = { THREAD(zero_storer_0), THREAD(zero_storer_1) }, .check_end = zeros_and_stores },
	{ .name = "huge_zero_store_vs_load", .ram = RAM, .setup = setup_zero,
	  .thread = { THREAD(zero_storer_0), THREAD(zero_loader) }, .check_end = zeros_and_stores },
	{ .name = "huge_zero_store_vs_split", .ram = RAM, .bound = 1, .random = 500, .setup = setup_zero,
	  .thread = { THREAD(zero_storer_0), THREAD(zero_splitter) }, .check_end = zeros_and_stores },
	{ .name = "huge_zero_first_loads", .ram = RAM, .bound = 1, .random = 500, .setup = setup_two_spaces,
	  .thread = { THREAD(first_loader), THREAD(second_loader) }, .check_end = one_zero_page },
	{ .name = NULL },
};
