/* SPDX-License-Identifier: MIT */
/* Snapshots and several address spaces: forks in a run, branches, nested snapshots. */
#include "snap_support.h"

/* --- forks in the run --- */

static void must_have(struct vellum_soft_cpu *cpu, unsigned at, unsigned pages, uint64_t val)
{
	for (unsigned i = at; i < at + pages; i++)
		assert_int_equal(load(cpu, PAGE(i) + 8 * (i % 512)), val ? val + i : 0);
}

/* The child sees the run's bytes, also after the restore of the parent. */
static void run_fork(struct snap *s)
{
	struct vellum_soft_cpu *cpu = s->w->cpu[3];
	struct vellum_mm *child;

	store_range(s, 0, 4, 500);
	child = fork_on(s->mm, cpu);
	store_range(s, 2, 4, 600);
	if (s->round == 1)
		store(cpu, PAGE(0), 1);
	restore(s);
	check_world(s->w);
	must_have(cpu, 1, 3, 500);
	must_have(cpu, 4, 12, 100);
	store(cpu, PAGE(9), 77);
	if (s->round == 2) {
		store_range(s, 0, 16, 9);
		restore(s);
		must_have(cpu, 1, 3, 500);
	}
	must_have(s->cpu, 0, 16, 100);
	end_child(child, cpu);
}

static void run_short_fork(struct snap *s)
{
	struct vellum_mm *child;

	store_range(s, 0, 4, 500);
	child = fork_on(s->mm, s->w->cpu[3]);
	if (s->round)
		store(s->w->cpu[3], PAGE(2), 1);
	end_child(child, s->w->cpu[3]);
	if (s->round == 2)
		store_range(s, 1, 4, 600);
}

/* A child that was there before keeps its pages, too. */
static void prepare_child(struct snap *s)
{
	prepare_private(s);
	s->mms[1] = fork_on(s->mm, s->w->cpu[1]);
	s->nr_mms = 2;
	store_range(s, 4, 2, 200);
}

static void run_child(struct snap *s)
{
	store_range(s, 2, 4, 7);
	store(s->w->cpu[1], PAGE(3), 8);
	store(s->w->cpu[1], PAGE(9), 8);
	OK(vellum_munmap(s->mms[1], PAGE(12), BYTES(4)));
}

static void prepare_family(struct snap *s)
{
	map_at(s->mm, 40, 8, RW, SHANON);
	store_range(s, 40, 4, 1);
	prepare_child(s);
}

static void run_family(struct snap *s)
{
	run_child(s);
	store_range(s, 41, 4, 7);
	store(s->w->cpu[1], PAGE(42) + 8, 7);
	store(s->w->cpu[1], PAGE(47), 7);
	reclaim_all(s->w);
}

/* Only the parent is frozen: the child keeps what it stores. */
static void run_parent_only(struct snap *s)
{
	struct vellum_mm *child = fork_on(s->mm, s->w->cpu[3]);

	store(s->w->cpu[3], PAGE(1) + 8, 31);
	store_range(s, 0, 4, 3);
	restore(s);
	store_range(s, 0, 4, 4);
	restore(s);
	assert_int_equal(load(s->w->cpu[3], PAGE(1) + 8), 31);
	must_have(s->w->cpu[3], 2, 8, 100);
	end_child(child, s->w->cpu[3]);
}

/* --- branches --- */

static void check_branch(struct snap *s, struct vellum_mm **mms)
{
	check_world(s->w);
	for (unsigned i = 0; i < s->nr_mms; i++) {
		struct image *now = take_image(mms[i]), *then = s->images[i];

		assert_int_equal(now->nr_vmas, then->nr_vmas);
		for (unsigned v = 0; v < now->nr_vmas; v++) {
			assert_int_equal(now->vmas[v].start, then->vmas[v].start);
			assert_int_equal(now->vmas[v].end, then->vmas[v].end);
			assert_int_equal(now->vmas[v].flags, then->vmas[v].flags & ~VM_UFFD);
			assert_null(now->vmas[v].uffd);
		}
		assert_int_equal(now->brk, then->brk);
		assert_int_equal(now->stack_limit, then->stack_limit);
		assert_int_equal(now->nr_pages, then->nr_pages);
		for (unsigned p = 0; p < now->nr_pages; p++)
			if (now->pages[p].sum != then->pages[p].sum)
				fail_msg("%s: page %u of a branch differs", s->machine->name, p);
		free(now);
	}
}

