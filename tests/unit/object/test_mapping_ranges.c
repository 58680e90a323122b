/* SPDX-License-Identifier: MIT */
/*
 * Operations on each range of a mapping that two address spaces map: what is in the range changes, and no page outside
 * of it. The VMAs begin and end inside of the mapping, and one lies across the border of a page table.
 */
#include "file_support.h"
#include "vellum/dirty.h"

#define PAGES 14

/* One VMA: pages [pgoff, pgoff + nr) of the mapping at PAGE(at). */
struct part {
	unsigned at, pgoff, nr, of;	/* @of: the number of its address space */
	bool private;
};

static const struct part parts[] = {
	{ .at = 505, .pgoff = 0, .nr = PAGES, .of = 0 },
	{ .at = 2048, .pgoff = 4, .nr = 5, .of = 0 },
	{ .at = 0, .pgoff = 2, .nr = 9, .of = 1, .private = true },
	{ .at = 100, .pgoff = 10, .nr = 4, .of = 1 },
};

struct stage {
	struct world *w;
	struct vellum_mm *mms[2];
	struct vellum_mapping *mapping;
};

static void stage_create(struct stage *s, struct world *w)
{
	*s = (struct stage){ .w = w, .mms = { w->mm } };
	OK(vellum_mm_create(w->memory, &s->mms[1]));
	vellum_soft_load_mm(w->cpu[1], s->mms[1]);
}

static void stage_destroy(struct stage *s)
{
	end_child(s->mms[1], s->w->cpu[1]);
	unmap(s->w->mm, 0, 4096);
}

/* Odd pages of the private VMA get copies. */
static bool is_copy(const struct part *p, unsigned page)
{
	return p->private && page % 2;
}

static uint64_t value(const struct part *p, unsigned page)
{
	return is_copy(p, page) ? 900 + page : 100 + page;
}

static void map_parts(struct stage *s)
{
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
		map_object(s->mms[parts[i].of], parts[i].at, parts[i].nr, RW,
			   parts[i].private ? VELLUM_MAP_PRIVATE : VELLUM_MAP_SHARED, s->mapping, parts[i].pgoff, RW);
}

/* Each page is stored to through the first VMA, and mapped by all. */
static void fill_parts(struct stage *s)
{
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
		for (unsigned page = parts[i].pgoff; page < parts[i].pgoff + parts[i].nr; page++) {
			struct vellum_soft_cpu *cpu = s->w->cpu[parts[i].of];
			uint64_t addr = PAGE(parts[i].at + page - parts[i].pgoff);

			if (i == 0 || is_copy(&parts[i], page))
				store(cpu, addr, value(&parts[i], page));
			assert_int_equal(load(cpu, addr), value(&parts[i], page));
		}
}

/* Exactly the entries of [first, last] are gone; private copies stay unless @copies. */
static void check_entries(struct stage *s, unsigned first, unsigned last, bool copies)
{
	uint64_t rss[2] = { 0, 0 };

	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
		for (unsigned page = parts[i].pgoff; page < parts[i].pgoff + parts[i].nr; page++) {
			uint64_t addr = PAGE(parts[i].at + page - parts[i].pgoff);
			bool gone = page >= first && page <= last && (copies || !is_copy(&parts[i], page));

			if (is_there(s->mms[parts[i].of], addr) == gone)
				fail_msg("[%u, %u]: page %u of VMA %u", first, last, page, i);
			rss[parts[i].of] += !gone;
		}
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(vellum_mm_rss(s->mms[i]), rss[i]);
	check_world(s->w);
}

/* Pages of [first, last] read as zeros where they have no private copy, all others as before. */
static void check_bytes(struct stage *s, unsigned first, unsigned last, bool copies)
{
	for (unsigned i = 0; i < ARRAY_SIZE(parts); i++)
		for (unsigned page = parts[i].pgoff; page < parts[i].pgoff + parts[i].nr; page++) {
			bool gone = page >= first && page <= last && (copies || !is_copy(&parts[i], page));
			uint64_t addr = PAGE(parts[i].at + page - parts[i].pgoff);

			assert_int_equal(load(s->w->cpu[parts[i].of], addr), gone ? 0 : value(&parts[i], page));
		}
}

static uint64_t range_mask(unsigned first, unsigned last)
{
	return (2ull << last) - (1ull << first);
}

/* --- each operation, on each range --- */

