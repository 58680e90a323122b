/* SPDX-License-Identifier: MIT */
/* Writeback: the file gets the bytes that were stored, and later stores make the page dirty again; reclaim. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "file_support.h"

static uint64_t writeback(struct world *w, struct file *f)
{
	uint64_t written = 99;

	OK(vellum_mapping_writeback(f->mapping, 0, f->pages, &written));
	check_world(w);
	return written;
}

/* --- the cycle --- */

static void T_dirty_02_write_cycle(void **state)
{
	struct world *w = *state;
	struct file f;

	file_create(&f, w, 4);
	map_shared(w->mm, 0, 4, &f, 0);
	load(w->cpu[0], PAGE(1));
	assert_true(is_there(w->mm, PAGE(1)) && !has_w(w->mm, PAGE(1)) && !has_d(w->mm, PAGE(1)));
	for (unsigned round = 1; round < 5; round++) {
		store(w->cpu[0], PAGE(1), round);
		assert_int_equal(f.mkwrites, round);
		assert_true(has_w(w->mm, PAGE(1)) && has_d(w->mm, PAGE(1)));
		assert_int_equal(nr_dirty(&f), 1);
		store(w->cpu[0], PAGE(1), round * 10); /* no fault, so no page_mkwrite */
		assert_int_equal(f.mkwrites, round);
		assert_int_equal(writeback(w, &f), 1);
		assert_int_equal(f.writes, round);
		assert_int_equal(file_word(&f, BYTES(1)), round * 10);
		assert_true(is_there(w->mm, PAGE(1)));
		assert_false(has_w(w->mm, PAGE(1)) || has_d(w->mm, PAGE(1)));
		assert_int_equal(nr_dirty(&f), 0);
		assert_int_equal(writeback(w, &f), 0);
		assert_int_equal(f.writes, round);
	}
	assert_int_equal(f.last_len, PAGE_SIZE);
	unmap(w->mm, 0, 4);
	file_destroy(&f);
	assert_int_equal(f.writes, 4);
}

/* Without page_mkwrite, the write notify only marks the folio dirty. */
static void write_cycle_without_mkwrite(void **state)
{
	struct vellum_backing_ops ops = file_ops;
	struct world *w = *state;
	struct file f;

	ops.page_mkwrite = NULL;
	file_create_with(&f, w, 4, &ops, VELLUM_MAPPING_WRITEBACK);
	map_shared(w->mm, 0, 4, &f, 0);
	for (unsigned round = 1; round < 4; round++) {
		load(w->cpu[0], PAGE(2));
		store(w->cpu[0], PAGE(2), round);
		assert_int_equal(nr_dirty(&f), 1);
		assert_int_equal(writeback(w, &f), 1);
		assert_int_equal(file_word(&f, BYTES(2)), round);
	}
	unmap(w->mm, 0, 4);
	file_destroy(&f);
}

/* --- a store through a stale translation, in the flush window --- */

struct late_store {
	struct world *w;
	unsigned calls;
};

static void store_late(void *arg)
{
	struct late_store *late = arg;

	if (!late->calls++)
		store(late->w->cpu[0], PAGE(1), 222);
}

static void T_dirty_03_store_during_writeback(void **state)
{
	struct world *w = *state;
	struct late_store late = {.w = w};
	struct file f;

	file_create(&f, w, 4);
	map_shared(w->mm, 0, 4, &f, 0);
	store(w->cpu[0], PAGE(1), 111);
	vellum_soft_set_flush_hook(w->soft, store_late, &late);
	writeback(w, &f);
	vellum_soft_set_flush_hook(w->soft, NULL, NULL);
	assert_true(late.calls);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 222);
	/* The page is never both clean and different from the file. */
	assert_true(file_word(&f, BYTES(1)) == 222 || nr_dirty(&f) || has_d(w->mm, PAGE(1)));
	writeback(w, &f);
	assert_int_equal(file_word(&f, BYTES(1)), 222);
	unmap(w->mm, 0, 4);
	file_destroy(&f);
}

