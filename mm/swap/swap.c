/* SPDX-License-Identifier: MIT */
/* mm/swap/swap.c - swap areas: slots and their counts, and the swap cache. See swap.h. */
#include "lib/sized.h"
#include "mm/frame/folio.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"

#define CHUNK_SLOTS	1024u
#define SLOT_CACHED	(1u << 31)	/* a page in the swap cache has this slot */
#define MAX_AREA_SLOTS	(1ull << 32)	/* a swap entry has 32 bits for the slot */
#define SLOT_BUSY	(1u << 30)	/* ops->free() runs */
#define SLOT_COUNT	(SLOT_BUSY - 1)

struct swap_area {
	struct vellum_swap_ops ops;
	void *ctx;
	uint64_t nr_slots, nr_used;
	uint64_t next;			/* the slot to try first */
	bool closing;			/* no new slots */
	uint32_t **chunks;		/* the swap map, a count and flags for each slot; allocated on first use */
};

struct swap_state {
	/*
	 * Protects all fields that are not atomic, and changes of PG_SWAPCACHE. Inside it no other lock of the core is
	 * taken. An area with a slot in use cannot be removed: the holder of a slot uses area->ops without the lock.
	 */
	struct mutex lock;
	struct swap_area *area[VELLUM_MAX_SWAP_AREAS];
	struct radix cache;		/* slot to folio */
	struct radix slots;		/* frame index to slot, stored as 2 * slot + 1 */
	uint64_t nr_out, nr_in;		/* atomic */
};

static struct swap_state *state_of(const struct vellum_memory *m)
{
	return __atomic_load_n(&m->swap, __ATOMIC_ACQUIRE);
}

static struct swap_area *area_of(const struct swap_state *st, slot_t slot)
{
	return st->area[(slot - 1) >> SWP_OFFSET_BITS];
}

static uint64_t number_of(slot_t slot)
{
	return (slot - 1) & ((1ull << SWP_OFFSET_BITS) - 1);
}

/* The swap map's element of a slot that is in use or is being allocated. st->lock held. */
static uint32_t *swap_map_of(const struct swap_state *st, slot_t slot) HOLDS(&st->lock)
{
	return &area_of(st, slot)->chunks[number_of(slot) / CHUNK_SLOTS][number_of(slot) % CHUNK_SLOTS];
}

/*
 * The swap map's element of a slot that may be free by now, because its entry was read without ptl. NULL: the slot is
 * free, ops->free() runs, or its area was removed or replaced. st->lock held.
 */
static uint32_t *swap_map_if_live(const struct swap_state *st, slot_t slot) HOLDS(&st->lock)
{
	const struct swap_area *area = area_of(st, slot);
	uint64_t nr = number_of(slot);
	uint32_t *chunk = area && nr < area->nr_slots ? area->chunks[nr / CHUNK_SLOTS] : NULL;

	return chunk && (chunk[nr % CHUNK_SLOTS] & (SLOT_COUNT | SLOT_CACHED)) ? &chunk[nr % CHUNK_SLOTS] : NULL;
}

static uint64_t nr_chunks(const struct swap_area *area)
{
	return (area->nr_slots + CHUNK_SLOTS - 1) / CHUNK_SLOTS;
}

/* --- slots --- */

/* The first free slot of a chunk from @from on; nr_slots: none. st->lock held. */
static uint64_t free_in_chunk(struct swap_area *area, uint64_t chunk, uint64_t from, const struct host *host)
{
	uint64_t end = min_u64((chunk + 1) * CHUNK_SLOTS, area->nr_slots);

	if (!area->chunks[chunk])
		area->chunks[chunk] = host_alloc(host, CHUNK_SLOTS * sizeof(uint32_t));
	for (uint64_t i = from; area->chunks[chunk] && i < end; i++)
		if (!area->chunks[chunk][i % CHUNK_SLOTS])
			return i;
	return area->nr_slots;
}

