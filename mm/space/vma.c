/* SPDX-License-Identifier: MIT */
/*
 * mm/space/vma.c - VMAs: the tree, split, merge, gaps, page protections. Changes no entry, except that a split of a VMA
 * splits a huge leaf that crosses the new border.
 *
 * The caller holds the mmap lock for writing; for look-ups, for reading.
 *
 * INV-VMA-1: VMAs don't overlap; start < end; both are page-aligned and within user addresses.
 * INV-VMA-2: gap is the distance to the previous VMA's end, and max_gap the largest gap in the subtree.
 * INV-VMA-3: a VMA is in the interval trees of its mapping and its anon_vma, with its page range.
 */
#include "lib/sized.h"
#include "mm/frame/rmap.h"
#include "mm/space/space.h"
#include "mm/table/huge.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

static struct vma *to_vma(struct tree_node *node)
{
	return node ? container_of(node, struct vma, node) : NULL;
}

static void vma_augment(struct tree_node *node)
{
	struct vma *vma = to_vma(node);

	vma->max_gap = vma->gap;
	if (node->left)
		vma->max_gap = max_u64(vma->max_gap, to_vma(node->left)->max_gap);
	if (node->right)
		vma->max_gap = max_u64(vma->max_gap, to_vma(node->right)->max_gap);
}

struct vma *vma_first(const struct vellum_mm *mm)
{
	return to_vma(tree_first(&mm->vmas));
}

struct vma *vma_next(const struct vma *vma)
{
	return to_vma(tree_next(&vma->node));
}

struct vma *vma_prev(const struct vma *vma)
{
	return to_vma(tree_prev(&vma->node));
}

struct vma *find_vma(const struct vellum_mm *mm, gva_t addr)
{
	struct vma *vma = to_vma(mm->vmas.root), *best = NULL;

	mmap_assert_held(mm);
	while (vma) {
		if (vma->end > addr) {
			best = vma;
			if (vma->start <= addr)
				break;
			vma = to_vma(vma->node.left);
		} else {
			vma = to_vma(vma->node.right);
		}
	}
	return best;
}

struct vma *find_vma_intersection(const struct vellum_mm *mm, gva_t start, gva_t end)
{
	struct vma *vma = find_vma(mm, start);

	return vma && vma->start < end ? vma : NULL;
}

uint64_t vma_compute_gap(const struct vma *vma)
{
	const struct vma *prev = vma_prev(vma);

	return vma->start - (prev ? prev->end : 0);
}

static void update_gap(struct vma *vma)
{
	if (!vma)
		return;
	vma->gap = vma_compute_gap(vma);
	tree_augment_up(&vma->mm->vmas, &vma->node);
}

struct vma *vma_alloc(struct vellum_mm *mm, gva_t start, gva_t end, uint64_t flags,
		      struct vellum_mapping *mapping, pgoff_t pgoff)
{
	struct vma *vma = host_alloc(mm_host(mm), sizeof(*vma));

	if (!vma)
		return NULL;
	vma->mm = mm;
	vma->start = start;
	vma->end = end;
	vma->flags = flags;
	vma->mapping = mapping;
	vma->pgoff = pgoff;
	if (mapping)
		vellum_mapping_get(mapping);
	vma_update_prot(vma);
	return vma;
}

void vma_free(struct vma *vma)
{
	uffd_ref_put(vma->uffd);
	if (vma->mapping)
		vellum_mapping_put(vma->mapping);
	if (vma->anon_vma)
		anon_vma_put(vma->anon_vma, mm_host(vma->mm));
	host_free(mm_host(vma->mm), vma, sizeof(*vma));
}

/* Is the VMA in its mapping's tree? See mm/snapshot/snapshot.h for those that are not. */
bool vma_is_in_i_mmap(const struct vma *vma)
{
	return vma->mapping && (!vma->mm->is_frozen || (vma->mapping->flags & MAPPING_RAW));
}

static void set_interval(struct interval *iv, const struct vma *vma)
{
	iv->start = vma->pgoff;
	iv->last = vma->pgoff + ((vma->end - vma->start) >> PAGE_SHIFT) - 1;
}

/*
 * Take the rmap locks. A change of a VMA's range holds them from the first removal from a tree to the last insertion,
 * so a walk by mapping finds the VMA's pages either before or after the change.
 */
void vma_lock_rmaps(struct vma *vma) NO_LOCK_ANALYSIS	/* the VMA may have none, one or both */
{
	if (vma->mapping)
		write_lock(&vma->mapping->i_mmap_lock, mm_host(vma->mm));
	if (vma->anon_vma)
		write_lock(&vma->anon_vma->lock, mm_host(vma->mm));
}

