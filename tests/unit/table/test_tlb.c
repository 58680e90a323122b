/* SPDX-License-Identifier: MIT */
/* Stale translations: other CPUs may use them inside a flush window, but not after it. */
#include "more_support.h"
#include "mm/space/space.h"

/* What CPU 1 does once, when the next flush begins and no TLB is flushed yet. */
struct window {
	struct world *w;
	void (*fn)(struct window *win);
	unsigned flushes; /* number of flush windows */
	uint64_t addr, val;
	uint64_t seen; /* the result of @fn */
	enum vellum_fault_result result;
};

static void flush_begins(void *arg)
{
	struct window *win = arg;
	void (*fn)(struct window * win) = win->fn;

	win->flushes++;
	win->fn = NULL; /* once, and not for flushes that @fn causes */
	if (fn)
		fn(win);
}

/* CPU 1 runs the address space of CPU 0, and the hook is set. */
static struct window *open_window(struct world *w, void (*fn)(struct window *win), uint64_t addr,
				  uint64_t val)
{
	static struct window win;

	win = (struct window){.w = w, .fn = fn, .addr = addr, .val = val};
	vellum_soft_set_flush_hook(w->soft, flush_begins, &win);
	return &win;
}

static void second_cpu(struct world *w)
{
	vellum_soft_load_mm(w->cpu[1], w->mm);
}

static void store_in_window(struct window *win)
{
	win->result = try_store(win->w->cpu[1], win->addr, win->val);
}

static void done(struct world *w)
{
	vellum_soft_set_flush_hook(w->soft, NULL, NULL);
	vellum_soft_load_mm(w->cpu[1], NULL);
}

/* --- the software TLB --- */

static void a_tlb_hit_does_not_change_the_entry(void **state)
{
	struct world *w = *state;
	pte_t clean;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], BASE, 1);
	clean = pte_mkold(pte_mkclean(entry_at(w->mm, BASE)));
	set_entry_at(w->mm, BASE, clean); /* without a flush */
	store(w->cpu[0], BASE, 2);
	assert_int_equal(entry_at(w->mm, BASE).val, clean.val);
	vellum_soft_load_mm(w->cpu[0], w->mm); /* flushes the TLB */
	store(w->cpu[0], BASE, 3);
	assert_int_equal(entry_at(w->mm, BASE).val, clean.val | X86_ACCESSED | X86_DIRTY);
}

/* A load caches an entry with W, without D: the store walks and sets D. */
static void store_by_a_clean_translation_sets_d(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 1, RW, SHANON);
	load(w->cpu[0], BASE);
	assert_true(has_w(w->mm, BASE));
	assert_false(has_d(w->mm, BASE));
	store(w->cpu[0], BASE, 1);
	assert_true(entry_at(w->mm, BASE).val & X86_DIRTY);
}

static void stale_translation_outlives_its_entry(void **state)
{
	struct world *w = *state;
	pte_t pte;

	map_at(w->mm, 0, 1, RW, ANON);
	second_cpu(w);
	store(w->cpu[1], BASE, 1);
	pte = entry_at(w->mm, BASE);
	set_entry_at(w->mm, BASE, pte_make(0));
	store(w->cpu[1], BASE, 2); /* uses the stale translation */
	assert_int_equal(*(uint64_t *)vellum_frame_host(w->memory, pte_pfn(pte)), 2);
	assert_int_equal(entry_at(w->mm, BASE).val, 0);
	set_entry_at(w->mm, BASE, pte);
	done(w);
}

/* More pages than the TLB has entries: an access to an evicted page walks again. */
static void evicted_translations_walk_again(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 1024, RW, ANON);
	for (unsigned i = 0; i < 1024; i++)
		store(w->cpu[0], PAGE(i), i);
	for (unsigned i = 0; i < 1024; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i);
	unmap(w->mm, 0, 1024);
	for (unsigned i = 0; i < 1024; i += 31)
		assert_int_equal(try_load(w->cpu[0], PAGE(i)), VELLUM_FAULT_SIGSEGV_MAPERR);
}

/* --- zap --- */

static void note_lock_and_store(struct window *win)
{
	struct mutex *ptl;

	pte_lookup(win->w->mm, win->addr, &ptl);
	win->seen = mutex_is_locked(ptl);
	store_in_window(win);
}

