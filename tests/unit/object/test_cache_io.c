/* SPDX-License-Identifier: MIT */
/* read(2) and write(2) through the page cache, and changes of the file by others. */
#include "file_support.h"

static void read_and_write(void **state)
{
	static uint8_t buf[3 * 4096], again[3 * 4096];
	struct world *w = *state;
	struct file f;

	file_create(&f, w, 8);
	map_shared(w->mm, 0, 8, &f, 0);
	for (unsigned i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 7);
	store(w->cpu[0], PAGE(1), 5); /* newer than the file's page */
	OK(vellum_mapping_write(f.mapping, BYTES(1) + 100, buf, BYTES(2)));
	check_world(w);
	assert_int_equal(nr_dirty(&f), 3);
	assert_int_equal(f.mkwrites, 4);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 5);
	OK(vellum_copy_from_user(w->mm, again, PAGE(1) + 100, BYTES(2), NULL));
	assert_memory_equal(buf, again, BYTES(2));
	OK(vellum_mapping_read(f.mapping, BYTES(1) + 100, again, BYTES(2)));
	assert_memory_equal(buf, again, BYTES(2));
	OK(vellum_mapping_sync(f.mapping, 0, 8));
	assert_memory_equal(buf, f.bytes + BYTES(1) + 100, BYTES(2));
	assert_int_equal(file_word(&f, BYTES(1)), 5);
	assert_int_equal(f.bytes[BYTES(3) + 100], 4); /* the other bytes are unchanged */
	OK(vellum_mapping_read(f.mapping, BYTES(8), again, 0));
	OK(vellum_mapping_write(f.mapping, BYTES(8), buf, 0));
	assert_int_equal(vellum_mapping_read(f.mapping, BYTES(8) - 1, again, 2), -EINVAL);
	assert_int_equal(vellum_mapping_write(f.mapping, BYTES(8) - 1, buf, 2), -EINVAL);
	assert_int_equal(vellum_mapping_write(f.mapping, ~0ull, buf, 2), -EINVAL);
	assert_int_equal(nr_dirty(&f), 0);
	unmap(w->mm, 0, 8);
	file_destroy(&f);
}

static int refuse_page_2(void *ctx, struct vellum_vmf *vmf)
{
	struct file *f = ctx;

	f->mkwrites++;
	return vmf->pgoff == 2 ? f->mkwrite_code : VELLUM_VMF_OK;
}

static void write_errors(void **state)
{
	struct vellum_backing_ops ops = file_ops;
	struct world *w = *state;
	static uint8_t buf[2 * 4096];
	uint64_t val;
	struct file f;

	ops.page_mkwrite = refuse_page_2;
	file_create_with(&f, w, 8, &ops, VELLUM_MAPPING_WRITEBACK);
	f.mkwrite_code = VELLUM_VMF_SIGBUS;
	assert_int_equal(vellum_mapping_write(f.mapping, BYTES(1) + 8, buf, BYTES(1)),
			 -VELLUM_ENOSPC);
	check_world(w);
	OK(vellum_mapping_read(f.mapping, BYTES(1) + 8, &val, 8)); /* the error is in the next page */
	assert_int_equal(val, 0);
	OK(vellum_mapping_read(f.mapping, BYTES(2), &val, 8));
	assert_int_equal(val, file_initial(2));
	assert_int_equal(nr_dirty(&f), 1);
	f.mkwrite_code = VELLUM_VMF_OOM;
	assert_int_equal(vellum_mapping_write(f.mapping, BYTES(2), buf, 8), -ENOMEM);
	f.fault_code = VELLUM_VMF_SIGBUS;
	assert_int_equal(vellum_mapping_read(f.mapping, BYTES(5), &val, 8), -VELLUM_EIO);
	assert_int_equal(vellum_mapping_write(f.mapping, BYTES(5), buf, 8), -VELLUM_EIO);
	f.fault_code = VELLUM_VMF_OOM;
	assert_int_equal(vellum_mapping_read(f.mapping, BYTES(5), &val, 8), -ENOMEM);
	f.fault_code = 0;
	OK(vellum_mapping_read(f.mapping, BYTES(5), &val, 8));
	assert_int_equal(val, file_initial(5));
	file_destroy(&f);
	assert_int_equal(f.writes, 1); /* dropping the last reference writes dirty pages back */
}

