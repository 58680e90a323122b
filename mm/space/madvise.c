/* SPDX-License-Identifier: MIT */
/* mm/space/madvise.c - madvise(2), except for MADV_COLLAPSE (collapse.c). */
#include "mm/fault/fault.h"
#include "mm/object/object.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pagewalk.h"
#include "mm/table/pgtable.h"
#include "mm/table/tlb.h"
#include "mm/track/hooks.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

/*
 * Handle the part [start, end) of one VMA. May drop the mmap lock and take it again. *@next is @end at first; it is
 * lowered to the address up to which the part was handled. 0, or an error that ends the walk.
 */
typedef int (*advise_fn)(struct vma *vma, gva_t start, gva_t end, int advice, gva_t *next);

/* Call @fn for all VMAs in the range. If there are holes, the VMAs are handled, then -ENOMEM. mmap_lock held. */
static int advise_each(struct vellum_mm *mm, gva_t start, gva_t end, int advice, advise_fn fn)
	HOLDS_SHARED(&mm->mmap_lock)
{
	int hole = 0, err;

	for (gva_t next; start < end; start = next) {
		struct vma *vma = find_vma_intersection(mm, start, end);

		if (!vma)
			return -ENOMEM;
		if (vma->start > start)
			hole = -ENOMEM;
		if (seal_forbids_advice(vma, advice))
			return -EPERM;
		start = max_u64(start, vma->start);
		next = min_u64(vma->end, end);
		err = fn(vma, start, next, advice, &next);
		if (err)
			return err;
	}
	return hole;
}

/* --- REMOVE and WILLNEED: advice on the mappings of the range --- */

struct part {
	struct vellum_mapping *mapping;	/* referenced, or NULL */
	uint64_t offset, len;
	gva_t end;
};

/* The part of the range in the VMA at @at, or in the next VMA; then *@hole is set. Takes mmap_lock. */
static int get_part(struct vellum_mm *mm, gva_t at, gva_t end, int advice, struct part *part, bool *hole)
{
	struct vma *vma;
	int err = 0;

	*part = (struct part){ .end = end };
	read_lock(&mm->mmap_lock, mm_host(mm));
	vma = find_vma(mm, at);
	if (!vma || vma->start >= end) {
		err = -ENOMEM;
	} else {
		*hole |= vma->start > at;
		at = max_u64(at, vma->start);
		part->end = min_u64(vma->end, end);
		part->len = part->end - at;
		part->offset = vma_page_index(vma, at) << PAGE_SHIFT;
		if (vma->mapping && !(vma->flags & VM_PFNMAP)) {
			part->mapping = vma->mapping;
			vellum_mapping_get(part->mapping);
		}
		if (advice == VELLUM_MADV_REMOVE && (!part->mapping || (vma->flags & VM_LOCKED)))
			err = -EINVAL;
		else if (advice == VELLUM_MADV_REMOVE && !vma_shared_maywrite(vma))
			err = -EACCES;
		else if (advice == VELLUM_MADV_REMOVE)
			uffd_remove_event(vma, at, part->end, &err);
	}
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return err;
}

#define MAX_READ_AHEAD (32ull << 20)	/* bytes for each VMA, because the range may be a whole sparse file */

/* Read-ahead. An error is ignored: an access to the page meets it again. */
static void read_ahead(struct vellum_mapping *mapping, uint64_t offset, uint64_t len)
{
	uint64_t last = min_u64(offset + min_u64(len, MAX_READ_AHEAD), page_align_up(vellum_mapping_size(mapping)));

	if (!mapping->ops || !mapping->ops->fault || (mapping->flags & MAPPING_RAW))
		return;
	for (; offset < last; offset += PAGE_SIZE) {
		struct vellum_vmf vmf = { .size = sizeof(vmf), .pgoff = offset >> PAGE_SHIFT };

		if (host_killed(&mapping->memory->host) || !mapping_read_ahead(mapping, &vmf))
			return;
	}
}

static int advise_objects(struct vellum_mm *mm, gva_t start, gva_t end, int advice)
{
	bool hole = false;
	int err = 0;

	for (gva_t at = start; at < end && !err;) {
		struct part part;

		err = get_part(mm, at, end, advice, &part, &hole);
		if (!err && advice == VELLUM_MADV_REMOVE)
			err = vellum_mapping_punch_hole(part.mapping, part.offset, part.len);
		else if (!err && part.mapping)
			read_ahead(part.mapping, part.offset, part.len);
		vellum_mapping_put(part.mapping);
		at = part.end;
	}
	return err ? err : hole ? -ENOMEM : 0;
}

