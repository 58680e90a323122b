/* SPDX-License-Identifier: MIT */
/* The page cache: sizes, truncation, holes, seals. */
#include "file_support.h"

#define SIGBUS_RESULT VELLUM_FAULT_SIGBUS

static uint64_t load_mm(struct vellum_soft_cpu *cpu, unsigned page, unsigned offset)
{
	return load(cpu, PAGE(page) + offset);
}

static void set_size(struct world *w, struct file *f, uint64_t size)
{
	OK(vellum_mapping_set_size(f->mapping, size));
	assert_int_equal(vellum_mapping_size(f->mapping), size);
	assert_int_equal(info_of(f->mapping).size, size);
	check_world(w);
}

/* --- sizes --- */

static void beyond_the_end_is_sigbus(void **state)
{
	struct world *w = *state;
	struct vellum_soft_cpu *cpu = w->cpu[0];
	uint64_t val = 1, done;
	struct file f;

	file_create(&f, w, 4);
	map_shared(w->mm, 0, 8, &f, 0);
	map_private(w->mm, 8, 8, &f, 0);
	for (unsigned at = 0; at <= 8; at += 8) {
		assert_int_equal(load_mm(cpu, at + 3, 0), file_initial(3));
		assert_int_equal(try_load(cpu, PAGE(at + 4)), SIGBUS_RESULT);
		assert_int_equal(try_store(cpu, PAGE(at + 4), 1), SIGBUS_RESULT);
		assert_int_equal(try_store(cpu, PAGE(at + 7), 1), SIGBUS_RESULT);
		assert_int_equal(vellum_copy_to_user(w->mm, PAGE(at + 4) - 4, &val, 8, &done),
				 -EFAULT);
		assert_int_equal(done, 4);
	}
	set_size(w, &f, 2 * PAGE_SIZE + 1);
	assert_int_equal(try_load(cpu, PAGE(3)), SIGBUS_RESULT);
	assert_int_equal(try_load(cpu, PAGE(11)), SIGBUS_RESULT);
	load(cpu, PAGE(2));
	set_size(w, &f, 2 * PAGE_SIZE);
	assert_int_equal(try_load(cpu, PAGE(2)), SIGBUS_RESULT);
	set_size(w, &f, 0);
	assert_int_equal(try_load(cpu, PAGE(0)), SIGBUS_RESULT);
	assert_int_equal(try_store(cpu, PAGE(8), 1), SIGBUS_RESULT);
	assert_int_equal(nr_cached(&f), 0);
	set_size(w, &f, 8 * PAGE_SIZE);
	load(cpu, PAGE(7));
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_ERROR), 11);
	unmap(w->mm, 0, 16);
	file_destroy(&f);
}

static void wrong_sizes_are_refused(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj, *pfn = new_pfn_object(w, c, 2);
	char byte;

	assert_int_equal(vellum_mapping_create(w->memory, NULL, NULL, 0, 0, &obj), -EINVAL);
	assert_int_equal(vellum_mapping_create(w->memory, NULL, NULL, (1ull << 40) + 1, 0, &obj),
			 -EINVAL);
	assert_int_equal(vellum_mapping_create(w->memory, NULL, NULL, 1, 1 << 5, &obj), -EINVAL);
	OK(vellum_mapping_create(w->memory, NULL, NULL, 1ull << 40, 0, &obj));
	assert_int_equal(vellum_mapping_size(obj), 1ull << 52);
	assert_int_equal(vellum_mapping_set_size(obj, (1ull << 52) + 1), -EINVAL);
	assert_int_equal(vellum_mapping_size(obj), 1ull << 52);
	/* The last page of the longest possible file. */
	map_object(w->mm, 0, 2, RW, VELLUM_MAP_SHARED, obj, (1ull << 40) - 1, RW);
	store(w->cpu[0], PAGE(0), 5);
	assert_int_equal(try_store(w->cpu[0], PAGE(1), 5), SIGBUS_RESULT);
	OK(vellum_mapping_read(obj, (1ull << 52) - PAGE_SIZE, &byte, 1));
	assert_int_equal(byte, 5);
	OK(vellum_mapping_set_size(obj, 1));
	assert_int_equal(try_store(w->cpu[0], PAGE(0), 5), SIGBUS_RESULT);
	assert_int_equal(vellum_mapping_set_size(pfn, PAGE_SIZE), -EINVAL);
	assert_int_equal(vellum_mapping_punch_hole(pfn, 0, PAGE_SIZE), -EINVAL);
	assert_int_equal(vellum_mapping_read(pfn, 0, &byte, 1), -EINVAL);
	assert_int_equal(vellum_mapping_write(pfn, 0, &byte, 1), -EINVAL);
	unmap(w->mm, 0, 2);
	vellum_mapping_put(pfn);
	vellum_mapping_put(obj);
	vellum_memory_free_device(w->memory, c->first_pfn, 2);
}

