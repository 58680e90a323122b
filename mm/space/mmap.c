/* SPDX-License-Identifier: MIT */
/*
 * mm/space/mmap.c - create and destroy address spaces; mmap, munmap, brk, and counters.
 */
#include "lib/sized.h"
#include "mm/space/space.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/table/tlb.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"
#include "vellum/swap.h"

#define SEALS_WRITE (VELLUM_SEAL_WRITE | VELLUM_SEAL_FUTURE_WRITE)
#define LEGACY_MAP_FLAGS 0x7c07f9ffu	/* flags that are allowed with MAP_SHARED_VALIDATE */
#define FIXED_FLAGS	(VELLUM_MAP_FIXED | VELLUM_MAP_FIXED_NOREPLACE)
#define HUGE_SIZE(flags) ((flags) >> 26 & 63)	/* MAP_HUGE_SHIFT, MAP_HUGE_MASK: log2, or 0 for the usual size */
#define LOWER_HALF_END	(TASK_SIZE + PAGE_SIZE)	/* the page above TASK_SIZE is the machine page */

/* Map the machine page (vellum/mmu.h), if the machine needs one. 0 or -ENOMEM. */
static int machine_page_map(struct vellum_mm *mm)
{
	struct vellum_memory *m = mm->memory;
	uint64_t *entry;

	if (!m->mmu || !m->mmu->machine_page)
		return 0;
	mm->machine_page = folio_alloc(m, 0);
	if (!mm->machine_page)
		return -ENOMEM;
	folio_set(mm->machine_page, PG_DEVICE);
	entry = table_entry_alloc(mm, VELLUM_MACHINE_PAGE, PAGE_SHIFT);
	if (!entry)
		return -ENOMEM;
	m->mmu->machine_page(m->machine, frame_address(m, folio_pfn(m, mm->machine_page)));
	folio_prepare_exec(m, mm->machine_page);
	entry_store(entry, pte_mkspecial(pte_mk(folio_pfn(m, mm->machine_page),
						X86_PRESENT | X86_USER | X86_ACCESSED)).val);
	return 0;
}

/* No CPU runs in the address space any more, so no flush is needed. */
static void machine_page_unmap(struct vellum_mm *mm)
{
	struct mutex *ptl;
	pte_t *ptep;

	if (!mm->machine_page)
		return;
	ptep = pte_lookup(mm, VELLUM_MACHINE_PAGE, &ptl);
	if (ptep)
		ptep_get_and_clear(ptep);
	folio_put(mm->memory, mm->machine_page);
	mm->machine_page = NULL;
}

/* The limit up to which tables above the last VMA may be freed. The table of the machine page stays. */
static gva_t tables_end(const struct vellum_mm *mm)
{
	return mm->machine_page ? TASK_SIZE : LOWER_HALF_END;
}

/* Unmap everything with one gather. No thread has a reference any more, but rmap walks may still find the VMAs. */
static void exit_mmap(struct vellum_mm *mm)
{
	struct tlb_gather tlb;
	struct vma *vma;

	write_lock(&mm->mmap_lock, mm_host(mm));
	notify_release(mm);
	tlb_gather_begin(&tlb, mm);
	for (vma = vma_first(mm); vma; vma = vma_next(vma))
		unmap_range(&tlb, vma, vma->start, vma->end);
	while ((vma = vma_first(mm))) {
		vma_remove(vma);
		vma_free(vma);
	}
	machine_page_unmap(mm);
	free_page_tables(&tlb, 0, LOWER_HALF_END, 0, LOWER_HALF_END);
	tlb_gather_finish(&tlb);
	write_unlock(&mm->mmap_lock, mm_host(mm));
	uffd_detach_mm(mm);
}

static void mm_free(struct vellum_mm *mm)
{
	struct vellum_memory *m = mm->memory;

	huge_zero_put(mm);
	folio_put(m, pfn_folio(m, mm->pgd_pfn));
	host_free(&m->host, mm, sizeof(*mm));
}

