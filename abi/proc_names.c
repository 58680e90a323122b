/* SPDX-License-Identifier: MIT */
/* abi/proc_names.c - the names in /proc that Vellum has files for; see proc.h. Source: proc(5). */
#define _GNU_SOURCE
#include <string.h>

#include "abi/proc.h"

#define BOTH (PROC_IN_PROCESS | PROC_IN_THREAD)
#define GUARDED (BOTH | PROC_GUARDED)
#define FILE_MODE(bits) (S_IFREG | (bits))
#define LINK_MODE (S_IFLNK | 0777)
#define DIR_MODE(bits) (S_IFDIR | (bits))

#define TEXT(name, bits, where, print) { name, PROC_TEXT, FILE_MODE(bits), where, print, NULL }
#define STORED(name, where, print, store) { name, PROC_TEXT, FILE_MODE(0644), where, print, store }
#define SAME(name, bits, where) { name, PROC_SAME, FILE_MODE(bits), where, NULL, NULL }

static const struct proc_entry entries[] = {
	TEXT("loadavg", 0444, PROC_IN_ROOT, proc_print_loadavg),
	TEXT("meminfo", 0444, PROC_IN_ROOT, proc_print_meminfo),
	{ "mounts", PROC_ALIAS, LINK_MODE, PROC_IN_ROOT, NULL, NULL },
	{ "net", PROC_ALIAS, LINK_MODE, PROC_IN_ROOT, NULL, NULL },
	{ "self", PROC_ALIAS, LINK_MODE, PROC_IN_ROOT, NULL, NULL },
	TEXT("stat", 0444, PROC_IN_ROOT, proc_print_system_stat),
	TEXT("swaps", 0444, PROC_IN_ROOT, proc_print_swaps),
	{ "thread-self", PROC_ALIAS, LINK_MODE, PROC_IN_ROOT, NULL, NULL },
	TEXT("uptime", 0444, PROC_IN_ROOT, proc_print_uptime),

	TEXT("auxv", 0400, GUARDED, proc_print_auxv),
	SAME("cgroup", 0444, BOTH),
	TEXT("children", 0444, PROC_IN_THREAD, proc_print_children),
	{ "clear_refs", PROC_CLEAR_REFS, FILE_MODE(0200), BOTH, NULL, proc_store_clear_refs },
	TEXT("cmdline", 0444, BOTH, proc_print_cmdline),
	STORED("comm", BOTH, proc_print_comm, proc_store_comm),
	{ "cwd", PROC_LINK, LINK_MODE, BOTH, NULL, NULL },
	TEXT("environ", 0400, GUARDED, proc_print_environ),
	{ "exe", PROC_LINK, LINK_MODE, BOTH, NULL, NULL },
	{ "fd", PROC_FDS, DIR_MODE(0500), BOTH, NULL, NULL },
	{ "fdinfo", PROC_FDINFOS, DIR_MODE(0555), GUARDED, NULL, NULL },
	SAME("gid_map", 0644, BOTH),
	TEXT("io", 0400, BOTH | PROC_READ_GUARDED, proc_print_io),
	TEXT("limits", 0444, BOTH, proc_print_limits),
	SAME("loginuid", 0644, BOTH),
	TEXT("maps", 0444, GUARDED, proc_print_maps),
	{ "mem", PROC_MEM, FILE_MODE(0600), GUARDED, NULL, NULL },
	SAME("mountinfo", 0444, BOTH),
	SAME("mounts", 0444, BOTH),
	{ "net", PROC_SAME, DIR_MODE(0555), BOTH, NULL, NULL },
	STORED("oom_adj", BOTH, proc_print_oom_adj, proc_store_oom_adj),
	TEXT("oom_score", 0444, BOTH, proc_print_oom_score),
	STORED("oom_score_adj", BOTH, proc_print_oom_score_adj, proc_store_oom_score_adj),
	{ "pagemap", PROC_PAGEMAP, FILE_MODE(0400), GUARDED, NULL, NULL },
	TEXT("personality", 0400, BOTH | PROC_READ_GUARDED, proc_print_personality),
	{ "root", PROC_LINK, LINK_MODE, BOTH, NULL, NULL },
	SAME("sessionid", 0444, BOTH),
	SAME("setgroups", 0644, BOTH),
	TEXT("smaps", 0444, GUARDED, proc_print_smaps),
	TEXT("smaps_rollup", 0444, GUARDED, proc_print_smaps_rollup),
	TEXT("stat", 0444, BOTH, proc_print_stat),
	TEXT("statm", 0444, BOTH, proc_print_statm),
	TEXT("status", 0444, BOTH, proc_print_status),
	{ "task", PROC_TASKS, DIR_MODE(0555), PROC_IN_PROCESS, NULL, NULL },
	SAME("uid_map", 0644, BOTH),
	TEXT("wchan", 0444, BOTH, proc_print_wchan),
};

const struct proc_entry proc_fdinfo_entry = TEXT("fdinfo", 0444, PROC_IN_FDINFO | PROC_GUARDED, proc_print_fdinfo);

const struct proc_entry *proc_entry(unsigned i)
{
	return i < sizeof(entries) / sizeof(entries[0]) ? &entries[i] : NULL;
}

const struct proc_entry *proc_entry_find(const char *name, unsigned where)
{
	const struct proc_entry *e;

	for (unsigned i = 0; (e = proc_entry(i)); i++)
		if ((e->where & where) && !strcmp(e->name, name))
			return e;
	return NULL;
}
