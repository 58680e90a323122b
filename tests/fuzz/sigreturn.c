/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/sigreturn.c - rt_sigreturn(2) of random and mutated frames: each register, flag and selector, the FPU
 * state and its address, the XSAVE header, the signal mask, the alternate stack. See fuzz.h for the arguments;
 * run.sh starts it.
 *
 * A frame is a mutated copy of one that the kernel made. After the return, CS, SS and the flags must be values that
 * a program may have. An invalid frame raises SIGSEGV. If the frame blocks SIGSEGV, the process ends, and another
 * process runs the remaining cases.
 */
#include "fuzz.h"

#define SPACE		((u8 *)0x3000000000ul)	/* readable and writable, followed by unmapped pages */
#define SPACE_PAGES	4
#define READ_ONLY	(SPACE + 16 * PAGE)
#define FRAME_BYTES	440			/* return address, ucontext, siginfo */
#define TICK		10
#define CAUGHT		0x24d8ul		/* SIGILL SIGTRAP SIGBUS SIGFPE SIGSEGV SIGALRM: not blocked by most masks */

enum { RETURNED = 1, FAULTED, OTHERWISE, PROCESSES };

/* Offsets in a frame, the return address first. */
enum {
	AT_STACK = 8 + 16, AT_R8 = 8 + 40, AT_RSP = AT_R8 + 15 * 8, AT_RIP = AT_R8 + 16 * 8, AT_FLAGS = AT_R8 + 17 * 8,
	AT_SELECTORS = AT_R8 + 18 * 8, AT_FPSTATE = AT_R8 + 23 * 8, AT_MASK = 8 + 296, FPU_BYTES = 4096,
	AT_MXCSR = 24, AT_SOFTWARE = 464, AT_HEADER = 512,
};

static u8 model[FRAME_BYTES], fpu_model[FPU_BYTES] __attribute__((aligned(64)));
static u64 fpu_size;
static void *recovery[5];
static u8 signal_stack[32768] __attribute__((aligned(64)));
static u8 safe_stack[8192] __attribute__((aligned(64), used));
static u8 saved_state[4096] __attribute__((aligned(64), used));
static volatile u64 landed_cs __attribute__((used)), landed_ss __attribute__((used));
static volatile u64 landed_flags __attribute__((used)), landed_rsp __attribute__((used));
static volatile u64 now_running, seen_running;
static volatile int ended_by;
static int learning;

/* The code to which a frame returns. It assumes nothing of the registers; XSAVE stores what was loaded. */
void landing(void);
__asm__("landing:\n"
	"	mov %rsp, landed_rsp(%rip)\n"
	"	lea 8192 + safe_stack(%rip), %rsp\n"
	"	pushfq\n"
	"	popq landed_flags(%rip)\n"
	"	pushq $0x202\n"
	"	popfq\n"
	"	mov %cs, %eax\n"
	"	mov %rax, landed_cs(%rip)\n"
	"	mov %ss, %eax\n"
	"	mov %rax, landed_ss(%rip)\n"
	"	mov $-1, %eax\n"
	"	mov $-1, %edx\n"
	"	xsave64 saved_state(%rip)\n"
	"	jmp landed\n");

void return_from(u8 *frame);
__asm__("return_from:\n"
	"	lea 8(%rdi), %rsp\n"
	"	mov $15, %eax\n"
	"	syscall\n"
	"	ud2\n");

__attribute__((used, noreturn)) void landed(void);
void landed(void)
{
	ended_by = RETURNED;
	__builtin_longjmp(recovery, 1);
}

static u64 word_at(const u8 *from)
{
	return *(const u64 *)from;
}

static void set_word(u8 *to, u64 value)
{
	*(u64 *)to = value;
}

/* --- signals --- */

static void learn_frame(const u8 *frame)
{
	u64 fpu = word_at(frame + AT_FPSTATE);

	memcpy(model, frame, FRAME_BYTES);
	fpu_size = *(u32 *)(fpu + AT_SOFTWARE + 4);	/* includes the magic number at its end */
	check(fpu_size > AT_HEADER && fpu_size <= FPU_BYTES, "a frame with an XSAVE area");
	memcpy(fpu_model, (void *)fpu, fpu_size);
}

static void end_case(int signo, void *info, void *context)
{
	(void)info;
	if (learning) {
		learning = 0;
		learn_frame((u8 *)context - 8);
		return;
	}
	if (signo == SIG_ALRM && (seen_running != now_running || !now_running)) {
		seen_running = now_running;
		return;
	}
	ended_by = signo == SIG_SEGV ? FAULTED : OTHERWISE;
	__builtin_longjmp(recovery, 1);
}

