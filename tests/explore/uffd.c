/* SPDX-License-Identifier: MIT */
/* tests/explore/uffd.c - userfaultfd: waiting faults and their wake-up, write-protection, markers. */
#include "scenarios.h"
#include "vellum/pagemap.h"
#include "vellum/uffd.h"

static struct vellum_uffd *uffd;
static uint64_t last;		/* value of the newest completed store */
static uint64_t replica;	/* the copy of a consumer of PAGEMAP_SCAN's reports */

static void make_uffd(uint64_t features)
{
	MUST(vellum_uffd_create(mm, 0, &uffd));
	MUST(vellum_uffd_api(uffd, VELLUM_UFFD_API, features, NULL, NULL));
}

static void watch(unsigned pages, uint64_t modes)
{
	MUST(vellum_uffd_register(uffd, PAGE(0), pages * PAGE_SIZE, modes, NULL));
}

static void drop_uffd(void)
{
	vellum_uffd_put(uffd);
}

static void storer(void)
{
	for (uint64_t val = 2; val < 5; val++) {
		store(1, 0, val);
		last = val;
	}
}

static void one_store(void)
{
	store(1, 0, 2);
	last = 2;
}

static void protector(void)
{
	if (vellum_uffd_writeprotect(uffd, PAGE(0), PAGE_SIZE, VELLUM_UFFD_WRITEPROTECT_WP))
		violated("writeprotect failed");
}

/* --- a fault that waits is always woken --- */

static void setup_missing(void)
{
	last = 0;
	make_uffd(0);
	map_pages(mm, 0, 1, RW, PRIVATE, NULL, 0);
	keep_tables();
	watch(1, VELLUM_UFFD_MISSING);
}

static void setup_protected(void)
{
	last = 1;
	make_uffd(0);
	map_pages(mm, 0, 1, RW, PRIVATE, NULL, 0);
	watch(1, VELLUM_UFFD_WP);
	store(1, 0, 1);
	protector();
}

/* Waits for the message, then resolves the fault. */
static void manager(void)
{
	static const uint64_t page[PAGE_SIZE / 8] = { 9 };
	struct vellum_uffd_msg msg;
	uint32_t got;

	if (vellum_uffd_read(uffd, &msg, 1, true, &got))
		violated("read failed");
	if (msg.arg.pagefault.flags & VELLUM_UFFD_FLAG_WP)
		vellum_uffd_writeprotect(uffd, PAGE(0), PAGE_SIZE, 0);
	else
		vellum_uffd_copy(uffd, PAGE(0), 0, page, PAGE_SIZE, 0, NULL);
}

static void closer(void)
{
	vellum_uffd_close(uffd);
}

/* Resolves before there is a message: the fault must not wait after that. */
static void early_resolver(void)
{
	static const uint64_t page[PAGE_SIZE / 8] = { 9 };

	vellum_uffd_copy(uffd, PAGE(0), 0, page, PAGE_SIZE, 0, NULL);
}

static void early_lifter(void)
{
	vellum_uffd_writeprotect(uffd, PAGE(0), PAGE_SIZE, 0);
}

static const char *word_is_2(void)
{
	return raw_word(mm, 0) == 2 ? NULL : "a store was lost";
}

/* The range is protected as none, while the first store installs a huge page there. */
static void setup_no_page_yet(void)
{
	last = 0;
	make_uffd(VELLUM_UFFD_FEATURE_WP_ASYNC);
	map_pages(mm, 0, PMD_SIZE / PAGE_SIZE, RW, PRIVATE, NULL, 0);
	map_pages(mm, PMD_SIZE / PAGE_SIZE, 1, RW, PRIVATE, NULL, 0);	/* keeps the table of the leaf */
	MUST(vellum_madvise(mm, PAGE(0), PMD_SIZE, VELLUM_MADV_HUGEPAGE));
	watch(PMD_SIZE / PAGE_SIZE, VELLUM_UFFD_WP);
	store(1, PMD_SIZE / PAGE_SIZE, 1);
}

/* The call returned 0, so the page is protected, or was stored to afterwards: neither leaves the leaf whole. */
static const char *no_leaf(void)
{
	return raw_word(mm, 0) == 2 ? NULL : "a huge page was passed over, and is not protected";
}

/* Another thread splits the huge page, while a part of it is protected. */
static void setup_huge_page(void)
{
	setup_no_page_yet();
	store(1, 0, 1);
}

static void splitter(void)
{
	MUST(vellum_madvise(mm, PAGE(4), PAGE_SIZE, VELLUM_MADV_DONTNEED));
}

static const char *is_protected(void)
{
	return pte_uffd_wp(pte_make(raw_entry(mm, 0))) ? NULL : "the page is not protected";
}

/* --- INV-SCAN-1, T-scan-01: get-and-protect, concurrent with a CPU that stores --- */

static void setup_async(void)
{
	last = replica = 1;
	make_uffd(VELLUM_UFFD_FEATURE_WP_ASYNC);
	map_pages(mm, 0, 1, RW, PRIVATE, NULL, 0);
	watch(1, VELLUM_UFFD_WP);
	store(1, 0, 1);
}

