/* SPDX-License-Identifier: MIT */
/* mm/space/madvise.h - advice about a page-aligned range within user addresses. No lock held; 0 or a negative error. */
#ifndef MM_MADVISE_H
#define MM_MADVISE_H

#include "mm/mm.h"

/*
 * A part of one VMA. The lock may be dropped meanwhile: *@next is @end, or up to where it was done. 0 or an
 * error, which ends it.
 */
typedef int (*advise_fn)(struct vma *vma, gva_t start, gva_t end, int advice, gva_t *next);
/* All VMAs in the range; mmap_lock held. Also -ENOMEM, after the rest was done: parts are not mapped. */
int advise_each(struct vellum_mm *mm, gva_t start, gva_t end, int advice, advise_fn fn);

int madvise_drop(struct vellum_mm *mm, gva_t start, gva_t end, int advice);	/* DONTNEED, DONTNEED_LOCKED, FREE */
int madvise_guard(struct vellum_mm *mm, gva_t start, gva_t end, int advice);	/* GUARD_INSTALL, GUARD_REMOVE */
int madvise_reclaim(struct vellum_mm *mm, gva_t start, gva_t end, int advice);	/* COLD, PAGEOUT */
int madvise_collapse(struct vellum_mm *mm, gva_t start, gva_t end);

#endif
