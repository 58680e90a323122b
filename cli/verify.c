/* SPDX-License-Identifier: MIT */
/*
 * cli/verify.c - --verify: keeps a replica of all memory that only collections update, and compares it with memory at
 * the end of every process. A shared mapping has one replica, which the collections of all processes update.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/track.h"
#include "vellum/access.h"
#include "vellum/backing.h"
#include "vellum/gup.h"
#include "vellum/pagemap.h"

#define RETRIES		1000	/* collections before a difference counts; see equal_after_collecting() */

static struct object *find_object(struct track *track, struct vellum_mapping *mapping)
{
	struct object *o = track->objects;

	while (o && o->mapping != mapping)
		o = o->next;
	if (o)
		return o;
	o = calloc(1, sizeof(*o));
	if (!o) {
		fail_no_memory("the replica of --verify");
		exit(EXIT_VELLUM);
	}
	vellum_mapping_get(mapping);
	o->mapping = mapping;
	o->next = track->objects;
	track->objects = o;
	return o;
}

static bool is_shared(const struct vellum_vma_info *info)
{
	return info->shared && info->mapping;
}

/* The replica that has a page of a VMA. @index: the page's number there. */
static struct replica *replica_of(struct mm_track *mt, const struct vellum_vma_info *info, uint64_t page,
				  uint64_t *index)
{
	*index = page;
	if (!is_shared(info))
		return &mt->replica;
	*index = info->pgoff + page - info->start / PAGE;
	return &find_object(mt->track, info->mapping)->replica;
}

/*
 * A page of a private file VMA may still be the file's page. Then a store through another mapping of the file changes
 * it, and the tracker of this process does not report that. So the replica marks pages that equalled the file's.
 */
#define FOLLOWS (1ull << 40)	/* this bit and the page number: the mark's index; its bytes are not used */

static void store_private(struct mm_track *mt, const struct vellum_vma_info *info, uint64_t page,
			  const char *bytes)
{
	char file[PAGE];

	replica_store(&mt->replica, page, bytes);
	replica_drop(&mt->replica, page | FOLLOWS);
	if (!info->mapping)
		return;
	abi_absent_page(mt->gmm, info, page * PAGE, file);
	if (memcmp(file, bytes, PAGE) == 0)
		replica_store(&mt->replica, page | FOLLOWS, bytes);
}

/* Like vellum_peek(), but swaps in a page that is swapped out. */
static int read_page(struct vellum_mm *mm, uint64_t addr, void *buf)
{
	uint64_t word = 0, pfn, got;
	int found = vellum_peek(mm, addr, buf);

	if (found == 0)
		vellum_pagemap_read(mm, addr, 1, 0, &word);
	if (!(word & VELLUM_PM_SWAP) || vellum_get_pages(mm, addr, 1, VELLUM_GUP_FORCE, &pfn, &got))
		return found;
	memcpy(buf, vellum_frame_host(vellum_mm_memory(mm), pfn), PAGE);
	vellum_put_pages(vellum_mm_memory(mm), &pfn, 1);
	return 1;
}

/* --- pages that may hold data: a VMA may have far more pages --- */

struct span {			/* position of a walk over a VMA's pages, ascending */
	struct mm_track *mt;
	const struct vellum_vma_info *info;
	uint64_t end;
	uint64_t entry;		/* the next page with a page-table entry */
	uint64_t kept;		/* the next page in the replica */
	uint64_t data, data_end;	/* the next pages that the shared mapping has data for */
};

static int note_entry(void *arg, const struct vellum_entry *entry)
{
	uint64_t *page = arg;

	if (entry->start / PAGE > *page)
		*page = entry->start / PAGE;
	return 1;
}

static uint64_t next_entry(const struct span *s, uint64_t from)
{
	return vellum_walk_entries(s->mt->gmm->mm, from * PAGE, s->end * PAGE, note_entry, &from) == 1 ? from : s->end;
}

static uint64_t next_kept(const struct span *s, uint64_t from)
{
	uint64_t index;
	const struct replica *r = replica_of(s->mt, s->info, from, &index);
	uint64_t found = index;

	return replica_next(r, &found) && found - index < s->end - from ? from + found - index : s->end;
}

static void next_data(struct span *s, uint64_t from)
{
	uint64_t start = s->info->pgoff + from - s->info->start / PAGE, first = start, end;

	s->data = s->data_end = s->end;
	if (!is_shared(s->info) || !abi_next_data(s->mt->gmm, s->info, &first, &end) || first - start >= s->end - from)
		return;
	s->data = from + first - start;
	s->data_end = end - first < s->end - s->data ? s->data + end - first : s->end;
}

static struct span span_of(struct mm_track *mt, const struct vellum_vma_info *info, uint64_t from, uint64_t end)
{
	struct span s = { .mt = mt, .info = info, .end = end };

	s.entry = next_entry(&s, from);
	s.kept = next_kept(&s, from);
	next_data(&s, from);
	return s;
}

