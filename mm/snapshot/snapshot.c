/* SPDX-License-Identifier: MIT */
/* mm/snapshot/snapshot.c - snapshots for the embedder: create, restore, branch, destroy, describe. */
#include "mm/snapshot/snapshot.h"
#include "lib/sized.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/pgtable.h"

/* --- create and destroy --- */

/* Shared memory is frozen. Other mappings are files, whose bytes are the host's, or device memory. */
static bool is_frozen_kind(const struct vellum_mapping *mapping)
{
	return mapping && mapping_is_shmem(mapping);
}

/* By address: mappings are aligned at least so. */
static uint64_t radix_index(const struct vellum_mapping *mapping)
{
	return (uintptr_t)mapping / sizeof(void *);
}

int snapshot_index(const struct vellum_snapshot *s, const struct vellum_mapping *mapping)
{
	return (int)((uintptr_t)radix_get(&s->by_mapping, radix_index(mapping)) >> 1) - 1;
}

/* Values of a radix tree are pointers: 2 * (index + 1). */
static int add_mapping(struct vellum_snapshot *s, struct vellum_mapping *mapping)
{
	uintptr_t value = 2 * ((uintptr_t)s->nr_mappings + 1);

	if (!is_frozen_kind(mapping) || snapshot_index(s, mapping) >= 0)
		return 0;
	if (s->nr_mappings == s->max_mappings)
		return -E2BIG;
	if (radix_set(&s->by_mapping, radix_index(mapping), (void *)value, &s->memory->host))
		return -ENOMEM;
	vellum_mapping_get(mapping);
	s->mappings[s->nr_mappings++].mapping = mapping;
	return 0;
}

/* VMAs of the address spaces that have a mapping. */
static uint64_t count_mapped(const struct vellum_snapshot_args *args)
{
	uint64_t nr = 0;

	for (unsigned i = 0; i < args->nr_mms; i++) {
		struct vellum_mm *mm = args->mms[i];

		read_lock(&mm->mmap_lock, mm_host(mm));
		for (const struct vma *vma = vma_first(mm); vma; vma = vma_next(vma))
			nr += is_frozen_kind(vma->mapping);
		read_unlock(&mm->mmap_lock, mm_host(mm));
	}
	return nr;
}

static int find_mappings(struct vellum_snapshot *s, const struct vellum_snapshot_args *args)
{
	int err = 0;

	for (unsigned i = 0; i < args->nr_mms; i++) {
		struct vellum_mm *mm = args->mms[i];

		read_lock(&mm->mmap_lock, mm_host(mm));
		for (const struct vma *vma = vma_first(mm); vma && !err; vma = vma_next(vma))
			err = add_mapping(s, vma->mapping);
		read_unlock(&mm->mmap_lock, mm_host(mm));
	}
	for (uint64_t i = 0; i < args->nr_mappings && !err; i++)
		err = add_mapping(s, args->mappings[i]);
	return err;
}

static int check_args(const struct vellum_snapshot_args *args)
{
	const struct vellum_memory *m;

	if (!args->nr_mms || args->nr_mms > MAX_FROZEN_MMS || args->nr_mappings > MAX_FROZEN_MAPPINGS || !args->mms ||
	    (args->nr_mappings && !args->mappings))
		return -EINVAL;
	if (!args->fault_ns != !args->scan_ns || (args->flags & ~VELLUM_SNAPSHOT_NOTES_RESTORED))
		return -EINVAL;
	for (unsigned i = 0; i < args->nr_mms; i++) {
		if (!args->mms[i] || args->mms[i]->is_frozen)
			return -EINVAL;
		for (unsigned j = 0; j < i; j++)
			if (args->mms[j] == args->mms[i])
				return -EINVAL;
	}
	m = args->mms[0]->memory;
	for (unsigned i = 0; i < args->nr_mms; i++)
		if (args->mms[i]->memory != m)
			return -EINVAL;
	for (uint64_t i = 0; i < args->nr_mappings; i++)
		if (!is_frozen_kind(args->mappings[i]) || args->mappings[i]->memory != m)
			return -EINVAL;
	return 0;
}

static struct vellum_snapshot *alloc_snapshot(const struct vellum_snapshot_args *args)
{
	struct vellum_memory *m = args->mms[0]->memory;
	struct vellum_snapshot *s = host_alloc(&m->host, sizeof(*s));

	if (!s)
		return NULL;
	s->memory = m;
	s->max_mappings = (unsigned)min_u64(count_mapped(args) + args->nr_mappings, MAX_FROZEN_MAPPINGS);
	s->notes_restored = args->flags & VELLUM_SNAPSHOT_NOTES_RESTORED;
	s->max_kept = args->max_kept_pages ? args->max_kept_pages : m->nr_frames / 8;
	s->mms = host_alloc(&m->host, args->nr_mms * sizeof(*s->mms));
	s->mappings = s->max_mappings ? host_alloc(&m->host, s->max_mappings * sizeof(*s->mappings)) : NULL;
	if (s->mms && (s->mappings || !s->max_mappings)) {
		s->nr_mms = args->nr_mms;
		return s;
	}
	if (s->mms)
		host_free(&m->host, s->mms, args->nr_mms * sizeof(*s->mms));
	if (s->mappings)
		host_free(&m->host, s->mappings, s->max_mappings * sizeof(*s->mappings));
	host_free(&m->host, s, sizeof(*s));
	return NULL;
}

