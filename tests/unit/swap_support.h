/* SPDX-License-Identifier: MIT */
/* tests/unit/swap_support.h - a world with a swap area in memory that can fail; tests of entries. */
#ifndef TESTS_UNIT_SWAP_SUPPORT_H
#define TESTS_UNIT_SWAP_SUPPORT_H

#include "more_support.h"
#include "vellum/backing.h"
#include "vellum/gup.h"
#include "vellum/pagemap.h"
#include "vellum/swap.h"
#include "vellum/uffd.h"

#define DISK_SLOTS 4096

/* The hooks count atomically; @bugs counts what the core must never do. */
struct disk {
	uint8_t *bytes, *full;	/* full: 1 if the slot holds a page */
	uint64_t nr;
	unsigned writes, reads, bugs, area;
	int write_err, read_err;
	uint64_t bad_slot;	/* reads of this slot fail with @read_err; ~0: all reads */
	void (*on_write)(void *arg, uint64_t slot);	/* called before the bytes are copied */
	void (*after_write)(void *arg, uint64_t slot);
	void *arg;
};

static inline void disk_count(unsigned *counter)
{
	__atomic_add_fetch(counter, 1, __ATOMIC_RELAXED);
}

static inline int disk_write(void *ctx, uint64_t slot, const void *page)
{
	struct disk *d = ctx;

	disk_count(slot < d->nr ? &d->writes : &d->bugs);
	if (d->on_write)
		d->on_write(d->arg, slot);
	__atomic_store_n(&d->full[slot], 0, __ATOMIC_RELAXED);
	if (__atomic_load_n(&d->write_err, __ATOMIC_RELAXED))
		return d->write_err;
	memcpy(d->bytes + BYTES(slot), page, PAGE_SIZE);
	__atomic_store_n(&d->full[slot], 1, __ATOMIC_RELAXED);
	if (d->after_write)
		d->after_write(d->arg, slot);
	return 0;
}

static inline int disk_read(void *ctx, uint64_t slot, void *page)
{
	struct disk *d = ctx;

	disk_count(&d->reads);
	if (slot >= d->nr || !__atomic_load_n(&d->full[slot], __ATOMIC_RELAXED))
		disk_count(&d->bugs);
	if (d->read_err && (d->bad_slot == ~0ull || d->bad_slot == slot)) {
		memset(page, 0xee, PAGE_SIZE);	/* a failed read may leave any bytes */
		return d->read_err;
	}
	memcpy(page, d->bytes + BYTES(slot), PAGE_SIZE);
	return 0;
}

static inline void disk_free(void *ctx, uint64_t slot)
{
	struct disk *d = ctx;

	if (slot >= d->nr) {
		disk_count(&d->bugs);
		return;
	}
	memset(d->bytes + BYTES(slot), 0xdd, PAGE_SIZE);
	__atomic_store_n(&d->full[slot], 0, __ATOMIC_RELAXED);
}

static const struct vellum_swap_ops disk_ops = {
	.size = sizeof(disk_ops), .write = disk_write, .read = disk_read, .free = disk_free };

static inline void disk_create(struct disk *d, struct world *w, uint64_t nr)
{
	memset(d, 0, sizeof(*d));
	d->nr = nr;
	d->bad_slot = ~0ull;
	d->bytes = malloc(BYTES(nr));
	d->full = calloc(nr, 1);
	OK(vellum_swap_add(w->memory, &disk_ops, d, nr, &d->area));
}

static inline void disk_destroy(struct disk *d)
{
	assert_int_equal(d->bugs, 0);
	free(d->bytes);
	free(d->full);
}

/* The world of WORLD_TEST, and a disk. At the end everything is unmapped, and no slot may be in use. */
struct swap_world {
	struct world w;
	struct disk disk;
};

static inline uint64_t slots_used(struct world *w)
{
	struct vellum_swap_info info = { .size = sizeof(info) };

	vellum_swap_info(w->memory, &info);
	return info.nr_used;
}

static inline void swap_world_create(struct swap_world *sw, uint64_t ram, uint64_t slots)
{
	world_create(&sw->w, ram);
	disk_create(&sw->disk, &sw->w, slots);
}

static inline void swap_world_destroy(struct swap_world *sw)
{
	OK(vellum_munmap(sw->w.mm, MMAP_MIN_ADDR, VELLUM_TASK_SIZE - MMAP_MIN_ADDR));
	check_world(&sw->w);
	assert_int_equal(slots_used(&sw->w), 0);
	assert_int_equal(vellum_mm_swapped(sw->w.mm), 0);
	world_destroy(&sw->w);
	disk_destroy(&sw->disk);
}

