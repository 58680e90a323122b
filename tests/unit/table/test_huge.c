/* SPDX-License-Identifier: MIT */
/* Huge leaves of a device's frames: they are installed whole, and split without losing W, D or A. */
#define _GNU_SOURCE
#include "huge_support.h"

#include "mm/table/pagewalk.h"
#include "vellum/pagemap.h"

static struct scene *scene(void)
{
	return scene_with(&device_ops, VELLUM_MAPPING_PFN);
}

/* W, D and A of the pages [first, end), which must be the same for all. */
static void expect_pages(struct vellum_mm *mm, uint64_t first, uint64_t end, uint64_t pfn, bool w, bool d)
{
	for (uint64_t i = first; i < end; i++) {
		pte_t pte = page_entry(mm, PAGE(i));

		assert_true(pte_present(pte) && pte_special(pte) && pte_young(pte));
		assert_int_equal(pte_pfn(pte), pfn + i - first);
		assert_int_equal(pte_write(pte), w);
		assert_int_equal(pte_dirty(pte), d);
	}
}

/* --- installing --- */

static void fault_installs_the_largest_leaf(void **state)
{
	struct scene *s = scene();
	uint64_t val;

	(void)state;
	map_device(s->w.mm, 0, GIANT + HUGE, s->d, 0);
	store(s->w.cpu[0], PAGE(77) + 8, 5);
	val = leaf_at(s->w.mm, PAGE(0), PUD_SHIFT);
	assert_true(val & X86_RW && val & X86_DIRTY && val & X86_SPECIAL);
	assert_int_equal(leaf_pfn(val, PUD_SHIFT), DEVICE_PFN);
	assert_int_equal(((uint64_t *)s->d->host)[77 * 512 + 1], 5);
	check_world(&s->w);
	load(s->w.cpu[0], PAGE(GIANT));
	val = leaf_at(s->w.mm, PAGE(GIANT), PMD_SHIFT);
	assert_true(val & X86_RW && !(val & X86_DIRTY));
	assert_int_equal(leaf_pfn(val, PMD_SHIFT), DEVICE_PFN + GIANT);
	assert_int_equal(vellum_mm_rss(s->w.mm), GIANT + HUGE);
	assert_int_equal(s->d->faults, 0);
	check_world(&s->w);
	/* If the mapping does not cover an aligned range, smaller leaves are installed. */
	map_device(s->w.mm, 2 * GIANT, GIANT - 1, s->d, 0);
	store(s->w.cpu[0], PAGE(2 * GIANT), 1);
	assert_true(leaf_at(s->w.mm, PAGE(2 * GIANT), PMD_SHIFT));
	store(s->w.cpu[0], PAGE(3 * GIANT - 2), 1);
	assert_true(pte_present(entry_at(s->w.mm, PAGE(3 * GIANT - 2))));
	map_device(s->w.mm, 3 * GIANT, HUGE, s->d, 1);
	store(s->w.cpu[0], PAGE(3 * GIANT), 1);
	assert_true(pte_present(entry_at(s->w.mm, PAGE(3 * GIANT))));
	end_scene(s);
}

static void remap_installs_the_largest_leaf(void **state)
{
	struct scene *s = scene();
	struct vellum_mm *mm = s->w.mm;

	(void)state;
	map_device(mm, 0, GIANT + HUGE, s->d, 0);
	OK(vellum_remap_pfn_range(mm, PAGE(0), DEVICE_PFN, BYTES(GIANT + HUGE)));
	assert_true(leaf_at(mm, PAGE(5), PUD_SHIFT));
	assert_true(leaf_at(mm, PAGE(GIANT + 5), PMD_SHIFT));
	check_world(&s->w);
	assert_int_equal(vellum_remap_pfn_range(mm, PAGE(0), DEVICE_PFN, BYTES(1)), -EBUSY);
	assert_int_equal(vellum_remap_pfn_range(mm, PAGE(0) + 1, DEVICE_PFN, BYTES(1)), -EINVAL);
	unmap(mm, 0, GIANT + HUGE);
	assert_int_equal(vellum_remap_pfn_range(mm, PAGE(0), DEVICE_PFN, BYTES(1)), -EINVAL);
	/* Frames that are not aligned as the addresses are. */
	map_device(mm, 0, 2 * HUGE, s->d, 0);
	OK(vellum_remap_pfn_range(mm, PAGE(0), DEVICE_PFN + 1, BYTES(2 * HUGE)));
	expect_pages(mm, 0, 2 * HUGE, DEVICE_PFN + 1, true, false);
	assert_int_equal(leaf_at(mm, PAGE(0), PMD_SHIFT), 0);
	end_scene(s);
}

