/* SPDX-License-Identifier: MIT */
/*
 * mm/space/mprotect.c - change the rights of a range.
 *
 * Entries that lose rights are flushed before the call returns. Entries that gain rights need no flush: a stale
 * translation costs one spurious fault.
 */
#include "mm/fault/fault.h"
#include "mm/space/space.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pagewalk.h"
#include "mm/table/pgtable.h"
#include "mm/table/tlb.h"
#include "mm/track/hooks.h"
#include "mm/vma.h"

bool can_make_writable(struct vma *vma, gva_t addr, pte_t pte)
{
	const struct vellum_memory *m = vma->mm->memory;

	if (!(vma->flags & VM_WRITE) || !(pte.val & X86_PRESENT) || wp_tracked(vma, addr))
		return false;
	if (vma_soft_dirty_enabled(vma) && !pte_soft_dirty(pte))
		return false;
	if (vma_uffd_wp(vma) && pte_uffd_wp(pte))
		return false;
	if (vma->flags & VM_SHARED)
		return pte_dirty(pte);	/* mkwrite was called when the entry became dirty */
	if (pte_special(pte))
		return false;
	return (folio_flags(pte_folio(m, pte)) & (PG_ANON | PG_EXCLUSIVE)) ==
	       (PG_ANON | PG_EXCLUSIVE);
}

/* The entry with the VMA's new protection. */
static pte_t changed_entry(struct vma *vma, gva_t addr, pte_t old)
{
	pte_t new = pte_modify(vma->flags & VM_SHADOW_STACK ? pte_wrprotect(old) : old, vma->page_prot);

	if (!(vma->flags & VM_WRITE))
		return new;
	if (pte_write(new) && !pte_write(old) && (wp_tracked(vma, addr) || (vma_uffd_wp(vma) && pte_uffd_wp(new))))
		new = pte_wrprotect(new);
	else if (pte_write(new) || can_make_writable(vma, addr, new))
		new = maybe_mkwrite(vma, new);
	return new;
}

/* True if @old was present and @new lacks presence, a right or D that it had. */
static bool needs_flush(uint64_t old, uint64_t new)
{
	const uint64_t rights = X86_PRESENT | X86_RW | X86_USER | X86_DIRTY;

	return (old & X86_PRESENT) && ((old & rights & ~new) || (~old & new & X86_NX));
}

/* Downgrade a writable entry that is not present. A fault grants W again if it is allowed. */
static void change_swp(pte_t *ptep, pte_t pte, const struct vma *vma)
{
	pte_t new;

	if (unlikely(vma->mm->memory->exposed))
		check_swp_entry(vma->mm->memory, pte);
	new = pte_is_marker(pte) ? pte : swp_wrprotect(vma->mm->memory, pte);

	if (new.val != pte.val)
		ptep_set(ptep, new);
}

static int change_pte(pte_t *ptep, gva_t addr, struct mm_walk *walk)
{
	pte_t old = ptep_get(ptep), new;

	if (unlikely(!pte_present(old))) {
		if (!pte_none(old))
			change_swp(ptep, old, walk->vma);
		return 0;
	}
	if (!pte_special(old))
		prepare_exec(walk->vma, pte_folio(walk->vma->mm->memory, old));
	do {
		new = changed_entry(walk->vma, addr, old);
		if (needs_flush(old.val, new.val) && must_clear_flush(walk->vma->mm)) {
			ptep_set(ptep, changed_entry(walk->vma, addr, clear_and_flush(walk->vma->mm, addr, ptep)));
			return 0;
		}
	} while (!ptep_cmpxchg(ptep, &old, new));
	if (needs_flush(old.val, new.val))
		tlb_change(walk->private, addr, PAGE_SIZE, VELLUM_FLUSH_RIGHTS, pte_pfn(old));
	return 0;
}

