/* SPDX-License-Identifier: MIT */
/*
 * lib/page_set.h - a sparse set of page numbers: a bitmap for each chunk of 512 pages. If the pages are those of
 * an address space, a chunk covers one last-level table. Not locked.
 */
#ifndef LIB_PAGE_SET_H
#define LIB_PAGE_SET_H

#include "lib/radix.h"

#define CHUNK_SHIFT	9
#define CHUNK_PAGES	(1u << CHUNK_SHIFT)
#define CHUNK_WORDS	(CHUNK_PAGES / 64)

struct page_set {
	struct radix chunks;	/* page >> CHUNK_SHIFT to the chunk's bitmap, uint64_t[CHUNK_WORDS] */
};

bool page_set_add(struct page_set *set, uint64_t page, const struct host *host);	/* false: no memory */
/* Pages @page to @page + 63, a bit each in @mask. False: no memory, and a part may be added. */
bool page_set_add_mask(struct page_set *set, uint64_t page, uint64_t mask, const struct host *host);
void page_set_clear(struct page_set *set, const struct host *host);
/* The next run of pages in the set from @*page on. Return: its length, 0 if there is none. */
uint64_t page_set_next_run(const struct page_set *set, uint64_t *page);
uint64_t page_set_chunk_count(const uint64_t *bits);	/* pages in the chunk with this bitmap */
/* The 64 pages from @page on, a bit each: it is in the set. */
uint64_t page_set_mask(const struct page_set *set, uint64_t page);

static inline bool page_set_chunk_has(const uint64_t *bits, uint64_t page)
{
	return bits[page % CHUNK_PAGES / 64] >> page % 64 & 1;
}

#endif
