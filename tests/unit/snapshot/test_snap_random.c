/* SPDX-License-Identifier: MIT */
/*
 * Snapshots and random operations: two nested snapshots, restored in any order; a child that must keep its pages; pins.
 * SNAP_SEED in the environment chooses another seed.
 */
#include "snap_support.h"

#include "mm/table/huge.h"

#define RUNS	  400
#define NR_PINS	  4
#define NR_LEVELS 2
#define HUGE_AT	  1024
#define LAST	  160		/* pages below take part in all operations */

struct play {
	struct snap s;
	struct vellum_snapshot *level[NR_LEVELS];
	struct image *image[NR_LEVELS];
	struct vellum_mm *child;
	struct image *child_image;
	uint64_t pins[NR_PINS];		/* frame numbers; 0: none */
	unsigned done;
	bool freed;			/* MADV_FREE was used in this run: pages may turn to zeros at any time */
};

static unsigned below(struct play *p, unsigned n)
{
	return random_below(&p->s.seed, n);
}

/* --- the memory --- */

static void prepare_play(struct play *p)
{
	struct snap *s = &p->s;

	prepare_private(s);
	map_at(s->mm, 40, 8, RW, SHANON);
	file_create(&s->file, s->w, 16);
	map_private(s->mm, 64, 12, &s->file, 2);
	OK(vellum_mapping_create(s->w->memory, NULL, NULL, 16, 0, &s->mappings[0]));
	map_object(s->mm, 80, 8, RW, VELLUM_MAP_SHARED, s->mappings[0], 0, RW);
	map_object(s->mm, 88, 12, RW, VELLUM_MAP_PRIVATE, s->mappings[0], 2, RW);
	map_at(s->mm, 104, 8, RW, ANON);
	map_at(s->mm, 112, 8, RW, SHANON);
	s->uffd = register_wp(s->mm, 104, 16, VELLUM_UFFD_FEATURE_WP_ASYNC | VELLUM_UFFD_FEATURE_WP_UNPOPULATED);
	map_at(s->mm, HUGE_AT, 512, RW, ANON);
	advise(s, HUGE_AT, 512, VELLUM_MADV_HUGEPAGE);
	s->nr_mappings = 1;
}

/* --- operations. Those that cannot be done here do nothing --- */

static void change_vmas(struct play *p, unsigned at, unsigned n)
{
	struct vellum_mm *mm = p->s.mm;
	uint64_t to = PAGE(below(p, LAST));

	switch (below(p, 6)) {
	case 0:
		vellum_munmap(mm, PAGE(at), BYTES(n));
		break;
	case 1:
		map_at(mm, at, n, RW, below(p, 3) ? ANON : SHANON);
		break;
	case 2:
		map_object(mm, at, n, RW, below(p, 2) ? VELLUM_MAP_PRIVATE : VELLUM_MAP_SHARED, p->s.mappings[0], below(p, 8),
			   RW);
		break;
	case 3:
		vellum_mprotect(mm, PAGE(at), BYTES(n), below(p, 2) ? RO : RW);
		break;
	case 4:
		vellum_mremap(mm, PAGE(at), BYTES(n), BYTES(n),
			      VELLUM_MREMAP_MAYMOVE | (below(p, 2) ? VELLUM_MREMAP_FIXED : VELLUM_MREMAP_DONTUNMAP), &to);
		break;
	default:
		vellum_mlock(mm, PAGE(at), BYTES(n), VELLUM_MLOCK_ONFAULT);
		if (below(p, 2))
			vellum_munlockall(mm);
	}
}

