/* SPDX-License-Identifier: MIT */
/*
 * mm/snapshot/freeze.c - copy an address space to its frozen copy, and the frozen copy to new address spaces.
 *
 * Both work like a fork, with two differences. All VMAs are copied, with all flags. Entries that a fork leaves out are
 * copied if faults could not bring them back.
 */
#include "mm/fault/fault.h"
#include "mm/frame/rmap.h"
#include "mm/outside/device.h"
#include "mm/snapshot/snapshot.h"
#include "mm/space/space.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pagewalk.h"
#include "mm/table/pgtable.h"
#include "mm/table/table_edit.h"
#include "mm/track/hooks.h"
#include "mm/uffd/uffd.h"

/* Bits that a frozen entry does not have: no CPU uses it. */
#define LIVE_BITS (X86_ACCESSED | X86_DIRTY | X86_SAVED_DIRTY | X86_UNCHANGED)

struct freeze {
	struct vma *vma, *frozen;	/* the VMA, and its frozen copy */
	bool pins;			/* pages of the address space may be pinned */
	bool pinned;			/* a page that was frozen as a copy may be pinned */
	int64_t nr_copied;
};

/* PG_DIRTY: after MADV_FREE, reclaim would drop the page, and the frozen bytes with it. */
static void share_folio(struct folio *folio)
{
	__atomic_fetch_add(&folio->count, FOLIO_ONE_MAPPING, __ATOMIC_RELAXED);
	folio_clear(folio, PG_EXCLUSIVE | PG_LAZYFREE);
	folio_set(folio, PG_DIRTY);
}

void take_dirt(struct vma *vma, gva_t addr, pte_t *ptep)
{
	pte_t pte = ptep_get(ptep);

	if (!pte_dirty(pte) || pte_special(pte))
		return;		/* the dirt of a raw frame is its driver's */
	ptep_update(ptep, pte_mkclean);
	propagate_dirty(vma, addr, ptep, 1, NULL);
}

/* --- freeze --- */

/* Does the entry get a counterpart in the frozen copy? mm/snapshot/snapshot.h says which ones do not. */
static bool is_frozen_as_entry(const struct freeze *fz, pte_t pte)
{
	const struct vellum_memory *m = fz->vma->mm->memory;

	if (pte_none(pte))
		return false;
	if (vma_uffd_wp(fz->vma) && pte_is_uffd_wp(pte))
		return true;
	if (!pte_present(pte))
		return !pte_is_migration(pte) || migration_is_anon(m, pte);
	return pte_special(pte) || pte_is_anon(m, pte);
}

/* The entry of an anonymous page. A page that may be pinned is copied, as a fork does. 0 or -ENOMEM. */
static int freeze_page(struct freeze *fz, const struct table_edit *ed, pte_t *ptep, pte_t *dst, gva_t addr)
{
	struct vellum_memory *m = ed->mm->memory;
	struct folio *folio = pte_folio(m, ptep_get(ptep)), *copy;
	pte_t pte;

	if (fz->pins && (folio_flags(folio) & PG_EXCLUSIVE) && folio_maybe_pinned(folio)) {
		copy = folio_alloc_raw(m);
		if (!copy)
			return -ENOMEM;
		copy_racy(frame_address(m, folio_pfn(m, copy)), frame_address(m, folio_pfn(m, folio)), PAGE_SIZE);
		pte = pte_make(x86_with_pfn_bits(ptep_get(ptep).val & ~LIVE_BITS, folio_pfn(m, copy) << PAGE_SHIFT,
						 X86_PFN_MASK));
		map_anon_folio(fz->frozen, addr, dst, copy, pte_wrprotect(pte));
		ptep_update(ptep, pte_mkchanged);	/* UNCHANGED may be left from a snapshot that is gone */
		fz->pinned = true;
		return 0;
	}
	pte = pte_wrprotect(edit_entry(ed, ptep, pte_wrprotect));
	share_folio(folio);
	ptep_set(dst, pte_make(pte.val & ~LIVE_BITS));
	ptep_update(ptep, pte_mkunchanged);
	fz->nr_copied++;
	return 0;
}

static int freeze_present(struct freeze *fz, struct table_edit *ed, pte_t *ptep, pte_t *dst, gva_t addr)
{
	const struct vellum_memory *m = ed->mm->memory;
	pte_t pte;

	take_dirt(fz->vma, addr, ptep);
	pte = ptep_get(ptep);
	if (pte_is_anon(m, pte))
		return freeze_page(fz, ed, ptep, dst, addr);
	if (pte_special(pte)) {
		ptep_set(dst, pte_make(pte.val & ~LIVE_BITS));
		fz->nr_copied++;
	} else if (vma_uffd_wp(fz->vma) && pte_uffd_wp(pte)) {
		ptep_set(dst, pte_marker(MARKER_UFFD_WP));
	}
	ptep_update(ptep, pte_mkunchanged);
	return 0;
}

