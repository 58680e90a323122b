/* SPDX-License-Identifier: MIT */
/* tests/oracle/scenario.c - the language of scenarios: one table for reading and printing. */
#define _GNU_SOURCE
#include "scenario.h"

#include <stdlib.h>
#include <string.h>

/*
 * Types of arguments: p page, n count, o page of an object, l object's letter, s shared or private, r rights,
 * v value, c process, g flags of a pin.
 */
static const struct {
	const char *name, *args;
} ops[NR_OP_KINDS] = {
	[OP_MAP] = { "map", "lsrpno" },
	[OP_MAPRO] = { "mapro", "lsrpno" },	/* through a descriptor that was opened read-only */
	[OP_ANON] = { "anon", "srpn" },
	[OP_LOAD] = { "load", "p" },
	[OP_STORE] = { "store", "pv" },
	[OP_GET] = { "get", "p" },		/* a system call loads */
	[OP_PUT] = { "put", "pv" },		/* a system call stores */
	[OP_FORK] = { "fork", "c" },
	[OP_EXIT] = { "exit", "" },
	[OP_PROTECT] = { "protect", "pnr" },
	[OP_UNMAP] = { "unmap", "pn" },
	[OP_MOVE] = { "move", "pnnp" },		/* mremap: old length, new length, destination */
	[OP_RESIZE] = { "resize", "pnn" },	/* mremap in place */
	[OP_DROP] = { "drop", "pn" },		/* MADV_DONTNEED */
	[OP_POPULATE] = { "populate", "pnr" },	/* MADV_POPULATE_READ or _WRITE */
	[OP_WP] = { "wp", "lon" },
	[OP_CLEAN] = { "clean", "lon" },
	[OP_ZAP] = { "zap", "lon" },		/* unmap_mapping_range() */
	[OP_REFUSE] = { "refuse", "ln" },	/* 1: mkwrites fail; 0: no longer */
	[OP_PIN] = { "pin", "npng" },		/* slot, pages, how */
	[OP_UNPIN] = { "unpin", "nn" },		/* slot; 1: the pages were stored to */
	[OP_GRAIN] = { "grain", "ln" },		/* largest leaf of a huge object: 0: 4 KiB, 1: 2 MiB, 2: 1 GiB */
	[OP_POKE] = { "poke", "nnv" },		/* slot, page in the slot: store through the frame */
};

/* In the order of the bits PIN_*. No bit set: "r". */
static const char pin_letters[] = "wflso";

static bool read_rights(const char *word, uint64_t *val)
{
	*val = 0;
	for (; *word; word++) {
		if (!strchr("rwxn", *word))
			return false;
		*val |= *word == 'r' ? PROT_R : *word == 'w' ? PROT_W : *word == 'x' ? PROT_X : 0;
	}
	return true;
}

static bool read_how(const char *word, uint64_t *val)
{
	*val = 0;
	for (; *word; word++) {
		const char *at = strchr(pin_letters, *word);

		if (!at && *word != 'r')
			return false;
		*val |= at ? 1u << (at - pin_letters) : 0;
	}
	return true;
}

/* The greatest value of an argument of this type. */
static uint64_t limit_of(char type)
{
	return type == 'c' ? NR_PROCS - 1 : type == 'p' ? NR_PAGES - 1 : 1 << 18;
}

static bool read_arg(char type, const char *word, uint64_t *val)
{
	char *end;

	switch (type) {
	case 'l':
		*val = (unsigned char)*word;
		return strchr(OBJECTS, *word) && !word[1];
	case 's':
		*val = !strcmp(word, "shared");
		return *val || !strcmp(word, "private");
	case 'r':
		return read_rights(word, val);
	case 'g':
		return read_how(word, val);
	default:
		*val = strtoull(word, &end, 0);
		return end != word && !*end && (type == 'v' || *val <= limit_of(type));
	}
}

static bool read_op(char *line, struct op *op)
{
	char *save, *word = strtok_r(line, " \n", &save);
	unsigned k;

	memset(op, 0, sizeof(*op));
	if (!word || strlen(word) != 2)
		return false;
	op->proc = *word == 'P' ? word[1] - '0' : NOBODY;
	if (op->proc >= NR_PROCS || (op->proc == NOBODY && strcmp(word, "--") != 0))
		return false;
	word = strtok_r(NULL, " \n", &save);
	for (k = 0; k < NR_OP_KINDS && word && strcmp(ops[k].name, word) != 0; k++)
		;
	if (!word || k == NR_OP_KINDS)
		return false;
	op->kind = (enum op_kind)k;
	for (unsigned i = 0; ops[k].args[i]; i++) {
		word = strtok_r(NULL, " \n", &save);
		if (!word || !read_arg(ops[k].args[i], word, &op->arg[i]))
			return false;
	}
	return true;
}

int scenario_read(FILE *in, struct scenario *s, const char **why)
{
	char line[256];
	int c;

	if (!fgets(line, sizeof(line), in))
		return 0;
	s->nr_ops = 0;
	*why = "a line that is not 'scenario N'";
	if (strncmp(line, "scenario ", 9) != 0)
		return -1;
	s->seed = strtoull(line + 9, NULL, 0);
	while ((c = getc(in)) != EOF) {
		ungetc(c, in);
		if (c == 's')		/* the next scenario */
			break;
		if (!fgets(line, sizeof(line), in))
			break;
		if (*line == '#' || *line == '\n')
			continue;
		*why = "an operation that is not in the table";
		if (s->nr_ops == MAX_OPS || !read_op(line, &s->op[s->nr_ops++]))
			return -1;
	}
	return 1;
}

static void print_rights(FILE *out, uint64_t val)
{
	fprintf(out, " %s%s%s%s", val & PROT_R ? "r" : "", val & PROT_W ? "w" : "", val & PROT_X ? "x" : "",
		val ? "" : "n");
}

static void print_how(FILE *out, uint64_t val)
{
	fprintf(out, val & PIN_W ? " " : " r");
	for (unsigned i = 0; pin_letters[i]; i++)
		if (val & 1u << i)
			putc(pin_letters[i], out);
}

void op_print(FILE *out, const struct op *op)
{
	if (op->proc == NOBODY)
		fprintf(out, "-- %s", ops[op->kind].name);
	else
		fprintf(out, "P%d %s", op->proc, ops[op->kind].name);
	for (unsigned i = 0; ops[op->kind].args[i]; i++) {
		switch (ops[op->kind].args[i]) {
		case 'l':
			fprintf(out, " %c", (char)op->arg[i]);
			break;
		case 's':
			fprintf(out, " %s", op->arg[i] ? "shared" : "private");
			break;
		case 'r':
			print_rights(out, op->arg[i]);
			break;
		case 'g':
			print_how(out, op->arg[i]);
			break;
		case 'v':
			fprintf(out, " 0x%llx", (unsigned long long)op->arg[i]);
			break;
		default:
			fprintf(out, " %llu", (unsigned long long)op->arg[i]);
		}
	}
}
