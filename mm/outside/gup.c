/* SPDX-License-Identifier: MIT */
/*
 * mm/outside/gup.c - pin or reference the pages behind an address range.
 *
 * INV-GUP-1: a pinned anonymous page is PG_EXCLUSIVE, and stays so. Lockless pins first raise the count and then check
 *            the entry. Code that swaps out or moves a page first clears its entry and then checks for pins. So one of
 *            the two sees the other. Slow pins hold ptl. fork only write-protects entries, so frame_refs excludes
 *            lockless pins while it runs.
 * INV-GUP-2: on no path a long-term pin for writing is taken of a page of a file that needs folio_mkclean() or
 *            page_mkwrite().
 */
#include "mm/fault/fault.h"
#include "mm/frame/rmap.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/track/hooks.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"
#include "vellum/gup.h"

#define KNOWN_FLAGS (VELLUM_GUP_WRITE | VELLUM_GUP_DUMP | VELLUM_GUP_FORCE | VELLUM_GUP_NOFAULT | \
		     VELLUM_GUP_HWPOISON | VELLUM_GUP_ANON | VELLUM_GUP_LONGTERM | VELLUM_GUP_SPLIT_PMD | \
		     VELLUM_GUP_FAST_ONLY)
/* Refused for files that need folio_mkclean() or page_mkwrite(). */
#define LONGTERM_WRITE (VELLUM_GUP_WRITE | VELLUM_GUP_LONGTERM)

struct gup {
	struct vellum_mm *mm;
	uint32_t flags;
	bool pin;
	uint64_t *pfns;
	uint64_t nr, done;
	gva_t addr;		/* address of the next page */
	unsigned fault_flags;	/* FAULT_* of the next fault */
	struct folio *rejected;	/* by pin_fast(): its reference is dropped outside of frame_refs */
	enum vm_fault fault;	/* the result of gup_one()'s fault; DONE also if it handled none */
	struct uffd_wait wait;
};

static uint64_t count_unit(const struct gup *g)
{
	return g->pin ? FOLIO_PIN : FOLIO_REF;
}

static void add_result(struct gup *g, pfn_t pfn)
{
	g->pfns[g->done++] = pfn;
	g->addr += PAGE_SIZE;
}

/*
 * Before a pin for reading, unshare an anonymous page that is not exclusive. For a long-term pin, also unshare a page
 * that is not anonymous, if @maybe_cow: the VMA is or may be COW. A later store would replace either page by a copy.
 */
static bool must_unshare(const struct gup *g, const struct folio *folio, bool maybe_cow)
{
	uint32_t flags = folio_flags(folio);

	if (!g->pin || (g->flags & VELLUM_GUP_WRITE))
		return false;
	if (flags & PG_ANON)
		return !(flags & PG_EXCLUSIVE);
	return (g->flags & VELLUM_GUP_LONGTERM) && maybe_cow;
}

/* --- without locks --- */

/* May the page be pinned long-term for writing, as far as is known without the VMA? */
static bool fast_longterm_ok(const struct folio *folio)
{
	const struct vellum_mapping *mapping;

	if (folio_flags(folio) & PG_ANON)
		return true;
	mapping = __atomic_load_n(&folio->mapping, __ATOMIC_RELAXED);
	return mapping && mapping_is_shmem(mapping) && !(mapping->ops && (mapping->ops->page_mkwrite ||
									   mapping->ops->pfn_mkwrite));
}

/* The entry for the address and the entry above it, read without locks. */
struct fast_look {
	const uint64_t *entry, *above;
	uint64_t val, above_val;
	unsigned shift;
};

static bool walk_unlocked(const struct gup *g, struct fast_look *fl)
{
	const struct vellum_memory *m = g->mm->memory;
	const uint64_t *entry = pgd_entry(g->mm, g->addr);

	fl->val = entry_load(entry);
	fl->entry = entry;
	for (fl->shift = PGD_SHIFT; fl->shift > PAGE_SHIFT;) {
		if (fl->shift < PGD_SHIFT && is_huge_leaf(fl->val))
			return fl->val & X86_PRESENT;
		if (!(fl->val & X86_PRESENT))
			return false;
		fl->above = fl->entry;
		fl->above_val = fl->val;
		fl->shift -= 9;
		fl->entry = table_of(m, fl->val) + table_index(g->addr, fl->shift);
		fl->val = entry_load(fl->entry);
	}
	return fl->val & X86_PRESENT;
}