/* While the hook reads the page, its entries are read-only. */
static struct world *hook_world;

static int check_then_write(void *ctx, uint64_t pgoff, const void *page, uint32_t len)
{
	int err = file_writepage(ctx, pgoff, page, len);

	assert_false(has_w(hook_world->mm, PAGE(pgoff)));
	return err;
}

static void pages_are_protected_before_they_are_written(void **state)
{
	struct vellum_backing_ops ops = file_ops;
	struct world *w = *state;
	struct file f;

	ops.writepage = check_then_write;
	hook_world = w;
	file_create_with(&f, w, 8, &ops, VELLUM_MAPPING_WRITEBACK);
	map_shared(w->mm, 0, 8, &f, 0);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), i);
	assert_int_equal(writeback(w, &f), 8);
	unmap(w->mm, 0, 8);
	file_destroy(&f);
}

/* --- page_mkwrite --- */

static int nopage_twice(void *ctx, struct vellum_vmf *vmf)
{
	struct file *f = ctx;

	(void)vmf;
	return ++f->mkwrites <= 2 ? VELLUM_VMF_NOPAGE : VELLUM_VMF_LOCKED;
}

static void T_dirty_04_mkwrite_codes(void **state)
{
	struct vellum_backing_ops ops = file_ops;
	struct world *w = *state;
	struct file f;

	ops.page_mkwrite = nopage_twice;
	file_create_with(&f, w, 4, &ops, VELLUM_MAPPING_WRITEBACK);
	map_shared(w->mm, 0, 4, &f, 0);
	store(w->cpu[0], PAGE(1), 1);
	assert_int_equal(f.mkwrites, 3);
	assert_int_equal(nr_dirty(&f), 1);
	unmap(w->mm, 0, 4);
	file_destroy(&f);
	file_create(&f, w, 4);
	map_shared(w->mm, 0, 4, &f, 0);
	load(w->cpu[0], PAGE(1));
	f.mkwrite_code = VELLUM_VMF_SIGBUS;
	for (unsigned i = 1; i < 3; i++) { /* present, and missing */
		assert_int_equal(try_store(w->cpu[0], PAGE(i), 1), VELLUM_FAULT_SIGBUS);
		assert_int_equal(load(w->cpu[0], PAGE(i)), file_initial(i));
	}
	f.mkwrite_code = VELLUM_VMF_OOM;
	assert_int_equal(try_store(w->cpu[0], PAGE(1), 1), VELLUM_FAULT_OOM);
	assert_int_equal(nr_dirty(&f), 0);
	f.mkwrite_code = VELLUM_VMF_LOCKED;
	store(w->cpu[0], PAGE(1), 1);
	check_world(w);
	unmap(w->mm, 0, 4);
	file_destroy(&f);
}

static void T_dirty_07_mprotect_and_write_notify(void **state)
{
	struct world *w = *state;
	struct file f;

	file_create(&f, w, 4);
	map_object(w->mm, 0, 4, RO, VELLUM_MAP_SHARED, f.mapping, 0, RW);
	load(w->cpu[0], PAGE(0));
	protect(w->mm, 0, 4, RW);
	assert_false(has_w(w->mm, PAGE(0)));
	store(w->cpu[0], PAGE(1), 1);
	assert_int_equal(f.mkwrites, 1);
	protect(w->mm, 0, 4, RO);
	protect(w->mm, 0, 4, RW);
	store(w->cpu[0], PAGE(1), 2); /* dirty, so page_mkwrite was called before */
	assert_int_equal(f.mkwrites, 1);
	store(w->cpu[0], PAGE(0), 2);
	assert_int_equal(f.mkwrites, 2);
	protect(w->mm, 0, 4, RO);
	assert_int_equal(writeback(w, &f), 2); /* pages that are dirty, although their VMA is read-only now */
	protect(w->mm, 0, 4, RW);
	assert_false(has_w(w->mm, PAGE(0)) || has_w(w->mm, PAGE(1)));
	store(w->cpu[0], PAGE(1), 3);
	assert_int_equal(f.mkwrites, 3);
	assert_int_equal(writeback(w, &f), 1);
	assert_int_equal(file_word(&f, BYTES(1)), 3);
	unmap(w->mm, 0, 4);
	file_destroy(&f);
}

