/* SPDX-License-Identifier: MIT */
/*
 * vellum/pagemap.h - read an address space's entries: pagemap words, PAGEMAP_SCAN, smaps, and a walk over all decoded
 * entries. And clear soft-dirty and accessed bits.
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
#define VELLUM_PM_FILE		(1ull << 61)	/* of a mapping, shared memory included */
#define VELLUM_PM_SWAP		(1ull << 62)	/* not present and not none: swap, migration, device, marker */
#define VELLUM_PM_PRESENT	(1ull << 63)

enum { VELLUM_PAGEMAP_PFNS = 1 };	/* also fill bits 0 to 54; else they are 0 */

/**
 * vellum_pagemap_read - one word for each page, as in /proc/PID/pagemap
 * @addr:  page aligned.
 * @nr:    pages.
 * @flags: 0 or VELLUM_PAGEMAP_PFNS.
 * @words: out: @nr words. 0 where no VMA is.
 *
 * Context: takes the mmap lock for reading.
 * Return: 0; -VELLUM_EINVAL (alignment, or beyond user addresses).
 */
int vellum_pagemap_read(struct vellum_mm *mm, uint64_t addr, uint64_t nr, uint32_t flags, uint64_t *words);

enum {	/* for vellum_clear_refs(); numbers as in /proc/PID/clear_refs */
	VELLUM_CLEAR_REFS_ALL = 1,
	VELLUM_CLEAR_REFS_ANON = 2,
	VELLUM_CLEAR_REFS_MAPPED = 3,
	VELLUM_CLEAR_REFS_SOFT_DIRTY = 4,
};

/**
 * vellum_clear_refs - clear the accessed bits, or soft-dirty
 * @what: VELLUM_CLEAR_REFS_*.
 *
 * After SOFT_DIRTY, a page is soft-dirty again from its next store on, or when other content is mapped at its address.
 * Pinned private pages that are writable stay soft-dirty, since stores by frame number set no bit. VMAs of raw frames
 * are skipped by SOFT_DIRTY only. Accessed bits are cleared without a flush.
 * Context: takes the mmap lock for writing; SOFT_DIRTY flushes and calls notifiers.
 * Return: 0; -VELLUM_EINVAL.
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
	VELLUM_PAGE_IS_GUARD = 1 << 8,	/* MADV_GUARD_INSTALL; also SWAPPED */
};

enum {
	VELLUM_SCAN_WP_MATCHING = 1 << 0,	/* write-protect reported pages, in VMAs with WP_ASYNC */
	VELLUM_SCAN_CHECK_WPASYNC = 1 << 1,	/* a VMA without WP_ASYNC is -EPERM; else it is skipped */
};

struct vellum_page_region {
	uint64_t start, end, categories;
};

/**
 * struct vellum_scan_args - arguments of vellum_pagemap_scan()
 * @size:  sizeof(struct vellum_scan_args).
 * @flags: VELLUM_SCAN_*.
 * @start: page aligned.
 * @end:   rounded up to a page.
 * @walk_end: out: the address at which the scan stopped. All before it is done.
 * @vec:   out: room for @vec_len regions. With @vec_len 0 nothing is reported, and WP_MATCHING protects all pages.
 * @max_pages: pages to report at most; 0: no limit.
 * @category_inverted, @category_mask, @category_anyof_mask: the categories of @category_inverted are inverted first.
 *         Then a page matches if it has all of @category_mask and, unless @category_anyof_mask is 0, one of that.
 * @return_mask: the categories that are reported.
 */
struct vellum_scan_args {
	uint64_t size, flags, start, end, walk_end;
	struct vellum_page_region *vec;
	uint64_t vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};

/**
 * vellum_pagemap_scan - report pages by category, and write-protect them in the same step
 * @nr: out: regions filled in. Adjacent pages with the same reported categories are one region.
 *
 * The categories of a page are read, and its entry is protected, under one hold of its page-table lock. The entry is
 * flushed before the lock is dropped, so a later store makes the page WRITTEN again.
 *
 * WRITTEN is an entry that is not write-protected by a userfaultfd, also if it is none. Where no page table exists,
 * pages are WRITTEN only in a VMA that is registered for WP. VMAs of raw frames (VELLUM_MAPPING_PFN) are skipped.
 *
 * Context: takes the mmap lock for reading and page-table locks; with WP_MATCHING it flushes and calls notifiers.
 * Return: 0; -VELLUM_EINVAL (size, flags, categories, alignment, @vec_len without @vec); -VELLUM_EFAULT (not a range
 *   of user addresses); -VELLUM_EPERM (CHECK_WPASYNC); -VELLUM_EINTR (the host's interrupted() hook reports
 *   VELLUM_KILLED); -VELLUM_ENOMEM (nothing was reported; if something was, the call returns 0 and *@walk_end tells
 *   where it stopped).
 */
int vellum_pagemap_scan(struct vellum_mm *mm, struct vellum_scan_args *args, uint64_t *nr);

/* --- maps and smaps --- */

struct vellum_vma_info;

/**
 * struct vellum_vma_usage - memory of one VMA, in bytes
 *
 * @pss, @pss_dirty, @swap_pss: each page counts its size divided by the number of its mappings. @locked: the same, if
 * the VMA is locked.
 * @vm_flags: as VmFlags of /proc/PID/smaps: two letters and a space for each flag, then a zero byte.
 */
