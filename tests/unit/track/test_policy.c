/* SPDX-License-Identifier: MIT */
/*
 * A driver that uses the two helpers and changes between dirty bits and write faults, as vmwgfx does: when it
 * changes, and that no page is lost by a change.
 */
#define _GNU_SOURCE
#include "more_support.h"

#include <sys/mman.h>

#define MAX_PAGES  1024
#define DEVICE_PFN (4ull << 18)

enum method { PAGETABLE, MKWRITE };

struct buffer {
	struct vellum_mapping *mapping;
	uint64_t size;
	uint64_t bitmap[MAX_PAGES / 64];
	uint64_t start, end;	/* the range of the set bits; start >= end: none */
	enum method method;
	unsigned change;	/* consecutive scans in favour of the other method */
	unsigned mkwrites;
	uint64_t lost;		/* pages whose D was dropped without being recorded */
};

static bool is_set(const struct buffer *b, uint64_t page)
{
	return b->bitmap[page / 64] >> page % 64 & 1;
}

static void set(struct buffer *b, uint64_t page)
{
	b->bitmap[page / 64] |= 1ull << page % 64;
	b->start = page < b->start ? page : b->start;
	b->end = page + 1 > b->end ? page + 1 : b->end;
}

static int buffer_fault(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	vmf->pfn = DEVICE_PFN + vmf->pgoff;
	return VELLUM_VMF_OK;
}

static int buffer_mkwrite(void *ctx, struct vellum_vmf *vmf)
{
	struct buffer *b = ctx;

	if (vmf->pgoff >= b->size)
		return VELLUM_VMF_SIGBUS;
	b->mkwrites++;
	if (b->method == MKWRITE)
		set(b, vmf->pgoff);
	return VELLUM_VMF_OK;
}

static void buffer_dirt(void *ctx, uint64_t pgoff)
{
	struct buffer *b = ctx;

	b->lost += !is_set(b, pgoff);
}

static const struct vellum_backing_ops buffer_ops = {
	.size = sizeof(buffer_ops),
	.fault = buffer_fault,
	.pfn_mkwrite = buffer_mkwrite,
	.dirt = buffer_dirt,
};

/* --- the policy --- */

static uint64_t protect_range(struct buffer *b, uint64_t start, uint64_t end)
{
	uint64_t count;

	OK(vellum_wp_shared_mapping_range(b->mapping, start, end - start, &count));
	return count;
}

static uint64_t clean_range(struct buffer *b, uint64_t start, uint64_t end, uint64_t *lo, uint64_t *hi)
{
	uint64_t count;

	OK(vellum_clean_record_shared_mapping_range(b->mapping, start, end - start, 0, b->bitmap, lo, hi, &count));
	return count;
}

static void start_mkwrite(struct buffer *b)
{
	b->change = 0;
	b->method = MKWRITE;
	protect_range(b, 0, b->size);
	clean_range(b, 0, b->size, &b->start, &b->end);
}

/* The bitmap has the pages for which mkwrite was called. Clean the entries, as the D that mkwrite left is not new. */
static void start_pagetable(struct buffer *b)
{
	uint64_t lo = 0, hi = b->size;

	b->change = 0;
	b->method = PAGETABLE;
	clean_range(b, 0, b->size, &lo, &hi);
	memset(b->bitmap, 0, sizeof(b->bitmap));
	for (uint64_t page = b->start; page < b->end; page++)
		b->bitmap[page / 64] |= 1ull << page % 64;
}

static void scan(struct buffer *b)
{
	uint64_t n;

	if (b->method == PAGETABLE) {
		n = clean_range(b, 0, b->size, &b->start, &b->end);
		b->change = n ? 0 : b->change + 1;
		if (b->change > 2)
			start_mkwrite(b);
		return;
	}
	if (b->end <= b->start)
		return;
	n = protect_range(b, b->start, b->end);
	b->change = 100 * n / b->size > 10 ? b->change + 1 : 0;
	if (b->change > 2)
		start_pagetable(b);
}

/* The consumer takes all recorded pages. Returns their number. */
static unsigned take(struct buffer *b)
{
	unsigned n = 0;

	for (uint64_t page = 0; page < b->size; page++)
		n += is_set(b, page);
	memset(b->bitmap, 0, sizeof(b->bitmap));
	b->start = b->size;
	b->end = 0;
	return n;
}

