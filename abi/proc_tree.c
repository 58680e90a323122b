/* SPDX-License-Identifier: MIT */
/*
 * abi/proc_tree.c - the directory of the host that stands for /proc; see proc.h.
 *
 * It is a directory in /dev/shm, $TMPDIR or /tmp that only Vellum's user may enter, and Vellum uses it by a
 * descriptor. A program cannot open it by its path on the host. It is locked by flock(2) as long as Vellum lives: the
 * next run removes one that a killed Vellum left behind.
 *
 * Programs may have other users than Vellum, and any of them creates what is missing. So the host grants all rights
 * to all, and Vellum checks the rights that it shows. No call of a program changes the tree.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "abi/kernel_fs.h"
#include "abi/proc.h"

#define PREFIX "vellum-proc-"
#define LINK_TEXT "-"		/* of every link: what it leads to depends on the time and the caller */
#define MAX_TRIES 16

struct proc_tree {
	pthread_mutex_t lock;
	int outer;		/* the private directory, locked; -1: not made yet */
	int root;		/* its only directory, which stands for /proc; also read without the lock */
	dev_t dev;		/* of the root; valid if root is not negative */
	dev_t proc_dev;		/* of the host's procfs */
};

struct proc_tree *proc_tree_create(void)
{
	struct proc_tree *tree = calloc(1, sizeof(*tree));

	if (!tree)
		return NULL;
	tree->outer = tree->root = -1;
	pthread_mutex_init(&tree->lock, NULL);
	return tree;
}

/* --- removal --- */

static bool is_dot(const char *name)
{
	return !strcmp(name, ".") || !strcmp(name, "..");
}

static DIR *open_dir(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	return d;
}

/* Remove a directory with what is in it. The tree is a few levels deep. */
static void remove_dir(int dir, const char *name)
{
	DIR *d = open_dir(dir, name);
	const struct dirent *e;

	while (d && (e = readdir(d))) {
		if (is_dot(e->d_name))
			continue;
		if (e->d_type == DT_DIR)
			remove_dir(dirfd(d), e->d_name);
		else
			unlinkat(dirfd(d), e->d_name, 0);
	}
	if (d)
		closedir(d);
	unlinkat(dir, name, AT_REMOVEDIR);
}

/* Remove what is in the private directory @outer, and itself. */
static void remove_outer(int outer)
{
	char name[FD_NAME_BYTES], path[PATH_BYTES];
	ssize_t n = readlink(path_fd_name(outer, name), path, sizeof(path) - 1);

	remove_dir(outer, "proc");
	if (n > 0) {
		path[n] = 0;
		rmdir(path);
	}
}

/* Remove the directories of runs that were killed: these are not locked. */
static void remove_stale(const char *where)
{
	DIR *d = open_dir(AT_FDCWD, where);
	const struct dirent *e;

	while (d && (e = readdir(d))) {
		struct stat st;
		int fd;

		if (strncmp(e->d_name, PREFIX, strlen(PREFIX)))
			continue;
		fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (!fstat(fd, &st) && st.st_uid == geteuid() && !flock(fd, LOCK_EX | LOCK_NB))
			remove_outer(fd);
		close(fd);
	}
	if (d)
		closedir(d);
}

void proc_tree_remove(struct proc_tree *tree)
{
	pthread_mutex_lock(&tree->lock);
	if (tree->outer >= 0)
		remove_outer(tree->outer);
	pthread_mutex_unlock(&tree->lock);
}

void proc_tree_destroy(struct proc_tree *tree)
{
	if (!tree)
		return;
	proc_tree_remove(tree);
	if (tree->root >= 0)
		close(tree->root);
	if (tree->outer >= 0)
		close(tree->outer);
	pthread_mutex_destroy(&tree->lock);
	free(tree);
}

/* --- creation --- */

/* Make and lock the private directory. Another run may take it for a stale one until it is locked. */
static int make_outer(const char *where)
{
	char path[PATH_BYTES];
	struct stat st;
	int fd;

	for (int i = 0; i < MAX_TRIES; i++) {
		if (snprintf(path, sizeof(path), "%s/" PREFIX "XXXXXX", where) >= (int)sizeof(path) || !mkdtemp(path))
			return -1;
		fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0)
			return -1;
		if (!flock(fd, LOCK_EX | LOCK_NB) && !fstat(fd, &st) && st.st_nlink)
			return fd;
		close(fd);
	}
	return -1;
}

