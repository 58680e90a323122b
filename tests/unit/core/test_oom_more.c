/* SPDX-License-Identifier: MIT */
/* Failed allocations: swap, huge pages, pins, guards, devices and migration. */
#include "oom_support.h"
#include "mm/table/huge.h"

/* --- swap --- */

static void run_swap(struct stage *s, bool again)
{
	static uint64_t page[PAGE_SIZE / 8];
	struct vellum_mm *child = NULL;

	pageout(s->w->mm, 0, 8);
	pageout(s->w->mm, 16, 4);
	check_now(s);
	failed(vellum_peek(s->w->mm, PAGE(2), page) == 1 ? 0 : -ENOMEM, again);
	if (!failed(vellum_fork(s->w->mm, &child), again)) {
		vellum_soft_load_mm(s->w->cpu[1], child);
		oom(try_load(s->w->cpu[1], PAGE(0)), again);
		oom(try_store(s->w->cpu[1], PAGE(1), 1), again);
		check_now(s);
		end_child(child, s->w->cpu[1]);
	}
	for (unsigned i = 0; i < 20; i++)
		if (i < 8 || i >= 16)
			oom(try_store(s->w->cpu[0], PAGE(i), 100 + i), again);
}

static void run_swap_areas(struct stage *s, bool again)
{
	struct disk d = { .nr = 2000, .bad_slot = ~0ull };

	d.bytes = malloc(BYTES(d.nr));
	d.full = calloc(d.nr, 1);
	pageout(s->w->mm, 0, 4);
	if (!failed(vellum_swap_add(s->w->memory, &disk_ops, &d, d.nr, &d.area), again)) {
		pageout(s->w->mm, 4, 4);
		check_now(s);
		if (failed(vellum_swap_remove(s->w->memory, d.area), again)) {
			s->w->host.fail_at = 0;
			OK(vellum_swap_remove(s->w->memory, d.area));
		}
	}
	check_now(s);
	disk_destroy(&d);
}

/* --- huge pages --- */

static bool is_huge_err(int err)
{
	return !err || err == -ENOMEM || err == -EAGAIN || err == -VELLUM_EBUSY;
}

static void run_huge_fault(struct stage *s, bool again)
{
	if (!try_map(s, HUGE_AT, 512, again))
		return;
	failed(vellum_madvise(s->w->mm, PAGE(HUGE_AT), BYTES(512), VELLUM_MADV_HUGEPAGE), again);
	if (!oom(try_store(s->w->cpu[0], PAGE(HUGE_AT + 9), 9), again)) {
		/* Splits by mprotect, munmap and madvise. */
		failed(vellum_mprotect(s->w->mm, PAGE(HUGE_AT + 9), BYTES(1), RO), again);
		check_now(s);
		failed(vellum_munmap(s->w->mm, PAGE(HUGE_AT + 100), BYTES(1)), again);
		check_now(s);
		assert_int_equal(load(s->w->cpu[0], PAGE(HUGE_AT + 9)), 9);
	}
	unmap(s->w->mm, HUGE_AT, 512);
}

static void run_collapse(struct stage *s, bool again)
{
	unsigned stored = 0;
	int err;

	if (!try_map(s, HUGE_AT, 512, again))
		return;
	failed(vellum_madvise(s->w->mm, PAGE(HUGE_AT), BYTES(512), VELLUM_MADV_NOHUGEPAGE), again);
	while (stored < 8 && !oom(try_store(s->w->cpu[0], PAGE(HUGE_AT + stored), stored), again))
		stored++;
	failed(vellum_madvise(s->w->mm, PAGE(HUGE_AT), BYTES(512), VELLUM_MADV_HUGEPAGE), again);
	err = vellum_madvise(s->w->mm, PAGE(HUGE_AT), BYTES(512), VELLUM_MADV_COLLAPSE);
	assert_true(is_huge_err(err) || (err == -EINVAL && !stored));
	assert_false(again && err);
	check_now(s);
	for (unsigned i = 0; i < stored; i++)
		assert_int_equal(load(s->w->cpu[0], PAGE(HUGE_AT + i)), i);
	unmap(s->w->mm, HUGE_AT, 512);
}

/* Shared memory: a fault installs a huge page. With @small, a store to a small page comes first. */
static void shared_huge(struct stage *s, bool small, bool again)
{
	bool stored;
	int err;

	if (!try_map_object(s, HUGE_AT, 512, SHANON, NULL, 0, again))
		return;
	stored = small && !oom(try_store(s->w->cpu[0], PAGE(HUGE_AT + 7), 7), again);
	failed(vellum_madvise(s->w->mm, PAGE(HUGE_AT), BYTES(512), VELLUM_MADV_HUGEPAGE), again);
	if (!oom(try_store(s->w->cpu[0], PAGE(HUGE_AT + 9), 9), again)) {
		err = vellum_madvise(s->w->mm, PAGE(HUGE_AT), BYTES(512), VELLUM_MADV_COLLAPSE);
		assert_true(is_huge_err(err));
		assert_false(again && err);
		check_now(s);
		assert_int_equal(load(s->w->cpu[0], PAGE(HUGE_AT + 9)), 9);
		if (stored)
			assert_int_equal(load(s->w->cpu[0], PAGE(HUGE_AT + 7)), 7);
		failed(vellum_madvise(s->w->mm, PAGE(HUGE_AT + 100), BYTES(9), VELLUM_MADV_REMOVE), again);
		check_now(s);
	}
	unmap(s->w->mm, HUGE_AT, 512);
}

