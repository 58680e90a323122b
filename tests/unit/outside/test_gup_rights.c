/* SPDX-License-Identifier: MIT */
/* Pins: rights of the VMA, entries without W, the faults that a pin takes, and which trackers hear of stores. */
#include "huge_support.h"
#include "mm/track/hooks.h"
#include "vellum/dirty.h"
#include "vellum/pagemap.h"
#include "vellum/uffd.h"

#define SLOW VELLUM_GUP_SPLIT_PMD	/* has no fast path, and does nothing else to small pages */

/* --- the VMA --- */

/* Flags that no call sets alone. */
static void flags_of_the_vma(void **state)
{
	struct world *w = *state;
	struct vellum_follow_pfnmap look = { .size = sizeof(look) };
	struct vma *vma;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	vma = vma_at(w->mm, PAGE(0));
	OK(try_gup(w, w->mm, PAGE(0), SLOW));
	vma->flags |= VM_IO;
	assert_int_equal(gup_one(w->mm, PAGE(0), SLOW, &(uint64_t){ 0 }), -EFAULT);
	OK(vellum_follow_pfnmap_start(w->mm, PAGE(0), &look));
	assert_int_equal(look.pfn, pte_pfn(entry_at(w->mm, PAGE(0))));
	assert_false(look.special);
	vellum_follow_pfnmap_end(&look);
	vma->flags &= ~VM_IO;
	protect(w->mm, 0, 1, VELLUM_PROT_NONE);
	OK(try_gup(w, w->mm, PAGE(0), FORCE));
	vma->flags &= ~VM_MAYREAD;
	assert_int_equal(gup_one(w->mm, PAGE(0), FORCE, &(uint64_t){ 0 }), -EFAULT);
	vma->flags |= VM_MAYREAD;
	/* Each right allows only its own kind of access. */
	protect(w->mm, 0, 1, VELLUM_PROT_WRITE);
	OK(try_gup(w, w->mm, PAGE(0), SLOW | WRITE));
	assert_int_equal(try_gup(w, w->mm, PAGE(0), SLOW), -EFAULT);
	OK(try_gup(w, w->mm, PAGE(0), SLOW | FORCE));
	protect(w->mm, 0, 1, RO);
	OK(try_gup(w, w->mm, PAGE(0), SLOW));
	assert_int_equal(try_gup(w, w->mm, PAGE(0), SLOW | WRITE), -EFAULT);
}

static int mixed_pfn(void *ctx, struct vellum_vmf *vmf)
{
	vmf->pfn = ((struct counting *)ctx)->first_pfn;
	return vmf->pgoff == 1 ? VELLUM_VMF_OK : VELLUM_VMF_FALLBACK;
}

/* Only long-term pins are refused where frames store a file. The file's other pages are ordinary. */
static void devmap_refuses_longterm_only(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_backing_ops ops = counting_ops;
	struct vellum_mapping *dax;

	ops.pfn_fault = mixed_pfn;
	ops.page_mkwrite = NULL;
	OK(vellum_memory_alloc_device(w->memory, 1, &c->first_pfn));
	OK(vellum_mapping_create(w->memory, &ops, c, 3, VELLUM_MAPPING_MIXED | VELLUM_MAPPING_DEVMAP, &dax));
	map_object(w->mm, 0, 3, RW, VELLUM_MAP_SHARED, dax, 0, RW);
	for (unsigned i = 0; i < 2; i++) {
		uint32_t how = i ? WRITE : 0;

		OK(try_gup(w, w->mm, PAGE(0), PIN | how));
		assert_int_equal(try_gup(w, w->mm, PAGE(0), PIN | LONGTERM | how), -EOPNOTSUPP);
		assert_int_equal(try_gup(w, w->mm, PAGE(1), PIN | how), -EEXIST);
	}
	unmap(w->mm, 0, 3);
	vellum_mapping_put(dax);
	vellum_memory_free_device(w->memory, c->first_pfn, 1);
}

/* HWPOISON changes the error of poison only. */
static void errors_of_faults(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *shm;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 1, 0, &shm));
	map_object(w->mm, 0, 2, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	map_at(w->mm, 4, 3, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(5), BYTES(1), VELLUM_MADV_GUARD_INSTALL));
	set_entry_at(w->mm, PAGE(6), pte_marker(MARKER_POISON | MARKER_UFFD_WP));
	for (unsigned hwpoison = 0; hwpoison < 2; hwpoison++) {
		uint32_t flags = PIN | (hwpoison ? VELLUM_GUP_HWPOISON : 0);

		assert_int_equal(try_gup(w, w->mm, PAGE(1), flags), -EFAULT);
		assert_int_equal(try_gup(w, w->mm, PAGE(5), flags), -EFAULT);
		assert_int_equal(try_gup(w, w->mm, PAGE(6), flags), hwpoison ? -EHWPOISON : -EFAULT);
	}
	unmap(w->mm, 0, 2);
	vellum_mapping_put(shm);
}

