/* SPDX-License-Identifier: MIT */
/* abi/filemap.c - the list of mapped files, and the thread that writes them back; see filemap.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "abi/filemap.h"
#include "abi/memfd.h"
#include "abi/path.h"
#include "abi/text.h"
#include "vellum/swap.h"

#define MAX_UNUSED 64		/* files in the list that no process maps */
#define FLUSH_SECONDS 5		/* between two steps of the background writeback, as in Linux */

struct filemaps {
	uint32_t refs;			/* atomic: one of the kernel, and one of each file */
	pthread_mutex_t list_lock;	/* a leaf */
	/* Held for reading by host calls that change a file without a filemap, for writing when one is created. */
	pthread_rwlock_t creation_lock;
	struct filemap *first;		/* list_lock */
	unsigned nr_writable;		/* atomic: files that were mapped shared for writing */
	struct memfds memfds;
	/* The background writeback. */
	struct vellum_memory *memory;
	pthread_t flusher;
	pthread_mutex_t flusher_lock;	/* outermost */
	pthread_cond_t flusher_wake;
	bool flusher_runs, flusher_stop;	/* flusher_lock */
};

struct memfds *filemaps_memfds(struct filemaps *filemaps)
{
	return &filemaps->memfds;
}

void filemaps_count_writable(struct filemaps *filemaps, int change)
{
	__atomic_fetch_add(&filemaps->nr_writable, (unsigned)change, __ATOMIC_RELAXED);
}

bool filemaps_have_writable(const struct filemaps *filemaps)
{
	return __atomic_load_n(&filemaps->nr_writable, __ATOMIC_RELAXED) != 0;
}

void filemaps_put(struct filemaps *filemaps)
{
	if (__atomic_sub_fetch(&filemaps->refs, 1, __ATOMIC_ACQ_REL))
		return;
	memfds_destroy(&filemaps->memfds);
	pthread_cond_destroy(&filemaps->flusher_wake);
	pthread_mutex_destroy(&filemaps->flusher_lock);
	pthread_rwlock_destroy(&filemaps->creation_lock);
	pthread_mutex_destroy(&filemaps->list_lock);
	free(filemaps);
}

/* --- deleted files --- */

/* list_lock held. */
static void list_remove(struct filemap *fm)
{
	struct filemap **at = &fm->owner->first;

	while (*at != fm)
		at = &(*at)->next;
	__atomic_store_n(at, fm->next, __ATOMIC_RELEASE);
}

/* Only the list refers to the file, it has no name, and no page is dirty. Its blocks can be freed. */
static bool is_unlinked_and_unused(const struct filemap *fm)
{
	struct vellum_mapping_info info = { .size = sizeof(info) };
	struct stat st;

	vellum_mapping_info(fm->mapping, &info);
	return info.nr_refs == 1 && !info.nr_dirty && fstat(fm->fd, &st) == 0 && st.st_nlink == 0;
}

bool filemaps_drop_unlinked(struct filemaps *filemaps)
{
	struct filemap *gone = NULL, *fm, *next;

	pthread_mutex_lock(&filemaps->list_lock);
	for (fm = filemaps->first; fm; fm = next) {
		next = fm->next;
		if (!is_unlinked_and_unused(fm))
			continue;
		list_remove(fm);
		fm->next = gone;	/* unreachable: lookups need list_lock */
		gone = fm;
	}
	pthread_mutex_unlock(&filemaps->list_lock);
	for (fm = gone; fm; fm = next) {
		next = fm->next;
		vellum_mapping_put(fm->mapping);	/* the list's reference */
	}
	return gone != NULL;
}

bool filemap_reserve(struct filemaps *filemaps, struct memfd *memfd, uint64_t more)
{
	while (!memfd_reserve(memfd, more))
		if (!filemaps_drop_unlinked(filemaps))
			return false;
	return true;
}

/* --- the list --- */

/* list_lock held. */
static struct filemap *find_and_get(const struct filemaps *filemaps, dev_t dev, ino_t ino)
{
	for (struct filemap *fm = filemaps->first; fm; fm = fm->next)
		if (fm->dev == dev && fm->ino == ino) {
			vellum_mapping_get(fm->mapping);
			return fm;
		}
	return NULL;
}

struct filemap *filemap_find(const struct file *file)
{
	struct filemaps *filemaps = file->kernel->filemaps;
	struct filemap *fm;

	if (!file->regular || !__atomic_load_n(&filemaps->first, __ATOMIC_ACQUIRE))
		return NULL;
	pthread_mutex_lock(&filemaps->list_lock);
	fm = find_and_get(filemaps, file->dev, file->ino);
	pthread_mutex_unlock(&filemaps->list_lock);
	return fm;
}

