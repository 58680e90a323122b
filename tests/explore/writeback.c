/* SPDX-License-Identifier: MIT */
/*
 * tests/explore/writeback.c - a cached file: every store is written back, and no page changes while it is written.
 */
#include "scenarios.h"

static uint64_t on_disk[2], last;	/* first words; value of the newest completed store to page 0 */
static uint64_t at_start;	/* contents of page 0 at the start */
static struct vellum_mm *other;

static int read_in(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	pause_here();
	*(uint64_t *)vmf->page = on_disk[vmf->pgoff];
	return VELLUM_VMF_OK;
}

static int writepage(void *ctx, uint64_t pgoff, const void *page, uint32_t len)
{
	const uint64_t word = *(const uint64_t *)page;

	(void)ctx, (void)len;
	if (tlb_reaches(page, true))
		violated("INV-WB-1: a CPU can store to a page that is being written");
	pause_here();
	pause_here();
	if (*(const uint64_t *)page != word)
		violated("INV-WB-2: a page changed while it was written");
	on_disk[pgoff] = word;
	return 0;
}

static int mkwrite(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx, (void)vmf;
	pause_here();
	return VELLUM_VMF_OK;
}

static const struct vellum_backing_ops file_ops = {
	.size = sizeof(file_ops), .fault = read_in, .writepage = writepage, .page_mkwrite = mkwrite,
};

/* Page 0 holds 1, on disk too. CPU 1 has a clean entry for it. */
static void setup_clean(void)
{
	at_start = last = on_disk[0] = on_disk[1] = 1;
	other = NULL;
	new_object(&file_ops, 2, VELLUM_MAPPING_WRITEBACK);
	map_pages(mm, 0, 2, RW, SHARED, object, 0);
	load(1, 0);
}

/* The same, but dirty. */
static void setup_dirty(void)
{
	setup_clean();
	at_start = last = 2;
	store(1, 0, 2);
}

static void setup_not_there(void)
{
	at_start = last = on_disk[0] = on_disk[1] = 1;
	new_object(&file_ops, 2, VELLUM_MAPPING_WRITEBACK);
	map_pages(mm, 0, 2, RW, SHARED, object, 0);
}

/* CPU 1 uses another address space, which also maps the file. */
static void setup_other_mm(void)
{
	setup_clean();
	MUST(vellum_mm_create(memory, &other));
	map_pages(other, 0, 2, RW, SHARED, object, 0);
	vellum_soft_load_mm(cpu[1], other);
	at_start = last = 2;
	store(1, 0, 2);
	store(0, 0, 2);
}

static void drop_other_mm(void)
{
	vellum_soft_load_mm(cpu[1], NULL);
	vellum_mm_put(other);
}

static void writer(void)
{
	vellum_mapping_writeback(object, 0, 2, NULL);
}

static void storer(void)
{
	store(1, 0, 3);
	store(1, 0, 4);
	last = 4;
}

static void loader(void)
{
	uint64_t before = at_start;

	for (int i = 0; i < 2; i++) {
		uint64_t val = load(0, 0);

		if (val < before)
			violated("a CPU reads what was there before a store");
		before = val;
	}
}

static const char *all_written(void)
{
	writer();
	return on_disk[0] == last ? NULL : "a store was not written back";
}

/* --- another collector cleaned the entry, and has not flushed yet --- */

static uint64_t bitmap;

static void collector(void)
{
	uint64_t start = 0, end = 0;

	vellum_clean_record_shared_mapping_range(object, 0, 2, 0, &bitmap, &start, &end, NULL);
}

/* --- INV-WB-3: when writeback returns, all earlier stores are written, by this or by another thread --- */

static void first_syncer(void)
{
	store_and_fence(0, 0, 3);
	last = 3;
	vellum_mapping_writeback(object, 0, 2, NULL);
	if (on_disk[0] < 3)
		violated("INV-WB-3: writeback returned, and the store before it is not written");
}

/* --- pages are removed from the cache --- */

