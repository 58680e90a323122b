/* SPDX-License-Identifier: MIT */
/* tests/explore/split.c - accesses that cross a page border, and batches of accesses, concurrent with other threads. */
#include "scenarios.h"

#define PAGES 2
#define CROSSING (PAGE(1) - 1)	/* an access of 2 bytes has one in each page */

static uint64_t bitmap;
static char replica[PAGES][VELLUM_PAGE_SIZE];

/* --- clean-and-record, concurrent with a store that makes both pages dirty --- */

static void setup(void)
{
	new_object(NULL, PAGES, 0);
	map_pages(mm, 0, PAGES, RW, SHARED, object, 0);
	bitmap = 0;
	for (unsigned i = 0; i < PAGES; i++) {
		store(1, i, 1);
		memset(replica[i], 0, VELLUM_PAGE_SIZE);
	}
}

static void collector(void)
{
	uint64_t start = 0, end = 0;

	vellum_clean_record_shared_mapping_range(object, 0, PAGES, 0, &bitmap, &start, &end, NULL);
	for (unsigned i = 0; i < PAGES; i++)
		if (bitmap >> i & 1) {
			pause_here();
			memcpy(replica[i], raw_bytes(mm, i), VELLUM_PAGE_SIZE);
		}
}

static void storer(void)
{
	for (unsigned i = 0; i < 2; i++)
		MUST(vellum_soft_store16(cpu[1], CROSSING, (uint16_t)(0x0202 + i * 0x0101)));
}

static const char *replica_equals(void)
{
	bitmap = 0;
	collector();
	for (unsigned i = 0; i < PAGES; i++)
		if (memcmp(replica[i], raw_bytes(mm, i), VELLUM_PAGE_SIZE))
			return "INV-SOFT-3: a store that crosses a page reached memory and no collection";
	return NULL;
}

/* --- a locked access across pages, concurrent with a CPU that stores to one of its bytes --- */

#define LOCKED (PAGE(1) - 4)

static void locked_adder(void)
{
	uint64_t old = 0;
	bool swapped = false;

	while (!swapped)
		MUST(vellum_soft_cmpxchg64(cpu[0], LOCKED, &old, old + 1, &swapped));
}

static void other_locked_adder(void)
{
	uint64_t old = 0;
	bool swapped = false;

	while (!swapped)
		MUST(vellum_soft_cmpxchg64(cpu[1], LOCKED, &old, old + (1ull << 32), &swapped));
}

static void single_adder(void)
{
	uint64_t old;

	MUST(vellum_soft_fetch_add64(cpu[0], LOCKED, 1, &old));
}

static void other_single_adder(void)
{
	uint64_t old;

	MUST(vellum_soft_fetch_add64(cpu[1], LOCKED, 1ull << 32, &old));
}

static void byte_storer(void)
{
	MUST(vellum_soft_store8(cpu[1], PAGE(1) + 3, 0xff));
}

/* The word as other CPUs read it when all stores are visible. */
static uint64_t locked_word(void)
{
	uint64_t val = 0;

	MUST(vellum_soft_load64(cpu[1], LOCKED, &val));
	return val;
}

static const char *byte_stays(void)
{
	if (locked_word() != (0xffull << 56 | 1ull << 32 | 1))
		return "a locked access across pages undid another CPU's store";
	return NULL;
}

static const char *both_added(void)
{
	if (locked_word() != (2ull << 32 | 1))
		return "two locked accesses across pages were not atomic";
	return NULL;
}

/* --- a batch, concurrent with a thread that takes rights away --- */

static uint64_t last;		/* value of the newest completed store */

static void setup_batch(void)
{
	setup();
	last = 1;
}

static void batch_storer(void)
{
	vellum_soft_batch_begin(cpu[1]);
	for (uint64_t val = 2; val < 5 && !vellum_soft_batch_store64(cpu[1], PAGE(0), val); val++) {
		last = val;
		vellum_soft_batch_pause(cpu[1]);
	}
	vellum_soft_batch_end(cpu[1]);
}

/* Page 1 is not present, so that the batch is left for a fault. */
static void batch_faulter(void)
{
	uint64_t val = 0;

	vellum_soft_batch_begin(cpu[1]);
	MUST(vellum_soft_batch_load64(cpu[1], PAGE(1), &val));
	if (!vellum_soft_batch_store64(cpu[1], PAGE(0), 2))
		last = 2;
	vellum_soft_batch_end(cpu[1]);
}

static void setup_fault(void)
{
	setup_batch();
	MUST(vellum_madvise(mm, PAGE(1), PAGE_SIZE, VELLUM_MADV_DONTNEED));
}

static void batch_protector(void)
{
	uint64_t seen;

	MUST(vellum_mprotect(mm, PAGE(0), PAGE_SIZE, VELLUM_PROT_READ));
	seen = raw_word(mm, 0);
	pause_here();
	pause_here();
	if (raw_word(mm, 0) != seen)
		violated("a batch stored to a page after the call that forbids it");
}

static const char *last_is_there(void)
{
	return load(0, 0) == last ? NULL : "a store of a batch was lost";
}

const struct scenario split_scenarios[] = {
	{ .name = "batch_vs_protect", .setup = setup_batch, .thread = { THREAD(batch_protector), THREAD(batch_storer) },
	  .check_end = last_is_there },
	{ .name = "batch_vs_protect_membarrier", .machine = STOPS_WALKS | MEMBARRIER, .setup = setup_batch,
	  .thread = { THREAD(batch_protector), THREAD(batch_storer) }, .check_end = last_is_there },
	{ .name = "batch_fault_vs_protect", .setup = setup_fault,
	  .thread = { THREAD(batch_protector), THREAD(batch_faulter) }, .check_end = last_is_there },
	{ .name = "clean_vs_split_store", .setup = setup, .thread = { THREAD(collector), THREAD(storer) },
	  .check_end = replica_equals },
	{ .name = "clean_vs_split_store_stopped", .machine = STOPS_WALKS | MEMBARRIER, .setup = setup,
	  .thread = { THREAD(collector), THREAD(storer) }, .check_end = replica_equals },
	{ .name = "split_locked_vs_store", .setup = setup, .thread = { THREAD(locked_adder), THREAD(byte_storer) },
	  .check_end = byte_stays },
	{ .name = "split_locked_vs_split_locked", .machine = MEMBARRIER, .setup = setup,
	  .thread = { THREAD(locked_adder), THREAD(other_locked_adder) }, .check_end = both_added },
	{ .name = "split_add_vs_split_add", .machine = MEMBARRIER, .setup = setup,
	  .thread = { THREAD(single_adder), THREAD(other_single_adder) }, .check_end = both_added },
	{ .name = NULL },
};
