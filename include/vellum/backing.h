/* SPDX-License-Identifier: MIT */
/*
 * vellum/backing.h - mappings: what VMAs map, and what fills them: files, devices, shared memory.
 *
 * A vellum_mapping is one file or device that address spaces map (Linux: address_space). It has an index of its cached
 * pages, and knows every VMA that maps it. Its content comes from a driver's hooks, or is zero (shared memory).
 */
#ifndef VELLUM_BACKING_H
#define VELLUM_BACKING_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vellum_memory;
struct vellum_mapping;
struct vellum_mm;

/*
 * What a hook returns: the bits of Linux's vm_fault_t that apply.
 */
enum {
	VELLUM_VMF_OK = 0,
	VELLUM_VMF_OOM = 1,
	VELLUM_VMF_SIGBUS = 2,
	VELLUM_VMF_NOPAGE = 0x100,	/* the CPU runs the instruction again */
	VELLUM_VMF_FALLBACK = 0x800,	/* huge_fault(): a smaller entry; pfn_fault(): the mapping's own page */
	VELLUM_VMF_LOCKED = 0x200,	/* page_mkwrite() only; as OK: the core locked the page */
};

/**
 * struct vellum_vmf - one fault, for a driver's hook
 * @size:  sizeof(struct vellum_vmf).
 * @write: not 0 if the access is a store.
 * @mm:    the address space of the access. NULL if it is no access through a VMA, as in vellum_mapping_read().
 * @address: page-aligned guest address; 0 if @mm is NULL.
 * @pgoff: page index in the mapping.
 * @page:  mappings with pages of their own: host address of 4096 bytes. In fault(): zeroed, to be filled. In
 *         page_mkwrite(): the page that is about to become writable.
 * @pfn:   mappings of raw frames: fault(), pfn_fault() and huge_fault() set it; in pfn_mkwrite() it is set.
 * @order: huge_fault(): 9 or 18: the number of pages, as a power of two. Else 0.
 */
struct vellum_vmf {
	uint32_t size;
	int write;
	struct vellum_mm *mm;
	uint64_t address;
	uint64_t pgoff;
	void *page;
	uint64_t pfn;
	uint32_t order;
};

/**
 * struct vellum_backing_ops - hooks of a driver or file system; const
 * @size: sizeof(struct vellum_backing_ops).
 * @fault: read page @vmf->pgoff into @vmf->page; or, for raw frames, set @vmf->pfn. Called with the page locked, once
 *         per page until it is dropped, and by vellum_mapping_is_stale() with a buffer of its own. NULL: pages start
 *         as zeros.
 * @page_mkwrite: a clean page of a shared VMA is about to become writable, or vellum_mapping_write() is about to
 *         change it. Called with the page locked. NULL: W is granted at once.
 * @pfn_mkwrite: the same for an entry of a raw frame. No page is locked.
 * @dirt: the dirty bit of an entry is about to be lost, unless the hook records it: a dirty entry was removed (unmap,
 *         zap, exit), or a tracker cleaned the entry of a raw frame. Called with a page-table lock held, before the
 *         flush. The hook sets a bit in a bitmap of its own, atomically, since helpers may run. It must not call the
 *         core, nor take a lock that is held around a call of a helper. Before the record is used, call a helper
 *         (vellum/dirty.h) on that range: it waits for the page-table lock, so the flush is done then.
 * @release: the last reference was dropped. Every dirty page was passed to writepage(), whose errors were ignored.
 * @writepage: write the first @len bytes of page @pgoff to the backing: 1 to 4096, and less than 4096 only where the
 *         mapping ends. Called with the page locked, after it was write-protected and cleaned everywhere. A store
 *         during the call makes the page dirty again. Return 0 or a negative error number: then the page stays dirty,
 *         and the caller gets the error. An error in the background step, in reclaim or in
 *         vellum_mapping_writeback_unmapped() is also returned by the next vellum_mapping_sync().
 * @sync:  make what writepage() wrote durable, as fsync(2). Return 0 or a negative error number.
 * @punch: deallocate the bytes [@offset, @offset + @len), which then read as zero. Return 0 or a negative error
 *         number. NULL: the mapping cannot have holes.
 *
 * @pfn_fault: of a VELLUM_MAPPING_MIXED mapping: set @vmf->pfn to the raw frame behind the page; or return
 *         VELLUM_VMF_FALLBACK: the mapping has a page of its own there, which fault() fills.
 * @huge_fault: optional, for mappings with raw frames. Called for a block of 2 MiB or 1 GiB (@vmf->order 9 or 18)
 *         around the fault that has no entries, and that the VMA covers; @vmf->address is its start. Set @vmf->pfn to
 *         the first frame, aligned to the block, to install one huge leaf; or return VELLUM_VMF_FALLBACK to install a
 *         smaller entry. Also called for a store to a read-only huge leaf, if the mapping has pfn_mkwrite(): with
 *         @vmf->write, and @vmf->pfn its first frame. Then OK makes the whole leaf writable, and FALLBACK splits it,
 *         so that pfn_mkwrite() is called page by page. The first store to a block without entries has @vmf->write
 *         too, and
 *         @vmf->pfn 0.
 *
 * @has_page: optional, with fault() and without raw frames: return 1 if the backing has a page @pgoff, and 0 if there is
 *         a hole, which reads as zeros. The mapping then is a file in memory, as of memfd_create(2): a userfaultfd may
 *         be registered for it in every mode. A fault on a hole that is not cached is a missing fault, one on another
 *         page a minor fault. A clean page of a hole is cached until reclaim drops it: then it is missing again.
 *         Called with the page locked, or without a lock of the page cache.
 *
 * @fault, @pfn_fault, @huge_fault, @has_page, @page_mkwrite and @pfn_mkwrite may be called with the mmap lock of the faulting
 * address space held for reading, so they must not map or unmap there. A return value that is not named above counts
 * as VELLUM_VMF_SIGBUS.
 */