static void reclaimer(void)
{
	vellum_reclaim(memory, 2);
}

static void invalidater(void)
{
	vellum_mapping_invalidate(object);
}

/* --- read(2) of an embedder that holds its own lock, which its hooks take, too --- */

static struct mutex io;

static int read_in_locked(void *ctx, struct vellum_vmf *vmf)
{
	int result;

	mutex_lock(&io, &memory->host);
	result = read_in(ctx, vmf);
	mutex_unlock(&io, &memory->host);
	return result;
}

static const struct vellum_backing_ops locking_ops = {
	.size = sizeof(locking_ops), .fault = read_in_locked, .writepage = writepage,
};

static void setup_locking(void)
{
	io = (struct mutex){ 0 };
	on_disk[0] = on_disk[1] = 1;
	new_object(&locking_ops, 2, VELLUM_MAPPING_WRITEBACK);
	map_pages(mm, 0, 2, RW, SHARED, object, 0);
	keep_tables();
}

static void file_reader(void)
{
	uint64_t word = 1;

	mutex_lock(&io, &memory->host);
	vellum_mapping_overlay(object, 0, &word, sizeof(word));
	mutex_unlock(&io, &memory->host);
	if (word != 1)
		violated("the overlay has other bytes than the file");
}

static void first_load(void)
{
	load(1, 0);
}

const struct scenario writeback_scenarios[] = {
	{ .name = "writeback_vs_store", .setup = setup_dirty, .thread = { THREAD(writer), THREAD(storer) },
	  .check_end = all_written },
	{ .name = "writeback_vs_store_stopped", .machine = STOPS_WALKS | MEMBARRIER, .setup = setup_dirty, .bound = 1
	  ,
	  .thread = { THREAD(writer), THREAD(storer) }, .check_end = all_written },
	{ .name = "writeback_vs_mkwrite", .setup = setup_clean, .thread = { THREAD(writer), THREAD(storer) },
	  .check_end = all_written },
	{ .name = "writeback_vs_fault", .setup = setup_not_there, .thread = { THREAD(writer), THREAD(storer) },
	  .check_end = all_written },
	{ .name = "writeback_vs_store_other_mm", .setup = setup_other_mm, .bound = 1,
	  .thread = { THREAD(writer), THREAD(storer) }, .check_end = all_written, .teardown = drop_other_mm },
	{ .name = "writeback_vs_clean_vs_store", .setup = setup_dirty, .bound = 1,
	  .thread = { THREAD(writer), THREAD(collector), THREAD(storer) }, .check_end = all_written },
	{ .name = "writeback_vs_writeback", .setup = setup_dirty, .thread = { THREAD(first_syncer), THREAD(writer) },
	  .check_end = all_written },
	{ .name = "reclaim_vs_store", .setup = setup_clean, .thread = { THREAD(reclaimer), THREAD(storer) },
	  .check_end = all_written },
	{ .name = "reclaim_dirty_vs_store", .setup = setup_dirty, .thread = { THREAD(reclaimer), THREAD(storer) },
	  .check_end = all_written, .bound = 1 },
	{ .name = "reclaim_vs_load", .setup = setup_dirty, .thread = { THREAD(reclaimer), THREAD(loader) },
	  .check_end = all_written },
	{ .name = "reclaim_vs_store_vs_load", .setup = setup_clean, .bound = 1,
	  .thread = { THREAD(reclaimer), THREAD(storer), THREAD(loader) }, .check_end = all_written },
	{ .name = "invalidate_vs_store", .setup = setup_clean, .thread = { THREAD(invalidater), THREAD(storer) },
	  .check_end = all_written },
	{ .name = "invalidate_vs_writeback_vs_store", .setup = setup_dirty, .bound = 1,
	  .thread = { THREAD(invalidater), THREAD(writer), THREAD(storer) }, .check_end = all_written },
	{ .name = "overlay_vs_fault", .setup = setup_locking, .thread = { THREAD(file_reader), THREAD(first_load) } },
	{ .name = NULL },
};
