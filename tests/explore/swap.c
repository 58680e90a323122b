/* SPDX-License-Identifier: MIT */
/* tests/explore/swap.c - pages are swapped out and in, migrated, or moved to a device, while they are used. */
#include "scenarios.h"
#include "vellum/device.h"
#include "vellum/gup.h"
#include "vellum/swap.h"


static struct vellum_mm *child;
static bool freed, kept;	/* MADV_FREE has returned; it had returned before the last store began */
static uint64_t last;		/* value of the newest completed store */

static void setup_page(void)
{
	last = 1;
	freed = kept = false;
	child = NULL;
	add_swap();
	map_pages(mm, 0, 1, RW, PRIVATE, NULL, 0);
	keep_tables();
	store(1, 0, 1);
}

static void pager(void)
{
	vellum_madvise(mm, PAGE(0), PAGE_SIZE, VELLUM_MADV_PAGEOUT);
}

static void setup_out(void)
{
	setup_page();
	pager();
	if (raw_present(mm, 0))
		explore_broken("the page did not go out");
}

static void storer(void)
{
	for (uint64_t val = 2; val < 4; val++) {
		store(1, 0, val);
		last = val;
	}
}

static void other_word(void)
{
	if (vellum_soft_store64(cpu[0], PAGE(0) + 8, 7))
		violated("a store failed");
}

static void forker(void)
{
	if (vellum_fork(mm, &child))
		violated("fork failed");
}

static void drop_child(void)
{
	if (child)
		vellum_mm_put(child);
}

/* Entries of two processes name the slot. */
static void setup_out_of_two(void)
{
	setup_page();
	MUST(vellum_fork(mm, &child));
	for (unsigned i = 0; raw_present(mm, 0) && i < 4; i++)
		vellum_reclaim(memory, 1);
	if (raw_present(mm, 0))
		explore_broken("the page did not go out");
}

static void loader(void)
{
	load(1, 0);
}

static void child_unmapper(void)
{
	vellum_munmap(child, PAGE(0), PAGE_SIZE);
}

static void unmapper(void)
{
	vellum_munmap(mm, PAGE(0), PAGE_SIZE);
}

static void dropper(void)
{
	vellum_madvise(mm, PAGE(0), PAGE_SIZE, VELLUM_MADV_DONTNEED);
}

static void freer(void)
{
	vellum_madvise(mm, PAGE(0), PAGE_SIZE, VELLUM_MADV_FREE);
	freed = true;
	vellum_reclaim(memory, 1);
}

static void try_storer(void)
{
	try_store(1, 0, 2);
}

/* The word that the program would read, swapped out or not. */
static uint64_t word_of(struct vellum_mm *of)
{
	uint64_t val = ~0ull;

	vellum_copy_from_user(of, &val, PAGE(0), 8, NULL);
	return val;
}

static const char *nothing_lost(void)
{
	return word_of(mm) == last ? NULL : "INV-SWAP-3: a store was lost";
}

static const char *both_words(void)
{
	uint64_t words[2] = { 0, 0 };

	vellum_copy_from_user(mm, words, PAGE(0), 16, NULL);
	return words[0] == last && words[1] == 7 ? NULL : "a store was lost";
}

/* The child has one of the values. The parent has the last. */
static const char *own_sides(void)
{
	uint64_t theirs = word_of(child);

	if (theirs < 1 || theirs > last)
		return "the child has a value that was never stored";
	return nothing_lost();
}

static const char *as_stored(void)
{
	uint64_t val = word_of(mm);

	if (kept && val != last)
		return "T-pte-04: a store to freed memory was lost";
	return val == last || !val ? NULL : "T-pte-04: freed memory is neither what was stored nor empty";
}

static void store_after_free(void)
{
	for (uint64_t val = 2; val < 4; val++) {
		kept = freed;
		store(1, 0, val);
		last = val;
	}
}

/* The swapped-out contents were dropped or overwritten. */
static const char *old_is_gone(void)
{
	return word_of(mm) == 1 ? "what was dropped came back from swap" : NULL;
}

/* --- pages of a mapping --- */

