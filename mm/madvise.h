/* SPDX-License-Identifier: MIT */
/* mm/madvise.h - advice about a page-aligned range that is within user addresses. No lock held. 0 or a negative error. */
#ifndef MM_MADVISE_H
#define MM_MADVISE_H

#include "mm/mm.h"

int madvise_drop(struct vellum_mm *mm, gva_t start, gva_t end, int advice);	/* DONTNEED, DONTNEED_LOCKED, FREE */
int madvise_guard(struct vellum_mm *mm, gva_t start, gva_t end, int advice);	/* GUARD_INSTALL, GUARD_REMOVE */
int madvise_reclaim(struct vellum_mm *mm, gva_t start, gva_t end, int advice);	/* COLD, PAGEOUT */
int madvise_collapse(struct vellum_mm *mm, gva_t start, gva_t end);

#endif
