/* SPDX-License-Identifier: MIT */
/*
 * abi/filemap_note.c - detect changes of a file by other processes: by size and times, and by bytes if the times may
 * not show a change.
 *
 * The clock of a file system has ticks. Two changes within a tick leave the same times, so a check between them does
 * not show the second one. Such a note is racy until the file's bytes were compared after the tick.
 */
#define _GNU_SOURCE
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <time.h>

#include "abi/filemap.h"

#define TICK_NS		20000000	/* two ticks of the slowest clock of Linux */
#define FINE_TIMES_SINCE 6013	/* Linux 6.13, as 1000 * major + minor */
#define COARSE_NS	2100000000	/* for file systems whose times are multiples of 2 s */

/* Since Linux 6.13 these file systems give each change after an fstat(2) a new time. */
static bool has_fine_times(int fd)
{
	static const long fine[] = { EXT4_SUPER_MAGIC, TMPFS_MAGIC, BTRFS_SUPER_MAGIC, XFS_SUPER_MAGIC };
	static int kernel;	/* version, 1000 * major + minor; atomic */
	int version = __atomic_load_n(&kernel, __ATOMIC_RELAXED), major = 0, minor = 0;
	struct utsname u;
	struct statfs fs;

	if (!version) {
		if (uname(&u) == 0 && sscanf(u.release, "%d.%d", &major, &minor) == 2)
			version = 1000 * major + minor;
		__atomic_store_n(&kernel, version ? version : 1, __ATOMIC_RELAXED);
	}
	if (version < FINE_TIMES_SINCE || fstatfs(fd, &fs))
		return false;
	for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
		if ((long)fs.f_type == fine[i])
			return true;
	return false;
}

/* Only for comparison: times far from now wrap around. */
static uint64_t timestamp_ns(const struct timespec *ts)
{
	return (uint64_t)ts->tv_sec * NS_PER_SEC + (uint64_t)ts->tv_nsec;
}

/* 0 or -1. */
static int read_note(const struct filemap *fm, struct file_note *note)
{
	struct timespec before;
	struct stat st;

	clock_gettime(CLOCK_REALTIME_COARSE, &before);
	if (fstat(fm->fd, &st))
		return -1;
	*note = (struct file_note){ .size = (uint64_t)st.st_size, .mtime = timestamp_ns(&st.st_mtim),
				    .ctime = timestamp_ns(&st.st_ctim) };
	note->racy = !fm->fine_times &&
		     (int64_t)(timestamp_ns(&before) - note->ctime) < (st.st_ctim.tv_nsec ? TICK_NS : COARSE_NS);
	return 0;
}

int filemap_note_init(struct filemap *fm)
{
	fm->fine_times = has_fine_times(fm->fd);
	return read_note(fm, &fm->note);
}

static bool same_size_and_mtime(const struct file_note *a, const struct file_note *b)
{
	return a->size == b->size && a->mtime == b->mtime;
}

bool filemap_note_begin(struct filemap *fm)
{
	struct file_note now;

	if (read_note(fm, &now) || !same_size_and_mtime(&now, &fm->note))
		return false;
	fm->note.racy |= now.ctime != fm->note.ctime;
	return true;
}

/* The note stays racy: another process may have changed the file before. */
void filemap_note_end(struct filemap *fm, bool was_unchanged)
{
	bool racy = fm->note.racy;

	if (!was_unchanged || read_note(fm, &fm->note))
		return;
	fm->note.racy |= racy;
}

/* size_lock held. *@size: the current size. */
static bool is_changed(struct filemap *fm, uint64_t *size)
{
	bool differs = false, doubtful = false;
	struct file_note now;

	pthread_mutex_lock(&fm->io_lock);
	if (read_note(fm, &now) == 0) {
		differs = !same_size_and_mtime(&now, &fm->note);
		/* Every process may set mtime. A change of names or rights changes ctime, too. */
		doubtful = fm->note.racy || now.ctime != fm->note.ctime;
		if (differs)
			fm->limit = now.size;
		if (differs || doubtful)
			fm->note = now;
		*size = now.size;
	}
	pthread_mutex_unlock(&fm->io_lock);
	return differs || (doubtful && vellum_mapping_is_stale(fm->mapping));
}

void filemap_revalidate(struct filemap *fm)
{
	uint64_t size;

	pthread_mutex_lock(&fm->size_lock);
	if (is_changed(fm, &size)) {
		vellum_mapping_set_size(fm->mapping, size);
		vellum_mapping_invalidate(fm->mapping);
	}
	pthread_mutex_unlock(&fm->size_lock);
}
