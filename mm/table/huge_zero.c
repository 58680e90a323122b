/* SPDX-License-Identifier: MIT */
/*
 * mm/table/huge_zero.c - the huge zero page: 2 MiB of zeros, which a load of untouched memory maps by one leaf.
 *
 * It is allocated when the first address space needs it. Each address space that has mapped it keeps it until the
 * address space is destroyed, so no translation of it outlives it. memory->lock protects its fields.
 */
#include "mm/table/huge.h"

/* Count the address space as a user of @pfn, or of the page that there is. False: there is none, and @pfn is 0. */
static bool keep(struct vellum_mm *mm, pfn_t pfn)
{
	struct vellum_memory *m = mm->memory;
	bool exists;

	mutex_lock(&m->lock, &m->host);
	if (!m->huge_zero_pfn)
		__atomic_store_n(&m->huge_zero_pfn, pfn, __ATOMIC_RELAXED);
	exists = m->huge_zero_pfn != 0;
	if (exists && !mm->keeps_huge_zero) {
		m->huge_zero_users++;
		__atomic_store_n(&mm->keeps_huge_zero, true, __ATOMIC_RELEASE);
	}
	mutex_unlock(&m->lock, &m->host);
	return exists;
}

pfn_t huge_zero_get(struct vellum_mm *mm)
{
	struct vellum_memory *m = mm->memory;
	struct folio *block;

	if (!huge_zero_keep(mm)) {
		block = folio_alloc(m, MAX_ORDER);
		if (!block)
			return 0;
		keep(mm, folio_pfn(m, block));
		if (m->huge_zero_pfn != folio_pfn(m, block))
			folio_put(m, block);	/* another thread was first */
	}
	return m->huge_zero_pfn;
}

bool huge_zero_keep(struct vellum_mm *mm)
{
	return __atomic_load_n(&mm->keeps_huge_zero, __ATOMIC_ACQUIRE) || keep(mm, 0);
}

void huge_zero_put(struct vellum_mm *mm)
{
	struct vellum_memory *m = mm->memory;
	pfn_t pfn = 0;

	if (!mm->keeps_huge_zero)
		return;
	mutex_lock(&m->lock, &m->host);
	if (!--m->huge_zero_users) {
		pfn = m->huge_zero_pfn;
		__atomic_store_n(&m->huge_zero_pfn, 0, __ATOMIC_RELAXED);
	}
	mutex_unlock(&m->lock, &m->host);
	if (pfn)
		folio_put(m, pfn_folio(m, pfn));
}
