/* SPDX-License-Identifier: MIT */
/* tests/explore/clean.c - the two helpers, concurrent with a CPU that stores or loads, and with each other. */
#include "scenarios.h"

#include "vellum/device.h"

#define PAGES 2
#define STORES 3

static uint64_t bitmap[2];		/* of each collector */
static char replica[PAGES][VELLUM_PAGE_SIZE];
static bool dirty_at_start[PAGES];

/* Both pages are mapped shared and written by CPU 1, whose TLB caches them as dirty. */
static void setup_with(const struct vellum_backing_ops *ops)
{
	new_object(ops, PAGES, 0);
	map_pages(mm, 0, PAGES, RW, SHARED, object, 0);
	memset(bitmap, 0, sizeof(bitmap));
	for (unsigned i = 0; i < PAGES; i++) {
		store(1, i, 1);
		dirty_at_start[i] = true;
		memset(replica[i], 0, VELLUM_PAGE_SIZE);
	}
}

static void setup(void)
{
	setup_with(NULL);
}

static void collect(unsigned who)
{
	uint64_t start = 0, end = 0;

	vellum_clean_record_shared_mapping_range(object, 0, PAGES, 0, &bitmap[who], &start, &end, NULL);
}

/* Copy the pages whose bits are set, as a consumer of the bitmap does. */
static void consume(unsigned who)
{
	for (unsigned i = 0; i < PAGES; i++)
		if (bitmap[who] >> i & 1) {
			pause_here();
			memcpy(replica[i], raw_bytes(mm, i), VELLUM_PAGE_SIZE);
		}
}

static void collector(void)
{
	collect(0);
	consume(0);
}

static void storer(void)
{
	for (uint64_t i = 0; i < STORES; i++)
		store(1, 1, 2 + i);
}

/* A translation that a load cached does not have D. */
static void load_and_store(void)
{
	for (uint64_t i = 0; i < STORES; i++) {
		load(1, 1);
		store(1, 1, 2 + i);
	}
}

/* INV-DIRTY-1: while the page-table lock is free, the dirty bit is in the entry or in a bitmap. */
static const char *dirty_bit_kept(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		if (dirty_at_start[i] && !pte_dirty(pte_make(raw_entry(mm, i))) && !entry_locked(mm, i) &&
		    !((bitmap[0] | bitmap[1]) >> i & 1))
			return "INV-DIRTY-1: the dirty bit is neither in the entry nor in the bitmap";
	return NULL;
}

/* No store is lost: after one more collection the replica equals memory. */
static const char *replica_equals(void)
{
	bitmap[0] = 0;
	collector();
	for (unsigned i = 0; i < PAGES; i++)
		if (memcmp(replica[i], raw_bytes(mm, i), VELLUM_PAGE_SIZE))
			return "INV-DIRTY-2: a store reached memory and no collection";
	return NULL;
}

/* --- A of an entry that the helper changes --- */

static void setup_old(void)
{
	struct mutex *ptl;

	setup();
	for (unsigned i = 0; i < PAGES; i++) {
		pte_t *ptep = pte_lookup(mm, PAGE(i), &ptl);

		ptep_set(ptep, pte_mkold(ptep_get(ptep)));
	}
}

static void loader(void)
{
	load(0, 0);
}

static void only_collect(void)
{
	collect(0);
}

static const char *bits_kept(void)
{
	return pte_young(pte_make(raw_entry(mm, 0))) ? NULL : "a bit that the CPU set was dropped";
}

/* --- write-protect against a store that sets D --- */

static void start_clean(void)
{
	collect(0);
	bitmap[0] = 0;
	dirty_at_start[0] = dirty_at_start[1] = false;
	for (unsigned i = 0; i < PAGES; i++)
		memcpy(replica[i], raw_bytes(mm, i), VELLUM_PAGE_SIZE);
}

static void setup_clean(void)
{
	setup();
	start_clean();
}

static void protector(void)
{
	vellum_wp_shared_mapping_range(object, 0, PAGES, NULL);
}

/* --- T-wpc-08: an exact snapshot: if the hook grants nothing, no page changes after write-protection --- */

static bool blocked, frozen;
static uint64_t frozen_word[PAGES];

static int hook_mkwrite(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx, (void)vmf;
	pause_here();
	if (blocked) {
		wait_for_others(&blocked);
		return VELLUM_VMF_NOPAGE;
	}
	pause_here();		/* decided, and not yet returned */
	return VELLUM_VMF_OK;
}

static const struct vellum_backing_ops hook_ops = { .size = sizeof(hook_ops), .page_mkwrite = hook_mkwrite };

/* CPU 1 caches page 1 as writable. Page 0 was never accessed. */
static void setup_hook(void)
{
	blocked = frozen = false;
	new_object(&hook_ops, PAGES, 0);
	map_pages(mm, 0, PAGES, RW, SHARED, object, 0);
	store(1, 1, 1);
}

static void setup_hook_read(void)
{
	setup_hook();
	load(1, 0);
	protector();
}

/* W without D. */
static void setup_hook_clean(void)
{
	setup_hook();
	collect(0);
	load(1, 1);
}

static void snapshooter(void)
{
	blocked = true;
	protector();
	for (unsigned i = 0; i < PAGES; i++)
		frozen_word[i] = raw_word(mm, i);
	frozen = true;
	pause_here();
	pause_here();
	frozen = false;
	blocked = false;
}

static void hook_storer(void)
{
	store(1, 0, 2);
	store(1, 1, 3);
}

