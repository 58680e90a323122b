/* SPDX-License-Identifier: MIT */
/* tests/explore/snapshot.c - snapshots: parked CPUs, reclaim, pins and trackers during a restore. */
#include "snapshot.h"

#include "vellum/gup.h"
#include "vellum/swap.h"


const uint64_t frozen_words[PAGES] = { 1, 2, 0, 4 };
const uint64_t run_words[PAGES] = { 11, 2, 13, 14 };

struct vellum_snapshot *snapshot, *second_snapshot;
struct vellum_mm *other_mm;
struct vellum_tracker *snapshot_tracker;
uint64_t snapshot_pin, nr_snapshot_pins;

static uint64_t replica[PAGES];

/* --- the world --- */

struct vellum_snapshot *freeze_of(struct vellum_mm *of)
{
	struct vellum_mm *const mms[] = { of };
	struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = 1, .mms = mms };
	struct vellum_snapshot *made = NULL;

	MUST(vellum_snapshot_create(&args, &made));
	return made;
}

void restorer(void)
{
	if (vellum_snapshot_restore(snapshot))
		violated("a restore failed");
}

void setup_pages(uint32_t flags)
{
	snapshot = second_snapshot = NULL;
	other_mm = NULL;
	snapshot_tracker = NULL;
	snapshot_pin = nr_snapshot_pins = 0;
	if (flags == SHARED)
		new_object(NULL, PAGES, 0);
	map_pages(mm, 0, PAGES, RW, flags, object, 0);
	keep_tables();
	for (unsigned i = 0; i < PAGES; i++)
		if (frozen_words[i])
			store(1, i, frozen_words[i]);
}

void run_program(void)
{
	for (unsigned i = 0; i < PAGES; i++)
		if (run_words[i] != frozen_words[i])
			store(1, i, run_words[i]);
		else
			load(1, i);
}

void setup_first_run(void)
{
	setup_pages(PRIVATE);
	snapshot = freeze_of(mm);
	run_program();
}

void setup_run(void)
{
	setup_first_run();
	MUST(vellum_snapshot_restore(snapshot));
	run_program();
}

void run_other_on_cpu_0(void)
{
	vellum_soft_load_mm(cpu[0], other_mm);
}

void end_snapshots(void)
{
	vellum_soft_load_mm(cpu[0], NULL);
	if (nr_snapshot_pins)
		vellum_unpin_pages(memory, &snapshot_pin, nr_snapshot_pins);
	vellum_tracker_destroy(snapshot_tracker);
	vellum_snapshot_destroy(second_snapshot);
	vellum_snapshot_destroy(snapshot);
	vellum_mm_put(other_mm);
}

/* --- checks --- */

static uint64_t word_of(struct vellum_mm *of, unsigned page)
{
	uint64_t val = ~0ull;

	vellum_copy_from_user(of, &val, PAGE(page), 8, NULL);
	return val;
}

const char *has_words(struct vellum_mm *of, const uint64_t *words, const char *what)
{
	for (unsigned i = 0; i < PAGES; i++)
		if (word_of(of, i) != words[i])
			return what;
	return NULL;
}

const char *restored(struct vellum_snapshot *s)
{
	struct vellum_snapshot_difference diff = { .size = sizeof(diff) };

	for (unsigned i = 0; i < PAGES; i++)	/* an access would wait for ever */
		if (pte_is_migration(pte_make(raw_entry(s->mms[0].mm, i))))
			return "a migration entry is left";
	if (vellum_snapshot_verify(s, &diff))
		return "a restore left memory that differs from what was frozen";
	for (unsigned i = 0; s == snapshot && i < PAGES; i++) {
		uint64_t word = ~0ull;

		if (vellum_soft_load64(cpu[1], PAGE(i), &word) || word != frozen_words[i])
			return "after a restore a CPU loads other bytes than were frozen";
	}
	return NULL;
}

