/* SPDX-License-Identifier: MIT */
/*
 * mm/fault/fault.c - page faults: dispatch, anonymous memory, stack growth.
 *
 * Runs with the mmap lock held for reading. The fault reads the entry without its lock and decides what to do. It
 * reads the entry again with the lock held before it changes it. If the value differs, the fault starts over
 * (AGAIN).
 *
 * INV-FAULT-1: an anonymous entry with W maps a folio that is PG_EXCLUSIVE.
 * INV-FAULT-2: an entry of a write-notified VMA gets W together with D, after page_mkwrite() or pfn_mkwrite()
 *              succeeded.
 */
#include "mm/fault/fault.h"
#include "mm/frame/rmap.h"
#include "mm/space/space.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"
#include "mm/table/huge.h"
#include "mm/table/pgtable.h"
#include "mm/track/hooks.h"
#include "mm/uffd/uffd.h"
#include "mm/vma.h"

bool vma_permits(const struct vma *vma, uint32_t error)
{
	bool shadow_stack = vma->flags & VM_SHADOW_STACK;

	/* Shadow-stack accesses need a shadow stack. Ordinary loads may read one, but ordinary stores fail. */
	if ((error & VELLUM_FAULT_SHSTK) ? !shadow_stack : shadow_stack && (error & VELLUM_FAULT_WRITE))
		return false;
	/* A shadow-stack load needs a writable shadow-stack entry, as a shadow-stack store does. */
	if (error & (VELLUM_FAULT_WRITE | VELLUM_FAULT_SHSTK))
		return vma->flags & VM_WRITE;
	/* As Linux: an absent page is faulted in first, and only its NX entry refuses the fetch. */
	if (error & VELLUM_FAULT_INSTR)
		return vma->flags & (error & VELLUM_FAULT_PRESENT ? VM_EXEC : VM_ACCESS);
	/* x86 has no write-only and no execute-only rights: any right allows loads. */
	return vma->flags & VM_ACCESS;
}

int anon_vma_prepare(struct vma *vma)
{
	const struct host *host = mm_host(vma->mm);
	struct anon_vma *fresh, *none = NULL;

	if (likely(vma_anon(vma)))
		return 0;
	fresh = anon_vma_create(host);
	if (!fresh)
		return -ENOMEM;
	/*
	 * The new anon_vma is locked until this VMA is in its tree: no rmap walk can miss the VMA for a page that
	 * another fault maps meanwhile.
	 */
	write_lock(&fresh->lock, host);
	if (__atomic_compare_exchange_n(&vma->anon_vma, &none, fresh, false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE)) {
		interval_insert(&fresh->vmas, &vma->anon_node);
		write_unlock(&fresh->lock, host);
	} else {
		write_unlock(&fresh->lock, host);
		anon_vma_put(fresh, host);	/* another fault was first */
	}
	return 0;
}

void prepare_exec(struct vma *vma, struct folio *folio)
{
	if (vma->flags & VM_EXEC)
		folio_prepare_exec(vma->mm->memory, folio);
}

/*
 * The entry for a new anonymous page. Populating stores nothing, so the entry is clean. It also has no W if a wp
 * tracker or soft-dirty needs the first store to fault, and in a shadow stack.
 */
static pte_t anon_entry(const struct fault *f, pfn_t pfn)
{
	struct vma *vma = f->vma;
	pte_t pte = pte_mk(pfn, vma->page_prot);

	if (!(vma->flags & VM_WRITE))
		return pte;
	if (!(f->flags & FAULT_POPULATE))
		return maybe_mkwrite(vma, pte_mkdirty(pte));
	return wp_tracked(vma, f->addr) || vma_soft_dirty_enabled(vma) || (vma->flags & VM_SHADOW_STACK) ?
		       pte : pte_mkwrite(pte);
}

/* The same for a copy of a page. A forced store copies a page whose VMA has no W: the copy is dirty without W. */
pte_t anon_copy_entry(const struct fault *f, pfn_t pfn)
{
	pte_t pte = anon_entry(f, pfn);

	return (f->vma->flags & VM_WRITE) || (f->flags & FAULT_POPULATE) ? pte : pte_mkdirty(pte);
}

