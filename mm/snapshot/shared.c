/* SPDX-License-Identifier: MIT */
/*
 * mm/snapshot/shared.c - freeze and restore shared memory: mappings whose pages are the only copy of their bytes.
 *
 * Several address spaces may map such a page, and none of them may get a copy of its own. So the bytes are copied when
 * the mapping is frozen, and copied back in place. A tracker tells which pages changed.
 */
#include "mm/fault/fault.h"
#include "mm/object/object.h"
#include "mm/snapshot/snapshot.h"
#include "mm/swap/swap.h"
#include "mm/track/hooks.h"
#include "vellum/dirty.h"

static void put_page(struct vellum_memory *m, struct folio *folio) RELEASES(&folio->lock)
{
	mutex_unlock(&folio->lock, &m->host);
	folio_put(m, folio);
}

/* Copy the page at @index of @from to the same place of @to. *@pinned: @to's page may be pinned. */
static int copy_page(struct vellum_mapping *to, struct vellum_mapping *from, pgoff_t index, bool *pinned)
{
	struct vellum_memory *m = to->memory;
	struct folio *src, *dst;
	int err = mapping_get_locked(from, index, &src);

	if (err)
		return err;
	mutex_unlock(&src->lock, &m->host);	/* no CPU runs: the bytes stay as they are */
	err = mapping_get_locked(to, index, &dst);
	if (!err) {
		copy_racy(frame_address(m, folio_pfn(m, dst)), frame_address(m, folio_pfn(m, src)), PAGE_SIZE);
		folio_bytes_changed(m, dst);
		folio_mark_dirty(dst);
		*pinned = folio_maybe_pinned(dst);
		put_page(m, dst);
	}
	folio_put(m, src);
	return err;
}

/* Copy all pages that exist. */
static int copy_pages(struct vellum_mapping *to, struct vellum_mapping *from)
{
	bool pinned;
	int err = 0;

	for (uint64_t i = 0; !err && !vellum_mapping_next(from, &i); i++)
		err = copy_page(to, from, i, &pinned);
	return err;
}

/* A new mapping with the pages of @from. Its size is @size, rounded up to whole pages, at least one. */
static int create_copy(struct vellum_mapping *from, uint64_t size, struct vellum_mapping **out)
{
	struct vellum_mapping *copy;
	int err = vellum_mapping_create(from->memory, NULL, NULL, max_u64(page_align_up(size), PAGE_SIZE) >> PAGE_SHIFT, 0,
					&copy);

	if (err)
		return err;
	err = copy_pages(copy, from);
	if (!err)
		*out = copy;
	else
		vellum_mapping_put(copy);
	return err;
}

/*
 * Record the pages that are pinned already: the pins' users may store to them at any time. The tracker does not have
 * them, since its first collection, when it was made, dropped what it found.
 */
static void record_pinned(struct frozen_mapping *frozen)
{
	struct vellum_memory *m = frozen->mapping->memory;
	struct folio *folio;

	for (pgoff_t i = 0; (folio = mapping_next(frozen->mapping, &i, ~0ull, false)); i++) {
		if (folio_maybe_pinned(folio))
			tracker_record(frozen->tracker, i);
		folio_put(m, folio);
	}
}

int freeze_mapping(struct frozen_mapping *frozen, uint64_t fault_ns, uint64_t scan_ns)
{
	struct vellum_mapping *mapping = frozen->mapping;
	int err;

	frozen->size = vellum_mapping_size(mapping);
	frozen->seals = vellum_mapping_seals(mapping);
	err = vellum_track_mapping(mapping, 0, max_u64(mapping_nr_pages(mapping), 1), VELLUM_TRACK_AUTO, &frozen->tracker);
	if (err)
		return err;
	tracker_watch_pages(frozen->tracker, true);
	/* From here on no fast pin of a page of a mapping succeeds, and record_pinned() sees those that did. */
	__atomic_fetch_add(&mapping->memory->nr_frozen_mappings, 1, __ATOMIC_SEQ_CST);
	record_pinned(frozen);
	if (fault_ns && scan_ns)
		err = vellum_tracker_costs(frozen->tracker, fault_ns, scan_ns);
	return err ? err : create_copy(mapping, frozen->size, &frozen->copy);
}

void forget_mapping(struct frozen_mapping *frozen)
{
	if (frozen->tracker)
		__atomic_fetch_sub(&frozen->mapping->memory->nr_frozen_mappings, 1, __ATOMIC_SEQ_CST);
	vellum_tracker_destroy(frozen->tracker);
	vellum_mapping_put(frozen->copy);
	vellum_mapping_put(frozen->mapping);
}

struct mapping_restore {
	struct frozen_mapping *frozen;
	uint64_t nr_copied;
	struct radix pinned;	/* pages that have to be restored again next time */
	int err;
};

