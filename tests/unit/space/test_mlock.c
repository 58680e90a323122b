/* SPDX-License-Identifier: MIT */
/* mlock, mincore, msync, stacks that grow, mremap, overcommitment. */
#include "file_support.h"

static int mlock_pages(struct world *w, unsigned at, unsigned pages, uint32_t flags)
{
	int err = vellum_mlock(w->mm, PAGE(at), BYTES(pages), flags);

	check_world(w);
	return err;
}

static bool is_locked(struct world *w, unsigned page)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	OK(vellum_vma_next(w->mm, PAGE(page), &info));
	return info.locked;
}

static int try_map(struct world *w, uint64_t at, uint64_t len, uint32_t flags)
{
	struct vellum_map_args args = {.size = sizeof(args),
				       .addr = at,
				       .len = len,
				       .prot = RW,
				       .flags = flags | (at ? VELLUM_MAP_FIXED : 0)};
	uint64_t addr;
	int err = vellum_mmap(w->mm, &args, &addr);

	check_world(w);
	if (!err && !at)
		OK(vellum_munmap(w->mm, addr, len));
	return err;
}

/* --- mlock --- */

static void mlock_faults_in(void **state)
{
	struct world *w = *state;
	struct file f;

	file_create(&f, w, 8);
	map_at(w->mm, 0, 8, RW, ANON);
	map_shared(w->mm, 8, 8, &f, 0);
	map_object(w->mm, 16, 8, RO, VELLUM_MAP_PRIVATE, f.mapping, 0, RO);
	OK(vellum_mlock(w->mm, PAGE(1) + 5, BYTES(1), 0)); /* 5 bytes into the page: two pages are locked */
	check_world(w);
	assert_int_equal(vellum_mm_rss(w->mm), 2);
	assert_true(is_there(w->mm, PAGE(1)) && is_there(w->mm, PAGE(2)));
	assert_true(is_locked(w, 1) && is_locked(w, 2));
	assert_false(is_locked(w, 0) || is_locked(w, 3));
	assert_int_equal(nr_vmas(w->mm), 5);
	OK(mlock_pages(w, 8, 16, 0));
	assert_int_equal(vellum_mm_rss(w->mm), 18);
	assert_int_equal(f.mkwrites, 0);
	store(w->cpu[0], PAGE(1), 1); /* mlock has copied it already, so no copy */
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_COW), 0);
	OK(vellum_munlock(w->mm, PAGE(0), BYTES(24)));
	assert_int_equal(nr_vmas(w->mm), 3);
	assert_false(is_locked(w, 1));
	assert_int_equal(vellum_mm_rss(w->mm), 18); /* munlock frees no page */
	dontneed(w->mm, 0, 8);
	OK(mlock_pages(w, 0, 8, VELLUM_MLOCK_ONFAULT));
	assert_int_equal(vellum_mm_rss(w->mm), 16);
	assert_int_equal(vellum_madvise(w->mm, BASE, 4096, VELLUM_MADV_DONTNEED), -EINVAL);
	unmap(w->mm, 0, 24);
	file_destroy(&f);
}

static void mlock_errors(void **state)
{
	struct world *w = *state;
	struct file f;

	map_at(w->mm, 0, 4, RW, ANON);
	assert_int_equal(mlock_pages(w, 0, 4, 2), -EINVAL);
	assert_int_equal(vellum_mlock(w->mm, BASE, ~0ull, 0), 0);
	assert_int_equal(vellum_munlock(w->mm, BASE, ~0ull), 0);
	OK(vellum_mlock(w->mm, PAGE(100), 0, 0));
	OK(vellum_munlock(w->mm, PAGE(100), 0));
	assert_int_equal(mlock_pages(w, 2, 4, 0), -ENOMEM);
	assert_int_equal(mlock_pages(w, 8, 4, 0), -ENOMEM);
	assert_int_equal(vellum_munlock(w->mm, PAGE(3), BYTES(2)), -ENOMEM);
	file_create(&f, w, 2);
	map_shared(w->mm, 8, 4, &f, 0);
	assert_true(mlock_pages(w, 8, 4, 0) < 0); /* pages beyond the file's end */
	f.fault_code = VELLUM_VMF_OOM;
	vellum_munlockall(w->mm);
	vellum_reclaim(w->memory, 10);
	assert_int_equal(mlock_pages(w, 8, 1, 0), -EAGAIN);
	unmap(w->mm, 0, 16);
	file_destroy(&f);
}

