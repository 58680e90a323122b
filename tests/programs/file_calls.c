/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/file_calls.c SUBJECT - system calls on files at their edges; what they return and leave behind.
 *
 * It runs in an empty directory, and prints the same wherever the calls do what Linux does.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096l

/* The call as it stands, and what it returned. */
#define SHOW(call) show(#call, (long)(call))

static long show(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerrorname_np(errno));
	else
		printf("%s: %ld\n", what, result);
	return result;
}

/* A descriptor's number says nothing. */
static int show_open(const char *path, int flags)
{
	int fd = open(path, flags, 0400);

	printf("open %s %o: %s\n", path, flags, fd < 0 ? strerrorname_np(errno) : "ok");
	return fd;
}

static void show_size(const char *path)
{
	struct stat st;

	if (stat(path, &st))
		printf("%s: %s\n", path, strerrorname_np(errno));
	else
		printf("%s: %ld bytes, mode %o\n", path, (long)st.st_size, st.st_mode);
}

static void make(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (write(fd, text, strlen(text)) < 0)
		perror(path);
	close(fd);
}

static void *map(size_t len, int prot, int fd)
{
	void *at = mmap(NULL, len, prot, fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED, fd, 0);

	if (at == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return at;
}

/* --- opens: O_TRUNC and what goes with it --- */

static void truncate_by_open(const char *path, int flags)
{
	int fd, mapped;
	char *at;

	make(path, "some bytes");
	mapped = open(path, O_RDWR);
	at = map(PAGE, PROT_READ | PROT_WRITE, mapped);
	at[0] = 'S';
	fd = show_open(path, flags | O_TRUNC);
	show_size(path);
	if (ftruncate(mapped, 10))
		perror("ftruncate");
	printf("then %d %d\n", at[0], at[9]);
	munmap(at, (size_t)PAGE);
	close(mapped);
	close(fd);
}

static void opens(void)
{
	int fds[2000], nr = 0;
	char path[64];
	int fd;

	truncate_by_open("a", O_RDWR);
	truncate_by_open("a", O_WRONLY | O_APPEND);
	truncate_by_open("a", O_RDONLY);
	truncate_by_open("a", O_ACCMODE);
	truncate_by_open("a", O_RDONLY | O_CREAT);
	truncate_by_open("a", O_RDWR | O_CREAT | O_EXCL);
	truncate_by_open("a", O_PATH);
	show_open("new", O_RDONLY | O_CREAT | O_TRUNC);
	show_size("new");
	show_open("new", O_RDONLY | O_CREAT | O_TRUNC | O_EXCL);
	SHOW(symlink("target", "link"));
	show_open("link", O_RDONLY | O_TRUNC);
	show_open("link", O_RDONLY | O_CREAT | O_TRUNC | O_NOFOLLOW);
	show_open("link", O_RDONLY | O_CREAT | O_TRUNC | O_EXCL);
	show_open("link", O_RDONLY | O_CREAT | O_TRUNC);
	show_size("target");
	SHOW(mkdir("dir", 0700));
	show_open("dir", O_RDONLY | O_TRUNC);
	show_open("dir", O_RDONLY | O_TRUNC | O_DIRECTORY);
	show_open("dir", O_RDONLY | O_TRUNC | O_CREAT);
	show_open("none/file", O_RDONLY | O_TRUNC | O_CREAT);
	SHOW(mkfifo("fifo", 0600));
	show_open("fifo", O_RDWR | O_TRUNC);
	show_open("/dev/null", O_RDWR | O_TRUNC | O_CREAT);
	SHOW(truncate("fifo", 0));
	SHOW(unlink("fifo"));
	SHOW(truncate("dir", 0));
	SHOW(truncate("/dev/null", 0));
	SHOW(truncate("none", 0));
	SHOW(truncate("a", -1));
	SHOW(truncate("a", 5000));
	show_size("a");
	fd = memfd_create("sealed", MFD_ALLOW_SEALING);
	SHOW(write(fd, "bytes", 5));
	SHOW(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	printf("sealed: %d\n", open(path, O_RDWR | O_TRUNC) < 0 ? errno : 0);
	SHOW(lseek(fd, 0, SEEK_END));
	/* Without a number for it, a file is neither made nor shortened. */
	make("full", "bytes");
	while ((fds[nr] = open("/dev/null", O_RDONLY)) >= 0 && nr < 1999)
		nr++;
	show_open("full", O_RDWR | O_TRUNC);
	show_open("unmade", O_RDWR | O_CREAT);
	while (nr-- > 0)
		close(fds[nr]);
	show_size("full");
	show_size("unmade");
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} subjects[] = {
		{ "opens", opens },
	};

	setvbuf(stdout, NULL, _IONBF, 0);
	for (size_t i = 0; i < sizeof(subjects) / sizeof(subjects[0]) && argc > 1; i++)
		if (!strcmp(argv[1], subjects[i].name)) {
			subjects[i].run();
			return 0;
		}
	fprintf(stderr, "usage: file_calls SUBJECT\n");
	return 2;
}
