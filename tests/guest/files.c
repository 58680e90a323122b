/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/files.c FILE - mapped files: shared, private, both; their bytes changed by other calls.
 *
 * FILE has 15.5 pages and no zero byte. Each part works on a copy of its own, FILE.a and so on. A page
 * whose bytes in the file are replaced by write(2), truncation or a hole counts for every process that maps
 * it; a store through one mapping counts for that mapping.
 */
#include "guest.h"

#define FILE_PAGES 16
#define FILE_SIZE (FILE_PAGES * PAGE - PAGE / 2)
#define RW (PROT_READ | PROT_WRITE)

enum {
	NR_pwrite64 = 18,
	NR_msync = 26,
	NR_sendfile = 40,
	NR_fsync = 74,
	NR_ftruncate = 77,
	NR_fallocate = 285,
	MREMAP_DONTUNMAP = 4,
	MADV_REMOVE = 9,
	MS_ASYNC = 1,
	MS_SYNC = 4,
	O_RDWR = 2,
	O_CREAT = 0100,
	O_TRUNC = 01000,
	FALLOC_PUNCH = 3, /* and keep the size */
	SIGBUS = 7,
};

struct sigaction {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};

#define SA_RESTORER 0x04000000ul

static char *path;
static char name[512];
static char bytes[PAGE];
static char all[FILE_SIZE];

/* Mappings that stay: a child has them too. */
static struct {
	char *addr;
	const char *prot;
} kept[32];
static int nr_kept;

static void keep(char *addr, const char *prot, const char *ranges)
{
	expect(1, addr, prot, ranges);
	kept[nr_kept].addr = addr;
	kept[nr_kept++].prot = prot;
}

static void expect_untouched(int pid)
{
	for (int i = 0; i < nr_kept; i++)
		expect(pid, kept[i].addr, kept[i].prot, "-");
}

static const char *copy_name(char letter)
{
	char *to = name;

	for (const char *from = path; *from; from++)
		*to++ = *from;
	*to++ = '.';
	*to++ = letter;
	*to = 0;
	return name;
}

/* A fresh copy, open for reading and writing. */
static int copy(char letter)
{
	int fd = (int)SYS(NR_open, copy_name(letter), O_RDWR | O_CREAT | O_TRUNC, 0600);

	check(fd >= 0, "open a copy");
	check(SYS(NR_write, fd, all, FILE_SIZE) == (long)FILE_SIZE, "write a copy");
	return fd;
}

static char *map_file(int slot, int fd, int flags)
{
	return map_at(SLOT(slot), FILE_PAGES, RW, flags, fd);
}

static void put_bytes(int fd, unsigned long offset, unsigned long len)
{
	check(SYS(NR_pwrite64, fd, bytes, len, offset) == (long)len, "pwrite");
}

/* What read(2) finds. */
static unsigned char byte_in_file(int fd, unsigned long offset)
{
	static unsigned char byte;

	check(SYS(NR_pread64, fd, &byte, 1, offset) == 1, "pread");
	return byte;
}

static unsigned long offset_of(unsigned long page)
{
	return page * PAGE + page * 585 % PAGE; /* as byte_of() */
}

static void shared(void)
{
	int fd = copy('a'), other = copy('b');
	char *m = map_file(0, fd, MAP_SHARED);
	int fds[2];

	look(m, "0+15");
	store(m, "2+1,5+2");
	sleep_ms(3);
	store(m, "5+1,14+1");
	check(byte_in_file(fd, offset_of(5)) == look(m, "5+1"), "read(2) sees a store");
	check(SYS(NR_pread64, other, m + 9 * PAGE - 10, 20, 0) == 20, "read into a mapped file");
	check(byte_in_file(fd, 9 * PAGE + 9) == (unsigned char)all[19], "read(2) sees what read(2) stored");
	check(SYS(NR_pipe2, fds, 0) == 0, "pipe2");
	check(SYS(NR_write, fds[1], m + 11 * PAGE, 100) == 100, "write from a mapped file");
	keep(m, "rw-s", "2+1,5+2,8+2,14+1");

	/* Without a load before; and one that nobody touches. */
	m = map_file(1, other, MAP_SHARED);
	store(m, "0+1,8+1");
	check(m[8 * PAGE] == all[8 * PAGE], "the rest of a stored page is the file's");
	keep(m, "rw-s", "0+1,8+1");
	m = map_file(2, copy('c'), MAP_SHARED);
	keep(m, "rw-s", "-");
}

