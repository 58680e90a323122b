/* SPDX-License-Identifier: MIT */
/*
 * tests/explore/buffers.c - x86 store buffers, one for each thread.
 *
 * Plain stores that lib/sched.h and soft.h name are queued here, first in, first out, until a step of the
 * buffer or a locked instruction of their thread. Other plain stores are visible at once: the core makes
 * them under its locks, and locks are locked instructions. Only an atomic counter that is changed between a
 * store to an entry and the unlock could become visible in another order than on x86.
 */
#include "engine.h"

#define DEPTH 64

static struct buffer {
	unsigned first, nr;
	struct pending store[DEPTH];
} buffers[MAX_THREADS];

void buffers_clear(void)
{
	memset(buffers, 0, sizeof(buffers));
}

bool buffer_empty(int thread)
{
	return !buffers[thread].nr;
}

const struct pending *buffer_oldest(int thread)
{
	const struct buffer *b = &buffers[thread];

	return b->nr ? &b->store[b->first] : NULL;
}

void buffer_drain_one(int thread)
{
	struct buffer *b = &buffers[thread];
	const struct pending *p = &b->store[b->first];

	memcpy((void *)(uintptr_t)p->where, &p->val, p->size);
	b->first = (b->first + 1) % DEPTH;
	b->nr--;
}

static void drain(int thread)
{
	while (buffers[thread].nr)
		buffer_drain_one(thread);
}

void vellum_explore_store(volatile void *where, uint64_t val, unsigned size)
{
	struct buffer *b;

	if (running < 0 || !buffers_on) {
		memcpy((void *)(uintptr_t)where, &val, size);
		return;
	}
	b = &buffers[running];
	if (b->nr == DEPTH)
		buffer_drain_one(running);
	b->store[(b->first + b->nr++) % DEPTH] = (struct pending){ where, val, size };
}

uint64_t vellum_explore_load(const volatile void *where, unsigned size)
{
	uint64_t val = 0;
	uint8_t *bytes = (uint8_t *)&val;

	memcpy(&val, (const void *)(uintptr_t)where, size);
	if (running < 0)
		return val;
	/* Oldest first, so that the newest store to a byte prevails. */
	for (unsigned i = 0; i < buffers[running].nr; i++) {
		const struct pending *p = &buffers[running].store[(buffers[running].first + i) % DEPTH];

		for (unsigned j = 0; j < p->size; j++) {
			uintptr_t at = (uintptr_t)p->where + j - (uintptr_t)where;

			if (at < size)
				bytes[at] = ((const uint8_t *)&p->val)[j];
		}
	}
	return val;
}

void vellum_explore_locked(void)
{
	if (running >= 0)
		drain(running);
}

void vellum_explore_fence_all(void)
{
	for (int i = 0; i < MAX_THREADS; i++)
		drain(i);
}
