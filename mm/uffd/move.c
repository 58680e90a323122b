/* SPDX-License-Identifier: MIT */
/*
 * mm/uffd/move.c - UFFDIO_MOVE: move pages of private memory to another address, without a copy.
 *
 * A page that moves is exclusive to the process. Its anon_vma and index change, by which the reverse map finds it. So
 * the page is locked, and the page-table locks of both entries are held, while entries and place change.
 */
#include "mm/fault/fault.h"
#include "mm/frame/rmap.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/table/tlb.h"
#include "mm/track/hooks.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

struct page_move {
	struct vellum_mm *mm;
	struct vma *src_vma, *dst_vma;
	gva_t src, dst;
	pte_t *src_pte, *dst_pte;
	struct mutex *src_lock, *dst_lock;
	uint64_t mode;
};

static bool may_move(const struct vma *src, const struct vma *dst)
{
	const uint64_t alike = VM_ACCESS | VM_LOCKED;

	if (!vma_is_anonymous(src) || !vma_is_anonymous(dst) || ((src->flags | dst->flags) & VM_MAYSHARE))
		return false;
	if (!(src->flags & VM_WRITE) || !(dst->flags & VM_WRITE) || ((src->flags ^ dst->flags) & alike))
		return false;
	return !((src->flags | dst->flags) & (VM_SPECIAL | VM_SHADOW_STACK)) && src->page_prot == dst->page_prot;
}

static int find_vmas(struct page_move *pm, const struct vellum_uffd *uffd, gva_t dst, gva_t src, uint64_t len)
{
	pm->src_vma = find_vma_intersection(pm->mm, src, src + 1);
	pm->dst_vma = find_vma_intersection(pm->mm, dst, dst + 1);
	if (!pm->src_vma || !pm->dst_vma)
		return -ENOENT;
	if (src + len > pm->src_vma->end || dst + len > pm->dst_vma->end ||
	    pm->dst_vma->uffd != uffd || !may_move(pm->src_vma, pm->dst_vma))
		return -EINVAL;
	return anon_vma_prepare(pm->dst_vma) ? -ENOMEM : 0;
}

/* Look up both entries. 0; -ENOMEM; -EEXIST: a huge page is at the target; -ENOENT: no table at the source. */
static int find_entries(struct page_move *pm)
{
	huge_split_range(pm->mm, pm->src, pm->src + PAGE_SIZE);
	pm->dst_pte = pte_alloc(pm->mm, pm->dst, &pm->dst_lock);
	if (!pm->dst_pte)
		return huge_lookup(pm->mm, pm->dst, NULL) ? -EEXIST : -ENOMEM;
	pm->src_pte = pte_lookup(pm->mm, pm->src, &pm->src_lock);
	return pm->src_pte ? 0 : -ENOENT;
}

/* Both addresses have other content now. */
static void record_move(const struct page_move *pm) HOLDS(pm->src_lock, pm->dst_lock)
{
	track_change(pm->src_vma, pm->src);
	track_change(pm->dst_vma, pm->dst);
}

/* Change the page's place in the reverse map. */
static void move_place(const struct page_move *pm, struct folio *folio)
	HOLDS(pm->src_lock, pm->dst_lock) HOLDS(&folio->lock)
{
	struct anon_vma *from = folio->anon_vma;

	folio->anon_vma = vma_anon(pm->dst_vma);
	anon_vma_get(folio->anon_vma);
	folio->index = vma_page_index(pm->dst_vma, pm->dst);
	anon_vma_put(from, mm_host(pm->mm));
}

static int move_present(const struct page_move *pm, struct folio *folio)
	HOLDS(pm->src_lock, pm->dst_lock) HOLDS(&folio->lock)
{
	struct vma *vma = pm->dst_vma;
	pte_t old = ptep_get_and_clear(pm->src_pte), pte;

	flush_page(pm->mm, pm->src, VELLUM_FLUSH_UNMAP, pte_pfn(old));
	if (!(folio_flags(folio) & PG_EXCLUSIVE) || folio_maybe_pinned(folio)) {
		ptep_set(pm->src_pte, old);
		return -EBUSY;
	}
	move_place(pm, folio);
	record_move(pm);
	pte = pte_mksoft_dirty(pte_mkyoung(pte_mk(pte_pfn(old), vma->page_prot)));
	if (pte_dirty(old))
		pte = pte_mkdirty(pte);
	track_grant(vma, pm->dst);
	ptep_set(pm->dst_pte, maybe_mkwrite(vma, pte));
	return 0;
}

/* @folio: the page in the swap cache, locked; or NULL. */
static int move_swapped(const struct page_move *pm, pte_t old, struct folio *folio)
	HOLDS(pm->src_lock, pm->dst_lock)
{
	if (!pte_swp_exclusive(old))
		return -EBUSY;
	if (folio && folio_slot(pm->mm->memory, folio) != pte_slot(old))
		return -EAGAIN;		/* it left this slot before we had its lock */
	if (folio && (folio_flags(folio) & PG_ANON)) {
		mutex_assert_held(&folio->lock);
		move_place(pm, folio);
	}
	record_move(pm);
	ptep_set(pm->src_pte, pte_make(0));
	ptep_set(pm->dst_pte, pte_swp_clear_uffd_wp(pte_swp_mksoft_dirty(old)));
	return 0;
}

