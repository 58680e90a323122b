/* SPDX-License-Identifier: MIT */
/*
 * vellum/backing.h - what stands behind a mapping: files, devices, shared memory.
 *
 * A vellum_mapping is one object that address spaces map: it has an index of pages, and knows
 * every VMA that maps it. Its content comes from a driver's hooks, or is zero (shared memory).
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

/* What a hook returns (the bits of Linux's vm_fault_t that apply). */
enum {
	VELLUM_VMF_OK = 0,
	VELLUM_VMF_OOM = 1,
	VELLUM_VMF_SIGBUS = 2,
	VELLUM_VMF_NOPAGE = 0x100,	/* done, or not now: the CPU runs the instruction again */
	VELLUM_VMF_FALLBACK = 0x800,	/* huge_fault: smaller, please; pfn_fault: the object's own page */
	VELLUM_VMF_LOCKED = 0x200,	/* page_mkwrite only; the same as OK: the core has locked */
};

/**
 * struct vellum_vmf - one fault, for a driver's hook
 * @size:  sizeof(struct vellum_vmf).
 * @write: non-zero if the access writes.
 * @mm:    whose access it is.
 * @address: page-aligned guest address.
 * @pgoff: page index in the mapping.
 * @page:  managed mappings: host address of the page's 4096 bytes. In fault(): new, zeroed, to
 *         be filled. In page_mkwrite(): the page that is about to become writable.
 * @pfn:   pfn mappings: fault() sets it; pfn_mkwrite() finds it set.
 * @order: huge_fault(): 9 or 18: how many pages, as a power of two; else 0.
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
 * struct vellum_backing_ops - a driver's or file system's hooks; const
 * @size: sizeof(struct vellum_backing_ops).
 * @fault: bring page @vmf->pgoff in: fill @vmf->page, or set @vmf->pfn. Called once per page
 *         until it is dropped, with the page locked; NULL: pages start as zeros.
 * @page_mkwrite: a clean, read-only page of a shared mapping is about to become writable. Called
 *         with the page locked. NULL: nobody has to know.
 * @pfn_mkwrite: the same for an entry without a page.
 * @dirt: dirt leaves the page tables: a dirty entry has been removed (unmap, zap, exit), or a tracker took D of a raw
 *         frame's entry, and what it said is lost unless it is recorded now. Called with a page-table lock held
 *         and before the flush: set a bit (atomically, in a bitmap of its own: the helpers may be at work), call
 *         nothing, take no lock that is held around a call of a helper. Whoever uses the record
 *         calls a helper on that range first: it waits for the lock, so the flush is over then.
 * @release: the last reference to the mapping went away; its dirty pages have been written.
 * @writepage: write back the first @len bytes (1 to 4096: less only where the object ends) of page
 *         @pgoff. Called with the page locked, after it was write-protected and cleaned everywhere, so a
 *         store that comes meanwhile makes it dirty again. 0 or a negative error number: the page
 *         then stays dirty, and the error goes to the caller, or, if that is the background step or an unmap, to the
 *         next vellum_mapping_sync().
 * @sync:  make what writepage() wrote durable, as fsync(2). 0 or a negative error number.
 * @punch: deallocate the bytes [@offset, @offset + @len), which then read as zero. 0 or a negative
 *         error number. NULL: the object cannot have holes.
 *
 * @pfn_fault: of a VELLUM_MAPPING_MIXED object: set @vmf->pfn to the raw frame behind the page, or
 *         VELLUM_VMF_FALLBACK: it is a page of the object's own, which fault() fills.
 * @huge_fault: optional, of objects with raw frames. Nothing is mapped in the 2 MiB or 1 GiB (@vmf->order 9 or 18)
 *         around @vmf->address, and the mapping covers all of it: set @vmf->pfn to the frame at their start, so
 *         aligned, and they get one huge entry; or VELLUM_VMF_FALLBACK. Asked again, with @vmf->write and
 *         @vmf->pfn its first frame, when a huge entry that is there is stored to and the object has
 *         pfn_mkwrite(): OK lets all of it be written, FALLBACK splits it, so that pfn_mkwrite() is asked page by
 *         page. A first store where nothing is has @vmf->write too, and @vmf->pfn 0.
 *
 * @fault, @pfn_fault, @huge_fault, @page_mkwrite and @pfn_mkwrite may be called with the mmap lock of the faulting
 * address space held for reading, so they must not map or unmap there. Any return of theirs but those named
 * above counts as VELLUM_VMF_SIGBUS.
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
};

enum {
	VELLUM_MAPPING_PFN = 1 << 0,	/* entries map raw frames: device memory */
	/*
	 * The pages are a cache: writers are notified, dirty pages are written back, clean ones may be
	 * dropped under pressure if there is a fault() hook to bring them back.
	 */
	VELLUM_MAPPING_WRITEBACK = 1 << 1,
	/*
	 * Every entry starts without W, though no hook asks for it: the first store to a page faults, and is let
	 * through. For a driver that looks at its entries itself.
	 */
	VELLUM_MAPPING_READ_FIRST = 1 << 2,
	VELLUM_MAPPING_UNCACHED = 1 << 3,	/* entries have the cache-disable bit (PCD) */
	VELLUM_MAPPING_WRITE_COMBINING = 1 << 4, /* entries have the write-through bit (PWT): WC by Linux's PAT */
	/* Some pages are raw frames, the others the object's own: pfn_fault() says which. */
	VELLUM_MAPPING_MIXED = 1 << 5,
	/*
	 * With VELLUM_MAPPING_PFN or _MIXED: the frames are a device's memory that stands for pages of a file (DAX).
	 * Their entries say so (devmap), a fork does not copy them, since faults bring them back, and long-term
	 * pins are refused.
	 */
	VELLUM_MAPPING_DEVMAP = 1 << 6,
};