static void mlock_limits(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t addr;

	map_at(w->mm, 0, 16, RW, ANON);
	vellum_set_limits(w->mm, 0, ~0ull);
	assert_int_equal(mlock_pages(w, 0, 1, 0), -EPERM);
	assert_int_equal(vellum_mlockall(w->mm, VELLUM_MCL_CURRENT), -EPERM);
	OK(vellum_munlock(w->mm, BASE, BYTES(1)));
	vellum_set_limits(w->mm, BYTES(4), ~0ull);
	assert_int_equal(mlock_pages(w, 0, 5, 0), -ENOMEM);
	assert_false(is_locked(w, 0));
	OK(mlock_pages(w, 0, 3, 0));
	OK(mlock_pages(w, 0, 4, 0)); /* pages that are mlocked already do not count twice */
	assert_int_equal(mlock_pages(w, 8, 1, VELLUM_MLOCK_ONFAULT), -ENOMEM);
	assert_int_equal(vellum_mlockall(w->mm, VELLUM_MCL_CURRENT), -ENOMEM);
	assert_int_equal(try_map(w, 0, BYTES(1), ANON | VELLUM_MAP_LOCKED), -EAGAIN);
	unmap(w->mm, 3, 1);
	OK(try_map(w, 0, BYTES(1), ANON | VELLUM_MAP_LOCKED));
	/* mremap: mlocked memory cannot grow beyond the limit. If a VMA is in the way, the memory moves. */
	assert_int_equal(vellum_mremap(w->mm, PAGE(0), BYTES(3), BYTES(5), 1, &addr), -EAGAIN);
	OK(vellum_mremap(w->mm, PAGE(0), BYTES(3), BYTES(4), 1, &addr));
	check_world(w);
	assert_int_equal(addr, BASE);
	assert_true(is_there(w->mm, PAGE(3)) && is_locked(w, 3)); /* the new page is faulted in */
	child = fork_on(w->mm, w->cpu[1]);			  /* the child inherits no locks */
	OK(vellum_mlock(child, PAGE(8), BYTES(4), 0));		  /* but it inherits the limit */
	assert_int_equal(vellum_mlock(child, PAGE(0), BYTES(1), 0), -ENOMEM);
	end_child(child, w->cpu[1]);
	vellum_set_limits(w->mm, ~0ull, ~0ull);
	OK(mlock_pages(w, 0, 16, 0));
}

static void mlockall(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 8, 2, 0, ANON); /* PROT_NONE: skipped */
	assert_int_equal(vellum_mlockall(w->mm, 0), -EINVAL);
	assert_int_equal(vellum_mlockall(w->mm, 8), -EINVAL);
	assert_int_equal(vellum_mlockall(w->mm, VELLUM_MCL_ONFAULT), -EINVAL);
	OK(vellum_mlockall(w->mm, VELLUM_MCL_CURRENT));
	check_world(w);
	assert_int_equal(vellum_mm_rss(w->mm), 4);
	map_at(w->mm, 16, 4, RW, ANON); /* not affected by MCL_CURRENT */
	assert_false(is_locked(w, 16));
	assert_int_equal(vellum_mm_rss(w->mm), 4);
	OK(vellum_mlockall(w->mm, VELLUM_MCL_FUTURE));
	assert_false(is_locked(w, 16)); /* not affected by MCL_FUTURE */
	map_at(w->mm, 24, 4, RW, ANON);
	assert_true(is_locked(w, 24));
	assert_int_equal(vellum_mm_rss(w->mm), 8);
	vellum_set_brk(w->mm, PAGE(40));
	assert_int_equal(vellum_brk(w->mm, PAGE(42)), PAGE(42));
	assert_int_equal(vellum_mm_rss(w->mm), 10);
	OK(vellum_mlockall(w->mm, VELLUM_MCL_FUTURE | VELLUM_MCL_ONFAULT));
	map_at(w->mm, 48, 4, RW, ANON);
	assert_int_equal(vellum_mm_rss(w->mm), 10);
	assert_int_equal(vellum_madvise(w->mm, PAGE(48), 4096, VELLUM_MADV_DONTNEED), -EINVAL);
	struct vellum_mm *child = fork_on(w->mm, w->cpu[1]); /* fork does not inherit MCL_FUTURE */
	map_at(child, 64, 4, RW, ANON);
	OK(vellum_madvise(child, PAGE(64), 4096, VELLUM_MADV_DONTNEED));
	OK(vellum_madvise(child, PAGE(0), 4096, VELLUM_MADV_DONTNEED));
	end_child(child, w->cpu[1]);
	OK(vellum_munlockall(w->mm));
	check_world(w);
	assert_false(is_locked(w, 0) || is_locked(w, 24));
	map_at(w->mm, 56, 4, RW, ANON);
	assert_int_equal(vellum_mm_rss(w->mm), 10);
	OK(vellum_madvise(w->mm, PAGE(48), 4096, VELLUM_MADV_DONTNEED));
}

