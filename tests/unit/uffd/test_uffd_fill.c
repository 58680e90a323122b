/* SPDX-License-Identifier: MIT */
/* userfaultfd: COPY, ZEROPAGE, CONTINUE and POISON, the entries that they install, and errors. */
#include "uffd_support.h"

/* --- pages that are present --- */

static void T_uffd_13_present_pages_stay(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct swap_array *swap = malloc(sizeof(*swap));

	add_swap(w, swap);
	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 0, 4, MISSING | WP);
	OK(copy_in(u, 0, 1, 0));
	OK(copy_in(u, 1, 2, 0));
	OK(zero_in(u, 2));
	page_out(w, 1, 1);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(copy_in(u, i, 9, 0), -EEXIST);
		assert_int_equal(zero_in(u, i), -EEXIST);
		assert_int_equal(poison_in(u, i), -EEXIST);
		check_world(w);
	}
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), i < 2 ? i + 1 : 0);
	unmap(w->mm, 0, 4);
	vellum_uffd_put(u);
	OK(vellum_swap_remove(w->memory, 0));
	free(swap);
}

static void T_uffd_13_range_that_is_done_in_part(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	char bytes[4 * PAGE_SIZE];
	struct job job;
	int64_t done;

	memset(bytes, 0x77, sizeof(bytes));
	map_at(w->mm, 0, 8, RW, ANON);
	store(w->cpu[0], PAGE(2), 1);
	store(w->cpu[0], PAGE(6), 1);
	enrol(w, u, 0, 8, MISSING);
	start_load(w, &job, PAGE(1));
	says_fault(u, &job, PAGE(1), 0);
	assert_int_equal(vellum_uffd_copy(u, PAGE(0), 0, bytes, sizeof(bytes), 0, &done), -EAGAIN);
	assert_int_equal(done, BYTES(2));
	assert_int_equal(nr_waiting(w, u), 0); /* the pages before the error were installed, so their waiters woke */
	ends(&job);
	assert_int_equal(job.val, 0x7777777777777777);
	assert_word(w, 3, 0);
	assert_int_equal(vellum_uffd_copy(u, PAGE(2), 0, bytes, BYTES(2), 0, &done), -EEXIST);
	assert_int_equal(done, -EEXIST);
	assert_int_equal(vellum_uffd_zeropage(u, PAGE(4), BYTES(4), 0, &done), -EAGAIN);
	assert_int_equal(done, BYTES(2));
	dontneed(w->mm, 4, 2);
	assert_int_equal(vellum_uffd_poison(u, PAGE(4), BYTES(4), 0, &done), -EAGAIN);
	assert_int_equal(done, BYTES(2));
	check_world(w);
	vellum_uffd_put(u);
}

static void T_uffd_13_markers(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, VELLUM_UFFD_FEATURE_WP_UNPOPULATED);

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 4, 4, RW, SHANON);
	enrol(w, u, 0, 8, MISSING | WP);
	guard_writes(w, u, 0, 8);
	assert_int_equal(zero_in(u, 0), -EEXIST);
	OK(zero_in(u, 7));	/* shared memory gets a page, as with COPY, which replaces the marker */
	assert_int_equal(load(w->cpu[0], PAGE(7)), 0);
	for (unsigned i = 0; i < 8; i += 4) {
		assert_int_equal(poison_in(u, i), -EEXIST);
		OK(copy_in(u, i, 5, 0));
		assert_int_equal(load(w->cpu[0], PAGE(i)), 5);
		OK(copy_in(u, i + 1, 6, VELLUM_UFFD_COPY_WP));
		assert_word(w, i + 1, IS_WP_PAGE);
		check_world(w);
		resolve(u, i + 2, 1);
		OK(poison_in(u, i + 2));
		assert_int_equal(poison_in(u, i + 2), -EEXIST);
		if (!i)
			assert_int_equal(zero_in(u, i + 2), -EEXIST);
		assert_int_equal(try_load(w->cpu[0], PAGE(i + 2)), VELLUM_FAULT_HWPOISON);
		OK(copy_in(u, i + 2, 7, 0)); /* replaces the poison */
		assert_int_equal(load(w->cpu[0], PAGE(i + 2)), 7);
		check_world(w);
	}
	vellum_uffd_put(u);
}

/* --- errors --- */

