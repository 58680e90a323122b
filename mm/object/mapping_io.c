/* SPDX-License-Identifier: MIT */
/*
 * mm/object/mapping_io.c - read and write a mapping's bytes for the embedder; report its size, pages and VMAs.
 */
#include "lib/sized.h"
#include "mm/fault/fault.h"
#include "mm/object/object.h"
#include "mm/swap/swap.h"
#include "mm/track/hooks.h"
#include "mm/vma.h"

/* The part of [offset, offset + len) that lies in the first page. */
static uint64_t part_of_page(uint64_t offset, uint64_t len)
{
	return min_u64(len, PAGE_SIZE - (offset & ~PAGE_MASK));
}

static char *byte_of(const struct vellum_memory *m, const struct folio *folio, uint64_t offset)
{
	return (char *)frame_address(m, folio_pfn(m, folio)) + (offset & ~PAGE_MASK);
}

static bool range_valid(const struct vellum_mapping *mapping, uint64_t offset, uint64_t len)
{
	uint64_t size = vellum_mapping_size(mapping);

	return !(mapping->flags & VELLUM_MAPPING_PFN) && offset <= size && len <= size - offset;
}

int mapping_get_locked(struct vellum_mapping *mapping, pgoff_t index, struct folio **out)
	NO_LOCK_ANALYSIS	/* the result of the loop's last turn counts */
{
	struct vellum_vmf vmf = { .size = sizeof(vmf), .pgoff = index };
	unsigned tries = 0;
	enum vm_fault result;

	do {
		result = mapping_get_folio(mapping, &vmf, true, out);
	} while (result == VM_FAULT_AGAIN || result == VM_FAULT_NOPAGE ||
		 (result == VM_FAULT_OOM && reclaim_for_retry(mapping->memory, &tries)));
	return vm_fault_errno(result, -EIO);
}

static void put_and_unlock(struct vellum_memory *m, struct folio *folio) RELEASES(&folio->lock)
{
	mutex_unlock(&folio->lock, &m->host);
	folio_put(m, folio);
}

static int read_page(struct vellum_mapping *mapping, uint64_t offset, void *buf, uint64_t n)
{
	struct vellum_memory *m = mapping->memory;
	struct folio *folio = mapping_find(mapping, offset >> PAGE_SHIFT);
	int err;

	if (!folio && !(mapping->ops && mapping->ops->fault) && !mapping_has(mapping, offset >> PAGE_SHIFT)) {
		memset(buf, 0, n);
		return 0;
	}
	/* Copy without the folio lock: a hook that is called with it held may be waiting for this caller. */
	if (folio && folio_is_uptodate(folio)) {
		copy_racy(buf, byte_of(m, folio, offset), n);
		folio_put(m, folio);
		return 0;
	}
	if (folio)
		folio_put(m, folio);	/* being filled: wait for its lock */
	err = mapping_get_locked(mapping, offset >> PAGE_SHIFT, &folio);
	if (err)
		return err;
	copy_racy(buf, byte_of(m, folio, offset), n);
	put_and_unlock(m, folio);
	return 0;
}

EXPORT int vellum_mapping_read(struct vellum_mapping *mapping, uint64_t offset, void *buf,
			       uint64_t len)
{
	int err = 0;

	if (!range_valid(mapping, offset, len))
		return -EINVAL;
	for (uint64_t done = 0, n; done < len && !err; done += n) {
		n = part_of_page(offset + done, len - done);
		err = read_page(mapping, offset + done, (char *)buf + done, n);
	}
	return err;
}

static int write_page(struct vellum_mapping *mapping, uint64_t offset, const void *buf, uint64_t n)
{
	struct vellum_memory *m = mapping->memory;
	pgoff_t index = offset >> PAGE_SHIFT;
	struct folio *folio;
	int err = mapping_get_locked(mapping, index, &folio);

	if (err)
		return err;
	err = folio_mkwrite(mapping, folio);
	if (!err) {
		copy_racy(byte_of(m, folio, offset), buf, n);
		folio_bytes_changed(m, folio);
		folio_mark_dirty(folio);
		track_mapping_range(mapping, index, index);
	}
	put_and_unlock(m, folio);
	return err;
}

EXPORT int vellum_mapping_write(struct vellum_mapping *mapping, uint64_t offset, const void *buf,
				uint64_t len)
{
	int err = 0;

	if (!range_valid(mapping, offset, len))
		return -EINVAL;
	if (vellum_mapping_seals(mapping) & (VELLUM_SEAL_WRITE | VELLUM_SEAL_FUTURE_WRITE))
		return -EPERM;
	for (uint64_t done = 0, n; done < len && !err; done += n) {
		n = part_of_page(offset + done, len - done);
		err = write_page(mapping, offset + done, (const char *)buf + done, n);
	}
	return err;
}

