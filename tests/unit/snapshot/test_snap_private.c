/* SPDX-License-Identifier: MIT */
/* Snapshots of private anonymous memory: what runs do to pages, entries and VMAs. */
#include "snap_support.h"

/* --- pages --- */

static void run_nothing(struct snap *s)
{
	(void)s;
}

static void run_loads(struct snap *s)
{
	load_range(s, 0, 32);
}

static void run_stores(struct snap *s)
{
	store_range(s, 2, 4, 1000 * s->round);
	store_range(s, 18, 4, 1000 * s->round);
}

static void run_other_stores(struct snap *s)
{
	store_range(s, 4 * s->round, 4, 7);
	store_range(s, 16 + 4 * s->round, 4, 7);
}

static void run_dontneed(struct snap *s)
{
	store(s->cpu, PAGE(3), 1);
	dontneed(s->mm, 2, 4);
	assert_int_equal(load(s->cpu, PAGE(2)), 0);
	store(s->cpu, PAGE(4), 4);
	dontneed(s->mm, 16, 16);
}

static void run_free(struct snap *s)
{
	store(s->cpu, PAGE(2), 1);
	advise(s, 0, 8, VELLUM_MADV_FREE);
	store(s->cpu, PAGE(4), 4);
	if (s->round != 1)
		reclaim_all(s->w);
}

/* A restored page that MADV_FREE has marked must survive reclaim. */
static void run_free_after_store(struct snap *s)
{
	store_range(s, 0, 4, 5);
	advise(s, 0, 4, VELLUM_MADV_FREE);
	restore(s);
	reclaim_all(s->w);
	check_restored(s);
}

static void run_migrate(struct snap *s)
{
	OK(vellum_migrate_page(s->mm, PAGE(1)));
	store(s->cpu, PAGE(2), 1);
	OK(vellum_migrate_page(s->mm, PAGE(2)));
	store(s->cpu, PAGE(1), 1);
}

static void run_copies_to_user(struct snap *s)
{
	uint64_t val = 77;

	OK(vellum_copy_to_user(s->mm, PAGE(3), &val, 8, NULL));
	OK(vellum_copy_to_user(s->mm, PAGE(21), &val, 8, NULL));
	OK(vellum_madvise(s->mm, PAGE(22), BYTES(2), VELLUM_MADV_POPULATE_WRITE));
}

/* Far pages: other tables of each level. */
static const uint64_t far_at[] = { 0, 512, 512 * 512, 512 * 512 * 3 + 511, 512 * 512 * 512ull };

static void prepare_far(struct snap *s)
{
	struct vellum_map_args args = { .size = sizeof(args), .len = BYTES(4), .prot = RW, .flags = ANON | VELLUM_MAP_FIXED };
	uint64_t addr;

	for (unsigned i = 0; i < 5; i++) {
		args.addr = BASE + BYTES(far_at[i]);
		OK(vellum_mmap(s->mm, &args, &addr));
		store(s->cpu, addr, i);
	}
}

static void run_far(struct snap *s)
{
	unsigned i = s->round + 2;

	store(s->cpu, BASE + BYTES(far_at[i]), 99);
	store(s->cpu, BASE + BYTES(far_at[i] + 1), 99);
	OK(vellum_madvise(s->mm, BASE + BYTES(far_at[i - 1]), BYTES(4), VELLUM_MADV_DONTNEED));
	OK(vellum_munmap(s->mm, BASE + BYTES(far_at[i - 2]), BYTES(4)));
}

/* --- entries and VMAs --- */

