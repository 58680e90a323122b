/* SPDX-License-Identifier: MIT */
/*
 * tests/diff/ops_scan.c - PAGEMAP_SCAN. op.val has the four masks, 12 bits each from the lowest: inverted, all of, any
 * of, returned. op.new_len: most regions. op.to: most pages. op.access: without a vector.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/diff/diff.h"

#define MAX_REGIONS 64u
#define MASK_BITS 12u		/* more than there are categories */
#define MASK(val, i) ((val) >> (i) * MASK_BITS & ((1ull << MASK_BITS) - 1))
/* Without soft-dirty, which not all kernels have. */
#define CATEGORIES (VELLUM_PAGE_IS_WPALLOWED | VELLUM_PAGE_IS_WRITTEN | VELLUM_PAGE_IS_FILE | VELLUM_PAGE_IS_PRESENT | \
		    VELLUM_PAGE_IS_SWAPPED | VELLUM_PAGE_IS_PFNZERO | VELLUM_PAGE_IS_HUGE | VELLUM_PAGE_IS_GUARD)

#define PAGEMAP_SCAN _IOC(_IOC_READ | _IOC_WRITE, 'f', 16u, sizeof(struct vellum_scan_args))

/* The categories that the host's kernel reports of a page that was only loaded. Some builds of 6.18 have fewer. */
static uint64_t reported_by_host(void)
{
	static uint64_t answer;
	struct vellum_page_region region = { .categories = 0 };
	struct vellum_scan_args args = { .size = sizeof(args), .vec_len = 1, .vec = &region,
					 .category_mask = VELLUM_PAGE_IS_PRESENT, .return_mask = 0x1ff };
	volatile char *page;
	int fd;

	if (answer)
		return answer;
	page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	if (page == MAP_FAILED || fd < 0)
		abort();
	(void)page[0];
	args.start = (uintptr_t)page;
	args.end = args.start + PAGE;
	if (ioctl(fd, PAGEMAP_SCAN, &args) != 1)
		abort();
	answer = region.categories;
	close(fd);
	munmap((void *)page, PAGE);
	return answer;
}

static uint64_t not_reported(void)
{
	return ~reported_by_host() & (VELLUM_PAGE_IS_PFNZERO | VELLUM_PAGE_IS_SOFT_DIRTY);
}

static uint64_t some_mask(struct generator *g, unsigned bits)
{
	uint64_t mask = 0;

	while (bits--)
		mask |= 1ull << below(g, 9);
	return mask & CATEGORIES;
}

static void gen_scan(struct generator *g, struct op *op)
{
	some_range(g, op);
	if (one_in(g, 2)) {
		op->addr = FIRST;
		op->len = SEEN * PAGE;
	}
	op->flags = below(g, 4) | some_bit(g, 64, 0, 32);
	if (one_in(g, 2))
		op->flags &= ~(uint32_t)VELLUM_SCAN_CHECK_WPASYNC;
	op->val = some_mask(g, one_in(g, 3)) | some_mask(g, below(g, 3)) << MASK_BITS |
		  some_mask(g, below(g, 3)) << 2 * MASK_BITS |
		  (one_in(g, 4) ? some_mask(g, 3) : CATEGORIES) << 3 * MASK_BITS;
	op->new_len = one_in(g, 2) ? MAX_REGIONS : below(g, 5);
	op->to = one_in(g, 2) ? 0 : 1 + below(g, 8);
	op->access = one_in(g, 8);
	if (op->access && !one_in(g, 16))
		op->new_len = 0;
	if (one_in(g, 64))
		op->val |= one_in(g, 2) ? SCAN_UNKNOWN : SCAN_BAD_SIZE;
}

static void fill_args(const struct op *op, struct vellum_scan_args *args, struct vellum_page_region *vec)
{
	*args = (struct vellum_scan_args){
		.size = op->val & SCAN_BAD_SIZE ? 80 : sizeof(*args), .flags = op->flags,
		.start = op->addr, .end = op->addr + op->len,
		.vec = op->access ? NULL : vec, .vec_len = op->new_len, .max_pages = op->to,
		.category_inverted = MASK(op->val, 0), .category_mask = MASK(op->val, 1),
		.category_anyof_mask = MASK(op->val, 2), .return_mask = MASK(op->val, 3),
	};
	if (op->val & SCAN_UNKNOWN)
		args->category_mask |= 1ull << 20;
	args->category_inverted &= ~not_reported();
	args->category_mask &= ~not_reported();
	args->category_anyof_mask &= ~not_reported();
	args->return_mask &= ~not_reported();
}

/* Note the regions, and, for the printed result, the lower categories of each page. */
static void tell(const struct vellum_scan_args *args, const struct vellum_page_region *vec, struct result *r)
{
	uint64_t nr = r->ret > 0 ? (uint64_t)r->ret : 0;

	r->addr = args->walk_end;
	r->val = hash_bytes(vec, nr * sizeof(vec[0]));
	for (uint64_t i = 0; i < nr; i++)
		for (uint64_t at = vec[i].start; at < vec[i].end; at += PAGE)
			if (at >= FIRST && at < FIRST + SEEN * PAGE)
				r->vec[(at - FIRST) / PAGE] = 0x80 | (uint8_t)(vec[i].categories & 0x7f);
}

/* Linux's struct pm_scan_arg has the layout of struct vellum_scan_args. */
static void host_scan(const struct op *op, struct result *r)
{
	struct vellum_page_region vec[MAX_REGIONS];
	struct vellum_scan_args args;

	fill_args(op, &args, vec);
	r->ret = host_error(ioctl(agent.pagemap, PAGEMAP_SCAN, &args));
	tell(&args, vec, r);
}

static void vellum_scan(struct world *w, const struct op *op, struct result *r)
{
	struct vellum_page_region vec[MAX_REGIONS];
	struct vellum_scan_args args;
	uint64_t nr = 0;

	fill_args(op, &args, vec);
	/* The ioctl has one size; the library accepts others (vellum/version.h). */
	r->ret = args.size == sizeof(args) ? vellum_pagemap_scan(w->mm[op->proc], &args, &nr) : -EINVAL;
	if (!r->ret)
		r->ret = (int64_t)nr;
	tell(&args, vec, r);
}

/* After an error, the address at which it stopped is undefined. */
static bool same_scan(const struct op *op, const struct result *host, const struct result *vellum)
{
	(void)op;
	return host->ret < 0 ? host->ret == vellum->ret : memcmp(host, vellum, sizeof(*host)) == 0;
}

const struct kind scan_kinds[] = {
	{ "scan", 12, false, gen_scan, host_scan, vellum_scan, same_scan },
};
const unsigned nr_scan_kinds = sizeof(scan_kinds) / sizeof(scan_kinds[0]);
