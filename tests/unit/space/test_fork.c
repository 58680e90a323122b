/* SPDX-License-Identifier: MIT */
/* Which entries a fork copies, and the exact entries that it leaves in parent and child. */
#define _GNU_SOURCE
#include "huge_support.h"
#include "vellum/device.h"

#define SHARED	VELLUM_MAP_SHARED
#define PRIVATE VELLUM_MAP_PRIVATE

static struct vellum_mm *forked(struct vellum_mm *parent)
{
	struct vellum_mm *child;

	OK(vellum_fork(parent, &child));
	return child;
}

/* The child's entry of a shared VMA: old and clean, with all other bits. */
static uint64_t shared_copy(pte_t pte)
{
	return pte.val & ~(X86_ACCESSED | X86_DIRTY | X86_SAVED_DIRTY | X86_UNCHANGED);
}

static bool has_table(struct vellum_mm *mm, uint64_t addr)
{
	struct mutex *ptl;

	return pte_lookup(mm, addr, &ptl);
}

/* --- VMAs of mappings: raw entries are copied, others fault --- */

/* The odd pages are raw frames. */
static int mixed_pfn_fault(void *ctx, struct vellum_vmf *vmf)
{
	if (vmf->pgoff % 2 == 0)
		return VELLUM_VMF_FALLBACK;
	vmf->pfn = ((struct counting *)ctx)->first_pfn + vmf->pgoff;
	return VELLUM_VMF_OK;
}

static int zero_fault(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx, (void)vmf;
	return VELLUM_VMF_OK;
}

static const struct vellum_backing_ops mixed_ops = { .size = sizeof(mixed_ops), .fault = zero_fault,
						     .pfn_fault = mixed_pfn_fault };

struct kind {
	const char *name;
	const struct vellum_backing_ops *ops;
	uint32_t mapping_flags, map_flags;
	bool copied;		/* shared entries and private entries of the mapping's pages */
	bool copied_with_anon;	/* the same, if the VMA has a private page */
};

static const struct kind kinds[] = {
	{ "PFN, shared", &counting_pfn_ops, VELLUM_MAPPING_PFN, SHARED, true, true },
	{ "PFN, private", &counting_pfn_ops, VELLUM_MAPPING_PFN, PRIVATE, true, true },
	{ "mixed, shared", &mixed_ops, VELLUM_MAPPING_MIXED, SHARED, true, true },
	{ "mixed, private", &mixed_ops, VELLUM_MAPPING_MIXED, PRIVATE, true, true },
	{ "file, shared", &counting_ops, 0, SHARED, false, false },
	{ "file, private", &counting_ops, 0, PRIVATE, false, true },
};

static struct vellum_mapping *kind_mapping(struct world *w, const struct kind *kind, struct counting *c)
{
	struct vellum_mapping *obj;

	OK(vellum_memory_alloc_device(w->memory, 8, &c->first_pfn));
	OK(vellum_mapping_create(w->memory, kind->ops, c, 8, kind->mapping_flags, &obj));
	map_object(w->mm, 0, 8, RW, kind->map_flags, obj, 0, RW);
	return obj;
}

/* Compare the entries of pages 0 to 7 of the child with those that the parent had and has. */
static void compare_entries(struct world *w, struct vellum_mm *child, const struct kind *kind, const pte_t *before,
			    bool copied)
{
	for (unsigned i = 0; i < 8; i++) {
		pte_t now = entry_at(w->mm, PAGE(i)), theirs = entry_at(child, PAGE(i));

		if (!copied || !before[i].val) {
			assert_int_equal(now.val, before[i].val);
			assert_int_equal(theirs.val, 0);
		} else if (kind->map_flags == SHARED) {
			assert_int_equal(now.val, before[i].val);
			assert_int_equal(theirs.val, shared_copy(before[i]));
		} else {
			assert_int_equal(now.val, pte_wrprotect(before[i]).val);
			assert_int_equal(theirs.val, now.val & ~X86_ACCESSED);
		}
	}
}

