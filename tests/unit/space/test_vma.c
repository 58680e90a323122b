/* SPDX-License-Identifier: MIT */
/* VMAs: split, merge, placement, growth; calls that fail change nothing. */
#include "more_support.h"
#include "mm/space/space.h"

/* --- split and merge --- */

static void split_and_restore(struct world *w)
{
	protect(w->mm, 3, 1, RO);
	assert_int_equal(nr_vmas(w->mm), 3);
	check_world(w);
	protect(w->mm, 3, 1, RW);
	assert_int_equal(nr_vmas(w->mm), 1);
	check_world(w);
}

static void T_vma_01_split_merge(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 8, RW, ANON);
	split_and_restore(w);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	split_and_restore(w);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i + 1);
}

/* A moved page keeps its index, so the VMA does not merge at its new address. */
static void T_vma_01_moved_page(void **state)
{
	struct world *w = *state;
	struct vellum_vma_info info = { .size = sizeof(info) };
	uint64_t addr;

	map_at(w->mm, 0, 8, RW, ANON);
	store(w->cpu[0], PAGE(3), 33);
	OK(vellum_mremap(w->mm, PAGE(3), BYTES(1), BYTES(2), VELLUM_MREMAP_MAYMOVE, &addr));
	assert_int_equal(nr_vmas(w->mm), 3);
	OK(vellum_vma_next(w->mm, addr, &info));
	assert_int_equal(info.pgoff, PAGE(3) >> 12);
	assert_int_equal(load(w->cpu[0], addr), 33);
	map_at(w->mm, 3, 1, RW, ANON); /* the hole, with the index of its address: merges on both sides */
	assert_int_equal(nr_vmas(w->mm), 2);
}

static void T_vma_02_special_never_merges(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *dev = new_pfn_object(w, c, 8);

	map_object(w->mm, 0, 4, RW, VELLUM_MAP_SHARED, dev, 0, RW);
	map_object(w->mm, 4, 4, RW, VELLUM_MAP_SHARED, dev, 4, RW);
	assert_int_equal(nr_vmas(w->mm), 2);
	vellum_mapping_put(dev);
	unmap(w->mm, 0, 8);
	assert_int_equal(c->releases, 1);
	vellum_memory_free_device(w->memory, c->first_pfn, 8);
}

static void T_vma_04_read_only_object(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = new_object(w, c, 8);
	uint64_t count = 7, bitmap = 0, start = 0, end = 0;
	struct vma *vma;

	map_object(w->mm, 0, 8, RO, VELLUM_MAP_SHARED, obj, 0, RO);
	vma = vma_at(w->mm, BASE);
	assert_int_equal(vma->flags & (VM_SHARED | VM_MAYWRITE | VM_MAYSHARE), VM_MAYSHARE);
	assert_false(vma_is_cow(vma));
	assert_int_equal(vellum_mprotect(w->mm, BASE, BYTES(8), RW), -EACCES);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 2);
	assert_int_equal(try_store(w->cpu[0], PAGE(2), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	OK(vellum_wp_shared_mapping_range(obj, 0, 8, &count));
	assert_int_equal(count, 0);
	OK(vellum_clean_record_shared_mapping_range(obj, 0, 8, 0, &bitmap, &start, &end, &count));
	assert_int_equal(count, 0);
	vellum_mapping_put(obj);
}

static const struct {
	uint32_t prot, prot2;
	int gap; /* pages between the two VMAs, and between their offsets */
	int pgoff_gap;
	unsigned vmas;
} merges[] = {
	{RW, RW, 0, 0, 1},
	{RW, RO, 0, 0, 2},
	{RW, RW, 1, 0, 2}, /* not adjacent */
	{RW, RW, 0, 1, 2}, /* adjacent, but not in the file */
};

static void adjacent_file_vmas_merge_if_their_pages_are_adjacent(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = new_object(w, c, 32), *other = new_object(w, c, 32);

	for (unsigned i = 0; i < ARRAY_SIZE(merges); i++) {
		unsigned at = 20 * i, next = at + 4 + merges[i].gap, before = nr_vmas(w->mm);

		map_object(w->mm, at, 4, merges[i].prot, VELLUM_MAP_SHARED, obj, 0, RW);
		map_object(w->mm, next, 4, merges[i].prot2, VELLUM_MAP_SHARED, obj,
			   4 + merges[i].pgoff_gap, RW);
		assert_int_equal(nr_vmas(w->mm), before + merges[i].vmas);
		check_world(w);
	}
	map_object(w->mm, 100, 4, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	map_object(w->mm, 104, 4, RW, VELLUM_MAP_PRIVATE, obj, 4, RW);
	map_object(w->mm, 108, 4, RW, VELLUM_MAP_PRIVATE, other, 8, RW);
	unmap(w->mm, 0, 100);
	assert_int_equal(nr_vmas(w->mm), 3);
	vellum_mapping_put(obj);
	vellum_mapping_put(other);
}

static void vma_in_a_hole_merges_on_both_sides(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 9, RW, ANON);
	unmap(w->mm, 3, 3);
	assert_int_equal(nr_vmas(w->mm), 2);
	map_at(w->mm, 4, 1, RW, ANON);
	assert_int_equal(nr_vmas(w->mm), 3);
	map_at(w->mm, 3, 1, RW, ANON);
	map_at(w->mm, 5, 1, RW, ANON);
	assert_int_equal(nr_vmas(w->mm), 1);
	protect(w->mm, 0, 9, RO);
	assert_int_equal(nr_vmas(w->mm), 1);
}

/* --- calls that fail change nothing --- */

/* VMAs of each kind, and a hole. */
struct layout {
	struct world *w;
	struct counting *c;
	struct vellum_mapping *obj, *dev;
	struct vma_list before;
};

static void layout_create(struct layout *l, struct world *w)
{
	memset(l, 0, sizeof(*l));
	l->w = w;
	l->c = new_counting();
	l->obj = new_object(w, l->c, 16);
	l->dev = new_pfn_object(w, l->c, 4);
	map_at(w->mm, 0, 8, RW, ANON);
	map_at(w->mm, 8, 4, RO, ANON);
	/* 12 to 15: a hole */
	map_object(w->mm, 16, 4, RO, VELLUM_MAP_SHARED, l->obj, 0, RO);
	map_object(w->mm, 20, 4, RW, VELLUM_MAP_SHARED, l->obj, 8, RW);
	map_object(w->mm, 24, 4, RW, VELLUM_MAP_SHARED, l->dev, 0, RW);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), 100 + i);
	store(w->cpu[0], PAGE(20), 120);
	store(w->cpu[0], PAGE(24), 124);
	list_vmas(w->mm, &l->before, false);
}