/* The first such page from @from on; s->end: none. */
static uint64_t next_page(struct span *s, uint64_t from)
{
	uint64_t page;

	if (from >= s->end)
		return s->end;
	if (s->entry < from)
		s->entry = next_entry(s, from);
	if (s->kept < from)
		s->kept = next_kept(s, from);
	if (s->data_end <= from)
		next_data(s, from);
	page = s->data > from ? s->data : from;
	page = s->entry < page ? s->entry : page;
	return s->kept < page ? s->kept : page;
}

static void update_page(struct mm_track *mt, const struct vellum_vma_info *info, uint64_t page)
{
	char bytes[PAGE];
	uint64_t index;
	struct replica *r = replica_of(mt, info, page, &index);
	int found = read_page(mt->gmm->mm, page * PAGE, bytes);

	if (found == 1 && !is_shared(info)) {
		store_private(mt, info, page, bytes);
	} else if (found == 1) {
		replica_store(r, index, bytes);
	} else if (is_shared(info)) {
		abi_absent_page(mt->gmm, info, page * PAGE, bytes);
		replica_store(r, index, bytes);
	} else {
		replica_drop(r, index);		/* the page has its initial contents again */
	}
}

/*
 * Free the replicas of mappings that no VMA maps: no collection updates them, and a reference to a file's mapping keeps
 * the file's memory allocated.
 */
static void forget_unmapped(struct track *track)
{
	struct vellum_mapping_info info = { .size = sizeof(info) };

	for (struct object **at = &track->objects, *o; (o = *at);) {
		vellum_mapping_info(o->mapping, &info);
		if (info.nr_mapped) {
			at = &o->next;
			continue;
		}
		*at = o->next;
		replica_clear(&o->replica);
		vellum_mapping_put(o->mapping);
		free(o);
	}
}

/* Drop pages [first, end) from a replica of private memory. */
static void drop_pages(struct replica *r, uint64_t first, uint64_t end)
{
	for (uint64_t page = first; replica_next(r, &page) && page < end; page++)
		replica_drop(r, page);
}

void update_replica(struct mm_track *mt, uint64_t first, uint64_t end)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	forget_unmapped(mt->track);
	for (uint64_t at = first, to; at < end; at = to) {
		bool mapped = vellum_vma_next(mt->gmm->mm, at * PAGE, &info) == 0;
		uint64_t start = mapped ? info.start / PAGE : end;
		struct span s;

		to = start < end ? start : end;
		if (to > at)
			drop_pages(&mt->replica, at, to);
		if (to == end || to > at)
			continue;
		to = info.end / PAGE < end ? info.end / PAGE : end;
		if (is_shared(&info))
			drop_pages(&mt->replica, at, to);	/* of a private VMA that was here before */
		s = span_of(mt, &info, at, to);
		for (uint64_t page = next_page(&s, at); page < to; page = next_page(&s, page + 1))
			update_page(mt, &info, page);
	}
}

void replica_of_child(struct mm_track *child, const struct mm_track *parent)
{
	struct vellum_vma_info info = { .size = sizeof(info) };
	uint64_t at = 0;

	replica_clone(&child->replica, &parent->replica);
	for (; vellum_vma_next(child->gmm->mm, at * PAGE, &info) == 0; at = info.end / PAGE) {
		drop_pages(&child->replica, at, info.start / PAGE);
		if (info.wipeonfork)
			drop_pages(&child->replica, info.start / PAGE, info.end / PAGE);
	}
	drop_pages(&child->replica, at, ALL_PAGES);
}

/* --- shared files that are newly mapped --- */

static void add_part(struct ranges *r, const struct vellum_vma_info *info, uint64_t from, uint64_t to)
{
	if (from >= to)
		return;
	r->at = grow(r->at, r->nr, &r->max, sizeof(*r->at));
	r->at[r->nr++] = (struct range){ info->pgoff + (from - info->start) / PAGE, (to - from) / PAGE };
}

/* List the parts of @mapping that VMAs other than [start, end) of @mt map shared: collections report stores there. */
static void list_other_shared(struct mm_track *mt, const struct vellum_mapping *mapping, uint64_t start,
			      uint64_t end, struct ranges *out)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	for (struct mm_track *o = mt->track->mms; o; o = o->next)
		for (uint64_t at = 0; vellum_vma_next(o->gmm->mm, at, &info) == 0; at = info.end) {
			if (info.mapping != mapping || !is_shared(&info))
				continue;
			if (o != mt) {
				add_part(out, &info, info.start, info.end);
				continue;
			}
			/* The new range may have been merged with its neighbours. */
			add_part(out, &info, info.start, info.end < start ? info.end : start);
			add_part(out, &info, info.start > end ? info.start : end, info.end);
		}
}

static bool in_ranges(const struct ranges *r, uint64_t index)
{
	for (size_t i = 0; i < r->nr; i++)
		if (index >= r->at[i].first && index - r->at[i].first < r->at[i].count)
			return true;
	return false;
}

/*
 * Copy a newly mapped file into the replica: else page_equal() would compare a store that no collection reported with
 * itself. Existing copies of pages that no other VMA maps shared are out of date. lock held.
 */
