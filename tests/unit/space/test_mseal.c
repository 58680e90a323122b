/* SPDX-License-Identifier: MIT */
/* Sealed VMAs, and address spaces without writable and executable memory. */
#include "file_support.h"
#include "vellum/snapshot.h"

static int seal(struct world *w, unsigned at, unsigned pages)
{
	int err = vellum_mseal(w->mm, PAGE(at), BYTES(pages), 0);

	check_world(w);
	return err;
}

static bool is_sealed(struct vellum_mm *mm, unsigned page)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	OK(vellum_vma_next(mm, PAGE(page), &info));
	return info.sealed;
}

static int remap(struct world *w, unsigned from, unsigned pages, unsigned now, uint32_t flags, unsigned to)
{
	uint64_t addr = PAGE(to);
	int err = vellum_mremap(w->mm, PAGE(from), BYTES(pages), BYTES(now), flags, &addr);

	check_world(w);
	return err;
}

static int map_over(struct world *w, unsigned at, unsigned pages, uint32_t prot)
{
	struct vellum_map_args args = { .size = sizeof(args), .addr = PAGE(at), .len = BYTES(pages), .prot = prot,
					.flags = ANON | VELLUM_MAP_FIXED };
	uint64_t addr;
	int err = vellum_mmap(w->mm, &args, &addr);

	check_world(w);
	return err;
}

static void a_seal_blocks_each_call(void **state)
{
	const uint32_t fixed = VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED;
	struct world *w = *state;

	map_at(w->mm, 0, 8, RW, ANON);
	for (unsigned i = 0; i < 8; i++)
		store(w->cpu[0], PAGE(i), i + 1);
	OK(seal(w, 2, 2));
	assert_int_equal(nr_vmas(w->mm), 3);
	assert_true(!is_sealed(w->mm, 1) && is_sealed(w->mm, 2) && is_sealed(w->mm, 3) && !is_sealed(w->mm, 4));
	assert_int_equal(vellum_munmap(w->mm, PAGE(0), BYTES(8)), -EPERM);
	assert_int_equal(vellum_munmap(w->mm, PAGE(3), BYTES(2)), -EPERM);
	assert_int_equal(map_over(w, 1, 2, RW), -EPERM);
	assert_int_equal(remap(w, 2, 2, 1, 0, 0), -EPERM);
	assert_int_equal(remap(w, 2, 2, 2, fixed, 16), -EPERM);
	assert_int_equal(remap(w, 0, 2, 2, fixed, 3), -EPERM);
	assert_int_equal(vellum_mprotect(w->mm, PAGE(2), BYTES(1), RW), -EPERM);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i + 1);
	assert_int_equal(vellum_mprotect(w->mm, PAGE(0), BYTES(8), RO), -EPERM);
	assert_int_equal(try_store(w->cpu[0], PAGE(1), 1), VELLUM_FAULT_SIGSEGV_ACCERR);	/* was changed before */
	store(w->cpu[0], PAGE(2), 1);
	OK(vellum_munmap(w->mm, PAGE(4), BYTES(4)));
	check_world(w);
}

static void advice_that_drops_needs_the_right_to_store(void **state)
{
	static const int dropping[] = { VELLUM_MADV_DONTNEED, VELLUM_MADV_DONTNEED_LOCKED, VELLUM_MADV_FREE,
					VELLUM_MADV_DONTFORK, VELLUM_MADV_WIPEONFORK, VELLUM_MADV_GUARD_INSTALL };
	static const int harmless[] = { VELLUM_MADV_DOFORK, VELLUM_MADV_COLD, VELLUM_MADV_RANDOM,
					VELLUM_MADV_GUARD_REMOVE };
	struct world *w = *state;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(1), 7);
	protect(w->mm, 0, 4, RO);
	map_at(w->mm, 8, 2, RW, ANON);
	map_at(w->mm, 16, 2, RO, SHANON);
	OK(seal(w, 0, 2));
	OK(seal(w, 8, 2));
	OK(seal(w, 16, 2));
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(vellum_madvise(w->mm, PAGE(1), BYTES(1), dropping[i]), -EPERM);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 7);
	for (unsigned i = 0; i < 4; i++)
		OK(vellum_madvise(w->mm, PAGE(1), BYTES(1), harmless[i]));
	dontneed(w->mm, 2, 2);
	dontneed(w->mm, 8, 2);
	dontneed(w->mm, 16, 2);
	check_world(w);
}

static void seals_stay(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t before;

	map_at(w->mm, 0, 4, RW, ANON);
	OK(seal(w, 1, 1));
	OK(seal(w, 0, 4)); /* once more */
	assert_int_equal(nr_vmas(w->mm), 1);
	map_at(w->mm, 4, 1, RW, ANON);
	assert_int_equal(nr_vmas(w->mm), 2); /* no merge */
	child = fork_on(w->mm, w->cpu[2]);
	assert_true(is_sealed(child, 2));
	assert_int_equal(vellum_munmap(child, PAGE(2), BYTES(1)), -EPERM);
	end_child(child, w->cpu[2]);
	vellum_set_brk(w->mm, PAGE(32));
	assert_int_equal(vellum_brk(w->mm, PAGE(36)), PAGE(36));
	OK(seal(w, 34, 1));
	before = vellum_brk(w->mm, 0);
	assert_int_equal(vellum_brk(w->mm, PAGE(33)), before);
	assert_int_equal(vellum_brk(w->mm, PAGE(35)), PAGE(35));
	check_world(w);
}

