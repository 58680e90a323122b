/* SPDX-License-Identifier: MIT */
/* Reclaim of cached pages; random operations on a file, compared with a model of its bytes. */
#include "file_support.h"
#include "vellum/dirty.h"
#include "vellum/snapshot.h"

/* --- the order --- */

static uint64_t reclaim(struct world *w, uint64_t nr)
{
	uint64_t before = free_frames(w), freed = vellum_reclaim(w->memory, nr);

	check_world(w);
	assert_int_equal(free_frames(w), before + freed);
	return freed;
}

/* Pages 0, 1: cached only. 2, 3: mapped and loaded from. 4, 5: stored to. */
static void order_of_reclaim(void **state)
{
	struct world *w = *state;
	struct file f;
	uint64_t val;

	file_create(&f, w, 8);
	map_shared(w->mm, 0, 8, &f, 0);
	store(w->cpu[0], PAGE(4), 44);
	store(w->cpu[0], PAGE(5), 55);
	OK(vellum_madvise(w->mm, BASE, BYTES(8), VELLUM_MADV_RANDOM));
	load(w->cpu[0], PAGE(2));
	load(w->cpu[0], PAGE(3));
	OK(vellum_mapping_read(f.mapping, 0, &val, 8));
	OK(vellum_mapping_read(f.mapping, BYTES(1), &val, 8));
	assert_int_equal(nr_cached(&f), 6);
	assert_int_equal(reclaim(w, 1), 1);
	assert_int_equal(reclaim(w, 1), 1);
	for (unsigned i = 2; i < 6; i++)
		assert_true(is_there(w->mm, PAGE(i)));
	assert_int_equal(nr_dirty(&f), 2);
	assert_int_equal(reclaim(w, 1), 1);
	assert_int_equal(reclaim(w, 1), 1);
	assert_false(is_there(w->mm, PAGE(2)) || is_there(w->mm, PAGE(3)));
	assert_int_equal(nr_dirty(&f), 2);
	assert_int_equal(f.writes, 0);
	assert_int_equal(reclaim(w, 100), 2); /* no other page can be reclaimed */
	assert_int_equal(f.write_mask, 0x30);
	assert_int_equal(nr_cached(&f), 0);
	assert_int_equal(reclaim(w, 100), 0);
	f.faults = 0;
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)),
				 i == 4 || i == 5 ? i * 11 : file_initial(i));
	assert_int_equal(f.faults, 8);
	unmap(w->mm, 0, 8);
	file_destroy(&f);
}

static void mlocked_pages_stay(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	struct file f;

	file_create(&f, w, 8);
	map_shared(w->mm, 0, 8, &f, 0);
	map_private(w->mm, 16, 8, &f, 0);
	OK(vellum_mlock(w->mm, PAGE(2), BYTES(2), 0));
	OK(vellum_mlock(w->mm, PAGE(21), BYTES(1), VELLUM_MLOCK_ONFAULT));
	store(w->cpu[0], PAGE(3), 33);
	load(w->cpu[0], PAGE(21));
	load(w->cpu[0], PAGE(6));
	store(w->cpu[0], PAGE(7), 77);
	child = fork_on(w->mm, w->cpu[1]); /* the page is mlocked in the parent only */
	load(w->cpu[1], PAGE(2));
	assert_true(reclaim(w, 100) >= 2);
	assert_int_equal(nr_cached(&f), 3);
	assert_true(is_there(w->mm, PAGE(2)) && is_there(w->mm, PAGE(3)));
	assert_true(is_there(w->mm, PAGE(21)));
	assert_int_equal(load(w->cpu[0], PAGE(3)), 33);
	OK(vellum_munlock(w->mm, PAGE(3), 1));
	assert_int_equal(reclaim(w, 100), 1);
	OK(vellum_munlockall(w->mm));
	assert_int_equal(reclaim(w, 100), 2);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 33);
	assert_int_equal(load(w->cpu[1], PAGE(7)), 77);
	end_child(child, w->cpu[1]);
	unmap(w->mm, 0, 32);
	file_destroy(&f);
}