static void copy_errors(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mapping *mapping = new_shmem(w, 2);
	int64_t done = 0;

	map_at(w->mm, 0, 4, RW, ANON);
	map_object(w->mm, 8, 4, RW, VELLUM_MAP_SHARED, mapping, 0, RW);
	map_object(w->mm, 16, 4, RW, VELLUM_MAP_PRIVATE, mapping, 0, RW);
	enrol(w, u, 0, 2, MISSING);
	enrol(w, u, 8, 12, MISSING);
	assert_int_equal(copy_in(u, 2, 1, 0), -ENOENT); /* not registered */
	assert_int_equal(copy_in(u, 30, 1, 0), -ENOENT);
	/* The range leaves the VMA. */
	assert_int_equal(vellum_uffd_copy(u, PAGE(1), PAGE(2), NULL, BYTES(2), 0, &done), -ENOENT);
	assert_int_equal(copy_in(u, 10, 1, 0), -EFAULT); /* beyond the end */
	assert_int_equal(copy_in(u, 18, 1, 0), -EFAULT);
	assert_int_equal(vellum_uffd_copy(u, PAGE(1), PAGE(50), NULL, BYTES(1), 0, &done), -EFAULT);
	assert_int_equal(done, -EFAULT);
	w->host.fail_at = w->host.nr_allocs + 1;
	assert_int_equal(vellum_uffd_copy(u, PAGE(1), PAGE(2), NULL, BYTES(1), 0, &done), -ENOMEM);
	w->host.fail_at = 0;
	assert_word(w, 1, 0);
	check_world(w);
	{
		char page[PAGE_SIZE] = {0};

		assert_int_equal(vellum_uffd_copy(u, PAGE(1), 0, page, PAGE_SIZE, 4, &done), -EINVAL);
		assert_int_equal(vellum_uffd_copy(u, PAGE(1), 0, page, PAGE_SIZE, VELLUM_UFFD_COPY_WP, &done),
				 -EINVAL); /* not registered for WP */
	}
	unmap(w->mm, 0, 20);
	vellum_mapping_put(mapping);
	vellum_uffd_put(u);
}

/* COPY does not read the bytes if the target cannot be filled. Reading could wait forever for a fault. */
static void copy_checks_the_target_first(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	int64_t done;

	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 0, 2, MISSING);
	assert_int_equal(vellum_uffd_copy(u, PAGE(2), PAGE(50), NULL, BYTES(1), 0, &done), -ENOENT);
	assert_int_equal(vellum_uffd_copy(u, PAGE(1), PAGE(50), NULL, BYTES(2), 0, &done), -ENOENT);
	assert_int_equal(vellum_uffd_copy(u, PAGE(1), PAGE(50), NULL, BYTES(1), VELLUM_UFFD_COPY_WP, &done),
			 -EINVAL);
	assert_int_equal(vellum_uffd_copy(u, PAGE(1), PAGE(50), NULL, BYTES(1), 0, &done), -EFAULT);
	vellum_uffd_put(u);
}

/* The source is the program's memory, at any alignment. A part of it may be missing. */
static void copy_reads_from_the_program(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	int64_t done;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 10, 2, RW, ANON);
	store(w->cpu[0], PAGE(10) + 8, 0x1122334455667788);
	store(w->cpu[0], PAGE(11) + 8, 0x99);
	enrol(w, u, 0, 4, MISSING);
	OK(vellum_uffd_copy(u, PAGE(0), PAGE(10) + 4, NULL, BYTES(1), 0, &done));
	assert_int_equal(done, PAGE_SIZE);
	assert_int_equal(load(w->cpu[0], PAGE(0) + 4), 0x1122334455667788);
	assert_int_equal(vellum_uffd_copy(u, PAGE(1), PAGE(11), NULL, BYTES(2), 0, &done), -EAGAIN);
	assert_int_equal(done, PAGE_SIZE);
	assert_int_equal(load(w->cpu[0], PAGE(1) + 8), 0x99);
	assert_word(w, 2, 0);
	check_world(w);
	vellum_uffd_put(u);
}