/* A restore is no call of the program, so it removes seals and sealed VMAs. */
static void a_restore_undoes_seals(void **state)
{
	struct world *w = *state;
	struct vellum_snapshot_args args = { .size = sizeof(args), .mms = &w->mm, .nr_mms = 1 };
	struct vellum_snapshot *snapshot;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(0), 1);
	OK(vellum_snapshot_create(&args, &snapshot));
	map_at(w->mm, 8, 2, RW, ANON);
	OK(seal(w, 0, 2));
	OK(seal(w, 8, 2));
	OK(vellum_set_mdwe(w->mm, VELLUM_MDWE_REFUSE_EXEC_GAIN));
	OK(vellum_snapshot_restore(snapshot));
	check_world(w);
	assert_int_equal(vellum_get_mdwe(w->mm), 0);
	assert_int_equal(nr_vmas(w->mm), 1);
	assert_false(is_sealed(w->mm, 0));
	unmap(w->mm, 0, 4);
	vellum_snapshot_destroy(snapshot);
}

static void seal_errors(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 5, 1, RW, ANON);
	assert_int_equal(vellum_mseal(w->mm, PAGE(0), BYTES(1), 1), -EINVAL);
	assert_int_equal(vellum_mseal(w->mm, PAGE(0) + 1, BYTES(1), 0), -EINVAL);
	assert_int_equal(vellum_mseal(w->mm, PAGE(0), ~0ull, 0), -EINVAL);
	assert_int_equal(vellum_mseal(w->mm, PAGE(0), ~0ull - PAGE_SIZE, 0), -EINVAL);
	assert_int_equal(seal(w, 0, 6), -ENOMEM);
	assert_int_equal(seal(w, 4, 2), -ENOMEM);
	assert_int_equal(seal(w, 5, 2), -ENOMEM);
	assert_int_equal(seal(w, 7, 1), -ENOMEM);
	OK(seal(w, 7, 0));
	assert_false(is_sealed(w->mm, 0) || is_sealed(w->mm, 5));
	OK(vellum_set_max_map_count(w->memory, 2));
	assert_int_equal(seal(w, 1, 1), -ENOMEM);
}

static void mdwe(void **state)
{
	const uint32_t rx = VELLUM_PROT_READ | VELLUM_PROT_EXEC, all = RW | VELLUM_PROT_EXEC;
	struct world *w = *state;
	struct vellum_mm *child;

	OK(map_over(w, 0, 1, all));
	assert_int_equal(vellum_set_mdwe(w->mm, VELLUM_MDWE_NO_INHERIT), -EINVAL);
	assert_int_equal(vellum_set_mdwe(w->mm, 4), -EINVAL);
	OK(vellum_set_mdwe(w->mm, 0));
	OK(vellum_set_mdwe(w->mm, VELLUM_MDWE_REFUSE_EXEC_GAIN));
	assert_int_equal(vellum_set_mdwe(w->mm, 0), -EPERM);
	assert_int_equal(vellum_get_mdwe(w->mm), VELLUM_MDWE_REFUSE_EXEC_GAIN);
	assert_int_equal(map_over(w, 0, 1, all), -EACCES);
	assert_int_equal(nr_vmas(w->mm), 1); /* the old VMA stays */
	OK(map_over(w, 1, 1, rx));
	OK(map_over(w, 2, 1, RW));
	assert_int_equal(vellum_mprotect(w->mm, PAGE(2), BYTES(1), rx), -EACCES);
	assert_int_equal(vellum_mprotect(w->mm, PAGE(0), BYTES(1), all), -EACCES);
	protect(w->mm, 1, 1, rx);
	child = fork_on(w->mm, w->cpu[2]);
	assert_int_equal(vellum_get_mdwe(child), VELLUM_MDWE_REFUSE_EXEC_GAIN);
	end_child(child, w->cpu[2]);
}

static void mdwe_without_heirs(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;

	map_at(w->mm, 0, 1, RW, ANON);
	OK(vellum_set_mdwe(w->mm, VELLUM_MDWE_REFUSE_EXEC_GAIN | VELLUM_MDWE_NO_INHERIT));
	child = fork_on(w->mm, w->cpu[2]);
	assert_int_equal(vellum_get_mdwe(child), 0);
	OK(vellum_mprotect(child, PAGE(0), BYTES(1), RW | VELLUM_PROT_EXEC));
	end_child(child, w->cpu[2]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(a_seal_blocks_each_call),
		WORLD_TEST(advice_that_drops_needs_the_right_to_store),
		WORLD_TEST(seals_stay),
		WORLD_TEST(a_restore_undoes_seals),
		WORLD_TEST(seal_errors),
		WORLD_TEST(mdwe),
		WORLD_TEST(mdwe_without_heirs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
