/* SPDX-License-Identifier: MIT */
/* abi/proc_walk.c - what a path below /proc means, and where the links in it lead; see proc.h. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi/proc.h"

#define MAX_DIGITS 9

struct walk {
	struct task *t;
	const char *at;		/* what is left of the path */
	bool follow;
	char name[256];		/* the component */
	bool last;		/* nothing but slashes follows it */
	bool slash;		/* a slash follows it */
	unsigned host_depth;	/* components of the host's names, in node->rest; 0: not there */
	struct proc_node *node;
};

/* --- before the walk --- */

/* If the next component of @path is @name: the rest, which is empty or begins with a slash. Else NULL. */
static const char *skip_component(const char *path, const char *name)
{
	size_t len = strlen(name);

	while (*path == '/' || (path[0] == '.' && path[1] == '/'))
		path++;
	return strncmp(path, name, len) || (path[len] && path[len] != '/') ? NULL : path + len;
}

/* /dev/stdin, /dev/stdout, /dev/stderr and /dev/fd are links to /proc/self/fd. */
static const char *strip_dev(const char *dev, bool follow, char buf[PATH_BYTES])
{
	static const char *const names[][2] = { { "stdin", "self/fd/0" }, { "stdout", "self/fd/1" },
						{ "stderr", "self/fd/2" } };
	const char *rest;

	for (size_t i = 0; i < 3; i++) {
		rest = skip_component(dev, names[i][0]);
		if (rest && !*rest)
			return follow ? names[i][1] : NULL;
	}
	rest = skip_component(dev, "fd");
	if (!rest || (!*rest && !follow))
		return NULL;
	snprintf(buf, PATH_BYTES, "self/fd%.*s", PATH_BYTES - 16, rest);
	return buf;
}

const char *proc_strip(const char *path, bool follow, char buf[PATH_BYTES])
{
	const char *rest;

	if (path[0] != '/')
		return NULL;
	rest = skip_component(path, "proc");
	if (rest)
		return rest;
	rest = skip_component(path, "dev");
	return rest ? strip_dev(rest, follow, buf) : NULL;
}

/* --- the walk --- */

/* The next component. 1; 0: there is none; -ENAMETOOLONG. */
static int next_name(struct walk *w)
{
	size_t len;

	while (*w->at == '/')
		w->at++;
	len = strcspn(w->at, "/");
	if (!len)
		return 0;
	if (len >= sizeof(w->name))
		return -ENAMETOOLONG;
	memcpy(w->name, w->at, len);
	w->name[len] = 0;
	w->at += len;
	w->slash = *w->at == '/';
	w->last = !w->at[strspn(w->at, "/")];
	return 1;
}

/* A number without leading zeros, or -1. */
static int number(const char *name)
{
	size_t len = strlen(name);

	if (!len || len > MAX_DIGITS || strspn(name, "0123456789") != len || (name[0] == '0' && len > 1))
		return -1;
	return atoi(name);
}

static bool is_followed(const struct walk *w)
{
	return !w->last || w->slash || w->follow;
}

static int end_at(struct walk *w, enum proc_place place)
{
	w->node->place = place;
	return 1;
}

/* The node is not a directory. */
static int end_at_file(struct walk *w)
{
	w->node->is_dir = false;
	return w->last && !w->slash ? end_at(w, PROC_TREE) : -ENOTDIR;
}

static int jump(struct walk *w)
{
	struct proc_node *node = w->node;

	node->is_dir = false;
	if (!is_followed(w))
		return end_at(w, PROC_TREE);
	snprintf(node->rest, sizeof(node->rest), "%s", *w->at ? w->at + strspn(w->at, "/") : "");
	if (w->slash && !node->rest[0])		/* the target must be a directory */
		snprintf(node->rest, sizeof(node->rest), ".");
	return end_at(w, PROC_JUMP);
}

/* The rest of the path is of the host's /proc, from @path there. */
static int enter_host(struct walk *w, const char *path)
{
	snprintf(w->node->rest, sizeof(w->node->rest), "/proc/%s", path);
	w->host_depth = 1;
	w->node->is_dir = false;
	return 0;
}

static int walk_host(struct walk *w)
{
	char *rest = w->node->rest;
	size_t len = strlen(rest);

	if (!strcmp(w->name, "..")) {
		*strrchr(rest, '/') = 0;
		if (!--w->host_depth)
			w->node->is_dir = true;
		return 0;
	}
	if (len + strlen(w->name) + 2 > sizeof(w->node->rest))
		return -ENAMETOOLONG;
	snprintf(rest + len, sizeof(w->node->rest) - len, "/%s", w->name);
	w->host_depth++;
	return 0;
}

static void enter_process(struct proc_node *node, int pid, int tid)
{
	node->dir = PROC_DIR_PROCESS;
	node->pid = pid;
	node->tid = tid;
}