static void setup_object(void)
{
	last = 1;
	child = NULL;
	add_swap();
	new_object(NULL, 1, 0);
	map_pages(mm, 0, 1, RW, SHARED, object, 0);
	store(1, 0, 1);
}

static void reader_of_object(void)
{
	uint64_t val = 0;

	if (vellum_mapping_read(object, 0, &val, 8) || val < 1 || val > 3)
		violated("an object lost its bytes");
}

/* --- pins --- */

static uint64_t pfn, nr_pinned;

static void setup_pin(void)
{
	setup_page();
	nr_pinned = 0;
}

static void setup_pin_alone(void)
{
	last = 1;
	child = NULL;
	nr_pinned = 0;
	map_pages(mm, 0, 1, RW, PRIVATE, NULL, 0);
	store(1, 0, 1);
}

static void pinner(void)
{
	if (vellum_pin_pages(mm, PAGE(0), 1, VELLUM_GUP_WRITE, &pfn, &nr_pinned))
		violated("pinning failed");
}

static void fast_pinner(void)
{
	vellum_pin_pages(mm, PAGE(0), 1, VELLUM_GUP_WRITE | VELLUM_GUP_FAST_ONLY, &pfn, &nr_pinned);
}

/* The frame may be freed and used for another page after the pin read the entry and before it takes its reference. */
static void unmap_and_use_again(void)
{
	unmapper();
	store(0, 1, 77);
}

static void pin_and_look(void)
{
	fast_pinner();
	if (!nr_pinned)
		return;
	if (*(const uint64_t *)vellum_frame_host(memory, pfn) == 77)
		violated("a page was pinned that was never at the address");
	vellum_unpin_pages(memory, &pfn, 1);
	nr_pinned = 0;
}

/* The neighbouring frames are in use, so that the page's frame is the next to be allocated after it is freed. */
static void setup_pin_and_other(void)
{
	last = 1;
	child = NULL;
	nr_pinned = 0;
	map_pages(mm, 0, 4, RW, PRIVATE, NULL, 0);
	keep_tables();
	store(0, 2, 1);
	store(1, 0, 1);
	store(0, 3, 1);
}

/* A flag that the fast path does not know: the entry is read with its lock held. */
static void slow_pinner(void)
{
	if (vellum_pin_pages(mm, PAGE(0), 1, VELLUM_GUP_WRITE | VELLUM_GUP_SPLIT_PMD, &pfn, &nr_pinned))
		violated("pinning failed");
}

/* A shared page that can be stored to, and that no CPU has accessed: the first store sets A at two levels, and D. */
static void setup_pin_untouched(void)
{
	uint64_t *entry = &mm->pgd[table_index(PAGE(0), PGD_SHIFT)].val;

	nr_pinned = 0;
	map_pages(mm, 0, 1, RW, SHARED | VELLUM_MAP_ANONYMOUS, NULL, 0);
	load(1, 0);
	for (unsigned shift = PUD_SHIFT; shift >= PAGE_SHIFT; shift -= 9) {
		entry = table_of(memory, entry_load(entry)) + table_index(PAGE(0), shift);
		entry_store(entry, entry_load(entry) & ~X86_ACCESSED);
	}
}

static void pin_untouched(void)
{
	fast_pinner();
	if (!nr_pinned)
		violated("a CPU's A or D kept the fast path from pinning");
	vellum_unpin_pages(memory, &pfn, 1);
	nr_pinned = 0;
}

static void first_storer(void)
{
	store(0, 0, 1);
}

static void fast_reader_pinner(void)
{
	vellum_pin_pages(mm, PAGE(0), 1, VELLUM_GUP_FAST_ONLY, &pfn, &nr_pinned);
}

static void pin_and_unmap_later(void)
{
	fast_pinner();
	if (!nr_pinned)
		return;
	pause_here();
	if (!(folio_flags(pfn_folio(memory, pfn)) & PG_USED))
		violated("a pinned frame was freed");
	vellum_unpin_pages(memory, &pfn, 1);
	nr_pinned = 0;
}

