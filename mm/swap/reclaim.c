/* SPDX-License-Identifier: MIT */
/*
 * mm/swap/reclaim.c - reclaim: drop cached pages of files, swap out private and shared memory.
 *
 * A clock hand goes round over all frames. A page that was accessed since the hand last passed it is spared: only its
 * A is cleared. Speculative references: the hand takes a reference to a page that it found by its frame, without a
 * lock that a process that maps the page would hold. memory->frame_refs excludes fork meanwhile, since share_folio()
 * relies on there being no such reference.
 */
#include "mm/frame/rmap.h"
#include "mm/object/object.h"
#include "mm/swap/swap.h"
#include "mm/table/tlb.h"
#include "mm/track/hooks.h"
#include "mm/vma.h"

/* --- cached pages of files --- */

/* First clean pages that are not mapped, then clean pages, then dirty pages, which are written. */
enum effort { RECLAIM_UNMAPPED, RECLAIM_CLEAN, RECLAIM_DIRTY };

static bool is_mapped(const struct folio *folio)
{
	return __atomic_load_n(&folio->count, __ATOMIC_ACQUIRE) >= FOLIO_MAP;
}

/* The caller has a reference. */
static bool drop_folio(struct vellum_mapping *mapping, struct folio *folio, enum effort effort) HOLDS(&folio->lock)
{
	int err;

	if (folio->mapping != mapping || !(folio_flags(folio) & PG_UPTODATE) || folio_maybe_pinned(folio))
		return false;
	if (is_mapped(folio)) {
		if (effort == RECLAIM_UNMAPPED || mapping_has_vma_flags(mapping, folio->index, folio->index, VM_LOCKED))
			return false;
		/* No fault maps it again while it is locked. The entries' dirt is propagated to PG_DIRTY. */
		vellum_unmap_mapping_range(mapping, folio->index, 1);
	}
	err = effort == RECLAIM_DIRTY ? folio_write(mapping, folio) : 0;
	if (err)
		mapping_set_error(mapping, err);
	/* Two references: the cache's and the caller's. */
	return !(folio_flags(folio) & PG_DIRTY) && mapping_remove(mapping, folio, 2 * FOLIO_REF);
}

bool reclaim_cached(struct vellum_mapping *mapping, struct folio *folio)
{
	return mapping->ops && mapping->ops->fault && (mapping->flags & VELLUM_MAPPING_WRITEBACK) &&
	       drop_folio(mapping, folio, RECLAIM_DIRTY);
}

static uint64_t shrink_mapping(struct vellum_mapping *mapping, uint64_t nr, enum effort effort)
{
	struct vellum_memory *m = mapping->memory;
	struct folio *folio;
	uint64_t freed = 0;

	for (pgoff_t i = 0; freed < nr && (folio = mapping_next(mapping, &i, ~0ull, false)); i++) {
		if (mutex_trylock(&folio->lock)) {	/* never wait: the fault that holds it may wait for frames */
			freed += drop_folio(mapping, folio, effort);
			mutex_unlock(&folio->lock, &m->host);
		}
		folio_put(m, folio);
	}
	return freed;
}

static uint64_t shrink_caches(struct vellum_memory *m, uint64_t nr, enum effort effort)
{
	struct vellum_mapping *mapping = NULL;
	uint64_t freed = 0;

	while ((mapping = next_mapping_get(m, mapping)))
		if (freed < nr && (mapping->flags & VELLUM_MAPPING_WRITEBACK) && mapping->ops && mapping->ops->fault)
			freed += shrink_mapping(mapping, nr - freed, effort);
	return freed;
}

/* --- private pages --- */

/* For rmap_walk(): clear A. 1: it was set, or the VMA is locked. */
static int was_accessed(struct folio *folio, struct vma *vma, gva_t addr, void *arg)
{
	struct vellum_memory *m = arg;
	struct mutex *ptl;
	pte_t *ptep;
	bool young;

	if (vma_flags(vma) & VM_LOCKED)
		return 1;
	ptep = rmap_lock_pte(m, folio, vma, addr, &ptl);
	if (!ptep)
		return 0;
	young = pte_young(ptep_get(ptep)) && pte_young(ptep_update(ptep, pte_mkold));
	mutex_unlock(ptl, &m->host);
	return young && !(vma_flags(vma) & VM_SEQ_READ);
}

/* DROPPABLE memory is dropped, whatever was stored. A snapshot's copy keeps what it froze. */
static bool may_drop_stores(const struct vma *vma)
{
	return (vma_flags(vma) & VM_DROPPABLE) && !vma->mm->is_frozen;
}

/* For rmap_walk(). 1: a VMA that keeps stores maps the folio. */
static int keeps_stores(struct folio *folio, struct vma *vma, gva_t addr, void *arg)
{
	struct vellum_memory *m = arg;
	struct mutex *ptl;
	bool maps;

	if (may_drop_stores(vma))
		return 0;
	maps = rmap_lock_pte(m, folio, vma, addr, &ptl);
	if (maps)
		mutex_unlock(ptl, &m->host);
	return maps;
}

