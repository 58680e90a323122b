/* SPDX-License-Identifier: MIT */
/* mm/swap/swap_off.c - remove a swap area: swap in every entry and page that names it. */
#include "mm/fault/fault.h"
#include "mm/object/object.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/pagewalk.h"
#include "mm/table/pgtable.h"
#include "mm/track/hooks.h"
#include "mm/vma.h"

struct find_walk {
	unsigned type;
	gva_t found;
};

static int find_entry(pte_t *ptep, gva_t addr, struct mm_walk *walk)
{
	struct find_walk *fw = walk->private;
	pte_t pte = ptep_get(ptep);

	if (!pte_is_genuine_swap(pte) || pte_swp_type(pte) != fw->type)
		return 0;
	fw->found = addr;
	return WALK_STOP;
}

static const struct mm_walk_ops find_walk_ops = { .pte = find_entry };

/* The slot cannot be read: replace the entry by a poison marker. mmap_lock held. */
static void poison_entry(struct vma *vma, gva_t addr, unsigned type)
{
	struct mutex *ptl;
	pte_t *ptep = pte_lookup(vma->mm, addr, &ptl), pte;

	mutex_lock(ptl, mm_host(vma->mm));
	pte = ptep_get(ptep);
	if (pte_is_genuine_swap(pte) && pte_swp_type(pte) == type) {
		ptep_set(ptep, pte_marker(MARKER_POISON));
		track_change(vma, addr);
		swp_entry_drop(vma->mm, pte);
	}
	mutex_unlock(ptl, mm_host(vma->mm));
}

/*
 * Swap in the next entry of the area at *@at or above; *@at: its address. 1: there is none. 0: there was an entry. It
 * may still be there if the fault must be retried, so call again. -ENOMEM. mmap_lock held.
 */
static int unuse_next_entry(struct vellum_mm *mm, unsigned type, gva_t *at) HOLDS_SHARED(&mm->mmap_lock)
{
	struct find_walk fw = { .type = type };
	struct vma *vma;
	enum vm_fault result;

	if (walk_page_range(mm, *at, TASK_SIZE, &find_walk_ops, &fw) != WALK_STOP)
		return 1;
	*at = fw.found;
	vma = find_vma(mm, fw.found);
	result = handle_mm_fault(vma, fw.found, 0, NULL);
	if (result == VM_FAULT_OOM)
		return -ENOMEM;
	if (result == VM_FAULT_SIGBUS)
		poison_entry(vma, fw.found, type);
	return 0;
}

static int unuse_mm(struct vellum_mm *mm, unsigned type)
{
	unsigned tries = 0;
	gva_t at = 0;
	int err;

	do {
		read_lock(&mm->mmap_lock, mm_host(mm));
		err = __atomic_load_n(&mm->swapped, __ATOMIC_RELAXED) ? unuse_next_entry(mm, type, &at) : 1;
		read_unlock(&mm->mmap_lock, mm_host(mm));
		if (!err)
			tries = 0;
	} while (!err || (err == -ENOMEM && reclaim_for_retry(mm->memory, &tries)));
	return err < 0 ? err : 0;
}

/* The next page of the mapping at *@index or above that is in the area. False: none. */
static bool next_in_area(struct vellum_mapping *mapping, unsigned type, uint64_t *index)
{
	const struct host *host = &mapping->memory->host;
	bool found = false;

	mutex_lock(&mapping->pages_lock, host);
	for (; !found && radix_next(&mapping->swapped, index); *index += !found)
		found = pte_swp_type(slot_pte(shmem_slot(mapping, *index))) == type;
	mutex_unlock(&mapping->pages_lock, host);
	return found;
}

/* Swap in the mapping's pages that are in the area. A page that cannot be read stays swapped out. 0 or -ENOMEM. */
static int unuse_mapping(struct vellum_mapping *mapping, unsigned type)
{
	uint64_t index = 0;
	char byte;
	int err = 0;

	for (; err != -ENOMEM && next_in_area(mapping, type, &index); index++)
		err = vellum_mapping_read(mapping, index << PAGE_SHIFT, &byte, 1);
	return err == -ENOMEM ? err : 0;
}

/* The next address space of the memory after @prev, referenced; @prev's reference is dropped. */
static struct vellum_mm *next_mm_get(struct vellum_memory *m, struct vellum_mm *prev)
{
	struct vellum_mm *mm;

	mutex_lock(&m->lock, &m->host);
	mm = prev ? prev->next : m->mms;
	while (mm && !ref_try_get(&mm->refs))
		mm = mm->next;
	mutex_unlock(&m->lock, &m->host);
	vellum_mm_put(prev);
	return mm;
}

EXPORT int vellum_swap_remove(struct vellum_memory *memory, unsigned area)
{
	struct vellum_mapping *mapping = NULL;
	struct vellum_mm *mm = NULL;
	int err = swap_close(memory, area);

	if (err)
		return err;
	while ((mapping = next_mapping_get(memory, mapping)))
		if (!err)
			err = unuse_mapping(mapping, area);
	while ((mm = next_mm_get(memory, mm)))
		if (!err)
			err = unuse_mm(mm, area);
	if (!swap_try_remove(memory, area))
		return err ? err : -EIO;
	return 0;
}
