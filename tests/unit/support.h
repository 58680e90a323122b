/* SPDX-License-Identifier: MIT */
/* tests/unit/support.h - a world for tests: memory, a software machine, one address space. */
#ifndef TESTS_UNIT_SUPPORT_H
#define TESTS_UNIT_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "host/test.h"
#include "mm/table/exposed.h"
#include "mm/table/pgtable.h"
#include "mm/vma.h"
#include "vellum/soft.h"

#define BASE 0x100000000ull
#define PAGE(i) (BASE + (uint64_t)(i) * PAGE_SIZE)

struct world {
	struct test_host host;
	struct vellum_soft *soft;
	struct vellum_memory *memory;
	struct vellum_mm *mm;
	struct vellum_soft_cpu *cpu[4];	/* 0 runs mm */
	void *ram;
	uint64_t ram_size;
};

/* Build and tear down; teardown checks for leaks, lost frames and bug() calls. */
void world_create(struct world *w, uint64_t ram_size);
void world_destroy(struct world *w);
/* Right after world_create(): another memory and address space, with this machine and host; no CPU runs in it. */
void world_remake(struct world *w, const struct vellum_mmu_ops *mmu, const struct vellum_host_ops *host);
int world_setup(void **state);		/* cmocka fixtures: *state is a struct world */
int world_teardown(void **state);

/* In a thread: cmocka's assertions are for the main one. Ends the process. */
void must_in_thread(bool ok);

/* Run the validator; fails the test with the invariant's name. */
void check_world(struct world *w);

/* Map @pages pages at PAGE(@at); kinds of mapping. */
#define ANON   (VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS)
#define SHANON (VELLUM_MAP_SHARED | VELLUM_MAP_ANONYMOUS)
#define RW     (VELLUM_PROT_READ | VELLUM_PROT_WRITE)
#define RO     VELLUM_PROT_READ
void map_at(struct vellum_mm *mm, unsigned at, unsigned pages, uint32_t prot, uint32_t flags);
void map_object(struct vellum_mm *mm, unsigned at, unsigned pages, uint32_t prot, uint32_t flags,
		struct vellum_mapping *mapping, uint64_t pgoff, uint32_t file_prot);

void store(struct vellum_soft_cpu *cpu, uint64_t addr, uint64_t val);	/* must work */
uint64_t load(struct vellum_soft_cpu *cpu, uint64_t addr);
enum vellum_fault_result try_store(struct vellum_soft_cpu *cpu, uint64_t addr, uint64_t val);

/* The raw entry for an address; 0 where there is no table. */
pte_t entry_at(struct vellum_mm *mm, uint64_t addr);
/* Put a raw value there (a table must exist). */
void set_entry_at(struct vellum_mm *mm, uint64_t addr, pte_t pte);
unsigned nr_vmas(struct vellum_mm *mm);

/* A collection as a bit per page from PAGE(0) (or object page 0) on, for up to 64 pages. */
uint64_t collect(struct vellum_tracker *t, uint64_t first_page);

/* An object with counters in its hooks. */
struct counting {
	unsigned faults, mkwrites, dirts, releases;
	int mkwrite_code;	/* what the next mkwrites return */
	int fault_code;
	uint64_t dirt_mask;	/* pages below 64 whose dirt left */
	uint64_t first_pfn;	/* pfn objects */
};
extern const struct vellum_backing_ops counting_ops;		/* pages filled with their index */
extern const struct vellum_backing_ops counting_pfn_ops;
struct vellum_mapping *new_object(struct world *w, struct counting *c, uint64_t pages);
struct vellum_mapping *new_pfn_object(struct world *w, struct counting *c, uint64_t pages);

#endif
