/* SPDX-License-Identifier: MIT */
/*
 * vellum/mm.h - memory and address spaces: create, map, protect, move, fork, destroy.
 *
 * Semantics and errors are Linux's: mmap(2), munmap(2), mprotect(2), mremap(2), brk(2), madvise(2), fork(2).
 * Addresses and lengths are in bytes unless a name says pages. All calls are thread-safe. Calls that change the VMAs
 * of one address space take its mmap lock for writing, so they run one after the other. A call that fails has
 * changed nothing, unless its description says otherwise.
 *
 * Calls that unmap, move or drop pages may send events to a userfaultfd (vellum/uffd.h). Such a call then waits,
 * with no lock held, until the events were read.
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
 * struct vellum_memory_args - the RAM, host and machine of a memory
 * @size:     sizeof(struct vellum_memory_args).
 * @host:     the host's hooks. They must outlive the memory.
 * @host_ctx: passed to the hooks of @host.
 * @mmu:      the machine's hooks; NULL: no CPU caches translations, so the core flushes nothing.
 * @machine:  passed to the hooks of @mmu.
 * @ram:      host address of RAM, aligned to 4096, zero-filled.
 * @ram_size: bytes, a multiple of 2 MiB, from 4 MiB to 2^43. The guest-physical address of a byte is its offset in
 *            RAM, except behind the hole.
 * @reserved: bytes at the start of RAM that the core does not use: a multiple of 4096, at most half of @ram_size.
 *            0: one page.
 * @hole_start, @hole_size: guest-physical bytes that are no RAM, in whole pages. RAM from offset @hole_start on
 *            has guest-physical addresses that are @hole_size higher. @hole_start is at most @ram_size. Size 0:
 *            no hole.
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
 * vellum_memory_create - create a memory: RAM, the metadata of its frames, and no address space yet
 *
 * Return: 0 and *@out; -VELLUM_EINVAL (@args breaks a rule above); -VELLUM_ENOMEM.
 */
int vellum_memory_create(const struct vellum_memory_args *args, struct vellum_memory **out);

/**
 * vellum_memory_destroy - free a memory and its swap areas; NULL is allowed
 *
 * The pages in swap areas are lost. The hooks of the areas are not called.
 * Return: 0; -VELLUM_EBUSY while the memory has address spaces, mappings or devices (vellum/device.h).
 */
int vellum_memory_destroy(struct vellum_memory *memory);

/** struct vellum_memory_info - frames of RAM; the counts are a snapshot. */
struct vellum_memory_info {
	uint32_t size;		/* sizeof the structure */
	uint64_t nr_frames;	/* of RAM */
	uint64_t nr_free;	/* free */
	uint64_t frame_metadata; /* bytes of metadata for each frame */
};
int vellum_memory_info(struct vellum_memory *memory, struct vellum_memory_info *info);

/**
 * vellum_memory_trim - pass every free, committed 2 MiB block of RAM to host_ops->discard(), if there is that hook.
 */
void vellum_memory_trim(struct vellum_memory *memory);

/**
 * vellum_set_max_map_count - limit the number of VMAs of each address space of this memory
 * @max: 1 to 2^30. The default is 65530, as vm.max_map_count of Linux.
 *
 * An address space that has more VMAs keeps them.
 * Return: 0; -VELLUM_EINVAL.
 * Source: proc_sys_vm(5).
 */
int vellum_set_max_map_count(struct vellum_memory *memory, uint32_t max);

/**
 * vellum_mm_create - create an empty address space with one reference
 * Return: 0; -VELLUM_ENOMEM.
 */
int vellum_mm_create(struct vellum_memory *memory, struct vellum_mm **out);
void vellum_mm_get(struct vellum_mm *mm);
/** vellum_mm_put - drop a reference; NULL is allowed. The last one unmaps all: no CPU may be active in @mm then. */
void vellum_mm_put(struct vellum_mm *mm);

enum {
	VELLUM_PROT_NONE = 0,
	VELLUM_PROT_READ = 1,
	VELLUM_PROT_WRITE = 2,
	VELLUM_PROT_EXEC = 4,
	VELLUM_PROT_SEM = 8,			/* no effect */
	VELLUM_PROT_GROWSDOWN = 0x01000000,	/* mprotect: from the start of the VMA, which grows down */
	VELLUM_PROT_GROWSUP = 0x02000000,	/* no VMA grows up: an error of mprotect */
};

