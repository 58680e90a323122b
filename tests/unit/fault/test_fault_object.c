/* SPDX-License-Identifier: MIT */
/* Faults in mappings of files and of device memory: their results and the hooks that they call. */
#include "more_support.h"
#include "mm/space/space.h"

#include <sys/wait.h>
#include <unistd.h>

#define SHARED	VELLUM_MAP_SHARED
#define PRIVATE VELLUM_MAP_PRIVATE

/* A mapping without hooks, as for memfd or shared memory. */
static struct vellum_mapping *map_plain(struct world *w, unsigned pages, uint32_t flags)
{
	struct vellum_mapping *obj;

	OK(vellum_mapping_create(w->memory, NULL, NULL, pages, 0, &obj));
	map_object(w->mm, 0, pages, RW, flags, obj, 0, RW);
	return obj;
}

/* --- files --- */

static void T_dirty_01_first_write(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = map_new(w, c, 8, RW, SHARED);

	assert_int_equal(load(w->cpu[0], PAGE(3)), 3);
	assert_false(has_w(w->mm, PAGE(3)));
	assert_false(has_d(w->mm, PAGE(3)));
	assert_int_equal(c->mkwrites, 0);
	store(w->cpu[0], PAGE(3), 33);
	assert_int_equal(c->mkwrites, 1);
	assert_int_equal(entry_at(w->mm, PAGE(3)).val & (X86_RW | X86_DIRTY), X86_RW | X86_DIRTY);
	assert_true(folio_flags(folio_at(w, 3)) & PG_DIRTY);
	store(w->cpu[0], PAGE(3), 34);
	assert_int_equal(c->mkwrites, 1);
	assert_int_equal(c->faults, 1);
	store(w->cpu[0], PAGE(4), 44); /* missing: one fault allocates the page and notifies */
	assert_int_equal(c->mkwrites, 2);
	assert_true(has_w(w->mm, PAGE(4)));
	assert_int_equal(load(w->cpu[0], PAGE(4) + 8), 4);
	vellum_mapping_put(obj);
}

/* Hooks that return the values of a list. */
static int scripted_codes[4], scripted_next;

static int scripted_mkwrite(void *ctx, struct vellum_vmf *vmf)
{
	(void)ctx, (void)vmf;
	return scripted_codes[scripted_next++];
}

static const struct vellum_backing_ops scripted_ops = {
	.size = sizeof(scripted_ops),
	.page_mkwrite = scripted_mkwrite,
};

static const struct {
	int codes[3];
	int calls;
	enum vellum_fault_result result;
} hook_codes[] = {
	{{VELLUM_VMF_OK}, 1, VELLUM_FAULT_OK},
	{{VELLUM_VMF_LOCKED}, 1, VELLUM_FAULT_OK},
	{{VELLUM_VMF_NOPAGE, VELLUM_VMF_OK}, 2, VELLUM_FAULT_OK},
	{{VELLUM_VMF_NOPAGE, VELLUM_VMF_NOPAGE, VELLUM_VMF_LOCKED}, 3, VELLUM_FAULT_OK},
	{{VELLUM_VMF_NOPAGE, VELLUM_VMF_SIGBUS}, 2, VELLUM_FAULT_SIGBUS},
	{{VELLUM_VMF_SIGBUS}, 1, VELLUM_FAULT_SIGBUS},
	{{VELLUM_VMF_OOM}, 1, VELLUM_FAULT_OOM},
	{{0x400}, 1, VELLUM_FAULT_SIGBUS},
	{{-5}, 1, VELLUM_FAULT_SIGBUS},
};

static void T_dirty_04_hook_codes(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj;

	OK(vellum_mapping_create(w->memory, &scripted_ops, NULL, 64, 0, &obj));
	map_object(w->mm, 0, 64, RW, SHARED, obj, 0, RW);
	for (unsigned i = 0; i < ARRAY_SIZE(hook_codes); i++)
		for (unsigned missing = 0; missing < 2; missing++) {
			unsigned at = 2 * i + missing;

			if (!missing)
				load(w->cpu[0], PAGE(at));
			memcpy(scripted_codes, hook_codes[i].codes, sizeof(hook_codes[i].codes));
			scripted_next = 0;
			assert_int_equal(try_store(w->cpu[0], PAGE(at), 7), hook_codes[i].result);
			assert_int_equal(scripted_next, hook_codes[i].calls);
			assert_int_equal(has_w(w->mm, PAGE(at)), !hook_codes[i].result);
			assert_int_equal(load(w->cpu[0], PAGE(at)), hook_codes[i].result ? 0 : 7);
			check_world(w);
		}
	vellum_mapping_put(obj);
}