struct vellum_vma_usage {
	uint32_t size;		/* sizeof the structure */
	uint64_t len, rss, pss, pss_dirty;
	uint64_t shared_clean, shared_dirty, private_clean, private_dirty;
	uint64_t referenced, anonymous, lazyfree;
	uint64_t anon_huge, shmem_huge;
	uint64_t swap, swap_pss, locked;
	char vm_flags[96];
};

/** vellum_vma_usage - memory of the VMA that contains @addr, and its info. 0; -VELLUM_ENOENT: no VMA there. */
int vellum_vma_usage(struct vellum_mm *mm, uint64_t addr, struct vellum_vma_info *info,
		     struct vellum_vma_usage *usage);

/** struct vellum_vma_name - the name of a VMA, which the core does not know. */
struct vellum_vma_name {
	uint32_t size;		/* sizeof the structure */
	const char *name;
	unsigned dev_major, dev_minor;
	uint64_t inode;
};

/**
 * vellum_maps_line, vellum_smaps_text - print a VMA as in /proc/PID/maps, or as in /proc/PID/smaps
 * @name: path, "[heap]", or "" if it has none; device and inode number of the file, or 0.
 * @size: bytes of room in @buf.
 *
 * Return: length without the ending zero byte, as snprintf(3). If it is not below @size, the text was cut.
 * Source: proc_pid_maps(5), proc_pid_smaps(5).
 */
int vellum_maps_line(const struct vellum_vma_info *info, const struct vellum_vma_name *name, char *buf, uint64_t size);
int vellum_smaps_text(const struct vellum_vma_info *info, const struct vellum_vma_usage *usage,
		      const struct vellum_vma_name *name, char *buf, uint64_t size);

/* --- every entry, decoded --- */

enum vellum_entry_kind {
	VELLUM_ENTRY_PAGE,		/* anonymous page, or a mapping's own: @pfn */
	VELLUM_ENTRY_ZERO,		/* the zero page */
	VELLUM_ENTRY_RAW,		/* a frame without metadata: @pfn */
	VELLUM_ENTRY_SWAP,		/* swapped out: @area, @offset */
	VELLUM_ENTRY_MIGRATION,		/* @pfn */
	VELLUM_ENTRY_DEVICE_PRIVATE,	/* @pfn, the device's */
	VELLUM_ENTRY_DEVICE_EXCLUSIVE,	/* @pfn */
	VELLUM_ENTRY_HWPOISON,		/* @pfn */
	VELLUM_ENTRY_MARKER,
};

enum {	/* bits of an entry that is not none */
	VELLUM_ENTRY_WRITABLE = 1 << 0,	/* or a write entry of migration or a device */
	VELLUM_ENTRY_DIRTY = 1 << 1,
	VELLUM_ENTRY_ACCESSED = 1 << 2,
	VELLUM_ENTRY_SOFT_DIRTY = 1 << 3,
	VELLUM_ENTRY_UFFD_WP = 1 << 4,
	VELLUM_ENTRY_EXEC = 1 << 5,
	VELLUM_ENTRY_SAVED_DIRTY = 1 << 6,	/* DIRTY is in the saved bit */
	VELLUM_ENTRY_SHADOW_STACK = 1 << 7,
	VELLUM_ENTRY_NO_ACCESS = 1 << 8,	/* PROT_NONE */
	VELLUM_ENTRY_ANON = 1 << 9,		/* a private page */
	VELLUM_ENTRY_EXCLUSIVE = 1 << 10,	/* only this process has the page */
	VELLUM_ENTRY_POISON = 1 << 11,		/* markers */
	VELLUM_ENTRY_GUARD = 1 << 12,
	VELLUM_ENTRY_DEVMAP = 1 << 13,
};

/**
 * struct vellum_entry - one entry that maps or names @len bytes at @start: 4 KiB, 2 MiB or 1 GiB
 * @raw: the value in the table.
 * @area, @offset: of VELLUM_ENTRY_SWAP: the swap area and the slot in it.
 * @count, @maps: of VELLUM_ENTRY_PAGE: references and mappings of the page; of a huge leaf: of its first page.
 */
struct vellum_entry {
	uint32_t size;		/* sizeof the structure */
	uint64_t start, len, raw;
	enum vellum_entry_kind kind;
	uint32_t flags;
	uint64_t pfn;
	unsigned area;
	uint64_t offset;
	uint64_t count, maps;		/* of a page: references, mappings */
};

/**
 * vellum_walk_entries - call @fn for every entry of [@start, @end) that is not none, in ascending order
 * @start: rounded down to a page. The first entry may begin below it, if it is huge.
 *
 * @fn returns 0 to continue. It is called with the mmap lock held for reading and a page-table lock held, so it must
 * not call the core.
 * Return: 0, or what @fn returned.
 */
int vellum_walk_entries(struct vellum_mm *mm, uint64_t start, uint64_t end,
			int (*fn)(void *arg, const struct vellum_entry *entry), void *arg);

/** vellum_entry_kind_name - the name of a kind, such as "swap"; constant. NULL for an unknown kind. */
const char *vellum_entry_kind_name(enum vellum_entry_kind kind);

#ifdef __cplusplus
}
#endif
#endif