/* Pages that could not be read again are not reclaimed. */
static void pages_without_a_backing_are_not_reclaimed(void **state)
{
	struct vellum_backing_ops no_fault = file_ops, no_write = file_ops;
	struct world *w = *state;
	struct file f, g, h, i;

	no_fault.fault = NULL;
	no_write.writepage = NULL;
	file_create_with(&f, w, 4, &no_fault, VELLUM_MAPPING_WRITEBACK);
	file_create_with(&g, w, 4, &no_write, VELLUM_MAPPING_WRITEBACK);
	file_create_with(&h, w, 4, &file_ops, 0); /* no page cache */
	file_create(&i, w, 4);
	map_shared(w->mm, 0, 4, &f, 0);
	map_shared(w->mm, 4, 4, &g, 0);
	map_shared(w->mm, 8, 4, &h, 0);
	map_shared(w->mm, 12, 4, &i, 0);
	for (unsigned at = 0; at < 16; at += 4) {
		store(w->cpu[0], PAGE(at), at + 1);
		load(w->cpu[0], PAGE(at + 1));
	}
	i.write_err = -VELLUM_EIO;
	assert_int_equal(reclaim(w, 100), 2); /* the clean pages of g and i */
	for (unsigned at = 0; at < 16; at += 4)
		assert_int_equal(load(w->cpu[0], PAGE(at)), at + 1);
	assert_int_equal(nr_dirty(&i), 1);
	i.write_err = 0;
	assert_int_equal(vellum_mapping_sync(i.mapping, 0, 4), -VELLUM_EIO); /* the earlier error */
	OK(vellum_mapping_sync(i.mapping, 0, 4));
	assert_int_equal(file_word(&i, 0), 13);
	unmap(w->mm, 0, 16);
	file_destroy(&f);
	file_destroy(&g);
	file_destroy(&h);
	file_destroy(&i);
}

/* --- memory pressure: a file larger than RAM --- */

#define BIG 3000 /* pages; RAM has 1024 */

static void small_world(struct world *w)
{
	world_create(w, 4 << 20);
}

static void faults_reclaim_cached_pages(void **state)
{
	static struct world w;
	struct vellum_mm *child;
	struct file f;

	(void)state;
	small_world(&w);
	file_create(&f, &w, BIG);
	map_shared(w.mm, 0, BIG, &f, 0);
	for (unsigned i = 0; i < BIG; i++) {
		if (i % 3)
			store(w.cpu[0], PAGE(i), i);
		else
			assert_int_equal(load(w.cpu[0], PAGE(i)), file_initial(i));
		if (i % 256 == 0)
			check_world(&w);
	}
	check_world(&w);
	for (unsigned i = 0; i < BIG; i++)
		assert_int_equal(load(w.cpu[0], PAGE(i)), i % 3 ? i : file_initial(i));
	/* Anonymous memory, page tables, copies and forks reclaim cached pages, too. */
	map_at(w.mm, 4096, 600, RW, ANON);
	map_private(w.mm, 8192, 100, &f, 0);
	for (unsigned i = 0; i < 600; i++)
		store(w.cpu[0], PAGE(4096 + i), i);
	for (unsigned i = 0; i < 100; i++)
		store(w.cpu[0], PAGE(8192 + i), i);
	for (unsigned i = 0; i < BIG; i++)
		load(w.cpu[0], PAGE(i));
	child = fork_on(w.mm, w.cpu[1]);
	for (unsigned i = 0; i < 100; i++)
		store(w.cpu[1], PAGE(4096 + i), i + 1);
	check_world(&w);
	for (unsigned i = 0; i < 600; i++)
		assert_int_equal(load(w.cpu[0], PAGE(4096 + i)), i);
	end_child(child, w.cpu[1]);
	unmap(w.mm, 0, 16384);
	OK(vellum_mapping_sync(f.mapping, 0, BIG));
	for (unsigned i = 0; i < BIG; i++)
		assert_int_equal(file_word(&f, BYTES(i)), i % 3 ? i : file_initial(i));
	file_destroy(&f);
	world_destroy(&w);
}

