/* SPDX-License-Identifier: MIT */
/* Device-private pages, and pages of RAM that a device accesses exclusively. */
#include "device_support.h"

static uint64_t gpu_word(struct gpu *gpu, struct vellum_mm *mm, unsigned at)
{
	uint64_t first = pte_swp_pfn(entry_at(mm, PAGE(at))) & (GPU_PAGES - 1), val;

	memcpy(&val, gpu->bytes[first], 8);
	return val;
}

/* --- device-private --- */

static void migration_to_the_device_and_back(void **state)
{
	struct world *w = *state;
	struct gpu *gpu = gpu_create(w, GPU_PAGES);
	uint64_t frames, rss;

	map_at(w->mm, 0, 8, RW, ANON);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	load(w->cpu[0], PAGE(4));	/* the zero page stays */
	frames = free_frames(w);
	rss = vellum_mm_rss(w->mm);
	assert_int_equal(to_gpu(gpu, w->mm, 0, 8), 4);
	check_world(w);
	assert_int_equal(vellum_device_used(gpu->dev), 4);
	assert_int_equal(free_frames(w), frames + 4);
	assert_int_equal(vellum_mm_rss(w->mm), rss - 4);
	assert_int_equal(vellum_device_destroy(gpu->dev), -VELLUM_EBUSY);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(type_at(w->mm, i), SWP_DEVICE_WRITE);
		assert_int_equal(gpu_word(gpu, w->mm, i), i + 1);
		assert_true(pagemap_word(w->mm, PAGE(i)) & VELLUM_PM_SWAP);
	}
	assert_int_equal(to_gpu(gpu, w->mm, 0, 8), 0);	/* on the device already */
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
	store(w->cpu[0], PAGE(1), 20);
	assert_true(is_in(w->mm, PAGE(0)) && has_w(w->mm, PAGE(1)) && has_x(w, PAGE(0)));
	assert_int_equal(gpu->out, 2);
	assert_int_equal(vellum_device_used(gpu->dev), 2);
	unmap(w->mm, 2, 1);
	assert_int_equal(vellum_device_used(gpu->dev), 1);
	dontneed(w->mm, 3, 1);
	assert_int_equal(entry_at(w->mm, PAGE(3)).val, 0);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 0);
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 20);
	gpu_destroy(gpu);
}

/* The core sees no store of a device: a tracker reports each page that was on the device. */
static void pages_that_come_back_are_reported(void **state)
{
	struct world *w = *state;
	struct gpu *gpu = gpu_create(w, GPU_PAGES);
	struct vellum_tracker *t;

	map_at(w->mm, 0, 2, RW, ANON);
	for (unsigned method = VELLUM_TRACK_CLEAN; method <= VELLUM_TRACK_WP; method++) {
		store(w->cpu[0], PAGE(0), 1);
		store(w->cpu[0], PAGE(1), 1);
		OK(vellum_track_mm(w->mm, 0, TASK_SIZE, (enum vellum_track_method)method, &t));
		collect(t, BASE >> 12);
		assert_int_equal(to_gpu(gpu, w->mm, 0, 1), 1);
		collect(t, BASE >> 12);
		memset(gpu->bytes[pte_swp_pfn(entry_at(w->mm, PAGE(0))) & (GPU_PAGES - 1)], 7, 8);
		assert_int_equal(load(w->cpu[0], PAGE(0)), 0x0707070707070707);
		assert_int_equal(collect(t, BASE >> 12), 1);
		vellum_tracker_destroy(t);
	}
	check_world(w);
	gpu_destroy(gpu);
}

