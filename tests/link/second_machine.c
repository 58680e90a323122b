/* SPDX-License-Identifier: MIT */
/*
 * tests/link/second_machine.c - a machine written from include/vellum/mmu.h and SPEC.md "Entries"
 * alone: one CPU with a TLB, in the thread that also calls the library. docs/porting.md quotes it.
 */
#include "tests/link/second.h"

#include <stddef.h>
#include <stdlib.h>

#define TLB_ENTRIES 16
#define NO_PAGE	    (~0ull)

/* SPEC.md, "Entries" */
#define ENTRY_PRESENT  (1ull << 0)
#define ENTRY_WRITE    (1ull << 1)
#define ENTRY_USER     (1ull << 2)
#define ENTRY_ACCESSED (1ull << 5)
#define ENTRY_DIRTY    (1ull << 6)
#define ENTRY_FRAME(e) ((e) >> 12 & ((1ull << 40) - 1))

struct translation {
	uint64_t page;		/* address / 4096, or NO_PAGE */
	char *host;		/* its bytes */
	bool may_store;		/* only if the entry is writable and known to be dirty */
};

struct cpu {
	struct vellum_mm *mm;
	struct translation tlb[TLB_ENTRIES];
};

const char *const machine_name = "second_machine.c";

/* --- what the core tells us to forget --- */

static void forget(struct cpu *cpu, uint64_t start, uint64_t end)
{
	for (int i = 0; i < TLB_ENTRIES; i++)
		if (cpu->tlb[i].page >= start >> 12 && cpu->tlb[i].page < end >> 12)
			cpu->tlb[i].page = NO_PAGE;
}

static void forget_all(struct cpu *cpu)
{
	for (int i = 0; i < TLB_ENTRIES; i++)
		cpu->tlb[i].page = NO_PAGE;
}

static void flush(void *machine, struct vellum_mm *mm, const struct vellum_flush_batch *batch)
{
	(void)mm;	/* the CPU is in it, or the core would not ask */
	for (unsigned i = 0; i < batch->nr_ranges; i++)
		forget(machine, batch->range[i].start, batch->range[i].end);
}

static void flush_mm(void *machine, struct vellum_mm *mm)
{
	(void)mm;
	forget_all(machine);
}

const struct vellum_mmu_ops *machine_ops(void)
{
	static const struct vellum_mmu_ops ops = {
		.size = sizeof(ops),
		.flush = flush,
		.flush_mm = flush_mm,
	};

	return &ops;
}

/* --- the walk --- */

static bool permits(uint64_t entry, bool store)
{
	return (entry & ENTRY_PRESENT) && (entry & ENTRY_USER) && (!store || (entry & ENTRY_WRITE));
}

/* Set the bits that the access sets, in an entry that permits it in that very update. */
static bool use_entry(uint64_t *entry, bool store, uint64_t bits, uint64_t *old)
{
	*old = __atomic_load_n(entry, __ATOMIC_ACQUIRE);
	do {
		if (!permits(*old, store))
			return false;
	} while ((*old & bits) != bits &&
		 !__atomic_compare_exchange_n(entry, old, *old | bits, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));
	return true;
}

/* Fill @to, or say in @error why not. */
static bool walk(struct cpu *cpu, uint64_t addr, bool store, struct translation *to, uint32_t *error)
{
	struct vellum_memory *memory = vellum_mm_memory(cpu->mm);
	uint64_t frame = vellum_mm_pgd(cpu->mm), entry = 0;

	for (int shift = 39; shift >= 12; shift -= 9) {
		uint64_t *table = vellum_frame_host(memory, frame);
		uint64_t bits = ENTRY_ACCESSED | (store && shift == 12 ? ENTRY_DIRTY : 0);

		if (!use_entry(&table[addr >> shift & 511], store, bits, &entry)) {
			*error = VELLUM_FAULT_USER | (store ? VELLUM_FAULT_WRITE : 0) |
				 (entry & ENTRY_PRESENT ? VELLUM_FAULT_PRESENT : 0);
			return false;
		}
		frame = ENTRY_FRAME(entry);
		if (shift == 12)
			entry |= bits;
	}
	to->page = addr >> 12;
	to->host = vellum_frame_host(memory, frame);
	to->may_store = (entry & ENTRY_WRITE) && (entry & ENTRY_DIRTY);
	return true;
}

/* --- the CPU --- */

/* Host address of an access that is allowed, after as many faults as it takes. */
static enum vellum_fault_result translate(struct cpu *cpu, uint64_t addr, bool store, uint64_t **host)
{
	struct translation *t = &cpu->tlb[addr >> 12 & (TLB_ENTRIES - 1)];
	enum vellum_fault_result result;
	uint32_t error;

	while (t->page != addr >> 12 || (store && !t->may_store)) {
		if (walk(cpu, addr, store, t, &error))
			continue;
		result = vellum_handle_fault(cpu->mm, addr, error);
		if (result != VELLUM_FAULT_OK)
			return result;
	}
	*host = (uint64_t *)(t->host + (addr & 4095));
	return VELLUM_FAULT_OK;
}

enum vellum_fault_result cpu_load(struct cpu *cpu, uint64_t addr, uint64_t *value)
{
	enum vellum_fault_result result;
	uint64_t *host;

	result = translate(cpu, addr, false, &host);
	if (result == VELLUM_FAULT_OK)
		*value = *host;
	return result;
}

enum vellum_fault_result cpu_store(struct cpu *cpu, uint64_t addr, uint64_t value)
{
	enum vellum_fault_result result;
	uint64_t *host;

	result = translate(cpu, addr, true, &host);
	if (result == VELLUM_FAULT_OK)
		*host = value;
	return result;
}

/* Translations of the old address space go before the CPU leaves its mask: so caps need not say
 * that they survive. */
void cpu_enter(struct cpu *cpu, struct vellum_mm *mm)
{
	forget_all(cpu);
	if (cpu->mm)
		vellum_mm_deactivate(cpu->mm, 0);
	cpu->mm = mm;
	if (mm)
		vellum_mm_activate(mm, 0);
}

struct cpu *machine_create(void)
{
	struct cpu *cpu = malloc(sizeof(*cpu));

	if (cpu) {
		cpu->mm = NULL;
		forget_all(cpu);
	}
	return cpu;
}

void machine_destroy(struct cpu *cpu)
{
	free(cpu);
}

void *machine_context(struct cpu *cpu)
{
	return cpu;
}
