/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/steps.c - executes the lines on stdin, and prints the result of each.
 *
 * A name is a letter. Files and mappings have separate names. The answer to a line is a line: "ok", a number, the
 * bytes, the name of a signal, or the text of the error.
 *
 *   open F PATH FLAGS        FLAGS: r, w, c create, t truncate, a append   close F    size F
 *   memfd F                  map M F shared|private FIRST_PAGE PAGES       unmap M
 *   store M OFFSET TEXT      load M OFFSET LEN      write F OFFSET TEXT    read F OFFSET LEN
 *   fill M FIRST PAGES CHAR  stores to each page until a signal comes; prints the number of pages that were stored to
 *   writes F OFFSET PAGES CHAR  the same by pwrite(2), page by page; prints the number of bytes written
 *   sum M PAGES              of all bytes, after an access to each page
 *   send F OFFSET M FROM LEN  pwrite(2) from a mapping
 *   truncate F SIZE          remove M OFFSET LEN    dontneed M OFFSET LEN  punch F OFFSET LEN
 *   pageout M OFFSET LEN
 *   count F CHAR             pages that begin with it
 *   msync M                  fsync F                sync                   unlink PATH
 *   flock F                  seal F N
 *   fork                     a child, which executes the lines that begin with "child"
 *   wait                     the child ends         exit STATUS            crash
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096l

static int files[128];
static struct {
	char *addr;
	long pages;
} maps[128];
static sigjmp_buf out;
static FILE *to_child, *from_child;

static void on_fault(int sig)
{
	siglongjmp(out, sig);
}

static int open_file(const char *path, const char *flags)
{
	int how = strchr(flags, 'w') ? O_RDWR : O_RDONLY;

	how |= (strchr(flags, 'c') ? O_CREAT : 0) | (strchr(flags, 't') ? O_TRUNC : 0) |
	       (strchr(flags, 'a') ? O_APPEND : 0);
	return open(path, how, 0600);
}

static void result(long n)
{
	if (n < 0)
		printf("%s\n", strerror(errno));
	else
		printf("ok\n");
}

static void print_bytes(const char *bytes, long len)
{
	for (long i = 0; i < len; i++)
		putchar(bytes[i] >= ' ' && bytes[i] <= '~' ? bytes[i] : bytes[i] ? '?' : '.');
	putchar('\n');
}

static void do_read(int fd, long offset, long len)
{
	char buf[8192];
	ssize_t n = pread(fd, buf, (size_t)(len < 8192 ? len : 8192), offset);

	if (n < 0)
		result(n);
	else
		print_bytes(buf, n);
}

static void do_fill(char *m, long first, long pages, char c)
{
	volatile long done = 0;

	if (sigsetjmp(out, 1) == 0)
		for (; done < pages; done++)
			m[(first + done) * PAGE] = c;
	printf("%ld\n", done);
}

static void do_writes(int fd, long offset, long pages, char c)
{
	char page[PAGE];
	long total = 0;

	memset(page, c, sizeof(page));
	for (long i = 0; i < pages; i++) {
		ssize_t n = pwrite(fd, page, sizeof(page), offset + i * PAGE);

		total += n > 0 ? n : 0;
		if (n < PAGE)
			break;
	}
	printf("%ld\n", total);
}

static void do_count(int fd, char c)
{
	char first;
	long n = 0;

	for (long offset = 0; pread(fd, &first, 1, offset) == 1; offset += PAGE)
		n += first == c;
	printf("%ld\n", n);
}

static void do_sum(const char *m, long pages)
{
	unsigned long sum = 0;

	for (long i = 0; i < pages * PAGE; i++)
		sum += (unsigned char)m[i];
	printf("%lu\n", sum);
}

