/* SPDX-License-Identifier: MIT */
/* Faults in private memory: their results and counters; copy on write; failed allocations; spurious faults. */
#include "more_support.h"

/* --- private anonymous memory --- */

static void zero_page(void **state)
{
	struct world *w = *state;
	uint64_t before;

	map_at(w->mm, 0, 4, RW, ANON);
	assert_int_equal(load(w->cpu[0], PAGE(3)), 0); /* so that the tables exist */
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

static void faults_check_the_rights_of_the_vma(void **state)
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
					   kind == 2 ? VELLUM_MAP_SHARED : VELLUM_MAP_PRIVATE, obj, 8 * kind, RW);
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

/* NX takes effect at once, even for a page whose instructions were fetched before. */
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

static void T_pte_03_protnone_keeps_data(void **state)
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

static void T_fork_02_cow(void **state)
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
	store(w->cpu[0], PAGE(1), 3); /* the parent is the sole owner again */
	assert_int_equal(pte_pfn(entry_at(w->mm, PAGE(1))), pfn);
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_REUSE), 1);
	assert_int_equal(load(w->cpu[1], PAGE(1)), 2);
	store(w->cpu[1], PAGE(2), 4);
	assert_int_equal(load(w->cpu[0], PAGE(2)), 0);
	end_child(child, w->cpu[1]);
}

static void T_fork_02_reuse_after_the_child_is_gone(void **state)
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
	child = fork_on(w->mm, w->cpu[1]); /* now the parent stores first */
	store(w->cpu[0], PAGE(1), 4);
	assert_int_equal(load(w->cpu[1], PAGE(1)), 3);
	assert_int_equal(count_of(w, VELLUM_COUNT_FAULT_COW), 1);
	end_child(child, w->cpu[1]);
}

static void pages_are_shared_by_three_generations(void **state)
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

static void T_fork_01_needs_copy(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting(), *d = new_counting();
	struct vellum_mapping *obj = new_object(w, c, 16), *dev = new_pfn_object(w, d, 4);
	struct vellum_mm *child;

	map_at(w->mm, 0, 4, RW, SHANON);
	map_object(w->mm, 8, 4, RW, VELLUM_MAP_PRIVATE, obj, 0, RW);  /* only read */
	map_object(w->mm, 16, 4, RW, VELLUM_MAP_PRIVATE, obj, 8, RW); /* stored to */
	map_object(w->mm, 24, 4, RW, VELLUM_MAP_SHARED, dev, 0, RW);
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

static void T_fork_05_shared_entry(void **state)
{
	struct world *w = *state;
	struct counting *c = new_counting();
	struct vellum_mapping *dev = new_pfn_object(w, c, 4);
	uint64_t bitmap = 0, start = 0, end = 0, count;
	struct vellum_mm *child;

	map_object(w->mm, 0, 4, RW, VELLUM_MAP_SHARED, dev, 0, RW);
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

/* --- no free frames --- */

static void without_frames_a_fault_is_oom(void **state)
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

/* A copy that fails with OOM leaves parent and child unchanged. */
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

/* --- spurious faults --- */

static void T_tlb_04_spurious(void **state)
{
	struct world *w = *state;
	uint64_t flushes, spurious;
	pte_t before;

	map_at(w->mm, 0, 2, RW, SHANON);
	store(w->cpu[0], BASE, 1);
	protect(w->mm, 0, 2, RO);
	vellum_soft_load_mm(w->cpu[1], w->mm);
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
	vellum_soft_load_mm(w->cpu[1], NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(zero_page),
		WORLD_TEST(first_store),
		WORLD_TEST(faults_check_the_rights_of_the_vma),
		WORLD_TEST(nx_fetch),
		WORLD_TEST(T_pte_03_protnone_keeps_data),
		WORLD_TEST(T_fork_02_cow),
		WORLD_TEST(T_fork_02_reuse_after_the_child_is_gone),
		WORLD_TEST(pages_are_shared_by_three_generations),
		WORLD_TEST(T_fork_01_needs_copy),
		WORLD_TEST(T_fork_05_shared_entry),
		cmocka_unit_test(without_frames_a_fault_is_oom),
		cmocka_unit_test(cow_out_of_memory),
		WORLD_TEST(T_tlb_04_spurious),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