struct vellum_backing_ops {
	uint32_t size;
	int (*fault)(void *ctx, struct vellum_vmf *vmf);
	int (*page_mkwrite)(void *ctx, struct vellum_vmf *vmf);
	int (*pfn_mkwrite)(void *ctx, struct vellum_vmf *vmf);
	void (*dirt)(void *ctx, uint64_t pgoff);
	void (*release)(void *ctx);
	int (*writepage)(void *ctx, uint64_t pgoff, const void *page, uint32_t len);
	int (*sync)(void *ctx);
	int (*punch)(void *ctx, uint64_t offset, uint64_t len);
	int (*pfn_fault)(void *ctx, struct vellum_vmf *vmf);
	int (*huge_fault)(void *ctx, struct vellum_vmf *vmf);
	int (*has_page)(void *ctx, uint64_t pgoff);
};

enum {
	VELLUM_MAPPING_PFN = 1 << 0,	/* entries map raw frames, such as device memory */
	/*
	 * The pages are a cache of the backing: dirty pages are written back, and a store to a clean page faults. If
	 * there is fault(), reclaim may drop clean pages.
	 */
	VELLUM_MAPPING_WRITEBACK = 1 << 1,
	/*
	 * Every entry starts without W, even without mkwrite hooks: the first store to a page faults, and the fault
	 * grants W. For a driver that reads its entries itself.
	 */
	VELLUM_MAPPING_READ_FIRST = 1 << 2,
	VELLUM_MAPPING_UNCACHED = 1 << 3,	/* entries have the cache-disable bit (PCD) */
	VELLUM_MAPPING_WRITE_COMBINING = 1 << 4, /* entries have the write-through bit (PWT): WC by Linux's PAT */
	/* Some pages are raw frames, the others the mapping's own: pfn_fault() tells which. */
	VELLUM_MAPPING_MIXED = 1 << 5,
	/*
	 * With VELLUM_MAPPING_PFN or _MIXED: the frames are device memory that stores a file (DAX). Their entries have
	 * the devmap bit. A fork does not copy the entries: the child's faults map the frames. Long-term pins fail.
	 */
	VELLUM_MAPPING_DEVMAP = 1 << 6,
	/*
	 * A fault on a page that is not cached also reads the others of the aligned 64 KiB of the mapping around it, as
	 * far as they are in the VMA and no holes: fault() is called for each, and its error ends that. Not with
	 * MADV_RANDOM, and not where a userfaultfd is registered. Not for raw frames.
	 */
	VELLUM_MAPPING_READ_AHEAD = 1 << 7,
};

/**
 * vellum_mapping_create - create a mapping
 * @memory:   the memory that has its pages.
 * @ops:      hooks; not copied, so they must outlive the mapping. NULL: zero-filled shared memory.
 * @ctx:      passed to the hooks.
 * @nr_pages: length in pages, 1 to 2^40; vellum_mapping_set_size() sets it in bytes. An access beyond is SIGBUS.
 * @flags:    VELLUM_MAPPING_*.
 * @out:      the mapping, with one reference.
 *
 * Return: 0; -VELLUM_EINVAL (also: PFN without fault(), MIXED without pfn_fault() or with PFN, DEVMAP without PFN and
 *   MIXED); -VELLUM_ENOMEM.
 */