/* --- flags --- */

static bool is_private_anonymous(const struct vma *vma)
{
	return vma_is_anonymous(vma) && !(vma->flags & VM_MAYSHARE);
}

/* The VMA's flags after the advice, or -EINVAL. */
static int64_t advised_flags(const struct vma *vma, int advice)
{
	uint64_t f = vma->flags;

	switch (advice) {
	case VELLUM_MADV_NORMAL:
		return (int64_t)(f & ~(VM_RAND_READ | VM_SEQ_READ));
	case VELLUM_MADV_RANDOM:
		return (int64_t)((f & ~VM_SEQ_READ) | VM_RAND_READ);
	case VELLUM_MADV_SEQUENTIAL:
		return (int64_t)((f & ~VM_RAND_READ) | VM_SEQ_READ);
	case VELLUM_MADV_DONTFORK:
		return (int64_t)(f | VM_DONTCOPY);
	case VELLUM_MADV_DOFORK:
		return (int64_t)(f & ~VM_DONTCOPY);
	case VELLUM_MADV_DONTDUMP:
		return (int64_t)(f | VM_DONTDUMP);
	case VELLUM_MADV_DODUMP:
		return f & (VM_SPECIAL | VM_DROPPABLE) ? -EINVAL : (int64_t)(f & ~VM_DONTDUMP);
	case VELLUM_MADV_WIPEONFORK:
		return is_private_anonymous(vma) ? (int64_t)(f | VM_WIPEONFORK) : -EINVAL;
	case VELLUM_MADV_KEEPONFORK:
		return f & VM_DROPPABLE ? -EINVAL : (int64_t)(f & ~VM_WIPEONFORK);
	case VELLUM_MADV_HUGEPAGE:
		return (int64_t)((f & ~VM_NOHUGEPAGE) | VM_HUGEPAGE);
	case VELLUM_MADV_NOHUGEPAGE:
		return (int64_t)((f & ~VM_HUGEPAGE) | VM_NOHUGEPAGE);
	default:	/* MERGEABLE, UNMERGEABLE: accepted, no effect */
		return (int64_t)f;
	}
}

/* mmap_lock held for writing. */
static int advise_flags(struct vellum_mm *mm, gva_t start, gva_t end, int advice) HOLDS(&mm->mmap_lock)
{
	int hole = 0;

	while (start < end) {
		struct vma *vma = find_vma(mm, start);
		int64_t flags;
		gva_t next;

		if (!vma || vma->start >= end)
			return -ENOMEM;
		if (vma->start > start)
			hole = -ENOMEM;
		if (seal_forbids_advice(vma, advice))
			return -EPERM;
		start = max_u64(start, vma->start);
		next = min_u64(vma->end, end);
		flags = advised_flags(vma, advice);
		if (flags < 0)
			return (int)flags;
		if (!vma_change_flags(vma, start, next, (uint64_t)flags))
			return mm->nr_vmas >= max_map_count(mm) ? -ENOMEM : -EAGAIN;
		start = next;
	}
	return hole;
}

/* --- FREE --- */

static pte_t aged(pte_t pte)
{
	return pte_mkold(pte_mkclean(pte));
}

/* Make a page whose only reference is this mapping PG_LAZYFREE and clean. A later store sets D and keeps it. */
static void free_present(struct mm_walk *walk, gva_t addr, pte_t *ptep, pte_t pte)
{
	struct vellum_memory *m = walk->vma->mm->memory;
	struct folio *folio = pte_special(pte) ? NULL : pte_folio(m, pte);

	if (!folio || !(folio_flags(folio) & PG_ANON) || (folio_flags(folio) & PG_SWAPCACHE) ||
	    __atomic_load_n(&folio->count, __ATOMIC_ACQUIRE) != FOLIO_ONE_MAPPING)
		return;
	/* Report to trackers by D before D is removed. The content may also change, to zeros, without a store. */
	track_change(walk->vma, addr);
	if (must_clear_flush(walk->vma->mm))
		ptep_set(ptep, aged(clear_and_flush(walk->vma->mm, addr, ptep)));
	else
		ptep_update(ptep, aged);
	tlb_change(walk->private, addr, PAGE_SIZE, VELLUM_FLUSH_RIGHTS, pte_pfn(pte));
	folio_clear(folio, PG_DIRTY);
	folio_set(folio, PG_LAZYFREE);
	__atomic_store_n(&m->has_lazyfree, 1, __ATOMIC_RELAXED);
}

