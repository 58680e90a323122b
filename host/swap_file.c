/* SPDX-License-Identifier: MIT */
/* host/swap_file.c - a swap area in a file: slot n is its n-th page. */
#define _GNU_SOURCE
#include "vellum/swap_backends.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vellum/errno.h"

#define EXPORT __attribute__((visibility("default")))
#define PAGE 4096u
#define MAX_SLOTS (1ull << 40)
#define BATCH 512u	/* slots; each hole costs a system call and a change of the file's extents */

struct vellum_swap_file {
	int fd;
	uint64_t nr_slots;
	pthread_mutex_t lock;
	pthread_cond_t punched;		/* nr_punching became 0 */
	/* lock protects: */
	uint64_t *freed;		/* a bit per slot: freed, and not written or punched since */
	unsigned nr_batch;
	uint64_t batch[BATCH];		/* all slots whose bit in freed is set, and some whose bit was cleared since */
	unsigned nr_punching;
	uint64_t punching[BATCH];	/* sorted; a thread punches these without the lock */
	bool no_holes;			/* the file system does not support holes */
};

static int error_of(int err)
{
	switch (err) {
	case ENOENT:
	case EACCES:
	case EPERM:
	case ENOMEM:
		return -err;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return -VELLUM_ENOSPC;
	default:
		return -VELLUM_EIO;
	}
}

static off_t offset_of(uint64_t slot)
{
	return (off_t)(slot * PAGE);
}

/* --- holes --- */

static int compare_slots(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static bool change_freed(struct vellum_swap_file *file, uint64_t slot, bool freed)
{
	uint64_t bit = 1ull << slot % 64, *word = &file->freed[slot / 64];
	bool was = *word & bit;

	*word = freed ? *word | bit : *word & ~bit;
	return was != freed;
}

static int punch(struct vellum_swap_file *file, uint64_t slot, uint64_t nr)
{
	int r;

	do
		r = fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset_of(slot),
			      (off_t)(nr * PAGE));
	while (r && errno == EINTR);
	return r ? errno : 0;
}

/*
 * Neighbouring slots become one hole. Errors are ignored: the file then keeps the bytes until the slot is written
 * again. False: the file system does not support holes.
 */
static bool punch_runs(struct vellum_swap_file *file)
{
	unsigned first = 0;

	for (unsigned i = 1; i <= file->nr_punching; i++) {
		if (i < file->nr_punching && file->punching[i] == file->punching[i - 1] + 1)
			continue;
		if (punch(file, file->punching[first], i - first) == EOPNOTSUPP)
			return false;
		first = i;
	}
	return true;
}

/* Called with the lock held. Releases it while it punches, so that reads, and writes of other slots, can continue. */
static void punch_batch(struct vellum_swap_file *file)
{
	bool holes;

	while (file->nr_punching)
		pthread_cond_wait(&file->punched, &file->lock);
	qsort(file->batch, file->nr_batch, sizeof(file->batch[0]), compare_slots);
	for (unsigned i = 0; i < file->nr_batch; i++)
		if (change_freed(file, file->batch[i], false))
			file->punching[file->nr_punching++] = file->batch[i];
	file->nr_batch = 0;
	pthread_mutex_unlock(&file->lock);
	holes = punch_runs(file);
	pthread_mutex_lock(&file->lock);
	file->nr_punching = 0;
	file->no_holes = !holes;
	pthread_cond_broadcast(&file->punched);
}

static void swap_file_free(void *ctx, uint64_t slot)
{
	struct vellum_swap_file *file = ctx;

	if (slot >= file->nr_slots)
		return;
	pthread_mutex_lock(&file->lock);
	while (file->nr_batch == BATCH)	/* the thread that filled it waits in punch_batch() */
		pthread_cond_wait(&file->punched, &file->lock);
	if (!file->no_holes && change_freed(file, slot, true)) {
		file->batch[file->nr_batch++] = slot;
		if (file->nr_batch == BATCH)
			punch_batch(file);
	}
	pthread_mutex_unlock(&file->lock);
}

