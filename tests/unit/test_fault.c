/* SPDX-License-Identifier: MIT */
/* What an access to each kind of memory finds, costs and leaves behind. */
#include "more_support.h"

#include <sys/wait.h>
#include <unistd.h>

#define SHARED	VELLUM_MAP_SHARED
#define PRIVATE VELLUM_MAP_PRIVATE

static struct vellum_mapping *map_new(struct world *w, struct counting *c, unsigned pages,
				      uint32_t prot, uint32_t flags)
{
	struct vellum_mapping *obj = new_object(w, c, pages);

	map_object(w->mm, 0, pages, prot, flags, obj, 0, RW);
	return obj;
}

/* An object without hooks: as memfd or shared memory. */
static struct vellum_mapping *map_plain(struct world *w, unsigned pages, uint32_t flags)
{
	struct vellum_mapping *obj;

	OK(vellum_mapping_create(w->memory, NULL, NULL, pages, 0, &obj));
	map_object(w->mm, 0, pages, RW, flags, obj, 0, RW);
	return obj;
}

/* --- private anonymous memory --- */

static void zero_page(void **state)
{
	struct world *w = *state;
	uint64_t before;

	map_at(w->mm, 0, 4, RW, ANON);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 0); /* tables exist now */
	before = free_frames(w);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(load(w->cpu[0], PAGE(i)), 0);
	assert_int_equal(free_frames(w), before);
	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(1))), w->memory->zero_pfn);
	assert_false(has_w(w->mm, PAGE(1)));
	assert_false(has_d(w->mm, PAGE(1)));
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_READ_ZERO), 4);
	assert_int_equal(vellum_mm_rss(w->mm), 4);
	store(w->cpu[0], PAGE(1), 5);
	assert_int_equal(free_frames(w), before - 1);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 5);
	assert_int_equal(load(w->cpu[0], PAGE(1) + 8), 0);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 0);
	assert_int_equal(vellum_mm_rss(w->mm), 4);
}

static void first_store(void **state)
{
	struct world *w = *state;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(2) + 16, 9);
	assert_true(has_w(w->mm, PAGE(2)));
	assert_true(has_d(w->mm, PAGE(2)));
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_ANON), 1);
	store(w->cpu[0], PAGE(2) + 24, 10);
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_ANON), 1);
	assert_int_equal(load(w->cpu[0], PAGE(2) + 16), 9);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 0); /* fresh memory is zero */
}

static const struct {
	uint32_t prot;
	enum vellum_fault_result load, store, fetch;
} rights[] = {
	{0, VELLUM_FAULT_SIGSEGV_ACCERR, VELLUM_FAULT_SIGSEGV_ACCERR, VELLUM_FAULT_SIGSEGV_ACCERR},
	{1, VELLUM_FAULT_OK, VELLUM_FAULT_SIGSEGV_ACCERR, VELLUM_FAULT_SIGSEGV_ACCERR},
	{2, VELLUM_FAULT_OK, VELLUM_FAULT_OK, VELLUM_FAULT_SIGSEGV_ACCERR},
	{3, VELLUM_FAULT_OK, VELLUM_FAULT_OK, VELLUM_FAULT_SIGSEGV_ACCERR},
	{4, VELLUM_FAULT_OK, VELLUM_FAULT_SIGSEGV_ACCERR, VELLUM_FAULT_OK},
	{5, VELLUM_FAULT_OK, VELLUM_FAULT_SIGSEGV_ACCERR, VELLUM_FAULT_OK},
	{6, VELLUM_FAULT_OK, VELLUM_FAULT_OK, VELLUM_FAULT_OK},
	{7, VELLUM_FAULT_OK, VELLUM_FAULT_OK, VELLUM_FAULT_OK},
};

