/* SPDX-License-Identifier: MIT */
/*
 * mm/fork.c - copy an address space, private pages copy-on-write.
 *
 * The parent's mmap lock is held for writing until its stale writable translations are flushed:
 * no fault can copy a page meanwhile, and the child does not run yet.
 */
#include "mm/pagewalk.h"
#include "mm/table_edit.h"

#define PREFETCH 16	/* entries ahead */

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

/*
 * The child maps the page too. @alone: CPUs don't walk, so a reference to an anonymous page that has no
 * other comes from nowhere: its only entry's lock is held, and the mmap lock for writing. Whoever is to take
 * references from elsewhere (without both) has to be kept out by stop_walks, as CPUs are.
 */
static inline void share_folio(struct folio *folio, bool alone)
{
	uint32_t flags = folio_flags(folio);

	if (alone && (flags & PG_ANON) &&
	    __atomic_load_n(&folio->count, __ATOMIC_ACQUIRE) == FOLIO_MAPPED) {
		__atomic_store_n(&folio->count, 2 * FOLIO_MAPPED, __ATOMIC_RELAXED);
		__atomic_store_n(&folio->flags, (uint16_t)(flags & ~(uint32_t)PG_EXCLUSIVE), __ATOMIC_RELAXED);
		return;
	}
	__atomic_fetch_add(&folio->count, FOLIO_MAPPED, __ATOMIC_RELAXED);
	if (flags & PG_ANON)
		folio_clear(folio, PG_EXCLUSIVE);
}

/* The child's entry for the parent's present one; the parent's loses W if it must. */
static inline pte_t copy_present(struct fork_walk *fw, struct table_edit *ed, pte_t *src, pte_t pte)
{
	if (fw->cow && pte_write(pte)) {
		pte = pte_wrprotect(edit_entry(ed, src, pte_wrprotect));
		fw->protected = true;
	}
	if (!fw->cow)
		pte = pte_mkclean(pte);		/* the parent's D records the dirt, once */
	return pte_mkold(pte);
}

/* Metadata of the frame some entries ahead, if it has any. A wrong address does no harm. */
static inline void prefetch_folio(const struct vellum_memory *m, const pte_t *ahead)
{
	__builtin_prefetch(pfn_folio(m, pte_pfn(*ahead)), 1);
}

/* Both tables' locks are held. */
static void copy_entries(struct fork_walk *fw, struct table_edit *ed, pte_t *dst, unsigned nr)
{
	struct vellum_memory *m = ed->mm->memory;

	edit_begin(ed);
	for (unsigned i = 0; i < nr; i++) {
		pte_t pte = ptep_get(&ed->table[i]);

		if (i + PREFETCH < nr)
			prefetch_folio(m, &ed->table[i + PREFETCH]);
		if (!pte_present(pte))
			continue;
		pte = copy_present(fw, ed, &ed->table[i], pte);
		if (!pte_special(pte))
			share_folio(pfn_folio(m, pte_pfn(pte)), ed->alone);
		ptep_set(&dst[i], pte);
		fw->nr_copied++;
	}
	edit_done(ed);
}

static int copy_table(pte_t *src, gva_t start, gva_t end, struct mm_walk *walk)
{
	struct fork_walk *fw = walk->private;
	struct table_edit ed = edit_table(walk->vma->mm, NULL, src, start);
	unsigned nr = (unsigned)((end - start) >> PAGE_SHIFT), i = 0;
	struct mutex *ptl;
	pte_t *dst;

	while (i < nr && !pte_present(ptep_get(&src[i])))
		i++;
	if (i == nr)
		return 0;
	dst = pte_alloc(fw->child->mm, start, &ptl);
	if (!dst)
		return -ENOMEM;
	mutex_lock(ptl, mm_host(walk->vma->mm));
	copy_entries(fw, &ed, dst, nr);
	mutex_unlock(ptl, mm_host(walk->vma->mm));
	return 0;
}

static const struct mm_walk_ops fork_walk_ops = { .pte_table = copy_table };

static int copy_vma(struct vma *src, struct vellum_mm *child, struct fork_walk *fw)
{
	uint64_t flags = src->flags & ~(VM_LOCKED | VM_LOCKONFAULT);	/* locks are not inherited */
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
	unsigned tries = 0;
	int err;

	do {
		err = fork_once(parent, out);
	} while (err == -ENOMEM && reclaim_for_retry(parent->memory, &tries));
	return err;
}