static int count_entry(void *arg, const struct vellum_entry *entry)
{
	*(uint64_t *)arg += entry->len >> PAGE_SHIFT;
	return 0;
}

static uint64_t nr_mapped(struct vellum_mm *mm)
{
	uint64_t nr = 0;

	OK(vellum_walk_entries(mm, PAGE(0), PAGE(4 * GIANT), count_entry, &nr));
	assert_int_equal(vellum_mm_rss(mm), nr);
	return nr;
}

/*
 * Small entries, huge leaves, small entries. The call must clean up for each number of free frames that is too
 * small.
 */
static void remap_cleans_up_when_frames_run_out(void **state)
{
	const unsigned first = HUGE - 3, pages = 3 + 2 * HUGE + 5;
	struct scene *s = scene();
	struct world *w = &s->w;
	uint64_t *hoard = calloc(w->memory->nr_frames, 8), n = 0, left = 0;
	int err;

	(void)state;
	map_device(w->mm, 0, GIANT, s->d, 0);
	while (!vellum_memory_alloc_device(w->memory, 1, &hoard[n]))
		n++;
	do {
		err = vellum_remap_pfn_range(w->mm, PAGE(first), DEVICE_PFN + first, BYTES(pages));
		assert_int_equal(nr_mapped(w->mm), err ? 0 : pages);
		check_world(w);
		if (err) {
			assert_int_equal(err, -ENOMEM);
			vellum_memory_free_device(w->memory, hoard[--n], 1);
			left++;
		}
	} while (err);
	assert_true(left >= 4);
	while (n)
		vellum_memory_free_device(w->memory, hoard[--n], 1);
	free(hoard);
	end_scene(s);
}

/* The entry that was there stays. The entries that the call installed before it are removed. */
static void remap_over_an_entry_is_ebusy(void **state)
{
	struct scene *s = scene();
	struct vellum_mm *mm = s->w.mm;

	(void)state;
	s->d->max_order = 0;
	map_device(mm, 0, 3 * HUGE, s->d, 0);
	store(s->w.cpu[0], PAGE(2 * HUGE + 1), 5);
	assert_int_equal(vellum_remap_pfn_range(mm, PAGE(0), DEVICE_PFN + HUGE, BYTES(3 * HUGE)), -EBUSY);
	assert_int_equal(nr_mapped(mm), 1);
	assert_int_equal(pte_pfn(entry_at(mm, PAGE(2 * HUGE + 1))), DEVICE_PFN + 2 * HUGE + 1);
	assert_true(has_d(mm, PAGE(2 * HUGE + 1)));
	assert_int_equal(load(s->w.cpu[0], PAGE(2 * HUGE + 1)), 5);
	end_scene(s);
}

/* Anonymous memory is no device memory, even if the call names a mapping. */
static void anonymous_memory_ignores_the_mapping(void **state)
{
	struct scene *s = scene();

	(void)state;
	map_object(s->w.mm, 0, HUGE, RW, ANON, s->d->mapping, 0, RW);
	map_object(s->w.mm, HUGE, HUGE, RW, SHANON, s->d->mapping, 0, RW);
	for (unsigned at = 0; at < 2 * HUGE; at += HUGE) {
		assert_int_equal(vellum_remap_pfn_range(s->w.mm, PAGE(at), DEVICE_PFN, BYTES(HUGE)), -EINVAL);
		store(s->w.cpu[0], PAGE(at), 1);
	}
	check_world(&s->w);
	end_scene(s);
}