static inline int swap_setup(void **state)
{
	struct swap_world *sw = malloc(sizeof(*sw));

	swap_world_create(sw, 16 << 20, DISK_SLOTS);
	*state = sw;
	return 0;
}

static inline int swap_teardown(void **state)
{
	swap_world_destroy(*state);
	free(*state);
	return 0;
}

#define SWAP_TEST(fn) cmocka_unit_test_setup_teardown(fn, swap_setup, swap_teardown)

static inline void pageout(struct vellum_mm *mm, unsigned at, unsigned pages)
{
	OK(vellum_madvise(mm, PAGE(at), BYTES(pages), VELLUM_MADV_PAGEOUT));
}

/* Reclaim all pages that can be reclaimed, shared ones too. */
static inline uint64_t reclaim_all(struct world *w)
{
	uint64_t freed = vellum_reclaim(w->memory, 100000);

	check_world(w);
	return freed;
}

static inline bool is_out(struct vellum_mm *mm, uint64_t addr)
{
	return pte_is_genuine_swap(entry_at(mm, addr));
}

static inline bool is_in(struct vellum_mm *mm, uint64_t addr)
{
	return pte_present(entry_at(mm, addr));
}

static inline uint32_t page_flags(struct world *w, uint64_t addr)
{
	pte_t pte = entry_at(w->mm, addr);

	assert_true(pte_present(pte));
	return folio_flags(pfn_folio(w->memory, pte_pfn(pte)));
}

static inline bool has_x(struct world *w, uint64_t addr)
{
	return page_flags(w, addr) & PG_EXCLUSIVE;
}

static inline uint64_t pagemap_word(struct vellum_mm *mm, uint64_t addr)
{
	uint64_t word;

	OK(vellum_pagemap_read(mm, addr, 1, 0, &word));
	return word;
}

static inline void clear_soft_dirty(struct vellum_mm *mm)
{
	OK(vellum_clear_refs(mm, VELLUM_CLEAR_REFS_SOFT_DIRTY));
}

/* --- write-protection by userfaultfd --- */

static inline struct vellum_uffd *new_uffd(struct vellum_mm *mm, uint64_t features)
{
	struct vellum_uffd *uffd;
	uint64_t supported, ioctls;

	OK(vellum_uffd_create(mm, VELLUM_UFFD_MAY_FORK, &uffd));
	OK(vellum_uffd_api(uffd, VELLUM_UFFD_API, features, &supported, &ioctls));
	return uffd;
}

static inline struct vellum_uffd *register_wp(struct vellum_mm *mm, unsigned at, unsigned pages,
					      uint64_t features)
{
	struct vellum_uffd *uffd = new_uffd(mm, features);
	uint64_t ioctls;

	OK(vellum_uffd_register(uffd, PAGE(at), BYTES(pages), VELLUM_UFFD_WP, &ioctls));
	return uffd;
}

static inline void wp(struct vellum_uffd *uffd, unsigned at, unsigned pages)
{
	OK(vellum_uffd_writeprotect(uffd, PAGE(at), BYTES(pages), VELLUM_UFFD_WRITEPROTECT_WP));
}

static inline void unwp(struct vellum_uffd *uffd, unsigned at, unsigned pages)
{
	OK(vellum_uffd_writeprotect(uffd, PAGE(at), BYTES(pages), 0));
}

/* Bits of a present entry, which tests combine. X: the page is exclusive. */
enum { BIT_W = 1, BIT_A = 2, BIT_D = 4, BIT_S = 8, BIT_U = 16, BIT_X = 32, NR_BITS = 64 };

static inline pte_t with_bits(pte_t pte, unsigned bits)
{
	pte = pte_clear_uffd_wp(pte_mkclean(pte_wrprotect(pte)));
	pte = bits & BIT_A ? pte_mkyoung(pte) : pte_mkold(pte);
	if (bits & BIT_W)
		pte = pte_mkwrite(pte);
	if (bits & BIT_D)
		pte = pte_mkdirty(pte);
	if (bits & BIT_U)
		pte = pte_mkuffd_wp(pte);
	return bits & BIT_S ? pte_mksoft_dirty(pte) : pte_clear_soft_dirty(pte);
}

#endif