/* Trackers report pages that write(2), truncation or a change of the file by others changed. */
static void trackers_report_changes_of_the_file(void **state)
{
	struct world *w = *state;
	uint64_t val = 0x77;

	for (unsigned method = 0; method < 3; method++) {
		struct vellum_tracker *t, *u;
		struct file f;

		file_create(&f, w, 8);
		map_shared(w->mm, 0, 8, &f, 0);
		load(w->cpu[0], PAGE(3));
		OK(vellum_track_mm(w->mm, BASE, PAGE(8), method, &t));
		OK(vellum_track_mapping(f.mapping, 0, 8, method, &u));
		OK(vellum_mapping_write(f.mapping, BYTES(3), &val, 8));
		assert_int_equal(collect(t, BASE >> 12), 8);
		assert_int_equal(collect(u, 0), 8);
		memcpy(f.bytes + BYTES(4), &val, 8);
		vellum_mapping_update(f.mapping, BYTES(4), &val, 8); /* not cached */
		assert_int_equal(load(w->cpu[0], PAGE(4)), val);
		assert_int_equal(collect(t, BASE >> 12), 0x10);
		assert_int_equal(collect(u, 0), 0x10);
		OK(vellum_mapping_punch_hole(f.mapping, BYTES(2), BYTES(1)));
		assert_int_equal(collect(t, BASE >> 12) & ~8ull, 4);
		assert_int_equal(collect(u, 0) & ~8ull, 4);
		OK(vellum_mapping_set_size(f.mapping, BYTES(6) + 8));
		assert_int_equal(collect(t, BASE >> 12) & 0x87, 0x80);
		assert_int_equal(collect(u, 0) & 0x87, 0x80);
		store(w->cpu[0], PAGE(0), 1);
		assert_int_equal(collect(t, BASE >> 12), 1);
		vellum_tracker_destroy(t);
		vellum_tracker_destroy(u);
		unmap(w->mm, 0, 8);
		file_destroy(&f);
	}
}

/* Trackers report a page of which only a part changed, even if it is not cached. */
static void trackers_report_changes_of_parts(void **state)
{
	struct world *w = *state;

	for (unsigned method = 0; method < 3; method++) {
		struct vellum_tracker *t, *u;
		struct file f;

		file_create(&f, w, 8);
		map_shared(w->mm, 0, 8, &f, 0);
		OK(vellum_track_mm(w->mm, BASE, PAGE(8), method, &t));
		OK(vellum_track_mapping(f.mapping, 0, 8, method, &u));
		OK(vellum_mapping_punch_hole(f.mapping, BYTES(1) + 8, BYTES(1)));
		assert_int_equal(collect(t, BASE >> 12), 6);
		assert_int_equal(collect(u, 0), 6);
		OK(vellum_mapping_set_size(f.mapping, BYTES(8) - 8));
		assert_int_equal(collect(t, BASE >> 12), 0x80);
		assert_int_equal(collect(u, 0), 0x80);
		vellum_tracker_destroy(t);
		vellum_tracker_destroy(u);
		unmap(w->mm, 0, 8);
		file_destroy(&f);
	}
}

static void update_and_overlay(void **state)
{
	struct world *w = *state;
	uint8_t buf[3 * 4096];
	struct file f;

	file_create(&f, w, 4);
	map_shared(w->mm, 0, 4, &f, 0);
	store(w->cpu[0], PAGE(1), 5);
	load(w->cpu[0], PAGE(3));
	memset(buf, 0xaa, sizeof(buf));
	memcpy(f.bytes + BYTES(1) + 8, buf, BYTES(2));
	vellum_mapping_update(f.mapping, BYTES(1) + 8, buf, BYTES(2));
	check_world(w);
	assert_int_equal(f.mkwrites, 1);
	assert_int_equal(nr_dirty(&f), 1); /* page 1 was dirty before */
	assert_int_equal(nr_cached(&f), 2);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 5);
	assert_int_equal(load(w->cpu[0], PAGE(1) + 8), 0xaaaaaaaaaaaaaaaa);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 0xaaaaaaaaaaaaaaaa);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 0xaaaaaaaaaaaaaaaa); /* read from the file */
	vellum_mapping_update(f.mapping, BYTES(3), buf, BYTES(2));	/* the rest is ignored */
	vellum_mapping_update(f.mapping, BYTES(9), buf, 1);
	vellum_mapping_invalidate(f.mapping);
	assert_int_equal(nr_cached(&f), 1);
	memset(buf, 0xbb, sizeof(buf));
	vellum_mapping_overlay(f.mapping, BYTES(1) - 8, buf, BYTES(2));
	assert_int_equal(buf[7], 0xbb);
	assert_int_equal(buf[8], 5);
	assert_int_equal(buf[16], 0xaa);
	assert_int_equal(buf[8 + 4096], 0xbb);
	unmap(w->mm, 0, 4);
	file_destroy(&f);
}

/* The time depends on the number of cached pages in the hole, not on the size of the hole. */
static void update_with_zeros(void **state)
{
	const uint64_t pages = 1ull << 40;
	struct world *w = *state;
	struct file f;

	file_create(&f, w, 4);
	OK(vellum_mapping_set_size(f.mapping, BYTES(pages)));
	map_shared(w->mm, 0, 4, &f, 0);
	for (unsigned i = 0; i < 4; i++)
		load(w->cpu[0], PAGE(i));
	vellum_mapping_update(f.mapping, BYTES(1) + 8, NULL, BYTES(pages - 1));
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(0)), file_initial(0));
	assert_int_equal(load(w->cpu[0], PAGE(1)), file_initial(1));
	assert_int_equal(load(w->cpu[0], PAGE(1) + 8), 0);
	assert_int_equal(load(w->cpu[0], PAGE(3) + 4088), 0);
	assert_int_equal(nr_dirty(&f), 0);
	unmap(w->mm, 0, 4);
	file_destroy(&f);
}

