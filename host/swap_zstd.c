/* SPDX-License-Identifier: MIT */
/* host/swap_zstd.c - a swap area in memory, each page compressed with zstd. */
#define _GNU_SOURCE
#include "vellum/swap_backends.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "vellum/errno.h"

#define EXPORT __attribute__((visibility("default")))
#define PAGE 4096u
#define MAX_SLOTS (1ull << 40)
#define LEVEL 1			/* in 4 KiB, higher levels find hardly more */
#define WORTH (PAGE / 8 * 7)	/* bytes; a page that compresses to more is stored uncompressed */

enum kind { SAME, RAW, PACKED, NR_KINDS };

struct blob {
	uint32_t kind;
	uint32_t len;
	unsigned char bytes[];
};

/* What one thread needs to compress or decompress a page. */
struct workspace {
	struct workspace *next;
	ZSTD_CCtx *cctx;
	ZSTD_DCtx *dctx;
	unsigned char packed[WORTH];
};

struct vellum_swap_zstd {
	uint64_t nr_slots;
	uint64_t max_bytes;
	struct blob **slots;		/* each atomic; NULL: the slot is empty */
	uint64_t bytes;			/* atomic */
	uint64_t nr[NR_KINDS];		/* atomic: pages by kind */
	pthread_mutex_t lock;
	pthread_cond_t given;
	struct workspace *idle;		/* lock protects */
};

/* --- workspaces --- */

static void workspace_destroy(struct workspace *ws)
{
	ZSTD_freeCCtx(ws->cctx);
	ZSTD_freeDCtx(ws->dctx);
	free(ws);
}

static struct workspace *workspace_create(void)
{
	struct workspace *ws = malloc(sizeof(*ws));

	if (!ws)
		return NULL;
	ws->next = NULL;
	ws->cctx = ZSTD_createCCtx();
	ws->dctx = ZSTD_createDCtx();
	if (ws->cctx && ws->dctx)
		return ws;
	workspace_destroy(ws);
	return NULL;
}

static struct workspace *pop(struct vellum_swap_zstd *area, bool wait)
{
	struct workspace *ws;

	pthread_mutex_lock(&area->lock);
	while (wait && !area->idle)
		pthread_cond_wait(&area->given, &area->lock);
	ws = area->idle;
	if (ws)
		area->idle = ws->next;
	pthread_mutex_unlock(&area->lock);
	return ws;
}

/* If there is no memory for another workspace, wait: one was created with the area, and its user gives it back. */
static struct workspace *take(struct vellum_swap_zstd *area)
{
	struct workspace *ws = pop(area, false);

	if (!ws)
		ws = workspace_create();
	return ws ? ws : pop(area, true);
}

static void give(struct vellum_swap_zstd *area, struct workspace *ws)
{
	pthread_mutex_lock(&area->lock);
	ws->next = area->idle;
	area->idle = ws;
	pthread_cond_signal(&area->given);
	pthread_mutex_unlock(&area->lock);
}

/* --- blobs --- */

/* The memory that a blob uses, with malloc's header and rounding: both matter for small blobs. */
static uint64_t cost_of(size_t len)
{
	return (sizeof(struct blob) + len + sizeof(size_t) + 15) & ~15ull;
}

static bool charge(struct vellum_swap_zstd *area, uint64_t cost)
{
	uint64_t sum = __atomic_add_fetch(&area->bytes, cost, __ATOMIC_RELAXED);

	if (!area->max_bytes || sum <= area->max_bytes)
		return true;
	__atomic_fetch_sub(&area->bytes, cost, __ATOMIC_RELAXED);
	return false;
}

static void drop(struct vellum_swap_zstd *area, uint64_t slot)
{
	struct blob *blob = __atomic_exchange_n(&area->slots[slot], NULL, __ATOMIC_ACQ_REL);

	if (!blob)
		return;
	__atomic_fetch_sub(&area->bytes, cost_of(blob->len), __ATOMIC_RELAXED);
	__atomic_fetch_sub(&area->nr[blob->kind], 1, __ATOMIC_RELAXED);
	free(blob);
}

static int keep(struct vellum_swap_zstd *area, uint64_t slot, enum kind kind, const void *bytes, size_t len)
{
	struct blob *blob;

	if (!charge(area, cost_of(len)))
		return -VELLUM_ENOSPC;
	blob = malloc(sizeof(*blob) + len);
	if (!blob) {
		__atomic_fetch_sub(&area->bytes, cost_of(len), __ATOMIC_RELAXED);
		return -VELLUM_ENOMEM;
	}
	blob->kind = kind;
	blob->len = (uint32_t)len;
	memcpy(blob->bytes, bytes, len);
	__atomic_fetch_add(&area->nr[kind], 1, __ATOMIC_RELAXED);
	__atomic_store_n(&area->slots[slot], blob, __ATOMIC_RELEASE);
	return 0;
}

