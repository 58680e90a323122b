/* SPDX-License-Identifier: MIT */
/* tests/explore/truncate.c - pages are removed from a mapping while CPUs use them and faults add them. */
#include "scenarios.h"
#include "vellum/gup.h"

static bool over;	/* the call whose effect is checked has returned */

static int slow_fault(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	pause_here();
	*(uint64_t *)vmf->page = 1;
	pause_here();
	return VELLUM_VMF_OK;
}

static int punch(void *ctx, uint64_t offset, uint64_t len)
{
	(void)ctx, (void)offset, (void)len;
	return 0;
}

static const struct vellum_backing_ops file_ops = { .size = sizeof(file_ops), .fault = slow_fault,
						    .punch = punch };

/* Two pages, without entries yet. */
static void setup_shared(void)
{
	over = false;
	new_object(&file_ops, 2, 0);
	map_pages(mm, 0, 2, RW, SHARED, object, 0);
	load(1, 0);
}

static void setup_private(void)
{
	over = false;
	new_object(&file_ops, 2, 0);
	map_pages(mm, 0, 2, RW, PRIVATE, object, 0);
	load(1, 0);
}

static void setup_known(void)
{
	setup_shared();
	store(1, 1, 1);
}

static int slow_mkwrite(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx;
	if (object_bytes((unsigned)vmf->pgoff) != vmf->page)
		violated("T-dirty-05: the hook is asked about a page that is not the object's any more");
	pause_here();
	return VELLUM_VMF_OK;
}

static const struct vellum_backing_ops notified_ops = { .size = sizeof(notified_ops), .fault = slow_fault,
							.page_mkwrite = slow_mkwrite };

/* Pages have entries, and a store calls the hook first. */
static void setup_notified(void)
{
	over = false;
	new_object(&notified_ops, 2, 0);
	map_pages(mm, 0, 2, RW, SHARED, object, 0);
	load(1, 0);
	load(1, 1);
}

/* A private VMA, where a store copies. */
static void setup_private_known(void)
{
	setup_private();
	load(1, 1);
}

static void truncater(void)
{
	MUST(vellum_mapping_set_size(object, PAGE_SIZE));
	over = true;
	pause_here();
}

static void storer(void)
{
	for (uint64_t val = 2; val < 4 && !try_store(1, 1, val); val++)
		;
}

static void loader(void)
{
	uint64_t val;

	for (int i = 0; i < 2 && !vellum_soft_load64(cpu[0], PAGE(1), &val); i++)
		;
}

static const char *nothing_beyond(void)
{
	if (!over)
		return NULL;
	if (raw_present(mm, 1))
		return "a page is mapped beyond the end of its object";
	return object_bytes(1) ? "a page is cached beyond the end of its object" : NULL;
}

/* --- a page that could not be read, while other threads wait for it --- */

static bool failed_once;

static int failing_fault(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx, (void)vmf;
	pause_here();
	if (failed_once)
		return VELLUM_VMF_OK;
	failed_once = true;
	return VELLUM_VMF_SIGBUS;
}

static const struct vellum_backing_ops failing_ops = { .size = sizeof(failing_ops), .fault = failing_fault };

static void setup_failing(void)
{
	failed_once = over = false;
	new_object(&failing_ops, 2, 0);
	map_pages(mm, 0, 2, RW, SHARED, object, 0);
}

/* --- a page that was pinned for writing --- */

static uint64_t pfn;

static void setup_pinned(void)
{
	uint64_t nr;

	setup_known();
	MUST(vellum_pin_pages(mm, PAGE(1), 1, VELLUM_GUP_WRITE, &pfn, &nr));
}

/* Marks the page dirty only while it belongs to the mapping. */
static void unpinner(void)
{
	vellum_unpin_pages_dirty(memory, &pfn, 1);
}

static const char *is_free(void)
{
	return folio_flags(pfn_folio(memory, pfn)) & PG_USED ? "the page was not freed" : NULL;
}

/* --- a hole --- */

static void setup_anonymous_object(void)
{
	over = false;
	new_object(NULL, 2, 0);
	map_pages(mm, 0, 2, RW, SHARED, object, 0);
	store(1, 1, 1);
}

static void puncher(void)
{
	MUST(vellum_mapping_punch_hole(object, PAGE_SIZE, PAGE_SIZE));
	over = true;
}

static void reader(void)
{
	for (int i = 0; i < 3; i++) {
		bool must_see = over;

		if (load(1, 1) != 0 && must_see)
			violated("a CPU reads what was in a hole before it was punched");
	}
}

static void hole_storer(void)
{
	store(1, 1, 2);
}

const struct scenario truncate_scenarios[] = {
	{ .name = "truncate_vs_fault", .setup = setup_shared, .thread = { THREAD(truncater), THREAD(storer) },
	  .check_step = nothing_beyond },
	{ .name = "truncate_vs_load", .setup = setup_shared, .thread = { THREAD(truncater), THREAD(loader) },
	  .check_step = nothing_beyond },
	{ .name = "truncate_vs_cow", .setup = setup_private, .thread = { THREAD(truncater), THREAD(storer) },
	  .check_step = nothing_beyond },
	{ .name = "truncate_vs_store", .setup = setup_known, .thread = { THREAD(truncater), THREAD(storer) },
	  .check_step = nothing_beyond },
	{ .name = "truncate_vs_copy", .setup = setup_private_known,
	  .thread = { THREAD(truncater), THREAD(storer) }, .check_step = nothing_beyond },
	{ .name = "failed_fault_vs_fault", .setup = setup_failing, .thread = { THREAD(storer), THREAD(loader) } },
	{ .name = "truncate_vs_mkwrite", .setup = setup_notified, .thread = { THREAD(truncater), THREAD(storer) },
	  .check_step = nothing_beyond },
	{ .name = "truncate_vs_fault_vs_load", .setup = setup_shared, .bound = 1,
	  .thread = { THREAD(truncater), THREAD(storer), THREAD(loader) }, .check_step = nothing_beyond },
	{ .name = "truncate_vs_unpin_dirty", .setup = setup_pinned, .thread = { THREAD(truncater), THREAD(unpinner) },
	  .check_end = is_free },
	{ .name = "punch_vs_load", .setup = setup_anonymous_object, .thread = { THREAD(puncher), THREAD(reader) } },
	{ .name = "punch_vs_load_vs_store", .setup = setup_anonymous_object, .bound = 1,
	  .thread = { THREAD(puncher), THREAD(loader), THREAD(hole_storer) } },
	{ .name = NULL },
};