static void do_map(int name, int fd, const char *how, long first, long pages)
{
	struct stat st;
	int prot = PROT_READ;

	if (!strcmp(how, "private") || (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDWR)
		prot |= PROT_WRITE;
	if (fstat(fd, &st)) {
		result(-1);
		return;
	}
	maps[name].addr = mmap(NULL, (size_t)(pages * PAGE), prot,
			       strcmp(how, "shared") ? MAP_PRIVATE : MAP_SHARED, fd, first * PAGE);
	maps[name].pages = pages;
	result(maps[name].addr == MAP_FAILED ? -1 : 0);
}

static void serve(FILE *in);

static void do_fork(void)
{
	int to[2], from[2];
	pid_t pid;

	if (pipe(to) || pipe(from)) {
		result(-1);
		return;
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		dup2(from[1], 1);
		close(to[1]);
		close(from[0]);
		serve(fdopen(to[0], "r"));
		_exit(0);
	}
	close(to[0]);
	close(from[1]);
	to_child = fdopen(to[1], "w");
	from_child = fdopen(from[0], "r");
	result(pid);
}

static void tell_child(const char *line)
{
	char answer[8192];

	fprintf(to_child, "%s\n", line);
	fflush(to_child);
	printf("%s", fgets(answer, sizeof(answer), from_child) ? answer : "no answer\n");
}

static void do_wait(void)
{
	int status = 0;

	fclose(to_child);
	wait(&status);
	printf("%d\n", status);
}

/* The arguments of a verb: a name, numbers, text. False: it is no verb about a mapping. */
static bool obey_map(const char *verb, const char *rest)
{
	char a = 0, b = 0, text[4096] = "";
	long x = 0, y = 0;

	sscanf(rest, " %c", &a);
	a &= 127;

	if (!strcmp(verb, "map") && sscanf(rest, " %c %c %10s %ld %ld", &a, &b, text, &x, &y) == 5)
		do_map(a, files[(int)b], text, x, y);
	else if (!strcmp(verb, "unmap"))
		result(munmap(maps[(int)a].addr, (size_t)(maps[(int)a].pages * PAGE)));
	else if (!strcmp(verb, "store") && sscanf(rest, " %c %ld %4000s", &a, &x, text) == 3)
		memcpy(maps[(int)a].addr + x, text, strlen(text)), printf("ok\n");
	else if (!strcmp(verb, "load") && sscanf(rest, " %c %ld %ld", &a, &x, &y) == 3)
		memcpy(text, maps[(int)a].addr + x, (size_t)y), print_bytes(text, y);
	else if (!strcmp(verb, "fill") && sscanf(rest, " %c %ld %ld %c", &a, &x, &y, &b) == 4)
		do_fill(maps[(int)a].addr, x, y, b);
	else if (!strcmp(verb, "sum") && sscanf(rest, " %c %ld", &a, &x) == 2)
		do_sum(maps[(int)a].addr, x);
	else if (!strcmp(verb, "remove") && sscanf(rest, " %c %ld %ld", &a, &x, &y) == 3)
		result(madvise(maps[(int)a].addr + x, (size_t)y, MADV_REMOVE));
	else if (!strcmp(verb, "dontneed") && sscanf(rest, " %c %ld %ld", &a, &x, &y) == 3)
		result(madvise(maps[(int)a].addr + x, (size_t)y, MADV_DONTNEED));
	else if (!strcmp(verb, "pageout") && sscanf(rest, " %c %ld %ld", &a, &x, &y) == 3)
		result(madvise(maps[(int)a].addr + x, (size_t)y, MADV_PAGEOUT));
	else if (!strcmp(verb, "msync"))
		result(msync(maps[(int)a].addr, (size_t)(maps[(int)a].pages * PAGE), MS_SYNC));
	else
		return false;
	return true;
}

static bool obey_file(const char *verb, const char *rest)
{
	char a = 0, b = 0, text[4096] = "";
	long x = 0, y = 0, z = 0;

	sscanf(rest, " %c", &a);
	a &= 127;

	if (!strcmp(verb, "open") && sscanf(rest, " %c %4000s %10s", &a, text, text + 4080) == 3)
		result(files[(int)a] = open_file(text, text + 4080));
	else if (!strcmp(verb, "memfd"))
		result(files[(int)a] = memfd_create("steps", MFD_ALLOW_SEALING));
	else if (!strcmp(verb, "close"))
		result(close(files[(int)a]));
	else if (!strcmp(verb, "size"))
		printf("%ld\n", (long)lseek(files[(int)a], 0, SEEK_END));
	else if (!strcmp(verb, "write") && sscanf(rest, " %c %ld %4000s", &a, &x, text) == 3)
		result(pwrite(files[(int)a], text, strlen(text), x));
	else if (!strcmp(verb, "read") && sscanf(rest, " %c %ld %ld", &a, &x, &y) == 3)
		do_read(files[(int)a], x, y);
	else if (!strcmp(verb, "writes") && sscanf(rest, " %c %ld %ld %c", &a, &x, &y, &b) == 4)
		do_writes(files[(int)a], x, y, b);
	else if (!strcmp(verb, "count") && sscanf(rest, " %c %c", &a, &b) == 2)
		do_count(files[(int)a], b);
	else if (!strcmp(verb, "truncate") && sscanf(rest, " %c %ld", &a, &x) == 2)
		result(ftruncate(files[(int)a], x));
	else if (!strcmp(verb, "send") && sscanf(rest, " %c %ld %c %ld %ld", &a, &x, &b, &y, &z) == 5)
		result(pwrite(files[(int)a], maps[(int)b].addr + y, (size_t)z, x));
	else if (!strcmp(verb, "punch") && sscanf(rest, " %c %ld %ld", &a, &x, &y) == 3)
		result(fallocate(files[(int)a], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, x, y));
	else if (!strcmp(verb, "fsync"))
		result(fsync(files[(int)a]));
	else if (!strcmp(verb, "unlink") && sscanf(rest, " %4000s", text) == 1)
		result(unlink(text));
	else if (!strcmp(verb, "flock"))
		result(flock(files[(int)a], LOCK_EX | LOCK_NB));
	else if (!strcmp(verb, "seal") && sscanf(rest, " %c %ld", &a, &x) == 2)
		result(fcntl(files[(int)a], F_ADD_SEALS, (int)x));
	else
		return false;
	return true;
}

static bool obey_process(const char *verb, const char *rest)
{
	if (!strcmp(verb, "fork"))
		do_fork();
	else if (!strcmp(verb, "child"))
		tell_child(rest + 1);
	else if (!strcmp(verb, "wait"))
		do_wait();
	else if (!strcmp(verb, "crash"))
		raise(SIGKILL);
	else if (!strcmp(verb, "sync"))
		sync(), printf("ok\n");
	else
		return false;
	return true;
}

static void obey(const char *verb, const char *rest)
{
	int sig = sigsetjmp(out, 1);

	if (sig)
		printf("%s\n", sig == SIGBUS ? "SIGBUS" : "SIGSEGV");
	else if (!obey_map(verb, rest) && !obey_file(verb, rest) && !obey_process(verb, rest))
		printf("what is %s%s?\n", verb, rest);
}

static void serve(FILE *in)
{
	char line[8192], verb[32];

	while (fgets(line, sizeof(line), in)) {
		int len = 0;

		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, "%31s%n", verb, &len) != 1)
			continue;
		if (!strcmp(verb, "exit"))
			exit(atoi(line + len));
		obey(verb, line + len);
		fflush(stdout);
	}
}

int main(void)
{
	struct sigaction act = { .sa_handler = on_fault };

	sigaction(SIGBUS, &act, NULL);
	sigaction(SIGSEGV, &act, NULL);
	serve(stdin);
	return 0;
}
