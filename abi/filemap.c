/* SPDX-License-Identifier: MIT */
/*
 * abi/filemap.c - objects for private mappings of host files, read through the host.
 *
 * Processes that map the same file share its pages: objects are kept by device, inode, size and
 * time of change, so a file that was changed in between gets a new one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/task.h"
#include "vellum/backing.h"

#define MAX_KEPT 64

struct filemap {
	struct filemap *next;
	struct vellum_mapping *mapping;	/* one reference while in the list */
	struct stat id;
	int fd;
	bool listed;
	char path[ABI_MAX_NAME];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct filemap *all;		/* every live object, for its name; lock */

static int filemap_fault(void *ctx, struct vellum_vmf *vmf)
{
	const struct filemap *fm = ctx;
	size_t have = 0;

	while (have < VELLUM_PAGE_SIZE) {
		ssize_t n = pread(fm->fd, (char *)vmf->page + have, VELLUM_PAGE_SIZE - have,
				  (off_t)(vmf->pgoff * VELLUM_PAGE_SIZE + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return VELLUM_VMF_SIGBUS;
		if (n == 0)
			break;		/* the end of the file: the rest of the page is zero */
		have += (size_t)n;
	}
	return VELLUM_VMF_OK;
}

static void filemap_release(void *ctx)
{
	struct filemap *fm = ctx, **at = &all;

	pthread_mutex_lock(&lock);
	while (*at && *at != fm)
		at = &(*at)->next;
	if (*at)
		*at = fm->next;
	pthread_mutex_unlock(&lock);
	close(fm->fd);
	free(fm);
}

static const struct vellum_backing_ops filemap_ops = {
	.size = sizeof(filemap_ops),
	.fault = filemap_fault,
	.release = filemap_release,
};

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* With a reference for the caller, or NULL. lock held. */
static struct vellum_mapping *find(const struct stat *id)
{
	for (struct filemap *fm = all; fm; fm = fm->next)
		if (fm->listed && same_file(&fm->id, id)) {
			vellum_mapping_get(fm->mapping);
			return fm->mapping;
		}
	return NULL;
}

/* Too many: the oldest (the list's last) loses the list's reference. lock held; to be put after. */
static struct vellum_mapping *take_oldest(void)
{
	struct filemap *oldest = NULL;
	unsigned n = 0;

	for (struct filemap *fm = all; fm; fm = fm->next)
		if (fm->listed) {
			oldest = fm;
			n++;
		}
	if (n <= MAX_KEPT)
		return NULL;
	oldest->listed = false;
	return oldest->mapping;
}

static struct filemap *new_filemap(struct kernel *k, int host_fd, const struct stat *id,
				   const char *path)
{
	struct filemap *fm = calloc(1, sizeof(*fm));
	uint64_t pages = ((uint64_t)id->st_size + VELLUM_PAGE_SIZE - 1) / VELLUM_PAGE_SIZE;

	if (!fm)
		return NULL;
	fm->id = *id;
	snprintf(fm->path, sizeof(fm->path), "%s", path);
	fm->fd = fcntl(host_fd, F_DUPFD_CLOEXEC, 0);
	if (fm->fd < 0 || vellum_mapping_create(k->args->memory, &filemap_ops, fm, pages ? pages : 1, 0,
						&fm->mapping)) {
		if (fm->fd >= 0)
			close(fm->fd);
		free(fm);
		return NULL;
	}
	return fm;
}

struct vellum_mapping *filemap_get(struct kernel *k, int host_fd, const char *path)
{
	struct vellum_mapping *mapping, *old = NULL;
	struct filemap *fm;
	struct stat id;

	if (fstat(host_fd, &id))
		return NULL;
	pthread_mutex_lock(&lock);
	mapping = find(&id);
	if (!mapping) {
		fm = new_filemap(k, host_fd, &id, path);
		if (fm) {
			fm->listed = true;
			fm->next = all;
			all = fm;
			mapping = fm->mapping;
			vellum_mapping_get(mapping);	/* the list's and the caller's */
			old = take_oldest();
		}
	}
	pthread_mutex_unlock(&lock);
	vellum_mapping_put(old);
	return mapping;
}

void filemap_drop_all(void)
{
	for (;;) {
		struct vellum_mapping *mapping = NULL;

		pthread_mutex_lock(&lock);
		for (struct filemap *fm = all; fm && !mapping; fm = fm->next)
			if (fm->listed) {
				fm->listed = false;
				mapping = fm->mapping;
			}
		pthread_mutex_unlock(&lock);
		if (!mapping)
			return;
		vellum_mapping_put(mapping);
	}
}

static struct filemap *filemap_of(const struct vellum_mapping *mapping)
{
	struct filemap *fm = all;

	while (fm && fm->mapping != mapping)
		fm = fm->next;
	return fm;
}

void abi_mapping_name(const struct guest_mm *gmm, const struct vellum_vma_info *info,
		      char name[ABI_MAX_NAME])
{
	const struct filemap *fm;

	name[0] = 0;
	pthread_mutex_lock(&lock);
	fm = info->mapping ? filemap_of(info->mapping) : NULL;
	if (fm)
		snprintf(name, ABI_MAX_NAME, "%s", fm->path);
	pthread_mutex_unlock(&lock);
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

static void object_page(const struct vellum_vma_info *info, uint64_t addr, void *buf)
{
	uint64_t pgoff = info->pgoff + (addr - info->start) / VELLUM_PAGE_SIZE;

	memset(buf, 0, VELLUM_PAGE_SIZE);
	if (info->mapping)
		vellum_mapping_read(info->mapping, pgoff * VELLUM_PAGE_SIZE, buf, VELLUM_PAGE_SIZE);
}

/*
 * Shared memory starts as zeros. A file's page is what was read when somebody first touched it; the
 * file may have changed since, and a page that nobody touched was never seen by the program.
 */
void abi_initial_page(const struct vellum_vma_info *info, uint64_t addr, void *buf)
{
	bool is_file;

	pthread_mutex_lock(&lock);
	is_file = info->mapping && filemap_of(info->mapping);
	pthread_mutex_unlock(&lock);
	if (is_file || !info->shared)
		object_page(info, addr, buf);
	else
		memset(buf, 0, VELLUM_PAGE_SIZE);
}

/* An object keeps its pages when nobody has them in a table. */
void abi_absent_page(const struct vellum_vma_info *info, uint64_t addr, void *buf)
{
	object_page(info, addr, buf);
}
