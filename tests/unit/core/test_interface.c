/* SPDX-License-Identifier: MIT */
/* Structures of callers that were compiled with an earlier or a later version (vellum/version.h). */
#include "more_support.h"

#include "vellum/device.h"
#include "vellum/dirty.h"
#include "vellum/gup.h"
#include "vellum/host.h"
#include "vellum/pagemap.h"
#include "vellum/swap.h"
#include "vellum/version.h"

#define LATER 24	/* bytes that a later version has added */

/* A structure as a later version has it: @bytes beyond what this version knows. */
#define LATER_THAN(type) union { char bytes[sizeof(type) + LATER]; type now; }

static int no_page(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx, (void)vmf;
	return VELLUM_VMF_SIGBUS;
}

static void map_arguments(void **state)
{
	struct world *w = *state;
	LATER_THAN(struct vellum_map_args) a = { .bytes = { 0 } };
	uint64_t addr;

	a.now.len = PAGE_SIZE;
	a.now.prot = RW;
	a.now.flags = ANON;
	a.now.size = sizeof(a);
	OK(vellum_mmap(w->mm, &a.now, &addr));
	a.bytes[sizeof(a) - 1] = 1;
	assert_int_equal(vellum_mmap(w->mm, &a.now, &addr), -VELLUM_E2BIG);
	a.now.size = 4097;
	assert_int_equal(vellum_mmap(w->mm, &a.now, &addr), -VELLUM_E2BIG);
	a.now.size = offsetof(struct vellum_map_args, mapping);
	OK(vellum_mmap(w->mm, &a.now, &addr));
	a.now.size = offsetof(struct vellum_map_args, len);
	assert_int_equal(vellum_mmap(w->mm, &a.now, &addr), -VELLUM_EBADF);	/* without flags, so no mapping */
	a.now.mapping = (struct vellum_mapping *)&a;		/* half of a pointer would be kept */
	for (unsigned size = 0; size < offsetof(struct vellum_map_args, mapping) + 8; size++) {
		a.now.size = size;
		if (size % 8 || !size)
			assert_int_equal(vellum_mmap(w->mm, &a.now, &addr), -VELLUM_EINVAL);
	}
}

static void tables_of_hooks(void **state)
{
	struct world *w = *state;
	LATER_THAN(struct vellum_backing_ops) ops = { .bytes = { 0 } };
	struct vellum_mapping *mapping;

	ops.now.size = sizeof(ops);
	ops.now.fault = no_page;
	OK(vellum_mapping_create(w->memory, &ops.now, NULL, 1, 0, &mapping));
	ops.now.fault = NULL;		/* the core has copied the table */
	map_object(w->mm, 0, 1, RW, VELLUM_MAP_SHARED, mapping, 0, RW);
	assert_int_equal(try_store(w->cpu[0], PAGE(0), 1), VELLUM_FAULT_SIGBUS);
	vellum_mapping_put(mapping);
	ops.bytes[sizeof(ops.now)] = 1;
	assert_int_equal(vellum_mapping_create(w->memory, &ops.now, NULL, 1, 0, &mapping), -VELLUM_E2BIG);
	ops.now.fault = no_page;
	ops.now.size = offsetof(struct vellum_backing_ops, page_mkwrite);
	OK(vellum_mapping_create(w->memory, &ops.now, NULL, 1, 0, &mapping));
	vellum_mapping_put(mapping);
	ops.now.size = 0;
	assert_int_equal(vellum_mapping_create(w->memory, &ops.now, NULL, 1, 0, &mapping), -VELLUM_EINVAL);
}

static unsigned starts;

static void count_start(void *ctx, enum vellum_notifier_event event, uint64_t start, uint64_t end)
{
	(void)ctx, (void)event, (void)start, (void)end;
	starts++;
}

static void ignore_finish(void *ctx, enum vellum_notifier_event event, uint64_t start, uint64_t end)
{
	(void)ctx, (void)event, (void)start, (void)end;
}

static void notifiers(void **state)
{
	struct world *w = *state;
	struct vellum_notifier n = { .size = offsetof(struct vellum_notifier, release), .start = count_start,
				     .finish = ignore_finish, .release = (void (*)(void *))(uintptr_t)1 };

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	starts = 0;
	OK(vellum_notifier_register(w->mm, &n));
	OK(vellum_madvise(w->mm, PAGE(0), PAGE_SIZE, VELLUM_MADV_DONTNEED));
	assert_int_equal(starts, 1);
	vellum_notifier_unregister(w->mm, &n);
	vellum_notifier_unregister(w->mm, &n);		/* no longer registered: nothing to do */
	n.size = offsetof(struct vellum_notifier, finish);
	assert_int_equal(vellum_notifier_register(w->mm, &n), -VELLUM_EINVAL);
	n.size = 0;
	assert_int_equal(vellum_notifier_register(w->mm, &n), -VELLUM_EINVAL);
	n.size = offsetof(struct vellum_notifier, release);	/* no such hook is called at the end */
	OK(vellum_notifier_register(w->mm, &n));
}