const char *restores_again(void)
{
	const char *why = restored(snapshot);

	for (unsigned round = 0; round < 2 && !why; round++) {
		for (unsigned i = 0; i < PAGES; i++)
			if (try_store(1, i, 20 + i))
				return "a store failed after a restore";
		if (vellum_snapshot_restore(snapshot))
			return "the next restore failed";
		why = restored(snapshot);
	}
	return why;
}

const char *later_stores_found(void)
{
	if (vellum_snapshot_restore(snapshot))
		return "the next restore failed";
	return restores_again();
}

/* --- CPUs that are parked during the restore, with translations cached --- */

static unsigned nr_parked;
static bool is_restored;

/* Pages 0 and 2 are each stored to by one CPU before the restore, and by the other afterwards; page 3 by both. */
static void park_and_check(unsigned c)
{
	store_and_fence(c, 2 * c, 30 + c);
	nr_parked++;
	while (!is_restored)
		wait_for_others(&is_restored);
	if (load(c, 2 * c) != frozen_words[2 * c])
		violated("after a restore a parked CPU loads the bytes of the run");
	nr_parked++;
	while (nr_parked < 4)
		wait_for_others(&nr_parked);
	store(c, 2 - 2 * c, 32 + c);
	store(c, 3, 34 + c);
}

static void first_cpu(void)
{
	park_and_check(0);
}

static void second_cpu(void)
{
	park_and_check(1);
}

static void restore_when_parked(void)
{
	while (nr_parked < 2)
		wait_for_others(&nr_parked);
	restorer();
	is_restored = true;
}

static void setup_parked(void)
{
	nr_parked = 0;
	is_restored = false;
	setup_run();
	for (unsigned i = 0; i < PAGES; i++)
		load(0, i);
}

/* --- reclaim --- */

void aim_at(struct vellum_mm *of, unsigned page)
{
	struct mutex *ptl;
	pte_t *ptep = pte_lookup(of, PAGE(page), &ptl);

	if (!ptep || !pte_present(ptep_get(ptep)))
		explore_broken("no page to reclaim");
	ptep_update(ptep, pte_mkold);
	memory->clock_hand = (uint64_t)(pte_folio(memory, ptep_get(ptep)) - memory->folios) - 1;
}

void reclaimer(void)
{
	vellum_reclaim(memory, 1);
}

static void setup_swap(void)
{
	add_swap();
	setup_run();
}

static struct vellum_mm *frozen_copy(void)
{
	return snapshot->mms[0].copy;
}

static void setup_reclaim_run(void)
{
	setup_swap();
	aim_at(mm, 0);
}

static void setup_reclaim_new(void)
{
	setup_swap();
	aim_at(mm, 2);
}

static void setup_reclaim_first_run(void)
{
	add_swap();
	setup_first_run();
	aim_at(mm, 0);
}

/* The run has a copy of its own. */
static void setup_reclaim_frozen(void)
{
	setup_swap();
	aim_at(frozen_copy(), 0);
}

/* The run maps the frozen page. */
static void setup_reclaim_shared(void)
{
	setup_swap();
	aim_at(mm, 1);
}

static void frozen_page_out(void)
{
	setup_swap();
	aim_at(frozen_copy(), 0);
	reclaimer();
	if (raw_present(frozen_copy(), 0))
		explore_broken("the frozen page did not go out");
}

/* The frozen page is swapped out. A branch loads it while the restore gives the run the entry. */
static void setup_frozen_out(void)
{
	frozen_page_out();
	MUST(vellum_snapshot_branch(snapshot, &other_mm, NULL));
	run_other_on_cpu_0();
}

static void other_loader(void)
{
	if (load(0, 0) != frozen_words[0])
		violated("a branch has other bytes than were frozen");
}

static const char *frozen_page_loaded(void)
{
	const char *why = has_words(other_mm, frozen_words, "a branch differs from what was frozen");

	return why ? why : restores_again();
}

