/* SPDX-License-Identifier: MIT */
/*
 * abi/filemap.h - host files that are mapped, or were lately: one object each, by device and inode.
 *
 * What programs inside read and write goes through the object's cached pages, so all of them see
 * the same bytes at once. The host's file gets what was stored through shared mappings at msync,
 * fsync, sync, the last unmap, exit, and every few seconds. What other host processes do to the file is
 * noticed when it is mapped or opened next: by size and times, or, where a time may be too coarse, by bytes.
 */
#ifndef ABI_FILEMAP_H
#define ABI_FILEMAP_H

#include "abi/bounce.h"
#include "abi/task.h"
#include "vellum/backing.h"

/*
 * Locks, outermost first:
 *   creation_lock	(filemap.c) a file gets its object, or a call goes to the host past the list
 *   size_lock	changes of the file's size: write(2), truncate(2), fallocate(2)
 *   (the core's locks, as its hooks are called with some)
 *   io_lock	the host's file and cached pages agree: a page is read in or written back, or
 *		both are changed
 * list_lock of struct filemaps is a leaf beside them.
 */
/* How a file was at some moment: what tells that others changed it since. */
struct file_note {
	uint64_t size;
	uint64_t mtime, ctime;	/* ns, to compare */
	/* It may change once more without another time of change: only its bytes can tell. */
	bool racy;
};

/* Seals that the core enforces; the host has one more. */
#define CORE_SEALS (VELLUM_SEAL_SEAL | VELLUM_SEAL_SHRINK | VELLUM_SEAL_GROW | VELLUM_SEAL_WRITE | \
		    VELLUM_SEAL_FUTURE_WRITE)

struct filemap {
	struct filemaps *owner;		/* referenced */
	struct filemap *next;		/* owner's list_lock */
	struct vellum_mapping *mapping;	/* one reference while in the list; from it, its ctx is us */
	dev_t dev;
	ino_t ino;
	int fd;				/* for reading */
	pthread_mutex_t size_lock, io_lock;
	int write_fd;			/* io_lock; -1: never mapped shared for writing */
	struct memfd *memfd;		/* its account, referenced, or NULL */
	uint64_t limit;			/* io_lock: the host file's size: nothing is written beyond */
	bool fine_times;		/* each change after a look gets a time of its own */
	struct file_note note;		/* io_lock: as last looked at, or left by ourselves */
	char *sealed_map;			/* io_lock; F_SEAL_FUTURE_WRITE: mapped before; never stored to by ourselves */
	size_t sealed_len;
	uint64_t nr_failed;		/* io_lock: pages that could not be written and are dirty still */
	int failure;			/* errno of the last of them */
	char path[ABI_MAX_NAME];
};

extern const struct vellum_backing_ops filemap_ops;	/* filemap_ops.c */

/* The object for an open file, for mmap: a reference to its mapping. 0 or negative errno. */
int filemap_get(struct kernel *k, int host_fd, bool for_writing, struct vellum_mapping **out);

/* The object of a regular file, if it has one: with a reference on its mapping. NULL: none. */
struct filemap *filemap_find(const struct file *file);
/* The file whose object it is, referenced; NULL: it is no file's. */
struct filemap *filemap_of_mapping(struct filemaps *filemaps, const struct vellum_mapping *mapping);
void filemap_put(struct filemap *fm);
/* The same for a call that changes the file. If it has none, it gets none before filemap_end_change(). */
struct filemap *filemap_begin_change(const struct file *file);
void filemap_end_change(const struct file *file, struct filemap *fm);

/* Lets go of files that nobody has a name for any more, nor maps. True: there were some. */
bool filemaps_drop_unlinked(struct filemaps *filemaps);
/* memfd_reserve(), and again as long as that makes room. */
bool filemap_reserve(struct filemaps *filemaps, struct memfd *memfd, uint64_t more);

/* --- filemap_note.c: did others change the file? --- */
int filemap_note_init(struct filemap *fm);	/* 0, or -1: the file cannot be looked at */
/*
 * Around what we do to the host's file: unless others changed it too, that is nothing to notice later.
 * io_lock held. The first returns what the second wants.
 */
bool filemap_note_begin(struct filemap *fm);
void filemap_note_end(struct filemap *fm, bool was_unchanged);
/* Changed by others since we looked: what is cached and clean is not the file's any more. */
void filemap_revalidate(struct filemap *fm);

/* The list of @k's files, empty, and the background step that writes them back. NULL: no memory. */
struct filemaps *filemaps_start(struct kernel *k);
/* Stop the background step, write all files back, empty the list. The list is freed with its last mapping. */
void filemaps_stop(struct filemaps *filemaps);
struct memfds *filemaps_memfds(struct filemaps *filemaps);
void filemaps_put(struct filemaps *filemaps);
void filemaps_count_writable(struct filemaps *filemaps, int change);
/* After an unmap: write back files that no mapping can store to any more. */
void filemaps_writeback_unmapped(struct filemaps *filemaps);
void filemaps_sync(struct filemaps *filemaps);

/* filemap_io.c: system calls on a file that may be mapped; as the host's calls, but negative errno */
int64_t filemap_read(const struct file *file, struct bounce *b, int64_t offset);	/* offset -1: its own */
int64_t filemap_write(const struct file *file, const struct bounce *b, size_t len, int64_t offset);
int filemap_truncate(const struct file *file, off_t size);
int filemap_fallocate(const struct file *file, int mode, off_t offset, off_t len);
int filemap_fsync(const struct file *file, bool data_only);
int filemap_add_seals(const struct file *file, unsigned seals);
void filemap_revalidate_file(const struct file *file);
/* The file's bytes as a program would find them, 0 beyond the end. */
void filemap_read_page(struct filemap *fm, uint64_t pgoff, void *buf);

#endif
