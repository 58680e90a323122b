/* SPDX-License-Identifier: MIT */
/*
 * mm/object/mapping.c - mappings and their page cache.
 *
 * INV-MAP-1: a folio in mapping->pages has that mapping and index, and the cache has one reference to it.
 * INV-MAP-2: a page is added to the cache only with invalidate_lock held, and with an index within the size. It is
 *            removed only with its folio lock held.
 */
#include "lib/sized.h"
#include "mm/fault/fault.h"
#include "mm/object/object.h"
#include "mm/swap/swap.h"
#include "mm/track/hooks.h"
#include "mm/vma.h"

#define KNOWN_FLAGS (VELLUM_MAPPING_PFN | VELLUM_MAPPING_WRITEBACK | VELLUM_MAPPING_READ_FIRST | \
		     VELLUM_MAPPING_UNCACHED | VELLUM_MAPPING_WRITE_COMBINING | VELLUM_MAPPING_MIXED | \
		     VELLUM_MAPPING_DEVMAP | VELLUM_MAPPING_READ_AHEAD)

/* Add to memory->mappings, where writeback and reclaim find the mapping. */
static void list_mapping(struct vellum_mapping *mapping)
{
	struct vellum_memory *m = mapping->memory;

	mutex_lock(&m->lock, &m->host);
	mapping->next = m->mappings;
	if (mapping->next)
		mapping->next->prev = mapping;
	m->mappings = mapping;
	mutex_unlock(&m->lock, &m->host);
}

static void unlist_mapping(struct vellum_mapping *mapping)
{
	struct vellum_memory *m = mapping->memory;

	mutex_lock(&m->lock, &m->host);
	if (mapping->next)
		mapping->next->prev = mapping->prev;
	if (mapping->prev)
		mapping->prev->next = mapping->next;
	else
		m->mappings = mapping->next;
	mutex_unlock(&m->lock, &m->host);
}

struct vellum_mapping *next_mapping_get(struct vellum_memory *m, struct vellum_mapping *prev)
{
	struct vellum_mapping *mapping;

	mutex_lock(&m->lock, &m->host);
	mapping = prev ? prev->next : m->mappings;
	while (mapping && !ref_try_get(&mapping->refs))
		mapping = mapping->next;
	mutex_unlock(&m->lock, &m->host);
	vellum_mapping_put(prev);
	return mapping;
}

/* True if the hooks that the flags require are there, and the flags may be combined. */
static bool kind_valid(const struct vellum_backing_ops *ops, uint32_t flags)
{
	if ((flags & VELLUM_MAPPING_PFN) && !(ops && ops->fault))
		return false;
	if ((flags & VELLUM_MAPPING_MIXED) && (!(ops && ops->pfn_fault) || (flags & VELLUM_MAPPING_PFN)))
		return false;
	if ((flags & VELLUM_MAPPING_READ_AHEAD) && (!(ops && ops->fault) || (flags & MAPPING_RAW)))
		return false;
	if (ops && ops->has_page && (!ops->fault || (flags & MAPPING_RAW)))
		return false;
	return !(flags & VELLUM_MAPPING_DEVMAP) || (flags & (VELLUM_MAPPING_PFN | VELLUM_MAPPING_MIXED));
}

EXPORT int vellum_mapping_create(struct vellum_memory *memory, const struct vellum_backing_ops *given,
				 void *ctx, uint64_t nr_pages, uint32_t flags,
				 struct vellum_mapping **out)
{
	struct vellum_backing_ops copy, *ops = given ? &copy : NULL;
	struct vellum_mapping *mapping;
	int err;

	if (!memory || !out || nr_pages == 0 || nr_pages > MAX_MAPPING_BYTES >> PAGE_SHIFT ||
	    (flags & ~(uint32_t)KNOWN_FLAGS))
		return -EINVAL;
	err = given ? FROM_CALLER(&copy, given) : 0;
	if (err)
		return err;
	if (!kind_valid(ops, flags))
		return -EINVAL;
	mapping = host_alloc(&memory->host, sizeof(*mapping));
	if (!mapping)
		return -ENOMEM;
	mapping->memory = memory;
	if (ops) {
		mapping->own_ops = copy;
		mapping->ops = &mapping->own_ops;
	}
	mapping->ctx = ctx;
	mapping->size = nr_pages << PAGE_SHIFT;
	mapping->flags = flags;
	mapping->refs = 1;
	mapping->i_mmap = (struct tree)INTERVAL_TREE_INIT;
	__atomic_fetch_add(&memory->nr_mappings, 1, __ATOMIC_RELAXED);
	list_mapping(mapping);
	*out = mapping;
	return 0;
}

EXPORT void vellum_mapping_get(struct vellum_mapping *mapping)
{
	__atomic_fetch_add(&mapping->refs, 1, __ATOMIC_RELAXED);
}

