/* SPDX-License-Identifier: MIT */
/* tests/fuzz/library_page.c - calls on pages: pins, devices, migration, swap areas, pagemap, smaps. */
#include "tests/fuzz/library.h"

typedef unsigned long long ull;

/* --- pins --- */

static void give_back_pin(struct pin *p)
{
	if (p->is_get)
		vellum_put_pages(f.memory, p->pfn, p->nr);
	else if (one_in(2))
		vellum_unpin_pages(f.memory, p->pfn, p->nr);
	else
		vellum_unpin_pages_dirty(f.memory, p->pfn, p->nr);
	p->nr = 0;
}

static void op_pin(void)
{
	struct pin *p = &f.pin[below(NR_PINS)];
	struct vellum_mm *mm = any_mm();
	uint64_t addr = any_addr(mm), nr = one_in(20) ? below(3) : 1 + below(PIN_MAX);
	uint32_t flags = any_flags(0x103ed);
	int err;

	calling("pin or unpin %#llx+%llu flags %#x", (ull)addr, (ull)nr, flags);
	if (p->nr) {
		give_back_pin(p);
		return;
	}
	p->is_get = one_in(3);
	err = p->is_get ? vellum_get_pages(mm, addr, nr, flags, p->pfn, &p->nr) :
			  vellum_pin_pages(mm, addr, nr, flags, p->pfn, &p->nr);
	if (result(err))
		p->nr = 0;
	if (p->nr > nr)
		wrong("%llu of %llu pages are pinned", (ull)p->nr, (ull)nr);
	for (uint64_t i = 0; i < p->nr; i++)
		if (!vellum_frame_host(f.memory, p->pfn[i]))
			wrong("a pinned frame has no bytes");
}

static void op_follow(void)
{
	struct vellum_follow_pfnmap look = { .size = sizeof(look) };
	struct vellum_mm *mm = any_mm();
	uint64_t addr = any_addr(mm);

	calling("follow_pfnmap, page_maybe_pinned, frame_host %#llx", (ull)addr);
	if (!result(vellum_follow_pfnmap_start(mm, addr, &look)))
		vellum_follow_pfnmap_end(&look);
	vellum_page_maybe_pinned(f.memory, one_in(4) ? any64() : below(RAM / PAGE));
	vellum_frame_host(f.memory, any64() >> below(64));
}

static void op_block(void)
{
	unsigned i = (unsigned)below(NR_BLOCKS);
	uint64_t nr = one_in(10) ? any64() >> below(64) : 1 + below(512);

	calling("frames of a device's own: %llu", (ull)nr);
	if (f.block_nr[i]) {
		vellum_memory_free_device(f.memory, f.block[i], f.block_nr[i]);
		f.block_nr[i] = 0;
	} else if (!result(vellum_memory_alloc_device(f.memory, nr, &f.block[i]))) {
		f.block_nr[i] = nr;
	}
	if (one_in(10) && !vellum_memory_add_device(f.memory, below(RAW_PFN + RAW_PAGES), RAW_PFN + RAW_PAGES, f.raw))
		wrong("device memory was added over RAM or other device memory");
}

/* --- devices --- */

static int to_device(void *ctx, uint64_t index, const void *page)
{
	struct device *d = ctx;

	if (one_in(10))
		return -VELLUM_EIO;
	memcpy(d->bytes + index * PAGE, page, PAGE);
	return 0;
}

static int to_ram(void *ctx, uint64_t index, void *page)
{
	const struct device *d = ctx;

	if (one_in(10))
		return -VELLUM_EIO;
	memcpy(page, d->bytes + index * PAGE, PAGE);
	return 0;
}

static void exclusive_ends(void *ctx, uint64_t pfn)
{
	(void)ctx, (void)pfn;
}

static const struct vellum_device_ops device_ops = {
	.size = sizeof(device_ops), .to_device = to_device, .to_ram = to_ram, .exclusive = exclusive_ends };

static void device_goes(struct device *d)
{
	if (result(vellum_device_destroy(d->device)))
		return;
	free(d->bytes);
	*d = (struct device){ NULL, NULL };
}

