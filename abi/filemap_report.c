/* SPDX-License-Identifier: MIT */
/* abi/filemap_report.c - what reports and replicas ask of mappings: names, and bytes that no page table has. */
#include <stdio.h>
#include <string.h>

#include "abi/filemap.h"

#define PAGE	 VELLUM_PAGE_SIZE

void abi_mapping_name(const struct guest_mm *gmm, const struct vellum_vma_info *info,
		      char name[ABI_MAX_NAME])
{
	struct filemap *fm = info->mapping ? filemap_of(info->mapping) : NULL;

	snprintf(name, ABI_MAX_NAME, "%s", fm ? fm->path : "");
	filemap_put(fm);
	if (info->start < gmm->stack_end && info->end > gmm->stack_start)
		snprintf(name, ABI_MAX_NAME, "[stack]");
	else if (info->start >= gmm->brk_start && gmm->brk_start && info->start - gmm->brk_start < 1ull << 40 &&
		 !info->mapping && info->start <= vellum_brk(gmm->mm, 0))
		snprintf(name, ABI_MAX_NAME, "[heap]");
	else if (gmm->vdso && info->start == gmm->vdso)
		snprintf(name, ABI_MAX_NAME, "[vdso]");
	else if (gmm->vdso && info->end == gmm->vdso)
		snprintf(name, ABI_MAX_NAME, "[vvar]");
}

bool abi_is_file(const struct vellum_vma_info *info)
{
	struct filemap *fm = info->mapping ? filemap_of(info->mapping) : NULL;

	filemap_put(fm);
	return fm != NULL;
}

/* An object keeps its pages when nobody has them in a table. */
void abi_absent_page(const struct vellum_vma_info *info, uint64_t addr, void *buf)
{
	uint64_t pgoff = info->pgoff + (addr - info->start) / PAGE;
	struct filemap *fm = info->mapping ? filemap_of(info->mapping) : NULL;

	memset(buf, 0, PAGE);
	if (fm)
		filemap_page(fm, pgoff, buf);
	else if (info->mapping)
		vellum_mapping_read(info->mapping, pgoff * PAGE, buf, PAGE);	/* also what is swapped out */
	filemap_put(fm);
}

/*
 * Shared memory starts as zeros, a file's page as the file has it. (The file may have changed since a
 * program looked: but then that was noted as a change.)
 */
void abi_initial_page(const struct vellum_vma_info *info, uint64_t addr, void *buf)
{
	if (!info->shared || abi_is_file(info))
		abi_absent_page(info, addr, buf);
	else
		memset(buf, 0, PAGE);
}