enum {
	VELLUM_MAP_SHARED = 1,
	VELLUM_MAP_PRIVATE = 2,
	VELLUM_MAP_SHARED_VALIDATE = 3,
	VELLUM_MAP_DROPPABLE = 8,	/* private anonymous memory that is empty in a child, and never locked or swapped out */
	VELLUM_MAP_TYPE = 0xf,		/* the mask of the types above */
	VELLUM_MAP_FIXED = 0x10,
	VELLUM_MAP_ANONYMOUS = 0x20,
	VELLUM_MAP_32BIT = 0x40,	/* an address that the core chooses is in the second gigabyte */
	VELLUM_MAP_ABOVE4G = 0x80,	/* an address that the core chooses is above 4 GiB */
	VELLUM_MAP_GROWSDOWN = 0x100,	/* a fault below the VMA makes it grow */
	VELLUM_MAP_LOCKED = 0x2000,
	VELLUM_MAP_NORESERVE = 0x4000,
	VELLUM_MAP_POPULATE = 0x8000,
	VELLUM_MAP_NONBLOCK = 0x10000,	/* with POPULATE: do not populate */
	VELLUM_MAP_STACK = 0x20000,	/* no huge pages */
	VELLUM_MAP_HUGETLB = 0x40000,	/* no memory for it: there is no hugetlbfs */
	VELLUM_MAP_SYNC = 0x80000,	/* no file has it: an error for a mapping that is written back */
	VELLUM_MAP_FIXED_NOREPLACE = 0x100000,
};

/**
 * struct vellum_map_args - a request to map
 * @size:  sizeof(struct vellum_map_args).
 * @addr:  the address, or a hint that is rounded down to a page; 0: any address. With VELLUM_MAP_FIXED or
 *         VELLUM_MAP_FIXED_NOREPLACE it is page aligned.
 * @len:   bytes, not 0; rounded up to pages.
 * @prot:  VELLUM_PROT_*. Other bits are ignored.
 * @flags: VELLUM_MAP_*. Other bits are ignored, but for SHARED_VALIDATE.
 * @mapping: the mapping that the VMA maps; the VMA takes a reference. Ignored with VELLUM_MAP_ANONYMOUS.
 * @pgoff: page index in @mapping of the first page. @pgoff + pages is at most 2^51.
 * @file_prot: the rights with which the file was opened: VELLUM_PROT_READ, or that and VELLUM_PROT_WRITE. Without
 *         WRITE a shared VMA never becomes writable. Ignored with VELLUM_MAP_ANONYMOUS.
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
 * @addr: out: the address of the mapping.
 *
 * Return: 0; or the first of these errors, in Linux's order:
 *   -VELLUM_EBADF: no @mapping;
 *   -VELLUM_EINVAL: @args->size, length 0, an unaligned fixed address, HUGETLB of a mapping or with an unknown size;
 *   -VELLUM_ENOMEM: no gap, beyond the last address, the map count, no memory;
 *   -VELLUM_EPERM: a fixed address below vellum_set_mmap_min_addr();
 *   -VELLUM_EEXIST: FIXED_NOREPLACE over a VMA;
 *   -VELLUM_EPERM, -VELLUM_EAGAIN: locked memory where the limit is 0, or beyond the limit;
 *   -VELLUM_EOVERFLOW: @pgoff and length;
 *   -VELLUM_EOPNOTSUPP: SHARED_VALIDATE with an unknown flag;
 *   -VELLUM_EACCES: a shared writable VMA of a file not opened for writing, or a file not opened for reading;
 *   -VELLUM_EINVAL: a type that there is not, GROWSDOWN of memory that is not private and anonymous, DROPPABLE memory
 *   that is locked, grows down or maps a file;
 *   -VELLUM_EPERM: a seal;
 *   -VELLUM_EOPNOTSUPP: SYNC of a mapping with VELLUM_MAPPING_WRITEBACK;
 *   -VELLUM_ENOMEM: HUGETLB, or a private writable VMA larger than RAM and swap together without NORESERVE.
 *   If a call with MAP_FIXED fails after it removed the old VMAs, they stay removed.
 * Source: mmap(2).
 */
int vellum_mmap(struct vellum_mm *mm, const struct vellum_map_args *args, uint64_t *addr);

