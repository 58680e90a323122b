/* SPDX-License-Identifier: MIT */
/*
 * mm/snapshot/verify.c - compare with the frozen state: everything, or what the last restore put back.
 *
 * It goes by VMAs and addresses, and compares bytes. It uses neither A, D nor UNCHANGED, so that it finds what a restore
 * missed.
 */
#include "lib/sized.h"
#include "mm/fault/fault.h"
#include "mm/snapshot/snapshot.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/uffd/uffd.h"
#include "vellum/access.h"

struct verify {
	const struct frozen_mm *frozen;
	char *buf;				/* two pages */
	struct vellum_snapshot_difference *diff;
	bool all;				/* else only what the last restore put back */
};

static int differs(const struct verify *v, enum vellum_snapshot_what what, gva_t addr)
{
	v->diff->what = what;
	v->diff->address = addr;
	return 1;
}

/* The entry for @addr, or the part of a huge leaf there; none if there is no table. */
static pte_t entry_at(struct vellum_mm *mm, gva_t addr)
{
	struct mutex *ptl;
	const pte_t *ptep = pte_find(mm, addr, &ptl);
	struct leaf leaf;
	uint64_t val;
	pte_t pte = pte_make(0);

	if (ptep)
		return ptep_get(ptep);
	if (huge_lock(mm, addr, &leaf, &val)) {
		pte = leaf_pte(mm->memory, val, leaf.shift, addr);
		huge_unlock(mm, &leaf);
	}
	return pte;
}

/* Bring a page back from a device. 0 or a negative error. */
static int fetch_page(struct vellum_mm *mm, gva_t addr)
{
	int err;

	read_lock(&mm->mmap_lock, mm_host(mm));
	err = vm_fault_errno(handle_mm_fault(find_vma(mm, addr), addr, 0, NULL), -EIO);
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return err == -EAGAIN ? 0 : err;
}

/* The bytes of a page that lie within the VMA's mapping. */
static uint64_t bytes_in_mapping(const struct vma *vma, gva_t addr)
{
	uint64_t size = vellum_mapping_size(vma->mapping), offset = vma_page_index(vma, addr) << PAGE_SHIFT;

	return offset < size ? min_u64(PAGE_SIZE, size - offset) : 0;
}

/* The private VMA's page at @addr as a load finds it. 0 or a negative error. */
static int read_page(struct vellum_mm *mm, const struct vma *vma, gva_t addr, char *buf)
{
	int found, err = 0;

	while ((found = vellum_peek(mm, addr, buf)) == -EBUSY && !err)
		err = fetch_page(mm, addr);
	if (err)
		return err;
	if (found)
		return found < 0 ? found : 0;
	memset(buf, 0, PAGE_SIZE);
	if (vma_is_anonymous(vma) || !bytes_in_mapping(vma, addr))
		return 0;
	return vellum_mapping_read(vma->mapping, vma_page_index(vma, addr) << PAGE_SHIFT, buf, bytes_in_mapping(vma, addr));
}

static bool is_private_page(const struct vma *vma, pte_t pte)
{
	const struct vellum_memory *m = vma->mm->memory;

	if (pte_present(pte) && pte_special(pte))	/* a userfaultfd can map the zero page instead of a mapping's */
		return pte_pfn(pte) == m->zero_pfn && !vma_is_anonymous(vma);
	if (pte_present(pte))
		return folio_flags(pte_folio(m, pte)) & PG_ANON;
	return pte_is_swp(pte) && !pte_is_marker(pte);
}

static bool is_soft_dirty(pte_t pte)
{
	return pte_present(pte) ? pte_soft_dirty(pte) : pte_is_swp(pte) && !pte_is_marker(pte) && pte_swp_soft_dirty(pte);
}

/* What entries say beside the bytes. */
static bool same_marks(const struct vma *vma, pte_t now, pte_t then)
{
	const unsigned kinds = MARKER_GUARD | MARKER_POISON;

	if ((pte_marker_bits(now) ^ pte_marker_bits(then)) & kinds)
		return false;
	if (vma_uffd_wp(vma) && pte_is_uffd_wp(now) != pte_is_uffd_wp(then))
		return false;
	if ((vma_flags(vma) & VM_MAYSHARE) || !vma_soft_dirty_enabled(vma))
		return true;
	if (vma->mapping && pte_none_or_wp_marker(then))
		return true;	/* it was the mapping's own page: not known */
	return is_soft_dirty(now) == is_soft_dirty(then);
}

static int verify_page(const struct verify *v, const struct vma *vma, gva_t addr)
{
	struct vellum_mm *mm = v->frozen->mm, *copy = v->frozen->copy;
	pte_t now = entry_at(mm, addr), then = entry_at(copy, addr);
	uint64_t len;
	int err;

	if (!same_marks(vma, now, then))
		return differs(v, VELLUM_SNAPSHOT_ENTRY, addr);
	if ((vma_flags(vma) & VM_MAYSHARE) || (!is_private_page(vma, now) && !is_private_page(vma, then)))
		return 0;	/* the mapping's bytes, zeros, or a device's */
	if (pte_present(now) && pte_present(then) && pte_pfn(now) == pte_pfn(then))
		return 0;
	if (pte_is_device_private(now) && pte_is_device_private(then) && pte_swp_pfn(now) == pte_swp_pfn(then))
		return 0;
	err = read_page(mm, vma, addr, v->buf);
	if (!err)
		err = read_page(copy, vma, addr, v->buf + PAGE_SIZE);
	if (err)
		return err;
	/* Of a mapping's own page, what is beyond the end of the mapping may be anything. */
	len = vma->mapping && pte_none_or_wp_marker(then) ? bytes_in_mapping(vma, addr) : PAGE_SIZE;
	return memcmp(v->buf, v->buf + PAGE_SIZE, len) ? differs(v, VELLUM_SNAPSHOT_BYTES, addr) : 0;
}

