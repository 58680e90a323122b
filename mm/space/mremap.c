/* SPDX-License-Identifier: MIT */
/*
 * mm/space/mremap.c - grow, shrink and move VMAs.
 *
 * A move holds the rmap locks, so that no rmap walk can miss an entry that is being moved. It flushes the old address
 * before it drops the page-table lock.
 */
#include "mm/frame/rmap.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/table/tlb.h"
#include "mm/track/hooks.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

struct move {
	struct vma *from, *to;
	gva_t old, new;
	uint64_t len;
};

/* If false, the page has the mapping's bytes or zeros, which a new fault would map too. */
static bool was_stored_to(const struct vellum_memory *m, pte_t pte)
{
	return pte_dirty(pte) || (!pte_special(pte) && (folio_flags(pte_folio(m, pte)) &
							(PG_ANON | PG_DIRTY)));
}

/* Report to the trackers that both addresses have other content, and an entry that keeps W at the new address. */
static void track_move(const struct move *mv, gva_t old, gva_t new, pte_t pte)
{
	track_place(mv->from, old);
	if (!pte_present(pte))
		track_place(mv->to, new);
	else if (was_stored_to(mv->from->mm->memory, pte))
		track_place(mv->to, new);
	else if (pte_write(pte))
		track_grant(mv->to, new);
}

/* The entry for the new address. It is soft-dirty, because the address has other content now. */
static pte_t moved_entry(pte_t pte)
{
	if (pte_present(pte))
		return pte_mksoft_dirty(pte);	/* not UNCHANGED either */
	return pte_is_marker(pte) ? pte : pte_swp_mksoft_dirty(pte);
}

/* Move @nr consecutive entries, which lie in one table on each side. Both tables are locked. */
static void move_entries(const struct move *mv, gva_t old, gva_t new, pte_t *src, pte_t *dst,
			 uint64_t nr)
{
	struct vellum_flush_batch batch = { .size = sizeof(batch) };

	ptl_assert_held(mv->from->mm->memory, src);
	ptl_assert_held(mv->to->mm->memory, dst);
	for (uint64_t i = 0; i < nr; i++) {
		gva_t from = old + (i << PAGE_SHIFT), to = new + (i << PAGE_SHIFT);
		pte_t pte;

		if (pte_none(ptep_get(&src[i])))
			continue;
		pte = ptep_get_and_clear(&src[i]);
		track_move(mv, from, to, pte);
		if (pte_present(pte)) {
			batch_add(&batch, from, from + PAGE_SIZE, VELLUM_FLUSH_UNMAP);
			batch_add_frame(&batch, pte_pfn(pte));
		}
		ptep_set(&dst[i], moved_entry(pte));
	}
	if (batch.nr_ranges)
		flush_batch(mv->from->mm, &batch);
}

/* Entries from @addr to the end of its last-level table. */
static uint64_t pages_in_table(gva_t addr)
{
	return ENTRIES_PER_TABLE - table_index(addr, PAGE_SHIFT);
}

static uint64_t moved_leaf(uint64_t val)
{
	return pmd_mksoft_dirty(pmd_make(val)).val;	/* the same bits in a PUD */
}

/* Move the leaf at @old to @new, where move_leaf() has installed an invalid leaf. */
static void replace_leaf(const struct move *mv, gva_t old, gva_t new, unsigned shift)
{
	struct vellum_mm *mm = mv->from->mm;
	struct vellum_flush_batch batch = { .size = sizeof(batch), .all_frames = true };
	uint64_t val, size = 1ull << shift;
	struct leaf from, to;

	if (!huge_lock(mm, old, &from, &val))
		return;		/* unreachable: the mmap lock and the rmap locks keep it a leaf */
	val = entry_remove(from.entry);
	for (gva_t at = 0; at < size; at += PAGE_SIZE)
		track_move(mv, old + at, new + at, leaf_pte(mm->memory, val, shift, old + at));
	batch_add(&batch, old, old + size, VELLUM_FLUSH_UNMAP);
	flush_batch(mm, &batch);
	huge_lookup(mm, new, &to);
	entry_store(to.entry, moved_leaf(val));
	mm_add_rss(mm, -(int64_t)(size >> PAGE_SHIFT));		/* huge_install() counted the invalid leaf too */
	huge_removed(mm->memory, from.entry, shift);
	huge_unlock(mm, &from);
}

