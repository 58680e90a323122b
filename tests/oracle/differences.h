/* SPDX-License-Identifier: MIT */
/* tests/oracle/differences.h - allowed differences, and functions that hide them from the comparison. */
#ifndef ORACLE_DIFFERENCES_H
#define ORACLE_DIFFERENCES_H

#include "world.h"

/* Call this at the start of a scenario. */
void normalise_begin(void);
/* Like world_do(), but so that listed differences do not show. */
void do_normalised(const struct op *op, struct answer *a);
/* Change an entry to its printed form. */
void normalise_entry(struct oracle_entry *e);
/* Change a list of VMAs to its printed form. Return: the number of VMAs left. */
unsigned normalise_vmas(struct oracle_vma vma[], unsigned nr);
/* Print the list: names and reasons. */
void print_differences(FILE *out);

#endif