static void each_range(struct world *w, void (*fn)(struct stage *s, unsigned first, unsigned last))
{
	struct stage s;

	stage_create(&s, w);
	for (unsigned first = 0; first < PAGES; first++)
		for (unsigned last = first; last < PAGES; last++)
			fn(&s, first, last);
	stage_destroy(&s);
}

static void unmap_one(struct stage *s, unsigned first, unsigned last)
{
	struct file f;

	file_create_with(&f, s->w, PAGES, &file_ops, VELLUM_MAPPING_WRITEBACK);
	s->mapping = f.mapping;
	map_parts(s);
	fill_parts(s);
	vellum_unmap_mapping_range(s->mapping, first, 0);
	vellum_unmap_mapping_range(s->mapping, ~0ull, 2);	/* the end wraps: nothing */
	check_entries(s, PAGES, PAGES, false);
	vellum_unmap_mapping_range(s->mapping, first, last - first + 1);
	check_entries(s, first, last, false);
	assert_int_equal(nr_cached(&f), PAGES);
	assert_int_equal(nr_dirty(&f), PAGES);	/* the dirt of removed entries is kept */
	fill_parts(s);
	unmap(s->mms[0], 0, 4096);
	unmap(s->mms[1], 0, 4096);
	file_destroy(&f);
}

static void unmap_removes_entries_of_the_range_only(void **state)
{
	each_range(*state, unmap_one);
}

/* Shared memory with a tracker, of which all that was stored before has been collected. */
static struct vellum_tracker *shared_memory(struct stage *s)
{
	struct vellum_tracker *t;

	OK(vellum_mapping_create(s->w->memory, NULL, NULL, PAGES, 0, &s->mapping));
	map_parts(s);
	OK(vellum_track_mapping(s->mapping, 0, PAGES, VELLUM_TRACK_WP, &t));
	fill_parts(s);
	assert_int_equal(collect(t, 0), range_mask(0, PAGES - 1));
	return t;
}

static void drop_shared_memory(struct stage *s, struct vellum_tracker *t)
{
	vellum_tracker_destroy(t);
	unmap(s->mms[0], 0, 4096);
	unmap(s->mms[1], 0, 4096);
	vellum_mapping_put(s->mapping);
}

static void punch_one(struct stage *s, unsigned first, unsigned last)
{
	struct vellum_tracker *t = shared_memory(s);

	OK(vellum_mapping_punch_hole(s->mapping, BYTES(first), BYTES(last - first + 1)));
	check_entries(s, first, last, false);
	assert_int_equal(info_of(s->mapping).nr_cached, PAGES - (last - first + 1));
	assert_int_equal(collect(t, 0), range_mask(first, last));
	check_bytes(s, first, last, false);
	drop_shared_memory(s, t);
}

static void punch_removes_pages_of_the_range_only(void **state)
{
	each_range(*state, punch_one);
}

/* The size becomes @first pages, and then at least @last + 1 pages again. */
static void cut_one(struct stage *s, unsigned first, unsigned last)
{
	struct vellum_tracker *t = shared_memory(s);

	OK(vellum_mapping_set_size(s->mapping, BYTES(first)));
	check_entries(s, first, PAGES, true);
	assert_int_equal(info_of(s->mapping).nr_cached, first);
	assert_int_equal(collect(t, 0), range_mask(first, PAGES - 1));
	OK(vellum_mapping_set_size(s->mapping, BYTES(last + 1)));
	if (last < PAGES - 1)
		assert_int_equal(try_load(s->w->cpu[0], PAGE(parts[0].at + last + 1)), VELLUM_FAULT_SIGBUS);
	OK(vellum_mapping_set_size(s->mapping, BYTES(PAGES)));
	check_bytes(s, first, PAGES, true);
	drop_shared_memory(s, t);
}

static void truncation_removes_pages_behind_the_size_only(void **state)
{
	each_range(*state, cut_one);
}

/* --- bytes --- */

static void fill_bytes(struct vellum_mapping *mapping, uint8_t *model, uint64_t len)
{
	for (uint64_t i = 0; i < len; i++)
		model[i] = (uint8_t)(i % 251 + 1);
	OK(vellum_mapping_write(mapping, 0, model, len));
}

static void check_model(struct vellum_mapping *mapping, const uint8_t *model, uint64_t len)
{
	static uint8_t now[BYTES(4)];

	OK(vellum_mapping_read(mapping, 0, now, len));
	assert_memory_equal(now, model, len);
}