static void pinned_swapped_and_shared_pages_stay_in_ram(void **state)
{
	struct world *w = *state;
	struct gpu *gpu = gpu_create(w, GPU_PAGES);
	uint64_t pfn, n, moved = 0;

	map_at(w->mm, 0, 8, RW, ANON);
	map_at(w->mm, 8, 1, RW, SHANON);
	for (unsigned i = 1; i < 9; i++)
		store(w->cpu[0], PAGE(i), i);
	OK(vellum_pin_pages(w->mm, PAGE(1), 1, VELLUM_GUP_WRITE, &pfn, &n));
	OK(vellum_mlock(w->mm, PAGE(2), BYTES(1), 0));
	pageout(w->mm, 3, 1);
	protect(w->mm, 5, 1, RO);
	protect(w->mm, 6, 1, VELLUM_PROT_NONE);
	assert_int_equal(to_gpu(gpu, w->mm, 0, 9), 4);
	check_world(w);
	assert_true(is_in(w->mm, PAGE(1)) && is_in(w->mm, PAGE(2)) && is_in(w->mm, PAGE(8)));
	assert_true(is_out(w->mm, PAGE(3)));
	assert_int_equal(type_at(w->mm, 4), SWP_DEVICE_WRITE);
	assert_int_equal(type_at(w->mm, 5), SWP_DEVICE_READ);
	assert_int_equal(type_at(w->mm, 6), SWP_DEVICE_READ);
	assert_int_equal(try_load(w->cpu[0], PAGE(6)), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(try_store(w->cpu[0], PAGE(5), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	protect(w->mm, 0, 8, RW);
	for (unsigned i = 1; i < 9; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i);
	vellum_unpin_pages(w->memory, &pfn, 1);
	assert_int_equal(vellum_device_migrate(gpu->dev, w->mm, PAGE(0) + 1, 1, &moved), -EINVAL);
	assert_int_equal(vellum_device_migrate(gpu->dev, w->mm, PAGE(100), 1, &moved), -EFAULT);
	gpu_destroy(gpu);
}

static void full_device_takes_some_pages(void **state)
{
	struct world *w = *state;
	struct gpu *gpu = gpu_create(w, 3);

	map_at(w->mm, 0, 8, RW, ANON);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	assert_int_equal(to_gpu(gpu, w->mm, 0, 8), 3);
	check_world(w);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i + 1);
	assert_int_equal(to_gpu(gpu, w->mm, 5, 3), 3);
	unmap(w->mm, 0, 8);
	gpu_destroy(gpu);
}

static void errors_of_the_device(void **state)
{
	struct world *w = *state;
	struct gpu *gpu = gpu_create(w, GPU_PAGES);
	uint64_t frames;
	pte_t before;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	before = entry_at(w->mm, PAGE(0));
	gpu->in_err = -VELLUM_EIO;
	assert_int_equal(to_gpu(gpu, w->mm, 0, 1), 0);
	check_world(w);
	assert_int_equal(gpu->in, 1);
	assert_int_equal(entry_at(w->mm, PAGE(0)).val | X86_ACCESSED, before.val);
	assert_true(has_x(w, PAGE(0)));
	assert_int_equal(vellum_device_used(gpu->dev), 0);
	gpu->in_err = 0;
	assert_int_equal(to_gpu(gpu, w->mm, 0, 1), 1);
	before = entry_at(w->mm, PAGE(0));
	frames = free_frames(w);
	gpu->out_err = -VELLUM_EIO;
	assert_int_equal(try_load(w->cpu[0], PAGE(0)), VELLUM_FAULT_SIGBUS);
	assert_int_equal(try_store(w->cpu[0], PAGE(0), 2), VELLUM_FAULT_SIGBUS);
	check_world(w);
	assert_int_equal(entry_at(w->mm, PAGE(0)).val, before.val);
	assert_int_equal(free_frames(w), frames);
	assert_int_equal(vellum_device_used(gpu->dev), 1);
	gpu->out_err = 0;
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
	gpu_destroy(gpu);
}

/* fork makes write entries read entries, in both. One access migrates the page back for both. */
static void T_fork_07_device_private(void **state)
{
	struct world *w = *state;
	struct gpu *gpu = gpu_create(w, GPU_PAGES);
	struct vellum_uffd *uffd;
	struct vellum_mm *child;

	map_at(w->mm, 0, 3, RW, ANON);
	uffd = register_wp(w->mm, 2, 1, VELLUM_UFFD_FEATURE_WP_ASYNC);
	for (unsigned i = 0; i < 3; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	wp(uffd, 2, 1);
	assert_int_equal(to_gpu(gpu, w->mm, 0, 3), 3);
	assert_true(pte_swp_uffd_wp(entry_at(w->mm, PAGE(2))));
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(type_at(w->mm, i), SWP_DEVICE_READ);
		assert_int_equal(type_at(child, i), SWP_DEVICE_READ);
	}
	assert_true(pte_swp_uffd_wp(entry_at(w->mm, PAGE(2))));
	assert_false(pte_swp_uffd_wp(entry_at(child, PAGE(2))));
	assert_int_equal(vellum_device_used(gpu->dev), 3);
	store(w->cpu[1], PAGE(0), 10);
	store(w->cpu[0], PAGE(1), 20);
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 1);
	assert_int_equal(load(w->cpu[1], PAGE(1)), 2);
	assert_int_equal(gpu->out, 2);
	assert_int_equal(load(w->cpu[1], PAGE(2)), 3);
	assert_true(is_in(w->mm, PAGE(2)) && pte_uffd_wp(entry_at(w->mm, PAGE(2))));
	assert_false(has_w(w->mm, PAGE(2)) || has_w(child, PAGE(2)));
	assert_int_equal(vellum_device_used(gpu->dev), 0);
	check_world(w);
	assert_int_equal(to_gpu(gpu, w->mm, 2, 1), 1);	/* shared by two processes */
	assert_int_equal(vellum_device_used(gpu->dev), 1);
	assert_int_equal(type_at(child, 2), SWP_DEVICE_READ);
	end_child(child, w->cpu[1]);
	assert_int_equal(vellum_device_used(gpu->dev), 1);
	store(w->cpu[0], PAGE(2), 30);
	assert_false(pte_uffd_wp(entry_at(w->mm, PAGE(2))));
	check_world(w);
	unmap(w->mm, 0, 3);
	vellum_uffd_put(uffd);
	gpu_destroy(gpu);
}

/* mprotect and userfaultfd make the entry a read entry. A fault grants W again. */
static void T_pte_01_device_private_rights(void **state)
{
	struct world *w = *state;
	struct gpu *gpu = gpu_create(w, GPU_PAGES);
	struct vellum_uffd *uffd;

	map_at(w->mm, 0, 3, RW, ANON);
	uffd = register_wp(w->mm, 1, 1, VELLUM_UFFD_FEATURE_WP_ASYNC);
	for (unsigned i = 0; i < 3; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	assert_int_equal(to_gpu(gpu, w->mm, 0, 3), 3);
	protect(w->mm, 0, 1, RO);
	assert_int_equal(type_at(w->mm, 0), SWP_DEVICE_READ);
	protect(w->mm, 0, 1, RW);
	assert_int_equal(type_at(w->mm, 0), SWP_DEVICE_READ);
	wp(uffd, 1, 1);
	assert_int_equal(type_at(w->mm, 1), SWP_DEVICE_READ);
	assert_true(pte_swp_uffd_wp(entry_at(w->mm, PAGE(1))));
	protect(w->mm, 1, 1, RO);
	protect(w->mm, 1, 1, RW);
	assert_true(pte_swp_uffd_wp(entry_at(w->mm, PAGE(1))));
	assert_int_equal(load(w->cpu[0], PAGE(1)), 2);
	assert_true(pte_uffd_wp(entry_at(w->mm, PAGE(1))) && !has_w(w->mm, PAGE(1)));
	assert_int_equal(to_gpu(gpu, w->mm, 1, 1), 1);
	assert_true(pte_swp_uffd_wp(entry_at(w->mm, PAGE(1))));
	unwp(uffd, 1, 1);
	assert_false(pte_swp_uffd_wp(entry_at(w->mm, PAGE(1))));
	check_world(w);
	for (unsigned i = 0; i < 3; i++)
		store(w->cpu[0], PAGE(i) + 8, i + 10);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(load(w->cpu[0], PAGE(i)), i + 1);
		assert_true(has_w(w->mm, PAGE(i)) && has_x(w, PAGE(i)));
	}
	check_world(w);
	vellum_uffd_put(uffd);
	gpu_destroy(gpu);
}

/* A store by a stale translation, before the flush, must reach the device. */
static void store_once(void *arg)
{
	struct world *w = *(struct world **)arg;

	if (w)
		store(w->cpu[0], PAGE(0), 99);
	*(struct world **)arg = NULL;
}

static void stores_before_the_flush_reach_the_device(void **state)
{
	struct world *w = *state, *once = w;
	struct gpu *gpu = gpu_create(w, GPU_PAGES);
	uint64_t pfn, val;

	OK(vellum_soft_set_hostile(w->soft, VELLUM_SOFT_KEEP));
	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	vellum_soft_set_flush_hook(w->soft, store_once, &once);
	assert_int_equal(to_gpu(gpu, w->mm, 0, 1), 1);
	assert_null(once);
	assert_int_equal(gpu_word(gpu, w->mm, 0), 99);
	vellum_soft_set_flush_hook(w->soft, NULL, NULL);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 99);
	store(w->cpu[0], PAGE(0), 1);
	once = w;
	vellum_soft_set_flush_hook(w->soft, store_once, &once);
	pfn = make_exclusive(gpu, w->mm, 0);
	vellum_soft_set_flush_hook(w->soft, NULL, NULL);
	assert_null(once);
	memcpy(&val, pfn_host(w->memory, pfn), 8);
	assert_int_equal(val, 99);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 99);
	check_world(w);
	gpu_destroy(gpu);
}