static void populate_and_copies_reclaim_cached_pages(void **state)
{
	static uint64_t page[512];
	static struct world w;
	struct file f;

	(void)state;
	small_world(&w);
	file_create(&f, &w, BIG);
	map_shared(w.mm, 0, BIG, &f, 0);
	OK(vellum_madvise(w.mm, PAGE(0), BYTES(2000), VELLUM_MADV_POPULATE_READ));
	OK(vellum_madvise(w.mm, PAGE(0), BYTES(2000), VELLUM_MADV_POPULATE_WRITE));
	check_world(&w);
	for (unsigned i = 0; i < BIG; i++) {
		page[0] = i + 7;
		OK(vellum_copy_to_user(w.mm, PAGE(i), page, sizeof(page), NULL));
	}
	check_world(&w);
	for (unsigned i = 0; i < BIG; i++) {
		OK(vellum_copy_from_user(w.mm, page, PAGE(i), 4096, NULL));
		assert_int_equal(page[0], i + 7);
	}
	unmap(w.mm, 0, BIG);
	OK(vellum_mapping_sync(f.mapping, 0, BIG));
	for (unsigned i = 0; i < BIG; i++)
		assert_int_equal(file_word(&f, BYTES(i)), i + 7);
	file_destroy(&f);
	world_destroy(&w);
}

/* If the last frames are pinned or anonymous, an access fails. It does not retry forever. */
static void without_reclaimable_pages_faults_fail(void **state)
{
	static uint64_t hoard[1024];
	static struct world w;
	unsigned n = 0, oom = 0;
	uint64_t val = 1;
	struct file f;

	(void)state;
	small_world(&w);
	file_create(&f, &w, 8);
	map_private(w.mm, 0, 8, &f, 0);
	map_shared(w.mm, 8, 8, &f, 0);
	map_at(w.mm, 16, 1, RW, ANON);
	store(w.cpu[0], PAGE(16), 1); /* allocates the tables */
	while (vellum_memory_alloc_device(w.memory, 1, &hoard[n]) == 0)
		n++;
	for (unsigned left = 0; left < 4; left++) {
		enum vellum_fault_result r = try_store(w.cpu[0], PAGE(1), 5); /* needs two frames */

		assert_true(r == VELLUM_FAULT_OK || r == VELLUM_FAULT_OOM);
		oom += r == VELLUM_FAULT_OOM;
		assert_int_equal(r, left < 2 ? VELLUM_FAULT_OOM : VELLUM_FAULT_OK);
		check_world(&w);
		assert_int_equal(vellum_copy_to_user(w.mm, PAGE(1), &val, 8, NULL),
				 left < 2 ? -ENOMEM : 0);
		assert_int_equal(vellum_madvise(w.mm, PAGE(1), 4096, VELLUM_MADV_POPULATE_WRITE),
				 left < 2 ? -EAGAIN : 0);
		if (left)
			assert_int_equal(load(w.cpu[0], PAGE(8 + left)), file_initial(left));
		check_world(&w);
		dontneed(w.mm, 0, 8);
		vellum_memory_free_device(w.memory, hoard[--n], 1);
	}
	assert_int_equal(oom, 2);
	while (n)
		vellum_memory_free_device(w.memory, hoard[--n], 1);
	unmap(w.mm, 0, 32);
	file_destroy(&f);
	world_destroy(&w);
}

/* --- random operations against a model --- */

#define SPAN 24 /* largest size of the file, in pages */

/* VMAs that map the file from page 0. */
enum { SHARED_AT = 0, SECOND_AT = 64, NR_WINDOWS = 2 };