/* A free slot; nr_slots: none. st->lock held. */
static uint64_t find_free(struct swap_area *area, const struct host *host)
{
	uint64_t first = area->next / CHUNK_SLOTS, found;

	if (area->closing || area->nr_used == area->nr_slots)
		return area->nr_slots;
	for (uint64_t i = 0; i <= nr_chunks(area); i++) {
		uint64_t chunk = (first + i) % nr_chunks(area);

		found = free_in_chunk(area, chunk, i ? chunk * CHUNK_SLOTS : area->next, host);
		if (found < area->nr_slots)
			return found;
	}
	return area->nr_slots;
}

slot_t slot_alloc(struct vellum_memory *m)
{
	struct swap_state *st = state_of(m);
	slot_t slot = 0;

	if (!st)
		return 0;
	mutex_lock(&st->lock, &m->host);
	for (unsigned type = 0; type < VELLUM_MAX_SWAP_AREAS && !slot; type++) {
		struct swap_area *area = st->area[type];
		uint64_t at = area ? find_free(area, &m->host) : 0;

		if (!area || at == area->nr_slots)
			continue;
		slot = make_slot(type, at);
		*swap_map_of(st, slot) = 1;
		area->nr_used++;
		area->next = at + 1 < area->nr_slots ? at + 1 : 0;
	}
	mutex_unlock(&st->lock, &m->host);
	return slot;
}

/*
 * The swap map's element of a slot that must have a nonzero count: the caller owns a count, or holds the ptl of an
 * entry that names the slot. The count is 0 only if the entry is forged. st->lock held.
 */
static uint32_t *swap_map_in_use(const struct vellum_memory *m, const struct swap_state *st, slot_t slot)
	HOLDS(&st->lock)
{
	uint32_t *map;

	if (likely(!m->exposed))
		return swap_map_of(st, slot);
	map = swap_map_if_live(st, slot);
	if (!map || !(*map & SLOT_COUNT))
		entry_forged(m, slot_pte(slot).val, "an entry that names a slot that is not in use");
	return map;
}

bool swap_slot_exists(const struct vellum_memory *m, slot_t slot)
{
	struct swap_state *st = state_of(m);
	const uint32_t *map;
	bool exists;

	if (!st)
		return false;
	mutex_lock(&st->lock, &m->host);
	map = swap_map_if_live(st, slot);
	exists = map && (*map & SLOT_COUNT);
	mutex_unlock(&st->lock, &m->host);
	return exists;
}

/* The swap state. It exists if an entry names a slot, unless the entry is forged. */
static struct swap_state *state_of_slot(const struct vellum_memory *m, slot_t slot)
{
	struct swap_state *st = state_of(m);

	if (unlikely(!st))
		entry_forged(m, slot_pte(slot).val, "an entry that names a slot where there is no swap");
	return st;
}

void slot_dup(struct vellum_memory *m, slot_t slot)
{
	struct swap_state *st = state_of_slot(m, slot);

	mutex_lock(&st->lock, &m->host);
	++*swap_map_in_use(m, st, slot);
	mutex_unlock(&st->lock, &m->host);
}

uint32_t slot_count(struct vellum_memory *m, slot_t slot)
{
	struct swap_state *st = state_of_slot(m, slot);
	uint32_t count;

	mutex_lock(&st->lock, &m->host);
	count = *swap_map_of(st, slot) & SLOT_COUNT;
	mutex_unlock(&st->lock, &m->host);
	return count;
}

/* st->lock held. The slot has count 0 and no page. */
static void free_slot_and_unlock(struct vellum_memory *m, struct swap_state *st, slot_t slot) RELEASES(&st->lock)
{
	struct swap_area *area = area_of(st, slot);

	if (area->ops.free) {
		*swap_map_of(st, slot) = SLOT_BUSY;
		mutex_unlock(&st->lock, &m->host);
		area->ops.free(area->ctx, number_of(slot));
		mutex_lock(&st->lock, &m->host);
	}
	*swap_map_of(st, slot) = 0;
	area->nr_used--;
	mutex_unlock(&st->lock, &m->host);
}

void slot_put(struct vellum_memory *m, slot_t slot)
{
	struct swap_state *st = state_of_slot(m, slot);
	struct folio *folio = NULL;
	uint32_t now;

	mutex_lock(&st->lock, &m->host);
	now = --*swap_map_in_use(m, st, slot);
	if (!now) {
		free_slot_and_unlock(m, st, slot);
		return;
	}
	if (now == SLOT_CACHED) {
		folio = radix_get(&st->cache, slot);
		folio_get(folio);
	}
	mutex_unlock(&st->lock, &m->host);
	if (folio) {
		swap_cache_trydrop(m, folio);
		folio_put(m, folio);
	}
}

