/* SPDX-License-Identifier: MIT */
/* Swap of shared memory; stores while a page is swapped out; MADV_FREE. */
#include <pthread.h>
#include <sched.h>

#include "swap_support.h"

static struct vellum_mapping *new_shmem(struct world *w, uint64_t pages)
{
	struct vellum_mapping *obj;

	OK(vellum_mapping_create(w->memory, NULL, NULL, pages, 0, &obj));
	return obj;
}

static uint64_t nr_in_ram(struct vellum_mapping *obj)
{
	struct vellum_mapping_info info;

	vellum_mapping_info(obj, &info);
	return info.nr_cached;
}

/* Create shared memory, store to pages 0 to @pages - 1, and swap them out. They are mapped at PAGE(0). */
static struct vellum_mapping *shmem_that_is_out(struct world *w, unsigned pages)
{
	struct vellum_mapping *obj = new_shmem(w, pages);

	map_object(w->mm, 0, pages, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	for (unsigned i = 0; i < pages; i++) {
		store(w->cpu[0], PAGE(i), i + 1);
		store(w->cpu[0], PAGE(i) + 4088, i + 101);
	}
	pageout(w->mm, 0, pages);
	check_world(w);
	assert_int_equal(nr_in_ram(obj), 0);
	assert_int_equal(slots_used(w), pages);
	return obj;
}

static void shared_pages_are_swapped_in(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = shmem_that_is_out(w, 4);
	struct vellum_mm *child;
	uint64_t val = 0;

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(entry_at(w->mm, PAGE(i)).val, 0);
	assert_int_equal(vellum_mm_swapped(w->mm), 0);	/* shared memory does not count */
	child = fork_on(w->mm, w->cpu[1]);
	assert_int_equal(load(w->cpu[1], PAGE(0)), 1);
	store(w->cpu[1], PAGE(1), 20);
	store(w->cpu[0], PAGE(2), 30);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 20);
	assert_int_equal(load(w->cpu[1], PAGE(2)), 30);
	assert_int_equal(load(w->cpu[1], PAGE(2) + 4088), 103);
	assert_int_equal(slots_used(w), 1);
	check_world(w);
	reclaim_all(w);	/* mapped twice */
	assert_int_equal(slots_used(w), 4);
	OK(vellum_mapping_read(obj, BYTES(1), &val, 8));
	assert_int_equal(val, 20);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 4);
	end_child(child, w->cpu[1]);
	unmap(w->mm, 0, 4);
	reclaim_all(w);	/* not mapped */
	assert_int_equal(slots_used(w), 4);
	OK(vellum_mapping_read(obj, BYTES(2), &val, 8));
	assert_int_equal(val, 30);
	vellum_mapping_put(obj);
	check_world(w);
}

static void read_and_write_of_swapped_pages(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	struct vellum_mapping *obj = shmem_that_is_out(w, 4);
	uint64_t buf[513], val = 77;

	OK(vellum_mapping_write(obj, BYTES(1) + 8, &val, 8));	/* the rest of the page is read from the slot */
	OK(vellum_mapping_read(obj, BYTES(1), buf, sizeof(buf)));
	assert_int_equal(buf[0], 2);
	assert_int_equal(buf[1], 77);
	assert_int_equal(buf[511], 102);
	assert_int_equal(buf[512], 3);
	assert_int_equal(slots_used(w), 2);
	sw->disk.read_err = -VELLUM_EIO;
	assert_int_equal(vellum_mapping_read(obj, 0, &val, 8), -VELLUM_EIO);
	assert_int_equal(vellum_mapping_write(obj, 0, &val, 8), -VELLUM_EIO);
	assert_int_equal(try_load(w->cpu[0], PAGE(0)), VELLUM_FAULT_SIGBUS);
	assert_int_equal(try_store(w->cpu[0], PAGE(3), 1), VELLUM_FAULT_SIGBUS);
	check_world(w);
	assert_int_equal(vellum_swap_remove(w->memory, sw->disk.area), -VELLUM_EIO);
	assert_int_equal(slots_used(w), 2);
	sw->disk.read_err = 0;
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
	OK(vellum_swap_remove(w->memory, sw->disk.area));
	assert_int_equal(load(w->cpu[0], PAGE(3)), 4);
	assert_int_equal(slots_used(w), 0);
	vellum_mapping_put(obj);
}