static void access_rights(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = new_object(w, c, 64);
	char byte;

	for (unsigned i = 0; i < ARRAY_SIZE(rights); i++)
		for (unsigned kind = 0; kind < 4; kind++) {
			unsigned at = 32 * i + 4 * kind;

			if (kind == 0)
				map_at(w->mm, at, 2, rights[i].prot, ANON);
			else if (kind == 1)
				map_at(w->mm, at, 2, rights[i].prot, SHANON);
			else
				map_object(w->mm, at, 2, rights[i].prot,
					   kind == 2 ? SHARED : PRIVATE, obj, 8 * kind, RW);
			for (unsigned again = 0; again < 2; again++) {
				assert_int_equal(try_load(w->cpu[0], PAGE(at)), rights[i].load);
				assert_int_equal(vellum_soft_fetch(w->cpu[0], PAGE(at), &byte, 1),
						 rights[i].fetch);
				assert_int_equal(try_store(w->cpu[0], PAGE(at), 1),
						 rights[i].store);
				assert_int_equal(try_store(w->cpu[0], PAGE(at + 1), 1),
						 rights[i].store);
			}
			check_world(w);
		}
	assert_int_equal(try_load(w->cpu[0], PAGE(3)), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(try_load(w->cpu[0], VELLUM_TASK_SIZE), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(try_load(w->cpu[0], 0), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_true(count_of(w, VELLUM_COUNT_FAULT_ERROR) > 0);
	assert_int_equal(vellum_handle_fault(w->mm, PAGE(32 * 7), VELLUM_FAULT_SHSTK),
			 VELLUM_FAULT_SIGSEGV_ACCERR);
	vellum_mapping_put(obj);
}

/* NX takes effect at once, on a page whose instructions were fetched before. */
static void nx_fetch(void **state)
{
	struct world *w = *state;
	uint64_t code = 0;

	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], BASE, 0x90909090);
	protect(w->mm, 0, 1, RO | VELLUM_PROT_EXEC);
	assert_int_equal(vellum_soft_fetch(w->cpu[0], BASE, &code, 4), VELLUM_FAULT_OK);
	assert_int_equal(code, 0x90909090);
	protect(w->mm, 0, 1, RO);
	assert_int_equal(vellum_soft_fetch(w->cpu[0], BASE, &code, 4), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(load(w->cpu[0], BASE), 0x90909090);
}

static void protnone_keeps_data(void **state) /* T-pte-03 */
{
	struct world *w = *state;
	pte_t before, none;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], BASE, 0x1234);
	before = entry_at(w->mm, BASE);
	protect(w->mm, 0, 2, 0);
	none = entry_at(w->mm, BASE);
	assert_false(none.val & X86_PRESENT);
	assert_true(pte_present(none));
	assert_int_equal(pte_pfn(none), pte_pfn(before));
	assert_int_equal(none.val & X86_PFN_MASK, ~before.val & X86_PFN_MASK);
	assert_int_equal(try_load(w->cpu[0], BASE), VELLUM_FAULT_SIGSEGV_ACCERR);
	assert_int_equal(vellum_mm_rss(w->mm), 1);
	check_world(w);
	protect(w->mm, 0, 2, RW);
	assert_int_equal(load(w->cpu[0], BASE), 0x1234);
	assert_int_equal(pte_pfn(entry_at(w->mm, BASE)), pte_pfn(before));
	assert_true(has_d(w->mm, BASE));
}

/* --- copy on write --- */

static void fork_02_cow(void **state) /* T-fork-02 */
{
	struct world *w = *state;
	struct vellum_mm *child;
	pfn_t pfn;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(1), 1);
	load(w->cpu[0], PAGE(2));
	pfn = pte_pfn(entry_at(w->mm, PAGE(1)));
	child = fork_on(w->mm, w->cpu[1]);
	assert_false(has_w(w->mm, PAGE(1)));
	assert_false(has_w(child, PAGE(1)));
	assert_true(entry_at(w->mm, PAGE(1)).val & X86_SAVED_DIRTY);
	assert_true(has_d(child, PAGE(1)));
	assert_false(pte_young(entry_at(child, PAGE(1))));
	assert_int_equal(pte_pfn(entry_at(child, PAGE(1))), pfn);
	check_world(w);
	store(w->cpu[1], PAGE(1), 2); /* the child copies */
	assert_int_not_equal(pte_pfn(entry_at(child, PAGE(1))), pfn);
	assert_int_equal(vellum_mm_counter(child, VELLUM_COUNT_FAULT_COW), 1);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 1);
	check_world(w);
	store(w->cpu[0], PAGE(1), 3); /* the parent is alone again */
	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(1))), pfn);
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_REUSE), 1);
	assert_int_equal(load(w->cpu[1], PAGE(1)), 2);
	store(w->cpu[1], PAGE(2), 4);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 0);
	end_child(child, w->cpu[1]);
}

