/* SPDX-License-Identifier: MIT */
/*
 * cli/inspect_show.c - prints an address space as text or as JSON (SPEC.md "Inspect"): its VMAs, and below each the
 * page-table entries. Neighbouring entries that are alike share one line.
 */
#include <stdlib.h>

#include "abi/text.h"
#include "cli/cli.h"
#include "vellum/pagemap.h"

#define PAGES(bytes) ((unsigned long long)(bytes) / VELLUM_PAGE_SIZE)

struct run {			/* neighbouring entries of one size, kind and flags */
	struct vellum_entry first;
	uint64_t nr, next;	/* entries; the frame or slot number that would follow */
	bool consecutive;	/* the frames or swap slots are consecutive */
};

struct runs {
	struct run *at;
	size_t nr, max;
	bool split;		/* start a new run where the numbers are not consecutive */
	bool no_memory;
	uint64_t present, swapped;	/* bytes */
};

/* --- collecting --- */

static bool has_number(const struct vellum_entry *e)
{
	return e->kind != VELLUM_ENTRY_ZERO && e->kind != VELLUM_ENTRY_MARKER;
}

/* The number of the entry's frame or swap slot. */
static uint64_t number_of(const struct vellum_entry *e)
{
	return e->kind == VELLUM_ENTRY_SWAP ? e->offset : e->pfn;
}

static bool same_kind(const struct run *run, const struct vellum_entry *e)
{
	const struct vellum_entry *first = &run->first;

	return first->kind == e->kind && first->flags == e->flags && first->len == e->len &&
	       first->area == e->area && first->start + run->nr * first->len == e->start;
}

static void add_counts(struct runs *runs, const struct vellum_entry *e)
{
	if (e->kind == VELLUM_ENTRY_SWAP)
		runs->swapped += e->len;
	else if (e->kind == VELLUM_ENTRY_PAGE || e->kind == VELLUM_ENTRY_ZERO || e->kind == VELLUM_ENTRY_RAW)
		runs->present += e->len;
}

static bool make_room(struct runs *runs)
{
	size_t max = runs->max ? 2 * runs->max : 64;
	struct run *more;

	if (runs->nr < runs->max)
		return true;
	more = realloc(runs->at, max * sizeof(*more));
	if (!more)
		return false;
	runs->at = more;
	runs->max = max;
	return true;
}

static int add_entry(void *arg, const struct vellum_entry *e)
{
	struct runs *runs = arg;
	struct run *last = runs->nr ? &runs->at[runs->nr - 1] : NULL;
	bool follows = last && (!has_number(e) || number_of(e) == last->next);

	add_counts(runs, e);
	if (last && same_kind(last, e) && (follows || !runs->split)) {
		last->consecutive &= follows;
		last->nr++;
	} else {
		if (!make_room(runs)) {
			runs->no_memory = true;
			return -1;
		}
		last = &runs->at[runs->nr++];
		*last = (struct run){ .first = *e, .nr = 1, .consecutive = has_number(e) };
	}
	last->next = number_of(e) + PAGES(e->len);
	return 0;
}

static void collect(struct runs *runs, const struct guest_mm *gmm, const struct vellum_vma_info *info)
{
	runs->nr = 0;
	runs->present = runs->swapped = 0;
	vellum_walk_entries(gmm->mm, info->start, info->end, add_entry, runs);
}

/* --- for both formats --- */

static const struct {
	uint32_t flag;
	char letter;		/* in text output; 0: the name is printed instead */
	const char *name;
} flag_names[] = {
	{ VELLUM_ENTRY_WRITABLE, 'W', "writable" },
	{ VELLUM_ENTRY_DIRTY, 'D', "dirty" },
	{ VELLUM_ENTRY_ACCESSED, 'A', "accessed" },
	{ VELLUM_ENTRY_SOFT_DIRTY, 'S', "soft-dirty" },
	{ VELLUM_ENTRY_UFFD_WP, 'U', "uffd-wp" },
	{ VELLUM_ENTRY_EXEC, 'X', "exec" },
	{ VELLUM_ENTRY_SAVED_DIRTY, 0, "saved-dirty" },
	{ VELLUM_ENTRY_SHADOW_STACK, 0, "shadow-stack" },
	{ VELLUM_ENTRY_NO_ACCESS, 0, "no-access" },
	{ VELLUM_ENTRY_ANON, 0, "anon" },
	{ VELLUM_ENTRY_EXCLUSIVE, 0, "exclusive" },
	{ VELLUM_ENTRY_POISON, 0, "poison" },
	{ VELLUM_ENTRY_GUARD, 0, "guard" },
	{ VELLUM_ENTRY_DEVMAP, 0, "devmap" },
};
#define NR_FLAGS (sizeof(flag_names) / sizeof(flag_names[0]))

