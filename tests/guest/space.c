/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/space.c FILE - an address space with one of each kind of entry, for `vellum run --inspect`.
 *
 * Process 1 calls getpid(2) before its first store and after its last; then it forks process 2, which
 * stores to one page of what it got and ends, and sends itself SIGUSR1. tests/cli/inspect.sh says what has
 * to be seen.
 */
#include "guest.h"

#define MADV_HUGEPAGE	   14
#define MADV_GUARD_INSTALL 102
#define SA_RESTORER	   0x04000000ul

struct sigaction {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};

void restorer(void);
__asm__("restorer:\n"
	"	mov $15, %eax\n"
	"	syscall\n");

static void handler(int signo)
{
	(void)signo;
}

static void advise(char *m, unsigned long nr_pages, int advice)
{
	check(SYS(NR_madvise, m, nr_pages * PAGE, advice) == 0, "madvise");
}

static void make_space(const char *path)
{
	char *plain = map_private(SLOT(0), 16), *closed = map_private(SLOT(1), 4);
	char *guarded = map_private(SLOT(2), 8), *shared = map_shared(SLOT(4), 4);
	char *huge = map_private(SLOT(5), 1024), *file;
	int fd = (int)SYS(NR_open, path, 0, 0);

	file = map_at(SLOT(3), 2, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd);
	SYS(NR_getpid, 0);
	store(plain, "0+3,8+1");
	look(plain, "4+2");
	store(closed, "0+4");
	check(SYS(NR_mprotect, closed, 2 * PAGE, 0) == 0, "mprotect");
	store(guarded, "0+8");
	advise(guarded + 2 * PAGE, 2, MADV_GUARD_INSTALL);
	look(file, "0+2");
	store(file, "0+1");
	store(shared, "1+1");
	advise(huge, 1024, MADV_HUGEPAGE);
	store(huge, "600+1");
	SYS(NR_getpid, 0);
}

int guest_main(int argc, char **argv, char **envp)
{
	struct sigaction act = { handler, SA_RESTORER, restorer, 0 };
	long child;

	(void)envp;
	check(argc == 2, "needs a file");
	make_space(argv[1]);
	child = SYS(NR_fork, 0);
	check(child >= 0, "fork");
	if (child == 0) {
		store(SLOT(0), "1+1");
		leave(0);
	}
	wait_for(child, (int *)0);
	check(SYS(NR_rt_sigaction, SIGUSR1, &act, 0, 8) == 0, "rt_sigaction");
	check(SYS(NR_kill, 1, SIGUSR1) == 0, "kill");
	put("DONE\n");
	return 0;
}