static void destroy_mapping(struct vellum_mapping *mapping)
{
	struct vellum_memory *m = mapping->memory;
	struct folio *folio;
	bool ours;

	unlist_mapping(mapping);
	/* No VMA maps it, so PG_DIRTY marks all dirty pages. Reclaim may still remove a page from the cache. */
	for (pgoff_t index = 0; (folio = mapping_next(mapping, &index, ~0ull, false)); index++) {
		mutex_lock(&folio->lock, &m->host);
		ours = folio->mapping == mapping;
		if (ours) {
			folio_write(mapping, folio);
			folio->mapping = NULL;
		}
		mutex_unlock(&folio->lock, &m->host);
		if (ours)
			folio_put(m, folio);	/* the cache's reference */
		folio_put(m, folio);
	}
	shmem_drop_swapped(mapping, 0, ~0ull);
	radix_destroy(&mapping->pages, &m->host);
	radix_destroy(&mapping->swapped, &m->host);
	if (mapping->ops && mapping->ops->release)
		mapping->ops->release(mapping->ctx);
	__atomic_fetch_sub(&m->nr_mappings, 1, __ATOMIC_RELAXED);
	host_free(&m->host, mapping, sizeof(*mapping));
}

EXPORT void vellum_mapping_put(struct vellum_mapping *mapping)
{
	if (mapping && __atomic_sub_fetch(&mapping->refs, 1, __ATOMIC_ACQ_REL) == 0)
		destroy_mapping(mapping);
}

enum vm_fault notify_mkwrite(struct vma *vma, gva_t addr, struct folio *folio, pfn_t pfn)
{
	const struct vellum_backing_ops *ops = vma->mapping->ops;
	struct vellum_vmf vmf = {
		.size = sizeof(vmf),
		.write = 1,
		.mm = vma->mm,
		.address = addr,
		.pgoff = vma_page_index(vma, addr),
		.page = folio ? frame_address(vma->mm->memory, pfn) : NULL,
		.pfn = pfn,
	};

	if (folio && ops && ops->page_mkwrite)
		return vm_fault_of_hook(ops->page_mkwrite(vma->mapping->ctx, &vmf));
	if (!folio && ops && ops->pfn_mkwrite)
		return vm_fault_of_hook(ops->pfn_mkwrite(vma->mapping->ctx, &vmf));
	return 0;
}

/* The folio at @index, with a reference. If there is none, adds @fresh (locked; or NULL). NULL: none, or no memory. */
static struct folio *find_or_add(struct vellum_mapping *mapping, pgoff_t index, struct folio *fresh)
{
	const struct host *host = &mapping->memory->host;
	struct folio *folio;

	if (fresh)
		rwlock_assert_held(&mapping->invalidate_lock);	/* INV-MAP-2 */
	mutex_lock(&mapping->pages_lock, host);
	folio = radix_get(&mapping->pages, index);
	if (!folio && fresh && radix_set(&mapping->pages, index, fresh, host) == 0) {
		fresh->mapping = mapping;
		fresh->index = index;
		folio = fresh;
	}
	if (folio)
		folio_get(folio);
	mutex_unlock(&mapping->pages_lock, host);
	return folio;
}

struct folio *mapping_find(struct vellum_mapping *mapping, pgoff_t index)
{
	return find_or_add(mapping, index, NULL);
}

struct folio *mapping_next(struct vellum_mapping *mapping, pgoff_t *index, pgoff_t last, bool dirty_or_writeback)
{
	const struct host *host = &mapping->memory->host;
	struct folio *folio;

	mutex_lock(&mapping->pages_lock, host);
	folio = radix_next(&mapping->pages, index);
	while (folio && dirty_or_writeback && *index <= last && !(folio_flags(folio) & (PG_DIRTY | PG_WRITING))) {
		++*index;
		folio = radix_next(&mapping->pages, index);
	}
	if (folio && *index > last)
		folio = NULL;
	if (folio)
		folio_get(folio);
	mutex_unlock(&mapping->pages_lock, host);
	return folio;
}

bool mapping_remove(struct vellum_mapping *mapping, struct folio *folio, uint64_t max_count)
{
	struct vellum_memory *m = mapping->memory;
	bool ok;

	mutex_assert_held(&folio->lock);
	mutex_lock(&mapping->pages_lock, &m->host);
	/* New references come from the cache, which needs this lock, or from entries, if any map the page. */
	ok = __atomic_load_n(&folio->count, __ATOMIC_ACQUIRE) <= max_count;
	if (ok)
		radix_delete(&mapping->pages, folio->index, &m->host);
	mutex_unlock(&mapping->pages_lock, &m->host);
	if (ok) {
		__atomic_store_n(&folio->mapping, NULL, __ATOMIC_RELAXED);
		folio_put(m, folio);	/* the cache's reference */
	}
	return ok;
}