/* --- truncation and growth --- */

static void truncation_drops_private_copies(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	struct file f;

	file_create(&f, w, 8);
	map_private(w->mm, 0, 8, &f, 0);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), 100 + i);
	child = fork_on(w->mm, w->cpu[1]);
	store(w->cpu[1], PAGE(6), 206);
	set_size(w, &f, 4 * PAGE_SIZE);
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		assert_int_equal(load_mm(w->cpu[cpu], 3, 0), 103);
		assert_int_equal(try_load(w->cpu[cpu], PAGE(4)), SIGBUS_RESULT);
		assert_int_equal(try_load(w->cpu[cpu], PAGE(6)), SIGBUS_RESULT);
	}
	memset(f.bytes + 4 * PAGE_SIZE, 0, 4 * PAGE_SIZE); /* as a file system does */
	set_size(w, &f, 8 * PAGE_SIZE);
	assert_int_equal(load_mm(w->cpu[0], 6, 0), 0);
	assert_int_equal(load_mm(w->cpu[1], 6, 0), 0);
	assert_int_equal(load_mm(w->cpu[1], 2, 0), 102);
	end_child(child, w->cpu[1]);
	unmap(w->mm, 0, 8);
	file_destroy(&f);
}

static void truncation_drops_dirty_pages(void **state)
{
	struct world *w = *state;
	uint64_t frames, written;
	struct file f;

	file_create(&f, w, 8);
	map_shared(w->mm, 0, 8, &f, 0);
	load(w->cpu[0], PAGE(0));
	frames = free_frames(w);
	for (unsigned i = 1; i < 8; i++)
		store(w->cpu[0], PAGE(i), 1);
	assert_int_equal(nr_dirty(&f), 7);
	set_size(w, &f, PAGE_SIZE);
	assert_int_equal(nr_dirty(&f), 0);
	assert_int_equal(nr_cached(&f), 1);
	assert_int_equal(free_frames(w), frames);
	OK(vellum_mapping_writeback(f.mapping, 0, 8, &written));
	assert_int_equal(written, 0);
	assert_int_equal(f.writes, 0);
	unmap(w->mm, 0, 8);
	file_destroy(&f);
}

/* The last page: bytes behind the end read as zero and are never written back. */
static void bytes_behind_the_end_are_zero(void **state)
{
	struct world *w = *state;
	struct vellum_soft_cpu *cpu = w->cpu[0];
	uint64_t val;
	struct file f;

	file_create(&f, w, 4);
	map_shared(w->mm, 0, 4, &f, 0);
	store(cpu, PAGE(1), 11);
	store(cpu, PAGE(1) + 96, 0x1111111111111111);
	store(cpu, PAGE(1) + 4088, 12);
	set_size(w, &f, PAGE_SIZE + 100);
	assert_int_equal(load_mm(cpu, 1, 0), 11);
	assert_int_equal(load_mm(cpu, 1, 96), 0x11111111);
	assert_int_equal(load_mm(cpu, 1, 4088), 0);
	store(cpu, PAGE(1) + 200, 13); /* behind the end: allowed, but never written back */
	assert_int_equal(load_mm(cpu, 1, 200), 13);
	assert_int_equal(vellum_mapping_read(f.mapping, PAGE_SIZE + 96, &val, 8), -EINVAL);
	OK(vellum_mapping_sync(f.mapping, 0, 4));
	assert_int_equal(f.last_len, 100);
	assert_int_equal(file_word(&f, PAGE_SIZE), 11);
	assert_int_equal(file_word(&f, PAGE_SIZE + 200), file_initial(1)); /* not written back */
	store(cpu, PAGE(1) + 200, 14);
	memset(f.bytes + PAGE_SIZE + 100, 0, 3 * PAGE_SIZE - 100);
	set_size(w, &f, 3 * PAGE_SIZE);
	assert_int_equal(load_mm(cpu, 1, 96), 0x11111111);
	assert_int_equal(load_mm(cpu, 1, 200), 0);
	assert_int_equal(load_mm(cpu, 2, 0), 0);
	unmap(w->mm, 0, 4);
	file_destroy(&f);
}

