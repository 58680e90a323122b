/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/file_calls.c SUBJECT - edge cases of system calls on files: their results, and the files afterwards.
 *
 * It runs in an empty directory. Its output under `vellum run` must be the same as natively.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "show.h"

#define PAGE 4096l

/* Descriptors differ between runs: print only whether the call succeeded. */
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

/* --- opens: O_TRUNC --- */

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
	/* Without a free descriptor, open() neither creates nor truncates the file. */
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

/* --- buffers: memory that is accessible only in part --- */

static char big[65536];
/* A compiler would refuse these as constants. */
static char *volatile nothing;
static volatile int too_many = 5000;
static volatile size_t everything = SIZE_MAX;

static void show_text(const char *what, const char *text, long len)
{
	printf("%s: ", what);
	for (long i = 0; i < len; i++)
		putchar(text[i] < ' ' || text[i] > '~' ? '.' : text[i]);
	putchar('\n');
}

/* The bytes left in a pipe. */
static void show_rest(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	long n;

	fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	n = read(fd, big, sizeof(big));
	fcntl(fd, F_SETFL, flags);
	if (n < 0)
		printf("rest: %s\n", strerrorname_np(errno));
	else
		show_text("rest", big, n < 20 ? n : 20), printf("of %ld\n", n);
}

static void pipe_buffers(char *bad, char *read_only)
{
	struct iovec iov[3] = { { bad - 100, 2 }, { bad, 4 }, { big, 5 } };
	int p[2];

	if (pipe(p))
		exit(1);
	write(p[1], "123456", 6);
	SHOW(read(p[0], bad, 2));
	SHOW(read(p[0], bad - 1, 1));
	SHOW(read(p[0], bad - 1, 2));
	show_text("stored", bad - 1, 1);
	show_rest(p[0]);
	write(p[1], "123456", 6);
	SHOW(readv(p[0], iov, 3));
	show_text("stored", bad - 100, 2);
	SHOW(read(p[0], read_only, 4));
	SHOW(read(p[0], nothing, 4));
	show_rest(p[0]);
	for (long i = 0; i < 3 * PAGE; i++)
		big[i] = (char)('a' + i / PAGE);
	write(p[1], big, 3 * PAGE);
	SHOW(read(p[0], bad - 2 * PAGE, 3 * PAGE));
	show_rest(p[0]);
	memset(bad - 2 * PAGE - 100, '-', 2 * PAGE + 100);
	for (long i = 0; i < 3 * PAGE; i++)
		big[i] = (char)('a' + i / PAGE);
	write(p[1], big, 3 * PAGE);
	SHOW(read(p[0], bad - 2 * PAGE - 100, 3 * PAGE));
	show_text("stored", bad - 101, 101);
	show_rest(p[0]);
	SHOW(write(p[1], bad - 1, 2));
	SHOW(write(p[1], bad, 2));
	iov[0].iov_base = big;
	SHOW(writev(p[1], iov, 3));
	SHOW(write(p[1], bad - PAGE - 5, PAGE + 10));
	show_rest(p[0]);
	SHOW(pread(p[0], bad, 4, 0));
	close(p[0]);
	SHOW(signal(SIGPIPE, SIG_IGN) == SIG_ERR);
	SHOW(write(p[1], bad, 2));
	close(p[1]);
}

