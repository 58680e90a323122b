/* SPDX-License-Identifier: MIT */
/* tests/explore/trace.c - prints the steps of a schedule: how far each actor ran, and its next step. */
#include "engine.h"

#define MAX_LINES 100	/* a schedule that does not end has thousands */

static int tracing;	/* actor whose steps are counted; -1: none yet */
static unsigned steps, total, lines;

/* Find the address that the entry at @where translates, if @where is in a table of @of. */
static bool find_entry(const struct vellum_mm *of, const uint64_t *table, unsigned nr, unsigned shift,
		       uint64_t base, const volatile void *where, char *out, size_t len)
{
	static const char *const levels[] = { "entry of", "PMD entry of", "PUD entry of", "PGD entry of" };
	bool found = false;

	for (unsigned i = 0; i < nr && !found; i++) {
		uint64_t addr = base + ((uint64_t)i << shift), val = table[i];

		if ((const volatile void *)&table[i] == where) {
			snprintf(out, len, "%s 0x%llx", levels[(shift - PAGE_SHIFT) / 9], (unsigned long long)addr);
			found = true;
		} else if (shift > PAGE_SHIFT && (val & X86_PRESENT)) {
			found = find_entry(of, table_of(memory, val), ENTRIES_PER_TABLE, shift - 9, addr, where,
					   out, len);
		}
	}
	return found;
}

static bool within(const volatile void *where, const void *start, size_t size)
{
	return (uintptr_t)where - (uintptr_t)start < size;
}

struct member {
	size_t offset;
	const char *name;
};

#define MEMBER(type, field) { offsetof(struct type, field), #field }

static const struct member mm_members[] = {
	MEMBER(vellum_mm, mmap_lock), MEMBER(vellum_mm, notifier_lock), MEMBER(vellum_mm, trackers.lock),
};
static const struct member mapping_members[] = {
	MEMBER(vellum_mapping, collect_lock), MEMBER(vellum_mapping, invalidate_lock),
	MEMBER(vellum_mapping, i_mmap_lock), MEMBER(vellum_mapping, pages_lock),
	MEMBER(vellum_mapping, trackers.lock),
};
static const struct member memory_members[] = { MEMBER(vellum_memory, lock) };
static const struct member cpu_members[] = {
	MEMBER(vellum_soft_cpu, busy), MEMBER(vellum_soft_cpu, attention), MEMBER(vellum_soft_cpu, walking),
};

static bool name_member(char *out, size_t len, const char *whole, const void *start, size_t size,
			const struct member *members, size_t nr, const volatile void *where)
{
	size_t offset = (uintptr_t)where - (uintptr_t)start;

	if (!start || !within(where, start, size))
		return false;
	snprintf(out, len, "%s", whole);
	for (size_t i = 0; i < nr; i++)
		if (members[i].offset == offset)
			snprintf(out, len, "%s.%s", whole, members[i].name);
	return true;
}

static bool name_of_mm(char *out, size_t len, const volatile void *where)
{
	unsigned i = 0;

	for (const struct vellum_mm *at = memory->mms; at; at = at->next, i++)
		if (name_member(out, len, at == mm ? "mm" : "other mm", at, sizeof(*at), mm_members,
				ARRAY_SIZE(mm_members), where))
			return true;
	return false;
}

static bool name_of_cpu(char *out, size_t len, const volatile void *where)
{
	char whole[16];

	for (unsigned i = 0; i < (scenario->nr_cpus ? scenario->nr_cpus : 2); i++) {
		snprintf(whole, sizeof(whole), "cpu%u", i);
		if (within(where, cpu[i]->tlb, (cpu[i]->tlb_mask + 1) * sizeof(*cpu[i]->tlb))) {
			snprintf(out, len, "tlb of cpu%u", i);
			return true;
		}
		if (name_member(out, len, whole, cpu[i], sizeof(*cpu[i]), cpu_members, ARRAY_SIZE(cpu_members),
				where))
			return true;
	}
	return false;
}

static bool name_of_folio(char *out, size_t len, const volatile void *where)
{
	uint64_t frame = ((uintptr_t)where - (uintptr_t)memory->folios) / sizeof(struct folio);

	if (!within(where, memory->folios, memory->nr_frames * sizeof(struct folio)))
		return false;
	snprintf(out, len, "%s of frame %llu",
		 folio_flags(&memory->folios[frame]) & PG_TABLE ? "page-table lock" : "folio lock",
		 (unsigned long long)frame);
	return true;
}

