/* SPDX-License-Identifier: MIT */
/*
 * machine/soft.c - the software MMU: walk, flush, CPUs.
 *
 * INV-SOFT-1: a CPU reads and fills its TLB only while it is busy. Another thread edits the TLB only while the CPU is
 *             not busy and cannot become busy.
 * INV-SOFT-2: tlbe->store names a page only if, since the page's last flush, one atomic operation found its entry
 *             writable with D set; with VELLUM_SOFT_SHSTK: read-only with D set.
 */
#define _GNU_SOURCE
#include "vellum/soft.h"

#include <linux/membarrier.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/x86/entry.h"
#include "lib/errnum.h"
#include "machine/soft_cpu.h"

#define READ_ONLY (1ull << 10)		/* in tlbe->store: equals no address that an access compares */


#ifdef VELLUM_EXPLORE
void vellum_soft_point(const volatile void *where)
{
	sched_point(SCHED_TLB, where);
}

void vellum_soft_memory_point(const volatile void *where)
{
	sched_point(SCHED_MEMORY, where);
}
#endif

/* --- the walk --- */

/* The entry at which a walk ends: a leaf if present. It covers 1 << @shift bytes. */
struct leaf {
	uint64_t *entry;
	uint64_t val;
	unsigned shift;
};

static bool is_table(const struct leaf *leaf)
{
	if (!(leaf->val & X86_PRESENT) || leaf->shift == PAGE_SHIFT)
		return false;
	return leaf->shift == PGD_SHIFT || !(leaf->val & X86_PSE);
}

/* Set bits that are missing, in one atomic operation. False: the entry had changed; leaf->val is its new value. */
static bool set_bits(struct leaf *leaf, uint64_t bits)
{
	if ((leaf->val & bits) != bits && !entry_cmpxchg(leaf->entry, &leaf->val, leaf->val | bits))
		return false;
	leaf->val |= bits;
	return true;
}

static void look_at(struct leaf *leaf, uint64_t *table, uint64_t addr)
{
	leaf->entry = &table[table_index(addr, leaf->shift)];
	leaf->val = entry_load(leaf->entry);
}

/* The table at which a walk begins: the top, or a last-level table that the CPU has cached. */
static uint64_t *first_table(struct vellum_soft_cpu *cpu, uint64_t addr, unsigned *shift)
{
	uint64_t *table = NULL;

	if (unlikely(hostile_is(cpu->soft->hostile, VELLUM_SOFT_KEEP)))
		table = hostile_table(cpu->soft->hostile, cpu->id, addr);
	*shift = table ? PAGE_SHIFT : PGD_SHIFT;
	return table ? table : vellum_frame_host(vellum_mm_memory(cpu->mm), vellum_mm_pgd(cpu->mm));
}

static struct leaf walk(struct vellum_soft_cpu *cpu, uint64_t addr)
{
	struct leaf leaf;
	uint64_t *table = first_table(cpu, addr, &leaf.shift);

	look_at(&leaf, table, addr);
	while (is_table(&leaf)) {
		if (!set_bits(&leaf, X86_ACCESSED))
			continue;
		table = vellum_frame_host(vellum_mm_memory(cpu->mm), x86_table_pfn(leaf.val));
		if (!table)
			return (struct leaf){ .val = 0 };
		leaf.shift -= 9;
		if (unlikely(hostile_is(cpu->soft->hostile, VELLUM_SOFT_KEEP)) && leaf.shift == PAGE_SHIFT)
			hostile_keep_table(cpu->soft->hostile, cpu->id, addr, table);
		look_at(&leaf, table, addr);
	}
	return leaf;
}

