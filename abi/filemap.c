/* SPDX-License-Identifier: MIT */
/* abi/filemap.c - the list of mapped files, and the background step; see filemap.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "abi/filemap.h"
#include "abi/memfd.h"
#include "abi/text.h"

#define MAX_KEPT 64		/* files that nobody maps any more */
#define STEP_SECONDS 5		/* between background steps, as Linux has it */

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
/* Held for reading by calls that go to the host past the list, for writing where a file gets its object. */
static pthread_rwlock_t creation_lock = PTHREAD_RWLOCK_WRITER_NONRECURSIVE_INITIALIZER_NP;
static struct filemap *filemaps;	/* list_lock */
unsigned filemap_nr_writable;

/* --- files that are gone --- */

static void unlist(struct filemap *fm)
{
	struct filemap **at = &filemaps;

	while (*at != fm)
		at = &(*at)->next;
	__atomic_store_n(at, fm->next, __ATOMIC_RELEASE);
}

/* Only the list knows it, it has no name, and all is written: keeping it would only keep its room. */
static bool is_gone(const struct filemap *fm)
{
	struct vellum_mapping_info info;
	struct stat st;

	vellum_mapping_info(fm->mapping, &info);
	return info.nr_refs == 1 && !info.nr_dirty && fstat(fm->fd, &st) == 0 && st.st_nlink == 0;
}

bool filemap_make_room(void)
{
	struct filemap *gone = NULL, *fm, *next;

	pthread_mutex_lock(&list_lock);
	for (fm = filemaps; fm; fm = next) {
		next = fm->next;
		if (!is_gone(fm))
			continue;
		unlist(fm);
		fm->next = gone;	/* nobody is in the list's lock, so nobody is at it */
		gone = fm;
	}
	pthread_mutex_unlock(&list_lock);
	for (fm = gone; fm; fm = next) {
		next = fm->next;
		vellum_mapping_put(fm->mapping);	/* the list's */
	}
	return gone != NULL;
}

bool filemap_reserve(struct memfd *memfd, uint64_t more)
{
	while (!memfd_reserve(memfd, more))
		if (!filemap_make_room())
			return false;
	return true;
}

/* --- the list --- */

/* With a reference. list_lock held. */
static struct filemap *find(dev_t dev, ino_t ino)
{
	for (struct filemap *fm = filemaps; fm; fm = fm->next)
		if (fm->dev == dev && fm->ino == ino) {
			vellum_mapping_get(fm->mapping);
			return fm;
		}
	return NULL;
}

struct filemap *filemap_find(const struct file *file)
{
	struct filemap *fm;

	if (!file->regular || !__atomic_load_n(&filemaps, __ATOMIC_ACQUIRE))
		return NULL;
	pthread_mutex_lock(&list_lock);
	fm = find(file->dev, file->ino);
	pthread_mutex_unlock(&list_lock);
	return fm;
}

struct filemap *filemap_begin(const struct file *file)
{
	struct filemap *fm = filemap_find(file);

	if (fm)
		return fm;
	pthread_rwlock_rdlock(&creation_lock);
	fm = filemap_find(file);
	if (fm)
		pthread_rwlock_unlock(&creation_lock);
	return fm;
}

void filemap_end(struct filemap *fm)
{
	if (fm)
		filemap_put(fm);
	else
		pthread_rwlock_unlock(&creation_lock);
}

void filemap_put(struct filemap *fm)
{
	if (fm)
		vellum_mapping_put(fm->mapping);
}

struct filemap *filemap_of(const struct vellum_mapping *mapping)
{
	struct filemap *fm;

	pthread_mutex_lock(&list_lock);
	fm = filemaps;
	while (fm && fm->mapping != mapping)
		fm = fm->next;
	if (fm)
		vellum_mapping_get(fm->mapping);
	pthread_mutex_unlock(&list_lock);
	return fm;
}

/* Of files that only the list knows: the one that came first, if there are too many. list_lock held; referenced. */
static struct filemap *too_many(void)
{
	struct filemap *oldest = NULL;
	unsigned n = 0;

	for (struct filemap *fm = filemaps; fm; fm = fm->next) {
		struct vellum_mapping_info info;

		vellum_mapping_info(fm->mapping, &info);
		if (info.nr_refs == 1) {
			oldest = fm;
			n++;
		}
	}
	if (n <= MAX_KEPT)
		return NULL;
	vellum_mapping_get(oldest->mapping);
	return oldest;
}