struct model {
	struct world *w;
	struct file f;
	uint64_t seed, size;
	uint8_t bytes[SPAN * 4096]; /* the expected bytes; zero beyond @size */
	struct vellum_mm *child;
	struct vellum_tracker *t[3];
	uint64_t not_reported[3]; /* pages that changed since the collection of tracker i */
	unsigned run, step;
};

static void model_changed(struct model *m, uint64_t offset, uint64_t len)
{
	for (uint64_t i = offset >> 12; len && i <= (offset + len - 1) >> 12; i++)
		for (unsigned t = 0; t < 3; t++)
			m->not_reported[t] |= 1ull << i;
}

static struct vellum_soft_cpu *some_cpu(struct model *m)
{
	return m->w->cpu[m->child && random_below(&m->seed, 2)];
}

static uint64_t some_place(struct model *m)
{
	return (random_below(&m->seed, 2) ? PAGE(SHARED_AT) : PAGE(SECOND_AT)) +
	       8ull * random_below(&m->seed, SPAN * 512);
}

/* An 8-byte store beyond the size, in the last page, does not change the file. */
static void model_store(struct model *m, bool by_system)
{
	uint64_t val = random_u64(&m->seed), at = some_place(m), offset = (at - BASE) & 0x3ffff;
	struct vellum_soft_cpu *cpu = some_cpu(m);
	enum vellum_fault_result r;

	if (by_system)
		r = vellum_copy_to_user(cpu->mm, at, &val, 8, NULL) ? VELLUM_FAULT_SIGBUS : 0;
	else
		r = try_store(cpu, at, val);
	assert_int_equal(r, offset >= ((m->size + 4095) & ~4095ull) ? VELLUM_FAULT_SIGBUS : 0);
	if (r)
		return;
	for (unsigned i = 0; i < 8; i++)
		if (offset + i < m->size)
			m->bytes[offset + i] = (uint8_t)(val >> 8 * i);
	model_changed(m, offset, 8);
}

static void model_load(struct model *m)
{
	uint64_t at = some_place(m), offset = (at - BASE) & 0x3ffff, val = 0, want;
	enum vellum_fault_result r = vellum_soft_load64(some_cpu(m), at, &val);

	assert_int_equal(r, offset >= ((m->size + 4095) & ~4095ull) ? VELLUM_FAULT_SIGBUS : 0);
	memcpy(&want, m->bytes + offset, 8);
	/* Bytes beyond the size, in the last page, may have been stored to. */
	if (offset + 8 <= m->size && val != want)
		fail_msg("seed %u, step %u: loaded %lx, not %lx, at %lx", m->run, m->step,
			 (unsigned long)val, (unsigned long)want, (unsigned long)offset);
}

static void model_write(struct model *m)
{
	uint64_t offset, len;
	uint8_t buf[6000];

	if (!m->size)
		return;
	offset = random_below(&m->seed, (unsigned)m->size);
	len = 1 + random_below(&m->seed, sizeof(buf));
	if (len > m->size - offset)
		len = m->size - offset;
	memset(buf, (int)random_u64(&m->seed), len);
	OK(vellum_mapping_write(m->f.mapping, offset, buf, len));
	memcpy(m->bytes + offset, buf, len);
	model_changed(m, offset, len);
}

static void model_read(struct model *m)
{
	static uint8_t buf[SPAN * 4096];

	OK(vellum_mapping_read(m->f.mapping, 0, buf, m->size));
	for (unsigned i = 0; i < m->size; i++)
		if (buf[i] != m->bytes[i])
			fail_msg("seed %u, step %u: byte %u differs", m->run, m->step, i);
}

/* The file system truncates its bytes as the cache does. */
static void model_resize(struct model *m)
{
	uint64_t size = random_below(&m->seed, SPAN * 4096 + 1), old = m->size;

	if (random_below(&m->seed, 2))
		size &= ~4095ull;
	OK(vellum_mapping_set_size(m->f.mapping, size));
	m->size = size;
	if (size < old) {
		memset(m->f.bytes + size, 0, SPAN * 4096 - size);
		memset(m->bytes + size, 0, SPAN * 4096 - size);
		model_changed(m, size, old - size);
	}
}

