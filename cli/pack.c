/* SPDX-License-Identifier: MIT */
/* cli/pack.c - the short form of a report that a page contains (SPEC.md "Report"): lists of objects become tables. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

#define PAGE_SHIFT 12

/* A table of values that are no numbers: each once. */
struct values {
	json_t *list;
	json_t *index;		/* its JSON to its place in the list */
};

/* NULL: no memory. */
static json_t *place_of(struct values *v, json_t *value)
{
	char *key = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
	json_t *place = key ? json_object_get(v->index, key) : NULL;

	if (place) {
		json_incref(place);
	} else if (key) {
		place = json_integer((json_int_t)json_array_size(v->list));
		json_array_append(v->list, value);
		json_object_set(v->index, key, place);
	}
	free(key);
	return place;
}

/* Add the names of the members that are not columns yet. */
static void add_columns(json_t *columns, json_t *object)
{
	const char *name;
	json_t *value;

	json_object_foreach(object, name, value) {
		size_t i = 0;

		while (i < json_array_size(columns) && strcmp(json_string_value(json_array_get(columns, i)), name))
			i++;
		if (i == json_array_size(columns))
			json_array_append_new(columns, json_string(name));
	}
}

/* True: no member with that name is a number. */
static bool no_numbers(const json_t *list, const char *name)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (json_is_number(json_object_get(json_array_get(list, i), name)))
			return false;
	return true;
}

static json_t *pack_row(json_t *object, const json_t *columns, const json_t *shared, struct values *v)
{
	json_t *row = json_array();

	for (size_t i = 0; i < json_array_size(columns); i++) {
		json_t *value = json_object_get(object, json_string_value(json_array_get(columns, i)));

		if (!value)
			json_array_append_new(row, json_null());
		else if (json_is_true(json_array_get(shared, i)))
			json_array_append_new(row, place_of(v, value));
		else
			json_array_append(row, value);
	}
	return row;
}

/* Replace the list by a table: names of columns, which of them are places in the table of values, rows. */
static void pack_list(json_t *report, const char *name, struct values *v)
{
	json_t *list = json_object_get(report, name), *columns = json_array(), *shared = json_array();
	json_t *rows = json_array(), *table = json_object();

	for (size_t i = 0; i < json_array_size(list); i++)
		add_columns(columns, json_array_get(list, i));
	for (size_t i = 0; i < json_array_size(columns); i++)
		json_array_append_new(shared, json_boolean(no_numbers(list,
			json_string_value(json_array_get(columns, i)))));
	for (size_t i = 0; i < json_array_size(list); i++)
		json_array_append_new(rows, pack_row(json_array_get(list, i), columns, shared, v));
	json_object_set_new(table, "columns", columns);
	json_object_set_new(table, "shared", shared);
	json_object_set_new(table, "rows", rows);
	json_object_set_new(report, name, table);
}

static bool is_zero(json_t *object, const char *name)
{
	return json_number_value(json_object_get(object, name)) == 0;
}

/* The page shows only mappings that were written. */
static void drop_unwritten(json_t *report)
{
	json_t *list = json_object_get(report, "mappings"), *kept = json_array();

	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *m = json_array_get(list, i);

		if (!is_zero(m, "dirty_pages") || !is_zero(m, "write_faults"))
			json_array_append(kept, m);
	}
	json_object_set_new(report, "mappings", kept);
}

/* Kinds of fault that did not happen. */
static void drop_zeros(json_t *report, const char *name)
{
	json_t *list = json_object_get(report, name);

	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *faults = json_object_get(json_array_get(list, i), "faults"), *value;
		const char *kind;
		void *next;

		json_object_foreach_safe(faults, next, kind, value)
			if (json_number_value(value) == 0)
				json_object_del(faults, kind);
	}
}

/*
 * The ranges of a collection, by process: its PID, then for each run the pages since the end of the last one, and the
 * pages of the run.
 */
static json_t *pack_ranges(const json_t *ranges)
{
	json_t *packed = json_array(), *runs = NULL;
	json_int_t pid = -1, end = 0;

	for (size_t i = 0; i < json_array_size(ranges); i++) {
		const json_t *range = json_array_get(ranges, i);
		json_int_t of = json_integer_value(json_array_get(range, 0)), nr = json_integer_value(json_array_get(range, 2));
		const char *addr = json_string_value(json_array_get(range, 1));
		json_int_t page = (json_int_t)(strtoull(addr ? addr : "0", NULL, 16) >> PAGE_SHIFT);

		if (!runs || of != pid) {
			runs = json_array();
			json_array_append_new(packed, json_integer(of));
			json_array_append_new(packed, runs);
			pid = of;
			end = 0;
		}
		json_array_append_new(runs, json_integer(page - end));
		json_array_append_new(runs, json_integer(nr));
		end = page + nr;
	}
	return packed;
}

static void pack_collections(json_t *report)
{
	json_t *list = json_object_get(report, "collections");

	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *collection = json_array_get(list, i);

		json_object_set_new(collection, "ranges", pack_ranges(json_object_get(collection, "ranges")));
	}
}

char *report_pack(const char *text, size_t len)
{
	static const char *const lists[] = { "processes", "mappings", "switches", "collections" };
	json_t *report = json_loadb(text, len, 0, NULL);
	struct values v = { json_array(), json_object() };
	char *packed = NULL;

	if (report) {
		drop_unwritten(report);
		drop_zeros(report, "processes");
		pack_collections(report);
		for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
			if (json_object_get(report, lists[i]))
				pack_list(report, lists[i], &v);
		json_object_set(report, "values", v.list);
		packed = json_dumps(report, JSON_COMPACT);
	}
	json_decref(report);
	json_decref(v.list);
	json_decref(v.index);
	return packed;
}