EXPORT int vellum_mm_create(struct vellum_memory *memory, struct vellum_mm **out)
{
	struct vellum_memory *m = memory;
	struct vellum_mm *mm;
	struct folio *pgd;

	mm = host_alloc(&m->host, sizeof(*mm));
	if (!mm)
		return -ENOMEM;
	pgd = folio_alloc(m, 0);
	if (!pgd) {
		host_free(&m->host, mm, sizeof(*mm));
		return -ENOMEM;
	}
	folio_set(pgd, PG_TABLE);
	mm->memory = m;
	mm->refs = 1;
	mm->mmap_min_addr = MMAP_MIN_ADDR;
	mm->mmap_top = TASK_SIZE;
	mm->memlock_limit = ~0ull;
	mm->stack_limit = DEFAULT_STACK_LIMIT;
	mm->pgd_pfn = folio_pfn(m, pgd);
	mm->pgd = frame_address(m, mm->pgd_pfn);
	if (m->mmu && m->mmu->init_pgd)
		m->mmu->init_pgd(m->machine, &mm->pgd[USER_PGD_ENTRIES].val);
	if (machine_page_map(mm)) {
		exit_mmap(mm);
		mm_free(mm);
		return -ENOMEM;
	}
	mutex_lock(&m->lock, &m->host);
	mm->next = m->mms;
	if (mm->next)
		mm->next->prev = mm;
	m->mms = mm;
	mutex_unlock(&m->lock, &m->host);
	*out = mm;
	return 0;
}

EXPORT void vellum_mm_get(struct vellum_mm *mm)
{
	__atomic_fetch_add(&mm->refs, 1, __ATOMIC_RELAXED);
}

static void destroy_mm(struct vellum_mm *mm)
{
	struct vellum_memory *m = mm->memory;

	host_bug_on(&m->host, vellum_mm_cpumask(mm));
	exit_mmap(mm);
	mutex_lock(&m->lock, &m->host);
	if (mm->next)
		mm->next->prev = mm->prev;
	if (mm->prev)
		mm->prev->next = mm->next;
	else
		m->mms = mm->next;
	mutex_unlock(&m->lock, &m->host);
	mm_free(mm);
}

EXPORT void vellum_mm_put(struct vellum_mm *mm)
{
	if (mm && __atomic_sub_fetch(&mm->refs, 1, __ATOMIC_ACQ_REL) == 0)
		destroy_mm(mm);
}

/* --- munmap --- */

void unmap_vmas(struct vellum_mm *mm, gva_t start, gva_t end)
{
	struct vma *vma = find_vma_intersection(mm, start, end), *prev, *next;
	gva_t floor, ceiling;
	struct tlb_gather tlb;

	prev = vma_prev(vma);
	floor = prev ? prev->end : 0;
	tlb_gather_begin(&tlb, mm);
	notify_start(mm, VELLUM_NOTIFY_UNMAP, start, end);
	for (next = vma; next && next->start < end; next = vma_next(next))
		unmap_range(&tlb, next, next->start, next->end);
	/* Remove the VMAs from the rmap trees before tables are freed: walks by mapping do not hold the mmap lock. */
	while (vma && vma->start < end) {
		next = vma_next(vma);
		vma_remove(vma);
		vma_free(vma);
		vma = next;
	}
	ceiling = vma ? vma->start : tables_end(mm);
	free_page_tables(&tlb, start, end, floor, ceiling);
	tlb_gather_finish(&tlb);
	notify_finish(mm, VELLUM_NOTIFY_UNMAP, start, end);
}

int do_munmap(struct vellum_mm *mm, gva_t start, uint64_t len)
{
	gva_t end = start + page_align_up(len);

	if (!find_vma_intersection(mm, start, end))
		return 0;
	if (range_is_sealed(mm, start, end))
		return -EPERM;
	if (uffd_unmap_prepare(mm, start, end) || vma_split_range(mm, start, end))
		return -ENOMEM;
	unmap_vmas(mm, start, end);
	return 0;
}

EXPORT int vellum_munmap(struct vellum_mm *mm, uint64_t addr, uint64_t len)
{
	int err;

	if ((addr & ~PAGE_MASK) || !is_user_range(addr, page_align_up(len)))
		return -EINVAL;
	write_lock(&mm->mmap_lock, mm_host(mm));
	err = do_munmap(mm, addr, len);
	mmap_write_unlock_and_deliver(mm);
	return err;
}

/* --- mmap --- */

/* mmap(2): MAP_32BIT, MAP_ABOVE4G. */
#define MAP_32BIT_START	(1ull << 30)
#define MAP_32BIT_END	(2ull << 30)
#define ABOVE4G_START	(4ull << 30)

static uint32_t map_type(const struct vellum_map_args *a)
{
	return a->flags & VELLUM_MAP_TYPE;
}