/* Zero the bytes that the backing filled in beyond the mapping's end. invalidate_lock held: the size is stable. */
static void zero_beyond_end(const struct vellum_mapping *mapping, struct vellum_vmf *vmf)
{
	uint64_t left = vellum_mapping_size(mapping) - (vmf->pgoff << PAGE_SHIFT);

	if (left < PAGE_SIZE)
		memset((char *)vmf->page + left, 0, PAGE_SIZE - left);
}

/* Fill a new, locked page from the backing or from swap. On failure, remove it from the cache. */
static enum vm_fault fill_folio(struct vellum_mapping *mapping, struct vellum_vmf *vmf, struct folio *folio)
	HOLDS(&folio->lock)
{
	struct vellum_memory *m = mapping->memory;
	enum vm_fault result = VM_FAULT_DONE;
	int was_swapped = 0;

	vmf->page = frame_address(m, folio_pfn(m, folio));
	if (mapping->ops && mapping->ops->fault)
		result = vm_fault_of_hook(mapping->ops->fault(mapping->ctx, vmf));
	else
		was_swapped = shmem_swap_in(mapping, folio);
	if (was_swapped < 0)
		result = VM_FAULT_SIGBUS;
	else if (!was_swapped)
		track_new_page(mapping, folio->index);
	if (result == VM_FAULT_DONE) {
		zero_beyond_end(mapping, vmf);
		folio_set(folio, mapping->flags & VELLUM_MAPPING_WRITEBACK ? PG_UPTODATE : PG_UPTODATE | PG_DIRTY);
		return VM_FAULT_DONE;
	}
	mapping_remove(mapping, folio, ~0ull);
	return result;
}

/* Add a missing page. Returns as mapping_get_folio(). *@out NULL and DONE: another thread added it first. */
static enum vm_fault add_folio(struct vellum_mapping *mapping, struct vellum_vmf *vmf, struct folio **out)
	NO_LOCK_ANALYSIS	/* *out = fresh, which stays locked */
{
	struct vellum_memory *m = mapping->memory;
	struct folio *fresh = folio_alloc(m, 0), *folio;
	enum vm_fault result;

	*out = NULL;
	if (!fresh)
		return VM_FAULT_OOM;
	mutex_lock(&fresh->lock, &m->host);
	folio = find_or_add(mapping, vmf->pgoff, fresh);
	if (folio == fresh) {
		result = fill_folio(mapping, vmf, fresh);
		if (result == VM_FAULT_DONE) {
			*out = fresh;	/* the allocation's reference is the cache's; find_or_add() took one more */
			return VM_FAULT_DONE;
		}
	} else {
		result = folio ? VM_FAULT_DONE : VM_FAULT_OOM;
		if (folio)
			folio_put(m, folio);
	}
	mutex_unlock(&fresh->lock, &m->host);
	folio_put(m, fresh);
	return result;
}

static enum vm_fault find_or_read_folio(struct vellum_mapping *mapping, struct vellum_vmf *vmf, bool holes, struct folio **out)
	TRY_ACQUIRES(false, &(*out)->lock) NO_LOCK_ANALYSIS	/* *out = folio, in a loop */
{
	const struct host *host = &mapping->memory->host;
	enum vm_fault result = VM_FAULT_DONE;

	*out = NULL;
	read_lock(&mapping->invalidate_lock, host);
	if (vmf->pgoff >= mapping_nr_pages(mapping))
		result = VM_FAULT_SIGBUS;
	while (result == VM_FAULT_DONE && !*out) {
		struct folio *folio = mapping_find(mapping, vmf->pgoff);

		if (folio) {
			mutex_lock(&folio->lock, host);
			*out = folio;
		} else if (!holes && !mapping_has_page(mapping, vmf->pgoff)) {
			result = VM_FAULT_AGAIN;	/* invalidate_lock is held, so a hole that is punched is seen */
		} else {
			result = add_folio(mapping, vmf, out);
		}
	}
	read_unlock(&mapping->invalidate_lock, host);
	return result;
}

enum vm_fault mapping_get_folio(struct vellum_mapping *mapping, struct vellum_vmf *vmf, bool holes, struct folio **out)
{
	struct vellum_memory *m = mapping->memory;
	enum vm_fault result = find_or_read_folio(mapping, vmf, holes, out);
	struct folio *folio = *out;

	if (result != VM_FAULT_DONE)
		return result;
	/* Another thread failed to fill the page, or removed it, while this one waited for its lock. */
	if (folio->mapping != mapping) {
		mutex_unlock(&folio->lock, &m->host);
		folio_put(m, folio);
		return VM_FAULT_AGAIN;
	}
	return VM_FAULT_DONE;
}

