/* SPDX-License-Identifier: MIT */
/* tests/guest/anon.c - one process and memory that it never moves: anonymous, .data and .bss. */
#include "guest.h"

#define WIDE_PAGES 65536ul /* 256 MiB */
#define ROUND_PAGES 512ul
#define AT_SYSINFO_EHDR 33

__attribute__((aligned(4096))) static char data_pages[8 * PAGE] = { 1 };
__attribute__((aligned(4096))) static char bss_pages[16 * PAGE];

static void dense(void)
{
	char *m = map_private(SLOT(0), 700);

	store(m, "0+520,699+1"); /* past the end of one page table */
	look(m, "520+100");
	expect(1, m, "rw-p", "0+520,699+1");
}

static void sparse(void)
{
	char *m = map_at(WIDE_SLOT, WIDE_PAGES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANON | MAP_NORESERVE, -1);

	store(m, "0+1,511+2,5000+1,16383+1,20480+3,65535+1");
	look(m, "1+1,5001+1,30000+2,65534+1");
	expect(1, m, "rw-p", "0+1,511+2,5000+1,16383+1,20480+3,65535+1");
}

static void never_stored(void)
{
	char *m = map_private(SLOT(1), 16);

	look(m, "0+16");
	expect(1, m, "rw-p", "-");

	m = map_private(SLOT(2), 4);
	expect(1, m, "rw-p", "-");

	m = map_at(SLOT(3), 4, PROT_READ, MAP_PRIVATE | MAP_ANON, -1);
	look(m, "0+4");
	expect(1, m, "r--p", "-");
}

static void read_first(void)
{
	char *m = map_private(SLOT(4), 16);

	look(m, "0+8");
	sleep_ms(3);
	store(m, "1+1,6+2,12+1");
	look(m, "0+16");
	expect(1, m, "rw-p", "1+1,6+2,12+1");
}

/* Stores that aren't one byte by one mov. */
static void odd_stores(void)
{
	char *m = map_private(SLOT(5), 32);
	void *to = m + 8 * PAGE + 100;
	unsigned long n = 2 * PAGE;
	const void *from = "0123456789abcdef";
	long one = 1;

	__asm__ volatile("movq $-1, %0" : "=m"(*(m + 2 * PAGE - 4)) : : "memory"); /* 1 and 2 */
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(0x5a) : "memory"); /* 8 to 10 */
	__asm__ volatile("lock xaddq %0, %1" : "+r"(one), "+m"(*(long *)(m + 14 * PAGE)));
	to = m + 17 * PAGE - 8;
	n = 2;
	__asm__ volatile("rep movsq" : "+S"(from), "+D"(to), "+c"(n) : : "memory"); /* 16, 17 */
	expect(1, m, "rw-p", "1+2,8+3,14+1,16+2");
}

/* The same pages again, and one new page a round, each time after some collections. */
static void sleepy_rounds(void)
{
	char *m = map_private(SLOT(6), 32);

	for (unsigned long round = 0; round < 8; round++) {
		store(m, "0+2");
		store_page(m, 8 + round);
		look(m, "4+2,24+2");
		sleep_ms(4);
	}
	expect(1, m, "rw-p", "0+2,8+8");
}

static unsigned char touched[ROUND_PAGES];

static void put_touched(char *ranges)
{
	static char digits[8];

	for (unsigned long i = 0, n; i < ROUND_PAGES; i += n + 1) {
		unsigned d = 0;

		for (n = 0; i + n < ROUND_PAGES && touched[i + n]; n++)
			;
		if (!n)
			continue;
		for (unsigned long v = i; v || !d; v /= 10)
			digits[d++] = (char)('0' + v % 10);
		while (d)
			*ranges++ = digits[--d];
		*ranges++ = '+';
		for (unsigned long v = n; v; v /= 10)
			digits[d++] = (char)('0' + v % 10);
		while (d)
			*ranges++ = digits[--d];
		*ranges++ = ',';
	}
	ranges[-1] = 0;
}

/* Random stores without a system call in between, so that collections interrupt them anywhere. */
static void busy_rounds(void)
{
	static char ranges[ROUND_PAGES * 8];
	char *m = map_private(SLOT(7), ROUND_PAGES);
	unsigned long random = 12345;

	for (int round = 0; round < 60; round++) {
		unsigned long window_start = (unsigned long)round * 7;

		for (int i = 0; i < 400; i++) {
			random = random * 6364136223846793005ul + 1442695040888963407ul;
			/* Mostly pages that were stored to before. */
			unsigned long page = window_start + (random >> 33) % 32;

			if (i % 16)
				page = window_start + (random >> 33) % 3 * 5;
			store_page(m, page);
			touched[page] = 1;
		}
		burn(200000);
	}
	put_touched(ranges);
	expect(1, m, "rw-p", ranges);
}

static void dontneed(void)
{
	char *m = map_private(SLOT(8), 32);

	store(m, "0+4");
	drop(m, 2, 4);
	check(look(m, "2+1") == 0 && look(m, "1+1") != 0, "content after MADV_DONTNEED");
	store(m, "4+1");
	expect(1, m, "rw-p", "0+5"); /* 5 was dropped, but never written */

	/* The same, with collections between the steps. */
	m = map_private(SLOT(9), 32);
	store(m, "0+4,16+1");
	sleep_ms(4);
	drop(m, 2, 8);
	sleep_ms(4);
	look(m, "2+1,8+1");
	store(m, "9+1");
	sleep_ms(4);
	drop(m, 16, 1);
	sleep_ms(4);
	store(m, "16+1");
	drop(m, 16, 1);
	look(m, "20+4");
	drop(m, 20, 4);
	expect(1, m, "rw-p", "0+4,9+1,16+1");
}

static void image(void)
{
	store(data_pages, "2+1,5+1");
	look(data_pages, "0+8");
	window(1, "-", data_pages, 8, "2+1,5+1");

	look(bss_pages, "3+4");
	store(bss_pages, "1+1,4+1,9+3");
	window(1, "-", bss_pages, 16, "1+1,4+1,9+3");
}

/* The loader wrote arguments there; this program doesn't use the stack that it got. */
static void untouched_stack(void)
{
	char *page = (char *)((unsigned long)loader_stack & -PAGE);

	window(1, "[stack]", page - 16 * PAGE, 17, "-");
}

/* The system's own page in the program's memory, which libc's start-up reads. */
static void vdso(void)
{
	char *m = (char *)auxv(AT_SYSINFO_EHDR);

	if (!m)
		return;
	look(m, "0+1");
	window(1, "[vdso]", m, 1, "-");
}

int guest_main(int argc, char **argv, char **envp)
{
	(void)argc;
	(void)argv;
	(void)envp;
	dense();
	sparse();
	never_stored();
	read_first();
	odd_stores();
	sleepy_rounds();
	busy_rounds();
	dontneed();
	image();
	untouched_stack();
	vdso();
	put("DONE\n");
	return 0;
}