static bool unchanged(const struct fast_look *fl)
{
	const uint64_t ignore = X86_ACCESSED | X86_DIRTY;

	return !((entry_load(fl->entry) ^ fl->val) & ~ignore) && !((entry_load(fl->above) ^ fl->above_val) & ~ignore);
}

static bool fast_allows(const struct gup *g, const struct fast_look *fl, const struct folio *folio)
{
	if ((g->flags & LONGTERM_WRITE) == LONGTERM_WRITE && !fast_longterm_ok(folio))
		return false;
	/* Only the slow path reports the pin to the trackers of a frozen mapping (record_pinned() in mm/snapshot/). */
	if ((g->flags & VELLUM_GUP_WRITE) && !(folio_flags(folio) & PG_ANON) &&
	    __atomic_load_n(&g->mm->memory->nr_frozen_mappings, __ATOMIC_SEQ_CST))
		return false;
	return unchanged(fl) && !must_unshare(g, folio, true);
}

/* Pin one page. False: leave it to the slow path. */
static bool pin_fast(struct gup *g)
{
	struct vellum_memory *m = g->mm->memory;
	struct fast_look fl;
	struct folio *folio;
	pte_t pte;

	if (unlikely(m->exposed))
		return false;		/* an entry can be checked only with its lock held */
	if ((g->flags & VELLUM_GUP_WRITE) && __atomic_load_n(&g->mm->base, __ATOMIC_RELAXED))
		return false;		/* the slow path tells the snapshot */
	if (!walk_unlocked(g, &fl) || ((g->flags & VELLUM_GUP_WRITE) && !(fl.val & X86_RW)) ||
	    (fl.val & (X86_SPECIAL | X86_DEVMAP)))
		return false;
	pte = fl.shift == PAGE_SHIFT ? pte_make(fl.val) : leaf_pte(m, fl.val, fl.shift, g->addr);
	folio = pfn_folio(m, pte_pfn(pte));
	if (!folio_try_get(folio, count_unit(g)))
		return false;
	if (!fast_allows(g, &fl, folio)) {
		g->rejected = folio;
		return false;
	}
	add_result(g, pte_pfn(pte));
	return true;
}

static void drop_refs(struct vellum_memory *m, const uint64_t *pfns, uint64_t nr, uint64_t what)
{
	for (uint64_t i = 0; i < nr; i++)
		if (pfns[i] != m->zero_pfn)
			folio_put_count(m, pfn_folio(m, pfns[i]), what);
}

/*
 * Fast pins are excluded while a fork runs. An earlier fork has removed W and PG_EXCLUSIVE from what it shared, and
 * both are checked here. A later fork sees the pin.
 */
static void gup_fast(struct gup *g)
{
	struct vellum_memory *m = g->mm->memory;

	if ((g->flags & (VELLUM_GUP_FORCE | VELLUM_GUP_ANON | VELLUM_GUP_SPLIT_PMD | VELLUM_GUP_DUMP)) ||
	    !group_try_enter_second(&m->frame_refs))
		return;
	while (g->done < g->nr && pin_fast(g))
		;
	group_leave_second(&m->frame_refs, &m->host);
	/* It may be a page table by now. If this is its last reference, freeing it enters the first group. */
	if (g->rejected)
		folio_put_count(m, g->rejected, count_unit(g));
}

/* --- with the mmap lock --- */

/* 0, or the error for all pages of the VMA. The order is part of the contract (SPEC.md "Pins"). */
static int check_vma(const struct gup *g, const struct vma *vma)
{
	bool write = g->flags & VELLUM_GUP_WRITE, force = g->flags & VELLUM_GUP_FORCE;

	if (!vma || vma->start > g->addr)
		return -EFAULT;
	if (vma->flags & (VM_IO | VM_PFNMAP))
		return -EFAULT;
	if ((g->flags & VELLUM_GUP_ANON) && !vma_is_anonymous(vma))
		return -EFAULT;
	if ((g->flags & VELLUM_GUP_LONGTERM) && vma->mapping && (vma->mapping->flags & VELLUM_MAPPING_DEVMAP))
		return -EOPNOTSUPP;
	if (write && g->pin && (g->flags & VELLUM_GUP_LONGTERM) && !vma_is_anonymous(vma) &&
	    vma_needs_dirty_tracking(vma))
		return -EFAULT;
	if (write && (!(vma->flags & VM_WRITE) || (vma->flags & VM_SHADOW_STACK)))
		return force && vma_is_cow(vma) ? 0 : -EFAULT;
	if (!write && !(vma->flags & VM_READ))
		return force && (vma->flags & VM_MAYREAD) ? 0 : -EFAULT;
	return 0;
}