static void device_comes(struct device *d)
{
	uint64_t pages = one_in(4) ? below(2) * any64() : 1 + below(64);

	if (pages && pages <= 64)
		d->bytes = calloc(pages, PAGE);
	if (result(vellum_device_create(f.memory, &device_ops, d, pages, &d->device))) {
		free(d->bytes);
		*d = (struct device){ NULL, NULL };
	} else if (!d->bytes && pages > 64) {
		d->bytes = calloc(pages, PAGE);
	}
}

static void op_device(void)
{
	struct device *d = &f.device[below(NR_DEVICES)];
	struct vellum_mm *mm = any_mm();
	uint64_t addr = any_addr(mm), nr = one_in(30) ? any64() : few_pages(), moved = 0, pfn;

	calling("a call on a device %#llx+%llu", (ull)addr, (ull)nr);
	if (!d->device) {
		device_comes(d);
		return;
	}
	switch (below(6)) {
	case 0:
		device_goes(d);
		return;
	case 1:
	case 2:
		result(vellum_device_migrate(d->device, mm, addr, nr, &moved));
		return;
	case 3:
		vellum_device_used(d->device);
		result(vellum_device_make_exclusive(d->device, mm, addr, &pfn));
		return;
	default:
		result(vellum_migrate_page(mm, addr));
	}
}

/* --- swap areas --- */

static int slot_write(void *ctx, uint64_t slot, const void *page)
{
	struct area *a = ctx;

	if (slot >= SLOTS)
		wrong("slot %llu of %d is written", (ull)slot, SLOTS);
	if (one_in(20))
		return -VELLUM_EIO;
	memcpy(a->bytes + slot * PAGE, page, PAGE);
	return 0;
}

static int slot_read(void *ctx, uint64_t slot, void *page)
{
	const struct area *a = ctx;

	if (one_in(50))
		return -VELLUM_EIO;
	memcpy(page, a->bytes + slot * PAGE, PAGE);
	return 0;
}

static const struct vellum_swap_ops slot_ops = { .size = sizeof(slot_ops), .write = slot_write, .read = slot_read };

static int add_area(struct area *a)
{
	if (one_in(6) && !vellum_swap_file_create("/dev/shm", SLOTS, &a->file))
		return vellum_swap_add(f.memory, vellum_swap_file_ops(), a->file, SLOTS, &a->number);
	if (one_in(3) && !vellum_swap_zstd_create(SLOTS, one_in(2) ? 0 : below(SLOTS * PAGE), &a->zstd))
		return vellum_swap_add(f.memory, vellum_swap_zstd_ops(), a->zstd, SLOTS, &a->number);
	a->bytes = calloc(SLOTS, PAGE);
	return vellum_swap_add(f.memory, &slot_ops, a, SLOTS, &a->number);
}

static void free_area(struct area *a)
{
	free(a->bytes);
	if (a->file)
		vellum_swap_file_destroy(a->file);
	if (a->zstd)
		vellum_swap_zstd_destroy(a->zstd);
	memset(a, 0, sizeof(*a));
}

int remove_area(unsigned i)
{
	int err = vellum_swap_remove(f.memory, f.area[i].number);

	if (!err)
		free_area(&f.area[i]);
	return err;
}

static void op_swap(void)
{
	unsigned i = (unsigned)below(NR_AREAS);

	calling("the swap area %u comes or goes", i);
	if (f.area[i].in_use) {
		if (one_in(3))
			result(remove_area(i));
		return;
	}
	if (one_in(10))
		result(vellum_swap_add(f.memory, &slot_ops, NULL, one_in(2) ? 0 : (1ull << 32) + 1 + below(1ull << 40),
				       NULL));
	f.area[i].in_use = true;
	if (result(add_area(&f.area[i])))
		free_area(&f.area[i]);
	if (one_in(10) && !vellum_swap_remove(f.memory, NR_AREAS + (unsigned)below(1u << 31)))
		wrong("an area that is not there was removed");
}

/* --- pagemap --- */

