/* SPDX-License-Identifier: MIT */
/*
 * mm/frame/folio.h - RAM: frames, their metadata (folios), and struct vellum_memory. mm/mm.h has the lock order.
 *
 * Locking: the count and the flags of a folio change atomically. The folio's lock protects its content and identity
 * (the mapping or anon_vma, and the index). Before an anonymous page is mapped for the first time, no other thread
 * knows it, and no lock is needed. To allocate or free frames takes memory->lock, so it may be done with any lock
 * held but the leaves of the lock order; mapping->pages_lock is an exception. To free a page table also enters
 * memory->frame_refs.
 */
#ifndef MM_FRAME_FOLIO_H
#define MM_FRAME_FOLIO_H

#include "arch/x86/entry.h"
#include "lib/errnum.h"
#include "lib/lock.h"
#include "lib/radix.h"
#include "lib/tree.h"
#include "vellum/access.h"
#include "vellum/backing.h"
#include "vellum/dirty.h"
#include "vellum/mm.h"
#include "vellum/mmu.h"

#define MAX_ORDER	9

/* --- folios --- */

enum folio_flag {
	PG_USED = 1 << 0,	/* not in the free lists */
	PG_ANON = 1 << 1,	/* owner is an anon_vma; else a mapping, or none */
	PG_EXCLUSIVE = 1 << 2,	/* anonymous, with a sole owner: no other address space may map it */
	PG_DIRTY = 1 << 3,	/* newer than the backing's bytes; a page without a backing is always dirty */
	PG_UPTODATE = 1 << 4,
	PG_TABLE = 1 << 5,	/* a page table */
	PG_DEVICE = 1 << 6,	/* allocated to a driver: no folio semantics */
	PG_NEEDS_ZERO = 1 << 7,	/* in a free frame: has to be zeroed before use */
	PG_EXECUTED = 1 << 8,	/* a CPU may have decoded instructions from it */
	PG_ICACHE_STALE = 1 << 9, /* its bytes were replaced after CPUs may have decoded instructions from it */
	PG_SWAPCACHE = 1 << 11,	/* in the swap cache: has a slot; changes with folio->lock held (mm/swap/swap.h) */
	PG_LAZYFREE = 1 << 12,	/* MADV_FREE: dropped instead of swapped out, unless a store made it dirty again */
	PG_WRITING = 1 << 10,	/* not dirty, but writepage() has not yet written its bytes to the backing */
};

/* References and mappings share a word, so that fork needs one atomic operation for each page. */
#define FOLIO_REF	1ull
#define FOLIO_MAP	(1ull << 32)
#define FOLIO_ONE_MAPPING	(FOLIO_MAP | FOLIO_REF)	/* every mapping holds a reference */

#define NO_ORDER 0xff

/* Metadata of one frame. 32 bytes, because fork and the collectors read many of them in a row. */
struct folio {
	uint64_t count;		/* atomic: references (low half), mappings (high half) */
	uint16_t flags;		/* atomic: enum folio_flag */
	uint8_t order;		/* in the first frame of a free block or of an allocation; else NO_ORDER */
	union {
		struct mutex lock;	/* protects content and owner while a fault or a hook works on the page */
		struct mutex ptl;	/* page tables: protects the entries */
	};
	union {
		struct vellum_mapping *mapping;
		struct anon_vma *anon_vma;	/* holds a reference */
		struct folio *deposited;	/* next spare table (mm/table/huge.h); ptl of the chain's head */
	};
	union {
		/* In the mapping; of an anonymous page: vma_page_index() of its address; of a table: INV-SNAP-3. */
		pgoff_t index;
		struct {
			uint32_t next, prev;	/* free list: frame indices, memory->lock */
		};
	};
};

_Static_assert(sizeof(struct folio) == 32, "two to a cache line");

struct device_range {
	struct device_range *next;
	pfn_t first, nr;
	char *host;
};

/* --- memory --- */

