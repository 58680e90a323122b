/* SPDX-License-Identifier: MIT */
/* tests/explore/mremap.c - mremap moves a VMA while CPUs store to it and walks by mapping search its pages. */
#include "scenarios.h"

#define TO 4	/* mremap moves page 0 here */

static uint64_t last, bitmap, replica;
static bool blocked, frozen, over;

static void mover(void)
{
	uint64_t addr = PAGE(TO);

	MUST(vellum_mremap(mm, PAGE(0), PAGE_SIZE, PAGE_SIZE, VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &addr));
}

/* Stores at the old address while it is mapped, then at the new one. */
static void storer(void)
{
	for (uint64_t val = 2; val < 5; val++) {
		if (try_store(1, 0, val) && try_store(1, TO, val))
			violated("mremap: neither place can be stored to");
		last = val;
	}
}

static void setup_anon(void)
{
	last = 1;
	keep_tables();
	map_pages(mm, 0, 1, RW, PRIVATE, NULL, 0);
	store(1, 0, 1);
}

static const char *store_moved(void)
{
	return raw_word(mm, TO) == last ? NULL : "mremap: a store was lost";
}

/* --- a walk by mapping --- */

static void setup_object(void)
{
	last = 1;
	keep_tables();
	bitmap = replica = 0;
	new_object(NULL, 1, 0);
	map_pages(mm, 0, 1, RW, SHARED, object, 0);
	store(1, 0, 1);
}

static void collector(void)
{
	uint64_t start = 0, end = 0;

	vellum_clean_record_shared_mapping_range(object, 0, 1, 0, &bitmap, &start, &end, NULL);
	pause_here();
	if (bitmap)
		replica = object_word(0);
}

static const char *replica_equals(void)
{
	bitmap = 0;
	collector();
	return replica == last ? store_moved() : "mremap: a store reached memory and no collection";
}

/* --- write-protection finds the page at the old or at the new address --- */

static int mkwrite(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx, (void)vmf;
	if (blocked) {
		wait_for_others(&blocked);
		return VELLUM_VMF_NOPAGE;
	}
	return VELLUM_VMF_OK;
}

static const struct vellum_backing_ops hook_ops = { .size = sizeof(hook_ops), .page_mkwrite = mkwrite };

static void setup_hook(void)
{
	last = 1;
	keep_tables();
	blocked = frozen = false;
	new_object(&hook_ops, 1, 0);
	map_pages(mm, 0, 1, RW, SHARED, object, 0);
	store(1, 0, 1);
}

static void protector(void)
{
	blocked = true;
	vellum_wp_shared_mapping_range(object, 0, 2, NULL);
	frozen = true;
	pause_here();
	frozen = false;
	blocked = false;
}

static const char *protected_everywhere(void)
{
	if (frozen && (pte_write(pte_make(raw_entry(mm, 0))) || pte_write(pte_make(raw_entry(mm, TO)))))
		return "mremap: an entry on its way was not write-protected";
	return NULL;
}

/* --- a move that fails halfway is undone, after a walk by mapping has passed the old address --- */

#define FAR 1023	/* this page and the next are in different tables */

static uint64_t hoard[2048], nr_hoarded;

static void setup_no_tables(void)
{
	blocked = frozen = false;
	nr_hoarded = 0;
	new_object(&hook_ops, 2, 0);
	map_pages(mm, 0, 2, RW, SHARED, object, 0);
	store(1, 0, 1);
	store(1, 1, 1);
	while (nr_hoarded < 2048 && !vellum_memory_alloc_device(memory, 1, &hoard[nr_hoarded]))
		nr_hoarded++;
	vellum_memory_free_device(memory, hoard[--nr_hoarded], 1);	/* memory for one table only */
}

static void drop_hoard(void)
{
	while (nr_hoarded)
		vellum_memory_free_device(memory, hoard[--nr_hoarded], 1);
}

static void failing_mover(void)
{
	uint64_t addr = PAGE(FAR);

	if (!vellum_mremap(mm, PAGE(0), 2 * PAGE_SIZE, 2 * PAGE_SIZE,
			   VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &addr))
		violated("mremap found a frame for its table");
}

static const char *protected_on_return(void)
{
	for (unsigned i = 0; frozen && i < 2; i++)
		if (pte_write(pte_make(raw_entry(mm, i))) || pte_write(pte_make(raw_entry(mm, FAR + i))))
			return "mremap: an entry on its way back was not write-protected";
	return NULL;
}

/* --- truncation --- */

static void setup_truncate(void)
{
	over = false;
	setup_object();
}

static void truncater(void)
{
	MUST(vellum_mapping_set_size(object, 0));
	over = true;
	pause_here();
}

static const char *nothing_beyond(void)
{
	if (over && (raw_present(mm, 0) || raw_present(mm, TO)))
		return "mremap: an entry on its way was not truncated";
	return NULL;
}

const struct scenario mremap_scenarios[] = {
	{ .name = "mremap_vs_store", .setup = setup_anon, .thread = { THREAD(mover), THREAD(storer) },
	  .check_end = store_moved },
	{ .name = "mremap_vs_clean_vs_store", .setup = setup_object, .bound = 1,
	  .thread = { THREAD(mover), THREAD(collector), THREAD(storer) }, .check_end = replica_equals },
	{ .name = "mremap_vs_wp", .bound = 3, .setup = setup_hook, .thread = { THREAD(mover), THREAD(protector) },
	  .check_step = protected_everywhere },
	{ .name = "mremap_vs_wp_vs_store", .setup = setup_hook, .bound = 1,
	  .thread = { THREAD(mover), THREAD(protector), THREAD(storer) }, .check_step = protected_everywhere },
	{ .name = "mremap_back_vs_wp", .setup = setup_no_tables,
	  .thread = { THREAD(failing_mover), THREAD(protector) }, .check_step = protected_on_return,
	  .teardown = drop_hoard },
	{ .name = "mremap_vs_truncate", .setup = setup_truncate, .thread = { THREAD(mover), THREAD(truncater) },
	  .check_step = nothing_beyond },
	{ .name = NULL },
};