static void setup_frozen_out_run_aimed(void)
{
	frozen_page_out();
	aim_at(mm, 0);
}

/* The run's page is pinned, so the restore has to read the frozen bytes. Reclaim takes the frozen page again. */
static void setup_pinned_frozen_out(void)
{
	frozen_page_out();
	MUST(vellum_pin_pages(mm, PAGE(0), 1, VELLUM_GUP_WRITE, &snapshot_pin, &nr_snapshot_pins));
	aim_at(frozen_copy(), 1);
}

/* --- pins --- */

static void pin_and_look(void)
{
	uint64_t word;

	vellum_pin_pages(mm, PAGE(0), 1, VELLUM_GUP_FAST_ONLY, &snapshot_pin, &nr_snapshot_pins);
	if (!nr_snapshot_pins)
		return;
	pause_here();
	word = *(const uint64_t *)vellum_frame_host(memory, snapshot_pin);
	if (!(folio_flags(pfn_folio(memory, snapshot_pin)) & PG_USED))
		violated("a restore freed a pinned frame");
	if (word != frozen_words[0] && word != run_words[0])
		violated("a pin sees bytes that the address never had");
}

static const char *pin_sees(void)
{
	if (nr_snapshot_pins && raw_bytes(mm, 0) == vellum_frame_host(memory, snapshot_pin) &&
	    *(const uint64_t *)vellum_frame_host(memory, snapshot_pin) != frozen_words[0])
		return "a restore left a pinned page as the run had it";
	return restores_again();
}

/* The snapshot sees the pin, and freezes a copy; or the pin, which is taken without a lock, sees that W is gone. */
static void fast_pinner(void)
{
	vellum_pin_pages(mm, PAGE(0), 1, VELLUM_GUP_WRITE | VELLUM_GUP_FAST_ONLY, &snapshot_pin, &nr_snapshot_pins);
}

static void freezer(void)
{
	snapshot = freeze_of(mm);
}

static void setup_no_snapshot(void)
{
	setup_pages(PRIVATE);
}

static const char *pin_keeps_page(void)
{
	const uint64_t *word = vellum_frame_host(memory, snapshot_pin);

	if (nr_snapshot_pins && (try_store(1, 0, 99) || raw_bytes(mm, 0) != word || *word != 99))
		return "a snapshot gave the address another page than the pinned one";
	return later_stores_found();
}

/* A device stores through a pin, also during the restore and after it. */
static void setup_device(void)
{
	setup_run();
	MUST(vellum_pin_pages(mm, PAGE(0), 1, VELLUM_GUP_WRITE, &snapshot_pin, &nr_snapshot_pins));
}

static void device(void)
{
	for (uint64_t i = 0; i < 2; i++) {
		pause_here();
		*(volatile uint64_t *)vellum_frame_host(memory, snapshot_pin) = 40 + i;
	}
}

static const char *device_stores_found(void)
{
	uint64_t *word = vellum_frame_host(memory, snapshot_pin);

	if (raw_bytes(mm, 0) != word)
		return "a restore gave the address another page than the pinned one";
	for (unsigned i = 0; i < 2; i++) {
		if (vellum_snapshot_restore(snapshot))
			return "the next restore failed";
		if (*word != frozen_words[0])
			return "a restore did not find a store through a pin";
		*word = 45;
	}
	return later_stores_found();
}

/* --- trackers of the address space --- */

static int consume(void *arg, uint64_t first, uint64_t nr)
{
	(void)arg;
	for (uint64_t i = 0; i < nr; i++) {
		uint64_t page = first + i - (BASE >> PAGE_SHIFT);

		if (page >= PAGES)
			continue;
		pause_here();
		replica[page] = raw_present(mm, (unsigned)page) ? raw_word(mm, (unsigned)page) : 0;
	}
	return 0;
}