static void fault_hook_errors(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = map_new(w, c, 8, RW, SHARED);
	uint64_t before = free_frames(w);

	load(w->cpu[0], PAGE(7));
	before = free_frames(w);
	c->fault_code = VELLUM_VMF_SIGBUS;
	assert_int_equal(try_load(w->cpu[0], BASE), VELLUM_FAULT_SIGBUS);
	c->fault_code = VELLUM_VMF_OOM;
	assert_int_equal(try_store(w->cpu[0], BASE, 1), VELLUM_FAULT_OOM);
	c->fault_code = -5;
	assert_int_equal(try_load(w->cpu[0], BASE), VELLUM_FAULT_SIGBUS);
	assert_int_equal(free_frames(w), before); /* the new page was freed */
	c->fault_code = 0;
	store(w->cpu[0], BASE, 1);
	assert_int_equal(load(w->cpu[0], BASE), 1);
	vellum_mapping_put(obj);
}

/* Rows of the decision table that the library can reach: notify? writable page protection? */
static const struct {
	uint32_t prot, flags, object_flags, file_prot;
	bool hooks, pfn, needs, wants;
} decisions[] = {
	{RW, PRIVATE, 0, RW, true, false, false, false},			/* 1 */
	{RO, SHARED, 0, RW, true, false, false, false},				/* 2 */
	{RO, SHARED, 0, RO, true, false, false, false},				/* 1 */
	{RW, SHARED, 0, RW, true, false, true, true},				/* 3 */
	{RW, SHARED, VELLUM_MAPPING_WRITEBACK, RW, true, false, true, true},	/* 3 */
	{RW, SHARED, 0, RW, true, true, true, true},				/* 3, pfn */
	{RW, SHARED, VELLUM_MAPPING_WRITEBACK, RW, false, false, true, true},	/* 9 */
	{RW, SHARED, VELLUM_MAPPING_WRITEBACK, RW, false, true, false, false},	/* 11 */
	{RW, SHARED, 0, RW, false, true, false, false},				/* 11 */
	{RW, SHARED, 0, RW, false, false, false, false},			/* 12 */
	{RO, SHARED, VELLUM_MAPPING_WRITEBACK, RW, false, false, false, false}, /* 2 */
};

static int plain_pfn_fault(void *ctx, struct vellum_vmf *vmf)
{
	vmf->pfn = *(uint64_t *)ctx + vmf->pgoff;
	return 0;
}

static const struct vellum_backing_ops plain_pfn_ops = {
	.size = sizeof(plain_pfn_ops),
	.fault = plain_pfn_fault,
};

static void T_dirty_06_decision_table(void **state)
{
	struct world *w = *state;
	static uint64_t frame;

	OK(vellum_memory_alloc_device(w->memory, 4, &frame));
	for (unsigned i = 0; i < ARRAY_SIZE(decisions); i++) {
		const struct vellum_backing_ops *ops =
			decisions[i].hooks ? decisions[i].pfn ? &counting_pfn_ops : &counting_ops
			: decisions[i].pfn ? &plain_pfn_ops
					   : NULL;
		void *ctx = decisions[i].hooks ? (void *)new_counting() : (void *)&frame;
		struct vellum_mapping *obj;
		struct vma *vma;

		OK(vellum_mapping_create(w->memory, ops, ctx, 4,
					 decisions[i].object_flags |
						 (decisions[i].pfn ? VELLUM_MAPPING_PFN : 0),
					 &obj));
		map_object(w->mm, 0, 4, decisions[i].prot, decisions[i].flags, obj, 0,
			   decisions[i].file_prot);
		vma = vma_at(w->mm, BASE);
		assert_int_equal(vma_needs_dirty_tracking(vma), decisions[i].needs);
		assert_int_equal(vma_wants_writenotify(vma, x86_prot(true, vma->flags & VM_WRITE, false, true)),
				 decisions[i].wants);
		assert_int_equal((vma->page_prot & X86_RW) != 0,
				 decisions[i].prot == RW && decisions[i].flags == SHARED &&
					 !decisions[i].wants);
		unmap(w->mm, 0, 4);
		vellum_mapping_put(obj);
	}
	vellum_memory_free_device(w->memory, frame, 4);
}