/* Ranges in bytes: within a page, up to a border, across one, from border to border. */
static void holes_and_sizes_in_bytes(void **state)
{
	static const uint64_t at[] = { 0, 1, 100, 4095, 4096, 4097, 8191, 8192, 8193, 12000, 16383, 16384 };
	static uint8_t model[BYTES(4)];
	struct world *w = *state;
	struct vellum_mapping *mapping;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 4, 0, &mapping));
	for (unsigned i = 0; i < ARRAY_SIZE(at); i++)
		for (unsigned j = i + 1; j < ARRAY_SIZE(at); j++) {
			fill_bytes(mapping, model, BYTES(4));
			OK(vellum_mapping_punch_hole(mapping, at[i], at[j] - at[i]));
			memset(model + at[i], 0, at[j] - at[i]);
			check_model(mapping, model, BYTES(4));
			fill_bytes(mapping, model, BYTES(4));
			OK(vellum_mapping_set_size(mapping, at[i]));
			OK(vellum_mapping_set_size(mapping, at[j]));
			assert_int_equal(vellum_mapping_size(mapping), at[j]);
			OK(vellum_mapping_set_size(mapping, BYTES(4)));
			memset(model + at[i], 0, BYTES(4) - at[i]);
			check_model(mapping, model, BYTES(4));
			check_world(w);
		}
	vellum_mapping_put(mapping);
}

/* --- writeback --- */

/* All pages but page 3 are dirty. */
static void make_dirty(struct world *w, struct file *f)
{
	for (unsigned i = 0; i < PAGES; i++)
		if (i != 3)
			store(w->cpu[0], PAGE(i), 10 + i);
	f->write_mask = 0;
}

static void writeback_writes_dirty_pages_of_the_range_only(void **state)
{
	struct world *w = *state;
	uint64_t written;
	struct file f;

	file_create(&f, w, PAGES);
	map_shared(w->mm, 0, PAGES, &f, 0);
	for (unsigned first = 0; first < PAGES; first++)
		for (unsigned last = first; last < PAGES; last++) {
			uint64_t want = range_mask(first, last) & ~8ull;

			make_dirty(w, &f);
			OK(vellum_mapping_writeback(f.mapping, first, last - first + 1, &written));
			assert_int_equal(f.write_mask, want);
			assert_int_equal(written, __builtin_popcountll(want));
			assert_int_equal(nr_dirty(&f), PAGES - 1 - written);
			for (unsigned i = 0; i < PAGES; i++)
				if (i != 3)
					assert_int_equal(has_w(w->mm, PAGE(i)), !(want >> i & 1));
			check_world(w);
		}
	make_dirty(w, &f);
	OK(vellum_mapping_writeback(f.mapping, 5, 0, &written));
	assert_int_equal(written, 0);
	OK(vellum_mapping_writeback(f.mapping, ~0ull, 5, &written));
	assert_int_equal(written, 0);
	OK(vellum_mapping_writeback(f.mapping, PAGES - 1, ~0ull, &written));
	assert_int_equal(written, 1);
	OK(vellum_mapping_writeback(f.mapping, 0, ~0ull, NULL));
	assert_int_equal(nr_dirty(&f), 0);
	unmap(w->mm, 0, PAGES);
	file_destroy(&f);
}

/* A range over two VMAs of a file, with private memory and a hole between them, in each length. */
static void msync_writes_the_range_of_each_vma(void **state)
{
	struct world *w = *state;
	struct file f;

	file_create(&f, w, PAGES);
	map_shared(w->mm, 0, 4, &f, 0);
	map_at(w->mm, 4, 2, RW, ANON);
	map_shared(w->mm, 8, 4, &f, 6);
	for (unsigned first = 0; first < 12; first++)
		for (unsigned last = first; last < 12; last++) {
			uint64_t want = range_mask(first, last) & 0xf;
			bool hole = first <= 7 && last >= 6;

			want |= (range_mask(first, last) >> 8 & 0xf) << 6;
			for (unsigned i = 0; i < 4; i++) {
				store(w->cpu[0], PAGE(i), first);
				store(w->cpu[0], PAGE(8 + i), last);
			}
			f.write_mask = f.syncs = 0;
			assert_int_equal(vellum_msync(w->mm, PAGE(first), BYTES(last - first) + 1, VELLUM_MS_SYNC),
					 hole ? -ENOMEM : 0);
			assert_int_equal(f.write_mask, want);
			assert_int_equal(f.syncs, (first < 4) + (last >= 8));
			check_world(w);
		}
	assert_int_equal(vellum_msync(w->mm, ~0ull << PAGE_SHIFT, BYTES(1), VELLUM_MS_SYNC), -ENOMEM);
	unmap(w->mm, 0, 12);
	file_destroy(&f);
}

