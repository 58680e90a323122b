/* SPDX-License-Identifier: MIT */
/*
 * What a restore does with one entry: each kind of frozen entry, each kind of entry that a run leaves, in anonymous
 * memory and in private VMAs of a file and of shared memory. SPEC.md "Snapshots" has the table that this checks.
 */
#include "snap_support.h"
#include "mm/fault/fault.h"
#include "mm/snapshot/snapshot.h"
#include "mm/swap/swap.h"

/* What is at an address. The first five can be frozen. */
enum kind {
	NONE,
	LOADED,		/* the zero page, or the mapping's */
	STORED,
	OUT,
	GUARD,
	NR_FROZEN,
	/* what a run can do beside that */
	SAME = NR_FROZEN,
	TOUCHED,	/* a load, whatever is there */
	OVERWRITTEN,	/* a store to what is there */
	FORKED,		/* a store, then a fork: the page is not exclusive */
	SWAPPED_AGAIN,	/* a store to what is there, then it is swapped out */
	NR_RUNS
};

enum { VMA_ANON, VMA_FILE, VMA_SHMEM, NR_VMAS };

/* How stores are watched. */
enum mode {
	PLAIN,		/* VM_SOFTDIRTY: not at all */
	WATCHED,	/* soft-dirty was cleared, and no frozen page is soft-dirty */
	DIRTY,		/* soft-dirty was cleared before the frozen pages were stored to */
	NR_MODES
};

static struct snap s;
static struct vellum_mm *child;

static unsigned place(unsigned vma, unsigned kind)
{
	return 500 + vma * 16 + kind;
}

/* Guards are for anonymous memory only. */
static bool can_be(unsigned vma, unsigned kind)
{
	return kind != GUARD || vma == VMA_ANON;
}

static uint64_t frozen_value(unsigned at)
{
	return 7000 + at;
}

static void make(enum kind kind, unsigned at, uint64_t val)
{
	bool guarded = pte_marker_bits(entry_at(s.mm, PAGE(at))) & MARKER_GUARD;

	if (guarded && kind != SAME && kind != GUARD)
		advise(&s, at, 1, VELLUM_MADV_GUARD_REMOVE);
	if (kind < NR_FROZEN)
		advise(&s, at, 1, VELLUM_MADV_DONTNEED);
	if (kind == LOADED || (kind == TOUCHED && !guarded))
		load(s.cpu, PAGE(at));
	if (kind == STORED || kind == OUT || kind == OVERWRITTEN || kind == FORKED || kind == SWAPPED_AGAIN)
		store(s.cpu, PAGE(at), val);
	if (kind == OUT || kind == SWAPPED_AGAIN)
		pageout(s.mm, at, 1);
	if (kind == GUARD)
		advise(&s, at, 1, VELLUM_MADV_GUARD_INSTALL);
	if (kind == FORKED)
		child = fork_on(s.mm, s.w->cpu[1]);
}

/* Pages 0 to 15 of both mappings have bytes that are not zero. */
static void map_vmas(void)
{
	char page[PAGE_SIZE];

	memset(page, 9, sizeof(page));
	file_create(&s.file, s.w, 16);
	OK(vellum_mapping_create(s.w->memory, NULL, NULL, 16, 0, &s.mappings[0]));
	for (unsigned i = 0; i < 16; i++)
		OK(vellum_mapping_write(s.mappings[0], BYTES(i), page, sizeof(page)));
	map_at(s.mm, place(VMA_ANON, 0), 16, RW, ANON);
	map_private(s.mm, place(VMA_FILE, 0), 16, &s.file, 0);
	map_object(s.mm, place(VMA_SHMEM, 0), 16, RW, VELLUM_MAP_PRIVATE, s.mappings[0], 0, RW);
}

static void open_mode(enum mode mode)
{
	snap_open(&s, &machines[0], 0);
	map_vmas();
	if (mode == DIRTY)
		clear_soft_dirty(s.mm);
	for (unsigned vma = 0; vma < NR_VMAS; vma++)
		for (unsigned kind = 0; kind < NR_FROZEN && can_be(vma, kind); kind++)
			make(kind, place(vma, kind), frozen_value(place(vma, kind)));
	if (mode == WATCHED)
		clear_soft_dirty(s.mm);
	freeze(&s);
	restore(&s);
}

/* --- what the table says --- */

enum state { IS_NONE, IS_INITIAL, IS_PAGE, IS_OUT, IS_GUARD };

/* An entry, and what its page said when the entry was looked at. */
struct entry {
	pte_t pte;
	enum state state;
	bool exclusive;
	slot_t slot;	/* of the swap entry, or of the page in the swap cache; 0: none */
};