static void model_punch(struct model *m)
{
	uint64_t offset = random_below(&m->seed, SPAN * 4096);
	uint64_t len = 1 + random_below(&m->seed, 5 * 4096), end = offset + len;

	OK(vellum_mapping_punch_hole(m->f.mapping, offset, len));
	if (end > m->size)
		end = m->size;
	if (offset < end) {
		memset(m->bytes + offset, 0, end - offset);
		model_changed(m, offset, end - offset);
	}
}

/* Each tracker reports each change. It may report a page again, when the page's D is propagated later. */
static void model_collect(struct model *m)
{
	unsigned i = random_below(&m->seed, 3);
	uint64_t got = collect(m->t[i], 0), there = (1ull << ((m->size + 4095) >> 12)) - 1;

	if (m->not_reported[i] & there & ~got)
		fail_msg("seed %u, step %u: tracker %u did not report %lx", m->run, m->step, i,
			 (unsigned long)(m->not_reported[i] & there & ~got));
	m->not_reported[i] = 0;
}

static void model_protect(struct model *m)
{
	unsigned at = random_below(&m->seed, SPAN - 4);

	OK(vellum_mprotect(m->w->mm, PAGE(at), BYTES(4), RO));
	if (random_below(&m->seed, 2))
		OK(vellum_mapping_writeback(m->f.mapping, at, 4, NULL));
	OK(vellum_mprotect(m->w->mm, PAGE(at), BYTES(4), RW));
}

static void model_child(struct model *m)
{
	if (m->child)
		end_child(m->child, m->w->cpu[1]);
	m->child = m->child ? NULL : fork_on(m->w->mm, m->w->cpu[1]);
}

static void model_step(struct model *m)
{
	switch (random_below(&m->seed, 28)) {
	case 0:
		model_resize(m);
		break;
	case 1:
		model_punch(m);
		break;
	case 2:
		OK(vellum_mapping_writeback(m->f.mapping, random_below(&m->seed, SPAN), 4, NULL));
		break;
	case 3:
		vellum_writeback_step(m->w->memory, random_below(&m->seed, 4));
		break;
	case 4:
		vellum_reclaim(m->w->memory, random_below(&m->seed, 12));
		break;
	case 5:
		vellum_mapping_invalidate(m->f.mapping);
		break;
	case 6:
		vellum_unmap_mapping_range(m->f.mapping, random_below(&m->seed, SPAN), 4);
		break;
	case 7:
		dontneed(m->w->mm, random_below(&m->seed, SPAN - 4), 4);
		break;
	case 8:
		model_child(m);
		break;
	case 9:
		model_write(m);
		break;
	case 10:
		model_read(m);
		break;
	case 11:
	case 12:
		model_collect(m);
		break;
	case 13:
		model_protect(m);
		break;
	case 14:
		model_store(m, true);
		break;
	case 15:
		OK(vellum_wp_shared_mapping_range(m->f.mapping, 0, SPAN, NULL));
		break;
	case 16:
	case 17:
	case 18:
		model_load(m);
		break;
	default:
		model_store(m, false);
		break;
	}
}

static void model_create(struct model *m, struct world *w, unsigned run)
{
	memset(m, 0, sizeof(*m));
	m->w = w;
	m->run = run;
	m->seed = run * 104729;
	m->size = SPAN * 4096;
	file_create(&m->f, w, SPAN);
	memcpy(m->bytes, m->f.bytes, sizeof(m->bytes));
	map_shared(w->mm, SHARED_AT, SPAN, &m->f, 0);
	map_shared(w->mm, SECOND_AT, SPAN, &m->f, 0);
	for (unsigned i = 0; i < 3; i++)
		OK(vellum_track_mapping(m->f.mapping, 0, SPAN, i, &m->t[i]));
}

