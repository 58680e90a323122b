/* SPDX-License-Identifier: MIT */
/*
 * mm/mapping.h - mappings: what VMAs map, be it a file, shared memory or device memory (Linux: address_space).
 *
 * The text says "object" for a mapping where a reader could take "mapping" for a VMA.
 */
#ifndef MM_MAPPING_H
#define MM_MAPPING_H

#include "mm/mm.h"

/*
 * MAX_MAPPING_BYTES is the largest size of a mapping (Linux's MAX_LFS_FILESIZE is larger). VMAs and the ranges that
 * callers pass may lie beyond the size. The other two limit the exclusive ends of these, in pages. MAX_MMAP_PAGES, for
 * VMAs, is 2^63 bytes, because file offsets are signed. MAX_MAPPING_PAGES, for ranges of page indices, is 2^64 bytes:
 * the offset of every byte in a range fits in 64 bits.
 */
#define MAX_MAPPING_BYTES (1ull << 52)
#define MAX_MMAP_PAGES	(1ull << 51)
#define MAX_MAPPING_PAGES (1ull << 52)

struct vellum_mapping {
	struct vellum_memory *memory;
	const struct vellum_backing_ops *ops;	/* own_ops; NULL: zero-filled */
	struct vellum_backing_ops own_ops;	/* the embedder's, at the size known here */
	void *ctx;
	uint64_t size;			/* atomic: bytes; changes with invalidate_lock held for writing */
	uint32_t flags;
	uint32_t refs;			/* atomic */
	uint32_t seals;			/* atomic: VELLUM_SEAL_*, set with i_mmap_lock held for writing */
	uint32_t maybe_dirty;		/* atomic: a page was marked dirty since the last whole writeback began */
	int wb_error;			/* atomic: error of a writeback that no caller of sync was told yet; or 0 */
	struct mutex collect_lock;
	struct rwlock invalidate_lock;
	struct rwlock i_mmap_lock;
	uint32_t unmap_seq;		/* atomic: unmaps begun. If it changed, a fault asks the driver again */
	uint32_t wp_seq;		/* atomic: write-protects begun. If it changed, a fault asks mkwrite again */
	struct tree i_mmap;		/* VMAs that map it; i_mmap_lock */
	struct mutex pages_lock;
	struct radix pages;		/* pages_lock: index to folio, one reference each */
	struct radix swapped;		/* pages_lock: index to swap slot; shared memory only (shmem.c) */
	struct tracker_list trackers;
	struct vellum_mapping *next, *prev;	/* in memory->mappings; memory->lock */
};

/* Entries of such a mapping may be raw. */
#define MAPPING_RAW (VELLUM_MAPPING_PFN | VELLUM_MAPPING_MIXED | VELLUM_MAPPING_DEVMAP)

/* Shared memory: its pages, in RAM or in swap, are the only copy of its bytes. */
static inline bool mapping_is_shmem(const struct vellum_mapping *mapping)
{
	return !(mapping->ops && mapping->ops->fault) && !(mapping->flags & (MAPPING_RAW | VELLUM_MAPPING_WRITEBACK));
}

/* May a userfaultfd wait for the mapping's pages? They are missing until something is stored: shared memory, files in memory. */
static inline bool mapping_has_missing(const struct vellum_mapping *mapping)
{
	return mapping_is_shmem(mapping) || (mapping->ops && mapping->ops->has_page);
}

/* The size in pages, rounded up. */
static inline uint64_t mapping_nr_pages(const struct vellum_mapping *mapping)
{
	return (__atomic_load_n(&mapping->size, __ATOMIC_SEQ_CST) + PAGE_SIZE - 1) >> PAGE_SHIFT;
}

/* The folio's bytes are newer than the backing's. Also sets the mapping's hint that it has pages to write. */
static inline void folio_mark_dirty(struct folio *folio)
{
	struct vellum_mapping *mapping;

	folio_set(folio, PG_DIRTY);
	if (folio_flags(folio) & PG_ANON)
		return;
	/* The hint is set after PG_DIRTY: a writeback that clears the hint then finds the dirty page. */
	mapping = __atomic_load_n(&folio->mapping, __ATOMIC_RELAXED);
	if (mapping && !__atomic_load_n(&mapping->maybe_dirty, __ATOMIC_RELAXED))
		__atomic_store_n(&mapping->maybe_dirty, 1, __ATOMIC_RELEASE);
}

#endif
