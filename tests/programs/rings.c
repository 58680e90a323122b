/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/rings.c - instructions that QEMU might execute with more rights than ring 3 has.
 *
 * Each variant is an instruction with rsp, or its operand, in the upper half of the address space, where the
 * machine keeps its tables and code. It must end in a signal at this instruction. The signal frame must not reveal
 * which addresses are mapped, and must have the program's registers. The last line counts: "N variants, M failures".
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define RCX_VALUE 0x1234567890abcdefull
#define R11_VALUE 0xfedcba0987654321ull

struct instruction {
	const char *name;
	uint8_t length, code[8];
	char operand;		/* 's' the stack; 'm' memory at rdi in the upper half; 'f' a far pointer at rdi */
};

static const struct instruction instructions[] = {
	{ "call far [rdi]", 2, { 0xff, 0x1f }, 'f' },
	{ "jmp far [rdi]", 2, { 0xff, 0x2f }, 'f' },
	{ "retf", 1, { 0xcb }, 's' },
	{ "retf 16", 3, { 0xca, 0x10, 0x00 }, 's' },
	{ "iret", 1, { 0xcf }, 's' },
	{ "push rax", 1, { 0x50 }, 's' },
	{ "pop rax", 1, { 0x58 }, 's' },
	{ "pushf", 1, { 0x9c }, 's' },
	{ "popf", 1, { 0x9d }, 's' },
	{ "call", 5, { 0xe8, 0, 0, 0, 0 }, 's' },
	{ "ret", 1, { 0xc3 }, 's' },
	{ "ret 16", 3, { 0xc2, 0x10, 0x00 }, 's' },
	{ "enter 16, 3", 4, { 0xc8, 0x10, 0x00, 0x03 }, 's' },
	{ "leave", 1, { 0xc9 }, 's' },
	{ "push fs", 2, { 0x0f, 0xa0 }, 's' },
	{ "pop fs", 2, { 0x0f, 0xa1 }, 's' },
	{ "mov [rdi], rax", 2, { 0x89, 0x07 }, 'm' },
	{ "mov rax, [rdi]", 2, { 0x8b, 0x07 }, 'm' },
	{ "mov ss, [rdi]", 2, { 0x8e, 0x17 }, 'm' },
	{ "lss rax, [rdi]", 3, { 0x0f, 0xb2, 0x07 }, 'm' },
	{ "lfs rax, [rdi]", 3, { 0x0f, 0xb4, 0x07 }, 'm' },
	{ "lar rax, [rdi]", 3, { 0x0f, 0x02, 0x07 }, 'm' },
	{ "verw [rdi]", 3, { 0x0f, 0x00, 0x2f }, 'm' },
	{ "sgdt [rdi]", 3, { 0x0f, 0x01, 0x07 }, 'm' },
	{ "sidt [rdi]", 3, { 0x0f, 0x01, 0x0f }, 'm' },
	{ "sldt [rdi]", 3, { 0x0f, 0x00, 0x07 }, 'm' },
	{ "str [rdi]", 3, { 0x0f, 0x00, 0x0f }, 'm' },
	{ "smsw [rdi]", 3, { 0x0f, 0x01, 0x27 }, 'm' },
	{ "invlpg [rdi]", 3, { 0x0f, 0x01, 0x3f }, 'm' },
	{ "stos", 1, { 0xab }, 'm' },
	{ "scas", 1, { 0xaf }, 'm' },
	{ "xchg [rdi], rax", 2, { 0x87, 0x07 }, 'm' },
	{ "fxsave [rdi]", 3, { 0x0f, 0xae, 0x07 }, 'm' },
	{ "fxrstor [rdi]", 3, { 0x0f, 0xae, 0x0f }, 'm' },
	{ "ldmxcsr [rdi]", 3, { 0x0f, 0xae, 0x17 }, 'm' },
	{ "stmxcsr [rdi]", 3, { 0x0f, 0xae, 0x1f }, 'm' },
	{ "xsave [rdi]", 3, { 0x0f, 0xae, 0x27 }, 'm' },
	{ "fstenv [rdi]", 2, { 0xd9, 0x37 }, 'm' },
	{ "fsave [rdi]", 2, { 0xdd, 0x37 }, 'm' },
	{ "movups [rdi], xmm0", 3, { 0x0f, 0x11, 0x07 }, 'm' },
	{ "call [rdi]", 2, { 0xff, 0x17 }, 'm' },
	{ "jmp [rdi]", 2, { 0xff, 0x27 }, 'm' },
};

static const uint8_t prefixes[][2] = { { 0 }, { 0x48 }, { 0x66 }, { 0xf3 }, { 0x66, 0x48 } };