/* No writeback, no write notify: the CPU sets D, and zap propagates it. */
static void T_dirty_08_plain_shared_memory(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj;
	uint64_t faults;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 4, 0, &obj));
	map_object(w->mm, 0, 4, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	load(w->cpu[0], PAGE(1));
	assert_true(has_w(w->mm, PAGE(1)) && !has_d(w->mm, PAGE(1)));
	faults = count_of(w, VELLUM_COUNT_FAULT_NOTIFY) + count_of(w, VELLUM_COUNT_FAULT_SHARED) +
		 count_of(w, VELLUM_COUNT_FAULT_SPURIOUS);
	store(w->cpu[0], PAGE(1), 1);
	assert_true(has_d(w->mm, PAGE(1)));
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_NOTIFY) +
				 count_of(w, VELLUM_COUNT_FAULT_SHARED) +
				 count_of(w, VELLUM_COUNT_FAULT_SPURIOUS),
			 faults);
	dontneed(w->mm, 0, 4);
	assert_int_equal(info_of(obj).nr_dirty, 1);
	OK(vellum_mapping_sync(obj, 0, 4));
	assert_int_equal(vellum_writeback_step(w->memory, 0), 0);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 1);
	unmap(w->mm, 0, 4);
	vellum_mapping_put(obj);
}

/* --- the VMAs that are visited --- */

static void all_mappings_are_protected(void **state)
{
	struct world *w = *state;
	uint64_t written, val = 66;
	struct vellum_mm *child;
	struct file f;

	file_create(&f, w, 16);
	map_shared(w->mm, 0, 8, &f, 0);
	map_shared(w->mm, 32, 8, &f, 4); /* page 6 is mapped at 6 and at 34 */
	map_private(w->mm, 64, 8, &f, 0);
	child = fork_on(w->mm, w->cpu[1]);
	store(w->cpu[0], PAGE(6), 1);
	store(w->cpu[0], PAGE(34), 2);
	store(w->cpu[1], PAGE(6), 3);
	store(w->cpu[1], PAGE(1), 4);
	store(w->cpu[0], PAGE(67), 5); /* a private copy */
	OK(vellum_copy_to_user(child, PAGE(37), &val, 8, NULL));
	assert_int_equal(nr_dirty(&f), 3);
	OK(vellum_mapping_writeback(f.mapping, 6, 3, &written));
	check_world(w);
	assert_int_equal(written, 1);
	assert_int_equal(f.write_mask, 1 << 6);
	assert_false(has_w(w->mm, PAGE(6)) || has_w(w->mm, PAGE(34)) || has_w(child, PAGE(6)));
	assert_true(has_w(child, PAGE(1)) && has_w(child, PAGE(37)) && has_w(w->mm, PAGE(67)));
	assert_int_equal(file_word(&f, BYTES(6)), 3);
	f.mkwrites = 0;
	store(w->cpu[1], PAGE(34), 6);
	store(w->cpu[0], PAGE(6), 7);
	assert_int_equal(f.mkwrites, 2);
	assert_int_equal(writeback(w, &f), 3);
	assert_int_equal(file_word(&f, BYTES(1)), 4);
	assert_int_equal(file_word(&f, BYTES(6)), 7);
	assert_int_equal(file_word(&f, BYTES(9)), 66);
	assert_int_equal(load(w->cpu[0], PAGE(67)), 5);
	assert_int_equal(file_word(&f, BYTES(3)), file_initial(3));
	OK(vellum_mapping_writeback(f.mapping, 1ull << 52, 5, &written)); /* beyond the largest file */
	OK(vellum_mapping_writeback(f.mapping, 8, ~0ull, &written));
	OK(vellum_mapping_writeback(f.mapping, 8, 0, NULL));
	end_child(child, w->cpu[1]);
	unmap(w->mm, 0, 128);
	file_destroy(&f);
}

