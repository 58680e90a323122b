/* SPDX-License-Identifier: MIT */
/*
 * mm/frame/migrate.c - move a page to another frame. Meanwhile migration entries replace its entries and keep their
 * bits.
 *
 * The page is locked while migration entries exist, so a fault on one waits for the folio lock.
 */
#include "mm/fault/fault.h"
#include "mm/frame/rmap.h"
#include "mm/swap/swap.h"
#include "mm/table/pgtable.h"
#include "mm/table/tlb.h"
#include "mm/track/hooks.h"
#include "mm/vma.h"
#include "vellum/device.h"

struct migration {
	struct vellum_memory *m;
	pfn_t from;
	struct folio *to;	/* what the entries map afterwards: the old folio if the migration fails */
};

static pte_t migration_entry(const struct folio *folio, pte_t old)
{
	bool exclusive = (folio_flags(folio) & (PG_ANON | PG_EXCLUSIVE)) == (PG_ANON | PG_EXCLUSIVE);
	unsigned type = pte_write(old) ? SWP_MIGRATION_WRITE : exclusive ? SWP_MIGRATION_READ_EXCL : SWP_MIGRATION_READ;
	pte_t pte = swp_entry_pte(type, pte_pfn(old) | (pte_young(old) ? MIGRATION_YOUNG : 0) |
						(pte_dirty(old) ? MIGRATION_DIRTY : 0));

	return pte_to_swp_flags(pte, old);
}

/* For rmap_walk(). 1: the page may be pinned, so it must not move. */
static int set_migration_entry(struct folio *folio, struct vma *vma, gva_t addr, void *arg)
{
	const struct migration *mg = arg;
	struct mutex *ptl;
	pte_t *ptep = rmap_lock_pte(mg->m, folio, vma, addr, &ptl), old;
	bool pinned;

	if (!ptep)
		return 0;
	old = ptep_get_and_clear(ptep);
	flush_page(vma->mm, addr, VELLUM_FLUSH_UNMAP, pte_pfn(old));
	pinned = folio_maybe_pinned(folio);
	ptep_set(ptep, pinned ? old : migration_entry(folio, old));
	if (!pinned) {
		if (pte_dirty(old)) {
			folio_mark_dirty(folio);
			track_change(vma, addr);	/* a collection meanwhile finds no D */
		}
		mm_add_rss(vma->mm, -1);
	}
	mutex_unlock(ptl, &mg->m->host);
	if (!pinned)
		folio_put_count(mg->m, folio, FOLIO_ONE_MAPPING);
	return pinned;
}

/* The present entry for a migration entry @old. */
static pte_t restored_entry(const struct migration *mg, const struct vma *vma, pte_t old)
{
	pte_t pte = pte_mk(folio_pfn(mg->m, mg->to), vma->page_prot);
	uint64_t flags = pte_swp_offset(old);

	pte = flags & MIGRATION_YOUNG ? pte_mkyoung(pte) : pte_mkold(pte);
	if (flags & MIGRATION_DIRTY)
		pte = pte_mkdirty(pte);	/* before W is set: in a shadow stack D is part of W */
	if (pte_swp_type(old) == SWP_MIGRATION_WRITE)
		pte = maybe_mkwrite(vma, pte);
	else if (pte_swp_uffd_wp(old))
		pte = pte_mkuffd_wp(pte);
	return pte_swp_soft_dirty(old) ? pte_mksoft_dirty(pte) : pte_clear_soft_dirty(pte);
}

/* For rmap_walk(). Restores a present entry. */
static int remove_migration_entry(struct folio *folio, struct vma *vma, gva_t addr, void *arg)
{
	const struct migration *mg = arg;
	struct mutex *ptl;
	pte_t *ptep = pte_lookup(vma->mm, addr, &ptl), old;

	(void)folio;
	if (!ptep)
		return 0;
	mutex_lock(ptl, &mg->m->host);
	old = ptep_get(ptep);
	if (pte_is_migration(old) && pte_swp_pfn(old) == mg->from) {
		pte_t pte = restored_entry(mg, vma, old);

		/* A tracker may have collected meanwhile: it found no W to take. */
		if (pte_write(pte) && wp_tracked(vma, addr))
			pte = pte_wrprotect(pte);
		__atomic_fetch_add(&mg->to->count, FOLIO_ONE_MAPPING, __ATOMIC_RELAXED);
		prepare_exec(vma, mg->to);
		ptep_set(ptep, pte);
		mm_add_rss(vma->mm, 1);
	}
	mutex_unlock(ptl, &mg->m->host);
	return 0;
}

