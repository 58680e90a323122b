/* SPDX-License-Identifier: MIT */
/* The page that a machine maps in each address space (vellum/mmu.h, machine_page). */
#include "support.h"
#include "vellum/gup.h"

static void fill_page(void *machine, void *bytes)
{
	(void)machine;
	memset(bytes, 0x5a, PAGE_SIZE);
}

struct paged {
	struct world w;
	struct vellum_mmu_ops mmu;
};

static unsigned synced;		/* calls of sync_icache() */

static void count_sync(void *machine, uint64_t pfn)
{
	(void)machine, (void)pfn;
	synced++;
}

static int paged_setup(void **state)
{
	struct paged *p = calloc(1, sizeof(*p));

	world_create(&p->w, 16 << 20);
	p->mmu = *vellum_soft_mmu_ops();
	p->mmu.machine_page = fill_page;
	p->mmu.sync_icache = count_sync;
	world_remake(&p->w, &p->mmu, test_host_ops());
	vellum_soft_load_mm(p->w.cpu[0], p->w.mm);
	*state = p;
	return 0;
}

static int paged_teardown(void **state)
{
	struct paged *p = *state;

	world_destroy(&p->w);
	free(p);
	return 0;
}

/* Programs may read and execute the page. */
static void check_entry(const struct world *w)
{
	pte_t pte = entry_at(w->mm, VELLUM_MACHINE_PAGE);

	assert_int_equal(pte.val & (X86_PRESENT | X86_USER | X86_RW | X86_NX), X86_PRESENT | X86_USER);
	assert_ptr_equal(vellum_frame_host(w->memory, pte_pfn(pte)), vellum_mm_machine_page(w->mm));
}

static void machine_page_is_read_only_and_in_no_vma(void **state)
{
	struct world *w = &((struct paged *)*state)->w;
	struct vellum_map_args map = { .size = sizeof(map), .addr = VELLUM_MACHINE_PAGE, .len = PAGE_SIZE, .prot = RW,
				       .flags = ANON | VELLUM_MAP_FIXED };
	uint64_t at;

	assert_int_equal(VELLUM_MACHINE_PAGE, TASK_SIZE);
	assert_memory_equal(vellum_mm_machine_page(w->mm), "\x5a\x5a\x5a", 3);
	check_entry(w);
	assert_int_equal(try_store(w->cpu[0], VELLUM_MACHINE_PAGE, 1), VELLUM_FAULT_SIGSEGV_MAPERR);
	assert_int_equal(nr_vmas(w->mm), 0);
	assert_int_not_equal(vellum_mmap(w->mm, &map, &at), 0);
	assert_int_not_equal(vellum_munmap(w->mm, VELLUM_MACHINE_PAGE, PAGE_SIZE), 0);
	assert_int_not_equal(vellum_mprotect(w->mm, VELLUM_MACHINE_PAGE, PAGE_SIZE, RW), 0);
	assert_int_equal(vellum_mm_rss(w->mm), 0);
	check_world(w);
}

/* The last-level table below the page is shared with the highest VMA. The table stays when that VMA is unmapped. */
static void machine_page_survives_unmapping_below_it(void **state)
{
	struct world *w = &((struct paged *)*state)->w;
	struct vellum_map_args map = { .size = sizeof(map), .addr = TASK_SIZE - 4 * PAGE_SIZE, .len = 4 * PAGE_SIZE,
				       .prot = RW, .flags = ANON | VELLUM_MAP_FIXED };
	uint64_t at;

	assert_int_equal(vellum_mmap(w->mm, &map, &at), 0);
	store(w->cpu[0], TASK_SIZE - 8, 1);
	check_world(w);
	assert_int_equal(vellum_munmap(w->mm, 0, TASK_SIZE), 0);
	check_entry(w);
	check_world(w);
}