/* --- hooks --- */

static int swap_zstd_write(void *ctx, uint64_t slot, const void *page)
{
	struct vellum_swap_zstd *area = ctx;
	struct workspace *ws;
	size_t len;
	int r;

	if (slot >= area->nr_slots)
		return -VELLUM_EINVAL;
	drop(area, slot);	/* first: its memory counts towards the limit */
	if (!memcmp(page, (const char *)page + 8, PAGE - 8))
		return keep(area, slot, SAME, page, 8);
	ws = take(area);
	len = ZSTD_compressCCtx(ws->cctx, ws->packed, sizeof(ws->packed), page, PAGE, LEVEL);
	if (ZSTD_isError(len))	/* the result exceeds WORTH, or zstd is out of memory */
		r = keep(area, slot, RAW, page, PAGE);
	else
		r = keep(area, slot, PACKED, ws->packed, len);
	give(area, ws);
	return r;
}

static void fill(unsigned char *page, const unsigned char *val)
{
	for (size_t at = 0; at < PAGE; at += 8)
		memcpy(page + at, val, 8);
}

static int swap_zstd_read(void *ctx, uint64_t slot, void *page)
{
	struct vellum_swap_zstd *area = ctx;
	const struct blob *blob;
	struct workspace *ws;
	size_t len = PAGE;

	if (slot >= area->nr_slots)
		return -VELLUM_EINVAL;
	blob = __atomic_load_n(&area->slots[slot], __ATOMIC_ACQUIRE);
	if (!blob)
		return -VELLUM_EIO;
	switch (blob->kind) {
	case SAME:
		fill(page, blob->bytes);
		break;
	case RAW:
		memcpy(page, blob->bytes, PAGE);
		break;
	default:
		ws = take(area);
		len = ZSTD_decompressDCtx(ws->dctx, page, PAGE, blob->bytes, blob->len);
		give(area, ws);
	}
	return len == PAGE ? 0 : -VELLUM_EIO;
}

static void swap_zstd_free(void *ctx, uint64_t slot)
{
	struct vellum_swap_zstd *area = ctx;

	if (slot < area->nr_slots)
		drop(area, slot);
}

EXPORT const struct vellum_swap_ops *vellum_swap_zstd_ops(void)
{
	static const struct vellum_swap_ops ops = {
		.size = sizeof(ops),
		.write = swap_zstd_write,
		.read = swap_zstd_read,
		.free = swap_zstd_free,
	};

	return &ops;
}

/* --- the area --- */

EXPORT int vellum_swap_zstd_create(uint64_t nr_slots, uint64_t max_bytes, struct vellum_swap_zstd **out)
{
	struct vellum_swap_zstd *area;

	if (!out || !nr_slots || nr_slots > MAX_SLOTS)
		return -VELLUM_EINVAL;
	area = calloc(1, sizeof(*area));
	if (!area)
		return -VELLUM_ENOMEM;
	area->slots = calloc(nr_slots, sizeof(area->slots[0]));
	area->idle = area->slots ? workspace_create() : NULL;
	if (!area->idle) {
		free(area->slots);
		free(area);
		return -VELLUM_ENOMEM;
	}
	area->nr_slots = nr_slots;
	area->max_bytes = max_bytes;
	pthread_mutex_init(&area->lock, NULL);
	pthread_cond_init(&area->given, NULL);
	*out = area;
	return 0;
}

EXPORT void vellum_swap_zstd_destroy(struct vellum_swap_zstd *area)
{
	struct workspace *ws;

	while ((ws = area->idle)) {
		area->idle = ws->next;
		workspace_destroy(ws);
	}
	for (uint64_t slot = 0; slot < area->nr_slots; slot++)
		free(area->slots[slot]);
	pthread_cond_destroy(&area->given);
	pthread_mutex_destroy(&area->lock);
	free(area->slots);
	free(area);
}

EXPORT int vellum_swap_zstd_info(const struct vellum_swap_zstd *area, struct vellum_swap_zstd_info *out)
{
	struct vellum_swap_zstd_info info;

	info.nr_same = __atomic_load_n(&area->nr[SAME], __ATOMIC_RELAXED);
	info.nr_raw = __atomic_load_n(&area->nr[RAW], __ATOMIC_RELAXED);
	info.nr_pages = info.nr_same + info.nr_raw + __atomic_load_n(&area->nr[PACKED], __ATOMIC_RELAXED);
	info.bytes = __atomic_load_n(&area->bytes, __ATOMIC_RELAXED);
	if (out->size < sizeof(out->size))
		return -VELLUM_EINVAL;
	info.size = out->size;
	memset(out, 0, out->size);	/* as lib/sized.h, which is not for this folder: fields unknown here are 0 */
	memcpy(out, &info, info.size < sizeof(info) ? info.size : sizeof(info));
	return 0;
}