static void run_protect(struct snap *s)
{
	store(s->cpu, PAGE(1), 1);
	protect(s->mm, 0, 4, RO);
	protect(s->mm, 2, 2, VELLUM_PROT_NONE);
	assert_int_equal(try_store(s->cpu, PAGE(0), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	if (s->round) {
		protect(s->mm, 0, 4, RW);
		store(s->cpu, PAGE(0), 1);
	}
}

static void prepare_protected(struct snap *s)
{
	prepare_private(s);
	protect(s->mm, 0, 8, RO);
	protect(s->mm, 8, 4, VELLUM_PROT_NONE);
}

static void run_unprotect(struct snap *s)
{
	protect(s->mm, 4, 6, RW);
	store_range(s, 4, 6, 3);
	if (s->round) {
		protect(s->mm, 0, 8, RO);
		protect(s->mm, 8, 4, VELLUM_PROT_NONE);
	}
}

static void run_move_away(struct snap *s)
{
	store(s->cpu, PAGE(1), 1);
	move(s, 0, 4, 100, 0);
	store(s->cpu, PAGE(102), 2);
	if (s->round) {
		map_at(s->mm, 0, 4, RW, ANON);
		store(s->cpu, PAGE(0), 9);
	}
}

static void run_move_over(struct snap *s)
{
	move(s, 8, 4, 0, 0);
	if (s->round) {
		map_at(s->mm, 8, 4, RW, ANON);
		load_range(s, 8, 2);
	}
}

static void run_move_there_and_back(struct snap *s)
{
	move(s, 4, 4, 100, 0);
	move(s, 100, 4, 4, 0);
	move(s, 16, 4, 100, VELLUM_MREMAP_DONTUNMAP);
	move(s, 0, 2, 2, 0);
}

static void run_resize(struct snap *s)
{
	uint64_t addr = 0;

	OK(vellum_mremap(s->mm, PAGE(0), BYTES(32), BYTES(s->round ? 20 : 40), VELLUM_MREMAP_MAYMOVE, &addr));
	assert_int_equal(addr, PAGE(0));
	store(s->cpu, PAGE(19), 1);
}

static void run_remap(struct snap *s)
{
	unmap(s->mm, 2, 4);
	if (s->round == 1)
		return;
	map_at(s->mm, 2, 4, RW, s->round ? SHANON : ANON);
	store(s->cpu, PAGE(3), 1);
	load(s->cpu, PAGE(4));
}

static void run_unmap_all(struct snap *s)
{
	unmap(s->mm, 0, 32);
	if (s->round) {
		map_at(s->mm, 0, 8, RW, ANON);
		map_at(s->mm, 8, 8, s->round == 1 ? RO : RW, ANON);
		map_at(s->mm, 20, 4, RW, ANON);
		load_range(s, 0, 16);
	}
}

static void run_new_mappings(struct snap *s)
{
	map_at(s->mm, 64, 8, RW, ANON);
	map_at(s->mm, 32, 8, RW, ANON);	/* merges */
	store_range(s, 64, 8, 1);
	store_range(s, 30, 8, 1);
}

static void run_shared_inside(struct snap *s)
{
	map_at(s->mm, 2, 2, RW, SHANON);
	store(s->cpu, PAGE(2), 5);
	map_at(s->mm, 20, 2, RW, SHANON);
}

static void prepare_brk(struct snap *s)
{
	vellum_set_brk(s->mm, PAGE(0));
	assert_int_equal(vellum_brk(s->mm, PAGE(8)), PAGE(8));
	store_range(s, 0, 8, 1);
}

static void run_brk(struct snap *s)
{
	uint64_t at = PAGE(s->round == 1 ? 12 : 4);

	assert_int_equal(vellum_brk(s->mm, at), at);
	if (s->round == 1)
		store_range(s, 6, 6, 2);
	if (s->round == 2) {
		assert_int_equal(vellum_brk(s->mm, PAGE(8)), PAGE(8));
		load_range(s, 3, 5);
	}
}

static void prepare_stack(struct snap *s)
{
	vellum_set_limits(s->mm, ~0ull, 64 * PAGE_SIZE);
	map_at(s->mm, 1000, 2, RW, ANON | VELLUM_MAP_GROWSDOWN);
	store(s->cpu, PAGE(998), 1);
}

static void run_stack(struct snap *s)
{
	vellum_set_limits(s->mm, BYTES(100), BYTES(100));
	vellum_set_mmap_top(s->mm, PAGE(5000));
	store(s->cpu, PAGE(999 - 10 * s->round), 2);
}

static void prepare_locked(struct snap *s)
{
	prepare_private(s);
	OK(vellum_mlock(s->mm, PAGE(4), BYTES(4), 0));
	OK(vellum_mlock(s->mm, PAGE(20), BYTES(2), VELLUM_MLOCK_ONFAULT));
	OK(vellum_mlockall(s->mm, VELLUM_MCL_FUTURE | VELLUM_MCL_ONFAULT));
}

static void run_lock(struct snap *s)
{
	OK(vellum_munlock(s->mm, PAGE(4), BYTES(2)));
	OK(vellum_mlock(s->mm, PAGE(10), BYTES(4), 0));
	if (s->round == 1)
		OK(vellum_munlockall(s->mm));
	if (s->round == 2)
		OK(vellum_mlockall(s->mm, VELLUM_MCL_CURRENT | VELLUM_MCL_FUTURE));
	store_range(s, 4, 4, 4);
	reclaim_all(s->w);
}

static void prepare_guards(struct snap *s)
{
	prepare_private(s);
	advise(s, 8, 4, VELLUM_MADV_GUARD_INSTALL);
	advise(s, 22, 2, VELLUM_MADV_GUARD_INSTALL);
}

static void run_guards(struct snap *s)
{
	advise(s, 0, 2, VELLUM_MADV_GUARD_INSTALL);
	advise(s, 20, 1, VELLUM_MADV_GUARD_INSTALL);
	advise(s, 10, 13, VELLUM_MADV_GUARD_REMOVE);
	store(s->cpu, PAGE(10), 1);
	load(s->cpu, PAGE(11));
	assert_int_equal(try_load(s->cpu, PAGE(9)), VELLUM_FAULT_SIGSEGV_MAPERR);
	if (s->round)
		advise(s, 8, 4, VELLUM_MADV_GUARD_INSTALL);
}

/* Whole cache lines of guards and swapped pages are removed, and leave nothing behind. */
static void prepare_lines(struct snap *s)
{
	map_at(s->mm, 0, 64, RW, ANON);
	store_range(s, 0, 32, 100);
	advise(s, 16, 8, VELLUM_MADV_GUARD_INSTALL);
	advise(s, 40, 8, VELLUM_MADV_GUARD_INSTALL);
	pageout(s->mm, 8, 8);
}

static void run_lines(struct snap *s)
{
	if (s->round != 1)
		dontneed(s->mm, 8, 8);
	if (s->round != 2)
		advise(s, 16, 8, VELLUM_MADV_GUARD_REMOVE);
	if (s->round)
		advise(s, 40, 8, VELLUM_MADV_GUARD_REMOVE);
}

static const int advices[] = { VELLUM_MADV_WIPEONFORK, VELLUM_MADV_DONTFORK, VELLUM_MADV_DONTDUMP, VELLUM_MADV_RANDOM,
			       VELLUM_MADV_HUGEPAGE };
static const int opposites[] = { VELLUM_MADV_KEEPONFORK, VELLUM_MADV_DOFORK, VELLUM_MADV_DODUMP, VELLUM_MADV_NORMAL,
				 VELLUM_MADV_NOHUGEPAGE };

static void prepare_advice(struct snap *s)
{
	prepare_private(s);
	for (unsigned i = 0; i < 5; i++)
		advise(s, 2 * i, 4, advices[i]);
}

static void run_advice(struct snap *s)
{
	for (unsigned i = 0; i < 5; i++) {
		if (s->round != 1)
			advise(s, 2 * i, 2, opposites[i]);
		if (s->round)
			advise(s, 14 + i, 5, advices[i]);
	}
	store_range(s, 2, 20, 3);
}

/* Without W, D is in another bit. */
static void run_dirty_fork(struct snap *s)
{
	store_range(s, 0, 8, 5);
	restore(s);
	store(s->cpu, PAGE(3), 6);
	end_child(fork_on(s->mm, s->w->cpu[3]), s->w->cpu[3]);
	restore(s);
	assert_int_equal(load(s->cpu, PAGE(3) + 24), 103);
	assert_int_equal(load(s->cpu, PAGE(3)), 0);
}

/* The run joins VMAs. The upper one had no page, and so no anon_vma. */
static void prepare_halves(struct snap *s)
{
	map_at(s->mm, 0, 32, RW, ANON);
	advise(s, 16, 16, VELLUM_MADV_DONTDUMP);
	store_range(s, 0, 8, 100);
	assert_null(vma_at(s->mm, PAGE(16))->anon_vma);
}

static void run_join(struct snap *s)
{
	advise(s, 16, 16, VELLUM_MADV_DODUMP);
	store_range(s, 10, 10, 3);
	if (s->round == 1)
		unmap(s->mm, 24, 2);
	if (s->round == 2)
		advise(s, 12, 12, VELLUM_MADV_DONTFORK);
}

/* Two VMAs of the run have an anon_vma each, where the frozen one has none. */
static void prepare_no_page(struct snap *s)
{
	map_at(s->mm, 0, 32, RW, ANON);
}

static void run_strangers(struct snap *s)
{
	advise(s, 8, 16, VELLUM_MADV_WIPEONFORK);
	store_range(s, 2, 2, 3);
	store_range(s, 28, 2, 3);
	assert_true(s->round || vma_at(s->mm, PAGE(0))->anon_vma != vma_at(s->mm, PAGE(28))->anon_vma);
}

/* --- shadow stacks --- */

static void prepare_shadow_stack(struct snap *s)
{
	s->addr = 0;
	OK(vellum_map_shadow_stack(s->mm, &s->addr, BYTES(4)));
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(vellum_soft_shstk_store64(s->cpu, s->addr + BYTES(i), 50 + i), VELLUM_FAULT_OK);
}

static void run_shadow_stack(struct snap *s)
{
	for (unsigned i = 1; i < 3; i++)
		assert_int_equal(vellum_soft_shstk_store64(s->cpu, s->addr + BYTES(i), 60 + i), VELLUM_FAULT_OK);
	if (s->round == 2)
		OK(vellum_munmap(s->mm, s->addr, BYTES(2)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE("T-snap-01 a run without an access", prepare_private, run_nothing),
		SCENE("T-snap-01 loads", prepare_private, run_loads),
		SCENE("T-snap-01 stores", prepare_private, run_stores),
		SCENE("T-snap-01 each run stores to other pages", prepare_private, run_other_stores),
		SCENE("T-snap-01 tables of each level", prepare_far, run_far),
		SCENE("T-snap-01 MADV_DONTNEED", prepare_private, run_dontneed),
		SCENE("T-snap-01 MADV_FREE", prepare_private, run_free),
		SCENE("T-snap-01 reclaim after a restore of freed pages", prepare_private, run_free_after_store),
		SCENE("T-snap-01 migration", prepare_private, run_migrate),
		SCENE_WITH("T-snap-01 stores of the kernel", prepare_private, run_copies_to_user, NULL, SCENE_NO_VCACHE),
		SCENE("T-snap-02 mprotect", prepare_private, run_protect),
		SCENE("T-snap-02 mprotect of protected memory", prepare_protected, run_unprotect),
		SCENE("T-snap-02 mremap away", prepare_private, run_move_away),
		SCENE("T-snap-02 mremap over", prepare_private, run_move_over),
		SCENE("T-snap-02 mremap there and back", prepare_private, run_move_there_and_back),
		SCENE("T-snap-02 mremap to another size", prepare_private, run_resize),
		SCENE("T-snap-02 munmap, and mmap at the same place", prepare_private, run_remap),
		SCENE("T-snap-02 munmap of all", prepare_private, run_unmap_all),
		SCENE("T-snap-02 new mappings", prepare_private, run_new_mappings),
		SCENE("T-snap-02 shared memory in their place", prepare_private, run_shared_inside),
		SCENE("T-snap-02 brk", prepare_brk, run_brk),
		SCENE("T-snap-02 a stack grows, limits", prepare_stack, run_stack),
		SCENE("T-snap-02 locked memory", prepare_locked, run_lock),
		SCENE("T-snap-02 guard markers", prepare_guards, run_guards),
		SCENE("T-snap-02 whole cache lines of markers and swap entries", prepare_lines, run_lines),
		SCENE("T-snap-02 advice", prepare_advice, run_advice),
		SCENE("T-snap-02 dirty entries without W", prepare_private, run_dirty_fork),
		SCENE("T-snap-02 VMAs that the run joins", prepare_halves, run_join),
		SCENE("T-snap-02 VMAs that cannot be joined", prepare_no_page, run_strangers),
		SCENE("T-snap-02 shadow stacks", prepare_shadow_stack, run_shadow_stack),
	};

	return cmocka_run_group_tests_name("snap_private", tests, NULL, NULL);
}