static void reuse_after_the_child_is_gone(void **state) /* T-fork-02 */
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t before;

	map_at(w->mm, 0, 4, RW, ANON);
	store(w->cpu[0], PAGE(1), 1);
	store(w->cpu[0], PAGE(2), 2);
	before = free_frames(w);
	child = fork_on(w->mm, w->cpu[1]);
	assert_int_equal(load(w->cpu[1], PAGE(1)), 1);
	end_child(child, w->cpu[1]);
	store(w->cpu[0], PAGE(1), 3);
	assert_int_equal(free_frames(w), before);
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_COW), 0);
	child = fork_on(w->mm, w->cpu[1]); /* this time the parent stores first */
	store(w->cpu[0], PAGE(1), 4);
	assert_int_equal(load(w->cpu[1], PAGE(1)), 3);
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_COW), 1);
	end_child(child, w->cpu[1]);
}

static void three_generations(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child, *grandchild;

	map_at(w->mm, 0, 2, RW, ANON);
	store(w->cpu[0], BASE, 1);
	child = fork_on(w->mm, w->cpu[1]);
	grandchild = fork_on(child, w->cpu[2]);
	store(w->cpu[1], BASE, 2);
	check_world(w);
	assert_int_equal(load(w->cpu[0], BASE), 1);
	assert_int_equal(load(w->cpu[2], BASE), 1);
	store(w->cpu[0], BASE, 3);
	assert_int_equal(load(w->cpu[2], BASE), 1);
	end_child(child, w->cpu[1]);
	store(w->cpu[2], BASE, 4);
	assert_int_equal(load(w->cpu[0], BASE), 3);
	check_world(w);
	end_child(grandchild, w->cpu[2]);
}

static unsigned nr_entries(struct vellum_mm *mm, unsigned at, unsigned pages)
{
	unsigned n = 0;

	for (unsigned i = at; i < at + pages; i++)
		n += pte_present(entry_at(mm, PAGE(i)));
	return n;
}

static void fork_01_needs_copy(void **state) /* T-fork-01 */
{
	struct world *w = *state;
	struct counting *c = new_counting(), *d = new_counting();
	struct vellum_mapping *obj = new_object(w, c, 16), *dev = new_pfn_object(w, d, 4);
	struct vellum_mm *child;

	map_at(w->mm, 0, 4, RW, SHANON);
	map_object(w->mm, 8, 4, RW, PRIVATE, obj, 0, RW);  /* only read */
	map_object(w->mm, 16, 4, RW, PRIVATE, obj, 8, RW); /* stored to */
	map_object(w->mm, 24, 4, RW, SHARED, dev, 0, RW);
	for (unsigned at = 0; at < 32; at += 8)
		load(w->cpu[0], PAGE(at));
	store(w->cpu[0], PAGE(1), 1);
	store(w->cpu[0], PAGE(17), 17);
	store(w->cpu[0], PAGE(25), 25);
	child = fork_on(w->mm, w->cpu[1]);
	assert_int_equal(nr_entries(child, 0, 4), 0);
	assert_int_equal(nr_entries(child, 8, 4), 0);
	assert_int_equal(nr_entries(child, 16, 4), 2);
	assert_int_equal(nr_entries(child, 24, 4), 2);
	assert_int_equal(nr_entries(w->mm, 0, 32), 7);
	assert_int_equal(load(w->cpu[1], PAGE(1)), 1);
	assert_int_equal(load(w->cpu[1], PAGE(9)), 1);
	assert_int_equal(load(w->cpu[1], PAGE(17)), 17);
	assert_int_equal(load(w->cpu[1], PAGE(25)), 25);
	end_child(child, w->cpu[1]);
	unmap(w->mm, 0, 32);
	vellum_mapping_put(obj);
	vellum_mapping_put(dev);
	vellum_memory_free_device(w->memory, d->first_pfn, 4);
}

