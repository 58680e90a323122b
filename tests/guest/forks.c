/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/forks.c - processes that share memory, copy it on write, and die.
 *
 * Five processes: 1 forks 2, 3 and 5 one after the other, 3 forks 4. Each counts from its fork.
 */
#include "guest.h"

static char *private_mem, *inherited, *only_read, *common, *moving, *inbox;

static long fork_now(void)
{
	long pid;

	flush_text(); /* or the child would say it again */
	pid = SYS(NR_fork, 0);
	check(pid >= 0, "fork");
	return pid;
}

/* What a child has unless it says otherwise. */
static void expect_untouched(int pid)
{
	expect(pid, inherited, "rw-p", "-");
	expect(pid, only_read, "rw-p", "-");
	expect(pid, moving, "rw-p", "-");
	expect(pid, inbox, "rw-p", "-");
}

/* Process 2 stores at the same time as its parent, to the same pages and to others. */
static void storing_child(void)
{
	char *own = map_private(SLOT(8), 4);

	look(inherited, "0+4");
	look(only_read, "0+4");
	look(common, "0+1");
	store(private_mem, "1+1");
	for (int round = 0; round < 5; round++) {
		store(private_mem, "1+2,5+1");
		store(common, "1+2,8+1");
		burn(100000);
		sleep_ms(3);
	}
	store(own, "3+1");
	expect(2, private_mem, "rw-p", "1+2,5+1");
	expect(2, common, "rw-s", "1+2,8+1");
	expect(2, own, "rw-p", "3+1");
	expect_untouched(2);
	leave(0);
}

static void storing_parent(void)
{
	unsigned char before = look(private_mem, "1+1");
	long pid = fork_now();
	int status;

	if (pid == 0)
		storing_child();
	for (int round = 0; round < 5; round++) {
		store(private_mem, "4+1");
		store(common, "2+2,8+1");
		burn(200000);
		sleep_ms(2);
	}
	wait_for(pid, &status);
	check(status == 0, "process 2 ended with 0");
	check(look(common, "1+1") != 0, "the child's store to shared memory is seen");
	check(look(private_mem, "1+1") == before && look(private_mem, "5+1") == 0,
	      "the child's store to private memory isn't seen");
}

/* Process 4, whose memory came through two forks. */
static void grandchild(void)
{
	sleep_ms(3);
	store(private_mem, "6+2");
	store(common, "12+1");
	look(SLOT(6), "0+2");
	expect(4, private_mem, "rw-p", "6+2");
	expect(4, common, "rw-s", "12+1");
	expect(4, only_read, "rw-p", "-");
	expect(4, SLOT(6), "rw-p", "-");
	expect(4, inbox, "rw-p", "-");
	leave(7);
}

/* Process 3 changes its memory without storing to it. */
static void remapping_child(void)
{
	char *to = SLOT(6);
	long pid;

	drop(private_mem, 0, 1);
	check(look(private_mem, "0+1") == 0, "content after MADV_DONTNEED");
	store(private_mem, "6+1");
	unmap(inherited, 4);
	check((char *)SYS(NR_mremap, moving, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to)
	      == to, "mremap moves");
	check(look(to, "1+1") != 0, "content after mremap");
	look(common, "0+16");
	expect(3, private_mem, "rw-p", "0+1,6+1");
	expect(3, inherited, "rw-p", "-");
	expect(3, only_read, "rw-p", "-");
	expect(3, common, "rw-s", "-");
	expect(3, to, "rw-p", "0+2");
	maybe(3, moving, "rw-p", "-");
	expect(3, inbox, "rw-p", "7+1");

	pid = fork_now();
	if (pid == 0)
		grandchild();
	wait_for(pid, (int *)(inbox + 7 * PAGE));
	check(*(int *)(inbox + 7 * PAGE) == 7 << 8, "process 4 ended with 7");
	leave(0);
}

/* Process 5 stores, says so, and runs until it is killed. */
static void doomed_child(int report)
{
	store(common, "4+1");
	store(private_mem, "9+1");
	sleep_ms(5); /* the parent is in read(2) */
	SYS(NR_write, report, "stored", 6);
	for (;;)
		burn(1000);
}

static void kill_child(void)
{
	int *status = (int *)(inbox + 5 * PAGE);
	int fds[2];
	long pid;

	check(SYS(NR_pipe2, fds, 0) == 0, "pipe2");
	pid = fork_now();
	if (pid == 0)
		doomed_child(fds[1]);
	check(SYS(NR_read, fds[0], inbox + 2 * PAGE, 2 * PAGE) == 6, "read from the child");
	sleep_ms(3);
	check(SYS(NR_kill, pid, SIGKILL) == 0, "kill");
	wait_for(pid, status);
	check(*status == SIGKILL, "process 5 was killed");
	expect(5, private_mem, "rw-p", "9+1");
	expect(5, common, "rw-s", "4+1");
	expect_untouched(5);
}

int guest_main(int argc, char **argv, char **envp)
{
	long pid;

	(void)argc;
	(void)argv;
	(void)envp;
	private_mem = map_private(SLOT(0), 16);
	inherited = map_private(SLOT(1), 4);
	only_read = map_private(SLOT(2), 4);
	common = map_shared(SLOT(3), 16);
	moving = map_private(SLOT(4), 4);
	inbox = map_private(SLOT(5), 8);
	store(private_mem, "0+2");
	store(inherited, "0+4");
	look(only_read, "0+2");
	store(common, "0+1");
	store(moving, "0+2");

	storing_parent();
	pid = fork_now();
	if (pid == 0)
		remapping_child();
	wait_for(pid, (int *)0);
	check(look(private_mem, "0+1") != 0, "the child's MADV_DONTNEED isn't seen");
	kill_child();
	store(private_mem, "0+1,10+1"); /* alone again: no copy to make */

	expect(1, private_mem, "rw-p", "0+2,4+1,10+1");
	expect(1, inherited, "rw-p", "0+4");
	expect(1, only_read, "rw-p", "-");
	expect(1, common, "rw-s", "0+1,2+2,8+1");
	expect(1, moving, "rw-p", "0+2");
	expect(1, inbox, "rw-p", "2+1,5+1");
	put("DONE\n");
	return 0;
}
