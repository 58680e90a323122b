/* SPDX-License-Identifier: MIT */
/*
 * tests/oracle/generate.c FIRST NR - NR random scenarios, with the seeds FIRST, FIRST + 1, ...
 *
 * It follows roughly what is mapped where, so that most operations meet something; a tenth goes
 * anywhere.
 */
#include "scenario.h"

#include <stdlib.h>
#include <string.h>

#include "module/oracle.h"

#define NR_OPS 32

struct model {
	uint64_t random;
	bool alive[NR_PROCS];
	uint16_t page[NR_PROCS][NR_PAGES];	/* number of the mapping that it came from; 0: nothing */
	uint16_t nr_maps;
	bool refused[2];
	uint8_t pinned[ORACLE_PINS];		/* pages; probably */
	uint64_t next_value;
};

static unsigned below(struct model *m, unsigned n)
{
	/* splitmix64 */
	uint64_t z = m->random += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (unsigned)((z ^ z >> 31) >> 32) % n;
}

static bool chance(struct model *m, unsigned percent)
{
	return below(m, 100) < percent;
}

static int some_proc(struct model *m)
{
	int proc;

	do
		proc = (int)below(m, NR_PROCS);
	while (!m->alive[proc]);
	return proc;
}

/* A mapped page, if there is one; now and then any. */
static unsigned some_page(struct model *m, int proc)
{
	unsigned start = below(m, NR_PAGES);

	for (unsigned i = 0; i < NR_PAGES && !chance(m, 10); i++)
		if (m->page[proc][(start + i) % NR_PAGES])
			return (start + i) % NR_PAGES;
	return start;
}

/* Some pages from @first on: within the region. */
static unsigned some_pages(struct model *m, unsigned first)
{
	unsigned room = NR_PAGES - first, nr = 1 + below(m, chance(m, 70) ? 3 : 8);

	return nr < room ? nr : room;
}

static void set_pages(struct model *m, int proc, unsigned first, unsigned nr, uint16_t what)
{
	for (unsigned i = first; i < first + nr; i++)
		m->page[proc][i] = what;
}

static uint64_t some_rights(struct model *m)
{
	static const uint8_t rights[] = { PROT_R, PROT_R | PROT_W, PROT_R | PROT_W, PROT_R | PROT_W, 0, PROT_W,
					  PROT_R | PROT_X, PROT_R | PROT_W | PROT_X };

	return rights[below(m, sizeof(rights))];
}

/* --- operations: false if it makes no sense now --- */

static bool gen_map(struct model *m, struct op *op)
{
	static const char letters[] = "MMMQPPRF";
	char letter = letters[below(m, sizeof(letters) - 1)];
	bool raw = letter == 'P' || letter == 'R';
	unsigned first = below(m, NR_PAGES), nr = some_pages(m, first);

	op->kind = chance(m, 10) ? OP_MAPRO : OP_MAP;
	op->arg[0] = (unsigned char)letter;
	/* Vellum copies raw frames on write; what drivers of Linux do is up to them. */
	op->arg[1] = raw || chance(m, 75);
	op->arg[2] = chance(m, 75) ? PROT_R | PROT_W : some_rights(m);
	op->arg[3] = first;
	op->arg[4] = nr;
	/* Of memfds nothing beyond the end: differences.c, "fault-around-end". */
	op->arg[5] = below(m, chance(m, 95) || letter == 'F' ? 9 : ORACLE_PAGES);
	set_pages(m, op->proc, first, nr, ++m->nr_maps);
	return true;
}

static bool gen_anon(struct model *m, struct op *op)
{
	unsigned first = below(m, NR_PAGES), nr = some_pages(m, first);

	op->kind = OP_ANON;
	op->arg[0] = chance(m, 25);
	op->arg[1] = chance(m, 75) ? PROT_R | PROT_W : some_rights(m);
	op->arg[2] = first;
	op->arg[3] = nr;
	set_pages(m, op->proc, first, nr, ++m->nr_maps);
	return true;
}

