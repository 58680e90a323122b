/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/sysio.c FILE - pages that the system changes on the program's behalf, and mapped files.
 *
 * FILE has 15.5 pages and no zero byte.
 */
#include "guest.h"

#define FILE_PAGES 16
#define FILE_SIZE (FILE_PAGES * PAGE - PAGE / 2)

struct iovec {
	void *base;
	unsigned long len;
};

struct sigaction {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};

struct sigaltstack {
	void *base;
	int flags;
	unsigned long size;
};

#define SA_RESTORER 0x04000000ul
#define SA_ONSTACK 0x08000000ul

static char bytes[100] = "some bytes to send through pipes";

static void open_pipe(int fds[2], int flags)
{
	check(SYS(NR_pipe2, fds, flags) == 0, "pipe2");
}

static void from_file(int fd)
{
	char *m = map_private(SLOT(0), 32);
	char *all = map_private(SLOT(1), 40);

	check(SYS(NR_read, fd, m + 1 * PAGE, 100) == 100, "read");
	check(SYS(NR_read, fd, m + 4 * PAGE - 10, 20) == 20, "read over two pages");
	/* Three pages asked, what is left fills one and a bit. */
	check(SYS(NR_pread64, fd, m + 6 * PAGE, 3 * PAGE, FILE_SIZE - PAGE - 500) == PAGE + 500,
	      "short pread64");
	check(SYS(NR_lseek, fd, FILE_SIZE, 0) == (long)FILE_SIZE, "lseek");
	check(SYS(NR_read, fd, m + 10 * PAGE, PAGE) == 0, "read at the end");
	check(SYS(NR_lseek, fd, 0, 0) == 0, "lseek");
	check(SYS(NR_read, fd, m + 11 * PAGE, 0) == 0, "read of nothing");
	check(SYS(NR_read, 1000, m + 12 * PAGE, 10) == -EBADF, "read of a bad descriptor");
	expect(1, m, "rw-p", "1+1,3+2,6+2");

	check(SYS(NR_read, fd, all + 2 * PAGE, 32 * PAGE) == (long)FILE_SIZE, "read all");
	check(*(all + 2 * PAGE + FILE_SIZE - 1) != 0, "content read");
	expect(1, all, "rw-p", "2+16");
}

static void from_pipe(void)
{
	char *m = map_private(SLOT(2), 32);
	char *shared = map_shared(SLOT(3), 8);
	struct iovec iov[3] = {
		{ m + 10 * PAGE, 16 }, { m + 12 * PAGE, 16 }, { m + 14 * PAGE, PAGE },
	};
	int fds[2];

	open_pipe(fds, O_NONBLOCK);
	look(m, "0+2");
	check(SYS(NR_read, fds[0], m, PAGE) == -EAGAIN, "read of an empty pipe");
	check(SYS(NR_write, fds[1], bytes, 100) == 100, "write");
	sleep_ms(3);
	check(SYS(NR_read, fds[0], m + 1 * PAGE, 2 * PAGE) == 100, "short read");
	check(SYS(NR_write, fds[1], bytes, 20) == 20, "write");
	check(SYS(NR_readv, fds[0], iov, 3) == 20, "readv");
	check(SYS(NR_write, fds[1], m + 20 * PAGE, 2 * PAGE) == 2 * PAGE, "write of fresh pages");
	check(SYS(NR_read, fds[0], m + 24 * PAGE, 4 * PAGE) == 2 * PAGE, "read back");
	check(SYS(NR_write, fds[1], bytes, 20) == 20, "write");
	check(SYS(NR_read, fds[0], shared + 3 * PAGE - 4, 8) == 8, "read into shared memory");
	check(SYS(NR_read, fds[0], shared + 6 * PAGE, PAGE) == 12, "read into shared memory");
	SYS(NR_close, fds[1]);
	check(SYS(NR_read, fds[0], m + 30 * PAGE, PAGE) == 0, "read of a closed pipe");
	drop(shared, 6, 1); /* keeps the content, as the object does */
	check(shared[6 * PAGE] != 0, "shared content after MADV_DONTNEED");
	expect(1, m, "rw-p", "1+1,10+1,12+1,24+2");
	expect(1, shared, "rw-s", "2+2,6+1");
}

static void handler(int sig)
{
	(void)sig;
}

void restorer(void);
__asm__("restorer:\n"
	"	mov $15, %eax\n"
	"	syscall\n");

/* The frame of a signal is the system's store: here to the last page of four. */
static void signal_frame(void)
{
	char *m = map_private(SLOT(4), 4);
	struct sigaltstack alt = { m, 0, 4 * PAGE };
	struct sigaction act = { handler, SA_RESTORER | SA_ONSTACK, restorer, 0 };

	check(SYS(NR_sigaltstack, &alt, 0) == 0, "sigaltstack");
	check(SYS(NR_rt_sigaction, SIGUSR1, &act, 0, 8) == 0, "rt_sigaction");
	for (int i = 0; i < 3; i++) {
		check(SYS(NR_kill, SYS(NR_getpid, 0), SIGUSR1) == 0, "kill");
		sleep_ms(2);
	}
	expect(1, m, "rw-p", "3+1");
}