void vma_unlock_rmaps(struct vma *vma) NO_LOCK_ANALYSIS	/* as above */
{
	if (vma->anon_vma)
		write_unlock(&vma->anon_vma->lock, mm_host(vma->mm));
	if (vma->mapping)
		write_unlock(&vma->mapping->i_mmap_lock, mm_host(vma->mm));
}

static void assert_rmaps_locked(const struct vma *vma)
{
	if (vma->mapping)
		rwlock_assert_write_held(&vma->mapping->i_mmap_lock);
	if (vma->anon_vma)
		rwlock_assert_write_held(&vma->anon_vma->lock);
}

static void link_rmap(struct vma *vma)
{
	assert_rmaps_locked(vma);
	set_interval(&vma->map_node, vma);
	set_interval(&vma->anon_node, vma);
	if (vma_is_in_i_mmap(vma))
		interval_insert(&vma->mapping->i_mmap, &vma->map_node);
	if (vma->anon_vma)
		interval_insert(&vma->anon_vma->vmas, &vma->anon_node);
}

static void unlink_rmap(struct vma *vma)
{
	assert_rmaps_locked(vma);
	if (vma_is_in_i_mmap(vma))
		tree_erase(&vma->mapping->i_mmap, &vma->map_node.node);
	if (vma->anon_vma)
		tree_erase(&vma->anon_vma->vmas, &vma->anon_node.node);
}

/* Insert into mm->vmas only. */
static void tree_add(struct vma *vma)
{
	struct tree_node **link = &vma->mm->vmas.root, *parent = NULL;

	mmap_assert_write_held(vma->mm);
	vma->mm->vmas.augment = vma_augment;
	while (*link) {
		parent = *link;
		link = vma->start < to_vma(parent)->start ? &parent->left : &parent->right;
	}
	tree_insert(&vma->mm->vmas, &vma->node, parent, link);
	vma->mm->nr_vmas++;
	vma->mm->vmas_changed = true;
	update_gap(vma);
	update_gap(vma_next(vma));
}

void vma_insert(struct vma *vma)
{
	tree_add(vma);
	vma_lock_rmaps(vma);
	link_rmap(vma);
	vma_unlock_rmaps(vma);
}

static void tree_remove(struct vma *vma)
{
	struct vma *next = vma_next(vma);

	mmap_assert_write_held(vma->mm);
	tree_erase(&vma->mm->vmas, &vma->node);
	vma->mm->nr_vmas--;
	vma->mm->vmas_changed = true;
	update_gap(next);
}

void vma_remove(struct vma *vma)
{
	vma_lock_rmaps(vma);
	unlink_rmap(vma);
	vma_unlock_rmaps(vma);
	tree_remove(vma);
}

static void set_range(struct vma *vma, gva_t start, gva_t end)
{
	mmap_assert_write_held(vma->mm);
	vma->mm->vmas_changed = true;
	unlink_rmap(vma);
	vma->pgoff += ((int64_t)(start - vma->start)) >> PAGE_SHIFT;
	vma->start = start;
	vma->end = end;
	update_gap(vma);
	update_gap(vma_next(vma));
	link_rmap(vma);
}

void vma_set_range(struct vma *vma, gva_t start, gva_t end)
{
	vma_lock_rmaps(vma);
	set_range(vma, start, end);
	vma_unlock_rmaps(vma);
}

/*
 *   |-------- vma --------|
 *   |-- vma --|-- upper --|
 *             addr
 */
static int vma_split(struct vma *vma, gva_t addr)
{
	struct vma *upper;

	if (vma->mm->nr_vmas >= max_map_count(vma->mm))
		return -ENOMEM;
	upper = vma_alloc(vma->mm, addr, vma->end, vma->flags, vma->mapping,
			  vma_page_index(vma, addr));
	if (!upper)
		return -ENOMEM;
	if (vma->anon_vma) {
		anon_vma_get(vma->anon_vma);
		upper->anon_vma = vma->anon_vma;
	}
	if (vma->uffd)
		uffd_ref_get(vma->uffd);
	upper->uffd = vma->uffd;
	huge_split_at(vma->mm, addr);	/* a leaf never crosses a VMA's border */
	vma_lock_rmaps(vma);		/* also upper's: both have the same mapping and anon_vma */
	set_range(vma, vma->start, addr);
	tree_add(upper);
	link_rmap(upper);
	vma_unlock_rmaps(vma);
	return 0;
}