static void op_pagemap(void)
{
	struct vellum_mm *mm = any_mm();
	uint64_t addr = any_addr(mm), nr = few_pages();

	calling("pagemap, clear_refs %#llx+%llu", (ull)addr, (ull)nr);
	if (one_in(4))
		result(vellum_clear_refs(mm, (int)below(6)));
	else
		result(vellum_pagemap_read(mm, addr, nr, any_flags(1), f.words));
}

static void op_scan(void)
{
	struct vellum_mm *mm = any_mm();
	struct vellum_page_region regions[8];
	struct vellum_scan_args args = { .size = sizeof(args), .flags = any_flags(3), .start = any_addr(mm),
					 .vec = one_in(8) ? NULL : regions, .max_pages = one_in(2) ? 0 : below(100),
					 .category_inverted = any_flags(0xff), .category_mask = any_flags(0xff),
					 .category_anyof_mask = any_flags(0xff), .return_mask = any_flags(0xff) };
	union {		/* as a caller with another version of the structure has it */
		struct vellum_scan_args args;
		char bytes[200];
	} call;
	uint64_t nr = 0;

	if (one_in(2))
		args.category_mask = args.category_inverted = 0;
	args.end = one_in(8) ? any_addr(mm) : args.start + few_pages() * PAGE;
	args.vec_len = args.vec ? below(9) : one_in(20);
	if (one_in(50))
		args.size = below(200);
	calling("pagemap_scan %#llx to %#llx flags %#llx", (ull)args.start, (ull)args.end, (ull)args.flags);
	memset(&call, 0, sizeof(call));
	call.args = args;
	if (one_in(100))
		call.bytes[sizeof(args) + below(sizeof(call) - sizeof(args))] = 1;
	if (!result(vellum_pagemap_scan(mm, &call.args, &nr)) && nr > args.vec_len)
		wrong("a scan filled %llu of %llu regions", (ull)nr, (ull)args.vec_len);
}

static void op_usage(void)
{
	struct vellum_vma_info info = { .size = sizeof(info) };
	struct vellum_vma_usage usage = { .size = sizeof(usage) };
	struct vellum_vma_name name = { .size = sizeof(name), .name = one_in(2) ? "" : "/a/file", .dev_major = 1, .inode = any64() };
	struct vellum_mm *mm = any_mm();
	uint64_t addr = any_addr(mm), size = below(one_in(2) ? 100 : 4096);
	char *text;

	calling("vma_usage %#llx", (ull)addr);
	if (result(vellum_vma_usage(mm, addr, &info, &usage)))
		return;
	if (usage.rss > usage.len || usage.pss > usage.rss || usage.locked > usage.len)
		wrong("a mapping of %llu bytes has %llu of them in memory", (ull)usage.len, (ull)usage.rss);
	text = malloc(size + 1);	/* the exact size, so that a sanitizer finds a store beyond it */
	if (vellum_maps_line(&info, &name, text, size) <= 0 || vellum_smaps_text(&info, &usage, &name, text, size) <= 0)
		wrong("no text");
	free(text);
}

void give_back_pages(void)
{
	for (unsigned i = 0; i < NR_PINS; i++)
		if (f.pin[i].nr)
			give_back_pin(&f.pin[i]);
	for (unsigned i = 0; i < NR_DEVICES; i++)
		if (f.device[i].device) {
			device_goes(&f.device[i]);
			if (f.device[i].device)
				wrong("a device is in use though nothing is mapped");
		}
	for (unsigned i = 0; i < NR_AREAS; i++)
		if (f.area[i].in_use && remove_area(i))
			wrong("a swap area is in use though nothing is mapped");
	for (unsigned i = 0; i < NR_BLOCKS; i++)
		if (f.block_nr[i])
			vellum_memory_free_device(f.memory, f.block[i], f.block_nr[i]);
}

const struct op page_ops[] = {
	{ 15, op_pin },
	{ 3, op_follow },
	{ 2, op_block },
	{ 12, op_device },
	{ 2, op_swap },
	{ 10, op_pagemap },
	{ 20, op_scan },
	{ 4, op_usage },
	{ 0, NULL },
};
