/* SPDX-License-Identifier: MIT */
/* tests/diff/kinds.c - the table of all operations, their text form, and the drawing of arguments. */
#include <stdio.h>

#include "tests/diff/diff.h"

#define NR_FAMILIES (sizeof(families) / sizeof(families[0]))

static const struct {
	const struct kind *kinds;
	const unsigned *nr;
} families[] = {
	{ map_kinds, &nr_map_kinds },	    { advice_kinds, &nr_advice_kinds },
	{ access_kinds, &nr_access_kinds }, { object_kinds, &nr_object_kinds },
	{ process_kinds, &nr_process_kinds }, { uffd_kinds, &nr_uffd_kinds },
	{ scan_kinds, &nr_scan_kinds },	    { enumerate_kinds, &nr_enumerate_kinds },
};

const struct kind *kind_at(unsigned i)
{
	for (unsigned f = 0; f < NR_FAMILIES; f++) {
		if (i < *families[f].nr)
			return &families[f].kinds[i];
		i -= *families[f].nr;
	}
	return NULL;
}

int kind_named(const char *name)
{
	for (unsigned i = 0; kind_at(i); i++)
		if (strcmp(kind_at(i)->name, name) == 0)
			return (int)i;
	return -1;
}

/* --- drawing --- */

uint64_t draw(struct generator *g)	/* xorshift64* */
{
	g->state ^= g->state >> 12;
	g->state ^= g->state << 25;
	g->state ^= g->state >> 27;
	return g->state * 0x2545f4914f6cdd1dull;
}

unsigned below(struct generator *g, unsigned n)
{
	return (unsigned)((draw(g) >> 33) % n);
}

bool one_in(struct generator *g, unsigned n)
{
	return below(g, n) == 0;
}

/* Half of the pages are close to the border of a table. */
uint64_t some_page(struct generator *g)
{
	return one_in(g, 2) ? BASE + below(g, WINDOW) * PAGE : BASE + (WINDOW / 2 - 6 + below(g, 12)) * PAGE;
}

uint64_t some_pages(struct generator *g)
{
	return (1 + below(g, one_in(g, 8) ? MARGIN : 4)) * PAGE;
}

/* Never PROT_EXEC alone: on CPUs with protection keys, it denies loads. */
uint32_t some_prot(struct generator *g)
{
	static const uint32_t prots[] = { 3, 3, 3, 3, 1, 1, 0, 7, 5, 2 };

	return prots[below(g, sizeof(prots) / sizeof(prots[0]))];
}

uint32_t some_bit(struct generator *g, unsigned in, unsigned low, unsigned high)
{
	return one_in(g, in) ? 1u << (low + below(g, high - low)) : 0;
}

void some_range(struct generator *g, struct op *op)
{
	static const uint64_t odd_len[] = { 0, 0, ~0ull, ~0ull << 12, 1ull << 47, 1ull << 63 };

	op->addr = some_page(g);
	op->len = some_pages(g);
	if (one_in(g, 8))
		op->len -= below(g, PAGE);
	if (one_in(g, 64))
		op->addr += below(g, PAGE);
	if (one_in(g, 64))
		op->len = odd_len[below(g, sizeof(odd_len) / sizeof(odd_len[0]))];
}

void generate(struct generator *g, struct op *op)
{
	unsigned sum = 0, at, i;

	for (i = 0; kind_at(i); i++)
		sum += kind_at(i)->weight;
	at = below(g, sum);
	for (i = 0; at >= kind_at(i)->weight; i++)
		at -= kind_at(i)->weight;
	*op = (struct op){ .kind = (uint16_t)i, .look = one_in(g, 12) };
	do {
		op->proc = (uint8_t)below(g, MAX_PROCS);
	} while (!g->alive[op->proc]);
	kind_at(i)->generate(g, op);
}

/* --- text --- */

void print_op(const struct op *op)
{
	printf("%s proc=%u look=%u addr=%#llx len=%#llx to=%#llx new_len=%#llx prot=%u flags=%#x object=%u "
	       "access=%u val=%#llx\n",
	       kind_at(op->kind)->name, op->proc, op->look, (unsigned long long)op->addr,
	       (unsigned long long)op->len, (unsigned long long)op->to, (unsigned long long)op->new_len, op->prot,
	       op->flags, op->object, op->access, (unsigned long long)op->val);
}

bool parse_op(const char *line, struct op *op)
{
	unsigned long long addr, len, to, new_len, val;
	unsigned proc, look;
	char name[32];
	int kind;

	*op = (struct op){ .kind = 0 };
	if (sscanf(line, "%31s proc=%u look=%u addr=%llx len=%llx to=%llx new_len=%llx prot=%u flags=%x object=%u "
			 "access=%u val=%llx",
		   name, &proc, &look, &addr, &len, &to, &new_len, &op->prot, &op->flags, &op->object,
		   &op->access, &val) != 12)
		return false;
	kind = kind_named(name);
	if (kind < 0 || proc >= MAX_PROCS || op->object >= NR_OBJECTS || op->access >= 3)
		return false;
	op->kind = (uint16_t)kind;
	op->proc = (uint8_t)proc;
	op->look = look != 0;
	op->addr = addr;
	op->len = len;
	op->to = to;
	op->new_len = new_len;
	op->val = val;
	return true;
}
