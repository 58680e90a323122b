/* SPDX-License-Identifier: MIT */
/* Pages in the swap cache; vellum_peek() of swapped pages; swap counts as memory for overcommitment. */
#include "swap_support.h"

#include "vellum/access.h"
#include "vellum/gup.h"

/*
 * A reference keeps the page in the swap cache. It was exclusive when it was swapped out, but after a fork it
 * is not.
 */
static void cached_page_is_shared_by_fork(void **state)
{
	struct world *w = *state;
	struct vellum_mm *child;
	uint64_t pfn, got;
	struct disk d;

	disk_create(&d, w, 16);
	map_at(w->mm, 0, 1, RW, ANON);
	store(w->cpu[0], PAGE(0), 11);
	OK(vellum_get_pages(w->mm, PAGE(0), 1, 0, &pfn, &got));
	OK(vellum_madvise(w->mm, PAGE(0), PAGE_SIZE, VELLUM_MADV_PAGEOUT));
	assert_true(pte_is_genuine_swap(entry_at(w->mm, PAGE(0))));
	child = fork_on(w->mm, w->cpu[1]);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 11);
	store(w->cpu[1], PAGE(0), 22);
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(0)), 11);
	vellum_put_pages(w->memory, &pfn, 1);
	end_child(child, w->cpu[1]);
	check_world(w);
	OK(vellum_swap_remove(w->memory, d.area));
	disk_destroy(&d);
}

static void peek_reads_a_swapped_page(void **state)
{
	struct world *w = *state;
	uint64_t page[PAGE_SIZE / 8];
	struct disk d;

	disk_create(&d, w, 16);
	map_at(w->mm, 0, 3, RW, ANON);
	store(w->cpu[0], PAGE(1), 11);
	assert_int_equal(vellum_peek(w->mm, PAGE(0), page), 0);
	OK(vellum_madvise(w->mm, PAGE(1), PAGE_SIZE, VELLUM_MADV_PAGEOUT));
	assert_false(pte_present(entry_at(w->mm, PAGE(1))));
	assert_int_equal(vellum_peek(w->mm, PAGE(1), page), 1);
	assert_int_equal(page[0], 11);
	assert_false(pte_present(entry_at(w->mm, PAGE(1))));
	check_world(w);
	assert_int_equal(load(w->cpu[0], PAGE(1)), 11);
	assert_int_equal(vellum_peek(w->mm, PAGE(5), page), -EFAULT);
	OK(vellum_swap_remove(w->memory, d.area));
	disk_destroy(&d);
}

static void swap_counts_as_memory(void **state)
{
	struct world *w = *state;
	struct vellum_map_args a = { .size = sizeof(a), .len = 20 << 20, .prot = RW, .flags = ANON };
	struct disk d;
	uint64_t addr;

	assert_int_equal(vellum_mmap(w->mm, &a, &addr), -ENOMEM);	/* RAM: 16 MiB */
	disk_create(&d, w, 2048);
	OK(vellum_mmap(w->mm, &a, &addr));
	a.len = 26 << 20;
	assert_int_equal(vellum_mmap(w->mm, &a, &addr), -ENOMEM);
	OK(vellum_swap_remove(w->memory, d.area));
	disk_destroy(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(cached_page_is_shared_by_fork),
		WORLD_TEST(peek_reads_a_swapped_page),
		WORLD_TEST(swap_counts_as_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