static const uint64_t targets[] = {
	0xffffffff80007800,	/* descriptors */
	0xffffffff80009800, 0xffffffff8000aa00,
	0xffffffff80010800,	/* the stubs' code */
	0xffffffff80020200,	/* mailboxes */
	0xffffffff80020c00, 0xffffffff80022c00, 0xffffffff80200300 /* the APIC */, 0xffffff8000045000 /* RAM */,
	0xffffffff80400010, 0xffff800000000000, 0xffffffffffffff00,
};

static const uint16_t selectors[] = { 0x33, 0x08, 0x2b, 0x40, 0x07, 0x37, 0x00 };

static sigjmp_buf back;
static volatile uint64_t seen_rip, seen_err, seen_trap, seen_rcx, seen_r11;
static unsigned nr_variants, nr_failures;
static uint8_t *code;
static uint64_t far_pointer[2], saved_rsp;

static void handler(int signo, siginfo_t *info, void *context)
{
	const greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)info;
	seen_rip = (uint64_t)r[REG_RIP];
	seen_err = (uint64_t)r[REG_ERR];
	seen_trap = (uint64_t)r[REG_TRAPNO];
	seen_rcx = (uint64_t)r[REG_RCX];
	seen_r11 = (uint64_t)r[REG_R11];
	siglongjmp(back, signo);
}

static void failed(const struct instruction *in, unsigned prefix, uint64_t target, const char *what)
{
	if (nr_failures++ < 20)
		printf("%s (prefix %u) at %lx: %s (trap %lu, error %lx)\n", in->name, prefix, target, what, seen_trap,
		       seen_err);
}

/* Jump to the code, with rsp = @rsp and rdi = @rdi. */
static void run(uint64_t rsp, uint64_t rdi)
{
	__asm__ volatile("movq %%rsp, %0\n\t"
		     "movq %1, %%rdi\n\t"
		     "movq %2, %%rax\n\t"
		     "movq %3, %%rcx\n\t"
		     "movq %4, %%r11\n\t"
		     "movq %5, %%rsp\n\t"
		     "movq %%rsp, %%rbp\n\t"
		     "jmp *%%rax"
		     : "=m"(saved_rsp)
		     : "r"(rdi), "r"(code), "r"(RCX_VALUE), "r"(R11_VALUE), "r"(rsp)
		     : "rax", "rcx", "r11", "rdi", "memory");
}

static void try_variant(const struct instruction *in, unsigned prefix, uint64_t target, uint16_t selector)
{
	static uint8_t stack[4096];
	size_t n = strnlen((const char *)prefixes[prefix], 2), offset = prefixes[prefix][n ? n - 1 : 0] == 0x48 ? 8 : 4;
	uint64_t rsp = in->operand == 'm' ? (uint64_t)(stack + 2048) : target;
	uint64_t rdi = in->operand == 'm' ? target : (uint64_t)far_pointer;

	memcpy(code, prefixes[prefix], n);
	memcpy(code + n, in->code, in->length);
	memcpy(code + n + in->length, "\x0f\x0b\x0f\x0b\x0f\x0b", 6);
	memset(far_pointer, 0, sizeof(far_pointer));
	far_pointer[0] = (uint64_t)code + n + in->length;
	memcpy((char *)far_pointer + offset, &selector, 2);
	nr_variants++;
	if (!sigsetjmp(back, 1))
		run(rsp, rdi);
	if (seen_rip != (uint64_t)code)
		failed(in, prefix, target, "is carried out");
	else if (seen_trap == 14 && (seen_err & ~0x17ull))
		failed(in, prefix, target, "error code");
	else if (seen_trap != 14 && in->operand == 's' && seen_err)
		failed(in, prefix, target, "the error code tells bytes");
	if (seen_rcx != RCX_VALUE || seen_r11 != R11_VALUE)
		failed(in, prefix, target, "rcx or r11 is lost");
}

int main(void)
{
	static uint8_t alternate[65536];
	const stack_t ss = { .ss_sp = alternate, .ss_size = sizeof(alternate) };
	const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE };
	struct sigaction act = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	code = mmap((void *)0x10000, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT,
		    -1, 0);
	sigaltstack(&ss, NULL);
	for (unsigned i = 0; i < 5; i++)
		sigaction(signals[i], &act, NULL);
	for (unsigned i = 0; i < sizeof(instructions) / sizeof(instructions[0]); i++)
		for (unsigned p = 0; p < sizeof(prefixes) / sizeof(prefixes[0]); p++)
			for (unsigned t = 0; t < sizeof(targets) / sizeof(targets[0]); t++)
				for (unsigned s = 0; s < (instructions[i].operand == 'f' ? 7 : 1); s++)
					try_variant(&instructions[i], p, targets[t], selectors[s]);
	printf("%u variants, %u failures\n", nr_variants, nr_failures);
	return nr_failures != 0;
}