/* --- errors of writepage() --- */

static int two_errors(void *ctx, uint64_t pgoff, const void *page, uint32_t len)
{
	(void)ctx;
	(void)page;
	(void)len;
	return pgoff == 3 ? -VELLUM_EIO : pgoff == 5 ? -VELLUM_ENOSPC : 0;
}

static void first_error_of_writeback_is_returned(void **state)
{
	struct world *w = *state;
	struct vellum_backing_ops ops = file_ops;
	uint64_t written;
	struct file f;

	ops.writepage = two_errors;
	file_create_with(&f, w, PAGES, &ops, VELLUM_MAPPING_WRITEBACK);
	map_shared(w->mm, 0, PAGES, &f, 0);
	for (unsigned i = 0; i < PAGES; i++)
		store(w->cpu[0], PAGE(i), i);
	assert_int_equal(vellum_mapping_writeback(f.mapping, 0, PAGES, &written), -VELLUM_EIO);
	assert_int_equal(written, PAGES - 2);
	assert_int_equal(nr_dirty(&f), 2);
	assert_int_equal(vellum_mapping_writeback(f.mapping, 4, PAGES, &written), -VELLUM_ENOSPC);
	unmap(w->mm, 0, PAGES);
	file_destroy(&f);
}

/* The error is kept for the next sync, and the hint that pages are dirty is set until they are written. */
static void writeback_of_unmapped_files_keeps_errors(void **state)
{
	struct world *w = *state;
	struct file f;

	file_create(&f, w, PAGES);
	map_shared(w->mm, 0, PAGES, &f, 0);
	store(w->cpu[0], PAGE(1), 1);
	unmap(w->mm, 0, PAGES);
	assert_true(f.mapping->maybe_dirty);
	f.write_err = -VELLUM_EIO;
	assert_int_equal(vellum_mapping_writeback_unmapped(f.mapping), -VELLUM_EIO);
	assert_true(f.mapping->maybe_dirty);
	f.write_err = 0;
	OK(vellum_mapping_writeback_unmapped(f.mapping));
	assert_false(f.mapping->maybe_dirty);
	assert_int_equal(f.writes, 1);
	assert_int_equal(vellum_mapping_sync(f.mapping, 0, PAGES), -VELLUM_EIO);	/* once */
	OK(vellum_mapping_sync(f.mapping, 0, PAGES));
	/* Without the hint it does not look at pages. */
	map_shared(w->mm, 0, PAGES, &f, 0);
	store(w->cpu[0], PAGE(1), 2);
	unmap(w->mm, 0, PAGES);
	f.mapping->maybe_dirty = 0;
	OK(vellum_mapping_writeback_unmapped(f.mapping));
	assert_int_equal(f.writes, 1);
	f.mapping->maybe_dirty = 1;
	OK(vellum_mapping_writeback_unmapped(f.mapping));
	assert_int_equal(f.writes, 2);
	OK(vellum_mapping_sync(f.mapping, 0, PAGES));
	file_destroy(&f);
}

/* A backing that keeps bytes must be able to punch holes, whichever hook it has. */
static void hole_needs_the_hook(void **state)
{
	static const struct vellum_backing_ops none = { .size = sizeof(none), .release = file_release };
	struct world *w = *state;
	struct vellum_backing_ops ops = none;
	struct file f;

	for (unsigned i = 0; i < 3; i++) {
		ops.fault = i == 1 ? file_fault : NULL;
		ops.writepage = i == 2 ? file_writepage : NULL;
		file_create_with(&f, w, PAGES, &ops, 0);
		assert_int_equal(vellum_mapping_punch_hole(f.mapping, 0, BYTES(1)), i ? -EOPNOTSUPP : 0);
		file_destroy(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(unmap_removes_entries_of_the_range_only),
		WORLD_TEST(punch_removes_pages_of_the_range_only),
		WORLD_TEST(truncation_removes_pages_behind_the_size_only),
		WORLD_TEST(holes_and_sizes_in_bytes),
		WORLD_TEST(writeback_writes_dirty_pages_of_the_range_only),
		WORLD_TEST(msync_writes_the_range_of_each_vma),
		WORLD_TEST(first_error_of_writeback_is_returned),
		WORLD_TEST(writeback_of_unmapped_files_keeps_errors),
		WORLD_TEST(hole_needs_the_hook),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