/* --- entries without W --- */

/* An exclusive page whose entry lost W for a tracker: the pin gives W back, so that the tracker hears of it. */
static void pin_for_writing_needs_w(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;
	uint64_t pfn;

	map_at(w->mm, 0, 4, RW, ANON);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), 1);
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(4), VELLUM_TRACK_WP, &t));
	for (unsigned i = 0; i < 3; i++) {
		static const uint32_t how[] = { 0, SLOW, FORCE };

		collect(t, PAGE(0) >> 12);
		assert_false(has_w(w->mm, PAGE(i)));
		assert_true(is_own_page(w, pte_pfn(entry_at(w->mm, PAGE(i)))));
		OK(gup_one(w->mm, PAGE(i), how[i] | PIN | WRITE, &pfn));
		assert_true(has_w(w->mm, PAGE(i)) && has_d(w->mm, PAGE(i)));
		assert_int_equal(collect(t, PAGE(0) >> 12), 1 << i);
		unpin(w, pfn);
		check_world(w);
	}
	vellum_tracker_destroy(t);
}

/* Where no userfaultfd is registered for protection any more, the bit that it left does not stop a forced store. */
static void stale_protection_does_not_stop_force(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u;
	uint64_t pfn;
	pte_t pte;

	OK(vellum_uffd_create(w->mm, 0, &u));
	OK(vellum_uffd_api(u, VELLUM_UFFD_API, 0, NULL, NULL));
	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	OK(vellum_uffd_register(u, PAGE(0), BYTES(1), VELLUM_UFFD_WP, NULL));
	OK(vellum_uffd_writeprotect(u, PAGE(0), BYTES(1), VELLUM_UFFD_WRITEPROTECT_WP));
	OK(vellum_uffd_register(u, PAGE(0), BYTES(1), VELLUM_UFFD_MISSING, NULL));
	protect(w->mm, 0, 1, RO);
	pte = entry_at(w->mm, PAGE(0));
	assert_true(pte_uffd_wp(pte));
	pfn = pin(w->mm, PAGE(0), FORCE | WRITE);
	assert_int_equal(pfn, pte_pfn(pte));
	assert_int_equal(entry_at(w->mm, PAGE(0)).val, pte.val);
	unpin(w, pfn);
	check_world(w);
	vellum_uffd_put(u);
}

/* Where there is no table yet, the access itself is faulted in: one fault, by a store or by a load. */
static void absent_tables_take_one_fault(void **state)
{
	struct world *w = *state;

	for (unsigned writes = 0; writes < 2; writes++) {
		unsigned at = HUGE * (1 + writes);

		map_at(w->mm, at, 1, RW, ANON);
		OK(try_gup(w, w->mm, PAGE(at), writes ? WRITE : 0));
		assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_READ_ZERO), 1);
		assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_ANON), writes);
		assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_COW), 0);
	}
}

/* A pin for writing may store without D, so a snapshot must not take the page for unchanged. */
static void pin_for_writing_removes_the_mark_of_a_snapshot(void **state)
{
	struct world *w = *state;
	struct vellum_mm other;
	uint64_t pfn;
	pte_t pte;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	pte = pte_mkunchanged(pte_mkclean(entry_at(w->mm, PAGE(0))));
	for (unsigned writes = 0; writes < 2; writes++) {
		set_entry_at(w->mm, PAGE(0), pte);
		OK(gup_one(w->mm, PAGE(0), SLOW | PIN | (writes ? WRITE : 0), &pfn));
		assert_int_equal(entry_at(w->mm, PAGE(0)).val, writes ? pte_mkchanged(pte).val : pte.val);
		unpin(w, pfn);
	}
	/* A pin that fails changes nothing. */
	pte = pte_mkunchanged(pte_wrprotect(pte));
	set_entry_at(w->mm, PAGE(0), pte);
	assert_int_equal(gup_one(w->mm, PAGE(0), SLOW | WRITE | VELLUM_GUP_NOFAULT, &pfn), -EAGAIN);
	assert_int_equal(entry_at(w->mm, PAGE(0)).val, pte.val);
	set_entry_at(w->mm, PAGE(0), pte_mkwrite(pte_mkdirty(pte_mkchanged(pte))));
	/* Of an address space that was restored, the slow path takes the pins for writing. */
	OK(try_gup(w, w->mm, PAGE(0), FAST | WRITE));
	w->mm->base = (void *)&other;
	assert_int_equal(gup_one(w->mm, PAGE(0), FAST | WRITE, &pfn), -EAGAIN);
	OK(gup_one(w->mm, PAGE(0), FAST | PIN, &pfn));
	w->mm->base = NULL;
	unpin(w, pfn);
}

