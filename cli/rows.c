/* SPDX-License-Identifier: MIT */
/* cli/rows.c - which pages a process changed, and the report's rows, one per VMA. */
#include <stdlib.h>

#include "cli/track.h"

#define WORD_BITS	64

static void add_range(struct ranges *r, uint64_t first, uint64_t count)
{
	if (r->nr && r->at[r->nr - 1].first + r->at[r->nr - 1].count == first) {
		r->at[r->nr - 1].count += count;
		return;
	}
	r->at = grow(r->at, r->nr, &r->max, sizeof(*r->at));
	r->at[r->nr++] = (struct range){ first, count };
}

/* Set the bits @mask of the word that has the bit of @page. */
static void mark_word(struct mm_track *mt, uint64_t page, uint64_t mask)
{
	uint64_t *word = radix_get(&mt->dirty, page / WORD_BITS);

	if (!word) {
		word = calloc(1, sizeof(*word));
		if (!word || radix_set(&mt->dirty, page / WORD_BITS, word, cli_host())) {
			fail_no_memory("the report");
			exit(EXIT_VELLUM);
		}
	}
	*word |= mask;
}

void mark_dirty(struct mm_track *mt, uint64_t first, uint64_t end)
{
	for (uint64_t page = first; page < end;) {
		uint64_t bit = page % WORD_BITS, nr = WORD_BITS - bit < end - page ? WORD_BITS - bit : end - page;

		mark_word(mt, page, (nr < WORD_BITS ? (1ull << nr) - 1 : ~0ull) << bit);
		page += nr;
	}
}

void forget_dirty(struct mm_track *mt, uint64_t first, uint64_t end)
{
	uint64_t *word;

	for (uint64_t i = first / WORD_BITS;
	     (word = radix_next(&mt->dirty, &i)) && i <= (end - 1) / WORD_BITS; i++)
		for (unsigned bit = 0; bit < WORD_BITS; bit++)
			if (i * WORD_BITS + bit >= first && i * WORD_BITS + bit < end)
				*word &= ~(1ull << bit);
}

static void dirty_ranges(const struct mm_track *mt, uint64_t first, uint64_t end, struct ranges *out)
{
	const uint64_t *word;

	for (uint64_t i = first / WORD_BITS;
	     (word = radix_next(&mt->dirty, &i)) && i <= (end - 1) / WORD_BITS; i++)
		for (unsigned bit = 0; bit < WORD_BITS; bit++) {
			uint64_t page = i * WORD_BITS + bit;

			if ((*word >> bit & 1) && page >= first && page < end)
				add_range(out, page - first, 1);
		}
}

void clear_dirty(struct mm_track *mt)
{
	uint64_t *word;

	for (uint64_t i = 0; (word = radix_next(&mt->dirty, &i)); i++)
		free(word);
	radix_destroy(&mt->dirty, cli_host());
}

/* --- rows of the report --- */

static struct row row_of(const struct mm_track *mt, const struct vellum_vma_info *info)
{
	struct row row = { .pid = mt->gmm->pid, .start = info->start, .end = info->end,
			   .offset = info->mapping ? info->pgoff * PAGE : 0,
			   .write_faults = info->write_faults, .start_ns = mt->start_ns };

	row.prot[0] = info->prot & VELLUM_PROT_READ ? 'r' : '-';
	row.prot[1] = info->prot & VELLUM_PROT_WRITE ? 'w' : '-';
	row.prot[2] = info->prot & VELLUM_PROT_EXEC ? 'x' : '-';
	row.prot[3] = info->shared ? 's' : 'p';
	abi_mapping_name(mt->gmm, info, row.name);
	return row;
}

static void push_row(struct rows *rows, const struct row *row)
{
	rows->at = grow(rows->at, rows->nr, &rows->max, sizeof(*rows->at));
	rows->at[rows->nr++] = *row;
}

/* Without a report file, keep only the rows that the summary prints: a run may last for days. */
static void keep_row(struct track *track, const struct row *row)
{
	struct track_result *res = &track->result;
	struct row *least = NULL;

	if (keeps_records(track) || res->rows.nr < MAX_SUMMARY_ROWS) {
		push_row(&res->rows, row);
		return;
	}
	res->nr_hidden_rows++;
	for (size_t i = 0; i < res->rows.nr; i++)
		if (!least || res->rows.at[i].dirty_pages < least->dirty_pages)
			least = &res->rows.at[i];
	if (row->dirty_pages <= least->dirty_pages) {
		free(row->dirty.at);
		return;
	}
	free(least->dirty.at);
	*least = *row;
}

/* The VMA was unmapped: add its row to the result. */
static void finish_row(struct mm_track *mt, struct row row)
{
	row.end_ns = monotonic_ns() - mt->track->t0;
	dirty_ranges(mt, row.start / PAGE, row.end / PAGE, &row.dirty);
	for (size_t i = 0; i < row.dirty.nr; i++)
		row.dirty_pages += row.dirty.at[i].count;
	mt->dirty_pages += row.dirty_pages;
	mt->write_faults += row.write_faults;
	if (keeps_records(mt->track) || row.dirty_pages || row.write_faults)
		keep_row(mt->track, &row);
	else
		free(row.dirty.at);
}

void list_rows(const struct mm_track *mt, uint64_t start, uint64_t end, struct rows *rows)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	for (uint64_t at = start; vellum_vma_next(mt->gmm->mm, at, &info) == 0 && info.start < end;
	     at = info.end) {
		struct row row = row_of(mt, &info);

		push_row(rows, &row);
	}
}

void finish_rows(struct mm_track *mt, struct rows *rows, uint64_t start, uint64_t end)
{
	for (size_t i = 0; i < rows->nr; i++) {
		struct row row = rows->at[i];
		uint64_t cut = row.start < start ? start - row.start : 0;

		if (start == end || row.end <= start || row.start >= end)
			continue;
		row.start += cut;
		if (cut && (row.offset || row.name[0] == '/'))
			row.offset += cut;
		if (cut)
			row.write_faults = 0;	/* the part before @start keeps the count */
		if (row.end > end)
			row.end = end;
		finish_row(mt, row);
	}
	free(rows->at);
	*rows = (struct rows){ .nr = 0 };
}