static void collector(void)
{
	MUST(vellum_tracker_collect(snapshot_tracker, 0, ~0ull, consume, NULL));
}

static void setup_tracked(enum vellum_track_method method)
{
	setup_run();
	MUST(vellum_track_mm(mm, PAGE(0), PAGE(PAGES), method, &snapshot_tracker));
	restorer();
	memcpy(replica, frozen_words, sizeof(replica));
	run_program();
}

static void setup_tracked_wp(void)
{
	setup_tracked(VELLUM_TRACK_WP);
}

static void setup_tracked_clean(void)
{
	setup_tracked(VELLUM_TRACK_CLEAN);
}

static void setup_tracked_auto(void)
{
	setup_tracked(VELLUM_TRACK_AUTO);
}

const char *replica_equals(void (*collect)(void), const uint64_t *replica_words)
{
	collect();
	if (memcmp(replica_words, frozen_words, sizeof(frozen_words)))
		return "a restore changed a page, and no collection has it";
	for (unsigned i = 0; i < PAGES; i++)
		if (try_store(1, i, 50 + i))
			return "a store failed after a restore";
	collect();
	return has_words(mm, replica_words, "a store after a restore is in no collection");
}

static const char *replica_and_frozen_equal(void)
{
	const char *why = replica_equals(collector, replica);

	return why ? why : later_stores_found();
}

static void collect_twice(void)
{
	collector();
	collector();
}

const struct scenario snapshot_scenarios[] = {
	{ .name = "restore_vs_parked_cpus", .bound = 1, .setup = setup_parked,
	  .thread = { THREAD(restore_when_parked), THREAD(first_cpu), THREAD(second_cpu) },
	  .check_end = later_stores_found, .teardown = end_snapshots },
	RESTORE("restore_vs_reclaim_of_run", 1, setup_reclaim_run, restores_again, THREAD(reclaimer)),
	RESTORE("restore_vs_reclaim_of_new", 1, setup_reclaim_new, restores_again, THREAD(reclaimer)),
	RESTORE("restore_vs_reclaim_of_first_run", 1, setup_reclaim_first_run, restores_again, THREAD(reclaimer)),
	RESTORE("restore_vs_reclaim_of_frozen", 2, setup_reclaim_frozen, restores_again, THREAD(reclaimer)),
	RESTORE("restore_vs_reclaim_of_shared", 1, setup_reclaim_shared, restores_again, THREAD(reclaimer)),
	RESTORE("restore_vs_reclaim_of_run_frozen_out", 1, setup_frozen_out_run_aimed, restores_again,
		THREAD(reclaimer)),
	RESTORE("restore_vs_reclaim_of_pinned", 1, setup_pinned_frozen_out, restores_again, THREAD(reclaimer)),
	RESTORE("restore_vs_swap_in_of_branch", 1, setup_frozen_out, frozen_page_loaded, THREAD(other_loader)),
	RESTORE("restore_vs_read_pin", 2, setup_run, pin_sees, THREAD(pin_and_look)),
	RESTORE("restore_vs_read_pin_first_run", 1, setup_first_run, pin_sees, THREAD(pin_and_look)),
	{ .name = "snapshot_vs_fast_pin", .bound = 1, .setup = setup_no_snapshot, .check_end = pin_keeps_page,
	  .thread = { THREAD(freezer), THREAD(fast_pinner) }, .teardown = end_snapshots },
	RESTORE("restore_vs_device", 1, setup_device, device_stores_found, THREAD(device)),
	RESTORE("restore_vs_tracker_wp", 1, setup_tracked_wp, replica_and_frozen_equal, THREAD(collect_twice)),
	RESTORE("restore_vs_tracker_clean", 1, setup_tracked_clean, replica_and_frozen_equal, THREAD(collect_twice)),
	RESTORE("restore_vs_tracker_auto", 1, setup_tracked_auto, replica_and_frozen_equal, THREAD(collect_twice)),
	{ .name = NULL },
};
