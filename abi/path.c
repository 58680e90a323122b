/* SPDX-License-Identifier: MIT */
/*
 * abi/path.c - paths of a program, made safe to hand to the host.
 *
 * One host process serves many: its current directory, its umask and its /proc/self are not the
 * program's. Paths start from a descriptor of the program's directory; what is opened is checked
 * not to be a file of this process in procfs, through which a program could reach all of Vellum.
 */
#define _GNU_SOURCE
#include "abi/path.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

/* "/proc/self/REST", or "/proc/PID/REST" with the program's own number: REST, else NULL. */
static const char *proc_self_rest(const struct task *t, const char *path)
{
	char own[32];
	size_t n;

	snprintf(own, sizeof(own), "/proc/%d/", t->pid);
	if (!strncmp(path, "/proc/self/", 11))
		return path + 11;
	n = strlen(own);
	return strncmp(path, own, n) ? NULL : path + n;
}

/* Into @host: what the program's own procfs file stands for. */
static int translate_proc(struct task *t, const char *rest, char *host, size_t size)
{
	char *end;
	long fd;
	int own;

	if (!strcmp(rest, "exe")) {
		snprintf(host, size, "%s", t->gmm->exe);
		return 0;
	}
	if (!strcmp(rest, "cwd")) {
		snprintf(host, size, "/proc/self/fd/%d", t->cwd);
		return 0;
	}
	if (!strncmp(rest, "fd/", 3)) {
		fd = strtol(rest + 3, &end, 10);
		own = *end || end == rest + 3 ? -1 : fd_host(t, (uint64_t)fd);
		if (own < 0)
			return -ENOENT;
		snprintf(host, size, "/proc/self/fd/%d", own);
		return 0;
	}
	return -ENOENT;
}

/* /dev/stdin and its like are links into /proc/self/fd. */
static const char *standard_stream(const char *path)
{
	static const char *const names[][2] = { { "/dev/stdin", "fd/0" }, { "/dev/stdout", "fd/1" },
						{ "/dev/stderr", "fd/2" } };

	for (size_t i = 0; i < 3; i++)
		if (!strcmp(path, names[i][0]))
			return names[i][1];
	return strncmp(path, "/dev/fd/", 8) ? NULL : path + 5;
}

static int translate(struct task *t, const char *path, char *host, size_t size)
{
	const char *rest = proc_self_rest(t, path);

	if (!rest)
		rest = standard_stream(path);
	if (rest)
		return translate_proc(t, rest, host, size);
	snprintf(host, size, "%s", path);
	return 0;
}

int path_get(struct task *t, int64_t dirfd, uint64_t addr, struct host_path *hp)
{
	char path[PATH_BYTES];
	int err = user_string(t, path, sizeof(path), addr);

	if (err)
		return err;
	if ((int)dirfd == AT_FDCWD || path[0] == '/') {
		hp->dir = t->cwd;
	} else {
		hp->dir = fd_host(t, (uint32_t)dirfd);
		if (hp->dir < 0)
			return -EBADF;
	}
	return translate(t, path, hp->path, sizeof(hp->path));
}

int path_for_host(struct task *t, const char *path, char *host, size_t size)
{
	if (!path[0])
		return -ENOENT;
	if (path[0] == '/')
		return translate(t, path, host, size);
	return snprintf(host, size, "/proc/self/fd/%d/%s", t->cwd, path) >= (int)size ? -ENAMETOOLONG : 0;
}

/* Is /proc/@number one of ours: the process or a thread of it? */
static bool is_own_number(const char *number)
{
	char task[64];

	snprintf(task, sizeof(task), "/proc/self/task/%.*s", (int)strcspn(number, "/"), number);
	return access(task, F_OK) == 0;
}

int path_check_opened(int fd)
{
	char link[64], name[256];
	const char *last;
	struct statfs fs;
	ssize_t n;

	if (fstatfs(fd, &fs) || fs.f_type != PROC_SUPER_MAGIC)
		return 0;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, name, sizeof(name) - 1);
	if (n < 0)
		return -EACCES;
	name[n] = 0;
	last = strrchr(name, '/');
	/* Nobody's memory either: QEMU's is the program's machine. */
	if (last && !strcmp(last, "/mem"))
		return -EACCES;
	return !strncmp(name, "/proc/", 6) && name[6] && is_own_number(name + 6) ? -EACCES : 0;
}
