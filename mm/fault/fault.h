/* SPDX-License-Identifier: MIT */
/*
 * mm/fault/fault.h - page faults: handle_mm_fault(), and what the files of mm/fault share.
 *
 * Locking: a fault runs with mm->mmap_lock held for reading. It takes locks that come later in the lock order
 * (mm/mm.h): invalidate_lock, the folio's lock, the page-table lock. Hooks of the backing run without the page-table
 * lock, and may run with the folio's lock held. A fault does not wait for a userfaultfd: it returns WAIT, and the
 * caller waits without locks. The functions here need mmap_lock. HOLDS(), RELEASES() or a comment says which need the
 * page-table lock.
 */
#ifndef MM_FAULT_FAULT_H
#define MM_FAULT_FAULT_H

#include "mm/fault/vm_fault.h"
#include "mm/table/exposed.h"
#include "mm/vma.h"

struct uffd_wait;

enum fault_flag {
	FAULT_WRITE = 1,
	FAULT_POPULATE = 2,	/* fault the page in; no access follows now, so nothing is stored */
	FAULT_UNSHARE = 4,	/* a pin for reading: an anonymous page has to become exclusive to the process */
	FAULT_USER = 8,		/* a CPU's access; else the library accesses memory on the program's behalf */
};

/*
 * DONE: the access may be repeated. WAIT, if @wait is not NULL: the fault is queued in a userfaultfd. Else a failure.
 */
enum vm_fault handle_mm_fault(struct vma *vma, gva_t addr, unsigned flags, struct uffd_wait *wait);
/* True if the VMA's rights allow an access with the error code @error (VELLUM_FAULT_*). */
bool vma_permits(const struct vma *vma, uint32_t error);
int anon_vma_prepare(struct vma *vma);	/* make sure that the VMA has an anon_vma; 0 or -ENOMEM */
/* Call before an entry of @vma maps @folio: if the VMA has VM_EXEC, CPUs drop stale instructions of the frame. */
void prepare_exec(struct vma *vma, struct folio *folio);
/* Call the driver's page_mkwrite() or pfn_mkwrite(), if any. DONE: the entry may get W. */
enum vm_fault notify_mkwrite(struct vma *vma, gva_t addr, struct folio *folio, pfn_t pfn);
/* Extend a VM_GROWSDOWN VMA down to @addr. Takes mmap_lock. 0 or -EFAULT. */
int grow_stack(struct vellum_mm *mm, gva_t addr) EXCLUDES(&mm->mmap_lock);

struct fault {
	struct vma *vma;
	gva_t addr;		/* of the page */
	gva_t exact;		/* of the access */
	unsigned flags;		/* enum fault_flag */
	struct uffd_wait *wait;	/* on the faulting thread's stack; NULL: the fault must not wait */
	pte_t *ptep;
	struct mutex *ptl;
	pte_t orig;		/* the entry's value on which the fault was decided */
};

static inline struct vellum_memory *fault_memory(const struct fault *f)
{
	return f->vma->mm->memory;
}

/* ptl held. True if the entry still is f->orig; A may differ. */
static inline bool fault_is_same(const struct fault *f) HOLDS(f->ptl)
{
	pte_t now = ptep_get(f->ptep);

	if (pte_none(f->orig))
		return pte_none(now);
	return pte_present(now) ? pte_mkyoung(now).val == pte_mkyoung(f->orig).val : now.val == f->orig.val;
}

/* If the fault is on a userfaultfd wp marker, the new entry @pte inherits the protection. */
static inline pte_t fault_keep_wp(const struct fault *f, pte_t pte)
{
	return pte_is_uffd_wp(f->orig) && vma_uffd_wp(f->vma) ? pte_mkuffd_wp(pte) : pte;
}

/* The folio that a present entry maps; NULL: the zero page or a raw frame. */
static inline struct folio *normal_folio(const struct vellum_memory *m, pte_t pte)
{
	return pte_special(pte) ? NULL : pte_folio(m, pte);
}

/* Set W if the VMA's rights have it. For a forced write, which lacks the right, the entry stays without W. */
static inline pte_t maybe_mkwrite(const struct vma *vma, pte_t pte)
{
	if (!(vma->flags & VM_WRITE))
		return pte;
	pte = pte_clear_uffd_wp(pte);	/* of an earlier registration, which protects nothing */
	return vma->flags & VM_SHADOW_STACK ? pte_mkwrite_shstk(pte) : pte_mkwrite(pte);
}

/* fault.c */
pte_t anon_copy_entry(const struct fault *f, pfn_t pfn);	/* the entry for a new private copy of a page */
/* Map a new anonymous page, exclusive to the process, with the entry @pte. The old entry is empty. ptl held. */
void map_anon_folio(struct vma *vma, gva_t addr, pte_t *ptep, struct folio *folio, pte_t pte);

/* file.c: the entry is empty or a wp marker, and the VMA has a mapping */
enum vm_fault do_file_page(struct fault *f) EXCLUDES(f->ptl);

/* huge.c: no last-level table covers the address. FALLBACK: use a table of small entries. */
enum vm_fault do_huge_fault(struct fault *f);

/* cow.c: a store, or a pin for reading, meets a present, read-only entry. Called with ptl held. */
enum vm_fault do_wp_page_and_unlock(struct fault *f) RELEASES(f->ptl);

/* swap_in.c: an entry that is neither none nor present, and no marker */
enum vm_fault do_swap_page(struct fault *f) EXCLUDES(f->ptl);

/* mm/uffd/wait.c */
/* Queue a message. WAIT (if f->wait has no context then, retry at once), or SIGBUS. No ptl held. */
enum vm_fault uffd_fault(struct fault *f, uint32_t reason) EXCLUDES(f->ptl);

/* --- swp_entry.c: entries that are neither none nor present --- */

/* Drop what a removed entry that is not present counted: a slot, a reference. Nothing for a marker. ptl held. */
void swp_entry_drop(struct vellum_mm *mm, pte_t pte);
/* True if a migration entry names an anonymous page. ptl held. */
bool migration_is_anon(const struct vellum_memory *m, pte_t pte);
/* Downgrade a writable migration or device entry to its read form. @pte must not be a marker. ptl held. */
pte_t swp_wrprotect(const struct vellum_memory *m, pte_t pte);

#endif
