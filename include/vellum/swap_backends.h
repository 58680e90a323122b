/* SPDX-License-Identifier: MIT */
/*
 * vellum/swap_backends.h - two backends of swap areas: a file, and memory compressed with zstd.
 *
 * For each there is a constructor, a function that returns the hooks, and a destructor. Pass the hooks to
 * vellum_swap_add(), with the constructed backend as their context. Destroy a backend only when no area uses it. They
 * need a Linux host, and nothing of the core.
 */
#ifndef VELLUM_SWAP_BACKENDS_H
#define VELLUM_SWAP_BACKENDS_H

#include <stdint.h>

#include "vellum/swap.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vellum_swap_file;
struct vellum_swap_zstd;

/* --- a file --- */

/**
 * vellum_swap_file_create - create a swap backend in a file
 * @path:     a file, which is created if it does not exist, and truncated now and when the backend is destroyed; or a
 *            directory, in which an unnamed file is created; NULL: the directory $TMPDIR, or /var/tmp.
 * @nr_slots: 1 to 2^40.
 * @out:      the backend.
 *
 * The file takes disk space as pages are written, so write() returns -VELLUM_ENOSPC when the disk is full. Freed slots
 * are returned to the file system in batches of 512, if it supports holes. A process that limits the size of its files
 * must ignore SIGXFSZ. The backend takes one bit of memory for each slot.
 *
 * Return: 0; -VELLUM_EINVAL (bad number, not a regular file); -VELLUM_ENOMEM; -VELLUM_EBUSY (another swap backend uses
 *   the file); -VELLUM_ENOENT; -VELLUM_EACCES; -VELLUM_EPERM; -VELLUM_ENOSPC; -VELLUM_EIO (any other error).
 */
int vellum_swap_file_create(const char *path, uint64_t nr_slots, struct vellum_swap_file **out);
void vellum_swap_file_destroy(struct vellum_swap_file *file);

/** vellum_swap_file_ops - the hooks. Their context is the struct vellum_swap_file. */
const struct vellum_swap_ops *vellum_swap_file_ops(void);

/** vellum_swap_file_bytes - disk space that the file takes, including freed slots that are not returned yet. */
uint64_t vellum_swap_file_bytes(const struct vellum_swap_file *file);

/* --- compressed memory: in a library of its own, -lvellum-swap-zstd -lzstd --- */

/**
 * vellum_swap_zstd_create - create a swap backend in the host's memory, compressed
 * @nr_slots:  1 to 2^40.
 * @max_bytes: limit for all stored pages together; 0: no limit. A write() beyond it returns -VELLUM_ENOSPC.
 * @out:       the backend.
 *
 * A page that repeats one value of 8 bytes is stored as that value. A page that does not shrink to 3,584 bytes is
 * stored as it is. In addition a slot takes 8 bytes, and every thread that is in a hook about 200 KiB of working
 * memory.
 *
 * Return: 0; -VELLUM_EINVAL; -VELLUM_ENOMEM.
 */
int vellum_swap_zstd_create(uint64_t nr_slots, uint64_t max_bytes, struct vellum_swap_zstd **out);
void vellum_swap_zstd_destroy(struct vellum_swap_zstd *area);

/**
 * vellum_swap_zstd_ops - the hooks. Their context is the struct vellum_swap_zstd.
 *
 * read() fails only for a slot that holds nothing. Without memory it waits for another thread's working memory.
 */
const struct vellum_swap_ops *vellum_swap_zstd_ops(void);

/** struct vellum_swap_zstd_info - a snapshot; exact if no hook runs meanwhile. */
struct vellum_swap_zstd_info {
	uint32_t size;		/* sizeof the structure */
	uint64_t nr_pages;	/* stored pages of all kinds */
	uint64_t nr_same;	/* of these: stored as one repeated value */
	uint64_t nr_raw;	/* of these: stored uncompressed */
	uint64_t bytes;		/* memory of all stored pages, including the allocator's overhead */
};
int vellum_swap_zstd_info(const struct vellum_swap_zstd *area, struct vellum_swap_zstd_info *info);

#ifdef __cplusplus
}
#endif
#endif