static void write_errors_of_shared_pages(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	struct vellum_mapping *obj = new_shmem(w, 4);

	map_object(w->mm, 0, 4, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	sw->disk.write_err = -VELLUM_ENOSPC;
	pageout(w->mm, 0, 4);
	assert_int_equal(reclaim_all(w), 0);
	assert_int_equal(slots_used(w), 0);
	assert_int_equal(nr_in_ram(obj), 4);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i + 1);
	vellum_mapping_put(obj);
}

/* A caller with a reference may store to the frame, so the page is not swapped out. */
static void referenced_shared_pages_stay(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = new_shmem(w, 2);
	uint64_t pfn, n;

	map_object(w->mm, 0, 2, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	for (unsigned pin = 0; pin < 2; pin++) {
		store(w->cpu[0], PAGE(0), 1);
		store(w->cpu[0], PAGE(1), 2);
		if (pin)
			OK(vellum_pin_pages(w->mm, PAGE(0), 1, VELLUM_GUP_WRITE, &pfn, &n));
		else
			OK(vellum_get_pages(w->mm, PAGE(0), 1, VELLUM_GUP_WRITE, &pfn, &n));
		pageout(w->mm, 0, 2);
		reclaim_all(w);
		assert_int_equal(slots_used(w), 1);
		*(uint64_t *)pfn_host(w->memory, pfn) = 5;
		assert_int_equal(load(w->cpu[0], PAGE(0)), 5);
		if (pin)
			vellum_unpin_pages_dirty(w->memory, &pfn, 1);
		else
			vellum_put_pages(w->memory, &pfn, 1);
		assert_int_equal(load(w->cpu[0], PAGE(1)), 2);
	}
	vellum_mapping_put(obj);
}

/* --- the size changes while pages are swapped out --- */

static void truncate_drops_slots(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = shmem_that_is_out(w, 6);

	OK(vellum_mapping_set_size(obj, BYTES(4)));
	check_world(w);
	assert_int_equal(slots_used(w), 4);
	assert_int_equal(try_load(w->cpu[0], PAGE(4)), VELLUM_FAULT_SIGBUS);
	OK(vellum_mapping_set_size(obj, BYTES(6)));
	assert_int_equal(load(w->cpu[0], PAGE(4)), 0);
	OK(vellum_mapping_punch_hole(obj, BYTES(1), BYTES(2)));
	check_world(w);
	assert_int_equal(slots_used(w), 2);
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i == 0 || i == 3 ? i + 1 : 0);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(6), VELLUM_MADV_REMOVE));
	assert_int_equal(load(w->cpu[0], PAGE(3)), 0);
	vellum_mapping_put(obj);
}

/* A part of a swapped page is truncated, then the mapping grows: that part is zero. */
static void partial_page_is_zeroed(void **state)
{
	for (unsigned i = 0; i < 8; i++) {
		struct world *w = *state;
		struct vellum_mapping *obj = shmem_that_is_out(w, 3);
		uint64_t words[2];

		OK(vellum_mapping_set_size(obj, BYTES(1) + 8));
		if (i & 4)
			assert_int_equal(load(w->cpu[0], PAGE(1) + 4088), 0);
		if (i & 1)
			pageout(w->mm, 0, 2);
		if (i & 2)
			reclaim_all(w);
		OK(vellum_mapping_set_size(obj, BYTES(3)));
		check_world(w);
		OK(vellum_mapping_read(obj, BYTES(1), &words[0], 8));
		OK(vellum_mapping_read(obj, BYTES(2) - 8, &words[1], 8));
		assert_int_equal(words[0], 2);
		assert_int_equal(words[1], 0);
		assert_int_equal(load(w->cpu[0], PAGE(1) + 4088), 0);
		assert_int_equal(load(w->cpu[0], PAGE(2)), 0);
		assert_int_equal(load(w->cpu[0], PAGE(0) + 4088), 101);
		unmap(w->mm, 0, 3);
		vellum_mapping_put(obj);
	}
}