static void scan(void)
{
	struct vellum_page_region vec[1];
	struct vellum_scan_args a = { .size = sizeof(a), .flags = VELLUM_SCAN_WP_MATCHING, .start = PAGE(0),
				      .end = PAGE(1), .vec = vec, .vec_len = 1,
				      .category_mask = VELLUM_PAGE_IS_WRITTEN, .return_mask = VELLUM_PAGE_IS_WRITTEN };
	uint64_t nr;

	if (vellum_pagemap_scan(mm, &a, &nr))
		violated("scan failed");
	if (!nr)
		return;
	pause_here();
	replica = raw_word(mm, 0);
}

static void scanner(void)
{
	scan();
	scan();
}

static const char *replica_is_memory(void)
{
	scan();
	return replica == raw_word(mm, 0) && replica == last ? NULL : "T-scan-01: a store was not reported";
}

/* Between two looks at a page that another scan has protected, no store may pass unreported. */
static bool scan_reports(void)
{
	struct vellum_page_region vec[1];
	struct vellum_scan_args a = { .size = sizeof(a), .flags = VELLUM_SCAN_WP_MATCHING, .start = PAGE(0),
				      .end = PAGE(1), .vec = vec, .vec_len = 1, .category_mask = VELLUM_PAGE_IS_WRITTEN };
	uint64_t nr;

	if (vellum_pagemap_scan(mm, &a, &nr))
		violated("scan failed");
	return nr;
}

static void single_scanner(void)
{
	scan_reports();
}

static void watching_scanner(void)
{
	uint64_t before, after;

	if (scan_reports())
		return;
	before = raw_word(mm, 0);
	pause_here();
	after = raw_word(mm, 0);
	if (!scan_reports() && before != after)
		violated("T-scan-01: a store passed between two scans, by a translation that the first did not flush");
}

/* --- T-uffd-09: write-protection not yet flushed, a CPU that stores by a stale entry, a fault that copies --- */

static struct vellum_mm *child;

static void setup_shared_with_child(void)
{
	setup_async();
	MUST(vellum_fork(mm, &child));
	store(1, 0, 1);		/* exclusive to the parent again, and W cached */
}

static void forker_again(void)
{
	struct vellum_mm *second;

	if (vellum_fork(mm, &second))
		violated("fork failed");
	vellum_mm_put(second);
}

static void drop_both(void)
{
	vellum_mm_put(child);
	drop_uffd();
}

static const char *nothing_lost(void)
{
	return raw_word(mm, 0) == last ? NULL : "a store was lost";
}

/* --- INV-MARKER-1: shared memory is protected at every step --- */

static void setup_shared_memory(void)
{
	last = 1;
	make_uffd(VELLUM_UFFD_FEATURE_WP_ASYNC);
	new_object(NULL, 1, 0);
	map_pages(mm, 0, 1, RW, SHARED, object, 0);
	watch(1, VELLUM_UFFD_WP);
	store(1, 0, 1);
	protector();
}

static void dropper(void)
{
	vellum_madvise(mm, PAGE(0), PAGE_SIZE, VELLUM_MADV_DONTNEED);
}

static void reader(void)
{
	load(1, 0);
}

static void unmapper_by_object(void)
{
	vellum_unmap_mapping_range(object, 0, 1);
}

static const char *protected(void)
{
	if (!pte_is_uffd_wp(pte_make(raw_entry(mm, 0))) && !entry_locked(mm, 0))
		return "INV-MARKER-1: protection of shared memory is gone";
	return NULL;
}

/* --- COPY into a hole of a file in memory, while write(2) stores to the file --- */

static uint64_t in_backing;	/* the first word; 0: a hole */

static int read_backing(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	*(uint64_t *)vmf->page = in_backing;
	return VELLUM_VMF_OK;
}

static int backing_has_page(void *ctx, uint64_t pgoff)
{
	int has = in_backing != 0;

	(void)ctx, (void)pgoff;
	pause_here();
	return has;
}

static int punch_backing(void *ctx, uint64_t offset, uint64_t len)
{
	(void)ctx, (void)offset, (void)len;
	pause_here();
	in_backing = 0;
	return 0;
}

static const struct vellum_backing_ops memory_file_ops = {
	.size = sizeof(memory_file_ops), .fault = read_backing, .has_page = backing_has_page, .punch = punch_backing,
};

static void setup_memory_file(void)
{
	in_backing = 0;
	make_uffd(0);
	new_object(&memory_file_ops, 1, VELLUM_MAPPING_WRITEBACK);
	map_pages(mm, 0, 1, RW, SHARED, object, 0);
	keep_tables();
	watch(1, VELLUM_UFFD_MISSING);
}

/* As the embedder's write(2): the backing first, then the cached page. */
static void file_writer(void)
{
	static const uint64_t word = 5;

	in_backing = word;
	pause_here();
	vellum_mapping_update(object, 0, &word, sizeof(word));
}

static const char *file_has_the_written_word(void)
{
	uint64_t word;

	MUST(vellum_mapping_read(object, 0, &word, sizeof(word)));
	return word == 5 ? NULL : "COPY replaced bytes that were written to the file";
}

