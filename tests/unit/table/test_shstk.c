/* SPDX-License-Identifier: MIT */
/* Shadow stacks: an entry with RW=0 and D=1 allows only shadow-stack stores. No other path makes such an entry. */
#include "gup_support.h"
#include "vellum/device.h"
#include "vellum/pagemap.h"
#include "vellum/uffd.h"

#define SHAPE (X86_PRESENT | X86_RW | X86_DIRTY | X86_SAVED_DIRTY)
#define STACK (X86_PRESENT | X86_DIRTY)		/* the shadow-stack encoding */
#define SAVED (X86_PRESENT | X86_SAVED_DIRTY)	/* read-only, and dirty */

static void map_stack(struct vellum_mm *mm, unsigned at, unsigned pages)
{
	uint64_t addr = PAGE(at);

	OK(vellum_map_shadow_stack(mm, &addr, BYTES(pages)));
	assert_int_equal(addr, PAGE(at));
}

static uint64_t shape_of(struct vellum_mm *mm, unsigned page)
{
	return entry_at(mm, PAGE(page)).val & SHAPE;
}

static void push(struct vellum_soft_cpu *cpu, uint64_t addr, uint64_t val)
{
	assert_int_equal(vellum_soft_shstk_store64(cpu, addr, val), VELLUM_FAULT_OK);
}

static uint64_t pop(struct vellum_soft_cpu *cpu, uint64_t addr)
{
	uint64_t val = 0;

	assert_int_equal(vellum_soft_shstk_load64(cpu, addr, &val), VELLUM_FAULT_OK);
	return val;
}