/* Stores beyond the end, in the last page, which is then swapped out: the bytes are zero when the mapping grows. */
static void stores_beyond_the_end(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = new_shmem(w, 1);

	map_object(w->mm, 0, 1, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	OK(vellum_mapping_set_size(obj, 100));
	store(w->cpu[0], PAGE(0), 5);
	store(w->cpu[0], PAGE(0) + 2048, 6);
	pageout(w->mm, 0, 1);
	assert_int_equal(slots_used(w), 1);
	OK(vellum_mapping_set_size(obj, 4096));
	assert_int_equal(load(w->cpu[0], PAGE(0)), 5);
	assert_int_equal(load(w->cpu[0], PAGE(0) + 2048), 0);
	check_world(w);
	vellum_mapping_put(obj);
}

static void unreadable_last_page(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	struct vellum_mapping *obj = shmem_that_is_out(w, 2);

	sw->disk.read_err = -VELLUM_EIO;
	assert_int_equal(vellum_mapping_punch_hole(obj, 4000, 20), -VELLUM_EIO);
	OK(vellum_mapping_set_size(obj, BYTES(1) + 8));
	assert_int_equal(vellum_mapping_set_size(obj, BYTES(2)), -VELLUM_EIO);
	assert_int_equal(vellum_mapping_size(obj), BYTES(1) + 8);
	check_world(w);
	sw->disk.read_err = 0;
	OK(vellum_mapping_punch_hole(obj, 4080, 8));
	OK(vellum_mapping_set_size(obj, BYTES(2)));
	assert_int_equal(load(w->cpu[0], PAGE(1)), 2);
	assert_int_equal(load(w->cpu[0], PAGE(1) + 4088), 0);
	assert_int_equal(load(w->cpu[0], PAGE(0) + 4088), 101);
	vellum_mapping_put(obj);
}

/* --- private VMAs of shared memory --- */

static void T_uffd_04_private_swap(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = shmem_that_is_out(w, 2);
	struct vellum_uffd *uffd;
	struct vellum_uffd_msg msg;
	uint32_t got;

	map_object(w->mm, 8, 2, RW, VELLUM_MAP_PRIVATE, obj, 0, RO);
	uffd = register_wp(w->mm, 8, 2,
			   VELLUM_UFFD_FEATURE_WP_ASYNC | VELLUM_UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
	store(w->cpu[0], PAGE(8), 80);	/* a copy of a swapped page */
	assert_int_equal(load(w->cpu[0], PAGE(8) + 4088), 101);
	wp(uffd, 8, 2);
	pageout(w->mm, 8, 2);
	check_world(w);
	assert_true(is_out(w->mm, PAGE(8)) && pte_swp_uffd_wp(entry_at(w->mm, PAGE(8))));
	dontneed(w->mm, 8, 1);
	check_world(w);
	assert_int_equal(pte_marker_bits(entry_at(w->mm, PAGE(8))), MARKER_UFFD_WP);
	assert_true(pagemap_word(w->mm, PAGE(8)) & VELLUM_PM_UFFD_WP);
	assert_int_equal(load(w->cpu[0], PAGE(8)), 1);	/* the shared page again */
	assert_true(pte_uffd_wp(entry_at(w->mm, PAGE(8))) && !has_w(w->mm, PAGE(8)));
	store(w->cpu[0], PAGE(8), 81);
	assert_false(pte_uffd_wp(entry_at(w->mm, PAGE(8))));
	assert_int_equal(vellum_uffd_read(uffd, &msg, 1, false, &got),
			 -VELLUM_EAGAIN); /* WP_ASYNC sends no message */
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
	vellum_uffd_put(uffd);
	vellum_mapping_put(obj);
}

static void holes_keep_private_copies(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = shmem_that_is_out(w, 4);

	map_object(w->mm, 8, 4, RW, VELLUM_MAP_PRIVATE, obj, 0, RO);
	store(w->cpu[0], PAGE(8), 80);
	store(w->cpu[0], PAGE(10), 100);
	reclaim_all(w);
	assert_int_equal(slots_used(w), 6);
	assert_int_equal(vellum_mm_swapped(w->mm), 2);
	OK(vellum_mapping_punch_hole(obj, 0, BYTES(1)));	/* private copies stay, swapped out or not */
	assert_int_equal(slots_used(w), 5);
	assert_int_equal(load(w->cpu[0], PAGE(8)), 80);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 0);
	OK(vellum_mapping_set_size(obj, BYTES(2)));		/* private copies are dropped, too */
	check_world(w);
	assert_int_equal(vellum_mm_swapped(w->mm), 0);
	assert_int_equal(slots_used(w), 1);
	assert_int_equal(try_load(w->cpu[0], PAGE(10)), VELLUM_FAULT_SIGBUS);
	assert_int_equal(load(w->cpu[0], PAGE(9)), 2);
	vellum_mapping_put(obj);
}

/* A protected shared page that is swapped out leaves a marker with the protection. */
static void T_uffd_03_shared_swap(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = new_shmem(w, 2);
	struct vellum_uffd *uffd;

	map_object(w->mm, 0, 2, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	uffd = register_wp(w->mm, 0, 2,
			   VELLUM_UFFD_FEATURE_WP_ASYNC | VELLUM_UFFD_FEATURE_WP_HUGETLBFS_SHMEM);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(1), 2);
	wp(uffd, 0, 1);
	pageout(w->mm, 0, 2);
	check_world(w);
	assert_int_equal(slots_used(w), 2);
	assert_int_equal(pte_marker_bits(entry_at(w->mm, PAGE(0))), MARKER_UFFD_WP);
	assert_int_equal(entry_at(w->mm, PAGE(1)).val, 0);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
	assert_true(pte_uffd_wp(entry_at(w->mm, PAGE(0))) && !has_w(w->mm, PAGE(0)));
	store(w->cpu[0], PAGE(0), 3);
	assert_false(pte_uffd_wp(entry_at(w->mm, PAGE(0))));
	check_world(w);
	vellum_uffd_put(uffd);
	vellum_mapping_put(obj);
}

/* --- stores while a page is swapped out --- */

struct window {
	struct swap_world *sw;
	unsigned flushes, flushes_at_write, stores;
	uint64_t addr, val;
	struct vellum_mapping *obj;
	pthread_t thread;
	unsigned started, joined;
};

/* A CPU stores by its translation: the entry is removed, the flush is still missing. */
static void store_in_window(void *arg)
{
	struct window *win = arg;

	win->flushes++;
	if (!win->stores++)
		store(win->sw->w.cpu[0], win->addr, win->val);
}

static void note_write(void *arg, uint64_t slot)
{
	struct window *win = arg;

	(void)slot;
	win->flushes_at_write = win->flushes;
}

static void T_tlb_03_store_before_flush(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	struct window win = { .sw = sw, .addr = PAGE(0), .val = 99 };

	for (unsigned shared = 0; shared < 2; shared++) {
		map_at(w->mm, 0, 1, RW, shared ? SHANON : ANON);
		OK(vellum_soft_set_hostile(w->soft, VELLUM_SOFT_KEEP));
		store(w->cpu[0], PAGE(0), 1);	/* the CPU caches W and D */
		win.flushes = win.stores = 0;
		sw->disk.on_write = note_write;
		sw->disk.arg = &win;
		vellum_soft_set_flush_hook(w->soft, store_in_window, &win);
		pageout(w->mm, 0, 1);
		vellum_soft_set_flush_hook(w->soft, NULL, NULL);
		sw->disk.on_write = NULL;
		check_world(w);
		assert_int_equal(win.stores, 1);
		assert_int_equal(win.flushes_at_write, 1);	/* the write came after the flush */
		assert_int_equal(slots_used(w), 1);
		assert_int_equal(load(w->cpu[0], PAGE(0)), 99);
		OK(vellum_soft_set_hostile(w->soft, 0));
		unmap(w->mm, 0, 1);
	}
}

static void *store_from_thread(void *arg)
{
	struct window *win = arg;

	__atomic_store_n(&win->started, 1, __ATOMIC_RELEASE);
	if (win->obj)
		win->joined = !vellum_mapping_write(win->obj, 0, &win->val, 8);
	else
		win->joined = try_store(win->sw->w.cpu[1], win->addr, win->val) == VELLUM_FAULT_OK;
	return NULL;
}

/* The page's bytes were passed to the disk. Now a store comes, by a CPU or through the mapping. */
static void start_store(void *arg, uint64_t slot)
{
	struct window *win = arg;

	(void)slot;
	win->sw->disk.after_write = NULL;
	must_in_thread(!pthread_create(&win->thread, NULL, store_from_thread, win));
	while (!__atomic_load_n(&win->started, __ATOMIC_ACQUIRE))
		sched_yield();
	for (unsigned i = 0; i < 200; i++)	/* time for the store; the test does not depend on it */
		sched_yield();
}

/* 0: a private page, by a CPU. 1: a shared page, by a CPU. 2: a shared page, through the mapping. */
static void T_tlb_03_store_during_write(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;

	for (unsigned way = 0; way < 3; way++) {
		struct window win = { .sw = sw, .addr = PAGE(0), .val = 99 };
		struct vellum_mapping *obj = new_shmem(w, 1);

		map_object(w->mm, 0, 1, RW, way ? VELLUM_MAP_SHARED : ANON, way ? obj : NULL, 0,
			   way ? RW : 0);
		win.obj = way == 2 ? obj : NULL;
		store(w->cpu[0], PAGE(0) + 8, 1);
		vellum_soft_load_mm(w->cpu[1], w->mm);
		sw->disk.arg = &win;
		sw->disk.after_write = start_store;
		pageout(w->mm, 0, 1);
		assert_int_equal(win.started, 1);
		pthread_join(win.thread, NULL);
		assert_int_equal(win.joined, 1);
		vellum_soft_load_mm(w->cpu[1], NULL);
		check_world(w);
		assert_int_equal(load(w->cpu[0], PAGE(0)), 99);
		assert_int_equal(load(w->cpu[0], PAGE(0) + 8), 1);
		unmap(w->mm, 0, 1);
		vellum_mapping_put(obj);
		assert_int_equal(slots_used(w), 0);
	}
}

/* --- MADV_FREE --- */

static void madv_free(struct world *w, unsigned at, unsigned pages)
{
	OK(vellum_madvise(w->mm, PAGE(at), BYTES(pages), VELLUM_MADV_FREE));
	check_world(w);
}

static void T_pte_04_lazyfree(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;

	map_at(w->mm, 0, 4, RW, ANON);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	pageout(w->mm, 3, 1);
	madv_free(w, 0, 4);
	for (unsigned i = 0; i < 3; i++) {
		pte_t pte = entry_at(w->mm, PAGE(i));

		assert_true(pte_write(pte) && pte_soft_dirty(pte));
		assert_false(pte_dirty(pte) || pte_young(pte));
	}
	assert_int_equal(entry_at(w->mm, PAGE(3)).val, 0);	/* a swapped page is freed at once */
	assert_int_equal(slots_used(w), 0);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 2);		/* a load: the page may still be dropped */
	store(w->cpu[0], PAGE(2), 33);				/* no fault, as W was kept */
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_REUSE), 0);
	reclaim_all(w);
	assert_int_equal(entry_at(w->mm, PAGE(0)).val, 0);
	assert_int_equal(entry_at(w->mm, PAGE(1)).val, 0);
	reclaim_all(w);
	assert_int_equal(sw->disk.writes, 2);			/* pages 3 and 2 */
	assert_true(is_out(w->mm, PAGE(2)));
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i == 2 ? 33 : 0);
	check_world(w);
}

