/* SPDX-License-Identifier: MIT */
/*
 * mm/fault/huge.c - faults on huge leaves, and faults that install huge leaves.
 *
 * A fault installs a leaf only where there is no table. It does so in anonymous memory with MADV_HUGEPAGE (a load: the
 * huge zero page), in shared memory with MADV_HUGEPAGE whose 512 pages are one aligned block, and for raw frames if
 * huge_fault() provides them.
 *
 * INV-HUGE-3: no raw leaf of a private mapping has W, so that a store faults and copies the page.
 * INV-HUGE-4: a raw leaf of anonymous memory maps the huge zero page, which its address space keeps.
 */
#include "mm/fault/fault.h"
#include "mm/frame/rmap.h"
#include "mm/object/object.h"
#include "mm/space/space.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/track/hooks.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

/* --- huge pages of anonymous memory --- */

/* The VMA covers all of the leaf, and no tracker, which counts single pages, watches it. */
static bool fits(const struct fault *f, unsigned shift)
{
	const struct vma *vma = f->vma;
	gva_t start = leaf_start(f->addr, shift);

	if (start < vma->start || vma->end - start < 1ull << shift)
		return false;
	return !vma_is_tracked(vma);
}

static bool wants_huge_page(const struct fault *f)
{
	const uint64_t unfit = VM_NOHUGEPAGE | VM_SHADOW_STACK | VM_GROWSDOWN | VM_EXEC;

	return (f->vma->flags & (VM_HUGEPAGE | unfit)) == VM_HUGEPAGE && fits(f, PMD_SHIFT);
}

static void init_anon_folios(struct vma *vma, gva_t start, struct folio *first)
{
	folio_split_block(first);
	for (unsigned i = 0; i < PMD_PAGES; i++) {
		struct folio *folio = &first[i];

		folio->anon_vma = vma_anon(vma);
		anon_vma_get(folio->anon_vma);
		folio->index = vma_page_index(vma, start + ((gva_t)i << PAGE_SHIFT));
		folio_set(folio, PG_ANON | PG_EXCLUSIVE | PG_UPTODATE | PG_DIRTY);
		__atomic_fetch_add(&folio->count, FOLIO_MAP, __ATOMIC_RELEASE);	/* ref: the allocation's */
	}
}

/* The leaf for a new huge page. */
static pmd_t anon_leaf(const struct fault *f, const struct folio *first)
{
	pmd_t pmd = pmd_mk(folio_pfn(fault_memory(f), first), f->vma->page_prot);

	if (!(f->flags & FAULT_POPULATE) && (f->vma->flags & VM_WRITE))
		pmd = pmd_mkwrite(pmd_mkdirty(pmd));
	return pmd;
}

/* --- a leaf maps the address --- */

static bool is_anon_leaf(const struct vellum_memory *m, uint64_t val)
{
	return !leaf_is_raw(val) && (folio_flags(huge_folio(m, val, PMD_SHIFT)) & PG_ANON);
}

/* True if each page of the leaf is exclusive, or its mapping by the leaf is its only reference. */
static bool all_reusable(struct vellum_memory *m, uint64_t val)
{
	struct folio *first = huge_folio(m, val, PMD_SHIFT);

	for (unsigned i = 0; i < PMD_PAGES; i++)
		if (!(folio_flags(&first[i]) & PG_EXCLUSIVE) &&
		    __atomic_load_n(&first[i].count, __ATOMIC_ACQUIRE) != FOLIO_ONE_MAPPING)
			return false;
	return true;
}

static uint64_t leaf_grant(uint64_t val)
{
	return pmd_clear_uffd_wp(pmd_mkwrite(pmd_mkdirty(pmd_mkyoung(pmd_make(val))))).val;
}

static void grant_leaf(const struct fault *f, const struct leaf *leaf) HOLDS(leaf->lock)
{
	huge_track(f->vma, leaf_start(f->addr, leaf->shift), leaf->shift);
	leaf_update(leaf->entry, leaf_grant);
}

/* A store to, or a pin of, a read-only anonymous leaf. Called with the leaf's lock held. */
static enum vm_fault wp_anon_leaf_and_unlock(struct fault *f, const struct leaf *leaf, uint64_t val)
	RELEASES(leaf->lock)
{
	struct vellum_memory *m = fault_memory(f);
	bool protected = vma_uffd_wp(f->vma) && (val & X86_UFFD_WP);

	if (protected && !vma_uffd_wp_async(f->vma) && (f->flags & FAULT_WRITE)) {
		huge_unlock(f->vma->mm, leaf);
		return uffd_fault(f, UFFD_REASON_WP);
	}
	if (!protected && (f->flags & FAULT_WRITE) && !(f->flags & FAULT_POPULATE) && (f->vma->flags & VM_WRITE) &&
	    all_reusable(m, val)) {
		struct folio *first = huge_folio(m, val, PMD_SHIFT);

		for (unsigned i = 0; i < PMD_PAGES; i++)
			folio_set(&first[i], PG_EXCLUSIVE);
		grant_leaf(f, leaf);
		huge_unlock(f->vma->mm, leaf);
		mm_count(f->vma->mm, VELLUM_COUNT_FAULT_HUGE);
		return VM_FAULT_DONE;
	}
	huge_split_locked(f->vma->mm, leaf->entry, f->addr, leaf->shift);
	huge_unlock(f->vma->mm, leaf);
	return VM_FAULT_AGAIN;
}