static void give_advice(struct play *p, unsigned at, unsigned n)
{
	static const int advices[] = { VELLUM_MADV_DONTNEED,	  VELLUM_MADV_DONTNEED,	     VELLUM_MADV_PAGEOUT,
				       VELLUM_MADV_GUARD_INSTALL, VELLUM_MADV_GUARD_REMOVE, VELLUM_MADV_FREE,
				       VELLUM_MADV_REMOVE,	  VELLUM_MADV_COLD,	     VELLUM_MADV_POPULATE_READ,
				       VELLUM_MADV_WIPEONFORK,	  VELLUM_MADV_DONTDUMP };

	int advice = advices[below(p, sizeof(advices) / sizeof(*advices))];

	p->freed |= advice == VELLUM_MADV_FREE;
	if (below(p, 12) == 0)
		vellum_madvise(p->s.mm, PAGE(HUGE_AT), BYTES(512), VELLUM_MADV_COLLAPSE);
	else
		vellum_madvise(p->s.mm, PAGE(at), BYTES(n), advice);
}

static void change_marks(struct play *p, unsigned at, unsigned n)
{
	struct snap *s = &p->s;

	switch (below(p, 5)) {
	case 0:
		OK(vellum_clear_refs(s->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
		break;
	case 1:
		vellum_uffd_writeprotect(s->uffd, PAGE(at), BYTES(n), VELLUM_UFFD_WRITEPROTECT_WP);
		break;
	case 2:
		vellum_uffd_writeprotect(s->uffd, PAGE(at), BYTES(n), 0);
		break;
	case 3:
		vellum_uffd_register(s->uffd, PAGE(at), BYTES(n), VELLUM_UFFD_WP, NULL);
		break;
	default:
		vellum_uffd_unregister(s->uffd, PAGE(at), BYTES(n));
	}
}

static void change_mapping(struct play *p)
{
	struct vellum_mapping *m = p->s.mappings[0];

	if (below(p, 2))
		vellum_mapping_set_size(m, BYTES(below(p, 20)) + below(p, 2) * 100);
	else
		vellum_mapping_punch_hole(m, BYTES(below(p, 12)), BYTES(1 + below(p, 4)));
}

static void drop_pin(struct play *p, unsigned i)
{
	if (p->pins[i])
		vellum_unpin_pages(p->s.w->memory, &p->pins[i], 1);
	p->pins[i] = 0;
}

/* On machines with virtual caches, stores through a pin are not seen by the CPUs. */
static void use_pins(struct play *p, unsigned at)
{
	unsigned i = below(p, NR_PINS);
	uint64_t done, pfn;

	if (p->s.machine->hostile & VELLUM_SOFT_VCACHE)
		return;
	if (!p->pins[i]) {
		if (!vellum_pin_pages(p->s.mm, PAGE(at), 1, below(p, 3) ? VELLUM_GUP_WRITE : 0, &pfn, &done) && done)
			p->pins[i] = pfn;
	} else if (below(p, 3)) {
		vellum_unpin_pages_dirty(p->s.w->memory, &p->pins[i], 1);
		p->pins[i] = 0;
	}
}

/* A child that does not run, or one that ends at once. */
static void forks(struct play *p)
{
	if (p->child) {
		vellum_mm_put(p->child);
		free(p->child_image);
		p->child = NULL;
		p->child_image = NULL;
		return;
	}
	OK(vellum_fork(p->s.mm, &p->child));
	if (!p->freed && below(p, 2)) {
		vellum_soft_write_back(p->s.w->soft);
		p->child_image = take_image(p->child);
	}
}

static void branches(struct play *p)
{
	struct vellum_snapshot *snapshot = p->level[below(p, NR_LEVELS)];
	struct vellum_mm *mm;

	if (!snapshot || below(p, 4))
		return;
	OK(vellum_snapshot_branch(snapshot, &mm, NULL));
	vellum_soft_load_mm(p->s.w->cpu[2], mm);
	for (unsigned i = 0; i < 8; i++)
		try_store(p->s.w->cpu[2], PAGE(below(p, LAST)), p->s.seed);
	vellum_soft_load_mm(p->s.w->cpu[2], NULL);
	vellum_mm_put(mm);
}

static void step(struct play *p)
{
	struct snap *s = &p->s;
	unsigned at = below(p, LAST - 12), n = 1 + below(p, 12), huge = below(p, 2) ? HUGE_AT + below(p, 500) : at;

	switch (below(p, 18)) {
	case 0:
	case 1:
		change_vmas(p, huge, n);
		break;
	case 2:
	case 3:
		give_advice(p, huge, n);
		break;
	case 4:
		change_marks(p, at, n);
		break;
	case 5:
		change_mapping(p);
		break;
	case 6:
		use_pins(p, huge);
		break;
	case 7:
		forks(p);
		break;
	case 8:
		vellum_reclaim(s->w->memory, below(p, 40));
		break;
	case 9:
		vellum_migrate_page(s->mm, PAGE(at));
		break;
	case 10:
		branches(p);
		break;
	case 11:
		for (unsigned i = huge; i < huge + n; i++)
			try_load(s->cpu, PAGE(i));
		break;
	default:
		for (unsigned i = huge; i < huge + n; i++)
			try_store(s->cpu, PAGE(i) + 8 * below(p, 512), s->seed);
	}
}

/* --- checks --- */

/* The child's private anonymous pages are as at the fork. */
static void check_child(struct play *p)
{
	struct image *now;

	if (!p->child_image)
		return;
	now = take_image(p->child);
	assert_int_equal(now->nr_pages, p->child_image->nr_pages);
	for (unsigned i = 0; i < now->nr_pages; i++) {
		const struct image_page *a = &now->pages[i], *b = &p->child_image->pages[i];

		if (!vma_at(p->child, a->addr)->mapping && a->sum != b->sum)
			fail_msg("%s, run %u: page %lld of the child differs", p->s.machine->name, p->done,
				 (long long)(a->addr - BASE) >> PAGE_SHIFT);
	}
	free(now);
}

/* One that is released, made anew, or restored. */
static void use_level(struct play *p, unsigned i)
{
	struct snap *s = &p->s;

	if (p->level[i] && below(p, 12) == 0) {
		vellum_snapshot_destroy(p->level[i]);
		free(p->image[i]);
		p->level[i] = NULL;
		p->image[i] = NULL;
		return;
	}
	if (!p->level[i]) {
		vellum_soft_write_back(s->w->soft);
		p->image[i] = take_image(s->mm);
		OK(freeze_all(s, &p->level[i]));
		check_world(s->w);
		if (below(p, 2))
			must_verify(s, p->level[i]);
		return;
	}
	OK(vellum_snapshot_restore(p->level[i]));
	p->freed = false;
	if (below(p, 3) == 0)
		return;		/* the next run begins with the entries as the restore left them */
	check_world(s->w);
	check_image(s, p->image[i], s->mm);
	must_verify(s, p->level[i]);
	check_child(p);
	if (below(p, 2))
		OK(vellum_snapshot_restore(p->level[i]));
}

static void play_run(struct play *p)
{
	unsigned level = below(p, 4) == 0;

	p->s.round = p->done;
	for (unsigned i = 0; i < 1 + below(p, 8); i++)
		step(p);
	use_level(p, level);
	if (below(p, 30) == 0)
		for (unsigned i = 0; i < NR_PINS; i++)
			drop_pin(p, i);
}

static void random_operations(void **state) /* T-snap-22 */
{
	static struct play p;

	(void)state;
	for (unsigned m = 0; m < NR_MACHINES; m++) {
		memset(&p, 0, sizeof(p));
		snap_open(&p.s, &machines[m], SCENE_AGAIN);
		prepare_play(&p);
		for (p.done = 0; p.done < RUNS; p.done++)
			play_run(&p);
		for (unsigned i = 0; i < NR_PINS; i++)
			drop_pin(&p, i);
		if (p.child)
			forks(&p);
		for (unsigned i = 0; i < NR_LEVELS; i++) {
			vellum_snapshot_destroy(p.level[i]);
			free(p.image[i]);
		}
		vellum_uffd_close(p.s.uffd);
		vellum_uffd_put(p.s.uffd);
		snap_close(&p.s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_operations),
	};

	return cmocka_run_group_tests_name("snap_random", tests, NULL, NULL);
}
