/* SPDX-License-Identifier: MIT */
/* tests/soak/snapshot_image.c - images of what a snapshot freezes: one record for each page, VMA and mapping. */
#define _GNU_SOURCE
#include "tests/soak/snapshot.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vellum/access.h"
#include "vellum/pagemap.h"

struct record {
	char kind;		/* 'v' VMA, 'p' page, 's' page of shared memory, 'z' size */
	unsigned owner;
	uint64_t at;		/* address, or page index */
	uint64_t hash, bits;
	char flags[96];
};

struct image {
	struct record *records;
	uint64_t nr, room;
};

uint64_t hash_bytes(uint64_t hash, const void *bytes, uint64_t len)
{
	const uint64_t *words = bytes;

	for (uint64_t i = 0; i < len / 8; i++)
		hash = (hash ^ words[i]) * 0x9e3779b97f4a7c15ull + (hash >> 29);
	return hash;
}

static struct record *add(struct image *image, char kind, unsigned owner, uint64_t at)
{
	if (image->nr == image->room) {
		image->room = image->room ? 2 * image->room : 4096;
		image->records = realloc(image->records, image->room * sizeof(*image->records));
		if (!image->records)
			fail("no memory for an image");
	}
	image->records[image->nr] = (struct record){ .kind = kind, .owner = owner, .at = at };
	return &image->records[image->nr++];
}

/* How many bytes of the page are within its mapping, rounded down to words. */
static uint64_t bytes_in(const struct vellum_vma_info *vma, uint64_t index)
{
	uint64_t size = vma->mapping ? vellum_mapping_size(vma->mapping) : ~0ull;

	if (index * PAGE >= size)
		return 0;
	return size - index * PAGE < PAGE ? (size - index * PAGE) & ~7ull : PAGE;
}

/* What loads from a private page find, without a fault that would map it. */
static uint64_t page_hash(struct vellum_mm *mm, const struct vellum_vma_info *vma, uint64_t addr)
{
	char buf[PAGE] = { 0 };
	uint64_t index = vma->pgoff + (addr - vma->start) / PAGE, len = bytes_in(vma, index);
	int found = peek_page(mm, addr, buf);

	if (found < 0)
		return (uint64_t)found;
	if (!found && vma->mapping && len)
		must(vellum_mapping_read(vma->mapping, index * PAGE, buf, len), "reading a mapping");
	return hash_bytes(1, buf, len);
}

/* Pages may be mapped or not. Where a userfaultfd gets faults of missing anonymous pages, it matters. */
static uint64_t bits_of(const struct vellum_vma_info *vma, bool watched, bool missing, uint64_t word)
{
	uint64_t bits = word & (VELLUM_PM_UFFD_WP | VELLUM_PM_GUARD);

	if (!vma->shared && !vma->mapping && watched)
		bits |= word & VELLUM_PM_SOFT_DIRTY;
	if (!vma->shared && !vma->mapping && missing)
		bits |= word & (VELLUM_PM_PRESENT | VELLUM_PM_SWAP) ? VELLUM_PM_PRESENT : 0;
	return bits;
}

static void take_vma(struct image *image, unsigned owner, const struct vellum_vma_info *vma)
{
	struct vellum_mm *mm = w.mm[owner];
	struct vellum_vma_usage usage = { .size = sizeof(usage) };
	struct vellum_vma_info info = { .size = sizeof(info) };
	uint64_t nr = (vma->end - vma->start) / PAGE, *words = calloc(nr, sizeof(*words));
	struct record *record = add(image, 'v', owner, vma->start);

	must(vellum_vma_usage(mm, vma->start, &info, &usage), "vma_usage");
	record->hash = vma->end ^ (uint64_t)(uintptr_t)vma->mapping ^ vma->pgoff << 3;
	record->bits = vma->prot | (uint32_t)vma->shared << 4 | (uint32_t)vma->locked << 5;
	memcpy(record->flags, usage.vm_flags, sizeof(record->flags));
	must(vellum_pagemap_read(mm, vma->start, nr, 0, words), "pagemap");
	for (uint64_t i = 0; i < nr; i++) {
		record = add(image, 'p', owner, vma->start + i * PAGE);
		record->bits = bits_of(vma, !strstr(usage.vm_flags, "sd "), strstr(usage.vm_flags, "um ") != NULL, words[i]);
		record->hash = vma->shared ? 0 : page_hash(mm, vma, record->at);
	}
	free(words);
}

static void take_mapping(struct image *image, unsigned owner)
{
	struct vellum_mapping *mapping = w.shared[owner];
	struct record *record = add(image, 'z', owner, 0);
	uint64_t size = vellum_mapping_size(mapping), index = 0;
	char buf[PAGE];

	record->hash = size;
	record->bits = vellum_mapping_seals(mapping);
	for (; !vellum_mapping_next(mapping, &index); index++) {
		uint64_t len = size - index * PAGE < PAGE ? (size - index * PAGE) & ~7ull : PAGE;

		must(vellum_mapping_read(mapping, index * PAGE, buf, len), "reading shared memory");
		add(image, 's', owner, index)->hash = hash_bytes(1, buf, len);
	}
}

struct image *image_take(void)
{
	struct image *image = calloc(1, sizeof(*image));

	for (unsigned i = 0; i < NR_MMS; i++) {
		struct vellum_vma_info vma = { .size = sizeof(vma) };

		for (uint64_t at = 0; !vellum_vma_next(w.mm[i], at, &vma); at = vma.end)
			take_vma(image, i, &vma);
		add(image, 'b', i, vellum_brk(w.mm[i], 0));
	}
	for (unsigned i = 0; i < NR_SHARED; i++)
		take_mapping(image, i);
	return image;
}

const char *image_differs(const struct image *was, const struct image *is)
{
	static char text[400];

	for (uint64_t i = 0; i < was->nr || i < is->nr; i++) {
		const struct record *a = &was->records[i], *b = &is->records[i];

		if (i < was->nr && i < is->nr && a->kind == b->kind && a->owner == b->owner && a->at == b->at &&
		    a->hash == b->hash && a->bits == b->bits && !strcmp(a->flags, b->flags))
			continue;
		if (i >= was->nr)
			a = b;
		if (i >= is->nr)
			b = a;
		snprintf(text, sizeof(text), "record %c%u at %#llx: hash %#llx, bits %#llx, %s; now %c%u at %#llx: %#llx, %#llx, %s",
			 a->kind, a->owner, (unsigned long long)a->at, (unsigned long long)a->hash,
			 (unsigned long long)a->bits, a->flags, b->kind, b->owner, (unsigned long long)b->at,
			 (unsigned long long)b->hash, (unsigned long long)b->bits, b->flags);
		return text;
	}
	return NULL;
}

void image_free(struct image *image)
{
	free(image->records);
	free(image);
}