/* May FORCE store through an entry without RW? */
static bool may_force(const struct gup *g, const struct vma *vma, pte_t pte, const struct folio *folio)
{
	if (vma_soft_dirty_enabled(vma) && !pte_soft_dirty(pte))
		return false;
	/* In a shadow stack: an entry with the shadow-stack form of W. Such an entry maps an exclusive page. */
	if (!(g->flags & VELLUM_GUP_FORCE) || (vma->flags & (VM_MAYSHARE | VM_WRITE)) || !(vma->flags & VM_MAYWRITE))
		return (g->flags & VELLUM_GUP_FORCE) && (vma->flags & VM_SHADOW_STACK) && pte_write(pte);
	/* In a private VMA without VM_WRITE: an exclusive page that userfaultfd does not protect. */
	if (!folio || (folio_flags(folio) & (PG_ANON | PG_EXCLUSIVE)) != (PG_ANON | PG_EXCLUSIVE))
		return false;
	return !(vma_uffd_wp(vma) && pte_uffd_wp(pte));
}

enum { NEEDS_FAULT = 1 };

/*
 * Pin or reference the page that the locked entry maps, and add it to the result. 0; NEEDS_FAULT: handle a fault with
 * g->fault_flags first, which follow_at() has set for an access; -EEXIST: a raw frame, which cannot be pinned.
 */
static int follow(struct gup *g, struct vma *vma, pte_t pte)
{
	struct vellum_memory *m = g->mm->memory;
	bool write = g->flags & VELLUM_GUP_WRITE;
	struct folio *folio;

	if (!(pte.val & (X86_PRESENT | X86_PROTNONE)))
		return NEEDS_FAULT;
	folio = normal_folio(m, pte);
	if (write && !(pte.val & X86_RW) && !may_force(g, vma, pte, folio))
		return NEEDS_FAULT;
	if (!folio && pte_pfn(pte) != m->zero_pfn)
		return -EEXIST;
	g->fault_flags = FAULT_UNSHARE;
	if (folio ? must_unshare(g, folio, vma_is_cow(vma)) :
		    g->pin && (g->flags & VELLUM_GUP_LONGTERM) && vma_is_cow(vma))
		return NEEDS_FAULT;
	if (folio) {
		__atomic_fetch_add(&folio->count, count_unit(g), __ATOMIC_SEQ_CST);
		if (write && !pte_dirty(pte))
			folio_mark_dirty(folio);
		if (write)
			track_pin(vma, g->addr);
	}
	add_result(g, pte_pfn(pte));
	return 0;
}

/* As follow(), for a locked entry. Stores through a pin set no D: a restore of a snapshot has to look at the page. */
static int follow_entry(struct gup *g, struct vma *vma, pte_t *ptep)
{
	pte_t pte = ptep_get(ptep);
	int err = follow(g, vma, pte);

	if (!err && (g->flags & VELLUM_GUP_WRITE) && (pte.val & X86_UNCHANGED))
		ptep_update(ptep, pte_mkchanged);
	return err;
}

/* As follow(), for the entry at g->addr. 0 also if a huge leaf was split: nothing was added, retry. */
static int follow_at(struct gup *g, struct vma *vma)
{
	struct vellum_mm *mm = g->mm;
	struct mutex *ptl;
	pte_t *ptep = pte_lookup(mm, g->addr, &ptl);
	struct leaf leaf;
	uint64_t val;
	int err;

	g->fault_flags = g->flags & VELLUM_GUP_WRITE ? FAULT_WRITE : 0;
	if (ptep) {
		mutex_lock(ptl, mm_host(mm));
		err = follow_entry(g, vma, ptep);
		mutex_unlock(ptl, mm_host(mm));
		return err;
	}
	if (!huge_lock(mm, g->addr, &leaf, &val))
		return NEEDS_FAULT;
	if ((g->flags & VELLUM_GUP_SPLIT_PMD) && !leaf_is_raw(val)) {
		huge_split_locked(mm, leaf.entry, g->addr, leaf.shift);
		err = 0;	/* retry */
	} else {
		err = follow(g, vma, leaf_pte(g->mm->memory, val, leaf.shift, g->addr));
	}
	huge_unlock(mm, &leaf);
	return err;
}

