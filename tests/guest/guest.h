/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/guest.h - what the guest programs share: raw system calls, text, named stores.
 *
 * There is no libc, so a program makes no store but those that it names. It runs on a stack in its
 * own .bss: the stack that the system made stays as the loader left it, until a program touches it
 * on purpose. Each program says on stdout which pages it changed; tests/cli/known_pages.sh compares
 * that with the report:
 *
 *   EXPECT pid start prot ranges       the mapping is listed, with exactly these dirty pages
 *   MAYBE  pid start prot ranges       the same, but the mapping need not be listed
 *   WINDOW pid name lo hi ranges       the dirty pages between two addresses, in all mappings of
 *                                      that name ("-": any) together: where the start isn't ours
 *   FAIL text                          something else went wrong; the program ends with status 1
 *   DONE                               the first process came to its end
 *
 * Ranges are "first+count,first+count,...", or "-" for none; pages count from start, or from lo.
 */
#ifndef TESTS_GUEST_H
#define TESTS_GUEST_H

#define PAGE 4096ul
#define MAY_UNUSED __attribute__((unused))

/* Fixed addresses, so that expectations are static. Slots never touch: mappings don't merge. */
#define SLOT(n) ((char *)(0x100000000ul + (n) * 0x1000000ul))
#define WIDE_SLOT ((char *)0x180000000ul)

enum {
	NR_read = 0,
	NR_write = 1,
	NR_open = 2,
	NR_close = 3,
	NR_fstat = 5,
	NR_lseek = 8,
	NR_mmap = 9,
	NR_mprotect = 10,
	NR_munmap = 11,
	NR_brk = 12,
	NR_rt_sigaction = 13,
	NR_rt_sigprocmask = 14,
	NR_pread64 = 17,
	NR_readv = 19,
	NR_mremap = 25,
	NR_madvise = 28,
	NR_nanosleep = 35,
	NR_getpid = 39,
	NR_fork = 57,
	NR_vfork = 58,
	NR_execve = 59,
	NR_exit = 60,
	NR_wait4 = 61,
	NR_kill = 62,
	NR_uname = 63,
	NR_getcwd = 79,
	NR_sigaltstack = 131,
	NR_clock_gettime = 228,
	NR_pipe2 = 293,
};

enum {
	PROT_READ = 1,
	PROT_WRITE = 2,
	MAP_SHARED = 1,
	MAP_PRIVATE = 2,
	MAP_FIXED = 0x10,
	MAP_ANON = 0x20,
	MAP_NORESERVE = 0x4000,
	MREMAP_MAYMOVE = 1,
	MREMAP_FIXED = 2,
	MADV_DONTNEED = 4,
	O_NONBLOCK = 04000,
	SIGKILL = 9,
	SIGUSR1 = 10,
	EAGAIN = 11,
	EBADF = 9,
	EFAULT = 14,
};

struct timespec {
	long sec;
	long nsec;
};

static inline long sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/* SYS(NR_x, up to six arguments of any scalar type); at least one, 0 if there is none. */
#define SYS_SIX(a, b, c, d, e, f, ...) \
	(long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f)
#define SYS(nr, ...) sys6(nr, SYS_SIX(__VA_ARGS__, 0, 0, 0, 0, 0, 0))

/* The compiler may call these two by itself. */
void *memset(void *dst, int byte, unsigned long n);
void *memcpy(void *restrict dst, const void *restrict src, unsigned long n);

void *memset(void *dst, int byte, unsigned long n)
{
	for (volatile char *p = dst; n--; p++)
		*p = (char)byte;
	return dst;
}

void *memcpy(void *restrict dst, const void *restrict src, unsigned long n)
{
	const char *from = src;

	for (volatile char *to = dst; n--; to++)
		*to = *from++;
	return dst;
}

/* --- text: collected, and written by one write(2), so that processes don't mix their lines --- */

static char text_buf[32768];
static unsigned long text_len;

static void flush_text(void)
{
	unsigned long done = 0;

	while (done < text_len) {
		long n = SYS(NR_write, 1, text_buf + done, text_len - done);

		if (n <= 0)
			SYS(NR_exit, 99);
		done += n;
	}
	text_len = 0;
}

static void put(const char *s)
{
	for (; *s && text_len < sizeof(text_buf); s++)
		text_buf[text_len++] = *s;
}

static void put_number(unsigned long n, unsigned base)
{
	char digits[24];
	unsigned i = sizeof(digits) - 1;

	digits[i] = 0;
	do {
		digits[--i] = "0123456789abcdef"[n % base];
		n /= base;
	} while (n);
	put(base == 16 ? "0x" : "");
	put(digits + i);
}

/* End of this process, with all its text said. */
__attribute__((noreturn)) static void leave(int status)
{
	flush_text();
	for (;;)
		SYS(NR_exit, status);
}

static void check(int good, const char *what)
{
	if (good)
		return;
	put("FAIL ");
	put(what);
	put("\n");
	leave(1);
}

/* --- expectations --- */

static void put_line(const char *kind, int pid, const void *start, const char *prot,
		     const char *ranges)
{
	put(kind);
	put_number(pid, 10);
	put(" ");
	put_number((unsigned long)start, 16);
	put(" ");
	put(prot);
	put(" ");
	put(ranges);
	put("\n");
}