static void set_stack(void)
{
	const u64 stack[] = { (u64)signal_stack, 0, sizeof(signal_stack) };

	SYS(NR_sigaltstack, stack, 0);
}

static void catch_all(void)
{
	static const int signals[] = { SIG_ILL, SIG_TRAP, SIG_BUS, SIG_FPE, SIG_SEGV, SIG_ALRM, SIGUSR1 };

	set_stack();
	for (u64 i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		on_signal(signals[i], end_case, FUZZ_SA_ONSTACK | FUZZ_SA_NODEFER);
}

/* Restore what a frame may have changed: signal mask, alternate stack, flags. */
static void restore_signals(void)
{
	const u64 none = 0;

	__asm__ volatile("pushq $0x202\n\tpopfq\n\tfninit" ::: "cc", "memory");
	set_stack();
	SYS(NR_rt_sigprocmask, 2, &none, 0, 8);
}

/* --- frames --- */

static u64 odd_address(void)
{
	static const u64 places[] = {
		0, 1, 8, 0x7fffffffefff, 0x7fffffffffff, 0x7ffffffffff8, 0x7ffffffff000, 0x800000000000,
		0x8000000000000000, 0xffff7fffffffffff, 0xffff800000000000, 0xffffff8000000000, 0xffffff8000020000,
		0xffffffff80000000, 0xffffffff80010000, 0xffffffff80020350, 0xffffffff801f0000, 0xffffffffff600000,
		~0ul, ~0ul - 7, ~0ul - 63, ~0ul - 4095,
	};

	switch (below(4)) {
	case 0: return random64();
	case 1: return (u64)SPACE + SPACE_PAGES * PAGE - below(1100);	/* the end of the mapped pages */
	case 2: return (u64)READ_ONLY + PAGE - (chance(2) ? 64 * below(40) : below(1000));
	default: return PICK(places) - (chance(3) ? below(1024) : 0);
	}
}

static u64 odd_flags(void)
{
	u64 flags = 0x202;

	for (u64 n = 1 + below(5); n; n--)
		flags ^= 1ul << below(chance(8) ? 64 : 22);
	return chance(10) ? random64() : flags;
}

static u64 odd_selectors(void)
{
	static const u16 selectors[] = { 0, 1, 2, 3, 0x08, 0x0b, 0x10, 0x13, 0x18, 0x20, 0x23, 0x28, 0x2b, 0x33, 0x3b, 0x40,
					 0x43, 0x4b, 0xffff, 0xfff8 };
	u64 all = 0x2b00000000000033;

	for (u64 n = 1 + below(3); n; n--) {
		u64 shift = 16 * below(4);

		all = (all & ~(0xfffful << shift)) | (u64)PICK(selectors) << shift;
	}
	return chance(10) ? random64() : all;
}

/* Mutate bytes that the FPU loads: control words, the header, the magic numbers. */
static void mutate_fpu(u8 *fpu)
{
	static const u64 features[] = { 0, 1, 2, 3, 4, 7, 8, 0xe0, 0x200, 1ul << 62, 1ul << 63, ~0ul };

	switch (below(8)) {
	case 0: *(u32 *)(fpu + AT_MXCSR) = (u32)random64() >> below(32); break;
	case 1: set_word(fpu + AT_HEADER, PICK(features)); break;
	case 2: set_word(fpu + AT_HEADER + 8, PICK(features)); break;
	case 3: fpu[AT_HEADER + below(64)] = random64(); break;
	case 4: *(u32 *)(fpu + AT_SOFTWARE) ^= 1u << below(32); break;
	case 5: *(u32 *)(fpu + AT_SOFTWARE + 4 * below(12)) = chance(2) ? random64() : below(4096); break;
	case 6: fpu[below(fpu_size)] = random64(); break;
	default:
		for (u64 i = below(64); i < AT_HEADER + 64; i += 1 + below(32))
			fpu[i] = random64();
	}
}

static u64 odd_mask(void)
{
	static const u64 masks[] = { ~0ul, 1ul << 8, 1ul << 18, 0x80000000, 1ul << 63 };

	return chance(8) ? PICK(masks) : random64() & ~CAUGHT;
}

static void mutate_frame(u8 *frame, u8 *fpu)
{
	switch (below(12)) {
	case 0: set_word(frame + AT_RIP, odd_address()); break;
	case 1: set_word(frame + AT_RSP, odd_address()); break;
	case 2: case 3: set_word(frame + AT_FLAGS, odd_flags()); break;
	case 4: set_word(frame + AT_SELECTORS, odd_selectors()); break;
	case 5: set_word(frame + AT_FPSTATE, chance(4) ? 0 : odd_address()); break;
	case 6: case 7: case 8: mutate_fpu(fpu); break;
	case 9: set_word(frame + AT_MASK, odd_mask()); break;
	case 10: set_word(frame + AT_STACK + 8 * below(3), chance(2) ? odd_address() : below(5000)); break;
	default: frame[below(FRAME_BYTES)] = random64();
	}
}

static u8 *make_frame(void)
{
	u8 *fpu = SPACE + PAGE + 64 * below(16), *frame = SPACE + 8 + 16 * below(64);

	if (chance(4))	/* at the end of the mapped pages, or crossing it */
		fpu = SPACE + SPACE_PAGES * PAGE - ((fpu_size + 63) & ~63ul) + (chance(4) ? 64 : 0);
	if (chance(8))
		frame = SPACE + SPACE_PAGES * PAGE - FRAME_BYTES - 8 + below(64) * 8 % 16;
	for (u64 i = 0; i < fpu_size && fpu + i < SPACE + SPACE_PAGES * PAGE; i++)
		fpu[i] = fpu_model[i];
	for (u64 i = 0; i < FRAME_BYTES; i++)
		frame[i] = model[i];
	set_word(frame + AT_RIP, (u64)landing);
	set_word(frame + AT_FPSTATE, (u64)fpu);
	set_word(frame + AT_MASK, 0);
	for (u64 n = below(4); n; n--)
		mutate_frame(frame, fpu + fpu_size < SPACE + SPACE_PAGES * PAGE ? fpu : SPACE + PAGE);
	if (word_at(frame + AT_RIP) - ((u64)landing & ~0xfffful) < 1 << 20)	/* not into other code of the fuzzer */
		set_word(frame + AT_RIP, (u64)landing);
	return frame;
}

/* --- cases --- */

#define PROGRAM_FLAGS 0x50dd5ul		/* flags that sigreturn loads: AC RF OF DF TF SF ZF AF PF CF */

static void check_landing(u64 flags)
{
	if ((landed_cs & 0xffff) != 0x33)
		finding("CS is", landed_cs);
	if ((landed_ss & 0xffff) != 0x2b)
		finding("SS is", landed_ss);
	if ((landed_flags & ~PROGRAM_FLAGS) != 0x202)
		finding("flags that a program may not have, or has to have:", landed_flags);
	if ((landed_flags ^ flags) & 0x40cd5)		/* all but TF, RF */
		finding("flags differ from the frame's:", landed_flags);
}

static void one_case(void)
{
	u8 *frame = make_frame();
	u64 flags = word_at(frame + AT_FLAGS);

	if (fuzz_verbose) {
		put_number(fuzz_counts->cases, 10);
		put(": ");
		put_bytes(frame, FRAME_BYTES);
		put("\n");
		flush_text();
	}
	ended_by = 0;
	fuzz_counts->cases++;
	if (!__builtin_setjmp(recovery)) {
		now_running = fuzz_counts->cases;
		return_from(frame);
	}
	now_running = 0;
	restore_signals();
	fuzz_counts->extra[ended_by]++;
	if (ended_by == RETURNED)
		check_landing(flags);
}

/* A process runs cases until one of them ends it. The next process continues with the next case. */
static void run_cases(u64 cases)
{
	volatile u64 *done = (void *)map_shared((char *)SPACE + 32 * PAGE, 1);
	u64 seed = random64();

	map_private((char *)SPACE, SPACE_PAGES);
	map_at((char *)READ_ONLY, 1, PROT_READ, MAP_PRIVATE | MAP_ANON, -1);
	catch_all();
	learning = 1;
	SYS(NR_kill, SYS(NR_getpid, 0), SIGUSR1);
	check(fpu_size != 0, "a signal's frame");
	while (*done < cases) {
		long pid = SYS(NR_fork, 0);

		if (pid == 0) {
			catch_all();
			tick_every(TICK);
			while (*done < cases) {
				random_state = seed + *done * 0x9e3779b97f4a7c15ul;
				++*done;
				one_case();
			}
			leave(0);
		}
		fuzz_counts->extra[PROCESSES]++;
		if (pid < 0 || SYS(NR_wait4, pid, 0, 0, 0) < 0)
			return;
	}
}

int guest_main(int argc, char **argv, char **envp)
{
	static const char *const counted[] = { "returns", "SIGSEGV", "other signals", "processes", 0 };

	(void)envp;
	fuzz_limit_ms = 20000;
	return fuzz_main(argc, argv, counted, run_cases);
}
