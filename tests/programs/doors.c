/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/doors.c - tries to access paths as the lines on stdin say, and prints the results.
 *
 *   read PATH      open(2) for reading, and read(2) of one byte       write PATH   open(2) for writing
 *   trunc PATH     O_TRUNC as well      stat PATH     lstat PATH      readlink PATH
 *   can MODE PATH  access(2)            at DIR PATH   openat(2) from a descriptor of DIR, as read
 *   in DIR PATH    the same after chdir(2)            reopen PATH     O_PATH, then for writing by /proc/self/fd
 *   list DIR       the names            chmod PATH    mkdir PATH      memory PATH  mknod(2) of /dev/mem
 *
 * Prints "ok", the result, or the name of the error.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void say(long n)
{
	puts(n < 0 ? strerrorname_np(errno) : "ok");
}

/* Read one byte from @fd, and close it. A directory counts as read if it could be opened. */
static void say_read(int fd)
{
	char byte;
	ssize_t n = fd < 0 ? -1 : read(fd, &byte, 1);

	if (fd >= 0 && n < 0 && errno == EISDIR)
		n = 0;
	say(n);
	if (fd >= 0)
		close(fd);
}

static void say_opened(int fd)
{
	say(fd);
	if (fd >= 0)
		close(fd);
}

static void reopen(const char *path)
{
	int fd = open(path, O_PATH);
	char link[64];

	if (fd < 0) {
		say(-1);
		return;
	}
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	say_opened(open(link, O_WRONLY));
	close(fd);
}

static void list(const char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;

	if (!dir) {
		say(-1);
		return;
	}
	while ((entry = readdir(dir)))
		printf("%s ", entry->d_name);
	puts("");
	closedir(dir);
}

static void try(const char *verb, char *path)
{
	char *second = strchr(path, ' ');
	char link[4096];
	struct stat st;
	ssize_t n;
	int fd;

	if (second)
		*second++ = 0;
	if (!strcmp(verb, "read")) {
		say_read(open(path, O_RDONLY | O_NONBLOCK));
	} else if (!strcmp(verb, "write")) {
		say_opened(open(path, O_WRONLY | O_NONBLOCK));
	} else if (!strcmp(verb, "trunc")) {
		say_opened(open(path, O_RDWR | O_TRUNC | O_NONBLOCK));
	} else if (!strcmp(verb, "stat")) {
		say(stat(path, &st));
	} else if (!strcmp(verb, "lstat")) {
		say(lstat(path, &st));
	} else if (!strcmp(verb, "readlink")) {
		n = readlink(path, link, sizeof(link));
		if (n < 0)
			say(n);
		else
			printf("%.*s\n", (int)n, link);
	} else if (!strcmp(verb, "can") && second) {
		say(access(second, atoi(path)));
	} else if (!strcmp(verb, "at") && second) {
		fd = open(path, O_PATH | O_DIRECTORY);
		say_read(fd < 0 ? -1 : openat(fd, second, O_RDONLY));
	} else if (!strcmp(verb, "in") && second) {
		say_read(chdir(path) ? -1 : open(second, O_RDONLY));
	} else if (!strcmp(verb, "reopen")) {
		reopen(path);
	} else if (!strcmp(verb, "list")) {
		list(path);
	} else if (!strcmp(verb, "chmod")) {
		say(chmod(path, 0600));
	} else if (!strcmp(verb, "mkdir")) {
		say(mkdir(path, 0700));
	} else if (!strcmp(verb, "memory")) {
		say(mknod(path, S_IFCHR | 0600, makedev(1, 1)));
	} else {
		printf("what is %s?\n", verb);
	}
}

int main(void)
{
	char line[8192];

	printf("%d\n", (int)getpid());
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		char *path = strchr(line, ' ');

		line[strcspn(line, "\n")] = 0;
		if (!path)
			continue;
		*path++ = 0;
		try(line, path);
		fflush(stdout);
	}
	return 0;
}