void map_anon_folio(struct vma *vma, gva_t addr, pte_t *ptep, struct folio *folio, pte_t pte)
{
	ptl_assert_held(vma->mm->memory, ptep);
	folio->anon_vma = vma_anon(vma);
	anon_vma_get(folio->anon_vma);
	folio->index = vma_page_index(vma, addr);
	folio_set(folio, PG_ANON | PG_EXCLUSIVE | PG_UPTODATE | PG_DIRTY);
	__atomic_fetch_add(&folio->count, FOLIO_MAP, __ATOMIC_RELAXED);	/* ref: the allocation's */
	prepare_exec(vma, folio);
	if (pte_write(pte))
		track_grant(vma, addr);
	ptep_set(ptep, pte);
	mm_add_rss(vma->mm, 1);
}

static enum vm_fault do_anonymous_page(struct fault *f)
{
	struct vma *vma = f->vma;
	struct vellum_memory *m = fault_memory(f);
	struct folio *folio = NULL;
	bool installed = false;

	if (vma->flags & VM_UFFD_MISSING)
		return uffd_fault(f, UFFD_REASON_MISSING);
	if (f->flags & FAULT_WRITE) {
		if (anon_vma_prepare(vma))
			return VM_FAULT_OOM;
		folio = folio_alloc(m, 0);
		if (!folio)
			return VM_FAULT_OOM;
	}
	mutex_lock(f->ptl, &m->host);
	if (fault_is_same(f)) {
		installed = true;
		if (folio) {
			map_anon_folio(vma, f->addr, f->ptep, folio,
				       fault_keep_wp(f, anon_entry(f, folio_pfn(m, folio))));
		} else {
			ptep_set(f->ptep, fault_keep_wp(f, pte_mkspecial(pte_mk(m->zero_pfn, vma->page_prot))));
			mm_add_rss(vma->mm, 1);
		}
	}
	mutex_unlock(f->ptl, &m->host);
	if (folio && !installed)
		folio_put(m, folio);
	mm_count(vma->mm, folio ? VELLUM_COUNT_FAULT_ANON : VELLUM_COUNT_FAULT_READ_ZERO);
	return VM_FAULT_DONE;
}

static enum vm_fault do_missing_page(struct fault *f)
{
	return vma_is_anonymous(f->vma) ? do_anonymous_page(f) : do_file_page(f);
}

/* The VMA is not registered for write protection any more: remove the wp marker. */
static enum vm_fault drop_stale_marker(struct fault *f)
{
	const struct host *host = mm_host(f->vma->mm);

	mutex_lock(f->ptl, host);
	if (fault_is_same(f))
		ptep_set(f->ptep, pte_make(0));
	mutex_unlock(f->ptl, host);
	return VM_FAULT_AGAIN;
}

static enum vm_fault do_marker(struct fault *f)
{
	unsigned bits = pte_marker_bits(f->orig);

	if (bits & MARKER_POISON)
		return VM_FAULT_HWPOISON;
	if (bits & MARKER_GUARD)
		return VM_FAULT_MAPERR;
	if (!pte_is_uffd_wp(f->orig))
		return VM_FAULT_SIGBUS;	/* a marker without a known bit */
	return vma_uffd_wp(f->vma) ? do_missing_page(f) : drop_stale_marker(f);
}

/* The entry already allows the access: another CPU's fault was first, or the CPU had a stale translation. */
static void spurious(struct fault *f)
{
	pte_t old = ptep_get(f->ptep), new;

	do {
		if (!pte_present(old))
			return;
		new = pte_mkyoung(old);
		/* A writable entry without RW is a shadow stack's, which has D. */
		if ((f->flags & FAULT_WRITE) && (old.val & X86_RW) && !(f->flags & FAULT_POPULATE))
			new = pte_mkdirty(new);
	} while (new.val != old.val && !ptep_cmpxchg(f->ptep, &old, new));
	mm_count(f->vma->mm, VELLUM_COUNT_FAULT_SPURIOUS);
}