static void file_buffers(char *bad)
{
	struct iovec iov[3] = { { big, 3 }, { bad, 4 }, { big, 5 } };
	int fd = open("f", O_RDWR | O_CREAT | O_TRUNC, 0600), other = open("f", O_WRONLY);

	memcpy(bad - 8, "abcdefgh", 8);
	SHOW(write(fd, bad - 8, 20));
	SHOW(lseek(fd, 0, SEEK_CUR));
	SHOW(write(fd, bad, 20));
	SHOW(write(fd, bad - 5000, 9000));
	SHOW(lseek(fd, 0, SEEK_CUR));
	SHOW(writev(fd, iov, 3));
	SHOW(lseek(fd, 0, SEEK_CUR));
	SHOW(pwritev(fd, iov, 3, 10000));
	show_size("f");
	SHOW(lseek(fd, 0, SEEK_SET));
	SHOW(read(fd, bad - 3, 10));
	show_text("stored", bad - 3, 3);
	SHOW(lseek(fd, 0, SEEK_CUR));
	SHOW(read(fd, bad, 10));
	SHOW(lseek(fd, 0, SEEK_CUR));
	SHOW(readv(fd, iov, 3));
	SHOW(lseek(fd, 0, SEEK_CUR));
	SHOW(pread(fd, bad - 3, 10, 4));
	show_text("stored", bad - 3, 3);
	/* Arguments that are wrong for any program. */
	iov[1].iov_base = (void *)-4096l;
	SHOW(readv(fd, iov, 3));
	SHOW(readv(other, iov, 3));
	iov[1].iov_base = (void *)0x7ffffffff000l;
	SHOW(writev(fd, iov, 3));
	iov[1].iov_len = (size_t)-1;
	SHOW(readv(fd, iov, 3));
	SHOW(readv(fd, iov, too_many));
	SHOW(readv(other, iov, too_many));
	SHOW(readv(999, iov, too_many));
	SHOW(readv(fd, (void *)bad, 2));
	SHOW(readv(fd, (void *)bad, 0));
	SHOW(read(fd, (void *)-1l, 0));
	SHOW(read(other, (void *)-1l, 4));
	SHOW(read(other, bad, 0));
	SHOW(write(other, bad, 0));
	SHOW(read(fd, bad - 1, everything));
	SHOW(lseek(fd, 0, SEEK_CUR));
	close(fd);
	close(other);
}

/* The file is mapped, and the mapping is the buffer. */
static void mapped_buffers(char *bad)
{
	int fd = open("m", O_RDWR | O_CREAT | O_TRUNC, 0600), p[2];
	char *at;

	if (pipe(p) || ftruncate(fd, 2 * PAGE + 10))
		exit(1);
	at = map(4 * PAGE, PROT_READ | PROT_WRITE, fd);
	memcpy(at + 8, "MAPPED", 6);
	SHOW(lseek(fd, 8, SEEK_SET));
	SHOW(read(fd, bad - 3, 6));
	show_text("stored", bad - 3, 3);
	SHOW(lseek(fd, 0, SEEK_CUR));
	SHOW(write(fd, bad - 3, 6));
	show_text("mapped", at, 20);
	SHOW(lseek(fd, 0, SEEK_CUR));
	write(p[1], "0123456789", 10);
	SHOW(read(p[0], at + 4 * PAGE - 4, 10));
	SHOW(read(p[0], at + 3 * PAGE - 4, 10));
	show_text("mapped", at + 3 * PAGE - 4, 4);
	show_rest(p[0]);
	SHOW(lseek(fd, 0, SEEK_SET));
	SHOW(read(fd, at + 2 * PAGE, 2 * PAGE));
	munmap(at, 4 * PAGE);
	close(fd);
	close(p[0]);
	close(p[1]);
}

/* MADV_GUARD_INSTALL; older kernels do not know it */
static void guarded_buffers(void)
{
	char *at = map(3 * PAGE, PROT_READ | PROT_WRITE, -1);
	int p[2];

	if (madvise(at + PAGE, PAGE, 102) || pipe(p))
		return;
	write(p[1], "0123456789", 10);
	SHOW(read(p[0], at + PAGE, 10));
	SHOW(read(p[0], at + PAGE - 5, 10));
	show_text("stored", at + PAGE - 5, 5);
	show_rest(p[0]);
	close(p[0]);
	close(p[1]);
}

