/* SPDX-License-Identifier: MIT */
/*
 * vellum/swap.h - swap areas, which keep pages of private and shared memory while they are not in RAM.
 *
 * An area is a number of slots of one page each, and hooks that write and read slots. The core allocates the slots.
 * Backends that are ready for use are in vellum/swap_backends.h.
 */
#ifndef VELLUM_SWAP_H
#define VELLUM_SWAP_H

#include <stdint.h>

struct vellum_memory;

#ifdef __cplusplus
extern "C" {
#endif

/**
 * struct vellum_swap_ops - the hooks of a swap area; const, shared by any number of areas
 * @size:  sizeof(struct vellum_swap_ops).
 * @write: store the 4096 bytes of @page in @slot, in place of its old bytes. Return 0 or a negative error number: the
 *         page then stays in RAM, and the slot holds nothing until it is written again.
 * @read:  read @slot into @page; the slot keeps its bytes. Called only after a write() that returned 0. Return 0 or a
 *         negative error number: an access then gets SIGBUS.
 * @free:  optional. The slot's bytes are not needed any more: it is written before it is read again. May be called for
 *         a slot that holds nothing.
 *
 * @slot is below the area's number of slots. The hooks may sleep. Sleeping locks of the core are held: the page's lock
 * for @write and @read, and often the mmap lock; for @free also a page-table lock. So they must not call the core.
 * Calls for one slot do not overlap; calls for different slots may come from several threads at once.
 */
struct vellum_swap_ops {
	uint32_t size;
	int (*write)(void *ctx, uint64_t slot, const void *page);
	int (*read)(void *ctx, uint64_t slot, void *page);
	void (*free)(void *ctx, uint64_t slot);
};

#define VELLUM_MAX_SWAP_AREAS 23

/**
 * vellum_swap_add - add an area to which private and shared memory is swapped out
 * @ops:  hooks; the core copies them.
 * @ctx:  passed to them.
 * @nr_slots: 1 to 2^32.
 * @area: out, may be NULL: its number, for vellum_swap_remove().
 *
 * When faults, copies and forks find no free frame, they drop cached pages of files, and then swap out. The area takes
 * 8 bytes of host memory for each 1,024 slots, and 4,096 more once one of these is used.
 *
 * Return: 0; -VELLUM_EINVAL; -VELLUM_ENOSPC (there are VELLUM_MAX_SWAP_AREAS already); -VELLUM_ENOMEM.
 */
int vellum_swap_add(struct vellum_memory *memory, const struct vellum_swap_ops *ops, void *ctx, uint64_t nr_slots,
		    unsigned *area);

/**
 * vellum_swap_remove - read all pages of an area back and remove it, as swapoff(2)
 *
 * A page of private memory that cannot be read becomes poison: an access is VELLUM_FAULT_HWPOISON.
 * Context: takes the mmap lock of each address space for reading; swaps pages out to other areas if RAM is full.
 * Return: 0; -VELLUM_EINVAL (no such area); -VELLUM_EBUSY (another thread removes it); -VELLUM_ENOMEM; -VELLUM_EIO (a slot is still in use, as a page of a shared
 *   mapping that cannot be read). After -VELLUM_ENOMEM and -VELLUM_EIO the area remains in use.
 */
int vellum_swap_remove(struct vellum_memory *memory, unsigned area);

/** struct vellum_swap_info - all areas together; a snapshot. */
struct vellum_swap_info {
	uint32_t size;		/* sizeof the structure */
	uint64_t nr_slots;
	uint64_t nr_used;	/* slots, including those of pages in the swap cache */
	uint64_t nr_out, nr_in;	/* pages written and read since the start */
};
int vellum_swap_info(struct vellum_memory *memory, struct vellum_swap_info *info);

#ifdef __cplusplus
}
#endif
#endif