/* A page of a mapping is being migrated: as if it were present. */
static void freeze_file_migration(const struct freeze *fz, pte_t pte, pte_t *dst)
{
	if (vma_uffd_wp(fz->vma) && pte_is_uffd_wp(pte))
		ptep_set(dst, pte_marker(MARKER_UFFD_WP));
}

/* @dst: the frozen copy's entries, locked; NULL: no entry has a counterpart there. */
static int freeze_entries(struct freeze *fz, struct table_edit *ed, pte_t *dst, unsigned nr)
{
	bool cow = vma_is_cow(fz->vma);
	int err = 0;

	edit_begin(ed);
	for (unsigned i = 0; i < nr && !err; i++) {
		gva_t addr = ed->addr + ((gva_t)i << PAGE_SHIFT);
		pte_t *ptep = &ed->ptes[i];

		if (pte_is_device_exclusive(ptep_get(ptep)))
			device_exclusive_restore(fz->vma, addr, ptep);
		if (pte_present(ptep_get(ptep)))
			err = freeze_present(fz, ed, ptep, dst ? &dst[i] : NULL, addr);
		else if (pte_is_migration(ptep_get(ptep)) && !migration_is_anon(ed->mm->memory, ptep_get(ptep)))
			freeze_file_migration(fz, ptep_get(ptep), dst ? &dst[i] : NULL);
		else if (is_frozen_as_entry(fz, ptep_get(ptep)))
			share_swp_entry(fz->frozen->mm, ptep, &dst[i], cow, vma_uffd_wp(fz->vma));
	}
	edit_done(ed);
	return err;
}

/* Set the count of INV-SNAP-3. The table's lock is held. */
static void count_unchanged(const struct vellum_memory *m, const pte_t *ptep)
{
	const pte_t *table = (const pte_t *)((uintptr_t)ptep & PAGE_MASK);
	uint64_t nr = 0;
	bool uncounted = false;

	for (unsigned i = 0; i < ENTRIES_PER_TABLE; i++) {
		pte_t pte = ptep_get(&table[i]);

		if (is_counted(pte))
			nr++;
		else if (!pte_none(pte))
			uncounted = true;
	}
	table_folio(m, &table->val)->index = uncounted ? TABLE_UNCOUNTED : nr;
}

static int freeze_table(pte_t *first, gva_t start, gva_t end, struct mm_walk *walk)
{
	struct freeze *fz = walk->private;
	struct vellum_memory *m = walk->vma->mm->memory;
	struct table_edit ed = edit_table(walk->vma->mm, NULL, first, start);
	unsigned nr = (unsigned)((end - start) >> PAGE_SHIFT), i = 0;
	struct mutex *ptl;
	pte_t *dst;
	int err;

	while (i < nr && !is_frozen_as_entry(fz, ptep_get(&first[i])))
		i++;
	if (i == nr) {
		err = freeze_entries(fz, &ed, NULL, nr);
	} else {
		dst = pte_alloc(fz->frozen->mm, start, &ptl);
		if (!dst)
			return -ENOMEM;
		mutex_lock(ptl, &m->host);
		err = freeze_entries(fz, &ed, dst, nr);
		mutex_unlock(ptl, &m->host);
	}
	count_unchanged(m, first);
	return err;
}

/* Huge leaves of anonymous memory, and of raw frames. */
static int freeze_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	struct freeze *fz = walk->private;
	struct vellum_memory *m = walk->vma->mm->memory;
	uint64_t val = entry_load(entry), nr = 1ull << (shift - PAGE_SHIFT);
	bool raw = leaf_is_raw(val), cow = vma_is_cow(walk->vma);
	int err;

	(void)end;
	if (!raw && !(folio_flags(huge_folio(m, val, shift)) & PG_ANON))
		return 0;
	/* A frozen copy has no leaf of the huge zero page: a restore compares the small entries. */
	if (leaf_is_huge_zero(m, val) || (fz->pins && !raw && leaf_maybe_pinned(m, val, shift)))
		return WALK_SPLIT;
	if (cow && leaf_write(val)) {
		leaf_update(entry, leaf_wrprotect);
		val = entry_load(entry);
	}
	err = huge_install(fz->frozen->mm, start, shift, val & ~LIVE_BITS, NULL, NULL);
	for (uint64_t i = 0; !err && !raw && i < nr; i++)
		share_folio(huge_page_folio(m, val, shift, i));
	return err;
}

