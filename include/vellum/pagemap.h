/* SPDX-License-Identifier: MIT */
/*
 * vellum/pagemap.h - what an address space's entries say: pagemap words, PAGEMAP_SCAN, clearing of soft-dirty and
 * accessed, and a walk over all entries, decoded.
 *
 * Source: the kernel's admin-guide/mm/pagemap.rst and soft-dirty.rst, proc_pid_clear_refs(5); numbers as there.
 */
#ifndef VELLUM_PAGEMAP_H
#define VELLUM_PAGEMAP_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vellum_mm;

#define VELLUM_PM_SOFT_DIRTY	(1ull << 55)
#define VELLUM_PM_MMAP_EXCLUSIVE (1ull << 56)
#define VELLUM_PM_UFFD_WP	(1ull << 57)
#define VELLUM_PM_GUARD		(1ull << 58)
#define VELLUM_PM_FILE		(1ull << 61)	/* of an object, shared memory included */
#define VELLUM_PM_SWAP		(1ull << 62)	/* not present and not none: swapped out, moving, a marker */
#define VELLUM_PM_PRESENT	(1ull << 63)

enum { VELLUM_PAGEMAP_PFNS = 1 };	/* bits 0 to 54 too; else they are 0 */

/**
 * vellum_pagemap_read - a word for each page, as /proc/PID/pagemap has them
 * @addr: page aligned. @nr: pages. @flags: VELLUM_PAGEMAP_PFNS. @words: out.
 *
 * 0 where nothing is mapped. Return: 0, -VELLUM_EINVAL (alignment, beyond user addresses).
 */
int vellum_pagemap_read(struct vellum_mm *mm, uint64_t addr, uint64_t nr, uint32_t flags, uint64_t *words);

enum {	/* of vellum_clear_refs(), as written to /proc/PID/clear_refs */
	VELLUM_CLEAR_REFS_ALL = 1,
	VELLUM_CLEAR_REFS_ANON = 2,
	VELLUM_CLEAR_REFS_MAPPED = 3,
	VELLUM_CLEAR_REFS_SOFT_DIRTY = 4,
};

/**
 * vellum_clear_refs - take the accessed bits away, or soft-dirty
 *
 * After SOFT_DIRTY a page counts as soft-dirty again from the next store on, or when something else comes to its
 * address. Pinned private pages keep their bit: stores by frame would not be seen. Device memory is passed over.
 * Context: the mmap lock for writing. Return: 0, -VELLUM_EINVAL.
 */
int vellum_clear_refs(struct vellum_mm *mm, int what);

/* --- PAGEMAP_SCAN --- */

enum {	/* categories of pages */
	VELLUM_PAGE_IS_WPALLOWED = 1 << 0,
	VELLUM_PAGE_IS_WRITTEN = 1 << 1,
	VELLUM_PAGE_IS_FILE = 1 << 2,
	VELLUM_PAGE_IS_PRESENT = 1 << 3,
	VELLUM_PAGE_IS_SWAPPED = 1 << 4,
	VELLUM_PAGE_IS_PFNZERO = 1 << 5,
	VELLUM_PAGE_IS_HUGE = 1 << 6,
	VELLUM_PAGE_IS_SOFT_DIRTY = 1 << 7,
};

enum {
	VELLUM_SCAN_WP_MATCHING = 1 << 0,	/* protect what is reported; only where the context has WP_ASYNC */
	VELLUM_SCAN_CHECK_WPASYNC = 1 << 1,	/* -EPERM where it has not, instead of passing it over */
};

struct vellum_page_region {
	uint64_t start, end, categories;
};

/**
 * struct vellum_scan_args - of vellum_pagemap_scan()
 * @size: sizeof(struct vellum_scan_args). @flags: VELLUM_SCAN_*.
 * @start: page aligned; @end: rounded up to a page. @walk_end: out: where it stopped: all before is done.
 * @vec: out: @vec_len regions. Without any nothing is reported, and with WP_MATCHING everything is protected.
 * @max_pages: report no more than that; 0: no limit.
 * @category_inverted, @category_mask, @category_anyof_mask: a page matches if, with the inverted categories turned
 *         over, it has all of the mask and, unless that is 0, one of the other. @return_mask: what is reported.
 */