int vellum_mapping_create(struct vellum_memory *memory, const struct vellum_backing_ops *ops,
			  void *ctx, uint64_t nr_pages, uint32_t flags,
			  struct vellum_mapping **out);
void vellum_mapping_get(struct vellum_mapping *mapping);
/**
 * vellum_mapping_put - drop a reference; NULL is allowed. VMAs and trackers have their own. The last one writes dirty
 * pages back and calls release().
 */
void vellum_mapping_put(struct vellum_mapping *mapping);

/* --- the page cache of a mapping --- */

/**
 * vellum_mapping_read - copy bytes out of the mapping's own pages
 * @offset: bytes from the start.
 * @len:    bytes; @offset + @len is within the mapping's size.
 *
 * Pages that are not cached are brought in by fault(), or from swap. Without fault() they read as zero and stay
 * absent. Not for mappings of raw frames. Not atomic against stores.
 *
 * Context: takes page locks of pages that are not filled yet. Not callable from a hook of this mapping.
 * Return: 0; -VELLUM_EINVAL; -VELLUM_ENOMEM; -VELLUM_EIO (fault() or a swap area failed).
 */
int vellum_mapping_read(struct vellum_mapping *mapping, uint64_t offset, void *buf, uint64_t len);

/**
 * vellum_mapping_write - store bytes as write(2) would: pages become dirty, and trackers record them
 *
 * As vellum_mapping_read(), but every page is brought in and locked, and page_mkwrite() is called before a page
 * changes. After an error the pages before the one that failed are written.
 *
 * Return: as vellum_mapping_read(); -VELLUM_EPERM (sealed); -VELLUM_ENOSPC (page_mkwrite() refused).
 */
int vellum_mapping_write(struct vellum_mapping *mapping, uint64_t offset, const void *buf, uint64_t len);

/**
 * vellum_mapping_update - change cached pages after the backing was changed directly
 * @buf: the @len new bytes; NULL: zeros, which takes time for cached pages only.
 *
 * For a backing that has just stored the same bytes where fault() finds them. The caller keeps fault() and writepage()
 * of these pages from running, from before that store until this call returns. The call makes no page dirty. Trackers
 * record the whole range. Bytes beyond the mapping's size are ignored.
 *
 * Context: takes the rmap lock for reading, and no page lock: other threads may hold them.
 */
void vellum_mapping_update(struct vellum_mapping *mapping, uint64_t offset, const void *buf, uint64_t len);

/**
 * vellum_mapping_next_cached - find the next cached page
 * @pgoff: in: the first page index to look at; out: that of the page, if there is one.
 *
 * Return: 1; 0: there is none. Other threads may add or drop pages at any time.
 */
int vellum_mapping_next_cached(struct vellum_mapping *mapping, uint64_t *pgoff);

/**
 * vellum_mapping_overlay - replace those bytes of @buf whose pages are cached or swapped out
 *
 * For a read(2) that read the backing: cached pages may be newer. A page that cannot be swapped in is left out.
 */
void vellum_mapping_overlay(struct vellum_mapping *mapping, uint64_t offset, void *buf, uint64_t len);

/**
 * vellum_mapping_set_size - make the mapping longer or shorter
 * @size: bytes, at most 2^52.
 *
 * Shorter: pages beyond the end are removed from the cache and from all VMAs, dirty or not, and private copies of them
 * too. The rest of the last page reads as zero. Longer: the new bytes read as zero. An access at or beyond the end,
 * rounded up to a page, is SIGBUS. No hook is told of the new size; it only shows in the @len of writepage().
 *
 * Context: takes page, rmap and page-table locks. Not callable from a hook of this mapping.
 * Return: 0; -VELLUM_EINVAL (too long, or a mapping of raw frames); -VELLUM_EPERM (sealed); -VELLUM_ENOMEM or
 *   -VELLUM_EIO (longer: the last page is swapped out and cannot be read).
 * Source: ftruncate(2), mmap(2) on SIGBUS.
 */
int vellum_mapping_set_size(struct vellum_mapping *mapping, uint64_t size);
uint64_t vellum_mapping_size(const struct vellum_mapping *mapping);