/* RW=0 with D=1 is a shadow-stack page: only shadow-stack accesses and ordinary loads may use it. */
static bool allowed(uint64_t val, enum vellum_soft_access kind)
{
	if (!(val & X86_PRESENT) || !(val & X86_USER))
		return false;
	switch (kind) {
	case VELLUM_SOFT_LOAD:
		return true;
	case VELLUM_SOFT_STORE:
		return val & X86_RW;
	case VELLUM_SOFT_FETCH:
		return !(val & X86_NX);
	default:
		return (val & (X86_RW | X86_DIRTY)) == X86_DIRTY;
	}
}

static uint32_t error_bits(uint64_t val, enum vellum_soft_access kind)
{
	static const uint32_t of_kind[] = {
		[VELLUM_SOFT_LOAD] = 0,
		[VELLUM_SOFT_STORE] = VELLUM_FAULT_WRITE,
		[VELLUM_SOFT_FETCH] = VELLUM_FAULT_INSTR,
		[VELLUM_SOFT_SHSTK_LOAD] = VELLUM_FAULT_SHSTK,
		[VELLUM_SOFT_SHSTK_STORE] = VELLUM_FAULT_SHSTK | VELLUM_FAULT_WRITE,
	};

	return VELLUM_FAULT_USER | (val & X86_PRESENT ? VELLUM_FAULT_PRESENT : 0) | of_kind[kind];
}

/* The frame of the page at @addr, which the leaf maps. */
static pfn_t leaf_pfn(const struct leaf *leaf, uint64_t addr)
{
	uint64_t page = addr >> PAGE_SHIFT & ((1ull << (leaf->shift - PAGE_SHIFT)) - 1);

	switch (leaf->shift) {
	case PUD_SHIFT:
		return pud_pfn(pud_make(leaf->val)) + page;
	case PMD_SHIFT:
		return pmd_pfn(pmd_make(leaf->val)) + page;
	default:
		return pte_pfn(pte_make(leaf->val));
	}
}

/*
 * The translation that the TLB caches: always one page of 4 KiB. CPUs may split a huge translation like this, so a
 * flush of a huge leaf must name all that the leaf covered.
 */
static struct vellum_soft_tlbe tlbe_of(const struct leaf *leaf, uint64_t addr, char *host)
{
	uint64_t page = addr & PAGE_MASK, store = VELLUM_SOFT_NO_PAGE;

	if (leaf->val & X86_DIRTY)
		store = leaf->val & X86_RW ? page : page | VELLUM_SOFT_SHSTK;
	else if (!(leaf->val & X86_RW))
		store = page | READ_ONLY;
	return (struct vellum_soft_tlbe){ .load = page, .store = store, .host = host,
					  .fetch = leaf->val & X86_NX ? VELLUM_SOFT_NO_PAGE : page };
}

/* Never waits long: a thread that stops walks waits only for walks that have begun. */
static void enter_walk(struct vellum_soft_cpu *cpu)
{
	for (;;) {
		sched_locked();
		__atomic_exchange_n(&cpu->walking, 1, __ATOMIC_SEQ_CST);
		sched_point(SCHED_TLB, &cpu->soft->stops);
		if (!__atomic_load_n(&cpu->soft->stops, __ATOMIC_SEQ_CST))
			return;
		sched_store(&cpu->walking, 0, __ATOMIC_RELEASE);
		for (unsigned spins = 0; __atomic_load_n(&cpu->soft->stops, __ATOMIC_ACQUIRE); spins++) {
			sched_point(SCHED_WAIT, &cpu->soft->stops);
			if (spins > 100)
				sched_yield();
		}
	}
}

static void leave_walk(struct vellum_soft_cpu *cpu)
{
	sched_store(&cpu->walking, 0, __ATOMIC_RELEASE);
}

