/* SPDX-License-Identifier: MIT */
/*
 * mm/space/fork.c - copy an address space; private pages become copy-on-write.
 *
 * The parent's mmap lock is held for writing until the writable translations of write-protected entries are flushed:
 * no fault can copy a page meanwhile, and the child does not run yet.
 */
#include "mm/fault/fault.h"
#include "mm/frame/rmap.h"
#include "mm/outside/device.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pagewalk.h"
#include "mm/table/pgtable.h"
#include "mm/table/table_edit.h"
#include "mm/table/tlb.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

#define PREFETCH 16	/* entries ahead */

struct fork_walk {
	struct vma *parent, *child;
	struct uffd_fork uffd;
	bool cow;
	bool keep_wp;		/* the child's VMA is registered for userfaultfd write protection too */
	bool pins;		/* parent->has_pinned: pages may be pinned */
	uint64_t child_keeps;	/* bits of a present entry that the child's entry inherits */
	bool protected;		/* an entry of the parent lost W: flush */
	int64_t nr_copied;
};

/* True if the child needs copies of the entries, since faults cannot restore them (SPEC.md "Fork"). */
static bool vma_needs_copy(const struct vma *src, const struct vma *child)
{
	if (src->flags & VM_WIPEONFORK)
		return false;
	return vma_uffd_wp(child) || (src->flags & (VM_PFNMAP | VM_MIXEDMAP)) || src->anon_vma;
}

/*
 * The child maps the page too. If an anonymous page has only one mapping and no other reference, plain stores suffice,
 * because only a speculative reference could be added meanwhile: the lock of its only entry and the mmap lock (for
 * writing) are held, and memory->frame_refs keeps out reclaim and fast pins, which take references without them.
 */
static inline void share_folio(struct folio *folio)
{
	uint32_t flags = folio_flags(folio);

	if ((flags & PG_ANON) &&
	    __atomic_load_n(&folio->count, __ATOMIC_ACQUIRE) == FOLIO_ONE_MAPPING) {
		__atomic_store_n(&folio->count, 2 * FOLIO_ONE_MAPPING, __ATOMIC_RELAXED);
		__atomic_store_n(&folio->flags, (uint16_t)(flags & ~(uint32_t)PG_EXCLUSIVE), __ATOMIC_RELAXED);
		return;
	}
	__atomic_fetch_add(&folio->count, FOLIO_ONE_MAPPING, __ATOMIC_RELAXED);
	if (flags & PG_ANON)
		folio_clear(folio, PG_EXCLUSIVE);
}

/*
 * The child's entry is old. If it is shared it is also clean: the parent's D already records the dirt. It keeps a wp
 * bit only if the child's VMA is registered, since only a context can remove the protection.
 */
static uint64_t bits_for_child(const struct fork_walk *fw)
{
	return ~(X86_ACCESSED | X86_UNCHANGED | (fw->cow ? 0 : X86_DIRTY | X86_SAVED_DIRTY) | (fw->keep_wp ? 0 : X86_UFFD_WP));
}

/* The child's entry for a present entry of the parent. In a COW VMA the parent's entry loses W. */
static inline pte_t copy_present(struct fork_walk *fw, struct table_edit *ed, pte_t *src, pte_t pte)
{
	if (fw->cow && pte_write(pte)) {
		pte = pte_wrprotect(edit_entry(ed, src, pte_wrprotect));
		fw->protected = true;
	}
	return pte_make(pte.val & fw->child_keeps);
}

/*
 * A page that may be pinned stays exclusive to the parent, so that the parent's stores and the pin's user keep seeing
 * the same page. Map a copy in the child. 0 or -ENOMEM.
 */
static int copy_pinned(struct fork_walk *fw, const struct table_edit *ed, unsigned i, pte_t *dst, pte_t pte)
{
	struct vellum_memory *m = ed->mm->memory;
	gva_t addr = ed->addr + ((gva_t)i << PAGE_SHIFT);
	struct folio *copy = folio_alloc_raw(m);
	struct fault f = { .vma = fw->child, .addr = addr, .orig = pte };	/* whose protection the copy may keep */

	if (!copy)
		return -ENOMEM;
	copy_racy(frame_address(m, folio_pfn(m, copy)), pte_host(m, pte), PAGE_SIZE);
	map_anon_folio(fw->child, addr, dst, copy, fault_keep_wp(&f, anon_copy_entry(&f, folio_pfn(m, copy))));
	return 0;
}

static bool must_copy(const struct fork_walk *fw, const struct vellum_memory *m, pte_t pte)
{
	const struct folio *folio = pte_special(pte) ? NULL : pte_folio(m, pte);

	return folio && fw->cow && (folio_flags(folio) & PG_EXCLUSIVE) && folio_maybe_pinned(folio);
}

