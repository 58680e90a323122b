/* SPDX-License-Identifier: MIT */
/*
 * tests/oracle/world.h - a world in which scenarios run: Linux (guest.c) or Vellum (vellum.c). drive.c runs
 * them in either world, and prints the results in the same form.
 */
#ifndef ORACLE_WORLD_H
#define ORACLE_WORLD_H

#include "module/oracle.h"
#include "scenario.h"

struct answer {
	enum {
		ANSWER_CODE,		/* @code: 0 or more, or a negative error number */
		ANSWER_VALUE,		/* @value: the word that was read */
		ANSWER_SIGNAL,		/* @signal */
		ANSWER_WALK,		/* @walk: result of a helper; has a bitmap only after "clean" */
	} type;
	int64_t code;
	uint64_t value;
	const char *signal;
	struct oracle_walk walk;
};

/* After world_begin(), process 0 exists; after world_end(), no process. */
void world_begin(void);
void world_end(void);
void world_do(const struct op *op, struct answer *a);
bool world_alive(int proc);
void world_entries(int proc, struct oracle_entry entry[NR_PAGES]);
/* List the VMAs that begin in the region, at most @max. Return: their number. */
unsigned world_vmas(int proc, struct oracle_vma vma[], unsigned max);
unsigned world_mkwrites(char letter);
/* List the pages of a slot. They come from frames, so @raw and @level are not set. Return: their number. */
unsigned world_pins(unsigned slot, struct oracle_entry page[ORACLE_MAX_PIN]);

/* Run every scenario of @in. Return: 0, or 1 after a message on stderr. */
int drive(FILE *in, FILE *out);

#endif
