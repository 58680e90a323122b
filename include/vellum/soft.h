/* SPDX-License-Identifier: MIT */
/*
 * vellum/soft.h - the software MMU: CPUs in C, for emulators and for tests.
 *
 * Each CPU has a TLB that caches translation, rights, and whether the dirty bit is known to be set. So, as on hardware,
 * a store that hits touches no page table. A and D are set by atomic updates, D only in a present and writable entry. A
 * CPU is used by one thread at a time.
 *
 * Remote flushes: a CPU is busy while it uses a translation. A flusher asks for attention, makes every CPU see that
 * (membarrier(2), so that the hit path needs no fence), waits until the CPU is not busy, and edits its TLB. A CPU that
 * sees attention waits until the flusher is done. On a miss, a CPU announces with a full fence that it walks. A thread
 * that changes many entries of a table waits for walks, and keeps CPUs from starting new ones.
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

#define VELLUM_SOFT_TLB_PAGES 8192	/* by default: it reaches 32 MiB */
#define VELLUM_SOFT_NO_PAGE (~0ull)
#define VELLUM_SOFT_SHSTK (1ull << 11)	/* clear in every page address */

struct vellum_soft;

/*
 * One translation. Each field is the address of the page, if that kind of access may use it, or VELLUM_SOFT_NO_PAGE.
 * "store" has the address only if the entry is writable and known to be dirty. With VELLUM_SOFT_SHSTK added, only
 * shadow-stack accesses may use it.
 */
struct vellum_soft_tlbe {
	uint64_t load, store, fetch;
	char *host;		/* of the page's first byte */
};

/*
 * The fields belong to the library. They are public for the inline hit path.
 */
struct vellum_soft_cpu {
	uint32_t busy;		/* uses a translation; written by the CPU's thread */
	uint32_t attention;	/* a flusher waits for it; written under the CPU's TLB lock */
	uint32_t fenced;	/* no membarrier(2) on this host: the CPU executes fences */
	uint32_t walking;	/* reads or changes entries; written by the CPU's thread */
	uint32_t id;
	struct vellum_soft *soft;
	struct vellum_mm *mm;	/* NULL: in no address space */
	struct vellum_soft_tlbe *tlb;	/* [tlb_mask + 1]; each page has one place (vellum_soft_place()) */
	uint64_t tlb_mask;
	uint64_t *tlb_used;	/* a bit for each 64 places: one has been filled since all were dropped */
	uint64_t fault_addr;	/* vellum_soft_fault_addr() */
} __attribute__((aligned(128)));	/* no two CPUs share a line */

/**
 * vellum_soft_create - create a machine of software CPUs
 * @nr_cpus: 1 to VELLUM_MAX_CPUS.
 *
 * Pass it with vellum_soft_mmu_ops() to vellum_memory_create(). It must outlive the memory.
 * Return: 0; -VELLUM_EINVAL; -VELLUM_ENOMEM.
 */
int vellum_soft_create(unsigned nr_cpus, struct vellum_soft **out);

/**
 * vellum_soft_create_tlb - the same, with TLBs of another size
 * @tlb_pages: translations that each TLB has room for: a power of two, 64 to 2^24. vellum_soft_create() takes
 *             VELLUM_SOFT_TLB_PAGES. Each takes 32 bytes of the host's memory.
 *
 * A TLB that reaches as far as the pages in use makes misses rare. A flush of everything costs the parts of the TLB that
 * are filled, so a large one costs nothing where few pages are used.
 * Return: as vellum_soft_create().
 */
int vellum_soft_create_tlb(unsigned nr_cpus, unsigned tlb_pages, struct vellum_soft **out);
void vellum_soft_destroy(struct vellum_soft *soft);
const struct vellum_mmu_ops *vellum_soft_mmu_ops(void);

/** vellum_soft_cpu - CPU @i, or NULL. */
struct vellum_soft_cpu *vellum_soft_cpu(struct vellum_soft *soft, unsigned i);

/** vellum_soft_load_mm - move a CPU into an address space, or with NULL out of its own. Drops its TLB. */
void vellum_soft_load_mm(struct vellum_soft_cpu *cpu, struct vellum_mm *mm);