/* The swap entry that replaces @old. */
static pte_t swap_entry_for(pte_t old, slot_t slot, bool exclusive)
{
	pte_t pte = pte_to_swp_flags(slot_pte(slot), old);

	return exclusive ? pte_swp_mkexclusive(pte) : pte;
}

struct unmapping {
	struct vellum_memory *m;
	slot_t slot;		/* 0: drop the page, if it was not stored to or is in DROPPABLE memory */
};

/* There are references besides those of its mappings and the caller's. */
static bool has_other_users(const struct folio *folio)
{
	uint64_t count = __atomic_load_n(&folio->count, __ATOMIC_SEQ_CST);

	return (uint32_t)count - (uint32_t)(count >> 32) != 1;
}

/* ptl held; the entry was @old, and is cleared and flushed. False: @old was restored. */
static bool replace_entry(const struct unmapping *un, struct folio *folio, struct vma *vma, gva_t addr, pte_t *ptep,
			  pte_t old)
{
	bool exclusive = folio_flags(folio) & PG_EXCLUSIVE;

	/* A pin that is taken from now on finds the entry cleared. An earlier one is seen here. */
	bool stored = !may_drop_stores(vma) &&
		      (pte_dirty(old) || (folio_flags(folio) & PG_DIRTY));	/* MADV_FREE cleared both */

	if (folio_maybe_pinned(folio) || (!un->slot && (stored || has_other_users(folio)))) {
		ptep_set(ptep, old);
		return false;
	}
	if (un->slot) {
		folio_clear(folio, PG_EXCLUSIVE);
		slot_dup(un->m, un->slot);
		ptep_set(ptep, swap_entry_for(old, un->slot, exclusive));
		mm_add_swapped(vma->mm, 1);
	}
	if (pte_dirty(old) || !un->slot)
		track_change(vma, addr);
	return true;
}

/* For rmap_walk(). 1 ends the walk: the page must stay. */
static int unmap_entry(struct folio *folio, struct vma *vma, gva_t addr, void *arg)
{
	const struct unmapping *un = arg;
	struct vellum_memory *m = un->m;
	struct mutex *ptl;
	pte_t *ptep, old;
	bool done;

	if (vma_flags(vma) & VM_LOCKED)
		return 1;
	ptep = rmap_lock_pte(m, folio, vma, addr, &ptl);
	if (!ptep)
		return 0;
	old = ptep_get_and_clear(ptep);
	flush_page(vma->mm, addr, VELLUM_FLUSH_UNMAP, pte_pfn(old));
	done = replace_entry(un, folio, vma, addr, ptep, old);
	if (done)
		mm_add_rss(vma->mm, -1);
	mutex_unlock(ptl, &m->host);
	if (done)
		folio_put_count(m, folio, FOLIO_ONE_MAPPING);	/* not the last: the caller has one */
	return !done;
}

/*
 * The folio's slot holds its bytes. Return: the only references were the cache's and the caller's; the cache's is
 * dropped.
 */
static bool drop_from_cache(struct vellum_memory *m, struct folio *folio) HOLDS(&folio->lock)
{
	if (__atomic_load_n(&folio->count, __ATOMIC_ACQUIRE) != 2 * FOLIO_REF)
		return false;
	swap_cache_remove(m, folio);
	return true;
}

static bool write_out(struct vellum_memory *m, struct folio *folio, slot_t slot) HOLDS(&folio->lock)
{
	if (!(folio_flags(folio) & PG_DIRTY))
		return true;
	folio_clear(folio, PG_DIRTY);
	if (!slot_write(m, slot, folio))
		return true;
	folio_set(folio, PG_DIRTY);	/* it stays in the cache, so nothing is lost */
	return false;
}

/* An anonymous page, mapped or not. The caller has a reference. */
static bool swap_out(struct vellum_memory *m, struct folio *folio) HOLDS(&folio->lock)
{
	struct unmapping un = { .m = m, .slot = folio_slot(m, folio) };
	bool fresh = !un.slot;

	if (fresh) {
		un.slot = slot_alloc(m);	/* holds a count until entries name it */
		if (!un.slot)
			return false;
		if (swap_cache_add(m, folio, un.slot)) {
			slot_put(m, un.slot);
			return false;
		}
	}
	rmap_walk(m, folio, unmap_entry, &un);
	if (fresh)
		slot_put(m, un.slot);		/* if no entry names the slot, the unlock frees it */
	if (is_mapped(folio) || !write_out(m, folio, un.slot))
		return false;
	return drop_from_cache(m, folio);
}