static void fork_05_shared_entry(void **state) /* T-fork-05 */
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *dev = new_pfn_object(w, c, 4);
	uint64_t bitmap = 0, start = 0, end = 0, count;
	struct vellum_mm *child;

	map_object(w->mm, 0, 4, RW, SHARED, dev, 0, RW);
	store(w->cpu[0], PAGE(2), 1);
	child = fork_on(w->mm, w->cpu[1]);
	assert_true(has_w(child, PAGE(2)));
	assert_false(has_d(child, PAGE(2)));
	assert_true(has_w(w->mm, PAGE(2)));
	assert_true(has_d(w->mm, PAGE(2)));
	OK(vellum_clean_record_shared_mapping_range(dev, 0, 4, 0, &bitmap, &start, &end, &count));
	assert_int_equal(count, 1);
	assert_int_equal(bitmap, 4);
	store(w->cpu[1], PAGE(2), 2);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 2);
	assert_int_equal(c->mkwrites, 1);
	end_child(child, w->cpu[1]);
	unmap(w->mm, 0, 4);
	vellum_mapping_put(dev);
	vellum_memory_free_device(w->memory, c->first_pfn, 4);
}

/* --- files --- */

static struct folio *folio_at(struct world *w, unsigned at)
{
	return pfn_folio(w->memory, pte_pfn(entry_at(w->mm, PAGE(at))));
}

static void dirty_01_first_write(void **state) /* T-dirty-01 */
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
	store(w->cpu[0], PAGE(4), 44); /* missing: brought in and asked at once */
	assert_int_equal(c->mkwrites, 2);
	assert_true(has_w(w->mm, PAGE(4)));
	assert_int_equal(load(w->cpu[0], PAGE(4) + 8), 4);
	vellum_mapping_put(obj);
}

/* Hooks whose answers are played from a list. */
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

static void dirty_04_hook_codes(void **state) /* T-dirty-04 */
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

static void fault_hook_codes(void **state)
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
	assert_int_equal(free_frames(w), before); /* the new page went again */
	c->fault_code = 0;
	store(w->cpu[0], BASE, 1);
	assert_int_equal(load(w->cpu[0], BASE), 1);
	vellum_mapping_put(obj);
}

/* Rows of the decision table that this library can reach: notify? writable page protection? */
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

static void dirty_06_decision_table(void **state) /* T-dirty-06 */
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
		vma = find_vma(w->mm, BASE);
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

static void dirty_07_mprotect(void **state) /* T-dirty-07 */
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = map_new(w, c, 8, RO, SHARED);

	load(w->cpu[0], PAGE(1));
	load(w->cpu[0], PAGE(2));
	protect(w->mm, 0, 8, RW);
	assert_int_equal(find_vma(w->mm, BASE)->page_prot & X86_RW, 0);
	assert_false(has_w(w->mm, PAGE(1))); /* clean: not upgraded */
	store(w->cpu[0], PAGE(1), 1);
	assert_int_equal(c->mkwrites, 1);
	protect(w->mm, 0, 8, RO);
	assert_true(entry_at(w->mm, PAGE(1)).val & X86_SAVED_DIRTY);
	assert_int_equal(try_store(w->cpu[0], PAGE(1), 1), VELLUM_FAULT_SIGSEGV_ACCERR);
	protect(w->mm, 0, 8, RW);
	assert_true(has_w(w->mm, PAGE(1))); /* dirty: has been notified */
	assert_true(entry_at(w->mm, PAGE(1)).val & X86_DIRTY);
	store(w->cpu[0], PAGE(1), 2);
	assert_int_equal(c->mkwrites, 1);
	store(w->cpu[0], PAGE(2), 2);
	assert_int_equal(c->mkwrites, 2);
	vellum_mapping_put(obj);
}

