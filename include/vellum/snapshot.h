/* SPDX-License-Identifier: MIT */
/*
 * vellum/snapshot.h - freeze address spaces and shared memory, and restore them again and again.
 *
 * A restore costs what the run since the last restore changed: it depends neither on the size of the address spaces
 * nor on earlier runs. In the common case a changed page gets its frozen bytes in place. It stays mapped and writable,
 * so the next run does not fault on it. Beyond that, each restore looks at each mapping of shared memory that is frozen,
 * at all VMAs if a VMA changed, and at all entries if more pages are kept than allowed.
 *
 * Restored are:
 *   - the bytes of private memory, of shared anonymous memory and of memfds;
 *   - mappings, their order, flags and advice; MADV_GUARD_INSTALL and poison; device mappings;
 *   - brk, mlockall(2)'s flags, and the limits that an address space keeps (RLIMIT_MEMLOCK, RLIMIT_STACK);
 *   - registrations with a userfaultfd that still exists, and its write protection;
 *   - soft-dirty bits of private pages (of a private file mapping, a page that had no copy yet may become soft-dirty);
 *   - size and seals of shared memory, and which of its pages exist.
 *
 * Not restored are: counters; the bytes of files that are mapped (they belong to the host), and with them pages of
 * private file mappings that were never stored to; soft-dirty bits of shared memory; and where a page is: what was
 * swapped out may be in RAM. Pages that were not mapped when the snapshot was made may stay mapped after a run used
 * them, except in mappings that are registered with a userfaultfd. Reclaim may drop pages of a MAP_DROPPABLE mapping
 * here as elsewhere.
 *
 * Pins (vellum/gup.h): a page that is pinned when the snapshot is made is frozen as a copy. While a page is pinned, a
 * restore puts the frozen bytes back in place, so the pin's user sees them. In some cases the page stays with the pin
 * alone, as after munmap(2): it was unmapped or moved after it was pinned, or its mapping's protection or registration
 * changed; or it did not exist when the snapshot was made, and it is shared memory's, a copy of a driver's frame, or its
 * mapping is registered with a userfaultfd. A plain reference for writing
 * (vellum_get_pages()) counts until the next restore only: stores through it after that are not found.
 *
 * Memory: frozen private pages are shared until a run stores to them. Each page that a run stores to takes a frame
 * more, up to vellum_snapshot_args.max_kept_pages of them stay in use after a restore. Shared memory is copied when the
 * snapshot is made. The page tables of private memory exist twice.
 *
 * Snapshots of one address space may be nested: each can be restored in any order, also after a newer one was made. The
 * first restore to another snapshot than the last one compares all entries; the next ones are quick again.
 */
#ifndef VELLUM_SNAPSHOT_H
#define VELLUM_SNAPSHOT_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct vellum_mapping;
struct vellum_memory;
struct vellum_mm;
struct vellum_snapshot;

/* Flags of vellum_snapshot_args: note which pages a restore puts back, for vellum_snapshot_verify_restored(). */
#define VELLUM_SNAPSHOT_NOTES_RESTORED 1ull

/** struct vellum_snapshot_args - what to freeze */
struct vellum_snapshot_args {
	uint32_t size;			/* sizeof(struct vellum_snapshot_args) */
	uint32_t nr_mms;		/* address spaces, 1 to 1,024 */
	struct vellum_mm *const *mms;	/* each at most once */
	/* Shared memory that no address space maps, beside what the address spaces map. Each at most once. */
	struct vellum_mapping *const *mappings;
	uint64_t nr_mappings;
	/* Frames that may stay in use by pages that earlier runs stored to, for each address space. 0: an eighth of RAM. */
	uint64_t max_kept_pages;
	/* Costs for the trackers of shared memory, as vellum_tracker_costs(). 0: the defaults. */
	uint64_t fault_ns, scan_ns;
	uint64_t flags;			/* VELLUM_SNAPSHOT_NOTES_RESTORED, or 0 */
};

/**
 * vellum_snapshot_create - freeze address spaces, and the shared memory that they map
 * @args: what to freeze. All of one memory.
 * @out:  the snapshot.
 *
 * The snapshot holds a reference to each address space and mapping until it is destroyed. Shared memory is each mapping
 * without a backing (vellum/backing.h) that an address space maps, private or shared, or that @args lists.
 *
 * Context: no CPU may run in the address spaces, and no other call may change them or the shared memory. Takes their
 *          mmap locks for writing. Reclaims.
 * Return: 0; -VELLUM_EINVAL (@args; unknown flags); -VELLUM_E2BIG (@args->size, or more than 65,536 mappings of shared memory); -VELLUM_ENOMEM;
 *   -VELLUM_EIO (a page could not be swapped in): nothing is frozen.
 */
int vellum_snapshot_create(const struct vellum_snapshot_args *args, struct vellum_snapshot **out);

/**
 * vellum_snapshot_restore - put everything back as it was when the snapshot was made
 *
 * When it returns, no CPU has a translation from before. Trackers count each restored page as changed, and the machine
 * is told of each page that may have been executed (sync_icache() in vellum/mmu.h).
 *
 * Context: as vellum_snapshot_create(). Two restores of one snapshot run one after the other.
 * Return: 0; -VELLUM_ENOMEM; -VELLUM_EIO (a frozen page could not be swapped in): only a part is restored; the call may
 *   be repeated.
 */
int vellum_snapshot_restore(struct vellum_snapshot *snapshot);

