/* SPDX-License-Identifier: MIT */
/*
 * vellum/swap.h - swap areas: where pages of private memory are kept while they are not in RAM.
 *
 * An area is a number of slots of one page each, and hooks that store and bring back. The core chooses
 * the slots. Backends that are ready for use are in vellum/swap_backends.h.
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
 * @write: store the 4096 bytes of @page in @slot, in place of what was there. 0 or a negative error number:
 *         the page then stays in RAM, and the slot holds nothing until it is written again.
 * @read:  bring them back into @page; the slot keeps them. Only after a write() that returned 0. 0 or a
 *         negative error number: an access then gets SIGBUS.
 * @free:  optional. The slot's bytes are not wanted any more; it is written before it is read again. May
 *         come for a slot that holds nothing.
 *
 * @slot is below the area's number of slots. The hooks are called without spinlocks of the core, so they may
 * sleep, but with the page's lock held: they must not touch guest memory through the core. Calls for one
 * slot come one after the other; those for different slots may come from several threads at once.
 */
struct vellum_swap_ops {
	uint32_t size;
	int (*write)(void *ctx, uint64_t slot, const void *page);
	int (*read)(void *ctx, uint64_t slot, void *page);
	void (*free)(void *ctx, uint64_t slot);
};

#define VELLUM_MAX_SWAP_AREAS 23

/**
 * vellum_swap_add - an area that private and shared memory is swapped out to
 * @ops: hooks, kept. @ctx: passed to them. @nr_slots: 1 to 2^32.
 * @area: out, may be NULL: its number, for vellum_swap_remove().
 *
 * Faults, copies and forks that find no frame swap out by themselves, after cached pages of files were dropped.
 * A slot takes 4 bytes of the host's memory once one in its neighbourhood is used.
 *
 * Return: 0, -VELLUM_EINVAL, -VELLUM_ENOSPC (VELLUM_MAX_SWAP_AREAS are there), -VELLUM_ENOMEM.
 */
int vellum_swap_add(struct vellum_memory *memory, const struct vellum_swap_ops *ops, void *ctx, uint64_t nr_slots,
		    unsigned *area);

/**
 * vellum_swap_remove - bring everything back and forget the area, as swapoff(2)
 *
 * A page that cannot be read becomes poison: an access is VELLUM_FAULT_HWPOISON.
 * Return: 0, -VELLUM_EINVAL (no such area), -VELLUM_ENOMEM (what has come back stays; the area goes on), -VELLUM_EIO
 *   (a page of a shared-memory object cannot be read; the area goes on).
 */
int vellum_swap_remove(struct vellum_memory *memory, unsigned area);

/** struct vellum_swap_info - of all areas; a snapshot. */
struct vellum_swap_info {
	uint64_t nr_slots;
	uint64_t nr_used;	/* slots, also of pages that are in RAM as well */
	uint64_t nr_out, nr_in;	/* pages written and read so far */
};
void vellum_swap_info(struct vellum_memory *memory, struct vellum_swap_info *info);

#ifdef __cplusplus
}
#endif
#endif