int vma_split_range(struct vellum_mm *mm, gva_t start, gva_t end)
{
	struct vma *vma = find_vma_intersection(mm, start, end);
	bool split = vma && vma->start < start;

	if (split && vma_split(vma, start))
		return -ENOMEM;
	vma = find_vma_intersection(mm, end - 1, end);
	if (vma && vma->start < end && vma->end > end && vma_split(vma, end)) {
		if (split)
			vma_merge(find_vma(mm, start));
		return -ENOMEM;
	}
	return 0;
}

static bool can_merge(const struct vma *low, const struct vma *high)
{
	return low->end == high->start && !((low->flags ^ high->flags) & ~VM_SOFTDIRTY) &&
	       !(low->flags & VM_SPECIAL) && low->uffd == high->uffd && low->mapping == high->mapping &&
	       vma_page_index(low, low->end) == high->pgoff &&
	       (low->anon_vma == high->anon_vma || !low->anon_vma || !high->anon_vma);
}

void vma_share_anon(struct vma *low, struct vma *high)
{
	struct vma *has = low->anon_vma ? low : high, *lacks = low->anon_vma ? high : low;

	if (!has->anon_vma || lacks->anon_vma)
		return;
	anon_vma_get(has->anon_vma);
	write_lock(&has->anon_vma->lock, mm_host(has->mm));
	lacks->anon_vma = has->anon_vma;
	interval_insert(&lacks->anon_vma->vmas, &lacks->anon_node);
	write_unlock(&has->anon_vma->lock, mm_host(has->mm));
}

/* If one of them has VM_SOFTDIRTY, the merged VMA has it: soft-dirty may be reported too often, but not too seldom. */
static void merge_soft_dirty(struct vma *low, const struct vma *high)
{
	if (!((low->flags ^ high->flags) & VM_SOFTDIRTY))
		return;
	__atomic_store_n(&low->flags, low->flags | VM_SOFTDIRTY, __ATOMIC_RELAXED);
	vma_update_prot(low);
}

/* Extend @low over @high and free @high. */
static void absorb(struct vma *low, struct vma *high)
{
	gva_t end = high->end;

	low->write_faults += high->write_faults;
	merge_soft_dirty(low, high);
	vma_share_anon(low, high);
	vma_lock_rmaps(low);		/* also high's: both have the same mapping and anon_vma */
	unlink_rmap(high);
	tree_remove(high);
	set_range(low, low->start, end);
	vma_unlock_rmaps(low);
	vma_free(high);
}

void vma_cover(struct vma *vma, gva_t start, gva_t end)
{
	struct vma *next;

	while ((next = vma_next(vma)) && next->start < end)
		absorb(vma, next);
	if (vma->start != start || vma->end != end)
		vma_set_range(vma, start, end);
}

struct vma *vma_merge(struct vma *vma)
{
	struct vma *prev = vma_prev(vma), *next = vma_next(vma);

	if (next && can_merge(vma, next))
		absorb(vma, next);
	if (prev && can_merge(prev, vma)) {
		absorb(prev, vma);
		vma = prev;
	}
	return vma;
}

struct vma *vma_change_flags(struct vma *vma, gva_t start, gva_t end, uint64_t flags)
{
	struct vellum_mm *mm = vma->mm;

	mmap_assert_write_held(mm);
	if (vma->flags == flags)
		return vma;
	if (vma->start < start || vma->end > end) {
		if (vma_split_range(mm, start, end))
			return NULL;
		vma = find_vma(mm, start);
	}
	__atomic_store_n(&vma->flags, flags, __ATOMIC_RELAXED);
	mm->vmas_changed = true;
	return vma_merge(vma);
}

/* The guard gap of a stack: what find_gap() keeps free below it. */
static uint64_t guard_below(const struct vma *vma)
{
	return vma->flags & VM_GROWSDOWN ? STACK_GUARD_GAP : 0;
}

/* The highest free range of @len bytes within [low, high) in the gaps of the subtree; 0: none. */
static gva_t gap_in(const struct vma *vma, uint64_t len, gva_t low, gva_t high)
{
	gva_t top, at;

	if (!vma || vma->max_gap < len)
		return 0;
	if (vma->end < high) {
		at = gap_in(to_vma(vma->node.right), len, low, high);
		if (at)
			return at;
	}
	top = min_u64(vma->start - min_u64(guard_below(vma), vma->gap), high);
	if (top >= len && vma->gap >= len && top - len >= max_u64(vma->start - vma->gap, low))
		return top - len;
	return gap_in(to_vma(vma->node.left), len, low, high);
}