/**
 * vellum_mapping_punch_hole - deallocate a range, whose bytes then read as zero
 *
 * Whole pages are removed from the cache and from VMAs, but private copies stay. Parts of pages are zeroed. While
 * punch() runs, no page of the mapping can be brought in. Bytes beyond the last page of the mapping are ignored.
 *
 * Return: 0; -VELLUM_EINVAL (@len 0, wrap, or a mapping of raw frames); -VELLUM_EPERM (sealed); -VELLUM_EOPNOTSUPP
 *   (there is fault() or writepage(), but no punch()); -VELLUM_ENOMEM or -VELLUM_EIO (a page cannot be swapped in); or
 *   what writepage() or punch() returned. After an error of punch() the pages are written back and no longer cached.
 * Source: fallocate(2), FALLOC_FL_PUNCH_HOLE.
 */
int vellum_mapping_punch_hole(struct vellum_mapping *mapping, uint64_t offset, uint64_t len);

enum {	/* as in fcntl(2), F_ADD_SEALS */
	VELLUM_SEAL_SEAL = 0x1,
	VELLUM_SEAL_SHRINK = 0x2,
	VELLUM_SEAL_GROW = 0x4,
	VELLUM_SEAL_WRITE = 0x8,
	VELLUM_SEAL_FUTURE_WRITE = 0x10,
};

/**
 * vellum_mapping_add_seals - forbid changes of the mapping; seals cannot be removed
 * Return: 0; -VELLUM_EINVAL (unknown seal); -VELLUM_EPERM (VELLUM_SEAL_SEAL is set); -VELLUM_EBUSY (VELLUM_SEAL_WRITE
 *   while a shared VMA exists that may be made writable).
 * Source: fcntl(2).
 */
int vellum_mapping_add_seals(struct vellum_mapping *mapping, uint32_t seals);
uint32_t vellum_mapping_seals(const struct vellum_mapping *mapping);

/**
 * vellum_mapping_writeback - write dirty pages back
 * @first: page index.
 * @nr:    pages.
 * @written: out, may be NULL: pages written.
 *
 * First every shared entry of the range loses W and D; the dirt is propagated to the pages; the call flushes. Then
 * each dirty page is passed to writepage(). When the call returns 0, all that was stored before it is in the backing.
 * A page that is stored to meanwhile is dirty again, unless the store is in the bytes that were written.
 *
 * Context: as vellum_mapping_set_size().
 * Return: 0; or the first error of writepage(): those pages stay dirty, the others were written.
 */
int vellum_mapping_writeback(struct vellum_mapping *mapping, uint64_t first, uint64_t nr, uint64_t *written);

/**
 * vellum_mapping_writeback_unmapped - write all dirty pages back, if no VMA is left that may write to the mapping
 *
 * Cheap if there is nothing to do. For an embedder that writes files back at the last unmap.
 *
 * Return: 0, also if there was nothing to do; or as vellum_mapping_writeback(). The next vellum_mapping_sync() returns
 *         the error again, since munmap(2) cannot report it.
 */
int vellum_mapping_writeback_unmapped(struct vellum_mapping *mapping);

/**
 * vellum_mapping_sync - vellum_mapping_writeback(), then sync(): fsync(2) of a part of a mapped file
 *
 * Return: as vellum_mapping_writeback(); what sync() returned; or the error of an earlier writeback that no call has
 *         returned since.
 */
int vellum_mapping_sync(struct vellum_mapping *mapping, uint64_t first, uint64_t nr);

/**
 * vellum_mapping_invalidate - drop clean cached pages: the file was changed, and the cache does not know where
 *
 * The next access brings them in again. Dirty pages stay: their bytes replace those of the file when they are written.
 * Trackers record the whole mapping.
 * Context: as vellum_mapping_set_size().
 */
void vellum_mapping_invalidate(struct vellum_mapping *mapping);

/**
 * vellum_mapping_next - find the next page that the mapping has, in RAM or swapped out
 * @index: in: the first page index to look at; out: that of the page, written on success only.
 *
 * Return: 0; -VELLUM_ENOENT: there is none from @index on.
 */
int vellum_mapping_next(struct vellum_mapping *mapping, uint64_t *index);

/**
 * vellum_mapping_is_stale - whether a clean cached page differs from what fault() reads now
 *
 * For an embedder that has no other sign that the file was changed without the cache.
 *
 * Context: takes page locks, and calls fault() with them. Not callable from a hook of this mapping.
 * Return: 1: one differs; 0: none does, or there is no fault(); -VELLUM_ENOMEM; -VELLUM_EIO (fault() failed).
 */
int vellum_mapping_is_stale(struct vellum_mapping *mapping);