/* The child exits, and memory is unmapped: the pages stay dirty. */
static void dirty_pages_stay_after_unmap(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	struct file f;

	file_create(&f, w, 8);
	map_shared(w->mm, 0, 8, &f, 0);
	child = fork_on(w->mm, w->cpu[1]);
	store(w->cpu[1], PAGE(1), 1);
	store(w->cpu[0], PAGE(2), 2);
	end_child(child, w->cpu[1]);
	unmap(w->mm, 2, 1);
	dontneed(w->mm, 0, 2);
	check_world(w);
	assert_int_equal(nr_dirty(&f), 2);
	store(w->cpu[0], PAGE(3), 3);
	unmap(w->mm, 0, 8);
	assert_int_equal(f.writes, 0);
	assert_int_equal(load(w->cpu[0], (map_shared(w->mm, 0, 8, &f, 0), PAGE(1))), 1);
	unmap(w->mm, 0, 8);
	vellum_mapping_put(f.mapping); /* the last reference: writes back, then calls release() */
	assert_int_equal(f.releases, 1);
	assert_int_equal(f.write_mask, 0xe);
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(file_word(&f, BYTES(i)), i);
	free(f.bytes);
}

/* The last VMA that maps the file has the last reference. */
static void exit_writes_dirty_pages(void **state)
{
	struct world *w = *state;
	struct vellum_mm *mm;
	struct file f;

	file_create(&f, w, 8);
	OK(vellum_mm_create(w->memory, &mm));
	vellum_soft_load_mm(w->cpu[1], mm);
	map_shared(mm, 0, 8, &f, 0);
	vellum_mapping_put(f.mapping);
	store(w->cpu[1], PAGE(5), 55);
	assert_int_equal(f.releases, 0);
	end_child(mm, w->cpu[1]);
	assert_int_equal(f.releases, 1);
	assert_int_equal(file_word(&f, BYTES(5)), 55);
	free(f.bytes);
}

/* vellum_mapping_writeback_unmapped() writes if no VMA may write any more. */
static void writeback_unmapped_writes_if_no_vma_may(void **state)
{
	struct world *w = *state;
	struct file f;

	file_create(&f, w, 8);
	map_shared(w->mm, 0, 8, &f, 0);
	map_object(w->mm, 8, 8, RO, VELLUM_MAP_SHARED, f.mapping, 0, RO);
	OK(vellum_mapping_writeback_unmapped(f.mapping));
	store(w->cpu[0], PAGE(1), 1);
	OK(vellum_mapping_writeback_unmapped(f.mapping));
	assert_int_equal(f.writes, 0); /* a VMA may still write */
	assert_true(has_w(w->mm, PAGE(1)));
	unmap(w->mm, 0, 8);
	f.write_err = -VELLUM_EIO;
	assert_int_equal(vellum_mapping_writeback_unmapped(f.mapping), -VELLUM_EIO);
	f.write_err = 0;
	OK(vellum_mapping_writeback_unmapped(f.mapping)); /* the pages that failed are tried again */
	check_world(w);
	assert_int_equal(f.writes, 1);
	assert_int_equal(file_word(&f, BYTES(1)), 1);
	assert_int_equal(load(w->cpu[0], PAGE(9)), 1);
	unmap(w->mm, 8, 8);
	file_destroy(&f);
	assert_int_equal(f.writes, 1);
}

/* --- errors --- */