/**
 * vellum_munmap - remove all VMAs in a range; holes are no error
 * Return: 0; -VELLUM_EINVAL (unaligned, length 0, beyond the last address); -VELLUM_ENOMEM (a split would exceed the
 *   map count, or no memory for a split or an event).
 * Source: munmap(2).
 */
int vellum_munmap(struct vellum_mm *mm, uint64_t addr, uint64_t len);

/**
 * vellum_mprotect - change the rights of a range
 * @len: bytes, rounded up to pages; 0: nothing to do.
 * @prot: VELLUM_PROT_*.
 *
 * Entries lose rights before the call returns: it flushes. Locked private memory that becomes writable is faulted in.
 * Return: 0; -VELLUM_EINVAL (unaligned, unknown @prot bit, or the VMA does not grow); -VELLUM_ENOMEM (a hole, a split, or the range wraps);
 *   -VELLUM_EACCES (a right that the mapping does not allow). After -VELLUM_ENOMEM for a hole or split and after
 *   -VELLUM_EACCES the VMAs before that address are changed.
 * Source: mprotect(2).
 */
int vellum_mprotect(struct vellum_mm *mm, uint64_t addr, uint64_t len, uint32_t prot);

enum { VELLUM_MDWE_REFUSE_EXEC_GAIN = 1, VELLUM_MDWE_NO_INHERIT = 2 };

/**
 * vellum_set_mdwe - refuse memory that is executable and was or is writable, for good
 * @flags: 0 or VELLUM_MDWE_*. NO_INHERIT needs REFUSE_EXEC_GAIN: a child of a fork does not inherit the setting.
 *
 * Then a VMA can neither be mapped with WRITE and EXEC, nor gain EXEC: -VELLUM_EACCES.
 * Return: 0; -VELLUM_EINVAL; -VELLUM_EPERM: other flags are set already.
 * Source: PR_SET_MDWE(2const).
 */
int vellum_set_mdwe(struct vellum_mm *mm, uint32_t flags);
/** vellum_get_mdwe - the flags that are set: VELLUM_MDWE_* */
uint32_t vellum_get_mdwe(const struct vellum_mm *mm);

/**
 * vellum_mseal - forbid changes of the VMAs of a range, for good
 * @len: bytes, rounded up to pages; 0: nothing to do.
 * @flags: 0.
 *
 * Then munmap, mremap and mmap over the VMAs fail with -VELLUM_EPERM, and change nothing. So does mprotect, after it
 * changed the VMAs before. brk keeps the break. DONTNEED, DONTNEED_LOCKED, FREE, DONTFORK, WIPEONFORK and
 * GUARD_INSTALL fail for private anonymous memory that may not be stored to. A child inherits the seal. The address
 * space can be destroyed, and a snapshot can be restored.
 * Return: 0; -VELLUM_EINVAL (unaligned, @flags, wrap); -VELLUM_ENOMEM (a hole: nothing is sealed; or the map count).
 * Source: the kernel's userspace-api/mseal.rst.
 */
int vellum_mseal(struct vellum_mm *mm, uint64_t addr, uint64_t len, uint64_t flags);

enum { VELLUM_MREMAP_MAYMOVE = 1, VELLUM_MREMAP_FIXED = 2, VELLUM_MREMAP_DONTUNMAP = 4 };

/**
 * vellum_mremap - grow, shrink or move a VMA
 * @old_len: bytes, rounded up to pages. 0: map the same shared pages a second time; without MAYMOVE -VELLUM_ENOMEM.
 * @new_len: bytes, not 0; rounded up to pages.
 * @flags: 0 or VELLUM_MREMAP_*. FIXED needs MAYMOVE, and unmaps what is at the target. DONTUNMAP needs MAYMOVE and
 *         equal lengths: the pages move, and the old VMA stays without pages.
 * @new_addr: out: the new address. In: with VELLUM_MREMAP_FIXED the target; with DONTUNMAP a hint, or 0.
 *
 * Return: 0;
 *   -VELLUM_EINVAL: unaligned, @new_len 0, @old_len 0 of private memory, bad flags, a bad or overlapping target,
 *   DONTUNMAP of device memory;
 *   -VELLUM_EPERM: a sealed VMA, or a target below vellum_set_mmap_min_addr();
 *   -VELLUM_EAGAIN: locked memory would grow beyond the limit;
 *   -VELLUM_EFAULT: no VMA at @old_addr, the old range crosses the end of its VMA, or raw frames would grow;
 *   -VELLUM_ENOMEM: no gap, MAYMOVE is missing, the map count, or no memory. If a move fails, all pages are moved
 *   back. After an error with FIXED the target, and the part of the old range beyond @new_len, may be unmapped.
 * Source: mremap(2).
 */