static void entries_that_faults_cannot_restore_are_copied(void **state)
{
	struct world *w = *state;

	for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++)
		for (unsigned anon = 0; anon < (kinds[k].map_flags == SHARED ? 1 : 2); anon++) {
			struct counting *c = new_counting();
			struct vellum_mapping *obj = kind_mapping(w, &kinds[k], c);
			struct vellum_mm *child;
			pte_t before[8];

			for (unsigned i = 0; i < 8; i++)
				if (i % 4 == 3 && (anon || kinds[k].map_flags == SHARED))
					store(w->cpu[0], PAGE(i), i);
				else if (i != 4)
					load(w->cpu[0], PAGE(i));
			for (unsigned i = 0; i < 8; i++)
				before[i] = entry_at(w->mm, PAGE(i));
			child = forked(w->mm);
			compare_entries(w, child, &kinds[k], before,
					anon ? kinds[k].copied_with_anon : kinds[k].copied);
			check_world(w);
			vellum_mm_put(child);
			unmap(w->mm, 0, 8);
			vellum_mapping_put(obj);
			vellum_memory_free_device(w->memory, c->first_pfn, 8);
		}
}

/* --- private entries, bit by bit --- */

static void each_bit_of_a_private_entry(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	pte_t old, now;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(1), 5);
	old = pte_make(entry_at(w->mm, PAGE(1)).val | X86_SOFT_DIRTY | X86_UNCHANGED | X86_UFFD_WP);
	set_entry_at(w->mm, PAGE(1), old);
	child = forked(w->mm);
	now = entry_at(w->mm, PAGE(1));
	assert_int_equal(now.val, pte_wrprotect(old).val);
	assert_int_equal(entry_at(child, PAGE(1)).val, now.val & ~(X86_ACCESSED | X86_UNCHANGED | X86_UFFD_WP));
	assert_int_equal(vellum_mm_rss(child), 1);
	set_entry_at(w->mm, PAGE(1), pte_make(now.val & ~(X86_UNCHANGED | X86_UFFD_WP)));
	vellum_mm_put(child);
}

/* A page with one more reference is not exclusive after the fork, so the parent's store copies it. */
static void a_referenced_page_is_shared(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t pfn = NO_PFN;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(0), 5);
	OK(gup_one(w->mm, PAGE(0), 0, &pfn));
	child = fork_on(w->mm, w->cpu[1]);
	assert_false(page_flags(w, pfn) & PG_EXCLUSIVE);
	store(w->cpu[0], PAGE(0), 6);
	assert_int_equal(load(w->cpu[1], PAGE(0)), 5);
	give_one(w->memory, 0, pfn);
	end_child(child, w->cpu[1]);
}

/* No writable entry loses W, so nothing is flushed. */
static void fork_of_read_only_entries_does_not_flush(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t flushes;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 512, 512, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(512), BYTES(512), VELLUM_MADV_HUGEPAGE));
	store(w->cpu[0], PAGE(1), 5);
	store(w->cpu[0], PAGE(600), 5);
	assert_true(leaf_at(w->mm, PAGE(512), PMD_SHIFT));
	for (unsigned i = 0; i < 2; i++) {
		flushes = count_of(w, VELLUM_COUNT_TLB_FLUSHES);
		child = forked(w->mm);
		assert_int_equal(count_of(w, VELLUM_COUNT_TLB_FLUSHES), flushes + !i);
		assert_int_equal(leaf_at(w->mm, PAGE(512), PMD_SHIFT) & X86_RW, 0);
		vellum_mm_put(child);
	}
}

/* The leaf is all that loses W. A CPU that has its translation must not store to the page that the child maps. */
static void a_writable_leaf_is_flushed(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t flushes;

	map_at(w->mm, 0, HUGE, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(HUGE), VELLUM_MADV_HUGEPAGE));
	vellum_soft_load_mm(w->cpu[1], w->mm);
	store(w->cpu[0], PAGE(9), 5);
	store(w->cpu[1], PAGE(9), 6);
	flushes = count_of(w, VELLUM_COUNT_TLB_FLUSHES);
	child = fork_on(w->mm, w->cpu[2]);
	assert_int_equal(count_of(w, VELLUM_COUNT_TLB_FLUSHES), flushes + 1);
	store(w->cpu[1], PAGE(9), 7);
	assert_int_equal(load(w->cpu[2], PAGE(9)), 6);
	assert_int_equal(load(w->cpu[0], PAGE(9)), 7);
	end_child(child, w->cpu[2]);
}