static void dirty_08_shared_memory(void **state) /* T-dirty-08 */
{
	struct world *w = *state;
	struct vellum_mapping *obj = map_plain(w, 8, SHARED);
	struct folio *page;
	uint64_t faults, val = 0;

	assert_int_equal(load(w->cpu[0], PAGE(1)), 0);
	assert_true(has_w(w->mm, PAGE(1))); /* writable and clean from a load */
	assert_false(has_d(w->mm, PAGE(1)));
	page = folio_at(w, 1); /* dirty from the start: nothing else has its bytes */
	faults = find_vma(w->mm, BASE)->write_faults;
	store(w->cpu[0], PAGE(1), 11);
	assert_int_equal(find_vma(w->mm, BASE)->write_faults, faults);
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
	store(w->cpu[0], PAGE(2), 22); /* after a load: copied from the object's page */
	store(w->cpu[0], PAGE(3), 33); /* at once */
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

static void beyond_the_object(void **state)
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
	vellum_unmap_mapping_range(dev, 2, 2); /* page 3 was only read */
	assert_int_equal(c->dirt_mask, 6);
	assert_int_equal(c->dirts, 2);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 44); /* the next access faults */
	unmap(w->mm, 0, 4);
	assert_int_equal(c->dirts, 2);
	vellum_mapping_put(dev);
	vellum_memory_free_device(w->memory, c->first_pfn, 4);
}

/* Dirt that mprotect moved to the saved bit leaves all the same. */
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

/* In a process of its own with a deadline, since a wrong answer is no answer. */
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

/* A driver maps a frame that is neither RAM nor device memory with a host address. */
static void frame_without_bytes(void **state)
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
	assert_int_equal(load(w->cpu[0], PAGE(1)), 17); /* the object's page, not copied yet */
	vellum_unmap_mapping_range(obj, 0, 0);
	vellum_unmap_mapping_range(obj, 3, ~0ull);
	vellum_mapping_put(obj);
}

/* --- no memory --- */

static void out_of_memory_is_a_result(void **state)
{
	struct world w;
	unsigned pages = 0;

	(void)state;
	world_create(&w, 4 << 20);
	map_at(w.mm, 0, 2048, RW, ANON | VELLUM_MAP_NORESERVE); /* twice RAM */
	map_at(w.mm, 4096, 64, RW, SHANON);
	while (try_store(w.cpu[0], PAGE(pages), pages + 1) == VELLUM_FAULT_OK)
		pages++;
	assert_in_range(pages, 900, 1024);
	assert_int_equal(try_store(w.cpu[0], PAGE(pages), 1), VELLUM_FAULT_OOM);
	assert_int_equal(try_store(w.cpu[0], PAGE(4096), 1), VELLUM_FAULT_OOM);
	assert_int_equal(try_load(w.cpu[0], PAGE(4096)), VELLUM_FAULT_OOM);
	assert_int_equal(vellum_copy_to_user(w.mm, PAGE(pages), "x", 1, NULL), -ENOMEM);
	check_world(&w);
	for (unsigned i = 0; i < pages; i++)
		assert_int_equal(load(w.cpu[0], PAGE(i)), i + 1);
	dontneed(w.mm, 0, 20);
	store(w.cpu[0], PAGE(pages), 1);
	store(w.cpu[0], PAGE(4096), 2);
	assert_int_equal(load(w.cpu[0], PAGE(19)), 0);
	assert_int_equal(load(w.cpu[0], PAGE(20)), 21);
	world_destroy(&w);
}