int vellum_mremap(struct vellum_mm *mm, uint64_t old_addr, uint64_t old_len, uint64_t new_len,
		  uint32_t flags, uint64_t *new_addr);

/**
 * vellum_map_shadow_stack - map private memory that only shadow-stack accesses can store to
 * @addr: in: the address, page aligned, or 0: any address; out: the address of the mapping.
 * @len:  bytes, rounded up to pages.
 *
 * Return: as vellum_mmap(), with MAP_FIXED_NOREPLACE if *@addr is not 0.
 * Source: the kernel's arch/x86/shstk.rst.
 */
int vellum_map_shadow_stack(struct vellum_mm *mm, uint64_t *addr, uint64_t len);

/** vellum_set_brk - place an empty heap at @start (page aligned). For a loader. */
void vellum_set_brk(struct vellum_mm *mm, uint64_t start);

/**
 * vellum_set_mmap_top - place VMAs that have no address of their own below @top. For a loader that keeps room for
 * a stack. The default is VELLUM_TASK_SIZE.
 */
void vellum_set_mmap_top(struct vellum_mm *mm, uint64_t top);

/**
 * vellum_set_mmap_min_addr - set the lowest fixed address that mmap and mremap take; the default is 64 KiB
 *
 * Source: vm.mmap_min_addr in the kernel's admin-guide/sysctl/vm.rst; CAP_SYS_RAWIO of capabilities(7) lifts it. Without
 * MAP_FIXED, and by growing down, a VMA never begins below 64 KiB.
 */
void vellum_set_mmap_min_addr(struct vellum_mm *mm, uint64_t addr);

/**
 * vellum_brk - set the program break
 * @addr: the wanted break. 0, or an address below the heap's start, changes nothing.
 *
 * Return: the break that is now in force, as the system call returns it.
 * Source: brk(2), Linux notes.
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
 * vellum_madvise - give advice about a range
 * @len: bytes, rounded up to pages; 0: nothing to do.
 * @advice: VELLUM_MADV_*.
 *
 * - DONTNEED drops the pages: private memory then reads as zero or as the mapping's page. DONTNEED_LOCKED does the
 *   same in locked memory.
 * - FREE lets reclaim drop private anonymous pages instead of swapping them out, until they are stored to again.
 * - REMOVE punches a hole into the mapping.
 * - WILLNEED reads pages into the mapping's cache: at most 32 MiB of each VMA. Its errors are not reported.
 * - POPULATE_READ and POPULATE_WRITE fault pages in as loads and stores would, and report the first error.
 * - COLD clears the accessed bits of pages that only this process maps. PAGEOUT swaps such pages out, or writes them
 *   back and drops them.
 * - DONTFORK: a child does not inherit the VMA. WIPEONFORK: a child finds zeros there. DOFORK and KEEPONFORK undo them.
 * - RANDOM: a fault does not map neighbours. SEQUENTIAL: reclaim does not spare a page because it was accessed. NORMAL
 *   undoes both.
 * - HUGEPAGE: a write fault in a 2 MiB block of private memory without entries allocates a huge page, if one is free.
 *   NOHUGEPAGE: it never does. COLLAPSE replaces the pages of aligned 2 MiB blocks by huge pages.
 * - GUARD_INSTALL drops the pages, and an access is a SIGSEGV until GUARD_REMOVE. No VMA is split.
 * - DONTDUMP and DODUMP only change a flag that vellum_vma_usage() shows. MERGEABLE and UNMERGEABLE do nothing.
 *
 * Return: 0;
 *   -VELLUM_EINVAL: unaligned, wrap, unknown advice; DONTNEED, FREE, REMOVE, PAGEOUT, COLD, GUARD_INSTALL of locked
 *   memory; DONTNEED, POPULATE, REMOVE, PAGEOUT, COLD, DODUMP of device memory; FREE, WIPEONFORK, GUARD_* of memory
 *   that is not private and anonymous; REMOVE of memory without a mapping; POPULATE without the right; COLLAPSE of
 *   less than an aligned 2 MiB, or of memory that cannot be huge;
 *   -VELLUM_ENOMEM: parts are not mapped (the mapped rest was processed, but POPULATE stops), or the map count;
 *   -VELLUM_EACCES: REMOVE through a VMA that may not be written;
 *   -VELLUM_EAGAIN: no memory; COLLAPSE: a page is in use elsewhere;
 *   -VELLUM_EBUSY: COLLAPSE: no free 2 MiB block, or a userfaultfd would miss a fault;
 *   -VELLUM_EFAULT: POPULATE: the access would be a signal;
 *   -VELLUM_EHWPOISON: POPULATE;
 *   -VELLUM_EINTR: the host's interrupted() hook reports VELLUM_KILLED, or a signal while the call waits for a
 *   userfaultfd.
 *   REMOVE also: as vellum_mapping_punch_hole().
 * Source: madvise(2).
 */
