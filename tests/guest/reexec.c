/* SPDX-License-Identifier: MIT */
/*
 * tests/guest/reexec.c - a program that becomes itself again: the old image's mappings end there.
 *
 * Process 1 forks 2 and vforks 3, which run the image "child", and then becomes the image "second".
 */
#include "guest.h"

__attribute__((aligned(4096))) static char bss_pages[16 * PAGE];

static void run_image(char *path, const char *image, const char *pid, char **envp)
{
	const char *argv[4] = { path, image, pid, 0 };

	SYS(NR_execve, path, argv, envp);
}

/* The address that the old image used too, with other lengths and other pages. */
static void child_image(int pid)
{
	char *m = map_private(SLOT(0), 8);

	check(look(m, "1+2") == 0, "nothing of the old image");
	store(m, "0+1,7+1");
	sleep_ms(3);
	store(m, "0+1");
	expect(pid, m, "rw-p", "0+1,7+1");
	store(bss_pages, "2+1");
	window(pid, "-", bss_pages, 16, "2+1");
	leave(pid);
}

static void second_image(void)
{
	char *m = map_private(SLOT(0), 4);

	check(look(m, "1+2") == 0, "nothing of the old image");
	store(m, "3+1");
	sleep_ms(3);
	look(m, "0+4");
	expect(1, m, "rw-p", "3+1");
	check(look(bss_pages, "5+1") == 0, "a fresh .bss");
	store(bss_pages, "8+1"); /* beside the 5+1 that the first image expects */
	window(1, "-", bss_pages, 16, "8+1");
	put("DONE\n");
	leave(0);
}

static void fork_and_exec(char *path, char *m, char *n, char **envp)
{
	long pid;
	int status;

	flush_text();
	pid = SYS(NR_fork, 0);
	if (pid == 0) {
		store(m, "5+1");
		store(bss_pages, "11+1");
		window(2, "-", bss_pages, 16, "11+1");
		expect(2, m, "rw-p", "5+1");
		expect(2, n, "rw-s", "-");
		flush_text();
		run_image(path, "child", "2", envp);
		check(0, "execve");
	}
	wait_for(pid, &status);
	check(status == 2 << 8, "process 2 ended with 2");
}

/* The child of vfork(2) has no memory of its own until execve: it need not list any. */
static void vfork_and_exec(char *path, char *m, char *n, char **envp)
{
	const char *argv[4] = { path, "child", "3", 0 };
	long pid;
	int status;

	flush_text();
	pid = SYS(NR_vfork, 0);
	if (pid == 0) {
		SYS(NR_execve, path, argv, envp);
		SYS(NR_exit, 1);
	}
	maybe(3, m, "rw-p", "-");
	maybe(3, n, "rw-s", "-");
	wait_for(pid, &status);
	check(status == 3 << 8, "process 3 ended with 3");
}

int guest_main(int argc, char **argv, char **envp)
{
	char *m, *n;

	if (argc == 3 && argv[1][0] == 'c')
		child_image(argv[2][0] - '0');
	if (argc == 3)
		second_image();

	m = map_private(SLOT(0), 16);
	n = map_shared(SLOT(1), 4);
	store(m, "1+2");
	store(n, "3+1");
	store(bss_pages, "5+1");
	fork_and_exec(argv[0], m, n, envp);
	vfork_and_exec(argv[0], m, n, envp);

	run_image("/no/such/program", "none", "0", envp); /* fails and changes nothing */
	check(look(m, "1+1") != 0, "content after a failed execve");
	store(m, "9+1");
	expect(1, m, "rw-p", "1+2,9+1");
	expect(1, n, "rw-s", "3+1");
	window(1, "-", bss_pages, 16, "5+1");
	flush_text();
	run_image(argv[0], "second", "1", envp);
	check(0, "execve");
	return 0;
}