/* A leaf of the huge zero page that no userfaultfd protects. */
static bool is_plain_zero_leaf(const struct vellum_memory *m, uint64_t val)
{
	return leaf_is_huge_zero(m, val) && !(val & X86_UFFD_WP);
}

/* Replace the leaf of the huge zero page by one for a page of zeros. */
static void replace_zero_leaf(const struct fault *f, const struct leaf *leaf, struct folio *first) HOLDS(leaf->lock)
{
	struct vellum_flush_batch batch = { .size = sizeof(batch), .all_frames = true };
	gva_t start = leaf_start(f->addr, PMD_SHIFT);
	pmd_t pmd = anon_leaf(f, first);

	entry_exchange(leaf->entry, X86_PSE);	/* clear, flush, then set: as switch_to_copy() does */
	batch_add(&batch, start, start + PMD_SIZE, VELLUM_FLUSH_UNMAP);
	flush_batch(f->vma->mm, &batch);
	init_anon_folios(f->vma, start, first);
	entry_store(leaf->entry, pmd.val);
	if (pmd_write(pmd))
		huge_track(f->vma, start, PMD_SHIFT);
}

/* A store to the huge zero page: map a huge page; without memory for one, split. Called with the leaf's lock held. */
static enum vm_fault fill_zero_leaf_and_unlock(struct fault *f, const struct leaf *leaf) RELEASES(leaf->lock)
{
	struct vellum_memory *m = fault_memory(f);
	struct vellum_mm *mm = f->vma->mm;
	gva_t start = leaf_start(f->addr, PMD_SHIFT);
	struct folio *first;
	bool filled = false;
	struct leaf now;
	uint64_t val;

	huge_unlock(mm, leaf);
	first = !wants_huge_page(f) || anon_vma_prepare(f->vma) ? NULL : folio_alloc(m, MAX_ORDER);
	notify_start(mm, VELLUM_NOTIFY_CLEAR, start, start + PMD_SIZE);
	if (huge_lock(mm, f->addr, &now, &val)) {
		filled = first && is_plain_zero_leaf(m, val);
		if (filled)
			replace_zero_leaf(f, &now, first);
		else if (leaf_is_huge_zero(m, val))
			huge_split_locked(mm, now.entry, f->addr, now.shift);
		huge_unlock(mm, &now);
	}
	notify_finish(mm, VELLUM_NOTIFY_CLEAR, start, start + PMD_SIZE);
	if (filled)
		mm_count(mm, VELLUM_COUNT_FAULT_HUGE);
	else if (first)
		folio_put(m, first);
	return filled ? VM_FAULT_DONE : VM_FAULT_AGAIN;
}

/* Call the driver's huge_fault(). Returns VELLUM_VMF_*; FALLBACK if there is no hook. */
static int ask_driver(const struct fault *f, unsigned shift, bool write, pfn_t *pfn)
{
	const struct vellum_mapping *mapping = f->vma->mapping;
	struct vellum_vmf vmf = {
		.size = sizeof(vmf),
		.write = write,
		.mm = f->vma->mm,
		.address = leaf_start(f->addr, shift),
		.pgoff = vma_page_index(f->vma, leaf_start(f->addr, shift)),
		.pfn = *pfn,
		.order = shift - PAGE_SHIFT,
	};
	int code = mapping->ops && mapping->ops->huge_fault ? mapping->ops->huge_fault(mapping->ctx, &vmf) :
							      VELLUM_VMF_FALLBACK;

	*pfn = vmf.pfn;
	return code;
}

