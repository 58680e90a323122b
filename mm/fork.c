/* SPDX-License-Identifier: MIT */
/*
 * mm/fork.c - copy an address space, private pages copy-on-write.
 *
 * The parent's mmap lock is held for writing until its stale writable translations are flushed:
 * no fault can copy a page meanwhile, and the child does not run yet.
 */
#include "mm/pagewalk.h"

struct fork_walk {
	struct vma *child;
	bool cow;
	bool protected;		/* some entry of the parent lost W: flush */
	int64_t nr_copied;
};

/* Does the child need entries, or can faults bring them back? (SPEC.md "Fork") */
static bool vma_needs_copy(const struct vma *src)
{
	if (src->flags & VM_WIPEONFORK)
		return false;
	return (src->flags & VM_PFNMAP) || src->anon_vma;
}

static void share_folio(struct folio *folio)
{
	__atomic_fetch_add(&folio->count, FOLIO_MAPPED, __ATOMIC_RELAXED);
	if (folio_flags(folio) & PG_ANON)
		folio_clear(folio, PG_EXCLUSIVE);
}

/* What the child gets for the parent's present entry; the parent's loses W if it must. */
static pte_t copy_present(struct fork_walk *fw, pte_t *src, pte_t pte)
{
	if (fw->cow && pte_write(pte)) {
		pte = pte_wrprotect(ptep_update(src, pte_wrprotect));
		fw->protected = true;
	}
	if (!fw->cow)
		pte = pte_mkclean(pte);		/* the parent's D records the dirt, once */
	return pte_mkold(pte);
}

static int copy_table(pte_t *src, gva_t start, gva_t end, struct mm_walk *walk)
{
	struct fork_walk *fw = walk->private;
	struct vellum_memory *m = walk->vma->mm->memory;
	struct mutex *ptl;
	pte_t *dst = NULL;

	for (gva_t addr = start; addr < end; addr += PAGE_SIZE, src++) {
		pte_t pte = ptep_get(src);

		if (!pte_present(pte))
			continue;
		if (!dst) {
			dst = pte_alloc(fw->child->mm, addr & PMD_MASK, &ptl);
			if (!dst)
				return -ENOMEM;
			mutex_lock(ptl, &m->host);
		}
		pte = copy_present(fw, src, pte);
		if (!pte_special(pte))
			share_folio(pfn_folio(m, pte_pfn(pte)));
		ptep_set(&dst[table_index(addr, PAGE_SHIFT)], pte);
		fw->nr_copied++;
	}
	if (dst)
		mutex_unlock(ptl, &m->host);
	return 0;
}

static const struct mm_walk_ops fork_walk_ops = { .pte_table = copy_table };

static int copy_vma(struct vma *src, struct vellum_mm *child, struct fork_walk *fw)
{
	uint32_t flags = src->flags & ~(VM_LOCKED | VM_LOCKONFAULT);	/* locks are not inherited */
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
	if (!vma_needs_copy(src))
		return 0;
	fw->child = vma;
	fw->cow = vma_is_cow(src);
	fw->nr_copied = 0;
	err = walk_vma_range(src, src->start, src->end, &fork_walk_ops, fw);
	mm_add_rss(child, fw->nr_copied);
	return err;
}

static int fork_once(struct vellum_mm *parent, struct vellum_mm **out)
{
	struct fork_walk fw = { .protected = false };
	struct vellum_flush_batch batch = { .full = false };
	struct vellum_mm *child;
	int err = vellum_mm_create(parent->memory, &child);

	if (err)
		return err;
	write_lock(&parent->mmap_lock, mm_host(parent));
	child->brk_start = parent->brk_start;
	child->brk = parent->brk;
	child->mmap_top = parent->mmap_top;
	child->memlock_limit = parent->memlock_limit;
	child->stack_limit = parent->stack_limit;
	notify_start(parent, VELLUM_NOTIFY_PROTECTION_PAGE, 0, TASK_SIZE);
	flush_window_open(parent);
	for (struct vma *vma = vma_first(parent); vma && !err; vma = vma_next(vma))
		err = copy_vma(vma, child, &fw);
	if (fw.protected) {
		batch.kinds = VELLUM_FLUSH_RIGHTS;
		batch.full = batch.all_frames = true;
	}
	flush_window_close(parent, &batch, 0, TASK_SIZE);
	notify_finish(parent, VELLUM_NOTIFY_PROTECTION_PAGE, 0, TASK_SIZE);
	write_unlock(&parent->mmap_lock, mm_host(parent));
	if (err) {
		vellum_mm_put(child);
		return err;
	}
	*out = child;
	return 0;
}

EXPORT int vellum_fork(struct vellum_mm *parent, struct vellum_mm **out)
{
	int err;

	do {
		err = fork_once(parent, out);
	} while (err == -ENOMEM && vellum_reclaim(parent->memory, RECLAIM_BATCH));
	return err;
}