static void layout_check_bytes(struct layout *l)
{
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(load(l->w->cpu[0], PAGE(i)), 100 + i);
	assert_int_equal(load(l->w->cpu[0], PAGE(9)), 0);
	assert_int_equal(load(l->w->cpu[0], PAGE(17)), 1);
	assert_int_equal(load(l->w->cpu[0], PAGE(20)), 120);
	assert_int_equal(load(l->w->cpu[0], PAGE(24)), 124);
	check_world(l->w);
}

static void layout_unchanged(struct layout *l)
{
	struct vma_list now;

	list_vmas(l->w->mm, &now, false);
	assert_true(same_list(&now, &l->before));
	layout_check_bytes(l);
}

static void layout_destroy(struct layout *l)
{
	vellum_mapping_put(l->obj);
	vellum_mapping_put(l->dev);
	unmap(l->w->mm, 0, 64);
	vellum_memory_free_device(l->w->memory, l->c->first_pfn, 4);
}

#define FIX   VELLUM_MAP_FIXED
#define NOREP VELLUM_MAP_FIXED_NOREPLACE
#define SHF   VELLUM_MAP_SHARED
#define PRF   VELLUM_MAP_PRIVATE

static const struct {
	uint64_t addr, len;
	uint32_t prot, flags;
	uint64_t pgoff;
	uint32_t file_prot; /* 0 without ANONYMOUS: no file; ~0: not readable */
	int want;
} mmap_errors[] = {
	{0, 0, RW, ANON, 0, 0, -EINVAL},
	{0, 4096, RW, VELLUM_MAP_ANONYMOUS, 0, 0, -EINVAL},
	{PAGE(40) + 1, 4096, RW, ANON | FIX, 0, 0, -EINVAL},
	{PAGE(40) + 8, 4096, RW, ANON | NOREP, 0, 0, -EINVAL},
	{0, 4096, RW, SHANON | PRF, 0, 0, -EINVAL}, /* SHARED_VALIDATE without a file */
	{0, ~0ull, RW, ANON, 0, 0, -ENOMEM},
	{0, VELLUM_TASK_SIZE + 1, RW, ANON, 0, 0, -ENOMEM},
	{0, VELLUM_TASK_SIZE, RW, ANON, 0, 0, -ENOMEM},
	{VELLUM_TASK_SIZE, 4096, RW, ANON | FIX, 0, 0, -ENOMEM},
	{VELLUM_TASK_SIZE - 4096, 8192, RW, ANON | FIX, 0, 0, -ENOMEM},
	{0, 4096, RW, ANON | FIX, 0, 0, -EPERM},
	{0xf000, 4096, RW, ANON | FIX, 0, 0, -EPERM},
	{0, 4096, RW, PRF, 0, 0, -EBADF},
	{0, 4096, RW, SHF, 0, RO, -EACCES},
	{PAGE(2), 4096, RW, SHF | FIX, 0, RO, -EACCES},
	{0, 4096, RO, PRF, 0, VELLUM_PROT_WRITE, -EACCES},
	{0, 8192, RO, PRF, ~0ull, RW, -EOVERFLOW},
	{0, 8192, RO, PRF, 1ull << 52, RW, -EOVERFLOW},
	{0, 8192, RO, PRF, (1ull << 51) - 1, RW, -EOVERFLOW},
	{0, 4096, RO, VELLUM_MAP_SHARED_VALIDATE | 0x200000, 0, RW, -EOPNOTSUPP},
	{PAGE(40), 4096, RO, VELLUM_MAP_SHARED_VALIDATE | NOREP, 0, RW, -EOPNOTSUPP},
	{PAGE(7), 4096, RW, ANON | NOREP, 0, 0, -EEXIST},
};