/* --- tables --- */

/* The child gets no table for a VMA without entries, whatever its neighbours in the parent's table have. */
static void empty_ranges_get_no_table(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;

	map_at(w->mm, 0, 16, RW, ANON);
	for (unsigned i = 0; i < 16; i++)
		store(w->cpu[0], PAGE(i), i);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(4), VELLUM_MADV_DONTFORK));
	OK(vellum_madvise(w->mm, PAGE(10), BYTES(6), VELLUM_MADV_DONTFORK));
	for (unsigned last = 0; last < 2; last++) {	/* with the entry behind the range, and without */
		dontneed(w->mm, 4, last ? 7 : 6);
		child = forked(w->mm);
		assert_false(has_table(child, PAGE(4)));
		assert_int_equal(vellum_mm_rss(child), 0);
		vellum_mm_put(child);
	}
	store(w->cpu[0], PAGE(9), 3);	/* the last entry of the range */
	child = forked(w->mm);
	assert_int_equal(vellum_mm_rss(child), 1);
	assert_true(pte_present(entry_at(child, PAGE(9))));
	vellum_mm_put(child);
}

/* --- pinned pages --- */

/* Raw frames beyond RAM, the zero page and a file's pinned page are no pages to copy; a pinned private page is. */
static void only_pinned_private_pages_are_copied(void **state)
{
	struct scene *s = scene_with(&device_ops, VELLUM_MAPPING_PFN);
	struct vellum_mm *mm = s->w.mm, *child;
	uint64_t pins[2], file_pfn;
	struct file f;

	(void)state;
	s->d->max_order = 0;
	file_create(&f, &s->w, 4);
	map_object(mm, 0, 4, RW, PRIVATE, s->d->mapping, 0, RW);
	map_at(mm, 8, 4, RW, ANON);
	map_private(mm, 16, 4, &f, 0);
	load(s->w.cpu[0], PAGE(1));	/* raw */
	load(s->w.cpu[0], PAGE(9));	/* the zero page */
	load(s->w.cpu[0], PAGE(17));	/* the file's */
	store(s->w.cpu[0], PAGE(18), 4);
	store(s->w.cpu[0], PAGE(10), 7);
	store(s->w.cpu[0], PAGE(11), 8);
	pins[0] = pin(mm, PAGE(10), WRITE);
	pins[1] = pin(mm, PAGE(17), 0);
	file_pfn = pte_pfn(entry_at(mm, PAGE(17)));
	child = forked(mm);
	assert_int_equal(entry_at(child, PAGE(1)).val, entry_at(mm, PAGE(1)).val & ~X86_ACCESSED);
	assert_int_equal(pte_pfn(entry_at(child, PAGE(9))), pte_pfn(entry_at(mm, PAGE(9))));
	assert_int_equal(pte_pfn(entry_at(child, PAGE(17))), file_pfn);
	assert_int_equal(pte_pfn(entry_at(child, PAGE(11))), pte_pfn(entry_at(mm, PAGE(11))));
	assert_int_not_equal(pte_pfn(entry_at(child, PAGE(10))), pins[0]);
	assert_int_equal(*frame_words(&s->w, pte_pfn(entry_at(child, PAGE(10)))), 7);
	assert_true(has_w(mm, PAGE(10)) && !has_w(mm, PAGE(11)));
	check_world(&s->w);
	unpin(&s->w, pins[0]);
	unpin(&s->w, pins[1]);
	vellum_mm_put(child);
	unmap(mm, 0, 20);
	file_destroy(&f);
	end_scene(s);
}

/* --- huge leaves --- */