static bool maps_shared(const struct vellum_map_args *a)
{
	return map_type(a) == VELLUM_MAP_SHARED || map_type(a) == VELLUM_MAP_SHARED_VALIDATE;
}

/* The errors that need no look at the address space. */
static int check_arguments(const struct vellum_map_args *a, uint64_t len)
{
	unsigned size = HUGE_SIZE(a->flags);

	if (!(a->flags & VELLUM_MAP_ANONYMOUS) && !a->mapping)
		return -EBADF;
	if ((a->flags & VELLUM_MAP_HUGETLB) && (a->mapping || (size && size != PMD_SHIFT && size != PUD_SHIFT)))
		return -EINVAL;
	if (!a->len)
		return -EINVAL;
	return !len || len > TASK_SIZE ? -ENOMEM : 0;
}

/* The errors of a fixed address. */
static int check_place(const struct vellum_mm *mm, const struct vellum_map_args *a, uint64_t len)
{
	if (!(a->flags & FIXED_FLAGS))
		return 0;
	if (!is_user_range(a->addr, len))
		return -ENOMEM;
	if (a->addr & (a->flags & VELLUM_MAP_HUGETLB ? PMD_SIZE - 1 : PAGE_SIZE - 1))
		return -EINVAL;
	if (a->addr < mm->mmap_min_addr)
		return -EPERM;
	if ((a->flags & VELLUM_MAP_FIXED_NOREPLACE) && find_vma_intersection(mm, a->addr, a->addr + len))
		return -EEXIST;
	return 0;
}

static int check_anonymous(const struct vellum_map_args *a)
{
	switch (map_type(a)) {
	case VELLUM_MAP_PRIVATE:
		return 0;
	case VELLUM_MAP_SHARED:
		return a->flags & VELLUM_MAP_GROWSDOWN ? -EINVAL : 0;
	case VELLUM_MAP_DROPPABLE:
		return a->flags & (VELLUM_MAP_GROWSDOWN | VELLUM_MAP_LOCKED) ? -EINVAL : 0;
	}
	return -EINVAL;
}

static int check_mapping(const struct vellum_map_args *a, uint64_t len)
{
	bool writes = maps_shared(a) && (a->prot & VELLUM_PROT_WRITE);
	bool on_disk = a->mapping && (a->mapping->flags & VELLUM_MAPPING_WRITEBACK);
	uint32_t known = LEGACY_MAP_FLAGS | (on_disk ? VELLUM_MAP_SYNC : 0);

	if (a->pgoff > MAX_MMAP_PAGES - (len >> PAGE_SHIFT))
		return -EOVERFLOW;
	if (map_type(a) == VELLUM_MAP_SHARED_VALIDATE && (a->flags & ~known))
		return -EOPNOTSUPP;
	if (!maps_shared(a) && map_type(a) != VELLUM_MAP_PRIVATE)
		return -EINVAL;
	if (!(a->file_prot & VELLUM_PROT_READ) || (writes && !(a->file_prot & VELLUM_PROT_WRITE)))
		return -EACCES;
	if (a->flags & VELLUM_MAP_GROWSDOWN)
		return -EINVAL;
	if (!a->mapping)
		return 0;		/* hugetlbfs */
	if (writes && (vellum_mapping_seals(a->mapping) & SEALS_WRITE))
		return -EPERM;
	return on_disk && (a->flags & VELLUM_MAP_SYNC) ? -EOPNOTSUPP : 0;
}

/* SPEC.md "Flags of a VMA". */
static uint64_t flags_of(const struct vellum_map_args *a)
{
	uint64_t flags = a->prot | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC | VM_SOFTDIRTY;

	if (maps_shared(a)) {
		flags |= VM_SHARED | VM_MAYSHARE;
		if (!(a->flags & VELLUM_MAP_ANONYMOUS) && !(a->file_prot & VELLUM_PROT_WRITE))
			flags &= ~(VM_SHARED | VM_MAYWRITE);
		if (a->mapping && (vellum_mapping_seals(a->mapping) & SEALS_WRITE))
			flags &= ~VM_MAYWRITE;
	}
	if (a->flags & VELLUM_MAP_GROWSDOWN)
		flags |= VM_GROWSDOWN;
	if (a->flags & VELLUM_MAP_LOCKED)
		flags |= VM_LOCKED;
	if (a->flags & VELLUM_MAP_NORESERVE)
		flags |= VM_NORESERVE;
	if (a->flags & VELLUM_MAP_STACK)
		flags |= VM_NOHUGEPAGE;
	if (map_type(a) == VELLUM_MAP_DROPPABLE)
		flags |= VM_DROPPABLE | VM_NORESERVE | VM_WIPEONFORK | VM_DONTDUMP;
	if (a->mapping && (a->mapping->flags & MAPPING_RAW) && !(a->mapping->flags & VELLUM_MAPPING_DEVMAP))
		flags |= a->mapping->flags & VELLUM_MAPPING_MIXED ? VM_MIXEDMAP : VM_PFNMAP;
	return flags;
}