static enum vm_fault do_present_page(struct fault *f)
{
	const struct host *host = mm_host(f->vma->mm);

	mutex_lock(f->ptl, host);
	f->orig = ptep_get(f->ptep);
	if (!pte_present(f->orig)) {
		mutex_unlock(f->ptl, host);
		return VM_FAULT_AGAIN;
	}
	if ((f->flags & (FAULT_WRITE | FAULT_UNSHARE)) && !pte_write(f->orig))
		return do_wp_page_and_unlock(f);
	spurious(f);
	mutex_unlock(f->ptl, host);
	return VM_FAULT_DONE;
}

/* For exposed tables: check the entry. Takes its lock, since what the entry names may change without it. */
static void check_entry_locked(struct fault *f)
{
	struct vellum_memory *m = fault_memory(f);
	struct leaf leaf;
	uint64_t val;
	pte_t pte;

	if (f->ptep) {
		mutex_lock(f->ptl, &m->host);
		pte = ptep_get(f->ptep);
		if (pte_is_swp(pte))
			check_swp_entry(m, pte);
		else if (pte_present(pte) && !pte_special(pte))
			check_page_entry(m, pte_pfn(pte), pte.val);
		mutex_unlock(f->ptl, &m->host);
	} else if (huge_lock(f->vma->mm, f->addr, &leaf, &val)) {
		if (!leaf_is_raw(val))
			check_huge_entry(m, val, leaf.shift);
		huge_unlock(f->vma->mm, &leaf);
	}
}

static enum vm_fault handle_pte_fault(struct fault *f)
{
	f->ptep = pte_lookup(f->vma->mm, f->addr, &f->ptl);
	if (unlikely(fault_memory(f)->exposed))
		check_entry_locked(f);
	if (!f->ptep) {
		enum vm_fault result = do_huge_fault(f);

		if (result != VM_FAULT_FALLBACK)
			return result;
		f->ptep = pte_alloc(f->vma->mm, f->addr, &f->ptl);
	}
	if (!f->ptep)	/* no memory, or another fault installed a huge leaf */
		return huge_lookup(f->vma->mm, f->addr, NULL) ? VM_FAULT_AGAIN : VM_FAULT_OOM;
	f->orig = ptep_get(f->ptep);
	if (pte_none(f->orig))
		return do_missing_page(f);
	if (pte_present(f->orig))
		return do_present_page(f);
	return pte_is_marker(f->orig) ? do_marker(f) : do_swap_page(f);
}

/* NOPAGE becomes DONE: the CPU runs the instruction again and faults again, after the locks were dropped. */
enum vm_fault handle_mm_fault(struct vma *vma, gva_t addr, unsigned flags, struct uffd_wait *wait)
{
	struct fault f = { .vma = vma, .addr = addr & PAGE_MASK, .exact = addr, .flags = flags, .wait = wait };
	enum vm_fault result;

	mmap_assert_held(vma->mm);
	if ((flags & FAULT_UNSHARE) && !vma_is_cow(vma))
		f.flags &= ~(unsigned)FAULT_UNSHARE;
	if ((flags & FAULT_WRITE) && !(flags & FAULT_POPULATE))
		__atomic_fetch_add(&vma->write_faults, 1, __ATOMIC_RELAXED);
	do {
		result = handle_pte_fault(&f);
	} while (result == VM_FAULT_AGAIN);
	return result == VM_FAULT_NOPAGE ? VM_FAULT_DONE : result;
}

/* A shadow-stack load is handled as a write: it needs the same entry as a shadow-stack store. */
static unsigned flags_of_error(uint32_t error)
{
	return FAULT_USER | (error & (VELLUM_FAULT_WRITE | VELLUM_FAULT_SHSTK) ? FAULT_WRITE : 0);
}