struct filemap *filemap_begin_change(const struct file *file)
{
	pthread_rwlock_t *creation_lock = &file->kernel->filemaps->creation_lock;
	struct filemap *fm = filemap_find(file);

	if (fm)
		return fm;
	pthread_rwlock_rdlock(creation_lock);
	fm = filemap_find(file);
	if (fm)
		pthread_rwlock_unlock(creation_lock);
	return fm;
}

void filemap_end_change(const struct file *file, struct filemap *fm)
{
	if (fm)
		filemap_put(fm);
	else
		pthread_rwlock_unlock(&file->kernel->filemaps->creation_lock);
}

void filemap_put(struct filemap *fm)
{
	if (fm)
		vellum_mapping_put(fm->mapping);
}

struct filemap *filemap_of_mapping(struct filemaps *filemaps, const struct vellum_mapping *mapping)
{
	struct filemap *fm;

	pthread_mutex_lock(&filemaps->list_lock);
	fm = filemaps->first;
	while (fm && fm->mapping != mapping)
		fm = fm->next;
	if (fm)
		vellum_mapping_get(fm->mapping);
	pthread_mutex_unlock(&filemaps->list_lock);
	return fm;
}

/* If too many files are referenced only by the list: the oldest of them, with a reference. list_lock held. */
static struct filemap *get_excess(const struct filemaps *filemaps)
{
	struct filemap *oldest = NULL;
	unsigned n = 0;

	for (struct filemap *fm = filemaps->first; fm; fm = fm->next) {
		struct vellum_mapping_info info = { .size = sizeof(info) };

		vellum_mapping_info(fm->mapping, &info);
		if (info.nr_refs == 1) {
			oldest = fm;
			n++;
		}
	}
	if (n <= MAX_UNUSED)
		return NULL;
	vellum_mapping_get(oldest->mapping);
	return oldest;
}

/*
 * Write the file back and remove it from the list. Consumes a reference. The file stays if a page cannot be written, or
 * if another thread took a reference: that thread is about to map the file, which must not get a second mapping.
 */
static void evict_if_unused(struct filemap *fm)
{
	struct filemaps *filemaps = fm->owner;
	struct vellum_mapping_info info = { .size = sizeof(info) };
	bool gone;

	vellum_mapping_writeback(fm->mapping, 0, ~0ull, NULL);
	pthread_mutex_lock(&filemaps->list_lock);
	vellum_mapping_info(fm->mapping, &info);
	gone = info.nr_refs == 2 && !info.nr_dirty;	/* the list's and this one; others are taken under list_lock */
	if (gone)
		list_remove(fm);
	pthread_mutex_unlock(&filemaps->list_lock);
	if (gone)
		vellum_mapping_put(fm->mapping);	/* the list's reference */
	filemap_put(fm);
}

/*
 * Open the file of a descriptor again. A duplicate would keep the program's locks after the program has closed its
 * descriptor. It is used only if the rights of the file were changed and open(2) fails. *@own: it is no duplicate.
 * Return: -1 if both fail.
 */
static int open_for_filemap(int host_fd, int flags, bool *own)
{
	int fd;

	*own = false;
	if (!hostfd_reserve(1)) {
		errno = ENFILE;
		return -1;
	}
	fd = fd_reopen(host_fd, flags);
	*own = fd >= 0;
	if (fd < 0)
		fd = fcntl(host_fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		hostfd_release(1);
	return fd;
}

/* The current path of a descriptor, for reports. */
static void path_of_fd(int fd, char name[ABI_MAX_NAME])
{
	char link[FD_NAME_BYTES];
	ssize_t n = readlink(path_fd_name(fd, link), name, ABI_MAX_NAME - 1);
	name[n > 0 ? n : 0] = 0;
}

bool file_system_is(int fd, long type)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && (long)fs.f_type == type;
}

static struct filemap *new_filemap(struct filemaps *filemaps, int host_fd, const struct stat *st)
{
	struct filemap *fm = calloc(1, sizeof(*fm));
	bool own;
	int seals;