static void forget_mm(struct frozen_mm *frozen)
{
	struct vellum_mm *mm = frozen->mm;

	if (!mm)
		return;
	write_lock(&mm->mmap_lock, mm_host(mm));
	if (mm->base == frozen)
		__atomic_store_n(&mm->base, NULL, __ATOMIC_RELAXED);
	write_unlock(&mm->mmap_lock, mm_host(mm));
	page_set_clear(&frozen->restored, mm_host(mm));
	vellum_mm_put(frozen->copy);
	vellum_mm_put(mm);
}

EXPORT void vellum_snapshot_destroy(struct vellum_snapshot *snapshot)
{
	struct vellum_memory *m;

	if (!snapshot)
		return;
	m = snapshot->memory;
	for (unsigned i = 0; i < snapshot->nr_mms; i++)
		forget_mm(&snapshot->mms[i]);
	for (unsigned i = 0; i < snapshot->nr_mappings; i++)
		forget_mapping(&snapshot->mappings[i]);
	radix_destroy(&snapshot->by_mapping, &m->host);
	host_free(&m->host, snapshot->mms, snapshot->nr_mms * sizeof(*snapshot->mms));
	if (snapshot->mappings)
		host_free(&m->host, snapshot->mappings, snapshot->max_mappings * sizeof(*snapshot->mappings));
	host_free(&m->host, snapshot, sizeof(*snapshot));
}

static int create_once(const struct vellum_snapshot_args *args, struct vellum_snapshot **out)
{
	struct vellum_snapshot *s = alloc_snapshot(args);
	int err;

	if (!s)
		return -ENOMEM;
	err = find_mappings(s, args);
	for (unsigned i = 0; i < s->nr_mappings && !err; i++)
		err = freeze_mapping(&s->mappings[i], args->fault_ns, args->scan_ns);
	for (unsigned i = 0; i < s->nr_mms && !err; i++) {
		vellum_mm_get(args->mms[i]);
		s->mms[i].mm = args->mms[i];
		err = freeze_mm(&s->mms[i]);
	}
	if (err)
		vellum_snapshot_destroy(s);
	else
		*out = s;
	return err;
}

EXPORT int vellum_snapshot_create(const struct vellum_snapshot_args *args, struct vellum_snapshot **out)
{
	struct vellum_snapshot_args known;
	unsigned tries = 0;
	int err;

	if (!args || !out)
		return -EINVAL;
	err = FROM_CALLER(&known, args);
	if (!err)
		err = check_args(&known);
	if (err)
		return err;
	do {
		err = create_once(&known, out);
	} while (err == -ENOMEM && reclaim_for_retry(known.mms[0]->memory, &tries));
	return err;
}

/* --- restore --- */

/* The frozen bytes of a page that is pinned are not in RAM: bring them in and go on. */
static int restore_entries(struct restore *rs)
{
	int err;

	while ((err = restore_tables(rs)) == -EAGAIN) {
		err = bring_in(rs, rs->missing);
		if (err && err != -EAGAIN)
			return err;
	}
	return err;
}

static int restore_locked(struct restore *rs, uint64_t max_kept) HOLDS(&rs->mm->mmap_lock)
{
	struct vellum_mm *mm = rs->mm, *copy = rs->copy;
	int err;

	rs->all = mm->base != rs->frozen;
	err = rs->all || mm->vmas_changed ? restore_vmas(rs->mm, copy) : 0;
	if (err)
		return err;
	copy_limits(mm, copy);
	notify_start(mm, VELLUM_NOTIFY_CLEAR, 0, TASK_SIZE);
	flush_cache(mm, 0, TASK_SIZE);
	tlb_gather_begin(&rs->tlb, mm);
	__atomic_store_n(&mm->base, rs->frozen, __ATOMIC_RELAXED);
	err = restore_entries(rs);
	if (!err && rs->frozen->nr_kept > max_kept)
		drop_kept(rs, max_kept);
	tlb_gather_finish(&rs->tlb);
	notify_finish(mm, VELLUM_NOTIFY_CLEAR, 0, TASK_SIZE);
	if (!err)
		mm->vmas_changed = false;
	else if (rs->all)
		__atomic_store_n(&mm->base, NULL, __ATOMIC_RELAXED);
	return err;
}

static int restore_mm(struct vellum_snapshot *s, struct frozen_mm *frozen)
{
	struct restore rs = { .frozen = frozen, .mm = frozen->mm, .copy = frozen->copy, .notes = s->notes_restored };
	const struct host *host = &s->memory->host;
	int err;

	write_lock(&rs.mm->mmap_lock, host);
	write_lock(&rs.copy->mmap_lock, host);
	err = restore_locked(&rs, s->max_kept);
	write_unlock(&rs.copy->mmap_lock, host);
	write_unlock(&rs.mm->mmap_lock, host);
	s->copied += rs.copied;
	s->dropped += rs.dropped;
	return err;
}