static bool gen_access(struct model *m, struct op *op)
{
	static const enum op_kind kinds[] = { OP_LOAD, OP_LOAD, OP_LOAD, OP_STORE, OP_STORE, OP_STORE, OP_STORE,
					      OP_STORE, OP_GET, OP_PUT };

	op->kind = kinds[below(m, sizeof(kinds) / sizeof(kinds[0]))];
	op->arg[0] = some_page(m, op->proc);
	op->arg[1] = ++m->next_value;
	return true;
}

static bool gen_fork(struct model *m, struct op *op)
{
	for (unsigned c = 0; c < NR_PROCS; c++) {
		if (m->alive[c])
			continue;
		op->kind = OP_FORK;
		op->arg[0] = c;
		m->alive[c] = true;
		memcpy(m->page[c], m->page[op->proc], sizeof(m->page[c]));
		return true;
	}
	return false;
}

static bool gen_exit(struct model *m, struct op *op)
{
	unsigned nr = 0;

	for (unsigned p = 0; p < NR_PROCS; p++)
		nr += m->alive[p];
	if (nr < 2)
		return false;
	op->kind = OP_EXIT;
	m->alive[op->proc] = false;
	return true;
}

static bool gen_protect(struct model *m, struct op *op)
{
	op->kind = OP_PROTECT;
	op->arg[0] = some_page(m, op->proc);
	op->arg[1] = some_pages(m, (unsigned)op->arg[0]);
	op->arg[2] = some_rights(m);
	return true;
}

static bool gen_unmap(struct model *m, struct op *op)
{
	op->kind = OP_UNMAP;
	op->arg[0] = some_page(m, op->proc);
	op->arg[1] = some_pages(m, (unsigned)op->arg[0]);
	set_pages(m, op->proc, (unsigned)op->arg[0], (unsigned)op->arg[1], 0);
	return true;
}

/* Pages that came from one mapping: differences.c, "merge". */
static unsigned run_length(struct model *m, int proc, unsigned first)
{
	unsigned nr = 1, want = some_pages(m, first);

	while (nr < want && m->page[proc][first + nr] == m->page[proc][first])
		nr++;
	return nr;
}

static bool gen_move(struct model *m, struct op *op)
{
	unsigned from = some_page(m, op->proc), nr = run_length(m, op->proc, from);
	unsigned to = below(m, NR_PAGES), new = chance(m, 80) ? nr : some_pages(m, to);

	if (to + new > NR_PAGES)
		return false;
	op->kind = OP_MOVE;
	op->arg[0] = from;
	op->arg[1] = nr;
	op->arg[2] = new;
	op->arg[3] = to;
	set_pages(m, op->proc, from, nr, 0);
	set_pages(m, op->proc, to, new, ++m->nr_maps);
	return true;
}

static bool gen_resize(struct model *m, struct op *op)
{
	unsigned first = some_page(m, op->proc);

	op->kind = OP_RESIZE;
	op->arg[0] = first;
	op->arg[1] = run_length(m, op->proc, first);
	op->arg[2] = some_pages(m, first);
	return true;
}

static bool gen_drop(struct model *m, struct op *op)
{
	op->kind = OP_DROP;
	op->arg[0] = some_page(m, op->proc);
	op->arg[1] = some_pages(m, (unsigned)op->arg[0]);
	return true;
}

static bool gen_populate(struct model *m, struct op *op)
{
	gen_drop(m, op);
	op->kind = OP_POPULATE;
	op->arg[2] = chance(m, 50) ? PROT_W : PROT_R;
	return true;
}

static bool gen_helper(struct model *m, struct op *op)
{
	static const char letters[] = "MMMPPQR";

	op->proc = NOBODY;
	op->kind = chance(m, 8) ? OP_ZAP : chance(m, 50) ? OP_WP : OP_CLEAN;
	op->arg[0] = (unsigned char)letters[below(m, sizeof(letters) - 1)];
	op->arg[1] = chance(m, 60) ? 0 : below(m, ORACLE_PAGES);
	op->arg[2] = chance(m, 60) ? ORACLE_PAGES : 1 + below(m, 4);
	return true;
}