int vellum_madvise(struct vellum_mm *mm, uint64_t addr, uint64_t len, int advice);

enum { VELLUM_MS_ASYNC = 1, VELLUM_MS_INVALIDATE = 2, VELLUM_MS_SYNC = 4 };

/**
 * vellum_msync - write a mapped range back
 * @flags: VELLUM_MS_SYNC: when the call returns 0, all that was stored through shared VMAs of the range was passed to
 *   writepage(), and sync() was called. VELLUM_MS_ASYNC only checks the range: vellum_writeback_step() writes later.
 *   VELLUM_MS_INVALIDATE only checks that no part is locked.
 *
 * Context: the mmap lock is not held while pages are written.
 * Return: 0; -VELLUM_EINVAL (unaligned, unknown flag, ASYNC and SYNC); -VELLUM_ENOMEM (a hole; with SYNC the rest was
 *   written); -VELLUM_EBUSY (INVALIDATE of locked memory); or as vellum_mapping_sync().
 * Source: msync(2).
 */
int vellum_msync(struct vellum_mm *mm, uint64_t addr, uint64_t len, int flags);

/**
 * vellum_mincore - report which pages are in RAM
 * @vec: one byte for each page of @len, rounded up. 1: the page is mapped, or in its mapping's cache. 0: it is not.
 *
 * Return: 0; -VELLUM_EINVAL (unaligned); -VELLUM_ENOMEM (a hole; bytes before it are valid).
 * Source: mincore(2).
 */
int vellum_mincore(struct vellum_mm *mm, uint64_t addr, uint64_t len, uint8_t *vec);

enum { VELLUM_MLOCK_ONFAULT = 1 };
enum { VELLUM_MCL_CURRENT = 1, VELLUM_MCL_FUTURE = 2, VELLUM_MCL_ONFAULT = 4 };

/**
 * vellum_mlock - lock a range in RAM: fault its pages in, and keep reclaim from taking them
 * @addr:  rounded down to a page.
 * @flags: 0, or VELLUM_MLOCK_ONFAULT: pages are locked as they are faulted in.
 *
 * vellum_munlock() unlocks a range. vellum_mlockall() and vellum_munlockall() lock and unlock all VMAs, with
 * VELLUM_MCL_FUTURE also later ones. A page that vellum_mlockall() cannot fault in is no error.
 * Return: 0; -VELLUM_EINVAL (flags, wrap); -VELLUM_ENOMEM (beyond the limit; a hole or a split, and what is before it
 *   is locked; a page that cannot be faulted in); -VELLUM_EPERM (the limit is 0); -VELLUM_EAGAIN (no frame for a
 *   page);
 *   -VELLUM_EINTR (as vellum_madvise()). The VMAs stay locked if a page cannot be faulted in.
 * Source: mlock(2).
 */
int vellum_mlock(struct vellum_mm *mm, uint64_t addr, uint64_t len, uint32_t flags);
int vellum_munlock(struct vellum_mm *mm, uint64_t addr, uint64_t len);
int vellum_mlockall(struct vellum_mm *mm, uint32_t flags);
int vellum_munlockall(struct vellum_mm *mm);

/**
 * vellum_set_limits - set RLIMIT_MEMLOCK and RLIMIT_STACK of an address space, in bytes
 *
 * ~0: no limit. The defaults are no limit for locked memory, and 8 MiB to which a MAP_GROWSDOWN VMA may grow.
 */
