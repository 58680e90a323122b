/* SPDX-License-Identifier: MIT */
/* mm/track/pagemap.c - read entries: pagemap words, and every entry decoded. */
#include "mm/fault/fault.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pagewalk.h"
#include "mm/vma.h"
#include "vellum/pagemap.h"

/* --- pagemap words --- */

struct pagemap_walk {
	gva_t start;
	uint32_t flags;
	uint64_t *words;
};

static uint64_t *word_at(const struct mm_walk *walk, gva_t addr)
{
	const struct pagemap_walk *pw = walk->private;

	return &pw->words[(addr - pw->start) >> PAGE_SHIFT];
}

static bool shows_pfns(const struct mm_walk *walk)
{
	return ((const struct pagemap_walk *)walk->private)->flags & VELLUM_PAGEMAP_PFNS;
}

/* Everything in the VMA counts as soft-dirty. */
static uint64_t vma_word(const struct vma *vma)
{
	return vma->flags & VM_SOFTDIRTY ? VELLUM_PM_SOFT_DIRTY : 0;
}

static uint64_t word_of_page(const struct vellum_memory *m, pte_t pte)
{
	const struct folio *folio = pte_special(pte) ? NULL : pte_folio(m, pte);

	if (!folio)
		return 0;
	return (folio_flags(folio) & PG_ANON ? 0 : VELLUM_PM_FILE) |
	       (__atomic_load_n(&folio->count, __ATOMIC_RELAXED) >> 32 == 1 ? VELLUM_PM_MMAP_EXCLUSIVE : 0);
}

static uint64_t word_of_swp(const struct mm_walk *walk, pte_t pte)
{
	uint64_t word = VELLUM_PM_SWAP;

	if (shows_pfns(walk))
		word |= pte_swp_type(pte) | (pte_swp_offset(pte) << 5 & ((1ull << 55) - 1));
	if (pte_swp_soft_dirty(pte) && !pte_is_marker(pte))
		word |= VELLUM_PM_SOFT_DIRTY;
	if (pte_is_uffd_wp(pte))
		word |= VELLUM_PM_UFFD_WP;
	if (pte_marker_bits(pte) & MARKER_GUARD)
		word |= VELLUM_PM_GUARD;
	if (pte_is_migration(pte) && !migration_is_anon(walk->vma->mm->memory, pte))
		word |= VELLUM_PM_FILE;
	return word;
}

static uint64_t word_of(const struct mm_walk *walk, pte_t pte)
{
	uint64_t word = vma_word(walk->vma);

	if (pte_none(pte))
		return word;
	if (!pte_present(pte))
		return word | word_of_swp(walk, pte);
	word |= VELLUM_PM_PRESENT | word_of_page(walk->vma->mm->memory, pte);
	if (shows_pfns(walk))
		word |= pte_pfn(pte);
	return word | (pte_soft_dirty(pte) ? VELLUM_PM_SOFT_DIRTY : 0) | (pte_uffd_wp(pte) ? VELLUM_PM_UFFD_WP : 0);
}

static int pagemap_pte(pte_t *ptep, gva_t addr, struct mm_walk *walk)
{
	*word_at(walk, addr) = word_of(walk, ptep_get(ptep));
	return 0;
}

static int pagemap_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	for (gva_t addr = start; addr < end; addr += PAGE_SIZE)
		*word_at(walk, addr) = word_of(walk, leaf_pte(walk->vma->mm->memory, entry_load(entry), shift, addr));
	return 0;
}

static int pagemap_hole(gva_t start, gva_t end, struct mm_walk *walk)
{
	for (gva_t addr = start; addr < end; addr += PAGE_SIZE)
		*word_at(walk, addr) = vma_word(walk->vma);
	return 0;
}

static const struct mm_walk_ops pagemap_walk_ops = {
	.huge_leaf = pagemap_leaf,
	.pte = pagemap_pte,
	.hole = pagemap_hole,
	.reads = true,
};

EXPORT int vellum_pagemap_read(struct vellum_mm *mm, uint64_t addr, uint64_t nr, uint32_t flags, uint64_t *words)
{
	struct pagemap_walk pw = { addr, flags, words };

	if ((addr & ~PAGE_MASK) || addr >= TASK_SIZE || nr > (TASK_SIZE - addr) >> PAGE_SHIFT)
		return -EINVAL;
	memset(words, 0, nr * sizeof(*words));
	read_lock(&mm->mmap_lock, mm_host(mm));
	walk_page_range(mm, addr, addr + (nr << PAGE_SHIFT), &pagemap_walk_ops, &pw);
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return 0;
}

/* --- every entry, decoded --- */

struct decode_walk {
	int (*fn)(void *arg, const struct vellum_entry *entry);
	void *arg;
};

static uint32_t flags_of_present(uint64_t val)
{
	pte_t pte = pte_make(val);

	return (pte_write(pte) ? VELLUM_ENTRY_WRITABLE : 0) | (pte_dirty(pte) ? VELLUM_ENTRY_DIRTY : 0) |
	       (pte_young(pte) ? VELLUM_ENTRY_ACCESSED : 0) | (pte_soft_dirty(pte) ? VELLUM_ENTRY_SOFT_DIRTY : 0) |
	       (pte_uffd_wp(pte) ? VELLUM_ENTRY_UFFD_WP : 0) | (pte_exec(pte) ? VELLUM_ENTRY_EXEC : 0) |
	       (val & X86_SAVED_DIRTY ? VELLUM_ENTRY_SAVED_DIRTY : 0) |
	       ((val & (X86_RW | X86_DIRTY)) == X86_DIRTY ? VELLUM_ENTRY_SHADOW_STACK : 0) |
	       (val & X86_PRESENT ? 0 : VELLUM_ENTRY_NO_ACCESS) | (pte_devmap(pte) ? VELLUM_ENTRY_DEVMAP : 0);
}

