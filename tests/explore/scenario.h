/* SPDX-License-Identifier: MIT */
/*
 * tests/explore/scenario.h - what a scenario of the explorer is made of.
 *
 * Threads of the real core run as coroutines; some of them drive logical CPUs. Each scenario runs in a
 * world made anew for every schedule: memory, a software machine, one address space that every CPU is in.
 * A file of scenarios has one subject and ends in a table, which main.c lists.
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
#define MAX_PAGES 8		/* that scenarios use, from BASE on; the checks of every step look at these */

/* What the machine can do. */
enum {
	STOPS_WALKS = 1,	/* stop_walks(): else the core needs locked instructions */
	MEMBARRIER = 2,		/* CPUs enter without a fence, flushers use membarrier(2) */
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
	/* After every step, while threads are anywhere: NULL, or what is violated. */
	const char *(*check_step)(void);
	/* After the last one ended, and before the validator. */
	const char *(*check_end)(void);
	void (*teardown)(void);
	unsigned bound;		/* preemptions that the short form tries; 0: 2 */
};

#define THREAD(fn) { #fn, fn }

/* --- the world that setup() finds --- */

extern struct vellum_memory *memory;
extern struct vellum_mm *mm;
extern struct vellum_soft_cpu *cpu[MAX_CPUS];
extern struct vellum_mapping *object;	/* for scenarios that map one; put when the world goes */

#define MUST(call) do { if (call) explore_broken(#call); } while (0)
void explore_broken(const char *call) __attribute__((noreturn));

/* Make @object: @ops may be NULL. Map @pages of it, or anonymous memory (@mapping NULL), at PAGE(@at). */
void new_object(const struct vellum_backing_ops *ops, uint64_t pages, uint32_t flags);
void map_pages(struct vellum_mm *to, unsigned at, unsigned pages, uint32_t prot, uint32_t flags,
	       struct vellum_mapping *mapping, uint64_t pgoff);
/* Map a page that nobody uses, so that an unmap leaves the tables: freeing them takes a thousand steps. */
void keep_tables(void);
#define RW (VELLUM_PROT_READ | VELLUM_PROT_WRITE)
#define SHARED VELLUM_MAP_SHARED
#define PRIVATE VELLUM_MAP_PRIVATE

/* An access that must succeed; the second kind waits until the store is visible to everybody. */
void store(unsigned c, unsigned page, uint64_t val);
void store_and_fence(unsigned c, unsigned page, uint64_t val);
uint64_t load(unsigned c, unsigned page);
static inline enum vellum_fault_result try_store(unsigned c, unsigned page, uint64_t val)
{
	return vellum_soft_store64(cpu[c], PAGE(page), val);
}

/* Another thread may run here. */
void pause_here(void);
/* Others have to, before this one can go on. */
void wait_for_others(const volatile void *what);

/* --- the checker's eyes: no scheduling point, nothing changed --- */

uint64_t raw_entry(struct vellum_mm *of, unsigned page);	/* 0: no table, or nothing there */
bool entry_locked(struct vellum_mm *of, unsigned page);
const void *raw_bytes(struct vellum_mm *of, unsigned page);	/* NULL: nothing mapped */
uint64_t raw_word(struct vellum_mm *of, unsigned page);		/* the first one; ~0: nothing mapped */
static inline bool raw_present(struct vellum_mm *of, unsigned page)
{
	return pte_present(pte_make(raw_entry(of, page)));
}
/* A cached page of @object. */
const void *object_bytes(unsigned page);	/* NULL: not cached */
uint64_t object_word(unsigned page);		/* ~0: not cached */
/* Some CPU has a translation to the frame at @host: for stores, or for anything. */
bool tlb_reaches(const void *host, bool to_store);

/* A violation found in the middle of a thread: it does not return. */
void violated(const char *what);

#endif
