/* SPDX-License-Identifier: MIT */
/* Kinds of mappings: which flags and hooks go together, sizes, the list of mappings, and the end of the last page. */
#include "file_support.h"
#include "mm/mapping.h"
#include "mm/object/object.h"

#define ALL_FLAGS 0xffu		/* VELLUM_MAPPING_* */
#define RAW	  (VELLUM_MAPPING_PFN | VELLUM_MAPPING_MIXED)

static int any_fault(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	(void)vmf;
	return 0;
}

static int any_has_page(void *ctx, uint64_t pgoff)
{
	(void)ctx;
	return pgoff == 0;
}

enum { FAULT = 1, PFN_FAULT = 2, HAS_PAGE = 4, NO_OPS = 8 };

static bool may_be(uint32_t flags, unsigned hooks)
{
	if (hooks & NO_OPS)
		hooks = 0;
	if ((flags & VELLUM_MAPPING_PFN) && !(hooks & FAULT))
		return false;
	if ((flags & VELLUM_MAPPING_MIXED) && (!(hooks & PFN_FAULT) || (flags & VELLUM_MAPPING_PFN)))
		return false;
	if ((flags & VELLUM_MAPPING_DEVMAP) && !(flags & RAW))
		return false;
	if ((flags & VELLUM_MAPPING_READ_AHEAD) && (!(hooks & FAULT) || (flags & RAW)))
		return false;
	return !(hooks & HAS_PAGE) || ((hooks & FAULT) && !(flags & RAW));
}

static void flags_need_their_hooks(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *mapping;

	for (uint32_t flags = 0; flags <= ALL_FLAGS; flags++)
		for (unsigned hooks = 0; hooks <= NO_OPS; hooks++) {
			struct vellum_backing_ops ops = { .size = sizeof(ops), .fault = hooks & FAULT ? any_fault : NULL,
							  .pfn_fault = hooks & PFN_FAULT ? any_fault : NULL,
							  .has_page = hooks & HAS_PAGE ? any_has_page : NULL };
			int err = vellum_mapping_create(w->memory, hooks == NO_OPS ? NULL : &ops, NULL, 1, flags, &mapping);

			if (err != (may_be(flags, hooks) ? 0 : -EINVAL))
				fail_msg("flags %x, hooks %x: %d", flags, hooks, err);
			if (!err)
				vellum_mapping_put(mapping);
		}
	assert_int_equal(vellum_mapping_create(w->memory, NULL, NULL, 1, ALL_FLAGS + 1, &mapping), -EINVAL);
}

static void sizes_have_borders(void **state)
{
	struct world *w = *state;
	uint64_t most = MAX_MAPPING_BYTES >> PAGE_SHIFT, live = w->host.live;
	struct vellum_mapping *mapping = NULL;

	assert_int_equal(vellum_mapping_create(w->memory, NULL, NULL, 0, 0, &mapping), -EINVAL);
	assert_int_equal(vellum_mapping_create(w->memory, NULL, NULL, most + 1, 0, &mapping), -EINVAL);
	assert_int_equal(vellum_mapping_create(NULL, NULL, NULL, 1, 0, &mapping), -EINVAL);
	assert_int_equal(vellum_mapping_create(w->memory, NULL, NULL, 1, 0, NULL), -EINVAL);
	w->host.fail_at = w->host.nr_allocs + 1;
	assert_int_equal(vellum_mapping_create(w->memory, NULL, NULL, 1, 0, &mapping), -ENOMEM);
	w->host.fail_at = 0;
	assert_null(mapping);
	assert_int_equal(w->host.live, live);
	OK(vellum_mapping_create(w->memory, NULL, NULL, most, 0, &mapping));
	assert_int_equal(vellum_mapping_size(mapping), most << PAGE_SHIFT);
	assert_int_equal(vellum_memory_destroy(w->memory), -EBUSY);
	assert_int_equal(vellum_mapping_set_size(mapping, MAX_MAPPING_BYTES + 1), -EINVAL);
	OK(vellum_mapping_set_size(mapping, MAX_MAPPING_BYTES - 1));
	vellum_mapping_put(mapping);
	vellum_mapping_put(NULL);
}

