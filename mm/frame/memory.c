/* SPDX-License-Identifier: MIT */
/*
 * mm/frame/memory.c - RAM: frames, folios, the buddy allocator; device memory.
 *
 * INV-MEM-1: a frame is either reserved, or in exactly one free list, or in use, or not ready: free, and its folio was never
 *            written, as all behind it. So what a frame's folio takes of the host's memory is spent when it is first used.
 * INV-MEM-2: a free frame without PG_NEEDS_ZERO reads as zero after its 2 MiB are committed.
 */
#include "lib/sized.h"
#include "mm/frame/rmap.h"
#include "mm/mm.h"
#include "mm/swap/swap.h"

#define CHUNK_FRAMES	(1ull << MAX_ORDER)

static void list_push(struct vellum_memory *m, uint32_t index, unsigned order)
{
	struct folio *f = &m->folios[index];

	f->order = (uint8_t)order;
	f->prev = 0;
	f->next = m->free_head[order];
	if (f->next)
		m->folios[f->next - 1].prev = index + 1;
	m->free_head[order] = index + 1;
}

static void list_remove(struct vellum_memory *m, uint32_t index)
{
	struct folio *f = &m->folios[index];

	if (f->prev)
		m->folios[f->prev - 1].next = f->next;
	else
		m->free_head[f->order] = f->next;
	if (f->next)
		m->folios[f->next - 1].prev = f->prev;
}

static bool is_free_block(const struct vellum_memory *m, uint64_t index, unsigned order)
{
	const struct folio *f = &m->folios[index];

	return !(folio_flags(f) & PG_USED) && f->order == order;
}

/*
 * Free a block and merge it with free buddies, which are in the same 2 MiB, and RAM has whole ones. Frames of a free
 * block except its first have NO_ORDER.
 */
static void free_block(struct vellum_memory *m, uint64_t index, unsigned order)
{
	m->nr_free += 1ull << order;
	while (order < MAX_ORDER) {
		uint64_t buddy = index ^ (1ull << order);

		if (!is_free_block(m, buddy, order))
			break;
		list_remove(m, (uint32_t)buddy);
		m->folios[buddy > index ? buddy : index].order = NO_ORDER;
		index &= ~(1ull << order);
		order++;
	}
	list_push(m, (uint32_t)index, order);
}

/* Commit the 2 MiB that contain @index. A block never crosses them, so that commits a whole block. */
static bool commit_chunk(struct vellum_memory *m, uint64_t index)
{
	uint64_t chunk = index / CHUNK_FRAMES;

	if (!m->committed[chunk] && m->host.ops->commit &&
	    m->host.ops->commit(m->host.ctx, chunk * PMD_SIZE, PMD_SIZE))
		return false;
	m->committed[chunk] = 1;
	return true;
}

/* Make the next 2 MiB ready. Returns their first index. */
static uint64_t ready_chunk(struct vellum_memory *m)
{
	const uint64_t start = m->nr_ready;

	for (uint64_t i = 0; i < CHUNK_FRAMES; i++)
		m->folios[start + i].order = NO_ORDER;
	__atomic_store_n(&m->nr_ready, start + CHUNK_FRAMES, __ATOMIC_RELAXED);
	return start;
}

/* Remove a block from the free lists. Returns its frame index, or -1. */
static int64_t take_block(struct vellum_memory *m, unsigned order)
{
	unsigned from = order;
	uint32_t index;

	while (from <= MAX_ORDER && !m->free_head[from])
		from++;
	if (from > MAX_ORDER && m->nr_ready < m->nr_frames)
		list_push(m, (uint32_t)ready_chunk(m), from = MAX_ORDER);
	if (from > MAX_ORDER || !commit_chunk(m, m->free_head[from] - 1))
		return -1;
	index = m->free_head[from] - 1;
	list_remove(m, index);
	while (from > order) {
		from--;
		list_push(m, index + (1u << from), from);
	}
	m->folios[index].order = (uint8_t)order;
	m->nr_free -= 1ull << order;
	return index;
}

static struct folio *alloc_block(struct vellum_memory *m, unsigned order)
{
	int64_t index;