/* Where a read can't store, or can't go on storing. */
static void no_place(int fd)
{
	char *m = map_private(SLOT(11), 4);
	char *fixed = map_at(SLOT(12), 4, PROT_READ, MAP_PRIVATE | MAP_ANON, -1);

	check(SYS(NR_pread64, fd, fixed, 10, 0) == -EFAULT, "read into a read-only page");
	check(SYS(NR_pread64, fd, 16, 10, 0) == -EFAULT, "read into no page");
	check(SYS(NR_pread64, fd, m + 3 * PAGE, 2 * PAGE, 0) == PAGE, "read over the mapping's end");
	expect(1, m, "rw-p", "3+1");
	expect(1, fixed, "r--p", "-");
}

/* Results of other calls. None of them is all zero, so that the page changes for sure. */
static void results(int fd)
{
	char *m = map_private(SLOT(5), 32);
	unsigned long mask = 1ul << (12 - 1);

	open_pipe((int *)m, 0);
	check(SYS(NR_fstat, fd, m + 1 * PAGE) == 0, "fstat");
	check(SYS(NR_clock_gettime, 1, m + 2 * PAGE) == 0, "clock_gettime");
	check(SYS(NR_getcwd, m + 3 * PAGE, 4096) > 0, "getcwd");
	check(SYS(NR_uname, m + 4 * PAGE) == 0, "uname");
	check(SYS(NR_rt_sigaction, SIGUSR1, 0, m + 5 * PAGE, 8) == 0, "rt_sigaction");
	check(SYS(NR_rt_sigprocmask, 0, &mask, 0, 8) == 0, "rt_sigprocmask");
	check(SYS(NR_rt_sigprocmask, 0, 0, m + 6 * PAGE, 8) == 0, "rt_sigprocmask");
	check(*(unsigned long *)(m + 6 * PAGE) == mask, "the mask that was set");
	check(SYS(NR_fstat, fd, m + 9 * PAGE - 8) == 0, "fstat over two pages");
	check(SYS(NR_fstat, 1000, m + 12 * PAGE) == -EBADF, "fstat of a bad descriptor");
	check(SYS(NR_getcwd, m + 13 * PAGE, 1) < 0, "getcwd without room");
	expect(1, m, "rw-p", "0+7,8+2");
}

static void private_file(int fd)
{
	char *m = map_at(SLOT(6), FILE_PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	char *fresh = map_at(SLOT(7), FILE_PAGES, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	unsigned char original = look(m, "2+1");
	int fds[2];

	look(m, "0+15");
	store(m, "2+1,5+2");
	sleep_ms(3);
	store(m, "5+1,15+1");
	*byte_of(m, 2) = (unsigned char)~original;
	drop(m, 2, 1);
	check(look(m, "2+1") == original, "the file's content after MADV_DONTNEED");
	drop(m, 7, 2);
	open_pipe(fds, 0);
	check(SYS(NR_write, fds[1], bytes, 4) == 4, "write");
	check(SYS(NR_read, fds[0], m + 9 * PAGE, 100) == 4, "read into a mapped file");
	check(look(m, "10+1") == look(fresh, "10+1"), "both mappings show the file");
	expect(1, m, "rw-p", "2+1,5+2,9+1,15+1");

	store(fresh, "0+1,8+1"); /* without a load before */
	check(fresh[8 * PAGE] == m[8 * PAGE], "the rest of a stored page is the file's");
	expect(1, fresh, "rw-p", "0+1,8+1");
}

/* A part of the file, a page of it that is only read, and mappings that nobody can store to. */
static void other_file_mappings(int fd)
{
	char *part = SLOT(8);
	char *shared = map_at(SLOT(9), FILE_PAGES, PROT_READ, MAP_SHARED, fd);
	char *fixed = map_at(SLOT(10), FILE_PAGES, PROT_READ, MAP_PRIVATE, fd);

	check(SYS(NR_mmap, part, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd,
		  8 * PAGE) == (long)part, "mmap of a part");
	store(part, "1+1");
	look(part, "0+4");
	look(shared, "0+15");
	look(fixed, "0+15");
	check(part[2 * PAGE] == shared[10 * PAGE] && fixed[10 * PAGE] == shared[10 * PAGE],
	      "all mappings show the file");
	expect(1, part, "rw-p", "1+1");
	expect(1, shared, "r--s", "-");
	expect(1, fixed, "r--p", "-");
}

int guest_main(int argc, char **argv, char **envp)
{
	long fd;

	(void)envp;
	check(argc == 2, "one argument");
	fd = SYS(NR_open, argv[1], 0, 0);
	check(fd >= 0, "open");
	from_file((int)fd);
	from_pipe();
	signal_frame();
	no_place((int)fd);
	results((int)fd);
	private_file((int)fd);
	other_file_mappings((int)fd);
	put("DONE\n");
	return 0;
}
