/* SPDX-License-Identifier: MIT */
/*
 * tests/oracle/drive.c - run scenarios in a world. Prints each operation with its answer, and below it the changes
 * since the last operation: VMAs, entries, calls of mkwrite hooks.
 *
 * Frames have names that don't depend on their numbers. An object's page is its letter and index, the zero
 * page is Z. Anonymous pages are a1, a2, ... in the order in which they are first seen; a name is dropped when no
 * process maps the page and no pin holds it. A ! marks a page that may be pinned.
 */
#include "world.h"

#include <string.h>

#include "arch/x86/pgtable.h"
#include "differences.h"

#define MAX_NAMES (NR_PROCS * NR_PAGES)
#define LINE 96

/* Numbers for the owners seen so far: frames or inodes. */
struct names {
	unsigned nr, last;
	struct {
		uint64_t owner;
		unsigned number;
		bool seen;	/* in the current dump */
	} name[2 * MAX_NAMES];
};

static struct state {
	struct names anon, file;
	char line[NR_PROCS][NR_PAGES][LINE];	/* as last printed */
	char vmas[NR_PROCS][2048];
	char pins[ORACLE_PINS][32 * ORACLE_MAX_PIN];
	struct oracle_entry pinned[ORACLE_PINS][ORACLE_MAX_PIN];	/* at the time of the pin */
	unsigned nr_pinned[ORACLE_PINS];
	unsigned mkwrites[sizeof(OBJECTS)];
} state;

static unsigned number_of(struct names *names, uint64_t owner)
{
	unsigned i;

	for (i = 0; i < names->nr && names->name[i].owner != owner; i++)
		;
	if (i == names->nr) {
		names->name[i].owner = owner;
		names->name[i].number = ++names->last;
		names->nr++;
	}
	names->name[i].seen = true;
	return names->name[i].number;
}

/* A frame that no process maps is free, and may be allocated for another page. */
static void forget_unseen(struct names *names)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < names->nr; i++) {
		if (!names->name[i].seen)
			continue;
		names->name[kept] = names->name[i];
		names->name[kept++].seen = false;
	}
	names->nr = kept;
}

/* --- printing entries --- */

static void frame_name(char *to, size_t room, const struct oracle_entry *e)
{
	switch (e->kind) {
	case ORACLE_ZERO:
		snprintf(to, room, "Z");
		break;
	case ORACLE_ANON:
		snprintf(to, room, "a%u", number_of(&state.anon, e->owner));
		break;
	case ORACLE_OBJECT:
		snprintf(to, room, "%c%u", (char)e->owner, e->index);
		break;
	case ORACLE_FILE:
		snprintf(to, room, "f%u.%u", number_of(&state.file, e->owner), e->index);
		break;
	default:
		snprintf(to, room, "?%llx", (unsigned long long)e->owner);
	}
}