static void errors_keep_pages_dirty(void **state)
{
	struct world *w = *state;
	uint64_t written;
	struct file f;

	file_create(&f, w, 8);
	map_shared(w->mm, 0, 8, &f, 0);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), 40 + i);
	f.write_err = -VELLUM_EIO;
	f.bad_page = 3;
	assert_int_equal(vellum_mapping_writeback(f.mapping, 0, 8, &written), -VELLUM_EIO);
	check_world(w);
	assert_int_equal(f.write_mask, 0xf7); /* the other pages are written */
	assert_int_equal(nr_dirty(&f), 1);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 43);
	assert_int_equal(vellum_mapping_sync(f.mapping, 0, 8), -VELLUM_EIO);
	assert_int_equal(nr_dirty(&f), 1);
	f.write_err = 0;
	OK(vellum_mapping_sync(f.mapping, 0, 8)); /* the error is reported once */
	assert_int_equal(file_word(&f, BYTES(3)), 43);
	assert_int_equal(nr_dirty(&f), 0);
	/* Background writeback reports its error at the next sync. */
	store(w->cpu[0], PAGE(3), 1);
	f.write_err = -VELLUM_ENOSPC;
	assert_int_equal(vellum_writeback_step(w->memory, 0), 0);
	f.write_err = 0;
	assert_int_equal(vellum_writeback_step(w->memory, 0), 1); /* tried again */
	assert_int_equal(vellum_mapping_sync(f.mapping, 5, 1), -VELLUM_ENOSPC);
	OK(vellum_mapping_sync(f.mapping, 5, 1));
	f.sync_err = -VELLUM_EIO;
	assert_int_equal(vellum_mapping_sync(f.mapping, 0, 8), -VELLUM_EIO);
	f.sync_err = 0;
	OK(vellum_mapping_sync(f.mapping, 0, 8));
	unmap(w->mm, 0, 8);
	file_destroy(&f);
}

/* --- background writeback --- */