static int free_pte(pte_t *ptep, gva_t addr, struct mm_walk *walk)
{
	pte_t pte = ptep_get(ptep);

	if (pte_present(pte)) {
		free_present(walk, addr, ptep, pte);
	} else if (pte_is_genuine_swap(pte) || pte_has_swp_type(pte, SWP_HWPOISON, SWP_HWPOISON) ||
		   (pte_marker_bits(pte) & MARKER_POISON)) {
		ptep_set(ptep, pte_make(0));
		track_change(walk->vma, addr);
		swp_entry_drop(walk->vma->mm, pte);
	}
	return 0;
}

static uint64_t leaf_aged(uint64_t val)
{
	return aged(pte_make(val)).val;		/* the same bits */
}

static bool all_sole_mapping(struct folio *first)
{
	for (unsigned i = 0; i < PMD_PAGES; i++)
		if ((folio_flags(&first[i]) & (PG_ANON | PG_SWAPCACHE)) != PG_ANON ||
		    __atomic_load_n(&first[i].count, __ATOMIC_ACQUIRE) != FOLIO_ONE_MAPPING)
			return false;
	return true;
}

/* A leaf stays whole if the range covers it and it has the only reference to each page. Else it is split. */
static int free_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	struct tlb_gather *tlb = walk->private;
	struct vellum_memory *m = tlb->mm->memory;
	uint64_t val = entry_load(entry);
	struct folio *first;

	if (leaf_is_huge_zero(m, val))
		return 0;
	first = huge_folio(m, val, shift);
	if (end - start != PMD_SIZE || must_clear_flush(tlb->mm) || !all_sole_mapping(first))
		return WALK_SPLIT;
	leaf_update(entry, leaf_aged);
	for (unsigned i = 0; i < PMD_PAGES; i++) {
		track_change(walk->vma, start + ((gva_t)i << PAGE_SHIFT));
		folio_clear(&first[i], PG_DIRTY);
		folio_set(&first[i], PG_LAZYFREE);
	}
	tlb_change(tlb, start, PMD_SIZE, VELLUM_FLUSH_RIGHTS, leaf_pfn(val, shift));
	tlb->batch.all_frames = true;
	__atomic_store_n(&m->has_lazyfree, 1, __ATOMIC_RELAXED);
	return 0;
}

static const struct mm_walk_ops free_walk_ops = { .huge_leaf = free_leaf, .pte = free_pte };

/* --- DONTNEED and FREE --- */

static int check_drop(const struct vma *vma, int advice)
{
	if (vma->flags & VM_PFNMAP)
		return -EINVAL;
	if ((vma->flags & VM_LOCKED) && advice != VELLUM_MADV_DONTNEED_LOCKED)
		return -EINVAL;
	return 0;
}

static bool may_free(const struct vma *vma)
{
	return vma_is_anonymous(vma) && !(vma->flags & VM_MAYSHARE);
}

static void drop_part(struct vma *vma, gva_t start, gva_t end, int advice)
{
	struct vellum_mm *mm = vma->mm;
	struct tlb_gather tlb;

	notify_start(mm, VELLUM_NOTIFY_CLEAR, start, end);
	tlb_gather_begin(&tlb, mm);
	if (advice == VELLUM_MADV_FREE)
		walk_vma_range(vma, start, end, &free_walk_ops, &tlb);
	else
		zap_range(&tlb, vma, start, end);
	tlb_gather_finish(&tlb);
	notify_finish(mm, VELLUM_NOTIFY_CLEAR, start, end);
}

/* mmap_lock held for reading. It is dropped and taken again if a userfaultfd event has to be delivered first. */
static int drop_vma(struct vma *vma, gva_t start, gva_t end, int advice, gva_t *next)
{
	struct vellum_mm *mm = vma->mm;
	int err = check_drop(vma, advice);

	if (!err && uffd_remove_event(vma, start, end, &err)) {
		vma = find_vma(mm, start);	/* the lock was dropped, so the VMA may be another */
		if (!vma || vma->start > start)
			return -ENOMEM;
		end = min_u64(end, vma->end);
		err = check_drop(vma, advice);
	}
	if (!err && advice == VELLUM_MADV_FREE && !may_free(vma))
		err = -EINVAL;
	if (!err)
		drop_part(vma, start, end, advice);
	*next = end;
	return err;
}