static struct entry look_at(struct vellum_mm *mm, unsigned at)
{
	struct entry e = { .pte = entry_at(mm, PAGE(at)), .state = IS_INITIAL };
	struct folio *folio;

	if (pte_none(e.pte)) {
		e.state = IS_NONE;
	} else if (!pte_present(e.pte)) {
		e.state = pte_is_marker(e.pte) ? IS_GUARD : IS_OUT;
		e.slot = e.state == IS_OUT ? pte_slot(e.pte) : 0;
	} else if (!pte_special(e.pte)) {
		folio = pte_folio(s.w->memory, e.pte);
		e.state = folio_flags(folio) & PG_ANON ? IS_PAGE : IS_INITIAL;
		e.exclusive = folio_flags(folio) & PG_EXCLUSIVE;
		e.slot = folio_flags(folio) & PG_SWAPCACHE ? folio_slot(s.w->memory, folio) : 0;
	}
	return e;
}

/* @now is the frozen page or slot, or has not changed since the last restore. */
static bool is_as_frozen(enum mode mode, const struct entry *now, const struct entry *was)
{
	if (now->state == IS_PAGE)
		return pte_unchanged(now->pte) ||
		       (was->state == IS_PAGE && pte_pfn(now->pte) == pte_pfn(was->pte)) ||
		       (was->state == IS_OUT && now->slot == was->slot);
	if (now->state == IS_OUT)
		return was->state == IS_OUT && now->slot == was->slot;
	if (now->state == IS_NONE && was->state == IS_INITIAL)	/* a load maps it again, but not soft-dirty */
		return mode == PLAIN || !pte_soft_dirty(was->pte);
	if (now->state == IS_INITIAL)
		return was->state == IS_NONE || was->state == IS_INITIAL;
	return now->state == was->state;
}

/* The frozen bytes are copied into the page of the run. */
static bool is_copied(enum mode mode, unsigned vma, const struct entry *now, const struct entry *was)
{
	return !is_as_frozen(mode, now, was) && now->state == IS_PAGE && now->exclusive &&
	       (was->state == IS_PAGE || ((was->state == IS_NONE || was->state == IS_INITIAL) && vma != VMA_SHMEM));
}

/* The present entry @after, which has the frozen bytes. */
static void check_bits(enum mode mode, unsigned vma, const struct entry *now, const struct entry *was, pte_t after)
{
	bool same = pte_present(now->pte) && pte_pfn(now->pte) == pte_pfn(after), want = false;
	bool kept = same && (now->pte.val & X86_UNCHANGED);

	/* A page that was kept before, and that this run changed, stays dirty if the next store need not fault. */
	assert_true(after.val & X86_UNCHANGED);
	assert_int_equal(pte_dirty(after), kept && is_copied(mode, vma, now, was) && pte_write(after));
	if (pte_present(was->pte))
		want = pte_soft_dirty(was->pte);
	else if (was->state == IS_OUT)
		want = pte_swp_soft_dirty(was->pte);
	else if (vma != VMA_ANON)
		want = pte_soft_dirty(now->pte);	/* the frozen copy does not tell */
	if (mode != PLAIN)
		assert_int_equal(pte_soft_dirty(after), want);
	assert_int_equal(pte_write(after), same && pte_write(now->pte) && (mode == PLAIN || want));
	if (pte_present(was->pte) && !same)
		assert_int_equal(pte_pfn(after), pte_pfn(was->pte));
}

static void check_entry(enum mode mode, unsigned vma, const struct entry *now, const struct entry *was,
			const struct entry *after)
{
	if (is_as_frozen(mode, now, was) || is_copied(mode, vma, now, was)) {
		assert_int_equal(after->state, now->state);
		if (pte_present(now->pte))
			assert_int_equal(pte_pfn(after->pte), pte_pfn(now->pte));
		else
			assert_int_equal(after->pte.val, pte_none(now->pte) ? 0 : pte_swp_clear_exclusive(was->pte).val);
	} else {
		assert_int_equal(after->state, was->state);
		assert_int_equal(after->slot, was->slot);
	}
	if (pte_present(after->pte))
		check_bits(mode, vma, now, was, after->pte);
}

/* --- each pair --- */

/* Beside the page at @at, no entry changes, except that a fault around maps pages of the file. */
static void check_others(const pte_t *before, unsigned at)
{
	for (unsigned i = place(0, 0); i < place(NR_VMAS, 0); i++)
		if (i != at && !pte_none(before[i - place(0, 0)]))
			assert_int_equal(pte_mkold(entry_at(s.mm, PAGE(i))).val, pte_mkold(before[i - place(0, 0)]).val);
}

static void read_entries(pte_t *to)
{
	for (unsigned i = place(0, 0); i < place(NR_VMAS, 0); i++)
		to[i - place(0, 0)] = entry_at(s.mm, PAGE(i));
}