static void background_writeback_works_in_steps(void **state)
{
	struct world *w = *state;
	uint64_t sum = 0, n;
	struct file f[3];

	for (unsigned i = 0; i < 3; i++) {
		file_create(&f[i], w, 8);
		map_shared(w->mm, 8 * i, 8, &f[i], 0);
	}
	assert_int_equal(vellum_writeback_step(w->memory, 0), 0);
	for (unsigned i = 0; i < 24; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	for (unsigned i = 0; i < 20 && (n = vellum_writeback_step(w->memory, 5)); i++) {
		assert_in_range(n, 1, 5);
		sum += n;
		check_world(w);
	}
	assert_int_equal(sum, 24);
	for (unsigned i = 0; i < 24; i++) {
		assert_int_equal(file_word(&f[i / 8], BYTES(i % 8)), i + 1);
		assert_false(has_w(w->mm, PAGE(i)));
	}
	store(w->cpu[0], PAGE(2), 77);
	store(w->cpu[0], PAGE(22), 78);
	assert_int_equal(vellum_writeback_step(w->memory, 0), 2);
	assert_int_equal(file_word(&f[0], BYTES(2)), 77);
	assert_int_equal(vellum_writeback_step(w->memory, 0), 0);
	unmap(w->mm, 0, 24);
	for (unsigned i = 0; i < 3; i++)
		file_destroy(&f[i]);
}

/* A page is written back although a collection removed D from its entries. */
static void writeback_after_a_collection(void **state)
{
	struct world *w = *state;

	for (unsigned method = 0; method < 3; method++) {
		uint64_t bitmap[1] = {0}, start = 0, end = 0;
		struct vellum_tracker *t, *u;
		struct file f;

		file_create(&f, w, 8);
		map_shared(w->mm, 0, 8, &f, 0);
		OK(vellum_track_mm(w->mm, BASE, PAGE(8), method, &t));
		OK(vellum_track_mapping(f.mapping, 0, 8, method, &u));
		for (unsigned round = 0; round < 4; round++) {
			store(w->cpu[0], PAGE(1), round + 10);
			store(w->cpu[0], PAGE(2), round + 20);
			if (round & 1)
				collect(t, BASE >> 12);
			if (round == 2)
				OK(vellum_clean_record_shared_mapping_range(
					f.mapping, 0, 8, 0, bitmap, &start, &end, NULL));
			if (round & 1)
				store(w->cpu[0], PAGE(1), round + 30);
			assert_int_equal(vellum_writeback_step(w->memory, 0), 2);
			assert_int_equal(file_word(&f, BYTES(1)), load(w->cpu[0], PAGE(1)));
			assert_int_equal(file_word(&f, BYTES(2)), round + 20);
			assert_int_equal(collect(t, BASE >> 12) & 2, 2);
			assert_int_equal(collect(u, 0) & 6, 6);
			assert_int_equal(collect(t, BASE >> 12) & ~6ull, 0);
		}
		store(w->cpu[0], PAGE(5), 1);
		writeback(w, &f);
		assert_int_equal(collect(t, BASE >> 12) & ~6ull, 0x20);
		store(w->cpu[0], PAGE(5), 2);
		assert_int_equal(collect(t, BASE >> 12), 0x20);
		vellum_tracker_destroy(t);
		vellum_tracker_destroy(u);
		unmap(w->mm, 0, 8);
		file_destroy(&f);
	}
}

/* --- msync --- */

static void T_sys_06_msync_writes(void **state)
{
	struct world *w = *state;
	struct file f;

	file_create(&f, w, 8);
	map_shared(w->mm, 0, 8, &f, 0);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), 70 + i);
	OK(vellum_msync(w->mm, PAGE(0), BYTES(8), VELLUM_MS_ASYNC));
	assert_true(has_d(w->mm, PAGE(0)));
	assert_int_equal(f.writes + f.syncs, 0);
	OK(vellum_msync(w->mm, PAGE(1), BYTES(2), VELLUM_MS_SYNC));
	check_world(w);
	assert_int_equal(f.write_mask, 6);
	assert_int_equal(f.syncs, 1);
	assert_false(has_w(w->mm, PAGE(1)) || has_w(w->mm, PAGE(2)));
	assert_true(has_w(w->mm, PAGE(0)) && has_w(w->mm, PAGE(3)));
	unmap(w->mm, 4, 1);
	assert_int_equal(vellum_msync(w->mm, PAGE(0), BYTES(8), VELLUM_MS_SYNC), -ENOMEM);
	assert_int_equal(f.write_mask & ~0x10ull, 0xef); /* the other pages were written */
	store(w->cpu[0], PAGE(0), 1);
	f.write_err = -VELLUM_EIO;
	assert_int_equal(vellum_msync(w->mm, PAGE(0), BYTES(1), VELLUM_MS_SYNC), -VELLUM_EIO);
	f.write_err = 0;
	OK(vellum_msync(w->mm, PAGE(0), BYTES(1), VELLUM_MS_SYNC));
	assert_int_equal(file_word(&f, 0), 1);
	unmap(w->mm, 0, 8);
	file_destroy(&f);
}

/* --- two writers: a sync that finds a page clean waits until the other writer has written it --- */

static struct {
	bool inside, go; /* atomic: writepage() was called; it may return */
	int result;
} slow;

static int slow_writepage(void *ctx, uint64_t pgoff, const void *page, uint32_t len)
{
	__atomic_store_n(&slow.inside, true, __ATOMIC_SEQ_CST);
	while (!__atomic_load_n(&slow.go, __ATOMIC_SEQ_CST))
		sched_yield();
	return slow.result ? slow.result : file_writepage(ctx, pgoff, page, len);
}

static void *step(void *memory)
{
	vellum_writeback_step(memory, 0);
	return NULL;
}

static void *let_go(void *arg)
{
	(void)arg;
	nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
	__atomic_store_n(&slow.go, true, __ATOMIC_SEQ_CST);
	return NULL;
}