static void T_dirty_07_mprotect(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = map_new(w, c, 8, RO, SHARED);

	load(w->cpu[0], PAGE(1));
	load(w->cpu[0], PAGE(2));
	protect(w->mm, 0, 8, RW);
	assert_int_equal(vma_at(w->mm, BASE)->page_prot & X86_RW, 0);
	assert_false(has_w(w->mm, PAGE(1))); /* clean: mprotect does not grant W */
	store(w->cpu[0], PAGE(1), 1);
	assert_int_equal(c->mkwrites, 1);
	protect(w->mm, 0, 8, RO);
	assert_true(entry_at(w->mm, PAGE(1)).val & X86_SAVED_DIRTY);
	assert_int_equal(try_store(w->cpu[0], PAGE(1), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	protect(w->mm, 0, 8, RW);
	assert_true(has_w(w->mm, PAGE(1))); /* dirty: the hook was called before */
	assert_true(entry_at(w->mm, PAGE(1)).val & X86_DIRTY);
	store(w->cpu[0], PAGE(1), 2);
	assert_int_equal(c->mkwrites, 1);
	store(w->cpu[0], PAGE(2), 2);
	assert_int_equal(c->mkwrites, 2);
	vellum_mapping_put(obj);
}

static void T_dirty_08_shared_memory(void **state)
{
	struct world *w = *state;
	struct vellum_mapping *obj = map_plain(w, 8, SHARED);
	struct folio *page;
	uint64_t faults, val = 0;

	assert_int_equal(load(w->cpu[0], PAGE(1)), 0);
	assert_true(has_w(w->mm, PAGE(1))); /* writable and clean from a load */
	assert_false(has_d(w->mm, PAGE(1)));
	page = folio_at(w, 1); /* dirty from the start: its bytes are nowhere else */
	faults = vma_at(w->mm, BASE)->write_faults;
	store(w->cpu[0], PAGE(1), 11);
	assert_int_equal(vma_at(w->mm, BASE)->write_faults, faults);
	assert_true(has_d(w->mm, PAGE(1)));
	dontneed(w->mm, 0, 8);
	assert_true(folio_flags(page) & PG_DIRTY);
	OK(vellum_mapping_read(obj, BYTES(1), &val, 8));
	assert_int_equal(val, 11);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 11);
	vellum_mapping_put(obj);
}

static void private_file(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = map_new(w, c, 8, RW, PRIVATE);
	uint64_t val;

	assert_int_equal(load(w->cpu[0], PAGE(2)), 2);
	assert_false(has_w(w->mm, PAGE(2)));
	store(w->cpu[0], PAGE(2), 22); /* after a load: a copy of the file's page */
	store(w->cpu[0], PAGE(3), 33); /* without a load before */
	assert_int_equal(c->mkwrites, 0);
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_FILE_COW), 1);
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_COW), 1);
	assert_int_equal(load(w->cpu[0], PAGE(2) + 8), 2);
	assert_int_equal(load(w->cpu[0], PAGE(3) + 8), 3);
	for (unsigned i = 2; i < 4; i++) {
		OK(vellum_mapping_read(obj, BYTES(i), &val, 8));
		assert_int_equal(val, i);
		assert_true(folio_flags(folio_at(w, i)) & PG_ANON);
	}
	dontneed(w->mm, 0, 8);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 2);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 3);
	vellum_mapping_put(obj);
}

static void shared_between_processes(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;

	map_at(w->mm, 0, 4, RW, SHANON);
	child = fork_on(w->mm, w->cpu[1]);
	store(w->cpu[0], PAGE(1), 1);
	assert_int_equal(load(w->cpu[1], PAGE(1)), 1);
	store(w->cpu[1], PAGE(1), 2);
	store(w->cpu[1], PAGE(2), 3);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 2);
	end_child(child, w->cpu[1]);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 3);
}

