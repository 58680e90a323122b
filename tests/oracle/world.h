/* SPDX-License-Identifier: MIT */
/*
 * tests/oracle/world.h - where scenarios are run: Linux (guest.c) or Vellum (vellum.c); drive.c runs
 * them on either and prints what came of it, in the same words.
 */
#ifndef ORACLE_WORLD_H
#define ORACLE_WORLD_H

#include "module/oracle.h"
#include "scenario.h"

struct answer {
	enum {
		ANSWER_CODE,		/* @code: 0 or more, or a negative error number */
		ANSWER_VALUE,		/* @value: what was read */
		ANSWER_SIGNAL,		/* @signal */
		ANSWER_WALK,		/* @walk: of a helper; the bitmap only if it was "clean" */
	} type;
	int64_t code;
	uint64_t value;
	const char *signal;
	struct oracle_walk walk;
};

/* Process 0 exists after begin, none after end. */
void world_begin(void);
void world_end(void);
void world_do(const struct op *op, struct answer *a);
bool world_alive(int proc);
void world_entries(int proc, struct oracle_entry entry[NR_PAGES]);
/* Those that begin in the region; @max: room. Return: how many. */
unsigned world_vmas(int proc, struct oracle_vma vma[], unsigned max);
unsigned world_mkwrites(char letter);
/* The pages of a slot, by their frames: no entries. Return: how many. */
unsigned world_pins(unsigned slot, struct oracle_entry page[ORACLE_MAX_PIN]);

/* Run every scenario of @in. Return: 0, or 1 after a message on stderr. */
int drive(FILE *in, FILE *out);

#endif