/*
 * One file less, its dirty pages written first; a file that can't be written stays. So does one that
 * somebody else has a reference on: he is about to map it, and the file must not get a second object.
 */
static void evict(struct filemap *fm)
{
	struct vellum_mapping_info info;
	bool gone;

	vellum_mapping_writeback(fm->mapping, 0, ~0ull, NULL);
	pthread_mutex_lock(&list_lock);
	vellum_mapping_info(fm->mapping, &info);
	gone = info.nr_refs == 2 && !info.nr_dirty;	/* the list's and ours; new ones come from the list */
	if (gone)
		unlist(fm);
	pthread_mutex_unlock(&list_lock);
	if (gone)
		vellum_mapping_put(fm->mapping);	/* the list's */
	filemap_put(fm);
}

/*
 * The file of a descriptor, opened anew: one that shared the program's own would keep its locks when the
 * program has closed it. Where rights have changed since, a shared one has to do.
 */
static int open_again(int host_fd, int flags)
{
	char link[64];
	int fd;

	if (!hostfd_take(1)) {
		errno = ENFILE;
		return -1;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", host_fd);
	fd = open(link, flags | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		fd = fcntl(host_fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		hostfd_give(1);
	return fd;
}

/* What the path of a descriptor is now; for reports. */
static void name_of(int fd, char name[ABI_MAX_NAME])
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name, ABI_MAX_NAME - 1);
	name[n > 0 ? n : 0] = 0;
}

static struct filemap *new_filemap(struct kernel *k, int host_fd, const struct stat *st)
{
	struct filemap *fm = calloc(1, sizeof(*fm));
	int seals;

	if (!fm)
		return NULL;
	fm->dev = st->st_dev;
	fm->ino = st->st_ino;
	fm->memfd = memfd_get(st->st_dev, st->st_ino);
	fm->write_fd = -1;
	fm->limit = (uint64_t)st->st_size;
	name_of(host_fd, fm->path);
	fm->fd = open_again(host_fd, O_RDONLY);
	if (fm->fd < 0 || filemap_note_init(fm) || vellum_mapping_create(k->args->memory, &filemap_ops, fm, 1,
						VELLUM_MAPPING_WRITEBACK, &fm->mapping)) {
		if (fm->fd >= 0) {
			close(fm->fd);
			hostfd_give(1);
		}
		memfd_put(fm->memfd);
		free(fm);
		return NULL;
	}
	pthread_mutex_init(&fm->size_lock, NULL);
	pthread_mutex_init(&fm->io_lock, NULL);
	vellum_mapping_set_size(fm->mapping, (uint64_t)st->st_size);
	seals = fcntl(host_fd, F_GET_SEALS);
	if (seals > 0)
		vellum_mapping_add_seals(fm->mapping, (uint32_t)seals & 0x1f);
	return fm;
}

void filemap_opened(const struct file *file)
{
	struct filemap *fm = filemap_find(file);

	if (!fm)
		return;
	filemap_revalidate(fm);
	filemap_put(fm);
}

/*
 * A descriptor of our own to write through: the program's may come to append. 0 or a negative errno.
 */
static int make_writable(struct filemap *fm, int host_fd)
{
	int fd = -1, err = 0;

	pthread_mutex_lock(&fm->io_lock);
	if (fm->write_fd < 0) {
		fd = open_again(host_fd, O_RDWR);
		err = fd < 0 ? -errno : 0;
		fm->write_fd = fd;
	}
	pthread_mutex_unlock(&fm->io_lock);
	if (fd >= 0)
		__atomic_fetch_add(&filemap_nr_writable, 1, __ATOMIC_RELAXED);
	return err;
}

/* The file's object, made: no call that goes past the list changes the file meanwhile. 0 or -errno. */
static int add_filemap(struct kernel *k, int host_fd, struct filemap **out)
{
	struct filemap *fm, *old = NULL;
	struct stat st;
	int err = 0;

	pthread_rwlock_wrlock(&creation_lock);
	if (fstat(host_fd, &st)) {
		err = -errno;
		pthread_rwlock_unlock(&creation_lock);
		return err;
	}
	pthread_mutex_lock(&list_lock);
	fm = find(st.st_dev, st.st_ino);	/* another was first */
	if (!fm) {
		fm = new_filemap(k, host_fd, &st);
		if (fm) {
			vellum_mapping_get(fm->mapping);	/* the list's and the caller's */
			fm->next = filemaps;
			__atomic_store_n(&filemaps, fm, __ATOMIC_RELEASE);
			old = too_many();
		}
	}
	pthread_mutex_unlock(&list_lock);
	pthread_rwlock_unlock(&creation_lock);
	if (old)
		evict(old);
	*out = fm;
	return fm ? 0 : -ENOMEM;
}

int filemap_get(struct kernel *k, int host_fd, bool for_writing, struct vellum_mapping **out)
{
	struct filemap *fm;
	struct stat st;
	int err = 0;

	if (fstat(host_fd, &st))
		return -errno;
	pthread_mutex_lock(&list_lock);
	fm = find(st.st_dev, st.st_ino);
	pthread_mutex_unlock(&list_lock);
	if (fm)
		filemap_revalidate(fm);
	else
		err = add_filemap(k, host_fd, &fm);
	if (err)
		return err;
	err = for_writing ? make_writable(fm, host_fd) : 0;
	if (err)
		filemap_put(fm);
	else
		*out = fm->mapping;
	return err;
}

/* --- all files, one after the other --- */

/* The one after @prev, referenced; @prev's reference is dropped. */
static struct filemap *next_filemap(struct filemap *prev)
{
	struct filemap *fm;

	pthread_mutex_lock(&list_lock);
	fm = filemaps;
	if (prev) {
		/* It may have left the list: then we begin anew, with what is clean by now. */
		for (struct filemap *at = filemaps; at; at = at->next)
			if (at == prev)
				fm = at->next;
	}
	if (fm)
		vellum_mapping_get(fm->mapping);
	pthread_mutex_unlock(&list_lock);
	filemap_put(prev);
	return fm;
}

void filemap_sync_all(void)
{
	struct filemap *fm = NULL;

	while ((fm = next_filemap(fm)))
		vellum_mapping_sync(fm->mapping, 0, ~0ull);
}

void filemap_unmapped(void)
{
	struct filemap *fm = NULL;

	if (!__atomic_load_n(&filemap_nr_writable, __ATOMIC_RELAXED))
		return;
	while ((fm = next_filemap(fm)))
		vellum_mapping_writeback_unmapped(fm->mapping);
}

/* --- the background step --- */

static struct {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool running, stop;		/* lock */
	struct vellum_memory *memory;
} flusher = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void *flush_thread(void *arg)
{
	(void)arg;
	pthread_mutex_lock(&flusher.lock);
	while (!flusher.stop) {
		struct timespec until;

		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += STEP_SECONDS;
		pthread_cond_timedwait(&flusher.wake, &flusher.lock, &until);
		if (flusher.stop)
			break;
		pthread_mutex_unlock(&flusher.lock);
		vellum_writeback_step(flusher.memory, 0);
		filemap_make_room();
		pthread_mutex_lock(&flusher.lock);
	}
	pthread_mutex_unlock(&flusher.lock);
	return NULL;
}

void filemap_start(struct kernel *k)
{
	pthread_condattr_t attr;

	flusher.memory = k->args->memory;
	flusher.stop = false;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&flusher.wake, &attr);
	pthread_condattr_destroy(&attr);
	flusher.running = pthread_create(&flusher.thread, NULL, flush_thread, NULL) == 0;
}

/* A page that cannot be written is lost when we leave: say so. */
static void write_last(struct filemap *fm)
{
	char path[PRINTABLE_BYTES(sizeof(fm->path))];
	struct vellum_mapping_info info;

	vellum_mapping_writeback(fm->mapping, 0, ~0ull, NULL);
	vellum_mapping_info(fm->mapping, &info);
	if (info.nr_dirty && fm->write_fd >= 0)
		fprintf(stderr, "vellum: %s: %llu pages stored through a mapping could not be written: %s\n",
			printable(fm->path, path, sizeof(path)), (unsigned long long)info.nr_dirty, strerror(fm->failure));
}

void filemap_stop(void)
{
	struct filemap *fm;

	pthread_mutex_lock(&flusher.lock);
	flusher.stop = true;
	if (flusher.running)
		pthread_cond_signal(&flusher.wake);
	pthread_mutex_unlock(&flusher.lock);
	if (flusher.running)
		pthread_join(flusher.thread, NULL);
	flusher.running = false;
	while ((fm = filemaps)) {
		write_last(fm);
		unlist(fm);
		vellum_mapping_put(fm->mapping);
	}
}
