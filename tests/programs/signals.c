/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/signals.c - prints what handlers get: si_code, si_addr, the FPU state, the alternate stack. The output is
 * the same on the host's kernel.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <x86intrin.h>

#ifndef SS_AUTODISARM
#define SS_AUTODISARM (1U << 31)
#endif

static sigjmp_buf back;
static char alt[65536] __attribute__((aligned(64)));
static void *expected;

static void report(int signo, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	const void *relative = (void *)((char *)info->si_addr - (char *)expected);

	printf("  signal %d code %d address %s\n", signo, info->si_code,
	       !info->si_addr ? "0" : relative == NULL ? "expected" : (uintptr_t)relative < 16 ? "near" : "other");
	printf("  trap %lld error %lld\n", (long long)uc->uc_mcontext.gregs[REG_TRAPNO],
	       (long long)uc->uc_mcontext.gregs[REG_ERR]);
	siglongjmp(back, 1);
}

static void take(int signo, void (*handler)(int, siginfo_t *, void *), int flags)
{
	struct sigaction sa = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags };

	sigaction(signo, &sa, NULL);
}

/* --- faults --- */

static void divide(void)
{
	__asm__ volatile("xor %%edx, %%edx; xor %%ecx, %%ecx; mov $1, %%eax; 1: divl %%ecx" : : : "eax", "ecx", "edx");
}

static void breakpoint(void) { __asm__ volatile("int3"); }
static void undefined(void) { __asm__ volatile("ud2"); }
static void privileged(void) { __asm__ volatile("hlt"); }
/* Volatile, so that the compiler sees no bad address. */
static char *volatile target;

static void non_canonical(void)
{
	target = (char *)0x8000000000000000;
	*(volatile char *)target = 1;
}

static void kernel_address(void)
{
	expected = target = (char *)0xffffffff80000000;
	*(volatile char *)target = 1;
}

static void unmapped(void)
{
	expected = target = (char *)0x10;
	*(volatile char *)target = 1;
}

static void read_only(void)
{
	expected = target = mmap(0, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*(volatile char *)target = 1;
}

static void beyond_file(void)
{
	int fd = memfd_create("short", 0);

	expected = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 0);
	(void)*(volatile char *)expected;
}

static void single_step(void)
{
	__asm__ volatile("pushf; orl $0x100, (%%rsp); popf; nop" : : : "memory");
}

static void x87_divide(void)
{
	unsigned short unmasked = 0x37b;

	__asm__ volatile("fldcw %0; fld1; fldz; fdivrp; fwait" : : "m"(unmasked));
}

static void faults(void)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} all[] = {
		{ "divide", divide }, { "breakpoint", breakpoint }, { "undefined", undefined },
		{ "privileged", privileged }, { "non-canonical", non_canonical }, { "kernel", kernel_address },
		{ "unmapped", unmapped }, { "read-only", read_only }, { "beyond file", beyond_file },
		{ "single step", single_step }, { "x87 divide", x87_divide },
	};

	for (int signo = 1; signo < 32; signo++)
		if (signo == SIGSEGV || signo == SIGBUS || signo == SIGFPE || signo == SIGILL || signo == SIGTRAP)
			take(signo, report, 0);
	for (volatile size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		expected = (void *)1;
		printf("%s\n", all[i].name);
		if (!sigsetjmp(back, 1))
			all[i].run();
	}
	__asm__ volatile("fninit");
}

/* --- the FPU state --- */

static void show_fpu(int signo)
{
	unsigned short cw;

	(void)signo;
	__asm__ volatile("fnstcw %0" : "=m"(cw));
	printf("  in the handler: cw %#x mxcsr %#x\n", cw, _mm_getcsr());
	_mm_setcsr(0x1f80 | 0x6000);
}

static void fpu(void)
{
	unsigned short cw = 0x27f;

	_mm_setcsr(0x1f80 | 0x2000);
	__asm__ volatile("fldcw %0" : : "m"(cw));
	signal(SIGUSR1, show_fpu);
	raise(SIGUSR1);
	__asm__ volatile("fnstcw %0" : "=m"(cw));
	printf("  afterwards: cw %#x mxcsr %#x\n", cw, _mm_getcsr());
	_mm_setcsr(0x1f80);
}

/* --- the alternate stack --- */

static void show_stack(int signo, siginfo_t *info, void *context)
{
	const ucontext_t *uc = context;
	stack_t ss, small = { .ss_sp = alt, .ss_size = 100 };
	char here;

	(void)info;
	sigaltstack(NULL, &ss);
	printf("  %d: on it %d flags %#x saved %#x size %zu\n", signo, &here >= alt && &here < alt + sizeof(alt), ss.ss_flags,
	       uc->uc_stack.ss_flags, uc->uc_stack.ss_size);
	printf("  change: %d", sigaltstack(&small, NULL));
	printf(" %s\n", strerror(errno));
}

static void alternate(int flags)
{
	stack_t ss = { .ss_sp = alt, .ss_size = sizeof(alt), .ss_flags = flags }, old;

	printf("set %d\n", sigaltstack(&ss, NULL));
	take(SIGUSR1, show_stack, SA_ONSTACK);
	raise(SIGUSR1);
	sigaltstack(NULL, &old);
	printf("  afterwards: flags %#x size %zu\n", old.ss_flags, old.ss_size);
}

static void on_overflow(int signo)
{
	static const char text[] = "  SIGSEGV on the alternate stack\n";

	(void)signo;
	write(1, text, sizeof(text) - 1);
	_exit(7);
}

/* A child whose stack pointer is bad: no frame can be pushed. */
static void bad_stack(int with_handler)
{
	int status;

	fflush(stdout);
	if (fork() == 0) {
		struct sigaction sa = { .sa_handler = on_overflow, .sa_flags = with_handler ? SA_ONSTACK : 0 };
		stack_t ss = { .ss_sp = alt, .ss_size = sizeof(alt) };

		sigaltstack(&ss, NULL);
		sigaction(SIGSEGV, &sa, NULL);
		signal(SIGUSR1, on_overflow);
		raise(0);
		__asm__ volatile("mov %0, %%rsp; mov %1, %%eax; mov %2, %%edi; mov %3, %%esi; syscall"
				 : : "i"(0x1000), "i"(62), "r"(getpid()), "i"(SIGUSR1) : "eax", "edi", "esi", "memory");
	}
	wait(&status);
	printf("  status %#x\n", status);
}

static void vsyscalls(void)
{
	time_t (*old_time)(time_t *) = (time_t (*)(time_t *))0xffffffffff600400;
	time_t now = time(NULL);

	fflush(stdout);
	if (sigsetjmp(back, 1))
		return;
	printf("  time: %d\n", old_time(NULL) - now < 3);
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IONBF, 0);
	faults();
	printf("FPU\n");
	fpu();
	alternate(0);
	alternate((int)SS_AUTODISARM);
	alternate(SS_DISABLE);
	alternate(5);
	printf("bad stack, handler\n");
	bad_stack(1);
	printf("bad stack, no alternate stack\n");
	bad_stack(0);
	if (argc > 1 && !strcmp(argv[1], "vsyscall"))
		vsyscalls();
	return 0;
}
