/* SPDX-License-Identifier: MIT */
/*
 * mm/object/shmem.c - shared memory: objects whose bytes are nowhere but in their pages, and so are swapped out.
 *
 * mapping->swapped has the slot of each page that is out, mapping->pages the pages that are in. pages_lock.
 *
 * INV-SHMEM-1: a page of the object is in one of the two, or in none (zeros).
 */
#include "mm/swap/swap.h"

slot_t shmem_slot(struct vellum_mapping *mapping, pgoff_t index)
{
	return (uintptr_t)radix_get(&mapping->swapped, index) >> 1;
}

/* pages_lock held. */
static int set_slot(struct vellum_mapping *mapping, pgoff_t index, slot_t slot)
{
	return radix_set(&mapping->swapped, index, (void *)(uintptr_t)(2 * slot + 1), &mapping->memory->host);
}

/* The page is unmapped and its bytes are in the slot: it goes, unless somebody has taken it meanwhile. */
static bool replace_by_slot(struct vellum_mapping *mapping, struct folio *folio, slot_t slot)
{
	struct vellum_memory *m = mapping->memory;
	bool ok;

	mutex_lock(&mapping->pages_lock, &m->host);
	ok = __atomic_load_n(&folio->count, __ATOMIC_ACQUIRE) == 2 * FOLIO_REF &&
	     !set_slot(mapping, folio->index, slot);
	if (ok) {
		radix_delete(&mapping->pages, folio->index, &m->host);
		__atomic_store_n(&folio->mapping, NULL, __ATOMIC_RELAXED);
	}
	mutex_unlock(&mapping->pages_lock, &m->host);
	return ok;
}

bool shmem_swap_out(struct vellum_mapping *mapping, struct folio *folio)
{
	struct vellum_memory *m = mapping->memory;
	slot_t slot;

	if (is_mapped_with(mapping, folio->index, folio->index, VM_LOCKED))
		return false;
	slot = slot_alloc(m);
	if (!slot)
		return false;
	vellum_unmap_mapping_range(mapping, folio->index, 1);	/* markers stay where protection was */
	if (!slot_write(m, slot, folio) && replace_by_slot(mapping, folio, slot)) {
		folio_put(m, folio);	/* the object's reference */
		return true;
	}
	slot_put(m, slot);
	return false;
}

int shmem_swap_in(struct vellum_mapping *mapping, struct folio *folio)
{
	struct vellum_memory *m = mapping->memory;
	slot_t slot;

	mutex_lock(&mapping->pages_lock, &m->host);
	slot = shmem_slot(mapping, folio->index);
	mutex_unlock(&mapping->pages_lock, &m->host);
	if (!slot)
		return 0;
	if (slot_read(m, slot, folio))
		return -EIO;
	mutex_lock(&mapping->pages_lock, &m->host);
	radix_delete(&mapping->swapped, folio->index, &m->host);
	mutex_unlock(&mapping->pages_lock, &m->host);
	slot_put(m, slot);
	return 1;
}

void shmem_drop_swapped(struct vellum_mapping *mapping, pgoff_t first, pgoff_t last)
{
	struct vellum_memory *m = mapping->memory;
	void *value;

	mutex_lock(&mapping->pages_lock, &m->host);
	for (uint64_t i = first; (value = radix_next(&mapping->swapped, &i)) && i <= last; i++) {
		radix_delete(&mapping->swapped, i, &m->host);
		mutex_unlock(&mapping->pages_lock, &m->host);
		slot_put(m, (uintptr_t)value >> 1);
		mutex_lock(&mapping->pages_lock, &m->host);
	}
	mutex_unlock(&mapping->pages_lock, &m->host);
}

EXPORT int vellum_mapping_next(struct vellum_mapping *mapping, uint64_t *index)
{
	const struct host *host = &mapping->memory->host;
	uint64_t in = *index, out = *index;
	bool cached, swapped;

	mutex_lock(&mapping->pages_lock, host);
	cached = radix_next(&mapping->pages, &in);
	swapped = radix_next(&mapping->swapped, &out);
	mutex_unlock(&mapping->pages_lock, host);
	if (!cached && !swapped)
		return -ENOENT;
	*index = cached && (!swapped || in < out) ? in : out;
	return 0;
}

bool mapping_has(struct vellum_mapping *mapping, pgoff_t index)
{
	const struct host *host = &mapping->memory->host;
	bool has;

	mutex_lock(&mapping->pages_lock, host);
	has = radix_get(&mapping->pages, index) || radix_get(&mapping->swapped, index);
	mutex_unlock(&mapping->pages_lock, host);
	return has;
}