static void device_buffers(char *bad)
{
	int zero = open("/dev/zero", O_RDWR), null = open("/dev/null", O_RDWR), random = open("/dev/urandom", O_RDONLY);
	int list = open("/proc/filesystems", O_RDONLY), full = open("/dev/full", O_RDWR);

	SHOW(read(zero, bad - 2, 6));
	SHOW(read(zero, bad, 6));
	SHOW(read(zero, bad - 3 * PAGE, 5 * PAGE));
	SHOW(write(zero, bad - 2, 6));
	SHOW(read(null, bad, 6));
	SHOW(write(null, bad - 2, 6));
	SHOW(write(null, bad, 6));
	SHOW(write(full, bad, 6));
	SHOW(read(random, bad - 2, 6));
	SHOW(read(random, bad, 6));
	SHOW(getrandom(bad - 2, 6, 0));
	SHOW(getrandom(bad, 6, 0));
	if (list < 0)
		return;
	SHOW(read(list, bad - 20, 100));
	SHOW(lseek(list, 0, SEEK_CUR));
	SHOW(read(list, bad, 100));
	SHOW(lseek(list, 0, SEEK_CUR));
}

static int nr_entries(const char *at, long len)
{
	int nr = 0;

	for (long i = 0; i < len; i += ((const struct dirent64 *)(at + i))->d_reclen)
		nr++;
	return nr;
}

static void directory_buffers(char *bad)
{
	char name[32];
	int fd, nr = 0;
	long n;

	mkdir("d", 0700);
	for (int i = 0; i < 10; i++) {
		snprintf(name, sizeof(name), "d/name%d", i);
		close(open(name, O_WRONLY | O_CREAT, 0600));
	}
	fd = open("d", O_RDONLY | O_DIRECTORY);
	SHOW(syscall(SYS_getdents64, fd, bad, 1000));
	SHOW(syscall(SYS_getdents64, fd, bad - 10, 1000));
	SHOW(syscall(SYS_getdents64, fd, bad - 5, 3));
	while ((n = syscall(SYS_getdents64, fd, bad - 100, 1000)) > 0)
		nr += nr_entries(bad - 100, n);
	printf("%d entries, then %ld\n", nr, n);
	SHOW(syscall(SYS_getdents64, fd, bad, 1000));
	close(fd);
}

static void pointers(char *bad, char *read_only)
{
	struct pollfd *poll_set = (void *)(read_only + 64);
	int fd = open("s", O_RDWR | O_CREAT | O_TRUNC, 0600), out[2], fds[2];
	off_t *offset = (off_t *)read_only;

	if (pipe(out))
		exit(1);
	write(fd, "0123456789", 10);
	SHOW(sendfile(out[1], fd, (off_t *)bad, 4));
	SHOW(sendfile(out[1], fd, offset, 4));
	show_rest(out[0]);
	SHOW(copy_file_range(fd, offset, fd, (off_t *)bad, 4, 0));
	*(off_t *)big = 20;
	SHOW(copy_file_range(fd, offset, fd, (off_t *)big, 4, 0));
	printf("offset %ld\n", (long)*(off_t *)big);
	show_size("s");
	SHOW(pipe2((int *)(bad - 4), 0));
	SHOW(pipe(fds));
	printf("next descriptors %d %d\n", fds[0] - out[1], fds[1] - out[1]);
	SHOW(poll((struct pollfd *)bad, 1, 0));
	SHOW(poll(poll_set, 1, 0));
	write(fds[1], "x", 1);
	SHOW(fstat(fd, (struct stat *)(bad - 10)));
	SHOW(syscall(SYS_getcwd, bad - 1, 100));
	SHOW(symlink("target", "symbolic"));
	SHOW(readlink("symbolic", bad - 1, 100));
	SHOW(unlink("symbolic"));
	if (fork() == 0)
		_exit(7);
	SHOW(wait4(-1, (int *)bad, 0, NULL) < 0);
	SHOW(wait4(-1, NULL, 0, NULL));
	show_rest(fds[0]);
}