	mutex_lock(&m->lock, &m->host);
	index = take_block(m, order);
	for (uint64_t i = 0; index >= 0 && i < 1ull << order; i++) {
		struct folio *f = &m->folios[(uint64_t)index + i];
		uint32_t was = folio_flags(f);
		/* CPUs keep decoded instructions after the page is freed: folio_prepare_exec() drops them. */
		uint32_t stale = was & (PG_EXECUTED | PG_ICACHE_STALE) ? PG_ICACHE_STALE : 0;

		__atomic_store_n(&f->flags, (uint16_t)(PG_USED | stale | (was & PG_NEEDS_ZERO)), __ATOMIC_RELAXED);
		f->mapping = NULL;
		f->index = 0;
	}
	mutex_unlock(&m->lock, &m->host);
	if (index < 0)
		return NULL;
	__atomic_store_n(&m->folios[index].count, FOLIO_REF, __ATOMIC_RELAXED);
	return &m->folios[index];
}

/*
 * Make each frame of a 2 MiB block a page with one reference of its own. The first keeps its count, to which the clock
 * hand may have added a speculative reference.
 */
void folio_split_block(struct folio *first)
{
	first->order = 0;
	for (uint64_t i = 1; i < 1ull << MAX_ORDER; i++) {
		first[i].order = 0;
		__atomic_store_n(&first[i].count, FOLIO_REF, __ATOMIC_RELEASE);
	}
}

static void zero_frames(struct vellum_memory *m, struct folio *folio, uint64_t nr)
{
	for (uint64_t i = 0; i < nr; i++) {
		if (folio_flags(&folio[i]) & PG_NEEDS_ZERO)
			memset(frame_address(m, folio_pfn(m, &folio[i])), 0, PAGE_SIZE);
		folio_set(&folio[i], PG_NEEDS_ZERO);
	}
}

struct folio *folio_alloc(struct vellum_memory *m, unsigned order)
{
	struct folio *folio = alloc_block(m, order);

	if (folio)
		zero_frames(m, folio, 1ull << order);
	return folio;
}

struct folio *folio_alloc_raw(struct vellum_memory *m)
{
	struct folio *folio = alloc_block(m, 0);

	if (folio)
		folio_set(folio, PG_NEEDS_ZERO);
	return folio;
}

static void free_folio(struct vellum_memory *m, struct folio *folio)
{
	uint64_t index = (uint64_t)(folio - m->folios);
	uint64_t nr = 1ull << folio->order;

	if (folio_flags(folio) & PG_ANON)
		anon_vma_put(folio->anon_vma, &m->host);
	/* Fast pins may be walking the page table: wait until those that have begun are done. */
	if (folio_flags(folio) & PG_TABLE) {
		group_enter_first(&m->frame_refs, &m->host);
		group_leave_first(&m->frame_refs, &m->host);
	}
	mutex_lock(&m->lock, &m->host);
	for (uint64_t i = 0; i < nr; i++) {
		struct folio *f = &folio[i];

		f->mapping = NULL;
		__atomic_fetch_and(&f->flags, PG_NEEDS_ZERO | PG_EXECUTED | PG_ICACHE_STALE,
				   __ATOMIC_RELAXED);
		if (i)
			f->order = NO_ORDER;
	}
	free_block(m, index, folio->order);
	mutex_unlock(&m->lock, &m->host);
}

/* Subtract @what, FOLIO_REF or FOLIO_ONE_MAPPING. The last reference frees the folio. */
void folio_put_count(struct vellum_memory *m, struct folio *folio, uint64_t what)
{
	if (__atomic_sub_fetch(&folio->count, what, __ATOMIC_ACQ_REL) == 0)
		free_folio(m, folio);
}

void *pfn_host(struct vellum_memory *m, pfn_t pfn)
{
	if (pfn_is_ram(m, pfn))
		return frame_address(m, pfn);
	for (const struct device_range *d = __atomic_load_n(&m->devices, __ATOMIC_ACQUIRE); d;
	     d = d->next)
		if (pfn - d->first < d->nr)
			return d->host + ((pfn - d->first) << PAGE_SHIFT);
	return NULL;
}

EXPORT void *vellum_frame_host(struct vellum_memory *memory, uint64_t pfn)
{
	return pfn_host(memory, pfn);
}