/* INV-GUP-1: the pinned page is the one that the process maps, also after the process stores to it. */
static const char *pin_sees(void)
{
	bool ok = true;

	if (nr_pinned) {
		if (try_store(1, 0, 99))
			return "a store failed";
		last = 99;
		ok = *(const uint64_t *)vellum_frame_host(memory, pfn) == 99;
		vellum_unpin_pages(memory, &pfn, nr_pinned);
	}
	nr_pinned = 0;
	return ok ? nothing_lost() : "INV-GUP-1: the process stores to another page than the pinned one";
}

/* --- migration --- */

static void mover(void)
{
	int err = vellum_migrate_page(mm, PAGE(0));

	if (err && err != -EBUSY && err != -EFAULT)
		violated("migration failed");
}

static char device_bytes[2][VELLUM_PAGE_SIZE];
static struct vellum_device *device;

static int to_device(void *ctx, uint64_t index, const void *page)
{
	(void)ctx;
	pause_here();
	memcpy(device_bytes[index], page, VELLUM_PAGE_SIZE);
	return 0;
}

static int to_ram(void *ctx, uint64_t index, void *page)
{
	(void)ctx;
	memcpy(page, device_bytes[index], VELLUM_PAGE_SIZE);
	return 0;
}

static const struct vellum_device_ops device_ops = { .size = sizeof(device_ops), .to_device = to_device,
						     .to_ram = to_ram };

static void setup_device(void)
{
	setup_page();
	MUST(vellum_device_create(memory, &device_ops, NULL, 2, &device));
}

static void sender(void)
{
	uint64_t moved;

	vellum_device_migrate(device, mm, PAGE(0), 1, &moved);
}

static void drop_device(void)
{
	drop_child();
	vellum_munmap(mm, PAGE(0), PAGE_SIZE);
	if (vellum_device_destroy(device))
		explore_broken("a device page is left");
}

#define SWAP(n, set, end, ...) \
	{ .name = n, .setup = set, .thread = { __VA_ARGS__ }, .check_end = end, .teardown = drop_child }

#define FAR (PAGE(0) + (64ull << 20))		/* in a table of its own */

/* The frame of the page that is being pinned becomes a page table, which is freed again. */
static void page_becomes_table(void)
{
	struct vellum_map_args args = { .size = sizeof(args), .addr = FAR, .len = PAGE_SIZE,
					.prot = VELLUM_PROT_READ | VELLUM_PROT_WRITE,
					.flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS | VELLUM_MAP_FIXED };
	uint64_t at;

	unmapper();
	MUST(vellum_mmap(mm, &args, &at));
	vellum_handle_fault(mm, FAR, VELLUM_FAULT_WRITE | VELLUM_FAULT_USER);
	vellum_munmap(mm, FAR, PAGE_SIZE);
}

static void pin_and_unpin(void)
{
	fast_pinner();
	if (nr_pinned)
		vellum_unpin_pages(memory, &pfn, 1);
	nr_pinned = 0;
}

