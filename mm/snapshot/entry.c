/* SPDX-License-Identifier: MIT */
/*
 * mm/snapshot/entry.c - restore one entry of a last-level table: leave it, copy the frozen bytes into its page, or map
 * the frozen page again.
 */
#include "mm/fault/fault.h"
#include "mm/object/object.h"
#include "mm/outside/device.h"
#include "mm/snapshot/snapshot.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/track/hooks.h"

/* What an entry of a private VMA says about the page's content. */
enum content {
	CONTENT_INITIAL,	/* as a first fault finds it: zeros, or the page of the mapping */
	CONTENT_PAGE,		/* an anonymous page */
	CONTENT_SWAPPED,
	CONTENT_OTHER,		/* guard, poison, a raw frame or the zero page instead of a mapping's, migration, device */
};

static enum content content_of(const struct vma *vma, pte_t pte)
{
	const struct vellum_memory *m = vma->mm->memory;

	if (pte_none_or_wp_marker(pte))
		return CONTENT_INITIAL;
	if (pte_present(pte)) {
		if (pte_special(pte))	/* a userfaultfd can map the zero page in a VMA with a mapping */
			return pte_pfn(pte) == m->zero_pfn && vma_is_anonymous(vma) ? CONTENT_INITIAL : CONTENT_OTHER;
		return folio_flags(pte_folio(m, pte)) & PG_ANON ? CONTENT_PAGE : CONTENT_INITIAL;
	}
	return pte_is_genuine_swap(pte) ? CONTENT_SWAPPED : CONTENT_OTHER;
}

struct vma *restore_vma(struct restore *rs, gva_t addr, uint64_t size, uint64_t entry)
{
	if (!rs->vma || addr < rs->vma->start || addr >= rs->vma->end)
		rs->vma = find_vma(rs->mm, addr);
	/* A restore visits tables, not VMAs: if a program can write tables, entries may be anywhere. */
	if (unlikely(rs->mm->memory->exposed) &&
	    (!rs->vma || addr < rs->vma->start || size > rs->vma->end - addr))
		entry_forged(rs->mm->memory, entry, "an entry that maps memory where no VMA is");
	return rs->vma;
}

/* --- the parts that entries have beside the page --- */

/*
 * Must the present entry @pte be soft-dirty? The frozen copy has no entry for a mapping's own page, so it does not tell
 * whether that page was soft-dirty. Then soft-dirty stays: at worst it is reported too often.
 */
static bool is_soft_dirty(const struct vma *vma, pte_t pte, pte_t frozen)
{
	if (pte_present(frozen))
		return pte_soft_dirty(frozen);
	if (pte_none_or_wp_marker(frozen))
		return vma->mapping && pte_soft_dirty(pte);
	return !pte_is_marker(frozen) && pte_swp_soft_dirty(frozen);
}

/*
 * The present entry @pte, whose page has the frozen bytes, with the frozen bits. It loses W if the next store has to
 * fault, to set soft-dirty or for a userfaultfd.
 */
static pte_t with_frozen_bits(const struct vma *vma, pte_t pte, pte_t frozen)
{
	bool soft_dirty = is_soft_dirty(vma, pte, frozen);

	pte.val &= ~(X86_SOFT_DIRTY | X86_UFFD_WP);
	if (soft_dirty)
		pte = pte_mksoft_dirty(pte);
	else if (vma_soft_dirty_enabled(vma))
		pte = pte_wrprotect(pte);
	if (vma_uffd_wp(vma) && pte_is_uffd_wp(frozen))
		pte = pte_mkuffd_wp(pte);
	return pte_mkclean(pte);
}

/*
 * The page has the frozen bytes: give the entry the frozen bits, and UNCHANGED. A page that may be pinned does not get
 * UNCHANGED, since a store through the pin sets no D.
 */
