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
 */
struct vellum_vmf {
	uint32_t size;
	int write;
	struct vellum_mm *mm;
	uint64_t address;
	uint64_t pgoff;
	void *page;
	uint64_t pfn;
};

/**
 * struct vellum_backing_ops - a driver's or file system's hooks; const
 * @size: sizeof(struct vellum_backing_ops).
 * @fault: bring page @vmf->pgoff in: fill @vmf->page, or set @vmf->pfn. Called once per page
 *         until it is dropped, with the page locked; NULL: pages start as zeros.
 * @page_mkwrite: a clean, read-only page of a shared mapping is about to become writable. Called
 *         with the page locked. NULL: nobody has to know.
 * @pfn_mkwrite: the same for an entry without a page.
 * @dirt: dirt leaves the page tables: a dirty entry has been removed (unmap, zap, exit), and what it
 *         said is lost unless it is recorded now. Called with a page-table lock held and before the
 *         flush: set a bit (atomically, in a bitmap of its own: the helpers may be at work), call
 *         nothing, take no lock that is held around a call of a helper. Whoever uses the record
 *         calls a helper on that range first: it waits for the lock, so the flush is over then.
 * @release: the last reference to the mapping went away.
 *
 * All but @dirt are called with the mmap lock of the faulting address space held for reading,
 * so they must not map or unmap there. Any return but those named above counts as
 * VELLUM_VMF_SIGBUS.
 */
struct vellum_backing_ops {
	uint32_t size;
	int (*fault)(void *ctx, struct vellum_vmf *vmf);
	int (*page_mkwrite)(void *ctx, struct vellum_vmf *vmf);
	int (*pfn_mkwrite)(void *ctx, struct vellum_vmf *vmf);
	void (*dirt)(void *ctx, uint64_t pgoff);
	void (*release)(void *ctx);
};

enum {
	VELLUM_MAPPING_PFN = 1 << 0,	/* entries map raw frames: device memory */
	VELLUM_MAPPING_WRITEBACK = 1 << 1, /* dirty pages are written back: writers are notified */
};

/**
 * vellum_mapping_create - an object that address spaces can map
 * @memory:   where its pages live.
 * @ops:      hooks, kept; NULL for zero-filled shared memory.
 * @ctx:      passed to the hooks.
 * @nr_pages: its length in pages, 1 to 2^40; an access beyond is SIGBUS.
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

/**
 * vellum_mapping_read - copy bytes out of the mapping's own pages
 * @offset: bytes from the start. @len: bytes; @offset + @len within the mapping.
 *
 * Pages never brought in read as zero. Not for pfn mappings. Not atomic against writers.
 *
 * Context: takes the mapping's page lock.
 * Return: 0, or -VELLUM_EINVAL.
 */
int vellum_mapping_read(struct vellum_mapping *mapping, uint64_t offset, void *buf, uint64_t len);

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