static void buffers(void)
{
	char *memory = map(8 * PAGE, PROT_READ | PROT_WRITE, -1), *bad = memory + 5 * PAGE;
	char *read_only = map(PAGE, PROT_READ, -1);

	mprotect(bad, PAGE, PROT_NONE);
	pipe_buffers(bad, read_only);
	file_buffers(bad);
	mapped_buffers(bad);
	guarded_buffers();
	device_buffers(bad);
	directory_buffers(bad);
	pointers(bad, read_only);
}

/* --- disk: on a full disk, stores to a hole of a mapped file fail --- */

static void fill_disk(void)
{
	int fd = open("filler", O_WRONLY | O_CREAT, 0600);

	while (write(fd, big, sizeof(big)) > 0 || write(fd, big, 4096) > 0)
		;
	close(fd);
}

static void disk(void)
{
	int sparse = open("sparse", O_RDWR | O_CREAT, 0600), text = open("text", O_RDWR | O_CREAT, 0600), p[2], dir;
	struct pollfd ready;
	fd_set set;
	char *at;
	int n;

	if (pipe(p) || ftruncate(sparse, 16 * PAGE))
		exit(1);
	write(text, "0123456789", 10);
	dir = open(".", O_RDONLY | O_DIRECTORY);
	fill_disk();
	at = map(16 * PAGE, PROT_READ | PROT_WRITE, sparse);
	write(p[1], "123456", 6);
	SHOW(read(p[0], at, 6));
	ready = (struct pollfd){ .fd = p[0], .events = POLLIN | POLLOUT };
	SHOW(poll(&ready, 1, 5000));
	printf("events %x\n", ready.revents);
	FD_ZERO(&set);
	FD_SET(p[0], &set);
	SHOW(select(p[0] + 1, &set, NULL, NULL, NULL));
	SHOW(FD_ISSET(p[0], &set));
	SHOW(ioctl(p[0], FIONREAD, &n));
	printf("%d bytes\n", n);
	SHOW(read(p[0], big, 2));
	show_text("read", big, 2);
	SHOW(read(p[0], at + PAGE, 2));
	SHOW(read(p[0], big, 100));
	show_text("read", big, 4);
	SHOW(fcntl(p[0], F_SETFL, O_NONBLOCK));
	SHOW(read(p[0], big, 100));
	SHOW(lseek(text, 2, SEEK_SET));
	SHOW(read(text, at + 2 * PAGE, 4));
	SHOW(lseek(text, 0, SEEK_CUR));
	SHOW(pread(text, at + 2 * PAGE, 4, 1));
	SHOW(syscall(SYS_getdents64, dir, at + 3 * PAGE, 1000));
	SHOW(lseek(dir, 0, SEEK_CUR));
	SHOW(unlink("filler"));
	printf("%d entries\n", nr_entries(big, syscall(SYS_getdents64, dir, big, sizeof(big))));
	SHOW(read(text, at + 2 * PAGE, 4));
	show_text("mapped", at + 2 * PAGE, 4);
}

/* --- direct: O_DIRECT --- */

