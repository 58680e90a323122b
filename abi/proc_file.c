/* SPDX-License-Identifier: MIT */
/* abi/proc_file.c - open files and directories of /proc; see proc.h. */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "abi/proc.h"
#include "vellum/pagemap.h"

#ifndef PAGEMAP_SCAN		/* of <linux/fs.h>; older headers lack it */
#define PAGEMAP_SCAN _IOWR('f', 16, struct vellum_scan_args)
#endif
#define MAX_STORED 4096		/* bytes of one write(2) of text */

struct proc_file {
	struct kernel *kernel;
	pthread_mutex_t lock;		/* protects what follows @start_ns */
	const struct proc_entry *entry;	/* NULL: a directory */
	int pid, tid, fd;
	uint64_t start_ns;		/* of the process: its number may be used again */
	char *text;			/* the content; of a directory: its entries */
	size_t len;
	bool is_read;			/* @text is set */
	size_t at;			/* of a directory: the position, in bytes of @text */
};

/* --- opening --- */

/* The start of a process or thread, which tells it from a later one with the same number. 0: there is none. */
static uint64_t start_of(struct kernel *k, int pid, int tid)
{
	const struct process *p;
	const struct task *t;
	uint64_t start;

	pthread_mutex_lock(&k->lock);
	p = process_find(k, pid);
	t = tid && tid != pid ? task_find(k, tid) : NULL;
	start = t ? t->start_ns : p ? p->start_ns : 0;
	pthread_mutex_unlock(&k->lock);
	return start;
}

/* Parse a path in the tree, as name_node() of proc_walk.c makes it. False: it is a link, or was removed. */
static bool parse(struct proc_file *pf, const char *path, bool is_dir)
{
	const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	int n = 0;

	pf->fd = -1;
	if (sscanf(path, "%d/task/%d", &pf->pid, &pf->tid) < 1)
		pf->pid = 0;
	if (strstr(path, " (deleted)"))
		return false;
	if (is_dir)
		return true;
	if (pf->pid && strstr(path, "/fdinfo/") && sscanf(name, "%d%n", &pf->fd, &n) == 1 && !name[n])
		pf->entry = &proc_fdinfo_entry;
	else
		pf->entry = proc_entry_find(name, !pf->pid ? PROC_IN_ROOT : pf->tid ? PROC_IN_THREAD : PROC_IN_PROCESS);
	return pf->entry;
}

struct proc_file *proc_file_attach(struct kernel *k, int fd, const struct stat *st)
{
	struct proc_file found = { .kernel = k }, *pf;
	char path[PATH_BYTES];

	if ((!S_ISREG(st->st_mode) && !S_ISDIR(st->st_mode)) || !proc_tree_has(k, fd, path))
		return NULL;
	if ((fcntl(fd, F_GETFL) & O_PATH) || !parse(&found, path, S_ISDIR(st->st_mode)))
		return NULL;
	pf = malloc(sizeof(*pf));
	if (!pf)
		return NULL;
	*pf = found;
	pthread_mutex_init(&pf->lock, NULL);
	if (pf->pid)
		pf->start_ns = start_of(k, pf->pid, pf->tid);
	return pf;
}

void proc_file_free(struct proc_file *pf)
{
	if (!pf)
		return;
	free(pf->text);
	pthread_mutex_destroy(&pf->lock);
	free(pf);
}

bool proc_file_is_dir(const struct proc_file *pf)
{
	return !pf->entry;
}

/* 0, or -ESRCH: the process has ended. */
static int view_of(struct task *t, const struct proc_file *pf, struct proc_view *view)
{
	if (!proc_view_get(t, pf->pid, pf->tid, view))
		return -ESRCH;
	view->fd = pf->fd;
	if (!pf->pid || view->start_ns == pf->start_ns || (view->process->start_ns == pf->start_ns && !pf->tid))
		return 0;
	proc_view_put(view);
	return -ESRCH;
}

/* --- text --- */

/* lock held. 0 or a negative errno. */
static int print_text(struct task *t, struct proc_file *pf)
{
	struct proc_view view;
	char *text = NULL;
	size_t len = 0;
	int err;
	FILE *f;

	err = view_of(t, pf, &view);
	if (err)
		return err;
	if (view.guarded && (pf->entry->where & PROC_READ_GUARDED)) {
		proc_view_put(&view);
		return pf->entry->print == proc_print_io ? -EACCES : -EPERM;	/* as in Linux */
	}
	f = open_memstream(&text, &len);
	if (f)
		pf->entry->print(f, &view);
	err = !f || fclose(f) ? -ENOMEM : 0;
	proc_view_put(&view);
	if (err) {
		free(text);
		return err;
	}
	free(pf->text);
	pf->text = text;
	pf->len = len;
	pf->is_read = true;
	return 0;
}