static void both(void)
{
	int fd = copy('d');
	char *s = map_file(3, fd, MAP_SHARED), *p = map_file(4, fd, MAP_PRIVATE);

	look(s, "0+15");
	look(p, "0+10");
	store(s, "1+1,12+1");
	check(look(p, "1+1") == look(s, "1+1"), "a private page that is still the file's shows a store");
	check(look(p, "12+1") == look(s, "12+1"), "a private page comes with a store that was before");
	store(p, "3+1");
	sleep_ms(3);
	store(s, "3+1");
	check(look(p, "3+1") != look(s, "3+1"), "an own page doesn't");
	drop(p, 3, 1);
	check(look(p, "3+1") == look(s, "3+1"), "nor after MADV_DONTNEED");
	drop(s, 1, 2);
	check(look(s, "1+1") == look(p, "1+1"), "shared content after MADV_DONTNEED");
	keep(s, "rw-s", "1+1,3+1,12+1");
	keep(p, "rw-p", "3+1");
}

static void two_views(void)
{
	int fd = copy('e');
	char *a = map_file(5, fd, MAP_SHARED), *b = SLOT(6);

	check(SYS(NR_mmap, b, 8 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 4 * PAGE) == (long)b,
	      "mmap of a part");
	look(a, "0+15");
	look(b, "0+8");
	store(a, "0+1,5+1");
	store(b, "2+1");
	sleep_ms(3);
	check(b[PAGE + 5 * 585] == a[5 * PAGE + 5 * 585] && a[6 * PAGE + 2 * 585] == b[2 * PAGE + 2 * 585],
	      "each view shows the other's store");
	store(b, "2+1,7+1");
	keep(a, "rw-s", "0+1,5+1");
	keep(b, "rw-s", "2+1,7+1");
}

static volatile int grow_fd;
static volatile unsigned long grow_size;
static volatile int nr_signals;

static void grow_file(int sig)
{
	(void)sig;
	nr_signals++;
	check(SYS(NR_ftruncate, grow_fd, grow_size) == 0, "ftruncate in a handler");
}

void restorer(void);
__asm__("restorer:\n"
	"	mov $15, %eax\n"
	"	syscall\n");

static void sizes(void)
{
	struct sigaction act = { grow_file, SA_RESTORER, restorer, 0 };
	int fd = copy('f');
	char *s = map_file(7, fd, MAP_SHARED), *p = map_file(8, fd, MAP_PRIVATE);
	char *n = map_file(9, fd, MAP_SHARED);

	check(SYS(NR_rt_sigaction, SIGBUS, &act, 0, 8) == 0, "rt_sigaction");
	look(s, "0+15");
	look(p, "0+15");
	store(s, "1+1");
	store(p, "2+1,12+1");
	sleep_ms(3);
	check(SYS(NR_ftruncate, fd, 8 * PAGE + 100) == 0, "ftruncate to less");
	check(s[8 * PAGE + 99] == all[8 * PAGE + 99] && s[8 * PAGE + 100] == 0 && p[8 * PAGE + 100] == 0,
	      "the end of the last page");
	grow_fd = fd;
	grow_size = 12 * PAGE;
	check(look(s, "9+1") == 0 && nr_signals == 1, "SIGBUS behind the end");
	check(look(p, "11+1") == 0 && nr_signals == 1, "zeros when the file is longer again");
	grow_size = 13 * PAGE;
	check(look(p, "12+1") == 0 && nr_signals == 2, "the private page behind the end is gone");
	store(s, "10+1");
	sleep_ms(3);
	check(SYS(NR_ftruncate, fd, FILE_PAGES * PAGE) == 0, "ftruncate to more");
	check(look(s, "15+1") == 0, "zeros");
	keep(s, "rw-s", "1+1,8+8");
	keep(p, "rw-p", "2+1,8+8");
	keep(n, "rw-s", "8+8");
}