/* A process, or a thread, whose directory is not listed. */
static int enter_id(struct walk *w, int id)
{
	struct kernel *k = w->t->kernel;
	const struct process *p;
	const struct task *t;
	int err = 0;

	pthread_mutex_lock(&k->lock);
	p = process_find(k, id);
	t = p ? NULL : task_find(k, id);
	if (p)
		enter_process(w->node, id, 0);
	else if (t)
		enter_process(w->node, t->process->pid, id);
	else
		err = -ENOENT;
	pthread_mutex_unlock(&k->lock);
	return err;
}

static int walk_alias(struct walk *w, const struct proc_entry *e)
{
	if (!is_followed(w)) {
		w->node->entry = e;
		w->node->is_dir = false;
		return end_at(w, PROC_TREE);
	}
	enter_process(w->node, w->t->process->pid, strcmp(e->name, "thread-self") ? 0 : w->t->tid);
	if (!strcmp(e->name, "net") || !strcmp(e->name, "mounts"))
		return enter_host(w, !strcmp(e->name, "net") ? "self/net" : "self/mounts");
	return 0;
}

static int walk_root(struct walk *w)
{
	const struct proc_entry *e = proc_entry_find(w->name, PROC_IN_ROOT);

	if (e && e->kind == PROC_ALIAS)
		return walk_alias(w, e);
	w->node->entry = e;
	if (e)
		return end_at_file(w);
	return isdigit((unsigned char)w->name[0]) ? enter_id(w, number(w->name)) : enter_host(w, w->name);
}

static int walk_process(struct walk *w)
{
	struct proc_node *node = w->node;
	const struct proc_entry *e = proc_entry_find(w->name, node->tid ? PROC_IN_THREAD : PROC_IN_PROCESS);
	char name[32];

	if (!e)
		return -ENOENT;
	switch (e->kind) {
	case PROC_TASKS:   node->dir = PROC_DIR_TASKS; return 0;
	case PROC_FDS:	   node->dir = PROC_DIR_FDS; return 0;
	case PROC_FDINFOS: node->dir = PROC_DIR_FDINFOS; return 0;
	case PROC_SAME:
		snprintf(name, sizeof(name), "self/%s", e->name);
		return enter_host(w, name);
	default:
		node->entry = e;
		return e->kind == PROC_LINK ? jump(w) : end_at_file(w);
	}
}

static bool is_thread(struct walk *w, int tid)
{
	const struct task *t;
	bool found;

	pthread_mutex_lock(&w->t->kernel->lock);
	t = task_find(w->t->kernel, tid);
	found = t ? t->process->pid == w->node->pid : tid == w->node->pid && process_find(w->t->kernel, tid);
	pthread_mutex_unlock(&w->t->kernel->lock);
	return found;
}

static bool is_open(struct walk *w, int fd)
{
	struct proc_view view;
	struct file *file;

	if (!proc_view_get(w->t, w->node->pid, 0, &view))
		return false;
	file = proc_view_file(&view, fd, NULL);
	if (file)
		file_put(file);
	proc_view_put(&view);
	return file != NULL;
}

static int walk_number(struct walk *w)
{
	struct proc_node *node = w->node;
	int n = number(w->name);

	if (n < 0)
		return -ENOENT;
	if (node->dir == PROC_DIR_TASKS) {
		if (!is_thread(w, n))
			return -ENOENT;
		enter_process(node, node->pid, n);
		return 0;
	}
	if (!is_open(w, n))
		return -ENOENT;
	node->fd = n;
	node->entry = node->dir == PROC_DIR_FDS ? NULL : &proc_fdinfo_entry;
	return node->dir == PROC_DIR_FDS ? jump(w) : end_at_file(w);
}

/* ".." from a directory of the tree. */
static int walk_up(struct walk *w)
{
	struct proc_node *node = w->node;

	switch (node->dir) {
	case PROC_DIR_ROOT:
		snprintf(node->rest, sizeof(node->rest), "/%s", w->at);
		return end_at(w, PROC_OUTSIDE);
	case PROC_DIR_PROCESS:
		node->dir = node->tid ? PROC_DIR_TASKS : PROC_DIR_ROOT;
		node->pid = node->tid ? node->pid : 0;
		node->tid = 0;
		return 0;
	default:
		node->dir = PROC_DIR_PROCESS;
		return 0;
	}
}

static int walk_one(struct walk *w)
{
	if (!strcmp(w->name, "."))
		return 0;
	if (w->host_depth)
		return walk_host(w);
	if (!strcmp(w->name, ".."))
		return walk_up(w);
	switch (w->node->dir) {
	case PROC_DIR_ROOT:    return walk_root(w);
	case PROC_DIR_PROCESS: return walk_process(w);
	default:	       return walk_number(w);
	}
}

