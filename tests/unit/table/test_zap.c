/* SPDX-License-Identifier: MIT */
/* Zaps: raw frames are flushed before a driver can free them, and what each kind of zap removes and reports. */
#define _GNU_SOURCE
#include "huge_support.h"

/* --- a driver that frees its frames in release() --- */

struct driver {
	struct world *w;
	uint64_t addr;		/* where the frames are mapped */
	unsigned releases, reachable;	/* CPUs that could still use a translation in release() */
	uint32_t order;		/* of the leaves that huge_fault() installs; 0: none */
	uint64_t pfn;
};

static bool has_translation(struct vellum_soft_cpu *cpu, uint64_t addr)
{
	return vellum_soft_place(cpu, addr)->load == VELLUM_SOFT_TAG(addr, 64);
}

static int driver_fault(void *ctx, struct vellum_vmf *vmf)
{
	vmf->pfn = ((struct driver *)ctx)->pfn + vmf->pgoff;
	return VELLUM_VMF_OK;
}

static int driver_huge_fault(void *ctx, struct vellum_vmf *vmf)
{
	return vmf->order == ((struct driver *)ctx)->order ? driver_fault(ctx, vmf) : VELLUM_VMF_FALLBACK;
}

static void driver_release(void *ctx)
{
	struct driver *d = ctx;

	d->releases++;
	for (unsigned i = 0; i < 2; i++)
		d->reachable += has_translation(d->w->cpu[i], d->addr);
}

static const struct vellum_backing_ops driver_ops = {
	.size = sizeof(driver_ops), .fault = driver_fault, .pfn_fault = driver_fault, .huge_fault = driver_huge_fault,
	.release = driver_release,
};

enum { BY_MUNMAP, BY_MMAP, NR_WAYS };

/* The VMA has the last reference to the mapping. Two CPUs have loaded from it, so the entry is clean. */
static void unmap_the_driver(struct driver *d, uint32_t mapping_flags, uint32_t map_flags, unsigned way)
{
	struct vellum_mm *mm = d->w->mm;
	struct vellum_mapping *obj;

	d->releases = d->reachable = 0;
	OK(vellum_mapping_create(d->w->memory, &driver_ops, d, HUGE, mapping_flags, &obj));
	map_object(mm, 0, HUGE, RW, map_flags, obj, 0, RW);
	map_at(mm, HUGE, 1, RW, ANON);	/* the table above stays */
	vellum_mapping_put(obj);
	for (unsigned i = 0; i < 2; i++)
		load(d->w->cpu[i], d->addr);
	for (unsigned i = 0; i < 2; i++)
		assert_true(has_translation(d->w->cpu[i], d->addr));
	assert_int_equal(!!leaf_at(mm, d->addr, PMD_SHIFT), d->order == 9);
	if (way == BY_MUNMAP)
		unmap(mm, 0, HUGE);
	else
		map_at(mm, 0, HUGE, RW, ANON);
	assert_int_equal(d->releases, 1);
	assert_int_equal(d->reachable, 0);
	OK(vellum_munmap(mm, PAGE(0), BYTES(HUGE + 1)));
}

static void release_finds_no_translation(void **state)
{
	static const uint32_t mapping_flags[] = { VELLUM_MAPPING_PFN, VELLUM_MAPPING_MIXED,
						  VELLUM_MAPPING_PFN | VELLUM_MAPPING_DEVMAP };

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(mapping_flags) * 2 * 2 * NR_WAYS; i++) {
		uint32_t map_flags = i / NR_WAYS % 2 ? VELLUM_MAP_PRIVATE : VELLUM_MAP_SHARED;
		struct driver d = { .addr = PAGE(5), .pfn = DEVICE_PFN, .order = i / NR_WAYS / 2 % 2 ? 9 : 0 };
		void *host = mmap(NULL, BYTES(HUGE), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		struct world w;

		world_create(&w, 16 << 20);
		d.w = &w;
		OK(vellum_memory_add_device(w.memory, DEVICE_PFN, HUGE, host));
		vellum_soft_load_mm(w.cpu[1], w.mm);
		unmap_the_driver(&d, mapping_flags[i / NR_WAYS / 4], map_flags, i % NR_WAYS);
		world_destroy(&w);
		munmap(host, BYTES(HUGE));
	}
}