/* --- mincore, msync: errors --- */

static void mincore(void **state)
{
	uint8_t vec[9] = {9, 9, 9, 9, 9, 9, 9, 9, 9};
	struct world *w = *state;
	struct file f;

	file_create(&f, w, 8);
	map_at(w->mm, 0, 4, RW, ANON);
	map_shared(w->mm, 4, 4, &f, 0);
	store(w->cpu[0], PAGE(1), 1);
	load(w->cpu[0], PAGE(2)); /* the zero page counts as resident */
	load(w->cpu[0], PAGE(4));
	uint64_t val;
	OK(vellum_mapping_read(f.mapping, BYTES(2), &val, 8)); /* cached, but not mapped */
	OK(vellum_mincore(w->mm, PAGE(0), BYTES(8) - 4095, vec));
	static const uint8_t want[8] = {0, 1, 1, 0, 1, 0, 1, 0};
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(vec[i] & 1, want[i]);
	assert_int_equal(vec[8], 9);
	assert_int_equal(vellum_mincore(w->mm, PAGE(0) + 1, 4096, vec), -EINVAL);
	assert_int_equal(vellum_mincore(w->mm, PAGE(4), BYTES(5), vec), -ENOMEM);
	assert_int_equal(vellum_mincore(w->mm, PAGE(4), ~0ull, vec), -ENOMEM);
	OK(vellum_mincore(w->mm, PAGE(20), 0, vec));
	unmap(w->mm, 0, 8);
	file_destroy(&f);
}

static void msync_errors(void **state)
{
	enum { ASYNC = VELLUM_MS_ASYNC, SYNC = VELLUM_MS_SYNC, INVALIDATE = VELLUM_MS_INVALIDATE };
	struct world *w = *state;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 8, 4, RW, SHANON);
	assert_int_equal(vellum_msync(w->mm, BASE + 1, 4096, SYNC), -EINVAL);
	assert_int_equal(vellum_msync(w->mm, BASE, 4096, 8), -EINVAL);
	assert_int_equal(vellum_msync(w->mm, BASE, 4096, ASYNC | SYNC), -EINVAL);
	assert_int_equal(vellum_msync(w->mm, BASE, ~0ull, SYNC), 0);
	assert_int_equal(vellum_msync(w->mm, BASE, BYTES(12), ASYNC), -ENOMEM);
	assert_int_equal(vellum_msync(w->mm, BASE, BYTES(12), SYNC), -ENOMEM);
	assert_int_equal(vellum_msync(w->mm, PAGE(4), BYTES(1), SYNC), -ENOMEM);
	OK(vellum_msync(w->mm, PAGE(4), 0, SYNC));
	OK(vellum_msync(w->mm, BASE, BYTES(4), SYNC));
	OK(vellum_msync(w->mm, PAGE(8), 1, SYNC | INVALIDATE));
	OK(vellum_msync(w->mm, PAGE(8), 1, 0));
	OK(mlock_pages(w, 9, 1, 0));
	assert_int_equal(vellum_msync(w->mm, PAGE(8), BYTES(4), ASYNC | INVALIDATE), -VELLUM_EBUSY);
	assert_int_equal(vellum_msync(w->mm, PAGE(8), BYTES(4), SYNC | INVALIDATE), -VELLUM_EBUSY);
	OK(vellum_msync(w->mm, PAGE(8), BYTES(4), SYNC));
}

/* --- stacks --- */

#define STACK (ANON | VELLUM_MAP_GROWSDOWN)

static uint64_t stack_start(struct world *w, unsigned page)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	OK(vellum_vma_next(w->mm, PAGE(page), &info));
	return info.start;
}