static void decode_present(const struct vellum_memory *m, struct vellum_entry *e, bool raw, pfn_t pfn)
{
	const struct folio *folio;
	uint64_t count;

	if (unlikely(m->exposed) && !raw)
		check_page_entry(m, pfn, e->raw);
	folio = raw ? NULL : pfn_folio(m, pfn);

	e->pfn = pfn;
	e->flags = flags_of_present(e->raw);
	e->kind = folio ? VELLUM_ENTRY_PAGE : pfn == m->zero_pfn ? VELLUM_ENTRY_ZERO : VELLUM_ENTRY_RAW;
	if (!folio)
		return;
	count = __atomic_load_n(&folio->count, __ATOMIC_RELAXED);
	e->count = (uint32_t)count;
	e->maps = count >> 32;
	e->flags |= folio_flags(folio) & PG_ANON ? VELLUM_ENTRY_ANON : 0;
	e->flags |= folio_flags(folio) & PG_EXCLUSIVE ? VELLUM_ENTRY_EXCLUSIVE : 0;
}

static void decode_swp(struct vellum_entry *e, pte_t pte)
{
	unsigned type = pte_swp_type(pte), bits = pte_marker_bits(pte);

	e->flags = (pte_swp_soft_dirty(pte) ? VELLUM_ENTRY_SOFT_DIRTY : 0) |
		   (pte_is_uffd_wp(pte) ? VELLUM_ENTRY_UFFD_WP : 0);
	if (pte_is_marker(pte)) {
		e->kind = VELLUM_ENTRY_MARKER;
		e->flags |= (bits & MARKER_POISON ? VELLUM_ENTRY_POISON : 0) |
			    (bits & MARKER_GUARD ? VELLUM_ENTRY_GUARD : 0);
		return;
	}
	e->flags |= type == SWP_MIGRATION_WRITE || type == SWP_DEVICE_WRITE || type == SWP_DEVICE_EXCL_WRITE ?
			    VELLUM_ENTRY_WRITABLE : 0;
	e->pfn = pte_swp_pfn(pte);
	if (pte_is_genuine_swap(pte)) {
		e->kind = VELLUM_ENTRY_SWAP;
		e->area = type;
		e->offset = pte_swp_offset(pte);
		e->pfn = 0;
		e->flags |= pte_swp_exclusive(pte) ? VELLUM_ENTRY_EXCLUSIVE : 0;
	} else if (pte_is_migration(pte)) {
		e->kind = VELLUM_ENTRY_MIGRATION;
	} else if (pte_is_device_private(pte)) {
		e->kind = VELLUM_ENTRY_DEVICE_PRIVATE;
	} else {
		e->kind = pte_is_device_exclusive(pte) ? VELLUM_ENTRY_DEVICE_EXCLUSIVE : VELLUM_ENTRY_HWPOISON;
	}
}

static int decode_pte(pte_t *ptep, gva_t addr, struct mm_walk *walk)
{
	const struct decode_walk *dw = walk->private;
	pte_t pte = ptep_get(ptep);
	struct vellum_entry e = { .size = sizeof(e), .start = addr, .len = PAGE_SIZE, .raw = pte.val };

	if (pte_none(pte))
		return 0;
	if (pte_present(pte))
		decode_present(walk->vma->mm->memory, &e, pte_special(pte), pte_pfn(pte));
	else
		decode_swp(&e, pte);
	return dw->fn(dw->arg, &e);
}

static int decode_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	const struct decode_walk *dw = walk->private;
	const struct vellum_memory *m = walk->vma->mm->memory;
	struct vellum_entry e = { .size = sizeof(e), .start = leaf_start(start, shift), .len = 1ull << shift, .raw = entry_load(entry) };

	(void)end;
	decode_present(m, &e, leaf_is_raw(e.raw), leaf_is_huge_zero(m, e.raw) ? m->zero_pfn : leaf_pfn(e.raw, shift));
	return dw->fn(dw->arg, &e);
}

static const struct mm_walk_ops decode_walk_ops = { .huge_leaf = decode_leaf, .pte = decode_pte, .reads = true };

EXPORT int vellum_walk_entries(struct vellum_mm *mm, uint64_t start, uint64_t end,
			       int (*fn)(void *arg, const struct vellum_entry *entry), void *arg)
{
	struct decode_walk dw = { fn, arg };
	int err;

	read_lock(&mm->mmap_lock, mm_host(mm));
	err = walk_page_range(mm, start & PAGE_MASK, min_u64(end, TASK_SIZE), &decode_walk_ops, &dw);
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return err;
}

EXPORT const char *vellum_entry_kind_name(enum vellum_entry_kind kind)
{
	static const char *const names[] = {
		[VELLUM_ENTRY_PAGE] = "page",
		[VELLUM_ENTRY_ZERO] = "zero",
		[VELLUM_ENTRY_RAW] = "raw",
		[VELLUM_ENTRY_SWAP] = "swap",
		[VELLUM_ENTRY_MIGRATION] = "migration",
		[VELLUM_ENTRY_DEVICE_PRIVATE] = "device-private",
		[VELLUM_ENTRY_DEVICE_EXCLUSIVE] = "device-exclusive",
		[VELLUM_ENTRY_HWPOISON] = "hwpoison",
		[VELLUM_ENTRY_MARKER] = "marker",
	};

	return (unsigned)kind < ARRAY_SIZE(names) ? names[kind] : NULL;
}