/* A store to a read-only leaf of a mapping whose driver is notified. Called with the leaf's lock held. */
static enum vm_fault notify_leaf_and_unlock(struct fault *f, const struct leaf *leaf, uint64_t val)
	RELEASES(leaf->lock)
{
	uint32_t seq = __atomic_load_n(&f->vma->mapping->wp_seq, __ATOMIC_ACQUIRE);
	pfn_t pfn = leaf_pfn(val, leaf->shift);
	struct leaf now;
	uint64_t again;
	int code;

	huge_unlock(f->vma->mm, leaf);
	code = ask_driver(f, leaf->shift, true, &pfn);
	if (code != VELLUM_VMF_OK && code != VELLUM_VMF_FALLBACK)
		return vm_fault_of_pfn_hook(code);
	if (!huge_lock(f->vma->mm, f->addr, &now, &again))
		return VM_FAULT_AGAIN;
	if (code == VELLUM_VMF_FALLBACK) {
		huge_split_locked(f->vma->mm, now.entry, f->addr, now.shift);
	} else if (now.entry == leaf->entry && (again | X86_ACCESSED) == (val | X86_ACCESSED) &&
		   seq == __atomic_load_n(&f->vma->mapping->wp_seq, __ATOMIC_ACQUIRE)) {
		grant_leaf(f, &now);
		huge_unlock(f->vma->mm, &now);
		return VM_FAULT_DONE;
	}
	huge_unlock(f->vma->mm, &now);
	return VM_FAULT_AGAIN;
}

/* A store to a read-only leaf of a shared mapping. Called with the leaf's lock held. */
static enum vm_fault wp_shared_leaf_and_unlock(struct fault *f, const struct leaf *leaf, uint64_t val)
	RELEASES(leaf->lock)
{
	mm_count(f->vma->mm, VELLUM_COUNT_FAULT_NOTIFY);
	if (vma_needs_dirty_tracking(f->vma))
		return notify_leaf_and_unlock(f, leaf, val);
	grant_leaf(f, leaf);
	huge_unlock(f->vma->mm, leaf);
	return VM_FAULT_DONE;
}

static uint64_t leaf_young(uint64_t val)
{
	return val | X86_ACCESSED;
}

static uint64_t leaf_stored(uint64_t val)
{
	return val & X86_RW ? pmd_mkdirty(pmd_mkyoung(pmd_make(val))).val : leaf_young(val);
}

static enum vm_fault do_huge_present(struct fault *f)
{
	bool write = f->flags & FAULT_WRITE;
	struct leaf leaf;
	uint64_t val;

	if (!huge_lock(f->vma->mm, f->addr, &leaf, &val))
		return VM_FAULT_AGAIN;
	if ((write || (f->flags & FAULT_UNSHARE)) && !leaf_write(val)) {
		if (write && is_plain_zero_leaf(fault_memory(f), val))
			return fill_zero_leaf_and_unlock(f, &leaf);
		if (is_anon_leaf(fault_memory(f), val))
			return wp_anon_leaf_and_unlock(f, &leaf, val);
		if (write && (f->vma->flags & (VM_SHARED | VM_MAYSHARE)))
			return wp_shared_leaf_and_unlock(f, &leaf, val);
		/* A private mapping: the small entry's fault will copy one page. */
		huge_split_locked(f->vma->mm, leaf.entry, f->addr, leaf.shift);
		huge_unlock(f->vma->mm, &leaf);
		return VM_FAULT_AGAIN;
	}
	leaf_update(leaf.entry, write && !(f->flags & FAULT_POPULATE) ? leaf_stored : leaf_young);
	huge_unlock(f->vma->mm, &leaf);
	mm_count(f->vma->mm, VELLUM_COUNT_FAULT_SPURIOUS);
	return VM_FAULT_DONE;
}

/* --- neither a table nor a leaf --- */

/* There is no leaf and no table, not even an empty one. */
static bool is_empty(const struct fault *f, unsigned shift)
{
	const uint64_t *entry = table_entry_alloc(f->vma->mm, f->addr, shift);

	return entry && !(entry_load(entry) & (X86_PRESENT | X86_PSE));
}

struct anon_leaf {
	struct fault *f;
	struct folio *first;
};

/* For huge_install(): the folios have owner, index and mapping count before the leaf is visible. */
static int prepare_anon(void *arg)
{
	const struct anon_leaf *al = arg;

	init_anon_folios(al->f->vma, leaf_start(al->f->addr, PMD_SHIFT), al->first);
	return 0;
}

/* A store to untouched memory. */
static enum vm_fault do_huge_page(struct fault *f)
{
	struct vma *vma = f->vma;
	struct vellum_memory *m = fault_memory(f);
	struct anon_leaf al = { .f = f };
	pmd_t pmd;