static void prot_text(const struct vellum_vma_info *info, char prot[4])
{
	prot[0] = info->prot & VELLUM_PROT_READ ? 'r' : '-';
	prot[1] = info->prot & VELLUM_PROT_WRITE ? 'w' : '-';
	prot[2] = info->prot & VELLUM_PROT_EXEC ? 'x' : '-';
	prot[3] = 0;
}

static unsigned long long offset_of(const struct vellum_vma_info *info)
{
	return info->mapping ? (unsigned long long)info->pgoff * VELLUM_PAGE_SIZE : 0;
}

/* --- text --- */

/* The tables that lead to a run's entries: at each level, the first and the last region that one table covers. */
struct tables {
	unsigned nr_levels;
	uint64_t first[3], last[3];
};

static const unsigned level_shift[3] = { 39, 30, 21 };

static struct tables tables_of(const struct run *run)
{
	uint64_t start = run->first.start, end = start + run->nr * run->first.len;
	struct tables tables = { .nr_levels = 0 };

	for (unsigned i = 0; i < 3 && run->first.len < 1ull << level_shift[i]; i++) {
		tables.first[i] = start >> level_shift[i];
		tables.last[i] = (end - 1) >> level_shift[i];
		tables.nr_levels++;
	}
	return tables;
}

static bool within(const struct tables *inner, const struct tables *outer)
{
	bool in = inner->nr_levels == outer->nr_levels;

	for (unsigned i = 0; i < inner->nr_levels; i++)
		in &= inner->first[i] >= outer->first[i] && inner->last[i] <= outer->last[i];
	return in;
}

static void text_tables(FILE *f, const char *prefix, const struct tables *tables)
{
	static const char *const names[3] = { "512G", "1G", "2M" };

	fprintf(f, "%s  tables", prefix);
	for (unsigned i = 0; i < tables->nr_levels; i++) {
		unsigned long long nr = tables->last[i] - tables->first[i] + 1;

		fprintf(f, "%s %s %012llx", i ? "," : "", names[i],
			(unsigned long long)tables->first[i] << level_shift[i]);
		if (nr > 1)
			fprintf(f, " x %llu", nr);
	}
	fputc('\n', f);
}

static void text_flags(FILE *f, const struct vellum_entry *e)
{
	for (size_t i = 0; i < NR_FLAGS && flag_names[i].letter; i++)
		fputc(e->flags & flag_names[i].flag ? flag_names[i].letter : '-', f);
	for (size_t i = 0; i < NR_FLAGS; i++)
		if (!flag_names[i].letter && (e->flags & flag_names[i].flag))
			fprintf(f, " %s", flag_names[i].name);
	if (e->kind == VELLUM_ENTRY_MARKER && (e->flags & VELLUM_ENTRY_UFFD_WP))
		fputs(" wp", f);
}

static void text_numbers(FILE *f, const struct run *run)
{
	const struct vellum_entry *e = &run->first;
	unsigned long long first = number_of(e), last = run->next - 1;

	if (e->kind == VELLUM_ENTRY_SWAP)
		fprintf(f, " area %u", e->area);
	if (!run->consecutive)
		return;
	fprintf(f, e->kind == VELLUM_ENTRY_SWAP ? ":%llu" : " pfn %llu", first);
	if (last > first)
		fprintf(f, "-%llu", last);
}

static void text_run(FILE *f, const char *prefix, const struct run *run)
{
	const struct vellum_entry *e = &run->first;
	const char *size = e->len >> 30 ? "1G" : e->len >> 21 ? "2M" : "4K";

	fprintf(f, "%s    %012llx-%012llx %6llu x %s %-6s ", prefix, (unsigned long long)e->start,
		(unsigned long long)(e->start + run->nr * e->len), (unsigned long long)run->nr, size,
		vellum_entry_kind_name(e->kind));
	text_flags(f, e);
	text_numbers(f, run);
	fputc('\n', f);
}

static void text_mapping(FILE *f, const char *prefix, const struct guest_mm *gmm,
			 const struct vellum_vma_info *info, const struct runs *runs)
{
	struct tables shown = { .nr_levels = 0 };
	char name[ABI_MAX_NAME], text[PRINTABLE_BYTES(ABI_MAX_NAME)], prot[4];

	prot_text(info, prot);
	abi_mapping_name(gmm, info, name);
	fprintf(f, "%s%012llx-%012llx %s%c %08llx rss %llu swapped %llu of %llu  %s\n", prefix,
		(unsigned long long)info->start, (unsigned long long)info->end, prot, info->shared ? 's' : 'p',
		offset_of(info), PAGES(runs->present), PAGES(runs->swapped), PAGES(info->end - info->start),
		name[0] ? printable(name, text, sizeof(text)) : "anonymous");
	for (size_t i = 0; i < runs->nr; i++) {
		const struct tables tables = tables_of(&runs->at[i]);

		if (!within(&tables, &shown)) {
			text_tables(f, prefix, &tables);
			shown = tables;
		}
		text_run(f, prefix, &runs->at[i]);
	}
}

