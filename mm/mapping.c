/* SPDX-License-Identifier: MIT */
/*
 * mm/mapping.c - objects that are mapped, and their pages.
 *
 * INV-MAP-1: a folio in mapping->pages has mapping and index of its place and one reference
 *            for it.
 */
#include "mm/mm.h"

EXPORT int vellum_mapping_create(struct vellum_memory *memory, const struct vellum_backing_ops *ops,
				 void *ctx, uint64_t nr_pages, uint32_t flags,
				 struct vellum_mapping **out)
{
	struct vellum_mapping *mapping;

	if (!memory || !out || nr_pages == 0 || nr_pages > 1ull << 40 ||
	    (flags & ~(uint32_t)(VELLUM_MAPPING_PFN | VELLUM_MAPPING_WRITEBACK)))
		return -EINVAL;
	if ((ops && ops->size != sizeof(*ops)) ||
	    ((flags & VELLUM_MAPPING_PFN) && !(ops && ops->fault)))
		return -EINVAL;
	mapping = host_alloc(&memory->host, sizeof(*mapping));
	if (!mapping)
		return -ENOMEM;
	mapping->memory = memory;
	mapping->ops = ops;
	mapping->ctx = ctx;
	mapping->nr_pages = nr_pages;
	mapping->flags = flags;
	mapping->refs = 1;
	mapping->i_mmap = (struct tree)INTERVAL_TREE_INIT;
	__atomic_fetch_add(&memory->nr_mappings, 1, __ATOMIC_RELAXED);
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

	for (uint64_t index = 0; (folio = radix_next(&mapping->pages, &index)); index++) {
		folio->mapping = NULL;
		folio_put(m, folio);
	}
	radix_destroy(&mapping->pages, &m->host);
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

void folio_mark_dirty(struct folio *folio)
{
	folio_set(folio, PG_DIRTY);
}

static int hook_result(int code)
{
	switch (code) {
	case VELLUM_VMF_OK:
	case VELLUM_VMF_LOCKED:
		return 0;
	case VELLUM_VMF_NOPAGE:
		return FAULT_NOPAGE;
	case VELLUM_VMF_OOM:
		return VELLUM_FAULT_OOM;
	default:
		return VELLUM_FAULT_SIGBUS;
	}
}

int notify_mkwrite(struct vma *vma, gva_t addr, struct folio *folio, pfn_t pfn)
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
		return hook_result(ops->page_mkwrite(vma->mapping->ctx, &vmf));
	if (!folio && ops && ops->pfn_mkwrite)
		return hook_result(ops->pfn_mkwrite(vma->mapping->ctx, &vmf));
	return 0;
}

/* The folio at @index with a reference: there already, or @fresh put in (locked) its place. */
static struct folio *find_or_add(struct vellum_mapping *mapping, pgoff_t index, struct folio *fresh)
{
	const struct host *host = &mapping->memory->host;
	struct folio *folio;

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

/* Bring a new, locked page in. On failure it leaves the cache again. */
static int fill_folio(struct vellum_mapping *mapping, struct vellum_vmf *vmf, struct folio *folio)
{
	struct vellum_memory *m = mapping->memory;
	int result = 0;

	vmf->page = frame_address(m, folio_pfn(m, folio));
	if (mapping->ops && mapping->ops->fault)
		result = hook_result(mapping->ops->fault(mapping->ctx, vmf));
	if (!result) {
		folio_set(folio, PG_UPTODATE);
		return 0;
	}
	mutex_lock(&mapping->pages_lock, &m->host);
	radix_delete(&mapping->pages, folio->index, &m->host);
	mutex_unlock(&mapping->pages_lock, &m->host);
	folio->mapping = NULL;
	folio_put(m, folio);	/* the cache's reference */
	return result;
}

int mapping_get_folio(struct vellum_mapping *mapping, struct vellum_vmf *vmf, struct folio **out)
{
	struct vellum_memory *m = mapping->memory;
	struct folio *folio, *fresh = NULL;
	int result = 0;

	if (vmf->pgoff >= mapping->nr_pages)
		return VELLUM_FAULT_SIGBUS;
	folio = find_or_add(mapping, vmf->pgoff, NULL);
	if (!folio) {
		fresh = folio_alloc(m, 0);
		if (!fresh)
			return VELLUM_FAULT_OOM;
		mutex_lock(&fresh->lock, &m->host);
		folio = find_or_add(mapping, vmf->pgoff, fresh);
		if (folio == fresh) {
			result = fill_folio(mapping, vmf, fresh);
			if (!result) {
				*out = fresh;	/* ours, locked; the cache has the first reference */
				return 0;
			}
		}
		mutex_unlock(&fresh->lock, &m->host);
		folio_put(m, fresh);
		if (!folio)
			return VELLUM_FAULT_OOM;
		if (folio == fresh)
			return result;
	}
	mutex_lock(&folio->lock, &m->host);
	if (folio->mapping != mapping) {	/* its filling failed, or it was dropped */
		mutex_unlock(&folio->lock, &m->host);
		folio_put(m, folio);
		return FAULT_AGAIN;
	}
	*out = folio;
	return 0;
}

EXPORT int vellum_mapping_read(struct vellum_mapping *mapping, uint64_t offset, void *buf,
			       uint64_t len)
{
	struct vellum_memory *m = mapping->memory;
	uint64_t size = mapping->nr_pages << PAGE_SHIFT;
	char *to = buf;

	if ((mapping->flags & VELLUM_MAPPING_PFN) || offset > size || len > size - offset)
		return -EINVAL;
	while (len) {
		uint64_t in_page = offset & (PAGE_SIZE - 1);
		uint64_t n = min_u64(len, PAGE_SIZE - in_page);
		struct folio *folio = find_or_add(mapping, offset >> PAGE_SHIFT, NULL);

		if (folio) {
			memcpy(to, (char *)frame_address(m, folio_pfn(m, folio)) + in_page, n);
			folio_put(m, folio);
		} else {
			memset(to, 0, n);
		}
		offset += n;
		to += n;
		len -= n;
	}
	return 0;
}

EXPORT void vellum_unmap_mapping_range(struct vellum_mapping *mapping, uint64_t first, uint64_t nr)
{
	const struct host *host = &mapping->memory->host;
	uint64_t last = first + nr - 1;

	if (nr == 0 || last < first)
		return;
	__atomic_fetch_add(&mapping->unmap_seq, 1, __ATOMIC_SEQ_CST);
	read_lock(&mapping->i_mmap_lock, host);
	for (struct interval *iv = interval_first(&mapping->i_mmap, first, last); iv;
	     iv = interval_next(iv, first, last)) {
		struct vma *vma = container_of(iv, struct vma, map_node);
		gva_t start = vma->start + ((max_u64(first, iv->start) - iv->start) << PAGE_SHIFT);
		gva_t end = vma->start + ((min_u64(last, iv->last) + 1 - iv->start) << PAGE_SHIFT);
		struct tlb_gather tlb;

		notify_start(vma->mm, VELLUM_NOTIFY_CLEAR, start, end);
		tlb_begin(&tlb, vma->mm);
		zap_mapping_range(&tlb, vma, start, end);
		tlb_finish(&tlb);
		notify_finish(vma->mm, VELLUM_NOTIFY_CLEAR, start, end);
	}
	read_unlock(&mapping->i_mmap_lock, host);
}
