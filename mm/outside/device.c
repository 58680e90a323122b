/* SPDX-License-Identifier: MIT */
/*
 * mm/outside/device.c - device-private pages, whose bytes are in a device's memory; and device-exclusive pages in RAM.
 *
 * A device page has what a frame of RAM has: a lock, a count, and the place (anon_vma,
 * index) by which the reverse map finds them. Frame numbers of devices are above all of RAM, and no hardware uses
 * them.
 *
 * INV-DEVICE-1: a device page's count is the number of device-private entries that name it, plus the temporary
 *               references of migrations and faults.
 */
#include "lib/sized.h"
#include "mm/fault/fault.h"
#include "mm/frame/rmap.h"
#include "mm/outside/device.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"
#include "mm/table/pgtable.h"
#include "mm/table/tlb.h"
#include "mm/track/hooks.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

#define DEVICE_PFN_BASE (1ull << 39)	/* below 2^40: an entry's offset has 40 bits for it */
#define DEVICE_PFN_STEP (1ull << 20)	/* numbers for each device */

struct device_page {
	struct mutex lock;
	uint32_t refs;			/* atomic; 0: free */
	struct anon_vma *anon_vma;	/* a reference */
	pgoff_t index;
	uint32_t exclusive;		/* atomic; as PG_EXCLUSIVE: only one process maps the page */
};

struct vellum_device {
	struct vellum_device *next;	/* memory->lock */
	struct vellum_memory *memory;
	struct vellum_device_ops ops;
	void *ctx;
	pfn_t first;
	uint64_t nr;
	uint64_t next_free;		/* the page to try first; atomic */
	uint64_t nr_used;		/* atomic */
	struct device_page *pages;
};

static struct vellum_device *find_device(struct vellum_memory *m, pfn_t pfn)
{
	struct vellum_device *dev;

	mutex_lock(&m->lock, &m->host);
	for (dev = m->private_devices; dev && pfn - dev->first >= dev->nr; dev = dev->next)
		;
	mutex_unlock(&m->lock, &m->host);
	return dev;
}

/* The device that the frame @pfn, named by an entry, belongs to. If there is none, the entry is forged. */
static struct vellum_device *device_of(struct vellum_memory *m, pfn_t pfn)
{
	struct vellum_device *dev = find_device(m, pfn);

	if (unlikely(!dev))
		entry_forged(m, swp_entry_pte(SWP_DEVICE_READ, pfn).val, "an entry that names no device");
	return dev;
}

bool device_page_exists(struct vellum_memory *m, pfn_t pfn)
{
	const struct vellum_device *dev = find_device(m, pfn);

	return dev && __atomic_load_n(&dev->pages[pfn - dev->first].refs, __ATOMIC_RELAXED);
}

static struct device_page *page_of(struct vellum_memory *m, pfn_t pfn)
{
	struct vellum_device *dev = device_of(m, pfn);

	return &dev->pages[pfn - dev->first];
}

void device_page_put(struct vellum_memory *m, pfn_t pfn)
{
	struct vellum_device *dev = device_of(m, pfn);
	struct device_page *page = &dev->pages[pfn - dev->first];
	struct anon_vma *anon_vma = page->anon_vma;

	if (__atomic_sub_fetch(&page->refs, 1, __ATOMIC_ACQ_REL))
		return;
	__atomic_fetch_sub(&dev->nr_used, 1, __ATOMIC_RELEASE);
	anon_vma_put(anon_vma, &m->host);
}

void device_page_share(struct vellum_memory *m, pfn_t pfn)
{
	struct device_page *page = page_of(m, pfn);

	__atomic_fetch_add(&page->refs, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&page->exclusive, 0, __ATOMIC_RELAXED);
}

/* --- create and destroy --- */