static int error_of(const struct gup *g, enum vm_fault fault)
{
	bool hwpoison = fault == VM_FAULT_HWPOISON && (g->flags & VELLUM_GUP_HWPOISON);

	return vm_fault_errno(fault, hwpoison ? -EHWPOISON : -EFAULT);
}

/*
 * Pin the page at g->addr, or handle one fault there. 0: call again until g->done is g->nr. An error is the one of
 * g->fault, if g->fault is not DONE. After VM_FAULT_WAIT the caller unlocks and waits for user space. mmap_lock held
 * for reading.
 */
static int gup_one(struct gup *g) HOLDS_SHARED(&g->mm->mmap_lock)
{
	struct vma *vma = find_vma(g->mm, g->addr);
	int err = check_vma(g, vma);

	g->fault = VM_FAULT_DONE;
	if (err)
		return err;
	err = follow_at(g, vma);
	if (err != NEEDS_FAULT)
		return err;
	if (g->flags & VELLUM_GUP_NOFAULT)
		return -EAGAIN;
	if ((g->flags & VELLUM_GUP_DUMP) && vma_is_anonymous(vma))
		return -EFAULT;
	g->fault = handle_mm_fault(vma, g->addr, g->fault_flags, &g->wait);
	return error_of(g, g->fault);
}

/*
 * A page is made exclusive before it is pinned. If a fork shares it in between, the next look at the entry sees that.
 */
static int gup_slow(struct gup *g)
{
	const struct host *host = mm_host(g->mm);
	unsigned tries = 0;
	int err = 0;

	read_lock(&g->mm->mmap_lock, host);
	while (g->done < g->nr && !err) {
		err = gup_one(g);
		if (!err)
			tries = 0;
		if (err != -ENOMEM && g->fault != VM_FAULT_WAIT)
			continue;
		read_unlock(&g->mm->mmap_lock, host);
		if (g->fault == VM_FAULT_WAIT)
			err = uffd_wait_resolved(&g->wait, host) ? 0 : -EINTR;
		else if (reclaim_for_retry(g->mm->memory, &tries))
			err = 0;
		read_lock(&g->mm->mmap_lock, host);
	}
	read_unlock(&g->mm->mmap_lock, host);
	return err;
}

static int gup(struct vellum_mm *mm, gva_t addr, uint64_t nr, uint32_t flags, bool pin, uint64_t *pfns, uint64_t *done)
{
	struct gup g = { .mm = mm, .flags = flags, .pin = pin, .pfns = pfns, .nr = nr, .addr = addr };
	int err;

	if ((flags & ~(uint32_t)KNOWN_FLAGS) || ((flags & VELLUM_GUP_LONGTERM) && !pin) || !pfns || !done || !nr ||
	    (addr & ~PAGE_MASK))
		return -EINVAL;
	*done = 0;
	if (addr >= TASK_SIZE || nr > (TASK_SIZE - addr) >> PAGE_SHIFT)
		return -EFAULT;
	if (pin && !__atomic_load_n(&mm->has_pinned, __ATOMIC_RELAXED))
		__atomic_store_n(&mm->has_pinned, 1, __ATOMIC_SEQ_CST);
	gup_fast(&g);
	err = g.done == nr ? 0 : flags & VELLUM_GUP_FAST_ONLY ? -EAGAIN : gup_slow(&g);
	*done = g.done;
	return g.done ? 0 : err;
}

EXPORT int vellum_pin_pages(struct vellum_mm *mm, uint64_t addr, uint64_t nr, uint32_t flags, uint64_t *pfns,
			    uint64_t *pinned)
{
	return gup(mm, addr, nr, flags, true, pfns, pinned);
}

EXPORT int vellum_get_pages(struct vellum_mm *mm, uint64_t addr, uint64_t nr, uint32_t flags, uint64_t *pfns,
			    uint64_t *got)
{
	return gup(mm, addr, nr, flags, false, pfns, got);
}