/* One try. Takes the mmap lock for reading. *@grow: @addr is below a VM_GROWSDOWN VMA, which may grow down to it. */
static enum vm_fault fault_locked(struct vellum_mm *mm, gva_t addr, uint32_t error, struct uffd_wait *wait, bool *grow)
	EXCLUDES(&mm->mmap_lock)
{
	struct vma *vma;
	enum vm_fault result;

	read_lock(&mm->mmap_lock, mm_host(mm));
	vma = find_vma(mm, addr);
	*grow = vma && vma->start > addr && (vma->flags & VM_GROWSDOWN);
	if (!vma || vma->start > addr)
		result = VM_FAULT_MAPERR;
	else if (!vma_permits(vma, error))
		result = VM_FAULT_ACCERR;
	else
		result = handle_mm_fault(vma, addr, flags_of_error(error), wait);
	read_unlock(&mm->mmap_lock, mm_host(mm));
	return result;
}

EXPORT enum vellum_fault_result vellum_handle_fault(struct vellum_mm *mm, uint64_t addr,
						    uint32_t error)
{
	struct uffd_wait wait = { .ctx = NULL };
	unsigned tries = 0;
	bool again, grow;
	enum vm_fault result;

	do {
		result = fault_locked(mm, addr, error, &wait, &grow);
		if (result == VM_FAULT_WAIT)
			again = uffd_wait_resolved(&wait, mm_host(mm));
		else
			again = (grow && !grow_stack(mm, addr)) ||
				(result == VM_FAULT_OOM && reclaim_for_retry(mm->memory, &tries));
	} while (again);
	if (result == VM_FAULT_WAIT)
		result = VM_FAULT_INTERRUPTED;
	else if (result != VM_FAULT_DONE)
		mm_count(mm, VELLUM_COUNT_FAULT_ERROR);
	return (enum vellum_fault_result)result;
}

EXPORT const char *vellum_fault_result_name(enum vellum_fault_result result)
{
	static const char *const names[] = {
		[VELLUM_FAULT_OK] = "OK",
		[VELLUM_FAULT_SIGSEGV_MAPERR] = "SIGSEGV (SEGV_MAPERR)",
		[VELLUM_FAULT_SIGSEGV_ACCERR] = "SIGSEGV (SEGV_ACCERR)",
		[VELLUM_FAULT_SIGBUS] = "SIGBUS",
		[VELLUM_FAULT_OOM] = "out of memory",
		[VELLUM_FAULT_HWPOISON] = "SIGBUS (BUS_MCEERR_AR)",
		[VELLUM_FAULT_INTERRUPTED] = "interrupted",
	};

	return (unsigned)result < ARRAY_SIZE(names) ? names[result] : NULL;
}

/* --- stack growth: VM_GROWSDOWN VMAs grow down when an access faults below their start --- */

static bool may_grow(const struct vma *vma, gva_t addr)
{
	const struct vma *prev = vma_prev(vma);

	if (vma->end - addr > vma->mm->stack_limit || addr < MMAP_MIN_ADDR)
		return false;
	/* pgoff moves down with the start. A stack that mremap moved up kept its pgoff, which must not pass 0. */
	if ((vma->start - addr) >> PAGE_SHIFT > vma->pgoff)
		return false;
	if ((vma->flags & VM_LOCKED) && !may_lock(vma->mm, vma->start - addr))
		return false;
	/* Keep STACK_GUARD_GAP free above the VMA below, unless that is a stack or cannot be accessed. */
	return !prev || (prev->flags & VM_GROWSDOWN ? prev->end <= addr :
			 !(prev->flags & VM_ACCESS) ? prev->end <= addr :
						      addr - prev->end >= STACK_GUARD_GAP && prev->end <= addr);
}

int grow_stack(struct vellum_mm *mm, gva_t addr)
{
	const struct host *host = mm_host(mm);
	struct vma *vma;
	int err = -EFAULT;

	addr &= PAGE_MASK;
	write_lock(&mm->mmap_lock, host);
	vma = find_vma(mm, addr);
	if (vma && vma->start <= addr) {
		err = 0;		/* another thread has grown it */
	} else if (vma && (vma->flags & VM_GROWSDOWN) && may_grow(vma, addr)) {
		vma_set_range(vma, addr, vma->end);
		err = 0;
	}
	write_unlock(&mm->mmap_lock, host);
	return err;
}