static void before_unmap(struct buffer *b, uint64_t start, uint64_t end)
{
	if (b->method == MKWRITE)
		return;
	protect_range(b, start, end);
	clean_range(b, start, end, &b->start, &b->end);
}

/* --- setup and teardown --- */

struct scene {
	struct world w;
	struct buffer b;
	void *host;
};

static void scene_start(struct scene *s, uint64_t size)
{
	memset(s, 0, sizeof(*s));
	world_create(&s->w, 16 << 20);
	s->host = mmap(NULL, BYTES(MAX_PAGES), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	OK(vellum_memory_add_device(s->w.memory, DEVICE_PFN, MAX_PAGES, s->host));
	OK(vellum_mapping_create(s->w.memory, &buffer_ops, &s->b, size, VELLUM_MAPPING_PFN, &s->b.mapping));
	s->b.size = size;
	s->b.start = size;
	map_object(s->w.mm, 0, size, RW, VELLUM_MAP_SHARED, s->b.mapping, 0, RW);
	if (size >= 512)
		start_mkwrite(&s->b);
}

static void scene_end(struct scene *s)
{
	check_world(&s->w);
	before_unmap(&s->b, 0, s->b.size);
	unmap(s->w.mm, 0, s->b.size);
	/* With MKWRITE, D in an entry comes from the store that mkwrite recorded. */
	assert_true(s->b.method == MKWRITE || !s->b.lost);
	vellum_mapping_put(s->b.mapping);
	world_destroy(&s->w);
	munmap(s->host, BYTES(MAX_PAGES));
}

static void touch(struct scene *s, unsigned first, unsigned nr)
{
	for (unsigned i = first; i < first + nr; i++)
		store(s->w.cpu[0], PAGE(i), i);
}

static void scan_and_check(struct scene *s, enum method method, unsigned taken)
{
	scan(&s->b);
	check_world(&s->w);
	assert_int_equal(s->b.method, method);
	assert_int_equal(take(&s->b), taken);
}

static void T_wpc_10_first_method(void **state)
{
	static struct scene s;

	(void)state;
	scene_start(&s, 511);
	assert_int_equal(s.b.method, PAGETABLE);
	touch(&s, 0, 511);
	scan_and_check(&s, PAGETABLE, 511);
	scene_end(&s);
	scene_start(&s, 512);
	assert_int_equal(s.b.method, MKWRITE);
	touch(&s, 100, 3);
	assert_int_equal(s.b.mkwrites, 3);
	assert_int_equal(s.b.start, 100);
	assert_int_equal(s.b.end, 103);
	scan_and_check(&s, MKWRITE, 3);
	touch(&s, 101, 1);		/* protected again, so mkwrite is called */
	assert_int_equal(s.b.mkwrites, 4);
	scan_and_check(&s, MKWRITE, 1);
	scene_end(&s);
}

/* start_mkwrite() records stores from before. */
static void T_wpc_10_dirt_from_before(void **state)
{
	static struct scene s;

	(void)state;
	scene_start(&s, 600);
	s.b.method = PAGETABLE;		/* mkwrite() records nothing */
	touch(&s, 7, 2);
	take(&s.b);
	touch(&s, 8, 2);		/* page 9 is new, page 8 has W */
	start_mkwrite(&s.b);
	assert_int_equal(take(&s.b), 3);
	for (unsigned i = 7; i < 10; i++)
		assert_true(!has_w(s.w.mm, PAGE(i)) && !has_d(s.w.mm, PAGE(i)));
	scene_end(&s);
}

static void T_wpc_10_three_empty_scans(void **state)
{
	static struct scene s;

	(void)state;
	scene_start(&s, 511);
	touch(&s, 5, 1);
	scan_and_check(&s, PAGETABLE, 1);
	scan_and_check(&s, PAGETABLE, 0);
	scan_and_check(&s, PAGETABLE, 0);
	touch(&s, 5, 1);
	scan_and_check(&s, PAGETABLE, 1);	/* the count starts again */
	scan_and_check(&s, PAGETABLE, 0);
	scan_and_check(&s, PAGETABLE, 0);
	touch(&s, 6, 1);
	assert_int_equal(s.b.method, PAGETABLE);
	scan_and_check(&s, PAGETABLE, 1);
	for (unsigned i = 0; i < 2; i++)
		scan_and_check(&s, PAGETABLE, 0);
	scan_and_check(&s, MKWRITE, 0);
	/* From now on, faults record pages, also those that had W. */
	s.b.mkwrites = 0;
	touch(&s, 5, 2);
	assert_int_equal(s.b.mkwrites, 2);
	scan_and_check(&s, MKWRITE, 2);
	scene_end(&s);
}

/* A store that comes with the third empty scan is not lost, as write-protection comes before cleaning. */
static void T_wpc_10_change_keeps_dirt(void **state)
{
	static struct scene s;

	(void)state;
	scene_start(&s, 100);
	touch(&s, 1, 1);
	scan_and_check(&s, PAGETABLE, 1);
	touch(&s, 1, 1);
	touch(&s, 2, 1);
	start_mkwrite(&s.b);
	assert_int_equal(take(&s.b), 2);
	touch(&s, 1, 1);
	assert_int_equal(take(&s.b), 1);
	scene_end(&s);
}

static void T_wpc_10_eleven_percent(void **state)
{
	static struct scene s;

	(void)state;
	scene_start(&s, 600);
	for (unsigned i = 0; i < 5; i++) {
		touch(&s, 0, 65);		/* a little above 10 % */
		scan_and_check(&s, MKWRITE, 65);
		assert_int_equal(s.b.change, 0);
	}
	for (unsigned i = 0; i < 2; i++) {
		touch(&s, 0, 66);
		scan_and_check(&s, MKWRITE, 66);
	}
	assert_int_equal(s.b.change, 2);
	touch(&s, 0, 10);			/* the count starts again */
	scan_and_check(&s, MKWRITE, 10);
	for (unsigned i = 0; i < 2; i++) {
		touch(&s, 0, 66);
		scan_and_check(&s, MKWRITE, 66);
	}
	scan_and_check(&s, MKWRITE, 0);		/* without a store, the scan does not count */
	assert_int_equal(s.b.change, 2);
	touch(&s, 0, 66);
	scan(&s.b);
	assert_int_equal(s.b.method, PAGETABLE);
	assert_int_equal(s.b.start, 0);
	assert_int_equal(s.b.end, 66);
	assert_int_equal(take(&s.b), 66);
	scan_and_check(&s, PAGETABLE, 0);	/* mkwrite recorded these pages, so the scan does not */
	touch(&s, 3, 1);
	scan_and_check(&s, PAGETABLE, 1);
	scene_end(&s);
}

/* The change sets all bits between the bounds, so more pages than were stored to. */
static void T_wpc_10_bounds_after_the_change(void **state)
{
	static struct scene s;

	(void)state;
	scene_start(&s, 600);
	for (unsigned i = 0; i < 3; i++) {
		take(&s.b);
		touch(&s, 10, 66);
		touch(&s, 200, 1);
		scan(&s.b);
	}
	assert_int_equal(s.b.method, PAGETABLE);
	assert_int_equal(s.b.start, 10);
	assert_int_equal(s.b.end, 201);
	for (unsigned i = 0; i < 600; i++)
		assert_int_equal(is_set(&s.b, i), i >= 10 && i <= 200);
	scene_end(&s);
}

static void T_wpc_10_before_unmap(void **state)
{
	static struct scene s;

	(void)state;
	scene_start(&s, 64);
	touch(&s, 3, 4);
	before_unmap(&s.b, 4, 6);
	unmap(s.w.mm, 4, 2);
	check_world(&s.w);
	assert_int_equal(s.b.lost, 0);
	assert_true(is_set(&s.b, 4) && is_set(&s.b, 5) && !is_set(&s.b, 3));
	scan_and_check(&s, PAGETABLE, 4);
	/* Without before_unmap(), only dirt() reports the page. */
	touch(&s, 3, 1);
	unmap(s.w.mm, 3, 1);
	assert_int_equal(s.b.lost, 1);
	s.b.lost = 0;
	scene_end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(T_wpc_10_first_method),
		cmocka_unit_test(T_wpc_10_dirt_from_before),
		cmocka_unit_test(T_wpc_10_three_empty_scans),
		cmocka_unit_test(T_wpc_10_change_keeps_dirt),
		cmocka_unit_test(T_wpc_10_eleven_percent),
		cmocka_unit_test(T_wpc_10_bounds_after_the_change),
		cmocka_unit_test(T_wpc_10_before_unmap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