static void stacks_grow(void **state)
{
	struct world *w = *state;
	uint64_t val = 3;

	map_at(w->mm, 4000, 4, RW, STACK);
	store(w->cpu[0], PAGE(4001), 1);
	store(w->cpu[0], PAGE(3999), 2);
	check_world(w);
	assert_int_equal(stack_start(w, 4000), PAGE(3999));
	assert_int_equal(load(w->cpu[0], PAGE(3990)), 0);
	check_world(w);
	OK(vellum_copy_to_user(w->mm, PAGE(3980) - 4, &val, 8, NULL)); /* an access on behalf of the program */
	check_world(w);
	assert_int_equal(stack_start(w, 4000), PAGE(3979));
	assert_int_equal(load(w->cpu[0], PAGE(4001)), 1);
	assert_int_equal(load(w->cpu[0], PAGE(3999)), 2);
	assert_int_equal(nr_vmas(w->mm), 1);
	/* The initial limit is 8 MiB. */
	assert_int_equal(try_store(w->cpu[0], PAGE(4004 - 2049), 1), VELLUM_FAULT_SIGSEGV_MAPERR);
	store(w->cpu[0], PAGE(4004 - 2048), 1);
	vellum_set_limits(w->mm, ~0ull, BYTES(2100));
	assert_int_equal(try_store(w->cpu[0], PAGE(4004 - 2101), 1), VELLUM_FAULT_SIGSEGV_MAPERR);
	store(w->cpu[0], PAGE(4004 - 2100), 1);
	check_world(w);
	/* The child's stack grows, the parent's does not. */
	vellum_set_limits(w->mm, ~0ull, ~0ull);
	struct vellum_mm *child = fork_on(w->mm, w->cpu[1]);
	store(w->cpu[1], PAGE(1000), 9);
	check_world(w);
	assert_int_equal(stack_start(w, 4000), PAGE(4004 - 2100));
	end_child(child, w->cpu[1]);
	assert_int_equal(try_map(w, 0, 4096, SHANON | VELLUM_MAP_GROWSDOWN), -EINVAL);
}

/* A stack keeps 256 pages away from memory that is writable. */
static void stacks_keep_a_gap(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 4000, 4, RW, STACK);
	map_at(w->mm, 3000, 1, RW, ANON);
	assert_int_equal(try_store(w->cpu[0], PAGE(3001), 1), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(try_store(w->cpu[0], PAGE(3001 + 255), 1), VELLUM_FAULT_SIGSEGV_MAPERR);
	check_world(w);
	store(w->cpu[0], PAGE(3001 + 256), 1);
	check_world(w);
	protect(w->mm, 3000, 1, 0); /* a PROT_NONE page needs no gap */
	store(w->cpu[0], PAGE(3001), 1);
	check_world(w);
	assert_int_equal(try_store(w->cpu[0], PAGE(3000), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	/* mmap without an address leaves the gap of a stack free. */
	unmap(w->mm, 3000, 1);
	vellum_set_mmap_top(w->mm, PAGE(3001));
	struct vellum_map_args args = {
		.size = sizeof(args), .len = 4096, .prot = RW, .flags = ANON};
	uint64_t addr;
	OK(vellum_mmap(w->mm, &args, &addr));
	check_world(w);
	assert_true(addr + 4096 <= PAGE(3001));
	OK(vellum_munmap(w->mm, addr, 4096));
	/* mlocked: the pages that it grows by count against RLIMIT_MEMLOCK. */
	OK(vellum_mlock(w->mm, PAGE(4000), BYTES(4), 0));
	unmap(w->mm, 3000, 1000);
	vellum_set_limits(w->mm, BYTES(6), ~0ull);
	store(w->cpu[0], PAGE(3998), 1);
	assert_int_equal(try_store(w->cpu[0], PAGE(3997), 1), VELLUM_FAULT_SIGSEGV_MAPERR);
	check_world(w);
}

/* A stack that moved far up: its first page has a low index, and the stack cannot grow below index 0. */
static void moved_stack_grows_down_to_index_0(void **state)
{
	struct world *w = *state;
	uint64_t addr = PAGE(4000);

	OK(try_map(w, MMAP_MIN_ADDR, BYTES(4), STACK));
	store(w->cpu[0], MMAP_MIN_ADDR, 1);
	OK(vellum_mremap(w->mm, MMAP_MIN_ADDR, BYTES(4), BYTES(4),
			 VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &addr));
	store(w->cpu[0], PAGE(3990), 2);
	check_world(w);
	assert_int_equal(try_store(w->cpu[0], PAGE(3900), 3), VELLUM_FAULT_SIGSEGV_MAPERR);
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(4000)), 1);
	assert_int_equal(load(w->cpu[0], PAGE(3990)), 2);
}

