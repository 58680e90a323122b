/* SPDX-License-Identifier: MIT */
/* mm/page_set.c - sets of page numbers; see page_set.h. */
#include "mm/page_set.h"

bool page_set_add(struct page_set *set, uint64_t page, const struct host *host)
{
	uint64_t *leaf = radix_get(&set->leaves, page >> LEAF_SHIFT);

	if (!leaf) {
		leaf = host_alloc(host, LEAF_WORDS * sizeof(*leaf));
		if (!leaf)
			return false;
		if (radix_set(&set->leaves, page >> LEAF_SHIFT, leaf, host)) {
			host_free(host, leaf, LEAF_WORDS * sizeof(*leaf));
			return false;
		}
	}
	leaf[page % LEAF_PAGES / 64] |= 1ull << page % 64;
	return true;
}

void page_set_clear(struct page_set *set, const struct host *host)
{
	uint64_t *leaf;

	for (uint64_t i = 0; (leaf = radix_next(&set->leaves, &i)); i++)
		host_free(host, leaf, LEAF_WORDS * sizeof(*leaf));
	radix_destroy(&set->leaves, host);
}

/* The next run of pages in the set from @*page on. Return: its length, 0 if there is none. */
uint64_t page_set_next_run(const struct page_set *set, uint64_t *page)
{
	uint64_t index = *page >> LEAF_SHIFT, nr = 0;
	const uint64_t *leaf = radix_next(&set->leaves, &index);

	if (leaf && index != *page >> LEAF_SHIFT)
		*page = index << LEAF_SHIFT;
	while (leaf) {
		uint64_t at = *page + nr;

		if (at >> LEAF_SHIFT != index) {	/* over the end of the leaf */
			uint64_t want = at >> LEAF_SHIFT;

			index = want;
			leaf = radix_next(&set->leaves, &index);
			if (nr && (!leaf || index != want))
				break;
			if (!nr)
				*page = index << LEAF_SHIFT;
		} else if (leaf_has(leaf, at)) {
			nr++;
		} else if (nr) {
			break;
		} else {
			++*page;
		}
	}
	return nr;
}

uint64_t page_set_count(const uint64_t *leaf)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < LEAF_WORDS; i++)
		n += (uint64_t)__builtin_popcountll(leaf[i]);
	return n;
}
