/* SPDX-License-Identifier: MIT */
/* mm/fault/swp_entry.c - entries of any kind that are neither none nor present: check, downgrade and drop them. */
#include "mm/fault/fault.h"
#include "mm/mm.h"
#include "mm/outside/device.h"
#include "mm/swap/swap.h"
#include "mm/table/exposed.h"

void swp_entry_drop(struct vellum_mm *mm, pte_t pte)
{
	struct vellum_memory *m = mm->memory;

	if (pte_is_genuine_swap(pte)) {
		mm_add_swapped(mm, -1);
		slot_put(m, pte_slot(pte));
	} else if (pte_is_device_private(pte)) {
		device_page_put(m, pte_swp_pfn(pte));
	} else if (pte_is_device_exclusive(pte)) {
		folio_put(m, swp_folio(m, pte));
	}
}

bool migration_is_anon(const struct vellum_memory *m, pte_t pte)
{
	return folio_flags(swp_folio(m, pte)) & PG_ANON;
}

pte_t swp_wrprotect(const struct vellum_memory *m, pte_t pte)
{
	switch (pte_swp_type(pte)) {
	case SWP_MIGRATION_WRITE:
		return pte_swp_with_type(pte, migration_is_anon(m, pte) ? SWP_MIGRATION_READ_EXCL : SWP_MIGRATION_READ);
	case SWP_DEVICE_WRITE:
	case SWP_DEVICE_EXCL_WRITE:
		return pte_swp_with_type(pte, pte_swp_type(pte) + 1);	/* the read form's type number is the next */
	default:
		return pte;
	}
}

void check_swp_entry(const struct vellum_memory *m, pte_t pte)
{
	const struct folio *folio;

	if (pte_is_marker(pte)) {
		if (!pte_marker_bits(pte) || pte_swp_offset(pte) >= 2 * MARKER_GUARD)
			entry_forged(m, pte.val, "a marker without a valid bit");
	} else if (pte_is_genuine_swap(pte)) {
		if (!swap_slot_exists(m, pte_slot(pte)))
			entry_forged(m, pte.val, "a swap entry whose slot is not in use");
	} else if (pte_has_swp_type(pte, SWP_DEVICE_WRITE, SWP_DEVICE_READ)) {
		if (!device_page_exists((struct vellum_memory *)m, pte_swp_pfn(pte)))	/* locks the memory */
			entry_forged(m, pte.val, "a device entry whose page does not exist");
	} else if (!pte_has_swp_type(pte, SWP_HWPOISON, SWP_HWPOISON)) {
		folio = checked_folio(m, pte_swp_pfn(pte), pte.val);
		if ((folio_flags(folio) & (PG_USED | PG_TABLE | PG_DEVICE)) != PG_USED)
			entry_forged(m, pte.val, "a migration entry whose frame is not a page");
		if (pte_has_swp_type(pte, SWP_MIGRATION_READ, SWP_MIGRATION_WRITE) && !mutex_is_locked(&folio->lock))
			entry_forged(m, pte.val, "a migration entry of a page that is not being migrated");
	}
}