static void bits_of(char *to, uint64_t raw)
{
	static const struct {
		uint64_t bit;
		char letter;
	} bits[] = {
		{ X86_PRESENT, 'P' }, { X86_PROTNONE, 'N' }, { X86_RW, 'W' }, { X86_USER, 'U' },
		{ X86_PWT, 't' }, { X86_PCD, 'c' }, { X86_ACCESSED, 'A' }, { X86_DIRTY, 'D' },
		{ X86_PSE, 'H' }, { X86_SPECIAL, 'S' }, { X86_UFFD_WP, 'u' }, { X86_SOFT_DIRTY, 's' },
		{ X86_DEVMAP, 'v' }, { X86_SAVED_DIRTY, 'd' }, { X86_NX, 'X' },
	};

	for (unsigned i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
		if (raw & bits[i].bit)
			*to++ = bits[i].letter;
	for (unsigned bit = 59; bit < 63; bit++)
		if (raw & 1ull << bit)
			*to++ = (char)('0' + bit - 59);	/* protection key */
	*to = 0;
}

static void entry_line(char *to, const struct oracle_entry *raw)
{
	static const char *const level[] = { "", "", "pmd ", "pud " };
	struct oracle_entry e = *raw;
	char bits[32], frame[32];

	normalise_entry(&e);
	if (e.kind == ORACLE_NOTHING) {
		snprintf(to, LINE, "-");
	} else if (e.kind == ORACLE_MARKER) {
		snprintf(to, LINE, "marker %u", e.index);
	} else if (e.kind == ORACLE_SWAP) {
		snprintf(to, LINE, "swap type %u", (unsigned)e.owner);
	} else {
		frame_name(frame, sizeof(frame), &e);
		bits_of(bits, e.raw);
		snprintf(to, LINE, "%s%s %s%s %llx", level[e.level & 3], bits, frame, e.pinned ? "!" : "",
			 (unsigned long long)e.word);
	}
}

static void print_entries(FILE *out, int proc)
{
	struct oracle_entry entry[NR_PAGES];
	char line[LINE];

	memset(entry, 0, sizeof(entry));
	if (world_alive(proc))
		world_entries(proc, entry);
	for (unsigned i = 0; i < NR_PAGES; i++) {
		entry_line(line, &entry[i]);
		if (strcmp(line, state.line[proc][i]) == 0)
			continue;
		strcpy(state.line[proc][i], line);
		fprintf(out, "  P%d %u: %s\n", proc, i, line);
	}
}

/* If the slot was empty, keep the names of its pages now: their object may be freed before the pin. */
static void remember_pins(unsigned slot, const struct oracle_entry *page, unsigned nr)
{
	if (!state.nr_pinned[slot])
		memcpy(state.pinned[slot], page, nr * sizeof(*page));
	state.nr_pinned[slot] = nr;
}

static void print_pins(FILE *out, unsigned slot)
{
	struct oracle_entry page[ORACLE_MAX_PIN];
	char text[sizeof(state.pins[0])] = "", frame[32];
	unsigned nr;
	size_t len = 0;

	memset(page, 0, sizeof(page));
	nr = world_pins(slot, page);
	remember_pins(slot, page, nr);
	for (unsigned i = 0; i < nr && len < sizeof(text); i++) {
		normalise_entry(&page[i]);
		frame_name(frame, sizeof(frame), &state.pinned[slot][i]);
		len += (size_t)snprintf(text + len, sizeof(text) - len, " %s%s %llx", frame,
					page[i].pinned ? "!" : "", (unsigned long long)page[i].word);
	}
	if (strcmp(text, state.pins[slot]) == 0)
		return;
	strcpy(state.pins[slot], text);
	fprintf(out, "  pin %u:%s\n", slot, text);
}

/* --- VMAs --- */

/* The first page of interest at @addr or above. */
static unsigned page_of(uint64_t addr)
{
	unsigned i;

	for (i = 0; i < NR_PAGES && page_at(i) < addr; i++)
		;
	return i;
}

static void print_vmas(FILE *out, int proc)
{
	struct oracle_vma vma[2 * NR_PAGES];
	char text[sizeof(state.vmas[0])] = "";
	unsigned nr = world_alive(proc) ? world_vmas(proc, vma, 2 * NR_PAGES) : 0;
	size_t len = 0;

	nr = normalise_vmas(vma, nr);
	for (unsigned i = 0; i < nr; i++) {
		const struct oracle_vma *v = &vma[i];

		len += (size_t)snprintf(text + len, sizeof(text) - len, " %u+%llu:%s%s%s%c@%llu",
					page_of(v->start), (unsigned long long)(v->end - v->start) / PAGE,
					v->flags & ORACLE_VMA_READ ? "r" : "-",
					v->flags & ORACLE_VMA_WRITE ? "w" : "-",
					v->flags & ORACLE_VMA_SHARED ? "s" : "p",
					v->owner ? (char)v->owner : 'a',
					(unsigned long long)(v->owner ? v->pgoff : 0));
	}
	if (strcmp(text, state.vmas[proc]) == 0)
		return;
	strcpy(state.vmas[proc], text);
	fprintf(out, "  P%d maps:%s\n", proc, text);
}

/* --- answers --- */

static void print_answer(FILE *out, const struct op *op, const struct answer *a)
{
	switch (a->type) {
	case ANSWER_CODE:
		fprintf(out, " = %lld", (long long)a->code);
		break;
	case ANSWER_VALUE:
		fprintf(out, " = 0x%llx", (unsigned long long)a->value);
		break;
	case ANSWER_SIGNAL:
		fprintf(out, " = %s", a->signal);
		break;
	case ANSWER_WALK:
		fprintf(out, " = %llu entries", (unsigned long long)a->walk.count);
		if (op->kind == OP_CLEAN)
			fprintf(out, ", bits %llx in %llu to %llu", (unsigned long long)a->walk.bitmap,
				(unsigned long long)a->walk.start, (unsigned long long)a->walk.end);
		break;
	}
	putc('\n', out);
}

static void print_mkwrites(FILE *out)
{
	for (unsigned i = 0; OBJECTS[i]; i++) {
		unsigned now = world_mkwrites(OBJECTS[i]);

		if (now != state.mkwrites[i])
			fprintf(out, "  mkwrites of %c: %u\n", OBJECTS[i], now);
		state.mkwrites[i] = now;
	}
}

static void run_op(FILE *out, unsigned nr, const struct op *op)
{
	struct answer a;

	memset(&a, 0, sizeof(a));
	fprintf(out, "%u ", nr);
	op_print(out, op);
	if ((op->proc != NOBODY && !world_alive(op->proc)) || (op->kind == OP_FORK && world_alive((int)op->arg[0]))) {
		fprintf(out, " = no such process\n");
		return;
	}
	do_normalised(op, &a);
	print_answer(out, op, &a);
	print_mkwrites(out);
	for (int p = 0; p < NR_PROCS; p++) {
		print_vmas(out, p);
		print_entries(out, p);
	}
	for (unsigned slot = 0; slot < ORACLE_PINS; slot++)
		print_pins(out, slot);
	forget_unseen(&state.anon);
}

static void run_scenario(FILE *out, const struct scenario *s)
{
	memset(&state, 0, sizeof(state));
	for (int p = 0; p < NR_PROCS; p++)
		for (unsigned i = 0; i < NR_PAGES; i++)
			strcpy(state.line[p][i], "-");
	fprintf(out, "scenario %llu\n", (unsigned long long)s->seed);
	world_begin();
	normalise_begin();
	for (unsigned i = 0; i < s->nr_ops; i++)
		run_op(out, i, &s->op[i]);
	world_end();
}

int drive(FILE *in, FILE *out)
{
	static struct scenario s;
	const char *why;
	int got;

	while ((got = scenario_read(in, &s, &why)) > 0)
		run_scenario(out, &s);
	if (got < 0)
		fprintf(stderr, "scenario %llu: %s\n", (unsigned long long)s.seed, why);
	else
		fprintf(out, "end\n");
	return got < 0;
}