static void T_tlb_01_zap_dirty_shared(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj;
	struct window *win;
	uint64_t val = 0;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 4, 0, &obj));
	map_object(w->mm, 0, 4, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	second_cpu(w);
	store(w->cpu[1], PAGE(1), 1);
	win = open_window(w, note_lock_and_store, PAGE(1), 2);
	dontneed(w->mm, 0, 4);
	assert_int_equal(win->flushes, 1);
	assert_true(win->seen); /* the flush came before the page-table lock was dropped */
	assert_int_equal(win->result, VELLUM_FAULT_OK);
	OK(vellum_mapping_read(obj, BYTES(1), &val, 8));
	assert_int_equal(val, 2);
	assert_true(pte_none(entry_at(w->mm, PAGE(1))));
	unmap(w->mm, 0, 4);
	assert_int_equal(try_store(w->cpu[1], PAGE(1), 3), VELLUM_FAULT_SIGSEGV_MAPERR);
	vellum_mapping_put(obj);
	done(w);
}

static void note_free_frames(struct window *win)
{
	win->seen = free_frames(win->w);
	store_in_window(win);
}

/* Pages and tables are freed only after the flush. */
static void frames_are_freed_after_the_flush(void **state)
{
	struct world *w = *state;
	uint64_t before, empty;
	struct window *win;

	empty = free_frames(w);
	map_at(w->mm, 0, 200, RW, ANON);
	second_cpu(w);
	for (unsigned i = 0; i < 200; i++)
		store(w->cpu[1], PAGE(i), i);
	before = free_frames(w);
	win = open_window(w, note_free_frames, PAGE(60), 1);
	dontneed(w->mm, 0, 100);
	assert_int_equal(win->seen, before);
	assert_int_equal(win->result, VELLUM_FAULT_OK);
	assert_int_equal(free_frames(w), before + 100);
	assert_int_equal(load(w->cpu[1], PAGE(60)), 0);
	store(w->cpu[1], PAGE(199), 1);
	before = free_frames(w);
	win = open_window(w, note_free_frames, PAGE(199), 1);
	unmap(w->mm, 0, 200);
	assert_int_equal(win->seen, before);
	assert_int_equal(free_frames(w), empty);
	done(w);
}

static void a_large_zap_flushes_in_batches(void **state)
{
	struct world *w = *state;
	struct window *win;

	map_at(w->mm, 0, 1000, RW, ANON);
	second_cpu(w);
	for (unsigned i = 0; i < 1000; i++)
		store(w->cpu[1], PAGE(i), i);
	win = open_window(w, note_free_frames, PAGE(900), 1);
	unmap(w->mm, 0, 1000);
	assert_in_range(win->flushes, 2, 100);
	assert_int_equal(win->result, VELLUM_FAULT_OK);
	for (unsigned i = 0; i < 1000; i += 99)
		assert_int_equal(try_load(w->cpu[1], PAGE(i)), VELLUM_FAULT_SIGSEGV_MAPERR);
	done(w);
}

/* --- copy on write --- */

static void note_entry(struct window *win)
{
	win->seen = entry_at(win->w->mm, win->addr).val;
	win->val = load(win->w->cpu[1], win->addr);
}

static void T_tlb_02_cow(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	struct window *win;
	pfn_t old;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], BASE, 1);
	old = pte_pfn(entry_at(w->mm, BASE));
	child = fork_on(w->mm, w->cpu[2]);
	second_cpu(w);
	assert_int_equal(load(w->cpu[1], BASE), 1); /* caches the old page */
	win = open_window(w, note_entry, BASE, 0);
	store(w->cpu[0], BASE, 2);
	assert_int_equal(win->seen, 0); /* cleared, then flushed, then set */
	assert_int_equal(win->val, 1);
	assert_int_not_equal(pte_pfn(entry_at(w->mm, BASE)), old);
	assert_int_equal(load(w->cpu[1], BASE), 2);
	assert_int_equal(load(w->cpu[2], BASE), 1);
	end_child(child, w->cpu[2]);
	done(w);
}

static void T_fork_08_stale_writer(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	struct window *win;

	map_at(w->mm, 0, 2, RW, ANON);
	second_cpu(w);
	store(w->cpu[1], BASE, 1);
	win = open_window(w, store_in_window, BASE, 2);
	child = fork_on(w->mm, w->cpu[2]);
	assert_int_equal(win->flushes, 1);
	assert_int_equal(win->result, VELLUM_FAULT_OK);
	store(w->cpu[1], BASE, 3); /* must copy, as the child runs already */
	assert_int_equal(load(w->cpu[2], BASE), 2);
	assert_int_equal(load(w->cpu[0], BASE), 3);
	end_child(child, w->cpu[2]);
	done(w);
}

