/* SPDX-License-Identifier: MIT */
/* userfaultfd: what the ioctls that install pages tell trackers and machines, and what they leave when they fail. */
#include "uffd_support.h"
#include "huge_support.h"
#include "vellum/dirty.h"

enum ioctl { COPY, ZEROPAGE, CONTINUE, POISON, NR_IOCTLS };

static int fill(struct vellum_uffd *u, enum ioctl ioctl, unsigned at)
{
	return ioctl == COPY ? copy_in(u, at, 7, 0) : ioctl == ZEROPAGE ? zero_in(u, at) :
	       ioctl == CONTINUE ? continue_in(u, at, 0) : poison_in(u, at);
}

/* --- trackers and machines --- */

/* Each page that is installed counts as changed. A fill that fails, and poison, change no bytes. */
static void fills_are_tracked(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_tracker *of_mm[2], *of_object;
	struct vellum_mapping *shm = new_shmem(w, 8);

	map_at(w->mm, 0, 8, RW, ANON);
	map_object(w->mm, 8, 8, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	OK(vellum_mapping_punch_hole(shm, 0, BYTES(4)));
	enrol(w, u, 0, 8, MISSING);
	enrol(w, u, 8, 8, MISSING | MINOR);
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(16), VELLUM_TRACK_WP, &of_mm[0]));
	OK(vellum_track_mm(w->mm, PAGE(0), PAGE(16), VELLUM_TRACK_CLEAN, &of_mm[1]));
	OK(vellum_track_mapping(shm, 0, 8, VELLUM_TRACK_CLEAN, &of_object));
	for (unsigned i = 0; i < 2 * NR_IOCTLS; i++) {
		enum ioctl ioctl = i % NR_IOCTLS;
		bool shared = i >= NR_IOCTLS;
		unsigned at = !shared ? i : ioctl == CONTINUE ? 13 : 8 + ioctl;
		bool changes = ioctl != POISON && (ioctl != CONTINUE || shared);

		for (unsigned again = 0; again < 2; again++) {
			for (unsigned t = 0; t < 2; t++)
				collect(of_mm[t], PAGE(0) >> 12);
			collect(of_object, 0);
			if (!again && (ioctl != CONTINUE || shared))
				OK(fill(u, ioctl, at));
			else
				assert_int_not_equal(fill(u, ioctl == COPY ? ZEROPAGE : ioctl, at), 0);
			for (unsigned t = 0; t < 2; t++)
				assert_int_equal(collect(of_mm[t], PAGE(0) >> 12), changes && !again ? 1u << at : 0);
			assert_int_equal(collect(of_object, 0), changes && !again && shared ? 1u << (at - 8) : 0);
			check_world(w);
		}
	}
	assert_null(vma_at(w->mm, PAGE(8))->anon_vma);
	vellum_tracker_destroy(of_mm[0]);
	vellum_tracker_destroy(of_mm[1]);
	vellum_tracker_destroy(of_object);
	unmap(w->mm, 0, 16);
	vellum_mapping_put(shm);
	vellum_uffd_put(u);
}

/* CONTINUE of a page that may be executed; the next write by the host then tells the machine. */
static void continued_pages_may_be_executed(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mapping *shm = new_shmem(w, 2);

	map_object(w->mm, 0, 1, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	map_object(w->mm, 1, 1, RW | VELLUM_PROT_EXEC, VELLUM_MAP_SHARED, shm, 1, RW);
	enrol(w, u, 0, 2, MINOR);
	for (unsigned i = 0; i < 2; i++) {
		OK(continue_in(u, i, 0));
		assert_int_equal(!!(folio_flags(folio_at(w, i)) & PG_EXECUTED), i);
		assert_int_equal(pte_exec(entry_at(w->mm, PAGE(i))), i);
	}
	unmap(w->mm, 0, 2);
	vellum_mapping_put(shm);
	vellum_uffd_put(u);
}

/* W and D, unless the page has to be written back. Other flags of the mapping do not matter. */
static void continued_pages_are_dirty(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mapping *shm;
	uint64_t val = 1;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 2, VELLUM_MAPPING_READ_FIRST, &shm));
	OK(vellum_mapping_write(shm, 0, &val, 8));
	map_object(w->mm, 0, 2, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	load(w->cpu[0], PAGE(0));
	folio_clear(folio_at(w, 0), PG_DIRTY);
	dontneed(w->mm, 0, 2);
	enrol(w, u, 0, 2, MINOR);
	OK(continue_in(u, 0, 0));
	assert_true(has_w(w->mm, PAGE(0)) && has_d(w->mm, PAGE(0)));
	assert_true(folio_flags(folio_at(w, 0)) & PG_DIRTY);
	check_world(w);
	unmap(w->mm, 0, 2);
	vellum_mapping_put(shm);
	vellum_uffd_put(u);
}

