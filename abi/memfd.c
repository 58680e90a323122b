/* SPDX-License-Identifier: MIT */
/* abi/memfd.c - accounts of files of memfd_create(2); see memfd.h. */
#define _GNU_SOURCE
#include "abi/memfd.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "vellum/mm.h"

#define BLOCK 512		/* of st_blocks: stat(2) */

struct memfd {
	struct memfd *next;
	dev_t dev;
	ino_t ino;
	unsigned refs;
	uint64_t bytes;		/* when it was settled last */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* lock protects: */
static struct memfd *all;	/* also read without it: NULL or not */
static uint64_t used, limit;	/* used: bytes of all, and what is reserved */

void memfd_start(uint64_t bytes)
{
	limit = bytes;
	used = 0;
}

struct memfd *memfd_new(int fd)
{
	struct memfd *m = calloc(1, sizeof(*m));
	struct stat st;

	if (!m || fstat(fd, &st)) {
		free(m);
		return NULL;
	}
	m->dev = st.st_dev;
	m->ino = st.st_ino;
	m->refs = 1;
	pthread_mutex_lock(&lock);
	m->next = all;
	__atomic_store_n(&all, m, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&lock);
	return m;
}

struct memfd *memfd_get(dev_t dev, ino_t ino)
{
	struct memfd *m;

	if (!__atomic_load_n(&all, __ATOMIC_ACQUIRE))
		return NULL;
	pthread_mutex_lock(&lock);
	m = all;
	while (m && (m->dev != dev || m->ino != ino))
		m = m->next;
	if (m)
		m->refs++;
	pthread_mutex_unlock(&lock);
	return m;
}

void memfd_put(struct memfd *m)
{
	struct memfd **at = &all;

	if (!m)
		return;
	pthread_mutex_lock(&lock);
	if (--m->refs == 0) {
		while (*at != m)
			at = &(*at)->next;
		__atomic_store_n(at, m->next, __ATOMIC_RELEASE);
		used -= m->bytes;
		free(m);
	}
	pthread_mutex_unlock(&lock);
}

/* A range begins and ends within pages. */
static uint64_t with_edges(uint64_t bytes)
{
	return bytes < ~0ull - 2 * VELLUM_PAGE_SIZE ? bytes + 2 * VELLUM_PAGE_SIZE : ~0ull;
}

bool memfd_reserve(struct memfd *m, uint64_t more)
{
	bool fits = true;

	if (!m)
		return true;
	more = with_edges(more);
	pthread_mutex_lock(&lock);
	fits = more <= limit && used <= limit - more;
	if (fits)
		used += more;
	pthread_mutex_unlock(&lock);
	return fits;
}

void memfd_settle(struct memfd *m, int fd, uint64_t more)
{
	struct stat st;

	if (!m)
		return;
	pthread_mutex_lock(&lock);
	used -= more ? with_edges(more) : 0;
	if (fstat(fd, &st) == 0) {
		used += (uint64_t)st.st_blocks * BLOCK - m->bytes;
		m->bytes = (uint64_t)st.st_blocks * BLOCK;
	}
	pthread_mutex_unlock(&lock);
}