/* Speculative loads: set A in the other entries of the leaf's cache line, and cache their translations. */
static void speculate(struct vellum_soft_cpu *cpu, const struct leaf *leaf, uint64_t addr)
{
	unsigned at = table_index(addr, PAGE_SHIFT) % 8;

	for (unsigned i = 0; i < 8 && leaf->shift == PAGE_SHIFT; i++) {
		uint64_t near = (addr & ~(8 * PAGE_SIZE - 1)) + i * PAGE_SIZE;
		struct leaf n = { .entry = leaf->entry - at + i, .shift = PAGE_SHIFT };
		struct vellum_soft_tlbe e;
		char *host;

		if (i == at || soft_tlb_has(cpu, near))
			continue;
		n.val = entry_load(n.entry);
		while (allowed(n.val, VELLUM_SOFT_LOAD) && !set_bits(&n, X86_ACCESSED))
			;
		if (!allowed(n.val, VELLUM_SOFT_LOAD))
			continue;
		host = vellum_frame_host(vellum_mm_memory(cpu->mm), leaf_pfn(&n, near));
		e = tlbe_of(&n, near, host);
		if (host)
			soft_tlb_fill(cpu, &e);
	}
}

/* Walk the tables and fill the TLB. See soft_translate(). */
static struct vellum_soft_tlbe *translate(struct vellum_soft_cpu *cpu, uint64_t addr,
					  enum vellum_soft_access kind, uint32_t *error)
{
	uint64_t want = X86_ACCESSED | (kind == VELLUM_SOFT_STORE ? X86_DIRTY : 0);
	struct vellum_soft_tlbe e;
	struct leaf leaf;
	char *host;

	do {
		leaf = walk(cpu, addr);
		if (!allowed(leaf.val, kind)) {
			*error = error_bits(leaf.val, kind);
			return NULL;
		}
	} while (!set_bits(&leaf, want));
	host = vellum_frame_host(vellum_mm_memory(cpu->mm), leaf_pfn(&leaf, addr));
	if (!host) {
		*error = 0;
		return NULL;
	}
	if (unlikely(hostile_is(cpu->soft->hostile, VELLUM_SOFT_A_AT_WILL)))
		speculate(cpu, &leaf, addr);
	e = tlbe_of(&leaf, addr, host);
	return soft_tlb_fill(cpu, &e);
}

const struct vellum_soft_tlbe *soft_translate(struct vellum_soft_cpu *cpu, uint64_t addr,
					      enum vellum_soft_access kind, uint32_t *error)
{
	bool faults = false;
	const struct vellum_soft_tlbe *e = soft_tlb_look_up(cpu, addr & PAGE_MASK, kind, &faults);

	if (faults) {
		*error = error_bits(X86_PRESENT, kind);
	} else if (!e) {
		enter_walk(cpu);
		e = translate(cpu, addr, kind, error);
		leave_walk(cpu);
	}
	if (unlikely(cpu->soft->hostile != NULL) && !e)
		hostile_fault(cpu->soft->hostile, cpu->id, addr);
	return e;
}

/* --- busy CPUs, and CPUs that another thread holds --- */

static pthread_mutex_t *tlb_lock(struct vellum_soft_cpu *cpu)
{
	return &cpu->soft->locks[cpu->id];
}

void soft_lock(pthread_mutex_t *lock)
{
	sched_locked();
	while (pthread_mutex_trylock(lock)) {
		sched_point(SCHED_WAIT, lock);
		sched_yield();
	}
}

void soft_enter(struct vellum_soft_cpu *cpu)
{
	while (!vellum_soft_enter(cpu)) {
		vellum_soft_leave(cpu);
		soft_lock(tlb_lock(cpu));	/* waits for soft_release() of the other thread */
		pthread_mutex_unlock(tlb_lock(cpu));
	}
}

EXPORT void vellum_soft_batch_wait(struct vellum_soft_cpu *cpu)
{
	vellum_soft_leave(cpu);
	soft_enter(cpu);
}

/* When this returns, every running thread of the process has executed a full fence. */
static void heavy_fence(void)
{
#ifdef VELLUM_EXPLORE
	vellum_explore_fence_all();
#else
	syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0);
#endif
}