static const struct mm_walk_ops freeze_ops = { .huge_leaf = freeze_leaf, .pte_table = freeze_table };

struct vma *vma_like(struct vellum_mm *mm, const struct vma *vma, uint64_t flags, struct vellum_mapping *mapping,
		     struct vellum_uffd *uffd)
{
	struct vma *copy = vma_alloc(mm, vma->start, vma->end, flags, mapping, vma->pgoff);

	if (!copy)
		return NULL;
	if (vma->anon_vma) {
		anon_vma_get(vma->anon_vma);
		copy->anon_vma = vma->anon_vma;
	}
	if (uffd)
		uffd_ref_get(uffd);
	copy->uffd = uffd;
	vma_insert(copy);
	return copy;
}

static int freeze_vmas(struct freeze *fz, struct vellum_mm *mm, struct vellum_mm *copy)
{
	int err = 0;

	for (fz->vma = vma_first(mm); fz->vma && !err; fz->vma = vma_next(fz->vma)) {
		fz->frozen = vma_like(copy, fz->vma, fz->vma->flags, fz->vma->mapping, fz->vma->uffd);
		fz->nr_copied = 0;
		err = fz->frozen ? walk_vma_range(fz->vma, fz->vma->start, fz->vma->end, &freeze_ops, fz) : -ENOMEM;
		mm_add_rss(copy, fz->nr_copied);
	}
	return err;
}

/* Clear A in all table entries, for INV-SNAP-2. */
static void clear_touched(const struct vellum_memory *m, uint64_t *table, unsigned nr, unsigned shift)
{
	for (unsigned i = 0; i < nr; i++) {
		uint64_t val = entry_load(&table[i]);

		if (shift < PGD_SHIFT && is_huge_leaf(val))
			continue;
		if (shift > PMD_SHIFT && !no_table(m, val))
			clear_touched(m, table_of(m, val), ENTRIES_PER_TABLE, shift - 9);
		if (val & X86_ACCESSED)
			entry_clear_bits(&table[i], X86_ACCESSED);
	}
}

void copy_limits(struct vellum_mm *to, const struct vellum_mm *from)
{
	to->brk_start = from->brk_start;
	to->brk = from->brk;
	to->mmap_min_addr = from->mmap_min_addr;
	to->mmap_top = from->mmap_top;
	to->memlock_limit = from->memlock_limit;
	__atomic_store_n(&to->mdwe, from->mdwe, __ATOMIC_RELAXED);
	to->stack_limit = from->stack_limit;
	__atomic_store_n(&to->def_flags, from->def_flags, __ATOMIC_RELAXED);
}

int freeze_mm(struct frozen_mm *frozen)
{
	struct vellum_mm *mm = frozen->mm, *copy;
	const struct host *host = mm_host(mm);
	struct vellum_flush_batch batch = { .size = sizeof(batch), .full = true, .all_frames = true,
					    .kinds = VELLUM_FLUSH_RIGHTS | VELLUM_FLUSH_TABLES };
	struct freeze fz = { .pinned = false };
	int err = vellum_mm_create(mm->memory, &copy);

	if (err)
		return err;
	copy->is_frozen = true;
	write_lock(&mm->mmap_lock, host);
	write_lock(&copy->mmap_lock, host);
	copy_limits(copy, mm);
	notify_start(mm, VELLUM_NOTIFY_PROTECTION_PAGE, 0, TASK_SIZE);
	flush_cache(mm, 0, TASK_SIZE);
	flush_window_open(mm);
	group_enter_first(&mm->memory->frame_refs, host);	/* as for a fork */
	fz.pins = __atomic_load_n(&mm->has_pinned, __ATOMIC_SEQ_CST);
	err = freeze_vmas(&fz, mm, copy);
	group_leave_first(&mm->memory->frame_refs, host);
	if (!err && !fz.pinned)
		clear_touched(mm->memory, &mm->pgd[0].val, USER_PGD_ENTRIES, PGD_SHIFT);
	__atomic_store_n(&mm->base, err ? NULL : frozen, __ATOMIC_RELAXED);
	mm->vmas_changed = false;
	flush_window_close(mm, &batch, 0, TASK_SIZE);
	notify_finish(mm, VELLUM_NOTIFY_PROTECTION_PAGE, 0, TASK_SIZE);
	write_unlock(&copy->mmap_lock, host);
	write_unlock(&mm->mmap_lock, host);
	if (err)
		vellum_mm_put(copy);
	else
		frozen->copy = copy;
	return err;
}

/* --- thaw --- */

