/* SPDX-License-Identifier: MIT */
/* mm/space/madvise.c - madvise(2): the call, and the advice that is about objects or flags. */
#include "mm/space/madvise.h"
#include "mm/uffd/uffd.h"

int advise_each(struct vellum_mm *mm, gva_t start, gva_t end, int advice, advise_fn fn)
{
	int hole = 0, err;

	for (gva_t next; start < end; start = next) {
		struct vma *vma = find_vma_intersection(mm, start, end);

		if (!vma)
			return -ENOMEM;
		if (vma->start > start)
			hole = -ENOMEM;
		start = max_u64(start, vma->start);
		next = min_u64(vma->end, end);
		err = fn(vma, start, next, advice, &next);
		if (err)
			return err;
	}
	return hole;
}

/* --- the objects behind the range --- */

struct part {
	struct vellum_mapping *mapping;	/* referenced, or NULL */
	uint64_t offset, len;
	gva_t end;
};

/* The VMA that @at lies in, or the next one below @end: then *@hole. mmap_lock is taken. */
static int get_part(struct vellum_mm *mm, gva_t at, gva_t end, int advice, struct part *part, bool *hole)
{
	struct vma *vma;
	int err = 0;

	*part = (struct part){ .end = end };
	read_lock(&mm->mmap_lock, mm_host(mm));
	vma = find_vma(mm, at);
	if (!vma || vma->start >= end) {
		err = -ENOMEM;
	} else {
		*hole |= vma->start > at;
		at = max_u64(at, vma->start);
		part->end = min_u64(vma->end, end);
		part->len = part->end - at;
		part->offset = vma_page_index(vma, at) << PAGE_SHIFT;
		if (vma->mapping && !(vma->flags & VM_PFNMAP)) {
			part->mapping = vma->mapping;
			vellum_mapping_get(part->mapping);
		}
		if (advice == VELLUM_MADV_REMOVE && (!part->mapping || (vma->flags & VM_LOCKED)))
			err = -EINVAL;
		else if (advice == VELLUM_MADV_REMOVE && !vma_shared_maywrite(vma))
			err = -EACCES;
		else if (advice == VELLUM_MADV_REMOVE)
			uffd_remove(vma, at, part->end, &err);
	}
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return err;
}

#define MAX_READ_AHEAD (32ull << 20)	/* bytes of one VMA; the advice may name a whole sparse file */

/* Read-ahead: errors are found again by whoever accesses the page. */
static void bring_in(struct vellum_mapping *mapping, uint64_t offset, uint64_t len)
{
	uint64_t last = min_u64(offset + min_u64(len, MAX_READ_AHEAD), page_align_up(vellum_mapping_size(mapping)));
	char byte;

	if (!mapping->ops || !mapping->ops->fault)
		return;
	for (; offset < last; offset += PAGE_SIZE)
		if (host_killed(&mapping->memory->host) || vellum_mapping_read(mapping, offset, &byte, 1))
			return;
}

static int advise_objects(struct vellum_mm *mm, gva_t start, gva_t end, int advice)
{
	bool hole = false;
	int err = 0;

	for (gva_t at = start; at < end && !err;) {
		struct part part;

		err = get_part(mm, at, end, advice, &part, &hole);
		if (!err && advice == VELLUM_MADV_REMOVE)
			err = vellum_mapping_punch_hole(part.mapping, part.offset, part.len);
		else if (!err && part.mapping)
			bring_in(part.mapping, part.offset, part.len);
		vellum_mapping_put(part.mapping);
		at = part.end;
	}
	return err ? err : hole ? -ENOMEM : 0;
}

/* --- flags --- */

static bool is_private_anonymous(const struct vma *vma)
{
	return vma_is_anonymous(vma) && !(vma->flags & VM_MAYSHARE);
}