/* The name of a node in the tree. */
static void name_node(struct proc_node *node)
{
	static const char *const names[] = { [PROC_DIR_TASKS] = "/task", [PROC_DIR_FDS] = "/fd",
					     [PROC_DIR_FDINFOS] = "/fdinfo" };
	size_t n = 0, size = sizeof(node->path);
	char *path = node->path;

	path[0] = 0;
	if (node->pid)
		n += (size_t)snprintf(path, size, "%d", node->pid);
	if (node->tid)
		n += (size_t)snprintf(path + n, size - n, "/task/%d", node->tid);
	if (node->dir > PROC_DIR_PROCESS)
		n += (size_t)snprintf(path + n, size - n, "%s", names[node->dir]);
	if (node->fd >= 0)
		snprintf(path + n, size - n, "/%d", node->fd);
	else if (node->entry)
		snprintf(path + n, size - n, "%s%s", n ? "/" : "", node->entry->name);
}

int proc_walk(struct task *t, const char *path, bool follow, struct proc_node *node)
{
	struct walk w = { .t = t, .at = path, .follow = follow, .node = node };
	int err;

	node->place = PROC_TREE;
	node->entry = NULL;
	node->pid = node->tid = 0;
	node->fd = -1;
	node->dir = PROC_DIR_ROOT;
	node->is_dir = true;
	node->rest[0] = 0;
	while ((err = next_name(&w)) > 0) {
		err = walk_one(&w);
		if (err)
			break;
	}
	if (err < 0)
		return err;
	if (w.host_depth) {
		node->place = PROC_HOST;
		if (w.slash && strlen(node->rest) + 2 < sizeof(node->rest))
			strcat(node->rest, "/");
	}
	name_node(node);
	return 0;
}

/* --- links --- */

static int descriptor_of(const struct proc_view *view, const struct proc_node *node)
{
	struct file *file = proc_view_file(view, node->fd, NULL);
	int fd = file ? fcntl(file->fd, F_DUPFD_CLOEXEC, 0) : -1, err = errno;

	if (file)
		file_put(file);
	return !file ? -ENOENT : fd < 0 ? -err : fd;
}

static int directory_of(const struct proc_view *view)
{
	int fd;

	if (!view->fs)
		return -ENOENT;
	fd = fcntl(view->fs->cwd, F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? -errno : fd;
}

/*
 * The path of exe and root is resolved like one that the program passes: it may have become a link to a file that the
 * program must not open.
 */
static int target_of(const struct proc_view *view, const struct proc_node *node, char path[PATH_BYTES])
{
	if (view->guarded)	/* the link may lead to a file that the reader cannot reach */
		return -EACCES;
	if (node->fd >= 0)
		return descriptor_of(view, node);
	if (!strcmp(node->entry->name, "cwd"))
		return directory_of(view);
	if (!view->gmm)
		return -ENOENT;
	snprintf(path, PATH_BYTES, "%s", strcmp(node->entry->name, "exe") ? "/" : view->gmm->exe);
	return 0;
}

int proc_jump(struct task *t, const struct proc_node *node, char path[PATH_BYTES])
{
	struct proc_view view;
	int fd;

	path[0] = 0;
	if (!proc_view_get(t, node->pid, node->tid, &view))
		return -ENOENT;
	fd = target_of(&view, node, path);
	proc_view_put(&view);
	return fd;
}

static int alias_text(struct task *t, const struct proc_entry *e, char link[PATH_BYTES])
{
	if (!strcmp(e->name, "self"))
		return snprintf(link, PATH_BYTES, "%d", t->process->pid);
	if (!strcmp(e->name, "thread-self"))
		return snprintf(link, PATH_BYTES, "%d/task/%d", t->process->pid, t->tid);
	return snprintf(link, PATH_BYTES, "self/%s", e->name);
}

static bool is_uffd(struct task *t, const struct proc_node *node)
{
	struct proc_view view;
	struct file *file;
	bool is;

	if (node->fd < 0 || !proc_view_get(t, node->pid, node->tid, &view))
		return false;
	file = proc_view_file(&view, node->fd, NULL);
	is = file && file->uffd;
	if (file)
		file_put(file);
	proc_view_put(&view);
	return is;
}

int proc_link_text(struct task *t, const struct proc_node *node, char link[PATH_BYTES])
{
	char name[FD_NAME_BYTES];
	ssize_t n;
	int fd;

	if (node->entry && node->entry->kind == PROC_ALIAS)
		return alias_text(t, node->entry, link);
	if (node->fd < 0 ? !node->entry || node->entry->kind != PROC_LINK : node->entry != NULL)
		return -EINVAL;
	fd = proc_jump(t, node, link);
	if (fd < 0 || link[0])
		return fd < 0 ? fd : (int)strlen(link);
	n = readlink(path_fd_name(fd, name), link, PATH_BYTES - 1);
	n = n < 0 ? -errno : n;
	close(fd);
	if (n < 0)
		return (int)n;
	link[n] = 0;
	if (is_uffd(t, node))
		return snprintf(link, PATH_BYTES, "anon_inode:[userfaultfd]");
	proc_tree_rename(t->kernel, link);
	return (int)strlen(link);
}
