/* SPDX-License-Identifier: MIT */
/*
 * mm/fault/swap_in.c - faults on entries that are neither none nor present, and no markers: swap, migration and device
 * entries.
 */
#include "mm/fault/fault.h"
#include "mm/frame/rmap.h"
#include "mm/outside/device.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"
#include "mm/track/hooks.h"
#include "mm/vma.h"

/* Lock the folio. False: it is not in the swap cache for @slot any more; it is unlocked and the reference dropped. */
static bool lock_cached(struct vellum_memory *m, struct folio *folio, slot_t slot) TRY_ACQUIRES(true, &folio->lock)
{
	mutex_lock(&folio->lock, &m->host);
	if (folio_slot(m, folio) == slot)
		return true;
	anon_folio_unlock_and_free_swap(m, folio);
	folio_put(m, folio);
	return false;
}

/* Read a slot that has no page in the swap cache. Returns as swap_in(), or -EEXIST: the cache has a page by now. */
static int read_in(struct vellum_memory *m, slot_t slot, struct folio **out) NO_LOCK_ANALYSIS	/* *out = fresh */
{
	struct folio *fresh = folio_alloc_raw(m);
	int err;

	if (!fresh)
		return -ENOMEM;
	mutex_lock(&fresh->lock, &m->host);
	err = swap_cache_add(m, fresh, slot);
	if (!err && !slot_read(m, slot, fresh)) {
		folio_set(fresh, PG_UPTODATE);
		*out = fresh;
		return 0;
	}
	if (!err) {
		swap_cache_remove(m, fresh);
		err = -EIO;
	} else if (err == -ENOENT) {
		err = -EAGAIN;		/* the slot is free or reused */
	}
	anon_folio_unlock_and_free_swap(m, fresh);
	folio_put(m, fresh);
	return err;
}

int swap_in(struct vellum_memory *m, slot_t slot, struct folio **out)
{
	int err = -EEXIST;

	while (err == -EEXIST) {
		struct folio *folio = swap_cache_get(m, slot);

		if (!folio) {
			err = read_in(m, slot, out);
		} else if (lock_cached(m, folio, slot)) {
			*out = folio;
			err = 0;
		}
	}
	return err;
}

/* The entry for a page that was swapped in. */
static pte_t swapped_in_entry(const struct fault *f, const struct folio *folio, bool exclusive)
{
	const struct vma *vma = f->vma;
	bool store = (f->flags & FAULT_WRITE) && !(f->flags & FAULT_POPULATE);
	pte_t pte = pte_mkyoung(pte_mk(folio_pfn(fault_memory(f), folio), vma->page_prot));

	pte = swp_to_pte_flags(pte, f->orig);
	if (!exclusive || !(vma->flags & VM_WRITE) || (vma_uffd_wp(vma) && pte_uffd_wp(pte)))
		return pte;
	if (store)
		return maybe_mkwrite(vma, pte_mkdirty(pte));
	if (vma_soft_dirty_enabled(vma) && !pte_soft_dirty(pte))
		return pte;
	return (vma->flags & VM_SHADOW_STACK) || wp_tracked(f->vma, f->addr) ? pte : maybe_mkwrite(vma, pte);
}

/* The folio is locked, ptl is held, and the entry still is f->orig. Return: the new entry has W. */
static bool map_swapped_in(struct fault *f, struct folio *folio, slot_t slot)
{
	struct vma *vma = f->vma;
	struct vellum_memory *m = fault_memory(f);
	bool mapped = __atomic_load_n(&folio->count, __ATOMIC_ACQUIRE) >= FOLIO_MAP;
	bool exclusive = pte_swp_exclusive(f->orig) || (!mapped && slot_count(m, slot) == 1);
	pte_t pte = swapped_in_entry(f, folio, exclusive);

	if (!(folio_flags(folio) & PG_ANON)) {
		folio->anon_vma = vma_anon(vma);
		anon_vma_get(folio->anon_vma);
		folio->index = vma_page_index(vma, f->addr);
		folio_set(folio, PG_ANON);
	}
	if (exclusive)
		folio_set(folio, PG_EXCLUSIVE);
	__atomic_fetch_add(&folio->count, FOLIO_ONE_MAPPING, __ATOMIC_RELAXED);
	prepare_exec(vma, folio);
	if (pte_write(pte))
		track_grant(vma, f->addr);
	ptep_set(f->ptep, pte);
	mm_add_rss(vma->mm, 1);
	swp_entry_drop(vma->mm, f->orig);
	return pte_write(pte);
}

static enum vm_fault do_swapped_out(struct fault *f)
{
	struct vellum_memory *m = fault_memory(f);
	slot_t slot = pte_slot(f->orig);
	struct folio *folio;
	bool same, writable = false;
	int err = swap_in(m, slot, &folio);

	if (err)
		return err == -ENOMEM ? VM_FAULT_OOM : err == -EAGAIN ? VM_FAULT_AGAIN : VM_FAULT_SIGBUS;
	mutex_lock(f->ptl, &m->host);
	same = fault_is_same(f);
	if (same)
		writable = map_swapped_in(f, folio, slot);
	mutex_unlock(f->ptl, &m->host);
	anon_folio_unlock_and_free_swap(m, folio);
	folio_put(m, folio);
	if (!same)
		return VM_FAULT_AGAIN;
	mm_count(f->vma->mm, VELLUM_COUNT_FAULT_SWAP);
	if ((f->flags & (FAULT_WRITE | FAULT_UNSHARE)) && !(f->flags & FAULT_POPULATE) && !writable)
		return VM_FAULT_AGAIN;		/* now as a store to a read-only entry */
	return VM_FAULT_DONE;
}

/* The migrating thread holds the folio's lock until the migration entries are gone: wait for the lock. */
static enum vm_fault wait_for_migration(struct fault *f)
{
	struct vellum_memory *m = fault_memory(f);
	struct folio *folio = NULL;

	mutex_lock(f->ptl, &m->host);
	if (fault_is_same(f)) {
		folio = swp_folio(m, f->orig);
		folio_get(folio);	/* the migrating thread has a reference as long as the entry exists */
	}
	mutex_unlock(f->ptl, &m->host);
	if (folio) {
		mutex_lock(&folio->lock, &m->host);
		anon_folio_unlock_and_free_swap(m, folio);
		folio_put(m, folio);
	}
	return VM_FAULT_AGAIN;
}

enum vm_fault do_swap_page(struct fault *f)
{
	if (pte_is_genuine_swap(f->orig))
		return do_swapped_out(f);
	if (pte_is_migration(f->orig))
		return wait_for_migration(f);
	if (pte_is_device_private(f->orig))
		return device_private_fault(f);
	if (pte_is_device_exclusive(f->orig))
		return device_exclusive_fault(f);
	return VM_FAULT_HWPOISON;
}
