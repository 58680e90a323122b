/* SPDX-License-Identifier: MIT */
/*
 * vellum/swap.h - swap areas: where pages of private memory are kept while they are not in RAM.
 *
 * An area is a number of slots of one page each, and hooks that store and bring back. The core chooses
 * the slots. Backends that are ready for use are in vellum/swap_backends.h. The core does not swap yet: so far
 * they serve only whoever calls the hooks himself.
 */
#ifndef VELLUM_SWAP_H
#define VELLUM_SWAP_H

#include <stdint.h>

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

#ifdef __cplusplus
}
#endif
#endif
