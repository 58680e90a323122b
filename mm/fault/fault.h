/* SPDX-License-Identifier: MIT */
/* mm/fault/fault.h - page faults: the call for the rest of the core, and what the files that resolve a fault share. */
#ifndef MM_FAULT_FAULT_H
#define MM_FAULT_FAULT_H

#include "mm/vma.h"
#include "mm/table/exposed.h"

struct uffd_wait;

enum fault_flag {
	FAULT_WRITE = 1,
	FAULT_POPULATE = 2,	/* nothing is accessed yet */
	FAULT_UNSHARE = 4,	/* a pin for reading: an anonymous page has to be exclusive to the process */
	FAULT_USER = 8,		/* a CPU's access; else an access by the library on the program's behalf */
};

/* mmap_lock held for reading. enum vellum_fault_result; or, with @wait, FAULT_WAIT. */
int handle_mm_fault(struct vma *vma, gva_t addr, unsigned flags, struct uffd_wait *wait);
bool vma_permits(const struct vma *vma, uint32_t error);
int anon_vma_prepare(struct vma *vma);	/* 0 or -ENOMEM */
/* A frame is about to become executable through an entry. */
void prepare_exec(struct vma *vma, struct folio *folio);
/* Ask a driver before a page or frame becomes writable. 0: continue; FAULT_AGAIN; or a result. */
int notify_mkwrite(struct vma *vma, gva_t addr, struct folio *folio, pfn_t pfn);
/* Extend a VM_GROWSDOWN mapping down to @addr. No lock held. 0 or -EFAULT. */
int grow_stack(struct vellum_mm *mm, gva_t addr);

/* Results besides enum vellum_fault_result. They never leave the core. */
#define FAULT_AGAIN (-1)	/* the entry changed meanwhile: look again; stays in fault.c */
#define FAULT_NOPAGE (-2)	/* a hook wants the instruction run again; to the CPU that is OK */
#define FAULT_WAIT (-3)		/* drop the mmap lock, uffd_wait_over(), then try again */

struct fault {
	struct vma *vma;
	gva_t addr;		/* of the page */
	gva_t exact;		/* as it was accessed */
	unsigned flags;		/* enum fault_flag */
	struct uffd_wait *wait;	/* on the stack of who may wait; NULL: must not */
	pte_t *ptep;
	struct mutex *ptl;
	pte_t orig;		/* the entry that this is about */
};

static inline struct vellum_memory *fault_memory(const struct fault *f)
{
	return f->vma->mm->memory;
}

/* ptl held: nothing but A may differ from what the fault was decided on. */
static inline bool fault_is_same(const struct fault *f)
{
	pte_t now = ptep_get(f->ptep);

	if (pte_none(f->orig))
		return pte_none(now);
	return pte_present(now) ? pte_mkyoung(now).val == pte_mkyoung(f->orig).val : now.val == f->orig.val;
}

/* It is about a promise to protect whatever comes in: what comes in is protected. */
static inline pte_t fault_keep_wp(const struct fault *f, pte_t pte)
{
	return pte_is_uffd_wp(f->orig) && vma_uffd_wp(f->vma) ? pte_mkuffd_wp(pte) : pte;
}

/* The entry's folio; NULL: the zero page or a raw frame. */
static inline struct folio *normal_folio(const struct vellum_memory *m, pte_t pte)
{
	return pte_special(pte) ? NULL : pte_folio(m, pte);
}

/* Only if the mapping's rights have W: a forced write goes without. */
static inline pte_t maybe_mkwrite(const struct vma *vma, pte_t pte)
{
	if (!(vma->flags & VM_WRITE))
		return pte;
	return vma->flags & VM_SHADOW_STACK ? pte_mkwrite_shstk(pte) : pte_mkwrite(pte);
}

/* fault.c */
pte_t anon_copy_entry(const struct fault *f, pfn_t pfn);
/* Put a new own anonymous page into an entry that maps nothing. ptl held. */
void map_anon_folio(struct vma *vma, gva_t addr, pte_t *ptep, struct folio *folio, pte_t pte);

/* fault_file.c: nothing is there, and an object is behind it */
int do_file_page(struct fault *f);

/* fault_huge.c: huge leaves. FAULT_AGAIN: go on with a table */
int do_huge_fault(struct fault *f);

/* cow.c: a store to an entry that is present and read-only; ptl held, dropped on return */
int do_wp_page(struct fault *f);

/* swap_in.c: an entry that is neither none nor present, and no marker */
int do_swap_page(struct fault *f);

/* uffd_fault.c */
/* Queue a message: FAULT_WAIT (f->wait without a context: try again at once), or SIGBUS. No ptl held. */
int uffd_fault(struct fault *f, uint32_t reason);

/* --- swp_entry.c: entries that are neither none nor present --- */

/* An entry of any kind that is not present has been removed, or is to be copied; ptl held. Markers need nothing. */
void swp_entry_drop(struct vellum_mm *mm, pte_t pte);
/* A migration entry of a private page; ptl held. */
bool migration_is_anon(const struct vellum_memory *m, pte_t pte);
/* What names its page for storing to, of an entry that is no marker, names it for reading. ptl held. */
pte_t swp_wrprotect(const struct vellum_memory *m, pte_t pte);

#endif
