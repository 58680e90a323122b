/* SPDX-License-Identifier: MIT */
/*
 * vellum/soft.h - the software MMU: CPUs in C, for emulators and for tests.
 *
 * Each CPU has a set-associative TLB that caches translation, rights, and whether the dirty bit is
 * known to be set, as silicon does: a store that hits touches no page table. A and D are set by
 * atomic updates, D only in a present and writable entry. A CPU is used by one thread at a time.
 *
 * Remote flushes: while a CPU uses a translation it is busy; a flusher asks for attention, makes
 * every CPU see that (membarrier(2), so that the hit path needs no fence), waits until the CPU is
 * not busy, and edits its TLB. A CPU that is asked stays out until the flusher is done. On a miss a CPU says
 * that it walks, with a full fence: whoever changes many entries of a table keeps CPUs from walking meanwhile.
 */
#ifndef VELLUM_SOFT_H
#define VELLUM_SOFT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vellum/mmu.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VELLUM_SOFT_SETS 64
#define VELLUM_SOFT_WAYS 4
#define VELLUM_SOFT_NO_PAGE (~0ull)
#define VELLUM_SOFT_SHSTK (1ull << 11)	/* no address of a page has it */

struct vellum_soft;

/* One translation. The address of the page that the access may use, or VELLUM_SOFT_NO_PAGE, per kind of
 * access; "store" only if the entry is writable and known dirty, or, with VELLUM_SOFT_SHSTK, for
 * shadow-stack accesses alone. */
struct vellum_soft_tlbe {
	uint64_t load, store, fetch;
	char *host;		/* of the page's first byte */
};

/* Fields are the library's; here for the inline hit path. */
struct vellum_soft_cpu {
	uint32_t busy;		/* using a translation; written by the CPU's thread */
	uint32_t attention;	/* a flusher wants it out; written under the flusher's lock */
	uint32_t fenced;	/* no asymmetric fence on this host: the CPU pays */
	uint32_t walking;	/* reads or changes entries; written by the CPU's thread */
	uint32_t id;
	struct vellum_soft *soft;
	struct vellum_mm *mm;	/* NULL: in no address space */
	struct vellum_soft_tlbe tlb[VELLUM_SOFT_SETS][VELLUM_SOFT_WAYS];
	uint64_t fault_addr;	/* vellum_soft_fault_addr() */
};

/**
 * vellum_soft_create - a machine of software CPUs
 * @nr_cpus: 1 to VELLUM_MAX_CPUS.
 *
 * Pass it with vellum_soft_mmu_ops() to vellum_memory_create(). It must outlive the memory.
 * Return: 0, -VELLUM_EINVAL, -VELLUM_ENOMEM.
 */
int vellum_soft_create(unsigned nr_cpus, struct vellum_soft **out);
void vellum_soft_destroy(struct vellum_soft *soft);
const struct vellum_mmu_ops *vellum_soft_mmu_ops(void);

/** vellum_soft_cpu - CPU @i, or NULL. */
struct vellum_soft_cpu *vellum_soft_cpu(struct vellum_soft *soft, unsigned i);

/** vellum_soft_load_mm - put a CPU into an address space; NULL: into none. Drops its TLB. */
void vellum_soft_load_mm(struct vellum_soft_cpu *cpu, struct vellum_mm *mm);

/**
 * vellum_soft_set_flush_hook - for tests: call @hook when a flush begins, before any TLB forgets
 *
 * The hook may use the CPUs: what it does then is done inside the flush window.
 */
void vellum_soft_set_flush_hook(struct vellum_soft *soft, void (*hook)(void *arg), void *arg);

/*
 * What CPUs may do and seldom do, for vellum_soft_set_hostile().
 *
 * VELLUM_SOFT_KEEP: a translation stays until a flush names its page (or everything of the address space),
 * the CPU leaves, or a fault at its address drops it, which also is the only way in which the CPU learns
 * that rights were raised: a huge TLB with luck. Pointers to last-level tables stay too, until a flush names an
 * address below them or says VELLUM_FLUSH_TABLES: a paging-structure cache. A table freed without a
 * flush goes on being walked.
 *
 * VELLUM_SOFT_A_AT_WILL: a walk sets A in all present entries in the cache line of the one that it is for,
 * and caches these translations: speculative loads. D is never set so.
 *
 * VELLUM_SOFT_VCACHE: what a CPU stores goes to a cache of its own, found by virtual page, and to memory when
 * the CPU has stored to 64 other pages, another CPU or another virtual page of it accesses the frame, the CPU
 * leaves, flush_cache_range() or vellum_soft_write_back() wants it, or a flush says that the entry was
 * removed; and that may be after the entry became read-only and clean. Whoever reads memory without
 * being a CPU (vellum_peek(), a backing) sees old bytes until then: as on machines with virtually
 * indexed caches that are written back.
 */