/* --- failures --- */

/* A huge page is there: nothing is installed, and the leaf stays. */
static void huge_leaves_are_pages(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);

	map_at(w->mm, HUGE, HUGE, RW, ANON);
	OK(vellum_madvise(w->mm, PAGE(HUGE), BYTES(HUGE), VELLUM_MADV_HUGEPAGE));
	map_at(w->mm, 3 * HUGE, HUGE, RW, SHANON);
	store(w->cpu[0], PAGE(HUGE), 1);
	for (unsigned i = 0; i < HUGE; i++)
		store(w->cpu[0], PAGE(3 * HUGE + i), 1);
	OK(vellum_madvise(w->mm, PAGE(3 * HUGE), BYTES(HUGE), VELLUM_MADV_COLLAPSE));
	enrol(w, u, HUGE, HUGE, MISSING);
	enrol(w, u, 3 * HUGE, HUGE, MISSING | MINOR);
	load(w->cpu[0], PAGE(3 * HUGE));
	for (unsigned at = HUGE; at <= 3 * HUGE; at += 2 * HUGE) {
		uint64_t leaf = leaf_at(w->mm, PAGE(at), PMD_SHIFT), before = free_frames(w);

		assert_true(leaf);
		for (enum ioctl ioctl = 0; ioctl < NR_IOCTLS; ioctl++)
			if (ioctl != CONTINUE || at != HUGE)
				assert_int_equal(fill(u, ioctl, at + 5), -EEXIST);
		assert_int_equal(leaf_at(w->mm, PAGE(at), PMD_SHIFT), leaf);
		assert_int_equal(free_frames(w), before);
		assert_int_equal(load(w->cpu[0], PAGE(at)), 1);
	}
	check_world(w);
	vellum_uffd_put(u);
}

/* No frame for the page or its table: the entry stays empty, and no frame is lost. */
static void fills_without_frames(void **state)
{
	static uint64_t hoard[4096];
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mapping *shm = new_shmem(w, 4);

	map_at(w->mm, HUGE, 4, RW, ANON);
	map_object(w->mm, 3 * HUGE, 4, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	enrol(w, u, HUGE, 4, MISSING);
	enrol(w, u, 3 * HUGE, 4, MISSING | MINOR);
	for (unsigned frames = 0; frames < 2; frames++)		/* with one frame: the page, but no table */
		for (unsigned at = HUGE; at <= 3 * HUGE; at += 2 * HUGE)
			for (enum ioctl ioctl = 0; ioctl < NR_IOCTLS; ioctl++) {
				unsigned n = 0;

				if (ioctl == CONTINUE ? at == HUGE : at == 3 * HUGE && ioctl != POISON)
					continue;
				if (frames && ioctl != COPY)
					continue;
				while (vellum_memory_alloc_device(w->memory, 1, &hoard[n]) == 0)
					n++;
				if (frames)
					vellum_memory_free_device(w->memory, hoard[--n], 1);
				assert_int_equal(fill(u, ioctl, at), -ENOMEM);
				assert_int_equal(free_frames(w), frames);
				while (n)
					vellum_memory_free_device(w->memory, hoard[--n], 1);
				assert_int_equal(entry_at(w->mm, PAGE(at)).val, 0);
				check_world(w);
			}
	unmap(w->mm, HUGE, 4 * HUGE);
	vellum_mapping_put(shm);
	vellum_uffd_put(u);
}

/* The last page of the mapping is the last that can be filled. */
static void fills_end_with_the_mapping(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);

	for (unsigned how = 0; how < 2 * NR_IOCTLS; how++) {
		struct vellum_mapping *shm = new_shmem(w, 2);
		enum ioctl ioctl = how / 2;
		unsigned at = how & 1 ? 8 : 0;

		map_object(w->mm, 0, 4, RW, VELLUM_MAP_PRIVATE, shm, 0, RW);
		map_object(w->mm, 8, 4, RW, VELLUM_MAP_SHARED, shm, 0, RW);
		if (ioctl != CONTINUE)
			OK(vellum_mapping_punch_hole(shm, 0, BYTES(2)));
		enrol(w, u, 0, 12, MISSING | MINOR);
		OK(fill(u, ioctl, at + 1));
		assert_int_equal(fill(u, ioctl, at + 2), ioctl == CONTINUE ? -EINVAL : -EFAULT);
		assert_int_equal(fill(u, ioctl, at + 3), ioctl == CONTINUE ? -EINVAL : -EFAULT);
		assert_int_equal(entry_at(w->mm, PAGE(at + 2)).val, 0);
		check_world(w);
		unmap(w->mm, 0, 12);
		vellum_mapping_put(shm);
	}
	vellum_uffd_put(u);
}