static int make_dir(int dir, const char *name)
{
	return mkdirat(dir, name, 0777) && errno != EEXIST ? -errno : 0;	/* Vellum's umask is 0 */
}

static void make_entry(int dir, const char *name, mode_t mode)
{
	if (S_ISDIR(mode))
		make_dir(dir, name);
	else if (S_ISLNK(mode))
		(void)!symlinkat(LINK_TEXT, dir, name);
	else
		mknodat(dir, name, S_IFREG | 0666, 0);
}

static void make_entries(int dir, unsigned where)
{
	const struct proc_entry *e;

	for (unsigned i = 0; (e = proc_entry(i)); i++)
		if (e->where & where)
			make_entry(dir, e->name, e->mode);
}

/* Names of the host's /proc that programs may open. They are opened there. */
static void make_host_names(int root)
{
	DIR *d = open_dir(AT_FDCWD, "/proc");
	const struct dirent *e;
	struct stat st;

	while (d && (e = readdir(d)))
		if (kernel_fs_has_proc_name(e->d_name) && !fstatat(dirfd(d), e->d_name, &st, 0))
			make_entry(root, e->d_name, st.st_mode & (S_IFMT | ACCESSPERMS));
	if (d)
		closedir(d);
}

/* lock held. 0 or a negative errno. */
static int make_tree(struct proc_tree *tree)
{
	const char *const where[] = { "/dev/shm", secure_getenv("TMPDIR"), "/tmp", "/var/tmp" };
	struct stat st;
	int root;

	for (size_t i = 0; i < sizeof(where) / sizeof(where[0]) && tree->outer < 0; i++) {
		if (!where[i])
			continue;
		remove_stale(where[i]);
		tree->outer = make_outer(where[i]);
	}
	if (tree->outer < 0 || make_dir(tree->outer, "proc"))
		return -ENOENT;
	root = openat(tree->outer, "proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (root < 0 || fstat(root, &st))
		return -ENOENT;
	tree->dev = st.st_dev;
	tree->proc_dev = stat("/proc", &st) ? 0 : st.st_dev;
	make_entries(root, PROC_IN_ROOT);
	make_host_names(root);
	__atomic_store_n(&tree->root, root, __ATOMIC_RELEASE);
	return 0;
}

/* --- updates: lock held --- */

struct numbers {
	int *n;
	size_t nr, max;
	bool failed;
};

static void add_number(struct numbers *list, int n)
{
	if (list->nr == list->max) {
		size_t max = list->max ? 2 * list->max : 64;
		int *more = realloc(list->n, max * sizeof(*more));

		if (!more) {
			list->failed = true;
			return;
		}
		list->n = more;
		list->max = max;
	}
	list->n[list->nr++] = n;
}

static bool has_number(const struct numbers *list, int n)
{
	for (size_t i = 0; i < list->nr; i++)
		if (list->n[i] == n)
			return true;
	return false;
}

/* Remove names that are numbers and not in the list. */
static void drop_others(int dir, const struct numbers *list)
{
	DIR *d = open_dir(dir, ".");
	const struct dirent *e;

	while (d && (e = readdir(d))) {
		if (!isdigit((unsigned char)e->d_name[0]) || has_number(list, atoi(e->d_name)))
			continue;
		if (e->d_type == DT_DIR)
			remove_dir(dir, e->d_name);
		else
			unlinkat(dir, e->d_name, 0);
	}
	if (d)
		closedir(d);
}

static int open_path(int dir, const char *name)
{
	return openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* Make a directory of a process or thread with its files. */
static void make_process_dir(int dir, int id, unsigned where)
{
	char name[16];
	int fd;

	snprintf(name, sizeof(name), "%d", id);
	if (mkdirat(dir, name, 0777))		/* it is there */
		return;
	fd = open_path(dir, name);
	if (fd < 0)
		return;
	make_entries(fd, where);
	close(fd);
}

static void update_root(struct task *t, int dir)
{
	struct numbers pids = { 0 };

	pthread_mutex_lock(&t->kernel->lock);
	for (const struct process *p = t->kernel->processes; p; p = p->next)
		add_number(&pids, p->pid);
	pthread_mutex_unlock(&t->kernel->lock);
	if (!pids.failed)
		drop_others(dir, &pids);
	for (size_t i = 0; i < pids.nr; i++)
		make_process_dir(dir, pids.n[i], PROC_IN_PROCESS);
	free(pids.n);
}

static void update_tasks(struct task *t, int pid, int dir)
{
	struct numbers tids = { 0 };
	const struct process *p;

	pthread_mutex_lock(&t->kernel->lock);
	p = process_find(t->kernel, pid);
	for (const struct task *other = p ? p->threads : NULL; other; other = other->next)
		add_number(&tids, other->tid);
	if (p && !p->threads)
		add_number(&tids, pid);
	pthread_mutex_unlock(&t->kernel->lock);
	if (!tids.failed)
		drop_others(dir, &tids);
	for (size_t i = 0; i < tids.nr; i++)
		make_process_dir(dir, tids.n[i], PROC_IN_THREAD);
	free(tids.n);
}

static void update_fds(struct task *t, int pid, int dir, mode_t mode)
{
	struct numbers fds = { 0 };
	struct proc_view view;
	char name[16];

	if (!proc_view_get(t, pid, 0, &view))
		return;
	if (view.files) {
		pthread_mutex_lock(&view.files->lock);
		for (int fd = 0; fd < MAX_FDS; fd++)
			if (view.files->fds[fd].file)
				add_number(&fds, fd);
		pthread_mutex_unlock(&view.files->lock);
	}
	proc_view_put(&view);
	if (!fds.failed)
		drop_others(dir, &fds);
	for (size_t i = 0; i < fds.nr; i++) {
		snprintf(name, sizeof(name), "%d", fds.n[i]);
		make_entry(dir, name, mode);
	}
	free(fds.n);
}

/* Make the directory that the node is or is in, with what is above it, and bring what it lists up to date. */
static void update(struct task *t, struct proc_tree *tree, const struct proc_node *node)
{
	char path[64];
	int dir;

	if (node->pid)
		make_process_dir(tree->root, node->pid, PROC_IN_PROCESS);
	if (node->tid) {
		snprintf(path, sizeof(path), "%d/task", node->pid);
		dir = open_path(tree->root, path);
		if (dir >= 0) {
			make_process_dir(dir, node->tid, PROC_IN_THREAD);
			close(dir);
		}
	}
	snprintf(path, sizeof(path), "%s", node->path);
	if (!node->is_dir)		/* its directory */
		*(strrchr(path, '/') ? strrchr(path, '/') : path) = 0;
	dir = path[0] ? open_path(tree->root, path) : fcntl(tree->root, F_DUPFD_CLOEXEC, 0);
	if (dir < 0)
		return;
	if (node->dir == PROC_DIR_ROOT && node->is_dir)
		update_root(t, dir);
	else if (node->dir == PROC_DIR_TASKS)
		update_tasks(t, node->pid, dir);
	else if (node->dir == PROC_DIR_FDS)
		update_fds(t, node->pid, dir, S_IFLNK | ACCESSPERMS);
	else if (node->dir == PROC_DIR_FDINFOS)
		update_fds(t, node->pid, dir, proc_fdinfo_entry.mode);
	close(dir);
}

/* --- files of the tree --- */

static int tree_root(const struct kernel *k)
{
	return __atomic_load_n(&k->proc->root, __ATOMIC_ACQUIRE);
}

/* The part of a path of the host that is in the tree: empty, or begins with a slash. NULL: the path is outside. */
static const char *part_in_tree(struct kernel *k, const char *path)
{
	char link[FD_NAME_BYTES], own[PATH_BYTES];
	ssize_t n = readlink(path_fd_name(tree_root(k), link), own, sizeof(own));

	if (n <= 0 || (size_t)n == sizeof(own) || strncmp(path, own, (size_t)n) || (path[n] && path[n] != '/'))
		return NULL;
	return path + n;
}

bool proc_tree_has(struct kernel *k, int fd, char path[PATH_BYTES])
{
	char link[FD_NAME_BYTES], full[PATH_BYTES];
	const char *part;
	struct stat st;
	ssize_t n;

	if (tree_root(k) < 0 || fstat(fd, &st) || st.st_dev != k->proc->dev)
		return false;
	n = readlink(path_fd_name(fd, link), full, sizeof(full) - 1);
	full[n > 0 ? n : 0] = 0;
	part = n > 0 ? part_in_tree(k, full) : NULL;
	if (part)
		snprintf(path, PATH_BYTES, "%s", part + strspn(part, "/"));
	return part;
}

int proc_directory_pid(struct task *t, int fd)
{
	int host = fd_host(t, (uint64_t)fd);
	char path[PATH_BYTES], *name, *end;
	long pid;

	if (host < 0 || !proc_tree_has(t->kernel, host, path))
		return 0;
	name = path + (path[0] == '/');
	pid = strtol(name, &end, 10);
	return *end || end == name ? 0 : (int)pid;
}

void proc_tree_rename(struct kernel *k, char path[PATH_BYTES])
{
	const char *part = tree_root(k) < 0 ? NULL : part_in_tree(k, path);
	char rest[PATH_BYTES];

	if (!part)
		return;
	snprintf(rest, sizeof(rest), "%s", part);
	snprintf(path, PATH_BYTES, "/proc%.*s", PATH_BYTES - 8, rest);
}

/* --- rights --- */

/* Root may open files of any mode. The groups of a process have no rights on the files of another one. */
static int check_access(struct task *t, const struct proc_node *node, int wanted)
{
	uid_t uid = geteuid();
	struct proc_shown shown;

	if (!proc_node_look(t, node, &shown) || S_ISLNK(shown.mode))
		return 0;
	if (shown.guarded)
		return -EACCES;
	if (!uid || shown.own_fds)
		return 0;
	return wanted & ~(int)(uid == shown.user ? shown.mode >> 6 : shown.mode) & (R_OK | W_OK) ? -EACCES : 0;
}

/* @path: in the tree. */
static bool look_at_path(struct task *t, const char *path, struct proc_shown *shown)
{
	struct proc_node node;

	return !proc_walk(t, path, false, &node) && proc_node_look(t, &node, shown);
}

int proc_tree_check(struct task *t, int fd, int wanted)
{
	char path[PATH_BYTES];
	struct proc_node node;

	if (!proc_tree_has(t->kernel, fd, path) || proc_walk(t, path, false, &node))
		return 0;
	return check_access(t, &node, wanted & (R_OK | W_OK));
}

/* --- opening --- */

static int wanted_rights(int flags)
{
	int mode = flags & O_ACCMODE;

	return (mode == O_WRONLY ? 0 : R_OK) | (mode == O_RDONLY ? 0 : W_OK);
}

int proc_tree_open(struct task *t, const struct proc_node *node, int flags)
{
	struct proc_tree *tree = t->kernel->proc;
	int fd = -1, err = 0;

	if ((flags & (O_CREAT | O_EXCL)) == (O_CREAT | O_EXCL))
		return -EEXIST;
	if ((flags & O_TMPFILE) == O_TMPFILE)
		return -EOPNOTSUPP;
	flags &= ~(O_CREAT | O_EXCL | O_TRUNC);
	if (!(flags & O_PATH))		/* opening a directory for writing is -EISDIR for everyone */
		err = check_access(t, node, node->is_dir ? R_OK : wanted_rights(flags));
	if (err)
		return err;
	pthread_mutex_lock(&tree->lock);
	err = tree->root < 0 ? make_tree(tree) : 0;
	if (!err) {
		update(t, tree, node);
		fd = openat(tree->root, node->path[0] ? node->path : ".", flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY);
		err = fd < 0 ? -errno : 0;
	}
	pthread_mutex_unlock(&tree->lock);
	return err ? err : fd;
}

void proc_tree_fix_stat(struct task *t, int fd, struct stat *st)
{
	char path[PATH_BYTES];
	struct proc_shown shown;

	if (!proc_tree_has(t->kernel, fd, path))
		return;
	st->st_size = st->st_blocks = 0;
	st->st_dev = t->kernel->proc->proc_dev;
	if (!look_at_path(t, path, &shown))
		return;
	st->st_mode = shown.mode;
	st->st_uid = shown.user;
	st->st_gid = shown.group;
	st->st_size = (off_t)shown.size;
}

void proc_tree_fix_statx(struct task *t, int fd, struct statx *stx)
{
	char path[PATH_BYTES];
	struct proc_shown shown;

	if (!proc_tree_has(t->kernel, fd, path))
		return;
	stx->stx_size = stx->stx_blocks = 0;
	stx->stx_dev_major = major(t->kernel->proc->proc_dev);
	stx->stx_dev_minor = minor(t->kernel->proc->proc_dev);
	if (!look_at_path(t, path, &shown))
		return;
	stx->stx_mode = (uint16_t)shown.mode;
	stx->stx_uid = shown.user;
	stx->stx_gid = shown.group;
	stx->stx_size = shown.size;
}
