/* SPDX-License-Identifier: MIT */
/* userfaultfd: files in memory, whose backing tells by has_page() which pages are holes. */
#include "uffd_support.h"

#define PAGES 6

/* The even pages are holes at first. */
struct memory_file {
	struct file file;		/* first: the hooks' context */
	uint64_t present;		/* a bit for each page; atomic */
	uint64_t arrives_at;		/* has_page() calls until the page that it asks for is there; 0: never */
	unsigned asked;
};

static int has_page(void *ctx, uint64_t pgoff)
{
	struct memory_file *mf = ctx;

	if (file_count(&mf->asked) == mf->arrives_at)
		__atomic_fetch_or(&mf->present, 1ull << pgoff, __ATOMIC_RELAXED);
	return (int)(__atomic_load_n(&mf->present, __ATOMIC_RELAXED) >> pgoff & 1);
}

static int write_present(void *ctx, uint64_t pgoff, const void *page, uint32_t len)
{
	struct memory_file *mf = ctx;

	__atomic_fetch_or(&mf->present, 1ull << pgoff, __ATOMIC_RELAXED);
	return file_writepage(ctx, pgoff, page, len);
}

static int punch_present(void *ctx, uint64_t offset, uint64_t len)
{
	struct memory_file *mf = ctx;

	for (uint64_t at = offset; at < offset + len; at += PAGE_SIZE)
		__atomic_fetch_and(&mf->present, ~(1ull << (at / PAGE_SIZE)), __ATOMIC_RELAXED);
	return file_punch(ctx, offset, len);
}

static struct vellum_backing_ops memory_file_ops(void)
{
	struct vellum_backing_ops ops = file_ops;

	ops.has_page = has_page;
	ops.writepage = write_present;
	ops.punch = punch_present;
	return ops;
}

/* Shared at page 0, private at page 8. */
static void new_memory_file(struct world *w, struct memory_file *mf)
{
	struct vellum_backing_ops ops = memory_file_ops();

	*mf = (struct memory_file){ .present = 0x2a };
	file_create_with(&mf->file, w, PAGES, &ops, VELLUM_MAPPING_WRITEBACK);
	for (unsigned i = 0; i < PAGES; i += 2)
		memset(mf->file.bytes + BYTES(i), 0, PAGE_SIZE);
	map_shared(w->mm, 0, PAGES, &mf->file, 0);
	map_private(w->mm, 8, PAGES, &mf->file, 0);
}

static void drop_memory_file(struct world *w, struct memory_file *mf)
{
	unmap(w->mm, 0, 16);
	file_destroy(&mf->file);
}

static void only_cached_mappings_have_holes(void **state)
{
	struct world *w = *state;
	struct vellum_backing_ops ops = memory_file_ops();
	struct vellum_mapping *mapping;
	struct file file = { .pages = PAGES };

	assert_int_equal(vellum_mapping_create(w->memory, &ops, &file, PAGES, VELLUM_MAPPING_PFN, &mapping), -EINVAL);
	ops.fault = NULL;
	assert_int_equal(vellum_mapping_create(w->memory, &ops, &file, PAGES, 0, &mapping), -EINVAL);
}

static void every_mode_is_for_files_with_holes_only(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct memory_file mf;
	struct file file;

	new_memory_file(w, &mf);
	file_create(&file, w, PAGES);
	map_shared(w->mm, 16, PAGES, &file, 0);
	for (uint64_t modes = 1; modes < 8; modes++) {
		enrol(w, u, 0, PAGES, modes);
		assert_int_equal(vellum_uffd_register(u, PAGE(16), BYTES(PAGES), modes, NULL), -EINVAL);
	}
	unmap(w->mm, 16, PAGES);
	file_destroy(&file);
	drop_memory_file(w, &mf);
	vellum_uffd_put(u);
}

static void holes_are_missing_and_pages_are_minor(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct memory_file mf;
	struct job job;

	new_memory_file(w, &mf);
	for (unsigned at = 0; at <= 8; at += 8) {	/* shared, then private */
		unsigned hole = at ? 10 : 0, page = at ? 11 : 1;

		enrol(w, u, at, PAGES, MISSING | MINOR);
		start_load(w, &job, PAGE(hole));
		says_fault(u, &job, PAGE(hole), 0);
		assert_int_equal(continue_in(u, hole, 0), -EFAULT);
		OK(copy_in(u, hole, 7, 0));
		ends(&job);
		assert_int_equal(job.val, 7);
		start_load(w, &job, PAGE(page));
		says_fault(u, &job, PAGE(page), VELLUM_UFFD_FLAG_MINOR);
		assert_int_equal(copy_in(u, page, 7, 0), at ? 0 : -EEXIST);
		assert_int_equal(continue_in(u, page, 0), at ? -EEXIST : 0);
		ends(&job);
		assert_int_equal(job.val, at ? 7 : file_initial(1));
	}
	drop_memory_file(w, &mf);
	vellum_uffd_put(u);
}

