/* SPDX-License-Identifier: MIT */
/*
 * vellum/mm.h - memory and address spaces: create, map, protect, move, fork, destroy.
 *
 * Semantics and errors are Linux's: mmap(2), munmap(2), mprotect(2), mremap(2), brk(2),
 * madvise(2), fork(2). Addresses and lengths are bytes unless a name says pages. All calls
 * are thread-safe; calls on one address space that change its mappings serialize on its mmap
 * lock. Unless stated otherwise a call that fails has changed nothing.
 */
#ifndef VELLUM_MM_H
#define VELLUM_MM_H

#include <stdint.h>

#include "vellum/errno.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VELLUM_PAGE_SIZE 4096u
#define VELLUM_TASK_SIZE 0x7ffffffff000ull	/* end of user addresses, exclusive */

struct vellum_host_ops;
struct vellum_mmu_ops;
struct vellum_memory;
struct vellum_mm;
struct vellum_mapping;

/**
 * struct vellum_memory_args - what memory is made of
 * @size:     sizeof(struct vellum_memory_args).
 * @host:     the host's hooks; @host_ctx is passed to them. Must outlive the memory.
 * @mmu:      the machine's hooks; NULL: nobody holds translations (tables only). @machine is
 *            passed to them.
 * @ram:      host address of RAM, aligned to 4096, zero-filled. @ram_size: bytes, a multiple of
 *            2 MiB, at least 4 MiB. Physical address = offset, but for the hole.
 * @reserved: bytes at the start of RAM that the core leaves alone (multiple of 4096; 0: one page).
 * @hole_start, @hole_size: guest-physical bytes that are no RAM (page multiples, 0: none): RAM
 *            from offset @hole_start on appears @hole_size higher.
 */
struct vellum_memory_args {
	uint32_t size;
	const struct vellum_host_ops *host;
	void *host_ctx;
	const struct vellum_mmu_ops *mmu;
	void *machine;
	void *ram;
	uint64_t ram_size;
	uint64_t reserved;
	uint64_t hole_start;
	uint64_t hole_size;
};

/**
 * vellum_memory_create - RAM with its frames and everything that hangs on it
 *
 * Return: 0 and *@out; -VELLUM_EINVAL if @args breaks a rule; -VELLUM_ENOMEM.
 */
int vellum_memory_create(const struct vellum_memory_args *args, struct vellum_memory **out);

/**
 * vellum_memory_destroy - free it
 *
 * Swap areas are forgotten with it.
 * Return: 0, or -VELLUM_EBUSY while address spaces, mappings or devices live in it.
 */
int vellum_memory_destroy(struct vellum_memory *memory);

/** struct vellum_memory_info - frames; the counts are a snapshot. */
struct vellum_memory_info {
	uint64_t nr_frames;	/* all of RAM */
	uint64_t nr_free;	/* not in use */
	uint64_t frame_metadata; /* bytes of metadata a frame */
};
void vellum_memory_info(struct vellum_memory *memory, struct vellum_memory_info *info);

/** vellum_memory_trim - give free 2 MiB blocks back to the host (host_ops->discard). */
void vellum_memory_trim(struct vellum_memory *memory);

/**
 * vellum_set_max_map_count - how many mappings an address space of this memory may have
 * @max: 1 to 2^30; at first 65530, as vm.max_map_count of Linux.
 *
 * Address spaces that have more keep them. Return: 0, -VELLUM_EINVAL. Source: proc_sys_vm(5).
 */
int vellum_set_max_map_count(struct vellum_memory *memory, uint32_t max);

/**
 * vellum_mm_create - an empty address space with one reference
 * Return: 0, -VELLUM_ENOMEM.
 */
int vellum_mm_create(struct vellum_memory *memory, struct vellum_mm **out);
void vellum_mm_get(struct vellum_mm *mm);
/** vellum_mm_put - drop a reference. The last one unmaps everything: no CPU may be active. */
void vellum_mm_put(struct vellum_mm *mm);

