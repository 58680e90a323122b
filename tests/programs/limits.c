/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/limits.c - programs that use as many resources as possible, and programs that ignore signals.
 *
 * Hostile: some modes fork without end or signal all processes. They run only as process 1, so only under Vellum.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static int start(void)
{
	int pid = fork();

	if (pid < 0)
		die("fork");
	return pid;
}

/* --- descriptors of the host --- */

__attribute__((noreturn)) static int use_up(int fd)
{
	while (open("/dev/null", O_RDONLY) >= 0)
		;
	if (write(fd, "x", 1) != 1)
		_exit(1);
	for (;;)
		pause();
}

/* All descriptors are open; a process exits; a page that was stored to before is in the file afterwards. */
static int descriptors(char *const *arg)
{
	int file = open(arg[0], O_RDWR | O_CREAT | O_TRUNC, 0644), line[2], fd = 0, status;
	char byte, *page;

	if (file < 0 || ftruncate(file, 4096) || pipe(line))
		die(arg[0]);
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (page == MAP_FAILED)
		die("mmap");
	page[0] = 'X';
	while (fd >= 0) {
		if (!start())
			use_up(line[1]);
		if (read(line[0], &byte, 1) != 1)
			die("read");
		fd = open("/dev/null", O_RDONLY);
		if (fd >= 0)
			close(fd);
	}
	printf("open: %s\n", strerrorname_np(errno));
	if (pipe(line) == 0 || mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, STDIN_FILENO, 0) != MAP_FAILED)
		return 1;
	if (!start())
		_exit(3);
	if (wait(&status) < 0)
		die("wait");
	printf("child: %d\n", WEXITSTATUS(status));
	return 0;
}

/* --- groups --- */

/* A chain of processes: each forks and exits. */
static void run_on(void)
{
	setpgid(0, 0);
	for (;;)
		if (fork())
			_exit(0);
}

/* The number of groups that have a process left after one SIGKILL to the group. */
static int groups(char *const *arg)
{
	int nr = atoi(arg[0]), survived = 0;

	for (int i = 0; i < nr; i++) {
		int pid = start();

		if (!pid)
			run_on();
		while (kill(-pid, 0))
			usleep(1000);
		usleep((unsigned)(10000 + i % 7 * 1000));	/* during a fork */
		kill(-pid, SIGKILL);
		for (int tries = 0; tries < 100 && kill(-pid, 0) == 0; tries++) {
			usleep(3000);
			while (waitpid(-1, NULL, WNOHANG) > 0)
				;
		}
		if (kill(-pid, 0) == 0)
			survived++;
		while (kill(-pid, SIGKILL) == 0)
			while (waitpid(-1, NULL, WNOHANG) > 0)
				;
	}
	printf("%d survived\n", survived);
	return 0;
}

static volatile sig_atomic_t nr_taken;

static void take(int signo)
{
	(void)signo;
	nr_taken++;
}

/* --- processes --- */

/* Fork as often as possible. Then all children exit at once, and fork works again. */
static int processes(char *const *arg)
{
	int nr = 0, line[2], pid;
	char byte;

	(void)arg;
	if (pipe(line))
		die("pipe");
	while ((pid = fork()) > 0)
		nr++;
	if (!pid) {
		close(line[1]);
		_exit(read(line[0], &byte, 1) != 0);
	}
	printf("%d and %s\n", nr, strerrorname_np(errno));
	close(line[1]);
	for (int i = 0; i < nr; i++)
		if (wait(NULL) < 0)
			die("wait");
	if (!start())
		_exit(0);
	wait(NULL);
	return 0;
}

/* Zombies count as processes. */
static int zombies(char *const *arg)
{
	int nr = 0, pid;

	(void)arg;
	while ((pid = fork()) > 0)
		nr++;
	if (!pid)
		_exit(0);
	printf("%d and %s\n", nr, strerrorname_np(errno));
	return 0;
}

__attribute__((noreturn)) static int fork_bomb(char *const *arg)
{
	(void)arg;
	signal(SIGTERM, SIG_IGN);
	printf("ready\n");
	fflush(stdout);
	for (;;)
		fork();
}

/* --- programs that do not end --- */

static void ignore_all(void)
{
	for (int signo = 1; signo < 32; signo++)
		signal(signo, SIG_IGN);
}

/* A child that ignores all signals outlives its parent. */
static int orphan(char *const *arg)
{
	int line[2];
	char byte;

	if (pipe(line))
		die("pipe");
	if (!start()) {
		int file = open(arg[0], O_RDWR | O_CREAT | O_TRUNC, 0644);
		char *page = MAP_FAILED;

		ignore_all();
		if (file >= 0 && ftruncate(file, 4096) == 0)
			page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
		if (page == MAP_FAILED)
			_exit(1);
		page[0] = 'X';
		if (write(line[1], "x", 1) != 1)
			_exit(1);
		for (;;)
			;
	}
	if (read(line[0], &byte, 1) != 1)
		die("read");
	return 7;
}

__attribute__((noreturn)) static int stubborn(char *const *arg)
{
	(void)arg;
	ignore_all();
	printf("ready\n");
	fflush(stdout);
	if (!start())
		for (;;)
			;
	for (;;)
		pause();
}

/* Handles SIGINT, as a shell does. */
static int takes_interrupts(char *const *arg)
{
	int nr = atoi(arg[0]);

	signal(SIGINT, take);
	printf("ready\n");
	fflush(stdout);
	for (int seen = 0; seen < nr;)
		if (nr_taken > seen) {
			printf("taken %d\n", ++seen);
			fflush(stdout);
		} else {
			usleep(1000);
		}
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(char *const *arg);
		int nr_args;
	} modes[] = {
		{ "descriptors", descriptors, 1 }, { "groups", groups, 1 },
		{ "processes", processes, 0 },
		{ "zombies", zombies, 0 }, { "fork_bomb", fork_bomb, 0 }, { "orphan", orphan, 1 },
		{ "stubborn", stubborn, 0 }, { "takes_interrupts", takes_interrupts, 1 },
	};

	if (getpid() != 1)
		return 77;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
		if (argc - 2 == modes[i].nr_args && !strcmp(argv[1], modes[i].name))
			return modes[i].run(argv + 2);
	return 2;
}