/* In a private mapping the entries are small and read-only. A store copies one page and leaves the device's alone. */
static void remap_of_a_private_mapping_is_read_only(void **state)
{
	struct scene *s = scene();
	struct vellum_mm *mm = s->w.mm;

	(void)state;
	map_object(mm, 0, 2 * HUGE, RW, VELLUM_MAP_PRIVATE, s->d->mapping, 0, RW);
	assert_int_equal(vellum_remap_pfn_range(mm, PAGE(0), DEVICE_PFN, BYTES(HUGE)), -EINVAL);
	OK(vellum_remap_pfn_range(mm, PAGE(0), DEVICE_PFN, BYTES(2 * HUGE)));
	expect_pages(mm, 0, 2 * HUGE, DEVICE_PFN, false, false);
	assert_int_equal(leaf_at(mm, PAGE(0), PMD_SHIFT), 0);
	store(s->w.cpu[0], PAGE(3), 9);
	assert_int_equal(((uint64_t *)s->d->host)[3 * 512], 0);
	assert_true(is_own_page(&s->w, pte_pfn(entry_at(mm, PAGE(3)))));
	expect_pages(mm, 4, 2 * HUGE, DEVICE_PFN + 4, false, false);
	end_scene(s);
}

/* The hook may install a huge leaf in a private mapping for a load. The leaf is read-only, and a store splits it. */
static void store_to_a_private_leaf_copies_one_page(void **state)
{
	struct scene *s = scene();
	struct vellum_mm *mm = s->w.mm;

	(void)state;
	s->d->max_order = 9;
	map_object(mm, 0, HUGE, RW, VELLUM_MAP_PRIVATE, s->d->mapping, 0, RW);
	load(s->w.cpu[0], PAGE(0));
	assert_false(leaf_at(mm, PAGE(0), PMD_SHIFT) & (X86_RW | X86_DIRTY));
	store(s->w.cpu[0], PAGE(3), 9);
	check_world(&s->w);
	assert_true(is_own_page(&s->w, pte_pfn(page_entry(mm, PAGE(3)))));
	assert_int_equal(((uint64_t *)s->d->host)[3 * 512], 0);
	for (unsigned i = 0; i < HUGE; i++)
		if (i != 3)
			assert_false(pte_write(page_entry(mm, PAGE(i))) || pte_dirty(page_entry(mm, PAGE(i))));
	assert_int_equal(s->d->nr_dirt, 0);
	end_scene(s);
}

/* --- fork --- */

static void fork_shared_leaf(unsigned shift)
{
	struct scene *s = scene();
	struct vellum_mm *child;
	uint64_t val, theirs;
	struct world *w = &s->w;
	uint64_t before;

	s->d->max_order = shift - PAGE_SHIFT;
	map_device(w->mm, 0, shift == PUD_SHIFT ? GIANT : HUGE, s->d, 0);
	store(w->cpu[0], PAGE(1), 1);
	val = leaf_at(w->mm, PAGE(0), shift);
	assert_true(val & X86_RW && val & X86_DIRTY && val & X86_ACCESSED);
	child = fork_on(w->mm, w->cpu[1]);
	check_world(w);
	assert_int_equal(leaf_at(w->mm, PAGE(0), shift), val);
	theirs = leaf_at(child, PAGE(0), shift);
	assert_true(theirs & X86_RW);
	assert_false(theirs & X86_ACCESSED);
	assert_int_equal(leaf_pfn(theirs, shift), DEVICE_PFN);
	assert_int_equal((theirs ^ val) & ~(X86_ACCESSED | X86_DIRTY), 0);
	before = nr_faults(w->mm) + nr_faults(child);
	store(w->cpu[0], PAGE(2), 2);
	store(w->cpu[1], PAGE(3), 3);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 3);
	assert_int_equal(nr_faults(w->mm) + nr_faults(child), before);
	assert_true(leaf_at(child, PAGE(0), shift) & X86_DIRTY);
	assert_int_equal(s->d->nr_dirt, 0);
	end_child(child, w->cpu[1]);
	assert_true(s->d->nr_dirt > 0);
	end_scene(s);
}

static void T_fork_03_pmd(void **state)
{
	(void)state;
	fork_shared_leaf(PMD_SHIFT);
}

static void T_fork_04_pud(void **state)
{
	(void)state;
	fork_shared_leaf(PUD_SHIFT);
}