/* The read form of an entry's type, for parent and child. No CPU has a translation of it, so no flush is needed. */
static unsigned type_for_reading(unsigned type)
{
	switch (type) {
	case SWP_MIGRATION_WRITE:
	case SWP_MIGRATION_READ_EXCL:
		return SWP_MIGRATION_READ;
	case SWP_DEVICE_WRITE:
		return SWP_DEVICE_READ;
	default:
		return type;
	}
}

void share_swp_entry(struct vellum_mm *child, pte_t *src, pte_t *dst, bool cow, bool keep_wp)
{
	struct vellum_memory *m = child->memory;
	pte_t pte = ptep_get(src);

	if (unlikely(m->exposed))
		check_swp_entry(m, pte);
	if (pte_is_marker(pte)) {
		unsigned bits = pte_marker_bits(pte) & (keep_wp ? ~0u : ~MARKER_UFFD_WP);

		if (bits)
			ptep_set(dst, pte_marker(bits));
		return;
	}
	if (cow) {
		pte = pte_swp_with_type(pte_swp_clear_exclusive(pte), type_for_reading(pte_swp_type(pte)));
		ptep_set(src, pte);
	}
	if (pte_is_genuine_swap(pte)) {
		slot_dup(m, pte_slot(pte));
		mm_add_swapped(child, 1);
	} else if (pte_is_device_private(pte)) {
		device_page_share(m, pte_swp_pfn(pte));
	}
	ptep_set(dst, keep_wp ? pte : pte_swp_clear_uffd_wp(pte));
}

/* Prefetch the folio that an entry further on may map. A prefetch of a wrong address is harmless. */
static inline void prefetch_folio(const struct vellum_memory *m, const pte_t *ahead)
{
	__builtin_prefetch(pfn_folio(m, pte_pfn(*ahead)), 1);
}

/* The locks of both tables are held. 0 or -ENOMEM. */
static int copy_entries(struct fork_walk *fw, struct table_edit *ed, pte_t *dst, unsigned nr)
{
	struct vellum_memory *m = ed->mm->memory;
	int err = 0;

	ptl_assert_held(m, ed->ptes);
	ptl_assert_held(m, dst);
	edit_begin(ed);
	for (unsigned i = 0; i < nr && !err; i++) {
		pte_t pte = ptep_get(&ed->ptes[i]);

		if (i + PREFETCH < nr)
			prefetch_folio(m, &ed->ptes[i + PREFETCH]);
		if (unlikely(!pte_present(pte)) && !pte_is_device_exclusive(pte)) {
			if (!pte_none(pte))
				share_swp_entry(fw->child->mm, &ed->ptes[i], &dst[i], fw->cow, fw->keep_wp);
			continue;
		}
		if (unlikely(!pte_present(pte))) {	/* end the device's exclusive access first */
			device_exclusive_restore(fw->parent, ed->addr + ((gva_t)i << PAGE_SHIFT), &ed->ptes[i]);
			pte = ptep_get(&ed->ptes[i]);
		}
		if (unlikely(fw->pins) && must_copy(fw, m, pte)) {
			err = copy_pinned(fw, ed, i, &dst[i], pte);
			continue;
		}
		pte = copy_present(fw, ed, &ed->ptes[i], pte);
		if (!pte_special(pte))
			share_folio(pte_folio(m, pte));
		ptep_set(&dst[i], pte);
		fw->nr_copied++;
	}
	edit_done(ed);
	return err;
}

static int copy_table(pte_t *src, gva_t start, gva_t end, struct mm_walk *walk)
{
	struct fork_walk *fw = walk->private;
	struct table_edit ed = edit_table(walk->vma->mm, NULL, src, start);
	unsigned nr = (unsigned)((end - start) >> PAGE_SHIFT), i = 0;
	struct mutex *ptl;
	pte_t *dst;
	int err;

	while (i < nr && pte_none(ptep_get(&src[i])))
		i++;
	if (i == nr)
		return 0;
	dst = pte_alloc(fw->child->mm, start, &ptl);
	if (!dst)
		return -ENOMEM;
	mutex_lock(ptl, mm_host(walk->vma->mm));
	err = copy_entries(fw, &ed, dst, nr);
	mutex_unlock(ptl, mm_host(walk->vma->mm));
	return err;
}

/* --- huge leaves --- */

/*
 * Only a writable leaf of a COW VMA loses W. A raw leaf of a shared VMA is copied with W, since there may be no fault
 * handler that could grant W again. Its D stays in both entries, so one store may be reported twice. Leaves of device
 * memory that stands for a file's pages are not copied: faults install them again.
 */