/** struct vellum_mapping_info - a snapshot; the counts are exact if no other call runs meanwhile. */
struct vellum_mapping_info {
	uint32_t size;		/* sizeof the structure */
	uint64_t bytes;		/* the mapping's size */
	uint64_t nr_cached;	/* pages */
	uint64_t nr_dirty;	/* cached pages that are known to differ from the backing */
	uint64_t nr_mapped;	/* VMAs, of all processes */
	uint64_t nr_writable;	/* of these: shared, and may be made writable */
	uint64_t nr_refs;	/* references; each VMA and each tracker has one */
};
int vellum_mapping_info(struct vellum_mapping *mapping, struct vellum_mapping_info *info);

/**
 * vellum_writeback_step - background writeback, which the embedder calls from time to time
 * @max: pages to write at most; 0: all.
 *
 * Return: pages written. The next vellum_mapping_sync() of a mapping returns its error.
 */
uint64_t vellum_writeback_step(struct vellum_memory *memory, uint64_t max);

/**
 * vellum_reclaim - free frames
 * @nr: frames wanted.
 *
 * Drops cached pages of mappings that are written back and have fault(): clean pages that are not mapped first, then
 * clean pages, then dirty pages, which it writes. Then swaps private and shared memory out, and drops pages after
 * VELLUM_MADV_FREE. Faults, copies and forks call this themselves before they fail for want of frames.
 *
 * Context: no core lock held. Takes page locks, and calls writepage() and the hooks of swap areas.
 * Return: frames freed, which may be fewer or a few more than @nr.
 */
uint64_t vellum_reclaim(struct vellum_memory *memory, uint64_t nr);

/**
 * vellum_unmap_mapping_range - remove every entry that maps pages or raw frames of the mapping
 * @first: first page index.
 * @nr:    pages; 0: nothing to do.
 *
 * Dirt is propagated to the pages and to the dirt() hook. Private copies stay. The next access faults. A driver that
 * takes raw frames back first makes fault() name other frames, and then calls this: a fault that got its frame before
 * this call began asks fault() again.
 *
 * Context: takes the mapping's rmap lock for reading and page-table locks; flushes.
 */
void vellum_unmap_mapping_range(struct vellum_mapping *mapping, uint64_t first, uint64_t nr);

/**
 * vellum_remap_pfn_range - map frames of a device at once, without faults
 * @addr, @len: page aligned, inside one VMA of a VELLUM_MAPPING_PFN mapping without VELLUM_MAPPING_DEVMAP, where no
 *        entry is present.
 * @pfn:  the first frame.
 *
 * Pieces that are aligned to 2 MiB or 1 GiB, in address and frame, get one huge leaf. Entries of a private VMA are
 * read-only and never huge: a huge leaf that a private VMA could write through would have to be copied whole. A
 * tracked VMA gets no huge leaves either.
 *
 * If the call fails, it unmaps and flushes what it has mapped, so the frames may be used for something else when it
 * returns (Linux since 6.11). A store of a CPU meanwhile is reported to the dirt() hook.
 *
 * Context: takes the mmap lock for reading, and page-table locks.
 * Return: 0; -VELLUM_EINVAL (range, not such a VMA; a private VMA must be mapped as a whole); -VELLUM_EBUSY (an entry
 *   is there, and stays); -VELLUM_ENOMEM.
 */
int vellum_remap_pfn_range(struct vellum_mm *mm, uint64_t addr, uint64_t pfn, uint64_t len);

/**
 * vellum_memory_alloc_device - allocate contiguous frames of RAM that entries map as raw frames
 * @nr:  frames, 1 to 512; rounded up to a power of two.
 * @pfn: out: the first frame.
 *
 * vellum_memory_free_device() frees them all; its @nr is not used.
 * Return: 0; -VELLUM_EINVAL; -VELLUM_ENOMEM.
 */
int vellum_memory_alloc_device(struct vellum_memory *memory, uint64_t nr, uint64_t *pfn);
void vellum_memory_free_device(struct vellum_memory *memory, uint64_t pfn, uint64_t nr);

/**
 * vellum_memory_add_device - add device memory outside RAM
 * @pfn:  first frame number, above RAM; @pfn + @nr is at most 2^40.
 * @nr:   frames.
 * @host: host address of its bytes. It stays the caller's, and must outlive the memory.
 *
 * Return: 0; -VELLUM_EINVAL (also if it overlaps RAM or other device memory); -VELLUM_ENOMEM.
 */
int vellum_memory_add_device(struct vellum_memory *memory, uint64_t pfn, uint64_t nr, void *host);

#ifdef __cplusplus
}
#endif
#endif
