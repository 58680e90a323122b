/* SPDX-License-Identifier: MIT */
/* lib/types.h - types and small functions that every file of the core uses. */
#ifndef LIB_TYPES_H
#define LIB_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The only functions of libc that the core may call. */
void *memcpy(void *restrict dst, const void *restrict src, size_t n);
void *memmove(void *dst, const void *src, size_t n);
void *memset(void *dst, int byte, size_t n);
int memcmp(const void *a, const void *b, size_t n);

typedef uint64_t gva_t;		/* guest virtual address, bytes */
typedef uint64_t pfn_t;		/* guest page frame number, pages */
typedef uint64_t pgoff_t;	/* index in a mapping, pages */

#define PAGE_SHIFT	12
#define PAGE_SIZE	(1ul << PAGE_SHIFT)
#define PAGE_MASK	(~(PAGE_SIZE - 1))

#define EXPORT		__attribute__((visibility("default")))	/* a function of the public API */
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)

static inline uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Number of set bits. (The compiler's builtin may call libgcc.) */
static inline unsigned popcount64(uint64_t v)
{
	v -= v >> 1 & 0x5555555555555555ull;
	v = (v & 0x3333333333333333ull) + (v >> 2 & 0x3333333333333333ull);
	v = (v + (v >> 4)) & 0x0f0f0f0f0f0f0f0full;
	return (unsigned)(v * 0x0101010101010101ull >> 56);
}

/* Take a reference, unless the last one was dropped. The caller keeps the counter's memory from being freed. */
static inline bool ref_try_get(uint32_t *refs)
{
	uint32_t old = __atomic_load_n(refs, __ATOMIC_RELAXED);

	while (old && !__atomic_compare_exchange_n(refs, &old, old + 1, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		;
	return old != 0;
}

static inline uint64_t page_align_up(uint64_t v)
{
	return (v + PAGE_SIZE - 1) & PAGE_MASK;
}

#endif
