/* SPDX-License-Identifier: MIT */
/*
 * mm/space/collapse.c - MADV_COLLAPSE: replace 2 MiB of small pages by one huge page.
 *
 * Private memory: the mmap lock and the rmap locks are held for writing, so only CPUs and fast pins read the entries.
 * The entries are cleared and flushed, so a new pin finds no entry. Then the references of the pages are counted. If
 * there are none but the mappings', the bytes are copied and a leaf replaces the table. Else the entries are restored.
 * A page that another process maps, too, is copied as by a store. No process stores to it while it has two mappings.
 */
#include "mm/frame/rmap.h"
#include "mm/object/object.h"
#include "mm/space/space.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/table/tlb.h"
#include "mm/track/hooks.h"
#include "mm/vma.h"

struct collapse {
	struct vma *vma;
	gva_t addr;
	uint64_t *pmd;			/* the entry that points to the table */
	uint64_t *table;
	struct folio *table_folio;
	uint64_t old[PMD_PAGES];	/* the entries as they were */
};

/* 0 if the entry may become a part of a huge page; else a negative error. */
static int check_entry(const struct collapse *c, pte_t pte)
{
	const struct vellum_memory *m = c->vma->mm->memory;

	if (pte_is_uffd_wp(pte))
		return -EINVAL;
	if (pte_none(pte) || (pte_present(pte) && pte_special(pte)))	/* empty, or the zero page */
		return c->vma->uffd ? -EBUSY : 0;
	if (!pte_present(pte))
		return -EINVAL;
	return folio_flags(pte_folio(m, pte)) & PG_ANON ? 0 : -EINVAL;
}

static int check_table(const struct collapse *c)
{
	int err = 0;

	for (unsigned i = 0; i < PMD_PAGES && !err; i++)
		err = check_entry(c, pte_make(entry_load(&c->table[i])));
	return err;
}

/* Clear and flush all entries. ptl held. */
static void clear_table(struct collapse *c)
{
	struct vellum_flush_batch batch = { .size = sizeof(batch), .all_frames = true };

	for (unsigned i = 0; i < PMD_PAGES; i++)
		c->old[i] = entry_exchange(&c->table[i], 0);
	batch_add(&batch, c->addr, c->addr + PMD_SIZE, VELLUM_FLUSH_UNMAP);
	flush_batch(c->vma->mm, &batch);
}

static void put_table_back(struct collapse *c)
{
	for (unsigned i = 0; i < PMD_PAGES; i++)
		entry_store(&c->table[i], c->old[i]);
}

/* True: mappings have all references. */
static bool only_mapped(const struct folio *folio)
{
	uint64_t count = __atomic_load_n(&folio->count, __ATOMIC_SEQ_CST);

	return (uint32_t)count == count >> 32;
}

/* False if a page has another reference than those of mappings: it may be pinned, or be swapped out now. */
static bool all_only_mapped(const struct collapse *c)
{
	const struct vellum_memory *m = c->vma->mm->memory;

	for (unsigned i = 0; i < PMD_PAGES; i++) {
		pte_t pte = pte_make(c->old[i]);

		if (pte_present(pte) && !pte_special(pte) && !only_mapped(pte_folio(m, pte)))
			return false;
	}
	return true;
}

static void copy_pages(const struct collapse *c, struct folio *head)
{
	struct vellum_memory *m = c->vma->mm->memory;

	folio_split_block(head);
	for (unsigned i = 0; i < PMD_PAGES; i++) {
		pte_t pte = pte_make(c->old[i]);
		struct folio *folio = &head[i];

		if (pte_present(pte) && !pte_special(pte))
			copy_racy(frame_address(m, folio_pfn(m, folio)), pte_host(m, pte), PAGE_SIZE);
		folio->anon_vma = vma_anon(c->vma);
		anon_vma_get(folio->anon_vma);
		folio->index = vma_page_index(c->vma, c->addr + ((gva_t)i << PAGE_SHIFT));
		folio_set(folio, PG_ANON | PG_EXCLUSIVE | PG_UPTODATE | PG_DIRTY);
		__atomic_fetch_add(&folio->count, FOLIO_MAP, __ATOMIC_RELEASE);	/* ref: the allocation's */
	}
}