EXPORT int vellum_device_create(struct vellum_memory *memory, const struct vellum_device_ops *given, void *ctx,
				uint64_t nr_pages, struct vellum_device **out)
{
	struct vellum_memory *m = memory;
	struct vellum_device *dev;
	pfn_t first = DEVICE_PFN_BASE;
	struct vellum_device_ops ops;
	int err = given ? FROM_CALLER(&ops, given) : -EINVAL;

	if (err)
		return err;
	if (!memory || !out || !ops.to_device || !ops.to_ram || !nr_pages || nr_pages > DEVICE_PFN_STEP)
		return -EINVAL;
	dev = host_alloc(&m->host, sizeof(*dev));
	if (!dev)
		return -ENOMEM;
	*dev = (struct vellum_device){ .memory = m, .ops = ops, .ctx = ctx, .nr = nr_pages };
	dev->pages = host_alloc(&m->host, nr_pages * sizeof(*dev->pages));
	if (!dev->pages) {
		host_free(&m->host, dev, sizeof(*dev));
		return -ENOMEM;
	}
	mutex_lock(&m->lock, &m->host);
	for (const struct vellum_device *d = m->private_devices; d; d = d->next)
		first = max_u64(first, d->first + DEVICE_PFN_STEP);
	dev->first = first;
	dev->next = m->private_devices;
	m->private_devices = dev;
	mutex_unlock(&m->lock, &m->host);
	*out = dev;
	return 0;
}

EXPORT int vellum_device_destroy(struct vellum_device *device)
{
	struct vellum_memory *m;

	if (!device)
		return 0;
	m = device->memory;
	if (vellum_device_used(device))
		return -EBUSY;
	mutex_lock(&m->lock, &m->host);
	for (struct vellum_device **at = &m->private_devices; *at; at = &(*at)->next)
		if (*at == device) {
			*at = device->next;
			break;
		}
	mutex_unlock(&m->lock, &m->host);
	host_free(&m->host, device->pages, device->nr * sizeof(*device->pages));
	host_free(&m->host, device, sizeof(*device));
	return 0;
}

EXPORT uint64_t vellum_device_used(const struct vellum_device *device)
{
	return __atomic_load_n(&device->nr_used, __ATOMIC_ACQUIRE);
}

