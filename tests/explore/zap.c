/* SPDX-License-Identifier: MIT */
/* tests/explore/zap.c - entries are removed, or lose rights, while CPUs cache them. */
#include "scenarios.h"

static uint64_t last;		/* value of the newest completed store */
static bool over;		/* the call whose effect is checked has returned */

static void storer(void)
{
	for (uint64_t val = 2; val < 5 && !try_store(1, 0, val); val++)
		last = val;
}

static void unmapper(void)
{
	MUST(vellum_munmap(mm, PAGE(0), PAGE_SIZE));
}

/* --- T-tlb-01: a dirty page of a file is unmapped --- */

static uint64_t written;

static int writepage(void *ctx, uint64_t pgoff, const void *page, uint32_t len)
{
	(void)ctx, (void)pgoff, (void)len;
	pause_here();
	written = *(const uint64_t *)page;
	pause_here();
	return 0;
}

static const struct vellum_backing_ops file_ops = { .size = sizeof(file_ops), .writepage = writepage };

static void setup_file(void)
{
	written = 0;
	last = 1;
	new_object(&file_ops, 1, VELLUM_MAPPING_WRITEBACK);
	map_pages(mm, 0, 1, RW, SHARED, object, 0);
	keep_tables();
	store(1, 0, 1);
}

static void writer(void)
{
	vellum_mapping_writeback(object, 0, 1, NULL);
}

static void dropper(void)
{
	vellum_madvise(mm, PAGE(0), PAGE_SIZE, VELLUM_MADV_DONTNEED);
}

/* INV-ZAP-1. Valid only if no other thread has removed D and not yet flushed. */
static const char *unreachable(void)
{
	if (!raw_present(mm, 0) && !entry_locked(mm, 0) && tlb_reaches(object_bytes(0), true))
		return "INV-ZAP-1: a removed dirty entry can still be stored through, and its lock is free";
	return NULL;
}

static const char *all_written(void)
{
	writer();
	return written == last ? NULL : "T-tlb-01: a store was not written back";
}

/* --- private pages are freed, and their frames are used again --- */

static void setup_anon(void)
{
	last = 1;
	map_pages(mm, 0, 1, RW, PRIVATE, NULL, 0);
	map_pages(mm, 1, 1, RW, PRIVATE, NULL, 0);
	store(1, 0, 1);
	store(0, 1, 1);
}

static void setup_anon_alone(void)
{
	last = 1;
	map_pages(mm, 0, 1, RW, PRIVATE, NULL, 0);
	store(1, 0, 1);
}

/* Only tables remain to be freed, and no CPU caches a translation of them. */
static void setup_tables(void)
{
	setup_anon_alone();
	vellum_madvise(mm, PAGE(0), PAGE_SIZE, VELLUM_MADV_DONTNEED);
}

/* Allocates a frame that was just freed. */
static void reuser(void)
{
	vellum_madvise(mm, PAGE(1), PAGE_SIZE, VELLUM_MADV_DONTNEED);
	store(0, 1, 7);
}

static const char *reused_kept(void)
{
	return raw_word(mm, 1) == 7 ? NULL : "a CPU stored to a frame that is somebody else's by now";
}

/* --- mprotect --- */

static uint64_t word_then;

static void protector(void)
{
	MUST(vellum_mprotect(mm, PAGE(0), PAGE_SIZE, VELLUM_PROT_READ));
	word_then = raw_word(mm, 0);
	over = true;
	pause_here();
}

static void setup_protect(void)
{
	over = false;
	setup_anon_alone();
}

static const char *word_stays(void)
{
	return over && raw_word(mm, 0) != word_then ? "a store came after mprotect returned" : NULL;
}

static void setup_protect_object(void)
{
	over = false;
	new_object(NULL, 1, 0);
	map_pages(mm, 0, 1, RW, SHARED, object, 0);
	store(1, 0, 1);
}

static void wp_helper(void)
{
	vellum_wp_shared_mapping_range(object, 0, 1, NULL);
}

/* --- a walk by mapping, concurrent with munmap: the walk or the driver's hook gets the dirty bit --- */

static uint64_t bitmap, dirt, replica;

static void note_dirt(void *ctx, uint64_t pgoff)
{
	(void)ctx;
	__atomic_fetch_or(&dirt, 1ull << pgoff, __ATOMIC_RELAXED);
}

static const struct vellum_backing_ops driver_ops = { .size = sizeof(driver_ops), .dirt = note_dirt };

static void setup_driver(void)
{
	bitmap = dirt = replica = 0;
	last = 1;
	new_object(&driver_ops, 1, 0);
	map_pages(mm, 0, 1, RW, SHARED, object, 0);
	store(1, 0, 1);
}

static void setup_driver_and_tables(void)
{
	setup_driver();
	keep_tables();
}