/* The same, but the page is read into the cache after the truncation. */
static void bytes_behind_the_end_are_zero_if_read_later(void **state)
{
	struct world *w = *state;
	uint64_t val;
	struct file f;

	file_create(&f, w, 4);
	map_shared(w->mm, 0, 4, &f, 0);
	set_size(w, &f, PAGE_SIZE + 100);
	assert_int_equal(load_mm(w->cpu[0], 1, 88), file_initial(1));
	assert_int_equal(load_mm(w->cpu[0], 1, 104), 0);
	assert_int_equal(load_mm(w->cpu[0], 1, 4088), 0);
	set_size(w, &f, 3 * PAGE_SIZE);
	OK(vellum_mapping_read(f.mapping, 2 * PAGE_SIZE - 8, &val, 8));
	assert_int_equal(val, 0);
	unmap(w->mm, 0, 4);
	file_destroy(&f);
}

/* After growth, a store to bytes that became valid calls page_mkwrite again. */
static void growth_notifies_again(void **state)
{
	struct world *w = *state;
	struct file f;

	file_create(&f, w, 4);
	map_shared(w->mm, 0, 4, &f, 0);
	set_size(w, &f, PAGE_SIZE + 8);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(1), 1);
	assert_int_equal(f.mkwrites, 2);
	set_size(w, &f, 2 * PAGE_SIZE);
	assert_true(has_w(w->mm, PAGE(0)));
	assert_false(has_w(w->mm, PAGE(1)));
	store(w->cpu[0], PAGE(0), 2);
	store(w->cpu[0], PAGE(1), 2);
	assert_int_equal(f.mkwrites, 3);
	assert_int_equal(nr_dirty(&f), 2);
	set_size(w, &f, 3 * PAGE_SIZE); /* from a page's end: no notification needed */
	assert_true(has_w(w->mm, PAGE(1)));
	set_size(w, &f, 3 * PAGE_SIZE);
	unmap(w->mm, 0, 4);
	file_destroy(&f);
}

/* Shared memory: zero-filled, no hooks. */
static void sizes_of_shared_memory(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj;
	uint64_t frames = 0, val;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 4, 0, &obj));
	map_object(w->mm, 0, 8, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	load(w->cpu[0], PAGE(0));
	frames = free_frames(w);
	for (unsigned i = 1; i < 4; i++)
		store(w->cpu[0], PAGE(i) + 2048, i);
	OK(vellum_mapping_set_size(obj, PAGE_SIZE + 1024));
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(1) + 2048), 0);
	assert_int_equal(try_load(w->cpu[0], PAGE(2)), SIGBUS_RESULT);
	OK(vellum_mapping_set_size(obj, BYTES(8)));
	for (unsigned i = 1; i < 8; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i) + 2048), 0);
	store(w->cpu[0], PAGE(5), 7);
	store(w->cpu[0], PAGE(6), 7);
	OK(vellum_mapping_punch_hole(obj, BYTES(1), BYTES(5)));
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(5)), 0);
	assert_int_equal(load(w->cpu[0], PAGE(6)), 7);
	OK(vellum_mapping_set_size(obj, PAGE_SIZE));
	assert_int_equal(free_frames(w), frames);
	OK(vellum_mapping_set_size(obj, BYTES(8)));
	OK(vellum_mapping_read(obj, BYTES(3), &val, 8)); /* reads of holes allocate no page */
	assert_int_equal(val, 0);
	assert_int_equal(free_frames(w), frames);
	unmap(w->mm, 0, 8);
	vellum_mapping_put(obj);
}