bool mapping_read_ahead(struct vellum_mapping *mapping, struct vellum_vmf *vmf)
{
	struct folio *folio;
	enum vm_fault result = mapping_get_folio(mapping, vmf, !mapping->ops->has_page, &folio);

	if (result)
		return result == VM_FAULT_AGAIN;	/* a hole, or another thread removed the page */
	mutex_unlock(&folio->lock, &mapping->memory->host);
	folio_put(mapping->memory, folio);
	return true;
}

bool mapping_has_page(struct vellum_mapping *mapping, pgoff_t index)
{
	const struct vellum_backing_ops *ops = mapping->ops;

	return mapping_has(mapping, index) || (ops && ops->has_page && ops->has_page(mapping->ctx, index));
}

int folio_mkwrite(struct vellum_mapping *mapping, struct folio *folio)
{
	struct vellum_memory *m = mapping->memory;
	struct vellum_vmf vmf = { .size = sizeof(vmf), .write = 1, .pgoff = folio->index, .pfn = folio_pfn(m, folio) };
	int code;

	if (!mapping->ops || !mapping->ops->page_mkwrite)
		return 0;
	vmf.page = frame_address(m, vmf.pfn);
	code = mapping->ops->page_mkwrite(mapping->ctx, &vmf);
	if (code == VELLUM_VMF_OK || code == VELLUM_VMF_LOCKED)
		return 0;
	return code == VELLUM_VMF_OOM ? -ENOMEM : -ENOSPC;
}

/*
 * The backing may have got the page since it was looked at. From now on vellum_mapping_update() finds @fresh, which is in
 * the cache: so bytes that are stored to the backing after this look are not lost.
 */
static int claim_hole(struct vellum_mapping *mapping, struct folio *fresh) HOLDS(&fresh->lock)
{
	if (mapping->ops && mapping->ops->has_page && mapping->ops->has_page(mapping->ctx, fresh->index))
		return -EEXIST;
	return folio_mkwrite(mapping, fresh);
}

/* Add @fresh, which is locked, at an index without a page. 0, -EEXIST, -ENOMEM, -ENOSPC. */
static int add_filled(struct vellum_mapping *mapping, pgoff_t index, struct folio *fresh) HOLDS(&fresh->lock)
{
	struct folio *folio = find_or_add(mapping, index, fresh);
	int err;

	if (folio != fresh) {
		if (folio)
			folio_put(mapping->memory, folio);
		return folio ? -EEXIST : -ENOMEM;
	}
	err = claim_hole(mapping, fresh);
	if (err) {
		mapping_remove(mapping, fresh, ~0ull);
		return err;
	}
	folio_set(fresh, PG_UPTODATE);
	folio_mark_dirty(fresh);
	track_new_page(mapping, index);
	return 0;
}

int mapping_add_page(struct vellum_mapping *mapping, pgoff_t index, const void *bytes, struct folio **out)
{
	struct vellum_memory *m = mapping->memory;
	struct folio *fresh = folio_alloc(m, 0);
	int err = fresh ? 0 : -ENOMEM;

	read_lock(&mapping->invalidate_lock, &m->host);
	if (!err && index >= mapping_nr_pages(mapping))
		err = -EFAULT;
	if (!err && mapping_has_page(mapping, index))
		err = -EEXIST;
	if (!err) {
		mutex_lock(&fresh->lock, &m->host);
		if (bytes)
			memcpy(frame_address(m, folio_pfn(m, fresh)), bytes, PAGE_SIZE);
		err = add_filled(mapping, index, fresh);
		if (err)
			mutex_unlock(&fresh->lock, &m->host);
		else
			*out = fresh;	/* the allocation's reference is the cache's; find_or_add() took one more */
	}
	read_unlock(&mapping->invalidate_lock, &m->host);
	if (err && fresh)
		folio_put(m, fresh);
	return err;
}

int mapping_fetch_swapped(struct vellum_mapping *mapping, pgoff_t index) NO_LOCK_ANALYSIS	/* see add_folio() */
{
	struct vellum_memory *m = mapping->memory;
	struct vellum_vmf vmf = { .size = sizeof(vmf), .pgoff = index };
	struct folio *folio = NULL;
	unsigned tries = 0;
	enum vm_fault result = VM_FAULT_DONE;

	if (!mapping_is_shmem(mapping) || !mapping_has(mapping, index))
		return 0;
	do {
		folio = mapping_find(mapping, index);
		if (folio) {
			folio_put(m, folio);
			return 0;
		}
		result = add_folio(mapping, &vmf, &folio);
		if (folio) {
			mutex_unlock(&folio->lock, &m->host);
			folio_put(m, folio);
		}
	} while (!folio && (result == VM_FAULT_DONE || (result == VM_FAULT_OOM && reclaim_for_retry(m, &tries))));
	return vm_fault_errno(result, -EIO);
}