/**
 * vellum_soft_set_flush_hook - for tests: call @hook when a flush begins, before any TLB is edited
 *
 * The hook may use the CPUs: their accesses then happen inside the flush window.
 */
void vellum_soft_set_flush_hook(struct vellum_soft *soft, void (*hook)(void *arg), void *arg);

/*
 * What CPUs are allowed to do and seldom do, for vellum_soft_set_hostile().
 *
 * VELLUM_SOFT_KEEP: a very large TLB. A translation stays until a flush names its page (or everything of the address
 * space), the CPU leaves, or a fault at its address drops it. Only such a fault shows the CPU that rights were raised.
 * Pointers to last-level tables stay too, as in a paging-structure cache, until a flush names an address below them or
 * has VELLUM_FLUSH_TABLES. A table that is freed without a flush is still walked.
 *
 * VELLUM_SOFT_A_AT_WILL: speculative loads. A walk sets A in all present entries in the cache line of its entry, and
 * caches their translations. D is never set so.
 *
 * VELLUM_SOFT_VCACHE: a virtually indexed cache. A CPU's stores stay in a cache of its own, found by virtual page.
 * They reach memory when the CPU has stored to 64 other pages, when another CPU or another virtual page of this CPU
 * accesses the frame, when the CPU leaves, when flush_cache_range() or vellum_soft_write_back() asks for it, or when a
 * flush says that the entry was removed. That may be after the entry became read-only and clean. A reader that is no
 * CPU (vellum_peek(), a backing) sees old bytes until then.
 */
enum {
	VELLUM_SOFT_KEEP = 1 << 0,
	VELLUM_SOFT_A_AT_WILL = 1 << 1,
	VELLUM_SOFT_VCACHE = 1 << 2,
};

/**
 * vellum_soft_set_hostile - for tests, and for authors of emulators: CPUs do the worst that they are allowed to do
 * @flags: VELLUM_SOFT_*; 0: none. With KEEP or VCACHE every access takes the slow path.
 *
 * Code that works on such a machine does not depend on luck. Drops all TLBs and writes the caches back.
 *
 * Context: no access and no flush is running.
 * Return: 0; -VELLUM_EINVAL; -VELLUM_ENOMEM (nothing changed).
 */
int vellum_soft_set_hostile(struct vellum_soft *soft, uint32_t flags);

/** vellum_soft_write_back - write all caches of VELLUM_SOFT_VCACHE back to memory. */
void vellum_soft_write_back(struct vellum_soft *soft);

enum vellum_soft_access {
	VELLUM_SOFT_LOAD,
	VELLUM_SOFT_STORE,
	VELLUM_SOFT_FETCH,
	VELLUM_SOFT_SHSTK_LOAD,
	VELLUM_SOFT_SHSTK_STORE,
};

/*
 * What an access does with its bytes when it is allowed.
 */
typedef void (*vellum_soft_fn)(char *host, void *arg);

/*
 * The slow path for an access of 1, 2, 4, 8 or 16 bytes: walk, fault, fill the TLB; then call @fn while the translation is
 * still guaranteed. If the address is not aligned, @fn works on an aligned copy of the bytes.
 */
enum vellum_fault_result vellum_soft_access_slow(struct vellum_soft_cpu *cpu, uint64_t addr, unsigned size,
						 enum vellum_soft_access kind, vellum_soft_fn fn,
						 void *arg);

/* The same in a batch, which it leaves meanwhile. */
enum vellum_fault_result vellum_soft_batch_slow(struct vellum_soft_cpu *cpu, uint64_t addr, unsigned size,
						enum vellum_soft_access kind, vellum_soft_fn fn, void *arg);
/* Become busy again after another thread has edited the TLB. The CPU may be busy. */
void vellum_soft_batch_wait(struct vellum_soft_cpu *cpu);

/**
 * vellum_soft_fault_addr - the first byte that the CPU's last failed access could not access, as CR2
 *
 * If the access crosses a page, that may be the first byte of the second page.
 * Context: the thread that uses the CPU, after an access did not return VELLUM_FAULT_OK.
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

/* The only place of a page's translation. Higher bits of the address are mixed in, so that arrays at a distance of a power
 * of two do not displace each other. */