/* --- rights --- */

static void store_in_the_window_of_mprotect(void **state)
{
	struct world *w = *state;
	struct window *win;

	map_at(w->mm, 0, 2, RW, ANON);
	second_cpu(w);
	store(w->cpu[1], BASE, 1);
	win = open_window(w, store_in_window, BASE, 2);
	protect(w->mm, 0, 2, RO);
	assert_int_equal(win->result, VELLUM_FAULT_OK);
	assert_int_equal(try_store(w->cpu[1], BASE, 3), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(load(w->cpu[0], BASE), 2);
	win = open_window(w, NULL, 0, 0);
	protect(w->mm, 0, 2, 0);
	assert_int_equal(win->flushes, 1);
	assert_int_equal(try_load(w->cpu[1], BASE), VELLUM_FAULT_SIGSEGV_ACCERR);
	done(w);
}

static void store_in_the_window_of_mremap(void **state)
{
	struct world *w = *state;
	struct window *win;
	uint64_t addr;

	map_at(w->mm, 0, 2, RW, ANON);
	map_at(w->mm, 2, 1, RO, ANON);
	second_cpu(w);
	store(w->cpu[1], BASE, 1);
	win = open_window(w, note_lock_and_store, BASE, 2);
	OK(vellum_mremap(w->mm, BASE, BYTES(2), BYTES(3), VELLUM_MREMAP_MAYMOVE, &addr));
	assert_true(win->seen);
	assert_int_equal(win->result, VELLUM_FAULT_OK);
	assert_int_equal(try_store(w->cpu[1], BASE, 3), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(load(w->cpu[0], addr), 2);
	done(w);
}

/* --- the helpers --- */

static struct vellum_mapping *shared_page(struct world *w)
{
	struct vellum_mapping *obj;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 4, 0, &obj));
	map_object(w->mm, 0, 4, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	second_cpu(w);
	store(w->cpu[1], PAGE(1), 1);
	return obj;
}

static void T_wpc_06_store_in_the_window(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = shared_page(w);
	uint64_t bitmap = 0, start = 0, end = 0, val = 0;
	struct window *win = open_window(w, store_in_window, PAGE(1), 2);

	OK(vellum_clean_record_shared_mapping_range(obj, 0, 4, 0, &bitmap, &start, &end, NULL));
	assert_int_equal(win->flushes, 1);
	assert_int_equal(win->result, VELLUM_FAULT_OK);
	assert_false(has_d(w->mm, PAGE(1))); /* the store did not set D ... */
	assert_int_equal(bitmap, 2);
	OK(vellum_mapping_read(obj, BYTES(1), &val, 8));
	assert_int_equal(val, 2);     /* ... but the caller sees its value */
	store(w->cpu[1], PAGE(1), 3); /* after the return, it sets D again */
	assert_true(has_d(w->mm, PAGE(1)));
	vellum_mapping_put(obj);
	done(w);
}

static void store_in_the_window_of_wp(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = shared_page(w);
	struct window *win = open_window(w, store_in_window, PAGE(1), 2);
	uint64_t count, faults;

	OK(vellum_wp_shared_mapping_range(obj, 0, 4, &count));
	assert_int_equal(count, 1);
	assert_int_equal(win->result, VELLUM_FAULT_OK);
	assert_false(has_w(w->mm, PAGE(1)));
	assert_true(has_d(w->mm, PAGE(1)));
	faults = count_of(w, VELLUM_COUNT_FAULT_NOTIFY);
	store(w->cpu[1], PAGE(1), 3); /* must fault */
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_NOTIFY), faults + 1);
	vellum_mapping_put(obj);
	done(w);
}

static void store_in_the_window_of_a_collection(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;
	struct window *win;

	for (unsigned method = 0; method < 2; method++) {
		map_at(w->mm, 0, 4, RW, ANON);
		second_cpu(w);
		OK(vellum_track_mm(w->mm, BASE, PAGE(4), method, &t));
		store(w->cpu[1], PAGE(1), 1);
		win = open_window(w, store_in_window, PAGE(1), 2);
		assert_int_equal(collect(t, BASE >> 12), 2);
		assert_int_equal(win->result, VELLUM_FAULT_OK);
		assert_int_equal(collect(t, BASE >> 12), 0);
		store(w->cpu[1], PAGE(1), 3);
		assert_int_equal(collect(t, BASE >> 12), 2);
		vellum_tracker_destroy(t);
		done(w);
	}
}