int slot_write(struct vellum_memory *m, slot_t slot, const struct folio *folio)
{
	struct swap_state *st = state_of(m);
	struct swap_area *area = area_of(st, slot);
	int err = area->ops.write(area->ctx, number_of(slot), frame_address(m, folio_pfn(m, folio)));

	if (!err)
		__atomic_fetch_add(&st->nr_out, 1, __ATOMIC_RELAXED);
	return err;
}

int slot_read(struct vellum_memory *m, slot_t slot, struct folio *folio)
{
	struct swap_state *st = state_of(m);
	struct swap_area *area = area_of(st, slot);
	int err = area->ops.read(area->ctx, number_of(slot), frame_address(m, folio_pfn(m, folio)));

	folio_bytes_changed(m, folio);
	if (!err)
		__atomic_fetch_add(&st->nr_in, 1, __ATOMIC_RELAXED);
	return err;
}

/* --- the swap cache --- */

int swap_cache_add(struct vellum_memory *m, struct folio *folio, slot_t slot)
{
	struct swap_state *st = state_of(m);
	uint64_t frame = (uint64_t)(folio - m->folios);
	void *as_value = (void *)(uintptr_t)(2 * slot + 1);	/* odd, so never a real pointer */
	uint32_t *map;
	int err = 0;

	mutex_assert_held(&folio->lock);
	mutex_lock(&st->lock, &m->host);
	map = swap_map_if_live(st, slot);
	if (!map)
		err = -ENOENT;
	else if (*map & SLOT_CACHED)
		err = -EEXIST;
	else if (radix_set(&st->cache, slot, folio, &m->host))
		err = -ENOMEM;
	else if (radix_set(&st->slots, frame, as_value, &m->host)) {
		radix_delete(&st->cache, slot, &m->host);
		err = -ENOMEM;
	} else {
		*map |= SLOT_CACHED;
		folio_set(folio, PG_SWAPCACHE);
		folio_get(folio);
	}
	mutex_unlock(&st->lock, &m->host);
	return err;
}

struct folio *swap_cache_get(struct vellum_memory *m, slot_t slot)
{
	struct swap_state *st = state_of(m);
	struct folio *folio;

	mutex_lock(&st->lock, &m->host);
	folio = radix_get(&st->cache, slot);
	if (folio)
		folio_get(folio);
	mutex_unlock(&st->lock, &m->host);
	return folio;
}

/* st->lock held. */
static slot_t slot_of(const struct vellum_memory *m, const struct swap_state *st, const struct folio *folio)
	HOLDS(&st->lock)
{
	return (uintptr_t)radix_get(&st->slots, (uint64_t)(folio - m->folios)) >> 1;
}

slot_t folio_slot(struct vellum_memory *m, const struct folio *folio)
{
	struct swap_state *st = state_of(m);
	slot_t slot;

	if (!st)
		return 0;
	mutex_lock(&st->lock, &m->host);
	slot = slot_of(m, st, folio);
	mutex_unlock(&st->lock, &m->host);
	return slot;
}

/* Remove the folio from the swap cache. If the slot's count is 0, free the slot. st->lock held; releases it. */
static void cache_remove_and_unlock(struct vellum_memory *m, struct swap_state *st, struct folio *folio, slot_t slot)
	HOLDS(&folio->lock) RELEASES(&st->lock)
{
	radix_delete(&st->cache, slot, &m->host);
	radix_delete(&st->slots, (uint64_t)(folio - m->folios), &m->host);
	folio_clear(folio, PG_SWAPCACHE);
	if (*swap_map_of(st, slot) & SLOT_COUNT) {
		*swap_map_of(st, slot) &= ~SLOT_CACHED;
		mutex_unlock(&st->lock, &m->host);
	} else {
		folio_set(folio, PG_DIRTY);	/* no slot holds its bytes now */
		free_slot_and_unlock(m, st, slot);
	}
	folio_put(m, folio);
}