/* A store without D in the entry: a tracker has removed D, or the owner of a pin stored. */
static void T_pte_04_lazyfree_stored_without_d(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	struct vellum_tracker *t;
	uint64_t pfn, done;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(1), 1);
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(2), VELLUM_TRACK_CLEAN, &t));
	madv_free(w, 0, 2);
	store(w->cpu[0], PAGE(0), 2);
	collect(t, PAGE(0) >> 12);
	assert_false(has_d(w->mm, PAGE(0)));
	OK(vellum_pin_pages(w->mm, PAGE(1), 1, VELLUM_GUP_WRITE, &pfn, &done));
	OK(vellum_madvise(w->mm, PAGE(1), BYTES(1), VELLUM_MADV_FREE));
	*(uint64_t *)vellum_frame_host(w->memory, pfn) = 3;
	vellum_unpin_pages_dirty(w->memory, &pfn, 1);
	reclaim_all(w);
	reclaim_all(w);
	assert_true(is_out(w->mm, PAGE(0)));
	assert_int_equal(load(w->cpu[0], PAGE(0)), 2);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 3);
	check_world(w);
	vellum_tracker_destroy(t);
}

/* A store after the entry was checked, before the flush. */
static void T_pte_04_lazyfree_store_in_window(void **state)
{
	struct swap_world *sw = *state;
	struct world *w = &sw->w;
	struct window win = { .sw = sw, .addr = PAGE(0), .val = 99 };

	OK(vellum_soft_set_hostile(w->soft, VELLUM_SOFT_KEEP));
	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	vellum_soft_set_flush_hook(w->soft, store_in_window, &win);
	madv_free(w, 0, 1); /* a store in its window is older than the advice */
	vellum_soft_set_flush_hook(w->soft, NULL, NULL);
	assert_int_equal(win.stores, 1);
	store(w->cpu[0], PAGE(0) + 8, 2);	/* this store is later than the advice */
	assert_true(has_d(w->mm, PAGE(0)));
	vellum_reclaim(w->memory, 1000);
	assert_int_equal(load(w->cpu[0], PAGE(0) + 8), 2);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 99);
	check_world(w);
}

