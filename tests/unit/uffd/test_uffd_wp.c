/* SPDX-License-Identifier: MIT */
/*
 * userfaultfd: UFFDIO_WRITEPROTECT and each kind of entry. The ranges begin and end inside tables and at their borders,
 * and the entries next to a range must not change.
 */
#include "uffd_support.h"
#include "huge_support.h"

#define U SWP_UFFD_WP
#define S SWP_SOFT_DIRTY
#define E SWP_EXCLUSIVE
#define MARKER(bits) pte_marker(bits).val

/* --- entries that are not present --- */

/* An entry, and what becomes of it. */
struct change {
	uint64_t before, protected, lifted;
};

#define MAX_CHANGES 64

struct changes {
	unsigned nr;
	struct change c[MAX_CHANGES];
};

static void add(struct changes *all, uint64_t before, uint64_t protected, uint64_t lifted)
{
	assert_in_range(all->nr, 0, MAX_CHANGES - 1);
	all->c[all->nr++] = (struct change){ before, protected, lifted };
}

/* Lifting removes a wp marker, but poison and guards stay as they are, with or without the wp bit. */
static void add_markers(struct changes *all, bool with_markers)
{
	const uint64_t wp = MARKER(MARKER_UFFD_WP);

	add(all, 0, with_markers ? wp : 0, 0);
	add(all, X86_ACCESSED | X86_DIRTY, with_markers ? wp : X86_ACCESSED | X86_DIRTY, X86_ACCESSED | X86_DIRTY);
	for (unsigned bits = 1; bits < 8; bits++)
		for (unsigned flags = 0; flags < 4; flags++) {
			uint64_t marker = MARKER(bits) | (flags & 1 ? S : 0) | (flags & 2 ? U : 0);

			add(all, marker, marker, bits == MARKER_UFFD_WP ? 0 : marker);
		}
}

/* Lifting gives no write entry back: a fault does. */
static void add_swp(struct changes *all, unsigned type, unsigned protected_type, uint64_t offset)
{
	const uint64_t flags[] = { 0, S, E, U, S | E | U };

	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		add(all, swp_entry_pte(type, offset).val | flags[i],
		    swp_entry_pte(protected_type, offset).val | flags[i] | U,
		    swp_entry_pte(type, offset).val | (flags[i] & ~U));
}

#define TABLE_BORDER 1024	/* a page number */

struct range {
	unsigned at, pages;
};

/* Four pages from TABLE_BORDER - 2 on have the entry @c->before. Change @range, and look at all four. */
static void change_range(struct world *w, struct vellum_uffd *u, const struct change *c, struct range range, bool protect)
{
	for (unsigned i = TABLE_BORDER - 2; i < TABLE_BORDER + 2; i++)
		set_entry_at(w->mm, PAGE(i), pte_make(c->before));
	OK(vellum_uffd_writeprotect(u, PAGE(range.at), BYTES(range.pages),
				    protect ? VELLUM_UFFD_WRITEPROTECT_WP : 0));
	for (unsigned i = TABLE_BORDER - 2; i < TABLE_BORDER + 2; i++) {
		bool inside = i >= range.at && i < range.at + range.pages;
		uint64_t want = !inside ? c->before : protect ? c->protected : c->lifted;

		assert_int_equal(entry_at(w->mm, PAGE(i)).val, want);
		set_entry_at(w->mm, PAGE(i), pte_make(0));
	}
}

static void change_all(struct world *w, struct vellum_uffd *u, const struct changes *all)
{
	static const struct range ranges[] = {
		{ TABLE_BORDER - 2, 1 }, { TABLE_BORDER - 1, 1 }, { TABLE_BORDER, 1 }, { TABLE_BORDER - 1, 2 },
		{ TABLE_BORDER - 2, 4 }, { TABLE_BORDER - 2, 2 }, { TABLE_BORDER, 2 }, { TABLE_BORDER + 1, 1 },
		{ TABLE_BORDER - 512, 1024 },
	};

	for (unsigned i = 0; i < all->nr; i++)
		for (unsigned j = 0; j < ARRAY_SIZE(ranges); j++)
			for (unsigned protect = 0; protect < 2; protect++)
				change_range(w, u, &all->c[i], ranges[j], protect);
	resolve(u, TABLE_BORDER - 512, 1024);
	for (unsigned i = TABLE_BORDER - 512; i < TABLE_BORDER + 512; i++)
		assert_int_equal(entry_at(w->mm, PAGE(i)).val, 0);
	check_world(w);
}

