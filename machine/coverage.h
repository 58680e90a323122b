/* SPDX-License-Identifier: MIT */
/*
 * machine/coverage.h - which edges between blocks of code a program takes, or which blocks: memory that QEMU's plugin
 * (qemu_plugin.c) and the host share.
 *
 * A block is what QEMU translates at once: the instructions up to a branch, a call, a system call, or the end of a page.
 * For each block in one of the ranges, the plugin counts the edge from the block before it in a map, as AFL++ wants it.
 * An instruction that faults runs again, in a block of its own that begins in the middle of the first one: it is no new
 * edge, so that edges do not depend on which pages were there.
 *
 * Blocks are counted by an addition that QEMU puts into the code, which calls nothing and knows nothing of faults. So the
 * host takes one off before an instruction runs again (coverage_uncount()). QEMU adds to 8 bytes, wherever they begin.
 */
#ifndef MACHINE_COVERAGE_H
#define MACHINE_COVERAGE_H

#include <stdint.h>
#include <string.h>

#define COVERAGE_MAP_SIZE   65536	/* bytes: counters that wrap around */
#define COVERAGE_LINE	    64		/* bytes of the map, of which a run changes a few hundred */
#define COVERAGE_LINES	    (COVERAGE_MAP_SIZE / COVERAGE_LINE)
#define COVERAGE_MAX_RANGES 16
#define COVERAGE_MAX_CPUS   32

struct coverage_cpu {
	uint64_t resumed;	/* the host, before a CPU enters the program: where an instruction runs again; 0: nowhere */
	uint64_t previous;	/* the plugin: of the block before, shifted, for the index of an edge */
};

struct coverage {
	uint8_t map[COVERAGE_MAP_SIZE];
	uint8_t counted[COVERAGE_LINES];	/* not 0: an edge of that line of the map was counted; of blocks: not known */
	struct coverage_cpu cpu[COVERAGE_MAX_CPUS];
	uint32_t blocks;	/* set before QEMU starts: count blocks, not edges */
	uint64_t nr_ranges;	/* set before a program runs */
	struct {
		uint64_t start, end;
	} range[COVERAGE_MAX_RANGES];
};

/* 16 bits. */
static inline uint64_t coverage_hash(uint64_t block)
{
	return (block * 0x9e3779b97f4a7c15ull) >> 48;
}

static inline int coverage_has(const struct coverage *c, uint64_t block)
{
	for (uint64_t i = 0; i < c->nr_ranges && i < COVERAGE_MAX_RANGES; i++)
		if (block >= c->range[i].start && block < c->range[i].end)
			return 1;
	return 0;
}

/* The counter of a block: the first of 8 bytes. */
static inline uint8_t *coverage_block(struct coverage *c, uint64_t block)
{
	return &c->map[coverage_hash(block) % (COVERAGE_MAP_SIZE - sizeof(uint64_t) + 1)];
}

static inline void coverage_add(struct coverage *c, uint64_t block, uint64_t n)
{
	uint8_t *counter = coverage_block(c, block);
	uint64_t value;

	memcpy(&value, counter, sizeof(value));
	value += n;
	memcpy(counter, &value, sizeof(value));
}

/* A block begins at @block once more than the program goes there. */
static inline void coverage_uncount(struct coverage *c, uint64_t block)
{
	if (c->blocks && coverage_has(c, block))
		coverage_add(c, block, ~0ull);
}

#endif