/* --- device-exclusive --- */

static void device_stores(struct world *w, uint64_t pfn, uint64_t val)
{
	memcpy(pfn_host(w->memory, pfn), &val, 8);
}

static void exclusive_access_ends_with_a_fault(void **state)
{
	struct world *w = *state;
	struct gpu *gpu = gpu_create(w, GPU_PAGES);
	uint64_t pfn, frames;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	pfn = make_exclusive(gpu, w->mm, 0);
	check_world(w);
	assert_int_equal(type_at(w->mm, 0), SWP_DEVICE_EXCL_WRITE);
	assert_int_equal(gpu->told, 0);
	device_stores(w, pfn, 2);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 2);
	assert_int_equal(gpu->told, 1);
	assert_int_equal(gpu->told_pfn, pfn);
	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(0))), pfn);
	assert_true(has_x(w, PAGE(0)));
	check_world(w);
	pfn = make_exclusive(gpu, w->mm, 1);	/* was none */
	device_stores(w, pfn, 3);
	store(w->cpu[0], PAGE(1) + 8, 4);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 3);
	store(w->cpu[0], PAGE(2), 5);
	pageout(w->mm, 2, 1);
	pfn = make_exclusive(gpu, w->mm, 2);	/* was swapped out */
	assert_int_equal(slots_used(w), 0);
	reclaim_all(w);				/* the device's page is not reclaimed */
	device_stores(w, pfn, 6);
	assert_int_equal(vellum_migrate_page(w->mm, PAGE(2)), -EFAULT);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 6);
	frames = free_frames(w);
	make_exclusive(gpu, w->mm, 2);
	dontneed(w->mm, 2, 1);
	assert_int_equal(free_frames(w), frames + 1);
	make_exclusive(gpu, w->mm, 1);
	unmap(w->mm, 1, 1);
	check_world(w);
	gpu_destroy(gpu);
}

