/* SPDX-License-Identifier: MIT */
/*
 * tests/programs/watched_ends.c FILE - processes that store a number to a shared mapping of FILE and end while another
 * one copies their memory. After wait(2), print the number and wait for a line.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 10
#define PAGE   4096
#define BULK   (4 << 20)
#define BULK_AT ((void *)0x200000000)
#define TIMES  256	/* so that a copy takes some time */

static volatile int *watched;	/* the PID of the process that ends; shared */

/* Copy all of its memory, many times in one call. */
static void watch(void)
{
	static char copy[BULK];
	struct iovec local[TIMES], remote[TIMES];

	for (int i = 0; i < TIMES; i++) {
		local[i] = (struct iovec){ copy, BULK };
		remote[i] = (struct iovec){ BULK_AT, BULK };
	}
	for (;;)
		process_vm_readv(*watched, local, TIMES, remote, TIMES, 0);
}

static void store(int fd, int number)
{
	char *bulk = mmap(BULK_AT, BULK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	int *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (bulk == MAP_FAILED || shared == MAP_FAILED)
		_exit(1);
	memset(bulk, 1, BULK);
	*watched = getpid();
	usleep(20000);		/* the other one copies */
	*shared = number;
	_exit(0);
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600) : -1;
	pid_t watcher, pid;
	char line[16];

	watched = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (fd < 0 || ftruncate(fd, PAGE) || watched == MAP_FAILED)
		return 1;
	watcher = fork();
	if (!watcher)
		watch();
	for (int i = 1; i <= ROUNDS; i++) {
		pid = fork();
		if (!pid)
			store(fd, i);
		waitpid(pid, NULL, 0);
		printf("%d\n", i);
		fflush(stdout);
		if (!fgets(line, sizeof(line), stdin))
			break;
	}
	kill(watcher, SIGKILL);
	wait(NULL);
	return 0;
}