/* Both tables of the range exist, and have no pages. */
static void map_two_tables(struct world *w, struct vellum_uffd *u, uint32_t flags)
{
	map_at(w->mm, TABLE_BORDER - 512, 1024, RW, flags);
	for (unsigned i = TABLE_BORDER - 1; i < TABLE_BORDER + 1; i++)
		store(w->cpu[0], PAGE(i), 1);
	dontneed(w->mm, TABLE_BORDER - 512, 1024);
	enrol(w, u, TABLE_BORDER - 512, 1024, WP);
}

static void markers_of_each_kind(void **state)
{
	const struct { uint32_t flags; uint64_t features; bool markers; } cases[] = {
		{ ANON, 0, false }, { ANON, VELLUM_UFFD_FEATURE_WP_UNPOPULATED, true }, { ANON, ASYNC, true },
		{ SHANON, 0, true },
	};
	struct world *w = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vellum_uffd *u = new_uffd(w, cases[i].features);
		struct changes all = { 0 };

		map_two_tables(w, u, cases[i].flags);
		add_markers(&all, cases[i].markers);
		change_all(w, u, &all);
		vellum_uffd_put(u);
		unmap(w->mm, TABLE_BORDER - 512, 1024);
	}
}

/* Write entries become read entries, as after mprotect(). The other bits of an entry stay. */
static void swap_migration_and_device_entries(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct changes all = { 0 }, more = { 0 };
	uint64_t anon, file;

	map_at(w->mm, 0, 1, RW, ANON);
	map_at(w->mm, 1, 1, RW, SHANON);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(1), 1);
	anon = pte_pfn(entry_at(w->mm, PAGE(0)));
	file = pte_pfn(entry_at(w->mm, PAGE(1)));
	map_two_tables(w, u, SHANON);
	add_swp(&all, 0, 0, 0x1234);
	add_swp(&all, SWP_GENUINE_MAX, SWP_GENUINE_MAX, 5);
	add_swp(&all, SWP_HWPOISON, SWP_HWPOISON, anon);
	add_swp(&all, SWP_MIGRATION_READ, SWP_MIGRATION_READ, anon);
	add_swp(&all, SWP_MIGRATION_READ_EXCL, SWP_MIGRATION_READ_EXCL, anon | MIGRATION_YOUNG);
	add_swp(&all, SWP_MIGRATION_WRITE, SWP_MIGRATION_READ_EXCL, anon | MIGRATION_YOUNG | MIGRATION_DIRTY);
	add_swp(&all, SWP_MIGRATION_WRITE, SWP_MIGRATION_READ, file | MIGRATION_DIRTY);
	change_all(w, u, &all);
	add_swp(&more, SWP_DEVICE_WRITE, SWP_DEVICE_READ, 7);
	add_swp(&more, SWP_DEVICE_READ, SWP_DEVICE_READ, 7);
	add_swp(&more, SWP_DEVICE_EXCL_WRITE, SWP_DEVICE_EXCL_READ, anon);
	add_swp(&more, SWP_DEVICE_EXCL_READ, SWP_DEVICE_EXCL_READ, anon);
	change_all(w, u, &more);
	vellum_uffd_put(u);
}