EXPORT void vellum_mapping_update(struct vellum_mapping *mapping, uint64_t offset, const void *buf,
				  uint64_t len)
{
	static const char zeros[PAGE_SIZE];
	struct vellum_memory *m = mapping->memory;
	uint64_t size = vellum_mapping_size(mapping), end;
	struct folio *folio;

	if (offset >= size || !len)
		return;
	end = offset + min_u64(len, size - offset);
	for (pgoff_t i = offset >> PAGE_SHIFT;
	     (folio = mapping_next(mapping, &i, (end - 1) >> PAGE_SHIFT, false)); i++) {
		uint64_t at = max_u64(offset, i << PAGE_SHIFT);

		copy_racy(byte_of(m, folio, at), buf ? (const char *)buf + (at - offset) : zeros,
			  part_of_page(at, end - at));
		folio_bytes_changed(m, folio);
		folio_put(m, folio);
	}
	/* Also report pages that are not cached: a later access reads other bytes there. */
	track_mapping_range(mapping, offset >> PAGE_SHIFT, (end - 1) >> PAGE_SHIFT);
}

EXPORT int vellum_mapping_next_cached(struct vellum_mapping *mapping, uint64_t *pgoff)
{
	struct folio *folio = mapping_next(mapping, pgoff, ~0ull, false);

	if (folio)
		folio_put(mapping->memory, folio);
	return folio != NULL;
}

EXPORT void vellum_mapping_overlay(struct vellum_mapping *mapping, uint64_t offset, void *buf,
				   uint64_t len)
{
	struct vellum_memory *m = mapping->memory;

	for (uint64_t done = 0, n; done < len; done += n) {
		struct folio *folio = mapping_find(mapping, (offset + done) >> PAGE_SHIFT);

		n = part_of_page(offset + done, len - done);
		/* A file's page that is being read in is left out: its reader may wait for a lock of the caller. */
		if (!folio && mapping_is_shmem(mapping) && mapping_has(mapping, (offset + done) >> PAGE_SHIFT))
			read_page(mapping, offset + done, (char *)buf + done, n);	/* swapped out */
		if (!folio)
			continue;
		if (folio_is_uptodate(folio))
			copy_racy((char *)buf + done, byte_of(m, folio, offset + done), n);
		folio_put(m, folio);
	}
}

/* Compare a locked page with the backing. @buf: two pages. Returns as vellum_mapping_is_stale(). */
static int is_stale(struct vellum_mapping *mapping, const struct folio *folio, pgoff_t index, char *buf)
{
	struct vellum_vmf vmf = { .size = sizeof(vmf), .pgoff = index, .page = buf };
	uint32_t flags = folio_flags(folio);

	if (folio->mapping != mapping || (flags & (PG_DIRTY | PG_WRITING)) || !(flags & PG_UPTODATE))
		return 0;
	memset(buf, 0, PAGE_SIZE);
	if (mapping->ops->fault(mapping->ctx, &vmf) != VELLUM_VMF_OK)
		return -EIO;
	copy_racy(buf + PAGE_SIZE, byte_of(mapping->memory, folio, 0), PAGE_SIZE);
	return memcmp(buf, buf + PAGE_SIZE, PAGE_SIZE) != 0;
}

EXPORT int vellum_mapping_is_stale(struct vellum_mapping *mapping)
{
	struct vellum_memory *m = mapping->memory;
	struct folio *folio;
	int stale = 0;
	char *buf;

	if ((mapping->flags & VELLUM_MAPPING_PFN) || !mapping->ops || !mapping->ops->fault)
		return 0;
	buf = host_alloc(&m->host, 2 * PAGE_SIZE);
	if (!buf)
		return -ENOMEM;
	for (pgoff_t i = 0; !stale && (folio = mapping_next(mapping, &i, ~0ull, false)); i++) {
		mutex_lock(&folio->lock, &m->host);
		stale = is_stale(mapping, folio, i, buf);
		put_and_unlock(m, folio);
	}
	host_free(&m->host, buf, 2 * PAGE_SIZE);
	return stale;
}

EXPORT uint64_t vellum_mapping_size(const struct vellum_mapping *mapping)
{
	return __atomic_load_n(&mapping->size, __ATOMIC_SEQ_CST);
}

static void count_pages(struct vellum_mapping *mapping, struct vellum_mapping_info *info)
{
	const struct host *host = &mapping->memory->host;
	const struct folio *folio;

	mutex_lock(&mapping->pages_lock, host);
	for (uint64_t i = 0; (folio = radix_next(&mapping->pages, &i)); i++) {
		info->nr_cached++;
		info->nr_dirty += (folio_flags(folio) & PG_DIRTY) != 0;
	}
	mutex_unlock(&mapping->pages_lock, host);
}

EXPORT int vellum_mapping_info(struct vellum_mapping *mapping, struct vellum_mapping_info *out)
{
	const struct host *host = &mapping->memory->host;
	struct vellum_mapping_info info = { .bytes = vellum_mapping_size(mapping),
					    .nr_refs = __atomic_load_n(&mapping->refs, __ATOMIC_ACQUIRE) };

	count_pages(mapping, &info);
	read_lock(&mapping->i_mmap_lock, host);
	for (struct interval *iv = interval_first(&mapping->i_mmap, 0, ~0ull); iv;
	     iv = interval_next(iv, 0, ~0ull)) {
		info.nr_mapped++;
		info.nr_writable += vma_shared_maywrite(container_of(iv, struct vma, map_node));
	}
	read_unlock(&mapping->i_mmap_lock, host);
	return TO_CALLER(out, &info);
}