static inline struct vellum_soft_tlbe *vellum_soft_place(const struct vellum_soft_cpu *cpu, uint64_t addr)
{
	return &cpu->tlb[(addr >> 12 ^ addr >> 25) & cpu->tlb_mask];
}

/* The library itself has the accessors as ordinary functions, too, for languages that cannot include this header. */
#ifndef VELLUM_SOFT_INLINE
#define VELLUM_SOFT_INLINE static inline
#endif

/**
 * vellum_soft_batch_begin, vellum_soft_batch_pause, vellum_soft_batch_end - accesses that use translations together
 *
 * For the loop of an emulator: begin once, pause after each block of instructions, end before anything that is no access
 * of a batch: a system call, another call of this library for this address space or CPU, a wait. A thread that flushes the
 * CPU's translations waits until the batch pauses or ends, so a batch that does neither for long delays it.
 *
 * Context: the thread that uses the CPU. Between begin and end only vellum_soft_batch_*() of this CPU may be called.
 */
VELLUM_SOFT_INLINE void vellum_soft_batch_begin(struct vellum_soft_cpu *cpu);
VELLUM_SOFT_INLINE void vellum_soft_batch_pause(struct vellum_soft_cpu *cpu);
VELLUM_SOFT_INLINE void vellum_soft_batch_end(struct vellum_soft_cpu *cpu);

VELLUM_SOFT_INLINE void vellum_soft_batch_begin(struct vellum_soft_cpu *cpu)
{
	if (__builtin_expect(!vellum_soft_enter(cpu), 0))
		vellum_soft_batch_wait(cpu);
}

VELLUM_SOFT_INLINE void vellum_soft_batch_pause(struct vellum_soft_cpu *cpu)
{
	vellum_soft_point(&cpu->attention);
	if (__builtin_expect(__atomic_load_n(&cpu->attention, __ATOMIC_ACQUIRE), 0))
		vellum_soft_batch_wait(cpu);
}

VELLUM_SOFT_INLINE void vellum_soft_batch_end(struct vellum_soft_cpu *cpu)
{
	vellum_soft_leave(cpu);
}

#define VELLUM_SOFT_SIZES(X) X(8) X(16) X(32) X(64)

struct vellum_soft_u128 {
	uint64_t low, high;	/* bytes 0 to 7, and 8 to 15 */
};

/*
 * The tag that a translation must have. An address that is not aligned differs from every tag in its low bits, so such
 * an access takes the slow path, which translates both pages if it crosses one.
 */
#define VELLUM_SOFT_TAG(addr, bits) ((addr) & (~4095ull | ((bits) / 8 - 1)))

/*
 * vellum_soft_loadN, vellum_soft_storeN, vellum_soft_fetchN - one access of N bits
 *
 * A naturally aligned access is atomic. Any other address works too, on the slow path, and may cross a page. Both
 * pages are translated before a byte is read or stored, so an access that fails has changed no memory. Both entries
 * get A, and D for a store. (As on a CPU, the first page's bits may be set, or its fault resolved, before the second
 * page is found to be inaccessible.) Other CPUs may see the bytes of an access that is not aligned one after the
 * other. A fetch reads instructions.
 *
 * vellum_soft_load128, vellum_soft_store128 - the same for 16 bytes, of which each half is atomic if @addr is aligned
 *
 * vellum_soft_batch_loadN, vellum_soft_batch_storeN, vellum_soft_batch_fetchN - the same in a batch
 *
 * Between vellum_soft_batch_begin() and vellum_soft_batch_end(). They need not tell other threads that the CPU uses a
 * translation, which is the larger part of an access that hits.
 *
 * Context: no core lock held.
 * Return: VELLUM_FAULT_OK, or the signal that the access gets; vellum_soft_fault_addr() returns its address. @val is
 *   written on VELLUM_FAULT_OK.
 */