static void access_beyond_the_end_is_sigbus(void **state)
{
	static const uint32_t flags[] = {SHARED, PRIVATE};
	struct world *w = *state;
	struct counting *c = new_counting(), *d = new_counting();
	struct vellum_mapping *obj = new_object(w, c, 2), *dev = new_pfn_object(w, d, 2);
	char byte = 1;
	uint64_t done = 9;

	for (unsigned i = 0; i < 4; i++)
		map_object(w->mm, 8 * i, 4, RW, flags[i / 2], i & 1 ? dev : obj, 0, RW);
	for (unsigned i = 0; i < 4; i++) {
		store(w->cpu[0], PAGE(8 * i + 1), 1);
		assert_int_equal(try_load(w->cpu[0], PAGE(8 * i + 2)), VELLUM_FAULT_SIGBUS);
		assert_int_equal(try_store(w->cpu[0], PAGE(8 * i + 2), 1), VELLUM_FAULT_SIGBUS);
		assert_int_equal(vellum_copy_to_user(w->mm, PAGE(8 * i + 2), &byte, 1, &done),
				 -EFAULT);
		assert_int_equal(done, 0);
	}
	unmap(w->mm, 0, 32);
	vellum_mapping_put(obj);
	vellum_mapping_put(dev);
	vellum_memory_free_device(w->memory, d->first_pfn, 2);
}

/* --- device memory --- */

static void pfn_mapping(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *dev = new_pfn_object(w, c, 4);
	uint64_t *frame = vellum_frame_host(w->memory, c->first_pfn + 1);

	map_object(w->mm, 0, 4, RW, SHARED, dev, 0, RW);
	frame[0] = 42;
	assert_int_equal(load(w->cpu[0], PAGE(1)), 42);
	assert_false(has_w(w->mm, PAGE(1)));
	store(w->cpu[0], PAGE(1), 43);
	assert_int_equal(frame[0], 43);
	assert_int_equal(c->mkwrites, 1);
	store(w->cpu[0], PAGE(2), 44);
	assert_int_equal(c->mkwrites, 2);
	load(w->cpu[0], PAGE(3));
	assert_int_equal(c->dirts, 0);
	unmap(w->mm, 1, 1);
	assert_int_equal(c->dirt_mask, 2);
	vellum_unmap_mapping_range(dev, 2, 2); /* page 3 was only loaded from */
	assert_int_equal(c->dirt_mask, 6);
	assert_int_equal(c->dirts, 2);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 44); /* the next access faults */
	unmap(w->mm, 0, 4);
	assert_int_equal(c->dirts, 2);
	vellum_mapping_put(dev);
	vellum_memory_free_device(w->memory, c->first_pfn, 4);
}

/* mprotect moves D to the saved bit. unmap still reports the page dirty. */
static void pfn_dirt_survives_mprotect(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *dev = new_pfn_object(w, c, 4);

	map_object(w->mm, 0, 4, RW, SHARED, dev, 0, RW);
	store(w->cpu[0], PAGE(1), 1);
	protect(w->mm, 0, 4, RO);
	protect(w->mm, 0, 4, 0);
	unmap(w->mm, 0, 4);
	assert_int_equal(c->dirt_mask, 2);
	vellum_mapping_put(dev);
	vellum_memory_free_device(w->memory, c->first_pfn, 4);
}

static void pfn_cow(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *dev = new_pfn_object(w, c, 4);
	uint64_t *frame = vellum_frame_host(w->memory, c->first_pfn + 1);
	struct vellum_mm *child;

	map_object(w->mm, 0, 4, RW, PRIVATE, dev, 0, RW);
	frame[0] = 42;
	frame[1] = 43;
	assert_int_equal(load(w->cpu[0], PAGE(1)), 42);
	store(w->cpu[0], PAGE(1), 1);
	assert_int_equal(frame[0], 42);
	assert_int_equal(load(w->cpu[0], PAGE(1) + 8), 43);
	assert_int_equal(c->mkwrites, 0);
	child = fork_on(w->mm, w->cpu[1]);
	store(w->cpu[1], PAGE(1), 2);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 1);
	check_world(w);
	end_child(child, w->cpu[1]);
	unmap(w->mm, 0, 4);
	assert_int_equal(c->dirts, 0);
	vellum_mapping_put(dev);
	vellum_memory_free_device(w->memory, c->first_pfn, 4);
}