/* A guard refuses the page, so the mapping must not get it either. */
static void refused_pages_are_not_added(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mapping *shm;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 4, 0, &shm));
	map_object(w->mm, 0, 4, RW, VELLUM_MAP_SHARED, shm, 0, RW);
	enrol(w, u, 0, 4, MISSING);
	OK(copy_in(u, 0, 1, 0));
	for (unsigned bits = MARKER_GUARD; bits < 8; bits++) {
		set_entry_at(w->mm, PAGE(1), pte_marker(bits));
		assert_int_equal(copy_in(u, 1, 1, 0), -EEXIST);
		assert_int_equal(zero_in(u, 1), -EEXIST);
		assert_int_equal(info_of(shm).nr_cached, 1);
	}
	set_entry_at(w->mm, PAGE(1), pte_make(0));
	check_world(w);
	unmap(w->mm, 0, 4);
	vellum_mapping_put(shm);
	vellum_uffd_put(u);
}

static int every_page(void *ctx, uint64_t pgoff)
{
	(void)ctx, (void)pgoff;
	return 1;
}

/* The backing cannot read the page that CONTINUE is to map. */
static void continue_reports_the_backing(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_backing_ops ops = counting_ops;
	struct counting *c = new_counting();
	struct vellum_mapping *mapping;

	ops.has_page = every_page;
	ops.page_mkwrite = NULL;
	OK(vellum_mapping_create(w->memory, &ops, c, 2, 0, &mapping));
	map_object(w->mm, 0, 2, RW, VELLUM_MAP_SHARED, mapping, 0, RW);
	enrol(w, u, 0, 2, MINOR);
	c->fault_code = VELLUM_VMF_SIGBUS;
	assert_int_equal(continue_in(u, 0, 0), -EFAULT);
	c->fault_code = VELLUM_VMF_OOM;
	assert_int_equal(continue_in(u, 0, 0), -ENOMEM);
	c->fault_code = 0;
	OK(continue_in(u, 0, 0));
	assert_int_equal(load(w->cpu[0], PAGE(0)), 0);
	check_world(w);
	unmap(w->mm, 0, 2);
	vellum_mapping_put(mapping);
	vellum_uffd_put(u);
}

/* --- arguments --- */