static bool args_valid(const struct vellum_memory_args *a)
{
	const uint64_t page_bits = PAGE_SIZE - 1;

	if (!a->host || !a->ram || ((uintptr_t)a->ram & page_bits))
		return false;
	if (a->ram_size < 2 * PMD_SIZE || a->ram_size % PMD_SIZE || a->ram_size > 1ull << 43)
		return false;
	if ((a->reserved | a->hole_start | a->hole_size) & page_bits)
		return false;
	return a->reserved <= a->ram_size / 2 && a->hole_start <= a->ram_size;
}

/* The frames below @first are reserved. The rest of their last 2 MiB is put into the lists, and no more. */
static void add_free_frames(struct vellum_memory *m, uint64_t first)
{
	m->nr_free = m->nr_frames - first;
	while (m->nr_ready < first)
		ready_chunk(m);
	for (uint64_t i = 0; i < first; i++)
		m->folios[i].flags = PG_USED;
	while (first < m->nr_ready) {
		unsigned order = (unsigned)__builtin_ctzll(first);

		list_push(m, (uint32_t)first, order);
		first += 1ull << order;
	}
}

static void free_memory(struct vellum_memory *m)
{
	const struct vellum_host_ops ops = m->host_ops;
	const struct host host = { &ops, m->host.ctx };

	while (m->devices) {
		struct device_range *d = m->devices;

		m->devices = d->next;
		host_free(&host, d, sizeof(*d));
	}
	host_free(&host, m->folios, m->nr_frames * sizeof(*m->folios));
	host_free(&host, m->committed, m->nr_frames / CHUNK_FRAMES);
	host_free(&host, m, sizeof(*m));
}

/* Copies of what the caller passes, at the size that this library knows. */
struct creation {
	struct vellum_memory_args args;
	struct vellum_host_ops host;
	struct vellum_mmu_ops mmu;
};

static int copy_args(struct creation *c, const struct vellum_memory_args *given)
{
	int err = given ? FROM_CALLER(&c->args, given) : -EINVAL;

	if (!err && !args_valid(&c->args))
		err = -EINVAL;
	if (!err)
		err = FROM_CALLER(&c->host, c->args.host);
	if (!err && c->args.mmu)
		err = FROM_CALLER(&c->mmu, c->args.mmu);
	if (!err && (!c->host.alloc || !c->host.free || !c->host.wait || !c->host.wake || !c->host.bug))
		err = -EINVAL;
	return err;
}