static void model_destroy(struct model *m)
{
	if (m->child)
		model_child(m);
	model_read(m);
	for (unsigned i = 0; i < 3; i++)
		vellum_tracker_destroy(m->t[i]);
	OK(vellum_mapping_sync(m->f.mapping, 0, SPAN));
	assert_int_equal(nr_dirty(&m->f), 0);
	assert_memory_equal(m->f.bytes, m->bytes, m->size);
	unmap(m->w->mm, 0, 128);
	file_destroy(&m->f);
}

static void random_file_operations(void **state)
{
	static struct model m;

	for (unsigned run = 1; run <= 8; run++) {
		model_create(&m, *state, run);
		for (m.step = 0; m.step < 3000; m.step++) {
			const char *why = NULL;

			model_step(&m);
			if (vellum_validate(m.w->memory, &why))
				fail_msg("seed %u, step %u: %s", run, m.step, why);
		}
		model_destroy(&m);
	}
}

static int count_pages(void *arg, uint64_t page, uint64_t nr)
{
	(void)page;
	*(uint64_t *)arg += nr;
	return 0;
}

/* Without a swap area. What was stored is lost, and only there. */
static void droppable_memory_is_dropped(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *tracker;
	uint64_t changed = 0;

	map_at(w->mm, 0, 4, RW, VELLUM_MAP_DROPPABLE | VELLUM_MAP_ANONYMOUS);
	map_at(w->mm, 8, 4, RW, ANON);
	for (unsigned i = 0; i < 12; i++)
		if (i < 4 || i >= 8)
			store(w->cpu[0], PAGE(i), i + 1);
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(16), VELLUM_TRACK_WP, &tracker));
	OK(vellum_tracker_collect(tracker, 0, ~0ull, count_pages, &changed));
	changed = 0;
	assert_int_equal(vellum_madvise(w->mm, PAGE(0), BYTES(1), VELLUM_MADV_PAGEOUT), 0);
	check_world(w);
	assert_false(is_there(w->mm, PAGE(0)));
	OK(vellum_tracker_collect(tracker, 0, ~0ull, count_pages, &changed));
	assert_int_equal(changed, 1);	/* it reads as zero now */
	assert_int_equal(reclaim(w, 100), 3);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(load(w->cpu[0], PAGE(i)), 0);
		assert_int_equal(load(w->cpu[0], PAGE(i + 8)), i + 9);
	}
	vellum_tracker_destroy(tracker);
	unmap(w->mm, 0, 16);
}

/* What a snapshot froze is not dropped. */
static void frozen_droppable_memory_stays(void **state)
{
	struct world *w = *state;
	struct vellum_snapshot_args args = { .size = sizeof(args), .mms = &w->mm, .nr_mms = 1 };
	struct vellum_snapshot *snapshot;

	map_at(w->mm, 0, 2, RW, VELLUM_MAP_DROPPABLE | VELLUM_MAP_ANONYMOUS);
	store(w->cpu[0], PAGE(0), 5);
	OK(vellum_snapshot_create(&args, &snapshot));
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(2), VELLUM_MADV_PAGEOUT));
	reclaim(w, 100);
	store(w->cpu[0], PAGE(0), 6);
	store(w->cpu[0], PAGE(1), 7);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(2), VELLUM_MADV_PAGEOUT));
	assert_int_equal(load(w->cpu[0], PAGE(0)), 0);
	OK(vellum_snapshot_restore(snapshot));
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 5);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 0);
	unmap(w->mm, 0, 2);
	vellum_snapshot_destroy(snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(order_of_reclaim),
		WORLD_TEST(mlocked_pages_stay),
		WORLD_TEST(pages_without_a_backing_are_not_reclaimed),
		cmocka_unit_test(faults_reclaim_cached_pages),
		cmocka_unit_test(populate_and_copies_reclaim_cached_pages),
		cmocka_unit_test(without_reclaimable_pages_faults_fail),
		WORLD_TEST(random_file_operations),
		WORLD_TEST(droppable_memory_is_dropped),
		WORLD_TEST(frozen_droppable_memory_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
