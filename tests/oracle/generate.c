/* SPDX-License-Identifier: MIT */
/*
 * tests/oracle/generate.c FIRST NR - print NR random scenarios, with the seeds FIRST, FIRST + 1, ...
 *
 * It keeps an approximate model of what is mapped, so that most operations are on mapped pages. A tenth use any
 * address.
 */
#include "scenario.h"

#include <stdlib.h>
#include <string.h>

#include "module/oracle.h"

#define NR_OPS 32

struct model {
	uint64_t random;
	bool alive[NR_PROCS];
	unsigned begin, end;			/* range of pages for the next operation */
	uint16_t page[NR_PROCS][NR_PAGES];	/* number of the mapping operation that mapped it; 0: unmapped */
	uint16_t nr_maps;
	bool refused[2];
	uint8_t pinned[ORACLE_PINS];		/* pages in the slot, if the pin succeeded */
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

static unsigned any_page(struct model *m)
{
	return m->begin + below(m, m->end - m->begin);
}

/* A mapped page, if there is one; sometimes any page. */
static unsigned some_page(struct model *m, int proc)
{
	unsigned start = any_page(m), page = start;

	for (unsigned i = m->begin; i < m->end && !chance(m, 10); i++) {
		if (m->page[proc][page])
			return page;
		page = page + 1 < m->end ? page + 1 : m->begin;
	}
	return start;
}

/* A number of pages from @first on, within the region. */
static unsigned some_pages(struct model *m, unsigned first)
{
	unsigned room = m->end - first, nr = 1 + below(m, chance(m, 70) ? 3 : 8);

	return nr < room ? nr : room;
}

/* With huge pages, the range is often whole huge pages. */
static void some_range(struct model *m, struct op *op)
{
	unsigned first = some_page(m, op->proc), nr;

	if (m->begin >= FIRST_PMD && chance(m, 60)) {
		first -= first % UNIT;
		nr = UNIT * (1 + below(m, 2));
		nr = first + nr > m->end ? m->end - first : nr;
	} else {
		nr = some_pages(m, first);
	}
	op->arg[0] = first;
	op->arg[1] = nr;
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

/* --- operations; false: not possible now --- */

static bool gen_map(struct model *m, struct op *op)
{
	static const char letters[] = "MMMQPPRF";
	char letter = letters[below(m, sizeof(letters) - 1)];
	bool raw = letter == 'P' || letter == 'R';
	unsigned first = any_page(m), nr = some_pages(m, first);

	op->kind = chance(m, 10) ? OP_MAPRO : OP_MAP;
	op->arg[0] = (unsigned char)letter;
	/* Raw frames always shared: Vellum copies them on write, and in Linux that depends on the driver. */
	op->arg[1] = raw || chance(m, 75);
	op->arg[2] = chance(m, 75) ? PROT_R | PROT_W : some_rights(m);
	op->arg[3] = first;
	op->arg[4] = nr;
	/* Map no page beyond the end of a memfd: differences.c, "fault-around-end". */
	op->arg[5] = below(m, chance(m, 95) || letter == 'F' ? 9 : ORACLE_PAGES);
	set_pages(m, op->proc, first, nr, ++m->nr_maps);
	return true;
}

static bool gen_anon(struct model *m, struct op *op)
{
	unsigned first = any_page(m), nr = some_pages(m, first);

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

/* mprotect split these pages off. Linux may merge fewer VMAs again: differences.c, "merge". */
static void part_from_rest(struct model *m, int proc, unsigned first, unsigned nr)
{
	unsigned was = 0;

	for (unsigned i = first; i < first + nr; i++) {
		if (m->page[proc][i] != was)
			m->nr_maps++;
		was = m->page[proc][i];
		if (was)
			m->page[proc][i] = m->nr_maps;
	}
}

static bool gen_protect(struct model *m, struct op *op)
{
	op->kind = OP_PROTECT;
	some_range(m, op);
	op->arg[2] = some_rights(m);
	part_from_rest(m, op->proc, (unsigned)op->arg[0], (unsigned)op->arg[1]);
	return true;
}

static bool gen_unmap(struct model *m, struct op *op)
{
	op->kind = OP_UNMAP;
	some_range(m, op);
	set_pages(m, op->proc, (unsigned)op->arg[0], (unsigned)op->arg[1], 0);
	return true;
}

/* A number of pages from @first on that one operation mapped: differences.c, "merge". */
static unsigned run_length(struct model *m, int proc, unsigned first)
{
	unsigned nr = 1, want = some_pages(m, first);

	while (nr < want && first + nr < m->end && m->page[proc][first + nr] == m->page[proc][first])
		nr++;
	return nr;
}

static bool gen_move(struct model *m, struct op *op)
{
	unsigned from = some_page(m, op->proc), nr = run_length(m, op->proc, from);
	unsigned to = any_page(m), new = chance(m, 80) ? nr : some_pages(m, to);

	if (to + new > m->end)
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
	op->arg[2] = op->arg[1] + nr > m->end ? 1 : nr;
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

/* --- huge pages: in separate windows, of the objects H and G --- */

static bool gen_huge_map(struct model *m, struct op *op)
{
	bool pmds = m->begin == FIRST_PMD;
	uint64_t window = pmds ? PMD_WINDOW : PUD_WINDOW;

	some_range(m, op);
	op->kind = OP_MAP;
	op->arg[3] = op->arg[0];
	op->arg[4] = op->arg[1];
	op->arg[0] = (unsigned char)(chance(m, 50) ? 'H' : 'G');
	op->arg[1] = 1;
	op->arg[2] = chance(m, 80) ? PROT_R | PROT_W : some_rights(m);
	/* Mostly with the window's alignment. If more than 1 GiB is mapped, the rest is beyond the object's end. */
	op->arg[5] = (page_at(op->arg[3]) - window) / PAGE % ORACLE_HUGE_PAGES;
	op->arg[5] += pmds && chance(m, 30) ? 512 : chance(m, 7) ? 1 : 0;
	set_pages(m, op->proc, (unsigned)op->arg[3], (unsigned)op->arg[4], ++m->nr_maps);
	return true;
}

static bool gen_huge_move(struct model *m, struct op *op)
{
	unsigned from = some_page(m, op->proc), nr = UNIT, to;

	if (chance(m, 75))
		from -= from % UNIT;
	else
		nr = 1 + below(m, UNIT - from % UNIT);
	/* The same offset in another huge page, so that the length is the same. */
	to = m->begin + UNIT * below(m, (m->end - m->begin) / UNIT) + from % UNIT;
	if (to == from)
		return false;
	op->kind = OP_MOVE;
	op->arg[0] = from;
	op->arg[1] = nr;
	op->arg[2] = nr;
	op->arg[3] = to;
	set_pages(m, op->proc, from, nr, 0);
	set_pages(m, op->proc, to, nr, ++m->nr_maps);
	return true;
}

static bool gen_huge_helper(struct model *m, struct op *op)
{
	static const uint16_t first[] = { 0, 0, 0, 1, 256, 511, 512, 513 }, nr[] = { 1, 2, 512, 1024, 2048 };

	op->proc = NOBODY;
	op->kind = chance(m, 15) ? OP_ZAP : chance(m, 50) ? OP_WP : OP_CLEAN;
	op->arg[0] = (unsigned char)(chance(m, 50) ? 'H' : 'G');
	op->arg[1] = first[below(m, sizeof(first) / sizeof(first[0]))];
	op->arg[2] = nr[below(m, sizeof(nr) / sizeof(nr[0]))];
	return true;
}

static bool gen_grain(struct model *m, struct op *op)
{
	op->proc = NOBODY;
	op->kind = OP_GRAIN;
	op->arg[0] = (unsigned char)(chance(m, 50) ? 'H' : 'G');
	op->arg[1] = below(m, 3);
	return true;
}

static bool gen_huge_refuse(struct model *m, struct op *op)
{
	op->proc = NOBODY;
	op->kind = OP_REFUSE;
	op->arg[0] = 'G';
	op->arg[1] = m->refused[0] = !m->refused[0];
	return true;
}

/*
 * With the mmap lock, where the VMA makes Linux refuse the pin. Without locks, this version of Linux would use the
 * struct page of a huge entry, and there is none.
 */
static bool gen_huge_pin(struct model *m, struct op *op)
{
	if (!gen_pin(m, op))
		return false;
	op->arg[2] = 1;
	op->arg[3] = (op->arg[3] & ~(uint64_t)PIN_REMOTE) | PIN_SLOW;
	return true;
}

struct maker {
	unsigned weight;
	bool (*make)(struct model *m, struct op *op);
};

static const struct maker makers[] = {
	{ 12, gen_map },     { 7, gen_anon },	{ 40, gen_access }, { 7, gen_fork },   { 3, gen_exit },
	{ 10, gen_protect }, { 4, gen_unmap },	{ 7, gen_move },    { 2, gen_resize }, { 4, gen_drop },
	{ 2, gen_populate }, { 14, gen_helper }, { 2, gen_refuse }, { 7, gen_pin },    { 6, gen_use_pin },
	{ 0, NULL },
};
static const struct maker huge_makers[] = {
	{ 14, gen_huge_map },  { 40, gen_access },	{ 6, gen_fork },  { 3, gen_exit },
	{ 8, gen_protect },    { 5, gen_unmap },	{ 9, gen_huge_move }, { 12, gen_huge_helper },
	{ 3, gen_grain },      { 2, gen_huge_refuse },	{ 2, gen_huge_pin }, { 0, NULL },
};

/* A third of the scenarios use huge pages. */
static bool is_huge(uint64_t seed)
{
	return seed % 3 == 0;
}

static bool make_op(struct model *m, const struct maker *from, struct op *op)
{
	unsigned total = 0, at, i;

	for (i = 0; from[i].make; i++)
		total += from[i].weight;
	at = below(m, total);
	for (i = 0; at >= from[i].weight; i++)
		at -= from[i].weight;
	memset(op, 0, sizeof(*op));
	op->proc = some_proc(m);
	return from[i].make(m, op);
}

static void choose_window(struct model *m, bool huge)
{
	bool pmds = huge && chance(m, 70);

	m->begin = pmds ? FIRST_PMD : huge ? FIRST_PUD : 0;
	m->end = pmds ? FIRST_PUD : huge ? NR_PAGES : FIRST_PMD;
}

static void generate(uint64_t seed)
{
	struct model m = { .random = seed * 0x5851f42d4c957f2dull, .alive = { true } };
	struct op op;

	printf("scenario %llu\n", (unsigned long long)seed);
	for (unsigned i = 0; i < NR_OPS;) {
		choose_window(&m, is_huge(seed));
		if (i == 0) {
			memset(&op, 0, sizeof(op));
			is_huge(seed) ? gen_huge_map(&m, &op) : gen_map(&m, &op);
		} else if (!make_op(&m, is_huge(seed) ? huge_makers : makers, &op)) {
			continue;
		}
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
