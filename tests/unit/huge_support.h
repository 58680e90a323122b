/* SPDX-License-Identifier: MIT */
/* tests/unit/huge_support.h - huge leaves as they are in the tables, and a device with contiguous frames. */
#ifndef TESTS_UNIT_HUGE_SUPPORT_H
#define TESTS_UNIT_HUGE_SUPPORT_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "fail_sweep.h"
#include "gup_support.h"
#include "mm/table/huge.h"

#include <sys/mman.h>

#define HUGE	   512			/* pages in a PMD leaf */
#define GIANT	   (512 * HUGE)		/* pages in a PUD leaf */
#define DEVICE_PFN (4ull << 18)		/* above RAM, aligned for PUD leaves */

/* The huge leaf for an address, or 0. */
static inline uint64_t leaf_at(struct vellum_mm *mm, uint64_t addr, unsigned shift)
{
	struct leaf leaf;

	return huge_lookup(mm, addr, &leaf) && leaf.shift == shift ? entry_load(leaf.entry) : 0;
}

static inline void set_leaf_at(struct vellum_mm *mm, uint64_t addr, uint64_t val)
{
	struct leaf leaf;

	fail_sweep_by_hand();
	assert_true(huge_lookup(mm, addr, &leaf));
	entry_store(leaf.entry, val);
}

/* The page's own entry, or its part of a huge leaf; 0: none. */
static inline pte_t page_entry(struct vellum_mm *mm, uint64_t addr)
{
	struct leaf leaf;

	if (huge_lookup(mm, addr, &leaf))
		return leaf_pte(mm->memory, entry_load(leaf.entry), leaf.shift, addr);
	return entry_at(mm, addr);
}

static inline uint64_t nr_faults(struct vellum_mm *mm)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < VELLUM_COUNT_TLB_FLUSHES; i++)
		sum += vellum_mm_counter(mm, i);
	return sum;
}

/* --- the device: page i of the mapping is frame DEVICE_PFN + i --- */

struct device {
	struct vellum_mapping *mapping;
	void *host;
	uint64_t pages;
	uint32_t max_order;	/* largest leaf that huge_fault() installs; 0: none */
	uint32_t write_order;	/* largest leaf that its mkwrite hook makes writable */
	unsigned huge_faults, faults, mkwrites;
	uint64_t nr_dirt;	/* number of pages that dirt() reported */
	uint64_t dirt[GIANT / 64 * 2];
};

static inline int device_fault(void *ctx, struct vellum_vmf *vmf)
{
	struct device *d = ctx;

	d->faults++;
	vmf->pfn = DEVICE_PFN + vmf->pgoff;
	return VELLUM_VMF_OK;
}

static inline int device_huge_fault(void *ctx, struct vellum_vmf *vmf)
{
	struct device *d = ctx;

	d->huge_faults++;
	if (vmf->order > d->max_order || (vmf->write && vmf->order > d->write_order))
		return VELLUM_VMF_FALLBACK;
	vmf->pfn = DEVICE_PFN + vmf->pgoff;
	return VELLUM_VMF_OK;
}

static inline int device_mkwrite(void *ctx, struct vellum_vmf *vmf)
{
	(void)vmf;
	((struct device *)ctx)->mkwrites++;
	return VELLUM_VMF_OK;
}

static inline void device_dirt(void *ctx, uint64_t pgoff)
{
	struct device *d = ctx;

	d->nr_dirt++;
	__atomic_fetch_or(&d->dirt[pgoff / 64], 1ull << pgoff % 64, __ATOMIC_RELAXED);
}

static const struct vellum_backing_ops device_ops = {
	.size = sizeof(device_ops),
	.fault = device_fault,
	.huge_fault = device_huge_fault,
	.dirt = device_dirt,
};

static const struct vellum_backing_ops notified_device_ops = {
	.size = sizeof(device_ops),
	.fault = device_fault,
	.huge_fault = device_huge_fault,
	.pfn_mkwrite = device_mkwrite,
	.dirt = device_dirt,
};

static inline struct device *device_create(struct world *w, uint64_t pages, const struct vellum_backing_ops *ops,
					   uint32_t flags)
{
	struct device *d = calloc(1, sizeof(*d));

	d->pages = pages;
	d->max_order = d->write_order = 18;
	d->host = mmap(NULL, BYTES(pages), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_ptr_not_equal(d->host, MAP_FAILED);
	OK(vellum_memory_add_device(w->memory, DEVICE_PFN, pages, d->host));
	OK(vellum_mapping_create(w->memory, ops, d, pages, flags, &d->mapping));
	return d;
}

/* No VMA may map the device any more. Call this after the memory is destroyed, which has the frames until then. */
static inline void device_free(struct device *d)
{
	munmap(d->host, BYTES(d->pages));
	free(d);
}

static inline bool dirt_of(const struct device *d, uint64_t page)
{
	return d->dirt[page / 64] >> page % 64 & 1;
}

static inline void map_device(struct vellum_mm *mm, unsigned at, unsigned pages, struct device *d, uint64_t pgoff)
{
	map_object(mm, at, pages, RW, VELLUM_MAP_SHARED, d->mapping, pgoff, RW);
}

/* A memory, and a device that is a little larger than one PUD leaf. */
struct scene {
	struct world w;
	struct device *d;
};

static inline struct scene *scene_with(const struct vellum_backing_ops *ops, uint32_t flags)
{
	struct scene *s = calloc(1, sizeof(*s));

	world_create(&s->w, 32 << 20);
	s->d = device_create(&s->w, GIANT + HUGE, ops, flags);
	return s;
}

static inline void end_scene(struct scene *s)
{
	check_world(&s->w);
	unmap(s->w.mm, 0, 4 * GIANT);
	vellum_mapping_put(s->d->mapping);
	world_destroy(&s->w);
	device_free(s->d);
	free(s);
}

#endif