/* An anonymous leaf is shared whole, even if a page elsewhere is pinned. If one of its pages is pinned, it is split. */
static void leaves_with_and_without_pins(void **state)
{
	struct world w;

	(void)state;
	for (unsigned page = 0; page < 2; page++) {	/* pin a page beside the leaf, or one in it */
		struct vellum_mm *child;
		uint64_t pfn, val;

		world_create(&w, 32 << 20);
		map_at(w.mm, 0, 4, RW, ANON);
		map_at(w.mm, HUGE, HUGE, RW, ANON);
		OK(vellum_madvise(w.mm, PAGE(HUGE), BYTES(HUGE), VELLUM_MADV_HUGEPAGE));
		store(w.cpu[0], PAGE(1), 1);
		store(w.cpu[0], PAGE(HUGE + 9), 2);
		pfn = pin(w.mm, PAGE(page ? HUGE + 9 : 1), WRITE);
		val = leaf_at(w.mm, PAGE(HUGE), PMD_SHIFT);
		assert_true(val);
		child = forked(w.mm);
		assert_int_equal(leaf_at(w.mm, PAGE(HUGE), PMD_SHIFT), page ? 0 : leaf_wrprotect(val));
		assert_int_equal(leaf_at(child, PAGE(HUGE), PMD_SHIFT), page ? 0 : leaf_wrprotect(val) & ~X86_ACCESSED);
		assert_int_equal(pte_pfn(page_entry(child, PAGE(HUGE + 8))), pte_pfn(page_entry(w.mm, PAGE(HUGE + 8))));
		assert_int_equal(vellum_mm_rss(child), vellum_mm_rss(w.mm));
		check_world(&w);
		unpin(&w, pfn);
		vellum_mm_put(child);
		world_destroy(&w);
	}
}

/* Protection by userfaultfd is not the child's, if its VMA is not registered. */
static void a_protected_leaf(void **state)
{
	struct vellum_mm *child;
	struct world w;
	uint64_t val;

	(void)state;
	world_create(&w, 32 << 20);
	map_at(w.mm, 0, HUGE, RW, ANON);
	OK(vellum_madvise(w.mm, PAGE(0), BYTES(HUGE), VELLUM_MADV_HUGEPAGE));
	store(w.cpu[0], PAGE(3), 1);
	val = leaf_mkuffd_wp(leaf_wrprotect(leaf_at(w.mm, PAGE(0), PMD_SHIFT)));
	set_leaf_at(w.mm, PAGE(0), val);
	child = forked(w.mm);
	assert_int_equal(leaf_at(w.mm, PAGE(0), PMD_SHIFT), val);
	assert_int_equal(leaf_at(child, PAGE(0), PMD_SHIFT), val & ~(X86_ACCESSED | X86_UFFD_WP));
	set_leaf_at(w.mm, PAGE(0), leaf_clear_uffd_wp(val));
	vellum_mm_put(child);
	world_destroy(&w);
}

/*
 * Raw leaves: device memory is copied, also while a page is pinned. Device memory that stands for a file's pages is
 * not, though the VMA has a private page, and so its entries are walked.
 */
static void leaves_of_raw_frames(void **state)
{
	static const uint32_t flags[] = { VELLUM_MAPPING_PFN, VELLUM_MAPPING_MIXED,
					  VELLUM_MAPPING_PFN | VELLUM_MAPPING_DEVMAP };

	(void)state;
	for (unsigned k = 0; k < ARRAY_SIZE(flags); k++) {
		static struct vellum_backing_ops ops;
		struct vellum_mm *mm, *child;
		uint64_t val, pfn;
		struct scene *s;

		ops = device_ops;
		if (flags[k] & VELLUM_MAPPING_MIXED)
			ops.pfn_fault = device_fault;
		s = scene_with(&ops, flags[k]);
		mm = s->w.mm;
		s->d->max_order = 9;
		map_object(mm, 0, 2 * HUGE, RW, PRIVATE, s->d->mapping, 0, RW);
		load(s->w.cpu[0], PAGE(1));
		store(s->w.cpu[0], PAGE(HUGE + 1), 4);	/* a private page */
		pfn = pin(mm, PAGE(HUGE + 1), WRITE);
		val = leaf_at(mm, PAGE(0), PMD_SHIFT);
		assert_int_equal(!!(val & X86_DEVMAP), !!(flags[k] & VELLUM_MAPPING_DEVMAP));
		assert_true(val && leaf_is_raw(val));
		child = forked(mm);
		assert_int_equal(leaf_at(mm, PAGE(0), PMD_SHIFT), val);
		assert_int_equal(leaf_at(child, PAGE(0), PMD_SHIFT),
				 flags[k] & VELLUM_MAPPING_DEVMAP ? 0 : val & ~X86_ACCESSED);
		assert_true(pte_present(entry_at(child, PAGE(HUGE + 1))));
		check_world(&s->w);
		unpin(&s->w, pfn);
		vellum_mm_put(child);
		end_scene(s);
	}
}

