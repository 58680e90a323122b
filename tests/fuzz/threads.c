/* SPDX-License-Identifier: MIT */
/*
 * tests/fuzz/threads.c - threads of one process that harm each other: they unmap, protect, move and drop the memory that
 * others use, send each other signals, wait and wake by futexes, end, fork, and call execve(2) and exit_group(2) while
 * others are in the middle of something. See fuzz.h for the arguments; run.sh starts it.
 *
 * A process ends in many of these ways before its share is done. Another one continues.
 */
#include "fuzz.h"

#define WINDOW	    ((u8 *)0x2000000000ul)
#define WINDOW_PAGES 64
#define STACK	    32768
#define MAX_THREADS 6
#define SLOTS	    16		/* stacks: of threads that run, and of those that have just ended */

enum {
	NR_sched_yield = 24,
	NR_clone = 56,
	NR_futex = 202,
	NR_sched_setaffinity = 203,
	NR_set_tid_address = 218,
	NR_exit_group = 231,
	NR_tgkill = 234,
	NR_waitid = 247,
	NR_set_robust_list = 273,
	NR_membarrier = 324,
	NR_rt_sigpending = 127,
	NR_rt_sigtimedwait = 128,
};

#define CLONE_OF_THREADS 0x3d0f00ul	/* as pthread_create(3) calls it */

enum { THREADS = 1, FORKS, EXECS };	/* of fuzz_counts->extra */

static volatile u64 *left;		/* shared by the processes of a group: cases that are to be run */
static volatile int thread_ids[SLOTS];	/* set by clone(2), cleared by the end of the thread; 0: a free stack */
static u8 stacks[SLOTS][STACK] __attribute__((aligned(16)));
static int pipe_fds[2];
static char **saved_envp;

static u8 *any_address(void)
{
	return WINDOW + below(WINDOW_PAGES) * PAGE + (chance(4) ? below(PAGE / 8) * 8 : 0);
}

static u64 any_length(void)
{
	return (1 + below(chance(4) ? WINDOW_PAGES : 4)) * PAGE;
}

static int any_thread(void)
{
	int id = thread_ids[below(SLOTS)];

	return id ? id : (int)SYS(NR_getpid, 0);
}

/* An access failed: another thread has unmapped or protected the page. Map it, and execute the access again. */
static void on_fault(int signo, void *info, void *context)
{
	u64 addr = ((u64 *)info)[2];

	(void)signo, (void)context;
	if (addr - (u64)WINDOW >= WINDOW_PAGES * PAGE)
		SYS(NR_exit, 0);
	SYS(NR_mmap, addr & ~(PAGE - 1), PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_FIXED, -1, 0);
}

static void ignore(int signo, void *info, void *context)
{
	(void)signo, (void)info, (void)context;
}

/* --- operations --- */

static void access_memory(void)
{
	for (u64 n = 1 + below(16); n; n--) {
		volatile u64 *p = (void *)((u64)any_address() & ~7ul);

		if (chance(3))
			(void)*p;
		else if (chance(2))
			__atomic_fetch_add(p, n, __ATOMIC_SEQ_CST);
		else
			*p = n;
	}
}

static void change_memory(void)
{
	static const u64 advice[] = { MADV_DONTNEED, 8, 9, 14, 15, 18, 19, 20, 21, 22, 23, 102, 103 };
	u8 *at = (u8 *)((u64)any_address() & ~(PAGE - 1));
	u64 len = any_length();

	if ((u64)(at - WINDOW) + len > WINDOW_PAGES * PAGE)
		len = PAGE;
	switch (below(7)) {
	case 0: SYS(NR_munmap, at, len); break;
	case 1: SYS(NR_mprotect, at, len, below(8)); break;
	case 2: SYS(NR_mremap, at, len, any_length(), below(8), WINDOW + below(WINDOW_PAGES) * PAGE); break;
	case 3: SYS(NR_madvise, at, len, PICK(advice)); break;
	case 4: SYS(NR_brk, chance(2) ? 0 : SYS(NR_brk, 0) + below(8) * PAGE); break;
	default:
		SYS(NR_mmap, at, len, below(4), (chance(4) ? MAP_SHARED : MAP_PRIVATE) | MAP_ANON | MAP_FIXED, -1, 0);
	}
}

static void use_futex(void)
{
	struct timespec soon = { 0, (long)below(2000000) };
	u32 *word = (u32 *)((u64)any_address() & ~3ul), *other = (u32 *)((u64)any_address() & ~3ul);
	u64 private = chance(2) ? 128 : 0;

	switch (below(6)) {
	case 0:
	case 1: SYS(NR_futex, word, 0 | private, chance(2) ? 0 : *(volatile u32 *)word, &soon); break;
	case 2: SYS(NR_futex, word, 1 | private, below(4)); break;
	case 3: SYS(NR_futex, word, (3 + below(3)) | private, below(3), below(3), other, random64()); break;
	case 4: SYS(NR_futex, word, 9 | private, 0, &soon, 0, random64()); break;
	default: SYS(NR_futex, word, below(16) | private, below(4), &soon, other, below(4));
	}
}

static void send_signal(void)
{
	static const u64 signals[] = { 10, 12, 14, 17, 18, 34, 40, 64, 0, 16 };
	struct timespec soon = { 0, (long)below(1000000) };
	u64 set = random64();

	switch (below(6)) {
	case 0:
	case 1: SYS(NR_tgkill, SYS(NR_getpid, 0), any_thread(), PICK(signals)); break;
	case 2: SYS(NR_kill, SYS(NR_getpid, 0), PICK(signals)); break;
	case 3: SYS(NR_rt_sigprocmask, below(3), &set, 0, 8); break;
	case 4: SYS(NR_rt_sigtimedwait, &set, 0, &soon, 8); break;
	default: on_signal((int)PICK(signals), ignore, chance(2) ? FUZZ_SA_NODEFER : 0x10000000);
	}
}

