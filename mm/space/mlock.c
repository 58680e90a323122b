/* SPDX-License-Identifier: MIT */
/* mm/space/mlock.c - mlock(2), mlockall(2), RLIMIT_MEMLOCK, and mincore(2). */
#include "mm/object/object.h"
#include "mm/space/space.h"
#include "mm/table/pagewalk.h"
#include "mm/vma.h"

#define LOCK_FLAGS (VM_LOCKED | VM_LOCKONFAULT)

static uint64_t locked_bytes(const struct vellum_mm *mm)
{
	uint64_t sum = 0;

	for (const struct vma *vma = vma_first(mm); vma; vma = vma_next(vma))
		sum += vma->flags & VM_LOCKED ? vma->end - vma->start : 0;
	return sum;
}

bool may_lock(const struct vellum_mm *mm, uint64_t len)
{
	uint64_t locked;

	if (mm->memlock_limit == ~0ull)
		return true;
	locked = locked_bytes(mm);
	return locked <= mm->memlock_limit && len <= mm->memlock_limit - locked;
}

EXPORT void vellum_set_limits(struct vellum_mm *mm, uint64_t memlock, uint64_t stack)
{
	write_lock(&mm->mmap_lock, mm_host(mm));
	mm->memlock_limit = memlock;
	mm->stack_limit = stack;
	write_unlock(&mm->mmap_lock, mm_host(mm));
}

/* Set the lock flags up to the first hole, which is -ENOMEM. mmap_lock held for writing. */
static int change_range(struct vellum_mm *mm, gva_t start, gva_t end, uint64_t set) HOLDS(&mm->mmap_lock)
{
	while (start < end) {
		struct vma *vma = find_vma(mm, start);
		gva_t next;

		if (!vma || vma->start > start)
			return -ENOMEM;
		next = min_u64(vma->end, end);
		if (!(vma->flags & (VM_SPECIAL | VM_DROPPABLE)) &&
		    !vma_change_flags(vma, start, next, (vma->flags & ~LOCK_FLAGS) | set))
			return -ENOMEM;
		start = next;
	}
	return 0;
}

/* Bytes of the range that are not locked yet. */
static uint64_t not_locked(const struct vellum_mm *mm, gva_t start, gva_t end)
{
	uint64_t sum = 0;

	for (const struct vma *vma = find_vma(mm, start); vma && vma->start < end; vma = vma_next(vma))
		if (!(vma->flags & VM_LOCKED))
			sum += min_u64(vma->end, end) - max_u64(vma->start, start);
	return sum;
}

/* The error of populate_range() as mlock(2) returns it. */
static int populate_error(int err)
{
	return err == -EAGAIN || err == -EINTR ? err : err ? -ENOMEM : 0;
}

/*
 * Round to whole pages, as Linux does. An empty range that does not start at a page border becomes one page. *@size is
 * 0 if nothing is left.
 */
static int round_range(uint64_t addr, uint64_t len, gva_t *start, uint64_t *size)
{
	*start = addr & PAGE_MASK;
	*size = page_align_up(len + (addr & ~PAGE_MASK));
	if (!*size)		/* as in Linux, also for a length that rounds up to 2^64 */
		return 0;
	if (*start + *size < *start)
		return -EINVAL;
	return 0;	/* the range may extend beyond TASK_SIZE, which is a hole to change_range() */
}

EXPORT int vellum_mlock(struct vellum_mm *mm, uint64_t addr, uint64_t len, uint32_t flags)
{
	uint64_t set = VM_LOCKED | (flags & VELLUM_MLOCK_ONFAULT ? VM_LOCKONFAULT : 0);
	gva_t start;
	uint64_t size;
	int err;

	if (flags & ~(uint32_t)VELLUM_MLOCK_ONFAULT)
		return -EINVAL;
	err = round_range(addr, len, &start, &size);
	if (err || !size)
		return err;
	write_lock(&mm->mmap_lock, mm_host(mm));
	if (!mm->memlock_limit)
		err = -EPERM;
	else if (!may_lock(mm, not_locked(mm, start, start + size)))
		err = -ENOMEM;
	else
		err = change_range(mm, start, start + size, set);
	write_unlock(&mm->mmap_lock, mm_host(mm));
	if (err || (flags & VELLUM_MLOCK_ONFAULT))
		return err;
	return populate_error(populate_range(mm, start, start + size, POPULATE_FOR_MMAP));
}

EXPORT int vellum_munlock(struct vellum_mm *mm, uint64_t addr, uint64_t len)
{
	gva_t start;
	uint64_t size;
	int err = round_range(addr, len, &start, &size);

	if (err || !size)
		return err;
	write_lock(&mm->mmap_lock, mm_host(mm));
	err = change_range(mm, start, start + size, 0);
	write_unlock(&mm->mmap_lock, mm_host(mm));
	return err;
}