/* --- entries of devices --- */

static int copy_nothing(void *ctx, uint64_t index, const void *page)
{
	(void)ctx, (void)index, (void)page;
	return 0;
}

static int fill_nothing(void *ctx, uint64_t index, void *page)
{
	(void)ctx, (void)index, (void)page;
	return 0;
}

static void note_frame(void *ctx, uint64_t pfn)
{
	*(uint64_t *)ctx = pfn;
}

/* A device's exclusive access ends, and the tracker gets the address of this page. */
static void device_exclusive_pages_return(void **state)
{
	struct world *w = *state;
	static const struct vellum_device_ops ops = { .size = sizeof(ops), .to_device = copy_nothing,
						      .to_ram = fill_nothing, .exclusive = note_frame };
	struct vellum_device *device;
	struct vellum_tracker *t;
	struct vellum_mm *child;
	uint64_t pfn, told = 0;

	OK(vellum_device_create(w->memory, &ops, &told, 4, &device));
	map_at(w->mm, 0, 16, RW, ANON);
	store(w->cpu[0], PAGE(3), 3);
	store(w->cpu[0], PAGE(9), 9);
	OK(vellum_device_make_exclusive(device, w->mm, PAGE(9), &pfn));
	OK(vellum_track_mm(w->mm, BASE, PAGE(16), VELLUM_TRACK_WP, &t));
	child = forked(w->mm);
	assert_int_equal(told, pfn);
	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(9))), pfn);
	assert_int_equal(pte_pfn(entry_at(child, PAGE(9))), pfn);
	assert_int_equal(collect(t, BASE >> 12), 1 << 9);
	vellum_tracker_destroy(t);
	vellum_mm_put(child);
	unmap(w->mm, 0, 16);
	OK(vellum_device_destroy(device));
}

/* --- the address space --- */

static void limits_and_flags_are_inherited(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child, *mm = w->mm;

	vellum_set_brk(mm, PAGE(100));
	assert_int_equal(vellum_brk(mm, PAGE(104)), PAGE(104));
	mm->mmap_top = TASK_SIZE - 16 * PAGE_SIZE;
	mm->mmap_min_addr = 8 * PAGE_SIZE;
	mm->memlock_limit = 123 * PAGE_SIZE;
	mm->stack_limit = 45 * PAGE_SIZE;
	map_at(mm, 0, 4, RW, ANON);
	map_at(mm, 8, 4, RW, ANON);
	store(w->cpu[0], PAGE(8), 1);
	OK(vellum_mlock(mm, PAGE(0), BYTES(2), VELLUM_MLOCK_ONFAULT));
	OK(vellum_mlock(mm, PAGE(2), BYTES(2), 0));
	OK(vellum_madvise(mm, PAGE(8), BYTES(4), VELLUM_MADV_WIPEONFORK));
	child = forked(mm);
	assert_int_equal(child->brk_start, PAGE(100));
	assert_int_equal(vellum_brk(child, 0), PAGE(104));
	assert_int_equal(child->mmap_top, mm->mmap_top);
	assert_int_equal(child->mmap_min_addr, mm->mmap_min_addr);
	assert_int_equal(child->memlock_limit, mm->memlock_limit);
	assert_int_equal(child->stack_limit, mm->stack_limit);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(vma_at(child, PAGE(i))->flags,
				 vma_at(mm, PAGE(i))->flags & ~(VM_LOCKED | VM_LOCKONFAULT));
	assert_ptr_equal(vma_at(child, PAGE(0))->anon_vma, vma_at(mm, PAGE(0))->anon_vma);
	assert_int_equal(vma_at(child, PAGE(8))->flags, vma_at(mm, PAGE(8))->flags);
	assert_non_null(vma_at(mm, PAGE(8))->anon_vma);
	assert_null(vma_at(child, PAGE(8))->anon_vma);	/* it has no page of the parent's */
	vellum_mm_put(child);
}

/* --- no memory --- */

