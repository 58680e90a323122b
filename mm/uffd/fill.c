/* SPDX-License-Identifier: MIT */
/*
 * mm/uffd/fill.c - the ioctls that install pages, to resolve faults: COPY, ZEROPAGE, CONTINUE, POISON.
 *
 * For each page, the bytes are copied from user space first, without a lock. Then the VMA and the entry are looked up
 * again, and the page is installed. So VMAs that changed meanwhile need no special case.
 */
#include "mm/fault/fault.h"
#include "mm/object/object.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/track/hooks.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

struct fill {
	struct vellum_uffd *uffd;
	struct vellum_mm *mm;
	struct vellum_mm *from;		/* has the bytes in user space; NULL: @mm */
	gva_t start, len, addr;		/* the range; the current page */
	bool wp;			/* install the page write-protected */
	const void *buf;		/* the page's bytes; NULL: zeros */
	int (*install)(struct fill *fill, struct vma *vma);	/* the current page */
};

/* The entry of the address, locked; tables are allocated. NULL: no memory, or there is a huge leaf (-EEXIST). */
static pte_t *lock_entry(struct fill *fill, struct mutex **ptl, int *err) TRY_ACQUIRES(true, *ptl)
{
	pte_t *ptep = pte_alloc(fill->mm, fill->addr, ptl);

	if (!ptep) {
		*err = huge_lookup(fill->mm, fill->addr, NULL) ? -EEXIST : -ENOMEM;
		return NULL;
	}
	mutex_lock(*ptl, mm_host(fill->mm));
	return ptep;
}

/* None, or a marker that a page may replace. A guard may not be replaced. */
static bool may_overwrite(pte_t pte)
{
	return pte_none(pte) || (pte_is_marker(pte) && !(pte_marker_bits(pte) & MARKER_GUARD));
}

static pte_t filled_entry(const struct fill *fill, const struct vma *vma, pfn_t pfn, bool dirty, bool writable)
{
	pte_t pte = pte_mk(pfn, vma->page_prot);

	pte = dirty ? pte_mkdirty(pte) : pte_mksoft_dirty(pte);
	if (writable)
		pte = maybe_mkwrite(vma, pte);
	return fill->wp ? pte_mkuffd_wp(pte) : pte;
}

static int install_anon(struct fill *fill, struct vma *vma)
{
	struct vellum_memory *m = fill->mm->memory;
	struct folio *folio;
	struct mutex *ptl;
	pte_t *ptep;
	int err = 0;

	folio = folio_alloc_raw(m);
	if (!folio)
		return -ENOMEM;
	memcpy(frame_address(m, folio_pfn(m, folio)), fill->buf, PAGE_SIZE);
	ptep = lock_entry(fill, &ptl, &err);
	if (!ptep) {
		folio_put(m, folio);
		return err;
	}
	if (may_overwrite(ptep_get(ptep))) {
		track_change(vma, fill->addr);
		map_anon_folio(vma, fill->addr, ptep, folio, filled_entry(fill, vma, folio_pfn(m, folio), true, true));
	} else {
		err = -EEXIST;
	}
	mutex_unlock(ptl, &m->host);
	if (err)
		folio_put(m, folio);
	return err;
}

/*
 * Map a page of the mapping's page cache; the page is locked. Where the page has to be written back, the entry has no W:
 * the first store faults, and asks page_mkwrite().
 */