static int copy_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	struct fork_walk *fw = walk->private;
	struct vellum_memory *m = walk->vma->mm->memory;
	uint64_t val = entry_load(entry);
	bool raw = leaf_is_raw(val);
	int err;

	(void)end;
	if (!raw && !fw->cow)
		return 0;	/* the mapping's own pages: faults map them again */
	if (val & X86_DEVMAP)
		return 0;
	if (!raw && fw->pins && leaf_maybe_pinned(m, val, shift))
		return WALK_SPLIT;
	if (fw->cow && leaf_write(val)) {
		leaf_update(entry, leaf_wrprotect);
		fw->protected = true;
		val = entry_load(entry);
	}
	val &= ~(X86_ACCESSED | (fw->keep_wp ? 0 : X86_UFFD_WP));
	err = huge_install(fw->child->mm, start, shift, val, NULL, NULL);
	for (uint64_t i = 0; !err && !raw && i < PMD_PAGES; i++)
		share_folio(huge_page_folio(m, val, shift, i));
	return err;
}

static const struct mm_walk_ops fork_walk_ops = { .huge_leaf = copy_leaf, .pte_table = copy_table };

static int copy_vma(struct vma *src, struct vellum_mm *child, struct fork_walk *fw)
{
	uint64_t flags = src->flags & ~(VM_LOCKED | VM_LOCKONFAULT | VM_UFFD);	/* locks are not inherited */
	struct vma *vma;
	int err;

	if (flags & VM_DONTCOPY)
		return 0;
	vma = vma_alloc(child, src->start, src->end, flags, src->mapping, src->pgoff);
	if (!vma)
		return -ENOMEM;
	if (src->anon_vma && !(flags & VM_WIPEONFORK)) {
		anon_vma_get(src->anon_vma);
		vma->anon_vma = src->anon_vma;
	}
	vma_insert(vma);	/* into the rmap trees before entries are copied */
	err = uffd_fork_vma(&fw->uffd, src, vma);
	if (err || !vma_needs_copy(src, vma))
		return err;
	fw->parent = src;
	fw->child = vma;
	fw->cow = vma_is_cow(src);
	fw->keep_wp = vma_uffd_wp(vma);
	fw->child_keeps = bits_for_child(fw);
	fw->nr_copied = 0;
	err = walk_vma_range(src, src->start, src->end, &fork_walk_ops, fw);
	mm_add_rss(child, fw->nr_copied);
	return err;
}

static int fork_once(struct vellum_mm *parent, struct vellum_mm **out)
{
	struct fork_walk fw = { .protected = false };
	const struct host *host = mm_host(parent);
	struct vellum_flush_batch batch = { .size = sizeof(batch) };
	struct vellum_mm *child;
	int err = vellum_mm_create(parent->memory, &child);

	if (err)
		return err;
	fw.uffd.child = child;
	write_lock(&parent->mmap_lock, host);
	write_lock(&child->mmap_lock, host);	/* no other thread knows the child */
	child->brk_start = parent->brk_start;
	child->brk = parent->brk;
	child->mmap_min_addr = parent->mmap_min_addr;
	child->mmap_top = parent->mmap_top;
	child->memlock_limit = parent->memlock_limit;
	child->stack_limit = parent->stack_limit;
	child->mdwe = parent->mdwe & VELLUM_MDWE_NO_INHERIT ? 0 : parent->mdwe;
	notify_start(parent, VELLUM_NOTIFY_PROTECTION_PAGE, 0, TASK_SIZE);
	flush_window_open(parent);
	/* Fast pins are kept out meanwhile: they fall back to the slow path, which waits for the mmap lock. */
	group_enter_first(&parent->memory->frame_refs, host);
	fw.pins = __atomic_load_n(&parent->has_pinned, __ATOMIC_SEQ_CST);
	for (struct vma *vma = vma_first(parent); vma && !err; vma = vma_next(vma))
		err = copy_vma(vma, child, &fw);
	group_leave_first(&parent->memory->frame_refs, host);
	if (fw.protected) {
		batch.kinds = VELLUM_FLUSH_RIGHTS;
		batch.full = batch.all_frames = true;
	}
	flush_window_close(parent, &batch, 0, TASK_SIZE);
	notify_finish(parent, VELLUM_NOTIFY_PROTECTION_PAGE, 0, TASK_SIZE);
	write_unlock(&child->mmap_lock, host);
	write_unlock(&parent->mmap_lock, host);
	if (err) {
		uffd_fork_failed(&fw.uffd);
		vellum_mm_put(child);
		return err;
	}
	uffd_fork_done(&fw.uffd);
	*out = child;
	return 0;
}

EXPORT int vellum_fork(struct vellum_mm *parent, struct vellum_mm **out)
{
	unsigned tries = 0;
	int err;

	do {
		err = fork_once(parent, out);
	} while (err == -ENOMEM && reclaim_for_retry(parent->memory, &tries));
	return err;
}
