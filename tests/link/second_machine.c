/* SPDX-License-Identifier: MIT */
/*
 * tests/link/second_machine.c - a machine written from include/vellum/mmu.h and SPEC.md "Entries"
 * alone: one CPU with a TLB, in the thread that also calls the library. docs/porting.md quotes it.
 */
#include "tests/link/second.h"

#include <stddef.h>
#include <stdlib.h>

#include "vellum/mm.h"

#define TLB_ENTRIES 16
#define NO_PAGE	    (~0ull)

/* SPEC.md, "Entries" */
#define ENTRY_PRESENT  (1ull << 0)
#define ENTRY_WRITE    (1ull << 1)
#define ENTRY_USER     (1ull << 2)
#define ENTRY_ACCESSED (1ull << 5)
#define ENTRY_DIRTY    (1ull << 6)
#define ENTRY_HUGE     (1ull << 7)	/* of levels 2 and 3: it maps 2 MiB, 1 GiB; of level 1 this bit is PAT */
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

/* Does the walk end here? An entry at @shift covers 1 << @shift bytes. */
static bool is_leaf(uint64_t entry, int shift)
{
	return shift == 12 || (shift <= 30 && (entry & ENTRY_HUGE));
}

/* Set the bits that the access sets, in an entry that permits it in that very update. */
static bool use_entry(uint64_t *entry, bool store, int shift, uint64_t *old)
{
	uint64_t bits;

	*old = __atomic_load_n(entry, __ATOMIC_ACQUIRE);
	do {
		if (!permits(*old, store))
			return false;
		bits = ENTRY_ACCESSED | (store && is_leaf(*old, shift) ? ENTRY_DIRTY : 0);
	} while ((*old & bits) != bits &&
		 !__atomic_compare_exchange_n(entry, old, *old | bits, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE));
	*old |= bits;
	return true;
}

/* The frame of one page of what a leaf maps. Bits below a huge leaf's alignment are no part of it. */
static uint64_t frame_of_page(uint64_t leaf, int shift, uint64_t addr)
{
	uint64_t pages = 1ull << (shift - 12);

	return (ENTRY_FRAME(leaf) & ~(pages - 1)) + (addr >> 12 & (pages - 1));
}

/* Fill @to, or say in @error why not. */
static bool walk(struct cpu *cpu, uint64_t addr, bool store, struct translation *to, uint32_t *error)
{
	struct vellum_memory *memory = vellum_mm_memory(cpu->mm);
	uint64_t frame = vellum_mm_pgd(cpu->mm), entry;
	int shift = 39;

	for (;; shift -= 9) {
		uint64_t *table = vellum_frame_host(memory, frame);

		if (!use_entry(&table[addr >> shift & 511], store, shift, &entry)) {
			*error = VELLUM_FAULT_USER | (store ? VELLUM_FAULT_WRITE : 0) |
				 (entry & ENTRY_PRESENT ? VELLUM_FAULT_PRESENT : 0);
			return false;
		}
		if (is_leaf(entry, shift))
			break;
		frame = ENTRY_FRAME(entry);
	}
	frame = frame_of_page(entry, shift, addr);
	to->page = addr >> 12;
	to->host = vellum_frame_host(memory, frame);
	to->may_store = (entry & ENTRY_WRITE) && (entry & ENTRY_DIRTY);
	return true;
}

/* --- the CPU --- */

/* Make the CPU know a translation that allows the access, after as many faults as it takes. @walked: it had none. */
static enum vellum_fault_result translate(struct cpu *cpu, uint64_t addr, bool store, bool *walked)
{
	struct translation *t = &cpu->tlb[addr >> 12 & (TLB_ENTRIES - 1)];
	enum vellum_fault_result result;
	uint32_t error;

	while (t->page != addr >> 12 || (store && !t->may_store)) {
		*walked = true;
		if (addr >= VELLUM_TASK_SIZE)
			return VELLUM_FAULT_SIGSEGV_MAPERR;
		if (walk(cpu, addr, store, t, &error))
			continue;
		result = vellum_handle_fault(cpu->mm, addr, error);
		if (result != VELLUM_FAULT_OK)
			return result;
	}
	return VELLUM_FAULT_OK;
}

/* 8 bytes, which may cross a page: both pages are translated before the first byte is read or stored. The
 * fault of one may have flushed the other, so until nothing was missing. */
static enum vellum_fault_result access_bytes(struct cpu *cpu, uint64_t addr, bool store, uint64_t *value)
{
	enum vellum_fault_result result;
	bool walked;

	do {
		walked = false;
		result = translate(cpu, addr, store, &walked);
		if (result == VELLUM_FAULT_OK)
			result = translate(cpu, addr + sizeof(*value) - 1, store, &walked);
		if (result != VELLUM_FAULT_OK)
			return result;
	} while (walked);
	for (unsigned i = 0; i < sizeof(*value); i++) {
		char *byte = cpu->tlb[(addr + i) >> 12 & (TLB_ENTRIES - 1)].host + ((addr + i) & 4095);

		if (store)
			*byte = ((char *)value)[i];
		else
			((char *)value)[i] = *byte;
	}
	return VELLUM_FAULT_OK;
}

enum vellum_fault_result cpu_load(struct cpu *cpu, uint64_t addr, uint64_t *value)
{
	return access_bytes(cpu, addr, false, value);
}

enum vellum_fault_result cpu_store(struct cpu *cpu, uint64_t addr, uint64_t value)
{
	return access_bytes(cpu, addr, true, &value);
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