#define VELLUM_SOFT_DEFINE_ACCESS(name, batch_name, bits, kind, field, parameter, arg, fn)             \
	VELLUM_SOFT_INLINE enum vellum_fault_result name(struct vellum_soft_cpu *cpu, uint64_t addr,   \
							 parameter);                                   \
	VELLUM_SOFT_INLINE enum vellum_fault_result batch_name(struct vellum_soft_cpu *cpu,            \
							       uint64_t addr, parameter);              \
	VELLUM_SOFT_INLINE enum vellum_fault_result name(struct vellum_soft_cpu *cpu, uint64_t addr,   \
							 parameter)                                    \
	{                                                                                              \
		const struct vellum_soft_tlbe *e = vellum_soft_place(cpu, addr);                       \
		bool hit = vellum_soft_enter(cpu) && e->field == VELLUM_SOFT_TAG(addr, bits);          \
                                                                                                       \
		if (__builtin_expect(hit, 1))                                                          \
			fn(e->host + (addr & 4095), arg);                                              \
		vellum_soft_leave(cpu);                                                                \
		return __builtin_expect(hit, 1) ?                                                      \
			       VELLUM_FAULT_OK :                                                       \
			       vellum_soft_access_slow(cpu, addr, bits / 8, kind, fn, arg);            \
	}                                                                                              \
	VELLUM_SOFT_INLINE enum vellum_fault_result batch_name(struct vellum_soft_cpu *cpu,            \
							       uint64_t addr, parameter)               \
	{                                                                                              \
		const struct vellum_soft_tlbe *e = vellum_soft_place(cpu, addr);                       \
                                                                                                       \
		if (__builtin_expect(e->field != VELLUM_SOFT_TAG(addr, bits), 0))                      \
			return vellum_soft_batch_slow(cpu, addr, bits / 8, kind, fn, arg);             \
		fn(e->host + (addr & 4095), arg);                                                      \
		return VELLUM_FAULT_OK;                                                                \
	}