/* The leaf with the VMA's new protection. A PUD leaf is raw, and in a COW VMA the protection has no W. */
static uint64_t changed_leaf(struct vma *vma, gva_t addr, uint64_t old, unsigned shift)
{
	if (shift == PUD_SHIFT)
		return pud_modify(pud_make(old), vma->page_prot | X86_PSE).val;
	pmd_t pmd = pmd_modify(pmd_make(old), vma->page_prot | X86_PSE);

	if (pmd_write(pmd) && vma_uffd_wp(vma) && pmd_uffd_wp(pmd))
		pmd = pmd_wrprotect(pmd);
	else if (pmd_write(pmd) || can_make_writable(vma, addr, leaf_pte(vma->mm->memory, pmd.val, shift, addr)))
		pmd = pmd_mkwrite(pmd_clear_uffd_wp(pmd));
	return pmd.val;
}

static int change_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	struct tlb_gather *tlb = walk->private;
	uint64_t old = entry_load(entry), new;

	if (end - start != 1ull << shift || must_clear_flush(walk->vma->mm))
		return WALK_SPLIT;
	/* The frames of the huge zero page are freed some day, and nothing then tells the machine that they were executed. */
	if ((walk->vma->flags & VM_EXEC) && leaf_is_huge_zero(walk->vma->mm->memory, old))
		return WALK_SPLIT;
	for (unsigned i = 0; (walk->vma->flags & VM_EXEC) && !leaf_is_raw(old) && i < PMD_PAGES; i++)
		prepare_exec(walk->vma, huge_page_folio(walk->vma->mm->memory, old, shift, i));
	do {
		new = changed_leaf(walk->vma, start, old, shift);
	} while (!entry_cmpxchg(entry, &old, new));
	if (needs_flush(old, new)) {
		tlb_change(tlb, start, end - start, VELLUM_FLUSH_RIGHTS, leaf_pfn(old, shift));
		tlb->batch.all_frames = true;
	}
	return 0;
}

static const struct mm_walk_ops change_walk_ops = { .huge_leaf = change_leaf, .pte = change_pte };

static uint64_t new_flags(const struct vma *vma, uint32_t prot)
{
	return (vma->flags & ~VM_ACCESS) | prot;
}

/* Protect the part [start, end) of @vma. Returns the VMA that contains it afterwards; NULL: no split. */
static struct vma *protect_vma(struct vma *vma, gva_t start, gva_t end, uint32_t prot,
			       struct tlb_gather *tlb)
{
	struct vellum_mm *mm = vma->mm;

	mmap_assert_write_held(mm);
	if (new_flags(vma, prot) == vma->flags)
		return vma;
	if (vma->start < start || vma->end > end) {
		if (vma_split_range(mm, start, end))
			return NULL;
		vma = find_vma(mm, start);
	}
	__atomic_store_n(&vma->flags, new_flags(vma, prot), __ATOMIC_RELAXED);
	vma_update_prot(vma);
	walk_vma_range(vma, start, end, &change_walk_ops, tlb);
	return vma_merge(vma);
}

/* --- PR_SET_MDWE --- */

bool mdwe_forbids(const struct vellum_mm *mm, uint64_t old, uint64_t new)
{
	if (!__atomic_load_n(&mm->mdwe, __ATOMIC_RELAXED) || !(new & VM_EXEC))
		return false;
	return (new & VM_WRITE) || !(old & VM_EXEC);
}

EXPORT uint32_t vellum_get_mdwe(const struct vellum_mm *mm)
{
	return __atomic_load_n(&mm->mdwe, __ATOMIC_RELAXED);
}

EXPORT int vellum_set_mdwe(struct vellum_mm *mm, uint32_t flags)
{
	uint32_t now;
	int err = 0;

	if ((flags & ~(uint32_t)(VELLUM_MDWE_REFUSE_EXEC_GAIN | VELLUM_MDWE_NO_INHERIT)) ||
	    flags == VELLUM_MDWE_NO_INHERIT)
		return -EINVAL;
	write_lock(&mm->mmap_lock, mm_host(mm));
	now = vellum_get_mdwe(mm);
	if (now && now != flags)
		err = -EPERM;
	else
		__atomic_store_n(&mm->mdwe, flags, __ATOMIC_RELAXED);
	write_unlock(&mm->mmap_lock, mm_host(mm));
	return err;
}

