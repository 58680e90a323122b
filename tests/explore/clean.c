/* SPDX-License-Identifier: MIT */
/*
 * tests/explore/clean.c - the helpers against a CPU that stores or loads, and against another collector.
 *
 * usage: clean [SCENARIO [PREEMPTIONS]]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "explore.h"

#define PAGES 2
#define STORES 3

static struct vellum_mapping *object;
static uint64_t bitmap[2];		/* of each collector */
static char replica[PAGES][VELLUM_PAGE_SIZE];
static bool dirty_at_start[PAGES];

static pte_t *entry(unsigned page)
{
	struct mutex *ptl;

	return pte_lookup(mm, BASE + page * VELLUM_PAGE_SIZE, &ptl);
}

static bool ptl_held(unsigned page)
{
	struct mutex *ptl;

	pte_lookup(mm, BASE + page * VELLUM_PAGE_SIZE, &ptl);
	return mutex_is_locked(ptl);
}

/* Raw, without a scheduling point: the checker is nobody. */
static uint64_t raw(unsigned page)
{
	return __atomic_load_n(&entry(page)->val, __ATOMIC_SEQ_CST);
}

static bool is_dirty(unsigned page)
{
	return pte_dirty(pte_make(raw(page)));
}

static const void *bytes(unsigned page)
{
	return vellum_frame_host(memory, pte_pfn(pte_make(raw(page))));
}

/* Both pages mapped shared, written by CPU 1, whose TLB knows them as dirty. */
static void setup(void)
{
	struct vellum_map_args args = { .size = sizeof(args), .addr = BASE,
					.len = PAGES * VELLUM_PAGE_SIZE,
					.prot = VELLUM_PROT_READ | VELLUM_PROT_WRITE,
					.flags = VELLUM_MAP_SHARED | VELLUM_MAP_FIXED,
					.file_prot = VELLUM_PROT_READ | VELLUM_PROT_WRITE };
	uint64_t addr;

	if (vellum_mapping_create(memory, NULL, NULL, PAGES, 0, &object))
		abort();
	args.mapping = object;
	if (vellum_mmap(mm, &args, &addr))
		abort();
	memset(bitmap, 0, sizeof(bitmap));
	for (unsigned i = 0; i < PAGES; i++) {
		if (vellum_soft_store64(cpu[1], BASE + i * VELLUM_PAGE_SIZE, 1))
			abort();
		dirty_at_start[i] = true;
		memset(replica[i], 0, VELLUM_PAGE_SIZE);
	}
}

static void teardown(void)
{
	vellum_mapping_put(object);
}

static void collect(unsigned who)
{
	uint64_t start = 0, end = 0;

	vellum_clean_record_shared_mapping_range(object, 0, PAGES, 0, &bitmap[who], &start, &end, NULL);
}

/* What a consumer does with the bitmap: copy the pages. */
static void consume(unsigned who)
{
	for (unsigned i = 0; i < PAGES; i++)
		if (bitmap[who] >> i & 1) {
			sched_point(SCHED_MEMORY, replica[i]);
			memcpy(replica[i], bytes(i), VELLUM_PAGE_SIZE);
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
		if (vellum_soft_store64(cpu[1], BASE + VELLUM_PAGE_SIZE, 2 + i))
			abort();
}

/* INV-DIRTY-1: whoever can take the lock finds the dirt in the entry or in a bitmap. */
static const char *handed_over(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		if (dirty_at_start[i] && !is_dirty(i) && !ptl_held(i) &&
		    !((bitmap[0] | bitmap[1]) >> i & 1))
			return "INV-DIRTY-1: the dirty bit is neither in the entry nor in the bitmap";
	return NULL;
}

/* No store is lost: one more collection brings the replica up to memory. */
static const char *replica_equals(void)
{
	bitmap[0] = 0;
	collector();
	for (unsigned i = 0; i < PAGES; i++)
		if (memcmp(replica[i], bytes(i), VELLUM_PAGE_SIZE))
			return "INV-DIRTY-2: a store reached memory and no collection";
	return NULL;
}

/* --- A of an entry that the helper changes --- */

static void setup_old(void)
{
	setup();
	for (unsigned i = 0; i < PAGES; i++)
		ptep_set(entry(i), pte_mkold(ptep_get(entry(i))));
}

static void loader(void)
{
	uint64_t val;

	if (vellum_soft_load64(cpu[0], BASE, &val))
		abort();
}

static void only_collect(void)
{
	collect(0);
}

static const char *bits_kept(void)
{
	return pte_young(pte_make(raw(0))) ? NULL : "a bit that the CPU set was dropped";
}

/* --- write-protect against a store that sets D --- */

static void setup_clean(void)
{
	setup();
	collect(0);
	bitmap[0] = 0;
	dirty_at_start[0] = dirty_at_start[1] = false;
	for (unsigned i = 0; i < PAGES; i++)
		memcpy(replica[i], bytes(i), VELLUM_PAGE_SIZE);
}

static void protector(void)
{
	vellum_wp_shared_mapping_range(object, 0, PAGES, NULL);
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
 * Guarantee (a): who returns without a page finds it in the bitmap of a call that is over, flush and
 * all: nobody is inside any more.
 */
static const char *somebody_has_it(void)
{
	const uint64_t all = (1u << PAGES) - 1;

	for (unsigned i = 0; i < 2; i++)
		if (returned[i] && bitmap[i] != all &&
		    ((bitmap[0] | bitmap[1]) != all || mm->tlb_flush_pending))
			return "guarantee (a): a collector returned while another had the dirt and was not done";
	return handed_over();
}

static const char *nothing(void)
{
	return NULL;
}

static const struct scenario scenarios[] = {
	{ "clean_vs_store", 2, setup, { collector, storer }, handed_over, replica_equals, teardown, false },
	{ "clean_vs_load", 2, setup_old, { only_collect, loader }, handed_over, bits_kept, teardown, false },
	{ "wp_vs_store", 2, setup_clean, { protector, storer }, nothing, replica_equals, teardown, false },
	{ "clean_vs_clean", 2, setup_two, { first_collector, second_collector }, somebody_has_it, nothing,
	  teardown, false },
	{ "clean_vs_store_stopped", 2, setup, { collector, storer }, handed_over, replica_equals, teardown, true },
	{ "clean_vs_load_stopped", 2, setup_old, { only_collect, loader }, handed_over, bits_kept, teardown, true },
	{ "wp_vs_store_stopped", 2, setup_clean, { protector, storer }, nothing, replica_equals, teardown, true },
};

int main(int argc, char **argv)
{
	unsigned preemptions = argc > 2 ? (unsigned)atoi(argv[2]) : 2;
	int failed = 0;

	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++)
		if (argc < 2 || !strcmp(argv[1], "all") || !strcmp(argv[1], scenarios[i].name))
			failed |= explore(&scenarios[i], preemptions);
	return failed;
}