bool hint_is_free(const struct vellum_mm *mm, gva_t hint, uint64_t len)
{
	const struct vma *next;

	if (hint < MMAP_MIN_ADDR || !is_user_range(hint, len))
		return false;
	next = find_vma(mm, hint);
	return !next || next->start >= hint + len + (next->flags & VM_GROWSDOWN ? STACK_GUARD_GAP : 0);
}

/* Choose the new VMA's address. 0, or the error of a fixed address, or -ENOMEM: no gap. */
static int choose_address(const struct vellum_mm *mm, const struct vellum_map_args *a, uint64_t len, gva_t *addr)
{
	gva_t hint = a->addr & PAGE_MASK, low = MMAP_MIN_ADDR, high = mm->mmap_top;

	if (a->flags & FIXED_FLAGS) {
		*addr = a->addr;
		return check_place(mm, a, len);
	}
	if (a->flags & VELLUM_MAP_32BIT) {
		low = MAP_32BIT_START;
		high = MAP_32BIT_END;
	} else if (a->flags & VELLUM_MAP_ABOVE4G) {
		low = ABOVE4G_START;
	}
	if (hint)
		hint = max_u64(hint, MMAP_MIN_ADDR);
	if (hint_is_free(mm, hint, len) && (!(a->flags & VELLUM_MAP_32BIT) || hint + len <= high))
		*addr = hint;
	else
		*addr = find_gap(mm, len, low, high);
	return *addr ? 0 : -ENOMEM;
}

/* As Linux's heuristic mode: refuse one VMA that is larger than RAM and swap together. */
static bool overcommits(const struct vellum_mm *mm, uint64_t flags, uint64_t len)
{
	struct vellum_swap_info swap = { .size = sizeof(swap) };

	if ((flags & (VM_SHARED | VM_MAYSHARE | VM_WRITE | VM_NORESERVE)) != VM_WRITE ||
	    len >> PAGE_SHIFT <= mm->memory->nr_frames)
		return false;
	vellum_swap_info(mm->memory, &swap);
	return len >> PAGE_SHIFT > mm->memory->nr_frames + swap.nr_slots;
}

/* @more: VM_* flags that have no VELLUM_MAP_* flag. As do_munmap() for the unlock. */
static int do_mmap_with_flags(struct vellum_mm *mm, const struct vellum_map_args *a, struct vellum_mapping *mapping,
			  uint64_t len, uint64_t more, gva_t *addr) HOLDS(&mm->mmap_lock)
{
	uint64_t flags = flags_of(a) | mm->def_flags | more;
	struct vma *vma;
	pgoff_t pgoff;
	gva_t at;
	int err;

	if (mm->nr_vmas >= max_map_count(mm))
		return -ENOMEM;
	err = choose_address(mm, a, len, &at);
	if (!err && (flags & VM_LOCKED) && !may_lock(mm, len))
		err = (a->flags & VELLUM_MAP_LOCKED) && !mm->memlock_limit ? -EPERM : -EAGAIN;
	if (!err)
		err = a->mapping || (a->flags & VELLUM_MAP_HUGETLB) ? check_mapping(a, len) : check_anonymous(a);
	if (!err && mdwe_forbids(mm, flags, flags))
		err = -EACCES;
	if (!err && ((a->flags & VELLUM_MAP_HUGETLB) || overcommits(mm, flags, len)))
		err = -ENOMEM;
	if (!err && (a->flags & VELLUM_MAP_FIXED))
		err = do_munmap(mm, at, len);
	if (err)
		return err;
	*addr = at;
	if (flags & VM_DROPPABLE) {
		flags &= ~(VM_LOCKED | VM_LOCKONFAULT);	/* although mlockall(MCL_FUTURE) counts it */
		__atomic_store_n(&mm->memory->has_lazyfree, 1, __ATOMIC_RELAXED);
	}
	pgoff = a->flags & VELLUM_MAP_ANONYMOUS ? (mapping ? 0 : *addr >> PAGE_SHIFT) : a->pgoff;
	vma = vma_alloc(mm, *addr, *addr + len, flags, mapping, pgoff);
	if (!vma)
		return -ENOMEM;
	vma_insert(vma);
	/*
	 * vellum_mapping_add_seals() holds i_mmap_lock. Either it runs after vma_insert() and finds the VMA in i_mmap,
	 * or its seal is seen here.
	 */
	if (mapping && vma_shared_maywrite(vma) && (vellum_mapping_seals(mapping) & SEALS_WRITE)) {
		do_munmap(mm, *addr, len);
		return -EPERM;
	}
	vma_merge(vma);
	return 0;
}

