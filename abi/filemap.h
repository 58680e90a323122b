/* SPDX-License-Identifier: MIT */
/*
 * abi/filemap.h - host files that are mapped or were mapped recently: one mapping for each, found by device and inode.
 *
 * Reads and writes of programs go through the cached pages of the mapping, so all programs see the same bytes. Pages
 * that were stored to through shared mappings are written to the host's file at msync(2), fsync(2), sync(2), the last
 * munmap(2), exit, and every few seconds. Changes by other processes of the host are detected at the next mmap(2) or
 * open(2) of the file: by size and times, or by comparing bytes if the times are too coarse.
 */
#ifndef ABI_FILEMAP_H
#define ABI_FILEMAP_H

#include "abi/bounce.h"
#include "abi/task.h"
#include "vellum/backing.h"

/*
 * Locks, outermost first:
 *   creation_lock	(filemap.c) a mapping is created for a file, or a host call changes a file without a mapping
 *   size_lock	changes of the file's size: write(2), truncate(2), fallocate(2)
 *   (the core's locks: its hooks are called with some of them held)
 *   io_lock	a page is read in or written back, or the file and its cached pages are changed together
 * list_lock of struct filemaps is a leaf.
 */

/* The file's size and times when it was checked last. A difference shows that another process changed the file. */
struct file_note {
	uint64_t size;
	uint64_t mtime, ctime;	/* ns */
	/* A later change may leave the same times. Only a comparison of bytes detects it. */
	bool racy;
};

/* Seals that the core enforces. */
#define CORE_SEALS (VELLUM_SEAL_SEAL | VELLUM_SEAL_SHRINK | VELLUM_SEAL_GROW | VELLUM_SEAL_WRITE | \
		    VELLUM_SEAL_FUTURE_WRITE)

struct filemap {
	struct filemaps *owner;		/* referenced */
	struct filemap *next;		/* owner's list_lock */
	struct vellum_mapping *mapping;	/* the list holds a reference. The mapping's ctx is this structure */
	dev_t dev;
	ino_t ino;
	int fd;				/* of the host, for reading */
	pthread_mutex_t size_lock, io_lock;
	int write_fd;			/* io_lock; -1: never mapped shared for writing */
	bool in_memory;			/* a file of tmpfs, and the position of @fd may be moved */
	struct memfd *memfd;		/* the file's account, referenced, or NULL */
	uint64_t limit;			/* io_lock: size of the host's file. No writeback beyond it */
	bool fine_times;		/* the file system gives each change after an fstat(2) a new time */
	struct file_note note;		/* io_lock: after the last check or the last change by Vellum */
	char *sealed_map;		/* io_lock: mapped before F_SEAL_FUTURE_WRITE; the host's kernel stores to it */
	size_t sealed_len;
	uint64_t nr_failed;		/* io_lock: writes of pages that failed; the pages stay dirty */
	int failure;			/* errno of the last failed write */
	char path[ABI_MAX_NAME];
};

/* filemap_ops.c; the second one: of a file in the host's memory (tmpfs), whose holes a userfaultfd can wait for */
extern const struct vellum_backing_ops filemap_ops, filemap_memory_ops;

/* For mmap(2): find or create the mapping of an open file. @*out is referenced. 0 or a negative errno. */
int filemap_get(struct kernel *k, int host_fd, bool for_writing, struct vellum_mapping **out);

/* Open a descriptor for writeback, if there is none. 0 or a negative errno. */
int filemap_open_for_writing(struct filemap *fm, int host_fd);
/* The filemap of a regular file, with a reference on its mapping. NULL: the file has none. */
struct filemap *filemap_find(const struct file *file);
/* The filemap that a mapping belongs to, referenced. NULL: the mapping is not a file's. */
struct filemap *filemap_of_mapping(struct filemaps *filemaps, const struct vellum_mapping *mapping);
void filemap_put(struct filemap *fm);
/* As filemap_find(), for a call that changes the file. Until filemap_end_change() no filemap is created for it. */
struct filemap *filemap_begin_change(const struct file *file);
void filemap_end_change(const struct file *file, struct filemap *fm);

/* Drop files that have no name on the host and that no process maps. True: some were dropped. */
bool filemaps_drop_unlinked(struct filemaps *filemaps);
/* memfd_reserve(), repeated as long as filemaps_drop_unlinked() drops files. */
bool filemap_reserve(struct filemaps *filemaps, struct memfd *memfd, uint64_t more);

/* --- filemap_note.c: did another process of the host change the file? --- */
int filemap_note_init(struct filemap *fm);	/* 0, or -1: fstat(2) failed */
/*
 * Around a change that Vellum makes to the host's file, so that it is not taken for a change by another process.
 * io_lock held. The second function needs what the first one returned.
 */
bool filemap_note_begin(struct filemap *fm);
void filemap_note_end(struct filemap *fm, bool was_unchanged);
/* If another process changed the file since the last check, drop the clean cached pages. */
void filemap_revalidate(struct filemap *fm);

/* Create an empty list for @k, and start the thread that writes files back. NULL: no memory. */
struct filemaps *filemaps_start(struct kernel *k);
/* Stop the thread, write all files back, empty the list. The list is freed with its last mapping. */
void filemaps_stop(struct filemaps *filemaps);
struct memfds *filemaps_memfds(struct filemaps *filemaps);
void filemaps_put(struct filemaps *filemaps);
void filemaps_count_writable(struct filemaps *filemaps, int change);
/* A file is, or was, mapped shared and writable, and has not been released since. */
bool filemaps_have_writable(const struct filemaps *filemaps);
/* After an unmap: write back files that no VMA can store to any more. */
void filemaps_writeback_unmapped(struct filemaps *filemaps);
void filemaps_sync(struct filemaps *filemaps);
/* Call @fn for each file. It must not call back. */
void filemaps_for_each(struct filemaps *filemaps, void (*fn)(void *arg, const struct filemap *fm), void *arg);

/* Is the file on a file system of that type, a number of <linux/magic.h>? */
bool file_system_is(int fd, long type);

/* filemap_io.c: system calls on a file that may be mapped. As the host's calls, but they return a negative errno. */
/* @offset -1: at the file position. */
int64_t filemap_read(const struct file *file, struct bounce *b, int64_t offset);
int64_t filemap_write(const struct file *file, const struct bounce *b, size_t len, int64_t offset);
int filemap_truncate(const struct file *file, off_t size);
int filemap_fallocate(const struct file *file, int mode, off_t offset, off_t len);
int filemap_writeback(const struct file *file);	/* to the host's file, not to its disk */
int filemap_fsync(const struct file *file, bool data_only);
int filemap_add_seals(const struct file *file, unsigned seals);
void filemap_revalidate_file(const struct file *file);
/* Read a page as a program would; zeros beyond the end of the file. */
void filemap_read_page(struct filemap *fm, uint64_t pgoff, void *buf);

/* sys_io.c: one host call, which may block. Return: bytes, or a negative errno (-ERESTARTSYS for a signal). */
int64_t file_io(struct task *t, const struct file *file, struct bounce *b, size_t len, int64_t offset,
		enum direction dir);
/* Send the signal that belongs to an error of write(2). SIGXFSZ is sent only if nothing was written before. */
void signal_write_error(struct task *t, const struct file *file, int64_t error, bool first);

#endif