/* An entry that the core never makes: a private leaf with W. fork removes W and saves D. */
static void T_fork_04_private_pud(void **state)
{
	struct scene *s = scene();
	struct vellum_mm *child;
	uint64_t val[2];

	(void)state;
	map_object(s->w.mm, 0, GIANT, RW, VELLUM_MAP_PRIVATE | VELLUM_MAP_NORESERVE, s->d->mapping, 0, RW);
	load(s->w.cpu[0], PAGE(0));
	val[0] = leaf_at(s->w.mm, PAGE(0), PUD_SHIFT);
	assert_true(val[0] && !(val[0] & X86_RW));
	set_leaf_at(s->w.mm, PAGE(0), val[0] | X86_RW | X86_DIRTY);
	OK(vellum_fork(s->w.mm, &child));
	check_world(&s->w);
	val[0] = leaf_at(s->w.mm, PAGE(0), PUD_SHIFT);
	val[1] = leaf_at(child, PAGE(0), PUD_SHIFT);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(val[i] & (X86_PSE | X86_RW | X86_DIRTY | X86_SAVED_DIRTY), X86_PSE | X86_SAVED_DIRTY);
	assert_false(val[1] & X86_ACCESSED);
	vellum_mm_put(child);
	end_scene(s);
}

/* --- the shared mapping helpers --- */

static void T_wpc_05_helpers_skip_leaves(void **state)
{
	struct scene *s = scene();
	uint64_t bitmap[2 * HUGE / 64] = { 0 }, start = 0, end = 0, count, val;
	struct world *w = &s->w;

	(void)state;
	s->d->max_order = 9;
	map_device(w->mm, 0, HUGE, s->d, 0);
	map_device(w->mm, HUGE, 8, s->d, HUGE);		/* no aligned 2 MiB, so no huge leaf */
	store(w->cpu[0], PAGE(0), 1);
	store(w->cpu[0], PAGE(HUGE + 3), 1);
	load(w->cpu[0], PAGE(HUGE + 4));
	val = leaf_at(w->mm, PAGE(0), PMD_SHIFT);
	assert_true(val & X86_DIRTY);
	OK(vellum_clean_record_shared_mapping_range(s->d->mapping, 0, 2 * HUGE, 0, bitmap, &start, &end, &count));
	assert_int_equal(count, 1);
	assert_int_equal(start, HUGE + 3);
	assert_int_equal(end, HUGE + 4);
	assert_int_equal(bitmap[HUGE / 64], 1 << 3);
	assert_int_equal(leaf_at(w->mm, PAGE(0), PMD_SHIFT), val);
	check_world(w);
	OK(vellum_wp_shared_mapping_range(s->d->mapping, 0, 2 * HUGE, &count));
	assert_int_equal(count, 2);
	assert_int_equal(leaf_at(w->mm, PAGE(0), PMD_SHIFT), val);
	assert_false(has_w(w->mm, PAGE(HUGE + 3)));
	assert_int_equal(s->d->nr_dirt, 0);
	end_scene(s);
}

/* --- the page walker --- */

struct walk_log {
	unsigned puds, pmds, ptes;
	int answer_pud, answer_pmd;
};

static int log_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	struct walk_log *log = walk->private;

	assert_true(is_huge_leaf(entry_load(entry)));
	assert_true(start >= walk->start && end <= walk->end && end - start <= 1ull << shift);
	if (shift == PUD_SHIFT)
		return log->puds++, log->answer_pud;
	return log->pmds++, log->answer_pmd;
}

static int log_pte(pte_t *ptep, gva_t addr, struct mm_walk *walk)
{
	(void)addr;
	assert_true(pte_present(ptep_get(ptep)));
	((struct walk_log *)walk->private)->ptes++;
	return 0;
}

static struct walk_log walk_all(struct world *w, int answer_pud, int answer_pmd, bool asked)
{
	const struct mm_walk_ops ops = { .huge_leaf = asked ? log_leaf : NULL, .pte = log_pte };
	struct walk_log log = { .answer_pud = answer_pud, .answer_pmd = answer_pmd };

	read_lock(&w->mm->mmap_lock, &w->memory->host);
	OK(walk_page_range(w->mm, PAGE(0), PAGE(GIANT), &ops, &log));
	read_unlock(&w->mm->mmap_lock, &w->memory->host);
	check_world(w);
	return log;
}

