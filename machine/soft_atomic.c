/* SPDX-License-Identifier: MIT */
/* machine/soft_atomic.c - the software MMU: accesses that read, change and store in one step. */
#include "machine/soft_cpu.h"

#include "arch/x86/entry.h"

struct change {
	uint64_t old, val;	/* the value found; what is stored, or the operand */
	bool swapped;
};

/* The operation on the bytes, which are aligned: in memory, or a copy while other CPUs are kept from memory. */
#define DEFINE_OPERATION(name, bits, expression)                                                      \
	static void do_##name##bits(char *host, void *arg)                                            \
	{                                                                                             \
		struct change *c = arg;                                                               \
		uint##bits##_t *at = (uint##bits##_t *)host, val = (uint##bits##_t)c->val;            \
                                                                                                      \
		sched_point(SCHED_MEMORY, host);                                                      \
		sched_locked();                                                                       \
		c->old = (expression);                                                                \
	}                                                                                             \
	EXPORT enum vellum_fault_result vellum_soft_##name##bits(struct vellum_soft_cpu *cpu,         \
								 uint64_t addr, uint##bits##_t val,   \
								 uint##bits##_t *old)                 \
	{                                                                                             \
		struct change c = { 0, val, true };                                                   \
		enum vellum_fault_result result;                                                      \
                                                                                                      \
		result = soft_access(cpu, addr, bits / 8, VELLUM_SOFT_STORE, do_##name##bits, &c,     \
				     SOFT_LOCK_SPLIT);                                                \
		if (result == VELLUM_FAULT_OK)                                                        \
			*old = (uint##bits##_t)c.old;                                                 \
		return result;                                                                        \
	}

#define DEFINE_CMPXCHG(bits)                                                                          \
	static void do_cmpxchg##bits(char *host, void *arg)                                           \
	{                                                                                             \
		struct change *c = arg;                                                               \
		uint##bits##_t old = (uint##bits##_t)c->old;                                          \
                                                                                                      \
		sched_point(SCHED_MEMORY, host);                                                      \
		sched_locked();                                                                       \
		c->swapped = __atomic_compare_exchange_n((uint##bits##_t *)host, &old,                \
							 (uint##bits##_t)c->val, false,               \
							 __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);         \
		c->old = old;                                                                         \
	}                                                                                             \
	EXPORT enum vellum_fault_result vellum_soft_cmpxchg##bits(struct vellum_soft_cpu *cpu,        \
								  uint64_t addr, uint##bits##_t *old, \
								  uint##bits##_t desired,             \
								  bool *swapped)                      \
	{                                                                                             \
		struct change c = { *old, desired, false };                                           \
		enum vellum_fault_result result;                                                      \
                                                                                                      \
		result = soft_access(cpu, addr, bits / 8, VELLUM_SOFT_STORE, do_cmpxchg##bits, &c,    \
				     SOFT_LOCK_SPLIT);                                                \
		if (result == VELLUM_FAULT_OK) {                                                      \
			*old = (uint##bits##_t)c.old;                                                 \
			*swapped = c.swapped;                                                         \
		}                                                                                     \
		return result;                                                                        \
	}

#define DEFINE_ALL(bits)                                                                              \
	DEFINE_CMPXCHG(bits)                                                                          \
	DEFINE_OPERATION(exchange, bits, __atomic_exchange_n(at, val, __ATOMIC_SEQ_CST))              \
	DEFINE_OPERATION(fetch_add, bits, __atomic_fetch_add(at, val, __ATOMIC_SEQ_CST))              \
	DEFINE_OPERATION(fetch_and, bits, __atomic_fetch_and(at, val, __ATOMIC_SEQ_CST))              \
	DEFINE_OPERATION(fetch_or, bits, __atomic_fetch_or(at, val, __ATOMIC_SEQ_CST))                \
	DEFINE_OPERATION(fetch_xor, bits, __atomic_fetch_xor(at, val, __ATOMIC_SEQ_CST))
VELLUM_SOFT_SIZES(DEFINE_ALL)

/* --- 16 bytes --- */

struct change128 {
	struct vellum_soft_u128 old, val;
	bool swapped;
};

#ifdef __x86_64__
#define LOCK_128 SOFT_LOCK_SPLIT

/* The compiler would call a library for it. Not seen by ThreadSanitizer: a race is the simulated program's. */
static bool exchange128(char *host, struct change128 *c)
{
	bool swapped;

	__asm__ volatile("lock cmpxchg16b %1"
			 : "=@ccz"(swapped), "+m"(*(struct vellum_soft_u128 *)host), "+a"(c->old.low), "+d"(c->old.high)
			 : "b"(c->val.low), "c"(c->val.high)
			 : "memory");
	return swapped;
}
#else
#define LOCK_128 SOFT_LOCK_ALWAYS

static bool exchange128(char *host, struct change128 *c)
{
	const struct vellum_soft_u128 expected = c->old;

	vellum_soft_do_load128(host, &c->old);
	if (c->old.low != expected.low || c->old.high != expected.high)
		return false;
	vellum_soft_do_store128(host, &c->val);
	return true;
}
#endif

static void do_cmpxchg128(char *host, void *arg)
{
	struct change128 *c = arg;

	sched_point(SCHED_MEMORY, host);
	sched_locked();
	c->swapped = exchange128(host, c);
}

EXPORT enum vellum_fault_result vellum_soft_cmpxchg128(struct vellum_soft_cpu *cpu, uint64_t addr,
						       struct vellum_soft_u128 *old,
						       struct vellum_soft_u128 desired, bool *swapped)
{
	struct change128 c = { *old, desired, false };
	enum vellum_fault_result result;

	result = soft_access(cpu, addr, sizeof(desired), VELLUM_SOFT_STORE, do_cmpxchg128, &c, LOCK_128);
	if (result == VELLUM_FAULT_OK) {
		*old = c.old;
		*swapped = c.swapped;
	}
	return result;
}
