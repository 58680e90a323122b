/* SPDX-License-Identifier: MIT */
/* tests/unit/more_support.h - calls that must succeed, lists of VMAs, random numbers, threads of CPUs. */
#ifndef TESTS_UNIT_MORE_SUPPORT_H
#define TESTS_UNIT_MORE_SUPPORT_H

#include "support.h"

#include <pthread.h>
#include <stdio.h>

#define OK(call)       assert_int_equal(call, 0)
#define BYTES(pages)   ((uint64_t)(pages)*PAGE_SIZE)
#define WORLD_TEST(fn) cmocka_unit_test_setup_teardown(fn, world_setup, world_teardown)

static inline void unmap(struct vellum_mm *mm, unsigned at, unsigned pages)
{
	OK(vellum_munmap(mm, PAGE(at), BYTES(pages)));
}

static inline void protect(struct vellum_mm *mm, unsigned at, unsigned pages, uint32_t prot)
{
	OK(vellum_mprotect(mm, PAGE(at), BYTES(pages), prot));
}

static inline void dontneed(struct vellum_mm *mm, unsigned at, unsigned pages)
{
	OK(vellum_madvise(mm, PAGE(at), BYTES(pages), VELLUM_MADV_DONTNEED));
}

/* @fn in a thread for each of the first @nr CPUs, which it gets, all in the world's address space. */
static inline void run_on_cpus(struct world *w, unsigned nr, void *(*fn)(void *cpu))
{
	pthread_t threads[4];

	for (unsigned i = 0; i < nr; i++) {
		if (i)
			vellum_soft_load_mm(w->cpu[i], w->mm);
		OK(pthread_create(&threads[i], NULL, fn, w->cpu[i]));
	}
	for (unsigned i = 0; i < nr; i++)
		pthread_join(threads[i], NULL);
}

/* Fork, and load the child on @cpu. */
static inline struct vellum_mm *fork_on(struct vellum_mm *parent, struct vellum_soft_cpu *cpu)
{
	struct vellum_mm *child;

	OK(vellum_fork(parent, &child));
	vellum_soft_load_mm(cpu, child);
	return child;
}

static inline void end_child(struct vellum_mm *child, struct vellum_soft_cpu *cpu)
{
	vellum_soft_load_mm(cpu, NULL);
	vellum_mm_put(child);
}

static inline enum vellum_fault_result try_load(struct vellum_soft_cpu *cpu, uint64_t addr)
{
	uint64_t val;

	return vellum_soft_load64(cpu, addr, &val);
}

static inline uint64_t count_of(struct world *w, enum vellum_counter counter)
{
	return vellum_mm_counter(w->mm, counter);
}

static inline bool has_w(struct vellum_mm *mm, uint64_t addr)
{
	pte_t pte = entry_at(mm, addr);

	return pte_present(pte) && pte_write(pte);
}

static inline bool has_d(struct vellum_mm *mm, uint64_t addr)
{
	pte_t pte = entry_at(mm, addr);

	return pte_present(pte) && pte_dirty(pte);
}

static inline uint64_t free_frames(struct world *w)
{
	struct vellum_memory_info info = { .size = sizeof(info) };

	vellum_memory_info(w->memory, &info);
	return info.nr_free;
}

/* Counters, freed when the fixture tears the world down. */
static inline struct counting *new_counting(void)
{
	static struct counting pool[256];
	static unsigned next;

	pool[next % 256] = (struct counting){.faults = 0};
	return &pool[next++ % 256];
}

/* A new mapping whose hooks count calls, mapped at PAGE(0). */
static inline struct vellum_mapping *map_new(struct world *w, struct counting *c, unsigned pages, uint32_t prot,
					     uint32_t flags)
{
	struct vellum_mapping *obj = new_object(w, c, pages);

	map_object(w->mm, 0, pages, prot, flags, obj, 0, RW);
	return obj;
}

static inline struct folio *folio_at(struct world *w, unsigned at)
{
	return pfn_folio(w->memory, pte_pfn(entry_at(w->mm, PAGE(at))));
}

/* --- the VMAs of an address space, as vellum_vma_next() returns them --- */

#define LIST_MAX 64

struct vma_list {
	unsigned nr;
	struct vellum_vma_info vma[LIST_MAX];
};

static inline bool continues(const struct vellum_vma_info *a, const struct vellum_vma_info *b)
{
	return a->end == b->start && a->prot == b->prot && a->shared == b->shared &&
	       a->mapping == b->mapping && a->pgoff + ((a->end - a->start) >> 12) == b->pgoff;
}

/* @joined: list neighbours with the same attributes as one, merged or not. */
static inline void list_vmas(struct vellum_mm *mm, struct vma_list *list, bool joined)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	memset(list, 0, sizeof(*list));
	for (uint64_t at = 0; vellum_vma_next(mm, at, &info) == 0; at = info.end) {
		info.write_faults = 0;
		if (joined && list->nr && continues(&list->vma[list->nr - 1], &info)) {
			list->vma[list->nr - 1].end = info.end;
			continue;
		}
		assert_in_range(list->nr, 0, LIST_MAX - 1);
		list->vma[list->nr++] = info;
	}
}

static inline bool same_list(const struct vma_list *a, const struct vma_list *b)
{
	if (a->nr != b->nr)
		return false;
	for (unsigned i = 0; i < a->nr; i++) {
		const struct vellum_vma_info *x = &a->vma[i], *y = &b->vma[i];

		if (x->start != y->start || x->end != y->end || x->prot != y->prot ||
		    x->shared != y->shared || x->mapping != y->mapping || x->pgoff != y->pgoff)
			return false;
	}
	return true;
}

/* --- random numbers: xorshift64* --- */

static inline uint64_t random_u64(uint64_t *seed)
{
	*seed ^= *seed >> 12;
	*seed ^= *seed << 25;
	*seed ^= *seed >> 27;
	return *seed * 0x2545f4914f6cdd1dull;
}

static inline unsigned random_below(uint64_t *seed, unsigned n)
{
	return (unsigned)((random_u64(seed) >> 33) % n);
}

#endif
