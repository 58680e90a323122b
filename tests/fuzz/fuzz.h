/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/fuzz.h - shared by the fuzzers that run inside `vellum run`: arguments, random numbers, groups.
 *
 *   FUZZER SEED FIRST GROUPS CASES [v]
 *
 * A new process makes each group of cases, from the seed and the number of the group. So any group can be repeated
 * alone. A group may die or hang: the first process kills the group's remaining processes after fuzz_limit_ms and
 * continues. With "v", a fuzzer prints each case before it runs. stdout:
 *
 *   group N        before the cases of group N run
 *   FINDING text   something that no program should be able to do or get
 *   DONE counts    the last line
 *
 * There is no libc, as cases may overwrite the thread-local storage, locks and heap of a libc.
 */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H

#include "../guest/guest.h"

#define REAP_LIMIT_MS	20000
#define TICK_MS		100
#define MAX_EXTRA	8

typedef unsigned long u64;
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;

enum {
	NR_sigreturn = 15,
	NR_setitimer = 38,
	NR_setsid = 112,
	SIG_ILL = 4,
	SIG_TRAP = 5,
	SIG_BUS = 7,
	SIG_FPE = 8,
	SIG_SEGV = 11,
	SIG_ALRM = 14,
	PROT_EXEC = 4,
	EINTR = 4,
};

/* Shared; the processes of all groups write to it. */
struct fuzz_counts {
	u64 cases;			/* cases that ran */
	u64 group;
	u64 extra[MAX_EXTRA];		/* the fuzzer's own counts; fuzz_names has their names */
	u64 findings, deaths;
};

static volatile struct fuzz_counts *fuzz_counts;
static const char *const *fuzz_names;	/* ends with 0 */
static int fuzz_verbose;
static int fuzz_out = 1;		/* descriptor to which a group's process prints cases and findings */
static u64 fuzz_limit_ms = 2000;		/* per group */

/* --- random numbers: splitmix64 --- */

static u64 random_state;

static u64 random64(void)
{
	u64 z = random_state += 0x9e3779b97f4a7c15ul;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ul;
	z = (z ^ z >> 27) * 0x94d049bb133111ebul;
	return z ^ z >> 31;
}

static u64 below(u64 n)
{
	return random64() % n;
}

/* True in one of @n calls. */
static int chance(u64 n)
{
	return below(n) == 0;
}

#define PICK(array) ((array)[below(sizeof(array) / sizeof((array)[0]))])

/* --- signals --- */

struct fuzz_action {
	void (*handler)(int, void *, void *);
	u64 flags;
	void (*restorer)(void);
	u64 mask;
};

#define FUZZ_SA_SIGINFO	 4ul
#define FUZZ_SA_RESTORER 0x04000000ul
#define FUZZ_SA_ONSTACK	 0x08000000ul
#define FUZZ_SA_NODEFER	 0x40000000ul

void fuzz_restorer(void);
__asm__("fuzz_restorer:\n"
	"	mov $15, %eax\n"
	"	syscall\n");

static void on_signal(int signo, void (*handler)(int, void *, void *), u64 flags)
{
	struct fuzz_action act = { handler, flags | FUZZ_SA_SIGINFO | FUZZ_SA_RESTORER, fuzz_restorer, 0 };

	SYS(NR_rt_sigaction, signo, &act, 0, 8);
}

/* Send SIGALRM every @ms; 0: stop. */
static void tick_every(long ms)
{
	struct {
		long interval_s, interval_us, value_s, value_us;
	} timer = { ms / 1000, ms % 1000 * 1000, ms / 1000, ms % 1000 * 1000 };

	SYS(NR_setitimer, 0, &timer, 0);
}

/* --- findings --- */

MAY_UNUSED static void put_bytes(const u8 *bytes, u64 n)
{
	for (u64 i = 0; i < n; i++) {
		char text[4] = { "0123456789abcdef"[bytes[i] >> 4], "0123456789abcdef"[bytes[i] & 15], ' ', 0 };

		put(text);
	}
}