/* When this returns, no hole is being punched in the slot, and none will be until it is freed again. */
static void keep_slot(struct vellum_swap_file *file, uint64_t slot)
{
	pthread_mutex_lock(&file->lock);
	change_freed(file, slot, false);
	while (file->nr_punching &&
	       bsearch(&slot, file->punching, file->nr_punching, sizeof(slot), compare_slots))
		pthread_cond_wait(&file->punched, &file->lock);
	pthread_mutex_unlock(&file->lock);
}

/* --- pages --- */

static int swap_file_write(void *ctx, uint64_t slot, const void *page)
{
	struct vellum_swap_file *file = ctx;
	size_t done = 0;

	if (slot >= file->nr_slots)
		return -VELLUM_EINVAL;
	keep_slot(file, slot);
	while (done < PAGE) {
		ssize_t n = pwrite(file->fd, (const char *)page + done, PAGE - done,
				   offset_of(slot) + (off_t)done);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)
			return n ? error_of(errno) : -VELLUM_EIO;
	}
	return 0;
}

static int swap_file_read(void *ctx, uint64_t slot, void *page)
{
	struct vellum_swap_file *file = ctx;
	size_t done = 0;

	if (slot >= file->nr_slots)
		return -VELLUM_EINVAL;
	while (done < PAGE) {
		ssize_t n = pread(file->fd, (char *)page + done, PAGE - done,
				  offset_of(slot) + (off_t)done);

		if (n > 0)
			done += (size_t)n;
		else if (n == 0 || errno != EINTR)	/* 0: the file ends before the slot does */
			return -VELLUM_EIO;
	}
	return 0;
}

EXPORT const struct vellum_swap_ops *vellum_swap_file_ops(void)
{
	static const struct vellum_swap_ops ops = {
		.size = sizeof(ops),
		.write = swap_file_write,
		.read = swap_file_read,
		.free = swap_file_free,
	};

	return &ops;
}

/* --- the area --- */

static int open_unnamed(const char *folder)
{
	char path[PATH_MAX];
	int fd;

	if (snprintf(path, sizeof(path), "%s/vellum-swap-XXXXXX", folder) >= (int)sizeof(path))
		return -VELLUM_EINVAL;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return error_of(errno);
	unlink(path);
	return fd;
}

/* Truncates only after flock(2): the file may hold the pages of another area that is in use. */
static int open_named(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
	int err = 0;

	if (fd < 0)
		return error_of(errno);
	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		err = -VELLUM_EINVAL;
	else if (flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
		err = -VELLUM_EBUSY;
	else if (ftruncate(fd, 0))
		err = error_of(errno);
	if (err)
		close(fd);
	return err ? err : fd;
}

static int open_area(const char *path)
{
	struct stat st;

	if (!path)
		path = secure_getenv("TMPDIR");
	if (!path || !*path)
		path = "/var/tmp";
	return stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? open_unnamed(path) : open_named(path);
}

EXPORT int vellum_swap_file_create(const char *path, uint64_t nr_slots, struct vellum_swap_file **out)
{
	struct vellum_swap_file *file;

	if (!out || !nr_slots || nr_slots > MAX_SLOTS)
		return -VELLUM_EINVAL;
	file = calloc(1, sizeof(*file));
	if (!file)
		return -VELLUM_ENOMEM;
	file->freed = calloc((nr_slots + 63) / 64, sizeof(file->freed[0]));
	file->fd = file->freed ? open_area(path) : -VELLUM_ENOMEM;
	if (file->fd < 0) {
		int err = file->fd;

		free(file->freed);
		free(file);
		return err;
	}
	file->nr_slots = nr_slots;
	pthread_mutex_init(&file->lock, NULL);
	pthread_cond_init(&file->punched, NULL);
	*out = file;
	return 0;
}

EXPORT void vellum_swap_file_destroy(struct vellum_swap_file *file)
{
	int err = ftruncate(file->fd, 0);

	(void)err;	/* if this fails, a named file keeps its blocks until it is removed */
	close(file->fd);
	pthread_cond_destroy(&file->punched);
	pthread_mutex_destroy(&file->lock);
	free(file->freed);
	free(file);
}

EXPORT uint64_t vellum_swap_file_bytes(const struct vellum_swap_file *file)
{
	struct stat st;

	return fstat(file->fd, &st) ? 0 : (uint64_t)st.st_blocks * 512;
}