static void other_fills_errors(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mapping *mapping = new_shmem(w, 2);
	int64_t done;

	map_at(w->mm, 0, 4, RW, ANON);
	map_object(w->mm, 8, 4, RW, VELLUM_MAP_SHARED, mapping, 0, RW);
	enrol(w, u, 0, 2, MISSING);
	enrol(w, u, 8, 4, MISSING | MINOR);
	assert_int_equal(vellum_uffd_zeropage(u, PAGE(0), PAGE_SIZE, 2, &done), -EINVAL);
	assert_int_equal(vellum_uffd_poison(u, PAGE(0), PAGE_SIZE, 2, &done), -EINVAL);
	assert_int_equal(vellum_uffd_continue(u, PAGE(8), PAGE_SIZE, 4, &done), -EINVAL);
	assert_int_equal(continue_in(u, 8, VELLUM_UFFD_CONTINUE_WP), -EINVAL); /* not registered for WP */
	assert_int_equal(continue_in(u, 0, 0), -EINVAL);		       /* no mapping */
	for (unsigned at = 2; at <= 30; at += 28) {
		assert_int_equal(zero_in(u, at), -ENOENT);
		assert_int_equal(poison_in(u, at), -ENOENT);
		assert_int_equal(continue_in(u, at, 0), -ENOENT);
	}
	assert_int_equal(vellum_uffd_zeropage(u, PAGE(1), BYTES(2), 0, &done), -ENOENT);
	assert_int_equal(done, -ENOENT);
	assert_int_equal(zero_in(u, 10), -EFAULT); /* beyond the end */
	assert_int_equal(poison_in(u, 10), -EFAULT);
	assert_int_equal(continue_in(u, 10, 0), -EINVAL);
	OK(vellum_mapping_punch_hole(mapping, 0, BYTES(1)));
	assert_int_equal(continue_in(u, 8, 0), -EFAULT); /* the mapping has no page */
	OK(continue_in(u, 9, 0));
	assert_int_equal(continue_in(u, 9, 0), -EEXIST);
	check_world(w);
	unmap(w->mm, 0, 12);
	vellum_mapping_put(mapping);
	vellum_uffd_put(u);
}

static void writeprotect_errors(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	const uint64_t wp = VELLUM_UFFD_WRITEPROTECT_WP;

	map_at(w->mm, 0, 8, RW, SHANON);
	enrol(w, u, 0, 4, WP);
	enrol(w, u, 4, 2, MISSING);
	assert_int_equal(vellum_uffd_writeprotect(u, PAGE(0), BYTES(1), 4), -EINVAL);
	assert_int_equal(vellum_uffd_writeprotect(u, PAGE(0), BYTES(1),
						  wp | VELLUM_UFFD_WRITEPROTECT_DONTWAKE),
			 -EINVAL);
	assert_int_equal(vellum_uffd_writeprotect(u, PAGE(20), BYTES(1), wp), -ENOENT);
	assert_int_equal(vellum_uffd_writeprotect(u, PAGE(4), BYTES(1), wp), -ENOENT);
	assert_int_equal(vellum_uffd_writeprotect(u, PAGE(6), BYTES(1), wp), -ENOENT);
	assert_int_equal(vellum_uffd_writeprotect(u, PAGE(3), BYTES(2), wp), -ENOENT);
	assert_word(w, 2, 0);
	assert_word(w, 3, IS_WP_NONE); /* the part before the error is protected */
	check_world(w);
	vellum_uffd_put(u);
}

/* --- the installed entries --- */