static int settle(struct restore *rs, struct vma *vma, pte_t *ptep, pte_t frozen)
{
	const struct vellum_memory *m = rs->mm->memory;
	pte_t pte = with_frozen_bits(vma, ptep_get(ptep), frozen);

	if (!pte_special(pte) && folio_maybe_pinned(pte_folio(m, pte)))
		rs->again = true;
	else
		pte = pte_mkunchanged(pte);
	ptep_set(ptep, pte);
	return 0;
}

void replace_entry(struct restore *rs, gva_t addr, pte_t *ptep, pte_t *frozen)
{
	struct vma *vma = restore_vma(rs, addr, PAGE_SIZE, ptep_get(ptep).val);

	if (pte_none(ptep_get(ptep)) && !(vma_flags(vma) & VM_MAYSHARE))
		track_change(vma, addr);
	zap_one(&rs->tlb, vma, addr, ptep);
	if (frozen)
		thaw_entry(vma, ptep, frozen);
	rs->dropped++;
}

/* --- private VMAs --- */

/*
 * The page of the mapping that a first fault would find, with a reference. NULL: there is none; *@zeros: because the
 * page reads as zeros. Else it is not in the cache.
 */
static struct folio *initial_page(const struct vma *vma, gva_t addr, bool *zeros)
{
	struct folio *folio;

	*zeros = vma_is_anonymous(vma);
	if (*zeros)
		return NULL;
	folio = mapping_find(vma->mapping, vma_page_index(vma, addr));
	if (folio && !folio_is_uptodate(folio)) {
		folio_put(vma->mm->memory, folio);
		return NULL;
	}
	*zeros = !folio && mapping_is_shmem(vma->mapping) && !mapping_has(vma->mapping, vma_page_index(vma, addr));
	return folio;
}

/* The first byte of the cache line in which two pages begin to differ; PAGE_SIZE: they are equal. */
static uint64_t first_difference(const void *a, const void *b)
{
#ifdef VELLUM_TSAN
	const uint64_t *x = a, *y = b;
	uint64_t at;

	for (at = 0; at < PAGE_SIZE; at += 8, x++, y++)
		if (__atomic_load_n(x, __ATOMIC_RELAXED) != __atomic_load_n(y, __ATOMIC_RELAXED))
			break;
	return at & ~63ull;
#else
	typedef uint64_t pair __attribute__((vector_size(16), may_alias));
	const volatile pair *x = a, *y = b;	/* volatile: others may store to the page of a mapping meanwhile */
	uint64_t at;

	for (at = 0; at < PAGE_SIZE; at += 64, x += 4, y += 4) {
		pair d = (x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]);

		if (d[0] | d[1])
			break;
	}
	return at;
#endif
}

/*
 * Copy the frozen bytes into the exclusive page that @pte maps. False: they are not in RAM. *@changed: its bytes were
 * others.
 */
static bool copy_frozen(struct restore *rs, const struct vma *vma, gva_t addr, pte_t pte, pte_t frozen, bool *changed)
{
	struct vellum_memory *m = rs->mm->memory;
	struct folio *to = pte_folio(m, pte), *initial = NULL;
	char *dst = frame_address(m, folio_pfn(m, to));
	const char *src;
	bool zeros = false;
	uint64_t at;

	sched_point(SCHED_MEMORY, dst);
	if (content_of(vma, frozen) == CONTENT_PAGE) {
		src = pte_host(m, frozen);
	} else {
		initial = initial_page(vma, addr, &zeros);
		if (!initial && !zeros)
			return false;
		src = frame_address(m, zeros ? m->zero_pfn : folio_pfn(m, initial));
	}
	at = first_difference(dst, src);
	*changed = at < PAGE_SIZE;
	copy_racy(dst + at, src + at, PAGE_SIZE - at);
	if (initial)
		folio_put(m, initial);
	folio_set(to, PG_DIRTY);	/* after MADV_FREE, reclaim would drop the page */
	if (*changed)
		folio_bytes_changed(m, to);
	return true;
}

