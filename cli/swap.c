/* SPDX-License-Identifier: MIT */
/* cli/swap.c - --swap: the swap area of a run, in a file or in compressed memory. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "vellum/swap_backends.h"

#define MAX_SWAP ((uint64_t)VELLUM_PAGE_SIZE << 32)	/* the most slots that an area can have */

struct swap_area {
	struct vellum_swap_file *file;	/* one of these */
	struct vellum_swap_zstd *zstd;
};

int swap_parse(const char *arg, struct swap_options *o)
{
	const char *comma = strchrnul(arg, ',');
	char size[32];

	snprintf(size, sizeof(size), "%.*s", (int)(comma - arg), arg);
	if (!parse_size(size, &o->size))
		return fail("--swap=%s: not a size; write for example --swap=512M", arg);
	if (o->size < VELLUM_PAGE_SIZE || o->size > MAX_SWAP)
		return fail("--swap=%s: out of range; use 4K to 16384G", arg);
	if (*comma && !comma[1])
		return fail("--swap=%s: nothing after the comma; name a file, a directory or zstd", arg);
	o->size &= ~(uint64_t)(VELLUM_PAGE_SIZE - 1);
	o->zstd = !strcmp(comma, ",zstd");
	o->path = *comma && !o->zstd ? comma + 1 : NULL;
	return 0;
}

static int add_file(struct swap_area *s, const struct swap_options *o, struct vellum_memory *memory)
{
	uint64_t nr_slots = o->size / VELLUM_PAGE_SIZE;
	int err = vellum_swap_file_create(o->path, nr_slots, &s->file);

	return err ? err : vellum_swap_add(memory, vellum_swap_file_ops(), s->file, nr_slots, NULL);
}

static int add_zstd(struct swap_area *s, const struct swap_options *o, struct vellum_memory *memory)
{
	uint64_t nr_slots = o->size / VELLUM_PAGE_SIZE;
	int err = vellum_swap_zstd_create(nr_slots, 0, &s->zstd);

	return err ? err : vellum_swap_add(memory, vellum_swap_zstd_ops(), s->zstd, nr_slots, NULL);
}

static void print_error(const struct swap_options *o, int err)
{
	const char *where = o->path ? o->path : o->zstd ? "memory" : "$TMPDIR or /var/tmp";

	if (o->path && err == -VELLUM_EINVAL)
		fail("cannot swap to %s: neither a regular file nor a directory; name another file", where);
	else if (o->path && err == -VELLUM_EBUSY)
		fail("cannot swap to %s: another run swaps to it; name another file", where);
	else
		fail("cannot set up %llu MiB of swap in %s: %s; use a smaller --swap%s",
		     (unsigned long long)(o->size >> 20), where, vellum_strerror(err),
		     o->zstd ? "" : " or another file");
}

struct swap_area *swap_area_create(const struct swap_options *o, struct vellum_memory *memory)
{
	struct swap_area *s = calloc(1, sizeof(*s));
	int err = !s ? -VELLUM_ENOMEM : o->zstd ? add_zstd(s, o, memory) : add_file(s, o, memory);

	if (!err)
		return s;
	print_error(o, err);
	if (s)
		swap_area_destroy(s);
	return NULL;
}

void swap_area_destroy(struct swap_area *s)
{
	if (s->file)
		vellum_swap_file_destroy(s->file);
	if (s->zstd)
		vellum_swap_zstd_destroy(s->zstd);
	free(s);
}