#define VELLUM_SOFT_DEFINE(bits)                                                                       \
	static inline void vellum_soft_do_load##bits(char *host, void *arg)                            \
	{                                                                                              \
		vellum_soft_memory_point(host);                                                        \
		*(uint##bits##_t *)arg =                                                               \
			(uint##bits##_t)vellum_soft_get((uint##bits##_t *)host, __ATOMIC_RELAXED);     \
	}                                                                                              \
	static inline void vellum_soft_do_store##bits(char *host, void *arg)                           \
	{                                                                                              \
		vellum_soft_memory_point(host);                                                        \
		vellum_soft_put((uint##bits##_t *)host, *(uint##bits##_t *)arg, __ATOMIC_RELAXED);     \
	}                                                                                              \
	VELLUM_SOFT_DEFINE_ACCESS(vellum_soft_load##bits, vellum_soft_batch_load##bits, bits,          \
				  VELLUM_SOFT_LOAD, load, uint##bits##_t *val, val,                    \
				  vellum_soft_do_load##bits)                                           \
	VELLUM_SOFT_DEFINE_ACCESS(vellum_soft_store##bits, vellum_soft_batch_store##bits, bits,        \
				  VELLUM_SOFT_STORE, store, uint##bits##_t val, &val,                  \
				  vellum_soft_do_store##bits)                                          \
	VELLUM_SOFT_DEFINE_ACCESS(vellum_soft_fetch##bits, vellum_soft_batch_fetch##bits, bits,        \
				  VELLUM_SOFT_FETCH, fetch, uint##bits##_t *val, val,                  \
				  vellum_soft_do_load##bits)
VELLUM_SOFT_SIZES(VELLUM_SOFT_DEFINE)

static inline void vellum_soft_do_load128(char *host, void *arg)
{
	struct vellum_soft_u128 *val = (struct vellum_soft_u128 *)arg;

	vellum_soft_do_load64(host, &val->low);
	vellum_soft_do_load64(host + 8, &val->high);
}

static inline void vellum_soft_do_store128(char *host, void *arg)
{
	struct vellum_soft_u128 *val = (struct vellum_soft_u128 *)arg;

	vellum_soft_do_store64(host, &val->low);
	vellum_soft_do_store64(host + 8, &val->high);
}

VELLUM_SOFT_DEFINE_ACCESS(vellum_soft_load128, vellum_soft_batch_load128, 128, VELLUM_SOFT_LOAD, load,
			  struct vellum_soft_u128 *val, val, vellum_soft_do_load128)
VELLUM_SOFT_DEFINE_ACCESS(vellum_soft_store128, vellum_soft_batch_store128, 128, VELLUM_SOFT_STORE, store,
			  struct vellum_soft_u128 val, &val, vellum_soft_do_store128)
#undef VELLUM_SOFT_DEFINE_ACCESS
#undef VELLUM_SOFT_DEFINE

/**
 * vellum_soft_cmpxchgN - compare and exchange N bits: 8, 16, 32, 64 or 128
 * @old: in: the expected value; out: the value found.
 * @swapped: out, written on VELLUM_FAULT_OK as @old is: whether @desired was stored.
 *
 * A write access even if nothing is exchanged, as on x86. Atomic. If @addr is not aligned, the other CPUs of the
 * machine cannot access memory meanwhile, as with a bus lock. That is correct, also across pages, but slow, and atomic
 * only for CPUs of this machine. If an embedder's processor refuses split locks, the embedder checks the alignment
 * first. 128 bits are atomic as aligned ones of the host's are; where the host has no instruction for them, as with a
 * bus lock.
 *
 * vellum_soft_exchangeN, vellum_soft_fetch_addN, vellum_soft_fetch_andN, vellum_soft_fetch_orN, vellum_soft_fetch_xorN -
 * the same for: store @val, or what the operation makes of the value found and @val. N: 8, 16, 32 or 64
 * @old: out, written on VELLUM_FAULT_OK: the value found.
 *
 * Context: no core lock held, and not in a batch.
 */
#define VELLUM_SOFT_DECLARE(bits)                                                                      \
	enum vellum_fault_result vellum_soft_cmpxchg##bits(struct vellum_soft_cpu *cpu, uint64_t addr, \
							   uint##bits##_t *old,                        \
							   uint##bits##_t desired, bool *swapped);     \
	enum vellum_fault_result vellum_soft_exchange##bits(struct vellum_soft_cpu *cpu,               \
							    uint64_t addr, uint##bits##_t val,         \
							    uint##bits##_t *old);                      \
	enum vellum_fault_result vellum_soft_fetch_add##bits(struct vellum_soft_cpu *cpu,              \
							     uint64_t addr, uint##bits##_t val,        \
							     uint##bits##_t *old);                     \
	enum vellum_fault_result vellum_soft_fetch_and##bits(struct vellum_soft_cpu *cpu,              \
							     uint64_t addr, uint##bits##_t val,        \
							     uint##bits##_t *old);                     \
	enum vellum_fault_result vellum_soft_fetch_or##bits(struct vellum_soft_cpu *cpu,               \
							    uint64_t addr, uint##bits##_t val,         \
							    uint##bits##_t *old);                      \
	enum vellum_fault_result vellum_soft_fetch_xor##bits(struct vellum_soft_cpu *cpu,              \
							     uint64_t addr, uint##bits##_t val,        \
							     uint##bits##_t *old);
VELLUM_SOFT_SIZES(VELLUM_SOFT_DECLARE)
#undef VELLUM_SOFT_DECLARE
enum vellum_fault_result vellum_soft_cmpxchg128(struct vellum_soft_cpu *cpu, uint64_t addr,
						struct vellum_soft_u128 *old,
						struct vellum_soft_u128 desired, bool *swapped);

/**
 * vellum_soft_fetch - read @len bytes of instructions, which may cross pages
 *
 * If a page cannot be executed, @buf has the bytes before vellum_soft_fault_addr().
 */
enum vellum_fault_result vellum_soft_fetch(struct vellum_soft_cpu *cpu, uint64_t addr, void *buf,
					   size_t len);

/**
 * vellum_soft_shstk_load64, vellum_soft_shstk_store64 - one shadow-stack access of 8 bytes
 *
 * As a CPU's own pushes and pops of return addresses. They work only on pages whose entries have the shadow-stack
 * encoding (RW=0, D=1); elsewhere they fault with VELLUM_FAULT_SHSTK. On such pages ordinary stores fault, and
 * ordinary loads do not. An address that is not aligned works as for vellum_soft_load64().
 */
enum vellum_fault_result vellum_soft_shstk_load64(struct vellum_soft_cpu *cpu, uint64_t addr,
						  uint64_t *val);
enum vellum_fault_result vellum_soft_shstk_store64(struct vellum_soft_cpu *cpu, uint64_t addr,
						   uint64_t val);

#ifdef __cplusplus
}
#endif
#endif