/* Set the lock flags of all VMAs; none is split. mmap_lock held for writing. */
static void change_all(struct vellum_mm *mm, uint64_t set) HOLDS(&mm->mmap_lock)
{
	for (struct vma *vma = vma_first(mm); vma; vma = vma_next(vma))
		if (!(vma->flags & (VM_SPECIAL | VM_DROPPABLE)))
			vma = vma_change_flags(vma, vma->start, vma->end, (vma->flags & ~LOCK_FLAGS) | set);
}

/* As in Linux, a VMA that cannot be populated is skipped. */
static void populate_all(struct vellum_mm *mm)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	for (gva_t at = 0; vellum_vma_next(mm, at, &info) == 0; at = info.end)
		if (populate_range(mm, info.start, info.end, POPULATE_FOR_MMAP) == -EINTR)
			break;
}

EXPORT int vellum_mlockall(struct vellum_mm *mm, uint32_t flags)
{
	uint64_t set = VM_LOCKED | (flags & VELLUM_MCL_ONFAULT ? VM_LOCKONFAULT : 0);
	int err = 0;

	if (!flags || (flags & ~7u) || flags == VELLUM_MCL_ONFAULT)
		return -EINVAL;
	write_lock(&mm->mmap_lock, mm_host(mm));
	if (!mm->memlock_limit)
		err = -EPERM;
	else if ((flags & VELLUM_MCL_CURRENT) && !may_lock(mm, not_locked(mm, 0, TASK_SIZE)))
		err = -ENOMEM;
	if (!err)
		__atomic_store_n(&mm->def_flags, flags & VELLUM_MCL_FUTURE ? set : 0, __ATOMIC_RELAXED);
	if (!err && (flags & VELLUM_MCL_CURRENT))
		change_all(mm, set);
	write_unlock(&mm->mmap_lock, mm_host(mm));
	if (!err && (flags & VELLUM_MCL_CURRENT) && !(flags & VELLUM_MCL_ONFAULT))
		populate_all(mm);
	return err;
}

EXPORT int vellum_munlockall(struct vellum_mm *mm)
{
	write_lock(&mm->mmap_lock, mm_host(mm));
	__atomic_store_n(&mm->def_flags, 0, __ATOMIC_RELAXED);
	change_all(mm, 0);
	write_unlock(&mm->mmap_lock, mm_host(mm));
	return 0;
}

/* --- mincore --- */

struct mincore {
	gva_t start;
	uint8_t *vec;
};

static int mincore_pte(pte_t *ptep, gva_t addr, struct mm_walk *walk)
{
	const struct mincore *mc = walk->private;
	pte_t pte = ptep_get(ptep);

	if (pte_present(pte) || pte_is_migration(pte))
		mc->vec[(addr - mc->start) >> PAGE_SHIFT] = 1;
	return 0;
}

static int mincore_leaf(uint64_t *entry, gva_t start, gva_t end, unsigned shift, struct mm_walk *walk)
{
	const struct mincore *mc = walk->private;

	(void)entry, (void)shift;
	memset(&mc->vec[(start - mc->start) >> PAGE_SHIFT], 1, (end - start) >> PAGE_SHIFT);
	return 0;
}

static const struct mm_walk_ops mincore_walk_ops = { .huge_leaf = mincore_leaf, .pte = mincore_pte, .reads = true };

/* Pages in the mapping's cache count as resident, mapped or not. */
static void mincore_cached(const struct mincore *mc, const struct vma *vma, gva_t start, gva_t end)
{
	pgoff_t first = vma_page_index(vma, start), last = first + ((end - start) >> PAGE_SHIFT) - 1;
	struct folio *folio;

	if (!vma->mapping || (vma->flags & VM_PFNMAP))
		return;
	for (pgoff_t i = first; (folio = mapping_next(vma->mapping, &i, last, false)); i++) {
		if (folio_flags(folio) & PG_UPTODATE)
			mc->vec[((start - mc->start) >> PAGE_SHIFT) + i - first] = 1;
		folio_put(vma->mm->memory, folio);
	}
}

EXPORT int vellum_mincore(struct vellum_mm *mm, uint64_t addr, uint64_t len, uint8_t *vec)
{
	uint64_t size = page_align_up(len);
	struct mincore mc = { addr, vec };
	int err = 0;

	if (addr & ~PAGE_MASK)
		return -EINVAL;
	if (!len)
		return 0;
	if (size < len || !is_user_range(addr, size))
		return -ENOMEM;
	memset(vec, 0, size >> PAGE_SHIFT);
	read_lock(&mm->mmap_lock, mm_host(mm));
	for (gva_t at = addr, next; at < addr + size && !err; at = next) {
		struct vma *vma = find_vma(mm, at);

		next = vma ? min_u64(vma->end, addr + size) : at;
		if (!vma || vma->start > at) {
			err = -ENOMEM;
			break;
		}
		walk_vma_range(vma, at, next, &mincore_walk_ops, &mc);
		mincore_cached(&mc, vma, at, next);
	}
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return err;
}