static void invalidate(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	struct file f;

	file_create(&f, w, 8);
	map_shared(w->mm, 0, 8, &f, 0);
	map_private(w->mm, 8, 8, &f, 0);
	for (unsigned i = 0; i < 8; i++)
		load(w->cpu[0], PAGE(i));
	store(w->cpu[0], PAGE(2), 5);
	store(w->cpu[0], PAGE(9), 6); /* a private copy of page 1 */
	child = fork_on(w->mm, w->cpu[1]);
	load(w->cpu[1], PAGE(3));
	store(w->cpu[1], PAGE(4), 7);
	for (unsigned i = 0; i < 8; i++)
		memset(f.bytes + BYTES(i), 0xcc, 4096);
	vellum_mapping_invalidate(f.mapping);
	check_world(w);
	assert_int_equal(nr_cached(&f), 2);
	assert_int_equal(nr_dirty(&f), 2);
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		assert_int_equal(load(w->cpu[cpu], PAGE(2)), 5);
		assert_int_equal(load(w->cpu[cpu], PAGE(4)), 7);
		assert_int_equal(load(w->cpu[cpu], PAGE(3)), 0xcccccccccccccccc);
		assert_int_equal(load(w->cpu[cpu], PAGE(9)), 6);
		assert_int_equal(load(w->cpu[cpu], PAGE(10)), 5);
	}
	OK(vellum_mapping_sync(f.mapping, 0, 8));
	assert_int_equal(file_word(&f, BYTES(2)), 5);
	assert_int_equal(file_word(&f, BYTES(4)), 7);
	end_child(child, w->cpu[1]);
	unmap(w->mm, 0, 16);
	file_destroy(&f);
}

/* Shared memory has no file, so invalidating drops no page. */
static void invalidate_keeps_shared_memory(void **state)
{
	struct world *w = *state;
	uint64_t bitmap[1] = {0}, start = 0, end = 0, val = 3;
	struct vellum_mapping *obj;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 8, 0, &obj));
	map_object(w->mm, 0, 8, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	load(w->cpu[0], PAGE(1));
	store(w->cpu[0], PAGE(1), 1); /* only the entry is dirty */
	store(w->cpu[0], PAGE(2), 2);
	OK(vellum_mapping_write(obj, BYTES(3), &val, 8));
	OK(vellum_clean_record_shared_mapping_range(obj, 0, 8, 0, bitmap, &start, &end, NULL));
	vellum_mapping_invalidate(obj);
	check_world(w);
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i);
	unmap(w->mm, 0, 8);
	vellum_mapping_invalidate(obj);
	OK(vellum_mapping_read(obj, BYTES(2), &val, 8));
	assert_int_equal(val, 2);
	vellum_mapping_put(obj);
}

static void stale_pages(void **state)
{
	struct world *w = *state;
	struct file f;
	uint64_t at = 0;

	file_create(&f, w, 8);
	map_shared(w->mm, 0, 8, &f, 0);
	assert_int_equal(vellum_mapping_is_stale(f.mapping), 0);
	assert_int_equal(vellum_mapping_next_cached(f.mapping, &at), 0);
	load(w->cpu[0], PAGE(1));
	load(w->cpu[0], PAGE(2));
	store(w->cpu[0], PAGE(2), 5);
	at = 0;
	assert_int_equal(vellum_mapping_next_cached(f.mapping, &at), 1);
	assert_int_equal(at, 1);
	at = 3;
	assert_int_equal(vellum_mapping_next_cached(f.mapping, &at), 0);
	f.bytes[BYTES(3)]++; /* not cached */
	f.bytes[BYTES(2)]++; /* dirty in the cache: the cached bytes win */
	assert_int_equal(vellum_mapping_is_stale(f.mapping), 0);
	f.bytes[BYTES(1) + 4095]++;
	assert_int_equal(vellum_mapping_is_stale(f.mapping), 1);
	check_world(w);
	vellum_mapping_invalidate(f.mapping);
	assert_int_equal(vellum_mapping_is_stale(f.mapping), 0);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 5);
	unmap(w->mm, 0, 8);
	file_destroy(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(read_and_write),
		WORLD_TEST(stale_pages),
		WORLD_TEST(write_errors),
		WORLD_TEST(trackers_report_changes_of_the_file),
		WORLD_TEST(trackers_report_changes_of_parts),
		WORLD_TEST(update_and_overlay),
		WORLD_TEST(update_with_zeros),
		WORLD_TEST(invalidate),
		WORLD_TEST(invalidate_keeps_shared_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