static int move_zero(const struct page_move *pm) HOLDS(pm->src_lock, pm->dst_lock)
{
	struct vellum_memory *m = pm->mm->memory;

	ptep_get_and_clear(pm->src_pte);
	flush_page(pm->mm, pm->src, VELLUM_FLUSH_UNMAP, m->zero_pfn);
	record_move(pm);
	ptep_set(pm->dst_pte, pte_mkspecial(pte_mk(m->zero_pfn, pm->dst_vma->page_prot)));
	return 0;
}

/* @folio, if any, is locked. @seen: the source entry when the folio was looked up. */
static int move_locked(const struct page_move *pm, pte_t seen, struct folio *folio) HOLDS(pm->src_lock, pm->dst_lock)
{
	pte_t old = ptep_get(pm->src_pte);

	if (!pte_none(ptep_get(pm->dst_pte)))
		return -EEXIST;
	if ((old.val | X86_ACCESSED | X86_DIRTY) != (seen.val | X86_ACCESSED | X86_DIRTY))
		return -EAGAIN;
	if (pte_none(old))
		return pm->mode & VELLUM_UFFD_MOVE_ALLOW_SRC_HOLES ? 0 : -ENOENT;
	if (pte_present(old) && !folio)
		return move_zero(pm);
	if (pte_present(old)) {
		mutex_assert_held(&folio->lock);
		return move_present(pm, folio);
	}
	if (pte_is_genuine_swap(old))
		return move_swapped(pm, old, folio);
	return pte_is_migration(old) ? -EAGAIN : -EFAULT;
}

/* The folio of the source entry, referenced; NULL: none is in RAM. */
static struct folio *get_source(const struct page_move *pm, pte_t *seen)
{
	struct vellum_memory *m = pm->mm->memory;
	struct folio *folio = NULL;

	mutex_lock(pm->src_lock, &m->host);
	*seen = ptep_get(pm->src_pte);
	if (pte_present(*seen))
		folio = normal_folio(m, *seen);
	else if (pte_is_migration(*seen))
		folio = swp_folio(m, *seen);	/* locked until the migration ends */
	if (folio)
		folio_get(folio);
	else if (pte_is_genuine_swap(*seen))
		folio = swap_cache_get(m, pte_slot(*seen));
	mutex_unlock(pm->src_lock, &m->host);
	return folio;
}

static int move_entry(struct page_move *pm, pte_t seen, struct folio *folio)
{
	const struct host *host = mm_host(pm->mm);
	int err;

	mutex_lock_both(pm->src_lock, pm->dst_lock, host);
	err = move_locked(pm, seen, folio);
	mutex_unlock_both(pm->src_lock, pm->dst_lock, host);
	return err;
}

static int move_page(struct page_move *pm)
{
	struct vellum_memory *m = pm->mm->memory;
	struct folio *folio;
	pte_t seen;
	int err = find_entries(pm);

	if (err == -ENOENT)
		return pm->mode & VELLUM_UFFD_MOVE_ALLOW_SRC_HOLES ? 0 : -ENOENT;
	if (err)
		return err;
	folio = get_source(pm, &seen);
	if (!folio)
		return move_entry(pm, seen, NULL);
	mutex_lock(&folio->lock, &m->host);
	err = move_entry(pm, seen, folio);
	anon_folio_unlock_and_free_swap(m, folio);
	folio_put(m, folio);
	return err;
}

/* mmap_lock held for reading. *@done: bytes. */
static int move_range(struct page_move *pm, const struct vellum_uffd *uffd, gva_t dst, gva_t src, uint64_t len,
		      uint64_t *done) HOLDS_SHARED(&pm->mm->mmap_lock)
{
	int err = uffd_changing(uffd) ? -EAGAIN : find_vmas(pm, uffd, dst, src, len);

	while (!err && *done < len) {
		if (host_killed(mm_host(pm->mm)))
			return -EINTR;
		pm->src = src + *done;
		pm->dst = dst + *done;
		err = move_page(pm);
		if (!err)
			*done += PAGE_SIZE;
		else if (err == -EAGAIN)
			err = 0;	/* the entry changed: retry */
	}
	return err;
}

EXPORT int vellum_uffd_move(struct vellum_uffd *uffd, uint64_t dst, uint64_t src, uint64_t len, uint64_t mode,
			    int64_t *done)
{
	struct page_move pm = { .mode = mode };
	unsigned tries = 0;
	uint64_t did = 0;
	int err;

	if (!uffd_ready(uffd) || ((dst | src | len) & ~PAGE_MASK) || !is_user_range(dst, len) || !is_user_range(src, len) ||
	    (mode & ~(uint64_t)(VELLUM_UFFD_MOVE_DONTWAKE | VELLUM_UFFD_MOVE_ALLOW_SRC_HOLES)))
		return -EINVAL;
	pm.mm = uffd_get_mm(uffd);
	if (!pm.mm)
		return -ESRCH;
	do {
		read_lock(&pm.mm->mmap_lock, mm_host(pm.mm));
		err = move_range(&pm, uffd, dst, src, len, &did);
		read_unlock(&pm.mm->mmap_lock, mm_host(pm.mm));
	} while (err == -ENOMEM && reclaim_for_retry(pm.mm->memory, &tries));
	vellum_mm_put(pm.mm);
	if (did && !(mode & VELLUM_UFFD_MOVE_DONTWAKE))
		uffd_wake_range(uffd, dst, dst + did);
	if (done)
		*done = did ? (int64_t)did : err;
	return !err ? 0 : did ? -EAGAIN : err;
}