static int drop_pages(struct vellum_mm *mm, gva_t start, gva_t end, int advice)
{
	int err;

	read_lock(&mm->mmap_lock, mm_host(mm));
	err = advise_each(mm, start, end, advice, drop_vma);
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return err;
}

/* --- guards --- */

/*
 * Install or remove guard markers in [start, end), which lies in one last-level table. Takes ptl. A guard marker
 * replaces an empty entry or a wp marker.
 */
static int guard_table(struct vma *vma, gva_t start, gva_t end, bool install)
{
	struct vellum_mm *mm = vma->mm;
	struct mutex *ptl;
	pte_t *ptep = install ? pte_alloc(mm, start, &ptl) : pte_lookup(mm, start, &ptl);
	int err = 0;

	if (!ptep)
		return install ? -EAGAIN : 0;
	mutex_lock(ptl, mm_host(mm));
	for (gva_t addr = start; addr < end; addr += PAGE_SIZE, ptep++) {
		pte_t pte = ptep_get(ptep);

		if (!install && (pte_marker_bits(pte) & MARKER_GUARD))
			ptep_set(ptep, pte_make(0));
		else if (install && pte_none_or_wp_marker(pte))
			ptep_set(ptep, pte_marker(MARKER_GUARD));
		else if (install && !(pte_marker_bits(pte) & MARKER_GUARD))
			err = -EAGAIN;		/* cannot happen: the entries were zapped and no fault runs */
	}
	mutex_unlock(ptl, mm_host(mm));
	return err;
}

static int guard_part(struct vma *vma, gva_t start, gva_t end, bool install)
{
	int err = 0;

	if (install)
		drop_part(vma, start, end, VELLUM_MADV_DONTNEED);
	for (gva_t next; start < end && !err; start = next) {
		if (!install)
			start = skip_absent_tables(vma->mm, start, end);
		next = min_u64((start & PMD_MASK) + PMD_SIZE, end);
		if (start == end)
			break;
		if (install && host_killed(mm_host(vma->mm)))
			err = -EINTR;
		else if (install && huge_lookup(vma->mm, start, NULL))
			err = -EAGAIN;
		else
			err = guard_table(vma, start, next, install);
	}
	return err;
}

static bool may_guard(const struct vma *vma, bool install)
{
	if (!vma_is_anonymous(vma) || (vma->flags & (VM_MAYSHARE | VM_SPECIAL)) || !(vma->flags & VM_MAYWRITE))
		return false;
	return !install || !(vma->flags & VM_LOCKED);
}

static int guard_vma(struct vma *vma, gva_t start, gva_t end, int advice, gva_t *next)
{
	bool install = advice == VELLUM_MADV_GUARD_INSTALL;

	(void)next;
	if (!may_guard(vma, install))
		return -EINVAL;
	if (install && anon_vma_prepare(vma))	/* fork copies entries only of a VMA that has an anon_vma */
		return -EAGAIN;
	return guard_part(vma, start, end, install);
}

static int advise_guards(struct vellum_mm *mm, gva_t start, gva_t end, int advice)
{
	unsigned tries = 0;
	int err;

	do {
		write_lock(&mm->mmap_lock, mm_host(mm));	/* for writing, so that no fault fills an entry */
		err = advise_each(mm, start, end, advice, guard_vma);
		mmap_write_unlock_and_deliver(mm);
	} while (err == -EAGAIN && reclaim_for_retry(mm->memory, &tries));
	return err;
}

/* --- COLD and PAGEOUT --- */

#define BATCH 64

/* Pages to reclaim, each with a reference. Collected in batches, because reclaim must run without a page-table lock. */
struct pageout {
	struct folio *folio[BATCH];
	unsigned nr;
	bool cold;		/* MADV_COLD: only remove A */
	gva_t stopped;		/* where the next batch continues */
};

/* More than one entry maps the folio. */
static bool is_shared(const struct folio *folio)
{
	return __atomic_load_n(&folio->count, __ATOMIC_ACQUIRE) >> 32 > 1;
}

static int take_pte(pte_t *ptep, gva_t addr, struct mm_walk *walk)
{
	struct pageout *po = walk->private;
	struct vellum_memory *m = walk->vma->mm->memory;
	pte_t pte = ptep_get(ptep);
	struct folio *folio;

	if (!pte_present(pte) || pte_special(pte))
		return 0;
	folio = pte_folio(m, pte);
	if (is_shared(folio))
		return 0;
	ptep_update(ptep, pte_mkold);
	if (po->cold)
		return 0;
	if (po->nr == BATCH) {
		po->stopped = addr;
		return WALK_STOP;
	}
	folio_get(folio);
	po->folio[po->nr++] = folio;
	return 0;
}

