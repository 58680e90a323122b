/* SPDX-License-Identifier: MIT */
/* cli/replica.c - copies of pages by number. replica_clone() shares them until either side stores a new copy. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

struct replica_page {
	unsigned refs;
	char bytes[VELLUM_PAGE_SIZE];
};

const struct host *cli_host(void)
{
	static struct host host;

	host.ops = vellum_host_posix();
	return &host;
}

static void put_page(struct replica_page *page)
{
	if (page && --page->refs == 0)
		free(page);
}

static void out_of_memory(void)
{
	fail_no_memory("the replica of --verify");
	exit(EXIT_VELLUM);
}

void replica_store(struct replica *r, uint64_t page, const void *bytes)
{
	struct replica_page *old = radix_get(&r->pages, page), *new = old;

	if (!old || old->refs > 1) {
		new = malloc(sizeof(*new));
		if (!new || radix_set(&r->pages, page, new, cli_host()))
			out_of_memory();
		new->refs = 1;
		put_page(old);
	}
	memcpy(new->bytes, bytes, VELLUM_PAGE_SIZE);
}

void replica_drop(struct replica *r, uint64_t page)
{
	put_page(radix_delete(&r->pages, page, cli_host()));
}

const void *replica_get(const struct replica *r, uint64_t page)
{
	const struct replica_page *p = radix_get(&r->pages, page);

	return p ? p->bytes : NULL;
}

bool replica_next(const struct replica *r, uint64_t *page)
{
	return radix_next(&r->pages, page) != NULL;
}

void replica_clone(struct replica *to, const struct replica *from)
{
	struct replica_page *p;

	memset(to, 0, sizeof(*to));
	for (uint64_t i = 0; (p = radix_next(&from->pages, &i)); i++) {
		if (radix_set(&to->pages, i, p, cli_host()))
			out_of_memory();
		p->refs++;
	}
}

void replica_clear(struct replica *r)
{
	struct replica_page *p;

	for (uint64_t i = 0; (p = radix_next(&r->pages, &i)); i++)
		put_page(p);
	radix_destroy(&r->pages, cli_host());
}
