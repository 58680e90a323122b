/* SPDX-License-Identifier: MIT */
/*
 * tests/explore/scenario.h - the parts of a scenario of the explorer.
 *
 * Threads that call the real core run as coroutines; some of them drive logical CPUs. Every schedule of a
 * scenario runs in a new world: memory, a software machine, one address space that every CPU has loaded.
 * A file of scenarios has one subject and ends with a table, which main.c lists.
 */
#ifndef TESTS_EXPLORE_SCENARIO_H
#define TESTS_EXPLORE_SCENARIO_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mm/table/exposed.h"
#include "mm/table/pgtable.h"
#include "mm/vma.h"
#include "vellum/soft.h"

#define MAX_THREADS 4
#define MAX_CPUS 4
#define BASE 0x100000000ull
#define PAGE(i) (BASE + (uint64_t)(i) * PAGE_SIZE)
#define MAX_PAGES 8		/* pages that scenarios use, from BASE on; check_world_step() checks these */

/* What the machine can do. */
enum {
	STOPS_WALKS = 1,	/* the machine has stop_walks(); without it the core uses locked instructions */
	MEMBARRIER = 2,		/* CPUs enter without a fence, and flushers use membarrier(2) */
};

struct scenario {
	const char *name;
	unsigned nr_cpus;	/* 0: 2 */
	unsigned machine;
	uint64_t ram;		/* bytes; 0: 4 MiB */
	void (*setup)(void);
	struct {
		const char *name;
		void (*run)(void);
	} thread[MAX_THREADS];
	/* Called after every step, in the middle of threads' calls. Return: NULL, or what is violated. */
	const char *(*check_step)(void);
	/* Called after the last thread ended, and before the validator. */
	const char *(*check_end)(void);
	void (*teardown)(void);
	unsigned bound;		/* most preemptions by default; 0: 2 */
	unsigned random;	/* so many random schedules instead, as all take too long; 0: none */
};

#define THREAD(fn) { #fn, fn }

/* --- the world, as setup() finds it --- */

extern struct vellum_memory *memory;
extern struct vellum_mm *mm;
extern struct vellum_soft_cpu *cpu[MAX_CPUS];
extern struct vellum_mapping *object;	/* for scenarios that map one; put when the world ends */

#define MUST(call) do { if (call) explore_broken(#call); } while (0)
void explore_broken(const char *call) __attribute__((noreturn));

/* Make @object: @ops may be NULL. Map @pages of it, or anonymous memory (@mapping NULL), at PAGE(@at). */
void new_object(const struct vellum_backing_ops *ops, uint64_t pages, uint32_t flags);
void map_pages(struct vellum_mm *to, unsigned at, unsigned pages, uint32_t prot, uint32_t flags,
	       struct vellum_mapping *mapping, uint64_t pgoff);
/* Map an unused page, so that an unmap does not free the tables: freeing them takes a thousand steps. */
void keep_tables(void);
#define RW (VELLUM_PROT_READ | VELLUM_PROT_WRITE)
#define SHARED VELLUM_MAP_SHARED
#define PRIVATE VELLUM_MAP_PRIVATE

/* A store that must succeed. store_and_fence() waits until the store is visible to all. */
void store(unsigned c, unsigned page, uint64_t val);
void store_and_fence(unsigned c, unsigned page, uint64_t val);
uint64_t load(unsigned c, unsigned page);
static inline enum vellum_fault_result try_store(unsigned c, unsigned page, uint64_t val)
{
	return vellum_soft_store64(cpu[c], PAGE(page), val);
}

/* A swap area. Another thread may run in its hooks. A free slot has bytes that no page has. */
void add_swap(void);

/* Another thread may run here. */
void pause_here(void);
/* Another thread must run before this one can continue. */
void wait_for_others(const volatile void *what);

/* --- for checks: without a scheduling point, and without changes --- */

uint64_t raw_entry(struct vellum_mm *of, unsigned page);	/* 0: no table, or no entry */
bool entry_locked(struct vellum_mm *of, unsigned page);
const void *raw_bytes(struct vellum_mm *of, unsigned page);	/* NULL: nothing mapped */
uint64_t raw_word(struct vellum_mm *of, unsigned page);		/* the page's first word; ~0: nothing mapped */
static inline bool raw_present(struct vellum_mm *of, unsigned page)
{
	return pte_present(pte_make(raw_entry(of, page)));
}
/* A cached page of @object. */
const void *object_bytes(unsigned page);	/* NULL: not cached */
uint64_t object_word(unsigned page);		/* ~0: not cached */
/* Has any CPU a translation to the frame at @host? @to_store: only one for stores counts. */
bool tlb_reaches(const void *host, bool to_store);

/* Report a violation from inside a thread. Does not return. */
void violated(const char *what);

#endif