static void child_has_a_machine_page_of_its_own(void **state)
{
	struct world *w = &((struct paged *)*state)->w;
	struct vellum_mm *child;
	char *page;

	memset(vellum_mm_machine_page(w->mm), 1, PAGE_SIZE);
	assert_int_equal(vellum_fork(w->mm, &child), 0);
	page = vellum_mm_machine_page(child);
	assert_ptr_not_equal(page, vellum_mm_machine_page(w->mm));
	assert_int_equal(page[0], 0x5a);
	check_world(w);
	vellum_mm_put(child);
}

static void create_without_frames_changes_nothing(void **state)
{
	struct world *w = &((struct paged *)*state)->w;
	struct vellum_memory_info before = { .size = sizeof(before) }, after = before;
	struct vellum_mm *mm;
	uint64_t pfn[4096], nr = 0;

	while (nr < 4096 && vellum_memory_alloc_device(w->memory, 1, &pfn[nr]) == 0)
		nr++;
	assert_in_range(nr, 100, 4095);
	for (unsigned frames = 0; frames < 8; frames++) {
		vellum_memory_info(w->memory, &before);
		assert_int_equal(before.nr_free, frames);
		if (vellum_mm_create(w->memory, &mm) == 0) {
			assert_int_equal(frames, 5);	/* the page, and a table of each level */
			vellum_mm_put(mm);
			break;
		}
		vellum_memory_info(w->memory, &after);
		assert_int_equal(after.nr_free, frames);
		check_world(w);
		vellum_memory_free_device(w->memory, pfn[--nr], 1);
	}
	while (nr)
		vellum_memory_free_device(w->memory, pfn[--nr], 1);
}

/* A CPU may have decoded the old bytes of the frame as instructions. */
static void frame_that_held_code_is_synced(void **state)
{
	struct paged *p = *state;
	struct vellum_mm *mm;

	assert_int_equal(vellum_mm_create(p->w.memory, &mm), 0);
	vellum_mm_put(mm);
	synced = 0;
	assert_int_equal(vellum_mm_create(p->w.memory, &mm), 0);
	vellum_mm_put(mm);
	assert_int_equal(synced, 1);
}

/* A debugger stores a breakpoint through a pin (/proc/PID/mem). The page may have been executed. */
static void code_that_a_pin_stores_to_is_synced(void **state)
{
	struct paged *p = *state;
	struct world *w = &p->w;
	uint64_t pfn, nr;

	map_at(w->mm, 0, 1, RW | VELLUM_PROT_EXEC, ANON);
	store(w->cpu[0], PAGE(0), 1);
	assert_int_equal(vellum_mprotect(w->mm, PAGE(0), PAGE_SIZE, RO | VELLUM_PROT_EXEC), 0);
	assert_int_equal(vellum_pin_pages(w->mm, PAGE(0), 1, VELLUM_GUP_WRITE | VELLUM_GUP_FORCE, &pfn, &nr), 0);
	*(char *)vellum_frame_host(w->memory, pfn) = (char)0xcc;
	synced = 0;
	vellum_unpin_pages_dirty(w->memory, &pfn, 1);
	assert_int_equal(synced, 1);
	assert_int_equal(vellum_munmap(w->mm, PAGE(0), PAGE_SIZE), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(machine_page_is_read_only_and_in_no_vma, paged_setup, paged_teardown),
		cmocka_unit_test_setup_teardown(machine_page_survives_unmapping_below_it, paged_setup, paged_teardown),
		cmocka_unit_test_setup_teardown(child_has_a_machine_page_of_its_own, paged_setup, paged_teardown),
		cmocka_unit_test_setup_teardown(create_without_frames_changes_nothing, paged_setup, paged_teardown),
		cmocka_unit_test_setup_teardown(frame_that_held_code_is_synced, paged_setup, paged_teardown),
		cmocka_unit_test_setup_teardown(code_that_a_pin_stores_to_is_synced, paged_setup, paged_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