/* Unregistering, and the end of the context, lift protection too. */
static void other_ways_to_lift_keep_poison_and_guards(void **state)
{
	struct world *w = *state;

	for (unsigned close = 0; close < 2; close++) {
		struct vellum_uffd *u = new_uffd(w, 0);

		map_two_tables(w, u, SHANON);
		for (unsigned bits = 1; bits < 8; bits++)
			set_entry_at(w->mm, PAGE(TABLE_BORDER - 4 + bits), pte_marker(bits));
		set_entry_at(w->mm, PAGE(TABLE_BORDER + 4), pte_make(swp_entry_pte(1, 5).val | U));
		if (close)
			vellum_uffd_close(u);
		else
			OK(vellum_uffd_unregister(u, PAGE(TABLE_BORDER - 512), BYTES(1024)));
		for (unsigned bits = 1; bits < 8; bits++)
			assert_int_equal(entry_at(w->mm, PAGE(TABLE_BORDER - 4 + bits)).val,
					 bits == MARKER_UFFD_WP ? 0 : MARKER(bits));
		assert_int_equal(entry_at(w->mm, PAGE(TABLE_BORDER + 4)).val, swp_entry_pte(1, 5).val);
		set_entry_at(w->mm, PAGE(TABLE_BORDER + 4), pte_make(0));
		check_world(w);
		unmap(w->mm, TABLE_BORDER - 512, 1024);
		vellum_uffd_put(u);
	}
}

/* --- present entries --- */

static uint64_t saved_dirty(uint64_t val)
{
	return val & X86_DIRTY ? (val & ~X86_DIRTY) | X86_SAVED_DIRTY : val;
}

/*
 * Page @at loses RW, and gets it back if @upgraded. D is kept. The pages around it, whose entries may be none, do not
 * change. A page that is not protected does not change when protection is lifted, even if a store could be granted.
 */
static void protect_and_lift(struct world *w, struct vellum_uffd *u, unsigned at, bool upgraded)
{
	const uint64_t before = entry_at(w->mm, PAGE(at)).val, next = entry_at(w->mm, PAGE(at + 1)).val;
	uint64_t protected = saved_dirty(before & ~X86_RW) | X86_UFFD_WP;

	guard_writes(w, u, at, 1);
	assert_int_equal(entry_at(w->mm, PAGE(at)).val, protected);
	assert_int_equal(entry_at(w->mm, PAGE(at + 1)).val, next);
	guard_writes(w, u, at, 1);
	assert_int_equal(entry_at(w->mm, PAGE(at)).val, protected);
	resolve(u, at, 1);
	assert_int_equal(entry_at(w->mm, PAGE(at)).val, upgraded ? before : saved_dirty(before & ~X86_RW));
	assert_int_equal(entry_at(w->mm, PAGE(at + 1)).val, next);
	check_world(w);
	set_entry_at(w->mm, PAGE(at), pte_wrprotect(pte_make(before)));
	resolve(u, at, 1);
	assert_int_equal(entry_at(w->mm, PAGE(at)).val, saved_dirty(before & ~X86_RW));
}