static int restore_shared_page(struct mapping_restore *mr, pgoff_t index)
{
	const struct frozen_mapping *frozen = mr->frozen;
	struct vellum_mapping *mapping = frozen->mapping;
	const struct host *host = &mapping->memory->host;
	bool pinned = false;
	int err = 0;

	if (mapping_has(frozen->copy, index)) {
		err = copy_page(mapping, frozen->copy, index, &pinned);
		track_mapping_range_except(mapping, index, index, frozen->tracker);
		mr->nr_copied += !err;
	} else if (mapping_has(mapping, index)) {
		write_lock(&mapping->invalidate_lock, host);
		mapping_drop_pages(mapping, index, index, false);
		write_unlock(&mapping->invalidate_lock, host);
		mr->nr_copied++;
	}
	if (pinned && radix_set(&mr->pinned, index, mapping, host))
		err = -ENOMEM;
	return err;
}

static int restore_run(void *arg, uint64_t first, uint64_t nr)
{
	struct mapping_restore *mr = arg;
	uint64_t end = mapping_nr_pages(mr->frozen->mapping);

	if (first >= end)
		return 0;
	nr = min_u64(nr, end - first);
	for (uint64_t i = 0; i < nr && !mr->err; i++)
		mr->err = restore_shared_page(mr, first + i);
	return mr->err;
}

static int restore_size(const struct frozen_mapping *frozen)
{
	struct vellum_mapping *mapping = frozen->mapping;
	const struct host *host = &mapping->memory->host;
	int err;

	if (vellum_mapping_size(mapping) == frozen->size)
		return 0;
	write_lock(&mapping->invalidate_lock, host);
	err = mapping_resize(mapping, frozen->size);
	write_unlock(&mapping->invalidate_lock, host);
	return err;
}

int restore_mapping(struct frozen_mapping *frozen, uint64_t *nr_copied)
{
	struct vellum_mapping *mapping = frozen->mapping;
	const struct host *host = &mapping->memory->host;
	struct mapping_restore mr = { .frozen = frozen };
	int err = restore_size(frozen);

	tracker_watch_pages(frozen->tracker, false);	/* what is added now is as it was */
	if (!err && !tracker_is_idle(frozen->tracker))
		err = vellum_tracker_collect(frozen->tracker, 0, ~0ull, restore_run, &mr);
	tracker_watch_pages(frozen->tracker, true);
	for (uint64_t i = 0; radix_next(&mr.pinned, &i); i++)
		tracker_record(frozen->tracker, i);
	radix_destroy(&mr.pinned, host);
	if (vellum_mapping_seals(mapping) != frozen->seals) {
		write_lock(&mapping->i_mmap_lock, host);
		__atomic_store_n(&mapping->seals, frozen->seals, __ATOMIC_SEQ_CST);
		write_unlock(&mapping->i_mmap_lock, host);
	}
	*nr_copied += mr.nr_copied;
	return err;
}

int thaw_mapping(const struct frozen_mapping *frozen, struct vellum_mapping **out)
{
	int err = create_copy(frozen->copy, frozen->size, out);

	if (err)
		return err;
	__atomic_store_n(&(*out)->size, frozen->size, __ATOMIC_SEQ_CST);	/* no other thread has the mapping yet */
	__atomic_store_n(&(*out)->seals, frozen->seals, __ATOMIC_SEQ_CST);
	return 0;
}

/* Read a page as a load finds it: zeros where there is none. */
static int read_page(struct vellum_mapping *mapping, pgoff_t index, char *buf)
{
	struct folio *folio;
	int err;

	memset(buf, 0, PAGE_SIZE);
	if (!mapping_has(mapping, index))
		return 0;
	err = mapping_get_locked(mapping, index, &folio);
	if (err)
		return err;
	copy_racy(buf, frame_address(mapping->memory, folio_pfn(mapping->memory, folio)), PAGE_SIZE);
	put_page(mapping->memory, folio);
	return 0;
}

int verify_mapping(const struct frozen_mapping *frozen, char *buf, struct vellum_snapshot_difference *diff)
{
	struct vellum_mapping *now = frozen->mapping, *then = frozen->copy;
	uint64_t a = 0, b = 0;
	int err = 0;

	diff->what = VELLUM_SNAPSHOT_SHARED_SIZE;
	diff->address = 0;
	if (vellum_mapping_size(now) != frozen->size || vellum_mapping_seals(now) != frozen->seals)
		return 1;
	diff->what = VELLUM_SNAPSHOT_SHARED_BYTES;
	for (; !err; a++, b++) {
		bool any = !vellum_mapping_next(now, &a), other = !vellum_mapping_next(then, &b);

		if (!any && !other)
			break;
		diff->address = any && other ? min_u64(a, b) : any ? a : b;
		if (any != other || a != b)
			return 1;
		err = read_page(now, a, buf);
		if (!err)
			err = read_page(then, a, buf + PAGE_SIZE);
		/* What was stored beyond the end is lost if the page is swapped out. */
		if (!err && memcmp(buf, buf + PAGE_SIZE, min_u64(PAGE_SIZE, frozen->size - (a << PAGE_SHIFT))))
			return 1;
	}
	diff->what = VELLUM_SNAPSHOT_EQUAL;
	return err;
}
