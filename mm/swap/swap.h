/* SPDX-License-Identifier: MIT */
/*
 * mm/swap/swap.h - swap areas, their slots, and pages that are in RAM and have a slot (the swap cache).
 *
 * A slot counts the entries (and pages of shared-memory mappings) that name it. An anonymous page in RAM with a slot is
 * in the swap cache: it has PG_SWAPCACHE and a reference of the cache, and is found by its slot. Its folio lock keeps
 * it there. Pages of shared memory never use the swap cache.
 *
 * Locking: the functions on slots and on the swap cache take swap_state->lock, and may be called with a page-table
 * lock or a folio's lock held. slot_put() and swap_cache_trydrop() take the lock of the slot's folio by trylock. The
 * area's free() hook runs without swap_state->lock, but with the caller's locks; read() and write() run with the
 * folio's lock held. swap_in() waits for a folio's lock, so its caller holds no page-table lock. Reclaim takes
 * memory->reclaim_lock and the locks below it (mm/mm.h): callers of reclaim_for_retry() hold none of these.
 *
 * INV-SWAP-1: when no operation runs, a slot's count is the number of entries and shared-memory pages that name it, and
 * a slot with count 0 is free. Exceptions while an operation runs: swap_out() holds an extra count. A slot with count 0
 * is still in use until its page has left the swap cache and ops->free() has returned (SLOT_BUSY).
 * INV-SWAP-2: a page in the swap cache is not PG_EXCLUSIVE once its lock is dropped. Unless the page is PG_DIRTY, its
 * slot holds its bytes.
 * INV-SWAP-3: bytes are written to a slot after all entries of the page were removed and flushed.
 */
#ifndef MM_SWAP_SWAP_H
#define MM_SWAP_SWAP_H

#include "mm/mapping.h"
#include "vellum/swap.h"

/* An area and the slot's number in it, as a number that is never 0. */
typedef uint64_t slot_t;

static inline slot_t make_slot(unsigned type, uint64_t offset)
{
	return ((uint64_t)type << SWP_OFFSET_BITS | offset) + 1;
}

static inline slot_t pte_slot(pte_t pte)
{
	return make_slot(pte_swp_type(pte), pte_swp_offset(pte));
}

static inline pte_t slot_pte(slot_t slot)
{
	return swp_entry_pte((unsigned)((slot - 1) >> SWP_OFFSET_BITS), (slot - 1) & ((1ull << SWP_OFFSET_BITS) - 1));
}

/* swap.c: slots */
slot_t slot_alloc(struct vellum_memory *m);	/* count 1. 0: all areas are full, or there is none */
void slot_dup(struct vellum_memory *m, slot_t slot);
void slot_put(struct vellum_memory *m, slot_t slot);
/* The slot has a nonzero count. To check an entry of an exposed table (mm/table/exposed.h), whose ptl is held. */
bool swap_slot_exists(const struct vellum_memory *m, slot_t slot);
uint32_t slot_count(struct vellum_memory *m, slot_t slot);
int slot_write(struct vellum_memory *m, slot_t slot, const struct folio *folio);
int slot_read(struct vellum_memory *m, slot_t slot, struct folio *folio);
void swap_destroy(struct vellum_memory *m);
int swap_close(struct vellum_memory *m, unsigned type);		/* no new slots from here on. 0, -EINVAL or -EBUSY */
/* Remove the area if no slot is in use; else open it again. Return: it was removed. */
bool swap_try_remove(struct vellum_memory *m, unsigned type);

/* For validate.c. Return: NULL, or a description of what is wrong. */
const char *swap_check(struct vellum_memory *m, const struct radix *named);

/* The swap cache. */
/* The folio is locked. 0, -ENOMEM, or -EEXIST; -ENOENT: the slot is free. */
int swap_cache_add(struct vellum_memory *m, struct folio *folio, slot_t slot) HOLDS(&folio->lock);
struct folio *swap_cache_get(struct vellum_memory *m, slot_t slot);	/* referenced, or NULL */
slot_t folio_slot(struct vellum_memory *m, const struct folio *folio);	/* 0: not in the cache */
/* Remove from the cache; the folio is locked. The slot stays allocated if entries name it. */
void swap_cache_remove(struct vellum_memory *m, struct folio *folio) HOLDS(&folio->lock);
/* Remove from the cache if no entry names the slot and the folio is not locked. */
void swap_cache_trydrop(struct vellum_memory *m, struct folio *folio);
/* Unlock an anonymous page. If entries no longer name its slot, free the slot first. May sleep. */
void anon_folio_unlock_and_free_swap(struct vellum_memory *m, struct folio *folio) RELEASES(&folio->lock);

/* mm/fault/swap_in.c */
/*
 * Read the page of a slot, or find it in the swap cache: locked and referenced. May sleep. Return: 0; -EAGAIN: the slot
 * is free or reused by now; -ENOMEM; -EIO.
 */
int swap_in(struct vellum_memory *m, slot_t slot, struct folio **out) TRY_ACQUIRES(false, &(*out)->lock);

/* reclaim.c */
#define RECLAIM_BATCH	32	/* frames that a failed allocation asks for */
#define RECLAIM_TRIES	16	/* how often it retries */
/*
 * An allocation failed: reclaim pages. *@tries is 0 at first. No lock is held. Return: the allocation may be retried.
 */
bool reclaim_for_retry(struct vellum_memory *m, unsigned *tries);
/*
 * Swap out or drop one page; @force: even if it was accessed recently. No page-table or page lock is held; the caller
 * has a reference. Return: the page is free once that reference is dropped.
 */
bool reclaim_folio(struct vellum_memory *m, struct folio *folio, bool force);

/* Write a page of a file's cache, if it is dirty, and drop it. It is locked and referenced. Return: it was dropped. */
bool reclaim_cached(struct vellum_mapping *mapping, struct folio *folio) HOLDS(&folio->lock);

/* mm/object/shmem.c: pages of shared-memory mappings */
/* Swap out a page of a shared-memory mapping; it is locked and referenced. True: it is out of the cache. */
bool shmem_swap_out(struct vellum_mapping *mapping, struct folio *folio) HOLDS(&folio->lock);
slot_t shmem_slot(struct vellum_mapping *mapping, pgoff_t index) HOLDS(&mapping->pages_lock);	/* 0: not swapped out */
/* @folio: new, locked. 0: its page is not swapped out; 1: read; or -EIO */
int shmem_swap_in(struct vellum_mapping *mapping, struct folio *folio);
void shmem_drop_swapped(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last);

#endif
