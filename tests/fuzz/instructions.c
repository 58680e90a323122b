/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/instructions.c - random and partly random instructions, run in ring 3 with registers that point to
 * memory of every kind, and above user addresses. See fuzz.h for the arguments; run.sh starts it. One more:
 *
 *   aborts     include instructions that are known to abort QEMU 7.2, which is then started again
 *
 * A case ends at an int3 after it, at a fault, or, if it loops, at the second tick of the timer. syscalls.c tests
 * system calls.
 */
#include "fuzz.h"
#include "instructions.h"

#define CODE		((u8 *)0x2000000000ul)
#define CODE_PAGES	4		/* followed by an unmapped page */
#define ARENA		((u8 *)0x2000100000ul)	/* displacements can reach it from the code */
#define ARENA_PAGES	8
#define READ_ONLY	(ARENA + 16 * PAGE)
#define NO_ACCESS	(ARENA + 24 * PAGE)
#define TICK		10		/* ms */

enum { ENDED_TRAP = 1, ENDED_ILL, ENDED_SEGV, ENDED_OTHER, ENDED_LOOP, PROCESSES };

struct registers {
	u64 r[16];			/* by their numbers in instructions */
	u64 flags, target;
};

static struct registers registers __attribute__((used));
static void *recovery[5];
static u8 signal_stack[32768] __attribute__((aligned(64)));
static volatile u64 now_running, seen_running;
static volatile int ended_by;
static volatile u64 fault_addr;
static volatile int fault_code;
static int with_aborts;

void enter_case(void);
__asm__("enter_case:\n"
	"	fninit\n"
	"	ldmxcsr start_mxcsr(%rip)\n"
	"	pushq 128 + registers(%rip)\n"
	"	popfq\n"
	"	mov registers(%rip), %rax\n"
	"	mov 8 + registers(%rip), %rcx\n"
	"	mov 16 + registers(%rip), %rdx\n"
	"	mov 24 + registers(%rip), %rbx\n"
	"	mov 32 + registers(%rip), %rsp\n"
	"	mov 40 + registers(%rip), %rbp\n"
	"	mov 48 + registers(%rip), %rsi\n"
	"	mov 56 + registers(%rip), %rdi\n"
	"	mov 64 + registers(%rip), %r8\n"
	"	mov 72 + registers(%rip), %r9\n"
	"	mov 80 + registers(%rip), %r10\n"
	"	mov 88 + registers(%rip), %r11\n"
	"	mov 96 + registers(%rip), %r12\n"
	"	mov 104 + registers(%rip), %r13\n"
	"	mov 112 + registers(%rip), %r14\n"
	"	mov 120 + registers(%rip), %r15\n"
	"	jmp *136 + registers(%rip)\n"
	"start_mxcsr: .long 0x1f80\n");

/* --- the end of a case --- */

struct fault_info {
	int signo, err, code, pad;
	u64 addr;
};

static void end_case(int signo, void *info, void *context)
{
	const struct fault_info *fault = info;

	(void)context;
	if (signo == SIG_ALRM) {
		if (seen_running != now_running || !now_running) {
			seen_running = now_running;
			return;
		}
		ended_by = ENDED_LOOP;
	} else {
		ended_by = signo == SIG_TRAP ? ENDED_TRAP : signo == SIG_ILL ? ENDED_ILL :
			   signo == SIG_SEGV ? ENDED_SEGV : ENDED_OTHER;
	}
	fault_addr = fault->addr;
	fault_code = fault->code;
	__builtin_longjmp(recovery, 1);
}