/**
 * vellum_mapping_create - an object that address spaces can map
 * @memory:   where its pages live.
 * @ops:      hooks, kept; NULL for zero-filled shared memory.
 * @ctx:      passed to the hooks.
 * @nr_pages: its length in pages, 1 to 2^40 (vellum_mapping_set_size() has bytes); an access beyond
 *            is SIGBUS.
 * @flags:    VELLUM_MAPPING_*.
 * @out:      the mapping with one reference.
 *
 * Return: 0, -VELLUM_EINVAL (a pfn mapping needs a fault hook), -VELLUM_ENOMEM.
 */
int vellum_mapping_create(struct vellum_memory *memory, const struct vellum_backing_ops *ops,
			  void *ctx, uint64_t nr_pages, uint32_t flags,
			  struct vellum_mapping **out);
void vellum_mapping_get(struct vellum_mapping *mapping);
/** vellum_mapping_put - drop a reference; VMAs hold theirs. The last one calls release(). */
void vellum_mapping_put(struct vellum_mapping *mapping);

/* --- the page cache: what hangs on a mapping --- */

/**
 * vellum_mapping_read - copy bytes out of the mapping's own pages
 * @offset: bytes from the start. @len: bytes; @offset + @len within the object's size.
 *
 * Pages that are not there are brought in by fault(); without the hook they read as zero. Not for pfn
 * mappings. Not atomic against writers.
 *
 * Context: takes page locks, of pages that are not there yet. Not callable from a hook of this mapping.
 * Return: 0, -VELLUM_EINVAL, -VELLUM_ENOMEM, -VELLUM_EIO (fault() failed).
 */
int vellum_mapping_read(struct vellum_mapping *mapping, uint64_t offset, void *buf, uint64_t len);

/**
 * vellum_mapping_write - store bytes as write(2) would: pages become dirty, trackers are told
 *
 * As vellum_mapping_read(); page_mkwrite() is asked before a page is changed. What is before the
 * page that failed has been written.
 *
 * Return: 0; also -VELLUM_EPERM (sealed), -VELLUM_ENOSPC (page_mkwrite() refused).
 */
int vellum_mapping_write(struct vellum_mapping *mapping, uint64_t offset, const void *buf, uint64_t len);

/**
 * vellum_mapping_update - the object's bytes changed behind the cache: follow, where pages are cached
 * @buf: the @len new bytes; NULL: zeros, which takes time for cached pages only.
 *
 * For a backing that has just put the same bytes where fault() finds them; it keeps fault() and
 * writepage() of these pages from running from before that until this call is over. Pages do not
 * become dirty by it; trackers are told. Bytes beyond the size are ignored.
 *
 * Context: takes the rmap lock for reading; callable with page locks held by others.
 */
void vellum_mapping_update(struct vellum_mapping *mapping, uint64_t offset, const void *buf, uint64_t len);

/**
 * vellum_mapping_next_cached - the next page that is cached
 * @pgoff: in: where to look from; out: the page's index, if there is one.
 *
 * Return: 1, or 0: there is none. Pages come and go meanwhile.
 */