static void use_pipe(void)
{
	if (chance(2))
		SYS(NR_write, pipe_fds[1], any_address(), 1 + below(3000));
	else
		SYS(NR_read, pipe_fds[0], any_address(), 1 + below(3000));
}

static void change_thread(void)
{
	u64 cpus = random64() & 3;

	switch (below(7)) {
	case 0: SYS(NR_set_robust_list, any_address(), 24); break;
	case 1: SYS(NR_set_tid_address, chance(2) ? (u8 *)thread_ids + 4 * below(SLOTS) : any_address()); break;
	case 2: SYS(NR_sched_setaffinity, chance(2) ? 0 : any_thread(), 8, &cpus); break;
	case 3: SYS(NR_membarrier, below(8) ? 8 : 16, 0); break;
	case 4: SYS(NR_sched_yield, 0); break;
	case 5: SYS(NR_waitid, 0, 0, any_address(), 5, 0); break;
	default: SYS(NR_rt_sigpending, any_address(), 8);
	}
}

static void fork_child(void)
{
	long pid = SYS(NR_fork, 0);

	if (pid == 0) {
		for (int i = 0; i < 5; i++) {
			access_memory();
			change_memory();
		}
		SYS(NR_exit_group, 0);
	}
	__atomic_fetch_add(&fuzz_counts->extra[FORKS], pid > 0, __ATOMIC_RELAXED);
	while (SYS(NR_wait4, -1, 0, 1, 0) > 0)
		;
}

static void start_thread(void);

/* An exec ends all threads. The program continues the group. */
static void exec(void)
{
	char *argv[] = { (char *)"threads", (char *)"again", 0 };

	__atomic_fetch_add(&fuzz_counts->extra[EXECS], 1, __ATOMIC_RELAXED);
	SYS(NR_execve, "/proc/self/exe", argv, saved_envp);
}

static void one_case(void)
{
	__atomic_fetch_add(&fuzz_counts->cases, 1, __ATOMIC_RELAXED);
	switch (below(40)) {
	case 0 ... 11: access_memory(); break;
	case 12 ... 19: change_memory(); break;
	case 20 ... 25: use_futex(); break;
	case 26 ... 29: send_signal(); break;
	case 30 ... 32: use_pipe(); break;
	case 33 ... 35: change_thread(); break;
	case 36: fork_child(); break;
	case 37: start_thread(); break;
	case 38:
		if (chance(8))
			SYS(NR_exit, 0);
		break;
	default:
		if (chance(60))
			exec();
		if (chance(60))
			SYS(NR_exit_group, 0);
	}
}

static void run_until_done(void)
{
	while ((long)__atomic_sub_fetch(left, 1, __ATOMIC_RELAXED) > 0)
		one_case();
	SYS(NR_exit_group, 0);
}

/* In the new thread, with an empty stack. */
__attribute__((used)) static void thread_main(void)
{
	run_until_done();
}

static void start_thread(void)
{
	u64 slot = below(SLOTS), flags = CLONE_OF_THREADS;
	u8 *top = stacks[slot] + STACK;
	register volatile int *child_tid __asm__("r10") = &thread_ids[slot];
	register u64 tls __asm__("r8") = 0;
	int running = 0, free_slot = 0;
	long id;

	for (int i = 0; i < SLOTS; i++)
		running += thread_ids[i] != 0;
	if (running >= MAX_THREADS || !__atomic_compare_exchange_n(&thread_ids[slot], &free_slot, -1, 0, __ATOMIC_SEQ_CST,
								     __ATOMIC_SEQ_CST))
		return;
	__atomic_fetch_add(&fuzz_counts->extra[THREADS], 1, __ATOMIC_RELAXED);
	__asm__ volatile("syscall\n"
			 "	test %%rax, %%rax\n"
			 "	jnz 1f\n"
			 "	xor %%ebp, %%ebp\n"
			 "	call thread_main\n"
			 "	hlt\n"
			 "1:"
			 : "=a"(id)
			 : "a"((long)NR_clone), "D"(flags), "S"(top), "d"(&thread_ids[slot]), "r"(child_tid), "r"(tls)
			 : "rcx", "r11", "memory");
	if (id < 0)
		thread_ids[slot] = 0;
}

/* A process of the group: it may end in any way. */
static void run_process(void)
{
	on_signal(SIG_SEGV, on_fault, FUZZ_SA_NODEFER);
	on_signal(SIG_BUS, on_fault, FUZZ_SA_NODEFER);
	SYS(NR_mmap, WINDOW, WINDOW_PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON | MAP_FIXED, -1, 0);
	SYS(NR_pipe2, pipe_fds, O_NONBLOCK);
	for (int i = 0; i < 3; i++)
		start_thread();
	run_until_done();
}

static void run_cases(u64 cases)
{
	u64 seed = random64();

	left = (void *)map_shared((char *)WINDOW - 16 * PAGE, 1);
	*left = cases;
	for (u64 i = 0; (long)*left > 0; i++) {
		long pid = SYS(NR_fork, 0);

		if (pid == 0) {
			random_state = seed + i * 0x9e3779b97f4a7c15ul;
			run_process();
		}
		if (pid < 0 || SYS(NR_wait4, pid, 0, 0x40000000, 0) < 0)
			return;
	}
}

int guest_main(int argc, char **argv, char **envp)
{
	static const char *const counted[] = { "threads", "forks", "execs", 0 };

	saved_envp = envp;
	if (argc > 1 && argv[1][0] == 'a')
		leave(0);
	fuzz_limit_ms = 60000;
	return fuzz_main(argc, argv, counted, run_cases);
}