/* The source is user memory up to its end. If the caller has the bytes, the address of a source is not looked at. */
static void sources_of_a_copy(void **state)
{
	const struct vellum_map_args last = { .size = sizeof(last), .addr = VELLUM_TASK_SIZE - PAGE_SIZE,
					      .len = PAGE_SIZE, .prot = RW, .flags = ANON | VELLUM_MAP_FIXED };
	static const struct { uint64_t src, pages; int want; } cases[] = {
		{ VELLUM_TASK_SIZE - PAGE_SIZE, 1, 0 }, { VELLUM_TASK_SIZE - PAGE_SIZE, 2, -EINVAL },
		{ VELLUM_TASK_SIZE - PAGE_SIZE + 1, 1, -EINVAL }, { VELLUM_TASK_SIZE, 1, -EINVAL },
		{ 0 - PAGE_SIZE, 1, -EINVAL }, { 0 - PAGE_SIZE, 2, -EINVAL }, { ~0ull, 2, -EINVAL },
		{ VELLUM_TASK_SIZE - 2 * PAGE_SIZE, 1, -EFAULT },
	};
	static const uint64_t bytes[2 * 512] = { 5 };
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	uint64_t addr;
	int64_t done;

	OK(vellum_mmap(w->mm, &last, &addr));
	store(w->cpu[0], addr, 3);
	map_at(w->mm, 0, 2, RW, ANON);
	enrol(w, u, 0, 2, MISSING);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t len = BYTES(cases[i].pages);

		assert_int_equal(vellum_uffd_copy(u, PAGE(0), cases[i].src, NULL, len, VELLUM_UFFD_COPY_DONTWAKE, &done),
				 cases[i].want);
		assert_int_equal(load(w->cpu[0], addr), 3);
		assert_word(w, 0, cases[i].want ? 0 : IS_PAGE);
		dontneed(w->mm, 0, 2);
		OK(vellum_uffd_copy(u, PAGE(0), cases[i].src, bytes, len, VELLUM_UFFD_COPY_DONTWAKE, NULL));
		assert_int_equal(load(w->cpu[0], PAGE(0)), 5);
		dontneed(w->mm, 0, 2);
	}
	check_world(w);
	vellum_uffd_put(u);
}

/* A signal that ends the process ends the call after a page. */
static void fills_end_when_the_process_is_killed(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	int64_t done;

	map_at(w->mm, 0, 8, RW, ANON);
	enrol(w, u, 0, 8, MISSING);
	w->host.interrupted = VELLUM_KILLED;
	assert_int_equal(vellum_uffd_zeropage(u, PAGE(0), BYTES(2), 0, &done), -EINTR);
	assert_int_equal(done, -EINTR);
	assert_word(w, 0, 0);
	w->host.interrupted = 0;
	w->host.kill_at = w->host.nr_asked + 3;
	assert_int_equal(vellum_uffd_zeropage(u, PAGE(0), BYTES(4), 0, &done), -EAGAIN);
	w->host.kill_at = 0;
	assert_int_equal(done, BYTES(2));
	assert_word(w, 1, IS_PAGE);
	assert_word(w, 2, 0);
	check_world(w);
	vellum_uffd_put(u);
}

/* The address space is gone, and the caller does not ask for the number of bytes. */
static void fills_of_a_dead_address_space(void **state)
{
	static const char bytes[PAGE_SIZE];
	struct world *w = *state;
	struct vellum_mm *mm;
	struct vellum_uffd *u;

	OK(vellum_mm_create(w->memory, &mm));
	OK(vellum_uffd_create(mm, 0, &u));
	OK(vellum_uffd_api(u, VELLUM_UFFD_API, 0, NULL, NULL));
	vellum_mm_put(mm);
	assert_int_equal(vellum_uffd_copy(u, PAGE(0), 0, bytes, PAGE_SIZE, 0, NULL), -ESRCH);
	assert_int_equal(vellum_uffd_move(u, PAGE(0), PAGE(1), PAGE_SIZE, 0, NULL), -ESRCH);
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(fills_are_tracked),
		WORLD_TEST(continued_pages_may_be_executed),
		WORLD_TEST(continued_pages_are_dirty),
		WORLD_TEST(huge_leaves_are_pages),
		WORLD_TEST(fills_without_frames),
		WORLD_TEST(fills_end_with_the_mapping),
		WORLD_TEST(refused_pages_are_not_added),
		WORLD_TEST(continue_reports_the_backing),
		WORLD_TEST(sources_of_a_copy),
		WORLD_TEST(fills_end_when_the_process_is_killed),
		WORLD_TEST(fills_of_a_dead_address_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
