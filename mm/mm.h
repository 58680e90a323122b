/* SPDX-License-Identifier: MIT */
/*
 * mm/mm.h - the core's structures, and prototypes grouped by file.
 *
 * Lock order, outermost first; each may be held when the next is taken:
 *
 *   tracker->collect_lock, mapping->collect_lock	one collection of a tracker, or by the clean
 *					helper of a mapping, at a time
 *   mm->mmap_lock			VMAs of an address space and their fields (rwlock)
 *   mapping->invalidate_lock	no page enters the object's cache, its size stays (rwlock)
 *   folio->lock			a page's content and identity during fault and mkwrite
 *   mapping->i_mmap_lock		which VMAs map the object (rwlock)
 *   anon_vma->lock			which VMAs may map its anonymous pages (rwlock)
 *   page-table lock (ptl)		the entries of one last-level table; two tables: by address
 *   mapping->pages_lock, trackers->lock, tracker->lock, mm->notifier_lock, memory->lock
 *					leaves; none taken inside another of them, except
 *					trackers->lock (read) around tracker->lock
 *
 * A flush may wait for CPUs while any of these is held: a CPU inside a fault counts as outside,
 * and no CPU takes a core lock while it uses a translation.
 */
#ifndef MM_MM_H
#define MM_MM_H

#include "mm/table/exposed.h"

#define DEFAULT_MAX_MAP_COUNT 65530
#define MMAP_MIN_ADDR	0x10000ul
#define RECLAIM_BATCH	32	/* frames that a failed allocation asks for */
#define RECLAIM_TRIES	16	/* times that it asks */
#define STACK_GUARD_GAP	(256 * PAGE_SIZE)
#define DEFAULT_STACK_LIMIT (8ull << 20)

/* --- VMAs --- */

#define VM_READ		0x1ull
#define VM_WRITE	0x2ull
#define VM_EXEC		0x4ull
#define VM_ACCESS	(VM_READ | VM_WRITE | VM_EXEC)
#define VM_SHARED	0x8ull
#define VM_MAYREAD	0x10ull
#define VM_MAYWRITE	0x20ull
#define VM_MAYEXEC	0x40ull
#define VM_MAYSHARE	0x80ull
#define VM_GROWSDOWN	0x100ull
#define VM_UFFD_MISSING	0x200ull
#define VM_PFNMAP	0x400ull
#define VM_UFFD_WP	0x1000ull
#define VM_LOCKED	0x2000ull
#define VM_IO		0x4000ull
#define VM_SEQ_READ	0x8000ull
#define VM_RAND_READ	0x10000ull
#define VM_DONTCOPY	0x20000ull
#define VM_DONTEXPAND	0x40000ull
#define VM_LOCKONFAULT	0x80000ull
#define VM_NORESERVE	0x200000ull
#define VM_WIPEONFORK	0x2000000ull
#define VM_DONTDUMP	0x4000000ull
#define VM_SOFTDIRTY	0x8000000ull	/* everything counts as soft-dirty: no entry is watched */
#define VM_MIXEDMAP	0x10000000ull
#define VM_HUGEPAGE	0x20000000ull
#define VM_NOHUGEPAGE	0x40000000ull
#define VM_SHADOW_STACK	(1ull << 37)
#define VM_UFFD_MINOR	(1ull << 38)
#define VM_UFFD		(VM_UFFD_MISSING | VM_UFFD_WP | VM_UFFD_MINOR)
#define VM_SPECIAL	(VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP)

struct anon_vma {
	uint32_t refs;		/* atomic: VMAs and folios */
	struct rwlock lock;	/* protects the tree */
	struct tree vmas;	/* intervals of pages, of all VMAs of a family of forks */
};

struct vma {
	struct tree_node node;	/* in mm->vmas, by start */
	gva_t start, end;
	uint64_t gap;		/* bytes between the previous VMA's end and start */
	uint64_t max_gap;	/* of the subtree */
	struct vellum_mm *mm;
	uint64_t flags;		/* VM_*; atomic, since by-mapping walks read it without mmap_lock */
	uint64_t page_prot;	/* protection bits of a new entry */
	struct vellum_mapping *mapping;	/* NULL: private anonymous */
	pgoff_t pgoff;
	struct anon_vma *anon_vma;	/* atomic pointer, set once; NULL: no anonymous page yet */
	struct interval map_node;	/* in mapping->i_mmap, in pages */
	struct interval anon_node;	/* in anon_vma->vmas, in pages */
	uint64_t write_faults;		/* atomic */
	struct vellum_uffd *uffd;	/* registered with it, or NULL; holds a reference */
};