/* Read at @offset. From the start, the text is made again, since programs keep files open. lock held. */
static int64_t read_text(struct task *t, struct proc_file *pf, void *buf, size_t len, uint64_t offset)
{
	int err = offset == 0 || !pf->is_read ? print_text(t, pf) : 0;

	if (err)
		return err;
	if (offset >= pf->len)
		return 0;
	if (len > pf->len - offset)
		len = pf->len - offset;
	memcpy(buf, pf->text + offset, len);
	return (int64_t)len;
}

static int64_t read_by_offset(struct task *t, struct proc_file *pf, void *buf, size_t len, uint64_t offset)
{
	struct proc_view view;
	int64_t n = view_of(t, pf, &view);

	if (n)
		return pf->entry->kind == PROC_MEM ? 0 : n;
	n = pf->entry->kind == PROC_MEM ? proc_mem_read(&view, offset, buf, len) :
					  proc_pagemap_read(&view, offset, buf, len);
	proc_view_put(&view);
	return n;
}

/* A descriptor of O_PATH can be opened again by /dev/fd, which looks up no name. */
int proc_file_check(struct task *t, const struct file *file)
{
	int mode = fcntl(file->fd, F_GETFL) & O_ACCMODE;

	return proc_tree_check(t, file->fd, (mode == O_WRONLY ? 0 : R_OK) | (mode == O_RDONLY ? 0 : W_OK));
}

static bool is_open_for(const struct file *file, int mode)
{
	int flags = fcntl(file->fd, F_GETFL) & O_ACCMODE;

	return flags == O_RDWR || flags == mode;
}

/* The host keeps the position of the file. An offset of mem may be any address. */
static int64_t position(const struct file *file, int64_t offset)
{
	return offset < 0 ? lseek(file->fd, 0, SEEK_CUR) : offset;
}

int64_t proc_file_read(struct task *t, const struct file *file, void *buf, size_t len, int64_t offset)
{
	struct proc_file *pf = file->proc;
	int64_t at, n;

	if (!is_open_for(file, O_RDONLY))
		return -EBADF;
	if (!pf->entry)
		return -EISDIR;
	pthread_mutex_lock(&pf->lock);
	at = position(file, offset);
	if (pf->entry->print)
		n = read_text(t, pf, buf, len, (uint64_t)at);
	else
		n = pf->entry->kind == PROC_CLEAR_REFS ? -EINVAL : read_by_offset(t, pf, buf, len, (uint64_t)at);
	if (n > 0 && offset < 0)
		lseek(file->fd, n, SEEK_CUR);
	pthread_mutex_unlock(&pf->lock);
	return n;
}

static int64_t store_text(struct task *t, const struct proc_view *view, const struct proc_entry *e, const void *buf,
			  size_t len)
{
	char text[MAX_STORED];
	int err;

	if (len >= sizeof(text))
		return -EINVAL;
	memcpy(text, buf, len);
	text[len] = 0;
	err = e->store(t, view, text);
	return err ? err : (int64_t)len;
}

int64_t proc_file_write(struct task *t, const struct file *file, const void *buf, size_t len, int64_t offset)
{
	struct proc_file *pf = file->proc;
	struct proc_view view;
	int64_t at, n;

	if (!is_open_for(file, O_WRONLY) || !pf->entry)
		return -EBADF;
	if (!pf->entry->store && pf->entry->kind != PROC_MEM)
		return pf->pid ? -EINVAL : -EIO;
	n = view_of(t, pf, &view);
	if (n)
		return n;
	pthread_mutex_lock(&pf->lock);
	at = position(file, offset);
	if (pf->entry->store)
		n = store_text(t, &view, pf->entry, buf, len);
	else
		n = proc_mem_write(t, &view, (uint64_t)at, buf, len);
	if (n > 0 && offset < 0)
		lseek(file->fd, n, SEEK_CUR);
	pthread_mutex_unlock(&pf->lock);
	proc_view_put(&view);
	return n;
}

int64_t proc_file_ioctl(struct task *t, const struct file *file, uint32_t request, uint64_t arg)
{
	struct proc_view view;
	int64_t n;

	if (proc_file_is_dir(file->proc) || file->proc->entry->kind != PROC_PAGEMAP)
		return -ENOTTY;
	if (request != PAGEMAP_SCAN)
		return -EINVAL;
	n = view_of(t, file->proc, &view);
	if (n)
		return n;
	n = proc_pagemap_scan(t, &view, arg);
	proc_view_put(&view);
	return n;
}

/* --- directories --- */

struct name {
	ino64_t ino;
	unsigned char type;
	char text[256];
};