int vellum_mapping_next_cached(struct vellum_mapping *mapping, uint64_t *pgoff);

/**
 * vellum_mapping_overlay - replace the bytes of @buf by the cached ones, where pages are cached
 *
 * For a read(2) that went to the backing: cached pages may be newer.
 */
void vellum_mapping_overlay(struct vellum_mapping *mapping, uint64_t offset, void *buf, uint64_t len);

/**
 * vellum_mapping_set_size - make the object longer or shorter
 * @size: bytes, at most 2^52.
 *
 * Shorter: pages beyond are removed everywhere, private copies of them too, dirty or not; the rest of
 * the last page reads as zero. Longer: the new bytes read as zero. An access at or beyond the end,
 * rounded up to a page, is SIGBUS. fault() and writepage() are told of the new end by @len alone.
 *
 * Context: takes page, rmap and page-table locks. Not callable from a hook of this mapping.
 * Return: 0, -VELLUM_EINVAL (too long, or a pfn mapping), -VELLUM_EPERM (sealed), -VELLUM_ENOMEM or -VELLUM_EIO
 *   (longer: the last page was swapped out and cannot come back).
 * Source: ftruncate(2), mmap(2) on SIGBUS.
 */
int vellum_mapping_set_size(struct vellum_mapping *mapping, uint64_t size);
uint64_t vellum_mapping_size(const struct vellum_mapping *mapping);

/**
 * vellum_mapping_punch_hole - the bytes read as zero from here on, and take no memory
 *
 * Whole pages are removed everywhere, but private copies stay; parts of pages are zeroed. punch() is
 * called while no page of the object can be brought in.
 *
 * Return: 0, -VELLUM_EINVAL, -VELLUM_EPERM (sealed), -VELLUM_EOPNOTSUPP (there is a fault() or
 *   writepage(), but no punch() hook), or what writepage() or punch() returned (after an error of punch()
 *   the pages are gone from the cache all the same, having been written back).
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
 * vellum_mapping_add_seals - forbid changes for good
 * Return: 0; -VELLUM_EINVAL (unknown seal); -VELLUM_EPERM (sealed against it);
 *   -VELLUM_EBUSY (VELLUM_SEAL_WRITE while shared mappings exist that may be made writable).
 * Source: fcntl(2).
 */
int vellum_mapping_add_seals(struct vellum_mapping *mapping, uint32_t seals);
uint32_t vellum_mapping_seals(const struct vellum_mapping *mapping);

/**
 * vellum_mapping_writeback - write dirty pages back
 * @first: page index. @nr: pages.
 * @written: out, may be NULL: pages written.
 *
 * First every shared entry of the range loses W and D, the dirt going to the pages; flushed; then each
 * dirty page is written. What was stored before the call is with the backing when it returns 0;
 * what is stored meanwhile is written or the page is dirty again.
 *
 * Context: as vellum_mapping_set_size().
 * Return: 0 or the first error of writepage(); those pages stay dirty.
 */
int vellum_mapping_writeback(struct vellum_mapping *mapping, uint64_t first, uint64_t nr, uint64_t *written);

/**
 * vellum_mapping_writeback_unmapped - all of it, if no mapping is left through which it may be written
 *
 * Cheap where there is nothing to do: for an embedder that writes files back at the last unmap.
 *
 * Return: 0, also if there was nothing to do; or as vellum_mapping_writeback(): the next
 *         vellum_mapping_sync() returns the error too, since whoever unmapped cannot be told.
 */
int vellum_mapping_writeback_unmapped(struct vellum_mapping *mapping);

/**
 * vellum_mapping_sync - vellum_mapping_writeback(), then sync(): fsync(2) of a part of a mapped file
 *
 * Return: also an error of an earlier writeback that nobody has been told of, once.
 */
int vellum_mapping_sync(struct vellum_mapping *mapping, uint64_t first, uint64_t nr);

/**
 * vellum_mapping_invalidate - drop clean pages: the object was changed behind the cache
 *
 * The next access brings them in again. Dirty pages stay: their bytes win when they are written.
 */
void vellum_mapping_invalidate(struct vellum_mapping *mapping);

/**
 * vellum_mapping_next - find a page that an object has, in RAM or swapped out
 * @index: in: the first page number to look at; out: that of the page, written on success only.
 *
 * Return: 0; -VELLUM_ENOENT: there is none from @index on.
 */
int vellum_mapping_next(struct vellum_mapping *mapping, uint64_t *index);

