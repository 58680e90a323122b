/* SPDX-License-Identifier: MIT */
/*
 * abi/proc.h - /proc as the programs of a run see it: their processes and threads, the machine's memory and CPUs.
 *
 * A private directory of the host has the directories, links and empty files of this /proc, so that stat(2), openat(2),
 * getdents64(2) and inotify(7) work on it (proc_tree.c). It is made when a program first uses it, and what a call uses is
 * brought up to date before. An open file of it has its content in struct proc_file (proc_file.c).
 *
 * Locks: the tree's lock, and that of struct proc_file, are taken before files->lock and kernel->lock.
 */
#ifndef ABI_PROC_H
#define ABI_PROC_H

#include <stdio.h>
#include <sys/stat.h>

#include "abi/path.h"
#include "abi/task.h"

/* --- names: proc_names.c --- */

enum {	/* in which directories a name is */
	PROC_IN_ROOT = 1 << 0,
	PROC_IN_PROCESS = 1 << 1,
	PROC_IN_THREAD = 1 << 2,
	PROC_IN_FDINFO = 1 << 3,
	/* No directories: the caller needs access to the process, access_check(), to open or to read the file. */
	PROC_GUARDED = 1 << 4,
	PROC_READ_GUARDED = 1 << 5,
};

enum proc_kind {
	PROC_TEXT,		/* written by print() */
	PROC_MEM, PROC_PAGEMAP,	/* read by offset */
	PROC_CLEAR_REFS,
	PROC_SAME,		/* the host's file is the same for the programs */
	PROC_LINK,		/* leads to a file or directory that is open */
	PROC_ALIAS,		/* a link to another name of /proc */
	PROC_TASKS, PROC_FDS, PROC_FDINFOS,	/* directories */
};

struct proc_view;

struct proc_entry {
	const char *name;
	enum proc_kind kind;
	mode_t mode;		/* with the file type */
	unsigned where;
	void (*print)(FILE *f, const struct proc_view *view);
	/* The whole text of a write(2), which ends with a NUL. 0 or a negative errno. */
	int (*store)(struct task *writer, const struct proc_view *view, char *text);
};

/* The entry number @i; NULL: there are not so many. */
const struct proc_entry *proc_entry(unsigned i);
const struct proc_entry *proc_entry_find(const char *name, unsigned where);
extern const struct proc_entry proc_fdinfo_entry;	/* fdinfo/N */

/* --- paths: proc_walk.c --- */

enum proc_place {
	PROC_OUTSIDE,		/* not in /proc: @rest is an absolute path */
	PROC_HOST,		/* @rest is a path of the host's /proc */
	PROC_TREE,		/* @path is the name in the tree */
	PROC_JUMP,		/* behind a link; @rest is relative to its target, or empty */
};

struct proc_node {
	enum proc_place place;
	const struct proc_entry *entry;	/* NULL: a directory, or fd/N */
	int pid, tid;			/* pid 0: of no process; tid 0: not of one thread */
	int fd;				/* fd/N and fdinfo/N, or -1 */
	enum { PROC_DIR_ROOT, PROC_DIR_PROCESS, PROC_DIR_TASKS, PROC_DIR_FDS, PROC_DIR_FDINFOS } dir;
	bool is_dir;			/* the node is the directory @dir itself */
	char path[64];
	char rest[PATH_BYTES];
};

/*
 * Walk @path, which begins in /proc; it may have slashes in front. @follow: also follow a link that is the last
 * component. 0 or a negative errno.
 */
int proc_walk(struct task *t, const char *path, bool follow, struct proc_node *node);
/* If the path begins with "/proc" or is one of the links in /dev to it: what follows. @buf: room. Else NULL. */
const char *proc_strip(const char *path, bool follow, char buf[PATH_BYTES]);
/* The text of the link that @node is. The length, or -EINVAL: it is no link. */
int proc_link_text(struct task *t, const struct proc_node *node, char link[PATH_BYTES]);
/*
 * Where the link at which @node jumps leads: 0 and an absolute path, or a new host descriptor and an empty path. Else a
 * negative errno.
 */
