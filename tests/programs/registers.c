/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/registers.c MILLISECONDS - faults and interrupts, at any instruction, change no register.
 * Prints "kept" or the registers that changed.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define NR_REGS 15	/* rax rbx rcx rdx rsi rdi rbp r8..r15, except the one that addresses memory: r15 */
#define ROUNDS	2000

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/*
 * Load 14 registers and the flags from @in, store to @page again and again (each may fault or be interrupted), save
 * them to @out. The loop counts in memory, so that no register and no flag changes.
 */
extern void exercise(const uint64_t *in, uint64_t *out, void *page);
__asm__(".text\n"
    "exercise:\n"
    "	pushq %rbx; pushq %rbp; pushq %r12; pushq %r13; pushq %r14; pushq %r15\n"
    "	pushq %rsi\n"
    "	movq %rdx, %r15\n"
    "	pushq 112(%rdi)\n"
    "	movq 0(%rdi), %rax; movq 8(%rdi), %rbx; movq 16(%rdi), %rcx; movq 24(%rdi), %rdx\n"
    "	movq 32(%rdi), %rsi; movq 48(%rdi), %rbp; movq 56(%rdi), %r8; movq 64(%rdi), %r9\n"
    "	movq 72(%rdi), %r10; movq 80(%rdi), %r11; movq 88(%rdi), %r12; movq 96(%rdi), %r13\n"
    "	movq 104(%rdi), %r14; movq 40(%rdi), %rdi\n"
    "	popfq\n"
    "	.rept 500\n"
    "	movq %rcx, (%r15)\n"
    "	movq %r11, 4096(%r15)\n"
    "	.endr\n"
    "	pushfq\n"
    "	pushq %rdi\n"
    "	movq 16(%rsp), %rdi\n"
    "	movq %rax, 0(%rdi); movq %rbx, 8(%rdi); movq %rcx, 16(%rdi); movq %rdx, 24(%rdi)\n"
    "	movq %rsi, 32(%rdi); movq %rbp, 48(%rdi); movq %r8, 56(%rdi); movq %r9, 64(%rdi)\n"
    "	movq %r10, 72(%rdi); movq %r11, 80(%rdi); movq %r12, 88(%rdi); movq %r13, 96(%rdi)\n"
    "	movq %r14, 104(%rdi)\n"
    "	popq 40(%rdi)\n"
    "	popq 112(%rdi)\n"
    "	popq %rsi\n"
    "	popq %r15; popq %r14; popq %r13; popq %r12; popq %rbp; popq %rbx\n"
    "	cld\n"
    "	ret\n");

int main(int argc, char **argv)
{
	char *pages = mmap(NULL, 2 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t until = now_ms() + (argc > 1 ? strtoul(argv[1], NULL, 10) : 1000), in[NR_REGS], out[NR_REGS];
	uint64_t random = 88172645463325252ull, rounds = 0;

	do {
		char *page = pages + rounds % 500 * 4096;

		for (unsigned i = 0; i < NR_REGS; i++) {
			random ^= random << 13;
			random ^= random >> 7;
			random ^= random << 17;
			in[i] = random;
		}
		in[14] = (random & 0x8d5) | 0x202;	/* arithmetic flags */
		if (rounds % 50 == 0)
			madvise(page, 8192, MADV_DONTNEED);
		exercise(in, out, page);
		for (unsigned i = 0; i < NR_REGS; i++)
			if (in[i] != out[i]) {
				printf("register %u: %lx became %lx in round %lu\n", i, in[i], out[i], rounds);
				return 1;
			}
		rounds++;
	} while (rounds < ROUNDS || now_ms() < until);
	puts("kept");
	return 0;
}