static void run_branch(struct snap *s)
{
	struct vellum_mm *mms[MAX_MMS];
	struct vellum_soft_cpu *cpu = s->w->cpu[3];

	store_range(s, 0, 8, 9);
	OK(vellum_snapshot_branch(s->snapshot, mms, NULL));
	check_branch(s, mms);
	vellum_soft_load_mm(cpu, mms[0]);
	must_have(cpu, 0, 4, 100);
	store(cpu, PAGE(1) + 8, 41);
	store(cpu, PAGE(20), 41);
	restore(s);
	must_have(s->cpu, 0, 4, 100);
	assert_int_equal(load(cpu, PAGE(1) + 8), 41);
	store_range(s, 0, 8, 9);
	if (s->round == 1)
		reclaim_all(s->w);
	assert_int_equal(load(cpu, PAGE(1) + 8), 41);
	must_have(cpu, 2, 2, 100);
	vellum_soft_load_mm(cpu, NULL);
	for (unsigned i = 0; i < s->nr_mms; i++)
		vellum_mm_put(mms[i]);
}

/* A branch outlives its snapshot, and can be frozen itself. */
static void end_branch(struct snap *s)
{
	struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = 1 };
	struct vellum_soft_cpu *cpu = s->w->cpu[3];
	struct vellum_snapshot *own;
	struct vellum_mm *mms[MAX_MMS];

	OK(vellum_snapshot_branch(s->snapshot, mms, NULL));
	thaw(s);
	check_branch(s, mms);
	args.mms = mms;
	OK(vellum_snapshot_create(&args, &own));
	vellum_soft_load_mm(cpu, mms[0]);
	store(cpu, PAGE(2) + 16, 1);
	OK(vellum_snapshot_restore(own));
	must_have(cpu, 0, 4, 100);
	must_verify(s, own);
	check_world(s->w);
	vellum_soft_load_mm(cpu, NULL);
	for (unsigned i = 0; i < s->nr_mms; i++)
		vellum_mm_put(mms[i]);
	vellum_snapshot_destroy(own);
}

/* The branches share a copy of the shared memory with each other, only. */
static void run_branch_family(struct snap *s)
{
	struct vellum_mm *mms[MAX_MMS];
	struct vellum_mapping *mappings[2];
	struct vellum_soft_cpu *cpu = s->w->cpu[2], *other = s->w->cpu[3];
	uint64_t val = 0;

	store_range(s, 40, 4, 9);
	assert_int_equal(snap_info(s->snapshot).nr_mappings, 1);
	OK(vellum_snapshot_branch(s->snapshot, mms, mappings));
	check_world(s->w);
	check_branch(s, mms);
	assert_ptr_not_equal(mappings[0], vellum_snapshot_mapping(s->snapshot, 0));
	vellum_soft_load_mm(cpu, mms[0]);
	vellum_soft_load_mm(other, mms[1]);
	store(cpu, PAGE(45), 81);
	assert_int_equal(load(other, PAGE(45)), 81);
	store(other, PAGE(41) + 8, 82);
	assert_int_equal(load(cpu, PAGE(41) + 8), 82);
	vellum_soft_write_back(s->w->soft);
	OK(vellum_mapping_read(mappings[0], BYTES(5), &val, 8));
	assert_int_equal(val, 81);
	restore(s);
	assert_int_equal(load(s->cpu, PAGE(45)), 0);
	store_range(s, 40, 8, 9);
	assert_int_equal(load(cpu, PAGE(45)), 81);
	vellum_soft_load_mm(cpu, NULL);
	vellum_soft_load_mm(other, NULL);
	vellum_mm_put(mms[0]);
	vellum_mm_put(mms[1]);
	vellum_mapping_put(mappings[0]);
}

static void prepare_mixed(struct snap *s)
{
	prepare_private(s);
	protect(s->mm, 24, 2, RO);
	advise(s, 8, 2, VELLUM_MADV_GUARD_INSTALL);
	pageout(s->mm, 10, 3);
	vellum_set_brk(s->mm, PAGE(100));
	assert_int_equal(vellum_brk(s->mm, PAGE(103)), PAGE(103));
	store_range(s, 100, 2, 5);
	s->uffd = register_wp(s->mm, 12, 8, VELLUM_UFFD_FEATURE_WP_ASYNC | VELLUM_UFFD_FEATURE_WP_UNPOPULATED);
	wp(s->uffd, 14, 6);
}

static void end_mixed(struct snap *s)
{
	end_branch(s);
	vellum_uffd_close(s->uffd);
	vellum_uffd_put(s->uffd);
}

/* --- nested snapshots --- */

#define DEPTH 3

static struct vellum_snapshot *level[DEPTH];
static struct image *image_of[DEPTH];

/* Not every page is mapped any more. */
static void try_range(struct snap *s, unsigned at, unsigned pages, uint64_t val)
{
	for (unsigned i = at; i < at + pages; i++)
		try_store(s->cpu, PAGE(i) + 8 * i, val + i);
}

