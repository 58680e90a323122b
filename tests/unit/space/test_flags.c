/* SPDX-License-Identifier: MIT */
/* Flags of mmap, mprotect, mremap, madvise and msync; and which error comes first. */
#include "more_support.h"

#define DROPPABLE (VELLUM_MAP_DROPPABLE | VELLUM_MAP_ANONYMOUS)
#define FIX	  VELLUM_MAP_FIXED

static int try_map(struct world *w, uint64_t at, uint32_t flags, uint64_t *addr)
{
	struct vellum_map_args args = { .size = sizeof(args), .addr = at, .len = BYTES(4), .prot = RW, .flags = flags };
	int err = vellum_mmap(w->mm, &args, addr);

	check_world(w);
	return err;
}

static void types_of_mmap(void **state)
{
	struct world *w = *state;
	uint64_t addr;

	for (uint32_t type = 0; type < 16; type++) {
		int want = type == 1 || type == 2 || type == 8 ? 0 : -EINVAL;

		assert_int_equal(try_map(w, PAGE(0), type | VELLUM_MAP_ANONYMOUS | FIX, &addr), want);
		assert_int_equal(try_map(w, PAGE(0), type, &addr), -EBADF);
	}
}

static void droppable_memory_is_not_locked_and_empty_in_a_child(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t addr;

	assert_int_equal(try_map(w, PAGE(0), DROPPABLE | FIX | VELLUM_MAP_LOCKED, &addr), -EINVAL);
	assert_int_equal(try_map(w, PAGE(0), DROPPABLE | FIX | VELLUM_MAP_GROWSDOWN, &addr), -EINVAL);
	OK(vellum_mlockall(w->mm, VELLUM_MCL_FUTURE | VELLUM_MCL_ONFAULT));
	OK(try_map(w, PAGE(0), DROPPABLE | FIX, &addr));
	assert_int_equal(vellum_mm_rss(w->mm), 4);	/* not locked, so ONFAULT does not keep it from being populated */
	OK(vellum_mlock(w->mm, PAGE(0), BYTES(4), 0));
	dontneed(w->mm, 0, 4);				/* locked memory would be -EINVAL */
	OK(vellum_munlockall(w->mm));
	assert_int_equal(vellum_madvise(w->mm, PAGE(0), BYTES(4), VELLUM_MADV_KEEPONFORK), -EINVAL);
	assert_int_equal(vellum_madvise(w->mm, PAGE(0), BYTES(4), VELLUM_MADV_DODUMP), -EINVAL);
	store(w->cpu[0], PAGE(0), 1);
	child = fork_on(w->mm, w->cpu[2]);
	assert_int_equal(load(w->cpu[2], PAGE(0)), 0);
	end_child(child, w->cpu[2]);
	check_world(w);
}

static void huge_pages_are_no_memory(void **state)
{
	struct world *w = *state;
	uint64_t addr;

	assert_int_equal(try_map(w, 0, ANON | VELLUM_MAP_HUGETLB, &addr), -ENOMEM);
	assert_int_equal(try_map(w, 0, ANON | VELLUM_MAP_HUGETLB | 21u << 26, &addr), -ENOMEM);
	assert_int_equal(try_map(w, 0, ANON | VELLUM_MAP_HUGETLB | 20u << 26, &addr), -EINVAL);
	assert_int_equal(try_map(w, PAGE(1), ANON | FIX | VELLUM_MAP_HUGETLB, &addr), -EINVAL);
	assert_int_equal(try_map(w, 0, ANON | VELLUM_MAP_GROWSDOWN | VELLUM_MAP_HUGETLB, &addr), -EINVAL);
}

static void nonblock_does_not_populate(void **state)
{
	struct world *w = *state;
	uint64_t addr;

	OK(try_map(w, PAGE(0), ANON | FIX | VELLUM_MAP_POPULATE | VELLUM_MAP_NONBLOCK, &addr));
	assert_int_equal(vellum_mm_rss(w->mm), 0);
	OK(try_map(w, PAGE(0), ANON | FIX | VELLUM_MAP_POPULATE, &addr));
	assert_int_equal(vellum_mm_rss(w->mm), 4);
}

/* Each call lacks one more mistake than the one before. */
static void first_error_of_mmap(void **state)
{
	struct world *w = *state;
	uint64_t addr;

	map_at(w->mm, 0, 4, RW, ANON);
	vellum_set_limits(w->mm, BYTES(1), ~0ull);
	assert_int_equal(try_map(w, ~0xfffull + 1, 0x100012, &addr), -EBADF);
	assert_int_equal(try_map(w, VELLUM_TASK_SIZE + 1, 0x102030, &addr), -ENOMEM);
	assert_int_equal(try_map(w, PAGE(0) + 1, 0x102030, &addr), -EINVAL);
	assert_int_equal(try_map(w, PAGE(0), 0x102030, &addr), -EEXIST);
	assert_int_equal(try_map(w, PAGE(8), 0x102030, &addr), -EAGAIN);
	vellum_set_limits(w->mm, 0, ~0ull);
	assert_int_equal(try_map(w, PAGE(8), 0x102030, &addr), -EPERM);
	assert_int_equal(try_map(w, PAGE(8), 0x100030, &addr), -EINVAL);
	OK(try_map(w, PAGE(8), 0x100032, &addr));
}