enum {
	VELLUM_PROT_NONE = 0,
	VELLUM_PROT_READ = 1,
	VELLUM_PROT_WRITE = 2,
	VELLUM_PROT_EXEC = 4,
};

enum {
	VELLUM_MAP_SHARED = 1,
	VELLUM_MAP_PRIVATE = 2,
	VELLUM_MAP_SHARED_VALIDATE = 3,
	VELLUM_MAP_FIXED = 0x10,
	VELLUM_MAP_ANONYMOUS = 0x20,
	VELLUM_MAP_GROWSDOWN = 0x100,	/* a fault below it makes it grow */
	VELLUM_MAP_LOCKED = 0x2000,
	VELLUM_MAP_NORESERVE = 0x4000,
	VELLUM_MAP_POPULATE = 0x8000,
	VELLUM_MAP_STACK = 0x20000,
	VELLUM_MAP_FIXED_NOREPLACE = 0x100000,
};

/**
 * struct vellum_map_args - a request to map
 * @size:  sizeof(struct vellum_map_args).
 * @addr:  where, or a hint; 0: anywhere. Page aligned with VELLUM_MAP_FIXED*.
 * @len:   bytes, not 0; rounded up to pages.
 * @prot:  VELLUM_PROT_*.
 * @flags: VELLUM_MAP_*.
 * @mapping: the object; ignored with VELLUM_MAP_ANONYMOUS. The VMA takes a reference.
 * @pgoff: first page of the object.
 * @file_prot: how the object was opened: VELLUM_PROT_READ and/or VELLUM_PROT_WRITE. Needs READ;
 *         without WRITE a shared mapping never becomes writable.
 */
struct vellum_map_args {
	uint32_t size;
	uint64_t addr;
	uint64_t len;
	uint32_t prot;
	uint32_t flags;
	struct vellum_mapping *mapping;
	uint64_t pgoff;
	uint32_t file_prot;
};

/**
 * vellum_mmap - map pages
 * @addr: out, where.
 *
 * Return: 0; -VELLUM_EINVAL (length 0, unaligned, bad type, GROWSDOWN of what is not private and
 *   anonymous), -VELLUM_ENOMEM (no gap, map count, memory; private writable memory larger than RAM and
 *   swap without NORESERVE), -VELLUM_EAGAIN (LOCKED beyond the limit), -VELLUM_EACCES (shared
 *   writable mapping of an object not open for writing, object not readable), -VELLUM_EBADF (no object),
 *   -VELLUM_EEXIST (FIXED_NOREPLACE on something), -VELLUM_EOVERFLOW (@pgoff + length),
 *   -VELLUM_EPERM (below the lowest address, 64 KiB; a seal), -VELLUM_EOPNOTSUPP (SHARED_VALIDATE with
 *   an unknown flag). If MAP_FIXED fails after the old mappings were removed, they stay removed.
 * Source: mmap(2).
 */
int vellum_mmap(struct vellum_mm *mm, const struct vellum_map_args *args, uint64_t *addr);

/**
 * vellum_munmap - remove mappings; holes are no error
 * Return: 0; -VELLUM_EINVAL (unaligned, length 0, beyond the end); -VELLUM_ENOMEM (a split would
 *   exceed the map count, or needs memory). Source: munmap(2).
 */
int vellum_munmap(struct vellum_mm *mm, uint64_t addr, uint64_t len);

/**
 * vellum_mprotect - change rights
 * Return: 0; -VELLUM_EINVAL; -VELLUM_ENOMEM (a hole: what is before it has changed; or a split);
 *   -VELLUM_EACCES (beyond what the object allows: what is before has changed). Source: mprotect(2).
 */
int vellum_mprotect(struct vellum_mm *mm, uint64_t addr, uint64_t len, uint32_t prot);

enum { VELLUM_MREMAP_MAYMOVE = 1, VELLUM_MREMAP_FIXED = 2, VELLUM_MREMAP_DONTUNMAP = 4 };