/*
 * Leave the entry of a page that this run changed, and that a restore has kept before, as it is: writable, with D. If the
 * next run changes the page too, its CPUs need no walk for it, and no flush. The next restore compares the page, as it
 * does with all that have D. False: the entry must lose D, so that trackers see what the next run changes, or the next
 * store has to fault.
 */
static bool leave_dirty(struct restore *rs, const struct vma *vma, pte_t pte, pte_t frozen)
{
	const uint64_t kept = X86_UNCHANGED | X86_DIRTY;

	if (rs->all || !pte_write(pte) || mm_is_tracked(vma->mm) || (with_frozen_bits(vma, pte, frozen).val | kept) != pte.val)
		return false;
	rs->again = true;
	return true;
}

/*
 * Must a page that had no copy be without one again? Where a userfaultfd gets faults of missing pages, it has to be
 * missing again. Where shared memory is mapped, the next run may store to the mapping's page, and must see that here.
 */
static bool must_be_initial(const struct vma *vma, bool pinned)
{
	return vma->uffd || (vma->mapping && mapping_is_shmem(vma->mapping) && !pinned);
}

/* An anonymous page of the run, which differs from the frozen page if there is one. */
static int restore_page(struct restore *rs, struct vma *vma, gva_t addr, pte_t *ptep, pte_t *frozen, pte_t was)
{
	struct vellum_memory *m = rs->mm->memory;
	pte_t pte = ptep_get(ptep);
	struct folio *folio = pte_folio(m, pte);
	enum content content = content_of(vma, was);
	bool pinned = folio_maybe_pinned(folio), kept = pte.val & X86_UNCHANGED, changed;

	if (!rs->all && pte_unchanged(pte))
		return settle(rs, vma, ptep, was);
	if (content == CONTENT_SWAPPED && (folio_flags(folio) & PG_SWAPCACHE) && folio_slot(m, folio) == pte_slot(was))
		return settle(rs, vma, ptep, was);	/* the frozen page itself */
	if (content == CONTENT_OTHER || (content == CONTENT_INITIAL && must_be_initial(vma, pinned))) {
		replace_entry(rs, addr, ptep, frozen);
		return 0;
	}
	if ((folio_flags(folio) & PG_EXCLUSIVE) && content != CONTENT_SWAPPED &&
	    copy_frozen(rs, vma, addr, pte, was, &changed)) {
		track_change(vma, addr);
		rs->copied += changed;
		rs->frozen->nr_kept += !kept;
		return changed && leave_dirty(rs, vma, pte, was) ? 0 : settle(rs, vma, ptep, was);
	}
	/* A raw frame instead of a page cannot be brought in: its bytes are the driver's. */
	if (pinned && (content == CONTENT_SWAPPED ||
		       (content == CONTENT_INITIAL && !(vma->mapping && (vma->mapping->flags & MAPPING_RAW))))) {
		rs->missing = addr;
		return -EAGAIN;
	}
	replace_entry(rs, addr, ptep, frozen);
	return 0;
}

/* Both entries have the same kind of content, and it is not an anonymous page. */
static int restore_other(struct restore *rs, struct vma *vma, gva_t addr, pte_t *ptep, pte_t *frozen, pte_t was)
{
	pte_t pte = ptep_get(ptep);

	switch (content_of(vma, was)) {
	case CONTENT_INITIAL:
		if (pte_present(pte) && (!vma->uffd || pte_present(was)))
			return settle(rs, vma, ptep, was);
		if (!pte_present(pte) && !pte_present(was) && pte.val == was.val)
			return 0;
		if (pte_none(pte) && pte_special(was) && !vma->uffd &&
		    !(vma_soft_dirty_enabled(vma) && pte_soft_dirty(was)))
			return 0;	/* the zero page: a load maps it again */
		break;
	case CONTENT_SWAPPED:
		if (pte_slot(pte) == pte_slot(was)) {
			was = pte_swp_clear_exclusive(was);
			ptep_set(ptep, vma_uffd_wp(vma) ? was : pte_swp_clear_uffd_wp(was));
			return 0;
		}
		break;
	default:
		if (pte_present(pte) && pte_present(was) && pte_pfn(pte) == pte_pfn(was))
			return settle(rs, vma, ptep, was);
		if (pte.val == was.val)
			return 0;
		break;
	}
	replace_entry(rs, addr, ptep, frozen);
	return 0;
}