/*
 * Move a whole leaf, if the range covers it and @new is aligned as the leaf is. False: the leaf was split instead,
 * also if there was no memory for a leaf at @new.
 */
static bool move_leaf(const struct move *mv, gva_t old, gva_t new, uint64_t len)
{
	struct vellum_mm *mm = mv->from->mm;
	struct leaf leaf;
	uint64_t val, size;

	if (!huge_lookup(mm, old, &leaf))
		return false;
	size = 1ull << leaf.shift;
	/* Install an invalid leaf first, while the old leaf's lock is not held: both may be in one table. */
	if (!((old | new) & (size - 1)) && size <= len && !huge_install(mm, new, leaf.shift, X86_PSE, NULL, NULL)) {
		replace_leaf(mv, old, new, leaf.shift);
		return true;
	}
	if (huge_lock(mm, old, &leaf, &val)) {
		huge_split_locked(mm, leaf.entry, old, leaf.shift);
		huge_unlock(mm, &leaf);
	}
	return false;
}

/* Return: bytes moved; less than the length if a table could not be allocated. */
static uint64_t move_page_tables(const struct move *mv)
{
	struct vellum_mm *mm = mv->from->mm;
	uint64_t done = 0;

	while (done < mv->len) {
		gva_t old = mv->old + done, new = mv->new + done;
		uint64_t nr = min_u64(pages_in_table(old), pages_in_table(new));
		struct mutex *src_lock, *dst_lock;
		struct leaf leaf;
		pte_t *src, *dst;

		if (huge_lookup(mm, old, &leaf)) {
			if (move_leaf(mv, old, new, mv->len - done))
				done += 1ull << leaf.shift;
			continue;	/* if the leaf was split, the smaller entries are next */
		}
		src = pte_lookup(mm, old, &src_lock);

		if (!src)
			nr = (skip_absent_tables(mm, old, mv->old + mv->len) - old) >> PAGE_SHIFT;
		nr = min_u64(nr, (mv->len - done) >> PAGE_SHIFT);
		if (src) {
			if (huge_lookup(mm, new, NULL))		/* when moving back: a leaf at the old address */
				huge_split_range(mm, new, new + PAGE_SIZE);
			dst = pte_alloc(mm, new, &dst_lock);
			if (!dst)
				return done;
			mutex_lock_both(src_lock, dst_lock, mm_host(mm));
			move_entries(mv, old, new, src, dst, nr);
			mutex_unlock_both(src_lock, dst_lock, mm_host(mm));
		}
		done += nr << PAGE_SHIFT;
	}
	return done;
}

static int move_all(struct move *mv)
{
	struct vellum_mm *mm = mv->from->mm;
	uint64_t done;

	if (!mv->len)
		return 0;
	notify_start(mm, VELLUM_NOTIFY_UNMAP, mv->old, mv->old + mv->len);
	vma_lock_rmaps(mv->from);
	done = move_page_tables(mv);
	if (done < mv->len) {
		/* The old tables are still there: moving back needs no memory. */
		struct move back = { mv->to, mv->from, mv->new, mv->old, done };

		move_page_tables(&back);
	}
	vma_unlock_rmaps(mv->from);
	notify_finish(mm, VELLUM_NOTIFY_UNMAP, mv->old, mv->old + mv->len);
	return done < mv->len ? -ENOMEM : 0;
}

/* Remove the wp bits of moved entries: the new VMA is not registered with the userfaultfd. */
static void drop_protection(const struct move *mv)
{
	struct tlb_gather tlb;

	tlb_gather_begin(&tlb, mv->to->mm);
	uffd_wp_vma(&tlb, mv->to, mv->new, mv->new + mv->len, false);	/* the whole VMA: needs no memory */
	tlb_gather_finish(&tlb);
}