/**
 * vellum_mremap - grow, shrink or move a mapping
 * @flags: 0 or VELLUM_MREMAP_*; FIXED needs MAYMOVE and unmaps what is at the target; DONTUNMAP needs
 *         MAYMOVE and equal lengths: the pages move, the old mapping stays and is empty.
 * @old_len: 0: a second mapping of the same shared pages; needs MAYMOVE.
 * @new_addr: out; with VELLUM_MREMAP_FIXED also in: the target.
 *
 * Return: 0; -VELLUM_EINVAL (unaligned, @new_len 0, @old_len 0 of private memory, bad flags, a bad or
 *   overlapping target); -VELLUM_EAGAIN (locked memory would grow beyond the limit); -VELLUM_EFAULT (nothing
 *   mapped there, or the old range crosses the end of its mapping); -VELLUM_ENOMEM (no room, or may
 *   not move; on a failed move everything is moved back). Source: mremap(2).
 */
int vellum_mremap(struct vellum_mm *mm, uint64_t old_addr, uint64_t old_len, uint64_t new_len,
		  uint32_t flags, uint64_t *new_addr);

/**
 * vellum_map_shadow_stack - memory for a shadow stack: private, and stored to by shadow-stack accesses alone
 * @addr: in: where, page aligned, or 0: anywhere; out: where it is. @len: bytes, rounded up to pages.
 *
 * Return: as vellum_mmap() with MAP_FIXED_NOREPLACE. Source: the kernel's arch/x86/shstk.rst.
 */
int vellum_map_shadow_stack(struct vellum_mm *mm, uint64_t *addr, uint64_t len);

/**
 * vellum_set_brk - where the heap is: an empty heap at @start (page aligned); for a loader
 */
void vellum_set_brk(struct vellum_mm *mm, uint64_t start);

/**
 * vellum_set_mmap_top - where mappings without an address of their own go: below @top (at first
 * VELLUM_TASK_SIZE); for a loader that keeps room for a stack
 */
void vellum_set_mmap_top(struct vellum_mm *mm, uint64_t top);

/**
 * vellum_brk - set the program break
 * @addr: wanted break; 0 or one below the start only asks.
 *
 * Return: the break now in force, as the system call does. Source: brk(2), Linux notes.
 */
uint64_t vellum_brk(struct vellum_mm *mm, uint64_t addr);

enum {
	VELLUM_MADV_NORMAL = 0,
	VELLUM_MADV_RANDOM = 1,
	VELLUM_MADV_SEQUENTIAL = 2,
	VELLUM_MADV_WILLNEED = 3,
	VELLUM_MADV_DONTNEED = 4,
	VELLUM_MADV_FREE = 8,
	VELLUM_MADV_REMOVE = 9,
	VELLUM_MADV_DONTFORK = 10,
	VELLUM_MADV_DOFORK = 11,
	VELLUM_MADV_MERGEABLE = 12,
	VELLUM_MADV_UNMERGEABLE = 13,
	VELLUM_MADV_HUGEPAGE = 14,
	VELLUM_MADV_NOHUGEPAGE = 15,
	VELLUM_MADV_DONTDUMP = 16,
	VELLUM_MADV_DODUMP = 17,
	VELLUM_MADV_WIPEONFORK = 18,
	VELLUM_MADV_KEEPONFORK = 19,
	VELLUM_MADV_COLD = 20,
	VELLUM_MADV_PAGEOUT = 21,
	VELLUM_MADV_POPULATE_READ = 22,
	VELLUM_MADV_POPULATE_WRITE = 23,
	VELLUM_MADV_DONTNEED_LOCKED = 24,
	VELLUM_MADV_COLLAPSE = 25,
	VELLUM_MADV_GUARD_INSTALL = 102,
	VELLUM_MADV_GUARD_REMOVE = 103,
};

