/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/openat2s.c - openat2(2): each RESOLVE_ flag, and what it refuses. It runs in a directory in which it
 * may make files. Its output is the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "show.h"

static void *volatile bad = (void *)1;	/* volatile: the compiler would find the error */

static long try(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
	struct open_how how = { flags, mode, resolve };

	return syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

/* @flags and @resolve are printed, and a descriptor is closed. */
static void show_open(int dir, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
	long fd = try(dir, path, flags, mode, resolve);

	printf("%s %lo %lo %lx: %s\n", path, (long)flags, (long)mode, (long)resolve, fd < 0 ? strerrorname_np(errno) : "opened");
	if (fd >= 0)
		close((int)fd);
}

static void sizes(void)
{
	struct {
		struct open_how how;
		uint64_t more[600];
	} big = { .how = { .flags = O_RDONLY } };

	SHOW(syscall(SYS_openat2, AT_FDCWD, "missing", &big, 23l));
	SHOW(syscall(SYS_openat2, AT_FDCWD, "missing", &big, 0l));
	SHOW(syscall(SYS_openat2, AT_FDCWD, "missing", &big, 24l));
	SHOW(syscall(SYS_openat2, AT_FDCWD, "missing", &big, 40l));
	SHOW(syscall(SYS_openat2, AT_FDCWD, "missing", &big, 4096l));
	SHOW(syscall(SYS_openat2, AT_FDCWD, "missing", &big, 4097l));
	SHOW(syscall(SYS_openat2, AT_FDCWD, "missing", bad, 24l));
	SHOW(syscall(SYS_openat2, AT_FDCWD, bad, &big, 24l));
	SHOW(syscall(SYS_openat2, AT_FDCWD, "", &big, 24l));
	big.more[1] = 1;
	SHOW(syscall(SYS_openat2, AT_FDCWD, "missing", &big, 32l));
	SHOW(syscall(SYS_openat2, AT_FDCWD, "missing", &big, 40l));
	SHOW(syscall(SYS_openat2, -1, "missing", &big, 24l));
}

static void flags(void)
{
	static const uint64_t modes[] = { 0, 0600, 010000, 0100600 };
	static const uint64_t kinds[] = {
		O_RDONLY, O_RDWR | O_CREAT, O_WRONLY | O_TRUNC, O_PATH, O_PATH | O_RDWR, O_PATH | O_CREAT, O_PATH | O_TRUNC,
		O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, O_TMPFILE, O_TMPFILE | O_RDWR, O_CREAT | O_DIRECTORY,
		O_TMPFILE & ~O_DIRECTORY, O_RDWR | O_CREAT | O_EXCL, 0100000, 020000, 04000000000, 1ull << 40, 3, O_ASYNC | O_APPEND,
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		for (size_t j = 0; j < 4; j++) {
			show_open(AT_FDCWD, "file", kinds[i], modes[j], 0);
			show_open(AT_FDCWD, ".", kinds[i], modes[j], RESOLVE_CACHED);
		}
	for (uint64_t resolve = 0; resolve < 0x80; resolve++)
		show_open(AT_FDCWD, "file", O_RDONLY, 0, resolve & ~(uint64_t)RESOLVE_CACHED);
	show_open(AT_FDCWD, "file", O_RDONLY, 0, 1ull << 40);
}

static void paths(void)
{
	static const char *const names[] = { "file", "dir/file", "link", "dir/up", "dir/../file", "dir/../../outside", "/",
					     "/etc/passwd", "absolute", "dir/loop", "..", "missing", "dir/rooted",
					     "/proc/self/fd/0", "/proc/self/exe", "/proc/self/cwd", "/proc/self/maps",
					     "/proc/meminfo", "/dev/stdin" };
	static const uint64_t resolve[] = { 0, RESOLVE_NO_XDEV, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_BENEATH,
					    RESOLVE_IN_ROOT, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	int dir;

	mkdir("dir", 0700);
	close(open("dir/file", O_CREAT | O_RDWR, 0600));
	if (symlink("file", "link") || symlink("../file", "dir/up") || symlink("/etc/passwd", "absolute") ||
	    symlink("loop", "dir/loop") || symlink("/file", "dir/rooted"))
		exit(1);
	dir = open("dir", O_PATH | O_DIRECTORY);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		for (size_t j = 0; j < sizeof(resolve) / sizeof(resolve[0]); j++) {
			if (!strncmp(names[i], "/", 1) && resolve[j] == RESOLVE_NO_XDEV)
				continue;	/* depends on the host's mounts */
			show_open(AT_FDCWD, names[i], O_RDONLY, 0, resolve[j]);
			show_open(dir, names[i], O_RDONLY, 0, resolve[j]);
		}
	show_open(AT_FDCWD, "dir/new", O_RDWR | O_CREAT | O_EXCL, 0640, RESOLVE_BENEATH);
	show_open(dir, "../new", O_RDWR | O_CREAT, 0640, RESOLVE_BENEATH);
	show_open(dir, "../new", O_RDWR | O_CREAT, 0640, RESOLVE_IN_ROOT);
	SHOW(access("dir/new", F_OK));
	SHOW(access("new", F_OK));
	close(dir);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	umask(022);
	sizes();
	flags();
	paths();
	return 0;
}