const struct scenario swap_scenarios[] = {
	{ .name = "pin_vs_page_becomes_table", .bound = 3, .setup = setup_pin_and_other,
	  .thread = { THREAD(pin_and_unpin), THREAD(page_becomes_table) }, .teardown = drop_child },
	SWAP("swap_out_vs_store", setup_page, nothing_lost, THREAD(pager), THREAD(storer)),
	SWAP("swap_in_vs_swap_in", setup_out, both_words, THREAD(storer), THREAD(other_word)),
	SWAP("swap_in_vs_swap_out", setup_out, nothing_lost, THREAD(storer), THREAD(pager)),
	{ .name = "swap_in_vs_two_swap_outs", .setup = setup_out, .check_end = nothing_lost, .bound = 1,
	  .thread = { THREAD(storer), THREAD(pager), THREAD(pager) }, .teardown = drop_child },
	SWAP("swap_out_vs_fork", setup_page, own_sides, THREAD(pager), THREAD(forker)),
	{ .name = "swap_in_vs_fork", .setup = setup_out, .thread = { THREAD(storer), THREAD(forker) },
	  .check_end = own_sides, .teardown = drop_child },
	{ .name = "swap_out_vs_fork_vs_store", .setup = setup_page, .bound = 1,
	  .thread = { THREAD(pager), THREAD(forker), THREAD(storer) }, .check_end = own_sides, .teardown = drop_child },
	SWAP("swap_out_vs_munmap", setup_page, NULL, THREAD(pager), THREAD(unmapper)),
	SWAP("swap_in_vs_munmap_of_child", setup_out_of_two, nothing_lost, THREAD(loader), THREAD(child_unmapper)),
	SWAP("swap_in_vs_drop", setup_out, old_is_gone, THREAD(try_storer), THREAD(dropper)),
	SWAP("swap_in_vs_drop_of_a_name", setup_out_of_two, old_is_gone, THREAD(try_storer), THREAD(dropper)),
	SWAP("free_and_reclaim_vs_store", setup_page, as_stored, THREAD(freer), THREAD(store_after_free)),
	SWAP("shmem_out_vs_store", setup_object, nothing_lost, THREAD(pager), THREAD(storer)),
	{ .name = "shmem_out_vs_store_vs_read", .setup = setup_object, .bound = 1, .check_end = nothing_lost,
	  .thread = { THREAD(pager), THREAD(storer), THREAD(reader_of_object) }, .teardown = drop_child },
	/* T-gup-06 */
	{ .name = "pin_fast_vs_fork", .setup = setup_pin, .thread = { THREAD(fast_pinner), THREAD(forker) },
	  .check_end = pin_sees, .bound = 3, .teardown = drop_child },
	{ .name = "pin_fast_vs_fork_stopped", .machine = STOPS_WALKS, .setup = setup_pin, .bound = 3,
	  .thread = { THREAD(fast_pinner), THREAD(forker) }, .check_end = pin_sees, .teardown = drop_child },
	SWAP("pin_vs_fork", setup_pin, pin_sees, THREAD(pinner), THREAD(forker)),
	SWAP("pin_read_vs_fork", setup_pin, pin_sees, THREAD(fast_reader_pinner), THREAD(forker)),
	SWAP("pin_fast_vs_swap_out", setup_pin, pin_sees, THREAD(fast_pinner), THREAD(pager)),
	SWAP("pin_fast_vs_migrate", setup_pin, pin_sees, THREAD(fast_pinner), THREAD(mover)),
	SWAP("pin_slow_vs_swap_out", setup_pin, pin_sees, THREAD(slow_pinner), THREAD(pager)),
	SWAP("pin_slow_vs_migrate", setup_pin, pin_sees, THREAD(slow_pinner), THREAD(mover)),
	{ .name = "pin_fast_vs_munmap", .setup = setup_pin, .thread = { THREAD(pin_and_unmap_later), THREAD(unmapper) },
	  .bound = 3, .teardown = drop_child },
	{ .name = "pin_fast_vs_first_store", .setup = setup_pin_untouched,
	  .thread = { THREAD(pin_untouched), THREAD(first_storer) } },
	{ .name = "pin_fast_vs_reuse", .setup = setup_pin_and_other,
	  .thread = { THREAD(pin_and_look), THREAD(unmap_and_use_again) },
	  .teardown = drop_child },
	/* Without keep_tables(): the tables that the pin walks are freed. */
	{ .name = "pin_fast_vs_free_tables", .setup = setup_pin_alone, .bound = 1,
	  .thread = { THREAD(pin_and_unmap_later), THREAD(unmapper) }, .teardown = drop_child },
	SWAP("migrate_vs_store", setup_page, nothing_lost, THREAD(mover), THREAD(storer)),
	{ .name = "migrate_vs_fork_vs_store", .setup = setup_page, .bound = 1,
	  .thread = { THREAD(mover), THREAD(forker), THREAD(storer) }, .check_end = own_sides, .teardown = drop_child },
	{ .name = "device_vs_store", .setup = setup_device, .thread = { THREAD(sender), THREAD(storer) },
	  .check_end = nothing_lost, .teardown = drop_device },
	{ .name = "device_vs_fork_vs_store", .setup = setup_device, .bound = 1, .check_end = own_sides,
	  .thread = { THREAD(sender), THREAD(forker), THREAD(storer) }, .teardown = drop_device },
	{ .name = NULL },
};