	if (!fm)
		return NULL;
	fm->dev = st->st_dev;
	fm->ino = st->st_ino;
	fm->memfd = memfd_get(&filemaps->memfds, st->st_dev, st->st_ino);
	fm->write_fd = -1;
	fm->limit = (uint64_t)st->st_size;
	path_of_fd(host_fd, fm->path);
	fm->fd = open_for_filemap(host_fd, O_RDONLY, &own);
	fm->in_memory = own && file_system_is(fm->fd, TMPFS_MAGIC);
	if (fm->fd < 0 || filemap_note_init(fm) ||
	    vellum_mapping_create(filemaps->memory, fm->in_memory ? &filemap_memory_ops : &filemap_ops, fm, 1,
				  VELLUM_MAPPING_WRITEBACK | VELLUM_MAPPING_READ_AHEAD, &fm->mapping)) {
		if (fm->fd >= 0) {
			close(fm->fd);
			hostfd_release(1);
		}
		memfd_put(fm->memfd);
		free(fm);
		return NULL;
	}
	fm->owner = filemaps;
	__atomic_fetch_add(&filemaps->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_init(&fm->size_lock, NULL);
	pthread_mutex_init(&fm->io_lock, NULL);
	vellum_mapping_set_size(fm->mapping, (uint64_t)st->st_size);
	seals = fcntl(host_fd, F_GET_SEALS);
	if (seals > 0)
		vellum_mapping_add_seals(fm->mapping, (uint32_t)seals & CORE_SEALS);
	return fm;
}

void filemaps_for_each(struct filemaps *filemaps, void (*fn)(void *arg, const struct filemap *fm), void *arg)
{
	pthread_mutex_lock(&filemaps->list_lock);
	for (const struct filemap *fm = filemaps->first; fm; fm = fm->next)
		fn(arg, fm);
	pthread_mutex_unlock(&filemaps->list_lock);
}

void filemap_revalidate_file(const struct file *file)
{
	struct filemap *fm = filemap_find(file);

	if (!fm)
		return;
	filemap_revalidate(fm);
	filemap_put(fm);
}

/* The program's own descriptor is not used: O_APPEND may be set on it. */
int filemap_open_for_writing(struct filemap *fm, int host_fd)
{
	int fd = -1, err = 0;
	bool own;

	pthread_mutex_lock(&fm->io_lock);
	if (fm->write_fd < 0) {
		fd = open_for_filemap(host_fd, O_RDWR, &own);
		err = fd < 0 ? -errno : 0;
		fm->write_fd = fd;
	}
	pthread_mutex_unlock(&fm->io_lock);
	if (fd >= 0)
		filemaps_count_writable(fm->owner, 1);
	return err;
}

/* Find or create the filemap. creation_lock keeps host calls from changing the file meanwhile. 0 or -errno. */
static int add_filemap(struct filemaps *filemaps, int host_fd, struct filemap **out)
{
	struct filemap *fm, *old = NULL;
	struct stat st;
	int err = 0;

	pthread_rwlock_wrlock(&filemaps->creation_lock);
	if (fstat(host_fd, &st)) {
		err = -errno;
		pthread_rwlock_unlock(&filemaps->creation_lock);
		return err;
	}
	pthread_mutex_lock(&filemaps->list_lock);
	fm = find_and_get(filemaps, st.st_dev, st.st_ino);	/* another thread may have created it */
	if (!fm) {
		fm = new_filemap(filemaps, host_fd, &st);
		if (fm) {
			vellum_mapping_get(fm->mapping);	/* one reference of the list, one of the caller */
			fm->next = filemaps->first;
			__atomic_store_n(&filemaps->first, fm, __ATOMIC_RELEASE);
			old = get_excess(filemaps);
		}
	}
	pthread_mutex_unlock(&filemaps->list_lock);
	pthread_rwlock_unlock(&filemaps->creation_lock);
	if (old)
		evict_if_unused(old);
	*out = fm;
	return fm ? 0 : -ENOMEM;
}

int filemap_get(struct kernel *k, int host_fd, bool for_writing, struct vellum_mapping **out)
{
	struct filemaps *filemaps = k->filemaps;
	struct filemap *fm;
	struct stat st;
	int err = 0;

	if (fstat(host_fd, &st))
		return -errno;
	pthread_mutex_lock(&filemaps->list_lock);
	fm = find_and_get(filemaps, st.st_dev, st.st_ino);
	pthread_mutex_unlock(&filemaps->list_lock);
	if (fm)
		filemap_revalidate(fm);
	else
		err = add_filemap(filemaps, host_fd, &fm);
	if (err)
		return err;
	err = for_writing ? filemap_open_for_writing(fm, host_fd) : 0;
	if (err)
		filemap_put(fm);
	else
		*out = fm->mapping;
	return err;
}

/* --- iterate over all files --- */

/* The file after @prev, referenced. Drops the reference of @prev. */
static struct filemap *next_filemap(struct filemaps *filemaps, struct filemap *prev)
{
	struct filemap *fm;