void vellum_set_limits(struct vellum_mm *mm, uint64_t memlock, uint64_t stack);

/**
 * vellum_fork - copy an address space, private pages copy-on-write
 * @out: the child, with one reference. It may outlive the parent.
 *
 * Context: holds the parent's mmap lock for writing, and flushes the parent before it drops the lock. May then wait
 * for a userfaultfd to read the fork event.
 * Return: 0; -VELLUM_ENOMEM (the parent is unchanged, except that entries may have lost W: the next store's fault
 *   grants it again).
 * Source: fork(2).
 */
int vellum_fork(struct vellum_mm *parent, struct vellum_mm **out);

/** struct vellum_vma_info - one VMA; a snapshot. */
struct vellum_vma_info {
	uint32_t size;		/* sizeof the structure */
	uint64_t start, end;
	uint32_t prot;		/* VELLUM_PROT_* */
	int shared;		/* VELLUM_MAP_SHARED */
	int locked;		/* mlock(2), without VELLUM_MLOCK_ONFAULT */
	int device;		/* maps raw frames: bytes may change without a store by a CPU */
	struct vellum_mapping *mapping; /* NULL: private anonymous. No reference: valid while mapped */
	uint64_t pgoff;
	uint64_t write_faults;	/* write faults; a split leaves the count to the lower VMA */
	int growsdown;		/* VELLUM_MAP_GROWSDOWN */
	int wipeonfork;		/* VELLUM_MADV_WIPEONFORK: zeros in a child */
	int sealed;		/* vellum_mseal() */
};

/**
 * vellum_vma_next - find the first VMA that ends above an address
 * Return: 0 and *@info; -VELLUM_ENOENT: there is none.
 */
int vellum_vma_next(struct vellum_mm *mm, uint64_t addr, struct vellum_vma_info *info);

enum vellum_counter {
	VELLUM_COUNT_FAULT_READ_ZERO,	/* load from private memory without a page */
	VELLUM_COUNT_FAULT_ANON,	/* store to private memory without a page */
	VELLUM_COUNT_FAULT_COW,		/* store that copied a page */
	VELLUM_COUNT_FAULT_REUSE,	/* store to a read-only page that only this process has */
	VELLUM_COUNT_FAULT_FILE_READ,	/* mapped a page of a mapping without W, or a raw frame */
	VELLUM_COUNT_FAULT_FILE_COW,	/* first store to a private file page */
	VELLUM_COUNT_FAULT_SHARED,	/* store that mapped a shared page */
	VELLUM_COUNT_FAULT_NOTIFY,	/* store to a read-only shared page */
	VELLUM_COUNT_FAULT_SPURIOUS,	/* the entry allowed the access already */
	VELLUM_COUNT_FAULT_UFFD,	/* waited for user space to resolve it */
	VELLUM_COUNT_FAULT_SWAP,	/* swapped a page in */
	VELLUM_COUNT_FAULT_HUGE,	/* mapped or changed a huge page */
	VELLUM_COUNT_FAULT_ERROR,	/* ended in a signal */
	VELLUM_COUNT_TLB_FLUSHES,
	VELLUM_NR_COUNTERS
};

/** vellum_mm_counter - a counter's value since the address space was created; approximate while other threads run. */
uint64_t vellum_mm_counter(const struct vellum_mm *mm, enum vellum_counter counter);
/** vellum_counter_name - the name of a counter, such as "anon"; constant. NULL for a number without a counter. */
const char *vellum_counter_name(enum vellum_counter counter);

/** vellum_mm_rss - present entries, in pages of 4 KiB; a huge leaf counts each of its pages. */
uint64_t vellum_mm_rss(const struct vellum_mm *mm);
/** vellum_mm_swapped - entries that name a slot of a swap area. */
uint64_t vellum_mm_swapped(const struct vellum_mm *mm);

/**
 * vellum_validate - check all invariants (INV-* in ARCHITECTURE.md) that can be read off the structures
 * @why: out, may be NULL: a constant string that names the first invariant that fails; NULL if none does.
 *
 * Context: no other call may run in this memory.
 * Return: 0; -VELLUM_EFAULT (one fails); -VELLUM_ENOMEM.
 */
int vellum_validate(struct vellum_memory *memory, const char **why);

#ifdef __cplusplus
}
#endif
#endif