/* A tracker may watch pages beyond the end. */
static void truncation_with_a_wide_tracker(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;
	struct file f;

	file_create(&f, w, 8);
	OK(vellum_track_mapping(f.mapping, 0, 1ull << 52, VELLUM_TRACK_WP, &t));
	map_shared(w->mm, 0, 8, &f, 0);
	store(w->cpu[0], PAGE(1), 1);
	set_size(w, &f, 4 * PAGE_SIZE);
	assert_int_equal(collect(t, 0) & 0xff, 0xf2);
	assert_int_equal(collect(t, 0), 0);
	vellum_tracker_destroy(t);
	unmap(w->mm, 0, 8);
	file_destroy(&f);
}

/* --- holes --- */

static void punch_hole(void **state)
{
	struct world *w = *state;
	struct vellum_soft_cpu *cpu = w->cpu[0];
	struct file f;

	file_create(&f, w, 8);
	map_shared(w->mm, 0, 8, &f, 0);
	map_private(w->mm, 8, 8, &f, 0);
	for (unsigned i = 0; i < 8; i++) {
		store(cpu, PAGE(i), i + 50);
		store(cpu, PAGE(i) + 4088, i + 60);
	}
	store(cpu, PAGE(11), 999);
	load(cpu, PAGE(12));
	OK(vellum_mapping_punch_hole(f.mapping, BYTES(2) - 8, BYTES(3) + 16));
	check_world(w);
	assert_int_equal(f.punches, 1);
	assert_int_equal(f.punch_offset, BYTES(2) - 8);
	assert_int_equal(f.punch_len, BYTES(3) + 16);
	assert_int_equal(nr_cached(&f), 5);
	assert_int_equal(vellum_mapping_size(f.mapping), BYTES(8));
	assert_int_equal(load_mm(cpu, 1, 0), 51);
	assert_int_equal(load_mm(cpu, 1, 4088), 0);
	for (unsigned i = 2; i < 5; i++)
		assert_int_equal(load_mm(cpu, i, 0) | load_mm(cpu, i, 4088), 0);
	assert_int_equal(load_mm(cpu, 5, 0), 0);
	assert_int_equal(load_mm(cpu, 5, 4088), 65);
	assert_int_equal(load_mm(cpu, 11, 0), 999); /* a copy of a private VMA */
	assert_int_equal(load_mm(cpu, 12, 0), 0);
	OK(vellum_mapping_punch_hole(f.mapping, BYTES(7) + 8, 16)); /* within a page */
	assert_int_equal(load_mm(cpu, 7, 0), 57);
	assert_int_equal(load_mm(cpu, 7, 8), 0);
	assert_int_equal(load_mm(cpu, 7, 24), file_initial(7));
	OK(vellum_mapping_sync(f.mapping, 0, 8));
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(file_word(&f, BYTES(i)), i >= 2 && i <= 5 ? 0 : i + 50);
	unmap(w->mm, 0, 16);
	file_destroy(&f);
}

static struct {
	struct world *w;
	struct vellum_mapping *mapping;
} meanwhile;

/* When the backing has punched its hole, another thread writes back the page at the hole's edge. */
static int punch_then_writeback(void *ctx, uint64_t offset, uint64_t len)
{
	int err = file_punch(ctx, offset, len);

	store(meanwhile.w->cpu[0], PAGE(1), 44);
	OK(vellum_mapping_writeback(meanwhile.mapping, 0, 8, NULL));
	return err;
}

static void punch_hole_and_writeback(void **state)
{
	struct vellum_backing_ops ops = file_ops;
	struct world *w = *state;
	struct file f;

	ops.punch = punch_then_writeback;
	file_create_with(&f, w, 8, &ops, VELLUM_MAPPING_WRITEBACK);
	map_shared(w->mm, 0, 8, &f, 0);
	meanwhile.w = w;
	meanwhile.mapping = f.mapping;
	load(w->cpu[0], PAGE(1));
	OK(vellum_mapping_punch_hole(f.mapping, BYTES(2) - 8, 8));
	assert_int_equal(load(w->cpu[0], PAGE(2) - 8), 0);
	OK(vellum_mapping_writeback(f.mapping, 0, 8, NULL));
	vellum_mapping_invalidate(f.mapping);
	assert_int_equal(load(w->cpu[0], PAGE(2) - 8), 0);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 44);
	check_world(w);
	unmap(w->mm, 0, 8);
	file_destroy(&f);
}

static struct vellum_tracker *tracker_meanwhile;