/**
 * vellum_madvise - advice about a range
 * @advice: VELLUM_MADV_*.
 *
 * DONTNEED drops the pages now: private memory reads as zero or as the object again. FREE lets private anonymous
 * pages be dropped rather than swapped out, until they are stored to again. REMOVE punches a hole into the object.
 * WILLNEED brings the object's pages into the cache; POPULATE_* also maps them, as loads or stores would,
 * and says what went wrong. COLD takes the signs of use away, PAGEOUT swaps out and writes back at once.
 * DONTFORK: a child has nothing there; WIPEONFORK: it finds zeros. RANDOM: a fault maps no neighbours. HUGEPAGE: a
 * first store brings 2 MiB in at once where they fit; COLLAPSE makes 2 MiB of what is there. GUARD_INSTALL:
 * accesses are a SIGSEGV, without a mapping of its own, until GUARD_REMOVE. The others change nothing that can be seen.
 *
 * Return: 0; -VELLUM_EINVAL (unaligned, wrap, advice; DONTNEED, REMOVE, PAGEOUT, COLD of locked memory; DONTNEED,
 *   POPULATE, REMOVE, PAGEOUT, COLD of device memory; FREE, WIPEONFORK, GUARD_* of what is not private and anonymous;
 *   GUARD_INSTALL of locked memory; REMOVE of what has no object; POPULATE without the right; COLLAPSE of less than an
 *   aligned 2 MiB, or of what cannot be huge); -VELLUM_ENOMEM (parts are not mapped; the mapped rest was
 *   processed, but POPULATE stops); -VELLUM_EACCES (REMOVE through a mapping that may not be written);
 *   -VELLUM_EAGAIN (no memory; COLLAPSE: a page is in use elsewhere); -VELLUM_EBUSY (COLLAPSE: no block of
 *   2 MiB, or a userfaultfd would miss a fault); -VELLUM_EFAULT (POPULATE: the access would be a signal);
 *   -VELLUM_EHWPOISON (POPULATE); REMOVE also: as vellum_mapping_punch_hole(). Source: madvise(2).
 */
int vellum_madvise(struct vellum_mm *mm, uint64_t addr, uint64_t len, int advice);

enum { VELLUM_MS_ASYNC = 1, VELLUM_MS_INVALIDATE = 2, VELLUM_MS_SYNC = 4 };

/**
 * vellum_msync - write a mapped range back
 * @flags: VELLUM_MS_SYNC: what was stored through shared mappings is with the backing, and its sync()
 *   was called, when this returns. ASYNC checks only: vellum_writeback_step() will write.
 *
 * Context: the mmap lock is not held while pages are written.
 * Return: 0; -VELLUM_EINVAL (unaligned, unknown flag, ASYNC and SYNC); -VELLUM_ENOMEM (a hole; with
 *   SYNC the rest was written); -VELLUM_EBUSY (INVALIDATE of locked memory); or as
 *   vellum_mapping_sync(). Source: msync(2).
 */
int vellum_msync(struct vellum_mm *mm, uint64_t addr, uint64_t len, int flags);

/**
 * vellum_mincore - which pages are in memory
 * @vec: one byte for each page of @len, bit 0: an access would need nothing brought in.
 *
 * Return: 0; -VELLUM_EINVAL (unaligned); -VELLUM_ENOMEM (a hole). Source: mincore(2).
 */
int vellum_mincore(struct vellum_mm *mm, uint64_t addr, uint64_t len, uint8_t *vec);

enum { VELLUM_MLOCK_ONFAULT = 1 };
enum { VELLUM_MCL_CURRENT = 1, VELLUM_MCL_FUTURE = 2, VELLUM_MCL_ONFAULT = 4 };

/**
 * vellum_mlock - bring a range in and keep it: reclaim passes it over
 * @addr: rounded down to a page. @flags: 0, or VELLUM_MLOCK_ONFAULT: pages as they are faulted in.
 *
 * Return: 0; -VELLUM_EINVAL (flags, wrap); -VELLUM_ENOMEM (a hole, beyond the limit, a split beyond the map
 *   count); -VELLUM_EPERM (the limit is 0); -VELLUM_EAGAIN (some pages could not be brought in).
 * Source: mlock(2).
 */
int vellum_mlock(struct vellum_mm *mm, uint64_t addr, uint64_t len, uint32_t flags);
int vellum_munlock(struct vellum_mm *mm, uint64_t addr, uint64_t len);
int vellum_mlockall(struct vellum_mm *mm, uint32_t flags);
int vellum_munlockall(struct vellum_mm *mm);

