/* SPDX-License-Identifier: MIT */
/*
 * mm/snapshot/vmas.c - make the VMAs of an address space those of its frozen copy.
 *
 * First, what must not stay is unmapped: ranges that had no VMA, and VMAs that differ in what their entries depend on.
 * Then the VMAs that are left are joined, extended, or new ones inserted. The entries are restored later (tables.c):
 * what was unmapped here has left its mark in the tables (INV-SNAP-2).
 */
#include "mm/snapshot/snapshot.h"
#include "mm/space/space.h"
#include "mm/table/pgtable.h"

/* Entries depend on these flags. A VMA without VM_SOFTDIRTY also needs soft-dirty bits in writable entries. */
#define ENTRY_FLAGS (VM_ACCESS | VM_SHARED | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_MAYSHARE | VM_SHADOW_STACK | \
		     VM_UFFD | VM_IO | VM_PFNMAP | VM_MIXEDMAP | VM_DROPPABLE)

/* The entries of @vma that lie in @frozen may stay, and tables.c restores them one by one. */
static bool is_alike(const struct vma *vma, const struct vma *frozen)
{
	struct vellum_uffd *uffd;
	uint64_t flags = thawed_flags(frozen, vma->mm, &uffd);

	return !((vma->flags ^ flags) & ENTRY_FLAGS) && !(vma->flags & ~flags & VM_SOFTDIRTY) && vma->uffd == uffd &&
	       vma->mapping == frozen->mapping &&
	       vma->pgoff - (vma->start >> PAGE_SHIFT) == frozen->pgoff - (frozen->start >> PAGE_SHIFT) &&
	       (vma->anon_vma == frozen->anon_vma || !vma->anon_vma || !frozen->anon_vma);
}

/*
 * Cut the VMAs at the borders of the frozen ones, and unmap what is not alike. If a VMA cannot be cut, it is unmapped as
 * a whole. No event is sent: no program unmaps this.
 */
static void unmap_unlike(struct vellum_mm *mm, struct vellum_mm *copy) HOLDS(&mm->mmap_lock)
{
	struct vma *vma, *frozen;
	gva_t at = 0, end;
	bool alike;

	while ((vma = find_vma(mm, at))) {
		at = max_u64(at, vma->start);
		frozen = find_vma(copy, at);
		end = frozen ? min_u64(vma->end, at < frozen->start ? frozen->start : frozen->end) : vma->end;
		alike = frozen && at >= frozen->start && is_alike(vma, frozen);
		if (vma_split_range(mm, at, end))
			unmap_vmas(mm, vma->start, vma->end);
		else if (!alike)
			unmap_vmas(mm, at, end);
		at = end;
	}
}

/*
 * The VMAs in [start, end) are alike. Unmap those that have another anon_vma than the first VMA with one: they cannot
 * be joined. There are such VMAs only where no anonymous page is frozen. Return: the first VMA, or NULL.
 */
static struct vma *unmap_strangers(struct vellum_mm *mm, gva_t start, gva_t end) HOLDS(&mm->mmap_lock)
{
	struct vma *first = find_vma_intersection(mm, start, end), *vma, *next;
	const struct anon_vma *anon = NULL;

	for (vma = first; vma && vma->start < end; vma = next) {
		next = vma_next(vma);
		if (!anon)
			anon = vma->anon_vma;
		else if (vma->anon_vma && vma->anon_vma != anon)
			unmap_vmas(mm, vma->start, vma->end);
	}
	return first;
}

int restore_vmas(struct vellum_mm *mm, struct vellum_mm *copy)
{
	unmap_unlike(mm, copy);
	for (struct vma *frozen = vma_first(copy); frozen; frozen = vma_next(frozen)) {
		struct vma *vma = unmap_strangers(mm, frozen->start, frozen->end);
		struct vellum_uffd *uffd;
		uint64_t flags = thawed_flags(frozen, mm, &uffd);

		if (!vma) {
			if (!vma_like(mm, frozen, flags, frozen->mapping, uffd))
				return -ENOMEM;
			continue;
		}
		vma_cover(vma, frozen->start, frozen->end);
		if (!vma->anon_vma)
			vma_share_anon(vma, frozen);
		__atomic_store_n(&vma->flags, flags, __ATOMIC_RELAXED);
		vma_update_prot(vma);
	}
	return 0;
}