/* A collection before the backing punches its hole. */
static int collect_then_punch(void *ctx, uint64_t offset, uint64_t len)
{
	collect(tracker_meanwhile, PAGE(0) >> PAGE_SHIFT);
	return file_punch(ctx, offset, len);
}

static void punch_hole_is_tracked(void **state)
{
	struct vellum_backing_ops ops = file_ops;
	struct world *w = *state;
	struct file f;

	ops.punch = collect_then_punch;
	file_create_with(&f, w, 8, &ops, VELLUM_MAPPING_WRITEBACK);
	map_shared(w->mm, 0, 8, &f, 0);
	OK(vellum_track_mm(w->mm, 0, VELLUM_TASK_SIZE, VELLUM_TRACK_WP, &tracker_meanwhile));
	OK(vellum_mapping_punch_hole(f.mapping, BYTES(2), BYTES(3)));
	assert_int_equal(collect(tracker_meanwhile, PAGE(0) >> PAGE_SHIFT), 7 << 2);
	vellum_tracker_destroy(tracker_meanwhile);
	unmap(w->mm, 0, 8);
	file_destroy(&f);
}

static void punch_hole_errors(void **state)
{
	struct vellum_backing_ops no_punch = file_ops;
	struct world *w = *state;
	struct file f, g;

	no_punch.punch = NULL;
	file_create(&f, w, 8);
	file_create_with(&g, w, 8, &no_punch, VELLUM_MAPPING_WRITEBACK);
	map_shared(w->mm, 0, 8, &f, 0);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), i + 50);
	assert_int_equal(vellum_mapping_punch_hole(f.mapping, 0, 0), -EINVAL);
	assert_int_equal(vellum_mapping_punch_hole(f.mapping, 4096, ~0ull - 4095), -EINVAL);
	assert_int_equal(vellum_mapping_punch_hole(g.mapping, 0, 4096), -VELLUM_EOPNOTSUPP);
	assert_int_equal(f.punches, 0);
	assert_int_equal(nr_cached(&f), 8);
	OK(vellum_mapping_punch_hole(f.mapping, BYTES(8), 4096)); /* no pages there */
	OK(vellum_mapping_punch_hole(f.mapping, BYTES(7), BYTES(100)));
	assert_int_equal(load(w->cpu[0], PAGE(7)), 0);
	assert_int_equal(vellum_mapping_size(f.mapping), BYTES(8));
	f.punch_err = -VELLUM_EIO;
	assert_int_equal(vellum_mapping_punch_hole(f.mapping, BYTES(2), BYTES(2)), -VELLUM_EIO);
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 51);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 52); /* was written back before, and is read again */
	assert_int_equal(file_word(&f, BYTES(2)), 52);
	unmap(w->mm, 0, 8);
	file_destroy(&f);
	file_destroy(&g);
}

/* --- seals --- */

static int map_sealed(struct world *w, struct file *f, uint32_t prot, uint32_t flags,
		      uint64_t *addr)
{
	struct vellum_map_args args = {.size = sizeof(args),
				       .len = BYTES(2),
				       .prot = prot,
				       .flags = flags,
				       .mapping = f->mapping,
				       .file_prot = RW};

	return vellum_mmap(w->mm, &args, addr);
}

static void seals_on_size(void **state)
{
	struct world *w = *state;
	struct file f;

	file_create(&f, w, 8);
	assert_int_equal(vellum_mapping_seals(f.mapping), 0);
	assert_int_equal(vellum_mapping_add_seals(f.mapping, 0x40), -EINVAL);
	OK(vellum_mapping_add_seals(f.mapping, VELLUM_SEAL_SHRINK));
	assert_int_equal(vellum_mapping_set_size(f.mapping, BYTES(8) - 1), -EPERM);
	set_size(w, &f, BYTES(9));
	OK(vellum_mapping_add_seals(f.mapping, VELLUM_SEAL_GROW));
	assert_int_equal(vellum_mapping_set_size(f.mapping, BYTES(10)), -EPERM);
	set_size(w, &f, BYTES(9));
	OK(vellum_mapping_add_seals(f.mapping, VELLUM_SEAL_SEAL));
	assert_int_equal(vellum_mapping_add_seals(f.mapping, VELLUM_SEAL_WRITE), -EPERM);
	assert_int_equal(vellum_mapping_seals(f.mapping),
			 VELLUM_SEAL_SHRINK | VELLUM_SEAL_GROW | VELLUM_SEAL_SEAL);
	file_destroy(&f);
}