static int map_cached_page(struct fill *fill, struct vma *vma, struct folio *page)
{
	struct vellum_memory *m = fill->mm->memory;
	struct mutex *ptl;
	bool backed = vma->mapping->flags & VELLUM_MAPPING_WRITEBACK;
	pte_t *ptep, pte;
	int err = 0;

	ptep = lock_entry(fill, &ptl, &err);
	if (!ptep)
		return err;
	if (may_overwrite(ptep_get(ptep))) {
		pte = filled_entry(fill, vma, folio_pfn(m, page), !backed, !backed && (vma->flags & VM_SHARED));
		track_change(vma, fill->addr);	/* in all trackers, so W needs no track_grant() */
		__atomic_fetch_add(&page->count, FOLIO_ONE_MAPPING, __ATOMIC_RELAXED);
		prepare_exec(vma, page);
		ptep_set(ptep, pte);
		mm_add_rss(fill->mm, 1);
		if (!backed)
			folio_mark_dirty(page);
	} else {
		err = -EEXIST;
	}
	mutex_unlock(ptl, &m->host);
	return err;
}

static int install_shared(struct fill *fill, struct vma *vma)
{
	struct vellum_memory *m = fill->mm->memory;
	pgoff_t index = vma_page_index(vma, fill->addr);
	struct mutex *ptl;
	const pte_t *ptep = pte_alloc(fill->mm, fill->addr, &ptl);
	struct folio *page;
	int err;

	/* Do not add a page that cannot be mapped: a second try would find it. */
	if (!ptep)
		return huge_lookup(fill->mm, fill->addr, NULL) ? -EEXIST : -ENOMEM;
	if (!may_overwrite(ptep_get(ptep)))
		return -EEXIST;
	err = mapping_add_page(vma->mapping, index, fill->buf, &page);
	if (err)
		return err;
	err = map_cached_page(fill, vma, page);
	mutex_unlock(&page->lock, &m->host);
	folio_put(m, page);
	return err;
}

/* A private file VMA gets an anonymous page; the page cache is not changed. */
static int install_page(struct fill *fill, struct vma *vma)
{
	if (vma->mapping && vma_page_index(vma, fill->addr) >= mapping_nr_pages(vma->mapping))
		return -EFAULT;
	return vma->mapping && (vma->flags & VM_SHARED) ? install_shared(fill, vma) : install_anon(fill, vma);
}

/* --- ZEROPAGE, CONTINUE, POISON --- */

static int install_zeropage(struct fill *fill, struct vma *vma)
{
	struct vellum_memory *m = fill->mm->memory;
	struct mutex *ptl;
	pte_t *ptep;
	int err = 0;

	if (vma->mapping && (vma->flags & VM_SHARED))
		return install_page(fill, vma);
	if (vma->mapping && vma_page_index(vma, fill->addr) >= mapping_nr_pages(vma->mapping))
		return -EFAULT;
	ptep = lock_entry(fill, &ptl, &err);
	if (!ptep)
		return err;
	if (pte_none(ptep_get(ptep))) {
		track_change(vma, fill->addr);
		ptep_set(ptep, pte_mkspecial(pte_mk(m->zero_pfn, vma->page_prot)));
		mm_add_rss(fill->mm, 1);
	} else {
		err = -EEXIST;
	}
	mutex_unlock(ptl, &m->host);
	return err;
}

static int install_cached(struct fill *fill, struct vma *vma)
{
	struct vellum_memory *m = fill->mm->memory;
	struct vellum_vmf vmf = { .size = sizeof(vmf), .pgoff = vma->mapping ? vma_page_index(vma, fill->addr) : 0 };
	enum vm_fault fault;
	struct folio *page;
	int err;

	if (!vma->mapping || !mapping_has_missing(vma->mapping) || vmf.pgoff >= mapping_nr_pages(vma->mapping))
		return -EINVAL;
	do {
		if (!mapping_has_page(vma->mapping, vmf.pgoff))
			return -EFAULT;
		fault = mapping_get_folio(vma->mapping, &vmf, false, &page);
	} while (fault == VM_FAULT_AGAIN);	/* the page was removed meanwhile */
	if (fault)
		return vm_fault_errno(fault, -EFAULT);
	err = map_cached_page(fill, vma, page);
	mutex_unlock(&page->lock, &m->host);
	folio_put(m, page);
	return err;
}