static bool gen_refuse(struct model *m, struct op *op)
{
	unsigned i = m->refused[0] != m->refused[1] ? m->refused[1] : below(m, 2);

	op->proc = NOBODY;
	op->kind = OP_REFUSE;
	op->arg[0] = (unsigned char)"MP"[i];
	op->arg[1] = m->refused[i] = !m->refused[i];
	return true;
}

static bool gen_pin(struct model *m, struct op *op)
{
	static const uint8_t how[] = { 0, 0, PIN_LONGTERM, PIN_W, PIN_W, PIN_W, PIN_W | PIN_LONGTERM,
				       PIN_W | PIN_FORCE, PIN_FORCE };
	static const uint8_t way[] = { 0, 0, PIN_SLOW, PIN_REMOTE };
	unsigned slot = below(m, ORACLE_PINS), nr = chance(m, 80) ? 1 : 2;

	if (m->pinned[slot] && !chance(m, 5))
		return false;
	op->kind = OP_PIN;
	op->arg[0] = slot;
	op->arg[1] = some_page(m, op->proc);
	op->arg[2] = op->arg[1] + nr > NR_PAGES ? 1 : nr;
	op->arg[3] = how[below(m, sizeof(how))] | way[below(m, sizeof(way))];
	m->pinned[slot] = (uint8_t)op->arg[2];
	return true;
}

static bool gen_use_pin(struct model *m, struct op *op)
{
	unsigned slot = below(m, ORACLE_PINS);
	bool poke = chance(m, 50);

	if (!m->pinned[slot])
		return false;
	op->proc = NOBODY;
	op->kind = poke ? OP_POKE : OP_UNPIN;
	op->arg[0] = slot;
	op->arg[1] = below(m, poke ? m->pinned[slot] : 2);
	op->arg[2] = poke ? ++m->next_value : 0;
	if (!poke)
		m->pinned[slot] = 0;
	return true;
}

static const struct {
	unsigned weight;
	bool (*make)(struct model *m, struct op *op);
} makers[] = {
	{ 12, gen_map },   { 7, gen_anon },  { 40, gen_access }, { 7, gen_fork },     { 3, gen_exit },
	{ 10, gen_protect }, { 4, gen_unmap }, { 7, gen_move },	 { 2, gen_resize },   { 4, gen_drop },
	{ 2, gen_populate }, { 14, gen_helper }, { 2, gen_refuse },
	{ 7, gen_pin },	   { 6, gen_use_pin },
};

static bool make_op(struct model *m, struct op *op)
{
	unsigned total = 0, at, i;

	for (i = 0; i < sizeof(makers) / sizeof(makers[0]); i++)
		total += makers[i].weight;
	at = below(m, total);
	for (i = 0; at >= makers[i].weight; i++)
		at -= makers[i].weight;
	memset(op, 0, sizeof(*op));
	op->proc = some_proc(m);
	return makers[i].make(m, op);
}

static void generate(uint64_t seed)
{
	struct model m = { .random = seed * 0x5851f42d4c957f2dull, .alive = { true } };
	struct op op;

	printf("scenario %llu\n", (unsigned long long)seed);
	for (unsigned i = 0; i < NR_OPS;) {
		bool made = i == 0 ? (memset(&op, 0, sizeof(op)), gen_map(&m, &op)) : make_op(&m, &op);

		if (!made)
			continue;
		op_print(stdout, &op);
		putchar('\n');
		i++;
	}
}

int main(int argc, char **argv)
{
	uint64_t first = argc > 2 ? strtoull(argv[1], NULL, 0) : 0;
	uint64_t nr = argc > 2 ? strtoull(argv[2], NULL, 0) : 0;

	if (!nr) {
		fprintf(stderr, "usage: generate FIRST NR\n");
		return 2;
	}
	for (uint64_t seed = first; seed < first + nr; seed++)
		generate(seed);
	return 0;
}