static void low_hint_is_rounded_up(void **state)
{
	struct world *w = *state;
	uint64_t addr;

	OK(try_map(w, 0x1000, ANON, &addr));
	assert_int_equal(addr, 0x10000);
}

/* VMAs at address 0 work as others, also in a child. */
static void lowest_fixed_address(void **state)
{
	struct world *w = *state;
	uint64_t addr = 0;
	struct vellum_mm *child;

	assert_int_equal(try_map(w, 0xf000, ANON | VELLUM_MAP_FIXED, &addr), -EPERM);
	OK(try_map(w, 0x10000, ANON | VELLUM_MAP_FIXED, &addr));
	addr = 0xf000;
	assert_int_equal(vellum_mremap(w->mm, 0x10000, 4096, 4096, 3, &addr), -EPERM);
	vellum_set_mmap_min_addr(w->mm, 0);
	OK(try_map(w, 0, ANON | VELLUM_MAP_FIXED, &addr));
	assert_int_equal(addr, 0);
	store(w->cpu[0], 8, 77);
	addr = 0x1000;
	OK(vellum_mremap(w->mm, 0x10000, 4096, 4096, 3, &addr));
	assert_int_equal(addr, 0x1000);
	addr = 0;
	OK(vellum_mremap(w->mm, 0x1000, 4096, 4096, 3, &addr));
	assert_int_equal(addr, 0);
	assert_int_equal(load(w->cpu[0], 8), 0);
	OK(try_map(w, 0x1000, ANON, &addr));
	assert_true(addr >= 0x10000);
	OK(vellum_fork(w->mm, &child));
	OK(vellum_mmap(child, &(struct vellum_map_args){ .size = sizeof(struct vellum_map_args), .addr = 0x2000, .len = 4096,
							 .prot = RW, .flags = ANON | VELLUM_MAP_FIXED }, &addr));
	vellum_mm_put(child);
	vellum_set_mmap_min_addr(w->mm, 0x10000);
	assert_int_equal(try_map(w, 0, ANON | VELLUM_MAP_FIXED, &addr), -EPERM);
}

static void mprotect_from_the_start_of_a_stack(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 300, 4, RW, ANON | VELLUM_MAP_GROWSDOWN);
	OK(vellum_mprotect(w->mm, PAGE(302), BYTES(1), VELLUM_PROT_READ | VELLUM_PROT_GROWSDOWN));
	assert_int_equal(try_store(w->cpu[0], PAGE(300), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	store(w->cpu[0], PAGE(303), 1);
	assert_int_equal(vellum_mprotect(w->mm, PAGE(302), BYTES(1), RW | VELLUM_PROT_GROWSUP), -EINVAL);
	OK(vellum_mprotect(w->mm, PAGE(299), BYTES(2), RW | VELLUM_PROT_GROWSDOWN | VELLUM_PROT_SEM));
	store(w->cpu[0], PAGE(300), 1);
	assert_int_equal(try_store(w->cpu[0], PAGE(301), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	check_world(w);
}

static void dontunmap_takes_a_hint(void **state)
{
	struct world *w = *state;
	uint64_t addr = PAGE(40);

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], PAGE(1), 7);
	OK(vellum_mremap(w->mm, PAGE(0), BYTES(2), BYTES(2), VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_DONTUNMAP, &addr));
	assert_int_equal(addr, PAGE(40));
	assert_int_equal(load(w->cpu[0], PAGE(41)), 7);
	addr = PAGE(1);
	assert_int_equal(vellum_mremap(w->mm, PAGE(0), BYTES(2), BYTES(2),
				       VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_DONTUNMAP, &addr), -EINVAL);
	check_world(w);
}

static void ranges_beyond_the_last_address(void **state)
{
	struct world *w = *state;
	uint64_t addr = 0;

	map_at(w->mm, 0, 4, RW, ANON);
	assert_int_equal(vellum_mremap(w->mm, VELLUM_TASK_SIZE, BYTES(1), BYTES(1), 0, &addr), -EFAULT);
	assert_int_equal(vellum_mremap(w->mm, PAGE(0), 1ull << 47, BYTES(1), 0, &addr), -EINVAL);
	OK(vellum_mlock(w->mm, PAGE(2), BYTES(1), 0));
	assert_int_equal(vellum_msync(w->mm, PAGE(0), 1ull << 63, VELLUM_MS_INVALIDATE), -EBUSY);
	assert_int_equal(vellum_msync(w->mm, PAGE(0), 1ull << 63, VELLUM_MS_ASYNC), -ENOMEM);
	assert_int_equal(vellum_madvise(w->mm, PAGE(8), BYTES(1), VELLUM_MADV_COLLAPSE), -ENOMEM);
	check_world(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(types_of_mmap),
		WORLD_TEST(droppable_memory_is_not_locked_and_empty_in_a_child),
		WORLD_TEST(huge_pages_are_no_memory),
		WORLD_TEST(nonblock_does_not_populate),
		WORLD_TEST(first_error_of_mmap),
		WORLD_TEST(low_hint_is_rounded_up),
		WORLD_TEST(lowest_fixed_address),
		WORLD_TEST(mprotect_from_the_start_of_a_stack),
		WORLD_TEST(dontunmap_takes_a_hint),
		WORLD_TEST(ranges_beyond_the_last_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