/* A copy that fails for want of memory leaves both sides as they were. */
static void cow_out_of_memory(void **state)
{
	struct vellum_mm *child;
	struct world w;
	unsigned pages = 8;

	(void)state;
	world_create(&w, 4 << 20);
	map_at(w.mm, 0, 2048, RW, ANON | VELLUM_MAP_NORESERVE); /* twice RAM */
	for (unsigned i = 0; i < 8; i++)
		store(w.cpu[0], PAGE(i), i);
	child = fork_on(w.mm, w.cpu[1]);
	while (try_store(w.cpu[0], PAGE(pages), 1) == VELLUM_FAULT_OK)
		pages++;
	assert_int_equal(try_store(w.cpu[1], PAGE(3), 1), VELLUM_FAULT_OOM);
	assert_int_equal(load(w.cpu[1], PAGE(3)), 3);
	assert_int_equal(load(w.cpu[0], PAGE(3)), 3);
	check_world(&w);
	unmap(w.mm, 100, 10);
	store(w.cpu[1], PAGE(3), 33);
	assert_int_equal(load(w.cpu[0], PAGE(3)), 3);
	end_child(child, w.cpu[1]);
	world_destroy(&w);
}

/* --- access from outside --- */

static void copy_to_and_from(void **state)
{
	struct world *w = *state;
	static char in[3 * 4096], out[3 * 4096];
	uint64_t done = 0;

	map_at(w->mm, 0, 8, RW, ANON);
	for (unsigned i = 0; i < sizeof(in); i++)
		in[i] = (char)(i * 7);
	OK(vellum_copy_to_user(w->mm, PAGE(1) + 100, in, sizeof(in), &done));
	assert_int_equal(done, sizeof(in));
	for (unsigned i = 0; i < 8; i++) /* exactly the pages that bytes arrived in */
		assert_int_equal(has_d(w->mm, PAGE(i)), i >= 1 && i <= 4);
	OK(vellum_copy_from_user(w->mm, out, PAGE(1) + 100, sizeof(out), &done));
	assert_memory_equal(in, out, sizeof(in));
	OK(vellum_copy_from_user(w->mm, out, PAGE(6), 10, NULL));
	assert_int_equal(out[0], 0);
	assert_false(has_d(w->mm, PAGE(6)));
	OK(vellum_copy_to_user(w->mm, PAGE(7), in, 0, &done));
	assert_int_equal(done, 0);
	assert_true(pte_none(entry_at(w->mm, PAGE(7))));
}

static const struct {
	uint64_t addr, len, done; /* the hole is page 4; page 8 is read-only, page 12 no access */
	bool write;
	int want;
} copies[] = {
	{PAGE(3) + 4000, 200, 96, true, -EFAULT},
	{PAGE(3) + 4000, 200, 96, false, -EFAULT},
	{PAGE(2), 3 * 4096, 8192, true, -EFAULT},
	{PAGE(4), 1, 0, true, -EFAULT},
	{PAGE(7), 4097, 4096, true, -EFAULT},
	{PAGE(7), 4097, 4097, false, 0},
	{PAGE(12), 1, 0, false, -EFAULT},
	{VELLUM_TASK_SIZE, 1, 0, true, -EFAULT},
	{VELLUM_TASK_SIZE - 4096, 8192, 4096, true, -EFAULT},
	{~0ull - 5, 4, 0, true, -EFAULT},
	{~0ull - 5, 40, 0, false, -EFAULT},
};