static void catch_all(void)
{
	static const int signals[] = { SIG_ILL, SIG_TRAP, SIG_BUS, SIG_FPE, SIG_SEGV, SIG_ALRM };
	const u64 stack[] = { (u64)signal_stack, 0, sizeof(signal_stack) };

	SYS(NR_sigaltstack, stack, 0);
	for (u64 i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		on_signal(signals[i], end_case, FUZZ_SA_ONSTACK | FUZZ_SA_NODEFER);
	tick_every(TICK);
}

/* Run the code at @target. */
static void run_case(u8 *target)
{
	registers.target = (u64)target;
	ended_by = 0;
	if (!__builtin_setjmp(recovery)) {
		now_running = fuzz_counts->cases + 1;
		enter_case();
	}
	now_running = 0;
	__asm__ volatile("pushq $0x202\n\tpopfq" ::: "cc", "memory");	/* AC */
	fuzz_counts->extra[ended_by]++;
	fuzz_counts->cases++;
}

/* --- registers and memory --- */

static u64 above_user(void)
{
	static const u64 places[] = {
		0x800000000000, 0x8000000000000000, 0xffff800000000000, 0xffffff8000000000, 0xffffff8000002000,
		0xffffff8000005000, 0xffffff8000007000, 0xffffff8000020000, 0xffffff80001f0000, 0xffffff8000400000,
		0xffffffff80000000, 0xffffffff80007040, 0xffffffff8000a000, 0xffffffff80010000, 0xffffffff80020000,
		0xffffffff80020350, 0xffffffff801f0000, 0xffffffff80200000, 0xffffffff80400080, 0xffffffffff600000,
		0xfffffffffffff000, 0xfffffffffffffff8, 0xffffffffffffffff,
	};

	return PICK(places);
}

static u64 random_value(void)
{
	switch (below(10)) {
	case 0: return above_user();
	case 1: return (u64)READ_ONLY + below(PAGE);
	case 2: return (u64)NO_ACCESS + below(PAGE);
	case 3: return below(300);
	case 4: return random64();
	case 5: return (u64)ARENA + ARENA_PAGES * PAGE - below(70);	/* the next page is unmapped */
	case 6: return (u64)CODE + below(CODE_PAGES * PAGE);
	default: return (u64)ARENA + below(ARENA_PAGES) * PAGE + (chance(2) ? below(PAGE) : below(64) * 64);
	}
}

static u64 random_word(void)
{
	static const u64 selectors[] = { 0, 3, 0x08, 0x0b, 0x10, 0x13, 0x23, 0x2b, 0x33, 0x40, 0x43, 0x28, 0x30, 0xfff8 };

	switch (below(6)) {
	case 0: return PICK(selectors);
	case 1: return PICK(selectors) << (16 * below(4)) | below(1 << 16);
	case 2: return 0;
	case 3: return random64();
	case 4: return 7 & random64();
	default: return random_value();
	}
}

static void fill_arena(void)
{
	for (u64 i = 0; i < ARENA_PAGES * PAGE / 8; i++)
		((u64 *)ARENA)[i] = random_word();
}

static void choose_registers(void)
{
	static const u64 flags[] = { 0x202, 0x202, 0x202, 0xa97, 0x602, 0x40202, 0x200202, 0x302, 0x4202, 0x246 };

	for (int i = 0; i < 16; i++)
		registers.r[i] = random_value();
	if (chance(2))
		registers.r[1] = below(5);		/* rcx counts */
	if (!chance(4))
		registers.r[4] = (u64)ARENA + PAGE + below(4 * PAGE / 16) * 16;
	registers.flags = PICK(flags);
}

/* --- findings --- */

/* Was this the fault of an access at @at? Unaligned and non-canonical addresses raise faults of another kind. */
static int is_fault_at(u64 at)
{
	if (ended_by == ENDED_ILL || ended_by == ENDED_OTHER || ended_by == ENDED_LOOP)
		return 1;	/* ENDED_LOOP: the machine was slow, so the result has no meaning */
	if (ended_by != ENDED_SEGV)
		return 0;
	/* QEMU's far return truncates the stack pointer to 32 bits, so it reads memory of the program. */
	if (fault_code == 1 && (at & 0xffffffff) - fault_addr + 1024 < 2048)
		return 1;
	return at % 64 || at <= 0xffff800000000000 || (fault_code == 1 && fault_addr - (at - 64) < 1024);
}

/* A load or store above user addresses must fault. */
static void run_above(u8 *target, u64 len)
{
	u64 at = above_user();

	for (int i = 0; i < 16; i++)
		registers.r[i] = at;
	registers.r[0] = 0x33;			/* rax */
	registers.r[1] = 1;			/* rcx: one time */
	registers.r[2] = (u64)ARENA;		/* rdx: a far pointer to the int3 */
	((u64 *)ARENA)[0] = (u64)target + len;
	((u64 *)ARENA)[1] = 0x33;
	registers.flags = 0x202;
	run_case(target);
	if (is_fault_at(at))
		return;
	finding("an access above user addresses did not fault there:", at);
	put("# ended by ");
	put_number((u64)ended_by, 10);
	put(", fault at ");
	put_number(fault_addr, 16);
	put(": ");
	put_bytes(target, len);
	put("\n");
	flush_text();
}

/* --- cases --- */

static void say_case(const struct code *c)
{
	put_number(fuzz_counts->cases, 10);
	put(": ");
	put_bytes(c->bytes, c->len);
	for (int i = 0; i < 16; i++) {
		put(i ? " " : "; ");
		put_number(registers.r[i], 16);
	}
	put("\n");
	flush_text();
}

static u8 *place(const struct code *c)
{
	u8 *at = CODE + below(CODE_PAGES * PAGE / 64) * 64;

	if (chance(16))		/* just before an unmapped page */
		at = CODE + CODE_PAGES * PAGE - c->len;
	for (u64 i = 0; i < 64 && at + i < CODE + CODE_PAGES * PAGE; i++)
		at[i] = i < c->len ? c->bytes[i] : 0xcc;
	return at;
}

static void one_case(void)
{
	struct code c = { .len = 0 };
	int above = chance(20);
	u8 *at;

	do {
		c.len = 0;
		if (above)
			put_access_above(&c);
		else
			put_sequence(&c);
	} while (is_system_call(&c) || (!with_aborts && aborts_qemu_7(&c)));
	choose_registers();
	if (fuzz_verbose)
		say_case(&c);
	at = place(&c);
	if (above)
		run_above(at, c.len);
	else
		run_case(at);
}

static void run_from(volatile u64 *done, u64 cases, u64 seed)
{
	catch_all();
	random_state = seed;
	fill_arena();
	while (*done < cases) {
		random_state = seed + *done * 0x9e3779b97f4a7c15ul;
		if (*done % 256 == 0)
			fill_arena();
		++*done;
		one_case();
	}
}

static void run_cases(u64 cases)
{
	volatile u64 *done = (void *)map_shared((char *)ARENA + 64 * PAGE, 1);
	u64 seed = random64();
	const int rwx = PROT_READ | PROT_WRITE | PROT_EXEC;

	map_at((char *)CODE, CODE_PAGES, rwx, MAP_PRIVATE | MAP_ANON, -1);
	map_private((char *)ARENA, ARENA_PAGES);
	map_at((char *)READ_ONLY, 1, PROT_READ, MAP_PRIVATE | MAP_ANON, -1);
	map_at((char *)NO_ACCESS, 1, 0, MAP_PRIVATE | MAP_ANON, -1);
	/* If an instruction ends the process, the next process continues with the next case. */
	while (*done < cases) {
		long pid = SYS(NR_fork, 0);

		if (pid == 0) {
			run_from(done, cases, seed);
			leave(0);
		}
		fuzz_counts->extra[PROCESSES]++;
		if (pid < 0 || SYS(NR_wait4, pid, 0, 0, 0) < 0)
			return;
	}
}

int guest_main(int argc, char **argv, char **envp)
{
	static const char *const counted[] = { "traps", "SIGILL", "SIGSEGV", "other signals", "loops", "processes", 0 };

	(void)envp;
	with_aborts = argc > 5 && argv[argc - 1][0] == 'a';
	fuzz_limit_ms = 20000;
	return fuzz_main(argc, argv, counted, run_cases);
}
