/* SPDX-License-Identifier: MIT */
/* abi/proc_shown.c - what stat(2) says of the files of a process in /proc, and which programs may open them; see proc.h. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "abi/proc.h"

#define FD_LINK_SIZE 64		/* as Linux says */
#define OPEN_DIR_MODE (S_IFDIR | 0555)

/* The link of a descriptor tells how it is open. */
static mode_t fd_link_mode(const struct file *file)
{
	int flags = fcntl(file->fd, F_GETFL);

	if (flags & O_PATH)
		return S_IFLNK;
	switch (flags & O_ACCMODE) {
	case O_RDONLY: return S_IFLNK | 0500;
	case O_WRONLY: return S_IFLNK | 0300;
	default:       return S_IFLNK | 0700;
	}
}

static mode_t node_mode(const struct proc_view *view, const struct proc_node *node)
{
	struct file *file;
	mode_t mode;

	if (node->is_dir)
		return S_IFDIR | (node->dir == PROC_DIR_FDS ? 0500 : 0555);
	if (node->entry)
		return node->entry->mode;
	file = proc_view_file(view, node->fd, NULL);
	mode = file ? fd_link_mode(file) : S_IFLNK;
	if (file)
		file_put(file);
	return mode;
}

/* Sizes as in Linux, where only these have one. */
static uint64_t node_size(const struct proc_node *node)
{
	const struct proc_entry *e = node->entry;

	if (node->fd >= 0 && !e)
		return FD_LINK_SIZE;
	if (!e || e->kind != PROC_ALIAS || !strcmp(e->name, "self") || !strcmp(e->name, "thread-self"))
		return 0;
	return strlen("self/") + strlen(e->name);
}

static bool is_guarded(const struct proc_node *node)
{
	return node->is_dir ? node->dir == PROC_DIR_FDINFOS : node->entry && (node->entry->where & PROC_GUARDED);
}

bool proc_node_look(struct task *t, const struct proc_node *node, struct proc_shown *shown)
{
	struct proc_view view;

	if (node->place != PROC_TREE || !proc_view_get(t, node->pid, node->tid, &view))
		return false;
	*shown = (struct proc_shown){ .mode = node_mode(&view, node), .size = node_size(node),
				     .guarded = view.guarded && is_guarded(node),
				     .own_fds = node->dir == PROC_DIR_FDS && view.process == t->process };
	/* Files of a process that is not dumpable belong to root, and so do those of a zombie. */
	if (shown->mode == OPEN_DIR_MODE || (view.gmm && !__atomic_load_n(&view.gmm->not_dumpable, __ATOMIC_RELAXED))) {
		shown->user = view.user;
		shown->group = view.group;
	}
	proc_view_put(&view);
	return true;
}