static void T_sys_01_mmap(void **state)
{
	struct layout l;
	uint64_t addr;

	layout_create(&l, *state);
	for (unsigned i = 0; i < ARRAY_SIZE(mmap_errors); i++) {
		struct vellum_map_args args = {.size = sizeof(args),
					       .addr = mmap_errors[i].addr,
					       .len = mmap_errors[i].len,
					       .prot = mmap_errors[i].prot,
					       .flags = mmap_errors[i].flags,
					       .pgoff = mmap_errors[i].pgoff,
					       .file_prot = mmap_errors[i].file_prot};

		if (args.file_prot)
			args.mapping = l.obj;
		if (vellum_mmap(l.w->mm, &args, &addr) != mmap_errors[i].want)
			fail_msg("row %u: not %d", i, mmap_errors[i].want);
		layout_unchanged(&l);
	}
	assert_int_equal(vellum_mmap(l.w->mm, NULL, &addr), -EINVAL);
	assert_int_equal(vellum_mmap(l.w->mm, &(struct vellum_map_args){.size = 8}, &addr),
			 -EBADF);
	layout_unchanged(&l);
	layout_destroy(&l);
}

static void T_sys_01_mmap_ignores_unknown_flags(void **state)
{
	struct world *w = *state;
	struct vellum_map_args args = {
		.size = sizeof(args), .len = 1, .prot = RW, .flags = SHANON | 0x200000};
	uint64_t addr;

	OK(vellum_mmap(w->mm, &args, &addr));
	store(w->cpu[0], addr + 4088, 1); /* rounded up */
	assert_int_equal(try_load(w->cpu[0], addr + 4096), VELLUM_FAULT_SIGSEGV_MAPERR);
}

static const struct {
	uint64_t addr, len;
	int want;
} munmap_errors[] = {
	{PAGE(0) + 1, 4096, -EINVAL},
	{PAGE(0), 0, -EINVAL},
	{PAGE(0), ~0ull, -EINVAL},
	{PAGE(0), VELLUM_TASK_SIZE, -EINVAL},
	{VELLUM_TASK_SIZE, 4096, -EINVAL},
	{~0xfffull, 4096, -EINVAL},
	{PAGE(12), BYTES(4), 0}, /* no VMA */
	{PAGE(13), 1, 0},
};