/* Anonymous memory that has had no page gets the pgoff of its new address, so that it can merge there. */
static pgoff_t index_at(const struct vma *vma, gva_t old, gva_t new)
{
	return vma_is_anonymous(vma) && !vma->anon_vma ? new >> PAGE_SHIFT : vma_page_index(vma, old);
}

/* One call of mremap(2), its lengths rounded up to pages. */
struct remap {
	struct vellum_mm *mm;
	gva_t old;
	uint64_t old_len, new_len;
	uint32_t flags;
	gva_t new;		/* the target or hint; in the end, where the VMA is */
	bool keep;		/* MREMAP_DONTUNMAP, or an old length of 0: the old VMA stays */
	bool lacks_tables;	/* out: -ENOMEM because no frame for a page table was free */
};

/* Allocate the event if the VMA's context has EVENT_REMAP. 0 or -ENOMEM. */
static int prepare_remap_event(const struct vma *vma, const struct remap *r, struct uffd_event **ev)
{
	if (!vma->uffd || !uffd_has(vma->uffd, VELLUM_UFFD_FEATURE_EVENT_REMAP))
		return 0;
	*ev = uffd_event_new(vma->uffd, VELLUM_UFFD_EVENT_REMAP);
	if (!*ev)
		return -ENOMEM;
	(*ev)->msg.arg.remap.from = r->old;
	(*ev)->msg.arg.remap.to = r->new;
	(*ev)->msg.arg.remap.len = r->old_len;
	return 0;
}

static void cancel_move_events(const struct remap *r, struct uffd_event *ev) HOLDS(&r->mm->mmap_lock)
{
	uffd_unmap_cancel(r->mm, r->old, r->old + r->old_len);
	if (ev)
		uffd_event_cancel(ev);
}

/* Allocate the VMA at the new address, in no tree yet. NULL: no memory. */
static struct vma *copy_vma(const struct vma *vma, const struct remap *r)
{
	struct vma *copy = vma_alloc(r->mm, r->new, r->new + r->new_len, vma->flags & ~VM_UFFD, vma->mapping,
				     index_at(vma, r->old, r->new));

	if (copy && vma->anon_vma) {
		anon_vma_get(vma->anon_vma);
		copy->anon_vma = vma->anon_vma;
	}
	if (copy && vma->uffd && uffd_has(vma->uffd, VELLUM_UFFD_FEATURE_EVENT_REMAP))
		vma_set_uffd(copy, vma->uffd, vma->flags & VM_UFFD);
	return copy;
}

/*
 * Move the part [r->old, r->old + r->old_len) of @vma to r->new, which is free. r->keep: the old VMA stays, with no
 * entries. If r->old_len is 0, nothing is moved: r->new becomes a second VMA of the same mapping.
 */
static int move_vma(struct vma *vma, struct remap *r) HOLDS(&r->mm->mmap_lock)
{
	struct vellum_mm *mm = r->mm;
	struct uffd_event *ev = NULL;
	struct vma *copy;
	int err;

	/* The new VMA, and two more if the old one is split at both ends. */
	if (mm->nr_vmas + 3 >= max_map_count(mm) || prepare_remap_event(vma, r, &ev))
		return -ENOMEM;
	/* Allocate what the unmap of the old range needs before any entry is moved. */
	if (r->old_len && ((!r->keep && uffd_unmap_prepare(r->mm, r->old, r->old + r->old_len)) ||
			   vma_split_range(r->mm, r->old, r->old + r->old_len))) {
		cancel_move_events(r, ev);
		return -ENOMEM;
	}
	vma = find_vma(mm, r->old);
	copy = copy_vma(vma, r);
	if (!copy) {
		cancel_move_events(r, ev);
		vma_merge(vma);
		return -ENOMEM;
	}
	vma_insert(copy);
	struct move mv = { vma, copy, r->old, r->new, r->old_len };

	err = move_all(&mv);
	if (err) {
		r->lacks_tables = true;
		cancel_move_events(r, ev);
		do_munmap(r->mm, r->new, r->new_len);
		vma_merge(vma);
		return err;
	}
	if (vma->uffd && !copy->uffd)
		drop_protection(&mv);
	if (ev)
		uffd_event_defer_after(mm, ev, r->new);
	if (!r->keep) {
		do_munmap(r->mm, r->old, r->old_len);	/* cannot fail: the range ends at VMA borders, so none is split */
	} else if (r->old_len) {
		/* The locked pages have moved. Atomic, because reclaim reads the flags without the mmap lock. */
		__atomic_store_n(&vma->flags, vma->flags & ~(VM_LOCKED | VM_LOCKONFAULT), __ATOMIC_RELAXED);
		vma_merge(vma);		/* may merge with the copy */
	}
	vma_merge(find_vma(mm, r->new));
	return 0;
}