static void direct(void)
{
	char *at = map(80 * PAGE, PROT_READ | PROT_WRITE, -1), *bad = at + 40 * PAGE;
	struct iovec iov[2] = { { at, PAGE }, { at + 2 * PAGE, PAGE } };
	int fd = open("direct", O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600), plain, out;

	if (fd < 0) {
		printf("no O_DIRECT: %s\n", strerrorname_np(errno));
		for (int i = 0; i < 20; i++)
			printf("none\n");
		return;
	}
	mprotect(bad, PAGE, PROT_NONE);
	memset(at, 'q', 40 * PAGE);
	SHOW(write(fd, at, 2 * PAGE));
	SHOW(pwrite(fd, at, 16 * PAGE, PAGE));
	SHOW(pread(fd, at, 16 * PAGE, 0));
	SHOW(preadv(fd, iov, 2, 0));
	SHOW(pwritev(fd, iov, 2, 2 * PAGE));
	for (int offset = 1; offset < PAGE; offset *= 2) {
		printf("at %d: ", offset);
		SHOW(pread(fd, at + offset, PAGE, 0));
		printf("at %d: ", offset);
		SHOW(pwrite(fd, at + offset, PAGE, 0));
		printf("length %d: ", offset);
		SHOW(pread(fd, at, (size_t)offset, 0));
		printf("length %d: ", offset);
		SHOW(pwrite(fd, at, (size_t)offset, 0));
		printf("offset %d: ", offset);
		SHOW(pread(fd, at, PAGE, offset));
	}
	iov[0].iov_len = 512;
	SHOW(preadv(fd, iov, 2, 0));
	iov[0].iov_len = 100;
	SHOW(preadv(fd, iov, 2, 0));
	SHOW(pread(fd, bad - 2 * PAGE, 4 * PAGE, 0));
	SHOW(pread(fd, bad - PAGE - 512, 4 * PAGE, 0));
	SHOW(pwrite(fd, bad - PAGE - 512, 4 * PAGE, 0));
	SHOW(pread(fd, bad, PAGE, 0));
	SHOW(pwrite(fd, at, 36 * PAGE, 0));
	SHOW(pread(fd, at, 36 * PAGE, 0));
	SHOW(pread(fd, at, 36 * PAGE + 100, 0));
	SHOW(lseek(fd, 0, SEEK_END));
	/* Switch O_DIRECT off and on. */
	SHOW(fcntl(fd, F_SETFL, 0));
	SHOW(pread(fd, at + 1, 100, 1));
	SHOW(fcntl(fd, F_SETFL, O_DIRECT));
	SHOW(fcntl(fd, F_GETFL) & O_DIRECT);
	SHOW(pread(fd, at + 1, 100, 1));
	SHOW(pread(fd, at, PAGE, 0));
	plain = open("direct", O_RDWR);
	out = open("out", O_RDWR | O_CREAT | O_DIRECT, 0600);
	SHOW(sendfile(out, plain, NULL, 4 * PAGE));
	SHOW(copy_file_range(fd, NULL, out, NULL, 4 * PAGE, 0));
	show_size("out");
	*(char *)map(PAGE, PROT_READ | PROT_WRITE, plain) = 'M';
	SHOW(pread(fd, at, PAGE, 0));
	show_text("read", at, 4);
}

/* --- moved: fallocate() inserts and removes bytes of a mapped file --- */

static void show_pages(const char *what, const char *at)
{
	printf("%s:", what);
	for (int i = 0; i < 8; i++)
		printf(" %c", at[i * PAGE] ? at[i * PAGE] : '.');
	putchar('\n');
}

static void moved(void)
{
	int fd = open("moved", O_RDWR | O_CREAT | O_TRUNC, 0600);
	char *shared, *private;

	for (int i = 0; i < 16; i++)
		memset(big + i * PAGE, 'a' + i, PAGE);
	write(fd, big, sizeof(big));
	shared = map(8 * PAGE, PROT_READ | PROT_WRITE, fd);
	private = mmap(NULL, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (private == MAP_FAILED)
		exit(1);
	shared[3 * PAGE] = 'S';
	private[PAGE] = 'P';
	private[5 * PAGE] = 'P';
	show_pages("shared", shared);
	show_pages("private", private);
	SHOW(fallocate(fd, FALLOC_FL_INSERT_RANGE, 2 * PAGE, 2 * PAGE));
	show_pages("shared", shared);
	SHOW(private[PAGE]);
	SHOW(lseek(fd, 0, SEEK_END));
	shared[6 * PAGE] = 'T';
	SHOW(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, PAGE, 2 * PAGE));
	show_pages("shared", shared);
	SHOW(lseek(fd, 0, SEEK_END));
	SHOW(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE, 100));
	SHOW(fallocate(fd, FALLOC_FL_ZERO_RANGE, 3 * PAGE, 2 * PAGE));
	show_pages("shared", shared);
	for (int i = 0; i < 16; i++) {
		pread(fd, big, 1, i * PAGE);
		putchar(*big ? *big : '.');
	}
	putchar('\n');
	SHOW(fallocate(fd, FALLOC_FL_INSERT_RANGE, 100, PAGE));
	SHOW(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, 64 * PAGE));
	SHOW(fallocate(fd, 0, -1, PAGE));
}

