/* SPDX-License-Identifier: MIT */
/* mprotect of huge leaves of raw frames: the exact leaf after each change. */
#define _GNU_SOURCE
#include "huge_support.h"

#define RX (VELLUM_PROT_READ | VELLUM_PROT_EXEC)

static const uint32_t prots[] = { RO, RW, 0, RW, RX, RW | VELLUM_PROT_EXEC, RO, 0, RO, RW };

/* No leaf of a private VMA has W, whatever its rights, and the frames stay. A store copies one page. */
static void private_leaves_never_have_w(void **state)
{
	(void)state;
	for (unsigned shift = PMD_SHIFT; shift <= PUD_SHIFT; shift += 9) {
		struct scene *s = scene_with(&device_ops, VELLUM_MAPPING_PFN);
		unsigned pages = 1u << (shift - PAGE_SHIFT);
		struct vellum_mm *mm = s->w.mm;

		s->d->max_order = shift - PAGE_SHIFT;
		map_object(mm, 0, pages, RW, VELLUM_MAP_PRIVATE | VELLUM_MAP_NORESERVE, s->d->mapping, 0,
			   RW | VELLUM_PROT_EXEC);
		load(s->w.cpu[0], PAGE(3));
		for (unsigned i = 0; i < ARRAY_SIZE(prots); i++) {
			uint64_t val;

			protect(mm, 0, pages, prots[i]);
			val = leaf_at(mm, PAGE(0), shift);
			assert_true(val & X86_PSE);
			assert_int_equal(leaf_pfn(val, shift), DEVICE_PFN);
			assert_false(val & (X86_RW | X86_DIRTY));
			assert_int_equal(!!(val & X86_PRESENT), prots[i] != 0);
			if (val & X86_PRESENT)
				assert_int_equal(!(val & X86_NX), !!(prots[i] & VELLUM_PROT_EXEC));
			check_world(&s->w);
		}
		store(s->w.cpu[0], PAGE(3), 9);
		assert_int_equal(((uint64_t *)s->d->host)[3 * 512], 0);
		assert_int_equal(s->d->nr_dirt, 0);
		end_scene(s);
	}
}

/* A leaf of a shared VMA gets W and D back. One that loses rights is flushed, one that only gains some is not. */
static void shared_leaves_get_their_rights_back(void **state)
{
	(void)state;
	for (unsigned shift = PMD_SHIFT; shift <= PUD_SHIFT; shift += 9) {
		struct scene *s = scene_with(&device_ops, VELLUM_MAPPING_PFN);
		unsigned pages = 1u << (shift - PAGE_SHIFT);
		struct vellum_mm *mm = s->w.mm;
		uint64_t val, flushes;

		s->d->max_order = s->d->write_order = shift - PAGE_SHIFT;
		map_device(mm, 0, pages, s->d, 0);
		store(s->w.cpu[0], PAGE(3), 9);
		val = leaf_at(mm, PAGE(0), shift);
		assert_true(val & X86_RW && val & X86_DIRTY);
		flushes = count_of(&s->w, VELLUM_COUNT_TLB_FLUSHES);
		protect(mm, 0, pages, RO);
		assert_int_equal(leaf_at(mm, PAGE(0), shift), (val & ~(X86_RW | X86_DIRTY)) | X86_SAVED_DIRTY);
		assert_int_equal(count_of(&s->w, VELLUM_COUNT_TLB_FLUSHES), flushes + 1);
		assert_int_equal(try_store(s->w.cpu[0], PAGE(3), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
		protect(mm, 0, pages, RW);
		assert_int_equal(leaf_at(mm, PAGE(0), shift), val);
		assert_int_equal(count_of(&s->w, VELLUM_COUNT_TLB_FLUSHES), flushes + 1);
		protect(mm, 0, pages, 0);
		assert_int_equal(count_of(&s->w, VELLUM_COUNT_TLB_FLUSHES), flushes + 2);
		assert_int_equal(try_load(s->w.cpu[0], PAGE(3)), VELLUM_FAULT_SIGSEGV_ACCERR);
		protect(mm, 0, pages, RW);
		assert_int_equal(leaf_at(mm, PAGE(0), shift), val);
		assert_int_equal(load(s->w.cpu[0], PAGE(3)), 9);
		end_scene(s);
	}
}

/* A part of a leaf: the leaf is split, and pages beside the part keep their rights. */
static void a_part_of_a_leaf(void **state)
{
	struct scene *s = scene_with(&device_ops, VELLUM_MAPPING_PFN);
	struct vellum_mm *mm = s->w.mm;

	(void)state;
	s->d->max_order = s->d->write_order = 9;
	map_device(mm, 0, 2 * HUGE, s->d, 0);
	store(s->w.cpu[0], PAGE(3), 9);
	store(s->w.cpu[0], PAGE(HUGE), 9);
	protect(mm, HUGE - 5, 12, RO);
	assert_int_equal(leaf_at(mm, PAGE(0), PMD_SHIFT) | leaf_at(mm, PAGE(HUGE), PMD_SHIFT), 0);
	for (unsigned i = 0; i < 2 * HUGE; i++) {
		assert_int_equal(has_w(mm, PAGE(i)), i < HUGE - 5 || i >= HUGE + 7);
		assert_true(has_d(mm, PAGE(i)));
	}
	end_scene(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(private_leaves_never_have_w),
		cmocka_unit_test(shared_leaves_get_their_rights_back),
		cmocka_unit_test(a_part_of_a_leaf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