void soft_hold(struct vellum_soft_cpu *cpu)
{
	soft_lock(tlb_lock(cpu));
	__atomic_store_n(&cpu->attention, 1, __ATOMIC_SEQ_CST);
	if (!cpu->fenced)
		heavy_fence();
	for (unsigned spins = 0; __atomic_load_n(&cpu->busy, __ATOMIC_SEQ_CST); spins++) {
		sched_point(SCHED_WAIT, &cpu->busy);
		if (spins > 100)
			sched_yield();
	}
}

void soft_release(struct vellum_soft_cpu *cpu)
{
	__atomic_store_n(&cpu->attention, 0, __ATOMIC_RELEASE);
	pthread_mutex_unlock(tlb_lock(cpu));
}

/* --- flush --- */

static void flush_cpu(struct vellum_soft_cpu *cpu, const struct vellum_flush_batch *batch)
{
	soft_hold(cpu);
	sched_point(SCHED_TLB, cpu->tlb);
	if (batch)
		soft_tlb_drop_batch(cpu, batch);
	else
		soft_tlb_drop_all(cpu);
	soft_release(cpu);
}

static void flush_cpus(struct vellum_soft *soft, struct vellum_mm *mm,
		       const struct vellum_flush_batch *batch)
{
	if (soft->hook)
		soft->hook(soft->hook_arg);
	for (uint64_t mask = vellum_mm_cpumask(mm); mask; mask &= mask - 1)
		flush_cpu(&soft->cpus[__builtin_ctzll(mask)], batch);
	if (hostile_is(soft->hostile, VELLUM_SOFT_VCACHE))
		hostile_flushed(soft->hostile, mm, batch);
}

static void soft_flush(void *machine, struct vellum_mm *mm, const struct vellum_flush_batch *batch)
{
	flush_cpus(machine, mm, batch);
}

static void soft_flush_mm(void *machine, struct vellum_mm *mm)
{
	flush_cpus(machine, mm, NULL);
}

static void soft_flush_cache_range(void *machine, struct vellum_mm *mm, uint64_t start, uint64_t end)
{
	const struct vellum_soft *soft = machine;

	if (hostile_is(soft->hostile, VELLUM_SOFT_VCACHE))
		hostile_flush_cache(soft->hostile, mm, start, end);
}

static void soft_stop_walks(void *machine, struct vellum_mm *mm)
{
	struct vellum_soft *soft = machine;

	__atomic_fetch_add(&soft->stops, 1, __ATOMIC_SEQ_CST);
	for (uint64_t mask = vellum_mm_cpumask(mm); mask; mask &= mask - 1) {
		const struct vellum_soft_cpu *cpu = &soft->cpus[__builtin_ctzll(mask)];

		for (unsigned spins = 0; __atomic_load_n(&cpu->walking, __ATOMIC_SEQ_CST); spins++) {
			sched_point(SCHED_WAIT, &cpu->walking);
			if (spins > 100)
				sched_yield();
		}
	}
}

static void soft_resume_walks(void *machine, struct vellum_mm *mm)
{
	struct vellum_soft *soft = machine;

	(void)mm;
	__atomic_fetch_sub(&soft->stops, 1, __ATOMIC_RELEASE);
}

EXPORT const struct vellum_mmu_ops *vellum_soft_mmu_ops(void)
{
	static const struct vellum_mmu_ops ops = {
		.size = sizeof(ops),
		.flush = soft_flush,
		.flush_mm = soft_flush_mm,
		.flush_cache_range = soft_flush_cache_range,
		.stop_walks = soft_stop_walks,
		.resume_walks = soft_resume_walks,
	};

	return &ops;
}

/* --- CPUs --- */