/**
 * vellum_set_limits - RLIMIT_MEMLOCK and RLIMIT_STACK of an address space, in bytes
 *
 * ~0: none. Until the call: no limit for locked memory, 8 MiB for what MAP_GROWSDOWN may grow to.
 */
void vellum_set_limits(struct vellum_mm *mm, uint64_t memlock, uint64_t stack);

/**
 * vellum_fork - copy an address space, private pages copy-on-write
 * @out: the child, one reference. It shares no lifetime with the parent.
 *
 * Context: holds the parent's mmap lock for writing; flushes the parent before it is dropped.
 * Return: 0, -VELLUM_ENOMEM (the parent is as before but for write permissions, which the next
 *   fault gives back). Source: fork(2).
 */
int vellum_fork(struct vellum_mm *parent, struct vellum_mm **out);

/** struct vellum_vma_info - one mapping as it stands. */
struct vellum_vma_info {
	uint64_t start, end;
	uint32_t prot;		/* VELLUM_PROT_* */
	int shared;
	int locked;		/* by mlock, not only as it is faulted in */
	int device;		/* raw frames: may change without any store */
	struct vellum_mapping *mapping; /* NULL: private anonymous. Valid while it stays mapped */
	uint64_t pgoff;
	uint64_t write_faults;	/* faults by stores; a split leaves the count to the lower part */
};

/**
 * vellum_vma_next - the first mapping that ends above an address
 * Return: 0 and *@info, or -VELLUM_ENOENT.
 */
int vellum_vma_next(struct vellum_mm *mm, uint64_t addr, struct vellum_vma_info *info);

enum vellum_counter {
	VELLUM_COUNT_FAULT_READ_ZERO,	/* read of fresh private memory */
	VELLUM_COUNT_FAULT_ANON,	/* store to fresh private memory */
	VELLUM_COUNT_FAULT_COW,		/* store that copied a page */
	VELLUM_COUNT_FAULT_REUSE,	/* store to an own page that was read-only */
	VELLUM_COUNT_FAULT_FILE_READ,
	VELLUM_COUNT_FAULT_FILE_COW,	/* first store to a private file page */
	VELLUM_COUNT_FAULT_SHARED,	/* store that brought a shared page in */
	VELLUM_COUNT_FAULT_NOTIFY,	/* store to a read-only shared page */
	VELLUM_COUNT_FAULT_SPURIOUS,
	VELLUM_COUNT_FAULT_UFFD,	/* waited for a userfaultfd's reader */
	VELLUM_COUNT_FAULT_SWAP,	/* brought a page back that was swapped out */
	VELLUM_COUNT_FAULT_HUGE,	/* mapped or changed a huge page */
	VELLUM_COUNT_FAULT_ERROR,	/* ended in a signal */
	VELLUM_COUNT_TLB_FLUSHES,
	VELLUM_NR_COUNTERS
};

/** vellum_mm_counter - one of the counters since creation; approximate while others run. */
uint64_t vellum_mm_counter(const struct vellum_mm *mm, enum vellum_counter counter);
/** vellum_counter_name - e.g. "anon"; constant. NULL beyond the last. */
const char *vellum_counter_name(enum vellum_counter counter);

/** vellum_mm_rss - pages present now. */
uint64_t vellum_mm_rss(const struct vellum_mm *mm);
/** vellum_mm_swapped - pages that are swapped out, by entries that name them. */
uint64_t vellum_mm_swapped(const struct vellum_mm *mm);

/**
 * vellum_validate - check every invariant (ARCHITECTURE.md, INV-*) of all address spaces
 * @why: out, may be NULL: a constant string that names the first that fails.
 *
 * Context: nothing else may run in this memory meanwhile.
 * Return: 0, -VELLUM_EFAULT if one fails, -VELLUM_ENOMEM.
 */
int vellum_validate(struct vellum_memory *memory, const char **why);

#ifdef __cplusplus
}
#endif
#endif