/* "." and "..", names, numbers by value. */
static int compare_names(const void *a, const void *b)
{
	const struct name *x = a, *y = b;
	bool x_number = isdigit((unsigned char)x->text[0]), y_number = isdigit((unsigned char)y->text[0]);

	if (x_number != y_number)
		return x_number - y_number;
	return x_number ? atoi(x->text) - atoi(y->text) : strcmp(x->text, y->text);
}

/* Read the names from the host. *@nr: how many. NULL: no memory. */
static struct name *read_names(int fd, size_t *nr)
{
	int dir = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = dir < 0 ? NULL : fdopendir(dir);
	struct name *names = malloc(sizeof(*names)), *more;
	const struct dirent64 *e;
	size_t max = 1;

	*nr = 0;
	while (names && d && (e = readdir64(d))) {
		if (*nr == max) {
			more = realloc(names, (max *= 2) * sizeof(*names));
			if (!more)
				break;
			names = more;
		}
		names[*nr].ino = e->d_ino;
		names[*nr].type = e->d_type;
		snprintf(names[(*nr)++].text, sizeof(names->text), "%s", e->d_name);
	}
	if (d)
		closedir(d);
	else if (dir >= 0)
		close(dir);
	return names;
}

/* Bring the directory up to date, and make its entries. lock held. 0 or a negative errno. */
static int read_entries(struct task *t, const struct file *file, struct proc_file *pf)
{
	char path[PATH_BYTES];
	struct proc_node node;
	struct name *names;
	size_t nr, size;
	int fd;

	if (!proc_tree_has(t->kernel, file->fd, path) || proc_walk(t, path, false, &node) || !node.is_dir)
		return -ENOENT;
	fd = proc_tree_open(t, &node, O_PATH | O_DIRECTORY);
	if (fd < 0)
		return fd;
	names = read_names(fd, &nr);
	close(fd);
	free(pf->text);
	pf->len = 0;
	pf->text = names ? malloc(nr * sizeof(struct dirent64) + 1) : NULL;
	if (pf->text) {
		qsort(names, nr, sizeof(*names), compare_names);
		for (size_t i = 0; i < nr; i++) {
			struct dirent64 *d = (struct dirent64 *)(pf->text + pf->len);

			size = offsetof(struct dirent64, d_name) + strlen(names[i].text) + 1;
			size = (size + 7) & ~7ul;
			pf->len += size;
			*d = (struct dirent64){ .d_ino = names[i].ino, .d_off = (off64_t)pf->len,
						.d_reclen = (unsigned short)size, .d_type = names[i].type };
			memcpy((char *)d + offsetof(struct dirent64, d_name), names[i].text, strlen(names[i].text) + 1);
		}
	}
	free(names);
	return pf->text ? 0 : -ENOMEM;
}

/* The end of the last entry that begins at or behind @start and ends within @size bytes. */
static size_t end_of_entries(const struct proc_file *pf, size_t start, size_t size)
{
	size_t end = start;

	while (end < pf->len) {
		size_t next = (size_t)((const struct dirent64 *)(pf->text + end))->d_off;

		if (next - start > size)
			break;
		end = next;
	}
	return end;
}

int64_t proc_file_list(struct task *t, const struct file *file, uint64_t dirp, uint32_t count)
{
	struct proc_file *pf = file->proc;
	size_t end = 0;
	int64_t n = 0;

	pthread_mutex_lock(&pf->lock);
	if (pf->at == 0 || !pf->text)
		n = read_entries(t, file, pf);
	if (!n && pf->at < pf->len) {
		end = end_of_entries(pf, pf->at, count);
		n = end == pf->at ? -EINVAL : (int64_t)(end - pf->at);
	}
	if (n > 0)
		n = user_write(t, dirp, pf->text + pf->at, (size_t)n) ? -EFAULT : n;
	if (n > 0)
		pf->at = end;
	pthread_mutex_unlock(&pf->lock);
	return n;
}

/* A position in the middle of an entry becomes that of the next one. */
int64_t proc_file_seek(const struct file *file, int64_t offset, int whence)
{
	struct proc_file *pf = file->proc;
	int64_t at = -EINVAL;

	pthread_mutex_lock(&pf->lock);
	if (whence == SEEK_CUR)
		offset += (int64_t)pf->at;
	if ((whence == SEEK_SET || whence == SEEK_CUR) && offset >= 0) {
		at = offset;
		pf->at = 0;
		while (pf->at < (uint64_t)offset && pf->at < pf->len)
			pf->at = (size_t)((const struct dirent64 *)(pf->text + pf->at))->d_off;
	}
	pthread_mutex_unlock(&pf->lock);
	return at;
}