static bool can_grow_in_place(struct vma *vma, gva_t old_end, uint64_t by)
{
	return vma->end == old_end && by <= TASK_SIZE - old_end &&
	       !find_vma_intersection(vma->mm, old_end, old_end + by);
}

/* RLIMIT_MEMLOCK allows the growth, or the VMA is not locked. */
static bool may_lock_growth(const struct vma *vma, uint64_t old_len, uint64_t new_len)
{
	return !(vma->flags & VM_LOCKED) || new_len <= old_len || may_lock(vma->mm, new_len - old_len);
}

/* 0 if @old_len bytes at r->old, which must lie in one VMA, may become r->new_len bytes; or an error. */
static int check_resize(const struct vma *vma, const struct remap *r, uint64_t old_len)
{
	if (!vma || vma->start > r->old || old_len > vma->end - r->old)
		return -EFAULT;
	if (r->new_len > old_len && (vma->flags & VM_PFNMAP))
		return -EFAULT;
	if (vma_page_index(vma, r->old) + (r->new_len >> PAGE_SHIFT) < vma->pgoff)
		return -EINVAL;
	return may_lock_growth(vma, old_len, r->new_len) ? 0 : -EAGAIN;
}

/* To r->new, which is a hint then, with DONTUNMAP. */
static int move_to_gap(struct vma *vma, struct remap *r) HOLDS(&r->mm->mmap_lock)
{
	if (!(r->flags & VELLUM_MREMAP_DONTUNMAP) || !hint_is_free(r->mm, r->new, r->new_len))
		r->new = find_gap(r->mm, r->new_len, MMAP_MIN_ADDR, r->mm->mmap_top);
	return r->new ? move_vma(vma, r) : -ENOMEM;
}

static int grow(struct remap *r) HOLDS(&r->mm->mmap_lock)
{
	struct vma *vma = find_vma(r->mm, r->old);
	int err = check_resize(vma, r, r->old_len);

	if (err)
		return err;
	if (can_grow_in_place(vma, r->old + r->old_len, r->new_len - r->old_len)) {
		vma_set_range(vma, vma->start, r->old + r->new_len);
		vma_merge(vma);
		r->new = r->old;
		return 0;
	}
	return r->flags & VELLUM_MREMAP_MAYMOVE ? move_to_gap(vma, r) : -ENOMEM;
}

/* Unmap what is beyond the new length. */
static int unmap_tail(const struct remap *r) HOLDS(&r->mm->mmap_lock)
{
	gva_t start = r->old + r->new_len;
	uint64_t len = r->old_len - r->new_len;

	return is_user_range(start, len) ? do_munmap(r->mm, start, len) : -EINVAL;
}

/* Move to r->new, and unmap what is there. The caller has checked that the ranges do not overlap. */
static int move_fixed(struct remap *r) HOLDS(&r->mm->mmap_lock)
{
	int err = check_resize(find_vma(r->mm, r->old), r, min_u64(r->old_len, r->new_len));

	if (!err)
		err = do_munmap(r->mm, r->new, r->new_len);
	if (!err && r->old_len && r->new_len < r->old_len) {
		err = unmap_tail(r);
		r->old_len = r->new_len;
	}
	if (!err)
		err = check_resize(find_vma(r->mm, r->old), r, r->old_len);
	return err ? err : move_vma(find_vma(r->mm, r->old), r);
}

static int resize(struct remap *r) HOLDS(&r->mm->mmap_lock)
{
	if (r->new_len > r->old_len)
		return grow(r);
	r->new = r->old;
	return r->new_len == r->old_len ? 0 : unmap_tail(r);
}