static void installed_entries(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mapping *mapping;
	uint64_t val;

	OK(vellum_mapping_create(w->memory, NULL, NULL, 4, 0, &mapping));
	map_at(w->mm, 0, 4, RW, ANON);
	map_object(w->mm, 4, 4, RW, VELLUM_MAP_SHARED, mapping, 0, RW);
	map_object(w->mm, 8, 4, RW, VELLUM_MAP_PRIVATE, mapping, 0, RW);
	map_at(w->mm, 12, 4, RO, ANON);
	enrol(w, u, 0, 16, MISSING | WP);
	for (unsigned i = 0; i < 16; i += 4) {
		OK(copy_in(u, i, 10 + i, 0));
		assert_true(has_d(w->mm, PAGE(i)));
		assert_int_equal(has_w(w->mm, PAGE(i)), i < 12);
		OK(copy_in(u, i + 1, 11 + i, VELLUM_UFFD_COPY_WP));
		assert_word(w, i + 1, IS_WP_PAGE);
		assert_false(has_w(w->mm, PAGE(i + 1)));
		OK(zero_in(u, i + 2));
		assert_int_equal(is_zero_page(w, i + 2), i != 4);
		check_world(w);
		assert_int_equal(load(w->cpu[0], PAGE(i)), 10 + i);
		assert_int_equal(load(w->cpu[0], PAGE(i + 1)), 11 + i);
		assert_int_equal(load(w->cpu[0], PAGE(i + 2)), 0);
	}
	/* The mapping has the pages that the shared VMA got, and none of the private VMA's. */
	OK(vellum_mapping_read(mapping, 0, &val, 8));
	assert_int_equal(val, 14);
	OK(vellum_mapping_read(mapping, BYTES(1), &val, 8));
	assert_int_equal(val, 15);
	for (unsigned i = 0; i < 12; i += 4) {
		store_passes(w, u, i, 1);
		store_waits(w, u, i + 1, 2);
		store_passes(w, u, i + 2, 3);
	}
	assert_int_equal(try_store(w->cpu[0], PAGE(12), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	unmap(w->mm, 0, 16);
	vellum_mapping_put(mapping);
	vellum_uffd_put(u);
}

/* COPY counts as a store: the entry is soft-dirty, and the folio dirty. */
static void copied_pages_are_dirty(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);

	map_at(w->mm, 0, 4, RW, ANON);
	enrol(w, u, 0, 4, MISSING);
	OK(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
	OK(copy_in(u, 0, 1, 0));
	assert_true(is_soft_dirty(w, 0));
	assert_false(is_soft_dirty(w, 1));
	check_world(w);
	vellum_uffd_put(u);
}

static void minor_faults(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mapping *mapping = new_shmem(w, 4);
	struct job job;
	uint64_t val = 77;

	map_object(w->mm, 0, 4, RW, VELLUM_MAP_SHARED, mapping, 0, RW);
	map_object(w->mm, 8, 4, RW, VELLUM_MAP_PRIVATE, mapping, 0, RW);
	enrol(w, u, 0, 4, MINOR | WP);
	enrol(w, u, 8, 4, MINOR);
	start_load(w, &job, PAGE(1));
	says_fault(u, &job, PAGE(1), VELLUM_UFFD_FLAG_MINOR);
	OK(vellum_mapping_write(mapping, BYTES(1), &val, 8)); /* stands for a store through a second VMA */
	OK(continue_in(u, 1, VELLUM_UFFD_CONTINUE_DONTWAKE));
	assert_int_equal(nr_waiting(w, u), 1);
	OK(vellum_uffd_wake(u, PAGE(1), BYTES(1)));
	ends(&job);
	assert_int_equal(job.val, 77);
	assert_true(has_w(w->mm, PAGE(1)) && has_d(w->mm, PAGE(1)));
	OK(continue_in(u, 2, VELLUM_UFFD_CONTINUE_WP));
	check_world(w);
	assert_word(w, 2, IS_WP_PAGE);
	store_waits(w, u, 2, 5);
	OK(continue_in(u, 9, 0)); /* in a private VMA: read-only */
	check_world(w);
	assert_true(is_there(w->mm, PAGE(9)));
	assert_false(has_w(w->mm, PAGE(9)));
	assert_int_equal(load(w->cpu[0], PAGE(9)), 77);
	store_passes(w, u, 9, 6);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 77);
	unmap(w->mm, 0, 12);
	vellum_mapping_put(mapping);
	vellum_uffd_put(u);
}

/* With one frame, shared memory would get a page that no table maps, and the next try would find that page. */
static void a_copy_without_frames_adds_no_page(void **state)
{
	static uint64_t hoard[4096];
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	unsigned n = 0;

	map_at(w->mm, 512, 4, RW, SHANON);	/* there is no table yet */
	enrol(w, u, 512, 4, MISSING);
	while (vellum_memory_alloc_device(w->memory, 1, &hoard[n]) == 0)
		n++;
	vellum_memory_free_device(w->memory, hoard[--n], 1);
	assert_int_equal(copy_in(u, 512, 7, 0), -ENOMEM);
	while (n)
		vellum_memory_free_device(w->memory, hoard[--n], 1);
	check_world(w);
	OK(copy_in(u, 512, 8, 0));
	assert_int_equal(load(w->cpu[0], PAGE(512)), 8);
	unmap(w->mm, 512, 4);
	vellum_uffd_put(u);
}

/* A page that the mapping lacks is no minor fault. Without MISSING, it is an ordinary fault. */
static void minor_mode_ignores_missing_pages(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct job job;

	map_at(w->mm, 0, 4, RW, SHANON);
	enrol(w, u, 0, 2, MINOR);
	enrol(w, u, 2, 2, MINOR | MISSING);
	store_passes(w, u, 0, 1);
	start_load(w, &job, PAGE(2));
	says_fault(u, &job, PAGE(2), 0);
	OK(zero_in(u, 2));
	ends(&job);
	dontneed(w->mm, 2, 1);
	start_store(w, &job, PAGE(2), 5); /* the mapping has the page now */
	says_fault(u, &job, PAGE(2), VELLUM_UFFD_FLAG_MINOR | VELLUM_UFFD_FLAG_WRITE);
	assert_int_equal(zero_in(u, 2), -EEXIST);
	OK(continue_in(u, 2, 0));
	ends(&job);
	vellum_uffd_put(u);
}

static void job_pin_poison(struct job *job)
{
	uint64_t pinned;

	job->result = vellum_pin_pages(job->mm, job->addr, 1, (uint32_t)job->advice, &job->to, &pinned);
}

static void poison(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct job job;
	uint64_t val;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 4, 4, RW, SHANON);
	enrol(w, u, 0, 8, MISSING);
	start_store(w, &job, PAGE(0), 1);
	says_fault(u, &job, PAGE(0), VELLUM_UFFD_FLAG_WRITE);
	OK(poison_in(u, 0));
	ends_with(&job, VELLUM_FAULT_HWPOISON);
	OK(poison_in(u, 5));
	for (unsigned i = 0; i < 8; i += 5) {
		assert_word(w, i, IS_POISON);
		assert_int_equal(try_load(w->cpu[0], PAGE(i)), VELLUM_FAULT_HWPOISON);
		assert_int_equal(try_store(w->cpu[0], PAGE(i), 1), VELLUM_FAULT_HWPOISON);
		assert_int_equal(vellum_copy_from_user(w->mm, &val, PAGE(i), 8, NULL), -EFAULT);
		job = (struct job){.addr = PAGE(i)};
		start(w, &job, job_pin_poison);
		ends_with(&job, -EFAULT);
		job = (struct job){.addr = PAGE(i), .advice = VELLUM_GUP_HWPOISON};
		start(w, &job, job_pin_poison);
		ends_with(&job, -EHWPOISON);
		assert_int_equal(vellum_madvise(w->mm, PAGE(i), BYTES(1), VELLUM_MADV_POPULATE_READ),
				 -EHWPOISON);
	}
	protect(w->mm, 0, 8, RO);
	protect(w->mm, 0, 8, RW);
	assert_word(w, 0, IS_POISON);
	dontneed(w->mm, 0, 8); /* DONTNEED removes the poison */
	check_world(w);
	assert_word(w, 0, 0);
	assert_word(w, 5, 0);
	vellum_uffd_put(u);
}