static void present_entries(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mapping *shm = new_shmem(w, 8);
	struct vellum_mm *child;

	map_at(w->mm, 0, 8, RW, ANON);
	map_object(w->mm, 8, 8, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	map_object(w->mm, 16, 8, RW, VELLUM_MAP_PRIVATE, shm, 0, RW);
	store(w->cpu[0], PAGE(0), 1);
	child = fork_on(w->mm, w->cpu[1]);
	for (unsigned i = 2; i < 24; i += 2)
		store(w->cpu[0], PAGE(i), 1);
	load(w->cpu[0], PAGE(4 + 1));		/* the zero page */
	load(w->cpu[0], PAGE(8 + 1));		/* W, clean */
	load(w->cpu[0], PAGE(16 + 1));		/* the mapping's page */
	enrol(w, u, 0, 24, WP);
	protect_and_lift(w, u, 0, false);	/* shared with the child */
	protect_and_lift(w, u, 2, true);
	protect_and_lift(w, u, 5, false);
	protect_and_lift(w, u, 8, true);
	protect_and_lift(w, u, 9, false);	/* clean: the first store is to be noticed */
	protect_and_lift(w, u, 16, true);
	protect_and_lift(w, u, 17, false);
	protect(w->mm, 0, 24, RO);
	for (unsigned i = 6; i < 24; i += 8)
		protect_and_lift(w, u, i, false);	/* no right to write */
	protect(w->mm, 0, 24, RW);
	OK(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
	for (unsigned i = 4; i < 24; i += 8)
		protect_and_lift(w, u, i, false);	/* the first store is to set soft-dirty */
	end_child(child, w->cpu[1]);
	unmap(w->mm, 0, 24);
	vellum_mapping_put(shm);
	vellum_uffd_put(u);
}

/* --- tables --- */

static bool has_table(struct world *w, unsigned page)
{
	struct mutex *ptl;

	return pte_lookup(w->mm, PAGE(page), &ptl);
}

/* Five tables around the end of a table of PMDs. The first and the last exist. */
static void protecting_none_allocates_tables_for_markers_only(void **state)
{
	struct world *w = *state;
	const unsigned at = GIANT - 2 * HUGE, pages = 5 * HUGE;

	for (unsigned markers = 0; markers < 2; markers++) {
		struct vellum_uffd *u = new_uffd(w, markers ? VELLUM_UFFD_FEATURE_WP_UNPOPULATED : 0);

		map_at(w->mm, at, pages, RW, ANON);
		store(w->cpu[0], PAGE(at + 1), 1);
		store(w->cpu[0], PAGE(at + pages - 2), 1);
		enrol(w, u, at, pages, WP);
		guard_writes(w, u, at + 1, pages - 2);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(has_table(w, at + i * HUGE), markers || i % 4 == 0);
		for (unsigned i = at; i < at + pages; i++) {
			bool page = i == at + 1 || i == at + pages - 2, outside = i == at || i == at + pages - 1;

			assert_int_equal(entry_at(w->mm, PAGE(i)).val && !page, markers && !outside && !page);
			if (page)
				assert_word(w, i, IS_WP_PAGE);
			else if (markers && !outside)
				assert_int_equal(entry_at(w->mm, PAGE(i)).val, MARKER(MARKER_UFFD_WP));
		}
		resolve(u, at, pages);
		for (unsigned i = at; i < at + pages; i++)
			assert_word(w, i, i == at + 1 || i == at + pages - 2 ? IS_PAGE : 0);
		check_world(w);
		unmap(w->mm, at, pages);
		vellum_uffd_put(u);
	}
}

/* A range may have gaps. Where a VMA is not registered, the call ends: what is before it has changed. */
static void several_vmas(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);

	map_at(w->mm, 0, 40, RW, ANON);
	for (unsigned i = 0; i < 40; i++)
		store(w->cpu[0], PAGE(i), i);
	protect(w->mm, 8, 8, RO);
	unmap(w->mm, 16, 4);
	enrol(w, u, 0, 28, WP);
	enrol(w, u, 32, 8, WP);
	guard_writes(w, u, 4, 22);
	for (unsigned i = 0; i < 40; i++)
		assert_word(w, i, i >= 16 && i < 20 ? 0 : i >= 4 && i < 26 ? IS_WP_PAGE : IS_PAGE);
	assert_int_equal(vellum_uffd_writeprotect(u, PAGE(2), BYTES(36), VELLUM_UFFD_WRITEPROTECT_WP), -ENOENT);
	for (unsigned i = 0; i < 40; i++)
		assert_word(w, i, i >= 16 && i < 20 ? 0 : i >= 2 && i < 28 ? IS_WP_PAGE : IS_PAGE);
	assert_int_equal(vellum_uffd_writeprotect(u, PAGE(16), BYTES(4), VELLUM_UFFD_WRITEPROTECT_WP), -ENOENT);
	assert_int_equal(vellum_uffd_writeprotect(u, PAGE(28), BYTES(12), VELLUM_UFFD_WRITEPROTECT_WP), -ENOENT);
	resolve(u, 10, 9);
	for (unsigned i = 0; i < 40; i++)
		assert_word(w, i, i >= 16 && i < 20 ? 0 : (i >= 2 && i < 10) || (i >= 20 && i < 28) ? IS_WP_PAGE : IS_PAGE);
	check_world(w);
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(markers_of_each_kind),
		WORLD_TEST(swap_migration_and_device_entries),
		WORLD_TEST(other_ways_to_lift_keep_poison_and_guards),
		WORLD_TEST(present_entries),
		WORLD_TEST(protecting_none_allocates_tables_for_markers_only),
		WORLD_TEST(several_vmas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