static void seals_on_writes(void **state)
{
	struct world *w = *state;
	uint64_t addr, val = 7;
	struct file f;

	file_create(&f, w, 8);
	OK(map_sealed(w, &f, RO, VELLUM_MAP_SHARED, &addr)); /* MAYWRITE is set: mprotect could make it writable */
	assert_int_equal(vellum_mapping_add_seals(f.mapping, VELLUM_SEAL_WRITE), -VELLUM_EBUSY);
	assert_int_equal(vellum_mapping_seals(f.mapping), 0);
	OK(vellum_munmap(w->mm, addr, BYTES(2)));
	OK(map_sealed(w, &f, RW, VELLUM_MAP_PRIVATE, &addr)); /* private VMAs do not matter */
	OK(vellum_mapping_add_seals(f.mapping, VELLUM_SEAL_WRITE));
	store(w->cpu[0], addr, 1);
	OK(vellum_munmap(w->mm, addr, BYTES(2)));
	assert_int_equal(map_sealed(w, &f, RW, VELLUM_MAP_SHARED, &addr), -EPERM);
	OK(map_sealed(w, &f, RO, VELLUM_MAP_SHARED, &addr));
	assert_int_equal(load(w->cpu[0], addr), file_initial(0));
	assert_int_equal(vellum_mprotect(w->mm, addr, BYTES(2), RW), -EACCES);
	assert_int_equal(vellum_mapping_write(f.mapping, 0, &val, 8), -EPERM);
	assert_int_equal(vellum_mapping_punch_hole(f.mapping, 0, 4096), -EPERM);
	OK(vellum_mapping_read(f.mapping, 0, &val, 8));
	assert_int_equal(val, file_initial(0));
	set_size(w, &f, BYTES(4)); /* only other seals forbid this */
	OK(vellum_munmap(w->mm, addr, BYTES(2)));
	file_destroy(&f);
}

/* F_SEAL_FUTURE_WRITE: VMAs that are writable stay so. No other VMA or write(2) may write. */
static void seal_on_future_writes(void **state)
{
	struct world *w = *state;
	uint64_t old, addr, val = 7;
	struct file f;

	file_create(&f, w, 8);
	OK(map_sealed(w, &f, RW, VELLUM_MAP_SHARED, &old));
	OK(vellum_mapping_add_seals(f.mapping, VELLUM_SEAL_FUTURE_WRITE));
	store(w->cpu[0], old, 1);
	assert_int_equal(map_sealed(w, &f, RW, VELLUM_MAP_SHARED, &addr), -EPERM);
	assert_int_equal(vellum_mapping_write(f.mapping, 0, &val, 8), -EPERM);
	assert_int_equal(vellum_mapping_punch_hole(f.mapping, 0, 4096), -EPERM);
	OK(map_sealed(w, &f, RO, VELLUM_MAP_SHARED, &addr));
	assert_int_equal(vellum_mprotect(w->mm, addr, BYTES(2), RW), -EACCES);
	assert_int_equal(load(w->cpu[0], addr), 1);
	store(w->cpu[0], old, 2);
	OK(vellum_munmap(w->mm, addr, BYTES(2)));
	OK(vellum_munmap(w->mm, old, BYTES(2)));
	file_destroy(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(beyond_the_end_is_sigbus),
		WORLD_TEST(wrong_sizes_are_refused),
		WORLD_TEST(truncation_drops_private_copies),
		WORLD_TEST(truncation_drops_dirty_pages),
		WORLD_TEST(bytes_behind_the_end_are_zero),
		WORLD_TEST(bytes_behind_the_end_are_zero_if_read_later),
		WORLD_TEST(growth_notifies_again),
		WORLD_TEST(sizes_of_shared_memory),
		WORLD_TEST(truncation_with_a_wide_tracker),
		WORLD_TEST(punch_hole),
		WORLD_TEST(punch_hole_and_writeback),
		WORLD_TEST(punch_hole_is_tracked),
		WORLD_TEST(punch_hole_errors),
		WORLD_TEST(seals_on_size),
		WORLD_TEST(seals_on_writes),
		WORLD_TEST(seal_on_future_writes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