static void snapshot(struct mm_track *mt, const struct vellum_vma_info *info, uint64_t start, uint64_t end)
{
	struct replica *r = &find_object(mt->track, info->mapping)->replica;
	struct span s = span_of(mt, info, start / PAGE, end / PAGE);
	struct ranges covered = { .nr = 0 };
	char bytes[PAGE];

	list_other_shared(mt, info->mapping, start, end, &covered);
	for (uint64_t page = next_page(&s, start / PAGE); page < s.end; page = next_page(&s, page + 1)) {
		uint64_t index = info->pgoff + page - info->start / PAGE;

		if (replica_get(r, index) && in_ranges(&covered, index))
			continue;
		abi_absent_page(mt->gmm, info, page * PAGE, bytes);
		replica_store(r, index, bytes);
	}
	free(covered.at);
}

/*
 * Copy the private pages that MAP_POPULATE or MAP_LOCKED made of the file's. Nothing was stored to them, so no collection
 * reports them. But a later store to the file does not change them.
 */
static void copy_populated(struct mm_track *mt, const struct vellum_vma_info *info, uint64_t start, uint64_t end)
{
	struct span s = span_of(mt, info, start / PAGE, end / PAGE);
	char bytes[PAGE];
	uint64_t word;

	for (uint64_t page = s.entry; page < s.end; page = next_entry(&s, page + 1))
		if (!vellum_pagemap_read(mt->gmm->mm, page * PAGE, 1, 0, &word) &&
		    (word & (VELLUM_PM_PRESENT | VELLUM_PM_FILE)) == VELLUM_PM_PRESENT &&
		    read_page(mt->gmm->mm, page * PAGE, bytes) == 1)
			replica_store(&mt->replica, page, bytes);
}

void verify_mapped(struct mm_track *mt, uint64_t start, uint64_t end)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	for (uint64_t at = start; at < end && vellum_vma_next(mt->gmm->mm, at, &info) == 0 && info.start < end;
	     at = info.end) {
		uint64_t first = info.start > start ? info.start : start, last = info.end < end ? info.end : end;

		if (info.mapping && abi_is_file(mt->gmm, &info))
			(is_shared(&info) ? snapshot : copy_populated)(mt, &info, first, last);
	}
}

void forget_objects(struct track *track)
{
	while (track->objects) {
		struct object *o = track->objects;

		track->objects = o->next;
		replica_clear(&o->replica);
		vellum_mapping_put(o->mapping);
		free(o);
	}
}

/* --- comparing --- */

/* Compare memory and replica of one page. */
static bool page_equal(struct mm_track *mt, const struct vellum_vma_info *info, uint64_t page)
{
	char actual[PAGE], initial[PAGE];
	uint64_t index;
	const struct replica *r = replica_of(mt, info, page, &index);
	const void *expected = replica_get(r, index);
	int found = read_page(mt->gmm->mm, page * PAGE, actual);

	if (found != 1 && !expected && !is_shared(info))
		return true;		/* never accessed */
	if (found != 1)
		abi_absent_page(mt->gmm, info, page * PAGE, actual);
	if (!expected && is_shared(info))	/* snapshot() found no data there: zeros */
		expected = memset(initial, 0, PAGE);
	else if (!expected)
		abi_absent_page(mt->gmm, info, page * PAGE, initial), expected = initial;
	if (memcmp(actual, expected, PAGE) == 0)
		return true;
	if (is_shared(info) || !info->mapping || !replica_get(r, index | FOLLOWS))
		return false;
	abi_absent_page(mt->gmm, info, page * PAGE, initial);
	return memcmp(actual, initial, PAGE) == 0;
}

/* Another process may be storing to a mapping now: a difference counts only if it remains after collections. */
static bool equal_after_collecting(struct mm_track *mt, const struct vellum_vma_info *info, uint64_t page)
{
	for (int i = 0; info->mapping && i < RETRIES; i++) {
		collect_everything(mt->track);
		if (page_equal(mt, info, page))
			return true;
	}
	return false;
}

/* Report a page that differs. False: enough pages were reported. */
static bool report_difference(struct mm_track *mt, const struct vellum_vma_info *info, uint64_t page)
{
	char name[ABI_MAX_NAME];

	if (mt->track->result.nr_differences++ > 10)
		return false;
	abi_mapping_name(mt->gmm, info, name);
	fail("--verify: process %d: the page at 0x%llx (%s, page %llu) differs from the replica: a store was missed",
	     mt->gmm->pid,
	     (unsigned long long)(page * PAGE), name[0] ? name : "anonymous",
	     (unsigned long long)(page - info->start / PAGE));
	return true;
}

void verify_mm(struct mm_track *mt)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	for (uint64_t at = 0; vellum_vma_next(mt->gmm->mm, at, &info) == 0; at = info.end) {
		struct span s;

		if (info.device)
			continue;
		s = span_of(mt, &info, info.start / PAGE, info.end / PAGE);
		for (uint64_t page = next_page(&s, info.start / PAGE); page < s.end; page = next_page(&s, page + 1))
			if (!page_equal(mt, &info, page) && !equal_after_collecting(mt, &info, page) &&
			    !report_difference(mt, &info, page))
				return;
	}
}