EXPORT int vellum_memory_create(const struct vellum_memory_args *given, struct vellum_memory **out)
{
	struct creation c;
	const struct vellum_memory_args *args = &c.args;
	struct vellum_memory *m;
	struct folio *zero;
	int err = copy_args(&c, given);

	if (err || !out)
		return err ? err : -EINVAL;
	const struct host host = { &c.host, args->host_ctx };

	m = host_alloc(&host, sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->host_ops = c.host;
	m->mmu_ops = c.mmu;
	m->host = (struct host){ &m->host_ops, args->host_ctx };
	m->mmu = args->mmu ? &m->mmu_ops : NULL;
	m->machine = args->machine;
	m->exposed = args->mmu && (args->mmu->caps & VELLUM_MMU_TABLES_EXPOSED);
	m->max_map_count = DEFAULT_MAX_MAP_COUNT;
	m->ram = args->ram;
	m->nr_frames = args->ram_size >> PAGE_SHIFT;
	m->hole_first = args->hole_size ? args->hole_start >> PAGE_SHIFT : m->nr_frames;
	m->hole_nr = args->hole_size >> PAGE_SHIFT;
	m->folios = host_alloc(&host, m->nr_frames * sizeof(*m->folios));
	m->committed = host_alloc(&host, m->nr_frames / CHUNK_FRAMES);
	if (!m->folios || !m->committed)
		goto fail;
	add_free_frames(m, max_u64(args->reserved >> PAGE_SHIFT, 1));
	zero = folio_alloc(m, 0);
	if (!zero)
		goto fail;
	m->zero_pfn = folio_pfn(m, zero);
	*out = m;
	return 0;
fail:
	free_memory(m);
	return -ENOMEM;
}

EXPORT int vellum_memory_destroy(struct vellum_memory *memory)
{
	if (!memory)
		return 0;
	if (memory->mms || memory->nr_mappings || memory->private_devices)
		return -EBUSY;
	swap_destroy(memory);
	free_memory(memory);
	return 0;
}

EXPORT int vellum_memory_info(struct vellum_memory *memory, struct vellum_memory_info *out)
{
	struct vellum_memory_info info = { .nr_frames = memory->nr_frames, .frame_metadata = sizeof(struct folio) };

	mutex_lock(&memory->lock, &memory->host);
	info.nr_free = memory->nr_free;
	mutex_unlock(&memory->lock, &memory->host);
	return TO_CALLER(out, &info);
}

EXPORT int vellum_set_max_map_count(struct vellum_memory *memory, uint32_t max)
{
	if (!max || max > 1u << 30)
		return -EINVAL;
	__atomic_store_n(&memory->max_map_count, max, __ATOMIC_RELAXED);
	return 0;
}

/* Return the 2 MiB of a free block to the host. Only whole chunks, since commit() works on them. */
static void discard_chunk(struct vellum_memory *m, uint64_t index)
{
	m->host.ops->discard(m->host.ctx, index << PAGE_SHIFT, PMD_SIZE);
	m->committed[index / CHUNK_FRAMES] = 0;
	for (uint64_t i = 0; i < CHUNK_FRAMES; i++)
		folio_clear(&m->folios[index + i], PG_NEEDS_ZERO);
}

EXPORT void vellum_memory_trim(struct vellum_memory *memory)
{
	struct vellum_memory *m = memory;

	if (!m->host.ops->discard)
		return;
	mutex_lock(&m->lock, &m->host);
	for (uint32_t at = m->free_head[MAX_ORDER]; at; at = m->folios[at - 1].next)
		if (m->committed[(at - 1) / CHUNK_FRAMES])
			discard_chunk(m, at - 1);
	mutex_unlock(&m->lock, &m->host);
}

EXPORT int vellum_memory_alloc_device(struct vellum_memory *memory, uint64_t nr, uint64_t *pfn)
{
	unsigned order = 0;
	struct folio *folio;

	if (!pfn || nr == 0 || nr > CHUNK_FRAMES)
		return -EINVAL;
	while (1ull << order < nr)
		order++;
	folio = folio_alloc(memory, order);
	if (!folio)
		return -ENOMEM;
	for (uint64_t i = 0; i < 1ull << order; i++)
		folio_set(&folio[i], PG_DEVICE);
	*pfn = folio_pfn(memory, folio);
	return 0;
}

EXPORT void vellum_memory_free_device(struct vellum_memory *memory, uint64_t pfn, uint64_t nr)
{
	(void)nr;	/* the folio has the block's order */
	if (pfn_is_ram(memory, pfn) && (folio_flags(pfn_folio(memory, pfn)) & PG_DEVICE))
		folio_put(memory, pfn_folio(memory, pfn));
	else
		host_bug(&memory->host, "free of frames that are no device memory");
}

EXPORT int vellum_memory_add_device(struct vellum_memory *memory, uint64_t pfn, uint64_t nr,
				    void *host)
{
	struct vellum_memory *m = memory;
	pfn_t ram_end = index_pfn(m, m->nr_frames - 1) + 1;
	struct device_range *d;
	int err = 0;

	if (!host || nr == 0 || pfn < ram_end || pfn + nr < pfn || pfn + nr > MAX_PFN)
		return -EINVAL;
	d = host_alloc(&m->host, sizeof(*d));
	if (!d)
		return -ENOMEM;
	*d = (struct device_range){ .first = pfn, .nr = nr, .host = host };
	mutex_lock(&m->lock, &m->host);
	for (const struct device_range *o = m->devices; o; o = o->next)
		if (pfn < o->first + o->nr && o->first < pfn + nr)
			err = -EINVAL;
	if (!err) {
		d->next = m->devices;
		__atomic_store_n(&m->devices, d, __ATOMIC_RELEASE);
	}
	mutex_unlock(&m->lock, &m->host);
	if (err)
		host_free(&m->host, d, sizeof(*d));
	return err;
}