/* The old VMA stays. */
static int remap_kept(struct remap *r) HOLDS(&r->mm->mmap_lock)
{
	struct vma *vma = find_vma(r->mm, r->old);
	int err;

	if ((r->flags & VELLUM_MREMAP_DONTUNMAP) && (vma->flags & VM_SPECIAL))
		return -EINVAL;
	if (!r->old_len && !(vma->flags & VM_MAYSHARE))
		return -EINVAL;
	if (r->flags & VELLUM_MREMAP_FIXED)
		return move_fixed(r);
	err = check_resize(vma, r, r->old_len);
	if (!err && !(r->flags & VELLUM_MREMAP_MAYMOVE))
		err = -ENOMEM;
	return err ? err : move_to_gap(vma, r);
}

static bool target_ok(const struct remap *r)
{
	if (r->new & ~PAGE_MASK)
		return false;
	if (r->new >= TASK_SIZE || r->new_len > TASK_SIZE - r->new)
		return false;
	return r->new + r->new_len <= r->old || r->old + r->old_len <= r->new;
}

static bool flags_ok(const struct remap *r)
{
	const uint32_t moving = VELLUM_MREMAP_FIXED | VELLUM_MREMAP_DONTUNMAP;

	if (r->flags & ~(moving | VELLUM_MREMAP_MAYMOVE))
		return false;
	if ((r->flags & moving) && !(r->flags & VELLUM_MREMAP_MAYMOVE))
		return false;
	return !(r->flags & VELLUM_MREMAP_DONTUNMAP) || r->old_len == r->new_len;
}

static bool request_ok(const struct remap *r)
{
	if ((r->old & ~PAGE_MASK) || !r->new_len || !flags_ok(r))
		return false;
	if (r->new_len > TASK_SIZE)
		return false;
	return !(r->flags & (VELLUM_MREMAP_FIXED | VELLUM_MREMAP_DONTUNMAP)) || target_ok(r);
}

static int remap(struct remap *r) HOLDS(&r->mm->mmap_lock)
{
	struct vma *vma = find_vma_intersection(r->mm, r->old, r->old + 1);

	if (!vma)
		return -EFAULT;
	if (vma->flags & VM_SEALED)
		return -EPERM;
	if ((r->flags & VELLUM_MREMAP_FIXED) && r->new < r->mm->mmap_min_addr)
		return -EPERM;
	if (r->keep)
		return remap_kept(r);
	return r->flags & VELLUM_MREMAP_FIXED ? move_fixed(r) : resize(r);
}

/* If the VMA is locked, fault in what it has grown by. */
static void populate_growth(struct vellum_mm *mm, gva_t addr, uint64_t from, uint64_t to) EXCLUDES(&mm->mmap_lock)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	if (to > from && vellum_vma_next(mm, addr, &info) == 0 && info.locked)
		populate_range(mm, addr + from, addr + to, POPULATE_FOR_MMAP);
}

EXPORT int vellum_mremap(struct vellum_mm *mm, uint64_t old_addr, uint64_t old_len, uint64_t new_len,
			 uint32_t flags, uint64_t *new_addr)
{
	struct remap r = { .mm = mm, .old = old_addr, .old_len = page_align_up(old_len), .flags = flags,
			   .new_len = page_align_up(new_len), .new = new_addr ? *new_addr : 0 };
	uint64_t from = r.old_len;
	unsigned tries = 0;
	int err;

	r.keep = !r.old_len || (flags & VELLUM_MREMAP_DONTUNMAP);
	if (!new_addr || !request_ok(&r))
		return -EINVAL;
	do {
		r.lacks_tables = false;
		write_lock(&r.mm->mmap_lock, mm_host(mm));
		err = remap(&r);
		mmap_write_unlock_and_deliver(r.mm);
	} while (r.lacks_tables && reclaim_for_retry(mm->memory, &tries));
	if (err)
		return err;
	*new_addr = r.new;
	populate_growth(mm, r.new, from, r.new_len);
	return 0;
}