static int verify_pages(const struct verify *v, const struct vma *vma, gva_t start, gva_t end)
{
	int err = 0;

	for (gva_t addr = start; addr < end && !err; addr += PAGE_SIZE) {
		addr = min_u64(skip_absent_tables(v->frozen->mm, addr, end), skip_absent_tables(v->frozen->copy, addr, end));
		if (addr < end)
			err = verify_page(v, vma, addr);
	}
	return err;
}

static bool same_vma(const struct vma *vma, const struct vma *frozen)
{
	struct vellum_uffd *uffd;
	uint64_t flags = thawed_flags(frozen, vma->mm, &uffd);

	return vma->start == frozen->start && vma->end == frozen->end && vma->flags == flags && vma->uffd == uffd &&
	       vma->mapping == frozen->mapping && vma->pgoff == frozen->pgoff;
}

static int verify_vmas(const struct verify *v)
{
	const struct vma *vma = vma_first(v->frozen->mm), *frozen = vma_first(v->frozen->copy);

	while (vma && frozen && same_vma(vma, frozen)) {
		vma = vma_next(vma);
		frozen = vma_next(frozen);
	}
	if (!vma && !frozen)
		return 0;
	return differs(v, VELLUM_SNAPSHOT_VMA, !frozen || (vma && vma->start < frozen->start) ? vma->start : frozen->start);
}

static bool same_limits(const struct vellum_mm *a, const struct vellum_mm *b)
{
	return a->brk_start == b->brk_start && a->brk == b->brk && a->mmap_top == b->mmap_top &&
	       a->mmap_min_addr == b->mmap_min_addr &&
	       a->memlock_limit == b->memlock_limit && a->stack_limit == b->stack_limit &&
	       a->def_flags == b->def_flags && a->mdwe == b->mdwe;
}

/* A page that is in no VMA any more was put back by the VMAs' restore. */
static int verify_restored_pages(const struct verify *v)
{
	uint64_t page = 0, nr;
	int err = 0;

	while (!err && (nr = page_set_next_run(&v->frozen->restored, &page)))
		for (; nr-- && !err; page++) {
			const struct vma *vma;

			read_lock(&v->frozen->mm->mmap_lock, mm_host(v->frozen->mm));
			vma = find_vma_intersection(v->frozen->mm, page << PAGE_SHIFT, (page + 1) << PAGE_SHIFT);
			read_unlock(&v->frozen->mm->mmap_lock, mm_host(v->frozen->mm));
			if (vma)
				err = verify_page(v, vma, page << PAGE_SHIFT);
		}
	return err;
}

/* The address space's mmap lock is not held while pages are read, which takes it. */
static int verify_mm(const struct verify *v)
{
	struct vellum_mm *mm = v->frozen->mm;
	const struct vma *vma;
	int err;

	read_lock(&mm->mmap_lock, mm_host(mm));
	err = same_limits(mm, v->frozen->copy) ? verify_vmas(v) : differs(v, VELLUM_SNAPSHOT_LIMITS, 0);
	vma = vma_first(mm);
	read_unlock(&mm->mmap_lock, mm_host(mm));
	if (!err && !v->all && !v->frozen->all_restored)
		return verify_restored_pages(v);
	for (; vma && !err; vma = vma_next(vma))
		err = verify_pages(v, vma, vma->start, vma->end);
	return err;
}

static int verify_once(const struct vellum_snapshot *s, bool all, char *buf, struct vellum_snapshot_difference *diff)
{
	int err = 0;

	for (unsigned i = 0; i < s->nr_mappings && !err; i++) {
		diff->index = i;
		if (all || s->mappings[i].restored)
			err = verify_mapping(&s->mappings[i], buf, diff);
	}
	for (unsigned i = 0; i < s->nr_mms && !err; i++) {
		const struct verify v = { .frozen = &s->mms[i], .buf = buf, .diff = diff, .all = all };

		diff->index = i;
		err = verify_mm(&v);
	}
	return err;
}

static int verify(struct vellum_snapshot *snapshot, bool all, struct vellum_snapshot_difference *difference)
{
	const struct host *host = &snapshot->memory->host;
	struct vellum_snapshot_difference diff = { .what = VELLUM_SNAPSHOT_EQUAL };
	char *buf = host_alloc(host, 2 * PAGE_SIZE);
	unsigned tries = 0;
	int found, err;

	if (!buf)
		return -ENOMEM;
	mutex_lock(&snapshot->lock, host);
	all |= !snapshot->notes_restored || !snapshot->nr_restores;
	do {
		diff = (struct vellum_snapshot_difference){ .what = VELLUM_SNAPSHOT_EQUAL };
		found = verify_once(snapshot, all, buf, &diff);
	} while (found == -ENOMEM && reclaim_for_retry(snapshot->memory, &tries));
	mutex_unlock(&snapshot->lock, host);
	host_free(host, buf, 2 * PAGE_SIZE);
	if (found == 0)
		diff = (struct vellum_snapshot_difference){ .what = VELLUM_SNAPSHOT_EQUAL };
	err = difference && found >= 0 ? TO_CALLER(difference, &diff) : 0;
	return err ? err : found;
}

EXPORT int vellum_snapshot_verify(struct vellum_snapshot *snapshot, struct vellum_snapshot_difference *difference)
{
	return verify(snapshot, true, difference);
}

EXPORT int vellum_snapshot_verify_restored(struct vellum_snapshot *snapshot, struct vellum_snapshot_difference *difference)
{
	return verify(snapshot, false, difference);
}