static void show_text(FILE *f, const struct inspection *ins, const char *prefix, const struct guest_mm *gmm,
		      int pid, struct runs *runs)
{
	char exe[PRINTABLE_BYTES(sizeof(gmm->exe))];
	struct vellum_vma_info info = { .size = sizeof(info) };

	fprintf(f, "%sprocess %d (%s) at %s: %llu pages present, %llu swapped out\n", prefix, pid,
		printable(gmm->exe, exe, sizeof(exe)), ins->when, (unsigned long long)vellum_mm_rss(gmm->mm),
		(unsigned long long)vellum_mm_swapped(gmm->mm));
	for (uint64_t at = 0; vellum_vma_next(gmm->mm, at, &info) == 0; at = info.end) {
		collect(runs, gmm, &info);
		text_mapping(f, prefix, gmm, &info, runs);
	}
}

/* --- JSON --- */

static void json_run(FILE *f, const struct run *run)
{
	const struct vellum_entry *e = &run->first;
	bool first = true;

	fprintf(f, "{\"start\":\"0x%llx\",\"pages\":%llu,\"entry_size\":%llu,\"kind\":\"%s\",\"flags\":[",
		(unsigned long long)e->start, PAGES(run->nr * e->len), (unsigned long long)e->len,
		vellum_entry_kind_name(e->kind));
	for (size_t i = 0; i < NR_FLAGS; i++)
		if (e->flags & flag_names[i].flag) {
			fprintf(f, "%s\"%s\"", first ? "" : ",", flag_names[i].name);
			first = false;
		}
	fputc(']', f);
	if (e->kind == VELLUM_ENTRY_SWAP)
		fprintf(f, ",\"swap_area\":%u,\"swap_offset\":%llu", e->area, (unsigned long long)e->offset);
	else if (has_number(e))
		fprintf(f, ",\"pfn\":%llu", (unsigned long long)e->pfn);
	fputc('}', f);
}

static void json_mapping(FILE *f, const struct guest_mm *gmm, const struct vellum_vma_info *info,
			 const struct runs *runs)
{
	char name[ABI_MAX_NAME], prot[4];

	prot_text(info, prot);
	abi_mapping_name(gmm, info, name);
	fprintf(f, "{\"start\":\"0x%llx\",\"end\":\"0x%llx\",\"prot\":\"%s\",\"shared\":%s",
		(unsigned long long)info->start, (unsigned long long)info->end, prot,
		info->shared ? "true" : "false");
	fprintf(f, ",\"offset\":%llu,\"name\":", offset_of(info));
	json_text(f, name);
	fprintf(f, ",\"rss_pages\":%llu,\"swapped_pages\":%llu,\"entries\":[", PAGES(runs->present),
		PAGES(runs->swapped));
	for (size_t i = 0; i < runs->nr; i++) {
		fputs(i ? "," : "", f);
		json_run(f, &runs->at[i]);
	}
	fputs("]}", f);
}

static void show_json(FILE *f, const struct inspection *ins, const struct guest_mm *gmm, int pid,
		      struct runs *runs)
{
	struct vellum_vma_info info = { .size = sizeof(info) };
	bool first = true;

	fprintf(f, "{\"schema\":\"vellum-inspect/1\",\"pid\":%d,\"name\":", pid);
	json_text(f, gmm->exe);
	fprintf(f, ",\"when\":\"%s\",\"mappings\":[", ins->when);
	for (uint64_t at = 0; vellum_vma_next(gmm->mm, at, &info) == 0; at = info.end) {
		collect(runs, gmm, &info);
		fputs(first ? "" : ",", f);
		json_mapping(f, gmm, &info, runs);
		first = false;
	}
	fputs("]}\n", f);
}

bool inspect_show(FILE *f, const struct inspection *ins, const char *prefix, const struct guest_mm *gmm,
		  int pid)
{
	struct runs runs = { .split = ins->json };

	if (ins->json)
		show_json(f, ins, gmm, pid, &runs);
	else
		show_text(f, ins, prefix, gmm, pid, &runs);
	free(runs.at);
	return !runs.no_memory;
}
