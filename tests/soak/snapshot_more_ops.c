/* SPDX-License-Identifier: MIT */
/* tests/soak/snapshot_more_ops.c - random operations of drivers, debuggers and administrators. */
#include "tests/soak/snapshot.h"

#include <string.h>

#include "vellum/access.h"
#include "vellum/device.h"
#include "vellum/gup.h"
#include "vellum/pagemap.h"
#include "vellum/swap.h"
#include "vellum/swap_backends.h"
#include "vellum/uffd.h"

/* --- a device with memory of its own --- */

#define DEVICE_PAGES 48u

static struct vellum_device *device;
static char device_bytes[DEVICE_PAGES][PAGE];

static int to_device(void *ctx, uint64_t index, const void *page)
{
	(void)ctx;
	memcpy(device_bytes[index], page, PAGE);
	return 0;
}

static int to_ram(void *ctx, uint64_t index, void *page)
{
	(void)ctx;
	memcpy(page, device_bytes[index], PAGE);
	return 0;
}

static const struct vellum_device_ops device_ops = { .size = sizeof(device_ops), .to_device = to_device, .to_ram = to_ram };

void device_begin(void)
{
	must(vellum_device_create(w.memory, &device_ops, NULL, DEVICE_PAGES, &device), "device");
}

void device_end(void)
{
	must(vellum_device_destroy(device), "destroying the device");
}

int peek_page(struct vellum_mm *mm, uint64_t addr, void *buf)
{
	int found = vellum_peek(mm, addr, buf);
	uint64_t pfn, nr;

	if (found != -VELLUM_EBUSY)
		return found;
	/* On the device: FORCE brings it back whatever the protection is. */
	if (!vellum_get_pages(mm, addr, 1, VELLUM_GUP_FORCE, &pfn, &nr) && nr)
		vellum_put_pages(w.memory, &pfn, 1);
	return vellum_peek(mm, addr, buf);
}

static void use_device(unsigned i)
{
	uint64_t pfn;

	if (one_in(2))
		vellum_device_migrate(device, w.mm[i], any_addr(), 1 + below(8), NULL);
	else if (!vellum_device_make_exclusive(device, w.mm[i], any_addr(), &pfn))
		*(uint64_t *)vellum_frame_host(w.memory, pfn) = any64();
}

static void migrate_some(unsigned i)
{
	uint64_t addr = any_addr();

	for (uint64_t nr = 1 + below(8); nr; nr--, addr += PAGE)
		vellum_migrate_page(w.mm[i], addr);
}

/* --- debuggers --- */

/* A reference for writing, dropped before the next restore; FORCE stores to pages that the program may not store to. */
static void refer_some(unsigned i)
{
	uint32_t flags = VELLUM_GUP_WRITE | (one_in(2) ? VELLUM_GUP_FORCE : 0);
	uint64_t pfns[4], nr = 0;

	if (vellum_get_pages(w.mm[i], any_addr(), 1 + below(4), flags, pfns, &nr))
		return;
	for (uint64_t n = 0; n < nr; n++)
		((uint64_t *)vellum_frame_host(w.memory, pfns[n]))[below(512)] = any64();
	vellum_put_pages(w.memory, pfns, nr);
}

static void exchange_some(unsigned i)
{
	uint32_t expected = 0;

	vellum_cmpxchg_user(w.mm[i], any_addr() + 4 * below(1024), &expected, (uint32_t)any64());
}

static void scan_some(unsigned i)
{
	struct vellum_page_region regions[8];
	struct vellum_scan_args args = { .size = sizeof(args), .flags = one_in(3) ? 0 : VELLUM_SCAN_WP_MATCHING,
					 .start = any_addr(), .vec = regions, .vec_len = one_in(4) ? 0 : 8,
					 .category_mask = one_in(2) ? VELLUM_PAGE_IS_WRITTEN : 0,
					 .return_mask = VELLUM_PAGE_IS_WRITTEN };
	uint64_t nr;

	args.end = args.start + any_len();
	vellum_pagemap_scan(w.mm[i], &args, &nr);
}

/* Calls that only look must not hide what a run did, nor change anything. */
static void look_some(unsigned i)
{
	uint64_t words[16], word = 0;
	uint8_t resident[16];
	char buf[PAGE];

	vellum_pagemap_read(w.mm[i], any_addr(), 16, 0, words);
	vellum_mincore(w.mm[i], any_addr(), 16 * PAGE, resident);
	vellum_copy_from_user(w.mm[i], buf, any_addr(), 64, NULL);
	vellum_peek(w.mm[i], any_addr(), buf);
	vellum_soft_load64(w.cpu[i], any_addr(), &word);
}

/* --- mappings and VMAs --- */

static void map_shadow_stack(unsigned i)
{
	uint64_t addr = any_addr();

	vellum_munmap(w.mm[i], addr, 4 * PAGE);
	vellum_map_shadow_stack(w.mm[i], &addr, 4 * PAGE);
}

static void update_some(unsigned i)
{
	struct vellum_mapping *mapping = w.shared[below(NR_SHARED)];
	uint64_t val = any64(), at = below(SHARED_PAGES) * PAGE + 8 * below(512);

	if (one_in(2))
		vellum_mapping_update(mapping, at, one_in(2) ? &val : NULL, sizeof(val));
	else if (one_in(2))
		vellum_unmap_mapping_range(one_in(2) ? mapping : w.file, below(SHARED_PAGES), 1 + below(16));
	else
		vellum_uffd_continue(w.missing[i], any_addr(), (1 + below(8)) * PAGE, 0, &(int64_t){ 0 });
}

void more_operation(unsigned i)
{
	static void (*const ops[])(unsigned) = {
		use_device, migrate_some, refer_some, exchange_some, scan_some, look_some, map_shadow_stack, update_some,
	};

	ops[below(sizeof(ops) / sizeof(*ops))](i);
}
