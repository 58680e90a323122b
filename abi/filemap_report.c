/* SPDX-License-Identifier: MIT */
/* abi/filemap_report.c - for reports and replicas: names of VMAs, and bytes that no page table maps. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "abi/filemap.h"
#include "abi/ipc.h"
#include "abi/path.h"

#define PAGE	 VELLUM_PAGE_SIZE
#define MAX_HEAP (1ull << 40)	/* bytes; what is mapped farther from the start of the heap has another name */

void abi_mapping_name(const struct guest_mm *gmm, const struct vellum_vma_info *info,
		      char name[ABI_MAX_NAME])
{
	struct filemap *fm = info->mapping ? filemap_of_mapping(gmm->kernel->filemaps, info->mapping) : NULL;

	snprintf(name, ABI_MAX_NAME, "%s", fm ? fm->path : "");
	if (!fm)
		shm_mapping_name(gmm->kernel, info->mapping, name);
	filemap_put(fm);
	if (info->start < gmm->stack_end && info->end > gmm->stack_start)
		snprintf(name, ABI_MAX_NAME, "[stack]");
	else if (info->start >= gmm->brk_start && gmm->brk_start && info->start - gmm->brk_start < MAX_HEAP &&
		 !info->mapping && info->start <= vellum_brk(gmm->mm, 0))
		snprintf(name, ABI_MAX_NAME, "[heap]");
	else if (gmm->vdso && info->start == gmm->vdso)
		snprintf(name, ABI_MAX_NAME, "[vdso]");
	else if (gmm->vdso && info->end == gmm->vdso)
		snprintf(name, ABI_MAX_NAME, "[vvar]");
}

bool abi_is_file(const struct guest_mm *gmm, const struct vellum_vma_info *info)
{
	struct filemap *fm = info->mapping ? filemap_of_mapping(gmm->kernel->filemaps, info->mapping) : NULL;

	filemap_put(fm);
	return fm != NULL;
}

void abi_absent_page(const struct guest_mm *gmm, const struct vellum_vma_info *info, uint64_t addr, void *buf)
{
	uint64_t pgoff = info->pgoff + (addr - info->start) / PAGE;
	struct filemap *fm = info->mapping ? filemap_of_mapping(gmm->kernel->filemaps, info->mapping) : NULL;

	memset(buf, 0, PAGE);
	if (fm)
		filemap_read_page(fm, pgoff, buf);
	else if (info->mapping)
		vellum_mapping_read(info->mapping, pgoff * PAGE, buf, PAGE);	/* including swapped-out pages */
	filemap_put(fm);
}

/* The first bytes, not before @*start, that are not a hole of the file: [@*start, @*end). False: none. */
static bool next_in_file(const struct filemap *fm, uint64_t *start, uint64_t *end)
{
	char link[FD_NAME_BYTES];
	off_t data, hole;
	int fd;

	/* Open the file again: lseek(2) on fm->fd could change the program's file position. */
	fd = open(path_fd_name(fm->fd, link), O_RDONLY | O_CLOEXEC);
	data = lseek(fd, (off_t)*start, SEEK_DATA);
	hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
	if (fd >= 0)
		close(fd);
	if (data < 0 && errno == ENXIO)
		return false;		/* a hole up to the end of the file */
	*start = data < 0 ? *start : (uint64_t)data;
	*end = hole < 0 ? (uint64_t)INT64_MAX : (uint64_t)hole;
	return true;
}

bool abi_next_data(const struct guest_mm *gmm, const struct vellum_vma_info *info, uint64_t *first, uint64_t *end)
{
	struct filemap *fm = filemap_of_mapping(gmm->kernel->filemaps, info->mapping);
	uint64_t start = *first * PAGE, stop = 0, cached = *first;
	/* First the cache: a page that is written back and dropped between the two calls is in the file then. */
	bool has = vellum_mapping_next(info->mapping, &cached) == 0, in_file = fm && next_in_file(fm, &start, &stop);

	filemap_put(fm);
	if (!has && !in_file)
		return false;
	*first = cached;
	*end = cached + 1;
	if (in_file && (!has || start / PAGE <= cached)) {
		*first = start / PAGE;
		*end = (stop + PAGE - 1) / PAGE;
	}
	return true;
}