static int take_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	(void)start, (void)end, (void)shift, (void)walk;
	return leaf_is_raw(entry_load(entry)) ? 0 : WALK_SPLIT;
}

static const struct mm_walk_ops take_walk_ops = { .huge_leaf = take_leaf, .pte = take_pte };

/* Write and drop a page of a file's cache; swap out others. Drops the reference. */
static void page_out(struct vellum_memory *m, struct folio *folio)
{
	struct vellum_mapping *mapping = NULL;

	if (!(folio_flags(folio) & (PG_ANON | PG_SWAPCACHE))) {
		mutex_lock(&folio->lock, &m->host);
		mapping = folio->mapping && !mapping_is_shmem(folio->mapping) ? folio->mapping : NULL;
		if (mapping)
			reclaim_cached(mapping, folio);
		mutex_unlock(&folio->lock, &m->host);
	}
	if (!mapping)
		reclaim_folio(m, folio, true);
	folio_put(m, folio);
}

static int reclaim_vma(struct vma *vma, gva_t start, gva_t end, int advice, gva_t *next)
{
	struct pageout po = { .cold = advice == VELLUM_MADV_COLD };

	(void)next;
	if (vma->flags & (VM_LOCKED | VM_PFNMAP))
		return -EINVAL;
	while (start < end) {
		if (host_killed(mm_host(vma->mm)))
			return -EINTR;
		po.nr = 0;
		po.stopped = end;
		walk_vma_range(vma, start, end, &take_walk_ops, &po);
		for (unsigned i = 0; i < po.nr; i++)
			page_out(vma->mm->memory, po.folio[i]);
		start = po.stopped;
	}
	return 0;
}

static int reclaim_pages(struct vellum_mm *mm, gva_t start, gva_t end, int advice)
{
	int err;

	read_lock(&mm->mmap_lock, mm_host(mm));
	err = advise_each(mm, start, end, advice, reclaim_vma);
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return err;
}

/* --- the call --- */

static int advise(struct vellum_mm *mm, gva_t start, gva_t end, int advice)
{
	const struct host *host = mm_host(mm);
	int err;

	switch (advice) {
	case VELLUM_MADV_DONTNEED:
	case VELLUM_MADV_DONTNEED_LOCKED:
	case VELLUM_MADV_FREE:
		return drop_pages(mm, start, end, advice);
	case VELLUM_MADV_COLD:
	case VELLUM_MADV_PAGEOUT:
		return reclaim_pages(mm, start, end, advice);
	case VELLUM_MADV_COLLAPSE:
		return madvise_collapse(mm, start, end);
	case VELLUM_MADV_GUARD_INSTALL:
	case VELLUM_MADV_GUARD_REMOVE:
		return advise_guards(mm, start, end, advice);
	case VELLUM_MADV_REMOVE:
	case VELLUM_MADV_WILLNEED:
		return advise_objects(mm, start, end, advice);
	case VELLUM_MADV_POPULATE_READ:
		return populate_range(mm, start, end, POPULATE_READ);
	case VELLUM_MADV_POPULATE_WRITE:
		return populate_range(mm, start, end, POPULATE_WRITE);
	default:
		write_lock(&mm->mmap_lock, host);
		err = advise_flags(mm, start, end, advice);
		write_unlock(&mm->mmap_lock, host);
		return err;
	}
}

static bool is_known(int advice)
{
	return (advice >= VELLUM_MADV_NORMAL && advice <= VELLUM_MADV_DONTNEED) ||
	       (advice >= VELLUM_MADV_FREE && advice <= VELLUM_MADV_COLLAPSE) ||
	       advice == VELLUM_MADV_GUARD_INSTALL || advice == VELLUM_MADV_GUARD_REMOVE;
}

EXPORT int vellum_madvise(struct vellum_mm *mm, uint64_t addr, uint64_t len, int advice)
{
	uint64_t size = page_align_up(len);

	if (!is_known(advice) || (addr & ~PAGE_MASK) || (len && !size) || addr + size < addr)
		return -EINVAL;
	if (!size)
		return 0;
	if (!is_user_range(addr, size))
		return -ENOMEM;
	return advise(mm, addr, addr + size, advice);
}