/* --- a page is removed while it is read: the reader finds the old bytes, or its fault is reported --- */

static void setup_removal(void)
{
	make_uffd(VELLUM_UFFD_FEATURE_SIGBUS);
	map_pages(mm, 0, 1, RW, SHARED, object, 0);
	keep_tables();
	watch(1, VELLUM_UFFD_MISSING);
}

static void setup_removal_of_file_page(void)
{
	in_backing = 5;
	new_object(&memory_file_ops, 1, VELLUM_MAPPING_WRITEBACK);
	setup_removal();
}

static void setup_removal_of_shared_memory(void)
{
	static const uint64_t word = 5;

	new_object(NULL, 1, 0);
	MUST(vellum_mapping_write(object, 0, &word, sizeof(word)));
	setup_removal();
}

static void remover(void)
{
	vellum_mapping_punch_hole(object, 0, PAGE_SIZE);
}

static void careful_reader(void)
{
	uint64_t val = 5;

	if (vellum_soft_load64(cpu[1], PAGE(0), &val) == VELLUM_FAULT_OK && val != 5)
		violated("a missing page was read as zeros, and no fault was reported");
}

const struct scenario uffd_scenarios[] = {
	{ .name = "uffd_missing_vs_manager", .setup = setup_missing, .thread = { THREAD(one_store), THREAD(manager) },
	  .check_end = word_is_2, .teardown = drop_uffd },
	{ .name = "uffd_missing_vs_early_copy", .setup = setup_missing, .check_end = word_is_2,
	  .thread = { THREAD(one_store), THREAD(early_resolver) }, .teardown = drop_uffd },
	{ .name = "uffd_missing_vs_close", .setup = setup_missing, .thread = { THREAD(one_store), THREAD(closer) },
	  .check_end = word_is_2, .teardown = drop_uffd },
	{ .name = "uffd_wp_vs_manager", .setup = setup_protected, .thread = { THREAD(one_store), THREAD(manager) },
	  .check_end = word_is_2, .teardown = drop_uffd },
	{ .name = "uffd_wp_vs_resolve", .setup = setup_protected, .thread = { THREAD(one_store), THREAD(early_lifter) },
	  .check_end = word_is_2, .teardown = drop_uffd },
	{ .name = "uffd_wp_vs_close", .setup = setup_protected, .thread = { THREAD(one_store), THREAD(closer) },
	  .check_end = word_is_2, .teardown = drop_uffd },
	{ .name = "scan_vs_store", .setup = setup_async, .thread = { THREAD(scanner), THREAD(storer) },
	  .check_end = replica_is_memory, .teardown = drop_uffd },
	{ .name = "scan_vs_scan_vs_store", .setup = setup_async, .bound = 2,
	  .thread = { THREAD(single_scanner), THREAD(watching_scanner), THREAD(storer) }, .teardown = drop_uffd },
	{ .name = "scan_vs_protect_vs_store", .setup = setup_async, .bound = 1,
	  .thread = { THREAD(scanner), THREAD(protector), THREAD(storer) }, .check_end = nothing_lost,
	  .teardown = drop_uffd },
	/* T-uffd-09 */
	{ .name = "uffd_wp_vs_store_vs_fork", .setup = setup_shared_with_child, .bound = 1,
	  .thread = { THREAD(protector), THREAD(storer), THREAD(forker_again) }, .check_end = nothing_lost,
	  .teardown = drop_both },
	{ .name = "marker_vs_drop_vs_load", .setup = setup_shared_memory, .check_step = protected, .bound = 1,
	  .thread = { THREAD(dropper), THREAD(reader), THREAD(unmapper_by_object) }, .teardown = drop_uffd },
	{ .name = "marker_vs_drop", .setup = setup_shared_memory, .check_step = protected,
	  .thread = { THREAD(dropper), THREAD(reader) }, .teardown = drop_uffd },
	{ .name = "uffd_wp_vs_first_huge_page", .ram = 12ull << 20, .bound = 1, .random = 300, .setup = setup_no_page_yet,
	  .thread = { THREAD(protector), THREAD(one_store) }, .check_end = no_leaf, .teardown = drop_uffd },
	{ .name = "uffd_wp_vs_split", .ram = 12ull << 20, .bound = 1, .random = 300, .setup = setup_huge_page,
	  .thread = { THREAD(protector), THREAD(splitter) }, .check_end = is_protected, .teardown = drop_uffd },
	{ .name = "uffd_copy_vs_file_write", .setup = setup_memory_file, .bound = 3,
	  .thread = { THREAD(early_resolver), THREAD(file_writer) }, .check_end = file_has_the_written_word,
	  .teardown = drop_uffd },
	{ .name = "uffd_missing_vs_punch", .setup = setup_removal_of_file_page,
	  .thread = { THREAD(careful_reader), THREAD(remover) }, .teardown = drop_uffd },
	{ .name = "uffd_missing_vs_punch_shared", .setup = setup_removal_of_shared_memory,
	  .thread = { THREAD(careful_reader), THREAD(remover) }, .teardown = drop_uffd },
	{ .name = NULL },
};
