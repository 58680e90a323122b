/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/elf.c - executes programs and scripts that are valid, odd or broken (elf_file.h), with odd arguments. See
 * fuzz.h for the arguments of the fuzzer; run.sh starts it.
 *
 * Any exit, signal or error of execve(2) is allowed here; only run.sh reports findings. File N depends on the seed and on
 * N = group * cases + its place in the group, so "elf SEED N 1 1 v" repeats it alone. With "v", each case's files and
 * result are printed, so that elf_native.sh can compare the result with the host's kernel's.
 */
#include "elf_file.h"

#define RUN_MS		3000
#define MAX_STRING	131072		/* of an argument, with its end */
#define MAX_CHAIN	7		/* scripts whose interpreters are scripts; Linux follows 5 */

enum { NR_unlink = 87, NR_setrlimit = 160, RLIMIT_STACK = 3 };
enum { RAN_WELL = 1, KILLED, REFUSED };

static long empty_word;
static u64 file_number;

/* --- files --- */

static const char *const names[] = { "program", "other", "script", "s1", "s2", "s3", "s4", "s5", "s6", "s7" };

static void say_file(const char *name)
{
	u64 n = file[0] == '#' ? 320 : 64 + 56 * FEW_PHDRS;

	if (!fuzz_verbose)
		return;
	put_number(file_number, 10);
	put(": ");
	put_number(file_len, 10);
	put(" bytes: ");
	put(name);
	put(": ");
	put_bytes(file, n < file_len ? n : file_len);
	put("\n");
	flush_text();
}

static void write_file(const char *name)
{
	long fd = SYS(NR_open, name, 01102 /* O_RDWR O_CREAT O_TRUNC */, chance(60) ? 0644 : 0755);

	check(fd >= 0, "open");
	SYS(NR_write, fd, file, file_len);
	SYS(NR_close, fd);
	say_file(name);
}

/* Scripts "s1", "s2" and so on, each the interpreter of the one before it, and the last one's is "program". */
static void write_chain(u64 nr)
{
	for (u64 i = nr; i; i--) {
		make_script(i == nr ? "program" : names[3 + i]);
		if (chance(2)) {
			file_len = 0;
			add_text("#!");
			add_text(i == nr ? "program" : names[3 + i]);
			add_text(chance(2) ? " argument\n" : "\n");
		}
		write_file(names[2 + i]);
	}
}

/* Make the files of one case. The one to be executed. */
static const char *make_files(void)
{
	for (u64 i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		SYS(NR_unlink, names[i]);
	differs = 0;
	if (chance(8)) {
		u64 chain = chance(2) ? below(MAX_CHAIN + 1) : 0;

		make_elf(0);
		write_file("program");
		write_chain(chain);
		make_script(chain ? "s1" : chance(2) ? "program" : "./program");
		write_file("script");
		return "script";
	}
	if (chance(3)) {
		make_elf(1);
		if (chance(16))
			make_script("program");
		write_file("other");
	}
	make_elf(0);
	write_file("program");
	return "program";
}

/* --- running --- */

static char long_text[MAX_STRING + 8];

/* Arguments whose bytes are next to what execve(2) takes: @limit / 4, and at least 128 KiB. */
static void many_bytes(const char **args, u64 max, u64 limit, u64 rest)
{
	u64 room = limit / 4 < 131072 ? 131072 : limit / 4, n = 1;

	room -= rest + below(32);
	while (room > MAX_STRING + 8 && n < max - 2) {
		args[n++] = long_text + 8;
		room -= MAX_STRING + 8;
	}
	if (room > 9 && room < MAX_STRING + 8)
		args[n++] = long_text + sizeof(long_text) - (room - 8);
}

static void odd_arguments(const char **args, u64 max)
{
	static const u64 limits[] = { 8 << 20, 8 << 20, 1 << 20, 600000, 1 << 19, 1 << 18, 150000 };
	u64 limit[2] = { PICK(limits), 8 << 20 };

	for (u64 i = 0; i < sizeof(long_text) - 1; i++)
		long_text[i] = (char)('a' + i % 23);
	switch (below(4)) {
	case 0:
		args[1] = long_text + below(16);		/* around the longest */
		break;
	case 1:
		SYS(NR_setrlimit, RLIMIT_STACK, limit);
		many_bytes(args, max, limit[0], below(100));
		break;
	default:
		for (u64 i = 0, n = 1 + below(max - 2); i < n; i++)
			args[i] = long_text + below(sizeof(long_text));
	}
}

static void execute(const char *name, volatile long *refused)
{
	const char *args[40] = { name, "argument" }, *environment[] = { "A=B", 0 };
	struct {
		long interval_s, interval_us, value_s, value_us;
	} timer = { 0, 0, 0, RUN_MS * 1000 };

	if (chance(16))
		odd_arguments(args, 40);
	if (chance(16))
		args[0] = 0;
	SYS(NR_setitimer, 0, &timer, 0);
	*refused = SYS(NR_execve, name, args, chance(16) ? (const char **)&empty_word : environment);
	SYS(NR_exit, 1);
}

static int run_file(const char *name, volatile long *refused, int *result)
{
	int status = 0;
	long pid;

	*refused = 0;
	pid = SYS(NR_fork, 0);
	check(pid >= 0, "fork");
	if (pid == 0)
		execute(name, refused);
	while (SYS(NR_wait4, pid, &status, 0, 0) == -EINTR)
		;
	*result = *refused ? (int)*refused : status;
	return *refused ? REFUSED : status & 127 ? KILLED : RAN_WELL;
}

static void say_result(int kind, int result)
{
	static const char *const kinds[] = { "", "status ", "status ", "error " };

	put("result ");
	put_number(file_number, 10);
	put(differs ? " " : "");
	put(differs ? differs : "");
	put(": ");
	put(kinds[kind]);
	put_number((u64)(result < 0 ? -result : result), 10);
	put("\n");
	flush_text();
}

static void run_cases(u64 cases)
{
	volatile long *refused = (void *)SYS(NR_mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANON, -1, 0);
	u64 of_seed = random_state - fuzz_counts->group;

	for (u64 i = 0; i < cases; i++) {
		const char *name;
		int kind, result;

		file_number = fuzz_counts->group * cases + i;
		random_state = of_seed + file_number;
		random_state = random64();
		name = make_files();
		fuzz_counts->cases++;
		kind = run_file(name, refused, &result);
		fuzz_counts->extra[kind]++;
		if (fuzz_verbose)
			say_result(kind, result);
	}
}

int guest_main(int argc, char **argv, char **envp)
{
	static const char *const counted[] = { "exits", "signals", "refused", 0 };

	(void)envp;
	fuzz_limit_ms = 120000;
	return fuzz_main(argc, argv, counted, run_cases);
}
