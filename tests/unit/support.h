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
/* cmocka needs the four headers above */
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
	struct vellum_soft_cpu *cpu[4];	/* CPU 0 has loaded mm */
	void *ram;
	uint64_t ram_size;
};

/* world_destroy() checks for leaks, lost frames and calls of bug(). */
void world_create(struct world *w, uint64_t ram_size);
void world_destroy(struct world *w);
/* Right after world_create(): replace memory and address space, with this machine and host. No CPU loads it. */
void world_remake(struct world *w, const struct vellum_mmu_ops *mmu, const struct vellum_host_ops *host);
int world_setup(void **state);		/* cmocka fixtures: *state is a struct world */
int world_teardown(void **state);

/* An assertion for other threads than the main one, where cmocka's do not work. Ends the process. */
void must_in_thread(bool ok);

/* Run the validator. If it finds a violation, the test fails with the invariant's name. */
void check_world(struct world *w);

/* Kinds of memory, and a function that maps @pages pages at PAGE(@at). */
#define ANON   (VELLUM_MAP_PRIVATE | VELLUM_MAP_ANONYMOUS)
#define SHANON (VELLUM_MAP_SHARED | VELLUM_MAP_ANONYMOUS)
#define RW     (VELLUM_PROT_READ | VELLUM_PROT_WRITE)
#define RO     VELLUM_PROT_READ
void map_at(struct vellum_mm *mm, unsigned at, unsigned pages, uint32_t prot, uint32_t flags);
void map_object(struct vellum_mm *mm, unsigned at, unsigned pages, uint32_t prot, uint32_t flags,
		struct vellum_mapping *mapping, uint64_t pgoff, uint32_t file_prot);

void store(struct vellum_soft_cpu *cpu, uint64_t addr, uint64_t val);	/* must succeed */
uint64_t load(struct vellum_soft_cpu *cpu, uint64_t addr);
enum vellum_fault_result try_store(struct vellum_soft_cpu *cpu, uint64_t addr, uint64_t val);

/* The raw entry for an address; 0: no table. */
pte_t entry_at(struct vellum_mm *mm, uint64_t addr);
/* Set the raw entry. The table must exist. */
void set_entry_at(struct vellum_mm *mm, uint64_t addr, pte_t pte);
/* The first VMA that ends above @addr. The mmap lock is dropped again: no other thread may change VMAs. */
struct vma *vma_at(struct vellum_mm *mm, uint64_t addr);
unsigned nr_vmas(struct vellum_mm *mm);

/* Collect. Return: a bit per page, from PAGE(0) (or page 0 of a mapping) on, for up to 64 pages. */
uint64_t collect(struct vellum_tracker *t, uint64_t first_page);

/* A mapping with counters in its hooks. */
struct counting {
	unsigned faults, mkwrites, dirts, releases;
	int mkwrite_code;	/* return value of mkwrite */
	int fault_code;
	uint64_t dirt_mask;	/* a bit per page below 64 that dirt() reported */
	uint64_t first_pfn;	/* of mappings of raw frames */
};
extern const struct vellum_backing_ops counting_ops;		/* pages filled with their index */
extern const struct vellum_backing_ops counting_pfn_ops;
struct vellum_mapping *new_object(struct world *w, struct counting *c, uint64_t pages);
struct vellum_mapping *new_pfn_object(struct world *w, struct counting *c, uint64_t pages);

#endif