static void exclusive_errors(void **state)
{
	struct world *w = *state;
	struct gpu *gpu = gpu_create(w, GPU_PAGES);
	uint64_t pfn = 0, pin, n;

	map_at(w->mm, 0, 3, RW, ANON);
	map_at(w->mm, 3, 1, RO, ANON);
	map_at(w->mm, 4, 1, RW, SHANON);
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(4), 1);
	assert_int_equal(vellum_device_make_exclusive(gpu->dev, w->mm, PAGE(0) + 8, &pfn), -EINVAL);
	assert_int_equal(vellum_device_make_exclusive(gpu->dev, w->mm, PAGE(3), &pfn), -EFAULT);
	assert_int_equal(vellum_device_make_exclusive(gpu->dev, w->mm, PAGE(4), &pfn), -EFAULT);
	assert_int_equal(vellum_device_make_exclusive(gpu->dev, w->mm, PAGE(9), &pfn), -EFAULT);
	OK(vellum_pin_pages(w->mm, PAGE(0), 1, VELLUM_GUP_WRITE, &pin, &n));
	assert_int_equal(vellum_device_make_exclusive(gpu->dev, w->mm, PAGE(0), &pfn), -VELLUM_EBUSY);
	vellum_unpin_pages(w->memory, &pin, 1);
	OK(vellum_mlock(w->mm, PAGE(1), BYTES(1), 0));
	assert_int_equal(vellum_device_make_exclusive(gpu->dev, w->mm, PAGE(1), &pfn), -VELLUM_EBUSY);
	check_world(w);
	make_exclusive(gpu, w->mm, 0);
	OK(vellum_pin_pages(w->mm, PAGE(0), 1, VELLUM_GUP_WRITE, &pin, &n));	/* a fault ends the exclusive access */
	assert_int_equal(gpu->told, 1);
	vellum_unpin_pages(w->memory, &pin, 1);
	check_world(w);
	gpu_destroy(gpu);
}

/* A page shared with a child is copied first, as for a store. */
static void exclusive_of_a_shared_page(void **state)
{
	struct world *w = *state;
	struct gpu *gpu = gpu_create(w, GPU_PAGES);
	struct vellum_mm *child;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	child = fork_on(w->mm, w->cpu[1]);
	device_stores(w, make_exclusive(gpu, w->mm, 0), 2);
	check_world(w);
	assert_int_equal(load(w->cpu[1], PAGE(0)), 1);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 2);
	end_child(child, w->cpu[1]);
	gpu_destroy(gpu);
}

