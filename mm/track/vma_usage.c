/* SPDX-License-Identifier: MIT */
/* mm/track/vma_usage.c - memory of one VMA: the numbers of /proc/PID/smaps. */
#include "lib/sized.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pagewalk.h"
#include "mm/vma.h"
#include "vellum/pagemap.h"

#define PSS_SHIFT 12	/* shares of a page have a binary fraction, dropped at the end */

static void count_page(struct vellum_vma_usage *u, const struct vma *vma, pte_t pte, const struct folio *folio)
{
	uint64_t maps = max_u64(__atomic_load_n(&folio->count, __ATOMIC_RELAXED) >> 32, 1);
	uint32_t flags = folio_flags(folio);
	bool dirty = pte_dirty(pte) || (flags & PG_DIRTY && !(flags & PG_LAZYFREE));
	uint64_t share = (PAGE_SIZE << PSS_SHIFT) / maps;

	u->rss += PAGE_SIZE;
	u->pss += share;
	u->pss_dirty += dirty ? share : 0;
	u->locked += vma->flags & VM_LOCKED ? share : 0;
	u->referenced += pte_young(pte) ? PAGE_SIZE : 0;
	u->anonymous += flags & PG_ANON ? PAGE_SIZE : 0;
	u->lazyfree += (flags & PG_LAZYFREE) && !dirty ? PAGE_SIZE : 0;
	if (maps > 1)
		*(dirty ? &u->shared_dirty : &u->shared_clean) += PAGE_SIZE;
	else
		*(dirty ? &u->private_dirty : &u->private_clean) += PAGE_SIZE;
}

static int usage_pte(pte_t *ptep, gva_t addr, struct mm_walk *walk)
{
	struct vellum_vma_usage *u = walk->private;
	struct vellum_memory *m = walk->vma->mm->memory;
	pte_t pte = ptep_get(ptep);

	(void)addr;
	if (pte_present(pte) && !pte_special(pte)) {
		count_page(u, walk->vma, pte, pte_folio(m, pte));
	} else if (pte_is_genuine_swap(pte)) {
		u->swap += PAGE_SIZE;
		u->swap_pss += (PAGE_SIZE << PSS_SHIFT) / max_u64(slot_count(m, pte_slot(pte)), 1);
	}
	return 0;
}

static int usage_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	struct vellum_vma_usage *u = walk->private;
	uint64_t val = entry_load(entry);
	const struct folio *first;

	if (leaf_is_raw(val))
		return 0;
	first = huge_folio(walk->vma->mm->memory, val, shift);
	for (gva_t addr = start; addr < end; addr += PAGE_SIZE)
		count_page(u, walk->vma, leaf_pte(walk->vma->mm->memory, val, shift, addr), &first[table_index(addr, PAGE_SHIFT)]);
	*(folio_flags(first) & PG_ANON ? &u->anon_huge : &u->shmem_huge) += end - start;
	return 0;
}

static const struct mm_walk_ops usage_walk_ops = { .huge_leaf = usage_leaf, .pte = usage_pte, .reads = true };

/* In the order in which Linux lists them. */
static void write_flags(const struct vma *vma, char *to)
{
	static const struct {
		uint64_t flag;
		char letters[3];
	} names[] = {
		{ VM_READ, "rd" }, { VM_WRITE, "wr" }, { VM_EXEC, "ex" }, { VM_SHARED, "sh" }, { VM_MAYREAD, "mr" },
		{ VM_MAYWRITE, "mw" }, { VM_MAYEXEC, "me" }, { VM_MAYSHARE, "ms" }, { VM_GROWSDOWN, "gd" },
		{ VM_PFNMAP, "pf" }, { VM_LOCKED, "lo" }, { VM_IO, "io" }, { VM_SEQ_READ, "sr" },
		{ VM_RAND_READ, "rr" },
		{ VM_DONTCOPY, "dc" }, { VM_DONTEXPAND, "de" }, { VM_LOCKONFAULT, "lf" }, { VM_NORESERVE, "nr" },
		{ VM_WIPEONFORK, "wf" }, { VM_DONTDUMP, "dd" }, { VM_SOFTDIRTY, "sd" }, { VM_MIXEDMAP, "mm" },
		{ VM_HUGEPAGE, "hg" }, { VM_NOHUGEPAGE, "nh" }, { VM_UFFD_MISSING, "um" }, { VM_UFFD_WP, "uw" },
		{ VM_UFFD_MINOR, "ui" }, { VM_SHADOW_STACK, "ss" }, { VM_DROPPABLE, "dp" },
		{ VM_SEALED, "sl" },
	};

	_Static_assert(ARRAY_SIZE(names) * 3 < sizeof(((struct vellum_vma_usage *)0)->vm_flags), "room for all");
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (vma->flags & names[i].flag) {
			*to++ = names[i].letters[0];
			*to++ = names[i].letters[1];
			*to++ = ' ';
		}
	*to = 0;
}

EXPORT int vellum_vma_usage(struct vellum_mm *mm, uint64_t addr, struct vellum_vma_info *info_out,
			    struct vellum_vma_usage *usage_out)
{
	struct vellum_vma_usage usage = { .len = 0 };
	struct vellum_vma_info info;
	struct vma *vma;
	int err;

	read_lock(&mm->mmap_lock, mm_host(mm));
	vma = find_vma(mm, addr);
	if (vma && vma->start <= addr) {
		vma_describe(vma, &info);
		usage.len = vma->end - vma->start;
		walk_vma_range(vma, vma->start, vma->end, &usage_walk_ops, &usage);
		write_flags(vma, usage.vm_flags);
	} else {
		vma = NULL;
	}
	read_unlock(&mm->mmap_lock, mm_host(mm));
	if (!vma)
		return -ENOENT;
	usage.pss >>= PSS_SHIFT;
	usage.pss_dirty >>= PSS_SHIFT;
	usage.swap_pss >>= PSS_SHIFT;
	usage.locked >>= PSS_SHIFT;
	err = TO_CALLER(info_out, &info);
	return err ? err : TO_CALLER(usage_out, &usage);
}