/* An information call fills no more than the caller's size, and zeroes what a later version has added. */
#define CHECK_OUT(type, call)                                                                   \
	do {                                                                                    \
		LATER_THAN(type) out, first;                                                    \
		type *info = &out.now;                                                          \
                                                                                                \
		memset(&out, 0x77, sizeof(out));                                                \
		out.now.size = sizeof(out);                                                     \
		OK(call);                                                                       \
		assert_int_equal(out.now.size, sizeof(out));                                    \
		for (unsigned i = 0; i < LATER; i++)                                            \
			assert_int_equal(out.bytes[sizeof(type) + i], 0);                       \
		first = out;                                                                    \
		memset(&out, 0x77, sizeof(out));                                                \
		out.now.size = 16;                                                              \
		OK(call);                                                                       \
		assert_memory_equal(out.bytes + 4, first.bytes + 4, 12);                        \
		for (unsigned i = 16; i < sizeof(out); i++)                                     \
			assert_int_equal(out.bytes[i], 0x77);                                   \
		out.now.size = ~0u;                                                             \
		assert_int_equal(call, -VELLUM_E2BIG);                                          \
		out.now.size = 3;                                                               \
		assert_int_equal(call, -VELLUM_EINVAL);                                         \
		out.now.size = sizeof(type) - 4;                                                \
		assert_int_equal(call, -VELLUM_EINVAL);                                         \
	} while (0)

static void information(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *mapping;
	struct vellum_vma_usage usage = { .size = sizeof(usage) };
	struct vellum_vma_info vma = { .size = sizeof(vma) };

	OK(vellum_mapping_create(w->memory, NULL, NULL, 3, 0, &mapping));
	map_object(w->mm, 0, 3, RW, VELLUM_MAP_SHARED, mapping, 0, RW);
	store(w->cpu[0], PAGE(1), 1);
	CHECK_OUT(struct vellum_memory_info, vellum_memory_info(w->memory, info));
	CHECK_OUT(struct vellum_mapping_info, vellum_mapping_info(mapping, info));
	CHECK_OUT(struct vellum_swap_info, vellum_swap_info(w->memory, info));
	CHECK_OUT(struct vellum_vma_info, vellum_vma_next(w->mm, 0, info));
	CHECK_OUT(struct vellum_vma_info, vellum_vma_usage(w->mm, PAGE(0), info, &usage));
	CHECK_OUT(struct vellum_vma_usage, vellum_vma_usage(w->mm, PAGE(0), &vma, info));
	assert_int_equal(vma.end - vma.start, 3 * PAGE_SIZE);
	vellum_mapping_put(mapping);
}

static void scan_arguments(void **state)
{
	struct world *w = *state;
	struct vellum_page_region region;
	LATER_THAN(struct vellum_scan_args) a = { .bytes = { 0 } };
	uint64_t nr;

	a.now.start = PAGE(0);
	a.now.end = PAGE(2);
	a.now.vec = &region;
	a.now.vec_len = 1;
	a.now.return_mask = VELLUM_PAGE_IS_PRESENT;
	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(1), 1);
	a.now.category_mask = VELLUM_PAGE_IS_PRESENT;
	a.now.size = sizeof(a);
	OK(vellum_pagemap_scan(w->mm, &a.now, &nr));
	assert_int_equal(nr, 1);
	assert_int_equal(a.now.walk_end, PAGE(2));
	a.bytes[sizeof(a) - 1] = 1;
	assert_int_equal(vellum_pagemap_scan(w->mm, &a.now, &nr), -VELLUM_E2BIG);
	a.now.size = offsetof(struct vellum_scan_args, walk_end);
	assert_int_equal(vellum_pagemap_scan(w->mm, &a.now, &nr), -VELLUM_EINVAL);	/* no room for the result */
	a.now.size = offsetof(struct vellum_scan_args, return_mask);
	OK(vellum_pagemap_scan(w->mm, &a.now, &nr));
}

static void ram_without_a_size(void **state)
{
	struct vellum_host_ram ram = { .size = sizeof(ram) - 1 };

	(void)state;
	assert_int_equal(vellum_host_ram_create(2 << 20, &ram), -VELLUM_EINVAL);
}

static void versions_and_names(void **state)
{
	(void)state;
	assert_int_equal(vellum_version(), VELLUM_VERSION);
	for (int i = VELLUM_FAULT_OK; i <= VELLUM_FAULT_INTERRUPTED; i++)
		assert_non_null(vellum_fault_result_name((enum vellum_fault_result)i));
	assert_null(vellum_fault_result_name((enum vellum_fault_result)(VELLUM_FAULT_INTERRUPTED + 1)));
	assert_null(vellum_fault_result_name((enum vellum_fault_result)-1));
	assert_string_equal(vellum_fault_result_name(VELLUM_FAULT_SIGBUS), "SIGBUS");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(map_arguments),	WORLD_TEST(tables_of_hooks),	WORLD_TEST(notifiers),
		WORLD_TEST(information),	WORLD_TEST(scan_arguments),	WORLD_TEST(ram_without_a_size),
		WORLD_TEST(versions_and_names),
	};

	return cmocka_run_group_tests_name("interface", tests, NULL, NULL);
}
