/* SPDX-License-Identifier: MIT */
/* mm/track/page_set.c - sets of page numbers; see page_set.h. */
#include "mm/track/page_set.h"

/* The leaf of @page, created if there is none. NULL: no memory. */
static uint64_t *get_leaf(struct page_set *set, uint64_t page, const struct host *host)
{
	uint64_t *leaf = radix_get(&set->leaves, page >> LEAF_SHIFT);

	if (leaf)
		return leaf;
	leaf = host_alloc(host, LEAF_WORDS * sizeof(*leaf));
	if (leaf && radix_set(&set->leaves, page >> LEAF_SHIFT, leaf, host)) {
		host_free(host, leaf, LEAF_WORDS * sizeof(*leaf));
		return NULL;
	}
	return leaf;
}

bool page_set_add(struct page_set *set, uint64_t page, const struct host *host)
{
	uint64_t *leaf = get_leaf(set, page, host);

	if (!leaf)
		return false;
	leaf[page % LEAF_PAGES / 64] |= 1ull << page % 64;
	return true;
}

bool page_set_add_mask(struct page_set *set, uint64_t page, uint64_t mask, const struct host *host)
{
	unsigned shift = page % 64;
	uint64_t low = mask << shift, high = shift ? mask >> (64 - shift) : 0;
	uint64_t *leaf;

	if (low) {
		leaf = get_leaf(set, page, host);
		if (!leaf)
			return false;
		leaf[page % LEAF_PAGES / 64] |= low;
	}
	if (high) {
		leaf = get_leaf(set, page + 64, host);
		if (!leaf)
			return false;
		leaf[(page + 64) % LEAF_PAGES / 64] |= high;
	}
	return true;
}

void page_set_clear(struct page_set *set, const struct host *host)
{
	uint64_t *leaf;

	for (uint64_t i = 0; (leaf = radix_next(&set->leaves, &i)); i++)
		host_free(host, leaf, LEAF_WORDS * sizeof(*leaf));
	radix_destroy(&set->leaves, host);
}

uint64_t page_set_next_run(const struct page_set *set, uint64_t *page)
{
	uint64_t index = *page >> LEAF_SHIFT, nr = 0;
	const uint64_t *leaf = radix_next(&set->leaves, &index);

	if (leaf && index != *page >> LEAF_SHIFT)
		*page = index << LEAF_SHIFT;
	while (leaf) {
		uint64_t at = *page + nr;

		if (at >> LEAF_SHIFT != index) {	/* beyond the leaf */
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
		n += popcount64(leaf[i]);
	return n;
}

static uint64_t word_of(const struct page_set *set, uint64_t page)
{
	const uint64_t *leaf = radix_get(&set->leaves, page >> LEAF_SHIFT);

	return leaf ? leaf[page % LEAF_PAGES / 64] : 0;
}

uint64_t page_set_mask(const struct page_set *set, uint64_t page)
{
	unsigned shift = page % 64;
	uint64_t mask = word_of(set, page) >> shift;

	return shift ? mask | word_of(set, page + 64) << (64 - shift) : mask;
}