static int do_mmap(struct vellum_mm *mm, const struct vellum_map_args *a,
		      struct vellum_mapping *mapping, uint64_t len, gva_t *addr) HOLDS(&mm->mmap_lock)
{
	return do_mmap_with_flags(mm, a, mapping, len, 0, addr);
}

/* Under mlockall(MCL_ONFAULT), only DROPPABLE memory is populated: it is not locked. */
static bool populates(const struct vellum_mm *mm, const struct vellum_map_args *a)
{
	uint64_t locks = __atomic_load_n(&mm->def_flags, __ATOMIC_RELAXED);

	if ((locks & VM_LOCKONFAULT) && map_type(a) != VELLUM_MAP_DROPPABLE)
		return false;
	return (locks & VM_LOCKED) || (a->flags & VELLUM_MAP_LOCKED) ||
	       (a->flags & (VELLUM_MAP_POPULATE | VELLUM_MAP_NONBLOCK)) == VELLUM_MAP_POPULATE;
}

EXPORT int vellum_mmap(struct vellum_mm *mm, const struct vellum_map_args *given, uint64_t *addr)
{
	struct vellum_mapping *mapping, *shm = NULL;
	struct vellum_map_args request;
	const struct vellum_map_args *args = &request;
	uint64_t len;
	int err;

	err = given && addr ? FROM_CALLER(&request, given) : -EINVAL;
	if (err)
		return err;
	if (request.flags & VELLUM_MAP_ANONYMOUS)
		request.mapping = NULL;		/* ignored, as mmap(2) ignores the descriptor */
	if (request.flags & VELLUM_MAP_HUGETLB)
		request.file_prot = VELLUM_PROT_READ | VELLUM_PROT_WRITE;	/* hugetlbfs' own file */
	request.prot &= VM_ACCESS;
	len = page_align_up(args->len);
	err = check_arguments(args, len);
	if (err)
		return err;
	if ((args->flags & VELLUM_MAP_ANONYMOUS) && map_type(args) == VELLUM_MAP_SHARED) {
		err = vellum_mapping_create(mm->memory, NULL, NULL, len >> PAGE_SHIFT, 0, &shm);
		if (err)
			return err;
	}
	mapping = args->flags & VELLUM_MAP_ANONYMOUS ? shm : args->mapping;
	write_lock(&mm->mmap_lock, mm_host(mm));
	err = do_mmap(mm, args, mapping, len, addr);
	mmap_write_unlock_and_deliver(mm);
	vellum_mapping_put(shm);	/* the VMA has its own reference */
	if (!err && populates(mm, args))
		populate_range(mm, *addr, *addr + len, POPULATE_FOR_MMAP);
	return err;
}

EXPORT int vellum_map_shadow_stack(struct vellum_mm *mm, uint64_t *addr, uint64_t len)
{
	struct vellum_map_args args = { .size = sizeof(args),
					.addr = *addr,
					.len = len,
					.prot = VM_READ | VM_WRITE,
					.flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS |
						 (*addr ? VELLUM_MAP_FIXED_NOREPLACE : 0) };
	int err = check_arguments(&args, page_align_up(len));

	if (err)
		return err;
	write_lock(&mm->mmap_lock, mm_host(mm));
	err = do_mmap_with_flags(mm, &args, NULL, page_align_up(len), VM_SHADOW_STACK, addr);
	mmap_write_unlock_and_deliver(mm);
	return err;
}

/* --- brk --- */

