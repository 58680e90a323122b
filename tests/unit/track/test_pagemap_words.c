/* SPDX-License-Identifier: MIT */
/* Words of /proc/PID/pagemap. */
#include "uffd_support.h"

static uint64_t full_word(struct vellum_mm *mm, unsigned page, uint32_t flags)
{
	uint64_t bits;

	OK(vellum_pagemap_read(mm, PAGE(page), 1, flags, &bits));
	return bits;
}

static void pagemap_words(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = new_uffd(w, 0);
	struct swap_array *swap = malloc(sizeof(*swap));
	uint64_t sd = VELLUM_PM_SOFT_DIRTY, mine = VELLUM_PM_PRESENT | VELLUM_PM_MMAP_EXCLUSIVE, bits;
	struct vellum_mm *child;
	pte_t pte;

	add_swap(w, swap);
	map_at(w->mm, 0, 8, RW, ANON);
	map_at(w->mm, 8, 4, RW, SHANON);
	assert_int_equal(full_word(w->mm, 0, VELLUM_PAGEMAP_PFNS), sd); /* a new VMA is soft-dirty as a whole */
	assert_int_equal(full_word(w->mm, 20, VELLUM_PAGEMAP_PFNS), 0);
	store(w->cpu[0], PAGE(0), 1);
	load(w->cpu[0], PAGE(1));
	store(w->cpu[0], PAGE(2), 1);
	store(w->cpu[0], PAGE(8), 1);
	page_out(w, 2, 1);
	assert_int_equal(full_word(w->mm, 0, 0), mine | sd);
	assert_int_equal(full_word(w->mm, 0, VELLUM_PAGEMAP_PFNS),
			 mine | sd | pte_pfn(entry_at(w->mm, PAGE(0))));
	assert_int_equal(full_word(w->mm, 1, 0) & ~VELLUM_PM_MMAP_EXCLUSIVE, VELLUM_PM_PRESENT | sd);
	assert_int_equal(full_word(w->mm, 8, 0), mine | VELLUM_PM_FILE | sd);
	pte = entry_at(w->mm, PAGE(2));
	assert_int_equal(full_word(w->mm, 2, 0), VELLUM_PM_SWAP | sd);
	bits = full_word(w->mm, 2, VELLUM_PAGEMAP_PFNS);
	assert_int_equal(bits & 31, pte_swp_type(pte));
	assert_int_equal(bits >> 5 & ((1ull << 50) - 1), pte_swp_offset(pte));
	child = fork_on(w->mm, w->cpu[2]);
	assert_int_equal(full_word(w->mm, 0, 0) & mine, VELLUM_PM_PRESENT);
	assert_int_equal(full_word(child, 0, 0) & mine, VELLUM_PM_PRESENT);
	end_child(child, w->cpu[2]);
	OK(vellum_clear_refs(w->mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
	assert_int_equal(full_word(w->mm, 0, 0), mine);
	assert_int_equal(full_word(w->mm, 3, 0), 0);
	assert_int_equal(full_word(w->mm, 2, 0), VELLUM_PM_SWAP);
	store(w->cpu[0], PAGE(0), 2);
	assert_int_equal(full_word(w->mm, 0, 0), mine | sd);
	assert_int_equal(vellum_pagemap_read(w->mm, PAGE(0) + 8, 1, 0, &bits), -EINVAL);
	assert_int_equal(vellum_pagemap_read(w->mm, TASK_SIZE, 1, 0, &bits), -EINVAL);
	check_world(w);
	unmap(w->mm, 0, 12);
	vellum_uffd_put(u);
	OK(vellum_swap_remove(w->memory, 0));
	free(swap);
}

static void pagemap_of_huge_pages(void **state)
{
	struct world *w = *state;
	struct vellum_uffd *u = huge_world(w);
	uint64_t words[512];

	OK(vellum_pagemap_read(w->mm, PAGE(512), 512, VELLUM_PAGEMAP_PFNS, words));
	for (unsigned i = 0; i < 512; i++) {
		assert_int_equal(words[i] & ((1ull << 55) - 1), (words[0] & ((1ull << 55) - 1)) + i);
		assert_int_equal(words[i] >> 55, words[0] >> 55);
		assert_true(words[i] & VELLUM_PM_PRESENT);
	}
	vellum_uffd_put(u);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		WORLD_TEST(pagemap_words),
		WORLD_TEST(pagemap_of_huge_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