/* --- mremap --- */

static int remap(struct world *w, unsigned at, unsigned from, unsigned to, uint32_t flags,
		 uint64_t *addr)
{
	int err = vellum_mremap(w->mm, PAGE(at), BYTES(from), BYTES(to), flags, addr);

	check_world(w);
	return err;
}

#define KEEP (VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_DONTUNMAP)

static void T_sys_03_mremap_dontunmap(void **state)
{
	struct world *w = *state;
	uint64_t addr = 0;
	struct file f;

	map_at(w->mm, 0, 8, RW, ANON);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	assert_int_equal(remap(w, 0, 4, 4, VELLUM_MREMAP_DONTUNMAP, &addr), -EINVAL);
	assert_int_equal(remap(w, 0, 4, 5, KEEP, &addr), -EINVAL);
	assert_int_equal(remap(w, 0, 4, 3, KEEP, &addr), -EINVAL);
	assert_int_equal(remap(w, 6, 4, 4, KEEP, &addr), -EFAULT);
	assert_int_equal(remap(w, 20, 4, 4, KEEP, &addr), -EFAULT);
	OK(remap(w, 2, 4, 4, KEEP, &addr));
	assert_int_equal(nr_vmas(w->mm), 2); /* the old VMA, not split */
	for (unsigned i = 2; i < 6; i++) {
		assert_int_equal(load(w->cpu[0], addr + BYTES(i - 2)), i + 1);
		assert_int_equal(load(w->cpu[0], PAGE(i)), 0);
		store(w->cpu[0], PAGE(i), 50 + i);
		assert_int_equal(load(w->cpu[0], addr + BYTES(i - 2)), i + 1);
	}
	assert_int_equal(load(w->cpu[0], PAGE(1)), 2);
	assert_int_equal(load(w->cpu[0], PAGE(6)), 7);
	check_world(w);
	addr = PAGE(100);
	map_at(w->mm, 101, 1, RO, ANON); /* MREMAP_FIXED replaces it */
	OK(remap(w, 0, 2, 2, KEEP | VELLUM_MREMAP_FIXED, &addr));
	assert_int_equal(load(w->cpu[0], PAGE(101)), 2);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 0);
	addr = PAGE(1);
	assert_int_equal(remap(w, 0, 2, 2, KEEP | VELLUM_MREMAP_FIXED, &addr), -EINVAL);
	/* A shared mapping: the pages can be faulted in at the old address. */
	file_create(&f, w, 8);
	map_shared(w->mm, 200, 4, &f, 0);
	store(w->cpu[0], PAGE(201), 9);
	OK(remap(w, 200, 4, 4, KEEP, &addr));
	assert_int_equal(load(w->cpu[0], PAGE(201)), 9);
	store(w->cpu[0], addr + BYTES(1), 10);
	assert_int_equal(load(w->cpu[0], PAGE(201)), 10);
	OK(vellum_munmap(w->mm, addr, BYTES(4)));
	unmap(w->mm, 200, 4);
	file_destroy(&f);
}

/* The pages at the new address are reported as written. The pages at the old address too, as they are none now. */
static void mremap_dontunmap_is_tracked(void **state)
{
	struct world *w = *state;

	for (unsigned method = 0; method < 3; method++) {
		uint64_t addr = PAGE(32);
		struct vellum_tracker *t;

		map_at(w->mm, 0, 8, RW, ANON);
		OK(vellum_track_mm(w->mm, BASE, PAGE(64), method, &t));
		store(w->cpu[0], PAGE(1), 1);
		assert_int_equal(collect(t, BASE >> 12), 2);
		OK(remap(w, 0, 8, 8, KEEP | VELLUM_MREMAP_FIXED, &addr));
		assert_int_equal(collect(t, BASE >> 12), 2 | 2ull << 32);
		store(w->cpu[0], PAGE(1), 1);
		store(w->cpu[0], PAGE(34), 1);
		assert_int_equal(collect(t, BASE >> 12), 2 | 4ull << 32);
		vellum_tracker_destroy(t);
		unmap(w->mm, 0, 64);
	}
}