static void run_shared_huge(struct stage *s, bool again)
{
	shared_huge(s, false, again);
}

static void run_shared_collapse(struct stage *s, bool again)
{
	shared_huge(s, true, again);
}

/* Operations on the whole range, with a child that shares it. */
static void fork_and_move_raw(struct stage *s, bool again)
{
	uint64_t to = PAGE(FAR_AT);
	struct vellum_mm *child;

	if (!failed(vellum_fork(s->w->mm, &child), again))
		vellum_mm_put(child);
	check_now(s);
	if (!failed(vellum_mremap(s->w->mm, PAGE(RAW_AT), BYTES(512), BYTES(512),
				  VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &to), again))
		unmap(s->w->mm, FAR_AT, 512);
	check_now(s);
}

static void run_raw_move(struct stage *s, bool again)
{
	uint64_t first = s->raw_counts.first_pfn;

	if (!try_map_object(s, RAW_AT, 512, VELLUM_MAP_SHARED, s->raw, 0, again))
		return;
	if (!failed(vellum_remap_pfn_range(s->w->mm, PAGE(RAW_AT), first, BYTES(512)), again))
		fork_and_move_raw(s, again);
	unmap(s->w->mm, RAW_AT, 512);
}

/* A leaf of 1 GiB, and its splits. */
static void run_raw_giant(struct stage *s, bool again)
{
	const unsigned pages = 512 * 512;
	struct vellum_mapping *giant;

	if (failed(vellum_mapping_create(s->w->memory, &counting_pfn_ops, &s->raw_counts, pages,
					 VELLUM_MAPPING_PFN, &giant), again))
		return;
	if (try_map_object(s, GIANT_AT, pages, VELLUM_MAP_SHARED, giant, 0, again) &&
	    !failed(vellum_remap_pfn_range(s->w->mm, PAGE(GIANT_AT), s->raw_counts.first_pfn, BYTES(pages)), again)) {
		assert_true(!again || huge_lookup(s->w->mm, PAGE(GIANT_AT + 5), NULL));
		oom(try_store(s->w->cpu[0], PAGE(GIANT_AT + 5), 3), again);
		failed(vellum_mprotect(s->w->mm, PAGE(GIANT_AT + 1000), BYTES(1), RO), again);
		check_now(s);
	}
	unmap(s->w->mm, GIANT_AT, pages);
	vellum_mapping_put(giant);
}

/* Map @pages frames of the device in one call: 512 of them are one huge leaf. */
static void insert_raw(struct stage *s, unsigned at, unsigned pages, bool again)
{
	uint64_t addr = PAGE(at);

	if (!try_map_object(s, at, 512, VELLUM_MAP_SHARED, s->raw, 0, again))
		return;
	if (!failed(vellum_remap_pfn_range(s->w->mm, addr, s->raw_counts.first_pfn, BYTES(pages)), again)) {
		oom(try_store(s->w->cpu[0], addr, 3), again);
		failed(vellum_mprotect(s->w->mm, addr + BYTES(1), BYTES(1), RO), again);
	}
	check_now(s);
	unmap(s->w->mm, at, 512);
}

static void run_raw_huge(struct stage *s, bool again)
{
	insert_raw(s, RAW_AT, 512, again);
}

/* At an address without a table. */
static void run_raw_far(struct stage *s, bool again)
{
	insert_raw(s, GIANT_AT, 512, again);
}

static int give_huge(void *ctx, struct vellum_vmf *vmf)
{
	vmf->pfn = ((struct counting *)ctx)->first_pfn + vmf->pgoff;
	return vmf->order == 9 ? VELLUM_VMF_OK : VELLUM_VMF_FALLBACK;
}

/* A fault calls the driver's hook. */
static void run_huge_hook(struct stage *s, bool again)
{
	static struct vellum_backing_ops ops;
	struct vellum_mapping *driver;

	ops = counting_pfn_ops;
	ops.huge_fault = give_huge;
	if (failed(vellum_mapping_create(s->w->memory, &ops, &s->raw_counts, 512, VELLUM_MAPPING_PFN, &driver), again))
		return;
	if (try_map_object(s, GIANT_AT, 512, VELLUM_MAP_SHARED, driver, 0, again)) {
		oom(try_store(s->w->cpu[0], PAGE(GIANT_AT + 5), 3), again);
		assert_true(!again || huge_lookup(s->w->mm, PAGE(GIANT_AT + 5), NULL));
		check_now(s);
	}
	unmap(s->w->mm, GIANT_AT, 512);
	vellum_mapping_put(driver);
}

static void run_raw_small(struct stage *s, bool again)
{
	insert_raw(s, RAW_AT, 5, again);
}