/* --- raced: the buffer of read(2) is in a file that is truncated again and again --- */

static void change_size_for_ever(int fd)
{
	for (;;)
		if (ftruncate(fd, 0) || ftruncate(fd, 4 * PAGE))
			_exit(1);
}

/* No byte of the pipe may be lost. */
static void raced(void)
{
	int fd = open("raced", O_RDWR | O_CREAT | O_TRUNC, 0600), p[2];
	long total = 0, n = 0, refused = 0;
	char *at = map(4 * PAGE, PROT_READ | PROT_WRITE, fd);
	pid_t child;

	if (pipe(p))
		exit(1);
	child = fork();
	if (child == 0)
		change_size_for_ever(fd);
	for (int i = 0; i < 3000; i++) {
		write(p[1], big, 1000);
		do {
			n = read(p[0], at + i % 4 * PAGE + 3000, 1000);
			refused += n < 0;
		} while (n < 0 && errno == EFAULT);
		total += n;
	}
	kill(child, SIGKILL);
	SHOW(wait(NULL) < 0);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	while ((n = read(p[0], big, sizeof(big))) > 0)
		total += n;
	SHOW(unlink("raced"));
	printf("%ld bytes, some reads refused: %d\n", total, refused > 0);
}

/* --- limits: RLIMIT_FSIZE is 16 KiB; $BIG_FILE is larger --- */

static volatile sig_atomic_t nr_signals;

static void count_signal(int sig)
{
	(void)sig;
	nr_signals++;
}

#define SHOW_SIGNALS(call) (SHOW(call), printf("signals: %d\n", (int)nr_signals))

static void limits(void)
{
	static char bytes[400000];
	int fd = open("f", O_RDWR | O_CREAT | O_TRUNC, 0600), status = 0;
	int existing = open(getenv("BIG_FILE"), O_RDWR);
	struct iovec iov[2] = { { bytes, 3000 }, { bytes, 3000 } };
	char *at;

	signal(SIGXFSZ, count_signal);
	memset(bytes, 'b', sizeof(bytes));
	SHOW_SIGNALS(write(fd, bytes, 20000));
	SHOW_SIGNALS(write(fd, bytes, 1));
	SHOW_SIGNALS(pwrite(fd, bytes, 1000, 16000));
	SHOW_SIGNALS(pwrite(fd, bytes, 1, 1 << 20));
	SHOW_SIGNALS(pwrite(fd, bytes, 0, 1 << 20));
	SHOW_SIGNALS(lseek(fd, 12000, SEEK_SET));
	SHOW_SIGNALS(writev(fd, iov, 2));
	SHOW_SIGNALS(ftruncate(fd, 20000));
	SHOW_SIGNALS(ftruncate(fd, 0));
	SHOW_SIGNALS(write(fd, bytes, sizeof(bytes)));
	SHOW_SIGNALS(truncate("f", 20000));
	SHOW_SIGNALS(ftruncate(fd, 10000));
	SHOW_SIGNALS(fallocate(fd, 0, 0, 20000));
	SHOW_SIGNALS(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 20000));
	SHOW_SIGNALS(lseek(existing, 100, SEEK_SET));
	SHOW_SIGNALS(lseek(fd, 10000, SEEK_SET));
	SHOW_SIGNALS(sendfile(fd, existing, NULL, 20000));
	SHOW_SIGNALS(lseek(existing, 0, SEEK_CUR));
	SHOW_SIGNALS(sendfile(fd, existing, NULL, 20000));
	/* Stores to a mapped file beyond the limit. */
	at = map(64 * 1024, PROT_READ | PROT_WRITE, existing);
	memcpy(at + 40000, "stored", 6);
	SHOW_SIGNALS(msync(at, 64 * 1024, MS_SYNC));
	SHOW_SIGNALS(pwrite(existing, bytes, 1000, 16000));
	SHOW_SIGNALS(pwrite(existing, bytes, 1000, 40000));
	SHOW_SIGNALS(ftruncate(existing, 70000));
	memcpy(at + 50000, "stored", 6);
	SHOW_SIGNALS(fsync(existing));
	memcpy(at + 60000, "stored", 6);
	fflush(stdout);
	if (fork() == 0) {
		signal(SIGXFSZ, SIG_DFL);
		_exit(pwrite(fd, bytes, 1, 1 << 20) < 0);
	}
	SHOW(wait(&status) < 0);
	printf("signal %d\n", WTERMSIG(status));
}

