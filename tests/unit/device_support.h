/* SPDX-License-Identifier: MIT */
/* tests/unit/device_support.h - a device with its own memory. Its hooks count calls and can fail. */
#ifndef TESTS_UNIT_DEVICE_SUPPORT_H
#define TESTS_UNIT_DEVICE_SUPPORT_H

#include "swap_support.h"
#include "vellum/device.h"

#define GPU_PAGES 64

struct gpu {
	struct vellum_device *dev;
	uint8_t bytes[GPU_PAGES][4096];
	unsigned in, out, told;		/* pages moved to the device and to RAM; calls of exclusive() */
	uint64_t told_pfn;
	int in_err, out_err;
};

static inline int gpu_in(void *ctx, uint64_t index, const void *page)
{
	struct gpu *gpu = ctx;

	disk_count(&gpu->in);
	if (gpu->in_err)
		return gpu->in_err;
	memcpy(gpu->bytes[index], page, PAGE_SIZE);
	return 0;
}

static inline int gpu_out(void *ctx, uint64_t index, void *page)
{
	struct gpu *gpu = ctx;

	disk_count(&gpu->out);
	if (gpu->out_err)
		return gpu->out_err;
	memcpy(page, gpu->bytes[index], PAGE_SIZE);
	return 0;
}

static inline void gpu_told(void *ctx, uint64_t pfn)
{
	struct gpu *gpu = ctx;

	disk_count(&gpu->told);
	__atomic_store_n(&gpu->told_pfn, pfn, __ATOMIC_RELAXED);
}

static const struct vellum_device_ops gpu_ops = {
	.size = sizeof(gpu_ops), .to_device = gpu_in, .to_ram = gpu_out, .exclusive = gpu_told };

static inline struct gpu *gpu_create(struct world *w, uint64_t pages)
{
	struct gpu *gpu = calloc(1, sizeof(*gpu));

	OK(vellum_device_create(w->memory, &gpu_ops, gpu, pages, &gpu->dev));
	return gpu;
}

/* No address space may have pages on the device any more. */
static inline void gpu_destroy(struct gpu *gpu)
{
	assert_int_equal(vellum_device_used(gpu->dev), 0);
	OK(vellum_device_destroy(gpu->dev));
	free(gpu);
}

static inline uint64_t to_gpu(struct gpu *gpu, struct vellum_mm *mm, unsigned at, unsigned pages)
{
	uint64_t moved = ~0ull;

	OK(vellum_device_migrate(gpu->dev, mm, PAGE(at), pages, &moved));
	return moved;
}

static inline uint64_t make_exclusive(struct gpu *gpu, struct vellum_mm *mm, unsigned at)
{
	uint64_t pfn = 0;

	OK(vellum_device_make_exclusive(gpu->dev, mm, PAGE(at), &pfn));
	assert_true(pte_is_device_exclusive(entry_at(mm, PAGE(at))));
	assert_int_equal(pte_swp_pfn(entry_at(mm, PAGE(at))), pfn);
	return pfn;
}

static inline unsigned type_at(struct vellum_mm *mm, unsigned at)
{
	pte_t pte = entry_at(mm, PAGE(at));

	assert_true(pte_is_swp(pte));
	return pte_swp_type(pte);
}

#endif