/* --- unpin --- */

EXPORT void vellum_unpin_pages(struct vellum_memory *memory, const uint64_t *pfns, uint64_t nr)
{
	drop_refs(memory, pfns, nr, FOLIO_PIN);
}

EXPORT void vellum_put_pages(struct vellum_memory *memory, const uint64_t *pfns, uint64_t nr)
{
	drop_refs(memory, pfns, nr, FOLIO_REF);
}

/* For rmap_walk(): the trackers of the address space record a store by frame number. */
static int record_store(struct folio *folio, struct vma *vma, gva_t addr, void *arg)
{
	struct vellum_memory *m = arg;
	struct mutex *ptl;
	pte_t *ptep = pte_lookup(vma->mm, addr, &ptl);

	if (!ptep)
		return 0;	/* a huge leaf: no tracked page has one */
	mutex_lock(ptl, &m->host);
	if (pte_present(ptep_get(ptep)) && pte_pfn(ptep_get(ptep)) == folio_pfn(m, folio))
		track_change(vma, addr);
	mutex_unlock(ptl, &m->host);
	return 0;
}

/* Mark the page dirty, and record the store in trackers. A page that was truncated is skipped: its bytes are lost. */
static void dirty_page(struct vellum_memory *m, struct folio *folio)
{
	mutex_lock(&folio->lock, &m->host);
	if ((folio_flags(folio) & PG_ANON) || folio->mapping) {
		if (!(folio_flags(folio) & PG_DIRTY))
			folio_mark_dirty(folio);
		folio_bytes_changed(m, folio);
		if (folio_flags(folio) & PG_ANON)
			rmap_walk(m, folio, record_store, m);
		else
			track_mapping_range(folio->mapping, folio->index, folio->index);
	}
	anon_folio_unlock_and_free_swap(m, folio);
}

EXPORT void vellum_unpin_pages_dirty(struct vellum_memory *memory, const uint64_t *pfns, uint64_t nr)
{
	for (uint64_t i = 0; i < nr; i++)
		if (pfns[i] != memory->zero_pfn)
			dirty_page(memory, pfn_folio(memory, pfns[i]));
	drop_refs(memory, pfns, nr, FOLIO_PIN);
}

EXPORT int vellum_page_maybe_pinned(struct vellum_memory *memory, uint64_t pfn)
{
	return pfn_is_ram(memory, pfn) && folio_maybe_pinned(pfn_folio(memory, pfn));
}

/* --- look up raw frames --- */

static void fill_result(struct vellum_follow_pfnmap *at, pte_t pte, struct mutex *lock)
{
	at->pfn = pte_pfn(pte);
	at->writable = pte_write(pte);
	at->special = pte_special(pte);
	at->lock = lock;
}

EXPORT int vellum_follow_pfnmap_start(struct vellum_mm *mm, uint64_t addr, struct vellum_follow_pfnmap *at)
	NO_LOCK_ANALYSIS	/* the locks are held until vellum_follow_pfnmap_end() */
{
	const struct vma *vma;
	struct mutex *ptl;
	const pte_t *ptep;
	struct leaf leaf;
	uint64_t val;

	if (at->size < sizeof(*at))	/* the locks must fit */
		return -EINVAL;
	at->mm = mm;
	read_lock(&mm->mmap_lock, mm_host(mm));
	vma = find_vma_intersection(mm, addr, addr + 1);
	if (vma && (vma->flags & (VM_IO | VM_PFNMAP))) {
		ptep = pte_lookup(mm, addr, &ptl);
		if (ptep) {
			mutex_lock(ptl, mm_host(mm));
			if (pte_present(ptep_get(ptep))) {
				fill_result(at, ptep_get(ptep), ptl);
				return 0;
			}
			mutex_unlock(ptl, mm_host(mm));
		} else if (huge_lock(mm, addr, &leaf, &val)) {
			fill_result(at, leaf_pte(mm->memory, val, leaf.shift, addr), leaf.lock);
			return 0;
		}
	}
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return -EINVAL;
}

EXPORT void vellum_follow_pfnmap_end(struct vellum_follow_pfnmap *at) NO_LOCK_ANALYSIS	/* as above */
{
	mutex_unlock(at->lock, mm_host(at->mm));
	read_unlock(&at->mm->mmap_lock, mm_host(at->mm));
}