/* --- waits: a signal interrupts them --- */

static void signal_soon(void)
{
	const struct itimerval soon = { .it_value = { .tv_usec = 100000 } };

	setitimer(ITIMER_REAL, &soon, NULL);
}

#define SHOW_INTERRUPTED(call) (signal_soon(), SHOW(call), printf("signals: %d\n", (int)nr_signals))

static void hold_locks(int ready)
{
	struct flock lock = { .l_type = F_WRLCK };
	int fd = open("locked", O_RDWR);

	if (flock(fd, LOCK_EX) || fcntl(fd, F_SETLK, &lock))
		_exit(1);
	write(ready, "x", 1);
	pause();
	_exit(0);
}

static void waits(void)
{
	struct sigaction interrupt = { .sa_handler = count_signal };
	static char bytes[400000];
	struct flock lock = { .l_type = F_WRLCK };
	int p[2], q[2], fd = open("locked", O_RDWR | O_CREAT, 0600), text = open("text", O_RDWR | O_CREAT, 0600);
	pid_t child;

	sigaction(SIGALRM, &interrupt, NULL);
	if (pipe(p) || pipe(q) || mkfifo("fifo", 0600))
		exit(1);
	write(text, bytes, 100000);
	SHOW(lseek(text, 0, SEEK_SET));
	SHOW_INTERRUPTED(read(p[0], bytes, 1));
	SHOW_INTERRUPTED(open("fifo", O_WRONLY));
	SHOW_INTERRUPTED(write(p[1], bytes, sizeof(bytes)));
	SHOW_INTERRUPTED(write(p[1], bytes, 1));
	SHOW_INTERRUPTED(sendfile(p[1], text, NULL, 1000));
	SHOW(lseek(text, 0, SEEK_CUR));
	SHOW(sendfile(q[1], text, NULL, 65536));
	SHOW_INTERRUPTED(sendfile(q[1], text, NULL, 1000));
	SHOW(lseek(text, 0, SEEK_CUR));
	close(q[0]);
	child = fork();
	if (child == 0)
		hold_locks(p[1]);
	while (read(p[0], bytes, sizeof(bytes)) != 1)
		;
	SHOW_INTERRUPTED(flock(fd, LOCK_EX));
	SHOW_INTERRUPTED(fcntl(fd, F_SETLKW, &lock));
	kill(child, SIGKILL);
	SHOW(wait(NULL) < 0);
	SHOW(flock(fd, LOCK_EX));
	SHOW(unlink("fifo"));
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} subjects[] = {
		{ "opens", opens },
		{ "buffers", buffers },
		{ "disk", disk },
		{ "direct", direct },
		{ "limits", limits },
		{ "moved", moved },
		{ "raced", raced },
		{ "waits", waits },
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
