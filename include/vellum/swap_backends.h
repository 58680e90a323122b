/* SPDX-License-Identifier: MIT */
/*
 * vellum/swap_backends.h - backends of swap areas: a file, and memory compressed with zstd.
 *
 * Each has a constructor, hooks to give to the core together with what was constructed as their context, and
 * a destructor, for when no area uses it any more. They need a Linux host, and nothing of the core.
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
 * vellum_swap_file_create - a swap area in a file
 * @path:     a file, which is made if it is not there, and emptied now and when the area is destroyed; a
 *            folder, in which a file without a name is made; NULL: the folder $TMPDIR or /var/tmp.
 * @nr_slots: 1 to 2^40.
 * @out:      the area.
 *
 * The file takes room as pages are written, so a full disk shows in write(), as -VELLUM_ENOSPC. Bytes of
 * freed slots are given back to the file system in batches of some hundred, where it can. A process
 * that limits the size of its files must ignore SIGXFSZ.
 *
 * Return: 0, -VELLUM_EINVAL (bad number, not a regular file), -VELLUM_ENOMEM, -VELLUM_EBUSY (another swap area is in
 *   this file), -VELLUM_ENOENT, -VELLUM_EACCES, -VELLUM_EPERM, -VELLUM_ENOSPC, -VELLUM_EIO (anything else).
 */
int vellum_swap_file_create(const char *path, uint64_t nr_slots, struct vellum_swap_file **out);
void vellum_swap_file_destroy(struct vellum_swap_file *file);

/** vellum_swap_file_ops - the hooks; their context is the struct vellum_swap_file. */
const struct vellum_swap_ops *vellum_swap_file_ops(void);

/** vellum_swap_file_bytes - what the file takes on disk now, freed slots that wait for their batch included. */
uint64_t vellum_swap_file_bytes(const struct vellum_swap_file *file);

/* --- compressed memory: in a library of its own, -lvellum-swap-zstd -lzstd --- */

/**
 * vellum_swap_zstd_create - a swap area in the host's memory, compressed
 * @nr_slots:  1 to 2^40.
 * @max_bytes: what the stored pages may take together; 0: no limit. A write() beyond is -VELLUM_ENOSPC.
 * @out:       the area.
 *
 * A page that repeats one value of 8 bytes is stored as that value; one that does not get smaller, as it is.
 * Beside the pages, a slot takes 8 bytes, and every thread that is in a hook some 200 KiB of working memory.
 *
 * Return: 0, -VELLUM_EINVAL, -VELLUM_ENOMEM.
 */
int vellum_swap_zstd_create(uint64_t nr_slots, uint64_t max_bytes, struct vellum_swap_zstd **out);
void vellum_swap_zstd_destroy(struct vellum_swap_zstd *area);

/**
 * vellum_swap_zstd_ops - the hooks; their context is the struct vellum_swap_zstd
 *
 * read() fails for a slot that holds nothing only: it does not need memory that may not be there.
 */
const struct vellum_swap_ops *vellum_swap_zstd_ops(void);

/** struct vellum_swap_zstd_info - a snapshot; exact if nothing runs meanwhile. */
struct vellum_swap_zstd_info {
	uint64_t nr_pages;	/* stored, all kinds */
	uint64_t nr_same;	/* of these: as one value that repeats */
	uint64_t nr_raw;	/* of these: not compressed */
	uint64_t bytes;		/* what they take, the allocator's part included */
};
void vellum_swap_zstd_info(const struct vellum_swap_zstd *area, struct vellum_swap_zstd_info *info);

#ifdef __cplusplus
}
#endif
#endif