/* Mappings come first: if one shrinks, private copies of its pages are removed, which the address spaces then get back. */
static int restore_once(struct vellum_snapshot *s)
{
	int err = 0;

	s->copied = s->dropped = s->copied_shared = 0;
	for (unsigned i = 0; i < s->nr_mappings && !err; i++) {
		const uint64_t before = s->copied_shared;

		err = restore_mapping(&s->mappings[i], &s->copied_shared);
		s->mappings[i].restored |= s->copied_shared > before;
	}
	for (unsigned i = 0; i < s->nr_mms && !err; i++)
		err = restore_mm(s, &s->mms[i]);
	s->nr_restores += !err;
	return err;
}

/* A restore that is tried again adds to the notes of the first try. */
static void clear_notes(struct vellum_snapshot *s)
{
	for (unsigned i = 0; i < s->nr_mms; i++) {
		page_set_clear(&s->mms[i].restored, &s->memory->host);
		s->mms[i].all_restored = false;
	}
	for (unsigned i = 0; i < s->nr_mappings; i++)
		s->mappings[i].restored = false;
}

EXPORT int vellum_snapshot_restore(struct vellum_snapshot *snapshot)
{
	unsigned tries = 0;
	int err;

	mutex_lock(&snapshot->lock, &snapshot->memory->host);
	if (snapshot->notes_restored)
		clear_notes(snapshot);
	do {
		err = restore_once(snapshot);
	} while (err == -ENOMEM && reclaim_for_retry(snapshot->memory, &tries));
	mutex_unlock(&snapshot->lock, &snapshot->memory->host);
	return err;
}

/* --- branch --- */

static int branch_once(const struct vellum_snapshot *s, struct vellum_mm **mms, struct vellum_mapping **mappings)
{
	unsigned nr_mms = 0, nr_mappings = 0;
	int err = 0;

	while (nr_mappings < s->nr_mappings && !err) {
		err = thaw_mapping(&s->mappings[nr_mappings], &mappings[nr_mappings]);
		nr_mappings += !err;
	}
	while (nr_mms < s->nr_mms && !err) {
		err = thaw_mm(s, s->mms[nr_mms].copy, mappings, &mms[nr_mms]);
		nr_mms += !err;
	}
	if (!err)
		return 0;
	while (nr_mms)
		vellum_mm_put(mms[--nr_mms]);
	while (nr_mappings)
		vellum_mapping_put(mappings[--nr_mappings]);
	return err;
}

EXPORT int vellum_snapshot_branch(struct vellum_snapshot *snapshot, struct vellum_mm **mms,
				  struct vellum_mapping **mappings)
{
	const struct host *host = &snapshot->memory->host;
	uint64_t size = snapshot->nr_mappings * sizeof(struct vellum_mapping *);
	struct vellum_mapping **made = mappings;
	unsigned tries = 0;
	int err;

	if (!mms)
		return -EINVAL;
	if (!mappings && size)
		made = host_alloc(host, size);
	if (!made && size)
		return -ENOMEM;
	mutex_lock(&snapshot->lock, host);
	do {
		err = branch_once(snapshot, mms, made);
	} while (err == -ENOMEM && reclaim_for_retry(snapshot->memory, &tries));
	mutex_unlock(&snapshot->lock, host);
	if (made != mappings) {
		for (unsigned i = 0; !err && i < snapshot->nr_mappings; i++)
			vellum_mapping_put(made[i]);
		host_free(host, made, size);
	}
	return err;
}

/* --- describe --- */

EXPORT struct vellum_mapping *vellum_snapshot_mapping(const struct vellum_snapshot *snapshot, uint64_t index)
{
	return index < snapshot->nr_mappings ? snapshot->mappings[index].mapping : NULL;
}

EXPORT int vellum_snapshot_info(struct vellum_snapshot *snapshot, struct vellum_snapshot_info *info)
{
	const struct host *host = &snapshot->memory->host;
	struct vellum_snapshot_info known = { .nr_mms = snapshot->nr_mms, .nr_mappings = snapshot->nr_mappings };
	struct vellum_mapping_info shared = { .size = sizeof(shared) };

	mutex_lock(&snapshot->lock, host);
	for (unsigned i = 0; i < snapshot->nr_mms; i++) {
		const struct frozen_mm *frozen = &snapshot->mms[i];

		known.frozen_pages += vellum_mm_rss(frozen->copy) + vellum_mm_swapped(frozen->copy);
		known.kept_pages += frozen->nr_kept;
	}
	for (unsigned i = 0; i < snapshot->nr_mappings; i++) {
		vellum_mapping_info(snapshot->mappings[i].copy, &shared);
		known.shared_pages += shared.nr_cached;
	}
	known.nr_restores = snapshot->nr_restores;
	known.copied_pages = snapshot->copied;
	known.dropped_pages = snapshot->dropped;
	known.copied_shared_pages = snapshot->copied_shared;
	mutex_unlock(&snapshot->lock, host);
	return info ? TO_CALLER(info, &known) : -EINVAL;
}