static void change(struct snap *s, unsigned how)
{
	uint64_t to = PAGE(90);

	switch (how % 6) {
	case 0:
		try_range(s, 0, 6, 1000 * (how + 1));
		break;
	case 1:
		vellum_madvise(s->mm, PAGE(4), BYTES(3), VELLUM_MADV_DONTNEED);
		try_range(s, 20, 4, 1000 * how);
		break;
	case 2:
		unmap(s->mm, 2, 2);
		map_at(s->mm, 64, 4, RW, how % 4 ? ANON : SHANON);
		try_range(s, 64, 2, how);
		break;
	case 3:
		vellum_mprotect(s->mm, PAGE(8), BYTES(4), RO);
		reclaim_all(s->w);
		break;
	case 4:
		vellum_mremap(s->mm, PAGE(10), BYTES(2), BYTES(2), VELLUM_MREMAP_MAYMOVE | VELLUM_MREMAP_FIXED, &to);
		try_range(s, 40, 4, 1000 * how);
		break;
	default:
		try_range(s, 16, 8, 1000 * how);
		try_range(s, 42, 4, 1000 * how);
	}
}

static void prepare_nested(struct snap *s)
{
	prepare_private(s);
	map_at(s->mm, 40, 8, RW, SHANON);
	store_range(s, 40, 4, 1);
}

static void nest(struct snap *s, unsigned seed)
{
	for (unsigned i = 0; i < DEPTH; i++) {
		change(s, seed + i);
		vellum_soft_write_back(s->w->soft);
		image_of[i] = take_image(s->mm);
		OK(freeze_all(s, &level[i]));
		check_world(s->w);
	}
}

static void to_level(struct snap *s, unsigned i)
{
	OK(vellum_snapshot_restore(level[i]));
	check_world(s->w);
	check_image(s, image_of[i], s->mm);
	must_verify(s, level[i]);
}

static void leave(unsigned i)
{
	vellum_snapshot_destroy(level[i]);
	level[i] = NULL;
	free(image_of[i]);
}

static void run_nested(struct snap *s)
{
	static const unsigned order[] = { 2, 1, 0, 0, 2, 0, 1, 1, 2, 2 };

	restore(s);
	nest(s, 2 * s->round);
	for (unsigned i = 0; i < 10; i++) {
		change(s, i + s->round + 1);
		to_level(s, order[i]);
		OK(vellum_snapshot_restore(level[order[i]]));
	}
	change(s, s->round);
	leave(s->round);	/* the outer, the middle, or the inner one */
	for (unsigned i = 0; i < DEPTH; i++) {
		change(s, i + 1);
		if (i != s->round)
			to_level(s, i);
	}
	for (unsigned i = DEPTH; i--;)
		if (i != s->round)
			leave(i);
	check_world(s->w);
}

/* Snapshots of one and of both of two processes. */
static void run_one_of_two(struct snap *s)
{
	struct vellum_snapshot_args args = { .size = sizeof(args), .nr_mms = 1, .mms = &s->mms[1] };
	struct vellum_snapshot *inner;
	struct image *image;

	store(s->w->cpu[1], PAGE(3), 8);
	store_range(s, 0, 3, 8);
	vellum_soft_write_back(s->w->soft);
	image = take_image(s->mms[1]);
	OK(vellum_snapshot_create(&args, &inner));
	store(s->w->cpu[1], PAGE(3), 9);
	store(s->w->cpu[1], PAGE(5), 9);
	store_range(s, 2, 3, 9);
	OK(vellum_snapshot_restore(inner));
	check_image(s, image, s->mms[1]);
	must_have(s->cpu, 2, 3, 9);
	store(s->w->cpu[1], PAGE(6), 9);
	restore(s);
	check_restored(s);
	if (s->round != 1) {
		OK(vellum_snapshot_restore(inner));
		check_image(s, image, s->mms[1]);
		must_verify(s, inner);
	}
	vellum_snapshot_destroy(inner);
	free(image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE("T-snap-11 a fork in the run", prepare_private, run_fork),
		SCENE("T-snap-11 the child ends first", prepare_private, run_short_fork),
		SCENE("T-snap-11 parent and child are frozen", prepare_child, run_child),
		SCENE_WITH("T-snap-11 parent and child with shared memory", prepare_family, run_family, NULL, SCENE_AGAIN),
		SCENE("T-snap-11 only the parent is frozen", prepare_private, run_parent_only),
		SCENE_WITH("T-snap-12 a branch", prepare_private, run_branch, end_branch, 0),
		SCENE_WITH("T-snap-12 a branch with entries of all kinds", prepare_mixed, run_branch, end_mixed, 0),
		SCENE_WITH("T-snap-12 branches share memory", prepare_family, run_branch_family, NULL, SCENE_AGAIN),
		SCENE_WITH("T-snap-13 nested snapshots", prepare_nested, run_nested, NULL, SCENE_AGAIN),
		SCENE("T-snap-13 one of two processes", prepare_child, run_one_of_two),
	};

	return cmocka_run_group_tests_name("snap_fork", tests, NULL, NULL);
}