/* The VMA's flags after the advice, or -EINVAL. */
static int64_t advised_flags(const struct vma *vma, int advice)
{
	uint64_t f = vma->flags;

	switch (advice) {
	case VELLUM_MADV_NORMAL:
		return (int64_t)(f & ~(VM_RAND_READ | VM_SEQ_READ));
	case VELLUM_MADV_RANDOM:
		return (int64_t)((f & ~VM_SEQ_READ) | VM_RAND_READ);
	case VELLUM_MADV_SEQUENTIAL:
		return (int64_t)((f & ~VM_RAND_READ) | VM_SEQ_READ);
	case VELLUM_MADV_DONTFORK:
		return (int64_t)(f | VM_DONTCOPY);
	case VELLUM_MADV_DOFORK:
		return (int64_t)(f & ~VM_DONTCOPY);
	case VELLUM_MADV_DONTDUMP:
		return (int64_t)(f | VM_DONTDUMP);
	case VELLUM_MADV_DODUMP:
		return f & VM_SPECIAL ? -EINVAL : (int64_t)(f & ~VM_DONTDUMP);
	case VELLUM_MADV_WIPEONFORK:
		return is_private_anonymous(vma) ? (int64_t)(f | VM_WIPEONFORK) : -EINVAL;
	case VELLUM_MADV_KEEPONFORK:
		return (int64_t)(f & ~VM_WIPEONFORK);
	case VELLUM_MADV_HUGEPAGE:
		return (int64_t)((f & ~VM_NOHUGEPAGE) | VM_HUGEPAGE);
	case VELLUM_MADV_NOHUGEPAGE:
		return (int64_t)((f & ~VM_HUGEPAGE) | VM_NOHUGEPAGE);
	default:	/* MERGEABLE, UNMERGEABLE: taken, nothing here depends on it */
		return (int64_t)f;
	}
}

/* mmap_lock held for writing. */
static int advise_flags(struct vellum_mm *mm, gva_t start, gva_t end, int advice)
{
	int hole = 0;

	while (start < end) {
		struct vma *vma = find_vma(mm, start);
		int64_t flags;
		gva_t next;

		if (!vma || vma->start >= end)
			return -ENOMEM;
		if (vma->start > start)
			hole = -ENOMEM;
		start = max_u64(start, vma->start);
		next = min_u64(vma->end, end);
		flags = advised_flags(vma, advice);
		if (flags < 0)
			return (int)flags;
		if (!vma_change_flags(vma, start, next, (uint64_t)flags))
			return mm->nr_vmas >= max_map_count(mm) ? -ENOMEM : -EAGAIN;
		start = next;
	}
	return hole;
}

/* --- the call --- */

static int advise(struct vellum_mm *mm, gva_t start, gva_t end, int advice)
{
	const struct host *host = mm_host(mm);
	int err;

	switch (advice) {
	case VELLUM_MADV_DONTNEED:
	case VELLUM_MADV_DONTNEED_LOCKED:
	case VELLUM_MADV_FREE:
		return madvise_drop(mm, start, end, advice);
	case VELLUM_MADV_COLD:
	case VELLUM_MADV_PAGEOUT:
		return madvise_reclaim(mm, start, end, advice);
	case VELLUM_MADV_COLLAPSE:
		return madvise_collapse(mm, start, end);
	case VELLUM_MADV_GUARD_INSTALL:
	case VELLUM_MADV_GUARD_REMOVE:
		return madvise_guard(mm, start, end, advice);
	case VELLUM_MADV_REMOVE:
	case VELLUM_MADV_WILLNEED:
		return advise_objects(mm, start, end, advice);
	case VELLUM_MADV_POPULATE_READ:
		return populate_range(mm, start, end, POPULATE_READ);
	case VELLUM_MADV_POPULATE_WRITE:
		return populate_range(mm, start, end, POPULATE_WRITE);
	default:
		write_lock(&mm->mmap_lock, host);
		err = advise_flags(mm, start, end, advice);
		write_unlock(&mm->mmap_lock, host);
		return err;
	}
}

static bool is_known(int advice)
{
	return (advice >= VELLUM_MADV_NORMAL && advice <= VELLUM_MADV_DONTNEED) ||
	       (advice >= VELLUM_MADV_FREE && advice <= VELLUM_MADV_COLLAPSE) ||
	       advice == VELLUM_MADV_GUARD_INSTALL || advice == VELLUM_MADV_GUARD_REMOVE;
}

EXPORT int vellum_madvise(struct vellum_mm *mm, uint64_t addr, uint64_t len, int advice)
{
	uint64_t size = page_align_up(len);

	if (!is_known(advice) || (addr & ~PAGE_MASK) || (len && !size) || addr + size < addr)
		return -EINVAL;
	if (!size)
		return 0;
	if (!user_range(addr, size))
		return -ENOMEM;
	return advise(mm, addr, addr + size, advice);
}