/* Fork with each number of frames that is too small: nothing is left of the child, and the pin stays. */
static void fork_fails_for_each_lack_of_frames(void **state)
{
	uint64_t *hoard, n = 0, failed = 0, rss, pfn;
	struct vellum_mm *child = NULL;
	struct world w;
	int err;

	(void)state;
	world_create(&w, 16 << 20);
	hoard = calloc(w.memory->nr_frames, 8);
	map_at(w.mm, 0, HUGE, RW, ANON);
	map_at(w.mm, HUGE, 16, RW, ANON);
	OK(vellum_madvise(w.mm, PAGE(0), BYTES(HUGE), VELLUM_MADV_HUGEPAGE));
	store(w.cpu[0], PAGE(0), 1);
	for (unsigned i = HUGE; i < HUGE + 16; i += 5)
		store(w.cpu[0], PAGE(i), i);
	pfn = pin(w.mm, PAGE(HUGE + 5), WRITE);
	rss = vellum_mm_rss(w.mm);
	while (!vellum_memory_alloc_device(w.memory, 1, &hoard[n]))
		n++;
	while ((err = vellum_fork(w.mm, &child))) {
		assert_int_equal(err, -ENOMEM);
		assert_int_equal(free_frames(&w), failed);
		assert_int_equal(vellum_mm_rss(w.mm), rss);
		for (unsigned i = HUGE; i < HUGE + 16; i += 5)
			assert_int_equal(load(w.cpu[0], PAGE(i)), i);
		assert_true(has_w(w.mm, PAGE(HUGE + 10)));	/* behind the page that could not be copied */
		check_world(&w);
		vellum_memory_free_device(w.memory, hoard[--n], 1);
		failed++;
	}
	assert_true(failed >= 6);	/* PGD, PUD, PMD, the leaf's deposit, table, copy */
	assert_true(has_w(w.mm, PAGE(HUGE + 5)));
	assert_int_equal(*frame_words(&w, pte_pfn(entry_at(child, PAGE(HUGE + 5)))), HUGE + 5);
	assert_int_equal(vellum_mm_rss(child), rss);
	vellum_mm_put(child);
	unpin(&w, pfn);
	while (n)
		vellum_memory_free_device(w.memory, hoard[--n], 1);
	free(hoard);
	world_destroy(&w);
}

/* If no frame is free, the fork reclaims clean pages of a file and tries again. */
static void fork_reclaims_frames(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t *hoard = calloc(w->memory->nr_frames, 8), n = 0;
	struct file f;

	file_create(&f, w, 64);
	map_shared(w->mm, 100, 64, &f, 0);
	map_at(w->mm, 0, 8, RW, ANON);
	store(w->cpu[0], PAGE(3), 3);
	for (unsigned i = 0; i < 64; i++)
		load(w->cpu[0], PAGE(100 + i));
	while (!vellum_memory_alloc_device(w->memory, 1, &hoard[n]))
		n++;
	for (unsigned i = 0; i < 64; i++)	/* what the loop above reclaimed */
		try_load(w->cpu[0], PAGE(100 + i));
	child = fork_on(w->mm, w->cpu[1]);
	assert_int_equal(load(w->cpu[1], PAGE(3)), 3);
	end_child(child, w->cpu[1]);
	while (n)
		vellum_memory_free_device(w->memory, hoard[--n], 1);
	free(hoard);
	unmap(w->mm, 0, 200);
	file_destroy(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(entries_that_faults_cannot_restore_are_copied),
		WORLD_TEST(each_bit_of_a_private_entry),
		WORLD_TEST(a_referenced_page_is_shared),
		WORLD_TEST(fork_of_read_only_entries_does_not_flush),
		WORLD_TEST(a_writable_leaf_is_flushed),
		WORLD_TEST(empty_ranges_get_no_table),
		cmocka_unit_test(only_pinned_private_pages_are_copied),
		cmocka_unit_test(leaves_with_and_without_pins),
		cmocka_unit_test(a_protected_leaf),
		cmocka_unit_test(leaves_of_raw_frames),
		WORLD_TEST(device_exclusive_pages_return),
		WORLD_TEST(limits_and_flags_are_inherited),
		cmocka_unit_test(fork_fails_for_each_lack_of_frames),
		WORLD_TEST(fork_reclaims_frames),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