/**
 * vellum_snapshot_branch - make new address spaces with the frozen content
 * @mms: out: as many address spaces as were frozen, in their order, with one reference each.
 * @mappings: out, may be NULL: as many mappings as vellum_snapshot_info.nr_mappings says, with one reference each: copies
 *   of the frozen shared memory, which the new address spaces map instead.
 *
 * The new address spaces are independent of the snapshot and of the frozen ones. They have all that a restore puts back
 * but registrations with a userfaultfd.
 *
 * Context: may be called while CPUs run in the frozen address spaces. Takes mmap locks. Reclaims.
 * Return: 0; -VELLUM_EINVAL (@mms is NULL); -VELLUM_ENOMEM; -VELLUM_EIO: nothing is made.
 */
int vellum_snapshot_branch(struct vellum_snapshot *snapshot, struct vellum_mm **mms,
			   struct vellum_mapping **mappings);

/** enum vellum_snapshot_what - what vellum_snapshot_verify() found to differ */
enum vellum_snapshot_what {
	VELLUM_SNAPSHOT_EQUAL = 0,
	VELLUM_SNAPSHOT_BYTES,		/* of a page of private memory */
	VELLUM_SNAPSHOT_ENTRY,		/* a marker, soft-dirty, or a userfaultfd's protection */
	VELLUM_SNAPSHOT_VMA,		/* a mapping of the address space, at @address */
	VELLUM_SNAPSHOT_LIMITS,		/* brk or a limit */
	VELLUM_SNAPSHOT_SHARED_BYTES,	/* of page @address of mapping number @index */
	VELLUM_SNAPSHOT_SHARED_SIZE,	/* the size or the seals of mapping number @index */
};

/** struct vellum_snapshot_difference - the first difference */
struct vellum_snapshot_difference {
	uint32_t size;			/* sizeof(struct vellum_snapshot_difference) */
	uint32_t what;			/* enum vellum_snapshot_what */
	uint64_t index;			/* of the address space, or of the mapping (VELLUM_SNAPSHOT_SHARED_*) */
	uint64_t address;		/* where: an address, or a page index (VELLUM_SNAPSHOT_SHARED_BYTES) */
};

/**
 * vellum_snapshot_verify - compare all memory with the frozen state, byte by byte
 * @difference: out, may be NULL: the first difference, or VELLUM_SNAPSHOT_EQUAL.
 *
 * It trusts none of the bits that a restore goes by. Its cost follows the size of the address spaces.
 *
 * Context: as vellum_snapshot_create(). Swaps pages in, and brings them back from devices.
 * Return: 0: all is equal; 1: @difference says what is not; -VELLUM_EINVAL (@difference->size); -VELLUM_E2BIG;
 *   -VELLUM_ENOMEM; -VELLUM_EIO.
 */
int vellum_snapshot_verify(struct vellum_snapshot *snapshot, struct vellum_snapshot_difference *difference);

/**
 * vellum_snapshot_verify_restored - the same for what the last restore put back, and for what is compared at once
 *
 * Compared are the pages of private memory that the last restore looked at because a run may have changed them, all
 * mappings of the address spaces and their limits, and the shared memory of which it put a page back. A change that the
 * restore missed is not found: vellum_snapshot_verify() finds it. Its cost follows the run.
 *
 * Without VELLUM_SNAPSHOT_NOTES_RESTORED, if there was no memory for a note, or before the first restore: as
 * vellum_snapshot_verify().
 *
 * Context, Return: as vellum_snapshot_verify().
 */
int vellum_snapshot_verify_restored(struct vellum_snapshot *snapshot, struct vellum_snapshot_difference *difference);

/** struct vellum_snapshot_info - what a snapshot has, and what the last restore did */
struct vellum_snapshot_info {
	uint32_t size;			/* sizeof(struct vellum_snapshot_info) */
	uint32_t nr_mms;
	uint64_t nr_mappings;		/* mappings of shared memory */
	uint64_t frozen_pages;		/* pages of private memory that are frozen, in RAM or swapped out */
	uint64_t shared_pages;		/* copied pages of shared memory */
	uint64_t kept_pages;		/* about how many pages of earlier runs are kept */
	uint64_t nr_restores;
	/* Of the last restore: */
	uint64_t copied_pages;		/* private pages whose bytes had changed, and that got the frozen ones in place */
	uint64_t dropped_pages;		/* entries that were removed, and map the frozen page again if there is one */
	uint64_t copied_shared_pages;
};

/**
 * vellum_snapshot_info - describe a snapshot
 *
 * Context: none.
 * Return: 0; -VELLUM_EINVAL or -VELLUM_E2BIG: @info->size.
 */
int vellum_snapshot_info(struct vellum_snapshot *snapshot, struct vellum_snapshot_info *info);

/**
 * vellum_snapshot_mapping - mapping number @index of the snapshot, without a reference; NULL: there is none
 *
 * The order is that of vellum_snapshot_branch().
 */
struct vellum_mapping *vellum_snapshot_mapping(const struct vellum_snapshot *snapshot, uint64_t index);

/**
 * vellum_snapshot_destroy - forget a snapshot; NULL is allowed
 *
 * Address spaces and shared memory stay as they are.
 *
 * Context: as vellum_snapshot_create(). No other call may use the snapshot any more.
 */
void vellum_snapshot_destroy(struct vellum_snapshot *snapshot);

#ifdef __cplusplus
}
#endif

#endif
