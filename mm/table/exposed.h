/* SPDX-License-Identifier: MIT */
/*
 * mm/table/exposed.h - find the folio, table or host address that a page-table entry names.
 *
 * INV-EXPOSED-1: if a machine's tables are exposed (VELLUM_MMU_TABLES_EXPOSED), a program can write entries without
 * the core. Each function here then checks the value that its caller has loaded, before the caller reads or writes
 * through it: the frame must be RAM, and must be in use as an entry of this kind requires. If the core cannot have
 * written the entry, the check calls the host's forged() hook. On other machines the checks cost one test of a flag.
 *
 * A forged entry that names a page of the right kind passes the checks. It can harm what runs in this RAM, but not
 * the host.
 */
#ifndef MM_TABLE_EXPOSED_H
#define MM_TABLE_EXPOSED_H

#include "mm/frame/folio.h"

/* Report a forged entry to the host. Does not return. @entry: the entry's value. @what: describes it. */
void entry_forged(const struct vellum_memory *m, uint64_t entry, const char *what) __attribute__((noreturn, cold));

/* The folio of the frame @pfn, which @entry names. The entry is forged if the frame is not RAM. */
const struct folio *checked_folio(const struct vellum_memory *m, pfn_t pfn, uint64_t entry);

/* Checks for exposed tables: each returns only if the entry may be the core's. */
void check_table_entry(const struct vellum_memory *m, uint64_t entry);
void check_page_entry(const struct vellum_memory *m, pfn_t pfn, uint64_t entry);
void check_huge_entry(const struct vellum_memory *m, uint64_t entry, unsigned shift);
void check_raw_entry(const struct vellum_memory *m, pfn_t pfn, uint64_t entry);
void check_swp_entry(const struct vellum_memory *m, pte_t pte);	/* mm/fault/swp_entry.c */

/* The folio of the table that @entry (of a PGD, PUD or PMD; present, and no leaf) points to. */
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

/* The entry, of a level above the last, names neither a table nor a leaf. Such an entry must be empty. */
static inline bool no_table(const struct vellum_memory *m, uint64_t entry)
{
	if (entry & (X86_PRESENT | X86_PSE))
		return false;
	if (unlikely(m->exposed) && (entry & ~(X86_ACCESSED | X86_DIRTY)))
		entry_forged(m, entry, "an entry that is neither empty nor a table nor a leaf");
	return true;
}

/* The folio that a present entry maps. The entry must not be raw. */
static inline struct folio *pte_folio(const struct vellum_memory *m, pte_t pte)
{
	if (unlikely(m->exposed))
		check_page_entry(m, pte_pfn(pte), pte.val);
	return pfn_folio(m, pte_pfn(pte));
}

/* A present entry maps an anonymous page. */
static inline bool pte_is_anon(const struct vellum_memory *m, pte_t pte)
{
	return !pte_special(pte) && (folio_flags(pte_folio(m, pte)) & PG_ANON);
}

/* The first of the 512 folios that a leaf of 2 MiB maps. The leaf must not be raw. */
static inline struct folio *huge_folio(const struct vellum_memory *m, uint64_t entry, unsigned shift)
{
	if (unlikely(m->exposed))
		check_huge_entry(m, entry, shift);
	return pfn_folio(m, pmd_pfn(pmd_make(entry)));
}

/* The folio of page @i of a leaf. The leaf must not be raw. */
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

/* The host address of the memory (RAM or a device's) that a present entry maps; NULL: the frame has none. */
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