/* Stores that grow a file. */
static void written(void)
{
	int fd = copy('g'), other = copy('h');
	char *s = map_file(10, fd, MAP_SHARED), *p = map_file(11, fd, MAP_PRIVATE);
	char *n = map_file(12, fd, MAP_SHARED), *part = SLOT(13);
	long from = 0;

	check(SYS(NR_mmap, part, 4 * PAGE, RW, MAP_SHARED | MAP_FIXED, fd, 8 * PAGE) == (long)part, "mmap");
	look(s, "0+15");
	look(p, "0+15");
	store(p, "6+1");
	put_bytes(fd, 3 * PAGE + 100, 10);
	put_bytes(fd, 7 * PAGE - 5, 10);
	sleep_ms(3);
	check(SYS(NR_lseek, fd, 10 * PAGE, 0) == 10 * PAGE, "lseek");
	check(SYS(NR_sendfile, fd, other, &from, PAGE) == PAGE, "sendfile");
	check(p[10 * PAGE] == all[0] && part[2 * PAGE] == all[0], "what sendfile wrote is seen");
	check(s[7 * PAGE] == 0 && p[7 * PAGE] == 0 && p[7 * PAGE - 1] != 0, "what pwrite wrote is seen");
	put_bytes(fd, 15 * PAGE, PAGE);
	check(s[16 * PAGE - 1] == 0, "the file is longer");
	keep(s, "rw-s", "3+1,6+2,10+1,15+1");
	keep(p, "rw-p", "3+1,6+2,10+1,15+1");
	keep(n, "rw-s", "3+1,6+2,10+1,15+1");
	keep(part, "rw-s", "2+1");
}

static void holes(void)
{
	int fd = copy('i');
	char *s = map_file(14, fd, MAP_SHARED), *p = map_file(15, fd, MAP_PRIVATE);
	char *n = map_file(16, fd, MAP_SHARED);

	look(s, "0+12");
	look(p, "0+12");
	store(s, "0+1,5+1");
	store(p, "4+1");
	sleep_ms(3);
	check(SYS(NR_madvise, s + 4 * PAGE, 2 * PAGE, MADV_REMOVE) == 0, "MADV_REMOVE");
	check(look(s, "4+2") == 0 && byte_in_file(fd, 5 * PAGE) == 0, "a hole reads as zeros");
	check(look(p, "4+1") != 0 && look(p, "5+1") == 0, "an own page stays");
	sleep_ms(3);
	check(SYS(NR_fallocate, fd, FALLOC_PUNCH, 9 * PAGE + 100, 200) == 0, "a hole in a page");
	check(SYS(NR_fallocate, fd, FALLOC_PUNCH, 13 * PAGE, PAGE) == 0, "a hole where nobody looked");
	check(s[9 * PAGE + 100] == 0 && s[9 * PAGE + 300] != 0 && s[13 * PAGE] == 0, "content");
	keep(s, "rw-s", "0+1,4+2,9+1,13+1");
	keep(p, "rw-p", "4+2,9+1,13+1");
	keep(n, "rw-s", "4+2,9+1,13+1");
}

/* Writing back and looking again change nothing. */
static void synced(void)
{
	int fd = copy('j'), again;
	char *s = map_file(17, fd, MAP_SHARED), *p;

	look(s, "0+15");
	store(s, "2+1,8+1");
	check(SYS(NR_msync, s, FILE_PAGES * PAGE, MS_SYNC) == 0, "msync");
	look(s, "0+15");
	sleep_ms(3);
	store(s, "4+1,8+1");
	check(SYS(NR_msync, s + 4 * PAGE, PAGE, MS_ASYNC) == 0, "msync");
	check(SYS(NR_fsync, fd) == 0, "fsync");
	sleep_ms(3);
	again = (int)SYS(NR_open, copy_name('j'), O_RDWR, 0);
	check(again >= 0, "open again");
	p = map_file(18, again, MAP_PRIVATE);
	look(p, "0+15");
	check(look(p, "8+1") == look(s, "8+1"), "content");
	keep(s, "rw-s", "2+1,4+1,8+1");
	keep(p, "rw-p", "-");

	/* Nor does mapping what nobody maps. */
	fd = copy('k');
	s = map_file(19, fd, MAP_SHARED);
	look(s, "3+1");
	store(s, "1+1");
	unmap(s, FILE_PAGES);
	expect(1, s, "rw-s", "1+1");
	map_file(19, fd, MAP_SHARED);
	check(look(s, "1+1") != (unsigned char)all[PAGE + 585], "content");
	look(s, "0+15");
	store(s, "2+1");
	keep(s, "rw-s", "2+1");
}

static char *remap(char *from, unsigned long old_pages, unsigned long new_pages, int flags, char *to)
{
	return (char *)SYS(NR_mremap, from, old_pages * PAGE, new_pages * PAGE, flags, to);
}