/* Poison is inherited, also in a VMA that never had a page. */
static void poison_survives_fork(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mm *child;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 8, 4, RW, ANON);
	enrol(w, u, 0, 12, MISSING);
	OK(copy_in(u, 1, 5, 0));
	OK(poison_in(u, 0));
	OK(poison_in(u, 8));
	child = fork_on(w->mm, w->cpu[2]);
	check_world(w);
	for (unsigned i = 0; i <= 8; i += 8) {
		assert_int_equal(word_of_mm(child, i), IS_POISON);
		assert_int_equal(try_load(w->cpu[2], PAGE(i)), VELLUM_FAULT_HWPOISON);
	}
	end_child(child, w->cpu[2]);
	vellum_uffd_put(u);
}

/* The source of a copy is in the caller's memory, which may be another process's than the context's. */
static void copy_from_another_address_space(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct vellum_mm *child;
	int64_t done;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 8, 4, RW, ANON);
	store(w->cpu[0], PAGE(8), 1);
	enrol(w, u, 0, 4, MISSING);
	child = fork_on(w->mm, w->cpu[2]);
	store(w->cpu[2], PAGE(8), 2);
	assert_true(vellum_uffd_is_for(u, w->mm));
	assert_false(vellum_uffd_is_for(u, child));
	OK(vellum_uffd_copy_from(u, PAGE(0), child, PAGE(8), PAGE_SIZE, 0, &done));
	assert_int_equal(done, PAGE_SIZE);
	OK(vellum_uffd_copy(u, PAGE(1), PAGE(8), NULL, PAGE_SIZE, 0, &done));
	assert_int_equal(load(w->cpu[0], PAGE(0)), 2);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 1);
	unmap(child, 8, 4);
	assert_int_equal(vellum_uffd_copy_from(u, PAGE(2), child, PAGE(8), PAGE_SIZE, 0, &done), -EFAULT);
	end_child(child, w->cpu[2]);
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(T_uffd_13_present_pages_stay),
		WORLD_TEST(T_uffd_13_range_that_is_done_in_part),
		WORLD_TEST(T_uffd_13_markers),
		WORLD_TEST(copy_errors),
		WORLD_TEST(copy_checks_the_target_first),
		WORLD_TEST(copy_reads_from_the_program),
		WORLD_TEST(copy_from_another_address_space),
		WORLD_TEST(other_fills_errors),
		WORLD_TEST(writeprotect_errors),
		WORLD_TEST(installed_entries),
		WORLD_TEST(copied_pages_are_dirty),
		WORLD_TEST(minor_faults),
		WORLD_TEST(a_copy_without_frames_adds_no_page),
		WORLD_TEST(minor_mode_ignores_missing_pages),
		WORLD_TEST(poison),
		WORLD_TEST(poison_survives_fork),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