/* Replace the table by a leaf. The table becomes the leaf's deposit (INV-HUGE-1). */
static void put_leaf(struct collapse *c, struct folio *head)
{
	struct vellum_mm *mm = c->vma->mm;
	struct vellum_memory *m = mm->memory;
	struct vellum_flush_batch batch = { .size = sizeof(batch), .all_frames = true, .full = true, .kinds = VELLUM_FLUSH_TABLES };
	struct folio *above = table_folio(m, c->pmd);
	pmd_t pmd = pmd_mkdirty(pmd_mk(folio_pfn(m, head), c->vma->page_prot));
	int64_t nr_present = 0;

	if (c->vma->flags & VM_WRITE)
		pmd = pmd_mkwrite(pmd);
	entry_remove(c->pmd);
	flush_batch(mm, &batch);	/* after this no CPU walks the table */
	for (unsigned i = 0; i < PMD_PAGES; i++) {
		pte_t pte = pte_make(c->old[i]);

		nr_present += pte_present(pte);
		if (pte_present(pte) && !pte_special(pte))
			folio_put_count(m, pte_folio(m, pte), FOLIO_ONE_MAPPING);
	}
	c->table_folio->deposited = above->deposited;
	above->deposited = c->table_folio;
	entry_store(c->pmd, pmd.val);
	mm_add_rss(mm, (int64_t)PMD_PAGES - nr_present);
}

/* The page-table locks of the table and of the PMD table that points to it are held. */
static int collapse_locked(struct collapse *c)
{
	struct vellum_memory *m = c->vma->mm->memory;
	struct folio *head;
	int err = check_table(c);

	if (err)
		return err;
	head = folio_alloc(m, MAX_ORDER);
	if (!head)
		return -EBUSY;
	clear_table(c);
	if (!all_only_mapped(c)) {
		put_table_back(c);
		folio_put(m, head);
		return -EAGAIN;
	}
	copy_pages(c, head);
	put_leaf(c, head);
	return 0;
}

/* Find the last-level table. False: there is none. */
static bool find_table(struct collapse *c)
{
	struct vellum_mm *mm = c->vma->mm;
	struct vellum_memory *m = mm->memory;
	uint64_t val;

	c->pmd = table_entry_alloc(mm, c->addr, PMD_SHIFT);
	val = c->pmd ? entry_load(c->pmd) : 0;
	if (!(val & X86_PRESENT))
		return false;
	c->table = table_of(m, val);
	c->table_folio = entry_table_folio(m, val);
	return true;
}