static void device_outside_ram(void **state)
{
	static uint64_t bar[1024] __attribute__((aligned(4096)));
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *dev;
	uint64_t first = 1 << 20;

	assert_int_equal(vellum_memory_add_device(w->memory, 16, 2, bar), -EINVAL);
	OK(vellum_memory_add_device(w->memory, first, 2, bar));
	assert_int_equal(vellum_memory_add_device(w->memory, first + 1, 2, bar), -EINVAL);
	assert_ptr_equal(vellum_frame_host(w->memory, first + 1), &bar[512]);
	assert_null(vellum_frame_host(w->memory, first + 2));
	c->first_pfn = first;
	OK(vellum_mapping_create(w->memory, &counting_pfn_ops, c, 2, VELLUM_MAPPING_PFN, &dev));
	map_object(w->mm, 0, 2, RW, SHARED, dev, 0, RW);
	store(w->cpu[0], PAGE(1), 9);
	assert_int_equal(bar[512], 9);
	vellum_mapping_put(dev);
}

/* Runs @fn in a process of its own with a deadline, as a wrong result may be a hang. */
static int exit_status_of(struct world *w, int (*fn)(struct world *w))
{
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		alarm(2);
		_exit(fn(w));
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int copy_to_frame_without_bytes(struct world *w)
{
	char byte = 1;

	return -vellum_copy_to_user(w->mm, BASE, &byte, 1, NULL);
}

/* A driver maps a frame that is neither RAM nor device memory that has a host address. */
static void copy_to_a_frame_without_bytes_is_efault(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *dev;
	int result;

	c->first_pfn = 1 << 21;
	OK(vellum_mapping_create(w->memory, &counting_pfn_ops, c, 2, VELLUM_MAPPING_PFN, &dev));
	map_object(w->mm, 0, 2, RW, VELLUM_MAP_SHARED, dev, 0, RW);
	result = exit_status_of(w, copy_to_frame_without_bytes);
	vellum_mapping_put(dev);
	assert_int_equal(result, EFAULT);
}

static void unmap_mapping_keeps_private_copies(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = map_new(w, c, 8, RW, PRIVATE);
	struct folio *page;

	map_object(w->mm, 16, 8, RW, SHARED, obj, 0, RW);
	load(w->cpu[0], PAGE(1));
	store(w->cpu[0], PAGE(2), 22);
	store(w->cpu[0], PAGE(17), 17);
	store(w->cpu[0], PAGE(20), 20);
	page = folio_at(w, 17);
	folio_clear(page, PG_DIRTY);
	vellum_unmap_mapping_range(obj, 0, 3);
	assert_true(pte_none(entry_at(w->mm, PAGE(1))));
	assert_true(pte_none(entry_at(w->mm, PAGE(17))));
	assert_true(pte_present(entry_at(w->mm, PAGE(20)))); /* beyond the range */
	assert_true(folio_flags(page) & PG_DIRTY);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 22);
	assert_int_equal(load(w->cpu[0], PAGE(17)), 17);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 17); /* the file's page, not copied yet */
	vellum_unmap_mapping_range(obj, 0, 0);
	vellum_unmap_mapping_range(obj, 3, ~0ull);
	vellum_mapping_put(obj);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(T_dirty_01_first_write),
		WORLD_TEST(T_dirty_04_hook_codes),
		WORLD_TEST(fault_hook_errors),
		WORLD_TEST(T_dirty_06_decision_table),
		WORLD_TEST(T_dirty_07_mprotect),
		WORLD_TEST(T_dirty_08_shared_memory),
		WORLD_TEST(private_file),
		WORLD_TEST(shared_between_processes),
		WORLD_TEST(access_beyond_the_end_is_sigbus),
		WORLD_TEST(pfn_mapping),
		WORLD_TEST(pfn_dirt_survives_mprotect),
		WORLD_TEST(pfn_cow),
		WORLD_TEST(device_outside_ram),
		WORLD_TEST(copy_to_a_frame_without_bytes_is_efault),
		WORLD_TEST(unmap_mapping_keeps_private_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