EXPORT void vellum_set_brk(struct vellum_mm *mm, uint64_t start)
{
	write_lock(&mm->mmap_lock, mm_host(mm));
	mm->brk_start = mm->brk = start;
	write_unlock(&mm->mmap_lock, mm_host(mm));
}

EXPORT void vellum_set_mmap_min_addr(struct vellum_mm *mm, uint64_t addr)
{
	write_lock(&mm->mmap_lock, mm_host(mm));
	mm->mmap_min_addr = addr;
	write_unlock(&mm->mmap_lock, mm_host(mm));
}

EXPORT void vellum_set_mmap_top(struct vellum_mm *mm, uint64_t top)
{
	write_lock(&mm->mmap_lock, mm_host(mm));
	mm->mmap_top = min_u64(top & PAGE_MASK, TASK_SIZE);
	write_unlock(&mm->mmap_lock, mm_host(mm));
}

static int grow_brk(struct vellum_mm *mm, gva_t from, gva_t to) HOLDS(&mm->mmap_lock)
{
	struct vellum_map_args args = { .prot = VM_READ | VM_WRITE,
					.flags = VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS |
						 VELLUM_MAP_FIXED_NOREPLACE,
					.addr = from };
	gva_t addr;

	/* Keep one page free above, so that the heap never borders on the next VMA. */
	if (find_vma_intersection(mm, from, to + PAGE_SIZE))
		return -ENOMEM;
	return do_mmap(mm, &args, NULL, to - from, &addr);
}

EXPORT uint64_t vellum_brk(struct vellum_mm *mm, uint64_t addr)
{
	gva_t old_end = 0, new_end = 0, result;
	int err = 0;

	write_lock(&mm->mmap_lock, mm_host(mm));
	if (addr >= mm->brk_start && addr < TASK_SIZE - PAGE_SIZE && mm->brk_start) {
		old_end = page_align_up(mm->brk);
		new_end = page_align_up(addr);
		if (new_end > old_end)
			err = grow_brk(mm, old_end, new_end);
		else if (new_end < old_end)
			err = do_munmap(mm, new_end, old_end - new_end);
		if (!err)
			mm->brk = addr;
	}
	result = mm->brk;
	mmap_write_unlock_and_deliver(mm);
	if (result == addr && new_end > old_end && wants_populate(mm))
		populate_range(mm, old_end, new_end, POPULATE_FOR_MMAP);
	return result;
}

/* --- counters --- */

EXPORT uint64_t vellum_mm_counter(const struct vellum_mm *mm, enum vellum_counter counter)
{
	if ((unsigned)counter >= VELLUM_NR_COUNTERS)
		return 0;
	return __atomic_load_n(&mm->counters[counter], __ATOMIC_RELAXED);
}

EXPORT const char *vellum_counter_name(enum vellum_counter counter)
{
	static const char *const names[VELLUM_NR_COUNTERS] = {
		[VELLUM_COUNT_FAULT_READ_ZERO] = "read_zero",
		[VELLUM_COUNT_FAULT_ANON] = "anon",
		[VELLUM_COUNT_FAULT_COW] = "cow",
		[VELLUM_COUNT_FAULT_REUSE] = "reuse",
		[VELLUM_COUNT_FAULT_FILE_READ] = "file_read",
		[VELLUM_COUNT_FAULT_FILE_COW] = "file_cow",
		[VELLUM_COUNT_FAULT_SHARED] = "shared",
		[VELLUM_COUNT_FAULT_NOTIFY] = "notify",
		[VELLUM_COUNT_FAULT_SPURIOUS] = "spurious",
		[VELLUM_COUNT_FAULT_UFFD] = "uffd",
		[VELLUM_COUNT_FAULT_SWAP] = "swap",
		[VELLUM_COUNT_FAULT_HUGE] = "huge",
		[VELLUM_COUNT_FAULT_ERROR] = "error",
		[VELLUM_COUNT_TLB_FLUSHES] = "tlb_flushes",
	};

	return (unsigned)counter < VELLUM_NR_COUNTERS ? names[counter] : NULL;
}

EXPORT uint64_t vellum_mm_rss(const struct vellum_mm *mm)
{
	return __atomic_load_n(&mm->rss, __ATOMIC_RELAXED);
}

EXPORT uint64_t vellum_mm_swapped(const struct vellum_mm *mm)
{
	return __atomic_load_n(&mm->swapped, __ATOMIC_RELAXED);
}