static void T_walk_02_huge(void **state)
{
	struct scene *s = scene();
	struct world *w = &s->w;
	struct walk_log log;

	(void)state;
	map_device(w->mm, 0, GIANT, s->d, 0);
	store(w->cpu[0], PAGE(9), 1);
	log = walk_all(w, 0, 0, false);
	assert_int_equal(log.ptes, 0);
	assert_true(leaf_at(w->mm, PAGE(0), PUD_SHIFT));
	log = walk_all(w, 0, 0, true);
	assert_true(log.puds == 1 && log.pmds == 0 && log.ptes == 0);
	assert_true(leaf_at(w->mm, PAGE(0), PUD_SHIFT));
	log = walk_all(w, WALK_SPLIT, 0, true);
	assert_true(log.puds == 1 && log.pmds == 512 && log.ptes == 0);
	assert_true(leaf_at(w->mm, PAGE(0), PMD_SHIFT));
	/* An error from a callback ends the walk, and no other leaf is split. */
	unmap(w->mm, HUGE, GIANT - HUGE);
	log = walk_all(w, 0, WALK_SPLIT, true);
	assert_true(log.puds == 0 && log.pmds == 1 && log.ptes == HUGE);
	expect_pages(w->mm, 0, HUGE, DEVICE_PFN, true, true);
	log = walk_all(w, 0, 0, true);
	assert_true(log.pmds == 0 && log.ptes == HUGE);
	end_scene(s);
}

/* --- splits of raw leaves keep W, D and A --- */