/* Copy the bytes, the index and the flags. False: @from's count is not @wanted, so it must not move. */
static bool copy_unless_used(struct vellum_memory *m, struct folio *from, struct folio *to, uint64_t wanted)
{
	if (__atomic_load_n(&from->count, __ATOMIC_ACQUIRE) != wanted)
		return false;
	copy_racy(frame_address(m, folio_pfn(m, to)), frame_address(m, folio_pfn(m, from)), PAGE_SIZE);
	to->index = from->index;
	folio_set(to, folio_flags(from) & (PG_ANON | PG_EXCLUSIVE | PG_UPTODATE | PG_DIRTY | PG_LAZYFREE));
	return true;
}

static bool move_anon_identity(struct vellum_memory *m, struct folio *from, struct folio *to)
{
	if (!copy_unless_used(m, from, to, FOLIO_REF))
		return false;
	to->anon_vma = from->anon_vma;
	anon_vma_get(to->anon_vma);
	return true;
}

/*
 * Move the bytes, owner and index. Both folios are locked and no entry maps @from. False: @from has other references,
 * so it must not move.
 */
static bool move_identity(struct vellum_memory *m, struct folio *from, struct folio *to)
	HOLDS(&from->lock) HOLDS(&to->lock)
{
	struct vellum_mapping *mapping;
	bool ok;

	if (folio_flags(from) & PG_ANON)
		return move_anon_identity(m, from, to);
	mapping = from->mapping;
	mutex_lock(&mapping->pages_lock, &m->host);
	ok = copy_unless_used(m, from, to, 2 * FOLIO_REF);
	if (ok) {
		/* Replacing a value needs no memory, so this cannot fail. */
		radix_set(&mapping->pages, from->index, to, &m->host);
		to->mapping = mapping;
		folio_get(to);
		__atomic_store_n(&from->mapping, NULL, __ATOMIC_RELAXED);
	}
	mutex_unlock(&mapping->pages_lock, &m->host);
	if (ok)
		folio_put(m, from);	/* the cache's reference */
	return ok;
}

/* The caller has a reference. */
static int migrate_folio(struct vellum_memory *m, struct folio *folio) HOLDS(&folio->lock)
{
	struct migration mg = { m, folio_pfn(m, folio), folio };
	struct folio *fresh;
	int err = -EBUSY;

	if ((folio_flags(folio) & (PG_SWAPCACHE | PG_WRITING)) || !folio_is_uptodate(folio) ||
	    (!(folio_flags(folio) & PG_ANON) && !folio->mapping))
		return -EBUSY;
	fresh = folio_alloc_raw(m);
	if (!fresh)
		return -ENOMEM;
	__atomic_fetch_add(&m->nr_migrating, 1, __ATOMIC_SEQ_CST);	/* before the first migration entry */
	mutex_lock(&fresh->lock, &m->host);
	if (!rmap_walk(m, folio, set_migration_entry, &mg) && move_identity(m, folio, fresh)) {
		mg.to = fresh;
		err = 0;
	}
	rmap_walk(m, mg.to, remove_migration_entry, &mg);	/* mg.to has the old folio's owner and index */
	mutex_unlock(&fresh->lock, &m->host);
	__atomic_fetch_sub(&m->nr_migrating, 1, __ATOMIC_SEQ_CST);
	folio_put(m, fresh);
	return err;
}

EXPORT int vellum_migrate_page(struct vellum_mm *mm, uint64_t addr)
{
	struct vellum_memory *m = mm->memory;
	struct folio *folio;
	int err = -EFAULT;

	if ((addr & ~PAGE_MASK) || !is_user_range(addr, PAGE_SIZE))
		return -EFAULT;
	read_lock(&mm->mmap_lock, &m->host);
	notify_start(mm, VELLUM_NOTIFY_CLEAR, addr, addr + PAGE_SIZE);
	folio = folio_mapped_at(mm, addr);
	if (folio) {
		mutex_lock(&folio->lock, &m->host);
		err = migrate_folio(m, folio);
		anon_folio_unlock_and_free_swap(m, folio);
		folio_put(m, folio);
	}
	notify_finish(mm, VELLUM_NOTIFY_CLEAR, addr, addr + PAGE_SIZE);
	read_unlock(&mm->mmap_lock, &m->host);
	return err;
}