/* --- pins, guards --- */

static void run_pins(struct stage *s, bool again)
{
	struct vellum_mm *child;
	uint64_t pfns[8], n = 0;

	if (failed(vellum_fork(s->w->mm, &child), again))
		return;
	if (!failed(vellum_pin_pages(s->w->mm, PAGE(0), 4, 0, pfns, &n), again))
		vellum_unpin_pages(s->w->memory, pfns, n);
	assert_true(!again || n == 4);
	check_now(s);
	if (!failed(vellum_pin_pages(s->w->mm, PAGE(4), 4, VELLUM_GUP_WRITE, pfns, &n), again)) {
		struct vellum_mm *second;

		if (!failed(vellum_fork(s->w->mm, &second), again))	/* copies the pinned pages */
			vellum_mm_put(second);
		check_now(s);
		vellum_unpin_pages(s->w->memory, pfns, n);
	}
	vellum_mm_put(child);
}

static void run_guards(struct stage *s, bool again)
{
	int err;

	if (!try_map(s, FAR_AT, 1200, again))
		return;
	err = vellum_madvise(s->w->mm, PAGE(FAR_AT), BYTES(1200), VELLUM_MADV_GUARD_INSTALL);
	failed(err, again);
	check_now(s);
	if (!err)
		assert_int_not_equal(try_load(s->w->cpu[0], PAGE(FAR_AT + 700)), VELLUM_FAULT_OK);
	failed(vellum_madvise(s->w->mm, PAGE(FAR_AT), BYTES(1200), VELLUM_MADV_GUARD_REMOVE), again);
	oom(try_load(s->w->cpu[0], PAGE(FAR_AT + 700)), again);
	unmap(s->w->mm, FAR_AT, 1200);
}

/* --- devices, migration, shadow stacks --- */

static void run_device(struct stage *s, bool again)
{
	struct vellum_device *dev;
	uint64_t pfn;

	if (!failed(vellum_device_create(s->w->memory, &gpu_ops, s->gpu, 4, &dev), again))
		OK(vellum_device_destroy(dev));
	to_gpu(s->gpu, s->w->mm, 0, 4);
	check_now(s);
	for (unsigned i = 0; i < 4; i++)
		oom(try_load(s->w->cpu[0], PAGE(i)), again);
	failed(vellum_device_make_exclusive(s->gpu->dev, s->w->mm, PAGE(5), &pfn), again);
	check_now(s);
	oom(try_load(s->w->cpu[0], PAGE(5)), again);
	if (!try_map(s, FAR_AT, 1, again))
		return;
	failed(vellum_device_make_exclusive(s->gpu->dev, s->w->mm, PAGE(FAR_AT), &pfn), again);
	check_now(s);
	unmap(s->w->mm, FAR_AT, 1);
}

static void run_migrate(struct stage *s, bool again)
{
	for (unsigned i = 0; i < 20; i++)
		if (i < 8 || i >= 16)
			failed(vellum_migrate_page(s->w->mm, PAGE(i)), again);
}

static void run_shadow_stack(struct stage *s, bool again)
{
	uint64_t addr = PAGE(FAR_AT), val;

	if (failed(vellum_map_shadow_stack(s->w->mm, &addr, BYTES(2)), again))
		return;
	if (!oom(vellum_soft_shstk_store64(s->w->cpu[0], addr, 5), again)) {
		OK(vellum_soft_shstk_load64(s->w->cpu[0], addr, &val));
		assert_int_equal(val, 5);
	}
	unmap(s->w->mm, FAR_AT, 2);
}

OOM_TEST(swap)
OOM_TEST(swap_areas)
OOM_TEST(huge_fault)
OOM_TEST(collapse)
OOM_TEST(shared_huge)
OOM_TEST(shared_collapse)
OOM_TEST(raw_move)
OOM_TEST(raw_giant)
OOM_TEST(raw_huge)
OOM_TEST(raw_far)
OOM_TEST(huge_hook)
OOM_TEST(raw_small)
OOM_TEST(pins)
OOM_TEST(guards)
OOM_TEST(device)
OOM_TEST(migrate)
OOM_TEST(shadow_stack)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(oom_swap),
		cmocka_unit_test(oom_swap_areas),
		cmocka_unit_test(oom_huge_fault),
		cmocka_unit_test(oom_collapse),
		cmocka_unit_test(oom_shared_huge),
		cmocka_unit_test(oom_shared_collapse),
		cmocka_unit_test(oom_raw_move),
		cmocka_unit_test(oom_raw_giant),
		cmocka_unit_test(oom_raw_huge),
		cmocka_unit_test(oom_raw_far),
		cmocka_unit_test(oom_huge_hook),
		cmocka_unit_test(oom_raw_small),
		cmocka_unit_test(oom_pins),
		cmocka_unit_test(oom_guards),
		cmocka_unit_test(oom_device),
		cmocka_unit_test(oom_migrate),
		cmocka_unit_test(oom_shadow_stack),
	};

	return cmocka_run_group_tests_name("oom_more", tests, NULL, NULL);
}