static void flush_to_out(void)
{
	SYS(NR_write, fuzz_out, text_buf, text_len);
	text_len = 0;
}

MAY_UNUSED static void finding(const char *what, u64 value)
{
	fuzz_counts->findings++;
	put("FINDING group ");
	put_number(fuzz_counts->group, 10);
	put(": ");
	put(what);
	put(" ");
	put_number(value, 16);
	put("\n");
	flush_to_out();
}

/* --- groups --- */

static volatile u64 fuzz_ticks;

static void count_tick(int signo, void *info, void *context)
{
	(void)signo, (void)info, (void)context;
	fuzz_ticks++;
}

static void say_end(int status)
{
	if (!status)
		return;
	fuzz_counts->deaths++;
	if (!fuzz_verbose)
		return;
	put("ended with status ");
	put_number((u64)status, 16);
	put("\n");
	flush_text();
}

/* Wait until @pid has ended; -1: until there is no child. Return: true if that happened within @limit_ms. */
static int wait_within(long pid, u64 limit_ms)
{
	u64 start = fuzz_ticks;

	while (fuzz_ticks - start < limit_ms / TICK_MS) {
		int status = 0;
		long got = SYS(NR_wait4, -1, &status, 0, 0);

		if (got == pid)
			say_end(status);
		if (got == pid || (got < 0 && got != -EINTR))
			return 1;
		if (pid == -1)
			SYS(NR_kill, -1, SIGKILL);	/* a process may have been forked since */
	}
	return 0;
}

static void run_group(u64 seed, u64 group, u64 cases, void (*run)(u64 cases))
{
	long pid;

	put("group ");
	put_number(group, 10);
	put("\n");
	flush_text();
	fuzz_counts->group = group;
	pid = SYS(NR_fork, 0);
	check(pid >= 0, "fork");
	if (pid == 0) {
		random_state = seed * 0x2545f4914f6cdd1dul + group;
		random64();
		tick_every(0);
		SYS(NR_setsid, 0);
		run(cases);
		leave(0);
	}
	if (!wait_within(pid, fuzz_limit_ms))
		fuzz_counts->extra[0]++;
	SYS(NR_kill, -1, SIGKILL);
	if (!wait_within(-1, REAP_LIMIT_MS))
		finding("a process survived SIGKILL; milliseconds waited:", REAP_LIMIT_MS);
}

static u64 number_argument(int argc, char **argv, int at)
{
	const char *text = at < argc ? argv[at] : "0";

	return parse_number(&text);
}

/* extra[0] counts groups that exceeded the time limit. @names: the names of the other extra counts. */
static int fuzz_main(int argc, char **argv, const char *const *names, void (*run)(u64 cases))
{
	u64 seed = number_argument(argc, argv, 1), first = number_argument(argc, argv, 2);
	u64 groups = number_argument(argc, argv, 3), cases = number_argument(argc, argv, 4);

	check(argc >= 5, "usage: FUZZER SEED FIRST GROUPS CASES [v]");
	check(SYS(NR_getpid, 0) == 1, "the fuzzer is not process 1: it would kill others");
	fuzz_verbose = argc > 5 && argv[5][0] == 'v';
	fuzz_names = names;
	fuzz_counts = (void *)SYS(NR_mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANON, -1, 0);
	on_signal(SIG_ALRM, count_tick, 0);
	tick_every(TICK_MS);
	for (u64 group = first; group < first + groups; group++)
		run_group(seed, group, cases, run);
	put("DONE cases ");
	put_number(fuzz_counts->cases, 10);
	put(", groups at the limit of time ");
	put_number(fuzz_counts->extra[0], 10);
	put(", groups that died ");
	put_number(fuzz_counts->deaths, 10);
	for (u64 i = 1; names[i - 1]; i++) {
		put(", ");
		put(names[i - 1]);
		put(" ");
		put_number(fuzz_counts->extra[i], 10);
	}
	put("\n");
	return fuzz_counts->findings != 0;
}

#endif