/* All frames hold clean pages of a file. Each time there is no frame left, some are reclaimed, and the pin goes on. */
static void pins_reclaim_pages(void **state)
{
	static uint64_t hoard[4096], pfn[2048];
	struct world *w = *state;
	struct file f;
	unsigned n = 0;
	uint64_t word, nr;

	file_create(&f, w, 2500);
	map_at(w->mm, HUGE, 2048, RW, ANON);
	for (unsigned i = 0; i < 4; i++)
		OK(try_gup(w, w->mm, PAGE(HUGE * (1 + i)), WRITE));	/* the tables */
	for (unsigned i = 0; i < 2500; i++)
		OK(vellum_mapping_read(f.mapping, BYTES(i), &word, 8));
	while (free_frames(w))
		OK(vellum_memory_alloc_device(w->memory, 1, &hoard[n++]));
	assert_int_equal(nr_cached(&f), 2500);
	OK(vellum_pin_pages(w->mm, PAGE(HUGE), 2048, WRITE, pfn, &nr));
	assert_int_equal(nr, 2048);
	vellum_unpin_pages(w->memory, pfn, nr);
	while (n)
		vellum_memory_free_device(w->memory, hoard[--n], 1);
	check_world(w);
	file_destroy(&f);
}

/* --- unpinned dirty --- */

/* Only entries that map the page are recorded: not those of a child that has a copy, and not absent ones. */
static void unpin_dirty_records_the_entries_of_the_page(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t, *of_child;
	struct vellum_mm *child;
	uint64_t pfn;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(1), 1);
	pfn = pin(w->mm, PAGE(1), WRITE);
	child = fork_on(w->mm, w->cpu[1]);
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(2), VELLUM_TRACK_WP, &t));
	OK(vellum_track_mm(child, PAGE(0), PAGE(2), VELLUM_TRACK_WP, &of_child));
	collect(t, PAGE(0) >> 12);
	collect(of_child, PAGE(0) >> 12);
	unpin_dirty(w, pfn);
	assert_int_equal(collect(t, PAGE(0) >> 12), 2);
	assert_int_equal(collect(of_child, PAGE(0) >> 12), 0);
	for (unsigned i = 0; i < 2; i++) {
		pte_t theirs = entry_at(child, PAGE(1));

		pfn = pin(w->mm, PAGE(1), WRITE);
		set_entry_at(child, PAGE(1), i ? pte_make(0) : pte_make((pfn << 12 | 31ull << 59) & ~0x1ffull));
		collect(t, PAGE(0) >> 12);
		unpin_dirty(w, pfn);
		set_entry_at(child, PAGE(1), theirs);
		assert_int_equal(collect(t, PAGE(0) >> 12), 2);
		assert_int_equal(collect(of_child, PAGE(0) >> 12), 0);
	}
	vellum_tracker_destroy(t);
	vellum_tracker_destroy(of_child);
	end_child(child, w->cpu[1]);
}

/* A mapping's page changed, though no entry maps it: its tracker records that. */
static void unpin_dirty_of_a_page_that_is_not_mapped(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;
	struct vellum_mapping *shm;
	uint64_t pfn;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 4, 0, &shm));
	map_object(w->mm, 0, 4, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	OK(vellum_track_mapping(shm, 0, 4, VELLUM_TRACK_CLEAN, &t));
	pfn = pin(w->mm, PAGE(2), WRITE);
	unmap(w->mm, 0, 4);
	collect(t, 0);
	unpin_dirty(w, pfn);
	assert_int_equal(collect(t, 0), 1 << 2);
	assert_int_equal(vellum_page_maybe_pinned(w->memory, pfn), 0);
	check_world(w);
	vellum_tracker_destroy(t);
	vellum_mapping_put(shm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(flags_of_the_vma),
		WORLD_TEST(devmap_refuses_longterm_only),
		WORLD_TEST(errors_of_faults),
		WORLD_TEST(pin_for_writing_needs_w),
		WORLD_TEST(stale_protection_does_not_stop_force),
		WORLD_TEST(absent_tables_take_one_fault),
		WORLD_TEST(pin_for_writing_removes_the_mark_of_a_snapshot),
		WORLD_TEST(pins_reclaim_pages),
		WORLD_TEST(unpin_dirty_records_the_entries_of_the_page),
		WORLD_TEST(unpin_dirty_of_a_page_that_is_not_mapped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