static void collector(void)
{
	uint64_t start = 0, end = 0;

	/* First the hook's record, then the helper: it waits until the threads that called the hook have flushed. */
	bitmap = __atomic_exchange_n(&dirt, 0, __ATOMIC_RELAXED);
	pause_here();
	vellum_clean_record_shared_mapping_range(object, 0, 1, 0, &bitmap, &start, &end, NULL);
	pause_here();
	if (bitmap)
		replica = object_word(0);
}

static const char *replica_equals(void)
{
	collector();
	return replica == last ? NULL : "a store reached an object's page and neither a collection nor the hook";
}

/* The entry is clean, and CPU 1 caches it so: its next store sets D. */
static void setup_driver_clean(void)
{
	setup_driver_and_tables();
	collector();
	load(1, 0);
}

/* --- a driver takes its frame back --- */

static uint64_t device_pfn;
static bool gone;

static int frame_fault(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	pause_here();
	if (gone) {
		wait_for_others(&gone);
		return VELLUM_VMF_NOPAGE;
	}
	pause_here();		/* the answer is on its way */
	vmf->pfn = device_pfn;
	return VELLUM_VMF_OK;
}

static const struct vellum_backing_ops device_ops = { .size = sizeof(device_ops), .fault = frame_fault };

static void setup_device(void)
{
	gone = over = false;
	MUST(vellum_memory_alloc_device(memory, 1, &device_pfn));
	new_object(&device_ops, 1, VELLUM_MAPPING_PFN);
	map_pages(mm, 0, 1, RW, SHARED, object, 0);
}

static void revoker(void)
{
	gone = true;
	vellum_unmap_mapping_range(object, 0, 1);
	over = true;
	pause_here();
	pause_here();
	over = gone = false;
}

static void device_storer(void)
{
	store(1, 0, 2);
	store(1, 0, 3);
}

static void free_device(void)
{
	vellum_memory_free_device(memory, device_pfn, 1);
}

static const char *frame_is_free(void)
{
	if (over && (raw_present(mm, 0) || tlb_reaches(vellum_frame_host(memory, device_pfn), false)))
		return "a frame that the driver has taken back can still be reached";
	return NULL;
}

const struct scenario zap_scenarios[] = {
	{ .name = "zap_vs_store", .bound = 3, .setup = setup_file, .thread = { THREAD(unmapper), THREAD(storer) },
	  .check_step = unreachable, .check_end = all_written },
	{ .name = "zap_vs_store_membarrier", .machine = MEMBARRIER, .setup = setup_file, .bound = 1,
	  .thread = { THREAD(unmapper), THREAD(storer) }, .check_step = unreachable, .check_end = all_written },
	{ .name = "zap_vs_store_vs_writeback", .setup = setup_file, .bound = 1,
	  .thread = { THREAD(unmapper), THREAD(storer), THREAD(writer) }, .check_end = all_written },
	{ .name = "drop_vs_store_vs_writeback", .setup = setup_file, .bound = 1,
	  .thread = { THREAD(dropper), THREAD(storer), THREAD(writer) }, .check_end = all_written },
	{ .name = "drop_vs_store", .bound = 3, .setup = setup_file, .thread = { THREAD(dropper), THREAD(storer) },
	  .check_step = unreachable, .check_end = all_written },
	{ .name = "free_vs_store", .setup = setup_anon, .bound = 1,
	  .thread = { THREAD(dropper), THREAD(storer), THREAD(reuser) }, .check_end = reused_kept },
	{ .name = "free_tables_vs_store", .bound = 1, .setup = setup_anon_alone,
	  .thread = { THREAD(unmapper), THREAD(storer) } },
	{ .name = "free_tables_vs_walk", .bound = 1, .setup = setup_tables,
	  .thread = { THREAD(unmapper), THREAD(storer) } },
	{ .name = "mprotect_vs_wp_vs_store", .bound = 1, .setup = setup_protect_object,
	  .thread = { THREAD(wp_helper), THREAD(protector), THREAD(storer) }, .check_step = word_stays },
	{ .name = "munmap_vs_first_store", .bound = 3, .setup = setup_driver_clean,
	  .thread = { THREAD(unmapper), THREAD(storer) }, .check_end = replica_equals },
	{ .name = "mprotect_vs_store", .bound = 3, .setup = setup_protect,
	  .thread = { THREAD(protector), THREAD(storer) },
	  .check_step = word_stays },
	{ .name = "free_tables_vs_clean", .setup = setup_driver, .bound = 1,
	  .thread = { THREAD(unmapper), THREAD(collector) }, .check_end = replica_equals },
	{ .name = "munmap_vs_clean_vs_store", .setup = setup_driver_and_tables, .bound = 1,
	  .thread = { THREAD(unmapper), THREAD(collector), THREAD(storer) }, .check_end = replica_equals },
	{ .name = "revoke_vs_fault", .setup = setup_device, .thread = { THREAD(revoker), THREAD(device_storer) },
	  .check_step = frame_is_free, .teardown = free_device },
	{ .name = NULL },
};
