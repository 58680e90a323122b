/* SPDX-License-Identifier: MIT */
/* tests/unit/gup_support.h - pins and references of one page, and their results. */
#ifndef TESTS_UNIT_GUP_SUPPORT_H
#define TESTS_UNIT_GUP_SUPPORT_H

#include "file_support.h"
#include "vellum/gup.h"
#include "vellum/swap.h"

#define WRITE	 VELLUM_GUP_WRITE
#define FORCE	 VELLUM_GUP_FORCE
#define LONGTERM VELLUM_GUP_LONGTERM
#define FAST	 VELLUM_GUP_FAST_ONLY
#define PIN	 (1u << 31) /* a flag of these tests only: pin; else take a plain reference */
#define NO_PFN	 (~0ull)

/* One page by vellum_pin_pages() or vellum_get_pages(). */
static inline int gup_one(struct vellum_mm *mm, uint64_t addr, uint32_t flags, uint64_t *pfn)
{
	uint64_t done = 7;
	int err = (flags & PIN ? vellum_pin_pages : vellum_get_pages)(mm, addr, 1, flags & ~PIN, pfn, &done);

	assert_int_equal(done, err ? 0 : 1);
	return err;
}

static inline void give_one(struct vellum_memory *m, uint32_t flags, uint64_t pfn)
{
	(flags & PIN ? vellum_unpin_pages : vellum_put_pages)(m, &pfn, 1);
}

/* A pin that must succeed. */
static inline uint64_t pin(struct vellum_mm *mm, uint64_t addr, uint32_t flags)
{
	uint64_t pfn = NO_PFN;

	OK(gup_one(mm, addr, flags | PIN, &pfn));
	return pfn;
}

static inline void unpin(struct world *w, uint64_t pfn)
{
	vellum_unpin_pages(w->memory, &pfn, 1);
}

static inline void unpin_dirty(struct world *w, uint64_t pfn)
{
	vellum_unpin_pages_dirty(w->memory, &pfn, 1);
}

/* Try, undo on success, and return the error. */
static inline int try_gup(struct world *w, struct vellum_mm *mm, uint64_t addr, uint32_t flags)
{
	uint64_t pfn = NO_PFN;
	int err = gup_one(mm, addr, flags, &pfn);

	if (!err)
		give_one(w->memory, flags, pfn);
	check_world(w);
	return err;
}

static inline uint64_t *frame_words(struct world *w, uint64_t pfn)
{
	return vellum_frame_host(w->memory, pfn);
}

static inline uint32_t page_flags(struct world *w, uint64_t pfn)
{
	return folio_flags(pfn_folio(w->memory, pfn));
}

static inline bool is_own_page(struct world *w, uint64_t pfn)
{
	return (page_flags(w, pfn) & (PG_ANON | PG_EXCLUSIVE)) == (PG_ANON | PG_EXCLUSIVE);
}

static inline bool is_dirty_page(struct world *w, uint64_t pfn)
{
	return page_flags(w, pfn) & PG_DIRTY;
}

/* --- swap in host memory --- */

struct ram_swap {
	uint8_t (*slot)[4096];
	unsigned area;
};

static inline int ram_swap_write(void *ctx, uint64_t slot, const void *page)
{
	memcpy(((struct ram_swap *)ctx)->slot[slot], page, 4096);
	return 0;
}

static inline int ram_swap_read(void *ctx, uint64_t slot, void *page)
{
	memcpy(page, ((struct ram_swap *)ctx)->slot[slot], 4096);
	return 0;
}

static const struct vellum_swap_ops ram_swap_ops = {
	.size = sizeof(ram_swap_ops),
	.write = ram_swap_write,
	.read = ram_swap_read,
};

static inline void ram_swap_start(struct world *w, struct ram_swap *swap, uint64_t slots)
{
	swap->slot = malloc(slots * 4096);
	OK(vellum_swap_add(w->memory, &ram_swap_ops, swap, slots, &swap->area));
}

static inline void ram_swap_stop(struct world *w, struct ram_swap *swap)
{
	OK(vellum_swap_remove(w->memory, swap->area));
	free(swap->slot);
}

#endif
