/* SPDX-License-Identifier: MIT */
/* userfaultfd: asynchronous protection, huge pages, stores before and after the flush. */
#include "uffd_support.h"

#define WRITE_WP (VELLUM_UFFD_FLAG_WRITE | VELLUM_UFFD_FLAG_WP)

/* --- WP_ASYNC --- */

static void T_uffd_08_async_resolves_by_itself(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, ASYNC);

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 4, 4, RW, SHANON);
	store(w->cpu[0], PAGE(1), 1);
	store(w->cpu[0], PAGE(5), 1);
	enrol(w, u, 0, 8, WP);
	guard_writes(w, u, 0, 8);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(word(w, i) & VELLUM_PM_UFFD_WP, VELLUM_PM_UFFD_WP);
	store_passes(w, u, 1, 81);
	store_passes(w, u, 2, 82); /* from a marker */
	store_passes(w, u, 5, 85);
	store_passes(w, u, 6, 86);
	for (unsigned i = 0; i < 8; i++) {
		bool stored = i == 1 || i == 2 || i == 5 || i == 6;

		assert_int_equal(!(word(w, i) & VELLUM_PM_UFFD_WP), stored);
		assert_int_equal(load(w->cpu[0], PAGE(i)), stored ? 80 + i : 0);
	}
	check_world(w);
	vellum_uffd_put(u);
}

static void map_huge(struct world *w, unsigned at)
{
	map_at(w->mm, at, 512, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(at), BYTES(512), VELLUM_MADV_HUGEPAGE));
	store(w->cpu[0], PAGE(at), 1);
	check_world(w);
	assert_int_equal(vellum_mm_rss(w->mm), 512);
	assert_int_equal(entry_at(w->mm, PAGE(at)).val, 0); /* no table */
}

static unsigned nr_protected(struct world *w, unsigned at)
{
	unsigned nr = 0;

	for (unsigned i = 0; i < 512; i++)
		nr += word(w, at + i) == IS_WP_PAGE;
	return nr;
}

static void T_uffd_08_async_huge(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, ASYNC);

	map_huge(w, 512);
	store(w->cpu[0], PAGE(519), 4);
	enrol(w, u, 512, 512, WP);
	guard_writes(w, u, 512, 512);
	assert_int_equal(entry_at(w->mm, PAGE(512)).val, 0); /* protected without a split */
	assert_int_equal(nr_protected(w, 512), 512);
	store_passes(w, u, 519, 87);
	assert_int_equal(nr_protected(w, 512), 511);
	assert_word(w, 519, IS_PAGE);
	assert_int_equal(load(w->cpu[0], PAGE(519)), 87);
	assert_int_equal(load(w->cpu[0], PAGE(512)), 1);
	vellum_uffd_put(u);
}

/* One message for the huge page. Resolving a part splits it. */
static void sync_protection_of_a_huge_page(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct job job;

	map_huge(w, 512);
	enrol(w, u, 512, 512, WP);
	guard_writes(w, u, 512, 512);
	start_store(w, &job, PAGE(520) + 24, 88);
	says_fault(u, &job, PAGE(520), WRITE_WP);
	assert_int_equal(entry_at(w->mm, PAGE(512)).val, 0);
	resolve(u, 520, 1);
	ends(&job);
	assert_int_equal(nr_protected(w, 512), 511);
	guard_writes(w, u, 512, 512);
	resolve(u, 512, 512);
	check_world(w);
	assert_int_equal(nr_protected(w, 512), 0);
	store_passes(w, u, 600, 1);
	vellum_uffd_put(u);
}

/* Half a huge page. */
static void protecting_a_part_splits(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);

	map_huge(w, 512);
	enrol(w, u, 512, 512, WP);
	guard_writes(w, u, 512, 256);
	assert_int_equal(nr_protected(w, 512), 256);
	store_passes(w, u, 512 + 256, 1);
	store_waits(w, u, 512 + 255, 2);
	vellum_uffd_put(u);
}

/* --- stale translations --- */

struct window {
	struct world *w;
	struct job job;
	bool open;
};

/* The entry is protected, but the TLBs are not flushed yet. */
static void store_by_stale_translation(void *arg)
{
	struct window *win = arg;
	struct world *w = win->w;

	if (!win->open)
		return;
	win->open = false;
	store(w->cpu[0], PAGE(0), 91);
	start_access(w, &win->job, 2, job_store, PAGE(0) + 8, 92);
	for (unsigned i = 0; i < 100; i++)
		sched_yield(); /* gives the other store time; the test does not depend on it */
	store(w->cpu[0], PAGE(0) + 16, 93);
}

static void T_uffd_09_no_store_is_lost_before_the_flush(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, ASYNC);
	struct window win = {.w = w};

	map_at(w->mm, 0, 2, RW, ANON);
	enrol(w, u, 0, 2, WP);
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 3; i++)
			store(w->cpu[0], PAGE(0) + 8 * i, 0);
		win.open = true;
		vellum_soft_set_flush_hook(w->soft, store_by_stale_translation, &win);
		OK(vellum_uffd_writeprotect(u, BASE, BYTES(2), VELLUM_UFFD_WRITEPROTECT_WP));
		assert_false(win.open);
		ends(&win.job);
		vellum_soft_set_flush_hook(w->soft, NULL, NULL);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(load(w->cpu[0], PAGE(0) + 8 * i), 91 + i);
		says_nothing(u);
	}
	vellum_uffd_put(u);
}

/* When the call returns, no translation allows a store. */
static void protection_is_flushed(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct job job;

	map_at(w->mm, 0, 1, RW, ANON);
	enrol(w, u, 0, 1, WP);
	vellum_soft_load_mm(w->cpu[1], w->mm);
	store(w->cpu[1], PAGE(0), 1);
	guard_writes(w, u, 0, 1);
	job = (struct job){.cpu = w->cpu[1], .addr = PAGE(0), .val = 2};
	start(w, &job, job_store); /* without a flush */
	says_fault(u, &job, PAGE(0), WRITE_WP);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
	resolve(u, 0, 1);
	ends(&job);
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(T_uffd_08_async_resolves_by_itself),
		WORLD_TEST(T_uffd_08_async_huge),
		WORLD_TEST(sync_protection_of_a_huge_page),
		WORLD_TEST(protecting_a_part_splits),
		WORLD_TEST(T_uffd_09_no_store_is_lost_before_the_flush),
		WORLD_TEST(protection_is_flushed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
