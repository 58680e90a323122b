/* SPDX-License-Identifier: MIT */
/*
 * mm/swap/swap.h - swap areas, their slots, and pages that are in RAM and have a slot (the swap cache).
 *
 * A slot counts the entries (and pages of shared-memory objects) that name it. A page with a slot is in the swap
 * cache: PG_SWAPCACHE, a reference of the cache's, found by slot; its folio lock protects that it stays there.
 *
 * INV-SWAP-1: a slot's count is the number of entries and object pages that name it; a slot with none is free,
 * or its page is locked.
 * INV-SWAP-2: a page in the swap cache is not PG_EXCLUSIVE once its lock is dropped; what its slot holds is the
 * page's bytes unless it is PG_DIRTY.
 * INV-SWAP-3: bytes are written to a slot after all entries of the page were removed and flushed.
 */
#ifndef MM_SWAP_SWAP_H
#define MM_SWAP_SWAP_H

#include "mm/mapping.h"
#include "vellum/swap.h"

/* Where a page is: area and number, as a number that is never 0. */
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
slot_t slot_alloc(struct vellum_memory *m);	/* named once. 0: all areas are full, or there is none */
void slot_dup(struct vellum_memory *m, slot_t slot);
void slot_put(struct vellum_memory *m, slot_t slot);
/* Entries name it: for entries in exposed tables (mm/table/exposed.h), whose lock is held. */
bool swap_slot_exists(const struct vellum_memory *m, slot_t slot);
uint32_t slot_count(struct vellum_memory *m, slot_t slot);
int slot_write(struct vellum_memory *m, slot_t slot, const struct folio *folio);
int slot_read(struct vellum_memory *m, slot_t slot, struct folio *folio);
void swap_destroy(struct vellum_memory *m);
int swap_close(struct vellum_memory *m, unsigned type);		/* no new slots from here on. 0 or -EINVAL */
/* If no slot is in use the area goes, else it is open again. */
bool swap_forget(struct vellum_memory *m, unsigned type);

/* For validate.c: NULL, or what is wrong. */
const char *swap_check(struct vellum_memory *m, const struct radix *named);

/* The swap cache. */
int swap_cache_add(struct vellum_memory *m, struct folio *folio, slot_t slot);	/* locked; 0, -ENOMEM, -EEXIST */
struct folio *swap_cache_get(struct vellum_memory *m, slot_t slot);	/* referenced, or NULL */
slot_t folio_slot(struct vellum_memory *m, const struct folio *folio);	/* 0: not in the cache */
/* Out of the cache; locked. The slot stays if entries name it. */
void swap_cache_remove(struct vellum_memory *m, struct folio *folio);
/* If no entry names its slot any more, and nobody has it locked. */
void swap_cache_trydrop(struct vellum_memory *m, struct folio *folio);
/* Unlock an anonymous page; what became of its slot meanwhile is seen to. */
void anon_folio_unlock_and_trim(struct vellum_memory *m, struct folio *folio);

/* swap_in.c */
/*
 * The page behind a slot, locked, referenced, in the swap cache. 0, FAULT_AGAIN (the slot is another's by now), or
 * a fault's result.
 */
int swap_in(struct vellum_memory *m, slot_t slot, struct folio **out);

/* reclaim.c */
#define RECLAIM_BATCH	32	/* frames that a failed allocation asks for */
#define RECLAIM_TRIES	16	/* times that it asks */
/* An allocation failed: reclaim pages. True: trying again is worth it. *@tries: 0 at first. No lock held. */
bool reclaim_for_retry(struct vellum_memory *m, unsigned *tries);
/* Swap out or drop one page; @force: even if it was used just now. Return: a frame was freed. No lock held. */
bool reclaim_folio(struct vellum_memory *m, struct folio *folio, bool force);

/* One page of a file's cache, locked and referenced: written if it is dirty, and dropped. */
bool reclaim_cached(struct vellum_mapping *mapping, struct folio *folio);

/* shmem.c: pages of shared-memory objects */
bool shmem_swap_out(struct vellum_mapping *mapping, struct folio *folio);	/* locked, referenced */
slot_t shmem_slot(struct vellum_mapping *mapping, pgoff_t index);	/* 0: not swapped out; pages_lock held */
/* @folio: new, locked. 0: the page is not out; 1: done; or -EIO */
int shmem_swap_in(struct vellum_mapping *mapping, struct folio *folio);
void shmem_drop_swapped(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last);

#endif