void swap_cache_remove(struct vellum_memory *m, struct folio *folio)
{
	struct swap_state *st = state_of(m);
	slot_t slot;

	mutex_lock(&st->lock, &m->host);
	slot = slot_of(m, st, folio);
	if (slot)
		cache_remove_and_unlock(m, st, folio, slot);
	else
		mutex_unlock(&st->lock, &m->host);
}

/* If no entry names the folio's slot, remove the folio from the swap cache and free the slot. */
static void drop_if_unreferenced(struct vellum_memory *m, struct folio *folio) HOLDS(&folio->lock)
{
	struct swap_state *st = state_of(m);
	slot_t slot;

	mutex_lock(&st->lock, &m->host);
	slot = slot_of(m, st, folio);
	if (slot && !(*swap_map_of(st, slot) & SLOT_COUNT))
		cache_remove_and_unlock(m, st, folio, slot);
	else
		mutex_unlock(&st->lock, &m->host);
}

static bool is_unreferenced(struct vellum_memory *m, const struct folio *folio)
{
	struct swap_state *st = state_of(m);
	bool unreferenced;
	slot_t slot;

	if (!(folio_flags(folio) & PG_SWAPCACHE))
		return false;
	mutex_lock(&st->lock, &m->host);
	slot = slot_of(m, st, folio);
	unreferenced = slot && !(*swap_map_of(st, slot) & SLOT_COUNT);
	mutex_unlock(&st->lock, &m->host);
	return unreferenced;
}

void swap_cache_trydrop(struct vellum_memory *m, struct folio *folio)
{
	/*
	 * If the last count is dropped while this thread holds the lock, the other thread's trylock fails. So check
	 * again after the unlock.
	 */
	while (is_unreferenced(m, folio) && mutex_trylock(&folio->lock)) {
		drop_if_unreferenced(m, folio);
		mutex_unlock(&folio->lock, &m->host);
	}
}

void anon_folio_unlock_and_free_swap(struct vellum_memory *m, struct folio *folio)
{
	/*
	 * Free the slot before the unlock: the page may be mapped writable without PG_DIRTY. Reclaim would drop such a
	 * page without writing it, and its slot holds old bytes.
	 */
	if (folio_flags(folio) & PG_SWAPCACHE)
		drop_if_unreferenced(m, folio);
	mutex_unlock(&folio->lock, &m->host);
	swap_cache_trydrop(m, folio);	/* slot_put() cannot free the slot of a locked page */
}

/* --- areas --- */

static void free_area(struct vellum_memory *m, struct swap_area *area)
{
	for (uint64_t i = 0; area->chunks && i < nr_chunks(area); i++)
		host_free(&m->host, area->chunks[i], CHUNK_SLOTS * sizeof(uint32_t));
	host_free(&m->host, area->chunks, nr_chunks(area) * sizeof(*area->chunks));
	host_free(&m->host, area, sizeof(*area));
}

/* The swap state, created with the first area. NULL: no memory. */
static struct swap_state *make_state(struct vellum_memory *m)
{
	struct swap_state *st = state_of(m), *none = NULL;

