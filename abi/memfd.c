/* SPDX-License-Identifier: MIT */
/* abi/memfd.c - accounting of memfd_create(2) files; see memfd.h. */
#define _GNU_SOURCE
#include "abi/memfd.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "vellum/mm.h"

#define BLOCK 512		/* unit of st_blocks: stat(2) */
#define MAX_SENT (1u << 20)	/* a file in more messages keeps its account: the count must not overflow */

struct memfd {
	struct memfds *memfds;
	struct memfd *next;
	dev_t dev;
	ino_t ino;
	unsigned refs;
	unsigned sent;		/* of refs: messages that contain a descriptor of the file */
	uint64_t bytes;		/* when the account was settled last */
};

void memfds_init(struct memfds *memfds, uint64_t limit)
{
	pthread_mutex_init(&memfds->lock, NULL);
	memfds->first = NULL;
	memfds->used = 0;
	memfds->limit = limit;
}

void memfds_destroy(struct memfds *memfds)
{
	struct memfd *m, *next;

	for (m = memfds->first; m; m = next) {		/* of messages that no program received */
		next = m->next;
		free(m);
	}
	pthread_mutex_destroy(&memfds->lock);
}

struct memfd *memfd_new(struct memfds *memfds, int fd)
{
	struct memfd *m = calloc(1, sizeof(*m));
	struct stat st;

	if (!m || fstat(fd, &st)) {
		free(m);
		return NULL;
	}
	m->memfds = memfds;
	m->dev = st.st_dev;
	m->ino = st.st_ino;
	m->refs = 1;
	pthread_mutex_lock(&memfds->lock);
	m->next = memfds->first;
	__atomic_store_n(&memfds->first, m, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&memfds->lock);
	return m;
}

struct memfd *memfd_get(struct memfds *memfds, dev_t dev, ino_t ino)
{
	struct memfd *m;

	if (!__atomic_load_n(&memfds->first, __ATOMIC_ACQUIRE))
		return NULL;
	pthread_mutex_lock(&memfds->lock);
	m = memfds->first;
	while (m && (m->dev != dev || m->ino != ino))
		m = m->next;
	if (m)
		m->refs++;
	pthread_mutex_unlock(&memfds->lock);
	return m;
}

void memfd_put(struct memfd *m)
{
	struct memfds *memfds = m ? m->memfds : NULL;
	struct memfd **at;

	if (!m)
		return;
	pthread_mutex_lock(&memfds->lock);
	if (--m->refs == 0) {
		at = &memfds->first;
		while (*at != m)
			at = &(*at)->next;
		__atomic_store_n(at, m->next, __ATOMIC_RELEASE);
		memfds->used -= m->bytes;
		free(m);
	}
	pthread_mutex_unlock(&memfds->lock);
}

void memfd_sent(struct memfd *m)
{
	if (!m)
		return;
	pthread_mutex_lock(&m->memfds->lock);
	if (m->sent < MAX_SENT) {
		m->refs++;
		m->sent++;
	}
	pthread_mutex_unlock(&m->memfds->lock);
}

void memfd_received(struct memfd *m)
{
	bool was_sent;

	if (!m)
		return;
	pthread_mutex_lock(&m->memfds->lock);
	was_sent = m->sent > 0 && m->sent < MAX_SENT;	/* 0: a process outside sent it */
	m->sent -= was_sent;
	pthread_mutex_unlock(&m->memfds->lock);
	if (was_sent)
		memfd_put(m);
}

/* A range may begin and end within a page. */
static uint64_t with_edges(uint64_t bytes)
{
	return bytes < ~0ull - 2 * VELLUM_PAGE_SIZE ? bytes + 2 * VELLUM_PAGE_SIZE : ~0ull;
}

bool memfd_reserve(struct memfd *m, uint64_t more)
{
	struct memfds *memfds = m ? m->memfds : NULL;
	bool fits;

	if (!m)
		return true;
	more = with_edges(more);
	pthread_mutex_lock(&memfds->lock);
	fits = more <= memfds->limit && memfds->used <= memfds->limit - more;
	if (fits)
		memfds->used += more;
	pthread_mutex_unlock(&memfds->lock);
	return fits;
}

void memfd_settle(struct memfd *m, int fd, uint64_t more)
{
	struct memfds *memfds = m ? m->memfds : NULL;
	struct stat st;

	if (!m)
		return;
	pthread_mutex_lock(&memfds->lock);
	memfds->used -= more ? with_edges(more) : 0;
	if (fstat(fd, &st) == 0) {
		memfds->used += (uint64_t)st.st_blocks * BLOCK - m->bytes;
		m->bytes = (uint64_t)st.st_blocks * BLOCK;
	}
	pthread_mutex_unlock(&memfds->lock);
}