EXPORT void vellum_soft_load_mm(struct vellum_soft_cpu *cpu, struct vellum_mm *mm)
{
	if (cpu->soft->hostile)		/* after deactivation, the frames may be freed without a flush of this CPU */
		hostile_write_back(cpu->soft->hostile, cpu);
	if (cpu->mm)
		vellum_mm_deactivate(cpu->mm, cpu->id);
	cpu->mm = NULL;
	soft_enter(cpu);
	soft_tlb_drop_all(cpu);
	vellum_soft_leave(cpu);
	if (mm) {
		vellum_mm_activate(mm, cpu->id);
		cpu->mm = mm;
	}
}

EXPORT struct vellum_soft_cpu *vellum_soft_cpu(struct vellum_soft *soft, unsigned i)
{
	return i < soft->nr_cpus ? &soft->cpus[i] : NULL;
}

EXPORT void vellum_soft_set_flush_hook(struct vellum_soft *soft, void (*hook)(void *arg), void *arg)
{
	soft->hook = hook;
	soft->hook_arg = arg;
}

EXPORT int vellum_soft_set_hostile(struct vellum_soft *soft, uint32_t flags)
{
	struct hostile *h = NULL;

	if (flags & ~(uint32_t)(VELLUM_SOFT_KEEP | VELLUM_SOFT_A_AT_WILL | VELLUM_SOFT_VCACHE))
		return -EINVAL;
	if (flags && hostile_create(soft->nr_cpus, flags, &h))
		return -ENOMEM;
	for (unsigned i = 0; i < soft->nr_cpus; i++)
		flush_cpu(&soft->cpus[i], NULL);
	hostile_destroy(soft->hostile);
	soft->hostile = h;
	return 0;
}

EXPORT void vellum_soft_write_back(struct vellum_soft *soft)
{
	if (soft->hostile)
		hostile_write_back(soft->hostile, NULL);
}

static bool must_fence(void)
{
#if defined(VELLUM_EXPLORE)
	return !vellum_explore_membarrier();
#elif defined(VELLUM_TSAN)
	return true;	/* TSan does not know membarrier(2) */
#else
	return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0;
#endif
}

static int init_cpu(struct vellum_soft *soft, unsigned i, unsigned tlb_pages, bool fenced)
{
	soft->cpus[i] = (struct vellum_soft_cpu){ .soft = soft, .id = i, .fenced = fenced };
	pthread_mutex_init(&soft->locks[i], NULL);
	return soft_tlb_create(&soft->cpus[i], tlb_pages);
}

EXPORT int vellum_soft_create_tlb(unsigned nr_cpus, unsigned tlb_pages, struct vellum_soft **out)
{
	struct vellum_soft *soft;
	bool fenced = must_fence();
	int err = 0;

	if (!nr_cpus || nr_cpus > VELLUM_MAX_CPUS || !soft_tlb_size_valid(tlb_pages) || !out)
		return -EINVAL;
	soft = calloc(1, sizeof(*soft));
	if (!soft)
		return -ENOMEM;
	pthread_mutex_init(&soft->bus_lock, NULL);
	soft->cpus = aligned_alloc(__alignof__(*soft->cpus), nr_cpus * sizeof(*soft->cpus));
	soft->locks = calloc(nr_cpus, sizeof(*soft->locks));
	if (!soft->cpus || !soft->locks)
		err = -ENOMEM;
	while (!err && soft->nr_cpus < nr_cpus)
		err = init_cpu(soft, soft->nr_cpus++, tlb_pages, fenced);
	if (err)
		vellum_soft_destroy(soft);
	else
		*out = soft;
	return err;
}

EXPORT int vellum_soft_create(unsigned nr_cpus, struct vellum_soft **out)
{
	return vellum_soft_create_tlb(nr_cpus, VELLUM_SOFT_TLB_PAGES, out);
}

EXPORT void vellum_soft_destroy(struct vellum_soft *soft)
{
	if (!soft)
		return;
	for (unsigned i = 0; i < soft->nr_cpus; i++)
		soft_tlb_destroy(&soft->cpus[i]);
	hostile_destroy(soft->hostile);
	free(soft->locks);
	free(soft->cpus);
	free(soft);
}