/* An extra reference keeps the page. */
static void T_pte_04_lazyfree_referenced(void **state)
{
	struct world *w = *state;
	uint64_t pfn, got, now;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	madv_free(w, 0, 1);
	OK(vellum_get_pages(w->mm, PAGE(0), 1, 0, &pfn, &got));
	vellum_reclaim(w->memory, 1000);
	check_world(w);
	now = load(w->cpu[0], PAGE(0));
	vellum_put_pages(w->memory, &pfn, 1);
	assert_int_equal(now, 1);
}

static void T_pte_04_lazyfree_and_fork(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t val;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(1), 2);
	child = fork_on(w->mm, w->cpu[1]);
	madv_free(w, 0, 2);	/* shared: the parent may not drop it */
	reclaim_all(w);
	assert_int_equal(load(w->cpu[1], PAGE(0)), 1);
	end_child(child, w->cpu[1]);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(1), 2);
	madv_free(w, 0, 2);
	child = fork_on(w->mm, w->cpu[1]);
	store(w->cpu[0], PAGE(0), 10);
	store(w->cpu[1], PAGE(1), 20);
	reclaim_all(w);
	reclaim_all(w);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 10);
	assert_int_equal(load(w->cpu[1], PAGE(1)), 20);
	val = load(w->cpu[1], PAGE(0));
	assert_true(val == 1 || val == 0);
	val = load(w->cpu[0], PAGE(1));
	assert_true(val == 2 || val == 0);
	check_world(w);
	end_child(child, w->cpu[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWAP_TEST(shared_pages_are_swapped_in),
		SWAP_TEST(read_and_write_of_swapped_pages),
		SWAP_TEST(write_errors_of_shared_pages),
		SWAP_TEST(referenced_shared_pages_stay),
		SWAP_TEST(truncate_drops_slots),
		SWAP_TEST(partial_page_is_zeroed),
		SWAP_TEST(stores_beyond_the_end),
		SWAP_TEST(unreadable_last_page),
		SWAP_TEST(T_uffd_04_private_swap),
		SWAP_TEST(holes_keep_private_copies),
		SWAP_TEST(T_uffd_03_shared_swap),
		SWAP_TEST(T_tlb_03_store_before_flush),
		SWAP_TEST(T_tlb_03_store_during_write),
		SWAP_TEST(T_pte_04_lazyfree),
		SWAP_TEST(T_pte_04_lazyfree_stored_without_d),
		SWAP_TEST(T_pte_04_lazyfree_store_in_window),
		SWAP_TEST(T_pte_04_lazyfree_referenced),
		SWAP_TEST(T_pte_04_lazyfree_and_fork),
	};

	return cmocka_run_group_tests_name("swap_shared", tests, NULL, NULL);
}