	al.first = anon_vma_prepare(vma) ? NULL : folio_alloc(m, MAX_ORDER);
	if (!al.first)
		return VM_FAULT_FALLBACK;
	pmd = anon_leaf(f, al.first);
	if (huge_install(vma->mm, leaf_start(f->addr, PMD_SHIFT), PMD_SHIFT, pmd.val, prepare_anon, &al)) {
		/* If prepare_anon() has run, a table that was installed without the lock got in first. */
		if (!(folio_flags(al.first) & PG_ANON)) {
			folio_put(m, al.first);
			return VM_FAULT_FALLBACK;
		}
		for (unsigned i = 0; i < PMD_PAGES; i++)
			folio_put_count(m, &al.first[i], FOLIO_ONE_MAPPING);
		return VM_FAULT_FALLBACK;
	}
	if (pmd_write(pmd))
		huge_track(vma, leaf_start(f->addr, PMD_SHIFT), PMD_SHIFT);
	mm_count(vma->mm, VELLUM_COUNT_FAULT_HUGE);
	return VM_FAULT_DONE;
}

/* A load of untouched memory. */
static enum vm_fault do_huge_zero(struct fault *f)
{
	struct vma *vma = f->vma;
	pfn_t pfn = huge_zero_get(vma->mm);

	if (!pfn || huge_install(vma->mm, leaf_start(f->addr, PMD_SHIFT), PMD_SHIFT,
				 pmd_mk(pfn, vma->page_prot).val | X86_SPECIAL, NULL, NULL))
		return VM_FAULT_FALLBACK;
	mm_count(vma->mm, VELLUM_COUNT_FAULT_READ_ZERO);
	return VM_FAULT_DONE;
}

static enum vm_fault do_huge_anon(struct fault *f)
{
	const struct vma *vma = f->vma;

	if (!wants_huge_page(f) || (vma->flags & VM_UFFD_MISSING) || !is_empty(f, PMD_SHIFT))
		return VM_FAULT_FALLBACK;
	return f->flags & FAULT_WRITE ? do_huge_page(f) : do_huge_zero(f);
}

/* --- raw frames --- */

struct raw_check {
	const struct vellum_mapping *mapping;
	uint32_t seq;
};

/* For huge_install(): fail if the driver has unmapped frames since huge_fault() named these. */
static int check_unmap_seq(void *arg)
{
	const struct raw_check *rc = arg;

	return __atomic_load_n(&rc->mapping->unmap_seq, __ATOMIC_SEQ_CST) == rc->seq ? 0 : -EAGAIN;
}

/* FALLBACK: no leaf of this size; try the next smaller size. */
static enum vm_fault do_huge_raw(struct fault *f, unsigned shift)
{
	struct vma *vma = f->vma;
	struct raw_check rc = { vma->mapping, __atomic_load_n(&vma->mapping->unmap_seq, __ATOMIC_SEQ_CST) };
	gva_t start = leaf_start(f->addr, shift);
	uint64_t nr = 1ull << (shift - PAGE_SHIFT);
	pfn_t pfn = 0;
	int code;

	if (!fits(f, shift) || (vma_page_index(vma, start) & (nr - 1)) ||
	    vma_page_index(vma, start) + nr > mapping_nr_pages(vma->mapping) || !is_empty(f, shift))
		return VM_FAULT_FALLBACK;
	code = ask_driver(f, shift, f->flags & FAULT_WRITE, &pfn);
	if (code == VELLUM_VMF_FALLBACK || (code == VELLUM_VMF_OK && (pfn & (nr - 1))))
		return VM_FAULT_FALLBACK;
	if (code != VELLUM_VMF_OK)
		return vm_fault_of_pfn_hook(code);
	switch (huge_install(vma->mm, start, shift, frame_leaf(vma, pfn, shift), check_unmap_seq, &rc)) {
	case 0:
		if (leaf_write(frame_leaf(vma, pfn, shift)))
			huge_track(vma, start, shift);
		mm_count(vma->mm, VELLUM_COUNT_FAULT_HUGE);
		return VM_FAULT_DONE;
	case -ENOMEM:
		return VM_FAULT_OOM;
	default:
		return VM_FAULT_FALLBACK;
	}
}

static enum vm_fault do_huge_missing(struct fault *f)
{
	const struct vma *vma = f->vma;
	bool private_store = (f->flags & FAULT_WRITE) && !(vma->flags & VM_MAYSHARE);
	enum vm_fault result = VM_FAULT_FALLBACK;

	if (vma_is_anonymous(vma))
		return do_huge_anon(f);
	if (mapping_is_shmem(vma->mapping))
		return shmem_huge_fault(f);
	if (!(vma->mapping->flags & MAPPING_RAW) || private_store || !vma->mapping->ops->huge_fault || vma->uffd)
		return VM_FAULT_FALLBACK;
	for (unsigned shift = PUD_SHIFT; shift >= PMD_SHIFT && result == VM_FAULT_FALLBACK; shift -= 9)
		result = do_huge_raw(f, shift);
	return result;
}

enum vm_fault do_huge_fault(struct fault *f)
{
	return huge_lookup(f->vma->mm, f->addr, NULL) ? do_huge_present(f) : do_huge_missing(f);
}