/**
 * vellum_mapping_is_stale - whether a clean cached page differs from what fault() reads now
 *
 * For an embedder that cannot tell by other means that the object was changed behind the cache.
 *
 * Context: takes page locks, and calls fault() with them. Not callable from a hook of this mapping.
 * Return: 1 if one does; 0 if none does, or if there is no fault(); -VELLUM_ENOMEM; -VELLUM_EIO (fault() failed).
 */
int vellum_mapping_is_stale(struct vellum_mapping *mapping);

/** struct vellum_mapping_info - a snapshot; counts are exact if nothing runs meanwhile. */
struct vellum_mapping_info {
	uint64_t size;		/* bytes */
	uint64_t nr_cached;	/* pages */
	uint64_t nr_dirty;	/* cached pages known to be newer than the backing */
	uint64_t nr_mapped;	/* VMAs, of all processes */
	uint64_t nr_writable;	/* of these: shared, and may be made writable */
	uint64_t nr_refs;	/* references; each VMA and each tracker has one */
};
void vellum_mapping_info(struct vellum_mapping *mapping, struct vellum_mapping_info *info);

/**
 * vellum_writeback_step - the background part of writeback, for the embedder to call now and then
 * @max: pages to write at most; 0: all.
 *
 * Return: pages written. Errors wait for the next vellum_mapping_sync().
 */
uint64_t vellum_writeback_step(struct vellum_memory *memory, uint64_t max);

/**
 * vellum_reclaim - make frames free by dropping cached pages, clean ones first
 * @nr: frames wanted.
 *
 * Faults and forks do this by themselves before they fail for want of frames.
 *
 * Context: no core lock held.
 * Return: frames freed; fewer if there is no more.
 */
uint64_t vellum_reclaim(struct vellum_memory *memory, uint64_t nr);

/**
 * vellum_unmap_mapping_range - remove every entry that maps pages of the object
 * @first: first page index. @nr: pages, at least 1.
 *
 * Dirt goes to the pages, or to the dirt() hook. Private copies stay. The next access faults. A driver
 * that takes frames back changes what its fault() hook answers first: answers from before this call
 * began are asked for again.
 *
 * Context: takes the mapping's rmap lock and page-table locks; flushes.
 */
void vellum_unmap_mapping_range(struct vellum_mapping *mapping, uint64_t first, uint64_t nr);

/**
 * vellum_remap_pfn_range - map frames of a device at once, without faults
 * @addr, @len: page aligned, inside one mapping of a VELLUM_MAPPING_PFN object, where nothing is mapped yet.
 * @pfn: the first frame.
 *
 * Pieces that are aligned so, in address and frame, get entries of 1 GiB and 2 MiB. Those of a private mapping are
 * read-only, and never huge: a huge entry that a private mapping could write through would have to be copied whole.
 *
 * If it fails, what it has mapped until then is unmapped again and flushed: the frames may be used otherwise
 * when it returns, as with Linux since 6.11. A store that a CPU makes meanwhile is told to the dirt() hook.
 *
 * Return: 0; -VELLUM_EINVAL (range, not such a mapping; a private one must be mapped as a whole); -VELLUM_EBUSY
 *   (something is there, and stays); -VELLUM_ENOMEM.
 */
int vellum_remap_pfn_range(struct vellum_mm *mm, uint64_t addr, uint64_t pfn, uint64_t len);

/**
 * vellum_memory_alloc_device - frames of RAM without a folio, as a device would own them
 * @nr: frames, 1 to 512; contiguous. @pfn: out, the first.
 *
 * Return: 0, -VELLUM_EINVAL, -VELLUM_ENOMEM. They are given back with vellum_memory_free_device().
 */
int vellum_memory_alloc_device(struct vellum_memory *memory, uint64_t nr, uint64_t *pfn);
void vellum_memory_free_device(struct vellum_memory *memory, uint64_t pfn, uint64_t nr);

/**
 * vellum_memory_add_device - device memory outside RAM
 * @pfn:  first frame number, above RAM. @nr: frames. @host: where its bytes are; stays the
 *        caller's, must outlive the memory.
 *
 * Return: 0, -VELLUM_EINVAL if it overlaps RAM or other device memory, -VELLUM_ENOMEM.
 */
int vellum_memory_add_device(struct vellum_memory *memory, uint64_t pfn, uint64_t nr, void *host);

#ifdef __cplusplus
}
#endif
#endif