static void partial_copies(void **state)
{
	static char buf[3 * 4096 + 200];
	struct world *w = *state;
	struct vellum_map_args top = {.size = sizeof(top),
				      .addr = VELLUM_TASK_SIZE - 4096,
				      .len = 4096,
				      .prot = RW,
				      .flags = ANON | VELLUM_MAP_FIXED};
	uint64_t done, addr;

	map_at(w->mm, 0, 4, RW, ANON);
	map_at(w->mm, 5, 3, RW, ANON);
	map_at(w->mm, 8, 1, RO, ANON);
	map_at(w->mm, 12, 1, 0, ANON);
	OK(vellum_mmap(w->mm, &top, &addr));
	for (unsigned i = 0; i < ARRAY_SIZE(copies); i++) {
		int err;

		done = 77;
		err = copies[i].write ? vellum_copy_to_user(w->mm, copies[i].addr, buf,
							    copies[i].len, &done)
				      : vellum_copy_from_user(w->mm, buf, copies[i].addr,
							      copies[i].len, &done);
		if (err != copies[i].want || done != copies[i].done)
			fail_msg("row %u: %d, %d bytes", i, err, (int)done);
		check_world(w);
	}
	assert_false(has_d(w->mm, PAGE(8)));
}

static void copy_to_user_breaks_cow(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = map_new(w, c, 4, RW, SHARED);
	struct vellum_mm *child;
	uint64_t val = 5;

	map_at(w->mm, 8, 2, RW, ANON);
	store(w->cpu[0], PAGE(8), 1);
	child = fork_on(w->mm, w->cpu[1]);
	OK(vellum_copy_to_user(child, PAGE(8), &val, 8, NULL));
	assert_int_equal(load(w->cpu[0], PAGE(8)), 1);
	assert_int_equal(load(w->cpu[1], PAGE(8)), 5);
	OK(vellum_copy_to_user(child, PAGE(2), &val, 8, NULL));
	assert_int_equal(c->mkwrites, 1);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 5);
	end_child(child, w->cpu[1]);
	vellum_mapping_put(obj);
}

static void peek_touches_nothing(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = map_new(w, c, 4, RW, PRIVATE);
	static uint64_t page[512];

	map_at(w->mm, 8, 4, RW, ANON);
	assert_int_equal(vellum_peek(w->mm, PAGE(8), page), 0);
	assert_int_equal(vellum_peek(w->mm, PAGE(1), page), 0);
	assert_int_equal(c->faults, 0);
	assert_int_equal(vellum_peek(w->mm, PAGE(6), page), -EFAULT);
	assert_int_equal(vellum_peek(w->mm, PAGE(8) + 8, page), -EFAULT);
	assert_int_equal(vellum_peek(w->mm, VELLUM_TASK_SIZE, page), -EFAULT);
	assert_int_equal(vellum_mm_rss(w->mm), 0);
	store(w->cpu[0], PAGE(9), 3);
	set_entry_at(w->mm, PAGE(9), pte_mkold(pte_mkclean(entry_at(w->mm, PAGE(9)))));
	assert_int_equal(vellum_peek(w->mm, PAGE(9), page), 1);
	assert_int_equal(page[0], 3);
	assert_false(pte_young(entry_at(w->mm, PAGE(9))));
	assert_false(has_d(w->mm, PAGE(9)));
	protect(w->mm, 8, 4, 0);
	page[0] = 0;
	assert_int_equal(vellum_peek(w->mm, PAGE(9), page), 1); /* whatever the rights */
	assert_int_equal(page[0], 3);
	vellum_mapping_put(obj);
}

static void populate(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *obj = new_object(w, c, 4);

	map_at(w->mm, 0, 4, RW, ANON | VELLUM_MAP_POPULATE);
	map_object(w->mm, 8, 4, RW, SHARED | VELLUM_MAP_POPULATE, obj, 0, RW);
	map_object(w->mm, 16, 4, RW, PRIVATE | VELLUM_MAP_POPULATE, obj, 0, RW);
	map_at(w->mm, 24, 4, RO, ANON | VELLUM_MAP_POPULATE);
	map_at(w->mm, 32, 4, 0, ANON | VELLUM_MAP_POPULATE);
	map_object(w->mm, 40, 8, RW, PRIVATE | VELLUM_MAP_POPULATE, obj, 2, RW); /* half beyond */
	assert_int_equal(vellum_mm_rss(w->mm), 18);
	assert_int_equal(c->mkwrites, 0);
	assert_int_equal(c->faults, 4);
	for (unsigned i = 0; i < 4; i++) {
		assert_false(has_d(w->mm, PAGE(i))); /* nobody has stored */
		assert_true(has_w(w->mm, PAGE(i)));
		assert_true(folio_flags(folio_at(w, 16 + i)) & PG_ANON);
		assert_int_equal(load(w->cpu[0], PAGE(16 + i)), i);
		assert_int_equal(load(w->cpu[0], PAGE(8 + i)), i);
	}
	store(w->cpu[0], PAGE(1), 1);
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_COW), 0);
	check_world(w);
	vellum_mapping_put(obj);
}