static void T_pte_01_device_exclusive_rights(void **state)
{
	struct world *w = *state;
	struct gpu *gpu = gpu_create(w, GPU_PAGES);
	struct vellum_uffd *uffd;

	map_at(w->mm, 0, 3, RW, ANON);
	uffd = register_wp(w->mm, 1, 1, VELLUM_UFFD_FEATURE_WP_ASYNC);
	for (unsigned i = 0; i < 3; i++)
		make_exclusive(gpu, w->mm, i);
	protect(w->mm, 0, 1, RO);
	assert_int_equal(type_at(w->mm, 0), SWP_DEVICE_EXCL_READ);
	protect(w->mm, 0, 1, RW);
	assert_int_equal(type_at(w->mm, 0), SWP_DEVICE_EXCL_READ);
	wp(uffd, 1, 1);
	assert_int_equal(type_at(w->mm, 1), SWP_DEVICE_EXCL_READ);
	assert_true(pte_swp_uffd_wp(entry_at(w->mm, PAGE(1))));
	clear_soft_dirty(w->mm);
	assert_false(pte_swp_soft_dirty(entry_at(w->mm, PAGE(2))));
	load(w->cpu[0], PAGE(1));
	assert_true(pte_uffd_wp(entry_at(w->mm, PAGE(1))) && !has_w(w->mm, PAGE(1)));
	for (unsigned i = 0; i < 3; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	check_world(w);
	for (unsigned i = 0; i < 3; i++)
		assert_true(has_w(w->mm, PAGE(i)) && pte_soft_dirty(entry_at(w->mm, PAGE(i))));
	vellum_uffd_put(uffd);
	gpu_destroy(gpu);
}

/* fork maps the page again before it copies the entry. The device is told, and does not store to the child's page. */
static void T_fork_07_device_exclusive(void **state)
{
	struct world *w = *state;
	struct gpu *gpu = gpu_create(w, GPU_PAGES);
	struct vellum_mm *child;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	device_stores(w, make_exclusive(gpu, w->mm, 0), 2);
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	assert_int_equal(gpu->told, 1);
	assert_true(is_in(w->mm, PAGE(0)) && is_in(child, PAGE(0)));
	assert_int_equal(load(w->cpu[1], PAGE(0)), 2);
	store(w->cpu[0], PAGE(0), 3);
	assert_int_equal(load(w->cpu[1], PAGE(0)), 2);
	check_world(w);
	end_child(child, w->cpu[1]);
	gpu_destroy(gpu);
}

static void create_errors(void **state)
{
	struct world *w = *state;
	struct vellum_device *dev;
	struct vellum_device_ops ops = gpu_ops;

	assert_int_equal(vellum_device_create(w->memory, &gpu_ops, NULL, 0, &dev), -EINVAL);
	assert_int_equal(vellum_device_create(w->memory, &gpu_ops, NULL, (1 << 20) + 1, &dev), -EINVAL);
	ops.to_ram = NULL;
	assert_int_equal(vellum_device_create(w->memory, &ops, NULL, 1, &dev), -EINVAL);
	ops = gpu_ops;
	ops.size = offsetof(struct vellum_device_ops, to_ram);
	assert_int_equal(vellum_device_create(w->memory, &ops, NULL, 1, &dev), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SWAP_TEST(migration_to_the_device_and_back),
		SWAP_TEST(pages_that_come_back_are_reported),
		SWAP_TEST(pinned_swapped_and_shared_pages_stay_in_ram),
		SWAP_TEST(full_device_takes_some_pages),
		SWAP_TEST(errors_of_the_device),
		SWAP_TEST(T_fork_07_device_private),
		SWAP_TEST(T_pte_01_device_private_rights),
		SWAP_TEST(stores_before_the_flush_reach_the_device),
		SWAP_TEST(exclusive_access_ends_with_a_fault),
		SWAP_TEST(exclusive_errors),
		SWAP_TEST(exclusive_of_a_shared_page),
		SWAP_TEST(T_pte_01_device_exclusive_rights),
		SWAP_TEST(T_fork_07_device_exclusive),
		SWAP_TEST(create_errors),
	};

	return cmocka_run_group_tests_name("device", tests, NULL, NULL);
}
