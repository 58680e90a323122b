/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/threads.c - threads of one process: each stores to pages of its own and to some of a common mapping, while
 * others map, unmap, protect, drop and fork. What each stored must be reported exactly.
 */
#include "guest.h"

#define NR_THREADS 4
#define STACK	   16384
#define ROUNDS	   12
#define NR_CHILDREN 3

enum { NR_clone = 56, NR_futex = 202, FUTEX_WAIT = 0, FUTEX_WAKE = 1 };

#define CLONE_FLAGS 0x3d0f00ul	/* as pthread_create(3) calls it */

static char *own[NR_THREADS], *common, *scratch, *child_mem;
static struct stack {
	char bytes[STACK];
} stacks[NR_THREADS] __attribute__((aligned(16)));
static volatile int ids[NR_THREADS];	/* cleared by the end of the thread */
static volatile int go;

static const char *const own_ranges[NR_THREADS] = { "0+3,9+1,31+1", "1+1,5+5,20+2", "0+32", "7+1" };
static const char *const common_ranges[NR_THREADS] = { "0+2,16+1", "4+1,17+1", "8+3", "12+1,30+2" };

static void churn(unsigned long round)
{
	char *m = scratch + (round % 4) * 16 * PAGE;

	map_private(m, 16);
	store(m, "0+8");
	check(SYS(NR_mprotect, m, 4 * PAGE, PROT_READ) == 0, "mprotect");
	look(m, "0+16");
	drop(m, 6, 4);
	unmap(m, 16);
}

static void fork_child(void)
{
	int status = 0;
	long pid = SYS(NR_fork, 0);

	check(pid >= 0, "fork");
	if (pid == 0) {
		store(child_mem, "1+2");
		look(own[0], "0+32");
		SYS(NR_exit, 0);
	}
	wait_for(pid, &status);
}

static void run(unsigned long nr)
{
	while (!go)
		SYS(NR_futex, &go, FUTEX_WAIT, 0, 0);
	for (unsigned long round = 0; round < ROUNDS; round++) {
		store(own[nr], own_ranges[nr]);
		store(common, common_ranges[nr]);
		look(common, "0+32");
		if (nr == 1)
			churn(round);
		if (nr == 2 && round % (ROUNDS / NR_CHILDREN) == 0)
			fork_child();
		if (nr == 3)
			sleep_ms(2);
		burn(20000 * (nr + 1));
	}
}

__attribute__((used)) static void thread_main(unsigned long nr)
{
	run(nr);
	SYS(NR_exit, 0);
}

static void start(unsigned long nr)
{
	register volatile int *child_tid __asm__("r10") = &ids[nr];
	register unsigned long tls __asm__("r8") = 0;
	long id;

	__asm__ volatile("syscall\n"
			 "	test %%rax, %%rax\n"
			 "	jnz 1f\n"
			 "	xor %%ebp, %%ebp\n"
			 "	mov %%rbx, %%rdi\n"
			 "	call thread_main\n"
			 "	hlt\n"
			 "1:"
			 : "=a"(id)
			 : "a"((long)NR_clone), "D"(CLONE_FLAGS), "S"(stacks[nr].bytes + STACK), "d"(&ids[nr]), "r"(child_tid),
			   "r"(tls), "b"(nr)
			 : "rcx", "r11", "memory");
	check(id > 0, "clone");
}

int guest_main(int argc, char **argv, char **envp)
{
	(void)argc, (void)argv, (void)envp;
	for (unsigned long i = 0; i < NR_THREADS; i++)
		own[i] = map_private(SLOT(i), 32);
	common = map_shared(SLOT(10), 32);
	child_mem = map_private(SLOT(11), 8);
	scratch = (char *)0x2000000000ul;	/* not compared: it is unmapped while children may have a copy */
	for (unsigned long i = 0; i < NR_THREADS; i++)
		start(i);
	go = 1;
	SYS(NR_futex, &go, FUTEX_WAKE, NR_THREADS);
	for (unsigned long i = 0; i < NR_THREADS; i++)
		for (int id; (id = ids[i]);)
			SYS(NR_futex, &ids[i], FUTEX_WAIT, id, 0);
	for (unsigned long i = 0; i < NR_THREADS; i++)
		expect(1, own[i], "rw-p", own_ranges[i]);
	expect(1, common, "rw-s", "0+2,4+1,8+3,12+1,16+2,30+2");
	expect(1, child_mem, "rw-p", "-");
	for (int pid = 2 + NR_THREADS; pid < 2 + NR_THREADS + NR_CHILDREN; pid++) {
		for (unsigned long i = 0; i < NR_THREADS; i++)
			expect(pid, own[i], "rw-p", "-");
		expect(pid, common, "rw-s", "-");
		expect(pid, child_mem, "rw-p", "1+2");
	}
	put("DONE\n");
	return 0;
}