/* --- the call --- */

/* [*@first_locked, *@last_locked): spans the parts that were private, locked and without VM_WRITE before. */
static int protect_range(struct vellum_mm *mm, gva_t start, gva_t end, uint32_t prot, gva_t *first_locked,
			 gva_t *last_locked)
{
	struct tlb_gather tlb;
	struct vma *vma = find_vma(mm, start);
	gva_t first = start;
	int err = 0;

	notify_start(mm, VELLUM_NOTIFY_PROTECTION_VMA, first, end);
	flush_cache(mm, first, end);
	tlb_gather_begin(&tlb, mm);
	while (start < end) {
		gva_t next;

		if (!vma || vma->start > start) {
			err = -ENOMEM;
			break;
		}
		next = min_u64(vma->end, end);
		if (prot & ~(vma->flags >> 4) & VM_ACCESS) {	/* MAY bits sit above the rights */
			err = -EACCES;
			break;
		}
		if (mdwe_forbids(mm, vma->flags, prot)) {
			err = -EACCES;
			break;
		}
		if (vma->flags & VM_SEALED) {
			err = -EPERM;
			break;
		}
		if ((vma->flags & (VM_LOCKED | VM_SHARED | VM_WRITE)) == VM_LOCKED) {
			*first_locked = min_u64(*first_locked, start);
			*last_locked = next;
		}
		if (!protect_vma(vma, start, next, prot, &tlb)) {
			err = -ENOMEM;
			break;
		}
		start = next;
		vma = start < end ? find_vma(mm, start) : NULL;
	}
	tlb_gather_finish(&tlb);
	notify_finish(mm, VELLUM_NOTIFY_PROTECTION_VMA, first, end);
	return err;
}

/* The errors of the first VMA. PROT_GROWSDOWN: @start becomes the start of the VMA. */
static int check_first(const struct vellum_mm *mm, gva_t *start, gva_t end, uint32_t grows)
{
	const struct vma *vma = find_vma(mm, *start);

	if (!vma || vma->start >= end || (vma->start > *start && !(grows & VELLUM_PROT_GROWSDOWN)))
		return -ENOMEM;
	if (grows & VELLUM_PROT_GROWSDOWN)
		*start = vma->start;
	return grows && (!(vma->flags & VM_GROWSDOWN) || (grows & VELLUM_PROT_GROWSUP)) ? -EINVAL : 0;
}

/* Locked private memory that became writable gets its private pages now, as in Linux. */
static void populate_locked(struct vellum_mm *mm, gva_t start, gva_t end)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	for (; vellum_vma_next(mm, start, &info) == 0 && info.start < end; start = info.end)
		if (info.locked && !info.shared && (info.prot & VM_WRITE))
			populate_range(mm, max_u64(start, info.start), min_u64(info.end, end), POPULATE_FOR_MPROTECT);
}

EXPORT int vellum_mprotect(struct vellum_mm *mm, uint64_t addr, uint64_t len, uint32_t prot)
{
	const uint32_t growing = VELLUM_PROT_GROWSDOWN | VELLUM_PROT_GROWSUP;
	uint32_t grows = prot & growing;
	gva_t first = ~0ull, last = 0, end;
	int err;

	if ((addr & ~PAGE_MASK) || grows == growing)
		return -EINVAL;
	if (len == 0)
		return 0;
	end = addr + page_align_up(len);
	if (end <= addr)
		return -ENOMEM;
	if (prot & ~((uint32_t)(VM_ACCESS | VELLUM_PROT_SEM) | growing))
		return -EINVAL;
	prot &= VM_ACCESS;
	/* A range that extends beyond TASK_SIZE is changed up to the hole there, and then fails with -ENOMEM. */
	write_lock(&mm->mmap_lock, mm_host(mm));
	err = check_first(mm, &addr, end, grows);
	if (!err)
		err = protect_range(mm, addr, end, prot, &first, &last);
	write_unlock(&mm->mmap_lock, mm_host(mm));
	if (prot & VM_WRITE)
		populate_locked(mm, first, last);
	return err;
}
