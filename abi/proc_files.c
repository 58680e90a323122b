/* SPDX-License-Identifier: MIT */
/* abi/proc_files.c - /proc/self/maps and smaps; see proc_files.h. */
#define _GNU_SOURCE
#include "abi/proc_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "abi/filemap.h"
#include "abi/ipc.h"
#include "abi/path.h"
#include "vellum/pagemap.h"

#define SHM_DEV_MINOR 1		/* of the kernel's own tmpfs, which has System V segments */
#define MAX_VMA_TEXT 8192	/* bytes of one VMA in smaps, with its path */

static void name_vma(const struct guest_mm *gmm, const struct vellum_vma_info *info, char path[ABI_MAX_NAME],
		     struct vellum_vma_name *name)
{
	struct filemap *fm = info->mapping ? filemap_of_mapping(gmm->kernel->filemaps, info->mapping) : NULL;

	int id = fm ? -1 : shm_mapping_name(gmm->kernel, info->mapping, path);

	abi_mapping_name(gmm, info, path);
	*name = (struct vellum_vma_name){ .size = sizeof(*name), .name = path };
	if (fm) {
		name->dev_major = major(fm->dev);
		name->dev_minor = minor(fm->dev);
		name->inode = fm->ino;
	} else if (id >= 0) {
		name->dev_minor = SHM_DEV_MINOR;
		name->inode = (uint64_t)id;
	}
	filemap_put(fm);
}

static void print_vma(FILE *f, const struct guest_mm *gmm, const struct vellum_vma_info *info, bool smaps)
{
	struct vellum_vma_usage usage = { .size = sizeof(usage) };
	struct vellum_vma_info same = { .size = sizeof(same) };
	char text[MAX_VMA_TEXT], path[ABI_MAX_NAME];
	struct vellum_vma_name name;
	int n;

	name_vma(gmm, info, path, &name);
	if (smaps && vellum_vma_usage(gmm->mm, info->start, &same, &usage))
		return;
	n = smaps ? vellum_smaps_text(info, &usage, &name, text, sizeof(text)) :
		    vellum_maps_line(info, &name, text, sizeof(text));
	fwrite(text, 1, (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1, f);
}

static void print_maps(FILE *f, const struct guest_mm *gmm, bool smaps)
{
	struct vellum_vma_info info = { .size = sizeof(info) };

	for (uint64_t at = 0; vellum_vma_next(gmm->mm, at, &info) == 0; at = info.end)
		print_vma(f, gmm, &info, smaps);
}

/* A descriptor for reading a text. */
static int open_text(const char *name, const char *text, size_t len)
{
	char link[FD_NAME_BYTES];
	int writable = memfd_create(name, MFD_CLOEXEC), fd = -1;

	if (writable < 0)
		return -errno;
	if (write(writable, text, len) == (ssize_t)len)
		fd = open(path_fd_name(writable, link), O_RDONLY | O_CLOEXEC);
	close(writable);
	return fd < 0 ? -ENOMEM : fd;
}

int proc_files_open(struct task *t, const char *name, int flags)
{
	bool smaps = !strcmp(name, "smaps");
	char *text = NULL;
	size_t len = 0;
	FILE *f;
	int fd;

	if (!smaps && strcmp(name, "maps"))
		return -ENOENT;
	if (!(flags & O_PATH) && (flags & O_ACCMODE) != O_RDONLY)
		return -EACCES;
	f = open_memstream(&text, &len);
	if (!f)
		return -ENOMEM;
	print_maps(f, t->gmm, smaps);
	fd = fclose(f) ? -ENOMEM : open_text(name, text, len);
	free(text);
	return fd;
}