static void mremap_of_old_length_0_maps_again(void **state)
{
	struct world *w = *state;
	uint64_t addr = 0;
	struct file f;

	file_create(&f, w, 8);
	map_shared(w->mm, 0, 4, &f, 2);
	map_private(w->mm, 8, 4, &f, 2);
	map_at(w->mm, 16, 4, RW, SHANON);
	store(w->cpu[0], PAGE(1), 11);
	store(w->cpu[0], PAGE(16), 16);
	assert_int_equal(remap(w, 0, 0, 4, 0, &addr), -ENOMEM);
	assert_int_equal(remap(w, 8, 0, 4, VELLUM_MREMAP_MAYMOVE, &addr), -EINVAL);
	assert_int_equal(remap(w, 30, 0, 4, VELLUM_MREMAP_MAYMOVE, &addr), -EFAULT);
	assert_int_equal(remap(w, 0, 0, 0, VELLUM_MREMAP_MAYMOVE, &addr), -EINVAL);
	OK(remap(w, 1, 0, 2, VELLUM_MREMAP_MAYMOVE, &addr));
	assert_int_equal(load(w->cpu[0], addr), 11);
	store(w->cpu[0], addr + BYTES(1), 12);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 12);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 11); /* the pages are mapped at both addresses */
	OK(vellum_munmap(w->mm, addr, BYTES(2)));
	addr = PAGE(40);
	OK(remap(w, 16, 0, 4, VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &addr));
	assert_int_equal(load(w->cpu[0], PAGE(40)), 16);
	unmap(w->mm, 0, 64);
	file_destroy(&f);
}

/* VM_LOCKED moves with the pages. */
static void mremap_dontunmap_of_locked_memory(void **state)
{
	struct world *w = *state;
	struct vellum_vma_info info = { .size = sizeof(info) };
	uint64_t addr = 0;

	map_at(w->mm, 0, 4, RW, ANON);
	vellum_set_limits(w->mm, BYTES(4), ~0ull);
	OK(mlock_pages(w, 0, 4, 0));
	OK(remap(w, 0, 4, 4, KEEP, &addr));
	OK(vellum_vma_next(w->mm, addr, &info));
	assert_true(info.locked);
	assert_false(is_locked(w, 0));
	assert_int_equal(mlock_pages(w, 0, 1, 0), -ENOMEM);
	OK(vellum_munmap(w->mm, addr, BYTES(4)));
	OK(mlock_pages(w, 0, 4, 0));
}

/* --- overcommitment --- */

static void overcommitment_is_refused_without_noreserve(void **state)
{
	struct world *w = *state; /* RAM: 16 MiB */
	struct vellum_map_args args = {
		.size = sizeof(args), .len = 17 << 20, .prot = RO, .flags = ANON};
	uint64_t addr;

	assert_int_equal(try_map(w, 0, 17 << 20, ANON), -ENOMEM);
	OK(try_map(w, 0, 17 << 20, ANON | VELLUM_MAP_NORESERVE));
	OK(try_map(w, 0, 1ull << 40, ANON | VELLUM_MAP_NORESERVE));
	OK(try_map(w, 0, 16 << 20, ANON));
	OK(try_map(w, 0, 17 << 20, SHANON));
	OK(vellum_mmap(w->mm, &args, &addr)); /* read-only memory is not accounted */
	OK(vellum_munmap(w->mm, addr, 17 << 20));
	assert_int_equal(nr_vmas(w->mm), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(mlock_faults_in),
		WORLD_TEST(mlock_errors),
		WORLD_TEST(mlock_limits),
		WORLD_TEST(mlockall),
		WORLD_TEST(mincore),
		WORLD_TEST(msync_errors),
		WORLD_TEST(stacks_grow),
		WORLD_TEST(stacks_keep_a_gap),
		WORLD_TEST(moved_stack_grows_down_to_index_0),
		WORLD_TEST(T_sys_03_mremap_dontunmap),
		WORLD_TEST(mremap_dontunmap_is_tracked),
		WORLD_TEST(mremap_of_old_length_0_maps_again),
		WORLD_TEST(mremap_dontunmap_of_locked_memory),
		WORLD_TEST(overcommitment_is_refused_without_noreserve),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
