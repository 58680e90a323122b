/* SPDX-License-Identifier: MIT */
/* cli/pack.c - the short form of a report that a page contains (SPEC.md "Report"): lists of objects become tables. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

/* A string table: each string once. */
struct strings {
	json_t *list;
	json_t *index;		/* string to its place in the list */
};

static json_t *place_of(struct strings *s, const json_t *text)
{
	const char *key = json_string_value(text);
	json_t *place = json_object_get(s->index, key);

	if (place)
		return json_incref(place);
	place = json_integer((json_int_t)json_array_size(s->list));
	json_array_append_new(s->list, json_string(key));
	json_object_set(s->index, key, place);
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

/* True: the members with that name, if there, are strings. */
static bool all_strings(const json_t *list, const char *name)
{
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *value = json_object_get(json_array_get(list, i), name);

		if (value && !json_is_string(value))
			return false;
	}
	return true;
}

static json_t *pack_row(json_t *object, const json_t *columns, const json_t *texts, struct strings *s)
{
	json_t *row = json_array();

	for (size_t i = 0; i < json_array_size(columns); i++) {
		json_t *value = json_object_get(object, json_string_value(json_array_get(columns, i)));

		if (!value)
			json_array_append_new(row, json_null());
		else if (json_is_true(json_array_get(texts, i)))
			json_array_append_new(row, place_of(s, value));
		else
			json_array_append(row, value);
	}
	return row;
}

/* Replace the list by a table: names of columns, which of them are places in the string table, rows. */
static void pack_list(json_t *report, const char *name, struct strings *s)
{
	json_t *list = json_object_get(report, name), *columns = json_array(), *texts = json_array();
	json_t *rows = json_array(), *table = json_object();

	for (size_t i = 0; i < json_array_size(list); i++)
		add_columns(columns, json_array_get(list, i));
	for (size_t i = 0; i < json_array_size(columns); i++)
		json_array_append_new(texts, json_boolean(all_strings(list,
			json_string_value(json_array_get(columns, i)))));
	for (size_t i = 0; i < json_array_size(list); i++)
		json_array_append_new(rows, pack_row(json_array_get(list, i), columns, texts, s));
	json_object_set_new(table, "columns", columns);
	json_object_set_new(table, "texts", texts);
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

char *report_pack(const char *text, size_t len)
{
	static const char *const lists[] = { "processes", "mappings", "switches", "collections" };
	json_t *report = json_loadb(text, len, 0, NULL);
	struct strings s = { json_array(), json_object() };
	char *packed = NULL;

	if (report) {
		drop_unwritten(report);
		drop_zeros(report, "processes");
		for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++)
			if (json_object_get(report, lists[i]))
				pack_list(report, lists[i], &s);
		json_object_set(report, "strings", s.list);
		packed = json_dumps(report, JSON_COMPACT);
	}
	json_decref(report);
	json_decref(s.list);
	json_decref(s.index);
	return packed;
}