/* After MADV_FREE, or in DROPPABLE memory: drop it without writing. */
static bool drop_unwritten(struct vellum_memory *m, struct folio *folio)
{
	struct unmapping un = { .m = m };

	rmap_walk(m, folio, unmap_entry, &un);
	if (is_mapped(folio)) {
		folio_clear(folio, PG_LAZYFREE);	/* stored to since MADV_FREE: an ordinary page again */
		folio_set(folio, PG_DIRTY);
		return false;
	}
	return __atomic_load_n(&folio->count, __ATOMIC_ACQUIRE) == FOLIO_REF;
}

static bool reclaim_anon(struct vellum_memory *m, struct folio *folio, bool force) HOLDS(&folio->lock)
{
	if (!is_mapped(folio))
		return (folio_flags(folio) & PG_SWAPCACHE) && write_out(m, folio, folio_slot(m, folio)) &&
		       drop_from_cache(m, folio);
	if (folio_maybe_pinned(folio))
		return false;
	if (folio_flags(folio) & PG_LAZYFREE)
		return drop_unwritten(m, folio);
	if (rmap_walk(m, folio, was_accessed, m) && !force)
		return false;
	return rmap_walk(m, folio, keeps_stores, m) ? swap_out(m, folio) : drop_unwritten(m, folio);
}

/* A page of a shared-memory mapping. */
static bool reclaim_shmem(struct vellum_memory *m, struct folio *folio, bool force) HOLDS(&folio->lock)
{
	struct vellum_mapping *mapping = folio->mapping;

	if (!mapping || !mapping_is_shmem(mapping) || folio_maybe_pinned(folio))
		return false;
	if (rmap_walk(m, folio, was_accessed, m) && !force)
		return false;
	return shmem_swap_out(mapping, folio);
}

/* The caller has a reference. */
bool reclaim_folio(struct vellum_memory *m, struct folio *folio, bool force)
{
	bool freed = false, anon;
	uint32_t flags;

	if (!mutex_trylock(&folio->lock))
		return false;
	flags = folio_flags_acquire(folio);	/* read once: they may change without the lock */
	anon = flags & (PG_ANON | PG_SWAPCACHE);
	if (anon)
		freed = reclaim_anon(m, folio, force);
	else if (flags & PG_UPTODATE)
		freed = reclaim_shmem(m, folio, force);
	if (anon)
		anon_folio_unlock_and_free_swap(m, folio);
	else
		mutex_unlock(&folio->lock, &m->host);
	return freed;
}

/* A frame that may hold a page to reclaim, referenced; or NULL. Some flags are checked again under its lock. */
static struct folio *folio_at_hand(struct vellum_memory *m, uint64_t index)
{
	struct folio *folio = &m->folios[index];
	uint32_t flags = folio_flags(folio);
	bool got;

	if (!(flags & PG_USED) || (flags & (PG_TABLE | PG_DEVICE)) || folio_pfn(m, folio) == m->zero_pfn)
		return NULL;
	group_enter_second(&m->frame_refs, &m->host);
	got = folio_try_get(folio, FOLIO_REF);
	group_leave_second(&m->frame_refs, &m->host);
	if (!got)
		return NULL;
	if (!(folio_flags(folio) & (PG_TABLE | PG_DEVICE)))
		return folio;
	folio_put(m, folio);
	return NULL;
}

/* The first round spares accessed pages, the second does not. */
static uint64_t reclaim_by_clock(struct vellum_memory *m, uint64_t nr)
{
	uint64_t freed = 0, nr_ready;

	if (!__atomic_load_n(&m->swap, __ATOMIC_RELAXED) && !__atomic_load_n(&m->has_lazyfree, __ATOMIC_RELAXED))
		return 0;
	mutex_lock(&m->reclaim_lock, &m->host);
	nr_ready = __atomic_load_n(&m->nr_ready, __ATOMIC_RELAXED);
	for (uint64_t i = 0; i < 2 * nr_ready && freed < nr; i++) {
		uint64_t index = m->clock_hand = m->clock_hand + 1 < nr_ready ? m->clock_hand + 1 : 0;
		struct folio *folio = folio_at_hand(m, index);

		if (!folio)
			continue;
		freed += reclaim_folio(m, folio, i >= nr_ready);
		folio_put(m, folio);
	}
	mutex_unlock(&m->reclaim_lock, &m->host);
	return freed;
}

EXPORT uint64_t vellum_reclaim(struct vellum_memory *memory, uint64_t nr)
{
	uint64_t freed = 0;

	for (enum effort effort = RECLAIM_UNMAPPED; effort <= RECLAIM_DIRTY && freed < nr; effort++)
		freed += shrink_caches(memory, nr - freed, effort);
	return freed < nr ? freed + reclaim_by_clock(memory, nr - freed) : freed;
}

/*
 * The number of tries is limited: a fault that needs two pages could otherwise reclaim for ever the one that it brings
 * in first.
 */
bool reclaim_for_retry(struct vellum_memory *m, unsigned *tries)
{
	return (*tries)++ < RECLAIM_TRIES && vellum_reclaim(m, RECLAIM_BATCH);
}
