/* SPDX-License-Identifier: MIT */
/*
 * tests/oracle/scenario.h - scenarios: lists of operations, one line each.
 *
 *	scenario 17
 *	P0 map M shared rw 3 4 0
 *	P0 store 3 0x11
 *	P0 fork 1
 *	P1 load 3
 *	-- clean M 0 16
 *
 * A new operation is a row in the table of scenario.c, a case in guest.c and in vellum.c, and a
 * weight in generate.c.
 */
#ifndef ORACLE_SCENARIO_H
#define ORACLE_SCENARIO_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define NR_PROCS 4
#define REGION	 0x100001f0000ull	/* half of its pages are below, half above a boundary of tables */
#define PMD_WINDOW 0x10040000000ull	/* addresses of pages of 2 MiB */
#define PUD_WINDOW 0x10080000000ull	/* addresses of pages of 1 GiB */
#define REGION_END 0x10100000000ull
#define PAGE	 4096ull
/* Pages of interest, at the same addresses in every process: all of the region, and some of each huge page. */
#define FIRST_PMD 32
#define FIRST_PUD 48
#define NR_PAGES 56
#define UNIT	 4			/* pages of interest in a huge page */
#define OBJECTS	 "MQPRHGF"		/* F is a memfd, the others belong to the module */
#define MAX_OPS	 256
#define MAX_ARGS 6
#define NOBODY	 -1

enum op_kind {
	OP_MAP, OP_MAPRO, OP_ANON, OP_LOAD, OP_STORE, OP_GET, OP_PUT, OP_FORK, OP_EXIT, OP_PROTECT, OP_UNMAP,
	OP_MOVE, OP_RESIZE, OP_DROP, OP_POPULATE, OP_WP, OP_CLEAN, OP_ZAP, OP_REFUSE, OP_PIN, OP_UNPIN,
	OP_POKE, OP_GRAIN,
	NR_OP_KINDS
};

enum { PROT_R = 1, PROT_W = 2, PROT_X = 4 };
enum { PIN_W = 1, PIN_FORCE = 2, PIN_LONGTERM = 4, PIN_SLOW = 8, PIN_REMOTE = 16 };	/* as ORACLE_PIN_* */

/* The address of page of interest @i. @i + 1 in the same window need not be adjacent. */
static inline uint64_t page_at(uint64_t i)
{
	static const uint32_t pmd[UNIT] = { 0, 1, 256, 511 }, pud[UNIT] = { 0, 1, 512, 262143 };

	if (i < FIRST_PMD)
		return REGION + i * PAGE;
	if (i < FIRST_PUD)
		return PMD_WINDOW + (i - FIRST_PMD) / UNIT * (PAGE << 9) + pmd[i % UNIT] * PAGE;
	return PUD_WINDOW + (i - FIRST_PUD) / UNIT * (PAGE << 18) + pud[i % UNIT] * PAGE;
}

/* The length of a range of @nr pages of interest from @i on: to the next page of interest, or the window's end. */
static inline uint64_t range_len(uint64_t i, uint64_t nr)
{
	uint64_t end = i + nr == FIRST_PMD ? REGION + FIRST_PMD * PAGE :
		       i + nr == FIRST_PUD ? PMD_WINDOW + (FIRST_PUD - FIRST_PMD) / UNIT * (PAGE << 9) :
					     page_at(i + nr);

	return end - page_at(i);
}

struct op {
	enum op_kind kind;
	int proc;			/* NOBODY: no process does it */
	uint64_t arg[MAX_ARGS];		/* a number; a letter; PROT_*; PIN_*; 1: shared */
};

struct scenario {
	uint64_t seed;
	unsigned nr_ops;
	struct op op[MAX_OPS];
};

/* 1: read; 0: end of file; -1: error, see @why. */
int scenario_read(FILE *in, struct scenario *s, const char **why);
void op_print(FILE *out, const struct op *op);

#endif