static void sync_waits_for_another_writer(void **state)
{
	struct vellum_backing_ops ops = file_ops;
	struct world *w = *state;
	pthread_t writer, timer;
	struct file f;

	ops.writepage = slow_writepage;
	file_create_with(&f, w, 4, &ops, VELLUM_MAPPING_WRITEBACK);
	map_shared(w->mm, 0, 4, &f, 0);
	for (int err = 0; err >= -VELLUM_EIO; err -= VELLUM_EIO) {
		store(w->cpu[0], PAGE(1), 7);
		slow.inside = slow.go = false;
		slow.result = err;
		OK(pthread_create(&writer, NULL, step, w->memory));
		while (!__atomic_load_n(&slow.inside, __ATOMIC_SEQ_CST))
			sched_yield();
		OK(pthread_create(&timer, NULL, let_go, NULL));
		assert_int_equal(vellum_mapping_sync(f.mapping, 0, 4), err);
		assert_true(__atomic_load_n(&slow.go, __ATOMIC_SEQ_CST));
		pthread_join(writer, NULL);
		pthread_join(timer, NULL);
		assert_int_equal(f.writes, 1);
		assert_int_equal(nr_dirty(&f), err ? 1 : 0);
	}
	slow.result = 0;
	check_world(w);
	unmap(w->mm, 0, 4);
	file_destroy(&f);
}

/* --- a store after the range was cleaned, and before its page is written --- */

static struct {
	struct world *w;
	bool was_writable; /* page 1, while it was written */
} between;

/* While page 0 is written, the CPU stores to page 1, which was cleaned with it. */
static int storing_writepage(void *ctx, uint64_t pgoff, const void *page, uint32_t len)
{
	if (pgoff == 0)
		store(between.w->cpu[0], PAGE(1), 22);
	else
		between.was_writable = has_w(between.w->mm, PAGE(1)) || has_d(between.w->mm, PAGE(1));
	return file_writepage(ctx, pgoff, page, len);
}

static void store_between_cleaning_and_writing(void **state)
{
	struct vellum_backing_ops ops = file_ops;
	struct world *w = *state;
	uint64_t val;
	struct file f;

	ops.writepage = storing_writepage;
	between.w = w;
	between.was_writable = true;
	file_create_with(&f, w, 2, &ops, VELLUM_MAPPING_WRITEBACK);
	map_shared(w->mm, 0, 2, &f, 0);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(1), 2);
	OK(vellum_mapping_writeback(f.mapping, 0, 2, NULL));
	assert_false(between.was_writable); /* when its bytes were read, a store would have faulted */
	memcpy(&val, f.bytes + BYTES(1), sizeof(val));
	assert_int_equal(val, 22);
	store(w->cpu[0], PAGE(1), 33); /* a later store makes the page dirty again */
	assert_int_equal(nr_dirty(&f), 1);
	between.w = NULL;
	check_world(w);
	unmap(w->mm, 0, 2);
	OK(vellum_mapping_set_size(f.mapping, 0));
	file_destroy(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(store_between_cleaning_and_writing),
		WORLD_TEST(T_dirty_02_write_cycle),
		WORLD_TEST(write_cycle_without_mkwrite),
		WORLD_TEST(T_dirty_03_store_during_writeback),
		WORLD_TEST(pages_are_protected_before_they_are_written),
		WORLD_TEST(T_dirty_04_mkwrite_codes),
		WORLD_TEST(T_dirty_07_mprotect_and_write_notify),
		WORLD_TEST(T_dirty_08_plain_shared_memory),
		WORLD_TEST(all_mappings_are_protected),
		WORLD_TEST(dirty_pages_stay_after_unmap),
		WORLD_TEST(exit_writes_dirty_pages),
		WORLD_TEST(writeback_unmapped_writes_if_no_vma_may),
		WORLD_TEST(errors_keep_pages_dirty),
		WORLD_TEST(background_writeback_works_in_steps),
		WORLD_TEST(writeback_after_a_collection),
		WORLD_TEST(T_sys_06_msync_writes),
		WORLD_TEST(sync_waits_for_another_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