static void moved(void)
{
	int fd = copy('l');
	char *s = map_at(SLOT(20), 8, RW, MAP_SHARED, fd), *to = SLOT(21);

	store(s, "1+1,6+1");
	sleep_ms(3);
	check(remap(s, 8, 16, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to, "mremap moves");
	check(byte_in_file(fd, offset_of(6)) == look(to, "6+1"), "content");
	check(to[12 * PAGE] == all[12 * PAGE], "more of the file");
	store(to, "9+1");
	keep(to, "rw-s", "1+1,6+1,9+1");
	maybe(1, s, "rw-s", "1+1,6+1");

	s = map_file(22, fd, MAP_SHARED);
	store(s, "0+1,12+1");
	check(remap(s, FILE_PAGES, 8, 0, 0) == s, "mremap shrinks");
	keep(s, "rw-s", "0+1");
	expect(1, s + 8 * PAGE, "rw-s", "4+1");
}

/* Process 2 stores to the same file at the same time; its parent writes to it, too. */
static void child(char *s, char *p, int go)
{
	char *own;
	int fd;

	nr_kept -= 2;
	store(s, "2+2");
	store(p, "5+1");
	check(SYS(NR_read, go, bytes, 1) == 1, "read");
	check(look(s, "4+1") != (unsigned char)all[offset_of(4)], "the parent's store is seen");
	check(s[9 * PAGE] == 0, "what the parent wrote is seen");
	fd = (int)SYS(NR_open, copy_name('m'), O_RDWR, 0);
	own = map_file(40, fd, MAP_SHARED);
	check(look(own, "2+1") == look(s, "2+1"), "a mapping of its own shows the same");
	store(own, "14+1");
	store(s, "7+1");
	expect_untouched(2);
	expect(2, s, "rw-s", "2+2,7+1,9+1");
	expect(2, p, "rw-p", "5+1,9+1");
	expect(2, own, "rw-s", "14+1");
	leave(0);
}

static void with_child(void)
{
	int fd = copy('m'), status, fds[2];
	char *s = map_file(23, fd, MAP_SHARED), *p = map_file(24, fd, MAP_PRIVATE);
	long pid;

	store(s, "0+1");
	store(p, "1+1");
	look(s, "0+15");
	look(p, "0+15");
	keep(s, "rw-s", "0+1,3+2,9+1");
	keep(p, "rw-p", "1+1,6+1,9+1");
	check(SYS(NR_pipe2, fds, 0) == 0, "pipe2");
	flush_text(); /* or the child would say it again */
	pid = SYS(NR_fork, 0);
	check(pid >= 0, "fork");
	if (pid == 0)
		child(s, p, fds[0]);
	store(s, "3+2");
	store(p, "6+1");
	sleep_ms(3);
	bytes[0] = 0;
	put_bytes(fd, 9 * PAGE, 10);
	check(SYS(NR_write, fds[1], bytes, 1) == 1, "write");
	wait_for(pid, &status);
	check(status == 0, "process 2 ended with 0");
	check(look(s, "7+1") != (unsigned char)all[offset_of(7)], "the child's store is seen");
	check(s[14 * PAGE + 14 * 585 % PAGE] != all[offset_of(14)], "so is one through its own mapping");
	check(look(p, "5+1") == (unsigned char)all[offset_of(5)], "one to its private page isn't");
}

/* The image that the program becomes. */
static void second(char *file)
{
	char *m;
	int fd;

	path = file;
	fd = (int)SYS(NR_open, copy_name('n'), O_RDWR, 0);
	check(fd >= 0, "open");
	m = map_file(25, fd, MAP_SHARED);
	check(m[2 * PAGE + 2 * 585] == 77, "the first image's store is seen");
	look(m, "0+15");
	store(m, "9+1");
	expect(1, m, "rw-s", "9+1");
	put("DONE\n");
	leave(0);
}

int guest_main(int argc, char **argv, char **envp)
{
	const char *args[4] = { argv[0], argv[1], "second", 0 };
	char *m;
	int fd;

	check(argc >= 2, "an argument");
	if (argc == 3)
		second(argv[1]);
	path = argv[1];
	fd = (int)SYS(NR_open, path, 0, 0);
	check(fd >= 0 && SYS(NR_read, fd, all, FILE_SIZE) == (long)FILE_SIZE, "read the file");
	shared();
	both();
	two_views();
	sizes();
	written();
	holes();
	synced();
	moved();
	with_child();
	m = map_file(25, copy('n'), MAP_SHARED);
	m[2 * PAGE + 2 * 585] = 77;
	expect(1, m, "rw-s", "2+1");
	flush_text();
	SYS(NR_execve, argv[0], args, envp);
	check(0, "execve");
	return 0;
}