static const char *nothing_changes(void)
{
	for (unsigned i = 0; frozen && i < PAGES; i++) {
		/* A page that was absent then may be faulted in for reading. */
		if ((raw_entry(mm, i) & X86_PRESENT) && pte_write(pte_make(raw_entry(mm, i))))
			return "T-wpc-08: W was granted after the write-protection, without the hook's consent";
		if (frozen_word[i] != ~0ull && raw_word(mm, i) != ~0ull && raw_word(mm, i) != frozen_word[i])
			return "T-wpc-08: a store came after the write-protection was flushed";
	}
	return NULL;
}

/* --- two collectors --- */

static bool returned[2];

static void setup_two(void)
{
	setup();
	returned[0] = returned[1] = false;
}

static void first_collector(void)
{
	collect(0);
	returned[0] = true;
}

static void second_collector(void)
{
	collect(1);
	returned[1] = true;
}

/*
 * Guarantee (a): if a collector returns without a page, another collector has it in its bitmap, and that collector
 * has flushed.
 */
static const char *some_collector_has_it(void)
{
	const uint64_t all = (1u << PAGES) - 1;

	for (unsigned i = 0; i < 2; i++)
		if (returned[i] && bitmap[i] != all &&
		    ((bitmap[0] | bitmap[1]) != all || mm->tlb_flush_pending))
			return "guarantee (a): a collector returned while another had the dirt and was not done";
	return dirty_bit_kept();
}

/* Each consumer copies the pages that it collected. After both, one more collection makes the replica equal. */
static void consuming_collector(void)
{
	collect(1);
	consume(1);
}

/* --- a page that migrates: its migration entry keeps W and D --- */

static void migrator(void)
{
	vellum_migrate_page(mm, PAGE(1));	/* may fail: the page is in use */
}

static const char *all_collected(void)
{
	return bitmap[0] == (1u << PAGES) - 1 ? NULL : "a page that was dirty before the call is not in the bitmap";
}

const struct scenario clean_scenarios[] = {
	{ .name = "clean_vs_migration", .bound = 2, .setup = setup,
	  .thread = { THREAD(only_collect), THREAD(migrator) }, .check_end = all_collected },
	{ .name = "wp_vs_migration", .bound = 3, .setup = setup_hook,
	  .thread = { THREAD(snapshooter), THREAD(migrator) }, .check_step = nothing_changes },
	{ .name = "clean_vs_store", .bound = 3, .setup = setup, .thread = { THREAD(collector), THREAD(storer) },
	  .check_step = dirty_bit_kept, .check_end = replica_equals },
	{ .name = "clean_vs_store_stopped", .bound = 3, .machine = STOPS_WALKS, .setup = setup,
	  .thread = { THREAD(collector), THREAD(storer) }, .check_step = dirty_bit_kept,
	  .check_end = replica_equals },
	{ .name = "clean_vs_store_membarrier", .machine = MEMBARRIER, .setup = setup,
	  .thread = { THREAD(collector), THREAD(storer) }, .check_step = dirty_bit_kept,
	  .check_end = replica_equals },
	{ .name = "clean_vs_load_and_store", .setup = setup, .thread = { THREAD(collector), THREAD(load_and_store) },
	  .check_step = dirty_bit_kept, .check_end = replica_equals },
	{ .name = "clean_vs_load", .bound = 3, .setup = setup_old,
	  .thread = { THREAD(only_collect), THREAD(loader) },
	  .check_step = dirty_bit_kept, .check_end = bits_kept },
	{ .name = "clean_vs_load_stopped", .bound = 3, .machine = STOPS_WALKS, .setup = setup_old,
	  .thread = { THREAD(only_collect), THREAD(loader) }, .check_step = dirty_bit_kept, .check_end = bits_kept },
	{ .name = "wp_vs_store", .bound = 3, .setup = setup_clean, .thread = { THREAD(protector), THREAD(storer) },
	  .check_end = replica_equals },
	{ .name = "wp_vs_store_stopped", .bound = 3, .machine = STOPS_WALKS, .setup = setup_clean,
	  .thread = { THREAD(protector), THREAD(storer) }, .check_end = replica_equals },
	{ .name = "wp_vs_fault_mkwrite", .setup = setup_hook,
	  .thread = { THREAD(snapshooter), THREAD(hook_storer) }, .check_step = nothing_changes },
	{ .name = "wp_vs_store_mkwrite", .setup = setup_hook_read,
	  .thread = { THREAD(snapshooter), THREAD(hook_storer) }, .check_step = nothing_changes },
	{ .name = "wp_vs_first_store", .setup = setup_hook_clean,
	  .thread = { THREAD(snapshooter), THREAD(hook_storer) }, .check_step = nothing_changes },
	{ .name = "wp_vs_store_mkwrite_membarrier", .machine = MEMBARRIER | STOPS_WALKS, .setup = setup_hook_read,
	  .thread = { THREAD(snapshooter), THREAD(hook_storer) }, .check_step = nothing_changes },
	{ .name = "clean_vs_clean", .bound = 3, .setup = setup_two,
	  .thread = { THREAD(first_collector), THREAD(second_collector) }, .check_step = some_collector_has_it },
	{ .name = "clean_vs_clean_vs_store", .setup = setup, .bound = 1,
	  .thread = { THREAD(collector), THREAD(consuming_collector), THREAD(storer) },
	  .check_end = replica_equals },
	{ .name = "clean_vs_wp_vs_store", .setup = setup, .bound = 1,
	  .thread = { THREAD(collector), THREAD(protector), THREAD(storer) }, .check_step = dirty_bit_kept,
	  .check_end = replica_equals },
	{ .name = NULL },
};