static int install_poison(struct fill *fill, struct vma *vma)
{
	struct mutex *ptl;
	pte_t *ptep;
	int err = 0;

	if (vma->mapping && vma_page_index(vma, fill->addr) >= mapping_nr_pages(vma->mapping))
		return -EFAULT;
	ptep = lock_entry(fill, &ptl, &err);
	if (!ptep)
		return err;
	if (pte_none(ptep_get(ptep)))
		ptep_set(ptep, pte_marker(MARKER_POISON));
	else
		err = -EEXIST;
	mutex_unlock(ptl, mm_host(fill->mm));
	return err;
}

/* --- the loop over the pages --- */

/* The range lies in one registered VMA. mmap_lock held. */
static int find_target(const struct fill *fill, struct vma **out)
{
	struct vma *vma = find_vma_intersection(fill->mm, fill->start, fill->start + 1);

	if (!vma || fill->start + fill->len > vma->end || !vma->uffd)
		return -ENOENT;
	if (vma->mapping && !mapping_has_missing(vma->mapping))
		return -EINVAL;
	if (fill->wp && !vma_uffd_wp(vma))
		return -EINVAL;
	*out = vma;
	return 0;
}

static int fill_page(struct fill *fill)
{
	struct vellum_mm *mm = fill->mm;
	unsigned tries = 0;
	int err;

	do {
		struct vma *vma;

		read_lock(&mm->mmap_lock, mm_host(mm));
		err = uffd_changing(fill->uffd) ? -EAGAIN : find_target(fill, &vma);
		/* fork copies the entries of a private VMA only if the VMA has an anon_vma. */
		if (!err && !(vma->flags & VM_SHARED) && anon_vma_prepare(vma))
			err = -ENOMEM;
		if (!err)
			err = fill->install(fill, vma);
		read_unlock(&mm->mmap_lock, mm_host(mm));
	} while (err == -ENOMEM && reclaim_for_retry(mm->memory, &tries));
	return err == -ENOSPC ? -ENOMEM : err;	/* a full backing, for which reclaim is of no use */
}

/* Check the target before the copy from user space: the copy is slow, and is useless if the target is wrong. */
static int check_target(struct fill *fill)
{
	struct vma *vma;
	int err;

	read_lock(&fill->mm->mmap_lock, mm_host(fill->mm));
	err = uffd_changing(fill->uffd) ? -EAGAIN : find_target(fill, &vma);
	read_unlock(&fill->mm->mmap_lock, mm_host(fill->mm));
	return err;
}

/* @buf: the bytes; NULL: zeros. With @bounce, a buffer of one page, the bytes are read from @src in user space. */
static int fill_pages(struct fill *fill, gva_t src, const char *buf, void *bounce)
{
	int err = 0;

	for (uint64_t at = 0; at < fill->len && !err; at += PAGE_SIZE) {
		fill->addr = fill->start + at;
		if (host_killed(mm_host(fill->mm)))
			return -EINTR;
		fill->buf = buf ? buf + at : bounce;
		if (bounce)
			err = check_target(fill);
		if (bounce && !err)
			err = vellum_copy_from_user(fill->from ? fill->from : fill->mm, bounce, src + at, PAGE_SIZE, NULL);
		if (!err)
			err = fill_page(fill);
	}
	if (!err)
		fill->addr += PAGE_SIZE;
	return err;
}

static int check_range(const struct vellum_uffd *uffd, uint64_t start, uint64_t len, uint64_t mode, uint64_t known)
{
	if (!uffd_ready(uffd) || ((start | len) & ~PAGE_MASK) || !is_user_range(start, len) || (mode & ~known))
		return -EINVAL;
	return 0;
}

/* Wake the faults of the pages that were installed. *@result: how many bytes these are, or the error. */
static int finish(struct fill *fill, int err, bool wake, int64_t *result)
{
	uint64_t filled = fill->addr - fill->start;

	if (filled && wake)
		uffd_wake_range(fill->uffd, fill->start, fill->start + filled);
	if (result)
		*result = filled ? (int64_t)filled : err;
	return !err ? 0 : filled ? -EAGAIN : err;
}