struct vellum_memory {
	struct vellum_host_ops host_ops;	/* the embedder's, at the size known here */
	struct vellum_mmu_ops mmu_ops;
	struct host host;		/* its ops are host_ops */
	const struct vellum_mmu_ops *mmu;
	void *machine;
	char *ram;
	uint64_t nr_frames;		/* frames of RAM; below the hole a frame's number is its index */
	uint64_t hole_first, hole_nr;	/* from hole_first on, its number is its index plus hole_nr */
	struct folio *folios;		/* [nr_frames] */
	pfn_t zero_pfn;
	struct mutex lock;
	/* lock protects: */
	uint32_t free_head[MAX_ORDER + 1];	/* frame index + 1, 0: empty */
	uint64_t nr_free;
	uint64_t nr_ready;		/* frames from here on, whole 2 MiB, are free and in no list; atomic, changed with lock */
	pfn_t huge_zero_pfn;		/* first frame of the huge zero page (mm/table/huge_zero.c); 0: none. Read without the lock by a user */
	uint32_t huge_zero_users;	/* address spaces that keep it */
	uint8_t *committed;		/* for each 2 MiB: the host has backed it with memory */
	struct device_range *devices;	/* entries are added, never removed; read without the lock */
	struct vellum_mm *mms;
	struct vellum_mapping *mappings;
	uint32_t nr_mappings;
	struct mutex uffd_lock;		/* protects vellum_uffd->mm and the lists mm->uffds; a leaf */
	struct swap_state *swap;	/* mm/swap/swap.h; NULL until an area is added */
	/*
	 * First group: forks, MADV_COLLAPSE and frees of page tables. Second: reclaim's clock hand and fast pins,
	 * which take speculative references (mm/swap/reclaim.c).
	 */
	struct group_lock frame_refs;
	uint32_t has_lazyfree;		/* atomic: pages may be dropped unwritten: MADV_FREE or MAP_DROPPABLE was used */
	uint32_t nr_frozen_mappings;	/* atomic: of snapshots; a pin for writing of a mapping's page reports to trackers */
	uint32_t nr_migrating;		/* atomic: pages that have migration entries, or are about to */
	uint64_t clock_hand;		/* reclaim_lock: frame index */
	struct mutex reclaim_lock;	/* serializes threads that move the clock hand */
	struct vellum_device *private_devices;	/* mm/outside/device.h; lock */
	uint32_t max_map_count;		/* most VMAs of an address space; atomic, relaxed */
	bool exposed;			/* programs may write the page tables: mm/table/exposed.h */
};

static inline uint64_t pfn_index(const struct vellum_memory *m, pfn_t pfn)
{
	return pfn < m->hole_first ? pfn : pfn - m->hole_nr;
}

static inline pfn_t index_pfn(const struct vellum_memory *m, uint64_t index)
{
	return index < m->hole_first ? index : index + m->hole_nr;
}

static inline bool pfn_is_ram(const struct vellum_memory *m, pfn_t pfn)
{
	if (pfn >= m->hole_first && pfn < m->hole_first + m->hole_nr)
		return false;
	return pfn_index(m, pfn) < m->nr_frames;
}

static inline struct folio *pfn_folio(const struct vellum_memory *m, pfn_t pfn)
{
	return &m->folios[pfn_index(m, pfn)];
}

static inline pfn_t folio_pfn(const struct vellum_memory *m, const struct folio *folio)
{
	return index_pfn(m, (uint64_t)(folio - m->folios));
}

/* The host address of a frame of RAM. */
static inline void *frame_address(const struct vellum_memory *m, pfn_t pfn)
{
	return m->ram + (pfn_index(m, pfn) << PAGE_SHIFT);
}

static inline uint32_t folio_flags(const struct folio *folio)
{
	return __atomic_load_n(&folio->flags, __ATOMIC_RELAXED);
}

/* A thread that reads PG_ANON here also reads the anon_vma and index that were stored before the flag was set. */
static inline uint32_t folio_flags_acquire(const struct folio *folio)
{
	return __atomic_load_n(&folio->flags, __ATOMIC_ACQUIRE);
}

static inline void folio_set(struct folio *folio, uint32_t flag)
{
	if ((folio_flags(folio) & flag) != flag)
		__atomic_fetch_or(&folio->flags, (uint16_t)flag, __ATOMIC_RELEASE);
}