static void T_sys_01_munmap(void **state)
{
	struct layout l;

	layout_create(&l, *state);
	for (unsigned i = 0; i < ARRAY_SIZE(munmap_errors); i++) {
		assert_int_equal(
			vellum_munmap(l.w->mm, munmap_errors[i].addr, munmap_errors[i].len),
			munmap_errors[i].want);
		layout_unchanged(&l);
	}
	unmap(l.w->mm, 10, 8); /* over the hole, from and to the middle of VMAs */
	assert_int_equal(try_load(l.w->cpu[0], PAGE(10)), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(load(l.w->cpu[0], PAGE(18)), 2);
	assert_int_equal(load(l.w->cpu[0], PAGE(9)), 0);
	layout_destroy(&l);
}

static const struct {
	uint64_t addr, len;
	uint32_t prot;
	int want;
} mprotect_errors[] = {
	{PAGE(0) + 1, 4096, RO, -EINVAL},
	{PAGE(0), 0, RO, 0},
	{PAGE(12), 0, RO, 0},
	{PAGE(0), 4096, 0x10, -EINVAL},
	{PAGE(0), 4096, 0x1000000, -EINVAL},	/* GROWSDOWN: it does not */
	{PAGE(0), 4096, 0x2000000, -EINVAL},
	{PAGE(0), 4096, 0x3000000, -EINVAL},
	{PAGE(12), 4096, 0x1000000, -ENOMEM},
	{PAGE(0), ~0ull, RO, -ENOMEM},
	{PAGE(0), ~0ull << 13, RO, -ENOMEM},
	{VELLUM_TASK_SIZE, 4096, RO, -ENOMEM},
	{PAGE(12), BYTES(8), RO, -ENOMEM}, /* begins in the hole */
	{PAGE(16), BYTES(4), RW, -EACCES},
};

static void T_sys_01_mprotect(void **state)
{
	struct layout l;

	layout_create(&l, *state);
	for (unsigned i = 0; i < ARRAY_SIZE(mprotect_errors); i++) {
		if (vellum_mprotect(l.w->mm, mprotect_errors[i].addr, mprotect_errors[i].len,
				    mprotect_errors[i].prot) != mprotect_errors[i].want)
			fail_msg("row %u: not %d", i, mprotect_errors[i].want);
		layout_unchanged(&l);
	}
	layout_destroy(&l);
}

/* The part before the error is changed. */
static void T_sys_01_mprotect_prefix(void **state)
{
	struct layout l;

	layout_create(&l, *state);
	assert_int_equal(vellum_mprotect(l.w->mm, PAGE(6), BYTES(14), RO), -ENOMEM);
	assert_int_equal(try_store(l.w->cpu[0], PAGE(6), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	store(l.w->cpu[0], PAGE(5), 105);
	store(l.w->cpu[0], PAGE(20), 120);
	layout_check_bytes(&l);
	protect(l.w->mm, 6, 2, RW);
	protect(l.w->mm, 10, 2, RO);
	unmap(l.w->mm, 8, 8);
	protect(l.w->mm, 0, 8, RW);
	map_at(l.w->mm, 8, 8, RO, ANON);
	assert_int_equal(vellum_mprotect(l.w->mm, PAGE(8), BYTES(12), RW), -EACCES);
	store(l.w->cpu[0], PAGE(15), 1);
	assert_int_equal(try_store(l.w->cpu[0], PAGE(16), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	layout_destroy(&l);
}

static const struct {
	uint64_t addr, old_len, new_len;
	uint32_t flags;
	int want;
} mremap_errors[] = {
	{PAGE(0) + 1, 4096, 8192, 1, -EINVAL},
	{PAGE(0), 4096, 0, 1, -EINVAL},
	{PAGE(0), 0, 4096, 1, -EINVAL},
	{PAGE(20), 0, 4096, 0, -ENOMEM}, /* old length 0 needs MAYMOVE */
	{PAGE(0), 4096, 8192, 2, -EINVAL},
	{PAGE(0), 4096, 8192, 3, -EINVAL},
	{PAGE(0), 4096, 4096, 4, -EINVAL},
	{PAGE(0), 4096, 8192, 5, -EINVAL},
	{PAGE(24), 4096, 4096, 5, -EINVAL}, /* DONTUNMAP of device memory */
	{PAGE(0), 4096, 8192, 8, -EINVAL},
	{PAGE(12), 4096, 8192, 1, -EFAULT},	    /* a hole */
	{PAGE(7), 8192, 3 * 4096, 1, -EFAULT},	    /* crosses the end of its VMA */
	{PAGE(24), BYTES(4), BYTES(8), 1, -EFAULT}, /* device memory does not grow */
	{PAGE(0), BYTES(8), BYTES(9), 0, -ENOMEM},  /* cannot grow in place and may not move */
	{PAGE(0), BYTES(4), BYTES(5), 0, -ENOMEM},
	{PAGE(0), BYTES(8), VELLUM_TASK_SIZE, 1, -ENOMEM},
	{PAGE(0), BYTES(8), BYTES(8), 0, 0},
	{PAGE(0), BYTES(8), BYTES(8) - 5, 1, 0}, /* the same length, rounded up */
};

static void T_sys_01_mremap(void **state)
{
	struct layout l;
	uint64_t addr = 1; /* an address that is not aligned */

	layout_create(&l, *state);
	for (unsigned i = 0; i < ARRAY_SIZE(mremap_errors); i++) {
		addr = mremap_errors[i].flags & VELLUM_MREMAP_DONTUNMAP ? 0 : 1;
		if (vellum_mremap(l.w->mm, mremap_errors[i].addr, mremap_errors[i].old_len,
				  mremap_errors[i].new_len, mremap_errors[i].flags,
				  &addr) != mremap_errors[i].want)
			fail_msg("row %u: not %d", i, mremap_errors[i].want);
		layout_unchanged(&l);
	}
	layout_destroy(&l);
}

static const struct {
	uint64_t addr, len;
	int advice, want;
} madvise_errors[] = {
	{PAGE(0) + 1, 4096, VELLUM_MADV_DONTNEED, -EINVAL},
	{PAGE(0), ~0ull, VELLUM_MADV_DONTNEED, -EINVAL},
	{PAGE(0), ~0ull << 12, VELLUM_MADV_DONTNEED, -EINVAL},
	{PAGE(0), 4096, 99, -EINVAL},
	{PAGE(0), 4096, -1, -EINVAL},
	{PAGE(0), 0, VELLUM_MADV_DONTNEED, 0},
	{PAGE(12), 4096, VELLUM_MADV_DONTNEED, -ENOMEM},
	{PAGE(24), 4096, VELLUM_MADV_DONTNEED, -EINVAL},
	{PAGE(0), 4096, VELLUM_MADV_NORMAL, 0},
};

static void T_sys_01_madvise(void **state)
{
	struct layout l;

	layout_create(&l, *state);
	for (unsigned i = 0; i < ARRAY_SIZE(madvise_errors); i++) {
		if (vellum_madvise(l.w->mm, madvise_errors[i].addr, madvise_errors[i].len,
				   madvise_errors[i].advice) != madvise_errors[i].want)
			fail_msg("row %u: not %d", i, madvise_errors[i].want);
		layout_unchanged(&l);
	}
	/* A hole in the middle: the advice is applied on both sides. */
	assert_int_equal(vellum_madvise(l.w->mm, PAGE(7), BYTES(14), VELLUM_MADV_DONTNEED),
			 -ENOMEM);
	assert_int_equal(load(l.w->cpu[0], PAGE(7)), 0);
	assert_int_equal(load(l.w->cpu[0], PAGE(6)), 106);
	assert_int_equal(load(l.w->cpu[0], PAGE(20)), 120); /* shared: the page of the mapping */
	layout_destroy(&l);
}

/* Any advice fails with -ENOMEM over a hole. */
static void T_sys_01_madvise_normal(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 1, RW, ANON);
	assert_int_equal(vellum_madvise(w->mm, PAGE(0), BYTES(1), VELLUM_MADV_NORMAL), 0);
	assert_int_equal(vellum_madvise(w->mm, PAGE(0), BYTES(2), VELLUM_MADV_NORMAL), -ENOMEM);
}

static void T_sys_02_fixed_noreplace(void **state)
{
	static const unsigned at[] = {3, 5, 7};
	struct world *w = *state;
	struct vma_list before, now;
	uint64_t addr;

	map_at(w->mm, 0, 4, RW, ANON); /* pages 0 to 3, and 7 and above; the gap is 4 to 6 */
	map_at(w->mm, 7, 4, RW, ANON);
	list_vmas(w->mm, &before, false);
	for (unsigned i = 0; i < 3; i++) {
		struct vellum_map_args args = {.size = sizeof(args),
					       .addr = PAGE(at[i]),
					       .len = BYTES(3),
					       .prot = RW,
					       .flags = ANON | NOREP};

		assert_int_equal(vellum_mmap(w->mm, &args, &addr), -EEXIST);
		args.addr = PAGE(at[i] - 2);
		args.len = BYTES(9);
		assert_int_equal(vellum_mmap(w->mm, &args, &addr), -EEXIST);
		list_vmas(w->mm, &now, false);
		assert_true(same_list(&before, &now));
	}
	struct vellum_map_args exact = {.size = sizeof(exact),
					.addr = PAGE(4),
					.len = BYTES(3),
					.prot = RW,
					.flags = ANON | NOREP};
	OK(vellum_mmap(w->mm, &exact, &addr));
	assert_int_equal(addr, PAGE(4));
	assert_int_equal(nr_vmas(w->mm), 1);
}

/* --- placement --- */

/* The largest gap, by a linear search. */
static uint64_t largest_gap(struct vellum_mm *mm)
{
	uint64_t from = MMAP_MIN_ADDR, best = 0;
	struct vellum_vma_info info = { .size = sizeof(info) };

	for (; vellum_vma_next(mm, from, &info) == 0; from = info.end)
		if (info.start > from)
			best = max_u64(best, info.start - from);
	return max_u64(best, VELLUM_TASK_SIZE - from);
}

static bool is_free(struct vellum_mm *mm, uint64_t start, uint64_t len)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	return vellum_vma_next(mm, start, &info) || info.start >= start + len;
}

/* Map all of the address space below TASK_SIZE, except 64 pages at BASE. */
static void fill_address_space(struct vellum_mm *mm)
{
	struct vellum_map_args args = {.size = sizeof(args),
				       .addr = MMAP_MIN_ADDR,
				       .len = BASE - MMAP_MIN_ADDR,
				       .prot = RO,
				       .flags = ANON | FIX};
	uint64_t addr;

	OK(vellum_mmap(mm, &args, &addr));
	args.addr = PAGE(64);
	args.len = VELLUM_TASK_SIZE - PAGE(64);
	OK(vellum_mmap(mm, &args, &addr));
}

static void mmap_succeeds_if_a_gap_is_large_enough(void **state)
{
	struct world *w = *state;
	uint64_t seed = 11, addr;
	unsigned full = 0;

	fill_address_space(w->mm);
	for (unsigned round = 0; round < 3000; round++) {
		struct vellum_map_args args = {.size = sizeof(args),
					       .flags = ANON,
					       .prot = random_below(&seed, 2) ? RW : RO,
					       .len = BYTES(1 + random_below(&seed, 12))};
		bool fits = args.len <= largest_gap(w->mm);
		unsigned at = random_below(&seed, 60);

		if (random_below(&seed, 3) == 0) {
			unmap(w->mm, at, 1 + random_below(&seed, 64 - at));
			continue;
		}
		assert_int_equal(vellum_mmap(w->mm, &args, &addr), fits ? 0 : -ENOMEM);
		if (fits)
			assert_in_range(addr, BASE, PAGE(64) - args.len);
		full += !fits;
		if (round % 64 == 0)
			check_world(w);
	}
	assert_in_range(full, 100, 2900);
}

static void placement_never_overlaps(void **state)
{
	struct world *w = *state;
	uint64_t addr, hint;

	map_at(w->mm, 0, 4, RW, ANON);
	for (unsigned i = 0; i < 40; i++) {
		struct vellum_map_args args = {.size = sizeof(args),
					       .len = BYTES(1 + i % 5),
					       .prot = i & 1 ? RW : RO,
					       .flags = ANON};
		struct vellum_vma_info info = { .size = sizeof(info) };

		args.addr = hint = i % 3 == 0 ? 0 : i % 3 == 1 ? PAGE(2) : PAGE(100 + 10 * i) + 5;
		bool taken = !hint || !is_free(w->mm, hint & PAGE_MASK, args.len);

		OK(vellum_mmap(w->mm, &args, &addr));
		if (!taken)
			assert_int_equal(addr, hint & PAGE_MASK);
		assert_int_equal(addr % PAGE_SIZE, 0);
		OK(vellum_vma_next(w->mm, addr, &info));
		assert_true(info.start <= addr && info.end >= addr + args.len);
		check_world(w);
	}
	assert_int_equal(load(w->cpu[0], PAGE(3)), 0);
}

static void map_count_limit(void **state)
{
	struct world *w = *state;
	uint64_t addr;
	struct vellum_map_args args = {
		.size = sizeof(args), .len = BYTES(3), .prot = RW, .flags = ANON};

	map_at(w->mm, 0, 3, RW, ANON);
	for (unsigned i = 1; i < DEFAULT_MAX_MAP_COUNT; i++)
		map_at(w->mm, 4 * i, 3, RW, ANON);
	assert_int_equal(nr_vmas(w->mm), DEFAULT_MAX_MAP_COUNT);
	assert_int_equal(vellum_mmap(w->mm, &args, &addr), -ENOMEM);
	assert_int_equal(vellum_munmap(w->mm, PAGE(5), BYTES(1)), -ENOMEM);
	assert_int_equal(vellum_mprotect(w->mm, PAGE(5), BYTES(1), RO), -ENOMEM);
	assert_int_equal(vellum_mremap(w->mm, PAGE(4), BYTES(3), BYTES(8), 1, &addr), -ENOMEM);
	assert_int_equal(nr_vmas(w->mm), DEFAULT_MAX_MAP_COUNT);
	store(w->cpu[0], PAGE(5), 1);
	unmap(w->mm, 4, 3); /* a whole VMA: no split */
	unmap(w->mm, 8, 3);
	unmap(w->mm, 13, 1);
	assert_int_equal(nr_vmas(w->mm), DEFAULT_MAX_MAP_COUNT - 1);
	map_at(w->mm, 4, 1, RW, ANON);
	assert_int_equal(vellum_mprotect(w->mm, PAGE(17), BYTES(1), RO), -ENOMEM);
	OK(vellum_set_max_map_count(w->memory, DEFAULT_MAX_MAP_COUNT + 2));
	OK(vellum_mprotect(w->mm, PAGE(17), BYTES(1), RO));
	assert_int_equal(vellum_set_max_map_count(w->memory, 0), -EINVAL);
}

/* --- brk --- */

static void program_break(void **state)
{
	struct world *w = *state;

	assert_int_equal(vellum_brk(w->mm, PAGE(4)), 0); /* no heap yet */
	vellum_set_brk(w->mm, PAGE(0));
	assert_int_equal(vellum_brk(w->mm, 0), PAGE(0));
	assert_int_equal(vellum_brk(w->mm, PAGE(2) + 100), PAGE(2) + 100);
	store(w->cpu[0], PAGE(2) + 4088, 7);
	assert_int_equal(try_load(w->cpu[0], PAGE(3)), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(vellum_brk(w->mm, PAGE(0) - 1), PAGE(2) + 100);
	assert_int_equal(vellum_brk(w->mm, PAGE(5)), PAGE(5));
	assert_int_equal(nr_vmas(w->mm), 1);
	assert_int_equal(load(w->cpu[0], PAGE(2) + 4088), 7);
	assert_int_equal(vellum_brk(w->mm, PAGE(1)), PAGE(1));
	assert_int_equal(vellum_brk(w->mm, PAGE(5)), PAGE(5));
	assert_int_equal(load(w->cpu[0], PAGE(2) + 4088), 0); /* zero again */
	map_at(w->mm, 8, 1, RO, ANON);
	assert_int_equal(vellum_brk(w->mm, PAGE(9)), PAGE(5)); /* a VMA is in the way */
	assert_int_equal(vellum_brk(w->mm, PAGE(8)), PAGE(5)); /* would be adjacent to it */
	assert_int_equal(vellum_brk(w->mm, PAGE(7)), PAGE(7));
	assert_int_equal(vellum_brk(w->mm, ~0ull), PAGE(7));
	assert_int_equal(vellum_brk(w->mm, PAGE(0)), PAGE(0));
	assert_int_equal(nr_vmas(w->mm), 1);
}

/* --- mremap --- */

static void mremap_in_place(void **state)
{
	struct world *w = *state;
	uint64_t addr;

	map_at(w->mm, 0, 4, RW, ANON);
	for (unsigned i = 0; i < 4; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	OK(vellum_mremap(w->mm, BASE, BYTES(4), BYTES(8), 0, &addr));
	assert_int_equal(addr, BASE);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 4);
	assert_int_equal(load(w->cpu[0], PAGE(7)), 0);
	OK(vellum_mremap(w->mm, BASE, BYTES(8), BYTES(2), 0, &addr));
	assert_int_equal(addr, BASE);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 2);
	assert_int_equal(try_load(w->cpu[0], PAGE(2)), VELLUM_FAULT_SIGSEGV_MAPERR);
	map_at(w->mm, 4, 4, RW, ANON);
	OK(vellum_mremap(w->mm, BASE, BYTES(2), BYTES(4), 0, &addr)); /* fills the gap: merges */
	assert_int_equal(nr_vmas(w->mm), 1);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 0);
}

/* Move a part from the middle. The rest stays, and holes move as holes. */
static void mremap_moves_a_part(void **state)
{
	struct world *w = *state;
	uint64_t addr;

	map_at(w->mm, 0, 16, RW, ANON);
	for (unsigned i = 0; i < 16; i += 2)
		store(w->cpu[0], PAGE(i), 100 + i);
	OK(vellum_mremap(w->mm, PAGE(4), BYTES(6), BYTES(12), VELLUM_MREMAP_MAYMOVE, &addr));
	check_world(w);
	for (unsigned i = 0; i < 12; i++)
		assert_int_equal(load(w->cpu[0], addr + BYTES(i)),
				 i < 6 && i % 2 == 0 ? 104 + i : 0);
	for (unsigned i = 4; i < 10; i++)
		assert_int_equal(try_load(w->cpu[0], PAGE(i)), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 102);
	assert_int_equal(load(w->cpu[0], PAGE(10)), 110);
	assert_int_equal(nr_vmas(w->mm), 3);
}

/* Across borders of page tables, with all alignments that matter. */
static void mremap_across_tables(void **state)
{
	struct world *w = *state;

	for (unsigned shift = 0; shift < 1024; shift += 127) {
		unsigned at = 2048 + shift, pages = 1100;
		uint64_t addr, len = BYTES(pages + 1 + shift % 3);

		map_at(w->mm, at, pages, RW, ANON);
		map_at(w->mm, at + pages, 1, RO, ANON);
		for (unsigned i = 0; i < pages; i += 37)
			store(w->cpu[0], PAGE(at + i), i + 1);
		OK(vellum_mremap(w->mm, PAGE(at), BYTES(pages), len, 1, &addr));
		check_world(w);
		for (unsigned i = 0; i < pages; i += 37)
			assert_int_equal(load(w->cpu[0], addr + BYTES(i)), i + 1);
		OK(vellum_munmap(w->mm, addr, len));
		unmap(w->mm, at, pages + 1);
		assert_int_equal(nr_vmas(w->mm), 0);
	}
}

static void mremap_keeps_the_mapping(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = new_object(w, c, 32);
	struct vellum_vma_info info = { .size = sizeof(info) };
	uint64_t addr;

	map_object(w->mm, 0, 8, RW, VELLUM_MAP_SHARED, obj, 4, RW);
	map_at(w->mm, 8, 1, RO, ANON);
	store(w->cpu[0], PAGE(3), 77);
	OK(vellum_mremap(w->mm, PAGE(2), BYTES(6), BYTES(20), VELLUM_MREMAP_MAYMOVE, &addr));
	OK(vellum_vma_next(w->mm, addr, &info));
	assert_ptr_equal(info.mapping, obj);
	assert_int_equal(info.pgoff, 6);
	assert_int_equal(load(w->cpu[0], addr + BYTES(1)), 77);
	assert_int_equal(load(w->cpu[0], addr + BYTES(15)), 21); /* page number in the file */
	assert_int_equal(load(w->cpu[0], PAGE(1)), 5);
	/* When mremap shrinks, the tail may reach beyond the end of the VMA. */
	OK(vellum_mremap(w->mm, PAGE(0), BYTES(9), BYTES(1), 0, &addr));
	assert_int_equal(try_load(w->cpu[0], PAGE(8)), VELLUM_FAULT_SIGSEGV_MAPERR);
	vellum_mapping_put(obj);
}

/* --- the lifetime of mappings --- */

static void mapping_lives_as_long_as_its_vmas(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = new_object(w, c, 8);
	struct vellum_mm *child;

	assert_int_equal(vellum_memory_destroy(w->memory), -EBUSY);
	map_object(w->mm, 0, 8, RW, VELLUM_MAP_SHARED, obj, 0, RW);
	vellum_mapping_put(obj);
	assert_int_equal(load(w->cpu[0], PAGE(5)), 5);
	OK(vellum_fork(w->mm, &child));
	unmap(w->mm, 0, 3);
	unmap(w->mm, 3, 5);
	assert_int_equal(c->releases, 0);
	vellum_mm_put(child);
	assert_int_equal(c->releases, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(T_vma_01_split_merge),
		WORLD_TEST(T_vma_01_moved_page),
		WORLD_TEST(T_vma_02_special_never_merges),
		WORLD_TEST(T_vma_04_read_only_object),
		WORLD_TEST(adjacent_file_vmas_merge_if_their_pages_are_adjacent),
		WORLD_TEST(vma_in_a_hole_merges_on_both_sides),
		WORLD_TEST(T_sys_01_mmap),
		WORLD_TEST(T_sys_01_mmap_ignores_unknown_flags),
		WORLD_TEST(T_sys_01_munmap),
		WORLD_TEST(T_sys_01_mprotect),
		WORLD_TEST(T_sys_01_mprotect_prefix),
		WORLD_TEST(T_sys_01_mremap),
		WORLD_TEST(T_sys_01_madvise),
		WORLD_TEST(T_sys_01_madvise_normal),
		WORLD_TEST(T_sys_02_fixed_noreplace),
		WORLD_TEST(mmap_succeeds_if_a_gap_is_large_enough),
		WORLD_TEST(placement_never_overlaps),
		WORLD_TEST(map_count_limit),
		WORLD_TEST(program_break),
		WORLD_TEST(mremap_in_place),
		WORLD_TEST(mremap_moves_a_part),
		WORLD_TEST(mremap_across_tables),
		WORLD_TEST(mremap_keeps_the_mapping),
		WORLD_TEST(mapping_lives_as_long_as_its_vmas),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