static int run_fill(struct fill *fill, gva_t src, const char *buf, bool from_user, bool wake, int64_t *result)
{
	void *bounce = NULL;
	int err = 0;

	fill->mm = uffd_get_mm(fill->uffd);
	fill->addr = fill->start;
	if (!fill->mm) {
		if (result)
			*result = -ESRCH;
		return -ESRCH;
	}
	if (from_user) {
		bounce = host_alloc(mm_host(fill->mm), PAGE_SIZE);
		err = bounce ? 0 : -ENOMEM;
	}
	if (!err)
		err = fill_pages(fill, src, buf, bounce);
	host_free(mm_host(fill->mm), bounce, PAGE_SIZE);
	err = finish(fill, err, wake, result);
	vellum_mm_put(fill->mm);
	return err;
}

static int copy(struct vellum_uffd *uffd, uint64_t dst, struct vellum_mm *from, uint64_t src, const void *bytes,
		uint64_t len, uint64_t mode, int64_t *done)
{
	struct fill fill = {
		.uffd = uffd, .from = from, .start = dst, .len = len, .wp = mode & VELLUM_UFFD_COPY_WP,
		.install = install_page
	};
	int err = check_range(uffd, dst, len, mode, VELLUM_UFFD_COPY_DONTWAKE | VELLUM_UFFD_COPY_WP);

	if (!err && !bytes && (src + len < src || src + len > TASK_SIZE))
		err = -EINVAL;
	return err ? err : run_fill(&fill, src, bytes, !bytes, !(mode & VELLUM_UFFD_COPY_DONTWAKE), done);
}

EXPORT int vellum_uffd_copy(struct vellum_uffd *uffd, uint64_t dst, uint64_t src, const void *bytes, uint64_t len,
			    uint64_t mode, int64_t *done)
{
	return copy(uffd, dst, NULL, src, bytes, len, mode, done);
}

EXPORT int vellum_uffd_copy_from(struct vellum_uffd *uffd, uint64_t dst, struct vellum_mm *from, uint64_t src,
				 uint64_t len, uint64_t mode, int64_t *done)
{
	return copy(uffd, dst, from, src, NULL, len, mode, done);
}

EXPORT int vellum_uffd_zeropage(struct vellum_uffd *uffd, uint64_t start, uint64_t len, uint64_t mode, int64_t *done)
{
	struct fill fill = { .uffd = uffd, .start = start, .len = len, .install = install_zeropage };
	int err = check_range(uffd, start, len, mode, VELLUM_UFFD_COPY_DONTWAKE);

	return err ? err : run_fill(&fill, 0, NULL, false, !mode, done);
}

EXPORT int vellum_uffd_continue(struct vellum_uffd *uffd, uint64_t start, uint64_t len, uint64_t mode, int64_t *done)
{
	struct fill fill = { .uffd = uffd, .start = start, .len = len, .wp = mode & VELLUM_UFFD_CONTINUE_WP,
			     .install = install_cached };
	int err = check_range(uffd, start, len, mode, VELLUM_UFFD_CONTINUE_DONTWAKE | VELLUM_UFFD_CONTINUE_WP);

	return err ? err : run_fill(&fill, 0, NULL, false, !(mode & VELLUM_UFFD_CONTINUE_DONTWAKE), done);
}

EXPORT int vellum_uffd_poison(struct vellum_uffd *uffd, uint64_t start, uint64_t len, uint64_t mode, int64_t *done)
{
	struct fill fill = { .uffd = uffd, .start = start, .len = len, .install = install_poison };
	int err = check_range(uffd, start, len, mode, VELLUM_UFFD_COPY_DONTWAKE);

	return err ? err : run_fill(&fill, 0, NULL, false, !mode, done);
}