uint64_t thawed_flags(const struct vma *frozen, const struct vellum_mm *mm, struct vellum_uffd **uffd)
{
	struct vellum_uffd *ctx = frozen->uffd;
	bool alive = ctx && !__atomic_load_n(&ctx->released, __ATOMIC_RELAXED) && vellum_uffd_is_for(ctx, mm);

	*uffd = alive ? frozen->uffd : NULL;
	return alive ? frozen->flags : frozen->flags & ~VM_UFFD;
}

void thaw_entry(struct vma *vma, pte_t *dst, pte_t *src)
{
	struct vellum_memory *m = vma->mm->memory;
	pte_t pte = ptep_get(src);

	if (pte_none(pte))
		return;
	if (!pte_present(pte)) {
		share_swp_entry(vma->mm, src, dst, vma_is_cow(vma), vma_uffd_wp(vma));
		return;
	}
	if (!pte_special(pte)) {
		if (pte_write(pte))	/* it was swapped out, and is the frozen copy's alone */
			pte = pte_wrprotect(ptep_update(src, pte_wrprotect));
		share_folio(pte_folio(m, pte));
		prepare_exec(vma, pte_folio(m, pte));
	}
	pte.val &= ~(LIVE_BITS | (vma_uffd_wp(vma) ? 0 : X86_UFFD_WP));
	ptep_set(dst, vma->mm->base ? pte_mkunchanged(pte) : pte);
	mm_add_rss(vma->mm, 1);
}

/* The frozen leaf @val of 1 << @shift bytes at @start is locked. */
static int thaw_leaf_value(struct vma *vma, uint64_t val, gva_t start, unsigned shift)
{
	struct vellum_memory *m = vma->mm->memory;
	uint64_t nr = leaf_is_raw(val) ? 0 : 1ull << (shift - PAGE_SHIFT);
	int err = huge_install(vma->mm, start, shift, val & ~(LIVE_BITS | (vma_uffd_wp(vma) ? 0 : X86_UFFD_WP)), NULL,
			       NULL);

	for (uint64_t i = 0; !err && i < nr; i++) {
		share_folio(huge_page_folio(m, val, shift, i));
		prepare_exec(vma, huge_page_folio(m, val, shift, i));
	}
	return err;
}

int thaw_leaf(struct vma *vma, struct vellum_mm *copy, gva_t addr)
{
	struct leaf leaf;
	uint64_t val;
	int err;

	if (!huge_lock(copy, addr, &leaf, &val))
		return 0;
	err = thaw_leaf_value(vma, val, leaf_start(addr, leaf.shift), leaf.shift);
	huge_unlock(copy, &leaf);
	return err;
}

static int thaw_table(pte_t *src, gva_t start, gva_t end, struct mm_walk *walk)
{
	struct vma *vma = walk->private;
	const struct host *host = mm_host(vma->mm);
	struct mutex *ptl;
	pte_t *dst = pte_alloc(vma->mm, start, &ptl);

	if (!dst)
		return -ENOMEM;
	mutex_lock(ptl, host);
	for (; start < end; start += PAGE_SIZE)
		thaw_entry(vma, dst++, src++);
	mutex_unlock(ptl, host);
	return 0;
}

static int thaw_walked_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	(void)end;
	return thaw_leaf_value(walk->private, entry_load(entry), start, shift);
}

static const struct mm_walk_ops thaw_ops = { .huge_leaf = thaw_walked_leaf, .pte_table = thaw_table };

static int thaw_vma(const struct vellum_snapshot *s, struct vma *frozen, struct vellum_mm *mm,
		    struct vellum_mapping **mappings)
{
	int i = frozen->mapping ? snapshot_index(s, frozen->mapping) : -1;
	struct vma *vma = vma_like(mm, frozen, frozen->flags & ~VM_UFFD, i < 0 ? frozen->mapping : mappings[i], NULL);

	return vma ? walk_vma_range(frozen, frozen->start, frozen->end, &thaw_ops, vma) : -ENOMEM;
}

int thaw_mm(const struct vellum_snapshot *snapshot, struct vellum_mm *copy, struct vellum_mapping **mappings,
	    struct vellum_mm **out)
{
	const struct host *host = &snapshot->memory->host;
	struct vellum_mm *mm;
	int err = vellum_mm_create(snapshot->memory, &mm);

	if (err)
		return err;
	write_lock(&copy->mmap_lock, host);
	write_lock(&mm->mmap_lock, host);
	copy_limits(mm, copy);
	for (struct vma *vma = vma_first(copy); vma && !err; vma = vma_next(vma))
		err = thaw_vma(snapshot, vma, mm, mappings);
	write_unlock(&mm->mmap_lock, host);
	write_unlock(&copy->mmap_lock, host);
	if (err)
		vellum_mm_put(mm);
	else
		*out = mm;
	return err;
}