/* With one mode, the other kind of page is an ordinary fault. */
static void a_mode_ignores_the_other_kind(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct memory_file mf;

	new_memory_file(w, &mf);
	enrol(w, u, 0, 3, MISSING);
	enrol(w, u, 3, 3, MINOR);
	assert_int_equal(load(w->cpu[0], PAGE(1)), file_initial(1));
	assert_int_equal(load(w->cpu[0], PAGE(4)), 0);
	check_world(w);
	drop_memory_file(w, &mf);
	vellum_uffd_put(u);
}

/* The driver grants each store to a page that it will have to write, also after COPY and CONTINUE. */
static void installed_pages_ask_the_driver(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct memory_file mf;

	new_memory_file(w, &mf);
	enrol(w, u, 0, PAGES, MISSING | MINOR | WP);
	OK(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
	OK(copy_in(u, 0, 7, 0));
	assert_int_equal(mf.file.mkwrites, 1);
	assert_int_equal(nr_dirty(&mf.file), 1);
	OK(continue_in(u, 1, 0));
	assert_int_equal(mf.file.mkwrites, 1);
	assert_int_equal(nr_dirty(&mf.file), 1);
	assert_true(is_soft_dirty(w, 0) && is_soft_dirty(w, 1));
	assert_false(has_w(w->mm, PAGE(0)) || has_w(w->mm, PAGE(1)) || has_d(w->mm, PAGE(1)));
	store_passes(w, u, 1, 5);
	assert_int_equal(mf.file.mkwrites, 2);
	OK(copy_in(u, 2, 9, VELLUM_UFFD_COPY_WP));
	assert_word(w, 2, IS_WP_PAGE);
	store_waits(w, u, 2, 5);
	OK(vellum_mapping_writeback(mf.file.mapping, 0, PAGES, NULL));
	assert_int_equal(file_word(&mf.file, BYTES(0)), 7);
	assert_int_equal(file_word(&mf.file, BYTES(1)), 5);
	assert_int_equal(mf.present, 0x2f);
	drop_memory_file(w, &mf);
	vellum_uffd_put(u);
}

static void a_full_backing_refuses_pages(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct memory_file mf;
	struct job job;

	new_memory_file(w, &mf);
	enrol(w, u, 0, PAGES, MISSING);
	start_load(w, &job, PAGE(0));
	says_fault(u, &job, PAGE(0), 0);
	mf.file.mkwrite_code = VELLUM_VMF_SIGBUS;
	assert_int_equal(copy_in(u, 0, 7, 0), -ENOMEM);
	assert_int_equal(nr_cached(&mf.file), 0);
	assert_false(is_there(w->mm, PAGE(0)));
	mf.file.mkwrite_code = VELLUM_VMF_OK;
	OK(zero_in(u, 0));
	ends(&job);
	assert_int_equal(job.val, 0);
	drop_memory_file(w, &mf);
	vellum_uffd_put(u);
}

/* write(2) may store to the backing while COPY adds its page: its bytes must not be lost. */
static void the_backing_gets_the_page_during_copy(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct memory_file mf;

	for (unsigned when = 1; when <= 2; when++) {
		new_memory_file(w, &mf);
		enrol(w, u, 0, PAGES, MISSING);
		mf.arrives_at = when;
		assert_int_equal(copy_in(u, 0, 7, 0), -EEXIST);
		assert_int_equal(mf.asked, when);
		assert_int_equal(nr_cached(&mf.file), 0);
		check_world(w);
		drop_memory_file(w, &mf);
	}
	vellum_uffd_put(u);
}

/* MADV_WILLNEED reads pages ahead, and makes none of holes. */
static void reading_ahead_leaves_holes(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct memory_file mf;
	struct job job;

	new_memory_file(w, &mf);
	OK(vellum_madvise(w->mm, PAGE(0), BYTES(PAGES), VELLUM_MADV_WILLNEED));
	assert_int_equal(nr_cached(&mf.file), 3);
	enrol(w, u, 0, PAGES, MISSING);
	start_load(w, &job, PAGE(2));
	says_fault(u, &job, PAGE(2), 0);
	OK(copy_in(u, 2, 7, 0));
	ends(&job);
	drop_memory_file(w, &mf);
	vellum_uffd_put(u);
}

static void a_punched_page_is_missing_again(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct memory_file mf;
	struct job job;

	new_memory_file(w, &mf);
	enrol(w, u, 0, PAGES, MISSING);
	store(w->cpu[0], PAGE(1), 5);
	OK(vellum_mapping_punch_hole(mf.file.mapping, BYTES(1), PAGE_SIZE));
	start_load(w, &job, PAGE(1));
	says_fault(u, &job, PAGE(1), 0);
	OK(copy_in(u, 1, 7, 0));
	ends(&job);
	assert_int_equal(job.val, 7);
	drop_memory_file(w, &mf);
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(only_cached_mappings_have_holes),
		WORLD_TEST(every_mode_is_for_files_with_holes_only),
		WORLD_TEST(holes_are_missing_and_pages_are_minor),
		WORLD_TEST(a_mode_ignores_the_other_kind),
		WORLD_TEST(installed_pages_ask_the_driver),
		WORLD_TEST(a_full_backing_refuses_pages),
		WORLD_TEST(the_backing_gets_the_page_during_copy),
		WORLD_TEST(reading_ahead_leaves_holes),
		WORLD_TEST(a_punched_page_is_missing_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