static inline void folio_clear(struct folio *folio, uint32_t flag)
{
	if (folio_flags(folio) & flag)
		__atomic_fetch_and(&folio->flags, (uint16_t)~flag, __ATOMIC_RELAXED);
}

/* The page has its content, so its bytes can be copied without its lock. */
static inline bool folio_is_uptodate(const struct folio *folio)
{
	return folio_flags_acquire(folio) & PG_UPTODATE;
}

/* A pin counts as 1024 references, as in Linux: few pages have so many besides the references of their mappings. */
#define FOLIO_PIN	(1024 * FOLIO_REF)

static inline bool count_maybe_pinned(uint64_t count)
{
	return (uint32_t)count - (uint32_t)(count >> 32) >= 1024;
}

static inline bool folio_maybe_pinned(const struct folio *folio)
{
	return count_maybe_pinned(__atomic_load_n(&folio->count, __ATOMIC_SEQ_CST));
}

/* Add @what to the count. False: the frame is free, or about to be freed. */
static inline bool folio_try_get(struct folio *folio, uint64_t what)
{
	uint64_t count;

	sched_point(SCHED_TLB, folio);	/* found without a lock: the frame may be freed or reused by now */
	count = __atomic_load_n(&folio->count, __ATOMIC_RELAXED);
	while (count && !__atomic_compare_exchange_n(&folio->count, &count, count + what, true, __ATOMIC_SEQ_CST,
						     __ATOMIC_RELAXED))
		;
	return count != 0;
}

static inline void folio_get(struct folio *folio)
{
	__atomic_fetch_add(&folio->count, FOLIO_REF, __ATOMIC_RELAXED);
}

/* Copy bytes that CPUs may store to meanwhile. Under TSan the copy is made of atomic accesses. */
static inline void copy_racy(void *to, const void *from, uint64_t n)
{
#ifdef VELLUM_TSAN
	uint8_t *t = to;
	const uint8_t *f = from;

	for (; n >= 8 && !(((uintptr_t)t | (uintptr_t)f) & 7); n -= 8, t += 8, f += 8)
		__atomic_store_n((uint64_t *)t, __atomic_load_n((const uint64_t *)f, __ATOMIC_RELAXED),
				 __ATOMIC_RELAXED);
	for (; n; n--)
		__atomic_store_n(t++, __atomic_load_n(f++, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
#else
	memcpy(to, from, n);
#endif
}

/* The page's bytes were changed by the library: CPUs drop instructions that they decoded from it. */
static inline void folio_bytes_changed(const struct vellum_memory *m, const struct folio *folio)
{
	if ((folio_flags(folio) & PG_EXECUTED) && m->mmu && m->mmu->sync_icache)
		m->mmu->sync_icache(m->machine, folio_pfn(m, folio));
}

/* The frame is about to become executable: CPUs drop instructions that they decoded from its old bytes. */
static inline void folio_prepare_exec(const struct vellum_memory *m, struct folio *folio)
{
	folio_set(folio, PG_EXECUTED);
	if ((folio_flags(folio) & PG_ICACHE_STALE) && m->mmu && m->mmu->sync_icache) {
		m->mmu->sync_icache(m->machine, folio_pfn(m, folio));
		folio_clear(folio, PG_ICACHE_STALE);	/* last: a thread that sees it clear runs the code */
	}
}

/* memory.c */
struct folio *folio_alloc(struct vellum_memory *m, unsigned order);	/* zeroed, one reference; or NULL */
void folio_split_block(struct folio *first);
struct folio *folio_alloc_raw(struct vellum_memory *m);	/* one frame, not zeroed, one reference; or NULL */
void folio_put_count(struct vellum_memory *m, struct folio *folio, uint64_t what);
static inline void folio_put(struct vellum_memory *m, struct folio *folio)
{
	folio_put_count(m, folio, FOLIO_REF);
}
void *pfn_host(struct vellum_memory *m, pfn_t pfn);	/* host address, of RAM or device memory; NULL: none */

#endif
