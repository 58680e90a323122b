/* SPDX-License-Identifier: MIT */
/* abi/mempolicy.c - the ranges of an address space that have memory policies of their own; see mempolicy.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/mempolicy.h>
#include <stdlib.h>
#include <string.h>

#include "abi/mempolicy.h"

#define MAX_PLACEMENTS 65530	/* as vm.max_map_count limits them in Linux */

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
	struct placements *new = malloc(sizeof(*new) + (2 * nr + more) * sizeof(new->at[0]));	/* each may be cut in two */

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

static bool follows(const struct placement *a, const struct placement *b)
{
	return a->end == b->start && !memcmp(&a->policy, &b->policy, sizeof(a->policy));
}

/* Neighbours with the same policy are one. There is room. lock held. */
static void insert(struct placements *pl, const struct placement *p)
{
	size_t i = pl->nr++, kept = 0;

	for (; i && pl->at[i - 1].start > p->start; i--)
		pl->at[i] = pl->at[i - 1];
	pl->at[i] = *p;
	for (i = 1; i < pl->nr; i++)
		if (follows(&pl->at[kept], &pl->at[i]))
			pl->at[kept].end = pl->at[i].end;
		else
			pl->at[++kept] = pl->at[i];
	pl->nr = kept + 1;
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
	new = gmm->placements && gmm->placements->nr >= MAX_PLACEMENTS ? NULL : without(gmm->placements, start, end, 1);
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

/* Those of @old in [from, from + len), as at @to. What grows by @more has the policy of its last page. There is room. */
static void insert_moved(struct placements *pl, const struct placements *old, uint64_t from, uint64_t to, uint64_t len,
			 uint64_t more)
{
	for (size_t i = 0; i < old->nr; i++) {
		struct placement p = old->at[i];

		if (p.end <= from || p.start >= from + len)
			continue;
		p.start = (p.start > from ? p.start : from) - from + to;
		p.end = (p.end < from + len ? p.end : from + len) - from + to;
		p.end += p.end == to + len ? more : 0;
		insert(pl, &p);
	}
}

void placements_move(struct guest_mm *gmm, uint64_t from, uint64_t old_len, uint64_t to, uint64_t new_len, bool keep)
{
	const struct placements *old;
	struct placements *new;

	if (!has_any(gmm))
		return;
	pthread_mutex_lock(&lock);
	old = gmm->placements;
	new = old ? without(old, from, keep ? from : from + old_len, old->nr) : NULL;
	if (new) {
		insert_moved(new, old, from, to, old_len < new_len ? old_len : new_len,
			     old_len < new_len ? new_len - old_len : 0);
		publish(gmm, new);
	}
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