struct vellum_scan_args {
	uint64_t size, flags, start, end, walk_end;
	struct vellum_page_region *vec;
	uint64_t vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

/**
 * vellum_pagemap_scan - which pages are of a kind; and, in the same step, protect them
 * @nr: out: regions filled; neighbours of the same categories are one.
 *
 * A page's categories are read and its protection set under one hold of its lock, and flushed: a store that comes later
 * makes it WRITTEN again.
 *
 * WRITTEN: not protected; also what is not there, where its neighbourhood is (a table exists) or where
 * protection is in use.
 *
 * Return: 0; -VELLUM_EINVAL (size, flags, categories, alignment, @vec_len without @vec); -VELLUM_EFAULT (not a range of
 *   user addresses); -VELLUM_EPERM; -VELLUM_ENOMEM (nothing was reported; else @walk_end says how far it went).
 */
int vellum_pagemap_scan(struct vellum_mm *mm, struct vellum_scan_args *args, uint64_t *nr);

/* --- maps and smaps --- */

struct vellum_vma_info;

/**
 * struct vellum_vma_usage - what one mapping takes, in bytes
 *
 * @pss, @pss_dirty, @swap_pss: a page's share: its size by the number of its mappings. @locked: the share of what
 * is locked.
 * @vm_flags: letters as in VmFlags of /proc/PID/smaps, two and a space each; then a zero byte.
 */
struct vellum_vma_usage {
	uint64_t size, rss, pss, pss_dirty;
	uint64_t shared_clean, shared_dirty, private_clean, private_dirty;
	uint64_t referenced, anonymous, lazyfree;
	uint64_t anon_huge, shmem_huge;
	uint64_t swap, swap_pss, locked;
	char vm_flags[96];
};

/** vellum_vma_usage - of the mapping that contains @addr; with its info. 0, or -VELLUM_ENOENT. */
int vellum_vma_usage(struct vellum_mm *mm, uint64_t addr, struct vellum_vma_info *info,
		     struct vellum_vma_usage *usage);

/** struct vellum_vma_name - what a mapping is called; the core does not know. */
struct vellum_vma_name {
	const char *name;
	unsigned dev_major, dev_minor;
	uint64_t inode;
};

/**
 * vellum_maps_line - a mapping as a line of /proc/PID/maps; vellum_smaps_text - and as /proc/PID/smaps has it
 * @name: path, "[heap]", ... or "". @dev_major, @dev_minor, @inode: of the file, or 0.
 *
 * Return: length without the ending zero byte, as snprintf(3): the text is cut if it is not below @size.
 * Source: proc_pid_maps(5), proc_pid_smaps(5).
 */
int vellum_maps_line(const struct vellum_vma_info *info, const struct vellum_vma_name *name, char *buf, uint64_t size);
int vellum_smaps_text(const struct vellum_vma_info *info, const struct vellum_vma_usage *usage,
		      const struct vellum_vma_name *name, char *buf, uint64_t size);

/* --- every entry, decoded --- */

enum vellum_entry_kind {
	VELLUM_ENTRY_PAGE,		/* private page, or the object's own: @pfn */
	VELLUM_ENTRY_ZERO,		/* the zero page */
	VELLUM_ENTRY_RAW,		/* a frame without metadata: @pfn */
	VELLUM_ENTRY_SWAP,		/* swapped out: @area, @offset */
	VELLUM_ENTRY_MIGRATION,		/* @pfn */
	VELLUM_ENTRY_DEVICE_PRIVATE,	/* @pfn, the device's */
	VELLUM_ENTRY_DEVICE_EXCLUSIVE,	/* @pfn */
	VELLUM_ENTRY_HWPOISON,		/* @pfn */
	VELLUM_ENTRY_MARKER,
};

enum {	/* bits of an entry that is there */
	VELLUM_ENTRY_WRITABLE = 1 << 0,	/* also: names a page for storing to */
	VELLUM_ENTRY_DIRTY = 1 << 1,
	VELLUM_ENTRY_ACCESSED = 1 << 2,
	VELLUM_ENTRY_SOFT_DIRTY = 1 << 3,
	VELLUM_ENTRY_UFFD_WP = 1 << 4,
	VELLUM_ENTRY_EXEC = 1 << 5,
	VELLUM_ENTRY_SAVED_DIRTY = 1 << 6,	/* DIRTY is in the saved bit */
	VELLUM_ENTRY_SHADOW_STACK = 1 << 7,
	VELLUM_ENTRY_NO_ACCESS = 1 << 8,	/* PROT_NONE */
	VELLUM_ENTRY_ANON = 1 << 9,		/* a private page */
	VELLUM_ENTRY_EXCLUSIVE = 1 << 10,	/* of this process alone */
	VELLUM_ENTRY_POISON = 1 << 11,		/* markers */
	VELLUM_ENTRY_GUARD = 1 << 12,
	VELLUM_ENTRY_DEVMAP = 1 << 13,
};

/** struct vellum_entry - one entry: @len bytes at @start: 4 KiB, 2 MiB or 1 GiB. @raw: as it is in the table. */
struct vellum_entry {
	uint64_t start, len, raw;
	enum vellum_entry_kind kind;
	uint32_t flags;
	uint64_t pfn;
	unsigned area;
	uint64_t offset;
	uint64_t count, maps;		/* of a page: references, mappings */
};

/**
 * vellum_walk_entries - call @fn for every entry of [@start, @end) that is not none, ascending
 *
 * @fn returns 0 to go on; it is called with the mmap lock held for reading and a page-table lock: no calls of the core.
 * Return: 0, or what @fn returned.
 */
int vellum_walk_entries(struct vellum_mm *mm, uint64_t start, uint64_t end,
			int (*fn)(void *arg, const struct vellum_entry *entry), void *arg);

/** vellum_entry_kind_name - e.g. "swap"; constant. */
const char *vellum_entry_kind_name(enum vellum_entry_kind kind);

#ifdef __cplusplus
}
#endif
#endif