/* --- nested windows: entries that another thread changed and has not flushed are stale for this thread, too --- */

static void nested_dontneed_in_window(struct window *win)
{
	dontneed(win->w->mm, 0, 4); /* finds no entry, but must not return before the flush */
	win->seen = load(win->w->cpu[1], win->addr);
}

static void nested_dontneed_waits_for_the_flush(void **state)
{
	struct world *w = *state;
	struct window *win;

	map_at(w->mm, 0, 4, RW, ANON);
	second_cpu(w);
	store(w->cpu[1], PAGE(1), 1);
	win = open_window(w, nested_dontneed_in_window, PAGE(1), 0);
	dontneed(w->mm, 0, 4);
	assert_int_equal(win->seen, 0);
	done(w);
}

static void nested_mprotect_in_window(struct window *win)
{
	protect(win->w->mm, 0, 4, RO); /* the entry has no W already */
	store_in_window(win);
}

static void nested_mprotect_waits_for_the_flush(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = shared_page(w);
	struct window *win = open_window(w, nested_mprotect_in_window, PAGE(1), 2);

	OK(vellum_wp_shared_mapping_range(obj, 0, 4, NULL));
	vellum_mapping_put(obj);
	done(w);
	assert_int_equal(win->result, VELLUM_FAULT_SIGSEGV_ACCERR);
}

static void nested_wp_in_window(struct window *win)
{
	OK(vellum_wp_shared_mapping_range(vma_at(win->w->mm, BASE)->mapping, 0, 4, NULL));
	win->seen = count_of(win->w, VELLUM_COUNT_FAULT_NOTIFY);
	store_in_window(win);
}

static void T_wpc_09_nested_wp(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = shared_page(w);
	struct window *win = open_window(w, nested_wp_in_window, PAGE(1), 2);

	OK(vellum_wp_shared_mapping_range(obj, 0, 4, NULL));
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_NOTIFY), win->seen + 1);
	vellum_mapping_put(obj);
	done(w);
}

/* --- which address spaces are flushed --- */

static void idle_address_spaces_are_not_flushed(void **state)
{
	struct world *w = *state;
	struct window *win = open_window(w, NULL, 0, 0);
	struct vellum_mm *child;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], BASE, 1);
	OK(vellum_fork(w->mm, &child));
	assert_int_equal(win->flushes, 1); /* the parent */
	assert_int_equal(vellum_mm_cpumask(w->mm), 1);
	assert_int_equal(vellum_mm_cpumask(child), 0);
	OK(vellum_munmap(child, BASE, BYTES(4)));
	assert_int_equal(win->flushes, 1);
	assert_int_equal(vellum_mm_counter(child, VELLUM_COUNT_TLB_FLUSHES), 0);
	vellum_mm_put(child);
	vellum_soft_set_flush_hook(w->soft, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(a_tlb_hit_does_not_change_the_entry),
		WORLD_TEST(store_by_a_clean_translation_sets_d),
		WORLD_TEST(stale_translation_outlives_its_entry),
		WORLD_TEST(evicted_translations_walk_again),
		WORLD_TEST(T_tlb_01_zap_dirty_shared),
		WORLD_TEST(frames_are_freed_after_the_flush),
		WORLD_TEST(a_large_zap_flushes_in_batches),
		WORLD_TEST(T_tlb_02_cow),
		WORLD_TEST(T_fork_08_stale_writer),
		WORLD_TEST(store_in_the_window_of_mprotect),
		WORLD_TEST(store_in_the_window_of_mremap),
		WORLD_TEST(T_wpc_06_store_in_the_window),
		WORLD_TEST(store_in_the_window_of_wp),
		WORLD_TEST(store_in_the_window_of_a_collection),
		WORLD_TEST(nested_dontneed_waits_for_the_flush),
		WORLD_TEST(nested_mprotect_waits_for_the_flush),
		WORLD_TEST(T_wpc_09_nested_wp),
		WORLD_TEST(idle_address_spaces_are_not_flushed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