MAY_UNUSED static void expect(int pid, const void *start, const char *prot, const char *ranges)
{
	put_line("EXPECT ", pid, start, prot, ranges);
}

MAY_UNUSED static void maybe(int pid, const void *start, const char *prot, const char *ranges)
{
	put_line("MAYBE ", pid, start, prot, ranges);
}

MAY_UNUSED static void window(int pid, const char *name, const void *lo, unsigned long nr_pages,
			      const char *ranges)
{
	put("WINDOW ");
	put_number(pid, 10);
	put(" ");
	put(name);
	put(" ");
	put_number((unsigned long)lo, 16);
	put(" ");
	put_number((unsigned long)lo + nr_pages * PAGE, 16);
	put(" ");
	put(ranges);
	put("\n");
}

/* --- stores and loads by ranges --- */

static unsigned long parse_number(const char **s)
{
	unsigned long n = 0;

	for (; **s >= '0' && **s <= '9'; ++*s)
		n = n * 10 + (unsigned long)(**s - '0');
	return n;
}

/* The next "first+count"; 0 at the end. */
static int next_range(const char **s, unsigned long *first, unsigned long *count)
{
	if (!**s || **s == '-')
		return 0;
	*first = parse_number(s);
	++*s;
	*count = parse_number(s);
	if (**s == ',')
		++*s;
	return 1;
}

/* One byte a page; which one differs from page to page, the first and the last byte among them. */
static volatile unsigned char *byte_of(char *base, unsigned long page)
{
	return (volatile unsigned char *)base + page * PAGE + page * 585 % PAGE;
}

/* Each store writes another value than the one before it, and never 0. */
static unsigned char next_value;

static void store_page(char *base, unsigned long page)
{
	if (++next_value == 0)
		next_value = 1;
	*byte_of(base, page) = next_value;
}

MAY_UNUSED static void store(char *base, const char *ranges)
{
	unsigned long first, count;

	while (next_range(&ranges, &first, &count))
		for (; count--; first++)
			store_page(base, first);
}

/* Load from each page; the value of the last one. */
MAY_UNUSED static unsigned char look(char *base, const char *ranges)
{
	unsigned long first, count;
	unsigned char value = 0;

	while (next_range(&ranges, &first, &count))
		for (; count--; first++)
			value = *byte_of(base, first);
	return value;
}

/* --- memory and time --- */

static char *map_at(char *addr, unsigned long nr_pages, int prot, int flags, int fd)
{
	long got = SYS(NR_mmap, addr, nr_pages * PAGE, prot, flags | MAP_FIXED, fd, 0);

	check(got == (long)addr, "mmap");
	return addr;
}

MAY_UNUSED static char *map_private(char *addr, unsigned long nr_pages)
{
	return map_at(addr, nr_pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1);
}

MAY_UNUSED static char *map_shared(char *addr, unsigned long nr_pages)
{
	return map_at(addr, nr_pages, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANON, -1);
}

MAY_UNUSED static void unmap(char *addr, unsigned long nr_pages)
{
	check(SYS(NR_munmap, addr, nr_pages * PAGE) == 0, "munmap");
}

MAY_UNUSED static void drop(char *base, unsigned long first, unsigned long nr_pages)
{
	check(SYS(NR_madvise, base + first * PAGE, nr_pages * PAGE, MADV_DONTNEED) == 0,
	      "MADV_DONTNEED");
}

/* Off the CPU: collections find the program asleep. */
MAY_UNUSED static void sleep_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	check(SYS(NR_nanosleep, &t, 0) == 0, "nanosleep");
}

/* On the CPU and in no system call: collections find the program running. */
MAY_UNUSED static void burn(unsigned long rounds)
{
	for (; rounds; rounds--)
		__asm__ volatile("" ::: "memory");
}

/* Wait for @pid (-1: any child); its status goes to *@status, which may be a tracked page. */
MAY_UNUSED static void wait_for(long pid, int *status)
{
	check(SYS(NR_wait4, pid, status, 0, 0) > 0, "wait4");
}

/* --- start --- */

int guest_main(int argc, char **argv, char **envp);
void guest_start(long *top);

__attribute__((aligned(16))) char guest_stack[16384];
/* Where the loader left the stack pointer: argc, the arguments, the environment, the auxv. */
static char *loader_stack;

/* An entry of the auxiliary vector; 0 if there is none. */
MAY_UNUSED static unsigned long auxv(unsigned long type)
{
	unsigned long *p = (unsigned long *)loader_stack;

	p += 1 + *p + 1; /* argc, argv, its end */
	while (*p++)
		;
	for (; *p; p += 2)
		if (*p == type)
			return p[1];
	return 0;
}

__asm__(".globl _start\n"
	"_start:\n"
	"	mov %rsp, %rdi\n"
	"	xor %ebp, %ebp\n"
	"	lea guest_stack + 16384(%rip), %rsp\n"
	"	call guest_start\n");

void guest_start(long *top)
{
	char **argv = (char **)(top + 1);

	loader_stack = (char *)top;
	leave(guest_main((int)*top, argv, argv + *top + 1));
}

#endif
