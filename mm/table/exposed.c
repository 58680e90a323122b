/* SPDX-License-Identifier: MIT */
/* mm/table/exposed.c - checks of entries in tables that programs may have written; see exposed.h. */
#include "mm/frame/folio.h"
#include "mm/table/exposed.h"

void entry_forged(const struct vellum_memory *m, uint64_t entry, const char *what)
{
	if (m->host.ops->forged)
		m->host.ops->forged(m->host.ctx, entry, what);
	host_bug(&m->host, what);
	__builtin_trap();	/* if the hooks return, the process must not continue with a forged entry */
}

const struct folio *checked_folio(const struct vellum_memory *m, pfn_t pfn, uint64_t entry)
{
	if (!pfn_is_ram(m, pfn))
		entry_forged(m, entry, "an entry whose frame is not RAM");
	return pfn_folio(m, pfn);
}

void check_table_entry(const struct vellum_memory *m, uint64_t entry)
{
	const struct folio *folio = checked_folio(m, x86_table_pfn(entry), entry);

	if ((folio_flags(folio) & (PG_USED | PG_TABLE)) != (PG_USED | PG_TABLE))
		entry_forged(m, entry, "a table entry whose frame is not a page table");
}

void check_page_entry(const struct vellum_memory *m, pfn_t pfn, uint64_t entry)
{
	const struct folio *folio = checked_folio(m, pfn, entry);

	if ((folio_flags(folio) & (PG_USED | PG_TABLE | PG_DEVICE)) != PG_USED)
		entry_forged(m, entry, "an entry whose frame is not a page");
	if (!(__atomic_load_n(&folio->count, __ATOMIC_RELAXED) / FOLIO_MAP))
		entry_forged(m, entry, "an entry of a page that has no mappings");
}

void check_huge_entry(const struct vellum_memory *m, uint64_t entry, unsigned shift)
{
	pfn_t pfn = pmd_pfn(pmd_make(entry));

	if (shift != PMD_SHIFT)
		entry_forged(m, entry, "a leaf of 1 GiB that is not raw");
	for (unsigned i = 0; i < ENTRIES_PER_TABLE; i++)
		check_page_entry(m, pfn + i, entry);
}

void check_raw_entry(const struct vellum_memory *m, pfn_t pfn, uint64_t entry)
{
	if (pfn == m->zero_pfn || !pfn_is_ram(m, pfn))
		return;
	if (!(folio_flags(pfn_folio(m, pfn)) & PG_DEVICE))
		entry_forged(m, entry, "a raw entry of RAM");
}