/* Allocate a page, with one reference and its lock held. False: none is free. */
static bool alloc_device_page(struct vellum_device *dev, struct device_page **out)
	TRY_ACQUIRES(true, &(*out)->lock) NO_LOCK_ANALYSIS	/* *out = page, in a loop */
{
	uint64_t start = __atomic_fetch_add(&dev->next_free, 1, __ATOMIC_RELAXED);

	for (uint64_t i = 0; i < dev->nr; i++) {
		struct device_page *page = &dev->pages[(start + i) % dev->nr];
		uint32_t none = 0;

		if (!mutex_trylock(&page->lock))
			continue;
		if (__atomic_compare_exchange_n(&page->refs, &none, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
			__atomic_fetch_add(&dev->nr_used, 1, __ATOMIC_RELAXED);
			*out = page;
			return true;
		}
		mutex_unlock(&page->lock, &dev->memory->host);
	}
	return false;
}

/* --- from RAM to the device --- */

struct to_device {
	struct vellum_memory *m;
	struct device_page *page;
	pfn_t pfn;
};

/* For rmap_walk(): replace the entry by a device-private one. 1: the page is mlocked or pinned, so it stays in RAM. */
static int entry_to_device(struct folio *folio, struct vma *vma, gva_t addr, void *arg)
{
	const struct to_device *td = arg;
	struct mutex *ptl;
	pte_t *ptep, old, new;

	if (vma_flags(vma) & VM_LOCKED)
		return 1;
	ptep = rmap_lock_pte(td->m, folio, vma, addr, &ptl);
	if (!ptep)
		return 0;
	old = ptep_get_and_clear(ptep);
	flush_page(vma->mm, addr, VELLUM_FLUSH_UNMAP, pte_pfn(old));
	if (folio_maybe_pinned(folio)) {
		ptep_set(ptep, old);
		mutex_unlock(ptl, &td->m->host);
		return 1;
	}
	new = pte_to_swp_flags(swp_entry_pte(pte_write(old) ? SWP_DEVICE_WRITE : SWP_DEVICE_READ, td->pfn), old);
	if (pte_dirty(old)) {
		track_change(vma, addr);
		folio_mark_dirty(folio);
	}
	__atomic_fetch_add(&td->page->refs, 1, __ATOMIC_RELAXED);
	ptep_set(ptep, new);
	mm_add_rss(vma->mm, -1);
	mutex_unlock(ptl, &td->m->host);
	folio_put_count(td->m, folio, FOLIO_ONE_MAPPING);
	return 0;
}

struct to_ram {
	struct vellum_memory *m;
	pfn_t pfn;
	struct folio *folio;
	bool exclusive;
};

/* For rmap_walk_anon(): replace the device-private entry by one that maps the folio. */
static int entry_to_ram(struct folio *folio, struct vma *vma, gva_t addr, void *arg)
{
	const struct to_ram *tr = arg;
	struct mutex *ptl;
	pte_t *ptep = pte_lookup(vma->mm, addr, &ptl), old, new;

	if (!ptep)
		return 0;
	mutex_lock(ptl, &tr->m->host);
	old = ptep_get(ptep);
	if (pte_is_device_private(old) && pte_swp_pfn(old) == tr->pfn) {
		new = swp_to_pte_flags(pte_mkold(pte_mk(folio_pfn(tr->m, folio), vma->page_prot)), old);
		if (pte_swp_type(old) == SWP_DEVICE_WRITE && tr->exclusive && !pte_swp_uffd_wp(old) &&
		    !wp_tracked(vma, addr))
			new = maybe_mkwrite(vma, pte_mkdirty(new));
		track_change(vma, addr);	/* the device may have stored to the page */
		if (pte_write(new))
			track_grant(vma, addr);
		__atomic_fetch_add(&folio->count, FOLIO_ONE_MAPPING, __ATOMIC_RELAXED);
		prepare_exec(vma, folio);
		ptep_set(ptep, new);
		mm_add_rss(vma->mm, 1);
		device_page_put(tr->m, tr->pfn);	/* not the last: the caller has a reference */
	}
	mutex_unlock(ptl, &tr->m->host);
	return 0;
}

/*
 * Make all entries of the device's page map @folio. The caller has a reference to the device's page.
 */
static void map_in_ram(struct vellum_memory *m, struct device_page *page, pfn_t pfn, struct folio *folio)
	HOLDS(&page->lock) HOLDS(&folio->lock)
{
	struct to_ram tr = { m, pfn, folio, __atomic_load_n(&page->exclusive, __ATOMIC_RELAXED) };

	if (!(folio_flags(folio) & PG_ANON)) {
		folio->anon_vma = page->anon_vma;
		anon_vma_get(folio->anon_vma);
		folio->index = page->index;
		folio_set(folio, PG_ANON | PG_UPTODATE | PG_DIRTY);
	}
	if (tr.exclusive)
		folio_set(folio, PG_EXCLUSIVE);
	rmap_walk_anon(m, page->anon_vma, page->index, folio, entry_to_ram, &tr);
}

/* The folio is locked and referenced. Return: it moved to the device, and its only reference is the caller's. */
static bool move_folio(struct vellum_device *dev, struct folio *folio) HOLDS(&folio->lock)
{
	struct vellum_memory *m = dev->memory;
	uint64_t count = __atomic_load_n(&folio->count, __ATOMIC_ACQUIRE), at;
	struct device_page *page;
	bool moved = false;

	/* There must be no references besides those of the entries and the caller's. */
	if ((folio_flags(folio) & (PG_ANON | PG_SWAPCACHE)) != PG_ANON || (uint32_t)count - (count >> 32) != 1)
		return false;
	if (!alloc_device_page(dev, &page))
		return false;
	at = (uint64_t)(page - dev->pages);
	page->anon_vma = folio->anon_vma;
	anon_vma_get(page->anon_vma);
	page->index = folio->index;
	__atomic_store_n(&page->exclusive, !!(folio_flags(folio) & PG_EXCLUSIVE), __ATOMIC_RELAXED);
	struct to_device td = { m, page, dev->first + at };

	if (!rmap_walk(m, folio, entry_to_device, &td) && __atomic_load_n(&folio->count, __ATOMIC_ACQUIRE) == FOLIO_REF)
		moved = !dev->ops.to_device(dev->ctx, at, frame_address(m, folio_pfn(m, folio)));
	if (!moved)
		map_in_ram(m, page, dev->first + at, folio);
	mutex_unlock(&page->lock, &m->host);
	device_page_put(m, dev->first + at);	/* the one of alloc_device_page() */
	return moved;
}

/* *@out: the anonymous folio mapped at @addr, referenced and locked. False: there is none. mmap_lock held. */
static bool lock_anon_at(struct vellum_mm *mm, gva_t addr, struct folio **out) TRY_ACQUIRES(true, &(*out)->lock)
{
	*out = folio_mapped_at(mm, addr);
	if (!*out)
		return false;
	if (!(folio_flags(*out) & PG_ANON)) {
		folio_put(mm->memory, *out);
		return false;
	}
	mutex_lock(&(*out)->lock, mm_host(mm));
	return true;
}

EXPORT int vellum_device_migrate(struct vellum_device *device, struct vellum_mm *mm, uint64_t addr, uint64_t nr,
				 uint64_t *moved)
{
	struct vellum_memory *m = mm->memory;
	uint64_t done = 0;
	int err;

	if (m != device->memory || (addr & ~PAGE_MASK) || nr > TASK_SIZE >> PAGE_SHIFT ||
	    !is_user_range(addr, nr << PAGE_SHIFT))
		return -EINVAL;
	read_lock(&mm->mmap_lock, &m->host);
	err = find_vma_intersection(mm, addr, addr + (nr << PAGE_SHIFT)) ? 0 : -EFAULT;
	for (uint64_t i = 0; i < nr && !err; i++) {
		struct folio *folio;

		if (!lock_anon_at(mm, addr + (i << PAGE_SHIFT), &folio))
			continue;
		done += move_folio(device, folio);
		anon_folio_unlock_and_free_swap(m, folio);
		folio_put(m, folio);
	}
	read_unlock(&mm->mmap_lock, &m->host);
	if (moved)
		*moved = done;
	return err;
}

/* --- from the device to RAM --- */

enum vm_fault device_private_fault(struct fault *f)
{
	struct vellum_memory *m = fault_memory(f);
	pfn_t pfn = pte_swp_pfn(f->orig);
	struct vellum_device *dev = NULL;
	struct device_page *page = NULL;
	struct folio *folio;
	enum vm_fault result = VM_FAULT_AGAIN;

	mutex_lock(f->ptl, &m->host);
	if (fault_is_same(f)) {
		dev = device_of(m, pfn);
		page = &dev->pages[pfn - dev->first];
		if (!ref_try_get(&page->refs))
			page = NULL;
	}
	mutex_unlock(f->ptl, &m->host);
	if (!page)
		return VM_FAULT_AGAIN;
	folio = folio_alloc_raw(m);
	if (!folio) {
		device_page_put(m, pfn);
		return VM_FAULT_OOM;
	}
	mutex_lock(&folio->lock, &m->host);	/* before the page's lock, as move_folio() */
	mutex_lock(&page->lock, &m->host);
	/* With only this fault's reference, no entry names the page any more. */
	if (__atomic_load_n(&page->refs, __ATOMIC_ACQUIRE) > 1) {
		if (dev->ops.to_ram(dev->ctx, pfn - dev->first, frame_address(m, folio_pfn(m, folio))))
			result = VM_FAULT_SIGBUS;
		else
			map_in_ram(m, page, pfn, folio);
	}
	mutex_unlock(&page->lock, &m->host);
	mutex_unlock(&folio->lock, &m->host);
	device_page_put(m, pfn);
	folio_put(m, folio);
	return result;
}

/* --- device-exclusive pages --- */

/* A device-exclusive entry does not name its device: notify all devices. A device knows which frames it uses. */
static void notify_devices(struct vellum_memory *m, pfn_t pfn)
{
	struct vellum_device *dev;

	mutex_lock(&m->lock, &m->host);
	for (dev = m->private_devices; dev; dev = dev->next)
		if (dev->ops.exclusive)
			dev->ops.exclusive(dev->ctx, pfn);
	mutex_unlock(&m->lock, &m->host);
}

void device_exclusive_restore(struct vma *vma, gva_t addr, pte_t *ptep)
{
	struct vellum_memory *m = vma->mm->memory;
	pte_t old = ptep_get(ptep), pte;
	struct folio *folio = swp_folio(m, old);

	notify_devices(m, folio_pfn(m, folio));
	pte = swp_to_pte_flags(pte_mkold(pte_mk(folio_pfn(m, folio), vma->page_prot)), old);
	if (pte_swp_type(old) == SWP_DEVICE_EXCL_WRITE && (folio_flags(folio) & PG_EXCLUSIVE) &&
	    !pte_swp_uffd_wp(old) && !wp_tracked(vma, addr))
		pte = maybe_mkwrite(vma, pte_mkdirty(pte));
	track_change(vma, addr);	/* the device may have stored to the page */
	if (pte_write(pte))
		track_grant(vma, addr);
	__atomic_fetch_add(&folio->count, FOLIO_MAP, __ATOMIC_RELAXED);	/* the entry has kept its reference */
	ptep_set(ptep, pte);
	mm_add_rss(vma->mm, 1);
}

enum vm_fault device_exclusive_fault(struct fault *f)
{
	struct vellum_memory *m = fault_memory(f);
	struct vellum_mm *mm = f->vma->mm;

	notify_start(mm, VELLUM_NOTIFY_EXCLUSIVE, f->addr, f->addr + PAGE_SIZE);
	mutex_lock(f->ptl, &m->host);
	if (fault_is_same(f))
		device_exclusive_restore(f->vma, f->addr, f->ptep);
	mutex_unlock(f->ptl, &m->host);
	notify_finish(mm, VELLUM_NOTIFY_EXCLUSIVE, f->addr, f->addr + PAGE_SIZE);
	return VM_FAULT_AGAIN;
}

/*
 * Replace the entry of a PG_EXCLUSIVE page by a device-exclusive one. 0; -EBUSY: the page is not PG_EXCLUSIVE, is
 * pinned, or is mapped no more; -EFAULT: no anonymous page is mapped. mmap_lock held.
 */
static int make_entry_exclusive(struct vma *vma, gva_t addr, pfn_t *pfn)
{
	struct vellum_memory *m = vma->mm->memory;
	struct folio *folio;
	struct mutex *ptl;
	pte_t *ptep, old, new;
	int err = -EBUSY;

	if (!lock_anon_at(vma->mm, addr, &folio))
		return -EFAULT;
	ptep = rmap_lock_pte(m, folio, vma, addr, &ptl);
	if (ptep) {
		old = ptep_get_and_clear(ptep);
		flush_page(vma->mm, addr, VELLUM_FLUSH_UNMAP, pte_pfn(old));
		if (!(folio_flags(folio) & PG_EXCLUSIVE) || folio_maybe_pinned(folio)) {
			ptep_set(ptep, old);
		} else {
			new = swp_entry_pte(pte_write(old) ? SWP_DEVICE_EXCL_WRITE : SWP_DEVICE_EXCL_READ,
					    pte_pfn(old));
			new = pte_to_swp_flags(new, old);
			track_change(vma, addr);
			folio_mark_dirty(folio);	/* the device may store to it */
			ptep_set(ptep, new);
			mm_add_rss(vma->mm, -1);
			__atomic_fetch_sub(&folio->count, FOLIO_MAP, __ATOMIC_RELAXED);
			*pfn = pte_pfn(old);
			err = 0;
		}
		mutex_unlock(ptl, &m->host);
	}
	anon_folio_unlock_and_free_swap(m, folio);
	folio_put(m, folio);
	return err;
}

EXPORT int vellum_device_make_exclusive(struct vellum_device *device, struct vellum_mm *mm, uint64_t addr,
					uint64_t *pfn)
{
	struct uffd_wait wait = { .ctx = NULL };
	unsigned tries = 0;
	bool again;
	int err;

	if (mm->memory != device->memory || (addr & ~PAGE_MASK) || !is_user_range(addr, PAGE_SIZE) || !pfn)
		return -EINVAL;
	do {
		struct vma *vma;
		enum vm_fault result;

		again = false;
		read_lock(&mm->mmap_lock, mm_host(mm));
		vma = find_vma_intersection(mm, addr, addr + 1);
		err = vma && (vma->flags & VM_WRITE) && !(vma->flags & VM_MAYSHARE) ? 0 : -EFAULT;
		result = err ? VM_FAULT_DONE : handle_mm_fault(vma, addr, FAULT_WRITE, &wait);
		if (!err && result == VM_FAULT_DONE)
			err = vma->flags & VM_LOCKED ? -EBUSY : make_entry_exclusive(vma, addr, pfn);
		read_unlock(&mm->mmap_lock, mm_host(mm));
		if (result == VM_FAULT_WAIT)
			again = uffd_wait_resolved(&wait, mm_host(mm));
		else if (result == VM_FAULT_OOM)
			again = reclaim_for_retry(mm->memory, &tries);
		if (result != VM_FAULT_DONE)
			err = vm_fault_errno(result, -EFAULT);
	} while (again);
	return err;
}