int proc_jump(struct task *t, const struct proc_node *node, char path[PATH_BYTES]);

/* --- the tree: proc_tree.c --- */

struct proc_tree *proc_tree_create(void);	/* NULL: no memory */
void proc_tree_destroy(struct proc_tree *tree);
/* Remove the directory while threads may still use the tree. */
void proc_tree_remove(struct proc_tree *tree);
/* Open a node in the tree, after an update: a host descriptor or a negative errno. */
int proc_tree_open(struct task *t, const struct proc_node *node, int flags);
/* Is the host descriptor a file of the tree? Then *@path: its path there, "" for the root. */
bool proc_tree_has(struct kernel *k, int fd, char path[PATH_BYTES]);
/* The PID if the program's descriptor is the directory /proc/PID, else 0. */
int proc_directory_pid(struct task *t, int fd);
/* Replace the tree's path on the host at the begin of @path by "/proc". */
void proc_tree_rename(struct kernel *k, char path[PATH_BYTES]);
/* If the host descriptor is a file of the tree: has the calling thread the rights R_OK, W_OK on it? 0 or -EACCES. */
int proc_tree_check(struct task *t, int fd, int wanted);
/* Make what fstat(2) says of a file of the tree like procfs. */
void proc_tree_fix_stat(struct task *t, int fd, struct stat *st);
void proc_tree_fix_statx(struct task *t, int fd, struct statx *stx);

/* --- what programs see of a node: proc_shown.c --- */

struct proc_shown {
	mode_t mode;
	uint32_t user, group;
	uint64_t size;
	bool guarded;		/* the reader may not open it, whatever its mode */
	bool own_fds;		/* the reader may open it, whatever its mode */
};

/* False: the node is gone, or a name of the host's. */
bool proc_node_look(struct task *t, const struct proc_node *node, struct proc_shown *shown);

/* --- open files: proc_file.c --- */

struct proc_file *proc_file_attach(struct kernel *k, int fd, const struct stat *st);	/* NULL: none */
/* Check the rights of the opener on a file that was attached. 0 or -EACCES. */
int proc_file_check(struct task *t, const struct file *file);
void proc_file_free(struct proc_file *pf);
bool proc_file_is_dir(const struct proc_file *pf);
/* read(2) and write(2); @offset -1: at the file position. Bytes or a negative errno. May block. */
int64_t proc_file_read(struct task *t, const struct file *file, void *buf, size_t len, int64_t offset);
int64_t proc_file_write(struct task *t, const struct file *file, const void *buf, size_t len, int64_t offset);
/* getdents64(2), lseek(2) of a directory. */
int64_t proc_file_list(struct task *t, const struct file *file, uint64_t dirp, uint32_t count);
int64_t proc_file_seek(const struct file *file, int64_t offset, int whence);
/* ioctl(2): PAGEMAP_SCAN. */
int64_t proc_file_ioctl(struct task *t, const struct file *file, uint32_t request, uint64_t arg);

/* --- what a process is like: proc_view.c --- */

struct proc_view {
	struct kernel *kernel;
	const struct task *reader;
	struct process *process;	/* pinned; NULL: the entry is of no process */
	struct guest_mm *gmm;		/* pinned; NULL: none, as of a zombie */
	struct files *files;		/* referenced; NULL: the same */
	struct fs *fs;			/* the same */
	int pid, tid;			/* tid: of the thread, or of the process */
	bool of_thread;			/* of a task directory */
	int fd;				/* fdinfo/N */
	char state;
	char comm[TASK_COMM_LEN];
	int ppid, pgid, sid, exit_signal, exit_status;
	unsigned nr_threads;
	pid_t host_tid;			/* 0: none */
	int cpu;			/* that it used last */
	uint64_t cpus;			/* that it may use */
	uint64_t start_ns;		/* CLOCK_BOOTTIME */
	uint64_t pending, shared_pending, blocked, ignored, caught;
	unsigned nr_pending;
	struct usage used, children;
	struct rlimit limits[RLIM_NLIMITS];
	int oom_score_adj;
	mode_t umask;
	uint32_t user, group;		/* the owner of its files */
	bool guarded;			/* the reader has no access to the process */
	uint32_t personality;
	struct task_policy policy;
};

