/* SPDX-License-Identifier: MIT */
/* abi/mempolicy.c - the ranges of an address space that have memory policies of their own; see mempolicy.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>

#include "abi/mempolicy.h"

struct placement {
	uint64_t start, end;
	struct mempolicy policy;
};

struct placements {
	size_t nr;
	struct placement at[];		/* by address; they do not overlap */
};

/* A leaf: protects the placements of all address spaces, which few programs have. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Room for @more than @pl has, with what lies outside of [start, end). NULL: no memory. lock held. */
static struct placements *without(const struct placements *pl, uint64_t start, uint64_t end, size_t more)
{
	const size_t nr = pl ? pl->nr : 0;
	struct placements *new = malloc(sizeof(*new) + (nr + 1 + more) * sizeof(new->at[0]));

	if (!new)
		return NULL;
	new->nr = 0;
	for (size_t i = 0; i < nr; i++) {
		const struct placement *p = &pl->at[i];

		if (p->start < start) {
			new->at[new->nr] = *p;
			new->at[new->nr++].end = p->end < start ? p->end : start;
		}
		if (p->end > end) {
			new->at[new->nr] = *p;
			new->at[new->nr++].start = p->start > end ? p->start : end;
		}
	}
	return new;
}

/* There is room. lock held. */
static void insert(struct placements *pl, const struct placement *p)
{
	size_t i = pl->nr++;

	for (; i && pl->at[i - 1].start > p->start; i--)
		pl->at[i] = pl->at[i - 1];
	pl->at[i] = *p;
}

static bool has_any(const struct guest_mm *gmm)
{
	return __atomic_load_n(&gmm->placements, __ATOMIC_RELAXED);
}

static void publish(struct guest_mm *gmm, struct placements *pl)
{
	free(gmm->placements);
	if (pl && !pl->nr) {
		free(pl);
		pl = NULL;
	}
	__atomic_store_n(&gmm->placements, pl, __ATOMIC_RELAXED);
}

int placements_set(struct guest_mm *gmm, uint64_t start, uint64_t end, const struct mempolicy *policy)
{
	struct placements *new;

	if (policy->mode == MPOL_DEFAULT && !has_any(gmm))
		return 0;
	pthread_mutex_lock(&lock);
	new = without(gmm->placements, start, end, 1);
	if (new) {
		if (policy->mode != MPOL_DEFAULT)
			insert(new, &(struct placement){ .start = start, .end = end, .policy = *policy });
		publish(gmm, new);
	}
	pthread_mutex_unlock(&lock);
	return new ? 0 : -ENOMEM;
}

struct mempolicy placements_get(struct guest_mm *gmm, uint64_t addr, const struct mempolicy *of_thread)
{
	struct mempolicy found = *of_thread;
	const struct placements *pl;

	pthread_mutex_lock(&lock);
	pl = gmm->placements;
	for (size_t i = 0; pl && i < pl->nr; i++)
		if (addr >= pl->at[i].start && addr < pl->at[i].end)
			found = pl->at[i].policy;
	pthread_mutex_unlock(&lock);
	return found;
}

void placements_clear(struct guest_mm *gmm, uint64_t start, uint64_t end)
{
	struct placements *new;

	if (!has_any(gmm))
		return;
	pthread_mutex_lock(&lock);
	new = without(gmm->placements, start, end, 0);
	if (new)	/* else an old policy is reported for new memory */
		publish(gmm, new);
	pthread_mutex_unlock(&lock);
}

void placements_move(struct guest_mm *gmm, uint64_t from, uint64_t to, uint64_t len)
{
	struct placements *new, *old;

	if (!has_any(gmm))
		return;
	pthread_mutex_lock(&lock);
	old = gmm->placements;
	new = without(old, from, from + len, old ? old->nr : 0);
	for (size_t i = 0; new && old && i < old->nr; i++) {
		struct placement p = old->at[i];

		p.start = (p.start > from ? p.start : from) - from + to;
		p.end = (p.end < from + len ? p.end : from + len) - from + to;
		if (old->at[i].end > from && old->at[i].start < from + len)
			insert(new, &p);
	}
	if (new)
		publish(gmm, new);
	pthread_mutex_unlock(&lock);
}

struct placements *placements_copy(struct guest_mm *gmm)
{
	struct placements *copy;

	if (!has_any(gmm))
		return NULL;
	pthread_mutex_lock(&lock);
	copy = without(gmm->placements, 0, 0, 0);
	pthread_mutex_unlock(&lock);
	return copy;
}

void placements_restore(struct guest_mm *gmm, const struct placements *was)
{
	if (!was && !has_any(gmm))
		return;
	pthread_mutex_lock(&lock);
	publish(gmm, was ? without(was, 0, 0, 0) : NULL);
	pthread_mutex_unlock(&lock);
}

void placements_free(struct placements *pl)
{
	free(pl);
}
