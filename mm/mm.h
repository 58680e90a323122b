/* SPDX-License-Identifier: MIT */
/*
 * mm/mm.h - the address space, and the lock order.
 *
 * Lock order, outermost first. Each lock may be held when a later one is taken:
 *
 *   tracker->collect_lock, mapping->collect_lock
 *				serializes the collections of a tracker, or those of the clean helper on a mapping
 *   mm->mmap_lock		VMAs of an address space and their fields (rwlock); a fork takes the child's inside the
 *				parent's
 *   mapping->invalidate_lock	for reading: to add a page to the mapping's cache; for writing: to change its size, and
 *				to keep pages out of the cache (rwlock)
 *   memory->reclaim_lock	the clock hand. Reclaim takes all locks below while it is held, folio->lock by trylock only
 *   folio->lock		a page's content and identity during fault and mkwrite. Two: only if no other thread waits
 *				for the second, which is a new page's
 *   device_page->lock		the same for a page in a device's memory (mm/outside/device.c)
 *   mapping->i_mmap_lock	which VMAs map the mapping (rwlock)
 *   anon_vma->lock		which VMAs may map its anonymous pages (rwlock)
 *   page-table lock (ptl)	the entries of one table, of any level that can hold a leaf. A PMD table's comes before a
 *				last-level table's (mm/space/collapse.c). Two of one level and address space: in order
 *				of the locks' addresses. A fork takes the child's inside the parent's.
 *   mapping->pages_lock, trackers->lock, tracker->lock, mm->notifier_lock, memory->lock, memory->uffd_lock, uffd->lock,
 *   swap_state->lock		leaves. None is taken while another of them is held, except tracker->lock under
 *				trackers->lock (read), and memory->lock under mapping->pages_lock
 *
 * Inside ptl, folio->lock is taken by trylock only.
 *
 * memory->frame_refs is a group lock (lib/lock.h) and has no fixed place in this order. The first group are forks,
 * MADV_COLLAPSE and frees of page tables. They enter it with locks from mmap_lock to ptl held, and take such locks
 * inside. The second group are fast pins and the clock hand, which may hold locks down to reclaim_lock. Inside, they
 * take no lock but memory->lock, so they leave soon.
 *
 * A flush may wait for CPUs while any of these locks is held. That cannot deadlock: the flush does not wait for a CPU
 * that handles a fault, and no CPU takes a core lock while it uses a translation.
 */
#ifndef MM_MM_H
#define MM_MM_H

#include "mm/frame/folio.h"

#define DEFAULT_MAX_MAP_COUNT 65530
#define MMAP_MIN_ADDR	0x10000ul
#define STACK_GUARD_GAP	(256 * PAGE_SIZE)
#define DEFAULT_STACK_LIMIT (8ull << 20)

struct vma;

/* The trackers of an address space or of a mapping. */
struct tracker_list {
	struct rwlock lock;	/* protects first and the links */
	struct vellum_tracker *first;
	uint32_t nr;		/* atomic: if it is 0, readers need not take the lock */
};

struct vellum_mm {
	struct vellum_memory *memory;
	uint32_t refs;			/* atomic */
	uint32_t tlb_flush_pending;	/* atomic: number of open flush windows (mm/table/tlb.h) */
	uint64_t cpumask;		/* atomic: CPUs on which the address space is active */
	pgd_t *pgd;
	pfn_t pgd_pfn;
	struct folio *machine_page;	/* mapped at TASK_SIZE, outside any VMA (vellum/mmu.h); or NULL */
	struct rwlock mmap_lock;
	/* mmap_lock protects these, up to stack_limit: */
	struct tree vmas;
	uint32_t nr_vmas;
	gva_t brk_start, brk;
	gva_t mmap_min_addr;	/* lowest fixed address */
	gva_t mmap_top;		/* upper bound of the search for a free range when mmap gets no address */
	uint64_t def_flags;	/* VM_LOCKED, VM_LOCKONFAULT: flags that each new VMA gets; atomic, also read unlocked */
	uint32_t mdwe;		/* VELLUM_MDWE_*; atomic, also read unlocked */
	uint64_t memlock_limit;	/* RLIMIT_MEMLOCK, in bytes */
	uint64_t stack_limit;	/* RLIMIT_STACK, in bytes: largest size of a VM_GROWSDOWN VMA that grows */
	struct tracker_list trackers;
	struct rwlock notifier_lock;
	struct notifier *notifiers;	/* notifier_lock; the test for NULL is atomic and needs no lock */
	uint64_t rss;			/* atomic: present entries; a huge leaf counts each of its pages */
	uint64_t swapped;		/* atomic: entries that name a slot of a swap area */
	struct vellum_uffd *uffds;	/* atomic pointer, changed under memory->uffd_lock: contexts of this mm */
	struct uffd_event *deferred_events;	/* mmap_lock for writing: mmap_write_unlock_and_deliver() delivers them */
	/*
	 * What UNCHANGED in an entry refers to: the frozen copy that this address space was restored to or frozen as
	 * last; NULL: none. mmap_lock for writing; its test for NULL is atomic and needs no lock.
	 */
	struct frozen_mm *base;
	bool vmas_changed;		/* mmap_lock for writing: a VMA changed since the last restore of a snapshot */
	bool keeps_huge_zero;		/* memory->lock; never cleared, so a test for true needs no lock */
	bool is_frozen;			/* a copy of a snapshot (mm/snapshot/snapshot.h): no CPU runs in it */
	uint32_t has_pinned;		/* atomic: a page of this mm was pinned at some time; never cleared */
	uint64_t counters[VELLUM_NR_COUNTERS];	/* atomic, relaxed */
	struct vellum_mm *next, *prev;	/* in memory->mms; memory->lock */
};

/* For functions that reach the address space through a VMA: the caller holds the mmap lock (lib/lock.h). */
static inline void mmap_assert_held(const struct vellum_mm *mm) ASSERTS_HELD_SHARED(&mm->mmap_lock)
{
	rwlock_assert_held(&mm->mmap_lock);
}

static inline void mmap_assert_write_held(const struct vellum_mm *mm) ASSERTS_HELD(&mm->mmap_lock)
{
	rwlock_assert_write_held(&mm->mmap_lock);
}

static inline bool is_user_range(gva_t addr, uint64_t len)
{
	return len && addr < TASK_SIZE && len <= TASK_SIZE - addr;
}

static inline void mm_count(struct vellum_mm *mm, enum vellum_counter counter)
{
	__atomic_fetch_add(&mm->counters[counter], 1, __ATOMIC_RELAXED);
}

static inline void mm_add_rss(struct vellum_mm *mm, int64_t pages)
{
	__atomic_fetch_add(&mm->rss, (uint64_t)pages, __ATOMIC_RELAXED);
}

static inline void mm_add_swapped(struct vellum_mm *mm, int64_t pages)
{
	__atomic_fetch_add(&mm->swapped, (uint64_t)pages, __ATOMIC_RELAXED);
}

static inline uint32_t max_map_count(const struct vellum_mm *mm)
{
	return __atomic_load_n(&mm->memory->max_map_count, __ATOMIC_RELAXED);
}

static inline const struct host *mm_host(const struct vellum_mm *mm)
{
	return &mm->memory->host;
}

#endif
