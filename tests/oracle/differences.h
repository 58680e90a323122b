/* SPDX-License-Identifier: MIT */
/* tests/oracle/differences.h - what may differ, and how it is made to compare equal. */
#ifndef ORACLE_DIFFERENCES_H
#define ORACLE_DIFFERENCES_H

#include "world.h"

/* A scenario begins. */
void normalise_begin(void);
/* world_do() in a way in which listed differences don't show. */
void do_normalised(const struct op *op, struct answer *a);
/* What is printed of an entry. */
void normalise_entry(struct oracle_entry *e);
/* The list of mappings. Return: how many are left. */
unsigned normalise_vmas(struct oracle_vma vma[], unsigned nr);
/* The list: names and reasons. */
void print_differences(FILE *out);

#endif