enum {
	VELLUM_SOFT_KEEP = 1 << 0,
	VELLUM_SOFT_A_AT_WILL = 1 << 1,
	VELLUM_SOFT_VCACHE = 1 << 2,
};

/**
 * vellum_soft_set_hostile - for tests, and for authors of emulators: CPUs do the worst that they may
 * @flags: VELLUM_SOFT_*; 0 ends it. With KEEP or VCACHE no access takes the inline path: it is slow.
 *
 * What works on a machine of this kind does not depend on luck. Drops all TLBs and writes the caches back.
 *
 * Context: no access and no flush is on its way.
 * Return: 0, -VELLUM_EINVAL, -VELLUM_ENOMEM (nothing changed).
 */
int vellum_soft_set_hostile(struct vellum_soft *soft, uint32_t flags);

/** vellum_soft_write_back - the caches of VELLUM_SOFT_VCACHE write back all they have, as they may at will */
void vellum_soft_write_back(struct vellum_soft *soft);

enum vellum_soft_access {
	VELLUM_SOFT_LOAD,
	VELLUM_SOFT_STORE,
	VELLUM_SOFT_FETCH,
	VELLUM_SOFT_SHSTK_LOAD,
	VELLUM_SOFT_SHSTK_STORE,
};

/* What an access does with its bytes once it may. */
typedef void (*vellum_soft_fn)(char *host, void *arg);

/*
 * The slow path for @size bytes, 1, 2, 4 or 8: walk, fault, fill; then @fn, with the translation still
 * guaranteed. If the address is not aligned, @fn works on an aligned copy of the bytes.
 */
enum vellum_fault_result vellum_soft_access_slow(struct vellum_soft_cpu *cpu, uint64_t addr, unsigned size,
						 enum vellum_soft_access kind, vellum_soft_fn fn,
						 void *arg);

/**
 * vellum_soft_fault_addr - the first byte that the CPU's last failed access could not access, as CR2
 *
 * Of an access that crosses a page, that may be the first byte of the second page.
 * Context: the thread that uses the CPU, after an access returned something else than VELLUM_FAULT_OK.
 */
uint64_t vellum_soft_fault_addr(const struct vellum_soft_cpu *cpu);

#ifdef VELLUM_EXPLORE	/* a test build: another CPU may run here; stores wait in a buffer, as on x86 */
void vellum_soft_point(const volatile void *where);
void vellum_soft_memory_point(const volatile void *where);
void vellum_explore_store(volatile void *where, uint64_t val, unsigned size);
uint64_t vellum_explore_load(const volatile void *where, unsigned size);
void vellum_explore_locked(void);
#define vellum_soft_put(where, val, order) vellum_explore_store(where, val, sizeof(*(where)))
#define vellum_soft_get(where, order) vellum_explore_load(where, sizeof(*(where)))
#define vellum_soft_locked() vellum_explore_locked()
#else
#define vellum_soft_point(where) ((void)(where))
#define vellum_soft_memory_point(where) ((void)(where))
#define vellum_soft_put(where, val, order) __atomic_store_n(where, val, order)
#define vellum_soft_get(where, order) __atomic_load_n(where, order)
#define vellum_soft_locked() ((void)0)
#endif

static inline bool vellum_soft_enter(struct vellum_soft_cpu *cpu)
{
	vellum_soft_point(&cpu->busy);
	if (__builtin_expect(cpu->fenced, 0)) {
		vellum_soft_locked();
		__atomic_exchange_n(&cpu->busy, 1, __ATOMIC_SEQ_CST);
	} else {
		vellum_soft_put(&cpu->busy, 1, __ATOMIC_RELAXED);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);	/* the flusher's membarrier does the rest */
	}
	vellum_soft_point(&cpu->attention);
	return !__atomic_load_n(&cpu->attention, __ATOMIC_ACQUIRE);
}

static inline void vellum_soft_leave(struct vellum_soft_cpu *cpu)
{
	vellum_soft_put(&cpu->busy, 0, __ATOMIC_RELEASE);
}

#define VELLUM_SOFT_SIZES(X) X(8) X(16) X(32) X(64)

/* What the tag of a translation has to be: an address that is not aligned differs from every tag in its low
 * bits, so the slow path gets it, and no page is left behind unseen. */
#define VELLUM_SOFT_TAG(addr, bits) ((addr) & (~4095ull | ((bits) / 8 - 1)))

/*
 * vellum_soft_loadN, vellum_soft_storeN - one access of N bits
 *
 * A naturally aligned access is atomic. Any other address works too, on the slow path. It may cross a page:
 * both pages are translated before a byte is read or stored, so an access that fails has changed no memory,
 * and both entries get A, and D for a store. (As on a CPU, the first page's bits may be set, or its fault be
 * resolved, before the second page turns out to be inaccessible.) The bytes of an access that is not aligned
 * may be seen by others one after the other.
 *
 * Context: no core lock held. Return: VELLUM_FAULT_OK, or what the access deserves; vellum_soft_fault_addr()
 * says where. @val is written on VELLUM_FAULT_OK.
 */