static void T_pte_06_partial_munmap(void **state)
{
	struct scene *s = scene();
	struct world *w = &s->w;

	(void)state;
	s->d->max_order = 9;
	map_device(w->mm, 0, HUGE, s->d, 0);
	store(w->cpu[0], PAGE(7), 7);
	unmap(w->mm, 100, 2);
	check_world(w);
	assert_int_equal(s->d->nr_dirt, 2);
	assert_true(dirt_of(s->d, 100) && dirt_of(s->d, 101));
	expect_pages(w->mm, 0, 100, DEVICE_PFN, true, true);
	expect_pages(w->mm, 102, HUGE, DEVICE_PFN + 102, true, true);
	assert_int_equal(try_load(w->cpu[0], PAGE(100)), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(load(w->cpu[0], PAGE(7)), 7);
	unmap(w->mm, 0, HUGE);
	assert_int_equal(s->d->nr_dirt, HUGE);
	end_scene(s);
}

static void T_pte_06_partial_munmap_of_pud(void **state)
{
	struct scene *s = scene();
	struct world *w = &s->w;

	(void)state;
	map_device(w->mm, 0, GIANT, s->d, 0);
	store(w->cpu[0], PAGE(7), 7);
	unmap(w->mm, 3 * HUGE + 5, 1);
	check_world(w);
	assert_int_equal(s->d->nr_dirt, 1);
	assert_true(dirt_of(s->d, 3 * HUGE + 5));
	assert_true(leaf_at(w->mm, PAGE(2 * HUGE), PMD_SHIFT) && leaf_at(w->mm, PAGE(4 * HUGE), PMD_SHIFT));
	expect_pages(w->mm, 0, 3 * HUGE + 5, DEVICE_PFN, true, true);
	expect_pages(w->mm, 3 * HUGE + 6, GIANT, DEVICE_PFN + 3 * HUGE + 6, true, true);
	unmap(w->mm, 0, GIANT);
	assert_int_equal(s->d->nr_dirt, GIANT);
	end_scene(s);
}

/* If a dirty leaf is zapped as a whole, each of its pages is reported dirty. A clean leaf reports none. */
static void zap_of_a_dirty_leaf_reports_all_its_pages(void **state)
{
	struct scene *s = scene();
	struct world *w = &s->w;

	(void)state;
	map_device(w->mm, 0, GIANT + HUGE, s->d, 0);
	store(w->cpu[0], PAGE(1), 1);
	load(w->cpu[0], PAGE(GIANT));
	vellum_unmap_mapping_range(s->d->mapping, GIANT, HUGE);
	check_world(w);
	assert_int_equal(s->d->nr_dirt, 0);
	assert_int_equal(leaf_at(w->mm, PAGE(GIANT), PMD_SHIFT), 0);
	vellum_unmap_mapping_range(s->d->mapping, HUGE, HUGE);
	check_world(w);
	assert_int_equal(s->d->nr_dirt, HUGE);
	assert_true(dirt_of(s->d, HUGE) && dirt_of(s->d, 2 * HUGE - 1) && !dirt_of(s->d, 0));
	assert_false(pte_present(page_entry(w->mm, PAGE(HUGE))));
	vellum_unmap_mapping_range(s->d->mapping, 0, GIANT);
	assert_int_equal(s->d->nr_dirt, GIANT);
	/* Saved D is reported, too. */
	store(w->cpu[0], PAGE(GIANT), 1);
	protect(w->mm, GIANT, HUGE, RO);
	unmap(w->mm, GIANT, HUGE);
	assert_int_equal(s->d->nr_dirt, GIANT + HUGE);
	end_scene(s);
}

/* --- mprotect --- */

static void mprotect_of_a_whole_leaf_and_of_a_part(void **state)
{
	struct scene *s = scene();
	struct world *w = &s->w;
	uint64_t val;

	(void)state;
	s->d->max_order = 9;
	map_device(w->mm, 0, 2 * HUGE, s->d, 0);
	store(w->cpu[0], PAGE(0), 1);
	protect(w->mm, 0, HUGE, RO);
	check_world(w);
	val = leaf_at(w->mm, PAGE(0), PMD_SHIFT);
	assert_int_equal(val & (X86_PSE | X86_RW | X86_DIRTY | X86_SAVED_DIRTY), X86_PSE | X86_SAVED_DIRTY);
	assert_int_equal(try_store(w->cpu[0], PAGE(0), 2), VELLUM_FAULT_SIGSEGV_ACCERR);
	protect(w->mm, 0, HUGE, VELLUM_PROT_NONE);
	check_world(w);
	assert_int_equal(leaf_pfn(leaf_at(w->mm, PAGE(0), PMD_SHIFT), PMD_SHIFT), DEVICE_PFN);
	assert_int_equal(try_load(w->cpu[0], PAGE(0)), VELLUM_FAULT_SIGSEGV_ACCERR);
	protect(w->mm, 0, HUGE, RW);
	check_world(w);
	val = leaf_at(w->mm, PAGE(0), PMD_SHIFT);
	assert_int_equal(val & (X86_PSE | X86_RW | X86_DIRTY | X86_SAVED_DIRTY), X86_PSE | X86_RW | X86_DIRTY);
	protect(w->mm, 10, 1, RO);
	check_world(w);
	expect_pages(w->mm, 0, 10, DEVICE_PFN, true, true);
	expect_pages(w->mm, 10, 11, DEVICE_PFN + 10, false, true);
	expect_pages(w->mm, 11, HUGE, DEVICE_PFN + 11, true, true);
	assert_int_equal(try_store(w->cpu[0], PAGE(10), 2), VELLUM_FAULT_SIGSEGV_ACCERR);
	store(w->cpu[0], PAGE(11), 2);
	assert_int_equal(s->d->nr_dirt, 0);
	end_scene(s);
}

static void mprotect_splits_a_pud_leaf(void **state)
{
	struct scene *s = scene();
	struct world *w = &s->w;

	(void)state;
	map_device(w->mm, 0, GIANT, s->d, 0);
	store(w->cpu[0], PAGE(0), 1);
	protect(w->mm, 0, GIANT, RO);
	check_world(w);
	assert_int_equal(leaf_at(w->mm, PAGE(0), PUD_SHIFT) & (X86_RW | X86_DIRTY | X86_SAVED_DIRTY), X86_SAVED_DIRTY);
	protect(w->mm, 0, HUGE, RW);
	check_world(w);
	expect_pages(w->mm, 0, HUGE, DEVICE_PFN, true, true);
	expect_pages(w->mm, HUGE, GIANT, DEVICE_PFN + HUGE, false, true);
	assert_true(leaf_at(w->mm, PAGE(0), PMD_SHIFT));
	store(w->cpu[0], PAGE(1), 1);
	assert_int_equal(s->d->nr_dirt, 0);
	end_scene(s);
}

/* --- mremap --- */

static void move_to(struct vellum_mm *mm, unsigned from, unsigned pages, unsigned to)
{
	uint64_t addr = PAGE(to);

	OK(vellum_mremap(mm, PAGE(from), BYTES(pages), BYTES(pages),
			 VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &addr));
	assert_int_equal(addr, PAGE(to));
}

static void mremap_keeps_leaves_if_aligned(void **state)
{
	struct scene *s = scene();
	struct world *w = &s->w;

	(void)state;
	s->d->max_order = 9;
	map_device(w->mm, 0, 2 * HUGE, s->d, 0);
	store(w->cpu[0], PAGE(0), 6);
	store(w->cpu[0], PAGE(HUGE), 1);
	move_to(w->mm, 0, 2 * HUGE, 8 * HUGE);
	check_world(w);
	assert_true(leaf_at(w->mm, PAGE(8 * HUGE), PMD_SHIFT) & X86_DIRTY);
	assert_int_equal(leaf_at(w->mm, PAGE(0), PMD_SHIFT), 0);
	assert_int_equal(try_load(w->cpu[0], PAGE(0)), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(load(w->cpu[0], PAGE(8 * HUGE)), 6);
	move_to(w->mm, 8 * HUGE, 2 * HUGE, 16 * HUGE + 3);
	check_world(w);
	expect_pages(w->mm, 16 * HUGE + 3, 18 * HUGE + 3, DEVICE_PFN, true, true);
	assert_int_equal(load(w->cpu[0], PAGE(16 * HUGE + 3)), 6);
	assert_int_equal(s->d->nr_dirt, 0);
	unmap(w->mm, 16 * HUGE + 3, 2 * HUGE);
	assert_int_equal(s->d->nr_dirt, 2 * HUGE);
	end_scene(s);
}

static void mremap_of_a_pud_leaf(void **state)
{
	struct scene *s = scene();
	struct world *w = &s->w;

	(void)state;
	map_device(w->mm, 0, GIANT, s->d, 0);
	store(w->cpu[0], PAGE(0), 6);
	move_to(w->mm, 0, GIANT, 2 * GIANT);
	check_world(w);
	assert_true(leaf_at(w->mm, PAGE(2 * GIANT), PUD_SHIFT) & X86_DIRTY);
	assert_int_equal(load(w->cpu[0], PAGE(2 * GIANT)), 6);
	assert_int_equal(try_load(w->cpu[0], PAGE(0)), VELLUM_FAULT_SIGSEGV_MAPERR);
	/* A move by 2 MiB: the leaves become PMD leaves. */
	move_to(w->mm, 2 * GIANT, HUGE, HUGE);
	check_world(w);
	assert_true(leaf_at(w->mm, PAGE(HUGE), PMD_SHIFT) & X86_DIRTY);
	assert_true(leaf_at(w->mm, PAGE(2 * GIANT + HUGE), PMD_SHIFT) & X86_DIRTY);
	assert_int_equal(load(w->cpu[0], PAGE(HUGE)), 6);
	assert_int_equal(s->d->nr_dirt, 0);
	end_scene(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fault_installs_the_largest_leaf),
		cmocka_unit_test(remap_installs_the_largest_leaf),
		cmocka_unit_test(remap_cleans_up_when_frames_run_out),
		cmocka_unit_test(remap_over_an_entry_is_ebusy),
		cmocka_unit_test(anonymous_memory_ignores_the_mapping),
		cmocka_unit_test(remap_of_a_private_mapping_is_read_only),
		cmocka_unit_test(store_to_a_private_leaf_copies_one_page),
		cmocka_unit_test(T_fork_03_pmd),
		cmocka_unit_test(T_fork_04_pud),
		cmocka_unit_test(T_fork_04_private_pud),
		cmocka_unit_test(T_wpc_05_helpers_skip_leaves),
		cmocka_unit_test(T_walk_02_huge),
		cmocka_unit_test(T_pte_06_partial_munmap),
		cmocka_unit_test(T_pte_06_partial_munmap_of_pud),
		cmocka_unit_test(zap_of_a_dirty_leaf_reports_all_its_pages),
		cmocka_unit_test(mprotect_of_a_whole_leaf_and_of_a_part),
		cmocka_unit_test(mprotect_splits_a_pud_leaf),
		cmocka_unit_test(mremap_keeps_leaves_if_aligned),
		cmocka_unit_test(mremap_of_a_pud_leaf),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
