/* SPDX-License-Identifier: MIT */
/* tests/unit/core/oom_support.h - runs a scenario for each allocation that can fail, and for few free frames. */
#ifndef TESTS_UNIT_OOM_SUPPORT_H
#define TESTS_UNIT_OOM_SUPPORT_H

#include "device_support.h"

enum { MISSING_AT = 64, MOVE_AT = 72, HUGE_AT = 1024, RAW_AT = 2048, FAR_AT = 40960, GIANT_AT = 512 * 512 };

/* Pages 0 to 7: private, 100 + i in page i. Pages 16 to 19: a mapping, with the same. Device frames above RAM. */
struct stage {
	struct swap_world sw;
	struct world *w;
	struct gpu *gpu;
	struct vellum_mapping *obj, *raw;
	struct counting raw_counts;
	void *raw_bytes;
	struct vma_list before;
};

static inline void stage_create(struct stage *s, bool swap)
{
	memset(s, 0, sizeof(*s));
	swap_world_create(&s->sw, 8 << 20, 1024);
	s->w = &s->sw.w;
	if (!swap)
		OK(vellum_swap_remove(s->w->memory, s->sw.disk.area));
	s->gpu = gpu_create(s->w, GPU_PAGES);
	OK(vellum_mapping_create(s->w->memory, NULL, NULL, 512, 0, &s->obj));
	s->raw_bytes = malloc(2 << 20);
	s->raw_counts.first_pfn = 1 << 20;
	OK(vellum_memory_add_device(s->w->memory, s->raw_counts.first_pfn, 512, s->raw_bytes));
	OK(vellum_mapping_create(s->w->memory, &counting_pfn_ops, &s->raw_counts, 512, VELLUM_MAPPING_PFN,
				 &s->raw));
	map_at(s->w->mm, 0, 8, RW, ANON);
	map_object(s->w->mm, 16, 4, RW, VELLUM_MAP_SHARED, s->obj, 0, RW);
	for (unsigned i = 0; i < 20; i++)
		if (i < 8 || i >= 16)
			store(s->w->cpu[0], PAGE(i), 100 + i);
	list_vmas(s->w->mm, &s->before, true);
}

static inline void stage_destroy(struct stage *s)
{
	check_world(s->w);
	OK(vellum_munmap(s->w->mm, MMAP_MIN_ADDR, VELLUM_TASK_SIZE - MMAP_MIN_ADDR));
	vellum_mapping_put(s->obj);
	vellum_mapping_put(s->raw);
	gpu_destroy(s->gpu);
	swap_world_destroy(&s->sw);
	free(s->raw_bytes);
}

/* A load may fail for lack of memory. If it succeeds, the bytes must be right. */
static inline void check_bytes(struct stage *s)
{
	for (unsigned i = 0; i < 20; i++) {
		uint64_t val = 0;

		if (i >= 8 && i < 16)
			continue;
		if (vellum_soft_load64(s->w->cpu[0], PAGE(i), &val) == VELLUM_FAULT_OK)
			assert_int_equal(val, 100 + i);
	}
}

static unsigned nr_failed;	/* failed calls and accesses of this run of the scenario */

/* Did the call fail? The only errors allowed are those of missing memory. @again: memory is free, it must succeed. */
static inline bool failed(int err, bool again)
{
	nr_failed += err != 0;
	if (err)
		assert_true(err == -ENOMEM || err == -EAGAIN);
	assert_false(again && err);
	return err;
}

static inline bool oom(enum vellum_fault_result result, bool again)
{
	nr_failed += result != VELLUM_FAULT_OK;
	if (result != VELLUM_FAULT_OK)
		assert_int_equal(result, VELLUM_FAULT_OOM);
	assert_false(again && result);
	return result != VELLUM_FAULT_OK;
}

/* Run the validator in the middle of a scenario. Its own allocations are not counted and do not fail. */
static inline void check_now(struct stage *s)
{
	struct test_host saved = s->w->host;

	s->w->host.fail_at = 0;
	check_world(s->w);
	s->w->host.fail_at = saved.fail_at;
	s->w->host.nr_allocs = saved.nr_allocs;
}

typedef void (*scenario)(struct stage *s, bool again);

static inline void finish(struct stage *s, scenario run)
{
	struct vma_list now;

	check_world(s->w);
	check_bytes(s);
	run(s, true);
	check_world(s->w);
	for (unsigned i = 0; i < 20; i++)
		if (i < 8 || i >= 16)
			assert_int_equal(load(s->w->cpu[0], PAGE(i)), 100 + i);
	list_vmas(s->w->mm, &now, true);
	assert_true(same_list(&now, &s->before));
	stage_destroy(s);
}

/* Fail the first allocation, then the second, and so on, until the scenario makes fewer. */
static inline void fail_each_allocation(scenario run)
{
	static struct stage s;
	bool injected = true;

	for (unsigned k = 1; injected; k++) {
		uint64_t base;

		stage_create(&s, true);
		base = s.w->host.nr_allocs;
		s.w->host.fail_at = base + k;
		run(&s, false);
		injected = s.w->host.nr_allocs >= base + k;
		s.w->host.fail_at = 0;
		finish(&s, run);
		assert_true(k < 500);
	}
}

/* Run the scenario with 0 to 13 free frames. No page can be swapped out. */
static inline void fail_each_frame(scenario run)
{
	static uint64_t hoard[4096];
	static struct stage s;

	for (unsigned left = 0; left < 14; left++) {
		unsigned n = 0;

		stage_create(&s, false);
		while (vellum_memory_alloc_device(s.w->memory, 1, &hoard[n]) == 0)
			n++;
		for (unsigned i = 0; i < left; i++)
			vellum_memory_free_device(s.w->memory, hoard[--n], 1);
		run(&s, false);
		check_world(s.w);
		while (n)
			vellum_memory_free_device(s.w->memory, hoard[--n], 1);
		finish(&s, run);
	}
}

/* NULL: out of memory. */
static inline struct vellum_uffd *try_uffd(struct stage *s, uint64_t features, bool again)
{
	struct vellum_uffd *uffd;
	uint64_t supported, ioctls;

	if (failed(vellum_uffd_create(s->w->mm, VELLUM_UFFD_MAY_FORK, &uffd), again))
		return NULL;
	OK(vellum_uffd_api(uffd, VELLUM_UFFD_API, features, &supported, &ioctls));
	return uffd;
}

/* Map pages of @mapping from @pgoff on; NULL: anonymous memory, by @flags. */
static inline bool try_map_object(struct stage *s, unsigned at, unsigned pages, uint32_t flags,
				  struct vellum_mapping *mapping, uint64_t pgoff, bool again)
{
	struct vellum_map_args args = {.size = sizeof(args),
				       .addr = PAGE(at),
				       .len = BYTES(pages),
				       .prot = RW,
				       .flags = flags | VELLUM_MAP_FIXED,
				       .mapping = mapping,
				       .pgoff = pgoff,
				       .file_prot = RW};
	uint64_t addr;

	return !failed(vellum_mmap(s->w->mm, &args, &addr), again);
}

static inline bool try_map(struct stage *s, unsigned at, unsigned pages, bool again)
{
	return try_map_object(s, at, pages, ANON, NULL, 0, again);
}

#define OOM_TEST(name)                            \
	static void oom_##name(void **state)      \
	{                                         \
		(void)state;                      \
		nr_failed = 0;                    \
		fail_each_allocation(run_##name); \
		fail_each_frame(run_##name);      \
		assert_true(nr_failed > 0);       \
	}

#endif