/* The mmap lock and the rmap locks are held for writing. */
static int collapse_anon(struct vellum_mm *mm, struct vma *vma, gva_t addr) HOLDS(&mm->mmap_lock)
{
	struct collapse *c;
	int err = -EINVAL;

	if (huge_lookup(mm, addr, NULL))
		return 0;
	if (!vma->anon_vma)
		return -EINVAL;
	c = host_alloc(mm_host(mm), sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->vma = vma;
	c->addr = addr;
	if (find_table(c)) {
		group_enter_first(&mm->memory->frame_refs, mm_host(mm));	/* wait for fast pins */
		mutex_lock(&table_folio(mm->memory, c->pmd)->ptl, mm_host(mm));
		mutex_lock(&c->table_folio->ptl, mm_host(mm));
		err = collapse_locked(c);
		mutex_unlock(&c->table_folio->ptl, mm_host(mm));
		mutex_unlock(&table_folio(mm->memory, c->pmd)->ptl, mm_host(mm));
		group_leave_first(&mm->memory->frame_refs, mm_host(mm));
	}
	host_free(mm_host(mm), c, sizeof(*c));
	return err;
}

static bool has_table(struct vellum_mm *mm, gva_t addr)
{
	struct mutex *ptl;
	bool has;

	read_lock(&mm->mmap_lock, mm_host(mm));
	has = pte_lookup(mm, addr, &ptl) != NULL;
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return has;
}

/* Swap in the pages at [addr, addr + PMD_SIZE) by faults. Takes and drops the mmap lock; may sleep. 0 or -EAGAIN. */
static int swap_in_pages(struct vellum_mm *mm, gva_t addr)
{
	if (!has_table(mm, addr))
		return 0;
	for (gva_t at = addr; at < addr + PMD_SIZE; at += PAGE_SIZE) {
		struct mutex *ptl;
		const pte_t *ptep;
		bool out;

		read_lock(&mm->mmap_lock, mm_host(mm));
		ptep = pte_lookup(mm, at, &ptl);
		out = ptep && pte_is_genuine_swap(ptep_get(ptep)) && !pte_is_uffd_wp(ptep_get(ptep));
		read_unlock(&mm->mmap_lock, mm_host(mm));
		if (out && populate_range(mm, at, at + PAGE_SIZE, POPULATE_FOR_MMAP))
			return -EAGAIN;
	}
	return 0;
}

static bool may_be_huge(const struct vma *vma)
{
	return !(vma->flags & (VM_NOHUGEPAGE | VM_SPECIAL | VM_SHADOW_STACK | VM_GROWSDOWN | VM_EXEC)) &&
	       (vma->flags & VM_WRITE);
}

static int collapse_at(struct vellum_mm *mm, gva_t addr)
{
	struct vma *vma;
	int err = swap_in_pages(mm, addr);

	if (err)
		return err;
	write_lock(&mm->mmap_lock, mm_host(mm));
	vma = find_vma_intersection(mm, addr, addr + 1);
	if (!vma || vma->start > addr || vma->end < addr + PMD_SIZE) {
		err = -EINVAL;
	} else if (!may_be_huge(vma) || vma_is_tracked(vma)) {
		err = -EINVAL;
	} else if (vma_is_anonymous(vma)) {
		vma_lock_rmaps(vma);
		notify_start(mm, VELLUM_NOTIFY_CLEAR, addr, addr + PMD_SIZE);
		err = collapse_anon(mm, vma, addr);
		notify_finish(mm, VELLUM_NOTIFY_CLEAR, addr, addr + PMD_SIZE);
		vma_unlock_rmaps(vma);
	} else {
		err = mapping_has_missing(vma->mapping) && (vma->flags & VM_SHARED) ? shmem_collapse(vma, addr) : -EINVAL;
	}
	write_unlock(&mm->mmap_lock, mm_host(mm));
	return err;
}

/* Skip holes, and anonymous memory without a table: returns the address of the next candidate. */
static gva_t skip_empty(struct vellum_mm *mm, gva_t addr, gva_t end)
{
	const struct vma *vma;
	gva_t next = addr;

	read_lock(&mm->mmap_lock, mm_host(mm));
	vma = find_vma(mm, addr);
	if (!vma)
		next = end;
	else if (vma->start > addr)
		next = min_u64(vma->start, end);
	else if (vma_is_anonymous(vma))		/* but a collapse of shared memory allocates missing pages */
		next = skip_absent_tables(mm, addr, min_u64(vma->end, end));
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return next & PMD_MASK;
}

static bool is_mapped_somewhere(struct vellum_mm *mm, gva_t start, gva_t end)
{
	bool mapped;

	read_lock(&mm->mmap_lock, mm_host(mm));
	mapped = find_vma_intersection(mm, start, end);
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return mapped;
}

int madvise_collapse(struct vellum_mm *mm, gva_t start, gva_t end)
{
	gva_t first = (start + PMD_SIZE - 1) & PMD_MASK;
	int err = first + PMD_SIZE <= end ? 0 : -EINVAL, result;

	if (!is_mapped_somewhere(mm, start, end))
		return -ENOMEM;
	end &= PMD_MASK;
	for (gva_t addr = first, next; addr < end; addr = next) {
		if (host_killed(mm_host(mm)))
			return -EINTR;
		next = skip_empty(mm, addr, end);
		if (next > addr) {
			err = -EINVAL;
			continue;
		}
		next = addr + PMD_SIZE;
		result = collapse_at(mm, addr);
		if (result)
			err = result;
		if (result == -EBUSY)	/* no frames, or missing pages in a VMA that is registered with a userfaultfd */
			break;
	}
	return err;
}