/* The numbers of the last restore, which changed one entry at most. */
static void check_numbers(bool as_frozen, bool copied)
{
	struct vellum_snapshot_info info = snap_info(s.snapshot);

	assert_int_equal(info.copied_pages, copied);
	assert_int_equal(info.dropped_pages, !as_frozen && !copied);
}

static void one_pair(enum mode mode, unsigned vma, enum kind frozen, enum kind run)
{
	unsigned at = place(vma, frozen);
	struct entry was = look_at(s.snapshot->mms[0].copy, at), now, after;
	pte_t before[NR_VMAS * 16];

	read_entries(before);
	make(run, at, 123 + run);
	now = look_at(s.mm, at);
	restore(&s);
	after = look_at(s.mm, at);
	check_entry(mode, vma, &now, &was, &after);
	if (!child) {	/* a fork changes all entries */
		check_others(before, at);
		check_numbers(is_as_frozen(mode, &now, &was), is_copied(mode, vma, &now, &was));
	} else {
		end_child(child, s.w->cpu[1]);
		child = NULL;
	}
	check_restored(&s);
	restore(&s);
}

static void each_pair(enum mode mode)
{
	open_mode(mode);
	for (unsigned vma = 0; vma < NR_VMAS; vma++)
		for (unsigned frozen = 0; frozen < NR_FROZEN && can_be(vma, frozen); frozen++)
			for (unsigned run = 0; run < NR_RUNS; run++) {
				if (!can_be(vma, run))
					continue;
				one_pair(mode, vma, frozen, run);
				one_pair(mode, vma, frozen, STORED);	/* the next pair begins with a kept page */
			}
	snap_close(&s);
}

static void entries_are_restored(void **state)
{
	(void)state;
	each_pair(PLAIN);
}

static void entries_are_restored_without_soft_dirty(void **state)
{
	(void)state;
	each_pair(WATCHED);
}

static void entries_are_restored_with_soft_dirty(void **state)
{
	(void)state;
	each_pair(DIRTY);
}

/* --- raw frames of a shared VMA --- */

#define RAW_PFN (1ull << 20)	/* above RAM */

/* A new VMA. The driver's own unmap would remove the frozen entry too. */
static void remap_one(unsigned at, uint64_t frame)
{
	unmap(s.mm, at, 1);
	map_object(s.mm, at, 1, RW, VELLUM_MAP_SHARED, s.mappings[0], at, RW);
	OK(vellum_remap_pfn_range(s.mm, PAGE(at), RAW_PFN + frame, PAGE_SIZE));
}

static uint64_t raw_frame(unsigned at)
{
	return pte_present(entry_at(s.mm, PAGE(at))) ? pte_pfn(entry_at(s.mm, PAGE(at))) - RAW_PFN : ~0ull;
}

/* The frozen frame comes back if another is mapped there, unless the driver took it. A frame where none was stays. */
static void frames_of_a_driver_are_restored(void **state)
{
	struct counting counts = { .first_pfn = RAW_PFN };

	(void)state;
	snap_open(&s, &machines[0], 0);
	s.bytes = calloc(16, PAGE_SIZE);
	OK(vellum_memory_add_device(s.w->memory, RAW_PFN, 16, s.bytes));
	OK(vellum_mapping_create(s.w->memory, &counting_pfn_ops, &counts, 8, VELLUM_MAPPING_PFN, &s.mappings[0]));
	map_object(s.mm, 0, 8, RW, VELLUM_MAP_SHARED, s.mappings[0], 0, RW);
	for (unsigned i = 0; i < 4; i++)
		remap_one(i, i);
	freeze(&s);
	restore(&s);
	assert_int_equal(snap_info(s.snapshot).dropped_pages, 0);
	remap_one(1, 9);			/* another frame */
	remap_one(2, 2);			/* the same one, by a new entry */
	unmap(s.mm, 3, 1);
	remap_one(5, 11);			/* there was none */
	vellum_unmap_mapping_range(s.mappings[0], 0, 1);
	restore(&s);
	check_world(s.w);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(raw_frame(i), i > 0 && i < 4 ? i : i == 5 ? 11 : ~0ull);
	assert_int_equal(snap_info(s.snapshot).dropped_pages, 2);
	must_verify(&s, s.snapshot);
	snap_close(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_are_restored),
		cmocka_unit_test(entries_are_restored_without_soft_dirty),
		cmocka_unit_test(entries_are_restored_with_soft_dirty),
		cmocka_unit_test(frames_of_a_driver_are_restored),
	};

	return cmocka_run_group_tests_name("snap_entries", tests, NULL, NULL);
}