static inline uint64_t vma_flags(const struct vma *vma)
{
	return __atomic_load_n(&vma->flags, __ATOMIC_RELAXED);
}

static inline bool user_range(gva_t addr, uint64_t len)
{
	return len && addr < TASK_SIZE && len <= TASK_SIZE - addr;
}

static inline bool vma_is_cow(const struct vma *vma)
{
	return (vma_flags(vma) & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE;
}

static inline bool vma_shared_maywrite(const struct vma *vma)
{
	return (vma_flags(vma) & (VM_SHARED | VM_MAYWRITE)) == (VM_SHARED | VM_MAYWRITE);
}

/* Linux compiles soft-dirty tracking in or out; here a VMA is tracked once its flag was cleared. */
static inline bool vma_soft_dirty_enabled(const struct vma *vma)
{
	return !(vma_flags(vma) & VM_SOFTDIRTY);
}

static inline bool vma_uffd_wp(const struct vma *vma)
{
	return vma_flags(vma) & VM_UFFD_WP;
}

static inline bool vma_is_anonymous(const struct vma *vma)
{
	return !vma->mapping;
}

static inline pgoff_t vma_page_index(const struct vma *vma, gva_t addr)
{
	return vma->pgoff + ((addr - vma->start) >> PAGE_SHIFT);
}

static inline struct anon_vma *vma_anon(const struct vma *vma)
{
	return __atomic_load_n(&vma->anon_vma, __ATOMIC_ACQUIRE);
}

/* --- trackers' attachment --- */

struct tracker_list {
	struct rwlock lock;	/* protects first and the links */
	struct vellum_tracker *first;
	uint32_t nr;		/* atomic: lets the common case skip the lock */
};

/* --- objects that are mapped --- */

struct vellum_mapping {
	struct vellum_memory *memory;
	const struct vellum_backing_ops *ops;	/* NULL: zero-filled */
	void *ctx;
	uint64_t size;			/* atomic: bytes; changes with invalidate_lock held for writing */
	uint32_t flags;
	uint32_t refs;			/* atomic */
	uint32_t seals;			/* atomic: VELLUM_SEAL_*, set with i_mmap_lock held for writing */
	uint32_t maybe_dirty;		/* atomic: a page was marked dirty since the last whole writeback */
	int wb_error;			/* atomic: of a writeback that nobody has been told of, or 0 */
	struct mutex collect_lock;
	struct rwlock invalidate_lock;
	struct rwlock i_mmap_lock;
	uint32_t unmap_seq;		/* atomic: unmaps begun: a frame named by a hook before is asked for again */
	uint32_t wp_seq;		/* atomic: write-protections begun: a grant on its way asks again */
	struct tree i_mmap;		/* i_mmap_lock */
	struct mutex pages_lock;
	struct radix pages;		/* pages_lock: index to folio, one reference each */
	struct radix swapped;		/* pages_lock: index to slot, of shared memory: mm/object/shmem.c */
	struct tracker_list trackers;
	struct vellum_mapping *next, *prev;	/* memory->mappings, memory->lock */
};

/* Entries may map frames without a folio. */
#define MAPPING_RAW (VELLUM_MAPPING_PFN | VELLUM_MAPPING_MIXED | VELLUM_MAPPING_DEVMAP)

/* Shared memory: its bytes are nowhere but in its pages. */
static inline bool mapping_is_shmem(const struct vellum_mapping *mapping)
{
	return !(mapping->ops && mapping->ops->fault) && !(mapping->flags & (MAPPING_RAW | VELLUM_MAPPING_WRITEBACK));
}

/* Pages that the object has, the last one maybe in part. */
static inline uint64_t mapping_nr_pages(const struct vellum_mapping *mapping)
{
	return (__atomic_load_n(&mapping->size, __ATOMIC_SEQ_CST) + PAGE_SIZE - 1) >> PAGE_SHIFT;
}

/* Its entries' D is what tells that a page has to be written back. */
static inline bool vma_is_written_back(const struct vma *vma)
{
	return (vma_flags(vma) & VM_SHARED) && (vma->mapping->flags & VELLUM_MAPPING_WRITEBACK);
}

/* --- address spaces --- */

struct vellum_mm {
	struct vellum_memory *memory;
	uint32_t refs;			/* atomic */
	uint32_t tlb_flush_pending;	/* atomic: changes begun whose flush is not done */
	uint64_t cpumask;		/* atomic */
	pgd_t *pgd;
	pfn_t pgd_pfn;
	struct folio *machine_page;	/* at TASK_SIZE, in no VMA (vellum/mmu.h); or NULL */
	struct rwlock mmap_lock;
	/* mmap_lock protects: */
	struct tree vmas;
	uint32_t nr_vmas;
	gva_t brk_start, brk;
	gva_t mmap_top;		/* mappings without an address of their own end below */
	uint64_t def_flags;	/* VM_LOCKED, VM_LOCKONFAULT of mappings to come */
	uint64_t memlock_limit;	/* bytes that may be locked */
	uint64_t stack_limit;	/* bytes that a VM_GROWSDOWN mapping may grow to */
	struct tracker_list trackers;
	struct rwlock notifier_lock;
	struct vellum_notifier *notifiers;	/* notifier_lock; the pointer alone is atomic */
	uint64_t rss;			/* atomic: present entries, of huge leaves each page */
	uint64_t swapped;		/* atomic: entries that name a slot of a swap area */
	struct vellum_uffd *uffds;	/* atomic, changed with memory->uffd_lock: all that a VMA may name */
	struct uffd_event *kept_events;	/* mmap_lock, for writing: mmap_write_unlock() delivers them */
	uint32_t has_pinned;		/* atomic: some page of it was pinned once */
	uint64_t counters[VELLUM_NR_COUNTERS];	/* atomic, relaxed */
	struct vellum_mm *next, *prev;	/* memory->mms, memory->lock */
};

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

/* There is a tracker of the address space or of the object: it counts by page, so no huge entry comes in. */
static inline bool vma_is_tracked(const struct vma *vma)
{
	return __atomic_load_n(&vma->mm->trackers.nr, __ATOMIC_SEQ_CST) ||
	       (vma->mapping && __atomic_load_n(&vma->mapping->trackers.nr, __ATOMIC_SEQ_CST));
}

static inline uint32_t max_map_count(const struct vellum_mm *mm)
{
	return __atomic_load_n(&mm->memory->max_map_count, __ATOMIC_RELAXED);
}

static inline const struct host *mm_host(const struct vellum_mm *mm)
{
	return &mm->memory->host;
}

/* --- the gather: what has been taken away and not flushed yet --- */

#define GATHER_PAGES 128

struct tlb_gather {
	struct vellum_mm *mm;
	struct vellum_flush_batch batch;
	unsigned nr_pages;
	unsigned nr_tables;
	struct folio *pages[GATHER_PAGES];	/* a mapping's count each, dropped after the flush */
	struct folio *tables[GATHER_PAGES];
};

/* tlb.c */
void tlb_begin(struct tlb_gather *tlb, struct vellum_mm *mm);
void tlb_change(struct tlb_gather *tlb, gva_t addr, uint64_t size, uint32_t kind, pfn_t pfn);
void tlb_free_page(struct tlb_gather *tlb, struct folio *folio);
void tlb_free_table(struct tlb_gather *tlb, struct folio *folio);
void tlb_flush(struct tlb_gather *tlb);		/* now; the gather goes on */
void tlb_finish(struct tlb_gather *tlb);
void flush_page(struct vellum_mm *mm, gva_t addr, uint32_t kind, pfn_t pfn);
void batch_add(struct vellum_flush_batch *batch, gva_t start, gva_t end, uint32_t kind);
void batch_add_frame(struct vellum_flush_batch *batch, pfn_t pfn);
void flush_batch(struct vellum_mm *mm, const struct vellum_flush_batch *batch);
bool tlb_nested(const struct vellum_mm *mm);	/* somebody else's window is open too */
bool flush_is_pending(const struct vellum_mm *mm);	/* somebody's window is open */
/* Virtually indexed caches: before entries become read-only or clean that somebody then reads the pages of by frame. */
void flush_cache(struct vellum_mm *mm, gva_t start, gva_t end);
/* The machine wants an entry cleared and flushed before its rights are lowered (VELLUM_MMU_CLEAR_FLUSH). */
bool must_clear_flush(const struct vellum_mm *mm);
/* Its page-table lock is held: who finds it empty waits there, and then finds the new value. */
pte_t clear_and_flush(struct vellum_mm *mm, gva_t addr, pte_t *ptep);
/* Keep CPUs from walking the tables, for a moment. False: this machine can't. */
bool walks_stop(struct vellum_mm *mm);
void walks_resume(struct vellum_mm *mm);
/* A window without a gather: for what changes entries but frees nothing. */
void flush_window_open(struct vellum_mm *mm);
void flush_window_close(struct vellum_mm *mm, struct vellum_flush_batch *batch, gva_t start, gva_t end);

/* notifier.c */
void notify_start(struct vellum_mm *mm, enum vellum_notifier_event event, gva_t start, gva_t end);
void notify_finish(struct vellum_mm *mm, enum vellum_notifier_event event, gva_t start, gva_t end);
void notify_release(struct vellum_mm *mm);

/* pgtable.c: tables */
uint64_t *pgd_entry(struct vellum_mm *mm, gva_t addr);
pte_t *pte_lookup(struct vellum_mm *mm, gva_t addr, struct mutex **ptl);
pte_t *pte_alloc(struct vellum_mm *mm, gva_t addr, struct mutex **ptl);	/* NULL: no memory, or a huge leaf */
/* The first address in [addr, end) that a last-level table or a huge leaf covers; @end: none. mmap_lock held */
gva_t skip_absent_tables(struct vellum_mm *mm, gva_t addr, gva_t end);
/* The entry for @addr in a table of entries of 1 << @shift bytes each, tables made as required; NULL as above. */
uint64_t *table_entry_alloc(struct vellum_mm *mm, gva_t addr, unsigned shift);
/* [start, end) was unmapped and no VMA is left in [floor, ceiling): unlink tables only of that. */
void free_page_tables(struct tlb_gather *tlb, gva_t start, gva_t end, gva_t floor, gva_t ceiling);
/* vma.c: the tree of VMAs; touches no entry */
struct vma *find_vma(const struct vellum_mm *mm, gva_t addr);	/* first with end > addr */
struct vma *find_vma_intersection(const struct vellum_mm *mm, gva_t start, gva_t end);
struct vma *vma_first(const struct vellum_mm *mm);
struct vma *vma_next(const struct vma *vma);
struct vma *vma_prev(const struct vma *vma);
struct vma *vma_alloc(struct vellum_mm *mm, gva_t start, gva_t end, uint64_t flags,
		      struct vellum_mapping *mapping, pgoff_t pgoff);
void vma_free(struct vma *vma);
void vma_insert(struct vma *vma);
void vma_remove(struct vma *vma);		/* out of all trees */
void vma_lock_rmaps(struct vma *vma);		/* the mapping's and the anon_vma's, for writing */
void vma_unlock_rmaps(struct vma *vma);
void vma_set_range(struct vma *vma, gva_t start, gva_t end);	/* pgoff follows start */
int vma_split(struct vma *vma, gva_t addr);	/* vma keeps the lower part */
struct vma *vma_merge(struct vma *vma);		/* with its neighbours; what it became */
int vma_isolate(struct vellum_mm *mm, gva_t start, gva_t end);	/* split at the edges */
/* Flags that no entry depends on, of the part [start, end) of one VMA. What it became, or NULL */
struct vma *vma_change_flags(struct vma *vma, gva_t start, gva_t end, uint64_t flags);
gva_t find_gap(const struct vellum_mm *mm, uint64_t len, gva_t low, gva_t high); /* 0: none */
uint64_t vma_gap_below(const struct vma *vma);
void vma_update_prot(struct vma *vma);
void vma_describe(const struct vma *vma, struct vellum_vma_info *info);	/* for callers of the library */

/* The two questions about writes through a VMA (SPEC.md "Write notify"). */
/* Must somebody learn of every page that becomes dirty through the VMA? */
bool vma_needs_dirty_tracking(const struct vma *vma);
/* Must @prot, the VMA's full protection, lose W so that the first store to a page faults? */
bool vma_wants_writenotify(const struct vma *vma, uint64_t prot);

/* mmap.c */
/* mmap_lock held for writing; mmap_write_unlock() tells who wants to know. */
int do_munmap(struct vellum_mm *mm, gva_t start, uint64_t len);

/* mlock.c */
bool may_lock(const struct vellum_mm *mm, uint64_t len);	/* @len more bytes; mmap_lock held */

/* populate.c: fault pages in before anybody accesses them; no lock held */
enum populate_why {
	POPULATE_FOR_MPROTECT,	/* as FOR_MMAP, but nobody is waited for: a userfaultfd ends it */
	POPULATE_FOR_MMAP,	/* and mlock: a store's fault where private pages would be copied */
	POPULATE_READ,
	POPULATE_WRITE,
};
/* 0; -ENOMEM: a hole; -EINVAL: rights (READ, WRITE), device memory; -EFAULT: SIGBUS; -EAGAIN: no frames;
   -EINTR: the process is to end */
int populate_range(struct vellum_mm *mm, gva_t start, gva_t end, enum populate_why why);
static inline bool wants_populate(const struct vellum_mm *mm)
{
	return (__atomic_load_n(&mm->def_flags, __ATOMIC_RELAXED) & (VM_LOCKED | VM_LOCKONFAULT)) == VM_LOCKED;
}

/* stack.c: a VM_GROWSDOWN mapping grows down to @addr; no lock held. 0, or -EFAULT */
int grow_stack(struct vellum_mm *mm, gva_t addr);

/* fault.c; the rest of what a fault passes through is in mm/fault/fault.h */
enum fault_flag {
	FAULT_WRITE = 1,
	FAULT_POPULATE = 2,	/* nothing is accessed yet */
	FAULT_UNSHARE = 4,	/* a pin for reading: an anonymous page has to be the process's own */
	FAULT_USER = 8,		/* a CPU's access; else somebody's on the program's behalf */
};
struct uffd_wait;
/* mmap_lock held for reading. enum vellum_fault_result; or, with @wait, FAULT_WAIT (mm/fault/fault.h). */
int handle_mm_fault(struct vma *vma, gva_t addr, unsigned flags, struct uffd_wait *wait);
bool vma_permits(const struct vma *vma, uint32_t error);
int fault_anon_vma(struct vma *vma);	/* 0 or -ENOMEM */
/* A frame is about to become executable through an entry. */
void prepare_exec(struct vma *vma, struct folio *folio);

/* fault_around.c: the neighbours of a page that was just mapped for a load, if they are cached */
void fault_around(struct vma *vma, gva_t addr, pte_t *ptep, struct mutex *ptl);

/* Ask a driver before a page or frame becomes writable. 0 go on; FAULT_AGAIN; or a result */
int notify_mkwrite(struct vma *vma, gva_t addr, struct folio *folio, pfn_t pfn);

/* Newer than what its backing has; the object is told that there is something to write. */
static inline void folio_mark_dirty(struct folio *folio)
{
	struct vellum_mapping *mapping;

	folio_set(folio, PG_DIRTY);
	if (folio_flags(folio) & PG_ANON)
		return;
	/* After the flag: who clears the hint sees the page. */
	mapping = __atomic_load_n(&folio->mapping, __ATOMIC_RELAXED);
	if (mapping && !__atomic_load_n(&mapping->maybe_dirty, __ATOMIC_RELAXED))
		__atomic_store_n(&mapping->maybe_dirty, 1, __ATOMIC_RELEASE);
}

/* mapping.c */
/* The page, brought in if need be: locked and referenced. 0 or enum vellum_fault_result. */
int mapping_get_folio(struct vellum_mapping *mapping, struct vellum_vmf *vmf, struct folio **out);
struct folio *mapping_find(struct vellum_mapping *mapping, pgoff_t index);	/* referenced, or NULL */
/* The first cached page at *@index to @last, referenced: all, or those that the backing has not; or NULL. */
struct folio *mapping_next(struct vellum_mapping *mapping, pgoff_t *index, pgoff_t last, bool dirty);
/* The object has the page, in RAM or swapped out. */
bool mapping_has(struct vellum_mapping *mapping, pgoff_t index);
/* Into RAM, if it is swapped out; invalidate_lock held for writing. 0, -ENOMEM or -EIO */
int mapping_fetch_swapped(struct vellum_mapping *mapping, pgoff_t index);
/* A new page with these bytes (NULL: zeros), locked and referenced. 0; -EEXIST; -ENOMEM; -EFAULT: beyond the end */
int mapping_add_page(struct vellum_mapping *mapping, pgoff_t index, const void *bytes, struct folio **out);
/* All mappings of a memory, one after the other: referenced, @prev's reference is dropped. NULL: the end. */
struct vellum_mapping *mapping_after(struct vellum_memory *m, struct vellum_mapping *prev);
/* Out of the cache, if @wanted references are all there are; its lock is held. */
bool mapping_remove(struct vellum_mapping *mapping, struct folio *folio, uint64_t wanted);

/* writeback.c */
int folio_write(struct vellum_mapping *mapping, struct folio *folio);	/* if dirty; its lock is held */
/* reclaim.c */
/* There was no memory: cached pages were dropped, so that it is worth trying again. No lock held. */
bool reclaim_for_retry(struct vellum_memory *m, unsigned *tries);	/* *tries: 0 at first */

/* dirty.c: shared entries of the range lose W and D, the dirt goes to the folios; flushed */
void clean_mapping_range(struct vellum_mapping *mapping, pgoff_t first, uint64_t nr);
void clean_folio(struct vellum_mapping *mapping, struct folio *folio);	/* one page; its lock is held */

/* rmap.c */
struct anon_vma *anon_vma_create(const struct host *host);
void anon_vma_get(struct anon_vma *anon_vma);
void anon_vma_put(struct anon_vma *anon_vma, const struct host *host);
/*
 * Every (VMA, address) that may map @folio; the caller holds a reference, and the folio's lock
 * for a page of a mapping. @fn returns 0 to go on.
 */
int rmap_walk(struct vellum_memory *m, struct folio *folio,
	      int (*fn)(struct folio *folio, struct vma *vma, gva_t addr, void *arg), void *arg);

/* The same for an anonymous page that is known by its place only; @folio is passed on. */
int rmap_walk_anon(struct vellum_memory *m, struct anon_vma *anon_vma, pgoff_t index, struct folio *folio,
		   int (*fn)(struct folio *folio, struct vma *vma, gva_t addr, void *arg), void *arg);
/* Some VMA of these pages has one of @flags. i_mmap_lock is taken. */
bool is_mapped_with(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last, uint64_t flags);
/* The page that maps @addr, referenced; NULL: none with metadata. mmap_lock held; a huge leaf is split. */
struct folio *folio_mapped_at(struct vellum_mm *mm, gva_t addr);
/* The entry for the folio in @vma, its lock held; or NULL. A huge leaf is split for it. */
pte_t *lock_entry_of(struct vellum_memory *m, const struct folio *folio, struct vma *vma, gva_t addr,
		     struct mutex **ptl);

/* zap.c: remove entries; the VMA goes too, or stays */
void unmap_range(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end);
void zap_range(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end);
/* Only entries that map the object's own pages; private copies stay. */
void zap_mapping_range(struct tlb_gather *tlb, struct vma *vma, gva_t start, gva_t end);

/* mprotect.c */
bool can_make_writable(struct vma *vma, gva_t addr, pte_t pte);

/* tracker.c: the one hook that sees content change and write permission granted; ptl held */
void track_change(struct vma *vma, gva_t addr);	/* content changed, or D handed over */
void track_place(struct vma *vma, gva_t addr);	/* other content at the address, no object's changed */
void track_grant(struct vma *vma, gva_t addr);	/* W set in the entry */
/*
 * D was taken from the entries in @mask of those from @ptep on, at @addr: who writes their pages back, or
 * watches them by D (but for @except), is told.
 */
void hand_dirt_over(struct vma *vma, gva_t addr, const pte_t *ptep, uint64_t mask,
		    const struct vellum_tracker *except);
void track_object(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last); /* changed from outside */
bool wp_tracked(struct vma *vma, gva_t addr);	/* grant W only through a write fault */

#endif