/* --- a zap of other memory flushes once, at its end --- */

static void count_flush(void *arg)
{
	++*(unsigned *)arg;
}

static void clean_pages_are_flushed_once(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = new_object(w, new_counting(), 8);
	unsigned flushes = 0;

	map_object(w->mm, 0, 4, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	map_object(w->mm, 4, 4, RW, VELLUM_MAP_PRIVATE, obj, 4, RW);
	map_at(w->mm, 8, 4, RW, ANON);
	for (unsigned i = 0; i < 12; i++)
		load(w->cpu[0], PAGE(i));
	vellum_soft_set_flush_hook(w->soft, count_flush, &flushes);
	unmap(w->mm, 0, 12);
	vellum_soft_set_flush_hook(w->soft, NULL, NULL);
	assert_int_equal(flushes, 1);
	vellum_mapping_put(obj);
}

/* --- odd entries --- */

/* No CPU sets D in an entry of the zero page, but a program that can write its tables may. */
static void a_dirty_entry_of_the_zero_page(void **state)
{
	struct world *w = *state;
	pte_t pte;

	map_at(w->mm, 0, 4, RW, ANON);
	load(w->cpu[0], PAGE(1));
	pte = entry_at(w->mm, PAGE(1));
	assert_int_equal(pte_pfn(pte), w->memory->zero_pfn);
	set_entry_at(w->mm, PAGE(1), pte_make(pte.val | X86_SAVED_DIRTY));
	unmap(w->mm, 0, 4);
	assert_int_equal(vellum_mm_rss(w->mm), 0);
}

/* An entry that is not present names content that a zap drops: trackers have the page. */
static void a_zapped_entry_without_a_page_is_tracked(void **state)
{
	struct world *w = *state;
	struct vellum_tracker *t;

	map_at(w->mm, 0, 8, RW, ANON);
	store(w->cpu[0], PAGE(7), 1);
	OK(vellum_track_mm(w->mm, BASE, PAGE(8), VELLUM_TRACK_WP, &t));
	set_entry_at(w->mm, PAGE(3), swp_entry_pte(SWP_HWPOISON, 1));
	set_entry_at(w->mm, PAGE(4), pte_marker(MARKER_POISON));
	dontneed(w->mm, 0, 7);
	assert_int_equal(collect(t, BASE >> 12), 1 << 3);
	assert_int_equal(entry_at(w->mm, PAGE(3)).val, 0);
	vellum_tracker_destroy(t);
}

/* A hole in a file removes migration entries of the file's pages, and leaves those of private copies. */
static void migration_entries_under_a_hole(void **state)
{
	struct world *w = *state;
	pte_t saved[2], moving[2];
	struct file f;

	file_create(&f, w, 4);
	map_private(w->mm, 0, 4, &f, 0);
	load(w->cpu[0], PAGE(0));
	store(w->cpu[0], PAGE(1), 5);
	w->memory->nr_migrating++;
	for (unsigned i = 0; i < 2; i++) {
		saved[i] = entry_at(w->mm, PAGE(i));
		moving[i] = swp_entry_pte(SWP_MIGRATION_READ, pte_pfn(saved[i]));
		set_entry_at(w->mm, PAGE(i), moving[i]);
	}
	vellum_unmap_mapping_range(f.mapping, 0, 4);
	assert_int_equal(entry_at(w->mm, PAGE(0)).val, 0);
	assert_int_equal(entry_at(w->mm, PAGE(1)).val, moving[1].val);
	for (unsigned i = 0; i < 2; i++)
		set_entry_at(w->mm, PAGE(i), saved[i]);
	w->memory->nr_migrating--;
	unmap(w->mm, 0, 4);
	file_destroy(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(release_finds_no_translation),
		WORLD_TEST(clean_pages_are_flushed_once),
		WORLD_TEST(a_dirty_entry_of_the_zero_page),
		WORLD_TEST(a_zapped_entry_without_a_page_is_tracked),
		WORLD_TEST(migration_entries_under_a_hole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