/* --- spurious faults --- */

static void tlb_04_spurious(void **state) /* T-tlb-04 */
{
	struct world *w = *state;
	uint64_t flushes, spurious;
	pte_t before;

	map_at(w->mm, 0, 2, RW, SHANON);
	store(w->cpu[0], BASE, 1);
	protect(w->mm, 0, 2, RO);
	vellum_soft_run(w->cpu[1], w->mm);
	assert_int_equal(load(w->cpu[1], BASE), 1); /* caches "read-only" */
	flushes = count_of(w, VELLUM_COUNT_TLB_FLUSHES);
	protect(w->mm, 0, 2, RW);
	assert_int_equal(count_of(w, VELLUM_COUNT_TLB_FLUSHES), flushes);
	before = entry_at(w->mm, BASE);
	spurious = count_of(w, VELLUM_COUNT_FAULT_SPURIOUS);
	assert_int_equal(
		vellum_handle_fault(w->mm, BASE,
				    VELLUM_FAULT_USER | VELLUM_FAULT_PRESENT | VELLUM_FAULT_WRITE),
		VELLUM_FAULT_OK);
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_SPURIOUS), spurious + 1);
	assert_int_equal(count_of(w, VELLUM_COUNT_TLB_FLUSHES), flushes);
	assert_int_equal(entry_at(w->mm, BASE).val | X86_ACCESSED | X86_DIRTY,
			 before.val | X86_ACCESSED | X86_DIRTY);
	store(w->cpu[1], BASE, 2);
	assert_int_equal(load(w->cpu[0], BASE), 2);
	vellum_soft_run(w->cpu[1], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(zero_page),
		WORLD_TEST(first_store),
		WORLD_TEST(access_rights),
		WORLD_TEST(nx_fetch),
		WORLD_TEST(protnone_keeps_data),
		WORLD_TEST(fork_02_cow),
		WORLD_TEST(reuse_after_the_child_is_gone),
		WORLD_TEST(three_generations),
		WORLD_TEST(fork_01_needs_copy),
		WORLD_TEST(fork_05_shared_entry),
		WORLD_TEST(dirty_01_first_write),
		WORLD_TEST(dirty_04_hook_codes),
		WORLD_TEST(fault_hook_codes),
		WORLD_TEST(dirty_06_decision_table),
		WORLD_TEST(dirty_07_mprotect),
		WORLD_TEST(dirty_08_shared_memory),
		WORLD_TEST(private_file),
		WORLD_TEST(shared_between_processes),
		WORLD_TEST(beyond_the_object),
		WORLD_TEST(pfn_mapping),
		WORLD_TEST(pfn_dirt_survives_mprotect),
		WORLD_TEST(pfn_cow),
		WORLD_TEST(device_outside_ram),
		WORLD_TEST(frame_without_bytes),
		WORLD_TEST(unmap_mapping_keeps_private_copies),
		cmocka_unit_test(out_of_memory_is_a_result),
		cmocka_unit_test(cow_out_of_memory),
		WORLD_TEST(copy_to_and_from),
		WORLD_TEST(partial_copies),
		WORLD_TEST(copy_to_user_breaks_cow),
		WORLD_TEST(peek_touches_nothing),
		WORLD_TEST(populate),
		WORLD_TEST(tlb_04_spurious),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
