/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/start.c [ARGUMENT...] - prints what a program has at its first instruction: registers, stack, auxiliary
 * vector. Prints no address, so the output is the same natively and under `vellum run`.
 *
 * The Makefile makes start_here the entry point.
 */
#define _DEFAULT_SOURCE
#include <cpuid.h>
#include <elf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { RAX, RBX, RCX, RDX, RSI, RDI, RBP, R8, R9, R10, R11, R12, R13, R14, R15, NR_REGS };

uint64_t start_regs[NR_REGS], start_sp, start_flags, start_segments[6], start_fs_base = 1, start_gs_base = 1;
uint32_t start_mxcsr;
uint16_t start_fcw;
void start_here(void);
__asm__(".text\n"
	".globl start_here\n"
	"start_here:\n"
	"	movq %rax, start_regs(%rip); movq %rbx, start_regs+8(%rip); movq %rcx, start_regs+16(%rip)\n"
	"	movq %rdx, start_regs+24(%rip); movq %rsi, start_regs+32(%rip); movq %rdi, start_regs+40(%rip)\n"
	"	movq %rbp, start_regs+48(%rip); movq %r8, start_regs+56(%rip); movq %r9, start_regs+64(%rip)\n"
	"	movq %r10, start_regs+72(%rip); movq %r11, start_regs+80(%rip); movq %r12, start_regs+88(%rip)\n"
	"	movq %r13, start_regs+96(%rip); movq %r14, start_regs+104(%rip); movq %r15, start_regs+112(%rip)\n"
	"	movq %rsp, start_sp(%rip)\n"
	"	pushfq; popq start_flags(%rip)\n"
	"	movw %cs, start_segments(%rip); movw %ss, start_segments+8(%rip); movw %ds, start_segments+16(%rip)\n"
	"	movw %es, start_segments+24(%rip); movw %fs, start_segments+32(%rip); movw %gs, start_segments+40(%rip)\n"
	"	stmxcsr start_mxcsr(%rip); fnstcw start_fcw(%rip)\n"
	"	movl $158, %eax; movl $0x1003, %edi; leaq start_fs_base(%rip), %rsi; syscall\n"	/* arch_prctl: ARCH_GET_FS */
	"	movl $158, %eax; movl $0x1004, %edi; leaq start_gs_base(%rip), %rsi; syscall\n"
	"	movq start_regs+24(%rip), %rdx\n"
	"	jmp _start\n");

static void print_registers(void)
{
	static const char names[NR_REGS][4] = { "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "r8", "r9", "r10", "r11",
						"r12", "r13", "r14", "r15" };
	static const char segments[6][3] = { "cs", "ss", "ds", "es", "fs", "gs" };

	for (int i = 0; i < NR_REGS; i++)
		printf("%s %lx\n", names[i], start_regs[i]);
	for (int i = 0; i < 6; i++)
		printf("%s %lx\n", segments[i], start_segments[i]);
	printf("flags %lx, mxcsr %x, fcw %x, fs base %lx, gs base %lx\n", start_flags, start_mxcsr, start_fcw, start_fs_base,
	       start_gs_base);
	printf("rsp modulo 16: %lu\n", start_sp % 16);
}

/* The features that AT_HWCAP has for every program; Linux removes others that it does not use. */
static uint32_t hwcap_difference(uint64_t hwcap)
{
	const uint32_t known = bit_CMPXCHG8B | bit_CMOV | bit_MMX | bit_FXSAVE | bit_SSE | bit_SSE2 | 0x11; /* FPU, TSC */
	uint32_t a, b, c, d;

	__cpuid(1, a, b, c, d);
	return (d ^ (uint32_t)hwcap) & known;
}

static void print_entry(const Elf64_auxv_t *a)
{
	extern const Elf64_Ehdr __ehdr_start;
	const uint64_t v = a->a_un.a_val;

	switch (a->a_type) {
	case AT_PHDR: printf(": %lx behind the header", v - (uint64_t)&__ehdr_start); break;
	case AT_ENTRY: printf(": %lx behind the entry", v - (uint64_t)start_here); break;
	case AT_UID: printf(": %d", v == getuid()); break;
	case AT_EUID: printf(": %d", v == geteuid()); break;
	case AT_GID: printf(": %d", v == getgid()); break;
	case AT_EGID: printf(": %d", v == getegid()); break;
	case AT_HWCAP: printf(": %x differ from CPUID", hwcap_difference(v)); break;
	case AT_EXECFN: case AT_PLATFORM: printf(": %s", (const char *)v); break;
	case AT_SYSINFO_EHDR: printf(": %.3s", (const char *)v + 1); break;
	case AT_RANDOM: case AT_HWCAP2: case 51 /* AT_MINSIGSTKSZ */: break;
	default: printf(": %lu", v);
	}
}

/* Vellum has no rseq(2). */
static int is_rseq(uint64_t type)
{
	return type == 27 /* AT_RSEQ_FEATURE_SIZE */ || type == 28 /* AT_RSEQ_ALIGN */;
}

static const Elf64_auxv_t *print_auxv(const Elf64_auxv_t *a, const char *value[64])
{
	for (;; a++) {
		if (a->a_type < 64)
			value[a->a_type] = (const char *)a->a_un.a_val;
		if (!is_rseq(a->a_type)) {
			printf("auxv %lu", a->a_type);
			print_entry(a);
			puts("");
		}
		if (a->a_type == AT_NULL)
			return a + 1;
	}
}

/* Print each string, and how far from the end of the one before it. */
static const char *print_strings(const char *what, char **strings, const char *last_end)
{
	for (int i = 0; strings[i]; i++) {
		printf("%s %d", what, i);
		if (last_end)
			printf(" at +%ld", (long)(strings[i] - last_end));
		printf(": %s\n", strings[i]);
		last_end = strings[i] + strlen(strings[i]) + 1;
	}
	return last_end;
}

int main(int argc, char **argv)
{
	char **words = (char **)start_sp, **env = words + argc + 2, **env_end = env;
	const char *value[64] = { 0 }, *end;
	const Elf64_auxv_t *auxv_end;

	print_registers();
	printf("argc %ld, argv at +%ld, NULL behind it: %d\n", (long)words[0], (long)(argv - words), !env[-1]);
	while (*env_end)
		env_end++;
	auxv_end = print_auxv((const Elf64_auxv_t *)(env_end + 1), value);
	end = print_strings("argument", argv, NULL);
	end = print_strings("environment", env, end);
	printf("path at +%ld\n", (long)(value[AT_EXECFN] - end));
	end = value[AT_EXECFN] + strlen(value[AT_EXECFN]) + 1;
	printf("the end of the path is %lu bytes below the end of the page\n", -(uint64_t)end & 4095);
	/* Between the arguments and the platform, Linux leaves a random number of bytes. */
	printf("platform: below the arguments %d, its end modulo 16: %lu, behind the random bytes at +%ld\n",
	       value[AT_PLATFORM] < argv[0], ((uint64_t)value[AT_PLATFORM] + 7) % 16,
	       (long)(value[AT_PLATFORM] - value[AT_RANDOM]));
	printf("random bytes: next to the auxiliary vector %d\n", (uint64_t)value[AT_RANDOM] - (uint64_t)auxv_end < 32);
	return 0;
}