/* Each mapping is found, whichever was removed: the first of the list, the last, one between. */
static void list_has_all_mappings(void **state)
{
	struct world *w = *state;
	struct file f[4];

	for (unsigned gone = 0; gone < 4; gone++) {
		for (unsigned i = 0; i < 4; i++) {
			file_create(&f[i], w, 4);
			map_shared(w->mm, 10 * i, 4, &f[i], 0);
			store(w->cpu[0], PAGE(10 * i + 1), i);
		}
		unmap(w->mm, 10 * gone, 4);
		vellum_mapping_put(f[gone].mapping);
		assert_int_equal(f[gone].releases, 1);
		assert_int_equal(f[gone].writes, 1);	/* before it is gone */
		assert_int_equal(vellum_writeback_step(w->memory, 0), 3);
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(f[i].write_mask, 2);
		for (unsigned i = 0; i < 4; i++) {
			unmap(w->mm, 10 * i, 4);
			if (i != gone)
				file_destroy(&f[i]);
		}
		free(f[gone].bytes);
		check_world(w);
	}
}

/* A step writes as many pages as it may, and the next one goes on. */
static void steps_write_what_is_left(void **state)
{
	struct world *w = *state;
	struct file f[2];

	for (unsigned i = 0; i < 2; i++) {
		file_create(&f[i], w, 8);
		map_shared(w->mm, 10 * i, 8, &f[i], 0);
		for (unsigned p = 0; p < 5; p++)
			store(w->cpu[0], PAGE(10 * i + p), p);
	}
	assert_int_equal(vellum_writeback_step(w->memory, 3), 3);
	assert_int_equal(nr_dirty(&f[0]) + nr_dirty(&f[1]), 7);
	assert_int_equal(vellum_writeback_step(w->memory, 4), 4);
	assert_int_equal(vellum_writeback_step(w->memory, 100), 3);
	assert_int_equal(nr_dirty(&f[0]) + nr_dirty(&f[1]), 0);
	assert_int_equal(vellum_writeback_step(w->memory, 0), 0);
	assert_int_equal(f[0].write_mask & f[1].write_mask, 0x1f);
	for (unsigned i = 0; i < 2; i++) {
		unmap(w->mm, 10 * i, 8);
		file_destroy(&f[i]);
	}
}

/* The backing fills whole pages. What is behind the end reads as zero, and a page behind it is SIGBUS. */
static void last_page_ends_at_the_size(void **state)
{
	static const uint64_t tails[] = { 0, 1, 100, 4095 };
	struct world *w = *state;

	for (unsigned i = 0; i < ARRAY_SIZE(tails); i++) {
		uint8_t page[PAGE_SIZE];
		struct file f;

		file_create(&f, w, 4);
		OK(vellum_mapping_set_size(f.mapping, PAGE_SIZE + tails[i]));
		map_private(w->mm, 0, 4, &f, 0);
		assert_int_equal(load(w->cpu[0], PAGE(0) + 4088), file_initial(0));
		if (tails[i]) {
			load(w->cpu[0], PAGE(1));
			assert_int_equal(vellum_peek(w->mm, PAGE(1), page), 1);
			for (unsigned b = 0; b < PAGE_SIZE; b++)
				assert_int_equal(page[b], b < tails[i] ? 2 : 0);
		} else {
			assert_int_equal(try_load(w->cpu[0], PAGE(1)), VELLUM_FAULT_SIGBUS);
		}
		assert_int_equal(try_load(w->cpu[0], PAGE(2)), VELLUM_FAULT_SIGBUS);
		unmap(w->mm, 0, 4);
		file_destroy(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(flags_need_their_hooks),
		WORLD_TEST(sizes_have_borders),
		WORLD_TEST(list_has_all_mappings),
		WORLD_TEST(steps_write_what_is_left),
		WORLD_TEST(last_page_ends_at_the_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