#define VELLUM_SOFT_DEFINE(bits)                                                                 \
	static inline void vellum_soft_do_load##bits(char *host, void *arg)                     \
	{                                                                                        \
		vellum_soft_memory_point(host);                                                  \
		*(uint##bits##_t *)arg =                                                         \
			(uint##bits##_t)vellum_soft_get((uint##bits##_t *)host, __ATOMIC_RELAXED); \
	}                                                                                        \
	static inline void vellum_soft_do_store##bits(char *host, void *arg)                    \
	{                                                                                        \
		vellum_soft_memory_point(host);                                                  \
		vellum_soft_put((uint##bits##_t *)host, *(uint##bits##_t *)arg, __ATOMIC_RELAXED); \
	}                                                                                        \
	static inline enum vellum_fault_result vellum_soft_load##bits(                          \
		struct vellum_soft_cpu *cpu, uint64_t addr, uint##bits##_t *val)                 \
	{                                                                                        \
		const struct vellum_soft_tlbe *e = cpu->tlb[addr >> 12 & (VELLUM_SOFT_SETS - 1)]; \
		bool hit = vellum_soft_enter(cpu) && e->load == VELLUM_SOFT_TAG(addr, bits);                      \
                                                                                                 \
		if (__builtin_expect(hit, 1))                                                    \
			vellum_soft_do_load##bits(e->host + (addr & 4095), val);                 \
		vellum_soft_leave(cpu);                                                          \
		return __builtin_expect(hit, 1) ?                                                \
			       VELLUM_FAULT_OK :                                                 \
			       vellum_soft_access_slow(cpu, addr, bits / 8, VELLUM_SOFT_LOAD,    \
						       vellum_soft_do_load##bits, val);          \
	}                                                                                        \
	static inline enum vellum_fault_result vellum_soft_store##bits(                         \
		struct vellum_soft_cpu *cpu, uint64_t addr, uint##bits##_t val)                  \
	{                                                                                        \
		const struct vellum_soft_tlbe *e = cpu->tlb[addr >> 12 & (VELLUM_SOFT_SETS - 1)]; \
		bool hit = vellum_soft_enter(cpu) && e->store == VELLUM_SOFT_TAG(addr, bits);                     \
                                                                                                 \
		if (__builtin_expect(hit, 1))                                                    \
			vellum_soft_do_store##bits(e->host + (addr & 4095), &val);               \
		vellum_soft_leave(cpu);                                                          \
		return __builtin_expect(hit, 1) ?                                                \
			       VELLUM_FAULT_OK :                                                 \
			       vellum_soft_access_slow(cpu, addr, bits / 8, VELLUM_SOFT_STORE,   \
						       vellum_soft_do_store##bits, &val);        \
	}
VELLUM_SOFT_SIZES(VELLUM_SOFT_DEFINE)
#undef VELLUM_SOFT_DEFINE

/**
 * vellum_soft_cmpxchg64 - compare and exchange 8 bytes
 * @old: in: expected; out: what was there. @swapped: out, written on VELLUM_FAULT_OK.
 *
 * A write access even if nothing is exchanged, as on x86. Atomic. If @addr is not aligned, the machine's
 * other CPUs are kept from memory meanwhile, as a bus lock does: correct, also across pages, but slow, and
 * atomic for CPUs of this machine alone. An embedder whose processor refuses split locks has to check
 * the alignment first.
 */
enum vellum_fault_result vellum_soft_cmpxchg64(struct vellum_soft_cpu *cpu, uint64_t addr,
					       uint64_t *old, uint64_t desired, bool *swapped);

/**
 * vellum_soft_fetch - read @len bytes of instructions
 *
 * They may cross pages. If a page cannot be executed, @buf has the bytes before vellum_soft_fault_addr().
 */
enum vellum_fault_result vellum_soft_fetch(struct vellum_soft_cpu *cpu, uint64_t addr, void *buf,
					   size_t len);

/**
 * vellum_soft_shstk_load64, vellum_soft_shstk_store64 - one shadow-stack access of 8 bytes
 *
 * As a CPU's own pushes and pops of return addresses: only to pages whose entries have the
 * shadow-stack encoding (RW=0, D=1); elsewhere they fault with VELLUM_FAULT_SHSTK. Ordinary stores fault
 * on such pages, ordinary loads don't. An address that is not aligned works as for vellum_soft_load64().
 */
enum vellum_fault_result vellum_soft_shstk_load64(struct vellum_soft_cpu *cpu, uint64_t addr,
						  uint64_t *val);
enum vellum_fault_result vellum_soft_shstk_store64(struct vellum_soft_cpu *cpu, uint64_t addr,
						   uint64_t val);

#ifdef __cplusplus
}
#endif
#endif
