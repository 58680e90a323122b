/* SPDX-License-Identifier: MIT */
/*
 * machine/coverage.h - which edges between blocks of code a program takes: memory that QEMU's plugin (qemu_plugin.c) and
 * the host share.
 *
 * A block is what QEMU translates at once: the instructions up to a branch, a call, a system call, or the end of a page.
 * For each block in one of the ranges, the plugin counts the edge from the block before it in a map, as AFL++ wants it.
 * An instruction that faults runs again, in a block of its own that begins in the middle of the first one: it is no new
 * edge, so that edges do not depend on which pages were there.
 */
#ifndef MACHINE_COVERAGE_H
#define MACHINE_COVERAGE_H

#include <stdint.h>

#define COVERAGE_MAP_SIZE   65536	/* bytes: counters that wrap around */
#define COVERAGE_MAX_RANGES 16
#define COVERAGE_MAX_CPUS   32

struct coverage_cpu {
	uint64_t resumed;	/* the host, before a CPU enters the program: where an instruction runs again; 0: nowhere */
	uint64_t previous;	/* the plugin: of the block before, shifted, for the index of an edge */
};

struct coverage {
	uint8_t map[COVERAGE_MAP_SIZE];
	struct coverage_cpu cpu[COVERAGE_MAX_CPUS];
	uint64_t nr_ranges;	/* set before a program runs */
	struct {
		uint64_t start, end;
	} range[COVERAGE_MAX_RANGES];
};

#endif
