/* SPDX-License-Identifier: MIT */
/* lib/page_set.c - sets of page numbers; see page_set.h. */
#include "lib/page_set.h"

/* The bitmap of the chunk of @page, created if there is none. NULL: no memory. */
static uint64_t *get_chunk(struct page_set *set, uint64_t page, const struct host *host)
{
	uint64_t *bits = radix_get(&set->chunks, page >> CHUNK_SHIFT);

	if (bits)
		return bits;
	bits = host_alloc(host, CHUNK_WORDS * sizeof(*bits));
	if (bits && radix_set(&set->chunks, page >> CHUNK_SHIFT, bits, host)) {
		host_free(host, bits, CHUNK_WORDS * sizeof(*bits));
		return NULL;
	}
	return bits;
}

bool page_set_add(struct page_set *set, uint64_t page, const struct host *host)
{
	uint64_t *bits = get_chunk(set, page, host);

	if (!bits)
		return false;
	bits[page % CHUNK_PAGES / 64] |= 1ull << page % 64;
	return true;
}

bool page_set_add_mask(struct page_set *set, uint64_t page, uint64_t mask, const struct host *host)
{
	unsigned shift = page % 64;
	uint64_t low = mask << shift, high = shift ? mask >> (64 - shift) : 0;
	uint64_t *bits;

	if (low) {
		bits = get_chunk(set, page, host);
		if (!bits)
			return false;
		bits[page % CHUNK_PAGES / 64] |= low;
	}
	if (high) {
		bits = get_chunk(set, page + 64, host);
		if (!bits)
			return false;
		bits[(page + 64) % CHUNK_PAGES / 64] |= high;
	}
	return true;
}

void page_set_clear(struct page_set *set, const struct host *host)
{
	uint64_t *bits;

	for (uint64_t i = 0; (bits = radix_next(&set->chunks, &i)); i++)
		host_free(host, bits, CHUNK_WORDS * sizeof(*bits));
	radix_destroy(&set->chunks, host);
}

uint64_t page_set_next_run(const struct page_set *set, uint64_t *page)
{
	uint64_t index = *page >> CHUNK_SHIFT, nr = 0;
	const uint64_t *bits = radix_next(&set->chunks, &index);

	if (bits && index != *page >> CHUNK_SHIFT)
		*page = index << CHUNK_SHIFT;
	while (bits) {
		uint64_t at = *page + nr;

		if (at >> CHUNK_SHIFT != index) {	/* beyond the chunk */
			uint64_t want = at >> CHUNK_SHIFT;

			index = want;
			bits = radix_next(&set->chunks, &index);
			if (nr && (!bits || index != want))
				break;
			if (!nr)
				*page = index << CHUNK_SHIFT;
		} else if (page_set_chunk_has(bits, at)) {
			nr++;
		} else if (nr) {
			break;
		} else {
			++*page;
		}
	}
	return nr;
}

uint64_t page_set_chunk_count(const uint64_t *bits)
{
	uint64_t n = 0;

	for (unsigned i = 0; i < CHUNK_WORDS; i++)
		n += popcount64(bits[i]);
	return n;
}

static uint64_t word_at(const struct page_set *set, uint64_t page)
{
	const uint64_t *bits = radix_get(&set->chunks, page >> CHUNK_SHIFT);

	return bits ? bits[page % CHUNK_PAGES / 64] : 0;
}

uint64_t page_set_mask(const struct page_set *set, uint64_t page)
{
	unsigned shift = page % 64;
	uint64_t mask = word_at(set, page) >> shift;

	return shift ? mask | word_at(set, page + 64) << (64 - shift) : mask;
}