	if (st)
		return st;
	st = host_alloc(&m->host, sizeof(*st));
	if (st && !__atomic_compare_exchange_n(&m->swap, &none, st, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		host_free(&m->host, st, sizeof(*st));
		st = none;
	}
	return st;
}

EXPORT int vellum_swap_add(struct vellum_memory *memory, const struct vellum_swap_ops *given, void *ctx,
			   uint64_t nr_slots, unsigned *area_out)
{
	struct vellum_memory *m = memory;
	struct swap_state *st;
	struct swap_area *area;
	struct vellum_swap_ops ops;
	int err = given ? FROM_CALLER(&ops, given) : -EINVAL;

	if (err)
		return err;
	if (!ops.read || !ops.write || !nr_slots || nr_slots > MAX_AREA_SLOTS)
		return -EINVAL;
	st = make_state(m);
	area = st ? host_alloc(&m->host, sizeof(*area)) : NULL;
	if (!area)
		return -ENOMEM;
	*area = (struct swap_area){ .ops = ops, .ctx = ctx, .nr_slots = nr_slots };
	area->chunks = host_alloc(&m->host, nr_chunks(area) * sizeof(*area->chunks));
	if (!area->chunks) {
		free_area(m, area);
		return -ENOMEM;
	}
	err = -ENOSPC;
	mutex_lock(&st->lock, &m->host);
	for (unsigned type = 0; type < VELLUM_MAX_SWAP_AREAS && err; type++)
		if (!st->area[type]) {
			st->area[type] = area;
			if (area_out)
				*area_out = type;
			err = 0;
		}
	mutex_unlock(&st->lock, &m->host);
	if (err)
		free_area(m, area);
	return err;
}

EXPORT int vellum_swap_info(struct vellum_memory *memory, struct vellum_swap_info *out)
{
	struct swap_state *st = state_of(memory);
	struct vellum_swap_info info = { .nr_slots = 0 };

	if (!st)
		return TO_CALLER(out, &info);
	mutex_lock(&st->lock, &memory->host);
	for (unsigned type = 0; type < VELLUM_MAX_SWAP_AREAS; type++)
		if (st->area[type]) {
			info.nr_slots += st->area[type]->nr_slots;
			info.nr_used += st->area[type]->nr_used;
		}
	mutex_unlock(&st->lock, &memory->host);
	info.nr_out = __atomic_load_n(&st->nr_out, __ATOMIC_RELAXED);
	info.nr_in = __atomic_load_n(&st->nr_in, __ATOMIC_RELAXED);
	return TO_CALLER(out, &info);
}

void swap_destroy(struct vellum_memory *m)
{
	struct swap_state *st = state_of(m);

	if (!st)
		return;
	for (unsigned type = 0; type < VELLUM_MAX_SWAP_AREAS; type++)
		if (st->area[type])
			free_area(m, st->area[type]);
	radix_destroy(&st->cache, &m->host);
	radix_destroy(&st->slots, &m->host);
	host_free(&m->host, st, sizeof(*st));
}

int swap_close(struct vellum_memory *m, unsigned type)
{
	struct swap_state *st = state_of(m);
	int err = -EINVAL;

	if (!st || type >= VELLUM_MAX_SWAP_AREAS)
		return -EINVAL;
	mutex_lock(&st->lock, &m->host);
	if (st->area[type] && st->area[type]->closing) {
		err = -EBUSY;		/* another thread is removing it */
	} else if (st->area[type]) {
		st->area[type]->closing = true;
		err = 0;
	}
	mutex_unlock(&st->lock, &m->host);
	return err;
}

bool swap_try_remove(struct vellum_memory *m, unsigned type)
{
	struct swap_state *st = state_of(m);
	struct swap_area *area;
	bool empty;

	mutex_lock(&st->lock, &m->host);
	area = st->area[type];
	empty = !area->nr_used;
	if (empty)
		st->area[type] = NULL;
	else
		area->closing = false;
	mutex_unlock(&st->lock, &m->host);
	if (empty)
		free_area(m, area);
	return empty;
}

/* No other call runs. @named: how many entries and pages name each slot, as 2 * count + 1. */
const char *swap_check(struct vellum_memory *m, const struct radix *named)
{
	struct swap_state *st = state_of(m);

	for (unsigned type = 0; st && type < VELLUM_MAX_SWAP_AREAS; type++) {
		const struct swap_area *area = st->area[type];
		uint64_t used = 0;

		for (uint64_t i = 0; area && i < area->nr_slots; i++) {
			const uint32_t *chunk = area->chunks[i / CHUNK_SLOTS];
			uint32_t word = chunk ? chunk[i % CHUNK_SLOTS] : 0;
			slot_t slot = make_slot(type, i);

			used += word != 0;
			if ((word & SLOT_COUNT) != (uintptr_t)radix_get(named, slot) >> 1)
				return "INV-SWAP-1: a slot's count is not the number of its entries";
			if (word && !(word & SLOT_COUNT))
				return "INV-SWAP-1: a used slot has no entry";
			if (!(word & SLOT_CACHED) != !radix_get(&st->cache, slot))
				return "INV-SWAP-1: a slot's cache bit and the swap cache disagree";
		}
		if (area && used != area->nr_used)
			return "INV-SWAP-1: the number of used slots is wrong";
	}
	return NULL;
}
