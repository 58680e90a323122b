/* SPDX-License-Identifier: MIT */
/* machine/soft_tlb.c - the software TLB of a CPU, which must be busy or held: places, translations, flushes. */
#include "machine/soft_cpu.h"

#include <stdlib.h>
#include <string.h>

#include "arch/x86/entry.h"
#include "lib/errnum.h"

#define OWN_TLB (VELLUM_SOFT_KEEP | VELLUM_SOFT_VCACHE)	/* cpu->tlb stays empty, so that all accesses take the slow path */
#define BLOCK 64			/* places that cpu->tlb_used has one bit for */
#define LONG_RANGE 512			/* pages: more are not looked up one by one */
#define MAX_PLACES (1u << 24)

/* --- the places of a TLB, in blocks of 64: cpu->tlb_used tells which blocks may have translations --- */

static uint64_t used_index(uint64_t place)
{
	return place / BLOCK / 64;
}

static void note_used(struct vellum_soft_cpu *cpu, const struct vellum_soft_tlbe *e)
{
	uint64_t place = (uint64_t)(e - cpu->tlb);

	cpu->tlb_used[used_index(place)] |= 1ull << place / BLOCK % 64;
}

/* --- translations --- */

/* May this access to @page use the translation, without setting a bit in the entry? @page is the page's address. */
static bool serves(const struct vellum_soft_tlbe *e, uint64_t page, enum vellum_soft_access kind)
{
	switch (kind) {
	case VELLUM_SOFT_LOAD:
		return e->load == page;
	case VELLUM_SOFT_STORE:
		return e->store == page;
	case VELLUM_SOFT_FETCH:
		return e->fetch == page;
	default:
		return e->store == (page | VELLUM_SOFT_SHSTK);
	}
}

/* NULL: not cached, or @faults is set: the cached translation refuses the access. */
static struct vellum_soft_tlbe *look_up_kept(struct vellum_soft_cpu *cpu, uint64_t page,
					     enum vellum_soft_access kind, bool *faults)
{
	struct vellum_soft_tlbe *e = hostile_find(cpu->soft->hostile, cpu->id, page);

	if (!e || serves(e, page, kind))
		return e;
	/* Writable, but D was not set: a store must read the entry. */
	*faults = hostile_is(cpu->soft->hostile, VELLUM_SOFT_KEEP) &&
		  !(kind == VELLUM_SOFT_STORE && e->store == VELLUM_SOFT_NO_PAGE);
	return NULL;
}

struct vellum_soft_tlbe *soft_tlb_look_up(struct vellum_soft_cpu *cpu, uint64_t page, enum vellum_soft_access kind,
					  bool *faults)
{
	struct vellum_soft_tlbe *e = vellum_soft_place(cpu, page);

	if (unlikely(hostile_is(cpu->soft->hostile, OWN_TLB)))
		return look_up_kept(cpu, page, kind, faults);
	sched_point(SCHED_TLB, e);
	return serves(e, page, kind) ? e : NULL;
}

struct vellum_soft_tlbe *soft_tlb_fill(struct vellum_soft_cpu *cpu, const struct vellum_soft_tlbe *e)
{
	struct vellum_soft_tlbe *place = vellum_soft_place(cpu, e->load);

	if (unlikely(hostile_is(cpu->soft->hostile, OWN_TLB)))
		return hostile_fill(cpu->soft->hostile, cpu->id, e);
	sched_point(SCHED_TLB, place);
	*place = *e;
	note_used(cpu, place);
	return place;
}

bool soft_tlb_has(struct vellum_soft_cpu *cpu, uint64_t page)
{
	if (hostile_is(cpu->soft->hostile, OWN_TLB))
		return hostile_find(cpu->soft->hostile, cpu->id, page);
	return vellum_soft_place(cpu, page)->load == page;
}

/* --- flushes --- */

static void drop(struct vellum_soft_tlbe *e)
{
	e->load = e->store = e->fetch = VELLUM_SOFT_NO_PAGE;
}

/* Look at each translation. */
static void drop_long_range(struct vellum_soft_cpu *cpu, uint64_t start, uint64_t end)
{
	for (uint64_t i = 0; i <= used_index(cpu->tlb_mask); i++)
		for (uint64_t used = cpu->tlb_used[i]; used; used &= used - 1) {
			struct vellum_soft_tlbe *e = &cpu->tlb[(64 * i + (unsigned)__builtin_ctzll(used)) * BLOCK];

			for (unsigned j = 0; j < BLOCK; j++)
				if (e[j].load >= start && e[j].load < end)
					drop(&e[j]);
		}
}

static void drop_range(struct vellum_soft_cpu *cpu, uint64_t start, uint64_t end)
{
	if (end - start > LONG_RANGE * PAGE_SIZE) {
		drop_long_range(cpu, start, end);
		return;
	}
	for (; start < end; start += PAGE_SIZE) {
		struct vellum_soft_tlbe *e = vellum_soft_place(cpu, start);

		if (e->load == start)
			drop(e);
	}
}

void soft_tlb_drop_batch(struct vellum_soft_cpu *cpu, const struct vellum_flush_batch *batch)
{
	if (cpu->soft->hostile)
		hostile_drop(cpu->soft->hostile, cpu->id, batch);
	for (unsigned i = 0; i < batch->nr_ranges; i++)
		drop_range(cpu, batch->range[i].start, batch->range[i].end);
}

static void empty_block(struct vellum_soft_cpu *cpu, uint64_t block)
{
	memset(&cpu->tlb[block * BLOCK], 0xff, BLOCK * sizeof(*cpu->tlb));	/* VELLUM_SOFT_NO_PAGE */
}

void soft_tlb_drop_all(struct vellum_soft_cpu *cpu)
{
	if (cpu->soft->hostile)
		hostile_drop(cpu->soft->hostile, cpu->id, NULL);
	for (uint64_t i = 0; i <= used_index(cpu->tlb_mask); i++)
		for (; cpu->tlb_used[i]; cpu->tlb_used[i] &= cpu->tlb_used[i] - 1)
			empty_block(cpu, 64 * i + (unsigned)__builtin_ctzll(cpu->tlb_used[i]));
}

/* --- sizes --- */

bool soft_tlb_size_valid(unsigned pages)
{
	return pages >= BLOCK && pages <= MAX_PLACES && !(pages & (pages - 1));
}

int soft_tlb_create(struct vellum_soft_cpu *cpu, unsigned pages)
{
	cpu->tlb_mask = pages - 1;
	cpu->tlb = aligned_alloc(64, pages * sizeof(*cpu->tlb));
	cpu->tlb_used = calloc(used_index(cpu->tlb_mask) + 1, sizeof(*cpu->tlb_used));
	if (!cpu->tlb || !cpu->tlb_used)
		return -ENOMEM;
	memset(cpu->tlb, 0xff, pages * sizeof(*cpu->tlb));
	return 0;
}

void soft_tlb_destroy(struct vellum_soft_cpu *cpu)
{
	free(cpu->tlb);
	free(cpu->tlb_used);
}