static int restore_private(struct restore *rs, struct vma *vma, gva_t addr, pte_t *ptep, pte_t *frozen)
{
	pte_t pte = ptep_get(ptep), was = frozen ? ptep_get(frozen) : pte_make(0);
	enum content now = content_of(vma, pte), then = content_of(vma, was);

	/* If the migration has passed this entry, it would not find the copy of a migration entry here. */
	if (pte_is_migration(was)) {
		rs->missing = addr;
		return -EAGAIN;
	}
	if (now == CONTENT_PAGE && then == CONTENT_PAGE && pte_pfn(pte) == pte_pfn(was)) {
		take_dirt(vma, addr, ptep);
		return settle(rs, vma, ptep, was);
	}
	if (now == CONTENT_PAGE)
		return restore_page(rs, vma, addr, ptep, frozen, was);
	if (now == then)
		return restore_other(rs, vma, addr, ptep, frozen, was);
	replace_entry(rs, addr, ptep, frozen);
	return 0;
}

/* --- shared VMAs: the bytes are the mapping's (shared.c) or the host's --- */

static int restore_shared(struct restore *rs, struct vma *vma, gva_t addr, pte_t *ptep, pte_t *frozen)
{
	pte_t pte = ptep_get(ptep), was = frozen ? ptep_get(frozen) : pte_make(0);

	if (pte_present(pte) && pte_special(pte)) {
		if (pte_none(was) || (pte_present(was) && pte_pfn(pte) == pte_pfn(was)))
			return 0;	/* the driver mapped it */
	} else if (pte_present(pte) && pte_none_or_wp_marker(was)) {
		take_dirt(vma, addr, ptep);
		pte = pte_clear_uffd_wp(ptep_get(ptep));
		if (vma_uffd_wp(vma) && pte_is_uffd_wp(was))
			pte = pte_mkuffd_wp(pte);
		ptep_set(ptep, pte_mkunchanged(pte));
		return 0;
	} else if (!pte_present(pte) && (pte.val == was.val || (pte_none(pte) && pte_none(was)) ||
					 (pte_is_migration(pte) && pte_none_or_wp_marker(was) &&
					  pte_is_uffd_wp(pte) == pte_is_uffd_wp(was)))) {
		return 0;
	}
	replace_entry(rs, addr, ptep, frozen);
	return 0;
}

int restore_entry(struct restore *rs, gva_t addr, pte_t *ptep, pte_t *frozen)
{
	struct vma *vma = restore_vma(rs, addr, PAGE_SIZE, ptep_get(ptep).val);

	if (unlikely(pte_is_device_exclusive(ptep_get(ptep))))
		device_exclusive_restore(vma, addr, ptep);
	if (vma_flags(vma) & VM_MAYSHARE)
		return restore_shared(rs, vma, addr, ptep, frozen);
	return restore_private(rs, vma, addr, ptep, frozen);
}

int bring_in(struct restore *rs, gva_t addr)
{
	struct vma *frozen = find_vma(rs->copy, addr);
	struct mutex *ptl;
	const pte_t *ptep = pte_find(rs->copy, addr, &ptl);
	pte_t pte = ptep ? ptep_get(ptep) : pte_make(0);
	char byte;

	if (pte_present(pte))
		return 0;	/* the migration has ended */
	if (pte_is_migration(pte) || pte_is_genuine_swap(pte))
		return vm_fault_errno(handle_mm_fault(frozen, addr, 0, NULL), -EIO);
	return vellum_mapping_read(frozen->mapping, vma_page_index(frozen, addr) << PAGE_SHIFT, &byte, 1);
}