static void T_shs_02_only_shadow_stack_stores_are_allowed(void **state)
{
	struct world *w = *state;
	uint64_t val;

	map_stack(w->mm, 0, 2);
	push(w->cpu[0], PAGE(0), 5);
	check_world(w);
	assert_int_equal(shape_of(w->mm, 0), STACK);
	assert_int_equal(pop(w->cpu[0], PAGE(0)), 5);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 5);		/* ordinary loads are allowed */
	assert_int_equal(try_store(w->cpu[0], PAGE(0), 6), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(try_store(w->cpu[0], PAGE(1), 6), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(pop(w->cpu[0], PAGE(1)), 0);		/* a shadow-stack load faults it in */
	check_world(w);
	push(w->cpu[0], PAGE(1), 7);
	assert_int_equal(shape_of(w->mm, 1), STACK);
	/* In other VMAs, shadow-stack accesses fault and make no such entry. */
	map_at(w->mm, 4, 2, RW, ANON);
	store(w->cpu[0], PAGE(4), 1);
	for (unsigned i = 4; i < 6; i++) {
		assert_int_equal(vellum_soft_shstk_store64(w->cpu[0], PAGE(i), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
		assert_int_equal(vellum_soft_shstk_load64(w->cpu[0], PAGE(i), &val), VELLUM_FAULT_SIGSEGV_ACCERR);
		assert_int_not_equal(shape_of(w->mm, i), STACK);
	}
	assert_int_equal(vellum_soft_shstk_store64(w->cpu[0], PAGE(9), 1), VELLUM_FAULT_SIGSEGV_MAPERR);
}

static void T_shs_02_fork(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t pfn;

	map_stack(w->mm, 0, 1);
	push(w->cpu[0], PAGE(0), 5);
	pfn = pte_pfn(entry_at(w->mm, PAGE(0)));
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	assert_int_equal(shape_of(w->mm, 0), SAVED);
	assert_int_equal(shape_of(child, 0), SAVED);
	assert_int_equal(pop(w->cpu[1], PAGE(0)), 5);
	assert_int_equal(try_store(w->cpu[1], PAGE(0), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	push(w->cpu[1], PAGE(0), 6);
	check_world(w);
	assert_int_equal(shape_of(child, 0), STACK);
	assert_int_not_equal(pte_pfn(entry_at(child, PAGE(0))), pfn);
	assert_int_equal(pop(w->cpu[0], PAGE(0)), 5);
	end_child(child, w->cpu[1]);
	push(w->cpu[0], PAGE(0), 7);	/* sole owner: no copy */
	check_world(w);
	assert_int_equal(shape_of(w->mm, 0), STACK);
	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(0))), pfn);
}

/* The parent's other CPU has a translation with the right when the parent forks. */
static void T_shs_02_fork_flushes(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;

	map_stack(w->mm, 0, 1);
	vellum_soft_load_mm(w->cpu[2], w->mm);
	push(w->cpu[2], PAGE(0), 5);
	child = fork_on(w->mm, w->cpu[1]);
	push(w->cpu[2], PAGE(0), 6);
	assert_int_equal(pop(w->cpu[1], PAGE(0)), 5);
	assert_int_equal(pop(w->cpu[0], PAGE(0)), 6);
	vellum_soft_load_mm(w->cpu[2], NULL);
	check_world(w);
	end_child(child, w->cpu[1]);
}

/* mprotect to read-only and back. While the VMA is read-only, shadow-stack accesses fault. */
static void mprotect_of_a_shadow_stack(void **state)
{
	struct world *w = *state;
	uint64_t val;

	map_stack(w->mm, 0, 2);
	push(w->cpu[0], PAGE(0), 5);
	protect(w->mm, 0, 2, VELLUM_PROT_NONE);
	check_world(w);
	assert_int_equal(try_load(w->cpu[0], PAGE(0)), VELLUM_FAULT_SIGSEGV_ACCERR);
	protect(w->mm, 0, 2, RO);
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 5);
	assert_int_equal(try_store(w->cpu[0], PAGE(0), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	load(w->cpu[0], PAGE(1));
	assert_int_equal(vellum_soft_shstk_load64(w->cpu[0], PAGE(1), &val), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(vellum_soft_shstk_store64(w->cpu[0], PAGE(1), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	protect(w->mm, 0, 2, RW);
	check_world(w);
	assert_int_equal(try_store(w->cpu[0], PAGE(0), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	push(w->cpu[0], PAGE(0), 6);
	push(w->cpu[0], PAGE(1), 6);
	assert_int_equal(shape_of(w->mm, 0), STACK);
	assert_int_equal(shape_of(w->mm, 1), STACK);
	check_world(w);
}

/* A fork while the VMA is read-only: parent and child have separate copies later. */
static void mprotect_and_fork(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;

	map_stack(w->mm, 0, 1);
	push(w->cpu[0], PAGE(0), 5);
	protect(w->mm, 0, 1, RO);
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	protect(w->mm, 0, 1, RW);
	protect(child, 0, 1, RW);
	check_world(w);
	assert_int_not_equal(shape_of(w->mm, 0), STACK);
	push(w->cpu[0], PAGE(0), 6);
	assert_int_equal(pop(w->cpu[1], PAGE(0)), 5);
	push(w->cpu[1], PAGE(0), 7);
	assert_int_equal(pop(w->cpu[0], PAGE(0)), 6);
	check_world(w);
	end_child(child, w->cpu[1]);
}

static void gup_of_a_shadow_stack_needs_force(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t pfn;

	map_stack(w->mm, 0, 2);
	push(w->cpu[0], PAGE(0), 5);
	OK(try_gup(w, w->mm, PAGE(0), PIN));
	assert_int_equal(try_gup(w, w->mm, PAGE(0), PIN | WRITE | FAST), -EAGAIN);
	assert_int_equal(try_gup(w, w->mm, PAGE(0), PIN | WRITE), -EFAULT);
	assert_int_equal(try_gup(w, w->mm, PAGE(1), WRITE), -EFAULT);
	pfn = pin(w->mm, PAGE(0), WRITE | FORCE);
	frame_words(w, pfn)[0] = 6;
	assert_int_equal(pop(w->cpu[0], PAGE(0)), 6);
	assert_int_equal(shape_of(w->mm, 0), STACK);
	unpin_dirty(w, pfn);
	pfn = pin(w->mm, PAGE(1), WRITE | FORCE);	/* not present yet */
	assert_true(is_own_page(w, pfn));
	frame_words(w, pfn)[0] = 9;
	assert_int_equal(pop(w->cpu[0], PAGE(1)), 9);
	push(w->cpu[0], PAGE(1), 10);
	assert_int_equal(frame_words(w, pfn)[0], 10);
	unpin(w, pfn);
	/* Shared after a fork: FORCE copies the page, as a shadow-stack store would. */
	child = fork_on(w->mm, w->cpu[1]);
	pfn = pin(child, PAGE(0), WRITE | FORCE);
	assert_true(is_own_page(w, pfn));
	frame_words(w, pfn)[0] = 8;
	assert_int_equal(pop(w->cpu[1], PAGE(0)), 8);
	assert_int_equal(pop(w->cpu[0], PAGE(0)), 6);
	check_world(w);
	unpin(w, pfn);
	end_child(child, w->cpu[1]);
}

/* Pinned during a fork: the child gets a copy, also a shadow stack. The parent's entry stays. */
static void T_fork_06_pinned_stack(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t pfn;

	map_stack(w->mm, 0, 1);
	push(w->cpu[0], PAGE(0), 5);
	pfn = pin(w->mm, PAGE(0), WRITE | FORCE);
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	assert_int_equal(shape_of(w->mm, 0), STACK);
	assert_int_equal(shape_of(child, 0), STACK);
	assert_int_not_equal(pte_pfn(entry_at(child, PAGE(0))), pfn);
	push(w->cpu[0], PAGE(0), 6);
	assert_int_equal(frame_words(w, pfn)[0], 6);
	assert_int_equal(pop(w->cpu[1], PAGE(0)), 5);
	unpin(w, pfn);
	end_child(child, w->cpu[1]);
}

/* After migration and after a spurious fault, the entry still allows shadow-stack stores. */
static void migration_keeps_the_encoding(void **state)
{
	struct world *w = *state;

	map_stack(w->mm, 0, 1);
	push(w->cpu[0], PAGE(0), 5);
	OK(vellum_migrate_page(w->mm, PAGE(0)));
	assert_int_equal(shape_of(w->mm, 0), STACK);
	assert_int_equal(vellum_handle_fault(w->mm, PAGE(0), VELLUM_FAULT_PRESENT | VELLUM_FAULT_WRITE |
							     VELLUM_FAULT_USER | VELLUM_FAULT_SHSTK),
			 VELLUM_FAULT_OK);
	assert_int_equal(shape_of(w->mm, 0), STACK);
	assert_int_equal(pop(w->cpu[0], PAGE(0)), 5);
	check_world(w);
}

static void uffd_register_is_refused(void **state)
{
	static const uint64_t modes[] = { VELLUM_UFFD_MISSING, VELLUM_UFFD_WP, VELLUM_UFFD_MINOR };
	struct world *w = *state;
	struct vellum_uffd *uffd;
	uint64_t mask;

	map_stack(w->mm, 0, 1);
	for (unsigned async = 0; async < 2; async++) {
		OK(vellum_uffd_create(w->mm, 0, &uffd));
		OK(vellum_uffd_api(uffd, VELLUM_UFFD_API, async ? VELLUM_UFFD_FEATURE_WP_ASYNC : 0, &mask, &mask));
		for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
			assert_int_equal(vellum_uffd_register(uffd, PAGE(0), BYTES(1), modes[i], &mask), -EINVAL);
		vellum_uffd_put(uffd);
	}
	check_world(w);
}

/* After swap, soft-dirty and tracking, only a shadow-stack store restores the encoding. */
static void swap_soft_dirty_and_trackers_remove_the_right(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;
	struct ram_swap swap;
	uint64_t word;

	ram_swap_start(w, &swap, 64);
	map_stack(w->mm, 0, 2);
	push(w->cpu[0], PAGE(0), 5);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(1), VELLUM_MADV_PAGEOUT));
	assert_true(pte_is_genuine_swap(entry_at(w->mm, PAGE(0))));
	assert_int_equal(load(w->cpu[0], PAGE(0)), 5);
	check_world(w);
	assert_int_equal(try_store(w->cpu[0], PAGE(0), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	push(w->cpu[0], PAGE(0), 6);
	assert_int_equal(shape_of(w->mm, 0), STACK);
	OK(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
	check_world(w);
	assert_int_equal(shape_of(w->mm, 0), SAVED);
	push(w->cpu[0], PAGE(0), 7);
	OK(vellum_pagemap_read(w->mm, PAGE(0), 1, 0, &word));
	assert_true(word & VELLUM_PM_SOFT_DIRTY);
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(2), VELLUM_TRACK_WP, &t));
	check_world(w);
	push(w->cpu[0], PAGE(0), 8);
	assert_int_equal(collect(t, PAGE(0) >> 12), 1);
	check_world(w);
	vellum_tracker_destroy(t);
	push(w->cpu[0], PAGE(0), 9);
	assert_int_equal(shape_of(w->mm, 0), STACK);
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(2), VELLUM_TRACK_CLEAN, &t));
	check_world(w);
	push(w->cpu[0], PAGE(0), 10);
	push(w->cpu[0], PAGE(1), 10);
	assert_int_equal(collect(t, PAGE(0) >> 12), 3);
	assert_int_equal(collect(t, PAGE(0) >> 12), 0);
	check_world(w);
	push(w->cpu[0], PAGE(1), 11);
	assert_int_equal(collect(t, PAGE(0) >> 12), 2);
	check_world(w);
	vellum_tracker_destroy(t);
	assert_int_equal(pop(w->cpu[0], PAGE(0)), 10);
	unmap(w->mm, 0, 2);
	ram_swap_stop(w, &swap);
}

static void mremap_of_a_shadow_stack(void **state)
{
	struct world *w = *state;
	uint64_t to = PAGE(32);

	map_stack(w->mm, 0, 2);
	push(w->cpu[0], PAGE(1), 5);
	OK(vellum_mremap(w->mm, PAGE(0), BYTES(2), BYTES(2), VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &to));
	check_world(w);
	assert_int_equal(shape_of(w->mm, 33), STACK);
	assert_int_equal(pop(w->cpu[0], PAGE(33)), 5);
	push(w->cpu[0], PAGE(32), 6);
	assert_int_equal(try_store(w->cpu[0], PAGE(33), 6), VELLUM_FAULT_SIGSEGV_ACCERR);
	dontneed(w->mm, 32, 2);
	check_world(w);
	assert_int_equal(pop(w->cpu[0], PAGE(33)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(T_shs_02_only_shadow_stack_stores_are_allowed),
		WORLD_TEST(T_shs_02_fork),
		WORLD_TEST(T_shs_02_fork_flushes),
		WORLD_TEST(mprotect_of_a_shadow_stack),
		WORLD_TEST(mprotect_and_fork),
		WORLD_TEST(gup_of_a_shadow_stack_needs_force),
		WORLD_TEST(T_fork_06_pinned_stack),
		WORLD_TEST(migration_keeps_the_encoding),
		WORLD_TEST(uffd_register_is_refused),
		WORLD_TEST(swap_soft_dirty_and_trackers_remove_the_right),
		WORLD_TEST(mremap_of_a_shadow_stack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