static bool name_of_ram(char *out, size_t len, const volatile void *where)
{
	uint64_t offset = (uint64_t)((const volatile char *)where - memory->ram);

	if (offset >= memory->nr_frames * PAGE_SIZE)
		return false;
	snprintf(out, len, "frame %llu + 0x%llx", (unsigned long long)(offset / PAGE_SIZE),
		 (unsigned long long)(offset % PAGE_SIZE));
	for (const struct vellum_mm *at = memory->mms; at; at = at->next)
		if (find_entry(at, &at->pgd[0].val, USER_PGD_ENTRIES, PGD_SHIFT, 0, where, out, len))
			return true;
	return true;
}

void name_place(char *out, size_t len, enum sched_kind kind, const volatile void *where)
{
	static const char *const kinds[] = { "entry", "lock", "tlb", "memory", "wait" };
	char what[64] = "";

	if (where && !name_of_mm(what, sizeof(what), where) && !name_of_cpu(what, sizeof(what), where) &&
	    !name_member(what, sizeof(what), "object", object, sizeof(*object), mapping_members,
			 ARRAY_SIZE(mapping_members), where) &&
	    !name_member(what, sizeof(what), "memory", memory, sizeof(*memory), memory_members,
			 ARRAY_SIZE(memory_members), where) &&
	    !name_of_folio(what, sizeof(what), where) && !name_of_ram(what, sizeof(what), where))
		snprintf(what, sizeof(what), "%p", (void *)(uintptr_t)where);
	snprintf(out, len, "%s %s", kinds[kind], what);
}

void trace_begin(void)
{
	tracing = -1;
	steps = total = lines = 0;
}

static void end_of_turn(void)
{
	if (tracing >= 0 && tracing < MAX_THREADS && lines <= MAX_LINES)
		printf(", %u step%s\n", steps, steps == 1 ? "" : "s");
}

void trace_step(int actor, enum sched_kind kind, const volatile void *where)
{
	char place[96] = "its start";

	total++;
	if (actor != tracing && ++lines > MAX_LINES) {
		if (lines == MAX_LINES + 1)
			printf(", ...\n");
		tracing = actor;
		return;
	}
	if (lines > MAX_LINES)
		return;
	if (actor >= MAX_THREADS) {
		const struct pending *p = buffer_oldest(actor - MAX_THREADS);

		end_of_turn();
		name_place(place, sizeof(place), SCHED_MEMORY, p->where);
		printf("# step %u: a store of %s becomes visible: %s = 0x%llx\n", total - 1, actor_name(actor),
		       place, (unsigned long long)p->val);
	} else if (actor != tracing) {
		end_of_turn();
		if (where || kind != SCHED_WAIT)
			name_place(place, sizeof(place), kind, where);
		printf("# step %u: %s from %s", total - 1, actor_name(actor), place);
		steps = 0;
	}
	steps++;
	tracing = actor;
}

void trace_stuck(int actor, enum sched_kind kind, const volatile void *where)
{
	char place[96] = "its start";

	if (where || kind != SCHED_WAIT)
		name_place(place, sizeof(place), kind, where);
	end_of_turn();
	tracing = -1;
	printf("# %s does not go on from %s\n", actor_name(actor), place);
}

void trace_end(void)
{
	end_of_turn();
	fflush(stdout);
}

/* --- a schedule as text: "0.17>1,b1.2>0": after 17 steps of thread 0, thread 1; ... b: store buffer --- */

static void print_actor(int actor)
{
	if (actor < 0)
		printf("-");
	else
		printf("%s%d", actor >= MAX_THREADS ? "b" : "", actor % MAX_THREADS);
}

void schedule_print(const struct schedule *s)
{
	if (!s->nr)
		printf("none");
	for (unsigned i = 0; i < s->nr; i++) {
		printf("%s", i ? "," : "");
		print_actor(s->at[i].from);
		printf(".%u>", s->at[i].after);
		print_actor(s->at[i].to);
	}
}

static bool parse_actor(const char **text, int *actor)
{
	bool buffer = **text == 'b';

	if (**text == '-') {
		*actor = -1;
		++*text;
		return true;
	}
	*text += buffer;
	if (**text < '0' || **text >= '0' + MAX_THREADS)
		return false;
	*actor = *(*text)++ - '0' + (buffer ? MAX_THREADS : 0);
	return true;
}

bool schedule_parse(const char *text, struct schedule *out)
{
	out->nr = 0;
	if (!strcmp(text, "none"))
		return true;
	while (out->nr < MAX_SWITCHES) {
		struct sched_switch *sw = &out->at[out->nr++];
		char *end;

		if (!parse_actor(&text, &sw->from) || *text++ != '.')
			return false;
		sw->after = (unsigned)strtoul(text, &end, 10);
		text = end;
		if (*text++ != '>' || !parse_actor(&text, &sw->to))
			return false;
		if (!*text)
			return true;
		if (*text++ != ',')
			return false;
	}
	return false;
}