	pthread_mutex_lock(&filemaps->list_lock);
	fm = filemaps->first;
	if (prev) {
		/* If @prev was removed from the list, begin again: files that were done are clean. */
		for (struct filemap *at = filemaps->first; at; at = at->next)
			if (at == prev)
				fm = at->next;
	}
	if (fm)
		vellum_mapping_get(fm->mapping);
	pthread_mutex_unlock(&filemaps->list_lock);
	filemap_put(prev);
	return fm;
}

void filemaps_sync(struct filemaps *filemaps)
{
	struct filemap *fm = NULL;

	while ((fm = next_filemap(filemaps, fm)))
		vellum_mapping_sync(fm->mapping, 0, ~0ull);
}

void filemaps_writeback_unmapped(struct filemaps *filemaps)
{
	struct filemap *fm = NULL;

	if (!filemaps_have_writable(filemaps))
		return;
	while ((fm = next_filemap(filemaps, fm)))
		vellum_mapping_writeback_unmapped(fm->mapping);
}

/* --- the background writeback --- */

static void *flush_thread(void *arg)
{
	struct filemaps *filemaps = arg;

	pthread_mutex_lock(&filemaps->flusher_lock);
	while (!filemaps->flusher_stop) {
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += FLUSH_SECONDS;
		pthread_cond_timedwait(&filemaps->flusher_wake, &filemaps->flusher_lock, &until);
		if (filemaps->flusher_stop)
			break;
		pthread_mutex_unlock(&filemaps->flusher_lock);
		vellum_writeback_step(filemaps->memory, 0);
		filemaps_drop_unlinked(filemaps);
		pthread_mutex_lock(&filemaps->flusher_lock);
	}
	pthread_mutex_unlock(&filemaps->flusher_lock);
	return NULL;
}

struct filemaps *filemaps_start(struct kernel *k)
{
	struct filemaps *filemaps = calloc(1, sizeof(*filemaps));
	struct vellum_memory_info info = { .size = sizeof(info) };
	struct vellum_swap_info swap = { .size = sizeof(swap) };
	pthread_rwlockattr_t rwlock_attr;
	pthread_condattr_t attr;

	if (!filemaps)
		return NULL;
	filemaps->refs = 1;
	filemaps->memory = k->args->memory;
	vellum_memory_info(filemaps->memory, &info);
	vellum_swap_info(filemaps->memory, &swap);
	memfds_init(&filemaps->memfds, (info.nr_frames + swap.nr_slots) * VELLUM_PAGE_SIZE);
	pthread_mutex_init(&filemaps->list_lock, NULL);
	pthread_rwlockattr_init(&rwlock_attr);
	pthread_rwlockattr_setkind_np(&rwlock_attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(&filemaps->creation_lock, &rwlock_attr);
	pthread_rwlockattr_destroy(&rwlock_attr);
	pthread_mutex_init(&filemaps->flusher_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&filemaps->flusher_wake, &attr);
	pthread_condattr_destroy(&attr);
	filemaps->flusher_runs = pthread_create(&filemaps->flusher, NULL, flush_thread, filemaps) == 0;
	return filemaps;
}

/* A page that cannot be written now is lost. */
static void writeback_and_report(struct filemap *fm)
{
	char path[PRINTABLE_BYTES(sizeof(fm->path))];
	struct vellum_mapping_info info = { .size = sizeof(info) };

	vellum_mapping_writeback(fm->mapping, 0, ~0ull, NULL);
	vellum_mapping_info(fm->mapping, &info);
	if (info.nr_dirty && fm->write_fd >= 0)
		fprintf(stderr, "vellum: %s: stores to %llu mapped pages are lost, as the file cannot be written: %s\n",
			printable(fm->path, path, sizeof(path)), (unsigned long long)info.nr_dirty,
			strerror(fm->failure));
}

void filemaps_stop(struct filemaps *filemaps)
{
	struct filemap *fm;

	pthread_mutex_lock(&filemaps->flusher_lock);
	filemaps->flusher_stop = true;
	pthread_cond_signal(&filemaps->flusher_wake);
	pthread_mutex_unlock(&filemaps->flusher_lock);
	if (filemaps->flusher_runs)
		pthread_join(filemaps->flusher, NULL);
	while ((fm = filemaps->first)) {
		writeback_and_report(fm);
		list_remove(fm);
		vellum_mapping_put(fm->mapping);
	}
	filemaps_put(filemaps);
}