/* Look at a thread, or with @tid 0 at a process. False: there is none. Must be dropped. */
bool proc_view_get(struct task *reader, int pid, int tid, struct proc_view *view);
void proc_view_put(struct proc_view *view);
/* The file of a descriptor of the process, referenced. *@cloexec may be NULL. NULL: it is closed. */
struct file *proc_view_file(const struct proc_view *view, int fd, bool *cloexec);

struct proc_memory {		/* bytes */
	uint64_t size, rss, anon, file, shmem;	/* rss: without the zero page, as in Linux */
	uint64_t data, stack, exe, lib, locked;
};

/* Sums over the VMAs and their pages. */
void proc_memory_sums(const struct guest_mm *gmm, struct proc_memory *m);

/* --- contents: proc_text.c, proc_status.c, proc_system.c, proc_memory.c --- */

void proc_print_auxv(FILE *f, const struct proc_view *view);
void proc_print_children(FILE *f, const struct proc_view *view);
void proc_print_cmdline(FILE *f, const struct proc_view *view);
void proc_print_comm(FILE *f, const struct proc_view *view);
void proc_print_environ(FILE *f, const struct proc_view *view);
void proc_print_fdinfo(FILE *f, const struct proc_view *view);
void proc_print_io(FILE *f, const struct proc_view *view);
void proc_print_limits(FILE *f, const struct proc_view *view);
void proc_print_maps(FILE *f, const struct proc_view *view);
void proc_print_oom_adj(FILE *f, const struct proc_view *view);
void proc_print_oom_score(FILE *f, const struct proc_view *view);
void proc_print_oom_score_adj(FILE *f, const struct proc_view *view);
void proc_print_personality(FILE *f, const struct proc_view *view);
void proc_print_smaps(FILE *f, const struct proc_view *view);
void proc_print_smaps_rollup(FILE *f, const struct proc_view *view);
void proc_print_stat(FILE *f, const struct proc_view *view);
void proc_print_statm(FILE *f, const struct proc_view *view);
void proc_print_status(FILE *f, const struct proc_view *view);
void proc_print_wchan(FILE *f, const struct proc_view *view);

int proc_store_comm(struct task *writer, const struct proc_view *view, char *text);
int proc_store_oom_adj(struct task *writer, const struct proc_view *view, char *text);
int proc_store_oom_score_adj(struct task *writer, const struct proc_view *view, char *text);
int proc_store_clear_refs(struct task *writer, const struct proc_view *view, char *text);

void proc_print_loadavg(FILE *f, const struct proc_view *view);
void proc_print_meminfo(FILE *f, const struct proc_view *view);
void proc_print_swaps(FILE *f, const struct proc_view *view);
void proc_print_system_stat(FILE *f, const struct proc_view *view);
void proc_print_uptime(FILE *f, const struct proc_view *view);

/* Parse a number with blanks after it, as strtol(3) with @base does. False: the text is none. */
bool proc_parse_number(const char *text, int base, long *n);

/* Update the averages of the load, if it is time. kernel->lock held. */
void load_tick(struct kernel *k, uint64_t now);

/* mem and pagemap, at byte @offset. Bytes, or a negative errno. */
int64_t proc_mem_read(const struct proc_view *view, uint64_t offset, void *buf, size_t len);
int64_t proc_mem_write(struct task *writer, const struct proc_view *view, uint64_t offset, const void *buf, size_t len);
int64_t proc_pagemap_read(const struct proc_view *view, uint64_t offset, void *buf, size_t len);
int64_t proc_pagemap_scan(struct task *t, const struct proc_view *view, uint64_t arg);

#endif
