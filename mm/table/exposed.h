/* SPDX-License-Identifier: MIT */
/*
 * mm/table/exposed.h - from the value of a page-table entry to what it names.
 *
 * Where a machine's tables are exposed (VELLUM_MMU_TABLES_EXPOSED), a program may have written an entry behind the
 * core's back. Each function here then checks the value that its caller has loaded, before anything is read or
 * written through it: the frame is RAM, and is used as an entry of this kind says. An entry that cannot be the
 * core's ends in the host's forged() hook. Elsewhere the checks cost one test of a flag.
 *
 * A forged entry that names a page of the right kind is not found here: it harms what runs in this RAM, not the host.
 */
#ifndef MM_TABLE_EXPOSED_H
#define MM_TABLE_EXPOSED_H

#include "mm/frame/folio.h"

/* Does not return. @entry: the value. */
void entry_forged(const struct vellum_memory *m, uint64_t entry, const char *what) __attribute__((noreturn, cold));

/* Metadata of a frame of RAM that @entry names. */
const struct folio *checked_folio(const struct vellum_memory *m, pfn_t pfn, uint64_t entry);

/* The checks, for exposed tables only. */
void check_table_entry(const struct vellum_memory *m, uint64_t entry);
void check_page_entry(const struct vellum_memory *m, pfn_t pfn, uint64_t entry);
void check_huge_entry(const struct vellum_memory *m, uint64_t entry, unsigned shift);
void check_raw_entry(const struct vellum_memory *m, pfn_t pfn, uint64_t entry);
void check_swp_entry(const struct vellum_memory *m, pte_t pte);	/* mm/fault/swp_entry.c */

/* The table that @entry (of a PGD, PUD or PMD, present and no leaf) points to. */
static inline struct folio *entry_table_folio(const struct vellum_memory *m, uint64_t entry)
{
	if (unlikely(m->exposed))
		check_table_entry(m, entry);
	return pfn_folio(m, x86_table_pfn(entry));
}

static inline uint64_t *table_of(const struct vellum_memory *m, uint64_t entry)
{
	if (unlikely(m->exposed))
		check_table_entry(m, entry);
	return frame_address(m, x86_table_pfn(entry));
}

/* Nothing is there: neither a table nor a leaf. An entry above the last level has no other meaning. */
static inline bool no_table(const struct vellum_memory *m, uint64_t entry)
{
	if (entry & (X86_PRESENT | X86_PSE))
		return false;
	if (unlikely(m->exposed) && (entry & ~(X86_ACCESSED | X86_DIRTY)))
		entry_forged(m, entry, "an entry that is neither a table nor a leaf");
	return true;
}

/* The folio that a present entry maps; it is not special. */
static inline struct folio *pte_folio(const struct vellum_memory *m, pte_t pte)
{
	if (unlikely(m->exposed))
		check_page_entry(m, pte_pfn(pte), pte.val);
	return pfn_folio(m, pte_pfn(pte));
}

/* The first of the 512 folios that a leaf of 2 MiB maps; it is not raw. */
static inline struct folio *huge_folio(const struct vellum_memory *m, uint64_t entry, unsigned shift)
{
	if (unlikely(m->exposed))
		check_huge_entry(m, entry, shift);
	return pfn_folio(m, pmd_pfn(pmd_make(entry)));
}

/* The folio of page @i of a leaf; it is not raw. */
static inline struct folio *huge_page_folio(const struct vellum_memory *m, uint64_t entry, unsigned shift, uint64_t i)
{
	pfn_t pfn = (shift == PUD_SHIFT ? pud_pfn(pud_make(entry)) : pmd_pfn(pmd_make(entry))) + i;

	if (unlikely(m->exposed))
		check_page_entry(m, pfn, entry);
	return pfn_folio(m, pfn);
}

/* The folio that a migration or device-exclusive entry names. */
static inline struct folio *swp_folio(const struct vellum_memory *m, pte_t pte)
{
	if (unlikely(m->exposed))
		check_swp_entry(m, pte);
	return pfn_folio(m, pte_swp_pfn(pte));
}

/* Host memory behind a present entry, of RAM or of a device; NULL: it has none. */
static inline void *pte_host(struct vellum_memory *m, pte_t pte)
{
	if (unlikely(m->exposed)) {
		if (pte_special(pte))
			check_raw_entry(m, pte_pfn(pte), pte.val);
		else
			check_page_entry(m, pte_pfn(pte), pte.val);
	}
	return pfn_host(m, pte_pfn(pte));
}

#endif