gva_t find_gap(const struct vellum_mm *mm, uint64_t len, gva_t low, gva_t high)
{
	struct vma *last = to_vma(mm->vmas.root);
	gva_t free_from = low;

	while (last && last->node.right)
		last = to_vma(last->node.right);
	if (last)
		free_from = max_u64(low, last->end);
	if (high >= len && high - len >= free_from)
		return high - len;
	return gap_in(to_vma(mm->vmas.root), len, low, high);
}

/* --- write notify (SPEC.md) --- */

static bool shared_writable(const struct vma *vma)
{
	uint64_t flags = vma_flags(vma);

	return (flags & (VM_SHARED | VM_WRITE)) == (VM_SHARED | VM_WRITE);
}

static bool has_mkwrite(const struct vma *vma)
{
	const struct vellum_backing_ops *ops = vma->mapping ? vma->mapping->ops : NULL;

	return ops && (ops->page_mkwrite || ops->pfn_mkwrite);
}

/* Raw frames have no folio that could be written back. */
static bool maps_writeback_folios(const struct vma *vma)
{
	return vma->mapping && !(vma->flags & VM_PFNMAP) &&
	       (vma->mapping->flags & VELLUM_MAPPING_WRITEBACK);
}

bool vma_needs_dirty_tracking(const struct vma *vma)
{
	return shared_writable(vma) && (has_mkwrite(vma) || maps_writeback_folios(vma));
}

static uint64_t prot_of_flags(const struct vma *vma, bool shared)
{
	uint64_t f = vma_flags(vma);

	return x86_prot(f & VM_READ, f & VM_WRITE, f & VM_EXEC, shared);
}

bool vma_wants_writenotify(const struct vma *vma, uint64_t prot)
{
	if (!shared_writable(vma))
		return false;
	if (has_mkwrite(vma))
		return true;
	/* As in Linux: if the driver changed bits of @prot that x86_prot_modify() does not keep, no write notify. */
	if (x86_prot_modify(prot, prot_of_flags(vma, true)) != prot)
		return false;
	return vma_soft_dirty_enabled(vma) || vma_uffd_wp(vma) || maps_writeback_folios(vma);
}

/* The protection of new entries by the mapping's flags: the caching mode, and no W with VELLUM_MAPPING_READ_FIRST. */
static uint64_t driver_prot(const struct vma *vma, uint64_t prot)
{
	uint32_t flags = vma->mapping ? vma->mapping->flags : 0;

	if (flags & VELLUM_MAPPING_UNCACHED)
		prot |= X86_PCD;
	if (flags & VELLUM_MAPPING_WRITE_COMBINING)
		prot |= X86_PWT;
	return flags & VELLUM_MAPPING_READ_FIRST ? prot & ~X86_RW : prot;
}

void vma_update_prot(struct vma *vma)
{
	uint64_t prot = driver_prot(vma, prot_of_flags(vma, vma_flags(vma) & VM_SHARED));

	if (vma_wants_writenotify(vma, prot))
		prot = driver_prot(vma, prot_of_flags(vma, false));
	vma->page_prot = prot;
	vma->mm->vmas_changed = true;
}

/* --- for callers of the library --- */

void vma_describe(const struct vma *vma, struct vellum_vma_info *info)
{
	info->start = vma->start;
	info->end = vma->end;
	info->prot = vma->flags & VM_ACCESS;
	info->shared = (vma->flags & VM_MAYSHARE) != 0;
	info->locked = (vma->flags & (VM_LOCKED | VM_LOCKONFAULT)) == VM_LOCKED;
	info->device = (vma->flags & VM_PFNMAP) != 0;
	info->mapping = vma->mapping;
	info->pgoff = vma->pgoff;
	info->growsdown = (vma->flags & VM_GROWSDOWN) != 0;
	info->wipeonfork = (vma->flags & VM_WIPEONFORK) != 0;
	info->sealed = (vma->flags & VM_SEALED) != 0;
	info->write_faults = __atomic_load_n(&vma->write_faults, __ATOMIC_RELAXED);
}

EXPORT int vellum_vma_next(struct vellum_mm *mm, uint64_t addr, struct vellum_vma_info *out)
{
	struct vellum_vma_info info;
	struct vma *vma;

	read_lock(&mm->mmap_lock, mm_host(mm));
	vma = find_vma(mm, addr);
	if (vma)
		vma_describe(vma, &info);
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return vma ? TO_CALLER(out, &info) : -ENOENT;
}
